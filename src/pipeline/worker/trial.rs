//! A trial is the first slots of a new parser: one that faults more than the one before is rolled back.

use crate::http::Exchange;
use crate::pipeline::shared::Shared;
use crate::sandbox::driver::Driver;

/// Slots after which a new parser is no longer on trial. An arbitrary number.
const TRIAL_SLOTS: u32 = 64;

/// Follows changes of parsers in one worker, and judges each new one.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Number of the change that put the present parser in charge.
    generation: u64,
    /// Slots since the change, or since the count began anew.
    slots: u32,
    /// Faults in them.
    faults: u64,
    /// Faults of the parser before, in at most [`TRIAL_SLOTS`] slots.
    before: u64,
    on: bool,
}

impl Trial {
    /// With the parser of this change in charge, which is not on trial.
    pub(super) fn new(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    /// Takes the parser in charge, if it is another than before.
    pub(super) fn follow(&mut self, driver: &mut Driver<Exchange>, shared: &Shared, worker: usize) {
        if shared.generation() == self.generation {
            return;
        }
        let (generation, parser, before) = shared.parser();
        self.generation = generation;
        if let Err(fault) = driver.swap(parser) {
            eprintln!("picotap: sandbox {worker} keeps its parser: {fault}");
            return;
        }
        // After a roll-back there is nothing to go back to, and nothing to judge.
        *self = Self { generation, before: self.faults, on: before.is_some(), ..Self::default() };
    }

    /// Counts a slot and the faults in it, and rolls back a parser on trial that has more of them than the one before.
    pub(super) fn judge(&mut self, faults: u64, shared: &Shared, worker: usize) {
        if self.slots >= TRIAL_SLOTS {
            *self = Self::new(self.generation);
        }
        self.slots += 1;
        self.faults += faults;
        if self.on && self.faults > self.before {
            self.on = false;
            if shared.roll_back(self.generation) {
                eprintln!(
                    "picotap: the new parser faulted {} times in its first {} slots in sandbox {worker}, the old one {} times: \
                     the old one is back",
                    self.faults, self.slots, self.before
                );
            }
        }
    }
}
