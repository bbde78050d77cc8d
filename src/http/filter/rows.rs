//! Transactions and TLS connections as rows of filters.

use std::borrow::Cow;

use super::failed;
use super::field::{Field, Name};
use super::value::{Row, Value};
use crate::abi::Tunnel;
use crate::http::flags::Flags;
use crate::http::tls::TlsConnection;
use crate::http::transaction::{Body, Message, Transaction};
use crate::process::Process;
use crate::stream::{InterfaceNames, Secured};

/// How a tunnel was opened that a stream is inside of.
#[must_use]
pub const fn via_name(tunnel: Tunnel) -> &'static str {
    match tunnel {
        Tunnel::Connect => "connect",
        Tunnel::WebSocket | Tunnel::H2c | Tunnel::Other => "upgrade",
        Tunnel::Socks => "socks",
        Tunnel::Proxy => "proxy",
    }
}

/// What a tunnel carries, by name; `None` if the transaction opened none.
#[must_use]
pub fn tunnel_name(transaction: &Transaction) -> Option<&'static str> {
    let name = match transaction.tunnel {
        Tunnel::Connect => "connect",
        Tunnel::WebSocket => "websocket",
        Tunnel::H2c => "h2c",
        Tunnel::Socks => "socks",
        Tunnel::Proxy => "proxy",
        Tunnel::Other => "other",
    };
    transaction.flags.intersects(Flags::TUNNEL).then_some(name)
}

/// A transaction, with the names of the capture interfaces.
#[derive(Debug, Clone, Copy)]
pub struct TransactionFields<'a>(pub &'a Transaction, pub &'a InterfaceNames);

impl Row for TransactionFields<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        let Self(transaction, interfaces) = *self;
        match field {
            // The field of most filters.
            Field::Named(Name::Status) => Value::number(status(transaction)),
            Field::Named(name) => value(transaction, interfaces, *name),
            Field::Header { of_request, name } => {
                let headers =
                    transaction.headers(*of_request).filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
                Value::Texts(headers.map(|(_, value)| Cow::Borrowed(value)).collect())
            }
        }
    }

    /// On a command line there are no words.
    fn has_word(&self, _: &str) -> bool {
        false
    }
}

fn status(transaction: &Transaction) -> Option<u16> {
    transaction.known_status().filter(|_| transaction.protocol().is_none())
}

fn value<'a>(transaction: &'a Transaction, interfaces: &'a InterfaceNames, name: Name) -> Value<'a> {
    let http = transaction.protocol().is_none();
    let micros = |time: Option<i64>| Value::number(time.map(|time| time / 1000));
    let message = |of_request: bool| if of_request { &transaction.request } else { &transaction.response };
    let body = |of_request| message(of_request).as_ref().and_then(Message::body).filter(|_| http);
    let decoded = |body: Option<Body>| body.filter(|body| body.wire != body.decoded).map(|body| body.decoded);
    let head = |of_request| message(of_request).as_ref().map(Message::head_bytes).filter(|_| http);
    let failed_operation = transaction.flags.intersects(Flags::FAILED);
    match name {
        Name::Method => Value::text(transaction.method()),
        Name::Status => Value::number(status(transaction)),
        Name::Host => Value::text(transaction.host()),
        Name::Path => Value::text(transaction.path()),
        Name::Target => Value::text(transaction.target()),
        Name::Route => Value::text(transaction.route()),
        Name::Client => Value::Address(transaction.client.ip, Some(transaction.client.port)),
        Name::Server => Value::Address(transaction.server.ip, Some(transaction.server.port)),
        Name::ClientForwarded => transaction.client_forwarded.map_or(Value::Absent, |ip| Value::Address(ip, None)),
        Name::ClientPort => Value::number(Some(transaction.client.port)),
        Name::ServerPort => Value::number(Some(transaction.server.port)),
        Name::Duration => micros(transaction.duration()),
        Name::Ttfb => micros(transaction.time_to_first_byte()),
        Name::Flags => Value::Texts(transaction.flags.names().map(|name| Cow::Borrowed(name.as_bytes())).collect()),
        Name::Is => Value::str(failed(transaction).then_some("failed")),
        Name::Version => Value::str(transaction.version().filter(|_| http)),
        Name::GrpcService | Name::GrpcMethod => match transaction.grpc_called() {
            Some((service, method)) => Value::text(
                Some(if name == Name::GrpcService { service } else { method }).filter(|text| !text.is_empty()),
            ),
            None => Value::Absent,
        },
        Name::GrpcStatus => Value::number(transaction.grpc_status()),
        Name::GrpcMessage => {
            transaction.grpc().and_then(|call| call.message).map_or(Value::Absent, |text| Value::Text(Cow::Owned(text)))
        }
        Name::GrpcTimeout => Value::number(transaction.grpc().and_then(|call| call.timeout).map(|time| time / 1000)),
        Name::GrpcRequestMessages | Name::GrpcResponseMessages => {
            let [asked, answered] = transaction.grpc().map(|call| call.messages).unwrap_or_default();
            Value::number(if name == Name::GrpcRequestMessages { asked } else { answered })
        }
        Name::UserAgent => Value::text(transaction.user_agent()),
        Name::Referer => Value::text(transaction.referer()),
        Name::Reason => Value::text(transaction.reason()),
        Name::Ts => Value::Number(transaction.time().div_euclid(1000)),
        Name::Interface => Value::str(interfaces.get(transaction.interface)),
        Name::RequestBody => Value::number(body(true).map(|body| body.wire)),
        Name::ResponseBody => Value::number(body(false).map(|body| body.wire)),
        Name::RequestDecoded => Value::number(decoded(body(true))),
        Name::ResponseDecoded => Value::number(decoded(body(false))),
        Name::RequestText | Name::ResponseText => {
            let body = transaction.body(name == Name::RequestText);
            Value::text(body.map(|body| body.text).filter(|text| !text.is_empty()))
        }
        Name::RequestTruncated | Name::ResponseTruncated => {
            let body = transaction.body(name == Name::RequestTruncated);
            Value::truth(body.filter(|body| body.truncated).map(|_| true))
        }
        Name::RequestUndecoded | Name::ResponseUndecoded => {
            Value::str(transaction.body(name == Name::RequestUndecoded).and_then(|body| body.undecoded))
        }
        Name::RequestHead => Value::number(head(true)),
        Name::ResponseHead => Value::number(head(false)),
        Name::Lost => Value::number(Some(transaction.lost()).filter(|lost| *lost != 0)),
        Name::Conn => Value::text(Some(transaction.uid.as_bytes())),
        Name::Seq => Value::number(Some(transaction.seq)),
        Name::Protocol => Value::str(transaction.protocol()),
        Name::Operation => Value::text(transaction.method().filter(|_| !http)),
        Name::Outcome => Value::text(transaction.reason().filter(|_| !http && !failed_operation)),
        Name::Error => Value::text(transaction.reason().filter(|_| !http && failed_operation)),
        Name::Stream => Value::number(transaction.stream()),
        Name::Scheme => Value::text(transaction.named_scheme()),
        Name::StreamError => Value::number(transaction.stream_error()),
        Name::Interim => Value::number(Some(transaction.interim).filter(|count| *count != 0)),
        Name::Tunnel => Value::str(tunnel_name(transaction)),
        Name::Via | Name::ViaConn | Name::ViaTarget | Name::Proxy | Name::ProxyPort => match &transaction.outer {
            None => Value::Absent,
            Some(outer) => match name {
                Name::Via => Value::str(Some(via_name(outer.tunnel))),
                Name::ViaConn => Value::text(Some(outer.uid.as_bytes())),
                Name::ViaTarget => Value::text(Some(&outer.target[..]).filter(|target| !target.is_empty())),
                Name::Proxy => outer.relay.map_or(Value::Absent, |relay| Value::Address(relay.ip, None)),
                _ => Value::number(outer.relay.map(|relay| relay.port)),
            },
        },
        Name::TlsVersion | Name::TlsCipher | Name::TlsSni | Name::TlsAlpn | Name::TlsResumed | Name::TlsJa4 => {
            transaction.secured.as_deref().map_or(Value::Absent, |secured| secured_value(secured, name))
        }
        Name::CommunityId => Value::text(transaction.community_id.as_ref().map(|id| &id[..])),
        Name::TraceId => Value::text(transaction.trace_id()),
        Name::ParentId => Value::text(transaction.parent_id()),
        Name::ClientProcess | Name::ClientPid | Name::ClientContainer | Name::ClientPod => {
            process_value(transaction.client_process(), name)
        }
        Name::ServerProcess | Name::ServerPid | Name::ServerContainer | Name::ServerPod => {
            process_value(transaction.server_process(), name)
        }
        Name::Established | Name::Decrypted | Name::Alert | Name::Ech | Name::ClientBytes | Name::ServerBytes => {
            Value::Absent
        }
    }
}

/// What one of the fields of a process holds.
fn process_value(process: Option<&Process>, name: Name) -> Value<'_> {
    let Some(process) = process else { return Value::Absent };
    match name {
        Name::ClientProcess | Name::ServerProcess => Value::text(Some(&process.command)),
        Name::ClientPid | Name::ServerPid => Value::number(process.pid),
        Name::ClientContainer | Name::ServerContainer => Value::str(process.container.as_deref()),
        _ => Value::str(process.pod.as_deref()),
    }
}

fn secured_value(secured: &Secured, name: Name) -> Value<'_> {
    match name {
        Name::TlsVersion => Value::str(secured.version),
        Name::TlsCipher => Value::str(secured.cipher),
        Name::TlsSni => Value::str(secured.server_name.as_deref()),
        Name::TlsAlpn => Value::str(secured.alpn.as_deref()),
        Name::TlsResumed => Value::truth(secured.resumed.filter(|resumed| *resumed)),
        _ => Value::str(secured.ja4.as_deref()),
    }
}

/// A TLS connection, with the names of the capture interfaces.
#[derive(Debug, Clone, Copy)]
pub struct TlsFields<'a>(pub &'a TlsConnection, pub &'a InterfaceNames);

impl Row for TlsFields<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        let (Self(connection, interfaces), Field::Named(name)) = (*self, field) else { return Value::Absent };
        let (info, fate, closed) = (connection.info(), connection.fate(), &connection.closed);
        let [sent, answered] = closed.bytes;
        match *name {
            Name::Host => connection.server_name().map_or(Value::Absent, |name| {
                let with_port = format!("{name}:{}", connection.server.port).into_bytes();
                Value::Texts(vec![Cow::Borrowed(name.as_bytes()), Cow::Owned(with_port)])
            }),
            Name::Ts => Value::Number(connection.time().div_euclid(1000)),
            Name::Conn => Value::text(Some(connection.uid.as_bytes())),
            Name::Client => Value::Address(connection.client.ip, Some(connection.client.port)),
            Name::Server => Value::Address(connection.server.ip, Some(connection.server.port)),
            Name::ClientPort => Value::number(Some(connection.client.port)),
            Name::ServerPort => Value::number(Some(connection.server.port)),
            Name::Interface => Value::str(interfaces.get(connection.interface)),
            Name::CommunityId => Value::text(connection.community_id.as_ref().map(|id| &id[..])),
            Name::Duration => Value::number(closed.duration().map(|time| time / 1000)),
            Name::Reason => Value::str(fate.reason()),
            Name::Established => Value::truth(Some(fate.established)),
            Name::Decrypted => Value::truth(Some(fate.decrypted)),
            Name::Ech => Value::truth(info.encrypted_hello.then_some(true)),
            Name::Alert => {
                info.alert_name().map_or(Value::Absent, |name| Value::Text(Cow::Owned(name.into_owned().into_bytes())))
            }
            name @ (Name::ClientProcess | Name::ClientPid | Name::ClientContainer | Name::ClientPod) => {
                process_value(connection.client_process(), name)
            }
            name @ (Name::ServerProcess | Name::ServerPid | Name::ServerContainer | Name::ServerPod) => {
                process_value(connection.server_process(), name)
            }
            Name::ClientBytes => Value::number(Some(sent)),
            Name::ServerBytes => Value::number(Some(answered)),
            Name::TlsVersion => Value::str(info.version_name()),
            Name::TlsCipher => Value::str(info.suite_name()),
            Name::TlsSni => Value::str(connection.server_name()),
            Name::TlsAlpn => Value::str(info.alpn.as_deref()),
            name @ (Name::TlsResumed | Name::TlsJa4) => owned(secured_value(&info.secured(), name)),
            _ => Value::Absent,
        }
    }

    fn has_word(&self, _: &str) -> bool {
        false
    }
}

fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        _ => Value::Absent,
    }
}
