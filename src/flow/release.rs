//! The order in which bytes are handed on: that of their stream, and never before what their sender had already
//! acknowledged of the other stream.

use super::assembler::{Arrival, Assembler, Carrier, NEVER, Stamp, slice};
use super::connection::{Connection, ConnectionFlags, Shared, Step};
use super::half::{Half, HalfFlags, NEAR};
use super::seq::Seq;
use crate::stream::{EndReason, Side, Sink, UNKNOWN};

/// Why an obstacle is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// Its time has come.
    Due,
    /// This side holds too much.
    Bound(Side),
    /// All connections hold too much.
    Memory,
    /// The connection or the capture ends.
    All,
}

impl Pressure {
    /// Whether this side's obstacle is given up though its time has not come.
    fn applies_to(self, side: Side) -> bool {
        match self {
            Self::Due => false,
            Self::Bound(bound) => bound == side,
            Self::Memory | Self::All => true,
        }
    }
}

/// What a side waits for before it can hand on more.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    /// Bytes of its own are missing below `upto`.
    Hole { upto: u64, came: Stamp, proved: Stamp },
    /// It waits for the other side's bytes below `ack`.
    Wait { ack: u64, came: Stamp },
    /// It is not known whether its receiver took the next bytes.
    Doubt { came: Stamp },
    /// It is not known where the streams start.
    Start { came: Stamp },
}

/// Whether all that an acknowledgement covers has been handed on, or is not waited for.
fn satisfied(ack: u64, peer: &Half) -> bool {
    ack == UNKNOWN || ack <= peer.passed() || peer.ended() || is_absent(peer)
}

/// Nothing of a side is captured, as far as is known.
const fn is_absent(half: &Half) -> bool {
    !half.flags.contains(HalfFlags::SEEN) && half.flags.contains(HalfFlags::ABSENT)
}

fn obstacle(own: &Half, peer: &Half) -> Option<Obstacle> {
    let store = own.store()?;
    let (upto, ack, came, proved) = match (store.first(), store.fin) {
        (Some(piece), _) if piece.tentative && piece.offset <= own.front() => {
            return Some(Obstacle::Doubt { came: piece.came });
        }
        (Some(piece), _) => (piece.offset, piece.carrier.ack, piece.came, piece.proved),
        (None, Some(fin)) => (own.fin, fin.carrier.ack, fin.came, fin.proved),
        (None, None) => return None,
    };
    if upto > own.front() {
        return Some(Obstacle::Hole { upto, came, proved });
    }
    (!satisfied(ack, peer)).then_some(Obstacle::Wait { ack, came })
}

/// The obstacle of each side.
type Obstacles = [(Side, Option<Obstacle>); 2];

impl Connection {
    #[inline]
    fn obstacles(&self) -> Obstacles {
        let [first, second] = &self.sides;
        if self.flags.contains(ConnectionFlags::STARTING) {
            let start = |half: &Half| half.store()?.oldest().map(|came| Obstacle::Start { came });
            return [(Side::First, start(first)), (Side::Second, start(second))];
        }
        [(Side::First, obstacle(first, second)), (Side::Second, obstacle(second, first))]
    }

    /// The stream of a side that was not seen yet starts at `seq`, or before. What the other side acknowledged first is
    /// where it starts as far as is known.
    pub(super) fn start_at_most(&mut self, side: Side, seq: Seq) {
        let behind = self.half(side).base.since(seq);
        if (1..=NEAR).contains(&behind) {
            self.move_start(side, behind.unsigned_abs());
        }
    }

    /// When [`Step::drain`] is due though no packet comes.
    pub(super) fn deadline(&self, shared: &Shared) -> Option<i64> {
        let due = self.obstacles().into_iter().filter_map(|(_, obstacle)| obstacle).map(|obstacle| match obstacle {
            Obstacle::Hole { came, proved: NEVER, .. } | Obstacle::Doubt { came } => {
                came.time.saturating_add(shared.config.hole_timeout)
            }
            Obstacle::Hole { proved, .. } => proved.time.saturating_add(shared.config.grace_time),
            Obstacle::Wait { came, .. } | Obstacle::Start { came } => came.time.saturating_add(shared.wait_time),
        });
        let resets = self.sides.iter().filter_map(Half::reset);
        due.chain(resets.map(|reset| reset.came.time.saturating_add(shared.wait_time))).min()
    }
}

impl<S: Sink> Step<'_, S> {
    /// Takes new bytes of a side, at or behind its current offset: hands them on if they are next, else holds them.
    pub(super) fn take(&mut self, side: Side, mut new: Arrival<'_>) {
        let starting = self.conn.flags.contains(ConnectionFlags::STARTING);
        let (own, peer) = self.conn.pair(side);
        if let Some(out_of_order) = &own.out_of_order
            && out_of_order.excused > new.offset
        {
            self.shared.wait_longer(out_of_order.excused_since);
        }
        let counters = &mut self.shared.counters;
        debug_assert!(new.offset >= own.next, "an arrival is trimmed to what has not been handed on");
        if !new.tentative
            && let Some(store) = own.store_mut()
        {
            let replaced = store.replace_tentative(new.offset, new.data);
            counters.held -= replaced.duplicate;
            counters.duplicate += replaced.duplicate;
            counters.conflicting += replaced.conflicting;
            counters.overlap_conflicts += u64::from(replaced.conflicting > 0);
        }
        if !new.tentative && !starting && new.offset <= own.front() && satisfied(new.carrier.ack, peer) {
            let first = own.store().and_then(|store| store.first()).map_or(UNKNOWN, |piece| piece.offset);
            let end = new.offset + new.data.len() as u64;
            let upto = first.clamp(new.offset, end);
            if upto == end && new.missing > 0 {
                own.out_of_order().lose_upto(end + u64::from(new.missing));
                new.missing = 0;
            }
            if upto > new.offset {
                self.hand_on_arrival(side, &mut new, upto);
            }
            if new.data.is_empty() && new.missing == 0 {
                return;
            }
        } else if !new.tentative && !starting {
            counters.out_of_order += 1;
        }
        self.hold(side, new);
    }

    /// Hands on the part of new bytes that lies below `upto`.
    fn hand_on_arrival(&mut self, side: Side, new: &mut Arrival<'_>, upto: u64) {
        self.declare_cut_before(side, new.offset, new.carrier);
        self.hand_on(side, slice(new.data, new.offset, new.offset, upto), new.starts, new.carrier);
        new.starts = false;
        new.data = slice(new.data, new.offset, upto, new.offset + new.data.len() as u64);
        new.offset = upto;
        if let Some(next) = self.conn.half_mut(side).store_mut().and_then(|store| store.first_mut()) {
            // The hole is being filled: its time starts anew.
            next.came = new.came;
        }
    }

    /// Declares lost what lies between a side's current offset and `offset`: the snap length cut it off.
    fn declare_cut_before(&mut self, side: Side, offset: u64, carrier: Carrier) {
        if offset > self.conn.half(side).next {
            self.shared.counters.gaps_cut += 1;
            self.declare_gap(side, offset, carrier);
        }
    }

    fn hold(&mut self, side: Side, mut new: Arrival<'_>) {
        let (own, peer) = self.conn.pair(side);
        let counters = &mut self.shared.counters;
        let end = new.offset + new.data.len() as u64;
        if new.tentative && self.shared.full {
            counters.no_memory += new.data.len() as u64;
            return;
        }
        if new.offset.cast_signed() > own.next.max(peer.acked).cast_signed() && peer.flags.contains(HalfFlags::SEEN) {
            let most = peer.acked + (u64::from(peer.window) << 14);
            counters.window_exceeded += u64::from(end > most);
        }
        new.keep = end > own.skip;
        if peer.acked >= new.offset {
            new.proved = new.came;
        }
        if new.tentative && peer.acked >= end {
            new.tentative = false;
        }
        let taken = own.out_of_order().store.insert(&new);
        counters.held += taken.stored;
        counters.duplicate += taken.duplicate;
        counters.conflicting += taken.conflicting;
        counters.overlap_conflicts += u64::from(taken.conflicting > 0);
        self.drain();
        while self.over_bound(side) && self.resolve(Pressure::Bound(side)) {
            self.drain();
        }
    }

    fn over_bound(&self, side: Side) -> bool {
        let Shared { config, full, .. } = &*self.shared;
        self.conn.half(side).store().is_some_and(|store| {
            !store.is_empty()
                && (*full
                    || store.len() > config.ooo_segments_per_side
                    || store.data_bytes() > config.ooo_bytes_per_side as u64)
        })
    }

    /// Hands on everything whose turn has come.
    pub(super) fn drain(&mut self) {
        loop {
            let first = self.release_one(Side::First);
            let second = self.release_one(Side::Second);
            if !first && !second && !self.resolve(Pressure::Due) {
                break;
            }
        }
        if self.conn.reset_pending() {
            self.resolve_reset();
        }
    }

    /// Hands on one held piece of a side, or its end. False if nothing can be.
    fn release_one(&mut self, side: Side) -> bool {
        if self.conn.flags.contains(ConnectionFlags::STARTING) {
            return false;
        }
        let (own, peer) = self.conn.pair(side);
        let (front, fin) = (own.front(), own.fin);
        let Some(store) = own.store_mut() else { return false };
        let Some(piece) = store.first() else {
            let Some(waiting) = store.fin.filter(|waiting| fin <= front && satisfied(waiting.carrier.ack, peer)) else {
                return false;
            };
            store.fin = None;
            self.declare_cut_before(side, fin, waiting.carrier);
            self.end(side, waiting.carrier, EndReason::Fin);
            return true;
        };
        if piece.offset > front || piece.tentative || !satisfied(piece.carrier.ack, peer) {
            return false;
        }
        let Some(piece) = store.pop() else {
            debug_assert!(false, "the first piece is still there");
            return false;
        };
        self.shared.counters.held -= piece.len;
        // Of a piece without length nothing was captured: it only makes the lost range longer.
        if piece.len > 0 {
            self.declare_cut_before(side, piece.offset, piece.carrier);
            if piece.data.is_empty() {
                self.skip_captured(side, piece.len, piece.carrier);
            } else {
                self.hand_on(side, &piece.data, piece.starts, piece.carrier);
            }
        }
        if piece.len == 0 || piece.missing > 0 {
            self.conn.half_mut(side).out_of_order().lose_upto(piece.end() + u64::from(piece.missing));
        }
        true
    }

    /// Gives up one obstacle, if `pressure` allows. Holes come before waits: once they are declared gaps, the other
    /// side may have nothing left to wait for.
    pub(super) fn resolve(&mut self, pressure: Pressure) -> bool {
        let obstacles = self.conn.obstacles();
        if obstacles.iter().all(|(_, obstacle)| obstacle.is_none()) {
            return false;
        }
        self.resolve_start(&obstacles, pressure)
            || self.resolve_hole(&obstacles, pressure)
            || self.resolve_doubt(&obstacles, pressure)
            || self.resolve_wait(&obstacles, pressure)
    }

    /// Decides where the streams of a connection that was picked up in mid-stream start: at the first byte held.
    #[inline]
    fn resolve_start(&mut self, obstacles: &Obstacles, pressure: Pressure) -> bool {
        let now = self.now();
        let due = obstacles.iter().any(|(_, obstacle)| match obstacle {
            Some(Obstacle::Start { came }) => pressure != Pressure::Due || self.shared.wait_over(*came, now),
            _ => false,
        });
        if due {
            self.conn.flags.remove(ConnectionFlags::STARTING);
            self.conn.open.info.midstream = true;
            self.shared.counters.midstream += 1;
            for side in [Side::First, Side::Second] {
                let half = self.conn.half_mut(side);
                if half.flags.contains(HalfFlags::SEEN) {
                    continue;
                }
                half.flags.insert(HalfFlags::ABSENT);
                if !half.flags.contains(HalfFlags::EXACT) {
                    self.conn.forget_acks(side.other());
                }
            }
        }
        due
    }

    /// Declares a hole a gap.
    #[inline]
    fn resolve_hole(&mut self, obstacles: &Obstacles, pressure: Pressure) -> bool {
        let now = self.now();
        let Shared { config, counters, .. } = &mut *self.shared;
        let [(_, first), (_, second)] = *obstacles;
        for (side, obstacle, other) in [(Side::First, first, second), (Side::Second, second, first)] {
            let Some(Obstacle::Hole { upto, came, proved }) = obstacle else { continue };
            // What the other side waits for may be behind the hole, which it has acknowledged for as long as it waits.
            let waited = |other| match other {
                Some(Obstacle::Wait { ack, came }) => ack >= upto && config.grace_over(came, now),
                _ => false,
            };
            let counter = match pressure {
                _ if config.grace_over(proved, now) || waited(other) => &mut counters.gaps_proved,
                _ if now.time.saturating_sub(came.time) >= config.hole_timeout => &mut counters.gaps_timed,
                Pressure::All => &mut counters.gaps_flushed,
                Pressure::Memory => &mut counters.gaps_memory,
                Pressure::Bound(bound) if bound == side => &mut counters.gaps_bound,
                Pressure::Bound(_) | Pressure::Due => continue,
            };
            *counter += 1;
            self.declare_gap(side, upto, Carrier::at(self.time));
            return true;
        }
        false
    }

    /// Drops tentative bytes, which were never acknowledged.
    #[inline]
    fn resolve_doubt(&mut self, obstacles: &Obstacles, pressure: Pressure) -> bool {
        let now = self.now();
        for (side, obstacle) in *obstacles {
            let Some(Obstacle::Doubt { came }) = obstacle else { continue };
            let due = now.time.saturating_sub(came.time) >= self.shared.config.hole_timeout;
            if due || pressure.applies_to(side) {
                let dropped = self.conn.half_mut(side).store_mut().map_or(0, Assembler::drop_tentative);
                self.shared.counters.unfinished += dropped;
                self.shared.counters.held -= dropped;
                return true;
            }
        }
        false
    }

    /// Lets a side go on without the other side's bytes.
    #[inline]
    fn resolve_wait(&mut self, obstacles: &Obstacles, pressure: Pressure) -> bool {
        let now = self.now();
        let mut chosen: Option<(Side, u64, Stamp)> = None;
        let mut due = false;
        for (side, obstacle) in *obstacles {
            let Some(Obstacle::Wait { ack, came }) = obstacle else { continue };
            due |= self.shared.wait_over(came, now) || pressure.applies_to(side);
            // Two that wait for each other: one is a retransmission, which acknowledges more than when it was first
            // sent. That is the one that came last, since the other acknowledges it.
            chosen = match chosen {
                Some((_, _, other)) if came.packets.wrapping_sub(other.packets).cast_signed() < 0 => chosen,
                _ => Some((side, ack, came)),
            };
        }
        let Some((side, ack, came)) = chosen.filter(|_| due) else { return false };
        self.shared.counters.waits_given_up += 1;
        let peer = self.conn.half_mut(side.other());
        if !peer.flags.contains(HalfFlags::SEEN) {
            peer.flags.insert(HalfFlags::ABSENT);
        }
        let peer = peer.out_of_order();
        peer.excused = peer.excused.max(ack);
        peer.excused_since = came.time;
        // It was in vain, as far as is known.
        self.shared.wait_time = (self.shared.wait_time / 2).max(self.shared.config.grace_time);
        true
    }
}
