//! The flow table: segments in, streams out, in whatever order and however hostile they come.

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

mod any_segments;
mod bounds;
mod hostile;
mod networks;
mod order;
mod policy;
mod sightings;
