//! Any text as a configuration file. An input that fails goes to tests/regressions/configuration.
#![no_main]

#[path = "../checks/configuration.rs"]
mod configuration;

libfuzzer_sys::fuzz_target!(|data: &[u8]| configuration::check(&configuration::command(), data));
