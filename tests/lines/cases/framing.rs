//! Where a message ends: RFC 9112, section 6.3, rule by rule.

use super::{Case, after, case, exchanges, one};
use crate::support::message::{Message, filler};
use crate::support::wire::Side;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("get", "One GET and its answer with a Content-Length.", "One transaction of 5 body bytes.", |s| {
            one(s, Message::get("/"), Message::ok(b"hello"));
        }),
        case(
            "post",
            "A POST whose body looks like a request, and a keep-alive GET after it.",
            "The body is not a request: Content-Length says where it ends (RFC 9112, section 6.2).",
            |s| {
                let post = Message::post("/form", b"GET /not-a-request HTTP/1.1\r\nHost: x\r\n\r\n");
                exchanges(s, &[(post, Message::response("201 Created").body(b"")), after()]);
            },
        ),
        case(
            "head",
            "HEAD answered with a Content-Length of 5000, then a GET on the same connection.",
            "No answer to HEAD has a body, whatever its headers say (RFC 9112, section 6.3, rule 1).",
            |s| {
                let head = Message::start("HEAD /big HTTP/1.1").header("Host", "example.test");
                let answer = Message::response("200 OK").header("Content-Length", "5000");
                exchanges(s, &[(head, answer), after()]);
            },
        ),
        case(
            "head-chunked",
            "HEAD answered with Transfer-Encoding: chunked, then a GET.",
            "No body follows, not even a last chunk (RFC 9112, section 6.3, rule 1).",
            |s| {
                let head = Message::start("HEAD /list HTTP/1.1").header("Host", "example.test");
                let answer = Message::response("200 OK").header("Transfer-Encoding", "chunked");
                exchanges(s, &[(head, answer), after()]);
            },
        ),
        case("no-content", "204 after DELETE, then a GET.", "204 has no body (RFC 9112, section 6.3, rule 1).", |s| {
            let delete = Message::start("DELETE /item/7 HTTP/1.1").header("Host", "example.test");
            exchanges(s, &[(delete, Message::response("204 No Content")), after()]);
        }),
        case(
            "not-modified",
            "304 with the Content-Length that a 200 would have had, then a GET.",
            "304 has no body; the length is that of the answer to an unconditional request (RFC 9110, section 8.6).",
            |s| {
                let request = Message::get("/cached").header("If-None-Match", "\"v1\"");
                let answer = Message::response("304 Not Modified").header("Content-Length", "1234");
                exchanges(s, &[(request, answer), after()]);
                s.lines[0].flag("body_forbidden");
            },
        ),
        case(
            "zero-length",
            "POST and 200, both with Content-Length: 0, then a GET.",
            "Both messages end with their heads.",
            |s| {
                exchanges(s, &[(Message::post("/ping", b""), Message::ok(b"")), after()]);
            },
        ),
        case(
            "body-in-segments",
            "A body of 20,000 bytes in fourteen segments, the last of which also starts the next response.",
            "Both transactions, each byte counted once.",
            |s| {
                let mut c = s.connection();
                c.open();
                let q1 = c.request(&Message::get("/a"));
                let q2 = c.request(&Message::get("/b"));
                let answers = c.batch(Side::Server, &[Message::ok(&filler(20_000)), Message::ok(b"b")]);
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q1), Some(&answers[0]));
                s.line(1, 2, Some(&q2), Some(&answers[1]));
            },
        ),
        case(
            "chunked",
            "A chunked response, then a GET.",
            "Body bytes are those inside the chunks (RFC 9112, section 7.1).",
            |s| {
                let answer = Message::response("200 OK").chunked(&[b"hello", b" ", b"world"]);
                exchanges(s, &[(Message::get("/stream"), answer), after()]);
            },
        ),
        case("chunked-request", "A chunked POST, then a GET.", "A request may be chunked as well.", |s| {
            let post =
                Message::start("POST /up HTTP/1.1").header("Host", "example.test").chunked(&[&filler(300), b"x"]);
            exchanges(s, &[(post, Message::ok(b"")), after()]);
        }),
        case(
            "chunked-slow-drip",
            "A chunked exchange in segments of one byte.",
            "The same as in one segment: the ends of segments have no meaning.",
            |s| {
                let mut c = s.connection();
                c.open();
                c.mss = 1;
                let answer = Message::response("200 OK").chunked(&[b"hello", &filler(20)]);
                let pair = c.exchange(&Message::get("/drip"), &answer);
                c.mss = 1460;
                let (q, a) = after();
                let next = c.exchange(&q, &a);
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &pair);
                s.whole(1, 2, &next);
            },
        )
        .differs("tshark does not reassemble a chunked body sent in segments of one byte"),
        case(
            "chunk-extension-and-trailers",
            "Chunks with extensions, and trailer fields after the last one.",
            "Extensions and trailers belong to the framing, not to the body (RFC 9112, sections 7.1.1 and 7.1.2).",
            |s| {
                let wire = "5;name=value\r\nhello\r\n6;q=\"a;b\"\r\n world\r\n0;last\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n";
                let answer = Message::response("200 OK").header("Transfer-Encoding", "chunked").wire(wire, 11);
                exchanges(s, &[(Message::get("/trailers"), answer), after()]);
                s.lines[0].flag("chunk_extension").flag("trailers");
            },
        ),
        case(
            "chunk-size-leading-zeros",
            "A chunk size of sixteen digits, nearly all of them zeros.",
            "Leading zeros are allowed (RFC 9112, section 7.1); parsers of 32 bits refuse them, so it is flagged.",
            |s| {
                let wire = "0000000000000005\r\nhello\r\n0\r\n\r\n";
                let answer = Message::response("200 OK").header("Transfer-Encoding", "chunked").wire(wire, 5);
                exchanges(s, &[(Message::get("/zeros"), answer), after()]);
                s.lines[0].flag("chunk_odd");
            },
        ),
        case(
            "content-length-list",
            "Content-Length: 5, 5 in one header, and twice in two.",
            "Equal values count once and are flagged (RFC 9110, section 8.6; RFC 9112, section 6.3, rule 5).",
            |s| {
                let list = Message::response("200 OK").header("Content-Length", "5, 5").bytes(b"hello");
                let twice = Message::ok(b"hello").header("Content-Length", "5");
                exchanges(s, &[(Message::get("/list"), list), (Message::get("/twice"), twice), after()]);
                s.lines[0].flag("cl_repeated");
                s.lines[1].flag("cl_repeated");
            },
        )
        .differs("tshark does not read a list of lengths, and takes what follows for the body"),
        case(
            "te-and-cl",
            "Transfer-Encoding and Content-Length in one request, and in one response.",
            "Transfer-Encoding overrides, and it is flagged as possible smuggling (RFC 9112, section 6.3, rule 3). Apache reads such \
             a request so; nginx, lighttpd and Node refuse it. curl and Python read such a response so, and Node refuses it.",
            |s| {
                let post = Message::start("POST /smuggle HTTP/1.1")
                    .header("Host", "example.test")
                    .header("Content-Length", "4")
                    .chunked(&[b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"]);
                let both = Message::response("200 OK").header("Content-Length", "3").chunked(&[b"hello"]);
                exchanges(s, &[(post, Message::ok(b"")), (Message::get("/both"), both), after()]);
                s.lines[0].flag("te_cl_conflict");
                s.lines[1].flag("te_cl_conflict");
            },
        ),
        case(
            "te-http10",
            "A chunked response marked HTTP/1.0.",
            "Taken as chunked and flagged: what it announces is what it sends (RFC 9112, section 6.1, warns of it).",
            |s| {
                let mut answer = Message::response("200 OK").chunked(&[b"hello"]);
                answer.head[7] = b'0';
                exchanges(s, &[(Message::get("/old"), answer), after()]);
                s.lines[0].flag("te_http10");
            },
        ),
        case(
            "te-gzip-until-close",
            "A response whose only transfer coding is gzip.",
            "Without chunked as the last coding a response continues until close (RFC 9112, section 6.3, rule 4).",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/gz"));
                let a =
                    c.response(&Message::response("200 OK").header("Transfer-Encoding", "gzip").bytes(&filler(700)));
                c.fin(Side::Server);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "te-gzip-chunked",
            "Transfer-Encoding: gzip, chunked.",
            "The last coding is chunked, so chunks frame the body (RFC 9112, section 6.3, rule 4).",
            |s| {
                let wire = "4\r\n\x1f\u{8}\x00\x01\r\n0\r\n\r\n";
                let answer = Message::response("200 OK").header("Transfer-Encoding", "gzip, chunked").wire(wire, 4);
                exchanges(s, &[(Message::get("/gzc"), answer), after()]);
            },
        ),
        case(
            "until-close",
            "A response with neither length nor chunks, ended by FIN.",
            "It is whole when the connection closes in order (RFC 9112, section 6.3, rule 8).",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/tail"));
                let a = c.response(&Message::response("200 OK").bytes(&filler(3000)));
                c.fin(Side::Server);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "until-close-reset",
            "The same, ended by a reset.",
            "A reset is no end of a message: it is cut (RFC 9112, section 8).",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/tail"));
                let a = c.response(&Message::response("200 OK").bytes(&filler(3000)));
                c.rst(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a)).flag("truncated").flag("reset");
            },
        )
        .differs("tshark waits for a FIN that never comes, and does not show the answer"),
        case(
            "body-cut-short",
            "A Content-Length of a terabyte, of which 2000 bytes come before FIN.",
            "The transaction is printed with what came, as truncated (RFC 9112, section 8).",
            |s| {
                let mut c = s.connection();
                c.open();
                let q = c.request(&Message::get("/huge"));
                let answer = Message::response("200 OK").header("Content-Length", "1099511627776").bytes(&filler(2000));
                let a = c.response(&answer);
                c.fin(Side::Server);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a)).flag("truncated");
            },
        ),
        case(
            "http10",
            "HTTP/1.0 without keep-alive, then another connection with it.",
            "Without a length an HTTP/1.0 response ends with the connection; with one it need not.",
            |s| {
                let mut c = s.connection();
                c.open();
                let mut answer = Message::response("200 OK").bytes(b"bye");
                answer.head[7] = b'0';
                let q = c.request(&Message::start("GET /old HTTP/1.0"));
                let a = c.response(&answer);
                c.fin(Side::Server);
                c.fin(Side::Client);
                c.ack(Side::Server);
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
                let mut c = s.connection();
                c.open();
                for seq in 1..=2 {
                    let mut answer = Message::ok(b"kept").header("Connection", "keep-alive");
                    answer.head[7] = b'0';
                    let request = Message::start("GET /kept HTTP/1.0").header("Connection", "Keep-Alive");
                    let pair = c.exchange(&request, &answer);
                    s.whole(2, seq, &pair);
                }
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "get-with-body",
            "GET with a body, then a GET.",
            "A body on any method is framed like every body; where none is defined it is flagged (RFC 9110, section 9.3.1).",
            |s| {
                exchanges(s, &[(Message::get("/search").body(b"q=1"), Message::ok(b"")), after()]);
                s.lines[0].flag("body_odd");
            },
        ),
    ]
}
