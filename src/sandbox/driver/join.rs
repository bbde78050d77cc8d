//! Joining: what waits of a side, and the pieces of the slot that follow it, become one event.

use super::absorb::Absorb;
use super::encode::{Encoder, Next, Part};
use crate::abi;
use crate::batch::What;
use crate::sandbox::call::Cursor;
use crate::sandbox::connection::Waiting;
use crate::stream::Side;

/// The most bytes of neighbours that are joined to one event, beside what waits before them. A single piece may be as
/// long as [`crate::stream::MAX_PIECE`].
const MAX_JOIN: usize = 128 << 10;

/// Pieces of the slot that follow what waits without a gap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbours {
    /// Bytes, with those that wait.
    total: usize,
    pub(super) pieces: usize,
    /// Cursor behind them.
    pub(super) behind: Cursor,
    /// They hold the byte for which the guest waits, or it waits for none in particular.
    wake: bool,
}

impl<S> Encoder<'_, S> {
    #[cold]
    pub(super) fn next_joined(&self, side: Side, waiting: &Waiting) -> Next {
        let neighbours = self.neighbours(side, waiting);
        if neighbours.wake || neighbours.total > abi::MAX_WAITING as usize {
            Next::Encode(Part::Joined { side, neighbours })
        } else {
            Next::Absorb(Absorb::Append { side, neighbours })
        }
    }

    /// The pieces that follow what waits; at least one.
    fn neighbours(&self, side: Side, waiting: &Waiting) -> Neighbours {
        let mut total = waiting.bytes.len();
        let mut end = waiting.end();
        let mut pieces = 0;
        let mut wake = waiting.wake.is_none();
        let mut behind = self.cursor;
        while let Some(event) = self.event_at(behind.event) {
            let What::Bytes { data, len, .. } = event.what else { break };
            let passed = u32::try_from(behind.passed).unwrap_or(len).min(len);
            let next = total + (len - passed) as usize;
            let fits = pieces == 0 || next - waiting.bytes.len() <= MAX_JOIN;
            if event.side != side || event.at.offset + u64::from(passed) != end || !fits {
                break;
            }
            let bytes = self.slot.payload(data + passed, len - passed);
            wake = wake || waiting.wake.is_some_and(|wake| memchr::memchr(wake, bytes).is_some());
            total = next;
            end += u64::from(len - passed);
            pieces += 1;
            behind = Cursor { event: event.next, order: event.order, passed: 0 };
        }
        Neighbours { total, pieces, behind, wake }
    }

    /// What waits is joined with its neighbours for the guest, and waits as before until the reply is in.
    pub(super) fn joined(&mut self, side: Side, neighbours: Neighbours) -> bool {
        let Some(mut waiting) = self.connection.half_mut(side).waiting.take() else {
            debug_assert!(false, "something waits");
            return false;
        };
        let encoded = self.call.has_room(neighbours.total, waiting.marks.len() + neighbours.pieces, self.extra_size())
            && self.push_joined(side, &mut waiting, neighbours);
        self.connection.half_mut(side).waiting = Some(waiting);
        encoded
    }

    fn push_joined(&mut self, side: Side, waiting: &mut Waiting, neighbours: Neighbours) -> bool {
        let (len, marks) = (waiting.bytes.len(), waiting.marks.len());
        let (memory, newest) = (waiting.memory(), waiting.marks.last().copied());
        self.append_pieces(waiting, neighbours.pieces);
        let encoded = self.push_waiting(side, waiting, false, neighbours.behind);
        waiting.bytes.truncate(len);
        waiting.marks.truncate(marks);
        // Beyond a bound the newest mark gives way to one that is appended.
        if let (Some(last), Some(newest)) = (waiting.marks.last_mut(), newest) {
            *last = newest;
        }
        self.held.memory += waiting.memory() - memory;
        encoded
    }

    /// Appends the next `pieces` pieces of the slot to what waits.
    pub(super) fn append_pieces(&self, waiting: &mut Waiting, pieces: usize) {
        let mut next = self.cursor.event;
        let mut from = u32::try_from(self.cursor.passed).unwrap_or(u32::MAX);
        for _ in 0..pieces {
            let Some(event) = self.event_at(next) else {
                debug_assert!(false, "the pieces were counted in the slot");
                return;
            };
            if let What::Bytes { data, len, starts_segment } = event.what {
                let bytes = self.slot.payload(data + from.min(len), len - from.min(len));
                waiting.append(bytes, starts_segment && from == 0, event.at.time, event.at.peer_acked);
            }
            from = 0;
            next = event.next;
        }
    }
}
