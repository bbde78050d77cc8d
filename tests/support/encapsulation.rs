//! An encapsulation is what stands around an IP packet in a frame: link headers, tags and tunnels, from the outside in.

use std::net::{IpAddr, Ipv4Addr};

use super::wire::{Ip, Side, UDP, ip_packet, transport_checksum};

pub const LINK_NULL: i32 = 0;
pub const LINK_ETHERNET: i32 = 1;
pub const LINK_PPP: i32 = 9;
pub const LINK_SERIAL: i32 = 50;
pub const LINK_PPPOE: i32 = 51;
pub const LINK_RAW: i32 = 101;
pub const LINK_HDLC: i32 = 104;
pub const LINK_LOOP: i32 = 108;
pub const LINK_SLL: i32 = 113;
pub const LINK_IPV4: i32 = 228;
pub const LINK_IPV6: i32 = 229;
pub const LINK_NETFILTER: i32 = 239;
pub const LINK_SLL2: i32 = 276;

#[derive(Debug, Clone, Copy)]
pub enum Layer {
    Ethernet,
    /// Between addresses of a vendor: tshark does not believe others in a pseudo-wire.
    VendorEthernet,
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
    /// The control word of an Ethernet pseudo-wire.
    ControlWord,
    /// MPLS in IP, and in UDP.
    MplsInIp,
    MplsInUdp,
    Pppoe,
    /// A PPPoE session's header, as a link type.
    PppoeLink,
    /// PPP, with address and control or without.
    Ppp(bool),
    Hdlc,
    NetfilterLog,
    /// LLC and SNAP.
    Snap,
    VnTag,
    Metadata,
    /// Version as the vendor counts.
    Erspan(u8),
    /// A whole GRE header: flags and version, type (0: that of what it carries), and the fields that follow.
    GreWith(u16, u16, &'static [u8]),
    GreInUdp,
    /// Port, and first byte: version and flags.
    GtpU(u16, u8),
    VxlanGpe(u32),
    /// IPv6 in UDP, with an indication of the origin or without.
    Teredo(bool),
    Ayiya,
    Tzsp,
}

/// Link type and layers, outermost first.
#[derive(Debug, Clone)]
pub struct Encapsulation {
    pub link: i32,
    pub layers: Vec<Layer>,
    /// Those around what the server sends, if they are others.
    pub back: Option<Vec<Layer>>,
}

impl Default for Encapsulation {
    fn default() -> Self {
        Self::new(LINK_ETHERNET, &[Layer::Ethernet])
    }
}

impl Encapsulation {
    pub fn new(link: i32, layers: &[Layer]) -> Self {
        Self { link, layers: layers.to_vec(), back: None }
    }

    /// The frame around an IP packet that a side sends.
    pub fn frame(&self, side: Side, packet: &[u8]) -> Vec<u8> {
        let layers = self.back.as_ref().filter(|_| side == Side::Server).unwrap_or(&self.layers);
        let mut kind = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        let mut bytes = packet.to_vec();
        for layer in layers.iter().rev() {
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
            Self::VendorEthernet => {
                (BRIDGED, join(&[&[0, 0x1b, 0x21, 0, 0, 2, 0, 0x1b, 0x21, 0, 0, 1], &ether, inner]))
            }
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
            Self::Mpls(label) => {
                let bottom = if kind == 0x8847 { 0 } else { 0x100 };
                (0x8847, join(&[&(label << 12 | bottom | 0xff).to_be_bytes(), inner]))
            }
            Self::ControlWord => (0, join(&[&[0; 4], inner])),
            Self::MplsInIp => (0x0800, outer(137, inner)),
            Self::MplsInUdp => (0x0800, udp(6635, inner)),
            Self::Pppoe | Self::PppoeLink => {
                let length = (inner.len() + 2) as u16;
                (0x8864, join(&[&[0x11, 0, 0, 7], &length.to_be_bytes(), &ppp(kind), inner]))
            }
            Self::Ppp(framed) => (0, join(&[if framed { &[0xff, 3] } else { &[] }, &ppp(kind), inner])),
            Self::Hdlc => (0, join(&[&[0x0f, 0], &ether, inner])),
            Self::NetfilterLog => {
                // Family, version, group; attributes: kind and hook, interface, packet.
                let head = [if kind == 0x86dd { 10 } else { 2 }, 0, 0, 1, 8, 0, 1, 0];
                let interface = [1, 0, 8, 0, 5, 0, 0, 0, 0, 2];
                let length = (inner.len() + 4) as u16;
                (0, join(&[&head, &ether, &interface, &length.to_le_bytes(), &[9, 0], inner]))
            }
            Self::Snap => {
                let llc = join(&[&[0xaa, 0xaa, 3, 0, 0, 0], &ether, inner]);
                (llc.len() as u16, llc)
            }
            Self::VnTag => (0x8926, join(&[&[0, 1, 0, 2], &ether, inner])),
            Self::Metadata => (0x8909, join(&[&[1, 1, 0, 1, 0, 5], &ether, inner])),
            Self::Erspan(version) => {
                let (flags, kind, header): (_, u16, &[u8]) = match version {
                    1 => (0, 0x88be, &[]),
                    2 => (0x10, 0x88be, &[0, 0, 0, 1, 0x10, 1, 0, 5, 0, 0, 0, 0]),
                    _ => (0x10, 0x22eb, &[0, 0, 0, 1, 0x20, 1, 0, 5, 0, 0, 0, 9, 0, 0, 0, 0]),
                };
                (0x0800, outer(47, &join(&[&[flags, 0], &kind.to_be_bytes(), header, inner])))
            }
            Self::GreWith(flags, fixed, fields) => {
                let kind = if fixed == 0 { kind } else { fixed };
                (0x0800, outer(47, &join(&[&flags.to_be_bytes(), &kind.to_be_bytes(), fields, inner])))
            }
            Self::GreInUdp => (0x0800, udp(4754, &join(&[&[0, 0], &ether, inner]))),
            Self::GtpU(port, first) => {
                let fields: &[u8] = match first & 7 {
                    0 => &[],
                    1..=3 => &[0, 1, 0, 0],
                    // A container of a PDU session.
                    _ => &[0, 1, 0, 0x85, 1, 0, 9, 0],
                };
                let length = (fields.len() + inner.len()) as u16;
                (0x0800, udp(port, &join(&[&[first, 255], &length.to_be_bytes(), &[0, 0, 0, 7], fields, inner])))
            }
            Self::VxlanGpe(vni) => {
                let next = match kind {
                    0x0800 => 1,
                    0x86dd => 2,
                    _ => 3,
                };
                (0x0800, udp(4790, &join(&[&[0x0c, 0, 0, next], &(vni << 8).to_be_bytes(), inner])))
            }
            Self::Teredo(origin) => {
                let indication: &[u8] = if origin { &[0, 0, 0x60, 0x2f, 0x34, 0xff, 0x8e, 0xf8] } else { &[] };
                (0x0800, udp(3544, &join(&[indication, inner])))
            }
            Self::Ayiya => (0x0800, udp(5072, &join(&[&[0x41, 0x52, 0x11, 41], &[7; 40], inner]))),
            Self::Tzsp => (0x0800, udp(37008, &join(&[&[1, 0, 0, 1, 10, 1, 9, 1], inner]))),
        }
    }
}

fn ppp(kind: u16) -> [u8; 2] {
    if kind == 0x86dd { [0, 0x57] } else { [0, 0x21] }
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
