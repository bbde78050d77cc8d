//! A client stream is a connection's socket as hyper reads and writes it. What it reads and writes moves the connection from
//! phase to phase.

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

use super::clients::{DEADLINE, IDLE, STALLED};

/// Time for a peer to close its side.
const LINGER: Duration = Duration::from_millis(300);
/// Bytes that are read from it meanwhile, to be thrown away.
const LINGER_BYTES: usize = 64 << 10;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientPhase {
    /// The head of a request has begun, or the first one is awaited.
    Head,
    /// A request has been read, and its page is being made.
    Asked,
    /// The page is being written.
    Answering,
    /// Events are sent, without end.
    Following,
    /// A further request is awaited.
    Idle,
    /// This side is closed, and the peer is to close too.
    Closing,
}

/// Phase and deadline of a connection.
#[derive(Debug)]
pub(super) struct ClientState {
    phase: Cell<ClientPhase>,
    /// When it is closed unless it makes progress.
    deadline: Cell<Instant>,
    began: Instant,
    /// Whether it is sent metrics.
    pub(super) scraping: Cell<bool>,
}

impl ClientState {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            phase: Cell::new(ClientPhase::Head),
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
        matches!(self.phase.get(), ClientPhase::Asked | ClientPhase::Answering | ClientPhase::Following)
    }

    pub(super) fn follows(&self) -> bool {
        self.phase.get() == ClientPhase::Following
    }

    /// Another event is on its way: the client has taken the one before.
    pub(super) fn proceeds(&self) {
        self.enter(ClientPhase::Following);
    }

    pub(super) fn enter(&self, phase: ClientPhase) {
        let time = match phase {
            ClientPhase::Head | ClientPhase::Asked => Some(DEADLINE),
            // The time that a request has is for both.
            ClientPhase::Answering => None,
            ClientPhase::Following => Some(STALLED),
            ClientPhase::Idle => Some(IDLE),
            ClientPhase::Closing => Some(LINGER),
        };
        if let Some(time) = time {
            self.deadline.set(Instant::now() + time);
        }
        if phase == ClientPhase::Idle {
            self.scraping.set(false);
        }
        self.phase.set(phase);
    }
}

/// A socket, and the state that follows its bytes.
#[derive(Debug)]
pub(super) struct ClientStream {
    socket: TcpStream,
    state: Rc<ClientState>,
    thrown_away: usize,
}

impl ClientStream {
    pub(super) const fn new(socket: TcpStream, state: Rc<ClientState>) -> Self {
        Self { socket, state, thrown_away: 0 }
    }

    fn socket(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().socket)
    }
}

impl Read for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut some = [0; 4096];
        let room = into.remaining().min(some.len());
        let mut buffer = ReadBuf::new(some.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buffer))?;
        if !buffer.filled().is_empty() && this.state.phase.get() == ClientPhase::Idle {
            this.state.enter(ClientPhase::Head);
        }
        into.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for ClientStream {
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
        if self.state.phase.get() == ClientPhase::Answering {
            self.state.enter(ClientPhase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    /// Closes this side, and waits for the peer to close its own: to close while unread bytes wait would reset the connection,
    /// and the peer might lose the response.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.phase.get() != ClientPhase::Closing {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            this.state.enter(ClientPhase::Closing);
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
