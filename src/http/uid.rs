//! A uid identifies a connection: the same in every run and on every machine, however the work is divided.
//!
//! It is made of the first 16 bytes of the SHA-256 of
//!
//! | bytes | content |
//! |---|---|
//! | 36 | [`Endpoint::pair`]: both addresses and both ports, of the innermost packets, the lower endpoint first |
//! | 8 | time of the connection's first packet, nanoseconds since the Unix epoch |
//! | the rest | name of the sensor (`--sensor`), if it has one |
//!
//! with numbers in network byte order. That of a stream inside a tunnel is made in the same way of the text of the uid around
//! it. The text looks like Zeek's: `C` and 17 digits of base 62, ten of the first eight bytes
//! and seven of the next eight, the lowest first. So two connections are confused with a probability of 2^-101; those that
//! begin between the same endpoints with the same time stamp have the same uid. Where a connection takes the ports of one that did
//! not end, its first packet is the one that shows this, such as the SYN-ACK.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::stream::{Connection, Endpoint};

/// Length of the text.
pub const LEN: usize = 18;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Identifier of a connection, as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; LEN]);

impl Uid {
    /// That of no connection.
    pub(crate) const NONE: Self = Self(*b"C00000000000000000");

    /// The uid of a TCP connection that a sensor has seen; the name is empty if it has none.
    #[must_use]
    pub fn of(sensor: &str, connection: &Connection) -> Self {
        let [one, other] = connection.endpoints;
        let mut hash = Sha256::new();
        hash.update(Endpoint::pair(one, other));
        hash.update(connection.started.to_be_bytes());
        hash.update(sensor);
        Self::made_of(hash)
    }

    /// The uid of the stream inside a tunnel on this connection.
    #[must_use]
    pub fn inner(&self) -> Self {
        Self::made_of(Sha256::new().chain_update(self.0))
    }

    fn made_of(hash: Sha256) -> Self {
        let digest: [u8; 32] = hash.finalize().into();
        let mut text = [b'C'; LEN];
        let [_, digits @ ..] = &mut text;
        let (ten, seven) = digits.split_at_mut(10);
        let (first, rest) = digest.split_at(8);
        base62(first, ten);
        base62(rest, seven);
        Self(text)
    }

    /// The text, in ASCII.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

/// Writes as many digits of a number as there is room for, the lowest first.
fn base62(number: &[u8], digits: &mut [u8]) {
    let mut number = number.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    for digit in digits {
        let index = usize::try_from(number % 62).unwrap_or(0);
        *digit = DIGITS.get(index).copied().unwrap_or(b'0');
        number /= 62;
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stream::OpenConnection;

    fn connection() -> Connection {
        OpenConnection::synthetic(1).info
    }

    /// Computed apart, with Python's hashlib.
    #[test]
    fn is_as_described() {
        let connection = Connection { started: 1_767_323_045_000_000_000, ..connection() };
        assert_eq!(Uid::of("", &connection).to_string(), "CEGqBJG0EqQc5SpI2G");
        assert_eq!(Uid::of("node-1", &connection).to_string(), "CgStbYVqhiHLdAzoXw");
        assert_eq!(Uid::of("", &connection).inner().to_string(), "CJLDyz6SceqWUSygKr");
    }

    #[test]
    fn is_the_same_whichever_side_was_seen_first_and_whatever_its_number() {
        let one = connection();
        let [client, server] = one.endpoints;
        let turned = Connection { endpoints: [server, client], number: 77, handle: 5, interface: 3, ..one.clone() };
        assert_eq!(Uid::of("s", &one), Uid::of("s", &turned));
    }

    #[test]
    fn differs_by_time_port_sensor_and_tunnel() {
        let one = connection();
        let mut all = HashSet::new();
        for time in 0..1000 {
            assert!(all.insert(Uid::of("", &Connection { started: time, ..one.clone() })));
        }
        let mut other = one.clone();
        other.endpoints[0].port += 1;
        for uid in [Uid::of("", &other), Uid::of("x", &one), Uid::of("", &one).inner()] {
            assert!(all.insert(uid));
        }
        assert!(all.iter().all(|uid| uid.as_bytes().iter().all(u8::is_ascii_alphanumeric)));
    }
}
