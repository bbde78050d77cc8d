//! A transaction that is kept to be shown as a row: copied when it is completed, made text only when somebody asks.

use std::net::SocketAddr;

use super::facts::Facts;
use super::snapshot::TransactionRow;
use crate::escape;
use crate::http::body::body_names;
use crate::http::filter::{tunnel_name, via_name};
use crate::http::{Message, Transaction, grpc};
use crate::process::Process;
use crate::stream::{Endpoint, InterfaceNames};

/// The most bytes of a target that a row has.
const MAX_TARGET: usize = 1024;

/// A copy of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) facts: Facts,
    transaction: Box<Transaction>,
    /// Number of its row, once it has one.
    pub(super) id: u64,
}

impl Kept {
    /// A copy, in the memory of another where there is one.
    pub(super) fn new(transaction: &Transaction, facts: Facts, spare: Option<Self>) -> Self {
        let mut copy = spare.map_or_else(|| Box::new(Transaction::empty()), |spare| spare.transaction);
        copy.copy_from(transaction);
        Self { facts, transaction: copy, id: 0 }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.transaction.size()
    }

    /// Order of completion.
    pub(super) fn order(&self) -> (i64, u64) {
        (self.facts.completed, self.transaction.completed)
    }

    /// As a row.
    pub(super) fn row(&self, interfaces: &InterfaceNames) -> TransactionRow {
        let Self { transaction, facts, id } = self;
        let micros = |time: Option<i64>| time.and_then(|time| u64::try_from(time / 1000).ok());
        let took = |message: Option<Message>| {
            let message = message?;
            let (end, _) = message.end?;
            micros(end.time.checked_sub(message.start.time))
        };
        let bytes = |message: &Option<Message>| message.as_ref().and_then(Message::body).map(|body| body.wire);
        let target = transaction.target().map(|target| target.get(..MAX_TARGET).unwrap_or(target));
        let is_http = transaction.protocol().is_none();
        TransactionRow {
            id: *id,
            time: transaction.time() / 1000,
            protocol: protocol(transaction),
            client: endpoint(transaction.client),
            server: endpoint(transaction.server),
            interface: interfaces.get(transaction.interface).map(|name| shown(name.as_bytes())),
            connection: transaction.uid.to_string(),
            method: transaction.method().map(shown),
            host: transaction.host().map(shown),
            target: target.map(shown),
            route: transaction.route().map(shown),
            status: transaction.known_status().filter(|_| is_http),
            grpc_status: transaction.grpc_status(),
            reason: transaction.reason().map(shown).or_else(|| outcome(transaction)),
            failed: facts.failed,
            request_time: took(transaction.request),
            wait_time: micros(transaction.time_to_first_byte()),
            response_time: took(transaction.response),
            duration: facts.duration,
            request_bytes: bytes(&transaction.request).filter(|_| is_http),
            response_bytes: bytes(&transaction.response).filter(|_| is_http),
            flags: transaction.flags.names().collect(),
            fields: fields(transaction),
        }
    }
}

fn protocol(transaction: &Transaction) -> String {
    match (transaction.protocol(), transaction.version()) {
        (Some(protocol), _) => protocol.to_owned(),
        (None, Some(version)) => format!("HTTP/{version}"),
        (None, None) => "HTTP".to_owned(),
    }
}

/// The outcome of a gRPC call, if it is known.
fn outcome(transaction: &Transaction) -> Option<String> {
    transaction.grpc_status().map(|status| format!("gRPC {}", grpc::status_text(status)))
}

/// Text for people: control characters and what is no UTF-8 are escaped as in the text log.
pub(super) fn shown(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape::shown(text, false, &mut out);
    // It is UTF-8 by then.
    String::from_utf8(out).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned())
}

/// Address and port, with brackets around an IPv6 address.
pub(super) fn endpoint(endpoint: Endpoint) -> String {
    SocketAddr::new(endpoint.ip, endpoint.port).to_string()
}

/// What the row has no place of its own for, by the names of the JSON log.
fn fields(transaction: &Transaction) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut text = |name: &str, value: Option<&[u8]>| out.extend(value.map(|value| (name.to_owned(), shown(value))));
    text("user_agent", transaction.user_agent());
    text("referer", transaction.referer());
    text("scheme", transaction.named_scheme());
    text("stream_error", transaction.stream_error().map(|code| code.to_string()).as_deref().map(str::as_bytes));
    if let Some(call) = transaction.grpc() {
        let named = |text| Some(text).filter(|text: &&[u8]| !text.is_empty());
        text("grpc_service", named(call.service));
        text("grpc_method", named(call.method));
        text("grpc_status", call.status.map(|status| status.to_string()).as_deref().map(str::as_bytes));
        text("grpc_message", call.message.as_deref());
        text("grpc_timeout_us", call.timeout.map(|timeout| (timeout / 1000).to_string()).as_deref().map(str::as_bytes));
        for (name, count) in ["grpc_request_messages", "grpc_response_messages"].into_iter().zip(call.messages) {
            text(name, count.map(|count| count.to_string()).as_deref().map(str::as_bytes));
        }
    }
    text("tunnel", tunnel_name(transaction).map(str::as_bytes));
    if let Some(outer) = &transaction.outer {
        text("via", Some(via_name(outer.tunnel).as_bytes()));
        text("via_conn", Some(outer.uid.as_bytes()));
        text("via_target", Some(&outer.target[..]).filter(|target| !target.is_empty()));
    }
    if let Some(secured) = &transaction.secured {
        text("tls.version", secured.version.map(str::as_bytes));
        text("tls.cipher", secured.cipher.map(str::as_bytes));
        text("tls.sni", secured.server_name.as_deref().map(str::as_bytes));
        text("tls.alpn", secured.alpn.as_deref().map(str::as_bytes));
        text("tls.resumed", secured.resumed.filter(|resumed| *resumed).map(|_| &b"true"[..]));
        text("tls.ja4", secured.ja4.as_deref().map(str::as_bytes));
    }
    for of_request in [true, false] {
        let Some(body) = transaction.body(of_request) else { continue };
        let [whole, truncated, undecoded] = body_names(of_request);
        text(whole, Some(body.text).filter(|text| !text.is_empty()));
        text(truncated, body.truncated.then_some(b"true"));
        text(undecoded, body.undecoded.map(str::as_bytes));
    }
    text("client_forwarded", transaction.client_forwarded.map(|ip| ip.to_string()).as_deref().map(str::as_bytes));
    for (end, process) in [("client", transaction.client_process()), ("server", transaction.server_process())] {
        let Some(Process { pid, command, container, pod }) = process else { continue };
        let mut text = |name: &str, value: Option<&[u8]>| text(&format!("{end}_process{name}"), value);
        text("", Some(command));
        text(".pid", pid.map(|pid| pid.to_string()).as_deref().map(str::as_bytes));
        text(".container", container.as_deref().map(str::as_bytes));
        text(".pod", pod.as_deref().map(str::as_bytes));
    }
    text("trace_id", transaction.trace_id());
    text("parent_id", transaction.parent_id());
    text("community_id", transaction.community_id.as_ref().map(|id| &id[..]));
    for of_request in [true, false] {
        for (name, value) in transaction.headers(of_request) {
            let message = if of_request { "request_headers." } else { "response_headers." };
            out.push((message.to_owned() + &shown(name), shown(value)));
        }
    }
    let number = |out: &mut Vec<_>, name: &str, value: u64| {
        out.extend((value != 0).then(|| (name.to_owned(), value.to_string())));
    };
    number(&mut out, "seq", u64::from(transaction.seq));
    number(&mut out, "stream", transaction.stream().map_or(0, u64::from));
    number(&mut out, "interim", u64::from(transaction.interim));
    number(&mut out, "lost_bytes", transaction.lost());
    if transaction.protocol().is_none() {
        for (message, name) in [(&transaction.request, "request"), (&transaction.response, "response")] {
            let Some(message) = message else { continue };
            number(&mut out, &format!("{name}_head_bytes"), message.head_bytes());
            if let Some(body) = message.body().filter(|body| body.wire != body.decoded) {
                out.push((format!("{name}_body_decoded_bytes"), body.decoded.to_string()));
            }
        }
    }
    if let Some(relay) = transaction.outer.as_ref().and_then(|outer| outer.relay) {
        out.push(("proxy".to_owned(), relay.ip.to_string()));
        out.push(("proxy_port".to_owned(), relay.port.to_string()));
    }
    out
}
