//! A keeper says for one worker which connections are kept: those of which something is logged.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::verdicts::{Verdict, Verdicts};
use crate::export::log::Logged;
use crate::http::{TlsConnection, Transaction};
use crate::stream::{Connection, EndReason, carrier};
use crate::tls::keys::KeyStore;
use crate::tls::stage::Opening;

/// Of one worker.
pub struct Keeper {
    /// What is logged.
    logged: Logged,
    /// Of each capture thread: where its verdicts go, and those that have not gone yet.
    threads: Vec<(Verdicts, Vec<Verdict>)>,
    /// Whether secrets are kept.
    secrets: bool,
    /// Open connections that are kept, and whose secrets have gone, by the client's random.
    kept: HashMap<u64, Vec<[u8; 32]>, RandomState>,
    /// Connections of which something was logged in the slot at hand.
    touched: Vec<u64>,
    /// Those that have ended in it, and whether by a timeout.
    ended: Vec<(u64, bool)>,
}

impl Keeper {
    /// `verdicts`: those of each capture thread, by its number. `secrets`: secrets of TLS are told too.
    #[must_use]
    pub fn new(logged: Logged, verdicts: &[Verdicts], secrets: bool) -> Self {
        let threads = verdicts.iter().map(|verdicts| (verdicts.clone(), Vec::new())).collect();
        Self { logged, threads, secrets, kept: HashMap::default(), touched: Vec::new(), ended: Vec::new() }
    }

    /// A transaction has been completed.
    pub fn transaction(&mut self, transaction: &Transaction) {
        if self.logged.takes(transaction) {
            self.keep(transaction.conn);
        }
    }

    /// A TLS connection has ended.
    pub fn tls(&mut self, connection: &TlsConnection) {
        if self.logged.takes_tls(connection) {
            self.keep(connection.closed.connection.number);
        }
    }

    /// A connection has ended, after its last transaction.
    pub fn ended(&mut self, connection: &Connection, reason: EndReason) {
        self.ended.push((carrier(connection.number), reason == EndReason::Timeout));
    }

    fn keep(&mut self, number: u64) {
        let number = carrier(number);
        if !self.kept.contains_key(&number) {
            self.kept.insert(number, Vec::new());
            self.tell(number, Verdict::Keep(number));
        }
        if self.secrets && self.touched.last() != Some(&number) {
            self.touched.push(number);
        }
    }

    fn tell(&mut self, number: u64, verdict: Verdict) {
        let threads = self.threads.len().max(1) as u64;
        // The threads number their connections in turn, from 1.
        let thread = usize::try_from(number.saturating_sub(1) % threads).unwrap_or(0);
        if let Some((_, verdicts)) = self.threads.get_mut(thread) {
            verdicts.push(verdict);
        }
    }

    /// A slot has been parsed: what is known of connections goes to the capture threads.
    pub fn flush<'a>(&mut self, opening: &Opening, keys: impl FnOnce() -> KeysGuard<'a>) {
        let (touched, ended) = (std::mem::take(&mut self.touched), std::mem::take(&mut self.ended));
        if self.secrets && (!touched.is_empty() || !ended.is_empty()) {
            let keys = keys();
            for number in touched.iter().chain(ended.iter().map(|(number, _)| number)) {
                self.tell_secrets(*number, opening, &keys);
            }
        }
        for (number, timeout) in &ended {
            self.kept.remove(number);
            self.tell(*number, Verdict::Ended { number: *number, timeout: *timeout });
        }
        self.threads.iter_mut().for_each(|(to, verdicts)| to.send(verdicts));
        (self.touched, self.ended) = (touched, ended);
        self.touched.clear();
        self.ended.clear();
    }

    /// Tells the secrets with which a connection that is kept was read, each once.
    fn tell_secrets(&mut self, number: u64, opening: &Opening, keys: &KeyStore) {
        let Some(told) = self.kept.get_mut(&number) else { return };
        let mut new = Vec::new();
        opening.secrets(number, keys, &mut |random, lines| {
            if !lines.is_empty() && !told.contains(random) {
                told.push(*random);
                new.push(lines);
            }
        });
        for lines in new {
            self.tell(number, Verdict::Secrets(number, lines));
        }
    }
}

/// The secrets, locked.
type KeysGuard<'a> = std::sync::RwLockReadGuard<'a, KeyStore>;
