//! A context is shared by all connections of one worker: which headers to keep, buffers to reuse, and counters.

mod bodies;
mod headers;

use std::sync::Arc;

use crate::abi::{self, Framing, Tunnel};
use crate::counters::{counters, families};
use crate::http::body::BodySettings;
use crate::http::community_id;
use crate::http::flags::Flags;
use crate::http::network::Network;
use crate::http::record::{Headers, Kind, Operation, Outcome, Record, Request, Response};
use crate::http::redact::{Redaction, Shape};
use crate::http::route::Routes;
use crate::http::tls::TlsConnection;
use crate::http::transaction::{Body, Http2, MAX_TARGET, MAX_TEXT, Message, TextRange, Transaction};
use crate::http::uid::Uid;
use crate::process::{Both, Speakers};
use crate::stream::{Connection, Secured, Side};
use crate::tls::Closed;
use crate::tls::stage::Opening;

/// The most open transactions of one connection: twice what Suricata allows, an arbitrary number.
pub const MAX_OPEN: usize = 1024;
/// Memory that open transactions of one worker may take. Beyond it, the connection whose record comes next hands out
/// its oldest incomplete. Arbitrary: enough for 100,000 usual ones.
pub const MAX_OPEN_BYTES: usize = 64 << 20;
/// The most used transactions kept for reuse.
const MAX_POOL: usize = 1024;

/// What is kept of a message's head.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Names of further headers to keep, of requests and responses. Compared without regard to case, logged in lower
    /// case.
    pub headers: Vec<String>,
    /// Whether all headers are kept, whatever their names.
    pub all_headers: bool,
    /// Proxies that are believed when they name the client.
    pub trusted_proxies: Vec<Network>,
    /// Which secrets are hidden.
    pub redaction: Redaction,
    /// Which bodies are kept, if any.
    pub bodies: Option<BodySettings>,
    /// Whether transactions carry the community identifier.
    pub community_id: bool,
    /// The routes of paths, if transactions carry them.
    pub routes: Option<Routes>,
    /// Name of the sensor, for the identifiers of connections; empty if it has none.
    pub sensor: String,
}

/// Names of [`abi::not_http`] by code.
const NOT_HTTP_NAMES: [&str; 7] = ["unknown", "other", "tls", "http2", "ssh", "http09", "smtp"];
/// Names of [`abi::error`] by code.
const ERROR_NAMES: [&str; 14] = [
    "unknown",
    "bad_start_line",
    "bad_header",
    "too_many_headers",
    "head_too_long",
    "bad_content_length",
    "bad_transfer_coding",
    "bad_chunk",
    "chunk_overhead",
    "bad_trailer",
    "lost_head",
    "lost_framing",
    "no_start",
    "bad_frame",
];

families! {
    TRANSACTIONS = Counter "picotap_http_transactions_total" [] "transactions", "Transactions completed or given up.";
    OVERFLOWS = Counter "picotap_transaction_overflows_total" [] "transactions logged before their end", "Transactions logged before they were complete because too many were open.";
    STRAY = Counter "picotap_stray_records_total" [] "stray records", "Records of the parser that belong to no open transaction.";
    NOT_HTTP = Counter "picotap_not_http_total" ["kind"] "sides that are not HTTP/1", "Sides of connections that do not speak HTTP/1, by what they speak.";
    PARSE_ERRORS = Counter "picotap_parse_errors_total" ["error"] "parse errors", "HTTP messages that the parser could not read, by error.";
}

counters! {
    /// What a context counts.
    pub struct HttpCounters {
        /// Transactions that were handed out.
        transactions => TRANSACTIONS,
        /// Of these, those handed out before they were complete because [`MAX_OPEN`] or [`MAX_OPEN_BYTES`] was reached.
        overflow => OVERFLOWS,
        /// Message ends, tunnels and interim responses that belong to no open transaction.
        stray => STRAY,
        /// Sides that speak something else, by [`abi::not_http`] code (index 0 is no code).
        not_http: [NOT_HTTP_NAMES.len(); NOT_HTTP_NAMES] => NOT_HTTP,
        /// Errors, by [`abi::error`] code (index 0 is no code).
        errors: [ERROR_NAMES.len(); ERROR_NAMES] => PARSE_ERRORS,
    }
}

/// What the headers that are always kept may hold.
#[derive(Debug)]
struct Shapes {
    host: Shape,
    user_agent: Shape,
    referer: Shape,
    origin: Shape,
}

/// What the connections of one worker share.
#[derive(Debug)]
pub struct HttpContext {
    wanted: Vec<(Vec<u8>, Shape)>,
    all_headers: bool,
    trusted_proxies: Vec<Network>,
    /// Values of `Forwarded` and `X-Forwarded-For` of a request.
    forwarded: [Vec<u8>; 2],
    redaction: Redaction,
    shapes: Shapes,
    bodies: Option<BodySettings>,
    community_id: bool,
    routes: Option<Routes>,
    sensor: String,
    #[expect(clippy::vec_box, reason = "they move between this list and the connections' queues")]
    pool: Vec<Box<Transaction>>,
    /// Bytes of memory of the open transactions that are held.
    held: usize,
    /// Buffer for the value of a header that is continued on further lines.
    folded: Vec<u8>,
    /// What it has counted.
    pub counters: HttpCounters,
    /// Where the client of the tunnel that was opened last asked to be connected to: for the stream inside.
    pub(crate) tunnel_target: Vec<u8>,
    /// The request whose upgrade to HTTP/2 was accepted last: for the stream inside.
    pub(crate) upgraded: Option<Box<Transaction>>,
    /// What [`Transaction::completed`] is of those that are handed out now.
    pub completed: u64,
    /// How the connection is encrypted whose transactions are opened now.
    pub secured: Option<Arc<Secured>>,
    /// Whether it is so itself, and not only the connection that carries it.
    pub secured_itself: bool,
    /// The processes of the connections, if they are wanted.
    pub speakers: Option<Speakers>,
}

impl HttpContext {
    /// Learns how the connection is encrypted of which this record comes now, and whether it is so itself.
    pub fn secure(&mut self, connection: &Connection, record: &Record, opening: &Opening) {
        // Of most connections nothing is to be said, as of the one before; and these begin no transaction.
        let nothing = !connection.secured && connection.depth() == 0 && self.secured.is_none();
        if nothing || matches!(record.kind, Kind::End { .. } | Kind::Body { .. } | Kind::Trailers { .. }) {
            return;
        }
        let secured = opening.secured(connection);
        self.secured_itself = secured.is_some_and(|(_, itself)| itself);
        self.secured = secured.map(|(secured, _)| Arc::clone(secured));
        // What is inside of a tunnel has other ends than the sockets.
        if let (Some(speakers), Some(secured)) = (&mut self.speakers, &self.secured)
            && self.secured_itself
            && connection.depth() == 0
        {
            speakers.called(connection.number, secured.callers);
        }
    }

    /// A context with these settings, of which at most 65,535 header names are used.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let redaction = settings.redaction;
        let names =
            settings.headers.iter().take(usize::from(u16::MAX)).map(|name| name.to_ascii_lowercase().into_bytes());
        let wanted = names.map(|name| (redaction.shape(&name), name)).map(|(shape, name)| (name, shape)).collect();
        let shapes = Shapes {
            host: redaction.shape(b"host"),
            user_agent: redaction.shape(b"user-agent"),
            referer: redaction.shape(b"referer"),
            origin: redaction.shape(b"origin"),
        };
        Self {
            wanted,
            all_headers: settings.all_headers,
            trusted_proxies: settings.trusted_proxies,
            forwarded: [Vec::new(), Vec::new()],
            redaction,
            shapes,
            bodies: settings.bodies,
            community_id: settings.community_id,
            routes: settings.routes,
            sensor: settings.sensor,
            pool: Vec::new(),
            held: 0,
            folded: Vec::new(),
            counters: HttpCounters::default(),
            tunnel_target: Vec::new(),
            upgraded: None,
            completed: 0,
            secured: None,
            secured_itself: false,
            speakers: None,
        }
    }

    /// Bytes of memory that open transactions take.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Number of transactions kept for reuse.
    #[cfg(test)]
    pub(crate) fn pooled(&self) -> usize {
        self.pool.len()
    }

    /// Whether transactions carry the community identifier.
    pub(crate) const fn wants_community_id(&self) -> bool {
        self.community_id
    }

    /// Identifier of a connection.
    pub(crate) fn uid(&self, connection: &Connection) -> Uid {
        Uid::of(&self.sensor, connection)
    }

    /// A TLS connection that has ended, for the outputs. `start`: number of the first event of the slot at hand.
    #[must_use]
    pub fn tls(&self, closed: Closed, start: u64) -> TlsConnection {
        let connection = &closed.connection;
        let [first, second] = connection.endpoints;
        let (client, server) = match closed.client {
            Side::First => (first, second),
            Side::Second => (second, first),
        };
        TlsConnection {
            uid: (0..connection.depth()).fold(self.uid(connection), |uid, _| uid.inner()),
            community_id: self.community_id.then(|| community_id::identifier(first, second)),
            client,
            server,
            interface: connection.interface,
            processes: self
                .speakers
                .as_ref()
                .map_or_else(Both::default, |speakers| speakers.of(connection.number, closed.client.index(), &server)),
            completed: start + u64::from(closed.order),
            closed,
        }
    }

    /// A new transaction. The client is side `client_side`.
    pub(crate) fn open(&mut self, connection: &Connection, seq: u32, client_side: u8) -> Box<Transaction> {
        let mut transaction = self.pool.pop().unwrap_or_else(|| Box::new(Transaction::empty()));
        let [first, second] = connection.endpoints;
        let (client, server) = if client_side == 0 { (first, second) } else { (second, first) };
        transaction.conn = connection.number;
        transaction.seq = seq;
        (transaction.client, transaction.server) = (client, server);
        transaction.client_side = client_side;
        transaction.interface = connection.interface;
        transaction.secured.clone_from(&self.secured);
        transaction.secured_itself = self.secured_itself;
        if connection.midstream && seq == 1 {
            transaction.flags |= Flags::MIDSTREAM;
        }
        transaction
    }

    /// Counts the memory of a transaction, once its texts are stored.
    pub(crate) fn hold(&mut self, transaction: &Transaction) {
        self.held = self.held.saturating_add(transaction.size());
    }

    /// Undoes [`Self::hold`], before texts are added or the transaction is handed out.
    pub(crate) fn release(&mut self, transaction: &Transaction) {
        debug_assert!(self.held >= transaction.size(), "a transaction is released as it was held");
        self.held = self.held.saturating_sub(transaction.size());
    }

    /// Hands out a transaction that has been released, and keeps it for reuse.
    pub(crate) fn hand_out(&mut self, mut transaction: Box<Transaction>, out: &mut impl FnMut(&Transaction)) {
        transaction.settle();
        if transaction.bodies.is_some() {
            self.settle_bodies(&mut transaction);
        }
        if let Some(routes) = &self.routes {
            // Last: it takes no memory while the transaction is open.
            transaction.add_route(routes);
        }
        if let Some(speakers) = &self.speakers {
            transaction.add_processes(speakers);
        }
        transaction.completed = self.completed;
        self.counters.transactions += 1;
        out(&transaction);
        if self.pool.len() < MAX_POOL {
            transaction.clear();
            self.pool.push(transaction);
        }
    }

    pub(crate) fn write_request(&mut self, transaction: &mut Transaction, record: &Record, request: &Request) {
        transaction.request = Some(message(record, request.minor, request.framing));
        transaction.flags |= Flags::from_record(record.flags);
        transaction.number = request.number;
        transaction.client_acked = record.peer_acked;
        transaction.method = transaction.store(MAX_TEXT, |out| out.extend_from_slice(request.method));
        let redaction = &self.redaction;
        transaction.target = transaction.store(MAX_TARGET, |out| redaction.target(request.method, request.target, out));
        self.headers(transaction, request.headers, true);
        if self.bodies.is_some() {
            self.begin_body(transaction, true, request.headers);
        }
        if record.stream != 0 {
            self.write_http2(transaction, record.stream, request.headers);
        }
    }

    pub(crate) fn write_response(&mut self, transaction: &mut Transaction, record: &Record, response: &Response) {
        transaction.response = Some(message(record, response.minor, response.framing));
        transaction.flags |= Flags::from_record(record.flags);
        transaction.server_acked = record.peer_acked;
        transaction.status = response.status;
        transaction.awaits_tunnel = response.framing == Framing::Tunnel;
        transaction.reason = self.store_text(transaction, response.reason);
        if self.all_headers || !self.wanted.is_empty() {
            self.headers(transaction, response.headers, false);
        }
        if self.bodies.is_some() {
            self.begin_body(transaction, false, response.headers);
        }
        if record.stream != 0 {
            self.write_http2(transaction, record.stream, response.headers);
        }
    }

    /// Keeps what only HTTP/2 has: of the request's or the response's head.
    #[cold]
    fn write_http2(&self, transaction: &mut Transaction, stream: u32, headers: Headers<'_>) {
        let mut http2 = transaction.http2.take().unwrap_or_default();
        http2.stream = stream;
        for (name, value) in headers.iter() {
            match name {
                b":scheme" => http2.scheme = self.store_text(transaction, value),
                b"content-type" => http2.grpc |= value.starts_with(b"application/grpc"),
                b"grpc-timeout" => http2.grpc_timeout = self.store_text(transaction, value),
                _ => self.write_outcome_of_grpc(transaction, &mut http2, name, value),
            }
        }
        transaction.http2 = Some(http2);
    }

    /// Keeps the outcome of a call, which stands in the trailers or, where there are none, in the head of the response.
    pub(crate) fn write_trailers(&self, transaction: &mut Transaction, fields: Headers<'_>) {
        let Some(mut http2) = transaction.http2.take() else { return };
        for (name, value) in fields.iter() {
            self.write_outcome_of_grpc(transaction, &mut http2, name, value);
        }
        transaction.http2 = Some(http2);
    }

    fn write_outcome_of_grpc(&self, transaction: &mut Transaction, http2: &mut Http2, name: &[u8], value: &[u8]) {
        match name {
            b"grpc-status" => http2.grpc_status = self.store_text(transaction, value),
            b"grpc-message" => http2.grpc_message = self.store_text(transaction, value),
            _ => {}
        }
    }

    pub(crate) fn write_operation(&mut self, transaction: &mut Transaction, record: &Record, operation: &Operation) {
        let whole = Some((record.end, Body::default()));
        transaction.request = Some(Message { end: whole, ..message(record, 0, Framing::None) });
        transaction.flags |= Flags::from_record(record.flags);
        transaction.number = operation.number;
        transaction.client_acked = record.peer_acked;
        transaction.protocol = transaction.store(MAX_TEXT, |out| out.extend_from_slice(operation.protocol.as_bytes()));
        transaction.method = self.store_text(transaction, operation.name);
        transaction.target = self.store_text(transaction, operation.target);
    }

    pub(crate) fn write_outcome(&mut self, transaction: &mut Transaction, record: &Record, outcome: &Outcome) {
        let whole = Some((record.end, Body::default()));
        transaction.response = Some(Message { end: whole, ..message(record, 0, Framing::None) });
        transaction.flags |= Flags::from_record(record.flags);
        transaction.reason = self.store_text(transaction, outcome.status);
    }

    /// Keeps the target of a transaction that may open a tunnel.
    pub(crate) fn tunnel_target(&mut self, transaction: &Transaction) {
        self.tunnel_target.clear();
        // An upgrade goes nowhere else.
        if transaction.tunnel == Tunnel::Connect {
            self.tunnel_target.extend_from_slice(transaction.target().unwrap_or_default());
        }
    }

    /// Keeps the request of an upgrade to HTTP/2, which the first stream answers (RFC 7540, section 3.2).
    #[cold]
    pub(crate) fn keep_upgraded(&mut self, transaction: &Transaction) {
        self.upgraded = Some(Box::new(transaction.upgraded()));
    }

    /// Stores the reason phrase of an interim response. Only the last one is used, but earlier ones stay in the buffer:
    /// so no more than 4 are stored.
    pub(crate) fn interim_reason(&self, transaction: &mut Transaction, reason: &[u8]) -> TextRange {
        const STORED: u32 = 4;
        match transaction.interim <= STORED {
            true => self.store_text(transaction, reason),
            false => TextRange::default(),
        }
    }

    fn store_text(&self, transaction: &mut Transaction, text: &[u8]) -> TextRange {
        transaction.store(MAX_TEXT, |out| self.redaction.write(Shape::Text, text, out))
    }
}

fn message(record: &Record, minor: u8, framing: Framing) -> Message {
    let cut = record.flags & abi::flag::HEAD_CUT != 0;
    Message { minor, framing, cut, start: record.start, head_end: record.end, end: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names() {
        for (names, all) in [(&NOT_HTTP_NAMES[..], abi::not_http::ALL), (&ERROR_NAMES[..], abi::error::ALL)] {
            assert_eq!(names.len(), all.len() + 1);
            for (name, code) in all {
                assert_eq!(names[usize::from(*code)], name.to_lowercase());
            }
        }
    }
}
