//! A fingerprint of what a client offers: JA4, as FoxIO defines it
//! (<https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md>). Clients with the same TLS library and settings have
//! the same, in whatever order they write it.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::client_hello::is_grease;

/// Bytes in a fingerprint: ten, and twice `_` and twelve digits.
const LENGTH: usize = 36;

/// A fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; LENGTH]);

impl Fingerprint {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self([b'0'; LENGTH])
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the fingerprint is made of, in the order of the hello, GREASE included.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) version: u16,
    pub(super) named: bool,
    pub(super) suites: Vec<u16>,
    pub(super) extensions: Vec<u16>,
    pub(super) signatures: Vec<u16>,
    /// The first protocol.
    pub(super) alpn: Option<Vec<u8>>,
}

impl Input {
    pub(super) fn fingerprint(mut self) -> Fingerprint {
        self.suites.retain(|suite| !is_grease(*suite));
        self.extensions.retain(|extension| !is_grease(*extension));
        self.signatures.retain(|signature| !is_grease(*signature));
        let version = match self.version {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        };
        let (suites, extensions) = (self.suites.len().min(99), self.extensions.len().min(99));
        let named = if self.named { 'd' } else { 'i' };
        let [first, last] = self.alpn.as_deref().map_or(['0'; 2], alpn);
        let mut text = format!("t{version}{named}{suites:02}{extensions:02}{first}{last}");
        self.suites.sort_unstable();
        // Server name and ALPN are left out, so that the same client has the same fingerprint for any server.
        self.extensions.retain(|extension| !matches!(extension, 0 | 16));
        self.extensions.sort_unstable();
        let mut parts = list(&self.extensions);
        if !self.signatures.is_empty() {
            parts.push('_');
            parts.push_str(&list(&self.signatures));
        }
        for (part, empty) in [(list(&self.suites), self.suites.is_empty()), (parts, self.extensions.is_empty())] {
            text.push('_');
            text.push_str(&if empty { "0".repeat(12) } else { hash(&part) });
        }
        text.as_bytes().try_into().map_or_else(|_| Fingerprint::default(), Fingerprint)
    }
}

/// First and last character of a protocol; if one is no letter or digit, the first and last of its hexadecimal digits.
fn alpn(name: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return ['0'; 2] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 15)]
}

fn list(numbers: &[u16]) -> String {
    let mut out = String::with_capacity(numbers.len() * 5);
    for number in numbers {
        if !out.is_empty() {
            out.push(',');
        }
        HEXLOWER.encode_append(&number.to_be_bytes(), &mut out);
    }
    out
}

/// The first twelve digits of SHA-256.
fn hash(text: &str) -> String {
    HEXLOWER.encode(Sha256::digest(text.as_bytes()).get(..6).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the definition.
    fn example() -> Input {
        Input {
            version: 0x0304,
            named: true,
            suites: vec![
                0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
                0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b,
                0xff01, 0x000b, 0x000a, 0x0015,
            ],
            signatures: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            alpn: Some(b"h2".to_vec()),
        }
    }

    #[test]
    fn the_published_example() {
        assert_eq!(example().fingerprint().as_str(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn what_is_absent_is_zero() {
        let empty = Input { version: 0x0303, ..Input::default() };
        assert_eq!(empty.fingerprint().as_str(), "t12i000000_000000000000_000000000000");
        let odd = Input { alpn: Some(vec![0xab, b'x', 0xcd]), version: 7, ..Input::default() };
        assert_eq!(odd.fingerprint().as_str(), "t00i0000ad_000000000000_000000000000");
    }

    #[test]
    fn any_number_of_suites_fits() {
        let many = Input { suites: vec![1; 3000], extensions: vec![7; 3000], ..example() };
        assert!(many.fingerprint().as_str().starts_with("t13d9999h2_"));
    }
}
