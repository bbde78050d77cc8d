//! How connections begin and end, and segments that only seem to begin or end them.

use super::order::keep_alive;
use super::{Case, after, case};
use crate::support::conversation::Conversation;
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::{ACK, FIN, RST, SYN, Side};

/// One exchange, expected as transaction `seq` of connection `conn`.
fn exchange(s: &mut Scene, c: &mut Conversation, conn: u64, seq: u64) {
    let (q, a) = after();
    let pair = c.exchange(&q, &a);
    s.whole(conn, seq, &pair);
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("syn-repeated", "SYN and SYN-ACK each sent three times.", "One connection.", |s| {
            let mut c = s.connection();
            for _ in 0..3 {
                c.syn().pause = 1_000_000_000;
            }
            for _ in 0..3 {
                c.syn_ack();
            }
            c.ack(Side::Client);
            exchange(s, &mut c, 1, 1);
            c.close();
            s.capture(&mut c);
        }),
        case(
            "fast-open",
            "The request in the SYN, acknowledged by the SYN-ACK (TCP fast open).",
            "Data in a SYN counts once it is acknowledged (RFC 7413).",
            |s| {
                let mut c = s.connection();
                let request = Message::get("/fast-open");
                let q = c.locate(Side::Client, &request);
                c.syn().payload = request.all();
                c.next[0] = request.all().len() as u64;
                c.syn_ack();
                let a = c.response(&Message::ok(b"fast"));
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "fast-open-ignored",
            "A request in the SYN that the SYN-ACK does not acknowledge; then another from the same sequence number.",
            "The server never took the first: only the second happened (RFC 7413, section 4.1.2).",
            |s| {
                let mut c = s.connection();
                let ignored = c.syn();
                ignored.payload = Message::get("/not-taken").all();
                ignored.decoy = true;
                c.syn_ack();
                c.ack(Side::Client);
                let pair = c.exchange(&Message::get("/taken"), &Message::ok(b"slow"));
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair);
            },
        )
        .differs("tshark reads the data of the SYN although the server did not take it"),
        case(
            "simultaneous-open",
            "Both sides send SYN, then both SYN-ACK.",
            "One connection (RFC 9293, figure 7).",
            |s| {
                let mut c = s.connection();
                c.syn();
                c.syn_ack().flags = SYN;
                let mut both = c.packet(Side::Client, SYN | ACK);
                both.seq = c.isn[0];
                c.put(both);
                c.syn_ack();
                exchange(s, &mut c, 1, 1);
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "split-handshake",
            "The server answers SYN with SYN, not SYN-ACK.",
            "One connection; the sender of the request is the client.",
            |s| {
                let mut c = s.connection();
                c.syn();
                c.ack(Side::Server).flags = ACK;
                c.last().seq = c.isn[1];
                let syn = c.syn_ack();
                syn.flags = SYN;
                syn.ack = 0;
                let mut reply = c.packet(Side::Client, SYN | ACK);
                reply.seq = c.isn[0];
                c.put(reply);
                c.ack(Side::Server);
                exchange(s, &mut c, 1, 1);
                c.close();
                s.capture(&mut c);
            },
        ),
        case("syn-ack-first", "The SYN-ACK captured before the SYN.", "One connection, the same client.", |s| {
            let mut c = s.connection();
            c.open();
            c.packets.swap(0, 1);
            exchange(s, &mut c, 1, 1);
            c.close();
            s.capture(&mut c);
        }),
        case("no-syn-ack", "The SYN-ACK was not captured.", "One connection.", |s| {
            let mut c = s.connection();
            c.open();
            c.packets.remove(1);
            exchange(s, &mut c, 1, 1);
            c.close();
            s.capture(&mut c);
        }),
        case("fin-with-data", "The last segment of an until-close body carries FIN.", "The body is whole.", |s| {
            let mut c = s.connection();
            c.open();
            let q = c.request(&Message::get("/last"));
            let a = c.response(&Message::response("200 OK").bytes(&filler(100)));
            c.last().flags |= FIN;
            c.fin[1] = true;
            c.fin(Side::Client);
            c.ack(Side::Server);
            s.capture(&mut c);
            s.line(1, 1, Some(&q), Some(&a));
        }),
        case(
            "fin-before-data",
            "FIN captured before the data in front of it; later sent again.",
            "The body is whole.",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/last"));
                let a = c.response(&Message::response("200 OK").bytes(&filler(100)));
                c.fin(Side::Server);
                let n = c.packets.len();
                c.packets.swap(n - 1, n - 2);
                let again = c.packets[n - 2].clone();
                c.put(again);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "fin-of-the-wrong-sequence",
            "A FIN far outside the window in the middle of a connection.",
            "It is not the connection's (RFC 9293, section 3.10.7.4): both exchanges are seen.",
            |s| {
                let mut c = s.connection();
                c.open();
                exchange(s, &mut c, 1, 1);
                let mut fin = c.packet(Side::Server, FIN | ACK);
                fin.seq = fin.seq.wrapping_add(0x4000_0000);
                c.put(fin);
                exchange(s, &mut c, 1, 2);
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "half-close",
            "The client sends FIN after its request; the server sends a long answer.",
            "A half-closed connection still carries the answer (RFC 9293, section 3.6).",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/half"));
                c.fin(Side::Client);
                c.ack(Side::Server);
                let a = c.response(&Message::ok(&filler(4000)));
                c.fin(Side::Server);
                c.ack(Side::Client);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "reset-in-window",
            "A reset between request and answer.",
            "The connection is over, and the request has no answer.",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/reset"));
                c.rst(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), None).flag("no_response").flag("reset");
            },
        ),
        case(
            "reset-outside-the-window",
            "Blind resets with sequence numbers far off, from both sides.",
            "They are not the connection's (RFC 9293, section 3.5.3): both exchanges are seen.",
            |s| {
                let mut c = s.connection();
                c.open();
                exchange(s, &mut c, 1, 1);
                for side in [Side::Client, Side::Server] {
                    for distance in [0x2000_0000u32, 0xe000_0000] {
                        let mut rst = c.packet(side, RST);
                        rst.seq = rst.seq.wrapping_add(distance);
                        c.put(rst);
                    }
                }
                exchange(s, &mut c, 1, 2);
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "reset-with-data",
            "A reset that carries text.",
            "The text is a diagnostic, not data (RFC 9293, section 3.5.2).",
            |s| {
                let mut c = s.connection();
                c.open();
                exchange(s, &mut c, 1, 1);
                let rst = c.rst(Side::Server);
                rst.payload = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
                rst.decoy = true;
                s.capture(&mut c);
            },
        ),
        case(
            "port-reuse",
            "The same four-tuple used again, after FIN and then after a reset.",
            "Three connections.",
            |s| {
                for conn in 1..=3 {
                    let mut c = s.between("10.0.0.1:40001", "10.0.0.80:80");
                    c.isn = [5_000_000 * conn as u32, 7_000_000 * conn as u32];
                    c.open();
                    exchange(s, &mut c, conn, 1);
                    if conn == 2 {
                        c.rst(Side::Client);
                    } else {
                        c.close();
                    }
                    s.capture(&mut c);
                }
            },
        ),
        case(
            "port-reuse-without-close",
            "A request whose end was not captured; then a handshake on the same four-tuple.",
            "The old connection is over, its request without an answer; the new one is another connection.",
            |s| {
                let mut c = s.between("10.0.0.1:40001", "10.0.0.80:80");
                c.isn = [1_000_000, 2_000_000];
                c.open();
                let q = c.request(&Message::get("/old"));
                s.capture(&mut c);
                s.line(1, 1, Some(&q), None).flag("no_response").flag("reused");
                let mut c = s.between("10.0.0.1:40001", "10.0.0.80:80");
                c.isn = [3_000_000_000, 4_000_000_000];
                c.open();
                c.packets[0].pause = 2_000_000_000;
                exchange(s, &mut c, 2, 1);
                // The SYN may be an attacker's; the answer to it shows the new connection.
                s.lines[1].begins_with(1);
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "midstream-request",
            "A capture that begins with the second exchange of a connection.",
            "Picked up from its first request, and marked.",
            |s| {
                let mut c = s.connection();
                c.open();
                let (q, a) = after();
                c.exchange(&q, &a);
                c.packets.clear();
                exchange(s, &mut c, 1, 1);
                s.lines[0].flag("midstream");
                exchange(s, &mut c, 1, 2);
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "midstream-response",
            "A capture that begins between a request and its answer.",
            "The answer is printed without a request; the next exchange is whole. Both sides were picked up in mid-stream.",
            |s| {
                let mut c = s.connection();
                c.open();
                c.request(&Message::get("/unseen"));
                c.packets.clear();
                let a = c.response(&Message::ok(b"hello"));
                c.ack(Side::Client);
                s.line(1, 1, None, Some(&a)).flag("no_request").flag("midstream");
                exchange(s, &mut c, 1, 2);
                s.lines[1].flag("midstream");
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "midstream-body",
            "A capture that begins in the middle of a response body.",
            "Bytes that cannot be parsed are skipped up to the next start of a message.",
            |s| {
                let mut c = s.connection();
                c.open();
                let long = Message::ok(&filler(6000));
                c.exchange(&Message::get("/unseen"), &long);
                c.packets.drain(..7);
                exchange(s, &mut c, 1, 1);
                c.close();
                s.capture(&mut c);
                s.lines[0].flag("resync").flag("midstream");
            },
        ),
        case(
            "client-side-only",
            "Only what the client sends was captured, handshake included.",
            "Each request is a line; whether it was answered is not known, for the capture ended first.",
            |s| {
                let mut c = s.connection();
                c.open();
                for seq in 1..=3 {
                    let (q, _) = c.exchange(&Message::get(&format!("/{seq}")), &Message::ok(b"unseen"));
                    s.line(1, seq, Some(&q), None).flag("open");
                }
                c.close();
                c.packets.retain(|p| p.side == Side::Client);
                s.capture(&mut c);
            },
        ),
        case(
            "server-side-only",
            "Only what the server sends was captured.",
            "Each answer is a line, without a request; the client is the side that receives it.",
            |s| {
                let mut c = s.connection();
                c.open();
                for seq in 1..=3 {
                    let (_, a) = c.exchange(&Message::get("/unseen"), &Message::ok(&filler(seq as usize * 10)));
                    s.line(1, seq, None, Some(&a)).flag("no_request");
                }
                c.close();
                c.packets.retain(|p| p.side == Side::Server);
                s.capture(&mut c);
            },
        ),
        case(
            "idle-for-hours",
            "Seventy minutes of silence on a keep-alive connection, while another is in use; then another exchange.",
            "State expires: the second exchange is picked up as another connection.",
            |s| {
                let mut c = s.connection();
                c.open();
                exchange(s, &mut c, 1, 1);
                s.capture(&mut c);
                keep_alive(s, 140);
                exchange(s, &mut c, 3, 1);
                // SYN, SYN-ACK and three packets of the first exchange come before it.
                s.lines[1].flag("midstream").begins_with(4);
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "time-goes-backwards",
            "The clock of the capture is set back by an hour in the middle of a connection.",
            "Nothing expires and nothing is lost; a span that would be negative is not printed.",
            |s| {
                let mut c = s.connection();
                c.open();
                exchange(s, &mut c, 1, 1);
                let from = c.packets.len();
                exchange(s, &mut c, 1, 2);
                c.packets[from].pause = -3600 * 1_000_000_000;
                c.close();
                s.capture(&mut c);
            },
        ),
    ]
}
