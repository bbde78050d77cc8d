//! A record is what the guest says about an event, after it has been checked and its positions have been resolved against
//! the host's own copy of the bytes.

use crate::abi::{self, Framing, ParseError, Protocol};

/// An offset in a side's stream, and the time of the packet that carried the byte there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Offset in the side's stream.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
}

/// The headers of one head, in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    pairs: &'a [abi::Pair],
}

impl<'a> Headers<'a> {
    /// `pairs` hold positions in `bytes`. The caller has checked that they lie inside; those that do not read as empty.
    #[must_use]
    pub const fn new(bytes: &'a [u8], pairs: &'a [abi::Pair]) -> Self {
        Self { bytes, pairs }
    }

    /// Name and value of each header. A continued line (obs-fold) has an empty name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.pairs
            .iter()
            .map(move |pair| (text(bytes, pair.name, pair.name_len), text(bytes, pair.value, pair.value_len)))
    }
}

/// `bytes[position..position + len]`, or nothing if that is not all inside.
#[must_use]
pub fn text(bytes: &[u8], position: u32, len: u32) -> &[u8] {
    let start = position as usize;
    bytes.get(start..start.saturating_add(len as usize)).unwrap_or_default()
}

/// A request head.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its number on the connection, from 1.
    pub number: u32,
    /// Method, any bytes.
    pub method: &'a [u8],
    /// Request target, any bytes.
    pub target: &'a [u8],
    /// The digit after `HTTP/1.`.
    pub minor: u8,
    /// Where the body ends.
    pub framing: Framing,
    /// Announced length, with [`Framing::Length`].
    pub content_length: u64,
    /// Headers.
    pub headers: Headers<'a>,
}

/// A response head.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The number of the request that it answers; 0: none or not known.
    pub number: u32,
    /// Status code, 100 to 999.
    pub status: u16,
    /// Reason phrase, any bytes.
    pub reason: &'a [u8],
    /// The digit after `HTTP/1.`.
    pub minor: u8,
    /// Where the body ends.
    pub framing: Framing,
    /// Announced length, with [`Framing::Length`].
    pub content_length: u64,
    /// Headers.
    pub headers: Headers<'a>,
}

/// What a record says.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A request head.
    Request(Request<'a>),
    /// A response head.
    Response(Response<'a>),
    /// The end of the message of `number` on this record's side (a response that answers none: 0).
    End {
        /// Number of the request, or of the request answered.
        number: u32,
        /// Body bytes on the wire, chunk framing included.
        wire: u64,
        /// Body bytes without chunk framing.
        decoded: u64,
        /// Of these, bytes never seen.
        lost: u64,
    },
    /// From here on the connection carries something else.
    Tunnel {
        /// Number of the request that asked for it.
        number: u32,
        /// What it carries; `None` after CONNECT, which does not say.
        protocol: Option<Protocol>,
    },
    /// The side does not speak HTTP/1, but this.
    NotHttp(Protocol),
    /// The side could not be parsed here.
    Error(ParseError),
}

/// A checked record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Side of the connection, 0 or 1, that sent what the record is about.
    pub side: u8,
    /// [`abi::flag`] bits.
    pub flags: u32,
    /// First byte (of a head: of its start line).
    pub start: Moment,
    /// End: the offset after the last byte, and the time of the packet that carried the last byte.
    pub end: Moment,
    /// Offset of the other side up to which the sender had acknowledged when it sent this.
    pub peer_acked: Option<u64>,
    /// What it says.
    pub kind: Kind<'a>,
}
