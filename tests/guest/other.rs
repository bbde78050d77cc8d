//! What is not HTTP/1, by its first bytes.

use crate::host::{Happens, Manner, c, fin, gap, lines, parsed, s};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn other_protocols_are_known_by_their_first_bytes() {
    for (bytes, kind) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "tls"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (b"SSH-2.0-OpenSSH\r\n", "ssh"),
        (b"220 mail ESMTP\r\n", "smtp"),
        (b"220-mail\r\n", "smtp"),
        (b"\0\0\0\x01", "other"),
        (b"\x16\x04", "other"),
        (b"EHLO a\r\n", "other"),
        (b"+OK\r\n", "other"),
        (b"GET x\r\n", "other"),
        (b"\xff\xfe", "other"),
        (b"AB\x01", "other"),
    ] {
        let said = parsed(&[c(bytes), c(GET), s("\x15\x03"), s(GET)]);
        assert_eq!(said, [format!("0 not_http {kind}")], "{}", bytes.escape_ascii());
        let drip: Vec<Happens> = bytes.iter().map(|byte| c([*byte])).collect();
        assert_eq!(parsed(&drip), said, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_fragment_is_not_judged_before_its_time() {
    for front in ["\x16", "PRI * HTTP/2", "SSH", "22", "GET", "HTT", "PRO", "SS", "G@T"] {
        assert!(parsed(&[c(front)]).is_empty(), "{front:?}");
    }
    assert_eq!(parsed(&[c("PR"), c("OPFIND / HTTP/1.1\r\nHost: a\r\n\r\n")])[0], "0 req#1 PROPFIND / 1.1 none");
    assert_eq!(parsed(&[c("22"), c("X / HTTP/1.1\r\nHost: a\r\n\r\n")])[0], "0 req#1 22X / 1.1 none");
    assert_eq!(parsed(&[s("HT"), s("TP/1.1 200 OK\r\n\r\n")])[0], "1 res#0 200 \"OK\" 1.1 close +unsolicited");
}

#[test]
fn http_gone_wrong_is_an_error_and_not_another_protocol() {
    for line in ["GET  HTTP/1.1", "GET / HTTP/ 1.1", "HTTP/1.1 2 OK", "HTTP/9 2000 OK"] {
        assert_eq!(parsed(&[c(format!("{line}\r\n"))]), ["0 error bad_start_line"], "{line}");
    }
}

/// What servers on a port for HTTP say to TLS, or to rubbish.
#[test]
fn the_answer_to_what_is_not_http_is_read() {
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"hello\r\n", b"\0\0\0\x01"] {
        let said = parsed(&[c(bytes), s("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"), fin(1)]);
        assert_eq!(
            said[1..],
            ["1 res#0 400 \"Bad Request\" 1.1 length=3 +unsolicited", "1 end#0 3/3"],
            "{}",
            bytes.escape_ascii()
        );
    }
    let dripped: Vec<Happens> =
        [c("\x16\x03")].into_iter().chain("HTTP/1.1 400 -\r\n\r\n".bytes().map(|b| s([b]))).collect();
    assert_eq!(parsed(&dripped)[1], "1 res#0 400 \"-\" 1.1 close +unsolicited");
    // Nothing else is looked at, and loss there is no error.
    for happens in [
        vec![s("\x16\x03\x03")],
        vec![gap(1, 5), s(GET)],
        vec![s("HTT"), fin(1)],
        vec![s("\r\n"), s("HTTP/1.1 200 -\r\n\r\n")],
    ] {
        assert_eq!(parsed(&[vec![c("\x16\x03\x01")], happens].concat()), ["0 not_http tls"]);
    }
}

/// Most servers answer such a request in HTTP/1, with an error; some in HTTP/0.9, with the body alone.
#[test]
fn a_request_of_http_0_9_is_one_line() {
    for line in ["GET /x\r\n", "GET /x\n", "GET /x \r\n", "GET /x\r\nHost: a\r\n\r\n"] {
        let said = parsed(&[c(line), s("HTTP/1.1 400 -\r\nContent-Length: 0\r\n\r\n"), c(GET)]);
        assert!(said[0].starts_with("0 req#1 GET /x 1.0 none") && said[0].ends_with("+bad_start_line"), "{said:?}");
        assert_eq!(said[1..], ["0 end#1 0/0", "1 res#1 400 \"-\" 1.1 length=0", "1 end#1 0/0"], "{line:?}");
        assert_eq!(parsed(&[c(line), s("<html>"), s("</html>"), fin(1)])[2..], ["1 not_http http09"], "{line:?}");
        let drip: Vec<Happens> = line.bytes().map(|byte| c([byte])).collect();
        assert_eq!(parsed(&drip), said[..2], "{line:?}");
    }
}

#[test]
fn the_other_side_is_given_up_only_if_it_has_shown_nothing() {
    let said = parsed(&[c(GET), s("\x01\x02\x03"), c(GET)]);
    assert_eq!(
        said,
        ["0 req#1 GET / 1.1 none", "0 end#1 0/0", "1 not_http other", "0 req#2 GET / 1.1 none", "0 end#2 0/0"]
    );
    assert_eq!(parsed(&[s("SSH-2.0-x\r\n"), c("SSH-2.0-y\r\n"), s("\x01"), fin(0), fin(1)]), ["1 not_http ssh"]);
}

#[test]
fn what_speaks_http_is_not_asked_again() {
    assert_eq!(parsed(&[c(GET), c("\x16\x03\x01\r\n")])[2..], ["0 error bad_start_line"]);
}

#[test]
fn mid_stream_is_searched_instead() {
    let manner = Manner { midstream: true, ..Manner::default() };
    assert_eq!(lines(manner, &[c("\x16\x03\x01"), c(GET)])[0], "0 req#1 GET / 1.1 none +resync +midstream");
}

#[test]
fn what_is_not_wanted_is_skipped() {
    use crate::host::Host;
    let body = vec![b'x'; 1_000_000];
    for happens in [
        vec![c("\x16\x03"), c(&body), s(&body), c(&body), s(&body)],
        vec![c(GET), s("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n"), s(&body), s(&body), s(&body), s(&body)],
        vec![
            c(GET),
            s("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3d0900\r\n"),
            s(&body),
            s(&body),
            s(&body),
            s(&body),
            s("\r\n0\r\n\r\n"),
        ],
        vec![c(GET), s("HTTP/1.1 200 OK\r\n\r\n"), s(&body), s(&body), s(&body), s(&body)],
    ] {
        let mut host = Host::new(Manner { skips: true, ..Manner::default() });
        for one in &happens {
            if let Happens::Bytes(side, bytes) = one {
                for part in bytes.chunks(1460) {
                    host.happens(&Happens::Bytes(*side, part.to_vec()));
                }
            }
        }
        host.flush();
        assert!(host.shown < 3000, "{} bytes shown", host.shown);
    }
}
