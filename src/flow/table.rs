//! The table finds the connection of a segment, and forgets connections when their time or the memory is over.

use super::connection::{Connection, Shared, Verdict};
use super::hash::PairHasher;
use super::index::Index;
use super::seq::Seq;
use super::slab::Slab;
use super::stream::StreamFlags;
use super::timers::{List, Lists};
use super::{Config, FlowCounters};
use crate::packet::Segment;
use crate::stream::{self, ConnectionId, EndReason, OpenConnection, Opener, Side, Sink, SinkTag};

/// Connections that one segment may have looked at besides its own. More than one, so that what expires is worked off
/// faster than it can be made.
const STEPS_PER_SEGMENT: u32 = 4;
/// Connections that one tick may have looked at.
const STEPS_PER_TICK: u32 = 1024;
/// Connections evicted per word of too much external memory: the word lags behind what it asks for.
const EVICTED_PER_WORD: u32 = 16;
/// The clock's grain as a power of two: timers are looked at every 4.2 ms.
const BEAT: u32 = 22;

/// Segments that are looked for at once: about as many cache misses as can be waited for together.
pub const AHEAD: usize = 32;
/// Up to so many connections all are in a cache near the processor anyway.
const NEAR_CONNECTIONS: usize = 512;

/// All connections.
pub struct Table {
    pub(super) shared: Shared,
    hasher: PairHasher,
    pub(super) index: Index,
    pub(super) slab: Slab,
    pub(super) lists: Lists,
    /// Connections so far.
    numbers: u64,
    /// Beat of the clock at which timers were last looked at.
    beat: i64,
    /// There was more to do then.
    behind: bool,
    external: u64,
    /// Connections to be evicted for external memory.
    to_evict: u32,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            hasher: PairHasher::new(config.hash_seed),
            shared: Shared { config, counters: FlowCounters::default(), clock: i64::MIN, memory: 0, full: false },
            index: Index::new(),
            slab: Slab::new(),
            lists: Lists::new(),
            numbers: 0,
            beat: i64::MIN,
            behind: false,
            external: 0,
            to_evict: 0,
        }
    }

    /// Takes a segment, and hands on what it makes ready.
    pub fn segment<S: Sink>(&mut self, segment: &Segment<'_>, sink: &mut S) {
        let hash = self.hasher.hash(&segment.source, &segment.destination, segment.realm);
        self.hashed_segment(hash, segment, sink);
    }

    /// Hashes of the connections of segments that will be taken soon, for [`Self::hashed_segment`]; of those beyond
    /// [`AHEAD`], none. Among many connections each segment finds its own outside of the cache: looked for all at once,
    /// they are waited for together.
    #[must_use]
    pub fn seek(&self, segments: &[Option<Segment<'_>>]) -> [u64; AHEAD] {
        let mut hashes = [0; AHEAD];
        for (hash, segment) in hashes.iter_mut().zip(segments) {
            if let Some(segment) = segment {
                *hash = self.hasher.hash(&segment.source, &segment.destination, segment.realm);
            }
        }
        if self.slab.len() > NEAR_CONNECTIONS {
            let mut places = [0; AHEAD];
            for (place, hash) in places.iter_mut().zip(&hashes) {
                *place = self.index.find(*hash, |_| true).unwrap_or(0);
            }
            let near = places.iter().filter_map(|place| self.slab.get(*place));
            std::hint::black_box(near.fold(0, |sum, entry| sum ^ entry.touch()));
        }
        hashes
    }

    /// Takes a segment whose hash [`Self::seek`] gave.
    pub fn hashed_segment<S: Sink>(&mut self, hash: u64, segment: &Segment<'_>, sink: &mut S) {
        self.shared.counters.segments += 1;
        self.shared.counters.payload += segment.payload.len() as u64;
        self.shared.counters.cut += u64::from(segment.missing);
        self.shared.counters.urgent += u64::from(segment.flags.0 & crate::packet::TcpFlags::URG != 0);
        self.advance(segment.time, STEPS_PER_SEGMENT, sink);
        let found = self.index.find(hash, |place| {
            self.slab.get(place).is_some_and(|entry| {
                let [first, second] = &entry.conn.info.endpoints;
                let ends = (&segment.source, &segment.destination);
                entry.realm == segment.realm && ((first, second) == ends || (second, first) == ends)
            })
        });
        let Some(index) = found else {
            self.first(hash, segment, sink);
            return;
        };
        let clock = self.shared.clock;
        let Some(entry) = self.slab.get_mut(index) else { return };
        if entry.stale(&self.shared) {
            self.expire(index, EndReason::Timeout, segment.time, sink);
            self.first(hash, segment, sink);
            return;
        }
        entry.last = clock;
        let side = if entry.conn.info.endpoints[0] == segment.source { Side::First } else { Side::Second };
        if entry.quick(side, segment, &mut self.shared, sink) {
            return;
        }
        match self.dispatch(index, side, segment, sink) {
            Verdict::Keep => {}
            Verdict::Replace => {
                self.expire(index, EndReason::Reused, segment.time, sink);
                self.first(hash, segment, sink);
            }
            Verdict::Succeed { side, base, syn } => {
                self.succeed(index, side, base, syn, segment, sink);
            }
        }
    }

    /// Lets capture time go on to `now_ns`, without a segment. Cheap where nothing is due.
    pub fn tick<S: Sink>(&mut self, now_ns: i64, sink: &mut S) {
        self.advance(now_ns, STEPS_PER_TICK, sink);
    }

    /// A skip hint: bytes of that side below `upto` (`u64::MAX`: to its end) are not needed. From now on they are counted and
    /// reported as one skipped stretch. Ignored if the connection has ended.
    pub fn skip(&mut self, id: ConnectionId, side: Side, upto: u64) {
        if let Some(entry) = self.slab.get_mut(id.handle).filter(|entry| entry.conn.info.number == id.number) {
            entry.skip(side, upto);
        }
    }

    /// Bytes held elsewhere for these connections, counted against the limit. Each word of too much has a few
    /// connections evicted with the next segment or tick.
    pub fn set_external(&mut self, bytes: u64) {
        self.external = bytes;
        self.to_evict = if self.memory_used() > self.shared.config.memory_limit { EVICTED_PER_WORD } else { 0 };
    }

    /// The capture is over: hands on what is held and ends all sides.
    pub fn finish<S: Sink>(&mut self, sink: &mut S) {
        let time = self.shared.clock;
        for index in 0..self.slab.places() {
            self.expire(index, EndReason::Capture, time, sink);
        }
        let (taken, accounted) = self.shared.counters.payload_balance();
        debug_assert_eq!(taken, accounted, "payload bytes in and in the accounts");
    }

    /// The accounts.
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

    /// Bytes of memory, external ones included.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.slab.bytes_with(0) + self.index.bytes() + self.shared.memory + self.external
    }

    /// The first segment of a connection, if it can be that.
    fn first<S: Sink>(&mut self, hash: u64, segment: &Segment<'_>, sink: &mut S) {
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
            // An ACK alone is not worth a place in the table: anybody can send them in masses.
            Some(&mut counters.no_connection)
        } else {
            None
        };
        if let Some(account) = refused {
            *account += segment.payload.len() as u64;
            return;
        }
        let Some(index) = self.add(hash, segment, false, sink) else {
            self.shared.counters.no_memory += segment.payload.len() as u64;
            return;
        };
        self.dispatch(index, Side::First, segment, sink);
    }

    /// Adds a connection whose side 0 is the segment's sender, or its receiver (`turned`).
    fn add<S: Sink>(&mut self, hash: u64, segment: &Segment<'_>, turned: bool, sink: &mut S) -> Option<u32> {
        self.make_room(segment.time, sink);
        let index = self.slab.next_place()?;
        self.numbers += 1;
        self.shared.counters.connections += 1;
        let endpoints = [segment.source, segment.destination];
        let endpoints = if turned { [segment.destination, segment.source] } else { endpoints };
        let config = &self.shared.config;
        let info = stream::Connection {
            number: (self.numbers - 1) * u64::from(config.producers.max(1)) + u64::from(config.producer) + 1,
            handle: index,
            producer: config.producer,
            midstream: false,
            opener: Opener::Unknown,
            interface: segment.interface,
            endpoints,
        };
        let conn = OpenConnection { info, hash, tag: SinkTag::default() };
        let mut connection = Connection::new(conn, segment.realm);
        connection.last = self.shared.clock;
        self.slab.insert(connection)?;
        self.index.insert(hash, index);
        Some(index)
    }

    fn dispatch<S: Sink>(&mut self, index: u32, side: Side, segment: &Segment<'_>, sink: &mut S) -> Verdict {
        self.relieve(segment.payload.len() as u64, segment.time, sink);
        let Some(entry) = self.slab.get_mut(index) else { return Verdict::Keep };
        let verdict = entry.segment(side, segment, &mut self.shared, sink);
        if verdict == Verdict::Keep {
            self.relist(index);
        }
        verdict
    }

    /// Another connection has taken the ports. `side` of the old one has sent what lies before `base`.
    fn succeed<S: Sink>(&mut self, old: u32, side: Side, base: Seq, syn: bool, segment: &Segment<'_>, sink: &mut S) {
        let Some(entry) = self.slab.get(old) else { return };
        let sender = entry.conn.info.endpoints.get(side.index()).copied();
        let hash = entry.conn.hash;
        let turned = sender != Some(segment.source);
        self.expire(old, EndReason::Reused, segment.time, sink);
        let Some(index) = self.add(hash, segment, turned, sink) else {
            self.shared.counters.no_memory += segment.payload.len() as u64;
            return;
        };
        let Some(entry) = self.slab.get_mut(index) else { return };
        let first = entry.stream_mut(Side::First);
        first.base = base;
        first.flags.insert(StreamFlags::SEEN | StreamFlags::BASED);
        if syn {
            first.flags.insert(StreamFlags::EXACT);
            entry.conn.info.opener = Opener::First;
        } else {
            entry.conn.info.midstream = true;
            self.shared.counters.midstream += 1;
        }
        let from = if turned { Side::Second } else { Side::First };
        self.dispatch(index, from, segment, sink);
    }

    /// Puts a connection where it will be looked at in time.
    pub(super) fn relist(&mut self, index: u32) {
        let Some(entry) = self.slab.get(index) else { return };
        let list = if entry.closed() {
            List::Closed
        } else if let Some(deadline) = entry.deadline(&self.shared) {
            self.lists.slot(deadline, self.shared.clock)
        } else if entry.embryonic {
            List::Syn
        } else {
            List::Open
        };
        if !entry.listed.is_in(list) {
            self.lists.move_to(list, index, self.shared.clock, &mut self.slab);
        }
    }

    /// Ends a connection and forgets it.
    pub(super) fn expire<S: Sink>(&mut self, index: u32, reason: EndReason, time: i64, sink: &mut S) {
        let Some(entry) = self.slab.get_mut(index) else { return };
        let hash = entry.conn.hash;
        let before = entry.memory();
        if !entry.closed() {
            entry.finish(reason, time, &mut self.shared, sink);
        }
        self.shared.memory = self.shared.memory.saturating_sub(before);
        self.lists.remove(index, &mut self.slab);
        self.index.remove(hash, index);
        self.slab.remove(index);
    }

    /// Goes on to a time, and does at most `steps` of what is due.
    fn advance<S: Sink>(&mut self, time: i64, steps: u32, sink: &mut S) {
        self.shared.clock = self.shared.clock.max(time);
        let beat = self.shared.clock >> BEAT;
        if self.to_evict > 0 {
            self.to_evict -= 1;
            self.evict_for_external(time, sink);
        }
        if beat == self.beat && !self.behind {
            return;
        }
        self.beat = beat;
        for _ in 0..steps {
            self.behind = self.step(time, sink);
            if !self.behind {
                return;
            }
        }
    }

    /// Looks at one connection whose time has come.
    fn step<S: Sink>(&mut self, time: i64, sink: &mut S) -> bool {
        let clock = self.shared.clock;
        if let Some(index) = self.lists.due(clock) {
            if let Some(entry) = self.slab.get_mut(index) {
                let before = entry.memory();
                entry.drain(time, &mut self.shared, sink);
                entry.settle(before, &mut self.shared);
            }
            self.relist(index);
            return true;
        }
        let config = &self.shared.config;
        // The open ones are looked at in rounds, so that a packet need not move its connection; a round takes an eighth
        // of the time, which is how late one may expire.
        let lists = [
            (List::Closed, config.close_timeout),
            (List::Syn, config.syn_timeout),
            (List::Open, config.idle_timeout / 8),
        ];
        for (list, round) in lists {
            let Some(index) = self.lists.head(list) else { continue };
            let Some(entry) = self.slab.get(index) else { continue };
            if clock.saturating_sub(entry.link.queued) < round {
                continue;
            }
            if entry.stale(&self.shared) {
                self.expire(index, EndReason::Timeout, time, sink);
            } else {
                self.lists.move_to(list, index, clock, &mut self.slab);
            }
            return true;
        }
        false
    }
}

impl Connection {
    /// Its time is over.
    fn stale(&self, shared: &Shared) -> bool {
        let config = &shared.config;
        let idle = shared.clock.saturating_sub(self.last);
        if self.plain {
            idle >= config.idle_timeout
        } else if self.closed() {
            shared.clock.saturating_sub(self.link.queued) >= config.close_timeout
        } else if self.embryonic {
            idle >= config.syn_timeout
        } else {
            idle >= config.idle_timeout
        }
    }
}
