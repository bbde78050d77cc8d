//! Room under the memory limit: who has to go when there is none.

use super::release::Pressure;
use super::slab::Slab;
use super::timers::List;
use super::{SECOND, Table};
use crate::stream::{EndReason, Sink};

impl Table {
    /// Sees to it that there is a free place.
    pub(super) fn make_room<S: Sink>(&mut self, time: i64, sink: &mut S) {
        let most = self.shared.config.max_connections.max(1) as usize;
        if self.slab.len() < most {
            if self.slab.has_room() {
                return;
            }
            let grown = self.slab.bytes_with(1) + self.index.bytes_with(Slab::chunk());
            let share = grown <= self.shared.config.memory_limit / 4 * 3;
            if share {
                self.relieve(grown - self.slab.bytes_with(0) - self.index.bytes(), time, sink);
            }
            if self.slab.places() == 0 || share && !self.shared.full {
                self.slab.grow();
                return;
            }
        }
        self.evict(time, sink);
    }

    /// Gives a connection up. First those that have ended and linger, since nothing is lost; then those that have shown
    /// only SYNs, oldest first, if they look like a flood; then those with held data whose time is nearest; then those
    /// that have been idle longest.
    fn evict<S: Sink>(&mut self, time: i64, sink: &mut S) {
        let syn = self.lists.head(List::Syn);
        let (closed, flood, hole) = (self.lists.head(List::Closed), self.flooding_syn(), self.lists.soonest());
        let Some(index) = closed.or(flood).or(hole).or_else(|| self.idlest()).or(syn) else { return };
        let counters = &mut self.shared.counters;
        let reason = match Some(index) {
            any if any == closed => &mut counters.evicted_closed,
            any if any == syn => &mut counters.evicted_syn,
            any if any == hole => &mut counters.evicted_hole,
            _ => &mut counters.evicted_idle,
        };
        *reason += 1;
        self.expire(index, EndReason::Evicted, time, sink);
    }

    /// The oldest connection that has shown only SYNs, if these are many or it is old for a handshake: it is not for
    /// other floods to end handshakes that have just begun. An eighth of the table and 1 s are arbitrary.
    fn flooding_syn(&self) -> Option<u32> {
        let index = self.lists.head(List::Syn)?;
        let queued = self.slab.get(index)?.link.queued;
        let old = self.shared.clock.saturating_sub(queued) >= SECOND;
        (old || self.lists.syns() * 8 >= self.slab.len()).then_some(index)
    }

    pub(super) fn evict_for_external<S: Sink>(&mut self, time: i64, sink: &mut S) {
        if let Some(index) = self.idlest() {
            self.shared.counters.evicted_idle += 1;
            self.expire(index, EndReason::Evicted, time, sink);
        }
    }

    /// The open connection that has been idle longest, among the first few of the list: those that have had packets
    /// since they were put there go to its tail.
    fn idlest(&mut self) -> Option<u32> {
        let mut best: Option<(i64, u32)> = None;
        for _ in 0..8 {
            let index = self.lists.head(List::Open)?;
            let entry = self.slab.get(index)?;
            let (last, queued) = (entry.last, entry.link.queued);
            if last <= queued {
                return Some(index);
            }
            if best.is_none_or(|(least, _)| last < least) {
                best = Some((last, index));
            }
            self.lists.move_to(List::Open, index, self.shared.clock, &mut self.slab);
        }
        best.map(|(_, index)| index)
    }

    /// Makes room for `more` held bytes: has the connections whose time is nearest declare what they wait for.
    pub(super) fn relieve<S: Sink>(&mut self, more: u64, time: i64, sink: &mut S) {
        // A piece takes more than its bytes, and the row of pieces grows by doubling.
        let more = more + (16 << 10);
        for _ in 0..4 {
            self.shared.full = self.memory_used() + more > self.shared.config.memory_limit;
            if !self.shared.full {
                return;
            }
            let Some(index) = self.lists.soonest() else { return };
            let Some(entry) = self.slab.get_mut(index) else { return };
            let before = entry.memory();
            while entry.resolve(Pressure::Memory, time, &mut self.shared, sink) {
                entry.drain(time, &mut self.shared, sink);
            }
            entry.settle(before, &mut self.shared);
            self.relist(index);
        }
        self.shared.full = self.memory_used() + more > self.shared.config.memory_limit;
    }
}
