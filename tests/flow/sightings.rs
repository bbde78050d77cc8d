//! A connection that is seen elsewhere already is left out, and nothing else.

use crate::support;
use picotap::flow::{Config, Sightings, Table};
use support::flow::{ACK, FIN, RST, S, SYN, Stage, Who};

/// What one capture thread, or one address, shows of the same traffic. Stages share what was seen.
fn stages(ports: &[u16]) -> Vec<Stage> {
    let all = Sightings::default();
    let stage = |(producer, port): (u16, &u16)| {
        let config = Config { producer, producers: ports.len() as u16, ..Config::default() };
        let mut stage = Stage::with(config.clone());
        stage.table = Table::new(config).leaving_out(all.clone());
        stage.ports[1] = *port;
        stage
    };
    (0..).zip(ports).map(stage).collect()
}

fn texts(stage: &Stage) -> String {
    let sides =
        stage.sink.seen.values().map(|seen| seen.sides.iter().map(|side| side.text.as_str()).collect::<String>());
    sides.collect::<Vec<_>>().join(" ")
}

/// Each takes a segment, in this order.
fn each(stages: &mut [Stage], order: &[usize], (who, flags, at, ack, payload): (Who, u8, i64, i64, &str)) {
    order.iter().for_each(|index| stages[*index].send(who, flags, at, ack, payload.as_bytes(), 0));
}

const CLIENT: [usize; 2] = [0, 1];
const SERVER: [usize; 2] = [1, 0];

fn handshake(stages: &mut [Stage]) {
    each(stages, &CLIENT, (Who::Client, SYN, -1, 0, ""));
    each(stages, &SERVER, (Who::Server, SYN | ACK, -1, 0, ""));
    each(stages, &CLIENT, (Who::Client, ACK, 0, 0, ""));
}

fn exchange(stages: &mut [Stage], at: i64) {
    each(stages, &CLIENT, (Who::Client, ACK, at, at, "GET"));
    each(stages, &SERVER, (Who::Server, ACK, at, at + 3, "200"));
}

#[test]
fn the_second_sighting_is_left_out_to_its_end() {
    let mut both = stages(&[80, 8080]);
    handshake(&mut both);
    exchange(&mut both, 0);
    // Longer than it lingers after its end.
    both.iter_mut().for_each(|stage| stage.wait(60 * S));
    exchange(&mut both, 3);
    each(&mut both, &CLIENT, (Who::Client, FIN | ACK, 6, 6, ""));
    each(&mut both, &SERVER, (Who::Server, FIN | ACK, 6, 7, ""));
    each(&mut both, &CLIENT, (Who::Client, ACK, 7, 7, ""));
    assert_eq!(both.iter().map(texts).collect::<Vec<_>>(), [".fin.fin", "GETGET.fin200200.fin"]);
    let counters = both[0].table.counters();
    assert_eq!((counters.seen_again, counters.seen_again_segments, counters.seen_again_bytes), (1, 9, 12));
    both.iter_mut().for_each(|stage| stage.wait(10 * S));
    assert!(both[0].table.is_empty(), "it is forgotten like any connection that has ended");
    both.iter_mut().for_each(Stage::finish);
}

#[test]
fn one_without_a_start_is_known_by_its_first_segments() {
    let mut both = stages(&[80, 8080]);
    exchange(&mut both, 0);
    exchange(&mut both, 3);
    // In mid-stream all is held at first.
    both.iter_mut().for_each(|stage| stage.wait(S));
    assert_eq!(both.iter().map(texts).collect::<Vec<_>>(), ["GETGET200200", ""]);
    both.iter_mut().for_each(Stage::finish);
}

/// What was handed on before it was known stays.
#[test]
fn one_that_had_shown_more_when_it_was_joined_is_the_first() {
    let mut both = stages(&[80, 8080]);
    // The answer to something before was captured only there.
    both[1].server(-3, 0, "end");
    exchange(&mut both, 0);
    exchange(&mut both, 3);
    // In mid-stream all is held at first.
    both.iter_mut().for_each(|stage| stage.wait(S));
    assert_eq!(both.iter().map(texts).collect::<Vec<_>>(), ["GET", "end200200GETGET"]);
    both.iter_mut().for_each(Stage::finish);
}

#[test]
fn where_the_directions_take_different_interfaces_both_stay() {
    let mut both = stages(&[80, 80]);
    for (index, steps) in [
        [(Who::Client, SYN, -1, 0, ""), (Who::Client, ACK, 0, 0, ""), (Who::Client, ACK, 0, 0, "GET")].as_slice(),
        &[(Who::Server, SYN | ACK, -1, 0, ""), (Who::Server, ACK, 0, 3, "200")],
    ]
    .into_iter()
    .enumerate()
    {
        steps.iter().for_each(|step| each(&mut both, &[index], *step));
    }
    both.iter_mut().for_each(|stage| stage.wait(S));
    assert_eq!(both.iter().map(texts).collect::<Vec<_>>(), ["GET", "200"]);
    both.iter_mut().for_each(Stage::finish);
}

#[test]
fn retransmissions_and_other_connections_stay() {
    let mut both = stages(&[80, 8080]);
    both[1].isn = [7, 8];
    for stage in &mut both {
        stage.handshake();
        stage.handshake();
        for _ in 0..3 {
            stage.client(0, 0, "GET");
            stage.server(0, 3, "200");
        }
    }
    for mut stage in both {
        assert_eq!(texts(&stage), "GET200");
        assert_eq!(stage.table.counters().seen_again_segments, 0);
        stage.finish();
    }
}

#[test]
fn ports_of_one_that_is_left_out_may_be_taken_again() {
    for by_reset in [true, false] {
        let mut both = stages(&[80, 8080]);
        handshake(&mut both);
        if by_reset {
            each(&mut both, &CLIENT, (Who::Client, RST | ACK, 0, 0, ""));
        }
        both[0].isn = [70_000, 80_000];
        both[0].handshake();
        both[0].client(0, 0, "NEW");
        assert_eq!(both[0].sink.seen.values().last().unwrap().sides[0].text, "NEW");
        both.iter_mut().for_each(Stage::finish);
    }
}

#[test]
fn the_same_numbers_much_later_are_another_connection() {
    let mut both = stages(&[80, 8080]);
    both[1].handshake();
    both[0].time += 2 * S;
    both[0].handshake();
    both[0].client(0, 0, "GET");
    assert_eq!(texts(&both[0]), "GET");
    both.iter_mut().for_each(Stage::finish);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut both = stages(&[80, 8080]);
    for number in 0..70_000_u32 {
        both[1].isn = [number * 7, number * 11 + 1];
        both[1].ports = [(number % 60_000) as u16 + 1000, (number / 60_000) as u16];
        both[1].send(Who::Server, SYN | ACK, -1, 0, b"", 0);
    }
    let mut left_out = |number: u32| {
        both[0].time = both[1].time;
        both[0].isn = [number * 7, number * 11 + 1];
        both[0].ports = [(number % 60_000) as u16 + 1000, (number / 60_000) as u16];
        both[0].send(Who::Server, SYN | ACK, -1, 0, b"", 0);
        both[0].table.counters().seen_again
    };
    assert_eq!([left_out(69_999), left_out(4464), left_out(4463), left_out(0)], [1, 2, 2, 2]);
}
