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
    /// Bytes of it were seen, so that its handshake is over, and whoever connected was looked up.
    connected: bool,
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

    /// A slot begins, with connections that have just begun and those that it has bytes of: takes the answers that have come, and
    /// asks for those that are new.
    pub fn begin_slot<'c>(
        &mut self,
        begun: impl Iterator<Item = &'c Connection>,
        connections: impl Iterator<Item = &'c Connection>,
    ) {
        self.slots += 1;
        for (number, ends) in self.directory.answers(self.worker) {
            // One that has ended was forgotten.
            if let Some(known) = self.known.get_mut(&number) {
                known.nobody = [&ends[0], &ends[1]].map(|(outcome, _)| *outcome == Outcome::NoSocket);
                for (known, (_, process)) in known.ends.iter_mut().zip(ends) {
                    // What the kernel said when it connected still holds.
                    *known = process.or_else(|| known.take());
                }
            }
        }
        let mut message = Vec::new();
        for connection in begun {
            self.see(connection, &mut message);
        }
        let directory = Arc::clone(&self.directory);
        for connection in connections {
            let known = self.see(connection, &mut message);
            if std::mem::replace(&mut known.connected, true) {
                continue;
            }
            if let Some((side, process)) = directory.connected(connection.endpoints)
                && let Some(end) = known.ends.get_mut(side)
            {
                end.get_or_insert(process);
            }
        }
        self.send(&mut message);
    }

    /// What is known of a connection, which is asked for if it is new.
    fn see(&mut self, connection: &Connection, message: &mut Vec<u8>) -> &mut Known {
        let number = carrier(connection.number);
        if !self.known.contains_key(&number) {
            self.make_room();
            write_question(&Question { worker: self.worker, number, endpoints: connection.endpoints }, message);
            if message.len() >= MESSAGE {
                self.send(message);
            }
        }
        let known = self.known.entry(number).or_default();
        known.seen = self.slots;
        known
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::Process;
    use super::super::message::{Answer, Answered, questions, write_answer};
    use super::*;
    use crate::stream::OpenConnection;

    type Asked = Arc<Mutex<Vec<Question>>>;

    /// Those of worker 1 of two, what is known, and what was asked while there was room.
    fn speakers(room: bool) -> (Speakers, Arc<Directory>, Asked) {
        let directory = Arc::new(Directory::new(2));
        let asked = Asked::default();
        let questions_asked = Arc::clone(&asked);
        let ask = Box::new(move |message: &[u8]| {
            questions_asked.lock().expect("no panic").extend(questions(message));
            room
        });
        (Speakers::new(1, Arc::clone(&directory), ask), directory, asked)
    }

    fn process(command: &str) -> Arc<Process> {
        Arc::new(Process { pid: Some(7), command: command.as_bytes().into(), container: None, pod: None })
    }

    fn tell(directory: &Directory, answers: &[Answer]) {
        let mut message = Vec::new();
        answers.iter().for_each(|answer| write_answer(answer, &mut message));
        directory.take(&message);
    }

    fn answer(number: u64, ends: [Answered; 2]) -> Answer {
        Answer::Connection { worker: 1, number, ends }
    }

    fn found(command: &str) -> Answered {
        (Outcome::Found, Some(process(command)))
    }

    fn commands(both: &Both) -> [Option<&str>; 2] {
        let [client, server] = both;
        [client, server].map(|end| end.as_ref().map(|end| std::str::from_utf8(&end.command).expect("a text")))
    }

    #[test]
    fn a_connection_is_asked_for_once_and_its_answer_is_by_side() {
        let (mut speakers, directory, asked) = speakers(true);
        let connection = OpenConnection::synthetic(9).info;
        let [_, server] = connection.endpoints;
        speakers.begin_slot([&connection].into_iter(), [&connection].into_iter());
        speakers.begin_slot([].into_iter(), [&connection].into_iter());
        let only = Question { worker: 1, number: 9, endpoints: connection.endpoints };
        assert_eq!(*asked.lock().expect("no panic"), [only]);
        assert_eq!((speakers.counters.asked, speakers.counters.refused), (1, 0));
        assert_eq!(commands(&speakers.of(9, 0, &server)), [None, None]);
        tell(&directory, &[answer(9, [found("curl"), found("nginx")])]);
        speakers.begin_slot([].into_iter(), [].into_iter());
        assert_eq!(commands(&speakers.of(9, 0, &server)), [Some("curl"), Some("nginx")]);
        // The client may be the second side; what is inside of a tunnel has the ends of the connection around it.
        assert_eq!(commands(&speakers.of(connection.inner().number, 1, &server)), [Some("nginx"), Some("curl")]);
        speakers.forget(9);
        assert!(speakers.is_empty());
        // An answer for one that has ended.
        tell(&directory, &[answer(9, [found("curl"), found("nginx")])]);
        speakers.begin_slot([].into_iter(), [].into_iter());
        assert_eq!((speakers.len(), commands(&speakers.of(9, 0, &server))), (0, [None, None]));
    }

    #[test]
    fn who_listens_is_known_at_once_but_not_where_nobody_holds_the_connection() {
        let (mut speakers, directory, _) = speakers(true);
        let connection = OpenConnection::synthetic(9).info;
        let [_, server] = connection.endpoints;
        tell(&directory, &[Answer::Listener(server, Some(process("nginx")))]);
        assert_eq!(commands(&speakers.of(9, 0, &server)), [None, Some("nginx")]);
        speakers.begin_slot([].into_iter(), [&connection].into_iter());
        tell(&directory, &[answer(9, [found("curl"), (Outcome::NoSocket, None)])]);
        speakers.begin_slot([].into_iter(), [].into_iter());
        assert_eq!(commands(&speakers.of(9, 0, &server)), [Some("curl"), None], "its addresses are translated");
        tell(&directory, &[Answer::NoListeners]);
        assert_eq!((commands(&speakers.of(8, 0, &server)), directory.listeners()), ([None, None], 0));
    }

    #[test]
    fn what_is_known_is_bounded_and_what_finds_no_room_is_counted() {
        let (mut speakers, _, _) = speakers(false);
        for slot in 0..20 {
            let all: Vec<_> = (0..8192).map(|at| OpenConnection::synthetic(slot * 8192 + at + 1).info).collect();
            speakers.begin_slot([].into_iter(), all.iter());
            assert!(speakers.len() <= MAX_KNOWN);
        }
        assert_eq!((speakers.counters.asked, speakers.counters.refused), (0, 20 * 8192));
    }
}
