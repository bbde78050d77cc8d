//! A flow is the two byte streams of one TCP connection, put back in order from its segments.
//!
//! The table pushes what it finds into a [`crate::stream::Sink`], in causal order: payload of one side is handed on
//! only after the other side has been handed on up to what the payload's segment acknowledges.
//!
//! Bytes that are missing between what was handed on and what is held are a **hole**: it is open, and a retransmission
//! may still fill it. A hole that is given up is declared a **gap**: its bytes are lost for good, the offset jumps over
//! them, and what comes late is a duplicate.

mod assembler;
mod connection;
mod counters;
mod emit;
mod evict;
mod half;
mod handshake;
mod hash;
mod index;
mod out_of_window;
mod overlay;
mod owner;
mod receive;
mod release;
mod seq;
mod shard;
mod sightings;
mod slab;
mod table;
mod timeline;
mod timers;

pub use counters::FlowCounters;
pub use shard::{MAX_SHARDS, NoShard, Shard};
pub use sightings::Sightings;
pub use table::{AHEAD, Table};

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1000 * MILLISECOND;

/// Limits and timeouts of the flow table. Times are capture time in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The most bytes for connections, held payload and what [`Table::set_external`] reports. Connections take at most
    /// three quarters of it, but 256 are always possible.
    pub memory_limit: u64,
    /// The most connections at once, including those that have ended and linger.
    pub max_connections: u32,
    /// The most payload bytes held per side.
    pub ooo_bytes_per_side: usize,
    /// The most pieces of payload held per side.
    pub ooo_segments_per_side: usize,
    /// Grace before a hole that the peer has acknowledged is declared a gap, in packets of the connection: capture may
    /// have changed the order of packets. This number and the next are arbitrary.
    pub grace_packets: u32,
    /// The same in time. The hole is declared when either is over.
    pub grace_time: i64,
    /// A side waits for bytes of the other side that it has acknowledged as long as for a hole; longer, up to this time,
    /// once such bytes came too late: the directions may be captured seconds apart.
    pub most_wait: i64,
    /// A hole that is not acknowledged is declared a gap after this time.
    pub hole_timeout: i64,
    /// A connection that has shown only SYNs is forgotten after this time without a packet.
    pub syn_timeout: i64,
    /// Any other open connection is forgotten after this time without a packet.
    pub idle_timeout: i64,
    /// A frame whose time is further from the clock than this, in either direction, does not move it: a false time stamp,
    /// a clock that was set, or silence. Arbitrary.
    pub time_jump: i64,
    /// After both sides have ended, a connection lingers for this time, so that late packets are recognised.
    pub close_timeout: i64,
    /// Index of this table among those that feed the same workers. Of `producers` tables, each gives its connections
    /// every `producers`-th number, so that no two have the same.
    pub producer: u16,
    /// Number of tables that feed the same workers, at least 1.
    pub producers: u16,
    /// Key of the hash: random for each process, against hash flooding.
    pub hash_seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_limit: 64 << 20,
            max_connections: 1 << 20,
            ooo_bytes_per_side: 256 << 10,
            ooo_segments_per_side: 64,
            grace_packets: 64,
            grace_time: 200 * MILLISECOND,
            most_wait: 5 * SECOND,
            hole_timeout: 3 * SECOND,
            syn_timeout: 5 * SECOND,
            idle_timeout: 3600 * SECOND,
            time_jump: 60 * SECOND,
            close_timeout: 5 * SECOND,
            producer: 0,
            producers: 1,
            hash_seed: 0,
        }
    }
}

/// A random key for the hash. An attacker who knew it could make all connections collide in the index.
#[must_use]
pub fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

impl Config {
    /// Whether the grace that began at `since` is over.
    fn grace_over(&self, since: assembler::Stamp, now: assembler::Stamp) -> bool {
        since != assembler::NEVER
            && (now.time.saturating_sub(since.time) >= self.grace_time
                || now.packets.wrapping_sub(since.packets) >= self.grace_packets)
    }
}
