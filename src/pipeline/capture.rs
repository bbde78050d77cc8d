//! The capture thread: frames to segments to slots.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::run::Shared;
use super::shutdown::{Shutdown, Why};
use super::worker::Skip;
use crate::batch::{Batcher, Deliver, Slot};
use crate::flow::{Side, Table};
use crate::packet::{Decoder, Outcome};
use crate::source::{Captures, Error, Frame};

/// Frames between two looks at what the workers say and at the wish to stop.
const FRAMES_PER_LOOK: u64 = 64;
/// Frames between two publications of the counters.
const FRAMES_PER_REPORT: u64 = 8192;

/// The way to the workers.
pub struct Delivery {
    /// One for each worker: full slots there, empty slots back.
    pub workers: Vec<(Sender<Box<Slot>>, Receiver<Box<Slot>>)>,
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
        match back {
            Ok(()) => Ok(empty.try_recv().unwrap_or_else(|_| Box::new(Slot::new()))),
            // The worker is gone, so the pipeline is coming down: what is thrown away is accounted for by the slot.
            Err(slot) => Err(slot),
        }
    }
}

/// Everything that the capture thread owns.
pub struct Capture {
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
}

impl Capture {
    /// Takes one frame.
    fn frame(&mut self, frame: &Frame<'_>) {
        match self.decoder.decode(frame) {
            Outcome::Segment(segment) => self.table.segment(&segment, &mut self.batcher),
            Outcome::Waits | Outcome::Skipped(_) => self.table.tick(frame.time, &mut self.batcher),
        }
        self.left -= 1;
    }

    /// What is done every few frames.
    fn look(&mut self, frames: u64, filtered: u64) {
        while let Ok(skip) = self.skips.try_recv() {
            let side = if skip.side == 0 { Side::First } else { Side::Second };
            self.table.skip(skip.index, skip.number, side, skip.upto);
        }
        if frames % FRAMES_PER_REPORT == 0 {
            self.report(filtered);
        }
    }

    fn report(&mut self, filtered: u64) {
        let elsewhere: u64 = self.shared.worker_memory.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        self.table.set_external(elsewhere);
        if let Ok(mut counters) = self.shared.capture.lock() {
            counters.packets = self.decoder.counts().clone();
            counters.flow = *self.table.counters();
            counters.batch = self.batcher.counters();
            counters.filtered = filtered;
            counters.connections = self.table.len() as u64;
            counters.memory = self.table.memory_used();
        }
    }

    /// Reads capture files to their end. Gives what went wrong with each that could not be read whole.
    pub fn files(mut self, mut captures: Captures) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut frames = 0;
        let mut last = i64::MIN;
        while self.left > 0 {
            match captures.next_frame() {
                Ok(Some(frame)) => {
                    self.frame(&frame);
                    last = frame.time;
                }
                Ok(None) => break,
                Err(error) => errors.push(error),
            }
            frames += 1;
            if frames % FRAMES_PER_LOOK == 0 {
                if self.shutdown.asked() {
                    break;
                }
                self.look(frames, captures.filtered());
                self.batcher.tick(last);
                let progress = captures.progress();
                self.shared.progress.store(progress.bytes, Ordering::Relaxed);
            }
        }
        if self.shutdown.why() == Some(Why::Signal) {
            // A pipe that was left in the middle ends in the middle of a packet: that is no fault of the capture.
            errors.clear();
        }
        self.finish(captures.filtered());
        errors
    }

    /// Hands on everything that is held.
    pub fn finish(&mut self, filtered: u64) {
        self.decoder.finish();
        self.table.finish(&mut self.batcher);
        self.batcher.flush();
        self.report(filtered);
    }
}
