//! A log is where lines go: standard output, or a file that may be rotated, reopened, and outlive a full disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::counters::{counters, families};
use crate::export::Format;
use crate::export::lines::{Lines, Lost};
use crate::export::rotated::{Keeper, MODE, free_name, has_name};

/// After a rotation has failed, none is tried for so many nanoseconds: a minute, an arbitrary number.
const RETRY: i64 = 60_000_000_000;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file: lines are appended to what is there.
    File(PathBuf),
}

/// When a file is put aside, and how many such are kept.
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
        /// Its path.
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

/// Nobody reads any more (a closed pipe): a reason to end quietly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Something to tell people, once.
#[derive(Debug, thiserror::Error)]
pub enum Notice {
    /// Lines are being lost from now on.
    #[error("cannot write the log: {0}; lines are lost and counted until it can be written again")]
    Failing(io::Error),
    /// The log can be written again.
    #[error("the log can be written again; {lines} lines were lost")]
    Recovered {
        /// Lines that were lost in between.
        lines: u64,
    },
    /// The log goes on in the file it was in.
    #[error("cannot rotate the log: {0}; it goes on in the same file")]
    RotationFailed(io::Error),
}

families! {
    LOG_LINES = Counter "picotap_log_lines_total" [] "log lines", "Log lines.";
    LOG_LOST_LINES = Counter "picotap_log_lost_lines_total" ["reason"] "log lines lost", "Log lines that were lost: not written, or not taken in time.";
    LOG_LOST_BYTES = Counter "picotap_log_lost_bytes_total" [] "bytes of log lines not written", "Bytes of log lines that could not be written.";
    LOG_WRITE_ERRORS = Counter "picotap_log_write_errors_total" [] "log writes failed", "Writes to the log that failed.";
    LOG_ROTATIONS = Counter "picotap_log_rotations_total" ["result"] "log rotations", "Rotations of the log.";
    LOG_ARCHIVE_ERRORS = Counter "picotap_log_archive_errors_total" [] "rotated logs in trouble", "Rotated log files that could not be compressed or removed.";
}

counters! {
    /// What happened to a log.
    pub struct Counters {
        /// Lines that were taken, those of headers not counted.
        lines => LOG_LINES,
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
    rotation: Option<(Rotation, Keeper)>,
    lines: Lines<File>,
    /// Bytes in the file.
    size: u64,
    /// Interval in which the file was begun.
    interval: i64,
    /// No rotation before this time.
    not_before: i64,
    /// Lines lost since writing began to fail.
    failing: Option<u64>,
    counters: Counters,
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
        let opened = open(&target)?;
        let rotation = match (&target, rotation) {
            (Target::File(path), Some(_)) if !opened.regular || !has_name(path) => {
                return Err(LogError::NotAFile(path.clone()));
            }
            (Target::File(path), Some(rotation)) => {
                Some((rotation, Keeper::new(path, rotation.keep).map_err(LogError::Thread)?))
            }
            _ => None,
        };
        let mut log = Self {
            target,
            format,
            rotation,
            lines: Lines::new(opened.file),
            size: opened.size,
            interval: 0,
            not_before: i64::MIN,
            failing: None,
            counters: Counters::default(),
        };
        log.interval = log.interval_of(opened.modified.unwrap_or(now));
        log.write_header(now);
        Ok(log)
    }

    /// Writes lines, each with its end, and rotates when it is time. What to tell people is appended to `notices`.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub fn write(&mut self, lines: &[u8], now: i64, notices: &mut Vec<Notice>) -> Result<(), Closed> {
        self.tick(now, notices);
        let mut rest = lines;
        while !rest.is_empty() {
            let (fits, after) = rest.split_at_checked(self.fitting(rest, now)).unwrap_or((rest, b""));
            rest = after;
            if fits.is_empty() {
                self.rotate(now, notices);
                continue;
            }
            self.put(fits, notices)?;
        }
        Ok(())
    }

    /// Rotates if a new interval has begun. To be called now and then when there is nothing to write.
    pub fn tick(&mut self, now: i64, notices: &mut Vec<Notice>) {
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
    /// If it cannot be opened: the log then goes on in the old one.
    pub fn reopen(&mut self, now: i64) -> Result<(), LogError> {
        if self.target == Target::Stdout {
            return Ok(());
        }
        let opened = open(&self.target)?;
        self.finish(now);
        self.lines = Lines::new(opened.file);
        self.size = opened.size;
        self.interval = self.interval_of(now);
        self.write_header(now);
        Ok(())
    }

    /// Ends the log: finishes a half-written line, or removes it, and writes the format's footer.
    pub fn close(mut self, now: i64) -> Counters {
        self.finish(now);
        self.counters()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let archive_errors = self.rotation.as_ref().map_or(0, |(_, keeper)| keeper.errors());
        Counters { archive_errors, ..self.counters }
    }

    fn put(&mut self, lines: &[u8], notices: &mut Vec<Notice>) -> Result<(), Closed> {
        let before = self.lines.written();
        let result = self.lines.write(lines);
        self.size = self.size.saturating_add(self.lines.written().saturating_sub(before));
        self.counters.lines = self.counters.lines.saturating_add(memchr::memchr_iter(b'\n', lines).count() as u64);
        match result {
            Ok(()) => {
                if let Some(lines) = self.failing.take() {
                    notices.push(Notice::Recovered { lines });
                }
                Ok(())
            }
            Err(Lost { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed),
            Err(Lost { error, lines, bytes }) => {
                self.counters.write_errors += 1;
                self.counters.lost_lines = self.counters.lost_lines.saturating_add(lines);
                self.counters.lost_bytes = self.counters.lost_bytes.saturating_add(bytes);
                match &mut self.failing {
                    Some(lost) => *lost = lost.saturating_add(lines),
                    None => {
                        self.failing = Some(lines);
                        notices.push(Notice::Failing(error));
                    }
                }
                Ok(())
            }
        }
    }

    /// How many bytes of `lines` go into the file as it is: whole lines, at least one into an empty file.
    fn fitting(&self, lines: &[u8], now: i64) -> usize {
        let limit = self.rotation.as_ref().and_then(|(rotation, _)| rotation.size);
        let Some(limit) = limit.filter(|_| now >= self.not_before && self.lines.is_whole()) else { return lines.len() };
        let room = usize::try_from(limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if room >= lines.len() {
            return lines.len();
        }
        let end = |at: usize| at.saturating_add(1);
        match memchr::memrchr(b'\n', lines.get(..room).unwrap_or_default()) {
            Some(at) => end(at),
            None if self.size == 0 => memchr::memchr(b'\n', lines).map_or(lines.len(), end),
            None => 0,
        }
    }

    fn rotate(&mut self, now: i64, notices: &mut Vec<Notice>) {
        match self.try_to_rotate(now) {
            Ok(()) => self.counters.rotations += 1,
            Err(error) => {
                self.counters.rotation_errors += 1;
                self.not_before = now.saturating_add(RETRY);
                notices.push(Notice::RotationFailed(error));
            }
        }
    }

    /// The new file is made under another name first, since that is what may fail: from there on there are only renames.
    /// The old one has its footer before it gets the name under which it may be compressed.
    fn try_to_rotate(&mut self, now: i64) -> io::Result<()> {
        let Target::File(path) = &self.target else { return Ok(()) };
        let fresh = fresh_name(path);
        let opened = open_file(&fresh)?;
        let aside = free_name(path, now)?;
        let path = path.clone();
        self.finish(now);
        let moved = match fs::rename(&path, &aside) {
            // Somebody removed it: there is nothing to put aside.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved,
        };
        if let Err(error) = moved.and_then(|()| fs::rename(&fresh, &path)) {
            self.write_header(now);
            return Err(error);
        }
        self.lines = Lines::new(opened.file);
        self.size = opened.size;
        self.interval = self.interval_of(now);
        self.write_header(now);
        if let Some((_, keeper)) = &self.rotation {
            keeper.wake();
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
        // What fails here fails again, and is told, with the first line.
        if self.lines.write(&header).is_ok() {
            self.size = self.size.saturating_add(header.len() as u64);
        }
    }

    fn interval_of(&self, time: i64) -> i64 {
        let interval = self.rotation.as_ref().and_then(|(rotation, _)| rotation.interval);
        interval.filter(|interval| *interval > 0).map_or(0, |interval| time.div_euclid(interval))
    }
}

/// Where a new file waits to become the log.
fn fresh_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

struct Opened {
    file: File,
    size: u64,
    regular: bool,
    /// Time of the last change of a file that was there.
    modified: Option<i64>,
}

fn open(target: &Target) -> Result<Opened, LogError> {
    match target {
        Target::Stdout => {
            let file = io::stdout().as_fd().try_clone_to_owned().map_err(LogError::Stdout)?;
            Ok(Opened { file: file.into(), size: 0, regular: false, modified: None })
        }
        Target::File(path) => open_file(path).map_err(|source| LogError::Open { path: path.clone(), source }),
    }
}

fn open_file(path: &Path) -> io::Result<Opened> {
    let regular = fs::metadata(path).map_or(true, |metadata| metadata.is_file());
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    let mut file = options.clone().read(regular).open(path)?;
    let metadata = file.metadata()?;
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
    Ok(Opened { file, size, regular, modified })
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
mod tests {
    use super::*;
    use crate::export::FormatName;
    use std::sync::Arc;

    const DAY: i64 = 86_400_000_000_000;
    const NOON: i64 = 20_000 * DAY + DAY / 2;

    struct Place {
        directory: tempfile::TempDir,
        notices: Vec<Notice>,
    }

    impl Place {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap(), notices: Vec::new() }
        }
        fn path(&self) -> PathBuf {
            self.directory.path().join("log")
        }
        fn open(&self, rotation: Option<Rotation>, format: FormatName) -> Log {
            Log::open(Target::File(self.path()), rotation, format.writer(Arc::new([])), NOON).unwrap()
        }
        /// Contents of all files, uncompressed, in order of their names.
        fn all(&self) -> Vec<String> {
            let mut paths: Vec<_> = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            let read = |path: &PathBuf| {
                let mut text = String::new();
                let file = File::open(path).unwrap();
                match path.extension() {
                    Some(extension) if extension == "gz" => {
                        flate2::read::GzDecoder::new(file).read_to_string(&mut text)
                    }
                    _ => File::read_to_string(&mut { file }, &mut text),
                }
                .unwrap();
                text
            };
            paths.iter().map(read).collect()
        }
    }

    fn rotation(size: Option<u64>, interval: Option<i64>) -> Option<Rotation> {
        Some(Rotation { size, interval, keep: 9 })
    }

    #[test]
    fn a_file_is_put_aside_before_it_exceeds_its_size() {
        let mut place = Place::new();
        let mut log = place.open(rotation(Some(8), None), FormatName::Json);
        log.write(b"1\n22\n333\n4444\nfar too long for it\n5\n", NOON, &mut place.notices).unwrap();
        let counters = log.close(NOON);
        assert_eq!((counters.lines, counters.rotations), (6, 4));
        let mut files = place.all();
        files.sort();
        assert_eq!(files, ["1\n22\n", "333\n", "4444\n", "5\n", "far too long for it\n"]);
        assert!(place.notices.is_empty());
    }

    #[test]
    fn a_file_is_put_aside_at_midnight_but_not_when_empty() {
        let mut place = Place::new();
        let mut log = place.open(rotation(None, Some(DAY)), FormatName::Json);
        log.tick(NOON + DAY, &mut place.notices);
        assert_eq!(log.counters.rotations, 0);
        log.write(b"a\n", NOON + DAY, &mut place.notices).unwrap();
        log.write(b"b\n", NOON + DAY + DAY / 2 - 1, &mut place.notices).unwrap();
        log.write(b"c\n", NOON + DAY + DAY / 2, &mut place.notices).unwrap();
        assert_eq!(log.close(NOON).rotations, 1);
        assert_eq!(place.all(), ["c\n", "a\nb\n"]);
    }

    #[test]
    fn every_file_has_the_formats_header_and_footer() {
        let mut place = Place::new();
        let mut log = place.open(rotation(Some(3000), None), FormatName::Zeek);
        log.write(&b"row\n".repeat(300), NOON, &mut place.notices).unwrap();
        log.write(&b"row\n".repeat(700), NOON, &mut place.notices).unwrap();
        log.close(NOON);
        let files = place.all();
        assert!(files.len() > 1);
        for file in files {
            assert!(file.starts_with("#separator \\x09\n") && file.contains("\n#close\t"), "{file}");
        }
    }

    #[test]
    fn a_renamed_log_is_followed_by_reopening() {
        let mut place = Place::new();
        let mut log = place.open(None, FormatName::Json);
        log.write(b"a\n", NOON, &mut place.notices).unwrap();
        fs::rename(place.path(), place.directory.path().join("old")).unwrap();
        log.write(b"b\n", NOON, &mut place.notices).unwrap();
        log.reopen(NOON).unwrap();
        log.write(b"c\n", NOON, &mut place.notices).unwrap();
        assert_eq!(place.all(), ["c\n", "a\nb\n"]);
    }

    #[test]
    fn half_a_line_of_an_earlier_run_does_not_run_together_with_ours() {
        let mut place = Place::new();
        fs::write(place.path(), "a\nhal").unwrap();
        place.open(None, FormatName::Json).write(b"b\n", NOON, &mut place.notices).unwrap();
        assert_eq!(place.all(), ["a\nhal\nb\n"]);
    }

    #[test]
    fn a_failing_disk_is_told_once_and_so_is_its_recovery() {
        let mut place = Place::new();
        let target = Target::File("/dev/full".into());
        let mut log = Log::open(target, None, FormatName::Json.writer(Arc::new([])), NOON).unwrap();
        for _ in 0..3 {
            log.write(b"a\nb\n", NOON, &mut place.notices).unwrap();
        }
        assert_eq!((log.counters.lost_lines, log.counters.write_errors), (6, 3));
        log.lines = Lines::new(File::create(place.path()).unwrap());
        log.write(b"c\n", NOON, &mut place.notices).unwrap();
        let told: Vec<String> = place.notices.iter().map(Notice::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("No space left") && told[1].contains("6 lines were lost"), "{told:?}");
        assert_eq!(place.all(), ["c\n"]);
    }

    #[test]
    fn what_cannot_be_rotated_or_opened_says_so() {
        let format = || FormatName::Json.writer(Arc::new([]));
        let open = |path: &str, rotation| Log::open(Target::File(path.into()), rotation, format(), NOON).unwrap_err();
        assert_eq!(
            open("/dev/null", rotation(Some(1), None)).to_string(),
            "cannot rotate /dev/null: needed a regular file"
        );
        assert!(open("/nowhere/log", None).to_string().starts_with("cannot open log file /nowhere/log: No such file"));
    }

    #[test]
    fn a_rotation_that_fails_is_told_and_the_log_goes_on() {
        let mut place = Place::new();
        let mut log = place.open(rotation(Some(4), None), FormatName::Json);
        log.write(b"abc\n", NOON, &mut place.notices).unwrap();
        let blocking = fresh_name(&place.path());
        fs::create_dir(&blocking).unwrap();
        log.write(b"def\n", NOON, &mut place.notices).unwrap();
        assert!(matches!(place.notices[..], [Notice::RotationFailed(_)]));
        fs::remove_dir(&blocking).unwrap();
        log.write(b"ghi\n", NOON + RETRY, &mut place.notices).unwrap();
        assert_eq!((log.counters.rotations, log.counters.rotation_errors), (1, 1));
        log.close(NOON);
        assert_eq!(place.all(), ["ghi\n", "abc\ndef\n"]);
    }

    #[test]
    fn a_log_that_was_removed_is_begun_anew() {
        let mut place = Place::new();
        let mut log = place.open(rotation(Some(4), None), FormatName::Json);
        log.write(b"abc\n", NOON, &mut place.notices).unwrap();
        fs::remove_file(place.path()).unwrap();
        log.write(b"def\n", NOON, &mut place.notices).unwrap();
        log.close(NOON);
        assert_eq!(place.all(), ["def\n"]);
    }

    #[test]
    fn half_a_line_is_cut_off_where_the_file_allows() {
        let place = Place::new();
        for (text, wanted) in
            [("a\nhalf".to_owned(), "a\n"), ("half".to_owned(), ""), (format!("a\n{}", "x".repeat(9000)), "a\n")]
        {
            fs::write(place.path(), text).unwrap();
            let mut file = OpenOptions::new().read(true).append(true).open(place.path()).unwrap();
            cut_half_line(&mut file).unwrap();
            assert_eq!(place.all(), [wanted]);
        }
    }
}
