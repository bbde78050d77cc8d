//! What an executable or library has that can be probed: the places of a few functions in it, by its ELF tables
//! (`elf(5)`, the generic ABI's chapters 4 and 5).
//!
//! The file is anybody's: a process in a container maps what it wants. So every table has a bound, and a file that lies gives
//! nothing, or a place at which the kernel refuses a probe or nothing ever comes.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::Library;

/// The longest table of symbols, or of their names, that is read; Chromium's have 30 MiB.
const MAX_TABLE: u64 = 64 << 20;
const MAX_SECTIONS: u16 = 4096;
const MAX_SEGMENTS: u16 = 256;
const HEADER: usize = 64;
const SECTION: usize = 64;
const SEGMENT: usize = 56;
const SYMBOL: usize = 24;
const LOADED: u32 = 1;
const SYMBOLS: u32 = 2;
const DYNAMIC_SYMBOLS: u32 = 11;
const FUNCTION: u8 = 2;

/// The function that is probed of each library.
const PROBED: [(Library, &str); 2] =
    [(Library::OpenSsl, "EVP_KDF_derive"), (Library::Go, "crypto/tls.(*Config).writeKeyLog")];
/// Functions of TLS libraries that have none that is probed, and what these are.
const UNREAD: [(&str, &str); 3] = [
    ("SSL_do_handshake", "OpenSSL before 3.0, or BoringSSL"),
    ("gnutls_handshake", "GnuTLS"),
    ("mbedtls_ssl_handshake", "Mbed TLS"),
];

/// What was found in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Places of functions, as offsets in the file.
    pub(super) points: Vec<(Library, u64)>,
    /// A library that cannot be read.
    pub(super) unread: Option<&'static str>,
}

/// Reads a file. Nothing is found in one that is no ELF file of 64 bits and this machine's byte order.
///
/// # Errors
/// It cannot be read, or its tables are not as they should be or too long.
pub(super) fn read(file: &File) -> io::Result<Found> {
    let mut found = Found::default();
    let mut header = [0; HEADER];
    if let Err(error) = file.read_exact_at(&mut header, 0) {
        return if error.kind() == ErrorKind::UnexpectedEof { Ok(found) } else { Err(error) };
    }
    // 64 bits, little-endian.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Ok(found);
    }
    let Tables { segments, sections } = Tables::read(file, &header)?;
    let names = names(file, &header, &sections)?;
    let is_go = names.windows(15).any(|name| name == b".go.buildinfo\0\0" || name.starts_with(b".gopclntab\0"));
    for section in sections.iter().filter(|section| matches!(section.kind, SYMBOLS | DYNAMIC_SYMBOLS)) {
        let Some(strings) = sections.get(section.link as usize) else { continue };
        let (symbols, strings) = (table(file, section)?, table(file, strings)?);
        for symbol in symbols.chunks_exact(SYMBOL) {
            function(symbol, &strings, &segments, &mut found);
        }
    }
    if is_go && found.points.is_empty() {
        found.unread = Some("Go without crypto/tls, or stripped of its symbols");
    }
    Ok(found)
}

/// Looks whether a symbol is one of the functions.
fn function(symbol: &[u8], strings: &[u8], segments: &[Segment], found: &mut Found) {
    let defined = u16_at(symbol, 6) != Some(0);
    if symbol.get(4).is_none_or(|info| info & 15 != FUNCTION) || !defined {
        return;
    }
    let name = u32_at(symbol, 0).and_then(|at| strings.get(at as usize..)).unwrap_or_default();
    // A version may follow the name.
    let is =
        |wanted: &str| name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| matches!(rest.first(), Some(0 | b'@')));
    for (library, wanted) in PROBED {
        if !is(wanted) || found.points.iter().any(|(known, _)| *known == library) {
            continue;
        }
        let Some(address) = u64_at(symbol, 8) else { continue };
        let place = segments.iter().find_map(|segment| segment.offset_of(address));
        found.points.extend(place.map(|place| (library, place)));
    }
    if let Some((_, library)) = UNREAD.iter().find(|(wanted, _)| is(wanted)) {
        found.unread.get_or_insert(library);
    }
}

struct Segment {
    offset: u64,
    address: u64,
    length: u64,
}

impl Segment {
    /// Where in the file an address lies, if it is in this segment.
    fn offset_of(&self, address: u64) -> Option<u64> {
        let inside = address.checked_sub(self.address).filter(|inside| *inside < self.length)?;
        self.offset.checked_add(inside)
    }
}

struct Section {
    kind: u32,
    offset: u64,
    length: u64,
    link: u32,
}

struct Tables {
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

impl Tables {
    fn read(file: &File, header: &[u8]) -> io::Result<Self> {
        let entries = |at: usize, size: usize, count: usize, wanted: usize, most: u16| -> io::Result<Vec<u8>> {
            let (start, count) = (u64_at(header, at).unwrap_or(0), u16_at(header, count).unwrap_or(0));
            if count == 0 || start == 0 {
                return Ok(Vec::new());
            }
            if u16_at(header, size).map(usize::from) != Some(wanted) || count > most {
                return Err(invalid("its tables are too long, or of another format"));
            }
            bytes(file, start, wanted as u64 * u64::from(count))
        };
        let segments = entries(32, 54, 56, SEGMENT, MAX_SEGMENTS)?;
        let sections = entries(40, 58, 60, SECTION, MAX_SECTIONS)?;
        let segment = |entry: &[u8]| {
            let (offset, address, length) = (u64_at(entry, 8)?, u64_at(entry, 16)?, u64_at(entry, 32)?);
            (u32_at(entry, 0)? == LOADED).then_some(Segment { offset, address, length })
        };
        let section = |entry: &[u8]| {
            let (kind, link) = (u32_at(entry, 4)?, u32_at(entry, 40)?);
            Some(Section { kind, offset: u64_at(entry, 24)?, length: u64_at(entry, 32)?, link })
        };
        Ok(Self {
            segments: segments.chunks_exact(SEGMENT).filter_map(segment).collect(),
            sections: sections.chunks_exact(SECTION).filter_map(section).collect(),
        })
    }
}

/// The names of the sections, one after the other.
fn names(file: &File, header: &[u8], sections: &[Section]) -> io::Result<Vec<u8>> {
    let section = u16_at(header, 62).and_then(|at| sections.get(usize::from(at)));
    let mut names = section.map_or(Ok(Vec::new()), |section| table(file, section))?;
    // So that a name at the end is one of 15 bytes too.
    names.extend([0; 16]);
    Ok(names)
}

fn table(file: &File, section: &Section) -> io::Result<Vec<u8>> {
    bytes(file, section.offset, section.length)
}

fn bytes(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    // What the file has not costs no memory.
    let most = MAX_TABLE.min(file.metadata()?.len());
    let length = usize::try_from(length).ok().filter(|_| length <= most);
    let mut bytes = vec![0; length.ok_or_else(|| invalid("a table in it is too long"))?];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::io::Write;

    use super::*;

    fn of(bytes: &[u8]) -> io::Result<Found> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read(&file)
    }

    /// A file with one function of this name at this address, in a segment that begins at 0x1000 and lies at 0x200.
    fn file(name: &str, address: u64) -> Vec<u8> {
        let word = |value: u64| value.to_le_bytes();
        let half = |value: u32| value.to_le_bytes();
        let strings = [&[0], name.as_bytes(), &[0]].concat();
        let symbol = [&half(1)[..], &[2, 0], &[1, 0], &word(address), &word(16)].concat();
        let (strings_at, symbols_at) = (0x300_u64, 0x400_u64);
        let section = |kind: u32, at: u64, length: usize, link: u32| {
            [&half(0)[..], &half(kind), &word(0), &word(0), &word(at), &word(length as u64), &half(link), &[0; 20]]
                .concat()
        };
        let mut out = [&b"\x7fELF\x02\x01\x01"[..], &[0; 25], &word(64), &word(0x100), &[0; 6]].concat();
        out.extend([56, 0, 1, 0, 64, 0, 3, 0, 0, 0]);
        out.extend(
            [&half(1)[..], &half(5), &word(0x200), &word(0x1000), &word(0), &word(0x80), &word(0x80), &word(0)]
                .concat(),
        );
        out.resize(0x100, 0);
        out.extend(section(0, 0, 0, 0));
        out.extend(section(3, strings_at, strings.len(), 0));
        out.extend(section(DYNAMIC_SYMBOLS, symbols_at, symbol.len(), 1));
        out.resize(0x300, 0);
        out.extend(strings);
        out.resize(0x400, 0);
        out.extend(symbol);
        out
    }

    #[test]
    fn a_function_has_a_place_in_the_file() {
        let found = of(&file("EVP_KDF_derive", 0x1020)).unwrap();
        assert_eq!(found, Found { points: vec![(Library::OpenSsl, 0x220)], unread: None });
        let versioned = of(&file("EVP_KDF_derive@@OPENSSL_3.0.0", 0x1020)).unwrap();
        assert_eq!(versioned, found);
        let found = of(&file("crypto/tls.(*Config).writeKeyLog", 0x1000)).unwrap();
        assert_eq!(found.points, [(Library::Go, 0x200)]);
        assert_eq!(of(&file("EVP_KDF_derive_else", 0x1020)).unwrap(), Found::default());
        assert_eq!(of(&file("EVP_KDF_derive", 0x1080)).unwrap(), Found::default(), "outside of the segment");
        assert_eq!(of(&file("SSL_do_handshake", 0x1000)).unwrap().unread, Some(UNREAD[0].1));
    }

    #[test]
    fn a_file_that_lies_costs_nothing() {
        assert_eq!(of(b"#!/bin/sh\n").unwrap(), Found::default());
        let mut long = file("EVP_KDF_derive", 0x1020);
        // The length of the table of symbols.
        long[0x100 + 2 * 64 + 32..][..8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
        assert_eq!(of(&long).unwrap_err().to_string(), "a table in it is too long");
    }

    /// The library that curl uses here, if there is one.
    #[test]
    fn the_installed_openssl() {
        let places = ["/lib/x86_64-linux-gnu/libcrypto.so.3", "/lib/aarch64-linux-gnu/libcrypto.so.3"];
        let Some(file) = places.iter().find_map(|place| File::open(place).ok()) else { return };
        assert!(matches!(read(&file).unwrap().points[..], [(Library::OpenSsl, 1..)]));
    }

    proptest! {
        #[test]
        fn any_change_of_a_file_is_survived(at in 0_usize..0x420, byte: u8, length in 0_usize..0x420) {
            let mut bytes = file("EVP_KDF_derive", 0x1020);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(length.max(8));
            let _found = of(&bytes);
        }
    }
}
