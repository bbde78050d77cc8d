//! Each direction of a connection may be in a virtual network of its own: a router between two networks sends into that
//! of the receiver (RFC 9135: asymmetric routing). So the same addresses in two networks are two connections,
//! unless the numbers prove one: a segment joins a connection in another network if of that only one direction was seen,
//! and this is the other one and acknowledges exactly what was seen. Two tenants with equal addresses would need equal
//! sequence numbers too.

use super::Table;
use super::half::HalfFlags;
use super::seq::Seq;
use crate::packet::Segment;
use crate::stream::Side;

/// Connections remembered. One more replaces another, which then is not joined; handshakes in progress are fewer.
const SLOTS: usize = 4096;

/// The latest connections in virtual networks, by a hash of their addresses without the network.
#[derive(Default)]
pub(super) struct Overlay {
    /// Handle + 1, 0: empty. No slots before the first such connection. A handle may have another owner by now.
    slots: Vec<u32>,
}

impl Table {
    /// Remembers a connection in a virtual network.
    #[cold]
    pub(super) fn remember_network(&mut self, handle: u32, segment: &Segment<'_>) {
        let at = self.overlay_slot(segment);
        self.overlay.slots.resize(SLOTS, 0);
        if let Some(slot) = self.overlay.slots.get_mut(at) {
            *slot = handle + 1;
        }
    }

    /// Finds the connection in another network whose other direction begins with this segment, and takes it for that.
    #[cold]
    pub(super) fn join_networks(&mut self, hash: u64, segment: &Segment<'_>) -> Option<u32> {
        let handle = self.overlay.slots.get(self.overlay_slot(segment))?.checked_sub(1)?;
        if !self.is_counterpart(handle, segment) {
            return None;
        }
        let grown = self.memory_used() - self.index.bytes() + self.index.bytes_with(1);
        if grown > self.shared.config.memory_limit {
            return None;
        }
        let clock = self.shared.clock;
        let conn = self.slab.get_mut(handle)?;
        conn.last = clock;
        let [_, second] = &mut conn.realms;
        *second = segment.realm;
        self.index.insert(hash, handle);
        self.shared.counters.joined_networks += 1;
        Some(handle)
    }

    /// Whether a segment is the first of a connection's second side, by its numbers.
    fn is_counterpart(&self, handle: u32, segment: &Segment<'_>) -> bool {
        let Some(conn) = self.slab.get(handle) else { return false };
        let (own, peer) = (conn.half(Side::Second), conn.half(Side::First));
        let [first, second] = &conn.open.info.endpoints;
        let [realm, _] = conn.realms;
        let known = realm == segment.realm || own.flags.contains(HalfFlags::SEEN) || peer.out_of_window().is_some();
        let ends = conn.reset_pending() && segment.flags.syn();
        let over = conn.closed() || ends || conn.is_stale(&self.shared);
        if known || over || (second, first) != (&segment.source, &segment.destination) {
            return false;
        }
        let (based, exact) = (own.flags.contains(HalfFlags::BASED), own.flags.contains(HalfFlags::EXACT));
        let start = Seq(segment.seq).plus(u64::from(segment.flags.syn()));
        let (ack, end) = (Seq(segment.ack), peer.base.plus(peer.top()));
        match (segment.flags.syn(), segment.flags.ack()) {
            // It may refuse the data of the SYN.
            (true, true) => {
                peer.flags.contains(HalfFlags::EXACT)
                    && (ack == end || ack == peer.base)
                    && (!based || start == own.base)
            }
            // After the SYN-ACK to it.
            (true, false) => exact && start == own.base,
            (false, true) => based && ack == end && start == own.base.plus(peer.acked),
            (false, false) => false,
        }
    }

    /// Puts the second side of a connection, whose sides had the same network, into this one.
    #[cold]
    pub(super) fn set_network(&mut self, handle: u32, realm: u32) {
        let Some(conn) = self.slab.get_mut(handle) else { return };
        let [first, second] = &conn.open.info.endpoints;
        self.index.insert(self.hasher.hash(first, second, realm), handle);
        let [_, other] = &mut conn.realms;
        *other = realm;
    }

    /// Forgets the network of a connection's second side, if it is another than the first side's.
    pub(super) fn forget_network(&mut self, handle: u32) {
        let Some(conn) = self.slab.get(handle) else { return };
        let ([realm, other], [first, second]) = (conn.realms, &conn.open.info.endpoints);
        if realm != other {
            self.index.remove(self.hasher.hash(first, second, other), handle);
        }
    }

    fn overlay_slot(&self, segment: &Segment<'_>) -> usize {
        let hash = self.hasher.hash(&segment.source, &segment.destination, 0);
        usize::try_from(hash >> 32).unwrap_or(0) % SLOTS
    }
}
