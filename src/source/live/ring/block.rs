//! A block of the kernel's ring holds frames, one behind the other, each with a header that says where the next is
//! (`linux/if_packet.h`, `TPACKET_V3`).
//!
//! What the headers say is checked against the block before it is used.

use std::mem::{offset_of, size_of};

use zerocopy::FromBytes;

use super::super::frames::{Lent, Span};
use crate::source::live::Direction;

/// `struct tpacket_block_desc`, as far as it is used.
#[derive(FromBytes)]
#[repr(C)]
struct BlockHeader {
    version: u32,
    offset_to_private: u32,
    status: u32,
    frames: u32,
    first: u32,
}

/// `struct tpacket3_hdr`, and behind it `struct sockaddr_ll`, both as far as they are used.
#[derive(FromBytes)]
#[repr(C)]
struct FrameHeader {
    next: u32,
    seconds: u32,
    nanoseconds: u32,
    captured: u32,
    original: u32,
    status: u32,
    start: u16,
    network: u16,
    hash: u32,
    vlan_tag: u32,
    vlan_protocol: u16,
    padding: [u8; 10],
    family: u16,
    protocol: u16,
    interface: u32,
    hardware: u16,
    packet_type: u8,
    address_length: u8,
}

const _: () = assert!(size_of::<libc::tpacket3_hdr>() == offset_of!(FrameHeader, family));

/// A frame lies behind its whole header.
const HEADER: usize = libc::TPACKET3_HDRLEN;
/// Bytes of a VLAN tag. The kernel is asked for so much room before each frame.
pub(super) const TAG: u32 = 4;
/// Protocol of a tag, where the kernel does not tell it.
const VLAN: u16 = 0x8100;
/// A tag is behind the two addresses of Ethernet.
const ADDRESSES: usize = 12;

/// Which frames are wanted, and how much of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) direction: Direction,
    /// What is sent comes again as what is received.
    pub(super) loopback: bool,
    pub(super) snaplen: u32,
    /// Nothing from before that time.
    pub(super) start: i64,
}

impl Wanted {
    const fn has(&self, packet_type: u8) -> bool {
        if packet_type == libc::PACKET_OUTGOING {
            !self.loopback && !matches!(self.direction, Direction::In)
        } else {
            !matches!(self.direction, Direction::Out)
        }
    }
}

/// The way through a block.
pub(super) struct Walk {
    /// Where the next frame's header is.
    at: usize,
    left: u32,
    pub(super) lent: Lent,
}

impl Walk {
    pub(super) fn new(block: &[u8]) -> Self {
        let (at, left) = BlockHeader::read_from_prefix(block)
            .map_or((0, 0), |(header, _)| (usize::try_from(header.first).unwrap_or(usize::MAX), header.frames));
        Self { at, left, lent: Lent::default() }
    }

    /// The next frame that is wanted. Its VLAN tag, which the kernel keeps beside it, is put back where it was on the wire.
    pub(super) fn next(&mut self, block: &mut [u8], wanted: &Wanted) -> Option<Span> {
        while self.left > 0 {
            let Some((header, place)) = self.header(block) else {
                // Where those behind it are cannot be known either.
                self.lent.damaged += u64::from(std::mem::take(&mut self.left));
                return None;
            };
            self.left -= 1;
            self.at = self.at.saturating_add(usize::try_from(header.next).unwrap_or(usize::MAX));
            if !wanted.has(header.packet_type) {
                continue;
            }
            let time = i64::from(header.seconds) * 1_000_000_000 + i64::from(header.nanoseconds);
            if time < wanted.start {
                self.lent.early += 1;
                continue;
            }
            self.lent.frames += 1;
            return Some(span(block, &header, place, time, wanted.snaplen));
        }
        None
    }

    /// The next frame's header, and where its bytes begin. None if any of it cannot be.
    fn header(&self, block: &[u8]) -> Option<(FrameHeader, usize)> {
        let (header, _) = FrameHeader::read_from_prefix(block.get(self.at..)?).ok()?;
        let start = usize::from(header.start);
        let end = start.checked_add(usize::try_from(header.captured).ok()?)?;
        // Frames do not overlap, so that putting a tag into one changes no other.
        let next = usize::try_from(header.next).ok()?;
        let fits = start >= HEADER + TAG as usize && (self.left == 1 || next >= end);
        block.get(self.at..self.at.checked_add(end)?).filter(|_| fits)?;
        Some((header, self.at + start))
    }
}

fn span(block: &mut [u8], header: &FrameHeader, place: usize, time: i64, snaplen: u32) -> Span {
    let mut span = Span { time, start: place, len: header.captured, original_len: header.original };
    let tagged = header.vlan_tag != 0 || header.status & libc::TP_STATUS_VLAN_VALID != 0;
    if tagged && header.captured as usize >= ADDRESSES {
        put_tag(block, header, place);
        span.start -= TAG as usize;
        span.len = span.len.saturating_add(TAG);
        span.original_len = span.original_len.saturating_add(TAG);
    }
    span.len = span.len.min(snaplen);
    span
}

/// Moves the addresses to the front by as much as a tag takes, and puts the tag behind them.
fn put_tag(block: &mut [u8], header: &FrameHeader, place: usize) {
    let known = header.vlan_protocol != 0 || header.status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let protocol = if known { header.vlan_protocol } else { VLAN };
    let [.., high, low] = header.vlan_tag.to_be_bytes();
    let [first, second] = protocol.to_be_bytes();
    if let Some(front) = block.get_mut(place - TAG as usize..place + ADDRESSES) {
        front.copy_within(TAG as usize.., 0);
        if let Some(tag) = front.last_chunk_mut() {
            *tag = [first, second, high, low];
        }
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
