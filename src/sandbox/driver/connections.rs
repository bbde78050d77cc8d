//! The connections that a driver carries, by key: those of the wire, and the streams inside tunnels.

use super::Receiver;
use crate::batch::NONE;
use crate::sandbox::connection::ConnectionState;
use crate::stream::EndReason;

/// Connections by key.
pub(super) struct Connections<S> {
    all: Vec<Option<Box<ConnectionState<S>>>>,
    free: Vec<u32>,
    /// Keys that become free with the next slot: rows of this one may still hold them.
    freed: Vec<u32>,
}

impl<S> Default for Connections<S> {
    fn default() -> Self {
        Self { all: Vec::new(), free: Vec::new(), freed: Vec::new() }
    }
}

impl<S> Connections<S> {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.all.len() - self.free.len() - self.freed.len()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ConnectionState<S>> {
        self.all.iter().flatten().map(|connection| &**connection)
    }

    pub(super) fn get(&self, key: u32) -> Option<&ConnectionState<S>> {
        self.all.get(key as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut ConnectionState<S>> {
        self.all.get_mut(key as usize)?.as_deref_mut()
    }

    /// Takes one up, and gives its key.
    pub(super) fn insert(&mut self, connection: ConnectionState<S>) -> u32 {
        let key = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            u32::try_from(self.all.len() - 1).unwrap_or(NONE)
        });
        if let Some(place) = self.all.get_mut(key as usize) {
            *place = Some(Box::new(connection));
        }
        key
    }

    pub(super) fn remove(&mut self, key: u32) -> Option<Box<ConnectionState<S>>> {
        let connection = self.all.get_mut(key as usize)?.take()?;
        self.freed.push(key);
        Some(connection)
    }

    /// A slot begins: nobody holds the keys of connections that are gone.
    pub(super) fn begin_slot(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// The stream to which a connection's bytes belong now: itself, or what is inside its tunnels. Its key, the window that
    /// its module wants at first, and whether it is ignored.
    pub(super) fn innermost(&self, mut key: u32) -> (u32, u32, bool) {
        while let Some(connection) = self.get(key) {
            let Some(inner) = connection.inner else { return (key, connection.first_window, connection.ignored) };
            key = inner;
        }
        (key, 1, false)
    }

    /// Both sides of a stream have ended: it is closed, and so are the connections around it.
    pub(super) fn close<R: Receiver<State = S>>(
        &mut self,
        key: u32,
        reason: EndReason,
        receiver: &mut R,
        closing: &mut Vec<u32>,
    ) {
        let mut next = Some(key);
        while let Some(key) = next {
            let Some(connection) = self.get_mut(key) else { return };
            if !connection.ignored {
                let lengths = connection.lengths();
                receiver.closed(&connection.info, &mut connection.state, lengths, reason);
            }
            closing.push(key);
            next = connection.outer;
            if next.is_none() {
                receiver.ended(&connection.info, reason);
            }
        }
    }
}
