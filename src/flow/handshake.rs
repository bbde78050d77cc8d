//! The handshake and the reset: the segments that begin a connection and tear it down, and who may send them.

use super::assembler::{Arrival, Assembler, Carrier, NEVER, Stamp};
use super::connection::{Connection, ConnectionFlags, PortReuse, Step};
use super::half::{Half, HalfFlags, NEAR, OutOfWindow, REACH, Reset};
use super::seq::Seq;
use crate::packet::Segment;
use crate::stream::{EndReason, Opener, Side, Sink, UNKNOWN};

impl<S: Sink> Step<'_, S> {
    pub(super) fn on_syn(&mut self, side: Side, segment: &Segment<'_>) -> Option<PortReuse> {
        let acks = segment.flags.ack();
        let unexpected_syn = self.conn.half(side.other()).out_of_window().filter(|other| other.syn);
        if let Some(syn) = unexpected_syn.filter(|syn| acks && syn.end == Seq(segment.ack)) {
            return Some(PortReuse::Continued { side: side.other(), base: syn.end, syn: true });
        }
        if !self.accepts_syn(side, segment) {
            self.shared.counters.stray_syn += segment.payload.len() as u64;
            return None;
        }
        self.set_start(side, Seq(segment.seq).plus(1));
        let (own, peer) = self.conn.pair(side);
        own.flags.insert(HalfFlags::BASED | HalfFlags::EXACT | HalfFlags::SEEN);
        if acks && peer.movable() && !peer.flags.contains(HalfFlags::SEEN) {
            peer.base = Seq(segment.ack);
            peer.flags.insert(HalfFlags::BASED | HalfFlags::EXACT);
        }
        if own.flags.contains(HalfFlags::EXACT) && peer.flags.contains(HalfFlags::EXACT) {
            self.conn.flags.remove(ConnectionFlags::STARTING);
        }
        let info = &mut self.conn.open.info;
        if info.opener == Opener::Unknown && !info.midstream {
            info.opener = match if acks { side.other() } else { side } {
                Side::First => Opener::First,
                Side::Second => Opener::Second,
            };
        }
        let mut ack = UNKNOWN;
        if acks {
            self.drop_refused_data(side, segment);
            ack = self.on_ack(side, segment);
        } else {
            self.conn.half_mut(side).window = segment.window;
        }
        self.on_syn_data(side, segment, ack);
        self.drain();
        None
    }

    /// Whether a SYN or SYN-ACK can be this connection's: its numbers agree with what is known. Remembers one that may
    /// begin another connection.
    fn accepts_syn(&mut self, side: Side, segment: &Segment<'_>) -> bool {
        let base = Seq(segment.seq).plus(1);
        let acks = segment.flags.ack();
        let counters = &mut self.shared.counters;
        let (own, peer) = self.conn.pair(side);
        if own.flags.contains(HalfFlags::BASED) && own.base != base && !can_start(own, peer, base) {
            if acks {
                counters.syn_ack_invalid += 1;
            } else {
                counters.syn_mismatched += 1;
                own.remember(OutOfWindow { start: base, end: base, syn: true, run: 0 }, self.shared.full);
            }
            return false;
        }
        if acks && peer.flags.contains(HalfFlags::EXACT) {
            let offset = Seq(segment.ack).offset(peer.base, peer.next);
            if !(0..=peer.top().cast_signed()).contains(&offset) {
                counters.syn_ack_invalid += 1;
                return false;
            }
        }
        true
    }

    /// Sets the start of a side from its SYN.
    fn set_start(&mut self, side: Side, base: Seq) {
        let (own, peer) = self.conn.pair(side);
        if own.flags.contains(HalfFlags::EXACT | HalfFlags::SEEN) {
            self.shared.counters.syn_repeated += 1;
        } else if own.flags.contains(HalfFlags::SEEN) && own.base.since(base) > 0 {
            // The handshake was captured late: what is held moves to higher offsets.
            let ahead = own.base.since(base);
            self.conn.move_start(side, ahead.unsigned_abs());
        } else if own.base != base {
            own.base = base;
            peer.acked = 0;
        }
    }

    /// Drops the data of a SYN that the SYN-ACK does not acknowledge: it was refused and will be sent again (RFC 7413,
    /// section 4.2).
    fn drop_refused_data(&mut self, side: Side, segment: &Segment<'_>) {
        let peer = self.conn.half_mut(side.other());
        if Seq(segment.ack) == peer.base && peer.next == 0 {
            let refused = peer.store_mut().map_or(0, Assembler::drop_tentative);
            self.shared.counters.syn_refused += refused;
            self.shared.counters.held -= refused;
        }
    }

    /// Data in a SYN waits until it is acknowledged: the receiver may refuse it.
    fn on_syn_data(&mut self, side: Side, segment: &Segment<'_>, ack: u64) {
        let own = self.conn.half(side);
        let len = segment.payload.len() as u64;
        if len == 0 {
            return;
        }
        if own.next > 0 || own.ended() || own.fin != UNKNOWN {
            self.shared.counters.duplicate += len;
            return;
        }
        let arrival = Arrival {
            offset: 0,
            data: segment.payload,
            carrier: Carrier { ack, time: self.time },
            came: self.now(),
            proved: NEVER,
            missing: segment.missing,
            starts: true,
            tentative: true,
            keep: true,
        };
        self.take(side, arrival);
    }

    pub(super) fn on_reset(&mut self, side: Side, segment: &Segment<'_>) {
        if !self.conn.accepts_reset(side, segment) {
            self.shared.counters.rst_invalid += 1;
            return;
        }
        if self.conn.reset_pending() {
            return;
        }
        match self.conn.reset_waits(side, segment, self.now()) {
            Some(reset) if !self.shared.full => {
                self.conn.half_mut(side).out_of_order().reset = Some(reset);
                self.shared.counters.out_of_order += 1;
            }
            _ => self.finish(EndReason::Reset),
        }
    }

    /// Ends the connection if an RST waits and its time has come.
    pub(super) fn resolve_reset(&mut self) {
        let now = self.now();
        for side in [Side::First, Side::Second] {
            let (own, peer) = (self.conn.half(side), self.conn.half(side.other()));
            let Some(Reset { sent, acked, came }) = own.reset() else { continue };
            if own.passed() >= sent && peer.passed() >= acked || self.shared.wait_over(came, now) {
                self.finish(EndReason::Reset);
                return;
            }
        }
    }

    /// A segment after both ends: a late one, or the first of a new connection.
    pub(super) fn after_close(&mut self, side: Side, segment: &Segment<'_>) -> Option<PortReuse> {
        let repeated = Seq(segment.seq).plus(1) == self.conn.half(side).base;
        if segment.flags.syn() && !repeated {
            return Some(PortReuse::Begun);
        }
        let counters = &mut self.shared.counters;
        let reset = self.conn.half(side).flags.contains(HalfFlags::RESET);
        *if reset { &mut counters.after_reset } else { &mut counters.late } += segment.payload.len() as u64;
        None
    }
}

/// Whether a stream that was picked up can start at `base` after all.
fn can_start(own: &Half, peer: &Half, base: Seq) -> bool {
    let ahead = own.base.since(base);
    let empty = own.out_of_order.is_none() && own.fin == UNKNOWN && peer.out_of_order.is_none();
    own.movable() && own.next == 0 && (!own.flags.contains(HalfFlags::SEEN) || (0..NEAR).contains(&ahead) || empty)
}

impl Connection {
    /// An RST waits for bytes.
    pub(super) fn reset_pending(&self) -> bool {
        self.sides.iter().any(|half| half.reset().is_some())
    }

    /// Forgets the RST that waits. False if there is none.
    pub(super) fn take_reset(&mut self) -> bool {
        let mut resets = self.sides.iter_mut().filter_map(|half| half.out_of_order.as_mut()?.reset.take());
        resets.next().is_some()
    }

    /// What an RST has to wait for, if bytes that came before it were not captured yet: as with a FIN, their order may
    /// have changed.
    fn reset_waits(&self, side: Side, segment: &Segment<'_>, came: Stamp) -> Option<Reset> {
        let (own, peer) = (self.half(side), self.half(side.other()));
        let upto = |half: &Half, seq: u32| {
            let offset = Seq(seq).offset(half.base, half.next);
            let ahead = half.flags.contains(HalfFlags::BASED)
                && !half.ended()
                && (half.passed().cast_signed() + 1..=half.top().cast_signed() + REACH).contains(&offset);
            // A FIN takes up a number.
            if ahead && offset.unsigned_abs() != half.fin.wrapping_add(1) { offset.unsigned_abs() } else { 0 }
        };
        let sent = upto(own, segment.seq);
        let acked = if segment.flags.ack() { upto(peer, segment.ack) } else { 0 };
        (sent > 0 || acked > 0).then_some(Reset { sent, acked, came })
    }

    /// Whether an RST is taken, by the rules of Linux and RFC 9293, section 3.5.3.
    fn accepts_reset(&self, side: Side, segment: &Segment<'_>) -> bool {
        let (own, peer) = (self.half(side), self.half(side.other()));
        if own.flags.contains(HalfFlags::BASED) && own.flags.intersects(HalfFlags::SEEN | HalfFlags::EXACT) {
            // Inside the receiver's window. The window's scale is not known, so the window counts unscaled.
            let offset = Seq(segment.seq).offset(own.base, own.next);
            let low = if peer.flags.contains(HalfFlags::SEEN) { peer.acked } else { own.next };
            let top = own.top().max(peer.acked) + 1 + u64::from(peer.window);
            (low.cast_signed()..=top.cast_signed()).contains(&offset)
        } else {
            // An answer to a SYN or to data, from a side that has shown nothing else.
            let top = peer.base.plus(peer.top());
            segment.flags.ack()
                && peer.flags.contains(HalfFlags::SEEN)
                && (0..=1).contains(&Seq(segment.ack).since(top))
        }
    }
}
