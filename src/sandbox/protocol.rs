//! A protocol is what one parser module parses, by name; a state format is how a module lays out what it remembers.

use std::fmt;
use std::str::FromStr;

use crate::abi::NAME_SIZE;

/// Name of a protocol: 1 to 16 of `a` to `z`, `0` to `9` and `-`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Protocol([u8; NAME_SIZE]);

/// The protocol that every connection starts with.
pub const ENTRY: Protocol = Protocol(*b"http1\0\0\0\0\0\0\0\0\0\0\0");

/// HTTP/2.
pub const HTTP2: Protocol = Protocol(*b"http2\0\0\0\0\0\0\0\0\0\0\0");

/// A name that no protocol can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a protocol's name is 1 to 16 of a-z, 0-9 and -")]
pub struct BadName;

impl Protocol {
    /// A name as it stands in the contract's structures, padded with zeros.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_bytes(bytes: [u8; NAME_SIZE]) -> Result<Self, BadName> {
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_SIZE);
        let (name, padding) = bytes.split_at_checked(len).ok_or(BadName)?;
        let good = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        match !name.is_empty() && name.iter().all(good) && padding.iter().all(|byte| *byte == 0) {
            true => Ok(Self(bytes)),
            false => Err(BadName),
        }
    }

    /// As it stands in the contract's structures.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; NAME_SIZE] {
        &self.0
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_SIZE);
        self.0.get(..len).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl FromStr for Protocol {
    type Err = BadName;
    fn from_str(name: &str) -> Result<Self, BadName> {
        let mut bytes = [0; NAME_SIZE];
        if name.contains('\0') {
            return Err(BadName);
        }
        bytes.get_mut(..name.len()).ok_or(BadName)?.copy_from_slice(name.as_bytes());
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol({})", self.name())
    }
}

/// Modules with the same format can take over each other's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// The protocol.
    pub protocol: Protocol,
    /// Number of the layout of block and extra state.
    pub state: u32,
}

/// A format among those of a driver, which knows its protocols by index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FormatRef {
    /// Index of the protocol.
    pub protocol: u8,
    /// Number of the layout of block and extra state.
    pub state: u32,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["http1", "h", "a-b-0", "0123456789abcdef"] {
            let protocol: Protocol = good.parse().unwrap();
            assert_eq!((protocol.name(), Protocol::from_bytes(*protocol.bytes())), (good, Ok(protocol)));
        }
        for bad in ["", "HTTP", "a b", "a\0", "0123456789abcdefg", "ä"] {
            assert_eq!(bad.parse::<Protocol>(), Err(BadName), "{bad:?}");
        }
        assert_eq!(Protocol::from_bytes(*b"a\0b\0\0\0\0\0\0\0\0\0\0\0\0\0"), Err(BadName));
        assert_eq!(ENTRY, "http1".parse().unwrap());
    }
}
