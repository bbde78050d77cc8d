//! Rewriting a slot: other events take the place of those in it. A worker's first stage does so where it decrypts.

use super::{NONE, Slot, SlotEvent, SlotRow, What};
use crate::stream::{Connection, MAX_PIECE, Position, Side, UNKNOWN};

impl Slot {
    /// Gives each event to `each`, in the order in which they came, with its payload, which may be spoilt. What `each` puts in
    /// its place is what the slot holds afterwards. `spare`: a slot whose memory is used, and which gets this one's.
    pub fn rewrite(&mut self, spare: &mut Self, mut each: impl FnMut(&mut Rewritten<'_>, &SlotEvent, &mut [u8])) {
        spare.clear();
        std::mem::swap(&mut spare.rows, &mut self.rows);
        spare.rows.iter_mut().for_each(|row| (row.first, row.last) = (NONE, NONE));
        (spare.span, spare.serial, spare.opened, spare.old_rows) = (self.span, self.serial, self.opened, self.old_rows);
        for event in &self.events {
            let payload = match event.what {
                What::Bytes { data, len, .. } => {
                    self.arena.get_mut(data as usize..(data as usize).saturating_add(len as usize))
                }
                What::Skipped { .. } | What::Shed { .. } | What::End(_) => None,
            };
            each(&mut Rewritten { slot: spare, event }, event, payload.unwrap_or_default());
        }
        std::mem::swap(self, spare);
    }

    /// Gives a connection a row, whose number is returned: for events that do not come of a capture thread's slot.
    pub fn add_row(&mut self, connection: Connection) -> u32 {
        let row = u32::try_from(self.rows.len()).unwrap_or(NONE);
        self.rows.push(SlotRow { connection, first: NONE, last: NONE });
        row
    }

    /// Adds what takes the place of this event, which may be of another slot. Its row is one of this slot.
    pub fn adding<'a>(&'a mut self, event: &'a SlotEvent) -> Rewritten<'a> {
        Rewritten { slot: self, event }
    }
}

/// The slot that is made, while one event of the old one is looked at.
#[derive(Debug)]
pub struct Rewritten<'a> {
    slot: &'a mut Slot,
    event: &'a SlotEvent,
}

impl Rewritten<'_> {
    /// An event of the same connection that came before, put where this one is.
    #[must_use]
    pub const fn place(&self, event: &SlotEvent) -> SlotEvent {
        SlotEvent { order: self.event.order, row: self.event.row, next: NONE, ..*event }
    }

    /// The same for that event.
    pub const fn earlier<'a>(&'a mut self, event: &'a SlotEvent) -> Rewritten<'a> {
        Rewritten { slot: self.slot, event }
    }

    /// The event's connection.
    #[must_use]
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.slot.rows.get_mut(self.event.row as usize).map(|row| &mut row.connection)
    }

    /// Keeps the event as it is.
    pub fn keep(&mut self, payload: &[u8]) {
        self.keep_as(*self.event, payload);
    }

    fn keep_as(&mut self, event: SlotEvent, payload: &[u8]) {
        let mut event = SlotEvent { next: NONE, ..event };
        if let What::Bytes { data, .. } = &mut event.what {
            *data = self.store(payload);
        }
        self.slot.append(event);
    }

    /// Keeps the event, without what it acknowledges: that of the other side is not kept.
    pub fn keep_unacked(&mut self, payload: &[u8]) {
        self.keep_as(SlotEvent { at: Position { peer_acked: UNKNOWN, ..self.event.at }, ..*self.event }, payload);
    }

    /// Puts payload in its place, in pieces of at most [`MAX_PIECE`] bytes. `inexact`: the gap before it is. What follows the
    /// last payload without a gap, and comes of the same event, is added to it.
    pub fn bytes(&mut self, side: Side, at: Position, inexact: bool, payload: &[u8]) {
        let order = self.event.order;
        let row = self.event.row;
        let end = self.slot.arena.len();
        if let Some(last) = self.slot.events.last_mut()
            && let What::Bytes { data, len, .. } = &mut last.what
            && (last.row, last.side, last.order, inexact) == (row, side, order, false)
            && (last.at.time, last.at.peer_acked) == (at.time, at.peer_acked)
            && last.at.offset + u64::from(*len) == at.offset
            && (*data as usize).saturating_add(*len as usize) == end
            && *len as usize + payload.len() <= MAX_PIECE
        {
            *len = len.saturating_add(u32::try_from(payload.len()).unwrap_or(0));
            self.slot.arena.extend_from_slice(payload);
            return;
        }
        let mut at = at;
        for (number, piece) in payload.chunks(MAX_PIECE).enumerate() {
            let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let what = What::Bytes { data: self.store(piece), len, starts_segment: number == 0 };
            self.put(SlotEvent { side, what, at, inexact: inexact && number == 0, next: NONE, order, row });
            at.offset += u64::from(len);
        }
    }

    /// Puts the same kind of event in its place, which has no payload.
    pub fn event(&mut self, at: Position, inexact: bool) {
        self.put(SlotEvent { at, inexact, next: NONE, ..*self.event });
    }

    fn put(&mut self, event: SlotEvent) {
        self.slot.append(event);
    }

    fn store(&mut self, payload: &[u8]) -> u32 {
        let data = u32::try_from(self.slot.arena.len()).unwrap_or(u32::MAX);
        self.slot.arena.extend_from_slice(payload);
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batcher, CollectSlots};
    use crate::stream::{EndReason, OpenConnection, Sink};

    fn at(offset: u64) -> Position {
        Position { offset, peer_acked: UNKNOWN, time: 5 }
    }

    /// Two connections, whose events alternate.
    fn slot() -> Slot {
        let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
        let mut connections = [OpenConnection::synthetic(1), OpenConnection::synthetic(2)];
        for offset in [0, 4, 8] {
            for connection in &mut connections {
                batcher.bytes(connection, Side::First, at(offset), true, b"abcd");
            }
        }
        connections.iter_mut().for_each(|connection| batcher.end(connection, Side::First, at(12), EndReason::Fin));
        batcher.flush();
        let slots = &mut batcher.deliverer().0;
        *slots.remove(0)
    }

    /// The events of a row: offset, payload, whether the gap before is inexact.
    fn row(slot: &Slot, row: usize) -> Vec<(u64, String, bool)> {
        let mut out = vec![];
        let mut next = slot.rows[row].first;
        while let Some(event) = slot.events.get(next as usize) {
            let text = match event.what {
                What::Bytes { data, len, .. } => String::from_utf8(slot.payload(data, len).to_vec()).unwrap(),
                _ => "end".to_owned(),
            };
            out.push((event.at.offset, text, event.inexact));
            next = event.next;
        }
        out
    }

    #[test]
    fn what_is_kept_is_the_same() {
        let (mut slot, mut spare) = (slot(), Slot::new());
        let before = (row(&slot, 0), row(&slot, 1), slot.span, slot.arena.len());
        slot.rewrite(&mut spare, |to, _, payload| to.keep(payload));
        assert_eq!((row(&slot, 0), row(&slot, 1), slot.span, slot.arena.len()), before);
    }

    #[test]
    fn other_events_take_the_place_of_those_of_one_connection() {
        let (mut slot, mut spare) = (slot(), Slot::new());
        let before = row(&slot, 1);
        slot.rewrite(&mut spare, |to, event, payload| {
            if to.connection().unwrap().number != 1 {
                return to.keep(payload);
            }
            match (event.at.offset, event.what) {
                // Nothing is in the place of the first, two pieces that follow each other in that of the second.
                (4, _) => {
                    to.bytes(Side::First, at(0), false, b"xx");
                    to.bytes(Side::First, at(2), false, b"yy");
                }
                (8, _) => to.bytes(Side::First, at(9), true, b"z"),
                (_, What::End(_)) => to.event(at(10), false),
                _ => {}
            }
        });
        let wanted = [(0, "xxyy", false), (9, "z", true), (10, "end", false)];
        assert_eq!(row(&slot, 0), wanted.map(|(offset, text, inexact)| (offset, text.to_owned(), inexact)));
        assert_eq!(row(&slot, 1), before);
        assert_eq!(slot.arena.len(), 12 + 5);
    }

    #[test]
    fn long_payload_comes_in_pieces() {
        let (mut slot, mut spare) = (slot(), Slot::new());
        let long = "x".repeat(MAX_PIECE + 5);
        slot.rewrite(&mut spare, |to, event, _| {
            if to.connection().unwrap().number == 1 && event.at.offset == 4 {
                to.bytes(Side::First, at(7), true, long.as_bytes());
            }
        });
        let found = row(&slot, 0);
        assert_eq!(
            found.iter().map(|(offset, text, inexact)| (*offset, text.len(), *inexact)).collect::<Vec<_>>(),
            [(7, MAX_PIECE, true), (7 + MAX_PIECE as u64, 5, false),]
        );
        assert_eq!(row(&slot, 1), []);
    }
}
