//! Connections that are captured twice.

use super::{Case, after, case};
use crate::support::conversation::{Conversation, Sent};
use crate::support::encapsulation::{Encapsulation, LINK_ETHERNET, Layer};
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::{Packet, Side};

const ONCE: &str = "Each transaction once, as the sighting shows it whose SYN-ACK was captured first.";
const TSHARK: &str = "it lists both sightings";

/// Two exchanges, the first with an answer of several segments.
fn story(c: &mut Conversation) -> [(Sent, Sent); 2] {
    c.open();
    let first = c.exchange(&Message::get("/twice"), &Message::ok(&filler(4000)));
    let (request, response) = after();
    let second = c.exchange(&request, &response);
    c.close();
    [first, second]
}

/// A packet as the other sighting shows it.
fn again(packet: &Packet, other: &Conversation) -> Packet {
    let (source, destination) = (packet.side.index(), packet.side.other().index());
    let ends = (other.ends[source], other.ends[destination]);
    Packet { conversation: other.number, source: ends.0, destination: ends.1, ..packet.clone() }
}

/// A connection, and its packets again with other addresses: the client's are captured here first, the server's there.
fn both_ways(s: &mut Scene, server: &str) -> (Conversation, Conversation, [(Sent, Sent); 2]) {
    s.args = vec!["--duplicates".into(), "drop".into()];
    let mut c = s.connection();
    let other = Conversation::new(1, &c.ends[0].to_string(), server);
    s.ends.push(other.ends);
    let pairs = story(&mut c);
    for packet in c.packets.drain(..) {
        let copy = again(&packet, &other);
        let (first, second) = if packet.side == Side::Client { (packet, copy) } else { (copy, packet) };
        s.packets.extend([first, second]);
    }
    (c, other, pairs)
}

/// What was sent, as the second sighting's.
fn of(number: usize, pair: &(Sent, Sent)) -> (Sent, Sent) {
    let of = |sent: &Sent| Sent { conversation: number, ..sent.clone() };
    (of(&pair.0), of(&pair.1))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("seen-again-dnat", "A connection before and after its server's address was translated.", ONCE, |s| {
            let (_, other, pairs) = both_ways(s, "10.1.0.7:8080");
            for (seq, pair) in (1..).zip(&pairs) {
                s.whole(2, seq, &of(other.number, pair));
            }
        })
        .differs(TSHARK),
        case("seen-again-vxlan", "A connection inside of a VXLAN tunnel and behind it.", ONCE, |s| {
            let (_, other, pairs) = both_ways(s, "10.0.0.80:80");
            let plain = Encapsulation::new(LINK_ETHERNET, &[Layer::Ethernet]);
            let tunnel = Encapsulation::new(LINK_ETHERNET, &[Layer::Ethernet, Layer::Vxlan(42), Layer::Ethernet]);
            s.encapsulations = vec![plain, tunnel];
            for (seq, pair) in (1..).zip(&pairs) {
                s.whole(2, seq, &of(other.number, pair));
            }
        }),
        case("seen-again-midstream", "The same without handshake: the capture begins with a request.", ONCE, |s| {
            let (_, _, pairs) = both_ways(s, "10.1.0.7:8080");
            s.packets.drain(..6);
            for (seq, pair) in (1..).zip(&pairs) {
                s.whole(1, seq, pair);
            }
            s.lines[0].flag("midstream");
        })
        .differs(TSHARK),
        case(
            "seen-again-kept",
            "A connection before and after its server's address was translated, with `--duplicates keep`.",
            "Each transaction twice: nothing is left out unless that is asked for.",
            |s| {
                let (_, other, pairs) = both_ways(s, "10.1.0.7:8080");
                s.args[1] = "keep".into();
                for (seq, pair) in (1..).zip(&pairs) {
                    s.whole(1, seq, pair);
                    s.whole(2, seq, &of(other.number, pair));
                }
            },
        ),
        case(
            "seen-again-retransmitted",
            "Whole requests and answers that are sent again, on a connection with a handshake and one without.",
            "Nothing is lost: they are the same connections.",
            |s| {
                s.args = vec!["--duplicates".into(), "drop".into()];
                for conn in 1..=2 {
                    let mut c = s.connection();
                    let pairs = story(&mut c);
                    for packet in c.packets.drain(if conn == 2 { 3.. } else { 0.. }) {
                        s.packets.extend([packet.clone(), packet]);
                    }
                    for (seq, pair) in (1..).zip(&pairs) {
                        s.whole(conn, seq, pair);
                    }
                }
                s.lines[2].flag("midstream");
            },
        ),
    ]
}
