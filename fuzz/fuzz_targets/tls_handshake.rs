//! Any bytes into a TLS connection. An input that fails goes to tests/regressions/tls_handshake.
#![no_main]

#[path = "../checks/tls_handshake.rs"]
mod tls_handshake;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tls_handshake::check(data);
    tls_handshake::check_stage(data);
});
