//! An error says which capture file failed, where in it and what can be done.

use std::io;

/// A source failed. What it gave before remains valid.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A capture file cannot be read, or not further.
    #[error("{name}: {fault}")]
    File {
        /// The path as it was given, or "standard input".
        name: String,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// A filter expression does not compile for a link type.
    #[error("filter expression {expression:?} cannot be used on link type {link}: {message}")]
    Filter {
        /// The expression as it was given.
        expression: String,
        /// LINKTYPE_ number that it was compiled for.
        link: i32,
        /// libpcap's reason.
        message: String,
    },
}

/// What is wrong with a capture file. Offsets are bytes from its start, after decompression.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The operating system does not open it.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// Reading it failed.
    #[error("reading failed at byte {offset}: {source}")]
    Read {
        /// Bytes that were read before.
        offset: u64,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Its compressed data cannot be decompressed further.
    #[error("{format} data is damaged or cut off after {offset} decompressed bytes: {source}")]
    Decompress {
        /// gzip or zstd.
        format: &'static str,
        /// Bytes that were decompressed before.
        offset: u64,
        /// The decompressor's reason.
        source: io::Error,
    },
    /// It holds nothing at all.
    #[error("is empty (0 bytes): no capture was written to it")]
    Empty,
    /// It is a directory without files.
    #[error("holds no file")]
    NoFile,
    /// It is a directory or a pattern, and none of its files is a capture.
    #[error("holds no capture: none of its files ({files}) is one")]
    NoCapture {
        /// Number of the files.
        files: usize,
    },
    /// It is a pattern, and no file matches it.
    #[error("matches no file")]
    NoMatch,
    /// It looks like a pattern, and is none.
    #[error("is no pattern: {reason} (write [[] for the letter [)")]
    Pattern {
        /// Why not.
        reason: &'static str,
    },
    /// Its format is not one that is read.
    #[error(
        "is not a capture file: it starts with {first}; pcap and pcapng are read, also compressed with gzip or zstd"
    )]
    NotCapture {
        /// The first bytes, as hexadecimal and text.
        first: String,
    },
    /// It is compressed in a way that is not read.
    #[error(
        "is compressed with {format}, which is not read: decompress it first, for instance into a pipe to --pcap -"
    )]
    Compressed {
        /// Name of the format.
        format: &'static str,
    },
    /// It ends inside something.
    #[error("is cut off: the {what} at byte {offset} needs {needed} bytes, {had} are there; all before it was read")]
    Cut {
        /// What is cut off.
        what: &'static str,
        /// Where that starts.
        offset: u64,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are there.
        had: u64,
    },
    /// A value in it is impossible.
    #[error("is damaged at byte {offset}: {what} is {value}, {expected}; all before it was read")]
    Damaged {
        /// Which value.
        what: &'static str,
        /// Where its header starts.
        offset: u64,
        /// The value.
        value: u64,
        /// Why that is impossible.
        expected: &'static str,
    },
}

impl FileFault {
    /// The error of a file with this fault.
    pub(super) fn of(self, name: &str) -> Error {
        Error::File { name: name.to_owned(), fault: self }
    }
}
