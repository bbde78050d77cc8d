//! A capture thread takes stream events from its producer into slots, and delivers those.
//!
//! What is the same for every [`Producer`] is here, once: skip hints, publishing, the number of frames to read, the request to
//! stop, and the end.

mod delivery;
mod files;
mod live;
mod packets;
mod producer;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;

pub use self::delivery::{Delivery, WorkerChannel};
pub use self::files::FileProducer;
pub use self::live::LiveProducer;
pub use self::packets::Packets;
pub use self::producer::{Producer, Step};
use super::shared::{CaptureCounters, Shared};
use super::worker::{Hint, SkipHint};
use crate::batch::{Batcher, keep_whole};
use crate::clock::wall_clock;
use crate::daemon::shutdown::{Shutdown, Why};

/// Frames between two publications of the counters of a producer that is not live.
const FRAMES_PER_REPORT: u64 = 8192;
/// Nanoseconds between two publications of a live producer's counters.
const REPORT_EVERY: u64 = 500_000_000;

/// Everything that a capture thread owns beside its producer.
pub struct Capture {
    /// Number of the capture thread, from 0.
    pub index: usize,
    /// Slots that are being filled.
    pub batcher: Batcher<Delivery>,
    /// Hints from the workers.
    pub skips: Receiver<Hint>,
    /// Frames to read at the most.
    pub left: u64,
    /// Where counters are published.
    pub shared: Arc<Shared>,
    /// The request to stop.
    pub shutdown: Shutdown,
    /// What is published.
    pub counters: CaptureCounters,
}

impl Capture {
    /// Takes events until the producer ends, or enough was taken. Gives what went wrong, for people.
    pub fn run<P: Producer>(mut self, producer: &mut P) -> Vec<String> {
        let mut failed = None;
        let mut reported = i64::MIN;
        let mut report_at = self.left.saturating_sub(FRAMES_PER_REPORT);
        while self.left > 0 {
            self.shared.health.turned(self.index);
            let now = match producer.step(self.left, &mut self.batcher) {
                Ok(Step::Taken { count, time }) => {
                    debug_assert!(count <= self.left, "a producer takes no more than it is asked to");
                    self.left = self.left.saturating_sub(count);
                    time
                }
                Ok(Step::Idle) => {
                    // Wall time, so that ends, timers and half-full slots do not wait for the next frame.
                    let now = wall_clock();
                    producer.tick(now, &mut self.batcher);
                    now
                }
                Ok(Step::Lost(text)) => self.available(false, &text),
                Ok(Step::Back(text)) => self.available(true, &text),
                Ok(Step::End) => break,
                Err(error) => {
                    failed = Some(error.to_string());
                    self.shutdown.ask(Why::Failed);
                    break;
                }
            };
            if P::LIVE {
                self.batcher.press(producer.is_pressed());
                self.batcher.tick(now);
            }
            self.apply_hints(producer);
            if P::LIVE {
                let since = now.abs_diff(reported);
                // In both directions: a clock that is set back must not silence the counters.
                if since >= REPORT_EVERY {
                    reported = now;
                    self.report(producer);
                    if let Some(lasts) = producer.buffer_lasts(since) {
                        self.batcher.deliverer().buffer_lasts(lasts);
                    }
                }
            } else if self.left <= report_at {
                report_at = self.left.saturating_sub(FRAMES_PER_REPORT);
                self.report(producer);
            }
        }
        if P::LIVE && self.left == 0 {
            self.shutdown.ask(Why::Enough);
        }
        warn(producer);
        producer.finish(&mut self.batcher);
        self.batcher.flush();
        self.publish(producer);
        failed.into_iter().chain(producer.errors()).collect()
    }

    /// Reports that the input is down or back, and gives the time of day.
    fn available(&mut self, available: bool, text: &str) -> i64 {
        eprintln!("picotap: {text}");
        self.counters.down = !available;
        wall_clock()
    }

    /// Applies the hints received since the last call.
    fn apply_hints(&mut self, producer: &mut impl Producer) {
        while let Ok(hint) = self.skips.try_recv() {
            match hint {
                Hint::Skip(SkipHint { id, side, upto }) => producer.skip(id, side, upto),
                Hint::Whole(id) => producer.tag(id).map_or((), keep_whole),
            }
        }
    }

    /// Publishes the counters while the run goes on, and what people are to know.
    fn report(&mut self, producer: &mut impl Producer) {
        producer.set_external(self.shared.worker_memory());
        self.publish(producer);
        if let Some(bytes) = producer.bytes_read() {
            self.shared.progress.store(bytes, Ordering::Relaxed);
        }
        warn(producer);
    }

    fn publish(&mut self, producer: &mut impl Producer) {
        producer.counters(&mut self.counters);
        self.counters.batch = self.batcher.counters();
        (self.counters.figures.waits, self.counters.figures.waited) = self.batcher.deliverer().waits;
        self.shared.publish_capture(self.index, &self.counters);
    }
}

/// Says what people are to know.
fn warn(producer: &mut impl Producer) {
    while let Some(warning) = producer.warning() {
        eprintln!("picotap: {warning}");
    }
}

#[cfg(test)]
mod tests;
