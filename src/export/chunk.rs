//! A chunk is a run of encoded records on its way from a worker to the export thread, which is where the workers' outputs are
//! merged into one.
//!
//! A worker only encodes, puts the records of each slot in the order of completion, and hands a chunk over when no more slots
//! wait, or when it is large. Chunks of one worker arrive in their order. All of it is bounded: the channel, the size of a
//! chunk, and the number of empty chunks that go back to be used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};

use super::consumer::Consumer;
use crate::http::Transaction;
use crate::stream::Span;

/// Bytes that are handed over though more slots wait: each hand-over wakes the export thread.
const GATHER: usize = 128 << 10;
/// Bytes that are handed over in the middle of a slot: the records of one slot have no bound of their own. They are in order
/// up to here.
const MAX_CHUNK: usize = 1 << 20;
/// Slots after which a chunk is handed over though more wait, where lines of other workers wait for it.
const MAX_SLOTS: u32 = 8;

/// Where a record ends, and when it was completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// See [`Transaction::completed`].
    pub completed: u64,
    /// Its end in the chunk.
    pub end: usize,
}

/// Encoded records, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The records.
    pub bytes: Vec<u8>,
    /// How many they are.
    pub records: u64,
    /// Of each: its end. None where chunks were put together.
    pub marks: Vec<Mark>,
    /// The worker, from 0.
    pub worker: usize,
    /// Index of the capture thread whose events completed them.
    pub producer: u16,
    /// All that the worker makes of this capture thread's events below this number has been handed over.
    pub upto: u64,
}

impl Chunk {
    /// Whether it holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        (self.records, self.upto) = (0, 0);
    }

    /// Adds the records of another behind its own.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.records += other.records;
    }
}

/// Encodes transactions as records. Each worker has its own.
pub trait Encoder: Send {
    /// Appends the record of a transaction, if it is to have one. Whether it is.
    fn encode(&mut self, transaction: &Transaction, out: &mut Vec<u8>) -> bool;
}

/// A channel for `capacity` chunks of so many workers. `lossless`: a worker waits for room; otherwise its chunk is dropped and
/// its records are counted in `unsent`.
#[must_use]
pub fn channel(
    capacity: usize,
    workers: usize,
    lossless: bool,
    unsent: Arc<AtomicU64>,
) -> (ChunkSender, ChunkReceiver) {
    let (full_in, full) = bounded(capacity);
    let (empty, empty_out) = bounded(capacity);
    let sender =
        ChunkSender { full: full_in, empty: empty_out, lossless, unsent, merged: workers > 1, next: Arc::default() };
    (sender, ChunkReceiver { full, empty })
}

/// The workers' end of the channel.
#[derive(Debug, Clone)]
pub struct ChunkSender {
    full: Sender<Chunk>,
    empty: Receiver<Chunk>,
    lossless: bool,
    unsent: Arc<AtomicU64>,
    /// Records of other workers wait for those of this one: it says how far it is, even where it has none.
    merged: bool,
    /// Number of the next worker.
    next: Arc<AtomicUsize>,
}

impl ChunkSender {
    /// Sends a chunk, or drops and counts it. Whether anybody receives.
    fn send(&self, chunk: Chunk) -> bool {
        if self.lossless {
            return self.full.send(chunk).is_ok();
        }
        match self.full.try_send(chunk) {
            Ok(()) => true,
            Err(TrySendError::Full(chunk)) => {
                self.unsent.fetch_add(chunk.records, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// The export thread's end of the channel.
#[derive(Debug, Clone)]
pub struct ChunkReceiver {
    full: Receiver<Chunk>,
    empty: Sender<Chunk>,
}

impl ChunkReceiver {
    /// Waits for the next chunk, at most so long.
    ///
    /// # Errors
    /// If none came in time, or all workers have ended.
    pub fn recv_timeout(&self, time: Duration) -> Result<Chunk, RecvTimeoutError> {
        self.full.recv_timeout(time)
    }

    /// The next chunk, if there is one.
    ///
    /// # Errors
    /// If there is none, or all workers have ended.
    pub fn try_recv(&self) -> Result<Chunk, TryRecvError> {
        self.full.try_recv()
    }

    /// Drops what comes until all workers have ended, so that none waits for ever.
    pub fn drain(&self) {
        while self.full.recv().is_ok() {}
    }

    /// Gives a chunk's memory back to the workers.
    pub fn give_back(&self, mut chunk: Chunk) {
        chunk.clear();
        // Full: the workers have memory enough.
        drop(self.empty.try_send(chunk));
    }
}

/// A consumer that encodes: what needs order.
pub struct EncodingConsumer<E> {
    encoder: E,
    chunk: Chunk,
    sender: ChunkSender,
    has_reader: bool,
    worker: usize,
    span: Span,
    /// Slots in the chunk.
    slots: u32,
    /// Records in the chunk that are in order.
    sorted: usize,
    /// Whether those behind are, so far, and when the last of them was completed.
    in_order: (bool, u64),
    /// Buffers for sorting.
    places: Vec<(u64, usize, usize)>,
    spare: Vec<u8>,
}

impl<E: Encoder> EncodingConsumer<E> {
    /// One more worker's, that sends what `encoder` makes.
    pub fn new(encoder: E, sender: ChunkSender) -> Self {
        let worker = sender.next.fetch_add(1, Ordering::Relaxed);
        Self {
            encoder,
            chunk: Chunk { worker, ..Chunk::default() },
            sender,
            has_reader: true,
            worker,
            span: Span::default(),
            slots: 0,
            sorted: 0,
            in_order: (true, 0),
            places: Vec::new(),
            spare: Vec::new(),
        }
    }

    fn hand_over(&mut self) {
        let mut next = self.sender.empty.try_recv().unwrap_or_default();
        (next.worker, next.producer) = (self.worker, self.span.producer);
        let full = std::mem::replace(&mut self.chunk, next);
        (self.slots, self.sorted) = (0, 0);
        self.has_reader &= self.sender.send(full);
    }

    /// Puts what was added since the last call in the order of completion. Records of one event keep theirs.
    fn sort(&mut self) {
        if !self.in_order.0 {
            self.reorder();
        }
        (self.sorted, self.in_order) = (self.chunk.marks.len(), (true, 0));
    }

    #[inline(never)]
    fn reorder(&mut self) {
        let Self { chunk: Chunk { bytes, marks, .. }, places, spare, sorted, .. } = self;
        let begin = sorted.checked_sub(1).and_then(|last| marks.get(last)).map_or(0, |mark| mark.end);
        let Some(marks) = marks.get_mut(*sorted..) else { return };
        places.clear();
        let mut start = begin;
        for mark in &*marks {
            places.push((mark.completed, start, mark.end));
            start = mark.end;
        }
        places.sort_by_key(|(completed, ..)| *completed);
        spare.clear();
        for (mark, (completed, start, end)) in marks.iter_mut().zip(&*places) {
            spare.extend_from_slice(bytes.get(*start..*end).unwrap_or_default());
            *mark = Mark { completed: *completed, end: begin + spare.len() };
        }
        bytes.truncate(begin);
        bytes.extend_from_slice(spare);
    }
}

impl<E: Encoder> Consumer for EncodingConsumer<E> {
    fn slot(&mut self, span: Span) {
        // A chunk is of one capture thread.
        if span.producer != self.chunk.producer && self.slots > 0 {
            self.hand_over();
        }
        (self.span, self.chunk.producer) = (span, span.producer);
    }

    fn transaction(&mut self, transaction: &Transaction) {
        if self.encoder.encode(transaction, &mut self.chunk.bytes) {
            let completed = transaction.completed;
            self.chunk.records += 1;
            self.chunk.marks.push(Mark { completed, end: self.chunk.bytes.len() });
            self.in_order = (self.in_order.0 && completed >= self.in_order.1, completed);
            if self.chunk.bytes.len() >= MAX_CHUNK {
                self.sort();
                self.hand_over();
            }
        }
    }

    fn flush(&mut self, more: bool) {
        self.sort();
        self.slots += 1;
        self.chunk.upto = self.span.end;
        let merged = self.sender.merged;
        let idle = !more && (merged || !self.chunk.is_empty());
        if idle || self.chunk.bytes.len() >= GATHER || (merged && self.slots >= MAX_SLOTS) {
            self.hand_over();
        }
    }

    fn has_reader(&self) -> bool {
        self.has_reader
    }

    fn close(mut self: Box<Self>) {
        self.flush(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;

    /// Records that are not lines: the status in two bytes, then filling. Only of responses.
    struct Statuses {
        filling: usize,
    }

    impl Encoder for Statuses {
        fn encode(&mut self, transaction: &Transaction, out: &mut Vec<u8>) -> bool {
            if transaction.status != 0 {
                out.extend_from_slice(&transaction.status.to_be_bytes());
                out.resize(out.len() + self.filling, b'\n');
            }
            transaction.status != 0
        }
    }

    fn transactions() -> Vec<Transaction> {
        let mut wire = Wire::new(Settings::default());
        for (number, status) in (1..).zip([200, 404, 503]) {
            wire.get(number, "/").reply(number, status, 0);
        }
        wire.get(4, "/").close(crate::stream::EndReason::Fin);
        wire.done
    }

    fn statuses(
        filling: usize,
        lossless: bool,
        capacity: usize,
    ) -> (EncodingConsumer<Statuses>, ChunkReceiver, Arc<AtomicU64>) {
        let unsent = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = channel(capacity, 1, lossless, Arc::clone(&unsent));
        (EncodingConsumer::new(Statuses { filling }, sender), receiver, unsent)
    }

    #[test]
    fn records_keep_their_order_and_are_counted() {
        let (mut consumer, receiver, _) = statuses(1, true, 9);
        transactions().iter().for_each(|transaction| consumer.transaction(transaction));
        consumer.flush(true);
        assert!(receiver.try_recv().is_err(), "more slots wait");
        consumer.flush(false);
        let chunk = receiver.try_recv().unwrap();
        assert_eq!((&chunk.bytes[..], chunk.records), (&[0, 200, 10, 1, 148, 10, 1, 247, 10][..], 3));
        receiver.give_back(chunk);
        for _ in 0..2 {
            consumer.transaction(&transactions()[0]);
            consumer.flush(false);
        }
        let chunks: Vec<Chunk> = receiver.full.try_iter().collect();
        assert_eq!(chunks.iter().map(|chunk| chunk.records).collect::<Vec<_>>(), [1, 1]);
        assert!(chunks[1].bytes.capacity() >= 9, "in memory that was used before");
        consumer.transaction(&transactions()[1]);
        Box::new(consumer).close();
        assert_eq!(receiver.try_recv().unwrap().bytes, [1, 148, 10], "what was gathered is handed over at the end");
    }

    #[test]
    fn large_chunks_are_handed_over_while_slots_wait_and_in_their_middle() {
        let (mut consumer, receiver, _) = statuses(GATHER, true, 9);
        consumer.transaction(&transactions()[0]);
        consumer.flush(true);
        assert_eq!(receiver.try_recv().unwrap().records, 1);
        for _ in 0..MAX_CHUNK / GATHER {
            consumer.transaction(&transactions()[0]);
        }
        assert_eq!(receiver.try_recv().unwrap().records, 8, "in the middle of a slot");
    }

    #[test]
    fn what_nobody_takes_in_time_is_dropped_and_counted_by_records() {
        let (mut consumer, receiver, unsent) = statuses(5, false, 1);
        for _ in 0..3 {
            transactions().iter().for_each(|transaction| consumer.transaction(transaction));
            consumer.flush(false);
        }
        assert_eq!((unsent.load(Ordering::Relaxed), consumer.has_reader()), (6, true));
        drop(receiver);
        consumer.transaction(&transactions()[0]);
        consumer.flush(false);
        assert_eq!((unsent.load(Ordering::Relaxed), consumer.has_reader()), (6, false));
    }

    #[test]
    fn records_of_a_slot_are_put_in_the_order_of_completion() {
        let (mut consumer, receiver, _) = statuses(0, true, 9);
        let mut transactions = transactions();
        for (order, transaction) in [5, 3, 5].into_iter().zip(&mut transactions) {
            transaction.completed = order;
        }
        for end in [6, 12] {
            consumer.slot(Span { producer: 0, start: end - 6, end });
            transactions.iter().for_each(|transaction| consumer.transaction(transaction));
            consumer.flush(true);
        }
        Box::new(consumer).close();
        let chunk = receiver.try_recv().unwrap();
        assert_eq!(chunk.bytes, [1, 148, 0, 200, 1, 247, 1, 148, 0, 200, 1, 247], "equal ones, and slots, keep theirs");
        let marks: Vec<_> = chunk.marks.iter().map(|mark| (mark.completed, mark.end)).collect();
        assert_eq!(marks, [(3, 2), (5, 4), (5, 6), (3, 8), (5, 10), (5, 12)]);
        assert_eq!(chunk.upto, 12);
    }

    #[test]
    fn where_others_wait_a_worker_says_how_far_it_is() {
        let (sender, receiver) = channel(9, 2, true, Arc::default());
        let mut workers = [(); 2].map(|()| EncodingConsumer::new(Statuses { filling: 1 }, sender.clone()));
        for slot in 1..=u64::from(MAX_SLOTS) {
            workers[1].slot(Span { producer: 0, start: 0, end: slot });
            workers[1].flush(true);
        }
        let chunk = receiver.try_recv().unwrap();
        assert_eq!((chunk.worker, chunk.upto, chunk.records), (1, u64::from(MAX_SLOTS), 0), "though more slots wait");
        workers[1].slot(Span { producer: 0, start: 8, end: 9 });
        workers[1].transaction(&transactions()[0]);
        workers[1].flush(true);
        workers[1].slot(Span { producer: 3, start: 0, end: 5 });
        workers[1].flush(false);
        let chunks: Vec<Chunk> = receiver.full.try_iter().collect();
        let seen: Vec<_> = chunks.iter().map(|chunk| (chunk.producer, chunk.upto, chunk.records)).collect();
        assert_eq!(seen, [(0, 9, 1), (3, 5, 0)], "a chunk is of one capture thread");
    }

    #[test]
    fn without_a_reader_nothing_is_waited_for() {
        let (mut consumer, receiver, _) = statuses(5, true, 1);
        drop(receiver);
        consumer.transaction(&transactions()[0]);
        consumer.flush(false);
        assert!(!consumer.has_reader());
    }
}
