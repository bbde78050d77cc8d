//! The clock of the timers, and what the time stamps of frames say of it.
//!
//! Frames may come from clocks that disagree, or that were set meanwhile, and a time stamp may be false. So the clock
//! follows time stamps only where they are continuous. One that is far off begins another time line, which goes on from the
//! clock as it stands: no timer is due because of the jump. Silence of all connections looks the same, and does not count.

use super::connection::Shared;

/// How far the time of frames is ahead of the clock.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Of the latest frame.
    ahead: i64,
    /// Before the last jump. Frames may return to it: it was one false time stamp, or there are two clocks.
    before: i64,
}

impl Timeline {
    /// The time that a frame has now.
    pub(super) const fn frame_time(&self, clock: i64) -> i64 {
        clock.saturating_add(self.ahead)
    }
}

impl Shared {
    /// Advances the clock to the time of a frame.
    #[inline]
    pub(super) fn advance(&mut self, time: i64) {
        let time = time.saturating_sub(self.timeline.ahead);
        if time.saturating_sub(self.clock).saturating_abs() > self.config.time_jump {
            self.jump(time);
        } else {
            self.clock = self.clock.max(time);
        }
    }

    /// A frame is far off in time: by the time line so far it would be at `time`.
    #[cold]
    fn jump(&mut self, time: i64) {
        let Timeline { ahead, before } = self.timeline;
        if self.clock == i64::MIN {
            self.clock = time;
            return;
        }
        let returned = time.saturating_add(ahead).saturating_sub(before);
        if returned.saturating_sub(self.clock).saturating_abs() <= self.config.time_jump {
            self.timeline = Timeline { ahead: before, before: ahead };
            self.clock = self.clock.max(returned);
        } else {
            self.counters.time_jumps += 1;
            let frame = time.saturating_add(ahead);
            self.timeline = Timeline { ahead: frame.saturating_sub(self.clock), before: ahead };
        }
    }
}
