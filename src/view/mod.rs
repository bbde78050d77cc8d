//! The view: what people look at. One bounded model of the transactions of a run, of which a [`Snapshot`] is what the page,
//! the report and `picotap top` show.
//!
//! Each worker counts for itself (a part) and hands over what it has when somebody asks, and after each 16 seconds of the capture:
//! into the model, of which there is one.
//!
//! Memory: the model takes at most 32 MiB: 900 parts of time of 2 KB, three generations of tables of 1,792 rows of at most
//! 3.5 KB, 256 rows of TLS connections of 0.4 KB, 4 MiB for the last 1,000 transactions, and as much for those that wait to become
//! rows. Each worker has at most 12 MiB beside it: one set of tables with the pairs of 16,384 connections, and 818 copies of
//! transactions of at most 6 KB.

mod facts;
mod histogram;
mod kept;
mod model;
pub mod page;
mod part;
pub mod ranked;
mod rows;
mod sampler;
mod snapshot;
mod table;
mod tables;
mod timeline;
mod tls;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use self::model::Model;
pub use self::model::Seen;
use self::part::{Part, Watcher};
pub use self::snapshot::{
    Counts, HealthItem, HostRow, Level, PairRow, RouteRow, Second, Snapshot, Times, TlsResult, TlsRow, TlsView,
    TransactionRow,
};
use crate::export::consumer::{Consumer, Output};
use crate::stream::InterfaceNames;

/// How long a snapshot waits for a worker that is in the middle of a slot. What that has counted is in a later snapshot.
const PATIENCE: Duration = Duration::from_millis(200);

/// The most bytes that the model takes, and what each worker takes beside it.
pub const MEMORY: [u64; 2] = [32 << 20, 12 << 20];

/// The model of a run, shared by its workers and by all that show it.
#[derive(Debug)]
pub struct View {
    source: String,
    interfaces: InterfaceNames,
    live: bool,
    hasher: RandomState,
    model: Mutex<Model>,
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// Where a worker's part is between slots.
#[derive(Debug)]
struct Seat {
    part: Mutex<Option<Box<Part>>>,
    /// It is back.
    back: Condvar,
}

/// Whoever died under a lock left what is whole enough to be shown.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    fn put(&self, part: Box<Part>) {
        *lock(&self.part) = Some(part);
        self.back.notify_one();
    }
}

impl View {
    /// `source`: what is observed, as people know it. `began`: live, the time of its beginning (nanoseconds since the Unix
    /// epoch); none for files. `interfaces`: names of the capture interfaces, empty if rows need none.
    #[must_use]
    pub fn new(source: String, began: Option<i64>, interfaces: InterfaceNames) -> Arc<Self> {
        Arc::new(Self {
            source,
            interfaces,
            live: began.is_some(),
            hasher: RandomState::default(),
            model: Mutex::new(Model::new(began.map(|time| time / 1000))),
            seats: Mutex::default(),
        })
    }

    /// All that there is to show at a time (nanoseconds since the Unix epoch; of files it does not matter), but for
    /// [`Snapshot::health`].
    #[must_use]
    pub fn snapshot(&self, now: i64) -> Snapshot {
        self.since(now, None).0
    }

    /// The same, without the parts of time and the rows that somebody has seen; and what has been seen by then.
    #[must_use]
    pub fn since(&self, now: i64, seen: Option<Seen>) -> (Snapshot, Seen) {
        // One after the other, so that no list of them is kept while a worker leaves.
        let seats = lock(&self.seats).clone();
        for seat in seats {
            let part = lock(&seat.part);
            let taken = seat.back.wait_timeout_while(part, PATIENCE, |part| part.is_none());
            let (mut part, _) = taken.unwrap_or_else(PoisonError::into_inner);
            if let Some(part) = &mut *part {
                self.absorb(part);
            }
        }
        let (mut snapshot, seen) = lock(&self.model).snapshot(now / 1000, seen, &self.interfaces);
        snapshot.source.clone_from(&self.source);
        (snapshot, seen)
    }

    /// Takes a worker's part from its seat, which has one.
    fn take(&self, seat: &Seat) -> Box<Part> {
        lock(&seat.part).take().unwrap_or_else(|| Box::new(Part::new(self.hasher.clone(), self.live)))
    }

    fn absorb(&self, part: &mut Part) {
        lock(&self.model).absorb(part);
    }

    /// A worker has ended.
    fn leave(&self, seat: &Arc<Seat>) {
        self.absorb(&mut self.take(seat));
        lock(&self.seats).retain(|known| !Arc::ptr_eq(known, seat));
    }
}

impl Output for Arc<View> {
    fn consumer(&self) -> Box<dyn Consumer> {
        let part = Mutex::new(Some(Box::new(Part::new(self.hasher.clone(), self.live))));
        let seat = Arc::new(Seat { part, back: Condvar::new() });
        lock(&self.seats).push(Arc::clone(&seat));
        Box::new(Watcher { view: Self::clone(self), seat, own: None })
    }
}

#[cfg(test)]
mod tests;
