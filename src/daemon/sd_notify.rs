//! A supervisor is the service manager that started picotap, told how the run is: sd_notify(3).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The way to a service manager, if there is one.
///
/// The socket is connected before privileges are given up, since afterwards nothing can be connected to any more; that is
/// why the crate's own `notify`, which connects for every word, is not used.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

/// A watchdog that wants to hear of the run now and then.
#[derive(Debug)]
struct Watchdog {
    /// Half of what it waits for at the most.
    every: Duration,
    fed: Mutex<Option<Instant>>,
}

impl Supervisor {
    /// The one that the environment names.
    ///
    /// # Errors
    /// There is one, but it cannot be reached.
    pub(crate) fn connect() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A service manager that does not read must not hold picotap up.
        socket.set_nonblocking(true)?;
        let every = sd_notify::watchdog_enabled().map(|most| most / 2).filter(|every| !every.is_zero());
        let watchdog = every.map(|every| Watchdog { every, fed: Mutex::new(None) });
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// The run has begun: everything is open, privileges are given up, the parser has passed its self-test.
    pub(crate) fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The log is opened and the parser loaded anew. To be followed by [`Self::ready`].
    pub(crate) fn reloading(&self) {
        if let Ok(time) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, time]);
        }
    }

    /// The run ends.
    pub(crate) fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// All is well. Passed on as often as the watchdog wants to hear it; it restarts picotap when it does not.
    pub(crate) fn well(&self, now: Instant) {
        let Some(watchdog) = &self.watchdog else { return };
        let mut fed = watchdog.fed.lock().unwrap_or_else(PoisonError::into_inner);
        if fed.is_none_or(|fed| now.saturating_duration_since(fed) >= watchdog.every) {
            *fed = Some(now);
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        // Nothing can be done about a service manager that is gone or does not read.
        let _told = socket.send(text.as_bytes());
    }
}
