//! The export thread writes what the workers made of transactions.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender};

use super::shutdown::{Shutdown, Why};
use crate::export::Format;

/// Where lines go.
pub enum Output {
    /// Standard output.
    Stdout(io::Stdout),
    /// A file.
    File(File, PathBuf),
}

impl Output {
    /// Opens a file for writing, or standard output.
    ///
    /// # Errors
    /// Names the file and says why it cannot be written.
    pub fn open(path: Option<&PathBuf>) -> Result<Self, (PathBuf, io::Error)> {
        match path {
            None => Ok(Self::Stdout(io::stdout())),
            Some(path) => {
                let file = File::options().create(true).write(true).truncate(true).open(path);
                file.map(|file| Self::File(file, path.clone())).map_err(|e| (path.clone(), e))
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => {
                let mut lock = out.lock();
                lock.write_all(bytes)?;
                lock.flush()
            }
            Self::File(file, _) => file.write_all(bytes),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Stdout(_) => "standard output".into(),
            Self::File(_, path) => path.display().to_string(),
        }
    }
}

/// Bytes that are gathered before they are written, while more are at hand.
const GATHER: usize = 256 << 10;

/// Writes until no more lines come. Gives what could not be written.
pub fn write(
    mut output: Output,
    mut format: Box<dyn Format>,
    lines: &Receiver<Vec<u8>>,
    buffers: &Sender<Vec<u8>>,
    shutdown: &Shutdown,
    now: impl Fn() -> i64,
) -> Option<String> {
    let mut gathered = Vec::with_capacity(GATHER);
    format.header(now(), &mut gathered);
    let mut failed = None;
    loop {
        let next = if gathered.is_empty() { lines.recv().ok() } else { lines.try_recv().ok() };
        match next {
            Some(mut chunk) => {
                gathered.extend_from_slice(&chunk);
                chunk.clear();
                drop(buffers.try_send(chunk));
                if gathered.len() < GATHER {
                    continue;
                }
            }
            None if gathered.is_empty() => break,
            None => {}
        }
        if failed.is_none() {
            failed = put(&mut output, &gathered, shutdown);
        }
        gathered.clear();
    }
    format.footer(now(), &mut gathered);
    if failed.is_none() && !gathered.is_empty() {
        failed = put(&mut output, &gathered, shutdown);
    }
    failed.filter(|text| !text.is_empty())
}

/// Writes, or says why not: an empty text if nobody reads any more, which is no failure.
fn put(output: &mut Output, bytes: &[u8], shutdown: &Shutdown) -> Option<String> {
    match output.write(bytes) {
        Ok(()) => None,
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            shutdown.ask(Why::Closed);
            Some(String::new())
        }
        Err(e) => {
            shutdown.ask(Why::Failed);
            Some(format!("{}: cannot be written: {e}", output.name()))
        }
    }
}
