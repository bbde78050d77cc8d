//! A capture thread: frames to segments to slots.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};

use super::shared::{CaptureCounters, Shared};
use super::worker::SkipHint;
use crate::batch::{Batcher, Deliver, Slot};
use crate::clock::{nanoseconds, now, wall_clock};
use crate::daemon::shutdown::{Shutdown, Why};
use crate::flow::{AHEAD, Table};
use crate::packet::{Decoder, NoSegment, Outcome};
use crate::source::live::{Live, Turn};
use crate::source::{Captures, Error, Frame};

/// Frames between two publications of the counters.
const FRAMES_PER_REPORT: u64 = 8192;
/// Nanoseconds between two publications of a live capture's counters.
const REPORT_EVERY: u64 = 500_000_000;

/// Bytes that the kernel's ring takes for a frame beside its own. An estimate.
const FRAME_OVERHEAD: u64 = 100;

/// Full slots to a worker, and empty slots back.
pub type WorkerChannel = (Sender<Box<Slot>>, Receiver<Box<Slot>>);

/// The way to the workers. A full queue is waited for, within bounds, before anything is dropped: a worker that was held up
/// for a moment has caught up by then, and meanwhile the kernel's ring takes what comes.
pub struct Delivery {
    /// One for each worker: full slots there, empty slots back.
    workers: Vec<WorkerChannel>,
    /// The time that each worker may be waited for in a second.
    allowed: Duration,
    /// The time that each was waited for in the present second.
    waited: Vec<Duration>,
    /// When the present second began.
    second: Instant,
    /// Waits, and nanoseconds of them.
    waits: (u64, u64),
}

/// The longest that a worker is waited for in a second. Arbitrary: the ring's share, below, is the smaller one where it
/// matters.
const MAX_WAIT: Duration = Duration::from_millis(50);

impl Delivery {
    /// To these workers.
    #[must_use]
    pub fn new(workers: Vec<WorkerChannel>) -> Self {
        let waited = vec![Duration::ZERO; workers.len()];
        Self { workers, allowed: MAX_WAIT, waited, second: now(), waits: (0, 0) }
    }

    /// Says how long the ring lasts at the present rate, of which a quarter may be spent waiting; zero after the kernel has
    /// dropped something.
    fn ring_lasts(&mut self, time: Duration) {
        self.allowed = (time / 4).min(MAX_WAIT);
    }

    fn send(&mut self, worker: usize, slot: Box<Slot>) -> Result<(), Box<Slot>> {
        let Some((full, _)) = self.workers.get(worker) else { return Err(slot) };
        let slot = match full.try_send(slot) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(slot)) => return Err(slot),
            Err(TrySendError::Full(slot)) => slot,
        };
        let start = now();
        if start.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = start;
            self.waited.fill(Duration::ZERO);
        }
        let Some(waited) = self.waited.get_mut(worker) else { return Err(slot) };
        let left = self.allowed.saturating_sub(*waited);
        if left.is_zero() {
            return Err(slot);
        }
        let sent = full.send_timeout(slot, left).map_err(SendTimeoutError::into_inner);
        let time = start.elapsed();
        *waited += time;
        self.waits.0 += 1;
        self.waits.1 += nanoseconds(time);
        sent
    }
}

impl Deliver for Delivery {
    fn deliver(&mut self, worker: usize, slot: Box<Slot>, must: bool) -> Result<Box<Slot>, Box<Slot>> {
        let back = if must {
            let Some((full, _)) = self.workers.get(worker) else { return Err(slot) };
            full.send(slot).map_err(|e| e.0)
        } else {
            self.send(worker, slot)
        };
        let Some((_, empty)) = self.workers.get(worker) else { return back.map(|()| Box::default()) };
        // If the worker is gone the pipeline is coming down, and the slot is dropped like one that found no room.
        back.map(|()| empty.try_recv().unwrap_or_else(|_| Box::new(Slot::new())))
    }
}

/// Everything that a capture thread owns.
pub struct Capture {
    /// Which capture thread it is.
    pub place: usize,
    /// Takes segments out of frames.
    pub decoder: Decoder,
    /// Connections.
    pub table: Table,
    /// Slots.
    pub batcher: Batcher<Delivery>,
    /// Words from the workers.
    pub skips: Receiver<SkipHint>,
    /// Frames to read at the most.
    pub left: u64,
    /// Where counters are published.
    pub shared: Arc<Shared>,
    /// The request to stop.
    pub shutdown: Shutdown,
    /// What is published.
    pub counters: CaptureCounters,
    /// A link type that is not read, if frames had one.
    pub unread_link: Option<i32>,
    /// Bytes of the kernel's ring that all frames so far took.
    pub taken: u64,
}

impl Capture {
    /// Takes frames that lie side by side in memory.
    fn frames<'a>(&mut self, frames: impl Iterator<Item = Frame<'a>> + Clone) {
        let mut ahead = [None; AHEAD];
        for (place, frame) in ahead.iter_mut().zip(frames.clone()) {
            *place = self.decoder.quick(&frame);
        }
        let hashes = self.table.seek(&ahead);
        for (frame, (segment, hash)) in frames.zip(ahead.iter().zip(hashes)) {
            let Some(segment) = segment else {
                self.frame(&frame);
                continue;
            };
            self.counters.figures.bytes += frame.data.len() as u64;
            self.table.hashed_segment(hash, segment, &mut self.batcher);
            self.left -= 1;
        }
    }

    /// Takes one frame.
    fn frame(&mut self, frame: &Frame<'_>) {
        self.counters.figures.bytes += frame.data.len() as u64;
        let outcome = self.decoder.decode(frame);
        match outcome {
            Outcome::Segment(segment) => self.table.segment(&segment, &mut self.batcher),
            Outcome::Waits | Outcome::Skipped(_) => {
                if let Outcome::Skipped(NoSegment::UnknownLinkType) = outcome {
                    self.unread_link.get_or_insert(frame.link);
                }
                self.table.tick(frame.time, &mut self.batcher);
            }
        }
        self.left -= 1;
    }

    /// Applies the skip hints received since the last call.
    fn apply_hints(&mut self) {
        while let Ok(SkipHint { id, side, upto }) = self.skips.try_recv() {
            self.table.skip(id, side, upto);
        }
    }

    fn report(&mut self) {
        self.table.set_external(self.shared.worker_memory());
        self.counters.packets = *self.decoder.counts();
        self.counters.flow = *self.table.counters();
        self.counters.batch = self.batcher.counters();
        (self.counters.figures.waits, self.counters.figures.waited) = self.batcher.deliverer().waits;
        self.counters.figures.connections = self.table.len() as u64;
        self.shared.publish_capture(self.place, &self.counters);
    }

    /// What could not be looked into, in words.
    fn unread(&self) -> Option<String> {
        let link = self.unread_link?;
        let count = self.decoder.counts().skipped(NoSegment::UnknownLinkType);
        let name = pcap::Linktype(link).get_name().map_or_else(|_| String::new(), |name| format!(" ({name})"));
        Some(format!(
            "{count} frames have link type {link}{name}, which picotap does not read: nothing in them was looked at \
             (capture on another interface, or convert the file)"
        ))
    }

    /// Reads capture files to their end. Gives what went wrong, in words.
    pub fn files(mut self, mut captures: Captures) -> Vec<String> {
        let mut errors: Vec<Error> = Vec::new();
        let mut report_at = self.left.saturating_sub(FRAMES_PER_REPORT);
        while self.left > 0 {
            let most = usize::try_from(self.left).unwrap_or(AHEAD).min(AHEAD);
            let before = self.left;
            match captures.next_frames(most) {
                Ok(frames) => self.frames(frames),
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            }
            if self.left == before || self.shutdown.asked() {
                break;
            }
            self.apply_hints();
            if self.left <= report_at {
                report_at = self.left.saturating_sub(FRAMES_PER_REPORT);
                self.counters.figures.filtered = captures.filtered();
                self.shared.progress.store(captures.progress().bytes, Ordering::Relaxed);
                self.report();
            }
        }
        if self.shutdown.why() == Some(Why::Signal) {
            // A pipe that was left in the middle ends in the middle of a packet: that is no fault of the capture.
            errors.clear();
        }
        self.counters.figures.filtered = captures.filtered();
        self.finish();
        errors.iter().map(ToString::to_string).chain(self.unread()).collect()
    }

    /// Captures until a stop is asked for. Gives what went wrong.
    pub fn live(mut self, mut live: Live) -> Vec<String> {
        let name = live.interface().to_owned();
        let mut errors = Vec::new();
        let mut reported = i64::MIN;
        let mut told = false;
        loop {
            self.shared.health.turned(self.place);
            let mut last = 0;
            let turn = live.turn(|frame| {
                if self.left > 0 {
                    self.frame(&frame);
                    last = frame.time;
                }
            });
            let now = match turn {
                Ok(Turn::Frames(_)) => last,
                Ok(Turn::Idle) => {
                    // A tick of wall time, so that ends, timers and half-full slots do not hang on an idle interface.
                    let now = wall_clock();
                    self.table.tick(now, &mut self.batcher);
                    now
                }
                Ok(Turn::Lost(text)) => {
                    eprintln!("picotap: {name}: {text}; waiting for it to come back");
                    self.counters.down = true;
                    wall_clock()
                }
                Ok(Turn::Back) => {
                    eprintln!("picotap: {name}: is back");
                    self.counters.down = false;
                    wall_clock()
                }
                Ok(Turn::Stopped) => break,
                Err(error) => {
                    errors.push(error.to_string());
                    self.shutdown.ask(Why::Failed);
                    break;
                }
            };
            self.batcher.tick(now);
            self.apply_hints();
            // Either way: a clock that is set back must not silence the counters.
            if now.abs_diff(reported) >= REPORT_EVERY {
                self.report_live(&mut live, now.abs_diff(reported));
                reported = now;
                if let Some(unread) = self.unread().filter(|_| !told) {
                    told = true;
                    eprintln!("picotap: {name}: {unread}");
                }
            }
            if self.left == 0 {
                self.shutdown.ask(Why::Enough);
                break;
            }
        }
        self.counters.live = live.stats();
        self.finish();
        errors
    }

    /// Publishes what was counted in the nanoseconds since the last time, and says how long the ring would last.
    fn report_live(&mut self, live: &mut Live, since: u64) {
        let dropped = self.counters.live.dropped;
        self.counters.live = live.stats();
        self.report();
        let taken = self.counters.figures.bytes + self.counters.packets.frames * FRAME_OVERHEAD;
        let in_time = taken - std::mem::replace(&mut self.taken, taken);
        let lasts = if self.counters.live.dropped > dropped {
            0
        } else {
            u128::from(live.ring_bytes()) * u128::from(since) / u128::from(in_time.max(1))
        };
        self.batcher.deliverer().ring_lasts(Duration::from_nanos(u64::try_from(lasts).unwrap_or(u64::MAX)));
    }

    /// Hands on everything that is held.
    fn finish(&mut self) {
        self.decoder.finish();
        self.table.finish(&mut self.batcher);
        self.batcher.flush();
        self.report();
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    /// A way to one worker with room for one slot, and the worker's end of it.
    fn delivery() -> (Delivery, Receiver<Box<Slot>>) {
        let (full, taken) = bounded(1);
        let (_, empty) = bounded(1);
        (Delivery::new(vec![(full, empty)]), taken)
    }

    #[test]
    fn a_full_queue_is_waited_for_only_so_long_in_a_second() {
        let (mut delivery, _taken) = delivery();
        assert!(delivery.deliver(0, Box::default(), false).is_ok());
        let start = now();
        for _ in 0..100 {
            assert!(delivery.deliver(0, Box::default(), false).is_err());
        }
        assert!(delivery.waits.0 >= 1 && delivery.waits.1 >= nanoseconds(MAX_WAIT));
        // A hundred full waits would be five seconds; three seconds may pass on a busy machine.
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_worker_that_catches_up_gets_the_slot() {
        let (mut delivery, taken) = delivery();
        assert!(delivery.deliver(0, Box::default(), false).is_ok());
        let worker = std::thread::spawn(move || (taken.recv().is_ok(), taken));
        assert!(delivery.deliver(0, Box::default(), false).is_ok(), "it had 50 ms");
        assert!(worker.join().unwrap().0);
    }

    #[test]
    fn after_the_kernel_has_dropped_nothing_is_waited_for() {
        let (mut delivery, _taken) = delivery();
        delivery.ring_lasts(Duration::ZERO);
        assert!(delivery.deliver(0, Box::default(), false).is_ok());
        assert!(delivery.deliver(0, Box::default(), false).is_err());
        assert_eq!(delivery.waits, (0, 0));
        delivery.ring_lasts(Duration::from_secs(1));
        assert_eq!(delivery.allowed, MAX_WAIT);
        delivery.ring_lasts(Duration::from_millis(8));
        assert_eq!(delivery.allowed, Duration::from_millis(2));
    }
}
