//! Segments out of the stream's reach: an attacker's, a new connection's, or the first behind a large loss.

use super::assembler::Carrier;
use super::connection::{PortReuse, Step};
use super::half::{Half, HalfFlags, OutOfWindow};
use super::release::Pressure;
use super::seq::Seq;
use crate::packet::Segment;
use crate::stream::{Side, Sink, UNKNOWN};

/// Segments in a row, out of reach of a side whose peer is not captured, after which the stream follows them.
/// Arbitrary.
const RUN_WITHOUT_PEER: u32 = 3;

impl<S: Sink> Step<'_, S> {
    /// A segment out of reach. An attacker can send one at will, and its receiver drops it; but if capture lost much,
    /// or the ports have a new owner, the peer acknowledges it.
    pub(super) fn on_out_of_window(&mut self, side: Side, segment: &Segment<'_>, wire: u64) -> Option<PortReuse> {
        let start = Seq(segment.seq);
        let end = start.plus(wire);
        let (own, peer) = self.conn.pair(side);
        if let Some(theirs) = peer.out_of_window().filter(|theirs| theirs.acknowledged_by(Seq(segment.ack))) {
            return Some(PortReuse::Continued { side: side.other(), base: theirs.end, syn: theirs.syn });
        }
        let alone = !peer.flags.contains(HalfFlags::SEEN) && !own.ended();
        let seen = match own.out_of_window() {
            Some(before) if before.syn && before.end == start && alone => {
                return Some(PortReuse::Continued { side, base: start, syn: true });
            }
            Some(before) if !before.syn && before.end == start => {
                OutOfWindow { end, run: before.run.saturating_add(1), ..before }
            }
            Some(before) if before.syn => before,
            _ => OutOfWindow { start, end, syn: false, run: 1 },
        };
        own.remember(seen, self.shared.full);
        if alone && seen.run >= RUN_WITHOUT_PEER {
            if start.since(own.base.plus(own.next)) < 0 {
                return Some(PortReuse::Continued { side, base: start, syn: false });
            }
            self.jump(side, start);
            let offset = self.conn.half(side).next.cast_signed();
            let ack = self.on_ack(side, segment);
            self.on_data(side, segment, offset, ack);
            self.drain();
        } else {
            self.shared.counters.out_of_reach += segment.payload.len() as u64;
        }
        None
    }

    /// An acknowledgement out of reach, of a segment that is not: valid if the peer has sent something there.
    pub(super) fn on_out_of_window_ack(&mut self, side: Side, segment: &Segment<'_>) -> u64 {
        let peer = self.conn.half(side.other());
        let theirs = peer
            .out_of_window()
            .filter(|theirs| !theirs.syn && !peer.ended() && theirs.acknowledged_by(Seq(segment.ack)));
        let Some(theirs) = theirs else {
            self.shared.counters.ack_invalid += 1;
            return UNKNOWN;
        };
        self.jump(side.other(), theirs.end);
        let (own, peer) = self.conn.pair(side);
        own.acked = peer.next;
        peer.next
    }

    /// A side's stream continues at `to`, far ahead: everything before it is lost.
    fn jump(&mut self, side: Side, to: Seq) {
        self.declare_all_holes(side);
        let own = self.conn.half_mut(side);
        if let Some(out_of_order) = &mut own.out_of_order {
            out_of_order.out_of_window = None;
        }
        if own.ended() {
            // Its FIN was among what was held.
            return;
        }
        let target = own.next + to.forward_from(own.base.plus(own.next));
        self.shared.counters.gaps_jumped += 1;
        self.declare_gap(side, target, Carrier::at(self.time));
    }

    /// Declares every hole of a side a gap, until the side holds nothing.
    fn declare_all_holes(&mut self, side: Side) {
        while self.conn.half(side).store().is_some_and(|store| !store.is_empty()) {
            if !self.resolve(Pressure::Bound(side)) {
                return;
            }
            self.drain();
        }
    }
}

impl OutOfWindow {
    /// Whether `ack` acknowledges the segment.
    fn acknowledged_by(&self, ack: Seq) -> bool {
        let length = self.end.since(self.start);
        let ahead = ack.since(self.start);
        ahead <= length && (ahead > 0 || self.syn && ahead == 0)
    }
}

impl Half {
    /// Remembers a segment out of reach, unless that would take memory that is not there: nothing that it holds could
    /// be given up for it.
    pub(super) fn remember(&mut self, segment: OutOfWindow, full: bool) {
        if !full || self.out_of_order.is_some() {
            self.out_of_order().out_of_window = Some(segment);
        }
    }

    /// The stream has continued within reach: forgets a segment out of reach. An unexpected SYN is remembered for 16
    /// segments more (an arbitrary number), so that the SYN-ACK to it is recognised.
    pub(super) fn forget_out_of_window(&mut self) {
        if let Some(out_of_order) = &mut self.out_of_order
            && let Some(segment) = &mut out_of_order.out_of_window
        {
            segment.run += 1;
            if !segment.syn || segment.run > 16 {
                out_of_order.out_of_window = None;
            }
        }
    }
}
