//! Who holds the sockets of connections: the helper looks, as often as that may cost, and the workers are told. For a program that taps an
//! interface a thread looks.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use caps::Capability;
use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::clock::now;
use crate::helper::{Helper, Kind, Needs, Sender, Taker, Work};
use crate::process::{Connects, Directory, Seeker, Speakers, has_kernel_numbers};

/// The least time between two looks at who listens and which addresses there are.
const REFRESH: Duration = Duration::from_secs(1);
/// The least time between two looks for connections.
const LOOK: Duration = Duration::from_millis(10);
/// A look is followed by so many times as much time without one, so that looks take at most a twentieth of a core.
const REST: u32 = 19;

/// The most messages with questions that wait for the thread.
const MESSAGES: usize = 64;
/// The longest time between two looks at what the kernel tells of processes that connect: it has room for some thousands.
const DRAIN: Duration = Duration::from_millis(100);

/// The work of the helper.
pub(crate) struct Seeking {
    seeker: Seeker,
    /// When it may look next, when it refreshes next, and when it may name processes next.
    look: Instant,
    refresh: Instant,
    name: Instant,
}

impl Seeking {
    pub(crate) fn new() -> Self {
        Self { seeker: Seeker::new(Path::new("/proc")), look: now(), refresh: now(), name: now() }
    }
}

impl fmt::Debug for Seeking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seeking")
    }
}

impl Work for Seeking {
    fn kind(&self) -> Kind {
        Kind::Processes
    }

    /// Other users' open files are in a directory that only they may read, and behind links that only a debugger may follow.
    fn needs(&self) -> Needs {
        let capabilities = vec![Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
        Needs { capabilities, ..Needs::default() }
    }

    fn message(&mut self, message: &[u8], _: Instant) {
        self.seeker.ask(message);
    }

    fn turn(&mut self, started: Instant, answers: &Sender) -> Instant {
        self.look(started, &mut |message| answers.send(message))
    }
}

impl Seeking {
    /// Does what is due, and gives the time at which more is.
    fn look(&mut self, started: Instant, send: &mut dyn FnMut(&[u8]) -> bool) -> Instant {
        if started >= self.name && self.seeker.has_unnamed() {
            // First: a process may be gone any moment.
            self.seeker.name(send);
            let ended = now();
            self.name = ended + ended.saturating_duration_since(started).saturating_mul(REST);
        }
        let started = now();
        let refresh = started >= self.refresh;
        if started >= self.look && (refresh || self.seeker.waits()) {
            self.seeker.look(refresh, send);
            let ended = now();
            let rest = ended.saturating_duration_since(started).saturating_mul(REST);
            self.look = ended + rest.max(LOOK);
            if refresh {
                self.refresh = ended + rest.max(REFRESH);
            }
        }
        let look = if self.seeker.waits() { self.look } else { self.look.max(self.refresh) };
        if self.seeker.has_unnamed() { look.min(self.name) } else { look }
    }
}

/// Takes what the helper says of processes.
pub(crate) fn taker(directory: &Arc<Directory>) -> Taker {
    let directory = Arc::clone(directory);
    let take = move |message: Option<&[u8]>| match message {
        Some(message) => directory.take(message),
        None => directory.forget(),
    };
    (Kind::Processes, Box::new(take))
}

/// Starts a thread in the place of the helper, which ends when what is returned is dropped: what is known of processes, with the rights that
/// this thread has.
///
/// # Errors
/// A thread cannot be started.
pub(crate) fn in_thread() -> io::Result<Speakers> {
    let (questions, asked) = bounded::<Vec<u8>>(MESSAGES);
    // Where the kernel does not take the program, clients of short connections have no name.
    let directory = Arc::new(Directory::new(1).with_connects(Connects::start().ok()));
    let (told, mut seeking) = (Arc::clone(&directory), Seeking::new());
    Builder::new().name("processes".to_owned()).spawn(move || {
        loop {
            let due = seeking.look(now(), &mut |message| {
                told.take(message);
                true
            });
            told.drain();
            match asked.recv_timeout(due.saturating_duration_since(now()).min(DRAIN)) {
                Ok(message) => seeking.message(&message, now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    })?;
    let ask = Box::new(move |message: &[u8]| questions.try_send(message.to_vec()).is_ok());
    Ok(Speakers::new(0, directory, has_kernel_numbers(), ask))
}

/// What a worker knows of processes.
pub(crate) fn speakers(helper: &Helper, worker: usize, directory: &Arc<Directory>) -> Speakers {
    let sender = helper.sender(Kind::Processes);
    let ask = Box::new(move |message: &[u8]| sender.send(message));
    Speakers::new(u16::try_from(worker).unwrap_or(u16::MAX), Arc::clone(directory), has_kernel_numbers(), ask)
}
