//! A slab stores connections under handles, in chunks that do not move, so that growing copies nothing.
//!
//! The crate `slab` is one vector: growing it moves all connections at once, and meanwhile may take three times the
//! memory that it had.

use super::connection::Connection;

/// Connections in a chunk of 64 KiB.
const CHUNK: usize = 256;

/// A handle is a connection's index over all chunks. Invariant: a handle is either taken or in `free`, and `len` are
/// taken.
pub(super) struct Slab {
    chunks: Vec<Vec<Option<Connection>>>,
    free: Vec<u32>,
    len: usize,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it takes with `more` chunks added.
    pub(super) fn bytes_with(&self, more: usize) -> u64 {
        let chunks = self.chunks.len() + more;
        let entries = chunks * CHUNK * size_of::<Option<Connection>>();
        // At times every handle is free.
        let free = self.free.capacity().max(chunks * CHUNK) * size_of::<u32>();
        (entries + free + self.chunks.capacity().max(chunks) * size_of::<Vec<Option<Connection>>>()) as u64
    }

    /// Whether a handle is free.
    pub(super) const fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// How many connections a chunk holds.
    pub(super) const fn chunk() -> usize {
        CHUNK
    }

    /// Adds a chunk of free handles, of which the lowest is taken first.
    pub(super) fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK;
        let (Ok(first), Ok(end)) = (u32::try_from(first), u32::try_from(first + CHUNK)) else { return };
        let mut chunk = Vec::with_capacity(CHUNK);
        chunk.resize_with(CHUNK, || None);
        self.chunks.push(chunk);
        let all = self.chunks.len() * CHUNK;
        self.free.reserve_exact(all - self.free.len());
        self.free.extend((first..end).rev());
    }

    /// One past the greatest handle.
    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.chunks.len() * CHUNK).unwrap_or(u32::MAX)
    }

    /// The handle of the next connection; `None`: [`Self::grow`] first.
    pub(super) fn next_handle(&self) -> Option<u32> {
        self.free.last().copied()
    }

    /// Stores a connection and returns its handle; `None`: [`Self::grow`] first.
    pub(super) fn insert(&mut self, connection: Connection) -> Option<u32> {
        let handle = self.free.pop()?;
        let entry = self.entry(handle);
        debug_assert!(matches!(entry, Some(None)), "a free handle has an empty entry");
        *entry? = Some(connection);
        self.len += 1;
        Some(handle)
    }

    pub(super) fn remove(&mut self, handle: u32) -> Option<Connection> {
        let connection = self.entry(handle)?.take()?;
        self.free.push(handle);
        self.len -= 1;
        Some(connection)
    }

    #[inline]
    pub(super) fn get(&self, handle: u32) -> Option<&Connection> {
        self.chunks.get(handle as usize / CHUNK)?.get(handle as usize % CHUNK)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: u32) -> Option<&mut Connection> {
        self.entry(handle)?.as_mut()
    }

    #[inline]
    fn entry(&mut self, handle: u32) -> Option<&mut Option<Connection>> {
        self.chunks.get_mut(handle as usize / CHUNK)?.get_mut(handle as usize % CHUNK)
    }
}
