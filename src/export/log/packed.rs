//! A packed log: lines compressed in pieces, each of which is whole by itself, a frame of zstd (RFC 8878) or a member of gzip (RFC
//! 1952). Programs read the pieces one after the other.
//!
//! A piece is written as it is full, or when a second has passed, so that what was killed leaves all that is older. A piece that
//! was not written whole is cut off: by whom could not write it, or by the next run.
//!
//! Members of gzip say in an extra field how long they are, since that is not to be seen otherwise.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use zstd::zstd_safe::find_frame_compressed_size;

use crate::export::line_writer::LostLines;

/// Bytes of lines in a piece.
const PIECE: usize = 256 << 10;
/// Nanoseconds after which a piece is written though it is not full.
const WAIT: i64 = 1_000_000_000;
/// No piece is longer: a line that is longer than a piece is one of its own, and no line has so many bytes.
const LONGEST: usize = 4 << 20;
/// The extra field with the length of a member: its name, and where it stands.
const MEMBER: [u8; 2] = *b"PT";
const MEMBER_HEAD: usize = 20;
/// Bytes that a piece of the usual length takes at the most beside its lines, if they cannot be compressed.
pub(super) const HEAD: u64 = 256;
/// The compression level of both: their usual one.
const LEVEL: i32 = 3;

/// How a log is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Packing {
    Zstd,
    Gzip,
}

impl Packing {
    /// By the ending of a name.
    pub(in crate::export) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "zst" => Some(Self::Zstd),
            "gz" => Some(Self::Gzip),
            _ => None,
        }
    }

    /// The ending, with its dot.
    pub(in crate::export) const fn ending(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// The name without the ending.
    pub(in crate::export) fn stem(path: &Path) -> PathBuf {
        path.with_extension("")
    }

    fn pack(self, lines: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::bulk::compress(lines, LEVEL),
            Self::Gzip => {
                let extra = [&MEMBER[..], &[4, 0, 0, 0, 0, 0]].concat();
                let room = Vec::with_capacity(lines.len() / 4 + 64);
                let mut writer = GzBuilder::new().extra(extra).write(room, Compression::default());
                writer.write_all(lines)?;
                let mut member = writer.finish()?;
                let length = u32::try_from(member.len()).map_err(io::Error::other)?;
                if let Some(place) = member.get_mut(MEMBER_HEAD - 4..MEMBER_HEAD) {
                    place.copy_from_slice(&length.to_le_bytes());
                }
                Ok(member)
            }
        }
    }

    /// Length of the piece with which these bytes begin, if all of it is there.
    fn piece(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Zstd => find_frame_compressed_size(bytes).ok().filter(|length| *length > 0),
            Self::Gzip => {
                let head = bytes.get(..MEMBER_HEAD)?;
                let [0x1f, 0x8b, 8, 4, .., 8, 0, one, two, 4, 0, a, b, c, d] = head else { return None };
                let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?;
                ([*one, *two] == MEMBER && length > MEMBER_HEAD && length <= bytes.len()).then_some(length)
            }
        }
    }
}

/// Writes lines into a file in pieces.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    packing: Packing,
    /// Whether what was not written whole can be cut off.
    regular: bool,
    /// Bytes of whole pieces in the file.
    size: u64,
    /// Lines of the next piece, and how many.
    lines: Vec<u8>,
    count: u64,
    /// When the last piece was written.
    written: i64,
}

impl Packed {
    /// For a file of `size` bytes, which are whole pieces.
    pub(super) const fn new(file: File, packing: Packing, regular: bool, size: u64, now: i64) -> Self {
        Self { file, packing, regular, size, lines: Vec::new(), count: 0, written: now }
    }

    /// Bytes that the file has, and at the most will have with the lines that wait.
    pub(super) const fn size(&self) -> u64 {
        let head = if self.waits() { HEAD } else { 0 };
        self.size.saturating_add(self.lines.len() as u64).saturating_add(head)
    }

    /// Bytes of whole pieces in the file.
    pub(super) const fn packed(&self) -> u64 {
        self.size
    }

    /// Whether lines wait.
    pub(super) const fn waits(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Takes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), LostLines> {
        let mut rest = lines;
        while !rest.is_empty() {
            let room = PIECE.saturating_sub(self.lines.len());
            let end = match rest.get(..room) {
                None => rest.len(),
                // Whole lines only; one that is longer than a piece is one.
                Some(fits) => match memchr::memrchr(b'\n', fits) {
                    Some(at) => at + 1,
                    None if self.waits() => 0,
                    None => memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1),
                },
            };
            let (some, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
            self.lines.extend_from_slice(some);
            self.count += memchr::memchr_iter(b'\n', some).count() as u64;
            rest = after;
            if self.lines.len() >= PIECE || !rest.is_empty() {
                self.flush().map_err(|lost| lost.and(rest))?;
            }
        }
        Ok(())
    }

    /// Writes what waits if it has waited long enough.
    pub(super) fn tick(&mut self, now: i64) -> Result<(), LostLines> {
        let due = now < self.written || now.saturating_sub(self.written) >= WAIT;
        if !due {
            return Ok(());
        }
        self.written = now;
        self.flush()
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> Result<(), LostLines> {
        if !self.waits() {
            return Ok(());
        }
        let written = self.packing.pack(&self.lines).and_then(|piece| {
            self.file.write_all(&piece)?;
            Ok(piece.len() as u64)
        });
        let (lines, bytes) = (self.count, self.lines.len() as u64);
        self.lines.clear();
        self.count = 0;
        match written {
            Ok(length) => {
                self.size = self.size.saturating_add(length);
                Ok(())
            }
            Err(error) => {
                if self.regular {
                    // What fails here fails again; the next run cuts it off.
                    let _cut = self.file.set_len(self.size);
                }
                Err(LostLines { error, lines, bytes })
            }
        }
    }
}

/// Cuts off what a run that was killed has left behind the last whole piece. Gives the size of the file.
///
/// # Errors
/// What the system says; that the file was not written by picotap.
pub(super) fn mend(file: &mut File, packing: Packing) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut whole = 0;
    let mut window = vec![0; LONGEST];
    'windows: while whole < length {
        file.seek(SeekFrom::Start(whole))?;
        let filled = fill(file, &mut window)?;
        let mut some = window.get(..filled).unwrap_or_default();
        let mut found = false;
        while let Some(piece) = packing.piece(some) {
            whole = whole.saturating_add(piece as u64);
            some = some.get(piece..).unwrap_or_default();
            found = true;
            if some.is_empty() {
                continue 'windows;
            }
        }
        if found && filled == LONGEST {
            continue;
        }
        // All that is left is the beginning of a piece, or none of ours.
        let is_end = whole.saturating_add(some.len() as u64) >= length;
        // After a loss of power it may be zeros.
        let is_ours = is_beginning(packing, some) || (whole != 0 && some.iter().all(|byte| *byte == 0));
        if !is_end || !is_ours {
            return Err(io::Error::other(
                "it holds what picotap has not written: needed the name of another file, or of one that is not there",
            ));
        }
        file.set_len(whole)?;
        break;
    }
    file.seek(SeekFrom::End(0))?;
    Ok(whole)
}

/// Whether these bytes may be the beginning of a piece that was not written whole.
fn is_beginning(packing: Packing, bytes: &[u8]) -> bool {
    let has = |at: usize, wanted: &[u8]| {
        let here = bytes.get(at..).unwrap_or_default();
        here.iter().zip(wanted).all(|(byte, wanted)| byte == wanted)
    };
    match packing {
        Packing::Zstd => has(0, &[0x28, 0xb5, 0x2f, 0xfd]),
        // Others write members with an extra field, too: bgzip.
        Packing::Gzip => has(0, &[0x1f, 0x8b, 8, 4]) && has(10, &[8, 0]) && has(12, &MEMBER) && has(14, &[4, 0]),
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::open;
    use std::fs;

    fn unpacked(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match packing {
            Packing::Zstd => zstd::stream::copy_decode(bytes, &mut out).unwrap(),
            Packing::Gzip => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap()),
        }
        out
    }

    #[test]
    fn pieces_are_whole_and_what_was_cut_short_is_cut_off() {
        for packing in [Packing::Zstd, Packing::Gzip] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            let file = open::append(&path, open::LOG_MODE).unwrap();
            let mut packed = Packed::new(file, packing, true, 0, 0);
            let line = |number: usize| format!("{number} {}\n", "x".repeat(number % 97 * 11));
            let long = format!("{}\n", "y".repeat(PIECE + 5));
            let all: String = (0..2_000).map(line).chain([long]).chain((0..9).map(line)).collect();
            packed.write(all.as_bytes()).unwrap();
            packed.tick(WAIT - 1).unwrap();
            assert!(packed.waits(), "a second has not passed");
            packed.tick(WAIT).unwrap();
            assert_eq!((packed.waits(), packed.size()), (false, fs::metadata(&path).unwrap().len()));
            let whole = fs::read(&path).unwrap();
            assert!(whole.len() < all.len() / 4 && unpacked(packing, &whole) == all.as_bytes());
            // Wherever a run was killed, the next one finds whole pieces, which are a beginning.
            for cut in [whole.len(), whole.len() - 1, whole.len() / 2, 21, 3, 1, 0] {
                fs::write(&path, &whole[..cut]).unwrap();
                let mut file = open::append(&path, open::LOG_MODE).unwrap();
                let size = mend(&mut file, packing).unwrap();
                assert_eq!(fs::metadata(&path).unwrap().len(), size, "{cut}");
                assert!(size <= cut as u64 && (cut < whole.len() || size == cut as u64));
                let mut packed = Packed::new(file, packing, true, size, 0);
                packed.write(b"last\n").unwrap();
                packed.flush().unwrap();
                let found = unpacked(packing, &fs::read(&path).unwrap());
                let found = found.strip_suffix(b"last\n").unwrap();
                assert!(all.as_bytes().starts_with(found), "{cut}");
            }
        }
    }

    #[test]
    fn a_file_that_others_have_written_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut foreign = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
        foreign.write_all(b"theirs\n").unwrap();
        let foreign = foreign.finish().unwrap();
        // As bgzip writes them: with an extra field of its own.
        let mut blocks =
            GzBuilder::new().extra([*b"BC", [2, 0], [9, 0]].concat()).write(Vec::new(), Compression::default());
        blocks.write_all(b"theirs\n").unwrap();
        let behind = |packing: Packing| [packing.pack(b"ours\n").unwrap(), foreign.clone()].concat();
        for (packing, bytes) in [
            (Packing::Gzip, foreign.clone()),
            (Packing::Gzip, blocks.finish().unwrap()),
            (Packing::Gzip, behind(Packing::Gzip)),
            (Packing::Zstd, behind(Packing::Zstd)),
            (Packing::Zstd, b"plain\n".to_vec()),
            (Packing::Gzip, vec![0; 9 << 20]),
        ] {
            fs::write(&path, &bytes).unwrap();
            let mut file = open::append(&path, open::LOG_MODE).unwrap();
            let error = mend(&mut file, packing).unwrap_err().to_string();
            assert!(error.contains("picotap has not written"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}
