//! Laying out: turns what comes next of a connection into events for the guest.
//!
//! Some of it needs no call: bytes below a skip, and bytes that cannot wake what waits. These are *absorbed*, which is
//! final, so it is done only while nothing of the connection is encoded in the present call.

use super::{Driver, LoadedParser, SandboxCounters, Work};
use crate::abi::{self, event_flag, kind, row_flag};
use crate::batch::{NONE, Slot, SlotEvent, What};
use crate::sandbox::call::{Allowed, Call, Cursor, Encoded, Location, Mark, RowInput};
use crate::sandbox::connection::{ConnectionState, Skipped};
use crate::sandbox::extra::Extra;
use crate::sandbox::protocol::Protocol;
use crate::stream::{EndReason, Opener, Side};

/// The most bytes of neighbours that are joined to one event, beside what waits before them. A single piece may be as
/// long as [`crate::stream::MAX_PIECE`].
const MAX_JOIN: usize = 128 << 10;

/// What was done with the next thing of a connection.
enum Step {
    /// It is encoded.
    Encoded,
    /// It needs no call.
    Absorbed,
    /// It has to wait for the next call.
    Stop,
}

/// Bytes held at the host for more to come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) memory: u64,
    pub(super) bytes: u64,
}

/// What of a side is encoded in a call.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    events: u32,
    /// Offset behind them.
    end: u64,
}

/// One connection in the course of one layout.
struct Encoder<'a, S> {
    slot: &'a Slot,
    /// The guest's input buffer.
    input: &'a mut [u8],
    call: &'a mut Call,
    connection: &'a mut ConnectionState<S>,
    counters: &'a mut SandboxCounters,
    held: &'a mut Held,
    work: &'a mut Work,
    row: u32,
    /// Cursor behind all that is encoded or absorbed.
    cursor: Cursor,
    /// What of each side is encoded in this call.
    shown: [Shown; 2],
    /// Sides whose waiting bytes, and whose skipped stretch, are encoded in this call.
    waiting_encoded: [bool; 2],
    skipped_encoded: [bool; 2],
}

impl<S: Default> Driver<S> {
    /// Lays out up to `most` events of a row, and up to `window` pieces of each side. Gives the number of events.
    pub(super) fn encode_row(&mut self, slot: &Slot, row: u32, most: u32, window: u32) -> u32 {
        let Some(work) = self.works.get_mut(row as usize) else { return 0 };
        let Some(connection) = self.connections.get_mut(work.key) else { return 0 };
        let Some(loaded) = LoadedParser::find(&mut self.loaded, connection.format) else {
            return 0;
        };
        let Some(guest) = loaded.instance.as_mut() else { return 0 };
        if connection.ignored {
            return 0;
        }
        let mut layout = Encoder {
            slot,
            input: guest.input(),
            call: &mut self.call,
            connection,
            counters: &mut self.counters,
            held: &mut self.held,
            cursor: work.cursor,
            work,
            row,
            shown: [Shown::default(); 2],
            waiting_encoded: [false; 2],
            skipped_encoded: [false; 2],
        };
        while layout.all_encoded() < most && layout.window_has_room(window) {
            match layout.step() {
                Some(Step::Encoded) => {}
                // Nothing is encoded before: the cursor may move for good.
                Some(Step::Absorbed) => layout.work.cursor = layout.cursor,
                Some(Step::Stop) | None => break,
            }
        }
        layout.all_encoded()
    }

    /// Whether anything of a row is left.
    pub(super) fn has_work(&self, row: u32) -> bool {
        let Some(work) = self.works.get(row as usize) else { return false };
        let Some(connection) = self.connections.get(work.key) else { return false };
        let pending = connection.halves.iter().any(|half| {
            half.waiting.as_ref().is_some_and(|waiting| waiting.again) || half.skipped.as_ref().is_some_and(|v| v.ready)
        });
        !connection.ignored && (work.cursor.event != NONE || pending)
    }
}

fn flag(flags: [bool; 2], side: Side) -> bool {
    flags.get(side.index()).copied().unwrap_or(true)
}

fn set(flags: &mut [bool; 2], side: Side) {
    if let Some(flag) = flags.get_mut(side.index()) {
        *flag = true;
    }
}

impl<S> Encoder<'_, S> {
    fn shown(&self, side: Side) -> Shown {
        self.shown.get(side.index()).copied().unwrap_or_default()
    }

    /// An event of the slot, with offsets of the stream that is parsed: inside a tunnel its own.
    fn event_at(&self, index: u32) -> Option<SlotEvent> {
        let mut event = *self.slot.events.get(index as usize)?;
        if self.connection.outer.is_some() {
            let [first, second] = self.connection.base;
            let (own, other) = if event.side == Side::First { (first, second) } else { (second, first) };
            event.at.offset = event.at.offset.saturating_sub(own);
            event.at.peer_acked = match event.at.peer_acked {
                abi::UNKNOWN => abi::UNKNOWN,
                acked => acked.saturating_sub(other),
            };
        }
        Some(event)
    }

    fn all_encoded(&self) -> u32 {
        self.shown.iter().map(|shown| shown.events).sum()
    }

    /// Whether what is next may be encoded beside what is: of bytes, only so many pieces of a side. What is behind a gap
    /// waits until the guest has said what it needs of the gap: then its skipped stretch ends where the message does.
    fn window_has_room(&self, window: u32) -> bool {
        let Some(event) = self.event_at(self.cursor.event) else { return true };
        let shown = self.shown(event.side);
        let is_bytes = matches!(event.what, What::Bytes { .. });
        shown.events == 0 || (event.at.offset == shown.end && (shown.events < window || !is_bytes))
    }

    /// `None`: nothing is left.
    fn step(&mut self) -> Option<Step> {
        for side in [Side::First, Side::Second] {
            let half = self.connection.half(side);
            if let Some(waiting) = half.waiting.as_ref().filter(|w| w.again && !flag(self.waiting_encoded, side)) {
                let last = waiting.last;
                return Some(self.waiting_alone(side, last));
            }
            if half.skipped.as_ref().is_some_and(|skipped| skipped.ready) && !flag(self.skipped_encoded, side) {
                return Some(self.encode_skipped(side));
            }
        }
        let event = self.event_at(self.cursor.event)?;
        let side = event.side;
        let waits = self.connection.half(side).waiting.is_some() && !flag(self.waiting_encoded, side);
        Some(match event.what {
            What::Bytes { data, len, starts_segment } => {
                let passed = u32::try_from(self.cursor.passed).unwrap_or(len).min(len);
                let offset = event.at.offset + u64::from(passed);
                let half = self.connection.half(side);
                if half.skip > half.next && self.shown(side).events == 0 {
                    self.skip_bytes(&event, offset, len - passed)
                } else if !waits {
                    let mark = mark(&event, starts_segment && passed == 0);
                    self.piece(&event, offset, data + passed, len - passed, mark)
                } else if half.waiting.as_ref().is_some_and(|waiting| waiting.end() == offset) {
                    self.join(side)
                } else {
                    self.waiting_alone(side, true)
                }
            }
            What::Skipped { length, lost } if !waits => self.take_skipped(&event, length, lost),
            What::End(reason) if !waits => self.end(&event, reason),
            What::Skipped { .. } | What::End(_) => self.waiting_alone(side, true),
        })
    }

    fn advance(&mut self, event: &SlotEvent) {
        self.cursor = Cursor { event: event.next, passed: 0 };
    }

    /// Payload below a skip: counted, not shown.
    fn skip_bytes(&mut self, event: &SlotEvent, offset: u64, len: u32) -> Step {
        if self.all_encoded() > 0 {
            return Step::Stop;
        }
        let half = self.connection.half_mut(event.side);
        let until = offset.max(half.next).min(half.skip);
        let lost = until - half.next;
        let taken = u64::from(len).min(half.skip.saturating_sub(offset));
        self.extend_skipped(event, lost + taken, lost);
        self.counters.skipped += taken;
        self.cursor.passed += taken;
        if taken == u64::from(len) {
            self.advance(event);
        }
        Step::Absorbed
    }

    /// Makes the side's skipped stretch longer, and ready when the skip is reached.
    fn extend_skipped(&mut self, event: &SlotEvent, length: u64, lost: u64) {
        let half = self.connection.half_mut(event.side);
        let start = Skipped {
            offset: half.next,
            length: 0,
            lost: 0,
            // Lost bytes have no time: what ends in them ended with the last byte that came.
            time: half.last_time,
            peer_acked: event.at.peer_acked,
            ready: false,
        };
        let skipped = half.skipped.get_or_insert_with(|| Box::new(start));
        skipped.length += length;
        skipped.lost += lost;
        if length > lost {
            skipped.time = event.at.time;
            skipped.peer_acked = event.at.peer_acked;
            half.last_time = event.at.time;
        }
        half.next = half.next.saturating_add(length);
        skipped.ready = half.next >= half.skip;
    }

    /// A stretch that the capture thread left out.
    fn take_skipped(&mut self, event: &SlotEvent, length: u64, lost: u64) -> Step {
        if self.all_encoded() > 0 {
            return Step::Stop;
        }
        let half = self.connection.half_mut(event.side);
        let gap = event.at.offset.saturating_sub(half.next);
        // The guest had said that it needs none of this, or the capture thread would not have left it out.
        half.skip = half.skip.max(event.at.offset.saturating_add(length));
        self.extend_skipped(event, gap + length, gap + lost);
        self.advance(event);
        Step::Absorbed
    }

    fn end(&mut self, event: &SlotEvent, reason: EndReason) -> Step {
        let side = event.side;
        let half = self.connection.half(side);
        if half.skip > half.next && self.shown(side).events == 0 {
            if self.all_encoded() > 0 {
                return Step::Stop;
            }
            let lost = event.at.offset.min(half.skip).saturating_sub(half.next);
            let half = self.connection.half_mut(side);
            half.skip = half.next + lost;
            if lost > 0 || half.skipped.is_some() {
                self.extend_skipped(event, lost, lost);
            }
            return Step::Absorbed;
        }
        let encoded = abi::Event {
            offset: event.at.offset,
            reason: reason as u8,
            ..header(side, kind::END, event.at.peer_acked)
        };
        self.cursor = Cursor { event: event.next, passed: 0 };
        self.encode(encoded, &[mark(event, false)], Location::Joined(0), 0, false)
    }

    fn encode_skipped(&mut self, side: Side) -> Step {
        let Some(skipped) = self.connection.half(side).skipped.as_deref().copied() else { return Step::Stop };
        let head = header(side, kind::VOID, skipped.peer_acked);
        let event = abi::Event { offset: skipped.offset, length: skipped.length, lost: skipped.lost, ..head };
        let mark = Mark { position: 0, segment: false, time: skipped.time, peer_acked: skipped.peer_acked };
        let step = self.encode(event, &[mark], Location::Joined(0), 0, false);
        if matches!(step, Step::Encoded) {
            set(&mut self.skipped_encoded, side);
        }
        step
    }

    /// One piece as it lies in the slot.
    fn piece(&mut self, event: &SlotEvent, offset: u64, data: u32, len: u32, mark: Mark) -> Step {
        let before = self.cursor;
        self.advance(event);
        let flags = if mark.segment { event_flag::SEGMENT } else { 0 };
        let encoded = abi::Event { offset, flags, ..header(event.side, kind::BYTES, event.at.peer_acked) };
        let step = self.encode(encoded, &[mark], Location::Slot(data), len, false);
        if !matches!(step, Step::Encoded) {
            self.cursor = before;
        }
        step
    }

    /// What waits, with nothing behind it.
    fn waiting_alone(&mut self, side: Side, last: bool) -> Step {
        let Some(waiting) = self.connection.half_mut(side).waiting.take() else { return Step::Stop };
        let from = self.call.joined.len();
        let len = u32::try_from(waiting.bytes.len()).unwrap_or(0);
        let step = if self.call.has_room(waiting.bytes.len(), waiting.marks.len(), 0) {
            self.call.joined.extend_from_slice(&waiting.bytes);
            self.encode_joined(side, &waiting.marks, waiting.offset, waiting.seen, (from, len), last)
        } else {
            Step::Stop
        };
        self.connection.half_mut(side).waiting = Some(waiting);
        step
    }

    /// What waits, with the neighbours that follow; or, if they cannot wake it, only appended.
    fn join(&mut self, side: Side) -> Step {
        let Some(mut waiting) = self.connection.half_mut(side).waiting.take() else { return Step::Stop };
        let step = self.join_to(side, &mut waiting);
        self.connection.half_mut(side).waiting = Some(waiting);
        step
    }

    fn join_to(&mut self, side: Side, waiting: &mut crate::sandbox::connection::Waiting) -> Step {
        let (start, passed) = (self.cursor.event, self.cursor.passed);
        let (total, pieces, behind, woken) = self.neighbours(side, waiting);
        let room = total <= abi::MAX_WAITING as usize;
        if !woken && room && self.all_encoded() > 0 {
            return Step::Stop;
        }
        if !self.call.has_room(total, waiting.marks.len() + pieces, 0) {
            return Step::Stop;
        }
        let (len, marks) = (waiting.bytes.len(), waiting.marks.len());
        let (before, newest) = (waiting.memory(), waiting.marks.last().copied());
        let mut next = start;
        let mut from = u32::try_from(passed).unwrap_or(0);
        for _ in 0..pieces {
            let Some(event) = self.event_at(next) else { break };
            if let What::Bytes { data, len, starts_segment } = event.what {
                let bytes = self.slot.payload(data + from.min(len), len - from.min(len));
                waiting.append(bytes, starts_segment && from == 0, event.at.time, event.at.peer_acked);
            }
            from = 0;
            next = event.next;
        }
        if !woken && room {
            self.held.memory += waiting.memory() - before;
            self.held.bytes += (waiting.bytes.len() - len) as u64;
            let half = self.connection.half_mut(side);
            half.next = waiting.end();
            half.last_time = waiting.marks.last().map_or(half.last_time, |mark| mark.time);
            self.cursor = behind;
            return Step::Absorbed;
        }
        // Presented: assembled for the guest, but waiting as before until the reply is in.
        let at = self.call.joined.len();
        self.call.joined.extend_from_slice(&waiting.bytes);
        let whole = u32::try_from(waiting.bytes.len()).unwrap_or(0);
        let cursor = std::mem::replace(&mut self.cursor, behind);
        let all = std::mem::take(&mut waiting.marks);
        let step = self.encode_joined(side, &all, waiting.offset, waiting.seen, (at, whole), false);
        waiting.bytes.truncate(len);
        waiting.marks = all;
        waiting.marks.truncate(marks);
        if let (Some(last), Some(newest)) = (waiting.marks.last_mut(), newest) {
            *last = newest;
        }
        self.held.memory += waiting.memory() - before;
        if !matches!(step, Step::Encoded) {
            self.cursor = cursor;
        }
        step
    }

    /// Total length with what waits, number of pieces, cursor behind them, and whether they hold the wake byte.
    fn neighbours(&self, side: Side, waiting: &crate::sandbox::connection::Waiting) -> (usize, usize, Cursor, bool) {
        let mut total = waiting.bytes.len();
        let mut end = waiting.end();
        let mut pieces = 0;
        let mut woken = waiting.wake.is_none();
        let mut cursor = self.cursor;
        while let Some(event) = self.event_at(cursor.event) {
            let What::Bytes { data, len, .. } = event.what else { break };
            let passed = u32::try_from(cursor.passed).unwrap_or(len).min(len);
            let next = total + (len - passed) as usize;
            let fits = pieces == 0 || next - waiting.bytes.len() <= MAX_JOIN;
            if event.side != side || event.at.offset + u64::from(passed) != end || !fits {
                break;
            }
            let bytes = self.slot.payload(data + passed, len - passed);
            woken = woken || waiting.wake.is_some_and(|wake| memchr::memchr(wake, bytes).is_some());
            total = next;
            end += u64::from(len - passed);
            pieces += 1;
            cursor = Cursor { event: event.next, passed: 0 };
        }
        (total, pieces, cursor, woken)
    }

    fn encode_joined(
        &mut self,
        side: Side,
        marks: &[Mark],
        offset: u64,
        seen: u32,
        place: (usize, u32),
        last: bool,
    ) -> Step {
        let first =
            marks.first().copied().unwrap_or(Mark { position: 0, segment: false, time: 0, peer_acked: abi::UNKNOWN });
        let segment = if first.segment { event_flag::SEGMENT } else { 0 };
        let flags = segment | if last { event_flag::FINAL } else { 0 };
        let event = abi::Event { offset, seen, flags, ..header(side, kind::BYTES, first.peer_acked) };
        let (at, len) = place;
        let step = self.encode(event, marks, Location::Joined(u32::try_from(at).unwrap_or(0)), len, true);
        if matches!(step, Step::Encoded) {
            set(&mut self.waiting_encoded, side);
        }
        step
    }

    fn encode(&mut self, event: abi::Event, marks: &[Mark], location: Location, len: u32, took_waiting: bool) -> Step {
        let extra = self.connection.extra.as_ref().map_or(0, |extra| extra.size());
        if !self.call.has_room(len as usize, marks.len(), extra) {
            return Step::Stop;
        }
        let first_of_row = self.work.guest_row == NONE;
        if first_of_row {
            let row = row_input(self.connection, &self.call.protocols);
            self.work.guest_row = self.call.row(self.input, &row);
        }
        let first_mark = u32::try_from(self.call.marks.len()).unwrap_or(0);
        self.call.marks.extend_from_slice(marks);
        let num_marks = u32::try_from(marks.len()).unwrap_or(0);
        let side = event.side;
        let event = abi::Event { row: self.work.guest_row, ..event };
        let encoded = Encoded {
            event,
            slot_row: self.row,
            after: self.cursor,
            location,
            first_mark,
            num_marks,
            took_waiting,
            first_of_row,
        };
        self.call.event(self.input, encoded, len, self.slot);
        if let Some(shown) = self.shown.get_mut(usize::from(side)) {
            shown.events += 1;
            shown.end = event.offset.saturating_add(event.length).saturating_add(u64::from(len));
        }
        Step::Encoded
    }
}

/// A connection as its row shows it.
pub(super) fn row_input<'a, S>(connection: &'a ConnectionState<S>, protocols: &[Protocol]) -> RowInput<'a> {
    let info = &connection.info;
    let extra = connection.extra.as_deref();
    let hand_over = connection.hand_over;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let may_grow = extra.is_none_or(Extra::may_grow);
    let protocol = protocols.iter().position(|protocol| *protocol == connection.format.protocol);
    RowInput {
        block: &connection.block,
        extra: extra.map_or(&[], Extra::bytes),
        extra_size: extra.map_or(0, Extra::size),
        opener: match info.opener {
            Opener::First => abi::opener::SIDE0,
            Opener::Second => abi::opener::SIDE1,
            Opener::Unknown => abi::opener::UNKNOWN,
        },
        flags: flag(info.midstream, row_flag::MIDSTREAM)
            | flag(extra.is_some_and(Extra::lost), row_flag::EXTRA_LOST)
            | flag(!may_grow, row_flag::NO_GROWTH)
            | flag(hand_over.unseen, row_flag::HANDED_OVER),
        depth: info.depth(),
        handed_by: hand_over.by,
        allowed: Allowed {
            grow: may_grow,
            hand_over: hand_over.count < abi::MAX_HAND_OVERS,
            just_handed_over: hand_over.unconsumed,
            inner: info.depth() < abi::MAX_DEPTH,
            protocol: protocol.and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX),
        },
    }
}

fn header(side: Side, kind: u8, peer_acked: u64) -> abi::Event {
    abi::Event { side: side as u8, kind, peer_acked, ..abi::Event::default() }
}

const fn mark(event: &SlotEvent, segment: bool) -> Mark {
    Mark { position: 0, segment, time: event.at.time, peer_acked: event.at.peer_acked }
}
