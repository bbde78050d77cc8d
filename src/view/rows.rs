//! What is shown, as rows of filters: the same texts and numbers that the page's filter sees (`page/query.js`).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::snapshot::{HealthItem, HostRow, Level, PairRow, RouteRow, TlsRow, TransactionRow};
use crate::http::filter::field::{Field, Kind, Name};
use crate::http::filter::{Row, Value};

impl Row for TransactionRow {
    fn value(&self, field: &Field) -> Value<'_> {
        let text = |text: &'_ Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        let http = self.protocol.starts_with("HTTP");
        let failed = || self.flags.contains(&"failed");
        let reason = || text(&self.reason).filter(|_| self.grpc_status.is_none() || !self.reason_is_grpc());
        match field {
            Field::Named(Name::Method) => Value::str(self.method.as_deref()),
            Field::Named(Name::Status) => Value::number(self.status),
            Field::Named(Name::GrpcStatus) => Value::number(self.grpc_status),
            Field::Named(Name::Host) => Value::str(self.host.as_deref()),
            Field::Named(Name::Target) => Value::str(self.target.as_deref()),
            Field::Named(Name::Path) => Value::str(self.path()),
            Field::Named(Name::Route) => Value::str(self.route.as_deref()),
            Field::Named(Name::Client) => address(&self.client),
            Field::Named(Name::Server) => address(&self.server),
            Field::Named(Name::ClientPort) => port(&self.client),
            Field::Named(Name::ServerPort) => port(&self.server),
            Field::Named(Name::Duration) => Value::number(self.duration),
            Field::Named(Name::Ttfb) => Value::number(self.wait_time),
            Field::Named(Name::RequestBody) => Value::number(self.request_bytes),
            Field::Named(Name::ResponseBody) => Value::number(self.response_bytes),
            Field::Named(Name::Flags) => {
                Value::Texts(self.flags.iter().map(|name| Cow::Borrowed(name.as_bytes())).collect())
            }
            Field::Named(Name::Is) => Value::str(self.failed.then_some("failed")),
            Field::Named(Name::Version) => Value::str(self.protocol.strip_prefix("HTTP/")),
            Field::Named(Name::Protocol) => Value::str(Some(self.protocol.as_str()).filter(|_| !http)),
            Field::Named(Name::Operation) => Value::str(self.method.as_deref().filter(|_| !http)),
            Field::Named(Name::Reason) => owned(reason()),
            Field::Named(Name::Outcome) => owned(reason().filter(|_| !http && !failed())),
            Field::Named(Name::Error) => owned(reason().filter(|_| !http && failed())),
            Field::Named(Name::Ts) => Value::Number(self.time),
            Field::Named(Name::Interface) => Value::str(self.interface.as_deref()),
            Field::Named(Name::Conn) => Value::str(Some(self.connection.as_str())),
            other => self.field(other),
        }
    }

    fn has_word(&self, word: &str) -> bool {
        let status = self.status.map(|status| status.to_string());
        let known = [&self.method, &self.host, &self.target, &self.route, &self.reason, &self.interface, &status];
        let texts = [&self.client, &self.server, &self.protocol, &self.connection].into_iter().map(String::as_str);
        let texts = texts.chain(known.into_iter().flatten().map(String::as_str)).chain(self.flags.iter().copied());
        has(texts.chain(self.fields.iter().map(|(_, value)| value.as_str())), word)
    }
}

impl TransactionRow {
    fn reason_is_grpc(&self) -> bool {
        self.reason.as_deref().is_some_and(|reason| reason.starts_with("gRPC "))
    }

    /// The target without query, and without scheme and authority.
    fn path(&self) -> Option<&str> {
        let target = self.target.as_deref().filter(|_| self.method.as_deref() != Some("CONNECT"))?;
        let rest = match target.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                let path = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or_default();
                if path.starts_with('/') { path } else { "/" }
            }
            _ => target,
        };
        rest.split(['?', '#']).next().filter(|path| !path.is_empty())
    }

    /// What has no place of its own.
    fn field(&self, field: &Field) -> Value<'_> {
        let name = field.text();
        let mut found =
            self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(&name)).map(|(_, value)| value);
        if matches!(field, Field::Header { .. }) {
            return Value::Texts(found.map(|value| Cow::Borrowed(value.as_bytes())).collect());
        }
        let Some(value) = found.next() else { return Value::Absent };
        match field.kind() {
            Kind::Number | Kind::Size | Kind::Time => Value::number(value.parse::<i64>().ok()),
            Kind::Address => value.parse::<IpAddr>().map_or(Value::Absent, |ip| Value::Address(ip, None)),
            _ => Value::str(Some(value)),
        }
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(letter)
}

fn address(text: &str) -> Value<'_> {
    match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(address), _) => Value::Address(address.ip(), Some(address.port())),
        (_, Ok(ip)) => Value::Address(ip, None),
        _ => Value::Absent,
    }
}

fn port(text: &str) -> Value<'_> {
    Value::number(text.parse::<SocketAddr>().ok().map(|address| address.port()))
}

fn owned(text: Option<String>) -> Value<'static> {
    text.map_or(Value::Absent, |text| Value::Text(Cow::Owned(text.into_bytes())))
}

/// Whether one of the texts has a word, which is in lower case.
fn has<'a>(mut texts: impl Iterator<Item = &'a str>, word: &str) -> bool {
    texts.any(|text| text.to_lowercase().contains(word))
}

impl Row for HostRow {
    fn value(&self, field: &Field) -> Value<'_> {
        match field {
            Field::Named(Name::Host) => Value::str(Some(&self.host)),
            _ => Value::Absent,
        }
    }

    fn has_word(&self, word: &str) -> bool {
        has([self.host.as_str()].into_iter(), word)
    }
}

impl Row for RouteRow {
    fn value(&self, field: &Field) -> Value<'_> {
        match field {
            Field::Named(Name::Host) => Value::str(Some(&self.host)),
            Field::Named(Name::Method) => Value::str(Some(&self.method)),
            Field::Named(Name::Route) => Value::str(Some(&self.route)),
            _ => Value::Absent,
        }
    }

    fn has_word(&self, word: &str) -> bool {
        has([&self.host, &self.method, &self.route].into_iter().map(String::as_str), word)
    }
}

impl Row for PairRow {
    fn value(&self, field: &Field) -> Value<'_> {
        match field {
            Field::Named(Name::Client) => address(&self.client),
            Field::Named(Name::Server) => address(&self.server),
            _ => Value::Absent,
        }
    }

    fn has_word(&self, word: &str) -> bool {
        has([&self.client, &self.server].into_iter().map(String::as_str), word)
    }
}

impl Row for TlsRow {
    fn value(&self, field: &Field) -> Value<'_> {
        match field {
            Field::Named(Name::Host) => Value::str(Some(&self.host)),
            Field::Named(Name::Reason) => Value::str(Some(self.reason).filter(|reason| !reason.is_empty())),
            Field::Named(Name::Decrypted) => Value::truth(Some(self.decrypted)),
            Field::Named(Name::TlsVersion) => Value::str(self.version),
            _ => Value::Absent,
        }
    }

    fn has_word(&self, word: &str) -> bool {
        let outcome = if self.decrypted { "decrypted" } else { "dark" };
        has([self.host.as_str(), self.reason, outcome, self.version.unwrap_or_default()].into_iter(), word)
    }
}

impl Row for HealthItem {
    fn value(&self, _: &Field) -> Value<'_> {
        Value::Absent
    }

    fn has_word(&self, word: &str) -> bool {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        has([self.group, &self.name, &self.label, level, self.metric, self.unit].into_iter(), word)
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Facts;
    use super::super::kept::Kept;
    use super::*;
    use crate::abi::flag;
    use crate::http::filter::{Filter, TransactionFields};
    use crate::http::test_wire::Wire;
    use crate::http::{Settings, Transaction};
    use crate::stream::{EndReason, InterfaceNames};

    #[test]
    fn a_row_has_the_fields_of_its_transaction() {
        let mut wire =
            Wire::new(Settings { headers: vec!["Via".to_owned()], community_id: true, ..Settings::default() });
        let head = "POST http://u:p@h:81/a/b?c#d HTTP/1.1\nHost: h:81\nUser-Agent: u\nReferer: r\nVia: 1\nvia: 2";
        wire.ask(1, head, flag::BARE_LF).end(0, 1, 7, 0).wait(12);
        wire.answer(1, "HTTP/1.1 404 Not Found", 0).wait(3).end(1, 1, 20, flag::GAP);
        wire.get(2, "/").close(EndReason::Reset);
        let mut all: Vec<Transaction> = wire.done.clone();
        let mut wire = Wire::new(Settings::default());
        wire.call(1, "5").operate(3, "socks", "connect", "h:80").outcome(3, "refused", flag::FAILED);
        wire.operate(5, "resp", "GET", "").outcome(5, "OK", 0);
        all.extend(wire.done.iter().cloned());
        assert_eq!(all.len(), 5);
        let interfaces = InterfaceNames::new(vec!["eth0".to_owned()], 0);
        let fields = crate::http::filter::field::ALL.iter().map(|(name, text)| (Field::Named(*name), *text));
        let header = Field::of("request_headers.via").unwrap();
        for transaction in &all {
            let row = Kept::new(transaction, Facts::of(transaction), None).row(&interfaces);
            let transaction = TransactionFields(transaction, &interfaces);
            for (field, name) in fields.clone().chain([(header.clone(), "via")]) {
                assert_eq!(row.value(&field), transaction.value(&field), "{name} of {row:?}");
            }
        }
        let row = Kept::new(&all[0], Facts::of(&all[0]), None).row(&interfaces);
        for filter in ["path=/a/b status=4xx", "404 \"not found\" BARE_LF", "request_headers.via=2 duration=15ms"] {
            assert!(Filter::typed(filter).unwrap().fits(&row), "{filter}");
        }
    }
}
