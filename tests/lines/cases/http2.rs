//! HTTP/2: streams side by side, however they end, and gRPC on them.

use super::{Case, case};
use crate::support::frame::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, frame};
use crate::support::http2::Http2;
use crate::support::message::{Message, filler};
use crate::support::scene::Scene;
use crate::support::wire::Side::{Client, Server};

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "example.test"), (":path", "/post")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("server", "test")];

fn begin(s: &mut Scene) -> Http2 {
    Http2::start(s.connection())
}

fn finish(s: &mut Scene, h: &mut Http2) {
    h.conversation.ack(Client);
    h.conversation.close();
    s.capture(&mut h.conversation);
}

/// A call of gRPC: its head, and what it sends as messages.
fn call(h: &mut Http2, stream: u32, path: &str, messages: &[&[u8]]) {
    let head = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "example.test"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "5S"),
    ];
    h.head(Client, stream, 0, &head).data(Client, stream, END_STREAM, &prefixed(messages));
}

/// Messages of gRPC: each behind a byte that says whether it is compressed, and its length.
fn prefixed(messages: &[&[u8]]) -> Vec<u8> {
    messages.iter().flat_map(|one| [&[0][..], &(one.len() as u32).to_be_bytes(), one].concat()).collect()
}

const GRPC: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "http2-streams",
            "Three requests at once, answered in another order, then two that use what the tables hold.",
            "Each stream is a transaction of its own (RFC 9113, section 5); lines come as their responses end.",
            |s| {
                let mut h = begin(s);
                h.get(1, "/one").get(3, "/two?a=b").get(5, "/three");
                h.head(Server, 3, 0, &OK).head(Server, 5, END_STREAM, &[(":status", "404")]).head(Server, 1, 0, &OK);
                h.data(Server, 1, 0, &filler(2000)).data(Server, 3, END_STREAM, b"two").data(Server, 1, END_STREAM, b"");
                h.get(7, "/one").head(Server, 7, 0, &OK).data(Server, 7, END_STREAM, b"again");
                h.get(9, "/two?a=b").head(Server, 9, END_STREAM, &[(":status", "404")]);
                finish(s, &mut h);
                for (seq, stream) in (1..).zip([1, 3, 5, 7, 9]) {
                    h.line(s, 1, seq, stream);
                }
            },
        ),
        case(
            "http2-bodies",
            "An upload in three frames, a length that is announced, padding, and an answer that begins before the request has ended.",
            "Bodies are counted with the heads of their frames, and without. Padding is none of a body's bytes.",
            |s| {
                let mut h = begin(s);
                h.head(Client, 1, 0, &POST).data(Client, 1, 0, &filler(3000)).data(Client, 1, 0, b"");
                h.data(Client, 1, END_STREAM, &filler(10)).head(Server, 1, END_STREAM, &[(":status", "204")]);
                h.head(Client, 3, 0, &POST).data(Client, 3, 0, b"first");
                h.head(Server, 3, 0, &OK).data(Client, 3, END_STREAM, b"last").data(Server, 3, END_STREAM, b"answer");
                finish(s, &mut h);
                h.line(s, 1, 1, 1);
                h.line(s, 1, 2, 3).flag("early_response").unset("ttfb_us");
            },
        ),
        case(
            "http2-trailers-and-interim",
            "An early hint (103), trailers behind the response and behind the request.",
            "An interim response is counted, and trailers are flagged.",
            |s| {
                let mut h = begin(s);
                h.get(1, "/hinted").interim(1, "103").head(Server, 1, 0, &OK).data(Server, 1, 0, b"body");
                h.trailers(Server, 1, &[("x-sum", "7")]);
                h.head(Client, 3, 0, &POST).data(Client, 3, 0, b"part").trailers(Client, 3, &[("x-sum", "8")]);
                h.head(Server, 3, END_STREAM, &[(":status", "204")]);
                finish(s, &mut h);
                h.line(s, 1, 1, 1).set("interim", 1).flag("trailers");
                h.line(s, 1, 2, 3).flag("trailers");
            },
        ),
        case(
            "http2-resets",
            "A request that its client cancels, one that the server refuses, and one that it breaks off in the body.",
            "The code of the error is told (RFC 9113, section 7); what was refused was not processed (section 8.7).",
            |s| {
                let mut h = begin(s);
                h.get(1, "/cancelled").reset(Client, 1, 8).get(3, "/refused").reset(Server, 3, 7);
                h.get(5, "/broken").head(Server, 5, 0, &OK).data(Server, 5, 0, b"half").reset(Server, 5, 2);
                h.get(7, "/whole").head(Server, 7, 0, &OK).data(Server, 7, END_STREAM, b"whole");
                finish(s, &mut h);
                h.line(s, 1, 1, 1).set("stream_error", 8).flag("no_response").flag("stream_reset");
                h.line(s, 1, 2, 3).set("stream_error", 7).flag("no_response").flag("not_processed");
                let line = h.line(s, 1, 3, 5).set("stream_error", 2).flag("truncated").flag("stream_reset");
                line.unset("response_body_bytes").unset("response_body_decoded_bytes").unset("duration_us");
                h.line(s, 1, 4, 7);
            },
        ),
        case(
            "http2-goaway",
            "A server that goes away: it has processed the first of three streams.",
            "The streams above its last were not processed (RFC 9113, section 6.8); the first is answered still.",
            |s| {
                let mut h = begin(s);
                h.get(1, "/first").get(3, "/second").get(5, "/third");
                h.frame(Server, GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
                h.head(Server, 1, 0, &OK).data(Server, 1, END_STREAM, b"answer");
                finish(s, &mut h);
                h.line(s, 1, 1, 1);
                for (seq, stream) in [(2, 3), (3, 5)] {
                    let line = h.line(s, 1, seq, stream);
                    line.set("stream_error", 7).flag("no_response").flag("not_processed");
                }
            },
        ),
        case(
            "http2-bad-block",
            "The first of two requests is answered with a header block that its frame cuts off.",
            "The request's line has the error; the connection's other streams go on.",
            |s| {
                let mut h = begin(s);
                h.get(1, "/first").get(3, "/second").frame(Server, HEADERS, END_HEADERS | PADDED, 1, &[]);
                h.head(Server, 3, END_STREAM, &[(":status", "404")]);
                finish(s, &mut h);
                h.line(s, 1, 2, 3);
                h.line(s, 1, 1, 1).flag("no_response").flag("bad_frame");
            },
        ),
        case(
            "http2-connect",
            "CONNECT on a stream, beside a request, and a WebSocket (extended CONNECT, RFC 8441).",
            "A stream that is a tunnel has one line; what it carries is none of HTTP.",
            |s| {
                let mut h = begin(s);
                h.head(Client, 1, 0, &[(":method", "CONNECT"), (":authority", "example.test:443")]).get(3, "/beside");
                h.head(Server, 1, 0, &[(":status", "200")]).head(Server, 3, END_STREAM, &[(":status", "404")]);
                for side in [Client, Server] {
                    h.conversation.send(side, &frame(DATA, END_STREAM, 1, b"GET /inside HTTP/1.1\r\n\r\n"));
                }
                let socket = [
                    (":method", "CONNECT"),
                    (":protocol", "websocket"),
                    (":scheme", "https"),
                    (":path", "/chat"),
                    (":authority", "example.test"),
                ];
                h.head(Client, 5, 0, &socket).head(Server, 5, 0, &[(":status", "200")]);
                finish(s, &mut h);
                let tunnel = |line: &mut crate::support::line::Line, kind: &'static str| {
                    line.set("tunnel", kind).flag("tunnel");
                };
                tunnel(h.line(s, 1, 1, 1).unset("host"), "connect");
                h.line(s, 1, 2, 3);
                tunnel(h.line(s, 1, 3, 5), "websocket");
            },
        ),
        case(
            "http2-gap-in-data",
            "A packet with a part of a body is lost.",
            "The loss is inside a frame of known length: it is counted, and nothing else is unknown.",
            |s| {
                let mut h = begin(s);
                h.get(1, "/long").head(Server, 1, 0, &OK).data(Server, 1, END_STREAM, &filler(6000));
                let lost = h.conversation.packets.len() - 3;
                h.conversation.packets.remove(lost);
                h.get(3, "/later").head(Server, 3, 0, &OK).data(Server, 3, END_STREAM, b"whole");
                finish(s, &mut h);
                h.line(s, 1, 1, 1).set("lost_bytes", 1460).flag("gap");
                h.line(s, 1, 2, 3);
            },
        )
        .differs("tshark waits for the lost bytes"),
        case(
            "http2-grpc",
            "Calls of gRPC: unary, of several messages, failed in the trailers, failed in the only head.",
            "Service and method are of the path, the outcome of trailers or head, messages are counted by their prefixes.",
            |s| {
                let mut h = begin(s);
                call(&mut h, 1, "/pkg.Greeter/SayHello", &[b"hello"]);
                h.head(Server, 1, 0, &GRPC).data(Server, 1, 0, &prefixed(&[b"world"]));
                h.trailers(Server, 1, &[("grpc-status", "0")]);
                call(&mut h, 3, "/pkg.Greeter/Many", &[b"a", b"bb"]);
                h.head(Server, 3, 0, &GRPC).data(Server, 3, 0, &prefixed(&[b"", &filler(3000), b"c"]));
                h.trailers(Server, 3, &[("grpc-status", "5"), ("grpc-message", "no%20such%20thing")]);
                call(&mut h, 5, "/pkg.Greeter/None", &[b""]);
                let only = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")];
                h.head(Server, 5, END_STREAM, &only);
                finish(s, &mut h);
                let rows = [
                    (1, "SayHello", 0, None, [1, 1], true),
                    (3, "Many", 5, Some("no such thing"), [2, 3], true),
                    (5, "None", 12, None, [1, 0], false),
                ];
                for (seq, (stream, method, status, message, [asked, answered], trailers)) in (1..).zip(rows) {
                    let line = h.line(s, 1, seq, stream);
                    line.set("grpc_service", "pkg.Greeter").set("grpc_method", method).set("grpc_status", status);
                    line.set("grpc_request_messages", asked).set("grpc_response_messages", answered);
                    line.set("grpc_timeout_us", 5_000_000);
                    if let Some(message) = message {
                        line.set("grpc_message", message);
                    }
                    if trailers {
                        line.flag("trailers");
                    }
                }
            },
        ),
        case(
            "http2-gap-in-head",
            "The packet with the second request is lost; the third uses what it added to the table.",
            "Of the third what is known is told, flagged, and of the second its response. What it refers to is never guessed.",
            |s| {
                let mut h = begin(s);
                h.get(1, "/first").head(Server, 1, END_STREAM, &[(":status", "404")]);
                let lost = h.conversation.packets.len();
                h.get(3, "/second").head(Server, 3, END_STREAM, &[(":status", "404")]);
                h.conversation.packets.remove(lost);
                h.get(5, "/second").get(7, "/seventh").head(Server, 5, 0, &OK).data(Server, 5, END_STREAM, b"5");
                h.head(Server, 7, 0, &OK).data(Server, 7, END_STREAM, b"7");
                finish(s, &mut h);
                h.line(s, 1, 1, 1);
                h.response_line(s, 1, 2, 3).flag("no_request");
                h.line(s, 1, 3, 5).flag("hpack_unknown").unset("host").unset("target").flag("resync");
                h.line(s, 1, 4, 7).flag("hpack_unknown").unset("host");
            },
        )
        .differs("tshark decodes by a table that is not the encoder's any more"),
        case(
            "http2-midstream",
            "A connection that is joined after its first two requests.",
            "Fields of the static table, and of what was added since, are known; others are left out, flagged.",
            |s| {
                let mut h = begin(s);
                for (stream, path) in [(1, "/before"), (3, "/again")] {
                    h.get(stream, path).head(Server, stream, 0, &OK).data(Server, stream, END_STREAM, b"x");
                }
                h.conversation.packets.clear();
                h.get(5, "/new").head(Server, 5, 0, &OK).data(Server, 5, END_STREAM, b"new");
                h.get(7, "/again").head(Server, 7, 0, &OK).data(Server, 7, END_STREAM, b"old");
                h.get(9, "/new").head(Server, 9, 0, &OK).data(Server, 9, END_STREAM, b"new");
                finish(s, &mut h);
                h.line(s, 1, 1, 5).flag("resync").flag("hpack_unknown").flag("midstream").unset("host");
                h.line(s, 1, 2, 7).flag("hpack_unknown").unset("host").unset("target");
                h.line(s, 1, 3, 9).flag("hpack_unknown").unset("host");
            },
        )
        .differs("tshark looks for HTTP/2 behind the preface, or at a port that it is told"),
        case(
            "http2-refused-with-streams",
            "HTTP/2 with two requests at a server that does not speak it, which answers 400 in HTTP/1.1.",
            "The answer is a line of its own. What was asked is told too: the answer may be to it.",
            |s| {
                let mut h = Http2::start_alone(s.connection());
                h.get(1, "/one").get(3, "/two");
                let answer = Message::response("400 Bad Request").header("Connection", "close").body(b"bad");
                let answer = h.conversation.response(&answer);
                h.conversation.close();
                s.capture(&mut h.conversation);
                for (seq, stream) in [(1, 1), (2, 3)] {
                    h.line(s, 1, seq, stream).flag("response_unread");
                }
                s.line(1, 3, None, Some(&answer)).flag("no_request");
            },
        )
        .differs("tshark takes both sides for HTTP/2 once it has seen the preface"),
        case(
            "http2-upgrade",
            "An upgrade from HTTP/1.1, whose request is answered on the first stream; another request on the third.",
            "The request and the 101 are a line, and the same request with the answer of stream 1 another (RFC 7540, section 3.2).",
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/upgraded")
                    .header("Connection", "Upgrade, HTTP2-Settings")
                    .header("Upgrade", "h2c")
                    .header("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA");
                let answer =
                    Message::response("101 Switching Protocols").header("Connection", "Upgrade").header("Upgrade", "h2c");
                let pair = c.exchange(&request, &answer);
                let mut h = Http2::prefaced(c);
                h.head(Server, 1, 0, &OK).data(Server, 1, END_STREAM, b"first");
                h.get(3, "/third").head(Server, 3, END_STREAM, &[(":status", "404")]);
                finish(s, &mut h);
                s.whole(1, 1, &pair).flag("upgrade").flag("tunnel").set("tunnel", "h2c");
                let inner = 1 + (1 << 50);
                let sent = h.sent(Server, 1);
                let line = s.line(inner, 1, Some(&pair.0), sent.as_ref()).via("upgrade", 1, "");
                line.set("version", "2").set("stream", 1).set("response_head_bytes", h.head_bytes(Server, 1));
                h.line(s, inner, 2, 3).via("upgrade", 1, "");
            },
        )
        .differs("tshark's stream 1 has no request"),
        case(
            "http2-in-a-tunnel",
            "HTTP/2 with prior knowledge inside a tunnel that CONNECT opened.",
            "What is inside is read as a connection of its own.",
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::start("CONNECT inner.test:80 HTTP/1.1").header("Host", "inner.test:80");
                let pair = c.exchange(&request, &Message::response("200 Connection established"));
                let mut h = Http2::prefaced(c);
                h.get(1, "/inside").head(Server, 1, 0, &OK).data(Server, 1, END_STREAM, b"inside");
                finish(s, &mut h);
                s.whole(1, 1, &pair).flag("tunnel").set("tunnel", "connect");
                h.line(s, 1 + (1 << 50), 1, 1).via("connect", 1, "inner.test:80");
            },
        )
        .differs("tshark does not look into the tunnel"),
    ]
}
