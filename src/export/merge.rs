//! The merge puts the records of all workers in the order of completion.
//!
//! The events of a capture thread are numbered, and a record has the number of the one that completed it. A worker's records
//! come in order, and it says below which number it has handed over all (`upto`), even where it had nothing to hand over. So
//! a record is due when every worker has come so far. What waits for that is bounded: beyond [`MAX_HELD`] bytes, or live when
//! the last worker stands still for `HOLD`, nothing is waited for, and what then comes late is out of order.
//!
//! The records of several capture threads are not put in order: their events have no common numbers, and the kernel hands
//! over the frames of one interface up to a tenth of a second later than those of another.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::chunk::{Chunk, ChunkReceiver};

/// The most bytes that wait.
pub const MAX_HELD: usize = 16 << 20;
/// The longest that records wait for a worker that stands still: live. Of an idle one is heard within a tenth of a second.
const HOLD: Duration = Duration::from_millis(250);

/// Records on their way into one output.
#[derive(Debug)]
pub struct Merge {
    /// Of each capture thread. None if there is only one worker.
    groups: Vec<Group>,
    live: bool,
    /// Records that wait, and their bytes.
    records: u64,
    bytes: usize,
    /// Records that did not wait for all that may come before them.
    early: u64,
}

impl Merge {
    /// Of so many capture threads and workers.
    #[must_use]
    pub fn new(producers: usize, workers: usize, live: bool, now: Instant) -> Self {
        let producers = if workers > 1 { producers } else { 0 };
        let groups = (0..producers).map(|_| Group::new(workers, now)).collect();
        Self { groups, live, records: 0, bytes: 0, early: 0 }
    }

    /// Records that wait, and their bytes.
    #[must_use]
    pub const fn held(&self) -> (u64, u64) {
        (self.records, self.bytes as u64)
    }

    /// Records that did not wait for all that may come before them.
    #[must_use]
    pub const fn early(&self) -> u64 {
        self.early
    }

    /// Takes a chunk, and appends what is due to `out`.
    pub fn take(&mut self, chunk: Chunk, out: &mut Chunk, now: Instant, channel: &ChunkReceiver) {
        let Some(group) = self.groups.get_mut(usize::from(chunk.producer)) else {
            debug_assert!(self.groups.is_empty(), "a chunk is of a capture thread that there is");
            out.append(&chunk);
            channel.give_back(chunk);
            return;
        };
        self.bytes += chunk.bytes.len();
        self.records += chunk.records;
        group.take(chunk, now, channel);
        self.release(out, now, channel);
    }

    /// Appends what has waited long enough: live.
    pub fn check(&mut self, out: &mut Chunk, now: Instant, channel: &ChunkReceiver) {
        if self.live && self.records > 0 {
            self.release(out, now, channel);
        }
    }

    /// Appends everything: no more comes.
    pub fn end(&mut self, out: &mut Chunk, channel: &ChunkReceiver) {
        for group in &mut self.groups {
            group.give(u64::MAX, out, channel);
        }
        (self.records, self.bytes) = (0, 0);
    }

    /// Appends what is due, and what is not to wait any longer.
    fn release(&mut self, out: &mut Chunk, now: Instant, channel: &ChunkReceiver) {
        let before = (out.records, out.bytes.len());
        let full = self.bytes > MAX_HELD;
        for group in &mut self.groups {
            group.give(group.upto, out, channel);
            if full || (self.live && now.saturating_duration_since(group.since) >= HOLD) {
                let due = out.records;
                group.give(u64::MAX, out, channel);
                self.early += out.records - due;
            }
        }
        self.records -= out.records - before.0;
        self.bytes -= out.bytes.len() - before.1;
    }
}

/// The records of one capture thread.
#[derive(Debug)]
struct Group {
    /// Of each worker.
    lanes: Vec<Lane>,
    /// Of each worker with records: the number of its first, and the worker.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// Below this number all workers have handed over all.
    upto: u64,
    /// When that last changed.
    since: Instant,
}

impl Group {
    fn new(workers: usize, now: Instant) -> Self {
        let lanes = (0..workers).map(|_| Lane::default()).collect();
        Self { lanes, heads: BinaryHeap::new(), upto: 0, since: now }
    }

    fn take(&mut self, chunk: Chunk, now: Instant, channel: &ChunkReceiver) {
        let worker = chunk.worker;
        let Some(lane) = self.lanes.get_mut(worker) else {
            debug_assert!(false, "a chunk is of a worker that there is");
            return;
        };
        lane.upto = lane.upto.max(chunk.upto);
        match chunk.marks.first() {
            Some(first) => {
                if lane.chunks.is_empty() {
                    self.heads.push(Reverse((first.completed, worker)));
                }
                lane.chunks.push_back(chunk);
            }
            None => channel.give_back(chunk),
        }
        let upto = self.lanes.iter().map(|lane| lane.upto).min().unwrap_or(0);
        if upto > self.upto {
            (self.upto, self.since) = (upto, now);
        }
    }

    /// Appends the records below `limit`.
    fn give(&mut self, limit: u64, out: &mut Chunk, channel: &ChunkReceiver) {
        while let Some(Reverse((_, worker))) = self.heads.peek().copied().filter(|Reverse((first, _))| *first < limit) {
            self.heads.pop();
            let other = self.heads.peek().map_or(u64::MAX, |Reverse((first, _))| *first);
            let Some(lane) = self.lanes.get_mut(worker) else { return };
            if let Some(first) = lane.give(limit.min(other.saturating_add(1)), out, channel) {
                self.heads.push(Reverse((first, worker)));
            }
        }
    }
}

/// The records of one worker.
#[derive(Debug, Default)]
struct Lane {
    chunks: VecDeque<Chunk>,
    /// Records of the first chunk that are gone.
    gone: usize,
    upto: u64,
}

impl Lane {
    /// Appends the records below `limit`. Gives the number of the next.
    fn give(&mut self, limit: u64, out: &mut Chunk, channel: &ChunkReceiver) -> Option<u64> {
        loop {
            let chunk = self.chunks.front()?;
            for mark in chunk.marks.get(self.gone..).unwrap_or_default() {
                if mark.completed >= limit {
                    return Some(mark.completed);
                }
                out.add(chunk, *mark);
                self.gone += 1;
            }
            self.gone = 0;
            self.chunks.pop_front().into_iter().for_each(|chunk| channel.give_back(chunk));
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::export::chunk::{Mark, channel};

    /// A chunk with a record of two digits for each of the numbers.
    fn chunk(worker: usize, upto: u64, numbers: &[u64]) -> Chunk {
        let mut chunk = Chunk { worker, upto, records: numbers.len() as u64, ..Chunk::default() };
        for number in numbers {
            let start = u32::try_from(chunk.bytes.len()).unwrap();
            chunk.bytes.extend_from_slice(format!("{number:02} ").as_bytes());
            chunk.marks.push(Mark { completed: *number, start, end: start + 3 });
        }
        chunk
    }

    struct Merging {
        merge: Merge,
        channel: ChunkReceiver,
        out: Chunk,
    }

    impl Merging {
        fn new(workers: usize, live: bool) -> Self {
            let (_, channel) = channel(4, workers, true, Arc::default());
            Self { merge: Merge::new(1, workers, live, Instant::now()), channel, out: Chunk::default() }
        }
        /// What is written when this chunk has come.
        fn take(&mut self, chunk: Chunk) -> String {
            self.merge.take(chunk, &mut self.out, Instant::now(), &self.channel);
            self.text()
        }
        fn text(&mut self) -> String {
            let text = String::from_utf8(std::mem::take(&mut self.out.bytes)).unwrap();
            assert_eq!(text.matches(' ').count() as u64, self.out.records);
            self.out.clear();
            text
        }
    }

    #[test]
    fn a_record_waits_for_what_may_come_before_it() {
        let mut merging = Merging::new(2, false);
        assert_eq!(merging.take(chunk(0, 10, &[1, 4, 9])), "");
        assert_eq!(merging.merge.held(), (3, 9));
        assert_eq!(merging.take(chunk(1, 5, &[2, 3])), "01 02 03 04 ");
        assert_eq!(merging.take(chunk(1, 10, &[])), "09 ", "a worker without records says how far it is");
        assert_eq!((merging.merge.held(), merging.merge.early()), ((0, 0), 0));
        assert_eq!(merging.take(chunk(0, 20, &[11, 12])), "");
        merging.merge.end(&mut merging.out, &merging.channel);
        assert_eq!(merging.text(), "11 12 ", "the others have ended");
    }

    #[test]
    fn one_worker_waits_for_nothing() {
        assert_eq!(Merging::new(1, false).take(chunk(0, 0, &[5, 1])), "05 01 ");
    }

    #[test]
    fn no_more_than_so_much_is_held() {
        let mut merging = Merging::new(2, false);
        let large = |number| {
            let bytes = vec![b' '; MAX_HELD / 2 + 1];
            let marks = vec![Mark { completed: number, start: 0, end: u32::try_from(bytes.len()).unwrap() }];
            Chunk { bytes, records: 1, marks, upto: number + 1, ..Chunk::default() }
        };
        let Merging { merge, channel, out } = &mut merging;
        merge.take(large(1), out, Instant::now(), channel);
        assert!(out.is_empty());
        merge.take(large(2), out, Instant::now(), channel);
        assert_eq!((out.records, merge.early(), merge.held()), (2, 2, (0, 0)));
    }

    #[test]
    fn live_nothing_waits_long_for_a_worker_that_stands_still() {
        for (live, early) in [(true, 1), (false, 0)] {
            let mut merging = Merging::new(2, live);
            merging.take(chunk(0, 10, &[1]));
            let Merging { merge, channel, out } = &mut merging;
            merge.check(out, Instant::now() + HOLD / 2, channel);
            assert!(out.is_empty());
            merge.check(out, Instant::now() + HOLD, channel);
            assert_eq!((out.records, merge.early()), (early, early));
        }
    }

    proptest! {
        /// However the workers' chunks come: all records are written, in order.
        #[test]
        fn everything_is_written_in_order(
            owners in prop::collection::vec(0usize..4, 0..90),
            cuts in prop::collection::vec(any::<bool>(), 90),
            turns in prop::collection::vec(0usize..4, 200),
        ) {
            let mut lanes: [VecDeque<Chunk>; 4] = Default::default();
            let mut open: [Vec<u64>; 4] = Default::default();
            for (number, (owner, cut)) in (10..).zip(owners.iter().zip(&cuts)) {
                open[*owner].push(number);
                if *cut {
                    let worker = usize::try_from(number).unwrap() % 4;
                    lanes[worker].push_back(chunk(worker, number + 1, &std::mem::take(&mut open[worker])));
                }
            }
            for (worker, numbers) in open.iter().enumerate() {
                lanes[worker].push_back(chunk(worker, 1000, numbers));
            }
            let mut merging = Merging::new(4, false);
            let mut text = String::new();
            for worker in turns.into_iter().chain((0..4).flat_map(|worker| vec![worker; 100])) {
                if let Some(chunk) = lanes[worker].pop_front() {
                    text += &merging.take(chunk);
                }
            }
            let expected: String = (10..10 + owners.len()).map(|number| format!("{number:02} ")).collect();
            prop_assert_eq!(text, expected);
            prop_assert_eq!((merging.merge.held(), merging.merge.early()), ((0, 0), 0));
        }
    }
}
