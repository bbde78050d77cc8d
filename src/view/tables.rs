//! The tables of a time: hosts, routes and pairs, and all together.

use foldhash::fast::RandomState;

use super::facts::{Facts, Sum};
use super::table::{Host, Pair, Route, Table};
use crate::http::Transaction;

/// Rows of hosts.
pub(super) const HOSTS: usize = 256;
/// Rows of routes.
pub(super) const ROUTES: usize = 1024;
/// Rows of pairs.
pub(super) const PAIRS: usize = 512;

/// What the transactions of some time add up to.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) total: Sum,
    pub(super) hosts: Table<Host>,
    pub(super) routes: Table<Route>,
    pub(super) pairs: Table<Pair>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { total: Sum::default(), hosts: Table::new(HOSTS), routes: Table::new(ROUTES), pairs: Table::new(PAIRS) }
    }
}

impl Tables {
    /// Whether a table may have no room for a further transaction.
    pub(super) const fn is_full(&self) -> bool {
        self.hosts.is_full() || self.routes.is_full() || self.pairs.is_full()
    }

    /// Adds a transaction; there is room for it.
    pub(super) fn add(&mut self, transaction: &Transaction, facts: &Facts, hasher: &RandomState) {
        self.total.add(facts);
        let hosts = self.hosts.sum(transaction, hasher);
        let sums = [hosts, self.routes.sum(transaction, hasher), self.pairs.sum(transaction, hasher)];
        sums.into_iter().flatten().for_each(|sum| sum.add(facts));
    }

    /// Takes over what others have, which are empty afterwards.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.total.merge(&std::mem::take(&mut other.total));
        self.hosts.absorb(&mut other.hosts);
        self.routes.absorb(&mut other.routes);
        self.pairs.absorb(&mut other.pairs);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.total.size() + self.hosts.size() + self.routes.size() + self.pairs.size()
    }
}
