//! A log that goes to a Unix socket: to a system log (RFC 5424), or as lines.
//!
//! It is connected once, before privileges are given up, and not again: a confined process can make no connection. Writing never
//! waits for the reader, or over files at most for [`PATIENCE`], and not again before the reader has taken something; lines for which
//! there is no room are lost and counted. So are all lines once the reader is gone.

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
    /// The reader took nothing when it was waited for last.
    slow: bool,
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
        Ok(Some(Self { socket, head, waiting: Vec::new(), patience, slow: false }))
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8], now: i64) -> Result<(), LostLines> {
        let mut lost = None;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if let Err(more) = self.line(line, now) {
                lost = Some(more.after(lost));
            }
        }
        if let Err(more) = self.flush() {
            lost = Some(more.after(lost));
        }
        lost.map_or(Ok(()), Err)
    }

    /// At the end: what still waits is lost.
    pub(super) fn close(&mut self) -> Result<(), LostLines> {
        self.patience = PollTimeout::from(PATIENCE);
        self.slow = false;
        self.flush()?;
        match self.waiting.is_empty() {
            true => Ok(()),
            false => Err(LostLines::new(too_slow(), &std::mem::take(&mut self.waiting))),
        }
    }

    /// How long to wait for the reader.
    const fn patience(&self) -> PollTimeout {
        if self.slow { PollTimeout::ZERO } else { self.patience }
    }

    fn line(&mut self, line: &[u8], now: i64) -> Result<(), LostLines> {
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
        if let Connected::Datagram(socket) = &self.socket {
            let text = message.strip_suffix(b"\n").unwrap_or(&message);
            let mut sent = socket.send(text);
            if sent.as_ref().is_err_and(is_full) && is_ready(socket, self.patience()) {
                sent = socket.send(text);
            }
            self.slow = sent.as_ref().is_err_and(is_full);
            let lost = |error| LostLines::new(if is_full(&error) { too_slow() } else { error }, line);
            return sent.map(drop).map_err(lost);
        }
        if self.waiting.len().saturating_add(message.len()) > WAITING {
            self.flush().map_err(|lost| lost.and(line))?;
            if self.waiting.len().saturating_add(message.len()) > WAITING {
                return Err(LostLines::new(too_slow(), line));
            }
        }
        self.waiting.extend_from_slice(&message);
        Ok(())
    }

    /// Gives a stream what waits, as long as it takes it.
    pub(super) fn flush(&mut self) -> Result<(), LostLines> {
        let patience = self.patience();
        let Connected::Stream(stream) = &mut self.socket else { return Ok(()) };
        let mut sent = 0;
        let result = loop {
            let Some(rest) = self.waiting.get(sent..).filter(|rest| !rest.is_empty()) else { break Ok(()) };
            match stream.write(rest) {
                Ok(count) => {
                    sent += count;
                    self.slow = false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) => {
                    if !is_ready(stream, patience) {
                        self.slow = true;
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
        result.map_err(|error| LostLines::new(error, &std::mem::take(&mut self.waiting)))
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
    use std::time::Instant;

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
        // What waits when the reader goes away is lost with the rest.
        let filled = "y\n".repeat(WAITING / 2);
        let before = socket.write(filled.as_bytes(), NOW).map_or_else(|lost| lost.lines, |()| 0);
        let mut taken = vec![0; 1 << 20];
        let read = reader.read(&mut taken).unwrap() as u64;
        let left = socket.waiting.len() as u64 / 2;
        assert!(left > 0 && read > 0 && before == 0, "{left} {read} {before}");
        drop((reader, listener));
        assert!(socket.flush().unwrap_err().lines.abs_diff(left) <= 1);
        let error = socket.write(b"a\n", NOW).unwrap_err();
        assert_eq!(error.lines, 1);
        assert_ne!(error.error.kind(), ErrorKind::BrokenPipe, "it does not end the run");
        assert!(Socket::connect(&Target::Unix(path), false).is_err(), "nobody listens any more");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what is tested is how long it takes")]
    fn a_reader_that_takes_nothing_is_waited_for_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let _reader = UnixDatagram::bind(&path).unwrap();
        let mut socket = Socket::connect(&Target::Unix(path), true).unwrap().unwrap();
        let start = Instant::now();
        let lost = socket.write("line\n".repeat(2_000).as_bytes(), NOW).unwrap_err();
        let (once, waited) = (u128::from(PATIENCE), start.elapsed().as_millis());
        assert!(lost.lines > 1_000 && waited >= once && waited < 20 * once, "{lost:?} {waited}");
    }
}
