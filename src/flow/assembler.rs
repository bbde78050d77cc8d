//! An assembler holds the bytes of one direction that cannot be handed on yet, and decides which of two copies counts.

use std::collections::VecDeque;

use crate::stream::UNKNOWN;

/// A point in capture time and in the packets of a connection. Grace is measured in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) time: i64,
    pub(super) packets: u32,
}

/// As `proved`: the peer has not acknowledged it.
pub(super) const NEVER: Stamp = Stamp { time: i64::MAX, packets: 0 };

/// What is known of the packet that carries something, or causes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carrier {
    /// Offset of the other side that its sender had acknowledged, or [`UNKNOWN`].
    pub(super) ack: u64,
    /// Its time.
    pub(super) time: i64,
}

impl Carrier {
    /// Only its time matters.
    pub(super) const fn at(time: i64) -> Self {
        Self { ack: UNKNOWN, time }
    }
}

/// A run of held bytes.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) offset: u64,
    /// Its length in the stream. `data` holds as many bytes, or none if they will be skipped.
    pub(super) len: u64,
    pub(super) data: Box<[u8]>,
    pub(super) carrier: Carrier,
    /// When it came.
    pub(super) came: Stamp,
    /// When the peer acknowledged everything before it, or [`NEVER`].
    pub(super) proved: Stamp,
    /// Bytes behind it that were on the wire but not captured.
    pub(super) missing: u32,
    /// It begins with the first byte of a segment.
    pub(super) starts: bool,
    /// The receiver may have refused it: SYN data, or a probe into a closed window.
    pub(super) tentative: bool,
}

impl Piece {
    pub(super) const fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// The bytes that it holds of `from..to`.
    fn part(&self, from: u64, to: u64) -> &[u8] {
        slice(&self.data, self.offset, from, to)
    }
}

/// New bytes, trimmed to what has not been handed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) offset: u64,
    pub(super) data: &'a [u8],
    pub(super) carrier: Carrier,
    pub(super) came: Stamp,
    pub(super) proved: Stamp,
    pub(super) missing: u32,
    pub(super) starts: bool,
    pub(super) tentative: bool,
    /// False: the bytes will be skipped, so only their number is kept.
    pub(super) keep: bool,
}

/// Where the bytes of an arrival went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) stored: u64,
    pub(super) duplicate: u64,
    /// Of the duplicate: those that differ from what is held.
    pub(super) conflicting: u64,
}

/// A FIN that waits for the bytes below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fin {
    pub(super) carrier: Carrier,
    pub(super) came: Stamp,
    pub(super) proved: Stamp,
}

/// Invariants:
/// * pieces are in the order of their offsets and do not overlap; only a piece without length, which is a segment of
///   which nothing was captured, may have the offset of another;
/// * none begins below what has been handed on;
/// * from the front up to the last proved piece, all are proved;
/// * `data_bytes` is the sum of the lengths of the pieces' data.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    pieces: VecDeque<Piece>,
    data_bytes: u64,
    /// The stream's FIN, while bytes below it are missing or wait.
    pub(super) fin: Option<Fin>,
}

impl Assembler {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn first(&self) -> Option<&Piece> {
        self.pieces.front()
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Piece> {
        self.pieces.front_mut()
    }

    /// One past the last held byte.
    pub(super) fn end(&self) -> u64 {
        self.pieces.back().map_or(0, |piece| piece.end() + u64::from(piece.missing))
    }

    /// Payload bytes that it keeps in memory.
    pub(super) const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Bytes of memory that it takes on the heap.
    pub(super) fn memory(&self) -> u64 {
        // The data of each piece is an allocation, which costs about 16 bytes more than it holds.
        (self.pieces.capacity() * size_of::<Piece>() + self.pieces.len() * 16) as u64 + self.data_bytes
    }

    pub(super) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.data_bytes -= piece.data.len() as u64;
        Some(piece)
    }

    /// Takes the bytes that it does not hold yet. Of two versions of a byte, which an attacker may send, the first
    /// counts, as for most receivers (Ptacek and Newsham 1998).
    pub(super) fn insert(&mut self, new: &Arrival<'_>) -> Taken {
        let mut taken = Taken::default();
        let end = new.offset + new.data.len() as u64;
        let mut at = self.pieces.partition_point(|piece| piece.end() <= new.offset);
        if new.data.is_empty() {
            self.insert_cut(at, new);
            return taken;
        }
        let mut cursor = new.offset;
        while cursor < end {
            let (offset, held_end) = self.pieces.get(at).map_or((end, end), |piece| (piece.offset, piece.end()));
            if cursor < offset {
                let upto = offset.min(end);
                at += self.store(at, new, cursor, upto);
                taken.stored += upto - cursor;
                cursor = upto;
                continue;
            }
            let upto = held_end.min(end);
            if let Some(piece) = self.pieces.get(at) {
                taken.duplicate += upto - cursor;
                taken.conflicting += differing(piece.part(cursor, upto), slice(new.data, new.offset, cursor, upto));
            }
            at = self.lower_ack(at, cursor, upto, new.carrier.ack) + 1;
            cursor = upto;
        }
        debug_assert!(self.is_consistent(), "pieces are in order, and the sum of their bytes is right: {self:?}");
        taken
    }

    /// Whether the invariants hold that it can check by itself.
    fn is_consistent(&self) -> bool {
        let disjoint = |(one, next): (&Piece, &Piece)| one.end() <= next.offset;
        self.pieces.iter().zip(self.pieces.iter().skip(1)).all(disjoint)
            && self.pieces.iter().map(|piece| piece.data.len() as u64).sum::<u64>() == self.data_bytes
    }

    /// Inserts `from..to` of an arrival at index `at`. Returns how many pieces that added.
    fn store(&mut self, at: usize, new: &Arrival<'_>, from: u64, to: u64) -> usize {
        let len = to - from;
        let missing = if to == new.offset + new.data.len() as u64 { new.missing } else { 0 };
        let before = at.checked_sub(1).and_then(|before| self.pieces.get_mut(before));
        if let Some(piece) = before
            && !new.keep
            && piece.data.is_empty()
            && piece.end() == from
            && piece.missing == 0
            && piece.carrier.ack == new.carrier.ack
            && !piece.tentative
        {
            piece.len += len;
            piece.carrier.time = piece.carrier.time.max(new.carrier.time);
            piece.missing = missing;
            return 0;
        }
        let data: Box<[u8]> = if new.keep { slice(new.data, new.offset, from, to).into() } else { Box::default() };
        self.data_bytes += data.len() as u64;
        let piece = Piece {
            offset: from,
            len,
            data,
            carrier: new.carrier,
            came: new.came,
            proved: new.proved,
            missing,
            starts: new.starts && from == new.offset,
            tentative: new.tentative,
        };
        self.pieces.insert(at, piece);
        1
    }

    /// Inserts a segment of which nothing was captured, as a piece without length.
    fn insert_cut(&mut self, at: usize, new: &Arrival<'_>) {
        let inside = self.pieces.get(at).is_some_and(|piece| piece.offset <= new.offset && piece.len > 0);
        let repeated = at.checked_sub(1).and_then(|before| self.pieces.get_mut(before));
        match repeated {
            _ if inside || new.missing == 0 => {}
            Some(piece) if piece.end() == new.offset && piece.carrier.ack == new.carrier.ack => {
                piece.missing = piece.missing.max(new.missing);
            }
            _ => {
                self.store(at, new, new.offset, new.offset);
            }
        }
    }

    /// A retransmission acknowledges more than the original. So a second copy of held bytes that acknowledges less was
    /// sent earlier, and its bytes wait for less. Returns the index of the piece that ends with the range.
    fn lower_ack(&mut self, at: usize, from: u64, to: u64, ack: u64) -> usize {
        let Some(piece) = self.pieces.get(at) else { return at };
        if piece.carrier.ack == UNKNOWN || ack >= piece.carrier.ack {
            return at;
        }
        let at = if from > piece.offset { at + self.split(at, from) } else { at };
        if self.pieces.get(at).is_some_and(|piece| to < piece.end()) {
            self.split(at, to);
        }
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.carrier.ack = ack;
        }
        at
    }

    /// Splits a piece in two. Returns how many pieces that added.
    fn split(&mut self, at: usize, offset: u64) -> usize {
        let Some(piece) = self.pieces.get_mut(at) else {
            debug_assert!(false, "the piece to split is there");
            return 0;
        };
        debug_assert!(piece.offset < offset && offset < piece.end(), "both parts of a split have bytes");
        let mut rest = piece.clone();
        rest.data = slice(&piece.data, piece.offset, offset, piece.end()).into();
        rest.len = piece.end() - offset;
        rest.offset = offset;
        rest.starts = false;
        piece.data = slice(&piece.data, piece.offset, piece.offset, offset).into();
        piece.len = offset - piece.offset;
        piece.missing = 0;
        self.pieces.insert(at + 1, rest);
        1
    }

    /// Marks what is proved now that the peer has acknowledged everything below `acked`.
    pub(super) fn prove(&mut self, acked: u64, now: Stamp) {
        let covered = self.pieces.partition_point(|piece| piece.offset <= acked);
        for piece in self.pieces.iter_mut().take(covered).rev() {
            if piece.tentative && piece.end() <= acked {
                piece.tentative = false;
            } else if piece.proved != NEVER {
                break;
            }
            if piece.proved == NEVER {
                piece.proved = now;
            }
        }
    }

    /// The sender continued at `offset`, so the receiver has taken the tentative bytes below it.
    pub(super) fn confirm_below(&mut self, offset: u64) {
        for piece in self.pieces.iter_mut().take_while(|piece| piece.end() <= offset) {
            piece.tentative = false;
        }
    }

    /// Drops tentative pieces that new bytes overlap, since those are not tentative. Returns how many bytes that were,
    /// and how many differ.
    pub(super) fn replace_tentative(&mut self, offset: u64, data: &[u8]) -> Taken {
        let end = offset + data.len() as u64;
        self.discard(
            |piece| piece.tentative && piece.offset < end && offset < piece.end(),
            |piece| {
                let (from, to) = (piece.offset.max(offset), piece.end().min(end));
                differing(piece.part(from, to), slice(data, offset, from, to))
            },
        )
    }

    /// Drops all tentative pieces. Returns how many bytes that were.
    pub(super) fn drop_tentative(&mut self) -> u64 {
        self.discard(|piece| piece.tentative, |_| 0).duplicate
    }

    fn discard(&mut self, doomed: impl Fn(&Piece) -> bool, conflicts: impl Fn(&Piece) -> u64) -> Taken {
        let mut taken = Taken::default();
        let mut freed = 0;
        self.pieces.retain(|piece| {
            if !doomed(piece) {
                return true;
            }
            taken.duplicate += piece.len;
            taken.conflicting += conflicts(piece);
            freed += piece.data.len() as u64;
            false
        });
        self.data_bytes -= freed;
        taken
    }

    /// The stream starts `by` bytes earlier than was thought.
    pub(super) fn shift(&mut self, by: u64) {
        for piece in &mut self.pieces {
            piece.offset += by;
        }
    }

    /// When the first of what it holds came, pieces or FIN.
    pub(super) fn oldest(&self) -> Option<Stamp> {
        let stamps = self.pieces.iter().map(|piece| piece.came).chain(self.fin.map(|fin| fin.came));
        stamps.min_by_key(|came| came.time)
    }

    /// What was acknowledged with the pieces is not known.
    pub(super) fn forget_acks(&mut self) {
        self.pieces.iter_mut().for_each(|piece| piece.carrier.ack = UNKNOWN);
        if let Some(fin) = &mut self.fin {
            fin.carrier.ack = UNKNOWN;
        }
    }

    /// The other stream starts `by` bytes earlier than was thought.
    pub(super) fn shift_acks(&mut self, by: u64) {
        for ack in self
            .pieces
            .iter_mut()
            .map(|piece| &mut piece.carrier.ack)
            .chain(self.fin.as_mut().map(|fin| &mut fin.carrier.ack))
        {
            if *ack != UNKNOWN {
                *ack += by;
            }
        }
    }
}

/// The part `from..to` of bytes whose first has offset `base`; empty if they do not reach that far.
pub(super) fn slice(data: &[u8], base: u64, from: u64, to: u64) -> &[u8] {
    let index = |offset: u64| usize::try_from(offset.saturating_sub(base)).unwrap_or(usize::MAX);
    data.get(index(from)..index(to)).unwrap_or_default()
}

fn differing(held: &[u8], new: &[u8]) -> u64 {
    if held.is_empty() || held == new {
        return 0;
    }
    held.iter().zip(new).filter(|(a, b)| a != b).count() as u64
}

#[cfg(test)]
mod tests;
