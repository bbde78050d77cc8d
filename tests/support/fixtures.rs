//! The fixtures: each a directory with a README and, beside or in it, captures.

use std::fs;
use std::path::{Path, PathBuf};

/// A file or directory among them.
pub fn path(name: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Those of a directory, at whatever depth.
fn below(directory: &Path) -> Vec<PathBuf> {
    let inside = entries(directory).into_iter().filter(|path| path.is_dir());
    inside.flat_map(|path| if path.join("README.md").exists() { vec![path] } else { below(&path) }).collect()
}

/// The directory of each fixture.
pub fn directories() -> Vec<PathBuf> {
    below(&path(""))
}

/// The captures of all fixtures whose names end so; of recordings, too.
pub fn captures(end: &str) -> Vec<PathBuf> {
    let recordings = directories().into_iter().map(|directory| directory.with_extension(end));
    let files = directories().into_iter().flat_map(|directory| entries(&directory));
    files
        .chain(recordings)
        .filter(|path| path.is_file() && path.extension().is_some_and(|found| found == end))
        .collect()
}

/// The lines that the fixtures must give.
pub fn lines() -> String {
    directories().iter().filter_map(|directory| fs::read_to_string(directory.join("expected.jsonl")).ok()).collect()
}
