//! A consumer takes the transactions of one worker and makes an output of them: log lines, metrics, the summary.
//!
//! An [`Output`] exists once in a run and gives each worker a consumer of its own. There are two kinds. Those that need no
//! order count for themselves and are added up: [`Total`](super::total::Total) does it for whatever can be merged, and
//! metrics hand over what they have counted after each slot. Those that need order encode records into chunks, which the
//! export thread takes from all workers: see [`chunk`](super::chunk).

use crate::http::{TlsConnection, Transaction};
use crate::stream::Span;

/// Takes the transactions of one worker, those of a connection in the order in which they were completed.
///
/// It lives in the worker's thread, which alone calls it: for each [`slot`](Self::slot) any number of TLS
/// connections ([`tls`](Self::tls)) and [`transaction`](Self::transaction)s, then one [`flush`](Self::flush); and at the end of the run one [`close`](Self::close). It starts no thread of its own.
/// What it does is on the way of every transaction, so it must be fast, and it may wait only for an output that must lose
/// nothing.
pub trait Consumer: Send {
    /// A slot begins, which holds these events.
    fn slot(&mut self, span: Span) {
        let _ = span;
    }

    /// Takes a transaction that has just been completed.
    fn transaction(&mut self, transaction: &Transaction);

    /// Takes a TLS connection that has just ended, before or behind transactions of the slot in which it did: `completed` tells the
    /// order.
    fn tls(&mut self, connection: &TlsConnection) {
        let _ = connection;
    }

    /// A slot has been parsed: what was gathered becomes visible. `more`: another slot already waits, so that what is costly to
    /// hand over may be gathered further.
    fn flush(&mut self, more: bool) {
        let _ = more;
    }

    /// Whether anybody still takes what it makes. If not, its worker stops: the run is coming down.
    fn has_reader(&self) -> bool {
        true
    }

    /// The worker has ended, after its last flush. A consumer that adds up is merged into the total here.
    fn close(self: Box<Self>) {}
}

/// What leaves picotap in one way: made once in a run, and shared by its consumers.
pub trait Output {
    /// A consumer for one more worker.
    fn consumer(&self) -> Box<dyn Consumer>;
}
