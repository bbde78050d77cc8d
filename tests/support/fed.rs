//! The input of a driver with a guest of [`super::wat_guest`], for measuring its cost.

use picotap::batch::{Batcher, CollectSlots, Slot};
use picotap::http::record::Record;
use picotap::sandbox::driver::Receiver;
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::stream::{Connection, EndReason, OpenConnection, Position, Side, Sink, UNKNOWN};

/// Listens to nothing.
pub(crate) struct Nothing;

impl Receiver for Nothing {
    type State = ();
    fn record(&mut self, _: &Connection, (): &mut (), _: &Record<'_>) {}
    fn closed(&mut self, _: &Connection, (): &mut (), _: [u64; 2], _: EndReason) {}
    fn skip(&mut self, _: &Connection, _: Side, _: u64) {}
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, _: &Fault) {}
}

/// A slot of connections that each send these bytes and end.
pub(crate) fn slot<'a>(connections: u64, bytes: impl Fn(u64) -> &'a [u8]) -> Box<Slot> {
    let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
    for number in 1..=connections {
        let mut conn = OpenConnection::synthetic(number);
        let at = |offset| Position { offset, peer_acked: UNKNOWN, time: 1 };
        let bytes = bytes(number);
        batcher.bytes(&mut conn, Side::First, at(0), true, bytes);
        batcher.end(&mut conn, Side::First, at(bytes.len() as u64), EndReason::Fin);
        batcher.end(&mut conn, Side::Second, at(0), EndReason::Fin);
    }
    batcher.flush();
    batcher.deliverer().0.remove(0)
}
