//! UDP carries tunnels, most known by their port. A datagram that has a tunnel's port by chance is told by its first
//! bytes where they differ from the tunnel's; GTP-U and Teredo are also told by them on any port.

use etherparse::UdpHeaderSlice;

use super::captured::Captured;
use super::link::{self, ETHERNET, IPV4, IPV6, MPLS};
use super::tunnel::{Inner, behind, short};
use super::{NoSegment, gre, ip, quic};

/// UDP ports: VXLAN (RFC 7348), the one that Linux used before, and the one of its extension; Geneve (RFC 8926); GRE (RFC
/// 8086); MPLS (RFC 7510); TZSP, by which access points and routers mirror.
const VXLAN: u16 = 4789;
const VXLAN_LINUX: u16 = 8472;
const VXLAN_GPE: u16 = 4790;
const GENEVE: u16 = 6081;
const GRE: u16 = 4754;
const MPLS_PORT: u16 = 6635;
const TZSP: u16 = 37008;
/// Ports that either side of a tunnel may have: GTP-U, Teredo (RFC 4380), AYIYA.
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const AYIYA: u16 = 5072;
/// Counted but not decoded.
const L2TP: u16 = 1701;

/// Bytes of the headers of VXLAN, Geneve (without its options) and GTP-U.
const HEADER: usize = 8;

/// The most extension headers of GTP-U, and fields of TZSP. Few are in use; the bounds are against packets made of
/// nothing else.
const MAX_GTP_EXTENSIONS: usize = 8;
const MAX_TZSP_FIELDS: usize = 64;

/// What a UDP datagram carries.
pub(super) fn inner(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let header = UdpHeaderSlice::from_slice(bytes.data).map_err(|_| short(bytes, NoSegment::Udp))?;
    let datagram = match header.length() {
        0 => bytes,
        length => bytes.limit(u32::from(length)),
    };
    let rest = datagram.behind(header.slice().len()).ok_or(NoSegment::Udp)?;
    match (header.source_port(), header.destination_port()) {
        (_, VXLAN | VXLAN_LINUX) => vxlan(rest),
        (_, VXLAN_GPE) => vxlan_gpe(rest),
        (_, GENEVE) => geneve(rest),
        // Version 0 without reserved bits.
        (_, GRE) if matches!(*rest.data, [flags, 0, ..] if flags & 0x4f == 0) => gre::inner(rest),
        (_, MPLS_PORT) => Ok(Inner::plain((MPLS, rest))),
        (_, TZSP) => tzsp(rest),
        (L2TP, _) | (_, L2TP) => Err(NoSegment::L2tp),
        (GTP_U, _) | (_, GTP_U) => gtp_u(rest),
        (TEREDO, _) | (_, TEREDO) => teredo(behind_indications(rest)?),
        (AYIYA, _) | (_, AYIYA) => ayiya(rest),
        _ => by_content(rest),
    }
}

/// RFC 7348, section 5. Reserved bits are used by extensions, so they are ignored.
fn vxlan(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [flags, _, _, _, a, b, c, _] = bytes.data.first_chunk::<HEADER>().ok_or(short(bytes, NoSegment::Udp))?;
    if flags & 0x08 == 0 {
        return Err(NoSegment::Udp);
    }
    let bytes = bytes.behind(HEADER).ok_or(NoSegment::Udp)?;
    Ok(Inner { ether_type: ETHERNET, bytes, realm: Some(u32::from_be_bytes([0, *a, *b, *c]) + 1) })
}

/// draft-ietf-nvo3-vxlan-gpe-13, section 3: version 0, flags I (there is a network), P (the next protocol is named) and
/// O (management, no traffic).
fn vxlan_gpe(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [flags, _, _, next, a, b, c, _] = *bytes.data.first_chunk::<HEADER>().ok_or(short(bytes, NoSegment::Udp))?;
    if flags & 0x31 != 0 || flags & 0x0c == 0 {
        return Err(NoSegment::Udp);
    }
    let ether_type = match next {
        _ if flags & 0x04 == 0 => ETHERNET,
        1 => IPV4,
        2 => IPV6,
        3 => ETHERNET,
        5 => MPLS,
        _ => return Err(NoSegment::OtherProtocol),
    };
    let bytes = bytes.behind(HEADER).ok_or(NoSegment::Udp)?;
    Ok(Inner { ether_type, bytes, realm: (flags & 0x08 != 0).then_some(u32::from_be_bytes([0, a, b, c]) + 1) })
}

/// RFC 8926, section 3.4. Options are skipped.
fn geneve(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [first, _, high, low, a, b, c, _] = bytes.data.first_chunk::<HEADER>().ok_or(short(bytes, NoSegment::Udp))?;
    if first >> 6 != 0 {
        return Err(NoSegment::Udp);
    }
    let options = usize::from(first & 0x3f) * 4;
    let bytes = behind(bytes, HEADER + options)?;
    let realm = u32::from_be_bytes([0, *a, *b, *c]) + 1;
    Ok(Inner { ether_type: u16::from_be_bytes([*high, *low]), bytes, realm: Some(realm) })
}

/// TaZmen Sniffer Protocol, as Wireshark reads it: version 1; a packet received or to be sent; the link layer; fields of
/// type, length and value, of which padding (0) and the end (1) have only the type.
fn tzsp(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [1, 0 | 1, high, low] = *bytes.data.first_chunk().ok_or(short(bytes, NoSegment::Udp))? else {
        return Err(NoSegment::Udp);
    };
    let mut rest = bytes.behind(4).ok_or(NoSegment::Udp)?;
    for _ in 0..MAX_TZSP_FIELDS {
        let length = match *rest.data {
            [1, ..] if [high, low] != [0, 1] => return Err(NoSegment::OtherProtocol),
            [1, ..] => return Ok(Inner::plain((ETHERNET, behind(rest, 1)?))),
            [0, ..] => 1,
            [_, length, ..] => 2 + usize::from(length),
            _ => return Err(short(rest, NoSegment::BadTunnelHeader)),
        };
        rest = behind(rest, length)?;
    }
    Err(NoSegment::BadTunnelHeader)
}

/// 3GPP TS 29.281, section 5: version 1, protocol type 1, and a packet (255; other types are signalling). With any of the
/// three last flags there are four more bytes; with the third last, extension headers too.
fn gtp_u(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [flags, kind, high, low, ..] = *bytes.data.first_chunk::<HEADER>().ok_or(short(bytes, NoSegment::GtpU))?;
    if (flags >> 4, kind) != (3, 255) {
        return Err(NoSegment::GtpU);
    }
    let mut rest = behind(bytes, HEADER)?.limit(u32::from(u16::from_be_bytes([high, low])));
    if flags & 0x07 != 0 {
        let [_, _, _, mut next] = *rest.data.first_chunk().ok_or(short(rest, NoSegment::BadTunnelHeader))?;
        rest = behind(rest, 4)?;
        for count in 0.. {
            if flags & 0x04 == 0 || next == 0 {
                break;
            }
            // Its length in words of four bytes comes first, the type of the next header last.
            let words = *rest.data.first().ok_or(short(rest, NoSegment::BadTunnelHeader))?;
            let length = usize::from(words) * 4;
            if words == 0 || count == MAX_GTP_EXTENSIONS {
                return Err(NoSegment::BadTunnelHeader);
            }
            next = *rest.data.get(length - 1).ok_or(short(rest, NoSegment::BadTunnelHeader))?;
            rest = behind(rest, length)?;
        }
    }
    Ok(Inner::plain(link::raw(rest).map_err(|_| short(rest, NoSegment::GtpU))?))
}

/// Passes over what Teredo has in front of a packet from or to a server (RFC 4380, section 5.1.1): authentication, and
/// the origin.
fn behind_indications(mut bytes: Captured<'_>) -> Result<Captured<'_>, NoSegment> {
    if let [0, 1, client, value, ..] = *bytes.data {
        let length = 4 + usize::from(client) + usize::from(value) + 9;
        bytes = bytes.behind(length).ok_or(short(bytes, NoSegment::Udp))?;
    }
    if bytes.data.starts_with(&[0, 0]) {
        bytes = bytes.behind(8).ok_or(short(bytes, NoSegment::Udp))?;
    }
    Ok(bytes)
}

/// An IPv6 packet that fills the datagram, from or to an address of Teredo (RFC 4380, section 4).
fn teredo(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let has_prefix = |at: usize| bytes.data.get(at..).is_some_and(|address| address.starts_with(&[0x20, 1, 0, 0]));
    let is_v6 = bytes.data.first().is_some_and(|first| first >> 4 == 6);
    if is_v6 && (has_prefix(8) || has_prefix(24)) && fills(bytes) {
        return Ok(Inner::plain((IPV6, bytes)));
    }
    Err(NoSegment::Udp)
}

/// draft-massar-v6ops-ayiya-02: the lengths of identity (a power of two) and signature, the operation
/// (1: forward), and the number of the protocol carried.
fn ayiya(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [identity, signature, operation, protocol, ..] =
        *bytes.data.first_chunk::<8>().ok_or(short(bytes, NoSegment::Udp))?;
    let length = 8 + (1_usize << (identity >> 4)) + usize::from(signature >> 4) * 4;
    let packet = bytes.behind(length).ok_or(short(bytes, NoSegment::Udp))?;
    let ether_type = match (operation & 0x0f, protocol) {
        (1, 4) => IPV4,
        (1, 41) => IPV6,
        _ => return Err(NoSegment::Udp),
    };
    if fills(packet) { Ok(Inner::plain((ether_type, packet))) } else { Err(NoSegment::Udp) }
}

/// A tunnel on a port that says nothing. Teredo needs no more than on its own port. GTP-U must fill the datagram, have
/// the unused flag clear, and its packet must fill it: a good header of exactly its length. So of random bytes at most
/// one datagram in 2^48 is taken for it.
fn by_content(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    match *bytes.data {
        [0x30..=0x37, 255, high, low, ..]
            if bytes.wire_len() == HEADER as u64 + u64::from(u16::from_be_bytes([high, low])) =>
        {
            gtp_u(bytes).ok().filter(|inner| fills(inner.bytes)).ok_or(NoSegment::Udp)
        }
        [0x60..=0x6f, ..] => teredo(bytes),
        [0xc0..=0xff, ..] if quic::long(bytes).is_some() => Err(NoSegment::Quic),
        _ => Err(NoSegment::Udp),
    }
}

/// Whether these bytes are a packet with a good header, and no more.
fn fills(bytes: Captured<'_>) -> bool {
    ip::length(bytes) == Some(bytes.wire_len())
}
