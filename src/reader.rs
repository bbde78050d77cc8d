//! A reader gives the transactions of a capture file to a program, one after the other.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::batch::{Batcher, CollectSlots};
use crate::flow::{self, Table};
use crate::http::record::Record;
use crate::http::{Exchange, HttpContext, Settings, Transaction};
use crate::packet::{Decoder, Outcome};
use crate::sandbox::BUILTIN_GUEST;
use crate::sandbox::call::Bounds;
use crate::sandbox::driver::{Driver, Receiver};
use crate::sandbox::engine::{Engine, LoadError};
use crate::sandbox::fault::Fault;
use crate::sandbox::quarantine::QuarantinedEvent;
use crate::source::{self, Captures};
use crate::stream::{Connection, ConnectionId, EndReason, Side};

/// Frames that are taken before the parser is called.
const FRAMES: usize = 1024;

/// Why there is no transaction.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read, or is damaged. What was good has been given.
    #[error("{0}")]
    Capture(#[from] source::Error),
    /// The parser cannot be loaded.
    #[error("parser: {0}")]
    Parser(#[from] LoadError),
    /// The sandbox cannot be started.
    #[error("sandbox: {0}")]
    Sandbox(#[from] Fault),
}

/// Reads one capture file (pcap or pcapng, plain, gzip or zstd), in this thread and without a log, metrics or signals.
///
/// It is an iterator of transactions, in the order in which they were completed. Secrets are redacted as picotap does it by
/// default. An event on which the parser fails costs its connection, and is not reported.
///
/// ```
/// # fn main() -> Result<(), picotap::ReadError> {
/// for transaction in picotap::Reader::open("fixtures/http.pcap")? {
///     let transaction = transaction?;
///     let target = transaction.target().unwrap_or_default();
///     println!("{} {}", transaction.status, String::from_utf8_lossy(target));
/// }
/// # Ok(())
/// # }
/// ```
pub struct Reader {
    captures: Captures,
    decoder: Decoder,
    table: Table,
    batcher: Batcher<CollectSlots>,
    driver: Driver<Exchange>,
    pairing: Pairing,
    /// The file has been read to its end.
    ended: bool,
    /// Keeps the clock of the sandbox.
    _engine: Engine,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("driver", &self.driver).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a capture file.
    ///
    /// # Errors
    /// If the sandbox cannot be started. What is wrong with the file is the iterator's first item.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        Self::with(path, Settings::default())
    }

    /// The same, with a choice of what transactions keep.
    ///
    /// # Errors
    /// See [`Reader::open`].
    pub fn with(path: impl AsRef<Path>, settings: Settings) -> Result<Self, ReadError> {
        let engine = Engine::new(4)?;
        let parser = Arc::new(engine.load(BUILTIN_GUEST)?);
        let pairing = Pairing { context: HttpContext::new(settings), done: VecDeque::new(), hints: Vec::new() };
        Ok(Self {
            captures: Captures::open(&[path.as_ref().to_path_buf()], None),
            decoder: Decoder::new(false),
            table: Table::new(flow::Config { hash_seed: flow::random_seed(), ..flow::Config::default() }),
            batcher: Batcher::new(1, i64::MAX, true, CollectSlots::default()),
            driver: Driver::new(parser, Bounds::default())?,
            pairing,
            ended: false,
            _engine: engine,
        })
    }

    /// Takes some frames. What is wrong is given after what was good.
    fn read(&mut self) -> Result<(), source::Error> {
        let mut taken = 0;
        let read = loop {
            match self.captures.next_frame() {
                Ok(Some(frame)) => match self.decoder.decode(&frame) {
                    Outcome::Segment(segment) => self.table.segment(&segment, &mut self.batcher),
                    Outcome::Waits | Outcome::Skipped(_) => self.table.tick(frame.time, &mut self.batcher),
                },
                Ok(None) => {
                    self.ended = true;
                    self.decoder.finish();
                    self.table.finish(&mut self.batcher);
                    break Ok(());
                }
                Err(error) => break Err(error),
            }
            taken += 1;
            if taken == FRAMES {
                break Ok(());
            }
        };
        self.parse();
        read
    }

    fn parse(&mut self) {
        self.batcher.flush();
        for slot in self.batcher.deliverer().0.drain(..) {
            self.driver.process(&slot, &mut self.pairing);
        }
        self.table.set_external(self.driver.memory() + self.pairing.context.held() as u64);
        for (id, side, upto) in self.pairing.hints.drain(..) {
            self.table.skip(id, side, upto);
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Transaction, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(transaction) = self.pairing.done.pop_front() {
                return Some(Ok(transaction));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.read() {
                return Some(Err(error.into()));
            }
        }
    }
}

/// Makes transactions of records.
struct Pairing {
    context: HttpContext,
    done: VecDeque<Transaction>,
    hints: Vec<(ConnectionId, Side, u64)>,
}

impl Receiver for Pairing {
    type State = Exchange;

    fn record(&mut self, connection: &Connection, exchange: &mut Exchange, record: &Record<'_>) {
        let Self { context, done, .. } = self;
        exchange.record(context, connection, record, &mut |transaction| done.push_back(transaction.clone()));
    }

    fn closed(&mut self, connection: &Connection, exchange: &mut Exchange, reason: EndReason) {
        let Self { context, done, .. } = self;
        exchange.close(context, connection, reason, &mut |transaction| done.push_back(transaction.clone()));
    }

    fn skip(&mut self, connection: &Connection, side: Side, upto: u64) {
        self.hints.push((connection.id(), side, upto));
    }

    fn quarantine(&mut self, _: &QuarantinedEvent) {}

    fn fault(&mut self, _: &Fault) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_the_first_item() {
        let mut reader = Reader::open("/nonexistent/x.pcap").unwrap();
        let error = reader.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x.pcap"), "{error}");
        assert!(reader.next().is_none());
    }

    #[test]
    fn every_transaction_of_a_file_is_given() {
        let all: Vec<Transaction> = Reader::open("fixtures/http.pcap").unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(all.len(), 43);
        assert_eq!((all[0].status, all[0].target()), (200, Some(&b"/"[..])));
        let targets: std::collections::BTreeSet<_> = all.iter().filter_map(Transaction::target).collect();
        assert!(targets.contains(&b"/large.bin"[..]), "bodies are skipped and counted");
        assert!(all.iter().any(|transaction| transaction.status == 404));
    }
}
