//! Frames for tests, made from the inside out: each function wraps bytes in one header. Depends on nothing, so that
//! tests outside the crate include it too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A TCP segment with a correct checksum for its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Tcp {
    pub fn v4(payload: &[u8]) -> Self {
        let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        Self {
            source: (ip(1), 40000),
            destination: (ip(2), 80),
            seq: 0x0102_0304,
            ack: 0x0a0b_0c0d,
            flags: 0x18,
            options: Vec::new(),
            payload: payload.to_vec(),
        }
    }

    pub fn v6(payload: &[u8]) -> Self {
        let ip = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        Self { source: (ip(1), 40000), destination: (ip(2), 80), ..Self::v4(payload) }
    }

    /// Header and payload. Options are padded to four bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let mut bytes = Vec::new();
        bytes.extend(self.source.1.to_be_bytes());
        bytes.extend(self.destination.1.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.push(u8::try_from((20 + options.len()) / 4 * 16).unwrap());
        bytes.push(self.flags);
        bytes.extend(512_u16.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(&self.payload);
        let mut pseudo = Vec::new();
        for (ip, _) in [self.source, self.destination] {
            match ip {
                IpAddr::V4(ip) => pseudo.extend(ip.octets()),
                IpAddr::V6(ip) => pseudo.extend(ip.octets()),
            }
        }
        pseudo.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        pseudo.extend([0, 0, 0, 6]);
        pseudo.extend(&bytes);
        let sum = checksum(&pseudo);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// In an IP packet without options.
    pub fn packet(&self) -> Vec<u8> {
        match (self.source.0, self.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Ipv4 { source, destination, ..Ipv4::new(6) }.bytes(&self.bytes())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6 { source, destination, next: 6 }.bytes(&self.bytes()),
            _ => panic!("addresses of two families"),
        }
    }

    /// The EtherType of its packet.
    pub fn ether_type(&self) -> u16 {
        if self.source.0.is_ipv4() { 0x0800 } else { 0x86dd }
    }

    /// In an Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        ethernet(self.ether_type(), &self.packet())
    }
}

/// An IPv4 header.
#[derive(Debug, Clone)]
pub struct Ipv4 {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    pub id: u16,
    /// Flags and offset as on the wire.
    pub fragment: u16,
    pub options: Vec<u8>,
}

impl Ipv4 {
    pub fn new(protocol: u8) -> Self {
        let [source, destination] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        Self { source, destination, protocol, id: 7, fragment: 0, options: Vec::new() }
    }

    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        assert_eq!(header % 4, 0);
        let total = u16::try_from(header + payload.len()).unwrap_or(0);
        let mut bytes = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([64, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// A payload in fragments of `size` bytes.
    pub fn fragments(&self, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
        let count = payload.chunks(size).count();
        let one = |(n, chunk): (usize, &[u8])| {
            let more = if n + 1 < count { 0x2000 } else { 0 };
            let fragment = more | u16::try_from(n * size / 8).unwrap();
            Self { fragment, ..self.clone() }.bytes(chunk)
        };
        payload.chunks(size).enumerate().map(one).collect()
    }
}

/// An IPv6 header.
#[derive(Debug, Clone)]
pub struct Ipv6 {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub next: u8,
}

impl Ipv6 {
    pub fn new(next: u8) -> Self {
        let ip = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        Self { source: ip(1), destination: ip(2), next }
    }

    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(u16::try_from(payload.len()).unwrap_or(0).to_be_bytes());
        bytes.extend([self.next, 64]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(payload);
        bytes
    }

    /// A payload that starts with protocol `next`, in fragments of `size` bytes.
    pub fn fragments(&self, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
        let count = payload.chunks(size).count();
        let one = |(n, chunk): (usize, &[u8])| {
            let offset = u16::try_from(n * size).unwrap() | u16::from(n + 1 < count);
            let mut bytes = vec![self.next, 0];
            bytes.extend(offset.to_be_bytes());
            bytes.extend(99_u32.to_be_bytes());
            bytes.extend(chunk);
            Self { next: 44, ..self.clone() }.bytes(&bytes)
        };
        payload.chunks(size).enumerate().map(one).collect()
    }
}

/// An extension header of eight bytes in front of what `next` starts: a PadN option in those that hold options.
pub fn extension(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0], payload].concat()
}

pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&addresses[..], &ether_type.to_be_bytes(), payload].concat()
}

/// What is behind the EtherType of a tag.
pub fn tag(vlan: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&vlan.to_be_bytes()[..], &ether_type.to_be_bytes(), payload].concat()
}

pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

pub fn vxlan(network: u32, frame: &[u8]) -> Vec<u8> {
    udp(50000, 4789, &[&[8, 0, 0, 0], &(network << 8).to_be_bytes()[..], frame].concat())
}

/// With `options` (a multiple of four bytes).
pub fn geneve(network: u32, ether_type: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let first = [u8::try_from(options.len() / 4).unwrap(), 0];
    let header = [&first[..], &ether_type.to_be_bytes(), &(network << 8).to_be_bytes(), options, payload].concat();
    udp(50000, 6081, &header)
}

/// `flags`: the first byte; `fields`: what they announce.
pub fn gre(flags: u8, ether_type: u16, fields: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[flags, 0], &ether_type.to_be_bytes()[..], fields, payload].concat()
}

/// A stack of MPLS labels.
pub fn mpls(labels: &[u32], payload: &[u8]) -> Vec<u8> {
    let last = labels.len() - 1;
    let entry = |(n, label): (usize, &u32)| (label << 12 | u32::from(n == last) << 8 | 64).to_be_bytes();
    [labels.iter().enumerate().flat_map(entry).collect(), payload.to_vec()].concat()
}

/// LLC and SNAP behind the length that an Ethernet header has in the place of its type.
pub fn snap(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let llc = [&[0xaa, 0xaa, 3, 0, 0, 0], &ether_type.to_be_bytes()[..], payload].concat();
    ethernet(u16::try_from(llc.len()).unwrap(), &llc)
}

/// What is behind the EtherType of a VN-Tag.
pub fn vn_tag(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[0x80, 3, 0, 5], &ether_type.to_be_bytes()[..], payload].concat()
}

/// What is behind the EtherType of Cisco metadata.
pub fn metadata(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[1, 1, 0, 1, 0, 5], &ether_type.to_be_bytes()[..], payload].concat()
}

/// A PPP protocol by EtherType, and the payload.
pub fn ppp(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let protocol: u16 = match ether_type {
        0x0800 => 0x0021,
        0x86dd => 0x0057,
        _ => 0x0281,
    };
    [&protocol.to_be_bytes()[..], payload].concat()
}

/// What is behind the EtherType of a PPPoE session.
pub fn pppoe(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let inner = ppp(ether_type, payload);
    [&[0x11, 0, 0, 9], &u16::try_from(inner.len()).unwrap().to_be_bytes()[..], &inner].concat()
}

/// `flags`: the three last bits; `fields`: what they announce.
pub fn gtp_u(flags: u8, fields: &[u8], packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fields.len() + packet.len()).unwrap();
    [&[0x30 | flags, 255], &length.to_be_bytes()[..], &[0, 0, 0, 5], fields, packet].concat()
}

pub fn vxlan_gpe(network: u32, next: u8, payload: &[u8]) -> Vec<u8> {
    udp(50000, 4790, &[&[0x0c, 0, 0, next], &(network << 8).to_be_bytes()[..], payload].concat())
}

/// With time stamp, identity of sixteen bytes and signature of twenty.
pub fn ayiya(protocol: u8, packet: &[u8]) -> Vec<u8> {
    [&[0x41, 0x52, 0x11, protocol], &[7; 40][..], packet].concat()
}

/// With padding, a field and the end in front of the frame.
pub fn tzsp(frame: &[u8]) -> Vec<u8> {
    udp(50000, 37008, &[&[1, 0, 0, 1, 0, 10, 1, 9, 1][..], frame].concat())
}

/// A packet as netfilter logs it, in the byte order of a little-endian machine or a big-endian one.
pub fn netfilter_log(big: bool, family: u8, packet: &[u8]) -> Vec<u8> {
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [&half(length)[..], &half(kind), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    [vec![family, 0, 0, 5], attribute(1, &[8, 0, 1, 0]), attribute(10, b"in\0"), attribute(9, packet)].concat()
}

/// The internet checksum.
pub fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// A pcap file, little-endian with microseconds, of (time in microseconds, frame, original length).
pub fn pcap(link: u32, frames: &[(u64, Vec<u8>, usize)]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(262_144_u32.to_le_bytes());
    file.extend(link.to_le_bytes());
    for (time, data, original) in frames {
        file.extend(u32::try_from(time / 1_000_000).unwrap().to_le_bytes());
        file.extend(u32::try_from(time % 1_000_000).unwrap().to_le_bytes());
        file.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        file.extend(u32::try_from(*original).unwrap().to_le_bytes());
        file.extend(data);
    }
    file
}

/// Blocks of a pcapng file; `big`: the byte order.
pub struct Block;

impl Block {
    pub fn any(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = Self::word(big, u32::try_from(12 + padded).unwrap());
        let mut block = [&Self::word(big, kind)[..], &length, body].concat();
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    }

    pub fn section(big: bool) -> Vec<u8> {
        let version = if big { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
        Self::any(big, 0x0a0d_0d0a, &[&Self::word(big, 0x1a2b_3c4d)[..], &version, &[0xff; 8]].concat())
    }

    pub fn interface(big: bool, link: u16, snap_length: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut body = [&half(link)[..], &[0, 0], &Self::word(big, snap_length)].concat();
        for (code, value) in options {
            body.extend(half(*code));
            body.extend(half(u16::try_from(value.len()).unwrap()));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        Self::any(big, 1, &body)
    }

    /// `original`: at least the length of `data`.
    pub fn enhanced(big: bool, interface: u32, ticks: u64, data: &[u8], original: usize) -> Vec<u8> {
        Self::any(big, 6, &[&Self::word(big, interface)[..], &Self::stamped(big, ticks, data, original)].concat())
    }

    /// The block that enhanced packet blocks replaced.
    pub fn packet(big: bool, interface: u16, ticks: u64, data: &[u8], original: usize) -> Vec<u8> {
        let interface = if big { interface.to_be_bytes() } else { interface.to_le_bytes() };
        Self::any(big, 2, &[&interface[..], &[0, 0], &Self::stamped(big, ticks, data, original)].concat())
    }

    pub fn simple(big: bool, data: &[u8], original: u32) -> Vec<u8> {
        Self::any(big, 3, &[&Self::word(big, original)[..], data].concat())
    }

    fn stamped(big: bool, ticks: u64, data: &[u8], original: usize) -> Vec<u8> {
        let words = [
            u32::try_from(ticks >> 32).unwrap(),
            u32::try_from(ticks & 0xffff_ffff).unwrap(),
            u32::try_from(data.len()).unwrap(),
            u32::try_from(original.max(data.len())).unwrap(),
        ];
        [&words.map(|word| Self::word(big, word)).concat()[..], data].concat()
    }

    fn word(big: bool, value: u32) -> [u8; 4] {
        if big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}
