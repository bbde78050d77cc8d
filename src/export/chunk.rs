//! A chunk is a run of encoded records on its way from a worker to the export thread, which is where the workers' outputs are
//! merged into one.
//!
//! A worker only encodes, and hands a chunk over when no more slots wait, or when it is large. Chunks of one worker arrive in
//! their order, and records keep their order within a chunk. All of it is bounded: the channel, the size of a chunk, and the
//! number of empty chunks that go back to be used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};

use super::consumer::Consumer;
use crate::http::Transaction;

/// Bytes that are handed over though more slots wait: each hand-over wakes the export thread.
const GATHER: usize = 128 << 10;
/// Bytes that are handed over in the middle of a slot: the records of one slot have no bound of their own.
const MAX_CHUNK: usize = 1 << 20;

/// Encoded records, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The records.
    pub bytes: Vec<u8>,
    /// How many they are.
    pub records: u64,
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
        self.records = 0;
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

/// A channel for `capacity` chunks. `lossless`: a worker waits for room; otherwise its chunk is dropped and its records are
/// counted in `unsent`.
#[must_use]
pub fn channel(capacity: usize, lossless: bool, unsent: Arc<AtomicU64>) -> (ChunkSender, ChunkReceiver) {
    let (full_in, full) = bounded(capacity);
    let (empty, empty_out) = bounded(capacity);
    (ChunkSender { full: full_in, empty: empty_out, lossless, unsent }, ChunkReceiver { full, empty })
}

/// The workers' end of the channel.
#[derive(Debug, Clone)]
pub struct ChunkSender {
    full: Sender<Chunk>,
    empty: Receiver<Chunk>,
    lossless: bool,
    unsent: Arc<AtomicU64>,
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
}

impl<E: Encoder> EncodingConsumer<E> {
    /// One that sends what `encoder` makes.
    pub fn new(encoder: E, sender: ChunkSender) -> Self {
        Self { encoder, chunk: Chunk::default(), sender, has_reader: true }
    }

    fn hand_over(&mut self) {
        let next = self.sender.empty.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.chunk, next);
        self.has_reader &= self.sender.send(full);
    }
}

impl<E: Encoder> Consumer for EncodingConsumer<E> {
    fn transaction(&mut self, transaction: &Transaction) {
        if self.encoder.encode(transaction, &mut self.chunk.bytes) {
            self.chunk.records += 1;
            if self.chunk.bytes.len() >= MAX_CHUNK {
                self.hand_over();
            }
        }
    }

    fn flush(&mut self, more: bool) {
        if self.chunk.bytes.len() >= GATHER || (!more && !self.chunk.is_empty()) {
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
        let (sender, receiver) = channel(capacity, lossless, Arc::clone(&unsent));
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
        assert_eq!(chunk, Chunk { bytes: vec![0, 200, 10, 1, 148, 10, 1, 247, 10], records: 3 });
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
    fn without_a_reader_nothing_is_waited_for() {
        let (mut consumer, receiver, _) = statuses(5, true, 1);
        drop(receiver);
        consumer.transaction(&transactions()[0]);
        consumer.flush(false);
        assert!(!consumer.has_reader());
    }
}
