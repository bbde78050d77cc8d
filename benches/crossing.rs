//! The cost of a request on its way into the sandbox and back: encoded, copied in, parsed, the reply checked and read. An empty
//! guest, which reads nothing, shows the share of the crossing; native parsers show the cost of parsing without it.
//!
//! The request is the 703 bytes of picohttpparser's own benchmark, on 64 keep-alive connections at once.
#![expect(clippy::expect_used, reason = "a bench may fail by panic")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use picotap::abi;
use picotap::batch::{Batcher, CollectSlots, Slot};
use picotap::http::record::Record;
use picotap::sandbox::BUILTIN_GUEST;
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::{Driver, Receiver};
use picotap::sandbox::engine::Engine;
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::stream::{Connection, EndReason, OpenConnection, Position, Side, Sink};

#[path = "../src/parse/native.rs"]
mod native;
#[path = "../tests/support/wat_guest.rs"]
#[expect(dead_code, reason = "shared with a test, which uses all of it")]
mod wat_guest;

const CONNECTIONS: u64 = 64;

/// A slot with one request on each connection.
fn slot(request: &[u8]) -> Box<Slot> {
    let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
    for number in 1..=CONNECTIONS {
        let mut conn = OpenConnection::synthetic(number);
        let at = Position { offset: 0, peer_acked: 0, time: 1 };
        batcher.bytes(&mut conn, Side::First, at, true, request);
    }
    batcher.flush();
    batcher.deliverer().0.remove(0)
}

/// Counts records.
#[derive(Default)]
struct Count(u64);

impl Receiver for Count {
    type State = ();
    fn record(&mut self, _: &Connection, (): &mut (), record: &Record<'_>) {
        self.0 += 1;
        black_box(record);
    }
    fn closed(&mut self, _: &Connection, (): &mut (), _: [u64; 2], _: EndReason) {}
    fn skip(&mut self, _: &Connection, _: Side, _: u64) {}
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, fault: &Fault) {
        panic!("{fault}");
    }
}

fn crossing(c: &mut Criterion) {
    let [_, _, request] = picotap::parse::BUILT_IN;
    let engine = Engine::new(4).expect("an engine");
    let empty = wat::parse_str(wat_guest::guest(wat_guest::HONEST)).expect("a module");
    let mut group = c.benchmark_group("crossing");
    group.throughput(Throughput::Elements(CONNECTIONS));
    for (name, wasm, records) in [("empty_guest", &empty[..], 0), ("parser", BUILTIN_GUEST, 2)] {
        let parser = Arc::new(engine.load(wasm).expect("a parser"));
        let mut driver = Driver::new(parser, Bounds::default()).expect("an instance");
        let mut slot = slot(request);
        let (mut count, mut rounds) = (Count::default(), 0);
        group.bench_function(name, |b| {
            b.iter(|| {
                driver.process(&slot, &mut count);
                rounds += 1;
                for event in &mut slot.events {
                    event.at.offset += request.len() as u64;
                }
            });
        });
        assert_eq!(count.0, rounds * CONNECTIONS * records, "records of {name}");
    }
    group.bench_function("native_picohttpparser", |b| {
        b.iter(|| (0..CONNECTIONS).fold(0, |sum, _| sum ^ native::picohttpparser(black_box(request))));
    });
    group.bench_function("native_httparse", |b| {
        b.iter(|| (0..CONNECTIONS).fold(false, |sum, _| sum ^ native::httparse(black_box(request))));
    });
    group.finish();
}

criterion_group!(benches, crossing);
criterion_main!(benches);
