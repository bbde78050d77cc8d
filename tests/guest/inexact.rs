//! Gaps of which more is known than that they are there: at most so long, or seen and shed.

use crate::host::{Happens, Manner, c, fin, gap, lines, parsed, s};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn inexact(bytes: u64) -> Happens {
    Happens::Inexact(1, bytes)
}

fn shed(bytes: u64) -> Happens {
    Happens::Shed(1, bytes)
}

fn sized(length: u32, front: &str) -> Happens {
    s(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{front}"))
}

fn chunked(body: &str) -> Happens {
    s(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
}

/// What is said of the answer to one request and of what follows, with and without skips.
fn answered(happens: &[Happens]) -> Vec<String> {
    let all: Vec<Happens> = std::iter::once(c(GET)).chain(happens.iter().cloned()).collect();
    parsed(&all)[3..].to_vec()
}

#[test]
fn no_body_ends_by_counting_through_a_gap_of_unknown_length() {
    // Longer than the gap, as long, and shorter.
    for length in [100, 12, 7] {
        let happens = [c(GET), c(GET), sized(length, "ab"), inexact(10), s(OK), fin(1)];
        let (shown, skipping) = (Manner::default(), Manner { skips: true, ..Manner::default() });
        for manner in [shown, skipping] {
            let said = lines(manner, &happens);
            // Skipped with the gap, what the length leaves counts as far as it was seen.
            let sizes = if manner.skips && length == 100 { "40/40" } else { "2/2" };
            let end = format!("1 end#1 {sizes} +gap +truncated");
            assert_eq!(said[5..7], [end.as_str(), "1 error lost_framing"], "{length} {manner:?}");
            assert_eq!(said.len() > 7 && said[7].contains("res#"), length < 100 || !manner.skips, "{length}: {said:?}");
        }
    }
}

#[test]
fn what_was_seen_of_a_skipped_body_counts_though_its_end_is_not_known() {
    let manner = Manner { skips: true, ..Manner::default() };
    let body = "x".repeat(50);
    let said = lines(manner, &[c(GET), sized(100, "ab"), s(&body), inexact(10), s(&body), s(OK), fin(1)]);
    // 88 bytes behind the gap at most: what is next may be part of the body.
    assert_eq!(
        said[3..],
        [
            "1 end#1 90/90 +gap +truncated",
            "1 error lost_framing",
            "1 res#0 200 \"OK\" 1.1 length=0 +unpaired +resync",
            "1 end#0 0/0"
        ]
    );
    // Nothing of it was lost: then its length is known.
    let half = s("x".repeat(49));
    let said = lines(manner, &[c(GET), sized(100, "ab"), half.clone(), inexact(0), half, s(OK), fin(1)]);
    assert_eq!(said[3], "1 end#1 100/100");
    let said = lines(manner, &[c(GET), sized(100, "ab"), s("x".repeat(98)), inexact(10), s(OK), fin(1)]);
    assert_eq!(said[3], "1 end#1 100/100");
}

#[test]
fn a_chunk_does_not_either() {
    for body in ["a\r\nab", "1000\r\nab"] {
        let said = &lines(Manner::default(), &[c(GET), chunked(body), inexact(8), s(OK)])[3..];
        assert!(said[0].ends_with("+gap +truncated"), "{said:?}");
        assert_eq!(said[1], "1 error lost_framing");
    }
    // Behind its data any gap hides the framing.
    let said = answered(&[chunked("2\r\nab"), inexact(8), s(OK)]);
    assert_eq!(said[..2], ["1 end#1 5/2 +gap +truncated", "1 error lost_framing"]);
}

#[test]
fn a_body_until_the_close_goes_on() {
    let said = answered(&[s("HTTP/1.0 200 OK\r\n\r\nab"), inexact(5), s("c"), fin(1)]);
    assert_eq!(said, ["1 end#1 8/8 lost 5 +gap"]);
}

#[test]
fn between_messages_it_is_a_gap_like_any_other() {
    for one in [Happens::Gap(1, 30), inexact(30), shed(30)] {
        let said = answered(&[sized(2, "ab"), one, s(OK)]);
        assert_eq!(said[..2], ["1 end#1 2/2", "1 error lost_head"]);
    }
}

#[test]
fn what_was_shed_of_a_body_of_known_length_counts_as_seen() {
    assert_eq!(answered(&[sized(10, "ab"), shed(5), s("hij")]), ["1 end#1 10/10"]);
    assert_eq!(answered(&[sized(10, "ab"), shed(8)])[..0], [""; 0]);
    assert_eq!(answered(&[sized(10, "ab"), shed(8), fin(1)]), ["1 end#1 10/10"]);
    assert_eq!(answered(&[chunked("a\r\nab"), shed(8), s("\r\n0\r\n\r\n")]), ["1 end#1 20/10"]);
    // Some was shed and some was lost.
    let said = answered(&[sized(20, "ab"), shed(5), s("c"), gap(1, 4), s("d"), shed(7), s(OK)]);
    assert_eq!(said[0], "1 end#1 20/20 lost 4 +gap");
}

#[test]
fn what_was_shed_elsewhere_is_lost() {
    // But of a range that is skipped to the end of the stream, nobody says what was shed.
    let happens = [c(GET), s("HTTP/1.0 200 OK\r\n\r\nab"), shed(5), s("c"), fin(1)];
    assert_eq!(lines(Manner::default(), &happens)[3..], ["1 end#1 8/8 lost 5 +gap"]);
    assert_eq!(lines(Manner { skips: true, ..Manner::default() }, &happens)[3..], ["1 end#1 8/8"]);
    let said = answered(&[sized(10, "ab"), shed(9), s(OK)]);
    assert_eq!(said[..2], ["1 end#1 10/10", "1 error lost_head"]);
    let said = answered(&[chunked("a\r\nab"), shed(9), s("\n0\r\n\r\n")]);
    assert_eq!(said[..2], ["1 end#1 13/10 +gap +truncated", "1 error lost_framing"]);
    // In a head.
    let said = parsed(&[c(GET), s("HTTP/1.1 200 O"), shed(3), s("\r\n\r\n"), s(OK)]);
    assert_eq!(said[2..4], ["1 res#1 200 \"O\" 1.1 none +head_cut", "1 end#1 0/0"]);
}

#[test]
fn a_skipped_range_says_of_itself_what_was_shed() {
    let manner = Manner { skips: true, ..Manner::default() };
    let body = "x".repeat(40);
    let all = [sized(100, "ab"), s(&body), shed(18), s(&body), s(OK), fin(1)];
    assert_eq!(answered(&all)[..1], ["1 end#1 100/100"]);
    let lost = [c(GET), sized(100, "ab"), s(&body), shed(9), s("y"), gap(1, 8), s(&body), s(OK), fin(1)];
    assert_eq!(lines(manner, &lost)[3], "1 end#1 100/100 lost 8 +gap");
}

#[test]
fn what_was_shed_of_an_answer_that_may_have_no_body_may_have_been_answers() {
    // The request was lost, so the answer to it may be one to HEAD.
    let before = [Happens::Acks(1, None), c(GET), s(OK), gap(0, 30), c(GET), sized(1000, "")];
    for one in [Happens::Gap(1, 500), shed(500)] {
        let happens: Vec<Happens> = before.iter().cloned().chain([one, s("x".repeat(500)), c(GET), s(OK)]).collect();
        let said = parsed(&happens);
        assert_eq!(said.last().unwrap(), "1 end#0 0/0", "{said:#?}");
        assert!(said[said.len() - 2].contains("res#0"), "{said:#?}");
    }
}
