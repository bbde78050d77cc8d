//! The sandbox around parsers: hostile, slow and broken ones are contained, and replaced while traffic is parsed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    reason = "test code: a panic is a failed test, and deadlines of tests are on the wall clock"
)]

#[path = "../support/mod.rs"]
mod support;

mod contained;
mod hostile;
mod poison;
mod shadow;
mod swap;
