//! Tests of shims, mirrors and tunnels: what is read, and what only looks like it.

use super::tests::{ETHER, assert_gives, frame, skipped};
use super::*;
use crate::packet::frames::{self, Ipv4, Ipv6, Tcp};

const RAW: i32 = 101;

fn both() -> [Tcp; 2] {
    [Tcp::v4(b"x"), Tcp::v6(b"x")]
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    Ipv4::new(17).bytes(&frames::udp(source, destination, payload))
}

fn gre(flags: u8, ether_type: u16, fields: &[u8], payload: &[u8]) -> Vec<u8> {
    Ipv4::new(47).bytes(&frames::gre(flags, ether_type, fields, payload))
}

/// The segment from any of these frames; nothing is taken of a frame that ends too early, whoever cut it.
fn opened(link: i32, data: &[u8], tcp: &Tcp) {
    assert_gives(link, data, tcp, 0);
    let header = data.len() - tcp.payload.len();
    for kept in 0..header {
        let data = &data[..kept];
        let cut = Frame { original_len: 2000, ..frame(link, data) };
        for whole in [frame(link, data), cut] {
            let mut decoder = Decoder::new(false);
            assert!(matches!(decoder.decode(&whole), Outcome::Skipped(_)), "{kept}");
        }
    }
}

#[test]
fn serial_lines_are_read() {
    for tcp in both() {
        let (kind, packet) = (tcp.ether_type(), tcp.packet());
        let ppp = frames::ppp(kind, &packet);
        let framed = [&[0xff, 3][..], &ppp].concat();
        let hdlc = [&[0x0f, 0][..], &kind.to_be_bytes(), &packet].concat();
        for (link, data) in [
            (9, ppp.clone()),
            (9, framed.clone()),
            (9, ppp[1..].to_vec()),
            (50, framed.clone()),
            (50, hdlc.clone()),
            (51, frames::pppoe(kind, &packet)),
            (104, hdlc.clone()),
            (166, [&[1, 3][..], &ppp].concat()),
            (204, [&[0][..], &framed].concat()),
            (205, [&[1][..], &hdlc].concat()),
            (9, frames::ppp(0x8847, &frames::mpls(&[3, 4], &packet))),
        ] {
            opened(link, &data, &tcp);
        }
    }
    assert_eq!(skipped(9, &[0xff, 3, 0xc0, 0x21, 1, 1, 0, 4]), NoSegment::Ppp);
    assert_eq!(skipped(104, &[0x0e, 0, 8, 0, 0x45]), NoSegment::OtherEtherType);
}

#[test]
fn logged_packets_are_read_in_either_byte_order() {
    for (tcp, family) in both().into_iter().zip([2, 10]) {
        for big in [false, true] {
            assert_gives(239, &frames::netfilter_log(big, family, &tcp.packet()), &tcp, 0);
        }
    }
    // Attributes without a packet, and more of them than are read, one of length 0.
    assert_eq!(skipped(239, &[2, 0, 0, 5, 4, 0, 3, 0]), NoSegment::ShortFrame);
    assert_eq!(skipped(239, &[0; 1000]), NoSegment::OtherEtherType);
}

#[test]
fn labels_are_passed_over() {
    for tcp in both() {
        let (kind, packet, inner) = (tcp.ether_type(), tcp.packet(), tcp.frame());
        let word = [&[0, 0, 0, 7][..], &inner].concat();
        for labels in [&[16][..], &[16, 17, 18], &[0], &[9; 16]] {
            for carried in [&packet, &inner, &word] {
                let data = frames::mpls(labels, carried);
                assert_gives(ETHER, &frames::ethernet(0x8847, &data), &tcp, 0);
                assert_gives(ETHER, &frames::ethernet(0x8848, &data), &tcp, 0);
                assert_gives(ETHER, &frames::ethernet(0x8100, &frames::tag(5, 0x8847, &data)), &tcp, 0);
                assert_gives(RAW, &gre(0, 0x8847, b"", &data), &tcp, 0);
                assert_gives(RAW, &Ipv4::new(137).bytes(&data), &tcp, 0);
                assert_gives(RAW, &udp(50000, 6635, &data), &tcp, 0);
            }
        }
        // Padding behind a short packet.
        let padded = [frames::ethernet(0x8847, &frames::mpls(&[16], &packet)), vec![0; 20]].concat();
        assert_gives(ETHER, &padded, &tcp, 0);
        // A frame to an address whose first byte is that of an IP packet, or of a control word.
        for first in [0x45, 0x60, 0x00] {
            let mut inner = inner.clone();
            inner[0] = first;
            assert_gives(ETHER, &frames::ethernet(0x8847, &frames::mpls(&[16], &inner)), &tcp, 0);
        }
        // A sender whose address reads like an EtherType.
        if kind == 0x0800 {
            let source = std::net::Ipv4Addr::new(8, 0, 1, 1);
            let tcp = Tcp { source: (source.into(), 40000), ..tcp };
            assert_gives(ETHER, &frames::ethernet(0x8847, &frames::mpls(&[16], &tcp.packet())), &tcp, 0);
        }
    }
    let packet = Tcp::v4(b"x").packet();
    let mpls =
        |labels: &[u32], payload: &[u8]| skipped(ETHER, &frames::ethernet(0x8847, &frames::mpls(labels, payload)));
    assert_eq!(mpls(&[9; 17], &packet), NoSegment::Mpls);
    assert_eq!(mpls(&[16], &[0x10; 40]), NoSegment::Mpls);
    assert_eq!(mpls(&[16], &[]), NoSegment::ShortFrame);
}

#[test]
fn shims_are_followed_up_to_four() {
    for tcp in both() {
        let (kind, packet) = (tcp.ether_type(), tcp.packet());
        assert_gives(ETHER, &frames::snap(kind, &packet), &tcp, 0);
        opened(ETHER, &frames::ethernet(0x8926, &frames::vn_tag(kind, &packet)), &tcp);
        opened(ETHER, &frames::ethernet(0x8909, &frames::metadata(kind, &packet)), &tcp);
        opened(ETHER, &frames::ethernet(0x8864, &frames::pppoe(kind, &packet)), &tcp);
        let inner = frames::metadata(0x8926, &frames::vn_tag(0x8100, &frames::tag(4, kind, &packet)));
        let inner = frames::ethernet(0x8100, &frames::tag(4, 0x8909, &inner));
        assert_gives(ETHER, &inner, &tcp, 0);
        let llc = frames::snap(kind, &packet)[14..].to_vec();
        let length = u16::try_from(llc.len()).unwrap();
        opened(ETHER, &frames::ethernet(0x8100, &frames::tag(4, length, &llc)), &tcp);
        assert_gives(113, &[&[0; 14][..], &[0, 4], &llc].concat(), &tcp, 0);
        let fifth =
            frames::metadata(0x8909, &frames::metadata(0x8926, &frames::vn_tag(0x8864, &frames::pppoe(kind, &packet))));
        let fifth = frames::ethernet(0x8100, &frames::tag(4, 0x8909, &fifth));
        assert_eq!(skipped(ETHER, &fifth), NoSegment::VlanDepth);
    }
    let tcp = Tcp::v4(b"x");
    let llc = [&[6, 6, 3][..], &tcp.packet()].concat();
    assert_gives(ETHER, &frames::ethernet(u16::try_from(llc.len()).unwrap(), &llc), &tcp, 0);
    // Spanning tree; SNAP of an organisation that has types of its own.
    assert_eq!(skipped(ETHER, &frames::ethernet(38, &[0x42; 46])), NoSegment::Llc);
    assert_eq!(
        skipped(ETHER, &frames::ethernet(46, &[&[0xaa, 0xaa, 3, 0, 0, 0x0c][..], &[8; 40]].concat())),
        NoSegment::Llc
    );
    assert_eq!(skipped(ETHER, &frames::ethernet(0x8909, &[2; 46])), NoSegment::OtherEtherType);
    assert_eq!(skipped(ETHER, &frames::ethernet(0x8864, &[0x11, 9, 0, 0, 0, 4, 0, 0x21])), NoSegment::Pppoe);
    assert_eq!(skipped(113, &[&[0; 14][..], &[0, 1], &llc].concat()), NoSegment::Llc);
}

#[test]
fn a_length_in_front_of_llc_trims_padding() {
    let tcp = Tcp::v4(b"");
    let mut data = frames::snap(0x0800, &tcp.packet());
    data.extend([0xff; 9]);
    // Segmentation offload leaves the length 0: then only that of LLC says where the packet ends.
    data[14 + 8 + 2..14 + 8 + 4].fill(0);
    let mut decoder = Decoder::new(false);
    let Outcome::Segment(segment) = decoder.decode(&frame(ETHER, &data)) else { panic!() };
    assert_eq!((segment.payload, segment.missing), (&b""[..], 0));
}

#[test]
fn mirrored_frames_are_read() {
    for tcp in both() {
        let inner = tcp.frame();
        opened(RAW, &gre(0, 0x88be, b"", &inner), &tcp);
        opened(RAW, &gre(0x10, 0x88be, &[0, 0, 0, 1, 0x10, 1, 0, 5, 0, 0, 0, 0], &inner), &tcp);
        let third = |frame_type: u8, last: u8| [0, 0, 0, 1, 0x20, 1, 0, 5, 0, 0, 0, 9, 0, 0, frame_type << 2, last];
        opened(RAW, &gre(0x10, 0x22eb, &third(0, 0), &inner), &tcp);
        opened(RAW, &gre(0x10, 0x22eb, &[&third(0, 1)[..], &[0; 8]].concat(), &inner), &tcp);
        opened(RAW, &gre(0x10, 0x22eb, &third(2, 0), &tcp.packet()), &tcp);
        assert_eq!(skipped(RAW, &gre(0x10, 0x22eb, &third(3, 0), &inner)), NoSegment::Erspan);
        opened(RAW, &Ipv4::new(17).bytes(&frames::tzsp(&inner)), &tcp);
    }
    let second = [0, 0, 0, 1, 0x20, 1, 0, 5, 0, 0, 0, 0];
    assert_eq!(skipped(RAW, &gre(0x10, 0x88be, &second, &[0; 40])), NoSegment::Erspan);
    let tzsp = |start: &[u8]| skipped(RAW, &udp(50000, 37008, &[start, &[0; 80]].concat()));
    assert_eq!(tzsp(&[1, 0, 0, 0x12, 1]), NoSegment::OtherProtocol);
    assert_eq!(tzsp(&[1, 4, 0, 1, 1]), NoSegment::Udp);
    assert_eq!(tzsp(&[2, 0, 0, 1, 1]), NoSegment::Udp);
    assert_eq!(tzsp(&[1, 0, 0, 1]), NoSegment::BadTunnelHeader);
    assert_eq!(tzsp(&[1, 0, 0, 1, 10, 200]), NoSegment::BadTunnelHeader);
}

#[test]
fn what_vendors_put_into_gre_is_read() {
    for tcp in both() {
        let (kind, packet, inner) = (tcp.ether_type(), tcp.packet(), tcp.frame());
        opened(RAW, &gre(0, 0x883e, b"", &packet), &tcp);
        opened(RAW, &gre(0, 0x883e, &[0, 51, 0, 7], &packet), &tcp);
        assert_gives(RAW, &gre(0x20, 0x6558, &[0, 0x12, 0x34, 0], &inner), &tcp, 0);
        let eoip = [&[0x20, 1, 0x64, 0, 0, 60, 7, 0][..], &inner].concat();
        opened(RAW, &Ipv4::new(47).bytes(&eoip), &tcp);
        let ppp = frames::ppp(kind, &packet);
        let pptp = [&[0x30, 0x81, 0x88, 0x0b, 0, 60, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1][..], &ppp].concat();
        opened(RAW, &Ipv4::new(47).bytes(&pptp), &tcp);
        let in_udp = frames::gre(0x20, kind, &[0, 0, 0, 1], &packet);
        opened(RAW, &udp(50000, 4754, &in_udp), &tcp);
    }
    assert_eq!(skipped(RAW, &Ipv4::new(47).bytes(&[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 1])), NoSegment::Pptp);
    assert_eq!(skipped(RAW, &udp(50000, 4754, &[0x04; 60])), NoSegment::Udp);
}

#[test]
fn mobile_networks_are_read() {
    for tcp in both() {
        let packet = tcp.packet();
        let extended = [0, 0, 0, 0x85, 1, 0x10, 1, 0x40, 2, 0, 0, 0, 0, 0, 0, 0];
        for (flags, fields) in
            [(0, &b""[..]), (2, &[0, 1, 0, 0]), (1, &[0, 0, 9, 0x85]), (4, &extended), (7, &extended)]
        {
            let data = frames::gtp_u(flags, fields, &packet);
            for (source, destination) in [(2152, 2152), (50000, 2152), (2152, 9), (50000, 9)] {
                opened(RAW, &udp(source, destination, &data), &tcp);
            }
        }
        let outer = Ipv6::new(17).bytes(&frames::udp(2152, 2152, &frames::gtp_u(0, b"", &packet)));
        assert_gives(RAW, &outer, &tcp, 0);
    }
    let gtp = |payload: &[u8]| skipped(RAW, &udp(2152, 2152, payload));
    // Echo; a prime; an extension header of length 0; too many of them; no packet.
    assert_eq!(gtp(&[0x30, 1, 0, 0, 0, 0, 0, 0]), NoSegment::GtpU);
    assert_eq!(gtp(&[0x20, 255, 0, 0, 0, 0, 0, 0]), NoSegment::GtpU);
    assert_eq!(gtp(&frames::gtp_u(4, &[0, 0, 0, 1, 0, 0, 0, 1], &[0; 40])), NoSegment::BadTunnelHeader);
    let many: Vec<u8> = [0, 0, 0, 1].into_iter().chain([1, 0, 0, 1].repeat(9)).collect();
    assert_eq!(gtp(&frames::gtp_u(4, &many, &[0; 40])), NoSegment::BadTunnelHeader);
    assert_eq!(gtp(&frames::gtp_u(0, b"", &[0x10; 40])), NoSegment::GtpU);
}

/// On a port that says nothing, all of it has to be right.
#[test]
fn ordinary_datagrams_are_no_tunnels() {
    let tcp = Tcp::v4(b"GET / HTTP/1.1");
    let good = frames::gtp_u(0, b"", &tcp.packet());
    assert_gives(RAW, &udp(9, 9, &good), &tcp, 0);
    // Unused flag, type, version, length, IP version, IP length, IP checksum.
    for (at, bit) in [(0, 8), (1, 1), (0, 0x20), (3, 1), (8, 0x20), (11, 1), (18, 1)] {
        let mut data = good.clone();
        data[at] ^= bit;
        assert_eq!(skipped(RAW, &udp(9, 9, &data)), NoSegment::Udp, "{at}");
    }
    assert_eq!(skipped(RAW, &udp(9, 9, &[&good[..], &[0]].concat())), NoSegment::Udp);

    let tcp = Tcp::v6(b"GET / HTTP/1.1");
    let good = frames::gtp_u(0, b"", &tcp.packet());
    for (at, bit) in [(8, 0x10), (13, 1), (14, 0x80)] {
        let mut data = good.clone();
        data[at] ^= bit;
        assert_eq!(skipped(RAW, &udp(9, 9, &data)), NoSegment::Udp, "{at}");
    }
    // Teredo needs its prefix.
    assert_eq!(skipped(RAW, &udp(9, 9, &tcp.packet())), NoSegment::Udp);
    assert_eq!(skipped(RAW, &udp(3544, 3544, &tcp.packet())), NoSegment::Udp);
}

#[test]
fn tunnels_of_ipv6_in_udp_are_read() {
    let address = |rest| std::net::Ipv6Addr::new(0x2001, 0, 1, 2, 3, 4, 5, rest);
    let base = Tcp::v6(b"x");
    let from = Tcp { source: (address(6).into(), 40000), ..base.clone() };
    let to = Tcp { destination: (address(7).into(), 80), ..base };
    for tcp in [from, to] {
        let packet = tcp.packet();
        opened(RAW, &udp(50000, 50001, &packet), &tcp);
        opened(RAW, &udp(3544, 50001, &packet), &tcp);
        let origin = [&[0, 0, 1, 2, 3, 4, 5, 6][..], &packet].concat();
        opened(RAW, &udp(3544, 50001, &origin), &tcp);
        let authenticated = [&[0, 1, 2, 1, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &origin].concat();
        opened(RAW, &udp(50000, 3544, &authenticated), &tcp);
    }
    for (tcp, protocol) in both().into_iter().zip([4, 41]) {
        let data = frames::ayiya(protocol, &tcp.packet());
        opened(RAW, &udp(5072, 50000, &data), &tcp);
        opened(RAW, &udp(50000, 5072, &data), &tcp);
        assert_eq!(skipped(RAW, &udp(50000, 5073, &data)), NoSegment::Udp);
        for at in [0, 1, 2, 3] {
            let mut data = data.clone();
            data[at] ^= 0x17;
            assert_eq!(skipped(RAW, &udp(50000, 5072, &data)), NoSegment::Udp);
        }
    }
}

#[test]
fn networks_of_the_extended_vxlan_are_told_apart() {
    for tcp in both() {
        let next = if tcp.ether_type() == 0x0800 { 1 } else { 2 };
        let outer = |payload: &[u8]| Ipv4::new(17).bytes(payload);
        assert_gives(RAW, &outer(&frames::vxlan_gpe(5, next, &tcp.packet())), &tcp, 6);
        assert_gives(RAW, &outer(&frames::vxlan_gpe(5, 3, &tcp.frame())), &tcp, 6);
        assert_gives(RAW, &outer(&frames::vxlan_gpe(5, 5, &frames::mpls(&[7], &tcp.packet()))), &tcp, 6);
        let plain = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &tcp.frame()].concat();
        assert_gives(RAW, &udp(50000, 4790, &plain), &tcp, 6);
        let no_network = [&[4, 0, 0, next, 0, 0, 5, 0][..], &tcp.packet()].concat();
        assert_gives(RAW, &udp(50000, 4790, &no_network), &tcp, 0);
    }
    assert_eq!(skipped(RAW, &udp(50000, 4790, &[0x0d; 60])), NoSegment::Udp);
    assert_eq!(skipped(RAW, &udp(50000, 4790, &[0; 60])), NoSegment::Udp);
    assert_eq!(skipped(RAW, &Ipv4::new(17).bytes(&frames::vxlan_gpe(5, 4, &[0; 60]))), NoSegment::OtherProtocol);
}

#[test]
fn pseudo_wires_count_as_tunnels() {
    let tcp = Tcp::v4(b"x");
    let mut inner = tcp.frame();
    for _ in 0..4 {
        inner = frames::ethernet(0x8847, &frames::mpls(&[16], &[vec![0; 4], inner].concat()));
        assert_gives(ETHER, &inner, &tcp, 0);
    }
    let fifth = frames::ethernet(0x8847, &frames::mpls(&[16], &[vec![0; 4], inner].concat()));
    assert_eq!(skipped(ETHER, &fifth), NoSegment::TunnelDepth);
}
