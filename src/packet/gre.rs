//! GRE carries packets and frames, named by their EtherType, and what vendors put into it.

use super::captured::Captured;
use super::link::{self, ETHERNET};
use super::tunnel::{Inner, behind, short};
use super::{NoSegment, ip, shim};

/// What is no EtherType of IEEE: a mirror port's frame (draft-foschiano-erspan-03), a request
/// redirected to a cache (WCCP), and a frame of MikroTik's Ethernet over IP.
const ERSPAN: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;
const WCCP: u16 = 0x883e;
const MIKROTIK: u16 = 0x6400;
const PPP: u16 = 0x880b;

/// RFC 2784 with the key and sequence number of RFC 2890, and NVGRE (RFC 7637), which uses them.
pub(super) fn inner(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [f0, f1, high, low] = *bytes.data.first_chunk().ok_or(short(bytes, NoSegment::BadTunnelHeader))?;
    let (checksum, routing, key, sequence) = (f0 & 0x80 != 0, f0 & 0x40 != 0, f0 & 0x20 != 0, f0 & 0x10 != 0);
    let ether_type = u16::from_be_bytes([high, low]);
    match f1 & 0x07 {
        0 if !routing => {}
        1 => return enhanced(ether_type, bytes, sequence, f1 & 0x80 != 0),
        _ => return Err(NoSegment::BadTunnelHeader),
    }
    let length = 4 * (1 + usize::from(checksum) + usize::from(key) + usize::from(sequence));
    let rest = behind(bytes, length)?;
    match ether_type {
        // Type I has neither a header of its own nor a sequence number.
        ERSPAN if !sequence => Ok(Inner::plain((ETHERNET, rest))),
        ERSPAN => erspan_2(rest),
        ERSPAN_3 => erspan_3(rest),
        WCCP => wccp(rest),
        _ => Ok(Inner::plain((ether_type, rest))),
    }
}

/// RFC 2637, section 4.1: PPTP. Its key is a length and a call. Without a sequence number it carries nothing.
fn enhanced(ether_type: u16, bytes: Captured<'_>, sequence: bool, acknowledged: bool) -> Result<Inner<'_>, NoSegment> {
    match ether_type {
        PPP if sequence => Ok(Inner::plain(shim::ppp(behind(bytes, 4 * (3 + usize::from(acknowledged)))?)?)),
        MIKROTIK => Ok(Inner::plain((ETHERNET, behind(bytes, 8)?))),
        _ => Err(NoSegment::Pptp),
    }
}

/// Version 1 in the first four bits, in a header of eight bytes.
fn erspan_2(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    match bytes.data.first().ok_or(short(bytes, NoSegment::BadTunnelHeader))? >> 4 {
        1 => Ok(Inner::plain((ETHERNET, behind(bytes, 8)?))),
        _ => Err(NoSegment::Erspan),
    }
}

/// Version 2, in a header of twelve bytes, and eight more where its last bit is set. It says whether it carries a frame
/// or a packet.
fn erspan_3(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let header: [u8; 12] = *bytes.data.first_chunk().ok_or(short(bytes, NoSegment::BadTunnelHeader))?;
    let rest = behind(bytes, if header[11] & 1 != 0 { 20 } else { 12 })?;
    match (header[0] >> 4, header[10] >> 2 & 0x1f) {
        (2, 0) => Ok(Inner::plain((ETHERNET, rest))),
        (2, 2) => Ok(Inner::plain(link::raw(rest)?)),
        _ => Err(NoSegment::Erspan),
    }
}

/// Version 2 has four bytes in front of the packet (draft-mclaggan-wccp-v2rev1-00), version 1 has none.
fn wccp(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let packet = if ip::length(bytes).is_some() { bytes } else { behind(bytes, 4)? };
    Ok(Inner::plain(link::raw(packet)?))
}
