//! Heads and bodies that strict parsers refuse, and that servers answer or clients accept: they are printed, and flagged.
//!
//! What is said here of servers and clients was tried: nginx 1.22, Apache 2.4, lighttpd 1.4, Node 20 and Python 3.11's
//! http.server; curl 7.88, Node 20 and Python 3.11's http.client.

use super::{Case, after, case};
use crate::support::capture::{Compression, Format, Order};
use crate::support::conversation::Conversation;
use crate::support::line::Line;
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::Side;

fn hang_up(c: &mut Conversation) {
    c.fin(Side::Server);
    c.fin(Side::Client);
    c.ack(Side::Server);
}

fn refusal() -> Message {
    Message::response("400 Bad Request").header("Connection", "close").body(b"bad")
}

/// An odd request, answered with 400 and closed.
fn request<'a>(s: &'a mut Scene, flag: &'static str, odd: &Message) -> &'a mut Line {
    let mut c = s.connection();
    c.open();
    let asked = c.request(odd);
    let answer = c.response(&refusal());
    hang_up(&mut c);
    s.capture(&mut c);
    s.line(1, 1, Some(&asked), Some(&answer)).flag(flag)
}

/// Good requests whose answers are odd, and a good exchange behind them.
fn responses(s: &mut Scene, flag: &'static str, odd: &[Message]) {
    let mut c = s.connection();
    c.open();
    for (seq, answer) in (1..).zip(odd) {
        let pair = c.exchange(&Message::get("/odd"), answer);
        s.whole(1, seq, &pair).flag(flag);
    }
    let (q, a) = after();
    let pair = c.exchange(&q, &a);
    c.close();
    s.capture(&mut c);
    s.whole(1, odd.len() as u64 + 1, &pair);
}

/// 200 with a body of five bytes, behind this header line.
fn behind(line: &[u8]) -> Message {
    Message::raw([b"HTTP/1.1 200 OK\r\n", line, b"\r\nContent-Length: 5\r\n\r\n"].concat()).bytes(b"hello")
}

/// Sends all of a message, of which only the first `len` bytes of the head are to be seen.
fn part(c: &mut Conversation, side: Side, message: &Message, len: usize) -> crate::support::conversation::Sent {
    let sent = c.locate(side, &Message::raw(&message.head[..len]));
    c.send(side, &message.all());
    sent
}

/// Three exchanges, every frame cut to 96 bytes, of which 42 are payload. Behind each head that `request` makes for a target come
/// so many segments of a body.
fn snapped_heads(s: &mut Scene, request: &dyn Fn(&str) -> Message, segments: usize) {
    const SEEN: usize = 42;
    let mut c = s.connection();
    c.open();
    for (seq, status) in (1..).zip(["200 OK", "404 Not Found", "500 Internal Server Error"]) {
        let target = format!("/a/target/of/some/more/length/{seq}/and/more");
        let message = request(&target);
        let asked = part(&mut c, Side::Client, &message, SEEN);
        for _ in 0..segments {
            c.send(Side::Client, &filler(1000));
        }
        let answer = Message::response(status).header("Server", "example").body(b"hello");
        let answered = part(&mut c, Side::Server, &answer, SEEN);
        c.ack(Side::Client);
        let line = s.line(1, seq, Some(&asked), Some(&answered));
        let seen = SEEN - message.start_line()[0].len() - 1;
        line.flag("head_cut").flag("pairing_inferred").set("version", "1.1").set("target", &target[..seen]);
        line.unset("request_body_bytes").unset("response_body_bytes");
        if seq > 1 {
            line.flag("resync");
        }
    }
    c.close();
    for packet in &mut c.packets {
        packet.snapped = Some(96);
    }
    s.capture(&mut c);
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "bad-space-before-colon",
            "A request header with a space before its colon.",
            "The request is printed with its 400, flagged; nginx, Apache, lighttpd and Node answer so, and Python reads it. The \
             length counts, since what follows is no start line.",
            |s| {
                let head = "POST /x HTTP/1.1\r\nHost: example.test\r\nContent-Length : 5\r\n\r\n";
                request(s, "bad_header", &Message::raw(head).bytes(b"hello"));
            },
        ),
        case(
            "bad-nul-in-header",
            "A NUL in a header value.",
            "The request is printed with its 400, flagged; nginx, Apache, lighttpd and Node answer so, and Python reads it.",
            |s| {
                let head = "GET /x HTTP/1.1\r\nHost: example.test\r\nX: a\0b\r\n\r\n";
                request(s, "bad_header", &Message::raw(head));
            },
        ),
        case(
            "bad-space-in-target",
            "A target with a space in it.",
            "The target is all that is between the method and the version. nginx, Apache, Node and Python answer 400, and lighttpd \
             looks for such a file.",
            |s| {
                let head = "GET /a b HTTP/1.1\r\nHost: example.test\r\n\r\n";
                request(s, "bad_start_line", &Message::raw(head)).set("target", "/a b").set("version", "1.1");
            },
        )
        .differs("tshark's target ends at the space"),
        case(
            "bad-version",
            "Versions 1.10 and 3.0.",
            "Printed as 1.1, flagged. nginx and Python answer the first with 200, and Apache the second; others refuse.",
            |s| {
                let mut c = s.connection();
                c.open();
                for (seq, version, status) in [(1, "1.10", "200 OK"), (2, "3.0", "505 HTTP Version Not Supported")] {
                    let asked = Message::start(&format!("GET /a HTTP/{version}")).header("Host", "example.test");
                    let pair = c.exchange(&asked, &Message::response(status).body(b"x"));
                    s.whole(1, seq, &pair).flag("bad_start_line").set("version", "1.1");
                }
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "bad-too-many-headers",
            "129 headers in a request, and 150 in a response.",
            "Both are printed, flagged, with the header asked for, which is the last. nginx, lighttpd and Node take so many of a \
             request; curl and Node take so many of a response.",
            |s| {
                let mut c = s.connection();
                c.open();
                let head = |line: &str, header: &str, count: usize| {
                    Message::raw(format!(
                        "{line}\r\n{}Host: example.test\r\nContent-Length: 5\r\nX-Last: z\r\n\r\n",
                        header.repeat(count)
                    ))
                    .bytes(b"hello")
                };
                let pair = c.exchange(
                    &head("POST /x HTTP/1.1", "X: y\r\n", 126),
                    &head("HTTP/1.1 200 OK", "Set-Cookie: a=b\r\n", 147),
                );
                c.close();
                s.capture(&mut c);
                s.args = vec!["--header".into(), "x-last".into()];
                s.whole(1, 1, &pair)
                    .flag("too_many_headers")
                    .set("request_headers", serde_json::json!({"x-last": ["z"]}))
                    .set("response_headers", serde_json::json!({"x-last": ["z"]}));
            },
        ),
        case(
            "bad-response-header",
            "Answers with odd header lines: without a name, with a space before the colon or in the name, with a control character.",
            "curl and Python read all of these, Node none. They are printed, flagged, and the next answer is read.",
            |s| {
                let lines = [&b": value"[..], b"X-Foo : bar", b"X Foo: bar", b"X: a\x01b"];
                responses(s, "bad_header", &lines.map(behind));
            },
        ),
        case(
            "bad-response-header-without-colon",
            "An answer with a header line without a colon, and one with a NUL.",
            "Python reads both; curl and Node refuse them. They are printed, flagged, and the next answer is read.",
            |s| responses(s, "bad_header", &[behind(b"garbage"), behind(b"X: a\0b")]),
        ),
        case(
            "odd-status-lines",
            "Answers that begin with \"HTTP/1.10 200 OK\", with a tab before the status, and with \"200OK\".",
            "Python reads the first two, and curl the third. They are printed, flagged, and the next answer is read.",
            |s| {
                let mut c = s.connection();
                c.open();
                for (seq, line) in (1..).zip(["HTTP/1.10 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1 200OK"]) {
                    let pair = c.exchange(&Message::get("/odd"), &Message::start(line).body(b"hello"));
                    s.whole(1, seq, &pair).flag("bad_start_line").set("status", 200).set("reason", "OK");
                }
                c.close();
                s.capture(&mut c);
            },
        )
        .differs("tshark reads no status without a space behind it"),
        case(
            "te-identity",
            "Answers with Transfer-Encoding: identity and a length.",
            "curl and Python read the length, as if there were no coding (RFC 2616, section 3.6); Node refuses. Flagged as a \
             conflict, and the next answer is read.",
            |s| {
                let mut c = s.connection();
                c.open();
                let odd = Message::response("200 OK").header("Transfer-Encoding", "identity").body(b"hello");
                let pair = c.exchange(&Message::get("/odd"), &odd);
                s.whole(1, 1, &pair).flag("te_odd").flag("te_cl_conflict");
                let (q, a) = after();
                let pair = c.exchange(&q, &a);
                s.whole(1, 2, &pair);
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "te-parameter",
            "Answers with \"chunked;q=1\" and \"chunked, identity\", and chunks.",
            "Node and Python take such a body for one that lasts until the close; curl refuses the first and reads the chunks of \
             the second. On a connection that goes on only chunks make sense. Flagged, and the next answer is read.",
            |s| {
                let odd = |coding: &str| {
                    Message::response("200 OK").header("Transfer-Encoding", coding).wire("5\r\nhello\r\n0\r\n\r\n", 5)
                };
                responses(s, "te_odd", &[odd("chunked;q=1"), odd("chunked, identity")]);
            },
        ),
        case(
            "chunks-with-lf",
            "Chunks whose lines end with LF alone: all of them, and only the sizes'.",
            "curl reads both, and Python the second; Node refuses them. lighttpd takes such a request, and Apache and Node answer \
             400. Flagged, and the next answer is read.",
            |s| {
                let odd = |wire: &str| Message::response("200 OK").header("Transfer-Encoding", "chunked").wire(wire, 5);
                responses(s, "chunk_odd", &[odd("5\nhello\n0\n\n"), odd("5\nhello\r\n0\n\r\n")]);
            },
        ),
        case(
            "chunks-of-one-byte",
            "30,000 bytes, each a chunk of its own.",
            "curl, Node and Python read it, and so it is read to its end; the framing, five times the data, is flagged.",
            |s| {
                s.format("capture.pcap.gz", Format::Pcap(Order::Little, false), Compression::Gzip);
                let wire = "1\r\nx\r\n".repeat(30_000) + "0\r\n\r\n";
                let odd = Message::response("200 OK").header("Transfer-Encoding", "chunked").wire(wire, 30_000);
                responses(s, "chunk_overhead", &[odd]);
            },
        ),
        case(
            "http09",
            "A request of HTTP/0.9, without version, and its answer without head; the same, refused in HTTP/1.1.",
            "nginx and Apache answer at once and so; lighttpd, Node and Python wait for headers. The request is printed, flagged, \
             and what follows it on its side is not looked at. An answer without head has no status.",
            |s| {
                let mut c = s.connection();
                c.open();
                let asked = c.request(&Message::raw("GET /x\r\n"));
                c.send(Side::Server, b"<html>hello</html>");
                hang_up(&mut c);
                s.capture(&mut c);
                s.line(1, 1, Some(&asked), None)
                    .flag("bad_start_line")
                    .flag("not_http")
                    .flag("response_unread")
                    .set("version", "1.0");
                let mut c = s.connection();
                c.open();
                let asked = c.request(&Message::raw("GET /x\r\n"));
                let answer = c.response(&refusal());
                hang_up(&mut c);
                s.capture(&mut c);
                s.line(2, 1, Some(&asked), Some(&answer)).flag("bad_start_line").set("version", "1.0");
            },
        )
        .differs("tshark shows no request without a version"),
        case(
            "answer-to-no-http",
            "On a port for HTTP: TLS, a line and rubbish, each answered with 400; and a 408 to a client that says nothing.",
            "Each answer is printed, without a request. nginx, lighttpd and Node answer TLS so, and all but Python the line.",
            |s| {
                let sent: [&[u8]; 4] =
                    [b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", b"HELLO\r\n", b"\x00\x01\x02", b""];
                for (conn, bytes) in (1..).zip(sent) {
                    let mut c = s.connection();
                    c.open();
                    c.send(Side::Client, bytes);
                    let status = if bytes.is_empty() { "408 Request Timeout" } else { "400 Bad Request" };
                    let answer = c.response(&Message::response(status).header("Connection", "close").body(b"bad"));
                    hang_up(&mut c);
                    s.capture(&mut c);
                    s.line(conn, 1, None, Some(&answer)).flag("no_request");
                }
            },
        ),
        case(
            "head-never-finished",
            "Requests whose heads are never finished: the server closes, or resets; an answer cut in its head by the close.",
            "What was seen of each is printed, flagged: of the second the target as far as it goes. Where such a message ends is \
             not known, so no body is counted.",
            |s| {
                let heads = ["GET /login HTTP/1.1\r\nHost: example.test\r\nX-A: ", "GET /log"];
                for (conn, head) in (1..).zip(heads) {
                    let mut c = s.connection();
                    c.open();
                    let asked = c.request(&Message::raw(head));
                    let line = if conn == 1 {
                        hang_up(&mut c);
                        s.capture(&mut c);
                        s.line(conn, 1, Some(&asked), None)
                    } else {
                        c.rst(Side::Server);
                        s.capture(&mut c);
                        s.line(conn, 1, Some(&asked), None).flag("reset").set("version", "1.1")
                    };
                    line.flag("head_cut").flag("no_response").unset("request_body_bytes");
                }
                let mut c = s.connection();
                c.open();
                let asked = c.request(&Message::get("/x"));
                let answer = c.response(&Message::raw("HTTP/1.1 200 OK\r\nContent-Le"));
                hang_up(&mut c);
                s.capture(&mut c);
                s.line(3, 1, Some(&asked), Some(&answer)).flag("head_cut").unset("response_body_bytes");
            },
        )
        .differs("tshark waits for the rest of a head"),
        case(
            "head-never-finished-answered",
            "A request whose head is sent slowly and never finished, and answered with 408.",
            "The answer is that of the head, as far as this was seen. nginx, Apache and HAProxy answer so.",
            |s| {
                let mut c = s.connection();
                c.open();
                let asked = c.request(&Message::raw("GET /slow HTTP/1.1\r\nHost: example.test\r\nX-A: "));
                let timeout = Message::response("408 Request Timeout").header("Connection", "close").body(b"late");
                let answer = c.response(&timeout);
                hang_up(&mut c);
                s.capture(&mut c);
                s.line(1, 1, Some(&asked), Some(&answer)).flag("head_cut").unset("request_body_bytes");
            },
        )
        .differs("tshark waits for the rest of a head"),
        case(
            "snap-length-in-heads",
            "Every frame cut to 96 bytes, of which 42 are payload.",
            "Every request line and status line is printed as far as it was captured, and the answers are paired by \
             acknowledgements. What a body's size was is not known.",
            |s| snapped_heads(s, &Message::get, 0),
        ),
        case(
            "snap-length-and-body-segments",
            "Every frame cut to 96 bytes; requests whose bodies come in segments of their own.",
            "Where a body ends is not known, but the answers acknowledge it: each is that of its request.",
            |s| snapped_heads(s, &|target| Message::post(target, b""), 3),
        ),
        case(
            "head-too-long",
            "A request with a cookie of 70,000 bytes, and its answer.",
            "More than 65,535 bytes of a head are not read; the start line and the headers before the cookie are printed.",
            |s| {
                s.format("capture.pcap.gz", Format::Pcap(Order::Little, false), Compression::Gzip);
                let mut c = s.connection();
                c.open();
                let long = Message::get("/long").header("Cookie", &"x".repeat(70_000));
                let asked = part(&mut c, Side::Client, &long, 65_535);
                let answer = c.response(&Message::ok(b"hello"));
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                let line = s.line(1, 1, Some(&asked), Some(&answer)).flag("head_cut").flag("head_too_long");
                line.flag("truncated").flag("pairing_inferred").unset("request_body_bytes");
            },
        ),
    ]
}
