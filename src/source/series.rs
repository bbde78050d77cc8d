//! A series is the captures that paths stand for: a file for itself, a directory for the files in it, a pattern for the files that
//! match it.
//!
//! Files keep the order in which they are given. With a directory or a pattern, all are read in the order of capture: by the
//! time of the first frame of each, then by name. So the names that rotation gives need not sort.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::file::CaptureFile;
use super::interfaces::Interfaces;
use super::{Error, FileFault};

/// Files that are no captures are named one by one up to this number.
const NAMED: usize = 5;

/// One capture of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    path: PathBuf,
    /// Index of the directory or pattern that it was found by; none if it was named itself.
    found_by: Option<usize>,
}

/// Captures that are still to be read.
#[derive(Debug, Default)]
pub(super) struct Series {
    members: VecDeque<Member>,
    /// What could not be found.
    faults: VecDeque<Error>,
    /// Directories and patterns: not empty if the order is still to be found out.
    places: Vec<PathBuf>,
    notices: VecDeque<String>,
}

impl Series {
    /// Looks for the files, and opens none. "-" is standard input.
    pub(super) fn find(paths: &[PathBuf]) -> Self {
        let mut series = Self::default();
        for path in paths {
            let found = if path.is_dir() {
                series.directory(path)
            } else if is_pattern(path) {
                matching(path)
            } else {
                series.members.push_back(Member { path: path.clone(), found_by: None });
                continue;
            };
            let place = Some(series.places.len());
            match found {
                Ok(files) => series.members.extend(files.into_iter().map(|path| Member { path, found_by: place })),
                Err(fault) => series.faults.push_back(fault.of(&path.display().to_string())),
            }
            series.places.push(path.clone());
        }
        series
    }

    /// The files in a directory, not those in directories below.
    fn directory(&mut self, path: &Path) -> Result<Vec<PathBuf>, FileFault> {
        let entries = fs::read_dir(path).map_err(FileFault::Open)?;
        let paths: Vec<PathBuf> =
            entries.map(|entry| Ok(entry.map_err(FileFault::Open)?.path())).collect::<Result<_, FileFault>>()?;
        let below = paths.iter().filter(|path| path.is_dir()).count();
        if below > 0 {
            let path = path.display();
            self.notices.push_back(format!("{path}: {below} directories in it are not read ('{path}/**/*' takes all)"));
        }
        let files: Vec<PathBuf> = paths.into_iter().filter(|path| path.is_file()).collect();
        if files.is_empty() { Err(FileFault::NoFile) } else { Ok(files) }
    }

    /// The next capture.
    pub(super) fn next(&mut self) -> Option<Result<PathBuf, Error>> {
        if !self.places.is_empty() {
            self.arrange();
        }
        if let Some(fault) = self.faults.pop_front() {
            return Some(Err(fault));
        }
        self.members.pop_front().map(|member| Ok(member.path))
    }

    /// What people are to know; each is given once.
    pub(super) fn notice(&mut self) -> Option<String> {
        self.notices.pop_front()
    }

    /// The paths, in no particular order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.members.iter().map(|member| member.path.as_path())
    }

    /// Leaves out what is no capture, and puts the rest in order.
    fn arrange(&mut self) {
        let places = std::mem::take(&mut self.places);
        let mut kept: Vec<usize> = vec![0; places.len()];
        let mut refused: Vec<usize> = vec![0; places.len()];
        let mut timed = Vec::with_capacity(self.members.len());
        let mut no_captures = Vec::new();
        for member in self.members.drain(..) {
            let time = match (first_time(&member.path), member.found_by) {
                (
                    Err(Error::File { name, fault: fault @ (FileFault::Empty | FileFault::NotCapture { .. }) }),
                    Some(at),
                ) => {
                    refused.get_mut(at).into_iter().for_each(|count| *count += 1);
                    no_captures.push(format!("{name}: {fault}"));
                    continue;
                }
                // What is wrong with it is said when its turn comes.
                (Err(_), _) => None,
                (Ok(time), _) => time,
            };
            member.found_by.and_then(|at| kept.get_mut(at)).into_iter().for_each(|count| *count += 1);
            timed.push((time, member.path));
        }
        timed.sort();
        // Found twice, by a directory and by a pattern.
        timed.dedup();
        self.members = timed.into_iter().map(|(_, path)| Member { path, found_by: None }).collect();
        for ((place, kept), refused) in places.iter().zip(kept).zip(refused) {
            if kept == 0 && refused > 0 {
                let fault = FileFault::NoCapture { files: refused };
                self.faults.push_back(fault.of(&place.display().to_string()));
            }
        }
        let more = no_captures.len().saturating_sub(NAMED);
        self.notices.extend(no_captures.into_iter().take(NAMED).map(|text| text + " (skipped)"));
        if more > 0 {
            self.notices.push_back(format!("{more} more files that are no captures (skipped)"));
        }
    }
}

/// Time of a file's first frame; none if it holds none, or if looking would take it from whoever reads it.
fn first_time(path: &Path) -> Result<Option<i64>, Error> {
    if !path.is_file() {
        return Ok(None);
    }
    let mut interfaces = Interfaces::default();
    let first = CaptureFile::open(path, &mut interfaces)?.advance(&mut interfaces)?;
    Ok(first.map(|frame| frame.time))
}

/// Whether a path stands for the files that match it: it has `*`, `?` or `[`, and there is no file of that name.
fn is_pattern(path: &Path) -> bool {
    has_wildcard(path.as_os_str()) && path.symlink_metadata().is_err()
}

fn has_wildcard(text: &OsStr) -> bool {
    text.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
}

fn matching(pattern: &Path) -> Result<Vec<PathBuf>, FileFault> {
    let text = pattern.to_str().ok_or(FileFault::Pattern { reason: "it is not UTF-8" })?;
    let paths = glob::glob(text).map_err(|error| FileFault::Pattern { reason: error.msg })?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| FileFault::Open(error.into()))?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() { Err(FileFault::NoMatch) } else { Ok(files) }
}

/// The directory in or below which the files are that a path stands for.
#[must_use]
pub fn directory_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        return path.to_path_buf();
    }
    let fixed = |component: &Component<'_>| !(is_pattern(path) && has_wildcard(component.as_os_str()));
    let components: Vec<Component<'_>> = path.components().collect();
    let (_, parents) = components.split_last().unwrap_or((&Component::CurDir, &[]));
    let directory: PathBuf = parents.iter().take_while(|component| fixed(component)).collect();
    if directory.as_os_str().is_empty() { ".".into() } else { directory }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::frames;
    use crate::source::{Captures, total_bytes};

    /// A directory with captures whose names are not in the order of their times, and with what is no capture.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
        let capture = |time: u64| frames::pcap(1, &[(time, b"frame".to_vec(), 5)]);
        write("x.pcap0", &capture(30));
        write("x.pcap1", &capture(10));
        write("x.pcap10.zst", &zstd::encode_all(&capture(20)[..], 1).unwrap());
        write("same-b.pcap", &capture(40));
        write("same-a.pcap", &capture(40));
        write("notes.txt", b"no capture, but text");
        write("empty", b"");
        fs::create_dir(directory.path().join("below")).unwrap();
        write("below/y.pcap", &capture(5));
        directory
    }

    /// First letters of the names and times of the frames, the errors, and the notices.
    fn read(paths: &[PathBuf]) -> (Vec<i64>, Vec<String>, Vec<String>) {
        let mut captures = Captures::open(paths, None);
        let (mut times, mut errors) = (Vec::new(), Vec::new());
        loop {
            match captures.next_frame() {
                Ok(Some(frame)) => times.push(frame.time / 1000),
                Ok(None) => break,
                Err(error) => errors.push(error.to_string()),
            }
        }
        (times, errors, std::iter::from_fn(|| captures.notice()).collect())
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_capture() {
        let directory = directory();
        let (times, errors, notices) = read(&[directory.path().to_path_buf()]);
        assert_eq!((times, errors.len()), (vec![10, 20, 30, 40, 40], 0), "{errors:?}");
        assert_eq!(notices.len(), 3, "{notices:?}");
        let said = |text: &str| notices.iter().any(|notice| notice.contains(text));
        assert!(
            said("1 directories in it") && said("notes.txt: is not a capture") && said("empty: is empty"),
            "{notices:?}"
        );
    }

    #[test]
    fn equal_times_are_ordered_by_name() {
        let directory = directory();
        let mut series = Series::find(&[directory.path().join("same-*")]);
        let names: Vec<PathBuf> = std::iter::from_fn(|| series.next()).map(Result::unwrap).collect();
        assert_eq!(names, ["same-a.pcap", "same-b.pcap"].map(|name| directory.path().join(name)));
    }

    #[test]
    fn a_pattern_stands_for_what_matches_it() {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        assert_eq!(read(&[path("x.pcap[0-9]*")]).0, [10, 20, 30]);
        assert_eq!(read(&[path("**/*.pcap*")]).0, [5, 10, 20, 30, 40, 40]);
        // All are in the order of capture then, and nothing is read twice.
        assert_eq!(read(&[path("same-a.pcap"), path("x.pcap?"), path("x.pcap*")]).0, [10, 20, 30, 40]);
        let (times, errors, _) = read(&[path("z*"), path("x.pcap1")]);
        assert_eq!((times, errors.len()), (vec![10], 1));
        assert!(errors[0].ends_with("z*: matches no file"), "{errors:?}");
        assert!(read(&[path("x[")]).1[0].contains("x[: is no pattern"), "{:?}", read(&[path("x[")]).1);
    }

    #[test]
    fn files_that_are_named_keep_their_order_and_must_be_captures() {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        let (times, errors, notices) = read(&[path("x.pcap0"), path("notes.txt"), path("x.pcap1"), path("x.pcap0")]);
        assert_eq!((times, errors.len(), notices.len()), (vec![30, 10, 30], 1, 0), "{errors:?}");
        assert!(errors[0].contains("notes.txt: is not a capture"), "{errors:?}");
        // A file whose name looks like a pattern is that file.
        fs::copy(path("x.pcap1"), path("x.pcap*")).unwrap();
        assert_eq!(read(&[path("x.pcap*")]).0, [10]);
    }

    #[test]
    fn a_directory_without_captures_is_an_error() {
        let directory = directory();
        let path = directory.path().join("none");
        fs::create_dir(&path).unwrap();
        assert!(read(std::slice::from_ref(&path)).1[0].ends_with("none: holds no file"));
        fs::write(path.join("a"), b"text that is no capture").unwrap();
        let (_, errors, notices) = read(&[path]);
        assert!(errors[0].ends_with("none: holds no capture: none of its files (1) is one"), "{errors:?}");
        assert_eq!(notices.len(), 1);
    }

    #[test]
    fn a_damaged_capture_of_a_directory_is_an_error_and_the_rest_is_read() {
        let directory = directory();
        let whole = fs::read(directory.path().join("x.pcap1")).unwrap();
        fs::write(directory.path().join("cut.pcap"), &whole[..whole.len() - 2]).unwrap();
        let (times, errors, _) = read(&[directory.path().to_path_buf()]);
        assert_eq!((times.len(), errors.len()), (5, 1), "{errors:?}");
        assert!(errors[0].contains("cut.pcap: is cut off"), "{errors:?}");
    }

    #[test]
    fn sizes_and_directories_of_all_files_are_known_before() {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        let size = |name: &str| fs::metadata(path(name)).unwrap().len();
        assert_eq!(total_bytes(&[path("x.pcap?")]), Some(size("x.pcap0") + size("x.pcap1")));
        for (given, at) in [
            (path("x.pcap0"), path("")),
            (path(""), path("")),
            (path("x*"), path("")),
            (path("b*/y.pcap"), path("")),
            (PathBuf::from("x.pcap"), PathBuf::from(".")),
            (PathBuf::from("*/x.pcap"), PathBuf::from(".")),
        ] {
            assert_eq!(directory_of(&given).components().collect::<PathBuf>(), at.components().collect::<PathBuf>());
        }
    }
}
