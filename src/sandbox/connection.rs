//! A connection as the worker carries it from call to call: the guest's block, and for each side what waits, what is
//! skipped, and how far the stream has come.

use super::call::Mark;
use super::extra::Extra;
use super::protocol::FormatRef;
use crate::abi::{self, Block};
use crate::stream::{Connection, Side};

/// The most marks kept for bytes that wait: a head sent a byte at a time has one for each. Beyond that, marks in the middle
/// are lost; first and last stay exact.
const MAX_MARKS: usize = 1024;

/// Bytes that wait for more of their side.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// The bytes: the host's own copy of what will be presented.
    pub bytes: Vec<u8>,
    /// Stream offset of the first.
    pub offset: u64,
    /// Which packets carried them.
    pub marks: Vec<Mark>,
    /// How many of them the guest has seen.
    pub seen: u32,
    /// The guest need not be asked until a byte of this value comes; `None`: until any byte comes.
    pub wake: Option<u8>,
    /// To be presented again at once (*output_full*), not with the next bytes.
    pub again: bool,
    /// Presented as final, so that it has to be again.
    pub last: bool,
}

impl Waiting {
    /// Stream offset behind the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Appends a piece.
    pub fn append(&mut self, bytes: &[u8], segment: bool, time: i64, peer_acked: u64) {
        if self.marks.len() >= MAX_MARKS {
            self.marks.pop();
        }
        let position = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.marks.push(Mark { position, segment, time, peer_acked });
        self.bytes.extend_from_slice(bytes);
    }

    /// Memory that it takes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        (self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>() + size_of::<Self>()) as u64
    }
}

/// A range of bytes that the guest is not shown, by its own skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Stream offset at which it starts.
    pub offset: u64,
    /// Bytes in it so far.
    pub length: u64,
    /// How many of them were never seen.
    pub lost: u64,
    /// That is the most that it can be.
    pub inexact: bool,
    /// Time of the packet that carried its last byte.
    pub time: i64,
    /// What that packet acknowledged.
    pub peer_acked: u64,
    /// Complete: to be presented next.
    pub ready: bool,
}

/// One side of a connection.
#[derive(Debug, Default)]
pub struct Half {
    /// What waits.
    pub waiting: Option<Box<Waiting>>,
    /// What is being skipped.
    pub skipped: Option<Box<Skipped>>,
    /// Stream offset below which the guest needs nothing.
    pub skip: u64,
    /// Stream offset below which a module before this one needed nothing: the capture thread may still leave bytes out.
    pub abandoned: u64,
    /// Stream offset behind all that was presented, waits or is skipped.
    pub next: u64,
    /// What lies between `next` and this offset, if anything, was seen and shed.
    pub shed: u64,
    /// Time of the packet that carried the last byte before `next`.
    pub last_time: i64,
    /// Its end was presented.
    pub ended: bool,
    /// How often in a row the guest was shown the next event and neither consumed a byte of it nor finished it.
    pub stalls: u8,
}

/// How a connection came to its protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandOver {
    /// How often it was handed over.
    pub count: u8,
    /// 0, or 1 + index of the protocol before.
    pub by: u8,
    /// The module has not been called for it yet.
    pub unseen: bool,
    /// Nothing of it was consumed since.
    pub unconsumed: bool,
}

impl Half {
    /// Whether what is missing before an offset, if anything, was seen and shed: all of it.
    #[must_use]
    pub const fn is_shed(&self, upto: u64) -> bool {
        upto <= self.shed && upto > self.next
    }

    /// How many bytes before an offset were never seen.
    #[must_use]
    pub const fn unseen(&self, upto: u64) -> u64 {
        upto.saturating_sub(if self.shed > self.next { self.shed } else { self.next })
    }

    /// What is kept of it was for another module: what waits is presented again at once, unseen, and no skip counts. A
    /// range that was being skipped is a gap.
    pub(super) fn present_anew(&mut self) {
        self.skipped = None;
        self.abandoned = self.abandoned.max(std::mem::take(&mut self.skip));
        self.shed = 0;
        self.stalls = 0;
        if let Some(waiting) = &mut self.waiting {
            (waiting.seen, waiting.wake, waiting.again) = (0, None, true);
        }
    }
}

/// A connection, and the state `S` that the receiver of its records keeps for it.
#[derive(Debug)]
pub struct ConnectionState<S> {
    /// Who it is.
    pub info: Connection,
    /// The guest's memory of it.
    pub block: Block,
    /// What does not fit into the block; none before the guest asked for it.
    pub extra: Option<Box<Extra>>,
    /// Format of the module that the block belongs to.
    pub format: FormatRef,
    /// Pieces of a side that its module is shown at first.
    pub first_window: u32,
    /// How it came to its protocol.
    pub hand_over: HandOver,
    /// Key of the stream inside the tunnel that it has become: nothing more of it is parsed as its own.
    pub inner: Option<u32>,
    /// Key of the connection that carries it.
    pub outer: Option<u32>,
    /// Offsets of the TCP connection's sides at which its own begin.
    pub base: [u64; 2],
    /// Its sides.
    pub halves: [Half; 2],
    /// Events of it that were condemned.
    pub condemned: u8,
    /// Too many events of it were condemned: nothing of it is parsed any more.
    pub ignored: bool,
    /// The receiver's.
    pub state: S,
}

impl<S: Default> ConnectionState<S> {
    /// A new connection.
    #[must_use]
    pub fn new(info: Connection, format: FormatRef, first_window: u32) -> Self {
        Self {
            info,
            block: [0; abi::BLOCK_SIZE],
            extra: None,
            format,
            first_window,
            hand_over: HandOver::default(),
            inner: None,
            outer: None,
            base: [0; 2],
            halves: [Half::default(), Half::default()],
            condemned: 0,
            ignored: false,
            state: S::default(),
        }
    }
}

impl<S> ConnectionState<S> {
    /// Reads one word of each of its cache lines: a software prefetch.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        let [first, second] = &self.halves;
        let block = self.block[0] ^ self.block[64];
        let own = self.format.state ^ self.inner.unwrap_or(0) ^ u32::from(self.extra.is_some());
        let line = self.base[0] ^ u64::from(own);
        self.info.number ^ first.skip ^ second.skip ^ second.last_time.cast_unsigned() ^ block as u64 ^ line
    }

    /// How far the streams of its sides have come, with what of them was never seen.
    pub(super) const fn lengths(&self) -> [u64; 2] {
        [self.halves[0].next, self.halves[1].next]
    }

    /// One side.
    #[must_use]
    pub const fn half(&self, side: Side) -> &Half {
        let [first, second] = &self.halves;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// One side, mutable.
    pub const fn half_mut(&mut self, side: Side) -> &mut Half {
        let [first, second] = &mut self.halves;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_waiting_bytes_are_bounded_and_keep_first_and_last() {
        let mut waiting = Waiting::default();
        for time in 0..5000 {
            waiting.append(b"x", true, time, 0);
        }
        assert_eq!(waiting.marks.len(), MAX_MARKS);
        assert_eq!(waiting.marks[0].time, 0);
        assert_eq!(waiting.marks[MAX_MARKS - 1], Mark { position: 4999, segment: true, time: 4999, peer_acked: 0 });
    }
}
