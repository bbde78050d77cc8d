//! A connection of which a server's hello was captured before any bytes of its client. Mostly these are lost, and then nothing of
//! it can be read; the parser sees its bytes as they are. What the server said is told at its end.

use super::gathered::Gathered;
use super::open::{Kind, Open, Tools, begins_with_hello};
use crate::batch::{SlotEvent, What};
use crate::stream::{self, Position, Side};
use crate::tls::closed::{Closed, Fate};
use crate::tls::connection::Connection;
use crate::tls::outcome::{Context, Dark, Output, TlsCounters};

/// A server's hello lies in so many of its first bytes.
const MAX_HELLO: u64 = 16 * 1024;

impl Open {
    /// One that begins with the hello of this side, a server.
    pub(super) fn answered(side: Side) -> Self {
        let mut open = Self::begun(side);
        open.kind = Kind::Answered;
        open
    }

    /// Looks at an event. If the client's hello comes after all, the connection is read from there.
    pub(super) fn observe(&mut self, tools: &mut Tools<'_>, event: &SlotEvent, payload: &[u8]) {
        if event.at.offset == 0 && !payload.is_empty() && begins_with_hello(payload) {
            (self.kind, self.connection) = (Kind::Tls, Connection::new());
            self.gathered = Gathered::begun(event.side);
            return;
        }
        self.gathered.note(event, 0, payload);
        let end = event.at.offset + payload.len() as u64;
        let is_read = self.connection.info().version.is_some() || self.connection.dark(event.side).is_some();
        if matches!(event.what, What::Bytes { .. })
            && self.gathered.began() == Some(event.side)
            && !is_read
            && end < MAX_HELLO
        {
            // Its bytes are counted where the parser sees them.
            let mut counters = TlsCounters::default();
            let (keys, names, buffers) = (tools.keys, tools.names, &mut *tools.buffers);
            let without_keys = Some(Dark::Gap);
            let mut context = Context { keys, names, without_keys, counters: &mut counters, buffers };
            let mut copy = payload.to_vec();
            let _progress = self.connection.bytes(&mut context, event.side, event.at, &mut copy, &mut Nothing);
        }
    }

    /// What is told of it at its end: nothing if the server's hello was not whole.
    pub(super) fn close_answered(&mut self, carrier: &stream::Connection, order: u32) -> Option<Closed> {
        self.connection.info().version?;
        let closed = self.gathered.close(&self.connection, carrier, 0, order)?;
        Some(Closed { fate: Fate { decrypted: false, dark: Some(Dark::Gap), established: false }, ..closed })
    }
}

/// Takes no plaintext: without the client's hello there is none.
struct Nothing;

impl Output for Nothing {
    fn data(&mut self, _: Side, _: Position, _: &[u8]) {}
    fn gap(&mut self, _: Side, _: Position, _: u64, _: bool) {}
    fn closed(&mut self, _: Side, _: Position) {}
}
