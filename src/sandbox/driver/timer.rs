//! The timer says which of a slot's processor time is lost: it is looked at after what an honest parser seldom does.
//!
//! Reading the clock of a thread's processor time is a system call, so normal traffic does not: a call that answers all it
//! was given, before the deadline's clock has stepped, is not looked at.

use std::time::Duration;

/// What a slot may take beyond its first look without being charged: a parser that makes no faults, and calls that get on,
/// may still be so slow, or get on by so little, that one slot would hold its thread for minutes. The built-in parser takes
/// a millisecond for a full slot, some ten for traffic that is made to cost.
const SLOT_TIME: Duration = Duration::from_millis(100);

/// Processor time of the slot at hand, as far as it was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timer {
    /// When it was looked at last.
    last: Option<Duration>,
    /// Time between looks at calls that held.
    slot: Duration,
    /// The call before failed, or got nowhere.
    bad: bool,
}

impl Timer {
    /// Time that was lost since the last look. `used`: what the call before is known to have used; `bad`: it failed, or got
    /// nowhere, or was made to find out why another failed.
    pub(super) fn look(&mut self, now: Duration, used: Duration, bad: bool) -> Duration {
        let call = now.saturating_sub(used);
        let since = match self.last {
            // What lay between was honest work.
            Some(last) if bad && !self.bad => call.max(last),
            Some(last) => last,
            None => call,
        };
        self.last = Some(now);
        self.bad = bad;
        let passed = now.saturating_sub(since);
        if bad {
            return passed;
        }
        self.slot += passed;
        passed.min(self.slot.saturating_sub(SLOT_TIME))
    }

    /// The call before was as it should be.
    pub(super) const fn calm(&mut self) {
        self.bad = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_fault_is_charged_with_its_call_and_what_it_takes_to_mend_it() {
        let mut timer = Timer::default();
        assert_eq!(timer.look(ms(1040), ms(30), true), ms(30));
        assert_eq!(timer.look(ms(1075), ms(30), true), ms(35));
        timer.calm();
        // Honest work, and a fault again.
        assert_eq!(timer.look(ms(1095), ms(0), true), ms(0));
        assert_eq!(timer.look(ms(1096), ms(0), true), ms(1));
    }

    #[test]
    fn a_slow_slot_is_charged_from_a_tenth_of_a_second_on() {
        let mut timer = Timer::default();
        assert_eq!(timer.look(ms(10), ms(10), false), ms(0));
        assert_eq!(timer.look(ms(90), ms(5), false), ms(0));
        assert_eq!(timer.look(ms(130), ms(5), false), ms(30));
        assert_eq!(timer.look(ms(150), ms(5), false), ms(20));
        assert_eq!(timer.look(ms(151), ms(1), true), ms(1));
    }
}
