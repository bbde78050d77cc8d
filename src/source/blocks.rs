//! Blocks are the bytes of a file, read in large pieces and parsed in place.
//!
//! A frame is a range of the buffer, so that 32 of them are held at once while their connections are looked up together (see
//! `pipeline/capture/packets.rs`). Crates that read captures lend one frame at a time.

use std::io::{self, Read};
use std::ops::Range;

use super::FileFault;
use super::file_bytes::FileBytes;

/// The longest frame that is read, 1 MiB: four times libpcap's largest snap length, twice the largest segment that Linux
/// offloads. A file that claims more is damaged.
pub const MAX_FRAME: usize = 1 << 20;

/// Bytes asked of the system at once. Larger reads leave the cache and cost more than the calls they save.
const BLOCK: usize = 256 * 1024;

/// What a reader may ask to have in one piece: a frame with its headers and options.
pub(super) const MAX_NEED: usize = MAX_FRAME + 256 * 1024;

/// Invariant: `start <= end <= buffer.len()`; `buffer[start..end]` is read and not yet consumed; `base` is the offset in
/// the file of `buffer[0]`. The buffer grows from [`BLOCK`] to at most [`MAX_NEED`].
pub(super) struct Blocks {
    bytes: FileBytes,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    base: u64,
}

impl Blocks {
    pub(super) fn new(bytes: FileBytes) -> Self {
        Self { bytes, buffer: vec![0; BLOCK], start: 0, end: 0, base: 0 }
    }

    /// Offset in the file of the first byte that is not consumed.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes.bytes_read()
    }

    /// Bytes that are in the buffer.
    #[inline]
    pub(super) fn available(&self) -> usize {
        self.end - self.start
    }

    /// Reads until `count` bytes (at most [`MAX_NEED`]) are in the buffer, and gives how many are: fewer only at the end.
    #[inline]
    pub(super) fn need(&mut self, count: usize) -> Result<usize, FileFault> {
        if self.available() < count {
            self.read_until(count)?;
        }
        Ok(self.available())
    }

    /// What is in the buffer.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        debug_assert!(self.start <= self.end && self.end <= self.buffer.len());
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Consumes `count` bytes of the buffer; [`Blocks::get`] gives them until the next [`Blocks::need`].
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Range<usize> {
        let from = self.start;
        self.start = self.end.min(from + count);
        from..self.start
    }

    /// Bytes that were taken.
    #[inline]
    pub(super) fn get(&self, taken: Range<usize>) -> &[u8] {
        debug_assert!(taken.end <= self.end, "what was taken is in the buffer until the next `need`");
        self.buffer.get(taken).unwrap_or_default()
    }

    /// Skips `count` bytes, however many, and gives how many there were: fewer only at the end.
    pub(super) fn skip(&mut self, count: u64) -> Result<u64, FileFault> {
        let mut left = count;
        while left > 0 {
            let available = self.need(1)?;
            if available == 0 {
                break;
            }
            let now = usize::try_from(left).map_or(available, |left| left.min(available));
            self.take(now);
            left -= now as u64;
        }
        Ok(count - left)
    }

    #[cold]
    fn read_until(&mut self, count: usize) -> Result<(), FileFault> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if count > self.buffer.len() {
            self.buffer.resize(count.min(MAX_NEED).next_multiple_of(4096), 0);
        }
        while self.end < count {
            let Some(free) = self.buffer.get_mut(self.end..).filter(|free| !free.is_empty()) else {
                break;
            };
            match self.bytes.read(free) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.bytes.fault(self.base + self.end as u64, error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(length: usize) -> Blocks {
        let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        Blocks::new(FileBytes::new(Box::new(io::Cursor::new(bytes))).unwrap())
    }

    #[test]
    fn passing_over_needs_no_more_memory() {
        let mut blocks = blocks(10 << 20);
        assert_eq!(blocks.skip(9 << 20).unwrap(), 9 << 20);
        assert_eq!(blocks.offset(), 9 << 20);
        assert_eq!(blocks.buffer.len(), BLOCK);
        assert_eq!(blocks.skip(u64::MAX).unwrap(), 1 << 20);
    }

    #[test]
    fn the_buffer_grows_to_its_bound_and_not_beyond() {
        let mut blocks = blocks(4 << 20);
        assert!(blocks.need(MAX_NEED).unwrap() >= MAX_NEED);
        assert_eq!(blocks.buffer.len(), MAX_NEED);
        assert!(blocks.need(usize::MAX).unwrap() <= MAX_NEED);
        assert_eq!(blocks.buffer.len(), MAX_NEED);
    }

    #[test]
    fn bytes_stay_in_order_over_every_refill() {
        let mut blocks = blocks(1 << 20);
        let mut expected = 0_u64;
        while blocks.need(1000).unwrap() >= 1000 {
            assert_eq!(blocks.offset(), expected);
            let taken = blocks.take(1000);
            let first = u8::try_from(expected % 251).unwrap();
            assert_eq!(blocks.get(taken).first(), Some(&first));
            expected += 1000;
        }
        assert_eq!(blocks.rest().len(), (1 << 20) % 1000);
    }
}
