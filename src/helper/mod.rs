//! The helper: a process beside picotap's own that keeps the few privileges which some work needs all the time, when picotap's own
//! process, which handles what strangers send, has none.
//!
//! There is one for all kinds of [`Work`]. It is forked while the process has one thread, before anything is opened and before
//! privileges are dropped, so it never holds a packet. Nor does it hold a secret, unless its work is that of probes: the ring that they fill was
//! made before, and is in its memory too, though it never reads it. Both ends talk by a pair of Unix sockets,
//! in messages of at most [`MAX_MESSAGE`] bytes, the first of which says the kind of work. Neither waits for the other: what
//! the kernel's buffer (some 200 KiB) has no room for is refused, and whoever sends it counts that. The helper ends with
//! picotap: when its socket is closed, or by SIGKILL when picotap is gone. If it ends before, picotap says so and goes on.
//!
//! To add a kind of work: a number in [`Kind`], a type that implements [`Work`], given to [`Helper::start`]
//! (`pipeline/run/prepare.rs`), and what takes its messages, given to [`Helper::follow`] (`pipeline/run/start.rs`). What the work owns
//! moves into the helper: descriptors that it has open stay open there if it names them, and are closed here.

mod child;
mod follow;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use caps::Capability;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, socketpair};
use nix::unistd::{ForkResult, Pid, getpid};
use thiserror::Error;

pub use self::follow::Taker;

/// The most bytes of a message, with its kind.
pub const MAX_MESSAGE: usize = 16 << 10;
/// The longest that picotap waits for the helper at its start. Dropping privileges takes it some milliseconds.
const START: Duration = Duration::from_secs(5);

/// What a message is about: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The helper says how it is confined: `+` and text, or `?` if something is missing; or `-` and why it cannot be. Its first message.
    Status = 1,
    /// Who holds the sockets of connections.
    Processes = 2,
    /// What is probed, and how that changes.
    Probes = 3,
}

/// What some work needs.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Capabilities, all of which the helper keeps for all of its work.
    pub capabilities: Vec<Capability>,
    /// System calls beside reading files.
    pub calls: Vec<i64>,
    /// Open descriptors, which stay open in the helper.
    pub descriptors: Vec<RawFd>,
}

/// A kind of work that the helper does.
pub trait Work {
    /// Its number in messages.
    fn kind(&self) -> Kind;

    /// What it needs of the privileges that picotap was started with.
    fn needs(&self) -> Needs;

    /// Takes a message, which is of its kind.
    fn message(&mut self, message: &[u8], now: Instant);

    /// Does what is due: called at the start, after messages, and when the time has come that it gave last. Gives the time at
    /// which it is to be called next, if no message comes before.
    fn turn(&mut self, now: Instant, answers: &Sender) -> Instant;
}

/// Why there is no helper.
#[derive(Debug, Error)]
pub enum HelperError {
    /// Threads would be missing in a copy of this process.
    #[error("a process is copied with one thread, but {0} are running")]
    Threads(usize),
    /// The system refused.
    #[error("{doing}: {cause}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// It could not give up its privileges, and has ended.
    #[error("{0}")]
    Confine(String),
}

/// Sends messages of one kind. Never waits.
#[derive(Debug, Clone)]
pub struct Sender {
    socket: Arc<OwnedFd>,
    kind: Kind,
}

impl Sender {
    /// Sends a message; whether there was room. One longer than [`MAX_MESSAGE`] is never sent.
    #[must_use]
    pub fn send(&self, message: &[u8]) -> bool {
        let mut whole = Vec::with_capacity(message.len().saturating_add(1));
        whole.push(self.kind as u8);
        whole.extend_from_slice(message);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        whole.len() <= MAX_MESSAGE && socket::send(self.socket.as_raw_fd(), &whole, flags).is_ok()
    }
}

/// The helper, as picotap's own process knows it.
#[derive(Debug)]
pub struct Helper {
    socket: Arc<OwnedFd>,
    child: Pid,
    /// What it said of its confinement, and whether it lacks something.
    report: String,
    limited: bool,
    stopping: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
}

impl Helper {
    /// Starts it. `user`: whom it becomes, as of [`DropPrivileges`](crate::daemon::privileges::DropPrivileges). To be called before any
    /// thread is started.
    ///
    /// # Errors
    /// See [`HelperError`]. There is then no other process.
    #[expect(unsafe_code, reason = "there is no other way to a process that keeps what this one gives up")]
    pub fn start(works: Vec<Box<dyn Work>>, user: Option<&str>) -> Result<Self, HelperError> {
        let threads = std::fs::read_dir("/proc/self/task").map_err(|e| system("counting threads", e))?.count();
        if threads != 1 {
            return Err(HelperError::Threads(threads));
        }
        let (own, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|e| system("making sockets", e.into()))?;
        let parent = getpid();
        // SAFETY: this process has one thread, so no lock is held that the copy would wait for.
        match unsafe { nix::unistd::fork() }.map_err(|e| system("copying the process", e.into()))? {
            ForkResult::Child => {
                drop(own);
                child::run(other, works, user, parent)
            }
            ForkResult::Parent { child } => {
                drop((other, works));
                Self::of(own, child).greeted()
            }
        }
    }

    /// The one behind this socket, which has said nothing yet.
    fn of(socket: OwnedFd, child: Pid) -> Self {
        let (report, limited) = (String::new(), false);
        Self { socket: Arc::new(socket), child, report, limited, stopping: Arc::default(), ended: Arc::default() }
    }

    /// Waits until it has given up what it does not need. If it does not say so it is ended.
    fn greeted(self) -> Result<Self, HelperError> {
        let child = self.child;
        self.greeting().inspect_err(|_| follow::end(child))
    }

    fn greeting(self) -> Result<Self, HelperError> {
        let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&*self.socket), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(START).unwrap_or(PollTimeout::MAX);
        let mut buffer = [0; MAX_MESSAGE];
        let came = poll(&mut fds, timeout).map_err(|e| system("waiting for it", e.into()))?;
        let received = if came == 0 { None } else { receive(&self.socket, &mut buffer).ok().flatten() };
        match received {
            Some([kind, sign @ (b'+' | b'?'), text @ ..]) if *kind == Kind::Status as u8 => {
                let report = String::from_utf8_lossy(text).into_owned();
                Ok(Self { report, limited: *sign == b'?', ..self })
            }
            Some([kind, b'-', text @ ..]) if *kind == Kind::Status as u8 => {
                Err(HelperError::Confine(String::from_utf8_lossy(text).into_owned()))
            }
            _ => Err(HelperError::Confine("it did not start".to_owned())),
        }
    }

    /// What it said of its confinement, for people.
    #[must_use]
    pub fn report(&self) -> &str {
        &self.report
    }

    /// Whether it lacks a capability or a restriction.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.limited
    }

    /// Its process.
    #[must_use]
    pub const fn process(&self) -> Pid {
        self.child
    }

    /// What sends it messages of this kind.
    #[must_use]
    pub fn sender(&self, kind: Kind) -> Sender {
        Sender { socket: Arc::clone(&self.socket), kind }
    }

    /// How often it ended although nobody asked it to: 0 or 1.
    #[must_use]
    pub fn ended(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.ended)
    }

    /// What ends it.
    #[must_use]
    pub fn stopper(&self) -> HelperStopper {
        HelperStopper { socket: Arc::clone(&self.socket), stopping: Arc::clone(&self.stopping) }
    }
}

/// Ends the helper.
#[derive(Debug, Clone)]
pub struct HelperStopper {
    socket: Arc<OwnedFd>,
    stopping: Arc<AtomicBool>,
}

impl HelperStopper {
    /// Closes the helper's socket: it ends, and so does what follows it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // It may be closed from the other side already.
        let _closed = socket::shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

/// The next message; none if the other end is closed. Waits for it.
fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    loop {
        match socket::recv(socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            // No message is empty: each has its kind.
            Ok(0) | Err(Errno::ECONNRESET) => return Ok(None),
            Ok(length) => return Ok(Some(buffer.get(..length).unwrap_or_default())),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn system(doing: &'static str, cause: io::Error) -> HelperError {
    HelperError::System { doing, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "it is waited for, by its number")]
    fn one_that_does_not_greet_is_ended_and_leaves_nothing() {
        let other = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        let child = Pid::from_raw(other.id().cast_signed());
        let (own, closed) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        drop(closed);
        assert!(matches!(Helper::of(own, child).greeted(), Err(HelperError::Confine(_))));
        assert!(!std::path::Path::new(&format!("/proc/{child}")).exists());
    }
}
