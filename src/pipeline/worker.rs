//! A worker owns a sandbox: slots come in, log lines go out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Queue, Sender};

use super::run::{Shared, WorkerCounters};
use crate::batch::{Facts, Slot};
use crate::export::Format;
use crate::flow::EndReason;
use crate::http::record::Record;
use crate::http::{CloseReason, ConnFacts, Desk, Exchange};
use crate::sandbox::driver::{Closed, Driver, Receiver};
use crate::sandbox::fault::Fault;
use crate::sandbox::quarantine::Poison;

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
    /// Words for the capture thread. May lose: that costs speed only.
    pub skips: Sender<Skip>,
    /// Lines.
    pub lines: Sender<Vec<u8>>,
    /// Buffers for lines, used before.
    pub buffers: Queue<Vec<u8>>,
    /// Poisonous events.
    pub poison: Sender<Poison>,
}

/// What turns records into lines: everything of a worker but its sandbox.
struct Clerk {
    desk: Desk,
    format: Box<dyn Format>,
    out: Vec<u8>,
    skips: Sender<Skip>,
    poison: Sender<Poison>,
    counters: WorkerCounters,
}

/// Takes slots until no more come. `fault_limit`: faults a second after which slots are dropped for the rest of it.
pub fn work(
    mut driver: Driver<Exchange>,
    desk: Desk,
    format: Box<dyn Format>,
    ends: Ends,
    shared: &Arc<Shared>,
    place: usize,
    fault_limit: u32,
) {
    let Ends { slots, empty, skips, lines, buffers, poison } = ends;
    let mut clerk = Clerk { desk, format, out: Vec::new(), skips, poison, counters: WorkerCounters::default() };
    let mut budget = Budget { limit: fault_limit, since: None, faults: 0, said: false };
    for slot in slots {
        let started = now();
        let before = driver.counters().faults;
        if budget.spent(started) {
            driver.discard(&slot, &mut clerk);
        } else {
            driver.process(&slot, &mut clerk);
            budget.add(driver.counters().faults - before, place);
        }
        clerk.counters.busy += started.elapsed();
        // The other end is gone only when the capture has ended.
        drop(empty.try_send(slot));
        clerk.counters.sandbox = driver.counters();
        clerk.counters.http = clerk.desk.counters;
        shared.publish_worker(place, &clerk.counters, driver.memory() + clerk.desk.held() as u64);
        if !clerk.out.is_empty() {
            let next = buffers.try_recv().unwrap_or_default();
            let full = std::mem::replace(&mut clerk.out, next);
            if lines.send(full).is_err() {
                break;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the pipeline measures how busy it is")]
fn now() -> Instant {
    Instant::now()
}

/// How many faults a worker may have in a second.
struct Budget {
    limit: u32,
    since: Option<Instant>,
    faults: u64,
    said: bool,
}

impl Budget {
    fn spent(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.faults = 0;
        }
        self.limit != 0 && self.faults >= u64::from(self.limit)
    }

    fn add(&mut self, faults: u64, place: usize) {
        self.faults += faults;
        if self.limit != 0 && self.faults >= u64::from(self.limit) && !self.said {
            self.said = true;
            eprintln!(
                "picotap: sandbox {place}: {} parser faults within a second: dropping what comes for the rest of it, here and \
                 whenever it happens again (counted as backed_off; --fault-limit 0 goes on at any price)",
                self.faults
            );
        }
    }
}

const fn conn_facts(facts: &Facts) -> ConnFacts {
    ConnFacts {
        number: facts.number,
        endpoints: facts.endpoints,
        opener: facts.opener,
        midstream: facts.midstream,
        interface: facts.interface,
    }
}

impl Receiver for Clerk {
    type State = Exchange;

    fn record(&mut self, facts: &Facts, state: &mut Exchange, record: &Record<'_>) {
        let (format, out) = (&mut self.format, &mut self.out);
        state.record(&mut self.desk, &conn_facts(facts), record, &mut |transaction| format.line(transaction, out));
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
        let (format, out) = (&mut self.format, &mut self.out);
        state.close(&mut self.desk, &conn_facts(facts), reason, &mut |transaction| format.line(transaction, out));
    }

    fn skip(&mut self, facts: &Facts, side: u8, upto: u64) {
        let skip = Skip { index: facts.index, number: facts.number, side, upto };
        if self.skips.try_send(skip).is_err() {
            self.counters.skips_unsent += 1;
        }
    }

    fn poison(&mut self, poison: &Poison) {
        if self.poison.try_send(poison.clone()).is_err() {
            self.counters.poison_unsent += 1;
        }
    }

    fn fault(&mut self, fault: &Fault) {
        let at = crate::sandbox::fault::NAMES.iter().position(|name| *name == fault.name());
        if let Some(count) = at.and_then(|at| self.counters.faults.get_mut(at)) {
            *count += 1;
        }
    }
}
