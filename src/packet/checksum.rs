//! The internet checksum (RFC 1071), and the pseudo header that TCP adds to it.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;

/// Sum of bytes.
pub(super) fn sum(bytes: &[u8]) -> Sum16BitWords {
    Sum16BitWords::new().add_slice(bytes)
}

/// Whether a sum that includes the checksum field is right.
pub(super) fn is_good(sum: Sum16BitWords) -> bool {
    sum.ones_complement() == 0
}

/// Whether a complete TCP segment has the right checksum for its addresses (RFC 9293, section 3.1; RFC 8200, section
/// 8.1).
pub(super) fn tcp_is_good(source: IpAddr, destination: IpAddr, segment: &[u8]) -> bool {
    let add = |sum: Sum16BitWords, address: IpAddr| match address {
        IpAddr::V4(address) => sum.add_slice(&address.octets()),
        IpAddr::V6(address) => sum.add_slice(&address.octets()),
    };
    let Ok(length) = u32::try_from(segment.len()) else {
        return false;
    };
    let sum = add(add(Sum16BitWords::new(), source), destination);
    is_good(sum.add_slice(&length.to_be_bytes()).add_slice(&[0, super::ip::TCP]).add_slice(segment))
}
