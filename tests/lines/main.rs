//! Captures in, lines out: those of every fixture, of recordings, of captures cut, reordered and lossy; and what others say of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test code: a panic is a failed test, and deadlines of tests are on the wall clock"
)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod cases;
mod decoder;
mod disorder;
mod evasion;
mod fixtures;
mod goaccess;
mod kept;
mod loss;
mod order;
mod reader;
mod recorded;
mod recorded_http2;
mod redaction;
mod regressions;
mod shard;
mod shed;
mod suricata;
mod tables;
mod tshark;
mod tunnels;
