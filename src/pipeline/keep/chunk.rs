//! What goes from the stores to the writer.

use crossbeam_channel::{Sender, TrySendError};
use zeroize::Zeroizing;

/// Bytes of packets that go to the writer at once.
const CHUNK: usize = 256 << 10;

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
}

/// The way to the writer.
pub(super) struct Out {
    pub(super) to: Sender<Chunk>,
    pub(super) chunk: Chunk,
    /// It is waited for.
    pub(super) lossless: bool,
}

impl Out {
    /// Whether there is room for a packet.
    pub(super) fn is_ready(&self) -> bool {
        self.lossless || self.chunk.bytes.len() < CHUNK || !self.to.is_full()
    }

    pub(super) fn packet(&mut self, head: Head, data: &[u8]) {
        self.chunk.items.push(Item::Packet(head));
        self.chunk.bytes.extend_from_slice(data);
        if self.chunk.bytes.len() >= CHUNK {
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
