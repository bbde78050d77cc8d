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
    /// Adds a transaction, but not to the total: the parts of time have that.
    pub(super) fn add(&mut self, transaction: &Transaction, facts: &Facts, hasher: &RandomState) {
        // A route is of one host, which need not be looked up again.
        let route = self.routes.add(transaction, facts, hasher);
        match route.and_then(|route| self.routes.with(route)) {
            Some(Some(host)) => self.hosts.add_to(*host, facts),
            Some(host) => *host = self.hosts.add(transaction, facts, hasher),
            None => drop(self.hosts.add(transaction, facts, hasher)),
        }
        self.pairs.add(transaction, facts, hasher);
    }

    /// Takes over what a worker's tables have counted.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.hosts.absorb(&mut other.hosts);
        self.routes.absorb(&mut other.routes);
        self.pairs.absorb(&mut other.pairs);
    }

    /// Adds what others have.
    pub(super) fn merge(&mut self, other: &Self) {
        self.total.merge(&other.total);
        self.hosts.merge(&other.hosts);
        self.routes.merge(&other.routes);
        self.pairs.merge(&other.pairs);
    }

    /// A worker's tables are to be taken over by others than before.
    pub(super) fn leave(&mut self) {
        self.hosts.leave();
        self.routes.leave();
        self.pairs.leave();
    }

    /// Forgets the keys of a worker's tables, of which all was taken over.
    pub(super) fn clear(&mut self) {
        self.hosts.clear();
        self.routes.clear();
        self.pairs.clear();
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.total.size() + self.hosts.size() + self.routes.size() + self.pairs.size()
    }
}
