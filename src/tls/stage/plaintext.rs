//! Where a connection's plaintext goes: into the slot that is made, or to the stream inside of its tunnel.

use super::open::of;
use crate::batch::{NONE, Rewritten, SlotEvent, What};
use crate::stream::{Position, Side};
use crate::tls::outcome::Output;

/// Puts plaintext into a slot.
pub(super) struct Into<'a, 'slot> {
    pub(super) to: &'a mut Rewritten<'slot>,
    pub(super) inexact: &'a mut [bool; 2],
    pub(super) base: [u64; 2],
    /// What is for the stream inside; `None` if there is none.
    pub(super) inside: Option<Vec<(SlotEvent, Vec<u8>)>>,
    /// Something was told.
    pub(super) told: bool,
}

impl Output for Into<'_, '_> {
    fn data(&mut self, side: Side, at: Position, plaintext: &[u8]) {
        self.told = true;
        let inexact = std::mem::take(of(self.inexact, side));
        let at = at.outside(side, self.base);
        match &mut self.inside {
            Some(inside) => {
                let len = u32::try_from(plaintext.len()).unwrap_or(u32::MAX);
                let what = What::Bytes { data: 0, len, starts_segment: true };
                let event = SlotEvent { side, what, at, inexact, next: NONE, order: 0, row: 0 };
                inside.push((event, plaintext.to_vec()));
            }
            None => self.to.bytes(side, at, inexact, plaintext),
        }
    }

    fn gap(&mut self, side: Side, _: Position, _: u64, exact: bool) {
        *of(self.inexact, side) |= !exact;
    }

    // The end of the TCP stream follows; and after a `close_notify` there is nothing before it.
    fn closed(&mut self, _: Side, _: Position) {}
}
