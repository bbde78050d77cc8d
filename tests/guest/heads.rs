//! Start lines and headers: what is accepted, what is flagged, and where the source of 2017 that the guest builds on is put
//! right.

use crate::host::{Manner, c, parsed, s, said};

/// The records about bytes that a client sends after a good request, or a server after a good response: no other protocol
/// is searched for there.
fn request(bytes: impl AsRef<[u8]>) -> Vec<String> {
    parsed(&[c("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), c(bytes)]).split_off(2)
}

fn response(bytes: impl AsRef<[u8]>) -> Vec<String> {
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    parsed(&[c(head), s("HTTP/1.1 200 OK\r\n\r\n"), c(head), s(bytes)]).split_off(6)
}

/// Of a head that is accepted: the line of its record.
fn accepted(mut said: Vec<String>) -> String {
    assert_eq!(said.len(), 2, "{said:?}");
    said.swap_remove(0)
}

#[test]
fn a_value_is_trimmed() {
    let said = said(Manner::default(), &[c("GET / HTTP/1.1\r\nHost: \t a b \t \r\nX:\r\nY: \t \r\n\r\n")]);
    let pairs: Vec<(&str, &str)> = said[0].pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(pairs, [("Host", "a b"), ("X", ""), ("Y", "")]);
}

#[test]
fn more_than_one_space_is_accepted_and_flagged() {
    for line in ["GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET   /   HTTP/1.1"] {
        assert_eq!(accepted(request(format!("{line}\r\nHost: a\r\n\r\n"))), "0 req#2 GET / 1.1 none +odd_space");
    }
    assert_eq!(accepted(response("HTTP/1.1  200 OK\r\n\r\n")), "1 res#2 200 \"OK\" 1.1 none +odd_space");
    assert_eq!(accepted(response("HTTP/1.1 200  OK\r\n\r\n")), "1 res#2 200 \"OK\" 1.1 none +odd_space");
}

#[test]
fn method_and_target_are_not_empty() {
    for line in [" / HTTP/1.1", "GET  HTTP/1.1", "GET HTTP/1.1", "  HTTP/1.1"] {
        assert_eq!(request(format!("{line}\r\nHost: a\r\n\r\n")), ["0 error bad_start_line"], "{line}");
    }
}

#[test]
fn a_method_is_a_token() {
    for line in [
        &b"G@T / HTTP/1.1"[..],
        b"G\xffT / HTTP/1.1",
        b"G\0T / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"(GET / HTTP/1.1",
        b"G\x7f / HTTP/1.1",
    ] {
        assert_eq!(request([line, b"\r\nHost: a\r\n\r\n"].concat()), ["0 error bad_start_line"]);
    }
    assert_eq!(
        accepted(request("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n\r\n")),
        "0 req#2 !#$%&\\'*+-.^_`|~09azAZ / 1.1 none"
    );
}

#[test]
fn a_version_has_one_digit() {
    for version in [
        "HTTP/1.10",
        "HTTP/1.12",
        "HTTP/1.99999999999",
        "HTTP/1.",
        "HTTP/1",
        "HTTP/2.0",
        "HTTP/0.9",
        "http/1.1",
        "HTTP/1.x",
        "HTTP/ 1.1",
        "HTTP/11",
    ] {
        assert_eq!(request(format!("GET / {version}\r\nHost: a\r\n\r\n")), ["0 error bad_start_line"], "{version}");
        assert_eq!(response(format!("{version} 200 OK\r\n\r\n")), ["1 error bad_start_line"], "{version}");
    }
    assert_eq!(accepted(request("GET / HTTP/1.9\r\nHost: a\r\n\r\n")), "0 req#2 GET / 1.9 none");
}

#[test]
fn a_status_has_three_digits() {
    for status in ["2", "20", "2000", "99999999999", "099", "2x0", "-20", "", "200OK", "200\tOK", "20 0"] {
        assert_eq!(response(format!("HTTP/1.1 {status}\r\n\r\n")), ["1 error bad_start_line"], "{status}");
    }
    assert_eq!(accepted(response("HTTP/1.1 999 ?\r\n\r\n")), "1 res#2 999 \"?\" 1.1 none");
}

#[test]
fn a_reason_may_be_missing() {
    assert_eq!(accepted(response("HTTP/1.1 200\r\n\r\n")), "1 res#2 200 \"\" 1.1 none");
    assert_eq!(accepted(response("HTTP/1.1 200 \r\n\r\n")), "1 res#2 200 \"\" 1.1 none");
    assert_eq!(
        accepted(response("HTTP/1.1 200 O\tK \u{e9}\r\n\r\n")),
        "1 res#2 200 \"O\\\\tK \\\\xc3\\\\xa9\" 1.1 none"
    );
}

#[test]
fn control_characters_in_a_start_line_are_refused() {
    for byte in [0u8, 1, 9, 11, 12, 13, 31, 127] {
        assert_eq!(
            request([b"GET /a", &[byte][..], b"b HTTP/1.1\r\nHost: a\r\n\r\n"].concat()),
            ["0 error bad_start_line"],
            "{byte}"
        );
        if byte != 9 {
            assert_eq!(
                response([b"HTTP/1.1 200 O", &[byte][..], b"K\r\n\r\n"].concat()),
                ["1 error bad_start_line"],
                "{byte}"
            );
        }
    }
    assert_eq!(request("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), ["0 error bad_start_line"]);
    assert_eq!(request("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), ["0 error bad_start_line"]);
    assert_eq!(request("GET / HTTP/1.1\rHost: a\r\n\r\n"), ["0 error bad_start_line"]);
}

#[test]
fn bare_line_feeds_are_accepted_and_flagged() {
    for head in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
    ] {
        assert_eq!(accepted(request(head)), "0 req#2 GET / 1.1 none +bare_lf", "{head:?}");
    }
    assert_eq!(accepted(response("HTTP/1.1 200 OK\n\n")), "1 res#2 200 \"OK\" 1.1 none +bare_lf");
}

#[test]
fn up_to_eight_empty_lines_may_lead() {
    for lines in 1..=8 {
        assert_eq!(
            accepted(request(format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(lines)))),
            "0 req#2 GET / 1.1 none +leading_empty"
        );
        assert!(
            accepted(response(format!("{}HTTP/1.1 200 OK\r\n\r\n", "\n".repeat(lines)))).ends_with("+leading_empty")
        );
    }
    assert_eq!(request(format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(9))), ["0 error bad_start_line"]);
    assert_eq!(request("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), ["0 error bad_start_line"]);
}

#[test]
fn a_continued_line_is_a_pair_without_a_name() {
    let records = said(Manner::default(), &[c("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n \tc \r\n\r\n")]);
    assert_eq!(records[0].line(), "0 req#1 GET / 1.1 none +obs_fold");
    assert_eq!(records[0].pairs[2], (String::new(), " \\tc".to_owned()));
    assert_eq!(request("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), ["0 error bad_header"]);
}

#[test]
fn bad_headers_are_refused() {
    for line in [
        &b"A : b"[..],
        b": b",
        b"A",
        b"A\0: b",
        b"A: b\0",
        b"A: \x01",
        b"A: b\rc",
        b"A(: b",
        b"A\xe9: b",
        b"A: b\x7f",
        b"\tA: b",
        b"A b: c",
        b"A\r: c",
    ] {
        assert_eq!(
            request([b"GET / HTTP/1.1\r\n", line, b"\r\nHost: a\r\n\r\n"].concat()),
            ["0 error bad_header"],
            "{}",
            line.escape_ascii()
        );
    }
    assert_eq!(accepted(request(b"GET / HTTP/1.1\r\nHost: a\r\nA|~: \xe9\tb\r\n\r\n")), "0 req#2 GET / 1.1 none");
}

#[test]
fn a_head_may_have_128_headers() {
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    let records = said(Manner { max_pairs: 128, ..Manner::default() }, &[c(head(128))]);
    assert_eq!((records[0].line().as_str(), records[0].pairs.len()), ("0 req#1 GET / 1.1 none", 128));
    assert_eq!(request(head(129)), ["0 error too_many_headers"]);
}

#[test]
fn a_head_may_have_65535_bytes() {
    let head = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(len - 32));
    assert_eq!(head(100).len(), 100);
    assert_eq!(accepted(request(head(65535))), "0 req#2 GET / 1.1 none");
    assert_eq!(request(head(65536)), ["0 error head_too_long"]);
    assert_eq!(request(format!("GET /{}", "a".repeat(70000))), ["0 error head_too_long"]);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let head = "\r\nGET /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\nGET";
    let bytes: Vec<_> = head.bytes().map(|byte| c([byte])).collect();
    for wakes in [false, true] {
        let records = said(Manner { wakes, ..Manner::default() }, &bytes);
        assert_eq!(records[0].line(), "0 req#1 GET /abc 1.1 none +obs_fold +leading_empty");
        assert_eq!((records[0].start, records[0].end, records.len()), (2, 42, 2));
    }
}

#[test]
fn the_middle_of_a_bad_head_is_not_taken_for_a_start() {
    let bad = "GET / HTTP/1.1\r\nbad\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(request(bad), ["0 error bad_header"]);
}

#[test]
fn texts_may_hold_any_byte() {
    let records = said(Manner::default(), &[c(b"GET /\xff\x80 HTTP/1.1\r\nHost: \xff\r\n\r\n")]);
    assert_eq!((records[0].target.as_str(), records[0].pairs[0].1.as_str()), ("/\\xff\\x80", "\\xff"));
}
