//! An exchange is the open transactions of one connection. It pairs responses with requests.
//!
//! Invariants: the queue never holds more than [`MAX_OPEN`], is in order of the requests (a response without one is in
//! front), and at most one response in it has begun and not ended. Messages in progress are at its ends, so only those
//! are searched, however many requests wait: responses come in order, and only the last request can have a body to
//! come.

use std::sync::Arc;

use crate::abi::{self, ParseError, Tunnel};
use crate::http::community_id;
use crate::http::context::{HttpContext, MAX_OPEN, MAX_OPEN_BYTES};
use crate::http::flags::Flags;
use crate::http::queue::Queue;
use crate::http::record::{Kind, Record, Request, Response};
use crate::http::transaction::{Body, Outer, Transaction};
use crate::http::uid::Uid;
use crate::stream::{Connection, EndReason, Endpoint, Opener};

mod bodies;
mod near;
mod operations;
mod streams;
mod unpaired;

use streams::Streams;

/// The flag of a transaction that was open when its connection ended for this reason.
const fn end_flag(reason: EndReason) -> Flags {
    match reason {
        EndReason::Fin => Flags::empty(),
        EndReason::Reset => Flags::RESET,
        EndReason::Timeout => Flags::TIMEOUT,
        EndReason::Evicted => Flags::EVICTED,
        EndReason::Reused => Flags::REUSED,
        EndReason::Capture => Flags::OPEN,
        EndReason::Fault => Flags::FAULT,
    }
}

/// The open transactions of one connection. Takes 120 bytes while nothing is open.
#[derive(Debug, Default)]
pub struct Exchange {
    queue: Queue,
    /// The connection's identifier, once it was needed.
    uid: Option<Uid>,
    /// Its community identifier, once that was needed.
    community: Option<[u8; community_id::LEN]>,
    /// Transactions begun so far.
    begun: u32,
    /// An error for which there was no transaction to flag.
    error: Option<ParseError>,
    /// The side of `error`.
    error_side: u8,
    /// The side that turned out last to speak something else.
    not_http: Option<u8>,
    /// By side: offset in its stream behind the last message that belongs to a request.
    read: [u64; 2],
    /// Of each side: the end of its last message was not seen.
    cut: [bool; 2],
    /// What the last response acknowledged.
    acked: u64,
    /// The client has sent a request without having received anything since its last one.
    pipelines: bool,
    /// The tunnel that the connection is inside of.
    outer: Option<Arc<Outer>>,
    /// Of HTTP/2; a connection of HTTP/1 has none. A pointer instead of a map in every connection: few have streams.
    streams: Option<Box<Streams>>,
}

impl Exchange {
    /// Takes a record and hands out the transactions that it completes.
    pub fn record(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        record: &Record,
        out: &mut impl FnMut(&Transaction),
    ) {
        Pairing { exchange: self, context, connection, out }.record(record);
        debug_assert!(self.is_consistent(), "the queue is bounded, and at most one response is in progress");
    }

    /// The exchange of the stream inside a tunnel on `outer`, which a record has just announced. `relay`: see
    /// [`Outer::relay`]. Both identifiers are those of the packets, whatever a PROXY header says.
    #[must_use]
    pub fn inner(
        &self,
        context: &mut HttpContext,
        outer: &Connection,
        tunnel: Tunnel,
        relay: Option<Endpoint>,
    ) -> Self {
        let [one, other] = outer.endpoints;
        let of_packets = || context.wants_community_id().then(|| community_id::identifier(one, other));
        let community = self.community.or_else(of_packets);
        let uid = self.uid.unwrap_or_else(|| context.uid(outer));
        let target = std::mem::take(&mut context.tunnel_target).into_boxed_slice();
        let upgraded = context.upgraded.take().filter(|_| tunnel == Tunnel::H2c);
        Self {
            streams: upgraded.map(|request| streams::of_upgrade(context, request)),
            outer: Some(Arc::new(Outer { conn: outer.number, uid, tunnel, target, relay })),
            uid: Some(uid.inner()),
            community,
            ..Self::default()
        }
    }

    /// Hands out what is open. To be called once for every connection, also when it was given up. `lengths`: of the streams
    /// of both sides, as far as they were seen.
    pub fn close(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        lengths: [u64; 2],
        reason: EndReason,
        out: &mut impl FnMut(&Transaction),
    ) {
        Pairing { exchange: self, context, connection, out }.close(lengths, reason);
        *self = Self::default();
    }

    /// Number of open transactions.
    #[must_use]
    pub fn open(&self) -> usize {
        self.queue.len() + self.streams.as_ref().map_or(0, |streams| streams.len())
    }

    /// Whether the invariants of the queue hold.
    fn is_consistent(&self) -> bool {
        let in_progress = self.queue.iter().filter(|open| response_in_progress(open)).count();
        self.queue.len() <= MAX_OPEN && in_progress <= 1 && self.open() <= 2 * MAX_OPEN
    }

    fn take_error(&mut self, side: u8) -> Flags {
        match self.error_side == side {
            true => self.error.take().map_or(Flags::empty(), Flags::from_error),
            false => Flags::empty(),
        }
    }
}

fn response_in_progress(open: &Transaction) -> bool {
    open.response.is_some_and(|message| message.end.is_none())
}

/// An exchange while a record or the end of its connection changes it.
struct Pairing<'a, F> {
    exchange: &'a mut Exchange,
    context: &'a mut HttpContext,
    connection: &'a Connection,
    /// Takes the transactions that are finished.
    out: &'a mut F,
}

impl<F: FnMut(&Transaction)> Pairing<'_, F> {
    fn record(&mut self, record: &Record) {
        if record.stream != 0 {
            return self.stream_record(record);
        }
        match &record.kind {
            Kind::Request(request) => self.request(record, request),
            Kind::Response(response) if record.flags & abi::flag::INTERIM != 0 => self.interim(record, response),
            Kind::Response(response) => self.response(record, response),
            Kind::End { number, wire, decoded, lost, .. } => {
                let body = Body { wire: *wire, decoded: *decoded, lost: *lost };
                self.message_end(record, *number, body);
            }
            Kind::Body { number, before, bytes } => self.body(record, *number, *before, bytes),
            Kind::Tunnel { number, kind, target, .. } => self.tunnel(*number, *kind, target),
            Kind::NotHttp(protocol) => {
                count(&mut self.context.counters.not_http, protocol.code());
                self.exchange.not_http = Some(record.side);
                if let Some(transaction) = self.exchange.queue.get_mut(0) {
                    transaction.flags |= Flags::NOT_HTTP;
                }
            }
            Kind::Operation(operation) => self.operation(record, operation),
            Kind::Outcome(outcome) => self.outcome(record, outcome),
            // Only streams have these.
            Kind::Trailers { .. } | Kind::Reset { .. } => self.context.counters.stray += 1,
            Kind::Error(error) => self.error(record.side, *error),
        }
    }

    fn close(&mut self, lengths: [u64; 2], reason: EndReason) {
        (0..).zip(lengths).for_each(|(side, length)| self.exchange.note_unread(side, length));
        self.hand_out_where(|open| open.held && open.cut_side.is_none());
        while let Some(mut transaction) = self.exchange.queue.remove(0) {
            self.context.release(&transaction);
            transaction.flags |= end_flag(reason);
            // The response may have come after the end of the capture, or after the parser failed.
            let unseen = matches!(reason, EndReason::Capture | EndReason::Fault);
            self.finish(transaction, unseen);
        }
        self.close_streams(reason);
    }

    fn request(&mut self, record: &Record, request: &Request) {
        if let Some(certain) = self.exchange.answered_already(record) {
            return self.request_of_response(record, request, certain);
        }
        self.hand_out_held();
        self.make_room();
        let mut transaction = self.begin(record.side);
        self.context.write_request(&mut transaction, record, request);
        self.context.hold(&transaction);
        if self.exchange.open() > 0 {
            let pipelined = |open: &Transaction| open.response.is_none() && open.client_acked == record.peer_acked;
            self.exchange.pipelines |= self.exchange.queue.iter().next_back().is_some_and(pipelined);
        }
        self.exchange.queue.push_back(transaction);
        self.give_up_if_full();
    }

    /// Adds a request to the response in front. Its end comes with the next record.
    #[cold]
    fn request_of_response(&mut self, record: &Record, request: &Request, certain: bool) {
        let Self { exchange, context, .. } = self;
        let Some(transaction) = exchange.queue.get_mut(0) else { return };
        context.release(transaction);
        transaction.flags.remove(Flags::NO_REQUEST);
        transaction.flags.set(Flags::PAIRING_INFERRED, !certain);
        transaction.held = false;
        context.write_request(transaction, record, request);
        context.hold(transaction);
    }

    fn interim(&mut self, record: &Record, response: &Response) {
        note_read(&mut self.exchange.read, record);
        let awaits = |open: &Transaction| open.number == response.number && open.number != 0 && open.response.is_none();
        let Self { exchange, context, .. } = self;
        let inferred = || exchange.infer(record).filter(|_| response.number == 0);
        let index = exchange.queue.find(awaits).or_else(inferred);
        let Some((_, transaction)) = exchange.queue.at(index) else {
            context.counters.stray += 1;
            return;
        };
        if transaction.client_acked == Some(record.start.offset) {
            transaction.client_acked = Some(record.end.offset); // the final response is what follows
        }
        context.release(transaction);
        transaction.interim = transaction.interim.saturating_add(1);
        transaction.interim_status = response.status;
        transaction.interim_reason = context.interim_reason(transaction, response.reason);
        context.hold(transaction);
    }

    fn response(&mut self, record: &Record, response: &Response) {
        self.hand_out_held();
        self.exchange.note_unfinished(record);
        // Another response begins: the one before it, if it has not ended, never will.
        self.hand_out_where(response_in_progress);
        self.exchange.note_unread(record.side, record.start.offset);
        let inferred = record.flags & abi::flag::UNPAIRED != 0 && response.number == 0;
        let index = match response.number {
            0 if inferred => self.exchange.infer(record),
            0 => None,
            number => self
                .exchange
                .queue
                .index_of(number)
                .filter(|index| self.exchange.queue.get(*index).is_some_and(|open| open.response.is_none())),
        };
        let proven = inferred && index.is_some_and(|index| self.exchange.proves(index, record));
        self.exchange.acked = record.peer_acked.unwrap_or(0);
        let Some(index) = index else {
            self.make_room();
            let mut transaction = self.begin(record.side ^ 1);
            let error = self.exchange.take_error(record.side ^ 1);
            transaction.flags |= Flags::NO_REQUEST | error;
            self.context.write_response(&mut transaction, record, response);
            self.exchange.note_unread_streams();
            let other = self.exchange.not_http == Some(record.side ^ 1) || self.exchange.streams.is_some();
            if !error.is_empty() || other {
                transaction.server_acked = None; // no head will come that it answers
            }
            self.context.hold(&transaction);
            self.exchange.queue.push_front(transaction);
            return self.give_up_if_full();
        };
        note_read(&mut self.exchange.read, record);
        // Responses come in order: requests before this one will not be answered any more.
        for _ in 0..index {
            self.hand_out(0);
        }
        let Some(transaction) = self.exchange.queue.get_mut(0) else {
            debug_assert!(false, "the request that is answered is in the queue");
            return;
        };
        self.context.release(transaction);
        if inferred && !proven {
            transaction.flags |= Flags::PAIRING_INFERRED;
        }
        self.context.write_response(transaction, record, response);
        self.context.hold(transaction);
    }

    fn message_end(&mut self, record: &Record, number: u32, body: Body) {
        let of_response = |open: &Transaction| open.client_side != record.side && response_in_progress(open);
        let index = match number {
            0 => self.exchange.queue.in_progress(of_response).next(),
            number => self.exchange.queue.index_of(number),
        };
        let cut = record.flags & abi::flag::TRUNCATED != 0;
        self.exchange.note_cut(record.side, cut);
        let Exchange { queue, read, .. } = &mut *self.exchange;
        let Some((index, transaction)) = queue.at(index) else {
            self.context.counters.stray += 1;
            return;
        };
        if transaction.request.is_some() {
            note_read(read, record);
        }
        let half = match record.side == transaction.client_side {
            true => &mut transaction.request,
            false => &mut transaction.response,
        };
        match half {
            Some(message) if message.end.is_none() => message.end = Some((record.end, body)),
            _ => {
                self.context.counters.stray += 1;
                return;
            }
        }
        transaction.flags |= Flags::from_record(record.flags);
        transaction.cut_side = cut.then_some(record.side);
        transaction.note_cut_body(record.side, cut);
        if transaction.complete() {
            // Cut by an error, or by the end of the connection? The answer to a head that ends later? The next record shows.
            transaction.held = cut;
            if !cut && !self.holds(index) {
                self.hand_out(index);
            }
        }
    }

    fn tunnel(&mut self, number: u32, kind: Tunnel, target: &[u8]) {
        match kind {
            Tunnel::Proxy => {
                self.context.tunnel_target.clear();
                self.context.tunnel_target.extend_from_slice(target);
                return;
            }
            // The outcome before it has ended its operation.
            Tunnel::Socks => return,
            Tunnel::Connect | Tunnel::Other | Tunnel::WebSocket | Tunnel::H2c => {}
        }
        let Self { exchange, context, .. } = self;
        let Some((index, transaction)) = exchange.queue.at(exchange.queue.index_of(number)) else {
            context.counters.stray += 1;
            return;
        };
        transaction.flags |= Flags::TUNNEL;
        transaction.tunnel = kind;
        context.tunnel_target(transaction);
        if kind == Tunnel::H2c {
            context.keep_upgraded(transaction);
        }
        transaction.awaits_tunnel = false;
        for _ in 0..=index {
            self.hand_out(0);
        }
    }

    /// Flags the transaction whose message an error is in; that message may have been ended, as cut, just before. If there
    /// is none, the next response without a request gets the flag: it is most likely the answer (400) to what could not be
    /// read. With the error that cut it, a message that was cut is complete.
    fn error(&mut self, side: u8, error: ParseError) {
        count(&mut self.context.counters.errors, error.code());
        let unended = |open: &Transaction| {
            let half = if open.client_side == side { open.request } else { open.response };
            half.map_or(open.client_side != side, |message| message.end.is_none())
        };
        let newest_cut = self.exchange.queue.in_progress(|open| open.cut_side == Some(side)).next_back();
        let index = newest_cut.or_else(|| self.exchange.queue.in_progress(unended).next());
        match self.exchange.queue.at(index) {
            Some((index, transaction)) => {
                transaction.flags |= Flags::from_error(error);
                transaction.cut_side = None;
                if transaction.held {
                    self.hand_out(index);
                }
            }
            None => {
                self.exchange.error = Some(error);
                self.exchange.error_side = side;
            }
        }
    }

    fn begin(&mut self, client_side: u8) -> Box<Transaction> {
        self.exchange.begun = self.exchange.begun.saturating_add(1);
        let mut transaction = self.context.open(self.connection, self.exchange.begun, client_side);
        transaction.outer.clone_from(&self.exchange.outer);
        transaction
    }

    fn make_room(&mut self) {
        if self.exchange.queue.len() >= MAX_OPEN {
            self.overflow();
        }
    }

    /// Beyond the context's bound this connection gives up its own transactions, the oldest first, and even the newest.
    fn give_up_if_full(&mut self) {
        while self.context.held() > MAX_OPEN_BYTES && self.exchange.queue.len() > 0 {
            self.overflow();
        }
    }

    fn overflow(&mut self) {
        self.context.counters.overflow += 1;
        if let Some(transaction) = self.exchange.queue.get_mut(0) {
            transaction.flags |= Flags::OVERFLOW;
        }
        self.hand_out(0);
    }

    /// Whether a response that is complete is held for what it may answer.
    fn holds(&mut self, index: usize) -> bool {
        let held = self.exchange.queue.get(index).is_some_and(|complete| self.exchange.may_answer_unread(complete));
        if let Some(complete) = self.exchange.queue.get_mut(index).filter(|_| held) {
            complete.held = true;
        }
        held
    }

    fn hand_out_held(&mut self) {
        self.hand_out_where(|open| open.held);
    }

    /// Hands out the first transaction in progress for which `wanted` holds: by the invariant there is no second.
    fn hand_out_where(&mut self, wanted: impl Fn(&Transaction) -> bool) {
        let index = self.exchange.queue.in_progress(wanted).next();
        if let Some(index) = index {
            self.hand_out(index);
        }
    }

    fn hand_out(&mut self, index: usize) {
        let Some(transaction) = self.exchange.queue.remove(index) else {
            debug_assert!(false, "only a transaction of the queue is handed out");
            return;
        };
        self.context.release(&transaction);
        self.finish(transaction, false);
    }

    /// Hands out a transaction with the flags for what it lacks. `unseen`: its response may have come unseen.
    fn finish(&mut self, mut transaction: Box<Transaction>, unseen: bool) {
        let Self { exchange, context, connection, out } = self;
        let opened_by_client = match connection.opener {
            Opener::First => transaction.client_side == 0,
            Opener::Second => transaction.client_side == 1,
            Opener::Unknown => true,
        };
        if !opened_by_client {
            transaction.flags |= Flags::REVERSED;
        }
        if !transaction.flags.intersects(Flags::TUNNEL | Flags::OVERFLOW) {
            match transaction.response {
                None if transaction.unread => transaction.flags |= Flags::RESPONSE_UNREAD,
                None if !unseen => transaction.flags |= Flags::NO_RESPONSE,
                Some(_) if !unseen && !transaction.complete() => transaction.flags |= Flags::TRUNCATED,
                _ => {}
            }
        }
        transaction.uid = *exchange.uid.get_or_insert_with(|| context.uid(connection));
        if context.wants_community_id() {
            let [one, other] = connection.endpoints;
            transaction.community_id =
                Some(*exchange.community.get_or_insert_with(|| community_id::identifier(one, other)));
        }
        context.hand_out(transaction, *out);
    }
}

/// A message that belongs to a request has come so far.
fn note_read(read: &mut [u64; 2], record: &Record) {
    if let Some(read) = read.get_mut(usize::from(record.side)) {
        *read = record.end.offset;
    }
}

/// Counts a code: a test compares the counters' names with the codes.
fn count(counters: &mut [u64], code: u16) {
    let counter = counters.get_mut(usize::from(code));
    debug_assert!(counter.is_some(), "every code has a counter");
    if let Some(counter) = counter {
        *counter += 1;
    }
}

#[cfg(test)]
mod tests;
