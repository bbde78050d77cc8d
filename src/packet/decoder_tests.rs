//! Tests of the decoder: each frame by what comes out of it.

use proptest::prelude::*;

use super::*;
use crate::packet::frames::{self, Ipv4, Ipv6, Tcp};

pub(super) const ETHER: i32 = 1;

pub(super) fn frame(link: i32, data: &[u8]) -> Frame<'_> {
    Frame { time: 5, link, interface: 3, data, original_len: u32::try_from(data.len()).unwrap() }
}

/// The segment must be this one, whole.
pub(super) fn assert_gives(link: i32, data: &[u8], expected: &Tcp, realm: u32) {
    for mut decoder in [Decoder::new(false), Decoder::new(false).without_shortcuts(), Decoder::new(true)] {
        let Outcome::Segment(segment) = decoder.decode(&frame(link, data)) else {
            panic!("no segment: {:?}", decoder.counts);
        };
        assert_same(&segment, expected, realm);
    }
}

fn assert_same(segment: &Segment<'_>, expected: &Tcp, realm: u32) {
    assert_eq!((segment.source.ip, segment.source.port), expected.source);
    assert_eq!((segment.destination.ip, segment.destination.port), expected.destination);
    assert_eq!((segment.seq, segment.ack, segment.flags.0), (expected.seq, expected.ack, expected.flags));
    assert_eq!((segment.window, segment.realm, segment.time, segment.interface), (512, realm, 5, 3));
    assert_eq!((segment.payload, segment.missing), (expected.payload.as_slice(), 0));
}

pub(super) fn skipped(link: i32, data: &[u8]) -> NoSegment {
    let mut decoder = Decoder::new(false);
    let outcome = decoder.decode(&frame(link, data));
    let Outcome::Skipped(reason) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(decoder.counts().skipped(reason), 1);
    decoder.finish();
    reason
}

#[test]
fn ethernet_gives_the_segment() {
    for tcp in [Tcp::v4(b"GET / HTTP/1.1\r\n"), Tcp::v6(b"GET / HTTP/1.1\r\n"), Tcp::v4(b""), Tcp::v6(b"")] {
        assert_gives(ETHER, &tcp.frame(), &tcp, 0);
    }
}

#[test]
fn tcp_options_are_passed_over() {
    let tcp = Tcp { options: vec![1; 40], ..Tcp::v4(b"x") };
    assert_gives(ETHER, &tcp.frame(), &tcp, 0);
}

#[test]
fn tags_are_followed_up_to_four() {
    let tcp = Tcp::v6(b"x");
    let mut inner = (tcp.ether_type(), tcp.packet());
    for tpid in [0x8100, 0x9100, 0x88a8, 0x8100] {
        inner = (tpid, frames::tag(5, inner.0, &inner.1));
        assert_gives(ETHER, &frames::ethernet(inner.0, &inner.1), &tcp, 0);
    }
    let fifth = frames::ethernet(0x8100, &frames::tag(5, inner.0, &inner.1));
    assert_eq!(skipped(ETHER, &fifth), NoSegment::VlanDepth);
}

#[test]
fn every_link_type_gives_the_segment() {
    for (tcp, families, raw) in [(Tcp::v4(b"x"), &[2_u32][..], 228), (Tcp::v6(b"x"), &[10, 24, 28, 30], 229)] {
        let packet = tcp.packet();
        for family in families {
            assert_gives(0, &[&family.to_le_bytes()[..], &packet].concat(), &tcp, 0);
            assert_gives(0, &[&family.to_be_bytes()[..], &packet].concat(), &tcp, 0);
            assert_gives(108, &[&family.to_be_bytes()[..], &packet].concat(), &tcp, 0);
        }
        for link in [12, 14, 101, raw] {
            assert_gives(link, &packet, &tcp, 0);
        }
        let protocol = tcp.ether_type().to_be_bytes();
        // The hardware type is the loopback interface's.
        let cooked = [&[0, 0, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0][..], &protocol, &packet].concat();
        assert_gives(113, &cooked, &tcp, 0);
        let cooked = [&protocol[..], &[0; 18], &packet].concat();
        assert_gives(276, &cooked, &tcp, 0);
    }
    assert_eq!(skipped(105, &Tcp::v4(b"x").frame()), NoSegment::UnknownLinkType);
}

#[test]
fn ipv4_options_are_passed_over() {
    let tcp = Tcp::v4(b"x");
    let packet = Ipv4 { options: vec![1; 40], ..Ipv4::new(6) }.bytes(&tcp.bytes());
    assert_gives(ETHER, &frames::ethernet(0x0800, &packet), &tcp, 0);
}

#[test]
fn ipv6_extension_headers_are_followed_up_to_eight() {
    let tcp = Tcp::v6(b"x");
    let mut next = (6, tcp.bytes());
    for kind in [60, 43, 0, 60, 135, 139, 140, 60] {
        next = (kind, frames::extension(next.0, &next.1));
        let packet = Ipv6::new(next.0).bytes(&next.1);
        assert_gives(ETHER, &frames::ethernet(0x86dd, &packet), &tcp, 0);
    }
    let packet = Ipv6::new(60).bytes(&frames::extension(next.0, &next.1));
    assert_eq!(skipped(ETHER, &frames::ethernet(0x86dd, &packet)), NoSegment::ExtensionDepth);
}

#[test]
fn authentication_headers_are_passed_over() {
    for tcp in [Tcp::v4(b"x"), Tcp::v6(b"x")] {
        // Next header, length in words minus two, reserved, index, number, check value.
        let header = [&[6, 4][..], &[0; 22], &tcp.bytes()].concat();
        let packet = match tcp.ether_type() {
            0x0800 => Ipv4::new(51).bytes(&header),
            _ => Ipv6::new(51).bytes(&header),
        };
        assert_gives(ETHER, &frames::ethernet(tcp.ether_type(), &packet), &tcp, 0);
    }
}

#[test]
fn padding_is_not_payload() {
    for tcp in [Tcp::v4(b"x"), Tcp::v6(b"")] {
        assert_gives(ETHER, &[tcp.frame(), vec![0xaa; 40]].concat(), &tcp, 0);
    }
}

#[test]
fn a_length_of_zero_means_the_whole_frame() {
    for (tcp, field) in [(Tcp::v4(&[7; 70_000]), 16), (Tcp::v6(&[7; 70_000]), 18), (Tcp::v4(b"x"), 16)] {
        let mut data = tcp.frame();
        data[field..field + 2].fill(0);
        let mut decoder = Decoder::new(false);
        let Outcome::Segment(segment) = decoder.decode(&frame(ETHER, &data)) else { panic!() };
        assert_eq!(segment.payload, tcp.payload);
        assert_eq!(segment.missing, 0);
    }
}

#[test]
fn what_the_snap_length_cut_is_missing() {
    for tcp in [Tcp::v4(&[7; 500]), Tcp::v6(&[7; 500])] {
        let data = tcp.frame();
        let header = data.len() - 500;
        for kept in 0..data.len() {
            let cut = Frame { original_len: u32::try_from(data.len()).unwrap(), ..frame(ETHER, &data[..kept]) };
            for mut decoder in [Decoder::new(false), Decoder::new(false).without_shortcuts()] {
                match decoder.decode(&cut) {
                    Outcome::Segment(segment) => {
                        assert_eq!(segment.payload.len(), kept - header);
                        assert_eq!(segment.missing as usize, data.len() - kept);
                    }
                    Outcome::Skipped(reason) => {
                        assert!(kept < header);
                        assert_eq!(reason, NoSegment::CutHeader, "{kept}");
                    }
                    Outcome::Waits => panic!(),
                }
            }
        }
    }
}

#[test]
fn options_that_were_cut_are_not_payload() {
    let tcp = Tcp { options: vec![1; 12], ..Tcp::v4(&[7; 100]) };
    let data = tcp.frame();
    let cut = Frame { original_len: u32::try_from(data.len()).unwrap(), ..frame(ETHER, &data[..14 + 20 + 22]) };
    let mut decoder = Decoder::new(false);
    let Outcome::Segment(segment) = decoder.decode(&cut) else { panic!() };
    assert_eq!((segment.payload, segment.missing, segment.seq), (&b""[..], 100, tcp.seq));
}

#[test]
fn other_protocols_are_named() {
    let ether = |ether_type| skipped(ETHER, &frames::ethernet(ether_type, &[0; 46]));
    assert_eq!(ether(0x0806), NoSegment::Arp);
    assert_eq!(ether(0x8863), NoSegment::Pppoe);
    assert_eq!(ether(0x88e5), NoSegment::Macsec);
    assert_eq!(ether(0x88cc), NoSegment::OtherEtherType);
    assert_eq!(ether(46), NoSegment::Llc);
    let ip = |protocol| skipped(101, &Ipv4::new(protocol).bytes(&[0; 40]));
    assert_eq!(ip(1), NoSegment::Icmp);
    assert_eq!(ip(17), NoSegment::Udp);
    assert_eq!(ip(50), NoSegment::Esp);
    assert_eq!(ip(132), NoSegment::Sctp);
    assert_eq!(ip(89), NoSegment::OtherProtocol);
    let udp = |port| skipped(101, &Ipv4::new(17).bytes(&frames::udp(port, 9, &[0; 40])));
    assert_eq!(udp(1701), NoSegment::L2tp);
    assert_eq!(udp(2152), NoSegment::GtpU);
    assert_eq!(udp(53), NoSegment::Udp);
    let gre = |ether_type| skipped(101, &Ipv4::new(47).bytes(&frames::gre(0, ether_type, b"", &[0; 40])));
    assert_eq!(gre(0x22eb), NoSegment::Erspan);
    assert_eq!(gre(0x0000), NoSegment::OtherEtherType);
}

#[test]
fn headers_that_contradict_themselves_are_bad() {
    let ip = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = Tcp::v4(b"x").packet();
        change(&mut packet);
        skipped(228, &packet)
    };
    assert_eq!(ip(&|packet| packet[0] = 0x65), NoSegment::BadIpHeader);
    assert_eq!(ip(&|packet| packet[0] = 0x44), NoSegment::BadIpHeader);
    assert_eq!(ip(&|packet| packet[3] = 19), NoSegment::BadIpHeader);
    assert_eq!(ip(&|packet| packet.truncate(19)), NoSegment::BadIpHeader);
    assert_eq!(ip(&|packet| packet[3] = 39), NoSegment::BadTcpHeader);
    assert_eq!(ip(&|packet| packet[32] = 0x40), NoSegment::BadTcpHeader);
    assert_eq!(ip(&|packet| packet[32] = 0xf0), NoSegment::BadTcpHeader);
    assert_eq!(skipped(ETHER, &[0; 13]), NoSegment::ShortFrame);
}

#[test]
fn fragments_give_the_segment_with_the_last_one() {
    let tcp4 = Tcp::v4(&[9; 4000]);
    let tcp6 = Tcp::v6(&[9; 4000]);
    let v4 = Ipv4::new(6).fragments(&tcp4.bytes(), 1480);
    let v6 = Ipv6::new(6).fragments(&tcp6.bytes(), 1432);
    for (tcp, pieces) in [(tcp4, v4), (tcp6, v6)] {
        let mut decoder = Decoder::new(true);
        for piece in &pieces[1..] {
            assert!(matches!(decoder.decode(&frame(101, piece)), Outcome::Waits));
        }
        assert_eq!(decoder.counts().fragments_waiting, 2);
        let Outcome::Segment(segment) = decoder.decode(&frame(101, &pieces[0])) else { panic!() };
        assert_same(&segment, &tcp, 0);
        assert_eq!((decoder.counts().fragments_joined, decoder.counts().segments), (2, 1));
        decoder.finish();
    }
}

#[test]
fn a_joined_datagram_may_start_with_extension_headers() {
    let tcp = Tcp::v6(&[9; 4000]);
    let pieces = Ipv6::new(60).fragments(&frames::extension(6, &tcp.bytes()), 1432);
    let mut decoder = Decoder::new(false);
    assert!(matches!(decoder.decode(&frame(101, &pieces[0])), Outcome::Waits));
    assert!(matches!(decoder.decode(&frame(101, &pieces[1])), Outcome::Waits));
    let Outcome::Segment(segment) = decoder.decode(&frame(101, &pieces[2])) else { panic!() };
    assert_same(&segment, &tcp, 0);
}

#[test]
fn a_fragment_by_itself_is_whole() {
    let tcp = Tcp::v6(b"x");
    let pieces = Ipv6::new(6).fragments(&tcp.bytes(), 8000);
    assert_gives(101, &pieces[0], &tcp, 0);
}

#[test]
fn fragments_inside_a_fragmented_tunnel_are_joined_too() {
    let tcp = Tcp::v4(&[9; 4000]);
    let mut frames_in_order = Vec::new();
    for (n, inner) in Ipv4::new(6).fragments(&tcp.bytes(), 1480).iter().enumerate() {
        let outer = Ipv4 { id: u16::try_from(n).unwrap(), ..Ipv4::new(4) };
        frames_in_order.extend(outer.fragments(inner, 800));
    }
    let mut decoder = Decoder::new(false);
    let (last, rest) = frames_in_order.split_last().unwrap();
    for piece in rest {
        assert!(matches!(decoder.decode(&frame(101, piece)), Outcome::Waits));
    }
    let Outcome::Segment(segment) = decoder.decode(&frame(101, last)) else { panic!() };
    assert_same(&segment, &tcp, 0);
    assert_eq!(decoder.counts().fragments_joined, 5);
    decoder.finish();
}

#[test]
fn fragments_that_never_fit_are_accounted_for_at_the_end() {
    let pieces = Ipv4::new(6).fragments(&Tcp::v4(&[9; 4000]).bytes(), 1480);
    let mut decoder = Decoder::new(false);
    assert!(matches!(decoder.decode(&frame(101, &pieces[0])), Outcome::Waits));
    decoder.finish();
    assert_eq!(decoder.counts().skipped(NoSegment::FragmentIncomplete), 1);
    let cut = Frame { original_len: 1500, ..frame(101, &pieces[1][..1000]) };
    assert!(matches!(decoder.decode(&cut), Outcome::Skipped(NoSegment::FragmentCut)));
}

#[test]
fn tunnels_give_the_inner_segment() {
    for tcp in [Tcp::v4(b"x"), Tcp::v6(b"x")] {
        let (ether_type, packet, inner) = (tcp.ether_type(), tcp.packet(), tcp.frame());
        let outer = |protocol, payload: &[u8]| frames::ethernet(0x0800, &Ipv4::new(protocol).bytes(payload));
        let outer6 = |protocol, payload: &[u8]| frames::ethernet(0x86dd, &Ipv6::new(protocol).bytes(payload));
        assert_gives(ETHER, &outer(17, &frames::vxlan(0xabcdef, &inner)), &tcp, 0xabcdf0);
        assert_gives(ETHER, &outer6(17, &frames::vxlan(0, &inner)), &tcp, 1);
        assert_gives(ETHER, &outer(17, &frames::geneve(7, 0x6558, &[0; 12], &inner)), &tcp, 8);
        assert_gives(ETHER, &outer(17, &frames::geneve(7, ether_type, b"", &packet)), &tcp, 8);
        assert_gives(ETHER, &outer(47, &frames::gre(0, ether_type, b"", &packet)), &tcp, 0);
        assert_gives(ETHER, &outer(47, &frames::gre(0xb0, ether_type, &[0; 12], &packet)), &tcp, 0);
        assert_gives(ETHER, &outer6(47, &frames::gre(0x20, 0x6558, &[0, 0, 1, 0], &inner)), &tcp, 0);
        let protocol = if ether_type == 0x0800 { 4 } else { 41 };
        assert_gives(ETHER, &outer(protocol, &packet), &tcp, 0);
        assert_gives(ETHER, &outer6(protocol, &packet), &tcp, 0);
    }
}

#[test]
fn tunnels_in_tunnels_are_followed_up_to_four() {
    let tcp = Tcp::v4(b"x");
    let mut inner = tcp.frame();
    for network in 0..4 {
        inner = frames::ethernet(0x0800, &Ipv4::new(17).bytes(&frames::vxlan(network, &inner)));
        assert_gives(ETHER, &inner, &tcp, 1);
    }
    let fifth = frames::ethernet(0x0800, &Ipv4::new(17).bytes(&frames::vxlan(9, &inner)));
    assert_eq!(skipped(ETHER, &fifth), NoSegment::TunnelDepth);
}

#[test]
fn what_was_cut_inside_a_tunnel_is_missing() {
    let tcp = Tcp::v4(&[7; 500]);
    let data = frames::ethernet(0x0800, &Ipv4::new(17).bytes(&frames::vxlan(1, &tcp.frame())));
    let cut = Frame { original_len: u32::try_from(data.len()).unwrap(), ..frame(ETHER, &data[..data.len() - 123]) };
    let mut decoder = Decoder::new(false);
    let Outcome::Segment(segment) = decoder.decode(&cut) else { panic!() };
    assert_eq!((segment.payload.len(), segment.missing), (377, 123));
}

#[test]
fn wrong_checksums_are_found_where_they_are_asked_for() {
    for (tcp, at) in [(Tcp::v4(b"odd"), 14 + 20), (Tcp::v6(b"even"), 14 + 40)] {
        let mut data = tcp.frame();
        data[at + 4] ^= 1;
        let mut decoder = Decoder::new(true);
        assert!(matches!(decoder.decode(&frame(ETHER, &data)), Outcome::Skipped(NoSegment::BadTcpChecksum)));
        assert!(matches!(Decoder::new(false).decode(&frame(ETHER, &data)), Outcome::Segment(_)));
    }
    let mut data = Tcp::v4(b"x").frame();
    data[14 + 8] ^= 1;
    assert!(matches!(Decoder::new(true).decode(&frame(ETHER, &data)), Outcome::Skipped(NoSegment::BadIpChecksum)));
}

#[test]
fn packets_that_cannot_be_judged_are_not() {
    let mut data = Tcp::v4(&[7; 100]).frame();
    data[14 + 20 + 4] ^= 1;
    let cut = Frame { original_len: u32::try_from(data.len()).unwrap(), ..frame(ETHER, &data[..100]) };
    assert!(matches!(Decoder::new(true).decode(&cut), Outcome::Segment(_)));
}

fn any_frame() -> impl Strategy<Value = (i32, Vec<u8>)> {
    let payload = proptest::collection::vec(any::<u8>(), 0..60);
    let options = proptest::collection::vec(any::<u8>(), 0..40);
    (payload, options, any::<[u32; 2]>(), any::<u8>(), 0_u8..20, any::<bool>()).prop_map(
        |(payload, options, [seq, ack], flags, shape, six)| {
            let base = if six { Tcp::v6(&payload) } else { Tcp::v4(&payload) };
            let tcp = Tcp { seq, ack, flags, options, ..base };
            let (kind, packet) = (tcp.ether_type(), tcp.packet());
            match shape {
                0..=2 => (ETHER, tcp.frame()),
                3 => (ETHER, frames::ethernet(0x8100, &frames::tag(1, kind, &packet))),
                4 => (101, packet),
                5 => (ETHER, frames::ethernet(0x0800, &Ipv4::new(17).bytes(&frames::vxlan(1, &tcp.frame())))),
                6 => (ETHER, frames::ethernet(0x0800, &Ipv4::new(47).bytes(&frames::gre(0, kind, b"", &packet)))),
                7 => (ETHER, frames::ethernet(0x86dd, &Ipv6::new(0).bytes(&frames::extension(6, &tcp.bytes())))),
                8 => (0, [&(if six { 30_u32 } else { 2 }).to_le_bytes()[..], &packet].concat()),
                9 => (ETHER, frames::ethernet(0x8847, &frames::mpls(&[16, 17], &packet))),
                10 => (ETHER, frames::ethernet(0x8847, &frames::mpls(&[16], &[vec![0; 4], tcp.frame()].concat()))),
                11 => (ETHER, frames::ethernet(0x8864, &frames::pppoe(kind, &packet))),
                12 => (ETHER, frames::snap(kind, &packet)),
                13 => (ETHER, frames::ethernet(0x8926, &frames::vn_tag(kind, &packet))),
                14 => (239, frames::netfilter_log(six, 2, &packet)),
                15 => (101, Ipv4::new(17).bytes(&frames::udp(9, 9, &frames::gtp_u(0, b"", &packet)))),
                16 => (101, Ipv4::new(17).bytes(&frames::tzsp(&tcp.frame()))),
                17 => (
                    101,
                    Ipv4::new(47).bytes(&frames::gre(0x10, 0x88be, &[&[0; 4], &[0x10; 8][..]].concat(), &tcp.frame())),
                ),
                18 => {
                    (101, Ipv4::new(17).bytes(&frames::udp(9, 5072, &frames::ayiya(if six { 41 } else { 4 }, &packet))))
                }
                _ => (ETHER, [tcp.frame(), vec![0; 20]].concat()),
            }
        },
    )
}

fn described(outcome: &Outcome<'_>) -> String {
    format!("{outcome:?}")
}

proptest! {
    #[test]
    fn the_fast_path_agrees_with_etherparse(
        (link, mut data) in any_frame(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kept in proptest::option::weighted(0.3, any::<prop::sample::Index>()),
        more in 0_u32..3,
    ) {
        for (index, byte) in changes {
            let index = index.index(data.len());
            data[index] = byte;
        }
        let wire = u32::try_from(data.len()).unwrap() + more;
        let kept = kept.map_or(data.len(), |kept| kept.index(data.len()));
        let frame = Frame { original_len: wire, ..frame(link, &data[..kept]) };
        let (mut one, mut two) = (Decoder::new(false), Decoder::new(false).without_shortcuts());
        let by_fast = described(&one.decode(&frame));
        let by_slow = described(&two.decode(&frame));
        prop_assert_eq!(by_fast, by_slow);
        prop_assert_eq!(&one.counts, &two.counts);
        one.finish();
        prop_assert!(one.counts.balanced());
    }

    #[test]
    fn any_bytes_have_an_account(link in prop::sample::select(vec![0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 166, 204, 205, 228, 229, 239, 276]),
        data in proptest::collection::vec(any::<u8>(), 0..120), verify: bool) {
        let mut decoder = Decoder::new(verify);
        decoder.decode(&frame(link, &data));
        decoder.finish();
        prop_assert!(decoder.counts.balanced());
    }
}
