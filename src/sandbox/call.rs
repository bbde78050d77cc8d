//! A call is the host's side of one call of the guest: its events, and where in the guest's buffers its parts lie.
//!
//! It writes into buffers that it is given, and knows nothing of instances.

use zerocopy::{FromBytes, IntoBytes};

use super::protocol::Protocol;
use crate::abi;
use crate::batch::Slot;

/// Events in one call.
pub const MAX_EVENTS: u32 = 2048;
/// Connections in one call.
pub const MAX_ROWS: u32 = 2048;
/// Marks in one call.
pub const MAX_MARKS: u32 = 16384;
/// Payload bytes in one call: a slot, or one joined event and all that may wait before it.
pub const ARENA_BYTES: u32 = 512 << 10;
/// Records in one reply. A guest with more to say answers *output_full* and is called again.
pub const MAX_RECORDS: u32 = 4096;
/// Header pairs in one reply.
pub const MAX_PAIRS: u32 = 16384;
/// Extra state in one call.
pub const STATES_BYTES: u32 = 1 << 20;
/// Bytes of texts that the guest writes in one reply: decoded ones.
pub const TEXT_BYTES: u32 = 256 << 10;
/// Alignment of both buffers, and of each connection's extra state.
pub const ALIGN: u32 = 64;

/// Size of a structure of the contract: all are small.
#[expect(clippy::cast_possible_truncation, reason = "no structure of the contract is larger than 256 bytes")]
const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

const EVENTS_AT: u32 = size::<abi::Input>();
const ROWS_AT: u32 = EVENTS_AT + MAX_EVENTS * size::<abi::Event>();
const MARKS_AT: u32 = ROWS_AT + MAX_ROWS * size::<abi::Row>();
const PROTOCOLS_AT: u32 = MARKS_AT + MAX_MARKS * 4;
const STATES_AT: u32 = (PROTOCOLS_AT + size::<[Protocol; abi::MAX_PROTOCOLS]>()).next_multiple_of(ALIGN);
const ARENA_AT: u32 = STATES_AT + STATES_BYTES;
/// Size of the input buffer.
pub const INPUT_BYTES: u32 = ARENA_AT + ARENA_BYTES;

pub(super) const RESULTS_AT: u32 = size::<abi::Output>();
pub(super) const RECORDS_AT: u32 = RESULTS_AT + MAX_EVENTS * size::<abi::Result>();
pub(super) const PAIRS_AT: u32 = RECORDS_AT + MAX_RECORDS * size::<abi::Record>();
pub(super) const TEXT_AT: u32 = PAIRS_AT + MAX_PAIRS * size::<abi::Pair>();
/// Size of the output buffer.
pub const OUTPUT_BYTES: u32 = TEXT_AT + TEXT_BYTES;

/// Which packet carried the bytes of an event from a position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Position in the event.
    pub position: u32,
    /// The byte there is the first of a segment.
    pub segment: bool,
    /// Time of the packet, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// Offset of the other side's stream that its sender had acknowledged, or [`abi::UNKNOWN`].
    pub peer_acked: u64,
}

/// Where the host keeps the bytes of an encoded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the slot's arena, from this position on.
    Slot(u32),
    /// In the call's own buffer for joined events, from this position on.
    Joined(u32),
}

/// An event as it was encoded for the guest, and what the host needs to commit the answer.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    /// As the guest sees it.
    pub event: abi::Event,
    /// Index of its row in the slot.
    pub slot_row: u32,
    /// The row's cursor behind it.
    pub after: Cursor,
    /// Where the bytes are.
    pub location: Location,
    /// Index of its first mark among the call's.
    pub first_mark: u32,
    /// Number of its marks, at least 1.
    pub num_marks: u32,
    /// Whether what waited at the host for this side is part of it.
    pub took_waiting: bool,
    /// The first event of its connection in the call.
    pub first_of_row: bool,
}

/// How far the host has come with a connection's events in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Index of the next event in the slot.
    pub event: u32,
    /// The order of the last event that was begun: see [`crate::batch::SlotEvent::order`].
    pub order: u32,
    /// Bytes of it that are done with.
    pub passed: u64,
}

/// A connection as it is written for a call.
#[derive(Debug, Clone, Copy)]
pub struct RowInput<'a> {
    /// Its block.
    pub block: &'a abi::Block,
    /// Its extra state, as far as it is in use.
    pub extra: &'a [u8],
    /// Bytes of extra state granted.
    pub extra_size: u32,
    /// One of [`abi::opener`].
    pub opener: u8,
    /// Bits of [`abi::row_flag`].
    pub flags: u8,
    /// Inside so many tunnels.
    pub depth: u8,
    /// 0, or 1 + index of the protocol that handed it over.
    pub handed_by: u8,
    /// What the guest may ask for.
    pub allowed: Allowed,
}

impl RowInput<'_> {
    /// As a row, but for where its extra state lies.
    #[must_use]
    #[inline]
    pub fn row(&self) -> abi::Row {
        let &Self { block, extra, extra_size, opener, flags, depth, handed_by, .. } = self;
        let extra_used = u32::try_from(extra.len()).unwrap_or(0);
        let (alpn, scratch, grow, hand_to, reserved) = (0, 0, 0, 0, [0; 2]);
        abi::Row {
            block: *block,
            opener,
            flags,
            depth,
            alpn,
            scratch,
            extra: 0,
            extra_size,
            extra_used,
            grow,
            handed_by,
            hand_to,
            reserved,
            bodies: 0,
        }
    }
}

/// What a guest may ask for of a connection: more would be a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// More extra state than there is.
    pub grow: bool,
    /// Another protocol.
    pub hand_over: bool,
    /// It was handed over, and nothing of it has been consumed since.
    pub just_handed_over: bool,
    /// A stream inside a tunnel.
    pub inner: bool,
    /// Index of the protocol that it has now.
    pub protocol: u8,
}

/// What the host knows of a row of the call.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowNote {
    pub extra: u32,
    pub extra_size: u32,
    pub allowed: Allowed,
}

/// How large a call and its reply may be: as large as the buffers allow, or less in tests.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Events in one call.
    pub events: u32,
    /// Records in one reply, at least 8.
    pub records: u32,
    /// Header pairs in one reply, at least [`abi::MAX_PAIRS`].
    pub pairs: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: MAX_EVENTS, records: MAX_RECORDS, pairs: MAX_PAIRS }
    }
}

/// The host's side of one call.
#[derive(Debug, Default)]
pub struct Call {
    /// Events in order.
    pub encoded: Vec<Encoded>,
    /// Marks of all events.
    pub marks: Vec<Mark>,
    /// Bytes of events that were joined from several pieces.
    pub joined: Vec<u8>,
    /// What the guest is shown of the marks: positions at which segments start.
    segment_marks: Vec<u32>,
    /// Rows in use.
    pub(super) rows: Vec<RowNote>,
    /// Bytes of extra state in the call.
    states: u32,
    /// The protocols that connections can be handed over to.
    pub protocols: Vec<Protocol>,
    /// Bytes at the front of each body that are wanted.
    pub bodies: u32,
    /// Bytes in the guest's arena.
    arena: u32,
    /// Bounds of this call.
    pub bounds: Bounds,
}

impl Call {
    /// An empty call with these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.encoded.clear();
        self.marks.clear();
        self.joined.clear();
        self.segment_marks.clear();
        self.rows.clear();
        self.states = 0;
        self.arena = 0;
    }

    /// Whether an event with `bytes` bytes and `marks` marks still fits, of a connection with so much extra state, which counts
    /// whether or not it has a row already.
    #[must_use]
    pub fn has_room(&self, bytes: usize, marks: usize, extra: u32) -> bool {
        let events = u32::try_from(self.encoded.len()).is_ok_and(|n| n < self.bounds.events.min(MAX_EVENTS));
        let bytes = u32::try_from(bytes).is_ok_and(|n| n <= ARENA_BYTES - self.arena);
        let marks = self.segment_marks.len().saturating_add(marks) <= MAX_MARKS as usize;
        let extra = extra <= STATES_BYTES - self.states;
        events && bytes && marks && extra && self.rows.len() < MAX_ROWS as usize
    }

    /// Connections in the call.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Writes a connection's row into the input buffer and gives its index. There is room for it whenever there is room
    /// for an event.
    #[inline]
    pub fn row(&mut self, input: &mut [u8], given: &RowInput<'_>) -> u32 {
        let &RowInput { extra, extra_size, allowed, .. } = given;
        let extra_at = self.states;
        let index = u32::try_from(self.rows.len()).unwrap_or(0);
        let row = input.get_mut(row_range(index)).map(abi::Row::mut_from_bytes);
        debug_assert!(matches!(row, Some(Ok(_))), "a row lies inside the input buffer, at its alignment");
        if let Some(Ok(row)) = row {
            *row = abi::Row { extra: extra_at, bodies: self.bodies, ..given.row() };
        }
        if extra_size > 0 {
            put(input, STATES_AT + extra_at, extra);
            let (end, used) = ((STATES_AT + extra_at + extra_size) as usize, extra.len());
            if let Some(rest) = input.get_mut((STATES_AT + extra_at) as usize + used..end) {
                rest.fill(0);
            }
            self.states = (extra_at + extra_size).next_multiple_of(ALIGN);
        }
        self.rows.push(RowNote { extra: extra_at, extra_size, allowed });
        index
    }

    /// Writes an event's bytes into the input buffer and notes the event. `event.data`, `marks` and `num_marks` are
    /// filled in here; the call's marks from `encoded.first_mark` on are its times.
    pub fn event(&mut self, input: &mut [u8], mut encoded: Encoded, len: u32, slot: &Slot) {
        encoded.event.data = self.arena;
        encoded.event.len = len;
        put(input, ARENA_AT + self.arena, self.bytes(&encoded, slot));
        self.arena += len;
        encoded.event.marks = count(self.segment_marks.len());
        if encoded.num_marks > 1 {
            let first = encoded.first_mark as usize;
            let times = self.marks.get(first..).unwrap_or_default();
            let starts = times.iter().filter(|mark| mark.segment && mark.position > 0);
            let before = self.segment_marks.len();
            self.segment_marks.extend(starts.map(|mark| mark.position));
            encoded.event.num_marks = count(self.segment_marks.len() - before);
        }
        self.encoded.push(encoded);
    }

    /// Writes the rest of the input, head and tables, and clears the output's head. Gives the number of events and of
    /// payload bytes.
    pub fn finish(&mut self, input: &mut [u8], output: &mut [u8]) -> (u32, u64) {
        let head = abi::Input {
            abi_version: abi::VERSION,
            num_events: count(self.encoded.len()),
            num_rows: count(self.rows.len()),
            num_marks: count(self.segment_marks.len()),
            events: EVENTS_AT,
            rows: ROWS_AT,
            marks: MARKS_AT,
            arena: ARENA_AT,
            arena_len: self.arena,
            results: RESULTS_AT,
            records: RECORDS_AT,
            max_records: self.bounds.records.min(MAX_RECORDS),
            pairs: PAIRS_AT,
            max_pairs: self.bounds.pairs.min(MAX_PAIRS),
            protocols: PROTOCOLS_AT,
            num_protocols: count(self.protocols.len()),
            states: STATES_AT,
            states_len: self.states,
            text: TEXT_AT,
            max_text: TEXT_BYTES,
        };
        put(input, 0, head.as_bytes());
        for (protocol, at) in self.protocols.iter().zip((PROTOCOLS_AT..).step_by(abi::NAME_SIZE)) {
            put(input, at, protocol.bytes());
        }
        put(input, MARKS_AT, self.segment_marks.as_bytes());
        for (encoded, at) in self.encoded.iter().zip((EVENTS_AT..).step_by(size_of::<abi::Event>())) {
            put(input, at, encoded.event.as_bytes());
        }
        put(output, 0, abi::Output::default().as_bytes());
        (head.num_events, u64::from(self.arena))
    }

    /// A row of the call in the input buffer, as the guest left it.
    #[must_use]
    pub fn row_after(input: &[u8], row: u32) -> Option<&abi::Row> {
        abi::Row::ref_from_bytes(input.get(row_range(row))?).ok()
    }

    /// The extra state of a row as the guest left it, as far as it says that it is in use.
    #[must_use]
    pub fn extra_after<'a>(&self, input: &'a [u8], row: u32) -> &'a [u8] {
        let used = Self::row_after(input, row).map_or(0, |row| row.extra_used);
        let note = self.rows.get(row as usize).filter(|note| used <= note.extra_size);
        let start = note.map_or(0, |note| (STATES_AT + note.extra) as usize);
        input.get(start..start + used as usize).filter(|_| note.is_some()).unwrap_or_default()
    }

    /// The host's copy of an event's bytes.
    #[must_use]
    pub fn bytes<'a>(&'a self, encoded: &Encoded, slot: &'a Slot) -> &'a [u8] {
        let (buffer, start) = match encoded.location {
            Location::Slot(start) => (&slot.arena, start as usize),
            Location::Joined(start) => (&self.joined, start as usize),
        };
        let bytes = buffer.get(start..start.saturating_add(encoded.event.len as usize));
        debug_assert!(bytes.is_some(), "an encoded event's bytes are where they were");
        bytes.unwrap_or_default()
    }

    /// The marks of an encoded event.
    #[must_use]
    pub fn times(&self, encoded: &Encoded) -> &[Mark] {
        let first = encoded.first_mark as usize;
        let marks = self.marks.get(first..first + encoded.num_marks as usize);
        debug_assert!(marks.is_some(), "an encoded event's marks are where they were");
        marks.unwrap_or_default()
    }
}

/// Where a row lies in the input buffer.
const fn row_range(row: u32) -> std::ops::Range<usize> {
    let at = ROWS_AT as usize + row as usize * size_of::<abi::Row>();
    at..at + size_of::<abi::Row>()
}

/// As a number of the contract: what it counts is bounded far below 4 GiB.
pub(super) fn count(len: usize) -> u32 {
    let count = u32::try_from(len);
    debug_assert!(count.is_ok(), "{len} is within the bounds of a call");
    count.unwrap_or(0)
}

fn put(buffer: &mut [u8], at: u32, bytes: &[u8]) {
    let start = at as usize;
    let target = buffer.get_mut(start..start.saturating_add(bytes.len()));
    debug_assert!(target.is_some(), "the bounds of a call keep every part inside the buffer");
    if let Some(target) = target {
        target.copy_from_slice(bytes);
    }
}

/// The mark that covers a position: the last that starts at or before it.
#[must_use]
#[inline]
pub fn covering(marks: &[Mark], position: u32) -> Option<&Mark> {
    // Nearly always.
    if let [only] = marks {
        return (only.position <= position).then_some(only);
    }
    let behind = marks.partition_point(|mark| mark.position <= position);
    marks.get(behind.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::kind;

    fn read<T: FromBytes>(buffer: &[u8], position: u32) -> T {
        T::read_from_prefix(&buffer[position as usize..]).unwrap().0
    }

    #[test]
    fn a_call_stands_in_the_input_buffer_as_its_head_says() {
        let (mut input, mut output) = (vec![0xaa; INPUT_BYTES as usize], vec![0xaa; OUTPUT_BYTES as usize]);
        let mut slot = Slot::default();
        slot.arena.extend_from_slice(b"--one");
        let mut call = Call::new(Bounds { events: 2, ..Bounds::default() });
        assert!(call.has_room(ARENA_BYTES as usize, 0, 0) && !call.has_room(ARENA_BYTES as usize + 1, 0, 0));
        assert!(call.has_room(0, 0, STATES_BYTES) && !call.has_room(0, 0, STATES_BYTES + 1));
        let row = call.row(
            &mut input,
            &RowInput {
                block: &[7; abi::BLOCK_SIZE],
                extra: b"more",
                extra_size: 1024,
                opener: abi::opener::SIDE1,
                flags: abi::row_flag::MIDSTREAM,
                depth: 1,
                handed_by: 2,
                allowed: Allowed::default(),
            },
        );
        call.protocols.push(crate::sandbox::protocol::ENTRY);
        let mark = |position, segment| Mark { position, segment, time: 0, peer_acked: 0 };
        call.marks.extend([mark(0, true), mark(0, true), mark(2, false), mark(3, true)]);
        call.joined.extend_from_slice(b"joined");
        for (location, len, first_mark, num_marks) in [(Location::Slot(2), 3, 0, 1), (Location::Joined(0), 6, 1, 3)] {
            let event = abi::Event { row, kind: kind::BYTES, len, ..abi::Event::default() };
            let after = Cursor::default();
            let encoded = Encoded {
                event,
                slot_row: 0,
                after,
                location,
                first_mark,
                num_marks,
                took_waiting: false,
                first_of_row: false,
            };
            call.event(&mut input, encoded, len, &slot);
        }
        assert!(!call.has_room(0, 0, 0), "the bound on events");
        assert_eq!(call.finish(&mut input, &mut output), (2, 9));

        let head: abi::Input = read(&input, 0);
        assert_eq!((head.abi_version, head.num_events, head.num_rows, head.num_marks), (abi::VERSION, 2, 1, 1));
        let read_row: abi::Row = read(&input, head.rows);
        assert_eq!(read_row.block, [7; abi::BLOCK_SIZE]);
        assert_eq!((read_row.opener, read_row.flags, read_row.scratch), (1, 1, 0));
        assert_eq!((read_row.depth, read_row.handed_by, read_row.extra_size, read_row.extra_used), (1, 2, 1024, 4));
        assert_eq!(Call::row_after(&input, row), Some(&read_row));
        let mut state = [0; 1024];
        state[..4].copy_from_slice(b"more");
        assert_eq!(read::<[u8; 1024]>(&input, head.states + read_row.extra), state, "what is behind is zero");
        assert_eq!(call.extra_after(&input, row), b"more");
        assert_eq!((head.num_protocols, read::<[u8; 5]>(&input, head.protocols)), (1, *b"http1"));
        let [first, second]: [abi::Event; 2] = read(&input, head.events);
        assert_eq!((first.data, first.len, first.num_marks), (0, 3, 0));
        assert_eq!((second.data, second.len, second.marks, second.num_marks), (3, 6, 0, 1));
        // Only where a segment starts, and the first byte's is a flag of the event.
        assert_eq!(read::<u32>(&input, head.marks), 3);
        assert_eq!(read::<[u8; 9]>(&input, head.arena), *b"onejoined");
        assert_eq!(read::<abi::Output>(&output, 0), abi::Output::default());
    }
}
