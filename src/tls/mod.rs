//! TLS: what the two sides of a connection encrypt, opened with the secrets that a key log gives.
//!
//! Bytes, times and secrets are arguments; nothing here reads a file or a clock.

mod alert;
mod borders;
mod cbc;
pub mod cipher;
pub mod client_hello;
pub mod closed;
pub mod connection;
mod half;
pub mod handshake;
pub mod ja4;
pub mod keylog;
pub mod keys;
mod lost;
pub mod names;
mod negotiation;
pub mod outcome;
pub mod probed;
pub mod record;
pub mod secrets;
pub mod server_hello;
pub mod stage;
pub mod suites;
mod transcript;
mod wire;

pub use closed::{Closed, Fate};
pub use connection::Connection;
pub use names::NameFilter;
pub use negotiation::{Early, Info};
pub use outcome::{Buffers, Context, Dark, Output, Progress, TlsCounters};

/// Bytes by their hexadecimal digits, between which anything may stand.
#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
