//! A fragment is a piece of an IP datagram. Pieces wait here until their datagram is whole (RFC 791, section 3.2; RFC
//! 8200, section 4.5).
//!
//! Not etherparse's pool for this (`IpDefragPool`): it bounds neither datagrams nor bytes nor pieces, and its own
//! documentation says that an attacker can exhaust memory through it. Here all three are bounded.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Range;

use super::captured::Captured;
use super::{NoSegment, PacketCounters};

/// Datagrams that wait at once.
const MAX_DATAGRAMS: usize = 1024;
/// Bytes that wait at once, overhead included. Both bounds are arbitrary; an honest network has few fragments of TCP,
/// and of an attacker's the oldest are dropped first.
const MAX_BYTES: usize = 4 << 20;
/// Pieces of one datagram. A datagram of 64 KiB over links of 576 bytes, the smallest that are usual for IPv4, has 119.
const MAX_PIECES: usize = 256;
/// The longest payload of a datagram.
const MAX_DATAGRAM: u32 = 65_535;
/// How long a datagram may wait for its pieces, in nanoseconds of packet time: 30 s as in Linux.
const MAX_AGE: u64 = 30_000_000_000;
/// Memory that a piece and a datagram take beside their bytes, rounded up.
const PIECE_COST: usize = 64;
const DATAGRAM_COST: usize = 256;

/// What a fragment's header says: to which datagram it belongs, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FragmentHeader {
    /// Identification of the datagram.
    pub(super) id: u32,
    /// In bytes.
    pub(super) offset: u32,
    /// It is not the last fragment.
    pub(super) more: bool,
}

/// A fragment as it was captured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    pub(super) key: Key,
    pub(super) header: FragmentHeader,
    /// Number of the datagram's protocol, as this fragment's header gives it.
    pub(super) protocol: u8,
    pub(super) payload: Captured<'a>,
    pub(super) time: i64,
}

/// What identifies the datagram of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) realm: u32,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// 0 in IPv6, where the protocol does not identify a datagram.
    pub(super) protocol: u8,
    pub(super) id: u32,
}

#[derive(Debug)]
struct Datagram {
    /// Its number in the order of arrival.
    serial: u64,
    /// When its first piece came.
    since: i64,
    /// Number of its protocol; known with the piece at offset 0.
    protocol: Option<u8>,
    /// Its length; known with the last piece.
    total: Option<u32>,
    /// Offset and bytes, in order of arrival. Where two overlap, the earlier one counts.
    pieces: Vec<(u32, Box<[u8]>)>,
    /// The ranges that they cover: sorted, disjoint, not adjacent.
    covered: Vec<Range<u32>>,
    /// Memory of the pieces, overhead included.
    bytes: usize,
}

/// Invariant: `order` holds exactly the keys of `datagrams` by their serial; `bytes` is the sum of theirs; both are
/// within their bounds; `fragments_waiting` of the counts is the number of all pieces.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    datagrams: HashMap<Key, Datagram>,
    order: BTreeMap<u64, Key>,
    next: u64,
    bytes: usize,
    /// Serial of the datagram to which the last fragment that was taken belongs.
    pub(super) last: u64,
}

impl Fragments {
    /// Takes a fragment. If it completes its datagram, writes the datagram's payload to `whole` and returns the number
    /// of its protocol; otherwise the fragment waits.
    pub(super) fn insert(
        &mut self,
        fragment: Fragment<'_>,
        whole: &mut Vec<u8>,
        counts: &mut PacketCounters,
    ) -> Result<Option<u8>, NoSegment> {
        let Fragment { key, header, protocol, payload, time } = fragment;
        if payload.missing > 0 {
            return Err(NoSegment::FragmentCut);
        }
        let length = u32::try_from(payload.data.len()).map_err(|_| NoSegment::FragmentBad)?;
        let range = header.offset..header.offset.saturating_add(length);
        if length == 0 || range.end > MAX_DATAGRAM || (header.more && length % 8 != 0) {
            return Err(NoSegment::FragmentBad);
        }
        self.make_room(&key, payload.data.len(), time, counts);
        let datagram = match self.datagrams.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                self.order.insert(self.next, key);
                self.bytes += DATAGRAM_COST;
                let datagram = entry.insert(Datagram::new(self.next, time));
                self.next += 1;
                datagram
            }
        };
        let overlaps = datagram.admit(&range, header.more)?;
        self.last = datagram.serial;
        counts.fragment_overlaps += u64::from(overlaps);
        let before = datagram.bytes;
        datagram.add(range, header.more, protocol, payload.data);
        self.bytes += datagram.bytes - before;
        counts.fragments_waiting += 1;
        let Some((protocol, total)) = datagram.whole() else {
            return Ok(None);
        };
        let Some(datagram) = self.remove(&key) else {
            debug_assert!(false, "the datagram that has become whole is held");
            return Ok(None);
        };
        datagram.write(total, whole);
        let waited = datagram.pieces.len() as u64;
        // The fragment that completes the datagram is counted as what the datagram turns out to be.
        counts.fragments_waiting -= waited;
        counts.fragments_joined += waited - 1;
        Ok(Some(protocol))
    }

    /// Whether the datagram with this serial still waits.
    pub(super) fn waits(&self, serial: u64) -> bool {
        self.order.contains_key(&serial)
    }

    /// Gives up every datagram that still waits.
    pub(super) fn finish(&mut self, counts: &mut PacketCounters) {
        while let Some(key) = self.order.values().next().copied() {
            self.give_up(&key, NoSegment::FragmentIncomplete, counts);
        }
    }

    /// Gives up datagrams that have waited too long, then the oldest, until a piece of `length` bytes fits.
    fn make_room(&mut self, key: &Key, length: usize, time: i64, counts: &mut PacketCounters) {
        // Packet time may jump. A datagram that is too old behind one that is not waits for its turn, except this
        // fragment's own.
        let old = |datagram: &Datagram| time.abs_diff(datagram.since) > MAX_AGE;
        if self.datagrams.get(key).is_some_and(old) {
            self.give_up(key, NoSegment::FragmentTimeout, counts);
        }
        while let Some(oldest) = self.order.values().next().copied() {
            let needed = self.bytes + length + PIECE_COST + DATAGRAM_COST;
            let new = usize::from(!self.datagrams.contains_key(key));
            if self.datagrams.get(&oldest).is_none_or(old) {
                self.give_up(&oldest, NoSegment::FragmentTimeout, counts);
            } else if needed > MAX_BYTES || self.datagrams.len() + new > MAX_DATAGRAMS {
                self.give_up(&oldest, NoSegment::FragmentEvicted, counts);
            } else {
                break;
            }
        }
    }

    fn give_up(&mut self, key: &Key, reason: NoSegment, counts: &mut PacketCounters) {
        if let Some(datagram) = self.remove(key) {
            counts.give_up(reason, datagram.pieces.len() as u64);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Datagram> {
        let datagram = self.datagrams.remove(key)?;
        self.order.remove(&datagram.serial);
        self.bytes -= datagram.bytes + DATAGRAM_COST;
        Some(datagram)
    }
}

impl Datagram {
    fn new(serial: u64, since: i64) -> Self {
        Self { serial, since, protocol: None, total: None, pieces: Vec::new(), covered: Vec::new(), bytes: 0 }
    }

    /// Whether a piece overlaps an earlier one. An error if it cannot be added.
    fn admit(&self, range: &Range<u32>, more: bool) -> Result<bool, NoSegment> {
        let end = self.covered.last().map_or(0, |last| last.end);
        let contradicts = match (self.total, more) {
            (Some(total), true) => range.end > total,
            (Some(total), false) => range.end != total,
            (None, false) => range.end < end,
            (None, true) => false,
        };
        if contradicts {
            return Err(NoSegment::FragmentBad);
        }
        let covered = self.covered.iter().any(|known| known.start <= range.start && range.end <= known.end);
        let ends_it = !more && self.total.is_none();
        if covered && !ends_it {
            return Err(NoSegment::FragmentDuplicate);
        }
        if self.pieces.len() >= MAX_PIECES {
            return Err(NoSegment::FragmentLimit);
        }
        Ok(self.covered.iter().any(|known| known.start < range.end && range.start < known.end))
    }

    fn add(&mut self, range: Range<u32>, more: bool, protocol: u8, data: &[u8]) {
        if range.start == 0 {
            self.protocol.get_or_insert(protocol);
        }
        if !more {
            self.total = Some(range.end);
        }
        self.pieces.push((range.start, data.into()));
        self.bytes += data.len() + PIECE_COST;
        // Merge it with every range that overlaps it or is adjacent.
        let from = self.covered.partition_point(|known| known.end < range.start);
        let to = self.covered.partition_point(|known| known.start <= range.end);
        let merged = self.covered.drain(from..to);
        let joined = merged.fold(range, |all, one| all.start.min(one.start)..all.end.max(one.end));
        self.covered.insert(from, joined);
    }

    /// Protocol and length, if nothing is missing.
    fn whole(&self) -> Option<(u8, u32)> {
        let total = self.total?;
        match self.covered.as_slice() {
            [all] if all.start == 0 && all.end == total => Some((self.protocol?, total)),
            _ => None,
        }
    }

    /// Writes later pieces first, so that earlier ones count where they overlap.
    fn write(&self, total: u32, whole: &mut Vec<u8>) {
        whole.clear();
        whole.resize(total as usize, 0);
        for (offset, data) in self.pieces.iter().rev() {
            let from = *offset as usize;
            let Some(range) = whole.get_mut(from..from + data.len()) else {
                debug_assert!(false, "every piece of a whole datagram lies in it");
                continue;
            };
            range.copy_from_slice(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn key(id: u32) -> Key {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Key { realm: 0, source: ip, destination: ip, protocol: 6, id }
    }

    #[derive(Default)]
    struct Bench {
        fragments: Fragments,
        counts: PacketCounters,
        whole: Vec<u8>,
        time: i64,
    }

    impl Bench {
        fn give(&mut self, id: u32, offset: u32, more: bool, data: &[u8]) -> Result<Option<u8>, NoSegment> {
            self.counts.frames += 1;
            let bytes = Captured::whole(data);
            let header = FragmentHeader { id, offset, more };
            let fragment = Fragment { key: key(id), header, protocol: 6, payload: bytes, time: self.time };
            let result = self.fragments.insert(fragment, &mut self.whole, &mut self.counts);
            match result {
                Ok(Some(_)) => self.counts.segments += 1,
                Ok(None) => {}
                Err(reason) => self.counts.skip(reason, 1),
            }
            assert!(self.counts.balanced());
            assert!(self.fragments.bytes <= MAX_BYTES);
            assert_eq!(self.fragments.order.len(), self.fragments.datagrams.len());
            result
        }
    }

    #[test]
    fn pieces_in_any_order_make_the_datagram() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut bench = Bench::default();
            let pieces = [(0, true, &b"01234567"[..]), (8, true, b"89abcdef"), (16, false, b"end")];
            let mut results = order.map(|n| {
                let (offset, more, data) = pieces[n];
                bench.give(1, offset, more, data).unwrap()
            });
            assert_eq!(results.as_mut_slice(), [None, None, Some(6)]);
            assert_eq!(bench.whole, b"0123456789abcdefend");
            assert_eq!((bench.counts.segments, bench.counts.fragments_joined), (1, 2));
            assert_eq!(bench.fragments.bytes, 0);
        }
    }

    #[test]
    fn the_first_bytes_count_where_pieces_overlap() {
        let mut bench = Bench::default();
        bench.give(1, 8, true, b"BBBBBBBB").unwrap();
        bench.give(1, 0, true, b"aaaaaaaaaaaaaaaa").unwrap();
        assert_eq!(bench.give(1, 16, false, b"c"), Ok(Some(6)));
        assert_eq!(bench.whole, b"aaaaaaaaBBBBBBBBc");
        assert_eq!(bench.counts.fragment_overlaps, 1);
    }

    #[test]
    fn a_piece_that_brings_nothing_new_is_a_duplicate() {
        let mut bench = Bench::default();
        bench.give(1, 0, true, b"01234567").unwrap();
        assert_eq!(bench.give(1, 0, true, b"XXXXXXXX"), Err(NoSegment::FragmentDuplicate));
    }

    #[test]
    fn a_piece_that_contradicts_the_end_is_bad() {
        let mut bench = Bench::default();
        bench.give(1, 16, false, b"end").unwrap();
        assert_eq!(bench.give(1, 16, true, b"01234567"), Err(NoSegment::FragmentBad));
        assert_eq!(bench.give(1, 8, false, b"01234567"), Err(NoSegment::FragmentBad));
    }

    #[test]
    fn lengths_that_cannot_be_are_bad() {
        let mut bench = Bench::default();
        assert_eq!(bench.give(1, 0, true, b"1234567"), Err(NoSegment::FragmentBad));
        assert_eq!(bench.give(1, 0, true, b""), Err(NoSegment::FragmentBad));
        assert_eq!(bench.give(1, 65_528, false, b"12345678"), Err(NoSegment::FragmentBad));
        assert!(bench.fragments.datagrams.is_empty());
    }

    #[test]
    fn a_datagram_that_waits_too_long_is_given_up() {
        let mut bench = Bench::default();
        bench.give(1, 0, true, b"01234567").unwrap();
        bench.time = 31_000_000_000;
        assert_eq!(bench.give(1, 8, false, b"late"), Ok(None));
        assert_eq!(bench.counts.skipped(NoSegment::FragmentTimeout), 1);
    }

    #[test]
    fn time_that_jumps_back_does_not_join_what_is_hours_apart() {
        let mut bench = Bench { time: 1_000_000_000_000, ..Bench::default() };
        bench.give(1, 0, true, b"01234567").unwrap();
        bench.time = 0;
        assert_eq!(bench.give(1, 8, false, b"other"), Ok(None));
    }

    #[test]
    fn a_flood_of_datagrams_stays_within_the_bounds() {
        let mut bench = Bench::default();
        for id in 0..5000 {
            bench.give(id, 0, true, &[0; 1480]).unwrap();
            assert!(bench.fragments.datagrams.len() <= MAX_DATAGRAMS);
        }
        assert_eq!(bench.counts.skipped(NoSegment::FragmentEvicted) + bench.counts.fragments_waiting, 5000);
        bench.fragments.finish(&mut bench.counts);
        assert_eq!(bench.counts.fragments_waiting, 0);
        assert!(bench.counts.skipped(NoSegment::FragmentIncomplete) > 0);
        assert_eq!(bench.fragments.bytes, 0);
        assert!(bench.counts.balanced());
    }

    #[test]
    fn a_datagram_of_tiny_pieces_is_bounded() {
        let mut bench = Bench::default();
        let results: Vec<_> = (0..1000).map(|n| bench.give(1, n * 16, true, &[0; 8])).collect();
        assert_eq!(
            results.iter().filter(|result| **result == Err(NoSegment::FragmentLimit)).count(),
            1000 - MAX_PIECES
        );
    }
}
