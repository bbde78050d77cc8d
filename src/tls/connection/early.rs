//! What becomes of early data, which a client sends before the server has answered (RFC 8446 section 4.2.10).
//!
//! It is held until the server says whether it takes it. Where that is lost, the client tells: it ends what was taken with a
//! message of its own (section 4.5), and what was not with nothing.

use super::Connection;
use crate::stream::Side;
use crate::tls::half::{Epoch, Keys, Phase};
use crate::tls::lost::{BYTES_OPENED, header_at};
use crate::tls::negotiation::{Absence, Early};
use crate::tls::outcome::{Buffers, Context};
use crate::tls::record::{ContentType, HEADER};

/// The type of EndOfEarlyData (RFC 8446 section 4).
const END_OF_EARLY_DATA: u8 = 5;

/// What the client's records say.
pub(super) enum Told {
    /// Nothing yet.
    More,
    /// A secret is missing.
    Wants,
    Early(Early),
}

impl Connection {
    /// Whether the server has still to say what becomes of early data.
    pub(super) fn awaits_early_data(&self) -> bool {
        let server = if self.is_client(Side::First) { Side::Second } else { Side::First };
        let undecided = match &self.half(server).phase {
            Phase::Clear | Phase::Needs(Epoch::Handshake) => true,
            Phase::Open(keys) => keys.epoch == Epoch::Handshake,
            Phase::Choosing(choosing) => choosing.candidates.iter().any(|keys| keys.epoch == Epoch::Handshake),
            _ => false,
        };
        undecided && self.info().early_data == Early::Offered
    }

    /// What the client's records tell, from the first of the early data on; of those that are kept, `bytes` follow.
    pub(super) fn told_by_client(&mut self, context: &mut Context<'_>, side: Side, bytes: &[u8]) -> Told {
        let handshake = self.negotiation.keys(context, side, Epoch::Handshake);
        let early = match self.negotiation.keys(context, side, Epoch::Early) {
            Ok(early) => early,
            Err(Absence::Missing) if handshake.is_err() && context.without_keys.is_none() => return Told::Wants,
            Err(_) => return Told::Early(Early::Unknown),
        };
        let handshake = handshake.unwrap_or_default();
        let half = self.half_mut(side);
        let whole = [half.records.partial(), bytes].concat();
        let Buffers { copy, expanded, .. } = &mut *context.buffers;
        let mut budget = (half.received * BYTES_OPENED).saturating_sub(half.searched);
        let before = budget;
        let (mut at, mut number, mut used) = (0, 0, None);
        let told = loop {
            let Some(header) = header_at(&whole, at) else { break Told::More };
            let Some(body) = whole.get(at + HEADER..at + header.record()) else { break Told::More };
            at += header.record();
            if header.kind != ContentType::ApplicationData {
                continue;
            }
            let mut opens = |keys: &Keys, number| {
                budget = budget.checked_sub(header.length as u64)?;
                copy.clear();
                copy.extend_from_slice(body);
                let opened = keys.opener.open(expanded, number, &header, copy)?;
                Some((opened.kind, copy.get(opened.plaintext).unwrap_or_default().first().copied()))
            };
            let tried = early.iter().enumerate().filter(|(which, _)| used.is_none_or(|used| used == *which));
            match tried.into_iter().find_map(|(which, keys)| Some((which, opens(keys, number)?))) {
                Some((_, (ContentType::Handshake, Some(END_OF_EARLY_DATA)))) => break Told::Early(Early::Accepted),
                Some((which, _)) => used = Some(which),
                None if handshake.iter().any(|keys| opens(keys, 0).is_some()) => break Told::Early(Early::Rejected),
                None => break Told::Early(Early::Unknown),
            }
            number += 1;
        };
        half.searched += before - budget;
        context.counters.searched += before - budget;
        told
    }
}
