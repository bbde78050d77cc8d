//! A tunnel carries frames or packets inside IP: in UDP (`udp`), in GRE (`gre`), or directly.

use super::captured::Captured;
use super::ip::Packet;
use super::link::{IPV4, IPV6, MPLS};
use super::{NoSegment, gre, udp};

/// What a tunnel carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inner<'a> {
    /// [`super::link::ETHERNET`] for a frame.
    pub(super) ether_type: u16,
    pub(super) bytes: Captured<'a>,
    /// Number of the virtual network plus one, if the tunnel has such numbers.
    pub(super) realm: Option<u32>,
}

impl<'a> Inner<'a> {
    /// Of a tunnel without numbered networks.
    pub(super) fn plain((ether_type, bytes): (u16, Captured<'a>)) -> Self {
        Self { ether_type, bytes, realm: None }
    }
}

/// What a packet of another protocol than TCP carries, or why that is not decoded.
pub(super) fn inner<'a>(packet: &Packet<'a>) -> Result<Inner<'a>, NoSegment> {
    let bytes = packet.payload;
    match packet.protocol {
        4 => Ok(Inner::plain((IPV4, bytes))),
        41 => Ok(Inner::plain((IPV6, bytes))),
        17 => udp::inner(bytes),
        47 => gre::inner(bytes),
        // RFC 4023, section 3.
        137 => Ok(Inner::plain((MPLS, bytes))),
        1 | 58 => Err(NoSegment::Icmp),
        50 => Err(NoSegment::Esp),
        115 => Err(NoSegment::L2tp),
        132 => Err(NoSegment::Sctp),
        _ => Err(NoSegment::OtherProtocol),
    }
}

/// What is behind a tunnel's header of `length` bytes.
pub(super) fn behind(bytes: Captured<'_>, length: usize) -> Result<Captured<'_>, NoSegment> {
    bytes.behind(length).ok_or(short(bytes, NoSegment::BadTunnelHeader))
}

/// The reason when a header is incomplete.
pub(super) fn short(bytes: Captured<'_>, otherwise: NoSegment) -> NoSegment {
    if bytes.missing > 0 { NoSegment::CutHeader } else { otherwise }
}
