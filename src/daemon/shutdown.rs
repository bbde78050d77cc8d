//! Shutdown is the request to stop, which a signal or a closed output brings and every thread looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Why the pipeline is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// SIGINT or SIGTERM.
    Signal = 1,
    /// Nobody reads the output any more.
    Closed = 2,
    /// The output cannot be written.
    Failed = 3,
    /// So many packets were wanted and no more.
    Enough = 4,
}

/// The request to stop. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    request: Arc<AtomicU8>,
    /// For signal handlers, which can only set a flag.
    signal: Arc<AtomicBool>,
}

impl Shutdown {
    /// Asks for a stop. The first reason stands.
    pub fn ask(&self, why: Why) {
        // Losing the race means that somebody else's reason stands.
        let _lost = self.request.compare_exchange(0, why as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether to stop.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.signal.load(Ordering::Relaxed) || self.request.load(Ordering::Relaxed) != 0
    }

    /// Whether somebody waits for the end: it was asked for from outside, or something failed.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.signal.load(Ordering::Relaxed) || matches!(self.why(), Some(Why::Signal | Why::Failed))
    }

    /// Why.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        match self.request.load(Ordering::Relaxed) {
            2 => Some(Why::Closed),
            3 => Some(Why::Failed),
            4 => Some(Why::Enough),
            _ => self.asked().then_some(Why::Signal),
        }
    }

    /// The flag that a signal's handler sets.
    pub(super) fn signal(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.signal)
    }
}
