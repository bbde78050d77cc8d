//! A fault budget is how many faults a worker may have in a second, and how much of it they may take.

use std::time::{Duration, Instant};

use super::WorkerOptions;
use crate::sandbox::budget::Budget;

/// What is left of the present second, and what happens when nothing is: slots, or the rest of one, are dropped.
#[derive(Debug)]
pub(super) struct FaultBudget {
    /// Faults a second; 0: any number.
    limit: u64,
    faults: u64,
    time: Budget,
    lossless: bool,
    /// The worker's number.
    worker: usize,
    reported: bool,
}

impl FaultBudget {
    pub(super) const fn new(options: &WorkerOptions) -> Self {
        Self {
            limit: options.fault_limit as u64,
            faults: 0,
            time: Budget::new(options.fault_time),
            lossless: options.lossless,
            worker: options.index,
            reported: false,
        }
    }

    /// Whether a slot that comes now is to be dropped. `now`: none when the run is to end, and nothing is renewed.
    pub(super) fn spent(&mut self, now: Option<Instant>) -> bool {
        if let Some(now) = now {
            if self.time.turn(now) {
                self.faults = 0;
            }
            // Waiting loses nothing of a file: the next slot is parsed again.
            if self.lossless {
                self.time.renew();
            }
        }
        self.time.is_spent() || self.too_many()
    }

    const fn too_many(&self) -> bool {
        self.limit != 0 && self.faults >= self.limit
    }

    /// Counts faults.
    pub(super) fn add(&mut self, faults: u64) {
        self.faults += faults;
        if self.too_many() {
            self.report("many", "--fault-limit 0 sets no limit");
        }
    }

    /// Takes time that faults cost. Whether any is left.
    pub(super) fn charge(&mut self, time: Duration) -> bool {
        self.time.charge(time);
        if self.time.is_spent() {
            self.report("slow", "--fault-time gives them more");
        }
        !self.time.is_spent()
    }

    /// Reports once that something is dropped: the counters go on.
    fn report(&mut self, how: &str, advice: &str) {
        if self.reported {
            return;
        }
        self.reported = true;
        let rest = if self.lossless { "the rest of the slot" } else { "what comes for the rest of the second" };
        eprintln!(
            "picotap: sandbox {}: the parser's faults are too {how}: dropping {rest}, now and whenever it happens again \
             (counted as backed_off; {advice})",
            self.worker
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use crate::daemon::shutdown::Shutdown;
    use crate::tls::stage::Patience;

    fn budget(fault_limit: u32, lossless: bool) -> FaultBudget {
        let (fault_time, shutdown) = (Duration::from_millis(500), Shutdown::default());
        FaultBudget::new(&WorkerOptions {
            index: 0,
            fault_limit,
            fault_time,
            lossless,
            tls_filters: Vec::new(),
            patience: Patience::default(),
            shutdown,
        })
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
