//! What goes wrong with a log, and what people are to know of it.

use std::io;
use std::path::PathBuf;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot open log file {path}: {source}")]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output cannot be used.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// A socket cannot be connected to.
    #[error("{name}: cannot be connected to: {source}")]
    Socket {
        /// As it was named.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// Rotation needs a regular file.
    #[error("cannot rotate {0}: needed a regular file")]
    NotAFile(PathBuf),
    /// A document cannot be appended to another.
    #[error("cannot write to {0}: it is not empty, and this format is one document: needed the name of a new file")]
    NotEmpty(PathBuf),
    /// The thread for rotated files cannot be started.
    #[error("cannot start the thread for rotated logs: {0}")]
    Thread(io::Error),
}

impl LogError {
    /// Whether it is a pipe that nobody reads yet.
    #[must_use]
    pub fn has_no_reader(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotConnected)
    }
}

/// The reader of a pipe has closed it: a reason to end quietly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderGone;

/// A change that people are to know of, reported once.
#[derive(Debug, thiserror::Error)]
pub enum LogNotice {
    /// Lines are being lost from now on.
    #[error("cannot write the log: {0}; lines are lost and counted until it can be written again")]
    Failing(io::Error),
    /// The log can be written again.
    #[error("the log can be written again; {lines} lines were lost")]
    Recovered {
        /// Lines that were lost in between.
        lines: u64,
    },
    /// A rotation failed.
    #[error("cannot rotate the log: {0}; it goes on in the same file")]
    RotationFailed(io::Error),
}
