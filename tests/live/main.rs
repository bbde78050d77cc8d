//! Live capture, on wires that the tests make: the daemon as it is deployed, and the library.

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

mod capture;
mod confinement;
mod daemon;
mod duplicates;
mod kept;
mod processes;
mod tap;
