//! A table adds up transactions by a key, for at most so many keys: those that came first. Each worker has one, and the model
//! has one that takes over what these have counted.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::facts::{Facts, Sum};
use crate::http::Transaction;
use crate::stream::Endpoint;

/// The most bytes of a host in a key.
const MAX_HOST: usize = 255;
/// The most bytes of a protocol's name, and of a method, in a key.
const MAX_METHOD: usize = 32;

/// Says which row a transaction belongs to. `'t`: how long its texts live.
pub(super) trait Key {
    /// The key as it is found in a transaction.
    type Found<'t>: Copy;
    /// Of a transaction. `text`: for a key that is put together.
    fn find<'t>(transaction: &'t Transaction, text: &'t mut Vec<u8>) -> Self::Found<'t>;
    /// Its hash.
    fn hash(found: &Self::Found<'_>, hasher: &RandomState) -> u64;
    /// Whether it is this one.
    fn is(&self, found: &Self::Found<'_>) -> bool;
    /// A copy.
    fn new(found: &Self::Found<'_>) -> Self;
}

/// A host; empty without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host(pub(super) Box<[u8]>);

impl Key for Host {
    type Found<'t> = &'t [u8];

    fn find<'t>(transaction: &'t Transaction, _: &'t mut Vec<u8>) -> &'t [u8] {
        cut(transaction.host(), MAX_HOST)
    }

    fn hash(found: &&[u8], hasher: &RandomState) -> u64 {
        let mut hasher = hasher.build_hasher();
        hasher.write(found);
        hasher.finish()
    }

    fn is(&self, found: &&[u8]) -> bool {
        *self.0 == **found
    }

    fn new(found: &&[u8]) -> Self {
        Self((*found).into())
    }
}

/// A host, the name of a protocol (empty for HTTP), a method and a route, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    text: Box<[u8]>,
    /// Where the first three end.
    ends: [usize; 3],
}

impl Route {
    /// Host, protocol, method and route.
    pub(super) fn parts(&self) -> [&[u8]; 4] {
        let [host, protocol, method] = self.ends;
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        [part(0, host), part(host, protocol), part(protocol, method), part(method, self.text.len())]
    }
}

impl Key for Route {
    /// As it is kept: its hash and a comparison take one text in place of four.
    type Found<'t> = (&'t [u8], [usize; 3]);

    fn find<'t>(transaction: &'t Transaction, text: &'t mut Vec<u8>) -> Self::Found<'t> {
        text.clear();
        text.extend_from_slice(cut(transaction.host(), MAX_HOST));
        let host = text.len();
        if let Some(protocol) = transaction.protocol() {
            text.extend_from_slice(cut(Some(protocol.as_bytes()), MAX_METHOD));
        }
        let protocol = text.len();
        text.extend_from_slice(cut(transaction.method(), MAX_METHOD));
        let method = text.len();
        text.extend_from_slice(transaction.route().unwrap_or_default());
        (text, [host, protocol, method])
    }

    fn hash((text, _): &Self::Found<'_>, hasher: &RandomState) -> u64 {
        let mut hasher = hasher.build_hasher();
        hasher.write(text);
        hasher.finish()
    }

    fn is(&self, (text, ends): &Self::Found<'_>) -> bool {
        self.ends == *ends && *self.text == **text
    }

    fn new((text, ends): &Self::Found<'_>) -> Self {
        Self { text: (*text).into(), ends: *ends }
    }
}

/// A client, and a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair(pub(super) IpAddr, pub(super) Endpoint);

impl Key for Pair {
    type Found<'t> = (IpAddr, Endpoint);

    fn find<'t>(transaction: &'t Transaction, _: &'t mut Vec<u8>) -> (IpAddr, Endpoint) {
        (transaction.client.ip, transaction.server)
    }

    fn hash((client, server): &(IpAddr, Endpoint), hasher: &RandomState) -> u64 {
        let mut hasher = hasher.build_hasher();
        let mut write = |address: &IpAddr| match address {
            IpAddr::V4(address) => hasher.write_u32(address.to_bits()),
            IpAddr::V6(address) => hasher.write_u128(address.to_bits()),
        };
        write(client);
        write(&server.ip);
        hasher.write_u16(server.port);
        hasher.finish()
    }

    fn is(&self, (client, server): &(IpAddr, Endpoint)) -> bool {
        self.0 == *client && self.1 == *server
    }

    fn new((client, server): &(IpAddr, Endpoint)) -> Self {
        Self(*client, *server)
    }
}

fn cut(text: Option<&[u8]>, most: usize) -> &[u8] {
    let text = text.unwrap_or_default();
    text.get(..most).unwrap_or(text)
}

#[derive(Debug, Clone)]
struct Row<K> {
    hash: u64,
    key: K,
    sum: Sum,
    /// A worker's row: its index in the table that takes it over, if that has one.
    there: Option<usize>,
    /// A worker's row: the row of another table of the worker that counts the same transactions and more, but only when they are
    /// taken over.
    with: Option<usize>,
}

/// At most so many rows, found by their key.
#[derive(Debug, Clone)]
struct Rows<K> {
    capacity: usize,
    /// Indices into `rows`.
    indices: HashTable<usize>,
    rows: Vec<Row<K>>,
}

impl<K> Rows<K> {
    /// The row with this key, which is inserted if there is none; none if there is no room for it.
    fn find_or_insert(&mut self, hash: u64, is: impl Fn(&K) -> bool, key: impl FnOnce() -> K) -> Option<usize> {
        let Self { capacity, indices, rows } = self;
        let known = |index: &usize| rows.get(*index).is_some_and(|row| row.hash == hash && is(&row.key));
        if let Some(index) = indices.find(hash, known) {
            return Some(*index);
        }
        let index = rows.len();
        if index >= *capacity {
            return None;
        }
        rows.push(Row { hash, key: key(), sum: Sum::default(), there: None, with: None });
        indices.insert_unique(hash, index, |index| rows.get(*index).map_or(0, |row| row.hash));
        Some(index)
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut Row<K>> {
        self.rows.get_mut(index)
    }

    fn iter(&self) -> impl Iterator<Item = &Row<K>> {
        self.rows.iter()
    }
}

/// What the transactions of each key add up to.
#[derive(Debug, Clone)]
pub(super) struct Table<K> {
    rows: Rows<K>,
    /// A worker's rows that have counted something since they were taken over.
    touched: Vec<usize>,
    /// Transactions of keys for which there was no room.
    beyond: u64,
    /// Where a key is put together.
    text: Vec<u8>,
}

impl<K: Key + Clone + PartialEq> Table<K> {
    pub(super) const fn new(capacity: usize) -> Self {
        let rows = Rows { capacity, indices: HashTable::new(), rows: Vec::new() };
        Self { rows, touched: Vec::new(), beyond: 0, text: Vec::new() }
    }

    /// Adds a transaction. The row that it belongs to, and the row of another table that is told by it; none if there is no room
    /// for it.
    pub(super) fn add(
        &mut self,
        transaction: &Transaction,
        facts: &Facts,
        hasher: &RandomState,
    ) -> Option<(usize, &mut Option<usize>)> {
        let index = self.row(transaction, hasher)?;
        let row = self.touch(index)?;
        row.sum.add(facts);
        Some((index, &mut row.with))
    }

    /// Counts a transaction for which there is no room.
    pub(super) const fn add_beyond(&mut self) {
        self.beyond += 1;
    }

    /// Adds a transaction of a row.
    pub(super) fn add_to(&mut self, index: usize, facts: &Facts) {
        if let Some(row) = self.touch(index) {
            row.sum.add(facts);
        }
    }

    /// The row that a transaction belongs to; if there is no room for it, it is counted.
    pub(super) fn row(&mut self, transaction: &Transaction, hasher: &RandomState) -> Option<usize> {
        let found = K::find(transaction, &mut self.text);
        let hash = K::hash(&found, hasher);
        let index = self.rows.find_or_insert(hash, |key| key.is(&found), || K::new(&found));
        self.beyond += u64::from(index.is_none());
        index
    }

    /// A row that is about to count something.
    fn touch(&mut self, index: usize) -> Option<&mut Row<K>> {
        let row = self.rows.get_mut(index)?;
        if row.sum.transactions() == 0 {
            self.touched.push(index);
        }
        Some(row)
    }

    /// Adds to a row what a row of another table has counted, which is told by its `with`.
    pub(super) fn add_rows<L>(&mut self, others: &Table<L>) {
        for other in others.touched.iter().filter_map(|index| others.rows.rows.get(*index)) {
            if let Some(row) = other.with.and_then(|index| self.touch(index)) {
                row.sum.merge(&other.sum);
            }
        }
    }

    /// Takes over what a worker's table has counted. Its keys stay, so that they need not be copied again.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.beyond += std::mem::take(&mut other.beyond);
        for index in other.touched.drain(..) {
            let Some(row) = other.rows.get_mut(index) else { continue };
            row.there = row.there.or_else(|| self.place(row));
            self.merge_row(row.there, &row.sum);
            row.sum.clear();
        }
    }

    /// Adds what another table has.
    pub(super) fn merge(&mut self, other: &Self) {
        self.beyond += other.beyond;
        for row in other.rows.iter() {
            let place = self.place(row);
            self.merge_row(place, &row.sum);
        }
    }

    fn merge_row(&mut self, place: Option<usize>, sum: &Sum) {
        match place.and_then(|place| self.rows.get_mut(place)) {
            Some(own) => own.sum.merge(sum),
            None => self.beyond += sum.transactions(),
        }
    }

    /// Where another table's row is in this one; none if there is no room for it.
    fn place(&mut self, row: &Row<K>) -> Option<usize> {
        self.rows.find_or_insert(row.hash, |key| *key == row.key, || row.key.clone())
    }

    /// A worker's table is to be taken over by another one than before.
    pub(super) fn leave(&mut self) {
        self.rows.rows.iter_mut().for_each(|row| row.there = None);
    }

    /// Forgets the keys of a worker's table of which all was taken over, so that others find room.
    pub(super) fn clear(&mut self) {
        debug_assert!(self.touched.is_empty(), "all was taken over");
        self.rows.indices.clear();
        self.rows.rows.clear();
    }

    /// The rows, most transactions first.
    pub(super) fn top(&self) -> Vec<(&K, &Sum)> {
        let mut all: Vec<_> = self.rows.iter().map(|row| (&row.key, &row.sum)).collect();
        // Stable: of equals, those that came first.
        all.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.transactions()));
        all
    }

    /// Transactions of keys for which there was no room.
    pub(super) const fn beyond(&self) -> u64 {
        self.beyond
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let sums: usize = self.rows.iter().map(|row| row.sum.size() - size_of::<Sum>()).sum();
        let Rows { rows, indices, .. } = &self.rows;
        let keys = rows.len() * (MAX_HOST + 2 * MAX_METHOD + 1024);
        rows.capacity() * size_of::<Row<K>>()
            + self.touched.capacity() * size_of::<usize>()
            + indices.allocation_size()
            + sums
            + keys
    }
}
