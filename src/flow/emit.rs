//! What the sink receives: bytes, skipped ranges and ends, each at its offset, with every byte put on its account.

use super::assembler::Carrier;
use super::connection::{Connection, Step};
use super::half::{Half, HalfFlags};
use crate::stream::{EndReason, MAX_PIECE, Position, Side, Sink, UNKNOWN};

impl Connection {
    /// Applies a skip hint: bytes of a side below `upto` are not needed.
    pub(super) fn skip(&mut self, side: Side, upto: u64) {
        let own = self.half_mut(side);
        if !own.ended() && upto > own.next {
            own.skip = own.skip.max(upto);
        }
    }
}

impl<S: Sink> Step<'_, S> {
    /// Declares a gap: what has not been handed on of a side below `to` is lost.
    pub(super) fn declare_gap(&mut self, side: Side, to: u64, carrier: Carrier) {
        let own = self.conn.half_mut(side);
        let from = own.next;
        if to <= from {
            return;
        }
        self.shared.counters.gap += to - from;
        own.flags.insert(HalfFlags::REPORTED);
        if own.skip > from {
            let upto = own.skip.min(to);
            own.open_skipped();
            own.skipped_lost += upto - from;
            own.next = upto;
            self.close_skipped(side, carrier);
        }
        self.conn.half_mut(side).next = to;
    }

    /// Reports what the snap length cut off behind the last bytes of a side, as a skipped range: no bytes may follow for long.
    #[cold]
    fn report_cut(&mut self, side: Side, (from, to): (u64, u64), carrier: Carrier) {
        self.shared.counters.gaps_cut += 1;
        self.declare_gap(side, to, carrier);
        let at = Position { offset: from, peer_acked: UNKNOWN, time: carrier.time };
        self.sink.skipped(&mut self.conn.open, side, at, to - from, to - from);
    }

    /// Skips captured bytes that are not needed.
    pub(super) fn skip_captured(&mut self, side: Side, len: u64, carrier: Carrier) {
        let own = self.conn.half_mut(side);
        own.open_skipped();
        own.next += len;
        self.shared.counters.skipped += len;
        self.close_skipped(side, carrier);
    }

    /// Hands on the next bytes of a side, without those that are not needed.
    pub(super) fn hand_on(&mut self, side: Side, data: &[u8], starts: bool, carrier: Carrier) {
        // If these bytes answer a request of which the end was cut off, the sink is to know that no more of it comes.
        if carrier.ack != UNKNOWN
            && let Some(cut) = self.conn.half(side.other()).cut_below(carrier.ack)
        {
            self.report_cut(side.other(), cut, carrier);
        }
        let own = self.conn.half_mut(side);
        own.flags.insert(HalfFlags::REPORTED);
        let mut rest = data;
        let mut starts = starts;
        if own.skip > own.next {
            let skipped = usize::try_from(own.skip - own.next).unwrap_or(usize::MAX).min(data.len());
            self.skip_captured(side, skipped as u64, carrier);
            rest = data.get(skipped..).unwrap_or_default();
            starts &= skipped == 0;
        }
        let peer_acked = self.peer_acked(side, carrier.ack);
        for piece in rest.chunks(MAX_PIECE) {
            let own = self.conn.half_mut(side);
            let at = Position { offset: own.next, peer_acked, time: carrier.time };
            own.next += piece.len() as u64;
            self.shared.counters.handed_on += piece.len() as u64;
            self.sink.bytes(&mut self.conn.open, side, at, starts, piece);
            starts = false;
        }
    }

    /// An acknowledgement that the sink receives: it is an offset of the other side, whose start is fixed by it.
    fn peer_acked(&mut self, side: Side, ack: u64) -> u64 {
        if ack != UNKNOWN {
            self.conn.half_mut(side.other()).flags.insert(HalfFlags::REPORTED);
        }
        ack
    }

    /// Reports a skipped range that has reached the offset below which nothing was needed.
    fn close_skipped(&mut self, side: Side, carrier: Carrier) {
        let own = self.conn.half(side);
        if own.next >= own.skip {
            self.emit_skipped(side, carrier);
        }
    }

    fn emit_skipped(&mut self, side: Side, carrier: Carrier) {
        let peer_acked = self.peer_acked(side, carrier.ack);
        let own = self.conn.half_mut(side);
        if own.skipped_from == UNKNOWN {
            return;
        }
        let at = Position { offset: own.skipped_from, peer_acked, time: carrier.time };
        let (length, lost) = (own.next - own.skipped_from, own.skipped_lost);
        own.skipped_from = UNKNOWN;
        own.skipped_lost = 0;
        own.flags.insert(HalfFlags::REPORTED);
        self.sink.skipped(&mut self.conn.open, side, at, length, lost);
    }

    /// Ends a side at its current offset.
    pub(super) fn end(&mut self, side: Side, carrier: Carrier, reason: EndReason) {
        self.emit_skipped(side, carrier);
        let peer_acked = self.peer_acked(side, carrier.ack);
        let own = self.conn.half_mut(side);
        debug_assert!(!own.ended(), "a side ends once");
        own.flags.insert(HalfFlags::ENDED | HalfFlags::REPORTED);
        own.skip = 0;
        let at = Position { offset: own.next, peer_acked, time: carrier.time };
        let counters = &mut self.shared.counters;
        *match reason {
            EndReason::Fin => &mut counters.ends_fin,
            EndReason::Reset => &mut counters.ends_reset,
            EndReason::Timeout => &mut counters.ends_timeout,
            EndReason::Evicted => &mut counters.ends_evicted,
            EndReason::Reused => &mut counters.ends_reused,
            EndReason::Capture | EndReason::Fault => &mut counters.ends_capture,
        } += 1;
        self.sink.end(&mut self.conn.open, side, at, reason);
    }
}

impl Half {
    const fn open_skipped(&mut self) {
        if self.skipped_from == UNKNOWN {
            self.skipped_from = self.next;
        }
    }
}
