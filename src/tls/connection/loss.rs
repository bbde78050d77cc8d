//! What happens when bytes of a side are missing, or a record does not open.

use super::{Connection, Stop};
use crate::stream::Side;
use crate::tls::cipher::Role;
use crate::tls::half::{Epoch, Half, Phase, Times};
use crate::tls::lost::{BYTES_OPENED, Lost, Step};
use crate::tls::negotiation::{Absence, Early};
use crate::tls::outcome::{Context, Dark};
use crate::tls::record::{ContentType, HEADER, Header};

impl Half {
    /// A record with this header is not read: adds the plaintext that it may have.
    fn miss(&mut self, header: &Header) {
        let Phase::Open(keys) = &self.phase else { return };
        let exact = keys.opener.is_exact();
        if keys.epoch != Epoch::Handshake && header.kind == ContentType::ApplicationData {
            self.missing.add(keys.opener.greatest(header.length) as u64, exact);
        }
    }

    /// No more bytes come: adds the plaintext that was missing or cut off at the end, and gives the memory back.
    pub(super) fn end(&mut self) {
        let (kept, header) = self.records.forget();
        if let Some(header) = header {
            let cut = Header { length: header.length.min(kept.saturating_sub(HEADER)), ..header };
            self.miss(&cut);
            self.missing.inexact |= self.missing.greatest > 0;
        }
        if let Phase::Lost(lost) = &mut self.phase {
            let greatest = lost.greatest_until(self.next);
            lost.take_waiting();
            self.missing.add(greatest, greatest == 0);
        }
        self.held = None;
        self.messages = None;
    }
}

impl Connection {
    /// Bytes of a side are missing, up to this offset.
    pub(super) fn gap(&mut self, context: &mut Context<'_>, side: Side, to: u64) {
        let tls13 = self.negotiation.is_tls13();
        let role = self.negotiation.role(side);
        let known = self.negotiation.has_hellos() || (role == Some(Role::Client) && self.random().is_some());
        let half = self.half_mut(side);
        half.lossy = true;
        let held = half.held.take();
        let (kept, header) = half.records.forget();
        let begun = held.as_ref().map_or(half.next, |held| held.start).saturating_sub(kept as u64);
        context.counters.darken(Dark::Gap, kept + held.map_or(0, |held| held.len()));
        half.messages = None;
        half.next = to;
        // If the header of the broken record was seen, it says where the next one begins.
        let border = begun + header.map_or(0, |header| header.record() as u64);
        if let Phase::Lost(lost) = &mut half.phase {
            let (dropped, greatest) = lost.interrupt(tls13);
            half.missing.add(greatest, greatest == 0);
            context.counters.darken(Dark::Gap, dropped);
            return;
        }
        let in_clear = matches!(half.phase, Phase::Clear);
        if in_clear && !known && !(role == Some(Role::Server) && self.negotiation.assume_tls13()) {
            self.darken_both(context, Dark::Gap);
            return;
        }
        let half = self.half_mut(side);
        if let Some(header) = header {
            half.miss(&header);
            if let Phase::Open(keys) = &mut half.phase {
                keys.number += 1;
            }
        }
        self.lose(side, begun, border, Dark::Gap);
    }

    /// What begins here, and ends there as far as its header can be believed, is no record that opens.
    pub(super) fn bad_record(&mut self, side: Side, begun: u64, end: u64, reason: Dark) {
        self.half_mut(side).lossy = true;
        self.lose(side, begun, end, reason);
    }

    /// Records are lost from `begun` on, and the next one has to be found; one begins at the border.
    fn lose(&mut self, side: Side, begun: u64, border: u64, reason: Dark) {
        let phase = std::mem::replace(&mut self.half_mut(side).phase, Phase::Clear);
        let after =
            |epoch: Epoch| [Epoch::Handshake, Epoch::Application].into_iter().filter(move |later| *later > epoch);
        // A record of keys in use is counted, and none of those that follow.
        let begun = if matches!(phase, Phase::Open(_)) && reason == Dark::Gap { border } else { begun };
        let mut lost = Box::new(Lost::new(begun, border, Vec::new(), reason));
        let perhaps_early = self.has_perhaps_early(side);
        match phase {
            Phase::Clear => lost.in_clear = true,
            Phase::Needs(epoch) => {
                lost.began = epoch == Epoch::Early;
                lost.epochs.push(epoch);
                lost.epochs.extend(after(epoch).filter(|_| epoch != Epoch::Tls12));
            }
            Phase::Choosing(choosing) => {
                let early = choosing.tolerant || choosing.candidates.iter().any(|keys| keys.epoch == Epoch::Early);
                lost.began = early && perhaps_early;
                let last = choosing.candidates.iter().map(|keys| keys.epoch).max();
                lost.epochs.extend(last.into_iter().filter(|last| *last != Epoch::Tls12).flat_map(after));
                lost.begin_with(choosing.candidates);
            }
            Phase::Open(keys) => {
                let next = if keys.epoch == Epoch::Application { self.negotiation.updated(&keys) } else { None };
                lost.epochs.extend(after(keys.epoch).filter(|_| keys.epoch != Epoch::Tls12));
                lost.continue_with(keys);
                lost.begin_with(next);
            }
            Phase::Lost(_) | Phase::Dark(_) => return,
        }
        self.half_mut(side).phase = Phase::Lost(lost);
    }

    /// Whether a side may have sent early data that the server took.
    fn has_perhaps_early(&self, side: Side) -> bool {
        self.is_client(side) && !matches!(self.info().early_data, Early::None | Early::Rejected)
    }

    /// Takes bytes of a side after loss, and looks for the place of the next record.
    pub(super) fn search(
        &mut self,
        context: &mut Context<'_>,
        side: Side,
        start: u64,
        times: &Times,
        bytes: &[u8],
    ) -> Stop {
        let tls13 = self.negotiation.is_tls13();
        let is_client = self.is_client(side);
        let decided = self.negotiation.has_hellos() && !(is_client && self.awaits_early_data());
        let early = is_client && self.info().early_data == Early::Accepted;
        let perhaps_early = self.has_perhaps_early(side);
        let half = self.half_mut(side);
        let Phase::Lost(lost) = &mut half.phase else { return Stop::Done };
        let mut dropped = 0;
        times.pieces(start, bytes, |offset, at, piece| dropped += lost.push(offset, at, piece));
        context.counters.darken(Dark::Gap, dropped);
        if lost.in_clear {
            if !decided {
                return Stop::Done;
            }
            lost.in_clear = false;
            lost.began = perhaps_early;
            lost.epochs = match (tls13, early) {
                (false, _) => vec![Epoch::Tls12],
                (true, false) => vec![Epoch::Handshake, Epoch::Application],
                (true, true) => vec![Epoch::Early, Epoch::Handshake, Epoch::Application],
            };
        }
        if let Some(stop) = self.look_up_lost(context, side) {
            return stop;
        }
        let half = self.half_mut(side);
        let Phase::Lost(lost) = &mut half.phase else { return Stop::Done };
        let before = (half.received * BYTES_OPENED).saturating_sub(half.searched);
        let mut budget = before;
        let (step, dropped) = lost.search(tls13, half.opened, &mut budget, context.buffers);
        half.searched += before - budget;
        context.counters.searched += before - budget;
        context.counters.darken(Dark::Gap, dropped);
        let waiting = match step {
            Step::More => return Stop::Done,
            Step::Dark(reason) => {
                self.darken(context, side, reason);
                return Stop::Done;
            }
            Step::Clear => {
                let waiting = lost.take_waiting();
                half.phase = Phase::Clear;
                waiting
            }
            Step::Found { keys, greatest, exact } => {
                let waiting = lost.take_waiting();
                half.missing.add(greatest, exact);
                self.proven(&keys);
                self.half_mut(side).phase = Phase::Open(keys);
                waiting
            }
        };
        Stop::Replay(waiting)
    }

    /// Looks up keys that may have begun in the gap. Some: there are none.
    fn look_up_lost(&mut self, context: &mut Context<'_>, side: Side) -> Option<Stop> {
        let Phase::Lost(lost) = &self.half(side).phase else { return None };
        if lost.epochs.is_empty() {
            return None;
        }
        let mut missing = Vec::new();
        for epoch in lost.epochs.clone() {
            match self.negotiation.keys(context, side, epoch) {
                Ok(keys) => {
                    if let Phase::Lost(lost) = &mut self.half_mut(side).phase {
                        lost.begin_with(keys);
                    }
                }
                Err(Absence::Missing | Absence::NotYet) => missing.push(epoch),
                Err(Absence::Dark(reason)) => {
                    self.darken(context, side, reason);
                    return Some(Stop::Done);
                }
            }
        }
        let Phase::Lost(lost) = &mut self.half_mut(side).phase else { return None };
        lost.epochs = missing;
        if lost.has_keys() {
            return None;
        }
        match context.without_keys {
            None => Some(Stop::Wants(0)),
            Some(reason) => {
                self.darken(context, side, reason);
                Some(Stop::Done)
            }
        }
    }
}
