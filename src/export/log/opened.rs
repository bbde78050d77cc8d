//! What the lines of a log go to, opened: standard output or a file, plain or compressed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::packed::{self, Packed, Packing, mend};
use super::socket::Socket;
use super::{LogError, Target};
use crate::export::Format;
use crate::export::line_writer::LineWriter;
use crate::export::open;

/// What takes the lines.
pub(super) enum Lines {
    /// As they are.
    Plain(LineWriter<File>),
    /// Compressed.
    Packed(Packed),
    /// To a socket.
    Socket(Socket),
}

impl Lines {
    pub(super) fn new(opened: OpenedTarget, now: i64) -> Self {
        match opened.packing {
            Some(packing) => Self::Packed(Packed::new(opened.file, packing, opened.regular, opened.size, now)),
            None => Self::Plain(LineWriter::new(opened.file)),
        }
    }

    /// Bytes that the next line takes beside its own.
    pub(super) const fn head(&self) -> u64 {
        match self {
            Self::Packed(packed) if !packed.waits() => packed::HEAD,
            _ => 0,
        }
    }

    /// Whether the last line is whole.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Plain(lines) => lines.is_whole(),
            Self::Packed(_) | Self::Socket(_) => true,
        }
    }
}

/// What lines go to, just opened.
pub(super) struct OpenedTarget {
    pub(super) file: File,
    /// Bytes in it.
    pub(super) size: u64,
    /// Whether it is a regular file.
    pub(super) regular: bool,
    /// Time of the last change of a file that was there.
    pub(super) modified: Option<i64>,
    /// How it is compressed, if it is.
    pub(super) packing: Option<Packing>,
}

/// Opens what lines of a format go to.
///
/// # Errors
/// If it cannot be opened, or is a document that has begun.
pub(super) fn open_for(target: &Target, format: &dyn Format) -> Result<OpenedTarget, LogError> {
    let opened = open_target(target)?;
    match target {
        Target::File(path) if format.is_document() && opened.size != 0 => Err(LogError::NotEmpty(path.clone())),
        _ => Ok(opened),
    }
}

fn open_target(target: &Target) -> Result<OpenedTarget, LogError> {
    match target {
        Target::Stdout => {
            let file: File = io::stdout().as_fd().try_clone_to_owned().map_err(LogError::Stdout)?.into();
            let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
            Ok(OpenedTarget { file, size: 0, regular, modified: None, packing: None })
        }
        Target::Syslog(path) | Target::Unix(path) | Target::File(path) => {
            open_file(path).map_err(|source| LogError::Open { path: path.clone(), source })
        }
    }
}

fn open_file(path: &Path) -> io::Result<OpenedTarget> {
    let mut file = open::append(path, open::LOG_MODE)?;
    let metadata = file.metadata()?;
    let regular = metadata.is_file();
    let mut size = if regular { metadata.len() } else { 0 };
    let packing = Packing::of(path);
    if let Some(packing) = packing.filter(|_| size != 0) {
        size = mend(&mut file, packing)?;
    } else if size != 0 {
        // What was killed while it wrote has left half a line: it must not run together with the next.
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| i64::try_from(since.as_nanos()).ok()).filter(|_| size != 0);
    Ok(OpenedTarget { file, size, regular, modified, packing })
}

/// Cuts what stands behind the last line end of a regular file.
pub(super) fn cut_half_line(file: &mut File) -> io::Result<()> {
    let mut end = file.metadata()?.len();
    let mut some = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(some.len() as u64);
        let count = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let part = some.get_mut(..count).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return file.set_len(start.saturating_add(at as u64).saturating_add(1));
        }
        end = start;
    }
    file.set_len(0)
}
