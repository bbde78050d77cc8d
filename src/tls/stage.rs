//! The stage that opens what is encrypted in a worker's slots: TLS connections come out of it with plaintext, offsets and
//! acknowledgements of their own, all others as they are.
//!
//! A connection is looked at when its first bytes come. If these are a client's hello it is a TLS connection to its end, and what cannot
//! be read of it is dropped and counted: nothing of its ciphertext goes on. The same holds for one whose start was not captured, once
//! it has shown two records in a row.
//!
//! Where secrets are missing that may still come, the connection waits: all that comes of it is put into a queue, until the secrets
//! are there ([`Opening::release`]) or it has waited for too long ([`Patience`]).

mod answered;
mod gathered;
mod open;
mod plaintext;
mod queue;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use zeroize::Zeroizing;

use self::open::{Open, Tools, begins_with_hello};
use self::shared::Shared;
use super::closed::Closed;
use super::keys::KeyStore;
use super::names::NameFilter;
use super::outcome::{Buffers, Dark, TlsCounters};
use super::record::begins_tls;
use crate::batch::{NONE, Rewritten, SLOT_BYTES, SLOT_EVENTS, Slot, SlotEvent, What};
use crate::prefetch::fetch;
use crate::stream::{Connection, Position, Secured, Side, carrier};

/// Nanoseconds for which packets wait for secrets that come late, where they are captured live.
pub const MOST_LATE: i64 = 200_000_000;

/// How long bytes wait for secrets that may still come. Of one connection at most 64 KiB wait, with what they take of memory.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The longest that a connection waits, in nanoseconds; `None`: to the end of the input.
    pub time: Option<i64>,
    /// Memory that all connections which wait may take, in bytes. Beyond it those that have waited longest are given up.
    pub memory: u64,
    /// Why what waited in vain is dark.
    pub reason: Dark,
}

impl Default for Patience {
    /// Nothing waits for long: what waits is given up with the next call.
    fn default() -> Self {
        Self { time: Some(0), memory: 0, reason: Dark::NoKey }
    }
}

/// Opens the TLS connections of one worker.
#[derive(Default)]
pub struct Opening {
    /// By their number, which nobody outside chooses.
    open: HashMap<u64, Box<Open>, RandomState>,
    common: Common,
    spare: Slot,
    all: All,
    /// How many secrets the store had taken when they were last looked up for connections that wait, and the first of those for
    /// which this has still to be done.
    stored: u64,
    next: u64,
    /// What is told of connections that ended in the last slot.
    closed: Vec<Closed>,
    /// Sides of which nothing is read any more since the last slot.
    dark: Vec<(Connection, Side)>,
}

/// What is known of all connections together.
#[derive(Default)]
struct All {
    /// Those that ended in the last slot: what is behind this stage has still to do with them.
    over: Vec<u64>,
    /// Their memory, in bytes.
    memory: u64,
    /// Those that wait, by the order in which they began to.
    waiting: BTreeMap<u64, u64>,
    /// What waits takes so much of the memory.
    queued: u64,
}

impl All {
    /// Takes over what a connection holds now.
    fn settle(&mut self, number: u64, open: &mut Open, common: &mut Common) {
        let after = open.held();
        let before = std::mem::replace(&mut open.counted, after);
        self.memory = (self.memory + after.memory).saturating_sub(before.memory);
        common.counters.held = (common.counters.held + after.bytes).saturating_sub(before.bytes);
        self.queued = (self.queued + after.queued).saturating_sub(before.queued);
        if before.serial != after.serial {
            if let Some(serial) = before.serial {
                self.waiting.remove(&serial);
            }
            if let Some(serial) = after.serial {
                self.waiting.insert(serial, number);
                common.serial = common.serial.max(serial + 1);
            }
        }
        if open.is_over() {
            self.over.push(number);
        }
    }
}

/// What all connections use.
#[derive(Default)]
struct Common {
    counters: TlsCounters,
    buffers: Buffers,
    shared: Shared,
    /// `None`: secrets are there before the packets, or never.
    patience: Option<Patience>,
    /// No secrets are expected: nothing begins to wait.
    expects_none: bool,
    /// Connections are opened whose server's name fits all of these.
    names: Vec<NameFilter>,
    /// The place of the next connection that waits.
    serial: u64,
}

impl Common {
    fn tools<'a>(&'a mut self, keys: &'a KeyStore, now: i64) -> Tools<'a> {
        let Self { counters, buffers, shared, patience, expects_none, names, serial } = self;
        let patience = patience.filter(|_| !*expects_none);
        Tools { keys, counters, buffers, shared, patience, names, now, serial: *serial }
    }
}

impl Opening {
    /// One in which bytes wait for secrets.
    #[must_use]
    pub fn patient(patience: Patience) -> Self {
        Self { common: Common { patience: Some(patience), ..Common::default() }, ..Self::default() }
    }

    /// The same, which opens only the connections to servers whose names fit all of these filters.
    #[must_use]
    pub fn only(mut self, names: Vec<NameFilter>) -> Self {
        self.common.names = names;
        self
    }

    /// Whether secrets may come: if not, nothing begins to wait for them. By default they may.
    pub const fn expect_keys(&mut self, expects: bool) {
        self.common.expects_none = !expects;
    }

    /// Rewrites a slot. Where secrets are missing the connection waits for them, or is dark from there on if it may not.
    /// `now`: by any clock that does not go back, in nanoseconds.
    pub fn open(&mut self, slot: &mut Slot, keys: &KeyStore, now: i64) {
        self.forget();
        if !self.has_work(slot) {
            return;
        }
        let mut spare = std::mem::take(&mut self.spare);
        slot.rewrite(&mut spare, |to, event, payload| self.event(keys, now, to, event, payload));
        self.spare = spare;
    }

    /// Whether there is anything of TLS in a slot.
    fn has_work(&self, slot: &Slot) -> bool {
        if self.open.is_empty() {
            return slot.events.iter().any(|event| begins(slot, event));
        }
        let connections = slot.rows.iter().map(|row| self.open.get(&row.connection.number).map(|open| &**open));
        let known = fetch(connections, &[Open::touch, Open::touch_keys]);
        known > 0 || slot.events.iter().any(|event| begins(slot, event))
    }

    fn event(&mut self, keys: &KeyStore, now: i64, to: &mut Rewritten<'_>, event: &SlotEvent, payload: &mut [u8]) {
        let Some(connection) = to.connection() else { return };
        let (number, midstream) = (connection.number, connection.midstream);
        let open = match self.open.entry(number) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let Some(open) = beginning(event, payload, midstream) else { return to.keep(payload) };
                self.common.counters.started += u64::from(!open.is_suspect());
                self.all.memory += size_of::<Open>() as u64;
                place.insert(Box::new(open))
            }
        };
        let mut tools = self.common.tools(keys, now);
        open.event(&mut tools, to, event, payload);
        if let Some(connection) = to.connection() {
            tell(open, connection, event.order, &mut self.dark, &mut self.closed);
        }
        self.all.settle(number, open, &mut self.common);
    }

    /// Fills a slot, whatever was in it, with what waits no longer: of connections whose secrets are there now, and of those that are given up.
    /// Whether there were any; then there may be more. `last`: nothing is waited for any more.
    pub fn release(&mut self, slot: &mut Slot, keys: &KeyStore, now: i64, last: bool) -> bool {
        if self.all.waiting.is_empty() {
            return false;
        }
        self.forget();
        slot.clear();
        let stored = keys.counters().stored;
        if stored != self.stored {
            (self.stored, self.next) = (stored, 0);
        }
        let mut tried = false;
        while slot.arena.len() < SLOT_BYTES / 2 && slot.events.len() < SLOT_EVENTS / 2 {
            let Some((serial, number, give_up)) = self.next_to_try(keys, now, last) else { break };
            self.next = self.next.max(serial + 1);
            tried = true;
            self.try_again(number, give_up, slot, keys, now);
        }
        tried
    }

    /// Which connection is given up, or tried again, next.
    fn next_to_try(&self, keys: &KeyStore, now: i64, last: bool) -> Option<(u64, u64, bool)> {
        let (serial, number) = self.all.waiting.first_key_value()?;
        let since = self.open.get(number).and_then(|open| open.since())?;
        let patience = self.common.patience?;
        let expired = patience.time.is_some_and(|time| now.saturating_sub(since) >= time);
        if last || expired || self.all.queued > patience.memory {
            // With the secrets that are there, if any are.
            return Some((*serial, *number, true));
        }
        let has_keys = |number: &u64| self.open.get(number).is_some_and(|open| open.may_go_on(keys));
        let mut later = self.all.waiting.range(self.next..);
        later.find(|(_, number)| has_keys(number)).map(|(serial, number)| (*serial, *number, false))
    }

    fn try_again(&mut self, number: u64, give_up: bool, slot: &mut Slot, keys: &KeyStore, now: i64) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let Some(connection) = open.waiting_connection() else { return };
        let row = slot.add_row(connection);
        let mut tools = self.common.tools(keys, now);
        let at = Position { offset: 0, peer_acked: 0, time: 0 };
        let what = What::Skipped { length: 0, lost: 0 };
        let here = SlotEvent { side: Side::First, what, at, inexact: false, next: NONE, order: 0, row };
        open.go_on(&mut tools, &mut slot.adding(&here), give_up);
        if let Some(row) = slot.rows.get(row as usize) {
            tell(open, &row.connection, 0, &mut self.dark, &mut self.closed);
        }
        self.all.settle(number, open, &mut self.common);
    }

    /// A tunnel begins on a connection: inside so many, and at these offsets. Adds to a slot what takes the place of its first
    /// events (with their payload), which the parser was not shown.
    pub fn begin_inner(
        &mut self,
        (connection, depth, base): (&Connection, u8, [u64; 2]),
        events: Vec<(SlotEvent, Vec<u8>)>,
        slot: &mut Slot,
        keys: &KeyStore,
        now: i64,
    ) {
        let number = connection.number;
        let open = self.open.entry(number).or_insert_with(|| {
            self.all.memory += size_of::<Open>() as u64;
            Box::new(Open::carrier())
        });
        let row = slot.add_row(connection.clone());
        open.begin_inner(depth, base);
        for (event, mut payload) in events {
            let mut tools = self.common.tools(keys, now);
            let event = SlotEvent { row, next: NONE, ..event };
            open.inner_event(&mut tools, &mut slot.adding(&event), &event, &mut payload);
            tell(open, connection, event.order, &mut self.dark, &mut self.closed);
        }
        open.leave();
        self.all.settle(number, open, &mut self.common);
    }

    /// What is told of the connections that ended in the last slot.
    pub fn closed(&mut self) -> std::vec::Drain<'_, Closed> {
        self.closed.drain(..)
    }

    /// Sides of which nothing is read any more since the last slot.
    pub fn dark(&mut self) -> std::vec::Drain<'_, (Connection, Side)> {
        self.dark.drain(..)
    }

    /// Whether anything waits for secrets.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.all.waiting.is_empty()
    }

    /// How a connection of the last slot, or an open one, is encrypted, and whether it is so itself, and not only the one that
    /// carries it. `None` before its first plaintext.
    #[must_use]
    pub fn secured(&self, connection: &Connection) -> Option<(&Arc<Secured>, bool)> {
        let depth = connection.depth();
        let (secured, found) = self.open.get(&connection.id().number)?.secured(depth)?;
        Some((secured, found == depth))
    }

    /// Whether a connection of the last slot, or an open one, is read here: what goes on of it, and of what is inside it, is plaintext.
    #[must_use]
    pub fn has_opened(&self, number: u64) -> bool {
        self.open.get(&carrier(number)).is_some_and(|open| open.is_read())
    }

    /// Whether offsets of a connection are those of plaintext, so that its ciphertext is needed whatever is not.
    #[must_use]
    pub fn reads(&self, connection: &Connection) -> bool {
        connection.secured || self.has_opened(connection.number)
    }

    /// Gives the secrets of each TLS connection of which plaintext was read, on or inside of a connection of the last slot or an open one: the
    /// client's random, and lines of a key log.
    pub fn secrets(&self, number: u64, keys: &KeyStore, to: &mut impl FnMut(&[u8; 32], Zeroizing<Vec<u8>>)) {
        if let Some(open) = self.open.get(&carrier(number)) {
            open.secrets(keys, to);
        }
    }

    /// Forgets connections that ended in the slot before, and what was to be told of it.
    fn forget(&mut self) {
        self.closed.clear();
        self.dark.clear();
        for number in self.all.over.drain(..) {
            // One that was over has gone on if a tunnel has begun on it since.
            if let Entry::Occupied(open) = self.open.entry(number)
                && open.get().is_over()
            {
                let open = open.remove();
                self.all.memory = self.all.memory.saturating_sub(open.counted.memory + size_of::<Open>() as u64);
            }
        }
    }

    /// What became of the bytes.
    #[must_use]
    pub const fn counters(&self) -> &TlsCounters {
        &self.common.counters
    }

    /// Memory that the connections take, in bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.all.memory
    }
}

/// What a connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    memory: u64,
    /// Payload without an account.
    bytes: u64,
    /// Memory of what waits for secrets, and its place among those that do.
    queued: u64,
    serial: Option<u64>,
}

/// Adds what is to be told of a connection after an event with this number.
fn tell(
    open: &mut Open,
    connection: &Connection,
    order: u32,
    dark: &mut Vec<(Connection, Side)>,
    closed: &mut Vec<Closed>,
) {
    let sides = open.newly_dark();
    dark.extend(sides.into_iter().flatten().map(|side| (connection.clone(), side)));
    open.close(connection, order, closed);
}

/// A connection that begins with this event, if it is, or may be, one of TLS.
fn beginning(event: &SlotEvent, payload: &[u8], midstream: bool) -> Option<Open> {
    if event.at.offset > 0 || payload.is_empty() {
        return None;
    }
    if begins_with_hello(payload) {
        return Some(Open::begun(event.side));
    }
    if begins_tls(payload) == Some(true) {
        return Some(Open::answered(event.side));
    }
    midstream.then(|| Open::suspected(event, payload)).flatten()
}

/// Whether an event may be the first of a TLS connection.
fn begins(slot: &Slot, event: &SlotEvent) -> bool {
    let What::Bytes { data, .. } = event.what else { return false };
    event.at.offset == 0 && matches!(slot.arena.get(data as usize), Some(22 | 23))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batcher, CollectSlots};
    use crate::stream::{EndReason, OpenConnection, Sink};

    fn at(offset: u64) -> Position {
        Position { offset, peer_acked: 0, time: 5 }
    }

    /// What is left of a connection that says this, its side ending behind it.
    fn left(pieces: &[&[u8]]) -> (Vec<u8>, usize, Opening) {
        let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
        let mut connection = OpenConnection::synthetic(1);
        let mut offset = 0;
        for piece in pieces {
            batcher.bytes(&mut connection, Side::First, at(offset), true, piece);
            offset += piece.len() as u64;
        }
        batcher.end(&mut connection, Side::First, at(offset), EndReason::Fin);
        batcher.end(&mut connection, Side::Second, at(0), EndReason::Fin);
        batcher.flush();
        let mut slot = batcher.deliverer().0.remove(0);
        let mut opening = Opening::default();
        opening.open(&mut slot, &KeyStore::default(), 0);
        assert_eq!(slot.rows[0].connection.secured, opening.counters().accounted() > 0);
        let ends = slot.events.iter().filter(|event| matches!(event.what, What::End(_))).count();
        (slot.arena.clone(), ends, opening)
    }

    #[test]
    fn what_is_no_tls_stays() {
        let (bytes, ends, opening) = left(&[b"GET / HTTP/1.1\r\n\r\n"]);
        assert_eq!((bytes.as_slice(), ends), (&b"GET / HTTP/1.1\r\n\r\n"[..], 2));
        assert_eq!(opening.counters().accounted(), 0);
        // It begins like TLS, and is not.
        let (bytes, _, _) = left(&[b"\x16\x03\x01\x00\x20\x05 and so on"]);
        assert_eq!(bytes.len(), 16);
    }

    #[test]
    fn nothing_of_a_dark_connection_goes_on_but_its_ends() {
        let hello = [&[22, 3, 1, 0, 44, 1, 0, 0, 40, 3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1], &[0; 7]].concat();
        for cut in [1, 4, 6, 49] {
            let (first, second) = hello.split_at(cut);
            let (bytes, ends, opening) = left(&[first, second, &[23, 3, 3, 0, 3, 1, 2, 3]]);
            assert_eq!((bytes.len(), ends), (0, 2));
            assert_eq!(opening.counters().accounted(), hello.len() as u64 + 8);
            let mut opening = opening;
            opening.open(&mut Slot::new(), &KeyStore::default(), 0);
            assert!(opening.open.is_empty(), "an ended connection is forgotten");
            assert_eq!((opening.memory(), opening.counters().held), (0, 0));
        }
    }
}
