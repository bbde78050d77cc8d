//! What the whole-program tests share: captures made packet by packet, the lines that they must give, and judges.
//!
//! Nothing here uses picotap's own code: a capture and what is in it are known from how they were made.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its part of what is shared")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test code: a panic is a failed test, and deadlines of tests are on the wall clock"
)]

pub mod browser;
pub mod capture;
pub mod conversation;
pub mod daemon;
pub mod disk;
pub mod encapsulation;
pub mod fed;
pub mod fixtures;
pub mod flow;
pub mod frame;
pub mod http2;
pub mod line;
pub mod message;
pub mod network;
pub mod program;
pub mod random;
pub mod scene;
pub mod service;
pub mod streams;
pub mod tls;
pub mod tool;
pub mod tshark;
pub mod wat_guest;
pub mod wire;
pub mod workload;
