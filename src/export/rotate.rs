//! A rotated file is a log that is complete: it is compressed, and after a while removed.
//!
//! Its name is the log's with the time of the rotation: `log.json.20260102T030405Z`, and with `.gz` when compressed. Both
//! happen in a thread of its own, so that no log line waits for it. A log that is compressed as it is written keeps its ending
//! (`log.json.20260102T030405Z.zst`), and is not compressed again.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::export::log::Packing;
use crate::export::numbers::{Calendar, padded};
use crate::export::open;

/// The most rotations in one second, after which a rotation fails.
const MOST_PER_SECOND: u32 = 10_000;
/// Between the time and a number, where several rotations fall into one second.
const COUNTED: u8 = b'-';
const SUFFIX: &str = ".gz";
const UNFINISHED: &str = ".gz.part";

/// The names of a log's rotated files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// What stands before the time.
    base: PathBuf,
    /// The ending of one that is compressed.
    ending: &'static str,
    /// Whether they are compressed from the beginning.
    packed: bool,
}

impl Names {
    /// Of the log at a path.
    pub(super) fn of(path: &Path) -> Self {
        match Packing::of(path) {
            Some(packing) => Self { base: Packing::stem(path), ending: packing.ending(), packed: true },
            None => Self { base: path.to_owned(), ending: SUFFIX, packed: false },
        }
    }

    /// A name for the log rotated at `time` that no file has yet.
    ///
    /// # Errors
    /// If all are taken.
    pub(super) fn free(&self, time: i64) -> io::Result<PathBuf> {
        let name = free_name(&self.base, self.ending, time)?;
        Ok(if self.packed { with(&name, self.ending) } else { name })
    }
}

/// What may follow `path` and a time, without the ending.
fn free_name(path: &Path, ending: &str, time: i64) -> io::Result<PathBuf> {
    let Calendar { year, month, day, hour, minute, second, .. } = Calendar::new(time);
    let mut stamp = b".".to_vec();
    for (value, width, after) in
        [(year, 4, ""), (month, 2, ""), (day, 2, "T"), (hour, 2, ""), (minute, 2, ""), (second, 2, "Z")]
    {
        padded(value, width, &mut stamp);
        stamp.extend_from_slice(after.as_bytes());
    }
    for count in 0..MOST_PER_SECOND {
        let mut stamp = stamp.clone();
        if count != 0 {
            stamp.push(COUNTED);
            padded(count, 4, &mut stamp);
        }
        let name = with(path, &String::from_utf8_lossy(&stamp));
        if is_free(&name)? && is_free(&with(&name, ending))? {
            return Ok(name);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A dangling link is not free either.
fn is_free(name: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(name) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The rotated files of a log, oldest first, without the ending; and whether each is compressed.
fn list(Names { base: path, ending, packed }: &Names) -> io::Result<Vec<(PathBuf, bool)>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some(rest) = name.as_encoded_bytes().strip_prefix(base) else { continue };
        let (stamp, compressed) = rest.strip_suffix(ending.as_bytes()).map_or((rest, false), |stamp| (stamp, true));
        if is_stamp(stamp) && (compressed || !packed) {
            // Built again from the log's path, so that a name read from a directory is never used as it is.
            found.push((with(path, &String::from_utf8_lossy(stamp)), compressed));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether this is what [`free_name`] appends.
fn is_stamp(text: &[u8]) -> bool {
    const SHAPE: &[u8] = b".00000000T000000Z";
    let same = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    let Some((stamp, count)) = text.split_at_checked(SHAPE.len()) else { return false };
    let counted = matches!(count, [mark, digits @ ..] if *mark == COUNTED && digits.len() == 4 && digits.iter().all(u8::is_ascii_digit));
    stamp.iter().zip(SHAPE).all(same) && (count.is_empty() || counted)
}

/// The thread that compresses and removes.
#[derive(Debug)]
pub(super) struct RotationThread {
    wake: Option<Sender<()>>,
    stop: Arc<AtomicBool>,
    errors: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl RotationThread {
    /// Keeps the newest `keep` rotated files of a log. Starts with what an earlier run left.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn new(names: Names, keep: usize) -> io::Result<Self> {
        let (wake, woken) = bounded(1);
        let (stop, errors) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, failed) = (Arc::clone(&stop), Arc::clone(&errors));
        let run = move || work(&names, keep, &woken, &stopped, &failed);
        let thread = Some(thread::Builder::new().name("log-rotator".to_owned()).spawn(run)?);
        let rotator = Self { wake: Some(wake), stop, errors, thread };
        rotator.wake();
        Ok(rotator)
    }

    /// Says that there is a rotated file.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: the thread lists the files anyway.
            let _told = wake.try_send(());
        }
    }

    /// Files that could not be compressed or removed, counted each time it was tried.
    #[must_use]
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

impl Drop for RotationThread {
    /// Gives up a compression that is under way: the next run takes it up again.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

fn work(names: &Names, keep: usize, woken: &Receiver<()>, stop: &AtomicBool, errors: &AtomicU64) {
    for () in woken {
        let files = list(names).unwrap_or_else(|_| {
            errors.fetch_add(1, Ordering::Relaxed);
            Vec::new()
        });
        let old = files.len().saturating_sub(keep);
        for (index, (name, compressed)) in files.iter().enumerate() {
            let done = match (index < old, compressed) {
                (true, true) => fs::remove_file(with(name, names.ending)),
                (true, false) => fs::remove_file(name),
                (false, true) => Ok(()),
                (false, false) => compress(name, stop),
            };
            if stop.load(Ordering::Acquire) {
                return;
            }
            if done.is_err() {
                errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Makes `name.gz` of `name`. The name with `.gz` is there only when all of it is.
fn compress(name: &Path, stop: &AtomicBool) -> io::Result<()> {
    let part = with(name, UNFINISHED);
    let result = compress_into(name, &part, stop).and_then(|()| fs::rename(&part, with(name, SUFFIX)));
    match result {
        Ok(()) => fs::remove_file(name),
        Err(error) => {
            // It may not even be there; the next try begins anew.
            let _removed = fs::remove_file(&part);
            Err(error)
        }
    }
}

fn compress_into(name: &Path, part: &Path, stop: &AtomicBool) -> io::Result<()> {
    let mut from = open::read(name)?;
    let to = open::fresh(part, open::LOG_MODE)?;
    let mut to = GzEncoder::new(to, Compression::default());
    let mut some = vec![0; 256 << 10];
    loop {
        let count = from.read(&mut some)?;
        if count == 0 {
            return to.finish()?.sync_all();
        }
        if stop.load(Ordering::Acquire) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        to.write_all(some.get(..count).unwrap_or_default())?;
    }
}

/// Whether a path is one that rotation may rename: it has a file name.
#[must_use]
pub(super) fn has_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name != OsStr::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_taken_for_rotated_files() {
        for name in [".20260102T030405Z", ".20260102T030405Z-0001"] {
            assert!(is_stamp(name.as_bytes()), "{name}");
        }
        for name in ["", ".1", ".20260102T030405Z-1", ".20260102T030405Zx", ".2026x102T030405Z", "20260102T030405Z."] {
            assert!(!is_stamp(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_compressed_and_nothing_else_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let write = |name: &str| fs::write(directory.path().join(name), name).unwrap();
        ["log", "log.txt", "logs.20260101T000000Z", "log.20260101T000000Z.gz"].iter().for_each(|name| write(name));
        let second = 1_767_225_601_000_000_000;
        for _ in 0..3 {
            let name = Names::of(&log).free(second).unwrap();
            fs::write(name, "line\n").unwrap();
        }
        let rotator = RotationThread::new(Names::of(&log), 2).unwrap();
        let names = || {
            let mut names: Vec<_> = fs::read_dir(&directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let wanted =
            ["log", "log.20260101T000001Z-0001.gz", "log.20260101T000001Z-0002.gz", "log.txt", "logs.20260101T000000Z"];
        while names() != wanted {
            thread::yield_now();
        }
        assert_eq!(rotator.errors(), 0);
        let mut text = String::new();
        let file = fs::File::open(directory.path().join(wanted[1])).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\n");
        assert!(Names::of(&log).free(second).unwrap().to_str().unwrap().ends_with("Z"), "the first name is free again");
    }
}
