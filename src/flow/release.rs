//! Order decides what is handed on next: bytes in the order of their stream, and never before what their sender had
//! already acknowledged of the other stream.

use super::assembler::{Arrival, Assembler, Carrier, Moment, NEVER, UNKNOWN, slice};
use super::connection::{Connection, Shared};
use super::stream::{Stream, StreamFlags};
use crate::stream::{EndReason, Side, Sink};

/// Why something that stands in the way is to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// Only what its time has come for.
    Due,
    /// This side holds too much.
    Bound(Side),
    /// All connections hold too much.
    Memory,
    /// The connection or the capture ends.
    All,
}

impl Pressure {
    /// Whether what stands in this side's way must go, due or not.
    fn weighs_on(self, side: Side) -> bool {
        match self {
            Self::Due => false,
            Self::Bound(bound) => bound == side,
            Self::Memory | Self::All => true,
        }
    }
}

/// What keeps a side from going on.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    /// Bytes of its own are missing below `upto`.
    Hole { upto: u64, came: Moment, proved: Moment },
    /// It waits for the other side's bytes below `ack`.
    Wait { ack: u64, came: Moment },
    /// Nobody knows whether its receiver took them.
    Doubt { came: Moment },
}

/// An acknowledgement is satisfied.
fn satisfied(ack: u64, peer: &Stream) -> bool {
    ack == UNKNOWN || ack <= peer.passed() || peer.ended() || !peer.flags.contains(StreamFlags::SEEN)
}

fn obstacle(own: &Stream, peer: &Stream) -> Option<Obstacle> {
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

impl Connection {
    /// Takes new bytes of a side, which begin where it stands or behind: hands them on if they are next, else holds
    /// them.
    pub(super) fn take<S: Sink>(&mut self, side: Side, mut new: Arrival<'_>, shared: &mut Shared, sink: &mut S) {
        let (own, peer) = self.pair(side);
        if !new.tentative
            && let Some(store) = own.store_mut()
        {
            let replaced = store.replace_tentative(new.offset, new.data);
            shared.counters.held -= replaced.duplicate;
            shared.counters.duplicate += replaced.duplicate;
            shared.counters.conflicting += replaced.conflicting;
            shared.counters.overlap_conflicts += u64::from(replaced.conflicting > 0);
        }
        if !new.tentative && new.offset <= own.front() && satisfied(new.carrier.ack, peer) {
            let first = own.store().and_then(|store| store.first()).map_or(UNKNOWN, |piece| piece.offset);
            let end = new.offset + new.data.len() as u64;
            let upto = first.clamp(new.offset, end);
            if upto == end && new.missing > 0 {
                let out_of_order = own.out_of_order();
                out_of_order.lost_upto = out_of_order.lost_upto.max(end + u64::from(new.missing));
                new.missing = 0;
            }
            if upto > new.offset {
                let direct = slice(new.data, new.offset, new.offset, upto);
                if new.offset > own.next {
                    shared.counters.gaps_cut += 1;
                    self.advance_lost(side, new.offset, new.carrier, shared, sink);
                }
                self.give(side, direct, new.starts, new.carrier, shared, sink);
                new.starts = false;
                new.data = slice(new.data, new.offset, upto, end);
                new.offset = upto;
                let came = new.came;
                if let Some(fresh) = self.stream_mut(side).store_mut().and_then(|store| store.first_mut()) {
                    // The hole is being filled: its time starts anew.
                    fresh.came = came;
                }
            }
            if new.data.is_empty() && new.missing == 0 {
                return;
            }
        } else if !new.tentative {
            shared.counters.out_of_order += 1;
        }
        self.hold(side, new, shared, sink);
    }

    fn hold<S: Sink>(&mut self, side: Side, mut new: Arrival<'_>, shared: &mut Shared, sink: &mut S) {
        let (own, peer) = self.pair(side);
        let end = new.offset + new.data.len() as u64;
        if new.tentative && shared.full {
            shared.counters.no_memory += new.data.len() as u64;
            return;
        }
        if new.offset.cast_signed() > own.next.max(peer.acked).cast_signed() && peer.flags.contains(StreamFlags::SEEN) {
            let most = peer.acked + (u64::from(peer.window) << 14);
            shared.counters.window_exceeded += u64::from(end > most);
        }
        new.keep = end > own.skip;
        if peer.acked >= new.offset {
            new.proved = new.came;
        }
        if new.tentative && peer.acked >= end {
            new.tentative = false;
        }
        let taken = own.out_of_order().store.insert(&new);
        shared.counters.held += taken.stored;
        shared.counters.duplicate += taken.duplicate;
        shared.counters.conflicting += taken.conflicting;
        shared.counters.overlap_conflicts += u64::from(taken.conflicting > 0);
        let time = new.carrier.time;
        self.drain(time, shared, sink);
        while self.over_bound(side, shared) && self.resolve(Pressure::Bound(side), time, shared, sink) {
            self.drain(time, shared, sink);
        }
    }

    fn over_bound(&self, side: Side, shared: &Shared) -> bool {
        self.stream(side).store().is_some_and(|store| {
            !store.is_empty()
                && (shared.full
                    || store.len() > shared.config.ooo_segments_per_side
                    || store.data_bytes() > shared.config.ooo_bytes_per_side as u64)
        })
    }

    /// Hands on all whose turn has come.
    pub(super) fn drain<S: Sink>(&mut self, time: i64, shared: &mut Shared, sink: &mut S) {
        loop {
            let first = self.step(Side::First, shared, sink);
            let second = self.step(Side::Second, shared, sink);
            if !first && !second && !self.resolve(Pressure::Due, time, shared, sink) {
                return;
            }
        }
    }

    /// Hands on one held piece of a side, or its end.
    fn step<S: Sink>(&mut self, side: Side, shared: &mut Shared, sink: &mut S) -> bool {
        let (own, peer) = self.pair(side);
        let front = own.front();
        let fin = own.fin;
        let next = own.next;
        let Some(store) = own.store_mut() else { return false };
        let Some(piece) = store.first() else {
            let Some(waiting) = store.fin.filter(|waiting| fin <= front && satisfied(waiting.carrier.ack, peer)) else {
                return false;
            };
            store.fin = None;
            if fin > next {
                shared.counters.gaps_cut += 1;
                self.advance_lost(side, fin, waiting.carrier, shared, sink);
            }
            self.end(side, waiting.carrier, EndReason::Fin, shared, sink);
            return true;
        };
        if piece.offset > front || piece.tentative || !satisfied(piece.carrier.ack, peer) {
            return false;
        }
        let Some(piece) = store.pop() else { return false };
        shared.counters.held -= piece.len;
        if piece.len == 0 {
            // Nothing was captured of it: it only makes the lost stretch longer.
            let out_of_order = own.out_of_order();
            out_of_order.lost_upto = out_of_order.lost_upto.max(piece.end() + u64::from(piece.missing));
            return true;
        }
        if piece.offset > next {
            shared.counters.gaps_cut += 1;
            self.advance_lost(side, piece.offset, piece.carrier, shared, sink);
        }
        if piece.data.is_empty() {
            self.pass(side, piece.len, piece.carrier, shared, sink);
        } else {
            self.give(side, &piece.data, piece.starts, piece.carrier, shared, sink);
        }
        if piece.missing > 0 {
            let out_of_order = self.stream_mut(side).out_of_order();
            out_of_order.lost_upto = out_of_order.lost_upto.max(piece.end() + u64::from(piece.missing));
        }
        true
    }

    /// Gives one obstacle up, if `pressure` allows. Holes go before waits: once they are declared, the other side may
    /// have nothing left to wait for.
    pub(super) fn resolve<S: Sink>(
        &mut self,
        pressure: Pressure,
        time: i64,
        shared: &mut Shared,
        sink: &mut S,
    ) -> bool {
        let now = self.moment(shared);
        let [first, second] = &self.sides;
        let both = [(Side::First, obstacle(first, second)), (Side::Second, obstacle(second, first))];
        for (side, obstacle) in both {
            let Some(Obstacle::Hole { upto, came, proved }) = obstacle else { continue };
            let counter = match pressure {
                _ if shared.config.grace_over(proved, now) => &mut shared.counters.gaps_proved,
                _ if now.time.saturating_sub(came.time) >= shared.config.hole_timeout => {
                    &mut shared.counters.gaps_timed
                }
                Pressure::All => &mut shared.counters.gaps_flushed,
                Pressure::Memory => &mut shared.counters.gaps_memory,
                Pressure::Bound(bound) if bound == side => &mut shared.counters.gaps_bound,
                Pressure::Bound(_) | Pressure::Due => continue,
            };
            *counter += 1;
            self.advance_lost(side, upto, Carrier::at(time), shared, sink);
            return true;
        }
        for (side, obstacle) in both {
            let Some(Obstacle::Doubt { came }) = obstacle else { continue };
            let due = now.time.saturating_sub(came.time) >= shared.config.hole_timeout;
            if due || pressure.weighs_on(side) {
                let dropped = self.stream_mut(side).store_mut().map_or(0, Assembler::drop_tentative);
                shared.counters.unfinished += dropped;
                shared.counters.held -= dropped;
                return true;
            }
        }
        let mut chosen: Option<(Side, u64, Moment)> = None;
        for (side, obstacle) in both {
            let Some(Obstacle::Wait { ack, came }) = obstacle else { continue };
            // Two that wait for each other: one is a retransmission, which acknowledges more than when it was first
            // sent. That is the one that came last, since the other acknowledges it.
            chosen = match chosen {
                Some((_, _, other)) if came.packets.wrapping_sub(other.packets).cast_signed() < 0 => chosen,
                _ => Some((side, ack, came)),
            };
        }
        let due = both.iter().any(|(side, obstacle)| match obstacle {
            Some(Obstacle::Wait { came, .. }) => shared.config.grace_over(*came, now) || pressure.weighs_on(*side),
            _ => false,
        });
        let Some((side, ack, _)) = chosen.filter(|_| due) else { return false };
        shared.counters.waits_given_up += 1;
        let peer = self.stream_mut(side.other()).out_of_order();
        peer.excused = peer.excused.max(ack);
        true
    }

    /// When [`Self::drain`] should be tried again though no packet comes.
    pub(super) fn deadline(&self, shared: &Shared) -> Option<i64> {
        let [first, second] = &self.sides;
        [obstacle(first, second), obstacle(second, first)]
            .into_iter()
            .flatten()
            .map(|obstacle| match obstacle {
                Obstacle::Hole { came, proved: NEVER, .. } | Obstacle::Doubt { came } => {
                    came.time.saturating_add(shared.config.hole_timeout)
                }
                Obstacle::Hole { proved, .. } => proved.time.saturating_add(shared.config.grace_time),
                Obstacle::Wait { came, .. } => came.time.saturating_add(shared.config.grace_time),
            })
            .min()
    }
}
