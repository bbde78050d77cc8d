//! Message framing, RFC 9112, section 6.3, rule by rule.

use crate::host::{Happens, c, fin, parsed, reset, s};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The records about a response to `request`, without those about the request.
fn response(request: &str, response: &str, more: &[Happens]) -> Vec<String> {
    let mut happens = vec![c(request), s(response)];
    happens.extend_from_slice(more);
    parsed(&happens).split_off(2)
}

/// The records about a request.
fn request(head: &str) -> Vec<String> {
    parsed(&[c(head)])
}

#[test]
fn a_request_and_its_response() {
    let happens = [c("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")];
    assert_eq!(
        parsed(&happens),
        ["0 req#1 GET /a 1.1 none", "0 end#1 0/0", "1 res#1 200 \"OK\" 1.1 length=5", "1 end#1 5/5"]
    );
}

#[test]
fn a_response_to_head_has_no_body() {
    let happens = [
        c("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"),
        s("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        c(GET),
        s("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ];
    assert_eq!(parsed(&happens)[2..4], ["1 res#1 200 \"OK\" 1.1 none", "1 end#1 0/0"]);
    assert_eq!(parsed(&happens)[6..], ["1 res#2 200 \"OK\" 1.1 length=2", "1 end#2 2/2"]);
}

#[test]
fn interim_responses_answer_nothing() {
    let said = response(
        GET,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        &[],
    );
    assert_eq!(
        said,
        [
            "1 res#1 100 \"Continue\" 1.1 none +interim",
            "1 end#1 0/0",
            "1 res#1 103 \"Early Hints\" 1.1 none +interim",
            "1 end#1 0/0",
            "1 res#1 204 \"No Content\" 1.1 none",
            "1 end#1 0/0",
        ]
    );
}

#[test]
fn a_forbidden_body_is_flagged_and_not_read() {
    for status in ["100 Continue", "204 No Content", "304 Not Modified"] {
        let said = response(
            GET,
            &format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            &[],
        );
        assert!(
            said[0].contains("none") && said[0].ends_with("+body_forbidden")
                || said[0].contains("+body_forbidden +interim"),
            "{said:?}"
        );
        assert!(said[2].starts_with("1 res#") && said[2].contains("200 \"OK\" 1.1 length=0"), "{said:?}");
    }
}

#[test]
fn a_response_without_length_lasts_until_the_close() {
    assert_eq!(response(GET, "HTTP/1.0 200 OK\r\n\r\nabc", &[fin(1)]), ["1 res#1 200 \"OK\" 1.0 close", "1 end#1 3/3"]);
    assert_eq!(response(GET, "HTTP/1.0 200 OK\r\n\r\nabc", &[reset(1)])[1], "1 end#1 3/3 +truncated");
    assert_eq!(response(GET, "HTTP/1.0 200 OK\r\n\r\n", &[fin(1)])[1], "1 end#1 0/0");
}

#[test]
fn a_body_cut_by_the_close_is_truncated() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    assert_eq!(response(GET, head, &[fin(1)])[1], "1 end#1 3/3 +truncated");
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
    assert_eq!(response(GET, head, &[fin(1)])[1], "1 end#1 5/2 +truncated");
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n5";
    assert_eq!(response(GET, head, &[fin(1)])[1], "1 end#1 8/2 +truncated");
}

#[test]
fn a_request_body_is_read() {
    let said = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(said, ["0 req#1 POST / 1.1 length=3", "0 end#1 3/3", "0 req#2 GET /2 1.1 none", "0 end#2 0/0"]);
}

#[test]
fn equal_lengths_count_once_and_are_flagged() {
    for lengths in
        ["Content-Length: 3, 3\r\n", "Content-Length: 3\r\nContent-Length: 3\r\n", "Content-Length: 03,3\r\n"]
    {
        let said = request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\nabc"));
        assert_eq!(said, ["0 req#1 POST / 1.1 length=3 +cl_repeated", "0 end#1 3/3"]);
    }
}

#[test]
fn lengths_that_differ_are_an_error() {
    for lengths in ["Content-Length: 3, 4\r\n", "Content-Length: 3\r\nContent-Length: 5\r\n"] {
        let said = request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\nabc"));
        assert_eq!(
            said,
            ["0 req#1 POST / 1.1 none +cl_conflict", "0 end#1 0/0 +truncated", "0 error bad_content_length"]
        );
    }
}

#[test]
fn a_length_that_is_no_number_is_an_error() {
    for length in [
        "-1",
        "+5",
        "0x5",
        "5a",
        "",
        "5 5",
        "9223372036854775808",
        "99999999999999999999",
        "5,",
        ",5",
        "5\r\n 6",
        "5;x",
        "\"5\"",
    ] {
        let said = request(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        assert_eq!(said.last().unwrap(), "0 error bad_content_length", "{length}");
        assert!(said[0].starts_with("0 req#1 POST / 1.1 none"), "{said:?}");
    }
}

#[test]
fn the_greatest_length_is_allowed() {
    let said = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nabc");
    assert_eq!(said, ["0 req#1 POST / 1.1 length=9223372036854775807"]);
}

#[test]
fn transfer_encoding_wins_over_a_length() {
    let said = request(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    );
    assert_eq!(said, ["0 req#1 POST / 1.1 chunked +te_cl_conflict", "0 end#1 11/1"]);
}

#[test]
fn a_request_must_end_in_chunked() {
    for (coding, odd) in [
        ("gzip", ""),
        ("xchunked", " +te_odd"),
        ("chunked, gzip", " +te_odd"),
        ("chunked;q=1, gzip", " +te_odd"),
        ("identity, gzip;q=1", " +te_odd"),
    ] {
        let said = request(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n"));
        let head = format!("0 req#1 POST / 1.1 none{odd}");
        assert_eq!(said, [head.as_str(), "0 end#1 0/0 +truncated", "0 error bad_transfer_coding"], "{coding}");
    }
}

/// As if it were not there, as in HTTP/1.1 of 1999 (RFC 2616, section 3.6).
#[test]
fn identity_is_no_coding() {
    for coding in ["identity", "Identity", "identity, identity", "", ",", "identity;q=1"] {
        let with = |length: &str| {
            request(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n{length}\r\nabc"))
        };
        assert_eq!(with("")[..2], ["0 req#1 POST / 1.1 none +te_odd", "0 end#1 0/0"], "{coding}");
        assert_eq!(
            with("Content-Length: 3\r\n"),
            ["0 req#1 POST / 1.1 length=3 +te_cl_conflict +te_odd", "0 end#1 3/3"],
            "{coding}"
        );
    }
    for coding in ["chunked, identity", "identity, chunked", "chunked;q=1", "chunked ; q=1"] {
        let said = request(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"));
        assert_eq!(said, ["0 req#1 POST / 1.1 chunked +te_odd", "0 end#1 5/0"], "{coding}");
    }
}

#[test]
fn a_response_that_does_not_end_in_chunked_lasts_until_the_close() {
    let said = response(GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nabc", &[fin(1)]);
    assert_eq!(said, ["1 res#1 200 \"OK\" 1.1 close +te_cl_conflict", "1 end#1 3/3"]);
}

#[test]
fn odd_codings_are_flagged() {
    for (lines, odd) in [
        ("Transfer-Encoding: chunked\r\n", false),
        ("transfer-encoding:CHUNKED \t\r\n", false),
        ("Transfer-Encoding: gzip, chunked\r\n", false),
        ("Transfer-Encoding: identity, chunked\r\n", true),
        ("Transfer-Encoding: chunked, chunked\r\n", true),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", true),
        ("Transfer-Encoding: ,chunked\r\n", true),
        ("Transfer-Encoding: gzip,\r\n chunked\r\n", true),
        ("Transfer-Encoding: cow, chunked\r\n", true),
    ] {
        let said = request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\n"));
        assert!(said[0].starts_with("0 req#1 POST / 1.1 chunked"), "{lines}: {said:?}");
        assert_eq!(said[0].contains("+te_odd"), odd, "{lines}");
    }
    let said = request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n");
    assert_eq!(
        said,
        ["0 req#1 POST / 1.1 none +te_odd +bad_header", "0 end#1 0/0 +truncated", "0 error bad_transfer_coding"]
    );
}

#[test]
fn chunked_in_http_1_0_is_read_and_flagged() {
    let said = response(GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[]);
    assert_eq!(said, ["1 res#1 200 \"OK\" 1.0 chunked +te_http10", "1 end#1 5/0"]);
}

#[test]
fn accepted_connect_is_a_tunnel_on_both_sides() {
    let happens = [
        c("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        s("HTTP/1.1 200 Established\r\nContent-Length: 7\r\n\r\n\x16\x03\x01"),
        c("GET / HTTP/1.1\r\n\r\n"),
        s("HTTP/1.1 200 OK\r\n\r\n"),
        fin(0),
        fin(1),
    ];
    assert_eq!(
        parsed(&happens),
        [
            "0 req#1 CONNECT a:443 1.1 none",
            "0 end#1 0/0",
            "1 res#1 200 \"Established\" 1.1 tunnel",
            "1 tunnel#1 connect",
            "1 end#1 0/0",
        ]
    );
}

#[test]
fn refused_connect_goes_on_with_http() {
    let happens = [
        c("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        s("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"),
        c(GET),
        s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    assert_eq!(
        parsed(&happens)[2..],
        [
            "1 res#1 407 \"No\" 1.1 length=2",
            "1 end#1 2/2",
            "0 req#2 GET / 1.1 none",
            "0 end#2 0/0",
            "1 res#2 200 \"OK\" 1.1 length=0",
            "1 end#2 0/0",
        ]
    );
}

#[test]
fn bytes_after_connect_wait_for_its_answer() {
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    let refused = [c(format!("{connect}{get}")), s("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), c("\r\n")];
    assert_eq!(parsed(&refused)[4..], ["0 req#2 GET / 1.1 none", "0 end#2 0/0"]);
    let accepted = [c(format!("{connect}{get}")), s("HTTP/1.1 200 OK\r\n\r\n"), c("\r\n"), fin(0)];
    assert_eq!(parsed(&accepted)[3..], ["1 tunnel#1 connect", "1 end#1 0/0"]);
}

#[test]
fn an_eager_client_that_is_refused_is_searched_for_a_start() {
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let happens = [
        c(connect),
        c("\x16\x03\x01\x02\x00"),
        c(vec![7; 70000]),
        s("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
        c(GET),
        s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    assert_eq!(
        parsed(&happens)[4..],
        ["0 req#2 GET / 1.1 none +resync", "0 end#2 0/0", "1 res#0 200 \"OK\" 1.1 length=0 +unpaired", "1 end#0 0/0",]
    );
}

#[test]
fn switching_protocols_is_a_tunnel_of_a_kind() {
    for (upgrade, kind) in [
        ("Upgrade: websocket\r\n", "websocket"),
        ("Upgrade: H2C\r\n", "h2c"),
        ("Upgrade: x, h2c\r\n", "other"),
        ("", "other"),
    ] {
        let happens = [
            c(format!("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n{upgrade}\r\n")),
            s(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n\x01\x02")),
            c("\x01"),
            s(GET),
            fin(1),
            fin(0),
        ];
        let said = parsed(&happens);
        assert_eq!(said[0].ends_with("+upgrade"), !upgrade.is_empty());
        assert_eq!(
            said[2..],
            ["1 res#1 101 \"Switching Protocols\" 1.1 tunnel", &format!("1 tunnel#1 {kind}"), "1 end#1 0/0"]
        );
    }
}

#[test]
fn a_client_in_its_body_follows_into_the_tunnel_when_that_is_whole() {
    let happens = [
        c("POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 4\r\n\r\nab"),
        s("HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n"),
        c("cdGET / HTTP/1.1\r\n\r\n"),
    ];
    let said = parsed(&happens);
    assert_eq!(said[1], "1 res#1 101 \"S\" 1.1 tunnel +early");
    assert_eq!(said[4..], ["0 end#1 4/4"]);
}

#[test]
fn a_body_where_none_is_defined_is_flagged() {
    for method in ["GET", "HEAD", "DELETE", "TRACE", "CONNECT"] {
        let said = request(&format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(said, [format!("0 req#1 {method} / 1.1 length=1 +body_odd"), "0 end#1 1/1".into()]);
    }
    assert_eq!(request("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")[0], "0 req#1 GET / 1.1 length=0");
}

#[test]
fn host_is_wanted_once() {
    assert_eq!(request("GET / HTTP/1.1\r\n\r\n")[0], "0 req#1 GET / 1.1 none +host_missing");
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n")[0], "0 req#1 GET / 1.0 none");
    assert_eq!(request("GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n")[0], "0 req#1 GET / 1.1 none +host_repeated");
}

#[test]
fn all_forms_of_target_are_read() {
    for target in ["/", "http://a/b?c", "a:80", "*", "/\u{e9}", "/a%00b", "/a\"<>|{}"] {
        let said = request(&format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(said[0], format!("0 req#1 OPTIONS {} 1.1 none", target.as_bytes().escape_ascii()));
    }
}
