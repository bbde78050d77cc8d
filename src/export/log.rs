//! A log is where lines go: standard output, or a file that may be rotated, reopened, and outlive a full disk.

mod output;
mod progress;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::output::LogOutput;
pub use self::progress::{Hand, Stalled, WriteProgress};
use crate::counters::{counters, families};
use crate::export::Format;
use crate::export::chunk::Chunk;
use crate::export::line_writer::{LineWriter, LostLines};
use crate::export::open;
use crate::export::rotate::{RotationThread, free_name, has_name};

/// Nanoseconds without a further attempt after a rotation has failed: a minute, an arbitrary number.
const RETRY: i64 = 60_000_000_000;
/// Bytes that a pipe or terminal is given at once: few, so that one that is read slowly is seen to be read at all. A quarter
/// of a pipe's usual capacity, so that its reader has enough to do meanwhile.
const PIECE: usize = 16 << 10;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file: lines are appended to what is there.
    File(PathBuf),
}

/// When a file is rotated, and how many rotated files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Before it exceeds so many bytes (a single line may).
    pub size: Option<u64>,
    /// When a new interval of so many nanoseconds begins, counted from the Unix epoch: a day ends at midnight UTC.
    pub interval: Option<i64>,
    /// How many are kept.
    pub keep: usize,
}

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
    /// Rotation needs a regular file.
    #[error("cannot rotate {0}: needed a regular file")]
    NotAFile(PathBuf),
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

families! {
    LOG_LINES = Counter "picotap_log_lines_total" [] "log lines", "Log lines.";
    LOG_EARLY_LINES = Counter "picotap_log_early_lines_total" [] "log lines perhaps out of order", "Log lines that were written without waiting for others that may have been completed before.";
    LOG_LOST_LINES = Counter "picotap_log_lost_lines_total" ["reason"] "log lines lost", "Log lines that were lost: not written, or not taken in time.";
    LOG_LOST_BYTES = Counter "picotap_log_lost_bytes_total" [] "bytes of log lines not written", "Bytes of log lines that could not be written.";
    LOG_WRITE_ERRORS = Counter "picotap_log_write_errors_total" [] "log writes failed", "Writes to the log that failed.";
    LOG_ROTATIONS = Counter "picotap_log_rotations_total" ["result"] "log rotations", "Rotations of the log.";
    LOG_ARCHIVE_ERRORS = Counter "picotap_log_archive_errors_total" [] "rotated logs in trouble", "Rotated log files that could not be compressed or removed.";
}

counters! {
    /// What happened to a log.
    pub struct LogCounters {
        /// Lines that were taken, those of headers not counted.
        lines => LOG_LINES,
        /// Of these, those that did not wait for lines that may have been completed before.
        early => LOG_EARLY_LINES,
        /// Lines that a worker dropped because the export thread was behind.
        not_taken => LOG_LOST_LINES["not_taken"],
        /// Lines that were lost.
        lost_lines => LOG_LOST_LINES["not_written"],
        /// Their bytes.
        lost_bytes => LOG_LOST_BYTES,
        /// Writes that failed.
        write_errors => LOG_WRITE_ERRORS,
        /// Rotations.
        rotations => LOG_ROTATIONS["done"],
        /// Rotations that failed.
        rotation_errors => LOG_ROTATIONS["failed"],
        /// Rotated files that could not be compressed or removed.
        archive_errors => LOG_ARCHIVE_ERRORS,
    }
}

/// A log.
pub struct Log {
    target: Target,
    format: Box<dyn Format>,
    rotation: Option<(Rotation, RotationThread)>,
    lines: LineWriter<File>,
    /// Whether it is a regular file, which takes all that it is given at once.
    regular: bool,
    progress: Arc<WriteProgress>,
    /// Bytes in the file.
    size: u64,
    /// Interval in which the file was begun.
    interval: i64,
    /// No rotation before this time.
    not_before: i64,
    /// Lines lost since writing began to fail.
    failing: Option<u64>,
    counters: LogCounters,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Log")
            .field("target", &self.target)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Opens a log at wall-clock time `now` (nanoseconds since the Unix epoch), and writes the format's header.
    ///
    /// # Errors
    /// If it cannot be opened, or cannot be rotated though that was asked for.
    pub fn open(
        target: Target,
        rotation: Option<Rotation>,
        format: Box<dyn Format>,
        now: i64,
    ) -> Result<Self, LogError> {
        let opened = open_target(&target)?;
        let rotation = match (&target, rotation) {
            (Target::File(path), Some(_)) if !opened.regular || !has_name(path) => {
                return Err(LogError::NotAFile(path.clone()));
            }
            (Target::File(path), Some(rotation)) => {
                Some((rotation, RotationThread::new(path, rotation.keep).map_err(LogError::Thread)?))
            }
            _ => None,
        };
        let mut log = Self {
            target,
            format,
            rotation,
            lines: LineWriter::new(opened.file),
            regular: opened.regular,
            progress: Arc::new(WriteProgress::new(opened.regular)),
            size: opened.size,
            interval: 0,
            not_before: i64::MIN,
            failing: None,
            counters: LogCounters::default(),
        };
        log.interval = log.interval_of(opened.modified.unwrap_or(now));
        log.write_header(now);
        Ok(log)
    }

    /// Writes lines, each with its end, and rotates when it is time. What people are to know is appended to `notices`.
    ///
    /// Line ends are searched for only where lines are split: between two files, or in pieces for a pipe.
    ///
    /// # Errors
    /// If the reader of a pipe has closed it.
    pub fn write(&mut self, lines: &Chunk, now: i64, notices: &mut Vec<LogNotice>) -> Result<(), ReaderGone> {
        let (bytes, mut left) = (lines.bytes.as_slice(), lines.records);
        debug_assert_eq!(left, count(bytes), "every record of a log is a line");
        let progress = Arc::clone(&self.progress);
        let _busy = progress.begin(left, bytes.len());
        self.tick(now, notices);
        let mut rest = bytes;
        while !rest.is_empty() {
            let fitting = self.fitting(rest, now);
            debug_assert!(fitting <= rest.len(), "no more fits than there is");
            let (fits, after) = rest.split_at_checked(fitting).unwrap_or((rest, b""));
            rest = after;
            if fits.is_empty() {
                self.rotate(now, notices);
                continue;
            }
            // Mostly all of them fit, and have been counted.
            let fitting = if rest.is_empty() { left } else { count(fits) };
            self.put(fits, fitting, notices)?;
            left = left.saturating_sub(fitting);
            progress.advance(left, rest.len());
        }
        Ok(())
    }

    /// Rotates if a new interval has begun. To be called now and then when there is nothing to write.
    pub fn tick(&mut self, now: i64, notices: &mut Vec<LogNotice>) {
        if self.interval_of(now) > self.interval && now >= self.not_before && self.lines.is_whole() {
            if self.size == 0 || self.rotation.is_none() {
                self.interval = self.interval_of(now);
            } else {
                self.rotate(now, notices);
            }
        }
    }

    /// Opens the file anew, for a log that was renamed by another program. Standard output stays as it is.
    ///
    /// # Errors
    /// If it cannot be opened: lines then still go to the old one.
    pub fn reopen(&mut self, now: i64) -> Result<(), LogError> {
        if self.target == Target::Stdout {
            return Ok(());
        }
        let progress = Arc::clone(&self.progress);
        let _busy = progress.begin(0, 0);
        let opened = open_target(&self.target)?;
        self.finish(now);
        self.lines = LineWriter::new(opened.file);
        self.regular = opened.regular;
        self.size = opened.size;
        self.interval = self.interval_of(now);
        self.write_header(now);
        Ok(())
    }

    /// Ends the log: finishes a half-written line, or removes it, and writes the format's footer.
    pub fn close(mut self, now: i64) -> LogCounters {
        let progress = Arc::clone(&self.progress);
        let _busy = progress.begin(0, 0);
        self.finish(now);
        self.counters()
    }

    /// How much of what it was given it has written, as another thread sees it.
    #[must_use]
    pub fn progress(&self) -> Arc<WriteProgress> {
        Arc::clone(&self.progress)
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.target {
            Target::Stdout => "standard output".to_owned(),
            Target::File(path) => path.display().to_string(),
        }
    }

    /// What happened so far, without [`LogCounters::not_taken`], which workers count.
    #[must_use]
    pub fn counters(&self) -> LogCounters {
        let archive_errors = self.rotation.as_ref().map_or(0, |(_, rotator)| rotator.errors());
        LogCounters { archive_errors, ..self.counters }
    }

    /// Writes lines, `count` of them.
    fn put(&mut self, lines: &[u8], count: u64, notices: &mut Vec<LogNotice>) -> Result<(), ReaderGone> {
        let before = self.lines.written();
        let result = self.lines.write(lines);
        self.size = self.size.saturating_add(self.lines.written().saturating_sub(before));
        self.counters.lines = self.counters.lines.saturating_add(count);
        match result {
            Ok(()) => {
                if let Some(lines) = self.failing.take() {
                    notices.push(LogNotice::Recovered { lines });
                }
                Ok(())
            }
            Err(LostLines { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone),
            Err(LostLines { error, lines, bytes }) => {
                self.counters.write_errors += 1;
                self.counters.lost_lines = self.counters.lost_lines.saturating_add(lines);
                self.counters.lost_bytes = self.counters.lost_bytes.saturating_add(bytes);
                match &mut self.failing {
                    Some(lost) => *lost = lost.saturating_add(lines),
                    None => {
                        self.failing = Some(lines);
                        notices.push(LogNotice::Failing(error));
                    }
                }
                Ok(())
            }
        }
    }

    /// How many bytes of `lines` go into the file as it is: whole lines, at least one into an empty file.
    fn fitting(&self, lines: &[u8], now: i64) -> usize {
        let limit = self.rotation.as_ref().and_then(|(rotation, _)| rotation.size);
        let limit = limit.filter(|_| now >= self.not_before && self.lines.is_whole());
        let room = match limit {
            Some(limit) => usize::try_from(limit.saturating_sub(self.size)).unwrap_or(usize::MAX),
            None if self.regular => usize::MAX,
            None => PIECE,
        };
        if room >= lines.len() {
            return lines.len();
        }
        let end = |at: usize| at.saturating_add(1);
        match memchr::memrchr(b'\n', lines.get(..room).unwrap_or_default()) {
            Some(at) => end(at),
            None if self.size == 0 || limit.is_none() => memchr::memchr(b'\n', lines).map_or(lines.len(), end),
            None => 0,
        }
    }

    fn rotate(&mut self, now: i64, notices: &mut Vec<LogNotice>) {
        match self.try_to_rotate(now) {
            Ok(()) => self.counters.rotations += 1,
            Err(error) => {
                self.counters.rotation_errors += 1;
                self.not_before = now.saturating_add(RETRY);
                notices.push(LogNotice::RotationFailed(error));
            }
        }
    }

    /// The new file is made under another name first, since that is what may fail: from there on there are only renames.
    /// The old one has its footer before it gets the name under which it may be compressed.
    fn try_to_rotate(&mut self, now: i64) -> io::Result<()> {
        let Target::File(path) = &self.target else { return Ok(()) };
        let fresh = open::beside(path);
        let file = open::fresh(&fresh, open::LOG_MODE)?;
        let aside = free_name(path, now)?;
        let path = path.clone();
        self.finish(now);
        let moved = match fs::rename(&path, &aside) {
            // Somebody removed it: there is nothing to rotate.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved,
        };
        if let Err(error) = moved.and_then(|()| fs::rename(&fresh, &path)) {
            self.write_header(now);
            return Err(error);
        }
        self.lines = LineWriter::new(file);
        self.size = 0;
        self.interval = self.interval_of(now);
        self.write_header(now);
        if let Some((_, rotator)) = &self.rotation {
            rotator.wake();
        }
        Ok(())
    }

    /// Writes the footer. A line that stays half written is cut off, where the file can be cut.
    fn finish(&mut self, now: i64) {
        let mut footer = Vec::new();
        self.format.footer(now, &mut footer);
        if self.lines.write(&footer).is_err() && !self.lines.is_whole() {
            let cut = cut_half_line(self.lines.writer());
            // Nothing more can be done for the old file; the half line counts as lost.
            self.counters.write_errors += u64::from(cut.is_err());
            self.counters.lost_lines += 1;
        }
    }

    fn write_header(&mut self, now: i64) {
        let mut header = Vec::new();
        self.format.header(now, &mut header);
        // What fails here fails again with the first line, and is reported then.
        if self.lines.write(&header).is_ok() {
            self.size = self.size.saturating_add(header.len() as u64);
        }
    }

    fn interval_of(&self, time: i64) -> i64 {
        let interval = self.rotation.as_ref().and_then(|(rotation, _)| rotation.interval);
        interval.filter(|interval| *interval > 0).map_or(0, |interval| time.div_euclid(interval))
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

struct OpenedTarget {
    file: File,
    size: u64,
    regular: bool,
    /// Time of the last change of a file that was there.
    modified: Option<i64>,
}

fn open_target(target: &Target) -> Result<OpenedTarget, LogError> {
    match target {
        Target::Stdout => {
            let file: File = io::stdout().as_fd().try_clone_to_owned().map_err(LogError::Stdout)?.into();
            let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
            Ok(OpenedTarget { file, size: 0, regular, modified: None })
        }
        Target::File(path) => open_file(path).map_err(|source| LogError::Open { path: path.clone(), source }),
    }
}

fn open_file(path: &Path) -> io::Result<OpenedTarget> {
    let mut file = open::append(path, open::LOG_MODE)?;
    let metadata = file.metadata()?;
    let regular = metadata.is_file();
    let mut size = if regular { metadata.len() } else { 0 };
    if size != 0 {
        // What was killed while it wrote has left half a line: it must not run together with the next.
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| i64::try_from(since.as_nanos()).ok()).filter(|_| size != 0);
    Ok(OpenedTarget { file, size, regular, modified })
}

/// Cuts what stands behind the last line end of a regular file.
fn cut_half_line(file: &mut File) -> io::Result<()> {
    let mut end = file.metadata()?.len();
    let mut some = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(some.len() as u64);
        let count = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let part = some.get_mut(..count).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return file.set_len(start.saturating_add(at as u64).saturating_add(1));
        }
        end = start;
    }
    file.set_len(0)
}

#[cfg(test)]
mod tests;
