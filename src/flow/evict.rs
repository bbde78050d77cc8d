//! Eviction: which connections, and which held bytes, are given up when the memory limit is reached.

use super::release::Pressure;
use super::slab::Slab;
use super::timers::List;
use super::{SECOND, Table};
use crate::stream::{EndReason, Sink};

impl Table {
    /// Makes sure that the slab has a free handle, unless memory for it cannot be had.
    pub(super) fn make_room<S: Sink>(&mut self, time: i64, sink: &mut S) {
        let most = self.shared.config.max_connections.max(1) as usize;
        if self.slab.len() < most {
            if self.slab.has_room() {
                return;
            }
            let grown = self.slab.bytes_with(1) + self.index.bytes_with(Slab::chunk());
            let share = grown <= self.shared.config.memory_limit / 4 * 3;
            if share {
                self.reclaim(grown - self.slab.bytes_with(0) - self.index.bytes(), time, sink);
            }
            if self.slab.capacity() == 0 || share && !self.shared.full {
                self.slab.grow();
                return;
            }
        }
        self.evict(time, sink);
    }

    /// Evicts a connection. First one that has ended and lingers, since nothing is lost; then the oldest that has shown
    /// only SYNs, if those may be a flood; then the one with held data whose deadline is nearest; then the one that has
    /// been idle longest.
    fn evict<S: Sink>(&mut self, time: i64, sink: &mut S) {
        let syn = self.lists.head(List::Syn);
        let (closed, flood, hole) = (self.lists.head(List::Closed), self.flooding_syn(), self.lists.soonest());
        let Some(handle) = closed.or(flood).or(hole).or_else(|| self.idlest()).or(syn) else { return };
        let counters = &mut self.shared.counters;
        let kind = match Some(handle) {
            any if any == closed => &mut counters.evicted_closed,
            any if any == syn => &mut counters.evicted_syn,
            any if any == hole => &mut counters.evicted_hole,
            _ => &mut counters.evicted_idle,
        };
        *kind += 1;
        self.expire(handle, EndReason::Evicted, time, sink);
    }

    /// The oldest connection that has shown only SYNs, if these are many or it is old for a handshake: a flood of
    /// another kind must not evict handshakes in progress. An eighth of the table and 1 s are arbitrary.
    fn flooding_syn(&self) -> Option<u32> {
        let handle = self.lists.head(List::Syn)?;
        let queued = self.slab.get(handle)?.link.queued;
        let old = self.shared.clock.saturating_sub(queued) >= SECOND;
        (old || self.lists.syns() * 8 >= self.slab.len()).then_some(handle)
    }

    /// Evicts the connection that has been idle longest, because too much is held for connections elsewhere.
    pub(super) fn evict_for_external<S: Sink>(&mut self, time: i64, sink: &mut S) {
        if let Some(handle) = self.idlest() {
            self.shared.counters.evicted_idle += 1;
            self.expire(handle, EndReason::Evicted, time, sink);
        }
    }

    /// The open connection that has been idle longest among the first 8 of its list. Those that have had packets since
    /// they were listed move to its tail.
    fn idlest(&mut self) -> Option<u32> {
        let mut best: Option<(i64, u32)> = None;
        for _ in 0..8 {
            let handle = self.lists.head(List::Open)?;
            let conn = self.slab.get(handle)?;
            let (last, queued) = (conn.last, conn.link.queued);
            if last <= queued {
                return Some(handle);
            }
            if best.is_none_or(|(least, _)| last < least) {
                best = Some((last, handle));
            }
            self.lists.move_to(List::Open, handle, self.shared.clock, &mut self.slab);
        }
        best.map(|(_, handle)| handle)
    }

    /// Makes room for `more` held bytes: the connections whose deadline is nearest declare their holes gaps.
    pub(super) fn reclaim<S: Sink>(&mut self, more: u64, time: i64, sink: &mut S) {
        // A piece takes more than its bytes, and the array of pieces grows by doubling.
        let more = more + (16 << 10);
        for _ in 0..4 {
            self.shared.full = self.memory_used() + more > self.shared.config.memory_limit;
            if !self.shared.full {
                return;
            }
            let Some(handle) = self.lists.soonest() else { return };
            let Some(mut step) = self.step(handle, time, sink) else { return };
            let before = step.conn.memory();
            while step.resolve(Pressure::Memory) {
                step.drain();
            }
            step.settle(before);
            self.relist(handle);
        }
        self.shared.full = self.memory_used() + more > self.shared.config.memory_limit;
    }
}
