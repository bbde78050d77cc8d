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
use super::extra::Extras;
use super::fault::Fault;
use super::instance::Instance;
use super::memory::Checked;
use super::protocol::{FormatRef, Protocol};
use super::quarantine::QuarantinedEvent;
use crate::abi::{MAX_PROTOCOLS, Tunnel};
use crate::batch::{Slot, What};
use crate::http::record::Record;
use crate::stream::{Connection, EndReason, Endpoint, Side};

mod absorb;
mod aside;
mod commit;
mod connections;
mod counters;
mod encode;
mod isolate;
mod join;
mod row;
mod timer;
mod todo;

use connections::Connections;

pub use aside::Aside;
pub use commit::MAX_STALLS;
pub use counters::SandboxCounters;

/// Receives what checked replies say.
pub trait Receiver {
    /// What the receiver keeps of a connection.
    type State: Default;
    /// What comes next was completed by the event of the slot with this order. Called often: it is to cost nothing.
    fn at(&mut self, _order: u32) {}
    /// A record, in order within its connection.
    fn record(&mut self, connection: &Connection, state: &mut Self::State, record: &Record<'_>);
    /// The connection is over: both sides have ended, the later one for this reason, or the guest failed on it. `lengths`: of
    /// the sides' streams, with what of them was never seen.
    fn closed(&mut self, connection: &Connection, state: &mut Self::State, lengths: [u64; 2], reason: EndReason);
    /// Both sides of a connection of the wire have ended, the later one for this reason: nothing more comes of it, nor of what was
    /// inside it.
    fn ended(&mut self, _connection: &Connection, _reason: EndReason) {}
    /// The guest needs nothing of this side below this offset.
    fn skip(&mut self, connection: &Connection, side: Side, upto: u64);
    /// The connection has become something that the module it started with does not read: it was handed over, or a tunnel has begun.
    fn turned(&mut self, _connection: &Connection) {}
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
    /// A tunnel, which a record has just announced, begins on a connection: what is inside is a stream of its own, whose state
    /// begins here. `relay`: whose address the outer connection has where the inner one has that of the client behind it.
    fn inner(
        &mut self,
        _outer: (&Connection, &mut Self::State),
        _tunnel: Tunnel,
        _relay: Option<Endpoint>,
    ) -> Self::State {
        Self::State::default()
    }
    /// Reads one word of each cache line of what is kept of a connection, so that it is in the cache when a record comes.
    fn touch(_: &Self::State) -> u64 {
        0
    }
    /// The same of what these lines point to.
    fn touch_texts(_: &Self::State) -> u64 {
        0
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
    format: FormatRef,
    /// None after a fault, until it is needed again.
    instance: Option<Instance>,
    outcomes: CallOutcomes,
}

/// How the calls of one module went, since it was put in charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallOutcomes {
    /// Calls.
    pub calls: u64,
    /// Of these, and of attempts to start an instance, how many failed.
    pub faults: u64,
}

impl LoadedParser {
    /// `protocol`: index of its protocol.
    fn new(parser: Arc<Parser>, protocol: u8, instance: Instance) -> Self {
        let format = FormatRef { protocol, state: parser.format.state };
        Self { parser, format, instance: Some(instance), outcomes: CallOutcomes::default() }
    }

    /// The one whose connections have this format.
    fn find(all: &mut [Self], format: FormatRef) -> Option<&mut Self> {
        all.iter_mut().find(|loaded| loaded.format == format)
    }
}

/// How far a row of the slot has come.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// Key of its connection.
    key: u32,
    cursor: Cursor,
    /// Pieces of a side that may be encoded for it in one call: as many as its module asks for at first, more with each
    /// accepted event.
    window: u32,
    /// Its row in the present call, or [`NONE`].
    guest_row: u32,
}

/// Takes slots through the guest, and keeps the state of connections.
pub struct Driver<S> {
    loaded: Vec<LoadedParser>,
    keys: HashMap<u64, u32, RandomState>,
    connections: Connections<S>,
    call: Call,
    checked: Checked,
    works: Vec<Work>,
    /// So many of them were taken up.
    gathered: usize,
    /// Those of them that have work left.
    todo: Vec<u32>,
    later: Vec<u32>,
    counters: SandboxCounters,
    held: encode::Held,
    extras: Extras,
    /// Of each protocol, in the order of the call's: the format of the module in charge, and its first window.
    modules: Vec<(FormatRef, u32)>,
    closing: Vec<u32>,
    /// Of tunnels that began in the last slot; `None`: nothing is set aside.
    aside: Option<Vec<Aside>>,
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
    /// With one parser.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn new(parser: Arc<Parser>, bounds: Bounds) -> Result<Self, Fault> {
        Self::with(&[parser], bounds)
    }

    /// With one parser for each protocol. Connections start with the first.
    ///
    /// # Errors
    /// If a parser cannot be started, there is none, or there are two for one protocol.
    pub fn with(parsers: &[Arc<Parser>], bounds: Bounds) -> Result<Self, Fault> {
        let mut loaded: Vec<LoadedParser> = Vec::new();
        if parsers.is_empty() || parsers.len() > MAX_PROTOCOLS {
            return Err(Fault::Instance(format!("{} parsers: needed 1 to {MAX_PROTOCOLS}", parsers.len())));
        }
        for (index, parser) in (0..).zip(parsers) {
            let protocol = parser.format.protocol;
            if loaded.iter().any(|loaded| loaded.parser.format.protocol == protocol) {
                return Err(Fault::Instance(format!("two parsers for {protocol}")));
            }
            loaded.push(LoadedParser::new(Arc::clone(parser), index, Instance::new(parser)?));
        }
        let mut call = Call::new(bounds);
        call.protocols = loaded.iter().map(|loaded| loaded.parser.format.protocol).collect();
        Ok(Self {
            modules: loaded.iter().map(|loaded| (loaded.format, loaded.parser.first_window)).collect(),
            loaded,
            keys: HashMap::with_hasher(RandomState::default()),
            connections: Connections::default(),
            call,
            checked: Checked::default(),
            works: Vec::new(),
            gathered: 0,
            todo: Vec::new(),
            later: Vec::new(),
            counters: SandboxCounters::default(),
            held: encode::Held::default(),
            extras: Extras::default(),
            closing: Vec::new(),
            aside: None,
            timer: timer::Timer::default(),
            sample: 1,
        })
    }

    /// How many bytes of extra state connections may have in all.
    pub const fn limit_extra(&mut self, bytes: u64) {
        self.extras.set_limit(bytes);
    }

    /// Puts another parser in charge of its protocol. A parser with the state format of a parser in use takes over its
    /// connections; with another format it gets the new connections, and the old ones keep their parser until they end.
    ///
    /// # Errors
    /// If it cannot be started, is for a protocol that there was no parser for, or if too many formats are in use; then
    /// nothing has changed.
    pub fn swap(&mut self, parser: Arc<Parser>) -> Result<(), Fault> {
        let protocol = parser.format.protocol;
        let known = (0..).zip(&self.call.protocols).find(|(_, known)| **known == protocol);
        let Some((index, _)) = known else {
            return Err(Fault::Instance(format!("there was no parser for {protocol} before")));
        };
        let new = LoadedParser::new(Arc::clone(&parser), index, Instance::new(&parser)?);
        let used = |format| self.connections.iter().any(|c| c.format == format);
        let keeps = |loaded: &LoadedParser| {
            loaded.format.protocol != index || loaded.format != new.format && used(loaded.format)
        };
        let kept = self.loaded.iter().filter(|loaded| loaded.format.protocol == index && keeps(loaded));
        if kept.count() >= MAX_LOADED {
            return Err(Fault::Instance(format!("connections of {MAX_LOADED} state formats are still open")));
        }
        let keep: Vec<bool> = self.loaded.iter().map(keeps).collect();
        let mut keep = keep.into_iter();
        self.loaded.retain(|_| keep.next().unwrap_or(true));
        if let Some(module) = self.modules.get_mut(usize::from(index)) {
            *module = (new.format, parser.first_window);
        }
        // Before the older ones of its protocol: it gets new connections.
        self.loaded.insert(0, new);
        Ok(())
    }

    /// Takes only connections whose number is a multiple of `sample`; the others are not even counted.
    pub const fn sample(&mut self, sample: u64) {
        self.sample = sample;
    }

    /// From now on, where a tunnel begins the rest of its connection in the slot is set aside.
    pub fn set_aside(&mut self) {
        self.aside.get_or_insert_default();
    }

    /// What was set aside of the last slot, to be given back in a slot of its own. Its bytes have not come yet.
    pub fn take_aside(&mut self) -> Vec<Aside> {
        self.aside.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether a connection is open here.
    pub fn knows(&self, number: u64) -> bool {
        self.keys.contains_key(&number)
    }

    /// The parser of a protocol that gets new connections.
    pub fn parser(&self, protocol: Protocol) -> Option<&Arc<Parser>> {
        self.in_charge(protocol).map(|loaded| &loaded.parser)
    }

    /// How the calls of that parser went since it was put in charge.
    pub fn outcomes(&self, protocol: Protocol) -> CallOutcomes {
        self.in_charge(protocol).map(|loaded| loaded.outcomes).unwrap_or_default()
    }

    /// The protocols that it has parsers for. Connections start with the first.
    pub fn protocols(&self) -> &[Protocol] {
        &self.call.protocols
    }

    fn in_charge(&self, protocol: Protocol) -> Option<&LoadedParser> {
        self.loaded.iter().find(|loaded| loaded.parser.format.protocol == protocol)
    }

    /// What happened so far.
    pub fn counters(&self) -> SandboxCounters {
        let (connections, inner) = (self.keys.len() as u64, self.connections.len() - self.keys.len());
        SandboxCounters {
            connections,
            inner: inner as u64,
            held: self.held.bytes,
            extra: self.extras.bytes(),
            ..self.counters
        }
    }

    /// Bytes of memory held for connections, waiting bytes included.
    pub fn memory(&self) -> u64 {
        let connection = size_of::<ConnectionState<S>>() + 2 * size_of::<(u64, u32)>();
        self.held.memory + self.extras.bytes() + (self.connections.len() * connection) as u64
    }

    /// Takes the events of a slot through the guest, until the receiver stops it. Returns whether it was all of them.
    pub fn process<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R) -> bool {
        self.timer = timer::Timer::default();
        self.bind(slot);
        while let Some(format) = self.next_format(slot, receiver) {
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
    fn charge_call<R: Receiver<State = S>>(&mut self, bad: bool, format: FormatRef, receiver: &mut R) -> bool {
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
        self.bind(slot);
        while self.gather(slot, receiver) {}
        for at in 0..self.works.len() {
            let Some(work) = self.works.get(at).copied() else { continue };
            let dropped = self.pass_over(slot, work.key, work.cursor, receiver);
            self.counters.dropped += dropped;
        }
        self.todo.clear();
    }

    fn connection(&mut self, key: u32) -> Option<&mut ConnectionState<S>> {
        self.connections.get_mut(key)
    }

    /// Frees a connection.
    fn forget(&mut self, key: u32) {
        let Some(connection) = self.connections.remove(key) else { return };
        if connection.outer.is_none() {
            self.keys.remove(&connection.info.number);
        }
        if let Some(extra) = &connection.extra {
            self.extras.remove(extra);
        }
        for half in connection.halves {
            if let Some(waiting) = half.waiting {
                self.held.release(&waiting);
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
                What::Skipped { .. } | What::Shed { .. } => {}
                What::End(reason) => {
                    receiver.at(event.order);
                    self.end(key, event.side, reason, receiver);
                }
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
            let mut closing = Vec::new();
            self.connections.close(key, reason, receiver, &mut closing);
            for key in closing {
                self.forget(key);
            }
        }
    }
}
