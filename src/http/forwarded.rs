//! The client behind proxies, as `Forwarded` (RFC 7239) and `X-Forwarded-For` name it: only where proxies are known that are to be
//! believed.
//!
//! Each proxy appends the address from which it was asked. So the list is read from its end, as long as who asked is a trusted
//! proxy; the first that is not is the client. If all are, it is the first of the list. Nothing is known if the connection does not
//! come from a trusted proxy, if an element is no address (`unknown`, `_hidden`), if quotes are not closed or are escaped, or if both
//! headers are there and say different things.

use std::net::{IpAddr, SocketAddr};

use super::network::Network;

/// Bytes of each of the headers at the most. A longer list was not made by proxies.
pub(crate) const LONGEST: usize = 4096;

/// The client, given who asked, and the values of both headers with a comma between those of several lines.
pub(crate) fn client(peer: IpAddr, trusted: &[Network], forwarded: &[u8], for_list: &[u8]) -> Option<IpAddr> {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.has(ip, None));
    if !is_trusted(peer) {
        return None;
    }
    let walk = |addresses: Vec<Option<IpAddr>>| {
        let mut client = None;
        for address in addresses.into_iter().rev() {
            client = Some(address?);
            if !address.is_some_and(is_trusted) {
                break;
            }
        }
        client
    };
    // Otherwise what a client sends could hide what a proxy has appended.
    if forwarded.contains(&b'\\') || forwarded.iter().filter(|byte| **byte == b'"').count() % 2 != 0 {
        return None;
    }
    let by_rfc = || walk(parts(forwarded, b',').map(node).collect());
    let by_habit = || walk(for_list.split(|byte| *byte == b',').map(address).collect());
    match (forwarded.is_empty(), for_list.is_empty()) {
        (true, true) => None,
        (false, true) => by_rfc(),
        (true, false) => by_habit(),
        (false, false) => by_rfc().filter(|client| by_habit() == Some(*client)),
    }
}

/// Parts of `Forwarded`, which a sign outside of quotes divides.
fn parts(text: &[u8], sign: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == sign && !quoted
    })
}

/// The node that `for` names in an element.
fn node(element: &[u8]) -> Option<IpAddr> {
    let mut pairs = parts(element, b';').map(<[u8]>::trim_ascii);
    let value = pairs.find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })?;
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    address(value)
}

/// `10.0.0.7`, `10.0.0.7:4711`, `::1`, `[::1]` or `[::1]:4711`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_from_its_end_as_long_as_proxies_are_trusted() {
        let trusted = ["10.0.0.0/8", "::1"].map(|text| Network::new(text).unwrap());
        let said = |forwarded: &str, for_list: &str| {
            client("10.0.0.1".parse().unwrap(), &trusted, forwarded.as_bytes(), for_list.as_bytes())
                .map(|ip| ip.to_string())
        };
        for (forwarded, for_list, wanted) in [
            ("", "192.0.2.7", Some("192.0.2.7")),
            ("", "6.6.6.6, 192.0.2.7, 10.9.9.9", Some("192.0.2.7")),
            ("", "10.1.1.1 ,10.2.2.2", Some("10.1.1.1")),
            ("", "192.0.2.7:4711", Some("192.0.2.7")),
            ("", "2001:db8::7, ::1", Some("2001:db8::7")),
            ("", "unknown", None),
            ("", "192.0.2.7, unknown", None),
            ("", "192.0.2.7,", None),
            ("", "", None),
            ("for=192.0.2.43", "", Some("192.0.2.43")),
            ("For=\"[2001:db8:cafe::17]:4711\"", "", Some("2001:db8:cafe::17")),
            ("for=6.6.6.6, for=192.0.2.60;proto=http;by=203.0.113.43, by=x; FOR=10.0.0.9", "", Some("192.0.2.60")),
            ("for=\"a,b\", for=10.0.0.9", "", None),
            ("for=6.6.6.6;x=\", for=192.0.2.60", "", None),
            ("for=6.6.6.6;x=\"\\\"\", for=192.0.2.60", "", None),
            ("host=\"a;for=6.6.6.6;b\";for=192.0.2.60", "", Some("192.0.2.60")),
            ("for=_hidden", "", None),
            ("by=192.0.2.1", "", None),
            ("for=192.0.2.43", "192.0.2.43", Some("192.0.2.43")),
            ("for=192.0.2.43", "192.0.2.44", None),
        ] {
            assert_eq!(said(forwarded, for_list).as_deref(), wanted, "{forwarded:?} {for_list:?}");
        }
        let stranger = "192.0.2.1".parse().unwrap();
        assert_eq!(client(stranger, &trusted, b"", b"192.0.2.7"), None, "who is not trusted is not believed");
        assert_eq!(client(stranger, &[], b"", b"192.0.2.7"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_address_or_none(forwarded in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), list in "[0-9a-f:., \\[\\]]{0,40}") {
            let trusted = [Network::new("0.0.0.0/0").unwrap()];
            client("10.0.0.1".parse().unwrap(), &trusted, &forwarded, list.as_bytes());
        }
    }
}
