//! What the exchange promises, one thought a test.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::abi::{Framing, NotHttp, ParseError, Tunnel, flag};
use crate::http::Settings;
use crate::http::redact::Redaction;
use crate::http::test_wire::Wire;
use crate::http::transaction::MAX_TARGET;

fn wire() -> Wire {
    Wire::new(Settings::default())
}

#[test]
fn an_idle_connection_costs_120_bytes() {
    assert_eq!(size_of::<Exchange>(), 120);
    let mut wire = wire();
    wire.get(1, "/").reply(1, 200, 0);
    assert_eq!(wire.exchange.open(), 0);
}

#[test]
fn a_request_and_its_response_are_one_transaction() {
    let mut wire = wire();
    wire.get(1, "/a").wait(30).answer(1, "HTTP/1.1 200 OK\nServer: x", 0).wait(20).end(1, 1, 500, 0);
    assert_eq!(wire.seen(), ["1 /a 200"]);
    let transaction = wire.last();
    assert_eq!(transaction.method(), Some(&b"GET"[..]));
    assert_eq!(transaction.host(), Some(&b"example.com"[..]));
    assert_eq!(transaction.reason(), Some(&b"OK"[..]));
    assert_eq!((transaction.client.port, transaction.server.port), (4321, 80));
    assert_eq!(transaction.time_to_first_byte(), Some(30_000_000));
    assert_eq!(transaction.duration(), Some(50_000_000));
    assert_eq!(transaction.response.unwrap().body().unwrap().wire, 500);
    assert_eq!(transaction.request.unwrap().head_bytes(), 33);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut wire = wire();
    wire.get(1, "/a").get(2, "/b").get(3, "/c").reply(1, 200, 1).reply(2, 201, 1).reply(3, 202, 1);
    assert_eq!(wire.seen(), ["1 /a 200", "2 /b 201", "3 /c 202"]);
}

#[test]
fn interim_responses_are_counted_and_end_nothing() {
    let mut wire = wire();
    wire.ask(1, "POST / HTTP/1.1", 0);
    wire.answer(1, "HTTP/1.1 100 Continue", flag::INTERIM).answer(1, "HTTP/1.1 103 Early Hints", flag::INTERIM);
    wire.end(0, 1, 10, 0).reply(1, 200, 0);
    assert_eq!(wire.seen(), ["1 / 200"]);
    assert_eq!((wire.last().interim, wire.last().interim_status), (2, 103));
    assert_eq!(wire.last().interim_reason(), Some(&b"Early Hints"[..]));
}

#[test]
fn a_response_before_the_requests_body_waits_for_it() {
    let mut wire = wire();
    wire.ask(1, "POST / HTTP/1.1", 0).wait(5).answer(1, "HTTP/1.1 413 Too Large", flag::EARLY).end(1, 1, 0, 0);
    assert!(wire.done.is_empty());
    wire.wait(5).end(0, 1, 100, 0);
    assert_eq!(wire.seen(), ["1 / 413 early_response"]);
    assert_eq!((wire.last().time_to_first_byte(), wire.last().duration()), (None, Some(5_000_000)));
}

#[test]
fn an_early_response_is_known_by_its_times_too() {
    let mut wire = wire();
    wire.ask(1, "POST / HTTP/1.1", 0).answer(1, "HTTP/1.1 413 Too Large", 0).wait(5).end(0, 1, 100, 0).end(1, 1, 0, 0);
    assert_eq!(wire.seen(), ["1 / 413 early_response"]);
}

#[test]
fn an_unpaired_response_goes_to_the_newest_acknowledged_request() {
    let mut wire = wire();
    wire.get(1, "/a").pass(1, 100).get(2, "/b").reply_unpaired(200);
    assert_eq!(wire.seen(), ["1 /a 0 response_unread", "2 /b 200"]);
}

#[test]
fn what_acknowledgements_prove_is_not_flagged() {
    // The server had received more than the request, the client less than what lies before the response, or it pipelines.
    for (sent, received, pipelined) in [(0, 0, false), (5, 0, false), (0, 5, false), (0, 0, true)] {
        let mut wire = wire();
        wire.get(1, "/a");
        if pipelined {
            wire.get(2, "/b");
        }
        wire.pass(1, 100).get(3, "/c").pass(0, sent).pass(1, received).reply_unpaired(200);
        let flagged = if sent + received > 0 || pipelined { " pairing_inferred" } else { "" };
        assert_eq!(wire.seen().last(), Some(&format!("{} /c 200{flagged}", 2 + u8::from(pipelined))));
    }
}

#[test]
fn a_request_has_no_response_only_if_the_server_sent_nothing_that_may_be_one() {
    // Bytes of the server's behind the responses that were read, or only before the client asked.
    let mut wire = wire();
    wire.get(1, "/a").get(2, "/b").reply(1, 200, 10).close(EndReason::Fin);
    assert_eq!(wire.seen(), ["1 /a 200", "2 /b 0 no_response"]);
    let mut wire = self::wire();
    wire.get(1, "/a").get(2, "/b").get(3, "/c").reply(1, 200, 10).pass(1, 5).close(EndReason::Capture);
    assert_eq!(wire.seen(), ["1 /a 200", "2 /b 0 open response_unread", "3 /c 0 open response_unread"]);
    let mut wire = self::wire();
    wire.get(1, "/a").pass(1, 5).get(2, "/b").close(EndReason::Reset);
    assert_eq!(wire.seen(), ["1 /a 0 reset response_unread", "2 /b 0 no_response reset"]);
    let mut wire = self::wire();
    wire.ask(1, "POST /a HTTP/1.1", 0).answer(1, "HTTP/1.1 100 Continue", flag::INTERIM).end(0, 1, 9, 0);
    assert_eq!(wire.close(EndReason::Fin).seen(), ["1 /a 0 no_response"]);
}

#[test]
fn unpaired_responses_to_a_pipelined_burst_go_in_order() {
    let mut wire = wire();
    wire.get(1, "/a").get(2, "/b").reply_unpaired(200).reply_unpaired(201);
    assert_eq!(wire.seen(), ["1 /a 200 pairing_inferred", "2 /b 201 pairing_inferred"]);
}

#[test]
fn where_a_request_was_lost_a_response_behind_lost_bytes_answers_none_that_was_seen() {
    for (lost, wanted) in [
        (100, vec!["2 - 200 no_request", "1 /a 0 response_unread", "3 /c 201"]),
        (0, vec!["1 /a 200 pairing_inferred", "2 /c 201"]),
    ] {
        let mut wire = wire();
        wire.get(1, "/a").pass(1, lost).pass(0, 50);
        wire.answer(0, "HTTP/1.1 200 OK", flag::UNPAIRED | flag::REQUEST_LOST).end(1, 0, 0, 0);
        wire.get(2, "/c").reply(2, 201, 0);
        assert_eq!(wire.seen(), wanted);
    }
}

#[test]
fn where_nothing_of_the_server_was_seen_the_newest_request_is_answered() {
    let mut wire = wire();
    for target in ["/a", "/b"] {
        wire.get(1, target);
        wire.exchange.queue.get_mut(wire.exchange.open() - 1).unwrap().client_acked = None;
    }
    wire.reply_unpaired(200);
    assert_eq!(wire.seen(), ["1 /a 0 no_response", "2 /b 200 pairing_inferred"]);
}

#[test]
fn a_request_that_the_server_had_not_acknowledged_is_not_answered() {
    let mut wire = wire();
    wire.get(1, "/a");
    let sent = std::mem::replace(&mut wire.at[0], 5); // the server acknowledges no more than this
    wire.reply_unpaired(200);
    wire.at[0] = sent;
    wire.reply(1, 201, 0);
    assert_eq!(wire.seen(), ["2 - 200 no_request", "1 /a 201"]);
}

#[test]
fn a_response_without_request_is_a_transaction_of_its_own() {
    let mut wire = wire();
    wire.answer(0, "HTTP/1.1 408 Timeout", flag::UNSOLICITED).end(1, 0, 3, 0);
    assert_eq!(wire.seen(), ["1 - 408 no_request"]);
    assert_eq!((wire.last().client.port, wire.last().server.port), (4321, 80));
}

#[test]
fn a_response_to_a_later_request_leaves_the_earlier_unanswered() {
    let mut wire = wire();
    wire.get(1, "/a").get(2, "/b").reply(2, 200, 0);
    assert_eq!(wire.seen(), ["1 /a 0 no_response", "2 /b 200"]);
}

#[test]
fn what_is_open_at_the_end_says_why() {
    let cases = [
        (EndReason::Fin, "1 /a 0 no_response"),
        (EndReason::Reset, "1 /a 0 no_response reset"),
        (EndReason::Timeout, "1 /a 0 no_response timeout"),
        (EndReason::Evicted, "1 /a 0 no_response evicted"),
        (EndReason::Reused, "1 /a 0 no_response reused"),
        (EndReason::Capture, "1 /a 0 open"),
        (EndReason::Fault, "1 /a 0 fault"),
    ];
    for (reason, line) in cases {
        assert_eq!(wire().get(1, "/a").close(reason).seen(), [line]);
    }
}

#[test]
fn a_response_cut_by_a_reset_says_both() {
    let mut wire = wire();
    wire.get(1, "/a").answer(1, "HTTP/1.1 200 OK", 0).end(1, 1, 7, flag::TRUNCATED);
    assert!(wire.done.is_empty(), "what cut it is not known yet");
    assert_eq!(wire.close(EndReason::Reset).seen(), ["1 /a 200 truncated reset"]);
}

#[test]
fn a_response_cut_by_a_gap_is_logged_when_the_next_message_begins() {
    let mut wire = wire();
    wire.get(1, "/a").answer(1, "HTTP/1.1 200 OK", 0).end(1, 1, 7, flag::TRUNCATED | flag::GAP).get(2, "/b");
    assert_eq!(wire.seen(), ["1 /a 200 gap truncated"]);
    wire.reply(2, 200, 0);
    assert_eq!(wire.seen()[1..], ["2 /b 200"]);
}

#[test]
fn a_response_cut_by_a_gap_is_logged_with_the_gap() {
    let mut wire = wire();
    wire.get(1, "/a").answer(1, "HTTP/1.1 200 OK", 0).end(1, 1, 7, flag::TRUNCATED | flag::GAP);
    wire.feed(1, 0, 0, Kind::Error(ParseError::LostFraming));
    assert_eq!(wire.seen(), ["1 /a 200 gap truncated lost_framing"]);
    // A request that was cut still waits for its answer.
    wire.ask(2, "POST /b HTTP/1.1", 0).end(0, 2, 7, flag::TRUNCATED | flag::GAP);
    wire.feed(0, 0, 0, Kind::Error(ParseError::LostFraming));
    assert_eq!(wire.seen().len(), 1);
    wire.reply(2, 200, 0);
    assert_eq!(wire.seen()[1..], ["2 /b 200 gap truncated lost_framing"]);
}

#[test]
fn a_response_that_never_ends_is_cut_by_the_next() {
    let mut wire = wire();
    wire.get(1, "/a").answer(1, "HTTP/1.1 200 OK", 0).get(2, "/b").reply(2, 201, 0);
    assert_eq!(wire.seen(), ["1 /a 200 truncated", "2 /b 201"]);
}

#[test]
fn a_tunnel_is_logged_when_it_begins() {
    let mut wire = wire();
    wire.ask(1, "GET /chat HTTP/1.1", flag::UPGRADE).end(0, 1, 0, 0).wait(2);
    wire.answer_framed(1, "HTTP/1.1 101 Switching Protocols", 0, Framing::Tunnel).end(1, 1, 0, 0);
    assert!(wire.done.is_empty());
    wire.feed(1, 0, 0, Kind::Tunnel { number: 1, kind: Tunnel::WebSocket, client: None, target: b"" });
    assert_eq!(wire.seen(), ["1 /chat 101 upgrade tunnel"]);
    assert_eq!((wire.last().tunnel, wire.last().duration()), (Tunnel::WebSocket, Some(2_000_000)));
}

#[test]
fn a_tunnel_without_message_end_lasts_as_long_as_its_head() {
    let mut wire = wire();
    wire.ask(1, "CONNECT u:p@h:443 HTTP/1.1", 0).end(0, 1, 0, 0).wait(3);
    wire.answer_framed(1, "HTTP/1.1 200 OK", 0, Framing::Tunnel).feed(
        1,
        0,
        0,
        Kind::Tunnel { number: 1, kind: Tunnel::Connect, client: None, target: b"" },
    );
    assert_eq!(wire.seen(), ["1 REDACTED:REDACTED@h:443 200 tunnel"]);
    assert_eq!(wire.last().duration(), Some(3_000_000));
}

#[test]
fn errors_and_foreign_bytes_are_told_on_the_transaction_they_hit() {
    let mut wire = wire();
    wire.ask(1, "POST / HTTP/1.1", 0).feed(0, 0, 9, Kind::Error(ParseError::BadChunk)).end(0, 1, 9, flag::TRUNCATED);
    wire.reply(1, 400, 0);
    wire.get(2, "/b").feed(1, 0, 9, Kind::Error(ParseError::BadHeader)).get(3, "/c").reply(3, 200, 0);
    wire.get(4, "/d").feed(1, 0, 3, Kind::NotHttp(NotHttp::Ssh)).close(EndReason::Fin);
    let wanted = [
        "1 / 400 truncated bad_chunk",
        "2 /b 0 bad_header response_unread",
        "3 /c 200",
        "4 /d 0 not_http response_unread",
    ];
    assert_eq!(wire.seen(), wanted);
    assert_eq!(wire.context.counters.errors[usize::from(ParseError::BadChunk.code())], 1);
    assert_eq!(wire.context.counters.not_http[usize::from(NotHttp::Ssh.code())], 1);
}

#[test]
fn an_error_behind_the_message_that_it_cut_is_still_that_messages() {
    let mut wire = wire();
    wire.get(1, "/a").get(2, "/b").answer(1, "HTTP/1.1 200 OK", 0).end(1, 1, 5, flag::TRUNCATED);
    wire.feed(1, 0, 3, Kind::Error(ParseError::BadChunk)).reply(2, 200, 0);
    wire.ask(3, "POST /c HTTP/1.1", 0).end(0, 3, 5, flag::TRUNCATED);
    wire.feed(0, 0, 3, Kind::Error(ParseError::BadChunk)).reply(3, 400, 0);
    let wanted = ["1 /a 200 truncated bad_chunk", "2 /b 200", "3 /c 400 truncated bad_chunk"];
    assert_eq!(wire.seen(), wanted);
}

#[test]
fn the_answer_to_an_unreadable_request_bears_the_error() {
    let mut wire = wire();
    wire.feed(0, 0, 9, Kind::Error(ParseError::BadStartLine)).answer(0, "HTTP/1.1 400 Bad", flag::UNSOLICITED);
    wire.end(1, 0, 0, 0);
    assert_eq!(wire.seen(), ["1 - 400 no_request bad_start_line"]);
}

#[test]
fn at_most_so_many_transactions_are_open() {
    let mut wire = wire();
    for number in 1..=2000 {
        wire.get(number, "/");
    }
    assert_eq!(wire.exchange.open(), MAX_OPEN);
    assert_eq!(wire.done.len(), 2000 - MAX_OPEN);
    assert!(wire.done.iter().all(|transaction| transaction.flags == Flags::OVERFLOW));
    wire.close(EndReason::Fin);
    assert_eq!((wire.done.len(), wire.context.counters.overflow), (2000, 976));
}

#[test]
fn memory_is_bounded_over_all_connections() {
    let mut wire = wire();
    let long = "x".repeat(MAX_TARGET);
    let mut lines = 0;
    let mut connections = Vec::new();
    for _ in 0..9000 {
        wire.get(1, &long);
        lines += wire.done.drain(..).count();
        connections.push(std::mem::take(&mut wire.exchange));
    }
    assert!(wire.context.held() <= MAX_OPEN_BYTES && lines > 1000);
    for exchange in connections {
        wire.exchange = exchange;
        wire.close(EndReason::Fin);
    }
    assert_eq!((lines + wire.done.len(), wire.context.held()), (9000, 0));
}

#[test]
fn headers_asked_for_are_kept_by_name_and_without_secrets() {
    let settings = Settings { headers: ["X-B", "Cookie", "x-a"].map(str::to_owned).to_vec(), ..Settings::default() };
    let mut wire = Wire::new(settings.clone());
    let head = "GET /?sig=s HTTP/1.1\nx-a: 1\nCOOKIE: s\n secret\nX-B: 2\nx-A: http://u:p@h/\nReferer: /?sig=\n s&a=b";
    wire.ask(1, head, 0).end(0, 1, 0, 0).reply(1, 200, 0);
    let text = |wire: &Wire| -> Vec<String> {
        let headers = wire.last().headers(true);
        headers.map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii())).collect()
    };
    assert_eq!(text(&wire), ["x-b=2", "cookie=REDACTED", "x-a=1", "x-a=http://REDACTED:REDACTED@h/"]);
    assert_eq!(wire.last().target(), Some(&b"/?sig=REDACTED"[..]));
    assert_eq!(wire.last().referer(), Some(&b"/?sig=REDACTED&a=b"[..]));
    let mut open = Wire::new(Settings { redaction: Redaction::off(), ..settings });
    open.ask(1, head, 0).end(0, 1, 0, 0).reply(1, 200, 0);
    assert_eq!(text(&open)[1], "cookie=s secret");
}

#[test]
fn a_continued_header_is_joined_by_a_space() {
    let mut wire = wire();
    wire.ask(1, "GET / HTTP/1.1\nUser-Agent: a\n  b\nHost: h\n i\nAccept: x\n y", 0).end(0, 1, 0, 0).reply(1, 200, 0);
    assert_eq!(wire.last().user_agent(), Some(&b"a b"[..]));
    assert_eq!(wire.last().host(), Some(&b"h i"[..]));
}

#[test]
fn a_client_that_did_not_open_the_connection_is_flagged() {
    let mut wire = wire();
    wire.connection.opener = Opener::Second;
    wire.get(1, "/a").reply(1, 200, 0);
    assert_eq!(wire.seen(), ["1 /a 200 reversed"]);
}

#[test]
fn the_community_identifier_is_there_when_asked_for() {
    let mut wire = Wire::new(Settings { community_id: true, ..Settings::default() });
    wire.get(1, "/a").reply(1, 200, 0).get(2, "/b").reply(2, 200, 0);
    let text = community_id::identifier(wire.connection.endpoints[1], wire.connection.endpoints[0]);
    assert!(wire.done.iter().all(|transaction| transaction.community_id == Some(text)));
}

/// What may come from a guest, sensible or not.
#[derive(Debug, Clone)]
enum Step {
    Ask(u32),
    Answer(u32, u32, Framing),
    End(usize, u32, u32),
    Tunnel(u32),
    Foreign(NotHttp),
    Error(usize, ParseError),
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0u32..6;
    let flags = || {
        let choices = [0, flag::INTERIM, flag::UNPAIRED, flag::UNSOLICITED, flag::TRUNCATED, u32::MAX];
        (0usize..6).prop_map(move |at| choices[at])
    };
    prop_oneof![
        number().prop_map(Step::Ask),
        (number(), flags(), select(Framing::ALL))
            .prop_map(|(number, flags, framing)| Step::Answer(number, flags, framing)),
        (0usize..2, number(), flags()).prop_map(|(side, number, flags)| Step::End(side, number, flags)),
        number().prop_map(Step::Tunnel),
        select(NotHttp::ALL).prop_map(Step::Foreign),
        (0usize..2, select(ParseError::ALL)).prop_map(|(side, code)| Step::Error(side, code)),
    ]
}

proptest! {
    /// Whatever a guest says, each request, and each final response that finds none, is logged exactly once.
    #[test]
    fn nothing_is_lost_or_told_twice(steps in proptest::collection::vec(step(), 0..60)) {
        let mut wire = wire();
        let (mut asked, mut answered) = (0, 0);
        for step in steps {
            match step {
                Step::Ask(number) => {
                    asked += 1;
                    wire.ask(number, "GET / HTTP/1.1\nHost: a", 0)
                }
                Step::Answer(number, flags, framing) => {
                    answered += u32::from(flags & flag::INTERIM == 0);
                    wire.answer_framed(number, "HTTP/1.1 200 OK", flags, framing)
                }
                Step::End(side, number, flags) => wire.end(side, number, 1, flags),
                Step::Tunnel(number) => wire.feed(1, 0, 0, Kind::Tunnel { number, kind: Tunnel::Connect, client: None, target: b"" }),
                Step::Foreign(code) => wire.feed(1, 0, 1, Kind::NotHttp(code)),
                Step::Error(side, code) => wire.feed(side, 0, 1, Kind::Error(code)),
            };
        }
        wire.close(EndReason::Fin);
        let with = |half: fn(&Transaction) -> bool| wire.done.iter().filter(|done| half(done)).count();
        prop_assert_eq!(with(|done| done.request.is_some()), asked as usize);
        prop_assert_eq!(with(|done| done.response.is_some()), answered as usize);
        let mut seqs: Vec<_> = wire.done.iter().map(|done| done.seq).collect();
        seqs.sort_unstable();
        prop_assert!(seqs.iter().copied().eq(1..=u32::try_from(wire.done.len()).unwrap()));
        prop_assert_eq!(wire.context.held(), 0);
    }
}

#[test]
fn buffers_are_used_again() {
    let mut wire = wire();
    for number in 1..100 {
        wire.get(number, "/a/path/of/some/length").reply(number, 200, 0);
    }
    assert_eq!((wire.context.counters.transactions, wire.context.pooled()), (99, 1));
}
