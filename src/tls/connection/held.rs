//! What a side holds until the other has gone on, or its secrets are there; gaps in it are held too.

use std::collections::VecDeque;

use super::{Connection, Stop};
use crate::stream::{Position, Side};
use crate::tls::half::{Held, Phase, Times};
use crate::tls::negotiation::Early;
use crate::tls::outcome::{Context, Dark, Output, Progress};

impl Connection {
    /// Reads what the other side waited with, after one side has gone on.
    pub(super) fn release(
        &mut self,
        context: &mut Context<'_>,
        side: Side,
        taken: usize,
        output: &mut impl Output,
    ) -> Progress {
        if self.resume(context, side, output) { Progress::WantsKeys { taken } } else { Progress::Done }
    }

    /// Bytes are missing before this offset, if the side has not come so far. While something is held, the gap waits behind it.
    pub(super) fn note_gap(&mut self, context: &mut Context<'_>, side: Side, offset: u64) {
        let half = self.half(side);
        if offset != half.next && half.held.is_none() && half.dark().is_none() {
            self.gap(context, side, offset);
        }
    }

    /// Reads what a side holds; whether a secret is missing for it.
    pub(super) fn resume(&mut self, context: &mut Context<'_>, side: Side, output: &mut impl Output) -> bool {
        let half = self.half_mut(side);
        let (next, mut held) = (half.next, half.held.take());
        if matches!(&half.phase, Phase::Lost(lost) if !lost.has_keys()) {
            match self.search(context, side, next, &Times::Marks(Vec::new()), &[]) {
                Stop::Wants(_) => {
                    self.half_mut(side).held = held;
                    return true;
                }
                Stop::Replay(mut found) => {
                    found.behind = held.map_or_else(VecDeque::new, |held| held.behind);
                    held = Some(Box::new(found));
                }
                Stop::Done | Stop::Hold(_) => {}
            }
        }
        held.is_some_and(|held| self.replay(context, side, *held, output))
    }

    /// Reads these bytes again, those that this gives back, and those behind gaps. What cannot be read yet is held. Whether a
    /// secret is missing.
    pub(super) fn replay(
        &mut self,
        context: &mut Context<'_>,
        side: Side,
        held: Held,
        output: &mut impl Output,
    ) -> bool {
        let mut held = held;
        let next = self.half(side).next;
        let mut behind = std::mem::take(&mut held.behind);
        let wants = loop {
            let (start, end, times) = (held.start, held.end(), held.times());
            let (taken, wants) = match self.run(context, side, start, &times, &mut held.bytes, output) {
                Stop::Done => {
                    let Some(part) = behind.pop_front() else { break false };
                    self.half_mut(side).next = end;
                    self.gap(context, side, part.start);
                    held = part;
                    continue;
                }
                Stop::Replay(found) => {
                    held = found;
                    continue;
                }
                Stop::Hold(taken) => (taken, false),
                Stop::Wants(taken) => (taken, true),
            };
            held.restore(times);
            held.drop_front(taken);
            // What would tell of early data is lost.
            if !wants && !behind.is_empty() && self.negotiation.has_hellos() && !self.awaits_early_data() {
                self.negotiation.info.early_data = Early::Unknown;
                continue;
            }
            held.behind = behind;
            self.half_mut(side).held = Some(Box::new(held)).filter(|held| held.len() > 0);
            break wants;
        };
        self.half_mut(side).next = next;
        wants
    }

    /// Holds bytes until the other side has gone on. If they are too many, they are lost.
    pub(super) fn hold(&mut self, context: &mut Context<'_>, side: Side, at: Position, bytes: &[u8]) {
        let half = self.half_mut(side);
        let mut held = half.held.take().unwrap_or_default();
        let next = at.offset + bytes.len() as u64;
        let fits = held.add(at.offset, at, bytes);
        half.held = Some(held);
        if fits {
            half.next = next;
            return;
        }
        context.counters.darken(Dark::Gap, bytes.len());
        self.gap(context, side, next);
    }
}
