//! The contract with the guest, walked through with the built-in parser: whatever the cut, the batch and the loss.

#![expect(clippy::indexing_slicing, reason = "a test: what cannot be had ends it")]

mod talk;

use picotap::sandbox::call::Bounds;
use picotap::stream::EndReason;
use picotap::stream::Side::{First, Second};
use proptest::prelude::*;
use talk::{Said, Talk, get, ok};

/// A talk between a client (side 0) and a server, and the records about it.
fn records(talk: &Talk) -> Vec<String> {
    talk.run(Bounds::default()).lines
}

#[test]
fn request_and_response_in_one_batch() {
    let talk = Talk::default().bytes(First, get("/a")).bytes(Second, ok("hello")).close();
    assert_eq!(records(&talk), ["1 GET /a", "1 end 0/0", "1 answered 200", "1 end 5/5"],);
}

#[test]
fn a_head_split_over_two_batches() {
    let request = get("/split");
    for cut in 1..request.len() {
        let (head, tail) = request.split_at(cut);
        let talk = Talk::default().bytes(First, head).batch().bytes(First, tail).bytes(Second, ok("x")).close();
        let said = talk.run(Bounds::default());
        assert_eq!(said.lines, ["1 GET /split", "1 end 0/0", "1 answered 200", "1 end 1/1"], "cut at {cut}");
    }
}

#[test]
fn a_head_split_within_a_batch_is_parsed_before_its_response() {
    let request = get("/split");
    for cut in 1..request.len() {
        let (head, tail) = request.split_at(cut);
        let talk = Talk::default().bytes(First, head).bytes(First, tail).bytes(Second, ok("x")).close();
        assert_eq!(records(&talk), ["1 GET /split", "1 end 0/0", "1 answered 200", "1 end 1/1"], "cut at {cut}");
    }
}

#[test]
fn an_early_response_comes_before_its_requests_body() {
    let talk = Talk::default()
        .bytes(First, "POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nab")
        .bytes(Second, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        .bytes(First, "cdefgh")
        .close();
    assert_eq!(records(&talk), ["1 POST /big", "1 answered 413 early", "1 end 0/0", "1 end 8/8"]);
}

#[test]
fn a_body_of_a_gigabyte_is_skipped_but_for_its_ends() {
    const LENGTH: u64 = 1 << 30;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    let mut talk = Talk::default().bytes(First, get("/big")).bytes(Second, &head).batch();
    let piece = vec![b'x'; 65536];
    let mut left = LENGTH;
    while left > 0 {
        talk = talk.bytes(Second, &piece);
        left -= piece.len() as u64;
    }
    let talk = talk.bytes(First, get("/next")).bytes(Second, ok("x")).close();
    let said = talk.run(Bounds::default());
    let end = format!("1 end {LENGTH}/{LENGTH}");
    assert_eq!(
        said.lines,
        ["1 GET /big", "1 end 0/0", "1 answered 200", &end, "2 GET /next", "2 end 0/0", "2 answered 200", "2 end 1/1"]
    );
    assert!(said.counters.parsed < 1 << 20, "{:?}", said.counters);
    assert_eq!(said.counters.skipped + said.counters.parsed, said.counters.bytes_in);
}

#[test]
fn fifty_pipelined_requests_with_heads_among_them() {
    let mut requests = String::new();
    let mut responses = String::new();
    let mut expected = Vec::new();
    for n in 1..=50 {
        let method = if n % 3 == 0 { "HEAD" } else { "GET" };
        requests += &format!("{method} /{n} HTTP/1.1\r\nHost: h\r\n\r\n");
        expected.push(format!("{n} {method} /{n}"));
        expected.push(format!("{n} end 0/0"));
    }
    for n in 1..=50 {
        responses += "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        let body = n % 3 != 0;
        responses += if body { "abc" } else { "" };
        expected.push(format!("{n} answered 200"));
        expected.push(if body { format!("{n} end 3/3") } else { format!("{n} end 0/0") });
    }
    for piece in [usize::MAX, 1000, 7] {
        let mut talk = Talk::default();
        for part in requests.as_bytes().chunks(piece) {
            talk = talk.bytes(First, part);
        }
        for part in responses.as_bytes().chunks(piece) {
            talk = talk.bytes(Second, part);
        }
        assert_eq!(records(&talk.close()), expected, "pieces of {piece}");
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_gap_inside_a_chunk_costs_its_bytes_only() {
    let talk = Talk::default()
        .bytes(First, get("/a"))
        .bytes(Second, format!("{CHUNKED}a\r\n01"))
        .gap(Second, 5)
        .bytes(Second, "789\r\n0\r\n\r\n")
        .bytes(First, get("/b"))
        .bytes(Second, ok("x"))
        .close();
    assert_eq!(
        records(&talk),
        [
            "1 GET /a",
            "1 end 0/0",
            "1 answered 200",
            "1 end 20/10 lost 5",
            "2 GET /b",
            "2 end 0/0",
            "2 answered 200",
            "2 end 1/1"
        ],
    );
}

#[test]
fn a_gap_past_its_chunk_ends_the_message_and_the_next_response_is_found() {
    let talk = Talk::default()
        .bytes(First, get("/a"))
        .bytes(Second, format!("{CHUNKED}a\r\n01"))
        .gap(Second, 30)
        .bytes_acking(First, get("/b"), 200)
        .bytes_acking(Second, ok("x"), 2 * get("/a").len() as u64)
        .close();
    let lines = records(&talk);
    assert_eq!(lines[..3], ["1 GET /a", "1 end 0/0", "1 answered 200"]);
    assert!(lines.iter().any(|line| line.starts_with("1 end") && line.contains("truncated")), "{lines:?}");
    assert!(lines.contains(&"2 GET /b".to_owned()), "{lines:?}");
    assert!(lines.contains(&"0 answered 200 unpaired resync".to_owned()), "{lines:?}");
}

#[test]
fn in_mid_stream_the_content_decides_who_is_the_client() {
    // Side 0 was seen first, and is the server.
    let talk = Talk::midstream()
        .bytes(First, "tail of something\r\n")
        .bytes(First, ok("x"))
        .bytes(Second, get("/who"))
        .bytes(First, ok("yy"))
        .close();
    let said = talk.run(Bounds::default());
    assert!(said.sides.contains(&(Second as u8, "GET /who".to_owned())), "{said:?}");
    assert!(said.lines.iter().any(|line| line.contains("answered 200") && line.contains("resync")), "{said:?}");
}

#[test]
fn output_that_runs_out_inside_an_event_changes_nothing() {
    let mut requests = String::new();
    for n in 1..=200 {
        requests += &format!("GET /{n} HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
    }
    let talk = Talk::default().bytes(First, &requests).close();
    let whole = talk.run(Bounds::default());
    assert_eq!(whole.lines.len(), 400);
    let narrow = talk.run(Bounds { events: 3, records: 8, pairs: picotap::abi::MAX_PAIRS });
    assert_eq!(narrow.lines, whole.lines);
    assert!(narrow.counters.calls > 40, "{:?}", narrow.counters);
}

#[test]
fn a_body_cut_by_the_end_of_the_capture_is_truncated() {
    let talk = Talk::default()
        .bytes(First, get("/a"))
        .bytes(Second, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        .end(First, EndReason::Capture)
        .end(Second, EndReason::Capture);
    assert_eq!(records(&talk), ["1 GET /a", "1 end 0/0", "1 answered 200", "1 end 3/3 truncated"]);
}

#[test]
fn until_close_a_body_is_whole_with_a_fin_and_truncated_with_a_reset() {
    for (reason, end) in [(EndReason::Fin, "1 end 7/7"), (EndReason::Reset, "1 end 7/7 truncated")] {
        let talk = Talk::default()
            .bytes(First, get("/a"))
            .bytes(Second, "HTTP/1.0 200 OK\r\n\r\nforever")
            .end(Second, reason)
            .end(First, reason);
        assert_eq!(records(&talk), ["1 GET /a", "1 end 0/0", "1 answered 200", end]);
    }
}

#[test]
fn batches_and_cuts_change_nothing() {
    let mut talk = Talk::default();
    for n in 0..20 {
        talk = talk.bytes(First, get(&format!("/{n}"))).bytes(Second, ok(&"z".repeat(n * 37)));
        talk = talk.bytes(
            First,
            format!(
                "POST /p{n} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n"
            ),
        );
        talk = talk.bytes(Second, format!("HTTP/1.1 100 Continue\r\n\r\n{CHUNKED}5;x=y\r\nhello\r\n0\r\n\r\n"));
    }
    let talk = talk.close();
    let Said { lines: whole, .. } = talk.run(Bounds::default());
    for cut in [1, 2, 3, 5, 8, 13, 100] {
        for batch in [1, 2, 7, 1000] {
            let other = talk.cut(cut, batch).run(Bounds { events: 5, ..Bounds::default() });
            assert_eq!(other.lines, whole, "cut {cut}, batch {batch}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is lost may leave much to guess, but not by how events fell into batches.
    #[test]
    fn with_loss_batches_change_nothing(
        exchanges in prop::collection::vec((0..4_usize, 0..900_usize), 1..8),
        cut in 15..500_usize,
        lost in prop::collection::vec(prop::bool::weighted(0.15), 1..40),
        reason in prop::sample::select(vec![EndReason::Fin, EndReason::Reset, EndReason::Capture]),
    ) {
        let mut talk = Talk::default();
        for (n, (kind, size)) in exchanges.into_iter().enumerate() {
            let body = "z".repeat(size);
            talk = match kind {
                0 => talk.bytes(First, get(&format!("/{n}"))).bytes(Second, ok(&body)),
                1 => {
                    let head = format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n");
                    talk.bytes(First, head + &body).bytes(Second, ok(""))
                }
                2 => {
                    let chunks = format!("{size:x}\r\n{body}\r\n").repeat(2);
                    talk.bytes(First, get(&format!("/{n}"))).bytes(Second, format!("{CHUNKED}{chunks}0\r\n\r\n"))
                }
                _ => {
                    let both = get(&format!("/{n}")) + &get(&format!("/{n}b"));
                    talk.bytes(First, both).bytes(Second, ok(&body) + &ok("y"))
                }
            };
        }
        let talk = talk.end(Second, reason).end(First, reason).cut(cut, usize::MAX).lose(&lost);
        let whole = talk.run(Bounds::default());
        for batch in [1, 2, 7] {
            let other = talk.cut(usize::MAX, batch).run(Bounds { events: 5, ..Bounds::default() });
            prop_assert_eq!(&other.records, &whole.records, "batch {}", batch);
        }
    }
}

#[test]
fn what_has_no_length_is_at_one_moment() {
    // An error at the first byte of a segment, which is the first of its batch or not.
    let junk = format!("{CHUNKED}{}0\r\n\r\n", "0\r\n\r\n".repeat(2));
    let talk = Talk::default().bytes(First, get("/0")).bytes(Second, junk);
    let talk = talk.end(Second, EndReason::Fin).end(First, EndReason::Fin).cut(26, usize::MAX);
    let whole = talk.run(Bounds::default());
    for batch in [1, 2, 7] {
        let other = talk.cut(usize::MAX, batch).run(Bounds { events: 5, ..Bounds::default() });
        assert_eq!(other.records, whole.records, "batch {batch}");
    }
}
