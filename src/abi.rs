//! The guest contract in Rust: the mirror of `guest/abi.h`, which says what each field means.
//!
//! A test compiles the header and compares every size, offset and constant with this file.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(target_endian = "big")]
compile_error!("the guest contract is little-endian, and its structures are used in place");

/// Version of the contract that this build speaks.
pub const VERSION: u32 = 2;
/// More headers than this in one head are odd.
pub const MAX_HEADERS: u32 = 128;
/// The most pairs of one record.
pub const MAX_PAIRS: u32 = 1024;
/// The most bytes that may wait at the host for one side.
pub const MAX_WAITING: u32 = 65536;
/// Bytes of state that every connection has.
pub const BLOCK_SIZE: usize = 128;
/// Extra state comes in units of so many bytes.
pub const EXTRA_UNIT: u32 = 1024;
/// The most bytes of extra state of a connection.
pub const MAX_EXTRA: u32 = 65536;
/// How often a connection may ask for more.
pub const MAX_GROWTHS: u8 = 4;
/// How often a connection may be handed over.
pub const MAX_HAND_OVERS: u8 = 4;
/// The most streams inside one another, the TCP connection not counted.
pub const MAX_DEPTH: u8 = 2;
/// Bytes of a protocol's name.
pub const NAME_SIZE: usize = 16;
/// The most protocols known at once.
pub const MAX_PROTOCOLS: usize = 16;
/// In the position of a text: it lies in the text area.
pub const TEXT: u32 = 1 << 31;
/// The least size of a text area.
pub const MIN_TEXT: u32 = 65536;
/// As a skip: to the end of the stream.
pub const FOREVER: u64 = u64::MAX;
/// As an acknowledgement: not known.
pub const UNKNOWN: u64 = u64::MAX;

/// What the guest remembers of one connection, opaque to the host.
pub type Block = [u8; BLOCK_SIZE];

/// Head of the input buffer (`pico_input`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "abi.h documents the fields")]
pub struct Input {
    pub abi_version: u32,
    pub num_events: u32,
    pub num_rows: u32,
    pub num_marks: u32,
    pub events: u32,
    pub rows: u32,
    pub marks: u32,
    pub arena: u32,
    pub arena_len: u32,
    pub results: u32,
    pub records: u32,
    pub max_records: u32,
    pub pairs: u32,
    pub max_pairs: u32,
    pub protocols: u32,
    pub num_protocols: u32,
    pub states: u32,
    pub states_len: u32,
    pub text: u32,
    pub max_text: u32,
}

/// One event (`pico_event`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "abi.h documents the fields")]
pub struct Event {
    pub row: u32,
    pub side: u8,
    pub kind: u8,
    pub flags: u8,
    pub reason: u8,
    pub offset: u64,
    pub peer_acked: u64,
    pub data: u32,
    pub len: u32,
    pub seen: u32,
    pub marks: u32,
    pub num_marks: u32,
    pub reserved: u32,
    pub length: u64,
    pub lost: u64,
}

/// One connection (`pico_row`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "abi.h documents the fields")]
pub struct Row {
    pub block: Block,
    pub opener: u8,
    pub flags: u8,
    pub depth: u8,
    pub alpn: u8,
    pub scratch: u32,
    pub extra: u32,
    pub extra_size: u32,
    pub extra_used: u32,
    pub grow: u32,
    pub handed_by: u8,
    pub hand_to: u8,
    pub reserved: [u8; 2],
    pub bodies: u32,
}

/// Head of the output buffer (`pico_output`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "abi.h documents the fields")]
pub struct Output {
    pub abi_version: u32,
    pub current_event: u32,
    pub events_done: u32,
    pub num_records: u32,
    pub num_pairs: u32,
    pub text_len: u32,
    pub reserved: [u32; 10],
}

/// The guest's answer to one event (`pico_result`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "abi.h documents the fields")]
pub struct Result {
    pub verdict: u8,
    pub wake: u8,
    pub wake_byte: u8,
    pub reserved: u8,
    pub consumed: u32,
    pub skip: u64,
}

/// A statement about an event (`pico_record`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "abi.h documents the fields")]
pub struct Record {
    pub kind: u8,
    pub side: u8,
    pub minor: u8,
    pub framing: u8,
    pub code: u16,
    pub reserved: u16,
    pub flags: u32,
    pub event: u32,
    pub number: u32,
    pub start: u32,
    pub end: u32,
    pub text: u32,
    pub text_len: u32,
    pub target: u32,
    pub target_len: u32,
    pub first_pair: u32,
    pub num_pairs: u32,
    pub stream: u32,
    pub content_length: u64,
    pub decoded: u64,
    pub lost: u64,
}

/// A header (`pico_pair`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "abi.h documents the fields")]
pub struct Pair {
    pub name: u32,
    pub name_len: u32,
    pub value: u32,
    pub value_len: u32,
}

macro_rules! constants {
    ($(#[$doc:meta])* $module:ident: $type:ty { $($name:ident = $value:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[expect(missing_docs, reason = "abi.h documents the constants")]
        pub mod $module {
            $(pub const $name: $type = $value;)+
            /// Every constant of this set with its name.
            pub const ALL: &[(&str, $type)] = &[$((stringify!($name), $name)),+];
        }
    };
}

/// Codes that a guest writes: the numbers, as [`constants`], and the type that they become once they have been checked.
macro_rules! codes {
    (
        $(#[$doc:meta])* $module:ident, $enum:ident: $type:ty {
            $($name:ident = $value:literal, $variant:ident, $meaning:literal;)+
        }
    ) => {
        constants! {
            $(#[$doc])*
            $module: $type { $($name = $value),+ }
        }

        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum {
            $(#[doc = $meaning] $variant = $value,)+
        }

        impl $enum {
            /// All of them, in order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// What a code stands for; `None` for a code that the contract does not know.
            #[must_use]
            pub const fn from_code(code: $type) -> Option<Self> {
                match code {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Its code.
            #[must_use]
            pub const fn code(self) -> $type {
                self as $type
            }
        }
    };
}

constants! {
    /// `pico_event_kind`.
    kind: u8 { BYTES = 1, VOID = 2, END = 3 }
}
constants! {
    /// `pico_end_reason`.
    reason: u8 { FIN = 1, RESET = 2, TIMEOUT = 3, EVICTED = 4, REUSED = 5, CAPTURE = 6 }
}
constants! {
    /// `pico_event_flag`.
    event_flag: u8 { SEGMENT = 1, FINAL = 2, INEXACT = 4, SHED = 8 }
}
constants! {
    /// `pico_opener`.
    opener: u8 { SIDE0 = 0, SIDE1 = 1, UNKNOWN = 2 }
}
constants! {
    /// `pico_row_flag`.
    row_flag: u8 { MIDSTREAM = 1, EXTRA_LOST = 2, NO_GROWTH = 4, HANDED_OVER = 8 }
}
constants! {
    /// `pico_alpn`.
    alpn: u8 { UNKNOWN = 0, NONE = 1, HTTP1 = 2, H2 = 3, OTHER = 4 }
}
codes! {
    /// `pico_verdict`.
    verdict, Verdict: u8 {
        DONE = 1, Done, "All of the event is consumed.";
        NEED_MORE = 2, NeedMore, "What is not consumed waits for more bytes of its side.";
        OUTPUT_FULL = 3, OutputFull, "What is not consumed is to be presented again.";
        DEFERRED = 4, Deferred, "Not read, because of an earlier event of its side or connection.";
        GROW = 5, Grow, "What is not consumed is to be presented again, with more extra state.";
        HAND_OVER = 6, HandOver, "What is not consumed is for the module of another protocol.";
        INNER = 7, Inner, "What is not consumed, on both sides, is a stream of its own.";
    }
}
codes! {
    /// `pico_record_kind`.
    record, RecordKind: u8 {
        REQUEST = 1, Request, "A request head.";
        RESPONSE = 2, Response, "A response head.";
        END = 3, End, "The end of a message.";
        TUNNEL = 4, Tunnel, "The connection carries something else from here on.";
        NOT_HTTP = 5, NotHttp, "The side does not speak HTTP/1.";
        ERROR = 6, Error, "The side could not be parsed here.";
        TRAILERS = 7, Trailers, "Trailer fields of a message.";
        RESET = 8, Reset, "A message that a side gave up.";
        OPERATION = 9, Operation, "A request of a protocol that is not HTTP.";
        OUTCOME = 10, Outcome, "What became of an operation.";
        BODY = 11, Body, "Bytes of a body.";
    }
}
codes! {
    /// `pico_framing`.
    framing, Framing: u8 {
        NONE = 0, None, "No body.";
        LENGTH = 1, Length, "As many bytes as the head announces.";
        CHUNKED = 2, Chunked, "Chunks.";
        CLOSE = 3, Close, "Until the connection closes.";
        TUNNEL = 4, Tunnel, "A tunnel: 2xx to CONNECT, or 101.";
    }
}
codes! {
    /// `pico_not_http`.
    not_http, NotHttp: u16 {
        OTHER = 1, Other, "None of those below.";
        TLS = 2, Tls, "TLS.";
        HTTP2 = 3, Http2, "HTTP/2.";
        SSH = 4, Ssh, "SSH.";
        HTTP09 = 5, Http09, "HTTP/0.9.";
        SMTP = 6, Smtp, "SMTP, or another protocol whose server greets with a three-digit line.";
    }
}
codes! {
    /// `pico_tunnel`.
    tunnel, Tunnel: u16 {
        CONNECT = 1, Connect, "2xx to CONNECT.";
        OTHER = 2, Other, "An upgrade to something else.";
        WEBSOCKET = 3, WebSocket, "An upgrade to WebSocket.";
        H2C = 4, H2c, "An upgrade to HTTP/2 without TLS.";
        SOCKS = 5, Socks, "SOCKS 4, 4a or 5.";
        PROXY = 6, Proxy, "A PROXY protocol header.";
    }
}
codes! {
    /// `pico_error`.
    error, ParseError: u16 {
        BAD_START_LINE = 1, BadStartLine, "Not a start line.";
        BAD_HEADER = 2, BadHeader, "Not a header line.";
        TOO_MANY_HEADERS = 3, TooManyHeaders, "More headers than are read.";
        HEAD_TOO_LONG = 4, HeadTooLong, "A head longer than is read.";
        BAD_CONTENT_LENGTH = 5, BadContentLength, "A Content-Length that is not a number, too large, or contradicts itself.";
        BAD_TRANSFER_CODING = 6, BadTransferCoding, "A request whose Transfer-Encoding does not end in chunked.";
        BAD_CHUNK = 7, BadChunk, "Not a chunk size.";
        CHUNK_OVERHEAD = 8, ChunkOverhead, "Far more chunk framing than data.";
        BAD_TRAILER = 9, BadTrailer, "Not a trailer field.";
        LOST_HEAD = 10, LostHead, "A gap in a head, or the end of the stream inside one.";
        LOST_FRAMING = 11, LostFraming, "A gap that hid where a message ends.";
        NO_START = 12, NoStart, "No start line found after loss or an error: the side is given up.";
        BAD_FRAME = 13, BadFrame, "Not a frame of HTTP/2.";
    }
}
constants! {
    /// `PICO_F_*`.
    flag: u32 {
        TE_CL_CONFLICT = 1 << 0, CL_REPEATED = 1 << 1, CL_CONFLICT = 1 << 2, TE_HTTP10 = 1 << 3, TE_ODD = 1 << 4,
        OBS_FOLD = 1 << 5, BARE_LF = 1 << 6, LEADING_EMPTY = 1 << 7, ODD_SPACE = 1 << 8, CHUNK_ODD = 1 << 9,
        CHUNK_EXTENSION = 1 << 10, TRAILERS = 1 << 11, BODY_FORBIDDEN = 1 << 12, HOST_MISSING = 1 << 13,
        HOST_REPEATED = 1 << 14, INTERIM = 1 << 15, UNPAIRED = 1 << 16, RESYNC = 1 << 17, GAP = 1 << 18,
        TRUNCATED = 1 << 19, EARLY = 1 << 20, UPGRADE = 1 << 21, MIDSTREAM = 1 << 22, UNSOLICITED = 1 << 23,
        BODY_ODD = 1 << 24, REQUEST_LOST = 1 << 25, FAILED = 1 << 26,
        BAD_START_LINE = 1 << 27, BAD_HEADER = 1 << 28, TOO_MANY_HEADERS = 1 << 29, HEAD_CUT = 1 << 30,
        HPACK_UNKNOWN = 1 << 31,
    }
}
