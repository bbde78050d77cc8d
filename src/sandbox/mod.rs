//! The sandbox runs the parser: a slot goes in, checked records or a typed fault come out.
//!
//! What the guest says is an allegation. Guest memory is read in one place only, [`memory`], where every offset, length,
//! count and enumeration is checked; nothing that a call said is taken over before the whole reply has been checked.

mod bounds;
pub mod budget;
pub mod call;
pub mod clock;
pub mod connection;
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

/// The parser that is built in: picohttpparser with its glue, compiled from `guest/`.
pub const BUILTIN_GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
/// The same as machine code.
const BUILTIN_MACHINE_CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.cwasm"));
