//! Link types, tags, tunnels, fragments, and headers that are not as usual.

use super::encapsulations::{SAME, framed};
use super::{Case, after, case};
use crate::support::encapsulation::{
    Encapsulation, LINK_ETHERNET, LINK_IPV4, LINK_IPV6, LINK_LOOP, LINK_NULL, LINK_RAW, LINK_SLL, LINK_SLL2, Layer,
};
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::{Packet, Side, fragment, fragments};

/// One connection in which a packet is edited: 3 is the request, 4 and 5 the answer.
fn edited(s: &mut Scene, v6: bool, edit: fn(&mut Vec<Packet>)) {
    let mut c = if v6 { s.connection_v6() } else { s.connection() };
    c.open();
    let pair = c.exchange(&Message::get("/edited"), &Message::ok(&filler(2000)));
    edit(&mut c.packets);
    let (q, a) = after();
    let next = c.exchange(&q, &a);
    c.close();
    s.capture(&mut c);
    s.whole(1, 1, &pair);
    s.whole(1, 2, &next);
}

fn in_order(packet: &[u8]) -> Vec<Vec<u8>> {
    fragments(packet, 504, 77)
}
fn backwards(packet: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = fragments(packet, 504, 77);
    parts.reverse();
    parts
}
fn twice(packet: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = fragments(packet, 504, 77);
    parts.insert(1, parts[0].clone());
    parts
}
/// All but the last.
fn without_end(packet: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = fragments(packet, 504, 77);
    parts.pop();
    parts
}
/// The TCP header over two fragments of sixteen bytes.
fn tiny(packet: &[u8]) -> Vec<Vec<u8>> {
    fragments(packet, 16, 77)
}
/// A second version of the second fragment, with other bytes, before the rest.
fn conflicting(packet: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = fragments(packet, 504, 77);
    let header = usize::from(packet[0] & 15) * 4;
    parts.insert(2, fragment(packet, header, 0, 77, 504, &[b'X'; 504], true));
    parts
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("link-ethernet", "Ethernet.", SAME, |s| framed(s, LINK_ETHERNET, &[Layer::Ethernet])),
        case("link-sll", "Linux cooked capture, version 1.", SAME, |s| framed(s, LINK_SLL, &[Layer::Sll])),
        case("link-sll2", "Linux cooked capture, version 2.", SAME, |s| framed(s, LINK_SLL2, &[Layer::Sll2])),
        case("link-raw", "Raw IP.", SAME, |s| framed(s, LINK_RAW, &[])),
        case("link-null", "BSD loopback, little-endian.", SAME, |s| framed(s, LINK_NULL, &[Layer::Null])),
        case("link-loop", "OpenBSD loopback.", SAME, |s| framed(s, LINK_LOOP, &[Layer::Loop])),
        case("link-ipv4", "Raw IPv4.", SAME, |s| {
            s.encapsulation(Encapsulation::new(LINK_IPV4, &[]));
            edited(s, false, |_| ());
        }),
        case("link-ipv6", "Raw IPv6.", SAME, |s| {
            s.encapsulation(Encapsulation::new(LINK_IPV6, &[]));
            edited(s, true, |_| ());
        }),
        case("vlan", "One VLAN tag.", SAME, |s| framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Tag(0x8100, 5)])),
        case("qinq", "An 802.1ad tag around a VLAN tag.", SAME, |s| {
            framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Tag(0x88a8, 7), Layer::Tag(0x8100, 5)]);
        }),
        case("qinq-9100", "The older outer tag 0x9100.", SAME, |s| {
            framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Tag(0x9100, 7), Layer::Tag(0x8100, 5)]);
        }),
        case("sll-vlan", "A VLAN tag under Linux cooked capture.", SAME, |s| {
            framed(s, LINK_SLL, &[Layer::Sll, Layer::Tag(0x8100, 5)]);
        }),
        case("vxlan", "VXLAN.", SAME, |s| {
            framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Vxlan(99), Layer::Ethernet]);
        }),
        case("geneve", "Geneve with options, around Ethernet.", SAME, |s| {
            framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Geneve(99, true), Layer::Ethernet]);
        }),
        case("geneve-ip", "Geneve without options, around IP.", SAME, |s| {
            framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Geneve(99, false)]);
        }),
        case("gre", "GRE.", SAME, |s| framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Gre(None)])),
        case("gre-key-bridge", "GRE with a key, around Ethernet.", SAME, |s| {
            framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Gre(Some(5)), Layer::Ethernet]);
        }),
        case("ipip", "IP in IP, and IPv6 in IPv4.", SAME, |s| {
            framed(s, LINK_ETHERNET, &[Layer::Ethernet, Layer::Ipip])
        }),
        case(
            "overlay-networks",
            "The same addresses and ports in two VXLAN networks at once, packet by packet.",
            "Two connections: a network identifier keeps them apart.",
            |s| {
                let mut both: Vec<_> = (0..2).map(|_| s.between("10.0.0.1:40001", "10.0.0.80:80")).collect();
                for (i, c) in both.iter_mut().enumerate() {
                    let layers = [Layer::Ethernet, Layer::Vxlan(100 + i as u32), Layer::Ethernet];
                    if i == 0 {
                        s.encapsulation(Encapsulation::new(LINK_ETHERNET, &layers));
                    } else {
                        s.encapsulations.push(Encapsulation::new(LINK_ETHERNET, &layers));
                    }
                    c.open();
                    let pair = c.exchange(&Message::get(&format!("/network/{i}")), &Message::ok(&filler(100)));
                    c.close();
                    s.whole(i as u64 + 1, 1, &pair);
                }
                let (one, two) = both.split_at_mut(1);
                for (a, b) in one[0].packets.drain(..).zip(two[0].packets.drain(..)) {
                    s.packets.extend([a, b]);
                }
            },
        )
        .differs("tshark 4.0 takes both for one connection"),
        case("fragments", "The request and the answer in IPv4 fragments.", SAME, |s| {
            edited(s, false, |packets| {
                for packet in &mut packets[4..6] {
                    packet.cut = Some(in_order);
                }
            });
        }),
        case("fragments-backwards", "Fragments, the last one first.", SAME, |s| {
            edited(s, false, |packets| packets[4].cut = Some(backwards));
        }),
        case("fragments-repeated", "Fragments, one of them twice.", SAME, |s| {
            edited(s, false, |packets| packets[4].cut = Some(twice));
        }),
        case("fragments-tiny", "The TCP header itself over two fragments.", SAME, |s| {
            edited(s, false, |packets| packets[3].cut = Some(tiny));
        }),
        case("fragments-ipv6", "IPv6 fragments.", SAME, |s| {
            edited(s, true, |packets| {
                packets[3].cut = Some(tiny6);
                packets[4].cut = Some(backwards);
            });
        }),
        case(
            "fragments-conflicting",
            "A fragment sent in two versions.",
            "The first bytes win, as on streams (the bytes differ only inside the body here).",
            |s| {
                edited(s, false, |packets| packets[4].cut = Some(conflicting));
            },
        ),
        case(
            "fragments-without-end",
            "A packet of the answer whose last fragment never comes; TCP sends it again whole.",
            "The complete packet counts.",
            |s| {
                edited(s, false, |packets| {
                    let mut broken = packets[4].clone();
                    broken.cut = Some(without_end);
                    broken.decoy = true;
                    packets.insert(4, broken);
                });
            },
        ),
        case("ethernet-padding", "Short frames padded to sixty bytes.", SAME, |s| {
            edited(s, false, |_| ());
            for packet in &mut s.packets {
                let size = 14 + 40 + packet.options.len() + packet.payload.len();
                packet.trailer = vec![b'P'; 60usize.saturating_sub(size)];
            }
        }),
        case("ethernet-trailer", "Eight bytes behind every packet, as some switches add.", SAME, |s| {
            edited(s, true, |_| ());
            for packet in &mut s.packets {
                packet.trailer = b"GET / HT".to_vec();
            }
        }),
        case("total-length-zero", "IPv4 total length 0, as segmentation offload leaves it.", SAME, |s| {
            edited(s, false, |packets| {
                packets[3].ip.zero_length = true;
                packets[4].ip.zero_length = true;
            });
        }),
        case("super-packet", "An answer of 40,000 bytes in one packet, from receive offload.", SAME, |s| {
            let mut c = s.connection();
            c.mss = 65000;
            c.open();
            let pair = c.exchange(&Message::get("/offload"), &Message::ok(&filler(40_000)));
            c.close();
            s.capture(&mut c);
            s.whole(1, 1, &pair);
        }),
        case("ip-options", "IPv4 options, and TCP time stamps and selective acknowledgements.", SAME, |s| {
            edited(s, false, |packets| {
                packets[3].ip.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
                packets[3].options = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
                packets[4].options = vec![1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
            });
        }),
        case("ipv6-extensions", "Hop-by-hop options, a routing header and destination options.", SAME, |s| {
            edited(s, true, |packets| {
                packets[3].ip.extensions = vec![
                    (0, vec![0, 1, 4, 0, 0, 0, 0]),
                    (43, vec![0, 0, 0, 0, 0, 0, 0]),
                    (60, vec![1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                ];
            });
        }),
        case(
            "checksums-wrong",
            "Every packet with a wrong TCP checksum, as transmit offload leaves it.",
            "Checksums are not checked unless asked for.",
            |s| {
                edited(s, false, |_| ());
                for packet in &mut s.packets {
                    packet.ip.bad_tcp_checksum = true;
                }
            },
        ),
        case(
            "checksums-verified",
            "An injected request with a wrong TCP checksum before the real one, read with --verify-checksums.",
            "No receiver takes a segment whose checksum is wrong: the real request is printed.",
            |s| {
                s.args = vec!["--verify-checksums".into()];
                let mut c = s.connection();
                c.open();
                let offset = c.next[0];
                let evil = c.segment_at(Side::Client, offset, &Message::get("/false").all());
                evil.ip.bad_tcp_checksum = true;
                evil.decoy = true;
                let pair = c.exchange(&Message::get("/truth"), &Message::ok(b"yes"));
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair);
            },
        )
        .differs("tshark is not asked to check TCP checksums here"),
        case(
            "other-traffic",
            "ARP, a runt, UDP, ICMP, a packet of IP version 9 and an empty frame among the HTTP.",
            "Each is counted by a reason of its own, and disturbs nothing.",
            |s| {
                edited(s, false, |_| ());
                let ethernet = |kind: [u8; 2], rest: &[u8]| [&[2; 12], &kind[..], rest].concat();
                let mut sample = s.packets[3].clone();
                sample.ip.version = Some(9);
                let wrong_version = ethernet([8, 0], &sample.bytes());
                let udp = crate::support::wire::ip_packet(
                    s.ends[0][0].ip(),
                    s.ends[0][1].ip(),
                    17,
                    &sample.ip.clone_as_version(4),
                    b"\x04\x00\x04\x00\x00\x08\x00\x00",
                );
                let icmp = crate::support::wire::ip_packet(
                    s.ends[0][0].ip(),
                    s.ends[0][1].ip(),
                    1,
                    &sample.ip.clone_as_version(4),
                    b"\x08\x00\xf7\xff\x00\x00\x00\x00",
                );
                let frames = [
                    ethernet([8, 6], &[0; 28]),
                    vec![1, 2, 3],
                    ethernet([8, 0], &udp),
                    ethernet([8, 0], &icmp),
                    wrong_version,
                    ethernet([8, 0], &[0x45, 0, 0]),
                    vec![],
                ];
                for (i, frame) in frames.into_iter().enumerate() {
                    let mut packet = s.packets[0].clone();
                    packet.raw = Some(frame);
                    s.packets.insert(2 * i + 1, packet);
                }
            },
        ),
    ]
}

fn tiny6(packet: &[u8]) -> Vec<Vec<u8>> {
    fragments(packet, 24, 0x1234_5678)
}
