//! The view: what people look at. One bounded model of the transactions of a run, of which a [`Snapshot`] is what the page,
//! the report and `picotap top` show.

pub mod page;
mod snapshot;

pub use snapshot::{Counts, HealthItem, HostRow, Level, PairRow, RouteRow, Second, Snapshot, Times, TransactionRow};
