//! Keeping packets (`-w`): those of the connections whose transactions, or TLS connections, are logged.
//!
//! A capture thread knows the packets, and a worker what becomes of a connection. So the thread holds the packets of each connection in
//! its [`Store`] until the worker's [`Verdict`] comes: that of the connection something was logged, or that it has ended and nothing was.
//! What is held has a bound. Beyond it the oldest packet is given up, and counted if its connection is wanted later.
//!
//! Packets leave the store in the order in which they were captured: one whose connection is undecided holds up those behind it. So
//! the file is in this order as well (of several capture threads each has its own). A thread writes it.
//!
//! What belongs to no TCP connection is not kept, nor what is left out: copies of a connection that was seen elsewhere, and other shards.
//! A fragment belongs to the connection of its datagram. What is inside a tunnel belongs to the connection that carries it.

mod buffer;
mod chunk;
mod file;
mod keeper;
mod known;
mod store;
mod verdicts;
mod writer;

pub use self::chunk::Chunk;
pub use self::file::{KeepError, KeptFile, open};
pub use self::keeper::Keeper;
pub use self::known::{Owner, Present};
pub use self::store::{KeepCounters, Store};
pub use self::verdicts::Verdicts;
pub use self::writer::{KeptFileCounters, Writer};

use std::path::PathBuf;

/// What is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The file: pcapng if its name ends in .pcapng, otherwise pcap; "-" is standard output.
    pub file: PathBuf,
    /// Bytes that all capture threads may hold until it is known what is wanted.
    pub buffer: u64,
    /// Whether the secrets of the connections are written too. They need pcapng.
    pub secrets: bool,
}

impl Keep {
    /// The most memory that it takes, with so many capture threads: what they hold, a chunk of each of them, those in the queue, the one that
    /// the writer has, and what it makes of that.
    #[must_use]
    pub const fn memory(&self, captures: u64) -> u64 {
        let chunks = captures + writer::CHUNKS_IN_QUEUE as u64 + 2;
        self.buffer + self.buffer / store::STEPS as u64 + chunks * chunk::MOST_MEMORY as u64
    }

    /// Whether the file is pcapng: by its name; on standard output where secrets are written.
    fn is_pcapng(&self) -> bool {
        let named = self.file.extension().is_some_and(|end| end == "pcapng");
        named || self.secrets && self.file.as_os_str() == "-"
    }
}
