//! What a segment within reach says: its acknowledgement, its bytes, its FIN.

use super::assembler::{Arrival, Assembler, Carrier, Fin, NEVER, UNKNOWN};
use super::connection::{Connection, Shared};
use super::seq::Seq;
use super::stream::{REACH, StreamFlags};
use crate::packet::Segment;
use crate::stream::{Side, Sink};

impl Connection {
    /// Takes the acknowledgement and the window. Gives the offset in the other stream, if that can be told.
    pub(super) fn on_ack<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        shared: &mut Shared,
        sink: &mut S,
    ) -> u64 {
        let ack = Seq(segment.ack);
        let now = self.moment(shared);
        let (own, peer) = self.pair(side);
        own.window = segment.window;
        if !peer.flags.contains(StreamFlags::SEEN) {
            if !peer.flags.contains(StreamFlags::BASED) || !peer.flags.contains(StreamFlags::EXACT) {
                // All that is known of the other side. If this side's SYN was seen, and this stands right behind it, it is
                // its start.
                peer.base = ack;
                peer.flags.insert(StreamFlags::BASED);
                if own.flags.contains(StreamFlags::EXACT) && Seq(segment.seq).since(own.base) <= 0 {
                    peer.flags.insert(StreamFlags::EXACT);
                }
            }
            if !peer.flags.contains(StreamFlags::EXACT) {
                return UNKNOWN;
            }
        }
        let offset = ack.offset(peer.base, peer.next);
        let top = peer.top().max(own.acked).cast_signed();
        if offset > top + REACH || offset < peer.next.cast_signed() - REACH {
            return self.on_far_ack(side, segment, shared, sink);
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
                shared.counters.fin_invalid += 1;
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

    /// Bytes and FIN of a segment at `offset` of its stream.
    pub(super) fn on_data<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        offset: i64,
        ack: u64,
        shared: &mut Shared,
        sink: &mut S,
    ) {
        let payload = segment.payload;
        let missing = u64::from(segment.missing);
        let came = self.moment(shared);
        let (own, peer) = self.pair(side);
        let captured = offset + (payload.len() as u64).cast_signed();
        let next = own.next.cast_signed();
        let end = captured + missing.cast_signed();
        if let Some(store) = own.store_mut() {
            store.confirm_below(offset.max(0).unsigned_abs());
        }
        if offset == next - 1 && payload.len() <= 1 && missing == 0 && !segment.flags.fin() {
            shared.counters.keep_alives += 1;
            shared.counters.probe += payload.len() as u64;
            return;
        }
        if !payload.is_empty()
            && let Some(out_of_order) = &mut own.out_of_order
            && let Some(far) = &mut out_of_order.far
        {
            // It goes on where it was. A SYN that did not belong is remembered a little longer, for the SYN-ACK to it.
            far.run += 1;
            if !far.syn || far.run > 16 {
                out_of_order.far = None;
            }
        }
        let mut data = payload;
        let mut at = offset;
        if offset < next {
            let old = usize::try_from(next - offset).unwrap_or(usize::MAX).min(data.len());
            let (before, rest) = data.split_at_checked(old).unwrap_or((data, &[]));
            let account = if offset < 0 && !own.flags.contains(StreamFlags::EXACT) {
                &mut shared.counters.before_start
            } else if own.ended() && offset >= next {
                &mut shared.counters.late
            } else {
                &mut shared.counters.duplicate
            };
            *account += before.len() as u64;
            data = rest;
            at = next;
        }
        if own.ended() {
            shared.counters.late += data.len() as u64;
            return;
        }
        let at = at.max(0).unsigned_abs();
        if own.fin != UNKNOWN && at + data.len() as u64 > own.fin {
            let room = usize::try_from(own.fin.saturating_sub(at)).unwrap_or(usize::MAX);
            let (kept, behind) = data.split_at_checked(room).unwrap_or((data, &[]));
            shared.counters.behind_fin += behind.len() as u64;
            data = kept;
        }
        let probe = payload.len() == 1 && data.len() == 1 && missing == 0 && !segment.flags.fin();
        let tentative = probe && at == own.next && peer.window == 0 && peer.flags.contains(StreamFlags::SEEN);
        let behind = end.max(captured).max(0).unsigned_abs().saturating_sub(at + data.len() as u64);
        let arrival = Arrival {
            offset: at,
            data,
            carrier: Carrier { ack, time: segment.time },
            came,
            proved: NEVER,
            missing: if own.fin == UNKNOWN { u32::try_from(behind).unwrap_or(segment.missing) } else { 0 },
            starts: offset == at.cast_signed(),
            tentative,
            keep: true,
        };
        if tentative {
            shared.counters.window_probes += 1;
        }
        if segment.flags.fin() {
            self.on_fin(side, end, &arrival, shared);
        }
        if !arrival.data.is_empty() || arrival.missing > 0 {
            self.take(side, arrival, shared, sink);
        }
    }

    /// Notes a FIN at offset `end`, if it can be the stream's.
    fn on_fin(&mut self, side: Side, end: i64, arrival: &Arrival<'_>, shared: &mut Shared) {
        let (own, peer) = self.pair(side);
        let Ok(end) = u64::try_from(end) else { return };
        let acked = peer.acked;
        let held = own.store().map_or(0, Assembler::end);
        if own.fin == end {
            return;
        }
        if own.fin != UNKNOWN || end < own.next.max(held) || acked > end + 1 {
            shared.counters.fin_invalid += 1;
            return;
        }
        own.fin = end;
        let proved = if acked >= end { arrival.came } else { NEVER };
        own.out_of_order().store.fin = Some(Fin { carrier: arrival.carrier, came: arrival.came, proved });
    }
}
