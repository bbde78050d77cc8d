//! One side of a TLS connection: what is kept of its bytes, and the keys that open its records.

use std::collections::VecDeque;

use super::borders::Borders;
use super::cipher::Opener;
use super::handshake::Messages;
use super::lost::Lost;
use super::outcome::{Dark, Output};
use super::record::Records;
use super::secrets::Secret;
use super::suites::Bulk;
use crate::stream::{Position, Side};

/// The most bytes that one side holds while the other has to go first.
pub(super) const MAX_HELD: usize = 64 * 1024;
/// The most gaps among them.
const MAX_GAPS: usize = 64;
/// The most places of which held bytes remember when they came. Beyond it, earlier ones are given the time of later ones.
const MAX_MARKS: usize = 256;

/// So many records say what is usual.
const USUAL_RECORDS: u64 = 16;

/// Which keys protect records. TLS 1.2 has one kind; in TLS 1.3 they follow each other in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Epoch {
    Tls12,
    Early,
    Handshake,
    Application,
}

/// Memory of keys, with their secret.
pub(super) const KEYS_COST: usize = size_of::<Keys>() + 64;

/// Keys of a side.
pub(super) struct Keys {
    pub(super) opener: Opener,
    pub(super) epoch: Epoch,
    /// Of TLS 1.3: the next keys are made of it.
    pub(super) secret: Option<Secret>,
    /// Number of the next record.
    pub(super) number: u64,
}

/// How the next record of a side is read.
pub(super) enum Phase {
    /// It is not encrypted, or its header says so.
    Clear,
    /// It is encrypted with keys that have not been looked up.
    Needs(Epoch),
    /// It is encrypted with one of these.
    Choosing(Box<Choosing>),
    /// It is encrypted with these.
    Open(Box<Keys>),
    /// Records are missing before it.
    Lost(Box<Lost>),
    /// It is not read any more.
    Dark(Dark),
}

/// Keys of which the first record decides.
pub(super) struct Choosing {
    #[expect(clippy::vec_box, reason = "keys are not moved: that would leave copies of them behind")]
    pub(super) candidates: Vec<Box<Keys>>,
    /// Records that none of them opens may come first: refused early data, or a handshake without its secret.
    pub(super) tolerant: bool,
    /// Bytes of such records.
    pub(super) passed: usize,
}

/// Bytes that were taken and not processed yet.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What follows, each part behind a gap.
    pub(super) behind: VecDeque<Self>,
    /// Offset of the first.
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    /// For each piece the offset behind it, and where it came.
    marks: Vec<(u64, Position)>,
}

impl Held {
    /// Offset behind the bytes before the first gap.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// All bytes, those behind gaps too.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.behind.iter().map(|part| part.bytes.len()).sum::<usize>()
    }

    /// Adds bytes with this offset, behind a gap or not, if they are not too many.
    pub(super) fn add(&mut self, offset: u64, at: Position, bytes: &[u8]) -> bool {
        if self.len() + bytes.len() > MAX_HELD {
            return false;
        }
        if self.len() > 0 && self.behind.back().map_or_else(|| self.end(), Self::end) != offset {
            if self.behind.len() >= MAX_GAPS {
                return false;
            }
            self.behind.push_back(Self::default());
        }
        match self.behind.back_mut() {
            Some(last) => last.push(offset, at, bytes),
            None => self.push(offset, at, bytes),
        }
        true
    }

    /// Adds bytes with this offset. They follow the others, or they are the first.
    pub(super) fn push(&mut self, offset: u64, at: Position, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.start = offset;
            self.marks.clear();
        }
        self.bytes.extend_from_slice(bytes);
        if self.marks.len() >= MAX_MARKS {
            self.marks.pop();
        }
        self.marks.push((self.end(), at));
    }

    /// Leaves out the first bytes.
    pub(super) fn drop_front(&mut self, count: usize) {
        let count = count.min(self.bytes.len());
        self.bytes.drain(..count);
        self.start += count as u64;
        let start = self.start;
        self.marks.retain(|(end, _)| *end > start);
    }

    /// Moves the marks of the bytes out, to find positions while the bytes are changed.
    pub(super) fn times(&mut self) -> Times {
        Times::Marks(std::mem::take(&mut self.marks))
    }

    pub(super) fn restore(&mut self, times: Times) {
        if let Times::Marks(marks) = times {
            self.marks = marks;
        }
    }

    pub(super) fn memory(&self) -> usize {
        let behind = self.behind.iter().map(Self::memory).sum::<usize>() + self.behind.capacity() * size_of::<Self>();
        self.bytes.capacity() + self.marks.capacity() * size_of::<(u64, Position)>() + behind
    }
}

/// When bytes came.
pub(super) enum Times {
    All(Position),
    Marks(Vec<(u64, Position)>),
}

impl Times {
    /// The packet with the last byte below this offset.
    pub(super) fn of(&self, end: u64) -> Option<Position> {
        match self {
            Self::All(at) => Some(*at),
            Self::Marks(marks) => marks.get(marks.partition_point(|(until, _)| *until < end)).map(|(_, at)| *at),
        }
    }

    /// Calls `each` with the pieces of these bytes that came together: offset, place, bytes.
    pub(super) fn pieces(&self, start: u64, bytes: &[u8], mut each: impl FnMut(u64, Position, &[u8])) {
        let marks = match self {
            Self::All(at) => &[(u64::MAX, *at)][..],
            Self::Marks(marks) => marks,
        };
        let (mut offset, mut rest) = (start, bytes);
        for (until, at) in marks.iter().filter(|(until, _)| *until > start) {
            let length = usize::try_from(until - offset).unwrap_or(usize::MAX).min(rest.len());
            let (piece, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            each(offset, *at, piece);
            offset += length as u64;
            rest = behind;
        }
    }
}

/// Plaintext that is missing and has not been told.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Missing {
    pub(super) greatest: u64,
    pub(super) inexact: bool,
}

impl Missing {
    pub(super) fn add(&mut self, greatest: u64, exact: bool) {
        self.greatest = self.greatest.saturating_add(greatest);
        self.inexact |= !exact;
    }
}

/// The state of one side.
pub(super) struct Half {
    pub(super) phase: Phase,
    /// Offset of the next byte.
    pub(super) next: u64,
    /// Bytes that came, and bytes that were opened to find a place or a key: the work that the former pays for.
    pub(super) received: u64,
    pub(super) searched: u64,
    pub(super) records: Records,
    /// Where a message has begun and not ended.
    pub(super) messages: Option<Box<Messages>>,
    pub(super) held: Option<Box<Held>>,
    /// Offset of the next byte of plaintext.
    pub(super) plain: u64,
    pub(super) missing: Missing,
    pub(super) borders: Borders,
    /// How many records were opened lately, and their bytes: the mean is a guess at how many were lost.
    pub(super) opened: (u64, u64),
    /// Something of it is missing.
    pub(super) lossy: bool,
    /// It said that it sends no more.
    pub(super) closed: bool,
}

impl Default for Half {
    fn default() -> Self {
        Self {
            phase: Phase::Clear,
            next: 0,
            received: 0,
            searched: 0,
            records: Records::default(),
            messages: None,
            held: None,
            plain: 0,
            missing: Missing::default(),
            borders: Borders::default(),
            opened: (0, 0),
            lossy: false,
            closed: false,
        }
    }
}

impl Half {
    pub(super) const fn dark(&self) -> Option<Dark> {
        match &self.phase {
            Phase::Dark(reason) => Some(*reason),
            _ => None,
        }
    }

    /// Reads a word of each line: see [`super::connection::Connection::touch`].
    pub(super) fn touch(&self) -> u64 {
        let (_, bytes) = self.opened;
        self.next ^ self.plain ^ self.missing.greatest ^ self.received ^ bytes ^ u64::from(self.lossy)
    }

    /// The same of what these lines point to.
    pub(super) fn touch_keys(&self) -> u64 {
        let keys = if let Phase::Open(keys) = &self.phase { keys.number ^ keys.opener.touch() } else { 0 };
        keys ^ self.borders.touch() ^ self.records.touch()
    }

    /// Bytes that are kept.
    pub(super) fn kept(&self) -> usize {
        let lost = if let Phase::Lost(lost) = &self.phase { lost.kept() } else { 0 };
        self.records.kept() + self.held.as_ref().map_or(0, |held| held.len()) + lost
    }

    /// Memory on the heap, in bytes; of keys an estimate.
    pub(super) fn memory(&self) -> usize {
        let keys = match &self.phase {
            Phase::Open(_) => KEYS_COST,
            Phase::Choosing(choosing) => size_of::<Choosing>() + choosing.candidates.len() * (8 + KEYS_COST),
            Phase::Lost(lost) => lost.memory(),
            Phase::Clear | Phase::Needs(_) | Phase::Dark(_) => 0,
        };
        let held = self.held.as_ref().map_or(0, |held| size_of::<Held>() + held.memory());
        let messages = self.messages.as_ref().map_or(0, |messages| size_of::<Messages>() + messages.memory());
        keys + held + self.records.memory() + messages + self.borders.memory()
    }

    /// A record of this length was opened.
    pub(super) const fn count(&mut self, length: usize) {
        let (records, bytes) = &mut self.opened;
        if *records == 2 * USUAL_RECORDS {
            *records /= 2;
            *bytes /= 2;
        }
        *records += 1;
        *bytes += length as u64;
    }

    /// Tells what is missing before the next plaintext.
    pub(super) fn tell_gap(&mut self, side: Side, at: Position, output: &mut impl Output) {
        let missing = std::mem::take(&mut self.missing);
        if missing.greatest > 0 {
            output.gap(side, Position { offset: self.plain, ..at }, missing.greatest, !missing.inexact);
            self.plain += missing.greatest;
        }
    }

    /// Tries only keys of this cipher from now on.
    pub(super) fn keep_cipher(&mut self, cipher: Option<Bulk>) {
        match &mut self.phase {
            Phase::Choosing(choosing) => choosing.candidates.retain(|keys| keys.opener.aead() == cipher),
            Phase::Lost(lost) => lost.keep_cipher(cipher),
            _ => {}
        }
    }

    /// Reads no more of it, and forgets what is kept. Returns how many bytes that was.
    pub(super) fn darken(&mut self, reason: Dark) -> usize {
        let kept = self.kept();
        self.phase = Phase::Dark(reason);
        self.records = Records::default();
        self.messages = None;
        self.held = None;
        kept
    }
}
