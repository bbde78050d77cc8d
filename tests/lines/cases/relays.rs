//! Connections that begin with a PROXY header, and HTTP through SOCKS.

use std::net::SocketAddr;

use super::tunnels::{ESTABLISHED, NO_TUNNEL, connect, inside, two};
use super::{Case, case};
use crate::support::conversation::{Conversation, Sent};
use crate::support::line::Line;
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::{Side, octets};

/// Bytes of a handshake, as one message.
fn bytes(c: &mut Conversation, side: Side, bytes: &[u8]) -> Sent {
    c.message(side, &Message::raw(bytes))
}

/// The operation of SOCKS on connection 1, which is granted.
fn connects<'a>(s: &'a mut Scene, asked: &Sent, answered: &Sent, target: &str, outcome: &str) -> &'a mut Line {
    s.line(1, 1, Some(asked), Some(answered))
        .operation("socks", "connect")
        .set("target", target)
        .set("outcome", outcome)
}

/// Address and port as SOCKS 5 and the PROXY protocol write them.
fn wire(address: SocketAddr) -> Vec<u8> {
    [&octets(address.ip())[..], &address.port().to_be_bytes()].concat()
}

/// What of a line comes from a PROXY header: the client that it names, and the sender, which is the balancer.
fn named(line: &mut Line, client: &str, balancer: SocketAddr) {
    let client: SocketAddr = client.parse().unwrap();
    line.set("client", client.ip().to_string()).set("client_port", client.port());
    line.set("proxy", balancer.ip().to_string()).set("proxy_port", balancer.port());
}

/// A connection that begins with a header of the PROXY protocol; two exchanges follow. `client`: what it names, and the target.
fn behind(s: &mut Scene, mut c: Conversation, header: &[u8], client: Option<(&str, &str)>) {
    c.open();
    // Balancers send it with the first bytes.
    let sent = c.batch(Side::Client, &[Message::raw(header), Message::get("/one")]);
    let balancer = s.ends[sent[0].conversation][0];
    let first = c.response(&Message::ok(b"first answer"));
    c.ack(Side::Client);
    let second =
        c.exchange(&Message::post("/two", &filler(700)), &Message::response("404 Not Found").chunked(&[b"no", b"t"]));
    let pairs = [(sent[1].clone(), first), second];
    c.close();
    s.capture(&mut c);
    for (seq, pair) in (1..).zip(&pairs) {
        let target = client.map_or("", |(_, target)| target);
        let line = s.whole(inside(1), seq, pair).via("proxy", 1, target);
        if let Some((client, _)) = client {
            named(line, client, balancer);
        }
    }
}

/// A header of version 2 with this command, family and content.
fn version2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, content].concat()
}

/// Both ends as version 2 writes them: addresses, then ports.
fn ends2(client: &str, target: &str) -> Vec<u8> {
    let (client, target): (SocketAddr, SocketAddr) = (client.parse().unwrap(), target.parse().unwrap());
    let ports = [client.port().to_be_bytes(), target.port().to_be_bytes()].concat();
    [octets(client.ip()), octets(target.ip()), ports].concat()
}

const TSHARK_SOCKS: &str = "tshark lists HTTP alone";
const PROXY_RIGHT: &str =
    "The header names the client; the sender of the header is the proxy (the PROXY protocol, versions 1 and 2).";
const TSHARK_PROXY: &str = "tshark names the balancer as the client, and loses the request that comes with the header";

pub(super) fn cases() -> Vec<Case> {
    [proxy_cases(), socks_cases()].into_iter().flatten().collect()
}

fn proxy_cases() -> Vec<Case> {
    vec![
        case("proxy-v1", "A PROXY header of version 1 for IPv4, then two exchanges.", PROXY_RIGHT, |s| {
            let c = s.connection();
            let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
            behind(s, c, header, Some(("192.0.2.7:56324", "198.51.100.1:443")));
        })
        .differs(TSHARK_PROXY),
        case("proxy-v1-ipv6", "A PROXY header of version 1 for IPv6, in segments of one byte.", PROXY_RIGHT, |s| {
            let mut c = s.connection();
            c.mss = 1;
            let header = b"PROXY TCP6 2001:db8::7 2001:db8::80 56324 443\r\n";
            behind(s, c, header, Some(("[2001:db8::7]:56324", "[2001:db8::80]:443")));
        })
        .differs("tshark names the balancer as the client, and loses an answer whose bytes come one by one"),
        case(
            "proxy-v1-unknown",
            "A PROXY header of version 1 that names no client.",
            "With UNKNOWN the receiver takes the addresses of the connection (the PROXY protocol, section 2.1).",
            |s| {
                let c = s.connection();
                behind(s, c, b"PROXY UNKNOWN\r\n", None);
            },
        )
        .differs("tshark loses the request that comes with the header"),
        case("proxy-v2", "A PROXY header of version 2 for IPv4, then two exchanges.", PROXY_RIGHT, |s| {
            let c = s.connection();
            let (client, target) = ("192.0.2.7:56324", "198.51.100.1:443");
            behind(s, c, &version2(1, 0x11, &ends2(client, target)), Some((client, target)));
        })
        .differs(TSHARK_PROXY),
        case(
            "proxy-v2-ipv6-tlvs",
            "A PROXY header of version 2 for IPv6 with ALPN, a checksum and 300 bytes of padding behind the addresses.",
            PROXY_RIGHT,
            |s| {
                let c = s.connection_v6();
                let (client, target) = ("[2001:db8:1::7]:56324", "[2001:db8:2::80]:443");
                let padding = [&[0x04, 0x01, 0x2c][..], &[0; 300]].concat();
                let tlvs = [b"\x01\x00\x08http/1.1\x03\x00\x04\xde\xad\xbe\xef", &padding[..]].concat();
                behind(s, c, &version2(1, 0x21, &[ends2(client, target), tlvs].concat()), Some((client, target)));
            },
        )
        .differs(TSHARK_PROXY),
        case(
            "proxy-v2-local",
            "A PROXY header of version 2 with the command LOCAL, as a health check sends it.",
            "With LOCAL the receiver takes the addresses of the connection, whatever the header holds (section 2.2).",
            |s| {
                let c = s.connection();
                behind(s, c, &version2(0, 0x11, &ends2("192.0.2.7:56324", "198.51.100.1:443")), None);
            },
        )
        .differs("tshark loses the request that comes with the header"),
        case(
            "proxy-connect",
            "CONNECT on a connection that begins with a PROXY header, and an exchange in its tunnel.",
            "Each is a tunnel of its own, and both count.",
            |s| {
                let mut c = s.connection();
                c.open();
                let header = bytes(&mut c, Side::Client, b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 3128\r\n");
                let outer = c.exchange(&connect("10.0.0.9:80"), &Message::response(ESTABLISHED));
                let inner = c.exchange(&Message::get("/inside"), &Message::ok(b"deep"));
                c.close();
                s.capture(&mut c);
                let balancer = s.ends[header.conversation][0];
                let line = s.whole(inside(1), 1, &outer).via("proxy", 1, "198.51.100.1:3128");
                named(line.flag("tunnel").set("tunnel", "connect"), "192.0.2.7:56324", balancer);
                let line = s.whole(inside(2), 1, &inner).via("connect", inside(1), "10.0.0.9:80");
                line.set("client", "192.0.2.7").set("client_port", 56324);
            },
        )
        .differs(NO_TUNNEL),
    ]
}

fn socks_cases() -> Vec<Case> {
    vec![
        case(
            "socks5",
            "SOCKS 5 without authentication, to an IPv4 address; two exchanges.",
            "The request of SOCKS and its answer are an operation (RFC 1928); behind a success the connection is a tunnel.",
            |s| {
                let mut c = s.between("10.0.0.1:40001", "10.0.0.2:1080");
                c.open();
                bytes(&mut c, Side::Client, b"\x05\x01\x00");
                bytes(&mut c, Side::Server, b"\x05\x00");
                let asked = [b"\x05\x01\x00\x01", &wire("10.0.0.9:8080".parse().unwrap())[..]].concat();
                let asked = bytes(&mut c, Side::Client, &asked);
                let answered = bytes(&mut c, Side::Server, b"\x05\x00\x00\x01\x0a\x00\x00\x02\x9c\x40");
                let pairs = two(&mut c);
                c.close();
                s.capture(&mut c);
                connects(s, &asked, &answered, "10.0.0.9:8080", "succeeded");
                for (seq, pair) in (1..).zip(&pairs) {
                    s.whole(inside(1), seq, pair).via("socks", 1, "10.0.0.9:8080");
                }
            },
        )
        .differs(TSHARK_SOCKS),
        case(
            "socks5-eager-client",
            "A client of SOCKS 5 that waits for no answer: greeting, request and the first request inside are one segment.",
            "Each part waits for the answer to the one before.",
            |s| {
                let mut c = s.between("10.0.0.1:40001", "10.0.0.2:1080");
                c.open();
                let asked = Message::raw(b"\x05\x01\x00\x01\x0a\x00\x00\x09\x00\x50");
                let sent = c.batch(Side::Client, &[Message::raw(b"\x05\x01\x00"), asked, Message::get("/eager")]);
                let granted = Message::raw(b"\x05\x00\x00\x01\x0a\x00\x00\x02\x9c\x40");
                let answers = c.batch(Side::Server, &[Message::raw(b"\x05\x00"), granted, Message::ok(b"hello")]);
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                connects(s, &sent[1], &answers[1], "10.0.0.9:80", "succeeded");
                s.line(inside(1), 1, Some(&sent[2]), Some(&answers[2])).via("socks", 1, "10.0.0.9:80");
            },
        )
        .differs("tshark gives up such a client"),
        case(
            "socks5-login-name",
            "SOCKS 5 with user name and password, to a name, in segments of one byte; two exchanges.",
            "The login (RFC 1929) is no operation, and appears nowhere.",
            |s| {
                let mut c = s.between("10.0.0.1:40001", "10.0.0.2:1080");
                c.mss = 1;
                c.open();
                bytes(&mut c, Side::Client, b"\x05\x02\x00\x02");
                bytes(&mut c, Side::Server, b"\x05\x02");
                bytes(&mut c, Side::Client, b"\x01\x05alice\x06secret");
                bytes(&mut c, Side::Server, b"\x01\x00");
                let asked = bytes(&mut c, Side::Client, b"\x05\x01\x00\x03\x10web.example.test\x00\x50");
                let answered = [b"\x05\x00\x00\x04", &wire("[2001:db8::2]:40000".parse().unwrap())[..]].concat();
                let answered = bytes(&mut c, Side::Server, &answered);
                let pairs = two(&mut c);
                c.close();
                s.capture(&mut c);
                connects(s, &asked, &answered, "web.example.test:80", "succeeded");
                for (seq, pair) in (1..).zip(&pairs) {
                    s.whole(inside(1), seq, pair).via("socks", 1, "web.example.test:80");
                }
            },
        )
        .differs("tshark finds one request where the bytes come one by one, and lists HTTP alone"),
        case(
            "socks5-refused",
            "SOCKS 5 to a port that is closed.",
            "The operation failed: `error` says how (RFC 1928, section 6). No tunnel begins.",
            |s| {
                let mut c = s.between("10.0.0.1:40001", "10.0.0.2:1080");
                c.open();
                bytes(&mut c, Side::Client, b"\x05\x01\x00");
                bytes(&mut c, Side::Server, b"\x05\x00");
                let asked = bytes(&mut c, Side::Client, b"\x05\x01\x00\x01\x0a\x00\x00\x09\x00\x01");
                let answered = bytes(&mut c, Side::Server, b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00");
                c.close();
                s.capture(&mut c);
                let line = s.line(1, 1, Some(&asked), Some(&answered)).operation("socks", "connect");
                line.set("target", "10.0.0.9:1").set("error", "connection refused").flag("failed");
            },
        )
        .differs(TSHARK_SOCKS),
        case(
            "socks4",
            "SOCKS 4 to an IPv4 address, with a user's name; two exchanges.",
            "The request is an operation, and behind 90 the connection is a tunnel (SOCKS, a protocol for TCP proxy across firewalls).",
            |s| {
                let mut c = s.between("10.0.0.1:40001", "10.0.0.2:1080");
                c.open();
                let asked = bytes(&mut c, Side::Client, b"\x04\x01\x1f\x90\x0a\x00\x00\x09alice\x00");
                let answered = bytes(&mut c, Side::Server, b"\x00\x5a\x00\x00\x00\x00\x00\x00");
                let pairs = two(&mut c);
                c.close();
                s.capture(&mut c);
                connects(s, &asked, &answered, "10.0.0.9:8080", "granted");
                for (seq, pair) in (1..).zip(&pairs) {
                    s.whole(inside(1), seq, pair).via("socks", 1, "10.0.0.9:8080");
                }
            },
        )
        .differs(TSHARK_SOCKS),
        case(
            "socks4a-eager-client",
            "SOCKS 4a to a name, by a client that sends its first request behind that of SOCKS; another follows.",
            "0.0.0.x stands for the name behind the user's. What follows the request waits for the answer.",
            |s| {
                let mut c = s.between("10.0.0.1:40001", "10.0.0.2:1080");
                c.open();
                let ask = Message::raw(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00web.example.test\x00");
                let sent = c.batch(Side::Client, &[ask, Message::get("/eager")]);
                let answered = bytes(&mut c, Side::Server, b"\x00\x5a\x00\x50\x0a\x00\x00\x09");
                let answer = c.response(&Message::ok(b"hello"));
                c.ack(Side::Client);
                let next = c.exchange(&Message::get("/later"), &Message::ok(b"late"));
                c.close();
                s.capture(&mut c);
                connects(s, &sent[0], &answered, "web.example.test:80", "granted");
                s.line(inside(1), 1, Some(&sent[1]), Some(&answer)).via("socks", 1, "web.example.test:80");
                s.whole(inside(1), 2, &next).via("socks", 1, "web.example.test:80");
            },
        )
        .differs("tshark loses the request that comes with that of SOCKS, which it does not list"),
    ]
}
