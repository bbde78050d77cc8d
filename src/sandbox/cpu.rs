//! Processor time: what a thread has used, however long the machine let it wait.

use std::time::Duration;

use nix::time::ClockId;

/// What this thread has used since it began. It costs a system call.
#[must_use]
pub fn thread_time() -> Duration {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now();
    time.expect("every Linux has this clock, and the filter of system calls lets it be read").into()
}
