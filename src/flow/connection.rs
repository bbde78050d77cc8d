//! A connection is two streams and the rules by which a segment may touch them (RFC 9293).

use super::assembler::{Carrier, Moment, UNKNOWN};
use super::release::Pressure;
use super::seq::Seq;
use super::stream::{NEAR, REACH, Stream, StreamFlags};
use super::timers::{Link, Listed};
use super::{Config, FlowCounters};
use crate::packet::{Segment, TcpFlags};
use crate::stream::{EndReason, MAX_PIECE, OpenConnection, Position, Side, Sink};

/// What all connections of a table have in common.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: FlowCounters,
    /// The latest time of any frame: never goes back.
    pub(super) clock: i64,
    /// Bytes of memory that connections take outside of the table.
    pub(super) memory: u64,
    /// No more bytes may be held for now.
    pub(super) full: bool,
}

/// What is to be done with the connection after a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// Its ports have been taken: the segment begins another connection.
    Replace,
    /// Its ports have been taken by a connection of which `side` has sent what lies before `base`; the segment is the
    /// other side's answer to it (or, `own`, that side's next one).
    Succeed { side: Side, base: Seq, syn: bool },
}

/// A connection in the table. Among a million of them every packet finds its own outside of the cache: four lines side
/// by side, fetched together, cost about as much as one.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Connection {
    pub(super) conn: OpenConnection,
    pub(super) sides: [Stream; 2],
    pub(super) realm: u32,
    /// Packets seen of it, modulo 2^32.
    pub(super) packets: u32,
    /// Clock at its last packet.
    pub(super) last: i64,
    /// Where it stands in the table's lists.
    pub(super) link: Link,
    pub(super) listed: Listed,
    /// Only SYNs were seen.
    pub(super) embryonic: bool,
    /// It was ended by an RST.
    pub(super) reset: bool,
    /// Both sides seen, based and open, no FIN: the short way through.
    pub(super) plain: bool,
}

impl Connection {
    pub(super) fn new(conn: OpenConnection, realm: u32) -> Self {
        Self {
            conn,
            sides: [Stream::new(), Stream::new()],
            realm,
            packets: 0,
            last: 0,
            link: Link::default(),
            listed: Listed::NOWHERE,
            embryonic: true,
            reset: false,
            plain: false,
        }
    }

    pub(super) const fn stream(&self, side: Side) -> &Stream {
        let [first, second] = &self.sides;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    pub(super) const fn stream_mut(&mut self, side: Side) -> &mut Stream {
        let [first, second] = &mut self.sides;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// The stream of a side, and the other one.
    pub(super) const fn pair(&mut self, side: Side) -> (&mut Stream, &mut Stream) {
        let [first, second] = &mut self.sides;
        match side {
            Side::First => (first, second),
            Side::Second => (second, first),
        }
    }

    /// Reads one word of each of its cache lines: a software prefetch.
    #[inline]
    pub(super) const fn touch(&self) -> u64 {
        let [first, second] = &self.sides;
        self.conn.info.number ^ self.conn.tag.serial ^ first.next ^ second.next ^ self.last.cast_unsigned()
    }

    /// Both sides have ended.
    pub(super) const fn closed(&self) -> bool {
        self.stream(Side::First).ended() && self.stream(Side::Second).ended()
    }

    pub(super) fn memory(&self) -> u64 {
        self.stream(Side::First).memory() + self.stream(Side::Second).memory()
    }

    /// A segment in order on a tidy connection, which nearly all are. False: it is not, and nothing was done.
    #[inline]
    pub(super) fn quick<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        shared: &mut Shared,
        sink: &mut S,
    ) -> bool {
        const KINDS: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
        if !self.plain || segment.flags.0 & KINDS != TcpFlags::ACK || segment.missing != 0 {
            return false;
        }
        let [first, second] = &mut self.sides;
        let (own, peer) = match side {
            Side::First => (first, second),
            Side::Second => (second, first),
        };
        let len = segment.payload.len();
        let tidy = own.out_of_order.is_none() && peer.out_of_order.is_none();
        let probe = len == 1 && peer.window == 0;
        if !tidy || Seq(segment.seq) != own.base.plus(own.next) || probe || len > MAX_PIECE {
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
            sink.bytes(&mut self.conn, side, at, true, segment.payload);
            shared.counters.handed_on += len;
        }
        own.next = next;
        own.acked = own.acked.max(acked);
        own.window = segment.window;
        self.packets = self.packets.wrapping_add(1);
        true
    }

    /// Any segment.
    pub(super) fn segment<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        shared: &mut Shared,
        sink: &mut S,
    ) -> Verdict {
        let before = self.memory();
        self.packets = self.packets.wrapping_add(1);
        let verdict = self.judge(side, segment, shared, sink);
        if shared.full {
            self.give_up_cut(segment.time, shared, sink);
        }
        self.settle(before, shared);
        self.plain = !self.embryonic
            && self.sides.iter().all(|stream| {
                stream.flags.contains(StreamFlags::SEEN | StreamFlags::BASED)
                    && !stream.movable()
                    && !stream.ended()
                    && stream.fin == UNKNOWN
            });
        verdict
    }

    /// Gives back what is no longer needed, and accounts for the memory, which was `before`.
    pub(super) fn settle(&mut self, before: u64, shared: &mut Shared) {
        for side in [Side::First, Side::Second] {
            self.stream_mut(side).tidy();
        }
        shared.memory = (shared.memory + self.memory()).saturating_sub(before);
    }

    fn judge<S: Sink>(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared, sink: &mut S) -> Verdict {
        let flags = segment.flags;
        let len = segment.payload.len() as u64;
        if flags.syn() && (flags.fin() || flags.rst()) {
            shared.counters.odd_flags += len;
            return Verdict::Keep;
        }
        if self.closed() {
            return self.after_close(side, segment, shared);
        }
        if flags.rst() {
            shared.counters.in_reset += len;
            self.on_reset(side, segment, shared, sink);
            return Verdict::Keep;
        }
        if flags.syn() {
            return self.on_syn(side, segment, shared, sink);
        }
        if !flags.ack() {
            shared.counters.no_ack += len;
            return Verdict::Keep;
        }
        self.adopt(side, segment, shared);
        let wire = len + u64::from(segment.missing) + u64::from(flags.fin());
        let Some(offset) = self.locate(side, segment, wire) else {
            return self.on_far(side, segment, wire, shared, sink);
        };
        self.embryonic = false;
        let ack = self.on_ack(side, segment, shared, sink);
        self.on_data(side, segment, offset, ack, shared, sink);
        self.drain(segment.time, shared, sink);
        Verdict::Keep
    }

    /// Takes the numbering of a side from its first segment, where no handshake gave it.
    fn adopt(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared) {
        let seq = Seq(segment.seq);
        let single = segment.payload.len() == 1 && !segment.flags.fin();
        let fresh = self.embryonic;
        let (own, peer) = self.pair(side);
        if own.flags.contains(StreamFlags::SEEN) {
            return;
        }
        own.flags.insert(StreamFlags::SEEN);
        if own.flags.contains(StreamFlags::EXACT) {
            return;
        }
        // One byte may be a keep-alive's, which stands before the next byte and is garbage.
        let start = seq.plus(u64::from(single));
        let guess = own.flags.contains(StreamFlags::BASED).then(|| seq.since(own.base));
        match guess {
            Some(0..=NEAR) => {}
            Some(-1) if segment.payload.len() <= 1 => {}
            Some(ahead) if (-NEAR..0).contains(&ahead) => {
                own.base = seq;
                peer.acked = ahead.unsigned_abs();
            }
            Some(_) | None => {
                own.base = start;
                peer.acked = 0;
            }
        }
        own.flags.insert(StreamFlags::BASED);
        // A SYN alone is no start: what the other side begins with was lost, and everything up to here with it.
        let only_syn = peer.flags.contains(StreamFlags::SEEN) && !segment.payload.is_empty();
        if only_syn || (fresh && !peer.flags.contains(StreamFlags::SEEN)) {
            self.conn.info.midstream = true;
            shared.counters.midstream += 1;
        }
    }

    /// Offset of a segment in its stream, or nothing if it lies out of reach. May move a start that is not certain.
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
                // What gave the start was a keep-alive.
                own.base = own.base.plus(1);
                peer.acked = 0;
                return Some(0);
            }
        }
        let fits = offset + wire.cast_signed() >= bottom - REACH && offset <= top + REACH;
        fits.then_some(offset)
    }

    /// A side's stream starts `by` bytes earlier than was thought.
    pub(super) fn move_start(&mut self, side: Side, by: u64) {
        let (own, peer) = self.pair(side);
        own.base = Seq(own.base.0.wrapping_sub((by & 0xffff_ffff) as u32));
        peer.acked += by;
        if own.fin != UNKNOWN {
            own.fin += by;
        }
        if let Some(out_of_order) = &mut own.out_of_order {
            out_of_order.store.shift(by);
            out_of_order.lost_upto += by;
            out_of_order.excused += by;
        }
        if let Some(store) = peer.store_mut() {
            store.shift_acks(by);
        }
    }

    pub(super) const fn moment(&self, shared: &Shared) -> Moment {
        Moment { time: shared.clock, packets: self.packets }
    }

    /// Declares lost what the snap length cut off and nothing stands behind.
    fn give_up_cut<S: Sink>(&mut self, time: i64, shared: &mut Shared, sink: &mut S) {
        for side in [Side::First, Side::Second] {
            let own = self.stream(side);
            let front = own.front();
            if front > own.next && !own.ended() {
                shared.counters.gaps_cut += 1;
                self.advance_lost(side, front, Carrier::at(time), shared, sink);
            }
        }
    }

    /// Hands on what is held, declaring gaps, and ends both sides.
    pub(super) fn finish<S: Sink>(&mut self, reason: EndReason, time: i64, shared: &mut Shared, sink: &mut S) {
        self.drain(time, shared, sink);
        while self.resolve(Pressure::All, time, shared, sink) {
            self.drain(time, shared, sink);
        }
        self.give_up_cut(time, shared, sink);
        for side in [Side::First, Side::Second] {
            let own = self.stream(side);
            if own.ended() {
                continue;
            }
            let acked = self.stream(side).acked;
            let ack = if self.stream(side.other()).flags.contains(StreamFlags::TOLD) { acked } else { UNKNOWN };
            self.end(side, Carrier { ack, time }, reason, shared, sink);
        }
        self.plain = false;
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
