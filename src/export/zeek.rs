//! A Zeek line is a transaction as a row of Zeek's `http.log`: tab-separated, with header lines that name the columns.
//!
//! The columns are Zeek's, in its order; those that picotap has nothing for are unset. Behind them stand `ttfb` and
//! `duration` (seconds), `community_id`, `flags`, and of HTTP/2 the `stream` and what is known of a gRPC call. Body lengths are without
//! chunk framing, as Zeek's are. A `uid` is as long as Zeek's, but another: see [`crate::http::uid`]. With `--tls` a line is a TLS
//! connection as a row of `ssl.log`.

mod ssl;

use crate::escape;
use crate::export::numbers::{Calendar, address, epoch, number, padded};
use crate::export::{Format, Subject};
use crate::http::{Message, TlsConnection, Transaction};
use crate::stream::Endpoint;

/// Names and types of the columns.
pub(super) const COLUMNS: [(&str, &str); 38] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("trans_depth", "count"),
    ("method", "string"),
    ("host", "string"),
    ("uri", "string"),
    ("referrer", "string"),
    ("version", "string"),
    ("user_agent", "string"),
    ("origin", "string"),
    ("request_body_len", "count"),
    ("response_body_len", "count"),
    ("status_code", "count"),
    ("status_msg", "string"),
    ("info_code", "count"),
    ("info_msg", "string"),
    ("tags", "set[enum]"),
    ("username", "string"),
    ("password", "string"),
    ("proxied", "set[string]"),
    ("orig_fuids", "vector[string]"),
    ("orig_filenames", "vector[string]"),
    ("orig_mime_types", "vector[string]"),
    ("resp_fuids", "vector[string]"),
    ("resp_filenames", "vector[string]"),
    ("resp_mime_types", "vector[string]"),
    ("ttfb", "interval"),
    ("duration", "interval"),
    ("community_id", "string"),
    ("flags", "set[string]"),
    ("stream", "count"),
    ("grpc_service", "string"),
    ("grpc_method", "string"),
    ("grpc_status", "count"),
];

/// Writes rows of `http.log` or `ssl.log`.
#[derive(Debug)]
pub(super) struct Zeek {
    subject: Subject,
}

impl Zeek {
    /// `subject`: which log it is.
    pub(super) const fn new(subject: Subject) -> Self {
        Self { subject }
    }
}

impl Format for Zeek {
    fn takes(&self, transaction: &Transaction) -> bool {
        transaction.protocol().is_none()
    }

    fn header(&mut self, time: i64, out: &mut Vec<u8>) {
        let (path, columns) = match self.subject {
            Subject::Transactions => ("http", &COLUMNS[..]),
            Subject::Tls => ("ssl", &ssl::COLUMNS[..]),
        };
        out.extend_from_slice(b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t");
        out.extend_from_slice(path.as_bytes());
        out.push(b'\n');
        moment(b"#open", time, out);
        for (name, column) in [("#fields", 0), ("#types", 1)] {
            out.extend_from_slice(name.as_bytes());
            for (name, kind) in columns {
                out.push(b'\t');
                out.extend_from_slice(if column == 0 { name } else { kind }.as_bytes());
            }
            out.push(b'\n');
        }
    }

    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        let body = |message: Option<&Message>| message.and_then(Message::body).map_or(0, |body| body.decoded);
        epoch(transaction.time(), out);
        out.push(b'\t');
        out.extend_from_slice(transaction.uid.as_bytes());
        endpoints([transaction.client, transaction.server], out);
        count(Some(transaction.seq), out);
        for value in [transaction.method(), transaction.host(), transaction.target(), transaction.referer()] {
            text(value, out);
        }
        out.push(b'\t');
        out.extend_from_slice(transaction.version().unwrap_or("1.1").as_bytes());
        text(transaction.user_agent(), out);
        text(transaction.origin(), out);
        count(Some(body(transaction.request.as_ref())), out);
        count(Some(body(transaction.response.as_ref())), out);
        count(Some(transaction.status).filter(|status| *status != 0), out);
        text(transaction.reason(), out);
        count(Some(transaction.interim_status).filter(|status| *status != 0), out);
        text(transaction.interim_reason(), out);
        out.extend_from_slice(b"\t(empty)\t-\t-\t-\t-\t-\t-\t-\t-\t-");
        for time in [transaction.time_to_first_byte(), transaction.duration()] {
            out.push(b'\t');
            match time {
                Some(time) => epoch(time, out),
                None => out.push(b'-'),
            }
        }
        text(transaction.community_id.as_ref().map(|text| &text[..]), out);
        for (index, name) in transaction.flags.names().enumerate() {
            out.push(if index == 0 { b'\t' } else { b',' });
            out.extend_from_slice(name.as_bytes());
        }
        if transaction.flags.is_empty() {
            out.extend_from_slice(b"\t(empty)");
        }
        count(transaction.stream(), out);
        let call = transaction.grpc();
        text(call.as_ref().map(|call| call.service), out);
        text(call.as_ref().map(|call| call.method), out);
        count(call.as_ref().and_then(|call| call.status), out);
        out.push(b'\n');
    }

    fn tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) {
        ssl::line(connection, out);
    }

    fn footer(&mut self, time: i64, out: &mut Vec<u8>) {
        moment(b"#close", time, out);
    }
}

fn endpoints(endpoints: [Endpoint; 2], out: &mut Vec<u8>) {
    for endpoint in endpoints {
        out.push(b'\t');
        address(endpoint.ip, out);
        count(Some(endpoint.port), out);
    }
}

fn text(value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'\t');
    match value {
        None | Some(b"") => out.push(b'-'),
        // What would read as unset or empty is not.
        Some(b"-") => out.extend_from_slice(br"\x2d"),
        Some(b"(empty)") => out.extend_from_slice(br"\x28empty)"),
        // A line that began with this would be a comment, but no text is the first in a line.
        Some(value) => escape::shown(value, true, out),
    }
}

fn count(value: Option<impl itoa::Integer>, out: &mut Vec<u8>) {
    out.push(b'\t');
    match value {
        Some(value) => number(value, out),
        None => out.push(b'-'),
    }
}

/// Appends `#open` or `#close` with a time in UTC.
fn moment(name: &[u8], time: i64, out: &mut Vec<u8>) {
    let Calendar { year, month, day, hour, minute, second, .. } = Calendar::new(time);
    out.extend_from_slice(name);
    out.push(b'\t');
    padded(year, 4, out);
    for value in [month, day, hour, minute, second] {
        out.push(b'-');
        padded(value, 2, out);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::abi::flag;
    use crate::http::Settings;
    use crate::http::redact::Redaction;
    use crate::http::test_wire::Wire;
    use crate::stream::EndReason;

    /// Reads a log as zeek-cut does: by the names in its header lines.
    fn read(log: &[u8]) -> Vec<HashMap<String, Vec<u8>>> {
        let mut names: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        for line in log.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
            match fields[0] {
                b"#fields" => {
                    names = fields[1..].iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
                }
                b"#types" => assert_eq!(fields.len() - 1, names.len()),
                first if first.starts_with(b"#") => {}
                _ => {
                    assert_eq!(fields.len(), names.len());
                    rows.push(names.iter().cloned().zip(fields.iter().map(|field| field.to_vec())).collect());
                }
            }
        }
        rows
    }

    fn log(wire: &Wire) -> Vec<u8> {
        let mut out = Vec::new();
        let mut zeek = Zeek::new(Subject::Transactions);
        zeek.header(0, &mut out);
        wire.done.iter().for_each(|transaction| zeek.line(transaction, &mut out));
        zeek.footer(1_000_000_000, &mut out);
        out
    }

    #[test]
    fn the_file_has_the_shape_that_zeek_gives_it() {
        let text = String::from_utf8(log(&Wire::new(Settings::default()))).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let wanted = [
            r"#separator \x09",
            "#set_separator\t,",
            "#empty_field\t(empty)",
            "#unset_field\t-",
            "#path\thttp",
            "#open\t1970-01-01-00-00-00",
        ];
        assert_eq!(lines[..6], wanted);
        assert!(
            lines[6].starts_with("#fields\tts\tuid\tid.orig_h\t")
                && lines[7].starts_with("#types\ttime\tstring\taddr\t")
        );
        assert_eq!(lines[8], "#close\t1970-01-01-00-00-01");
    }

    #[test]
    fn a_row_reads_by_the_names_of_its_columns() {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "POST /a HTTP/1.1\nHost: -\nOrigin: http://o\nUser-Agent: (empty)", flag::BARE_LF);
        wire.end(0, 1, 3, flag::GAP).wait(1500).answer(1, "HTTP/1.1 100 Continue", flag::INTERIM).reply(1, 200, 9);
        wire.get(2, "/b").close(EndReason::Fin);
        let (rows, uid) = (read(&log(&wire)), wire.last().uid.to_string());
        let row = |name: &str| std::str::from_utf8(&rows[0][name]).unwrap();
        for (name, value) in [
            ("ts", "1767323045.000000"),
            ("uid", &uid),
            ("id.orig_h", "10.0.0.1"),
            ("id.resp_p", "80"),
            ("trans_depth", "1"),
            ("host", r"\x2d"),
            ("user_agent", r"\x28empty)"),
            ("origin", "http://o"),
            ("version", "1.1"),
            ("request_body_len", "3"),
            ("response_body_len", "9"),
            ("status_code", "200"),
            ("status_msg", "Reason"),
            ("info_code", "100"),
            ("info_msg", "Continue"),
            ("tags", "(empty)"),
            ("resp_mime_types", "-"),
            ("ttfb", "1.500000"),
            ("duration", "1.500000"),
            ("community_id", "-"),
            ("flags", "bare_lf,gap"),
        ] {
            assert_eq!(row(name), value, "{name}");
        }
        assert_eq!((&rows[1]["status_code"][..], &rows[1]["stream"][..]), (&b"-"[..], &b"-"[..]));
        let mut wire = Wire::new(Settings::default());
        let rows = read(&log(wire.call(3, "5")));
        let call = [("version", "2"), ("stream", "3"), ("grpc_service", "pkg.Greeter"), ("grpc_method", "SayHello")];
        for (name, value) in call.into_iter().chain([("grpc_status", "5"), ("flags", "trailers")]) {
            assert_eq!(rows[0][name], value.as_bytes(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_column(
            word in proptest::collection::vec(any::<u8>().prop_filter("space", |byte| !b" \n".contains(byte)), 1..40)
        ) {
            let mut wire = Wire::new(Settings { redaction: Redaction::off(), ..Settings::default() });
            wire.ask(1, [b"GET ", &word[..], b" HTTP/1.1"].concat(), 0).end(0, 1, 0, 0).reply(1, 200, 0);
            let rows = read(&log(&wire));
            prop_assert_eq!(escape::undo(&rows[0]["uri"]), word);
        }
    }
}
