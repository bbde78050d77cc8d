//! The parser of HTTP/2, fed by hand: frames and header blocks in, records out. The encoders of header blocks, which are also the
//! judges of what is decoded, are the crate `httlib-hpack` and the library nghttp2.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

#[path = "../support/mod.rs"]
mod support;

mod feed;
mod frames;
mod hpack;
mod nghttp2;
mod stories;
mod wire;
