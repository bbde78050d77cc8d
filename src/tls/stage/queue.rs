//! What waits of a connection: its events in the order in which they came, ends included.

use std::collections::VecDeque;

use crate::batch::{SlotEvent, What};
use crate::stream::Connection;

/// The most memory of a connection's queue, with what an event takes beside its payload.
pub(super) const MAX_QUEUE: usize = 64 * 1024;

/// Events of a connection that cannot be taken yet.
#[derive(Debug)]
pub(super) struct Queue {
    events: VecDeque<(SlotEvent, Vec<u8>)>,
    /// Payload of all events.
    bytes: usize,
    /// Its place among the queues: those that wait longer have a lower one.
    pub(super) serial: u64,
    /// Since when it waits, by the worker's clock.
    pub(super) since: i64,
    /// Whose events these are: the flow table may have forgotten it by the time they are taken.
    pub(super) connection: Connection,
}

impl Queue {
    /// An empty one.
    pub(super) const fn new(connection: Connection, serial: u64, since: i64) -> Self {
        Self { events: VecDeque::new(), bytes: 0, serial, since, connection }
    }

    /// Adds an event to its end, of whose payload so many bytes were taken.
    pub(super) fn push(&mut self, event: &SlotEvent, payload: &[u8], taken: usize) {
        let rest = payload.get(taken..).unwrap_or_default();
        self.bytes += rest.len();
        self.events.push_back((behind(event, taken, rest), rest.to_vec()));
    }

    /// The next event.
    pub(super) fn pop(&mut self) -> Option<(SlotEvent, Vec<u8>)> {
        let (event, payload) = self.events.pop_front()?;
        self.bytes -= payload.len();
        Some((event, payload))
    }

    /// Puts an event back, of whose payload so many bytes were taken.
    pub(super) fn put_back(&mut self, event: &SlotEvent, mut payload: Vec<u8>, taken: usize) {
        payload.drain(..taken.min(payload.len()));
        self.bytes += payload.len();
        self.events.push_front((behind(event, taken, &payload), payload));
    }

    /// Payload that waits.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that it takes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.events.len() * size_of::<(SlotEvent, Vec<u8>)>() + self.bytes
    }
}

/// What is left of an event, of whose payload so many bytes were taken.
fn behind(event: &SlotEvent, taken: usize, rest: &[u8]) -> SlotEvent {
    let mut event = *event;
    event.at.offset += taken as u64;
    if let What::Bytes { starts_segment, len, .. } = &mut event.what {
        *starts_segment &= taken == 0;
        *len = u32::try_from(rest.len()).unwrap_or(*len);
    }
    event
}
