//! What is HTTP, on any port and in any direction, and what is not.

use super::{Case, case, healthy};
use crate::support::message::Message;
use crate::support::scene::Scene;
use crate::support::wire::Side;

/// A connection to a port that carries these first bytes, client's and server's, beside one of HTTP.
fn beside(s: &mut Scene, port: u16, client: &[u8], server: &[u8], server_first: bool) {
    let mut other = s.between("10.0.0.9:50000", &format!("10.0.0.80:{port}"));
    other.open();
    for _ in 0..2 {
        for side in if server_first { [Side::Server, Side::Client] } else { [Side::Client, Side::Server] } {
            other.send(side, if side == Side::Client { client } else { server });
        }
    }
    other.ack(Side::Client);
    other.close();
    s.capture(&mut other);
    healthy(s, 2);
}

const SILENT: &str = "No line for it; the connection beside it is read.";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("odd-port", "HTTP on port 22.", "HTTP is recognised by content, on any port.", |s| {
            let mut c = s.between("10.0.0.1:40001", "10.0.0.80:22");
            c.open();
            let pair = c.exchange(&Message::get("/ssh"), &Message::ok(b"no"));
            c.close();
            s.capture(&mut c);
            s.whole(1, 1, &pair);
        }),
        case(
            "low-client-port",
            "A client on port 80 that speaks to a server on port 50000.",
            "The sender of the request is the client, whatever the ports.",
            |s| {
                let mut c = s.between("10.0.0.1:80", "10.0.0.80:50000");
                c.open();
                let pair = c.exchange(&Message::get("/reverse"), &Message::ok(b"yes"));
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair);
            },
        ),
        case("tls", "A TLS connection beside one of HTTP.", SILENT, |s| {
            let hello =
                b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03GET / HTTP/1.1\r\n\r\n0123456789abcdef\x00\x00\x02";
            beside(s, 443, hello, b"\x16\x03\x03\x00\x04\x02\x00\x00\x00", false);
        }),
        case("http2", "HTTP/2 with prior knowledge beside HTTP/1.1.", SILENT, |s| {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
            beside(s, 80, preface, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", false);
        }),
        case(
            "http2-refused",
            "HTTP/2 with prior knowledge at a server that does not speak it, which answers 400 in HTTP/1.1.",
            "The answer is printed, without a request.",
            |s| {
                let mut c = s.connection();
                c.open();
                c.send(Side::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
                c.send(Side::Client, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00");
                let answer =
                    c.response(&Message::response("400 Bad Request").header("Connection", "close").body(b"bad"));
                c.send(Side::Client, b"\x00\x00\x00\x04\x01\x00\x00\x00\x00");
                c.close();
                s.capture(&mut c);
                s.line(1, 1, None, Some(&answer)).flag("no_request");
            },
        )
        .differs("tshark takes both sides for HTTP/2 once it has seen the preface"),
        case("ssh", "SSH, where the server speaks first.", SILENT, |s| {
            beside(s, 22, b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", true);
        }),
        case("smtp", "SMTP, whose replies begin with three digits.", SILENT, |s| {
            beside(s, 25, b"EHLO client.example.test\r\n", b"220 mail.example.test ESMTP\r\n", true);
        }),
        case("binary", "A protocol of lengths and zeros.", SILENT, |s| {
            beside(s, 5432, b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"N\x00\x00\x00\x00\x00", false);
        }),
    ]
}
