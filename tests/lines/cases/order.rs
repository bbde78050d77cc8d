//! The order and the times of capture are not those of sending.

use super::{Case, after, case};
use crate::support::conversation::{Conversation, Sent};
use crate::support::line::Line;
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::{ACK, Packet, RST, Side};

const SECOND: i64 = 1_000_000_000;

/// The `n`-th exchange of a connection: each answer has a status of its own.
fn exchange(c: &mut Conversation, n: usize) -> (Sent, Sent) {
    let answer = Message::response(&format!("{} Number", 400 + n)).body(&filler(10 + n));
    c.exchange(&Message::get(&format!("/{n}")), &answer)
}

/// Exchanges `from..=5` on connection 1, one second apart, and the end.
fn go_on(s: &mut Scene, c: &mut Conversation, from: usize) {
    for n in from..=5 {
        let first = c.packets.len();
        let pair = exchange(c, n);
        c.packets[first].pause = SECOND;
        s.whole(1, n as u64, &pair);
    }
    c.close();
    s.capture(c);
}

/// Captures what the server sends so much earlier than what the client sends. The scene must be a step apart.
fn shift(s: &mut Scene, c: &mut Conversation, by: i64) {
    let mut time = 0;
    let mut timed: Vec<(i64, Packet)> = vec![];
    for packet in c.packets.drain(..) {
        time += packet.pause + s.step;
        timed.push((if packet.side == Side::Server { time - by } else { time }, packet));
    }
    timed.sort_by_key(|(time, _)| *time);
    let mut before = timed[0].0;
    for (time, packet) in &mut timed {
        packet.pause = (*time - before - s.step).max(-s.step);
        before = *time;
    }
    s.packets.extend(timed.into_iter().map(|(_, packet)| packet));
}

fn shifted(s: &mut Scene, by: i64, handshake: bool) {
    let mut c = s.connection();
    c.open();
    if !handshake {
        c.packets.clear();
    }
    for n in 1..=5 {
        let first = c.packets.len();
        let pair = exchange(&mut c, n);
        c.packets[first].pause = SECOND;
        s.whole(1, n as u64, &pair).flag("early_response");
    }
    c.close();
    shift(s, &mut c, by);
}

/// A frame that is no TCP, which was captured so much later by its time stamp.
fn false_time(c: &Conversation, later: i64) -> Packet {
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &[0; 46]].concat();
    Packet { raw: Some(arp), pause: later, ..c.packet(Side::Client, ACK) }
}

/// Three exchanges and a lost head: of the second answer, and of the POST behind it.
fn head_lost_in_part(s: &mut Scene, lost: usize) {
    let mut c = s.connection();
    c.open();
    s.capture(&mut c);
    let first = c.exchange(&Message::get("/first"), &Message::ok(b"1"));
    s.capture(&mut c);
    s.whole(1, 1, &first);
    let second = c.exchange(&Message::get("/second"), &Message::ok(&filler(5000)));
    c.packets.remove(1);
    s.capture(&mut c);
    s.line(1, 2, Some(&second.0), None).flag("response_unread").flag("lost_head");
    let post = Message::post("/third", b"abc").header("Cookie", &"c".repeat(3000));
    let third = c.exchange(&post, &Message::response("405 Method Not Allowed").body(b"no"));
    c.packets.remove(lost);
    s.capture(&mut c);
    let line = s.line(1, 3, Some(&third.0), Some(&third.1)).flag("head_cut").flag("pairing_inferred").flag("resync");
    line.set("request_head_bytes", lost * 1460).unset("request_body_bytes");
    // The last byte that was seen of it is older the more was lost.
    line.set("ttfb_us", 300 - 100 * lost);
    let (q, a) = after();
    let last = c.exchange(&q, &a);
    c.close();
    s.capture(&mut c);
    s.whole(1, 4, &last).flag("resync");
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "midstream-answer-first",
            "A capture that begins in mid-stream with an answer, its request behind it; then four more exchanges.",
            "The answer acknowledges the request, so it came later: it is that request's, and each of the others has its own.",
            |s| {
                let mut c = s.connection();
                c.open();
                c.packets.clear();
                let pair = exchange(&mut c, 1);
                c.packets.swap(0, 1);
                s.whole(1, 1, &pair).flag("midstream").flag("early_response");
                go_on(s, &mut c, 2);
            },
        )
        .differs("tshark takes the order of capture for the order of events"),
        case(
            "answer-before-the-syn",
            "SYN-ACK and the first answer were captured before the client's SYN and request.",
            "The answer acknowledges a request that was not seen yet, and waits for it.",
            |s| {
                let mut c = s.connection();
                c.open();
                let pair = exchange(&mut c, 1);
                // SYN, SYN-ACK, ACK, request, answer, ACK.
                let answer = c.packets.remove(4);
                c.packets.swap(0, 1);
                c.packets.insert(1, answer);
                s.whole(1, 1, &pair).flag("early_response");
                go_on(s, &mut c, 2);
            },
        )
        .differs("tshark takes the order of capture for the order of events"),
        case(
            "server-captured-early",
            "Everything that the server sends was captured 150 ms before it was sent, as measured by the client's packets.",
            "Acknowledgements say in which order things happened; times before the request are not printed.",
            |s| shifted(s, 150_000_000, true),
        )
        .differs("tshark takes the order of capture for the order of events"),
        case(
            "server-captured-seconds-early",
            "The same with three seconds, in which three more requests are sent.",
            "How far the directions of a capture are apart shows when the first requests come: from then on what comes early waits, for \
             five seconds at most. What had not waited long enough stands by itself, and no pair is wrong.",
            |s| {
                shifted(s, 3 * SECOND, true);
                let pairs: Vec<Line> = s.lines.drain(..).collect();
                let (early, paired) = pairs.split_at(3);
                for (seq, line) in (1..).zip(early) {
                    s.line(1, seq, None, line.response.as_ref()).flag("no_request");
                }
                for (seq, line) in (4..).zip(early) {
                    s.line(1, seq, line.request.as_ref(), None).flag("response_unread");
                }
                for (seq, line) in (7..).zip(paired) {
                    s.line(1, seq, line.request.as_ref(), line.response.as_ref()).flag("early_response");
                }
            },
        )
        .differs("tshark takes the order of capture for the order of events"),
        case(
            "midstream-server-captured-early",
            "The same with 5 ms, and the start of the connection was not captured.",
            "As with the start: the first answer waits for its request.",
            |s| {
                shifted(s, 5_000_000, false);
                s.lines[0].flag("midstream");
            },
        )
        .differs("tshark takes the order of capture for the order of events"),
        case(
            "request-head-lost-in-part",
            "The head of an answer is lost, and then the middle of the next request's head, which is answered with 405.",
            "The 405 acknowledges more than the request before, so it does not answer that one: it answers the request of which a part \
             was seen.",
            |s| head_lost_in_part(s, 1),
        )
        .differs("tshark gives up the connection at the hole"),
        case(
            "request-head-tail-lost",
            "As before, but the last segment of the request's head and its body are lost.",
            "The loss comes to light behind the answer. The 405 acknowledges more than the request before: it answers the request of \
             which a part was seen, since the client had received all that lies before the answer.",
            |s| head_lost_in_part(s, 2),
        )
        .differs("tshark gives up the connection at the hole"),
        case(
            "reset-before-the-answer",
            "A client's reset that acknowledges the whole answer was captured before the answer.",
            "The client had received the answer, so it was sent before the reset: it is taken.",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/health"));
                let a = c.response(&Message::ok(b"healthy"));
                c.rst(Side::Client).flags = RST | ACK;
                let n = c.packets.len();
                c.packets.swap(n - 1, n - 2);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "answer-after-ten-minutes",
            "An answer that begins ten minutes after its request, while another connection is in use.",
            "The connection is the same: a slow answer is an answer.",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/report"));
                c.ack(Side::Server);
                s.capture(&mut c);
                keep_alive(s, 20);
                let a = c.response(&Message::ok(b"done"));
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "false-time-stamp",
            "In the middle of an answer a frame that is no TCP is stamped a day ahead.",
            "One false time ends nothing.",
            |s| {
                let mut c = s.connection();
                c.open();
                let pair = c.exchange(&Message::get("/big"), &Message::ok(&filler(20_000)));
                let frame = false_time(&c, 86_400 * SECOND);
                c.packets.insert(8, frame);
                c.packets[9].pause = -86_400 * SECOND;
                s.whole(1, 1, &pair);
                let (q, a) = after();
                let next = c.exchange(&q, &a);
                c.close();
                s.capture(&mut c);
                s.whole(1, 2, &next);
            },
        ),
        case(
            "clock-set-ahead",
            "The clock of the capture is set two hours ahead between a request and its answer.",
            "Nothing ends. The time of the answer is what the capture says.",
            |s| {
                let mut c = s.connection();
                c.open();
                let pair = exchange(&mut c, 1);
                c.packets[4].pause = 7200 * SECOND;
                s.whole(1, 1, &pair);
                go_on(s, &mut c, 2);
            },
        ),
        case(
            "two-clocks",
            "Two connections in one file, captured by clocks that are ten minutes apart.",
            "Each connection has its own time, and none ends.",
            |s| {
                let (mut one, mut other) = (s.connection(), s.connection());
                one.open();
                other.open();
                for n in 1..=4 {
                    let pair = exchange(&mut one, n);
                    s.whole(1, n as u64, &pair);
                    let pair = exchange(&mut other, n);
                    s.whole(2, n as u64, &pair);
                }
                one.close();
                other.close();
                for (own, mut ahead) in one.packets.into_iter().zip(other.packets) {
                    let back = if s.packets.is_empty() { 0 } else { -600 * SECOND };
                    s.packets.push(Packet { pause: back, ..own });
                    ahead.pause = 600 * SECOND;
                    s.packets.push(ahead);
                }
            },
        ),
        case(
            "silence-for-hours",
            "Seven hours without any packet between two exchanges on a connection.",
            "Silence cannot be told from a clock that was set, and nothing was in the way: it is one connection.",
            |s| {
                let mut c = s.connection();
                c.open();
                let pair = exchange(&mut c, 1);
                s.whole(1, 1, &pair);
                let from = c.packets.len();
                let pair = exchange(&mut c, 2);
                c.packets[from].pause = 7 * 3600 * SECOND;
                s.whole(1, 2, &pair);
                c.close();
                s.capture(&mut c);
            },
        ),
    ]
}

/// Another connection without data, on which each side is heard of every 30 s, `times` times.
pub(super) fn keep_alive(s: &mut Scene, times: usize) {
    let mut c = s.connection();
    c.open();
    for n in 0..times {
        let side = if n % 2 == 0 { Side::Client } else { Side::Server };
        c.ack(side).pause = 30 * SECOND;
    }
    s.capture(&mut c);
}
