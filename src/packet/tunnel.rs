//! A tunnel carries frames or packets inside IP: VXLAN, Geneve, GRE, IP in IP.

use etherparse::UdpHeaderSlice;

use super::NoSegment;
use super::captured::Captured;
use super::ip::Packet;
use super::link::{ERSPAN, ETHERNET, IPV4, IPV6};

/// UDP ports: VXLAN (RFC 7348), and the one that Linux used before; Geneve (RFC 8926).
const VXLAN: u16 = 4789;
const VXLAN_LINUX: u16 = 8472;
const GENEVE: u16 = 6081;
/// UDP ports of tunnels that are counted but not decoded.
const L2TP: u16 = 1701;
const GTP_U: u16 = 2152;

/// Bytes of a VXLAN header, and of a Geneve header without its options.
const HEADER: usize = 8;

/// What a tunnel carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inner<'a> {
    /// [`ETHERNET`] for a frame.
    pub(super) ether_type: u16,
    pub(super) bytes: Captured<'a>,
    /// Number of the virtual network plus one, if the tunnel has such numbers.
    pub(super) realm: Option<u32>,
}

/// What a packet of another protocol than TCP carries, or why that is not decoded.
pub(super) fn inner<'a>(packet: &Packet<'a>) -> Result<Inner<'a>, NoSegment> {
    let bytes = packet.payload;
    match packet.protocol {
        4 => Ok(Inner { ether_type: IPV4, bytes, realm: None }),
        41 => Ok(Inner { ether_type: IPV6, bytes, realm: None }),
        17 => udp(bytes),
        47 => gre(bytes),
        1 | 58 => Err(NoSegment::Icmp),
        50 => Err(NoSegment::Esp),
        115 => Err(NoSegment::L2tp),
        132 => Err(NoSegment::Sctp),
        137 => Err(NoSegment::Mpls),
        _ => Err(NoSegment::OtherProtocol),
    }
}

/// A UDP datagram. One that has a tunnel's port by chance is recognised by its first bytes where they differ from a
/// tunnel's.
fn udp(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let header = UdpHeaderSlice::from_slice(bytes.data).map_err(|_| short(bytes, NoSegment::Udp))?;
    let datagram = match header.length() {
        0 => bytes,
        length => bytes.limit(u32::from(length)),
    };
    let rest = datagram.behind(header.slice().len()).ok_or(NoSegment::Udp)?;
    match (header.source_port(), header.destination_port()) {
        (_, VXLAN | VXLAN_LINUX) => vxlan(rest),
        (_, GENEVE) => geneve(rest),
        (L2TP, _) | (_, L2TP) => Err(NoSegment::L2tp),
        (GTP_U, _) | (_, GTP_U) => Err(NoSegment::GtpU),
        _ => Err(NoSegment::Udp),
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

/// RFC 8926, section 3.4. Options are skipped.
fn geneve(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [first, _, high, low, a, b, c, _] = bytes.data.first_chunk::<HEADER>().ok_or(short(bytes, NoSegment::Udp))?;
    if first >> 6 != 0 {
        return Err(NoSegment::Udp);
    }
    let options = usize::from(first & 0x3f) * 4;
    let bytes = bytes.behind(HEADER + options).ok_or(short(bytes, NoSegment::BadTunnelHeader))?;
    let realm = u32::from_be_bytes([0, *a, *b, *c]) + 1;
    Ok(Inner { ether_type: u16::from_be_bytes([*high, *low]), bytes, realm: Some(realm) })
}

/// RFC 2784 with the key and sequence number of RFC 2890, and NVGRE (RFC 7637), which uses them.
fn gre(bytes: Captured<'_>) -> Result<Inner<'_>, NoSegment> {
    let [f0, f1, high, low] = *bytes.data.first_chunk::<4>().ok_or(short(bytes, NoSegment::BadTunnelHeader))?;
    let (checksum, routing, key, sequence) = (f0 & 0x80 != 0, f0 & 0x40 != 0, f0 & 0x20 != 0, f0 & 0x10 != 0);
    match f1 & 0x07 {
        0 if !routing => {}
        1 => return Err(NoSegment::Pptp),
        _ => return Err(NoSegment::BadTunnelHeader),
    }
    let length = 4 * (1 + usize::from(checksum) + usize::from(key) + usize::from(sequence));
    let ether_type = u16::from_be_bytes([high, low]);
    if ether_type == ERSPAN || ether_type == 0x22eb {
        return Err(NoSegment::Erspan);
    }
    let bytes = bytes.behind(length).ok_or(short(bytes, NoSegment::BadTunnelHeader))?;
    Ok(Inner { ether_type, bytes, realm: None })
}

/// The reason when a header is incomplete.
fn short(bytes: Captured<'_>, otherwise: NoSegment) -> NoSegment {
    if bytes.missing > 0 { NoSegment::CutHeader } else { otherwise }
}
