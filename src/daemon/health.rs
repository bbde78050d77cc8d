//! Health: whether a run is ready, and whether its threads are alive and make progress.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A thread without progress for so long is stuck. A capture thread turns ten times a second on an idle interface, and a call
/// into the sandbox ends at its deadline after a fraction of a second, so this is far beyond what a busy machine causes; the
/// number itself is arbitrary.
pub const STUCK: Duration = Duration::from_secs(60);

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Inputs and modules are being opened and checked, and privileges dropped.
    Starting,
    /// Capturing.
    Running,
    /// What was captured is still parsed and written, and nothing more is captured.
    Stopping,
}

/// The health of a run. The threads count ticks, the main thread compares them, and the endpoint answers from both.
#[derive(Debug)]
pub struct Health {
    phase: AtomicU8,
    /// Ticks of each capture thread: its turns.
    captures: Vec<AtomicU64>,
    /// Ticks of each worker: slots begun plus slots done, so odd while it is on one.
    workers: Vec<AtomicU64>,
    seen: Mutex<Seen>,
}

/// What the main thread saw last.
#[derive(Debug)]
struct Seen {
    /// The ticks of each thread, capture threads first, and since when they have not changed.
    ticks: Vec<(u64, Instant)>,
    /// Names of threads that ended though the run goes on.
    ended: Vec<String>,
    /// When it checked.
    checked: Instant,
}

impl Health {
    /// For so many threads. Capture threads that read files do not count: their input may make them wait without end.
    #[must_use]
    pub fn new(captures: usize, workers: usize, now: Instant) -> Self {
        let ticks = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let seen = Seen { ticks: vec![(0, now); captures + workers], ended: Vec::new(), checked: now };
        let phase = AtomicU8::new(Phase::Starting as u8);
        Self { phase, captures: ticks(captures), workers: ticks(workers), seen: Mutex::new(seen) }
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase, now: Instant) {
        if phase == Phase::Running {
            self.check(now, Vec::new());
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.ticks.iter_mut().for_each(|(_, since)| *since = now);
        }
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Running,
            _ => Phase::Stopping,
        }
    }

    /// A capture thread has read what its source had.
    pub fn turned(&self, index: usize) {
        count(&self.captures, index, 1);
    }

    /// A worker begins a slot, or has finished one.
    pub fn slot(&self, index: usize) {
        count(&self.workers, index, 1);
    }

    /// A worker makes progress within its slot.
    pub fn still(&self, index: usize) {
        // By two: an odd count says that it is on one.
        count(&self.workers, index, 2);
    }

    /// Compares the ticks with those of the last check. `ended`: names of threads that have ended while none should.
    pub fn check(&self, now: Instant, ended: Vec<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The process as a whole was stopped, or its machine: the other threads could make no progress either.
        let paused = now.saturating_duration_since(seen.checked) >= STUCK / 2;
        seen.checked = now;
        seen.ended = ended;
        for ((known, since), ticks) in seen.ticks.iter_mut().zip(self.captures.iter().chain(&self.workers)) {
            let ticks = ticks.load(Ordering::Relaxed);
            if ticks != *known || paused {
                (*known, *since) = (ticks, now);
            }
        }
    }

    /// Which threads are dead or stuck, as text; nothing if none is, or if the run has not begun or is ending.
    #[must_use]
    pub fn trouble(&self, now: Instant) -> Option<String> {
        if self.phase() != Phase::Running {
            return None;
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut troubles: Vec<String> = seen.ended.iter().map(|name| format!("thread {name} is dead")).collect();
        let is_long = |since: Instant| now.saturating_duration_since(since) >= STUCK;
        if is_long(seen.checked) {
            troubles.push(format!("the main thread has checked nothing for {} s", STUCK.as_secs()));
        }
        for (index, (ticks, since)) in seen.ticks.iter().enumerate().filter(|(_, (_, since))| is_long(*since)) {
            let seconds = now.saturating_duration_since(*since).as_secs();
            match index.checked_sub(self.captures.len()) {
                None => troubles.push(format!("capture thread {index} has been stuck for {seconds} s")),
                Some(worker) if ticks % 2 == 1 => {
                    troubles.push(format!("thread sandbox-{worker} has been on one slot for {seconds} s"));
                }
                // It is idle.
                Some(_) => {}
            }
        }
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    /// Whether the program is alive, as a page.
    ///
    /// # Errors
    /// Which threads are dead or stuck.
    pub fn alive(&self, now: Instant) -> Result<String, String> {
        self.trouble(now).map_or_else(|| Ok("ok\n".to_owned()), Err)
    }

    /// Whether the run does its work, as a page. `interfaces`: the name of each and whether it is down; none for files.
    ///
    /// # Errors
    /// Why it does not.
    pub fn ready(&self, now: Instant, interfaces: &[(String, bool)]) -> Result<String, String> {
        match self.phase() {
            Phase::Starting => return Err("starting".to_owned()),
            Phase::Stopping => return Err("stopping".to_owned()),
            Phase::Running => {}
        }
        if let Some(trouble) = self.trouble(now) {
            return Err(trouble);
        }
        let down: Vec<&str> = interfaces.iter().filter(|(_, down)| *down).map(|(name, _)| name.as_str()).collect();
        let list = if down.is_empty() { String::new() } else { format!("down: {}", down.join(", ")) };
        match (down.len(), interfaces.len()) {
            (0, _) => Ok("ok\n".to_owned()),
            (down, all) if down < all => Ok(format!("ok, but {list}\n")),
            _ => Err(format!("no interface delivers: {list}")),
        }
    }
}

fn count(ticks: &[AtomicU64], index: usize, by: u64) {
    // Capture threads that read files are not among them.
    if let Some(ticks) = ticks.get(index) {
        ticks.fetch_add(by, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
mod tests {
    use super::*;

    /// A running health of one capture thread and two workers, and a second later than its start.
    fn running() -> (Health, Instant) {
        let start = Instant::now();
        let health = Health::new(1, 2, start);
        health.enter(Phase::Running, start);
        (health, start)
    }

    /// The main thread checks each second for so many; with `captures`, the capture thread turns. Returns the end.
    fn pass(health: &Health, start: Instant, seconds: u64, captures: bool) -> Instant {
        let end = start + Duration::from_secs(seconds);
        for second in 0..=seconds {
            if captures {
                health.turned(0);
            }
            health.check(start + Duration::from_secs(second), Vec::new());
        }
        end
    }

    #[test]
    fn ready_is_between_start_and_stop() {
        let now = Instant::now();
        let health = Health::new(1, 1, now);
        assert_eq!(health.ready(now, &[]), Err("starting".to_owned()));
        assert_eq!(health.alive(now), Ok("ok\n".to_owned()));
        health.enter(Phase::Running, now);
        assert_eq!(health.ready(now, &[]), Ok("ok\n".to_owned()));
        health.enter(Phase::Stopping, now);
        assert_eq!(health.ready(now, &[]), Err("stopping".to_owned()));
        assert_eq!(health.alive(now), Ok("ok\n".to_owned()));
    }

    #[test]
    fn one_interface_that_delivers_is_enough() {
        let (health, now) = running();
        let pair = |one, other| [("va".to_owned(), one), ("vb".to_owned(), other)];
        assert_eq!(health.ready(now, &pair(false, true)), Ok("ok, but down: vb\n".to_owned()));
        assert_eq!(health.ready(now, &pair(true, true)), Err("no interface delivers: down: va, vb".to_owned()));
    }

    #[test]
    fn idle_workers_are_well() {
        let (health, start) = running();
        let now = pass(&health, start, 300, true);
        assert_eq!(health.trouble(now), None);
    }

    #[test]
    fn a_worker_that_does_not_finish_its_slot_is_stuck() {
        let (health, start) = running();
        health.slot(1);
        let now = pass(&health, start, 61, true);
        assert_eq!(health.trouble(now).as_deref(), Some("thread sandbox-1 has been on one slot for 61 s"));
        assert!(health.alive(now).is_err() && health.ready(now, &[]).is_err());
        health.slot(1);
        health.check(now, Vec::new());
        assert_eq!(health.trouble(now), None);
    }

    #[test]
    fn a_capture_thread_that_does_not_turn_is_stuck() {
        let (health, start) = running();
        let now = pass(&health, start, 61, false);
        assert_eq!(health.trouble(now).as_deref(), Some("capture thread 0 has been stuck for 61 s"));
    }

    #[test]
    fn a_main_thread_that_does_not_check_is_stuck() {
        let (health, start) = running();
        let trouble = health.trouble(start + STUCK).expect("nobody checked");
        assert!(trouble.starts_with("the main thread"), "{trouble}");
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_is_not_stuck() {
        let (health, start) = running();
        health.check(start + 2 * STUCK, Vec::new());
        assert_eq!(health.trouble(start + 2 * STUCK), None);
    }

    #[test]
    fn a_dead_thread_is_named_unless_the_run_ends() {
        let (health, now) = running();
        health.check(now, vec!["sandbox-0".to_owned()]);
        assert_eq!(health.trouble(now).as_deref(), Some("thread sandbox-0 is dead"));
        health.enter(Phase::Stopping, now);
        assert_eq!(health.trouble(now), None);
    }
}
