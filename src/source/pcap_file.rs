//! A pcap file is a file header and records, each a frame with a time stamp (draft-ietf-opsawg-pcap).
//!
//! Not read by the crate `pcap-parser` 0.17, which is as fast (45 ns a frame, this 48, with the time converted) but lends
//! one frame at a time, so that frames to be held together would have to be copied, and has buffers that its user must
//! bound and enlarge. (2026-11-25, `cargo bench --bench input -- file`, 100,000 frames, two cores of an AMD EPYC on which
//! other work ran.)

use super::blocks::{Blocks, MAX_FRAME};
use super::file::FrameRange;
use super::format::{PCAP_MICROSECONDS, PCAP_MODIFIED, PCAP_NANOSECONDS};
use super::interfaces::Interfaces;
use super::{FileFault, interfaces};

/// Bytes of the file header.
const FILE_HEADER: usize = 24;
/// Bytes of a record's header, and what Alexey Kuznetsov's patched libpcap appends to it.
const RECORD_HEADER: usize = 16;
const RECORD_HEADER_MODIFIED: usize = RECORD_HEADER + 8;

/// Byte order of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    #[inline]
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// What the file header says.
pub(super) struct PcapFile {
    order: Order,
    /// Nanoseconds in a unit of a record's fraction of a second.
    unit: i64,
    header: usize,
    link: i32,
    interface: u32,
}

impl PcapFile {
    /// Whether a file that starts so is one: byte order, nanoseconds in a unit, bytes of a record header.
    pub(super) fn magic(first: [u8; 4]) -> Option<(Order, i64, usize)> {
        let known = |magic: u32| match magic {
            PCAP_MICROSECONDS => Some((1000, RECORD_HEADER)),
            PCAP_NANOSECONDS => Some((1, RECORD_HEADER)),
            PCAP_MODIFIED => Some((1000, RECORD_HEADER_MODIFIED)),
            _ => None,
        };
        let little = known(u32::from_le_bytes(first)).map(|(unit, header)| (Order::Little, unit, header));
        little.or_else(|| known(u32::from_be_bytes(first)).map(|(unit, header)| (Order::Big, unit, header)))
    }

    /// Reads the file header; `None` if it is not a pcap file.
    pub(super) fn open(blocks: &mut Blocks, interfaces: &mut Interfaces) -> Result<Option<Self>, FileFault> {
        let had = blocks.need(FILE_HEADER)?;
        let Some((order, unit, header)) = blocks.rest().first_chunk().and_then(|first| Self::magic(*first)) else {
            return Ok(None);
        };
        let Some([.., a, b, c, d]) = blocks.rest().first_chunk::<FILE_HEADER>() else {
            return Err(FileFault::Cut { what: "file header", offset: 0, needed: FILE_HEADER as u64, had: had as u64 });
        };
        // The upper bits describe a frame check sequence; libpcap masks them in the same way.
        let link = i32::try_from(order.u32([*a, *b, *c, *d]) & 0x03ff_ffff).unwrap_or(-1);
        let interface = interfaces.number(None, link).ok_or(FileFault::Damaged {
            what: "number of interfaces",
            offset: 0,
            value: interfaces::MAX_INTERFACES as u64 + 1,
            expected: "which is more than can be told apart in one run",
        })?;
        blocks.take(FILE_HEADER);
        Ok(Some(Self { order, unit, header, link, interface }))
    }

    /// Whether the next record is in the buffer.
    #[inline]
    pub(super) fn ready(&self, blocks: &Blocks) -> bool {
        let captured = match blocks.rest().first_chunk::<RECORD_HEADER>() {
            Some([_, _, _, _, _, _, _, _, i, j, k, l, ..]) => self.order.u32([*i, *j, *k, *l]),
            None => return false,
        };
        blocks.available() >= self.header + captured as usize
    }

    /// The next record, if there is one.
    #[inline]
    pub(super) fn next(&self, blocks: &mut Blocks) -> Result<Option<FrameRange>, FileFault> {
        let had = blocks.need(self.header)?;
        let header = match blocks.rest().first_chunk::<RECORD_HEADER>() {
            Some(header) if had >= self.header => *header,
            _ if had == 0 => return Ok(None),
            _ => return Err(cut("record header", blocks.offset(), self.header, had)),
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = header;
        let seconds = i64::from(self.order.u32([a, b, c, d]));
        let fraction = i64::from(self.order.u32([e, f, g, h]));
        let captured = self.order.u32([i, j, k, l]);
        let original = self.order.u32([m, n, o, p]);
        if captured as usize > MAX_FRAME {
            return Err(FileFault::Damaged {
                what: "captured length of the record",
                offset: blocks.offset(),
                value: u64::from(captured),
                expected: "more than the 1048576 that a frame can have",
            });
        }
        let whole = self.header + captured as usize;
        let had = blocks.need(whole)?;
        if had < whole {
            return Err(cut("record", blocks.offset(), whole, had));
        }
        let taken = blocks.take(whole);
        Ok(Some(FrameRange {
            time: seconds * 1_000_000_000 + fraction * self.unit,
            link: self.link,
            interface: self.interface,
            data: taken.start + self.header..taken.end,
            original_len: original.max(captured),
        }))
    }
}

#[cold]
fn cut(what: &'static str, offset: u64, needed: usize, had: usize) -> FileFault {
    FileFault::Cut { what, offset, needed: needed as u64, had: had as u64 }
}
