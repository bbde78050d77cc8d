//! Operations of other protocols than HTTP, and their outcomes.

use super::{Pairing, note_read};
use crate::http::record::{Operation, Outcome, Record};
use crate::http::transaction::Transaction;

impl<F: FnMut(&Transaction)> Pairing<'_, F> {
    /// An operation is a request without a body, whose outcome is its response.
    pub(super) fn operation(&mut self, record: &Record, operation: &Operation) {
        self.make_room();
        let mut transaction = self.begin(record.side);
        self.context.write_operation(&mut transaction, record, operation);
        self.context.hold(&transaction);
        self.exchange.queue.push_back(transaction);
        self.give_up_if_full();
    }

    pub(super) fn outcome(&mut self, record: &Record, outcome: &Outcome) {
        note_read(&mut self.exchange.read, record);
        let Self { exchange, context, .. } = self;
        let Some((index, transaction)) = exchange.queue.at(exchange.queue.index_of(outcome.number)) else {
            context.counters.stray += 1;
            return;
        };
        context.release(transaction);
        context.write_outcome(transaction, record, outcome);
        context.tunnel_target(transaction);
        context.hold(transaction);
        self.hand_out(index);
    }
}
