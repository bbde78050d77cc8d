//! What is told to the sink: bytes, skipped stretches and ends, each at its offset, with every byte put on its account.

use super::assembler::{Carrier, UNKNOWN};
use super::connection::{Connection, Shared};
use super::stream::{Stream, StreamFlags};
use crate::stream::{EndReason, MAX_PIECE, Position, Side, Sink};

impl Connection {
    /// Applies the worker's word that bytes of a side below `upto` are not needed.
    pub(super) fn skip(&mut self, side: Side, upto: u64) {
        let own = self.stream_mut(side);
        if !own.ended() && upto > own.next {
            own.skip = own.skip.max(upto);
        }
    }

    /// Declares all of a side below `to` lost that has not been handed on.
    pub(super) fn advance_lost<S: Sink>(
        &mut self,
        side: Side,
        to: u64,
        carrier: Carrier,
        shared: &mut Shared,
        sink: &mut S,
    ) {
        let own = self.stream_mut(side);
        let from = own.next;
        if to <= from {
            return;
        }
        shared.counters.gap += to - from;
        own.flags.insert(StreamFlags::TOLD);
        if own.skip > from {
            let upto = own.skip.min(to);
            own.open_skipped();
            own.skipped_lost += upto - from;
            own.next = upto;
            self.close_skipped(side, carrier, sink);
        }
        self.stream_mut(side).next = to;
    }

    /// Passes over captured bytes that are not needed.
    pub(super) fn pass<S: Sink>(&mut self, side: Side, len: u64, carrier: Carrier, shared: &mut Shared, sink: &mut S) {
        let own = self.stream_mut(side);
        own.open_skipped();
        own.next += len;
        shared.counters.skipped += len;
        self.close_skipped(side, carrier, sink);
    }

    /// Hands bytes on that are next.
    pub(super) fn give<S: Sink>(
        &mut self,
        side: Side,
        data: &[u8],
        starts: bool,
        carrier: Carrier,
        shared: &mut Shared,
        sink: &mut S,
    ) {
        let own = self.stream_mut(side);
        own.flags.insert(StreamFlags::TOLD);
        let mut rest = data;
        let mut starts = starts;
        if own.skip > own.next {
            let passed = usize::try_from(own.skip - own.next).unwrap_or(usize::MAX).min(data.len());
            self.pass(side, passed as u64, carrier, shared, sink);
            rest = data.get(passed..).unwrap_or_default();
            starts &= passed == 0;
        }
        let peer_acked = self.peer_acked(side, carrier.ack);
        for piece in rest.chunks(MAX_PIECE) {
            let own = self.stream_mut(side);
            let at = Position { offset: own.next, peer_acked, time: carrier.time };
            own.next += piece.len() as u64;
            shared.counters.handed_on += piece.len() as u64;
            sink.bytes(&mut self.conn, side, at, starts, piece);
            starts = false;
        }
    }

    fn peer_acked(&mut self, side: Side, ack: u64) -> u64 {
        if ack != UNKNOWN {
            self.stream_mut(side.other()).flags.insert(StreamFlags::TOLD);
        }
        ack
    }

    /// Tells a skipped stretch that has reached the offset below which nothing was needed.
    fn close_skipped<S: Sink>(&mut self, side: Side, carrier: Carrier, sink: &mut S) {
        let own = self.stream(side);
        if own.next >= own.skip {
            self.emit_skipped(side, carrier, sink);
        }
    }

    fn emit_skipped<S: Sink>(&mut self, side: Side, carrier: Carrier, sink: &mut S) {
        let peer_acked = self.peer_acked(side, carrier.ack);
        let own = self.stream_mut(side);
        if own.skipped_from == UNKNOWN {
            return;
        }
        let at = Position { offset: own.skipped_from, peer_acked, time: carrier.time };
        let (length, lost) = (own.next - own.skipped_from, own.skipped_lost);
        own.skipped_from = UNKNOWN;
        own.skipped_lost = 0;
        own.flags.insert(StreamFlags::TOLD);
        sink.skipped(&mut self.conn, side, at, length, lost);
    }

    /// Ends a side where it stands.
    pub(super) fn end<S: Sink>(
        &mut self,
        side: Side,
        carrier: Carrier,
        reason: EndReason,
        shared: &mut Shared,
        sink: &mut S,
    ) {
        self.emit_skipped(side, carrier, sink);
        let peer_acked = self.peer_acked(side, carrier.ack);
        let own = self.stream_mut(side);
        own.flags.insert(StreamFlags::ENDED | StreamFlags::TOLD);
        own.skip = 0;
        let at = Position { offset: own.next, peer_acked, time: carrier.time };
        *match reason {
            EndReason::Fin => &mut shared.counters.ends_fin,
            EndReason::Reset => &mut shared.counters.ends_reset,
            EndReason::Timeout => &mut shared.counters.ends_timeout,
            EndReason::Evicted => &mut shared.counters.ends_evicted,
            EndReason::Reused => &mut shared.counters.ends_reused,
            EndReason::Capture | EndReason::Fault => &mut shared.counters.ends_capture,
        } += 1;
        sink.end(&mut self.conn, side, at, reason);
    }
}

impl Stream {
    const fn open_skipped(&mut self) {
        if self.skipped_from == UNKNOWN {
            self.skipped_from = self.next;
        }
    }
}
