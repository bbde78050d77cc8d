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
/// Connections whose pair a worker has at hand.
const CONNECTIONS: usize = 16_384;

/// The row of a connection's pair.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Its number.
    connection: u64,
    /// Side that is the client.
    client: u8,
    /// [`NONE`]: there is no room for it, which stays so until all keys are forgotten.
    pair: u32,
}

const NONE: u32 = u32::MAX;

/// What the transactions of some time add up to.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) total: Sum,
    pub(super) hosts: Table<Host>,
    pub(super) routes: Table<Route>,
    pub(super) pairs: Table<Pair>,
    /// A worker's: of the last connections, by their number.
    known: Vec<Known>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            total: Sum::default(),
            hosts: Table::new(HOSTS),
            routes: Table::new(ROUTES),
            pairs: Table::new(PAIRS),
            known: Vec::new(),
        }
    }
}

impl Tables {
    /// Adds a transaction, but not to the total: the parts of time have that.
    pub(super) fn add(&mut self, transaction: &Transaction, facts: &Facts, hasher: &RandomState) {
        // A route is of one host, to whose sum its own is added when that is taken over.
        match self.routes.add(transaction, facts, hasher) {
            Some((_, Some(_))) => (),
            Some((_, host)) => *host = self.hosts.row(transaction, hasher),
            None => drop(self.hosts.add(transaction, facts, hasher)),
        }
        self.add_pair(transaction, facts, hasher);
    }

    fn add_pair(&mut self, transaction: &Transaction, facts: &Facts, hasher: &RandomState) {
        if self.known.is_empty() {
            self.known.resize(CONNECTIONS, Known { connection: u64::MAX, client: 0, pair: NONE });
        }
        let place = usize::try_from(transaction.conn % CONNECTIONS as u64).unwrap_or(0);
        let Some(known) = self.known.get_mut(place) else { return };
        // A connection is of one pair, which need not be looked up again.
        if known.connection == transaction.conn && known.client == transaction.client_side {
            return match known.pair {
                NONE => self.pairs.add_beyond(),
                pair => self.pairs.add_to(pair as usize, facts),
            };
        }
        let pair = self.pairs.add(transaction, facts, hasher);
        let pair = pair.and_then(|(pair, _)| u32::try_from(pair).ok()).unwrap_or(NONE);
        *known = Known { connection: transaction.conn, client: transaction.client_side, pair };
    }

    /// Takes over what a worker's tables have counted.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        other.hosts.add_rows(&other.routes);
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
        self.known.clear();
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.total.size()
            + self.hosts.size()
            + self.routes.size()
            + self.pairs.size()
            + self.known.capacity() * size_of::<Known>()
    }
}
