//! A log is where lines go: standard output, or a file that may be rotated, reopened, and outlive a full disk.

mod error;
mod opened;
mod output;
mod packed;
mod progress;
mod socket;
mod target;

use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;

pub use self::error::{LogError, LogNotice, ReaderGone};
use self::opened::{Lines, OpenedTarget, cut_half_line, open_for};
pub use self::output::{LogOutput, Logged};
use self::packed::Packed;
pub(in crate::export) use self::packed::Packing;
pub use self::progress::{Hand, Stalled, WriteProgress};
pub use self::socket::{Socket, connect};
pub use self::target::Target;
use crate::counters::{counters, families};
use crate::export::Format;
use crate::export::chunk::Chunk;
use crate::export::line_writer::LostLines;
use crate::export::open;
use crate::export::rotate::{Names, RotationThread, has_name};

/// Nanoseconds without a further attempt after a rotation has failed: a minute, an arbitrary number.
const RETRY: i64 = 60_000_000_000;
/// Bytes that a pipe or terminal is given at once: few, so that one that is read slowly is seen to be read at all. A quarter
/// of a pipe's usual capacity, so that its reader has enough to do meanwhile.
const PIECE: usize = 16 << 10;

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
    lines: Lines,
    /// Whether it is a regular file, which takes all that it is given at once.
    regular: bool,
    progress: Arc<WriteProgress>,
    /// Bytes in the file, and at the most those that lines which wait will take.
    size: u64,
    /// Interval in which the file was begun.
    interval: i64,
    /// When lines were last taken.
    now: i64,
    /// No rotation before this time.
    not_before: i64,
    /// Whether the next line is the first of a document.
    first: bool,
    /// Lines lost since writing began to fail.
    failing: Option<u64>,
    counters: LogCounters,
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let opened = match &target {
            Target::Stdout | Target::File(_) => open_for(&target, format.as_ref())?,
            Target::Syslog(_) | Target::Unix(_) => {
                let connected = connect(&target, false)?;
                return Self::to_socket(target, connected, format, now);
            }
        };
        let rotation = match (&target, rotation) {
            (Target::File(path), Some(_)) if !opened.regular || !has_name(path) => {
                return Err(LogError::NotAFile(path.clone()));
            }
            (Target::File(path), Some(rotation)) => {
                Some((rotation, RotationThread::new(Names::of(path), rotation.keep).map_err(LogError::Thread)?))
            }
            _ => None,
        };
        let (regular, size, modified) = (opened.regular, opened.size, opened.modified);
        let log = Self { rotation, size, ..Self::new(target, format, Lines::new(opened, now), regular, now) };
        Ok(log.begun(modified.unwrap_or(now), now))
    }

    /// The same, for a target whose socket has been connected before.
    ///
    /// # Errors
    /// If there is none.
    pub fn to_socket(
        target: Target,
        socket: Option<Socket>,
        format: Box<dyn Format>,
        now: i64,
    ) -> Result<Self, LogError> {
        match socket {
            Some(socket) => Ok(Self::new(target, format, Lines::Socket(socket), false, now).begun(now, now)),
            None => Self::open(target, None, format, now),
        }
    }

    fn new(target: Target, format: Box<dyn Format>, lines: Lines, regular: bool, now: i64) -> Self {
        Self {
            target,
            format,
            rotation: None,
            lines,
            regular,
            progress: Arc::new(WriteProgress::new(regular)),
            size: 0,
            interval: 0,
            now,
            not_before: i64::MIN,
            first: false,
            failing: None,
            counters: LogCounters::default(),
        }
    }

    /// With its header; the file is of this time.
    fn begun(mut self, time: i64, now: i64) -> Self {
        self.interval = self.interval_of(time);
        self.write_header(now);
        self
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
        self.now = now;
        self.tick(now, notices)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let fitting = self.fitting(rest, now);
            debug_assert!(fitting <= rest.len(), "no more fits than there is");
            let (fits, after) = rest.split_at_checked(fitting).unwrap_or((rest, b""));
            rest = after;
            if fits.is_empty() {
                // Lines that wait take less once they are compressed.
                if !self.packed(Packed::flush, notices)? {
                    self.rotate(now, notices);
                }
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

    /// Rotates if a new interval has begun, and writes lines that have waited to be compressed. To be called now and then when there
    /// is nothing to write.
    ///
    /// # Errors
    /// As of [`Log::write`].
    pub fn tick(&mut self, now: i64, notices: &mut Vec<LogNotice>) -> Result<(), ReaderGone> {
        self.packed(|packed| packed.tick(now), notices)?;
        if let Lines::Socket(socket) = &mut self.lines
            // Whether the reader takes lines again is told by what is written.
            && let lost @ Err(_) = socket.flush()
        {
            self.note(lost, notices)?;
        }
        if self.interval_of(now) > self.interval && now >= self.not_before && self.lines.is_whole() {
            if self.size == 0 || self.rotation.is_none() {
                self.interval = self.interval_of(now);
            } else {
                self.rotate(now, notices);
            }
        }
        Ok(())
    }

    /// Does something with a packed log, and takes notice if a piece was written or lost: whether one was.
    fn packed(
        &mut self,
        act: impl FnOnce(&mut Packed) -> Result<(), LostLines>,
        notices: &mut Vec<LogNotice>,
    ) -> Result<bool, ReaderGone> {
        let Lines::Packed(packed) = &mut self.lines else { return Ok(false) };
        let before = packed.packed();
        let result = act(packed);
        self.size = packed.size();
        let wrote = result.is_err() || packed.packed() != before;
        if wrote {
            self.note(result, notices)?;
        }
        Ok(wrote)
    }

    /// Writes what waits to be compressed or taken, before the log is closed: what cannot be written is told.
    ///
    /// # Errors
    /// As of [`Log::write`].
    pub fn flush(&mut self, notices: &mut Vec<LogNotice>) -> Result<(), ReaderGone> {
        self.packed(Packed::flush, notices)?;
        let Lines::Socket(socket) = &mut self.lines else { return Ok(()) };
        let result = socket.close();
        self.note(result, notices)
    }

    /// Opens the file anew, for a log that was renamed by another program. Standard output and sockets stay as they are.
    ///
    /// # Errors
    /// If it cannot be opened: lines then still go to the old one.
    pub fn reopen(&mut self, now: i64) -> Result<(), LogError> {
        if !matches!(self.target, Target::File(_)) {
            return Ok(());
        }
        let progress = Arc::clone(&self.progress);
        let _busy = progress.begin(0, 0);
        let mut opened = open_for(&self.target, self.format.as_ref())?;
        self.finish(now);
        if opened.regular {
            // It may be the same file, with what was just written.
            opened.size = opened.file.metadata().map_or(opened.size, |metadata| metadata.len());
        }
        self.regular = opened.regular;
        self.size = opened.size;
        self.lines = Lines::new(opened, now);
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
        self.target.to_string()
    }

    /// What happened so far, without [`LogCounters::not_taken`], which workers count.
    #[must_use]
    pub fn counters(&self) -> LogCounters {
        let archive_errors = self.rotation.as_ref().map_or(0, |(_, rotator)| rotator.errors());
        LogCounters { archive_errors, ..self.counters }
    }

    /// Writes lines, `count` of them.
    fn put(&mut self, lines: &[u8], count: u64, notices: &mut Vec<LogNotice>) -> Result<(), ReaderGone> {
        self.counters.lines = self.counters.lines.saturating_add(count);
        let changed;
        let lines = match lines.split_first() {
            Some((b',', rest)) if std::mem::take(&mut self.first) => {
                changed = [b" ", rest].concat();
                &changed
            }
            _ => lines,
        };
        let result = match &mut self.lines {
            Lines::Plain(plain) => {
                let before = plain.written();
                let result = plain.write(lines);
                self.size = self.size.saturating_add(plain.written().saturating_sub(before));
                result
            }
            Lines::Packed(_) => return self.packed(|packed| packed.write(lines), notices).map(drop),
            Lines::Socket(socket) => socket.write(lines, self.now),
        };
        self.note(result, notices)
    }

    /// Takes notice of what became of lines.
    fn note(&mut self, result: Result<(), LostLines>, notices: &mut Vec<LogNotice>) -> Result<(), ReaderGone> {
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
            Some(limit) => {
                let taken = self.size.saturating_add(self.lines.head());
                usize::try_from(limit.saturating_sub(taken)).unwrap_or(usize::MAX)
            }
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
        // What the old file does not take is told. It is a file: there is no reader that may be gone.
        let _wrote = self.packed(Packed::flush, notices);
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
        let aside = Names::of(path).free(now)?;
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
        let packing = Packing::of(&path);
        self.lines = Lines::new(OpenedTarget { file, size: 0, regular: true, modified: None, packing }, now);
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
        match &mut self.lines {
            Lines::Plain(plain) => {
                if plain.write(&footer).is_err() && !plain.is_whole() {
                    let cut = cut_half_line(plain.writer());
                    // Nothing more can be done for the old file; the half line counts as lost.
                    self.counters.write_errors += u64::from(cut.is_err());
                    self.counters.lost_lines += 1;
                }
            }
            Lines::Packed(packed) => {
                let written = packed.write(&footer).and_then(|()| packed.flush());
                self.count_lost(written);
            }
            Lines::Socket(socket) => {
                let written = socket.write(&footer, now).and_then(|()| socket.close());
                self.count_lost(written);
            }
        }
    }

    fn count_lost(&mut self, written: Result<(), LostLines>) {
        if let Err(LostLines { lines, bytes, .. }) = written {
            self.counters.write_errors += 1;
            self.counters.lost_lines = self.counters.lost_lines.saturating_add(lines);
            self.counters.lost_bytes = self.counters.lost_bytes.saturating_add(bytes);
        }
    }

    fn write_header(&mut self, now: i64) {
        if self.format.header_once() && self.size != 0 {
            return;
        }
        self.first = self.format.is_document();
        let mut header = Vec::new();
        self.format.header(now, &mut header);
        // What fails here fails again with the first line, and is reported then.
        let written = match &mut self.lines {
            Lines::Plain(plain) => plain.write(&header),
            Lines::Packed(packed) => packed.write(&header),
            Lines::Socket(socket) => socket.write(&header, now),
        };
        if written.is_ok() {
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

#[cfg(test)]
mod tests;
