//! The ways of `picotap parse`, each against the others and the native parser.
#![cfg(feature = "parse")]
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

mod command;
mod native;
mod vectors;
mod wasmedge;
mod ways;
