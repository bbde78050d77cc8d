//! Notices: what picotap and its libraries print on standard error while the screen is shown. They would tear it, so they go
//! into a file in memory, of which the screen shows the end, and are printed once the terminal is as it was.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::dup2_stderr;

/// Lines that are kept to be printed: the last.
const MAX_LINES: usize = 1_000;
/// Bytes of a line that are kept.
const MAX_LINE: usize = 2_000;
/// Bytes after which the file begins anew. What is written at that very moment is lost.
const MAX_FILE: u64 = 1 << 20;

/// Standard error, which is held back until [`release`](Notices::release). Clones share it.
#[derive(Debug, Clone)]
pub struct Notices(Arc<Mutex<Held>>);

#[derive(Debug)]
struct Held {
    /// What descriptor 2 is meanwhile.
    file: File,
    /// What it was before.
    stderr: File,
    read: u64,
    lines: VecDeque<String>,
    /// All lines, those that are not kept too.
    count: usize,
    /// A line without its end.
    open: Vec<u8>,
}

impl Notices {
    /// Holds standard error back from here on. To be called before privileges are dropped.
    ///
    /// # Errors
    /// What the system says.
    pub fn hold() -> io::Result<Self> {
        let file = memfd_create(c"picotap-notices", MFdFlags::MFD_CLOEXEC)?;
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        let stderr: OwnedFd = io::stderr().as_fd().try_clone_to_owned()?;
        dup2_stderr(&file)?;
        let held = Held {
            file: file.into(),
            stderr: stderr.into(),
            read: 0,
            lines: VecDeque::new(),
            count: 0,
            open: Vec::new(),
        };
        Ok(Self(Arc::new(Mutex::new(held))))
    }

    /// The last lines, and how many there were in all.
    pub(super) fn last(&self, lines: usize) -> (Vec<String>, usize) {
        let mut held = self.lock();
        held.read();
        let skipped = held.lines.len().saturating_sub(lines);
        (held.lines.iter().skip(skipped).cloned().collect(), held.count)
    }

    /// Prints what was held back on the standard error that was there before. To be called when nothing is printed any more.
    pub fn release(&self) {
        let mut held = self.lock();
        held.read();
        let mut out = String::new();
        let left = held.count - held.lines.len();
        if left > 0 {
            out = format!("picotap: {left} lines of messages before these were left out\n");
        }
        for line in held.lines.drain(..) {
            out += &line;
            out.push('\n');
        }
        held.count = 0;
        // A terminal that is gone takes nothing.
        let _gone = (&held.stderr).write_all(out.as_bytes());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Reads what was written since the last call.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            let count = match self.file.read_at(&mut buffer, self.read) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            self.read += count as u64;
            self.take(buffer.get(..count).unwrap_or_default());
        }
        if self.read > MAX_FILE && self.file.set_len(0).is_ok() {
            self.read = 0;
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = MAX_LINE.saturating_sub(self.open.len());
            self.open.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if ends {
                let line = std::mem::take(&mut self.open);
                self.lines.push_back(String::from_utf8_lossy(&line).into_owned());
                self.count += 1;
                if self.lines.len() > MAX_LINES {
                    self.lines.pop_front();
                }
            }
        }
    }
}
