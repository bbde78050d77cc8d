//! A flag says what is odd about a transaction, or missing.

use std::fmt;

use bitflags::bitflags;

use crate::abi;

/// Bits of records that are not flags of a transaction: they say how to pair.
const NOT_TAKEN: u32 = abi::flag::INTERIM | abi::flag::UNPAIRED | abi::flag::UNSOLICITED | abi::flag::REQUEST_LOST;

/// Bits of the flags that stand for `abi::error` codes begin here: code 1 is this bit.
const ERROR_BIT: u32 = 44;

/// Records say by these that a message was odd and could be followed, and errors of the same names that it could not.
const FOLLOWED: [(u32, Flags); 3] = [
    (abi::flag::BAD_START_LINE, Flags::BAD_START_LINE),
    (abi::flag::BAD_HEADER, Flags::BAD_HEADER),
    (abi::flag::TOO_MANY_HEADERS, Flags::TOO_MANY_HEADERS),
];
const FOLLOWED_BITS: u32 = abi::flag::BAD_START_LINE | abi::flag::BAD_HEADER | abi::flag::TOO_MANY_HEADERS;

macro_rules! flags {
    ($($name:ident = $bit:expr, $text:literal, $meaning:literal;)+) => {
        bitflags! {
            /// A set of flags.
            #[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
            pub struct Flags: u64 {
                $(#[doc = $meaning] const $name = 1 << $bit;)+
            }
        }

        /// Every flag: itself, its name in logs and metrics, its meaning. In order of the bits.
        pub const ALL: &[(Flags, &str, &str)] = &[$((Flags::$name, $text, $meaning)),+];

        const NAMES: [&str; 64] = {
            let mut names = [""; 64];
            $(names[$bit] = $text;)+
            names
        };
    };
}

// Bits 0 to 31 are those of `abi::flag` (a test compares them).
flags! {
    TE_CL_CONFLICT = 0, "te_cl_conflict", "both Transfer-Encoding and Content-Length";
    CL_REPEATED = 1, "cl_repeated", "several Content-Length values, all equal";
    CL_CONFLICT = 2, "cl_conflict", "several Content-Length values that differ";
    TE_HTTP10 = 3, "te_http10", "Transfer-Encoding in an HTTP/1.0 message";
    TE_ODD = 4, "te_odd", "Transfer-Encoding spelt in a way that parsers read differently";
    OBS_FOLD = 5, "obs_fold", "a header continued on the next line";
    BARE_LF = 6, "bare_lf", "a line ended by LF alone";
    LEADING_EMPTY = 7, "leading_empty", "empty lines before the start line";
    ODD_SPACE = 8, "odd_space", "more than one space, or a tab, in the start line";
    CHUNK_ODD = 9, "chunk_odd", "chunk sizes that parsers read differently";
    CHUNK_EXTENSION = 10, "chunk_extension", "a chunk extension";
    TRAILERS = 11, "trailers", "trailer fields after the last chunk";
    BODY_FORBIDDEN = 12, "body_forbidden", "a 1xx, 204 or 304 response that announces a body";
    HOST_MISSING = 13, "host_missing", "an HTTP/1.1 request without Host";
    HOST_REPEATED = 14, "host_repeated", "more than one Host";
    PAIRING_INFERRED = 16, "pairing_inferred", "paired by TCP acknowledgements that do not prove it, because loss hid the order";
    RESYNC = 17, "resync", "a head found by searching after loss or an error";
    GAP = 18, "gap", "bytes of a body were never seen";
    TRUNCATED = 19, "truncated", "a message was cut before its end";
    EARLY_RESPONSE = 20, "early_response", "the response began before the request had ended";
    UPGRADE = 21, "upgrade", "the request asks for an upgrade";
    MIDSTREAM = 22, "midstream", "first message of a connection whose start was not captured";
    NO_REQUEST = 23, "no_request", "a response whose request was not seen, or that answers none";
    BODY_ODD = 24, "body_odd", "a body on a method for which none is defined";
    FAILED = 26, "failed", "the operation failed (protocols other than HTTP)";
    HEAD_CUT = 30, "head_cut", "of a head only the first part was seen, or it is too long";
    HPACK_UNKNOWN = 31, "hpack_unknown", "HTTP/2: header fields that refer to what was not seen are left out";
    NO_RESPONSE = 32, "no_response", "a request to which the server sent no response";
    TUNNEL = 33, "tunnel", "the connection carries something else from here on";
    TEXT_CUT = 34, "text_cut", "a text was longer than is kept, or more headers were asked for than are kept";
    RESET = 35, "reset", "the connection was reset during the transaction";
    TIMEOUT = 36, "timeout", "nothing came for too long";
    EVICTED = 37, "evicted", "the connection was given up because the memory limit was reached";
    REUSED = 38, "reused", "its ports were taken by a new connection";
    OPEN = 39, "open", "the capture ended during the transaction";
    FAULT = 40, "fault", "the parser failed on the connection (HTTP/2: three times), which is ignored from there on";
    OVERFLOW = 41, "overflow", "too many open transactions: logged before it was complete";
    NOT_HTTP = 42, "not_http", "a side turned out to speak something else";
    REVERSED = 43, "reversed", "the requests come from the side that did not open the connection";
    BAD_START_LINE = 44, "bad_start_line", "a start line that parsers refuse or read differently";
    BAD_HEADER = 45, "bad_header", "a header line that parsers refuse or read differently: no colon, a space before it, a control character";
    TOO_MANY_HEADERS = 46, "too_many_headers", "more than 128 headers; those after the first 1,023 are read for framing and Host only";
    HEAD_TOO_LONG = 47, "head_too_long", "error: a head longer than is read";
    BAD_CONTENT_LENGTH = 48, "bad_content_length", "error: a Content-Length that is no number, too large, or contradicts itself";
    BAD_TRANSFER_CODING = 49, "bad_transfer_coding", "error: a request whose Transfer-Encoding does not end in chunked";
    BAD_CHUNK = 50, "bad_chunk", "error: a chunk size that is none";
    CHUNK_OVERHEAD = 51, "chunk_overhead", "far more chunk framing than data";
    BAD_TRAILER = 52, "bad_trailer", "error: a trailer field that is none";
    LOST_HEAD = 53, "lost_head", "error: a gap in a head, or the end of the stream inside one";
    LOST_FRAMING = 54, "lost_framing", "error: a gap that hid where a message ends";
    NO_START = 55, "no_start", "error: no start line found after loss; the side is given up";
    BAD_FRAME = 56, "bad_frame", "error: HTTP/2 frames that are none";
    RESPONSE_UNREAD = 57, "response_unread", "the server sent something after the request that may have been the response: it was lost, cut, no HTTP, or is a line of its own";
    STREAM_RESET = 58, "stream_reset", "HTTP/2: the stream was reset during the transaction";
    NOT_PROCESSED = 59, "not_processed", "HTTP/2: the server refused the stream, or closed the connection before it: nothing was done";
}

impl Flags {
    /// The flags of a record's bits. Bits that say how to pair, and unknown ones, are dropped.
    #[must_use]
    pub const fn from_record(bits: u32) -> Self {
        // A constant, so that the mask is not computed at every call.
        const KNOWN: Flags = Flags::all();
        let flags = Self::from_bits_retain((bits & !NOT_TAKEN) as u64).intersection(KNOWN);
        if bits & FOLLOWED_BITS == 0 { flags } else { flags.union(Self::followed(bits)) }
    }

    #[cold]
    const fn followed(bits: u32) -> Self {
        let mut flags = Self::empty();
        let mut rest: &[(u32, Self)] = &FOLLOWED;
        while let [(bit, flag), more @ ..] = rest {
            if bits & *bit != 0 {
                flags = flags.union(*flag);
            }
            rest = more;
        }
        flags
    }

    /// The flag of an error.
    #[must_use]
    pub const fn from_error(error: abi::ParseError) -> Self {
        Self::from_bits_retain(1 << (ERROR_BIT + error.code() as u32 - 1))
    }

    /// Bit number of each flag of the set, 0 to 63, in ascending order: its index in a table.
    pub fn positions(self) -> impl Iterator<Item = usize> {
        let mut rest = self.bits();
        std::iter::from_fn(move || {
            let bit = (rest != 0).then_some(rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            bit
        })
    }

    /// Names of the flags of the set, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.positions().filter_map(|bit| NAMES.get(bit).copied())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_flag_has_a_name_or_says_how_to_pair() {
        for &(name, bit) in abi::flag::ALL {
            let flags = Flags::from_record(bit);
            if bit & NOT_TAKEN != 0 {
                assert!(flags.is_empty(), "{name}");
                continue;
            }
            let text: Vec<_> = flags.names().collect();
            let wanted = if name == "EARLY" { "early_response".to_owned() } else { name.to_lowercase() };
            assert_eq!(text, [wanted.as_str()]);
        }
    }

    #[test]
    fn every_error_code_has_a_flag_of_its_name() {
        for &(name, code) in abi::error::ALL {
            let error = abi::ParseError::from_code(code).unwrap();
            let names: Vec<_> = Flags::from_error(error).names().collect();
            assert_eq!(names, [name.to_lowercase()]);
        }
    }

    #[test]
    fn bits_that_say_how_to_pair_are_dropped() {
        assert!(Flags::from_record(NOT_TAKEN).is_empty());
    }

    #[test]
    fn names_and_bits_are_unique_and_in_order() {
        let mut names: Vec<_> = ALL.iter().map(|(_, name, _)| *name).collect();
        assert!(ALL.is_sorted_by(|a, b| a.0.bits() < b.0.bits()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
