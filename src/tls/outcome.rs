//! What comes out of a TLS connection: plaintext, gaps in it, its end; and for what cannot be read, the reason.

use super::cipher::Expanded;
use super::keys::KeyStore;
use super::names::NameFilter;
use crate::counters::{HELD, PAYLOAD, counters, families};
use crate::stream::{Position, Side};

/// Why bytes are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Dark {
    /// No secret is known.
    NoKey,
    /// The hellos were not captured.
    Midstream,
    /// The cipher suite cannot be opened, or records are compressed.
    UnsupportedSuite,
    /// The version is below TLS 1.2.
    UnsupportedVersion,
    /// Something is missing that would be needed.
    Gap,
    /// The known secrets open no record.
    BadTag,
    /// No secret was known for as long as bytes could be held.
    TooLate,
    /// Secrets were known, and given up because the store was full.
    KeysEvicted,
    /// These are no records, or the hellos contradict each other.
    Malformed,
    /// The server's name is not among those that are opened.
    Filtered,
}

/// Names of the reasons, in their order.
pub const REASONS: &[&str] = &[
    "no_key",
    "midstream",
    "unsupported_suite",
    "unsupported_version",
    "gap",
    "bad_tag",
    "too_late",
    "keys_evicted",
    "malformed",
    "filtered",
];

impl Dark {
    /// Its name in lines and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        REASONS.get(self as usize).copied().unwrap_or_default()
    }
}

/// The accounts of bytes that were not read, in the order of the reasons.
const ACCOUNTS: &[&str] = &[
    "tls_no_key",
    "tls_midstream",
    "tls_unsupported_suite",
    "tls_unsupported_version",
    "tls_gap",
    "tls_bad_tag",
    "tls_too_late",
    "tls_keys_evicted",
    "tls_malformed",
    "tls_filtered",
];

families! {
    PLAINTEXT = Counter "picotap_tls_plaintext_bytes_total" [] "bytes of plaintext from TLS", "Bytes of plaintext that TLS connections gave.";
    STARTED = Counter "picotap_tls_started_connections_total" [] "TLS connections", "TLS connections of which the first bytes came. picotap_tls_connections_total has those that have ended.";
    SEARCHED = Counter "picotap_tls_search_bytes_total" [] "bytes opened to find a place after loss", "Bytes of records that were opened to find out where in a TLS connection they belong.";
}

counters! {
    /// Every byte of a TLS connection ends in one of these, or is held.
    pub struct TlsCounters {
        /// Connections.
        started => STARTED,
        /// Plaintext of applications that was handed on.
        plaintext => PLAINTEXT,
        /// What protects it: headers, nonces, padding, tags.
        overhead => PAYLOAD["tls_overhead"],
        /// Records with handshake messages, alerts and changes of the cipher.
        handshake => PAYLOAD["tls_handshake"],
        /// Early data that the server did not take, or of which it is not known whether it did.
        early_data => PAYLOAD["tls_early_data"],
        /// What was not read.
        dark: [ACCOUNTS.len(); ACCOUNTS] => PAYLOAD,
        /// Bytes that wait.
        held => HELD["tls"],
        /// Bytes that were opened in search of a place; they are in another account too.
        searched => SEARCHED,
    }
}

impl TlsCounters {
    /// Bytes that have an account.
    #[must_use]
    pub fn accounted(&self) -> u64 {
        self.plaintext + self.overhead + self.handshake + self.early_data + self.dark.iter().sum::<u64>()
    }

    pub(super) fn darken(&mut self, reason: Dark, bytes: usize) {
        if let Some(count) = self.dark.get_mut(reason as usize) {
            *count += bytes as u64;
        }
    }
}

/// What a connection needs of its owner while it takes bytes. The buffers are there to be used again.
pub struct Context<'a> {
    /// The known secrets.
    pub keys: &'a KeyStore,
    /// Only connections are opened whose server's name fits all of these.
    pub names: &'a [NameFilter],
    /// What to do where a secret is missing: `None` waits for it ([`Progress::WantsKeys`]); with a reason the side
    /// becomes dark for that reason.
    pub without_keys: Option<Dark>,
    /// What is counted.
    pub counters: &'a mut TlsCounters,
    /// Memory for the worker's own use.
    pub buffers: &'a mut Buffers,
}

/// Memory that the connections of a worker share.
#[derive(Debug, Default)]
pub struct Buffers {
    /// For a partial record.
    pub(super) spare: Vec<u8>,
    /// A copy of a record on which a key is tried, since what fails is spoilt.
    pub(super) copy: Vec<u8>,
    /// Keys that were used last.
    pub(super) expanded: Expanded,
}

/// How far a connection took the bytes that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All.
    Done,
    /// A secret is missing that may still come. So many bytes were taken; the caller holds the others, and everything that
    /// comes later on either side, and tries again.
    WantsKeys {
        /// Bytes that were taken.
        taken: usize,
    },
}

/// Receives the plaintext of a connection. Offsets count plaintext.
pub trait Output {
    /// Plaintext of one record, never empty: every call begins a record. `at`: its offset, what its sender had acknowledged of
    /// the other side's plaintext, and the time of the packet that completed the record.
    fn data(&mut self, side: Side, at: Position, plaintext: &[u8]);
    /// Plaintext is missing: at most so many bytes, and exactly as many if `exact`. The offsets of what follows are behind it.
    fn gap(&mut self, side: Side, at: Position, length: u64, exact: bool);
    /// The side says that it sends no more (`close_notify`).
    fn closed(&mut self, side: Side, at: Position);
}
