//! Health is what a run knows of itself: whether it is ready, and whether its threads are alive and make progress.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A thread that has not got on for so long is stuck. A capture thread turns ten times a second when nothing comes, and a
/// call into the sandbox ends at its deadline after a fraction of a second, so this is far beyond what a busy machine does;
/// the number itself is arbitrary.
pub const STUCK: Duration = Duration::from_secs(60);

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not all is open, checked and given up yet.
    Starting,
    /// Capturing.
    Running,
    /// What was captured is being brought to its end.
    Stopping,
}

/// The health of a run. The threads beat; the main thread looks; whoever asks is answered from both.
#[derive(Debug)]
pub struct Health {
    phase: AtomicU8,
    /// Turns of each capture thread.
    captures: Vec<AtomicU64>,
    /// Slots begun and slots done, added up, of each worker: odd while it is on one.
    workers: Vec<AtomicU64>,
    seen: Mutex<Seen>,
}

/// What the main thread has seen.
#[derive(Debug)]
struct Seen {
    /// Each beat, capture threads first, and since when it is that.
    beats: Vec<(u64, Instant)>,
    /// Threads that ended before their time.
    ended: Vec<String>,
    /// When it looked last.
    looked: Instant,
}

impl Health {
    /// For so many threads. Capture threads that read files do not beat: they may wait for their input as long as it takes.
    #[must_use]
    pub fn new(captures: usize, workers: usize, now: Instant) -> Self {
        let beats = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let seen = Seen { beats: vec![(0, now); captures + workers], ended: Vec::new(), looked: now };
        let phase = AtomicU8::new(Phase::Starting as u8);
        Self { phase, captures: beats(captures), workers: beats(workers), seen: Mutex::new(seen) }
    }

    /// Says where the run stands.
    pub fn enter(&self, phase: Phase, now: Instant) {
        if phase == Phase::Running {
            self.look(now, Vec::new());
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.beats.iter_mut().for_each(|(_, since)| *since = now);
        }
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Where the run stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Running,
            _ => Phase::Stopping,
        }
    }

    /// A capture thread looked at its source.
    pub fn turned(&self, place: usize) {
        beat(&self.captures, place);
    }

    /// A worker begins a slot, or is done with one.
    pub fn slot(&self, place: usize) {
        beat(&self.workers, place);
    }

    /// A worker gets on with its slot.
    pub fn still(&self, place: usize) {
        // By two: odd is what says that it is on one.
        if let Some(beat) = self.workers.get(place) {
            beat.fetch_add(2, Ordering::Relaxed);
        }
    }

    /// Looks at the threads. `ended`: names of those that are gone while none should be.
    pub fn look(&self, now: Instant, ended: Vec<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The process as a whole was stopped, or its machine: the others had no time to get on either.
        let paused = now.saturating_duration_since(seen.looked) >= STUCK / 2;
        seen.looked = now;
        seen.ended = ended;
        for ((known, since), beat) in seen.beats.iter_mut().zip(self.captures.iter().chain(&self.workers)) {
            let beat = beat.load(Ordering::Relaxed);
            if beat != *known || paused {
                (*known, *since) = (beat, now);
            }
        }
    }

    /// Which threads are dead or stuck, in words; nothing if none is, or if the run is not to go on anyway.
    #[must_use]
    pub fn trouble(&self, now: Instant) -> Option<String> {
        if self.phase() != Phase::Running {
            return None;
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut troubles: Vec<String> = seen.ended.iter().map(|name| format!("thread {name} is dead")).collect();
        let is_long = |since: Instant| now.saturating_duration_since(since) >= STUCK;
        if is_long(seen.looked) {
            troubles.push(format!("the main thread has not looked around for {} s", STUCK.as_secs()));
        }
        for (place, (beat, since)) in seen.beats.iter().enumerate().filter(|(_, (_, since))| is_long(*since)) {
            let seconds = now.saturating_duration_since(*since).as_secs();
            match place.checked_sub(self.captures.len()) {
                None => troubles.push(format!("capture thread {place} has been stuck for {seconds} s")),
                Some(worker) if beat % 2 == 1 => {
                    troubles.push(format!("thread sandbox-{worker} has been on one slot for {seconds} s"));
                }
                // Nothing to do.
                Some(_) => {}
            }
        }
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    /// Whether the program is alive, as a page.
    ///
    /// # Errors
    /// What is wrong.
    pub fn alive(&self, now: Instant) -> Result<String, String> {
        self.trouble(now).map_or_else(|| Ok("ok\n".to_owned()), Err)
    }

    /// Whether it does its work, as a page. `interfaces`: each with its name and whether it is down; none for files.
    ///
    /// # Errors
    /// What it waits for.
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
        let words = if down.is_empty() { String::new() } else { format!("down: {}", down.join(", ")) };
        match (down.len(), interfaces.len()) {
            (0, _) => Ok("ok\n".to_owned()),
            (down, all) if down < all => Ok(format!("ok, but {words}\n")),
            _ => Err(format!("no interface delivers: {words}")),
        }
    }
}

fn beat(beats: &[AtomicU64], place: usize) {
    if let Some(beat) = beats.get(place) {
        beat.fetch_add(1, Ordering::Relaxed);
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

    /// The main thread looks each second for so many; the capture thread turns if it is to. The moment after them.
    fn pass(health: &Health, start: Instant, seconds: u64, captures: bool) -> Instant {
        let end = start + Duration::from_secs(seconds);
        for second in 0..=seconds {
            if captures {
                health.turned(0);
            }
            health.look(start + Duration::from_secs(second), Vec::new());
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
    fn a_worker_that_does_not_get_done_is_stuck() {
        let (health, start) = running();
        health.slot(1);
        let now = pass(&health, start, 61, true);
        assert_eq!(health.trouble(now).as_deref(), Some("thread sandbox-1 has been on one slot for 61 s"));
        assert!(health.alive(now).is_err() && health.ready(now, &[]).is_err());
        health.slot(1);
        health.look(now, Vec::new());
        assert_eq!(health.trouble(now), None);
    }

    #[test]
    fn a_capture_thread_that_does_not_turn_is_stuck() {
        let (health, start) = running();
        let now = pass(&health, start, 61, false);
        assert_eq!(health.trouble(now).as_deref(), Some("capture thread 0 has been stuck for 61 s"));
    }

    #[test]
    fn a_main_thread_that_does_not_look_is_stuck() {
        let (health, start) = running();
        let trouble = health.trouble(start + STUCK).expect("nobody looked");
        assert!(trouble.starts_with("the main thread"), "{trouble}");
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_is_not_stuck() {
        let (health, start) = running();
        health.look(start + 2 * STUCK, Vec::new());
        assert_eq!(health.trouble(start + 2 * STUCK), None);
    }

    #[test]
    fn a_dead_thread_is_named_unless_the_run_ends() {
        let (health, now) = running();
        health.look(now, vec!["sandbox-0".to_owned()]);
        assert_eq!(health.trouble(now).as_deref(), Some("thread sandbox-0 is dead"));
        health.enter(Phase::Stopping, now);
        assert_eq!(health.trouble(now), None);
    }
}
