//! A ranking is the most frequent of more texts than can be kept: space-saving counters.
//!
//! Invariant: the counts add up to the number of texts counted. A text that came more often than that number divided by
//! the capacity is in the ranking, and its count is at most that much too high.

use std::hash::BuildHasher;

use hashbrown::HashTable;

/// Counts texts in bounded memory.
#[derive(Debug, Clone)]
pub(super) struct Ranking {
    capacity: usize,
    /// The most bytes of a text that are kept.
    longest: usize,
    /// Indices into `texts` and `counts`.
    indices: HashTable<usize>,
    hasher: foldhash::fast::RandomState,
    texts: Vec<Vec<u8>>,
    counts: Vec<u64>,
}

impl Ranking {
    /// Keeps `capacity` texts (at least one) of at most `longest` bytes.
    #[must_use]
    pub(super) fn new(capacity: usize, longest: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            longest,
            indices: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            texts: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// Counts a text `times` times. One that is not kept replaces the least frequent and inherits its count.
    pub(super) fn add(&mut self, text: &[u8], times: u64) {
        let text = text.get(..self.longest).unwrap_or(text);
        let hash = self.hasher.hash_one(text);
        let Self { indices, hasher, texts, counts, .. } = self;
        let hash_of =
            |texts: &[Vec<u8>], index: usize| hasher.hash_one(texts.get(index).map_or(&b""[..], Vec::as_slice));
        let known = indices.find(hash, |index| texts.get(*index).is_some_and(|known| known == text));
        if let Some(count) = known.and_then(|index| counts.get_mut(*index)) {
            *count = count.saturating_add(times);
            return;
        }
        let index = if texts.len() < self.capacity {
            texts.push(text.to_vec());
            counts.push(times);
            texts.len().saturating_sub(1)
        } else {
            let least = counts.iter_mut().enumerate().min_by_key(|(_, count)| **count);
            debug_assert!(least.is_some(), "the capacity is at least one");
            let Some((index, count)) = least else { return };
            *count = count.saturating_add(times);
            if let Ok(entry) = indices.find_entry(hash_of(texts, index), |known| *known == index) {
                entry.remove();
            }
            if let Some(kept) = texts.get_mut(index) {
                kept.clear();
                kept.extend_from_slice(text);
            }
            index
        };
        indices.insert_unique(hash, index, |index| hash_of(texts, *index));
    }

    /// Adds another ranking's counts.
    pub(super) fn merge(&mut self, other: &Self) {
        other.top(usize::MAX).into_iter().for_each(|(text, count)| self.add(text, count));
    }

    /// The most frequent, most frequent first; equal ones in order of their texts.
    #[must_use]
    pub(super) fn top(&self, number: usize) -> Vec<(&[u8], u64)> {
        let mut all: Vec<(&[u8], u64)> =
            self.texts.iter().map(Vec::as_slice).zip(self.counts.iter().copied()).collect();
        all.sort_unstable_by(|(one, more), (other, less)| less.cmp(more).then(one.cmp(other)));
        all.truncate(number);
        all
    }

    /// Whether some text had to give way, so that counts are bounds.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.counts.len() >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_most_frequent_come_first() {
        let mut ranking = Ranking::new(4, 3);
        ["a", "b", "a", "longer", "lonely"].iter().for_each(|text| ranking.add(text.as_bytes(), 1));
        assert_eq!(ranking.top(2), [(&b"a"[..], 2), (b"lon", 2)]);
    }

    proptest! {
        #[test]
        fn what_is_frequent_is_never_lost(texts in proptest::collection::vec("[a-j]", 0..300), split in 0usize..300) {
            let (mut one, mut other) = (Ranking::new(5, 10), Ranking::new(5, 10));
            let mut model: HashMap<&str, u64> = HashMap::new();
            for (at, text) in texts.iter().enumerate() {
                if at < split { &mut one } else { &mut other }.add(text.as_bytes(), 1);
                *model.entry(text).or_default() += 1;
            }
            one.merge(&other);
            let total = texts.len() as u64;
            let top = one.top(usize::MAX);
            prop_assert_eq!(top.iter().map(|(_, count)| count).sum::<u64>(), total);
            for (text, count) in model {
                // Merging doubles the error.
                match top.iter().find(|(known, _)| *known == text.as_bytes()) {
                    Some((_, found)) => prop_assert!(*found <= count + 2 * total / 5),
                    None => prop_assert!(count <= 2 * total / 5),
                }
            }
        }
    }
}
