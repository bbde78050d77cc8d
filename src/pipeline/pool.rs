//! A pool has workers run by threads: each worker by one thread at a time, which takes its slots in their order.
//!
//! A worker is due while slots wait for it. Its number then lies in a channel, once, and the thread that takes the number runs
//! the worker until nothing waits. Live, each worker has a channel and a thread of its own. Over files all share one channel,
//! and the capture thread takes from it as well, instead of waiting for room in a full queue. Where there are no more cores than
//! workers it is one of as many threads, so that none waits for a core: the kernel would leave it where it is for some
//! milliseconds, though another core has nothing to do.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::worker::{LOOK_AGAIN, Worker};

/// The workers of a run.
#[derive(Default)]
struct Pool {
    seats: Vec<Seat>,
}

/// A worker, and what says whether it is due.
struct Seat {
    /// Slots that were delivered and have not been taken through it. Who raises it from 0 has it run, or runs it.
    waiting: AtomicUsize,
    /// It waits for secrets.
    looks: AtomicBool,
    /// None: a thread is running it, or it has ended.
    worker: Mutex<Option<Box<Worker>>>,
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Worker>>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the worker, which ends if it is not given back. If that panics the worker is dropped, and with it its end
    /// of the queue: the capture thread does not wait for it.
    fn with(&self, act: impl FnOnce(Box<Worker>) -> Option<Box<Worker>>) {
        let worker = self.lock().take();
        let worker = worker.and_then(act);
        self.looks.store(worker.as_ref().is_some_and(|worker| worker.waits()), Ordering::Relaxed);
        *self.lock() = worker;
    }

    /// Makes it due, if it is not, for the thread that calls.
    fn claim(&self) -> bool {
        self.waiting.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes at most so many slots through the worker, which is due. Whether it still is.
    fn run(&self, most: usize) -> bool {
        for _ in 0..most {
            self.with(Worker::turn);
            if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
                return false;
            }
        }
        true
    }

    /// Lets the worker look for secrets, if it waits for some and is not due.
    fn look_again(&self) {
        if self.looks.load(Ordering::Relaxed) && self.claim() {
            self.with(Worker::look_again);
            if self.waiting.fetch_sub(1, Ordering::AcqRel) > 1 {
                self.run(usize::MAX);
            }
        }
    }

    /// Ends the worker, unless another thread runs it, and will end it.
    fn end(&self) {
        if self.claim() {
            self.with(|worker| {
                worker.end();
                None
            });
        }
    }
}

impl Pool {
    /// Of these workers, by their numbers.
    fn new(workers: Vec<Worker>) -> Self {
        let seat = |worker| Seat {
            waiting: AtomicUsize::new(0),
            looks: AtomicBool::new(false),
            worker: Mutex::new(Some(Box::new(worker))),
        };
        Self { seats: workers.into_iter().map(seat).collect() }
    }

    /// Runs those of some workers that are due, until the channel is closed; then ends them.
    fn serve(&self, due: &Receiver<usize>, workers: Range<usize>) {
        let seats = self.seats.get(workers).unwrap_or_default();
        loop {
            let next = if seats.iter().any(|seat| seat.looks.load(Ordering::Relaxed)) {
                due.recv_timeout(LOOK_AGAIN)
            } else {
                due.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match next {
                Ok(worker) => self.seats.get(worker).iter().for_each(|seat| _ = seat.run(usize::MAX)),
                Err(RecvTimeoutError::Timeout) => seats.iter().for_each(Seat::look_again),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        seats.iter().for_each(Seat::end);
    }
}

/// What a thread of a pool needs.
pub struct Service {
    pool: Arc<Pool>,
    due: Receiver<usize>,
    workers: Range<usize>,
    /// Closed when it is to begin.
    begin: Option<Receiver<()>>,
}

impl Service {
    /// What the thread does.
    pub fn run(self) {
        if let Some(begin) = self.begin {
            _ = begin.recv();
        }
        self.pool.serve(&self.due, self.workers);
    }
}

/// Says which workers are due. Once all that are of one pool are gone, its threads end.
#[derive(Clone, Default)]
pub struct Caller {
    pool: Arc<Pool>,
    due: Vec<Sender<usize>>,
    /// Where those are that nobody runs yet: over files.
    unserved: Option<Receiver<usize>>,
}

impl Caller {
    /// A slot was put in a worker's queue.
    pub fn delivered(&self, worker: usize) {
        let first = self.pool.seats.get(worker).is_some_and(|seat| seat.waiting.fetch_add(1, Ordering::AcqRel) == 0);
        if first {
            self.call(worker);
        }
    }

    /// Takes one slot through a worker that is due, if there is one that nobody runs.
    #[must_use]
    pub fn help(&self) -> bool {
        let Some(worker) = self.unserved.as_ref().and_then(|due| due.try_recv().ok()) else { return false };
        if self.pool.seats.get(worker).is_some_and(|seat| seat.run(1)) {
            self.call(worker);
        }
        true
    }

    fn call(&self, worker: usize) {
        // There is room: each worker's number is in it once. Without threads the run is coming down.
        let called = self.due.get(worker).map(|due| due.try_send(worker));
        debug_assert!(!called.is_some_and(|called| called.is_err_and(|e| e.is_full())), "a worker is due once");
    }
}

/// Which threads run which workers.
#[derive(Clone, Copy)]
pub enum Threads<'a> {
    /// Each has a thread of its own.
    Own,
    /// Any thread runs any worker, and the capture thread does, too, before it waits for one.
    Shared,
    /// The same, but the last of several threads begins only once this is closed, when the capture thread has ended.
    InPlaceOfCapture(&'a Receiver<()>),
}

/// A pool of these workers: who calls them, and what each of as many threads is to run.
#[must_use]
pub fn pool(workers: Vec<Worker>, threads: Threads<'_>) -> (Caller, Vec<Service>) {
    let count = workers.len();
    let pool = Arc::new(Pool::new(workers));
    let ended = match threads {
        Threads::Own => {
            let (called, due): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(1)).unzip();
            let service =
                |(number, due)| Service { pool: Arc::clone(&pool), due, workers: number..number + 1, begin: None };
            let services = due.into_iter().enumerate().map(service).collect();
            return (Caller { pool, due: called, unserved: None }, services);
        }
        Threads::Shared => None,
        Threads::InPlaceOfCapture(ended) => Some(ended),
    };
    let (called, due) = bounded(count);
    let service = |number| Service {
        pool: Arc::clone(&pool),
        due: due.clone(),
        workers: 0..count,
        begin: ended.filter(|_| number > 0 && number + 1 == count).cloned(),
    };
    let services = (0..count).map(service).collect();
    (Caller { due: vec![called; count], unserved: Some(due), pool }, services)
}

#[cfg(test)]
mod tests;
