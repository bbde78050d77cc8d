//! A JSON line is a transaction as one object, its keys in a fixed order, absent when unknown.
//!
//! | key | meaning |
//! |---|---|
//! | `ts` | first byte of the request (without one: of the response), RFC 3339, UTC, microseconds |
//! | `sensor` | name of the sensor, if it has one |
//! | `conn`, `seq` | [identifier](crate::http::uid) of the connection, number of the transaction on it, from 1 |
//! | `client`, `client_port`, `server`, `server_port` | the sender of the request, and its receiver |
//! | `client_forwarded` | the client behind proxies that are trusted, as they name it |
//! | `client_process`, `server_process` | with `--processes`, objects: `command`, `pid`, and of its cgroup `container` and `pod` |
//! | `protocol` | of an operation of another protocol than HTTP: its name, such as `socks` |
//! | `operation`, `target` | of an operation: its name, and what it is about |
//! | `outcome`, `error` | of an operation: its status in the protocol's words; `error` if it failed |
//! | `method`, `target`, `version`, `host`, `user_agent`, `referer` | of the request; version as in `1.1`, or `2` |
//! | `stream`, `scheme` | in HTTP/2: number of the stream; scheme of the request |
//! | `route` | the path with its variable segments named: see [`crate::http::route`] |
//! | `status`, `reason` | of the final response |
//! | `stream_error` | in HTTP/2, with flag `stream_reset` or `not_processed`: the code of the error (RFC 9113, section 7) |
//! | `grpc_service`, `grpc_method` | of a gRPC call: what is called |
//! | `grpc_status`, `grpc_message` | its outcome: the code, 0 is OK; what the server says about it |
//! | `grpc_timeout_us` | how long the client is willing to wait |
//! | `grpc_request_messages`, `grpc_response_messages` | number of messages; absent when some were lost |
//! | `request_body_bytes`, `response_body_bytes` | body bytes on the wire, chunk framing included; absent with `head_cut` |
//! | `request_body_decoded_bytes`, `response_body_decoded_bytes` | without chunk framing; absent when the same |
//! | `request_head_bytes`, `response_head_bytes` | start line to empty line |
//! | `lost_bytes` | body bytes that were never seen; absent when none |
//! | `ttfb_us` | last byte of the request to the first of the final response; absent with flag `early_response` |
//! | `duration_us` | first byte of the request to the last of the final response |
//! | `interim` | number of interim (1xx) responses; absent when none |
//! | `tunnel` | with flag `tunnel`: `connect`, `websocket`, `h2c`, ... |
//! | `via` | inside a tunnel: `connect`, `upgrade`, `socks` or `proxy` (a PROXY header) |
//! | `via_conn`, `via_target` | identifier of the connection around it; where its client asked to be connected to |
//! | `proxy`, `proxy_port` | the relay's address, where a PROXY header names the client |
//! | `tls` | of a connection that was decrypted, an object: `version`, `cipher`, `sni`, `alpn`, `resumed` (only if true), `ja4` |
//! | `request_headers`, `response_headers` | objects of arrays: headers that were asked for |
//! | `request_body`, `response_body` | text of the bodies that were asked for, or of their front |
//! | `request_body_truncated`, `response_body_truncated` | `true`: there is more of the body than this |
//! | `request_body_undecoded`, `response_body_undecoded` | the content coding that was not undone, so that there is no text |
//! | `interface` | name of the capture interface, live |
//! | `community_id` | Community ID version 1 |
//! | `trace_id`, `parent_id` | of the request's `traceparent`: the trace, and the span that sent the request |
//! | `flags` | list of names; absent when empty |
//!
//! Texts are escaped as [`crate::escape`] says.

mod process;
mod tls;

pub(crate) use process::processes;

use crate::escape;
use crate::export::numbers::{address, number, rfc3339};
use crate::export::{Format, Origin};
use crate::http::body::body_names;
use crate::http::filter::{tunnel_name, via_name};
use crate::http::grpc::Call;
use crate::http::transaction::Outer;
use crate::http::{Flags, Message, TlsConnection, Transaction, microseconds};
use crate::stream::{Endpoint, Secured};

/// Writes JSON lines.
#[derive(Debug)]
pub(super) struct Json {
    origin: Origin,
}

impl Json {
    /// What has no name in `origin` is not written.
    #[must_use]
    pub(super) const fn new(origin: Origin) -> Self {
        Self { origin }
    }
}

impl Format for Json {
    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        rfc3339(transaction.time(), out);
        out.push(b'"');
        optional(b",\"sensor\":", self.origin.sensor(), out);
        out.extend_from_slice(b",\"conn\":\"");
        out.extend_from_slice(transaction.uid.as_bytes());
        out.extend_from_slice(b"\",\"seq\":");
        number(transaction.seq, out);
        endpoints([transaction.client, transaction.server], out);
        if let Some(client) = transaction.client_forwarded {
            out.extend_from_slice(b",\"client_forwarded\":\"");
            address(client, out);
            out.push(b'"');
        }
        processes(&transaction.processes, out);
        match transaction.protocol() {
            None => http(transaction, out),
            Some(protocol) => operation(protocol, transaction, out),
        }
        times(transaction, out);
        if transaction.interim != 0 {
            out.extend_from_slice(b",\"interim\":");
            number(transaction.interim, out);
        }
        if let Some(tunnel) = tunnel_name(transaction) {
            out.extend_from_slice(b",\"tunnel\":\"");
            out.extend_from_slice(tunnel.as_bytes());
            out.push(b'"');
        }
        if let Some(outer) = &transaction.outer {
            via(outer, out);
        }
        if let Some(secured) = &transaction.secured {
            tls(secured, &[], out);
        }
        headers(b",\"request_headers\":{", transaction, true, out);
        headers(b",\"response_headers\":{", transaction, false, out);
        if transaction.bodies.is_some() {
            bodies(transaction, true, out);
        }
        if let Some(name) = self.origin.interfaces.get(transaction.interface) {
            optional(b",\"interface\":", Some(name.as_bytes()), out);
        }
        if let Some(community_id) = &transaction.community_id {
            out.extend_from_slice(b",\"community_id\":\"");
            out.extend_from_slice(community_id);
            out.push(b'"');
        }
        optional(b",\"trace_id\":", transaction.trace_id(), out);
        optional(b",\"parent_id\":", transaction.parent_id(), out);
        for (index, name) in transaction.flags.names().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"flags\":[\"" } else { b"\",\"" });
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(if transaction.flags.is_empty() { b"}\n" } else { b"\"]}\n" });
    }

    fn tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) {
        tls::line(&self.origin, connection, out);
    }
}

fn http(transaction: &Transaction, out: &mut Vec<u8>) {
    optional(b",\"method\":", transaction.method(), out);
    optional(b",\"target\":", transaction.target(), out);
    optional(b",\"route\":", transaction.route(), out);
    if let Some(version) = transaction.version() {
        out.extend_from_slice(b",\"version\":\"");
        out.extend_from_slice(version.as_bytes());
        out.push(b'"');
    }
    numeric(b",\"stream\":", transaction.stream().map(u64::from), out);
    optional(b",\"scheme\":", transaction.named_scheme(), out);
    optional(b",\"host\":", transaction.host(), out);
    optional(b",\"user_agent\":", transaction.user_agent(), out);
    optional(b",\"referer\":", transaction.referer(), out);
    numeric(b",\"status\":", transaction.known_status().map(u64::from), out);
    optional(b",\"reason\":", transaction.reason(), out);
    numeric(b",\"stream_error\":", transaction.stream_error().map(u64::from), out);
    if let Some(call) = transaction.grpc() {
        grpc(&call, out);
    }
    sizes(transaction, out);
}

/// Appends what is known of bodies that are kept; `texts`: with what is kept of them.
#[cold]
pub(crate) fn bodies(transaction: &Transaction, texts: bool, out: &mut Vec<u8>) {
    for of_request in [true, false] {
        let Some(body) = transaction.body(of_request) else { continue };
        let [text, truncated, undecoded] = body_names(of_request);
        let key = |name: &str| format!(",\"{name}\":").into_bytes();
        optional(&key(text), Some(body.text).filter(|text| texts && !text.is_empty()), out);
        if body.truncated {
            truth(&key(truncated), true, out);
        }
        optional(&key(undecoded), body.undecoded.map(str::as_bytes), out);
    }
}

/// The keys of a gRPC call.
pub(crate) fn grpc(call: &Call<'_>, out: &mut Vec<u8>) {
    let text = |text| Some(text).filter(|text: &&[u8]| !text.is_empty());
    optional(b",\"grpc_service\":", text(call.service), out);
    optional(b",\"grpc_method\":", text(call.method), out);
    numeric(b",\"grpc_status\":", call.status.map(u64::from), out);
    optional(b",\"grpc_message\":", call.message.as_deref(), out);
    numeric(b",\"grpc_timeout_us\":", call.timeout.map(|timeout| timeout / 1000), out);
    let [asked, answered] = call.messages;
    numeric(b",\"grpc_request_messages\":", asked.map(u64::from), out);
    numeric(b",\"grpc_response_messages\":", answered.map(u64::from), out);
}

fn operation(protocol: &str, transaction: &Transaction, out: &mut Vec<u8>) {
    optional(b",\"protocol\":", Some(protocol.as_bytes()), out);
    optional(b",\"operation\":", Some(transaction.method().unwrap_or_default()), out);
    optional(b",\"target\":", transaction.target(), out);
    if transaction.flags.intersects(Flags::FAILED) {
        optional(b",\"error\":", Some(transaction.reason().unwrap_or_default()), out);
    } else {
        optional(b",\"outcome\":", transaction.reason(), out);
    }
}

/// Appends how a connection is encrypted; `offered`: protocols of which the server chose one that is not known.
fn tls(secured: &Secured, offered: &[Box<str>], out: &mut Vec<u8>) {
    let Secured { version, cipher, server_name, alpn, resumed, ja4, callers: _ } = secured;
    let fields = [
        ("version", *version),
        ("cipher", *cipher),
        ("sni", server_name.as_deref()),
        ("alpn", alpn.as_deref()),
        ("ja4", ja4.as_deref()),
    ];
    out.extend_from_slice(b",\"tls\":{");
    let mut separator = "";
    for (name, value) in fields {
        let Some(value) = value else { continue };
        out.extend_from_slice(separator.as_bytes());
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        optional(b"\":", Some(value.as_bytes()), out);
        separator = ",";
    }
    if !offered.is_empty() {
        out.extend_from_slice(separator.as_bytes());
        list(b"\"alpn_offered\":[", offered, out);
        separator = ",";
    }
    if *resumed == Some(true) {
        out.extend_from_slice(separator.as_bytes());
        out.extend_from_slice(b"\"resumed\":true");
    }
    out.push(b'}');
}

pub(crate) fn via(outer: &Outer, out: &mut Vec<u8>) {
    optional(b",\"via\":", Some(via_name(outer.tunnel).as_bytes()), out);
    optional(b",\"via_conn\":", Some(outer.uid.as_bytes()), out);
    optional(b",\"via_target\":", Some(&outer.target[..]).filter(|target| !target.is_empty()), out);
    if let Some(relay) = outer.relay {
        out.extend_from_slice(b",\"proxy\":\"");
        address(relay.ip, out);
        out.extend_from_slice(b"\",\"proxy_port\":");
        number(relay.port, out);
    }
}

pub(crate) fn optional(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(key);
        escape::json(value, out);
    }
}

pub(crate) fn numeric(key: &[u8], value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(key);
        number(value, out);
    }
}

pub(crate) fn truth(key: &[u8], value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a list of texts, if there are any; `key` opens it.
pub(crate) fn list(key: &[u8], texts: &[Box<str>], out: &mut Vec<u8>) {
    for (index, text) in texts.iter().enumerate() {
        out.extend_from_slice(if index == 0 { key } else { b"," });
        escape::json(text.as_bytes(), out);
    }
    if !texts.is_empty() {
        out.push(b']');
    }
}

/// Appends client and server.
fn endpoints([client, server]: [Endpoint; 2], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"client\":\"");
    address(client.ip, out);
    out.extend_from_slice(b"\",\"client_port\":");
    number(client.port, out);
    out.extend_from_slice(b",\"server\":\"");
    address(server.ip, out);
    out.extend_from_slice(b"\",\"server_port\":");
    number(server.port, out);
}

fn sizes(transaction: &Transaction, out: &mut Vec<u8>) {
    let body = |message: &Option<Message>| message.as_ref().and_then(Message::body);
    let (request, response) = (body(&transaction.request), body(&transaction.response));
    numeric(b",\"request_body_bytes\":", request.map(|body| body.wire), out);
    numeric(b",\"response_body_bytes\":", response.map(|body| body.wire), out);
    let decoded = |body: Option<crate::http::transaction::Body>| {
        body.filter(|body| body.wire != body.decoded).map(|body| body.decoded)
    };
    numeric(b",\"request_body_decoded_bytes\":", decoded(request), out);
    numeric(b",\"response_body_decoded_bytes\":", decoded(response), out);
    numeric(b",\"request_head_bytes\":", transaction.request.as_ref().map(Message::head_bytes), out);
    numeric(b",\"response_head_bytes\":", transaction.response.as_ref().map(Message::head_bytes), out);
    numeric(b",\"lost_bytes\":", Some(transaction.lost()).filter(|lost| *lost != 0), out);
}

fn times(transaction: &Transaction, out: &mut Vec<u8>) {
    numeric(b",\"ttfb_us\":", microseconds(transaction.time_to_first_byte()), out);
    numeric(b",\"duration_us\":", microseconds(transaction.duration()), out);
}

pub(crate) fn headers(key: &[u8], transaction: &Transaction, of_request: bool, out: &mut Vec<u8>) {
    let mut last: Option<&[u8]> = None;
    for (name, value) in transaction.headers(of_request) {
        match last {
            Some(same) if same == name => out.push(b','),
            _ => {
                out.extend_from_slice(if last.is_none() { key } else { b"]," });
                escape::json(name, out);
                out.extend_from_slice(b":[");
            }
        }
        escape::json(value, out);
        last = Some(name);
    }
    if last.is_some() {
        out.extend_from_slice(b"]}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::abi::{Framing, Tunnel, flag};
    use crate::http::Settings;
    use crate::http::record::Kind;
    use crate::http::redact::Redaction;
    use crate::http::test_wire::Wire;
    use crate::http::uid::Uid;
    use crate::stream::{EndReason, InterfaceNames};

    fn origin() -> Origin {
        Origin { interfaces: InterfaceNames::new(vec!["eth0".to_owned()], 0), sensor: "s".to_owned() }
    }

    fn line(wire: &Wire) -> String {
        let mut out = Vec::new();
        Json::new(origin()).line(wire.last(), &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_keys_come_in_their_order() {
        let settings =
            Settings { headers: vec!["Via".to_owned(), "Age".to_owned()], community_id: true, ..Settings::default() };
        let mut wire = Wire::new(settings);
        let head = "POST /a?b HTTP/1.1\nHost: h\nUser-Agent: u\nReferer: r\nvia: 1\nVia: 2";
        wire.ask(1, head, flag::BARE_LF).end(0, 1, 7, flag::GAP).wait(12);
        wire.answer(1, "HTTP/1.1 200 OK\nAge: 5\nVia: 3", 0).wait(3);
        wire.feed(1, flag::TRAILERS, 20, Kind::End { number: 1, wire: 20, decoded: 10, lost: 2, messages: None });
        let wanted = concat!(
            r#"{"ts":"2026-01-02T03:04:05.000000Z","sensor":"s","conn":"CONN","seq":1,"client":"10.0.0.1","#,
            r#""client_port":4321,"server":"10.0.0.2","server_port":80,"method":"POST","target":"/a?b","version":"1.1","host":"h","#,
            r#""user_agent":"u","referer":"r","status":200,"reason":"OK","request_body_bytes":7,"#,
            r#""response_body_bytes":20,"response_body_decoded_bytes":10,"request_head_bytes":65,"#,
            r#""response_head_bytes":29,"lost_bytes":2,"ttfb_us":12000,"duration_us":15000,"#,
            r#""request_headers":{"via":["1","2"]},"response_headers":{"via":["3"],"age":["5"]},"interface":"eth0","#,
            r#""community_id":"COMMUNITY","flags":["bare_lf","trailers","gap"]}"#,
        );
        let [one, other] = wire.connection.endpoints;
        let community_id = crate::http::community_id::identifier(one, other);
        assert_eq!(
            line(&wire),
            wanted
                .replace("COMMUNITY", std::str::from_utf8(&community_id).unwrap())
                .replace("CONN", &wire.last().uid.to_string())
        );
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let mut wire = Wire::new(Settings::default());
        wire.connection.interface = 9;
        wire.ask(1, "GET / HTTP/1.1", 0).close(EndReason::Capture);
        let wanted = concat!(
            r#"{"ts":"2026-01-02T03:04:05.000000Z","sensor":"s","conn":"CONN","seq":1,"client":"10.0.0.1","#,
            r#""client_port":4321,"server":"10.0.0.2","server_port":80,"method":"GET","target":"/","version":"1.1","#,
            r#""request_head_bytes":14,"flags":["open"]}"#,
        );
        assert_eq!(line(&wire), wanted.replace("CONN", &wire.last().uid.to_string()));
    }

    #[test]
    fn what_is_inside_a_tunnel_says_so() {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "CONNECT h:80 HTTP/1.1", 0).end(0, 1, 0, 0);
        wire.answer_framed(1, "HTTP/1.1 200 OK", 0, Framing::Tunnel);
        wire.feed(1, 0, 0, Kind::Tunnel { number: 1, kind: Tunnel::Connect, client: None, target: b"" });
        wire.enter(Tunnel::Connect, None).get(1, "/a").reply(1, 200, 0);
        let value: Value = serde_json::from_str(&line(&wire)).unwrap();
        let via = [&value["via"], &value["via_conn"], &value["via_target"], &value["conn"]];
        let outer = Uid::of("", &wire.connection);
        let [outer, inner] = [outer, outer.inner()].map(|uid| Value::from(uid.to_string()));
        assert_eq!(via, [&Value::from("connect"), &outer, &Value::from("h:80"), &inner]);
        assert!(value.get("proxy").is_none());

        let mut wire = Wire::new(Settings::default());
        wire.feed(0, 0, 30, Kind::Tunnel { number: 0, kind: Tunnel::Proxy, client: None, target: b"10.0.0.9:80" });
        let relay = wire.connection.endpoints[0];
        wire.enter(Tunnel::Proxy, Some(relay)).get(1, "/a").reply(1, 200, 0);
        let value: Value = serde_json::from_str(&line(&wire)).unwrap();
        let via = [&value["via"], &value["via_target"], &value["proxy"], &value["proxy_port"]];
        assert_eq!(
            via,
            [&Value::from("proxy"), &Value::from("10.0.0.9:80"), &Value::from("10.0.0.1"), &Value::from(4321)]
        );
    }

    #[test]
    fn operations_of_other_protocols_have_keys_of_their_own() {
        let mut wire = Wire::new(Settings::default());
        wire.operate(1, "resp", "GET", "").wait(2).outcome(1, "", 0);
        let wanted = concat!(
            r#"{"ts":"2026-01-02T03:04:05.000000Z","sensor":"s","conn":"CONN","seq":1,"client":"10.0.0.1","#,
            r#""client_port":4321,"server":"10.0.0.2","server_port":80,"protocol":"resp","operation":"GET","#,
            r#""ttfb_us":2000,"duration_us":2000,"interface":"eth0"}"#,
        );
        assert_eq!(line(&wire), wanted.replace("CONN", &wire.last().uid.to_string()));
        wire.operate(2, "socks", "connect", "h:80").outcome(2, "refused", flag::FAILED);
        let value: Value = serde_json::from_str(&line(&wire)).unwrap();
        let keys = [&value["target"], &value["error"], &value["flags"]];
        assert_eq!(keys, [&Value::from("h:80"), &Value::from("refused"), &Value::from(vec!["failed"])]);
        wire.operate(3, "socks", "connect", "h:80").close(EndReason::Fin);
        let value: Value = serde_json::from_str(&line(&wire)).unwrap();
        assert_eq!(value["flags"], Value::from(vec!["no_response"]));
    }

    #[test]
    fn tunnels_and_interim_responses_are_named() {
        let mut wire = Wire::new(Settings::default());
        wire.get(1, "/").answer(1, "HTTP/1.1 103 Early", flag::INTERIM);
        wire.answer_framed(1, "HTTP/1.1 101 Switching", 0, Framing::Tunnel);
        wire.feed(1, 0, 0, Kind::Tunnel { number: 1, kind: Tunnel::WebSocket, client: None, target: b"" });
        let value: Value = serde_json::from_str(&line(&wire)).unwrap();
        assert_eq!((&value["interim"], &value["tunnel"]), (&Value::from(1), &Value::from("websocket")));
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_that_reads_back(
            word in proptest::collection::vec(any::<u8>().prop_filter("space", |byte| !b" \n".contains(byte)), 1..40),
            value in proptest::collection::vec(any::<u8>().prop_filter("line", |byte| *byte != b'\n'), 0..80),
        ) {
            let settings = Settings { redaction: Redaction::off(), headers: vec!["x-a".to_owned()], ..Settings::default() };
            let mut wire = Wire::new(settings);
            let head = [b"GET ", &word[..], b" HTTP/1.1\nx-a: ", &value].concat();
            wire.ask(1, head, 0).end(0, 1, 0, 0);
            wire.answer(1, [b"HTTP/1.1 200 ", &value[..]].concat(), 0).end(1, 1, 0, 0);
            let line = line(&wire);
            prop_assert!(!line.chars().any(char::is_control));
            let read: Value = serde_json::from_str(&line).unwrap();
            let text = |value: &Value| escape::undo(value.as_str().unwrap_or_default().as_bytes());
            prop_assert_eq!(text(&read["target"]), word);
            prop_assert_eq!(text(&read["request_headers"]["x-a"][0]), value.trim_ascii());
            prop_assert_eq!(text(&read["reason"]), value);
        }
    }
}
