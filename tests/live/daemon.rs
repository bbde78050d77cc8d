//! The daemon as it is deployed, whole: live on a wire that the test makes, started as root, its privileges given up, its
//! system calls filtered. What befalls it in months befalls it here in seconds.

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

mod disk;
mod prometheus;
mod shown;
mod signals;
mod supervised;
