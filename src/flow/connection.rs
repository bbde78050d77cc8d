//! A connection is two streams and the rules by which a segment may touch them (RFC 9293).

use super::assembler::{Arrival, Fin, Moment, NEVER, UNKNOWN};
use super::order::Pressure;
use super::seq::Seq;
use super::stream::{Far, Known, NEAR, REACH, Stream};
use super::{Config, Conn, Counters, EndReason, Opener, Place, Side, Sink};
use crate::packet::{Segment, TcpFlags};

/// What all connections of a table have in common.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: Counters,
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

/// A connection in the table.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) conn: Conn,
    pub(super) sides: [Stream; 2],
    pub(super) realm: u32,
    /// Packets seen of it, modulo 2^32.
    pub(super) packets: u32,
    /// Clock at its last packet.
    pub(super) last: i64,
    /// Where it stands in the table's lists.
    pub(super) link: super::lists::Link,
    /// Only SYNs were seen.
    pub(super) embryonic: bool,
    /// It was ended by an RST.
    pub(super) reset: bool,
    /// Both sides seen, based and open, no FIN: the short way through.
    pub(super) plain: bool,
}

impl Connection {
    pub(super) fn new(conn: Conn, realm: u32) -> Self {
        Self {
            conn,
            sides: [Stream::new(), Stream::new()],
            realm,
            packets: 0,
            last: 0,
            link: super::lists::Link::default(),
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
        let tidy = own.untidy.is_none() && peer.untidy.is_none();
        let probe = len == 1 && peer.window == 0;
        if !tidy || Seq(segment.seq) != own.base.plus(own.next) || probe || len > super::MAX_PIECE {
            return false;
        }
        let behind = peer.base.plus(peer.next).since(Seq(segment.ack));
        let Some(acked) = peer.next.checked_add_signed(-behind).filter(|_| (0..REACH).contains(&behind)) else {
            return false;
        };
        let len = len as u64;
        let next = own.next + len;
        if own.skip > own.next {
            if next >= own.skip {
                return false;
            }
            if own.void_start == UNKNOWN {
                own.void_start = own.next;
            }
            shared.counters.skipped += len;
        } else if len > 0 {
            let place = Place { side, offset: own.next, peer_acked: Some(acked), time: segment.time };
            sink.bytes(&mut self.conn, place, true, segment.payload);
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
        self.settle(before, shared);
        self.plain = !self.embryonic
            && self.sides.iter().all(|stream| {
                stream.known.has(Known::SEEN | Known::BASED)
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

    /// After both ends: either a late segment, or a new connection.
    fn after_close(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared) -> Verdict {
        let own = self.stream(side);
        let repeated = Seq(segment.seq).plus(1) == own.base;
        if segment.flags.syn() && !repeated {
            return Verdict::Replace;
        }
        let len = segment.payload.len() as u64;
        if self.reset {
            shared.counters.after_reset += len;
        } else {
            shared.counters.late += len;
        }
        Verdict::Keep
    }

    /// Takes the numbering of a side from its first segment, where no handshake gave it.
    fn adopt(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared) {
        let seq = Seq(segment.seq);
        let single = segment.payload.len() == 1 && !segment.flags.fin();
        let fresh = self.embryonic;
        let (own, peer) = self.pair(side);
        if own.known.has(Known::SEEN) {
            return;
        }
        own.known.set(Known::SEEN);
        if own.known.has(Known::EXACT) {
            return;
        }
        // One byte may be a keep-alive's, which stands before the next byte and is garbage.
        let start = seq.plus(u64::from(single));
        let guess = own.known.has(Known::BASED).then(|| seq.since(own.base));
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
        own.known.set(Known::BASED);
        if fresh && !peer.known.has(Known::SEEN) {
            self.conn.midstream = true;
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
            if offset == 1 && own.untidy.is_none() && peer.acked <= 1 {
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
    fn move_start(&mut self, side: Side, by: u64) {
        let (own, peer) = self.pair(side);
        own.base = Seq(own.base.0.wrapping_sub((by & 0xffff_ffff) as u32));
        peer.acked += by;
        if own.fin != UNKNOWN {
            own.fin += by;
        }
        if let Some(untidy) = &mut own.untidy {
            untidy.store.shift(by);
            untidy.lost_upto += by;
            untidy.excused += by;
        }
        if let Some(store) = peer.store_mut() {
            store.shift_acks(by);
        }
    }

    pub(super) const fn moment(&self, shared: &Shared) -> Moment {
        Moment { time: shared.clock, packets: self.packets }
    }

    /// Takes the acknowledgement and the window. Gives the offset in the other stream, if that can be told.
    fn on_ack<S: Sink>(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared, sink: &mut S) -> u64 {
        let ack = Seq(segment.ack);
        let now = self.moment(shared);
        let (own, peer) = self.pair(side);
        own.window = segment.window;
        if !peer.known.has(Known::SEEN) {
            if !peer.known.has(Known::BASED) || !peer.known.has(Known::EXACT) {
                // All that is known of the other side. If this side's SYN was seen, it is its start.
                peer.base = ack;
                peer.known.set(Known::BASED);
                if own.known.has(Known::EXACT) {
                    peer.known.set(Known::EXACT);
                }
            }
            if !peer.known.has(Known::EXACT) {
                return UNKNOWN;
            }
        }
        let offset = ack.offset(peer.base, peer.next);
        let top = peer.top().max(own.acked).cast_signed();
        if offset > top + REACH || offset < peer.next.cast_signed() - REACH {
            return self.on_far_ack(side, segment, shared, sink);
        }
        let acked = offset.max(0).unsigned_abs();
        if acked > own.acked {
            own.acked = acked;
            if peer.fin != UNKNOWN && acked > peer.fin + 1 {
                // The receiver took bytes behind it: the FIN was not one of its connection.
                peer.fin = UNKNOWN;
                if let Some(store) = peer.store_mut() {
                    store.fin = None;
                }
                shared.counters.fin_invalid += 1;
            }
            let fin = peer.fin;
            if let Some(store) = peer.store_mut() {
                store.prove(acked, now);
                if let Some(waiting) = &mut store.fin
                    && waiting.proved == NEVER
                    && acked >= fin
                {
                    waiting.proved = now;
                }
            }
        }
        acked
    }

    /// Bytes and FIN of a segment at `offset` of its stream.
    fn on_data<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        offset: i64,
        ack: u64,
        shared: &mut Shared,
        sink: &mut S,
    ) {
        let payload = segment.payload;
        let missing = u64::from(segment.missing);
        let came = self.moment(shared);
        let (own, peer) = self.pair(side);
        let captured = offset + (payload.len() as u64).cast_signed();
        let next = own.next.cast_signed();
        let end = captured + missing.cast_signed();
        if let Some(store) = own.store_mut() {
            store.confirm_below(offset.max(0).unsigned_abs());
        }
        if offset == next - 1 && payload.len() <= 1 && missing == 0 && !segment.flags.fin() {
            shared.counters.keep_alives += 1;
            shared.counters.probe += payload.len() as u64;
            return;
        }
        if !payload.is_empty()
            && let Some(untidy) = &mut own.untidy
            && let Some(far) = &mut untidy.far
        {
            // It goes on where it was. A SYN that did not belong is remembered a little longer, for the SYN-ACK to it.
            far.run += 1;
            if !far.syn || far.run > 16 {
                untidy.far = None;
            }
        }
        let mut data = payload;
        let mut at = offset;
        if offset < next {
            let old = usize::try_from(next - offset).unwrap_or(usize::MAX).min(data.len());
            let (before, rest) = data.split_at_checked(old).unwrap_or((data, &[]));
            let account = if offset < 0 && !own.known.has(Known::EXACT) {
                &mut shared.counters.before_start
            } else if own.ended() && offset >= next {
                &mut shared.counters.late
            } else {
                &mut shared.counters.duplicate
            };
            *account += before.len() as u64;
            data = rest;
            at = next;
        }
        if own.ended() {
            shared.counters.late += data.len() as u64;
            return;
        }
        let at = at.max(0).unsigned_abs();
        if own.fin != UNKNOWN && at + data.len() as u64 > own.fin {
            let room = usize::try_from(own.fin.saturating_sub(at)).unwrap_or(usize::MAX);
            let (kept, behind) = data.split_at_checked(room).unwrap_or((data, &[]));
            shared.counters.behind_fin += behind.len() as u64;
            data = kept;
        }
        let probe = payload.len() == 1 && data.len() == 1 && missing == 0 && !segment.flags.fin();
        let tentative = probe && at == own.next && peer.window == 0 && peer.known.has(Known::SEEN);
        let behind = end.max(captured).max(0).unsigned_abs().saturating_sub(at + data.len() as u64);
        let arrival = Arrival {
            offset: at,
            data,
            ack,
            time: segment.time,
            came,
            proved: NEVER,
            missing: if own.fin == UNKNOWN { u32::try_from(behind).unwrap_or(segment.missing) } else { 0 },
            starts: offset == at.cast_signed(),
            tentative,
            keep: true,
        };
        if tentative {
            shared.counters.window_probes += 1;
        }
        if segment.flags.fin() {
            self.on_fin(side, end, &arrival, shared);
        }
        if !arrival.data.is_empty() || arrival.missing > 0 {
            self.take(side, arrival, shared, sink);
        }
    }

    /// Notes a FIN at offset `end`, if it can be the stream's.
    fn on_fin(&mut self, side: Side, end: i64, arrival: &Arrival<'_>, shared: &mut Shared) {
        let (own, peer) = self.pair(side);
        let Ok(end) = u64::try_from(end) else { return };
        let acked = peer.acked;
        let held = own.store().map_or(0, super::assembler::Assembler::end);
        if own.fin == end {
            return;
        }
        if own.fin != UNKNOWN || end < own.next.max(held) || acked > end + 1 {
            shared.counters.fin_invalid += 1;
            return;
        }
        own.fin = end;
        let proved = if acked >= end { arrival.came } else { NEVER };
        own.untidy().store.fin = Some(Fin { ack: arrival.ack, time: arrival.time, came: arrival.came, proved });
    }

    fn on_reset<S: Sink>(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared, sink: &mut S) {
        let (own, peer) = self.pair(side);
        let valid = if own.known.has(Known::BASED) && (own.known.has(Known::SEEN) || own.known.has(Known::EXACT)) {
            // As Linux and RFC 9293, section 3.5.3 have it: inside the receiver's window. The window's scale is not
            // known, so it is taken as it stands.
            let offset = Seq(segment.seq).offset(own.base, own.next);
            let low = if peer.known.has(Known::SEEN) { peer.acked } else { own.next };
            let top = own.top().max(peer.acked) + 1 + u64::from(peer.window);
            (low.cast_signed()..=top.cast_signed()).contains(&offset)
        } else {
            // An answer to a SYN or to data, from a side that has shown nothing else.
            let top = peer.base.plus(peer.top());
            segment.flags.ack() && peer.known.has(Known::SEEN) && (0..=1).contains(&Seq(segment.ack).since(top))
        };
        if !valid {
            shared.counters.rst_invalid += 1;
            return;
        }
        self.finish(EndReason::Reset, segment.time, shared, sink);
        self.reset = true;
    }

    fn on_syn<S: Sink>(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared, sink: &mut S) -> Verdict {
        let base = Seq(segment.seq).plus(1);
        let len = segment.payload.len() as u64;
        let acks = segment.flags.ack();
        let (own, peer) = self.pair(side);
        let syn_expected = peer.untidy.as_ref().and_then(|untidy| untidy.far).filter(|far| far.syn);
        if let Some(far) = syn_expected.filter(|far| acks && far.end == Seq(segment.ack)) {
            return Verdict::Succeed { side: side.other(), base: far.end, syn: true };
        }
        let known = own.known.has(Known::BASED) && !own.movable();
        if known && own.base != base {
            if acks {
                shared.counters.syn_ack_invalid += 1;
            } else {
                shared.counters.syn_mismatched += 1;
                own.untidy().far = Some(Far { start: base, end: base, syn: true, run: 0 });
            }
            shared.counters.stray_syn += len;
            return Verdict::Keep;
        }
        if acks && peer.known.has(Known::EXACT) {
            let offset = Seq(segment.ack).offset(peer.base, peer.next);
            if !(0..=peer.top().cast_signed()).contains(&offset) {
                shared.counters.syn_ack_invalid += 1;
                shared.counters.stray_syn += len;
                return Verdict::Keep;
            }
        }
        if own.known.has(Known::EXACT | Known::SEEN) {
            shared.counters.syn_repeated += 1;
        } else if own.movable() && own.known.has(Known::SEEN) && own.base != base {
            // The handshake comes late: what was held already keeps its place.
            let ahead = own.base.since(base);
            if (0..NEAR).contains(&ahead) {
                self.move_start(side, ahead.unsigned_abs());
            }
        }
        let (own, peer) = self.pair(side);
        if own.base == base || !own.known.has(Known::SEEN) {
            own.base = base;
            own.known.set(Known::BASED | Known::EXACT);
        }
        own.known.set(Known::SEEN);
        if acks && peer.movable() && !peer.known.has(Known::SEEN) {
            peer.base = Seq(segment.ack);
            peer.known.set(Known::BASED | Known::EXACT);
        }
        if self.conn.opener == Opener::Unknown && !self.conn.midstream {
            let opener = if acks { side.other() } else { side };
            self.conn.opener = match opener {
                Side::First => Opener::First,
                Side::Second => Opener::Second,
            };
        }
        let mut ack = UNKNOWN;
        if acks {
            let (_, peer) = self.pair(side);
            if Seq(segment.ack) == peer.base && peer.next == 0 {
                // The data in the SYN was refused (RFC 7413, section 4.2) and will be sent again.
                let refused = peer.store_mut().map_or(0, super::assembler::Assembler::drop_tentative);
                shared.counters.syn_refused += refused;
                shared.counters.held -= refused;
            }
            ack = self.on_ack(side, segment, shared, sink);
        } else {
            self.stream_mut(side).window = segment.window;
        }
        self.on_syn_data(side, segment, ack, shared, sink);
        self.drain(segment.time, shared, sink);
        Verdict::Keep
    }

    /// Data in a SYN waits until it is acknowledged: the receiver may refuse it.
    fn on_syn_data<S: Sink>(&mut self, side: Side, segment: &Segment<'_>, ack: u64, shared: &mut Shared, sink: &mut S) {
        let own = self.stream(side);
        let len = segment.payload.len() as u64;
        if len == 0 {
            return;
        }
        if own.next > 0 || own.ended() || own.fin != UNKNOWN {
            shared.counters.duplicate += len;
            return;
        }
        let arrival = Arrival {
            offset: 0,
            data: segment.payload,
            ack,
            time: segment.time,
            came: self.moment(shared),
            proved: NEVER,
            missing: segment.missing,
            starts: true,
            tentative: true,
            keep: true,
        };
        self.take(side, arrival, shared, sink);
    }

    /// A segment out of reach. An attacker can send one at will, and its receiver will not take it; but if capture
    /// lost much, or the ports have a new owner, the other side goes along.
    fn on_far<S: Sink>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        wire: u64,
        shared: &mut Shared,
        sink: &mut S,
    ) -> Verdict {
        let start = Seq(segment.seq);
        let end = start.plus(wire);
        let (own, peer) = self.pair(side);
        if let Some(far) = peer.untidy.as_ref().and_then(|untidy| untidy.far)
            && far.goes_along(Seq(segment.ack))
        {
            return Verdict::Succeed { side: side.other(), base: far.end, syn: far.syn };
        }
        let alone = !peer.known.has(Known::SEEN);
        let before = own.untidy().far;
        let far = match before {
            Some(far) if far.syn && far.end == start && alone => {
                return Verdict::Succeed { side, base: start, syn: true };
            }
            Some(far) if !far.syn && far.end == start => Far { end, run: far.run.saturating_add(1), ..far },
            Some(far) if far.syn => far,
            _ => Far { start, end, syn: false, run: 1 },
        };
        own.untidy().far = Some(far);
        // Nobody is there to go along: three in a row have to do (an arbitrary number).
        if alone && far.run >= 3 {
            if start.since(own.base.plus(own.next)) < 0 {
                return Verdict::Succeed { side, base: start, syn: false };
            }
            self.jump(side, start, segment.time, shared, sink);
            let offset = self.stream(side).next.cast_signed();
            let ack = self.on_ack(side, segment, shared, sink);
            self.on_data(side, segment, offset, ack, shared, sink);
            self.drain(segment.time, shared, sink);
        } else {
            shared.counters.out_of_reach += segment.payload.len() as u64;
        }
        Verdict::Keep
    }

    /// An acknowledgement out of reach, of a segment that is not: counts if the other side did go there.
    fn on_far_ack<S: Sink>(&mut self, side: Side, segment: &Segment<'_>, shared: &mut Shared, sink: &mut S) -> u64 {
        let peer = self.stream(side.other());
        let far = peer.untidy.as_ref().and_then(|untidy| untidy.far).filter(|far| !far.syn);
        let Some(far) = far.filter(|far| far.goes_along(Seq(segment.ack))) else {
            shared.counters.ack_invalid += 1;
            return UNKNOWN;
        };
        self.jump(side.other(), far.end, segment.time, shared, sink);
        let (own, peer) = self.pair(side);
        own.acked = peer.next;
        peer.next
    }

    /// A side's stream goes on at `to`, far ahead: all before it is lost.
    fn jump<S: Sink>(&mut self, side: Side, to: Seq, time: i64, shared: &mut Shared, sink: &mut S) {
        self.relieve(side, time, shared, sink);
        let own = self.stream_mut(side);
        own.untidy().far = None;
        let target = own.next + to.forward_from(own.base.plus(own.next));
        shared.counters.gaps_jumped += 1;
        self.advance_lost(side, target, UNKNOWN, time, shared, sink);
    }

    /// Declares every gap of a side, until it holds nothing.
    fn relieve<S: Sink>(&mut self, side: Side, time: i64, shared: &mut Shared, sink: &mut S) {
        while self.stream(side).store().is_some_and(|store| !store.is_empty()) {
            if !self.resolve(Pressure::Bound(side), time, shared, sink) {
                let dropped = self.stream_mut(side).store_mut().map_or(0, super::assembler::Assembler::drop_tentative);
                shared.counters.unfinished += dropped;
                shared.counters.held -= dropped;
                if dropped == 0 {
                    return;
                }
            }
            self.drain(time, shared, sink);
        }
    }

    /// Hands on what is held, declaring gaps, and ends both sides.
    pub(super) fn finish<S: Sink>(&mut self, reason: EndReason, time: i64, shared: &mut Shared, sink: &mut S) {
        self.drain(time, shared, sink);
        while self.resolve(Pressure::All, time, shared, sink) {
            self.drain(time, shared, sink);
        }
        for side in [Side::First, Side::Second] {
            let own = self.stream_mut(side);
            let dropped = own.store_mut().map_or(0, super::assembler::Assembler::drop_tentative);
            shared.counters.unfinished += dropped;
            shared.counters.held -= dropped;
            let own = self.stream(side);
            if own.ended() {
                continue;
            }
            let front = own.front();
            if front > own.next {
                shared.counters.gaps_cut += 1;
                self.advance_lost(side, front, UNKNOWN, time, shared, sink);
            }
            let acked = self.stream(side).acked;
            let ack = if self.stream(side.other()).known.has(Known::TOLD) { acked } else { UNKNOWN };
            self.end(side, ack, time, reason, shared, sink);
        }
        self.plain = false;
    }
}

impl Far {
    fn goes_along(&self, ack: Seq) -> bool {
        let span = self.end.since(self.start);
        let ahead = ack.since(self.start);
        ahead <= span && (ahead > 0 || self.syn && ahead == 0)
    }
}
