//! A timeline is what the transactions of each part of time add up to: at most [`PARTS`] of them.

use std::collections::BTreeMap;

use super::facts::{Facts, Sum};
use super::snapshot::Second;

/// The most parts of time: 15 minutes of seconds.
pub(super) const PARTS: usize = 900;
/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// Parts that a worker has at hand.
const AT_HAND: usize = 16;

#[derive(Debug, Clone, Default)]
struct Part {
    sum: Sum,
    /// When it was changed last, as the caller counts.
    changed: u64,
}

/// All parts of a run.
#[derive(Debug)]
pub(super) struct Timeline {
    /// Whether old parts are forgotten; otherwise the step is doubled.
    live: bool,
    /// Length of a part, in seconds: a power of two. A part begins at a multiple of it.
    step: i64,
    /// By their beginning, in steps.
    parts: BTreeMap<i64, Part>,
}

impl Timeline {
    pub(super) const fn new(live: bool) -> Self {
        Self { live, step: 1, parts: BTreeMap::new() }
    }

    /// Length of a part, in seconds.
    pub(super) const fn step(&self) -> i64 {
        self.step
    }

    /// Takes over what a worker has, which is empty afterwards, and adds it to `total`.
    pub(super) fn absorb(&mut self, recent: &mut Recent, changed: u64, total: &mut Sum) {
        for (second, sum) in recent.parts.iter_mut().filter(|(_, sum)| sum.transactions() > 0) {
            let part = self.parts.entry(second.div_euclid(self.step)).or_default();
            part.sum.merge(sum);
            total.merge(sum);
            part.changed = changed;
            sum.clear();
            while self.is_too_long() {
                if self.live { drop(self.parts.pop_first()) } else { self.double() }
            }
        }
        recent.shift = self.step.trailing_zeros();
    }

    fn is_too_long(&self) -> bool {
        match (self.parts.first_key_value(), self.parts.last_key_value()) {
            // Live, what lies in the future says nothing about the past: the clock was set.
            _ if self.live => self.parts.len() > PARTS,
            (Some((first, _)), Some((last, _))) => last.abs_diff(*first) >= PARTS as u64,
            _ => false,
        }
    }

    fn double(&mut self) {
        self.step *= 2;
        for (index, part) in std::mem::take(&mut self.parts) {
            let double = self.parts.entry(index.div_euclid(2)).or_default();
            double.sum.merge(&part.sum);
            double.changed = double.changed.max(part.changed);
        }
    }

    /// The parts, oldest first, without holes, and when each was changed last. Live, those of the 15 minutes before `now`
    /// (microseconds), and not before `began`.
    pub(super) fn seconds(&mut self, began: i64, now: i64) -> Vec<(Second, u64)> {
        let (first, last) = if self.live {
            let last = now.div_euclid(SECOND);
            self.parts.retain(|index, _| *index <= last + 1);
            (began.div_euclid(SECOND).max(last - (PARTS as i64 - 1)), last)
        } else {
            match (self.parts.first_key_value(), self.parts.last_key_value()) {
                (Some((first, _)), Some((last, _))) => (*first, *last),
                _ => return Vec::new(),
            }
        };
        let none = Part::default();
        let part = |index: i64| {
            let part = self.parts.get(&index).unwrap_or(&none);
            (part.sum.second(index.saturating_mul(self.step).saturating_mul(SECOND)), part.changed)
        };
        (first..=last).take(PARTS).map(part).collect()
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.parts.values().map(|part| part.sum.size() + 32).sum()
    }
}

/// The parts of time that a worker has at hand: those of its last transactions.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// A part has two to the power of this seconds, as the timeline had it last.
    shift: u32,
    /// Each with its beginning, in seconds.
    parts: [(i64, Sum); AT_HAND],
}

impl Recent {
    /// Whether the part that a second belongs to is at hand, or there is room for it.
    pub(super) fn has_room(&self, second: i64) -> bool {
        let (first, place) = self.place(second);
        self.parts.get(place).is_some_and(|(known, sum)| *known == first || sum.transactions() == 0)
    }

    /// Adds a transaction that was completed in a second for which there is room.
    pub(super) fn add(&mut self, second: i64, facts: &Facts) {
        let (first, place) = self.place(second);
        if let Some((known, sum)) = self.parts.get_mut(place) {
            *known = first;
            sum.add(facts);
        }
    }

    /// The first second of a second's part, and where that is.
    fn place(&self, second: i64) -> (i64, usize) {
        let part = second >> self.shift;
        (part << self.shift, usize::try_from(part.rem_euclid(AT_HAND as i64)).unwrap_or(0))
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.parts.iter().map(|(_, sum)| sum.size() + 8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(live: bool, times: &[i64]) -> Timeline {
        let (mut timeline, mut recent, mut total) = (Timeline::new(live), Recent::default(), Sum::default());
        for time in times {
            let facts = Facts {
                completed: *time * SECOND,
                duration: Some(5),
                bucket: 5,
                client_error: false,
                failed: false,
                request_bytes: 0,
                response_bytes: 1,
            };
            if !recent.has_room(*time) {
                timeline.absorb(&mut recent, 1, &mut total);
            }
            assert!(recent.has_room(*time), "an empty one has room");
            recent.add(*time, &facts);
        }
        timeline.absorb(&mut recent, 2, &mut total);
        assert_eq!(total.transactions(), times.len() as u64);
        timeline
    }

    fn begin_and_count(timeline: &mut Timeline, now: i64) -> Vec<(i64, u64)> {
        let all = timeline.seconds(0, now * SECOND);
        all.iter().map(|(second, _)| (second.time / SECOND, second.transactions)).collect()
    }

    #[test]
    fn seconds_have_no_holes() {
        let mut times = timeline(false, &[5, 7, 5, 8]);
        assert_eq!(begin_and_count(&mut times, 0), [(5, 2), (6, 0), (7, 1), (8, 1)]);
        assert!(Timeline::new(false).seconds(0, 0).is_empty());
    }

    #[test]
    fn a_file_of_any_length_fits() {
        for last in [899, 900, 1_000_000, i64::MAX / SECOND / 1000] {
            let mut long = timeline(false, &[3, last, 4, 3]);
            let all = begin_and_count(&mut long, 0);
            assert!(all.len() <= PARTS && all.len() > PARTS / 2 - 2, "{} of {last}", all.len());
            assert_eq!(all.iter().map(|(_, count)| count).sum::<u64>(), 4);
            assert!(all.windows(2).all(|two| two[1].0 - two[0].0 == long.step()));
        }
        let mut both = timeline(false, &[i64::MIN / SECOND / 1000, i64::MAX / SECOND / 1000]);
        assert!(begin_and_count(&mut both, 0).len() <= PARTS);
    }

    #[test]
    fn live_the_last_fifteen_minutes_stay() {
        let times: Vec<i64> = (1000..3000).collect();
        let mut live = timeline(true, &times);
        let all = begin_and_count(&mut live, 3001);
        assert_eq!((all.first(), all.last(), all.len()), (Some(&(2102, 1)), Some(&(3001, 0)), PARTS));
        assert!(live.size() < PARTS * 500);
    }

    #[test]
    fn live_a_clock_that_jumps_ahead_hides_nothing_for_long() {
        let mut live = timeline(true, &[1000, 9_000_000, 1001]);
        assert_eq!(begin_and_count(&mut live, 1001).iter().rev().take(2).collect::<Vec<_>>(), [&(1001, 1), &(1000, 1)]);
        assert_eq!(live.parts.len(), 2);
    }

    #[test]
    fn live_nothing_is_shown_of_the_time_before_the_beginning() {
        let mut live = timeline(true, &[100]);
        assert_eq!(live.seconds(99 * SECOND, 101 * SECOND).len(), 3);
    }
}
