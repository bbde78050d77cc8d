//! What goes from the stores to the writer.

use crossbeam_channel::{Sender, TrySendError};
use zeroize::Zeroizing;

use crate::source::MAX_FRAME;

/// Bytes that go to the writer at once: of packets, and of what is written beside them.
const CHUNK: usize = 256 << 10;
/// Memory of a chunk: with the packet that completes it, and the vectors not full.
pub(super) const MOST_MEMORY: usize = 2 * CHUNK + MAX_FRAME;

/// What is written of a packet, beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) time: i64,
    pub(super) link: i32,
    pub(super) interface: u32,
    pub(super) original_len: u32,
    /// Bytes that were captured.
    pub(super) len: u32,
}

/// What goes to the writer.
#[derive(Debug)]
pub(super) enum Item {
    /// The name of the interface with this number.
    Interface(u32, String),
    /// Secrets, as lines of a key log.
    Secrets(Zeroizing<Vec<u8>>),
    /// A packet. Its bytes follow those of the one before.
    Packet(Head),
    /// Another packet was captured at this time.
    Time(i64),
}

/// Some of it.
#[derive(Debug, Default)]
pub struct Chunk {
    pub(super) items: Vec<Item>,
    /// Of all packets.
    pub(super) bytes: Vec<u8>,
    /// Bytes of names and secrets.
    beside: usize,
}

impl Chunk {
    /// Bytes that it takes.
    const fn size(&self) -> usize {
        self.bytes.len() + self.items.len() * size_of::<Item>() + self.beside
    }
}

/// The way to the writer.
pub(super) struct Out {
    to: Sender<Chunk>,
    chunk: Chunk,
    /// It is waited for.
    pub(super) lossless: bool,
}

impl Out {
    pub(super) fn new(to: Sender<Chunk>, lossless: bool) -> Self {
        Self { to, chunk: Chunk::default(), lossless }
    }

    /// Whether there is room for a packet.
    pub(super) fn is_ready(&mut self) -> bool {
        if self.chunk.size() >= CHUNK {
            self.send();
        }
        self.chunk.size() < CHUNK
    }

    pub(super) fn packet(&mut self, head: Head, data: &[u8]) {
        self.chunk.bytes.extend_from_slice(data);
        self.item(Item::Packet(head));
    }

    /// Adds what is no packet, for which there is always room.
    pub(super) fn item(&mut self, item: Item) {
        self.chunk.beside += match &item {
            Item::Interface(_, name) => name.len(),
            Item::Secrets(lines) => lines.len(),
            Item::Packet(_) | Item::Time(_) => 0,
        };
        self.chunk.items.push(item);
        if self.chunk.size() >= CHUNK {
            self.send();
        }
    }

    pub(super) fn send(&mut self) {
        if self.chunk.items.is_empty() {
            return;
        }
        let chunk = std::mem::take(&mut self.chunk);
        if self.lossless {
            // The writer ends only with the run, which needs no packets then.
            drop(self.to.send(chunk));
        } else if let Err(TrySendError::Full(chunk)) = self.to.try_send(chunk) {
            self.chunk = chunk;
        }
    }
}
