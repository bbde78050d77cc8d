//! What an attacker can make the flow table take: memory below its limit, and nothing from those who behave.

use crate::support;
use picotap::flow::{Config, Table};
use picotap::packet::{Segment, TcpFlags};
use picotap::stream::{EndReason, OpenConnection, Position, Side, Sink};
use support::flow::{ACK, FIN, MS, S, SYN, Stage, Who, endpoint};

/// Counts ends; for tests that are too large for a record.
#[derive(Default)]
struct Count {
    bytes: u64,
    ends: u64,
}

impl Sink for Count {
    fn bytes(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: bool, payload: &[u8]) {
        self.bytes += payload.len() as u64;
    }
    fn skipped(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: u64, _: u64) {}
    fn end(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: EndReason) {
        self.ends += 1;
    }
}

fn segment(client: u32, port: u16, flags: u8, seq: u32, payload: &[u8], time: i64) -> Segment<'_> {
    Segment {
        time,
        interface: 0,
        realm: 0,
        source: endpoint(client, port),
        destination: endpoint(2, 80),
        seq,
        ack: 1,
        flags: TcpFlags(flags),
        window: 65535,
        payload,
        missing: 0,
    }
}

fn balanced(table: &Table) {
    let (taken, accounted) = table.counters().payload_balance();
    assert_eq!(taken, accounted, "{:?}", table.counters());
}

#[test]
fn a_flood_of_five_million_syns_stays_below_the_limit_and_costs_nobody_else() {
    let limit = Config::default().memory_limit;
    let mut stage = Stage::new();
    stage.handshake();
    let mut expected = String::new();
    for flood in 0..5_000_000_u32 {
        let syn = segment(100 + (flood >> 16), (flood & 0xffff) as u16, SYN, flood, b"", stage.time + i64::from(flood));
        stage.table.segment(&syn, &mut Count::default());
        if flood % 100_000 == 0 {
            assert!(stage.table.memory_used() <= limit, "{}", stage.table.memory_used());
            stage.client(expected.len() as i64, 0, "GET");
            expected.push_str("GET");
        }
    }
    assert!(stage.table.memory_used() <= limit, "{}", stage.table.memory_used());
    assert!(stage.table.memory_used() > limit / 2, "the limit is put to use");
    assert_eq!(stage.both().0, expected);
    assert_eq!(stage.table.counters().connections, 5_000_001);
    assert_eq!(stage.table.counters().evicted_idle + stage.table.counters().evicted_hole, 0);
    let mut count = Count::default();
    stage.table.finish(&mut count);
    assert_eq!(count.ends, 2 * stage.table.counters().ends_capture / 2);
    assert!(stage.table.is_empty());
}

#[test]
fn a_hole_on_every_connection_stays_below_the_limit() {
    let config = Config { memory_limit: 8 << 20, ..Config::default() };
    let limit = config.memory_limit;
    let mut table = Table::new(config);
    let mut sink = Count::default();
    let payload = [b'x'; 1460];
    let mut sent = 0;
    for client in 0..20_000_u32 {
        for at in [0, 1461, 4000, 8000] {
            let time = i64::from(client) * 1000;
            let held = segment(100 + client, 1000, ACK, 1000 + at, if at == 0 { b"xx" } else { &payload }, time);
            sent += held.payload.len() as u64;
            table.segment(&held, &mut sink);
            assert!(table.memory_used() <= limit, "{} at {client}", table.memory_used());
        }
    }
    assert!(table.counters().held > 0 && table.counters().gaps_memory > 0);
    table.finish(&mut sink);
    balanced(&table);
    // Nothing that came was thrown away to stay there.
    assert_eq!(sink.bytes, sent);
    assert_eq!(table.counters().held, 0);
}

#[test]
fn one_byte_segments_behind_holes_stay_below_the_bounds() {
    let mut stage = Stage::open();
    let before = stage.table.memory_used();
    for at in 0..10_000 {
        stage.client(1 + 2 * at, 0, "x");
        assert!(stage.table.memory_used() - before < 20_000, "{}", stage.table.memory_used() - before);
    }
    stage.finish();
    assert_eq!(stage.table.counters().handed_on, 10_000);
}

#[test]
fn copies_that_acknowledge_ever_less_cannot_split_what_is_held_without_bound() {
    let mut stage = Stage::open();
    stage.client(1, 60_000, &"x".repeat(1000));
    for at in 0..500 {
        stage.client(1 + 2 * at, 60_000 - at, "x");
    }
    assert!(stage.table.counters().gaps_bound > 0);
    stage.client(0, 0, "x");
    stage.finish();
    assert_eq!(stage.table.counters().handed_on, 1000);
}

#[test]
fn too_many_connections_have_the_longest_idle_one_evicted() {
    let mut stage = Stage::with(Config { max_connections: 3, ..Config::default() });
    for port in [1, 2, 3] {
        stage.ports[0] = port;
        stage.client(0, 0, "GET");
        stage.time += S;
    }
    stage.ports[0] = 1;
    stage.client(3, 0, "GET");
    stage.ports[0] = 4;
    stage.client(0, 0, "GET");
    assert_eq!(stage.output(1, Side::First), "GETGET");
    assert_eq!(stage.output(2, Side::First), "GET.evicted");
    assert_eq!(stage.table.counters().evicted_idle, 1);
    stage.finish();
}

#[test]
fn the_closed_go_first_then_lone_syns_then_holes() {
    let mut stage = Stage::with(Config { max_connections: 4, ..Config::default() });
    let first = Side::First;
    stage.ports[0] = 1;
    stage.client(0, 0, "open");
    stage.ports[0] = 2;
    stage.client(0, 0, "ab");
    stage.wait(300 * MS);
    stage.client(3, 0, "hole");
    stage.ports[0] = 3;
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.ports[0] = 4;
    stage.send(Who::Client, SYN, -1, 0, b"", 0);
    stage.send(Who::Server, support::flow::RST | ACK, 0, 0, b"", 0);
    for port in 5..9 {
        stage.ports[0] = port;
        stage.client(0, 0, "new");
        stage.wait(300 * MS);
    }
    let counters = stage.table.counters();
    let evicted = (counters.evicted_closed, counters.evicted_syn, counters.evicted_hole, counters.evicted_idle);
    assert_eq!(evicted, (1, 1, 1, 1));
    assert_eq!(stage.output(4, first), ".reset");
    assert_eq!(stage.output(3, first), ".evicted");
    assert_eq!(stage.output(2, first), "ab[1]hole.evicted");
    assert_eq!(stage.output(1, first), "open.evicted");
    stage.finish();
}

#[test]
fn memory_held_elsewhere_counts() {
    let mut stage = Stage::new();
    for port in 1..=40 {
        stage.ports[0] = port;
        stage.client(0, 0, "GET");
    }
    stage.wait(300 * MS);
    stage.table.set_external(1 << 40);
    for _ in 0..100 {
        stage.client(3, 0, "");
    }
    assert_eq!(stage.table.counters().evicted_idle, 16);
    // While others hold that much, nothing is held here.
    stage.client(4, 0, "late");
    assert_eq!(stage.table.counters().gaps_bound, 1);
    stage.table.set_external(0);
    stage.client(9, 0, "later");
    assert_eq!(stage.table.counters().gaps_bound, 1);
    stage.finish();
}

#[test]
fn a_jump_ahead_in_time_expires_everything_in_small_steps() {
    let mut table = Table::new(Config { time_jump: i64::MAX, ..Config::default() });
    let mut sink = Count::default();
    for client in 0..10_000 {
        table.segment(&segment(100 + client, 1000, SYN, 1000, b"", 0), &mut sink);
    }
    table.segment(&segment(1, 1000, ACK, 1000, b"GET", 4000 * S), &mut sink);
    assert!(sink.ends > 0 && sink.ends < 100, "{}", sink.ends);
    for _ in 0..10 {
        table.tick(4000 * S, &mut sink);
    }
    assert_eq!((sink.ends, table.len()), (20_000, 1));
    table.finish(&mut sink);
    balanced(&table);
}

#[test]
fn many_short_connections_leave_nothing_behind() {
    let mut stage = Stage::new();
    for round in 0..3000 {
        stage.ports[0] = 1000 + round;
        stage.time += 20_000_000;
        stage.handshake();
        stage.send(Who::Client, FIN | ACK, 0, 0, b"GET", 0);
        stage.send(Who::Server, FIN | ACK, 0, 4, b"200", 0);
    }
    // Some 250 linger for 5 s each.
    assert!(stage.table.len() < 300, "{}", stage.table.len());
    assert!(stage.table.memory_used() < 300_000, "{}", stage.table.memory_used());
    stage.finish();
    assert_eq!(stage.table.counters().ends_fin, 6000);
}
