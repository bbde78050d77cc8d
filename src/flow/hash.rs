//! A hash of a connection's addresses: the same for both directions, and keyed, so that an attacker who chooses
//! addresses and ports cannot choose hashes.

use std::hash::Hasher;
use std::net::IpAddr;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use crate::stream::Endpoint;

/// Hashes pairs of endpoints with one seed.
pub(super) struct PairHasher {
    seed: u64,
    shared: SharedSeed,
}

impl PairHasher {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, shared: SharedSeed::from_u64(seed) }
    }

    /// The same for both orders of the endpoints.
    pub(super) fn hash(&self, a: &Endpoint, b: &Endpoint, realm: u32) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        match (a.ip, b.ip) {
            (IpAddr::V4(x), IpAddr::V4(y)) => {
                let x = u64::from(x.to_bits()) << 16 | u64::from(a.port);
                let y = u64::from(y.to_bits()) << 16 | u64::from(b.port);
                hasher.write_u64(x.min(y));
                hasher.write_u64(x.max(y));
                hasher.write_u32(realm);
            }
            _ => {
                let (x, y) = (wide(a), wide(b));
                let (x, y) = if x < y { (x, y) } else { (y, x) };
                hasher.write_u128(x.0);
                hasher.write_u128(y.0);
                hasher.write_u64(u64::from(realm) << 32 | u64::from(x.1) << 16 | u64::from(y.1));
            }
        }
        hasher.finish()
    }
}

fn wide(endpoint: &Endpoint) -> (u128, u16) {
    let bits = match endpoint.ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    (bits, endpoint.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(last: u32, port: u16) -> Endpoint {
        Endpoint { ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + last)), port }
    }

    fn v6(last: u128, port: u16) -> Endpoint {
        Endpoint { ip: IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + last)), port }
    }

    #[test]
    fn both_directions_have_one_hash() {
        let hasher = PairHasher::new(7);
        for (a, b) in [(v4(1, 80), v4(2, 4000)), (v6(1, 80), v6(2, 4000)), (v6(1, 1), v6(1, 2)), (v4(9, 1), v6(1, 2))] {
            assert_eq!(hasher.hash(&a, &b, 3), hasher.hash(&b, &a, 3));
            assert_ne!(hasher.hash(&a, &b, 3), hasher.hash(&b, &a, 4));
        }
    }

    #[test]
    fn another_seed_gives_another_hash() {
        let (a, b) = (v4(1, 80), v4(2, 4000));
        assert_ne!(PairHasher::new(1).hash(&a, &b, 0), PairHasher::new(2).hash(&a, &b, 0));
    }

    #[test]
    fn adjacent_ports_spread() {
        let hasher = PairHasher::new(99);
        let mut tags = HashSet::new();
        for port in 0..50_000 {
            tags.insert(hasher.hash(&v4(1, 80), &v4(2, port), 0) >> 32);
        }
        assert!(tags.len() > 49_990, "{} different tags of 50,000", tags.len());
    }
}
