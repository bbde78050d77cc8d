//! The producer of a live capture: one interface, or one member of its fan-out group.

use std::time::Duration;

use super::packets::Packets;
use super::producer::{Producer, Step};
use crate::pipeline::keep::Store;
use crate::pipeline::shared::CaptureCounters;
use crate::source::live::{self, Live, LiveError, LiveStats};
use crate::stream::{ConnectionId, Side, Sink};

/// Bytes that the kernel's ring takes for a frame beside its own. An estimate.
const FRAME_OVERHEAD: u64 = 100;

/// Captures from an interface until its [`Stopper`](live::Stopper) is used.
pub struct LiveProducer {
    live: Live,
    packets: Packets,
    /// The kernel's counters as they were last read.
    stats: LiveStats,
    /// Frames that the kernel had dropped when it was last asked how long its ring lasts.
    dropped: u64,
    /// Bytes of the ring that all frames had taken by then.
    taken: u64,
    warned: bool,
}

impl LiveProducer {
    /// Captures what is open already.
    #[must_use]
    pub fn new(live: Live, packets: Packets) -> Self {
        Self { live, packets, stats: LiveStats::default(), dropped: 0, taken: 0, warned: false }
    }

    /// Gives what keeps packets, after the last.
    pub fn take_store(&mut self) -> Option<Box<Store>> {
        self.packets.take_store()
    }
}

impl Producer for LiveProducer {
    type Error = LiveError;
    const LIVE: bool = true;

    fn step<S: Sink>(&mut self, most: u64, sink: &mut S) -> Result<Step, LiveError> {
        let Self { live, packets, .. } = self;
        let (mut count, mut time) = (0, 0);
        let turn = live.turn(|frame| {
            if count < most {
                packets.frame(&frame, sink);
                (count, time) = (count + 1, frame.time);
            }
        })?;
        packets.settle();
        let name = self.live.interface();
        Ok(match turn {
            live::Turn::Frames(_) => Step::Taken { count, time },
            live::Turn::Idle => Step::Idle,
            live::Turn::Lost(cause) => Step::Lost(format!("{name}: {cause}; waiting for it to come back")),
            live::Turn::Back => Step::Back(format!("{name}: is back")),
            live::Turn::Stopped => Step::End,
        })
    }

    fn tick<S: Sink>(&mut self, now: i64, sink: &mut S) {
        self.packets.tick(now, sink);
    }

    fn skip(&mut self, id: ConnectionId, side: Side, upto: u64) {
        self.packets.skip(id, side, upto);
    }

    fn set_external(&mut self, bytes: u64) {
        self.packets.set_external(bytes);
    }

    fn counters(&mut self, counters: &mut CaptureCounters) {
        self.packets.counters(counters);
        self.stats = self.live.stats();
        counters.live = self.stats;
    }

    fn finish<S: Sink>(&mut self, sink: &mut S) {
        self.packets.finish(sink);
    }

    fn buffer_lasts(&mut self, since: u64) -> Option<Duration> {
        let dropped = std::mem::replace(&mut self.dropped, self.stats.dropped);
        let (bytes, frames) = self.packets.taken();
        let taken = bytes + frames * FRAME_OVERHEAD;
        let in_time = taken - std::mem::replace(&mut self.taken, taken);
        if self.stats.dropped > dropped {
            return Some(Duration::ZERO);
        }
        let lasts = u128::from(self.live.ring_bytes()) * u128::from(since) / u128::from(in_time.max(1));
        Some(Duration::from_nanos(u64::try_from(lasts).unwrap_or(u64::MAX)))
    }

    fn warning(&mut self) -> Option<String> {
        let unread = self.packets.unread().filter(|_| !self.warned)?;
        self.warned = true;
        Some(format!("{}: {unread}", self.live.interface()))
    }
}
