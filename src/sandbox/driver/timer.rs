//! The timer says how much of a slot's time is lost. It is read only after calls that an honest parser seldom makes.
//!
//! Reading the clock of a thread's processor time is a system call, so normal traffic does without: a call that answers
//! every event before the engine's clock has stepped is not measured.

use std::time::Duration;

use crate::sandbox::cpu_time::Reading;

/// Processor time that a slot may take beyond the first reading without being charged: a parser without faults, whose calls
/// all make progress, may still be so slow that one slot occupies its thread for minutes. The built-in parser takes a
/// millisecond for a full slot, some ten for traffic that is made to cost.
const SLOT_TIME: Duration = Duration::from_millis(100);

/// Time of the current slot, as far as it was measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timer {
    /// The last reading.
    last: Option<Reading>,
    /// Processor time between readings after successful calls.
    slot: Duration,
    /// The call before failed or made no progress.
    bad: bool,
}

impl Timer {
    /// Time lost since the last reading. `started`: the first reading known of the last call. `bad`: it failed, made no
    /// progress, or was made to find out why another failed. A bad call is charged by the clock, because for that long it
    /// occupied the thread; one that is only slow is charged by processor time, because an honest parser may have had to
    /// wait.
    pub(super) fn measure(&mut self, now: Reading, started: Option<Reading>, bad: bool) -> Duration {
        let call = started.unwrap_or(now);
        let since = match self.last {
            // What lies between was honest work.
            Some(_) if bad && !self.bad => call,
            Some(last) => last,
            None => call,
        };
        self.last = Some(now);
        self.bad = bad;
        let Reading { used, passed } = now.since(since);
        if bad {
            return passed;
        }
        self.slot += used;
        used.min(self.slot.saturating_sub(SLOT_TIME))
    }

    /// The last call was normal.
    pub(super) const fn steady(&mut self) {
        self.bad = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a thread that gets a quarter of a processor.
    fn at(used: u64) -> Reading {
        Reading { used: Duration::from_millis(used), passed: Duration::from_millis(4 * used) }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_fault_is_charged_with_its_call_and_what_it_makes_necessary() {
        let mut timer = Timer::default();
        assert_eq!(timer.measure(at(1040), Some(at(1010)), true), ms(4 * 30));
        assert_eq!(timer.measure(at(1075), Some(at(1045)), true), ms(4 * 35));
        timer.steady();
        // Honest work, and a fault again.
        assert_eq!(timer.measure(at(1095), None, true), ms(0));
        assert_eq!(timer.measure(at(1096), None, true), ms(4));
    }

    #[test]
    fn a_slow_slot_is_charged_from_a_tenth_of_a_second_of_processor_time_on() {
        let mut timer = Timer::default();
        assert_eq!(timer.measure(at(10), Some(at(0)), false), ms(0));
        assert_eq!(timer.measure(at(90), Some(at(85)), false), ms(0));
        assert_eq!(timer.measure(at(130), Some(at(125)), false), ms(30));
        assert_eq!(timer.measure(at(150), Some(at(145)), false), ms(20));
        assert_eq!(timer.measure(at(151), Some(at(150)), true), ms(4));
    }
}
