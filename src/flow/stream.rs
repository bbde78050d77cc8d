//! A stream is what the table knows of one direction of a connection.

use bitflags::bitflags;

use super::assembler::{Assembler, UNKNOWN};
use super::seq::Seq;

/// How far from where a stream stands a segment may lie and still be taken for its own, in bytes. Windows above 16 MiB
/// are rare; the number is arbitrary. What lies further off counts only if both sides go on there.
pub(super) const REACH: i64 = 16 << 20;

/// How far the start of a stream that was picked up may turn out to lie before the first packet seen, in bytes.
pub(super) const NEAR: i64 = 1 << 20;

/// A segment out of reach, or a SYN that did not belong: believed when the other side goes along.
#[derive(Debug, Clone, Copy)]
pub(super) struct Far {
    pub(super) start: Seq,
    pub(super) end: Seq,
    pub(super) syn: bool,
    /// Segments that followed each other there.
    pub(super) run: u32,
}

/// What only an untidy stream needs.
#[derive(Debug, Default)]
pub(super) struct Untidy {
    pub(super) store: Assembler,
    /// Below this, what is missing was cut off by the snap length and is not waited for.
    pub(super) lost_upto: u64,
    /// Below this, the other side's bytes no longer wait for this side's.
    pub(super) excused: u64,
    pub(super) far: Option<Far>,
}

impl Untidy {
    /// Bytes of memory, its own included.
    pub(super) fn memory(&self) -> u64 {
        size_of::<Self>() as u64 + self.store.memory()
    }
}

bitflags! {
    /// Connection about a stream, one bit each: it has to fit a cache line.
    #[derive(Debug, Clone, Copy, Default)]
    pub(super) struct StreamFlags: u8 {
        /// A packet of it was seen.
        const SEEN = 1;
        /// `base` has a value.
        const BASED = 2;
        /// `base` is certain: from a handshake.
        const EXACT = 4;
        /// An offset of it has been told to the sink, so that `base` can no longer change.
        const TOLD = 8;
        /// Its end has been told.
        const ENDED = 16;
    }
}

/// Invariants: `next` never falls; a void is open (`void_start` is not [`UNKNOWN`]) only while `next < skip`; `untidy`
/// is there only while it says something.
#[derive(Debug)]
pub(super) struct Stream {
    /// Number of the byte at offset 0.
    pub(super) base: Seq,
    /// Window that its sender last advertised, unscaled.
    pub(super) window: u16,
    pub(super) flags: StreamFlags,
    /// Offset up to which it has been handed on, skipped or declared lost.
    pub(super) next: u64,
    /// Offset in the other stream up to which its sender has acknowledged.
    pub(super) acked: u64,
    /// Offset below which bytes are not needed; 0: none.
    pub(super) skip: u64,
    /// Where the void began that is being gathered, or [`UNKNOWN`].
    pub(super) void_start: u64,
    /// How much of the void was never seen.
    pub(super) void_lost: u64,
    /// Offset of its FIN, or [`UNKNOWN`].
    pub(super) fin: u64,
    pub(super) untidy: Option<Box<Untidy>>,
}

impl Stream {
    pub(super) const fn new() -> Self {
        Self {
            base: Seq(0),
            window: u16::MAX,
            flags: StreamFlags::empty(),
            next: 0,
            acked: 0,
            skip: 0,
            void_start: UNKNOWN,
            void_lost: 0,
            fin: UNKNOWN,
            untidy: None,
        }
    }

    pub(super) const fn ended(&self) -> bool {
        self.flags.contains(StreamFlags::ENDED)
    }

    /// Its start can still be moved: nobody has been told an offset.
    pub(super) const fn movable(&self) -> bool {
        !self.flags.intersects(StreamFlags::EXACT.union(StreamFlags::TOLD))
    }

    pub(super) fn untidy(&mut self) -> &mut Untidy {
        self.untidy.get_or_insert_default()
    }

    pub(super) fn store(&self) -> Option<&Assembler> {
        self.untidy.as_ref().map(|untidy| &untidy.store)
    }

    pub(super) fn store_mut(&mut self) -> Option<&mut Assembler> {
        self.untidy.as_mut().map(|untidy| &mut untidy.store)
    }

    /// Offset up to which nothing more is waited for.
    pub(super) fn front(&self) -> u64 {
        self.untidy.as_ref().map_or(self.next, |untidy| untidy.lost_upto.max(self.next))
    }

    /// Offset up to which the other side's bytes need not wait for this side's.
    pub(super) fn passed(&self) -> u64 {
        self.untidy.as_ref().map_or(self.next, |untidy| untidy.lost_upto.max(untidy.excused).max(self.next))
    }

    /// One past the last byte seen.
    pub(super) fn top(&self) -> u64 {
        self.untidy.as_ref().map_or(self.next, |untidy| untidy.lost_upto.max(untidy.store.end()).max(self.next))
    }

    /// Bytes of memory that it takes outside of itself.
    pub(super) fn memory(&self) -> u64 {
        self.untidy.as_ref().map_or(0, |untidy| untidy.memory())
    }

    /// Gives the rare part back when it says nothing any more.
    pub(super) fn tidy(&mut self) {
        let next = self.next;
        if self.untidy.as_ref().is_some_and(|untidy| {
            untidy.store.is_empty()
                && untidy.store.fin.is_none()
                && untidy.lost_upto <= next
                && untidy.excused <= next
                && untidy.far.is_none()
        }) {
            self.untidy = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_cache_line() {
        assert!(size_of::<Stream>() <= 64, "{}", size_of::<Stream>());
    }
}
