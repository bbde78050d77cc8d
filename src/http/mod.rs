//! A transaction is a request with its response, assembled from the guest's records.
//!
//! Records ([`record`]) come in, [`exchange`] pairs them, transactions ([`transaction`]) go out. The connections of a
//! worker share a [`context`]; [`redact`] hides secrets before texts are stored; [`filter`] chooses what is logged.

pub mod body;
pub mod community_id;
pub mod context;
pub mod exchange;
pub mod filter;
pub mod flags;
mod forwarded;
pub mod grpc;
pub mod media_type;
pub mod network;
mod queue;
pub mod record;
pub mod redact;
pub mod route;
#[cfg(test)]
pub(crate) mod test_wire;
pub mod tls;
mod trace;
pub mod transaction;
pub mod uid;

pub use crate::abi::Tunnel;
pub use context::{HttpContext, HttpCounters, Settings};
pub use exchange::Exchange;
pub use flags::Flags;
pub use tls::TlsConnection;
pub use transaction::{Message, Transaction};
pub use uid::Uid;

/// Whole microseconds of a time in nanoseconds, for whoever shows it; none of one before its beginning.
#[must_use]
pub fn microseconds(nanoseconds: Option<i64>) -> Option<u64> {
    u64::try_from(nanoseconds? / 1000).ok()
}

/// Whether a text ends so, without regard to case.
fn ends_with(text: &[u8], end: &[u8]) -> bool {
    let tail = text.len().checked_sub(end.len()).and_then(|from| text.get(from..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}
