//! A packet is one TCP segment on its way, with every field that a scene may need to set wrong.

use std::net::{IpAddr, SocketAddr};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Turns one IP packet into several.
pub type Cut = fn(&[u8]) -> Vec<Vec<u8>>;

#[derive(Debug, Clone)]
pub struct Packet {
    /// Nanoseconds since the Unix epoch; set when the scene is stamped.
    pub time: i64,
    /// Nanoseconds that pass before it, beside the step that passes before every packet.
    pub pause: i64,
    /// Which conversation of the scene it belongs to, and where its payload stands in its side's stream.
    pub conversation: usize,
    pub side: Side,
    pub offset: u64,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    /// TCP options, padded to a multiple of four.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    pub ip: Ip,
    /// Turns the IP packet into those that are sent: fragments.
    pub cut: Option<Cut>,
    /// Bytes of the frame that were captured, if the snap length cut it.
    pub snapped: Option<usize>,
    /// A frame of anything else, instead.
    pub raw: Option<Vec<u8>>,
    /// Bytes behind the IP packet (Ethernet padding).
    pub trailer: Vec<u8>,
    /// Does not count when the times of a line are worked out: a copy that must not be believed.
    pub decoy: bool,
}

/// The IP layer of a packet.
#[derive(Debug, Clone)]
pub struct Ip {
    pub ttl: u8,
    pub id: u16,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv6 extension headers in order: their number, and their bytes from the second on (multiple of eight, less one).
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// Total length 0, as segmentation offload leaves it.
    pub zero_length: bool,
    pub bad_ip_checksum: bool,
    pub bad_tcp_checksum: bool,
    pub version: Option<u8>,
}

impl Default for Ip {
    fn default() -> Self {
        Self {
            ttl: 64,
            id: 0,
            options: vec![],
            extensions: vec![],
            zero_length: false,
            bad_ip_checksum: false,
            bad_tcp_checksum: false,
            version: None,
        }
    }
}

impl Packet {
    /// Sequence numbers that it takes up.
    pub const fn span(&self) -> u32 {
        self.payload.len() as u32 + (self.flags & SYN != 0) as u32 + (self.flags & FIN != 0) as u32
    }

    fn tcp(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + self.options.len() + self.payload.len());
        out.extend(self.source.port().to_be_bytes());
        out.extend(self.destination.port().to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.push((((20 + self.options.len()) / 4) << 4) as u8);
        out.push(self.flags);
        out.extend(self.window.to_be_bytes());
        out.extend([0, 0]);
        out.extend(self.urgent.to_be_bytes());
        out.extend(&self.options);
        out.extend(&self.payload);
        let sum = transport_checksum(self.source.ip(), self.destination.ip(), TCP, &out);
        let sum = if self.ip.bad_tcp_checksum { sum ^ 0x5555 } else { sum };
        out[16..18].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// The packet from its IP header on.
    pub fn bytes(&self) -> Vec<u8> {
        ip_packet(self.source.ip(), self.destination.ip(), TCP, &self.ip, &self.tcp())
    }
}

/// Adds up 16-bit words (RFC 1071).
pub fn sum(bytes: &[u8], start: u32) -> u32 {
    let mut total = u64::from(start);
    for pair in bytes.chunks(2) {
        total += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u32
}

/// TCP and UDP checksum with the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1).
pub fn transport_checksum(source: IpAddr, destination: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let mut total = sum(&octets(source), 0);
    total = sum(&octets(destination), total);
    total = sum(&[0, protocol], total);
    total = sum(&(bytes.len() as u32).to_be_bytes(), total);
    !(sum(bytes, total) as u16)
}

pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// An IP packet around `payload`, of the version that the addresses have.
pub fn ip_packet(source: IpAddr, destination: IpAddr, protocol: u8, ip: &Ip, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if source.is_ipv4() {
        let header = 20 + ip.options.len();
        let total = if ip.zero_length { 0 } else { (header + payload.len()) as u16 };
        out.push((ip.version.unwrap_or(4) << 4) | (header / 4) as u8);
        out.push(0);
        out.extend(total.to_be_bytes());
        out.extend(ip.id.to_be_bytes());
        out.extend([0, 0, ip.ttl, protocol, 0, 0]);
        out.extend(octets(source));
        out.extend(octets(destination));
        out.extend(&ip.options);
        let check = !(sum(&out, 0) as u16) ^ if ip.bad_ip_checksum { 0x5555 } else { 0 };
        out[10..12].copy_from_slice(&check.to_be_bytes());
    } else {
        let extensions: usize = ip.extensions.iter().map(|(_, bytes)| bytes.len() + 1).sum();
        let length = if ip.zero_length { 0 } else { (extensions + payload.len()) as u16 };
        out.extend([ip.version.unwrap_or(6) << 4, 0, 0, 0]);
        out.extend(length.to_be_bytes());
        out.push(ip.extensions.first().map_or(protocol, |(number, _)| *number));
        out.push(ip.ttl);
        out.extend(octets(source));
        out.extend(octets(destination));
        for (i, (_, bytes)) in ip.extensions.iter().enumerate() {
            out.push(ip.extensions.get(i + 1).map_or(protocol, |(number, _)| *number));
            out.extend(bytes);
        }
    }
    out.extend(payload);
    out
}

/// Cuts an IP packet into fragments that carry at most `size` bytes (a multiple of eight) each.
pub fn fragments(packet: &[u8], size: usize, id: u32) -> Vec<Vec<u8>> {
    let (header, next) = if packet[0] >> 4 == 4 { (usize::from(packet[0] & 15) * 4, 0) } else { (40, packet[6]) };
    let body = &packet[header..];
    let pieces = body.len().div_ceil(size);
    (0..pieces)
        .map(|i| {
            fragment(
                packet,
                header,
                next,
                id,
                i * size,
                &body[i * size..body.len().min((i + 1) * size)],
                i + 1 < pieces,
            )
        })
        .collect()
}

/// One fragment: `bytes` at `at` of what follows the header.
pub fn fragment(packet: &[u8], header: usize, next: u8, id: u32, at: usize, bytes: &[u8], more: bool) -> Vec<u8> {
    let mut out = packet[..header].to_vec();
    if packet[0] >> 4 == 4 {
        out[2..4].copy_from_slice(&((header + bytes.len()) as u16).to_be_bytes());
        out[4..6].copy_from_slice(&(id as u16).to_be_bytes());
        out[6..8].copy_from_slice(&((at / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes());
        out[10..12].copy_from_slice(&[0, 0]);
        let check = !(sum(&out, 0) as u16);
        out[10..12].copy_from_slice(&check.to_be_bytes());
    } else {
        out[4..6].copy_from_slice(&((bytes.len() + 8) as u16).to_be_bytes());
        out[6] = 44;
        out.extend([next, 0]);
        out.extend((at as u16 | u16::from(more)).to_be_bytes());
        out.extend(id.to_be_bytes());
    }
    out.extend(bytes);
    out
}

impl Ip {
    /// The same with another version in the header.
    pub fn clone_as_version(&self, version: u8) -> Self {
        Self { version: Some(version), ..self.clone() }
    }
}
