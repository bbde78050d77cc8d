//! The bytes of packets that are held, in one ring: of each the key of its owner, its [`Head`], and its bytes.

use std::collections::VecDeque;

use super::chunk::Head;

/// Bytes that a packet takes in the buffer beside its own.
pub(super) const HEAD: usize = 32;
/// The smallest buffer.
const LEAST: usize = 64 << 10;

impl Head {
    fn to_bytes(self) -> [u8; HEAD - 8] {
        let mut bytes = [0; HEAD - 8];
        let Self { time, link, interface, original_len, len } = self;
        let fields = [link.cast_unsigned(), interface, original_len, len].map(u32::to_ne_bytes);
        let all = time.to_ne_bytes().into_iter().chain(fields.into_iter().flatten());
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let (time, fields) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let mut fields =
            fields.chunks_exact(4).map(|field| field.first_chunk().map_or(0, |field| u32::from_ne_bytes(*field)));
        let mut next = || fields.next().unwrap_or(0);
        let time = i64::from_ne_bytes(*time);
        Self { time, link: next().cast_signed(), interface: next(), original_len: next(), len: next() }
    }
}

/// Packets, the oldest first.
#[derive(Default)]
pub(super) struct Buffer(VecDeque<u8>);

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that are held.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a packet. The memory becomes larger if it has to, up to half a `step` more than `room` if the packets take no more than that.
    pub(super) fn put(&mut self, key: u64, head: Head, data: &[u8], room: usize, step: usize) {
        let whole = self.0.len() + HEAD + data.len();
        let most = (room + step / 2).max(whole);
        if self.0.capacity() < whole {
            let wanted = (self.0.capacity() * 2).max(LEAST).min(most).max(whole);
            self.0.reserve_exact(wanted - self.0.len());
        }
        self.0.extend(key.to_ne_bytes().iter().chain(&head.to_bytes()));
        self.0.extend(data);
    }

    /// Makes the memory smaller if it takes more than `room` by a `step`, to half a step more. So a full ring is moved only after `room` has
    /// changed by half a step.
    pub(super) fn fit(&mut self, room: usize, step: usize) {
        if self.0.capacity() > room + step {
            self.0.shrink_to(room + step / 2);
        }
    }

    /// The oldest packet.
    pub(super) fn oldest(&self) -> Option<(u64, Head)> {
        let mut fields = [0; HEAD];
        fields.iter_mut().zip(self.0.range(..HEAD.min(self.0.len()))).for_each(|(to, from)| *to = *from);
        let (key, head) = fields.split_first_chunk()?;
        (!self.0.is_empty()).then(|| (u64::from_ne_bytes(*key), Head::from_bytes(head)))
    }

    /// Takes the oldest packet out, and gives it to `to` with its bytes. Nothing if there is none.
    pub(super) fn take_oldest<T>(&mut self, to: impl FnOnce(u64, Head, &[u8]) -> T) -> Option<T> {
        let (key, head) = self.oldest()?;
        self.0.drain(..HEAD);
        let len = (head.len as usize).min(self.0.len());
        let (front, back) = self.0.as_slices();
        let taken = match front.get(..len) {
            Some(whole) => to(key, head, whole),
            None => {
                // It lies at the end of the memory and at its beginning.
                let rest = back.get(..len - front.len()).unwrap_or_default();
                to(key, head, &[front, rest].concat())
            }
        };
        self.0.drain(..len);
        Some(taken)
    }
}

#[cfg(test)]
impl Buffer {
    /// Memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.0.capacity()
    }
}
