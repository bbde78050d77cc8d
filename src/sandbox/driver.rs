//! The driver takes slots through the guest: it encodes calls, commits what a checked reply says, and isolates faults.
//!
//! Invariant: nothing of a call (records, blocks, cursors, skips) is committed before the call has returned and its
//! whole reply has been checked. So a call can be dropped at any moment and its events encoded again.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::call::{Bounds, Call, Cursor};
use super::connection::ConnectionState;
use super::cpu_time::Reading;
use super::engine::Parser;
use super::fault::Fault;
use super::instance::Instance;
use super::memory::Checked;
use super::quarantine::QuarantinedEvent;
use crate::abi;
use crate::batch::{NONE, Slot, What};
use crate::counters::{HELD, PAYLOAD, counters, families};
use crate::http::record::Record;
use crate::stream::{Connection, EndReason, Opener, Side};

mod absorb;
mod commit;
mod encode;
mod isolate;
mod timer;

pub use commit::MAX_STALLS;

/// Receives what checked replies say.
pub trait Receiver {
    /// What the receiver keeps of a connection.
    type State: Default;
    /// A record, in order within its connection.
    fn record(&mut self, connection: &Connection, state: &mut Self::State, record: &Record<'_>);
    /// The connection is over: both sides have ended, the later one for this reason, or the guest failed on it.
    fn closed(&mut self, connection: &Connection, state: &mut Self::State, reason: EndReason);
    /// The guest needs nothing of this side below this offset.
    fn skip(&mut self, connection: &Connection, side: Side, upto: u64);
    /// An event on which the guest failed alone.
    fn quarantine(&mut self, event: &QuarantinedEvent);
    /// A call failed.
    fn fault(&mut self, fault: &Fault);
    /// Time was lost: to calls that failed or made no progress and to what they make necessary, or to a slot that takes far
    /// more processor time than it should. `counters`: the driver's so far. Returns whether to go on; if not, the rest of the
    /// slot is dropped. An event on which the guest failed alone has been condemned before.
    fn lost(&mut self, _time: Duration, _counters: &SandboxCounters) -> bool {
        true
    }
    /// Reads one word of each cache line of what is kept of a connection, so that it is in the cache when a record comes.
    fn touch(_: &Self::State) -> u64 {
        0
    }
}

families! {
    BYTES_IN = Counter "picotap_sandbox_bytes_total" [] "payload bytes that reached sandboxes", "TCP payload bytes that reached the sandboxes.";
    CALLS = Counter "picotap_sandbox_calls_total" [] "sandbox calls", "Calls into the sandbox.";
    EVENTS = Counter "picotap_sandbox_events_total" [] "sandbox events", "Events given to the sandbox.";
    RECORDS = Counter "picotap_sandbox_records_total" [] "sandbox records", "Records that the parser gave.";
    FAILED_CALLS = Counter "picotap_sandbox_failed_calls_total" [] "sandbox faults", "Calls into the sandbox that failed.";
    UNREPRODUCED = Counter "picotap_sandbox_unreproduced_faults_total" [] "faults not seen again", "Failed calls whose events all passed when tried alone.";
    RENEWALS = Counter "picotap_sandbox_renewals_total" [] "fresh instances", "Fresh parser instances made after faults.";
    QUARANTINED = Counter "picotap_quarantined_events_total" [] "events condemned", "Events on which the parser failed again when alone.";
    FAULT_SECONDS = Seconds "picotap_sandbox_fault_seconds_total" [] "time lost to faults", "Time lost to calls that failed or got nowhere, and to slots that took far too long.";
    CONNECTIONS = Gauge "picotap_sandbox_connections" [] "connections carried by sandboxes", "Connections that the sandboxes carry now.";
}

counters! {
    /// What became of the payload that reached the sandbox, and what the guest did.
    pub struct SandboxCounters {
        /// Payload bytes that came in slots.
        bytes_in => BYTES_IN,
        /// Consumed by the guest.
        parsed => PAYLOAD["parsed"],
        /// Left out here because of a skip hint.
        skipped => PAYLOAD["skipped"],
        /// Of connections that are ignored after a fault.
        ignored => PAYLOAD["ignored_connection"],
        /// In condemned events.
        quarantined => PAYLOAD["quarantined"],
        /// In slots dropped because no instance could be made, or because a worker backed off.
        dropped => PAYLOAD["backed_off"],
        /// Waiting for more when their connection was closed without it.
        unfinished => PAYLOAD["unfinished"],
        /// Waiting for more now.
        held => HELD["sandbox"],
        /// In the current slot and still to come: of counters that are shown before its end.
        pending => HELD["slot_at_hand"],
        /// Calls of the guest.
        calls => CALLS,
        /// Events in them.
        events => EVENTS,
        /// Records received.
        records => RECORDS,
        /// Calls that failed.
        faults => FAILED_CALLS,
        /// Faults of calls whose events all passed when tried alone.
        unreproduced => UNREPRODUCED,
        /// Fresh instances made after faults.
        renewals => RENEWALS,
        /// Nanoseconds lost: see [`Receiver::lost`].
        lost => FAULT_SECONDS,
        /// Events condemned.
        condemned => QUARANTINED,
        /// Connections open.
        connections => CONNECTIONS,
    }
}

impl SandboxCounters {
    /// Payload bytes in, and the sum of all accounts in which they may have ended.
    #[must_use]
    pub fn balance(&self) -> (u64, u64) {
        let mut out = 0u64;
        self.visit("", &mut |family, _, count| {
            if [&PAYLOAD, &HELD].contains(&family) {
                out = out.wrapping_add(count);
            }
        });
        (self.bytes_in, out)
    }
}

/// How much a successful call achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It answered every event, and in time.
    Steady,
    /// Its output was full, or it took long.
    Slow,
    /// It answered nothing and consumed nothing.
    Stalled,
}

/// A module with its instance.
struct LoadedParser {
    parser: Arc<Parser>,
    /// None after a fault, until it is needed again.
    instance: Option<Instance>,
}

impl LoadedParser {
    /// The one whose connections have this state format.
    fn find(all: &mut [Self], format: u32) -> Option<&mut Self> {
        all.iter_mut().find(|loaded| loaded.parser.state_format == format)
    }
}

/// How far a row of the slot has come.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// Key of its connection.
    key: u32,
    cursor: Cursor,
    /// Pieces of a side that may be encoded for it in one call: [`FIRST_WINDOW`], more with each accepted event.
    window: u32,
    /// Its row in the present call, or [`NONE`].
    guest_row: u32,
}

/// In the answer to the segment that holds a head the guest says what it needs of the segments behind it: most bodies are
/// not even copied to it.
const FIRST_WINDOW: u32 = 1;

/// Takes slots through the guest, and keeps the state of connections.
pub struct Driver<S> {
    loaded: Vec<LoadedParser>,
    keys: HashMap<u64, u32, RandomState>,
    connections: Vec<Option<Box<ConnectionState<S>>>>,
    free: Vec<u32>,
    call: Call,
    checked: Checked,
    works: Vec<Work>,
    todo: Vec<u32>,
    later: Vec<u32>,
    counters: SandboxCounters,
    held: encode::Held,
    closing: Vec<u32>,
    timer: timer::Timer,
    /// Only connections whose number is a multiple of this are taken.
    sample: u64,
}

impl<S> std::fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Driver({} connections)", self.keys.len())
    }
}

/// State formats that may be in use at once: connections of older parsers keep theirs until they end.
pub const MAX_LOADED: usize = 4;

impl<S: Default> Driver<S> {
    /// # Errors
    /// If the parser cannot be started.
    pub fn new(parser: Arc<Parser>, bounds: Bounds) -> Result<Self, Fault> {
        let instance = Instance::new(&parser)?;
        Ok(Self {
            loaded: vec![LoadedParser { parser, instance: Some(instance) }],
            keys: HashMap::with_hasher(RandomState::default()),
            connections: Vec::new(),
            free: Vec::new(),
            call: Call::new(bounds),
            checked: Checked::default(),
            works: Vec::new(),
            todo: Vec::new(),
            later: Vec::new(),
            counters: SandboxCounters::default(),
            held: encode::Held::default(),
            closing: Vec::new(),
            timer: timer::Timer::default(),
            sample: 1,
        })
    }

    /// Puts another parser in charge. A parser with the state format of a parser in use takes over its connections; with
    /// another format it gets the new connections, and the old ones keep their parser until they end.
    ///
    /// # Errors
    /// If it cannot be started, or if too many formats are in use; then nothing has changed.
    pub fn swap(&mut self, parser: Arc<Parser>) -> Result<(), Fault> {
        let instance = Instance::new(&parser)?;
        let used = |format| self.connections.iter().flatten().any(|c| c.format == format);
        let mut kept: Vec<u32> = self.loaded.iter().map(|loaded| loaded.parser.state_format).collect();
        kept.retain(|&format| format != parser.state_format && used(format));
        if kept.len() >= MAX_LOADED {
            return Err(Fault::Instance(format!("connections of {MAX_LOADED} state formats are still open")));
        }
        self.loaded.retain(|loaded| kept.contains(&loaded.parser.state_format));
        self.loaded.insert(0, LoadedParser { parser, instance: Some(instance) });
        Ok(())
    }

    /// Takes only connections whose number is a multiple of `sample`; the others are not even counted.
    pub const fn sample(&mut self, sample: u64) {
        self.sample = sample;
    }

    /// Whether a connection is open here.
    pub fn knows(&self, number: u64) -> bool {
        self.keys.contains_key(&number)
    }

    /// The parser that gets new connections.
    pub fn parser(&self) -> Option<&Arc<Parser>> {
        self.loaded.first().map(|loaded| &loaded.parser)
    }

    /// What happened so far.
    pub fn counters(&self) -> SandboxCounters {
        SandboxCounters { connections: self.keys.len() as u64, held: self.held.bytes, ..self.counters }
    }

    /// Bytes of memory held for connections, waiting bytes included.
    pub fn memory(&self) -> u64 {
        let connection = size_of::<ConnectionState<S>>() + 2 * size_of::<(u64, u32)>();
        self.held.memory + (self.keys.len() * connection) as u64
    }

    /// Takes the events of a slot through the guest, until the receiver stops it. Returns whether it was all of them.
    pub fn process<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R) -> bool {
        self.timer = timer::Timer::default();
        self.bind(slot, receiver);
        while let Some(format) = self.next_format() {
            if !self.ready(format, receiver) {
                self.give_up(slot, receiver);
                return false;
            }
            self.encode_rows(slot, format);
            if self.call.encoded.is_empty() {
                continue;
            }
            let go_on = match self.call(slot, format, receiver) {
                Ok(Pace::Steady) => {
                    self.timer.steady();
                    true
                }
                Ok(pace) => self.charge_call(pace == Pace::Stalled, format, receiver),
                Err(fault) => self.isolate(slot, receiver, format, &fault),
            };
            if !go_on {
                self.give_up(slot, receiver);
                return false;
            }
            self.retire();
        }
        true
    }

    /// Charges the time that the last call lost, and asks whether to go on. `bad`: see [`timer::Timer::measure`].
    fn charge_call<R: Receiver<State = S>>(&mut self, bad: bool, format: u32, receiver: &mut R) -> bool {
        let loaded = LoadedParser::find(&mut self.loaded, format);
        let started = loaded.and_then(|loaded| loaded.instance.as_ref()?.first_tick());
        self.charge(started, bad, receiver)
    }

    fn charge<R: Receiver<State = S>>(&mut self, started: Option<Reading>, bad: bool, receiver: &mut R) -> bool {
        let lost = self.timer.measure(Reading::now(), started, bad);
        if !bad && lost.is_zero() {
            return true;
        }
        self.counters.lost += u64::try_from(lost.as_nanos()).unwrap_or(u64::MAX);
        receiver.lost(lost, &self.counters())
    }

    /// Counts the bytes of a slot that is not to be parsed as dropped, and takes the ends in it.
    pub fn discard<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R) {
        self.bind(slot, receiver);
        for at in 0..self.works.len() {
            let Some(work) = self.works.get(at).copied() else { continue };
            let dropped = self.pass_over(slot, work.key, work.cursor, receiver);
            self.counters.dropped += dropped;
        }
        self.todo.clear();
    }

    /// Finds or makes the connection of every row. Rows of ignored connections are passed over here.
    fn bind<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R) {
        self.works.clear();
        self.todo.clear();
        if self.sample == 1 {
            self.counters.bytes_in += slot.arena.len() as u64;
        }
        for row in &slot.rows {
            // A slot that was refused before may have rows without events.
            if row.first != NONE && row.connection.number.is_multiple_of(self.sample) {
                let key = self.key(&row.connection);
                let cursor = Cursor { event: row.first, passed: 0 };
                self.works.push(Work { key, cursor, window: FIRST_WINDOW, guest_row: NONE });
            }
        }
        // A software prefetch: the connections are out of the cache, and read together their misses overlap.
        let near = self.works.iter().filter_map(|work| self.connections.get(work.key as usize)?.as_deref());
        std::hint::black_box(near.fold(0, |sum, connection| sum ^ connection.touch() ^ R::touch(&connection.state)));
        for at in 0..self.works.len() {
            let Some(&Work { key, cursor, .. }) = self.works.get(at) else { continue };
            if self.connection(key).is_some_and(|c| c.ignored) {
                let bytes = self.pass_over(slot, key, cursor, receiver);
                self.counters.ignored += bytes;
                // Passed over: a slot that is dropped later must not count it again.
                if let Some(work) = self.works.get_mut(at) {
                    work.cursor.event = NONE;
                }
            } else {
                self.todo.push(u32::try_from(at).unwrap_or(NONE));
            }
        }
    }

    fn key(&mut self, connection: &Connection) -> u32 {
        if let Some(key) = self.keys.get(&connection.number) {
            return *key;
        }
        let format = self.loaded.first().map_or(0, |loaded| loaded.parser.state_format);
        let state = Some(Box::new(ConnectionState::new(connection.clone(), format)));
        let key = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            u32::try_from(self.connections.len() - 1).unwrap_or(NONE)
        });
        if let Some(place) = self.connections.get_mut(key as usize) {
            *place = state;
        }
        self.keys.insert(connection.number, key);
        key
    }

    fn connection(&mut self, key: u32) -> Option<&mut ConnectionState<S>> {
        self.connections.get_mut(key as usize)?.as_deref_mut()
    }

    /// The state format of the next row that has work left.
    fn next_format(&mut self) -> Option<u32> {
        let row = *self.todo.first()?;
        let key = self.works.get(row as usize)?.key;
        self.connection(key).map(|c| c.format)
    }

    /// Encodes as many events of connections with this format as fit.
    fn encode_rows(&mut self, slot: &Slot, format: u32) {
        self.call.clear();
        self.later.clear();
        let todo = std::mem::take(&mut self.todo);
        for &row in &todo {
            let Some(work) = self.works.get_mut(row as usize) else { continue };
            work.guest_row = NONE;
            let (key, window) = (work.key, work.window);
            let same = self.connection(key).is_some_and(|c| c.format == format);
            if !same || self.encode_row(slot, row, u32::MAX, window) > 0 || self.has_work(row) {
                self.later.push(row);
            }
        }
        self.todo = todo;
        std::mem::swap(&mut self.todo, &mut self.later);
    }

    /// Drops the rows that have no work left.
    fn retire(&mut self) {
        let mut todo = std::mem::take(&mut self.todo);
        todo.retain(|&row| self.has_work(row));
        self.todo = todo;
    }

    /// Frees a connection.
    fn forget(&mut self, key: u32) {
        let Some(place) = self.connections.get_mut(key as usize) else { return };
        let Some(connection) = place.take() else { return };
        self.keys.remove(&connection.info.number);
        self.free.push(key);
        for half in connection.halves {
            if let Some(waiting) = half.waiting {
                self.held.memory -= waiting.memory();
                self.held.bytes -= waiting.bytes.len() as u64;
                self.counters.unfinished += waiting.bytes.len() as u64;
            }
        }
    }

    /// Passes over the rest of a connection in a slot, and takes the ends in it. Returns the payload bytes passed over.
    fn pass_over<R: Receiver<State = S>>(&mut self, slot: &Slot, key: u32, from: Cursor, receiver: &mut R) -> u64 {
        let mut bytes = 0;
        let mut passed = from.passed;
        let mut next = from.event;
        while let Some(event) = slot.events.get(next as usize) {
            match event.what {
                What::Bytes { len, .. } => bytes += u64::from(len) - passed.min(u64::from(len)),
                What::Skipped { .. } => {}
                What::End(reason) => self.end(key, event.side, reason, receiver),
            }
            passed = 0;
            next = event.next;
        }
        bytes
    }

    /// Marks a side as ended, and closes the connection when both are.
    fn end<R: Receiver<State = S>>(&mut self, key: u32, side: Side, reason: EndReason, receiver: &mut R) {
        let Some(connection) = self.connection(key) else { return };
        connection.half_mut(side).ended = true;
        if connection.halves.iter().all(|half| half.ended) {
            if !connection.ignored {
                receiver.closed(&connection.info, &mut connection.state, reason);
            }
            self.forget(key);
        }
    }
}

const fn opener(connection: &Connection) -> u8 {
    match connection.opener {
        Opener::First => abi::opener::SIDE0,
        Opener::Second => abi::opener::SIDE1,
        Opener::Unknown => abi::opener::UNKNOWN,
    }
}

const fn row_flags(connection: &Connection) -> u8 {
    if connection.midstream { abi::row_flag::MIDSTREAM } else { 0 }
}
