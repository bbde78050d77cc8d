//! The processes at the ends of a worker's connections: it asks when it first sees a connection, and takes what is known when something is
//! written of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::message::{Asked, Question, write_question};
use super::{Both, Directory, Outcome, Process};
use crate::counters::{counters, families};
use crate::stream::{Callers, Connection, Endpoint, carrier};

/// The most connections of a worker of which something is known. Beyond it those that were silent longest are forgotten.
const MAX_KNOWN: usize = 65_536;
/// Bytes of questions for connections in a message, and how many for processes it has beside them.
const MESSAGE: usize = 8 << 10;
const MAX_PROCESSES: usize = 1024;

families! {
    QUESTIONS = Counter "picotap_process_questions_total" ["result"] "questions for processes", "Questions for the processes of a connection, or for the process with a number, that the helper was asked, or not, since it had no room for them.";
}

counters! {
    /// What a worker counts of them.
    pub struct ProcessCounters {
        /// Questions that the helper was asked.
        asked => QUESTIONS["asked"],
        /// Those that found no room.
        refused => QUESTIONS["refused"],
    }
}

/// Sends questions to the helper; whether there was room.
pub(crate) type Ask = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// Questions that are gathered: of connections, and of processes by their number.
#[derive(Debug, Default)]
struct Message {
    bytes: Vec<u8>,
    connections: u64,
    processes: Vec<u32>,
}

impl Message {
    fn add(&mut self, question: Question) {
        write_question(&Asked::Connection(question), &mut self.bytes);
        self.connections += 1;
    }
}

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
    /// The processes that derived the secrets of its TLS.
    callers: Callers,
}

/// The processes of a worker's connections.
pub struct Speakers {
    worker: u16,
    directory: Arc<Directory>,
    ask: Ask,
    known: HashMap<u64, Known>,
    slots: u64,
    /// Processes have the numbers here that the kernel tells.
    kernel_numbers: bool,
    /// What it has counted.
    pub counters: ProcessCounters,
}

impl fmt::Debug for Speakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speakers").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Speakers {
    /// Those of the worker with this number. `kernel_numbers`: see [`super::has_kernel_numbers`].
    #[must_use]
    pub fn new(worker: u16, directory: Arc<Directory>, kernel_numbers: bool, ask: Ask) -> Self {
        let counters = ProcessCounters::default();
        Self { worker, directory, ask, known: HashMap::new(), slots: 0, kernel_numbers, counters }
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
        let mut message = Message::default();
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
                // The kernel does not tell its container, which the helper knows as long as the process runs.
                let end = end.get_or_insert(process);
                message
                    .processes
                    .extend(end.pid.filter(|pid| end.container.is_none() && directory.named(*pid).is_none()));
            }
        }
        self.send(&mut message);
    }

    /// What is known of a connection, which is asked for if it is new.
    fn see(&mut self, connection: &Connection, message: &mut Message) -> &mut Known {
        let number = carrier(connection.number);
        if !self.known.contains_key(&number) {
            self.make_room();
            message.add(Question { worker: self.worker, number, endpoints: connection.endpoints });
            if message.bytes.len() >= MESSAGE {
                self.send(message);
            }
        }
        let known = self.known.entry(number).or_default();
        known.seen = self.slots;
        known
    }

    fn send(&mut self, message: &mut Message) {
        let Message { mut bytes, connections, processes } = std::mem::take(message);
        let (asked, left) = processes.split_at(processes.len().min(MAX_PROCESSES));
        asked.iter().for_each(|process| write_question(&Asked::Process(*process), &mut bytes));
        self.counters.refused += left.len() as u64;
        if bytes.is_empty() {
            return;
        }
        let count = if (self.ask)(&bytes) { &mut self.counters.asked } else { &mut self.counters.refused };
        *count += connections + asked.len() as u64;
    }

    /// These processes have derived the secrets of a connection.
    pub fn called(&mut self, number: u64, callers: Callers) {
        let Some(known) = self.known.get_mut(&carrier(number)).filter(|_| self.kernel_numbers) else { return };
        if std::mem::replace(&mut known.callers, callers) == callers {
            return;
        }
        let processes = match callers {
            Callers::Unknown => vec![],
            Callers::One(process) => vec![process],
            Callers::Both { client, server } => vec![client, server],
        };
        let unnamed = processes.into_iter().filter(|process| self.directory.named(*process).is_none());
        let mut message = Message { processes: unnamed.collect(), ..Message::default() };
        self.send(&mut message);
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
        let held = [client, server_process.or_else(listener)].map(|process| process.map(|process| self.whole(process)));
        self.or_callers(held, known.map_or(Callers::Unknown, |known| known.callers))
    }

    /// The same process with its container, if that is known by now.
    fn whole(&self, process: Arc<Process>) -> Arc<Process> {
        let named = process.pid.filter(|_| process.container.is_none()).and_then(|pid| self.directory.named(pid));
        named.filter(|named| named.command == process.command).unwrap_or(process)
    }

    /// The processes that hold the sockets, but for those that derive the secrets of TLS and are other ones: who speaks TLS is at the end
    /// of the connection, and a relay may hold its socket.
    fn or_callers(&self, held: Both, callers: Callers) -> Both {
        let [client, server] = held;
        let is = |held: &Option<Arc<Process>>, caller| held.as_ref().is_some_and(|held| held.pid == Some(caller));
        match callers {
            Callers::Unknown => [client, server],
            Callers::Both { client: client_caller, server: server_caller } => {
                let of = |held: Option<Arc<Process>>, caller| {
                    if is(&held, caller) {
                        return held;
                    }
                    // Until it is named, one of several processes that hold the socket may be it; another that holds it is not.
                    self.directory.named(caller).or_else(|| held.filter(|held| held.pid.is_none()))
                };
                [of(client, client_caller), of(server, server_caller)]
            }
            Callers::One(caller) if is(&client, caller) || is(&server, caller) => [client, server],
            // Which end it is, is not known; but it may be known of which of several processes one is.
            Callers::One(caller) => {
                let named = self.directory.named(caller);
                let one_of = |held: Option<Arc<Process>>| {
                    let same = |named: &Arc<Process>, held: &Process| {
                        held.pid.is_none() && Process { pid: None, ..(**named).clone() } == *held
                    };
                    let it = held.as_ref().and_then(|held| named.clone().filter(|named| same(named, held)));
                    it.or(held)
                };
                [one_of(client), one_of(server)]
            }
        }
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

    type Questions = Arc<Mutex<Vec<Asked>>>;

    /// Those of worker 1 of two, what is known, and what was asked while there was room.
    fn speakers(room: bool) -> (Speakers, Arc<Directory>, Questions) {
        let directory = Arc::new(Directory::new(2));
        let asked = Questions::default();
        let questions_asked = Arc::clone(&asked);
        let ask = Box::new(move |message: &[u8]| {
            questions_asked.lock().expect("no panic").extend(questions(message));
            room
        });
        (Speakers::new(1, Arc::clone(&directory), true, ask), directory, asked)
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
        let only = Asked::Connection(Question { worker: 1, number: 9, endpoints: connection.endpoints });
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

    fn numbered(pid: impl Into<Option<u32>>, command: &str) -> Arc<Process> {
        Arc::new(Process { pid: pid.into(), ..(*process(command)).clone() })
    }

    #[test]
    fn who_derives_the_secrets_is_the_end_whoever_holds_the_socket() {
        let (mut speakers, directory, asked) = speakers(true);
        let connection = OpenConnection::synthetic(9).info;
        let [_, server] = connection.endpoints;
        speakers.begin_slot([].into_iter(), [&connection].into_iter());
        // A relay of another number holds the client's socket, and one of several workers the server's.
        let ends = [(Outcome::Found, Some(numbered(1, "relay"))), (Outcome::Found, Some(numbered(None, "nginx")))];
        tell(&directory, &[answer(9, ends)]);
        speakers.begin_slot([].into_iter(), [&connection].into_iter());
        assert_eq!(commands(&speakers.of(9, 0, &server)), [Some("relay"), Some("nginx")]);
        speakers.called(9, Callers::Both { client: 3, server: 2 });
        speakers.called(9, Callers::Both { client: 3, server: 2 });
        assert_eq!(asked.lock().expect("no panic")[1..], [Asked::Process(3), Asked::Process(2)], "once");
        assert_eq!(commands(&speakers.of(9, 0, &server)), [None, Some("nginx")], "the relay is not the client");
        tell(
            &directory,
            &[Answer::Process(3, Some(numbered(3, "curl"))), Answer::Process(2, Some(numbered(2, "nginx")))],
        );
        let both = speakers.of(9, 0, &server);
        assert_eq!(commands(&both), [Some("curl"), Some("nginx")]);
        assert_eq!(both.map(|end| end.and_then(|end| end.pid)), [Some(3), Some(2)]);
        // The client may be the second side.
        speakers.called(9, Callers::Both { client: 2, server: 3 });
        assert_eq!(commands(&speakers.of(9, 1, &server)), [Some("nginx"), Some("curl")]);
        tell(&directory, &[Answer::Process(3, None)]);
        assert_eq!(commands(&speakers.of(9, 1, &server)), [Some("nginx"), None]);
    }

    #[test]
    fn of_one_caller_no_end_is_guessed() {
        let (mut speakers, directory, _) = speakers(true);
        let connection = OpenConnection::synthetic(9).info;
        let [_, server] = connection.endpoints;
        tell(&directory, &[Answer::Listener(server, Some(numbered(None, "nginx")))]);
        speakers.begin_slot([].into_iter(), [&connection].into_iter());
        let pids = |speakers: &Speakers| speakers.of(9, 0, &server).map(|end| end.and_then(|end| end.pid));
        speakers.called(9, Callers::One(2));
        assert_eq!((pids(&speakers), commands(&speakers.of(9, 0, &server))), ([None, None], [None, Some("nginx")]));
        tell(&directory, &[Answer::Process(2, Some(numbered(2, "nginx")))]);
        assert_eq!(pids(&speakers), [None, Some(2)], "it is the one of several");
        tell(&directory, &[Answer::Process(2, Some(numbered(2, "curl")))]);
        assert_eq!(commands(&speakers.of(9, 0, &server)), [None, Some("nginx")], "it may be either end");
        // In a container the kernel's numbers are others'.
        speakers.kernel_numbers = false;
        speakers.called(9, Callers::Both { client: 2, server: 3 });
        assert_eq!(commands(&speakers.of(9, 0, &server)), [None, Some("nginx")]);
    }

    #[test]
    fn a_client_gets_its_container_when_that_is_known() {
        let (speakers, directory, _) = speakers(true);
        let whole = Arc::new(Process { container: Some("0a".into()), ..(*numbered(5, "curl")).clone() });
        tell(&directory, &[Answer::Process(5, Some(Arc::clone(&whole)))]);
        assert_eq!(speakers.whole(numbered(5, "curl")), whole);
        assert_eq!(speakers.whole(numbered(5, "sh")), numbered(5, "sh"), "the number was another's");
        assert_eq!(speakers.whole(numbered(6, "curl")), numbered(6, "curl"));
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
