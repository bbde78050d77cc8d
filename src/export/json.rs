//! A JSON line is a transaction as one object, its keys in a fixed order, absent when unknown.
//!
//! | key | meaning |
//! |---|---|
//! | `ts` | first byte of the request (without one: of the response), RFC 3339, UTC, microseconds |
//! | `conn`, `seq` | number of the connection, number of the transaction on it, both from 1 |
//! | `client`, `client_port`, `server`, `server_port` | the sender of the request, and its receiver |
//! | `method`, `target`, `version`, `host`, `user_agent`, `referer` | of the request; version as in `1.1` |
//! | `status`, `reason` | of the final response |
//! | `request_body_bytes`, `response_body_bytes` | body bytes on the wire, chunk framing included |
//! | `request_body_decoded_bytes`, `response_body_decoded_bytes` | without chunk framing; absent when the same |
//! | `request_head_bytes`, `response_head_bytes` | start line to empty line |
//! | `lost_bytes` | body bytes that were never seen; absent when none |
//! | `ttfb_us` | last byte of the request to the first of the final response; absent with flag `early_response` |
//! | `duration_us` | first byte of the request to the last of the final response |
//! | `interim` | number of interim (1xx) responses; absent when none |
//! | `tunnel` | with flag `tunnel`: `connect`, `websocket`, `h2c`, ... |
//! | `request_headers`, `response_headers` | objects of arrays: headers that were asked for |
//! | `interface` | name of the capture interface, live |
//! | `community_id` | Community ID version 1 |
//! | `flags` | list of names; absent when empty |
//!
//! Texts are escaped as [`crate::export::escape`] says.

use std::sync::Arc;

use crate::abi::not_http;
use crate::export::stamp::{address, number, rfc3339};
use crate::export::{Format, escape};
use crate::http::{Message, Transaction};

/// Writes JSON lines.
#[derive(Debug)]
pub struct Json {
    interfaces: Arc<[String]>,
}

impl Json {
    /// `interfaces`: names by index; those without a name are not written.
    #[must_use]
    pub const fn new(interfaces: Arc<[String]>) -> Self {
        Self { interfaces }
    }
}

impl Format for Json {
    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        rfc3339(transaction.time(), out);
        out.extend_from_slice(b"\",\"conn\":");
        number(transaction.conn, out);
        out.extend_from_slice(b",\"seq\":");
        number(transaction.seq, out);
        out.extend_from_slice(b",\"client\":\"");
        address(transaction.client.ip, out);
        out.extend_from_slice(b"\",\"client_port\":");
        number(transaction.client.port, out);
        out.extend_from_slice(b",\"server\":\"");
        address(transaction.server.ip, out);
        out.extend_from_slice(b"\",\"server_port\":");
        number(transaction.server.port, out);
        optional(b",\"method\":", transaction.method(), out);
        optional(b",\"target\":", transaction.target(), out);
        if let Some(minor) = transaction.minor() {
            out.extend_from_slice(b",\"version\":\"1.");
            number(minor, out);
            out.push(b'"');
        }
        optional(b",\"host\":", transaction.host(), out);
        optional(b",\"user_agent\":", transaction.user_agent(), out);
        optional(b",\"referer\":", transaction.referer(), out);
        if transaction.response.is_some() {
            out.extend_from_slice(b",\"status\":");
            number(transaction.status, out);
        }
        optional(b",\"reason\":", transaction.reason(), out);
        sizes(transaction, out);
        times(transaction, out);
        if transaction.interim != 0 {
            out.extend_from_slice(b",\"interim\":");
            number(transaction.interim, out);
        }
        if let Some(tunnel) = tunnel(transaction) {
            out.extend_from_slice(b",\"tunnel\":\"");
            out.extend_from_slice(tunnel.as_bytes());
            out.push(b'"');
        }
        headers(b",\"request_headers\":{", transaction, true, out);
        headers(b",\"response_headers\":{", transaction, false, out);
        if let Some(name) = self.interfaces.get(transaction.interface as usize) {
            optional(b",\"interface\":", Some(name.as_bytes()), out);
        }
        if let Some(community_id) = &transaction.community_id {
            out.extend_from_slice(b",\"community_id\":\"");
            out.extend_from_slice(community_id);
            out.push(b'"');
        }
        for (place, name) in transaction.flags.names().enumerate() {
            out.extend_from_slice(if place == 0 { b",\"flags\":[\"" } else { b"\",\"" });
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(if transaction.flags.is_empty() { b"}\n" } else { b"\"]}\n" });
    }
}

/// What a tunnel carries, by name; `None` if the transaction opened none.
#[must_use]
pub fn tunnel(transaction: &Transaction) -> Option<&'static str> {
    let name = match transaction.tunnel {
        0 => "connect",
        not_http::TLS => "tls",
        not_http::HTTP2 => "http2",
        not_http::SSH => "ssh",
        not_http::WEBSOCKET => "websocket",
        not_http::H2C => "h2c",
        _ => "other",
    };
    transaction.flags.has(crate::http::Flags::TUNNEL).then_some(name)
}

fn optional(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(key);
        escape::json(value, out);
    }
}

fn numeric(key: &[u8], value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(key);
        number(value, out);
    }
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
    let micros = |time: Option<i64>| time.and_then(|time| u64::try_from(time / 1000).ok());
    numeric(b",\"ttfb_us\":", micros(transaction.time_to_first_byte()), out);
    numeric(b",\"duration_us\":", micros(transaction.duration()), out);
}

fn headers(key: &[u8], transaction: &Transaction, of_request: bool, out: &mut Vec<u8>) {
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
