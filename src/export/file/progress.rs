//! Progress is what another thread can see of a log that is being written to: whether it takes what it is given.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A reader that takes nothing for so long while the run is to end has stopped reading. An arbitrary number.
const PATIENCE: Duration = Duration::from_secs(2);
/// A disk may take longer, to wake up or under load; deploy/systemd gives the whole stop 30 seconds.
const PATIENCE_WITH_DISK: Duration = Duration::from_secs(20);

/// How far a log has come with what it was given.
#[derive(Debug)]
pub struct Progress {
    patience: Duration,
    /// Whether the log is at work, and may be held up.
    busy: AtomicBool,
    /// Grows with everything that is taken.
    steps: AtomicU64,
    /// Lines in hand that have not been taken.
    lines: AtomicU64,
}

impl Progress {
    /// Of a log that is at rest.
    #[must_use]
    pub const fn new(regular: bool) -> Self {
        let patience = if regular { PATIENCE_WITH_DISK } else { PATIENCE };
        Self { patience, busy: AtomicBool::new(false), steps: AtomicU64::new(0), lines: AtomicU64::new(0) }
    }

    /// The log is at work on so many lines, until what is given is dropped.
    pub(super) fn begin(&self, lines: u64) -> impl Drop {
        self.advance(lines);
        self.busy.store(true, Ordering::Release);
        Busy(self)
    }

    /// Something was taken; so many lines are left.
    pub(super) fn advance(&self, lines: u64) {
        self.lines.store(lines, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Release);
    }

    /// Lines in hand that have not been taken. A piece that is under way counts as not taken.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}

struct Busy<'a>(&'a Progress);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.advance(0);
    }
}

/// Finds out whether a log is stalled, by looking at its progress now and then.
#[derive(Debug, Default)]
pub struct Stalled {
    seen: Option<(u64, Instant)>,
}

impl Stalled {
    /// Whether the log has been at work for longer than is usual without anything being taken, counted from the first look.
    pub fn look(&mut self, progress: &Progress, now: Instant) -> Option<Duration> {
        let steps = progress.steps.load(Ordering::Acquire);
        let since = match self.seen {
            Some((seen, since)) if seen == steps && progress.busy.load(Ordering::Acquire) => since,
            _ => {
                self.seen = Some((steps, now));
                return None;
            }
        };
        (now.saturating_duration_since(since) >= progress.patience).then_some(progress.patience)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_log_that_takes_nothing_is_stalled_after_two_seconds() {
        let (progress, mut stalled, start) = (Progress::new(false), Stalled::default(), Instant::now());
        let busy = progress.begin(7);
        assert_eq!(stalled.look(&progress, start), None);
        assert_eq!(stalled.look(&progress, start + SECOND), None);
        progress.advance(4);
        assert_eq!(stalled.look(&progress, start + 2 * SECOND), None, "it has taken three lines");
        assert_eq!(stalled.look(&progress, start + 3 * SECOND), None);
        assert_eq!(stalled.look(&progress, start + 4 * SECOND), Some(PATIENCE));
        assert_eq!(progress.lines(), 4);
        drop(busy);
        assert_eq!(stalled.look(&progress, start + 9 * SECOND), None);
        assert_eq!(progress.lines(), 0);
    }

    #[test]
    fn a_log_at_rest_is_never_stalled() {
        let (progress, mut stalled, start) = (Progress::new(false), Stalled::default(), Instant::now());
        for seconds in 0..100 {
            assert_eq!(stalled.look(&progress, start + seconds * SECOND), None);
        }
    }

    #[test]
    fn a_disk_is_given_more_time() {
        let (progress, mut stalled, start) = (Progress::new(true), Stalled::default(), Instant::now());
        let _busy = progress.begin(1);
        assert_eq!(stalled.look(&progress, start), None);
        assert_eq!(stalled.look(&progress, start + 19 * SECOND), None);
        assert_eq!(stalled.look(&progress, start + 20 * SECOND), Some(PATIENCE_WITH_DISK));
    }
}
