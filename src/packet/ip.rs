//! A packet is what the IP header and its extension headers say: addresses, protocol, payload.

use std::net::IpAddr;

use etherparse::{IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};

use super::NoSegment;
use super::captured::Captured;
use super::checksum;
use super::fragment::FragmentHeader;
use super::link::{self, IPV4, IPV6};

pub(super) const TCP: u8 = 6;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

/// The most extension headers of a packet. RFC 8200 has six; the bound is against packets made of nothing else.
const MAX_EXTENSIONS: usize = 8;

/// A packet without its headers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Number of the protocol in `payload`; of a fragment, the datagram's.
    pub(super) protocol: u8,
    pub(super) payload: Captured<'a>,
    /// Set if the payload is a fragment.
    pub(super) fragment: Option<FragmentHeader>,
    /// Whether its TCP checksum can be verified: not if the length was taken from the frame (segmentation offload), or
    /// if a routing header hides the final destination.
    pub(super) verifiable: bool,
}

/// Reads the IP headers behind an EtherType.
pub(super) fn packet(ether_type: u16, bytes: Captured<'_>, verify: bool) -> Result<Packet<'_>, NoSegment> {
    match ether_type {
        IPV4 => v4(bytes, verify),
        IPV6 => v6(bytes),
        other => Err(link::not_ip(other)),
    }
}

/// The length of the packet that these bytes start with, if its header is a good one: the version and the lengths agree
/// with the bytes; an IPv4 header's checksum is right; what follows an IPv6 header is known. For bytes of which nothing
/// says that they are a packet.
#[cold]
pub(super) fn length(bytes: Captured<'_>) -> Option<u64> {
    let length = match bytes.data.first()? >> 4 {
        4 => {
            let header = Ipv4HeaderSlice::from_slice(bytes.data).ok()?;
            let good = usize::from(header.total_len()) >= header.slice().len();
            (good && checksum::is_good(checksum::sum(header.slice()))).then_some(u64::from(header.total_len()))?
        }
        6 => {
            let header = Ipv6HeaderSlice::from_slice(bytes.data).ok()?;
            let known = matches!(
                header.next_header().0,
                0 | 4 | TCP | 17 | 41 | ROUTING | FRAGMENT | 47 | 50 | AUTHENTICATION | 58..=60 | 132
            );
            known.then_some(u64::from(header.payload_length()) + 40)?
        }
        _ => return None,
    };
    (length <= bytes.wire_len()).then_some(length)
}

/// RFC 791, section 3.1.
fn v4(bytes: Captured<'_>, verify: bool) -> Result<Packet<'_>, NoSegment> {
    let header = Ipv4HeaderSlice::from_slice(bytes.data).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => short(bytes),
        etherparse::err::ipv4::HeaderSliceError::Content(_) => NoSegment::BadIpHeader,
    })?;
    if verify && !checksum::is_good(checksum::sum(header.slice())) {
        return Err(NoSegment::BadIpChecksum);
    }
    let length = header.slice().len();
    let total = usize::from(header.total_len());
    // Zero is what segmentation offload leaves there; the length is then the frame's.
    let datagram = match total {
        0 => bytes,
        _ if total < length => return Err(NoSegment::BadIpHeader),
        _ => bytes.limit(u32::from(header.total_len())),
    };
    let payload = datagram.behind(length).ok_or(NoSegment::BadIpHeader)?;
    let fragment = header.is_fragmenting_payload().then(|| FragmentHeader {
        id: u32::from(header.identification()),
        offset: u32::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
    });
    let packet = Packet {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.protocol().0,
        payload,
        fragment,
        verifiable: total != 0,
    };
    // The payload of a fragment may begin anywhere in the datagram: extension headers are read once it is whole.
    if fragment.is_some() { Ok(packet) } else { extensions(packet) }
}

/// RFC 8200, section 3.
fn v6(bytes: Captured<'_>) -> Result<Packet<'_>, NoSegment> {
    let header = Ipv6HeaderSlice::from_slice(bytes.data).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => short(bytes),
        etherparse::err::ipv6::HeaderSliceError::Content(_) => NoSegment::BadIpHeader,
    })?;
    let payload = bytes.behind(header.slice().len()).ok_or(NoSegment::BadIpHeader)?;
    // Zero is what a jumbogram (RFC 2675) and segmentation offload leave there; the length is then the frame's.
    let payload = match header.payload_length() {
        0 => payload,
        length => payload.limit(u32::from(length)),
    };
    extensions(Packet {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.next_header().0,
        payload,
        fragment: None,
        verifiable: header.payload_length() != 0,
    })
}

/// Reads the extension headers at the start of the payload, up to a fragment or a protocol.
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
                // A header without fragmentation: the datagram is whole (RFC 6946).
                if !header.is_fragmenting_payload() {
                    continue;
                }
                packet.fragment = Some(FragmentHeader {
                    id: header.identification(),
                    offset: u32::from(header.fragment_offset().value()) * 8,
                    more: header.more_fragments(),
                });
                return Ok(packet);
            }
            // Hop-by-hop, routing, destination, mobility, host identity, shim6.
            0 | ROUTING | 60 | 135 | 139 | 140 => {
                let header = Ipv6RawExtHeaderSlice::from_slice(data).map_err(|_| short(packet.payload))?;
                packet.verifiable &= packet.protocol != ROUTING;
                packet.protocol = header.next_header().0;
                header.slice().len()
            }
            _ => return Ok(packet),
        };
        packet.payload = packet.payload.behind(length).ok_or(NoSegment::BadIpHeader)?;
    }
    Err(NoSegment::ExtensionDepth)
}

/// The reason when an IP header is incomplete.
fn short(bytes: Captured<'_>) -> NoSegment {
    if bytes.missing > 0 { NoSegment::CutHeader } else { NoSegment::BadIpHeader }
}
