//! Setting aside: when a tunnel begins, what the slot still holds of its connection is not shown to the parser, but given back to
//! the driver's owner. It may have to be decrypted first, and then comes back in a slot of its own.

use super::Work;
use super::encode::Held;
use crate::batch::{NONE, Slot, SlotEvent, What};
use crate::sandbox::connection::{ConnectionState, Waiting};
use crate::stream::{Connection, Position, Side};

/// What was to come of a stream inside a tunnel.
#[derive(Debug)]
pub struct Aside {
    /// The connection as slots have it.
    pub connection: Connection,
    /// Inside how many tunnels the stream is.
    pub depth: u8,
    /// Offsets at which the stream's sides begin, as slots have them.
    pub base: [u64; 2],
    /// Its events in their order, with the offsets of slots, and their payload.
    pub events: Vec<(SlotEvent, Vec<u8>)>,
}

impl Aside {
    /// Takes away what waits of a stream that has just begun, and what comes of it in the slot.
    pub(super) fn take<S>(
        slot: &Slot,
        row: u32,
        work: &mut Work,
        inner: &mut ConnectionState<S>,
        held: &mut Held,
    ) -> Option<Self> {
        let connection = slot.rows.get(row as usize)?.connection.clone();
        let mut events = Vec::new();
        for (side, half) in [Side::First, Side::Second].into_iter().zip(&mut inner.halves) {
            let Some(waiting) = half.waiting.take() else { continue };
            held.release(&waiting);
            half.next = waiting.offset;
            pieces(&waiting, side, inner.base, work.cursor.order, &mut events);
        }
        events.sort_by_key(|(event, _)| event.at.time);
        let (mut next, mut passed) = (work.cursor.event, work.cursor.passed);
        while let Some(event) = slot.events.get(next as usize) {
            let mut event = *event;
            let mut payload = Vec::new();
            if let What::Bytes { data, len, starts_segment } = &mut event.what {
                let skip = usize::try_from(passed).unwrap_or(usize::MAX);
                payload.extend_from_slice(slot.payload(*data, *len).get(skip..).unwrap_or_default());
                *len = u32::try_from(payload.len()).unwrap_or(0);
                *starts_segment &= skip == 0;
                event.at.offset += passed;
            }
            (next, passed) = (event.next, 0);
            events.push((event, payload));
        }
        (work.cursor.event, work.cursor.passed) = (NONE, 0);
        Some(Self { connection, depth: inner.info.depth(), base: inner.base, events })
    }

    /// Payload in it.
    pub(super) fn bytes(&self) -> u64 {
        self.events.iter().map(|(_, payload)| payload.len() as u64).sum()
    }
}

/// What waits, by the packets that carried it.
fn pieces(waiting: &Waiting, side: Side, base: [u64; 2], order: u32, events: &mut Vec<(SlotEvent, Vec<u8>)>) {
    let ends = waiting.marks.iter().skip(1).map(|mark| mark.position as usize).chain([waiting.bytes.len()]);
    for (mark, end) in waiting.marks.iter().zip(ends) {
        let payload = waiting.bytes.get(mark.position as usize..end).unwrap_or_default();
        let offset = waiting.offset + u64::from(mark.position);
        let what =
            What::Bytes { data: 0, len: u32::try_from(payload.len()).unwrap_or(0), starts_segment: mark.segment };
        let at = Position { offset, peer_acked: mark.peer_acked, time: mark.time }.outside(side, base);
        events.push((SlotEvent { side, what, at, inexact: false, next: NONE, order, row: 0 }, payload.to_vec()));
    }
}
