//! A shard is one part of all connections: those whose hash falls to it. Which those are is the same in every run and on every
//! machine, so that several runs over the same captures, one for each shard, share the work.
//!
//! The hash is the XXH64 (seed 0) of [`Endpoint::pair`]: of addresses and ports alone, without the virtual network. So the two
//! directions of a connection are in one shard, whatever networks they take (`overlay`).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use xxhash_rust::xxh64::xxh64;

use super::table::{TIMERS_PER_SEGMENT, Table};
use crate::packet::Segment;
use crate::stream::{Endpoint, Sink};

/// The most shards. Arbitrary: each of them reads all captures.
pub const MAX_SHARDS: u16 = 4096;

/// A shard of so many. As text `K/N`, K from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u16,
    of: u16,
}

/// A text that names no shard.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected K/N, with K from 1 to N and N at most {MAX_SHARDS} (such as 1/8), got {0:?}")]
pub struct NoShard(String);

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        // Digits alone: numbers may have a sign.
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
        let parse = || {
            let (number, of) = text.split_once('/').map(|(one, other)| (number(one), number(other)))?;
            Some(Self { number: number?, of: of? })
        };
        let fits = |shard: &Self| (1..=MAX_SHARDS).contains(&shard.of) && (1..=shard.of).contains(&shard.number);
        parse().filter(fits).ok_or_else(|| NoShard(text.to_owned()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Shard {
    /// Whether the connection between two endpoints is in it.
    #[must_use]
    pub fn takes(self, one: Endpoint, other: Endpoint) -> bool {
        let hash = xxh64(&Endpoint::pair(one, other), 0);
        hash % u64::from(self.of.max(1)) + 1 == u64::from(self.number)
    }

    /// Whether a segment's connection is in it.
    pub(super) fn has(self, segment: &Segment<'_>) -> bool {
        self.takes(segment.source, segment.destination)
    }
}

impl Table {
    /// Takes only the connections of a shard, if one is given.
    #[must_use]
    pub fn sharded(mut self, shard: Option<Shard>) -> Self {
        self.shard = shard;
        self
    }

    /// Counts a segment of another shard. Time passes as in a run over all shards, so that every connection is treated as there.
    pub(super) fn leave_to_other_shard<S: Sink>(&mut self, segment: &Segment<'_>, sink: &mut S) {
        let counters = &mut self.shared.counters;
        counters.other_shard_segments += 1;
        counters.other_shard += segment.payload.len() as u64;
        self.advance(segment.time, TIMERS_PER_SEGMENT, sink);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn shard(text: &str) -> Shard {
        text.parse().unwrap()
    }

    #[test]
    fn a_text_names_a_shard_or_says_what_would() {
        for text in ["1/1", "1/8", "8/8", "4096/4096"] {
            assert_eq!(shard(text).to_string(), text);
        }
        for text in ["", "1", "/", "0/8", "9/8", "1/0", "1/4097", "-1/8", "+1/8", "1/8/2", " 1/8", "1/x", "99999/99999"]
        {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        let error = "9/8".parse::<Shard>().unwrap_err().to_string();
        assert_eq!(error, "expected K/N, with K from 1 to N and N at most 4096 (such as 1/8), got \"9/8\"");
    }

    fn ends(number: u32) -> [Endpoint; 2] {
        let v4 = Endpoint { ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), port: 80 };
        // Linux gives connections even ports.
        let port = 32_768 + 2 * u16::try_from(number % 10_000).unwrap();
        match number % 2 {
            0 => [v4, Endpoint { ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0100 + number / 100)), port }],
            _ => [v4, Endpoint { ip: IpAddr::V6(Ipv6Addr::from_bits(u128::from(number))), port }],
        }
    }

    #[test]
    fn each_connection_is_in_one_shard_whichever_side_is_named_first() {
        for of in [1, 2, 3, 8, 4096] {
            let mut sizes = vec![0u32; usize::from(of)];
            for number in 0..2000 {
                let [one, other] = ends(number);
                let takes: Vec<u16> =
                    (1..=of).filter(|number| Shard { number: *number, of }.takes(one, other)).collect();
                assert_eq!(takes.len(), 1, "{one:?} {other:?} of {of}");
                assert!(Shard { number: takes[0], of }.takes(other, one));
                sizes[usize::from(takes[0]) - 1] += 1;
            }
            let even = 2000 / u32::from(of);
            assert!(sizes.iter().all(|size| of > 8 || size.abs_diff(even) < even / 5), "{sizes:?}");
        }
    }

    /// Computed apart, with PyPI's xxhash.
    #[test]
    fn the_hash_is_the_same_everywhere() {
        let ip = |text: &str| text.parse().unwrap();
        let v4 = [Endpoint { ip: ip("10.0.0.1"), port: 40_001 }, Endpoint { ip: ip("10.0.0.80"), port: 80 }];
        let v6 = [Endpoint { ip: ip("2001:db8::1"), port: 40_001 }, Endpoint { ip: ip("2001:db8::80"), port: 80 }];
        for ([one, other], number) in [(v4, 1748), (v6, 2253)] {
            let shard = Shard { number, of: 4096 };
            assert!(
                shard.takes(one, other),
                "{:?}",
                (1..=4096).find(|number| Shard { number: *number, of: 4096 }.takes(one, other))
            );
        }
    }
}
