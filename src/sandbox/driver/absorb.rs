//! Absorbing: takes over what needs no call, because the guest has said that it needs none of it, or because it cannot
//! wake what waits.
//!
//! It is final, so it happens only while nothing of the connection is encoded in the present call.

use super::encode::Encoder;
use super::join::Neighbours;
use crate::batch::SlotEvent;
use crate::sandbox::connection::Skipped;
use crate::stream::Side;

/// What of a connection needs no call.
pub(super) enum Absorb {
    /// Bytes below the side's skip, or that begin below it.
    Bytes { event: SlotEvent, offset: u64, len: u32 },
    /// A range that the capture thread has left out.
    Range { event: SlotEvent, length: u64, lost: u64 },
    /// A range that the capture thread has shed.
    Shed { event: SlotEvent, length: u64 },
    /// What the side's end leaves of its skip. The end itself is for the guest.
    Rest { event: SlotEvent },
    /// Bytes that cannot wake what waits before them.
    Append { side: Side, neighbours: Neighbours },
}

impl<S> Encoder<'_, S> {
    pub(super) fn absorb(&mut self, absorb: Absorb) {
        match absorb {
            Absorb::Bytes { event, offset, len } => self.skip_bytes(&event, offset, len),
            Absorb::Range { event, length, lost } => self.skip_range(&event, length, lost),
            Absorb::Shed { event, length } => self.shed(&event, length),
            Absorb::Rest { event } => self.skip_rest(&event),
            Absorb::Append { side, neighbours } => self.append(side, neighbours),
        }
    }

    fn skip_bytes(&mut self, event: &SlotEvent, offset: u64, len: u32) {
        let half = self.connection.half_mut(event.side);
        let until = offset.max(half.next).min(half.skip);
        let missing = until - half.next;
        let lost = half.unseen(until);
        let taken = u64::from(len).min(half.skip.saturating_sub(offset));
        self.extend_skipped(event, missing + taken, lost);
        self.counters.skipped += taken;
        (self.cursor.passed, self.cursor.order) = (self.cursor.passed + taken, event.order);
        if taken == u64::from(len) {
            self.advance(event);
        }
    }

    fn skip_range(&mut self, event: &SlotEvent, length: u64, lost: u64) {
        let half = self.connection.half_mut(event.side);
        let gap = event.at.offset.saturating_sub(half.next);
        let gap_lost = half.unseen(event.at.offset);
        let end = event.at.offset.saturating_add(length);
        // The guest had said that it needs none of this, or the capture thread would not have left it out; but to the module
        // that a connection was handed over to, what the one before did not need is a gap.
        if end > half.abandoned {
            half.skip = half.skip.max(end);
        }
        let asked = half.skip.saturating_sub(half.next).min(gap + length);
        if asked > 0 {
            self.extend_skipped(event, asked, (gap_lost + lost).min(asked));
        }
        self.advance(event);
    }

    /// What of it the guest has asked to skip belongs to that range, and is not lost. The rest is a gap before what comes next.
    fn shed(&mut self, event: &SlotEvent, length: u64) {
        let half = self.connection.half_mut(event.side);
        let end = event.at.offset.saturating_add(length);
        let asked = half.skip.min(end).saturating_sub(half.next);
        if asked > 0 {
            let lost = half.unseen(event.at.offset.min(half.next + asked));
            self.extend_skipped(event, asked, lost);
        }
        let half = self.connection.half_mut(event.side);
        if event.at.offset <= half.next.max(half.shed) {
            half.shed = half.shed.max(end);
        }
        self.advance(event);
    }

    fn skip_rest(&mut self, event: &SlotEvent) {
        let half = self.connection.half_mut(event.side);
        let upto = event.at.offset.min(half.skip);
        let (missing, lost) = (upto.saturating_sub(half.next), half.unseen(upto));
        half.skip = half.next + missing;
        self.cursor.order = event.order;
        if missing > 0 || half.skipped.is_some() {
            self.extend_skipped(event, missing, lost);
        }
    }

    /// Makes the side's skipped range longer, and ready when the skip is reached.
    fn extend_skipped(&mut self, event: &SlotEvent, length: u64, lost: u64) {
        let half = self.connection.half_mut(event.side);
        let start = Skipped {
            offset: half.next,
            length: 0,
            lost: 0,
            // Lost bytes have no time: what ends in them ended with the last byte that came.
            time: half.last_time,
            peer_acked: event.at.peer_acked,
            inexact: false,
            ready: false,
        };
        let skipped = half.skipped.get_or_insert_with(|| Box::new(start));
        skipped.length += length;
        skipped.lost += lost;
        skipped.inexact |= event.inexact && lost > 0;
        if length > lost {
            skipped.time = event.at.time;
            skipped.peer_acked = event.at.peer_acked;
            half.last_time = event.at.time;
        }
        half.next = half.next.saturating_add(length);
        skipped.ready = half.next >= half.skip;
    }

    fn append(&mut self, side: Side, neighbours: Neighbours) {
        let Some(mut waiting) = self.connection.half_mut(side).waiting.take() else {
            debug_assert!(false, "something waits, or there is nothing to append to");
            return;
        };
        let (memory, len) = (waiting.memory(), waiting.bytes.len());
        self.append_pieces(&mut waiting, neighbours.pieces);
        self.held.memory += waiting.memory() - memory;
        self.held.bytes += (waiting.bytes.len() - len) as u64;
        let half = self.connection.half_mut(side);
        half.next = waiting.end();
        half.last_time = waiting.marks.last().map_or(half.last_time, |mark| mark.time);
        half.waiting = Some(waiting);
        self.cursor = neighbours.behind;
    }
}
