//! File bytes are those of a file or pipe, decompressed if they are gzip or zstd.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::FileFault;

/// Compressed bytes read at once.
const COMPRESSED_BLOCK: usize = 128 * 1024;

/// Bytes asked of a decompressor at once. Where it finds damage, what it wrote in that call is lost: so not much.
const DECOMPRESSED_PIECE: usize = 4096;

/// Bytes that identify a format: the longest magic number has six.
const MAGIC: usize = 6;

/// Bytes with any content. Compression is recognised by its magic number, without seeking, so that pipes work like
/// files. zstd may want a window of up to 128 MiB (its own limit for streams); gzip needs 32 KiB.
pub(super) enum FileBytes {
    Plain(Raw),
    Gzip(Box<MultiGzDecoder<BufReader<Raw>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Raw>>>),
}

impl FileBytes {
    /// Opens a path, "-" being standard input.
    pub(super) fn open(path: &std::path::Path) -> Result<Self, FileFault> {
        if path.as_os_str() == "-" {
            use std::os::fd::AsFd;
            // A descriptor of its own: the library's handle would copy everything through a small buffer.
            let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(FileFault::Open)?;
            Self::new(Box::new(File::from(stdin)))
        } else {
            Self::new(Box::new(File::open(path).map_err(FileFault::Open)?))
        }
    }

    /// Reads the first bytes and chooses the decompressor.
    pub(super) fn new(input: Box<dyn Read + Send>) -> Result<Self, FileFault> {
        let mut raw = Raw { input, first: Vec::with_capacity(MAGIC), given: 0, read: 0 };
        raw.peek().map_err(|source| FileFault::Read { offset: 0, source })?;
        match raw.first.as_slice() {
            [] => Err(FileFault::Empty),
            [0x1f, 0x8b, ..] => {
                let raw = BufReader::with_capacity(COMPRESSED_BLOCK, raw);
                Ok(Self::Gzip(Box::new(MultiGzDecoder::new(raw))))
            }
            // A zstd frame, or a skippable one before it (RFC 8878, section 3.1).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let raw = BufReader::with_capacity(COMPRESSED_BLOCK, raw);
                let decoder = zstd::stream::read::Decoder::with_buffer(raw)
                    .map_err(|source| FileFault::Decompress { format: "zstd", offset: 0, source })?;
                Ok(Self::Zstd(Box::new(decoder)))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(FileFault::Compressed { format: "xz" }),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(FileFault::Compressed { format: "bzip2" }),
            [0x04, 0x22, 0x4d, 0x18, ..] => Err(FileFault::Compressed { format: "lz4" }),
            [b'P', b'K', 3, 4, ..] => Err(FileFault::Compressed { format: "zip" }),
            _ => Ok(Self::Plain(raw)),
        }
    }

    /// Bytes taken from the file itself so far (compressed, if it is).
    pub(super) fn bytes_read(&self) -> u64 {
        match self {
            Self::Plain(raw) => raw.read,
            Self::Gzip(decoder) => decoder.get_ref().get_ref().read,
            Self::Zstd(decoder) => decoder.get_ref().get_ref().read,
        }
    }

    /// A reading error as what it means here: `offset` bytes came out before it.
    pub(super) fn fault(&self, offset: u64, source: io::Error) -> FileFault {
        // An error with an OS code came from below the decompressor.
        if source.raw_os_error().is_some() {
            return FileFault::Read { offset, source };
        }
        match self {
            Self::Plain(_) => FileFault::Read { offset, source },
            Self::Gzip(_) => FileFault::Decompress { format: "gzip", offset, source },
            Self::Zstd(_) => FileFault::Decompress { format: "zstd", offset, source },
        }
    }
}

impl Read for FileBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = into.len().min(DECOMPRESSED_PIECE);
        match self {
            Self::Plain(raw) => raw.read(into),
            Self::Gzip(decoder) => decoder.read(into.get_mut(..piece).unwrap_or_default()),
            Self::Zstd(decoder) => decoder.read(into.get_mut(..piece).unwrap_or_default()),
        }
    }
}

/// The bytes of the file itself, counted, with the first few read ahead.
pub(super) struct Raw {
    input: Box<dyn Read + Send>,
    first: Vec<u8>,
    given: usize,
    read: u64,
}

impl Raw {
    fn peek(&mut self) -> io::Result<()> {
        let mut byte = [0];
        while self.first.len() < MAGIC {
            match self.input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => self.first.extend_from_slice(&byte),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let ahead = self.first.get(self.given..).unwrap_or_default();
        let count = if ahead.is_empty() {
            self.input.read(into)?
        } else {
            let mut ahead = ahead;
            let count = ahead.read(into)?;
            self.given += count;
            count
        };
        self.read += count as u64;
        Ok(count)
    }
}
