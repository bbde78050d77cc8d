//! A gRPC call is a transaction of HTTP/2 whose content type says so ("gRPC over HTTP2", the protocol's specification).

use std::borrow::Cow;

use crate::escape;
use crate::http::transaction::Transaction;

/// Names of the status codes, by number ("gRPC status codes").
pub(crate) const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a status code, if it has one.
#[must_use]
pub fn status_name(code: u16) -> Option<&'static str> {
    STATUSES.get(usize::from(code)).copied()
}

/// The name of a status code, or its number.
#[must_use]
pub fn status_text(code: u16) -> Cow<'static, str> {
    status_name(code).map_or_else(|| code.to_string().into(), Cow::Borrowed)
}

/// Whether a status code says that the server failed, by OpenTelemetry's conventions: `UNKNOWN`, `DEADLINE_EXCEEDED`,
/// `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`.
#[must_use]
pub const fn is_server_error(code: u16) -> bool {
    matches!(code, 2 | 4 | 12 | 13 | 14 | 15)
}

/// The code of a name, without regard to case.
pub(crate) fn status_code(name: &str) -> Option<u16> {
    STATUSES.iter().position(|known| known.eq_ignore_ascii_case(name)).and_then(|code| u16::try_from(code).ok())
}

/// What is known of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// Name of the service, with its package; empty if it is not known.
    pub service: &'a [u8],
    /// Name of the method; empty if it is not known.
    pub method: &'a [u8],
    /// Code of the outcome, 0: OK.
    pub status: Option<u16>,
    /// What the server says about it.
    pub message: Option<Vec<u8>>,
    /// How long the client is willing to wait, in nanoseconds.
    pub timeout: Option<u64>,
    /// Messages of the request and of the response.
    pub messages: [Option<u32>; 2],
}

impl Transaction {
    /// The gRPC call that it is; `None`: it is none.
    #[must_use]
    pub fn grpc(&self) -> Option<Call<'_>> {
        let http2 = self.http2.as_ref().filter(|http2| http2.grpc)?;
        let (service, method) = self.grpc_called().unwrap_or_default();
        Some(Call {
            service,
            method,
            status: self.grpc_status(),
            message: self.text_of(http2.grpc_message).map(|text| escape::undo_behind(b"%", text)),
            timeout: self.text_of(http2.grpc_timeout).and_then(timeout),
            messages: http2.messages,
        })
    }

    /// Whether it is a gRPC call.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.http2.as_ref().is_some_and(|http2| http2.grpc)
    }

    /// Code of the outcome of the gRPC call that it is, 0: OK; `None` if that is not known.
    #[must_use]
    pub fn grpc_status(&self) -> Option<u16> {
        let http2 = self.http2.as_ref().filter(|http2| http2.grpc)?;
        std::str::from_utf8(self.text_of(http2.grpc_status)?).ok()?.parse().ok()
    }

    /// What the gRPC call that it is calls: `package.Service/Method`.
    #[must_use]
    pub fn grpc_name(&self) -> Option<&[u8]> {
        self.path()?.strip_prefix(b"/").filter(|_| self.is_grpc())
    }

    /// Service and method of the gRPC call that it is, each empty if it is not known.
    pub(crate) fn grpc_called(&self) -> Option<(&[u8], &[u8])> {
        if !self.is_grpc() {
            return None;
        }
        let name = self.grpc_name().unwrap_or_default();
        let Some(at) = memchr::memrchr(b'/', name) else { return Some((b"", b"")) };
        Some((name.get(..at).unwrap_or_default(), name.get(at.saturating_add(1)..).unwrap_or_default()))
    }

    /// Whether it is a gRPC call that is known to have failed.
    #[must_use]
    pub fn grpc_failed(&self) -> bool {
        self.grpc_status().is_some_and(|status| status != 0)
    }
}

/// Nanoseconds of a `grpc-timeout`: up to eight digits and a unit.
fn timeout(text: &[u8]) -> Option<u64> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let unit = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(escape::undo_behind(b"%", b"a%20b%C3%bc%"), b"a b\xc3\xbc%");
        assert_eq!(escape::undo_behind(b"%", b"100% %zz%+1"), b"100% %zz%+1");
    }

    #[test]
    fn timeouts_have_units() {
        let cases = [
            ("5S", Some(5_000_000_000)),
            ("99999999H", Some(359_999_996_400_000_000_000_u128)),
            ("20m", Some(20_000_000)),
        ];
        for (text, wanted) in cases {
            assert_eq!(timeout(text.as_bytes()), wanted.and_then(|wanted| u64::try_from(wanted).ok()), "{text}");
        }
        for text in ["", "S", "5", "123456789S", "-1S", "5s"] {
            assert_eq!(timeout(text.as_bytes()), None, "{text}");
        }
    }
}
