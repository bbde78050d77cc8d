//! A connection is two halves, one for each stream, and the rules by which a segment may change them (RFC 9293).
//!
//! A [`Step`] is one connection while a segment or a timer changes it. Its methods are in the file of their subject:
//!
//! | file | methods |
//! |---|---|
//! | `connection` | `quick`, `segment`, `judge`: kinds of segments; `adopt`: where a stream starts; `settle`, `finish` |
//! | `handshake` | `on_syn`, `on_reset`, `after_close` |
//! | `receive` | `on_ack`, `on_data`, `on_fin` |
//! | `out_of_window` | `on_out_of_window`, `on_out_of_window_ack`, `jump` |
//! | `release` | `take`, `hold`, `drain`, `resolve`: what is handed on next, and which hole becomes a gap |
//! | `emit` | `hand_on`, `skip_captured`, `declare_gap`, `end`: what the sink receives |

use bitflags::bitflags;

use super::assembler::{Carrier, Stamp};
use super::half::{Half, HalfFlags, NEAR, REACH};
use super::release::Pressure;
use super::seq::Seq;
use super::sightings::Sighting;
use super::timeline::Timeline;
use super::timers::{Link, Listed};
use super::{Config, FlowCounters};
use crate::packet::{Segment, TcpFlags};
use crate::stream::{EndReason, MAX_PIECE, OpenConnection, Position, Side, Sink, UNKNOWN};

/// What all connections of a table have in common.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: FlowCounters,
    /// The clock of all timers: never goes back.
    pub(super) clock: i64,
    pub(super) timeline: Timeline,
    /// How long a side waits for bytes of the other side that it has acknowledged.
    pub(super) wait_time: i64,
    /// Bytes of memory that connections take outside of the table.
    pub(super) memory: u64,
    /// The memory limit is reached: no more bytes are held.
    pub(super) full: bool,
}

impl Shared {
    /// Whether the wait that began at `since` is over.
    pub(super) fn wait_over(&self, since: Stamp, now: Stamp) -> bool {
        match self.wait_time > self.config.grace_time {
            true => now.time.saturating_sub(since.time) >= self.wait_time,
            false => self.config.grace_over(since, now),
        }
    }

    /// Bytes came, for which the other side had waited from `since` on, in vain.
    #[cold]
    pub(super) fn wait_longer(&mut self, since: i64) {
        let late = self.clock.saturating_sub(since);
        let config = &self.config;
        if late < config.most_wait {
            self.wait_time = self.wait_time.max(late.saturating_mul(2)).min(config.most_wait);
        }
    }
}

/// A segment shows that another connection has taken the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortReuse {
    /// The segment is its first.
    Begun,
    /// `side` of the old connection has sent what lies before `base` on the new one (`syn`: its SYN). The segment is
    /// the other side's answer to that, or the same side's next one.
    Continued { side: Side, base: Seq, syn: bool },
}

/// A connection in the table. Among a million of them, every packet finds its own outside of the cache: four adjacent
/// lines, fetched together, cost about as much as one.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Connection {
    /// As the sink sees it.
    pub(super) open: OpenConnection,
    pub(super) sides: [Half; 2],
    /// The virtual network of each side's segments; nearly always the same (`overlay`).
    pub(super) realms: [u32; 2],
    /// Packets seen of it, modulo 2^32.
    pub(super) packets: u32,
    /// Clock at its last packet.
    pub(super) last: i64,
    /// Its neighbours in its list.
    pub(super) link: Link,
    pub(super) listed: Listed,
    pub(super) flags: ConnectionFlags,
    pub(super) sighting: Sighting,
}

bitflags! {
    /// What is known of a connection, one bit each, so that it fits its cache lines.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct ConnectionFlags: u8 {
        /// Only SYNs were seen.
        const EMBRYONIC = 1;
        /// Picked up in mid-stream, and where its streams start may still change: everything is held.
        const STARTING = 2;
        /// Both sides seen, based and open, no FIN: [`Step::quick`] may take its segments.
        const ESTABLISHED = 4;
    }
}

impl Connection {
    pub(super) fn new(open: OpenConnection, realm: u32) -> Self {
        Self {
            open,
            sides: [Half::new(), Half::new()],
            realms: [realm; 2],
            packets: 0,
            last: 0,
            link: Link::default(),
            listed: Listed::NOWHERE,
            flags: ConnectionFlags::EMBRYONIC,
            sighting: Sighting::OPEN,
        }
    }

    pub(super) const fn half(&self, side: Side) -> &Half {
        let [first, second] = &self.sides;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    pub(super) const fn half_mut(&mut self, side: Side) -> &mut Half {
        let [first, second] = &mut self.sides;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// The half of a side, and the other one.
    pub(super) const fn pair(&mut self, side: Side) -> (&mut Half, &mut Half) {
        let [first, second] = &mut self.sides;
        match side {
            Side::First => (first, second),
            Side::Second => (second, first),
        }
    }

    /// Reads one word of each of its cache lines: a software prefetch.
    #[inline]
    pub(super) const fn prefetch(&self) -> u64 {
        let [first, second] = &self.sides;
        self.open.info.number ^ self.open.tag.serial() ^ first.next ^ second.next ^ self.last.cast_unsigned()
    }

    /// Both sides have ended.
    pub(super) const fn closed(&self) -> bool {
        self.half(Side::First).ended() && self.half(Side::Second).ended()
    }

    /// Bytes of memory that it takes outside of the table.
    pub(super) fn memory(&self) -> u64 {
        self.half(Side::First).memory() + self.half(Side::Second).memory()
    }

    /// Offset of a segment in its stream; `None` if it lies out of reach. May move a start that is not certain.
    fn locate(&mut self, side: Side, segment: &Segment<'_>, wire: u64) -> Option<i64> {
        let (own, peer) = self.pair(side);
        let offset = Seq(segment.seq).offset(own.base, own.next);
        let top = own.top().max(peer.acked).cast_signed();
        let bottom = own.next.cast_signed();
        if own.movable() && own.next == 0 && wire > 0 {
            if (-NEAR..0).contains(&offset) && !(wire == 1 && offset == -1) {
                self.move_start(side, offset.unsigned_abs());
                return Some(0);
            }
            if offset == 1 && own.out_of_order.is_none() && peer.acked <= 1 {
                // The start came from a keep-alive.
                own.base = own.base.plus(1);
                peer.acked = 0;
                return Some(0);
            }
        }
        let fits = offset + wire.cast_signed() >= bottom - REACH && offset <= top + REACH;
        fits.then_some(offset)
    }

    /// A side's acknowledgements say nothing any more: where the other stream starts was guessed wrongly, or never known.
    pub(super) fn forget_acks(&mut self, side: Side) {
        let own = self.half_mut(side);
        own.acked = 0;
        if let Some(store) = own.store_mut() {
            store.forget_acks();
        }
    }

    /// Moves the start of a side's stream `by` bytes back.
    pub(super) fn move_start(&mut self, side: Side, by: u64) {
        let (own, peer) = self.pair(side);
        own.base = Seq(own.base.0.wrapping_sub((by & 0xffff_ffff) as u32));
        peer.acked += by;
        if own.fin != UNKNOWN {
            own.fin += by;
        }
        if let Some(out_of_order) = &mut own.out_of_order {
            out_of_order.store.shift(by);
            // 0: nothing.
            for offset in [&mut out_of_order.lost_upto, &mut out_of_order.excused] {
                *offset += if *offset > 0 { by } else { 0 };
            }
        }
        if let Some(store) = peer.store_mut() {
            store.shift_acks(by);
        }
    }
}

/// One connection while a segment or a timer changes it.
pub(super) struct Step<'a, S> {
    pub(super) conn: &'a mut Connection,
    pub(super) shared: &'a mut Shared,
    pub(super) sink: &'a mut S,
    /// Capture time of the segment or the tick.
    pub(super) time: i64,
}

impl<S: Sink> Step<'_, S> {
    /// Takes a segment in order on an established connection that holds nothing, as nearly all are. False: it is
    /// another, and nothing was done.
    #[inline]
    pub(super) fn quick(&mut self, side: Side, segment: &Segment<'_>) -> bool {
        const KINDS: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
        let Self { conn, shared, sink, .. } = self;
        if !conn.flags.contains(ConnectionFlags::ESTABLISHED)
            || segment.flags.0 & KINDS != TcpFlags::ACK
            || segment.missing != 0
        {
            return false;
        }
        let [first, second] = &mut conn.sides;
        let (own, peer) = match side {
            Side::First => (first, second),
            Side::Second => (second, first),
        };
        let len = segment.payload.len();
        let in_order = own.out_of_order.is_none() && peer.out_of_order.is_none();
        let probe = len == 1 && peer.window == 0;
        if !in_order || Seq(segment.seq) != own.base.plus(own.next) || probe || len > MAX_PIECE {
            return false;
        }
        let behind = peer.base.plus(peer.next).since(Seq(segment.ack));
        let Some(acked) = peer.next.checked_add_signed(-behind).filter(|_| (0..REACH).contains(&behind)) else {
            return false;
        };
        let len = len as u64;
        let next = own.next + len;
        if len > 0 && own.skip > own.next {
            if next >= own.skip {
                return false;
            }
            if own.skipped_from == UNKNOWN {
                own.skipped_from = own.next;
            }
            shared.counters.skipped += len;
        } else if len > 0 {
            let at = Position { offset: own.next, peer_acked: acked, time: segment.time };
            sink.bytes(&mut conn.open, side, at, true, segment.payload);
            shared.counters.handed_on += len;
        }
        own.next = next;
        own.acked = own.acked.max(acked);
        own.window = segment.window;
        conn.packets = conn.packets.wrapping_add(1);
        true
    }

    /// Takes any segment. If the ports have a new owner the segment is not this connection's.
    pub(super) fn segment(&mut self, side: Side, segment: &Segment<'_>) -> Option<PortReuse> {
        let before = self.conn.memory();
        self.conn.packets = self.conn.packets.wrapping_add(1);
        let reuse = self.judge(side, segment);
        if self.shared.full {
            self.declare_cut();
        }
        self.settle(before);
        let established = !self.conn.flags.contains(ConnectionFlags::EMBRYONIC)
            && !self.conn.flags.contains(ConnectionFlags::STARTING)
            && self.conn.sides.iter().all(|half| {
                half.flags.contains(HalfFlags::SEEN | HalfFlags::BASED)
                    && !half.movable()
                    && !half.ended()
                    && half.fin == UNKNOWN
            });
        self.conn.flags.set(ConnectionFlags::ESTABLISHED, established);
        reuse
    }

    /// Gives back what is no longer needed, and accounts for the memory, which was `before`.
    pub(super) fn settle(&mut self, before: u64) {
        for half in &mut self.conn.sides {
            debug_assert!(
                half.skipped_from == UNKNOWN || half.next < half.skip,
                "a skipped range is reported where the skip ends"
            );
            half.release_if_empty();
        }
        let memory = self.shared.memory + self.conn.memory();
        debug_assert!(memory >= before, "the memory of all connections includes this one's");
        self.shared.memory = memory.saturating_sub(before);
    }

    /// Sorts out what kind of segment it is.
    fn judge(&mut self, side: Side, segment: &Segment<'_>) -> Option<PortReuse> {
        let flags = segment.flags;
        let len = segment.payload.len() as u64;
        if flags.syn() && (flags.fin() || flags.rst()) {
            self.shared.counters.odd_flags += len;
            return None;
        }
        if flags.syn() && self.conn.reset_pending() {
            self.finish(EndReason::Reset);
        }
        if self.conn.closed() {
            return self.after_close(side, segment);
        }
        if flags.rst() {
            self.shared.counters.in_reset += len;
            self.on_reset(side, segment);
            return None;
        }
        if flags.syn() {
            return self.on_syn(side, segment);
        }
        if !flags.ack() {
            self.shared.counters.no_ack += len;
            return None;
        }
        self.adopt(side, segment);
        let wire = len + u64::from(segment.missing) + u64::from(flags.fin());
        let Some(offset) = self.conn.locate(side, segment, wire) else {
            return self.on_out_of_window(side, segment, wire);
        };
        self.conn.flags.remove(ConnectionFlags::EMBRYONIC);
        let ack = self.on_ack(side, segment);
        self.on_data(side, segment, offset, ack);
        self.drain();
        None
    }

    /// Takes the numbering of a side from its first segment, where no handshake gave it.
    fn adopt(&mut self, side: Side, segment: &Segment<'_>) {
        let seq = Seq(segment.seq);
        let single = segment.payload.len() == 1 && !segment.flags.fin();
        let fresh = self.conn.flags.contains(ConnectionFlags::EMBRYONIC);
        let own = self.conn.half_mut(side);
        if own.flags.contains(HalfFlags::SEEN) {
            return;
        }
        own.flags.insert(HalfFlags::SEEN);
        if own.flags.contains(HalfFlags::EXACT) {
            return;
        }
        // A single byte may be a keep-alive's: garbage, one below the next sequence number.
        let start = seq.plus(u64::from(single));
        let guess = own.flags.contains(HalfFlags::BASED).then(|| seq.since(own.base));
        match guess {
            Some(0..=NEAR) => {}
            Some(-1) if segment.payload.len() <= 1 => {}
            Some(ahead) if (-NEAR..0).contains(&ahead) => self.conn.move_start(side, ahead.unsigned_abs()),
            Some(_) | None => {
                own.base = start;
                self.conn.forget_acks(side.other());
            }
        }
        let (own, peer) = self.conn.pair(side);
        own.flags.insert(HalfFlags::BASED);
        // If the other side has shown only a SYN, the start of this side was lost, and everything up to here with it.
        let only_syn = peer.flags.contains(HalfFlags::SEEN) && !segment.payload.is_empty();
        if only_syn || (fresh && !peer.flags.contains(HalfFlags::SEEN)) {
            self.conn.flags.insert(ConnectionFlags::STARTING);
        }
    }

    /// The current time, as grace is measured.
    pub(super) fn now(&self) -> Stamp {
        Stamp { time: self.shared.clock, packets: self.conn.packets }
    }

    /// Declares lost what the snap length cut off, up to the first byte that is held.
    fn declare_cut(&mut self) {
        for side in [Side::First, Side::Second] {
            let own = self.conn.half(side);
            let end = own.cut_end();
            if end > own.next && !own.ended() {
                self.shared.counters.gaps_cut += 1;
                self.declare_gap(side, end, Carrier::at(self.time));
            }
        }
    }

    /// Hands on what is held, declaring holes gaps, and ends both sides.
    pub(super) fn finish(&mut self, reason: EndReason) {
        let reset = self.conn.take_reset();
        let reason = if reset { EndReason::Reset } else { reason };
        if reason == EndReason::Reset {
            self.conn.sides.iter_mut().for_each(|half| half.flags.insert(HalfFlags::RESET));
        }
        self.drain();
        while self.resolve(Pressure::All) {
            self.drain();
        }
        self.declare_cut();
        for side in [Side::First, Side::Second] {
            let own = self.conn.half(side);
            if own.ended() {
                continue;
            }
            let reported = self.conn.half(side.other()).flags.contains(HalfFlags::REPORTED);
            let ack = if reported { own.acked } else { UNKNOWN };
            self.end(side, Carrier { ack, time: self.time }, reason);
        }
        self.conn.flags.remove(ConnectionFlags::ESTABLISHED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_four_cache_lines() {
        assert_eq!(size_of::<Option<Connection>>(), 256);
    }
}
