//! TLS: what the two sides of a connection encrypt, opened with the secrets that a key log gives.
//!
//! Bytes, times and secrets are arguments; nothing here reads a file or a clock.

mod cbc;
pub mod cipher;
pub mod client_hello;
pub mod handshake;
pub mod ja4;
pub mod keylog;
pub mod keys;
pub mod record;
pub mod secrets;
pub mod server_hello;
pub mod suites;
mod wire;
