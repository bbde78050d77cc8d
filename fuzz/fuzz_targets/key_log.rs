//! Any bytes as a key log. An input that fails goes to tests/regressions/key_log.
#![no_main]

#[path = "../checks/key_log.rs"]
mod key_log;

libfuzzer_sys::fuzz_target!(|data: &[u8]| key_log::check(data));
