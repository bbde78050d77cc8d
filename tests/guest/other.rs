//! What is not HTTP/1, by its first bytes.

use crate::host::{Happens, Manner, c, fin, lines, parsed, s};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn other_protocols_are_known_by_their_first_bytes() {
    for (bytes, kind) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "tls"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (b"SSH-2.0-OpenSSH\r\n", "ssh"),
        (b"220 mail ESMTP\r\n", "smtp"),
        (b"220-mail\r\n", "smtp"),
        (b"GET /x\r\n", "http09"),
        (b"GET /x\n", "http09"),
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
    for line in ["GET  HTTP/1.1", "G@T / HTTP/1.1", "GET / HTTP/3.0", "HTTP/1.1 2 OK", "HTTP/9 200 OK"] {
        assert_eq!(parsed(&[c(format!("{line}\r\n"))]), ["0 error bad_start_line"], "{line}");
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
