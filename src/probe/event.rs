//! A call as the program in the kernel tells it: `struct call` of `calls.bpf.c`.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::tls::keys::Label;
use crate::tls::probed::{Call, Derived};

/// The longest secret, hash or random.
const MAX_BYTES: usize = 48;

/// `struct call`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Told {
    what: u32,
    /// The process that called.
    process: u32,
    /// The processor on which, and how many calls were lost there since the start.
    pub(super) cpu: u32,
    secret_length: u16,
    with_length: u16,
    pub(super) lost: u64,
    secret: [u8; MAX_BYTES],
    with: [u8; MAX_BYTES],
}

impl Told {
    /// Reads an item of the ring.
    pub(super) fn read(item: &[u8]) -> Option<&Self> {
        Self::ref_from_bytes(item).ok()
    }

    /// What was called.
    pub(super) fn call(&self) -> Option<Call<'_>> {
        let what = match self.what {
            1 => Derived::Early,
            2 => Derived::Handshake,
            3 => Derived::Application,
            4 => Derived::KeyBlock,
            16 => Derived::Logged(Label::Master),
            17 => Derived::Logged(Label::ClientEarly),
            18 => Derived::Logged(Label::ClientHandshake),
            19 => Derived::Logged(Label::ServerHandshake),
            20 => Derived::Logged(Label::ClientTraffic),
            21 => Derived::Logged(Label::ServerTraffic),
            _ => return None,
        };
        let secret = self.secret.get(..usize::from(self.secret_length))?;
        Some(Call { what, secret, with: self.with.get(..usize::from(self.with_length))?, process: self.process })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that is aligned as the ring is.
    #[repr(align(8))]
    struct Item([u8; 120]);

    fn item(what: u32, lengths: [u16; 2]) -> Item {
        let mut item = [7; 120];
        item[..4].copy_from_slice(&what.to_ne_bytes());
        item[12..14].copy_from_slice(&lengths[0].to_ne_bytes());
        item[14..16].copy_from_slice(&lengths[1].to_ne_bytes());
        Item(item)
    }

    #[test]
    fn lengths_are_those_of_the_call() {
        let item = item(4, [48, 32]);
        let call = Told::read(&item.0).unwrap().call().unwrap();
        assert_eq!((call.what, call.secret.len(), call.with.len()), (Derived::KeyBlock, 48, 32));
    }

    #[test]
    fn what_no_program_of_ours_tells_is_refused() {
        assert!(Told::read(&[0; 119]).is_none());
        for (what, lengths) in [(4, [49, 32]), (4, [48, 49]), (0, [48, 32]), (22, [48, 32])] {
            assert!(Told::read(&item(what, lengths).0).unwrap().call().is_none());
        }
    }
}
