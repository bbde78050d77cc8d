//! The sandbox runs the parser: a slot goes in, checked records or a typed fault come out.
//!
//! What the guest says is an allegation. Guest memory is read in [`memory`] only, where every offset, length, count and
//! code is checked and codes become types. Nothing of a reply is committed before all of it has been checked.

mod bounds;
pub mod budget;
pub mod call;
pub mod connection;
pub mod cpu_time;
pub mod driver;
pub mod engine;
mod extra;
pub mod fault;
pub mod instance;
pub mod memory;
pub mod protocol;
pub mod quarantine;
pub mod quote;
pub mod selftest;
mod settings;
pub mod shadow;

use self::protocol::{ENTRY, HTTP2, Protocol};

/// The built-in parser of HTTP/1: picohttpparser with its glue, compiled from `guest/`.
pub const BUILTIN_GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
/// The built-in parser of HTTP/2, compiled from `guest/http2/`.
pub const BUILTIN_HTTP2: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/http2.wasm"));

/// The built-in parser of a protocol, if there is one.
#[must_use]
pub fn built_in(protocol: Protocol) -> Option<&'static [u8]> {
    if protocol == ENTRY {
        Some(BUILTIN_GUEST)
    } else if protocol == HTTP2 {
        Some(BUILTIN_HTTP2)
    } else {
        None
    }
}

/// Each of these, and the same as machine code.
const BUILT_IN: [(&[u8], &[u8]); 2] = [
    (BUILTIN_GUEST, include_bytes!(concat!(env!("OUT_DIR"), "/picotap.cwasm"))),
    (BUILTIN_HTTP2, include_bytes!(concat!(env!("OUT_DIR"), "/http2.cwasm"))),
];
