//! Progress is what another thread can see of a log that is being written to: whether it takes what it is given.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A reader that takes nothing for so long while the run is to end has stopped reading. An arbitrary number.
const PATIENCE: Duration = Duration::from_secs(2);
/// A disk may take longer, to wake up or under load; deploy/systemd gives the whole stop 30 seconds.
const PATIENCE_WITH_DISK: Duration = Duration::from_secs(20);

/// How much of what it was given a log has written.
#[derive(Debug)]
pub struct WriteProgress {
    patience: Duration,
    /// Whether the log is at work, and may be held up.
    busy: AtomicBool,
    /// Grows with everything that is taken.
    steps: AtomicU64,
    /// What is in hand.
    given: AtomicU64,
    lines: AtomicU64,
    bytes: AtomicU64,
    /// What is held back for later.
    held_lines: AtomicU64,
    held_bytes: AtomicU64,
}

/// What a log has in hand. A piece that is under way counts as not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hand {
    /// Lines that have been taken.
    pub taken: u64,
    /// Lines that have not.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl WriteProgress {
    /// Of a log that is writing nothing.
    #[must_use]
    pub const fn new(regular: bool) -> Self {
        let patience = if regular { PATIENCE_WITH_DISK } else { PATIENCE };
        let [steps, given, lines, bytes, held_lines, held_bytes] = [const { AtomicU64::new(0) }; 6];
        Self { patience, busy: AtomicBool::new(false), steps, given, lines, bytes, held_lines, held_bytes }
    }

    /// The log is at work on so many lines and bytes, until what is given back is dropped.
    pub(super) fn begin(&self, lines: u64, bytes: usize) -> impl Drop {
        self.given.store(lines, Ordering::Relaxed);
        self.advance(lines, bytes);
        self.busy.store(true, Ordering::Release);
        Busy(self)
    }

    /// Something was taken; so many lines and bytes are left.
    pub(super) fn advance(&self, lines: u64, bytes: usize) {
        self.lines.store(lines, Ordering::Relaxed);
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Release);
    }

    /// So many lines and bytes will be given to the log later.
    pub fn hold(&self, (lines, bytes): (u64, u64)) {
        self.held_lines.store(lines, Ordering::Relaxed);
        self.held_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What is in hand, and what is held back: exact while the log is stalled, and otherwise of some moment.
    #[must_use]
    pub fn hand(&self) -> Hand {
        let (lines, bytes) = (self.lines.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let taken = self.given.load(Ordering::Relaxed).saturating_sub(lines);
        let (held_lines, held_bytes) =
            (self.held_lines.load(Ordering::Relaxed), self.held_bytes.load(Ordering::Relaxed));
        Hand { taken, lines: lines + held_lines, bytes: bytes + held_bytes }
    }
}

struct Busy<'a>(&'a WriteProgress);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.given.store(0, Ordering::Relaxed);
        self.0.advance(0, 0);
    }
}

/// Finds out whether a log is stalled, by checking its progress now and then.
#[derive(Debug, Default)]
pub struct Stalled {
    seen: Option<(u64, Instant)>,
}

impl Stalled {
    /// Whether the log has been at work for longer than is usual without anything being taken, counted from the first check.
    pub fn check(&mut self, progress: &WriteProgress, now: Instant) -> Option<Duration> {
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
        let (progress, mut stalled, start) = (WriteProgress::new(false), Stalled::default(), Instant::now());
        let busy = progress.begin(7, 70);
        assert_eq!(stalled.check(&progress, start), None);
        assert_eq!(stalled.check(&progress, start + SECOND), None);
        progress.advance(4, 40);
        assert_eq!(stalled.check(&progress, start + 2 * SECOND), None, "it has taken three lines");
        assert_eq!(stalled.check(&progress, start + 3 * SECOND), None);
        assert_eq!(stalled.check(&progress, start + 4 * SECOND), Some(PATIENCE));
        assert_eq!(progress.hand(), Hand { taken: 3, lines: 4, bytes: 40 });
        drop(busy);
        assert_eq!(stalled.check(&progress, start + 9 * SECOND), None);
        assert_eq!(progress.hand(), Hand::default());
    }

    #[test]
    fn a_log_at_rest_is_never_stalled() {
        let (progress, mut stalled, start) = (WriteProgress::new(false), Stalled::default(), Instant::now());
        for seconds in 0..100 {
            assert_eq!(stalled.check(&progress, start + seconds * SECOND), None);
        }
    }

    #[test]
    fn a_disk_is_given_more_time() {
        let (progress, mut stalled, start) = (WriteProgress::new(true), Stalled::default(), Instant::now());
        let _busy = progress.begin(1, 10);
        assert_eq!(stalled.check(&progress, start), None);
        assert_eq!(stalled.check(&progress, start + 19 * SECOND), None);
        assert_eq!(stalled.check(&progress, start + 20 * SECOND), Some(PATIENCE_WITH_DISK));
    }
}
