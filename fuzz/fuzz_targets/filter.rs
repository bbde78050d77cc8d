//! Any text as a filter. An input that fails goes to tests/regressions/filter.
#![no_main]

#[path = "../checks/filter.rs"]
mod filter;

libfuzzer_sys::fuzz_target!(|data: &[u8]| filter::check(data));
