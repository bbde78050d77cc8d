//! The stage that opens what is encrypted in a worker's slots: TLS connections come out of it with plaintext, offsets and
//! acknowledgements of their own, all others as they are.
//!
//! A connection is looked at when its first bytes come. If these are a client's hello it is a TLS connection to its end, and what cannot
//! be read of it is dropped and counted: nothing of its ciphertext goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::closed::{self, Closed};
use super::connection::Connection;
use super::keys::KeyStore;
use super::names::NameFilter;
use super::outcome::{Buffers, Context, Dark, Output, Progress, TlsCounters};
use super::record::{ContentType, begins_tls};
use crate::batch::{Rewritten, Slot, SlotEvent, What};
use crate::stream::{self, ConnectionId, EndReason, Position, Secured, Side};

/// Opens the TLS connections of one worker.
#[derive(Default)]
pub struct Opening {
    /// By their number.
    open: HashMap<u64, Box<Open>>,
    counters: TlsCounters,
    buffers: Buffers,
    spare: Slot,
    /// Connections that ended in the last slot: what is behind this stage has still to do with them.
    over: Vec<u64>,
    /// Of all connections, in bytes.
    memory: u64,
    /// The names of servers whose connections are opened. By default all.
    names: Option<Arc<[NameFilter]>>,
    /// What is told of connections that ended in the last slot.
    closed: Vec<Closed>,
    /// Sides of which nothing is read any more since the last slot.
    dark: Vec<(stream::Connection, Side)>,
}

/// A connection that is open.
#[derive(Default)]
struct Open {
    connection: Connection,
    /// Sides that have ended.
    ended: [bool; 2],
    /// A gap before the next bytes of a side is inexact.
    inexact: [bool; 2],
    /// What is told of it with its plaintext.
    secured: Option<Arc<Secured>>,
    /// Of each side: it was said that it is dark.
    told_dark: [bool; 2],
    /// The side whose hello began it.
    began: Option<Side>,
    /// The side that answers a client's hello with something else than TLS: it is left as it is.
    plain: Option<Side>,
    /// Times of the first packet and of the last.
    times: Option<[i64; 2]>,
    /// Offsets at which the sides ended.
    lengths: [u64; 2],
}

impl Open {
    /// Memory, and bytes that wait.
    fn held(&self) -> (u64, u64) {
        (self.connection.memory() as u64, self.connection.kept() as u64)
    }

    /// An event came. The end of a connection that is given up is later than its last packet.
    fn note(&mut self, event: &SlotEvent) {
        let [first, last] = self.times.unwrap_or([event.at.time; 2]);
        let is_packet =
            !matches!(event.what, What::End(reason) if reason != EndReason::Fin && reason != EndReason::Reset);
        self.times = Some([first, if is_packet { event.at.time.max(last) } else { last }]);
        if let What::End(_) = event.what {
            *of(&mut self.ended, event.side) = true;
            *of(&mut self.lengths, event.side) = event.at.offset;
        }
    }

    /// Whether an event is of a side that is not TLS after all: a server that does not speak it may answer a client's hello in its own
    /// protocol, such as HTTP with a status of 400.
    fn is_plain(&mut self, event: &SlotEvent, payload: &[u8]) -> bool {
        let is_record = payload.first().is_none_or(|kind| ContentType::of(*kind).is_some());
        if event.at.offset == 0 && !is_record && self.began == Some(event.side.other()) {
            self.plain = Some(event.side);
        }
        self.plain == Some(event.side)
    }

    /// What is told at the end.
    fn close(&self, connection: stream::Connection, order: u32) -> Closed {
        let client = closed::client(&connection, self.connection.client());
        let [first, second] = self.lengths;
        Closed {
            client,
            times: self.times.unwrap_or_default(),
            bytes: if client == Side::First { [first, second] } else { [second, first] },
            fate: self.connection.fate(),
            info: self.connection.info().clone(),
            order,
            connection,
        }
    }
}

impl Opening {
    /// Opens the connections to servers whose names fit all of these; without any, all connections.
    #[must_use]
    pub fn new(names: &[NameFilter]) -> Self {
        Self { names: (!names.is_empty()).then(|| names.into()), ..Self::default() }
    }

    /// Rewrites a slot. Where secrets are missing the connection is dark from there on: they have to be in the store before its
    /// packets come.
    pub fn open(&mut self, slot: &mut Slot, keys: &KeyStore) {
        self.forget();
        self.closed.clear();
        self.dark.clear();
        if !self.has_work(slot) {
            return;
        }
        let mut spare = std::mem::take(&mut self.spare);
        slot.rewrite(&mut spare, |to, event, payload| self.event(keys, to, event, payload));
        self.spare = spare;
    }

    /// Whether there is anything of TLS in a slot.
    fn has_work(&self, slot: &Slot) -> bool {
        let known = |number: u64| !self.open.is_empty() && self.open.contains_key(&number);
        slot.rows.iter().any(|row| known(row.connection.number)) || slot.events.iter().any(|event| begins(slot, event))
    }

    fn event(&mut self, keys: &KeyStore, to: &mut Rewritten<'_>, event: &SlotEvent, payload: &mut [u8]) {
        let Some(number) = to.connection().map(|connection| connection.number) else { return };
        let open = match self.open.entry(number) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                // A server's hello comes after a client's, or after something else that it cannot be read without.
                let client = payload.get(5).is_none_or(|kind| *kind == 1);
                if event.at.offset > 0 || payload.is_empty() || !client || begins_tls(payload) == Some(false) {
                    return to.keep(payload);
                }
                self.memory += size_of::<Open>() as u64;
                self.counters.started += 1;
                let open = place.insert(Box::new(Open { began: Some(event.side), ..Open::default() }));
                if let Some(names) = &self.names {
                    open.connection.open_only(names);
                }
                open
            }
        };
        open.note(event);
        if open.is_plain(event, payload) {
            to.keep_unacked(payload);
            if open.ended == [true; 2] {
                self.over.push(number);
                self.closed.extend(to.connection().map(|connection| open.close(connection.clone(), event.order)));
            }
            return;
        }
        let before = open.held();
        let (counters, buffers) = (&mut self.counters, &mut self.buffers);
        let mut context = Context { keys, without_keys: Some(Dark::NoKey), counters, buffers };
        let mut output = Into { to, inexact: &mut open.inexact, told: false };
        match event.what {
            What::Bytes { .. } => {
                let progress = open.connection.bytes(&mut context, event.side, event.at, payload, &mut output);
                debug_assert_eq!(progress, Progress::Done, "nothing waits for secrets");
            }
            // Whatever was not captured is a gap before what comes next.
            What::Skipped { .. } => {}
            What::End(_) => {
                let at = open.connection.end(&mut context, event.side, event.at, &mut output);
                let inexact = std::mem::take(of(output.inexact, event.side));
                output.to.event(at, inexact);
            }
        }
        if output.told && open.secured.is_none() {
            open.secured = Some(Arc::new(open.connection.info().secured()));
        }
        if let Some(connection) = to.connection() {
            connection.secured = true;
        }
        let (memory, kept) = open.held();
        self.memory = (self.memory + memory).saturating_sub(before.0);
        self.counters.held = (self.counters.held + kept).saturating_sub(before.1);
        if let Some(connection) = to.connection() {
            for side in [Side::First, Side::Second] {
                if open.connection.dark(side).is_some() && !std::mem::replace(of(&mut open.told_dark, side), true) {
                    self.dark.push((connection.clone(), side));
                }
            }
            if open.ended == [true; 2] {
                self.over.push(number);
                self.closed.push(open.close(connection.clone(), event.order));
            }
        }
    }

    /// What is told of the connections that ended in the last slot.
    pub fn closed(&mut self) -> std::vec::Drain<'_, Closed> {
        self.closed.drain(..)
    }

    /// Sides of which nothing is read any more since the last slot.
    pub fn dark(&mut self) -> std::vec::Drain<'_, (stream::Connection, Side)> {
        self.dark.drain(..)
    }

    /// How a connection of the last slot, or an open one, is encrypted; `None` before its first plaintext.
    #[must_use]
    pub fn secured(&self, id: ConnectionId) -> Option<&Arc<Secured>> {
        self.open.get(&id.number)?.secured.as_ref()
    }

    /// Forgets connections that ended in the slot before.
    fn forget(&mut self) {
        for number in self.over.drain(..) {
            if let Some(open) = self.open.remove(&number) {
                self.memory = self.memory.saturating_sub(open.held().0 + size_of::<Open>() as u64);
            }
        }
    }

    /// What became of the bytes.
    #[must_use]
    pub const fn counters(&self) -> &TlsCounters {
        &self.counters
    }

    /// Memory that the connections take, in bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.memory
    }
}

/// Puts plaintext into a slot.
struct Into<'a, 'slot> {
    to: &'a mut Rewritten<'slot>,
    inexact: &'a mut [bool; 2],
    /// Something was told.
    told: bool,
}

impl Output for Into<'_, '_> {
    fn data(&mut self, side: Side, at: Position, plaintext: &[u8]) {
        self.told = true;
        let inexact = std::mem::take(of(self.inexact, side));
        self.to.bytes(side, at, inexact, plaintext);
    }

    fn gap(&mut self, side: Side, _: Position, _: u64, exact: bool) {
        *of(self.inexact, side) |= !exact;
    }

    // The end of the TCP stream follows; and after a `close_notify` there is nothing before it.
    fn closed(&mut self, _: Side, _: Position) {}
}

const fn of<T>(both: &mut [T; 2], side: Side) -> &mut T {
    let [first, second] = both;
    match side {
        Side::First => first,
        Side::Second => second,
    }
}

/// Whether an event may be the first of a TLS connection.
fn begins(slot: &Slot, event: &SlotEvent) -> bool {
    let What::Bytes { data, .. } = event.what else { return false };
    event.at.offset == 0 && slot.arena.get(data as usize) == Some(&22)
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
        opening.open(&mut slot, &KeyStore::default());
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
            opening.open(&mut Slot::new(), &KeyStore::default());
            assert!(opening.open.is_empty(), "an ended connection is forgotten");
            assert_eq!((opening.memory(), opening.counters().held), (0, 0));
        }
    }
}
