//! TLS: what is decrypted is what was said, whatever is lost, and what stays dark is named.

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

mod connections;
mod debian13;
mod decrypt;
mod live;
mod openssl;
mod probes;
mod recorded;
mod rustls;
mod speakers;
mod traces;
