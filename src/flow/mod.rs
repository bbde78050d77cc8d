//! A flow is the two byte streams of one TCP connection, put back in order from its segments.
//!
//! The table pushes what it finds into a [`Sink`], in causal order: payload of one side is handed on only after the
//! other side has been handed on up to what the payload's segment acknowledges.

mod assembler;
mod connection;
mod counters;
mod data;
mod far;
mod handshake;
mod hash;
mod index;
mod lists;
mod order;
mod room;
mod seq;
mod slab;
mod stream;
mod table;
mod tell;

use std::net::{IpAddr, Ipv4Addr};

pub use counters::Counters;
pub use table::{AHEAD, Table};

use crate::packet::Endpoint;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1000 * MILLISECOND;

/// Limits and times of the flow table. Times are capture time in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The most bytes for connections and held payload, and for what [`Table::set_external`] says. Connections take at
    /// most three quarters of it; at least one chunk of 256 is always there.
    pub memory_limit: u64,
    /// The most connections at once, those included that have ended and linger.
    pub max_connections: u32,
    /// The most payload bytes held per side.
    pub ooo_bytes_per_side: usize,
    /// The most pieces of payload held per side.
    pub ooo_segments_per_side: usize,
    /// Grace before an acknowledged hole counts as lost, in packets of the connection: capture may have changed the
    /// order of packets. This number and the next are arbitrary.
    pub grace_packets: u32,
    /// The same in time; what is over first counts.
    pub grace_time: i64,
    /// A hole that nobody acknowledges counts as lost after this time.
    pub hole_timeout: i64,
    /// A connection that has shown only SYNs is forgotten after this time without a packet.
    pub syn_timeout: i64,
    /// Any other after this.
    pub idle_timeout: i64,
    /// After both sides have ended, late packets are known as such for this time.
    pub close_timeout: i64,
    /// Key of the hash; to be drawn anew for every process, since it keeps hash flooding off.
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
            hole_timeout: 3 * SECOND,
            syn_timeout: 5 * SECOND,
            idle_timeout: 300 * SECOND,
            close_timeout: 5 * SECOND,
            hash_seed: 0,
        }
    }
}

impl Config {
    /// Whether the grace that began at `since` is over.
    fn grace_over(&self, since: assembler::Moment, now: assembler::Moment) -> bool {
        since != assembler::NEVER
            && (now.time.saturating_sub(since.time) >= self.grace_time
                || now.packets.wrapping_sub(since.packets) >= self.grace_packets)
    }
}

/// A side of a connection: 0 is whoever was seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the two sides")]
pub enum Side {
    First = 0,
    Second = 1,
}

impl Side {
    /// 0 or 1, as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Who sent the first SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Opener {
    First,
    Second,
    Unknown,
}

/// How a side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Its FIN came, and every byte below it was handed on or declared lost.
    Fin = 1,
    /// The connection was reset.
    Reset = 2,
    /// Nothing came for too long.
    Timeout = 3,
    /// The connection was given up for want of memory.
    Evicted = 4,
    /// Its ports were taken by a new connection.
    Reused = 5,
    /// The capture ended.
    Capture = 6,
}

/// Where a sink keeps its own reference for a connection: opaque to the flow table, zero for a new connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkTag {
    /// Serial number of the slot that `row` is good for.
    pub serial: u64,
    /// Row in that slot.
    pub row: u32,
}

/// What a sink needs to know of a connection.
#[derive(Debug, Clone)]
pub struct Conn {
    /// Place in the table, below the greatest number of connections that were ever open at once. Free for a new
    /// connection after both sides have ended.
    pub index: u32,
    /// Number of the connection, from 1, in order of first sight; never used twice.
    pub number: u64,
    /// Seeded hash of the addresses, the same for both directions: chooses the worker.
    pub hash: u64,
    /// Address of side 0 and of side 1.
    pub endpoints: [Endpoint; 2],
    /// Who opened it.
    pub opener: Opener,
    /// Its start was not captured.
    pub midstream: bool,
    /// Index of the capture interface on which it was first seen.
    pub interface: u32,
    /// The sink's.
    pub tag: SinkTag,
}

impl Conn {
    /// A connection that comes from no table, for a sink that is fed by hand: side 0, port 40000 of the local host, opened
    /// it to port 80.
    #[must_use]
    pub const fn by_hand(number: u64) -> Self {
        const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            index: 0,
            number,
            hash: number << 32,
            endpoints: [Endpoint { ip: LOCAL, port: 40_000 }, Endpoint { ip: LOCAL, port: 80 }],
            opener: Opener::First,
            midstream: false,
            interface: 0,
            tag: SinkTag { serial: 0, row: 0 },
        }
    }
}

/// What whoever reads the streams is told of a connection.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Place in the flow table, to be given back with a skip.
    pub index: u32,
    /// Number of the connection, from 1; never used twice.
    pub number: u64,
    /// Address of side 0 and of side 1.
    pub endpoints: [Endpoint; 2],
    /// Who opened it.
    pub opener: Opener,
    /// Its start was not captured.
    pub midstream: bool,
    /// Index of the capture interface.
    pub interface: u32,
}

/// Place and circumstances of something on one side of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The side whose stream it is.
    pub side: Side,
    /// Offset in the side's stream. Offset 0 is the byte behind the SYN; where that was not seen, the first byte that
    /// the table hands on, or that the other side is known to have acknowledged by then.
    pub offset: u64,
    /// Offset of the other side up to which the sender had acknowledged.
    pub peer_acked: Option<u64>,
    /// Time of the packet that carried it (a void: that carried its last byte; an end: that caused it).
    pub time: i64,
}

/// Receives what the flow table hands on. A jump in the offsets of a side is a gap: bytes that were never seen.
pub trait Sink {
    /// Payload in stream order, never empty and at most [`MAX_PIECE`] bytes. `starts_segment`: its first byte is the
    /// first of a TCP segment's payload.
    fn bytes(&mut self, conn: &mut Conn, place: Place, starts_segment: bool, payload: &[u8]);
    /// A stretch below a skip that was asked for, not copied: `length` bytes, `lost` of them never seen.
    fn void(&mut self, conn: &mut Conn, place: Place, length: u64, lost: u64);
    /// A side has ended at `place.offset`. Called exactly once per side; after the second call the index is free.
    fn end(&mut self, conn: &mut Conn, place: Place, reason: EndReason);
}

/// The most bytes in one call of [`Sink::bytes`]: longer segments (from segmentation offload) are handed on in pieces.
pub const MAX_PIECE: usize = 65536;
