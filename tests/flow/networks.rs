//! Connections in virtual networks: which are one, and which are two.

use crate::support;
use proptest::prelude::*;
use support::flow::{ACK, FIN, RST, SYN, Stage, Who};

/// The client in one network, the server in another.
fn apart() -> Stage {
    Stage { realms: [5, 6], ..Stage::new() }
}

/// How many connections there were, and how many of them were joined.
fn counts(stage: &Stage) -> (u64, u64) {
    let counters = stage.table.counters();
    (counters.connections, counters.joined_networks)
}

#[test]
fn a_handshake_over_two_networks_is_one_connection() {
    let mut stage = apart();
    stage.handshake();
    stage.client(0, 0, "question");
    stage.server(0, 8, "answer");
    stage.client(8, 6, "more");
    stage.server(6, 12, "again");
    assert_eq!((counts(&stage), stage.table.len()), ((1, 1), 1));
    stage.finish();
    assert_eq!(stage.both(), ("questionmore.capture", "answeragain.capture"));
}

#[test]
fn a_refused_connection_is_one_too() {
    let mut stage = apart();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Server, SYN | ACK, -1, -1, b"", 0);
    assert_eq!(counts(&stage), (2, 0), "it acknowledges another SYN");
    let mut stage = apart();
    stage.send(Who::Client, SYN, -1, 0, b"fast", 0);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    assert_eq!(counts(&stage), (1, 1), "it refuses the data of the SYN");
    stage.finish();
}

#[test]
fn the_syn_may_come_behind_its_answer() {
    let mut stage = apart();
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.client(0, 0, "question");
    stage.server(0, 8, "answer");
    assert_eq!(counts(&stage), (1, 1));
    stage.finish();
}

#[test]
fn without_a_handshake_both_numbers_count() {
    for (at, ack, joined) in [(0, 8, true), (0, 7, false), (1, 8, false)] {
        let mut stage = apart();
        stage.client(0, 0, "question");
        stage.send(Who::Server, ACK, at, ack, b"", 0);
        stage.server(at, ack, "answer");
        assert_eq!(counts(&stage), if joined { (1, 1) } else { (2, 0) }, "{at} {ack}");
        stage.finish();
    }
}

#[test]
fn tenants_with_equal_addresses_stay_apart() {
    let mut stage = Stage::new();
    for realms in [[5, 5], [6, 6]] {
        stage.realms = realms;
        stage.send(Who::Client, SYN, -1, 0, b"", 0);
    }
    for realms in [[6, 6], [5, 5]] {
        stage.realms = realms;
        stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    }
    for (realms, text) in [([5, 5], "five"), ([6, 6], "six")] {
        stage.realms = realms;
        stage.client(0, 0, text);
    }
    assert_eq!(counts(&stage), (2, 0));
    // Of other tenants only one direction was seen, and the numbers are others.
    stage.ports = [4001, 80];
    stage.realms = [7, 8];
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.isn = [77, 88];
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    assert_eq!(counts(&stage), (4, 0));
    stage.finish();
}

#[test]
fn a_side_that_was_seen_is_not_replaced() {
    let mut stage = apart();
    stage.handshake();
    stage.realms = [5, 7];
    stage.server(0, 0, "another");
    assert_eq!(counts(&stage), (2, 1));
    stage.finish();
}

#[test]
fn ports_are_used_again_in_both_networks() {
    let mut stage = apart();
    for round in 0..3 {
        stage.isn = [1000 + 100_000 * round, 5000 + 100_000 * round];
        stage.handshake();
        stage.client(0, 0, "question");
        stage.server(0, 8, "answer");
        if round == 0 {
            stage.send(Who::Client, FIN | ACK, 8, 6, b"", 0);
            stage.send(Who::Server, FIN | ACK, 6, 9, b"", 0);
        }
    }
    assert_eq!(stage.table.len(), 1);
    stage.finish();
    assert_eq!(stage.table.counters().connections, 3);
}

#[test]
fn a_syn_behind_a_reset_that_waits_begins_another_connection() {
    let mut stage = apart();
    stage.send(Who::Client, SYN, -1, 0, b"ab", 0);
    stage.send(Who::Client, RST, 1, 0, b"", 0);
    stage.send(Who::Server, SYN | ACK, -1, 2, b"", 0);
    assert_eq!(counts(&stage), (2, 0));
    stage.finish();
}

#[test]
fn as_many_as_there_are_connections() {
    let mut stage = apart();
    for port in 0..20_000 {
        stage.ports = [port + 1, 80];
        stage.handshake();
    }
    assert_eq!(counts(&stage), (20_000, 20_000));
    // Of a flood of SYNs only the latest are remembered; the others are found in their own network.
    let mut stage = apart();
    for port in 0..20_000 {
        stage.ports = [port + 1, 80];
        stage.send(Who::Client, SYN, -1, 0, b"", 0);
    }
    for port in (0..20_000).rev() {
        stage.ports = [port + 1, 80];
        stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    }
    assert!(stage.table.counters().joined_networks > 2000, "{:?}", counts(&stage));
    stage.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    /// Any segments in any networks: everything is accounted for, and nothing is left in the end. The table and the
    /// recorder check it.
    #[test]
    fn nothing_breaks(segments in proptest::collection::vec(
        (any::<bool>(), prop::sample::select(vec![SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK]), 0_i64..20, 0_i64..20,
            0_usize..6, 0_u32..3, 0_u16..2, 0_u32..3), 0..60)) {
        let mut stage = Stage::new();
        for (server, flags, at, ack, length, realm, port, isn) in segments {
            stage.realms = [realm, realm];
            stage.ports = [4000 + port, 80];
            stage.isn = [1000 + isn * 10, 5000 + isn * 100_000_000];
            let who = if server { Who::Server } else { Who::Client };
            let at = if flags & SYN != 0 { -1 } else { at };
            stage.send(who, flags, at, ack, &b"abcdef"[..length], 0);
        }
        stage.finish();
    }
}
