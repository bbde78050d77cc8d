//! Any file into the readers. An input that fails goes to tests/regressions/capture_file.
#![no_main]

#[path = "../checks/capture_file.rs"]
mod capture_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| capture_file::check(data));
