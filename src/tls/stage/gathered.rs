//! What is told of a TLS connection at its end, gathered while it is read.

use super::open::of;
use crate::batch::{SlotEvent, What};
use crate::stream::{self, EndReason, Side};
use crate::tls::closed::{self, Closed};
use crate::tls::connection::Connection;
use crate::tls::record::ContentType;

/// What was gathered of one connection, or of a stream inside a tunnel.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The side whose hello began it.
    began: Option<Side>,
    /// The side that answers a client's hello with something else than TLS: it is left as it is.
    plain: Option<Side>,
    /// Of each side: bytes of TLS came.
    speaks: [bool; 2],
    /// Of each side: it was said that it is dark.
    told_dark: [bool; 2],
    /// It was told of at its end.
    told: bool,
    /// Times of the first packet and of the last.
    times: Option<[i64; 2]>,
    /// How many bytes the sides sent.
    lengths: [u64; 2],
}

impl Gathered {
    /// Of one that begins with the hello of this side.
    pub(super) fn begun(side: Side) -> Self {
        Self { began: Some(side), ..Self::default() }
    }

    /// The side whose hello began it.
    pub(super) const fn began(&self) -> Option<Side> {
        self.began
    }

    /// Reads a word: see [`super::open::Open::touch`].
    pub(super) const fn touch(&self) -> u64 {
        let [first, second] = self.lengths;
        first ^ second ^ self.told as u64
    }

    /// An event came, of a side that begins at this offset. Whether the side is not TLS after all: a server that does not speak it may
    /// answer a client's hello in its own protocol, such as HTTP with a status of 400.
    pub(super) fn note(&mut self, event: &SlotEvent, start: u64, payload: &[u8]) -> bool {
        let [first, last] = self.times.unwrap_or([event.at.time; 2]);
        // The end of a connection that is given up is later than its last packet.
        let is_packet =
            !matches!(event.what, What::End(reason) if reason != EndReason::Fin && reason != EndReason::Reset);
        self.times = Some([first, if is_packet { event.at.time.max(last) } else { last }]);
        if let What::End(_) = event.what {
            *of(&mut self.lengths, event.side) = event.at.offset.saturating_sub(start);
        }
        let is_record = payload.first().is_none_or(|kind| ContentType::of(*kind).is_some());
        if event.at.offset == start && !is_record && self.began == Some(event.side.other()) {
            self.plain = Some(event.side);
        }
        let plain = self.plain == Some(event.side);
        *of(&mut self.speaks, event.side) |= !plain && !payload.is_empty();
        plain
    }

    /// The sides of which nothing is read any more since the last time.
    pub(super) fn newly_dark(&mut self, connection: &Connection) -> [Option<Side>; 2] {
        [Side::First, Side::Second].map(|side| {
            let dark = connection.dark(side).is_some() && *of(&mut self.speaks, side);
            (dark && !std::mem::replace(of(&mut self.told_dark, side), true)).then_some(side)
        })
    }

    /// What is told at the end, once. `carrier`: the TCP connection. `depth`: inside so many tunnels on it. `order`: number of the event
    /// that ended it.
    pub(super) fn close(
        &mut self,
        connection: &Connection,
        carrier: &stream::Connection,
        depth: u8,
        order: u32,
    ) -> Option<Closed> {
        if std::mem::replace(&mut self.told, true) {
            return None;
        }
        let client = closed::client(carrier, connection.client());
        Some(Closed {
            client,
            times: self.times.unwrap_or_default(),
            bytes: client.own_first(self.lengths),
            fate: connection.fate(),
            info: connection.info().clone(),
            order,
            connection: (0..depth).fold(carrier.clone(), |connection, _| connection.inner()),
        })
    }
}
