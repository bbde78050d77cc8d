//! A worker owns a sandbox, and takes slots through it, in a thread of its [pool](super::pool).
//!
//! A slot goes through these stages, one after the other: the first in `Worker::slot`, or in `Worker::release` for what waited, the
//! others in `Worker::process`:
//!
//! 1. What is encrypted is opened, where secrets are known: the events of TLS connections become those of their plaintext, so
//!    that everything behind it sees the same. TLS connections that have ended go to the consumers. Slots that are dropped are
//!    opened as well, since what is known of a connection must not have holes. What waits for secrets comes out of it later, in a
//!    slot of the worker's own.
//! 2. The driver takes it through the parser, or drops its payload while the fault budget is spent. Transactions are made of the
//!    parser's records, and go to the consumers.
//! 3. The shadow, a second parser, sees the same slot.
//!
//! Then the slot goes back to its capture thread, the counters are published, and the consumers are flushed. A slot may hold
//! nothing: it tells the consumers how far its capture thread has come.

mod fault_budget;
mod trial;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Queue, Sender, never};

use self::fault_budget::FaultBudget;
use self::trial::Trials;
use super::keep::Keeper;
use super::quarantine::Condemned;
use super::shared::{Shared, WorkerCounters};
use crate::abi::Tunnel;
use crate::batch::Slot;
use crate::clock::{nanoseconds, now};
use crate::daemon::shutdown::Shutdown;
use crate::export::consumer::Consumer;
use crate::http::record::Record;
use crate::http::{Exchange, HttpContext, Transaction};
use crate::sandbox::driver::{self, Aside, Driver, Receiver};
use crate::sandbox::fault::Fault;
use crate::sandbox::quarantine::QuarantinedEvent;
use crate::sandbox::shadow::Shadow;
use crate::stream::{Connection, ConnectionId, EndReason, Endpoint, Side, Span};
use crate::tls::NameFilter;
use crate::tls::stage::{Opening, Patience};

/// While something waits for secrets, the time after which these are looked up again if no slot comes.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Says that nothing of a side is needed below an offset. It goes to whoever produces the stream, and may be lost, which costs
/// speed only.
#[derive(Debug, Clone, Copy)]
pub struct SkipHint {
    /// The connection.
    pub id: ConnectionId,
    /// The side.
    pub side: Side,
    /// The first offset that may be needed.
    pub upto: u64,
}

/// What a worker tells a capture thread.
#[derive(Debug, Clone, Copy)]
pub enum Hint {
    /// What is not needed.
    Skip(SkipHint),
    /// A connection has become something that cannot do without parts of it, such as HTTP/2. That this may be lost costs, under
    /// load, what is shed of it.
    Whole(ConnectionId),
}

/// A worker's ends of the channels to other threads.
pub struct WorkerQueues {
    /// Slots to parse.
    pub slots: Queue<Box<Slot>>,
    /// Slots that were parsed, to be filled again.
    pub empty: Sender<Box<Slot>>,
    /// Hints, by the number of the capture thread. A full queue loses some.
    pub skips: Vec<Sender<Hint>>,
    /// Quarantined events.
    pub quarantined: Sender<Condemned>,
}

/// What becomes of a worker's records.
pub struct WorkerOutputs {
    /// Makes transactions of them; shared by all connections.
    pub context: HttpContext,
    /// Take each transaction, in this order.
    pub consumers: Vec<Box<dyn Consumer>>,
    /// Says of which connections packets are kept.
    pub keeper: Option<Keeper>,
    /// A second parser, whose records are compared with them.
    pub shadow: Option<Shadow>,
}

/// How a worker is to behave.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Number of the worker, from 0.
    pub index: usize,
    /// Faults a second after which slots are dropped for the rest of it; 0: never.
    pub fault_limit: u32,
    /// Time that faults may take in a second.
    pub fault_time: Duration,
    /// Of TLS connections, those are opened whose server's name fits all of these.
    pub tls_filters: Vec<NameFilter>,
    /// Whether the input waits (files): then nothing is dropped because it comes too fast.
    pub lossless: bool,
    /// How long TLS connections wait for secrets.
    pub patience: Patience,
    /// The request to stop.
    pub shutdown: Shutdown,
}

/// A worker, which one thread at a time runs.
pub struct Worker {
    driver: Driver<Exchange>,
    trials: Trials,
    results: Results,
    slots: Queue<Box<Slot>>,
    empty: Sender<Box<Slot>>,
    /// For what waited for secrets.
    released: Slot,
    /// Of the last slot.
    span: Span,
    /// When it began, from which the time of [`Opening`] counts.
    began: Instant,
}

impl Worker {
    /// With a sandbox that has parsed nothing yet.
    #[must_use]
    pub fn new(
        mut driver: Driver<Exchange>,
        mut outputs: WorkerOutputs,
        queues: WorkerQueues,
        shared: Arc<Shared>,
        options: WorkerOptions,
    ) -> Self {
        let WorkerQueues { slots, empty, skips, quarantined } = queues;
        driver.set_aside();
        outputs.shadow.iter_mut().for_each(Shadow::set_aside);
        let results = Results {
            opening: Opening::patient(options.patience).only(options.tls_filters.clone()),
            outputs,
            skips,
            quarantined,
            counters: WorkerCounters::default(),
            budget: FaultBudget::new(&options),
            options,
            shared,
            start: 0,
            before: (0, 0),
        };
        let trials = Trials::new(driver.protocols());
        let (released, span, began) = (Slot::default(), Span::default(), now());
        Self { driver, trials, results, slots, empty, released, span, began }
    }

    /// Whether something waits for secrets.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.results.opening.waits()
    }

    /// Takes the next slot through its stages. None: nobody takes what is made of it, and it has ended.
    #[must_use]
    pub fn turn(mut self: Box<Self>) -> Option<Box<Self>> {
        let slot = self.slots.try_recv();
        debug_assert!(slot.is_ok(), "a worker is run once for each slot that it was given");
        if let Ok(mut slot) = slot {
            let started = now();
            let index = self.results.options.index;
            self.results.shared.health.slot(index);
            self.release(Some(slot.span), started, false);
            self.slot(&mut slot, started);
            self.results.counters.figures.busy += nanoseconds(started.elapsed());
            self.results.shared.health.slot(index);
            // The other end is gone only when the capture has ended.
            drop(self.empty.try_send(slot));
            let waiting = self.slots.len();
            self.publish(waiting);
            // Last, since a consumer may wait: by then the slot is back and what was counted is published.
            self.results.flush(waiting > 0);
        }
        self.read()
    }

    /// Looks for the secrets that something waits for. None: it has ended, as in [`turn`](Self::turn).
    #[must_use]
    pub fn look_again(mut self: Box<Self>) -> Option<Box<Self>> {
        self.release(None, now(), false);
        self.read()
    }

    /// Goes on if somebody takes what is made of slots.
    fn read(self: Box<Self>) -> Option<Box<Self>> {
        if self.results.has_readers() {
            return Some(self);
        }
        self.end();
        None
    }

    /// Ends: no slot comes any more, or nobody takes what is made of them.
    pub fn end(mut self: Box<Self>) {
        // A capture thread that waits for room in the queue of a worker that stopped early would wait for ever.
        self.slots = never();
        self.wait_for_secrets();
        self.close();
    }

    /// Takes a slot through its stages.
    fn slot(&mut self, slot: &mut Slot, now: Instant) {
        let since = self.since(now);
        self.span = slot.span;
        if let Some(speakers) = &mut self.results.outputs.context.speakers {
            speakers.begin_slot(slot.begun.iter(), slot.rows.iter().map(|row| &row.connection));
        }
        let Results { opening, shared, .. } = &mut self.results;
        opening.expect_keys(shared.decrypts());
        opening.open(slot, &shared.keys(), since);
        self.parse(slot, now);
    }

    fn since(&self, now: Instant) -> i64 {
        i64::try_from(nanoseconds(now.saturating_duration_since(self.began))).unwrap_or(i64::MAX)
    }

    /// Takes what waits for secrets no longer through the stages behind the first. `next`: events that come behind it. `last`: it
    /// is all that comes.
    fn release(&mut self, next: Option<Span>, now: Instant, last: bool) {
        let since = self.since(now);
        let mut slot = std::mem::take(&mut self.released);
        loop {
            let Results { opening, shared, .. } = &mut self.results;
            if !opening.waits() {
                break;
            }
            if !opening.release(&mut slot, &shared.keys(), since, last) {
                break;
            }
            // Its lines come before those of the next slot, or with the last events.
            slot.span = match next {
                Some(next) => Span { end: next.start, ..next },
                None => Span { start: self.span.end.saturating_sub(1), ..self.span },
            };
            self.parse(&slot, now);
            // As many slots wait as before.
            let (_, queued) = self.results.before;
            self.publish(queued);
            self.results.flush(next.is_some());
        }
        self.released = slot;
    }

    /// No slot comes any more. What waits does so as long as it may, since its secrets may still come: live.
    fn wait_for_secrets(&mut self) {
        while self.results.opening.waits() && self.results.has_readers() {
            let last = self.results.options.lossless;
            self.release(None, now(), last);
            if !last && self.results.opening.waits() {
                std::thread::sleep(LOOK_AGAIN);
            }
        }
    }

    /// Takes a slot of plaintext through the parser, and what is inside tunnels that begin in it.
    fn parse(&mut self, slot: &Slot, now: Instant) {
        let results = &mut self.results;
        results.start = slot.span.start;
        results.outputs.consumers.iter_mut().for_each(|consumer| consumer.slot(slot.span));
        results.tell_tls();
        self.process(slot, now);
        let mut aside = self.driver.take_aside();
        // Each tunnel inside another is deeper, and depth is bounded.
        while !aside.is_empty() {
            let mut inside = Slot::default();
            inside.span = slot.span;
            let since = self.since(now);
            let Results { opening, shared, .. } = &mut self.results;
            let keys = shared.keys();
            for Aside { connection, depth, base, events } in aside {
                opening.begin_inner((&connection, depth, base), events, &mut inside, &keys, since);
            }
            drop(keys);
            self.results.tell_tls();
            self.process(&inside, now);
            aside = self.driver.take_aside();
        }
    }

    /// Takes a slot through the driver and the shadow.
    fn process(&mut self, slot: &Slot, now: Instant) {
        let Self { driver, trials, results, .. } = self;
        let Results { shared, options, .. } = results;
        let (shared, index) = (Arc::clone(shared), options.index);
        // After a stop was asked for, what is left of the present second is all that faults may take.
        let now = (!options.shutdown.asked()).then_some(now);
        trials.follow(driver, results.outputs.shadow.as_mut(), &shared, index);
        if results.budget.spent(now) {
            driver.discard(slot, results);
        } else {
            let before = driver.counters().faults;
            driver.process(slot, results);
            let faults = driver.counters().faults - before;
            results.budget.add(faults);
            trials.judge(driver, &shared, index);
        }
        if let Some(shadow) = &mut results.outputs.shadow {
            shadow.process(slot, now);
            results.counters.shadow = shadow.counters;
        }
    }

    /// Publishes what was counted, while so many slots wait.
    fn publish(&mut self, queued: usize) {
        self.results.before = (self.driver.memory() + self.results.opening.memory(), queued);
        self.results.publish(&self.driver.counters());
    }

    /// Publishes what was counted, and ends the consumers.
    fn close(self: Box<Self>) {
        let Self { results, driver, .. } = *self;
        let Results { outputs, counters, options, shared, opening, .. } = results;
        shared.publish_worker(options.index, &counters, driver.memory() + opening.memory(), 0);
        outputs.consumers.into_iter().for_each(|consumer| consumer.close());
    }
}

/// Takes what the driver gives.
struct Results {
    /// Stage 1.
    opening: Opening,
    outputs: WorkerOutputs,
    skips: Vec<Sender<Hint>>,
    quarantined: Sender<Condemned>,
    counters: WorkerCounters,
    budget: FaultBudget,
    options: WorkerOptions,
    shared: Arc<Shared>,
    /// Number of the first event of the slot at hand.
    start: u64,
    /// The driver's memory and the length of the queue, as they were before the slot at hand.
    before: (u64, usize),
}

impl Results {
    fn has_readers(&self) -> bool {
        self.outputs.consumers.iter().all(|consumer| consumer.has_reader())
    }

    /// Tells the consumers of the TLS connections that ended in the slot at hand. Where there are no secrets, nothing is needed of
    /// what is not read; where there are, its bytes are counted by the reason.
    fn tell_tls(&mut self) {
        let WorkerOutputs { context, consumers, keeper, .. } = &mut self.outputs;
        for closed in self.opening.closed() {
            let connection = context.tls(closed, self.start);
            if let Some(keeper) = keeper {
                keeper.tls(&connection);
            }
            consumers.iter_mut().for_each(|consumer| consumer.tls(&connection));
        }
        let decrypts = self.shared.decrypts();
        for (connection, side) in self.opening.dark().filter(|_| !decrypts) {
            let hint = Hint::Skip(SkipHint { id: connection.id(), side, upto: u64::MAX });
            self.counters.figures.skips_unsent += u64::from(!hinted(&self.skips, &connection, hint));
        }
    }

    /// Ends a slot for the consumers. `more`: another one waits.
    fn flush(&mut self, more: bool) {
        let Self { outputs, opening, shared, .. } = self;
        if let Some(keeper) = &mut outputs.keeper {
            keeper.flush(opening, || shared.keys());
        }
        self.outputs.consumers.iter_mut().for_each(|consumer| consumer.flush(more));
    }

    /// Publishes what was counted. `sandbox`: the driver's counters.
    fn publish(&mut self, sandbox: &driver::SandboxCounters) {
        let held = self.outputs.context.held() as u64;
        self.counters.tls = *self.opening.counters();
        self.counters.sandbox = *sandbox;
        self.counters.http = self.outputs.context.counters;
        self.counters.processes =
            self.outputs.context.speakers.as_ref().map(|speakers| speakers.counters).unwrap_or_default();
        self.counters.figures.open_bytes = held;
        let (memory, queued) = self.before;
        self.shared.publish_worker(self.options.index, &self.counters, memory + held, queued);
    }

    /// The context, and what is done with each transaction that it completes.
    fn parts(&mut self) -> (&mut HttpContext, impl FnMut(&Transaction)) {
        let WorkerOutputs { context, consumers, keeper, .. } = &mut self.outputs;
        let finish = |transaction: &Transaction| {
            if let Some(keeper) = &mut *keeper {
                keeper.transaction(transaction);
            }
            consumers.iter_mut().for_each(|consumer| consumer.transaction(transaction));
        };
        (context, finish)
    }
}

/// Sends a hint to the capture thread of its connection; whether there was room.
fn hinted(skips: &[Sender<Hint>], connection: &Connection, hint: Hint) -> bool {
    let hints = skips.get(usize::from(connection.producer));
    debug_assert!(hints.is_some(), "each capture thread has a queue for skip hints");
    hints.is_some_and(|hints| hints.try_send(hint).is_ok())
}

impl Receiver for Results {
    type State = Exchange;

    fn at(&mut self, order: u32) {
        self.outputs.context.completed = self.start + u64::from(order);
    }

    fn record(&mut self, connection: &Connection, state: &mut Exchange, record: &Record<'_>) {
        if let Some(shadow) = &mut self.outputs.shadow {
            shadow.first(connection, record);
        }
        self.outputs.context.secure(connection, record, &self.opening);
        let (context, mut finish) = self.parts();
        state.record(context, connection, record, &mut finish);
    }

    fn closed(&mut self, connection: &Connection, state: &mut Exchange, lengths: [u64; 2], reason: EndReason) {
        let (context, mut finish) = self.parts();
        state.close(context, connection, lengths, reason, &mut finish);
        // What is inside of a tunnel ends before the connection that carries it.
        if let Some(speakers) = context.speakers.as_mut().filter(|_| connection.depth() == 0) {
            speakers.forget(connection.number);
        }
    }

    fn ended(&mut self, connection: &Connection, reason: EndReason) {
        if let Some(keeper) = &mut self.outputs.keeper {
            keeper.ended(connection, reason);
        }
    }

    fn inner(
        &mut self,
        (outer, state): (&Connection, &mut Exchange),
        tunnel: Tunnel,
        relay: Option<Endpoint>,
    ) -> Exchange {
        state.inner(&mut self.outputs.context, outer, tunnel, relay)
    }

    fn skip(&mut self, connection: &Connection, side: Side, upto: u64) {
        if self.opening.reads(connection) {
            return;
        }
        let hint = Hint::Skip(SkipHint { id: connection.id(), side, upto });
        self.counters.figures.skips_unsent += u64::from(!hinted(&self.skips, connection, hint));
    }

    fn turned(&mut self, connection: &Connection) {
        hinted(&self.skips, connection, Hint::Whole(connection.id()));
    }

    fn quarantine(&mut self, quarantined: &QuarantinedEvent) {
        let decrypted = self.opening.has_opened(quarantined.connection);
        let condemned = Condemned { event: quarantined.clone(), decrypted };
        if self.quarantined.try_send(condemned).is_err() {
            self.counters.figures.quarantine_unsent += 1;
        }
    }

    fn touch(state: &Exchange) -> u64 {
        state.touch()
    }

    fn touch_texts(state: &Exchange) -> u64 {
        state.touch_texts()
    }

    fn fault(&mut self, fault: &Fault) {
        let at = crate::sandbox::fault::NAMES.iter().position(|name| *name == fault.name());
        let count = at.and_then(|at| self.counters.figures.faults.get_mut(at));
        debug_assert!(count.is_some(), "each fault has a counter of its name");
        if let Some(count) = count {
            *count += 1;
        }
    }

    fn lost(&mut self, time: Duration, counters: &driver::SandboxCounters) -> bool {
        self.shared.health.still(self.options.index);
        let go_on = self.budget.charge(time) && self.has_readers();
        // A scrape is not to wait for the end of a slot that is all faults. What is still to come of it has no account yet.
        let (into, out) = counters.balance();
        self.publish(&driver::SandboxCounters { pending: into.saturating_sub(out), ..*counters });
        go_on
    }
}

#[cfg(test)]
pub(super) mod tests;
