//! The guest against its contract: `guest/abi.h` defines each record, and each test checks a rule.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

#[path = "../support/mod.rs"]
mod support;

mod abi;
mod batches;
mod chunks;
mod contract;
mod cuts;
mod differential;
mod framing;
mod heads;
mod host;
mod inexact;
mod lines;
mod loss;
mod module;
mod native;
mod other;
mod pairs;
mod relay;
mod turns;
