//! Bodies: which are kept is decided by the head of their message.

use super::{HttpContext, MAX_OPEN_BYTES};
use crate::http::record::Headers;
use crate::http::transaction::{Message, Transaction};

/// Memory that open transactions may take for bodies to be kept: the rest is for transactions.
const MOST_FOR_BODIES: usize = MAX_OPEN_BYTES / 2;

impl HttpContext {
    /// Decides whether the body of a message is kept.
    #[cold]
    pub(super) fn begin_body(&self, transaction: &mut Transaction, of_request: bool, headers: Headers<'_>) {
        let Some(settings) = &self.bodies else { return };
        let (mut media_type, mut codings) = (None, Vec::new());
        for (name, value) in headers.iter() {
            if name.eq_ignore_ascii_case(b"content-type") {
                media_type = media_type.or(Some(value));
            } else if name.eq_ignore_ascii_case(b"content-encoding") {
                codings.push(value);
            }
        }
        let codings = codings.join(&b","[..]);
        let bodies = transaction.bodies.get_or_insert_default();
        bodies.begin(of_request, settings, media_type.unwrap_or_default(), &codings);
    }

    /// Keeps bytes of a body that come behind `before` others of it.
    #[cold]
    pub(crate) fn keep_body(&mut self, transaction: &mut Transaction, of_request: bool, before: u64, bytes: &[u8]) {
        let Some(limit) = self.bodies.as_ref().map(|settings| settings.bytes) else { return };
        self.release(transaction);
        let room = self.held().saturating_add(bytes.len()) <= MOST_FOR_BODIES;
        if let Some(bodies) = &mut transaction.bodies {
            bodies.append(of_request, before, bytes, limit, room);
        }
        self.hold(transaction);
    }

    /// Turns the bodies of a transaction that is handed out into text.
    #[cold]
    pub(super) fn settle_bodies(&self, transaction: &mut Transaction) {
        let (Some(settings), Some(bodies)) = (&self.bodies, &mut transaction.bodies) else { return };
        let messages: [Option<&Message>; 2] = [transaction.request.as_ref(), transaction.response.as_ref()];
        bodies.settle(messages, &self.redaction, settings.bytes);
    }
}
