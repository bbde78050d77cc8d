//! picotap watches HTTP/1.x traffic and parses every byte of it inside a WebAssembly sandbox.

pub mod abi;
pub mod batch;
pub mod cli;
pub mod config;
pub mod counters;
pub mod escape;
pub mod export;
pub mod flow;
pub mod http;
pub mod manual;
pub mod packet;
#[cfg(feature = "parse")]
pub mod parse;
pub mod pipeline;
pub mod sandbox;
pub mod source;
pub mod stream;
