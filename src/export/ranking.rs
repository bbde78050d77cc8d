//! A ranking is the most frequent of more texts than can be kept: space-saving counters (Metwally, Agrawal, El Abbadi, 2005),
//! merged as Agarwal et al. do (Mergeable Summaries, 2012).
//!
//! Invariant: a text that is kept came `count` times at the most, and `error` fewer at the least. One that is not kept came
//! `floor` times at the most, and no count of one that is kept is less.

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
    counts: Vec<Count>,
    floor: u64,
}

/// How often a text came: `count` at the most, `count - error` at the least.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    count: u64,
    error: u64,
}

impl Count {
    const fn least(self) -> u64 {
        self.count.saturating_sub(self.error)
    }
}

/// A text of those that came most often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ranked<'a> {
    pub(super) text: &'a [u8],
    /// So often it came, or, if that is not exact, at the least.
    pub(super) count: u64,
    pub(super) is_exact: bool,
}

impl Ranking {
    /// Keeps `capacity` texts (at least one) of at most `longest` bytes: longer ones that begin alike are one.
    #[must_use]
    pub(super) fn new(capacity: usize, longest: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            longest,
            indices: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            texts: Vec::new(),
            counts: Vec::new(),
            floor: 0,
        }
    }

    /// Counts a text. One that is not kept replaces the least frequent and inherits its count, as an error.
    pub(super) fn add(&mut self, text: &[u8]) {
        let text = text.get(..self.longest).unwrap_or(text);
        if let Some(known) = self.find(text).and_then(|index| self.counts.get_mut(index)) {
            known.count = known.count.saturating_add(1);
            return;
        }
        if self.texts.len() < self.capacity {
            return self.keep(text, Count { count: 1, error: 0 });
        }
        let least = self.counts.iter_mut().enumerate().min_by_key(|(_, count)| count.count);
        debug_assert!(least.is_some(), "the capacity is at least one");
        let Some((index, least)) = least else { return };
        self.floor = least.count;
        *least = Count { count: least.count.saturating_add(1), error: least.count };
        let Self { indices, hasher, texts, .. } = self;
        let hash_of =
            |texts: &[Vec<u8>], index: usize| hasher.hash_one(texts.get(index).map_or(&b""[..], Vec::as_slice));
        if let Ok(entry) = indices.find_entry(hash_of(texts, index), |known| *known == index) {
            entry.remove();
        }
        if let Some(kept) = texts.get_mut(index) {
            kept.clear();
            kept.extend_from_slice(text);
        }
        indices.insert_unique(hasher.hash_one(text), index, |index| hash_of(texts, *index));
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        let is_it = |index: &usize| self.texts.get(*index).is_some_and(|known| known == text);
        self.indices.find(self.hasher.hash_one(text), is_it).copied()
    }

    /// Keeps a text that is not known, for which there is room.
    fn keep(&mut self, text: &[u8], count: Count) {
        let Self { indices, hasher, texts, counts, .. } = self;
        let index = texts.len();
        texts.push(text.to_vec());
        counts.push(count);
        let hash_of = |index: &usize| hasher.hash_one(texts.get(*index).map_or(&b""[..], Vec::as_slice));
        indices.insert_unique(hasher.hash_one(text), index, hash_of);
    }

    /// Adds another ranking's counts. A text that only one of them keeps may have come as often as the other's floor besides.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut all = Vec::with_capacity(self.texts.len() + other.texts.len());
        let sum = |one: Option<Count>, floor, another: Count| {
            let one = one.unwrap_or(Count { count: floor, error: floor });
            Count { count: one.count.saturating_add(another.count), error: one.error.saturating_add(another.error) }
        };
        for (text, count) in self.texts.iter().zip(&self.counts) {
            let known = other.find(text).and_then(|index| other.counts.get(index)).copied();
            all.push((text, sum(known, other.floor, *count)));
        }
        for (text, count) in other.texts.iter().zip(&other.counts).filter(|(text, _)| self.find(text).is_none()) {
            all.push((text, sum(None, self.floor, *count)));
        }
        all.sort_unstable_by(|(one, more), (another, less)| less.count.cmp(&more.count).then(one.cmp(another)));
        let dropped = all.get(self.capacity).map_or(0, |(_, count)| count.count);
        let mut merged = Self::new(self.capacity, self.longest);
        merged.floor = dropped.max(self.floor.saturating_add(other.floor));
        all.iter().take(self.capacity).for_each(|(text, count)| merged.keep(text, *count));
        *self = merged;
    }

    /// Up to `number` of the most frequent, most frequent first; equal ones in order of their texts. It is certain of each that
    /// it came at least as often as every text that is not among them. Where that is true of none, there is none.
    #[must_use]
    pub(super) fn top(&self, number: usize) -> Vec<Ranked<'_>> {
        let mut all: Vec<(&[u8], Count)> =
            self.texts.iter().map(Vec::as_slice).zip(self.counts.iter().copied()).collect();
        all.sort_unstable_by(|(one, more), (other, less)| less.least().cmp(&more.least()).then(one.cmp(other)));
        // The most that any text after each may have come.
        let mut most = self.floor;
        let mut certain: Vec<bool> = all
            .iter()
            .rev()
            .map(|(_, count)| {
                let is_certain = count.least() >= most;
                most = most.max(count.count);
                is_certain
            })
            .collect();
        certain.reverse();
        let last = certain.iter().take(number).rposition(|certain| *certain).map_or(0, |last| last + 1);
        let ranked = |(text, count): (_, Count)| Ranked { text, count: count.least(), is_exact: count.error == 0 };
        all.into_iter().take(last).map(ranked).collect()
    }

    /// Whether some text had to give way, so that there are more than are kept.
    #[must_use]
    pub(super) const fn is_full(&self) -> bool {
        self.floor > 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn ranking(texts: &[&str], capacity: usize) -> Ranking {
        let mut ranking = Ranking::new(capacity, 10);
        texts.iter().for_each(|text| ranking.add(text.as_bytes()));
        ranking
    }

    #[test]
    fn the_most_frequent_come_first() {
        let mut ranking = Ranking::new(4, 3);
        ["a", "b", "a", "longer", "lonely"].iter().for_each(|text| ranking.add(text.as_bytes()));
        let ranked = |text, count| Ranked { text, count, is_exact: true };
        assert_eq!(ranking.top(2), [ranked(b"a", 2), ranked(b"lon", 2)]);
        assert!(!ranking.is_full());
    }

    #[test]
    fn where_all_are_equal_none_is_named() {
        let texts: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let ranking = ranking(&texts.iter().map(String::as_str).collect::<Vec<_>>(), 5);
        assert_eq!((ranking.top(5), ranking.is_full()), (vec![], true));
    }

    #[test]
    fn one_that_stands_out_is_named_among_many() {
        let mut ranking = Ranking::new(50, 10);
        for number in 0..1000 {
            ranking.add(number.to_string().as_bytes());
            ranking.add(b"often");
        }
        assert_eq!(ranking.top(5), [Ranked { text: b"often", count: 1000, is_exact: true }]);
    }

    proptest! {
        #[test]
        fn what_is_said_is_true(
            texts in proptest::collection::vec("[a-z]|a|b|c|d", 0..400), cuts in proptest::collection::vec(0usize..400, 0..4), capacity in 1usize..12,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut exact: HashMap<&str, u64> = HashMap::new();
            texts.iter().for_each(|text| *exact.entry(text).or_default() += 1);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(texts.len())).chain([0, texts.len()]).collect();
            cuts.sort_unstable();
            let parts = cuts.windows(2).map(|cut| ranking(&texts[cut[0]..cut[1]], capacity));
            let all = parts.reduce(|mut one, other| { one.merge(&other); one }).unwrap();
            for (text, count) in &exact {
                match all.find(text.as_bytes()) {
                    Some(index) => {
                        let bounds = all.counts[index];
                        prop_assert!(bounds.least() <= *count && *count <= bounds.count, "{text} {bounds:?} {count}");
                    }
                    None => prop_assert!(*count <= all.floor),
                }
            }
            // All of those that are named are at least as frequent as every one that is not.
            let top = all.top(3);
            for ranked in &top {
                let count = exact[std::str::from_utf8(ranked.text).unwrap()];
                prop_assert!(ranked.count <= count && (ranked.count == count || !ranked.is_exact));
            }
            let named = |text: &str| top.iter().any(|ranked| ranked.text == text.as_bytes());
            let least = top.iter().map(|ranked| ranked.count).min().unwrap_or(u64::MAX);
            for (text, count) in exact.iter().filter(|(text, _)| !named(text)) {
                prop_assert!(*count <= least, "{text} {count}");
            }
            if !all.is_full() {
                prop_assert!(top.len() == exact.len().min(3) && top.iter().all(|ranked| ranked.is_exact));
            }
        }
    }
}
