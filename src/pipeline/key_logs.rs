//! Key logs: the secrets in files go to the store that the workers share.
//!
//! Before capture files are read, they are read to their end. Live, a thread reads what is added to them. They are opened before
//! privileges are dropped, and not again: whoever moves one away and makes another has to say so by starting anew.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use zeroize::Zeroizing;

use super::run::Failure;
use super::shared::Shared;
use crate::daemon::privileges::forbid_dumps;
use crate::source::{Captures, Secrets, read_key_log};
use crate::tls::keylog::KeyLog;
use crate::tls::keys::KeyStore;

/// Bytes read at once; the workers wait for the store meanwhile.
pub(crate) const PIECE: usize = 64 * 1024;
/// The most pieces read of one log before the next has its turn.
const PIECES: usize = 16;
/// Time between two looks at logs that have not grown.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Looks after which it is checked whether a log is still the file of its name.
const LOOKS: u32 = 50;

/// An open key log.
pub(crate) struct KeyLogFile {
    path: PathBuf,
    file: File,
    log: KeyLog,
    is_pipe: bool,
    /// Bytes read since its beginning.
    read: u64,
    /// Somebody writes to the pipe.
    has_writer: bool,
    /// Its name is another file's, or nobody's: this was said.
    moved: bool,
    /// So was that it holds what is no secret, or lines that cannot be used.
    said: [bool; 2],
    looks: u32,
}

/// Opens key logs. `live`: they are read while they grow, and a pipe need not have a writer.
///
/// # Errors
/// One cannot be opened, or is neither a file nor a pipe.
pub(super) fn open(paths: &[PathBuf], live: bool) -> Result<Vec<KeyLogFile>, Failure> {
    let open =
        |path: &PathBuf| KeyLogFile::open(path, live).map_err(|cause| Failure::KeyLog { path: path.clone(), cause });
    paths.iter().map(open).collect()
}

/// Reads key logs to their end. Gives what people should know of them.
///
/// # Errors
/// A file cannot be read.
pub(super) fn read(logs: Vec<KeyLogFile>, store: &mut KeyStore) -> Result<Vec<String>, Failure> {
    let mut notices = Vec::new();
    for mut opened in logs {
        let KeyLogFile { file, log, .. } = &mut opened;
        if let Err(cause) = read_key_log(file, |bytes| log.read(bytes, store)) {
            return Err(Failure::KeyLog { path: opened.path, cause });
        }
        opened.log.finish(store);
        notices.extend(opened.complaint(false));
        if opened.log.counters().secrets == 0 {
            notices.push(format!("{}: holds no secrets that open TLS", opened.path.display()));
        }
    }
    Ok(notices)
}

/// Reads what is added to key logs, until `stop` is disconnected.
pub(super) fn follow(mut logs: Vec<KeyLogFile>, shared: &Arc<Shared>, quiet: bool, stop: &Receiver<()>) {
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    loop {
        let mut more = false;
        logs.retain_mut(|log| {
            let looked = log.look(&mut piece, |bytes, log| shared.with_keys(|store| log.read(bytes, store)));
            let (notices, keep) = match looked {
                Ok((grew, notices)) => {
                    more |= grew;
                    (notices, true)
                }
                Err(error) => {
                    let path = log.path.display();
                    (vec![format!("{path}: cannot be read any more: {error}; no further secrets come of it")], false)
                }
            };
            for notice in notices.iter().filter(|_| !quiet || !keep) {
                eprintln!("picotap: {notice}");
            }
            keep
        });
        let wait = if more { Duration::ZERO } else { LOOK_AGAIN };
        if stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Takes the secrets that capture files hold. `confined`: nothing of this memory gets into a core dump anyway.
pub(super) fn take_from(captures: &mut Captures, shared: &Arc<Shared>, confined: bool) {
    let shared = Arc::clone(shared);
    let mut log = KeyLog::new();
    let mut dumps_forbidden = confined;
    captures.on_secrets(Box::new(move |secrets| {
        if !std::mem::replace(&mut dumps_forbidden, true)
            && let Err(error) = forbid_dumps()
        {
            eprintln!("picotap: a core dump may hold secrets of TLS: {error}");
        }
        shared.with_keys(|store| match secrets {
            Secrets::Piece(bytes) => log.read(bytes, store),
            Secrets::End => log.finish(store),
        });
    }));
}

impl KeyLogFile {
    /// Opens one. `live`: it is read while it grows, and a pipe need not have a writer.
    ///
    /// # Errors
    /// It cannot be opened, or is neither a file nor a pipe.
    pub(crate) fn open(path: &Path, live: bool) -> io::Result<Self> {
        // Live, opening a pipe does not wait for a writer.
        let flags = if live { libc::O_NONBLOCK } else { 0 };
        let missing = |error: io::Error| match error.kind() {
            ErrorKind::NotFound if live => io::Error::new(
                ErrorKind::NotFound,
                "there is no such file: make an empty one before, since none can be opened later",
            ),
            _ => error,
        };
        let kind = std::fs::metadata(path).map_err(missing)?.file_type();
        if !kind.is_file() && !kind.is_fifo() {
            let what = if kind.is_dir() { "a directory" } else { "a device or a socket" };
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what}: needed a file or a pipe")));
        }
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            log: KeyLog::new(),
            is_pipe: kind.is_fifo(),
            read: 0,
            has_writer: false,
            moved: false,
            said: [false; 2],
            looks: 0,
        })
    }

    /// Reads what was added. Whether there may be more, and what people should know.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn look(
        &mut self,
        piece: &mut [u8],
        mut take: impl FnMut(&[u8], &mut KeyLog),
    ) -> io::Result<(bool, Vec<String>)> {
        let mut notices = Vec::new();
        if !self.is_pipe {
            notices.extend(self.check()?);
        }
        let mut more = false;
        for _ in 0..PIECES {
            more = false;
            match self.file.read(piece) {
                Ok(0) => {
                    notices.extend(self.left(&mut take));
                    break;
                }
                Ok(length) => {
                    self.has_writer |= self.is_pipe;
                    self.read += length as u64;
                    take(piece.get(..length).unwrap_or_default(), &mut self.log);
                    more = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A writer holds the pipe open.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.has_writer = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        notices.extend(self.complaint(true));
        Ok((more, notices))
    }

    /// There is nothing to read. If it is a pipe its last writer has closed it; another may open it again.
    fn left(&mut self, take: &mut impl FnMut(&[u8], &mut KeyLog)) -> Option<String> {
        if !std::mem::take(&mut self.has_writer) {
            return None;
        }
        take(b"\n", &mut self.log);
        Some(format!("{}: its writer has closed it; secrets come when it is opened again", self.path.display()))
    }

    /// Looks whether it was cut short, and now and then whether it is still the file of its name.
    fn check(&mut self) -> io::Result<Option<String>> {
        let path = self.path.display();
        let own = self.file.metadata()?;
        if own.len() < self.read {
            self.file.seek(SeekFrom::Start(0))?;
            self.log.restart();
            self.read = 0;
            return Ok(Some(format!("{path}: was cut short; it is read from its beginning again")));
        }
        self.looks += 1;
        if self.moved || !self.looks.is_multiple_of(LOOKS) {
            return Ok(None);
        }
        let same = |other: &Metadata| (own.dev(), own.ino()) == (other.dev(), other.ino());
        // Without the right to look, it counts as the same as long as it has any name.
        let moved = match std::fs::metadata(&self.path) {
            Ok(other) => !same(&other),
            Err(error) => error.kind() == ErrorKind::NotFound || own.nlink() == 0,
        };
        self.moved = moved;
        Ok(moved.then(|| {
            format!(
                "{path}: was moved or replaced; picotap goes on with the old file, and reads the new one when it is started anew"
            )
        }))
    }

    /// What is wrong with its lines, once; `grows`: how many they are is not known yet.
    fn complaint(&mut self, grows: bool) -> Vec<String> {
        let (path, counters) = (self.path.display(), self.log.counters());
        let [malformed, rsa] = &mut self.said;
        let mut notices = Vec::new();
        if let Some(line) = self.log.first_malformed().filter(|_| !*malformed) {
            *malformed = true;
            notices.push(match (grows, counters.malformed) {
                (true, _) => format!("{path}: line {line} is no secret; further such lines are counted, not named"),
                (false, 1) => format!("{path}: line {line} is no secret"),
                (false, count) => format!("{path}: {count} lines are no secrets, the first of them line {line}"),
            });
        }
        if counters.rsa > 0 && !*rsa {
            *rsa = true;
            let lines = match (grows, counters.rsa) {
                (true, _) => "lines".to_owned(),
                (false, 1) => "1 line".to_owned(),
                (false, count) => format!("{count} lines"),
            };
            notices.push(format!("{path}: {lines} of the form RSA cannot be used: needed CLIENT_RANDOM"));
        }
        notices
    }
}
