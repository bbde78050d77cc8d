//! An OTLP line is a transaction as an OpenTelemetry span: one `ExportTraceServiceRequest` in the JSON encoding of OTLP, as a
//! collector's `otlpjsonfile` receiver takes it.
//!
//! The span is of kind SERVER, from the first byte of the request to the last of the response that is known, with attributes by
//! the semantic conventions (HTTP server spans). Its trace and its parent are those of the request's `traceparent`; without a
//! valid one it is a trace of its own. Its identifiers are made by SHA-256 of the connection's [uid](crate::http::uid) and the
//! transaction's number (4 bytes in network byte order): 8 bytes for the span, the next 16 for a trace. So the same capture
//! gives the same spans. The resource is the observer: service `picotap`, and the sensor as `service.instance.id`.
//!
//! The server's process is `process.pid` and `process.executable.name` (its command, as the process names itself), its container and
//! pod `container.id` and `k8s.pod.uid`; the conventions have no second process, so that the client's stands under `picotap.client_process.`.
//!
//! What has no name there stands under `picotap.`: `conn`, `seq`, `stream`, `flags`, `ttfb_us`, `tls.server_name`, `tls.ja4`, and
//! of other protocols `target`. Texts are escaped as [`crate::escape`] says.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::escape;
use crate::export::numbers::{address, number};
use crate::export::{Format, Origin};
use crate::http::filter::{without_port, without_user};
use crate::http::{Flags, Message, Transaction, grpc, microseconds};
use crate::process::Process;
use crate::stream::Secured;

/// Methods that the conventions know; others are `_OTHER`.
const METHODS: [&[u8]; 9] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];
/// Flags of a span's context: whether its parent is on another host is known, and it is.
const REMOTE: u32 = 0x300;
/// What may have gone wrong beside the status, by the flag that says it.
const WRONG: [(Flags, &str); 7] = [
    (Flags::RESET, "reset"),
    (Flags::TIMEOUT, "timeout"),
    (Flags::NOT_PROCESSED, "not_processed"),
    (Flags::STREAM_RESET, "stream_reset"),
    (Flags::NO_RESPONSE, "no_response"),
    (Flags::TRUNCATED, "truncated"),
    (Flags::FAILED, "failed"),
];

/// Names for what is known of the client's process.
const CLIENT_PROCESS: [&str; 4] = [
    "picotap.client_process.pid",
    "picotap.client_process.command",
    "picotap.client_process.container",
    "picotap.client_process.pod",
];

/// Writes spans.
#[derive(Debug)]
pub(super) struct Otlp {
    origin: Origin,
    /// The beginning of each line, up to the span.
    head: Vec<u8>,
}

impl Otlp {
    /// What has no name in `origin` is not written.
    #[must_use]
    pub(super) fn new(origin: Origin) -> Self {
        let mut head = b"{\"resourceSpans\":[{\"resource\":{\"attributes\":[".to_vec();
        let mut resource = Attributes::new(&mut head);
        resource.text("service.name", Some(b"picotap"));
        resource.text("service.version", Some(env!("CARGO_PKG_VERSION").as_bytes()));
        resource.text("service.instance.id", origin.sensor());
        head.extend_from_slice(b"]},\"scopeSpans\":[{\"scope\":{\"name\":\"picotap\"},\"spans\":[{");
        Self { origin, head }
    }
}

impl Format for Otlp {
    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        identifiers(transaction, out);
        let name = match (transaction.protocol(), transaction.grpc_name(), method(transaction)) {
            (None, Some(name), _) => name,
            (None, None, Some((method, true))) => method,
            (None, None, _) => b"HTTP",
            (Some(protocol), ..) => transaction.method().unwrap_or(protocol.as_bytes()),
        };
        out.extend_from_slice(b",\"name\":");
        escape::json(name, out);
        out.extend_from_slice(b",\"kind\":2,\"startTimeUnixNano\":\"");
        let start = transaction.time().max(0);
        number(start, out);
        out.extend_from_slice(b"\",\"endTimeUnixNano\":\"");
        number(end(transaction).max(start), out);
        out.extend_from_slice(b"\",\"attributes\":[");
        let interface = self.origin.interfaces.get(transaction.interface);
        attributes(transaction, interface, &mut Attributes::new(out));
        out.push(b']');
        if error(transaction).is_some() {
            out.extend_from_slice(b",\"status\":{\"code\":2}");
        }
        out.extend_from_slice(b"}]}]}]}\n");
    }
}

/// Identifiers of trace and span, of the parent if there is one, and flags.
fn identifiers(transaction: &Transaction, out: &mut Vec<u8>) {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(transaction.uid.as_bytes())
        .chain_update(transaction.seq.to_be_bytes())
        .finalize()
        .into();
    let (span, rest) = digest.split_at(8);
    let own = rest.get(..16).unwrap_or_default();
    out.extend_from_slice(b"\"traceId\":\"");
    match transaction.trace_id() {
        Some(trace) => out.extend_from_slice(trace),
        None => hex(own, out),
    }
    out.extend_from_slice(b"\",\"spanId\":\"");
    hex(span, out);
    out.push(b'"');
    if let Some(parent) = transaction.parent_id() {
        out.extend_from_slice(b",\"parentSpanId\":\"");
        out.extend_from_slice(parent);
        out.extend_from_slice(b"\",\"flags\":");
        number(REMOTE | u32::from(transaction.trace_flags().unwrap_or(0)), out);
    }
}

/// Appends at most 16 bytes as hexadecimal digits.
fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let mut text = [0; 32];
    if let Some(text) = text.get_mut(..bytes.len() * 2) {
        HEXLOWER.encode_mut(bytes, text);
        out.extend_from_slice(text);
    }
}

/// Time of the last byte that is known.
fn end(transaction: &Transaction) -> i64 {
    let end = |message: Message| message.end.map_or(message.head_end, |(end, _)| end).time;
    transaction.response.or(transaction.request).map_or(0, end)
}

/// The method, and whether the conventions know it.
fn method(transaction: &Transaction) -> Option<(&[u8], bool)> {
    let method = transaction.method()?;
    Some((method, METHODS.contains(&method)))
}

/// What went wrong, in few words. Client errors are none of the server's.
fn error(transaction: &Transaction) -> Option<&'static str> {
    if let Some(status) = transaction.grpc_status() {
        return grpc::is_server_error(status).then_some(grpc::status_name(status).unwrap_or("_OTHER"));
    }
    let flag = WRONG.iter().find(|(flag, _)| transaction.flags.intersects(*flag));
    match transaction.status {
        500..=599 => Some(""),
        _ => flag.map(|(_, name)| *name),
    }
}

fn attributes(transaction: &Transaction, interface: Option<&str>, to: &mut Attributes<'_>) {
    match transaction.protocol() {
        None => http(transaction, to),
        Some(protocol) => {
            to.text("network.protocol.name", Some(protocol.as_bytes()));
            to.text("picotap.target", transaction.target());
        }
    }
    match error(transaction) {
        Some("") => to.written("error.type", |out| number(transaction.status, out)),
        name => to.text("error.type", name.map(str::as_bytes)),
    }
    let peer = transaction.outer.as_ref().and_then(|outer| outer.relay).unwrap_or(transaction.client);
    to.written("client.address", |out| address(transaction.client.ip, out));
    to.number("client.port", Some(u64::from(transaction.client.port)));
    to.written("network.peer.address", |out| address(peer.ip, out));
    to.number("network.peer.port", Some(u64::from(peer.port)));
    to.written("network.local.address", |out| address(transaction.server.ip, out));
    to.number("network.local.port", Some(u64::from(transaction.server.port)));
    to.text("network.transport", Some(b"tcp"));
    to.text("network.interface.name", interface.map(str::as_bytes));
    if let Some(secured) = &transaction.secured {
        tls(secured, to);
    }
    process(
        transaction.server_process(),
        ["process.pid", "process.executable.name", "container.id", "k8s.pod.uid"],
        to,
    );
    process(transaction.client_process(), CLIENT_PROCESS, to);
    to.text("picotap.conn", Some(transaction.uid.as_bytes()));
    to.number("picotap.seq", Some(u64::from(transaction.seq)));
    to.number("picotap.ttfb_us", microseconds(transaction.time_to_first_byte()));
    to.list("picotap.flags", transaction.flags.names().map(str::as_bytes));
}

fn http(transaction: &Transaction, to: &mut Attributes<'_>) {
    match method(transaction) {
        Some((method, true)) => to.text("http.request.method", Some(method)),
        Some((method, false)) => {
            to.text("http.request.method", Some(b"_OTHER"));
            to.text("http.request.method_original", Some(method));
        }
        None => {}
    }
    if transaction.request.is_some() {
        to.text("url.scheme", Some(transaction.scheme()));
    }
    to.text("http.route", transaction.route());
    to.text("url.path", transaction.path());
    to.text("url.query", transaction.query());
    if let Some(authority) = transaction.authority().or_else(|| transaction.host()).map(without_user) {
        let domain = without_port(authority);
        let name = domain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(domain);
        to.text("server.address", Some(name));
        let port = authority.get(domain.len().saturating_add(1)..).and_then(|port| std::str::from_utf8(port).ok());
        to.number("server.port", port.and_then(|port| port.parse::<u16>().ok()).map(u64::from));
    }
    to.text("user_agent.original", transaction.user_agent());
    to.text("network.protocol.name", Some(b"http"));
    to.text("network.protocol.version", transaction.version().map(str::as_bytes));
    to.number("http.response.status_code", transaction.known_status().map(u64::from));
    let body = |message: Option<Message>| message.and_then(|message| message.body()).map(|body| body.wire);
    to.number("http.request.body.size", body(transaction.request));
    to.number("http.response.body.size", body(transaction.response));
    if transaction.is_grpc() {
        to.text("rpc.system.name", Some(b"grpc"));
        to.text("rpc.method", transaction.grpc_name());
        let status = transaction.grpc_status().map(grpc::status_text);
        to.text("rpc.response.status_code", status.as_deref().map(str::as_bytes));
    }
    to.number("picotap.stream", transaction.stream().map(u64::from));
    for (key, of_request) in [("http.request.header.", true), ("http.response.header.", false)] {
        let mut headers = transaction.headers(of_request).peekable();
        while let Some((name, value)) = headers.next() {
            let more = std::iter::from_fn(|| headers.next_if(|(next, _)| *next == name).map(|(_, value)| value));
            let key = [key.as_bytes(), name].concat();
            to.list_named(&key, std::iter::once(value).chain(more));
        }
    }
}

/// By the conventions; they have no JA4.
fn tls(secured: &Secured, to: &mut Attributes<'_>) {
    if let Some((name, number)) = secured.version.and_then(|version| version.split_once('v')) {
        to.text("tls.protocol.name", Some(name.to_ascii_lowercase().as_bytes()));
        to.text("tls.protocol.version", Some(number.as_bytes()));
    }
    to.text("tls.cipher", secured.cipher.map(str::as_bytes));
    to.text("tls.next_protocol", secured.alpn.as_ref().map(|name| name.to_lowercase()).as_deref().map(str::as_bytes));
    to.flag("tls.established", Some(true));
    to.flag("tls.resumed", secured.resumed);
    to.text("picotap.tls.server_name", secured.server_name.as_deref().map(str::as_bytes));
    to.text("picotap.tls.ja4", secured.ja4.as_deref().map(str::as_bytes));
}

/// A process, under names for its number, its command, its container and its pod.
fn process(process: Option<&Process>, [number, name, container_name, pod_name]: [&str; 4], to: &mut Attributes<'_>) {
    let Some(Process { pid, command, container, pod }) = process else { return };
    to.number(number, pid.map(u64::from));
    to.text(name, Some(command));
    to.text(container_name, container.as_deref().map(str::as_bytes));
    to.text(pod_name, pod.as_deref().map(str::as_bytes));
}

/// A list of attributes that is being written.
struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Attributes<'a> {
    const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    fn key(&mut self, key: &[u8]) {
        let separator: &[u8] = if self.first { b"{\"key\":" } else { b",{\"key\":" };
        self.first = false;
        self.out.extend_from_slice(separator);
        escape::json(key, self.out);
        self.out.extend_from_slice(b",\"value\":{");
    }

    /// A text, if it is known.
    fn text(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        self.key(key.as_bytes());
        self.out.extend_from_slice(b"\"stringValue\":");
        escape::json(value, self.out);
        self.out.extend_from_slice(b"}}");
    }

    /// A text that `write` appends, in which nothing needs to be escaped.
    fn written(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key.as_bytes());
        self.out.extend_from_slice(b"\"stringValue\":\"");
        write(self.out);
        self.out.extend_from_slice(b"\"}}");
    }

    /// A number, if it is known: in the encoding, 64 bits are a text.
    fn number(&mut self, key: &str, value: Option<u64>) {
        let Some(value) = value else { return };
        self.key(key.as_bytes());
        self.out.extend_from_slice(b"\"intValue\":\"");
        number(value, self.out);
        self.out.extend_from_slice(b"\"}}");
    }

    /// A truth value, if it is known.
    fn flag(&mut self, key: &str, value: Option<bool>) {
        let Some(value) = value else { return };
        self.key(key.as_bytes());
        self.out.extend_from_slice(if value { b"\"boolValue\":true}}" } else { b"\"boolValue\":false}}" });
    }

    /// Texts, if there are any.
    fn list<'b>(&mut self, key: &str, values: impl Iterator<Item = &'b [u8]>) {
        self.list_named(key.as_bytes(), values);
    }

    fn list_named<'b>(&mut self, key: &[u8], values: impl Iterator<Item = &'b [u8]>) {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return;
        }
        self.key(key);
        self.out.extend_from_slice(b"\"arrayValue\":{\"values\":[");
        for (index, value) in values.enumerate() {
            let separator: &[u8] = if index == 0 { b"{\"stringValue\":" } else { b",{\"stringValue\":" };
            self.out.extend_from_slice(separator);
            escape::json(value, self.out);
            self.out.push(b'}');
        }
        self.out.extend_from_slice(b"]}}}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use crate::stream::{EndReason, InterfaceNames};

    fn line(wire: &Wire) -> Value {
        let origin = Origin { interfaces: InterfaceNames::new(vec!["eth0".to_owned()], 0), sensor: "s".to_owned() };
        let mut out = Vec::new();
        Otlp::new(origin).line(wire.last(), &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    fn span(wire: &Wire) -> Value {
        line(wire)["resourceSpans"][0]["scopeSpans"][0]["spans"][0].take()
    }

    /// Attributes by key.
    fn attributes(list: &Value) -> serde_json::Map<String, Value> {
        let list = list.as_array().unwrap();
        let map: serde_json::Map<String, Value> =
            list.iter().map(|one| (one["key"].as_str().unwrap().to_owned(), one["value"].clone())).collect();
        assert_eq!(map.len(), list.len(), "a key stands once");
        map
    }

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_transaction_of_a_trace_is_a_span_in_it() {
        let mut wire = Wire::new(Settings { headers: vec!["via".to_owned()], ..Settings::default() });
        let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        wire.ask(1, format!("POST /a?b=c HTTP/1.1\nHost: h:8080\nUser-Agent: u\nVia: 1\nVia: 2\n{parent}"), 0);
        wire.end(0, 1, 7, 0).wait(12).reply(1, 200, 9);
        let line = line(&wire);
        let resource = attributes(&line["resourceSpans"][0]["resource"]["attributes"]);
        assert_eq!(resource["service.name"], json!({"stringValue": "picotap"}));
        assert_eq!(resource["service.instance.id"], json!({"stringValue": "s"}));
        let span = span(&wire);
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!("b7ad6b7169203331")));
        assert_eq!((&span["name"], &span["kind"], &span["flags"]), (&json!("POST"), &json!(2), &json!(0x301)));
        let times = [&span["startTimeUnixNano"], &span["endTimeUnixNano"]];
        assert_eq!(times, [&json!("1767323045000000000"), &json!("1767323045012000000")]);
        assert!(span.get("status").is_none());
        let found = attributes(&span["attributes"]);
        let text = |value: &str| json!({"stringValue": value});
        let number = |value: &str| json!({"intValue": value});
        for (key, value) in [
            ("http.request.method", text("POST")),
            ("url.scheme", text("http")),
            ("url.path", text("/a")),
            ("url.query", text("b=c")),
            ("server.address", text("h")),
            ("server.port", number("8080")),
            ("client.address", text("10.0.0.1")),
            ("client.port", number("4321")),
            ("network.peer.address", text("10.0.0.1")),
            ("network.local.address", text("10.0.0.2")),
            ("network.local.port", number("80")),
            ("network.protocol.name", text("http")),
            ("network.protocol.version", text("1.1")),
            ("network.interface.name", text("eth0")),
            ("http.response.status_code", number("200")),
            ("http.request.body.size", number("7")),
            ("user_agent.original", text("u")),
            ("picotap.conn", text(&wire.last().uid.to_string())),
            ("picotap.ttfb_us", number("12000")),
            ("http.request.header.via", json!({"arrayValue": {"values": [text("1"), text("2")]}})),
        ] {
            assert_eq!(found[key], value, "{key}");
        }
        assert!(!found.contains_key("error.type"));
    }

    #[test]
    fn both_processes_are_attributes_of_the_span() {
        let mut wire = Wire::new(Settings::default());
        wire.get(1, "/").reply(1, 200, 0);
        let found = attributes(&span(&wire)["attributes"]);
        assert!(!found.keys().any(|key| key.contains("process") || key.contains("container")));
        let server = Process {
            pid: Some(7),
            command: b"nginx".as_slice().into(),
            container: Some("0a".into()),
            pod: Some("u".into()),
        };
        let client = Process { pid: None, command: b"c\xff".as_slice().into(), container: None, pod: None };
        let transaction = wire.done.last_mut().unwrap();
        transaction.processes = [Some(Arc::new(client)), Some(Arc::new(server))];
        let found = attributes(&span(&wire)["attributes"]);
        for (key, value) in [
            ("process.pid", json!({"intValue": "7"})),
            ("process.executable.name", json!({"stringValue": "nginx"})),
            ("container.id", json!({"stringValue": "0a"})),
            ("k8s.pod.uid", json!({"stringValue": "u"})),
            ("picotap.client_process.command", json!({"stringValue": "c\\xff"})),
        ] {
            assert_eq!(found[key], value, "{key}");
        }
        assert!(!found.contains_key("picotap.client_process.pid"));
    }

    #[test]
    fn without_a_trace_it_is_one_of_its_own_always_the_same() {
        let mut wire = Wire::new(Settings::default());
        let first = span(wire.get(1, "/").reply(1, 200, 0));
        let second = span(wire.get(2, "/").reply(2, 200, 0));
        assert!(first.get("parentSpanId").is_none() && first.get("flags").is_none());
        for (key, length) in [("traceId", 32), ("spanId", 16)] {
            assert_eq!(first[key].as_str().unwrap().len(), length);
            assert_ne!(first[key], second[key]);
        }
        let mut again = Wire::new(Settings::default());
        assert_eq!(span(again.get(1, "/").reply(1, 200, 0)), first);
    }

    #[test]
    fn what_went_wrong_is_a_type_of_error() {
        let error = |wire: &Wire| {
            let span = span(wire);
            let error = attributes(&span["attributes"]).get("error.type").map(|value| value["stringValue"].clone());
            assert_eq!(span.get("status").is_some_and(|status| status["code"] == 2), error.is_some());
            error.and_then(|error| error.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let mut wire = Wire::new(Settings::default());
        assert_eq!(error(wire.get(1, "/").reply(1, 503, 0)), "503");
        assert_eq!(error(wire.get(2, "/").reply(2, 404, 0)), "", "the client's");
        assert_eq!(error(wire.get(3, "/").close(EndReason::Reset)), "reset");
        assert_eq!(error(wire.get(1, "/").close(EndReason::Capture)), "", "not known");
    }

    #[test]
    fn a_call_of_grpc_is_named_by_what_it_calls() {
        let mut wire = Wire::new(Settings::default());
        let span = span(wire.call(3, "13"));
        let found = attributes(&span["attributes"]);
        assert_eq!((&span["name"], &span["status"]["code"]), (&json!("pkg.Greeter/SayHello"), &json!(2)));
        for (key, value) in [
            ("rpc.system.name", "grpc"),
            ("rpc.method", "pkg.Greeter/SayHello"),
            ("rpc.response.status_code", "INTERNAL"),
            ("error.type", "INTERNAL"),
            ("network.protocol.version", "2"),
            ("url.scheme", "http"),
        ] {
            assert_eq!(found[key]["stringValue"], json!(value), "{key}");
        }
        assert_eq!(found["picotap.stream"]["intValue"], json!("3"));
        let refused = self::span(wire.call(5, "5"));
        assert!(refused.get("status").is_none() && !attributes(&refused["attributes"]).contains_key("error.type"));
    }

    #[test]
    fn unknown_methods_and_other_protocols_have_names_of_few() {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "BREW / HTTP/1.1\nHost: [::1]:81", 0).end(0, 1, 0, 0).reply(1, 200, 0);
        let brewed = span(&wire);
        let found = attributes(&brewed["attributes"]);
        assert_eq!((&brewed["name"], &found["http.request.method"]["stringValue"]), (&json!("HTTP"), &json!("_OTHER")));
        assert_eq!(found["http.request.method_original"]["stringValue"], json!("BREW"));
        assert_eq!(found["server.address"]["stringValue"], json!("::1"));
        wire.operate(2, "socks", "connect", "h:80").wait(2).outcome(2, "refused", crate::abi::flag::FAILED);
        let found = span(&wire);
        let (name, found) = (found["name"].clone(), attributes(&found["attributes"]));
        assert_eq!((name, &found["network.protocol.name"]["stringValue"]), (json!("connect"), &json!("socks")));
        assert_eq!(found["error.type"]["stringValue"], json!("failed"));
        assert!(!found.contains_key("url.scheme"));
    }
}
