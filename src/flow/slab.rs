//! A slab keeps connections at places that do not move, in chunks, so that growing copies nothing.
//!
//! The crate `slab` is one vector: growing it moves all connections at once, and for that moment may take three times the
//! memory that it had.

use super::connection::Connection;

/// Connections per chunk: 64 KiB or so.
const CHUNK: usize = 256;

/// Invariant: a place is either taken or in `free`.
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

    /// Bytes that it takes, with `more` chunks added.
    pub(super) fn bytes_with(&self, more: usize) -> u64 {
        let chunks = self.chunks.len() + more;
        let entries = chunks * CHUNK * size_of::<Option<Connection>>();
        // The list of free places may come to hold every place.
        let places = self.free.capacity().max(chunks * CHUNK) * size_of::<u32>();
        (entries + places + self.chunks.capacity().max(chunks) * size_of::<Vec<Option<Connection>>>()) as u64
    }

    pub(super) const fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) const fn chunk() -> usize {
        CHUNK
    }

    /// Adds a chunk of free places, the lowest to be taken first.
    pub(super) fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK;
        let (Ok(first), Ok(end)) = (u32::try_from(first), u32::try_from(first + CHUNK)) else { return };
        let mut chunk = Vec::with_capacity(CHUNK);
        chunk.resize_with(CHUNK, || None);
        self.chunks.push(chunk);
        let places = self.chunks.len() * CHUNK;
        self.free.reserve_exact(places - self.free.len());
        self.free.extend((first..end).rev());
    }

    /// One past the greatest place there is.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.chunks.len() * CHUNK).unwrap_or(u32::MAX)
    }

    /// The place that the next connection gets.
    pub(super) fn next_place(&self) -> Option<u32> {
        self.free.last().copied()
    }

    pub(super) fn insert(&mut self, connection: Connection) -> Option<u32> {
        let index = self.free.pop()?;
        *self.place(index)? = Some(connection);
        self.len += 1;
        Some(index)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Connection> {
        let connection = self.place(index)?.take()?;
        self.free.push(index);
        self.len -= 1;
        Some(connection)
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Connection> {
        self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.place(index)?.as_mut()
    }

    #[inline]
    fn place(&mut self, index: u32) -> Option<&mut Option<Connection>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }
}
