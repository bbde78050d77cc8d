//! A server answers HTTP requests for metrics and health, apart from everything that captures.
//!
//! `/metrics`, `/healthz`, `/readyz` and `/`, by GET and HEAD; where the page is served, also `/snapshot.json` and `/events`. One thread with hyper answers all connections, of which there are
//! at most [`MAX_CONNECTIONS`]: a new one is always accepted, and when there are too many the oldest without a request under way
//! is closed. So a client that sends a request at once is answered, however many do not.

mod client_stream;
mod clients;
mod feed;
mod route;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::socket::{Backlog, listen};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use clients::Clients;
pub use clients::{DEADLINE, EndpointCounters, IDLE, MAX_CONNECTIONS, MAX_FOLLOWERS, MAX_SCRAPES, STALLED};
pub use feed::{Feed, Follower};

/// Connections that the kernel holds ready, so that a burst of a thousand fits: a client that finds no room sends its SYN again
/// a second later.
const BACKLOG: i32 = 1024;
/// How long the end of a server waits for its thread, which may be in the middle of a page.
const PATIENCE: Duration = Duration::from_secs(1);

/// PageBody of a page, or what is wrong.
pub type Page = Box<dyn Fn() -> Result<String, String> + Send + Sync>;
/// The same, or nothing while there is nothing to serve yet.
pub type LatePage = Box<dyn Fn() -> Option<Result<String, String>> + Send + Sync>;

/// What there is to serve.
pub struct Pages {
    /// Metrics in Prometheus' text format. A client that asks before they are there waits.
    pub metrics: LatePage,
    /// Whether the program is alive; the text is for people.
    pub healthy: Page,
    /// Whether it does its work.
    pub ready: Page,
    /// The page for people, if it is served.
    pub feed: Option<Feed>,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pages").finish_non_exhaustive()
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program listens there.
    #[error(
        "cannot serve metrics on {0}: the port is in use (stop the other program, or choose another address with --metrics-addr)"
    )]
    InUse(SocketAddr),
    /// The port is below 1024.
    #[error(
        "cannot serve metrics on {0}: ports below 1024 need CAP_NET_BIND_SERVICE (choose another with --metrics-addr)"
    )]
    Forbidden(SocketAddr),
    /// No interface has the address.
    #[error("cannot serve metrics on {0}: no interface of this machine has that address")]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("cannot serve metrics on {address}: {source}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A bound address that does not answer yet: so that binding can come before privileges are dropped, and with it everything
/// that the answering thread needs of the system.
#[derive(Debug)]
pub struct Bound {
    listener: tokio::net::TcpListener,
    runtime: Runtime,
    address: SocketAddr,
    counters: EndpointCounters,
}

/// Binds an address. Port 0 takes any that is free.
///
/// # Errors
/// If that cannot be had; the text says what to do.
pub fn bind(address: SocketAddr) -> Result<Bound, ServerError> {
    let other = |source| ServerError::Other { address, source };
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ServerError::InUse(address),
        io::ErrorKind::PermissionDenied => ServerError::Forbidden(address),
        io::ErrorKind::AddrNotAvailable => ServerError::NoSuchAddress(address),
        _ => other(error),
    })?;
    // Listening again changes the backlog; the standard library's own is 128.
    listen(&listener, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN)).map_err(|error| other(error.into()))?;
    listener.set_nonblocking(true).map_err(other)?;
    let address = listener.local_addr().map_err(other)?;
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .thread_name("view")
        .build()
        .map_err(other)?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(other)?
    };
    Ok(Bound { listener, runtime, address, counters: EndpointCounters::default() })
}

/// A server that answers until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    counters: EndpointCounters,
    /// Dropped to stop it.
    stop: Option<oneshot::Sender<()>>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Bound {
    /// Where it is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it will count.
    #[must_use]
    pub fn counters(&self) -> EndpointCounters {
        self.counters.clone()
    }

    /// Starts to answer.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn serve(self, pages: Pages) -> Result<Server, ServerError> {
        let Self { listener, runtime, address, counters } = self;
        let (stop, stopped) = oneshot::channel();
        let (running, ended) = bounded(0);
        let counted = counters.clone();
        let run = move || {
            answer(&runtime, Clients::accept(listener, address, pages, counted), stopped, running);
            // Whoever still makes an event is left alone.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("http".to_owned()).stack_size(512 << 10).spawn(run);
        let thread = thread.map_err(|source| ServerError::Other { address, source })?;
        Ok(Server { address, counters, stop: Some(stop), ended, thread: Some(thread) })
    }
}

/// The body of the thread.
fn answer(
    runtime: &Runtime,
    clients: impl Future<Output = ()> + 'static,
    stopped: oneshot::Receiver<()>,
    running: Sender<()>,
) {
    let tasks = LocalSet::new();
    tasks.spawn_local(clients);
    // It ends with an error when the other end is dropped: that is the stop.
    let _stop = tasks.block_on(runtime, stopped);
    drop(tasks);
    drop(running);
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections closed because newer ones came.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Nothing is sent: either the thread ends, or the time is up and it is left to end by itself.
        let in_time = self.ended.recv_timeout(PATIENCE) == Err(crossbeam_channel::RecvTimeoutError::Disconnected);
        if let Some(thread) = self.thread.take().filter(|_| in_time) {
            // A panic there has been printed already.
            let _joined = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
