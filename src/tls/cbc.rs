//! AES-CBC with a MAC, in both orders: MAC first (RFC 5246 section 6.2.3.2), and encryption first (RFC 7366).

use std::ops::Range;

use aes::{Aes128, Aes256};
use cbc::cipher::array::Array;
use cbc::cipher::{BlockModeDecrypt, InnerIvInit, KeyInit};
use hmac::Hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use super::cipher::authenticated;
use super::record::Header;
use super::secrets::mac;
use super::suites::CbcMac;

const BLOCK: usize = 16;

/// The keys of one side.
pub(super) struct Cbc {
    key: Key,
    mac: CbcMac,
    mac_key: Zeroizing<Box<[u8]>>,
    encrypt_then_mac: bool,
}

enum Key {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl Cbc {
    pub(super) fn new(key: &[u8], mac: CbcMac, mac_key: &[u8], encrypt_then_mac: bool) -> Option<Self> {
        let key = if key.len() == BLOCK {
            Key::Aes128(Aes128::new_from_slice(key).ok()?)
        } else {
            Key::Aes256(Aes256::new_from_slice(key).ok()?)
        };
        Some(Self { key, mac, mac_key: Zeroizing::new(mac_key.into()), encrypt_then_mac })
    }

    /// Opens a record in place, and says where the plaintext lies. A body is an initialisation vector, whole blocks, and with
    /// encryption first the MAC behind them. Nothing here is in constant time: nobody waits for an answer.
    pub(super) fn open(&self, number: u64, header: &Header, body: &mut [u8]) -> Option<Range<usize>> {
        let mac_length = self.mac.length();
        if self.encrypt_then_mac {
            let end = body.len().checked_sub(mac_length)?;
            let (sealed, tag) = body.split_at_mut_checked(end)?;
            if !self.is_mac(&authenticated(number, header, sealed.len())?, sealed, tag) {
                return None;
            }
            let end = self.decrypt(sealed)?;
            return Some(BLOCK..end);
        }
        let end = self.decrypt(body)?.checked_sub(mac_length).filter(|end| *end >= BLOCK)?;
        let (plaintext, tag) = (body.get(BLOCK..end)?, body.get(end..end + mac_length)?);
        self.is_mac(&authenticated(number, header, plaintext.len())?, plaintext, tag).then_some(BLOCK..end)
    }

    /// Decrypts vector and blocks, and says where the padding begins.
    fn decrypt(&self, body: &mut [u8]) -> Option<usize> {
        let length = body.len();
        let (iv, blocks) = body.split_first_chunk_mut::<BLOCK>()?;
        let (blocks, []) = Array::slice_as_chunks_mut(blocks) else { return None };
        let iv = &(*iv).into();
        match &self.key {
            Key::Aes128(key) => cbc::Decryptor::<&Aes128>::inner_iv_init(key, iv).decrypt_blocks(blocks),
            Key::Aes256(key) => cbc::Decryptor::<&Aes256>::inner_iv_init(key, iv).decrypt_blocks(blocks),
        }
        // As many bytes of padding as the last says, each of which says the same, and that last one.
        let padding = *body.last()?;
        let start = length.checked_sub(usize::from(padding) + 1).filter(|start| *start >= BLOCK)?;
        body.get(start..)?.iter().all(|byte| *byte == padding).then_some(start)
    }

    fn is_mac(&self, authenticated: &[u8], data: &[u8], tag: &[u8]) -> bool {
        let (parts, mut out) = ([authenticated, data], [0; 48]);
        match self.mac {
            CbcMac::Sha1 => mac::<Hmac<Sha1>>(&self.mac_key, &parts, &mut out),
            CbcMac::Sha256 => mac::<Hmac<Sha256>>(&self.mac_key, &parts, &mut out),
            CbcMac::Sha384 => mac::<Hmac<Sha384>>(&self.mac_key, &parts, &mut out),
        }
        out.get(..self.mac.length()) == Some(tag)
    }

    /// Bytes of a body that are not plaintext, at least: vector, MAC, and one byte of padding.
    pub(super) const fn overhead(&self) -> usize {
        BLOCK + self.mac.length() + 1
    }

    /// The shortest body.
    pub(super) const fn shortest(&self) -> usize {
        let mac = self.mac.length();
        if self.encrypt_then_mac { 2 * BLOCK + mac } else { BLOCK + (mac + BLOCK) / BLOCK * BLOCK }
    }
}
