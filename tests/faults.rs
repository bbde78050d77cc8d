//! Many faults in a row leave nothing behind: no memory, no thread, no descriptor.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code: a panic is a failed test")]

#[path = "support/fed.rs"]
mod fed;
#[path = "support/wat_guest.rs"]
#[expect(dead_code, reason = "the module is shared")]
mod wat_guest;

use std::fs;
use std::sync::Arc;

use fed::{Nothing, slot};
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::Driver;
use picotap::sandbox::engine::Engine;
use wat_guest::{POISON, guest, guest_with};

/// Resident kilobytes, threads and descriptors of this process.
fn held() -> (u64, u64, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("VmRSS:"), number("Threads:"), fs::read_dir("/proc/self/fd").unwrap().count())
}

/// Lets a guest fault so many times, and compares what the process holds after a tenth of them and after all.
fn fault(wat: &str, faults: u64) {
    let engine = Engine::new(8).unwrap();
    let parser = Arc::new(engine.load(&wat::parse_str(wat).unwrap()).unwrap());
    let mut driver: Driver<()> = Driver::new(parser, Bounds::default()).unwrap();
    let slot = slot(16, |_| POISON);
    let mut before = None;
    while driver.counters().faults < faults {
        driver.process(&slot, &mut Nothing);
        if before.is_none() && driver.counters().faults >= faults / 10 {
            before = Some(held());
        }
    }
    let (before, after, counters) = (before.unwrap(), held(), driver.counters());
    println!("{} faults: kB, threads, descriptors {before:?} and then {after:?}", counters.faults);
    let (into, out) = counters.balance();
    assert_eq!((into, counters.connections), (out, 0));
    // No other test runs beside this one: tests of this file are one, or ignored.
    assert!(after.0 < before.0 + 8192, "resident kB {} and then {}", before.0, after.0);
    assert_eq!((after.1, after.2), (before.1, before.2));
}

/// In turn, since they compare what the whole process holds.
fn every_kind(faults: u64) {
    fault(&guest("unreachable"), faults);
    fault(&guest("(call $recurse) (i32.const 0)"), faults / 10);
    let invalid = guest_with("(i32.store offset=12 (local.get $out) (i32.const -1))");
    fault(&invalid, faults);
}

#[test]
fn ten_thousand_faults_leave_nothing_behind() {
    every_kind(10_000);
}

#[test]
#[ignore = "long: a million faults"]
fn a_million_faults_leave_nothing_behind() {
    every_kind(1_000_000);
}
