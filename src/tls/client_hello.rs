//! A ClientHello is what a client says first: whom it wants to speak to, and what it can do (RFC 8446 section 4.1.2).

use super::ja4;
use super::wire::Cursor;

/// The most protocols that are kept of an offer (ALPN, RFC 7301).
const MAX_PROTOCOLS: usize = 8;
/// The most bytes that are kept of a protocol's name. Registered ones have at most 17.
const MAX_PROTOCOL: usize = 32;
/// The longest host name (RFC 6066 section 3: as in DNS).
const MAX_NAME: usize = 255;

/// What a client offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// Names the connection in a key log.
    pub random: [u8; 32],
    /// The session that it wants to resume in TLS 1.2; in TLS 1.3 without meaning.
    pub session_id: SessionId,
    /// Name of the server (SNI). Any text: a client may write what it wants.
    pub server_name: Option<Box<str>>,
    /// Protocols inside, the preferred one first; at most eight, each cut to 32 bytes.
    pub alpn: Box<[Box<str>]>,
    /// The highest version: 0x0304 for TLS 1.3.
    pub version: u16,
    /// The suites of TLS 1.3 among those that it offers, if it offers TLS 1.3: 1 for 0x1301, 2 for 0x1302, and so on.
    pub tls13_suites: u8,
    /// It offers to resume a session by a pre-shared key (TLS 1.3).
    pub psk: bool,
    /// It sends early data.
    pub early_data: bool,
    /// It brings a session ticket (TLS 1.2, RFC 5077).
    pub ticket: bool,
    /// The server name is that of a public front, and the true hello is encrypted in this one (ECH, RFC 9849), or it is made to
    /// look like that.
    pub encrypted_hello: bool,
    /// Fingerprint of the client's TLS library: see [`ja4`].
    pub ja4: ja4::Fingerprint,
}

/// At most 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    bytes: [u8; 32],
    length: u8,
}

impl SessionId {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let given = cursor.vector8()?.0;
        let mut bytes = [0; 32];
        bytes.get_mut(..given.len())?.copy_from_slice(given);
        Some(Self { bytes, length: u8::try_from(given.len()).ok()? })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Values that mean nothing and keep servers tolerant (GREASE, RFC 8701): 0x0a0a, 0x1a1a, to 0xfafa.
#[must_use]
pub const fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

impl ClientHello {
    /// Reads the body of the message. `None` if it is not as the standard says.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        let legacy_version = cursor.u16()?;
        let random = cursor.array()?;
        let session_id = SessionId::read(&mut cursor)?;
        let suites = cursor.vector16()?;
        let _compression = cursor.vector8()?;
        let mut hello = Self {
            random,
            session_id,
            server_name: None,
            alpn: Box::default(),
            version: legacy_version,
            tls13_suites: 0,
            psk: false,
            early_data: false,
            ticket: false,
            encrypted_hello: false,
            ja4: ja4::Fingerprint::default(),
        };
        let mut print = ja4::Input { suites: suites.numbers().collect(), ..ja4::Input::default() };
        let mut versions = Vec::new();
        // Old clients send no extensions.
        let mut extensions = if cursor.is_empty() { cursor } else { cursor.vector16()? };
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let body = extensions.vector16()?;
            print.extensions.push(kind);
            match kind {
                0 => hello.server_name = server_name(body)?,
                13 => print.signatures = { body }.vector16()?.numbers().collect(),
                16 => {
                    let offered = protocols(body)?;
                    print.alpn = offered.first().map(|first| first.to_vec());
                    hello.alpn = offered.iter().take(MAX_PROTOCOLS).map(|name| text(name, MAX_PROTOCOL)).collect();
                }
                35 => hello.ticket = !body.is_empty(),
                41 => hello.psk = true,
                42 => hello.early_data = true,
                43 => versions = { body }.vector8()?.numbers().collect(),
                0xfe0d => hello.encrypted_hello = true,
                _ => {}
            }
        }
        if let Some(highest) = versions.into_iter().filter(|version| !is_grease(*version)).max() {
            hello.version = highest;
        }
        if hello.version == 0x0304 {
            let bits = print.suites.iter().filter(|suite| (0x1301..=0x1305).contains(*suite));
            hello.tls13_suites = bits.fold(0, |bits, suite| bits | 1 << (suite - 0x1301));
        }
        print.version = hello.version;
        print.named = hello.server_name.is_some();
        hello.ja4 = print.fingerprint();
        Some(hello)
    }
}

/// The first host name of the extension (RFC 6066 section 3).
fn server_name(body: Cursor<'_>) -> Option<Option<Box<str>>> {
    let mut body = body;
    let mut names = body.vector16()?;
    while !names.is_empty() {
        let kind = names.u8()?;
        let name = names.vector16()?;
        if kind == 0 && !name.is_empty() {
            return Some(Some(text(name.0, MAX_NAME)));
        }
    }
    Some(None)
}

/// The names in an ALPN extension (RFC 7301 section 3.1).
pub(super) fn protocols(body: Cursor<'_>) -> Option<Vec<&[u8]>> {
    let mut body = body;
    let mut list = body.vector16()?;
    let mut out = Vec::new();
    while !list.is_empty() {
        out.push(list.vector8()?.0);
    }
    Some(out)
}

/// Bytes as text, of which at most so many are kept.
pub(super) fn text(bytes: &[u8], most: usize) -> Box<str> {
    String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    pub(crate) fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector16(body)].concat()
    }

    fn numbers(numbers: &[u16]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    pub(crate) fn hello(suites: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut out = vec![3, 3];
        out.extend([9; 32]);
        out.extend([2, 5, 5]);
        out.extend(vector16(&numbers(suites)));
        out.extend([1, 0]);
        out.extend(vector16(&extensions.concat()));
        out
    }

    #[test]
    fn a_hello_says_who_is_meant_and_what_is_offered() {
        let name = [&[0][..], &vector16(b"example.org")].concat();
        let body = hello(
            &[0x0a0a, 0x1301],
            &[
                extension(0x1a1a, &[]),
                extension(0, &vector16(&name)),
                extension(16, &vector16(b"\x02h2\x08http/1.1")),
                extension(43, &[6, 0x2a, 0x2a, 3, 4, 3, 3]),
                extension(42, &[]),
                extension(41, &[1, 2, 3]),
            ],
        );
        let read = ClientHello::read(&body).unwrap();
        assert_eq!(read.random, [9; 32]);
        assert_eq!(read.server_name.as_deref(), Some("example.org"));
        assert_eq!(*read.alpn, ["h2".into(), "http/1.1".into()]);
        assert_eq!(read.version, 0x0304);
        assert!(read.psk && read.early_data && !read.ticket && !read.encrypted_hello && !read.session_id.is_empty());
        // Cut anywhere it is refused, except where the extensions would begin.
        let extensions = 2 + 32 + 3 + 2 + 4 + 2;
        for end in 0..body.len() {
            assert_eq!(ClientHello::read(&body[..end]).is_some(), end == extensions, "cut at {end}");
        }
    }

    #[test]
    fn grease_has_sixteen_values() {
        let all: Vec<u16> = (0..=u16::MAX).filter(|number| is_grease(*number)).collect();
        assert_eq!((all.len(), all[0], all[15]), (16, 0x0a0a, 0xfafa));
    }

    #[test]
    fn what_a_client_offers_is_cut() {
        let names: Vec<u8> = (0..40).flat_map(|_| [&[200][..], &[b'x'; 200]].concat()).collect();
        let name = [&[0][..], &vector16(&[b'n'; 3000])].concat();
        let body = hello(&[1], &[extension(16, &vector16(&names)), extension(0, &vector16(&name))]);
        let read = ClientHello::read(&body).unwrap();
        assert_eq!(read.alpn.len(), MAX_PROTOCOLS);
        assert!(read.alpn.iter().all(|name| name.len() == MAX_PROTOCOL));
        assert_eq!(read.server_name.unwrap().len(), MAX_NAME);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _read = ClientHello::read(&body);
            // Past the fixed part, where it becomes interesting.
            let _read = ClientHello::read(&[hello(&[1], &[]), body].concat());
        }

        #[test]
        fn any_extensions_are_read_or_refused(
            extensions in proptest::collection::vec(
                (prop_oneof![Just(0), Just(13), Just(16), Just(43), any::<u16>()],
                 proptest::collection::vec(prop_oneof![Just(0_u8), 1_u8..9, any::<u8>()], 0..40)),
                0..12,
            ),
        ) {
            let extensions: Vec<Vec<u8>> = extensions.iter().map(|(kind, body)| extension(*kind, body)).collect();
            let _read = ClientHello::read(&hello(&[1, 2], &extensions));
        }
    }
}
