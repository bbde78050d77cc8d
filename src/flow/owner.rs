//! Which connection a segment belongs to: for the table itself, and for whoever keeps its packets or stores something with it.

use super::table::Table;
use crate::packet::Segment;
use crate::stream::{ConnectionId, SinkTag};

impl Table {
    /// The hash of a segment's connection.
    #[inline]
    #[must_use]
    pub fn hash(&self, segment: &Segment<'_>) -> u64 {
        self.hasher.hash(&segment.source, &segment.destination, segment.realm)
    }

    /// The connection with the addresses of a segment.
    #[inline]
    pub(super) fn find(&self, hash: u64, segment: &Segment<'_>) -> Option<u32> {
        self.index.find(hash, |handle| {
            self.slab.get(handle).is_some_and(|conn| {
                let [first, second] = &conn.open.info.endpoints;
                let ends = (&segment.source, &segment.destination);
                let [one, other] = conn.realms;
                (one == segment.realm && (first, second) == ends) || (other == segment.realm && (second, first) == ends)
            })
        })
    }

    /// The connection to which a segment belongs that was taken last; none if it makes no connection, or is left out.
    /// `hash`: that of the segment.
    #[must_use]
    pub fn owner(&self, hash: u64, segment: &Segment<'_>) -> Option<ConnectionId> {
        let conn = self.slab.get(self.find(hash, segment)?)?;
        (!conn.sighting.is_left_out()).then(|| conn.open.info.id())
    }

    /// The connection whose ports were taken by the segment that was taken last, if this is asked after each.
    pub const fn replaced(&mut self) -> Option<u64> {
        self.replaced.take()
    }

    /// Whether a connection is in the table, be it that it has ended and lingers.
    #[must_use]
    pub fn has(&self, id: ConnectionId) -> bool {
        self.slab.get(id.handle).is_some_and(|conn| conn.open.info.number == id.number)
    }

    /// What the sink stores with a connection that has not ended.
    pub fn tag(&mut self, id: ConnectionId) -> Option<&mut SinkTag> {
        let conn = self.slab.get_mut(id.handle).filter(|conn| conn.open.info.number == id.number);
        conn.map(|conn| &mut conn.open.tag)
    }
}
