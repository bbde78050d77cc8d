//! The log as an output: each worker writes the lines of the transactions that are logged, and the export thread takes them
//! to the [`Log`](super::Log).

use std::sync::Arc;

use crate::export::chunk::{ChunkSender, Encoder, EncodingConsumer};
use crate::export::consumer::{Consumer, Output};
use crate::export::{Format, FormatName};
use crate::http::Transaction;
use crate::http::filter::Selection;

/// What a worker's lines are made with.
pub struct LogOutput {
    /// Format of lines.
    pub format: FormatName,
    /// Names of the capture interfaces, by index.
    pub interfaces: Arc<[String]>,
    /// Which transactions are logged.
    pub selection: Selection,
    /// Where lines go.
    pub chunks: ChunkSender,
}

impl Output for LogOutput {
    fn consumer(&self) -> Box<dyn Consumer> {
        let format = self.format.writer(Arc::clone(&self.interfaces));
        Box::new(EncodingConsumer::new(LogLines { selection: self.selection.clone(), format }, self.chunks.clone()))
    }
}

struct LogLines {
    selection: Selection,
    format: Box<dyn Format>,
}

impl Encoder for LogLines {
    fn encode(&mut self, transaction: &Transaction, out: &mut Vec<u8>) -> bool {
        let logged = self.selection.takes(transaction);
        if logged {
            self.format.line(transaction, out);
        }
        logged
    }
}
