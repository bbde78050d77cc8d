//! QUIC is known by its long header (RFC 8999 section 5.1) and one of its versions, and counted: nothing of it is read.
//!
//! Only the first packets of a connection have a long header; those behind them cannot be told from other UDP.

use std::hash::{BuildHasher, RandomState};

use etherparse::UdpHeaderSlice;

use super::PacketCounters;
use super::captured::Captured;
use super::ip::Packet;
use crate::stream::Endpoint;

/// Versions 1 (RFC 9000) and 2 (RFC 9369).
const VERSION_1: [u8; 4] = [0, 0, 0, 1];
const VERSION_2: [u8; 4] = [0x6b, 0x33, 0x43, 0xcf];
/// The longest identifier of a connection in these versions (RFC 9000 section 17.2).
const LONGEST_ID: u8 = 20;
/// The least bytes of a datagram with the first packet of a client, and of a server's that is to be acknowledged (RFC 9000
/// section 14.1).
const LEAST_INITIAL: u64 = 1200;
/// Connections by which is known what was counted already: 32 KiB.
const REMEMBERED: usize = 4096;

/// What a packet with a long header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Long {
    /// It may be the first of its connection.
    Initial,
    Other,
}

/// What a datagram begins with, if it is a packet of QUIC with a long header.
pub(super) fn long(bytes: Captured<'_>) -> Option<Long> {
    let [first, version @ .., length] = *bytes.data.first_chunk::<6>()?;
    // The two highest bits: it is a long header, and a packet of QUIC.
    if first & 0xc0 != 0xc0 || length > LONGEST_ID {
        return None;
    }
    let initial = match version {
        VERSION_1 => 0,
        VERSION_2 => 1,
        _ => return None,
    };
    let other_length = bytes.data.get(6 + usize::from(length))?;
    if *other_length > LONGEST_ID {
        return None;
    }
    let is_initial = first >> 4 & 3 == initial && bytes.wire_len() >= LEAST_INITIAL;
    Some(if is_initial { Long::Initial } else { Long::Other })
}

/// The connections that were counted. One may be counted again when others have taken its place meanwhile.
#[derive(Debug, Default)]
pub(super) struct QuicConnections {
    /// By a hash that whoever sends the packets does not know; empty before the first.
    seen: Vec<u64>,
    hasher: RandomState,
}

impl QuicConnections {
    /// Counts the connection of a UDP packet that carries QUIC with a long header, if it is new.
    pub(super) fn count(&mut self, packet: &Packet<'_>, counts: &mut PacketCounters) {
        let Ok(header) = UdpHeaderSlice::from_slice(packet.payload.data) else { return };
        let Some(Long::Initial) = packet.payload.behind(header.slice().len()).and_then(long) else { return };
        let source = Endpoint { ip: packet.source, port: header.source_port() };
        let destination = Endpoint { ip: packet.destination, port: header.destination_port() };
        // 0 is an empty place.
        let hash = self.hasher.hash_one(Endpoint::pair(source, destination)).max(1);
        self.seen.resize(REMEMBERED, 0);
        let place = usize::try_from(hash % REMEMBERED as u64).unwrap_or(0);
        if let Some(seen) = self.seen.get_mut(place)
            && std::mem::replace(seen, hash) != hash
        {
            counts.quic += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of the client's first packet in RFC 9001, appendix A.2, and in RFC 9369, appendix A.2.
    const INITIALS: [[u8; 18]; 2] = [
        [0xc0, 0, 0, 0, 1, 8, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0, 0, 0x44, 0x9e],
        [0xd3, 0x6b, 0x33, 0x43, 0xcf, 8, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0, 0, 0x44, 0x9e],
    ];

    fn padded(start: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = start.to_vec();
        bytes.resize(length, 7);
        bytes
    }

    fn of(bytes: &[u8]) -> Option<Long> {
        long(Captured::whole(bytes))
    }

    #[test]
    fn first_packets_of_both_versions_are_known() {
        for start in INITIALS {
            assert_eq!(of(&padded(&start, 1200)), Some(Long::Initial));
            assert_eq!(of(&padded(&start, 1199)), Some(Long::Other), "a first packet fills 1,200 bytes");
            // A handshake packet.
            let mut handshake = padded(&start, 1200);
            handshake[0] += 0x20;
            assert_eq!(of(&handshake), Some(Long::Other));
        }
    }

    #[test]
    fn other_datagrams_are_not() {
        let whole = padded(&INITIALS[0], 1200);
        for (at, value) in [(0, 0x40), (0, 0x80), (4, 2), (1, 1), (5, 21), (14, 21)] {
            let mut other = whole.clone();
            other[at] = value;
            assert_eq!(of(&other), None, "{at} {value}");
        }
        for length in 0..14 {
            assert_eq!(of(&whole[..length]), None);
        }
    }

    #[test]
    fn a_connection_counts_once_both_ways() {
        let datagram = |source: u16, destination: u16| {
            let length = 1208_u16.to_be_bytes();
            [&source.to_be_bytes()[..], &destination.to_be_bytes(), &length, &[0, 0], &padded(&INITIALS[0], 1200)]
                .concat()
        };
        let (mut connections, mut counts) = (QuicConnections::default(), PacketCounters::default());
        let mut see = |from: [u8; 4], to: [u8; 4], bytes: &[u8]| {
            let packet = Packet {
                source: from.into(),
                destination: to.into(),
                protocol: 17,
                payload: Captured::whole(bytes),
                fragment: None,
                verifiable: false,
            };
            connections.count(&packet, &mut counts);
            counts.quic
        };
        let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        assert_eq!(see(client, server, &datagram(50_000, 443)), 1);
        assert_eq!(see(client, server, &datagram(50_000, 443)), 1);
        assert_eq!(see(server, client, &datagram(443, 50_000)), 1);
        assert_eq!(see(client, server, &datagram(50_001, 443)), 2);
        assert_eq!(see(client, server, &datagram(50_001, 443)[..40]), 2);
    }
}
