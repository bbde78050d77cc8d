//! Verdicts are what workers tell a capture thread of its connections.
//!
//! There are no more of them than events in slots: each stands for a connection that one of these completes. So their list needs no
//! bound of its own, none is lost, and nobody waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

/// What is told of a connection, by its number.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Something of it was logged.
    Keep(u64),
    /// Secrets of TLS on it, as lines of a key log.
    Secrets(u64, Zeroizing<Vec<u8>>),
    /// It has ended: nothing of it will be logged any more.
    Ended { number: u64, timeout: bool },
}

/// The verdicts for one capture thread. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Verdicts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// There are some: read without the lock.
    any: AtomicBool,
    list: Mutex<Vec<Verdict>>,
}

impl Verdicts {
    /// Adds verdicts, in their order.
    pub(super) fn send(&self, verdicts: &mut Vec<Verdict>) {
        if verdicts.is_empty() {
            return;
        }
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner).append(verdicts);
        self.0.any.store(true, Ordering::Release);
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<Verdict> {
        if !self.0.any.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut self.0.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
