//! The cost of the guest in wasmtime: one call of 64 events, each on a connection of its own. The only host work included is
//! the reset of the rows.

#![expect(clippy::indexing_slicing, reason = "a bench may fail by panic")]
#![expect(clippy::cast_possible_truncation, reason = "bench sizes are small")]
#![expect(dead_code, reason = "the module is the tests', which use all of it")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use picotap::abi;
use zerocopy::{FromZeros, IntoBytes};

#[path = "../tests/guest/module.rs"]
mod module;

use module::{Event, Module};

const EVENTS: u32 = 64;

fn bench(c: &mut Criterion, name: &str, bytes: &[u8], records: usize) {
    let mut module = Module::new();
    let rows = vec![abi::Row::new_zeroed(); EVENTS as usize];
    let events: Vec<Event> = (0..EVENTS)
        .map(|row| {
            let header = abi::Event {
                row,
                kind: abi::kind::BYTES,
                flags: abi::event_flag::SEGMENT,
                peer_acked: abi::UNKNOWN,
                ..Default::default()
            };
            Event { header, bytes: bytes.to_vec(), marks: vec![] }
        })
        .collect();
    let mut once = rows.clone();
    assert_eq!(module.call(&events, &mut once, 512, 2048).expect("accepted").records.len(), records);
    let at = module.lay_out(&events, &rows, 512, 2048);
    let mut group = c.benchmark_group("guest");
    group.throughput(Throughput::Elements(u64::from(EVENTS)));
    group.bench_function(name, |b| {
        b.iter(|| {
            let rows = rows.as_bytes();
            module.memory.data_mut(&mut module.store)[at.rows..][..rows.len()].copy_from_slice(rows);
            assert_eq!(module.parse.call(&mut module.store, EVENTS).expect("no trap"), 0);
        });
    });
    group.finish();
}

fn guest(c: &mut Criterion) {
    let [_, _, request] = picotap::parse::BUILT_IN;
    bench(c, "request_703", request, 2 * EVENTS as usize);
    bench(c, "request_min", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2 * EVENTS as usize);
    bench(c, "tls", &[0x16, 3, 1, 0, 0], EVENTS as usize);
}

criterion_group!(benches, guest);
criterion_main!(benches);
