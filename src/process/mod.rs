//! The processes at the two ends of a connection, as far as they run on this host.
//!
//! The kernel lists the sockets of each network namespace with their addresses (`/proc/PID/net/tcp` and `tcp6`), and each process its
//! open files (`/proc/PID/fd`); the socket's inode joins both. The [`Seeker`] reads them, in the helper process, whose rights that takes.
//! Its answers come in [`message`]s to the [`Directory`], in which workers look up what is known at that moment; nobody waits.
//! Where the kernel takes it, a program in it ([`Connects`]) tells the directory who connects. Whoever derives the secrets of a TLS connection
//! is one end of it, whatever holds the socket ([`crate::stream::Callers`]).
//!
//! What is not sure is absent: addresses that several namespaces have, sockets that several different programs hold, connections
//! whose addresses the host translates.

mod addresses;
mod cgroup;
mod connects;
mod directory;
pub mod message;
mod reader;
mod seeker;
mod sockets;
mod speakers;

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

pub use self::connects::Connects;
pub use self::directory::Directory;
pub use self::seeker::Seeker;
pub use self::speakers::{ProcessCounters, Speakers};

/// The most bytes of a command. The kernel's limit is 15 for programs; its own threads have longer ones.
pub const MAX_COMMAND: usize = 64;

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number; none if several processes with the same command and container hold the socket.
    pub pid: Option<u32>,
    /// Its command (`comm`), any bytes: a process names itself as it likes.
    pub command: Box<[u8]>,
    /// Identifier of its container, from the path of its cgroup.
    pub container: Option<Box<str>>,
    /// Identifier of its Kubernetes pod, from the same.
    pub pod: Option<Box<str>>,
}

/// The number of the first PID namespace (`PROC_PID_INIT_INO` in the kernel).
const FIRST_PIDS: u64 = 0xefff_fffc;

/// Whether processes have the numbers here that programs in the kernel tell: not in a PID namespace of a container.
#[must_use]
pub fn has_kernel_numbers() -> bool {
    std::fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == FIRST_PIDS)
}

/// The processes of the first side and of the second, or of client and server.
pub type Both = [Option<Arc<Process>>; 2];

/// What became of a question for one end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The process is known.
    Found = 0,
    /// No network namespace that is seen has the address.
    Elsewhere = 1,
    /// There is no socket with these addresses (any more): the connection has ended, or they are translated.
    NoSocket = 2,
    /// No process had accepted the connection.
    NotAccepted = 3,
    /// Several namespaces have such a socket, or different programs hold it.
    Ambiguous = 4,
    /// No process holds the socket that may be looked at.
    NoHolder = 5,
}

impl Outcome {
    /// All, by number.
    pub const ALL: [Self; 6] =
        [Self::Found, Self::Elsewhere, Self::NoSocket, Self::NotAccepted, Self::Ambiguous, Self::NoHolder];

    /// Its name, for people and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Elsewhere => "elsewhere",
            Self::NoSocket => "no_socket",
            Self::NotAccepted => "not_accepted",
            Self::Ambiguous => "ambiguous",
            Self::NoHolder => "no_holder",
        }
    }

    /// The one with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}
