//! Which process opens a connection, told by the kernel at that moment (`connects.bpf.c`): for clients whose connections are over before anybody
//! could look.
//!
//! Loading and attaching takes privileges, and is done before they are dropped. After that the ring is memory.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, include_bytes_aligned};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Process, has_kernel_numbers};
use crate::stream::Endpoint;

/// The program, as the build compiled it; nothing for documentation.
static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/connects.bpf.o"));
const TRACE_POINT: &str = "inet_sock_set_state";

/// The most connections that are remembered until somebody asks for them. Most are not captured.
const MAX_OPENED: usize = 16_384;
/// Nanoseconds after which one is forgotten when others come: it is not captured, or long over.
const MAX_AGE: u64 = 60_000_000_000;
/// The most events that are taken at once.
const BATCH: usize = 4096;

/// `struct connect` of `connects.bpf.c`.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Told {
    local: [u8; 16],
    remote: [u8; 16],
    local_port: u16,
    remote_port: u16,
    /// The network namespace.
    namespace: u32,
    process: u32,
    /// Connections that found no room so far.
    lost: u32,
    time: u64,
    command: [u8; 16],
}

/// A connection that a process of this host has opened.
#[derive(Debug)]
struct Opened {
    /// None if processes of several namespaces have, with the same addresses.
    process: Option<Arc<Process>>,
    namespace: u32,
    time: u64,
}

/// The connections that were opened.
#[derive(Debug, Default)]
struct Table {
    opened: HashMap<[Endpoint; 2], Opened>,
    /// As they came; some are taken by now, or were opened anew.
    order: VecDeque<([Endpoint; 2], u64)>,
    /// This process's own network namespace, whose loopback is captured.
    own: u64,
    /// Processes have the numbers here that the kernel tells.
    same_pids: bool,
    seen: u64,
    lost: u32,
}

impl Table {
    fn add(&mut self, told: &Told) {
        self.seen += 1;
        self.lost = told.lost;
        let end = |octets: [u8; 16], port| Endpoint { ip: Ipv6Addr::from(octets).to_canonical(), port };
        let ends = [end(told.local, told.local_port), end(told.remote, told.remote_port)];
        if ends.iter().any(|end| end.ip.is_loopback()) && u64::from(told.namespace) != self.own {
            return;
        }
        self.forget(told.time);
        let command = told.command.split(|byte| *byte == 0).next().unwrap_or_default();
        let pid = Some(told.process).filter(|_| self.same_pids);
        let process = Arc::new(Process { pid, command: command.into(), container: None, pod: None });
        let same = self.opened.get(&ends).is_some_and(|other| other.namespace != told.namespace);
        let process = Some(process).filter(|_| !same);
        self.opened.insert(ends, Opened { process, namespace: told.namespace, time: told.time });
        self.order.push_back((ends, told.time));
    }

    /// Makes room: those go that are old, and the oldest if there are too many.
    fn forget(&mut self, now: u64) {
        while let Some((ends, time)) = self.order.front() {
            if self.order.len() < MAX_OPENED && now.saturating_sub(*time) < MAX_AGE {
                break;
            }
            if self.opened.get(ends).is_some_and(|opened| opened.time == *time) {
                self.opened.remove(ends);
            }
            self.order.pop_front();
        }
    }

    /// The process that opened a connection, and the side that it is.
    fn take(&mut self, [first, second]: [Endpoint; 2]) -> Option<(usize, Arc<Process>)> {
        let mut take = |ends| self.opened.remove(&ends)?.process;
        take([first, second]).map(|process| (0, process)).or_else(|| take([second, first]).map(|process| (1, process)))
    }
}

/// The program in the kernel, and what it has told.
pub struct Connects {
    /// Attached while it is held.
    _program: Ebpf,
    ring: RingBuf<MapData>,
    table: Table,
}

impl fmt::Debug for Connects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connects")
    }
}

impl Connects {
    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// The kernel refuses, as one line.
    pub fn start() -> Result<Self, String> {
        Self::load().map_err(|error| {
            // The verifier's words may fill pages.
            error.to_string().lines().next().unwrap_or_default().chars().take(200).collect()
        })
    }

    fn load() -> Result<Self, Box<dyn std::error::Error>> {
        if PROGRAM.is_empty() {
            return Err(format!("there is no program for {}", std::env::consts::ARCH).into());
        }
        let kernel = Btf::from_sys_fs()?;
        let mut loaded = Ebpf::load(PROGRAM)?;
        let program: &mut BtfTracePoint = loaded.program_mut("connects").ok_or("there is no program")?.try_into()?;
        program.load(TRACE_POINT, &kernel)?;
        program.attach()?;
        let ring = RingBuf::try_from(loaded.take_map("ring").ok_or("there is no ring")?)?;
        let own = std::fs::metadata("/proc/self/ns/net")?.ino();
        let same_pids = has_kernel_numbers();
        Ok(Self { _program: loaded, ring, table: Table { own, same_pids, ..Table::default() } })
    }

    /// Takes what the kernel has told since.
    pub(super) fn drain(&mut self) {
        for _ in 0..BATCH {
            let Some(item) = self.ring.next() else { return };
            if let Ok(told) = Told::read_from_bytes(&item) {
                self.table.add(&told);
            }
        }
    }

    /// The process that opened the connection between these, and the side that it is.
    pub(super) fn take(&mut self, endpoints: [Endpoint; 2]) -> Option<(usize, Arc<Process>)> {
        self.table.take(endpoints)
    }

    /// How many were told, and how many found no room.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.table.seen, self.table.lost as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 7;

    fn table() -> Table {
        Table { own: u64::from(OWN), same_pids: true, ..Table::default() }
    }

    fn ip(text: &str) -> Endpoint {
        let address: std::net::SocketAddr = text.parse().expect("an address");
        Endpoint { ip: address.ip(), port: address.port() }
    }

    fn told(local: &str, remote: &str, namespace: u32, process: u32, time: u64) -> Told {
        let octets = |end: Endpoint| match end.ip {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(ip) => ip.octets(),
        };
        let mut command = [0; 16];
        command[..4].copy_from_slice(b"curl");
        let (local, remote) = (ip(local), ip(remote));
        let (local_port, remote_port) = (local.port, remote.port);
        Told {
            local: octets(local),
            remote: octets(remote),
            local_port,
            remote_port,
            namespace,
            process,
            lost: 3,
            time,
            command,
        }
    }

    fn taken(table: &mut Table, one: &str, other: &str) -> Option<(usize, u32)> {
        table.take([ip(one), ip(other)]).map(|(side, process)| {
            assert_eq!(&*process.command, b"curl");
            (side, process.pid.expect("a number"))
        })
    }

    #[test]
    fn the_one_that_connects_is_the_local_side() {
        let mut table = table();
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN, 5, 1));
        table.add(&told("[2001:db8::1]:1000", "[2001:db8::2]:80", OWN, 6, 2));
        assert_eq!(taken(&mut table, "10.0.0.1:1000", "10.0.0.2:80"), Some((0, 5)));
        assert_eq!(taken(&mut table, "10.0.0.1:1000", "10.0.0.2:80"), None, "it was taken");
        assert_eq!(taken(&mut table, "[2001:db8::2]:80", "[2001:db8::1]:1000"), Some((1, 6)));
        assert_eq!((table.seen, table.lost), (2, 3));
    }

    #[test]
    fn the_last_one_counts_but_not_of_two_namespaces() {
        let mut table = table();
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN, 5, 1));
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN, 6, 2));
        assert_eq!(taken(&mut table, "10.0.0.1:1000", "10.0.0.2:80"), Some((0, 6)));
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN, 5, 3));
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN + 1, 6, 4));
        assert_eq!(taken(&mut table, "10.0.0.1:1000", "10.0.0.2:80"), None);
        table.add(&told("127.0.0.1:1000", "127.0.0.1:80", OWN + 1, 5, 5));
        assert_eq!(taken(&mut table, "127.0.0.1:1000", "127.0.0.1:80"), None, "another loopback");
        // Long ago: the other namespace's is over.
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN, 5, 6));
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN + 1, 6, 6 + MAX_AGE));
        assert_eq!(taken(&mut table, "10.0.0.1:1000", "10.0.0.2:80"), Some((0, 6)));
    }

    #[test]
    fn those_that_nobody_asks_for_are_forgotten() {
        let mut table = table();
        for number in 0..MAX_OPENED as u64 + 100 {
            let port = number % 60_000 + 1;
            table.add(&told(&format!("10.0.0.1:{port}"), "10.0.0.2:80", OWN, 5, number));
        }
        assert!(table.opened.len() < MAX_OPENED + 1 && table.order.len() <= MAX_OPENED);
        assert_eq!(taken(&mut table, "10.0.0.1:1", "10.0.0.2:80"), None);
    }

    #[test]
    fn in_another_pid_namespace_a_number_says_nothing() {
        let mut table = Table { same_pids: false, ..table() };
        table.add(&told("10.0.0.1:1000", "10.0.0.2:80", OWN, 5, 1));
        let (_, process) = table.take([ip("10.0.0.1:1000"), ip("10.0.0.2:80")]).expect("it is known");
        assert_eq!((process.pid, &*process.command), (None, &b"curl"[..]));
    }
}
