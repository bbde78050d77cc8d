//! A table has a line for each transaction or TLS connection, with the columns that were asked for, and one with their names at
//! the top of a file: CSV (RFC 4180, but lines end with LF alone) or TSV.
//!
//! What is not known is empty. Times are as in the JSON log; several flags have a blank between them, several values of a header
//! a comma and a blank. Texts are escaped as in the text format (see [`crate::escape`]), and so are two things that would mean
//! something to the reader of a table: a first character with which spreadsheets begin a formula (`=` `+` `-` `@`, unless it is all
//! there is), and in TSV a first quote.

use std::borrow::Cow;

use crate::escape;
use crate::export::columns::{Column, Columns};
use crate::export::numbers::{address, number, rfc3339};
use crate::export::{Format, Origin};
use crate::http::filter::field::{Field, Name};
use crate::http::filter::{Row, TlsFields, TransactionFields, Value};
use crate::http::{TlsConnection, Transaction};

/// Writes a table.
#[derive(Debug)]
pub(super) struct Table {
    separator: u8,
    columns: Columns,
    origin: Origin,
}

impl Table {
    pub(super) const fn csv(columns: Columns, origin: Origin) -> Self {
        Self { separator: b',', columns, origin }
    }

    pub(super) const fn tsv(columns: Columns, origin: Origin) -> Self {
        Self { separator: b'\t', columns, origin }
    }

    fn row(&self, row: &impl Row, time: i64, out: &mut Vec<u8>) {
        for (at, column) in self.columns.all().iter().enumerate() {
            if at > 0 {
                out.push(self.separator);
            }
            match column {
                Column::Sensor => self.text(self.origin.sensor().unwrap_or_default(), out),
                Column::Field(Field::Named(Name::Ts)) => rfc3339(time, out),
                Column::Field(field) => self.value(field, row.value(field), out),
            }
        }
        out.push(b'\n');
    }

    fn value(&self, field: &Field, value: Value<'_>, out: &mut Vec<u8>) {
        match value {
            Value::Absent => {}
            Value::Number(value) => number(value, out),
            Value::Address(ip, _) => address(ip, out),
            Value::Text(text) => self.text(&text, out),
            // Of a TLS connection the second is the first with a port.
            Value::Texts(texts) if *field == Field::Named(Name::Host) => {
                texts.first().into_iter().for_each(|text| self.text(text, out));
            }
            Value::Texts(texts) => {
                let between: &[u8] = if *field == Field::Named(Name::Flags) { b" " } else { b", " };
                self.text(&texts.iter().map(Cow::as_ref).collect::<Vec<_>>().join(between), out);
            }
        }
    }

    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        let csv = self.separator == b',';
        let (text, first) = match text {
            [b'=', rest @ ..] if !rest.is_empty() => (rest, &br"\x3d"[..]),
            [b'+', rest @ ..] if !rest.is_empty() => (rest, &br"\x2b"[..]),
            [b'-', rest @ ..] if !rest.is_empty() => (rest, &br"\x2d"[..]),
            [b'@', rest @ ..] if !rest.is_empty() => (rest, &br"\x40"[..]),
            [b'"', rest @ ..] if !csv => (rest, &br"\x22"[..]),
            text => (text, &b""[..]),
        };
        if !csv || memchr::memchr2(b'"', b',', text).is_none() {
            out.extend_from_slice(first);
            escape::shown(text, false, out);
            return;
        }
        let mut shown = first.to_vec();
        escape::shown(text, false, &mut shown);
        out.push(b'"');
        for byte in shown {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}

impl Format for Table {
    fn header(&mut self, _: i64, out: &mut Vec<u8>) {
        for (at, column) in self.columns.all().iter().enumerate() {
            if at > 0 {
                out.push(self.separator);
            }
            self.text(column.text().as_bytes(), out);
        }
        out.push(b'\n');
    }

    /// Readers take every line but the first for a row.
    fn header_once(&self) -> bool {
        true
    }

    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        self.row(&TransactionFields(transaction, &self.origin.interfaces), transaction.time(), out);
    }

    fn tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) {
        self.row(&TlsFields(connection, &self.origin.interfaces), connection.time(), out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::flag;
    use crate::http::Settings;
    use crate::http::redact::Redaction;
    use crate::http::test_wire::Wire;
    use crate::stream::InterfaceNames;

    fn wire() -> Wire {
        let mut wire = Wire::new(Settings { headers: vec!["Via".to_owned()], ..Settings::default() });
        let head = "GET /a,b?\"c\" HTTP/1.1\nHost: h\nUser-Agent: =cmd()\nReferer: -\nvia: 1\nVia: 2";
        wire.ask(1, head, flag::BARE_LF).end(0, 1, 0, flag::GAP).wait(12);
        wire.reply(1, 200, 7);
        wire
    }

    const FIELDS: &str = "ts,sensor,client,client_port,method,target,host,user_agent,referer,status,reason,duration,flags,request_headers.via,grpc_status";

    fn lines(table: &mut Table, wire: &Wire) -> String {
        let mut out = Vec::new();
        table.header(0, &mut out);
        table.line(wire.last(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn origin() -> Origin {
        Origin { interfaces: InterfaceNames::default(), sensor: "s".to_owned() }
    }

    #[test]
    fn csv_quotes_what_must_be_quoted() {
        let wanted = "ts,sensor,client,client_port,method,target,host,user_agent,referer,status,reason,duration_us,flags,request_headers.via,grpc_status\n\
                      2026-01-02T03:04:05.000000Z,s,10.0.0.1,4321,GET,\"/a,b?\"\"c\"\"\",h,\\x3dcmd(),-,200,Reason,12000,bare_lf gap,\"1, 2\",\n";
        assert_eq!(lines(&mut Table::csv(FIELDS.parse().unwrap(), origin()), &wire()), wanted);
    }

    #[test]
    fn tsv_has_no_quotes() {
        let wanted = "target\tsensor\n/a,b?\"c\"\ts\n";
        assert_eq!(lines(&mut Table::tsv("target,sensor".parse().unwrap(), origin()), &wire()), wanted);
    }

    /// A reader of RFC 4180, in the fewest words.
    fn read(line: &str) -> Vec<String> {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        for sign in line.chars() {
            match sign {
                '"' => {
                    if !quoted && cells.last().unwrap().ends_with('\u{0}') {
                        cells.last_mut().unwrap().pop();
                        cells.last_mut().unwrap().push('"');
                        quoted = true;
                        continue;
                    }
                    if quoted {
                        cells.last_mut().unwrap().push('\u{0}');
                    }
                    quoted = !quoted;
                }
                ',' if !quoted => cells.push(String::new()),
                other => cells.last_mut().unwrap().push(other),
            }
        }
        cells.iter().map(|cell| cell.replace('\u{0}', "")).collect()
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_row_that_reads_back(word in proptest::collection::vec(any::<u8>().prop_filter("space", |byte| !b" \n".contains(byte)), 1..40)) {
            let mut wire = Wire::new(Settings { redaction: Redaction::off(), ..Settings::default() });
            wire.ask(1, [b"GET ", &word[..], b" HTTP/1.1"].concat(), 0).end(0, 1, 0, 0).reply(1, 200, 0);
            for (mut table, csv) in [(Table::csv("seq,target,status".parse().unwrap(), origin()), true), (Table::tsv("seq,target,status".parse().unwrap(), origin()), false)] {
                let mut out = Vec::new();
                table.line(wire.last(), &mut out);
                prop_assert_eq!(out.pop(), Some(b'\n'));
                let line = String::from_utf8(out).unwrap();
                prop_assert!(!line.contains(['\n', '\r']));
                let cells = if csv { read(&line) } else { line.split('\t').map(str::to_owned).collect() };
                prop_assert_eq!(cells.len(), 3);
                prop_assert_eq!(escape::undo(cells[1].as_bytes()), word.clone());
            }
        }
    }
}
