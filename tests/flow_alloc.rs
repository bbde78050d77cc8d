//! Segments in order allocate nothing, and memory is as the table reports it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that fails may panic; sequence numbers wrap"
)]
#![allow(unsafe_code, reason = "a counting allocator is one")]

#[path = "support/flow.rs"]
mod flow_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use flow_support::{ACK, SYN, endpoint};
use picotap::flow::{Config, Table};
use picotap::packet::{Segment, TcpFlags};
use picotap::stream::{ConnectionId, EndReason, OpenConnection, Position, Side, Sink};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, with a count per thread.
struct Counting;

fn count(bytes: i64) {
    // After a thread's end there is nothing to count for.
    let _gone = CALLS.try_with(|calls| calls.set(calls.get() + u64::from(bytes > 0)));
    let _gone = BYTES.try_with(|total| total.set(total.get() + bytes));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as the caller vouches for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as the caller vouches for.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nothing;

impl Sink for Nothing {
    fn bytes(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: bool, _: &[u8]) {}
    fn skipped(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: u64, _: u64) {}
    fn end(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: EndReason) {}
}

fn send(table: &mut Table, turn: bool, port: u16, flags: u8, seq: u32, ack: u32, payload: &[u8]) {
    let ends = [endpoint(1, port), endpoint(2, 80)];
    let segment = Segment {
        time: 1_000_000_000,
        interface: 0,
        realm: 0,
        source: ends[usize::from(turn)],
        destination: ends[usize::from(!turn)],
        seq,
        ack,
        flags: TcpFlags(flags),
        window: 65535,
        payload,
        missing: 0,
    };
    table.segment(&segment, &mut Nothing);
}

fn shake(table: &mut Table, port: u16) {
    send(table, false, port, SYN, 99, 0, b"");
    send(table, true, port, SYN | ACK, 999, 100, b"");
    send(table, false, port, ACK, 100, 1000, b"");
}

#[test]
fn segments_in_order_allocate_nothing() {
    let mut table = Table::new(Config::default());
    let payload = [b'x'; 1000];
    for port in 1..100 {
        shake(&mut table, port);
    }
    table.skip(ConnectionId { handle: 7, number: 8 }, Side::Second, u64::MAX);
    let before = CALLS.get();
    for round in 0..100_u32 {
        for port in 1..100 {
            let (client, server) = (100 + 1000 * round, 1000 + 1000 * round);
            send(&mut table, false, port, ACK, client, server, &payload);
            send(&mut table, true, port, ACK, server, client + 1000, &payload);
            send(&mut table, false, port, ACK, client + 1000, server + 1000, b"");
        }
    }
    assert_eq!(CALLS.get() - before, 0);
    assert_eq!(table.counters().handed_on + table.counters().skipped, 2 * 99 * 100 * 1000);
    assert_eq!(table.counters().skipped, 100 * 1000);
}

#[test]
fn one_side_alone_allocates_nothing_either() {
    let mut table = Table::new(Config::default());
    let payload = [b'x'; 1000];
    // At first everything is held, in case that something before was captured late.
    for round in 0..100_u32 {
        send(&mut table, false, 1, ACK, 1000 + 1000 * round, 50 + round * 5000, &payload);
    }
    let before = CALLS.get();
    for round in 100..200_u32 {
        send(&mut table, false, 1, ACK, 1000 + 1000 * round, 50 + round * 5000, &payload);
    }
    assert_eq!(CALLS.get() - before, 0);
    assert_eq!(table.counters().handed_on, 200_000);
}

#[test]
fn the_table_takes_no_more_memory_than_it_says() {
    let before = BYTES.get();
    let mut table = Table::new(Config::default());
    for port in 1..20_000 {
        shake(&mut table, port);
        if port % 10 == 0 {
            for at in 1..20 {
                send(&mut table, false, port, ACK, 100 + 1500 * at, 1000, &[b'x'; 1460]);
            }
        }
    }
    let taken = u64::try_from(BYTES.get() - before).unwrap();
    let said = table.memory_used();
    assert!(taken <= said + 64_000, "{taken} taken, {said} said");
    assert!(taken + taken / 10 > said, "{taken} taken, {said} said");
    let plain = Config::default().memory_limit / 1000;
    assert!(plain > 0);
    table.finish(&mut Nothing);
    assert_eq!(table.counters().held, 0);
}

#[test]
fn a_plain_connection_takes_no_more_than_300_bytes() {
    let mut table = Table::new(Config::default());
    for port in 0..30_000 {
        shake(&mut table, port);
    }
    let each = table.memory_used() / 30_000;
    assert!(each <= 300, "{each}");
}
