//! A histogram of durations: log-linear, 16 buckets for each power of two, so that what it says is at most 6.25 % too high.
//!
//! It holds the buckets from the first in use to the last, by powers of two: most durations of one route are within a few.

use super::snapshot::Times;

/// Buckets for each power of two, and values below which each has a bucket of its own.
const STEPS: usize = 16;
/// The bucket of all that is longer than 2^32 µs, 71 minutes.
const LONGER: usize = 29 * STEPS;
/// Buckets in all, by whole powers of two.
#[cfg(test)]
const BUCKETS: usize = LONGER + STEPS;

/// Counts durations in microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    /// The bucket of the first count.
    first: usize,
    counts: Vec<u32>,
    /// The longest.
    max: u64,
}

impl Histogram {
    /// The most bytes that one takes.
    #[cfg(test)]
    pub(super) const MOST: usize = size_of::<Self>() + BUCKETS * size_of::<u32>();

    /// Counts a duration, whose [`bucket`] is this.
    #[inline]
    pub(super) fn add(&mut self, micros: u64, bucket: usize) {
        self.max = self.max.max(micros);
        match self.counts.get_mut(bucket.wrapping_sub(self.first)) {
            Some(count) => *count = count.saturating_add(1),
            None => self.add_new(bucket),
        }
    }

    /// Counts a bucket for which there is no room yet.
    #[cold]
    fn add_new(&mut self, bucket: usize) {
        self.cover(bucket, bucket);
        if let Some(count) = self.counts.get_mut(bucket.wrapping_sub(self.first)) {
            *count = 1;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        self.max = self.max.max(other.max);
        self.cover(other.first, other.first + other.counts.len() - 1);
        let from = other.first.saturating_sub(self.first);
        for (own, count) in self.counts.iter_mut().skip(from).zip(&other.counts) {
            *own = own.saturating_add(*count);
        }
    }

    /// Forgets all, but not the memory.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.max = 0;
    }

    /// Makes room for these buckets and those between them.
    #[cold]
    fn cover(&mut self, from: usize, to: usize) {
        let (mut first, mut end) = (from / STEPS * STEPS, (to / STEPS + 1) * STEPS);
        if !self.counts.is_empty() {
            (first, end) = (first.min(self.first), end.max(self.first + self.counts.len()));
        }
        if end - first == self.counts.len() {
            return;
        }
        let mut counts = Vec::with_capacity(end - first);
        counts.resize(if self.counts.is_empty() { 0 } else { self.first - first }, 0);
        counts.append(&mut self.counts);
        counts.resize(end - first, 0);
        (self.first, self.counts) = (first, counts);
    }

    /// What it says.
    pub(super) fn times(&self) -> Times {
        let all: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return Times::default();
        }
        // The rank of a percentile is rounded up: the smallest duration that so many per cent do not exceed.
        let ranks = [50, 95, 99].map(|percent| (all * percent).div_ceil(100));
        let [mut p50, mut p95, mut p99] = [self.max; 3];
        let mut below = 0;
        for (bucket, count) in (self.first..).zip(&self.counts) {
            let upto = below + u64::from(*count);
            for (rank, value) in ranks.iter().zip([&mut p50, &mut p95, &mut p99]) {
                if below < *rank && *rank <= upto {
                    *value = longest(bucket).min(self.max);
                }
            }
            below = upto;
        }
        Times { p50: Some(p50), p95: Some(p95), p99: Some(p99), max: Some(self.max) }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.counts.capacity() * size_of::<u32>()
    }
}

/// The bucket of a duration.
pub(super) fn bucket(micros: u64) -> usize {
    let Some(power) = micros.checked_ilog2().filter(|power| *power >= 4) else {
        return usize::try_from(micros).unwrap_or(0);
    };
    if power >= 32 {
        return LONGER;
    }
    let step = usize::try_from(micros >> (power - 4)).unwrap_or(0) - STEPS;
    (power as usize - 3) * STEPS + step
}

/// The longest duration that counts in a bucket.
const fn longest(bucket: usize) -> u64 {
    match bucket {
        0..STEPS => bucket as u64,
        LONGER => u64::MAX,
        _ => (((STEPS + bucket % STEPS + 1) as u64) << (bucket / STEPS - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value, bucket(*value)));
        histogram
    }

    #[test]
    fn buckets_are_in_order_and_none_is_wide() {
        for bucket in 0..LONGER {
            let upper = longest(bucket);
            assert_eq!((super::bucket(upper), super::bucket(upper + 1)), (bucket, bucket + 1));
        }
        assert_eq!(bucket(u64::MAX), LONGER);
        assert_eq!(of(&[u64::MAX, 0]).times().p99, Some(u64::MAX));
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        assert!(Histogram::default().times().p50.is_none() && Histogram::default().times().max.is_none());
        assert_eq!(of(&[0]).times().p50, Some(0));
    }

    proptest! {
        #[test]
        fn percentiles_are_at_most_a_tenth_too_high(mut values in proptest::collection::vec(0u64..5_000_000_000, 1..300)) {
            let times = of(&values).times();
            values.sort_unstable();
            for (percent, said) in [(50, times.p50), (95, times.p95), (99, times.p99)] {
                let (said, exact) = (said.unwrap(), values[(values.len() * percent).div_ceil(100) - 1]);
                prop_assert!(said >= exact);
                prop_assert!(exact >= 1 << 32 || said as f64 <= exact as f64 * 1.1, "{} for {}", said, exact);
            }
            prop_assert_eq!(times.max, values.last().copied());
        }

        #[test]
        fn parts_add_up(values in proptest::collection::vec(0u64..1 << 40, 0..100), split in 0usize..100) {
            let (one, other) = values.split_at(split.min(values.len()));
            let mut sum = of(one);
            sum.merge(&of(other));
            let whole = of(&values);
            prop_assert_eq!(format!("{:?}", sum.times()), format!("{:?}", whole.times()));
            prop_assert!(sum.size() <= Histogram::MOST);
        }
    }
}
