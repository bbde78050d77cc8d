//! A sampler says which transactions a worker keeps as rows: so many for each second of the capture, and more after a quiet time.

/// What may be kept at once, after a quiet time.
const BURST: i64 = 1000;

/// Lets through one in so many microseconds of the capture's time, on average.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Microseconds for each.
    each: i64,
    /// The most microseconds that are saved.
    most: i64,
    /// Microseconds saved.
    saved: i64,
    /// Time of the last that it was asked about.
    last: i64,
}

impl Sampler {
    /// `rate`: how many in a second, at least 1.
    pub(super) const fn new(rate: i64) -> Self {
        let each = 1_000_000 / rate;
        Self { each, most: BURST * each, saved: BURST * each, last: i64::MIN }
    }

    /// Whether one of this time (microseconds) is kept.
    pub(super) fn takes(&mut self, time: i64) -> bool {
        // Time that runs backwards gains nothing, and when it was set is forgotten.
        let passed = time.saturating_sub(self.last).max(0);
        self.last = time;
        self.saved = self.saved.saturating_add(passed).min(self.most);
        let takes = self.saved >= self.each;
        if takes {
            self.saved -= self.each;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_the_rate_holds_and_time_refills() {
        let mut sampler = Sampler::new(200);
        let mut second = |from: i64| (0..100_000).filter(|at| sampler.takes(from + at * 10)).count();
        assert_eq!([second(0), second(1_000_000), second(2_000_000)], [1199, 200, 200]);
        assert_eq!(second(60_000_000), 1199);
    }

    #[test]
    fn a_few_are_all_kept() {
        let mut sampler = Sampler::new(200);
        assert!((0..5000).all(|at| sampler.takes(at * 5000)));
        assert!(sampler.takes(i64::MAX) && sampler.takes(i64::MIN) && sampler.takes(0));
    }
}
