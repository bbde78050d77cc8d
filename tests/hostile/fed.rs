//! What a driver with a guest of [`super::wat_guest`] is fed, for those who want nothing but what it costs.

use picotap::batch::{Batcher, Facts, Shelf, Slot};
use picotap::flow::{Conn, EndReason, Place, Side, Sink};
use picotap::http::record::Record;
use picotap::sandbox::driver::{Closed, Receiver};
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::Poison;

/// Listens to nothing.
pub(crate) struct Nothing;

impl Receiver for Nothing {
    type State = ();
    fn record(&mut self, _: &Facts, (): &mut (), _: &Record<'_>) {}
    fn closed(&mut self, _: &Facts, (): &mut (), _: Closed, _: i64) {}
    fn skip(&mut self, _: &Facts, _: u8, _: u64) {}
    fn poison(&mut self, _: &Poison) {}
    fn fault(&mut self, _: &Fault) {}
}

/// A slot of connections that each send these bytes and end.
pub(crate) fn slot<'a>(connections: u64, bytes: impl Fn(u64) -> &'a [u8]) -> Box<Slot> {
    let mut batcher = Batcher::new(1, i64::MAX, true, Shelf::default());
    for number in 1..=connections {
        let mut conn = Conn::by_hand(number);
        let place = |side, offset| Place { side, offset, peer_acked: None, time: 1 };
        let bytes = bytes(number);
        batcher.bytes(&mut conn, place(Side::First, 0), true, bytes);
        batcher.end(&mut conn, place(Side::First, bytes.len() as u64), EndReason::Fin);
        batcher.end(&mut conn, place(Side::Second, 0), EndReason::Fin);
    }
    batcher.flush();
    batcher.deliverer().0.remove(0)
}
