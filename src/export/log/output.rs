//! The log as an output: each worker writes the lines of the transactions that are logged, and the export thread takes them
//! to the [`Log`](super::Log).

use crate::export::chunk::{ChunkSender, Encoder, EncodingConsumer};
use crate::export::columns::Columns;
use crate::export::consumer::{Consumer, Output};
use crate::export::terminal::Terminal;
use crate::export::{Format, FormatName, Origin, Subject};
use crate::http::filter::Selection;
use crate::http::{TlsConnection, Transaction};
use crate::stream::InterfaceNames;

/// What a worker's lines are made with.
pub struct LogOutput {
    /// Format of lines.
    pub format: FormatName,
    /// What they are about.
    pub subject: Subject,
    /// Where people read them.
    pub terminal: Terminal,
    /// Columns of tables, if not the usual ones.
    pub columns: Option<Columns>,
    /// Where the transactions were captured.
    pub origin: Origin,
    /// Which transactions are logged.
    pub selection: Selection,
    /// Where lines go.
    pub chunks: ChunkSender,
}

impl LogOutput {
    /// What makes one worker's lines.
    fn lines(&self) -> LogLines {
        let format = self.format.writer_for(self.subject, &self.terminal, self.columns.as_ref(), self.origin.clone());
        let subject = self.subject;
        let (selection, interfaces) = (self.selection.clone(), self.origin.interfaces.clone());
        LogLines(Logged { subject, selection, interfaces, format })
    }

    /// The same, to be put in another order.
    pub(in crate::export) fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(self.lines())
    }
}

impl Output for LogOutput {
    fn consumer(&self) -> Box<dyn Consumer> {
        Box::new(EncodingConsumer::new(self.lines(), self.chunks.clone()))
    }
}

/// What is logged.
pub struct Logged {
    subject: Subject,
    selection: Selection,
    interfaces: InterfaceNames,
    format: Box<dyn Format>,
}

impl Logged {
    /// In lines of this format, about this, those that are selected. `interfaces`: the names by which they are selected.
    #[must_use]
    pub fn new(format: FormatName, subject: Subject, selection: Selection, interfaces: InterfaceNames) -> Self {
        let format = format.writer_for(subject, &Terminal::default(), None, Origin::default());
        Self { subject, selection, interfaces, format }
    }

    /// Whether a transaction has a line.
    pub fn takes(&self, transaction: &Transaction) -> bool {
        self.subject == Subject::Transactions
            && self.format.takes(transaction)
            && self.selection.takes(transaction, &self.interfaces)
    }

    /// Whether a TLS connection has a line.
    pub fn takes_tls(&self, connection: &TlsConnection) -> bool {
        self.subject == Subject::Tls && self.selection.takes_tls(connection, &self.interfaces)
    }
}

struct LogLines(Logged);

impl Encoder for LogLines {
    fn encode(&mut self, transaction: &Transaction, out: &mut Vec<u8>) -> bool {
        let logged = self.0.takes(transaction);
        if logged {
            self.0.format.line(transaction, out);
        }
        logged
    }

    fn encode_tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) -> bool {
        let logged = self.0.takes_tls(connection);
        if logged {
            self.0.format.tls(connection, out);
        }
        logged
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::export::chunk;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;

    #[test]
    fn only_what_is_logged_is_a_record() {
        let (chunks, lines) = chunk::channel(1, 1, true, Arc::default());
        let selection = Selection { errors: true, ..Selection::default() };
        let (origin, terminal) = (Origin::default(), Terminal::default());
        let output = LogOutput {
            format: FormatName::Clf,
            subject: Subject::Transactions,
            terminal,
            columns: None,
            origin,
            selection,
            chunks,
        };
        let mut wire = Wire::new(Settings::default());
        for (number, status) in (1..).zip([200, 500, 404, 204]) {
            wire.get(number, "/").reply(number, status, 0);
        }
        let mut consumer = output.consumer();
        wire.done.iter().for_each(|transaction| consumer.transaction(transaction));
        consumer.flush(false);
        let chunk = lines.recv_timeout(Duration::ZERO).unwrap();
        let text = String::from_utf8(chunk.bytes).unwrap();
        let statuses: Vec<_> = text.lines().filter_map(|line| line.split(' ').nth(8)).collect();
        assert_eq!((statuses, chunk.records), (vec!["500", "404"], 2));
    }
}
