//! `/proc/PID/net/tcp` and `tcp6`: the TCP sockets of a network namespace (proc(5)).
//!
//! A line is `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...`. Addresses are in
//! hexadecimal, each 32 bits in the order of the machine, which is little-endian here, and ports as numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::stream::Endpoint;

/// State of a socket that carries a connection (`TCP_ESTABLISHED`), and of one that listens (`TCP_LISTEN`).
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// A socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    state: u8,
    /// 0 if it belongs to no process: not accepted yet, or closed.
    pub(super) inode: u64,
}

impl Socket {
    pub(super) const fn listens(&self) -> bool {
        self.state == LISTEN
    }

    /// Established, but no process has accepted it.
    pub(super) const fn waits_for_accept(&self) -> bool {
        self.state == ESTABLISHED && self.inode == 0
    }
}

/// Reads a line; none if it is no socket's, as the first.
pub(super) fn socket(line: &[u8]) -> Option<Socket> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let local = endpoint(words.nth(1)?)?;
    let remote = endpoint(words.next()?)?;
    let state = u8::try_from(hexadecimal(words.next()?)?).ok()?;
    let inode = std::str::from_utf8(words.nth(5)?).ok()?.parse().ok()?;
    Some(Socket { local, remote, state, inode })
}

fn endpoint(text: &[u8]) -> Option<Endpoint> {
    let mut parts = text.split(|byte| *byte == b':');
    let (address, port) = (parts.next()?, parts.next()?);
    let port = u16::try_from(hexadecimal(port)?).ok()?;
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(address)?)),
        32 => {
            let mut octets = [0; 16];
            for (into, digits) in octets.chunks_mut(4).zip(address.chunks(8)) {
                into.copy_from_slice(&word(digits)?);
            }
            // A connection over IPv4 to a socket of IPv6.
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(Endpoint { ip, port })
}

/// Four octets of an address: a number of the machine's order, of which the octets in memory are those of the network.
fn word(digits: &[u8]) -> Option<[u8; 4]> {
    Some(u32::try_from(hexadecimal(digits)?).ok()?.to_ne_bytes())
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| Some(sum << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_files_are_read() {
        let line = b"   1: 0100007F:1F90 0200007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 424242 1 0 20 4 30 10 -1";
        let found = socket(line).expect("a socket");
        assert_eq!((found.local.ip.to_string(), found.local.port), ("127.0.0.1".to_owned(), 8080));
        assert_eq!((found.remote.ip.to_string(), found.remote.port), ("127.0.0.2".to_owned(), 54321));
        assert_eq!((found.inode, found.listens(), found.waits_for_accept()), (424_242, false, false));
        let line = b"   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0";
        let found = socket(line).expect("a socket");
        assert!(found.listens() && found.local.ip.is_unspecified() && found.local.port == 80);
        let line = b"   0: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000200007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 0 1";
        let found = socket(line).expect("a socket");
        assert_eq!(found.local.ip.to_string(), "127.0.0.1");
        assert!(found.waits_for_accept());
        let line =
            b"   0: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1";
        assert_eq!(socket(line).expect("a socket").local.ip.to_string(), "2001:db8::1");
    }

    #[test]
    fn other_lines_are_no_sockets() {
        let heading =
            b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(socket(heading), None);
        for line in [
            &b""[..],
            b"1: 0100007F:1F90",
            b"1: 0100007F:1F90 0:0 01",
            b"1: 0100007F:1F900 0200007F:D431 01 0 0 0 0 0 1",
        ] {
            assert_eq!(socket(line), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(line: Vec<u8>) {
            let _ = socket(&line);
        }
    }
}
