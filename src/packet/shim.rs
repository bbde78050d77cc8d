//! Shims stand between a link layer header and the packet: tags, labels, LLC, PPP. None is read by etherparse but the
//! VLAN tag.

use etherparse::SingleVlanHeaderSlice;

use super::captured::Captured;
use super::link::{self, ETHERNET, IPV4, IPV6, MPLS, short};
use super::{NoSegment, ip};

/// The most shims of a frame. Networks use one or two; the bound is against frames made of nothing else.
const MAX_SHIMS: usize = 4;

/// The most labels of an MPLS stack. Segment routing uses ten.
const MAX_LABELS: usize = 16;

const VN_TAG: u16 = 0x8926;
const CISCO_METADATA: u16 = 0x8909;
const PPPOE: u16 = 0x8864;

/// An EtherType below this is a length (IEEE 802.3, clause 3.2.6).
pub(super) const FIRST_TYPE: u16 = 0x0600;

/// Passes over shims, up to an IP packet or an Ethernet frame.
pub(super) fn follow<'a>(mut ether_type: u16, mut bytes: Captured<'a>) -> Result<(u16, Captured<'a>), NoSegment> {
    for _ in 0..=MAX_SHIMS {
        (ether_type, bytes) = match ether_type {
            IPV4 | IPV6 | ETHERNET => return Ok((ether_type, bytes)),
            _ if link::is_tag(ether_type) => vlan(bytes)?,
            // Four bytes of tag, as Cisco and VMware describe it (the proposal that became IEEE 802.1BR).
            VN_TAG => tag(bytes, 4)?,
            CISCO_METADATA => metadata(bytes)?,
            MPLS | 0x8848 => labels(bytes)?,
            PPPOE => pppoe(bytes)?,
            other => return Err(link::not_ip(other)),
        };
    }
    Err(NoSegment::VlanDepth)
}

/// What is behind a field that holds an EtherType, or the length of an LLC frame.
pub(super) fn typed(ether_type: u16, rest: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    if ether_type < FIRST_TYPE { llc(rest.limit(u32::from(ether_type))) } else { Ok((ether_type, rest)) }
}

/// 802.1Q, 802.1ad and the 0x9100 that stacked tags had before it.
fn vlan(bytes: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let tag = SingleVlanHeaderSlice::from_slice(bytes.data).map_err(|_| short(bytes))?;
    typed(tag.ether_type().0, bytes.behind(tag.slice().len()).ok_or(NoSegment::ShortFrame)?)
}

/// A tag of `length` bytes, and the EtherType of what is behind it.
fn tag(bytes: Captured<'_>, length: usize) -> Result<(u16, Captured<'_>), NoSegment> {
    let rest = bytes.behind(length).ok_or(short(bytes))?;
    let ether_type = *rest.data.first_chunk().ok_or(short(rest))?;
    typed(u16::from_be_bytes(ether_type), rest.behind(2).ok_or(NoSegment::ShortFrame)?)
}

/// Cisco metadata (TrustSec's security group tag): version 1, length in words of four bytes, options.
fn metadata(bytes: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let [version, words] = *bytes.data.first_chunk().ok_or(short(bytes))?;
    if version != 1 {
        return Err(NoSegment::OtherEtherType);
    }
    tag(bytes, 2 + 4 * usize::from(words))
}

/// LLC (IEEE 802.2): SNAP with an EtherType (RFC 1042; the second organisation is that of IEEE 802.1H), or IP by its
/// own service access point.
pub(super) fn llc(bytes: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    match *bytes.data {
        [0xaa, 0xaa, 3, 0, 0, 0 | 0xf8, high, low, ..] => {
            Ok((u16::from_be_bytes([high, low]), bytes.behind(8).ok_or(NoSegment::ShortFrame)?))
        }
        [6, 6, 3, ..] => Ok((IPV4, bytes.behind(3).ok_or(NoSegment::ShortFrame)?)),
        [0xaa, 0xaa, 3, ..] if bytes.missing > 0 && bytes.data.len() < 8 => Err(NoSegment::CutHeader),
        _ => Err(NoSegment::Llc),
    }
}

/// A stack of MPLS labels (RFC 3032, section 2.1). What is behind it says no label; it is told by its first bytes, as
/// routers do (RFC 4928, section 2; RFC 4385, section 3).
fn labels(mut bytes: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    for _ in 0..MAX_LABELS {
        let [_, _, bottom, _] = bytes.data.first_chunk().ok_or(short(bytes))?;
        bytes = bytes.behind(4).ok_or(NoSegment::ShortFrame)?;
        if bottom & 1 != 0 {
            return behind_labels(bytes);
        }
    }
    Err(NoSegment::Mpls)
}

/// IP, or the Ethernet of a pseudo-wire, with its control word (RFC 4448, section 4.6) or without.
fn behind_labels(bytes: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let word = bytes.behind(4).filter(|rest| holds_frame(*rest));
    match (bytes.data.first().ok_or(short(bytes))? >> 4, word) {
        (4 | 6, _) if !holds_frame(bytes) || ip::length(bytes).is_some() => link::raw(bytes),
        (0, Some(frame)) => Ok((ETHERNET, frame)),
        _ if holds_frame(bytes) => Ok((ETHERNET, bytes)),
        _ => Err(NoSegment::Mpls),
    }
}

/// Whether an Ethernet frame that may hold IP begins here, by its EtherType.
fn holds_frame(bytes: Captured<'_>) -> bool {
    let ether_type = bytes.data.get(12..).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_be_bytes(*bytes));
    ether_type.is_some_and(|kind| matches!(kind, IPV4 | IPV6 | MPLS | PPPOE) || link::is_tag(kind))
}

/// A session of PPP over Ethernet (RFC 2516, section 4).
pub(super) fn pppoe(bytes: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let [version, code, _, _, high, low] = *bytes.data.first_chunk().ok_or(short(bytes))?;
    if (version, code) != (0x11, 0) {
        return Err(NoSegment::Pppoe);
    }
    let rest = bytes.behind(6).ok_or(NoSegment::ShortFrame)?;
    ppp(rest.limit(u32::from(u16::from_be_bytes([high, low]))))
}

/// PPP: its address and control bytes may be left out, and the first byte of the protocol (RFC 1661, section 6.5).
pub(super) fn ppp(bytes: Captured<'_>) -> Result<(u16, Captured<'_>), NoSegment> {
    let framing = if bytes.data.starts_with(&[0xff, 3]) { 2 } else { 0 };
    let bytes = bytes.behind(framing).ok_or(NoSegment::ShortFrame)?;
    let (protocol, length) = match *bytes.data {
        // The last byte of a protocol is odd, the others are even.
        [low, ..] if low & 1 != 0 => (u16::from(low), 1),
        [high, low, ..] => (u16::from_be_bytes([high, low]), 2),
        _ => return Err(short(bytes)),
    };
    let ether_type = match protocol {
        0x0021 => IPV4,
        0x0057 => IPV6,
        0x0281 | 0x0283 => MPLS,
        _ => return Err(NoSegment::Ppp),
    };
    Ok((ether_type, bytes.behind(length).ok_or(NoSegment::ShortFrame)?))
}
