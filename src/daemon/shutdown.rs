//! Shutdown is the request to stop, made by a signal or by a thread, which every thread checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// Why a run is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// SIGINT or SIGTERM.
    Signal = 1,
    /// The reader of the output has closed it.
    Closed = 2,
    /// The output cannot be written.
    Failed = 3,
    /// As many packets as were asked for have been read.
    Enough = 4,
}

/// The request to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    request: Arc<AtomicU8>,
    /// For signal handlers, which can only set a flag.
    signal: Arc<AtomicBool>,
    /// Which signal it was.
    number: Arc<AtomicUsize>,
}

impl Shutdown {
    /// Requests a stop. The reason of the first request stays.
    pub fn ask(&self, why: Why) {
        // A failed exchange means that another reason came first.
        let _lost = self.request.compare_exchange(0, why as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether a stop has been requested.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.signal.load(Ordering::Relaxed) || self.request.load(Ordering::Relaxed) != 0
    }

    /// Whether the stop is waited for: it was requested from outside, or something failed.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.signal.load(Ordering::Relaxed) || matches!(self.why(), Some(Why::Signal | Why::Failed))
    }

    /// The reason of the request, if there is one.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        match self.request.load(Ordering::Relaxed) {
            2 => Some(Why::Closed),
            3 => Some(Why::Failed),
            4 => Some(Why::Enough),
            _ => self.asked().then_some(Why::Signal),
        }
    }

    /// The number of the signal that requested it, if one did.
    #[must_use]
    pub fn signal_number(&self) -> Option<u8> {
        u8::try_from(self.number.load(Ordering::Relaxed)).ok().filter(|number| *number != 0)
    }

    /// The number that a signal's handler sets.
    pub(super) fn number(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.number)
    }

    /// The flag that a signal's handler sets.
    pub(super) fn signal(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.signal)
    }
}
