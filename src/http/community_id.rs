//! A community identifier is a short text that every tool computes alike for one TCP connection.
//!
//! Version 1 of the Community ID specification: SHA-1 over seed (0), ordered addresses, protocol, a zero byte and
//! ordered ports, in base64.

use std::net::IpAddr;

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

use crate::stream::Endpoint;

/// Length of the text: `1:` and 20 bytes in base64.
pub const LEN: usize = 30;

/// The identifier of a TCP connection between two endpoints, in either order.
#[must_use]
pub fn identifier(one: Endpoint, other: Endpoint) -> [u8; LEN] {
    let (low, high) = if key(one) <= key(other) { (one, other) } else { (other, one) };
    let mut hash = Sha1::new();
    hash.update(0u16.to_be_bytes());
    for ip in [low.ip, high.ip] {
        match ip {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
    }
    hash.update([6, 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    let digest: [u8; 20] = hash.finalize().into();
    let mut text = *b"1:                            ";
    if let Some((_, rest)) = text.split_first_chunk_mut::<2>() {
        // 20 bytes are 28 characters with padding.
        BASE64.encode_mut(&digest, rest);
    }
    text
}

/// Addresses are ordered as bytes, equal ones by port.
fn key(endpoint: Endpoint) -> ([u8; 16], u16) {
    let octets = match endpoint.ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    (octets, endpoint.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(ip: &str, port: u16) -> Endpoint {
        Endpoint { ip: ip.parse().unwrap(), port }
    }

    fn text(one: Endpoint, other: Endpoint) -> String {
        String::from_utf8(identifier(one, other).to_vec()).unwrap()
    }

    /// The specification's own vector for TCP over IPv4, and its IPv6 one.
    #[test]
    fn agrees_with_the_published_vectors() {
        let (client, server) = (endpoint("128.232.110.120", 34855), endpoint("66.35.250.204", 80));
        assert_eq!(text(client, server), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        let (client, server) =
            (endpoint("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943), endpoint("2607:f8b0:400c:c03::1a", 25));
        assert_eq!(text(client, server), "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=");
    }

    #[test]
    fn is_the_same_from_both_ends() {
        let (one, other) = (endpoint("10.0.0.1", 80), endpoint("10.0.0.1", 8080));
        assert_eq!(text(one, other), text(other, one));
    }
}
