//! An index finds a connection's handle by the hash of its addresses.
//!
//! Open addressing with linear probing, over slots of 8 bytes that hold half of the hash beside the handle. So nearly
//! all comparisons, and all moves when the index grows, do without the connection. How much memory growing takes is
//! known beforehand, as the memory limit requires.
//!
//! `benches/flow.rs` measures it beside `hashbrown` 0.17, with 32 connections in random order looked up first and then
//! used, as the table does it. For each, in nanoseconds; and for a million: memory, and the longest insertion, because
//! the index grows.
//!
//! | connections | 100 | 10,000 | 1,000,000 | memory | longest insertion |
//! |---|---|---|---|---|---|
//! | this index | 16 | 19 | 53 | 16.8 MB | 15 ms |
//! | `HashTable<u32>`, of handles | 8 | 8 | 52 | 10.5 MB | 51 ms |
//! | `HashTable<(u32, u32)>`, with half of the hash | 9 | 10 | 65 | 18.9 MB | 12 ms |
//!
//! So this index is not faster: it takes twice the time while all of it is in the cache, about 10 ns of the 500 that a
//! packet costs, and the same beyond. It is kept for its bounds: a table of handles reads every connection when it
//! grows, and hashbrown does not promise how much memory growing takes. With half of the hash only the second reason
//! remains. (2026-11-25, `cargo bench --bench flow -- 'find|fill'`, two cores of an AMD EPYC on which other work ran:
//! another run gave 25, 27 and 51 ns for this index, and 53 for the last row among a million.)

/// Slots are `hash tag << 32 | handle + 1`, 0 is empty. Invariants:
/// * the number of slots is zero or a power of two, and at most three quarters of them are taken;
/// * from a tag's home slot to its own, no slot is empty.
pub(super) struct Index {
    slots: Vec<u64>,
    len: usize,
}

const LEAST: usize = 64;

impl Index {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory that it takes.
    pub(super) const fn bytes(&self) -> u64 {
        (self.slots.capacity() * size_of::<u64>()) as u64
    }

    /// The most bytes that it takes while `more` handles are added: growing keeps the old slots until the new
    /// ones are filled.
    pub(super) const fn bytes_with(&self, more: usize) -> u64 {
        let mut slots = self.slots.len();
        if (self.len + more) * 4 <= slots * 3 {
            return self.bytes();
        }
        while (self.len + more) * 4 > slots * 3 {
            slots = if slots == 0 { LEAST } else { slots * 2 };
        }
        self.bytes() + (slots * size_of::<u64>()) as u64
    }

    /// The handle stored under `hash` for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let tag = tag_of(hash);
        let mut at = home(tag, mask);
        loop {
            let slot = *self.slots.get(at)?;
            if slot == 0 {
                return None;
            }
            if slot >> 32 == tag {
                let handle = handle_of(slot);
                if is_it(handle) {
                    return Some(handle);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a handle that is not in it.
    pub(super) fn insert(&mut self, hash: u64, handle: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        put(&mut self.slots, tag_of(hash) << 32 | (u64::from(handle) + 1));
        self.len += 1;
    }

    /// Removes a handle.
    pub(super) fn remove(&mut self, hash: u64, handle: u32) {
        let Some(mask) = self.slots.len().checked_sub(1) else {
            debug_assert!(false, "a handle to remove is in the index");
            return;
        };
        let wanted = tag_of(hash) << 32 | (u64::from(handle) + 1);
        let mut empty = home(tag_of(hash), mask);
        loop {
            match self.slots.get(empty) {
                None | Some(0) => {
                    debug_assert!(false, "a handle to remove is in the index");
                    return;
                }
                Some(slot) if *slot == wanted => break,
                Some(_) => empty = (empty + 1) & mask,
            }
        }
        self.len -= 1;
        // Move back what would no longer be found behind the empty slot.
        let mut at = empty;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots.get(at).copied().unwrap_or(0);
            if slot == 0 {
                break;
            }
            let from_home = at.wrapping_sub(home(slot >> 32, mask)) & mask;
            let from_empty = at.wrapping_sub(empty) & mask;
            if from_home >= from_empty {
                self.set(empty, slot);
                empty = at;
            }
        }
        self.set(empty, 0);
    }

    fn set(&mut self, at: usize, value: u64) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = value;
        }
    }

    fn grow(&mut self) {
        let mut slots = vec![0; (self.slots.len() * 2).max(LEAST)];
        for slot in self.slots.iter().filter(|slot| **slot != 0) {
            put(&mut slots, *slot);
        }
        self.slots = slots;
    }
}

/// Puts a value into the first empty slot from its tag's home.
fn put(slots: &mut [u64], value: u64) {
    debug_assert!(slots.contains(&0), "a slot is free");
    let Some(mask) = slots.len().checked_sub(1) else { return };
    let mut at = home(value >> 32, mask);
    while let Some(slot) = slots.get_mut(at) {
        if *slot == 0 {
            *slot = value;
            return;
        }
        at = (at + 1) & mask;
    }
}

const fn tag_of(hash: u64) -> u64 {
    hash >> 32
}

fn home(tag: u64, mask: usize) -> usize {
    usize::try_from(tag).unwrap_or(0) & mask
}

const fn handle_of(slot: u64) -> u32 {
    ((slot & 0xffff_ffff) as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn finds_nothing_when_empty() {
        assert_eq!(Index::new().find(1 << 32, |_| true), None);
    }

    #[test]
    fn equal_hashes_differ_by_handle() {
        let mut index = Index::new();
        index.insert(5 << 32, 1);
        index.insert(5 << 32, 2);
        assert_eq!(index.find(5 << 32, |handle| handle == 2), Some(2));
        index.remove(5 << 32, 1);
        assert_eq!(index.find(5 << 32, |_| true), Some(2));
    }

    #[test]
    fn knows_beforehand_what_growing_takes() {
        let mut index = Index::new();
        for handle in 0..48 {
            index.insert(u64::from(handle) << 32, handle);
        }
        assert_eq!(index.bytes(), 512);
        assert_eq!(index.bytes_with(1), 512 + 1024);
    }

    proptest! {
        // Few different tags, so that chains collide, wrap around the end and are closed again.
        #[test]
        fn agrees_with_a_map(steps in proptest::collection::vec((any::<bool>(), 0_u64..96, 0_u32..40), 0..400)) {
            let mut index = Index::new();
            let mut model: HashMap<u32, u64> = HashMap::new();
            for (add, tag, handle) in steps {
                if add && !model.contains_key(&handle) {
                    index.insert(tag << 32, handle);
                    model.insert(handle, tag);
                } else if let Some(tag) = model.remove(&handle) {
                    index.remove(tag << 32, handle);
                }
                prop_assert_eq!(index.len, model.len());
                for (handle, tag) in &model {
                    prop_assert_eq!(index.find(*tag << 32, |found| found == *handle), Some(*handle));
                }
            }
        }
    }
}
