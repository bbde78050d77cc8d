//! The table finds the connection of a segment, and forgets connections when their time is over or memory runs out.

use super::connection::{Connection, ConnectionFlags, PortReuse, Shared, Step};
use super::half::HalfFlags;
use super::hash::PairHasher;
use super::index::Index;
use super::overlay::Overlay;
use super::seq::Seq;
use super::shard::Shard;
use super::sightings::Sightings;
use super::slab::Slab;
use super::timeline::Timeline;
use super::timers::{List, Lists};
use super::{Config, FlowCounters};
use crate::packet::Segment;
use crate::stream::{self, ConnectionId, EndReason, OpenConnection, Opener, Side, Sink, SinkTag};

/// Timers checked with each segment. More than one, so that connections expire faster than they can be opened.
pub(super) const TIMERS_PER_SEGMENT: u32 = 4;
/// Timers checked with each tick.
const TIMERS_PER_TICK: u32 = 1024;
/// Connections evicted each time [`Table::set_external`] reports too much memory; few, because the report lags behind
/// the evictions.
const EVICTED_PER_REPORT: u32 = 16;
/// Resolution of timers as a power of two in nanoseconds: they are checked every 4.2 ms.
const RESOLUTION: u32 = 22;

/// The most segments that [`Table::seek`] takes: about as many cache misses as a processor handles at once.
pub const AHEAD: usize = 32;
/// Up to this number, all connections are in a near cache anyway.
const NEAR_CONNECTIONS: usize = 512;

/// All connections of one capture thread.
///
/// Its methods are of four kinds:
///
/// * [`segment`](Self::segment) takes the next segment. Where several are at hand, [`seek`](Self::seek) fetches the
///   connections of all of them at once, and [`hashed_segment`](Self::hashed_segment) takes each, in order. Between the
///   two, other methods may be called: a hash stays valid.
/// * [`tick`](Self::tick) advances capture time when no segment does. Timers run in it and with each segment.
/// * [`skip`](Self::skip) and [`set_external`](Self::set_external) apply what workers report, at any time. They reach
///   no sink: their effect comes with the next segment or tick.
/// * [`finish`](Self::finish) comes last. Then each side of each connection has ended.
///
/// Only the methods that take a sink hand anything on, and they do it before they return.
pub struct Table {
    pub(super) shared: Shared,
    pub(super) hasher: PairHasher,
    pub(super) index: Index,
    pub(super) overlay: Overlay,
    pub(super) slab: Slab,
    pub(super) lists: Lists,
    /// Connections so far.
    numbers: u64,
    /// The clock, in units of [`RESOLUTION`], when timers were last checked.
    checked: i64,
    /// Not all timers that were due have been checked.
    behind: bool,
    /// Bytes held elsewhere for these connections.
    external: u64,
    /// Connections still to be evicted for external memory.
    to_evict: u32,
    /// Number of the last connection whose ports were taken, until it is asked for.
    pub(super) replaced: Option<u64>,
    /// Given if connections that are seen elsewhere are left out.
    pub(super) sightings: Option<Sightings>,
    /// Given if only a part of the connections is wanted.
    pub(super) shard: Option<Shard>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            hasher: PairHasher::new(config.hash_seed),
            shared: Shared {
                wait_time: config.grace_time,
                config,
                counters: FlowCounters::default(),
                clock: i64::MIN,
                timeline: Timeline::default(),
                memory: 0,
                full: false,
            },
            index: Index::new(),
            overlay: Overlay::default(),
            slab: Slab::new(),
            lists: Lists::new(),
            numbers: 0,
            checked: i64::MIN,
            behind: false,
            external: 0,
            to_evict: 0,
            replaced: None,
            sightings: None,
            shard: None,
        }
    }

    /// Takes a segment, and hands on what it makes ready.
    pub fn segment<S: Sink>(&mut self, segment: &Segment<'_>, sink: &mut S) {
        self.hashed_segment(self.hash(segment), segment, sink);
    }

    /// Hashes of the connections of the next segments, at most [`AHEAD`] of them, for [`Self::hashed_segment`]. Among
    /// many connections each is outside of the cache; here they are fetched all at once, so that their cache misses
    /// overlap.
    #[must_use]
    pub fn seek(&self, segments: &[Option<Segment<'_>>]) -> [u64; AHEAD] {
        let mut hashes = [0; AHEAD];
        for (hash, segment) in hashes.iter_mut().zip(segments) {
            if let Some(segment) = segment {
                *hash = self.hash(segment);
            }
        }
        if self.slab.len() > NEAR_CONNECTIONS {
            let mut handles = [0; AHEAD];
            for (handle, hash) in handles.iter_mut().zip(&hashes) {
                *handle = self.index.find(*hash, |_| true).unwrap_or(0);
            }
            let found = handles.iter().filter_map(|handle| self.slab.get(*handle));
            std::hint::black_box(found.fold(0, |sum, conn| sum ^ conn.prefetch()));
        }
        hashes
    }

    /// Takes a segment with its hash.
    pub fn hashed_segment<S: Sink>(&mut self, hash: u64, segment: &Segment<'_>, sink: &mut S) {
        let counters = &mut self.shared.counters;
        counters.segments += 1;
        counters.payload += segment.payload.len() as u64;
        if self.shard.is_some_and(|shard| !shard.has(segment)) {
            return self.leave_to_other_shard(segment, sink);
        }
        counters.cut += u64::from(segment.missing);
        counters.urgent += u64::from(segment.flags.0 & crate::packet::TcpFlags::URG != 0);
        self.advance(segment.time, TIMERS_PER_SEGMENT, sink);
        let Some(handle) = self.find(hash, segment) else {
            self.first(hash, segment, sink);
            return;
        };
        let clock = self.shared.clock;
        let Some(mut conn) = self.slab.get_mut(handle) else {
            debug_assert!(false, "the index finds only connections of the slab");
            return;
        };
        if conn.is_stale(&self.shared) {
            self.expire(handle, EndReason::Timeout, segment.time, sink);
            self.first(hash, segment, sink);
            return;
        }
        let side = if conn.open.info.endpoints[0] == segment.source { Side::First } else { Side::Second };
        if self.sightings.is_some() {
            if self.is_left_out((hash, handle), side, segment, sink) {
                return;
            }
            let Some(again) = self.slab.get_mut(handle) else {
                debug_assert!(false, "a connection that is not left out stays");
                return;
            };
            conn = again;
        }
        conn.last = clock;
        if (Step { conn, shared: &mut self.shared, sink: &mut *sink, time: segment.time }).quick(side, segment) {
            return;
        }
        match self.dispatch(handle, side, segment, sink) {
            None => {}
            Some(PortReuse::Begun) => {
                self.replaced = self.slab.get(handle).map(|conn| conn.open.info.number);
                self.expire(handle, EndReason::Reused, segment.time, sink);
                self.first(hash, segment, sink);
            }
            Some(PortReuse::Continued { side, base, syn }) => {
                self.begin_successor(handle, side, base, syn, segment, sink);
            }
        }
    }

    /// Advances capture time to `now_ns` without a segment. Cheap if nothing is due.
    pub fn tick<S: Sink>(&mut self, now_ns: i64, sink: &mut S) {
        self.advance(now_ns, TIMERS_PER_TICK, sink);
    }

    /// Applies a skip hint: bytes of that side below `upto` (`u64::MAX`: to its end) are not needed. From now on they
    /// are counted and reported as one skipped range. Ignored if the connection has ended.
    pub fn skip(&mut self, id: ConnectionId, side: Side, upto: u64) {
        if let Some(conn) = self.slab.get_mut(id.handle).filter(|conn| conn.open.info.number == id.number) {
            conn.skip(side, upto);
        }
    }

    /// Sets how many bytes are held elsewhere for these connections: they count against the memory limit. If that is
    /// exceeded, the next segments and ticks evict a few connections.
    pub fn set_external(&mut self, bytes: u64) {
        self.external = bytes;
        self.to_evict = if self.memory_used() > self.shared.config.memory_limit { EVICTED_PER_REPORT } else { 0 };
    }

    /// Ends the capture: hands on what is held and ends all sides.
    pub fn finish<S: Sink>(&mut self, sink: &mut S) {
        let time = self.shared.timeline.frame_time(self.shared.clock);
        for handle in 0..self.slab.capacity() {
            self.expire(handle, EndReason::Capture, time, sink);
        }
        debug_assert!(self.slab.len() == 0 && self.index.len() == 0, "no connection is left");
        debug_assert_eq!(self.shared.memory, 0, "memory of connections that have ended is given back");
        let (taken, accounted) = self.shared.counters.payload_balance();
        debug_assert_eq!(taken, accounted, "each payload byte taken is in one account");
    }

    /// What it has counted so far.
    #[must_use]
    pub const fn counters(&self) -> &FlowCounters {
        &self.shared.counters
    }

    /// Connections in the table, those included that have ended and linger.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    /// No connection is in the table.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slab.len() == 0
    }

    /// Bytes of memory that count against the limit, external ones included.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.slab.bytes_with(0) + self.index.bytes() + self.shared.memory + self.external
    }

    /// Takes a segment that belongs to no connection: the first of a new one, if it can be that.
    pub(super) fn first<S: Sink>(&mut self, hash: u64, segment: &Segment<'_>, sink: &mut S) {
        if segment.realm != 0
            && let Some(handle) = self.join_networks(hash, segment)
        {
            let reuse = self.dispatch(handle, Side::Second, segment, sink);
            debug_assert_eq!(reuse, None, "a segment that acknowledges all of the connection is its own");
            return;
        }
        let flags = segment.flags;
        let counters = &mut self.shared.counters;
        let refused = if flags.syn() && (flags.fin() || flags.rst()) {
            Some(&mut counters.odd_flags)
        } else if flags.rst() {
            Some(&mut counters.in_reset)
        } else if flags.syn() {
            None
        } else if !flags.ack() {
            Some(&mut counters.no_ack)
        } else if segment.payload.is_empty() && segment.missing == 0 {
            // A bare ACK makes no connection: anybody can send them in masses.
            Some(&mut counters.no_connection)
        } else {
            None
        };
        if let Some(account) = refused {
            *account += segment.payload.len() as u64;
            return;
        }
        let Some(handle) = self.add(hash, segment, segment.realm, false, sink) else {
            self.shared.counters.no_memory += segment.payload.len() as u64;
            return;
        };
        if self.sightings.is_some() && self.is_left_out((hash, handle), Side::First, segment, sink) {
            return;
        }
        self.slab.get(handle).iter().for_each(|conn| sink.begun(&conn.open));
        let reuse = self.dispatch(handle, Side::First, segment, sink);
        debug_assert_eq!(reuse, None, "a first segment is its connection's own");
    }

    /// Adds a connection whose first side is the segment's sender, or its receiver (`turned`), in a virtual network.
    /// `None`: no memory for it.
    fn add<S: Sink>(
        &mut self,
        hash: u64,
        segment: &Segment<'_>,
        realm: u32,
        turned: bool,
        sink: &mut S,
    ) -> Option<u32> {
        self.make_room(segment.time, sink);
        let handle = self.slab.next_handle()?;
        self.numbers += 1;
        self.shared.counters.connections += 1;
        let endpoints = [segment.source, segment.destination];
        let endpoints = if turned { [segment.destination, segment.source] } else { endpoints };
        let config = &self.shared.config;
        let info = stream::Connection {
            number: (self.numbers - 1) * u64::from(config.producers.max(1)) + u64::from(config.producer) + 1,
            handle,
            started: segment.time,
            producer: config.producer,
            midstream: false,
            opener: Opener::Unknown,
            interface: segment.interface,
            endpoints,
            secured: false,
        };
        let mut conn = Connection::new(OpenConnection { info, hash, tag: SinkTag::default() }, realm);
        conn.last = self.shared.clock;
        let inserted = self.slab.insert(conn);
        debug_assert_eq!(inserted, Some(handle), "the slab gives the handle that it announced");
        self.index.insert(hash, handle);
        if realm != 0 {
            self.remember_network(handle, segment);
        }
        inserted
    }

    /// A connection with what changes it.
    pub(super) fn step<'a, S>(&'a mut self, handle: u32, time: i64, sink: &'a mut S) -> Option<Step<'a, S>> {
        let conn = self.slab.get_mut(handle);
        debug_assert!(conn.is_some(), "a handle outside of the slab belongs to a connection in it");
        Some(Step { conn: conn?, shared: &mut self.shared, sink, time })
    }

    /// Gives a segment to its connection.
    fn dispatch<S: Sink>(&mut self, handle: u32, side: Side, segment: &Segment<'_>, sink: &mut S) -> Option<PortReuse> {
        self.reclaim(segment.payload.len() as u64, segment.time, sink);
        let reuse = self.step(handle, segment.time, sink)?.segment(side, segment);
        if reuse.is_none() {
            self.relist(handle);
        }
        reuse
    }

    /// Begins a connection that has taken the ports of `old`, whose `side` has sent what lies before `base`.
    fn begin_successor<S: Sink>(
        &mut self,
        old: u32,
        side: Side,
        base: Seq,
        syn: bool,
        segment: &Segment<'_>,
        sink: &mut S,
    ) {
        let Some(conn) = self.slab.get(old) else {
            debug_assert!(false, "the old connection is still in the table");
            return;
        };
        let sender = conn.open.info.endpoints.get(side.index()).copied();
        let [mut realm, mut other] = conn.realms;
        if side == Side::Second {
            std::mem::swap(&mut realm, &mut other);
        }
        let hash = self.hasher.hash(&segment.source, &segment.destination, realm);
        let turned = sender != Some(segment.source);
        self.replaced = Some(conn.open.info.number);
        self.expire(old, EndReason::Reused, segment.time, sink);
        let Some(handle) = self.add(hash, segment, realm, turned, sink) else {
            self.shared.counters.no_memory += segment.payload.len() as u64;
            return;
        };
        if realm != other {
            self.set_network(handle, other);
        }
        let Some(conn) = self.slab.get_mut(handle) else {
            debug_assert!(false, "the new connection is in the table");
            return;
        };
        let first = conn.half_mut(Side::First);
        first.base = base;
        first.flags.insert(HalfFlags::SEEN | HalfFlags::BASED);
        if syn {
            first.flags.insert(HalfFlags::EXACT);
            conn.open.info.opener = Opener::First;
        } else {
            conn.open.info.midstream = true;
            self.shared.counters.midstream += 1;
        }
        sink.begun(&conn.open);
        let from = if turned { Side::Second } else { Side::First };
        let reuse = self.dispatch(handle, from, segment, sink);
        debug_assert_eq!(reuse, None, "a successor is not succeeded by its own first segment");
    }

    /// Moves a connection to the list of the timer that is due next for it.
    pub(super) fn relist(&mut self, handle: u32) {
        let Some(conn) = self.slab.get(handle) else {
            debug_assert!(false, "only a connection of the table is listed");
            return;
        };
        let list = if conn.closed() {
            List::Closed
        } else if let Some(deadline) = conn.deadline(&self.shared) {
            self.lists.slot(deadline, self.shared.clock)
        } else if conn.flags.contains(ConnectionFlags::EMBRYONIC) {
            List::Syn
        } else {
            List::Open
        };
        if !conn.listed.is_in(list) {
            self.lists.move_to(list, handle, self.shared.clock, &mut self.slab);
        }
    }

    /// Ends a connection and forgets it. Does nothing if the handle is free.
    pub(super) fn expire<S: Sink>(&mut self, handle: u32, reason: EndReason, time: i64, sink: &mut S) {
        let Some(conn) = self.slab.get_mut(handle) else { return };
        let hash = conn.open.hash;
        let before = conn.memory();
        if !conn.closed() {
            Step { conn, shared: &mut self.shared, sink, time }.finish(reason);
        }
        debug_assert!(self.shared.memory >= before, "the memory of all connections includes this one's");
        self.shared.memory = self.shared.memory.saturating_sub(before);
        self.lists.remove(handle, &mut self.slab);
        self.index.remove(hash, handle);
        self.forget_network(handle);
        self.slab.remove(handle);
    }

    /// Advances the clock, and checks at most `timers` of those that are due.
    pub(super) fn advance<S: Sink>(&mut self, time: i64, timers: u32, sink: &mut S) {
        self.shared.advance(time);
        let now = self.shared.clock >> RESOLUTION;
        if self.to_evict > 0 {
            self.to_evict -= 1;
            self.evict_for_external(time, sink);
        }
        if now == self.checked && !self.behind {
            return;
        }
        self.checked = now;
        for _ in 0..timers {
            self.behind = self.check_timer(time, sink);
            if !self.behind {
                return;
            }
        }
    }

    /// Checks one connection whose timer is due. False if there is none.
    fn check_timer<S: Sink>(&mut self, time: i64, sink: &mut S) -> bool {
        let clock = self.shared.clock;
        if let Some(handle) = self.lists.due(clock) {
            if let Some(mut step) = self.step(handle, time, sink) {
                let before = step.conn.memory();
                step.drain();
                step.settle(before);
            }
            self.relist(handle);
            return true;
        }
        let config = &self.shared.config;
        // The open ones are checked in rounds, so that a packet need not move its connection. A round takes an eighth
        // of the timeout: so much later than due a connection may expire.
        let lists = [
            (List::Closed, config.close_timeout),
            (List::Syn, config.syn_timeout),
            (List::Open, config.idle_timeout / 8),
        ];
        for (list, round) in lists {
            let Some(handle) = self.lists.head(list) else { continue };
            let Some(conn) = self.slab.get(handle) else {
                debug_assert!(false, "only connections of the table are listed");
                continue;
            };
            if clock.saturating_sub(conn.link.queued) < round {
                continue;
            }
            if conn.is_stale(&self.shared) {
                self.expire(handle, EndReason::Timeout, time, sink);
            } else {
                self.lists.move_to(list, handle, clock, &mut self.slab);
            }
            return true;
        }
        false
    }
}

impl Connection {
    /// Whether its timeout has passed.
    pub(super) fn is_stale(&self, shared: &Shared) -> bool {
        let config = &shared.config;
        let idle = shared.clock.saturating_sub(self.last);
        if self.flags.contains(ConnectionFlags::ESTABLISHED) {
            idle >= config.idle_timeout
        } else if self.closed() {
            shared.clock.saturating_sub(self.link.queued) >= config.close_timeout
        } else if self.flags.contains(ConnectionFlags::EMBRYONIC) {
            idle >= config.syn_timeout
        } else {
            idle >= config.idle_timeout
        }
    }
}
