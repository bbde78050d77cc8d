//! A CLF line is a transaction in the NCSA combined log format, as web servers write it.
//!
//! `client - - [time] "method target HTTP/VERSION" status bytes "referer" "user agent"`. The bytes are those of the response's
//! body without chunk framing; `-` stands for none, and for what is not known. Where no answer was seen the status is 444, with
//! which nginx logs that it has closed a connection without one: no server sends it, and programs that read these lines, such
//! as goaccess, refuse a line without a number there.
//!
//! The format `vhost` has the host and the server's port in front, as Apache's `vhost_combined`, and behind all the duration in
//! microseconds, as its `%D`: `example.com:80 client - - [time] ... "user agent" 12345`. For goaccess that is
//! `--log-format='%v:%^ %h %^[%d:%t %^] "%r" %s %b "%R" "%u" %D'`.

use crate::escape;
use crate::export::Format;
use crate::export::numbers::{Calendar, address, number, padded};
use crate::http::filter::{without_port, without_user};
use crate::http::{Message, Transaction, microseconds};

/// The status of a transaction without an answer.
const NO_ANSWER: u16 = 444;

/// Writes combined log lines.
#[derive(Debug)]
pub(super) struct Clf {
    /// With the virtual host and the time.
    pub(super) vhost: bool,
}

impl Format for Clf {
    fn takes(&self, transaction: &Transaction) -> bool {
        transaction.protocol().is_none()
    }

    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        if self.vhost {
            host(transaction, out);
        }
        address(transaction.client.ip, out);
        out.extend_from_slice(b" - - [");
        date(transaction.time(), out);
        out.extend_from_slice(b"] \"");
        match (transaction.method(), transaction.target(), transaction.version()) {
            (Some(method), Some(target), Some(version)) => {
                escape::ascii(method, out);
                out.push(b' ');
                escape::ascii(target, out);
                out.extend_from_slice(b" HTTP/");
                out.extend_from_slice(version.as_bytes());
            }
            _ => out.push(b'-'),
        }
        out.extend_from_slice(b"\" ");
        let sent = transaction.response.as_ref().and_then(Message::body).map(|body| body.decoded);
        let status = if transaction.status == 0 { NO_ANSWER } else { transaction.status };
        for value in [Some(u64::from(status)), sent] {
            match value {
                Some(value @ 1..) => number(value, out),
                _ => out.push(b'-'),
            }
            out.push(b' ');
        }
        quoted(transaction.referer(), out);
        out.push(b' ');
        quoted(transaction.user_agent(), out);
        if self.vhost {
            out.push(b' ');
            match microseconds(transaction.duration()) {
                Some(micros) => number(micros, out),
                None => out.push(b'-'),
            }
        }
        out.push(b'\n');
    }
}

/// Appends the host without its port, and the server's port.
fn host(transaction: &Transaction, out: &mut Vec<u8>) {
    let host = transaction.host().map(|host| without_port(without_user(host))).filter(|host| !host.is_empty());
    for (index, word) in host.unwrap_or(b"-").split(|byte| *byte == b' ').enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { br"\x20" });
        escape::ascii(word, out);
    }
    out.push(b':');
    number(transaction.server.port, out);
    out.push(b' ');
}

fn quoted(text: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    escape::ascii(text.unwrap_or(b"-"), out);
    out.push(b'"');
}

/// Appends `10/Oct/2000:13:55:36 +0000`.
fn date(time: i64, out: &mut Vec<u8>) {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let Calendar { year, month, day, hour, minute, second, .. } = Calendar::new(time);
    padded(day, 2, out);
    out.push(b'/');
    out.extend_from_slice(MONTHS.get((month as usize).saturating_sub(1)).copied().unwrap_or_default());
    out.push(b'/');
    padded(year, 4, out);
    for value in [hour, minute, second] {
        out.push(b':');
        padded(value, 2, out);
    }
    out.extend_from_slice(b" +0000");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use crate::stream::EndReason;

    fn line(wire: &Wire) -> String {
        let mut out = Vec::new();
        Clf { vhost: false }.line(wire.last(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_what_a_server_would_have_written() {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "GET /a\"b\u{e9}\\ HTTP/1.1\nUser-Agent: x \"y\"\t\nReferer: http://r/", 0).end(0, 1, 0, 0);
        wire.reply(1, 200, 2326);
        let wanted = concat!(
            r#"10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] "GET /a\x22b\xc3\xa9\x5c HTTP/1.1" 200 2326 "#,
            r#""http://r/" "x \x22y\x22""#,
            "\n"
        );
        assert_eq!(line(&wire), wanted);
    }

    #[test]
    fn dashes_and_444_stand_for_what_is_missing() {
        let mut wire = Wire::new(Settings::default());
        wire.get(1, "/").close(EndReason::Fin);
        let wanted = "10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] \"GET / HTTP/1.1\" 444 - \"-\" \"-\"\n";
        assert_eq!(line(&wire), wanted);
        wire.reply(0, 200, 0).close(EndReason::Fin);
        let wanted = "10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] \"-\" 200 - \"-\" \"-\"\n";
        assert_eq!(line(&wire), wanted);
    }

    #[test]
    fn the_virtual_host_stands_in_front_and_the_time_behind() {
        let mut wire = Wire::new(Settings::default());
        let mut line = |host: &str, answered: bool| {
            wire.ask(1, format!("GET / HTTP/1.1\nHost: {host}"), 0).end(0, 1, 0, 0).wait(12);
            if answered {
                wire.reply(1, 200, 5)
            } else {
                wire.close(EndReason::Fin)
            };
            let mut out = Vec::new();
            Clf { vhost: true }.line(wire.last(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let first = line("Example.com:8080", true);
        assert!(
            first.starts_with("Example.com:80 10.0.0.1 - - [02/Jan/2026:") && first.ends_with("\"-\" \"-\" 12000\n"),
            "{first}"
        );
        assert!(line("[::1]:80", true).starts_with("[::1]:80 10.0.0.1 "));
        assert!(line("a b\"", true).starts_with("a\\x20b\\x22:80 10.0.0.1 "));
        let last = line("", false);
        assert!(last.starts_with("-:80 10.0.0.1 ") && last.ends_with("\"-\" \"-\" -\n"), "{last}");
    }
}
