//! HTTP inside the tunnels of CONNECT and upgrades.

use super::{Case, case};
use crate::support::conversation::{Conversation, Sent};
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::Side;

/// The number of the stream that is inside so many tunnels on the first connection.
pub(super) const fn inside(depth: u64) -> u64 {
    (depth << 50) + 1
}

pub(super) const ESTABLISHED: &str = "200 Connection established";

pub(super) fn connect(target: &str) -> Message {
    Message::start(&format!("CONNECT {target} HTTP/1.1")).header("Host", target)
}

/// Opens a tunnel on connection 1.
fn opened(s: &mut Scene, c: &mut Conversation, target: &str) {
    let pair = c.exchange(&connect(target), &Message::response(ESTABLISHED));
    s.whole(1, 1, &pair).flag("tunnel").set("tunnel", "connect");
}

/// Two exchanges, the second on the same stream as the first.
pub(super) fn two(c: &mut Conversation) -> [(Sent, Sent); 2] {
    let first = c.exchange(&Message::get("/one"), &Message::ok(b"first answer"));
    [
        first,
        c.exchange(&Message::post("/two", &filler(700)), &Message::response("404 Not Found").chunked(&[b"no", b"t"])),
    ]
}

pub(super) const NO_TUNNEL: &str = "tshark does not look for HTTP in the tunnel";
const ONE_BYTE: &str = "tshark loses an answer whose bytes come one by one";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "connect-eager-client",
            "A client that sends the first request for the tunnel before CONNECT is answered, and another one later.",
            "What follows CONNECT waits for the answer: after 2xx it is the tunnel's (RFC 9110, section 9.3.6).",
            |s| {
                let mut c = s.connection();
                c.open();
                let outer = c.request(&connect("10.0.0.9:80"));
                let eager = c.request(&Message::get("/eager"));
                let accepted = c.response(&Message::response(ESTABLISHED));
                let answer = c.response(&Message::ok(b"early"));
                c.ack(Side::Client);
                let next = c.exchange(&Message::get("/later"), &Message::ok(b"late"));
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&outer), Some(&accepted)).flag("tunnel").set("tunnel", "connect");
                s.line(inside(1), 1, Some(&eager), Some(&answer)).via("connect", 1, "10.0.0.9:80");
                s.whole(inside(1), 2, &next).via("connect", 1, "10.0.0.9:80");
            },
        )
        .differs("tshark looks for HTTP in the tunnel, but not for the answers"),
        case(
            "connect-one-byte-segments",
            "CONNECT and two exchanges in its tunnel, each byte in a segment of its own.",
            "The segments do not matter: neither to where the tunnel begins nor to what is in it.",
            |s| {
                let mut c = s.connection();
                c.mss = 1;
                c.open();
                opened(s, &mut c, "[2001:db8::9]:8080");
                let pairs = two(&mut c);
                c.close();
                s.capture(&mut c);
                for (seq, pair) in (1..).zip(&pairs) {
                    s.whole(inside(1), seq, pair).via("connect", 1, "[2001:db8::9]:8080");
                }
            },
        )
        .differs(ONE_BYTE),
        case(
            "connect-tls",
            "TLS in the tunnel of CONNECT.",
            "The tunnel is named; what is in it is not HTTP, and no line.",
            |s| {
                let mut c = s.connection();
                c.open();
                opened(s, &mut c, "db.example.test:443");
                c.send(Side::Client, b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03GET / HTTP/1.1\r\n\r\n01");
                c.send(Side::Server, b"\x16\x03\x03\x00\x04\x02\x00\x00\x00");
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "tunnel-gap",
            "A segment of a body inside the tunnel of CONNECT is missing, then one that held a whole answer's head.",
            "Loss in a tunnel is treated as loss outside of one.",
            |s| {
                let mut c = s.connection();
                c.mss = 500;
                c.open();
                opened(s, &mut c, "10.0.0.9:80");
                s.capture(&mut c);
                let torn = c.exchange(&Message::get("/torn"), &Message::ok(&filler(5000)));
                c.packets.remove(4);
                s.capture(&mut c);
                s.whole(inside(1), 1, &torn).via("connect", 1, "10.0.0.9:80").flag("gap").set("lost_bytes", 500);
                for seq in 2..=11 {
                    let next = c.exchange(&Message::get("/after"), &Message::ok(b"in step"));
                    c.packets[0].pause = 100_000_000;
                    s.capture(&mut c);
                    s.whole(inside(1), seq, &next).via("connect", 1, "10.0.0.9:80");
                }
                c.close();
                s.capture(&mut c);
            },
        )
        .differs(NO_TUNNEL),
        case(
            "tunnel-until-close",
            "An answer in the tunnel of CONNECT whose body lasts until the close.",
            "The tunnel ends with the connection, and with it the body (RFC 9112, section 6.3, rule 8).",
            |s| {
                let mut c = s.connection();
                c.open();
                opened(s, &mut c, "10.0.0.9:80");
                let pair = c.exchange(&Message::get("/old"), &Message::response("200 OK").bytes(&filler(3000)));
                c.fin(Side::Server);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.whole(inside(1), 1, &pair).via("connect", 1, "10.0.0.9:80");
            },
        )
        .differs(NO_TUNNEL),
        case(
            "tunnel-reset",
            "A request in the tunnel of CONNECT, and a reset instead of its answer.",
            "What is open in a tunnel ends with its connection.",
            |s| {
                let mut c = s.connection();
                c.open();
                opened(s, &mut c, "10.0.0.9:80");
                let request = c.request(&Message::get("/lost"));
                c.rst(Side::Server);
                s.capture(&mut c);
                let line = s.line(inside(1), 1, Some(&request), None).via("connect", 1, "10.0.0.9:80");
                line.flag("reset").flag("no_response");
            },
        )
        .differs(NO_TUNNEL),
        case(
            "tunnels-within-tunnels",
            "CONNECT within the tunnel of CONNECT, three deep, and a request in the innermost.",
            "Two are opened. The third is named, and what it carries is not looked at.",
            |s| {
                let mut c = s.connection();
                c.open();
                for depth in 0..3 {
                    let target = format!("proxy{}.example.test:3128", depth + 1);
                    let pair = c.exchange(&connect(&target), &Message::response(ESTABLISHED));
                    let line = s.whole(inside(depth), 1, &pair).flag("tunnel").set("tunnel", "connect");
                    if depth > 0 {
                        line.via("connect", inside(depth - 1), &format!("proxy{depth}.example.test:3128"));
                    }
                }
                c.exchange(&Message::get("/innermost"), &Message::ok(b"not seen"));
                c.close();
                s.capture(&mut c);
            },
        )
        .differs(NO_TUNNEL),
        case(
            "upgrade-http",
            "An upgrade to a protocol that picotap does not know, which turns out to be HTTP.",
            "101 ends HTTP on both sides (RFC 9110, section 15.2.2). What follows is a stream of its own, whatever it is called.",
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/").header("Connection", "Upgrade").header("Upgrade", "tunnel/1");
                let answer =
                    Message::response("101 Switching Protocols").header("Connection", "Upgrade").header("Upgrade", "tunnel/1");
                let pair = c.exchange(&request, &answer);
                let pairs = two(&mut c);
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair).flag("upgrade").flag("tunnel").set("tunnel", "other");
                for (seq, pair) in (1..).zip(&pairs) {
                    s.whole(inside(1), seq, pair).via("upgrade", 1, "");
                }
            },
        )
        .differs(NO_TUNNEL),
    ]
}
