//! The parts of picotap that stand before its sandbox, compiled by themselves from the same files: what reads bytes from the
//! wire, without the engine, of which a build with a fuzzer's instruments takes very long.
//!
//! The library has picotap's name, so that the checks are the same text here and under `tests/`.

#[path = "../../src/counters.rs"]
pub mod counters;
#[path = "../../src/flow/mod.rs"]
pub mod flow;
#[path = "../../src/packet/mod.rs"]
pub mod packet;
#[path = "../../src/source/mod.rs"]
pub mod source;
#[path = "../../src/stream.rs"]
pub mod stream;
