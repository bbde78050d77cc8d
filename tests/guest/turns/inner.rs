//! Streams inside tunnels, by the parser: what is said of HTTP does not depend on whether it is inside of one.

use picotap::pipeline::replay::replay;
use picotap::sandbox::BUILTIN_GUEST;
use picotap::sandbox::call::Bounds;
use picotap::stream::EndReason;
use picotap::stream::Side::{First, Second};
use proptest::prelude::*;

use super::feed::{Feed, Step, bytes, cut, inside, module};

const PLANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/planted.wasm"));

const CONNECT: &str = "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n";
const OPENED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn feed() -> Feed {
    Feed::new(&[module(BUILTIN_GUEST)])
}

fn played(steps: &[Step]) -> Feed {
    let mut feed = feed();
    feed.play(steps);
    assert_eq!(feed.notes.faults, [""; 0]);
    feed
}

fn ends(reason: EndReason) -> [Step; 2] {
    [Step::End(1, First, reason), Step::End(1, Second, reason)]
}

/// What is said inside, without positions.
fn short(feed: &Feed, number: u64) -> Vec<String> {
    feed.said(number).iter().map(|line| line.split(" [").next().unwrap().to_owned()).collect()
}

const ONE_EXCHANGE: [&str; 4] = ["0 #1 GET /a", "0 #1 end 0/0 lost 0", "1 #1 answered 200", "1 #1 end 5/5 lost 0"];

#[test]
fn what_an_eager_client_sends_before_the_answer_is_inside() {
    let fin = ends(EndReason::Fin);
    for (what, steps) in [
        ("one segment", vec![bytes(First, format!("{CONNECT}{GET}")), bytes(Second, OPENED), bytes(Second, OK)]),
        ("one slot", vec![bytes(First, CONNECT), bytes(First, GET), bytes(Second, OPENED), bytes(Second, OK)]),
        (
            "an earlier slot",
            vec![
                bytes(First, CONNECT),
                bytes(First, GET),
                Step::Slot,
                bytes(Second, OPENED),
                Step::Slot,
                bytes(Second, OK),
            ],
        ),
        (
            "half of it",
            vec![
                bytes(First, CONNECT),
                bytes(First, &GET[..9]),
                bytes(Second, OPENED),
                bytes(First, &GET[9..]),
                bytes(Second, OK),
            ],
        ),
        ("both in one segment", vec![bytes(First, format!("{CONNECT}{GET}")), bytes(Second, format!("{OPENED}{OK}"))]),
        ("none of it", vec![bytes(First, CONNECT), bytes(Second, OPENED), bytes(First, GET), bytes(Second, OK)]),
    ] {
        for size in [1, 7, 1000] {
            for per_slot in [1, 2, 1000] {
                let feed = played(&cut(&[&steps[..], &fin].concat(), &[size], per_slot));
                assert_eq!(short(&feed, inside(1, 1)), ONE_EXCHANGE, "{what}, cut {size}, {per_slot} a slot");
                assert_eq!(short(&feed, 1)[2..], ["1 #1 answered 200", "1 #1 tunnel Connect", "1 #1 end 0/0 lost 0"]);
                assert_eq!(feed.notes.closed, [(inside(1, 1), EndReason::Fin), (1, EndReason::Fin)], "{what}");
                assert_eq!(feed.nothing_left().inner_begun, 1);
            }
        }
    }
}

#[test]
fn acknowledgements_inside_count_from_where_the_tunnel_begins() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let steps = [
        bytes(First, CONNECT),
        bytes(Second, interim),
        // It has seen the interim answer, and nothing of what is inside; then the first byte of that.
        bytes(First, &GET[..9]),
        Step::Slot,
        bytes(Second, format!("{OPENED}H")),
        bytes(First, &GET[9..]),
        bytes(Second, &OK[1..]),
        bytes(First, GET),
    ];
    let feed = played(&steps);
    let heads: Vec<&str> = feed.said(inside(1, 1)).into_iter().filter(|line| line.contains("acked")).collect();
    let (get, ok) = (GET.len(), OK.len());
    assert_eq!(
        heads,
        [
            format!("0 #1 GET /a [0..{get}] 0x0 acked Some(0)"),
            format!("1 #1 answered 200 [0..{}] 0x0 acked Some(9)", ok - 5),
            format!("0 #2 GET /a [{get}..{}] 0x0 acked Some({ok})", 2 * get),
        ]
    );
}

#[test]
fn a_client_with_a_gap_before_the_answer_is_not_followed() {
    let steps =
        [bytes(First, CONNECT), Step::Gap(1, First, 5), bytes(First, GET), bytes(Second, OPENED), bytes(Second, OK)];
    let feed = played(&[&steps[..], &ends(EndReason::Fin)].concat());
    assert_eq!(feed.nothing_left().inner_begun, 0);
    assert_eq!(feed.notes.closed, [(1, EndReason::Fin)]);
    assert_eq!(short(&feed, 1)[2..], ["1 #1 answered 200", "1 #1 tunnel Connect", "1 #1 end 0/0 lost 0"]);
}

#[test]
fn a_refused_connect_is_no_tunnel_and_what_waited_is_http() {
    let refused = "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    let steps = [bytes(First, CONNECT), bytes(First, GET), bytes(Second, refused), bytes(Second, OK)];
    let feed = played(&[&steps[..], &ends(EndReason::Fin)].concat());
    assert_eq!(feed.nothing_left().inner_begun, 0);
    assert!(short(&feed, 1).contains(&"0 #2 GET /a".to_owned()), "{:?}", short(&feed, 1));
}

#[test]
fn a_side_may_end_before_at_and_after_the_opening() {
    let end = |side| Step::End(1, side, EndReason::Fin);
    let (connect, opened) = (bytes(First, CONNECT), bytes(Second, OPENED));
    for (what, steps, inner) in [
        ("client before", vec![connect.clone(), end(First), opened.clone(), bytes(Second, OK), end(Second)], 0),
        (
            "client before, with bytes",
            vec![connect.clone(), bytes(First, GET), end(First), opened.clone(), end(Second)],
            0,
        ),
        ("server at once", vec![connect.clone(), opened.clone(), end(Second), bytes(First, GET), end(First)], 1),
        ("client at once", vec![connect.clone(), opened.clone(), end(First), bytes(Second, OK), end(Second)], 1),
        (
            "with bytes that wait",
            vec![connect.clone(), bytes(First, &GET[..9]), opened.clone(), end(First), end(Second)],
            1,
        ),
        ("server before its answer", vec![connect, end(Second), bytes(First, GET), end(First)], 0),
    ] {
        for per_slot in [1, 2, 1000] {
            let feed = played(&cut(&steps, &[1000], per_slot));
            let counters = feed.nothing_left();
            assert_eq!(counters.inner_begun, inner, "{what}, {per_slot} a slot");
            assert_eq!(feed.notes.closed.len() as u64, 1 + inner, "{what}");
            assert_eq!(feed.notes.closed.last(), Some(&(1, EndReason::Fin)), "{what}");
        }
    }
}

#[test]
fn a_tunnel_in_a_tunnel_is_followed_and_one_inside_of_that_is_not() {
    let tunnel = [bytes(First, CONNECT), bytes(Second, OPENED)];
    let steps =
        [&tunnel[..], &tunnel, &tunnel, &[bytes(First, GET), bytes(Second, OK)], &ends(EndReason::Reset)].concat();
    for size in [1, 10, 1000] {
        for per_slot in [1, 3, 1000] {
            let feed = played(&cut(&steps, &[size], per_slot));
            for depth in 0..=2 {
                let lines = short(&feed, inside(1, depth));
                assert!(lines.contains(&"1 #1 tunnel Connect".to_owned()), "{depth}: {lines:?}");
                assert_eq!(lines.len(), 5, "{depth}: {lines:?}");
            }
            assert_eq!(feed.nothing_left().inner_begun, 2);
            let numbers: Vec<u64> = feed.notes.closed.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [inside(1, 2), inside(1, 1), 1]);
        }
    }
}

#[test]
fn a_fault_inside_a_tunnel_is_condemned_and_the_connections_around_it_close() {
    let poison = "GET /a HTTP/1.1\r\nHost: h\r\nX-Poison: trap\r\n\r\n";
    for slots in [false, true] {
        let mut feed = Feed::new(&[module(PLANTED)]);
        for number in 1..=5 {
            let bad = number == 3;
            feed.bytes(number, First, CONNECT);
            feed.bytes(number, Second, OPENED);
            if slots {
                feed.slot();
            }
            feed.bytes(number, First, GET);
            feed.bytes(number, Second, OK);
            feed.bytes(number, First, if bad { poison } else { GET });
            feed.bytes(number, Second, OK);
            if slots {
                feed.slot();
            }
            feed.bytes(number, First, GET);
            feed.close(number);
        }
        feed.slot();
        assert_eq!(feed.notes.quarantined.len(), 1);
        let event = &feed.notes.quarantined[0];
        assert_eq!((event.connection, event.row.depth, event.event.offset), (inside(3, 1), 1, GET.len() as u64));
        assert_eq!(event.bytes, poison.as_bytes());
        assert_eq!(replay(&module(PLANTED), event).unwrap_err().name(), "trap_unreachable");
        // What is inside is over with the fault; what is around it, with the connection.
        let of_three: Vec<EndReason> =
            feed.notes.closed.iter().filter(|(number, _)| number & 7 == 3).map(|(_, how)| *how).collect();
        assert_eq!(of_three, [EndReason::Fault, EndReason::Fin]);
        assert_eq!(feed.notes.closed.len(), 10);
        assert_eq!(short(&feed, inside(3, 1)), ONE_EXCHANGE);
        assert!(short(&feed, inside(4, 1)).len() > 8);
        let counters = feed.nothing_left();
        assert_eq!((counters.condemned, counters.quarantined), (1, poison.len() as u64));
    }
}

#[test]
fn a_download_inside_a_tunnel_is_left_out_by_the_offsets_of_its_connection() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n";
    for (depth, prefix) in [(1, 1), (2, 2)] {
        let mut feed = feed();
        for _ in 0..prefix {
            feed.bytes(1, First, CONNECT);
            feed.bytes(1, Second, OPENED);
        }
        feed.bytes(1, First, GET);
        feed.bytes(1, Second, format!("{head}begin"));
        feed.slot();
        let upto = (prefix * OPENED.len() + head.len()) as u64 + 10_000_000;
        assert_eq!(feed.notes.hints, [(1, Second, upto)]);
        feed.skipped(1, Second, 10_000_000 - 5, 0);
        feed.bytes(1, First, GET);
        feed.bytes(1, Second, OK);
        feed.close(1);
        feed.slot();
        let lines = short(&feed, inside(1, depth));
        assert_eq!(lines[3], "1 #1 end 10000000/10000000 lost 0");
        assert_eq!(lines[6], "1 #2 answered 200");
        feed.nothing_left();
    }
    // Until the close: to the end of the connection.
    let feed = played(&[
        bytes(First, CONNECT),
        bytes(Second, OPENED),
        bytes(First, GET),
        bytes(Second, "HTTP/1.0 200 OK\r\n\r\nx"),
    ]);
    assert_eq!(feed.notes.hints, [(1, Second, u64::MAX)]);
}

#[test]
fn a_slot_that_is_dropped_is_a_gap_inside() {
    let mut feed = feed();
    feed.bytes(1, First, CONNECT);
    feed.bytes(1, Second, OPENED);
    feed.bytes(1, First, GET);
    feed.bytes(1, Second, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
    feed.slot();
    feed.gap(1, Second, 50);
    feed.bytes(1, Second, [b'x'; 40]);
    feed.bytes(1, First, GET);
    feed.bytes(1, Second, OK);
    feed.close(1);
    feed.slot();
    let lines = short(&feed, inside(1, 1));
    assert_eq!(lines[3], "1 #1 end 100/100 lost 50");
    assert_eq!(lines[6..], ["1 #2 answered 200", "1 #2 end 5/5 lost 0"]);
    feed.nothing_left();
}

#[test]
fn socks_and_proxy_headers_open_streams_with_the_bytes_behind_them() {
    let proxy = "PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n";
    let mut proxy2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x0f\xa0\0\x50".to_vec();
    proxy2.extend_from_slice(GET.as_bytes());
    let cases: [Vec<Step>; 4] = [
        vec![bytes(First, format!("{proxy}{GET}")), bytes(Second, OK)],
        vec![bytes(First, proxy2), bytes(Second, OK)],
        vec![
            bytes(First, b"\x05\x01\0"),
            bytes(Second, b"\x05\0"),
            bytes(First, [&b"\x05\x01\0\x03\x01h\0\x50"[..], GET.as_bytes()].concat()),
            bytes(Second, [&b"\x05\0\0\x01\0\0\0\0\0\0"[..], OK.as_bytes()].concat()),
        ],
        vec![
            bytes(First, [&b"\x04\x01\0\x50\x0a\0\0\x01me\0"[..], GET.as_bytes()].concat()),
            bytes(Second, [&b"\0\x5a\0\0\0\0\0\0"[..], OK.as_bytes()].concat()),
        ],
    ];
    for steps in cases {
        for size in [1, 3, 1000] {
            for per_slot in [1, 3, 1000] {
                let feed = played(&cut(&[&steps[..], &ends(EndReason::Fin)].concat(), &[size], per_slot));
                assert_eq!(short(&feed, inside(1, 1)), ONE_EXCHANGE, "{steps:?}, cut {size}, {per_slot} a slot");
                assert_eq!(feed.nothing_left().inner_begun, 1);
            }
        }
    }
}

#[test]
fn an_answer_of_socks_that_was_captured_first_waits_for_its_question() {
    let steps = [
        bytes(Second, b"\x05\0"),
        bytes(First, b"\x05\x01\0"),
        bytes(Second, b"\x05\0\0\x01\0\0\0\0\0\0"),
        bytes(First, b"\x05\x01\0\x03\x01h\0\x50"),
        bytes(Second, OK),
        bytes(First, GET),
    ];
    for per_slot in [1, 2, 1000] {
        let feed = played(&cut(&[&steps[..], &ends(EndReason::Fin)].concat(), &[1000], per_slot));
        assert_eq!(feed.nothing_left().inner_begun, 1, "{:?}", feed.notes.lines);
        let lines = short(&feed, inside(1, 1));
        assert!(lines.contains(&"0 #1 GET /a".to_owned()), "{lines:?}");
    }
}

/// An exchange: what the client sends, and what the server does.
fn exchange() -> impl Strategy<Value = (String, String)> {
    (0..6_usize, 0..700_usize).prop_map(|(kind, size)| {
        let body = "z".repeat(size);
        let ok = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{body}");
        let post = format!("POST /{size} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n{body}");
        match kind {
            0 | 1 => (GET.to_owned(), ok),
            2 => (post, ok),
            3 => {
                let chunks = format!("{size:x}\r\n{body}\r\n").repeat(usize::from(size > 0));
                (
                    GET.to_owned(),
                    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\nT: v\r\n\r\n"),
                )
            }
            4 => (format!("{GET}{GET}"), format!("{ok}{OK}")),
            _ => (post, format!("HTTP/1.1 100 Continue\r\n\r\n{ok}")),
        }
    })
}

fn conversation(exchanges: &[(String, String)]) -> Vec<Step> {
    exchanges.iter().flat_map(|(asked, answered)| [bytes(First, asked), bytes(Second, answered)]).collect()
}

/// Lines of HTTP on its own, and inside of a tunnel opened by these steps.
fn compare(prefix: &[Step], steps: &[Step], per_slot: usize, bounds: Bounds) -> (Vec<String>, Vec<String>) {
    let owned = |feed: &Feed, number| feed.said(number).iter().map(|line| (*line).to_owned()).collect();
    let alone = played(steps);
    alone.nothing_left();
    let mut within = Feed::bounded(&[module(BUILTIN_GUEST)], bounds);
    within.play(&cut(&[prefix, steps].concat(), &[usize::MAX], per_slot));
    within.nothing_left();
    assert_eq!(within.notes.closed.len() as u64, 1 + within.counters().inner_begun);
    let depth = within.counters().inner_begun;
    (owned(&alone, 1), owned(&within, inside(1, depth)))
}

fn tunnel() -> impl Strategy<Value = Vec<Step>> {
    let connect = vec![bytes(First, CONNECT), bytes(Second, OPENED)];
    let socks = vec![
        bytes(First, b"\x05\x01\0"),
        bytes(Second, b"\x05\0"),
        bytes(First, b"\x05\x01\0\x03\x01h\0\x50"),
        bytes(Second, b"\x05\0\0\x01\0\0\0\0\0\0"),
    ];
    let proxy = vec![bytes(First, "PROXY UNKNOWN\r\n")];
    let one = prop::sample::select(vec![connect, socks, proxy]);
    prop::collection::vec(one, 1..=2).prop_map(|tunnels| tunnels.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn http_inside_a_tunnel_is_http(
        prefix in tunnel(),
        exchanges in prop::collection::vec(exchange(), 1..6),
        cuts in prop::collection::vec(1..200_usize, 1..10),
        per_slot in prop::sample::select(vec![1_usize, 2, 7, 1000]),
        bounds in prop::sample::select(vec![(2048, 4096), (5, 4096), (2, 8)]),
        reason in prop::sample::select(vec![EndReason::Fin, EndReason::Reset, EndReason::Capture]),
    ) {
        let steps = [conversation(&exchanges), ends(reason).to_vec()].concat();
        let pieces: Vec<Step> = cut(&[&prefix[..], &steps].concat(), &cuts, usize::MAX);
        let (events, records) = bounds;
        let (alone, _) = compare(&[], &steps, per_slot, Bounds::default());
        let (_, within) = compare(&pieces[..0], &pieces, per_slot, Bounds { events, records, ..Bounds::default() });
        prop_assert_eq!(alone, within);
    }

    #[test]
    fn with_loss_too(
        prefix in tunnel(),
        exchanges in prop::collection::vec(exchange(), 1..7),
        cuts in prop::collection::vec(15..300_usize, 1..10),
        lost in prop::collection::vec(prop::bool::weighted(0.15), 1..40),
        per_slot in prop::sample::select(vec![1_usize, 2, 7, 1000]),
        reason in prop::sample::select(vec![EndReason::Fin, EndReason::Reset, EndReason::Capture]),
    ) {
        let steps = cut(&conversation(&exchanges), &cuts, usize::MAX);
        let mut lost = lost.iter().cycle();
        let lose = |step: &Step| match step {
            Step::Bytes(number, side, bytes) if lost.next() == Some(&true) => Step::Gap(*number, *side, bytes.len() as u64),
            step => step.clone(),
        };
        let steps: Vec<Step> = steps.iter().filter(|step| **step != Step::Slot).map(lose).chain(ends(reason)).collect();
        let (alone, within) = compare(&prefix, &steps, per_slot, Bounds::default());
        prop_assert_eq!(alone, within);
    }
}
