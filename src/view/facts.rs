//! Facts are what of a transaction is counted: computed once, added in many places.

use super::histogram::{Histogram, bucket};
use super::snapshot::{Counts, Second};
use crate::http::filter::failed_otherwise;
use crate::http::grpc::is_server_error;
use crate::http::{Message, Transaction, microseconds};

/// What of a transaction is counted. Times and durations are microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Time of the last byte seen of it.
    pub(super) completed: i64,
    /// Duration, if it is known.
    pub(super) duration: Option<u64>,
    /// Its bucket in a histogram.
    pub(super) bucket: usize,
    /// Whether its status is 4xx, or one of gRPC that says the same.
    pub(super) client_error: bool,
    /// Whether it has a 5xx status, or one of gRPC that says the same, is without a response, or is an operation that failed.
    pub(super) failed: bool,
    /// Bytes of the request's body.
    pub(super) request_bytes: u64,
    /// Bytes of the response's body.
    pub(super) response_bytes: u64,
}

impl Facts {
    pub(super) fn of(transaction: &Transaction) -> Self {
        let (asked, request_bytes) = last(transaction.request.as_ref());
        let (answered, response_bytes) = last(transaction.response.as_ref());
        let status = transaction.status;
        let grpc = transaction.grpc_status();
        let duration = microseconds(transaction.duration());
        Self {
            completed: asked.max(answered).unwrap_or(0) / 1000,
            duration,
            bucket: duration.map_or(0, bucket),
            client_error: (400..500).contains(&status) || grpc.is_some_and(|code| code != 0 && !is_server_error(code)),
            failed: status >= 500 || grpc.is_some_and(is_server_error) || failed_otherwise(transaction),
            request_bytes,
            response_bytes,
        }
    }
}

/// Time of the last byte seen of a message, and bytes of its body.
fn last(message: Option<&Message>) -> (Option<i64>, u64) {
    match message {
        None => (None, 0),
        Some(Message { end: None, head_end, .. }) => (Some(head_end.time), 0),
        Some(Message { end: Some((end, body)), cut, .. }) => (Some(end.time), if *cut { 0 } else { body.wire }),
    }
}

/// What the facts of transactions add up to.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    transactions: u64,
    client_errors: u64,
    server_errors: u64,
    request_bytes: u64,
    response_bytes: u64,
    /// The latest time of completion.
    last: i64,
    durations: Histogram,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            transactions: 0,
            client_errors: 0,
            server_errors: 0,
            request_bytes: 0,
            response_bytes: 0,
            last: i64::MIN,
            durations: Histogram::default(),
        }
    }
}

impl Sum {
    pub(super) fn add(&mut self, facts: &Facts) {
        self.transactions += 1;
        self.client_errors += u64::from(facts.client_error);
        self.server_errors += u64::from(facts.failed);
        self.request_bytes = self.request_bytes.saturating_add(facts.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(facts.response_bytes);
        self.last = self.last.max(facts.completed);
        if let Some(duration) = facts.duration {
            self.durations.add(duration, facts.bucket);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.transactions == 0 {
            return;
        }
        self.last = self.last.max(other.last);
        self.transactions += other.transactions;
        self.client_errors += other.client_errors;
        self.server_errors += other.server_errors;
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.durations.merge(&other.durations);
    }

    /// Forgets all, but not the memory.
    pub(super) fn clear(&mut self) {
        let mut durations = std::mem::take(&mut self.durations);
        durations.clear();
        *self = Self { durations, ..Self::default() };
    }

    pub(super) const fn transactions(&self) -> u64 {
        self.transactions
    }

    pub(super) fn counts(&self) -> Counts {
        let Self { transactions, client_errors, server_errors, request_bytes, response_bytes, last, ref durations } =
            *self;
        let last = if transactions == 0 { 0 } else { last };
        let times = durations.times();
        Counts { transactions, client_errors, server_errors, request_bytes, response_bytes, last, times }
    }

    /// As a part of time that begins at `time`.
    pub(super) fn second(&self, time: i64) -> Second {
        Second {
            time,
            transactions: self.transactions,
            client_errors: self.client_errors,
            server_errors: self.server_errors,
            bytes: self.request_bytes.saturating_add(self.response_bytes),
            times: self.durations.times(),
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() - size_of::<Histogram>() + self.durations.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::flag;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use crate::stream::EndReason;

    #[test]
    fn what_failed_and_what_nobody_saw() {
        let mut wire = Wire::new(Settings::default());
        for (number, status) in (1..).zip([200, 404, 503]) {
            wire.get(number, "/").wait(2).reply(number, status, 7);
        }
        wire.operate(4, "socks", "connect", "a:1").outcome(4, "refused", flag::FAILED);
        wire.get(5, "/").close(EndReason::Reset).get(6, "/").close(EndReason::Capture);
        let facts: Vec<Facts> = wire.done.iter().map(Facts::of).collect();
        let errors: Vec<_> = facts.iter().map(|facts| (facts.client_error, facts.failed)).collect();
        let (no, yes) = (false, true);
        assert_eq!(errors, [(no, no), (yes, no), (no, yes), (no, yes), (no, yes), (no, no)]);
        assert_eq!((facts[0].duration, facts[0].response_bytes, facts[4].duration), (Some(2000), 7, None));
        let outcome = |status: &str| {
            let facts = Facts::of(Wire::new(Settings::default()).call(1, status).last());
            (facts.client_error, facts.failed)
        };
        assert_eq!(["0", "5", "13"].map(outcome), [(no, no), (yes, no), (no, yes)]);
        let mut sum = Sum::default();
        facts.iter().for_each(|facts| sum.add(facts));
        let counts = sum.counts();
        assert_eq!((counts.transactions, counts.client_errors, counts.server_errors), (6, 1, 3));
        assert_eq!((counts.response_bytes, counts.last), (21, facts[5].completed));
    }
}
