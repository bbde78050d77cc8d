//! Heads that are unusual and yet mean something: what is read, and what is flagged.

use super::{Case, after, case, exchanges, one};
use crate::support::message::{Message, filler};
use crate::support::wire::{ACK, PSH, Side};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "target-forms",
            "Absolute-form, asterisk-form and origin-form with a query.",
            "The target is printed as it was sent (RFC 9112, section 3.2).",
            |s| {
                let options = Message::start("OPTIONS * HTTP/1.1").header("Host", "example.test");
                let absolute = Message::get("http://example.test/a?b=c");
                exchanges(s, &[(options, Message::response("204 No Content")), (absolute, Message::ok(b"")), after()]);
            },
        ),
        case(
            "log-fields",
            "User-Agent, Referer and Host in unusual case and with white space around the values.",
            "Names are without case, and white space around a value is not part of it (RFC 9112, section 5).",
            |s| {
                let request = Message::start("GET /page HTTP/1.1")
                    .header("hOST", " shop.example.test:8080 ")
                    .header("USER-AGENT", "\t Mozilla/5.0 (X11; \"quoted\") \t")
                    .header("referer", "http://example.test/\u{e9}");
                one(s, request, Message::response("404 Not Found").body(b"gone"));
            },
        ),
        case(
            "sensor",
            "An exchange seen by a sensor that has a name.",
            "The name is logged, and is part of the identifier of the connection.",
            |s| {
                s.args = vec!["--sensor".into(), "rack-2".into()];
                one(s, Message::get("/"), Message::ok(b"seen"));
            },
        ),
        case(
            "forwarded",
            "Four requests through proxies: by X-Forwarded-For, by Forwarded, by both that disagree, and by one that hides its client.",
            "The last address that is no trusted proxy is the client; what is hidden or contradicts itself is none (RFC 7239).",
            |s| {
                s.args = vec!["--trusted-proxy".into(), "10.0.0.0/8".into()];
                let mut c = s.connection();
                c.open();
                for (number, (headers, client)) in (1_u64..).zip([
                    (&[("X-Forwarded-For", "203.0.113.9, 192.0.2.7, 10.1.1.1")][..], Some("192.0.2.7")),
                    (&[("Forwarded", "for=\"[2001:db8:cafe::17]:4711\";proto=http")], Some("2001:db8:cafe::17")),
                    (&[("Forwarded", "for=192.0.2.7"), ("X-Forwarded-For", "192.0.2.8")], None),
                    (&[("Forwarded", "for=_hidden")], None),
                ]) {
                    let request = Message::get(&format!("/{number}"));
                    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
                    let pair = c.exchange(&request, &Message::ok(b""));
                    let line = s.whole(1, number, &pair);
                    if let Some(client) = client {
                        line.set("client_forwarded", client);
                    }
                }
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "traceparent",
            "Four requests: of a trace, of one in a later version of the header, of one that is spelt wrongly, and of two at once.",
            "A valid header gives trace and parent; all others are ignored (W3C Trace Context, level 1, section 3.2).",
            |s| {
                const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
                const PARENT: &str = "b7ad6b7169203331";
                let mut c = s.connection();
                c.open();
                let good = format!("00-{TRACE}-{PARENT}-01");
                for (number, values) in [
                    vec![good.clone()],
                    vec![format!("42-{TRACE}-{PARENT}-00-later")],
                    vec![good.to_uppercase()],
                    vec![good.clone(), good],
                ]
                .iter()
                .enumerate()
                {
                    let start = Message::start(&format!("GET /{number} HTTP/1.1")).header("Host", "example.test");
                    let request = values.iter().fold(start, |request, value| request.header("TraceParent", value));
                    let pair = c.exchange(&request, &Message::ok(b"ok"));
                    let line = s.whole(1, number as u64 + 1, &pair);
                    if number < 2 {
                        line.set("trace_id", TRACE).set("parent_id", PARENT);
                    }
                }
                c.close();
                s.capture(&mut c);
            },
        ),
        case(
            "empty-lines-before-a-request",
            "Three empty lines before the second request, as old clients send after a POST.",
            "They are skipped, and flagged (RFC 9112, section 2.2).",
            |s| {
                let mut c = s.connection();
                c.open();
                let first = c.exchange(&Message::post("/form", b"a=1"), &Message::ok(b""));
                c.segment(Side::Client, b"\r\n\r\n\r\n").flags |= PSH;
                let (q, a) = after();
                let second = c.exchange(&q, &a);
                c.close();
                s.capture(&mut c);
                s.whole(1, 1, &first);
                s.whole(1, 2, &second).flag("leading_empty");
            },
        ),
        case(
            "obs-fold",
            "A header continued on the next line.",
            "Obsolete but readable; flagged, since parsers read it differently (RFC 9112, section 5.2).",
            |s| {
                let head = "GET /fold HTTP/1.1\r\nHost: example.test\r\nX-Long: one\r\n two\r\n\tthree\r\n\r\n";
                one(s, Message::raw(head), Message::ok(b"")).flag("obs_fold");
            },
        ),
        case(
            "bare-lf",
            "Lines that end in LF alone, in request and response.",
            "A recipient may take LF for a line end (RFC 9112, section 2.2); flagged.",
            |s| {
                let request = Message::raw("GET /lf HTTP/1.1\nHost: example.test\n\n");
                let answer = Message::raw("HTTP/1.1 200 OK\nContent-Length: 5\n\n").bytes(b"hello");
                one(s, request, answer).flag("bare_lf");
            },
        ),
        case(
            "odd-spaces-in-the-start-line",
            "Two spaces around the target, and two before the status.",
            "Read as one (RFC 9112, section 3, lenient), and flagged.",
            |s| {
                let request = Message::raw("GET  /spaces  HTTP/1.1\r\nHost: example.test\r\n\r\n");
                let answer = Message::raw("HTTP/1.1  200  OK\r\nContent-Length: 0\r\n\r\n");
                let line = one(s, request, answer).flag("odd_space");
                for (key, value) in [("target", "/spaces"), ("version", "1.1"), ("reason", "OK")] {
                    line.set(key, value);
                }
                line.set("status", 200);
            },
        )
        .differs("tshark takes the target for empty"),
        case(
            "no-reason-phrase",
            "A status line that ends after the code, one with an empty reason, and one with a long one.",
            "The reason is optional (RFC 9112, section 4); absent and empty are the same.",
            |s| {
                let bare = Message::raw("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n");
                let empty = Message::raw("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
                let long = Message::response("299 Miscellaneous persistent warning").body(b"");
                exchanges(
                    s,
                    &[(Message::get("/1"), bare), (Message::get("/2"), empty), (Message::get("/3"), long)],
                );
                for line in &mut s.lines[..2] {
                    line.unset("reason");
                }
            },
        ),
        case(
            "host-missing-and-repeated",
            "HTTP/1.1 without Host, and with two of them.",
            "A server must answer 400 (RFC 9112, section 3.2); an observer prints what was sent, and flags it.",
            |s| {
                let missing = Message::start("GET /no-host HTTP/1.1");
                let repeated = Message::get("/two-hosts").header("Host", "other.test");
                let bad = || Message::response("400 Bad Request").body(b"");
                exchanges(s, &[(missing, bad()), (repeated, bad())]);
                s.lines[0].flag("host_missing");
                s.lines[1].flag("host_repeated");
            },
        ),
        case(
            "unknown-methods",
            "Methods from WebDAV and unknown ones.",
            "Any token is a method (RFC 9110, section 9.1).",
            |s| {
                let propfind = Message::start("PROPFIND /dav HTTP/1.1").header("Host", "example.test").body(b"<x/>");
                let own = Message::start("FROB-NICATE! /x HTTP/1.1").header("Host", "example.test");
                exchanges(
                    s,
                    &[
                        (propfind, Message::response("207 Multi-Status").body(b"<y/>")),
                        (own, Message::response("501 Not Implemented").body(b"")),
                        after(),
                    ],
                );
            },
        )
        .differs("tshark knows a list of methods, and this one is not on it"),
        case(
            "slow-head",
            "A request head and a response head in segments of one byte, 5 ms apart.",
            "The same as in one segment; the times show how long it took.",
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/slow-loris").header("User-Agent", "drip/1.0");
                let q = c.locate(Side::Client, &request);
                for byte in request.all().chunks(1) {
                    c.segment(Side::Client, byte).pause = 5_000_000;
                }
                let answer = Message::ok(b"patience");
                let a = c.locate(Side::Server, &answer);
                for byte in answer.all().chunks(1) {
                    c.segment(Side::Server, byte).pause = 5_000_000;
                }
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
        case(
            "many-headers",
            "A request with 100 headers and a response with 128.",
            "Both are read: 128 is the bound.",
            |s| {
                let mut request = Message::get("/many");
                for i in 0..99 {
                    request = request.header(&format!("X-Header-{i}"), "value");
                }
                let mut answer = Message::ok(b"many");
                for i in 0..127 {
                    answer = answer.header(&format!("X-Header-{i}"), "value");
                }
                one(s, request, answer);
            },
        ),
        case(
            "long-head",
            "A target of 30,000 bytes and a cookie of 20,000, in forty segments; the answer too has a long head.",
            "A head of up to 64 KiB is read whole. Of the target 8192 bytes are kept, and the line says `text_cut`.",
            |s| {
                let target = format!("/{}", "a".repeat(30_000));
                let cookie = "b".repeat(20_000);
                let request = Message::get(&target).header("Cookie", &cookie);
                let answer = Message::ok(b"long").header("Set-Cookie", &"c".repeat(20_000));
                let line = one(s, request, answer).flag("text_cut");
                line.set("target", &target[..8192]);
            },
        )
        .differs("tshark prints the target whole"),
        case(
            "bytes-that-are-not-text",
            "Bytes above 127, some valid UTF-8 and some not, and an escape character in the target and headers.",
            "Printed reversibly: a byte that is not UTF-8 as \\xNN; JSON has its own way for control characters.",
            |s| {
                let head = b"GET /caf\xc3\xa9/\xff\xfe?back\\slash HTTP/1.1\r\nHost: ex\xe9mple.test\r\nUser-Agent: a\xc3\xa9\t\"b\"\r\n\r\n";
                let answer = Message::raw(b"HTTP/1.1 200 \xd6K\r\nContent-Length: 0\r\n\r\n");
                let line = one(s, Message::raw(head), answer);
                line.set("target", "/caf\u{e9}/\\xff\\xfe?back\\slash").set("host", "ex\\xe9mple.test");
                line.set("user_agent", "a\u{e9}\t\"b\"").set("reason", "\\xd6K");
            },
        )
        .differs("tshark writes bytes that are not UTF-8 in another way"),
        case(
            "secrets",
            "Authorization, cookies, user-info in the target, and query keys that carry signatures.",
            "No secret is printed unless --no-redact is given; the keys stay (OpenTelemetry, url.query).",
            |s| {
                s.args = ["--header", "Authorization", "--header", "Cookie", "--header", "Set-Cookie", "--header", "X-Ok"]
                    .map(String::from)
                    .to_vec();
                let request = Message::get("http://user:secret@example.test/a?x=1&sig=secret&X-Amz-Signature=secret&y=2")
                    .header("Authorization", "Basic c2VjcmV0")
                    .header("Cookie", "id=secret")
                    .header("X-Ok", "shown");
                let answer = Message::ok(b"").header("Set-Cookie", "id=secret").header("Set-Cookie", "b=secret");
                let line = one(s, request, answer);
                line.set(
                    "target",
                    "http://REDACTED:REDACTED@example.test/a?x=1&sig=REDACTED&X-Amz-Signature=REDACTED&y=2",
                );
                line.set(
                    "request_headers",
                    serde_json::json!({"authorization": ["REDACTED"], "cookie": ["REDACTED"], "x-ok": ["shown"]}),
                );
                line.set("response_headers", serde_json::json!({"set-cookie": ["REDACTED", "REDACTED"]}));
            },
        )
        .differs("tshark prints the target with its secrets"),
        case(
            "markup-in-heads",
            "Script tags, event handlers, quotes, entities, a right-to-left override and words of 3,000 and 1,000 letters in targets, Host, \
             User-Agent, Referer and reason phrases.",
            "Text is text: printed as it was sent. `tests/page` opens the report of this capture in a browser.",
            |s| {
                let exchange = |target: &str, text: &str| {
                    let request = Message::start(&format!("GET {target} HTTP/1.1")).header("Host", text);
                    let request = request.header("User-Agent", text).header("Referer", text);
                    (request, Message::response(&format!("500 {text}")).body(b""))
                };
                exchanges(
                    s,
                    &[
                        exchange("/</script><script>window.owned=1</script>", "</script><script>window.owned=1</script>"),
                        exchange("/<!--<script>", "<!--<script>window.owned=1"),
                        exchange("/\"onmouseover=\"window.owned=1", "\" autofocus onfocus=\"window.owned=1"),
                        exchange("/<img/src=x/onerror=window.owned=1>", "<img src=x onerror=window.owned=1>"),
                        exchange("/?a=<svg/onload=window.owned=1>&lt;b&gt;", "<svg onload=window.owned=1>&lt;b&gt;&#60;"),
                        exchange("/{{data}}{{script}}]]>'`${window.owned=1}", "<base href=http://192.0.2.1/>"),
                        exchange("/turned", "\u{202e}moc.elpmaxe"),
                        exchange(&format!("/{}", "W".repeat(3_000)), &"W".repeat(1_000)),
                    ],
                );
            },
        ),
        case(
            "head-over-two-reads",
            "A request head cut in the middle of its CRLF CRLF, and a response head cut in the status code.",
            "The same as in one segment.",
            |s| {
                let mut c = s.connection();
                c.open();
                let request = Message::get("/cut");
                let q = c.locate(Side::Client, &request);
                let all = request.all();
                c.segment(Side::Client, &all[..all.len() - 2]);
                c.segment(Side::Client, &all[all.len() - 2..]).flags = ACK | PSH;
                let answer = Message::ok(&filler(40));
                let a = c.locate(Side::Server, &answer);
                let all = answer.all();
                c.segment(Side::Server, &all[..11]);
                c.segment(Side::Server, &all[11..]).flags = ACK | PSH;
                c.ack(Side::Client);
                c.close();
                s.capture(&mut c);
                s.line(1, 1, Some(&q), Some(&a));
            },
        ),
    ]
}
