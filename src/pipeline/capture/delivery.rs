//! Delivery takes full slots to the workers, and brings empty ones back.
//!
//! Live, a full queue is waited for, within bounds, before anything is dropped: a worker that was held up for a moment has
//! caught up by then, and meanwhile the kernel's ring takes what comes.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};

use crate::batch::{Deliver, Slot};
use crate::clock::{nanoseconds, now};
use crate::pipeline::pool::Caller;

/// Full slots to a worker, and empty slots back.
pub type WorkerChannel = (Sender<Box<Slot>>, Receiver<Box<Slot>>);

/// The way from one capture thread to all workers.
pub struct Delivery {
    /// One for each worker: full slots there, empty slots back.
    workers: Vec<WorkerChannel>,
    caller: Caller,
    /// The time that each worker may be waited for in a second.
    allowed: Duration,
    /// The time that each was waited for in the present second.
    waited: Vec<Duration>,
    /// When the present second began.
    second: Instant,
    /// Waits, and nanoseconds of them.
    pub(super) waits: (u64, u64),
}

/// The longest that a worker is waited for in a second. An arbitrary number: where it matters the buffer's share is less.
const MAX_WAIT: Duration = Duration::from_millis(50);

impl Delivery {
    /// `workers`: the channels of each, by its number. `caller` has them run.
    #[must_use]
    pub fn new(workers: Vec<WorkerChannel>, caller: Caller) -> Self {
        let waited = vec![Duration::ZERO; workers.len()];
        Self { workers, caller, allowed: MAX_WAIT, waited, second: now(), waits: (0, 0) }
    }

    /// Says how long the input's buffer lasts at the present rate, of which a quarter may be spent waiting; zero after it has
    /// overflown.
    pub(super) fn buffer_lasts(&mut self, time: Duration) {
        self.allowed = (time / 4).min(MAX_WAIT);
    }

    /// Sends a slot. While the queue is full, slots are taken through workers that nobody runs; then room is waited for.
    fn send_surely(&self, worker: usize, slot: Box<Slot>) -> Result<(), Box<Slot>> {
        let Some((full, _)) = self.workers.get(worker) else { return Err(slot) };
        while full.is_full() && self.caller.help() {}
        full.send(slot).map_err(|e| e.0)
    }

    /// Sends a slot, and waits for room no longer than is allowed.
    fn send(&mut self, worker: usize, slot: Box<Slot>) -> Result<(), Box<Slot>> {
        let Some((full, _)) = self.workers.get(worker) else { return Err(slot) };
        let slot = match full.try_send(slot) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(slot)) => return Err(slot),
            Err(TrySendError::Full(slot)) => slot,
        };
        let start = now();
        if start.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = start;
            self.waited.fill(Duration::ZERO);
        }
        let Some(waited) = self.waited.get_mut(worker) else { return Err(slot) };
        let left = self.allowed.saturating_sub(*waited);
        if left.is_zero() {
            return Err(slot);
        }
        let sent = full.send_timeout(slot, left).map_err(SendTimeoutError::into_inner);
        let time = start.elapsed();
        *waited += time;
        self.waits.0 += 1;
        self.waits.1 += nanoseconds(time);
        sent
    }
}

impl Deliver for Delivery {
    fn deliver(&mut self, worker: usize, slot: Box<Slot>, must: bool) -> Result<Box<Slot>, Box<Slot>> {
        debug_assert!(worker < self.workers.len(), "slots are filled for the workers that there are");
        let back = if must { self.send_surely(worker, slot) } else { self.send(worker, slot) };
        if back.is_ok() {
            self.caller.delivered(worker);
        }
        let Some((_, empty)) = self.workers.get(worker) else { return back.map(|()| Box::default()) };
        // If the worker is gone the pipeline is coming down, and the slot is dropped like one that found no room.
        back.map(|()| empty.try_recv().unwrap_or_else(|_| Box::new(Slot::new())))
    }

    fn fills(&self, worker: usize) -> bool {
        let queue = self.workers.get(worker).map(|(full, _)| (full.len(), full.capacity().unwrap_or(usize::MAX)));
        queue.is_some_and(|(waiting, room)| waiting > room / 2)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    /// A way to one worker with room for one slot, and the worker's end of it.
    fn delivery() -> (Delivery, Receiver<Box<Slot>>) {
        let (full, taken) = bounded(1);
        let (_, empty) = bounded(1);
        (Delivery::new(vec![(full, empty)], Caller::default()), taken)
    }

    #[test]
    fn a_full_queue_is_waited_for_only_so_long_in_a_second() {
        let (mut delivery, _taken) = delivery();
        assert!(delivery.deliver(0, Box::default(), false).is_ok());
        let start = now();
        for _ in 0..100 {
            assert!(delivery.deliver(0, Box::default(), false).is_err());
        }
        assert!(delivery.waits.0 >= 1 && delivery.waits.1 >= nanoseconds(MAX_WAIT));
        // A hundred full waits would be five seconds; three seconds may pass on a busy machine.
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_worker_that_catches_up_gets_the_slot() {
        let (mut delivery, taken) = delivery();
        assert!(delivery.deliver(0, Box::default(), false).is_ok());
        let worker = std::thread::spawn(move || (taken.recv().is_ok(), taken));
        assert!(delivery.deliver(0, Box::default(), false).is_ok(), "it had 50 ms");
        assert!(worker.join().unwrap().0);
    }

    #[test]
    fn after_the_kernel_has_dropped_nothing_is_waited_for() {
        let (mut delivery, _taken) = delivery();
        delivery.buffer_lasts(Duration::ZERO);
        assert!(delivery.deliver(0, Box::default(), false).is_ok());
        assert!(delivery.deliver(0, Box::default(), false).is_err());
        assert_eq!(delivery.waits, (0, 0));
        delivery.buffer_lasts(Duration::from_secs(1));
        assert_eq!(delivery.allowed, MAX_WAIT);
        delivery.buffer_lasts(Duration::from_millis(8));
        assert_eq!(delivery.allowed, Duration::from_millis(2));
    }
}
