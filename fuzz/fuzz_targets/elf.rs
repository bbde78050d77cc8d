//! Any file that a process may run, as probes read it. An input that fails goes to tests/regressions/elf.
#![no_main]

#[path = "../checks/elf.rs"]
mod elf;

libfuzzer_sys::fuzz_target!(|data: &[u8]| elf::check(data));
