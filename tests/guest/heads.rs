//! Start lines and headers: what is accepted, what is flagged, and where the source of 2017 that the guest builds on is put
//! right.

use picotap::abi;

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

/// The line of a request whose start line is odd, and is read all the same.
fn odd(line: impl AsRef<[u8]>) -> String {
    let line = line.as_ref();
    let said = accepted(request([line, b"\r\nHost: a\r\n\r\n"].concat()));
    let line = line.escape_ascii();
    let flagged = said.strip_suffix(" none +bad_start_line").unwrap_or_else(|| panic!("{line}: {said}"));
    flagged.trim_start_matches("0 req#2 ").to_owned()
}

#[test]
fn a_method_is_a_token() {
    for (line, read) in [
        (&b"G@T / HTTP/1.1"[..], "G@T / 1.1"),
        (b"G\xffT / HTTP/1.1", "G\\xffT / 1.1"),
        (b"GET\t/ HTTP/1.1", "GET / 1.1"),
        (b"(GET / HTTP/1.1", "(GET / 1.1"),
    ] {
        assert_eq!(odd(line), read);
    }
    for line in [b"G\0T / HTTP/1.1", b"G\x7fT / HTTP/1.1"] {
        assert_eq!(request([&line[..], b"\r\nHost: a\r\n\r\n"].concat()), ["0 error bad_start_line"]);
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
        "HTTP/11",
    ] {
        assert_eq!(odd(format!("GET / {version}")), "GET / 1.1", "{version}");
        let said = accepted(response(format!("{version} 200 OK\r\n\r\n")));
        assert_eq!(said, "1 res#2 200 \"OK\" 1.1 none +bad_start_line", "{version}");
    }
    for version in ["HTTP/", "HTTP/ 1.1", "HTTP", "HTTPS/1.1", "TTP/1.1"] {
        let said = request(format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert_eq!(said, ["0 error bad_start_line"], "{version}");
        assert_eq!(response(format!("{version} 200 OK\r\n\r\n")), ["1 error bad_start_line"], "{version}");
    }
    assert_eq!(odd("GET / http/1.0"), "GET / 1.0");
    assert_eq!(accepted(request("GET / HTTP/1.9\r\nHost: a\r\n\r\n")), "0 req#2 GET / 1.9 none");
}

#[test]
fn a_status_has_three_digits() {
    for (status, reason) in [("200OK", "OK"), ("200\tOK", "OK"), ("200 O\u{1}K", "O\\\\x01K")] {
        let said = accepted(response(format!("HTTP/1.1 {status}\r\n\r\n")));
        assert_eq!(said, format!("1 res#2 200 \"{reason}\" 1.1 none +bad_start_line"), "{status:?}");
    }
    assert_eq!(accepted(response("HTTP/1.1\t200 OK\r\n\r\n")), "1 res#2 200 \"OK\" 1.1 none +bad_start_line");
    assert_eq!(accepted(response("ICY 200 OK\r\n\r\n")), "1 res#2 200 \"OK\" 1.0 none +bad_start_line");
    for status in ["2", "20", "2000", "99999999999", "099", "2x0", "-20", "", "20 0"] {
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
fn control_characters_and_spaces_in_a_start_line_are_flagged() {
    for byte in [0u8, 1, 9, 11, 12, 13, 31, 127] {
        assert!(odd([b"GET /a", &[byte][..], b"b HTTP/1.1"].concat()).starts_with("GET /a"), "{byte}");
        let said = accepted(response([b"HTTP/1.1 200 O", &[byte][..], b"K\r\n\r\n"].concat()));
        assert_eq!(said.contains("+bad_start_line"), byte != 9, "{byte}: {said}");
    }
    assert_eq!(odd("GET /a b HTTP/1.1"), "GET /a b 1.1");
    assert_eq!(odd("GET /a  b   HTTP/1.1  "), "GET /a  b 1.1");
    assert_eq!(odd("GET / HTTP/1.1 "), "GET / 1.1");
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
    let said = accepted(request("GET / HTTP/1.1\r\n Host: a\r\n\r\n"));
    assert_eq!(said, "0 req#2 GET / 1.1 none +host_missing +bad_header");
}

#[test]
fn bad_headers_are_flagged_and_the_others_read() {
    for (line, pair) in [
        (&b"A : b"[..], Some(("A", "b"))),
        (b"A \t: b", Some(("A", "b"))),
        (b": b", None),
        (b" : b", None),
        (b"A", None),
        (b"A\0: b", Some(("A\\x00", "b"))),
        (b"A: b\0", Some(("A", "b\\x00"))),
        (b"A: \x01", Some(("A", "\\x01"))),
        (b"A: b\rc", Some(("A", "b\\rc"))),
        (b"A(: b", Some(("A(", "b"))),
        (b"A\xe9: b", Some(("A\\xe9", "b"))),
        (b"A: b\x7f", Some(("A", "b\\x7f"))),
        (b"\tA: b", None),
        (b"A b: c", Some(("A b", "c"))),
        (b"A\r: c", Some(("A\\r", "c"))),
    ] {
        let text = line.escape_ascii();
        let bytes = [b"GET / HTTP/1.1\r\n", line, b"\r\nHost: a\r\nX: y\r\n\r\n"].concat();
        assert_eq!(accepted(request(&bytes)), "0 req#2 GET / 1.1 none +bad_header", "{text}");
        let records = said(Manner::default(), &[c(bytes)]);
        let mut pairs = vec![("Host", "a"), ("X", "y")];
        pairs.splice(..0, pair);
        let found: Vec<_> = records[0].pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, pairs, "{text}");
    }
    assert_eq!(accepted(request(b"GET / HTTP/1.1\r\nHost: a\r\nA|~: \xe9\tb\r\n\r\n")), "0 req#2 GET / 1.1 none");
}

#[test]
fn a_head_may_have_128_headers() {
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    let records = said(Manner { max_pairs: abi::MAX_PAIRS, ..Manner::default() }, &[c(head(128))]);
    assert_eq!((records[0].line().as_str(), records[0].pairs.len()), ("0 req#1 GET / 1.1 none", 128));
    assert_eq!(accepted(request(head(129))), "0 req#2 GET / 1.1 none +too_many_headers");
}

#[test]
fn what_matters_is_found_behind_any_number_of_headers() {
    for count in [129, 1022, 1023, 1024, 5000] {
        let many = "A: b\r\n".repeat(count);
        let head = format!("POST / HTTP/1.1\r\n{many}Host: a\r\nContent-Length : 3\r\nHost: b\r\n\r\nabc");
        let flags = "+host_repeated +bad_header +too_many_headers";
        assert_eq!(request(&head), [format!("0 req#2 POST / 1.1 length=3 {flags}"), "0 end#2 3/3".into()], "{count}");
        let pairs = said(Manner::default(), &[c(head)]).swap_remove(0).pairs;
        let host = pairs.iter().position(|(name, _)| name == "Host");
        let len = if count < 1023 { (count + 3).min(1023) } else { 1024 };
        assert_eq!((pairs.len(), host), (len, Some(count.min(1023))), "{count}");
    }
}

#[test]
fn lines_that_continue_a_header_stay_with_it() {
    let many = "A: b\r\n".repeat(1023);
    let pairs = |head: String| said(Manner::default(), &[c(head)]).swap_remove(0).pairs;
    let found = pairs("GET / HTTP/1.1\r\nX : y\r\n z\r\nbad\r\n w\r\n v\r\n\r\n".to_owned());
    assert_eq!(found, [("X".to_owned(), "y".to_owned()), (String::new(), " z".to_owned())]);
    assert_eq!(pairs(format!("GET / HTTP/1.1\r\n{many}B: c\r\n d\r\nHost: h\r\n i\r\n\r\n")).len(), 1024);
    let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n 4\r\n\r\n";
    assert_eq!(request(length)[2], "0 error bad_content_length");
    let coding = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : gzip,\r\n chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(accepted(request(coding)), "0 req#2 POST / 1.1 chunked +te_odd +obs_fold +bad_header");
}

#[test]
fn a_head_may_have_65535_bytes() {
    let head = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(len - 32));
    assert_eq!(head(100).len(), 100);
    assert_eq!(accepted(request(head(65535))), "0 req#2 GET / 1.1 none");
    let long = |head: &str| [head.to_owned(), "0 end#2 0/0 +truncated".into(), "0 error head_too_long".into()];
    assert_eq!(request(head(65536)), long("0 req#2 GET / 1.1 none +head_cut"));
    let target = "a".repeat(70000);
    let said = request(format!("GET /{target}"));
    assert_eq!(said, long(&format!("0 req#2 GET /{} 1.1 none +head_cut", &target[..65530])));
    assert_eq!(request(format!("get /{target}")), ["0 error head_too_long"]);
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
    let bad = "GET HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(request(bad), ["0 error bad_start_line"]);
}

#[test]
fn texts_may_hold_any_byte() {
    let records = said(Manner::default(), &[c(b"GET /\xff\x80 HTTP/1.1\r\nHost: \xff\r\n\r\n")]);
    assert_eq!((records[0].target.as_str(), records[0].pairs[0].1.as_str()), ("/\\xff\\x80", "\\xff"));
}
