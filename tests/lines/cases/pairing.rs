//! Which response answers which request.

use super::{Case, after, case, exchanges};
use crate::support::message::{Message, filler};
use crate::support::wire::{PSH, Side};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "pipeline",
            "Fifty requests without waiting, every fifth of them HEAD, in as few segments as they fit in.",
            "Responses answer in order, and those to HEAD have no body (RFC 9112, section 9.3.2).",
            |s| {
                let mut c = s.connection();
                c.open();
                let method = |i: usize| if i.is_multiple_of(5) { "HEAD" } else { "GET" };
                let requests: Vec<Message> = (0..50)
                    .map(|i| Message::start(&format!("{} /{i} HTTP/1.1", method(i))).header("Host", "example.test"))
                    .collect();
                let answers: Vec<Message> = (0..50)
                    .map(|i| Message::response("200 OK").header("Content-Length", &(i * 10).to_string()))
                    .enumerate()
                    .map(|(i, answer)| if method(i) == "HEAD" { answer } else { answer.bytes(&filler(i * 10)) })
                    .collect();
                let requests = c.batch(Side::Client, &requests);
                let answers = c.batch(Side::Server, &answers);
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                for i in 0..50 {
                    s.line(1, i as u64 + 1, Some(&requests[i]), Some(&answers[i]));
                }
            },
        )
        .differs("tshark looks for bodies after the answers to pipelined HEAD requests"),
        case(
            "continue",
            "Expect: 100-continue, a 100, the body, then the answer.",
            "100 is an interim response; the final one is the answer (RFC 9110, section 15.2).",
            |s| {
                let mut c = s.connection();
                c.open();
                let post = Message::post("/upload", &filler(500)).header("Expect", "100-continue");
                let sent = c.locate(Side::Client, &post);
                c.send(Side::Client, &post.head);
                c.response(&Message::response("100 Continue"));
                c.send(Side::Client, &post.body);
                let a = c.response(&Message::ok(b"done"));
                c.ack(Side::Client);
                let (q2, a2) = after();
                let next = c.exchange(&q2, &a2);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&sent), Some(&a)).set("interim", 1);
                s.whole(1, 2, &next);
            },
        ),
        case(
            "interim-responses",
            "102, 103 and 103 before the final response.",
            "Any number of interim responses may come; none ends the transaction (RFC 9110, section 15.2).",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/slow"));
                c.response(&Message::response("102 Processing"));
                c.response(&Message::response("103 Early Hints").header("Link", "</a.css>; rel=preload"));
                c.response(&Message::response("103 Early Hints").header("Link", "</b.css>; rel=preload"));
                let a = c.response(&Message::ok(b"done"));
                c.ack(Side::Client);
                let (q2, a2) = after();
                let next = c.exchange(&q2, &a2);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a)).set("interim", 3);
                s.whole(1, 2, &next);
            },
        ),
        case(
            "early-response",
            "413 before the request's body has been sent; the body follows nevertheless, and another exchange.",
            "A server may answer before the request has ended (RFC 9112, section 9.3); the time to first byte is then unknown.",
            |s| {
                let mut c = s.connection();
                c.open();
                let post = Message::post("/too-big", &filler(4000));
                let sent = c.locate(Side::Client, &post);
                let all = post.all();
                c.send(Side::Client, &all[..1000]);
                let a = c.response(&Message::response("413 Content Too Large").body(b"no"));
                c.send(Side::Client, &all[1000..]);
                c.ack(Side::Server);
                let (q2, a2) = after();
                let next = c.exchange(&q2, &a2);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&sent), Some(&a)).flag("early_response");
                s.whole(1, 2, &next);
            },
        )
        .differs("tshark takes the order of capture for the order of events"),
        case(
            "unsolicited-response",
            "The server sends 408 on an idle keep-alive connection and closes it.",
            "A response without a request is a line of its own (RFC 9110, section 15.5.9).",
            |s| {
                let mut c = s.connection();
                c.open();
                let pair = c.exchange(&Message::get("/"), &Message::ok(b"hello"));
                let a = c.response(&Message::response("408 Request Timeout").header("Connection", "close").body(b""));
                c.fin(Side::Server);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.whole(1, 1, &pair);
                s.line(1, 2, None, Some(&a)).flag("no_request");
            },
        ),
        case(
            "no-response",
            "Two requests; one is answered, then the server closes.",
            "The request without an answer is a line of its own.",
            |s| {
                let mut c = s.connection();
                c.open();
                let q1 = c.request(&Message::get("/answered"));
                let q2 = c.request(&Message::get("/lost"));
                let a1 = c.response(&Message::ok(b"hello"));
                c.fin(Side::Server);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q1), Some(&a1));
                s.line(1, 2, Some(&q2), None).flag("no_response");
            },
        ),
        case(
            "open-at-end",
            "A request whose answer is incomplete when the capture ends.",
            "What is open at the end is printed with a flag; nothing is held back.",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/long"));
                let a = c.response(&Message::response("200 OK").header("Content-Length", "5000").bytes(&filler(2000)));
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a)).flag("truncated").flag("open");
            },
        )
        .differs("tshark waits for the rest of the body, which the capture does not have"),
        case(
            "connect",
            "CONNECT answered with 200, then HTTP in the tunnel.",
            "After 2xx to CONNECT the connection is a tunnel (RFC 9112, section 6.3, rule 2). What it carries is a stream of \
             its own, so the request inside is a line with another connection number.",
            |s| {
                let mut c = s.connection();
                c.open();
                let connect = Message::start("CONNECT db.example.test:443 HTTP/1.1").header("Host", "db.example.test:443");
                let pair = c.exchange(&connect, &Message::response("200 Connection established"));
                let inside = Message::start("GET /inside HTTP/1.1").header("Host", "x");
                let inside = c.exchange(&inside, &Message::response("200 OK").header("Content-Length", "0"));
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair).flag("tunnel").set("tunnel", "connect");
                s.whole((1 << 50) + 1, 1, &inside).via("connect", 1, "db.example.test:443");
            },
        )
        .differs("tshark does not look for HTTP in the tunnel"),
        case(
            "connect-refused",
            "CONNECT answered with 407, then 200 to a GET.",
            "Anything but 2xx leaves the connection HTTP, body and all (RFC 9110, section 9.3.6).",
            |s| {
                let connect = Message::start("CONNECT db.example.test:443 HTTP/1.1").header("Host", "db.example.test:443");
                let refused = Message::response("407 Proxy Authentication Required").body(b"who are you?");
                exchanges(s, &[(connect, refused), after()]);
            },
        ),
        case(
            "websocket",
            "An upgrade to WebSocket, then frames that hold HTTP.",
            "101 ends HTTP on both sides (RFC 9110, section 15.2.2; RFC 6455).",
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/chat")
                    .header("Connection", "Upgrade")
                    .header("Upgrade", "websocket")
                    .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
                    .header("Sec-WebSocket-Version", "13");
                let answer = Message::response("101 Switching Protocols")
                    .header("Connection", "Upgrade")
                    .header("Upgrade", "websocket")
                    .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                let pair = c.exchange(&request, &answer);
                c.send(Side::Server, b"\x81\x05Hello");
                c.send(Side::Server, b"GET /inside HTTP/1.1\r\nHost: x\r\n\r\n");
                c.send(Side::Client, b"\x88\x80\x01\x02\x03\x04");
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair).flag("upgrade").flag("tunnel").set("tunnel", "websocket");
            },
        ),
        case(
            "upgrade-h2c",
            "An upgrade to HTTP/2 in clear text.",
            "101 ends HTTP/1; what follows is another protocol (RFC 7540, section 3.2).",
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/")
                    .header("Connection", "Upgrade, HTTP2-Settings")
                    .header("Upgrade", "h2c")
                    .header("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA");
                let answer =
                    Message::response("101 Switching Protocols").header("Connection", "Upgrade").header("Upgrade", "h2c");
                let pair = c.exchange(&request, &answer);
                c.send(Side::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
                c.send(Side::Server, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00");
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair).flag("upgrade").flag("tunnel").set("tunnel", "h2c");
            },
        ),
        case(
            "upgrade-refused",
            "An upgrade that the server ignores, then a GET.",
            "Without 101 the connection stays HTTP/1 (RFC 9110, section 7.8).",
            |s| {
                let request = Message::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
                exchanges(s, &[(request, Message::ok(b"plain")), after()]);
                s.lines[0].flag("upgrade");
            },
        ),
        case(
            "request-across-acks",
            "A request in three segments, each acknowledged by itself, and an answer in two.",
            "Times are those of the packets that carried the first and the last byte.",
            |s| {
                let mut c = s.connection();
                c.open();
                let post = Message::post("/slowly", &filler(3000));
                let q = c.locate(Side::Client, &post);
                for piece in post.all().chunks(1100) {
                    c.segment(Side::Client, piece).flags |= PSH;
                    c.last().pause = 20_000_000;
                    c.ack(Side::Server);
                }
                let answer = Message::ok(&filler(100));
                let a = c.locate(Side::Server, &answer);
                let all = answer.all();
                c.segment(Side::Server, &all[..30]).pause = 5_000_000;
                c.segment(Side::Server, &all[30..]).pause = 7_000_000;
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
    ]
}
