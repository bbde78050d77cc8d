//! A part is what one worker has counted since it handed over last. No transaction takes a lock.

use std::sync::Arc;

use foldhash::fast::RandomState;

use super::View;
use super::facts::Facts;
use super::kept::Kept;
use super::sampler::Sampler;
use super::tables::Tables;
use super::timeline::{Recent, SECOND};
use super::tls::Tls;
use crate::export::consumer::Consumer;
use crate::http::{TlsConnection, Transaction};

/// The slowest that are kept.
pub(super) const SLOWEST: usize = 50;
/// Rows that are kept until they are handed over.
const ROWS: usize = 512;
/// Rows of each second and worker, after [the first thousand](super::sampler): of errors and slow ones, and of the others. Live,
/// and of a file, of which only the last are shown.
const RATES: [i64; 2] = [50, 100];
const FILE_RATES: [i64; 2] = [10, 20];

/// What one worker has at hand.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) transactions: u64,
    pub(super) left_out: u64,
    /// Capture time at which the first transaction began, in nanoseconds.
    pub(super) first: i64,
    /// Capture time at which the last was completed, in microseconds.
    pub(super) last: i64,
    pub(super) times: Recent,
    pub(super) tables: Tables,
    /// The generation that took the tables over last.
    pub(super) generation: u64,
    pub(super) slowest: Vec<Kept>,
    /// Only what took longer is slow; none while there is room for any.
    pub(super) threshold: Option<u64>,
    pub(super) rows: Vec<Kept>,
    pub(super) tls: Tls,
    /// Memory for rows.
    pub(super) spare: Vec<Kept>,
    samplers: [Sampler; 2],
    hasher: RandomState,
}

impl Part {
    pub(super) fn new(hasher: RandomState, live: bool) -> Self {
        Self {
            transactions: 0,
            left_out: 0,
            first: i64::MAX,
            last: i64::MIN,
            times: Recent::default(),
            tables: Tables::default(),
            generation: 0,
            slowest: Vec::new(),
            threshold: None,
            rows: Vec::new(),
            tls: Tls::default(),
            spare: Vec::new(),
            samplers: if live { RATES } else { FILE_RATES }.map(Sampler::new),
            hasher,
        }
    }

    /// Whether there is room for a transaction that was completed in this second.
    fn has_room(&self, second: i64) -> bool {
        self.rows.len() < ROWS && self.times.has_room(second)
    }

    /// Adds a transaction for which there is room.
    fn add(&mut self, second: i64, transaction: &Transaction, facts: &Facts) {
        self.times.add(second, facts);
        self.transactions += 1;
        self.first = self.first.min(transaction.time());
        self.last = self.last.max(facts.completed);
        self.tables.add(transaction, facts, &self.hasher);
        let slow = facts.duration.is_some_and(|duration| self.threshold.is_none_or(|threshold| duration > threshold));
        if slow {
            self.slow(transaction, *facts);
        }
        let [notable, others] = &mut self.samplers;
        let sampler = if slow || facts.failed || facts.client_error { notable } else { others };
        if sampler.takes(facts.completed) {
            let kept = Kept::new(transaction, *facts, self.spare.pop());
            self.rows.push(kept);
        } else {
            self.left_out += 1;
        }
    }

    /// Keeps one that may be among the slowest.
    fn slow(&mut self, transaction: &Transaction, facts: Facts) {
        let spare = if self.slowest.len() < SLOWEST { self.spare.pop() } else { take_fastest(&mut self.slowest) };
        self.slowest.push(Kept::new(transaction, facts, spare));
        if self.slowest.len() >= SLOWEST {
            self.threshold = self.slowest.iter().filter_map(|kept| kept.facts.duration).min();
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let kept = self.slowest.iter().chain(&self.rows).chain(&self.spare);
        size_of::<Self>()
            + self.times.size()
            + self.tables.size()
            + self.tls.size()
            + kept.map(Kept::size).sum::<usize>()
    }
}

/// Removes the fastest.
pub(super) fn take_fastest(slowest: &mut Vec<Kept>) -> Option<Kept> {
    let (fastest, _) = slowest.iter().enumerate().min_by_key(|(_, kept)| kept.facts.duration)?;
    Some(slowest.swap_remove(fastest))
}

/// Takes one worker's transactions. While a slot is parsed it owns the part; between slots others may take over what is in it.
pub(super) struct Watcher {
    pub(super) view: Arc<View>,
    pub(super) seat: Arc<super::Seat>,
    pub(super) own: Option<Box<Part>>,
}

impl Consumer for Watcher {
    fn transaction(&mut self, transaction: &Transaction) {
        let Self { view, seat, own } = self;
        let part = own.get_or_insert_with(|| view.take(seat));
        let facts = Facts::of(transaction);
        let second = facts.completed.div_euclid(SECOND);
        if !part.has_room(second) {
            view.absorb(part);
        }
        part.add(second, transaction, &facts);
    }

    fn tls(&mut self, connection: &TlsConnection) {
        let Self { view, seat, own } = self;
        own.get_or_insert_with(|| view.take(seat)).tls.add(connection);
    }

    fn flush(&mut self, _: bool) {
        if let Some(part) = self.own.take() {
            self.seat.put(part);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.flush(false);
        self.view.leave(&self.seat);
    }
}
