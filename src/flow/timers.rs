//! Lists keep the connections in the order in which their timers are due. They are linked through the connections
//! themselves: nothing is allocated, and every move takes constant time.

use super::slab::Slab;

/// A list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Both sides have ended; the connection lingers.
    Closed,
    /// Only SYNs were seen.
    Syn,
    /// It waits for nothing but packets.
    Open,
    /// It holds something until a deadline: a slot of the timer wheel.
    Wheel(u8),
}

const NOBODY: u32 = u32::MAX;
const FIRST_SLOT: u16 = 3;
const SLOTS: u16 = 256;
/// Width of a slot as a power of two in nanoseconds: 16.8 ms. The wheel spans 4.3 s; a later deadline is put into the
/// last slot, and again when that is due.
const WIDTH: u32 = 24;

impl List {
    const fn number(self) -> u16 {
        match self {
            Self::Closed => 0,
            Self::Syn => 1,
            Self::Open => 2,
            Self::Wheel(slot) => FIRST_SLOT + slot as u16,
        }
    }
}

/// A connection's neighbours in its list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    previous: u32,
    next: u32,
    /// The clock when it was put there.
    pub(super) queued: i64,
}

impl Default for Link {
    fn default() -> Self {
        Self { previous: NOBODY, next: NOBODY, queued: 0 }
    }
}

/// Which list a connection is in, if any. Not part of the link, so that a connection fits its cache lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed(u16);

impl Listed {
    pub(super) const NOWHERE: Self = Self(u16::MAX);

    pub(super) const fn is_in(self, list: List) -> bool {
        self.0 == list.number()
    }
}

/// Invariants: a connection is in at most one list; within a list, `queued` does not fall from head to tail.
pub(super) struct Lists {
    /// The first and the last connection of each list.
    ends: Vec<(u32, u32)>,
    /// Slots of the wheel before this one (a slot number that is not wrapped) are empty.
    hand: i64,
    in_wheel: u32,
    in_syn: u32,
}

impl Lists {
    pub(super) fn new() -> Self {
        Self { ends: vec![(NOBODY, NOBODY); usize::from(FIRST_SLOT + SLOTS)], hand: 0, in_wheel: 0, in_syn: 0 }
    }

    /// The slot for a deadline. One that has passed goes to the slot that is due next.
    pub(super) fn slot(&mut self, deadline: i64, clock: i64) -> List {
        if self.in_wheel == 0 {
            self.hand = clock >> WIDTH;
        }
        let last = self.hand.saturating_add(i64::from(SLOTS) - 1);
        // A slot is due when the clock has left it.
        let slot = (deadline >> WIDTH).clamp(self.hand, last.max(self.hand));
        List::Wheel((slot & 0xff) as u8)
    }

    /// Connections that have shown only SYNs.
    pub(super) const fn syns(&self) -> usize {
        self.in_syn as usize
    }

    pub(super) fn head(&self, list: List) -> Option<u32> {
        let (head, _) = *self.ends.get(usize::from(list.number()))?;
        (head != NOBODY).then_some(head)
    }

    /// A connection whose slot of the wheel is due at `clock`. Turns the wheel, over all empty slots at once.
    pub(super) fn due(&mut self, clock: i64) -> Option<u32> {
        let (slot, head) = self.nearest()?;
        if slot >= clock >> WIDTH {
            self.hand = self.hand.max(clock >> WIDTH);
            return None;
        }
        self.hand = slot;
        Some(head)
    }

    /// The connection with the nearest deadline.
    pub(super) fn soonest(&self) -> Option<u32> {
        self.nearest().map(|(_, head)| head)
    }

    /// The first slot that is not empty, and its head.
    fn nearest(&self) -> Option<(i64, u32)> {
        if self.in_wheel == 0 {
            return None;
        }
        let turn = (0..i64::from(SLOTS)).map(|ahead| self.hand.saturating_add(ahead));
        turn.filter_map(|slot| Some((slot, self.head(List::Wheel((slot & 0xff) as u8))?))).next()
    }

    /// Moves a connection to the tail of a list, out of the one that it is in.
    pub(super) fn move_to(&mut self, list: List, handle: u32, clock: i64, slab: &mut Slab) {
        self.remove(handle, slab);
        let number = list.number();
        let Some(ends) = self.ends.get_mut(usize::from(number)) else {
            debug_assert!(false, "every list has its ends");
            return;
        };
        let last = ends.1;
        ends.1 = handle;
        if last == NOBODY {
            ends.0 = handle;
        }
        self.in_wheel += u32::from(number >= FIRST_SLOT);
        self.in_syn += u32::from(number == List::Syn.number());
        if let Some(conn) = slab.get_mut(last) {
            conn.link.next = handle;
        }
        if let Some(conn) = slab.get_mut(handle) {
            conn.link = Link { previous: last, next: NOBODY, queued: clock };
            conn.listed = Listed(number);
        }
    }

    /// Takes a connection out of its list, if it is in one.
    pub(super) fn remove(&mut self, handle: u32, slab: &mut Slab) {
        let Some(conn) = slab.get_mut(handle) else {
            debug_assert!(false, "only a connection of the table is listed");
            return;
        };
        let link = std::mem::take(&mut conn.link);
        let Listed(list) = std::mem::replace(&mut conn.listed, Listed::NOWHERE);
        let Some(ends) = self.ends.get_mut(usize::from(list)) else { return };
        debug_assert!((ends.0 == handle) == (link.previous == NOBODY), "only the head has none before it");
        debug_assert!((ends.1 == handle) == (link.next == NOBODY), "only the tail has none behind it");
        if ends.0 == handle {
            ends.0 = link.next;
        }
        if ends.1 == handle {
            ends.1 = link.previous;
        }
        self.in_wheel -= u32::from(list >= FIRST_SLOT);
        self.in_syn -= u32::from(list == List::Syn.number());
        if let Some(conn) = slab.get_mut(link.previous) {
            conn.link.next = link.next;
        }
        if let Some(conn) = slab.get_mut(link.next) {
            conn.link.previous = link.previous;
        }
    }
}
