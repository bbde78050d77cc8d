//! Who holds the sockets of connections: the helper looks, as often as that may cost, and the workers are told.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caps::Capability;

use crate::clock::now;
use crate::helper::{Helper, Kind, Needs, Sender, Taker, Work};
use crate::process::{Directory, Seeker, Speakers};

/// The least time between two looks at who listens and which addresses there are.
const REFRESH: Duration = Duration::from_secs(1);
/// The least time between two looks for connections.
const LOOK: Duration = Duration::from_millis(10);
/// A look is followed by so many times as much time without one, so that looks take at most a twentieth of a core.
const REST: u32 = 19;

/// The work of the helper.
pub(crate) struct Seeking {
    seeker: Seeker,
    /// When it may look next, and when it refreshes next.
    look: Instant,
    refresh: Instant,
}

impl Seeking {
    pub(crate) fn new() -> Self {
        Self { seeker: Seeker::new(Path::new("/proc")), look: now(), refresh: now() }
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
        let refresh = started >= self.refresh;
        if started >= self.look && (refresh || self.seeker.waits()) {
            self.seeker.look(refresh, &mut |message| answers.send(message));
            let ended = now();
            let rest = ended.saturating_duration_since(started).saturating_mul(REST);
            self.look = ended + rest.max(LOOK);
            if refresh {
                self.refresh = ended + rest.max(REFRESH);
            }
        }
        if self.seeker.waits() { self.look } else { self.look.max(self.refresh) }
    }
}

/// Takes what the helper says of processes.
pub(crate) fn taker(directory: &Arc<Directory>) -> Taker {
    let directory = Arc::clone(directory);
    let take = move |message: Option<&[u8]>| match message {
        Some(message) => directory.take(message),
        None => directory.forget_listeners(),
    };
    (Kind::Processes, Box::new(take))
}

/// What a worker knows of processes.
pub(crate) fn speakers(helper: &Helper, worker: usize, directory: &Arc<Directory>) -> Speakers {
    let sender = helper.sender(Kind::Processes);
    let ask = Box::new(move |message: &[u8]| sender.send(message));
    Speakers::new(u16::try_from(worker).unwrap_or(u16::MAX), Arc::clone(directory), ask)
}
