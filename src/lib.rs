//! picotap watches HTTP/1.x traffic and parses every byte of it inside a WebAssembly sandbox.

pub mod abi;
pub mod flow;
pub mod http;
pub mod packet;
#[cfg(feature = "parse")]
pub mod parse;
pub mod source;

/// The guest module that build.rs makes of `guest/`.
pub const BUILTIN_GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
