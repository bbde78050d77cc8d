//! The time that a guest takes. Deadlines are of processor time, which does not depend on what else the machine does; what a
//! fault costs other connections is elapsed time, which is read beside it.

use std::time::Duration;

use nix::time::ClockId;

/// Processor time that this thread has used since it began. It costs a system call.
#[must_use]
pub fn thread_time() -> Duration {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now();
    time.expect("every Linux has this clock, and the filter of system calls lets it be read").into()
}

/// A reading of both clocks, or the time between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Processor time of the thread.
    pub used: Duration,
    /// Monotonic time.
    pub passed: Duration,
}

impl Reading {
    /// Reads both, for this thread.
    #[must_use]
    pub fn now() -> Self {
        let passed = ClockId::CLOCK_MONOTONIC.now().expect("every Linux has this clock").into();
        Self { used: thread_time(), passed }
    }

    /// The time between an earlier reading and this one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self { used: self.used.saturating_sub(earlier.used), passed: self.passed.saturating_sub(earlier.passed) }
    }
}
