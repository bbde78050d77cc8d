//! What must hold for any file that a process runs: reading it ends, after not much more than its length, and a probe is only put at
//! a place in it.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;

use picotap::probe::elf;

/// The most bytes of one file that are read, with room for what is looked at beside its tables.
const MOST: u64 = (256 << 20) + (1 << 20);

/// A file in memory, and how many bytes of it were read.
struct Bytes<'a>(&'a [u8], Cell<u64>);

impl FileExt for Bytes<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.1.set(self.1.get() + length as u64);
        Ok(length)
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<usize> {
        Err(Error::from(ErrorKind::Unsupported))
    }
}

pub(crate) fn check(input: &[u8]) {
    let file = Bytes(input, Cell::new(0));
    let Ok(found) = elf::read(&file, input.len() as u64) else { return };
    assert!(file.1.get() <= MOST, "{} bytes were read", file.1.get());
    // One function is enough, and more would be as many probes.
    assert!(found.points.len() <= 1, "{found:?}");
}
