//! Gaps, ends within messages, and the search for a start line.

use crate::host::{Happens, Manner, c, fin, gap, lines, parsed, reset, s, said};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn post(length: u32) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn a_gap_in_a_body_of_known_length_is_counted() {
    let happens = [c(post(10) + "ab"), gap(0, 3), c("abcde"), c(GET)];
    assert_eq!(parsed(&happens)[1..], ["0 end#1 10/10 lost 3 +gap", "0 req#2 GET / 1.1 none", "0 end#2 0/0"]);
}

#[test]
fn a_gap_that_ends_with_the_body_ends_the_message() {
    let happens = [c(post(10) + "ab"), gap(0, 8), c(GET)];
    assert_eq!(parsed(&happens)[1..], ["0 end#1 10/10 lost 8 +gap", "0 req#2 GET / 1.1 none", "0 end#2 0/0"]);
    let happens = [c(post(10) + "ab"), gap(0, 8), fin(0)];
    assert_eq!(parsed(&happens)[1..], ["0 end#1 10/10 lost 8 +gap"]);
}

#[test]
fn a_gap_that_goes_beyond_the_body_hides_a_head() {
    let happens = [c(post(10) + "ab"), gap(0, 9), c("/ HTTP/1.1\r\n\r\n"), c(GET)];
    assert_eq!(
        parsed(&happens)[1..],
        ["0 end#1 10/10 lost 8 +gap", "0 error lost_head", "0 req#2 GET / 1.1 none +resync", "0 end#2 0/0",]
    );
}

#[test]
fn a_gap_inside_a_chunk_is_counted() {
    let happens = [c(chunked("a\r\nab")), gap(0, 3), c("abcde\r\n0\r\n\r\n")];
    assert_eq!(parsed(&happens)[1..], ["0 end#1 20/10 lost 3 +gap"]);
    let happens = [c(chunked("a\r\nab")), gap(0, 8), c("\r\n0\r\n\r\n")];
    assert_eq!(parsed(&happens)[1..], ["0 end#1 20/10 lost 8 +gap"]);
}

#[test]
fn a_gap_that_goes_beyond_the_chunk_hides_the_end() {
    let happens = [c(chunked("a\r\nab")), gap(0, 9), c("\n0\r\n\r\n"), c(GET)];
    assert_eq!(
        parsed(&happens)[1..],
        [
            "0 end#1 13/10 lost 8 +gap +truncated",
            "0 error lost_framing",
            "0 req#2 GET / 1.1 none +resync",
            "0 end#2 0/0",
        ]
    );
}

#[test]
fn a_gap_in_chunk_framing_hides_the_end() {
    for (body, wire) in [("a", 1), ("1\r\nx\r", 5), ("1\r\nx", 4), ("0\r\nA: b\r\n", 9), ("1\r\nx\r\n", 6), ("", 0)] {
        let happens = [c(chunked(body)), gap(0, 1), c(GET)];
        let decoded = usize::from(body.starts_with('1'));
        assert_eq!(
            parsed(&happens)[1..3],
            [format!("0 end#1 {wire}/{decoded} +gap +truncated"), "0 error lost_framing".into()],
            "{body:?}"
        );
    }
}

#[test]
fn a_gap_in_a_body_until_the_close_is_counted() {
    let happens = [c(GET), s("HTTP/1.0 200 OK\r\n\r\nab"), gap(1, 5), s("c"), gap(1, 1), fin(1)];
    assert_eq!(parsed(&happens)[3..], ["1 end#1 9/9 lost 6 +gap"]);
}

#[test]
fn a_gap_in_a_head_leaves_what_was_before() {
    for (front, pairs) in [
        ("GET / HT", &[][..]),
        ("GET /", &[]),
        ("GET / HTTP/1.1\r", &[]),
        ("GET / HTTP/1.1\r\nA", &[]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y", &[("Host", "a"), ("X", "y")]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r", &[("Host", "a"), ("X", "y")]),
    ] {
        let happens = [c(GET), c(front), gap(0, 7), c("x\r\n\r\n"), c(GET)];
        assert_eq!(
            parsed(&happens)[2..],
            ["0 req#2 GET / 1.1 none +head_cut", "0 end#2 0/0", "0 req#3 GET / 1.1 none +resync", "0 end#3 0/0"],
            "{front:?}"
        );
        let records = said(Manner::default(), &happens);
        let found: Vec<_> = records[2].pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, pairs, "{front:?}");
    }
    for (front, reason) in
        [("HTTP/1.1 200", ""), ("HTTP/1.1 200 O", "O"), ("HTTP/1.1 200 OK\r\nContent-Length: 5", "OK")]
    {
        let happens = [c(GET), s(front), gap(1, 7), s("x\r\n\r\n"), s(OK)];
        assert_eq!(
            parsed(&happens)[2..],
            [
                format!("1 res#1 200 \"{reason}\" 1.1 none +head_cut"),
                "1 end#1 0/0".into(),
                "1 res#0 200 \"OK\" 1.1 length=0 +unpaired +resync".into(),
                "1 end#0 0/0".into()
            ],
            "{front:?}"
        );
    }
}

/// As with a short snap length.
#[test]
fn a_search_finds_heads_that_are_cut() {
    let mut happens = vec![];
    for _ in 0..3 {
        happens.extend([c("GET /abc"), gap(0, 100), s("HTTP/1.1 200 O"), gap(1, 100)]);
    }
    happens.extend([fin(0), fin(1)]);
    let said = parsed(&happens);
    let heads: Vec<_> = said.iter().filter(|line| !line.contains("end#")).map(String::as_str).collect();
    assert_eq!(
        heads,
        [
            "0 req#1 GET /abc 1.1 none +head_cut",
            "1 res#0 200 \"O\" 1.1 none +unpaired +head_cut",
            "0 req#2 GET /abc 1.1 none +resync +head_cut",
            "1 res#0 200 \"O\" 1.1 none +unpaired +resync +head_cut",
            "0 req#3 GET /abc 1.1 none +resync +head_cut",
            "1 res#0 200 \"O\" 1.1 none +unpaired +resync +head_cut",
        ]
    );
}

#[test]
fn what_follows_a_connect_or_an_upgrade_whose_head_is_cut_is_a_tunnel() {
    let happens = [c("CONNECT a:1 HT"), gap(0, 9), c("x"), s("HTTP/1.1 200 OK\r\n\r\n"), c(GET), s(OK)];
    assert_eq!(parsed(&happens)[2..], ["1 res#1 200 \"OK\" 1.1 tunnel", "1 tunnel#1 connect", "1 end#1 0/0"]);
    let happens = [c("GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n"), s("HTTP/1.1 101 S\r\nUp"), gap(1, 9), s(OK), c(GET)];
    assert_eq!(parsed(&happens).len(), 5);
}

#[test]
fn a_gap_before_a_head_loses_it() {
    for front in ["", "GE", "GET ", "GET x", "hello /"] {
        let happens = [c(GET), c(front), gap(0, 7), c("x\r\n\r\n"), c(GET)];
        assert_eq!(
            parsed(&happens)[2..],
            ["0 error lost_head", "0 req#2 GET / 1.1 none +resync", "0 end#2 0/0"],
            "{front:?}"
        );
    }
    let happens = [gap(0, 100), c("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")];
    assert_eq!(parsed(&happens), ["0 error lost_head", "0 req#1 GET /2 1.1 none +resync", "0 end#1 0/0"]);
}

#[test]
fn the_end_of_the_stream_in_a_head_leaves_what_was_before() {
    assert_eq!(parsed(&[c(GET), c("GET / HT"), fin(0)])[2..], ["0 req#2 GET / 1.1 none +head_cut", "0 end#2 0/0"]);
    assert_eq!(parsed(&[c(GET), c("\r\n\r\n"), fin(0)]).len(), 2);
    assert_eq!(parsed(&[c(GET), fin(0)]).len(), 2);
    assert_eq!(parsed(&[c("GE"), fin(0)]), ["0 error lost_head"]);
    assert_eq!(parsed(&[c("hello"), fin(0)]), ["0 not_http other"]);
}

#[test]
fn a_reset_cuts_every_open_message() {
    let happens = [c(post(10) + "ab"), s("HTTP/1.1 200 OK\r\n\r\nxyz"), reset(0), reset(1)];
    assert_eq!(
        parsed(&happens)[1..],
        ["1 res#1 200 \"OK\" 1.1 close +early", "0 end#1 2/2 +truncated", "1 end#1 3/3 +truncated"]
    );
}

#[test]
fn only_segment_starts_are_searched() {
    let inside = format!("xx{GET}");
    let happens = [c(GET), gap(0, 1), c(&inside), Happens::More(0, GET.into()), c(GET)];
    assert_eq!(parsed(&happens)[2..], ["0 error lost_head", "0 req#2 GET / 1.1 none +resync", "0 end#2 0/0"]);
}

#[test]
fn a_start_line_must_be_plausible_and_its_head_good() {
    let nearly = [
        "get / HTTP/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET /\r\n",
        "A man walks by HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "\x01\x02",
        "",
    ];
    let mut happens = vec![c(GET), gap(0, 1)];
    happens.extend(nearly.iter().map(c));
    happens.push(c(GET));
    assert_eq!(parsed(&happens)[2..], ["0 error lost_head", "0 req#2 GET / 1.1 none +resync", "0 end#2 0/0"]);
}

#[test]
fn a_found_head_may_come_in_pieces() {
    let mut happens = vec![c(GET), gap(0, 1), c("G")];
    happens.extend(GET.bytes().skip(1).map(|byte| Happens::More(0, vec![byte])));
    assert_eq!(parsed(&happens)[3..], ["0 req#2 GET / 1.1 none +resync", "0 end#2 0/0"]);
    let split = [c(GET), gap(0, 1), c("GET / HT"), c("TP/1.1\r\n\r\n"), c(GET)];
    assert_eq!(
        parsed(&split)[3],
        "0 req#2 GET / 1.1 none +resync +host_missing".replace("+resync +host_missing", "+host_missing +resync")
    );
}

#[test]
fn a_search_that_finds_nothing_ends() {
    let noise: Vec<Happens> = (0..100).map(|_| c("noise")).collect();
    let mut happens = vec![gap(0, 1)];
    happens.extend(noise);
    happens.push(c(GET));
    assert_eq!(parsed(&happens), ["0 error lost_head", "0 error no_start"]);
    let long = [gap(0, 1), c(vec![b'x'; 500_000]), c(vec![b'x'; 500_000]), c(vec![b'x'; 100_000]), c(GET)];
    assert_eq!(lines(Manner::default(), &long), ["0 error lost_head", "0 error no_start"]);
}

#[test]
fn where_http_was_seen_a_long_body_is_passed_over() {
    let mut happens = vec![c(GET), s("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab"), gap(1, 2)];
    happens.extend((0..200).map(|_| s("part of the body")));
    happens.extend([c(GET), s(OK)]);
    assert_eq!(
        parsed(&happens)[3..],
        [
            "1 end#1 5/2 +gap +truncated",
            "1 error lost_framing",
            "0 req#2 GET / 1.1 none",
            "0 end#2 0/0",
            "1 res#0 200 \"OK\" 1.1 length=0 +unpaired +resync",
            "1 end#0 0/0",
        ]
    );
}

#[test]
fn a_search_gives_up_after_64_heads_that_were_none() {
    let mut happens = vec![c(GET), gap(0, 1)];
    happens.extend((0..70).flat_map(|_| [c("GET x HTTP/1.1\r"), gap(0, 1)]));
    happens.push(c(GET));
    assert_eq!(parsed(&happens)[2..], ["0 error lost_head", "0 error no_start"]);
}

#[test]
fn an_error_is_followed_by_a_search() {
    let happens = [c("GET HTTP/1.1\r\n\r\n"), c(GET), s(OK)];
    assert_eq!(
        parsed(&happens),
        [
            "0 error bad_start_line",
            "0 req#1 GET / 1.1 none +resync",
            "0 end#1 0/0",
            "1 res#0 200 \"OK\" 1.1 length=0 +unpaired",
            "1 end#0 0/0",
        ]
    );
    let happens = [c(chunked("x")), c("\r\n"), c(GET)];
    assert_eq!(
        parsed(&happens)[1..],
        ["0 end#1 0/0 +truncated", "0 error bad_chunk", "0 req#2 GET / 1.1 none +resync", "0 end#2 0/0"]
    );
}

#[test]
fn mid_stream_begins_with_a_silent_search() {
    let manner = Manner { midstream: true, ..Manner::default() };
    let happens = [s("rest of a body\r\n"), s("and more"), c(GET), s(OK), c(GET), s(OK)];
    assert_eq!(
        lines(manner, &happens),
        [
            "0 req#1 GET / 1.1 none +midstream",
            "0 end#1 0/0",
            "1 res#0 200 \"OK\" 1.1 length=0 +unpaired +resync +midstream",
            "1 end#0 0/0",
            "0 req#2 GET / 1.1 none",
            "0 end#2 0/0",
            "1 res#0 200 \"OK\" 1.1 length=0 +unpaired",
            "1 end#0 0/0",
        ]
    );
}

#[test]
fn mid_stream_that_begins_with_a_head_is_read_from_there() {
    let manner = Manner { midstream: true, ..Manner::default() };
    let mut happens = vec![c(GET), s(OK)];
    assert_eq!(lines(manner, &happens)[2], "1 res#1 200 \"OK\" 1.1 length=0 +midstream");
    happens.remove(0);
    assert_eq!(lines(manner, &happens)[0], "1 res#0 200 \"OK\" 1.1 length=0 +unpaired +midstream");
}

#[test]
fn direction_in_mid_stream_is_settled_by_content() {
    let manner = Manner { midstream: true, ..Manner::default() };
    let happens = [c("body of a response"), s(GET), c(OK)];
    assert_eq!(
        lines(manner, &happens)[..3],
        [
            "1 req#1 GET / 1.1 none +midstream",
            "1 end#1 0/0",
            "0 res#0 200 \"OK\" 1.1 length=0 +unpaired +resync +midstream",
        ]
    );
}

const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 77777\r\n\r\n";

/// After a request that was lost: it is not known what the next response answers.
fn lost_request() -> Vec<Happens> {
    vec![Happens::Acks(1, None), c(GET), s(OK), gap(0, 30), c(GET)]
}

#[test]
fn a_head_where_an_assumed_body_would_begin_proves_that_there_is_none() {
    for announced in ["Content-Length: 77777\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let mut happens = lost_request();
        happens.extend([s(format!("HTTP/1.1 200 OK\r\n{announced}\r\n")), s(OK), c(GET), s(OK)]);
        let said = parsed(&happens);
        assert!(said[7].contains("res#0 200") && said[7].ends_with("+unpaired"), "{said:#?}");
        assert_eq!(said[8..10], ["1 end#0 0/0", "1 res#0 200 \"OK\" 1.1 length=0 +unpaired"], "{announced}");
        assert_eq!(said[13], "1 res#3 200 \"OK\" 1.1 length=0", "{announced}");
    }
}

#[test]
fn a_head_that_comes_in_pieces_ends_an_assumed_body_too() {
    let mut happens = lost_request();
    happens.push(s(LONG));
    happens.extend(OK.bytes().map(|byte| s([byte])));
    assert_eq!(parsed(&happens)[8..10], ["1 end#0 0/0", "1 res#0 200 \"OK\" 1.1 length=0 +unpaired"]);
}

#[test]
fn in_an_assumed_body_a_head_counts_if_more_was_acknowledged() {
    let mut happens = lost_request();
    happens.extend([
        s(LONG),
        gap(1, 100),
        s("body"),
        s(OK),
        s("more"),
        c(GET),
        s("HTTP/1.1 304 Nothing\r\n\r\n"),
        s(OK),
    ]);
    assert_eq!(
        parsed(&happens)[7..],
        [
            "1 res#0 200 \"OK\" 1.1 length=77777 +unpaired",
            // a head on its way with nothing new acknowledged is part of the body
            "0 req#3 GET / 1.1 none",
            "0 end#3 0/0",
            "1 end#0 146/146 lost 100 +gap +truncated",
            // what was lost may have been answers
            "1 res#0 304 \"Nothing\" 1.1 none +unpaired",
            "1 end#0 0/0",
            "1 res#0 200 \"OK\" 1.1 length=0 +unpaired",
            "1 end#0 0/0",
        ]
    );
}

#[test]
fn an_assumed_body_that_began_before_the_client_was_seen_ends_with_what_it_asks() {
    let manner = Manner { midstream: true, ..Manner::default() };
    let happens = [s(LONG), gap(1, 100), s("body"), Happens::Acks(1, None), c(GET), s(OK)];
    assert_eq!(
        lines(manner, &happens)[3..5],
        ["1 end#0 104/104 lost 100 +gap +truncated", "1 res#0 200 \"OK\" 1.1 length=0 +unpaired"]
    );
}

#[test]
fn an_assumed_body_that_is_one_is_read_to_its_end() {
    let mut happens = lost_request();
    let body = format!("x{}", OK.repeat(2));
    happens.push(s(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * body.len())));
    happens.extend([s(&body), c(GET), s(&body)]);
    let said = parsed(&happens);
    let sizes = format!("1 end#0 {0}/{0}", 2 * body.len());
    assert!(said.contains(&sizes), "{said:#?}");
}

#[test]
fn a_known_body_holds_whatever_it_likes() {
    let happens = [Happens::Acks(1, None), c(GET), s(LONG), s(OK), c(GET), s(OK)];
    assert_eq!(parsed(&happens)[2..].len(), 3);
}

#[test]
fn a_body_that_looks_like_heads_is_accepted_after_64_of_them() {
    let mut happens = lost_request();
    happens.extend([s(LONG), s("body"), c(GET)]);
    happens.extend((0..70).map(|_| s("HTTP/1.1 2 OK\r\n\r\n")));
    happens.push(s(OK));
    assert_eq!(parsed(&happens)[8..], ["0 req#3 GET / 1.1 none", "0 end#3 0/0"]);
}

#[test]
fn an_assumed_body_is_believed_after_64_mebibytes() {
    for (mebibytes, heads) in [(63, 2), (64, 1)] {
        let mut happens = lost_request();
        let announced = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
        happens.extend([s(announced), gap(1, mebibytes << 20), c(GET), s(OK)]);
        let said = parsed(&happens);
        assert_eq!(said.iter().filter(|line| line.contains(" res#")).count(), 1 + heads, "{said:#?}");
    }
}
