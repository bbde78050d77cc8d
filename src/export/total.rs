//! A total is what the transactions of all workers add up to. Each worker sums for itself, without a lock, and is merged at
//! its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::consumer::{Consumer, Output};
use crate::http::{TlsConnection, Transaction};

/// Something that transactions are added to, in any order and in any number of parts.
pub trait Sum: Clone + Default + Send + 'static {
    /// Adds a transaction.
    fn add(&mut self, transaction: &Transaction);
    /// Adds a TLS connection.
    fn add_tls(&mut self, connection: &TlsConnection) {
        let _ = connection;
    }
    /// Adds another part: the same as adding all of its transactions.
    fn merge(&mut self, other: &Self);
}

/// The sum over all workers that have ended. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Total<S>(Arc<Mutex<S>>);

impl<S: Sum> Total<S> {
    /// What the workers that have ended add up to.
    #[must_use]
    pub fn get(&self) -> S {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Sum> Output for Total<S> {
    fn consumer(&self) -> Box<dyn Consumer> {
        Box::new(Part { own: S::default(), total: self.clone() })
    }
}

/// One worker's part.
struct Part<S> {
    own: S,
    total: Total<S>,
}

impl<S: Sum> Consumer for Part<S> {
    fn transaction(&mut self, transaction: &Transaction) {
        self.own.add(transaction);
    }

    fn tls(&mut self, connection: &TlsConnection) {
        self.own.add_tls(connection);
    }

    fn close(self: Box<Self>) {
        self.total.lock().merge(&self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;

    /// Responses by their status.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    struct Statuses(std::collections::BTreeMap<u16, u64>);

    impl Sum for Statuses {
        fn add(&mut self, transaction: &Transaction) {
            *self.0.entry(transaction.status).or_default() += 1;
        }
        fn merge(&mut self, other: &Self) {
            other.0.iter().for_each(|(status, count)| *self.0.entry(*status).or_default() += count);
        }
    }

    #[test]
    fn workers_sum_for_themselves_and_are_merged_when_they_end() {
        let mut wire = Wire::new(Settings::default());
        for (number, status) in (1..).zip([200, 404, 200]) {
            wire.get(number, "/").reply(number, status, 0);
        }
        let total = Total::<Statuses>::default();
        let [mut one, mut other] = [total.consumer(), total.consumer()];
        for (number, transaction) in wire.done.iter().enumerate() {
            if number == 0 { &mut one } else { &mut other }.transaction(transaction);
        }
        one.flush(false);
        assert_eq!(total.get(), Statuses::default(), "no worker has ended");
        one.close();
        other.close();
        assert_eq!(total.get(), Statuses([(200, 2), (404, 1)].into()));
    }
}
