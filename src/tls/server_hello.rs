//! A ServerHello is what the server chose of the client's offer (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3). In TLS 1.3
//! EncryptedExtensions say the rest (RFC 8446 section 4.3.1).

use super::client_hello::{SessionId, protocols, text};
use super::wire::Cursor;

/// The random of a ServerHello that is a HelloRetryRequest: SHA-256 of that word (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What the server chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// Its random, which TLS 1.2 derives keys from.
    pub random: [u8; 32],
    /// 0x0303 for TLS 1.2, 0x0304 for TLS 1.3.
    pub version: u16,
    /// The session; in TLS 1.2 a client's that is repeated is resumed.
    pub session_id: SessionId,
    /// IANA's number of the cipher suite.
    pub suite: u16,
    /// The records are compressed (before TLS 1.3). Nobody does that since 2012.
    pub compressed: bool,
    /// The protocol inside (before TLS 1.3).
    pub alpn: Option<Box<str>>,
    /// The session is resumed by a pre-shared key (TLS 1.3).
    pub psk: bool,
    /// CBC suites encrypt first and then compute the MAC (RFC 7366).
    pub encrypt_then_mac: bool,
}

impl ServerHello {
    /// Reads the body of the message. `None` if it is not as the standard says.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        let mut hello = Self {
            version: cursor.u16()?,
            random: cursor.array()?,
            session_id: SessionId::read(&mut cursor)?,
            suite: cursor.u16()?,
            compressed: cursor.u8()? != 0,
            alpn: None,
            psk: false,
            encrypt_then_mac: false,
        };
        for_each_extension(cursor, |kind, body| {
            match kind {
                16 => hello.alpn = chosen(body)?,
                22 => hello.encrypt_then_mac = true,
                41 => hello.psk = true,
                43 => hello.version = { body }.u16()?,
                _ => {}
            }
            Some(())
        })?;
        Some(hello)
    }

    /// Whether it asks the client for another hello.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        self.random == RETRY
    }
}

/// What the server says encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedExtensions {
    /// The protocol inside.
    pub alpn: Option<Box<str>>,
    /// It accepts the early data.
    pub early_data: bool,
}

impl EncryptedExtensions {
    /// Reads the body of the message. `None` if it is not as the standard says.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut extensions = Self { alpn: None, early_data: false };
        for_each_extension(Cursor(body), |kind, body| {
            match kind {
                16 => extensions.alpn = chosen(body)?,
                42 => extensions.early_data = true,
                _ => {}
            }
            Some(())
        })?;
        Some(extensions)
    }
}

/// The extensions of a message of which nothing is left but these; none at all is valid too.
fn for_each_extension(cursor: Cursor<'_>, mut each: impl FnMut(u16, Cursor<'_>) -> Option<()>) -> Option<()> {
    let mut cursor = cursor;
    let mut extensions = if cursor.is_empty() { cursor } else { cursor.vector16()? };
    while !extensions.is_empty() {
        each(extensions.u16()?, extensions.vector16()?)?;
    }
    Some(())
}

/// The protocol that a server chose: it answers with a list of one.
fn chosen(body: Cursor<'_>) -> Option<Option<Box<str>>> {
    Some(protocols(body)?.first().map(|name| text(name, 32)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::super::client_hello::tests::extension;
    use super::*;

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let extensions = extensions.concat();
        let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
        [&[3, 3], &[8; 32][..], &[0, 0x13, 1, 0], &length, &extensions].concat()
    }

    #[test]
    fn a_server_hello_says_what_was_chosen() {
        let body = hello(&[extension(43, &[3, 4]), extension(41, &[0, 0])]);
        let read = ServerHello::read(&body).unwrap();
        assert_eq!((read.version, read.suite, read.psk, read.is_retry()), (0x0304, 0x1301, true, false));
        let read = ServerHello::read(&hello(&[extension(16, b"\0\x03\x02h2"), extension(22, &[])])).unwrap();
        assert_eq!((read.version, read.alpn.as_deref(), read.encrypt_then_mac), (0x0303, Some("h2"), true));
        let bare = 2 + 32 + 1 + 2 + 1;
        for end in 0..body.len() {
            assert_eq!(ServerHello::read(&body[..end]).is_some(), end == bare, "cut at {end}");
        }
    }

    #[test]
    fn a_retry_is_known_by_its_random() {
        let mut body = hello(&[]);
        body[2..34].copy_from_slice(&Sha256::digest(b"HelloRetryRequest"));
        assert!(ServerHello::read(&body).unwrap().is_retry());
    }

    #[test]
    fn encrypted_extensions_say_the_rest() {
        let extensions = [extension(16, b"\0\x09\x08http/1.1"), extension(42, &[])].concat();
        let body = [&u16::try_from(extensions.len()).unwrap().to_be_bytes()[..], &extensions].concat();
        let read = EncryptedExtensions::read(&body).unwrap();
        assert_eq!((read.alpn.as_deref(), read.early_data), (Some("http/1.1"), true));
        assert!(!EncryptedExtensions::read(&[0, 0]).unwrap().early_data);
        assert_eq!(EncryptedExtensions::read(&[0, 1, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _read = (ServerHello::read(&body), EncryptedExtensions::read(&body));
            let _read = ServerHello::read(&[hello(&[]), body].concat());
        }
    }
}
