//! A stream is one direction of a TCP connection: bytes in order, with gaps where some were never seen.
//!
//! This is the vocabulary of everything that deals with streams. A producer pushes bytes and ends into a [`Sink`],
//! without knowing who takes them; whoever takes them does not need to know TCP.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

/// An offset or an acknowledgement that is not known, or does not exist.
pub const UNKNOWN: u64 = u64::MAX;

/// The most bytes in one call of [`Sink::bytes`]. Longer segments (from segmentation offload) are handed on in pieces.
pub const MAX_PIECE: usize = 65536;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address.
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Two endpoints as bytes, the same in either order: both addresses (of IPv4 as `::ffff:a.b.c.d`) and then both ports,
    /// of the lower endpoint first.
    #[must_use]
    pub fn pair(one: Self, other: Self) -> [u8; 36] {
        let key = |end: Self| {
            let ip = match end.ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            (ip.octets(), end.port)
        };
        let (low, high) = (key(one).min(key(other)), key(one).max(key(other)));
        let mut pair = [0; 36];
        let (low_ip, rest) = pair.split_at_mut(16);
        let (high_ip, ports) = rest.split_at_mut(16);
        let (low_port, high_port) = ports.split_at_mut(2);
        low_ip.copy_from_slice(&low.0);
        high_ip.copy_from_slice(&high.0);
        low_port.copy_from_slice(&low.1.to_be_bytes());
        high_port.copy_from_slice(&high.1.to_be_bytes());
        pair
    }
}

/// A side of a connection: the first is the one whose packet was seen first.
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

    /// The side with this index; anything but 0 is the second.
    #[must_use]
    pub const fn of(index: u8) -> Self {
        if index == 0 { Self::First } else { Self::Second }
    }

    /// Of what both sides have, what this one has and then what the other has.
    #[must_use]
    pub const fn own_first<T: Copy>(self, [first, second]: [T; 2]) -> [T; 2] {
        match self {
            Self::First => [first, second],
            Self::Second => [second, first],
        }
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

/// The names of the interfaces, by number. Some may be added during a run, as far as there is room. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct InterfaceNames(Arc<[OnceLock<String>]>);

impl InterfaceNames {
    /// These, and room for as many more.
    #[must_use]
    pub fn new(names: Vec<String>, more: usize) -> Self {
        let empty = std::iter::repeat_with(OnceLock::new).take(more);
        Self(names.into_iter().map(OnceLock::from).chain(empty).collect())
    }

    /// The name with a number, if it has one.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&str> {
        self.0.get(number as usize)?.get().map(String::as_str)
    }

    /// The number of a name, which is added if it is new; `None` if there is no room.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        // Another thread may add one at the same time: then the place holds its name, and the next is tried.
        let found = self.0.iter().position(|place| place.get_or_init(|| name.to_owned()) == name)?;
        u32::try_from(found).ok()
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

/// How a side, or with its second side a connection, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// By its FIN: every byte below it was handed on or declared lost.
    Fin = 1,
    /// The connection was reset.
    Reset = 2,
    /// No packet came for too long.
    Timeout = 3,
    /// The connection was given up because the memory limit was reached.
    Evicted = 4,
    /// Its ports were taken by a new connection.
    Reused = 5,
    /// The capture ended.
    Capture = 6,
    /// The parser failed on the connection (in HTTP/2 three times), which is ignored from there on. Set by a worker, never by a
    /// producer of streams.
    Fault = 7,
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its number, from 1; no two connections of a run have the same.
    pub number: u64,
    /// The producer's handle of it: see [`ConnectionId`].
    pub handle: u32,
    /// Time of its first packet, in nanoseconds since the Unix epoch.
    pub started: i64,
    /// Index of its producer.
    pub producer: u16,
    /// Its start was not captured.
    pub midstream: bool,
    /// Who opened it.
    pub opener: Opener,
    /// Index of the capture interface on which it was first seen.
    pub interface: u32,
    /// Address of the first side and of the second.
    pub endpoints: [Endpoint; 2],
    /// Its bytes are TLS: what goes on of it is plaintext, if anything, with offsets of that.
    pub secured: bool,
}

/// The processes that probes saw derive the secrets of a TLS connection, by the kernel's numbers: they are its ends, whatever holds the
/// sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Callers {
    /// None was seen, or more than two.
    #[default]
    Unknown,
    /// One end. Which is not known.
    One(u32),
    /// Both ends.
    Both {
        /// The client.
        client: u32,
        /// The server.
        server: u32,
    },
}

/// How a connection was encrypted. What was not seen is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Secured {
    /// Version of TLS, such as `TLSv1.3`.
    pub version: Option<&'static str>,
    /// The cipher suite, by IANA's name.
    pub cipher: Option<&'static str>,
    /// The server that the client named.
    pub server_name: Option<Box<str>>,
    /// The protocol inside.
    pub alpn: Option<Box<str>>,
    /// Whether an earlier session was resumed.
    pub resumed: Option<bool>,
    /// Fingerprint of the client (JA4).
    pub ja4: Option<Box<str>>,
    /// The processes that derived its secrets.
    pub callers: Callers,
}

/// Numbers of TCP connections are below `1 << INNER_SHIFT`; what is inside tunnels has the number of its TCP connection plus
/// its depth shifted by so much. (JSON's readers take numbers up to 2^53.)
pub const INNER_SHIFT: u32 = 50;

/// The number of the TCP connection that a connection with this number is, or is inside of.
#[must_use]
pub const fn carrier(number: u64) -> u64 {
    number & ((1 << INNER_SHIFT) - 1)
}

/// Identifies a connection to its producer. Opaque to everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId {
    /// Its number, since a handle is reused for later connections.
    pub number: u64,
    /// The producer's handle of it.
    pub handle: u32,
}

impl Connection {
    /// Identifies it to its producer.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        ConnectionId { number: carrier(self.number), handle: self.handle }
    }

    /// Inside how many tunnels it is.
    #[must_use]
    pub fn depth(&self) -> u8 {
        u8::try_from(self.number >> INNER_SHIFT).unwrap_or(u8::MAX)
    }

    /// The stream inside the tunnel that this connection becomes: a connection of its own, with offsets from 0.
    #[must_use]
    pub fn inner(&self) -> Self {
        Self { number: self.number + (1 << INNER_SHIFT), midstream: false, ..self.clone() }
    }
}

/// What a sink stores with a connection. Opaque to the producer; zero for a new connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkTag(u64);

impl SinkTag {
    /// Bits of the row, and of the note.
    const ROW: u32 = 16;
    const NOTE: u32 = 2;

    /// A row of the slot with this serial number, and what is noted of the connection. So many bits are kept that they fit eight
    /// bytes: 46 of the serial number, which are enough for years, 2 of the note, and 16 of the row, more than a slot has.
    #[must_use]
    pub const fn new(serial: u64, row: u32, note: u64) -> Self {
        debug_assert!(row < 1 << Self::ROW && note < 1 << Self::NOTE, "a slot has fewer rows");
        Self((serial << Self::NOTE | note & 3) << Self::ROW | row as u64 & ((1 << Self::ROW) - 1))
    }

    /// Serial number of the slot that [`Self::row`] is in.
    #[must_use]
    pub const fn serial(self) -> u64 {
        self.0 >> (Self::ROW + Self::NOTE)
    }

    /// Index of the connection's row in that slot.
    #[must_use]
    pub fn row(self) -> u32 {
        u32::try_from(self.0 & ((1 << Self::ROW) - 1)).unwrap_or(0)
    }

    /// What is noted of the connection, whatever slot it is in: 0 to 3.
    #[must_use]
    pub const fn note(self) -> u64 {
        self.0 >> Self::ROW & 3
    }

    /// Notes something else.
    pub const fn set_note(&mut self, note: u64) {
        self.0 = self.0 & !(3 << Self::ROW) | (note & 3) << Self::ROW;
    }
}

/// The part of a producer's events that a slot stands for: all of one worker's that have numbers in this range. Between them
/// are those of other workers. The slots of a worker follow each other without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Index of the producer.
    pub producer: u16,
    /// The first number.
    pub start: u64,
    /// The number behind the last.
    pub end: u64,
}

/// A connection as its producer keeps it and shows it to a sink.
#[derive(Debug, Clone)]
pub struct OpenConnection {
    /// What is known of it.
    pub info: Connection,
    /// Keyed hash of the addresses, the same for both directions. It chooses the worker.
    pub hash: u64,
    /// What the sink stores.
    pub tag: SinkTag,
}

impl OpenConnection {
    /// A connection that was not captured, for a sink that is fed by hand: from port 40000 of the local host, the first
    /// side, to port 80.
    #[must_use]
    pub const fn synthetic(number: u64) -> Self {
        const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            info: Connection {
                number,
                handle: 0,
                started: 0,
                producer: 0,
                midstream: false,
                opener: Opener::First,
                interface: 0,
                endpoints: [Endpoint { ip: LOCAL, port: 40_000 }, Endpoint { ip: LOCAL, port: 80 }],
                secured: false,
            },
            hash: number << 32,
            tag: SinkTag(0),
        }
    }
}

/// A position in a stream, and what is known of the packet that carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Offset in the side's stream. Offset 0 is the byte behind the SYN; if that was not seen, the first byte that was
    /// handed on, or that the other side is known to have acknowledged by then.
    pub offset: u64,
    /// Offset of the other side up to which the sender had acknowledged, or [`UNKNOWN`].
    pub peer_acked: u64,
    /// Time of the packet, in nanoseconds since the Unix epoch. Of a skipped range: of the packet with its last byte;
    /// of an end: of the packet that caused it.
    pub time: i64,
}

impl Position {
    /// Offset of the other side up to which the sender had acknowledged, if it is known.
    #[must_use]
    pub const fn acked(&self) -> Option<u64> {
        if self.peer_acked == UNKNOWN { None } else { Some(self.peer_acked) }
    }

    /// The same position of this side in a stream inside, whose sides begin at the offsets `base`.
    #[must_use]
    pub const fn inside(self, side: Side, base: [u64; 2]) -> Self {
        let [own, other] = side.own_first(base);
        Self {
            offset: self.offset.saturating_sub(own),
            peer_acked: acked_inside(self.peer_acked, other),
            time: self.time,
        }
    }

    /// The position in the stream outside of one inside, whose sides begin at the offsets `base`.
    #[must_use]
    pub const fn outside(self, side: Side, base: [u64; 2]) -> Self {
        let [own, other] = side.own_first(base);
        let peer_acked = if self.peer_acked == UNKNOWN { UNKNOWN } else { self.peer_acked.saturating_add(other) };
        Self { offset: self.offset.saturating_add(own), peer_acked, time: self.time }
    }
}

/// What the other side had acknowledged, counted from `base` of its stream on.
#[must_use]
pub const fn acked_inside(peer_acked: u64, base: u64) -> u64 {
    if peer_acked == UNKNOWN { UNKNOWN } else { peer_acked.saturating_sub(base) }
}

/// Receives streams. A jump in the offsets of a side is a gap: bytes that were never seen.
pub trait Sink {
    /// A connection has begun, of which nothing is handed on yet. Few want to know it before there is anything to read.
    fn begun(&mut self, _conn: &OpenConnection) {}
    /// Payload in stream order, never empty and at most [`MAX_PIECE`] bytes. `starts_segment`: its first byte is the
    /// first of a TCP segment's payload.
    fn bytes(&mut self, conn: &mut OpenConnection, side: Side, at: Position, starts_segment: bool, payload: &[u8]);
    /// A skipped range, below a skip hint: `length` bytes that are not copied, of which `lost` were never seen. Or bytes, all
    /// lost, that the snap length cut off and that the other side has acknowledged before more of this side was seen.
    fn skipped(&mut self, conn: &mut OpenConnection, side: Side, at: Position, length: u64, lost: u64);
    /// A side has ended. Called exactly once for each side; after the second call the handle is free.
    fn end(&mut self, conn: &mut OpenConnection, side: Side, at: Position, reason: EndReason);
}
