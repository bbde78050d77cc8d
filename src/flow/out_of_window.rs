//! OutOfWindow segments lie out of the stream's reach: an attacker's, a new connection's, or behind a great loss.

use super::assembler::{Carrier, UNKNOWN};
use super::connection::{Connection, Shared, Verdict};
use super::release::Pressure;
use super::seq::Seq;
use super::stream::{OutOfWindow, Stream, StreamFlags};
use crate::packet::Segment;
use crate::stream::{Side, Sink};

impl Connection {
    /// A segment out of reach. An attacker can send one at will, and its receiver will not take it; but if capture
    /// lost much, or the ports have a new owner, the other side goes along.
    pub(super) fn on_far<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        wire: u64,
        shared: &mut Shared,
        sink: &mut S,
    ) -> Verdict {
        let start = Seq(segment.seq);
        let end = start.plus(wire);
        let (own, peer) = self.pair(side);
        if let Some(far) = peer.out_of_order.as_ref().and_then(|out_of_order| out_of_order.far)
            && far.goes_along(Seq(segment.ack))
        {
            return Verdict::Succeed { side: side.other(), base: far.end, syn: far.syn };
        }
        let alone = !peer.flags.contains(StreamFlags::SEEN) && !own.ended();
        let before = own.out_of_order.as_ref().and_then(|out_of_order| out_of_order.far);
        let far = match before {
            Some(far) if far.syn && far.end == start && alone => {
                return Verdict::Succeed { side, base: start, syn: true };
            }
            Some(far) if !far.syn && far.end == start => OutOfWindow { end, run: far.run.saturating_add(1), ..far },
            Some(far) if far.syn => far,
            _ => OutOfWindow { start, end, syn: false, run: 1 },
        };
        own.remember(far, shared.full);
        // Nobody is there to go along: three in a row have to do (an arbitrary number).
        if alone && far.run >= 3 {
            if start.since(own.base.plus(own.next)) < 0 {
                return Verdict::Succeed { side, base: start, syn: false };
            }
            self.jump(side, start, segment.time, shared, sink);
            let offset = self.stream(side).next.cast_signed();
            let ack = self.on_ack(side, segment, shared, sink);
            self.on_data(side, segment, offset, ack, shared, sink);
            self.drain(segment.time, shared, sink);
        } else {
            shared.counters.out_of_reach += segment.payload.len() as u64;
        }
        Verdict::Keep
    }

    /// An acknowledgement out of reach, of a segment that is not: counts if the other side did go there.
    pub(super) fn on_far_ack<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        shared: &mut Shared,
        sink: &mut S,
    ) -> u64 {
        let peer = self.stream(side.other());
        let far = peer.out_of_order.as_ref().and_then(|out_of_order| out_of_order.far).filter(|far| !far.syn);
        let Some(far) = far.filter(|far| !peer.ended() && far.goes_along(Seq(segment.ack))) else {
            shared.counters.ack_invalid += 1;
            return UNKNOWN;
        };
        self.jump(side.other(), far.end, segment.time, shared, sink);
        let (own, peer) = self.pair(side);
        own.acked = peer.next;
        peer.next
    }

    /// A side's stream goes on at `to`, far ahead: all before it is lost.
    fn jump<S: Sink>(&mut self, side: Side, to: Seq, time: i64, shared: &mut Shared, sink: &mut S) {
        self.relieve(side, time, shared, sink);
        let own = self.stream_mut(side);
        if let Some(out_of_order) = &mut own.out_of_order {
            out_of_order.far = None;
        }
        if own.ended() {
            // Its FIN was among what was held.
            return;
        }
        let target = own.next + to.forward_from(own.base.plus(own.next));
        shared.counters.gaps_jumped += 1;
        self.advance_lost(side, target, Carrier::at(time), shared, sink);
    }

    /// Declares every gap of a side, until it holds nothing.
    fn relieve<S: Sink>(&mut self, side: Side, time: i64, shared: &mut Shared, sink: &mut S) {
        while self.stream(side).store().is_some_and(|store| !store.is_empty()) {
            if !self.resolve(Pressure::Bound(side), time, shared, sink) {
                return;
            }
            self.drain(time, shared, sink);
        }
    }
}

impl OutOfWindow {
    fn goes_along(&self, ack: Seq) -> bool {
        let span = self.end.since(self.start);
        let ahead = ack.since(self.start);
        ahead <= span && (ahead > 0 || self.syn && ahead == 0)
    }
}

impl Stream {
    /// Remembers a far segment, if there is room: it takes memory for which nothing is held that could be given up.
    pub(super) fn remember(&mut self, far: OutOfWindow, full: bool) {
        if !full || self.out_of_order.is_some() {
            self.out_of_order().far = Some(far);
        }
    }
}
