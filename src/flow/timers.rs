//! Lists keep the connections in the order in which they have to be looked at, linked through the connections
//! themselves so that nothing is allocated and every move takes the same short time.

use super::slab::Slab;

/// Which list a connection stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Both sides have ended; forgotten a while later.
    Closed,
    /// Only SYNs were seen.
    Syn,
    /// Everything else that waits for nothing but packets.
    Open,
    /// Something is held until a time, in one of the slots of a wheel.
    Wheel(u8),
}

const NOBODY: u32 = u32::MAX;
const FIRST_SLOT: u16 = 3;
const SLOTS: u16 = 256;
/// Width of a slot as a power of two: 16.8 ms. The wheel spans 4.3 s; a later deadline is looked at again then.
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

/// A connection's place in its list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    previous: u32,
    next: u32,
    /// Clock when it came to its place.
    pub(super) queued: i64,
}

impl Default for Link {
    fn default() -> Self {
        Self { previous: NOBODY, next: NOBODY, queued: 0 }
    }
}

/// Which list a connection stands in, if any: apart from the link, so that a connection fits its cache lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed(u16);

impl Listed {
    pub(super) const NOWHERE: Self = Self(u16::MAX);

    pub(super) const fn is_in(self, list: List) -> bool {
        self.0 == list.number()
    }
}

/// Invariants: a connection stands in at most one list; within a list, `queued` does not fall from head to tail.
pub(super) struct Lists {
    heads: Vec<(u32, u32)>,
    /// Slots of the wheel before this one (a slot number that is not wrapped) are empty.
    hand: i64,
    in_wheel: u32,
    in_syn: u32,
}

impl Lists {
    pub(super) fn new() -> Self {
        Self { heads: vec![(NOBODY, NOBODY); usize::from(FIRST_SLOT + SLOTS)], hand: 0, in_wheel: 0, in_syn: 0 }
    }

    /// The slot for a deadline. Deadlines that have passed go to the slot that is looked at next.
    pub(super) fn slot(&mut self, deadline: i64, clock: i64) -> List {
        if self.in_wheel == 0 {
            self.hand = clock >> WIDTH;
        }
        let last = self.hand.saturating_add(i64::from(SLOTS) - 1);
        // A slot counts as due when the clock has left it.
        let slot = (deadline >> WIDTH).clamp(self.hand, last.max(self.hand));
        List::Wheel((slot & 0xff) as u8)
    }

    /// Connections that have shown only SYNs.
    pub(super) const fn syns(&self) -> usize {
        self.in_syn as usize
    }

    pub(super) fn head(&self, list: List) -> Option<u32> {
        let (head, _) = *self.heads.get(usize::from(list.number()))?;
        (head != NOBODY).then_some(head)
    }

    /// A connection whose slot of the wheel has passed at `clock`. Turns the wheel, over all empty slots at once.
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

    /// The first slot that is not empty, and its head. One turn meets every slot.
    fn nearest(&self) -> Option<(i64, u32)> {
        if self.in_wheel == 0 {
            return None;
        }
        let turn = (0..i64::from(SLOTS)).map(|ahead| self.hand.saturating_add(ahead));
        turn.filter_map(|slot| Some((slot, self.head(List::Wheel((slot & 0xff) as u8))?))).next()
    }

    /// Puts a connection at the tail of a list, out of the one that it stands in.
    pub(super) fn move_to(&mut self, list: List, index: u32, clock: i64, slab: &mut Slab) {
        self.remove(index, slab);
        let number = list.number();
        let Some(ends) = self.heads.get_mut(usize::from(number)) else { return };
        let last = ends.1;
        ends.1 = index;
        if last == NOBODY {
            ends.0 = index;
        }
        self.in_wheel += u32::from(number >= FIRST_SLOT);
        self.in_syn += u32::from(number == List::Syn.number());
        if let Some(entry) = slab.get_mut(last) {
            entry.link.next = index;
        }
        if let Some(entry) = slab.get_mut(index) {
            entry.link = Link { previous: last, next: NOBODY, queued: clock };
            entry.listed = Listed(number);
        }
    }

    /// Takes a connection out of its list.
    pub(super) fn remove(&mut self, index: u32, slab: &mut Slab) {
        let Some(entry) = slab.get_mut(index) else { return };
        let link = std::mem::take(&mut entry.link);
        let Listed(list) = std::mem::replace(&mut entry.listed, Listed::NOWHERE);
        let Some(ends) = self.heads.get_mut(usize::from(list)) else { return };
        if ends.0 == index {
            ends.0 = link.next;
        }
        if ends.1 == index {
            ends.1 = link.previous;
        }
        self.in_wheel -= u32::from(list >= FIRST_SLOT);
        self.in_syn -= u32::from(list == List::Syn.number());
        if let Some(entry) = slab.get_mut(link.previous) {
            entry.link.next = link.next;
        }
        if let Some(entry) = slab.get_mut(link.next) {
            entry.link.previous = link.previous;
        }
    }
}
