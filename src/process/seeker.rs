//! Finds the processes that hold sockets: those that listen, and the two ends of connections that workers ask for.
//!
//! Processes whose number is known by other means are named at once.
//!
//! Each look reads the processes, the sockets of each network namespace, and then the open files of all processes, since a socket may be
//! held by several. Addresses and listeners are read with every refresh. Looks cost processor time by the number of sockets, processes
//! and open files, so whoever calls decides how often.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use super::addresses::{FibTrie, of_if_inet6};
use super::message::{Answer, Answered, Asked, Question, questions, write_answer};
use super::reader::Reader;
use super::sockets::{Socket, socket};
use super::{Outcome, Process};
use crate::stream::Endpoint;

/// The most connections that wait for an answer. Further questions are dropped.
const MAX_PENDING: usize = 16_384;
/// The most network namespaces whose sockets are read.
const MAX_NAMESPACES: usize = 1024;
/// The most listening sockets, and the most endpoints at which they are reached.
const MAX_LISTENERS: usize = 16_384;
const MAX_ENDPOINTS: usize = 65_536;
/// The most ports and addresses that are looked at together for these: some 0.1 s.
const MAX_REACHED: usize = 1 << 20;
/// The most addresses of one namespace.
const MAX_ADDRESSES: usize = 4096;
/// The most open files that one look looks at.
const MAX_FILES: usize = 1 << 20;
/// The most processes that are kept named, and refreshes after which one is not that nobody asked for again.
const MAX_NAMED: usize = 1024;
const NAMED_FOR: u8 = 60;
/// Looks after which nobody has accepted a connection.
const TRIES: u8 = 3;
/// Bytes of answers after which they are sent.
const MESSAGE: usize = 8 << 10;
/// Sockets with the same addresses that are told apart: of more than one nobody knows which it is.
const MAX_MATCHES: usize = 4;

/// A socket found for one end of a connection: the namespace that it is in, and itself.
type Match = (usize, Socket);

/// A connection that waits for an answer.
#[derive(Debug)]
struct Pending {
    question: Question,
    tries: u8,
    /// What was found of each side in the present look.
    found: [Vec<Match>; 2],
}

/// What is known of a network namespace.
#[derive(Debug, Default)]
struct Namespace {
    /// Processes in it, through which it is read: more than one, since one may end.
    through: Vec<String>,
    /// In order, so that of too many endpoints the same are told at each look.
    addresses: BTreeSet<IpAddr>,
    listeners: Vec<Socket>,
}

/// A process that was asked for by its number.
#[derive(Debug, Default)]
struct Named {
    /// What was told of it.
    told: Option<Arc<Process>>,
    /// Refreshes since it was asked for.
    age: u8,
}

/// Finds the processes.
#[derive(Debug)]
pub struct Seeker {
    reader: Reader,
    pending: HashMap<[Endpoint; 2], Pending>,
    /// One of these has a local end.
    waits: bool,
    /// The listeners that were told.
    told: HashMap<Endpoint, Arc<Process>>,
    /// Processes by the number that was asked for, and those that wait for an answer.
    named: HashMap<u32, Named>,
    unnamed: HashSet<u32>,
    /// A message of the last look found no room: what it told of listeners is told anew.
    lost: bool,
    /// Addresses of all namespaces, as of the last refresh.
    local: HashSet<IpAddr>,
}

impl Seeker {
    /// One that reads `proc`: `/proc`, but in tests.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        Self {
            reader: Reader::new(proc),
            pending: HashMap::new(),
            waits: false,
            told: HashMap::new(),
            named: HashMap::new(),
            unnamed: HashSet::new(),
            lost: false,
            local: HashSet::new(),
        }
    }

    /// Takes the questions of a message. One for the same addresses as an earlier one takes its place: they were used anew.
    pub fn ask(&mut self, message: &[u8]) {
        for asked in questions(message) {
            let question = match asked {
                Asked::Connection(question) => question,
                Asked::Process(number) => {
                    self.ask_name(number);
                    continue;
                }
            };
            let pending = Pending { question, tries: 0, found: [Vec::new(), Vec::new()] };
            let full = self.pending.len() >= MAX_PENDING;
            match self.pending.entry(key(question.endpoints)) {
                Entry::Occupied(mut entry) => drop(entry.insert(pending)),
                Entry::Vacant(entry) if !full => drop(entry.insert(pending)),
                Entry::Vacant(_) => continue,
            }
            self.waits |= has_local(&question, &self.local);
        }
    }

    /// Notes a question for the process with a number: at most [`MAX_NAMED`] are known.
    fn ask_name(&mut self, number: u32) {
        let full = self.named.len() >= MAX_NAMED;
        match self.named.entry(number) {
            Entry::Occupied(mut known) => known.get_mut().age = 0,
            Entry::Vacant(_) if full => return,
            Entry::Vacant(place) => drop(place.insert(Named::default())),
        }
        self.unnamed.insert(number);
    }

    /// Whether a process waits to be named.
    #[must_use]
    pub fn has_unnamed(&self) -> bool {
        !self.unnamed.is_empty()
    }

    /// Names the processes that were asked for by their number, while they run: each takes two short files.
    pub fn name(&mut self, send: &mut dyn FnMut(&[u8]) -> bool) {
        let mut out = Outbox { message: Vec::new(), send };
        for number in std::mem::take(&mut self.unnamed) {
            let process = self.reader.process(number).map(Arc::new);
            // What is there no more is told with the next refresh.
            let (Some(named), Some(process)) = (self.named.get_mut(&number), process) else { continue };
            if out.add(&Answer::Process(number, Some(Arc::clone(&process)))) {
                named.told = Some(process);
            }
        }
        self.lost |= !out.flush();
    }

    /// Tells of the processes that were named which have another name, and which are gone.
    fn rename(&mut self, out: &mut Outbox<'_>) {
        let Self { named, reader, .. } = self;
        named.retain(|number, named| {
            named.age = named.age.saturating_add(1);
            let asked = named.age <= NAMED_FOR;
            let process = if asked { reader.process(*number).map(Arc::new) } else { None };
            if process == named.told && process.is_some() {
                return true;
            }
            let sent = out.add(&Answer::Process(*number, process.clone()));
            let stays = process.is_some() || !sent;
            if sent {
                named.told = process;
            }
            stays
        });
    }

    /// Whether a connection waits that a look without a refresh may find.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.waits
    }

    /// Looks for all that is asked, and on a `refresh` also for addresses and listeners. Answers are sent in messages; `send` says whether there was
    /// room.
    pub fn look(&mut self, refresh: bool, send: &mut dyn FnMut(&[u8]) -> bool) {
        let pids = self.reader.processes();
        let mut namespaces = self.namespaces(&pids);
        self.read_sockets(&mut namespaces, refresh);
        let matched = self.pending.values().flat_map(|pending| pending.found.iter().flatten());
        let listening = namespaces.iter().flat_map(|namespace| &namespace.listeners);
        let mut wanted: HashSet<u64> = matched.map(|(_, socket)| socket.inode).collect();
        wanted.extend(listening.map(|socket| socket.inode));
        wanted.remove(&0);
        let holders = self.holders(&pids, &wanted);
        let mut out = Outbox { message: Vec::new(), send };
        if refresh {
            self.local = namespaces.iter().flat_map(|namespace| &namespace.addresses).copied().collect();
            self.tell_listeners(&endpoints(&namespaces, &holders), &mut out);
            self.rename(&mut out);
        }
        self.answer(refresh, &holders, &mut out);
        self.lost |= !out.flush();
        self.waits = self.pending.values().any(|pending| has_local(&pending.question, &self.local));
    }

    /// The network namespaces, of which the first is this process's own.
    fn namespaces(&self, pids: &[u32]) -> Vec<Namespace> {
        let mut numbers = HashMap::new();
        let mut all = vec![Namespace { through: vec!["self".to_owned()], ..Namespace::default() }];
        numbers.extend(self.reader.namespace("self").map(|number| (number, 0)));
        for pid in pids {
            let process = pid.to_string();
            let Some(number) = self.reader.namespace(&process) else { continue };
            match numbers.get(&number) {
                Some(at) => {
                    if let Some(namespace) = all.get_mut(*at).filter(|namespace| namespace.through.len() < 4) {
                        namespace.through.push(process);
                    }
                }
                None if all.len() < MAX_NAMESPACES => {
                    numbers.insert(number, all.len());
                    all.push(Namespace { through: vec![process], ..Namespace::default() });
                }
                None => {}
            }
        }
        all
    }

    /// Reads the sockets of all namespaces: those of the connections that are asked for and, on a `refresh`, those that listen.
    fn read_sockets(&mut self, namespaces: &mut [Namespace], refresh: bool) {
        let Self { reader, pending, .. } = self;
        pending.values_mut().flat_map(|pending| &mut pending.found).for_each(Vec::clear);
        let mut listeners = 0;
        for (at, namespace) in namespaces.iter_mut().enumerate() {
            let Namespace { through, addresses, listeners: own } = namespace;
            let mut take = |line: &[u8]| {
                let Some(socket) = socket(line) else { return };
                if !socket.listens() {
                    note(pending, at, socket);
                } else if refresh && listeners < MAX_LISTENERS {
                    listeners += 1;
                    own.push(socket);
                }
            };
            // Read whole through one process: one that has ended has no files any more.
            let there = through.iter().find(|process| reader.lines(process, "net/tcp", &mut take));
            let Some(process) = there else { continue };
            // Where there is no IPv6 there is no such file.
            let _there = reader.lines(process, "net/tcp6", &mut take);
            if refresh {
                let mut trie = FibTrie::default();
                let mut add = |ip: Option<IpAddr>| addresses.extend(ip.filter(|_| addresses.len() < MAX_ADDRESSES));
                let _there = reader.lines(process, "net/fib_trie", |line| add(trie.line(line)));
                let _there = reader.lines(process, "net/if_inet6", |line| add(of_if_inet6(line)));
            }
        }
    }

    /// The processes that hold these sockets.
    fn holders(&self, pids: &[u32], wanted: &HashSet<u64>) -> HashMap<u64, Vec<Arc<Process>>> {
        let mut holders: HashMap<u64, Vec<Arc<Process>>> = HashMap::new();
        let mut left = if wanted.is_empty() { 0 } else { MAX_FILES };
        for pid in pids {
            if left == 0 {
                break;
            }
            let (inodes, process) = self.reader.held(*pid, wanted, &mut left);
            let Some(process) = process.map(Arc::new) else { continue };
            for inode in inodes {
                holders.entry(inode).or_default().push(Arc::clone(&process));
            }
        }
        if left == 0 {
            // Others may hold them too.
            holders.clear();
        }
        holders
    }

    /// Tells which listeners are new, changed or gone.
    fn tell_listeners(&mut self, present: &HashMap<Endpoint, Arc<Process>>, out: &mut Outbox<'_>) {
        if std::mem::take(&mut self.lost) {
            self.told.clear();
            self.named.values_mut().for_each(|named| named.told = None);
            let _sent = out.add(&Answer::NoListeners);
        }
        let gone: Vec<Endpoint> =
            self.told.keys().filter(|endpoint| !present.contains_key(endpoint)).copied().collect();
        for endpoint in gone {
            if out.add(&Answer::Listener(endpoint, None)) {
                self.told.remove(&endpoint);
            }
        }
        for (endpoint, process) in present {
            if self.told.get(endpoint) != Some(process)
                && out.add(&Answer::Listener(*endpoint, Some(Arc::clone(process))))
            {
                self.told.insert(*endpoint, Arc::clone(process));
            }
        }
    }

    /// Answers what can be answered. Without a `refresh` what seems to be elsewhere waits for the next one: an address may be new.
    fn answer(&mut self, refresh: bool, holders: &HashMap<u64, Vec<Arc<Process>>>, out: &mut Outbox<'_>) {
        let Self { pending, local, .. } = self;
        pending.retain(|_, pending| {
            let Question { worker, number, endpoints } = pending.question;
            let is_local = endpoints.map(|endpoint| local.contains(&endpoint.ip));
            if !refresh && is_local == [false, false] && pending.found.iter().all(Vec::is_empty) {
                return true;
            }
            let [first, second] = &pending.found;
            let [first_local, second_local] = is_local;
            let ends = [end(first, first_local, holders), end(second, second_local, holders)];
            pending.tries = pending.tries.saturating_add(1);
            let waits = ends.iter().any(|(outcome, _)| *outcome == Outcome::NotAccepted);
            if waits && pending.tries < TRIES {
                return true;
            }
            // What finds no room is lost: nobody waits for it.
            let _sent = out.add(&Answer::Connection { worker, number, ends });
            false
        });
    }
}

/// Whether one end of a connection is at one of these addresses.
fn has_local(question: &Question, local: &HashSet<IpAddr>) -> bool {
    question.endpoints.iter().any(|endpoint| local.contains(&endpoint.ip))
}

/// Endpoints in either order.
fn key([one, other]: [Endpoint; 2]) -> [Endpoint; 2] {
    [one.min(other), one.max(other)]
}

/// Notes a socket of a namespace for the connection that it belongs to, if that is asked for.
fn note(pending: &mut HashMap<[Endpoint; 2], Pending>, namespace: usize, socket: Socket) {
    // Each namespace has loopback addresses; captured is that of this process's own.
    if namespace != 0 && (socket.local.ip.is_loopback() || socket.remote.ip.is_loopback()) {
        return;
    }
    let Some(pending) = pending.get_mut(&key([socket.local, socket.remote])) else { return };
    let [first, second] = &mut pending.found;
    let [endpoint, _] = pending.question.endpoints;
    let found = if endpoint == socket.local { first } else { second };
    if found.len() < MAX_MATCHES {
        found.push((namespace, socket));
    }
}

/// What becomes of one end.
fn end(found: &[Match], is_local: bool, holders: &HashMap<u64, Vec<Arc<Process>>>) -> Answered {
    match found {
        [] if !is_local => (Outcome::Elsewhere, None),
        [] => (Outcome::NoSocket, None),
        [(_, socket)] if socket.waits_for_accept() => (Outcome::NotAccepted, None),
        // Closed, but the kernel still sends what was written.
        [(_, socket)] if socket.inode == 0 => (Outcome::NoSocket, None),
        [(_, socket)] => match holders.get(&socket.inode).map(Vec::as_slice).unwrap_or_default() {
            [] => (Outcome::NoHolder, None),
            several => one_of(several).map_or((Outcome::Ambiguous, None), |process| (Outcome::Found, Some(process))),
        },
        _ => (Outcome::Ambiguous, None),
    }
}

/// What holders of a socket have in common: all, if there is one; all but the number, if they are workers of one program.
fn one_of(holders: &[Arc<Process>]) -> Option<Arc<Process>> {
    let (first, others) = holders.split_first()?;
    if others.is_empty() {
        return Some(Arc::clone(first));
    }
    let nameless = Process { pid: None, ..(**first).clone() };
    let same = others.iter().all(|other| Process { pid: None, ..(**other).clone() } == nameless);
    same.then(|| Arc::new(nameless))
}

/// Where the listeners of all namespaces are reached, and who they are. What comes to an address of this process's own namespace, the first,
/// is taken there; an endpoint that two others have is left out. If there is more than can be looked at, it cannot be told which these
/// are: then only the own namespace is left.
fn endpoints(namespaces: &[Namespace], holders: &HashMap<u64, Vec<Arc<Process>>>) -> HashMap<Endpoint, Arc<Process>> {
    let mut all: HashMap<Endpoint, Option<Arc<Process>>> = HashMap::new();
    let own = namespaces.first().map(|namespace| &namespace.addresses);
    let of_own = |endpoint: &Endpoint| own.is_some_and(|own| own.contains(&endpoint.ip));
    let mut left = MAX_REACHED;
    for (at, namespace) in namespaces.iter().enumerate() {
        let whole = reached(namespace, at == 0, holders, &mut left, &mut |endpoint, process| {
            if at > 0 && of_own(&endpoint) {
                return;
            }
            let full = all.len() >= MAX_ENDPOINTS;
            match all.entry(endpoint) {
                Entry::Occupied(mut entry) => drop(entry.insert(None)),
                Entry::Vacant(entry) if !full => drop(entry.insert(process.cloned())),
                Entry::Vacant(_) => {}
            }
        });
        if !whole {
            all.retain(|endpoint, _| of_own(endpoint));
            break;
        }
    }
    all.into_iter().filter_map(|(endpoint, process)| Some((endpoint, process?))).collect()
}

/// Gives the endpoints at which the listeners of a namespace are reached, each once, and who listens there if it is sure. One that is
/// bound to an address takes what comes to it before one that is bound to all, and one of IPv4 before one of both. `left`: so many are
/// looked at; whether that was all.
fn reached(
    namespace: &Namespace,
    own: bool,
    holders: &HashMap<u64, Vec<Arc<Process>>>,
    left: &mut usize,
    give: &mut dyn FnMut(Endpoint, Option<&Arc<Process>>),
) -> bool {
    let mut inodes: BTreeMap<Endpoint, Vec<u64>> = BTreeMap::new();
    for socket in &namespace.listeners {
        inodes.entry(socket.local).or_default().push(socket.inode);
    }
    let bound: BTreeMap<Endpoint, Option<Arc<Process>>> =
        inodes.into_iter().map(|(endpoint, inodes)| (endpoint, holder(&inodes, holders))).collect();
    let (everywhere, somewhere): (Vec<_>, Vec<_>) =
        bound.iter().partition(|(endpoint, _)| endpoint.ip.is_unspecified());
    let takes = |ip: &IpAddr| own || !ip.is_loopback();
    for (endpoint, process) in somewhere {
        if takes(&endpoint.ip) {
            give(*endpoint, process.as_ref());
        }
    }
    let ports: BTreeSet<u16> = everywhere.iter().map(|(endpoint, _)| endpoint.port).collect();
    for port in ports {
        let at = |ip: IpAddr| bound.get(&Endpoint { ip, port });
        let six = at(Ipv6Addr::UNSPECIFIED.into());
        let four = at(Ipv4Addr::UNSPECIFIED.into()).or(six);
        for ip in &namespace.addresses {
            let Some(fewer) = left.checked_sub(1) else { return false };
            *left = fewer;
            let listener = if ip.is_ipv4() { four } else { six };
            if let Some(process) = listener.filter(|_| takes(ip) && at(*ip).is_none()) {
                give(Endpoint { ip: *ip, port }, process.as_ref());
            }
        }
    }
    true
}

/// The process that holds these sockets, which have one address. One without a holder that may be looked at may be anybody's.
fn holder(inodes: &[u64], holders: &HashMap<u64, Vec<Arc<Process>>>) -> Option<Arc<Process>> {
    let several: Option<Vec<_>> = inodes.iter().map(|inode| holders.get(inode)).collect();
    let several: Vec<_> = several?.into_iter().flatten().map(Arc::clone).collect();
    one_of(&several)
}

/// Gathers answers into messages.
struct Outbox<'s> {
    message: Vec<u8>,
    send: &'s mut dyn FnMut(&[u8]) -> bool,
}

impl Outbox<'_> {
    /// Adds an answer; whether there was room for it. It may still be lost with its message.
    fn add(&mut self, answer: &Answer) -> bool {
        if self.message.len() >= MESSAGE && !self.flush() {
            return false;
        }
        write_answer(answer, &mut self.message);
        true
    }

    fn flush(&mut self) -> bool {
        let sent = self.message.is_empty() || (self.send)(&self.message);
        if sent {
            self.message.clear();
        }
        sent
    }
}

#[cfg(test)]
mod tests;
