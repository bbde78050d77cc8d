//! A budget bounds the time that a guest's faults may take.

use std::time::{Duration, Instant};

/// Time that may be lost within a second.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    limit: Duration,
    left: Duration,
    since: Option<Instant>,
}

impl Budget {
    /// A full budget of `limit` in each second.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, left: limit, since: None }
    }

    /// Renews the budget if a second has passed since the last time. Returns whether it has.
    pub fn turn(&mut self, now: Instant) -> bool {
        let over = self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1));
        if over {
            self.since = Some(now);
            self.left = self.limit;
        }
        over
    }

    /// Renews the budget at once.
    pub const fn renew(&mut self) {
        self.left = self.limit;
    }

    /// Takes time from the budget.
    pub const fn charge(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.left.is_zero()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
mod tests {
    use super::*;

    #[test]
    fn it_is_spent_for_the_rest_of_its_second() {
        let (mut budget, start) = (Budget::new(Duration::from_millis(500)), Instant::now());
        assert!(budget.turn(start));
        budget.charge(Duration::from_millis(499));
        assert!(!budget.is_spent());
        budget.charge(Duration::from_millis(60));
        assert!(!budget.turn(start + Duration::from_millis(999)) && budget.is_spent());
        assert!(budget.turn(start + Duration::from_secs(1)) && !budget.is_spent());
    }
}
