//! A chunk is a run of encoded records on its way from a worker to the export thread, which is where the workers' outputs are
//! merged into one.
//!
//! A worker only encodes, sorts the marks of each slot's records by completion, and hands a chunk over when no more slots wait,
//! or when it is large. The records are put in that order where they are copied anyway. Chunks of one worker arrive in their
//! order. All of it is bounded: the channel, the size of a
//! chunk, and the number of empty chunks that go back to be used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};

use super::consumer::Consumer;
use crate::http::{TlsConnection, Transaction};
use crate::stream::Span;

/// Bytes that are handed over though more slots wait: each hand-over wakes the export thread.
const GATHER: usize = 128 << 10;
/// Bytes that are handed over in the middle of a slot: the records of one slot have no bound of their own. They are in order
/// up to here.
const MAX_CHUNK: usize = 1 << 20;
/// Slots after which a chunk is handed over though more wait, where lines of other workers wait for it.
const MAX_SLOTS: u32 = 8;

/// Where a record lies in its chunk, and when it was completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// See [`Transaction::completed`].
    pub completed: u64,
    /// Its first byte.
    pub start: u32,
    /// The byte behind it.
    pub end: u32,
}

/// Encoded records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The records.
    pub bytes: Vec<u8>,
    /// How many they are.
    pub records: u64,
    /// The records in the order of completion. None where chunks were put together.
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

    /// Adds the records of another, in order, behind its own.
    pub fn append(&mut self, other: &Self) {
        other.marks.iter().for_each(|mark| self.add(other, *mark));
    }

    /// Adds a record of another behind its own.
    pub fn add(&mut self, other: &Self, Mark { start, end, .. }: Mark) {
        let record = other.bytes.get(start as usize..end as usize);
        debug_assert!(record.is_some(), "a mark is of a record of its chunk");
        self.bytes.extend_from_slice(record.unwrap_or_default());
        self.records += 1;
    }
}

/// Encodes transactions as records. Each worker has its own.
pub trait Encoder: Send {
    /// Appends the record of a transaction, if it is to have one. Whether it is.
    fn encode(&mut self, transaction: &Transaction, out: &mut Vec<u8>) -> bool;
    /// The same of a TLS connection.
    fn encode_tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) -> bool {
        let _ = (connection, out);
        false
    }
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
    /// Sends lines that need no order among those of others. Whether anybody receives.
    pub(super) fn send_lines(&self, lines: &[u8]) -> bool {
        let mut marks = Vec::new();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            let end = u32::try_from(end).unwrap_or(u32::MAX).saturating_add(1);
            marks.push(Mark { completed: 0, start, end });
            start = end;
        }
        let (bytes, records) = (lines.to_vec(), marks.len() as u64);
        bytes.is_empty() || self.send(Chunk { bytes, records, marks, ..Chunk::default() })
    }

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
    /// Marks in the chunk that are in order.
    sorted: usize,
}

/// A position in a chunk: no record is so long that it gets near 2^32.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
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
        }
    }

    fn hand_over(&mut self) {
        let mut next = self.sender.empty.try_recv().unwrap_or_default();
        (next.worker, next.producer) = (self.worker, self.span.producer);
        let full = std::mem::replace(&mut self.chunk, next);
        (self.slots, self.sorted) = (0, 0);
        self.has_reader &= self.sender.send(full);
    }

    /// Marks the record that begins here.
    fn mark(&mut self, completed: u64, start: u32) {
        let end = length(&self.chunk.bytes);
        self.chunk.records += 1;
        self.chunk.marks.push(Mark { completed, start, end });
        if self.chunk.bytes.len() >= MAX_CHUNK {
            self.sort();
            self.hand_over();
        }
    }

    /// Puts the records that were added since the last call in the order of completion. Those of one event keep theirs.
    fn sort(&mut self) {
        let marks = self.chunk.marks.get_mut(self.sorted..).unwrap_or_default();
        marks.sort_unstable_by_key(|mark| (mark.completed, mark.start));
        self.sorted = self.chunk.marks.len();
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
        let start = length(&self.chunk.bytes);
        if self.encoder.encode(transaction, &mut self.chunk.bytes) {
            self.mark(transaction.completed, start);
        }
    }

    fn tls(&mut self, connection: &TlsConnection) {
        let start = length(&self.chunk.bytes);
        if self.encoder.encode_tls(connection, &mut self.chunk.bytes) {
            self.mark(connection.completed, start);
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
        let marks: Vec<_> = chunk.marks.iter().map(|mark| (mark.completed, mark.start)).collect();
        assert_eq!(marks, [(3, 2), (5, 0), (5, 4), (3, 8), (5, 6), (5, 10)], "equal ones, and slots, keep theirs");
        let mut written = Chunk::default();
        written.append(&chunk);
        assert_eq!((&written.bytes[..6], written.records), (&[1, 148, 0, 200, 1, 247][..], 6));
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
