//! The hash of a handshake's messages up to ServerHello (RFC 8446 section 4.4.1). In TLS 1.3 whoever derives the first secrets
//! of a connection has it too, so that it is a name by which secrets find their connection.

use sha2::{Digest, Sha256, Sha384};

use super::secrets::Hash;

/// Type of the message that stands for the first ClientHello after a HelloRetryRequest.
const MESSAGE_HASH: u8 = 254;

/// Hashes messages while it is not known by which function.
#[derive(Clone, Default)]
pub(super) struct Transcript {
    sha256: Sha256,
    sha384: Sha384,
    /// The next message, until it is known what it is.
    next: Vec<u8>,
}

impl Transcript {
    /// Keeps a message, with its header, until it is taken.
    pub(super) fn keep(&mut self, message: &[u8]) {
        self.next.clear();
        self.next.extend_from_slice(message);
    }

    /// Takes the message that was kept.
    pub(super) fn take(&mut self) {
        let next = std::mem::take(&mut self.next);
        self.add(&next);
    }

    /// Begins anew with the message that was kept.
    pub(super) fn restart(&mut self) {
        *self = Self { next: std::mem::take(&mut self.next), ..Self::default() };
        self.take();
    }

    /// Takes the next message, with its header.
    fn add(&mut self, message: &[u8]) {
        self.sha256.update(message);
        self.sha384.update(message);
    }

    /// The server asks for another hello, and chose this function: what came so far is replaced by its hash.
    pub(super) fn retry(&mut self, hash: Hash) {
        let next = std::mem::take(&mut self.next);
        let Self { sha256, sha384, .. } = std::mem::replace(self, Self { next, ..Self::default() });
        let length = if hash == Hash::Sha256 { 32 } else { 48 };
        self.add(&[MESSAGE_HASH, 0, 0, length]);
        match hash {
            Hash::Sha256 => self.add(&sha256.finalize()),
            Hash::Sha384 => self.add(&sha384.finalize()),
        }
    }

    /// Memory on the heap, in bytes.
    pub(super) const fn memory(&self) -> usize {
        self.next.capacity()
    }

    /// The name that follows from the messages so far.
    pub(super) fn name(&self, hash: Hash) -> [u8; 32] {
        match hash {
            Hash::Sha256 => name(&self.sha256.clone().finalize()),
            Hash::Sha384 => name(&self.sha384.clone().finalize()),
        }
    }
}

/// A hash as a name: its first 32 bytes.
pub(super) fn name(hash: &[u8]) -> [u8; 32] {
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// `sha256sum` and `sha384sum` of the same bytes.
    #[test]
    fn a_name_is_the_beginning_of_the_hash() {
        let mut transcript = Transcript::default();
        transcript.add(b"a");
        transcript.add(b"bc");
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(transcript.name(Hash::Sha256).to_vec(), hex(wanted));
        let wanted = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed";
        assert_eq!(transcript.name(Hash::Sha384).to_vec(), hex(wanted));
    }

    #[test]
    fn a_retry_replaces_what_came_by_its_hash() {
        let (mut retried, mut wanted) = (Transcript::default(), Transcript::default());
        retried.add(b"abc");
        retried.retry(Hash::Sha256);
        wanted.add(&hex("fe000020ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        assert_eq!(retried.name(Hash::Sha256), wanted.name(Hash::Sha256));
    }
}
