//! A secret, and what is derived from it: the key schedules of TLS 1.2 (RFC 5246 sections 5 and 6.3) and TLS 1.3 (RFC 8446
//! section 7).
//!
//! Secrets are erased when they are dropped, and no output shows them. How the master secret of TLS 1.2 came about (with the
//! extended master secret of RFC 7627 or without) makes no difference here: a key log has the result.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384};
use zeroize::{Zeroize, Zeroizing};

/// The longest output of a [`Hash`].
const MAX_HASH: usize = 48;

/// A secret of 1 to 48 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// A copy of these bytes; `None` if there are none, or too many.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let valid = !bytes.is_empty() && bytes.len() <= MAX_HASH;
        valid.then(|| Self(Zeroizing::new(bytes.into())))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret of {} bytes", self.0.len())
    }
}

/// The hash function of a cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Hash {
    Sha256,
    Sha384,
}

impl Hash {
    /// Bytes of output.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// The hash of these bytes.
    pub(super) fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
        }
    }

    /// HMAC of these parts, one after the other.
    fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; MAX_HASH]> {
        let mut out = Zeroizing::new([0; MAX_HASH]);
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key, parts, &mut *out),
            Self::Sha384 => mac::<Hmac<Sha384>>(key, parts, &mut *out),
        }
        out
    }
}

/// Writes a MAC of these parts to the front of `out`.
pub(super) fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]], out: &mut [u8]) {
    let mac = <M as KeyInit>::new_from_slice(key);
    debug_assert!(mac.is_ok(), "HMAC takes keys of any length");
    let Ok(mut mac) = mac else { return };
    for part in parts {
        mac.update(part);
    }
    let result = mac.finalize().into_bytes();
    for (to, from) in out.iter_mut().zip(&result) {
        *to = *from;
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1): fills `out`, at most 255 bytes.
pub(super) fn expand_label(hash: Hash, secret: &[u8], label: &str, out: &mut [u8]) {
    expand_label_with(hash, secret, label, &[], out);
}

/// HKDF-Expand-Label: fills `out`, at most 255 bytes. `context`: nothing, or a hash.
pub(super) fn expand_label_with(hash: Hash, secret: &[u8], label: &str, context: &[u8], out: &mut [u8]) {
    let length = u8::try_from(out.len());
    debug_assert!(length.is_ok(), "keys are short");
    let name_length = u8::try_from(label.len() + 6).unwrap_or_default();
    let context_length = u8::try_from(context.len()).unwrap_or_default();
    let lengths = [0, length.unwrap_or_default(), name_length];
    let info = [&lengths, &b"tls13 "[..], label.as_bytes(), &[context_length], context].concat();
    let mut block = Zeroizing::new([0; MAX_HASH]);
    let mut previous = 0;
    for (number, part) in (1_u8..).zip(out.chunks_mut(hash.length())) {
        block = hash.hmac(secret, &[block.get(..previous).unwrap_or_default(), &info, &[number]]);
        previous = hash.length();
        copy(part, &*block);
    }
}

/// HKDF-Extract (RFC 5869 section 2.2) with as many bytes of input as the hash has.
pub(super) fn extract(hash: Hash, salt: &[u8], input: &[u8; MAX_HASH]) -> Zeroizing<Vec<u8>> {
    let out = hash.hmac(salt, &[input.get(..hash.length()).unwrap_or_default()]);
    Zeroizing::new(out.get(..hash.length()).unwrap_or_default().to_vec())
}

/// The secret after a KeyUpdate (RFC 8446 section 7.2).
pub(super) fn updated(hash: Hash, secret: &Secret) -> Option<Secret> {
    let mut next = Zeroizing::new([0; MAX_HASH]);
    let next = next.get_mut(..hash.length())?;
    expand_label(hash, secret.bytes(), "traffic upd", next);
    Secret::new(next)
}

/// The pseudo-random function of TLS 1.2 (RFC 5246 section 5): fills `out`.
pub(super) fn prf(hash: Hash, secret: &[u8], label: &str, seeds: [&[u8]; 2], out: &mut [u8]) {
    let [first, second] = seeds;
    let seed = [label.as_bytes(), first, second];
    let mut chain = hash.hmac(secret, &seed);
    for part in out.chunks_mut(hash.length()) {
        let link = chain.get(..hash.length()).unwrap_or_default();
        let block = hash.hmac(secret, &[link, label.as_bytes(), first, second]);
        copy(part, &*block);
        let next = hash.hmac(secret, &[link]);
        chain.zeroize();
        chain = next;
    }
}

/// Fills `to` from the front of `from`.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// RFC 8448 section 3: the server's handshake traffic secret, and the keys made of it.
    #[test]
    fn keys_of_the_published_trace() {
        let secret = hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
        let (mut key, mut iv) = ([0; 16], [0; 12]);
        expand_label(Hash::Sha256, &secret, "key", &mut key);
        expand_label(Hash::Sha256, &secret, "iv", &mut iv);
        assert_eq!(key.to_vec(), hex("3fce516009c21727d0f2e4e86ee403bc"));
        assert_eq!(iv.to_vec(), hex("5d313eb2671276ee13000b30"));
    }

    /// The test vector for P_SHA256 that the TLS working group's list has (mail 03416), used by most implementations.
    #[test]
    fn the_pseudo_random_function() {
        let secret = hex("9bbe436ba940f017b17652849a71db35");
        let seed = hex("a0ba9f936cda311827a6f796ffd5198c");
        let mut out = [0; 100];
        prf(Hash::Sha256, &secret, "test label", [&seed, &[]], &mut out);
        let wanted = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a
                      6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab
                      4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701
                      87347b66";
        assert_eq!(out.to_vec(), hex(&wanted.split_whitespace().collect::<String>()));
    }

    #[test]
    fn output_longer_than_the_hash_goes_on() {
        let (mut short, mut long) = ([0; 32], [0; 80]);
        expand_label(Hash::Sha256, b"secret", "key", &mut long);
        expand_label(Hash::Sha256, b"secret", "key", &mut short);
        // The length is part of what is hashed.
        assert_ne!(short[..], long[..32]);
        assert_ne!(long[..32], long[32..64]);
        assert_ne!(long[64..], [0; 16]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(b"hush").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret of 4 bytes");
        assert!(Secret::new(&[]).is_none() && Secret::new(&[0; 49]).is_none());
    }
}
