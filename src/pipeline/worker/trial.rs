//! A trial is the first slots of a new parser: one that faults more than the one before is rolled back.

use std::sync::Arc;

use crate::http::Exchange;
use crate::pipeline::shared::{InCharge, Shared};
use crate::sandbox::driver::{CallOutcomes, Driver};
use crate::sandbox::protocol::Protocol;
use crate::sandbox::shadow::Shadow;

/// Slots with calls of a new parser after which it is no longer on trial. An arbitrary number.
const TRIAL_SLOTS: u32 = 64;

/// Follows changes of parsers in one worker, and judges each new one by its own calls.
#[derive(Debug)]
pub(super) struct Trials {
    /// Number of the last change that was followed.
    generation: u64,
    /// One for each protocol.
    trials: Vec<Trial>,
}

/// What is known of the parser in charge of one protocol.
#[derive(Debug)]
struct Trial {
    protocol: Protocol,
    /// Number of the change that put it in charge; 0: it was there at the start.
    change: u64,
    /// Slots with calls of it since the change, or since the count began anew.
    slots: u32,
    /// Faults in them.
    faults: u64,
    /// Faults of the parser before, in at most [`TRIAL_SLOTS`] such slots.
    before: u64,
    on: bool,
    /// All its calls so far.
    seen: CallOutcomes,
}

impl Trials {
    /// Of a worker that starts with the parsers that were in charge first; none is on trial.
    pub(super) fn new(protocols: &[Protocol]) -> Self {
        Self { generation: 0, trials: protocols.iter().map(|protocol| Trial::new(*protocol, 0)).collect() }
    }

    /// Takes the parsers that were put in charge since the last call. So does the shadow.
    pub(super) fn follow(
        &mut self,
        driver: &mut Driver<Exchange>,
        mut shadow: Option<&mut Shadow>,
        shared: &Shared,
        worker: usize,
    ) {
        if shared.generation() == self.generation {
            return;
        }
        let (generation, changed) = shared.changes_since(self.generation);
        self.generation = generation;
        for InCharge { parser, before, change } in changed {
            let protocol = parser.format.protocol;
            if let Some(shadow) = &mut shadow
                && let Err(fault) = shadow.follow(Arc::clone(&parser))
            {
                eprintln!("picotap: the second sandbox {worker} keeps its {protocol} parser: {fault}");
            }
            if let Err(fault) = driver.swap(parser) {
                eprintln!("picotap: sandbox {worker} keeps its {protocol} parser: {fault}");
                continue;
            }
            if let Some(trial) = self.trials.iter_mut().find(|trial| trial.protocol == protocol) {
                // After a roll-back there is nothing to go back to, and nothing to judge.
                *trial = Trial { before: trial.faults, on: before.is_some(), ..Trial::new(protocol, change) };
            }
        }
    }

    /// Counts a slot for each parser that was called for it, with its faults, and rolls back a parser on trial that has more
    /// of them than the one before.
    pub(super) fn judge(&mut self, driver: &Driver<Exchange>, shared: &Shared, worker: usize) {
        for trial in &mut self.trials {
            if trial.fails(driver.outcomes(trial.protocol)) && shared.roll_back(trial.change) {
                let Trial { protocol, faults, slots, before, .. } = trial;
                eprintln!(
                    "picotap: the new {protocol} parser faulted {faults} times in its first {slots} slots in sandbox \
                     {worker}, the old one {before} times: the old one is back"
                );
            }
        }
    }
}

impl Trial {
    fn new(protocol: Protocol, change: u64) -> Self {
        Self { protocol, change, slots: 0, faults: 0, before: 0, on: false, seen: CallOutcomes::default() }
    }

    /// Takes what the parser's calls have given so far. Whether it fails its trial, which ends with that.
    fn fails(&mut self, all: CallOutcomes) -> bool {
        if all == self.seen {
            return false;
        }
        if self.slots >= TRIAL_SLOTS {
            (self.slots, self.faults, self.on) = (0, 0, false);
        }
        self.slots += 1;
        self.faults += all.faults.saturating_sub(self.seen.faults);
        self.seen = all;
        let fails = self.on && self.faults > self.before;
        self.on &= !fails;
        fails
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::protocol::ENTRY;

    fn outcomes(calls: u64, faults: u64) -> CallOutcomes {
        CallOutcomes { calls, faults }
    }

    #[test]
    fn a_parser_that_is_not_called_stays_on_trial() {
        let mut trial = Trial { on: true, ..Trial::new(ENTRY, 1) };
        for _ in 0..1000 {
            assert!(!trial.fails(outcomes(0, 0)));
        }
        assert!(trial.fails(outcomes(1, 1)), "its first call fails");
        assert!(!trial.fails(outcomes(2, 2)), "it is judged once");
    }

    #[test]
    fn as_many_faults_as_the_one_before_are_allowed_in_sixty_four_slots() {
        let mut trial = Trial { on: true, before: 2, ..Trial::new(ENTRY, 1) };
        assert!(!trial.fails(outcomes(1, 2)));
        assert!(trial.fails(outcomes(2, 3)));
        let mut passed = Trial { on: true, ..Trial::new(ENTRY, 1) };
        for calls in 1..=u64::from(TRIAL_SLOTS) {
            assert!(!passed.fails(outcomes(calls, 0)));
        }
        assert!(!passed.fails(outcomes(65, 9)), "the trial is over");
        assert_eq!((passed.slots, passed.faults), (1, 9), "and the count for the next one began anew");
    }
}
