//! Segments made to be misread: the attack classes of Ptacek and Newsham (1998) and their successors.
//!
//! An attacker who is one of the two hosts can send what he likes; one who is neither can forge segments. What the
//! other host would not take must not change what is reported.

use crate::support;
use picotap::stream::{Opener, Side};
use support::flow::{ACK, FIN, MS, RST, S, SYN, Stage, Who};

/// Data without a handshake are taken: a monitor picks connections up in mid-stream. (An IDS may refuse; Zeek and
/// Wireshark take them.)
#[test]
fn data_without_a_syn_begin_a_connection() {
    let mut stage = Stage::new();
    stage.client(0, 0, "GET");
    stage.wait(300 * MS);
    assert_eq!(stage.both().0, "GET");
    assert_eq!(stage.table.counters().midstream, 1);
    stage.finish();
}

/// An ACK, FIN or RST without data begins no connection: anyone can send them in masses.
#[test]
fn segments_without_data_begin_no_connection() {
    let mut stage = Stage::new();
    stage.client(0, 0, "");
    stage.send(Who::Client, FIN | ACK, 0, 0, b"", 0);
    stage.send(Who::Client, RST, 0, 0, b"", 0);
    stage.send(Who::Client, RST, 0, 0, b"text", 0);
    assert!(stage.table.is_empty());
    assert_eq!(stage.table.counters().in_reset, 4);
    stage.finish();
}

/// Receivers drop segments without ACK (RFC 9293, section 3.10.7.4), so their data are not the stream's.
#[test]
fn data_without_the_ack_flag_are_not_taken() {
    let mut stage = Stage::open();
    for flags in [0, 0x08, 0x29] {
        stage.send(Who::Client, flags, 0, 0, b"evil", 0);
    }
    stage.client(0, 0, "good");
    assert_eq!(stage.both().0, "good");
    assert_eq!(stage.table.counters().no_ack, 12);
    stage.finish();
}

/// No regular sender sends SYN with FIN or RST; Linux drops it.
#[test]
fn a_syn_with_fin_or_rst_changes_nothing() {
    let mut stage = Stage::open();
    stage.send(Who::Client, SYN | FIN, 0, 0, b"evil", 0);
    stage.send(Who::Client, SYN | RST | ACK, 0, 0, b"evil", 0);
    stage.client(0, 0, "good");
    assert_eq!(stage.both().0, "good");
    assert_eq!(stage.table.counters().odd_flags, 8);
    stage.finish();
}

/// SYN data count once they are acknowledged (RFC 7413); then the same bytes again are a retransmission.
#[test]
fn data_in_a_syn_wait_until_they_are_acknowledged() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"GET", 0);
    assert_eq!(stage.both().0, "");
    stage.send(Who::Server, SYN | ACK, -1, 3, b"", 0);
    assert_eq!(stage.both().0, "GET");
    stage.client(0, 0, "GET");
    assert_eq!(stage.table.counters().duplicate, 3);
    stage.finish();
}

/// A SYN-ACK for the SYN alone refuses its data: they are sent again, perhaps with other content, and that counts.
#[test]
fn refused_syn_data_give_way_to_what_is_sent_again() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"evil", 0);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.client(0, 0, "good");
    assert_eq!(stage.both().0, "good");
    assert_eq!(stage.table.counters().syn_refused, 4);
    stage.finish();
}

/// Where the SYN-ACK was not captured, what comes for good counts all the same.
#[test]
fn syn_data_of_unknown_fate_give_way_too() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"evil", 0);
    stage.client(0, 0, "good");
    assert_eq!(stage.both().0, "good");
    assert_eq!(stage.table.counters().conflicting, 4);
    stage.finish();
}

/// But if the sender continues after them, the receiver accepted them.
#[test]
fn syn_data_count_when_the_sender_goes_on_behind_them() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"GET", 0);
    stage.client(3, 0, " /");
    assert_eq!(stage.both().0, "GET /");
    stage.finish();
}

/// Never acknowledged: they are on the ledger as unfinished, and no bytes of the stream.
#[test]
fn unacknowledged_syn_data_are_not_reported() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"GET", 0);
    stage.finish();
    assert_eq!(stage.both().0, ".capture");
    assert_eq!(stage.table.counters().unfinished, 3);
}

/// Data in the SYN-ACK wait for their acknowledgement as well (Zeek's trace payload-synack).
#[test]
fn data_in_a_syn_ack_wait_until_they_are_acknowledged() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"220", 0);
    assert_eq!(stage.both().1, "");
    stage.client(0, 3, "");
    assert_eq!(stage.both().1, "220");
    stage.finish();
}

/// Bytes before the stream's present offset were reported already: their second content does not count.
#[test]
fn old_sequence_numbers_change_nothing() {
    let mut stage = Stage::open();
    stage.client(0, 0, "good");
    stage.client(0, 0, "evil");
    stage.client(-4, 0, "evilgood");
    assert_eq!(stage.both().0, "good");
    stage.finish();
}

/// A wild sequence number is in no receiver's window: it is not waited for, and makes no gap.
#[test]
fn wild_sequence_numbers_are_not_taken() {
    let mut stage = Stage::open();
    stage.client(1 << 30, 0, "evil");
    stage.client(-(1 << 30), 0, "evil");
    stage.wait(4 * S);
    stage.client(0, 0, "good");
    assert_eq!(stage.both().0, "good");
    assert_eq!(stage.table.counters().out_of_reach, 8);
    assert_eq!(stage.table.counters().gap, 0);
    stage.finish();
}

/// A segment beyond the largest window is counted and held: captures miss window scales and whole sides, so windows
/// are no ground to drop anything.
#[test]
fn a_segment_beyond_every_window_is_counted() {
    let mut stage = Stage::open();
    stage.window[1] = 1;
    stage.server(0, 0, "");
    stage.client(1 << 20, 0, "x");
    assert_eq!(stage.table.counters().window_exceeded, 1);
    stage.finish();
}

/// Overlap with the later part of what is held: first wins, as with BSD, Linux for most cases, Zeek and Wireshark.
#[test]
fn of_two_contents_for_held_bytes_the_first_counts() {
    let mut stage = Stage::open();
    stage.client(2, 0, "good");
    stage.client(1, 0, "EVILEV");
    assert_eq!(stage.both().0, "");
    stage.client(0, 0, "a");
    assert_eq!(stage.both().0, "aEgoodV");
    let counters = stage.table.counters();
    assert_eq!((counters.duplicate, counters.conflicting, counters.overlap_conflicts), (4, 4, 1));
    stage.finish();
}

/// The same with the new segment in order: what was held first still wins.
#[test]
fn a_segment_in_order_does_not_overwrite_what_is_held() {
    let mut stage = Stage::open();
    stage.client(3, 0, "good");
    stage.client(0, 0, "abcEVILhi");
    assert_eq!(stage.both().0, "abcgoodhi");
    assert_eq!(stage.table.counters().conflicting, 4);
    stage.finish();
}

/// Equal contents are no conflict.
#[test]
fn overlaps_that_agree_are_only_duplicates() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    stage.client(1, 0, "bcdefg");
    stage.client(0, 0, "abcdefgh");
    assert_eq!(stage.both().0, "abcdefgh");
    let counters = stage.table.counters();
    assert_eq!((counters.duplicate, counters.conflicting), (3 + 6, 0));
    stage.finish();
}

/// One-byte segments, in reverse, with a copy of other content behind each one.
#[test]
fn one_byte_segments_with_interleaved_copies_are_put_in_order() {
    let mut stage = Stage::open();
    for (at, byte) in "GET / HTTP/1.1".char_indices().rev() {
        stage.client(at as i64, 0, &byte.to_string());
        stage.client(at as i64, 0, "X");
    }
    assert_eq!(stage.both().0, "GET / HTTP/1.1");
    assert_eq!(stage.table.counters().conflicting, 13);
    stage.finish();
}

/// Sequence numbers wrap, also in the middle of a segment.
#[test]
fn sequence_numbers_wrap() {
    let mut stage = Stage::new();
    stage.isn = [u32::MAX - 3, u32::MAX];
    stage.handshake();
    stage.client(4, 0, "efgh");
    stage.client(0, 0, "abcd");
    stage.server(0, 8, "ok");
    stage.client(8, 2, "ij");
    assert_eq!(stage.both(), ("abcdefghij", "ok"));
    stage.finish();
}

/// A reset outside the window is not taken by its receiver (RFC 9293, section 3.5.3).
#[test]
fn a_reset_with_a_bad_sequence_number_changes_nothing() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.server(0, 3, "");
    for at in [-1000, 1, 2, 3 + 70_000, 1 << 30] {
        stage.send(Who::Client, RST, at, 0, b"", 0);
    }
    stage.client(3, 0, " /");
    assert_eq!(stage.both().0, "GET /");
    assert_eq!(stage.table.counters().rst_invalid, 5);
    stage.finish();
}

/// A reset that a SYN did not ask for.
#[test]
fn a_reset_that_does_not_acknowledge_the_syn_changes_nothing() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Server, RST | ACK, -1, 5000, b"", 0);
    stage.send(Who::Server, RST, -1, 0, b"", 0);
    assert_eq!(stage.table.counters().rst_invalid, 2);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.client(0, 0, "GET");
    assert_eq!(stage.both().0, "GET");
    stage.finish();
}

/// Text in a reset is no part of the stream (RFC 9293, section 3.5.3; suricata-verify bug-6244).
#[test]
fn data_in_a_reset_are_not_reported() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Client, RST | ACK, 3, 0, b"bye", 0);
    assert_eq!(stage.both().0, "GET.reset");
    assert_eq!(stage.table.counters().in_reset, 3);
    stage.finish();
}

/// An injected reset that is good in every way ends the connection; traffic that goes on for more than the 5 s is
/// picked up anew (Zeek's trace rst-inject-rae).
#[test]
fn traffic_that_survives_a_reset_is_picked_up_again() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Server, RST, 0, 0, b"", 0);
    for i in 0..60 {
        stage.client(3 + 2 * i, 0, "xy");
        stage.wait(100 * MS);
    }
    assert_eq!(stage.both().0, "GET.reset");
    assert_eq!(stage.output(2, Side::First), "xyxyxyxyxyxyxyxyxyxy");
    assert_eq!(stage.table.counters().after_reset, 100);
    stage.finish();
}

/// Held bytes are reported at the reset, since they were sent.
#[test]
fn a_reset_flushes_what_is_held() {
    let mut stage = Stage::open();
    stage.client(3, 0, "def");
    stage.send(Who::Client, RST, 6, 0, b"", 0);
    assert_eq!(stage.both().0, "", "what is missing may still come");
    stage.wait(300 * MS);
    assert_eq!(stage.both().0, "[3]def.reset");
    stage.finish();
}

/// A FIN below the reported offset cannot be the stream's end.
#[test]
fn a_fin_with_an_old_sequence_number_changes_nothing() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Client, FIN | ACK, 0, 0, b"", 0);
    stage.client(3, 0, " /");
    assert_eq!(stage.both().0, "GET /");
    assert_eq!(stage.table.counters().fin_invalid, 1);
    stage.finish();
}

/// A FIN behind a hole waits for the hole; if the receiver acknowledges bytes behind it, it was forged.
#[test]
fn a_forged_fin_ahead_is_taken_back_when_bytes_behind_it_are_acknowledged() {
    let mut stage = Stage::open();
    stage.send(Who::Client, FIN | ACK, 4, 0, b"", 0);
    stage.client(0, 0, "ab");
    stage.server(0, 8, "");
    stage.client(2, 0, "cdefgh");
    assert_eq!(stage.both().0, "abcdefgh");
    assert_eq!(stage.table.counters().fin_invalid, 1);
    stage.finish();
}

/// Nothing comes behind a FIN.
#[test]
fn data_after_the_fin_are_not_reported() {
    let mut stage = Stage::open();
    stage.send(Who::Client, FIN | ACK, 4, 0, b"", 0);
    stage.client(0, 0, "goodevil");
    stage.client(8, 0, "evil");
    assert_eq!(stage.both().0, "good.fin");
    assert_eq!(stage.table.counters().behind_fin, 4);
    assert_eq!(stage.table.counters().late, 4);
    stage.finish();
}

/// A retransmitted FIN ends nothing twice (Zeek's trace fin_retransmission).
#[test]
fn a_repeated_fin_is_reported_once() {
    let mut stage = Stage::open();
    stage.send(Who::Client, FIN | ACK, 0, 0, b"abc", 0);
    stage.send(Who::Client, FIN | ACK, 0, 0, b"abc", 0);
    stage.send(Who::Client, FIN | ACK, 3, 0, b"", 0);
    assert_eq!(stage.both().0, "abc.fin");
    assert_eq!(stage.table.counters().fin_invalid, 0);
    assert_eq!(stage.table.counters().duplicate, 3);
    stage.finish();
}

/// The other side may go on after a FIN.
#[test]
fn a_half_closed_connection_goes_on() {
    let mut stage = Stage::open();
    stage.send(Who::Client, FIN | ACK, 0, 0, b"GET", 0);
    for i in 0..3 {
        stage.server(i * 3, 4, "200");
    }
    assert_eq!(stage.order(), "1<GET 1<. 1>200 1>200 1>200");
    stage.finish();
}

/// A SYN with another number in mid-connection is answered by a challenge ACK (RFC 5961) and otherwise ignored: it
/// must not desynchronise the monitor.
#[test]
fn a_forged_syn_does_not_desynchronise() {
    let mut stage = Stage::open();
    stage.client(0, 0, "GET");
    stage.send(Who::Client, SYN, 100_000_000, 0, b"", 0);
    stage.send(Who::Client, SYN, 10, 0, b"evil", 0);
    stage.server(0, 3, "");
    stage.client(3, 0, " /");
    assert_eq!(stage.both().0, "GET /");
    assert_eq!(stage.table.counters().syn_mismatched, 2);
    assert_eq!(stage.table.counters().connections, 1);
    stage.finish();
}

/// If the server answers it, the ports do have a new owner: the old connection ends, and all that it held is reported.
#[test]
fn an_answered_syn_takes_the_ports() {
    let mut stage = Stage::open();
    stage.client(0, 0, "old");
    stage.client(5, 0, "held");
    stage.isn = [900_000_000, 800_000_000];
    stage.handshake();
    stage.client(0, 0, "new");
    stage.server(0, 3, "answer");
    assert_eq!(stage.both(), ("old[2]held.reused", ".reused"));
    assert_eq!((stage.output(2, Side::First), stage.output(2, Side::Second)), ("new", "answer"));
    assert_eq!(stage.opener(2), Opener::First);
    assert!(!stage.sink.seen[&2].conn.info.midstream);
    stage.finish();
}

/// After both FINs the ports are free, also for the roles turned round (suricata-verify tcp-stream-after-swap).
#[test]
fn ports_are_reused_after_the_end() {
    let mut stage = Stage::open();
    stage.send(Who::Client, FIN | ACK, 0, 0, b"", 0);
    stage.send(Who::Server, FIN | ACK, 0, 1, b"", 0);
    stage.isn = [70_000, 90_000];
    stage.send(Who::Server, SYN, -1, 0, b"", 0);
    stage.send(Who::Client, SYN | ACK, -1, 0, b"", 0);
    stage.server(0, 0, "new");
    assert_eq!(stage.both(), (".fin", ".fin"));
    assert_eq!(stage.output(2, Side::First), "new");
    assert_eq!(stage.sink.seen[&2].conn.info.endpoints[0].port, 80);
    stage.finish();
}

/// The same after a reset: TCB tear-down then reuse.
#[test]
fn ports_are_reused_after_a_reset() {
    let mut stage = Stage::open();
    stage.client(0, 0, "old");
    stage.send(Who::Client, RST, 3, 0, b"", 0);
    stage.isn = [70_000, 90_000];
    stage.handshake();
    stage.client(0, 0, "new");
    assert_eq!(stage.both(), ("old.reset", ".reset"));
    assert_eq!(stage.output(2, Side::First), "new");
    stage.finish();
}

/// New owners whose SYN was not captured are believed when both sides agree on the new numbers.
#[test]
fn ports_reused_without_a_captured_syn_are_found_by_agreement() {
    let mut stage = Stage::open();
    stage.client(0, 0, "old");
    stage.isn = [900_000_000, 800_000_000];
    stage.client(0, 0, "lost");
    stage.server(0, 4, "answer");
    stage.client(4, 6, "new");
    stage.wait(300 * MS);
    assert_eq!(stage.both().0, "old.reused");
    assert_eq!((stage.output(2, Side::First), stage.output(2, Side::Second)), ("new", "answer"));
    assert!(stage.sink.seen[&2].conn.info.midstream);
    stage.finish();
}

/// The same SYN again is a retransmission.
#[test]
fn a_repeated_syn_is_a_retransmission() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.client(0, 0, "GET");
    assert_eq!(stage.both().0, "GET");
    assert_eq!(stage.table.counters().syn_repeated, 2);
    assert_eq!(stage.table.counters().connections, 1);
    stage.finish();
}

/// A SYN-ACK that acknowledges something else is answered with RST by the client, and changes nothing.
#[test]
fn a_syn_ack_for_another_syn_changes_nothing() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.isn[1] = 777;
    stage.send(Who::Server, SYN | ACK, -1, 500, b"evil", 0);
    stage.isn[1] = 5000;
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    assert_eq!(stage.both(), ("GET", "200"));
    assert_eq!(stage.table.counters().syn_ack_invalid, 1);
    stage.finish();
}

/// A second SYN-ACK with another number is a forgery or comes too late; the first stands. (Quantum insert; Zeek's trace
/// qi_internet_SYNACK.)
#[test]
fn a_second_syn_ack_with_another_number_changes_nothing() {
    let mut stage = Stage::open();
    stage.isn[1] = 777_000_000;
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.isn[1] = 5000;
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    assert_eq!(stage.both(), ("GET", "200"));
    stage.finish();
}

/// A SYN-ACK from the wrong side changes nothing.
#[test]
fn a_syn_ack_from_the_wrong_side_changes_nothing() {
    let mut stage = Stage::open();
    stage.send(Who::Client, SYN | ACK, 500, 0, b"", 0);
    stage.client(0, 0, "GET");
    assert_eq!(stage.both().0, "GET");
    assert_eq!(stage.opener(1), Opener::First);
    stage.finish();
}

/// Where the SYN was not captured, the SYN-ACK shows who opened and where both streams begin.
#[test]
fn a_syn_ack_first_identifies_the_opener() {
    let mut stage = Stage::new();
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.client(3, 0, "def");
    stage.client(0, 0, "abc");
    stage.server(0, 6, "200");
    // The server was seen first.
    assert_eq!(stage.both(), ("200", "abcdef"));
    assert_eq!(stage.opener(1), Opener::Second);
    assert!(!stage.sink.seen[&1].conn.info.midstream);
    stage.finish();
}

/// The handshake in the wrong order (Zeek's trace handshake-reorder).
#[test]
fn a_handshake_in_the_wrong_order_is_understood() {
    let mut stage = Stage::new();
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    assert_eq!(stage.both(), ("200", "GET"));
    assert_eq!(stage.opener(1), Opener::Second);
    stage.finish();
}

/// Data captured before the handshake keep their offset.
#[test]
fn a_handshake_captured_after_the_data_is_understood() {
    let mut stage = Stage::new();
    stage.client(0, 0, "GET");
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.server(0, 3, "200");
    assert_eq!(stage.order(), "1<GET 1>200");
    stage.finish();
}

/// Both ends may open at once (RFC 9293, section 3.5, figure 7).
#[test]
fn a_simultaneous_open_is_one_connection() {
    let mut stage = Stage::new();
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Server, SYN, -1, 0, b"", 0);
    stage.send(Who::Client, SYN | ACK, -1, 0, b"", 0);
    stage.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    stage.client(0, 0, "GET");
    stage.server(0, 3, "200");
    assert_eq!(stage.both(), ("GET", "200"));
    assert_eq!(stage.opener(1), Opener::First);
    assert_eq!(stage.table.counters().connections, 1);
    stage.finish();
}

/// The four- and five-way handshake reverses the SYN-ACK; the first SYN still shows who opened
/// (suricata-verify tcp-split-handshake).
#[test]
fn a_split_handshake_is_one_connection() {
    for five in [false, true] {
        let mut stage = Stage::new();
        stage.send(Who::Client, SYN, -1, 0, b"", 0);
        if five {
            stage.send(Who::Server, ACK, -1, 0, b"", 0);
        }
        stage.send(Who::Server, SYN, -1, 0, b"", 0);
        stage.send(Who::Client, SYN | ACK, -1, 0, b"", 0);
        stage.send(Who::Server, ACK, 0, 0, b"", 0);
        stage.client(0, 0, "GET");
        stage.server(0, 3, "200");
        assert_eq!(stage.both(), ("GET", "200"), "five: {five}");
        assert_eq!(stage.opener(1), Opener::First);
        stage.finish();
    }
}

/// An acknowledgement of what was never sent is not believed far ahead, and near by it only ends waiting: the bytes
/// that arrive are still reported.
#[test]
fn a_forged_acknowledgement_loses_nothing() {
    for ahead in [1000, 100_000_000] {
        let mut stage = Stage::open();
        stage.client(0, ahead, "GET");
        stage.wait(300 * MS);
        stage.server(0, 3, "200");
        stage.server(3, 3, " OK");
        assert_eq!(stage.both(), ("GET", "200 OK"), "{ahead}");
        assert_eq!(stage.table.counters().gap, 0);
        stage.finish();
    }
}

/// A host that talks to itself from one port: both directions look alike. Nothing breaks, nothing is lost.
#[test]
fn a_connection_of_a_port_with_itself_is_accounted_for() {
    use picotap::packet::{Segment, TcpFlags};
    let mut stage = Stage::new();
    let same = support::flow::endpoint(1, 80);
    for seq in [100, 103, 50] {
        let segment = Segment {
            time: 0,
            interface: 0,
            realm: 0,
            source: same,
            destination: same,
            seq,
            ack: 100,
            flags: TcpFlags(ACK),
            window: 100,
            payload: b"abc",
            missing: 0,
        };
        stage.table.segment(&segment, &mut stage.sink);
    }
    stage.finish();
    assert_eq!(stage.both().0, "abc[47]abcabc.capture");
}

/// Equal addresses in two virtual networks are two connections.
#[test]
fn realms_keep_connections_apart() {
    use picotap::packet::{Segment, TcpFlags};
    let mut stage = Stage::new();
    for realm in [0, 1, 2] {
        let segment = Segment {
            time: 0,
            interface: 0,
            realm,
            source: support::flow::endpoint(1, 4000),
            destination: support::flow::endpoint(2, 80),
            seq: 1,
            ack: 1,
            flags: TcpFlags(ACK),
            window: 100,
            payload: b"abc",
            missing: 0,
        };
        stage.table.segment(&segment, &mut stage.sink);
    }
    assert_eq!(stage.table.len(), 3);
    stage.finish();
}
