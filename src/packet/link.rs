//! The link layer says which protocol a frame carries. For every link type: the EtherType, and the bytes behind the
//! header.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};

use super::NoSegment;
use super::captured::Captured;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ETHERNET: u16 = 0x6558;
pub(super) const ERSPAN: u16 = 0x88be;

/// LINKTYPE_ number of Ethernet.
pub(super) const LINK_ETHERNET: i32 = 1;

/// The most VLAN tags of a frame. Networks use one or two; the bound is against frames made of nothing else.
const MAX_TAGS: usize = 4;

/// An EtherType below this is a length (IEEE 802.3, clause 3.2.6).
const FIRST_TYPE: u16 = 0x0600;

/// What a frame carries, by its LINKTYPE_ number.
pub(super) fn payload(link: i32, frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    match link {
        LINK_ETHERNET => ethernet(frame),
        0 => loopback(frame, false),
        108 => loopback(frame, true),
        // Raw IP: 12 and 14 are what some systems write for 101.
        12 | 14 | 101 => raw(frame),
        228 => Ok((IPV4, frame)),
        229 => Ok((IPV6, frame)),
        113 => cooked(frame),
        276 => cooked_2(frame),
        _ => Err(NoSegment::UnknownLinkType),
    }
}

/// Ethernet II with any tags.
pub(super) fn ethernet(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let header = Ethernet2HeaderSlice::from_slice(frame.data).map_err(|_| short(frame))?;
    let rest = frame.behind(header.slice().len()).ok_or(NoSegment::ShortFrame)?;
    tags(header.ether_type().0, rest)
}

/// Reads VLAN tags: 802.1Q, 802.1ad and the 0x9100 that stacked tags had before it.
fn tags(mut ether_type: u16, mut rest: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let mut count = 0;
    while is_tag(ether_type) {
        if count == MAX_TAGS {
            return Err(NoSegment::VlanDepth);
        }
        let tag = SingleVlanHeaderSlice::from_slice(rest.data).map_err(|_| short(rest))?;
        ether_type = tag.ether_type().0;
        rest = rest.behind(tag.slice().len()).ok_or(NoSegment::ShortFrame)?;
        count += 1;
    }
    if ether_type < FIRST_TYPE { Err(NoSegment::Llc) } else { Ok((ether_type, rest)) }
}

pub(super) const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, 0x8100 | 0x88a8 | 0x9100)
}

/// Why a frame that does not carry IP is skipped.
pub(super) fn not_ip(ether_type: u16) -> NoSegment {
    match ether_type {
        0x0806 => NoSegment::Arp,
        0x8847 | 0x8848 => NoSegment::Mpls,
        0x8863 | 0x8864 => NoSegment::Pppoe,
        0x88e5 => NoSegment::Macsec,
        _ => NoSegment::OtherEtherType,
    }
}

/// BSD loopback: the address family as the capturing machine stores it (NULL) or in network order (LOOP).
fn loopback(frame: Captured<'_>, network_order: bool) -> Result<(u16, Captured<'_>), NoSegment> {
    let family = *frame.data.first_chunk().ok_or(short(frame))?;
    let rest = frame.behind(4).ok_or(NoSegment::ShortFrame)?;
    let big = u32::from_be_bytes(family);
    // Families are small numbers, so only one byte order gives one.
    let family = if network_order || big <= 0xffff { big } else { u32::from_le_bytes(family) };
    match family {
        2 => Ok((IPV4, rest)),
        // Linux; NetBSD and OpenBSD; FreeBSD; macOS.
        10 | 24 | 28 | 30 => Ok((IPV6, rest)),
        _ => Err(NoSegment::OtherEtherType),
    }
}

/// Raw IP, of the version in its first byte.
pub(super) fn raw(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    match frame.data.first().ok_or(short(frame))? >> 4 {
        4 => Ok((IPV4, frame)),
        6 => Ok((IPV6, frame)),
        _ => Err(NoSegment::BadIpHeader),
    }
}

/// Linux cooked capture v1: 16 bytes, the protocol at their end. Not by etherparse, which refuses the hardware type of
/// the loopback interface.
fn cooked(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let [.., high, low] = frame.data.first_chunk::<16>().ok_or(short(frame))?;
    tags(u16::from_be_bytes([*high, *low]), frame.behind(16).ok_or(NoSegment::ShortFrame)?)
}

/// Linux cooked capture v2: 20 bytes, the protocol at their start.
fn cooked_2(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let [high, low, ..] = frame.data.first_chunk::<20>().ok_or(short(frame))?;
    tags(u16::from_be_bytes([*high, *low]), frame.behind(20).ok_or(NoSegment::ShortFrame)?)
}

/// The reason when a link layer header is incomplete.
fn short(bytes: Captured<'_>) -> NoSegment {
    if bytes.missing > 0 { NoSegment::CutHeader } else { NoSegment::ShortFrame }
}
