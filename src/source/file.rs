//! A capture file gives the frames that a file or pipe holds; several are read one after another.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::blocks::Blocks;
use super::file_bytes::FileBytes;
use super::interfaces::Interfaces;
use super::pcap_file::PcapFile;
use super::pcapng::Pcapng;
use super::series::Series;
use super::{Error, FileFault, Filter, Frame, Interface};

/// A frame as a range of the reader's buffer.
pub(super) struct FrameRange {
    pub(super) time: i64,
    pub(super) link: i32,
    pub(super) interface: u32,
    pub(super) data: Range<usize>,
    pub(super) original_len: u32,
}

/// Secrets of TLS that a file holds: the text of a key log.
#[derive(Debug)]
pub enum Secrets<'a> {
    /// A part of it.
    Piece(&'a [u8]),
    /// A text has ended.
    End,
}

/// Takes secrets, before the frames behind them are given.
pub type OnSecrets = Box<dyn FnMut(Secrets<'_>) + Send>;

/// Bytes of a key log read at once.
const KEY_LOG_PIECE: usize = 64 * 1024;

/// Gives all of a key log, piece by piece. No copy of it is left in memory here.
///
/// # Errors
/// It cannot be read.
pub fn read_key_log(file: &mut impl Read, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = Zeroizing::new(vec![0; KEY_LOG_PIECE]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => take(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a file that starts so is a capture.
pub(crate) fn begins_capture(first: [u8; 4]) -> bool {
    PcapFile::magic(first).is_some() || Pcapng::begins(first)
}

enum FileFormat {
    Pcap(PcapFile),
    Pcapng(Pcapng),
}

/// One capture file: pcap or pcapng, plain or compressed with gzip or zstd.
pub(super) struct CaptureFile {
    name: String,
    blocks: Blocks,
    format: FileFormat,
    /// An error ends a file: what follows has no meaning.
    ended: bool,
}

impl CaptureFile {
    pub(super) fn open(path: &Path, interfaces: &mut Interfaces) -> Result<Self, Error> {
        let name = name_of(path);
        let bytes = FileBytes::open(path).map_err(|fault| fault.of(&name))?;
        Self::start(name, bytes, interfaces)
    }

    fn start(name: String, bytes: FileBytes, interfaces: &mut Interfaces) -> Result<Self, Error> {
        let mut blocks = Blocks::new(bytes);
        match Self::format(&mut blocks, interfaces) {
            Ok(format) => Ok(Self { name, blocks, format, ended: false }),
            Err(fault) => Err(fault.of(&name)),
        }
    }

    fn format(blocks: &mut Blocks, interfaces: &mut Interfaces) -> Result<FileFormat, FileFault> {
        if let Some(pcap) = PcapFile::open(blocks, interfaces)? {
            return Ok(FileFormat::Pcap(pcap));
        }
        if let Some(pcapng) = Pcapng::open(blocks)? {
            return Ok(FileFormat::Pcapng(pcapng));
        }
        if blocks.available() == 0 {
            return Err(FileFault::Empty);
        }
        Err(FileFault::NotCapture { first: first_bytes(blocks.rest()) })
    }

    #[inline]
    pub(super) fn advance(
        &mut self,
        interfaces: &mut Interfaces,
        secrets: &mut Option<OnSecrets>,
    ) -> Result<Option<FrameRange>, Error> {
        if self.ended {
            return Ok(None);
        }
        let next = match &mut self.format {
            FileFormat::Pcap(pcap) => pcap.next(&mut self.blocks),
            FileFormat::Pcapng(pcapng) => pcapng.next(&mut self.blocks, interfaces, secrets),
        };
        next.map_err(|fault| {
            self.ended = true;
            fault.of(&self.name)
        })
    }

    /// Whether the next record is in the buffer, so that taking it moves nothing there.
    #[inline]
    fn ready(&self) -> bool {
        match &self.format {
            FileFormat::Pcap(pcap) => pcap.ready(&self.blocks),
            FileFormat::Pcapng(pcapng) => pcapng.ready(&self.blocks),
        }
    }
}

/// How much of the files has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadProgress {
    /// Bytes of the files that were read: compressed, if they are.
    pub bytes: u64,
    /// Bytes of all files; unknown if one of them is not a regular file.
    pub total: Option<u64>,
}

/// Capture files, read in the order given; those of directories and patterns in the order of capture.
///
/// Files are opened when their turn comes. An error ends its file and nothing else: call
/// [`Captures::next_frame`] again for the frames of the files behind it.
pub struct Captures {
    waiting: Series,
    current: Option<CaptureFile>,
    interfaces: Interfaces,
    secrets: Option<OnSecrets>,
    filter: Option<Filter>,
    filtered: u64,
    /// Frames read ahead: their bytes are in the current file's buffer.
    ahead: Vec<FrameRange>,
    /// The error that ended the reading ahead.
    pending_error: Option<Error>,
    /// Bytes of the files read to their end.
    done: u64,
    total: Option<u64>,
}

impl Captures {
    /// Takes paths of files, directories and patterns (`*`, `?`, `[...]`, `**` for directories at any depth), "-" being standard
    /// input, and a filter for the frames.
    #[must_use]
    pub fn open(paths: &[PathBuf], filter: Option<Filter>) -> Self {
        Self {
            waiting: Series::find(paths),
            current: None,
            interfaces: Interfaces::default(),
            secrets: None,
            filter,
            filtered: 0,
            ahead: Vec::new(),
            pending_error: None,
            done: 0,
            total: total_bytes(paths),
        }
    }

    /// Gives secrets that files hold to `to`. Without it they are skipped.
    pub fn on_secrets(&mut self, to: OnSecrets) {
        self.secrets = Some(to);
    }

    /// Takes a capture from anything that gives bytes; `name` is what errors call it.
    ///
    /// # Errors
    /// [`Error::File`] if it does not start as a capture.
    pub fn from_reader(name: &str, reader: Box<dyn Read + Send>, filter: Option<Filter>) -> Result<Self, Error> {
        let mut captures = Self::open(&[], filter);
        captures.total = None;
        let bytes = FileBytes::new(reader).map_err(|fault| fault.of(name))?;
        captures.current = Some(CaptureFile::start(name.to_owned(), bytes, &mut captures.interfaces)?);
        Ok(captures)
    }

    /// The next frame that the filter chooses, `None` behind the last one of the last file.
    ///
    /// # Errors
    /// [`Error`], once for each file that cannot be read, or not to its end, and once for each link type that the
    /// filter does not compile for. Every frame before was given, and the next call continues after the error.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        Ok(self.next_frames(1)?.next())
    }

    /// The next frames that the filter chooses: at least one, as many more as are at hand without reading, and not more
    /// than `most`. None behind the last one of the last file.
    ///
    /// # Errors
    /// As [`Captures::next_frame`].
    #[inline]
    pub fn next_frames(&mut self, most: usize) -> Result<impl Iterator<Item = Frame<'_>> + Clone, Error> {
        self.read_frames(most)?;
        Ok(self.frames())
    }

    /// Reads the next frames, as [`Captures::next_frames`] gives them.
    ///
    /// # Errors
    /// As [`Captures::next_frame`].
    #[inline]
    pub fn read_frames(&mut self, most: usize) -> Result<(), Error> {
        self.ahead.clear();
        if let Some(first) = self.advance()? {
            self.ahead.push(first);
            self.pending_error = self.read_ahead(most).err();
        }
        Ok(())
    }

    /// The frames that were read last.
    #[inline]
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> + Clone {
        let blocks = self.current.as_ref().map(|file| &file.blocks);
        self.ahead.iter().filter_map(move |record| Some(frame(record, blocks?)))
    }

    #[inline]
    fn read_ahead(&mut self, most: usize) -> Result<(), Error> {
        let Some(file) = &mut self.current else { return Ok(()) };
        while self.ahead.len() < most && file.ready() {
            let Some(record) = file.advance(&mut self.interfaces, &mut self.secrets)? else { break };
            let chosen = choose(&mut self.filter, &mut self.filtered, record, &file.blocks)?;
            self.ahead.extend(chosen);
        }
        Ok(())
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<FrameRange>, Error> {
        if let Some(trouble) = self.pending_error.take() {
            return Err(trouble);
        }
        loop {
            let Some(file) = &mut self.current else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            let Some(record) = file.advance(&mut self.interfaces, &mut self.secrets)? else {
                self.close();
                continue;
            };
            if let Some(chosen) = choose(&mut self.filter, &mut self.filtered, record, &file.blocks)? {
                return Ok(Some(chosen));
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(path) = self.waiting.next().transpose()? else {
            return Ok(false);
        };
        self.current = Some(CaptureFile::open(&path, &mut self.interfaces)?);
        Ok(true)
    }

    fn close(&mut self) {
        if let Some(file) = self.current.take() {
            self.done += file.blocks.bytes_read();
        }
    }

    /// What people are to know of the files so far: which were skipped. Each is given once.
    pub fn notice(&mut self) -> Option<String> {
        self.waiting.notice()
    }

    /// Frames that were read and not given because the filter did not choose them.
    #[must_use]
    pub fn filtered(&self) -> u64 {
        self.filtered
    }

    /// How much has been read.
    #[must_use]
    pub fn progress(&self) -> ReadProgress {
        let current = self.current.as_ref().map_or(0, |file| file.blocks.bytes_read());
        ReadProgress { bytes: self.done + current, total: self.total }
    }

    /// The interfaces seen so far; a frame's `interface` is an index into them.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        self.interfaces.all()
    }
}

/// Bytes of the files that these paths stand for, "-" being standard input; unknown if one is not a regular file. One that is missing counts
/// nothing: that it is missing is reported when its turn comes.
#[must_use]
pub fn total_bytes(paths: &[PathBuf]) -> Option<u64> {
    let size = |path: &Path| match std::fs::metadata(path) {
        _ if path.as_os_str() == "-" => None,
        Ok(metadata) => metadata.is_file().then_some(metadata.len()),
        Err(_) => Some(0),
    };
    Series::find(paths).paths().map(size).try_fold(0_u64, |sum, size| Some(sum.saturating_add(size?)))
}

/// The files that these paths stand for, in no particular order, "-" being standard input.
#[must_use]
pub fn files_of(paths: &[PathBuf]) -> Vec<PathBuf> {
    Series::find(paths).paths().map(Path::to_path_buf).collect()
}

/// The record, if the filter chooses it; otherwise it counts as filtered.
#[inline]
fn choose(
    filter: &mut Option<Filter>,
    filtered: &mut u64,
    record: FrameRange,
    blocks: &Blocks,
) -> Result<Option<FrameRange>, Error> {
    let Some(filter) = filter else { return Ok(Some(record)) };
    // Counted first: a frame whose filter does not compile is not given either.
    *filtered += 1;
    if !filter.accepts(&frame(&record, blocks))? {
        return Ok(None);
    }
    *filtered -= 1;
    Ok(Some(record))
}

#[inline]
fn frame<'a>(record: &FrameRange, blocks: &'a Blocks) -> Frame<'a> {
    Frame {
        time: record.time,
        link: record.link,
        interface: record.interface,
        data: blocks.get(record.data.clone()),
        original_len: record.original_len,
    }
}

fn name_of(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}

/// What a file starts with, so that a person sees what it is instead.
fn first_bytes(bytes: &[u8]) -> String {
    let first = bytes.get(..8).unwrap_or(bytes);
    let hex: Vec<String> = first.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} (\"{}\")", hex.join(" "), first.escape_ascii())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
