//! A worker owns a sandbox: slots come in, log lines go out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Queue, Sender, TrySendError};

use super::shared::{Shared, WorkerCounters};
use crate::batch::Slot;
use crate::clock::{nanoseconds, now};
use crate::daemon::shutdown::Shutdown;
use crate::export::Format;
use crate::export::metrics::Observer;
use crate::export::summary::Summary;
use crate::http::filter::Selection;
use crate::http::record::Record;
use crate::http::{Exchange, HttpContext, Transaction};
use crate::sandbox::budget::Budget;
use crate::sandbox::driver::{self, Driver, Receiver};
use crate::sandbox::fault::Fault;
use crate::sandbox::quarantine::QuarantinedEvent;
use crate::sandbox::shadow::Shadow;
use crate::stream::{Connection, ConnectionId, EndReason, Side};

/// Says that nothing of a side is needed below an offset. On its way to whoever produces the stream; may be lost, which costs
/// speed only.
#[derive(Debug, Clone, Copy)]
pub struct SkipHint {
    /// The connection.
    pub id: ConnectionId,
    /// The side.
    pub side: Side,
    /// The offset.
    pub upto: u64,
}

/// Where a worker's lines and words go.
pub struct Ends {
    /// Slots to parse.
    pub slots: Queue<Box<Slot>>,
    /// Slots that are done with.
    pub empty: Sender<Box<Slot>>,
    /// Words for each capture thread. May lose: that costs speed only.
    pub skips: Vec<Sender<SkipHint>>,
    /// Lines.
    pub lines: Sender<Vec<u8>>,
    /// Buffers for lines, used before.
    pub buffers: Queue<Vec<u8>>,
    /// Quarantined events.
    pub quarantined: Sender<QuarantinedEvent>,
}

/// What a worker makes of transactions.
pub struct WorkerOutputs {
    /// Puts them together.
    pub context: HttpContext,
    /// Which are logged.
    pub selection: Selection,
    /// Makes lines of them.
    pub format: Box<dyn Format>,
    /// Counts them.
    pub observer: Option<Observer>,
    /// Sums them up.
    pub summary: Option<Box<Summary>>,
    /// A second parser.
    pub shadow: Option<Shadow>,
}

/// How a worker is to behave.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Which worker it is.
    pub place: usize,
    /// Faults a second after which slots are dropped for the rest of it; 0: never.
    pub fault_limit: u32,
    /// Time that faults may take in a second.
    pub fault_time: Duration,
    /// Whether lines may wait for the export thread: live, they are dropped and counted instead.
    pub lossless: bool,
    /// The request to stop.
    pub shutdown: Shutdown,
}

/// Bytes of lines that are handed over at once while more slots wait.
const GATHER: usize = 128 << 10;
/// Bytes of lines that are handed over at once in the middle of a slot: what a parser makes of a slot has no bound of its own.
const MOST_LINES: usize = 1 << 20;

struct WorkerState {
    outputs: WorkerOutputs,
    out: Vec<u8>,
    lines: Sender<Vec<u8>>,
    buffers: Queue<Vec<u8>>,
    /// The export thread is gone.
    alone: bool,
    skips: Vec<Sender<SkipHint>>,
    quarantined: Sender<QuarantinedEvent>,
    counters: WorkerCounters,
    budget: FaultBudget,
    options: WorkerOptions,
    shared: Arc<Shared>,
    /// The driver's memory and the length of the queue, as they were before the slot at hand.
    before: (u64, usize),
}

/// Takes slots until no more come.
pub fn work(
    mut driver: Driver<Exchange>,
    outputs: WorkerOutputs,
    ends: Ends,
    shared: &Arc<Shared>,
    options: WorkerOptions,
) {
    let Ends { slots, empty, skips, lines, buffers, quarantined } = ends;
    let place = options.place;
    let mut worker = WorkerState {
        outputs,
        out: Vec::new(),
        lines,
        buffers,
        alone: false,
        skips,
        quarantined,
        counters: WorkerCounters::default(),
        budget: FaultBudget::new(&options),
        options,
        shared: Arc::clone(shared),
        before: (0, 0),
    };
    let mut trial = Trial { generation: shared.generation(), ..Trial::default() };
    for slot in &slots {
        let started = now();
        shared.health.slot(place);
        trial.follow(&mut driver, shared, place);
        let before = driver.counters().faults;
        // After a stop was asked for, what is left of the present second is all that faults may take.
        let going_on = (!worker.options.shutdown.asked()).then_some(started);
        if worker.budget.spent(going_on) {
            driver.discard(&slot, &mut worker);
        } else {
            driver.process(&slot, &mut worker);
            let faults = driver.counters().faults - before;
            worker.budget.add(faults);
            trial.judge(faults, shared, place);
        }
        if let Some(shadow) = &mut worker.outputs.shadow {
            shadow.process(&slot, going_on);
            worker.counters.shadow = shadow.counters;
        }
        if let Some(observer) = &mut worker.outputs.observer {
            observer.flush();
        }
        worker.counters.figures.busy += nanoseconds(started.elapsed());
        shared.health.slot(place);
        // The other end is gone only when the capture has ended.
        drop(empty.try_send(slot));
        worker.before = (driver.memory(), slots.len());
        worker.publish(&driver.counters());
        // While more slots wait, lines are gathered: each hand-over wakes the export thread.
        if worker.out.len() >= GATHER || (slots.is_empty() && !worker.out.is_empty()) {
            worker.hand_over();
        }
        if worker.alone {
            break;
        }
    }
    // Whoever waits for room in the queue of a worker that stopped early would wait for ever.
    drop(slots);
    shared.publish_worker(place, &worker.counters, driver.memory(), 0);
    if let Some(summary) = &worker.outputs.summary {
        shared.add_summary(summary);
    }
}

/// How many faults a worker may have in a second, and how much of it they may take.
#[derive(Debug)]
struct FaultBudget {
    /// Faults a second; 0: any number.
    limit: u64,
    faults: u64,
    time: Budget,
    lossless: bool,
    place: usize,
    said: bool,
}

impl FaultBudget {
    const fn new(options: &WorkerOptions) -> Self {
        Self {
            limit: options.fault_limit as u64,
            faults: 0,
            time: Budget::new(options.fault_time),
            lossless: options.lossless,
            place: options.place,
            said: false,
        }
    }

    /// Whether a slot that comes now is to be dropped. `now`: none when the run is to end.
    fn spent(&mut self, now: Option<Instant>) -> bool {
        if let Some(now) = now {
            if self.time.turn(now) {
                self.faults = 0;
            }
            // What waits in a file waits for as long as it must.
            if self.lossless {
                self.time.renew();
            }
        }
        self.time.is_spent() || self.too_many()
    }

    const fn too_many(&self) -> bool {
        self.limit != 0 && self.faults >= self.limit
    }

    fn add(&mut self, faults: u64) {
        self.faults += faults;
        if self.too_many() {
            self.say("many", "--fault-limit 0 goes on at any price");
        }
    }

    /// Whether any time is left.
    fn charge(&mut self, time: Duration) -> bool {
        self.time.charge(time);
        if self.time.is_spent() {
            self.say("slow", "--fault-time gives them more");
        }
        !self.time.is_spent()
    }

    fn say(&mut self, how: &str, advice: &str) {
        if self.said {
            return;
        }
        self.said = true;
        let rest = if self.lossless { "the rest of the slot" } else { "what comes for the rest of the second" };
        eprintln!(
            "picotap: sandbox {}: the parser's faults are too {how}: dropping {rest}, here and whenever it happens again \
             (counted as backed_off; {advice})",
            self.place
        );
    }
}

/// Slots after which a new parser is no longer on trial. An arbitrary number.
const TRIAL_SLOTS: u32 = 64;

/// Follows changes of parsers, and has one rolled back that faults more than the one before.
#[derive(Debug, Default)]
struct Trial {
    generation: u64,
    /// Slots since the change, as far as they count.
    slots: u32,
    /// Faults in them.
    faults: u64,
    /// Faults in the [`TRIAL_SLOTS`] slots before, at the most.
    before: u64,
    on: bool,
}

impl Trial {
    /// Takes the parser in charge, if it is another than before.
    fn follow(&mut self, driver: &mut Driver<Exchange>, shared: &Shared, place: usize) {
        if shared.generation() == self.generation {
            return;
        }
        let (generation, parser, before) = shared.parser();
        self.generation = generation;
        if let Err(fault) = driver.swap(parser) {
            eprintln!("picotap: sandbox {place} keeps its parser: {fault}");
            return;
        }
        // After a roll-back there is nothing to go back to, and nothing to judge.
        *self = Self { generation, before: self.faults, on: before.is_some(), ..Self::default() };
    }

    fn judge(&mut self, faults: u64, shared: &Shared, place: usize) {
        if self.slots >= TRIAL_SLOTS {
            *self = Self { generation: self.generation, ..Self::default() };
        }
        self.slots += 1;
        self.faults += faults;
        if self.on && self.faults > self.before {
            self.on = false;
            if shared.roll_back(self.generation) {
                eprintln!(
                    "picotap: the new parser faulted {} times in its first {} batches in sandbox {place}, the old one {} times: \
                     the old one is back",
                    self.faults, self.slots, self.before
                );
            }
        }
    }
}

impl WorkerState {
    /// Hands lines over to the export thread.
    fn hand_over(&mut self) {
        let next = self.buffers.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.out, next);
        if self.options.lossless {
            self.alone |= self.lines.send(full).is_err();
            return;
        }
        match self.lines.try_send(full) {
            Ok(()) => {}
            Err(TrySendError::Full(full)) => {
                self.counters.figures.lines_unsent += memchr::memchr_iter(b'\n', &full).count() as u64;
            }
            Err(TrySendError::Disconnected(_)) => self.alone = true,
        }
    }

    /// Shows what was counted. `sandbox`: the driver's counters.
    fn publish(&mut self, sandbox: &driver::SandboxCounters) {
        let held = self.outputs.context.held() as u64;
        self.counters.sandbox = *sandbox;
        self.counters.http = self.outputs.context.counters;
        self.counters.figures.open_bytes = held;
        let (memory, queued) = self.before;
        self.shared.publish_worker(self.options.place, &self.counters, memory + held, queued);
    }

    /// The context, and what is done with each transaction that it completes.
    fn parts(&mut self) -> (&mut HttpContext, impl FnMut(&Transaction)) {
        let WorkerOutputs { context, selection, format, observer, summary, .. } = &mut self.outputs;
        let out = &mut self.out;
        let finish = move |transaction: &Transaction| {
            if let Some(observer) = observer {
                observer.observe(transaction);
            }
            if let Some(summary) = summary {
                summary.add(transaction);
            }
            if selection.takes(transaction) {
                format.line(transaction, out);
            }
        };
        (context, finish)
    }
}

impl Receiver for WorkerState {
    type State = Exchange;

    fn record(&mut self, connection: &Connection, state: &mut Exchange, record: &Record<'_>) {
        if let Some(shadow) = &mut self.outputs.shadow {
            shadow.first(connection, record);
        }
        let (context, mut finish) = self.parts();
        state.record(context, connection, record, &mut finish);
        drop(finish);
        if self.out.len() >= MOST_LINES {
            self.hand_over();
        }
    }

    fn closed(&mut self, connection: &Connection, state: &mut Exchange, reason: EndReason) {
        let (context, mut finish) = self.parts();
        state.close(context, connection, reason, &mut finish);
    }

    fn skip(&mut self, connection: &Connection, side: Side, upto: u64) {
        let hint = SkipHint { id: connection.id(), side, upto };
        let hints = self.skips.get(usize::from(connection.producer));
        if hints.is_none_or(|hints| hints.try_send(hint).is_err()) {
            self.counters.figures.skips_unsent += 1;
        }
    }

    fn quarantine(&mut self, quarantined: &QuarantinedEvent) {
        if self.quarantined.try_send(quarantined.clone()).is_err() {
            self.counters.figures.quarantine_unsent += 1;
        }
    }

    fn touch(state: &Exchange) -> u64 {
        state.touch()
    }

    fn fault(&mut self, fault: &Fault) {
        let at = crate::sandbox::fault::NAMES.iter().position(|name| *name == fault.name());
        if let Some(count) = at.and_then(|at| self.counters.figures.faults.get_mut(at)) {
            *count += 1;
        }
    }

    fn lost(&mut self, time: Duration, counters: &driver::SandboxCounters) -> bool {
        self.shared.health.still(self.options.place);
        let go_on = self.budget.charge(time) && !self.alone;
        // A scrape is not to wait for the end of a slot that is all faults. What of it is still to come has no account yet.
        let (into, out) = counters.balance();
        self.publish(&driver::SandboxCounters { pending: into.saturating_sub(out), ..*counters });
        go_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(fault_limit: u32, lossless: bool) -> FaultBudget {
        let (fault_time, shutdown) = (Duration::from_millis(500), Shutdown::default());
        FaultBudget::new(&WorkerOptions { place: 0, fault_limit, fault_time, lossless, shutdown })
    }

    #[test]
    fn a_worker_backs_off_for_the_rest_of_a_second_with_too_many_faults() {
        for lossless in [true, false] {
            let (mut budget, start) = (budget(3, lossless), now());
            assert!(!budget.spent(Some(start)));
            budget.add(2);
            assert!(!budget.spent(Some(start)));
            budget.add(1);
            assert!(budget.spent(Some(start + Duration::from_millis(999))));
            assert!(!budget.spent(Some(start + Duration::from_secs(1))));
        }
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let (mut budget, start) = (budget(0, true), now());
        assert!(!budget.spent(Some(start)));
        budget.add(u64::from(u32::MAX));
        assert!(!budget.spent(Some(start)));
    }

    #[test]
    fn faults_that_take_long_cost_the_second_live_and_the_slot_of_a_file() {
        for lossless in [true, false] {
            let (mut budget, start) = (budget(0, lossless), now());
            assert!(!budget.spent(Some(start)));
            assert!(budget.charge(Duration::from_millis(499)));
            assert!(!budget.charge(Duration::from_millis(1)));
            assert_eq!(budget.spent(Some(start + Duration::from_millis(999))), !lossless);
            assert!(!budget.spent(Some(start + Duration::from_secs(1))));
        }
    }

    #[test]
    fn when_the_run_is_to_end_nothing_is_renewed() {
        for lossless in [true, false] {
            let mut budget = budget(0, lossless);
            assert!(!budget.spent(Some(now())) && !budget.spent(None));
            assert!(!budget.charge(Duration::from_millis(500)));
            assert!(budget.spent(None) && budget.spent(None));
        }
    }
}
