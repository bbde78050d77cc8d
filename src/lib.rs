//! picotap watches HTTP/1, HTTP/2 and gRPC and parses every byte of it inside a WebAssembly sandbox.
//!
//! [`Reader`] gives the transactions of a capture file to a program:
//!
//! ```
//! # fn main() -> Result<(), picotap::ReadError> {
//! let answered = picotap::Reader::open("fixtures/http.pcap")?.filter_map(Result::ok).filter(|t| t.status == 200).count();
//! assert_eq!(answered, 29);
//! # Ok(())
//! # }
//! ```
//!
//! [`Tap`] gives those on a network interface, as they are completed:
//!
//! ```no_run
//! # use std::ops::ControlFlow;
//! # fn main() -> Result<(), picotap::TapError> {
//! picotap::Tap::live("eth0")?.run(|transaction| {
//!     println!("{}", transaction.status);
//!     ControlFlow::Continue(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! Data goes through the modules in this order, and each knows only those before it: [`source`] gives frames, [`packet`] takes
//! TCP segments out of them, [`flow`] puts segments in order and pushes what it finds into a [`stream::Sink`], which is
//! [`batch`], in whose slots [`tls`] opens what is encrypted, and which [`sandbox`] takes through the parser; [`http`] makes
//! transactions of the parser's records, [`export`] lines and metrics of these, and [`view`] what people look at, which [`top`]
//! shows in a terminal. [`pipeline`] runs all of it in threads, and [`daemon`] makes the program a service.

pub mod abi;
pub mod batch;
pub mod cli;
mod clock;
pub mod config;
pub mod counters;
pub mod daemon;
pub mod escape;
pub mod export;
pub mod flow;
mod glob;
pub mod helper;
pub mod http;
mod inline;
pub mod manual;
pub mod packet;
#[cfg(feature = "parse")]
pub mod parse;
pub mod pipeline;
pub mod plan;
mod prefetch;
pub mod probe;
pub mod process;
mod reader;
pub mod sandbox;
pub mod source;
pub mod stream;
mod tap;
pub mod tls;
pub mod top;
pub mod view;

pub use http::Transaction;
pub use reader::{ReadError, Reader};
pub use source::live::Stopper;
pub use tap::{Tap, TapError, TapOptions};
