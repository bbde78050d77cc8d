//! The file of packets: pcap with nanoseconds, or pcapng (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Keep;
use super::chunk::{Head, Item};
use crate::export::open::{self, CAPTURE_MODE};
use crate::source;
use crate::source::format::{
    BYTE_ORDER, ENHANCED_PACKET, INTERFACE, OPTION_END, OPTION_IF_NAME, OPTION_IF_TSRESOL, OPTION_USER_APPLICATION,
    PCAP_NANOSECONDS, SECRETS, SECTION_HEADER, TLS_KEY_LOG,
};
use crate::stream::InterfaceNames;

/// Nanoseconds: 10^-9 of a second.
const RESOLUTION: u8 = 9;
/// Link type of a file without packets.
const ETHERNET: i32 = 1;

/// Why the file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be opened.
    #[error("{}: packets cannot be written there: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// It is read at the same time.
    #[error("{}: it is one of the files that are read: needed another name behind -w", .0.display())]
    Input(PathBuf),
    /// It is something else.
    #[error("{}: it is there already, and is no capture: remove it, or name another file behind -w", .0.display())]
    NotCapture(PathBuf),
}

/// The file, open.
pub struct KeptFile {
    pub(super) file: File,
    pub(super) name: String,
    /// Whether what was written in vain can be cut off again.
    pub(super) is_regular: bool,
    pub(super) encoder: Encoder,
}

/// Opens the file. A capture that is there is replaced. `inputs`: files that are read. `names`: of live interfaces.
///
/// # Errors
/// See [`KeepError`].
pub fn open(keep: &Keep, inputs: &[PathBuf], names: &InterfaceNames) -> Result<KeptFile, KeepError> {
    let path = &keep.file;
    let encoder = Encoder::new(keep.is_pcapng(), names.clone());
    let cannot = |cause| KeepError::Open { path: path.clone(), cause };
    if path.as_os_str() == "-" {
        let file = io::stdout().as_fd().try_clone_to_owned().map_err(cannot)?;
        return Ok(KeptFile { file: file.into(), name: "standard output".to_owned(), is_regular: false, encoder });
    }
    let name = path.display().to_string();
    let there = fs::metadata(path).ok();
    if let Some(there) = &there {
        let same = |other: fs::Metadata| (there.dev(), there.ino()) == (other.dev(), other.ino());
        if source::files_of(inputs).iter().any(|input| fs::metadata(input).is_ok_and(same)) {
            return Err(KeepError::Input(path.clone()));
        }
        if !there.is_file() || open::is_special(path) {
            let file = open::append(path, CAPTURE_MODE).map_err(cannot)?;
            return Ok(KeptFile { file, name, is_regular: false, encoder });
        }
        if !is_capture(path).map_err(cannot)? {
            return Err(KeepError::NotCapture(path.clone()));
        }
    }
    let file = open::fresh(path, CAPTURE_MODE).map_err(cannot)?;
    Ok(KeptFile { file, name, is_regular: true, encoder })
}

/// Whether a file is a capture, or empty: what may be replaced.
fn is_capture(path: &Path) -> io::Result<bool> {
    let mut first = [0; 4];
    match open::read(path)?.read_exact(&mut first) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(fs::metadata(path)?.len() == 0),
        read => read.map(|()| source::begins_capture(first)),
    }
}

/// A second link type came, for which pcap has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SecondLink(pub(super) i32);

/// Turns packets into the bytes of a file.
#[derive(Debug)]
pub(super) struct Encoder {
    pcapng: bool,
    /// Of pcap: the link type, once the header was written.
    link: Option<i32>,
    /// Of pcapng: whether the header was written, and the interfaces that were described, by number and link type.
    begun: bool,
    described: Vec<(u32, i32)>,
    /// Names of interfaces: of live ones, and those that files have.
    live: InterfaceNames,
    names: Vec<(u32, String)>,
}

impl Encoder {
    pub(super) const fn new(pcapng: bool, live: InterfaceNames) -> Self {
        Self { pcapng, link: None, begun: false, described: Vec::new(), live, names: Vec::new() }
    }

    /// Appends what stands at the beginning, if it is known without packets.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        if self.pcapng && !std::mem::replace(&mut self.begun, true) {
            let mut body = [BYTE_ORDER.to_ne_bytes(), 1_u32.to_le_bytes()].concat();
            // The version, 1.0, and a section of any length.
            if let Some(version) = body.get_mut(4..) {
                version.copy_from_slice(&[1_u16.to_ne_bytes(), 0_u16.to_ne_bytes()].concat());
            }
            body.extend_from_slice(&(-1_i64).to_ne_bytes());
            option(OPTION_USER_APPLICATION, concat!("picotap ", env!("CARGO_PKG_VERSION")).as_bytes(), &mut body);
            option(OPTION_END, &[], &mut body);
            block(SECTION_HEADER, &[&body], out);
        }
    }

    /// Appends what stands at the end: of a file without packets its beginning.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        if !self.pcapng && self.link.is_none() {
            self.pcap_header(ETHERNET, out);
        }
    }

    /// Appends an item. `data`: the bytes of a packet.
    pub(super) fn item(&mut self, item: &Item, data: &[u8], out: &mut Vec<u8>) -> Result<(), SecondLink> {
        match item {
            Item::Interface(number, name) => self.names.push((*number, name.clone())),
            Item::Secrets(lines) => {
                debug_assert!(self.pcapng, "secrets are asked for only where there is a place for them");
                let length = u32::try_from(lines.len()).unwrap_or(0);
                block(SECRETS, &[&TLS_KEY_LOG.to_ne_bytes(), &length.to_ne_bytes(), lines], out);
            }
            Item::Time(time) => self.empty(*time, out),
            Item::Packet(head) if self.pcapng => self.enhanced(head, data, out),
            Item::Packet(head) => return self.record(head, data, out),
        }
        Ok(())
    }

    /// A packet of which nothing is kept but its time, on an interface that is described.
    fn empty(&mut self, time: i64, out: &mut Vec<u8>) {
        let head = |interface, link| Head { time, link, interface, original_len: 0, len: 0 };
        match (self.link, self.described.last().copied()) {
            (_, Some((interface, link))) => self.enhanced(&head(interface, link), &[], out),
            (Some(link), _) => {
                let written = self.record(&head(0, link), &[], out);
                debug_assert_eq!(written, Ok(()), "it is the link type that the file has");
            }
            (None, None) => {}
        }
    }

    fn enhanced(&mut self, head: &Head, data: &[u8], out: &mut Vec<u8>) {
        let interface = (head.interface, head.link);
        let index = match self.described.iter().position(|known| *known == interface) {
            Some(index) => index,
            None => self.describe(interface, out),
        };
        let time = u64::try_from(head.time).unwrap_or(0);
        let [high, low] = [time >> 32, time & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(0));
        let index = u32::try_from(index).unwrap_or(0);
        let fields = [index, high, low, head.len, head.original_len].map(u32::to_ne_bytes).concat();
        block(ENHANCED_PACKET, &[&fields, data], out);
    }

    /// Describes one more interface, and gives its index.
    fn describe(&mut self, (number, link): (u32, i32), out: &mut Vec<u8>) -> usize {
        // A link type has 16 bits; the rest is reserved. Packets are of any length.
        let link_type = u16::try_from(link).unwrap_or(u16::MAX).to_ne_bytes();
        let mut body = [&link_type[..], &[0; 2], &[0; 4]].concat();
        let known = self.names.iter().rfind(|(named, _)| *named == number).map(|(_, name)| name.as_str());
        if let Some(name) = known.or_else(|| self.live.get(number)) {
            option(OPTION_IF_NAME, name.as_bytes(), &mut body);
        }
        option(OPTION_IF_TSRESOL, &[RESOLUTION], &mut body);
        option(OPTION_END, &[], &mut body);
        block(INTERFACE, &[&body], out);
        self.described.push((number, link));
        self.described.len() - 1
    }

    fn record(&mut self, head: &Head, data: &[u8], out: &mut Vec<u8>) -> Result<(), SecondLink> {
        match self.link {
            None => self.pcap_header(head.link, out),
            Some(link) if link != head.link => return Err(SecondLink(head.link)),
            Some(_) => {}
        }
        let time = u64::try_from(head.time).unwrap_or(0);
        let [seconds, fraction] =
            [time / 1_000_000_000, time % 1_000_000_000].map(|part| u32::try_from(part).unwrap_or(u32::MAX));
        for field in [seconds, fraction, head.len, head.original_len] {
            out.extend_from_slice(&field.to_ne_bytes());
        }
        out.extend_from_slice(data);
        Ok(())
    }

    fn pcap_header(&mut self, link: i32, out: &mut Vec<u8>) {
        self.link = Some(link);
        out.extend_from_slice(&PCAP_NANOSECONDS.to_ne_bytes());
        // Version 2.4; time zone and accuracy, which are always 0; packets of any length that is read.
        out.extend_from_slice(&[2_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat());
        let most = u32::try_from(source::MAX_FRAME).unwrap_or(u32::MAX);
        for field in [0, 0, most, link.cast_unsigned()] {
            out.extend_from_slice(&field.to_ne_bytes());
        }
    }
}

/// Appends a block with these parts of its body, padded to 32 bits.
fn block(kind: u32, body: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let padded = length.next_multiple_of(4);
    let whole = u32::try_from(padded + 12).unwrap_or(u32::MAX).to_ne_bytes();
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&whole);
    body.iter().for_each(|part| out.extend_from_slice(part));
    out.resize(out.len() + padded - length, 0);
    out.extend_from_slice(&whole);
}

/// Appends an option, padded to 32 bits.
fn option(code: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(value.len()).unwrap_or(0);
    out.extend_from_slice(&code.to_ne_bytes());
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len() + value.len().next_multiple_of(4) - value.len(), 0);
}
