//! An exchange is the open transactions of one connection.
//!
//! Invariants: the queue never holds more than [`MAX_OPEN`], is in order of the requests (a response without one stands in
//! front), and at most one response in it has begun and not ended. What is under way stands at its ends, so only those are
//! searched, however many requests wait: responses come in order, and only the last request can have a body to come.

use crate::abi::{self, ParseError, Protocol};
use crate::http::community_id;
use crate::http::context::{HttpContext, MAX_OPEN, MAX_OPEN_BYTES};
use crate::http::flags::Flags;
use crate::http::queue::Queue;
use crate::http::record::{Kind, Record, Request, Response};
use crate::http::transaction::{Body, Transaction};
use crate::stream::{Connection, EndReason, Opener};

/// The flag that transactions bear which were open when their connection ended so.
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

/// The open transactions of one connection. Takes 56 bytes while nothing is open.
#[derive(Debug, Default)]
pub struct Exchange {
    queue: Queue,
    /// The connection's community identifier, once it was needed.
    community: Option<[u8; community_id::LEN]>,
    /// Transactions begun so far.
    begun: u32,
    /// An error of a side that had no transaction to bear it.
    error: Option<ParseError>,
    /// The side of `error`.
    error_side: u8,
}

impl Exchange {
    /// Takes a record and hands out the transactions that are complete with it.
    pub fn record(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        record: &Record,
        out: &mut impl FnMut(&Transaction),
    ) {
        match &record.kind {
            Kind::Request(request) => self.request(context, connection, record, request, out),
            Kind::Response(response) if record.flags & abi::flag::INTERIM != 0 => self.interim(context, response),
            Kind::Response(response) => self.response(context, connection, record, response, out),
            Kind::End { number, wire, decoded, lost } => {
                let body = Body { wire: *wire, decoded: *decoded, lost: *lost };
                self.message_end(context, connection, record, *number, body, out);
            }
            Kind::Tunnel { number, protocol } => self.tunnel(context, connection, *number, *protocol, out),
            Kind::NotHttp(protocol) => {
                count(&mut context.counters.not_http, protocol.code());
                if let Some(transaction) = self.queue.get_mut(0) {
                    transaction.flags |= Flags::NOT_HTTP;
                }
            }
            Kind::Error(error) => self.error(context, connection, record.side, *error, out),
        }
    }

    /// Hands out what is open. To be called once for every connection, also when it was given up.
    pub fn close(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        reason: EndReason,
        out: &mut impl FnMut(&Transaction),
    ) {
        while let Some(mut transaction) = self.queue.remove(0) {
            context.release(&transaction);
            transaction.flags |= end_flag(reason);
            // A response that the capture, or the parser, did not live to see may well have come.
            let unseen = matches!(reason, EndReason::Capture | EndReason::Fault);
            self.finish(context, connection, transaction, unseen, out);
        }
        *self = Self::default();
    }

    /// Reads one word of each cache line of the transaction that will be needed next.
    #[must_use]
    pub fn touch(&self) -> u64 {
        self.queue.get(0).map_or(0, Transaction::touch)
    }

    /// Number of open transactions.
    #[must_use]
    pub fn open(&self) -> usize {
        self.queue.len()
    }

    fn request(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        record: &Record,
        request: &Request,
        out: &mut impl FnMut(&Transaction),
    ) {
        self.hand_out_held(context, connection, out);
        self.make_room(context, connection, out);
        let mut transaction = self.begin(context, connection, record.side);
        context.write_request(&mut transaction, record, request);
        context.hold(&transaction);
        self.queue.push_back(transaction);
        self.give_up_if_full(context, connection, out);
    }

    fn interim(&mut self, context: &mut HttpContext, response: &Response) {
        let awaits = |open: &Transaction| open.number == response.number && open.number != 0 && open.response.is_none();
        let place = self.queue.find(awaits);
        let Some(transaction) = place.and_then(|place| self.queue.get_mut(place)) else {
            context.counters.stray += 1;
            return;
        };
        context.release(transaction);
        transaction.interim = transaction.interim.saturating_add(1);
        transaction.interim_status = response.status;
        transaction.interim_reason = context.interim_reason(transaction, response.reason);
        context.hold(transaction);
    }

    fn response(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        record: &Record,
        response: &Response,
        out: &mut impl FnMut(&Transaction),
    ) {
        self.hand_out_held(context, connection, out);
        // Another response begins: the one before it, if still unended, never will be.
        self.hand_out_where(context, connection, out, |open| {
            open.response.is_some_and(|message| message.end.is_none())
        });
        let inferred = record.flags & abi::flag::UNPAIRED != 0 && response.number == 0;
        let place = match response.number {
            0 if inferred => self.infer(record),
            0 => None,
            number => {
                self.place_of(number).filter(|place| self.queue.get(*place).is_some_and(|open| open.response.is_none()))
            }
        };
        let Some(place) = place else {
            self.make_room(context, connection, out);
            let mut transaction = self.begin(context, connection, record.side ^ 1);
            transaction.flags |= Flags::NO_REQUEST | self.take_error(record.side ^ 1);
            context.write_response(&mut transaction, record, response);
            context.hold(&transaction);
            self.queue.push_front(transaction);
            return self.give_up_if_full(context, connection, out);
        };
        // Responses come in order: what stands before it will not be answered any more.
        for _ in 0..place {
            self.hand_out(context, connection, 0, out);
        }
        if let Some(transaction) = self.queue.get_mut(0) {
            context.release(transaction);
            if inferred {
                transaction.flags |= Flags::PAIRING_INFERRED;
            }
            context.write_response(transaction, record, response);
            context.hold(transaction);
        }
    }

    /// Place of the request that an unpaired response most likely answers.
    ///
    /// A request can only have been answered if the server had acknowledged it. Of these the newest counts, since what
    /// came before it was most likely answered in what was lost; but requests that the client sent without having seen
    /// anything more of the server in between were pipelined, and of those the oldest is answered first. (What it had
    /// seen is not known where nothing of the server's was captured before: then the newest it is.)
    ///
    /// Where a request was lost that the server had acknowledged, and something of the server's stands between that
    /// newest request and this response, most likely both its answer and the request behind it were lost: then it is
    /// none of those that were seen.
    fn infer(&self, record: &Record) -> Option<usize> {
        let acked = record.peer_acked.unwrap_or(u64::MAX);
        let may_be = |open: &Transaction| {
            let end = open.request.map(|request| request.end.map_or(request.head_end, |(end, _)| end).offset);
            // A client cannot acknowledge an answer before it has begun.
            let seen = open.client_acked.is_none_or(|acked| acked <= record.start.offset);
            open.client_side != record.side && open.response.is_none() && end.is_some_and(|end| end <= acked) && seen
        };
        let newest = self.queue.rfind(may_be)?;
        let burst = self.queue.get(newest)?.client_acked;
        let follows = burst == Some(record.start.offset);
        if record.flags & abi::flag::REQUEST_LOST != 0 && !follows {
            return None;
        }
        if burst.is_none() {
            return Some(newest);
        }
        self.queue.find(|open| may_be(open) && open.client_acked == burst)
    }

    fn message_end(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        record: &Record,
        number: u32,
        body: Body,
        out: &mut impl FnMut(&Transaction),
    ) {
        let of_response = |open: &Transaction| {
            open.client_side != record.side && open.response.is_some_and(|message| message.end.is_none())
        };
        let place = match number {
            0 => self.under_way(of_response).next(),
            number => self.place_of(number),
        };
        let Some((place, transaction)) = place.and_then(|place| Some((place, self.queue.get_mut(place)?))) else {
            context.counters.stray += 1;
            return;
        };
        let half = match record.side == transaction.client_side {
            true => &mut transaction.request,
            false => &mut transaction.response,
        };
        match half {
            Some(message) if message.end.is_none() => message.end = Some((record.end, body)),
            _ => {
                context.counters.stray += 1;
                return;
            }
        }
        transaction.flags |= Flags::from_record(record.flags);
        let cut = record.flags & abi::flag::TRUNCATED != 0;
        transaction.cut_side = cut.then_some(record.side);
        if transaction.complete() {
            // Cut by an error, or by the end of the connection? What comes next knows.
            transaction.held = cut;
            if !transaction.held {
                self.hand_out(context, connection, place, out);
            }
        }
    }

    fn tunnel(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        number: u32,
        protocol: Option<Protocol>,
        out: &mut impl FnMut(&Transaction),
    ) {
        let Some(place) = self.place_of(number) else {
            context.counters.stray += 1;
            return;
        };
        if let Some(transaction) = self.queue.get_mut(place) {
            transaction.flags |= Flags::TUNNEL;
            transaction.tunnel = protocol;
            transaction.awaits_tunnel = false;
        }
        for _ in 0..=place {
            self.hand_out(context, connection, 0, out);
        }
    }

    /// An error is told on the transaction whose message it is in, which may have been ended, as cut, just before. If
    /// there is none, the next response without a request bears it: it is most likely the answer (400) to what could not
    /// be read. A message that was cut is known to be complete with the error that cut it.
    fn error(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        side: u8,
        error: ParseError,
        out: &mut impl FnMut(&Transaction),
    ) {
        count(&mut context.counters.errors, error.code());
        let unended = |open: &Transaction| {
            let half = if open.client_side == side { open.request } else { open.response };
            half.map_or(open.client_side != side, |message| message.end.is_none())
        };
        let newest_cut = self.under_way(|open| open.cut_side == Some(side)).next_back();
        let place = newest_cut.or_else(|| self.under_way(unended).next());
        match place.and_then(|place| Some((place, self.queue.get_mut(place)?))) {
            Some((place, transaction)) => {
                transaction.flags |= Flags::from_error(error);
                transaction.cut_side = None;
                if transaction.held {
                    self.hand_out(context, connection, place, out);
                }
            }
            None => {
                self.error = Some(error);
                self.error_side = side;
            }
        }
    }

    fn take_error(&mut self, side: u8) -> Flags {
        match self.error_side == side {
            true => self.error.take().map_or(Flags::empty(), Flags::from_error),
            false => Flags::empty(),
        }
    }

    fn begin(&mut self, context: &mut HttpContext, connection: &Connection, client_side: u8) -> Box<Transaction> {
        self.begun = self.begun.saturating_add(1);
        context.open(connection, self.begun, client_side)
    }

    fn make_room(&mut self, context: &mut HttpContext, connection: &Connection, out: &mut impl FnMut(&Transaction)) {
        if self.open() >= MAX_OPEN {
            self.overflow(context, connection, out);
        }
    }

    /// Beyond the context's bound the connection at hand pays, oldest first, with the newest too if need be.
    fn give_up_if_full(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        out: &mut impl FnMut(&Transaction),
    ) {
        while context.held() > MAX_OPEN_BYTES && self.open() > 0 {
            self.overflow(context, connection, out);
        }
    }

    fn overflow(&mut self, context: &mut HttpContext, connection: &Connection, out: &mut impl FnMut(&Transaction)) {
        context.counters.overflow += 1;
        if let Some(transaction) = self.queue.get_mut(0) {
            transaction.flags |= Flags::OVERFLOW;
        }
        self.hand_out(context, connection, 0, out);
    }

    /// Place of the transaction whose request has this number: nearly always the first or the last.
    fn place_of(&self, number: u32) -> Option<usize> {
        if number == 0 {
            return None;
        }
        let last = self.queue.len().checked_sub(1)?;
        match self.queue.get(last) {
            Some(open) if open.number == number => Some(last),
            _ => self.queue.find(|open| open.number == number),
        }
    }

    /// Places of the transactions for which `wanted` holds, of those that something may be under way with: those that the
    /// server has begun to answer (the first; one more behind a response without a request), and the last.
    fn under_way(&self, wanted: impl Fn(&Transaction) -> bool) -> impl DoubleEndedIterator<Item = usize> {
        let last = self.queue.len().saturating_sub(1);
        [0, 1, last].into_iter().filter(move |place| self.queue.get(*place).is_some_and(&wanted))
    }

    fn hand_out_held(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        out: &mut impl FnMut(&Transaction),
    ) {
        self.hand_out_where(context, connection, out, |open| open.held);
    }

    /// Hands out the first that `wanted` holds for: by the invariant there is no second.
    fn hand_out_where(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        out: &mut impl FnMut(&Transaction),
        wanted: impl Fn(&Transaction) -> bool,
    ) {
        let place = self.under_way(wanted).next();
        if let Some(place) = place {
            self.hand_out(context, connection, place, out);
        }
    }

    fn hand_out(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        place: usize,
        out: &mut impl FnMut(&Transaction),
    ) {
        if let Some(transaction) = self.queue.remove(place) {
            context.release(&transaction);
            self.finish(context, connection, transaction, false, out);
        }
    }

    /// Hands out a transaction with the flags for what it lacks. `unseen`: a response may have come unseen.
    fn finish(
        &mut self,
        context: &mut HttpContext,
        connection: &Connection,
        mut transaction: Box<Transaction>,
        unseen: bool,
        out: &mut impl FnMut(&Transaction),
    ) {
        let opened_by_client = match connection.opener {
            Opener::First => transaction.client_side == 0,
            Opener::Second => transaction.client_side == 1,
            Opener::Unknown => true,
        };
        if !opened_by_client {
            transaction.flags |= Flags::REVERSED;
        }
        if !unseen && !transaction.flags.intersects(Flags::TUNNEL | Flags::OVERFLOW) {
            match transaction.response {
                None => transaction.flags |= Flags::NO_RESPONSE,
                Some(_) if !transaction.complete() => transaction.flags |= Flags::TRUNCATED,
                Some(_) => {}
            }
        }
        if context.wants_community_id() {
            let [one, other] = connection.endpoints;
            transaction.community_id =
                Some(*self.community.get_or_insert_with(|| community_id::identifier(one, other)));
        }
        context.hand_out(transaction, out);
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
