//! A log that goes to a Unix socket: to a system log (RFC 5424), or as lines.
//!
//! It is connected once, before privileges are given up, and not again: a confined process can make no connection. Writing never
//! waits for the reader, or over files at most for [`PATIENCE`]; lines for which there is no room are lost and counted. So are all
//! lines once the reader is gone.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{LogError, Target};
use crate::export::line_writer::LostLines;
use crate::export::numbers::rfc3339;

/// Milliseconds that a line waits for room over files, where waiting harms nobody.
const PATIENCE: u16 = 1_000;
/// Bytes that wait for a reader of a stream.
const WAITING: usize = 1 << 20;
/// Facility user, severity informational (RFC 5424, section 6.2.1).
const PRIORITY: u32 = 8 + 6;

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    socket: Connected,
    /// What stands in a message of a system log behind its time; nothing if lines are written as they are.
    head: Option<Vec<u8>>,
    /// Bytes that a stream has not taken yet: whole lines behind the rest of one.
    waiting: Vec<u8>,
    patience: PollTimeout,
}

#[derive(Debug)]
enum Connected {
    Stream(UnixStream),
    Datagram(UnixDatagram),
}

impl Socket {
    /// Connects to what a target names; nothing if that is no socket. `waits`: whether lines may wait for a reader.
    ///
    /// # Errors
    /// What the system says.
    fn connect(target: &Target, waits: bool) -> io::Result<Option<Self>> {
        let (path, head) = match target {
            Target::Stdout | Target::File(_) => return Ok(None),
            Target::Unix(path) => (path, None),
            Target::Syslog(path) => (path, Some(head())),
        };
        let socket = connected(path, head.is_some())?;
        let patience = PollTimeout::from(if waits { PATIENCE } else { 0 });
        Ok(Some(Self { socket, head, waiting: Vec::new(), patience }))
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8], now: i64) -> Result<(), LostLines> {
        let mut lost: Option<LostLines> = None;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if let Err(error) = self.line(line, now) {
                let before = lost.take();
                let (count, bytes) = before.map_or((0, 0), |lost| (lost.lines, lost.bytes));
                lost = Some(LostLines { error, lines: count + 1, bytes: bytes + line.len() as u64 });
            }
        }
        lost.map_or(Ok(()), Err)
    }

    /// Writes what waits, as far as it can be written.
    pub(super) fn flush(&mut self) -> Result<(), LostLines> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match self.send_waiting() {
            Err(error) => Err(self.give_up(error)),
            Ok(()) => Ok(()),
        }
    }

    /// At the end: what still waits is lost.
    pub(super) fn close(&mut self) -> Result<(), LostLines> {
        self.patience = PollTimeout::from(PATIENCE);
        self.flush()?;
        match self.waiting.is_empty() {
            true => Ok(()),
            false => Err(self.give_up(too_slow())),
        }
    }

    fn line(&mut self, line: &[u8], now: i64) -> io::Result<()> {
        let message = match &self.head {
            Some(head) => {
                let mut message = format!("<{PRIORITY}>1 ").into_bytes();
                rfc3339(now, &mut message);
                message.extend_from_slice(head);
                message.extend_from_slice(line);
                message
            }
            None => line.to_vec(),
        };
        match &mut self.socket {
            Connected::Datagram(socket) => {
                let text = message.strip_suffix(b"\n").unwrap_or(&message);
                match socket.send(text) {
                    Err(error) if is_full(&error) && is_ready(socket, self.patience) => socket.send(text).map(drop),
                    sent => sent.map(drop),
                }
                .map_err(|error| if is_full(&error) { too_slow() } else { error })
            }
            Connected::Stream(_) => {
                self.send_waiting()?;
                if self.waiting.len().saturating_add(message.len()) > WAITING {
                    return Err(too_slow());
                }
                self.waiting.extend_from_slice(&message);
                self.send_waiting()
            }
        }
    }

    /// Gives a stream what waits, as long as it takes it.
    fn send_waiting(&mut self) -> io::Result<()> {
        let Connected::Stream(stream) = &mut self.socket else { return Ok(()) };
        let mut sent = 0;
        let result = loop {
            let Some(rest) = self.waiting.get(sent..).filter(|rest| !rest.is_empty()) else { break Ok(()) };
            match stream.write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) => {
                    if !is_ready(stream, self.patience) {
                        break Ok(());
                    }
                }
                // A pipe whose reader is gone ends the run; a daemon outlives who reads this socket.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    break Err(io::Error::new(ErrorKind::NotConnected, "nobody reads the socket any more"));
                }
                Err(error) => break Err(error),
            }
        };
        self.waiting.drain(..sent);
        if result.is_err() {
            self.waiting.clear();
        }
        result
    }

    fn give_up(&mut self, error: io::Error) -> LostLines {
        let waiting = std::mem::take(&mut self.waiting);
        LostLines { error, lines: 0, bytes: 0 }.and(&waiting)
    }
}

/// Connects to what a target names; nothing if that is no socket. `waits`: whether lines may wait for a reader.
///
/// # Errors
/// [`LogError::Socket`].
pub fn connect(target: &Target, waits: bool) -> Result<Option<Socket>, LogError> {
    Socket::connect(target, waits).map_err(|source| LogError::Socket { name: target.to_string(), source })
}

/// `/dev/log` takes datagrams on most systems, other sockets mostly streams: what comes first is tried first.
fn connected(path: &Path, datagrams_first: bool) -> io::Result<Connected> {
    let stream = || {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok(Connected::Stream(stream))
    };
    let datagram = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Connected::Datagram(socket))
    };
    let is_other = |error: &io::Error| error.raw_os_error() == Some(libc::EPROTOTYPE);
    match if datagrams_first { datagram() } else { stream() } {
        Err(error) if is_other(&error) => {
            if datagrams_first {
                stream()
            } else {
                datagram()
            }
        }
        connected => connected,
    }
}

/// Host name, program, process, kind of message, and no structured data (RFC 5424, section 6).
fn head() -> Vec<u8> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let host =
        host.filter(|name| !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()));
    format!(" {} picotap {} log - ", host.as_deref().unwrap_or("-"), std::process::id()).into_bytes()
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

fn is_ready(socket: &impl AsFd, patience: PollTimeout) -> bool {
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, patience).is_ok_and(|ready| ready > 0)
}

fn too_slow() -> io::Error {
    io::Error::new(ErrorKind::WouldBlock, "the socket's reader is too slow")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    const NOW: i64 = 1_767_323_045_123_456_000;

    #[test]
    fn a_system_log_gets_a_message_for_each_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut socket = Socket::connect(&Target::Syslog(path), false).unwrap().unwrap();
        socket.write(b"{\"a\":1}\nsecond\n", NOW).unwrap();
        let mut buffer = [0; 512];
        for text in ["{\"a\":1}", "second"] {
            let length = reader.recv(&mut buffer).unwrap();
            let message = std::str::from_utf8(&buffer[..length]).unwrap();
            let parts: Vec<&str> = message.splitn(8, ' ').collect();
            assert_eq!(
                [parts[0], parts[1], parts[3], parts[5], parts[6], parts[7]],
                ["<14>1", "2026-01-02T03:04:05.123456Z", "picotap", "log", "-", text]
            );
            assert_eq!(parts[4], std::process::id().to_string());
        }
        // Nobody reads: the kernel holds a few, the rest is counted, and nothing waits.
        let many = "line\n".repeat(5_000);
        let lost = socket.write(many.as_bytes(), NOW).unwrap_err();
        assert!(lost.lines > 1_000 && lost.bytes == 5 * lost.lines, "{lost:?}");
        assert!(lost.error.to_string().contains("too slow"));
        drop(reader);
        assert_eq!(socket.write(b"a\nb\n", NOW).unwrap_err().lines, 2);
    }

    #[test]
    fn a_stream_gets_whole_lines_and_the_rest_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let listener = UnixListener::bind(&path).unwrap();
        let mut socket = Socket::connect(&Target::Unix(path.clone()), false).unwrap().unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        let line = |number: usize| format!("{number} {}\n", "x".repeat(number % 100));
        let mut lost = 0;
        for number in 0..60_000 {
            if let Err(what) = socket.write(line(number).as_bytes(), NOW) {
                lost += what.lines;
            }
        }
        assert!(lost > 0 && socket.waiting.len() <= WAITING);
        reader.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        for _ in 0..10_000 {
            let mut some = [0; 65_536];
            match reader.read(&mut some) {
                Ok(count) => all.extend_from_slice(&some[..count]),
                Err(_) if socket.waiting.is_empty() => break,
                Err(_) => socket.flush().unwrap(),
            }
        }
        let text = String::from_utf8(all).unwrap();
        let numbers: Vec<usize> = text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers.len() as u64 + lost, 60_000);
        assert!(
            numbers.is_sorted()
                && text.lines().zip(&numbers).all(|(text, number)| format!("{text}\n") == line(*number))
        );
        drop((reader, listener));
        let error = socket.write(b"a\n", NOW).unwrap_err();
        assert_eq!(error.lines, 1);
        assert_ne!(error.error.kind(), ErrorKind::BrokenPipe, "it does not end the run");
        assert!(Socket::connect(&Target::Unix(path), false).is_err(), "nobody listens any more");
    }
}
