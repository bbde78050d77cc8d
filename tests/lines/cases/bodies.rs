//! Bodies that are logged: what framing and coding is taken off, what is hidden, and where they are cut.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::{Case, case};
use crate::support::frame::END_STREAM;
use crate::support::http2::Http2;
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::Side::{Client, Server};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn ask(kind: &str) -> Message {
    Message::start("POST /post HTTP/1.1").header("Host", "example.test").header("Content-Type", kind)
}

fn answer(kind: &str) -> Message {
    Message::response("200 OK").header("Content-Type", kind)
}

fn asked(s: &mut Scene, arguments: &[&str]) {
    s.args = arguments.iter().map(|argument| (*argument).to_owned()).collect();
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "bodies",
            "Forms, JSON and text: with a length, in chunks, compressed, both, until the close, longer than is wanted, and not wanted.",
            "The text is the body without its framing (RFC 9112, sections 6 and 7) and coding (RFC 9110, section 8.4), without secrets; what is not all says so.",
            |s| {
                asked(s, &["--capture-bodies=100"]);
                let long = filler(150);
                let text = gzip(b"said twice, said twice, said twice");
                let cut = deflate(&filler(5000));
                let [form, json] = ["application/x-www-form-urlencoded", "application/json; charset=utf-8"];
                let mut c = s.connection();
                c.open();
                let pairs = [
                    (
                        ask(form).body(b"user=alice&password=s3cret&next=%2Fhome%3Ftoken%3Dabc"),
                        answer(json).body(br#"{"id":7,"token":"abc","tags":["a","b"]}"#),
                    ),
                    (
                        ask(json).chunked(&[br#"{"name":"x","cred"#, br#"entials":{"pi"#, br#"n":1234}}"#]),
                        answer("text/plain").header("Content-Encoding", "gzip").chunked(&[&text[..7], &text[7..]]),
                    ),
                    (
                        ask(json).header("Content-Encoding", "br").body(b"\x0b\x02\x80{\"\"}\x03"),
                        answer("text/html").header("Content-Encoding", "gzip, br").body(b"\x0b\x02\x80<p>\x03"),
                    ),
                    (
                        ask("text/csv").body(&long),
                        answer("application/problem+json").header("Content-Encoding", "deflate").body(&cut),
                    ),
                    (Message::get("/image"), answer("image/png").body(b"\x89PNG")),
                    (Message::get("/latin"), answer("text/plain; charset=iso-8859-1").body(b"caf\xe9 \"x\"\n")),
                    (Message::get("/binary"), answer("text/plain").body(b"a\0b")),
                    (
                        Message::get("/close"),
                        answer("text/xml").bytes(b"<login><user>u</user><password>p</password></login>"),
                    ),
                ];
                let sent: Vec<_> = pairs.iter().map(|(request, response)| c.exchange(request, response)).collect();
                c.close();
                s.capture(&mut c);
                for (seq, pair) in (1..).zip(&sent) {
                    s.whole(1, seq, pair);
                }
                let filled = String::from_utf8(filler(100)).unwrap();
                s.lines[0]
                    .set("request_body", "user=alice&password=REDACTED&next=%2Fhome%3Ftoken%3DREDACTED")
                    .set("response_body", r#"{"id":7,"token":"REDACTED","tags":["a","b"]}"#);
                s.lines[1]
                    .set("request_body", r#"{"name":"x","credentials":"REDACTED"}"#)
                    .set("response_body", "said twice, said twice, said twice");
                s.lines[2].set("request_body_undecoded", "br").set("response_body_undecoded", "several");
                s.lines[3]
                    .set("request_body", filled.as_str())
                    .set("request_body_truncated", true)
                    .set("response_body", filled.as_str())
                    .set("response_body_truncated", true);
                s.lines[5].set("response_body", "caf\\xe9 \"x\"\n");
                s.lines[6].set("response_body", "REDACTED");
                s.lines[7].set("response_body", "<login><user>u</user><password>REDACTED</password></login>");
            },
        ),
        case(
            "bodies-lost",
            "A segment in the middle of an answer is missing, and the end of another.",
            "A body is logged up to its first byte that was not seen: what is behind is not joined to it.",
            |s| {
                asked(s, &["--capture-bodies"]);
                let mut c = s.connection();
                c.mss = 500;
                c.open();
                s.capture(&mut c);
                let body = filler(2000);
                let first = c.exchange(&Message::get("/middle"), &answer("text/plain").body(&body));
                // The request, the answer's head with the front of its body, and so on.
                let head = answer("text/plain").body(&body).head.len();
                c.packets.remove(3);
                s.capture(&mut c);
                s.whole(1, 1, &first).flag("gap").set("lost_bytes", 500);
                let front = String::from_utf8(filler(1000 - head)).unwrap();
                s.lines[0].set("response_body", front.as_str()).set("response_body_truncated", true);
                for seq in 2..=11 {
                    let next = c.exchange(&Message::get("/after"), &answer("text/plain").body(b"in step"));
                    c.packets[0].pause = 100_000_000;
                    s.capture(&mut c);
                    s.whole(1, seq, &next).set("response_body", "in step");
                }
                c.close();
                s.capture(&mut c);
            },
        )
        .differs("tshark gives up the connection at the hole"),
        case(
            "bodies-http2",
            "Two streams whose data come by turns, one with a request's data, and a call of gRPC.",
            "A body is the data of its stream, without the heads of frames (RFC 9113, section 6.1). Messages of gRPC are of no type that is logged.",
            |s| {
                asked(s, &["--capture-bodies", "--body-types", "text/*,+json"]);
                let mut h = Http2::start(s.connection());
                let post =
                    [(":method", "POST"), (":scheme", "http"), (":authority", "example.test"), (":path", "/post")];
                let kind = |value| [("content-type", value)];
                h.head(Client, 1, 0, &[&post[..], &kind("application/x+json")].concat()).get(3, "/two");
                h.data(Client, 1, 0, b"{\"a\":[1],\"pass").data(Client, 1, END_STREAM, b"word\":\"p\"}");
                let ok = |value| [&[(":status", "200")][..], &kind(value)].concat();
                h.head(Server, 3, 0, &ok("text/plain")).head(Server, 1, 0, &ok("text/html"));
                h.data(Server, 3, 0, b"two ").data(Server, 1, 0, b"<p>one").data(Server, 3, END_STREAM, b"of three");
                h.data(Server, 1, END_STREAM, b"</p>");
                h.head(Client, 5, 0, &[&post[..], &kind("application/grpc")].concat());
                h.data(Client, 5, END_STREAM, b"\0\0\0\0\x02ab").head(Server, 5, 0, &ok("application/grpc"));
                h.data(Server, 5, 0, b"\0\0\0\0\x01c").trailers(Server, 5, &[("grpc-status", "0")]);
                h.conversation.ack(Client);
                h.conversation.close();
                s.capture(&mut h.conversation);
                h.line(s, 1, 1, 1)
                    .set("request_body", r#"{"a":[1],"password":"REDACTED"}"#)
                    .set("response_body", "<p>one</p>");
                h.line(s, 1, 2, 3).set("response_body", "two of three");
                let line = h.line(s, 1, 3, 5).set("grpc_status", 0).flag("trailers");
                line.set("grpc_request_messages", 1).set("grpc_response_messages", 1);
            },
        ),
    ]
}
