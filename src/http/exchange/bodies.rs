//! Bytes of bodies, for the transaction whose message they belong to.

use super::{Pairing, response_in_progress};
use crate::http::record::Record;
use crate::http::transaction::Transaction;

impl<F: FnMut(&Transaction)> Pairing<'_, F> {
    /// Bytes of the body of message `number`, behind `before` others.
    #[cold]
    pub(super) fn body(&mut self, record: &Record, number: u32, before: u64, bytes: &[u8]) {
        let Self { exchange, context, .. } = self;
        let of_response = |open: &Transaction| open.client_side != record.side && response_in_progress(open);
        let open = match (record.stream, number) {
            (0, 0) => {
                let index = exchange.queue.in_progress(of_response).next();
                exchange.queue.at(index).map(|(_, open)| open)
            }
            (0, number) => {
                let index = exchange.queue.index_of(number);
                exchange.queue.at(index).map(|(_, open)| open)
            }
            (stream, _) => {
                exchange.streams.as_mut().and_then(|streams| streams.get_mut(&stream)).map(|open| &mut **open)
            }
        };
        let Some(transaction) = open else { return };
        let of_request = transaction.client_side == record.side;
        let message = if of_request { transaction.request } else { transaction.response };
        if message.is_some_and(|message| message.end.is_none()) {
            context.keep_body(transaction, of_request, before, bytes);
        }
    }
}
