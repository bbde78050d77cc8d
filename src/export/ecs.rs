//! An ECS line is a transaction as one JSON object in the Elastic Common Schema.
//!
//! Fields that the schema has no name for stand under `picotap`: `conn`, `seq`, `client_process`, `server_process`, `ja4`, `ttfb_us`, `interim`, `tunnel`,
//! `via` and what goes with it, `stream`, `stream_error`, those of gRPC, `parent_id` (of `traceparent`), `lost_bytes`,
//! `request_headers`, `response_headers`, `request_body_truncated` and the like, `flags`; of other protocols `target`. `http.*.bytes` is head and body as on the
//! wire. Texts are escaped as [`crate::escape`] says. With `--tls` a line is a TLS connection.

mod process;
mod tls;

use crate::escape;
use crate::export::json::{bodies, grpc, headers, numeric, optional, processes, via};
use crate::export::numbers::{address, number, rfc3339};
use crate::export::{Format, Origin};
use crate::http::body::BodyText;
use crate::http::filter::{is_error, tunnel_name, without_port, without_user};
use crate::http::{Flags, Message, TlsConnection, Transaction, microseconds};
use crate::stream::Endpoint;

/// Version of the schema that the fields are taken from.
pub(super) const VERSION: &str = "9.0.0";

/// Writes ECS lines.
#[derive(Debug)]
pub(super) struct Ecs {
    origin: Origin,
}

impl Ecs {
    /// What has no name in `origin` is not written.
    #[must_use]
    pub(super) const fn new(origin: Origin) -> Self {
        Self { origin }
    }
}

impl Format for Ecs {
    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"@timestamp\":\"");
        rfc3339(transaction.time(), out);
        out.extend_from_slice(b"\",\"ecs\":{\"version\":\"");
        out.extend_from_slice(VERSION.as_bytes());
        out.extend_from_slice(b"\"}");
        event(transaction, out);
        endpoint(b",\"source\":{\"address\":\"", transaction.client, out);
        endpoint(b",\"destination\":{\"address\":\"", transaction.server, out);
        network(transaction, out);
        process::objects(transaction.server_process(), out);
        if transaction.protocol().is_none() {
            http(transaction, out);
            url(transaction, out);
        }
        if let Some(secured) = &transaction.secured {
            // Its plaintext was read.
            tls::object(secured, true, out);
        }
        if let Some(user_agent) = transaction.user_agent() {
            optional(b",\"user_agent\":{\"original\":", Some(user_agent), out);
            out.push(b'}');
        }
        if let Some(trace) = transaction.trace_id() {
            optional(b",\"trace\":{\"id\":", Some(trace), out);
            out.push(b'}');
        }
        observer(self.origin.sensor(), self.origin.interfaces.get(transaction.interface), out);
        own(transaction, out);
        out.extend_from_slice(b"}\n");
    }

    fn tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) {
        tls::line(&self.origin, connection, out);
    }
}

fn observer(sensor: Option<&[u8]>, interface: Option<&str>, out: &mut Vec<u8>) {
    if sensor.is_none() && interface.is_none() {
        return;
    }
    out.extend_from_slice(b",\"observer\":{");
    optional(b"\"name\":", sensor, out);
    if let Some(interface) = interface {
        let key: &[u8] = if sensor.is_some() { b",\"ingress\"" } else { b"\"ingress\"" };
        out.extend_from_slice(key);
        optional(b":{\"interface\":{\"name\":", Some(interface.as_bytes()), out);
        out.extend_from_slice(b"}}");
    }
    out.push(b'}');
}

fn event(transaction: &Transaction, out: &mut Vec<u8>) {
    let (category, dataset) = match transaction.protocol() {
        None => ("\"web\",\"network\"", "http"),
        Some(_) => ("\"network\"", "operation"),
    };
    out.extend_from_slice(b",\"event\":{\"kind\":\"event\",\"category\":[");
    out.extend_from_slice(category.as_bytes());
    out.extend_from_slice(b"],\"type\":[\"access\"],\"dataset\":\"picotap.");
    out.extend_from_slice(dataset.as_bytes());
    out.push(b'"');
    if transaction.protocol().is_some() {
        optional(b",\"action\":", transaction.method(), out);
    }
    out.extend_from_slice(b",\"start\":\"");
    rfc3339(transaction.time(), out);
    out.push(b'"');
    if let Some((end, _)) = transaction.response.and_then(|response| response.end) {
        out.extend_from_slice(b",\"end\":\"");
        rfc3339(end.time, out);
        out.push(b'"');
    }
    numeric(b",\"duration\":", transaction.duration().and_then(|time| u64::try_from(time).ok()), out);
    let outcome: &[u8] = match transaction.response {
        _ if transaction.flags.intersects(Flags::OPEN | Flags::FAULT | Flags::OVERFLOW) => b"unknown",
        _ if is_error(transaction) => b"failure",
        Some(_) => b"success",
        None => b"unknown",
    };
    out.extend_from_slice(b",\"outcome\":\"");
    out.extend_from_slice(outcome);
    out.extend_from_slice(b"\"}");
}

fn endpoint(key: &[u8], endpoint: Endpoint, out: &mut Vec<u8>) {
    endpoint_with(key, endpoint, None, out);
}

/// The same, with the bytes that it sent.
fn endpoint_with(key: &[u8], endpoint: Endpoint, bytes: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    address(endpoint.ip, out);
    out.extend_from_slice(b"\",\"ip\":\"");
    address(endpoint.ip, out);
    out.extend_from_slice(b"\",\"port\":");
    number(endpoint.port, out);
    numeric(b",\"bytes\":", bytes, out);
    out.push(b'}');
}

fn network(transaction: &Transaction, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"network\":{\"transport\":\"tcp\",\"protocol\":\"");
    out.extend_from_slice(transaction.protocol().unwrap_or("http").as_bytes());
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(if transaction.client.ip.is_ipv4() { b"ipv4\"" } else { b"ipv6\"" });
    optional(b",\"community_id\":", transaction.community_id.as_ref().map(|text| &text[..]), out);
    if let Some(client) = transaction.client_forwarded {
        out.extend_from_slice(b",\"forwarded_ip\":\"");
        address(client, out);
        out.push(b'"');
    }
    out.push(b'}');
}

fn http(transaction: &Transaction, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"http\":{\"version\":\"");
    out.extend_from_slice(transaction.version().unwrap_or("1.1").as_bytes());
    out.push(b'"');
    if let Some(request) = &transaction.request {
        optional(b",\"request\":{\"method\":", Some(transaction.method().unwrap_or_default()), out);
        optional(b",\"referrer\":", transaction.referer(), out);
        sizes(request, transaction.body(true), out);
    }
    if let Some(response) = &transaction.response {
        match transaction.status {
            0 => out.extend_from_slice(b",\"response\":{"),
            status => numeric(b",\"response\":{\"status_code\":", Some(u64::from(status)), out),
        }
        sizes(response, transaction.body(false), out);
    }
    out.push(b'}');
}

/// Sizes of a message and its body, if that is kept, and the end of its object.
fn sizes(message: &Message, kept: Option<BodyText<'_>>, out: &mut Vec<u8>) {
    let text = kept.map(|body| body.text).filter(|text| !text.is_empty());
    if let Some(body) = message.body() {
        numeric(b",\"bytes\":", Some(message.head_bytes().saturating_add(body.wire)), out);
        numeric(b",\"body\":{\"bytes\":", Some(body.wire), out);
        optional(b",\"content\":", text, out);
        out.push(b'}');
    } else if text.is_some() {
        optional(b",\"body\":{\"content\":", text, out);
        out.push(b'}');
    }
    out.push(b'}');
}

fn url(transaction: &Transaction, out: &mut Vec<u8>) {
    if transaction.request.is_none() {
        return;
    }
    optional(b",\"url\":{\"original\":", Some(transaction.target().unwrap_or_default()), out);
    optional(b",\"scheme\":", Some(transaction.scheme()), out);
    if let Some(authority) = transaction.authority().or_else(|| transaction.host()).map(without_user) {
        let domain = without_port(authority);
        optional(b",\"domain\":", Some(domain), out);
        let port = authority.get(domain.len().saturating_add(1)..).and_then(|port| std::str::from_utf8(port).ok());
        numeric(b",\"port\":", port.and_then(|port| port.parse::<u16>().ok()).map(u64::from), out);
    }
    optional(b",\"path\":", transaction.path(), out);
    optional(b",\"query\":", transaction.query(), out);
    out.push(b'}');
}

fn own(transaction: &Transaction, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"picotap\":{\"conn\":\"");
    out.extend_from_slice(transaction.uid.as_bytes());
    out.push(b'"');
    numeric(b",\"seq\":", Some(u64::from(transaction.seq)), out);
    processes(&transaction.processes, out);
    let secured = transaction.secured.as_ref();
    optional(b",\"ja4\":", secured.and_then(|secured| secured.ja4.as_ref()).map(|print| print.as_bytes()), out);
    numeric(b",\"ttfb_us\":", microseconds(transaction.time_to_first_byte()), out);
    numeric(b",\"interim\":", Some(u64::from(transaction.interim)).filter(|interim| *interim != 0), out);
    optional(b",\"tunnel\":", tunnel_name(transaction).map(str::as_bytes), out);
    if let Some(outer) = &transaction.outer {
        via(outer, out);
    }
    numeric(b",\"stream\":", transaction.stream().map(u64::from), out);
    numeric(b",\"stream_error\":", transaction.stream_error().map(u64::from), out);
    if let Some(call) = transaction.grpc() {
        grpc(&call, out);
    }
    if transaction.protocol().is_some() {
        optional(b",\"target\":", transaction.target(), out);
        optional(b",\"status\":", transaction.reason(), out);
    }
    optional(b",\"parent_id\":", transaction.parent_id(), out);
    numeric(b",\"lost_bytes\":", Some(transaction.lost()).filter(|lost| *lost != 0), out);
    if transaction.bodies.is_some() {
        // Their texts have a place in the schema.
        bodies(transaction, false, out);
    }
    headers(b",\"request_headers\":{", transaction, true, out);
    headers(b",\"response_headers\":{", transaction, false, out);
    for (index, name) in transaction.flags.names().enumerate() {
        out.extend_from_slice(if index == 0 { b",\"flags\":[" } else { b"," });
        escape::json(name.as_bytes(), out);
    }
    out.extend_from_slice(if transaction.flags.is_empty() { b"}" } else { b"]}" });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::abi::flag;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use crate::stream::{EndReason, InterfaceNames};

    fn value(wire: &Wire) -> Value {
        let mut out = Vec::new();
        let interfaces = InterfaceNames::new(vec!["eth0".to_owned()], 0);
        Ecs::new(Origin { interfaces, sensor: String::new() }).line(wire.last(), &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_transaction_has_the_schemas_fields() {
        let mut wire = Wire::new(Settings { headers: vec!["via".to_owned()], ..Settings::default() });
        wire.ask(1, "POST /a?b=c HTTP/1.1\nHost: h:8080\nUser-Agent: u\nReferer: r\nVia: v", flag::BARE_LF);
        wire.end(0, 1, 7, 0).wait(12).reply(1, 200, 9);
        let wanted = json!({
            "@timestamp": "2026-01-02T03:04:05.000000Z",
            "ecs": {"version": "9.0.0"},
            "event": {
                "kind": "event", "category": ["web", "network"], "type": ["access"], "dataset": "picotap.http",
                "start": "2026-01-02T03:04:05.000000Z", "end": "2026-01-02T03:04:05.012000Z",
                "duration": 12_000_000, "outcome": "success",
            },
            "source": {"address": "10.0.0.1", "ip": "10.0.0.1", "port": 4321},
            "destination": {"address": "10.0.0.2", "ip": "10.0.0.2", "port": 80},
            "network": {"transport": "tcp", "protocol": "http", "type": "ipv4"},
            "http": {
                "version": "1.1",
                "request": {"method": "POST", "referrer": "r", "bytes": 72, "body": {"bytes": 7}},
                "response": {"status_code": 200, "bytes": 28, "body": {"bytes": 9}},
            },
            "url": {"original": "/a?b=c", "scheme": "http", "domain": "h", "port": 8080, "path": "/a", "query": "b=c"},
            "user_agent": {"original": "u"},
            "observer": {"ingress": {"interface": {"name": "eth0"}}},
            "picotap": {"conn": wire.last().uid.to_string(), "seq": 1, "ttfb_us": 12000, "request_headers": {"via": ["v"]}, "flags": ["bare_lf"]},
        });
        assert_eq!(value(&wire), wanted);
    }

    #[test]
    fn bodies_have_the_schemas_fields() {
        use crate::http::body::BodySettings;
        use crate::http::media_type::MediaTypes;
        let bodies = Some(BodySettings { bytes: 20, types: MediaTypes::default() });
        let mut wire = Wire::new(Settings { bodies, ..Settings::default() });
        wire.ask_on(1, "POST / h2\ncontent-type: text/plain", 0).tell_on(0, 1, 0, b"pin=12");
        wire.end_on(0, 1, 6, 0).answer_on(1, "h2 200\ncontent-type: text/plain\ncontent-encoding: br", 0);
        wire.tell_on(1, 1, 0, b"x").end_on(1, 1, 1, 0);
        let found = value(&wire);
        assert_eq!(found["http"]["request"]["body"], json!({"bytes": 6, "content": "pin=REDACTED"}));
        assert_eq!(found["http"]["response"]["body"], json!({"bytes": 1}));
        assert_eq!(found["picotap"]["response_body_undecoded"], "br");
    }

    #[test]
    fn an_observer_has_the_names_that_there_are() {
        let observer = |sensor: &str, interfaces: Vec<String>| {
            let origin = Origin { interfaces: InterfaceNames::new(interfaces, 0), sensor: sensor.to_owned() };
            let mut wire = Wire::new(Settings::default());
            let mut out = Vec::new();
            Ecs::new(origin).line(wire.get(1, "/").reply(1, 200, 0).last(), &mut out);
            serde_json::from_slice::<Value>(&out).unwrap()["observer"].take()
        };
        let eth0 = || vec!["eth0".to_owned()];
        assert_eq!(observer("", vec![]), Value::Null);
        assert_eq!(observer("n\"1", vec![]), json!({"name": "n\"1"}));
        assert_eq!(observer("n", eth0()), json!({"name": "n", "ingress": {"interface": {"name": "eth0"}}}));
    }

    #[test]
    fn a_call_of_grpc_has_keys_of_our_own() {
        let mut wire = Wire::new(Settings::default());
        let found = value(wire.call(3, "5"));
        assert_eq!((&found["http"]["version"], &found["event"]["outcome"]), (&json!("2"), &json!("failure")));
        let own = &found["picotap"];
        assert_eq!((&own["stream"], &own["grpc_status"]), (&json!(3), &json!(5)));
        assert_eq!((&own["grpc_service"], &own["grpc_method"]), (&json!("pkg.Greeter"), &json!("SayHello")));
    }

    #[test]
    fn outcomes_are_told_apart() {
        let outcome = |wire: &Wire| value(wire)["event"]["outcome"].as_str().unwrap().to_owned();
        let mut wire = Wire::new(Settings::default());
        assert_eq!(outcome(wire.get(1, "/").reply(1, 500, 0)), "failure");
        assert_eq!(outcome(wire.get(2, "/").close(EndReason::Capture)), "unknown");
        assert_eq!(outcome(wire.get(3, "/").close(EndReason::Reset)), "failure");
        assert_eq!(outcome(wire.answer(0, "HTTP/1.1 200 OK", 0).end(1, 0, 0, 0).close(EndReason::Fin)), "success");
        assert_eq!(value(&wire)["url"], Value::Null);
    }

    #[test]
    fn the_targets_own_authority_counts_before_the_host() {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "GET http://[::1]:81 HTTP/1.1\nHost: h", 0).end(0, 1, 0, 0).reply(1, 200, 0);
        let url = &value(&wire)["url"];
        assert_eq!((&url["domain"], &url["port"], &url["path"]), (&json!("[::1]"), &json!(81), &json!("/")));
        wire.ask(2, "GET http://user:pass@ex.com:81/p HTTP/1.1\nHost: h", 0).end(0, 2, 0, 0).reply(2, 200, 0);
        let url = &value(&wire)["url"];
        assert_eq!(url["original"], json!("http://REDACTED:REDACTED@ex.com:81/p"));
        assert_eq!((&url["domain"], &url["port"], &url["path"]), (&json!("ex.com"), &json!(81), &json!("/p")));
    }
}
