//! The cost of a fault: a slot of 64 connections of which none, or one, makes the guest fail. The guest does nothing but
//! fail, so that the difference is containment: two new instances, two calls of the event alone, and the rest again.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fed::{Nothing, slot};
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::Driver;
use picotap::sandbox::engine::Engine;

#[path = "../tests/support/fed.rs"]
mod fed;
#[path = "../tests/support/wat_guest.rs"]
#[expect(dead_code, reason = "the module is the tests', which use all of it")]
mod wat_guest;

const CONNECTIONS: u64 = 64;

fn fault(c: &mut Criterion) {
    let mut group = c.benchmark_group("fault");
    group.throughput(Throughput::Elements(1));
    for (name, bug, poisoned) in [
        ("none", "unreachable", 0),
        ("trap", "unreachable", CONNECTIONS / 2),
        ("reply", "(i32.store offset=12 (local.get $out) (i32.const -1))", CONNECTIONS / 2),
    ] {
        let engine = Engine::new(8).expect("an engine");
        let module = wat::parse_str(wat_guest::guest_with(bug)).expect("good text");
        let parser = Arc::new(engine.load(&module).expect("a parser"));
        let mut driver: Driver<()> = Driver::new(parser, Bounds::default()).expect("an instance");
        let (healthy, poison) = ([b'x'; 700], wat_guest::POISON);
        let slot = slot(CONNECTIONS, |number| if number == poisoned { poison } else { &healthy });
        group.bench_function(name, |b| b.iter(|| driver.process(&slot, &mut Nothing)));
        let counters = driver.counters();
        assert_eq!(counters.faults > 0, poisoned != 0, "{counters:?}");
    }
    group.finish();
}

criterion_group!(benches, fault);
criterion_main!(benches);
