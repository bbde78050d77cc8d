//! Values of options, read and checked.

use std::net::SocketAddr;
use std::time::Duration;

use super::units;
use crate::export::sorted::Order;
use crate::http::body::MOST_BYTES;
use crate::http::filter::field::{Field, listed};
use crate::http::network::Network;

/// No transaction takes so long: a connection is forgotten after an hour of silence.
const LONGEST_TIME: Duration = Duration::from_secs(49 * 86_400);
/// Nobody waits so long for the next log file.
const LONGEST_INTERVAL: Duration = Duration::from_secs(36_500 * 86_400);

/// `PORT` or `ADDRESS:PORT`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| format!("expected PORT or ADDRESS:PORT (such as 9464 or 127.0.0.1:9464), got {text:?}"))
}

/// Accepts only a host's name, without port: any other text would never match.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_letter) {
        true => Ok(text.trim_end_matches('.').to_owned()),
        false => Err(format!("expected the name of a host without port (such as tap.example.com), got {text:?}")),
    }
}

/// A number of bytes that fits what libpcap takes.
pub(super) fn snapshot_length(text: &str) -> Result<u32, String> {
    let bytes = units::size(text, "B", 0..=u64::from(u32::MAX))?;
    u32::try_from(bytes).map_err(|error| error.to_string())
}

/// Whole KiB, as libpcap takes them.
pub(super) fn buffer_size(text: &str) -> Result<u32, String> {
    let bytes = units::size(text, "KiB", 64 << 10..=2_097_151 << 10)?;
    u32::try_from(bytes.div_ceil(1024)).map_err(|error| error.to_string())
}

/// A number of bytes of a body.
pub(super) fn body_size(text: &str) -> Result<u32, String> {
    let bytes = units::size(text, "B", 1..=u64::from(MOST_BYTES))?;
    u32::try_from(bytes).map_err(|error| error.to_string())
}

pub(super) fn slow(text: &str) -> Result<Duration, String> {
    units::duration(text, "ms", Duration::ZERO..=LONGEST_TIME)
}

pub(super) fn rotate_size(text: &str) -> Result<u64, String> {
    units::size(text, "MiB", 1 << 20..=1 << 50)
}

pub(super) fn rotate_interval(text: &str) -> Result<Duration, String> {
    units::duration(text, "s", Duration::from_secs(1)..=LONGEST_INTERVAL)
}

pub(super) fn fault_time(text: &str) -> Result<Duration, String> {
    units::duration(text, "ms", Duration::from_millis(1)..=Duration::from_secs(1))
}

pub(super) fn write_buffer(text: &str) -> Result<u64, String> {
    units::size(text, "MiB", 64 << 10..=1 << 40)
}

pub(super) fn memory_limit(text: &str) -> Result<u64, String> {
    units::size(text, "MiB", 4 << 20..=1 << 40)
}

/// A field of filters.
pub(super) fn field(text: &str) -> Result<Field, String> {
    Field::of(text).ok_or_else(|| format!("{text:?} is no field: needed {}", listed()))
}

/// A field, perhaps with a minus.
pub(super) fn order(text: &str) -> Result<Order, String> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    Ok(Order { field: field(name)?, descending })
}

/// Accepts a name that can stand in a log.
pub(super) fn sensor_name(text: &str) -> Result<String, String> {
    const MOST: usize = 255;
    match text.len() {
        1..=MOST if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(format!("expected 1 to {MOST} bytes without control characters (such as node-1), got {text:?}")),
    }
}

/// Accepts only the name of a header, a token (RFC 9110, section 5.6.2): any other text would never match, and a secret would be
/// logged.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_letter) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected the name of a header (such as X-Session-Key), got {text:?}")),
    }
}

/// Proxies, without a port: each connection of theirs has another.
pub(super) fn proxy(text: &str) -> Result<Network, String> {
    let network = Network::new(text).filter(|network| !network.has_port());
    network.ok_or_else(|| {
        format!("expected an address or a network without port (such as 10.0.0.7 or 10.0.0.0/8), got {text:?}")
    })
}
