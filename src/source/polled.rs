//! A polled input is standard input or a named pipe whose reader stops waiting when it is asked to.

use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io::{ErrorKind, Read, Result};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

/// Milliseconds between two checks whether to stop.
const WAIT_MS: u16 = 100;

/// A reader that ends early once it is to stop.
pub struct Polled {
    file: File,
    stopped: Box<dyn Fn() -> bool + Send>,
}

impl Debug for Polled {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polled").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Polled {
    /// Standard input, until `stopped` is true.
    ///
    /// # Errors
    /// If it is closed.
    pub fn stdin(stopped: impl Fn() -> bool + Send + 'static) -> Result<Self> {
        let file = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self { file, stopped: Box::new(stopped) })
    }

    /// A named pipe, until `stopped` is true. Reading waits for a writer; opening does not.
    ///
    /// # Errors
    /// What opening gives.
    pub fn pipe(path: &Path, stopped: impl Fn() -> bool + Send + 'static) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { file, stopped: Box::new(stopped) })
    }
}

impl Read for Polled {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            if (self.stopped)() {
                return Ok(0);
            }
            let mut polled = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, WAIT_MS) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            match self.file.read(buffer) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
    }
}
