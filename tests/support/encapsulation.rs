//! An encapsulation is what stands around an IP packet in a frame: link headers, tags and tunnels, from the outside in.

use std::net::{IpAddr, Ipv4Addr};

use super::wire::{Ip, UDP, ip_packet, transport_checksum};

pub const LINK_NULL: i32 = 0;
pub const LINK_ETHERNET: i32 = 1;
pub const LINK_RAW: i32 = 101;
pub const LINK_LOOP: i32 = 108;
pub const LINK_SLL: i32 = 113;
pub const LINK_IPV4: i32 = 228;
pub const LINK_IPV6: i32 = 229;
pub const LINK_SLL2: i32 = 276;

#[derive(Debug, Clone, Copy)]
pub enum Layer {
    Ethernet,
    /// Tag protocol identifier and VLAN number.
    Tag(u16, u16),
    Sll,
    Sll2,
    /// Four bytes of address family, in the byte order of a little-endian machine.
    Null,
    /// The same in network order.
    Loop,
    Vxlan(u32),
    /// Network identifier, with eight bytes of options or without.
    Geneve(u32, bool),
    Gre(Option<u32>),
    /// IP in IP.
    Ipip,
    Mpls(u32),
    Pppoe,
}

/// Link type and layers, outermost first.
#[derive(Debug, Clone)]
pub struct Encapsulation {
    pub link: i32,
    pub layers: Vec<Layer>,
}

impl Default for Encapsulation {
    fn default() -> Self {
        Self::new(LINK_ETHERNET, &[Layer::Ethernet])
    }
}

impl Encapsulation {
    pub fn new(link: i32, layers: &[Layer]) -> Self {
        Self { link, layers: layers.to_vec() }
    }

    /// The frame around an IP packet.
    pub fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let mut kind = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        let mut bytes = packet.to_vec();
        for layer in self.layers.iter().rev() {
            (kind, bytes) = layer.around(kind, &bytes);
        }
        bytes
    }
}

/// EtherType of a whole Ethernet frame (transparent Ethernet bridging).
const BRIDGED: u16 = 0x6558;

impl Layer {
    /// EtherType and bytes of `inner`, of EtherType `kind`, with this layer in front.
    fn around(self, kind: u16, inner: &[u8]) -> (u16, Vec<u8>) {
        let ether = kind.to_be_bytes();
        let family: u32 = if kind == 0x86dd { 30 } else { 2 };
        match self {
            Self::Ethernet => (BRIDGED, join(&[&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], &ether, inner])),
            Self::Tag(tpid, number) => (tpid, join(&[&number.to_be_bytes(), &ether, inner])),
            Self::Sll => (0, join(&[&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], &ether, inner])),
            Self::Sll2 => (0, join(&[&ether, &[0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], inner])),
            Self::Null => (0, join(&[&family.to_le_bytes(), inner])),
            Self::Loop => (0, join(&[&family.to_be_bytes(), inner])),
            Self::Vxlan(vni) => (0x0800, udp(4789, &join(&[&[8, 0, 0, 0], &(vni << 8).to_be_bytes(), inner]))),
            Self::Geneve(vni, options) => {
                let extra: &[u8] = if options { &[1, 2, 3, 1, 9, 9, 9, 9] } else { &[] };
                let head = [(extra.len() / 4) as u8, 0];
                (0x0800, udp(6081, &join(&[&head, &ether, &(vni << 8).to_be_bytes(), extra, inner])))
            }
            Self::Gre(None) => (0x0800, outer(47, &join(&[&[0, 0], &ether, inner]))),
            Self::Gre(Some(key)) => (0x0800, outer(47, &join(&[&[0x20, 0], &ether, &key.to_be_bytes(), inner]))),
            Self::Ipip => (0x0800, outer(if kind == 0x86dd { 41 } else { 4 }, inner)),
            Self::Mpls(label) => (0x8847, join(&[&(label << 12 | 0x1ff).to_be_bytes(), inner])),
            Self::Pppoe => {
                let protocol: u16 = if kind == 0x86dd { 0x57 } else { 0x21 };
                let length = (inner.len() + 2) as u16;
                (0x8864, join(&[&[0x11, 0, 0, 7], &length.to_be_bytes(), &protocol.to_be_bytes(), inner]))
            }
        }
    }
}

const TUNNEL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];

fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip_packet(TUNNEL[0], TUNNEL[1], protocol, &Ip::default(), payload)
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = join(&[
        &50000u16.to_be_bytes(),
        &port.to_be_bytes(),
        &((payload.len() + 8) as u16).to_be_bytes(),
        &[0, 0],
        payload,
    ]);
    let sum = transport_checksum(TUNNEL[0], TUNNEL[1], UDP, &bytes);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    outer(UDP, &bytes)
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
