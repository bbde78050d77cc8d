//! A transaction is a request with its response, put together from the guest's records.
//!
//! [`record`] is what comes in, [`exchange`] pairs, [`transaction`] is what goes out. [`context`] holds what a worker shares
//! among its connections; [`redact`] keeps secrets out of the text before it is stored; [`filter`] chooses what is logged.

pub mod community_id;
pub mod context;
pub mod exchange;
pub mod filter;
pub mod flags;
mod queue;
pub mod record;
pub mod redact;
#[cfg(test)]
pub(crate) mod test_wire;
pub mod transaction;

pub use context::{HttpContext, HttpCounters, Settings};
pub use exchange::Exchange;
pub use flags::Flags;
pub use transaction::{Message, Transaction};
