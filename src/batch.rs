//! A slot is a bounded buffer of events on their way to a worker. The batcher fills one for each worker.
//!
//! Every payload byte is copied into its slot once. Slots are recycled, so that in a steady state nothing is allocated.
//! A slot that is refused (live, when the queue is full) loses its bytes, which are counted, and keeps its ends. To the
//! guest the loss is a jump in the stream offsets.

// With its path, since the fuzzer includes this file by its own.
#[path = "batch/rewrite.rs"]
mod rewrite;
#[path = "batch/shed.rs"]
mod shed;

pub use rewrite::Rewritten;
pub use shed::{Shedding, keep_whole};

use crate::counters::{PAYLOAD, counters, families};
use crate::stream::{Connection, EndReason, OpenConnection, Position, Side, Sink, SinkTag, Span};

/// The most bytes of payload in a slot: few enough to stay in a second-level cache together with the guest's copy.
pub const SLOT_BYTES: usize = 256 * 1024;
/// The most events in a slot.
pub const SLOT_EVENTS: usize = 2048;
/// So many slots of other workers may be handed on before one that is not full, or holds nothing: lines of those wait for it.
const MOST_AHEAD: u32 = 8;
/// Live, a slot that holds nothing is handed on so many times later than one that holds events.
const EMPTY_AGE: i64 = 8;
/// The most connections of which a slot says that they have begun.
const MAX_BEGUN: usize = 1024;
/// No event: the end of a list.
pub const NONE: u32 = u32::MAX;

/// A connection that has events in a slot.
#[derive(Debug, Clone)]
pub struct SlotRow {
    /// The connection.
    pub connection: Connection,
    /// Its first event in the slot.
    pub first: u32,
    /// Its last event in the slot.
    pub last: u32,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Payload: `len` bytes of the arena from `data`.
    Bytes {
        /// Index of the first byte in the arena.
        data: u32,
        /// Number of bytes, at least 1.
        len: u32,
        /// The first byte is the first of a segment's payload.
        starts_segment: bool,
    },
    /// A range that the capture thread left out because of a skip hint.
    Skipped {
        /// Its length.
        length: u64,
        /// How much of it was never seen.
        lost: u64,
    },
    /// A range that was seen, and left out because a worker was behind.
    Shed {
        /// Its length.
        length: u64,
    },
    /// The side's stream ends.
    End(EndReason),
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct SlotEvent {
    /// Side whose stream it is about.
    pub side: Side,
    /// What happened.
    pub what: What,
    /// Where in the stream.
    pub at: Position,
    /// The gap before it is told with the greatest length that it can have.
    pub inexact: bool,
    /// The next event of the same connection in this slot, or [`NONE`].
    pub next: u32,
    /// Its number among its producer's events, counted from the start of the slot's [`Span`].
    pub order: u32,
    /// Index of the connection's row.
    pub row: u32,
}

/// A bounded buffer of events.
#[derive(Debug, Default)]
pub struct Slot {
    /// Connections, in order of their first event.
    pub rows: Vec<SlotRow>,
    /// Events, in order of arrival.
    pub events: Vec<SlotEvent>,
    /// Payload of all events.
    pub arena: Vec<u8>,
    /// Connections that have begun, some of them at most, if that is told ([`Batcher::telling_begun`]).
    pub begun: Vec<Connection>,
    /// Which events it holds.
    pub span: Span,
    /// Serial number, new for each filling, from 1: a connection's tag refers to it.
    serial: u64,
    /// Frame time of the first event.
    opened: Option<i64>,
    /// How many rows were left when it was last refused.
    old_rows: usize,
}

impl Slot {
    /// An empty slot, with memory for most of what it may hold.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rows: Vec::with_capacity(SLOT_EVENTS / 4),
            events: Vec::with_capacity(SLOT_EVENTS),
            arena: Vec::with_capacity(SLOT_BYTES),
            begun: Vec::new(),
            span: Span::default(),
            serial: 0,
            opened: None,
            old_rows: 0,
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.events.clear();
        self.arena.clear();
        self.begun.clear();
        self.opened = None;
        self.old_rows = 0;
    }

    /// The payload of an event.
    #[must_use]
    pub fn payload(&self, data: u32, len: u32) -> &[u8] {
        let start = data as usize;
        let payload = self.arena.get(start..start.saturating_add(len as usize));
        debug_assert!(payload.is_some(), "an event's payload is in its slot's arena");
        payload.unwrap_or_default()
    }

    /// Whether an event fits. Rows are bounded too, since in a slot that was refused they stay without events.
    fn has_room(&self, payload: usize) -> bool {
        let bytes = self.arena.len().saturating_add(payload);
        self.events.len() < SLOT_EVENTS && self.rows.len() < SLOT_EVENTS && bytes <= SLOT_BYTES
    }

    /// Whether dropping it would free almost nothing: it holds mostly ends, or rows that earlier refusals left.
    fn is_worth_waiting_for(&self) -> bool {
        let ends = self.events.iter().filter(|event| matches!(event.what, What::End(_))).count();
        ends > SLOT_EVENTS / 2 || self.old_rows > SLOT_EVENTS / 2
    }

    /// Begins to fill it with events from this number on.
    const fn begin(&mut self, serial: u64, start: u64) {
        self.serial = serial;
        self.span.start = start;
    }

    /// Adds an event, its producer's with this number. A connection without a row in this slot gets one.
    fn push(&mut self, conn: &mut OpenConnection, number: u64, side: Side, at: Position, what: What) {
        if conn.tag.serial() != self.serial {
            let row = u32::try_from(self.rows.len()).expect("a slot has no more rows than events");
            conn.tag = SinkTag::new(self.serial, row, conn.tag.note());
            self.rows.push(SlotRow { connection: conn.info.clone(), first: NONE, last: NONE });
        }
        // Far below 2^32: a slot is handed on at the latest with a few slots of other workers.
        let order = u32::try_from(number.saturating_sub(self.span.start)).unwrap_or(u32::MAX);
        self.append(SlotEvent { side, what, at, inexact: false, next: NONE, order, row: conn.tag.row() });
    }

    /// Adds an event to the end of its row's list, which is empty after [`Slot::keep_ends`].
    fn append(&mut self, event: SlotEvent) {
        let at = u32::try_from(self.events.len()).expect("a slot holds at most SLOT_EVENTS events");
        let row = self.rows.get_mut(event.row as usize);
        debug_assert!(row.is_some(), "an event's row is in its slot");
        let Some(row) = row else { return };
        match self.events.get_mut(row.last as usize) {
            Some(before) => before.next = at,
            None => row.first = at,
        }
        row.last = at;
        self.events.push(event);
    }

    /// Drops everything but the ends of connections.
    fn keep_ends(&mut self) {
        let events = std::mem::take(&mut self.events);
        // Rows stay, since connections refer to them by index, and more events may come.
        for row in &mut self.rows {
            (row.first, row.last) = (NONE, NONE);
        }
        for event in events.into_iter().filter(|event| matches!(event.what, What::End(_))) {
            self.append(SlotEvent { next: NONE, ..event });
        }
        self.arena.clear();
        self.opened = self.events.first().map(|event| event.at.time);
        self.old_rows = self.rows.len();
    }
}

/// Takes full slots to their workers.
pub trait Deliver {
    /// Delivers a slot to a worker and returns another to fill. If the worker's queue is full: waits for room (`must`),
    /// or returns the slot as it is.
    ///
    /// # Errors
    /// The slot itself, when the worker's queue is full and `must` is false.
    fn deliver(&mut self, worker: usize, slot: Box<Slot>, must: bool) -> Result<Box<Slot>, Box<Slot>>;

    /// Whether the queue of a worker is over half full.
    fn fills(&self, _worker: usize) -> bool {
        false
    }
}

/// Collects slots in the order in which they come: for a driver that is fed by hand.
#[derive(Debug, Default)]
pub struct CollectSlots(pub Vec<Box<Slot>>);

impl Deliver for CollectSlots {
    fn deliver(&mut self, _: usize, slot: Box<Slot>, _: bool) -> Result<Box<Slot>, Box<Slot>> {
        self.0.push(slot);
        Ok(Box::default())
    }
}

families! {
    SLOTS = Counter "picotap_slots_total" [] "slots delivered", "Slots of stream events delivered to sandboxes.";
    DROPPED_SLOTS = Counter "picotap_dropped_slots_total" [] "slots dropped", "Slots dropped because a sandbox's queue was full.";
    STREAM_EVENTS = Counter "picotap_stream_events_total" [] "stream events", "Stream events put into slots: payload, skipped ranges and ends.";
    DELIVERED = Counter "picotap_delivered_bytes_total" [] "payload bytes delivered to sandboxes", "TCP payload bytes in slots delivered to sandboxes.";
    SLOT_BYTES_OPEN = Gauge "picotap_slot_bytes" [] "payload bytes in slots being filled", "TCP payload bytes in slots that are being filled.";
}

counters! {
    /// What became of the slots.
    pub struct BatchCounters {
        /// Slots dropped because their worker's queue was full.
        slots_dropped => DROPPED_SLOTS,
        /// Payload bytes in them.
        bytes_dropped => PAYLOAD["queue_full"],
        /// Payload bytes left out of slots while a worker was behind.
        bytes_shed => PAYLOAD["shed"],
        /// Slots delivered.
        slots => SLOTS,
        /// Payload bytes in them.
        bytes_delivered => DELIVERED,
        /// Payload bytes in the slots that are being filled.
        bytes_open => SLOT_BYTES_OPEN,
        /// Events delivered or dropped.
        events => STREAM_EVENTS,
    }
}

/// What was handed on to other workers since a worker got its last slot.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    slots: u32,
    /// Frame time of the first event in them.
    since: Option<i64>,
    /// When it got that slot, its queue was over half full.
    queue_fills: bool,
}

/// Fills one slot for each worker.
#[derive(Debug)]
pub struct Batcher<D> {
    deliver: D,
    #[expect(clippy::vec_box, reason = "slots go from thread to thread as boxes")]
    slots: Vec<Box<Slot>>,
    /// Of each worker.
    behind: Vec<Behind>,
    serial: u64,
    /// Events so far.
    number: u64,
    producer: u16,
    max_age: i64,
    lossless: bool,
    tells_begun: bool,
    shedding: Shedding,
    /// Of each segment, so many bytes are kept at least.
    kept: usize,
    /// The buffer fills that the input comes from.
    pressed: bool,
    counters: BatchCounters,
}

impl<D: Deliver> Batcher<D> {
    /// `max_age`: nanoseconds of frame time after which a slot is handed on though it is not full. `lossless`: wait for
    /// room in a worker's queue instead of dropping the slot.
    pub fn new(workers: usize, max_age: i64, lossless: bool, deliver: D) -> Self {
        let mut serial = 0;
        let slots = (0..workers.max(1)).map(|_| {
            serial += 1;
            Box::new(Slot { serial, ..Slot::new() })
        });
        let slots: Vec<_> = slots.collect();
        let behind = vec![Behind::default(); slots.len()];
        Self {
            deliver,
            slots,
            behind,
            serial,
            number: 0,
            producer: 0,
            max_age,
            lossless,
            tells_begun: false,
            shedding: Shedding::Never,
            kept: 0,
            pressed: false,
            counters: BatchCounters::default(),
        }
    }

    /// The same, of the producer with this index.
    #[must_use]
    pub fn of_producer(self, producer: u16) -> Self {
        Self { producer, ..self }
    }

    /// The same, telling or not which connections have begun, before anything is read of them.
    #[must_use]
    pub fn telling_begun(self, tells_begun: bool) -> Self {
        Self { tells_begun, ..self }
    }

    /// What became of slots so far.
    pub fn counters(&self) -> BatchCounters {
        let open = self.slots.iter().map(|slot| slot.arena.len() as u64).sum();
        BatchCounters { bytes_open: open, ..self.counters }
    }

    /// The deliverer.
    pub const fn deliverer(&mut self) -> &mut D {
        &mut self.deliver
    }

    /// Hands on every slot whose first event is older than `max_age` at `now`, in frame time; and those that hold nothing, if
    /// others were handed on some time ago.
    pub fn tick(&mut self, now: i64) {
        let old = |since: Option<i64>, age: i64| since.is_some_and(|since| now.saturating_sub(since) >= age);
        for worker in 0..self.slots.len() {
            let opened = self.slots.get(worker).and_then(|slot| slot.opened);
            let behind = self.behind.get(worker).and_then(|behind| behind.since);
            if old(opened, self.max_age) || old(behind, self.max_age.saturating_mul(EMPTY_AGE)) {
                self.hand_on(worker);
            }
        }
    }

    /// Hands on everything.
    pub fn flush(&mut self) {
        for worker in 0..self.slots.len() {
            if self.slots.get(worker).is_some_and(|slot| !slot.is_empty()) {
                self.hand_on(worker);
            }
        }
    }

    fn worker(&self, conn: &OpenConnection) -> usize {
        let workers = u64::try_from(self.slots.len()).unwrap_or(1).max(1);
        // The high half, scaled to the number of workers.
        usize::try_from(((conn.hash >> 32) * workers) >> 32).unwrap_or(0)
    }

    /// Hands a worker's slot on, and those of workers that have fallen too far behind by it.
    fn hand_on(&mut self, worker: usize) {
        let opened = self.slots.get(worker).and_then(|slot| slot.opened);
        self.deliver_slot(worker);
        let Some(opened) = opened.filter(|_| self.slots.len() > 1) else { return };
        for other in 0..self.slots.len() {
            let Some(behind) = self.behind.get_mut(other).filter(|_| other != worker) else { continue };
            behind.slots += 1;
            behind.since.get_or_insert(opened);
            if behind.slots >= MOST_AHEAD {
                self.deliver_slot(other);
            }
        }
    }

    /// Delivers a worker's slot, which may hold nothing: what is behind it then has no more to come from this worker.
    fn deliver_slot(&mut self, worker: usize) {
        let (Some(filling), Some(behind)) = (self.slots.get_mut(worker), self.behind.get_mut(worker)) else {
            debug_assert!(false, "every worker has a slot");
            return;
        };
        *behind = Behind { queue_fills: self.deliver.fills(worker), ..Behind::default() };
        let mut slot = std::mem::take(filling);
        slot.span = Span { producer: self.producer, start: slot.span.start, end: self.number };
        self.counters.events += slot.events.len() as u64;
        let (bytes, held) = (slot.arena.len() as u64, u64::from(!slot.is_empty()));
        let must = self.lossless || slot.is_worth_waiting_for();
        match self.deliver.deliver(worker, slot, must) {
            Ok(mut empty) => {
                self.counters.slots += held;
                self.counters.bytes_delivered += bytes;
                empty.clear();
                self.serial += 1;
                empty.begin(self.serial, self.number);
                *filling = empty;
            }
            Err(mut refused) => {
                self.counters.slots_dropped += held;
                self.counters.bytes_dropped += bytes;
                refused.keep_ends();
                // A worker that refuses a slot that it can wait for is gone: there is nobody to keep the ends for.
                if must || refused.is_empty() {
                    refused.clear();
                    self.serial += 1;
                    refused.begin(self.serial, self.number);
                }
                self.counters.events -= refused.events.len() as u64;
                *filling = refused;
            }
        }
    }

    fn put(&mut self, conn: &mut OpenConnection, side: Side, at: Position, what: What, payload: &[u8]) {
        let worker = self.worker(conn);
        // A slot that is refused may keep all of its rows. It is waited for then, and the third time there is room.
        for _ in 0..3 {
            let Some(slot) = self.slots.get_mut(worker) else {
                debug_assert!(false, "every worker has a slot");
                return;
            };
            if slot.has_room(payload.len()) {
                slot.opened.get_or_insert(at.time);
                let what = match what {
                    What::Bytes { starts_segment, .. } => {
                        // Both are at most SLOT_BYTES, since the event fits.
                        let data = u32::try_from(slot.arena.len()).unwrap_or(NONE);
                        let len = u32::try_from(payload.len()).unwrap_or(NONE);
                        slot.arena.extend_from_slice(payload);
                        What::Bytes { data, len, starts_segment }
                    }
                    other => other,
                };
                slot.push(conn, self.number, side, at, what);
                self.number += 1;
                return;
            }
            self.hand_on(worker);
        }
        debug_assert!(false, "a slot that was handed on or refused has room for one event");
        self.counters.bytes_dropped += payload.len() as u64;
    }
}

impl<D: Deliver> Sink for Batcher<D> {
    fn begun(&mut self, conn: &OpenConnection) {
        if !self.tells_begun {
            return;
        }
        let worker = self.worker(conn);
        if let Some(slot) = self.slots.get_mut(worker).filter(|slot| slot.begun.len() < MAX_BEGUN) {
            slot.opened.get_or_insert(conn.info.started);
            slot.begun.push(conn.info.clone());
        }
    }

    fn bytes(&mut self, conn: &mut OpenConnection, side: Side, at: Position, starts_segment: bool, payload: &[u8]) {
        let front = self.front(conn, starts_segment, payload);
        let (front, rest) = payload.split_at_checked(front).unwrap_or((payload, &[]));
        self.put(conn, side, at, What::Bytes { data: 0, len: 0, starts_segment }, front);
        if !rest.is_empty() {
            let (length, offset) = (rest.len() as u64, at.offset.saturating_add(front.len() as u64));
            self.counters.bytes_shed += length;
            self.put(conn, side, Position { offset, ..at }, What::Shed { length }, &[]);
        }
    }

    fn skipped(&mut self, conn: &mut OpenConnection, side: Side, at: Position, length: u64, lost: u64) {
        self.put(conn, side, at, What::Skipped { length, lost }, &[]);
    }

    fn end(&mut self, conn: &mut OpenConnection, side: Side, at: Position, reason: EndReason) {
        self.put(conn, side, at, What::End(reason), &[]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::UNKNOWN;

    /// Collects slots, or is full.
    #[derive(Default)]
    struct Full {
        collected: CollectSlots,
        full: bool,
    }

    impl Deliver for Full {
        fn deliver(&mut self, worker: usize, slot: Box<Slot>, must: bool) -> Result<Box<Slot>, Box<Slot>> {
            if self.full && !must { Err(slot) } else { self.collected.deliver(worker, slot, must) }
        }
    }

    fn at(offset: u64) -> Position {
        Position { offset, peer_acked: UNKNOWN, time: 7 }
    }

    #[test]
    fn events_of_a_connection_are_a_list_in_order() {
        let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
        let (mut a, mut b) = (OpenConnection::synthetic(1), OpenConnection::synthetic(2));
        batcher.bytes(&mut a, Side::First, at(0), true, b"one");
        batcher.bytes(&mut b, Side::First, at(0), true, b"two");
        batcher.bytes(&mut a, Side::First, at(3), true, b"three");
        batcher.flush();
        let slot = &batcher.deliverer().0[0];
        assert_eq!(slot.rows.len(), 2);
        let first = slot.events[slot.rows[0].first as usize];
        let second = slot.events[first.next as usize];
        let What::Bytes { data, len, .. } = second.what else { panic!("{second:?}") };
        assert_eq!(slot.payload(data, len), b"three");
        assert_eq!(second.next, NONE);
    }

    #[test]
    fn connections_that_have_begun_are_told_in_time_if_that_is_wanted() {
        for wanted in [false, true] {
            let mut batcher = Batcher::new(1, 5, false, CollectSlots::default()).telling_begun(wanted);
            let mut a = OpenConnection::synthetic(1);
            a.info.started = 7;
            batcher.begun(&a);
            batcher.tick(11);
            assert_eq!(batcher.deliverer().0.len(), 0, "it may still be filled");
            batcher.tick(12);
            let told: Vec<usize> = batcher.deliverer().0.iter().map(|slot| slot.begun.len()).collect();
            assert_eq!(told, if wanted { vec![1] } else { vec![] });
            batcher.bytes(&mut a, Side::First, at(0), true, b"one");
            batcher.flush();
            let last = batcher.deliverer().0.pop().expect("a slot");
            assert!(last.begun.is_empty() && !last.is_empty());
            for number in 0..5000 {
                batcher.begun(&OpenConnection::synthetic(number));
            }
            batcher.tick(100);
            let last = batcher.deliverer().0.pop().map_or(0, |slot| slot.begun.len());
            assert_eq!(last, if wanted { MAX_BEGUN } else { 0 });
        }
    }

    #[test]
    fn a_full_slot_is_handed_on_and_the_connection_gets_a_row_in_the_next() {
        let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
        let mut a = OpenConnection::synthetic(1);
        let piece = vec![0; crate::stream::MAX_PIECE];
        for n in 0..5 {
            batcher.bytes(&mut a, Side::First, at(n * piece.len() as u64), true, &piece);
        }
        assert_eq!(batcher.deliverer().0.len(), 1);
        batcher.flush();
        assert_eq!(batcher.deliverer().0[1].rows.len(), 1);
    }

    #[test]
    fn what_is_not_full_follows_a_few_slots_of_other_workers() {
        let mut batcher = Batcher::new(2, i64::MAX, true, CollectSlots::default()).of_producer(3);
        let mut conns = [0_u64, 1].map(|worker| OpenConnection { hash: worker << 63, ..OpenConnection::synthetic(1) });
        batcher.bytes(&mut conns[1], Side::First, at(0), true, b"x");
        for _ in 0..2 * MOST_AHEAD {
            for _ in 0..SLOT_EVENTS {
                batcher.bytes(&mut conns[0], Side::First, at(0), true, b"x");
            }
            batcher.hand_on(0);
        }
        let slots = &batcher.deliverer().0;
        let other: Vec<_> = slots.iter().filter(|slot| slot.events.len() < SLOT_EVENTS).collect();
        let events = u64::from(MOST_AHEAD) * SLOT_EVENTS as u64;
        assert_eq!(other.len(), 2);
        assert_eq!((other[0].events.len(), other[0].span), (1, Span { producer: 3, start: 0, end: events + 1 }));
        assert_eq!((other[1].events.len(), other[1].span.end), (0, 2 * events + 1));
        assert_eq!(slots[0].events[7].order, 8, "events are numbered over all workers");
        assert_eq!(batcher.counters().slots, u64::from(2 * MOST_AHEAD) + 1, "an empty slot is not counted");
    }

    #[test]
    fn an_idle_worker_is_told_how_far_its_capture_thread_is() {
        let mut batcher = Batcher::new(2, 5, true, CollectSlots::default());
        let mut conn = OpenConnection { hash: 0, ..OpenConnection::synthetic(1) };
        batcher.bytes(&mut conn, Side::First, at(0), true, b"x");
        batcher.tick(12);
        assert_eq!(batcher.deliverer().0.len(), 1);
        batcher.tick(7 + 5 * EMPTY_AGE);
        assert_eq!(batcher.deliverer().0[1].span, Span { producer: 0, start: 0, end: 1 });
        batcher.tick(i64::MAX);
        assert_eq!(batcher.deliverer().0.len(), 2, "once");
    }

    /// What a driver finds: every event that can be reached from a row, by the row's connection.
    fn reached(slot: &Slot) -> Vec<(u64, What)> {
        let mut found = Vec::new();
        for row in &slot.rows {
            let mut next = row.first;
            while let Some(event) = slot.events.get(next as usize) {
                found.push((row.connection.number, event.what));
                next = event.next;
            }
        }
        assert_eq!(found.len(), slot.events.len(), "every event is in a list");
        found
    }

    #[test]
    fn what_comes_after_a_refusal_is_reached_and_ends_are_kept() {
        let mut batcher = Batcher::new(1, i64::MAX, false, Full { full: true, ..Full::default() });
        let (mut a, mut b) = (OpenConnection::synthetic(1), OpenConnection::synthetic(2));
        batcher.bytes(&mut a, Side::First, at(0), true, b"gone");
        batcher.bytes(&mut b, Side::First, at(0), true, b"too");
        batcher.end(&mut b, Side::First, at(3), EndReason::Fin);
        batcher.flush();
        assert_eq!(batcher.counters().bytes_dropped, 7);
        batcher.deliverer().full = false;
        batcher.bytes(&mut a, Side::First, at(4), true, b"kept");
        batcher.end(&mut a, Side::First, at(8), EndReason::Fin);
        batcher.flush();
        let found = reached(&batcher.deliverer().collected.0[0]);
        let [(1, What::Bytes { len: 4, .. }), (1, What::End(_)), (2, What::End(_))] = found[..] else {
            panic!("{found:?}")
        };
    }

    #[test]
    fn rows_of_refused_slots_are_bounded() {
        let mut batcher = Batcher::new(1, i64::MAX, false, Full { full: true, ..Full::default() });
        let mut ended = OpenConnection::synthetic(1);
        batcher.end(&mut ended, Side::First, at(0), EndReason::Fin);
        for number in 2..20_000 {
            batcher.bytes(&mut OpenConnection::synthetic(number), Side::First, at(0), true, b"x");
            assert!(batcher.slots[0].rows.len() <= SLOT_EVENTS);
        }
        let ends =
            batcher.deliverer().collected.0.iter().flat_map(|slot| reached(slot)).filter(|(number, _)| *number == 1);
        assert_eq!(ends.count(), 1, "the slot was waited for rather than refused for ever");
    }

    #[test]
    fn nothing_is_kept_for_a_worker_that_is_gone() {
        struct Gone;
        impl Deliver for Gone {
            fn deliver(&mut self, _: usize, slot: Box<Slot>, _: bool) -> Result<Box<Slot>, Box<Slot>> {
                Err(slot)
            }
        }
        let mut batcher = Batcher::new(1, i64::MAX, true, Gone);
        for number in 1..10_000 {
            let mut conn = OpenConnection::synthetic(number);
            batcher.bytes(&mut conn, Side::First, at(0), true, b"x");
            batcher.end(&mut conn, Side::First, at(1), EndReason::Fin);
        }
        batcher.flush();
        assert_eq!(batcher.counters().bytes_dropped, 9_999);
        assert!(batcher.slots[0].is_empty());
    }

    proptest! {
        /// However the queue fills and empties: each byte is reached or counted as dropped, and each end is reached
        /// once, behind all bytes of its side.
        #[test]
        fn every_loss_is_counted(
            steps in prop::collection::vec((0u64..8, 0u8..12, any::<bool>()), 1..400),
        ) {
            let mut batcher = Batcher::new(1, i64::MAX, false, Full::default());
            let mut conns: Vec<(OpenConnection, u64)> = (1..=8).map(|number| (OpenConnection::synthetic(number), 0)).collect();
            let mut next_number = 9;
            let (mut sent, mut ended) = (0, 0);
            for (which, what, full) in steps {
                batcher.deliverer().full = full;
                let (conn, offset) = &mut conns[usize::try_from(which).unwrap()];
                match what {
                    0 => batcher.flush(),
                    1 => {
                        batcher.end(conn, Side::First, at(*offset), EndReason::Fin);
                        ended += 1;
                        (*conn, *offset) = (OpenConnection::synthetic(next_number), 0);
                        next_number += 1;
                    }
                    size => {
                        let bytes = vec![7; usize::from(size) * 3000];
                        batcher.bytes(conn, Side::First, at(*offset), true, &bytes);
                        *offset += bytes.len() as u64;
                        sent += bytes.len() as u64;
                    }
                }
            }
            batcher.deliverer().full = false;
            batcher.flush();
            let dropped = batcher.counters().bytes_dropped;
            let slots = &batcher.deliverer().collected.0;
            let mut found = (0, 0);
            let mut over = std::collections::BTreeSet::new();
            for (number, what) in slots.iter().flat_map(|slot| reached(slot)) {
                prop_assert!(!over.contains(&number), "an event behind the end");
                match what {
                    What::Bytes { len, .. } => found.0 += u64::from(len),
                    What::Skipped { .. } | What::Shed { .. } => {}
                    What::End(_) => {
                        found.1 += 1;
                        over.insert(number);
                    }
                }
            }
            prop_assert_eq!((found.0 + dropped, found.1), (sent, ended));
        }
    }

    #[test]
    fn an_old_slot_is_handed_on_by_the_clock_of_the_frames() {
        let mut batcher = Batcher::new(1, 5, true, CollectSlots::default());
        batcher.bytes(&mut OpenConnection::synthetic(1), Side::First, at(0), true, b"x");
        batcher.tick(11);
        assert!(batcher.deliverer().0.is_empty());
        batcher.tick(12);
        assert_eq!(batcher.deliverer().0.len(), 1);
    }
}
