//! Which request a response answers.

use crate::host::{Happens, Manner, c, gap, lines, parsed, s};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

#[test]
fn fifty_pipelined_requests_with_heads_among_them() {
    let mut happens = Vec::new();
    let mut responses = String::new();
    let mut requests = String::new();
    for n in 0..50 {
        requests += if n % 3 == 0 { HEAD } else { GET };
        responses += OK;
        responses += if n % 3 == 0 { "" } else { "hi" };
    }
    happens.push(c(requests));
    happens.push(s(responses));
    let said = parsed(&happens);
    for n in 1..=50 {
        let framing = if (n - 1) % 3 == 0 { "none" } else { "length=2" };
        assert_eq!(said[100 + 2 * (n - 1)], format!("1 res#{n} 200 \"OK\" 1.1 {framing}"));
    }
}

#[test]
fn any_number_of_plain_requests_may_be_outstanding() {
    let happens = [c(GET.repeat(1000)), s((OK.to_owned() + "hi").repeat(1001))];
    let said = lines(Manner { max_records: 5000, max_pairs: 5000, ..Manner::default() }, &happens);
    assert_eq!(said[2000 + 1998], "1 res#1000 200 \"OK\" 1.1 length=2");
    assert_eq!(said[2000 + 2000], "1 res#0 200 \"OK\" 1.1 length=2 +unsolicited");
}

#[test]
fn heads_up_to_the_window_are_known_and_beyond_it_pairing_is_given_up() {
    for (outstanding, sure) in [(104, true), (105, false)] {
        let happens = [c(HEAD.repeat(outstanding)), s(OK)];
        let said = lines(Manner { max_records: 500, ..Manner::default() }, &happens);
        let first = &said[2 * outstanding];
        assert_eq!(first == "1 res#1 200 \"OK\" 1.1 none", sure, "{first}");
        assert_eq!(first.contains("unpaired"), !sure);
    }
}

#[test]
fn a_response_without_a_request_is_unsolicited() {
    let said = parsed(&[c(GET), s(OK.to_owned() + "hi"), s("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")]);
    assert_eq!(said[4..], ["1 res#0 408 \"Timeout\" 1.1 length=0 +unsolicited", "1 end#0 0/0"]);
    assert_eq!(parsed(&[s("HTTP/1.1 408 Timeout\r\n\r\n")]), ["1 res#0 408 \"Timeout\" 1.1 close +unsolicited"]);
}

#[test]
fn a_response_before_the_end_of_its_request_is_early() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab";
    let said = parsed(&[
        c(post),
        s("HTTP/1.1 100 Continue\r\n\r\n"),
        s("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"),
        c("cd"),
    ]);
    assert_eq!(
        said,
        [
            "0 req#1 POST / 1.1 length=4",
            "1 res#1 100 \"Continue\" 1.1 none +interim",
            "1 end#1 0/0",
            "1 res#1 413 \"No\" 1.1 length=0 +early",
            "1 end#1 0/0",
            "0 end#1 4/4",
        ]
    );
}

/// After a loss that hid heads of the client.
fn unsure() -> Vec<Happens> {
    vec![Happens::Acks(1, None), c(GET), gap(0, 30), c(HEAD)]
}

#[test]
fn loss_on_the_request_side_leaves_responses_unpaired_until_they_acknowledge_what_came_after() {
    let mut happens = unsure();
    happens.extend([
        Happens::Acks(1, Some(26)),
        s(OK.to_owned() + "hi"),
        Happens::Acks(1, None),
        s(OK),
        c(HEAD),
        s(OK),
    ]);
    assert_eq!(
        parsed(&happens)[5..],
        [
            // acknowledges the first request only: whatever it answers, it is taken for a plain request
            "1 res#0 200 \"OK\" 1.1 length=2 +unpaired",
            "1 end#0 2/2",
            // acknowledges the HEAD
            "1 res#0 200 \"OK\" 1.1 none +unpaired",
            "1 end#0 0/0",
            "0 req#3 HEAD / 1.1 none",
            "0 end#3 0/0",
            "1 res#3 200 \"OK\" 1.1 none",
            "1 end#3 0/0",
        ]
    );
}

#[test]
fn without_acknowledgements_an_unsure_connection_stays_so() {
    let happens = [c(GET), gap(0, 30), c(GET), s(OK.to_owned() + "hi"), c(GET), s(OK)];
    assert_eq!(parsed(&happens).last().unwrap(), "1 res#0 200 \"OK\" 1.1 length=2 +unpaired");
}

#[test]
fn a_gap_that_keeps_framing_keeps_pairing() {
    let happens = [c(GET), s(OK), gap(1, 1), s("i"), c(GET), s(OK)];
    assert_eq!(
        parsed(&happens)[3..7],
        ["1 end#1 2/2 lost 1 +gap", "0 req#2 GET / 1.1 none", "0 end#2 0/0", "1 res#2 200 \"OK\" 1.1 length=2"]
    );
}

#[test]
fn in_mid_stream_a_response_that_has_not_acknowledged_the_request_answers_another() {
    let manner = Manner { midstream: true, ..Manner::default() };
    let happens = [Happens::Acks(1, Some(0)), c(GET), s(OK.to_owned() + "hi"), Happens::Acks(1, None), s(OK)];
    let said = lines(manner, &happens);
    assert_eq!(said[2], "1 res#0 200 \"OK\" 1.1 length=2 +unpaired +midstream");
    assert_eq!(said[4], "1 res#1 200 \"OK\" 1.1 length=2");
}

/// The last response after `front` of a client, of which the server acknowledged all, and the loss of an answer.
fn after_a_lost_answer(front: &[Happens]) -> String {
    let mut happens = vec![Happens::Acks(1, None)];
    happens.extend_from_slice(front);
    happens.extend([gap(1, 40), s(OK.to_owned() + "hi")]);
    parsed(&happens).into_iter().rfind(|line| line.contains(" res#")).expect("a response")
}

#[test]
fn a_response_that_acknowledges_an_unseen_request_is_flagged() {
    // The length is that of a body: what answers an unknown request may have one, whatever was asked before.
    let lost = "1 res#0 200 \"OK\" 1.1 length=2 +unpaired +resync +request_lost";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
    assert_eq!(after_a_lost_answer(&[c(HEAD), gap(0, 30)]), lost);
    assert_eq!(after_a_lost_answer(&[c(GET), gap(0, 16)]), lost);
    assert_eq!(after_a_lost_answer(&[c(post), c("some"), gap(0, 96 + 16)]), lost);
    // The head of the request was lost, its body was not.
    assert_eq!(after_a_lost_answer(&[c(HEAD), gap(0, 60), c("body")]), lost);
    // Only a part of its head was seen: a client that has begun with it has had the answer before.
    assert_eq!(after_a_lost_answer(&[c(HEAD), c("GET / HTTP/1.1\r\nHost: a.long.name")]), lost);
    // The answer came before what was lost.
    let before = [Happens::Acks(1, Some(27)), c(GET), gap(0, 60), c("body"), gap(1, 40), s(OK)];
    assert_eq!(parsed(&before)[4], "1 res#0 200 \"OK\" 1.1 length=2 +unpaired +resync");
}

#[test]
fn behind_a_response_that_came_before_its_request_nothing_is_taken_for_granted() {
    let answer = || s(OK.to_owned() + "hi");
    // The second response acknowledges a request that comes behind it, or it is not known what it acknowledges.
    for acked in [Happens::Acks(1, Some(60)), Happens::Acks(1, Some(u64::MAX))] {
        let front = [Happens::Acks(1, None), c(GET), answer(), acked, answer(), Happens::Acks(1, None)];
        let happens = [&front[..], &[c(GET), c(GET), answer(), c(GET), answer()]].concat();
        let lines = parsed(&happens);
        let responses: Vec<_> = lines.iter().filter(|line| line.contains(" res#")).map(|line| &line[2..7]).collect();
        assert_eq!(responses, ["res#1", "res#0", "res#0", "res#4"]);
    }
}

#[test]
fn bytes_that_were_never_seen_need_not_be_a_request() {
    let seen = "1 res#0 200 \"OK\" 1.1 length=2 +unpaired +resync";
    let post = |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{body}\r\n\r\n");
    let cases: [&[Happens]; 4] = [
        // nothing is missing, or too little for a head: FIN, and an empty line
        &[c(GET)],
        &[c(GET), gap(0, 15)],
        // the rest of a body, or bytes that cannot be identified
        &[c(post("Content-Length: 100")), gap(0, 100 + 15)],
        &[c(post("Transfer-Encoding: chunked")), c("5\r\nab"), gap(0, 100)],
    ];
    for front in cases {
        assert_eq!(after_a_lost_answer(front), seen, "{front:?}");
    }
}

#[test]
fn in_mid_stream_the_first_response_behind_several_requests_is_a_guess() {
    let manner = Manner { midstream: true, ..Manner::default() };
    let happens = [Happens::Acks(1, None), c(GET), c(GET), s(OK.to_owned() + "hi"), c(GET), s(OK.to_owned() + "hi")];
    let said = lines(manner, &happens);
    assert_eq!(said[4], "1 res#0 200 \"OK\" 1.1 length=2 +unpaired +midstream");
    // What comes behind is known again.
    assert_eq!(said[8], "1 res#3 200 \"OK\" 1.1 length=2");
    // One request that was seen, and one that was not.
    let happens = [Happens::Acks(1, None), c(GET), gap(0, 27), s(OK.to_owned() + "hi")];
    assert_eq!(lines(manner, &happens)[2], "1 res#0 200 \"OK\" 1.1 length=2 +unpaired +midstream +request_lost");
}
