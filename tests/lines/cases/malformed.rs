//! Messages that break the rules: nothing is invented from them, and nothing behind them or beside them is lost.

use super::{Case, case, healthy};
use crate::support::conversation::Conversation;
use crate::support::message::Message;
use crate::support::scene::Scene;
use crate::support::wire::Side;

/// A good request whose answer is broken; a healthy exchange on another connection.
fn response(s: &mut Scene, error: &'static str, broken: &[u8]) {
    let mut c = s.connection();
    c.open();
    let q = c.request(&Message::get("/broken"));
    c.send(Side::Server, broken);
    hang_up(&mut c);
    s.capture(&mut c);
    s.line(1, 1, Some(&q), None).flag("response_unread").flag(error);
    healthy(s, 2);
}

/// A good response head whose framing breaks behind `wire` bytes of body, of which `decoded` are inside chunks; a healthy
/// exchange on another connection.
fn body(s: &mut Scene, flags: &[&'static str], broken: &Message, wire: u64, decoded: u64) {
    let mut c = s.connection();
    c.open();
    let q = c.request(&Message::get("/broken"));
    let a = c.response(broken);
    hang_up(&mut c);
    s.capture(&mut c);
    let line = s.line(1, 1, Some(&q), Some(&a)).flag("truncated").set("response_body_bytes", wire);
    line.unset("response_body_decoded_bytes");
    if wire != decoded {
        line.set("response_body_decoded_bytes", decoded);
    }
    for flag in flags {
        line.flag(flag);
    }
    healthy(s, 2);
}

fn hang_up(c: &mut Conversation) {
    c.fin(Side::Server);
    c.fin(Side::Client);
    c.ack(Side::Server);
}

const NO_RESPONSE: &str =
    "The answer is no message; its request is printed without one, with the error by name. The neighbour is read.";
const CONFLICT: &str = "The head is printed, and the message is cut behind it, by name: curl reads 6 bytes, Python 5, and Node refuses. The neighbour is \
     read.";
const CUT: &str =
    "The head is printed, and the message is cut where its framing breaks, by name. The neighbour is read.";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "bad-transfer-coding",
            "A request whose last transfer coding is not chunked.",
            "Its head is good, and where its body ends is not known (RFC 9112, section 6.3, rule 4): printed as cut. nginx, \
             Apache, lighttpd and Node refuse it with 501 or 400.",
            |s| {
                let mut c = s.connection();
                c.open();
                let post = Message::start("POST /x HTTP/1.1")
                    .header("Host", "example.test")
                    .header("Transfer-Encoding", "chunked, gzip")
                    .wire("0\r\n\r\n", 0);
                let q = c.request(&post);
                let a = c.response(&Message::response("400 Bad Request").header("Connection", "close").body(b"bad"));
                hang_up(&mut c);
                s.capture(&mut c);
                let line =
                    s.line(1, 1, Some(&q), Some(&a)).flag("truncated").flag("te_odd").flag("bad_transfer_coding");
                line.flag("pairing_inferred").set("request_body_bytes", 0).unset("request_body_decoded_bytes");
                healthy(s, 2);
            },
        ),
        case("bad-status", "A status of two digits: curl, Node and Python refuse it.", NO_RESPONSE, |s| {
            response(s, "bad_start_line", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n");
        }),
        case(
            "bad-content-length",
            "Content-Length: -5, +5, 0x5, 5 6, and one above 2^63.",
            "None of these is 1*DIGIT (RFC 9110, section 8.6): the answer is cut after its head, and the error is named.",
            |s| {
                for (i, value) in ["-5", "+5", "0x5", "5 6", "9223372036854775808"].iter().enumerate() {
                    let mut c = s.connection();
                    c.open();
                    let q = c.request(&Message::get("/broken"));
                    let a = c.response(&Message::response("200 OK").header("Content-Length", value).bytes(b"hello"));
                    hang_up(&mut c);
                    s.capture(&mut c);
                    let line = s.line(i as u64 + 1, 1, Some(&q), Some(&a));
                    line.flag("truncated").flag("bad_content_length").set("response_body_bytes", 0);
                }
            },
        ),
        case("bad-content-length-conflict", "Content-Length: 5 and Content-Length: 6.", CONFLICT, |s| {
            let broken = Message::response("200 OK")
                .header("Content-Length", "5")
                .header("Content-Length", "6")
                .bytes(b"hello!");
            body(s, &["bad_content_length", "cl_conflict"], &broken, 0, 0);
        }),
        case("bad-chunk-size", "A chunk size of 0x5.", CUT, |s| {
            body(s, &["bad_chunk"], &chunked("0x5\r\nhello\r\n0\r\n\r\n"), 0, 0);
        }),
        case("bad-chunk-size-rubbish", "A chunk size of 5xyz.", CUT, |s| {
            body(s, &["bad_chunk"], &chunked("5xyz\r\nhello\r\n0\r\n\r\n"), 0, 0);
        }),
        case("bad-chunk-size-overflow", "A chunk size of 2^64.", CUT, |s| {
            body(s, &["bad_chunk"], &chunked("10000000000000000\r\nhello\r\n0\r\n\r\n"), 0, 0);
        }),
        case("bad-chunk-end", "A chunk that is longer than it says.", CUT, |s| {
            body(s, &["bad_chunk"], &chunked("5\r\nhello world\r\n0\r\n\r\n"), 8, 5);
        }),
    ]
}

fn chunked(wire: &str) -> Message {
    Message::response("200 OK").header("Transfer-Encoding", "chunked").wire(wire, 0)
}
