//! The memory of a packet socket's ring, which the kernel and this process share: blocks that are the kernel's or ours, by a
//! word in each. All `unsafe` of the ring is here.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where in a block the word is that says whose it is: `block_status` of `struct tpacket_block_desc`.
const STATUS: usize = 8;

/// The mapped ring.
pub(super) struct Memory {
    start: NonNull<u8>,
    block_bytes: usize,
    blocks: usize,
}

#[expect(unsafe_code, reason = "a mapping belongs to no thread")]
// SAFETY: the mapping belongs to the process, and only the owner of this value reads and writes it.
unsafe impl Send for Memory {}

impl Memory {
    /// Maps the ring of a socket that has one, of so many blocks. Both numbers must be those that the kernel was given: it
    /// refuses another size in all. `block_bytes` is a multiple of the size of a page.
    pub(super) fn map(socket: BorrowedFd<'_>, block_bytes: NonZeroUsize, blocks: NonZeroUsize) -> io::Result<Self> {
        Self::mapped(libc::MAP_SHARED, socket.as_raw_fd(), block_bytes, blocks)
    }

    /// Memory of the process alone, for tests.
    #[cfg(test)]
    pub(super) fn without_socket(block_bytes: usize, blocks: usize) -> Self {
        let number = |value| NonZeroUsize::new(value).unwrap();
        Self::mapped(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, number(block_bytes), number(blocks)).unwrap()
    }

    fn mapped(kind: i32, file: i32, block_bytes: NonZeroUsize, blocks: NonZeroUsize) -> io::Result<Self> {
        let bytes = block_bytes.checked_mul(blocks).filter(|bytes| isize::try_from(bytes.get()).is_ok());
        let (bytes, aligned) = (bytes.ok_or(io::ErrorKind::InvalidInput)?, block_bytes.get().is_multiple_of(4096));
        if !aligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        #[expect(unsafe_code, reason = "no safe binding maps a ring")]
        // SAFETY: the kernel chooses the address, so no memory that is in use is replaced; all else it checks itself.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes.get(), protection, kind, file, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, block_bytes: block_bytes.get(), blocks: blocks.get() })
    }

    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }

    pub(super) const fn bytes(&self) -> usize {
        self.block_bytes * self.blocks
    }

    /// The first byte of a block. Counts past the last block from the first on.
    fn block(&self, index: usize) -> NonNull<u8> {
        let offset = index % self.blocks * self.block_bytes;
        #[expect(unsafe_code, reason = "a block is a part of the mapping")]
        // SAFETY: the offset is that of one of the blocks, all of which are in the mapping, whose size is no more than isize::MAX.
        unsafe {
            self.start.add(offset)
        }
    }

    fn status(&self, index: usize) -> &AtomicU32 {
        #[expect(unsafe_code, reason = "the kernel writes the word while it is read")]
        // SAFETY: the word is in the mapping, since a block has at least a page, and aligned, since blocks begin at pages. It
        // lives as long as `self`. The kernel and this process only write it atomically; a `Block`, which could otherwise, holds `self`
        // exclusively.
        unsafe {
            AtomicU32::from_ptr(self.block(index).add(STATUS).as_ptr().cast())
        }
    }

    /// Whether a block holds frames to be read: it is ours, and not the kernel's.
    pub(super) fn is_ready(&self, index: usize) -> bool {
        self.status(index).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// A block, if it is ours.
    pub(super) fn take(&mut self, index: usize) -> Option<Block<'_>> {
        // No block is made of what is not ours: it would be given back, even if the kernel has handed it over in between.
        if self.is_ready(index) { Some(Block { memory: self, index }) } else { None }
    }

    /// As the kernel does it, for tests.
    #[cfg(test)]
    pub(super) fn fill(&mut self, index: usize, bytes: &[u8]) {
        let mut block = Block { memory: self, index };
        block.bytes()[..bytes.len()].copy_from_slice(bytes);
        std::mem::forget(block);
        self.status(index).store(libc::TP_STATUS_USER, Ordering::Release);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "no safe binding ends a mapping")]
        // SAFETY: this is the whole mapping as it was made, and nothing that refers to it outlives `self`.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes()) };
        debug_assert_eq!(result, 0, "a mapping can be ended");
    }
}

/// A block that is ours. It goes back to the kernel when it is dropped.
pub(super) struct Block<'a> {
    memory: &'a mut Memory,
    index: usize,
}

impl Block<'_> {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let start = self.memory.block(self.index);
        #[expect(unsafe_code, reason = "frames are lent from where the kernel put them")]
        // SAFETY: the block is in the mapping, which is held exclusively and outlives the slice, and any bytes are valid ones. The
        // kernel writes nothing into a block from when it was marked as ours, which was read with acquire order, until it is given
        // back, and that ends this value.
        unsafe {
            std::slice::from_raw_parts_mut(start.as_ptr(), self.memory.block_bytes)
        }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.memory.status(self.index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_ours_until_it_is_dropped() {
        let mut memory = Memory::without_socket(4096, 3);
        assert!(memory.take(1).is_none(), "it is the kernel's");
        memory.fill(1, b"frames");
        assert_eq!([0, 1, 2, 3, 4].map(|index| memory.is_ready(index)), [false, true, false, false, true]);
        let mut block = memory.take(4).unwrap();
        assert_eq!((block.bytes().len(), &block.bytes()[..6]), (4096, &b"frames"[..]));
        drop(block);
        assert!(!memory.is_ready(1));
    }

    #[test]
    fn what_is_not_ours_is_not_written() {
        let mut memory = Memory::without_socket(4096, 3);
        memory.status(1).store(libc::TP_STATUS_LOSING, Ordering::Release);
        assert!(memory.take(1).is_none());
        assert_eq!(memory.status(1).load(Ordering::Acquire), libc::TP_STATUS_LOSING);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let map = |bytes, blocks| {
            let number = |value| NonZeroUsize::new(value).unwrap();
            Memory::mapped(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, number(bytes), number(blocks))
        };
        assert!(map(4000, 2).is_err() && map(usize::MAX & !4095, 2).is_err() && map(1 << 62, 2).is_err());
    }
}
