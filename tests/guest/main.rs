//! The guest against its contract: `guest/abi.h` defines each record, and each test checks a rule.

#![expect(clippy::indexing_slicing, reason = "a test may fail by panic")]
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

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
