//! A stream is a connection's socket as hyper reads and writes it, and tells how far the connection is.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connections::{DEADLINE, IDLE};

/// Time for a peer to close its side.
const LINGER: Duration = Duration::from_millis(300);
/// Bytes that are read from it meanwhile, to be thrown away.
const LINGER_BYTES: usize = 64 << 10;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head of a request has begun, or is the first to come.
    Head,
    /// A request is under way: it has come, and its page is being made.
    Asked,
    /// The page is being written.
    Answering,
    /// Nothing is under way, and a further request may come.
    Idle,
    /// The peer is to close.
    Closing,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct State {
    phase: Cell<Phase>,
    /// When it is cut unless it gets on.
    deadline: Cell<Instant>,
    began: Instant,
    /// Whether the metrics are what it asks for.
    pub(super) scraping: Cell<bool>,
}

impl State {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            phase: Cell::new(Phase::Head),
            deadline: Cell::new(now + DEADLINE),
            began: now,
            scraping: Cell::new(false),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn request_under_way(&self) -> bool {
        matches!(self.phase.get(), Phase::Asked | Phase::Answering)
    }

    pub(super) fn enter(&self, phase: Phase) {
        let time = match phase {
            Phase::Head | Phase::Asked => Some(DEADLINE),
            // The time that a request has is for both.
            Phase::Answering => None,
            Phase::Idle => Some(IDLE),
            Phase::Closing => Some(LINGER),
        };
        if let Some(time) = time {
            self.deadline.set(Instant::now() + time);
        }
        if phase == Phase::Idle {
            self.scraping.set(false);
        }
        self.phase.set(phase);
    }
}

/// A socket, and the state that goes on as bytes do.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    state: Rc<State>,
    thrown_away: usize,
}

impl Stream {
    pub(super) const fn new(socket: TcpStream, state: Rc<State>) -> Self {
        Self { socket, state, thrown_away: 0 }
    }

    fn socket(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().socket)
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut some = [0; 4096];
        let room = into.remaining().min(some.len());
        let mut buffer = ReadBuf::new(some.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buffer))?;
        if !buffer.filled().is_empty() && this.state.phase.get() == Phase::Idle {
            this.state.enter(Phase::Head);
        }
        into.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket().poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_write_vectored(cx, bytes)
    }

    /// hyper flushes when nothing is left to be written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.phase.get() == Phase::Answering {
            self.state.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    /// Closes this side, and waits for the peer to close its own: to close while unread bytes wait would reset the connection,
    /// and the peer might lose the response.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.phase.get() != Phase::Closing {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            this.state.enter(Phase::Closing);
        }
        let mut some = [0; 4096];
        while this.thrown_away < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut some);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                count => this.thrown_away += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}
