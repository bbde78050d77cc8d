//! A closed connection is what is told of a TLS connection at its end: what was agreed, how much was sent, and whether it was
//! read.

use super::half::{Half, Phase};
use super::negotiation::Info;
use super::outcome::Dark;
use crate::stream::{Connection, Opener, Side};

/// A TLS connection that has ended.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The connection.
    pub connection: Connection,
    /// The side of the client: the one that said a client's hello. Where no hello was captured, the one that opened the
    /// connection, and where that was not captured either, the one with the higher port.
    pub client: Side,
    /// What is known of it.
    pub info: Info,
    /// Times of the first packet with TLS and of the last, in nanoseconds since the Unix epoch.
    pub times: [i64; 2],
    /// Bytes that the client sent and that the server sent, as on the wire.
    pub bytes: [u64; 2],
    /// Whether it was read.
    pub fate: Fate,
    /// Number of the event that ended it, from the start of its slot.
    pub order: u32,
}

impl Closed {
    /// Time from the first packet with TLS to the last, in nanoseconds; `None` if the clock went backwards.
    #[must_use]
    pub fn duration(&self) -> Option<i64> {
        let [first, last] = self.times;
        last.checked_sub(first).filter(|time| *time >= 0)
    }
}

/// Whether a TLS connection was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// All that was encrypted was read, or some plaintext of it.
    pub decrypted: bool,
    /// Why it was not, or not to the end. Absent if nothing was encrypted.
    pub dark: Option<Dark>,
    /// Both sides have sent encrypted records, and no fatal alert ended the handshake. An alert that cannot be read does not count.
    pub established: bool,
}

/// The reason where nothing was encrypted.
const NO_DATA: &str = "no_data";

impl Fate {
    /// Name of the reason why it was not read, or not to the end: that of [`Dark`], or `no_data` if it ended before anything
    /// was encrypted. `None` if all was read.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self.dark {
            Some(dark) => Some(dark.name()),
            None => (!self.decrypted).then_some(NO_DATA),
        }
    }

    /// Of both sides of a connection.
    pub(super) fn of(halves: &[Half; 2], info: &Info) -> Self {
        let dark = halves.iter().filter_map(unread).min_by_key(|reason| *reason as u8);
        let plaintext = halves.iter().any(|half| half.plain > 0);
        let opened = halves.iter().any(|half| half.opened.0 > 0);
        let encrypted = halves.iter().all(|half| encrypted(half, info));
        Self {
            decrypted: plaintext || (opened && dark.is_none()),
            dark,
            // A fatal alert behind plaintext ends a connection that was established.
            established: encrypted && (plaintext || info.alert.is_none()),
        }
    }
}

/// Why a side was not read to its end.
const fn unread(half: &Half) -> Option<Dark> {
    match &half.phase {
        Phase::Dark(reason) => Some(*reason),
        Phase::Lost(_) => Some(Dark::Gap),
        Phase::Clear | Phase::Needs(_) | Phase::Choosing(_) | Phase::Open(_) => None,
    }
}

/// Whether a side has sent encrypted records.
const fn encrypted(half: &Half, info: &Info) -> bool {
    if half.opened.0 > 0 {
        return true;
    }
    match &half.phase {
        Phase::Open(_) | Phase::Choosing(_) => true,
        Phase::Lost(lost) => !lost.in_clear,
        Phase::Clear | Phase::Needs(_) => false,
        Phase::Dark(Dark::Midstream) => true,
        // A side that has agreed on nothing encrypts nothing.
        Phase::Dark(Dark::Gap | Dark::Malformed) => false,
        Phase::Dark(_) => info.version.is_some(),
    }
}

/// The side of the client, as [`Closed::client`] says; `named`: the one that is known by a hello.
pub(super) fn client(connection: &Connection, named: Option<Side>) -> Side {
    named.unwrap_or_else(|| match connection.opener {
        Opener::First => Side::First,
        Opener::Second => Side::Second,
        Opener::Unknown => {
            let [first, second] = connection.endpoints;
            if first.port >= second.port { Side::First } else { Side::Second }
        }
    })
}
