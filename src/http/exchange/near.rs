//! What is kept for a connection, read before it is needed: a software prefetch.

use super::Exchange;
use crate::http::transaction::Transaction;

impl Exchange {
    /// Reads one word of each of its cache lines, and of those of the transaction that will be needed next: a software prefetch.
    #[must_use]
    pub fn touch(&self) -> u64 {
        let [first, second] = self.read;
        u64::from(self.begun) ^ first ^ second ^ self.acked ^ self.queue.get(0).map_or(0, Transaction::touch)
    }

    /// The same of its texts.
    #[must_use]
    pub fn touch_texts(&self) -> u64 {
        self.queue.get(0).map_or(0, Transaction::touch_texts)
    }
}
