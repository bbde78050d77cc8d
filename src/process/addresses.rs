//! The addresses that a network namespace has: those of IPv4 in `/proc/PID/net/fib_trie`, those of IPv6 in `if_inet6`.
//!
//! A wildcard listener is reached at these. An address that only comes from another host is in neither.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Takes the lines of `fib_trie`: `|-- ADDRESS`, and below it `/LENGTH SCOPE TYPE`, where an address of the host has `/32 host LOCAL`.
#[derive(Debug, Default)]
pub(super) struct FibTrie {
    /// Of the last line that had one.
    address: Option<Ipv4Addr>,
}

impl FibTrie {
    /// Takes a line, and gives an address that the host has.
    pub(super) fn line(&mut self, line: &[u8]) -> Option<IpAddr> {
        let line = line.trim_ascii();
        if let Some(address) = line.strip_prefix(b"|-- ") {
            self.address = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
            return None;
        }
        (line == b"/32 host LOCAL").then_some(self.address)?.map(IpAddr::V4)
    }
}

/// An address in a line of `if_inet6`: 32 hexadecimal digits, then other fields.
pub(super) fn of_if_inet6(line: &[u8]) -> Option<IpAddr> {
    let digits = std::str::from_utf8(line.get(..32)?).ok()?;
    let number = u128::from_str_radix(digits, 16).ok()?;
    (line.get(32) == Some(&b' ')).then(|| IpAddr::V6(Ipv6Addr::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_s_own_addresses_are_taken() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.0.0.0/24 2 0 2\n        \
                    |-- 10.0.0.0\n           /24 link UNICAST\n        |-- 10.0.0.7\n           /32 host LOCAL\n        |-- 10.0.0.255\n           \
                    /32 link BROADCAST\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        let mut trie = FibTrie::default();
        let found: Vec<String> =
            text.lines().filter_map(|line| trie.line(line.as_bytes())).map(|ip| ip.to_string()).collect();
        assert_eq!(found, ["10.0.0.7", "127.0.0.1"]);
        assert_eq!(FibTrie::default().line(b"/32 host LOCAL"), None);
    }

    #[test]
    fn addresses_of_ipv6_are_read() {
        let line = b"fe80000000000000025056fffe000001 02 40 20 80     eth0";
        assert_eq!(of_if_inet6(line).map(|ip| ip.to_string()), Some("fe80::250:56ff:fe00:1".to_owned()));
        for line in [&b""[..], b"fe80", b"+e80000000000000025056fffe0000011 02", b"zz80000000000000025056fffe000001 02"]
        {
            assert_eq!(of_if_inet6(line), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(line: Vec<u8>) {
            let _ = (FibTrie::default().line(&line), of_if_inet6(&line));
        }
    }
}
