//! A worker owns a sandbox: slots come in, log lines go out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Queue, Sender};

use super::clock::{nanoseconds, now};
use super::shared::{Shared, WorkerCounters};
use crate::batch::{Facts, Slot};
use crate::export::Format;
use crate::export::metrics::Observer;
use crate::export::summary::Summary;
use crate::flow::EndReason;
use crate::http::record::Record;
use crate::http::select::Selection;
use crate::http::{CloseReason, Desk, Exchange, Transaction};
use crate::sandbox::driver::{Closed, Driver, Receiver};
use crate::sandbox::fault::Fault;
use crate::sandbox::quarantine::Poison;
use crate::sandbox::shadow::Shadow;

/// The guest's word that a side holds nothing it needs below an offset, on its way to the capture thread.
#[derive(Debug, Clone, Copy)]
pub struct Skip {
    /// Place in the flow table.
    pub index: u32,
    /// Number of the connection that the word was about.
    pub number: u64,
    /// The side, 0 or 1.
    pub side: u8,
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
    pub skips: Vec<Sender<Skip>>,
    /// Lines.
    pub lines: Sender<Vec<u8>>,
    /// Buffers for lines, used before.
    pub buffers: Queue<Vec<u8>>,
    /// Poisonous events.
    pub poison: Sender<Poison>,
}

/// What a worker makes of transactions.
pub struct Clerk {
    /// Puts them together.
    pub desk: Desk,
    /// Which are logged.
    pub selection: Selection,
    /// As what.
    pub format: Box<dyn Format>,
    /// Counts them.
    pub observer: Option<Observer>,
    /// Sums them up.
    pub summary: Option<Box<Summary>>,
    /// A second parser.
    pub shadow: Option<Shadow>,
}

/// How a worker is to behave.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// Which worker it is.
    pub place: usize,
    /// Faults a second after which slots are dropped for the rest of it; 0: never.
    pub fault_limit: u32,
    /// Whether lines may wait for the export thread: live, they are dropped and counted instead.
    pub lossless: bool,
}

/// Bytes of lines that are handed over at once while more slots wait.
const GATHER: usize = 128 << 10;

struct Office {
    clerk: Clerk,
    out: Vec<u8>,
    skips: Vec<Sender<Skip>>,
    poison: Sender<Poison>,
    counters: WorkerCounters,
}

/// Takes slots until no more come.
pub fn work(mut driver: Driver<Exchange>, clerk: Clerk, ends: Ends, shared: &Arc<Shared>, manners: Manners) {
    let Ends { slots, empty, skips, lines, buffers, poison } = ends;
    let mut office = Office { clerk, out: Vec::new(), skips, poison, counters: WorkerCounters::default() };
    let mut budget = Budget::default();
    let mut trial = Trial { generation: shared.generation(), ..Trial::default() };
    for slot in &slots {
        let started = now();
        shared.health.slot(manners.place);
        trial.follow(&mut driver, shared, manners.place);
        let before = driver.counters().faults;
        if budget.spent(started, manners.fault_limit) {
            driver.discard(&slot, &mut office);
        } else {
            driver.process(&slot, &mut office);
            let faults = driver.counters().faults - before;
            budget.add(faults, manners);
            trial.judge(faults, shared, manners.place);
        }
        if let Some(shadow) = &mut office.clerk.shadow {
            shadow.process(&slot);
            office.counters.shadow = shadow.counters;
        }
        if let Some(observer) = &mut office.clerk.observer {
            observer.flush();
        }
        office.counters.figures.busy += nanoseconds(started.elapsed());
        shared.health.slot(manners.place);
        // The other end is gone only when the capture has ended.
        drop(empty.try_send(slot));
        office.counters.sandbox = driver.counters();
        office.counters.http = office.clerk.desk.counters;
        office.counters.figures.open_bytes = office.clerk.desk.held() as u64;
        let memory = driver.memory() + office.clerk.desk.held() as u64;
        shared.publish_worker(manners.place, &office.counters, memory, slots.len());
        // While more slots wait, lines are gathered: each hand-over wakes the export thread.
        if office.out.len() >= GATHER || (slots.is_empty() && !office.out.is_empty()) {
            let next = buffers.try_recv().unwrap_or_default();
            let full = std::mem::replace(&mut office.out, next);
            if !send(&lines, full, manners.lossless, &mut office.counters) {
                break;
            }
        }
    }
    // Whoever waits for room in the queue of a worker that stopped early would wait for ever.
    drop(slots);
    shared.publish_worker(manners.place, &office.counters, driver.memory(), 0);
    if let Some(summary) = &office.clerk.summary {
        shared.add_summary(summary);
    }
}

/// Whether the export thread is still there.
fn send(lines: &Sender<Vec<u8>>, full: Vec<u8>, lossless: bool, counters: &mut WorkerCounters) -> bool {
    if lossless {
        return lines.send(full).is_ok();
    }
    match lines.try_send(full) {
        Err(crossbeam_channel::TrySendError::Full(full)) => {
            counters.figures.lines_unsent += memchr::memchr_iter(b'\n', &full).count() as u64;
            true
        }
        other => other.is_ok(),
    }
}

/// How many faults a worker may have in a second.
#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    faults: u64,
    said: bool,
}

impl Budget {
    fn spent(&mut self, now: Instant, limit: u32) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.faults = 0;
        }
        limit != 0 && self.faults >= u64::from(limit)
    }

    fn add(&mut self, faults: u64, manners: Manners) {
        self.faults += faults;
        if manners.fault_limit != 0 && self.faults >= u64::from(manners.fault_limit) && !self.said {
            self.said = true;
            eprintln!(
                "picotap: sandbox {}: {} parser faults within a second: dropping what comes for the rest of it, here and \
                 whenever it happens again (counted as backed_off; --fault-limit 0 goes on at any price)",
                manners.place, self.faults
            );
        }
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

impl Office {
    /// The desk, and what is done with each transaction that it completes.
    fn parts(&mut self) -> (&mut Desk, impl FnMut(&Transaction)) {
        let Clerk { desk, selection, format, observer, summary, .. } = &mut self.clerk;
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
        (desk, finish)
    }
}

impl Receiver for Office {
    type State = Exchange;

    fn record(&mut self, facts: &Facts, state: &mut Exchange, record: &Record<'_>) {
        if let Some(shadow) = &mut self.clerk.shadow {
            shadow.first(facts, record);
        }
        let (desk, mut finish) = self.parts();
        state.record(desk, facts, record, &mut finish);
    }

    fn closed(&mut self, facts: &Facts, state: &mut Exchange, how: Closed, _: i64) {
        let reason = match how {
            Closed::End(EndReason::Fin) => CloseReason::Closed,
            Closed::End(EndReason::Reset) => CloseReason::Reset,
            Closed::End(EndReason::Timeout) => CloseReason::Timeout,
            Closed::End(EndReason::Evicted) => CloseReason::Evicted,
            Closed::End(EndReason::Reused) => CloseReason::Reused,
            Closed::End(EndReason::Capture) => CloseReason::Capture,
            Closed::Fault => CloseReason::Fault,
        };
        let (desk, mut finish) = self.parts();
        state.close(desk, facts, reason, &mut finish);
    }

    fn skip(&mut self, facts: &Facts, side: u8, upto: u64) {
        // Numbers are dealt out to the capture threads in turn: see the batcher.
        let threads = self.skips.len() as u64;
        let zero_based = facts.number.saturating_sub(1);
        let (number, thread) = (zero_based / threads + 1, usize::try_from(zero_based % threads).unwrap_or(0));
        let skip = Skip { index: facts.index, number, side, upto };
        if self.skips.get(thread).is_none_or(|skips| skips.try_send(skip).is_err()) {
            self.counters.figures.skips_unsent += 1;
        }
    }

    fn poison(&mut self, poison: &Poison) {
        if self.poison.try_send(poison.clone()).is_err() {
            self.counters.figures.poison_unsent += 1;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_backs_off_for_the_rest_of_a_second_with_too_many_faults() {
        let manners = Manners { place: 0, fault_limit: 3, lossless: true };
        let (mut budget, start) = (Budget::default(), now());
        assert!(!budget.spent(start, 3));
        budget.add(2, manners);
        assert!(!budget.spent(start, 3));
        budget.add(1, manners);
        assert!(budget.spent(start + Duration::from_millis(999), 3));
        assert!(!budget.spent(start + Duration::from_secs(1), 3));
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let (mut budget, start) = (Budget::default(), now());
        assert!(!budget.spent(start, 0));
        budget.add(u64::from(u32::MAX), Manners { place: 0, fault_limit: 0, lossless: true });
        assert!(!budget.spent(start, 0));
    }
}
