//! A transaction is a request with its response, put together from the guest's records.
//!
//! [`record`] is what comes in, [`exchange`] pairs, [`transaction`] is what goes out. [`desk`] holds what a worker shares
//! among its connections; [`redact`] keeps secrets out of the text before it is stored; [`select`] chooses what is logged.

pub mod community;
pub mod desk;
pub mod exchange;
pub mod flags;
mod queue;
pub mod record;
pub mod redact;
pub mod select;
#[cfg(test)]
pub(crate) mod support;
pub mod transaction;

pub use desk::{Counters, Desk, Settings};
pub use exchange::Exchange;
pub use flags::Flags;
pub use transaction::{Message, Transaction};
