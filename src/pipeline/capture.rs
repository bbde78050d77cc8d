//! A capture thread: frames to segments to slots.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::run::wall_clock;
use super::shared::{CaptureCounters, Shared};
use super::shutdown::{Shutdown, Why};
use super::worker::Skip;
use crate::batch::{Batcher, Deliver, Slot};
use crate::flow::{Side, Table};
use crate::packet::{Decoder, Outcome};
use crate::source::live::{Live, Turn};
use crate::source::{Captures, Error, Frame};

/// Frames between two looks at what the workers say and at the wish to stop.
const FRAMES_PER_LOOK: u64 = 64;
/// Frames between two publications of the counters.
const FRAMES_PER_REPORT: u64 = 8192;
/// Nanoseconds between two publications of a live capture's counters.
const REPORT_EVERY: u64 = 500_000_000;

/// Full slots to a worker, and empty slots back.
pub type Lane = (Sender<Box<Slot>>, Receiver<Box<Slot>>);

/// The way to the workers.
pub struct Delivery {
    /// One for each worker: full slots there, empty slots back.
    pub workers: Vec<Lane>,
}

impl Deliver for Delivery {
    fn deliver(&mut self, worker: usize, slot: Box<Slot>, must: bool) -> Result<Box<Slot>, Box<Slot>> {
        let Some((full, empty)) = self.workers.get(worker) else { return Err(slot) };
        let back = if must {
            full.send(slot).map_err(|e| e.0)
        } else {
            full.try_send(slot).map_err(|e| match e {
                TrySendError::Full(slot) | TrySendError::Disconnected(slot) => slot,
            })
        };
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
    pub skips: Receiver<Skip>,
    /// Frames to read at the most.
    pub left: u64,
    /// Where counters are published.
    pub shared: Arc<Shared>,
    /// The wish to stop.
    pub shutdown: Shutdown,
    /// What is published.
    pub counters: CaptureCounters,
}

impl Capture {
    /// Takes one frame.
    fn frame(&mut self, frame: &Frame<'_>) {
        self.counters.bytes += frame.data.len() as u64;
        match self.decoder.decode(frame) {
            Outcome::Segment(segment) => self.table.segment(&segment, &mut self.batcher),
            Outcome::Waits | Outcome::Skipped(_) => self.table.tick(frame.time, &mut self.batcher),
        }
        self.left -= 1;
    }

    /// Hears what the workers say.
    fn hear(&mut self) {
        while let Ok(skip) = self.skips.try_recv() {
            let side = if skip.side == 0 { Side::First } else { Side::Second };
            self.table.skip(skip.index, skip.number, side, skip.upto);
        }
    }

    fn report(&mut self) {
        self.table.set_external(self.shared.worker_memory());
        self.counters.packets = self.decoder.counts().clone();
        self.counters.flow = *self.table.counters();
        self.counters.batch = self.batcher.counters();
        self.counters.connections = self.table.len() as u64;
        self.shared.publish_capture(self.place, &self.counters);
    }

    /// Reads capture files to their end. Gives what went wrong with each that could not be read whole.
    pub fn files(mut self, mut captures: Captures) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut frames: u64 = 0;
        while self.left > 0 {
            match captures.next_frame() {
                Ok(Some(frame)) => self.frame(&frame),
                Ok(None) => break,
                Err(error) => errors.push(error),
            }
            frames += 1;
            if frames.is_multiple_of(FRAMES_PER_LOOK) {
                if self.shutdown.asked() {
                    break;
                }
                self.hear();
                if frames.is_multiple_of(FRAMES_PER_REPORT) {
                    self.counters.filtered = captures.filtered();
                    self.shared.progress.store(captures.progress().bytes, Ordering::Relaxed);
                    self.report();
                }
            }
        }
        if self.shutdown.why() == Some(Why::Signal) {
            // A pipe that was left in the middle ends in the middle of a packet: that is no fault of the capture.
            errors.clear();
        }
        self.counters.filtered = captures.filtered();
        self.finish();
        errors
    }

    /// Captures until a stop is asked for. Gives what went wrong.
    pub fn live(mut self, mut live: Live) -> Vec<String> {
        let name = live.interface().to_owned();
        let mut errors = Vec::new();
        let mut reported = i64::MIN;
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
            self.hear();
            // Either way: a clock that is set back must not silence the counters.
            if now.abs_diff(reported) >= REPORT_EVERY {
                reported = now;
                self.counters.live = live.stats();
                self.report();
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

    /// Hands on everything that is held.
    fn finish(&mut self) {
        self.decoder.finish();
        self.table.finish(&mut self.batcher);
        self.batcher.flush();
        self.report();
    }
}
