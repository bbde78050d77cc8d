//! The key store: secrets of many connections, found by the name of the connection: the client's random, or the hash of its
//! hellos, whichever the source of the secrets has.
//!
//! It is bounded. When it is full, the secrets of the connection that came first are given up, and that they were is known for
//! a while. Those that probes saw, of all connections of the machine, are erased when no connection that is captured has asked for
//! them in [`PROBED_FOR`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::keylog::LineCounters;
use super::probed::ProbeCounters;
use super::secrets::Secret;
use crate::counters::{counters, families};

/// Default of the most memory for secrets, in bytes.
pub const DEFAULT_LIMIT: usize = 64 << 20;
/// The most different secrets for one random and label: an attacker may send a random that another connection has.
pub const MAX_SECRETS: usize = 4;
/// So many randoms whose secrets were given up are remembered, with 32 bytes each.
const MAX_EVICTED: usize = 65_536;
/// Memory of an entry, and of each secret in it: sizes of their fields, at the load of the tables and with the allocator's
/// overhead.
const ENTRY_COST: usize = 248;
const SECRET_COST: usize = 64;
/// Memory of what is noted of those who derived them.
const CALLERS_COST: usize = 64;
/// So many processes that derived the secrets of a connection are noted: its ends, and one more, which says that something is wrong.
const MAX_CALLERS: usize = 3;
/// So long, in nanoseconds, secrets that probes saw wait for a connection that is captured.
pub const PROBED_FOR: i64 = 10_000_000_000;

/// The most secrets that are remembered until [`KeyStore::take_used`].
const MAX_USED: usize = 65_536;

/// A secret that a captured connection asked for, with its client's random.
pub type Used = ([u8; 32], Label, Secret);

/// What a secret is for, as key logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Label {
    /// `CLIENT_RANDOM`: the master secret of TLS 1.2.
    Master,
    /// `CLIENT_EARLY_TRAFFIC_SECRET`.
    ClientEarly,
    /// `CLIENT_HANDSHAKE_TRAFFIC_SECRET`.
    ClientHandshake,
    /// `SERVER_HANDSHAKE_TRAFFIC_SECRET`.
    ServerHandshake,
    /// `CLIENT_TRAFFIC_SECRET_0`.
    ClientTraffic,
    /// `SERVER_TRAFFIC_SECRET_0`.
    ServerTraffic,
}

impl Label {
    pub(super) const ALL: [Self; 6] = [
        Self::Master,
        Self::ClientEarly,
        Self::ClientHandshake,
        Self::ServerHandshake,
        Self::ClientTraffic,
        Self::ServerTraffic,
    ];

    /// The name in key logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "CLIENT_RANDOM",
            Self::ClientEarly => "CLIENT_EARLY_TRAFFIC_SECRET",
            Self::ClientHandshake => "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            Self::ServerHandshake => "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            Self::ClientTraffic => "CLIENT_TRAFFIC_SECRET_0",
            Self::ServerTraffic => "SERVER_TRAFFIC_SECRET_0",
        }
    }
}

families! {
    SECRETS = Counter "picotap_tls_secrets_total" ["result"] "TLS secrets", "TLS secrets that were read, by what became of them.";
    EVICTED = Counter "picotap_tls_secrets_evicted_total" [] "connections whose TLS secrets were given up", "Connections whose TLS secrets were given up because the store was full.";
    EXPIRED = Counter "picotap_tls_secrets_expired_total" [] "connections that are not captured, whose TLS secrets were erased", "Connections whose TLS secrets probes saw, and were erased since no captured connection asked for them within 10 s.";
}

counters! {
    /// What the store counts.
    pub struct KeyCounters {
        /// Secrets that were stored.
        stored => SECRETS["stored"],
        /// Secrets that were there already.
        repeated => SECRETS["repeated"],
        /// Secrets that were refused, since the random and label had [`MAX_SECRETS`] others.
        refused => SECRETS["refused"],
        /// Connections whose secrets were given up.
        evicted => EVICTED,
        /// Connections whose secrets nothing asked for in [`PROBED_FOR`].
        expired => EXPIRED,
    }
}

/// Secrets by the name of their connection.
#[derive(Debug)]
pub struct KeyStore {
    /// The hash is keyed: whoever writes the key log, or a client, may choose randoms.
    entries: HashMap<[u8; 32], Entry>,
    /// The names whose secrets stay, oldest first.
    order: VecDeque<[u8; 32]>,
    /// The names whose secrets probes saw, and when the first of them came, oldest first. None is in `order` too.
    probed: VecDeque<(i64, [u8; 32])>,
    /// Time of the probes' clock, in nanoseconds.
    now: i64,
    /// What was given up: the beginning of each random.
    evicted: HashSet<u64>,
    evicted_order: VecDeque<u64>,
    secrets: usize,
    limit: usize,
    counters: KeyCounters,
    /// Of the key logs that were read into it.
    pub(super) lines: LineCounters,
    /// What probes saw.
    probes: ProbeCounters,
    /// Connections have to know the hash of their hellos.
    by_transcript: bool,
    /// Calls of which it was noted who made them, and how many entries have such.
    calls: u64,
    called: usize,
    /// What captured connections asked for, if somebody takes it.
    used: Option<Mutex<Vec<Used>>>,
}

/// The secrets of a connection.
#[derive(Default)]
struct Entry {
    /// One behind the other: of each a byte for its label, one for its length, and its bytes.
    secrets: Zeroizing<Box<[u8]>>,
    /// The labels that captured connections have asked for, as bits. Workers share the store while they ask.
    wanted: AtomicU8,
    /// A key log has one of them too: they stay.
    stays: bool,
    /// The first processes that derived them, and the place of the call among all calls; 0 if there is none.
    callers: Option<Box<[(u32, u64); MAX_CALLERS]>>,
}

impl Entry {
    /// All secrets, each with the number of its label.
    fn all(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &**self.secrets;
        std::iter::from_fn(move || {
            let (&[label, length], behind) = rest.split_first_chunk()?;
            let (secret, behind) = behind.split_at_checked(usize::from(length))?;
            rest = behind;
            Some((label, secret))
        })
    }

    /// The secrets with this label.
    fn secrets(&self, label: Label) -> impl Iterator<Item = &[u8]> {
        self.all().filter(move |(known, _)| *known == label as u8).map(|(_, secret)| secret)
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.all().count()
    }

    fn push(&mut self, label: Label, secret: &Secret) {
        let bytes = secret.bytes();
        // No secret is longer than 48 bytes.
        let length = u8::try_from(bytes.len()).unwrap_or_default();
        // Not more memory than it takes, and none that grows, which would leave a copy behind.
        self.secrets = Zeroizing::new([&**self.secrets, &[label as u8, length], bytes].concat().into_boxed_slice());
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.len())
    }
}

impl Default for KeyStore {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl KeyStore {
    /// An empty store that takes about so many bytes of memory, and 2 MiB to remember what was given up.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            probed: VecDeque::new(),
            now: 0,
            evicted: HashSet::new(),
            evicted_order: VecDeque::new(),
            secrets: 0,
            limit,
            counters: KeyCounters::default(),
            lines: LineCounters::default(),
            probes: ProbeCounters::default(),
            by_transcript: false,
            calls: 0,
            called: 0,
            used: None,
        }
    }

    /// The same, for secrets that are named by the hash of the hellos too: every connection computes it then.
    #[must_use]
    pub const fn by_transcript(mut self) -> Self {
        self.by_transcript = true;
        self
    }

    /// Whether connections have to know the hash of their hellos.
    pub(super) const fn is_by_transcript(&self) -> bool {
        self.by_transcript
    }

    /// Stores a secret. None is ever overwritten.
    pub fn insert(&mut self, random: [u8; 32], label: Label, secret: &Secret) {
        let entry = self.entries.entry(random).or_default();
        if !std::mem::replace(&mut entry.stays, true) {
            self.order.push_back(random);
        }
        self.add(&random, label, secret);
    }

    /// Stores a secret that probes saw, which nobody may ever ask for.
    pub(super) fn insert_probed(&mut self, name: [u8; 32], label: Label, secret: &Secret) {
        let (now, probed) = (self.now, &mut self.probed);
        self.entries.entry(name).or_insert_with(|| {
            probed.push_back((now, name));
            Entry::default()
        });
        self.add(&name, label, secret);
    }

    /// Notes that a process has derived secrets that are stored under this name.
    pub(super) fn note_caller(&mut self, name: &[u8; 32], process: u32) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        self.calls += 1;
        self.called += usize::from(entry.callers.is_none());
        let place = entry.callers.get_or_insert_default().iter_mut().find(|(known, _)| [0, process].contains(known));
        if let Some(place) = place.filter(|(known, _)| *known == 0) {
            *place = (process, self.calls);
        }
    }

    /// Whether it was noted of any secrets who derived them: probes tell.
    pub(super) const fn has_callers(&self) -> bool {
        self.calls > 0
    }

    /// The processes that derived secrets under these names, in the order of their first calls.
    pub(super) fn callers<'n>(&self, names: impl Iterator<Item = &'n [u8; 32]>) -> Vec<u32> {
        let noted = names.filter_map(|name| self.entries.get(name)?.callers.as_deref());
        let mut all: Vec<_> = noted.flatten().copied().filter(|(process, _)| *process > 0).collect();
        all.sort_unstable_by_key(|(_, place)| *place);
        let mut in_order = Vec::new();
        for (process, _) in all {
            if !in_order.contains(&process) {
                in_order.push(process);
            }
        }
        in_order
    }

    fn add(&mut self, name: &[u8; 32], label: Label, secret: &Secret) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.secrets(label).any(|known| known == secret.bytes()) {
            self.counters.repeated += 1;
            return;
        }
        if entry.secrets(label).count() >= MAX_SECRETS {
            self.counters.refused += 1;
            return;
        }
        entry.push(label, secret);
        self.secrets += 1;
        self.counters.stored += 1;
        while self.memory() > self.limit && self.entries.len() > 1 {
            self.evict();
        }
    }

    /// Gives up the secrets of the connection that came first: of those that may belong to nobody, if there are such.
    fn evict(&mut self) {
        let Some(random) = self.oldest_probed().or_else(|| self.order.pop_front()) else { return };
        self.erase(&random);
        self.counters.evicted += 1;
        if self.evicted.insert(beginning(&random)) {
            self.evicted_order.push_back(beginning(&random));
        }
        if self.evicted_order.len() > MAX_EVICTED
            && let Some(oldest) = self.evicted_order.pop_front()
        {
            self.evicted.remove(&oldest);
        }
    }

    /// Takes the name out that came first of those whose secrets are of probes alone.
    fn oldest_probed(&mut self) -> Option<[u8; 32]> {
        loop {
            let (_, name) = self.probed.pop_front()?;
            if self.entries.get(&name).is_some_and(|entry| !entry.stays) {
                return Some(name);
            }
        }
    }

    fn erase(&mut self, name: &[u8; 32]) {
        let Some(entry) = self.entries.remove(name) else { return };
        self.secrets -= entry.len();
        self.called -= usize::from(entry.callers.is_some());
    }

    /// It is this time, in nanoseconds of a clock that does not go back: secrets that probes saw [`PROBED_FOR`] ago and nothing asked for
    /// are erased, the others stay.
    pub fn turn(&mut self, now: i64) {
        self.now = now;
        while let Some((_, name)) = self.probed.pop_front_if(|(since, _)| now.saturating_sub(*since) >= PROBED_FOR) {
            match self.entries.get_mut(&name) {
                Some(entry) if entry.stays => {}
                Some(entry) if entry.wanted.load(Ordering::Relaxed) > 0 => {
                    entry.stays = true;
                    self.order.push_back(name);
                }
                _ => {
                    self.erase(&name);
                    self.counters.expired += 1;
                }
            }
        }
    }

    /// The same as [`Self::get`], for a captured connection whose client has this random: from then on its secrets stay.
    pub(super) fn want(&self, random: &[u8; 32], name: &[u8; 32], label: Label) -> impl Iterator<Item = Secret> {
        let entry = self.entries.get(name).filter(|entry| entry.secrets(label).next().is_some());
        let bit = 1 << label as u8;
        let first = entry.filter(|entry| entry.wanted.fetch_or(bit, Ordering::Relaxed) & bit == 0);
        if let (Some(entry), Some(used)) = (first, &self.used) {
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            let secrets = entry.secrets(label).filter_map(Secret::new).map(|secret| (*random, label, secret));
            let room = MAX_USED.saturating_sub(used.len());
            used.extend(secrets.take(room));
        }
        self.get(name, label)
    }

    /// The same, which remembers what captured connections ask for, for [`Self::take_used`].
    #[must_use]
    pub fn remembering_used(mut self) -> Self {
        self.used = Some(Mutex::default());
        self
    }

    /// What captured connections asked for since: at most 65,536 secrets.
    #[must_use]
    pub fn take_used(&self) -> Vec<Used> {
        let used = self.used.as_ref().map(|used| used.lock().unwrap_or_else(PoisonError::into_inner));
        used.map(|mut used| std::mem::take(&mut *used)).unwrap_or_default()
    }

    /// The secrets of a connection with this label.
    pub fn get(&self, random: &[u8; 32], label: Label) -> impl Iterator<Item = Secret> {
        let entry = self.entries.get(random).into_iter();
        entry.flat_map(move |entry| entry.secrets(label)).filter_map(Secret::new)
    }

    /// Whether there is any secret of a connection.
    #[must_use]
    pub fn has(&self, random: &[u8; 32]) -> bool {
        self.entries.contains_key(random)
    }

    /// Whether secrets of a connection were given up.
    #[must_use]
    pub fn was_evicted(&self, random: &[u8; 32]) -> bool {
        self.evicted.contains(&beginning(random)) && !self.has(random)
    }

    /// Secrets that it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.secrets
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was counted. `stored` grows with every new secret: if it is as before, a look-up gives the same as before, unless
    /// something was given up.
    #[must_use]
    pub const fn counters(&self) -> &KeyCounters {
        &self.counters
    }

    /// The lines of all key logs.
    #[must_use]
    pub const fn lines(&self) -> &LineCounters {
        &self.lines
    }

    /// What probes saw.
    #[must_use]
    pub const fn probes(&self) -> &ProbeCounters {
        &self.probes
    }

    /// See [`Self::probes`].
    pub const fn probes_mut(&mut self) -> &mut ProbeCounters {
        &mut self.probes
    }

    /// Memory of secrets, in bytes, estimated.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.entries.len() * ENTRY_COST + self.secrets * SECRET_COST + self.called * CALLERS_COST
    }
}

/// Randoms differ in their first bytes. One that was made to have another's only changes the reason that is named.
fn beginning(random: &[u8; 32]) -> u64 {
    random.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(number: u8) -> Secret {
        Secret::new(&[number; 48]).unwrap()
    }

    #[test]
    fn several_secrets_of_a_random_are_kept_and_none_is_overwritten() {
        let mut store = KeyStore::default();
        for number in [1, 2, 1, 3, 4, 5, 6] {
            store.insert([0; 32], Label::Master, &secret(number));
        }
        store.insert([0; 32], Label::ClientEarly, &secret(9));
        let found: Vec<_> = store.get(&[0; 32], Label::Master).collect();
        assert_eq!(found, [1, 2, 3, 4].map(secret));
        let wanted = KeyCounters { stored: 5, repeated: 1, refused: 2, ..KeyCounters::default() };
        assert_eq!(*store.counters(), wanted);
        assert_eq!(store.get(&[1; 32], Label::Master).count(), 0);
    }

    #[test]
    fn a_full_store_gives_up_the_oldest() {
        let mut store = KeyStore::new(100 * (ENTRY_COST + SECRET_COST));
        let random = |number: u32| {
            let mut random = [0; 32];
            random[..4].copy_from_slice(&number.to_be_bytes());
            random
        };
        for number in 0..100_000 {
            store.insert(random(number), Label::Master, &secret(1));
            assert!(store.memory() <= 100 * (ENTRY_COST + SECRET_COST));
        }
        assert_eq!(store.counters().evicted, 99_900);
        assert!(store.has(&random(99_900)) && !store.has(&random(99_899)));
        assert!(store.was_evicted(&random(99_899)) && !store.was_evicted(&random(99_900)));
        assert!(!store.was_evicted(&random(1)), "what was given up long ago is forgotten");
        assert_eq!(store.evicted.len(), MAX_EVICTED);
        assert_eq!(store.evicted_order.len(), MAX_EVICTED);
    }

    #[test]
    fn secrets_of_probes_are_erased_unless_they_are_wanted() {
        let mut store = KeyStore::default().remembering_used();
        let names = [[1; 32], [2; 32], [3; 32]];
        store.turn(5);
        for name in names {
            store.insert_probed(name, Label::ClientTraffic, &secret(1));
        }
        store.insert(names[1], Label::Master, &secret(2));
        assert_eq!(store.want(&[9; 32], &names[0], Label::Master).count(), 0);
        for _ in 0..2 {
            assert_eq!(store.want(&[9; 32], &names[2], Label::ClientTraffic).count(), 1);
        }
        assert_eq!(store.take_used(), [([9; 32], Label::ClientTraffic, secret(1))], "once");
        assert!(store.take_used().is_empty());
        store.turn(PROBED_FOR + 4);
        assert_eq!(store.len(), 4);
        store.turn(PROBED_FOR + 5);
        assert_eq!(names.map(|name| store.has(&name)), [false, true, true]);
        assert_eq!((store.len(), store.counters().expired, store.order.len(), store.probed.len()), (3, 1, 2, 0));
        assert!(!store.was_evicted(&names[0]));
    }

    #[test]
    fn a_full_store_gives_up_first_what_may_be_nobodys() {
        let mut store = KeyStore::new(3 * (ENTRY_COST + SECRET_COST));
        store.insert([1; 32], Label::Master, &secret(1));
        for number in 2..100 {
            store.insert_probed([number; 32], Label::Master, &secret(1));
        }
        assert!(store.has(&[1; 32]) && store.has(&[99; 32]) && !store.has(&[96; 32]));
        assert_eq!((store.entries.len(), store.probed.len(), store.counters().evicted), (3, 2, 96));
    }
}
