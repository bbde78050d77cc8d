//! What is to be done of a slot: its rows are taken up so many at a time, each with its connection.

use super::{Cursor, Driver, Receiver, Work};
use crate::batch::{NONE, Slot};
use crate::prefetch::fetch;
use crate::sandbox::connection::ConnectionState;
use crate::sandbox::protocol::FormatRef;
use crate::stream::Connection;

/// So many rows are taken up at once: what is kept of their connections, some 2 KiB each, stays in the cache until the replies are committed.
const GATHERED: usize = 64;

impl<S: Default> Driver<S> {
    /// Finds or makes the connection of every row.
    pub(super) fn bind(&mut self, slot: &Slot) {
        self.works.clear();
        self.todo.clear();
        self.gathered = 0;
        self.connections.begin_slot();
        if self.sample == 1 {
            self.counters.bytes_in += slot.arena.len() as u64;
        }
        for row in &slot.rows {
            // A slot that was refused before may have rows without events.
            if row.first != NONE && row.connection.number.is_multiple_of(self.sample) {
                let key = self.key(&row.connection);
                let order = slot.events.get(row.first as usize).map_or(0, |event| event.order);
                let cursor = Cursor { event: row.first, order, passed: 0 };
                self.works.push(Work { key, cursor, window: 1, guest_row: NONE });
            }
        }
    }

    /// Takes up the next rows. Those of ignored connections are passed over here. Whether there were any.
    pub(super) fn gather<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R) -> bool {
        let next = self.gathered..self.works.len().min(self.gathered + GATHERED);
        let works = self.works.get(next.clone()).unwrap_or_default();
        let connections = works.iter().map(|work| self.connections.get(work.key));
        let steps: [fn(&ConnectionState<S>) -> u64; 3] =
            [ConnectionState::touch, |known| R::touch(&known.state), |known| R::touch_texts(&known.state)];
        fetch(connections, &steps);
        self.gathered = next.end;
        for at in next.clone() {
            let Some(&Work { key, cursor, .. }) = self.works.get(at) else { continue };
            let (key, window, ignored) = self.connections.innermost(key);
            if let Some(work) = self.works.get_mut(at) {
                (work.key, work.window) = (key, window);
            }
            if ignored {
                let bytes = self.pass_over(slot, key, cursor, receiver);
                self.counters.ignored += bytes;
                // Passed over: a slot that is dropped later must not count it again.
                if let Some(work) = self.works.get_mut(at) {
                    work.cursor.event = NONE;
                }
            } else {
                self.todo.push(u32::try_from(at).unwrap_or(NONE));
            }
        }
        !next.is_empty()
    }

    fn key(&mut self, connection: &Connection) -> u32 {
        if let Some(key) = self.keys.get(&connection.number) {
            return *key;
        }
        let (format, window) = self.modules.first().copied().unwrap_or_default();
        let key = self.connections.insert(ConnectionState::new(connection.clone(), format, window));
        self.keys.insert(connection.number, key);
        key
    }

    /// The state format of the next row that has work left.
    pub(super) fn next_format<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R) -> Option<FormatRef> {
        while self.todo.is_empty() && self.gather(slot, receiver) {}
        let row = *self.todo.first()?;
        let key = self.works.get(row as usize)?.key;
        self.connection(key).map(|c| c.format)
    }

    /// Encodes as many events of connections with this format as fit.
    pub(super) fn encode_rows(&mut self, slot: &Slot, format: FormatRef) {
        let (mut todo, mut later) = (std::mem::take(&mut self.todo), std::mem::take(&mut self.later));
        if let Some(mut encoding) = self.encoding(slot, format) {
            later.clear();
            later.extend(todo.iter().filter(|&&row| encoding.row(row, u32::MAX, None) > 0 || encoding.has_work(row)));
            std::mem::swap(&mut todo, &mut later);
        }
        (self.todo, self.later) = (todo, later);
    }

    /// Drops the rows that have no work left.
    pub(super) fn retire(&mut self) {
        let mut todo = std::mem::take(&mut self.todo);
        todo.retain(|&row| self.has_work(row));
        self.todo = todo;
    }
}
