//! The guest against its contract: `guest/abi.h` defines each record, and each test checks a rule.

#![expect(clippy::indexing_slicing, reason = "a test may fail by panic")]
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

mod chunks;
mod contract;
mod cuts;
mod framing;
mod heads;
mod host;
mod inexact;
mod loss;
mod module;
mod other;
mod pairs;
mod relay;
