//! Segments that arrive in another order, twice, or over one another.

use super::{Case, after, case, healthy};
use crate::support::conversation::{Conversation, Sent};
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::{ACK, PSH, Side, URG};

/// A connection with one exchange whose answer comes in seven segments, and one behind it. `edit` may change the packets
/// of the first exchange: 0 is the request, 1 to 7 are the answer, 8 is its acknowledgement.
fn edited(s: &mut Scene, isn: [u32; 2], edit: fn(&mut Conversation)) -> [(Sent, Sent); 2] {
    let mut c = s.connection();
    c.isn = isn;
    c.mss = 500;
    c.open();
    s.capture(&mut c);
    let first = c.exchange(&Message::get("/body"), &Message::ok(&filler(3000)));
    edit(&mut c);
    s.capture(&mut c);
    let (q, a) = after();
    let second = c.exchange(&q, &a);
    c.close();
    s.capture(&mut c);
    s.whole(1, 1, &first);
    s.whole(1, 2, &second);
    [first, second]
}

const ISN: [u32; 2] = [1000, 900_000];
const CLEAN: &str = "The same two transactions as without it.";
const FIRST: &str = "What came first stays, as in BSD, Linux, Zeek and gopacket; the disagreement is counted.";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("retransmission", "A segment sent twice, and the request sent twice.", CLEAN, |s| {
            edited(s, ISN, |c| {
                let (request, segment) = (c.packets[0].clone(), c.packets[3].clone());
                c.packets.insert(4, segment);
                c.packets.insert(1, request);
            });
        }),
        case("reordering", "Two neighbours swapped, and the last segment before all others.", CLEAN, |s| {
            edited(s, ISN, |c| {
                c.packets.swap(2, 3);
                let last = c.packets.remove(7);
                c.packets.insert(1, last);
            });
        }),
        case("response-before-request", "The answer captured before the request that it acknowledges.", CLEAN, |s| {
            edited(s, ISN, |c| {
                let request = c.packets.remove(0);
                c.packets.insert(7, request);
            });
            s.lines[0].flag("early_response");
        })
        .differs("tshark takes the order of capture for the order of events"),
        case("reversed", "All segments of the answer in reverse order.", CLEAN, |s| {
            edited(s, ISN, |c| c.packets[1..8].reverse());
        }),
        case("sequence-wrap", "Sequence numbers of both sides pass 2^32 in the middle of messages, out of order.", CLEAN, |s| {
            edited(s, [u32::MAX - 20, u32::MAX - 1200], |c| c.packets.swap(3, 4));
        }),
        case("sequence-wrap-at-isn", "Initial sequence numbers of 2^32 - 1.", CLEAN, |s| {
            edited(s, [u32::MAX, u32::MAX], |_| ());
        }),
        case("sequence-half-space", "An initial sequence number just below 2^31, crossed in mid-message.", CLEAN, |s| {
            edited(s, [0x7fff_fff0, 0x7fff_ff00], |c| c.packets.swap(2, 4));
        }),
        case("resegmented", "A retransmission in larger pieces that overlap what has come on both sides.", CLEAN, |s| {
            edited(s, ISN, |c| {
                let offset = c.packets[3].offset - 200;
                let all = Message::ok(&filler(3000)).all();
                let piece = all[offset as usize..offset as usize + 900].to_vec();
                c.segment_at(Side::Server, offset, &piece);
                let piece = c.packets.pop().unwrap();
                c.packets.insert(4, piece);
            });
        }),
        case("overlap-conflict-behind", "A retransmission of bytes that have been taken, with other content.", FIRST, |s| {
            edited(s, ISN, |c| {
                let mut liar = c.packets[2].clone();
                liar.payload = b"HTTP/1.1 500 NO\r\n\r\n".repeat(27)[..500].to_vec();
                c.packets.insert(4, liar);
            });
        }),
        case(
            "overlap-conflict-ahead",
            "Two versions of bytes that wait behind a hole; then the hole is filled.",
            FIRST,
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/first-version");
                let q = c.locate(Side::Client, &request);
                let all = request.all();
                c.next[0] = all.len() as u64;
                c.segment_at(Side::Client, 10, &all[10..]);
                let liar = Message::get("/later-version").all();
                c.segment_at(Side::Client, 10, &liar[10..]);
                c.segment_at(Side::Client, 0, &all[..10]);
                let a = c.response(&Message::ok(b"first"));
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "overlap-conflict-forward",
            "A segment whose first half was sent before with other content and whose second half is new.",
            FIRST,
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/0123456789/abcdefghij");
                let q = c.locate(Side::Client, &request);
                let all = request.all();
                c.segment(Side::Client, &all[..16]);
                let mut overlapping = all[8..].to_vec();
                overlapping[..8].copy_from_slice(b"XXXXXXXX");
                c.segment_at(Side::Client, 8, &overlapping);
                c.next[0] = all.len() as u64;
                let a = c.response(&Message::ok(b"first"));
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case("one-byte-segments", "Everything in segments of one byte, in pairs swapped.", CLEAN, |s| {
            let mut c = s.connection();
            c.mss = 1;
            c.open();
            s.capture(&mut c);
            let pair = c.exchange(&Message::get("/tiny"), &Message::ok(b"tiny"));
            let (asked, answered) = c.packets.split_at_mut(Message::get("/tiny").all().len());
            for side in [asked, answered] {
                for two in side.chunks_exact_mut(2) {
                    two.swap(0, 1);
                }
            }
            c.close();
            s.capture(&mut c);
            s.whole(1, 1, &pair);
        }),
        case("full-duplicate", "Every packet captured twice, as on a mirror of both directions or on `any`.", CLEAN, |s| {
            edited(s, ISN, |_| ());
            s.packets = s.packets.iter().flat_map(|p| [p.clone(), p.clone()]).collect();
        }),
        case(
            "urgent",
            "A segment of the body with the urgent flag and pointer.",
            "The urgent byte is in the stream (SO_OOBINLINE); HTTP knows no urgent data (RFC 6093).",
            |s| {
                edited(s, ISN, |c| {
                    c.packets[3].flags |= URG;
                    c.packets[3].urgent = 10;
                });
            },
        ),
        case(
            "keep-alive-probes",
            "Keep-alives with no byte and with one garbage byte, in both directions, before and between messages.",
            "A keep-alive's byte is before the next one and is never data (RFC 9293, section 3.8.4).",
            |s| {
                let mut c = s.connection();
                c.open();
                let mut sent = vec![];
                for seq in 1..=2 {
                    for side in [Side::Client, Side::Server] {
                        let before = c.next[side.index()].wrapping_sub(1);
                        c.segment_at(side, before, b"").pause = 30_000_000_000;
                        c.ack(side.other());
                        c.segment_at(side, before, b"Z").decoy = true;
                        c.ack(side.other());
                    }
                    let pair = c.exchange(&Message::get("/alive"), &Message::ok(b"yes"));
                    s.whole(1, seq, &pair);
                    sent.push(pair);
                }
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "zero-window-probe",
            "The client's window closes in mid-body; the server probes with the next byte three times, then continues from it.",
            "The probe's byte is data that will be sent again: it counts once (RFC 9293, section 3.8.6.1).",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/window"));
                let answer = Message::ok(&filler(2000));
                let a = c.locate(Side::Server, &answer);
                let all = answer.all();
                c.segment(Side::Server, &all[..1000]);
                c.ack(Side::Client).window = 0;
                for _ in 0..3 {
                    c.segment_at(Side::Server, 1000, &all[1000..1001]).pause = 200_000_000;
                    c.ack(Side::Client).window = 0;
                }
                c.ack(Side::Client);
                c.segment(Side::Server, &all[1000..]).flags |= PSH;
                c.ack(Side::Client);
                let (q2, a2) = after();
                let next = c.exchange(&q2, &a2);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
                s.whole(1, 2, &next);
            },
        ),
        case(
            "beyond-the-window",
            "Segments far ahead of and far behind the stream, with HTTP in them.",
            "Neither belongs to the stream (RFC 9293, section 3.4); the connection continues.",
            |s| {
                let mut c = s.connection();
                c.open();
                let (q, a) = after();
                let first = c.exchange(&q, &a);
                let evil = Message::get("/evil").all();
                let next = c.next[0];
                c.segment_at(Side::Client, next + 0x3000_0000, &evil).decoy = true;
                c.segment_at(Side::Client, next.wrapping_sub(0x3000_0000), &evil).decoy = true;
                let second = c.exchange(&q, &a);
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &first);
                s.whole(1, 2, &second);
            },
        ),
        case(
            "no-ack-flag",
            "Data without the ACK flag, and data with FIN, SYN, RST and URG all set, in the middle of a connection.",
            "A segment without ACK is dropped by every receiver, and so is SYN on an open connection (RFC 9293, section 3.10.7.4).",
            |s| {
                let mut c = s.connection();
                c.open();
                let (q, a) = after();
                let first = c.exchange(&q, &a);
                let evil = Message::get("/evil").all();
                let offset = c.next[0];
                let packet = c.segment_at(Side::Client, offset, &evil);
                packet.flags = PSH;
                packet.decoy = true;
                let second = c.exchange(&q, &a);
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &first);
                s.whole(1, 2, &second);
            },
        )
        .differs("tshark reads segments that no receiver takes"),
        case("acks-only", "A connection that carries no data, beside one that does.", "Only the one with data gives a line.", |s| {
            let mut c = s.connection();
            c.open();
            for _ in 0..3 {
                c.ack(Side::Server).flags = ACK;
                c.ack(Side::Client);
            }
            c.close();
            s.capture(&mut c);
            healthy(s, 2);
        }),
    ]
}
