//! What an executable or library has that can be probed: the places of a few functions in it, by its ELF tables
//! (`elf(5)`, the generic ABI's chapters 4 and 5).
//!
//! The file is anybody's: a process in a container maps what it wants. So every table has a bound, and a file that lies gives
//! nothing, or a place at which the kernel refuses a probe or nothing ever comes.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use memchr::memmem;

use super::{Library, code, pclntab};

/// The longest table of symbols, or of their names, that is read; Chromium's have 30 MiB.
const MAX_TABLE: u64 = 64 << 20;
/// The most bytes of one file that are read: tables may lie one over the other, a thousand times.
const MAX_READ: u64 = 256 << 20;
const MAX_SECTIONS: u16 = 4096;
const MAX_SEGMENTS: u16 = 256;
const MAX_NAME: usize = 64;
const HEADER: usize = 64;
const SECTION: usize = 64;
const SEGMENT: usize = 56;
const SYMBOL: usize = 24;
const RELOCATION: usize = 24;
/// A pointer relative to where the program is loaded.
const RELATIVE: u32 = if cfg!(target_arch = "aarch64") { 1027 } else { 8 };
const LOADED: u32 = 1;
const SYMBOLS: u32 = 2;
const DYNAMIC_SYMBOLS: u32 = 11;
const FUNCTION: u8 = 2;

/// The longest constants of a program that are searched; Chromium's have 60 MiB.
const MAX_CONSTANTS: u64 = 64 << 20;

/// The function that is probed in OpenSSL.
const OPENSSL: &str = "EVP_KDF_derive";
/// Functions of TLS libraries that have none that is probed, and what these are.
const UNREAD: [(&str, &str); 3] = [
    ("SSL_do_handshake", "OpenSSL before 3.0, or BoringSSL"),
    ("gnutls_handshake", "GnuTLS"),
    ("mbedtls_ssl_handshake", "Mbed TLS"),
];
/// What the constants of a program have that contains one of them, also without symbols: names in their errors, and in key logs.
const TRACES: [(&str, &[u8]); 2] = [("rustls", b"CLIENT_HANDSHAKE_TRAFFIC_SECRET"), ("BoringSSL", b"OPENSSL_internal")];

/// What was found in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Places of functions, as offsets in the file.
    pub points: Vec<(Library, u64)>,
    /// A library that cannot be read.
    pub unread: Option<&'static str>,
}

/// A file that is read, with its length, and how many bytes may still be read of it.
struct Source<'f, F> {
    file: &'f F,
    length: u64,
    left: Cell<u64>,
}

impl<F: FileExt> Source<'_, F> {
    /// So many bytes from a place.
    fn bytes(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        // What the file has not costs no memory.
        let fits = length <= MAX_TABLE.min(self.length);
        let left = self.left.get().checked_sub(length).filter(|_| fits);
        self.left.set(left.ok_or_else(|| invalid("a table in it is too long"))?);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn table(&self, section: &Section) -> io::Result<Vec<u8>> {
        self.bytes(section.offset, section.length)
    }

    /// Fills a short buffer from a place.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Reads a file of this length. Nothing is found in one that is no ELF file of 64 bits and this machine's byte order.
///
/// # Errors
/// It cannot be read, or its tables are not as they should be or too long.
pub fn read(file: &impl FileExt, length: u64) -> io::Result<Found> {
    let file = &Source { file, length, left: Cell::new(MAX_READ) };
    let mut found = functions(file)?;
    found.points.iter_mut().for_each(|(_, place)| *place = cheapest(file, *place));
    Ok(found)
}

/// The same, with the places at which the functions begin.
fn functions(file: &Source<'_, impl FileExt>) -> io::Result<Found> {
    let mut found = Found::default();
    let mut header = [0; HEADER];
    if let Err(error) = file.fill(&mut header, 0) {
        return if error.kind() == ErrorKind::UnexpectedEof { Ok(found) } else { Err(error) };
    }
    // 64 bits, little-endian.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Ok(found);
    }
    let tables = Tables::read(file, &header)?;
    if tables.go(file, &mut found)? {
        return Ok(found);
    }
    for section in tables.sections.iter().filter(|section| matches!(section.kind, SYMBOLS | DYNAMIC_SYMBOLS)) {
        let Some(strings) = tables.sections.get(section.link as usize) else { continue };
        let (symbols, strings) = (file.table(section)?, file.table(strings)?);
        for symbol in symbols.chunks_exact(SYMBOL) {
            function(symbol, &strings, &tables, &mut found);
        }
    }
    if found == Found::default() {
        found.unread = tables.traces(file)?;
    }
    Ok(found)
}

/// The place in a function that begins at this one, at which a probe costs least.
fn cheapest(file: &Source<'_, impl FileExt>, place: u64) -> u64 {
    let mut code = [0; code::BEGINNING];
    let read = file.fill(&mut code, place);
    read.ok().and_then(|()| place.checked_add(code::first_jump(&code))).unwrap_or(place)
}

/// Looks whether a symbol is one of the functions.
fn function(symbol: &[u8], strings: &[u8], tables: &Tables, found: &mut Found) {
    let defined = u16_at(symbol, 6) != Some(0);
    if symbol.get(4).is_none_or(|info| info & 15 != FUNCTION) || !defined {
        return;
    }
    let name = u32_at(symbol, 0).and_then(|at| strings.get(at as usize..)).unwrap_or_default();
    // A version may follow the name.
    let is =
        |wanted: &str| name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| matches!(rest.first(), Some(0 | b'@')));
    if is(OPENSSL) && found.points.is_empty() {
        let place = u64_at(symbol, 8).and_then(|address| tables.place(address));
        found.points.extend(place.map(|place| (Library::OpenSsl, place)));
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
    name: Vec<u8>,
    kind: u32,
    address: u64,
    offset: u64,
    length: u64,
    link: u32,
}

struct Tables {
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

impl Tables {
    fn read(file: &Source<'_, impl FileExt>, header: &[u8]) -> io::Result<Self> {
        let entries = |at: usize, size: usize, count: usize, wanted: usize, most: u16| -> io::Result<Vec<u8>> {
            let (start, count) = (u64_at(header, at).unwrap_or(0), u16_at(header, count).unwrap_or(0));
            if count == 0 || start == 0 {
                return Ok(Vec::new());
            }
            if u16_at(header, size).map(usize::from) != Some(wanted) || count > most {
                return Err(invalid("its tables are too long, or of another format"));
            }
            file.bytes(start, wanted as u64 * u64::from(count))
        };
        let segments = entries(32, 54, 56, SEGMENT, MAX_SEGMENTS)?;
        let sections = entries(40, 58, 60, SECTION, MAX_SECTIONS)?;
        let segment = |entry: &[u8]| {
            let (offset, address, length) = (u64_at(entry, 8)?, u64_at(entry, 16)?, u64_at(entry, 32)?);
            (u32_at(entry, 0)? == LOADED).then_some(Segment { offset, address, length })
        };
        let names = u16_at(header, 62).and_then(|at| sections.chunks_exact(SECTION).nth(usize::from(at)));
        let place = names.and_then(|entry| Some((u64_at(entry, 24)?, u64_at(entry, 32)?)));
        let names = place.map_or(Ok(Vec::new()), |(offset, length)| file.bytes(offset, length))?;
        let section = |entry: &[u8]| {
            let name = names.get(u32_at(entry, 0)? as usize..).unwrap_or_default();
            Some(Section {
                name: name.iter().copied().take_while(|byte| *byte != 0).take(MAX_NAME).collect(),
                kind: u32_at(entry, 4)?,
                address: u64_at(entry, 16)?,
                offset: u64_at(entry, 24)?,
                length: u64_at(entry, 32)?,
                link: u32_at(entry, 40)?,
            })
        };
        Ok(Self {
            segments: segments.chunks_exact(SEGMENT).filter_map(segment).collect(),
            sections: sections.chunks_exact(SECTION).filter_map(section).collect(),
        })
    }

    /// Where in the file an address lies.
    fn place(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| segment.offset_of(address))
    }

    fn named(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// Looks for Go's function by Go's own table, which programs without symbols have too. Whether it is a program of Go.
    fn go(&self, file: &Source<'_, impl FileExt>, found: &mut Found) -> io::Result<bool> {
        let section = self.sections.iter().find(|section| section.name.ends_with(b".gopclntab"));
        let Some(section) = section else { return Ok(false) };
        let table = file.table(section)?;
        let offset = match pclntab::find(&table, pclntab::WRITE_KEY_LOG) {
            Ok(Some(offset)) => offset,
            // It speaks no TLS, or by another library.
            Ok(None) => return Ok(false),
            Err(unread) => {
                found.unread = Some(unread);
                return Ok(true);
            }
        };
        // The text's address is in the table up to Go 1.25; then in the module's description, or it is that of the section.
        let header = self.pointer(file, section.address.checked_add(pclntab::HEADER_TEXT))?;
        let module = self.named(".go.module").and_then(|module| module.address.checked_add(pclntab::MODULE_TEXT));
        let described = self.pointer(file, module)?;
        let section = self.named(".text").map(|section| section.address);
        for start in [header, described, section].into_iter().flatten() {
            let place = start.checked_add(offset).and_then(|address| self.place(address));
            let mut code = [0; code::BEGINNING];
            if let Some(place) = place
                && file.fill(&mut code, place).is_ok()
                && code::begins_go(&code)
            {
                found.points.push((Library::Go, place));
                return Ok(true);
            }
        }
        found.unread = Some("Go whose code is not found");
        Ok(true)
    }

    /// The pointer at an address, if there is one: as it is in the file, or as whoever loads the program computes it.
    fn pointer(&self, file: &Source<'_, impl FileExt>, address: Option<u64>) -> io::Result<Option<u64>> {
        let Some(address) = address else { return Ok(None) };
        let mut word = [0; 8];
        let place = self.place(address).filter(|place| file.fill(&mut word, *place).is_ok());
        let word = u64::from_le_bytes(word);
        if place.is_some() && word != 0 {
            return Ok(Some(word));
        }
        let Some(section) = self.named(".rela.dyn") else { return Ok(None) };
        let relocations = file.table(section)?;
        let of = |entry: &[u8]| {
            let relative = u32_at(entry, 8) == Some(RELATIVE) && u64_at(entry, 0) == Some(address);
            relative.then(|| u64_at(entry, 16)).flatten()
        };
        Ok(relocations.chunks_exact(RELOCATION).find_map(of))
    }

    /// Looks for a library that is part of a program without symbols.
    fn traces(&self, file: &Source<'_, impl FileExt>) -> io::Result<Option<&'static str>> {
        let Some(section) = self.named(".rodata").filter(|section| section.length <= MAX_CONSTANTS) else {
            return Ok(None);
        };
        let constants = file.table(section)?;
        let has = |bytes: &[u8]| memmem::find(&constants, bytes).is_some();
        // One that looks for such libraries, as this one does.
        if has(pclntab::WRITE_KEY_LOG.as_bytes()) {
            return Ok(None);
        }
        Ok(TRACES.iter().find(|(name, trace)| has(name.as_bytes()) && has(trace)).map(|(name, _)| *name))
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn of(bytes: &[u8]) -> io::Result<Found> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read(&file, bytes.len() as u64)
    }

    /// A file with one function of this name at this address, in a segment that begins at 0x1000 and lies at 0x200.
    pub(in crate::probe) fn file(name: &str, address: u64) -> Vec<u8> {
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
        assert_eq!(of(&file("EVP_KDF_derive_else", 0x1020)).unwrap(), Found::default());
        assert_eq!(of(&file("EVP_KDF_derive", 0x1080)).unwrap(), Found::default(), "outside of the segment");
        assert_eq!(of(&file("SSL_do_handshake", 0x1000)).unwrap().unread, Some(UNREAD[0].1));
    }

    /// The same with other sections, of these names.
    fn go(code: &[u8], sections: &[(&str, u64, &[u8])]) -> Vec<u8> {
        let mut out = file("else", 0x1020);
        out[0x220..][..code.len()].copy_from_slice(code);
        let mut names = vec![0];
        let mut table = vec![0; SECTION];
        let mut add = |names: &mut Vec<u8>, out: &mut Vec<u8>, name: &str, address: u64, bytes: &[u8]| {
            let word = |value: usize| (value as u64).to_le_bytes();
            let name_at = u32::try_from(names.len()).unwrap().to_le_bytes();
            names.extend([name.as_bytes(), b"\0"].concat());
            let (at, length) = (out.len(), bytes.len());
            out.extend(bytes);
            table.extend(
                [
                    &name_at[..],
                    &1_u32.to_le_bytes(),
                    &word(0),
                    &address.to_le_bytes(),
                    &word(at),
                    &word(length),
                    &[0; 24],
                ]
                .concat(),
            );
        };
        for (name, address, bytes) in sections {
            add(&mut names, &mut out, name, *address, bytes);
        }
        let before = names.clone();
        add(&mut names, &mut out, "", 0, &before);
        let count = u16::try_from(table.len() / SECTION).unwrap();
        let at = out.len() as u64;
        out[40..48].copy_from_slice(&at.to_le_bytes());
        out[60..62].copy_from_slice(&count.to_le_bytes());
        out[62..64].copy_from_slice(&(count - 1).to_le_bytes());
        out.extend(table);
        out
    }

    #[test]
    fn the_function_of_a_program_of_go_is_found_without_symbols() {
        const CODE: &[u8] = if cfg!(target_arch = "aarch64") {
            &[0x90, 0x0b, 0x40, 0xf9]
        } else {
            &[0x4c, 0x8d, 0x64, 0x24, 0xd8, 0x4d, 0x3b, 0x66, 0x10]
        };
        let table = pclntab::tests::table(0, &["main", "b", pclntab::WRITE_KEY_LOG]);
        let wanted = Found { points: vec![(Library::Go, 0x220)], unread: None };
        // The function is 200 bytes behind the beginning of the text.
        let text = 0x1020 - 200;
        assert_eq!(of(&go(CODE, &[(".text", text, &[]), (".gopclntab", 0, &table)])).unwrap(), wanted);
        let found = of(&go(CODE, &[(".text", 0x1000, &[]), (".data.rel.ro.gopclntab", 0, &table)])).unwrap();
        assert_eq!(found, Found { points: vec![], unread: Some("Go whose code is not found") });
        let relocation =
            [&(0x5000 + pclntab::MODULE_TEXT).to_le_bytes()[..], &RELATIVE.to_le_bytes(), &[0; 4]].concat();
        let relocation = [relocation, text.to_le_bytes().to_vec()].concat();
        let sections: &[(&str, u64, &[u8])] = &[
            (".text", 0x1000, &[]),
            (".gopclntab", 0, &table),
            (".go.module", 0x5000, &[]),
            (".rela.dyn", 0, &relocation),
        ];
        assert_eq!(of(&go(CODE, sections)).unwrap(), wanted);
        assert_eq!(of(&go(&[0; 9], &[(".text", text, &[]), (".gopclntab", 0, &table)])).unwrap().points, []);
        let other = pclntab::tests::table(0, &["main"]);
        assert_eq!(of(&go(CODE, &[(".text", text, &[]), (".gopclntab", 0, &other)])).unwrap(), Found::default());
    }

    #[test]
    fn libraries_in_programs_without_symbols_are_told_by_their_constants() {
        let with = |text: &[u8]| of(&go(&[], &[(".rodata", 0, text)])).unwrap().unread;
        assert_eq!(with(b"BoringSSL..SSL routines:OPENSSL_internal"), Some("BoringSSL"));
        assert_eq!(with(b"rustls::CLIENT_HANDSHAKE_TRAFFIC_SECRET"), Some("rustls"));
        assert_eq!(with(b"rustls is mentioned"), None);
        let own = [b"rustls CLIENT_HANDSHAKE_TRAFFIC_SECRET ", pclntab::WRITE_KEY_LOG.as_bytes()].concat();
        assert_eq!(with(&own), None);
    }

    #[test]
    fn a_file_that_lies_costs_nothing() {
        assert_eq!(of(b"#!/bin/sh\n").unwrap(), Found::default());
        let mut long = file("EVP_KDF_derive", 0x1020);
        // The length of the table of symbols.
        long[0x100 + 2 * 64 + 32..][..8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
        assert_eq!(of(&long).unwrap_err().to_string(), "a table in it is too long");
    }

    #[test]
    fn tables_that_lie_one_over_the_other_are_not_read_for_ever() {
        // A thousand tables of symbols, each the whole file, of 60 MiB.
        let mut bytes = file("else", 0x1020);
        let (symbols, at, length) = (1000_u16, 0x1000_u16, 60_u64 << 20);
        let entry = [&[0; 4][..], &DYNAMIC_SYMBOLS.to_le_bytes(), &[0; 24], &length.to_le_bytes(), &[0; 24]].concat();
        bytes.resize(usize::from(at), 0);
        (0..symbols).for_each(|_| bytes.extend(&entry));
        bytes[40..48].copy_from_slice(&u64::from(at).to_le_bytes());
        bytes[60..62].copy_from_slice(&symbols.to_le_bytes());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.set_len(length).unwrap();
        assert_eq!(read(&file, length).unwrap_err().to_string(), "a table in it is too long");
    }

    /// The library that curl uses here, if there is one.
    #[test]
    fn the_installed_openssl() {
        let places = ["/lib/x86_64-linux-gnu/libcrypto.so.3", "/lib/aarch64-linux-gnu/libcrypto.so.3"];
        let Some(file) = places.iter().find_map(|place| File::open(place).ok()) else { return };
        assert!(matches!(read(&file, file.metadata().unwrap().len()).unwrap().points[..], [(Library::OpenSsl, 1..)]));
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
