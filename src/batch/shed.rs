//! Shedding: while a worker is behind, only the front of large segments goes into its slots. The rest is told as a range that was
//! seen and left out. Where it lies in a body of known length, nothing is lost by it.

use super::{Batcher, Deliver};
use crate::stream::{OpenConnection, SinkTag};

/// Of a segment, so many bytes are kept at least.
const KEPT: usize = 2048;
/// Less is not left out: it would not be worth an event.
const LEAST_SHED: usize = 1024;
/// The longest head that is looked for in a segment.
const LONGEST_HEAD: usize = 16 * 1024;

/// When a batcher leaves out what lies behind the front of large segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shedding {
    /// Never: the input waits.
    #[default]
    Never,
    /// While a worker is behind, or the input's own buffer fills.
    UnderLoad,
    /// Always: for tests.
    Always,
}

/// What a sink notes of a connection: whether anything of it may be left out. By its first bytes, since what is encrypted, or
/// HTTP/2, cannot do without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Nature {
    /// Nothing of it has come.
    New = 0,
    /// It begins like HTTP/1.
    Sheds = 1,
    /// It begins like something else, or became that.
    Whole = 2,
}

impl Nature {
    pub(super) const fn of(tag: SinkTag) -> Self {
        match tag.note() {
            0 => Self::New,
            1 => Self::Sheds,
            _ => Self::Whole,
        }
    }

    fn by(first: &[u8]) -> Self {
        if is_response(first) || request(first).is_some_and(|method| !OTHERS.contains(&method)) {
            Self::Sheds
        } else {
            Self::Whole
        }
    }
}

/// First words of connections that become something else: HTTP/2, or what is in a tunnel.
const OTHERS: [&[u8]; 3] = [b"PRI", b"CONNECT", b"PROXY"];

/// The method, if these may be the first bytes of a request.
fn request(bytes: &[u8]) -> Option<&[u8]> {
    let len = bytes.iter().take(32).take_while(|byte| byte.is_ascii_uppercase()).count();
    if len == 0 || bytes.get(len) != Some(&b' ') {
        return None;
    }
    bytes.get(..len)
}

fn is_response(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.")
}

/// How many bytes at the front of a segment are kept, at least so many. Heads are: what is not known to be behind the head of a
/// response, or in the middle of a body, may be another message.
fn kept(payload: &[u8], starts_segment: bool, least: usize) -> usize {
    let whole = payload.len();
    let kept = if !starts_segment {
        least
    } else if is_response(payload) {
        let searched = payload.get(..LONGEST_HEAD).unwrap_or(payload);
        match memchr::memmem::find(searched, b"\r\n\r\n") {
            Some(end) => least.max(end + 4),
            None => whole,
        }
    } else if request(payload).is_some() {
        whole
    } else {
        least
    };
    if whole - kept.min(whole) < LEAST_SHED { whole } else { kept }
}

impl<D: Deliver> Batcher<D> {
    /// The same, which leaves out what lies behind the front of large segments: a few KiB, and `more`.
    #[must_use]
    pub fn shedding(self, shedding: Shedding, more: u32) -> Self {
        Self { shedding, kept: KEPT.saturating_add(more as usize), ..self }
    }

    /// Says whether the buffer fills that the input comes from.
    pub const fn press(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// How much of payload goes into its worker's slot.
    pub(super) fn front(&self, conn: &mut OpenConnection, starts_segment: bool, payload: &[u8]) -> usize {
        let whole = payload.len();
        if self.shedding == Shedding::Never {
            return whole;
        }
        if Nature::of(conn.tag) == Nature::New {
            conn.tag.set_note(Nature::by(payload) as u64);
        }
        if whole < self.kept.saturating_add(LEAST_SHED) || Nature::of(conn.tag) != Nature::Sheds || !self.sheds(conn) {
            return whole;
        }
        kept(payload, starts_segment, self.kept)
    }

    fn sheds(&self, conn: &OpenConnection) -> bool {
        let fills = || self.behind.get(self.worker(conn)).is_some_and(|behind| behind.queue_fills);
        self.shedding == Shedding::Always || self.pressed || fills()
    }
}

/// From here on nothing is left out of a connection: it has become something else.
pub const fn keep_whole(tag: &mut SinkTag) {
    tag.set_note(Nature::Whole as u64);
}
