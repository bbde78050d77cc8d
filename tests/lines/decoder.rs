//! The decoder against tshark: one capture with every encapsulation, and from both the addresses, sequence number and
//! length of the innermost TCP segment of each frame.

use crate::support;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use picotap::packet::{Decoder, Outcome};
use picotap::source::Captures;

#[path = "../../src/packet/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the unit tests, which use all of it")]
mod frames;

use frames::{Block, Ipv4, Ipv6, Tcp};

const ETHERNET: u32 = 0;
const LINKS: [u16; 16] = [1, 0, 9, 12, 14, 50, 51, 101, 104, 108, 113, 204, 228, 229, 239, 276];

/// Frames of one capture, each on the interface of its link type, a millisecond apart.
#[derive(Default)]
struct Capture {
    blocks: Vec<u8>,
    count: u64,
}

impl Capture {
    fn new() -> Self {
        let mut blocks = Block::section(false);
        for link in LINKS {
            blocks.extend(Block::interface(false, link, 0, &[]));
        }
        Self { blocks, count: 0 }
    }

    fn cut(&mut self, interface: u32, frame: &[u8], kept: usize) {
        let time = 1_700_000_000_000_000 + self.count * 1000;
        self.blocks.extend(Block::enhanced(false, interface, time, &frame[..kept], frame.len()));
        self.count += 1;
    }

    fn ethernet(&mut self, frame: &[u8]) {
        self.cut(ETHERNET, frame, frame.len());
    }

    fn link(&mut self, link: u16, frame: &[u8]) {
        let interface = LINKS.iter().position(|known| *known == link).unwrap();
        self.cut(u32::try_from(interface).unwrap(), frame, frame.len());
    }
}

/// A segment of its own ports and sequence number, so that no two frames of a capture give the same line.
fn tcp(n: u16, six: bool, length: usize) -> Tcp {
    // Payload that no dissector takes for its own.
    let payload: Vec<u8> = (0..length).map(|n| u8::try_from(n % 7).unwrap() + 0xf0).collect();
    let base = if six { Tcp::v6(&payload) } else { Tcp::v4(&payload) };
    let seq = u32::from(n) * 65_537;
    Tcp { source: (base.source.0, 40_000 + n), destination: (base.destination.0, 50_000 + n), seq, ..base }
}

fn outer(protocol: u8, six: bool, payload: &[u8]) -> Vec<u8> {
    if six {
        frames::ethernet(0x86dd, &Ipv6::new(protocol).bytes(payload))
    } else {
        frames::ethernet(0x0800, &Ipv4::new(protocol).bytes(payload))
    }
}

/// The next segment, of so many bytes: IPv6 or IPv4.
type Next<'a> = &'a mut dyn FnMut(bool, usize) -> Tcp;

/// Serial lines and logged packets.
fn link_layers(all: &mut Capture, six: bool, next: Next<'_>) {
    for link in [9, 50, 204] {
        let t = next(six, 9);
        let framed = [&[0xff, 3][..], &frames::ppp(t.ether_type(), &t.packet())].concat();
        all.link(link, &if link == 204 { [&[1][..], &framed].concat() } else { framed });
    }
    let t = next(six, 9);
    all.link(9, &frames::ppp(t.ether_type(), &t.packet()));
    let t = next(six, 9);
    all.link(51, &frames::pppoe(t.ether_type(), &t.packet()));
    for link in [50, 104] {
        let t = next(six, 9);
        all.link(link, &[&[0x0f, 0][..], &t.ether_type().to_be_bytes(), &t.packet()].concat());
    }
    let t = next(six, 9);
    all.link(239, &frames::netfilter_log(false, if six { 10 } else { 2 }, &t.packet()));
}

/// In Ethernet between addresses of a vendor: tshark does not believe others in a pseudo-wire.
fn of_vendor(t: &Tcp) -> Vec<u8> {
    [&[0, 0x1b, 0x21, 0, 0, 2, 0, 0x1b, 0x21, 0, 0, 1], &t.frame()[12..]].concat()
}

/// EtherType and bytes of what stands around a segment.
type Stack = fn(&Tcp) -> (u16, Vec<u8>);

/// Labels, tags and PPPoE.
fn shims(all: &mut Capture, six: bool, next: Next<'_>) {
    let stacks: [Stack; 9] = [
        |t| (0x8847, frames::mpls(&[16], &t.packet())),
        |t| (0x8848, frames::mpls(&[16, 17, 18], &t.packet())),
        |t| (0x8100, frames::tag(7, 0x8847, &frames::mpls(&[16, 99], &t.packet()))),
        |t| (0x8847, frames::mpls(&[16], &[vec![0; 4], of_vendor(t)].concat())),
        |t| (0x8864, frames::pppoe(t.ether_type(), &t.packet())),
        |t| (0x8100, frames::tag(7, 0x8864, &frames::pppoe(t.ether_type(), &t.packet()))),
        |t| (0x8926, frames::vn_tag(t.ether_type(), &t.packet())),
        |t| (0x8909, frames::metadata(t.ether_type(), &t.packet())),
        |t| (0x8100, frames::tag(7, 0x8909, &frames::metadata(t.ether_type(), &t.packet()))),
    ];
    for stack in stacks {
        let (kind, bytes) = stack(&next(six, 9));
        all.ethernet(&frames::ethernet(kind, &bytes));
    }
    let t = next(six, 9);
    all.ethernet(&frames::snap(t.ether_type(), &t.packet()));
}

/// Mirrors and tunnels.
fn tunnels(all: &mut Capture, six: bool, outer_six: bool, next: Next<'_>) {
    let kind = if six { 0x86dd } else { 0x0800 };
    let mut gre = |flags, vendor, fields: &[u8], payload: &[u8]| {
        all.ethernet(&outer(47, outer_six, &frames::gre(flags, vendor, fields, payload)));
    };
    gre(0, 0x88be, b"", &next(six, 5).frame());
    gre(0x10, 0x88be, &[0, 0, 0, 1, 0x10, 1, 0, 5, 0, 0, 0, 0], &next(six, 5).frame());
    gre(0x10, 0x22eb, &[0, 0, 0, 1, 0x20, 1, 0, 5, 0, 0, 0, 9, 0, 0, 0, 0], &next(six, 5).frame());
    gre(
        0x10,
        0x22eb,
        &[&[0, 0, 0, 1, 0x20, 1, 0, 5, 0, 0, 0, 9, 0, 0, 0, 1], &[0; 8][..]].concat(),
        &next(six, 5).frame(),
    );
    gre(0, 0x8847, b"", &frames::mpls(&[77], &next(six, 5).packet()));
    gre(0, 0x883e, &[0, 51, 0, 7], &next(six, 5).packet());
    let mut udp = |source, destination, payload: &[u8]| {
        all.ethernet(&outer(17, outer_six, &frames::udp(source, destination, payload)));
    };
    for (flags, fields) in [(0, &b""[..]), (2, &[0, 1, 0, 0]), (4, &[0, 0, 0, 0x85, 1, 0x10, 1, 0])] {
        udp(2152, 2152, &frames::gtp_u(flags, fields, &next(six, 5).packet()));
    }
    udp(50000, 4754, &frames::gre(0x20, kind, &[0, 0, 0, 1], &next(six, 5).packet()));
    udp(50000, 6635, &frames::mpls(&[77], &next(six, 5).packet()));
    if six {
        udp(5072, 50000, &frames::ayiya(41, &next(six, 5).packet()));
        let address = std::net::Ipv6Addr::new(0x2001, 0, 1, 2, 3, 4, 5, 6);
        for (source, origin) in [(3544, &[0, 0, 1, 2, 3, 4, 5, 6][..]), (3544, &[])] {
            let t = next(six, 5);
            let t = Tcp { source: (address.into(), t.source.1), ..t };
            udp(source, 50000, &[origin, &t.packet()].concat());
        }
    }
    let number = if six { 2 } else { 1 };
    all.ethernet(&outer(17, outer_six, &frames::vxlan_gpe(7, number, &next(six, 5).packet())));
    all.ethernet(&outer(17, outer_six, &frames::vxlan_gpe(7, 3, &next(six, 5).frame())));
    all.ethernet(&outer(17, outer_six, &frames::tzsp(&next(six, 5).frame())));
}

fn capture() -> Capture {
    let mut all = Capture::new();
    let mut number = 0;
    let mut next = |six, length| {
        number += 1;
        tcp(number, six, length)
    };
    for six in [false, true] {
        for length in [0, 1, 1000] {
            all.ethernet(&next(six, length).frame());
        }
        let padded = [next(six, 1).frame(), vec![0; 30]].concat();
        all.ethernet(&padded);
        let t = next(six, 100);
        all.cut(ETHERNET, &t.frame(), t.frame().len() - 60);
        let t = Tcp { options: vec![1; 20], ..next(six, 10) };
        all.ethernet(&t.frame());
        let t = next(six, 3);
        all.ethernet(&frames::ethernet(0x8100, &frames::tag(7, t.ether_type(), &t.packet())));
        let t = next(six, 3);
        let inner = frames::tag(8, t.ether_type(), &t.packet());
        all.ethernet(&frames::ethernet(0x88a8, &frames::tag(7, 0x8100, &inner)));
        let t = next(six, 3);
        let inner = frames::tag(8, t.ether_type(), &t.packet());
        all.ethernet(&frames::ethernet(0x9100, &frames::tag(7, 0x8100, &inner)));
        for link in [12, 14, 101, if six { 229 } else { 228 }] {
            all.link(link, &next(six, 9).packet());
        }
        let family: u32 = if six { 30 } else { 2 };
        all.link(0, &[&family.to_le_bytes()[..], &next(six, 9).packet()].concat());
        all.link(0, &[&family.to_be_bytes()[..], &next(six, 9).packet()].concat());
        all.link(108, &[&family.to_be_bytes()[..], &next(six, 9).packet()].concat());
        let t = next(six, 9);
        let cooked = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &t.ether_type().to_be_bytes(), &t.packet()];
        all.link(113, &cooked.concat());
        let t = next(six, 9);
        let rest = [0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        all.link(276, &[&t.ether_type().to_be_bytes()[..], &rest, &t.packet()].concat());
        link_layers(&mut all, six, &mut next);
        shims(&mut all, six, &mut next);
        for outer_six in [false, true] {
            tunnels(&mut all, six, outer_six, &mut next);
            all.ethernet(&outer(17, outer_six, &frames::vxlan(77, &next(six, 5).frame())));
            all.ethernet(&outer(17, outer_six, &frames::geneve(77, 0x6558, &[], &next(six, 5).frame())));
            let t = next(six, 5);
            let options = [0xff, 0xff, 1, 1, 0, 0, 0, 0];
            all.ethernet(&outer(17, outer_six, &frames::geneve(1, t.ether_type(), &options, &t.packet())));
            let t = next(six, 5);
            all.ethernet(&outer(47, outer_six, &frames::gre(0, t.ether_type(), b"", &t.packet())));
            let t = next(six, 5);
            all.ethernet(&outer(47, outer_six, &frames::gre(0xb0, t.ether_type(), &[0; 12], &t.packet())));
            all.ethernet(&outer(47, outer_six, &frames::gre(0x20, 0x6558, &[0, 0, 9, 0], &next(six, 5).frame())));
            let t = next(six, 5);
            all.ethernet(&outer(if six { 41 } else { 4 }, outer_six, &t.packet()));
            let vxlan = outer(17, outer_six, &frames::vxlan(5, &next(six, 5).frame()));
            all.ethernet(&outer(17, six, &frames::vxlan(6, &vxlan)));
        }
    }
    let t = next(false, 40);
    all.ethernet(&frames::ethernet(0x0800, &Ipv4 { options: vec![1; 8], ..Ipv4::new(6) }.bytes(&t.bytes())));
    let t = next(true, 40);
    let chain = frames::extension(60, &frames::extension(6, &t.bytes()));
    all.ethernet(&outer(0, true, &chain));
    let mut offload = next(false, 3000).frame();
    offload[16..18].fill(0);
    all.ethernet(&offload);
    let t = next(false, 4000);
    for piece in (Ipv4 { id: 41, ..Ipv4::new(6) }).fragments(&t.bytes(), 1480) {
        all.ethernet(&frames::ethernet(0x0800, &piece));
    }
    let t = next(true, 4000);
    let mut pieces = Ipv6::new(6).fragments(&t.bytes(), 1432);
    pieces.rotate_left(1);
    for piece in pieces {
        all.ethernet(&frames::ethernet(0x86dd, &piece));
    }
    // What gives no segment to either.
    all.ethernet(&outer(17, false, &frames::udp(53, 53, b"abc")));
    all.ethernet(&outer(1, false, &[8, 0, 0, 0, 0, 0, 0, 0]));
    all.ethernet(&frames::ethernet(0x0806, &[0; 28]));
    all
}

/// Frame number, addresses and ports, sequence number, payload length on the wire.
fn ours(path: &Path) -> String {
    let mut lines = String::new();
    let mut captures = Captures::open(&[path.to_path_buf()], None);
    let mut decoder = Decoder::new(false);
    let mut number = 0;
    while let Some(frame) = captures.next_frame().unwrap() {
        number += 1;
        let time = frame.time;
        if let Outcome::Segment(s) = decoder.decode(&frame) {
            let length = s.payload.len() + s.missing as usize;
            let (source, destination) = (s.source, s.destination);
            writeln!(
                lines,
                "{number} {time} {} {} {} {} {} {length}",
                source.ip, source.port, destination.ip, destination.port, s.seq
            )
            .unwrap();
        }
    }
    decoder.finish();
    lines
}

/// The same by tshark: of each field its last value, and of the addresses those of the last IP header.
fn theirs(path: &Path) -> String {
    let fields = [
        "frame.number",
        "frame.time_epoch",
        "frame.protocols",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "tcp.srcport",
        "tcp.dstport",
        "tcp.seq_raw",
        "tcp.len",
    ];
    let mut command = Command::new("tshark");
    command.arg("-nr").arg(path).args(["-T", "fields", "-E", "occurrence=l", "-E", "separator=|"]);
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE", "-Y", "tcp.len"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let values: Vec<&str> = line.split('|').collect();
        let last_ip = values[2].split(':').rfind(|protocol| ["ip", "ipv6"].contains(protocol)).unwrap();
        let (source, destination) = if last_ip == "ip" { (values[3], values[4]) } else { (values[5], values[6]) };
        let [source, destination]: [IpAddr; 2] = [source, destination].map(|ip| ip.parse().unwrap());
        let time = values[1].replace('.', "");
        let [number, from, to, seq, length] = [0, 7, 8, 9, 10].map(|n| values[n]);
        writeln!(lines, "{number} {time} {source} {from} {destination} {to} {seq} {length}").unwrap();
    }
    lines
}

#[test]
fn the_innermost_segments_are_those_that_tshark_sees() {
    if !support::tool::has(&["tshark"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("encapsulations.pcapng");
    let capture = capture();
    std::fs::write(&path, &capture.blocks).unwrap();
    let (ours, theirs) = (ours(&path), theirs(&path));
    assert!(ours.lines().count() > 160, "{ours}");
    let ours: Vec<&str> = ours.lines().collect();
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(ours, theirs);
}
