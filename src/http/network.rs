//! A network: addresses that belong together (RFC 4632).

use std::net::{IpAddr, SocketAddr};

/// Addresses: one, one with a port, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    prefix: u8,
    port: Option<u16>,
}

impl Network {
    /// `10.0.0.7`, `::1`, `[::1]`, `10.0.0.7:80`, `[::1]:80` or `10.0.0.0/8`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let whole = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { ip: address.ip(), prefix: whole(address.ip()), port: Some(address.port()) });
        }
        if let Some((ip, prefix)) = text.split_once('/') {
            let ip: IpAddr = ip.parse().ok()?;
            let digits = prefix.len() <= 3 && prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix.parse().ok().filter(|prefix| digits && *prefix <= whole(ip))?;
            return Some(Self { ip, prefix, port: None });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let ip = bare.parse::<IpAddr>().ok().filter(|ip| bare == text || ip.is_ipv6())?;
        Some(Self { ip, prefix: whole(ip), port: None })
    }

    /// Whether an address, with its port if that is known, is one of these.
    #[must_use]
    pub fn has(&self, ip: IpAddr, port: Option<u16>) -> bool {
        let same = match (self.ip, ip) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                (one.to_bits() ^ other.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                (one.to_bits() ^ other.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        };
        same && (self.port.is_none() || self.port == port)
    }

    /// Whether it is of one port only.
    #[must_use]
    pub const fn has_port(&self) -> bool {
        self.port.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_with_its_bits() {
        let has = |network: &str, ip: &str| Network::new(network).unwrap().has(ip.parse().unwrap(), Some(80));
        for (network, ip) in [
            ("10.0.0.0/8", "10.255.0.1"),
            ("0.0.0.0/0", "1.2.3.4"),
            ("10.0.0.7", "10.0.0.7"),
            ("10.0.0.7/32", "10.0.0.7"),
            ("10.0.0.7:80", "10.0.0.7"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1"),
            ("::/0", "::1"),
        ] {
            assert!(has(network, ip), "{network} {ip}");
        }
        for (network, ip) in [
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.7:81", "10.0.0.7"),
            ("2001:db8::/33", "2001:db8:8000::1"),
            ("::/0", "1.2.3.4"),
            ("10.0.0.6/31", "10.0.0.8"),
        ] {
            assert!(!has(network, ip), "{network} {ip}");
        }
        for wrong in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "[10.0.0.1]", "::1:80:", "a"] {
            assert_eq!(Network::new(wrong), None, "{wrong}");
        }
    }
}
