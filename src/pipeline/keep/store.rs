//! The store of one capture thread: its packets until it is known whether they are wanted.

use std::collections::VecDeque;

use crossbeam_channel::Sender;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::buffer::{Buffer, HEAD};
use super::chunk::{Chunk, Head, Item, Out};
use super::known::{Known, Owner, Present, State};
use super::verdicts::{Verdict, Verdicts};
use crate::counters::{counters, families};
use crate::source::{Frame, Interface};
use crate::stream::ConnectionId;

/// Memory of a connection: what is known of it, at the lowest load of its table.
const CONNECTION_COST: usize = 320;
/// Tables of more connections shrink when they are a quarter full.
const SMALL: usize = 4096;
/// The ring of packets takes at most the limit divided by this more than the limit, and is moved only after the room for it has changed by
/// half of that.
pub(super) const STEPS: usize = 16;
/// Keys of datagrams have this bit, which no connection's number has.
const DATAGRAM: u64 = 1 << 63;
/// Of what says only that time has passed.
const CLOCK: u64 = 1 << 62;
/// Of packets that are not held at most one in so many nanoseconds is noted.
const NOTED: u64 = 1_000_000_000;
/// Where a connection that is kept is silent for so many nanoseconds, and others are not, the file says that time passes. Less than the
/// silence that the flow table takes for a clock that was set.
const STILL: i64 = 50_000_000_000;
/// So long after a timeout this is still said: the flow table looks for connections to expire in rounds, of 450 s by default.
const AFTER_TIMEOUT: i64 = 1_000_000_000_000;
/// Connections with timeouts for which it is said.
const MOST_TIMEOUTS: usize = 4096;
/// The most datagrams inside one another, and a connection behind them.
const MOST_JOINED: usize = 16;

families! {
    KEPT_CONNECTIONS = Counter "picotap_kept_connections_total" [] "connections whose packets are kept", "Connections whose packets are kept.";
    INCOMPLETE = Counter "picotap_kept_incomplete_connections_total" [] "connections of which not all is kept", "Connections whose packets are kept, of which some are missing in the file.";
    NOT_KEPT = Counter "picotap_not_kept_packets_total" ["reason"] "packets of kept connections not written", "Packets of connections whose packets are kept that are not in the file.";
    KEEP_BUFFER = Gauge "picotap_keep_buffer_bytes" [] "bytes held until packets are wanted", "Memory of packets that are held until it is known whether they are kept.";
}

counters! {
    /// What became of packets.
    pub struct KeepCounters {
        /// Connections that are kept.
        connections => KEPT_CONNECTIONS,
        /// Those of which something is missing.
        incomplete => INCOMPLETE,
        /// Packets of them that were given up before it was known that they are wanted.
        buffer_full => NOT_KEPT["buffer_full"],
        /// Packets for which the writer was too slow.
        queue_full => NOT_KEPT["queue_full"],
        /// Memory of the store.
        held => KEEP_BUFFER,
    }
}

/// Invariant: each packet in the buffer has an owner that is known, whose count includes it.
pub struct Store {
    buffer: Buffer,
    /// Connections and datagrams, by key.
    known: HashMap<u64, Known, RandomState>,
    /// Connections that have ended, and datagrams, without packets in the store: forgotten when no more come.
    leaving: VecDeque<ConnectionId>,
    scattered: VecDeque<u64>,
    /// Connections that are kept and had a timeout, and when they may be forgotten: until then it is told that time passes, so that whoever
    /// reads the file comes to it too.
    timeouts: VecDeque<(u64, i64)>,
    /// The latest time of a packet.
    seen: i64,
    /// Bytes of secrets in `known`.
    secret_bytes: usize,
    limit: usize,
    /// Whether a connection is written only after its end, or when there is no more room: its secrets may come so late.
    patient: bool,
    verdicts: Verdicts,
    out: Out,
    /// Interfaces whose names were told.
    named: usize,
    /// Connections in `known` of which something was written.
    begun: usize,
    /// Time of the newest in the buffer.
    newest: i64,
    /// Time of what was written last, and of what came since.
    written: i64,
    passed: Option<i64>,
    counters: KeepCounters,
}

impl Store {
    /// Holds at most `limit` bytes. `lossless`: the writer is waited for. `secrets`: they are written before what they open.
    #[must_use]
    pub fn new(limit: usize, secrets: bool, verdicts: Verdicts, to: Sender<Chunk>, lossless: bool) -> Self {
        Self {
            buffer: Buffer::default(),
            known: HashMap::default(),
            leaving: VecDeque::new(),
            scattered: VecDeque::new(),
            timeouts: VecDeque::new(),
            seen: i64::MIN,
            secret_bytes: 0,
            limit,
            patient: secrets,
            verdicts,
            out: Out::new(to, lossless),
            named: 0,
            begun: 0,
            newest: 0,
            written: 0,
            passed: None,
            counters: KeepCounters::default(),
        }
    }

    /// What became of packets so far.
    pub fn counters(&self) -> KeepCounters {
        KeepCounters { held: self.used() as u64, ..self.counters }
    }

    /// Tells the names of interfaces of files, of which there may be more than before. To be called before packets of theirs come.
    pub fn name(&mut self, interfaces: &[Interface]) {
        for (number, interface) in (0..).zip(interfaces).skip(self.named) {
            if let Some(name) = &interface.name {
                self.out.item(Item::Interface(number, name.clone()));
            }
        }
        self.named = interfaces.len();
    }

    /// Takes a frame. `datagrams`: those that it belongs to as a fragment, and that are whole or wait with it.
    pub fn frame(&mut self, frame: &Frame<'_>, owner: Owner, datagrams: &[u64]) {
        let key = match owner {
            Owner::Connection(id, before) => {
                let is_new = !self.known.contains_key(&id.number);
                self.known.entry(id.number).or_insert_with(|| Known::new(id.handle));
                if let Some(before) = before.filter(|_| is_new) {
                    self.follow(id.number, before);
                }
                Some(id.number)
            }
            Owner::Datagram(serial) => {
                self.known.entry(serial | DATAGRAM).or_insert_with(|| Known::new(0));
                Some(serial | DATAGRAM)
            }
            Owner::Nobody => None,
        };
        for datagram in datagrams.iter().map(|serial| serial | DATAGRAM).filter(|datagram| Some(*datagram) != key) {
            self.join(datagram, key);
        }
        let (Some(key), Ok(len)) = (key, u32::try_from(frame.data.len())) else { return self.pass(frame.time) };
        let Frame { time, link, interface, original_len, .. } = *frame;
        let head = Head { time, link, interface, original_len, len };
        self.seen = self.seen.max(time);
        let state = self.known.get(&key).map_or(State::Unwanted, |known| known.state);
        if state == State::Unwanted {
            return self.pass(time);
        }
        let needed = HEAD + frame.data.len();
        let direct = self.buffer.is_empty() && self.is_decided(key) && self.out.is_ready();
        while !direct && self.used() + needed > self.limit && self.give_up_oldest() {}
        if direct || self.used() + needed > self.limit {
            self.leave_store(key, head, frame.data);
            self.retire(key);
            return;
        }
        self.put(key, head, frame.data);
        if let Some(known) = self.known.get_mut(&key) {
            known.packets += 1;
        }
    }

    /// Time has passed without a packet that is held: what is written says so, where it matters. A capture is silent for as long as no
    /// connection of it says anything, and then the flow table's clock stands still.
    pub fn pass(&mut self, time: i64) {
        self.seen = self.seen.max(time);
        if self.buffer.is_empty() {
            self.elapse(time);
        } else if time.abs_diff(self.newest) >= NOTED && self.used() + HEAD <= self.limit {
            self.put(CLOCK, Head { time, link: 0, interface: 0, original_len: 0, len: 0 }, &[]);
        }
    }

    /// Nothing is written of this time.
    fn elapse(&mut self, time: i64) {
        self.tell_time(time);
        self.passed = Some(time);
    }

    /// Says, before something of this time, when others came since the last packet, if that is long ago.
    fn tell_time(&mut self, time: i64) {
        if self.begun > 0
            && time.saturating_sub(self.written) > STILL
            && let Some(passed) = self.passed.take_if(|passed| *passed > self.written)
        {
            self.out.item(Item::Time(passed));
            self.written = passed;
        }
    }

    fn put(&mut self, key: u64, head: Head, data: &[u8]) {
        self.buffer.put(key, head, data, self.room(), self.limit / STEPS);
        self.newest = head.time;
    }

    /// A connection begins with a packet that ends another, which needs that as well.
    fn follow(&mut self, number: u64, before: u64) {
        let Some(ended) = self.known.get_mut(&before) else { return };
        ended.packets += 1;
        if let Some(known) = self.known.get_mut(&number) {
            known.before = Some(before);
        }
    }

    /// The first packet of a connection leaves: whether the connection before, which it ended, wants it.
    fn ends_wanted(&mut self, key: u64) -> bool {
        let Some(before) = self.known.get_mut(&key).and_then(|known| known.before.take()) else { return false };
        let Some(ended) = self.known.get_mut(&before) else { return false };
        ended.packets = ended.packets.saturating_sub(1);
        let wanted = ended.state == State::Wanted;
        self.retire(before);
        wanted
    }

    /// A datagram belongs to this owner, or to none.
    fn join(&mut self, datagram: u64, to: Option<u64>) {
        let Some(known) = self.known.get_mut(&datagram) else { return };
        let (packets, given_up) = (known.packets, std::mem::take(&mut known.given_up));
        known.state = to.map_or(State::Unwanted, State::Same);
        if packets == 0 {
            self.known.remove(&datagram);
        }
        if let Some(owner) = to.and_then(|to| self.known.get_mut(&to)) {
            owner.packets += packets;
            owner.given_up += given_up;
            if owner.state == State::Wanted {
                count_given_up(owner, &mut self.counters);
            }
        }
    }

    /// Takes what the workers say, writes what is decided, and forgets who has gone.
    pub fn settle(&mut self, present: &impl Present) {
        for verdict in self.verdicts.take() {
            self.apply(verdict);
        }
        while let Some((key, _)) = self.buffer.oldest() {
            self.look(key, present);
            if !self.is_decided(key) || !self.out.is_ready() || !self.give_up_oldest() {
                break;
            }
        }
        while let Some(id) = self.leaving.front().copied().filter(|id| !present.has(*id)) {
            self.leaving.pop_front();
            self.forget_or_wait(id.number);
        }
        while let Some(key) = self.scattered.front().copied().filter(|key| !present.waits(key & !DATAGRAM)) {
            self.scattered.pop_front();
            self.forget_or_wait(key);
        }
        while let Some((key, _)) = self.timeouts.front().copied().filter(|(_, until)| *until <= self.seen) {
            self.timeouts.pop_front();
            self.forget_or_wait(key);
        }
        if self.known.capacity() > SMALL && self.known.len() < self.known.capacity() / 4 {
            self.known.shrink_to(self.known.len() * 2);
        }
        self.buffer.fit(self.room(), self.limit / STEPS);
    }

    /// Hands on what is to be written.
    pub fn hand_on(&mut self) {
        self.out.send();
    }

    /// The input has ended, and the workers too: all is decided.
    pub fn end(&mut self) {
        self.out.lossless = true;
        for verdict in self.verdicts.take() {
            self.apply(verdict);
        }
        for known in self.known.values_mut().filter(|known| known.state == State::Undecided) {
            known.state = State::Unwanted;
        }
        while self.give_up_oldest() {}
        self.known.clear();
        (self.begun, self.secret_bytes) = (0, 0);
        self.out.send();
    }

    fn apply(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Keep(number) => {
                let Some(known) = self.known.get_mut(&number).filter(|known| known.state != State::Wanted) else {
                    return;
                };
                known.state = State::Wanted;
                self.counters.connections += 1;
                count_given_up(known, &mut self.counters);
            }
            Verdict::Secrets(number, lines) => match self.known.get_mut(&number) {
                Some(known) if known.begun && self.out.is_ready() => self.out.item(Item::Secrets(lines)),
                Some(known) => {
                    self.secret_bytes += lines.len();
                    known.secrets.push(lines);
                }
                None => {}
            },
            Verdict::Ended { number, timeout } => {
                let Some(known) = self.known.get_mut(&number) else { return };
                known.ended = true;
                known.timeout = timeout && known.state == State::Wanted;
                if known.state == State::Undecided {
                    known.state = State::Unwanted;
                }
                self.retire(number);
            }
        }
    }

    /// The owner that a key stands for.
    fn root(&self, key: u64) -> u64 {
        let mut key = key;
        for _ in 0..MOST_JOINED {
            match self.known.get(&key).map(|known| known.state) {
                Some(State::Same(other)) => key = other,
                _ => break,
            }
        }
        key
    }

    /// A datagram that is not waited for any more, and has not become whole, belongs to nobody.
    fn look(&mut self, key: u64, present: &impl Present) {
        let root = self.root(key);
        if root & DATAGRAM != 0
            && !present.waits(root & !DATAGRAM)
            && let Some(known) = self.known.get_mut(&root)
        {
            known.state = State::Unwanted;
        }
    }

    /// Whether it is known what becomes of an owner's packets, and nothing has to be waited for.
    fn is_decided(&self, key: u64) -> bool {
        self.known.get(&self.root(key)).is_none_or(|known| {
            // Of the connection before only what it wants itself matters, and nothing of the one before that.
            let before = known.before.filter(|_| known.state == State::Unwanted);
            let before = before.and_then(|before| self.known.get(&before));
            known.is_decided(self.patient) && before.is_none_or(|before| before.is_decided(self.patient))
        })
    }

    /// Takes the oldest packet out of the store, to be written if it is wanted. False if there is none.
    fn give_up_oldest(&mut self) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let key = buffer.take_oldest(|key, head, data| {
            self.leave_store(key, head, data);
            key
        });
        self.buffer = buffer;
        let Some(key) = key else { return false };
        let mut next = Some(key);
        for _ in 0..MOST_JOINED {
            let Some(key) = next else { break };
            let Some(known) = self.known.get_mut(&key) else { break };
            known.packets = known.packets.saturating_sub(1);
            next = if let State::Same(other) = known.state { Some(other) } else { None };
            self.retire(key);
        }
        true
    }

    /// Writes a packet if it is wanted, and counts it if it could not be kept.
    fn leave_store(&mut self, key: u64, head: Head, data: &[u8]) {
        let root = self.root(key);
        let ends_wanted = self.ends_wanted(root);
        let is_wanted = self.known.get(&root).is_some_and(|known| known.state == State::Wanted);
        if is_wanted || ends_wanted {
            self.tell_time(head.time);
        } else {
            self.elapse(head.time);
        }
        let Some(known) = self.known.get_mut(&root) else { return };
        match known.state {
            State::Wanted if self.out.is_ready() => {
                (self.written, self.passed) = (head.time, None);
                self.begun += usize::from(!std::mem::replace(&mut known.begun, true));
                for lines in known.secrets.drain(..) {
                    self.secret_bytes -= lines.len();
                    self.out.item(Item::Secrets(lines));
                }
                self.out.packet(head, data);
            }
            State::Wanted => {
                self.counters.queue_full += 1;
                mark_incomplete(known, &mut self.counters);
            }
            _ if ends_wanted && self.out.is_ready() => {
                (self.written, self.passed) = (head.time, None);
                self.out.packet(head, data);
            }
            State::Undecided => known.given_up += 1,
            State::Unwanted | State::Same(_) => {}
        }
    }

    /// Lets an owner go if nothing of it is in the store and it has ended.
    fn retire(&mut self, key: u64) {
        let Some(known) = self.known.get_mut(&key).filter(|known| known.packets == 0 && !known.leaving) else { return };
        let datagram = key & DATAGRAM != 0;
        match known.state {
            State::Same(_) => self.forget(key),
            State::Unwanted if datagram => self.forget(key),
            _ if datagram => {
                known.leaving = true;
                self.scattered.push_back(key);
            }
            _ if known.timeout && self.timeouts.len() < MOST_TIMEOUTS => {
                known.leaving = true;
                // Once.
                known.timeout = false;
                self.timeouts.push_back((key, self.seen.saturating_add(AFTER_TIMEOUT)));
            }
            _ if known.ended => {
                known.leaving = true;
                self.leaving.push_back(ConnectionId { number: key, handle: known.handle });
            }
            _ => {}
        }
    }

    /// Nothing more comes of an owner: it is forgotten, now or with its last packet.
    fn forget_or_wait(&mut self, key: u64) {
        match self.known.get_mut(&key) {
            Some(known) if known.packets > 0 => known.leaving = false,
            _ => self.forget(key),
        }
    }

    fn forget(&mut self, key: u64) {
        if let Some(known) = self.known.remove(&key) {
            self.begun -= usize::from(known.begun);
            self.secret_bytes -= known.secrets.iter().map(|lines| lines.len()).sum::<usize>();
        }
    }

    /// Memory that it takes.
    fn used(&self) -> usize {
        self.buffer.len() + self.known.len() * CONNECTION_COST + self.secret_bytes
    }

    /// Memory that there is for packets.
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.known.len() * CONNECTION_COST + self.secret_bytes)
    }
}

/// A connection is wanted: what was given up of it is missing.
const fn count_given_up(known: &mut Known, counters: &mut KeepCounters) {
    if known.given_up > 0 {
        counters.buffer_full += known.given_up;
        known.given_up = 0;
        mark_incomplete(known, counters);
    }
}

/// Something is missing of a connection that is wanted.
const fn mark_incomplete(known: &mut Known, counters: &mut KeepCounters) {
    if !known.incomplete {
        known.incomplete = true;
        counters.incomplete += 1;
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
