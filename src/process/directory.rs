//! What the helper has found, as the workers read it: who listens where, and the answers to their questions.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::message::{Answer, Answered, answers};
use super::{Connects, Outcome, Process};
use crate::stream::Endpoint;

/// The most listeners that are known.
const MAX_LISTENERS: usize = 65_536;
/// The most processes that are known by their number.
const MAX_NAMED: usize = 4096;
/// The most answers that wait for one worker. It takes them with each slot.
const MAX_ANSWERS: usize = 65_536;

/// An answer for a worker: the number of the connection, and what is known of its two sides.
pub(super) type ForWorker = (u64, [Answered; 2]);

/// What has been found.
#[derive(Debug)]
pub struct Directory {
    listeners: RwLock<HashMap<Endpoint, Arc<Process>>>,
    /// Processes by the number that somebody asked for.
    named: RwLock<HashMap<u32, Arc<Process>>>,
    answers: Vec<Mutex<Vec<ForWorker>>>,
    /// Ends of connections by what became of the question, as in [`Outcome::ALL`].
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// What the kernel tells of processes that connect, where it does.
    connects: Option<Mutex<Connects>>,
    /// Answers that a worker did not take in time.
    dropped: AtomicU64,
}

impl Directory {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            listeners: RwLock::default(),
            named: RwLock::default(),
            answers: (0..workers).map(|_| Mutex::default()).collect(),
            outcomes: Default::default(),
            connects: None,
            dropped: AtomicU64::new(0),
        }
    }

    /// With what the kernel tells of processes that connect.
    #[must_use]
    pub fn with_connects(self, connects: Option<Connects>) -> Self {
        Self { connects: connects.map(Mutex::new), ..self }
    }

    /// Whether the kernel tells who connects, which needs no helper.
    #[must_use]
    pub const fn sees_connects(&self) -> bool {
        self.connects.is_some()
    }

    /// Takes what the kernel has told: often, since there is room for some thousands.
    pub fn drain(&self) {
        if let Some(connects) = &self.connects {
            connects.lock().unwrap_or_else(PoisonError::into_inner).drain();
        }
    }

    /// The process that opened the connection between these, if the kernel told it, and the side that it is.
    pub(super) fn connected(&self, endpoints: [Endpoint; 2]) -> Option<(usize, Arc<Process>)> {
        let mut connects = self.connects.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        connects.drain();
        connects.take(endpoints)
    }

    /// How many processes were seen as they connected, and how many were not, since there was no room.
    #[must_use]
    pub fn connects(&self) -> (u64, u64) {
        let connects = self.connects.as_ref();
        connects.map_or((0, 0), |connects| connects.lock().unwrap_or_else(PoisonError::into_inner).counts())
    }

    /// Takes a message of the helper.
    pub fn take(&self, message: &[u8]) {
        for answer in answers(message) {
            match answer {
                Answer::Connection { worker, number, ends } => self.answer(worker, number, ends),
                Answer::NoListeners => self.forget(),
                Answer::Process(number, process) => note(&self.named, MAX_NAMED, number, process),
                Answer::Listener(endpoint, process) => note(&self.listeners, MAX_LISTENERS, endpoint, process),
            }
        }
    }

    fn answer(&self, worker: u16, number: u64, ends: [Answered; 2]) {
        for (outcome, _) in &ends {
            if let Some(count) = self.outcomes.get(*outcome as usize) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        let Some(waiting) = self.answers.get(usize::from(worker)) else { return };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_ANSWERS {
            waiting.push((number, ends));
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets who listens, and who has which number: nobody says any more when that changes.
    pub fn forget(&self) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.named.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The process with this number, if the helper was asked for it and has said it.
    pub(super) fn named(&self, number: u32) -> Option<Arc<Process>> {
        self.named.read().unwrap_or_else(PoisonError::into_inner).get(&number).map(Arc::clone)
    }

    /// Who listens at an endpoint.
    pub(super) fn listener(&self, endpoint: &Endpoint) -> Option<Arc<Process>> {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).get(endpoint).map(Arc::clone)
    }

    /// The answers for a worker since the last call.
    pub(super) fn answers(&self, worker: u16) -> Vec<ForWorker> {
        let waiting = self.answers.get(usize::from(worker));
        waiting.map(|waiting| take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner))).unwrap_or_default()
    }

    /// Number of endpoints at which it is known who listens.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many ends of connections were asked for, by what became of the question.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.into_iter().zip(&self.outcomes).map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }

    /// Answers that came faster than a worker took them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Notes the process of a key, or that there is none, in a table of at most so many.
fn note<K: Eq + Hash>(table: &RwLock<HashMap<K, Arc<Process>>>, most: usize, key: K, process: Option<Arc<Process>>) {
    let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
    match process {
        None => drop(table.remove(&key)),
        Some(process) if table.len() < most || table.contains_key(&key) => drop(table.insert(key, process)),
        Some(_) => {}
    }
}
