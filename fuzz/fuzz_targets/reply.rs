//! Any reply of a guest through the check. An input that fails goes to tests/regressions/reply.
#![no_main]

#[path = "../checks/reply.rs"]
mod reply;

libfuzzer_sys::fuzz_target!(|data: &[u8]| reply::check(data));
