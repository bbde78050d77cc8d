//! The processes at the ends of a worker's connections: it asks when it first sees a connection, and takes what is known when something is
//! written of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::message::{Question, write_question};
use super::{Both, Directory, Outcome};
use crate::counters::{counters, families};
use crate::stream::{Connection, Endpoint, carrier};

/// The most connections of a worker of which something is known. Beyond it those that were silent longest are forgotten.
const MAX_KNOWN: usize = 65_536;
/// Bytes of questions in a message.
const MESSAGE: usize = 8 << 10;

families! {
    QUESTIONS = Counter "picotap_process_questions_total" ["result"] "connections whose processes were asked for", "Connections whose processes the helper was asked for, or not, since it had no room for questions.";
}

counters! {
    /// What a worker counts of them.
    pub struct ProcessCounters {
        /// Connections that the helper was asked for.
        asked => QUESTIONS["asked"],
        /// The same that found its queue full.
        refused => QUESTIONS["refused"],
    }
}

/// Sends questions to the helper; whether there was room.
pub(crate) type Ask = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// What is known of a connection.
#[derive(Debug, Default)]
struct Known {
    /// The slot in which it was last seen.
    seen: u64,
    /// The processes of its sides.
    ends: Both,
    /// The sides of which it is known that no process of this host holds them under these addresses.
    nobody: [bool; 2],
}

/// The processes of a worker's connections.
pub struct Speakers {
    worker: u16,
    directory: Arc<Directory>,
    ask: Ask,
    known: HashMap<u64, Known>,
    slots: u64,
    /// What it has counted.
    pub counters: ProcessCounters,
}

impl fmt::Debug for Speakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speakers").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Speakers {
    /// Those of the worker with this number.
    #[must_use]
    pub fn new(worker: u16, directory: Arc<Directory>, ask: Ask) -> Self {
        let counters = ProcessCounters::default();
        Self { worker, directory, ask, known: HashMap::new(), slots: 0, counters }
    }

    /// A slot begins, which is about these connections: takes the answers that have come, and asks for those that are new.
    pub fn begin_slot<'c>(&mut self, connections: impl Iterator<Item = &'c Connection>) {
        self.slots += 1;
        for (number, ends) in self.directory.answers(self.worker) {
            // One that has ended was forgotten.
            if let Some(known) = self.known.get_mut(&number) {
                known.nobody = [&ends[0], &ends[1]].map(|(outcome, _)| *outcome == Outcome::NoSocket);
                known.ends = ends.map(|(_, process)| process);
            }
        }
        let mut message = Vec::new();
        for connection in connections {
            let number = carrier(connection.number);
            if let Some(known) = self.known.get_mut(&number) {
                known.seen = self.slots;
                continue;
            }
            self.make_room();
            self.known.insert(number, Known { seen: self.slots, ..Known::default() });
            write_question(&Question { worker: self.worker, number, endpoints: connection.endpoints }, &mut message);
            if message.len() >= MESSAGE {
                self.send(&mut message);
            }
        }
        self.send(&mut message);
    }

    fn send(&mut self, message: &mut Vec<u8>) {
        let questions = message.len() / Question::LENGTH;
        if questions == 0 {
            return;
        }
        let count = if (self.ask)(message) { &mut self.counters.asked } else { &mut self.counters.refused };
        *count += questions as u64;
        message.clear();
    }

    /// Forgets those that were silent longest, at least half of the time that all were seen in.
    fn make_room(&mut self) {
        if self.known.len() < MAX_KNOWN {
            return;
        }
        let oldest = self.known.values().map(|known| known.seen).min().unwrap_or(0);
        let middle = oldest.midpoint(self.slots);
        self.known.retain(|_, known| known.seen > middle);
    }

    /// The processes of client and server of a connection, as far as they are known now. `client`: index of its side. `server`: its
    /// endpoint, at which somebody may be known to listen.
    #[must_use]
    pub fn of(&self, number: u64, client: usize, server: &Endpoint) -> Both {
        let known = self.known.get(&carrier(number));
        let (ends, nobody) = known.map_or_else(Default::default, |known| (known.ends.clone(), known.nobody));
        let [first, second] = ends;
        let (client, server_process, nobody) = match (client, nobody) {
            (0, [_, nobody]) => (first, second, nobody),
            (_, [nobody, _]) => (second, first, nobody),
        };
        let listener = || if nobody { None } else { self.directory.listener(server) };
        [client, server_process.or_else(listener)]
    }

    /// A connection has ended.
    pub fn forget(&mut self, number: u64) {
        self.known.remove(&carrier(number));
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
