//! The handshake and the reset: the segments that begin a connection and tear it down, and who may send them.

use super::assembler::{Arrival, Assembler, Carrier, NEVER, UNKNOWN};
use super::connection::{Connection, Shared, Verdict};
use super::seq::Seq;
use super::stream::{NEAR, OutOfWindow, Stream, StreamFlags};
use crate::packet::Segment;
use crate::stream::{EndReason, Opener, Side, Sink};

impl Connection {
    pub(super) fn on_syn<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        shared: &mut Shared,
        sink: &mut S,
    ) -> Verdict {
        let base = Seq(segment.seq).plus(1);
        let len = segment.payload.len() as u64;
        let acks = segment.flags.ack();
        let (own, peer) = self.pair(side);
        let syn_expected = peer.out_of_order.as_ref().and_then(|out_of_order| out_of_order.far).filter(|far| far.syn);
        if let Some(far) = syn_expected.filter(|far| acks && far.end == Seq(segment.ack)) {
            return Verdict::Succeed { side: side.other(), base: far.end, syn: true };
        }
        if own.flags.contains(StreamFlags::BASED) && own.base != base && !Self::can_start(own, peer, base) {
            if acks {
                shared.counters.syn_ack_invalid += 1;
            } else {
                shared.counters.syn_mismatched += 1;
                own.remember(OutOfWindow { start: base, end: base, syn: true, run: 0 }, shared.full);
            }
            shared.counters.stray_syn += len;
            return Verdict::Keep;
        }
        if acks && peer.flags.contains(StreamFlags::EXACT) {
            let offset = Seq(segment.ack).offset(peer.base, peer.next);
            if !(0..=peer.top().cast_signed()).contains(&offset) {
                shared.counters.syn_ack_invalid += 1;
                shared.counters.stray_syn += len;
                return Verdict::Keep;
            }
        }
        if own.flags.contains(StreamFlags::EXACT | StreamFlags::SEEN) {
            shared.counters.syn_repeated += 1;
        } else if own.flags.contains(StreamFlags::SEEN) && own.base.since(base) > 0 {
            // The handshake comes late: what is held keeps its place.
            let ahead = own.base.since(base);
            self.move_start(side, ahead.unsigned_abs());
        } else if own.base != base {
            own.base = base;
            peer.acked = 0;
        }
        let (own, peer) = self.pair(side);
        own.flags.insert(StreamFlags::BASED | StreamFlags::EXACT);
        own.flags.insert(StreamFlags::SEEN);
        if acks && peer.movable() && !peer.flags.contains(StreamFlags::SEEN) {
            peer.base = Seq(segment.ack);
            peer.flags.insert(StreamFlags::BASED | StreamFlags::EXACT);
        }
        if self.conn.info.opener == Opener::Unknown && !self.conn.info.midstream {
            let opener = if acks { side.other() } else { side };
            self.conn.info.opener = match opener {
                Side::First => Opener::First,
                Side::Second => Opener::Second,
            };
        }
        let mut ack = UNKNOWN;
        if acks {
            let (_, peer) = self.pair(side);
            if Seq(segment.ack) == peer.base && peer.next == 0 {
                // The data in the SYN was refused (RFC 7413, section 4.2) and will be sent again.
                let refused = peer.store_mut().map_or(0, Assembler::drop_tentative);
                shared.counters.syn_refused += refused;
                shared.counters.held -= refused;
            }
            ack = self.on_ack(side, segment, shared, sink);
        } else {
            self.stream_mut(side).window = segment.window;
        }
        self.on_syn_data(side, segment, ack, shared, sink);
        self.drain(segment.time, shared, sink);
        Verdict::Keep
    }

    /// Whether a stream that was picked up can have its start at `base` after all.
    fn can_start(own: &Stream, peer: &Stream, base: Seq) -> bool {
        let ahead = own.base.since(base);
        let empty = own.out_of_order.is_none() && own.fin == UNKNOWN && peer.out_of_order.is_none();
        own.movable()
            && own.next == 0
            && (!own.flags.contains(StreamFlags::SEEN) || (0..NEAR).contains(&ahead) || empty)
    }

    /// Data in a SYN waits until it is acknowledged: the receiver may refuse it.
    pub(super) fn on_syn_data<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        ack: u64,
        shared: &mut Shared,
        sink: &mut S,
    ) {
        let own = self.stream(side);
        let len = segment.payload.len() as u64;
        if len == 0 {
            return;
        }
        if own.next > 0 || own.ended() || own.fin != UNKNOWN {
            shared.counters.duplicate += len;
            return;
        }
        let arrival = Arrival {
            offset: 0,
            data: segment.payload,
            carrier: Carrier { ack, time: segment.time },
            came: self.moment(shared),
            proved: NEVER,
            missing: segment.missing,
            starts: true,
            tentative: true,
            keep: true,
        };
        self.take(side, arrival, shared, sink);
    }

    pub(super) fn on_reset<S: Sink>(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared, sink: &mut S) {
        let (own, peer) = self.pair(side);
        let valid = if own.flags.contains(StreamFlags::BASED)
            && (own.flags.contains(StreamFlags::SEEN) || own.flags.contains(StreamFlags::EXACT))
        {
            // As Linux and RFC 9293, section 3.5.3 have it: inside the receiver's window. The window's scale is not
            // known, so it is taken as it stands.
            let offset = Seq(segment.seq).offset(own.base, own.next);
            let low = if peer.flags.contains(StreamFlags::SEEN) { peer.acked } else { own.next };
            let top = own.top().max(peer.acked) + 1 + u64::from(peer.window);
            (low.cast_signed()..=top.cast_signed()).contains(&offset)
        } else {
            // An answer to a SYN or to data, from a side that has shown nothing else.
            let top = peer.base.plus(peer.top());
            segment.flags.ack()
                && peer.flags.contains(StreamFlags::SEEN)
                && (0..=1).contains(&Seq(segment.ack).since(top))
        };
        if !valid {
            shared.counters.rst_invalid += 1;
            return;
        }
        self.finish(EndReason::Reset, segment.time, shared, sink);
        self.reset = true;
    }

    /// After both ends: either a late segment, or a new connection.
    pub(super) fn after_close(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared) -> Verdict {
        let own = self.stream(side);
        let repeated = Seq(segment.seq).plus(1) == own.base;
        if segment.flags.syn() && !repeated {
            return Verdict::Replace;
        }
        let len = segment.payload.len() as u64;
        if self.reset {
            shared.counters.after_reset += len;
        } else {
            shared.counters.late += len;
        }
        Verdict::Keep
    }
}
