//! The timer says which of a slot's time is lost: it is looked at after what an honest parser seldom does.
//!
//! Reading the clock of a thread's processor time is a system call, so normal traffic does not: a call that answers all it
//! was given, before the engine's clock has stepped, is not looked at.

use std::time::Duration;

use crate::sandbox::clock::Reading;

/// Processor time that a slot may take beyond its first look without being charged: a parser that makes no faults, and calls
/// that get on, may still be so slow, or get on by so little, that one slot would hold its thread for minutes. The built-in
/// parser takes a millisecond for a full slot, some ten for traffic that is made to cost.
const SLOT_TIME: Duration = Duration::from_millis(100);

/// Time of the slot at hand, as far as it was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timer {
    /// When it was looked at last.
    last: Option<Reading>,
    /// Processor time between looks at calls that held.
    slot: Duration,
    /// The call before failed, or got nowhere.
    bad: bool,
}

impl Timer {
    /// Time that was lost since the last look. `started`: the first that is known of the call before. `bad`: it failed, or got
    /// nowhere, or was made to find out why another failed. That is charged as it passed, for so long did it hold the thread
    /// up; what is only slow is charged by what it used, since an honest parser may have had to wait.
    pub(super) fn look(&mut self, now: Reading, started: Option<Reading>, bad: bool) -> Duration {
        let call = started.unwrap_or(now);
        let since = match self.last {
            // What lay between was honest work.
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

    /// The call before was as it should be.
    pub(super) const fn calm(&mut self) {
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
    fn a_fault_is_charged_with_its_call_and_what_it_takes_to_mend_it() {
        let mut timer = Timer::default();
        assert_eq!(timer.look(at(1040), Some(at(1010)), true), ms(4 * 30));
        assert_eq!(timer.look(at(1075), Some(at(1045)), true), ms(4 * 35));
        timer.calm();
        // Honest work, and a fault again.
        assert_eq!(timer.look(at(1095), None, true), ms(0));
        assert_eq!(timer.look(at(1096), None, true), ms(4));
    }

    #[test]
    fn a_slow_slot_is_charged_from_a_tenth_of_a_second_of_processor_time_on() {
        let mut timer = Timer::default();
        assert_eq!(timer.look(at(10), Some(at(0)), false), ms(0));
        assert_eq!(timer.look(at(90), Some(at(85)), false), ms(0));
        assert_eq!(timer.look(at(130), Some(at(125)), false), ms(30));
        assert_eq!(timer.look(at(150), Some(at(145)), false), ms(20));
        assert_eq!(timer.look(at(151), Some(at(150)), true), ms(4));
    }
}
