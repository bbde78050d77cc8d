//! The same packet may be captured more than once: on several interfaces, inside and outside of a tunnel, before and after an
//! address was translated. Then a connection is in the tables more than once, and all but the first sighting are left out.
//!
//! Neither way changes sequence numbers, so a connection is known by the two with which it started, or, where the start was
//! not captured, by the numbers of its first segments with payload. What is recognised is left out as a whole.
//!
//! A sighting is left out only for one that has shown the same directions. So nothing is lost where the two directions of a
//! connection take different interfaces. Real retransmissions are of the same connection, and are not touched.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::connection::{ConnectionFlags, Step};
use super::half::HalfFlags;
use super::seq::Seq;
use super::table::Table;
use crate::packet::Segment;
use crate::stream::{EndReason, Side, Sink};

/// Numbers that are remembered; then the oldest are forgotten. A connection that is seen again later than that is logged
/// again. They take some 4 MB.
const MOST: usize = 1 << 16;
/// Between two sightings of a packet less time than this passes: even mirrored, and queued on the way.
const SAME: u64 = 1_000_000_000;
/// Segments by which a connection that was joined midway is compared.
const SEGMENTS: u8 = 4;

/// What is known of whether a connection was seen elsewhere. In one byte, so that a connection fits its cache lines: the number
/// of its segments that were compared, or [`Self::FIRST`], or for one that is left out [`Self::AGAIN`] and the sides that have
/// sent a FIN, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting(u8);

impl Sighting {
    /// None of its segments was compared yet.
    pub(super) const OPEN: Self = Self(0);
    /// It is the first, or it is not known to be another.
    const FIRST: Self = Self(0x40);
    const AGAIN: u8 = 0x80;

    /// It is left out, and these sides have sent a FIN.
    const fn again(fins: u8) -> Self {
        Self(Self::AGAIN | fins)
    }

    /// The sides that have sent a FIN, if it is left out.
    const fn left_out(self) -> Option<u8> {
        if self.0 & Self::AGAIN == 0 { None } else { Some(self.0 & !Self::AGAIN) }
    }

    /// Whether it is left out.
    pub(super) const fn is_left_out(self) -> bool {
        self.0 & Self::AGAIN != 0
    }

    /// One more of its segments was compared; `settled`: no more are.
    const fn compared(self, settled: bool) -> Self {
        if settled || self.0 + 1 >= SEGMENTS { Self::FIRST } else { Self(self.0 + 1) }
    }
}

/// The first sightings of connections. The tables of all capture threads share them.
#[derive(Debug, Clone, Default)]
pub struct Sightings(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    seen: HashMap<u64, Seen, RandomState>,
    /// The oldest first.
    oldest: VecDeque<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Number of the connection.
    connection: u64,
    /// Directions that it had shown by then.
    directions: u8,
    time: i64,
}

/// The numbers of a segment, or of a handshake: of its sender, and of the other side.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    own: u32,
    peer: u32,
}

impl Numbers {
    /// The same for both directions.
    const fn key(self) -> u64 {
        let (low, high) = if self.own < self.peer { (self.own, self.peer) } else { (self.peer, self.own) };
        (low as u64) << 32 | high as u64
    }

    /// The sender's direction, and the other too if that was seen.
    const fn directions(self, both: bool) -> u8 {
        match (both, self.own < self.peer) {
            (true, _) => 3,
            (false, true) => 1,
            (false, false) => 2,
        }
    }
}

impl Sightings {
    /// Whether these numbers were seen on another connection, which has shown all that this one has.
    fn are_known(&self, numbers: Numbers, seen: Seen) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { seen: all, oldest } = &mut *known;
        if let Some(before) = all.get_mut(&numbers.key()) {
            if before.connection == seen.connection {
                before.directions |= seen.directions;
                return false;
            }
            let same = before.time.abs_diff(seen.time) < SAME;
            if same && before.directions & seen.directions == seen.directions {
                return true;
            }
            *before = seen;
            return false;
        }
        if oldest.len() >= MOST
            && let Some(forgotten) = oldest.pop_front()
        {
            all.remove(&forgotten);
        }
        oldest.push_back(numbers.key());
        all.insert(numbers.key(), seen);
        false
    }
}

impl Table {
    /// Leaves out connections that are seen elsewhere.
    #[must_use]
    pub fn leaving_out(mut self, sightings: Sightings) -> Self {
        self.sightings = Some(sightings);
        self
    }

    /// Whether a segment belongs to a connection that is left out. Then it is done with.
    pub(super) fn is_left_out<S: Sink>(
        &mut self,
        (hash, handle): (u64, u32),
        side: Side,
        segment: &Segment<'_>,
        sink: &mut S,
    ) -> bool {
        let Some(sightings) = &self.sightings else { return false };
        let Some(conn) = self.slab.get_mut(handle) else { return false };
        if conn.sighting == Sighting::FIRST {
            return false;
        }
        if let Some(fins) = conn.sighting.left_out() {
            self.left_out((hash, handle), side, fins, segment, sink);
            return true;
        }
        let Some(numbers) = conn.numbers(side, segment) else { return false };
        let both = conn.half(side.other()).flags.contains(HalfFlags::SEEN);
        let seen = Seen { connection: conn.open.info.number, directions: numbers.directions(both), time: segment.time };
        if !sightings.are_known(numbers, seen) {
            conn.sighting = conn.sighting.compared(segment.flags.syn());
            return false;
        }
        conn.sighting = Sighting::again(0);
        // Its timeout is that of any connection.
        conn.flags.remove(ConnectionFlags::EMBRYONIC | ConnectionFlags::ESTABLISHED);
        conn.last = self.shared.clock;
        self.shared.counters.seen_again += 1;
        self.relist(handle);
        self.left_out((hash, handle), side, 0, segment, sink);
        true
    }

    /// Counts a segment that is left out, and ends its connection when it ends.
    fn left_out<S: Sink>(
        &mut self,
        (hash, handle): (u64, u32),
        side: Side,
        fins: u8,
        segment: &Segment<'_>,
        sink: &mut S,
    ) {
        let flags = segment.flags;
        let Some(Step { conn, shared, .. }) = self.step(handle, segment.time, sink) else { return };
        let half = conn.half(side);
        let repeated = half.flags.contains(HalfFlags::BASED) && Seq(segment.seq).plus(1) == half.base;
        if flags.syn() && !flags.ack() && !repeated {
            self.expire(handle, EndReason::Reused, segment.time, sink);
            self.first(hash, segment, sink);
            return;
        }
        conn.last = shared.clock;
        shared.counters.seen_again_segments += 1;
        shared.counters.seen_again_bytes += segment.payload.len() as u64;
        let fins = if flags.fin() { fins | 1 << side.index() } else { fins };
        conn.sighting = Sighting::again(fins);
        if (fins == 3 || flags.rst()) && !conn.closed() {
            let reason = if flags.rst() { EndReason::Reset } else { EndReason::Fin };
            let before = conn.memory();
            if let Some(mut step) = self.step(handle, segment.time, sink) {
                step.finish(reason);
                step.settle(before);
            }
            self.relist(handle);
        }
    }
}

impl super::connection::Connection {
    /// The numbers by which a connection is compared when it shows this segment, if it is one to compare by: that which
    /// completes the handshake, and without a handshake one with payload.
    fn numbers(&self, side: Side, segment: &Segment<'_>) -> Option<Numbers> {
        let flags = segment.flags;
        if !flags.ack() || flags.rst() {
            return None;
        }
        if flags.syn() {
            return Some(Numbers { own: segment.seq.wrapping_add(1), peer: segment.ack });
        }
        let started = self.half(side).flags.contains(HalfFlags::EXACT);
        (started || !segment.payload.is_empty()).then_some(Numbers { own: segment.seq, peer: segment.ack })
    }
}
