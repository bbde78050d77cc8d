//! What stands around the packet: serial lines, shims, mirrors and tunnels.

use super::{Case, after, case, healthy};
use crate::support::encapsulation::{
    Encapsulation, LINK_ETHERNET, LINK_HDLC, LINK_NETFILTER, LINK_PPP, LINK_PPPOE, LINK_SERIAL, Layer,
};
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;

pub(super) const SAME: &str = "The same transactions as without it.";
const COUNTED: &str = "Not opened: counted by its name; the HTTP beside it is read.";

/// An exchange over IPv4 and one over IPv6, each framed in this way.
pub(super) fn framed(s: &mut Scene, link: i32, layers: &[Layer]) {
    s.encapsulation(Encapsulation::new(link, layers));
    for (i, mut c) in [s.connection(), s.connection_v6()].into_iter().enumerate() {
        c.open();
        let pair = c.exchange(&Message::get("/framed"), &Message::ok(&filler(2000)));
        c.close();
        s.capture(&mut c);
        s.whole(i as u64 + 1, 1, &pair);
    }
}

/// The same in Ethernet, for each of these stacks.
fn stacks(s: &mut Scene, stacks: &[&[Layer]]) {
    s.encapsulations.clear();
    for layers in stacks {
        let layers = [&[Layer::Ethernet][..], layers].concat();
        for v6 in [false, true] {
            let i = s.encapsulations.len();
            s.encapsulations.push(Encapsulation::new(LINK_ETHERNET, &layers));
            let mut c = if v6 { s.connection_v6() } else { s.connection() };
            c.mss = 1400;
            c.open();
            let pair = c.exchange(&Message::get(&format!("/stack/{i}")), &Message::ok(&filler(2000)));
            c.close();
            s.capture(&mut c);
            s.whole(i as u64 + 1, 1, &pair);
        }
    }
}

/// IPv6 inside IPv4: an exchange in each of these stacks, from an address of Teredo.
fn six_in_four(s: &mut Scene, stacks: &[&[Layer]]) {
    s.encapsulations.clear();
    for (i, layers) in stacks.iter().enumerate() {
        s.encapsulations.push(Encapsulation::new(LINK_ETHERNET, &[&[Layer::Ethernet][..], layers].concat()));
        let client = format!("[2001:0:c000:201:0:9fd0:3f57:fefd]:{}", 40001 + i);
        let mut c = s.between(&client, "[2001:db8::80]:80");
        c.open();
        let pair = c.exchange(&Message::get("/six"), &Message::ok(&filler(2000)));
        c.close();
        s.capture(&mut c);
        s.whole(i as u64 + 1, 1, &pair);
    }
}

/// A connection inside an encapsulation that is not opened, and one in plain Ethernet.
fn unopened(s: &mut Scene, layers: &[Layer]) {
    let mut hidden = s.connection();
    s.encapsulation(Encapsulation::new(LINK_ETHERNET, layers));
    s.encapsulations.push(Encapsulation::default());
    hidden.open();
    hidden.exchange(&Message::get("/hidden"), &Message::ok(b""));
    hidden.close();
    s.capture(&mut hidden);
    healthy(s, 1);
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("link-ppp", "PPP with address and control bytes.", SAME, |s| framed(s, LINK_PPP, &[Layer::Ppp(true)])),
        case("link-ppp-short", "PPP without address and control bytes.", SAME, |s| {
            framed(s, LINK_PPP, &[Layer::Ppp(false)]);
        }),
        case("link-serial", "A serial line with Cisco's HDLC, where PPP could be.", SAME, |s| {
            framed(s, LINK_SERIAL, &[Layer::Hdlc]);
        }),
        case("link-pppoe", "PPPoE without Ethernet.", SAME, |s| framed(s, LINK_PPPOE, &[Layer::PppoeLink])),
        case("link-hdlc", "Cisco's HDLC.", SAME, |s| framed(s, LINK_HDLC, &[Layer::Hdlc])),
        case("link-nflog", "Packets that netfilter logged.", SAME, |s| {
            framed(s, LINK_NETFILTER, &[Layer::NetfilterLog]);
        }),
        case(
            "mpls",
            "MPLS: one label; three; in a VLAN; in IP, UDP and GRE; Ethernet pseudo-wires with a control word.",
            SAME,
            |s| {
                stacks(
                    s,
                    &[
                        &[Layer::Mpls(16)],
                        &[Layer::Mpls(16), Layer::Mpls(17), Layer::Mpls(18)],
                        &[Layer::Tag(0x8100, 5), Layer::Mpls(16)],
                        &[Layer::MplsInIp, Layer::Mpls(16)],
                        &[Layer::MplsInUdp, Layer::Mpls(16)],
                        &[Layer::Gre(None), Layer::Mpls(16)],
                        &[Layer::Mpls(16), Layer::ControlWord, Layer::VendorEthernet],
                        &[Layer::Tag(0x8100, 5), Layer::Mpls(16), Layer::ControlWord, Layer::VendorEthernet],
                        &[Layer::Mpls(16), Layer::VendorEthernet],
                    ],
                );
            },
        ),
        case("pppoe", "PPPoE, also in two tags.", SAME, |s| {
            stacks(s, &[&[Layer::Pppoe], &[Layer::Tag(0x88a8, 7), Layer::Tag(0x8100, 5), Layer::Pppoe]]);
        }),
        case("llc-snap", "LLC and SNAP, also in a VLAN.", SAME, |s| {
            stacks(s, &[&[Layer::Snap], &[Layer::Tag(0x8100, 5), Layer::Snap]]);
        }),
        case("vendor-tags", "Tags of vendors: VN-Tag, with a VLAN inside, and Cisco metadata.", SAME, |s| {
            stacks(
                s,
                &[
                    &[Layer::VnTag],
                    &[Layer::VnTag, Layer::Tag(0x8100, 5)],
                    &[Layer::Metadata],
                    &[Layer::Tag(0x8100, 5), Layer::Metadata],
                ],
            );
        }),
        case("erspan", "ERSPAN of types I, II and III, the last with a VLAN inside.", SAME, |s| {
            stacks(
                s,
                &[
                    &[Layer::Erspan(1), Layer::Ethernet],
                    &[Layer::Erspan(2), Layer::Ethernet],
                    &[Layer::Erspan(3), Layer::Ethernet],
                    &[Layer::Erspan(3), Layer::Ethernet, Layer::Tag(0x8100, 5)],
                ],
            );
        }),
        case("tzsp", "TZSP, by which access points and routers mirror.", SAME, |s| {
            stacks(s, &[&[Layer::Tzsp, Layer::Ethernet]]);
        }),
        case("gtp-u", "GTP-U: without options, with a sequence number, with an extension header.", SAME, |s| {
            stacks(s, &[&[Layer::GtpU(2152, 0x30)], &[Layer::GtpU(2152, 0x32)], &[Layer::GtpU(2152, 0x34)]]);
        }),
        case(
            "gtp-u-on-any-port",
            "GTP-U on another port than its own.",
            "Read: all lengths and the checksum of the packet inside agree.",
            |s| stacks(s, &[&[Layer::GtpU(9999, 0x30)], &[Layer::GtpU(9999, 0x34)]]),
        )
        .differs("tshark knows GTP-U only by its port"),
        case(
            "gtp-u-in-appearance",
            "What looks like GTP-U on another port, but has a flag set that GTP-U does not use, beside plain Ethernet.",
            COUNTED,
            |s| unopened(s, &[Layer::Ethernet, Layer::GtpU(9999, 0x38)]),
        ),
        case(
            "overlay-networks-asymmetric",
            "The client's packets in one VXLAN network, the server's in another, as routers between two networks send them.",
            "One connection: the SYN-ACK acknowledges exactly the SYN.",
            |s| {
                let layers = |vni| [Layer::Ethernet, Layer::Vxlan(vni), Layer::Ethernet];
                let back = Some(layers(6).to_vec());
                s.encapsulation(Encapsulation { back, ..Encapsulation::new(LINK_ETHERNET, &layers(5)) });
                for i in 1..=2 {
                    let mut c = s.connection();
                    c.open();
                    let pair = c.exchange(&Message::get("/asymmetric"), &Message::ok(&filler(2000)));
                    let (q, a) = after();
                    let next = c.exchange(&q, &a);
                    c.close();
                    s.capture(&mut c);
                    s.whole(i, 1, &pair);
                    s.whole(i, 2, &next);
                }
            },
        ),
        case("vxlan-gpe", "The generic extension of VXLAN, around IP and around Ethernet.", SAME, |s| {
            stacks(s, &[&[Layer::VxlanGpe(5)], &[Layer::VxlanGpe(6), Layer::Ethernet]]);
        }),
        case("six-in-four", "IPv6 in IPv4: directly, in Teredo with and without the origin, in AYIYA.", SAME, |s| {
            six_in_four(s, &[&[Layer::Ipip], &[Layer::Teredo(false)], &[Layer::Teredo(true)], &[Layer::Ayiya]]);
        }),
        case(
            "gre-vendors",
            "GRE in UDP; NVGRE; MikroTik's Ethernet over IP; a request redirected to a cache (WCCP); PPP of PPTP.",
            SAME,
            |s| {
                stacks(
                    s,
                    &[
                        &[Layer::GreInUdp],
                        &[Layer::GreWith(0x2000, 0, &[0, 0x12, 0x34, 0]), Layer::Ethernet],
                        &[Layer::GreWith(0x2001, 0x6400, &[0, 60, 7, 0]), Layer::Ethernet],
                        &[Layer::GreWith(0, 0x883e, &[0, 51, 0, 7])],
                        &[Layer::GreWith(0x3081, 0x880b, &[0, 60, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1]), Layer::Ppp(true)],
                    ],
                );
            },
        ),
    ]
}
