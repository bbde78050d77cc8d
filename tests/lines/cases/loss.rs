//! Bytes that were never captured.

use super::{Case, after, case};
use crate::support::conversation::Conversation;
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::Side;

/// A connection with an exchange whose answer is in many segments, and ten behind it, so that every grace passes.
/// `lose` removes packets of the first exchange: 0 is the request.
fn lossy(s: &mut Scene, answer: &Message, lose: fn(&mut Conversation)) {
    let mut c = s.connection();
    c.mss = 500;
    c.open();
    s.capture(&mut c);
    let first = c.exchange(&Message::get("/lossy"), answer);
    lose(&mut c);
    s.capture(&mut c);
    s.whole(1, 1, &first);
    for seq in 2..=11 {
        let (q, a) = after();
        let next = c.exchange(&q, &a);
        c.packets[0].pause = 100_000_000;
        s.capture(&mut c);
        s.whole(1, seq, &next);
    }
    c.close();
    s.capture(&mut c);
}

const GOES_ON: &str = "A hole in a body ends nothing: the length says where the message ends. The line says `gap`.";

/// The exchange after bytes that had to be searched for a start.
fn found_again(s: &mut Scene, line: usize) {
    s.lines[line].flag("resync");
}

const TSHARK: &str = "tshark gives up the connection at the hole";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("gap-in-body", "One segment of a Content-Length body is missing.", GOES_ON, |s| {
            lossy(s, &Message::ok(&filler(5000)), |c| drop(c.packets.remove(4)));
            s.lines[0].flag("gap").set("lost_bytes", 500);
        })
        .differs(TSHARK),
        case("gap-in-body-twice", "Two stretches of a Content-Length body are missing.", GOES_ON, |s| {
            lossy(s, &Message::ok(&filler(8000)), |c| {
                c.packets.drain(10..13);
                c.packets.remove(4);
            });
            s.lines[0].flag("gap").set("lost_bytes", 2000);
        })
        .differs(TSHARK),
        case("gap-inside-a-chunk", "A segment in the middle of a chunk of 4000 bytes is missing.", GOES_ON, |s| {
            let answer = Message::response("200 OK").chunked(&[&filler(4000), b"end"]);
            lossy(s, &answer, |c| drop(c.packets.remove(4)));
            s.lines[0].flag("gap").set("lost_bytes", 500);
        })
        .differs(TSHARK),
        case(
            "gap-over-a-chunk-border",
            "A segment that held the end of one chunk and the size of the next is missing.",
            "Where that message ends is lost: it is cut at the end of the chunk, and the next message is found again.",
            |s| {
                let pieces: Vec<Vec<u8>> = (0..10).map(|_| filler(300)).collect();
                let pieces: Vec<&[u8]> = pieces.iter().map(|p| &p[..]).collect();
                lossy(s, &Message::response("200 OK").chunked(&pieces), |c| drop(c.packets.remove(4)));
                // Five chunks of 307 bytes with their framing, the last without its CRLF. The hole begins 80 bytes before
                // its end; the last byte that was seen stands in front of it, 300 microseconds after the request.
                let line =
                    s.lines[0].flag("gap").flag("truncated").flag("lost_framing").set("response_body_bytes", 1533);
                line.set("response_body_decoded_bytes", 1500).set("lost_bytes", 80).set("duration_us", 300);
                found_again(s, 1);
            },
        )
        .differs(TSHARK),
        case(
            "gap-in-response-head",
            "The first segment of an answer is missing.",
            "That answer is lost, its request is printed without it, and the next exchange is found again.",
            |s| {
                lossy(s, &Message::ok(&filler(3000)), |c| drop(c.packets.remove(1)));
                s.lines[0].response = None;
                s.lines[0].flag("lost_head").flag("response_unread");
                found_again(s, 1);
            },
        )
        .differs(TSHARK),
        case(
            "gap-in-request",
            "A request is missing; its answer is there.",
            "The answer is printed without a request, and the next request is found again.",
            |s| {
                lossy(s, &Message::ok(&filler(3000)), |c| drop(c.packets.remove(0)));
                s.lines[0].request = None;
                s.lines[0].flag("no_request");
                found_again(s, 1);
            },
        )
        .differs(TSHARK),
        case(
            "gap-of-a-whole-exchange",
            "A request and the whole of its answer are missing.",
            "The exchange is unknown; those after it are found again, and the first is flagged for the lost head.",
            |s| {
                lossy(s, &Message::ok(&filler(3000)), |c| drop(c.packets.drain(..)));
                s.lines.remove(0);
                for line in &mut s.lines {
                    line.seq -= 1;
                }
                s.lines[0].flag("lost_head");
                found_again(s, 0);
            },
        )
        .differs(TSHARK),
        case(
            "gap-of-an-answer-and-the-next-request",
            "An answer and the request after it are missing: the remaining request and answer do not belong together.",
            "The answer acknowledges more of the client's stream than was seen: each of the two is printed by itself.",
            |s| {
                let mut c = s.connection();
                c.open();
                s.capture(&mut c);
                for seq in 1..=12 {
                    let pair = c.exchange(&Message::get(&format!("/{seq}")), &Message::ok(&filler(3000)));
                    match seq {
                        1 => drop(c.packets.drain(1..)),
                        2 => drop(c.packets.remove(0)),
                        _ => c.packets[0].pause = 100_000_000,
                    }
                    s.capture(&mut c);
                    s.whole(1, seq, &pair);
                }
                s.lines[0].response = None;
                s.lines[0].flag("lost_head").flag("response_unread");
                s.lines[1].request = None;
                s.lines[1].flag("no_request").flag("resync");
                found_again(s, 2);
                c.close();
                s.capture(&mut c);
            },
        )
        .differs(TSHARK),
        case(
            "gap-behind-the-first-syn",
            "Of a connection's start only the first SYN is there; what follows begins in the middle of an answer.",
            "The start was not captured: the bytes are searched for a start, and not taken for another protocol.",
            |s| {
                let mut c = s.connection();
                c.mss = 500;
                c.open();
                c.packets.truncate(1);
                s.capture(&mut c);
                for seq in 1..=11 {
                    let pair = c.exchange(&Message::get(&format!("/{seq}")), &Message::ok(&filler(3000)));
                    if seq == 1 {
                        c.packets.drain(..4);
                    } else {
                        s.whole(1, seq - 1, &pair);
                    }
                    c.packets[0].pause = 100_000_000;
                    s.capture(&mut c);
                }
                found_again(s, 0);
                s.lines[0].flag("midstream");
                c.close();
                s.capture(&mut c);
            },
        )
        .differs("tshark shows the answers, and not their requests"),
        case(
            "gap-at-the-end",
            "The tail of the last answer is missing, and FIN comes.",
            "Printed with what is known, as a gap.",
            |s| {
                let mut c = s.connection();
                c.mss = 500;
                c.open();
                let q = c.request(&Message::get("/end"));
                let a = c.response(&Message::ok(&filler(3000)));
                let n = c.packets.len();
                c.packets.remove(n - 2);
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a)).flag("gap").set("lost_bytes", 500);
            },
        )
        .differs("tshark waits for the missing bytes, and does not show the answer"),
        case(
            "snap-length",
            "Every frame cut to 400 bytes.",
            "Heads that fit are read; what was cut from bodies is a gap of known length, and framing continues after it.",
            |s| {
                let mut c = s.connection();
                c.open();
                let answer = Message::ok(&filler(4000));
                // Three segments, of which 400 bytes less the headers are there.
                let lost = answer.all().len() as u64 - 3 * (400 - 54);
                for seq in 1..=3 {
                    let pair = c.exchange(&Message::get("/snapped"), &answer);
                    s.whole(1, seq, &pair).flag("gap").set("lost_bytes", lost);
                }
                c.close();
                for packet in &mut c.packets {
                    packet.snapped = Some(400);
                }
                s.capture(&mut c);
            },
        ),
    ]
}
