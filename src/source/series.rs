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
    let first = CaptureFile::open(path, &mut interfaces)?.advance(&mut interfaces, &mut None)?;
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
#[path = "series_tests.rs"]
mod tests;
