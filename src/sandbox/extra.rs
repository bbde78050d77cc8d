//! Extra state is what a guest remembers of a connection beyond its block. It may be dropped between calls: a guest that finds
//! it gone goes on with less.

use std::collections::BTreeMap;

use crate::abi;

/// The extra state of one connection.
#[derive(Debug, Default)]
pub struct Extra {
    /// The bytes in use; those behind them are zero.
    bytes: Vec<u8>,
    /// Bytes granted.
    size: u32,
    /// It was dropped since the last call.
    lost: bool,
    /// How often more was asked for.
    growths: u8,
    /// More was asked for, and there is none.
    refused: bool,
    /// When it was last used: its key among [`Extras::by_age`]; 0: it is not there.
    stamp: u64,
}

impl Extra {
    /// The bytes in use.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes granted.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Whether it was dropped since the last call.
    #[must_use]
    pub const fn lost(&self) -> bool {
        self.lost
    }

    /// How often more was asked for.
    #[must_use]
    pub const fn growths(&self) -> u8 {
        self.growths
    }

    /// Whether more may be asked for.
    #[must_use]
    pub const fn may_grow(&self) -> bool {
        !self.refused && self.growths < abi::MAX_GROWTHS && self.size < abi::MAX_EXTRA
    }
}

/// The extra state of all connections together.
#[derive(Debug)]
pub(super) struct Extras {
    /// Bytes allocated.
    total: u64,
    /// Bytes that may be.
    limit: u64,
    /// Connections that have bytes in use, the longest unused first.
    by_age: BTreeMap<u64, u32>,
    clock: u64,
}

/// Bytes that connections may have in extra state, where nothing else is said: a quarter of the default memory limit.
const DEFAULT_LIMIT: u64 = 64 << 20;

impl Default for Extras {
    fn default() -> Self {
        Self { total: 0, limit: DEFAULT_LIMIT, by_age: BTreeMap::new(), clock: 0 }
    }
}

impl Extras {
    /// How many bytes may be allocated.
    pub(super) const fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Bytes allocated.
    #[must_use]
    pub(super) const fn bytes(&self) -> u64 {
        self.total
    }

    /// Keeps what a call left in the extra state of connection `key`.
    pub(super) fn keep(&mut self, key: u32, extra: &mut Extra, bytes: &[u8]) {
        self.remove(extra);
        // In whole units, so that a table that grows is seldom moved; what is no longer in use is given back.
        let room = bytes.len().next_multiple_of(abi::EXTRA_UNIT as usize);
        let had = extra.bytes.capacity();
        if had < bytes.len() || had > 2 * room {
            extra.bytes = Vec::with_capacity(room);
        }
        extra.bytes.clear();
        extra.bytes.extend_from_slice(bytes);
        extra.lost = false;
        extra.stamp = 0;
        self.total += extra.bytes.capacity() as u64;
        if bytes.is_empty() {
            return;
        }
        self.clock += 1;
        extra.stamp = self.clock;
        self.by_age.insert(self.clock, key);
    }

    /// Grants as much as is asked for, or nothing more from here on. Whether it did.
    pub(super) fn grow(&mut self, extra: &mut Extra, size: u32) -> bool {
        extra.growths += 1;
        extra.refused = u64::from(size) > self.limit;
        if !extra.refused {
            extra.size = size;
        }
        !extra.refused
    }

    /// Takes a connection's extra state away for good.
    pub(super) fn remove(&mut self, extra: &Extra) {
        self.total -= extra.bytes.capacity() as u64;
        self.by_age.remove(&extra.stamp);
    }

    /// The connection whose extra state has been unused for longest, if there is too much in all.
    #[must_use]
    pub(super) fn excess(&self) -> Option<u32> {
        let (_, &key) = self.by_age.first_key_value().filter(|_| self.total > self.limit)?;
        Some(key)
    }

    /// Drops what a connection has in extra state; it may use it again.
    pub(super) fn drop_bytes(&mut self, extra: &mut Extra) {
        self.remove(extra);
        extra.bytes = Vec::new();
        extra.stamp = 0;
        extra.lost = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_is_dropped_first_and_the_limit_holds() {
        let mut extras = Extras::default();
        extras.set_limit(10 << 10);
        let mut all: Vec<Extra> = (0..4).map(|_| Extra::default()).collect();
        for (key, extra) in (0..).zip(&mut all) {
            assert!(extras.grow(extra, 4096));
            extras.keep(key, extra, &[1; 3000]);
        }
        extras.keep(0, &mut all[0], &[2; 3000]);
        assert_eq!(extras.excess(), Some(1));
        extras.drop_bytes(&mut all[1]);
        assert_eq!((extras.excess(), extras.bytes()), (None, 9 << 10));
        assert!(all[1].lost() && all[1].bytes().is_empty() && all[1].size() == 4096);
        extras.keep(1, &mut all[1], b"new");
        assert!(!all[1].lost());
        all.iter().for_each(|extra| extras.remove(extra));
        assert_eq!((extras.bytes(), extras.by_age.len()), (0, 0));
    }

    #[test]
    fn what_is_no_longer_in_use_is_given_back() {
        let mut extras = Extras::default();
        let mut extra = Extra::default();
        assert!(extras.grow(&mut extra, 65536));
        for (used, most) in [(60_000, 60_416), (31_000, 60_416), (1000, 1024), (2000, 2048), (1, 2048), (0, 0)] {
            extras.keep(1, &mut extra, &vec![1; used]);
            assert_eq!((extras.bytes(), extra.bytes().len()), (most, used));
        }
        // Nothing is dropped of one that holds nothing.
        assert!(extras.by_age.is_empty());
    }

    #[test]
    fn more_is_granted_four_times_and_within_the_limit() {
        let mut extras = Extras::default();
        extras.set_limit(8192);
        let mut extra = Extra::default();
        for size in [1024, 2048, 4096, 8192] {
            assert!(extra.may_grow() && extras.grow(&mut extra, size));
        }
        assert!(!extra.may_grow());
        let mut large = Extra::default();
        assert!(!extras.grow(&mut large, 16384));
        assert_eq!((large.size(), large.may_grow()), (0, false));
    }
}
