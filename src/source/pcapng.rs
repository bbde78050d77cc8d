//! A pcapng file is sections of blocks; a section describes its interfaces, and packet blocks refer to them
//! (draft-ietf-opsawg-pcapng).
//!
//! 50 ns a frame, where `pcap-parser` takes 67: measured as in `pcap_file.rs`, which says why it is not used.

use std::ops::Range;

use super::FileFault;
use super::blocks::{Blocks, MAX_FRAME, MAX_NEED};
use super::file::FrameRange;
use super::file::{OnSecrets, Secrets};
use super::format::{
    BYTE_ORDER, ENHANCED_PACKET, INTERFACE, OPTION_END, OPTION_IF_NAME, OPTION_IF_TSOFFSET, OPTION_IF_TSRESOL, PACKET,
    SECRETS, SECTION_HEADER, SIMPLE_PACKET, TLS_KEY_LOG,
};
use super::interfaces::{Interfaces, MAX_INTERFACES};
use super::pcap_file::Order;

/// Secrets are handed on in pieces of at most so many bytes, since a block may have any number.
const PIECE: usize = 64 * 1024;

/// Bytes of a block before its body (type, length) and behind it (length).
const BEFORE: usize = 8;
const BEHIND: usize = 4;

/// An interface as the section describes it.
struct Described {
    /// Its number in the run.
    number: u32,
    link: i32,
    /// 0: no limit.
    snap_length: u32,
    resolution: Resolution,
    /// Seconds to add to every stamp.
    offset: i64,
}

/// How long one tick of an interface's clock is.
#[derive(Debug, Clone, Copy)]
enum Resolution {
    /// So many nanoseconds: every power of ten from 10^0 to 10^-9.
    Nanoseconds(i64),
    /// So many ticks in a second.
    PerSecond(u128),
}

impl Resolution {
    /// From option if_tsresol: a negative power of ten, or of two if the upper bit is set.
    fn of(option: u8) -> Self {
        let power = u32::from(option & 0x7f);
        if option & 0x80 != 0 {
            // Beyond 2^63 every stamp is below a nanosecond; the value does not matter, only that it does not overflow.
            return Self::PerSecond(1 << power.min(64));
        }
        match power {
            0..=9 => Self::Nanoseconds(10_i64.pow(9 - power)),
            _ => Self::PerSecond(10_u128.pow(power.min(38))),
        }
    }

    /// Nanoseconds since the epoch; at the ends of the range for stamps that cannot be.
    #[inline]
    fn time(self, ticks: u64, offset: i64) -> i64 {
        let nanoseconds = match self {
            Self::Nanoseconds(unit) => i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(unit),
            Self::PerSecond(rate) => {
                i64::try_from(u128::from(ticks).saturating_mul(1_000_000_000) / rate).unwrap_or(i64::MAX)
            }
        };
        nanoseconds.saturating_add(offset.saturating_mul(1_000_000_000))
    }
}

/// The section that is being read.
pub(super) struct Pcapng {
    order: Order,
    described: Vec<Described>,
    /// Time of the packet before: simple packet blocks have none of their own.
    time: i64,
}

/// A block's header.
struct Header {
    kind: u32,
    offset: u64,
    /// As it stands in front of the block and behind it.
    length: u32,
    /// Bytes of the body, with its padding.
    body: u64,
}

impl Pcapng {
    /// Whether a file that starts so may be one: the type of its first block reads the same in both byte orders.
    pub(super) fn begins(first: [u8; 4]) -> bool {
        first == SECTION_HEADER.to_be_bytes()
    }

    /// Whether the file starts as a section does. Reads nothing more.
    pub(super) fn open(blocks: &mut Blocks) -> Result<Option<Self>, FileFault> {
        blocks.need(4)?;
        let section = blocks.rest().first_chunk().is_some_and(|first| Self::begins(*first));
        Ok(section.then(|| Self { order: Order::Little, described: Vec::new(), time: 0 }))
    }

    /// The next packet, if there is one.
    pub(super) fn next(
        &mut self,
        blocks: &mut Blocks,
        interfaces: &mut Interfaces,
        secrets: &mut Option<OnSecrets>,
    ) -> Result<Option<FrameRange>, FileFault> {
        loop {
            let Some(header) = self.header(blocks)? else {
                return Ok(None);
            };
            if let (SECRETS, Some(secrets)) = (header.kind, &mut *secrets) {
                self.secrets(&header, blocks, secrets)?;
                continue;
            }
            if !matches!(header.kind, SECTION_HEADER | INTERFACE | PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
                let whole = header.body + (BEFORE + BEHIND) as u64;
                let had = blocks.skip(whole)?;
                if had < whole {
                    return Err(FileFault::Cut { what: "block", offset: header.offset, needed: whole, had });
                }
                continue;
            }
            let body = self.body(&header, blocks)?;
            match header.kind {
                SECTION_HEADER => self.described.clear(),
                INTERFACE => self.describe(&header, blocks.get(body), interfaces)?,
                ENHANCED_PACKET => return self.enhanced(&header, body, blocks).map(Some),
                SIMPLE_PACKET => return self.simple(&header, body, blocks).map(Some),
                _ => return self.packet(&header, body, blocks).map(Some),
            }
        }
    }

    /// Whether the next block is a packet and in the buffer.
    #[inline]
    pub(super) fn ready(&self, blocks: &Blocks) -> bool {
        let Some([k0, k1, k2, k3, l0, l1, l2, l3]) = blocks.rest().first_chunk() else { return false };
        let kind = self.order.u32([*k0, *k1, *k2, *k3]);
        let length = self.order.u32([*l0, *l1, *l2, *l3]) as usize;
        let packet = matches!(kind, PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
        packet && blocks.available() >= length.next_multiple_of(4).max(BEFORE + BEHIND)
    }

    /// Reads the next block's header, which sets the byte order if it starts a section.
    fn header(&mut self, blocks: &mut Blocks) -> Result<Option<Header>, FileFault> {
        let offset = blocks.offset();
        let had = blocks.need(BEFORE + BEHIND)?;
        if had == 0 {
            return Ok(None);
        }
        let Some([k0, k1, k2, k3, l0, l1, l2, l3, o0, o1, o2, o3]) = blocks.rest().first_chunk() else {
            let needed = (BEFORE + BEHIND) as u64;
            return Err(FileFault::Cut { what: "block header", offset, needed, had: had as u64 });
        };
        // The type of a section header reads the same in both orders.
        if [*k0, *k1, *k2, *k3] == SECTION_HEADER.to_be_bytes() {
            let mark = [*o0, *o1, *o2, *o3];
            self.order = match (u32::from_le_bytes(mark), u32::from_be_bytes(mark)) {
                (BYTE_ORDER, _) => Order::Little,
                (_, BYTE_ORDER) => Order::Big,
                (value, _) => {
                    return Err(damaged(
                        "byte order mark of the section",
                        offset,
                        value,
                        "neither 1a2b3c4d nor 4d3c2b1a",
                    ));
                }
            };
        }
        let kind = self.order.u32([*k0, *k1, *k2, *k3]);
        let length = self.order.u32([*l0, *l1, *l2, *l3]);
        // Some writers leave the padding out of the length; Wireshark reads such files too.
        let padded = u64::from(length).next_multiple_of(4);
        match padded.checked_sub((BEFORE + BEHIND) as u64) {
            Some(body) => Ok(Some(Header { kind, offset, length, body })),
            None => Err(damaged("length of the block", offset, length, "less than the 12 that a block has at least")),
        }
    }

    /// Takes a whole block and gives its body.
    fn body(&self, header: &Header, blocks: &mut Blocks) -> Result<Range<usize>, FileFault> {
        let whole = header.body + (BEFORE + BEHIND) as u64;
        let Some(whole) = usize::try_from(whole).ok().filter(|whole| *whole <= MAX_NEED) else {
            let expected = "more than a frame of 1048576 bytes with its options can need";
            return Err(FileFault::Damaged {
                what: "length of the block",
                offset: header.offset,
                value: whole,
                expected,
            });
        };
        let had = blocks.need(whole)?;
        if had < whole {
            let (needed, had) = (whole as u64, had as u64);
            return Err(FileFault::Cut { what: "block", offset: header.offset, needed, had });
        }
        let taken = blocks.take(whole);
        let body = taken.start + BEFORE..taken.end - BEHIND;
        // Where both differ, whatever follows would be read at the wrong offset.
        let behind = blocks.get(body.end..taken.end).first_chunk().map_or(0, |length| self.order.u32(*length));
        if behind != header.length {
            let expected = "not the same as in front of it";
            return Err(damaged("length behind the block", header.offset, behind, expected));
        }
        Ok(body)
    }

    /// Hands on the secrets of a block: type, length, and as many bytes.
    fn secrets(&self, header: &Header, blocks: &mut Blocks, to: &mut OnSecrets) -> Result<(), FileFault> {
        let whole = header.body + (BEFORE + BEHIND) as u64;
        let cut = |had: u64| FileFault::Cut { what: "block", offset: header.offset, needed: whole, had };
        let mut left = whole;
        let had = blocks.need(BEFORE + 8)?;
        let fields = blocks.rest().get(BEFORE..).and_then(|rest| rest.first_chunk()).filter(|_| header.body >= 8);
        if let Some([k0, k1, k2, k3, l0, l1, l2, l3]) = fields {
            let kind = self.order.u32([*k0, *k1, *k2, *k3]);
            let mut length = u64::from(self.order.u32([*l0, *l1, *l2, *l3])).min(header.body - 8);
            blocks.take(BEFORE + 8);
            left -= (BEFORE + 8) as u64;
            while kind == TLS_KEY_LOG && length > 0 {
                let most = usize::try_from(length).map_or(PIECE, |length| length.min(PIECE));
                let now = blocks.need(most)?.min(most);
                if now == 0 {
                    break;
                }
                let taken = blocks.take(now);
                to(Secrets::Piece(blocks.get(taken)));
                length -= now as u64;
                left -= now as u64;
            }
            to(Secrets::End);
        } else if had < BEFORE + 8 && header.body >= 8 {
            return Err(cut(had as u64));
        }
        let had = blocks.skip(left)?;
        if had < left { Err(cut(whole - left + had)) } else { Ok(()) }
    }

    fn describe(&mut self, header: &Header, body: &[u8], interfaces: &mut Interfaces) -> Result<(), FileFault> {
        let Some(([a, b, _, _, s0, s1, s2, s3], options)) = body.split_first_chunk::<8>() else {
            return Err(short(header, "interface description"));
        };
        let link = i32::from(self.order.u16([*a, *b]));
        let (mut name, mut resolution, mut offset) = (None, Resolution::Nanoseconds(1000), 0);
        for (code, value) in (Options { order: self.order, rest: options }) {
            match (code, value) {
                (OPTION_IF_NAME, name_bytes) => name = Some(name_bytes),
                (OPTION_IF_TSRESOL, [value, ..]) => resolution = Resolution::of(*value),
                (OPTION_IF_TSOFFSET, [a, b, c, d, e, f, g, h]) => {
                    let bytes = [*a, *b, *c, *d, *e, *f, *g, *h];
                    offset = match self.order {
                        Order::Little => i64::from_le_bytes(bytes),
                        Order::Big => i64::from_be_bytes(bytes),
                    };
                }
                _ => {}
            }
        }
        let number = if self.described.len() < MAX_INTERFACES { interfaces.number(name, link) } else { None };
        let Some(number) = number else {
            let expected = "more interfaces than can be told apart in one run";
            let value = MAX_INTERFACES as u64 + 1;
            return Err(FileFault::Damaged { what: "number of interfaces", offset: header.offset, value, expected });
        };
        let snap_length = self.order.u32([*s0, *s1, *s2, *s3]);
        self.described.push(Described { number, link, snap_length, resolution, offset });
        Ok(())
    }

    #[inline]
    fn enhanced(&mut self, header: &Header, body: Range<usize>, blocks: &Blocks) -> Result<FrameRange, FileFault> {
        let start = body.start + 20;
        let Some([a, b, c, d, fields @ ..]) = blocks.get(body.clone()).first_chunk::<20>() else {
            return Err(short(header, "enhanced packet"));
        };
        let interface = self.order.u32([*a, *b, *c, *d]);
        self.stamped(header, interface, *fields, start..body.end)
    }

    /// The packet block that enhanced packet blocks replaced.
    fn packet(&mut self, header: &Header, body: Range<usize>, blocks: &Blocks) -> Result<FrameRange, FileFault> {
        let start = body.start + 20;
        let Some([a, b, _, _, fields @ ..]) = blocks.get(body.clone()).first_chunk::<20>() else {
            return Err(short(header, "packet"));
        };
        let interface = u32::from(self.order.u16([*a, *b]));
        self.stamped(header, interface, *fields, start..body.end)
    }

    /// What both kinds have in common: stamp, captured length, original length, and data up to `room.end`.
    #[inline]
    fn stamped(
        &mut self,
        header: &Header,
        index: u32,
        fields: [u8; 16],
        room: Range<usize>,
    ) -> Result<FrameRange, FileFault> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = fields;
        let high = self.order.u32([a, b, c, d]);
        let low = self.order.u32([e, f, g, h]);
        let captured = self.order.u32([i, j, k, l]);
        let original = self.order.u32([m, n, o, p]);
        fits(header, captured, room.len())?;
        let described = self.interface(header, index)?;
        let (link, interface) = (described.link, described.number);
        self.time = described.resolution.time(u64::from(high) << 32 | u64::from(low), described.offset);
        let data = room.start..room.start + captured as usize;
        Ok(FrameRange { time: self.time, link, interface, data, original_len: original.max(captured) })
    }

    /// A packet without stamp or captured length: it is of the first interface, cut at that one's snap length.
    fn simple(&mut self, header: &Header, body: Range<usize>, blocks: &Blocks) -> Result<FrameRange, FileFault> {
        let start = body.start + 4;
        let Some(original) = blocks.get(body.clone()).first_chunk() else {
            return Err(short(header, "simple packet"));
        };
        let original = self.order.u32(*original);
        let interface = self.interface(header, 0)?;
        let limit = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
        let captured = original.min(limit);
        fits(header, captured, body.end - start)?;
        Ok(FrameRange {
            time: self.time,
            link: interface.link,
            interface: interface.number,
            data: start..start + captured as usize,
            original_len: original,
        })
    }

    #[inline]
    fn interface(&self, header: &Header, index: u32) -> Result<&Described, FileFault> {
        self.described.get(index as usize).ok_or_else(|| {
            damaged("interface of the packet", header.offset, index, "which the section does not describe")
        })
    }
}

/// Options: (code, value) pairs, each padded to four bytes. Ends quietly at the first that is not whole: what an
/// interface is called must not cost its packets.
struct Options<'a> {
    order: Order,
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([c0, c1, l0, l1], rest) = self.rest.split_first_chunk::<4>()?;
        let code = self.order.u16([*c0, *c1]);
        let length = usize::from(self.order.u16([*l0, *l1]));
        let value = rest.get(..length)?;
        self.rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        (code != OPTION_END).then_some((code, value))
    }
}

/// Whether a packet's captured length is possible in a block with so much room.
#[inline]
fn fits(header: &Header, captured: u32, room: usize) -> Result<(), FileFault> {
    let expected = match captured as usize {
        length if length > MAX_FRAME => "more than the 1048576 that a frame can have",
        length if length > room => "more than its block holds",
        _ => return Ok(()),
    };
    Err(damaged("captured length of the packet", header.offset, captured, expected))
}

#[cold]
fn damaged(what: &'static str, offset: u64, value: u32, expected: &'static str) -> FileFault {
    FileFault::Damaged { what, offset, value: u64::from(value), expected }
}

#[cold]
fn short(header: &Header, what: &'static str) -> FileFault {
    let value = header.body + (BEFORE + BEHIND) as u64;
    let expected = match what {
        "interface description" => "less than the 20 that an interface description has at least",
        "simple packet" => "less than the 16 that a simple packet has at least",
        _ => "less than the 32 that a packet has at least",
    };
    FileFault::Damaged { what: "length of the block", offset: header.offset, value, expected }
}

const _: () = assert!(MAX_NEED > MAX_FRAME);

#[cfg(test)]
#[path = "pcapng_tests.rs"]
mod tests;
