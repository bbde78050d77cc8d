//! Quarantine keeps an event on which the guest failed alone, with all that is needed to run it again.

use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use super::call::{Allowed, Call, Cursor, Encoded, Location, Mark, RowInput};
use super::protocol::{Format, Protocol};
use crate::abi::{self, row_flag};

/// First bytes of a file in quarantine.
const MAGIC: &[u8; 8] = b"PICOQEV2";
/// Those of files that picotap 0.1 wrote: of version 1 of the contract.
const OLD_MAGIC: &[u8; 8] = b"PICOPSN1";

/// How often a connection has had what it may have only so often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// More extra state asked for.
    pub growths: u8,
    /// Handed over.
    pub hand_overs: u8,
    /// Nothing of it was consumed since the last hand-over.
    pub unconsumed: bool,
}

/// The event and the connection's row, as they were when the guest failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEvent {
    /// Name of the fault.
    pub fault: String,
    /// SHA-256 of the module that failed, in hexadecimal.
    pub sha256: String,
    /// Its protocol and state format.
    pub format: Format,
    /// The protocols that connections could be handed over to.
    pub protocols: Vec<Protocol>,
    /// Number of the connection.
    pub connection: u64,
    /// What it may ask for no more, or less often.
    pub spent: Spent,
    /// The connection's row before the call.
    pub row: abi::Row,
    /// Its extra state, as far as it was in use.
    pub extra: Vec<u8>,
    /// The event.
    pub event: abi::Event,
    /// Positions at which segments start in it.
    pub marks: Vec<u32>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why a file is not a quarantined event.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QuarantineError {
    /// It begins with something else.
    #[error("not a quarantined event: it does not begin with {}", String::from_utf8_lossy(MAGIC))]
    Magic,
    /// Of an earlier version.
    #[error("the event was quarantined with version 1 of the parser contract, which this picotap does not speak")]
    Old,
    /// A field that says nothing.
    #[error("the quarantined event is damaged: its {0} is none")]
    Field(&'static str),
    /// Cut short or too long.
    #[error("the quarantined event is damaged: {needed} bytes are needed from offset {at}, and there are {had}")]
    Length {
        /// Offset in the file.
        at: usize,
        /// How many are needed.
        needed: usize,
        /// How many there are.
        had: usize,
    },
}

impl QuarantinedEvent {
    /// As a file: magic, then fault name, module hash, protocol, state format, known protocols, connection, what it has
    /// had, row, extra state,
    /// event, marks and bytes, each with its length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let mut part = |bytes: &[u8]| {
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        part(self.fault.as_bytes());
        part(self.sha256.as_bytes());
        part(self.format.protocol.bytes());
        part(&self.format.state.to_le_bytes());
        part(&self.protocols.iter().flat_map(|protocol| *protocol.bytes()).collect::<Vec<_>>());
        part(&self.connection.to_le_bytes());
        part(&[self.spent.growths, self.spent.hand_overs, u8::from(self.spent.unconsumed)]);
        part(self.row.as_bytes());
        part(&self.extra);
        part(self.event.as_bytes());
        part(self.marks.as_bytes());
        part(&self.bytes);
        out
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// What is missing or too much, and where.
    pub fn from_bytes(file: &[u8]) -> Result<Self, QuarantineError> {
        if file.starts_with(OLD_MAGIC) {
            return Err(QuarantineError::Old);
        }
        let mut rest = file.strip_prefix(MAGIC).ok_or(QuarantineError::Magic)?;
        let mut part = || {
            let at = file.len() - rest.len();
            let short = |needed: usize, had: usize| QuarantineError::Length { at, needed, had };
            let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(|| short(4, rest.len()))?;
            let len = u32::from_le_bytes(*head) as usize;
            let (bytes, tail) = tail.split_at_checked(len).ok_or_else(|| short(len, tail.len()))?;
            rest = tail;
            Ok((at, bytes))
        };
        let text = |(_, bytes): (usize, &[u8])| String::from_utf8_lossy(bytes).into_owned();
        let fault = text(part()?);
        let sha256 = text(part()?);
        let name = |bytes| Protocol::from_bytes(bytes).map_err(|_| QuarantineError::Field("protocol"));
        let protocol = name(sized(part()?)?)?;
        let state = u32::from_le_bytes(sized(part()?)?);
        let (_, protocols) = part()?;
        let protocols = protocols.chunks(abi::NAME_SIZE).take(abi::MAX_PROTOCOLS);
        let protocols = protocols.map(|bytes| name(bytes.try_into().unwrap_or_default())).collect::<Result<_, _>>()?;
        let connection = u64::from_le_bytes(sized(part()?)?);
        let [growths, hand_overs, unconsumed] = sized(part()?)?;
        let spent = Spent { growths, hand_overs, unconsumed: unconsumed != 0 };
        let row: [u8; size_of::<abi::Row>()] = sized(part()?)?;
        let (_, extra) = part()?;
        let event: [u8; size_of::<abi::Event>()] = sized(part()?)?;
        let (_, marks) = part()?;
        let marks = marks.chunks_exact(4).map(|c| c.try_into().map_or(0, u32::from_le_bytes)).collect();
        let (at, bytes) = part()?;
        let (Ok(row), Ok(event)) = (abi::Row::read_from_bytes(&row), abi::Event::read_from_bytes(&event)) else {
            return Err(QuarantineError::Magic);
        };
        if !rest.is_empty() {
            return Err(QuarantineError::Length { at, needed: 0, had: rest.len() });
        }
        if row.extra_size > abi::MAX_EXTRA || extra.len() > row.extra_size as usize {
            return Err(QuarantineError::Field("extra state"));
        }
        let (format, extra, bytes) = (Format { protocol, state }, extra.to_vec(), bytes.to_vec());
        Ok(Self { fault, sha256, format, protocols, connection, spent, row, extra, event, marks, bytes })
    }

    /// Removes the bytes that were consumed; the guest has not seen the rest.
    pub fn leave(&mut self, consumed: u32) {
        self.spent.unconsumed &= consumed == 0;
        self.event.offset += u64::from(consumed);
        self.event.seen = 0;
        self.bytes.drain(..self.bytes.len().min(consumed as usize));
        self.marks.retain(|position| *position > consumed);
        self.marks.iter_mut().for_each(|position| *position -= consumed);
    }

    /// As the connection is after a reply that has the rest of the event presented again: what the guest has left, and as much
    /// extra state as it has asked for (0: no more).
    pub fn go_on(&mut self, block: &abi::Block, extra: &[u8], grow: u32) {
        self.row.block = *block;
        self.extra = extra.to_vec();
        self.row.flags &= !(row_flag::EXTRA_LOST | row_flag::HANDED_OVER);
        if grow != 0 {
            self.spent.growths += 1;
            self.row.extra_size = grow;
        }
        if self.spent.growths >= abi::MAX_GROWTHS || self.row.extra_size >= abi::MAX_EXTRA {
            self.row.flags |= row_flag::NO_GROWTH;
        }
    }

    /// The connection as the call showed it.
    #[must_use]
    pub fn row_input(&self) -> RowInput<'_> {
        let row = &self.row;
        let protocol = self.protocols.iter().position(|protocol| *protocol == self.format.protocol);
        RowInput {
            block: &row.block,
            extra: &self.extra,
            extra_size: row.extra_size,
            opener: row.opener,
            flags: row.flags,
            depth: row.depth,
            handed_by: row.handed_by,
            allowed: Allowed {
                grow: row.flags & row_flag::NO_GROWTH == 0,
                hand_over: self.spent.hand_overs < abi::MAX_HAND_OVERS,
                just_handed_over: self.spent.unconsumed,
                inner: row.depth < abi::MAX_DEPTH,
                protocol: protocol.and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX),
            },
        }
    }

    /// The event as the only one of `call`.
    #[must_use]
    pub fn encoded(&self, call: &mut Call) -> Encoded {
        call.joined.extend_from_slice(&self.bytes);
        let first = Mark { position: 0, segment: true, time: 0, peer_acked: self.event.peer_acked };
        call.marks.push(first);
        call.marks.extend(self.marks.iter().map(|&position| Mark { position, ..first }));
        let num_marks = u32::try_from(call.marks.len()).unwrap_or(1);
        Encoded {
            event: abi::Event { row: 0, ..self.event },
            slot_row: 0,
            after: Cursor::default(),
            location: Location::Joined(0),
            first_mark: 0,
            num_marks,
            took_waiting: false,
            first_of_row: true,
        }
    }
}

fn sized<const N: usize>((at, bytes): (usize, &[u8])) -> Result<[u8; N], QuarantineError> {
    bytes.try_into().map_err(|_| QuarantineError::Length { at, needed: N, had: bytes.len() })
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::super::protocol::ENTRY;
    use super::*;

    fn quarantined() -> QuarantinedEvent {
        let row = abi::Row { block: [3; 128], opener: 1, extra_size: 1024, ..abi::Row::new_zeroed() };
        let event = abi::Event { kind: abi::kind::BYTES, len: 3, offset: 9, ..abi::Event::default() };
        QuarantinedEvent {
            fault: "deadline".into(),
            sha256: "00".into(),
            format: Format { protocol: ENTRY, state: 4 },
            protocols: vec![ENTRY, "resp".parse().unwrap()],
            connection: 7,
            spent: Spent { growths: 1, hand_overs: 2, unconsumed: true },
            row,
            extra: b"more".to_vec(),
            event,
            marks: vec![1, 2],
            bytes: b"\0\xffx".to_vec(),
        }
    }

    #[test]
    fn a_file_is_read_back_as_written() {
        assert_eq!(QuarantinedEvent::from_bytes(&quarantined().to_bytes()), Ok(quarantined()));
    }

    #[test]
    fn what_is_left_of_an_event_begins_where_the_rest_does() {
        let mut rest = quarantined();
        rest.leave(1);
        assert_eq!((rest.event.offset, rest.bytes, rest.marks), (10, b"\xffx".to_vec(), vec![1]));
        assert!(!rest.spent.unconsumed);
        let mut same = quarantined();
        same.leave(0);
        assert_eq!(same, quarantined());
    }

    #[test]
    fn what_goes_on_may_ask_for_more_four_times_in_all() {
        let mut event = quarantined();
        (event.spent.growths, event.row.flags) = (2, row_flag::EXTRA_LOST | row_flag::HANDED_OVER);
        event.go_on(&[1; 128], b"left", 2048);
        assert_eq!((event.row.flags, event.row.extra_size, event.extra.as_slice()), (0, 2048, &b"left"[..]));
        assert!(event.row_input().allowed.grow);
        event.go_on(&[1; 128], b"", 0);
        assert!(event.row_input().allowed.grow);
        event.go_on(&[1; 128], b"", 3072);
        assert_eq!((event.row.flags, event.row_input().allowed.grow), (row_flag::NO_GROWTH, false));
        event.spent.hand_overs = abi::MAX_HAND_OVERS;
        assert!(!event.row_input().allowed.hand_over);
    }

    #[test]
    fn a_file_of_an_earlier_version_is_refused_by_name() {
        let mut file = OLD_MAGIC.to_vec();
        file.extend_from_slice(&quarantined().to_bytes()[8..]);
        assert_eq!(QuarantinedEvent::from_bytes(&file), Err(QuarantineError::Old));
    }

    #[test]
    fn every_cut_of_a_file_is_refused() {
        let file = quarantined().to_bytes();
        for len in 0..file.len() {
            assert!(QuarantinedEvent::from_bytes(&file[..len]).is_err(), "{len}");
        }
    }
}
