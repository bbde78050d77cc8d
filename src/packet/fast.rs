//! The fast path: Ethernet with at most one tag, IP without options or extension headers, a complete TCP header. For
//! any other frame it returns nothing; for these, exactly what the slow path returns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::captured::Captured;
use super::ip::TCP;
use super::link::{self, IPV4, IPV6};
use super::tcp::Context;
use super::{Endpoint, Segment, TcpFlags};

/// A segment in an Ethernet frame.
#[inline]
pub(super) fn ethernet(context: Context, frame: &[u8]) -> Option<Segment<'_>> {
    let (header, mut rest) = frame.split_first_chunk::<14>()?;
    let mut ether_type = u16::from_be_bytes([header[12], header[13]]);
    if link::is_tag(ether_type) {
        let (tag, behind) = rest.split_first_chunk::<4>()?;
        ether_type = u16::from_be_bytes([tag[2], tag[3]]);
        rest = behind;
    }
    ip(context, ether_type, rest)
}

/// A segment in an IP packet.
#[inline]
pub(super) fn ip(context: Context, ether_type: u16, packet: &[u8]) -> Option<Segment<'_>> {
    match ether_type {
        IPV4 => {
            let (header, rest) = packet.split_first_chunk::<20>()?;
            let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
            // The flag "more fragments", and the offset.
            let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
            if header[0] != 0x45 || header[9] != TCP || fragment != 0 {
                return None;
            }
            let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
            let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
            tcp(context, source.into(), destination.into(), rest, total.checked_sub(20)?)
        }
        IPV6 => {
            let (header, rest) = packet.split_first_chunk::<40>()?;
            let length = u32::from(u16::from_be_bytes([header[4], header[5]]));
            if header[0] >> 4 != 6 || header[6] != TCP || length == 0 {
                return None;
            }
            let source: [u8; 16] = *header[8..].first_chunk()?;
            let destination: [u8; 16] = *header[24..].first_chunk()?;
            tcp(context, Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into(), rest, length)
        }
        _ => None,
    }
}

/// A segment of `length` bytes on the wire. `data` is what was captured of it, perhaps with padding.
#[inline]
fn tcp(context: Context, source: IpAddr, destination: IpAddr, data: &[u8], length: u32) -> Option<Segment<'_>> {
    let Captured { data, missing } = Captured::whole(data).limit(length);
    let header = data.first_chunk::<20>()?;
    let offset = usize::from(header[12] >> 4) * 4;
    if offset < 20 {
        return None;
    }
    Some(Segment {
        time: context.time,
        interface: context.interface,
        realm: context.realm,
        source: Endpoint { ip: source, port: u16::from_be_bytes([header[0], header[1]]) },
        destination: Endpoint { ip: destination, port: u16::from_be_bytes([header[2], header[3]]) },
        seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        flags: TcpFlags(header[13]),
        window: u16::from_be_bytes([header[14], header[15]]),
        payload: data.get(offset..)?,
        missing,
    })
}
