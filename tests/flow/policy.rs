//! What is right in everyday trouble: loss, reordering, retransmission, probes, half-seen connections.

use crate::support;
use picotap::flow::Config;
use picotap::stream::{ConnectionId, Opener, Side};
use support::flow::{ACK, FIN, MS, RST, S, SYN, Stage, Who};

#[test]
fn a_clean_connection_is_reported_as_it_was_sent() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    stage.send(Who::Client, FIN | ACK, 3, 3, b"", 0);
    stage.send(Who::Server, FIN | ACK, 3, 4, b"", 0);
    stage.client(4, 4, "");
    assert_eq!(stage.both(), ("GET.fin", "200.fin"));
    assert_eq!(stage.order(), "1<GET 1>200 1<. 1>.");
    assert_eq!(stage.opener(1), Opener::First);
    stage.finish();
}

#[test]
fn every_byte_has_its_sender_s_acknowledgement() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    stage.client(3, 3, "GET");
    let sides = &stage.sink.seen[&1].sides;
    assert_eq!(sides[0].pieces, [(0, 3, Some(0), true), (3, 3, Some(3), true)]);
    assert_eq!(sides[1].pieces, [(0, 3, Some(3), true)]);
    stage.finish();
}

#[test]
fn early_data_wait_for_the_bytes_before() {
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
fn an_end_that_came_too_early_waits_too() {
    let mut stage = Stage::open();
    stage.send(Who::Server, FIN | ACK, 0, 3, b"200", 0);
    stage.send(Who::Client, FIN | ACK, 3, 4, b"", 0);
    assert_eq!(stage.order(), "");
    stage.client(0, 0, "GET");
    assert_eq!(stage.order(), "1<GET 1>200 1>. 1<.");
    stage.finish();
}

#[test]
fn an_answer_whose_request_was_never_captured_goes_on_after_the_grace() {
    let mut stage = Stage::open();
    stage.server(0, 3, "200");
    stage.wait(300 * MS);
    assert_eq!(stage.both().1, "200");
    assert_eq!(stage.table.counters().waits_given_up, 1);
    // What comes at last is still good.
    stage.client(0, 0, "GET");
    assert_eq!(stage.both().0, "GET");
    stage.finish();
}

#[test]
fn two_that_wait_for_each_other_go_in_the_order_in_which_they_were_first_sent() {
    // The server's "one" was lost to the capture; what is seen is its retransmission, after the client's answer.
    let mut stage = Stage::open();
    stage.client(0, 3, "two");
    stage.server(0, 3, "one");
    assert_eq!(stage.order(), "");
    stage.wait(300 * MS);
    assert_eq!(stage.order(), "1>one 1<two");
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
fn a_hole_that_the_peer_acknowledged_is_a_gap_after_64_packets() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    stage.server(0, 6, "");
    for _ in 0..63 {
        stage.server(0, 6, "");
        assert_eq!(stage.both().0, "");
    }
    stage.server(0, 6, "");
    assert_eq!(stage.both().0, "[3]def");
    stage.finish();
}

#[test]
fn an_acknowledgement_of_half_a_hole_proves_nothing_yet() {
    let mut stage = Stage::open();
    stage.client(6, 0, "ghi");
    stage.server(0, 3, "");
    stage.wait(S);
    assert_eq!(stage.both().0, "");
    stage.client(0, 0, "abcdef");
    assert_eq!(stage.both().0, "abcdefghi");
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
fn what_comes_after_its_gap_was_declared_is_a_duplicate() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    stage.wait(4 * S);
    stage.client(0, 0, "abc");
    stage.client(6, 0, "ghi");
    assert_eq!(stage.both().0, "[3]defghi");
    assert_eq!(stage.table.counters().duplicate, 3);
    stage.finish();
}

#[test]
fn too_many_segments_behind_a_hole_make_it_a_gap() {
    let mut stage = Stage::open();
    for i in 0..65 {
        stage.client(1 + i, 0, "x");
    }
    assert_eq!(stage.both().0, format!("[1]{}", "x".repeat(65)));
    assert_eq!(stage.table.counters().gaps_bound, 1);
    stage.finish();
}

#[test]
fn too_many_bytes_behind_a_hole_make_it_a_gap() {
    let mut stage = Stage::with(Config { ooo_bytes_per_side: 8, ..Config::default() });
    stage.handshake();
    stage.client(1, 0, "12345678");
    assert_eq!(stage.both().0, "");
    stage.client(9, 0, "9");
    assert_eq!(stage.both().0, "[1]123456789");
    stage.finish();
}

#[test]
fn the_end_of_the_capture_flushes_what_is_held() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    stage.server(0, 9, "200");
    stage.finish();
    assert_eq!(stage.both(), ("[3]def.capture", "200.capture"));
    assert_eq!(stage.table.counters().gaps_flushed, 1);
}

#[test]
fn a_gap_before_the_fin_is_declared_when_the_peer_acknowledged_it() {
    let mut stage = Stage::open();
    stage.send(Who::Client, FIN | ACK, 5, 0, b"", 0);
    stage.server(0, 6, "");
    stage.wait(300 * MS);
    assert_eq!(stage.both().0, "[5].fin");
    stage.finish();
}

#[test]
fn a_retransmission_is_reported_once() {
    let mut stage = Stage::open();
    stage.client(0, 0, "abc");
    stage.client(0, 0, "abc");
    stage.client(0, 0, "abcdef");
    assert_eq!(stage.both().0, "abcdef");
    assert_eq!(stage.table.counters().duplicate, 6);
    assert_eq!(stage.table.counters().conflicting, 0);
    stage.finish();
}

#[test]
fn a_keep_alive_is_no_data_even_if_it_carries_a_byte() {
    // RFC 9293, section 3.8.4: the garbage byte is before the next one. Zeek and Suricata agree.
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.client(2, 0, "");
    stage.client(2, 0, "?");
    stage.client(3, 0, "/");
    assert_eq!(stage.both().0, "GET/");
    assert_eq!(stage.table.counters().keep_alives, 2);
    assert_eq!(stage.table.counters().probe, 1);
    stage.finish();
}

#[test]
fn a_keep_alive_that_is_the_first_packet_seen_is_no_data() {
    for garbage in ["", "?"] {
        let mut stage = Stage::new();
        stage.client(99, 50, garbage);
        stage.server(50, 100, "");
        stage.client(100, 50, "GET");
        stage.finish();
        let number = *stage.sink.seen.keys().last().unwrap();
        assert_eq!(stage.output(number, Side::First), "GET.capture");
    }
}

#[test]
fn a_window_probe_counts_when_it_is_acknowledged() {
    // The receiver may drop the byte; then it is sent again with what follows.
    let mut stage = Stage::open();
    stage.window[1] = 0;
    stage.server(0, 0, "");
    stage.client(0, 0, "a");
    assert_eq!(stage.both().0, "");
    stage.server(0, 1, "");
    assert_eq!(stage.both().0, "a");
    stage.finish();
}

#[test]
fn a_window_probe_is_replaced_by_the_data_that_come_for_good() {
    // Wireshark bug 15427 dropped data after a probe as a retransmission.
    let mut stage = Stage::open();
    stage.window[1] = 0;
    stage.server(0, 0, "");
    stage.client(0, 0, "a");
    stage.client(0, 0, "a");
    stage.window[1] = 1000;
    stage.server(0, 0, "");
    stage.client(0, 0, "abc");
    assert_eq!(stage.both().0, "abc");
    assert_eq!(stage.table.counters().window_probes, 2);
    stage.finish();
}

#[test]
fn a_window_probe_counts_when_the_sender_goes_on_behind_it() {
    let mut stage = Stage::open();
    stage.window[1] = 0;
    stage.server(0, 0, "");
    stage.client(0, 0, "a");
    stage.client(1, 0, "bc");
    assert_eq!(stage.both().0, "abc");
    stage.finish();
}

#[test]
fn a_probe_that_is_never_acknowledged_is_unfinished() {
    let mut stage = Stage::open();
    stage.window[1] = 0;
    stage.server(0, 0, "");
    stage.client(0, 0, "a");
    stage.finish();
    assert_eq!(stage.both().0, ".capture");
    assert_eq!(stage.table.counters().unfinished, 1);
}

#[test]
fn an_urgent_byte_is_data_like_any_other() {
    // RFC 6093: what most receivers do differs; HTTP never uses it.
    let mut stage = Stage::open();
    stage.send(Who::Client, ACK | 0x20, 0, 0, b"abc", 0);
    assert_eq!(stage.both().0, "abc");
    assert_eq!(stage.table.counters().urgent, 1);
    stage.finish();
}

#[test]
fn a_connection_is_picked_up_in_mid_stream() {
    let mut stage = Stage::new();
    stage.client(700, 900, "GET");
    stage.server(900, 703, "200");
    stage.client(703, 903, "");
    assert_eq!(stage.order(), "", "something before may have been captured late");
    stage.wait(300 * MS);
    assert_eq!(stage.order(), "1<GET 1>200");
    assert!(stage.sink.seen[&1].conn.info.midstream);
    assert_eq!(stage.opener(1), Opener::Unknown);
    stage.finish();
}

#[test]
fn a_segment_before_the_first_one_seen_moves_the_start_while_it_can() {
    let mut stage = Stage::new();
    stage.client(700, 900, "GET");
    stage.server(903, 703, "OK");
    stage.server(900, 703, "200");
    stage.wait(300 * MS);
    assert_eq!(stage.both().1, "200OK");
    stage.client(690, 900, "0123456789");
    assert_eq!(stage.table.counters().before_start, 10);
    stage.finish();
}

#[test]
fn a_handshake_captured_late_that_does_not_fit_what_is_held_is_not_believed() {
    let mut stage = Stage::new();
    stage.client(0, 0, "GET");
    stage.server(4, 3, "held");
    stage.send(Who::Server, SYN, 100, 0, b"", 0);
    stage.server(0, 3, "200 ");
    stage.wait(300 * MS);
    assert_eq!(stage.both().1, "200 held");
    assert_eq!(stage.table.counters().syn_mismatched, 1);
    stage.finish();
}

#[test]
fn one_side_alone_is_reported_with_one_delay() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.client(0, 0, "GET");
    stage.client(3, 500, "GET");
    assert_eq!(stage.both().0, "GET", "the other side is waited for once");
    stage.wait(300 * MS);
    stage.client(6, 700, "GET");
    assert_eq!(stage.both().0, "GETGETGET");
    stage.client(15, 1000, "late");
    assert_eq!(stage.both().0, "GETGETGET");
    stage.wait(4 * S);
    assert_eq!(stage.both().0, "GETGETGET[6]late");
    stage.finish();
}

#[test]
fn one_side_alone_goes_on_behind_a_great_loss() {
    let mut stage = Stage::new();
    stage.client(0, 0, "GET");
    for i in 0..4 {
        stage.client(100 << 20 | i, 0, "x");
    }
    stage.finish();
    assert_eq!(stage.output(1, Side::First), format!("GET[{}]xx.capture", (100 << 20) - 3 + 2));
    assert_eq!(stage.table.counters().out_of_reach, 2);
}

#[test]
fn both_sides_together_go_on_behind_a_great_loss() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    let far = 500 << 20;
    stage.server(far, 3, "xx");
    stage.server(far + 2, 3, "yy");
    stage.client(3, far + 4, "");
    stage.server(far + 4, 3, "end");
    assert_eq!(stage.both().1, format!("200[{}]end", far + 1));
    assert_eq!(stage.table.counters().gaps_jumped, 1);
    stage.finish();
}

#[test]
fn bytes_cut_off_by_the_snap_length_are_a_gap_as_soon_as_more_comes() {
    let mut stage = Stage::open();
    stage.send(Who::Client, ACK, 0, 0, b"abc", 3);
    stage.client(6, 0, "ghi");
    assert_eq!(stage.both().0, "abc[3]ghi");
    assert_eq!(stage.table.counters().gaps_cut, 1);
    assert_eq!(stage.table.counters().cut, 3);
    stage.finish();
}

#[test]
fn bytes_cut_off_can_still_be_filled_by_a_retransmission() {
    let mut stage = Stage::open();
    stage.send(Who::Client, ACK, 0, 0, b"abc", 3);
    stage.client(3, 0, "def");
    stage.client(6, 0, "ghi");
    assert_eq!(stage.both().0, "abcdefghi");
    stage.finish();
}

#[test]
fn segments_of_which_nothing_was_captured_are_lost_bytes_in_any_order() {
    let mut stage = Stage::open();
    stage.send(Who::Server, ACK, 100, 0, b"", 100);
    stage.send(Who::Server, ACK, 300, 0, b"end", 0);
    stage.send(Who::Server, ACK, 200, 0, b"", 100);
    stage.send(Who::Server, ACK, 0, 0, b"", 100);
    assert_eq!(stage.both().1, "[300]end");
    stage.send(Who::Server, ACK | FIN, 303, 0, b"", 10);
    stage.finish();
    assert_eq!(stage.both().1, "[300]end[10].fin");
}

#[test]
fn cut_bytes_do_not_hold_the_answer_up() {
    let mut stage = Stage::open();
    stage.send(Who::Client, ACK, 0, 0, b"GET", 100);
    stage.server(0, 103, "200");
    assert_eq!(stage.order(), "1<GET 1>200");
    stage.finish();
    // It is told as lost before the answer, which is to what was cut.
    assert_eq!(stage.both().0, "GET(100-100).capture");
}

#[test]
fn times_that_jump_back_expire_nothing() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.time -= 3600 * S;
    stage.server(0, 3, "200");
    stage.client(3, 3, "GET");
    stage.wait(S);
    assert_eq!(stage.both(), ("GETGET", "200"));
    stage.finish();
}

#[test]
fn one_false_time_ends_nothing() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    for false_time in [86_400 * S, -86_400 * S] {
        stage.table.tick(stage.time + false_time, &mut stage.sink);
        stage.table.tick(stage.time, &mut stage.sink);
    }
    stage.server(0, 3, "200");
    assert_eq!(stage.both(), ("GET", "200"));
    assert_eq!(stage.table.counters().time_jumps, 2);
    // Time goes on after that.
    stage.wait(4060 * S);
    assert_eq!(stage.both(), ("GET.timeout", "200.timeout"));
    stage.finish();
}

#[test]
fn a_clock_that_is_set_ends_nothing() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.server(3, 3, "200");
    stage.time += 7200 * S;
    stage.client(3, 0, "GET");
    stage.server(0, 3, "HTT");
    assert_eq!(stage.both(), ("GETGET", "HTT200"));
    assert_eq!(stage.table.counters().time_jumps, 1);
    stage.wait(4060 * S);
    assert_eq!(stage.both(), ("GETGET.timeout", "HTT200.timeout"));
    stage.finish();
}

#[test]
fn two_clocks_are_one_jump() {
    let mut stage = Stage::open();
    for i in 0..100 {
        stage.client(i * 3, i * 3, "GET");
        stage.time += 600 * S + MS;
        stage.server(i * 3, i * 3 + 3, "200");
        stage.time -= 600 * S;
    }
    assert_eq!(stage.table.counters().time_jumps, 1);
    assert_eq!(stage.both().1.len(), 300);
    stage.finish();
}

#[test]
fn an_idle_connection_times_out_and_its_next_packet_begins_another() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.wait(3599 * S);
    stage.server(0, 3, "200");
    assert_eq!(stage.both().1, "200");
    stage.wait(3600 * S);
    stage.client(3, 3, "GET");
    stage.wait(300 * MS);
    assert_eq!(stage.both(), ("GET.timeout", "200.timeout"));
    assert_eq!(stage.output(2, Side::First), "GET");
    stage.finish();
}

#[test]
fn idle_connections_time_out_by_ticks_alone() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.wait(4060 * S);
    assert_eq!(stage.both(), ("GET.timeout", ".timeout"));
    assert!(stage.table.is_empty());
    stage.finish();
}

#[test]
fn a_lone_syn_is_forgotten_after_5_s() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.wait(5 * S + 100 * MS);
    assert_eq!(stage.both(), (".timeout", ".timeout"));
    assert!(stage.table.is_empty());
    stage.finish();
}

#[test]
fn a_closed_connection_lingers_for_5_s_and_knows_what_is_late() {
    let mut stage = Stage::open();
    stage.send(Who::Client, FIN | ACK, 0, 0, b"abc", 0);
    stage.send(Who::Server, FIN | ACK, 0, 4, b"", 0);
    stage.client(0, 1, "abc");
    stage.send(Who::Client, FIN | ACK, 3, 1, b"", 0);
    assert_eq!(stage.both(), ("abc.fin", ".fin"));
    assert_eq!(stage.table.counters().late, 3);
    assert_eq!(stage.table.len(), 1);
    stage.wait(5 * S + 100 * MS);
    assert!(stage.table.is_empty());
    stage.finish();
}

#[test]
fn a_skipped_range_is_reported_as_one_event() {
    let mut stage = Stage::open();
    stage.server(0, 0, "head");
    stage.table.skip(ConnectionId { handle: 0, number: 1 }, Side::Second, 14);
    stage.server(4, 0, "01234");
    stage.server(9, 0, "56789next");
    assert_eq!(stage.both().1, "head(10)next");
    assert_eq!(stage.table.counters().skipped, 10);
    assert_eq!(stage.sink.seen[&1].sides[1].pieces[1], (14, 4, Some(0), false));
    stage.finish();
}

#[test]
fn a_gap_inside_a_skipped_range_counts_as_lost_in_it() {
    let mut stage = Stage::open();
    stage.table.skip(ConnectionId { handle: 0, number: 1 }, Side::Second, 10);
    stage.server(0, 0, "01");
    stage.server(5, 0, "56");
    stage.server(7, 0, "789next");
    stage.wait(4 * S);
    assert_eq!(stage.both().1, "(10-3)next");
    assert_eq!(stage.table.counters().gap, 3);
    assert_eq!(stage.table.counters().skipped, 7);
    stage.finish();
}

#[test]
fn a_gap_that_reaches_out_of_a_skipped_stretch_is_split() {
    let mut stage = Stage::open();
    stage.table.skip(ConnectionId { handle: 0, number: 1 }, Side::Second, 10);
    stage.server(0, 0, "01");
    stage.server(15, 0, "next");
    stage.wait(4 * S);
    assert_eq!(stage.both().1, "(10-8)[5]next");
    stage.finish();
}

#[test]
fn a_skipped_range_of_which_nothing_was_captured_is_lost() {
    let mut stage = Stage::open();
    stage.table.skip(ConnectionId { handle: 0, number: 1 }, Side::Second, 30);
    stage.send(Who::Server, ACK, 10, 0, b"", 10);
    stage.send(Who::Server, ACK, 0, 0, b"", 10);
    stage.send(Who::Server, ACK, 20, 0, b"", 10);
    stage.server(30, 0, "next");
    assert_eq!(stage.both().1, "(30-30)next");
    stage.finish();
}

#[test]
fn a_skip_to_the_end_is_reported_at_the_end() {
    let mut stage = Stage::open();
    stage.server(0, 0, "head");
    stage.table.skip(ConnectionId { handle: 0, number: 1 }, Side::Second, u64::MAX);
    stage.server(4, 0, "tunnel");
    assert_eq!(stage.both().1, "head");
    stage.send(Who::Server, FIN | ACK, 10, 0, b"", 0);
    assert_eq!(stage.both().1, "head(6).fin");
    stage.finish();
}

#[test]
fn a_skip_that_came_too_late_or_for_another_connection_does_nothing() {
    let mut stage = Stage::open();
    stage.server(0, 0, "head");
    stage.table.skip(ConnectionId { handle: 0, number: 1 }, Side::Second, 3);
    stage.table.skip(ConnectionId { handle: 0, number: 2 }, Side::Second, 100);
    stage.table.skip(ConnectionId { handle: 9, number: 1 }, Side::Second, 100);
    stage.server(4, 0, "body");
    assert_eq!(stage.both().1, "headbody");
    stage.finish();
}

#[test]
fn held_bytes_that_will_be_skipped_take_no_memory() {
    let mut stage = Stage::open();
    stage.table.skip(ConnectionId { handle: 0, number: 1 }, Side::Second, 1 << 20);
    let before = stage.table.memory_used();
    for i in 0..64 {
        stage.server(1000 + i * 1000, 0, &"x".repeat(1000));
    }
    assert!(stage.table.memory_used() - before < 4096, "{}", stage.table.memory_used() - before);
    stage.server(0, 0, &"x".repeat(1000));
    stage.finish();
    assert_eq!(stage.both().1, "(65000).capture");
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
fn what_a_reset_acknowledges_and_is_captured_after_it_is_taken() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Client, RST | ACK, 3, 6, b"", 0);
    assert_eq!(stage.both(), ("GET", ""));
    stage.server(0, 3, "200 ");
    stage.server(4, 3, "OK");
    assert_eq!(stage.both(), ("GET.reset", "200 OK.reset"));
    stage.finish();
}

#[test]
fn a_reset_waits_200_ms_for_what_it_acknowledges() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Client, RST | ACK, 3, 6, b"", 0);
    stage.send(Who::Client, RST, 3, 0, b"", 0);
    stage.wait(100 * MS);
    assert_eq!(stage.both(), ("GET", ""));
    stage.wait(150 * MS);
    assert_eq!(stage.both(), ("GET.reset", ".reset"));
    stage.server(0, 3, "200 OK");
    assert_eq!(stage.table.counters().after_reset, 6);
    stage.finish();
}

#[test]
fn a_new_connection_and_the_end_of_the_capture_end_the_wait_of_a_reset() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Client, RST | ACK, 3, 6, b"", 0);
    stage.isn = [900_000_000, 800_000_000];
    stage.handshake();
    assert_eq!(stage.both(), ("GET.reset", ".reset"));
    stage.client(0, 0, "GET");
    stage.send(Who::Client, RST | ACK, 3, 6, b"", 0);
    stage.finish();
    assert_eq!((stage.output(2, Side::First), stage.output(2, Side::Second)), ("GET.reset", ".reset"));
}

#[test]
fn an_answer_captured_before_its_request_at_the_start_waits_for_it() {
    let mut stage = Stage::new();
    stage.server(900, 703, "200");
    stage.client(703, 903, "");
    stage.client(700, 900, "GET");
    stage.wait(300 * MS);
    assert_eq!(stage.order(), "1>GET 1<200");
    assert_eq!(stage.sink.seen[&1].sides[0].pieces, [(0, 3, Some(3), true)]);
    assert_eq!(stage.sink.early, 0);
    stage.finish();
}

#[test]
fn an_answer_captured_before_the_syn_waits_for_its_request() {
    let mut stage = Stage::new();
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.server(0, 3, "200");
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.client(0, 0, "");
    stage.client(0, 0, "GET");
    assert_eq!(stage.order(), "1>GET 1<200");
    assert_eq!(stage.opener(1), Opener::Second);
    stage.finish();
}

#[test]
fn one_side_captured_seconds_early_is_waited_for_once_that_is_known() {
    let mut stage = Stage::open();
    let mut order = String::new();
    for i in 0..4 {
        stage.server(i * 3, i * 3 + 3, "200");
        stage.wait(2 * S);
        stage.client(i * 3, i * 3, "GET");
        order += if i == 0 { "1>200 1<GET" } else { " 1<GET 1>200" };
        assert_eq!(stage.order(), order);
        stage.wait(5 * S);
    }
    // What never comes makes the wait shorter again.
    for (at, wait) in [(12, 4 * S), (15, 2 * S), (18, S)] {
        stage.server(at, 1000 + at, "200");
        stage.wait(wait - 100 * MS);
        assert_eq!(stage.sink.seen[&1].sides[1].next, at.unsigned_abs());
        stage.wait(200 * MS);
        assert_eq!(stage.sink.seen[&1].sides[1].next, at.unsigned_abs() + 3);
    }
    stage.finish();
}

#[test]
fn a_handshake_captured_late_is_one_all_the_same() {
    let mut stage = Stage::new();
    stage.client(0, 0, "GET");
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.server(0, 3, "200");
    assert_eq!(stage.order(), "1<GET 1>200");
    assert_eq!(stage.opener(1), Opener::First);
    assert_eq!(stage.table.counters().midstream, 0);
    stage.finish();
}

#[test]
fn a_refused_connection_ends_by_reset() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.isn[1] = u32::MAX; // a closed port answers with sequence number 0
    stage.send(Who::Server, RST | ACK, 0, 0, b"", 0);
    assert_eq!(stage.both(), (".reset", ".reset"));
    stage.finish();
}
