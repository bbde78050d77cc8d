//! A polled input is standard input or a pipe that gives up waiting when the pipeline is to stop.

use std::fs::File;
use std::io::{ErrorKind, Read, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use super::shutdown::Shutdown;

/// A reader that ends when a stop is asked for.
#[derive(Debug)]
pub struct Polled {
    file: File,
    shutdown: Shutdown,
}

/// Milliseconds between two looks at the request to stop.
const WAIT_MS: u16 = 100;

impl Polled {
    /// Standard input.
    ///
    /// # Errors
    /// If it is closed.
    pub fn stdin(shutdown: Shutdown) -> Result<Self> {
        Ok(Self { file: File::from(std::io::stdin().as_fd().try_clone_to_owned()?), shutdown })
    }

    /// A named pipe. Does not wait for a writer here, but when it is read.
    ///
    /// # Errors
    /// What opening gives.
    pub fn pipe(path: &Path, shutdown: Shutdown) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { file, shutdown })
    }
}

impl Read for Polled {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            if self.shutdown.asked() {
                return Ok(0);
            }
            let mut polled = [nix::poll::PollFd::new(self.file.as_fd(), nix::poll::PollFlags::POLLIN)];
            match nix::poll::poll(&mut polled, WAIT_MS) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
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

impl AsRawFd for Polled {
    fn as_raw_fd(&self) -> i32 {
        self.file.as_raw_fd()
    }
}
