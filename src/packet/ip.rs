//! A packet is an IP header with its extension headers read: who sends what protocol to whom.

use std::net::IpAddr;

use etherparse::{IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};

use super::NoSegment;
use super::checksum;
use super::fragment::Piece;
use super::link::{self, IPV4, IPV6};
use super::span::Span;

pub(super) const TCP: u8 = 6;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

/// Extension headers followed in one packet. RFC 8200 knows six orderly ones; the bound is against packets made of them.
const MAX_EXTENSIONS: usize = 8;

/// A packet without its headers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Number of the protocol in `payload`; of a fragment, what its first byte would be.
    pub(super) protocol: u8,
    pub(super) payload: Span<'a>,
    /// Set if the payload is a fragment.
    pub(super) piece: Option<Piece>,
    /// Whether its TCP checksum can be judged: not if the length came from the frame (segmentation offload) or a routing
    /// header hides the final destination.
    pub(super) judged: bool,
}

/// Reads the IP headers behind an EtherType.
pub(super) fn packet(ether_type: u16, span: Span<'_>, verify: bool) -> Result<Packet<'_>, NoSegment> {
    match ether_type {
        IPV4 => v4(span, verify),
        IPV6 => v6(span),
        other => Err(link::not_ip(other)),
    }
}

/// RFC 791, section 3.1.
fn v4(span: Span<'_>, verify: bool) -> Result<Packet<'_>, NoSegment> {
    let header = Ipv4HeaderSlice::from_slice(span.data).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => short(span),
        etherparse::err::ipv4::HeaderSliceError::Content(_) => NoSegment::BadIpHeader,
    })?;
    if verify && !checksum::is_good(checksum::sum(header.slice())) {
        return Err(NoSegment::BadIpChecksum);
    }
    let length = header.slice().len();
    let total = usize::from(header.total_len());
    // Zero is what segmentation offload leaves there: the frame tells the length then.
    let datagram = match total {
        0 => span,
        _ if total < length => return Err(NoSegment::BadIpHeader),
        _ => span.limit(u32::from(header.total_len())),
    };
    let payload = datagram.behind(length).ok_or(NoSegment::BadIpHeader)?;
    let piece = header.is_fragmenting_payload().then(|| Piece {
        id: u32::from(header.identification()),
        offset: u32::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
    });
    let packet = Packet {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.protocol().0,
        payload,
        piece,
        judged: total != 0,
    };
    // Behind a fragment's payload may be anything; the joined datagram is looked at again.
    if piece.is_some() { Ok(packet) } else { extensions(packet) }
}

/// RFC 8200, section 3.
fn v6(span: Span<'_>) -> Result<Packet<'_>, NoSegment> {
    let header = Ipv6HeaderSlice::from_slice(span.data).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => short(span),
        etherparse::err::ipv6::HeaderSliceError::Content(_) => NoSegment::BadIpHeader,
    })?;
    let payload = span.behind(header.slice().len()).ok_or(NoSegment::BadIpHeader)?;
    // Zero is what a jumbogram (RFC 2675) and segmentation offload leave there: the frame tells the length then.
    let payload = match header.payload_length() {
        0 => payload,
        length => payload.limit(u32::from(length)),
    };
    extensions(Packet {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.next_header().0,
        payload,
        piece: None,
        judged: header.payload_length() != 0,
    })
}

/// Follows the extension headers at the start of the payload, up to a fragment or a protocol.
pub(super) fn extensions(mut packet: Packet<'_>) -> Result<Packet<'_>, NoSegment> {
    for _ in 0..=MAX_EXTENSIONS {
        let data = packet.payload.data;
        let length = match packet.protocol {
            AUTHENTICATION => {
                let header = IpAuthHeaderSlice::from_slice(data).map_err(|_| short(packet.payload))?;
                packet.protocol = header.next_header().0;
                header.slice().len()
            }
            // IPv4 has no others.
            _ if packet.source.is_ipv4() => return Ok(packet),
            FRAGMENT => {
                let header = Ipv6FragmentHeaderSlice::from_slice(data).map_err(|_| short(packet.payload))?;
                packet.protocol = header.next_header().0;
                packet.payload = packet.payload.behind(header.slice().len()).ok_or(NoSegment::BadIpHeader)?;
                // One that is not fragmented in fact is whole by itself (RFC 6946).
                if !header.is_fragmenting_payload() {
                    continue;
                }
                packet.piece = Some(Piece {
                    id: header.identification(),
                    offset: u32::from(header.fragment_offset().value()) * 8,
                    more: header.more_fragments(),
                });
                return Ok(packet);
            }
            // Hop-by-hop, routing, destination, mobility, host identity, shim6.
            0 | ROUTING | 60 | 135 | 139 | 140 => {
                let header = Ipv6RawExtHeaderSlice::from_slice(data).map_err(|_| short(packet.payload))?;
                packet.judged &= packet.protocol != ROUTING;
                packet.protocol = header.next_header().0;
                header.slice().len()
            }
            _ => return Ok(packet),
        };
        packet.payload = packet.payload.behind(length).ok_or(NoSegment::BadIpHeader)?;
    }
    Err(NoSegment::ExtensionDepth)
}

/// The reason for an IP header that is not whole.
fn short(span: Span<'_>) -> NoSegment {
    if span.missing > 0 { NoSegment::CutHeader } else { NoSegment::BadIpHeader }
}
