//! A transaction that is kept to be shown as a row: copied when it is completed, made text only when somebody asks.

use std::net::SocketAddr;

use super::facts::Facts;
use super::snapshot::TransactionRow;
use crate::escape;
use crate::http::filter::field::{Field, HEADERS, Name};
use crate::http::filter::{Row, TransactionFields, Value};
use crate::http::{Message, Transaction, grpc, microseconds};
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
        let took = |message: Option<Message>| {
            let message = message?;
            let (end, _) = message.end?;
            microseconds(end.time.checked_sub(message.start.time))
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
            wait_time: microseconds(transaction.time_to_first_byte()),
            response_time: took(transaction.response),
            duration: facts.duration,
            request_bytes: bytes(&transaction.request).filter(|_| is_http),
            response_bytes: bytes(&transaction.response).filter(|_| is_http),
            flags: transaction.flags.names().collect(),
            fields: fields(transaction, interfaces),
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

/// The fields that a row has no place of its own for, in the order in which they are shown: before the headers, and behind them.
const BESIDE: [&[Name]; 2] = [
    &[
        Name::UserAgent,
        Name::Referer,
        Name::Scheme,
        Name::StreamError,
        Name::GrpcService,
        Name::GrpcMethod,
        Name::GrpcStatus,
        Name::GrpcMessage,
        Name::GrpcTimeout,
        Name::GrpcRequestMessages,
        Name::GrpcResponseMessages,
        Name::Tunnel,
        Name::Via,
        Name::ViaConn,
        Name::ViaTarget,
        Name::TlsVersion,
        Name::TlsCipher,
        Name::TlsSni,
        Name::TlsAlpn,
        Name::TlsResumed,
        Name::TlsJa4,
        Name::RequestText,
        Name::RequestTruncated,
        Name::RequestUndecoded,
        Name::ResponseText,
        Name::ResponseTruncated,
        Name::ResponseUndecoded,
        Name::ClientForwarded,
        Name::ClientProcess,
        Name::ClientPid,
        Name::ClientContainer,
        Name::ClientPod,
        Name::ServerProcess,
        Name::ServerPid,
        Name::ServerContainer,
        Name::ServerPod,
        Name::TraceId,
        Name::ParentId,
        Name::CommunityId,
    ],
    &[
        Name::Seq,
        Name::Stream,
        Name::Interim,
        Name::Lost,
        Name::RequestHead,
        Name::RequestDecoded,
        Name::ResponseHead,
        Name::ResponseDecoded,
        Name::Proxy,
        Name::ProxyPort,
    ],
];

/// What the row has no place of its own for, by the names of the JSON log.
fn fields(transaction: &Transaction, interfaces: &InterfaceNames) -> Vec<(String, String)> {
    let row = TransactionFields(transaction, interfaces);
    let named = |name: &Name| Some((name.text().to_owned(), text(row.value(&Field::Named(*name)))?));
    let [before, behind] = BESIDE.map(|names| names.iter().filter_map(named));
    let headers = HEADERS.into_iter().zip([true, false]).flat_map(|(prefix, of_request)| {
        transaction.headers(of_request).map(move |(name, value)| (prefix.to_owned() + &shown(name), shown(value)))
    });
    before.chain(headers).chain(behind).collect()
}

/// What a field holds, for people; none if it holds nothing.
fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Absent => None,
        Value::Number(number) => Some(number.to_string()),
        Value::Text(text) => Some(shown(&text)),
        Value::Texts(texts) => Some(shown(&texts.join(&b' '))),
        Value::Address(ip, None) => Some(ip.to_string()),
        Value::Address(ip, Some(port)) => Some(SocketAddr::new(ip, port).to_string()),
    }
}
