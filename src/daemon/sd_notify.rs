//! The supervisor: the service manager that started picotap, which is notified of the state of the run (sd_notify(3)).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// A connection to the service manager, if there is one.
///
/// The socket is connected before privileges are dropped, since afterwards none can be connected any more. So the crate's own
/// `notify`, which connects for each notification, is not used.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

/// A watchdog, which restarts picotap when it is not fed in time.
#[derive(Debug)]
struct Watchdog {
    /// Half of the time that it waits at the most.
    every: Duration,
    fed: Mutex<Option<Instant>>,
}

impl Supervisor {
    /// Connects to the one that the environment names, if it names one.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) fn connect() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A service manager that does not read must not block picotap.
        socket.set_nonblocking(true)?;
        let every = sd_notify::watchdog_enabled().map(|most| most / 2).filter(|every| !every.is_zero());
        let watchdog = every.map(|every| Watchdog { every, fed: Mutex::new(None) });
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// The run has begun: everything is open, privileges are dropped, the parser has passed its self-test.
    pub(crate) fn ready(&self) {
        self.notify(&[NotifyState::Ready]);
    }

    /// The log is being reopened and the parser reloaded. To be followed by [`Self::ready`].
    pub(crate) fn reloading(&self) {
        if let Ok(time) = NotifyState::monotonic_usec_now() {
            self.notify(&[NotifyState::Reloading, time]);
        }
    }

    /// The run ends.
    pub(crate) fn stopping(&self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// All is well. Called more often than needed; the watchdog is fed twice in the time that it waits.
    pub(crate) fn feed_watchdog(&self, now: Instant) {
        let Some(watchdog) = &self.watchdog else { return };
        let mut fed = watchdog.fed.lock().unwrap_or_else(PoisonError::into_inner);
        if fed.is_none_or(|fed| now.saturating_duration_since(fed) >= watchdog.every) {
            *fed = Some(now);
            self.notify(&[NotifyState::Watchdog]);
        }
    }

    fn notify(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        // Nothing can be done about a service manager that is gone or does not read.
        let _lost = socket.send(text.as_bytes());
    }
}
