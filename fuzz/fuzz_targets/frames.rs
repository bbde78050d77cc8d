//! Any frames into the decoder. An input that fails goes to tests/regressions/frames.
#![no_main]

#[path = "../checks/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames::check(data));
