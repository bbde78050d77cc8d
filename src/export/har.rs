//! An HTTP Archive (HAR 1.2), as browsers export it and viewers read it: one JSON document, an entry for each request.
//!
//! A file begins with the document's head and ends with its end, which is written when the run ends or the file is rotated: it
//! is whole also after SIGINT or SIGTERM, and lacks only the last three brackets after anything worse.
//!
//! - All headers are there (at most 128 of an entry), redacted as elsewhere; bodies where they were asked for, and no cookies apart.
//! - A request without a response has status 0. Responses without a request, and other protocols, have no entry.
//! - `-1` stands for sizes that are not known; times that are not known are 0, and `_flags` say why.
//! - The specification lets programs add keys that begin with `_`: `_client` and `_flags`, as in the JSON log, and of bodies
//!   `_truncated` and `_undecoded`.

use crate::escape;
use crate::export::Format;
use crate::export::numbers::{address, number, rfc3339};
use crate::export::text::endpoint;
use crate::http::body::BodyText;
use crate::http::filter::without_user;
use crate::http::{Message, Transaction, microseconds};

/// Writes entries.
#[derive(Debug)]
pub(super) struct Har;

impl Format for Har {
    fn header(&mut self, _: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"picotap\",\"version\":\"");
        out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
        out.extend_from_slice(b"\"},\"entries\":[\n");
    }

    fn is_document(&self) -> bool {
        true
    }

    fn takes(&self, transaction: &Transaction) -> bool {
        transaction.protocol().is_none() && transaction.request.is_some()
    }

    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        // The comma before the first entry of a file is taken away where it is written.
        out.extend_from_slice(b",{\"startedDateTime\":\"");
        rfc3339(transaction.time(), out);
        out.extend_from_slice(b"\",\"time\":");
        milliseconds(transaction.duration(), out);
        out.extend_from_slice(b",\"request\":{\"method\":");
        escape::json(transaction.method().unwrap_or_default(), out);
        out.extend_from_slice(b",\"url\":\"");
        url(transaction, out);
        out.extend_from_slice(b"\",\"httpVersion\":\"HTTP/");
        out.extend_from_slice(transaction.version().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\",\"cookies\":[],\"headers\":[");
        headers(transaction, true, out);
        out.extend_from_slice(b"],\"queryString\":[");
        query(transaction.query().unwrap_or_default(), out);
        out.push(b']');
        if let Some(body) = transaction.body(true) {
            out.extend_from_slice(b",\"postData\":{\"mimeType\":");
            escape::json(body.media_type, out);
            out.extend_from_slice(b",\"params\":[]");
            content(body, out);
            out.push(b'}');
        }
        sizes(transaction.request.as_ref(), out);
        out.extend_from_slice(b"},\"response\":{\"status\":");
        number(transaction.known_status().unwrap_or(0), out);
        out.extend_from_slice(b",\"statusText\":");
        escape::json(transaction.reason().unwrap_or_default(), out);
        out.extend_from_slice(b",\"httpVersion\":\"HTTP/");
        out.extend_from_slice(transaction.version().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\",\"cookies\":[],\"headers\":[");
        headers(transaction, false, out);
        out.extend_from_slice(b"],\"content\":{\"size\":");
        let body = transaction.response.as_ref().and_then(Message::body);
        signed(body.map(|body| body.decoded), out);
        out.extend_from_slice(b",\"mimeType\":");
        escape::json(header(transaction, b"content-type"), out);
        if let Some(body) = transaction.body(false) {
            content(body, out);
        }
        out.extend_from_slice(b"},\"redirectURL\":");
        escape::json(header(transaction, b"location"), out);
        sizes(transaction.response.as_ref(), out);
        out.extend_from_slice(b"},\"cache\":{},\"timings\":{\"send\":");
        milliseconds(took(transaction.request.as_ref()), out);
        out.extend_from_slice(b",\"wait\":");
        milliseconds(transaction.time_to_first_byte(), out);
        out.extend_from_slice(b",\"receive\":");
        milliseconds(took(transaction.response.as_ref()), out);
        out.extend_from_slice(b"},\"serverIPAddress\":\"");
        address(transaction.server.ip, out);
        out.extend_from_slice(b"\",\"connection\":\"");
        out.extend_from_slice(transaction.uid.as_bytes());
        out.extend_from_slice(b"\",\"_client\":\"");
        endpoint(transaction.client, out);
        out.push(b'"');
        for (index, name) in transaction.flags.names().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"_flags\":[\"" } else { b"\",\"" });
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(if transaction.flags.is_empty() { b"}\n" } else { b"\"]}\n" });
    }

    fn footer(&mut self, _: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}}\n");
    }
}

/// Appends the text of a body as it is, since viewers know no escapes but JSON's; what is no UTF-8 as base64.
fn content(body: BodyText<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"text\":");
    match std::str::from_utf8(body.text) {
        Ok(text) => out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes()),
        Err(_) => {
            out.push(b'"');
            out.extend_from_slice(data_encoding::BASE64.encode(body.text).as_bytes());
            out.extend_from_slice(b"\",\"encoding\":\"base64\"");
        }
    }
    if body.truncated {
        out.extend_from_slice(b",\"_truncated\":true");
    }
    if let Some(coding) = body.undecoded {
        out.extend_from_slice(b",\"_undecoded\":\"");
        out.extend_from_slice(coding.as_bytes());
        out.push(b'"');
    }
}

/// Nanoseconds from the first byte to the last.
fn took(message: Option<&Message>) -> Option<i64> {
    let message = message?;
    let (end, _) = message.end?;
    end.time.checked_sub(message.start.time)
}

/// Appends nanoseconds as milliseconds, to the microsecond; 0 if they are not known.
fn milliseconds(time: Option<i64>, out: &mut Vec<u8>) {
    let micros = microseconds(time).unwrap_or(0);
    number(micros / 1000, out);
    if !micros.is_multiple_of(1000) {
        out.extend_from_slice(format!(".{:03}", micros % 1000).as_bytes());
    }
}

fn signed(value: Option<u64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => number(value, out),
        None => out.extend_from_slice(b"-1"),
    }
}

fn sizes(message: Option<&Message>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"headersSize\":");
    signed(message.map(Message::head_bytes), out);
    out.extend_from_slice(b",\"bodySize\":");
    signed(message.and_then(Message::body).map(|body| body.wire), out);
}

fn headers(transaction: &Transaction, of_request: bool, out: &mut Vec<u8>) {
    for (index, (name, value)) in transaction.headers(of_request).enumerate() {
        pair(index, name, value, out);
    }
}

fn query(query: &[u8], out: &mut Vec<u8>) {
    let pairs = query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for (index, text) in pairs.enumerate() {
        let end = memchr::memchr(b'=', text).unwrap_or(text.len());
        pair(index, text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default(), out);
    }
}

fn pair(index: usize, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
    escape::json(name, out);
    out.extend_from_slice(b",\"value\":");
    escape::json(value, out);
    out.push(b'}');
}

/// The value of a response's header; empty if it has none.
fn header<'a>(transaction: &'a Transaction, name: &[u8]) -> &'a [u8] {
    transaction.headers(false).find(|(known, _)| *known == name).map_or(b"", |(_, value)| value)
}

/// Appends the absolute URL; what may not stand in one is percent-encoded (RFC 3986, section 2).
fn url(transaction: &Transaction, out: &mut Vec<u8>) {
    let target = transaction.target().unwrap_or_default();
    let (authority, path) = match transaction.method() {
        Some(b"CONNECT") => (Some(target), &b""[..]),
        _ => (transaction.authority().or_else(|| transaction.host()), target),
    };
    if !target.starts_with(b"/") && transaction.authority().is_some() && transaction.method() != Some(b"CONNECT") {
        return encoded(target, out);
    }
    encoded(transaction.scheme(), out);
    out.extend_from_slice(b"://");
    match authority {
        Some(authority) => encoded(without_user(authority), out),
        None => endpoint(transaction.server, out),
    }
    if path.starts_with(b"/") {
        encoded(path, out);
    } else if !path.is_empty() {
        // OPTIONS *
        out.push(b'/');
        encoded(path, out);
    }
}

fn encoded(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(byte) {
            out.push(*byte);
        } else {
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use crate::stream::EndReason;

    fn entry(wire: &Wire) -> Value {
        let mut out = Vec::new();
        Har.line(wire.last(), &mut out);
        serde_json::from_slice(out.strip_prefix(b",").unwrap()).unwrap()
    }

    #[test]
    fn an_entry_has_what_viewers_need() {
        let mut wire = Wire::new(Settings { all_headers: true, ..Settings::default() });
        let head = "GET /a|b\u{e9}?q=1&token=x&z HTTP/1.1\nHost: h:81\nCookie: s=1\nAccept: a\naccept: b";
        wire.ask(1, head, 0).wait(2).end(0, 1, 0, 0).wait(10);
        wire.answer(1, "HTTP/1.1 302 Found\nContent-Type: text/html\nLocation: /c", 0).wait(3).end(1, 1, 7, 0);
        let entry = entry(&wire);
        let url = entry["request"]["url"].as_str().unwrap();
        assert_eq!(url, "http://h:81/a%7Cb%C3%A9?q=1&token=REDACTED&z");
        assert_eq!((&entry["time"], &entry["timings"]["wait"]), (&Value::from(15), &Value::from(10)));
        let headers: Vec<_> = entry["request"]["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair["name"].as_str().unwrap(), pair["value"].as_str().unwrap()))
            .collect();
        assert_eq!(headers, [("host", "h:81"), ("cookie", "REDACTED"), ("accept", "a"), ("accept", "b")]);
        let response = &entry["response"];
        assert_eq!(
            (&response["redirectURL"], &response["content"]["mimeType"]),
            (&Value::from("/c"), &Value::from("text/html"))
        );
        assert_eq!((&response["status"], &response["bodySize"]), (&Value::from(302), &Value::from(7)));
    }

    #[test]
    fn bodies_are_text_or_base64() {
        use crate::http::body::BodySettings;
        use crate::http::media_type::MediaTypes;
        let bodies = BodySettings { bytes: 10, types: MediaTypes::default() };
        let mut wire = Wire::new(Settings { all_headers: true, bodies: Some(bodies), ..Settings::default() });
        wire.ask_on(1, "POST / h2\ncontent-type: text/plain", 0).tell_on(0, 1, 0, b"a\\x41 \"\xe9").end_on(0, 1, 8, 0);
        wire.answer_on(1, "h2 200\ncontent-type: text/html; x", 0).tell_on(1, 1, 0, "a\\x41 \u{e9}123".as_bytes());
        wire.end_on(1, 1, 20, 0);
        let entry = entry(&wire);
        let asked =
            serde_json::json!({"mimeType": "text/plain", "params": [], "text": "YVx4NDEgIuk=", "encoding": "base64"});
        assert_eq!(entry["request"]["postData"], asked);
        let content = &entry["response"]["content"];
        assert_eq!((&content["text"], &content["_truncated"]), (&Value::from("a\\x41 \u{e9}12"), &Value::from(true)));
        assert_eq!(content["mimeType"], "text/html; x");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "OPTIONS * HTTP/1.1", 0).end(0, 1, 0, 0).close(EndReason::Reset);
        let value = entry(&wire);
        assert_eq!(value["request"]["url"], "http://10.0.0.2:80/*");
        assert_eq!(
            (&value["response"]["status"], &value["response"]["bodySize"], &value["time"]),
            (&Value::from(0), &Value::from(-1), &Value::from(0))
        );
        assert_eq!(value["_flags"], Value::from(vec!["no_response", "reset"]));
        wire.ask(2, "GET HTTPS://u:p@h/x HTTP/1.1\nHost: other", 0).end(0, 2, 0, 0).reply(2, 200, 0);
        let url = entry(&wire)["request"]["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with("HTTPS://") && url.ends_with("h/x"), "{url}");
        wire.ask(3, "CONNECT h:443 HTTP/1.1", 0).end(0, 3, 0, 0).close(EndReason::Fin);
        assert_eq!(entry(&wire)["request"]["url"], "http://h:443");
    }
}
