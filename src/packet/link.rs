//! The link layer says which protocol a frame carries. For every link type: the EtherType, and the bytes behind the
//! header. Which header a LINKTYPE_ number means: tcpdump.org/linktypes.html.

use etherparse::Ethernet2HeaderSlice;

use super::captured::Captured;
use super::{NoSegment, shim};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ETHERNET: u16 = 0x6558;
pub(super) const MPLS: u16 = 0x8847;

/// The most attributes read of a packet that netfilter logged. Linux writes at most twenty.
const MAX_ATTRIBUTES: usize = 32;

/// LINKTYPE_ number of Ethernet.
pub(super) const LINK_ETHERNET: i32 = 1;

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
        9 => shim::ppp(frame),
        50 => ppp_or_hdlc(frame),
        51 => shim::pppoe(frame),
        104 => hdlc(frame),
        // A byte in front says the direction: in 166 it replaces the address, and the control byte follows.
        166 => shim::ppp(behind(frame, 2)?),
        204 => shim::ppp(behind(frame, 1)?),
        205 => hdlc(behind(frame, 1)?),
        113 => cooked(frame),
        239 => netfilter_log(frame),
        276 => cooked_2(frame),
        _ => Err(NoSegment::UnknownLinkType),
    }
}

/// Ethernet II, or IEEE 802.3 with LLC.
pub(super) fn ethernet(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let header = Ethernet2HeaderSlice::from_slice(frame.data).map_err(|_| short(frame))?;
    let rest = frame.behind(header.slice().len()).ok_or(NoSegment::ShortFrame)?;
    shim::typed(header.ether_type().0, rest)
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
    cooked_protocol(u16::from_be_bytes([*high, *low]), behind(frame, 16)?)
}

/// Linux cooked capture v2: 20 bytes, the protocol at their start.
fn cooked_2(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let [high, low, ..] = frame.data.first_chunk::<20>().ok_or(short(frame))?;
    cooked_protocol(u16::from_be_bytes([*high, *low]), behind(frame, 20)?)
}

/// A small number is one of Linux' own: 4 is LLC.
fn cooked_protocol(protocol: u16, rest: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    match protocol {
        4 => shim::llc(rest),
        ..shim::FIRST_TYPE => Err(NoSegment::Llc),
        ether_type => Ok((ether_type, rest)),
    }
}

/// Cisco's HDLC: address (unicast or broadcast), control, EtherType. RFC 1547 describes it.
fn hdlc(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    match *frame.data.first_chunk().ok_or(short(frame))? {
        [0x0f | 0x8f, _, high, low] => Ok((u16::from_be_bytes([high, low]), behind(frame, 4)?)),
        _ => Err(NoSegment::OtherEtherType),
    }
}

/// A serial line: PPP or Cisco's HDLC, by the address.
fn ppp_or_hdlc(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    if matches!(frame.data.first(), Some(0x0f | 0x8f)) { hdlc(frame) } else { shim::ppp(frame) }
}

/// A packet that Linux' netfilter logged: family, version and group (four bytes), then attributes, one of which is the
/// packet. Their lengths and types are in the byte order of the machine; types are small, so only one order gives one.
fn netfilter_log(frame: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    const PAYLOAD: u16 = 9;
    let mut rest = behind(frame, 4)?;
    for _ in 0..MAX_ATTRIBUTES {
        let [a, b, c, d] = *rest.data.first_chunk().ok_or(short(rest))?;
        let (length, kind) = match (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])) {
            little @ (_, ..0x100) => little,
            (length, kind) => (length.swap_bytes(), kind.swap_bytes()),
        };
        let attribute = rest.limit(u32::from(length));
        if kind == PAYLOAD {
            return raw(behind(attribute, 4)?);
        }
        // Attributes begin at multiples of four bytes.
        rest = behind(rest, usize::from(length.max(4)).next_multiple_of(4))?;
    }
    Err(NoSegment::OtherEtherType)
}

/// What is behind a link layer header of `length` bytes.
fn behind(bytes: Captured<'_>, length: usize) -> Result<Captured<'_>, NoSegment> {
    bytes.behind(length).ok_or(short(bytes))
}

/// The reason when a link layer header is incomplete.
pub(super) fn short(bytes: Captured<'_>) -> NoSegment {
    if bytes.missing > 0 { NoSegment::CutHeader } else { NoSegment::ShortFrame }
}
