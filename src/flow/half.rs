//! A half is the state of one side's stream in the flow table.

use bitflags::bitflags;

use super::assembler::{Assembler, Stamp};
use super::seq::Seq;
use crate::stream::UNKNOWN;

/// How far from a stream's current offset a segment may be and still be taken as its own, in bytes. Windows above 16
/// MiB are rare; the number is arbitrary. A segment further off counts only if the peer acknowledges it.
pub(super) const REACH: i64 = 16 << 20;

/// How far the start of a stream picked up in mid-stream may be before the first packet seen, in bytes.
pub(super) const NEAR: i64 = 1 << 20;

/// A segment out of reach, or an unexpected SYN: counts once the peer acknowledges it.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutOfWindow {
    pub(super) start: Seq,
    pub(super) end: Seq,
    pub(super) syn: bool,
    /// Segments that followed one another there; of an unexpected SYN, segments since.
    pub(super) run: u32,
}

/// An RST that was captured before bytes that came before it: those of its own side below `sent`, or those of the other
/// side below `acked`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reset {
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) came: Stamp,
}

/// What a stream needs only while bytes are out of order, cut off or out of reach.
#[derive(Debug, Default)]
pub(super) struct OutOfOrder {
    pub(super) store: Assembler,
    /// Below this, what is missing was cut off by the snap length and is not waited for.
    pub(super) lost_upto: u64,
    /// Below this, the other side's bytes no longer wait for this side's.
    pub(super) excused: u64,
    /// Since when they had waited.
    pub(super) excused_since: i64,
    pub(super) out_of_window: Option<OutOfWindow>,
    /// An RST of this side that waits.
    pub(super) reset: Option<Reset>,
}

impl OutOfOrder {
    /// Bytes of memory, its own included.
    pub(super) fn memory(&self) -> u64 {
        size_of::<Self>() as u64 + self.store.memory()
    }

    /// What is missing below `offset` was cut off by the snap length.
    pub(super) fn lose_upto(&mut self, offset: u64) {
        self.lost_upto = self.lost_upto.max(offset);
    }
}

bitflags! {
    /// What is known of a stream, one bit each, so that it fits a cache line.
    #[derive(Debug, Clone, Copy, Default)]
    pub(super) struct HalfFlags: u8 {
        /// A packet of it was seen.
        const SEEN = 1;
        /// `base` has a value.
        const BASED = 2;
        /// `base` is certain: from a handshake.
        const EXACT = 4;
        /// The sink has received an offset of it, so that `base` can no longer change.
        const REPORTED = 8;
        /// The sink has received its end.
        const ENDED = 16;
        /// It was ended by an RST.
        const RESET = 32;
        /// It was waited for once, and nothing of it came: it is not captured.
        const ABSENT = 64;
    }
}

/// One side of a connection, and what is known of its stream.
///
/// Invariants: `next` never falls; a skipped range is open (`skipped_from` is not [`UNKNOWN`]) only while `next <
/// skip`; `out_of_order` is there only while one of its fields is in use.
#[derive(Debug)]
pub(super) struct Half {
    /// Sequence number of the byte at offset 0.
    pub(super) base: Seq,
    /// Window that its sender last advertised, unscaled.
    pub(super) window: u16,
    pub(super) flags: HalfFlags,
    /// Offset up to which it has been handed on, skipped or declared lost.
    pub(super) next: u64,
    /// Offset in the other stream up to which its sender has acknowledged.
    pub(super) acked: u64,
    /// Offset below which bytes are not needed; 0: none.
    pub(super) skip: u64,
    /// Start of the open skipped range, or [`UNKNOWN`].
    pub(super) skipped_from: u64,
    /// How many bytes of the open skipped range were never seen.
    pub(super) skipped_lost: u64,
    /// Offset of its FIN, or [`UNKNOWN`].
    pub(super) fin: u64,
    pub(super) out_of_order: Option<Box<OutOfOrder>>,
}

impl Half {
    pub(super) const fn new() -> Self {
        Self {
            base: Seq(0),
            window: u16::MAX,
            flags: HalfFlags::empty(),
            next: 0,
            acked: 0,
            skip: 0,
            skipped_from: UNKNOWN,
            skipped_lost: 0,
            fin: UNKNOWN,
            out_of_order: None,
        }
    }

    pub(super) const fn ended(&self) -> bool {
        self.flags.contains(HalfFlags::ENDED)
    }

    /// Its start can still be moved: it is not certain, and the sink has received no offset.
    pub(super) const fn movable(&self) -> bool {
        !self.flags.intersects(HalfFlags::EXACT.union(HalfFlags::REPORTED))
    }

    /// Nothing of it was seen, but the other side's acknowledgements.
    pub(super) fn is_guessed(&self) -> bool {
        self.flags.contains(HalfFlags::BASED) && !self.flags.intersects(HalfFlags::SEEN.union(HalfFlags::EXACT))
    }

    pub(super) fn out_of_order(&mut self) -> &mut OutOfOrder {
        self.out_of_order.get_or_insert_default()
    }

    pub(super) fn out_of_window(&self) -> Option<OutOfWindow> {
        self.out_of_order.as_ref().and_then(|out_of_order| out_of_order.out_of_window)
    }

    pub(super) fn reset(&self) -> Option<Reset> {
        self.out_of_order.as_ref().and_then(|out_of_order| out_of_order.reset)
    }

    pub(super) fn store(&self) -> Option<&Assembler> {
        self.out_of_order.as_ref().map(|out_of_order| &out_of_order.store)
    }

    pub(super) fn store_mut(&mut self) -> Option<&mut Assembler> {
        self.out_of_order.as_mut().map(|out_of_order| &mut out_of_order.store)
    }

    /// Offset up to which nothing more is waited for.
    pub(super) fn front(&self) -> u64 {
        self.out_of_order.as_ref().map_or(self.next, |out_of_order| out_of_order.lost_upto.max(self.next))
    }

    /// One past what the snap length cut off behind the last bytes handed on, as far as it is not held.
    pub(super) fn cut_end(&self) -> u64 {
        let held = self.store().and_then(Assembler::first).map_or(UNKNOWN, |piece| piece.offset);
        self.front().min(held)
    }

    /// What the snap length cut off behind the last bytes handed on, as far as it is needed, lies below `ack`, and is not
    /// held: its start and its end.
    pub(super) fn cut_below(&self, ack: u64) -> Option<(u64, u64)> {
        let (from, to) = (self.next.max(self.skip), self.cut_end());
        (to > from && ack > from && !self.ended()).then_some((from, to))
    }

    /// Offset up to which the other side's bytes need not wait for this side's.
    pub(super) fn passed(&self) -> u64 {
        self.out_of_order
            .as_ref()
            .map_or(self.next, |out_of_order| out_of_order.lost_upto.max(out_of_order.excused).max(self.next))
    }

    /// One past the last byte seen.
    pub(super) fn top(&self) -> u64 {
        self.out_of_order
            .as_ref()
            .map_or(self.next, |out_of_order| out_of_order.lost_upto.max(out_of_order.store.end()).max(self.next))
    }

    /// Bytes of memory that it takes on the heap.
    pub(super) fn memory(&self) -> u64 {
        self.out_of_order.as_ref().map_or(0, |out_of_order| out_of_order.memory())
    }

    /// Frees `out_of_order` once none of its fields is in use.
    pub(super) fn release_if_empty(&mut self) {
        let next = self.next;
        if self.out_of_order.as_ref().is_some_and(|out_of_order| {
            out_of_order.store.is_empty()
                && out_of_order.store.fin.is_none()
                && out_of_order.lost_upto <= next
                && out_of_order.excused <= next
                && out_of_order.out_of_window.is_none()
                && out_of_order.reset.is_none()
        }) {
            self.out_of_order = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_cache_line() {
        assert!(size_of::<Half>() <= 64, "{}", size_of::<Half>());
    }
}
