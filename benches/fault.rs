//! What a fault costs: a slot of 64 connections of which none, or one, makes the guest fail. The guest is empty but for its
//! misdeed, so that the difference is containment: two fresh instances, two calls of the event alone, and the rest anew.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use picotap::batch::{Batcher, Facts, Shelf, Slot};
use picotap::flow::{Conn, EndReason, Place, Side, Sink};
use picotap::http::record::Record;
use picotap::sandbox::driver::{Closed, Driver, Receiver};
use picotap::sandbox::engine::Engine;
use picotap::sandbox::fault::Fault;
use picotap::sandbox::layout::Bounds;
use picotap::sandbox::quarantine::Poison;

#[path = "../tests/hostile/wat_guest.rs"]
#[expect(dead_code, reason = "the module is the tests', which use all of it")]
mod wat_guest;

const CONNECTIONS: u64 = 64;

struct Nothing;

impl Receiver for Nothing {
    type State = ();
    fn record(&mut self, _: &Facts, (): &mut (), _: &Record<'_>) {}
    fn closed(&mut self, _: &Facts, (): &mut (), _: Closed, _: i64) {}
    fn skip(&mut self, _: &Facts, _: u8, _: u64) {}
    fn poison(&mut self, _: &Poison) {}
    fn fault(&mut self, _: &Fault) {}
}

fn slot(poisoned: u64) -> Box<Slot> {
    let mut batcher = Batcher::new(1, i64::MAX, true, Shelf::default());
    for number in 1..=CONNECTIONS {
        let mut conn = Conn::by_hand(number);
        let place = |side, offset| Place { side, offset, peer_acked: None, time: 1 };
        let mut bytes = vec![b'x'; 700];
        if number == poisoned {
            bytes.splice(..wat_guest::POISON.len(), wat_guest::POISON.iter().copied());
        }
        batcher.bytes(&mut conn, place(Side::First, 0), true, &bytes);
        batcher.end(&mut conn, place(Side::First, 700), EndReason::Fin);
        batcher.end(&mut conn, place(Side::Second, 0), EndReason::Fin);
    }
    batcher.flush();
    batcher.deliverer().0.remove(0)
}

fn fault(c: &mut Criterion) {
    let mut group = c.benchmark_group("fault");
    group.throughput(Throughput::Elements(1));
    for (name, misdeed, poisoned) in [
        ("none", "unreachable", 0),
        ("trap", "unreachable", CONNECTIONS / 2),
        ("reply", "(i32.store offset=12 (local.get $out) (i32.const -1))", CONNECTIONS / 2),
    ] {
        let engine = Engine::new(8).expect("an engine");
        let module = wat::parse_str(wat_guest::guest_with(misdeed)).expect("good text");
        let parser = Arc::new(engine.load(&module).expect("a parser"));
        let mut driver: Driver<()> = Driver::new(parser, Bounds::default()).expect("an instance");
        let slot = slot(poisoned);
        group.bench_function(name, |b| b.iter(|| driver.process(&slot, &mut Nothing)));
        let counters = driver.counters();
        assert_eq!(counters.faults > 0, poisoned != 0, "{counters:?}");
    }
    group.finish();
}

criterion_group!(benches, fault);
criterion_main!(benches);
