//! The parser of HTTP/2, fed by hand: frames and header blocks in, records out. The encoder of header blocks, which is also the
//! judge of what is decoded, is the crate `httlib-hpack`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

#[path = "../support/frame.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with tests that use other parts of it")]
mod frame;
#[path = "../support/random.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with tests that use other parts of it")]
mod random;

mod feed;
mod frames;
mod hpack;
mod wire;
