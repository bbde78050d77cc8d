//! What is right where captures are ugly or hostile: the cases of Ptacek and Newsham (1998) and their successors.

mod flow_support;

use flow_support::{ACK, FIN, MS, RST, S, SYN, Stage, Who};

#[test]
fn a_clean_connection_is_told_as_it_was_sent() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    stage.send(Who::Client, FIN | ACK, 3, 3, b"", 0);
    stage.send(Who::Server, FIN | ACK, 3, 4, b"", 0);
    stage.client(4, 4, "");
    assert_eq!(stage.both(), ("GET.fin", "200.fin"));
    assert_eq!(stage.order(), "1<GET 1>200 1<. 1>.");
    stage.finish();
}

#[test]
fn data_that_came_too_early_wait_for_what_lies_before() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    assert_eq!(stage.both().0, "");
    stage.client(0, 0, "abc");
    assert_eq!(stage.both().0, "abcdef");
    stage.finish();
}

#[test]
fn an_answer_that_came_too_early_waits_for_what_it_answers() {
    let mut stage = Stage::open();
    stage.server(0, 3, "200");
    assert_eq!(stage.both().1, "");
    stage.client(0, 0, "GET");
    assert_eq!(stage.order(), "1<GET 1>200");
    stage.finish();
}

#[test]
fn a_hole_that_the_peer_acknowledged_is_a_gap_after_200_ms() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    stage.server(0, 6, "");
    stage.wait(100 * MS);
    assert_eq!(stage.both().0, "");
    stage.wait(150 * MS);
    assert_eq!(stage.both().0, "[3]def");
    assert_eq!(stage.table.counters().gap, 3);
    assert_eq!(stage.table.counters().gaps_proved, 1);
    stage.finish();
}

#[test]
fn a_hole_that_nobody_acknowledged_is_a_gap_after_3_s() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    stage.wait(2900 * MS);
    assert_eq!(stage.both().0, "");
    stage.wait(S);
    assert_eq!(stage.both().0, "[3]def");
    assert_eq!(stage.table.counters().gaps_timed, 1);
    stage.finish();
}

#[test]
fn a_reset_in_the_window_ends_both_sides() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Server, RST | ACK, 0, 3, b"", 0);
    assert_eq!(stage.both(), ("GET.reset", ".reset"));
    stage.client(3, 0, "late");
    assert_eq!(stage.table.counters().after_reset, 4);
    stage.finish();
}

#[test]
fn data_in_a_syn_wait_until_they_are_acknowledged() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"GET", 0);
    assert_eq!(stage.both().0, "");
    stage.send(Who::Server, SYN | ACK, -1, 3, b"", 0);
    assert_eq!(stage.both().0, "GET");
    stage.finish();
}
