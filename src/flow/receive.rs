//! What a segment within reach carries: an acknowledgement, bytes, a FIN.

use super::assembler::{Arrival, Assembler, Carrier, Fin, NEVER};
use super::connection::{ConnectionFlags, Step};
use super::half::{Half, HalfFlags, REACH};
use super::seq::Seq;
use crate::packet::Segment;
use crate::stream::{Side, Sink, UNKNOWN};

impl<S: Sink> Step<'_, S> {
    /// Takes the acknowledgement and the window. Returns the acknowledged offset of the other stream, or [`UNKNOWN`].
    pub(super) fn on_ack(&mut self, side: Side, segment: &Segment<'_>) -> u64 {
        let ack = Seq(segment.ack);
        let now = self.now();
        let starting = self.conn.flags.contains(ConnectionFlags::STARTING);
        if starting && self.conn.half(side.other()).is_guessed() {
            self.conn.start_at_most(side.other(), ack);
        }
        let (own, peer) = self.conn.pair(side);
        own.window = segment.window;
        if !peer.flags.contains(HalfFlags::SEEN) {
            if !peer.flags.contains(HalfFlags::BASED) || !(starting || peer.flags.contains(HalfFlags::EXACT)) {
                // All that is known of the other side. If this side's SYN was seen, and this segment is the next byte
                // behind it, it is the other side's start.
                peer.base = ack;
                peer.flags.insert(HalfFlags::BASED);
                if own.flags.contains(HalfFlags::EXACT) && Seq(segment.seq).since(own.base) <= 0 {
                    peer.flags.insert(HalfFlags::EXACT);
                }
            }
            if !starting && !peer.flags.contains(HalfFlags::EXACT) {
                return UNKNOWN;
            }
        }
        let offset = ack.offset(peer.base, peer.next);
        let top = peer.top().max(own.acked).cast_signed();
        if offset > top + REACH || offset < peer.next.cast_signed() - REACH {
            return self.on_out_of_window_ack(side, segment);
        }
        let acked = offset.max(0).unsigned_abs();
        if acked > own.acked {
            own.acked = acked;
            if peer.fin != UNKNOWN && acked > peer.fin + 1 {
                // The receiver took bytes behind it: the FIN was not one of its connection.
                peer.fin = UNKNOWN;
                if let Some(store) = peer.store_mut() {
                    store.fin = None;
                }
                self.shared.counters.fin_invalid += 1;
            }
            let fin = peer.fin;
            if let Some(store) = peer.store_mut() {
                store.prove(acked, now);
                if let Some(waiting) = &mut store.fin
                    && waiting.proved == NEVER
                    && acked >= fin
                {
                    waiting.proved = now;
                }
            }
        }
        acked
    }

    /// Takes the bytes and the FIN of a segment at `offset` of its stream.
    pub(super) fn on_data(&mut self, side: Side, segment: &Segment<'_>, offset: i64, ack: u64) {
        let payload = segment.payload;
        let whole = segment.missing == 0 && !segment.flags.fin();
        let captured = offset + (payload.len() as u64).cast_signed();
        let end = captured + i64::from(segment.missing);
        let own = self.conn.half_mut(side);
        if let Some(store) = own.store_mut() {
            store.confirm_below(offset.max(0).unsigned_abs());
        }
        if offset == own.next.cast_signed() - 1 && payload.len() <= 1 && whole {
            self.shared.counters.keep_alives += 1;
            self.shared.counters.probe += payload.len() as u64;
            return;
        }
        if !payload.is_empty() {
            own.forget_out_of_window();
        }
        let Some((at, data)) = self.trim(side, payload, offset) else { return };
        let came = self.now();
        let (own, peer) = self.conn.pair(side);
        let probe = payload.len() == 1 && data.len() == 1 && whole;
        let tentative = probe && at == own.next && peer.window == 0 && peer.flags.contains(HalfFlags::SEEN);
        let behind = end.max(captured).max(0).unsigned_abs().saturating_sub(at + data.len() as u64);
        let arrival = Arrival {
            offset: at,
            data,
            carrier: Carrier { ack, time: self.time },
            came,
            proved: NEVER,
            missing: if own.fin == UNKNOWN { u32::try_from(behind).unwrap_or(segment.missing) } else { 0 },
            starts: offset == at.cast_signed(),
            tentative,
            keep: true,
        };
        if tentative {
            self.shared.counters.window_probes += 1;
        }
        if segment.flags.fin() {
            self.on_fin(side, end, &arrival);
        }
        if !arrival.data.is_empty() || arrival.missing > 0 {
            self.take(side, arrival);
        }
    }

    /// The part of a payload that is new, and its offset: not below what has been handed on, and before the FIN. Counts
    /// the rest. `None` if the side has ended.
    fn trim<'p>(&mut self, side: Side, payload: &'p [u8], offset: i64) -> Option<(u64, &'p [u8])> {
        let own = self.conn.half(side);
        let counters = &mut self.shared.counters;
        let next = own.next.cast_signed();
        let old = usize::try_from(next - offset).unwrap_or(0).min(payload.len());
        let (before, mut data) = payload.split_at_checked(old).unwrap_or((payload, &[]));
        let before_start = offset < 0 && !own.flags.contains(HalfFlags::EXACT);
        *if before_start { &mut counters.before_start } else { &mut counters.duplicate } += before.len() as u64;
        if own.ended() {
            counters.late += data.len() as u64;
            return None;
        }
        let at = offset.max(next).max(0).unsigned_abs();
        if own.fin != UNKNOWN && at + data.len() as u64 > own.fin {
            let room = usize::try_from(own.fin.saturating_sub(at)).unwrap_or(usize::MAX);
            let (kept, behind) = data.split_at_checked(room).unwrap_or((data, &[]));
            counters.behind_fin += behind.len() as u64;
            data = kept;
        }
        Some((at, data))
    }

    /// Takes a FIN at offset `end`, if it can be the stream's.
    fn on_fin(&mut self, side: Side, end: i64, arrival: &Arrival<'_>) {
        let (own, peer) = self.conn.pair(side);
        let Ok(end) = u64::try_from(end) else { return };
        if own.fin == end {
            return;
        }
        if !can_end(own, peer, end) {
            self.shared.counters.fin_invalid += 1;
            return;
        }
        own.fin = end;
        let proved = if peer.acked >= end { arrival.came } else { NEVER };
        own.out_of_order().store.fin = Some(Fin { carrier: arrival.carrier, came: arrival.came, proved });
    }
}

/// Whether a stream can end at an offset: no other FIN was seen, and nothing is known to be behind it.
fn can_end(own: &Half, peer: &Half, end: u64) -> bool {
    let held = own.store().map_or(0, Assembler::end);
    own.fin == UNKNOWN && end >= own.next.max(held) && peer.acked <= end + 1
}
