//! Any segments into the flow table. An input that fails goes to tests/regressions/segments.
#![no_main]

#[path = "../checks/segments.rs"]
mod segments;

libfuzzer_sys::fuzz_target!(|data: &[u8]| segments::check(data));
