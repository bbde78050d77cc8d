//! The producer of a live capture: one interface, or one member of its fan-out group.

use std::time::Duration;

use super::packets::Packets;
use super::producer::{Producer, Step};
use crate::clock::wall_clock;
use crate::flow::AHEAD;
use crate::pipeline::keep::Store;
use crate::pipeline::shared::CaptureCounters;
use crate::source::live::{self, Live, LiveError, LiveStats};
use crate::stream::{ConnectionId, Side, Sink, SinkTag};

/// Bytes that the kernel's ring takes for a frame beside its own. An estimate.
const FRAME_OVERHEAD: u64 = 100;

/// What is lent at once is taken at once.
const _: () = assert!(live::MOST_AHEAD <= AHEAD);

/// What was taken from the ring in one turn.
struct Taken {
    bytes: u64,
    /// Time stamps of the first and the last frame.
    from: i64,
    to: i64,
}

impl Taken {
    /// Whether a quarter of a ring of so many bytes must be full `now`: as much as came since the last frame, at the rate of what
    /// was taken. Of a turn that took little nothing is concluded: the kernel may keep a block for a while that is not full.
    fn leaves_much(&self, ring: u64, now: i64) -> bool {
        let since = |time: i64| u128::from(now.saturating_sub(time).max(0).unsigned_abs());
        let (behind, span) = (since(self.to), since(self.from).saturating_sub(since(self.to)).max(1));
        self.bytes >= ring / 64 && u128::from(self.bytes) * behind / span > u128::from(ring / 4)
    }
}

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
    /// So much of the ring is full that what is shed is less than what may be lost.
    pressed: bool,
    /// The kernel had dropped frames when it was last asked.
    overflown: bool,
    warned: bool,
}

impl LiveProducer {
    /// Captures what is open already.
    #[must_use]
    pub fn new(live: Live, packets: Packets) -> Self {
        let stats = LiveStats::default();
        Self { live, packets, stats, dropped: 0, taken: 0, pressed: false, overflown: false, warned: false }
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
        let (mut count, mut time, mut from) = (0, 0, i64::MAX);
        let before = taken(packets);
        let turn = live.turn_ahead(|frames| {
            let left = usize::try_from(most - count).unwrap_or(usize::MAX);
            let frames = frames.take(left);
            let Some(first) = frames.clone().next() else { return };
            from = from.min(first.time);
            let (taken, last) = if frames.len() == 1 {
                packets.frame(&first, sink);
                (1, first.time)
            } else {
                packets.frames(frames, sink)
            };
            (count, time) = (count + taken, last);
        })?;
        packets.settle();
        let is_filling = match live.fill() {
            Some((full, blocks)) => full > blocks / 4,
            None => {
                let turned = Taken { bytes: taken(packets) - before, from, to: time };
                turned.leaves_much(live.ring_bytes(), wall_clock())
            }
        };
        self.pressed = self.overflown || is_filling;
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

    fn tag(&mut self, id: ConnectionId) -> Option<&mut SinkTag> {
        self.packets.tag(id)
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
        let taken = taken(&self.packets);
        let in_time = taken - std::mem::replace(&mut self.taken, taken);
        self.overflown = self.stats.dropped > dropped;
        if self.overflown {
            return Some(Duration::ZERO);
        }
        let lasts = u128::from(self.live.ring_bytes()) * u128::from(since) / u128::from(in_time.max(1));
        Some(Duration::from_nanos(u64::try_from(lasts).unwrap_or(u64::MAX)))
    }

    fn is_pressed(&self) -> bool {
        self.pressed
    }

    fn warning(&mut self) -> Option<String> {
        let unread = self.packets.unread().filter(|_| !self.warned)?;
        self.warned = true;
        Some(format!("{}: {unread}", self.live.interface()))
    }
}

/// Bytes of the ring that all frames have taken so far.
fn taken(packets: &Packets) -> u64 {
    let (bytes, frames) = packets.taken();
    bytes + frames * FRAME_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_full_by_the_age_of_what_was_taken_of_it() {
        const RING: u64 = 64 << 20;
        const MS: i64 = 1_000_000;
        // 4 MiB in 4 ms, and the last frame is so old.
        let behind =
            |age: i64| Taken { bytes: 4 << 20, from: 100 * MS, to: 104 * MS }.leaves_much(RING, 104 * MS + age);
        assert_eq!([0, 10 * MS, 17 * MS, 60 * MS].map(behind), [false, false, true, true]);
        assert!(!behind(-5 * MS), "a clock that is set back");
        // A block that was kept because it was not full; frames with one time stamp; no frame at all.
        assert!(!Taken { bytes: 3000, from: 0, to: 1000 }.leaves_much(RING, 100 * MS));
        assert!(Taken { bytes: 4 << 20, from: MS, to: MS }.leaves_much(RING, 2 * MS));
        assert!(!Taken { bytes: 0, from: i64::MAX, to: 0 }.leaves_much(RING, i64::MAX));
    }
}
