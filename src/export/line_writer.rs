//! Lines are what a log takes: each whole or not at all, whatever becomes of the disk.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

/// What was not written.
#[derive(Debug)]
pub(super) struct LostLines {
    /// Why.
    pub error: io::Error,
    /// Whole lines that were given up.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl LostLines {
    /// These lines.
    pub(super) fn new(error: io::Error, lines: &[u8]) -> Self {
        Self { error, lines: 0, bytes: 0 }.and(lines)
    }

    /// With lines that were not even tried.
    pub(super) fn and(mut self, lines: &[u8]) -> Self {
        self.lines = self.lines.saturating_add(memchr::memchr_iter(b'\n', lines).count() as u64);
        self.bytes = self.bytes.saturating_add(lines.len() as u64);
        self
    }

    /// With what was lost before, for another reason.
    pub(super) fn after(mut self, before: Option<Self>) -> Self {
        if let Some(before) = before {
            self.lines = self.lines.saturating_add(before.lines);
            self.bytes = self.bytes.saturating_add(before.bytes);
        }
        self
    }
}

/// Writes lines to a writer that may fail, and may take a part before it fails.
///
/// Invariant: all that the writer ever took is whole lines, followed by at most a beginning of one more, whose other part
/// is `rest`.
#[derive(Debug)]
pub(super) struct LineWriter<W> {
    writer: W,
    /// What is still to be written of a line of which the writer took only a part. Less than a line.
    rest: Vec<u8>,
    written: u64,
}

impl<W: Write> LineWriter<W> {
    /// `writer` is taken to stand at the beginning of a line.
    pub(super) const fn new(writer: W) -> Self {
        Self { writer, rest: Vec::new(), written: 0 }
    }

    /// Bytes that the writer took.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Whether the last line is whole.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }

    /// The writer.
    pub(super) const fn writer(&mut self) -> &mut W {
        &mut self.writer
    }

    /// Writes whole lines, first of all what is missing of the last.
    ///
    /// # Errors
    /// If the writer fails: says what is given up. A line of which a part was written is not: its rest comes first the
    /// next time.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), LostLines> {
        let rest = std::mem::take(&mut self.rest);
        let (count, result) = self.put(&rest);
        if let Err(error) = result {
            self.rest = rest.get(count..).unwrap_or_default().to_vec();
            return Err(LostLines::new(error, lines));
        }
        let (count, result) = self.put(lines);
        let Err(error) = result else { return Ok(()) };
        debug_assert!(count <= lines.len(), "a writer takes no more than it is given");
        let (taken, left) = lines.split_at_checked(count).unwrap_or_default();
        let line_end = match taken.last() {
            None | Some(b'\n') => 0,
            Some(_) => memchr::memchr(b'\n', left).map_or(left.len(), |end| end.saturating_add(1)),
        };
        let (rest, given_up) = left.split_at_checked(line_end).unwrap_or_default();
        self.rest = rest.to_vec();
        Err(LostLines::new(error, given_up))
    }

    /// Writes until the writer fails; says how far it came.
    fn put(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut count: usize = 0;
        while let Some(left) = bytes.get(count..).filter(|left| !left.is_empty()) {
            let error = match self.writer.write(left) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(more) => {
                    count = count.saturating_add(more);
                    self.written = self.written.saturating_add(more as u64);
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                // Whoever shares the terminal or pipe made it non-blocking: wait, as a blocking one would.
                io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(2)),
                _ => return (count, Err(error)),
            }
        }
        (count, Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A disk that has room for so many bytes more.
    struct Disk {
        room: usize,
        bytes: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room).min(7);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.bytes.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_half_written_is_finished_when_space_returns() {
        let mut lines = LineWriter::new(Disk { room: 6, bytes: Vec::new() });
        let lost = lines.write(b"abc\ndef\nghi\n").unwrap_err();
        assert_eq!((lost.lines, lost.bytes, lines.is_whole()), (1, 4, false));
        assert_eq!(lines.write(b"jkl\n").unwrap_err().lines, 1);
        lines.writer.room = 100;
        lines.write(b"mno\n").unwrap();
        assert_eq!(lines.writer.bytes, b"abc\ndef\nmno\n");
    }

    proptest! {
        #[test]
        fn only_whole_lines_ever_stand_in_the_file(
            steps in proptest::collection::vec((0usize..30, proptest::collection::vec(0usize..12, 0..6)), 1..30)
        ) {
            let mut lines = LineWriter::new(Disk { room: 0, bytes: Vec::new() });
            let (mut all, mut number, mut given_up) = (Vec::new(), 0, 0);
            for (room, lengths) in steps {
                lines.writer.room += room;
                let mut chunk = Vec::new();
                for length in lengths {
                    let line = format!("{number}{}\n", "x".repeat(length));
                    all.push(line.clone());
                    chunk.extend_from_slice(line.as_bytes());
                    number += 1;
                }
                given_up += lines.write(&chunk).map_or_else(|lost| lost.lines, |()| 0);
            }
            lines.writer.room = usize::MAX;
            lines.write(b"").unwrap();
            let text = String::from_utf8(lines.writer.bytes).unwrap();
            let mut known = all.iter();
            for line in text.split_inclusive('\n') {
                prop_assert!(known.any(|wanted| wanted == line), "{line:?} is out of order or torn");
            }
            prop_assert_eq!(text.lines().count() as u64 + given_up, all.len() as u64);
        }
    }
}
