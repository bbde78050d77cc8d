//! An opener takes the protection off records: it decrypts them in place, and the tag decides whether the result is what the
//! sender wrote.
//!
//! One opener belongs to one side, and to one set of keys. It does not count: the caller says which record of the side this
//! is, since after loss that has to be found out. It has its key as it was derived; what the cipher makes of it takes half a
//! kilobyte, and only those used last are kept, in [`Expanded`].

use std::ops::Range;

use aes::{Aes128, Aes256};
use ccm::aead::{AeadInOut, KeyInit};
use ccm::consts::{U8, U12, U16};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::cbc::Cbc;
use super::record::{ContentType, HEADER, Header, MAX_PLAINTEXT};
use super::secrets::{Secret, expand_label, prf};
use super::suites::{Bulk, Suite};

/// Which way a side sends: keys differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the two roles")]
pub enum Role {
    Client,
    Server,
}

impl Role {
    /// The other role.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A record that was opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// What it carries in truth.
    pub kind: ContentType,
    /// Where its plaintext lies in the body; without padding.
    pub plaintext: Range<usize>,
}

/// Opens the records of one side.
pub struct Opener {
    protection: Protection,
    /// In TLS 1.2 with an explicit nonce: the first four bytes of nonces. Otherwise what the number of a record is added to.
    iv: [u8; 12],
    layout: Layout,
}

enum Protection {
    /// An AEAD cipher, and its key.
    Aead(Bulk, Key),
    Cbc(Box<Cbc>),
}

/// The key of an AEAD cipher, with zeros behind it.
#[derive(Clone, PartialEq, Eq)]
struct Key(Zeroizing<[u8; 32]>);

impl Key {
    fn new(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        key.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self(key))
    }
}

/// How a record lies in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Ciphertext and tag; the plaintext ends in its type and zeros.
    Tls13,
    /// Eight bytes of nonce, ciphertext, tag.
    ExplicitNonce,
    /// Ciphertext and tag.
    NoNonce,
    /// See [`Cbc`].
    Cbc,
}

/// An AEAD cipher with its expanded key.
#[expect(clippy::large_enum_variant, reason = "nearly all are of the largest variant, and there are few")]
enum Cipher {
    Ring(LessSafeKey),
    Ccm128(Box<ccm::Ccm<Aes128, U16, U12>>),
    Ccm128Short(Box<ccm::Ccm<Aes128, U8, U12>>),
    Ccm256(Box<ccm::Ccm<Aes256, U16, U12>>),
    Ccm256Short(Box<ccm::Ccm<Aes256, U8, U12>>),
}

impl Cipher {
    fn new(bulk: Bulk, key: &[u8]) -> Option<Self> {
        fn ring_key(algorithm: &'static Algorithm, key: &[u8]) -> Option<Cipher> {
            Some(Cipher::Ring(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?)))
        }
        match bulk {
            Bulk::Gcm(16) => ring_key(&AES_128_GCM, key),
            Bulk::Gcm(_) => ring_key(&AES_256_GCM, key),
            Bulk::ChaCha => ring_key(&CHACHA20_POLY1305, key),
            Bulk::Ccm(16, 16) => Some(Self::Ccm128(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Bulk::Ccm(16, _) => Some(Self::Ccm128Short(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Bulk::Ccm(_, 16) => Some(Self::Ccm256(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Bulk::Ccm(..) => Some(Self::Ccm256Short(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Bulk::Cbc(..) => None,
        }
    }

    /// Decrypts `sealed`, which ends in a tag of this length, in place, if the tag is right.
    fn open(&self, nonce: [u8; 12], authenticated: &[u8], sealed: &mut [u8], tag: usize) -> Option<()> {
        /// The same with a cipher that takes the tag apart.
        fn detached<C: AeadInOut<NonceSize = U12>>(
            cipher: &C,
            nonce: [u8; 12],
            authenticated: &[u8],
            sealed: &mut [u8],
            tag: usize,
        ) -> Option<()> {
            let (data, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(tag)?)?;
            let tag = (&*tag).try_into().ok()?;
            cipher.decrypt_inout_detached(&nonce.into(), authenticated, data.into(), tag).ok()
        }
        match self {
            Self::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::from(authenticated), sealed).ok().map(|_| ())
            }
            Self::Ccm128(key) => detached(&**key, nonce, authenticated, sealed, tag),
            Self::Ccm128Short(key) => detached(&**key, nonce, authenticated, sealed, tag),
            Self::Ccm256(key) => detached(&**key, nonce, authenticated, sealed, tag),
            Self::Ccm256Short(key) => detached(&**key, nonce, authenticated, sealed, tag),
        }
    }
}

/// So many expanded keys are kept: some 20 KiB, which the caches of a processor hold.
const MAX_EXPANDED: usize = 32;

/// The keys that were used last, expanded. A key has one place, which its first byte says: at worst each record costs an
/// expansion.
#[derive(Default)]
pub struct Expanded(Vec<Option<ExpandedKey>>);

struct ExpandedKey {
    bulk: Bulk,
    key: Key,
    cipher: Cipher,
}

impl Expanded {
    fn cipher(&mut self, bulk: Bulk, key: &Key) -> Option<&Cipher> {
        if self.0.is_empty() {
            self.0.resize_with(MAX_EXPANDED, || None);
        }
        let place = self.0.get_mut(usize::from(*key.0.first()?) % MAX_EXPANDED)?;
        if place.as_ref().is_none_or(|kept| kept.bulk != bulk || kept.key != *key) {
            let cipher = Cipher::new(bulk, key.0.get(..bulk.key())?)?;
            *place = Some(ExpandedKey { bulk, key: key.clone(), cipher });
        }
        place.as_ref().map(|kept| &kept.cipher)
    }
}

impl std::fmt::Debug for Expanded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expanded").finish_non_exhaustive()
    }
}

impl Opener {
    /// An opener of TLS 1.3, from a traffic secret (RFC 8446 section 7.3).
    #[must_use]
    pub fn tls13(suite: Suite, secret: &Secret) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        let key = key.get_mut(..suite.bulk.key())?;
        let mut iv = [0; 12];
        // A secret of a connection with another hash cannot be that of this one.
        if secret.bytes().len() != suite.hash.length() {
            return None;
        }
        expand_label(suite.hash, secret.bytes(), "key", key);
        expand_label(suite.hash, secret.bytes(), "iv", &mut iv);
        Some(Self { protection: Protection::Aead(suite.bulk, Key::new(key)?), iv, layout: Layout::Tls13 })
    }

    /// An opener of TLS 1.2 for what `role` sends, from the master secret and the randoms of the two hellos (RFC 5246 section
    /// 6.3).
    #[must_use]
    pub fn tls12(
        suite: Suite,
        master: &Secret,
        client_random: &[u8; 32],
        server_random: &[u8; 32],
        encrypt_then_mac: bool,
        role: Role,
    ) -> Option<Self> {
        let key = suite.bulk.key();
        let (mac, nonce, layout) = match suite.bulk {
            Bulk::Gcm(_) | Bulk::Ccm(..) => (0, 4, Layout::ExplicitNonce),
            Bulk::ChaCha => (0, 12, Layout::NoNonce),
            Bulk::Cbc(_, mac) => (mac.length(), 0, Layout::Cbc),
        };
        let mut block = Zeroizing::new([0; 2 * (48 + 32 + 12)]);
        let block = block.get_mut(..2 * (mac + key + nonce))?;
        prf(suite.hash, master.bytes(), "key expansion", [server_random, client_random], block);
        // The MAC keys of both roles, then the keys, then the nonces: the client's first.
        let second = usize::from(role == Role::Server);
        let part = |start: usize, length: usize| block.get(start + second * length..)?.get(..length);
        let (mac_key, key, salt) = (part(0, mac)?, part(2 * mac, key)?, part(2 * (mac + key), nonce)?);
        let mut iv = [0; 12];
        iv.get_mut(..nonce)?.copy_from_slice(salt);
        let protection = match suite.bulk {
            Bulk::Cbc(_, mac) => Protection::Cbc(Box::new(Cbc::new(key, mac, mac_key, encrypt_then_mac)?)),
            aead => Protection::Aead(aead, Key::new(key)?),
        };
        Some(Self { protection, iv, layout })
    }

    /// Its cipher, if it is an AEAD cipher.
    pub(super) const fn aead(&self) -> Option<Bulk> {
        match &self.protection {
            Protection::Aead(bulk, _) => Some(*bulk),
            Protection::Cbc(_) => None,
        }
    }

    /// Reads a word of nonce and key, so that they are in the cache.
    pub(super) fn touch(&self) -> u64 {
        let key = if let Protection::Aead(_, key) = &self.protection { key.0.first().copied() } else { None };
        u64::from(self.iv.first().copied().unwrap_or_default() ^ key.unwrap_or_default())
    }

    /// Opens the record with this header, whose sender counted it as `number`. If it fails, the body is spoilt.
    #[must_use]
    pub fn open(&self, expanded: &mut Expanded, number: u64, header: &Header, body: &mut [u8]) -> Option<Opened> {
        let (bulk, key) = match &self.protection {
            Protection::Aead(bulk, key) => (*bulk, key),
            Protection::Cbc(cbc) => {
                let plaintext = cbc.open(number, header, body)?;
                return Some(Opened { kind: header.kind, plaintext });
            }
        };
        let tag = bulk.tag();
        let mut nonce = self.iv;
        let mut start = 0;
        if self.layout == Layout::ExplicitNonce {
            start = 8;
            nonce.get_mut(4..)?.copy_from_slice(body.get(..start)?);
        } else {
            let (_, counted) = nonce.split_last_chunk_mut::<8>()?;
            *counted = (u64::from_be_bytes(*counted) ^ number).to_be_bytes();
        }
        let end = body.len().checked_sub(tag).filter(|end| *end >= start)?;
        let cipher = expanded.cipher(bulk, key)?;
        if self.layout != Layout::Tls13 {
            let authenticated = authenticated(number, header, end - start)?;
            cipher.open(nonce, &authenticated, body.get_mut(start..)?, tag)?;
            return Some(Opened { kind: header.kind, plaintext: start..end });
        }
        if header.kind != ContentType::ApplicationData {
            return None;
        }
        cipher.open(nonce, &header.bytes, body, tag)?;
        let end = body.get(..end)?.iter().rposition(|byte| *byte != 0)?;
        let kind = ContentType::of(*body.get(end)?)?;
        Some(Opened { kind, plaintext: 0..end })
    }

    /// Bytes of a body that are not plaintext, at least; in TLS 1.2 with AEAD exactly.
    #[must_use]
    pub fn overhead(&self) -> usize {
        match (&self.protection, self.layout) {
            (Protection::Cbc(cbc), _) => cbc.overhead(),
            (Protection::Aead(bulk, _), Layout::Tls13) => bulk.tag() + 1,
            (Protection::Aead(bulk, _), Layout::ExplicitNonce) => bulk.tag() + 8,
            (Protection::Aead(bulk, _), _) => bulk.tag(),
        }
    }

    /// Whether [`Opener::overhead`] is exact, and the kind of a record is that in its header.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.layout, Layout::ExplicitNonce | Layout::NoNonce)
    }

    /// The most plaintext that a body of this length can have.
    #[must_use]
    pub fn greatest(&self, body: usize) -> usize {
        body.saturating_sub(self.overhead()).min(MAX_PLAINTEXT)
    }

    /// The shortest record, with its header.
    #[must_use]
    pub fn shortest(&self) -> usize {
        match &self.protection {
            Protection::Cbc(cbc) => HEADER + cbc.shortest(),
            Protection::Aead(..) => HEADER + self.overhead(),
        }
    }
}

/// What TLS 1.2 authenticates beside the plaintext (RFC 5246 section 6.2.3.3): number, type, version, length.
pub(super) fn authenticated(number: u64, header: &Header, length: usize) -> Option<[u8; 13]> {
    let mut out = [0; 13];
    let [kind, major, minor, ..] = header.bytes;
    let (counted, rest) = out.split_first_chunk_mut::<8>()?;
    *counted = number.to_be_bytes();
    let [high, low] = u16::try_from(length).ok()?.to_be_bytes();
    rest.copy_from_slice(&[kind, major, minor, high, low]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// RFC 8448 section 3: the record in which the client sends the bytes 0 to 49.
    #[test]
    fn a_record_of_the_published_trace() {
        let secret = Secret::new(&hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")).unwrap();
        let mut record = hex(
            "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19
             a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49
             15 e4",
        );
        let (head, body) = record.split_first_chunk_mut().unwrap();
        let header = Header::read(*head).unwrap();
        let opener = Opener::tls13(Suite::of(0x1301).unwrap(), &secret).unwrap();
        let mut expanded = Expanded::default();
        let opened = opener.open(&mut expanded, 0, &header, &mut body.to_vec()).unwrap();
        assert_eq!(opened, Opened { kind: ContentType::ApplicationData, plaintext: 0..50 });
        assert_eq!(opener.open(&mut expanded, 1, &header, &mut body.to_vec()), None);
        assert_eq!(opener.open(&mut expanded, 0, &header, &mut [0; 4]), None);
        assert_eq!(opener.greatest(header.length), 50);
        opener.open(&mut expanded, 0, &header, body).unwrap();
        assert_eq!(body[..50].to_vec(), (0..50).collect::<Vec<u8>>());
    }

    #[test]
    fn short_bodies_and_wrong_secrets_open_nothing() {
        let secret = |length| Secret::new(&vec![1; length]).unwrap();
        let mut expanded = Expanded::default();
        for number in 0..=u16::MAX {
            let Some(suite) = Suite::of(number) else { continue };
            let opener = if suite.is_tls13() {
                assert!(Opener::tls13(suite, &secret(80 - suite.hash.length())).is_none());
                Opener::tls13(suite, &secret(suite.hash.length()))
            } else {
                Opener::tls12(suite, &secret(48), &[1; 32], &[2; 32], number & 1 == 0, Role::Client)
            }
            .unwrap();
            for length in 1..120_u8 {
                let header = Header::read([23, 3, 3, 0, length]).unwrap();
                let mut body = vec![length; usize::from(length)];
                assert_eq!(opener.open(&mut expanded, 3, &header, &mut body), None);
            }
        }
    }
}
