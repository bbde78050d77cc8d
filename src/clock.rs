//! The clocks, for what runs threads or waits for an interface. The stages take their time from frames; guests are measured
//! in `sandbox/cpu_time.rs`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The present moment, to measure durations.
#[expect(clippy::disallowed_methods, reason = "the one place in which a stopwatch is read")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the one place in which the time of day is read")]
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A duration in nanoseconds; more than five centuries count as that.
pub(crate) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
