//! A record is what the guest says about an event, after it has been checked and its positions have been resolved against
//! the host's own copy of the bytes.

use crate::abi::{self, Framing, NotHttp, ParseError, Tunnel};
use crate::stream::Endpoint;

/// An offset in a side's stream, and the time of the packet that carried the byte there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Offset in the side's stream.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
}

/// Where the texts of a record lie: in its event, or in what the guest has written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Texts<'a> {
    /// The event's bytes: the host's own copy.
    pub event: &'a [u8],
    /// The text area.
    pub area: &'a [u8],
}

impl<'a> Texts<'a> {
    /// The text with this position and length, or nothing if that is not all inside.
    #[must_use]
    pub fn get(&self, position: u32, len: u32) -> &'a [u8] {
        let (bytes, start) = match position & abi::TEXT {
            0 => (self.event, position as usize),
            _ => (self.area, (position & !abi::TEXT) as usize),
        };
        bytes.get(start..start.saturating_add(len as usize)).unwrap_or_default()
    }
}

/// The headers of one head, in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    texts: Texts<'a>,
    pairs: &'a [abi::Pair],
}

impl<'a> Headers<'a> {
    /// `pairs` hold positions in `texts`. The caller has checked that they lie inside; those that do not read as empty.
    #[must_use]
    pub const fn new(texts: Texts<'a>, pairs: &'a [abi::Pair]) -> Self {
        Self { texts, pairs }
    }

    /// Name and value of each header. A continued line (obs-fold) has an empty name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let texts = self.texts;
        self.pairs.iter().map(move |pair| (texts.get(pair.name, pair.name_len), texts.get(pair.value, pair.value_len)))
    }
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
    /// Status code, 100 to 999; on a stream 0 if it is not known.
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

/// A request of a protocol that is not HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Its number on the connection, from 1.
    pub number: u32,
    /// Name of the protocol.
    pub protocol: &'a str,
    /// What is asked for, any bytes.
    pub name: &'a [u8],
    /// What it is about, any bytes; may be empty.
    pub target: &'a [u8],
    /// More about it.
    pub pairs: Headers<'a>,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// Number of the operation.
    pub number: u32,
    /// The status in the protocol's words, any bytes; may be empty.
    pub status: &'a [u8],
    /// More about it.
    pub pairs: Headers<'a>,
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
        /// Messages of gRPC in the body, where they were counted.
        messages: Option<u32>,
    },
    /// Bytes of the body of the message of `number` on this record's side, without framing.
    Body {
        /// Number of the request, or of the request answered.
        number: u32,
        /// Bytes of the body before them, seen or not.
        before: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// From here on the connection carries something else.
    Tunnel {
        /// Number of the request that asked for it.
        number: u32,
        /// What opened it.
        kind: Tunnel,
        /// The client that a PROXY header names.
        client: Option<Endpoint>,
        /// The server that it names, any bytes.
        target: &'a [u8],
    },
    /// Trailer fields of the message of `number` on this record's side.
    Trailers {
        /// Number of the request, or of the request answered.
        number: u32,
        /// The fields.
        fields: Headers<'a>,
    },
    /// The sender of this record has given the message of `number` up.
    Reset {
        /// Number of the request, or of the request answered.
        number: u32,
        /// The protocol's error code.
        code: u64,
    },
    /// A request of a protocol that is not HTTP.
    Operation(Operation<'a>),
    /// What became of one.
    Outcome(Outcome<'a>),
    /// The side does not speak HTTP/1, but this.
    NotHttp(NotHttp),
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
    /// The stream within the connection, for protocols that have any; else 0.
    pub stream: u32,
    /// First byte (of a head: of its start line).
    pub start: Moment,
    /// End: the offset after the last byte, and the time of the packet that carried the last byte.
    pub end: Moment,
    /// Offset of the other side up to which the sender had acknowledged when it sent this.
    pub peer_acked: Option<u64>,
    /// What it says.
    pub kind: Kind<'a>,
}
