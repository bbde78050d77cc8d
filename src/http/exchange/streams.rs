//! Transactions of a connection with streams (HTTP/2): each has a stream of its own, so that they are open side by side and end in
//! any order.
//!
//! Invariants: at most [`MAX_OPEN`] are open, by number of their stream; when there are too many, that of the lowest number
//! is given up, which is the oldest.

use std::collections::BTreeMap;

use super::{Pairing, count};
use crate::abi::{self, Tunnel};
use crate::http::context::{HttpContext, MAX_OPEN, MAX_OPEN_BYTES};
use crate::http::flags::Flags;
use crate::http::record::{Headers, Kind, Record, Request, Response};
use crate::http::transaction::{Body, Transaction};
use crate::stream::EndReason;

/// Error codes (RFC 9113, section 7).
const NO_ERROR: u64 = 0;
const REFUSED_STREAM: u64 = 7;

/// The open transactions of a connection by stream.
pub(super) type Streams = BTreeMap<u32, Box<Transaction>>;

/// Where the request of an upgrade stands until something is said of a stream: only then is it known that the connection
/// speaks HTTP/2.
const UPGRADED: u32 = 0;

/// The streams of a connection that an upgrade has begun: the first answers its request (RFC 7540, section 3.2).
pub(super) fn of_upgrade(context: &mut HttpContext, request: Box<Transaction>) -> Box<Streams> {
    context.hold(&request);
    Box::new(Streams::from([(UPGRADED, request)]))
}

fn is_upgrade(streams: &Streams) -> bool {
    streams.first_key_value().is_some_and(|(stream, _)| *stream == UPGRADED)
}

impl<F: FnMut(&Transaction)> Pairing<'_, F> {
    /// A record about a stream.
    pub(super) fn stream_record(&mut self, record: &Record) {
        if self.exchange.streams.as_ref().is_some_and(|streams| is_upgrade(streams)) {
            self.begin_upgraded();
        }
        match &record.kind {
            Kind::Request(request) => self.stream_request(record, request),
            Kind::Response(response) => self.stream_response(record, response),
            Kind::Trailers { fields, .. } => self.stream_trailers(record, *fields),
            Kind::End { wire, decoded, lost, messages, .. } => {
                let known = record.flags & abi::flag::UNPAIRED == 0;
                let body = known.then_some(Body { wire: *wire, decoded: *decoded, lost: *lost });
                self.stream_end(record, body, *messages);
            }
            Kind::Body { number, before, bytes } => self.body(record, *number, *before, bytes),
            Kind::Reset { code, .. } => self.stream_reset(record.stream, *code),
            Kind::Tunnel { kind, .. } => self.stream_tunnel(record.stream, *kind),
            Kind::NotHttp(protocol) => count(&mut self.context.counters.not_http, protocol.code()),
            Kind::Error(error) => {
                count(&mut self.context.counters.errors, error.code());
                self.change(record.stream, |_, transaction| transaction.flags |= Flags::from_error(*error));
            }
            Kind::Operation(_) | Kind::Outcome(_) => self.context.counters.stray += 1,
        }
    }

    pub(super) fn close_streams(&mut self, reason: EndReason) {
        let unseen = matches!(reason, EndReason::Capture | EndReason::Fault);
        for (stream, mut transaction) in self.exchange.streams.take().map(|streams| *streams).unwrap_or_default() {
            self.context.release(&transaction);
            if stream == UPGRADED {
                continue;
            }
            transaction.flags |= super::end_flag(reason);
            self.finish(transaction, unseen);
        }
    }

    /// The request of the upgrade is that of the first stream.
    #[cold]
    fn begin_upgraded(&mut self) {
        let Some(mut request) = self.streams().remove(&UPGRADED) else { return };
        self.context.release(&request);
        let place = self.begin(request.client_side);
        request.move_to(&place);
        self.add(1, request);
    }

    fn streams(&mut self) -> &mut Streams {
        self.exchange.streams.get_or_insert_default()
    }

    /// Changes the open transaction of a stream; counts the record if there is none.
    fn change(&mut self, stream: u32, change: impl FnOnce(&mut HttpContext, &mut Transaction)) -> bool {
        let Self { exchange, context, .. } = self;
        let open = exchange.streams.as_mut().and_then(|streams| streams.get_mut(&stream));
        let Some(transaction) = open else {
            context.counters.stray += 1;
            return false;
        };
        context.release(transaction);
        change(context, transaction);
        context.hold(transaction);
        true
    }

    /// Adds a transaction. One of the same stream is over.
    fn add(&mut self, stream: u32, transaction: Box<Transaction>) {
        self.context.hold(&transaction);
        if let Some(old) = self.streams().insert(stream, transaction) {
            self.context.release(&old);
            self.finish(old, false);
        }
        while self.streams().len() > MAX_OPEN
            || self.context.held() > MAX_OPEN_BYTES
                && self.exchange.streams.as_ref().is_some_and(|open| !open.is_empty())
        {
            self.context.counters.overflow += 1;
            let Some((_, mut oldest)) = self.streams().pop_first() else { return };
            self.context.release(&oldest);
            oldest.flags |= Flags::OVERFLOW;
            self.finish(oldest, false);
        }
    }

    fn stream_request(&mut self, record: &Record, request: &Request) {
        let open = self.exchange.streams.as_ref().and_then(|streams| streams.get(&record.stream));
        // Captured behind its response.
        if open.is_some_and(|open| open.request.is_none() && open.client_side == record.side) {
            self.change(record.stream, |context, transaction| {
                transaction.flags.remove(Flags::NO_REQUEST);
                context.write_request(transaction, record, request);
            });
            return;
        }
        let mut transaction = self.begin(record.side);
        self.context.write_request(&mut transaction, record, request);
        self.add(record.stream, transaction);
    }

    fn stream_response(&mut self, record: &Record, response: &Response) {
        let open = self.exchange.streams.as_ref().and_then(|streams| streams.get(&record.stream));
        let answers = open.is_some_and(|open| open.client_side != record.side && open.response.is_none());
        if record.flags & abi::flag::INTERIM != 0 {
            if !answers {
                self.context.counters.stray += 1;
                return;
            }
            self.change(record.stream, |_, transaction| {
                transaction.interim = transaction.interim.saturating_add(1);
                transaction.interim_status = response.status;
            });
            return;
        }
        if answers {
            self.change(record.stream, |context, transaction| context.write_response(transaction, record, response));
            return;
        }
        let mut transaction = self.begin(record.side ^ 1);
        transaction.flags |= Flags::NO_REQUEST;
        self.context.write_response(&mut transaction, record, response);
        self.add(record.stream, transaction);
    }

    fn stream_trailers(&mut self, record: &Record, fields: Headers<'_>) {
        self.change(record.stream, |context, transaction| {
            transaction.flags |= Flags::TRAILERS | Flags::from_record(record.flags);
            if transaction.client_side != record.side {
                context.write_trailers(transaction, fields);
            }
        });
    }

    /// A message has ended. `body`: `None` if its size is not known.
    fn stream_end(&mut self, record: &Record, body: Option<Body>, messages: Option<u32>) {
        let mut complete = false;
        self.change(record.stream, |context, transaction| {
            let of_request = transaction.client_side == record.side;
            let half = if of_request { &mut transaction.request } else { &mut transaction.response };
            let Some(message) = half.as_mut().filter(|message| message.end.is_none()) else {
                context.counters.stray += 1;
                return;
            };
            message.end = Some((record.end, body.unwrap_or_default()));
            message.cut |= body.is_none();
            transaction.flags |= Flags::from_record(record.flags);
            transaction.note_messages(of_request, messages);
            // The end of the request may have been lost.
            let last = !of_request && record.flags & abi::flag::REQUEST_LOST != 0;
            complete = transaction.complete() || last;
        });
        if complete {
            self.hand_out_stream(record.stream);
        }
    }

    fn stream_reset(&mut self, stream: u32, code: u64) {
        let known = self.change(stream, |_, transaction| {
            // A server that has answered lets the client stop (RFC 9113, section 8.1).
            let answered = transaction.response.is_some_and(|response| response.end.is_some());
            if code == REFUSED_STREAM {
                transaction.flags |= Flags::NOT_PROCESSED;
            } else if code != NO_ERROR || !answered {
                transaction.flags |= Flags::STREAM_RESET;
            }
            transaction.note_stream_error(code);
        });
        if known {
            self.hand_out_stream(stream);
        }
    }

    fn stream_tunnel(&mut self, stream: u32, kind: Tunnel) {
        let known = self.change(stream, |_, transaction| {
            transaction.flags |= Flags::TUNNEL;
            transaction.tunnel = kind;
            transaction.awaits_tunnel = false;
            // What its client sends from here on is the tunnel's.
            if let Some(request) = transaction.request.as_mut().filter(|request| request.end.is_none()) {
                request.end = Some((request.head_end, Body::default()));
            }
        });
        if known {
            self.hand_out_stream(stream);
        }
    }

    fn hand_out_stream(&mut self, stream: u32) {
        let Some(transaction) = self.streams().remove(&stream) else {
            debug_assert!(false, "an open transaction is handed out");
            return;
        };
        self.context.release(&transaction);
        self.finish(transaction, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Framing, ParseError, flag};
    use crate::http::Settings;
    use crate::http::test_wire::Wire;

    const GET: &str = "GET /a h2\nhost: h";

    fn flags(transaction: &Transaction) -> Vec<&'static str> {
        transaction.flags.names().collect()
    }

    #[test]
    fn streams_are_answered_in_any_order() {
        let mut wire = Wire::new(Settings::default());
        wire.ask_on(1, GET, 0).ask_on(3, "GET /b h2", 0).ask_on(5, "GET /c h2", 0);
        for stream in [1, 3, 5] {
            wire.end_on(0, stream, 0, 0);
        }
        wire.answer_on(5, "h2 200", 0).answer_on(1, "h2 404", 0);
        wire.end_on(1, 5, 10, 0).end_on(1, 1, 20, 0).answer_on(3, "h2 500", 0).end_on(1, 3, 30, 0);
        let all: Vec<_> =
            wire.done.iter().map(|done| (done.stream(), done.status, done.path().unwrap().to_vec())).collect();
        let wanted = [(Some(5), 200, b"/c".to_vec()), (Some(1), 404, b"/a".to_vec()), (Some(3), 500, b"/b".to_vec())];
        assert_eq!(all, wanted);
        assert!(wire.done.iter().all(|done| done.flags.is_empty() && done.version() == Some("2")), "{:?}", wire.done);
        assert_eq!(wire.context.held(), 0);
    }

    #[test]
    fn resets_say_what_they_cut() {
        let mut wire = Wire::new(Settings::default());
        for (stream, code) in [(1, 8), (3, 7)] {
            wire.ask_on(stream, GET, 0).end_on(0, stream, 0, 0).reset_on(1, stream, code);
        }
        wire.ask_on(5, GET, 0).answer_on(5, "h2 200", 0).end_on(1, 5, 0, 0).reset_on(1, 5, 0);
        let all: Vec<_> = wire.done.iter().map(|done| (flags(done), done.stream_error())).collect();
        let wanted = [
            (vec!["no_response", "stream_reset"], Some(8)),
            (vec!["no_response", "not_processed"], Some(7)),
            (vec!["truncated"], None),
        ];
        assert_eq!(all, wanted);
    }

    #[test]
    fn an_error_is_told_by_the_line_of_its_stream() {
        let mut wire = Wire::new(Settings::default());
        wire.ask_on(1, GET, 0).end_on(0, 1, 0, 0).ask_on(3, GET, 0).end_on(0, 3, 0, 0);
        wire.error_on(1, 1, ParseError::BadFrame).answer_on(3, "h2 200", 0).end_on(1, 3, 0, 0).close(EndReason::Fin);
        let all: Vec<_> = wire.done.iter().map(|done| (done.stream(), flags(done))).collect();
        assert_eq!(all, [(Some(3), vec![]), (Some(1), vec!["no_response", "bad_frame"])]);
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let mut wire = Wire::new(Settings::default());
        wire.answer_on(1, "h2 200", 0).end_on(1, 1, 5, flag::UNPAIRED | flag::GAP);
        wire.ask_on(3, GET, flag::HPACK_UNKNOWN).answer_on(3, "h2 200", 0).end_on(1, 3, 5, flag::REQUEST_LOST);
        wire.ask_on(5, GET, 0).close(EndReason::Fin);
        let all: Vec<_> =
            wire.done.iter().map(|done| (flags(done), done.response.and_then(|one| one.body()))).collect();
        let whole = Body { wire: 5, decoded: 5, lost: 0 };
        let wanted = [
            (vec!["gap", "no_request"], None),
            (vec!["truncated", "hpack_unknown"], Some(whole)),
            (vec!["no_response"], None),
        ];
        assert_eq!(all, wanted);
    }

    #[test]
    fn tunnels_end_their_transaction_and_too_many_the_oldest() {
        let mut wire = Wire::new(Settings::default());
        wire.ask_on(1, "CONNECT h:80 h2", 0).answer_framed_on(1, "h2 200", 0, Framing::Tunnel);
        wire.tunnel_on(1, Tunnel::Connect);
        assert_eq!(flags(wire.last()), ["tunnel"]);
        for stream in 0..=MAX_OPEN {
            wire.ask_on(2 * u32::try_from(stream).unwrap() + 3, GET, 0);
        }
        assert_eq!((wire.done.len(), wire.last().stream(), flags(wire.last())), (2, Some(3), vec!["overflow"]));
    }

    #[test]
    fn the_outcome_of_grpc_comes_from_trailers_or_the_only_head() {
        let mut wire = Wire::new(Settings::default());
        let ask = "POST /pkg.Greeter/SayHello h2\ncontent-type: application/grpc\ngrpc-timeout: 5S";
        wire.ask_on(1, ask, 0).end_on(0, 1, 12, 0).answer_on(1, "h2 200\ncontent-type: application/grpc", 0);
        wire.trailers_on(1, 1, "grpc-status: 5\ngrpc-message: not%20found").end_on(1, 1, 0, 0);
        let call = wire.last().grpc().unwrap();
        assert_eq!((call.service, call.method), (&b"pkg.Greeter"[..], &b"SayHello"[..]));
        assert_eq!((call.status, call.timeout), (Some(5), Some(5_000_000_000)));
        assert_eq!(call.message.as_deref(), Some(&b"not found"[..]));
        wire.ask_on(3, ask, 0).end_on(0, 3, 12, 0);
        wire.answer_on(3, "h2 200\ncontent-type: application/grpc\ngrpc-status: 12", 0).end_on(1, 3, 0, 0);
        assert_eq!(wire.last().grpc().unwrap().status, Some(12));
        wire.ask_on(5, ask, 0).end_on(0, 5, 12, 0).answer_on(5, "h2 200\ncontent-type: application/grpc", 0);
        wire.end_on(1, 5, 0, 0);
        assert_eq!(wire.last().grpc().unwrap().status, None, "not known is not 0");
    }
}
