//! picotap watches HTTP/1.x traffic and parses every byte of it inside a WebAssembly sandbox.

pub mod abi;
pub mod config;
pub mod flow;
pub mod http;
pub mod manual;
pub mod packet;
pub mod pipeline;
pub mod source;
