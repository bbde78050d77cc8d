//! A text line is a transaction as a person reads it in a terminal.
//!
//! `time status duration size method URL client > server [flags]`, for example
//! `2026-01-02T03:04:05.123456Z 200   12.3ms   1.2kB GET http://example.com/a 10.0.0.1:4321 > 10.0.0.2:80`
//!
//! Inside a tunnel ` via connect example.com:80` follows. An operation of another protocol has `ok` or `err` as its status, and
//! the protocol's name before its own.

use std::io::Write;

use crate::escape;
use crate::export::Format;
use crate::export::json::via_name;
use crate::export::numbers::{address, number, rfc3339};
use crate::http::{Flags, Message, Transaction};
use crate::stream::Endpoint;

/// Writes text lines.
#[derive(Debug)]
pub(super) struct Text;

impl Format for Text {
    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        rfc3339(transaction.time(), out);
        match transaction.response {
            Some(_) if transaction.protocol().is_some() => {
                let failed = transaction.flags.intersects(Flags::FAILED);
                out.extend_from_slice(if failed { b" err" } else { b"  ok" });
            }
            Some(_) if transaction.status == 0 => out.extend_from_slice(b" ???"),
            Some(_) => write!(out, " {}", transaction.status).unwrap_or_default(), // a Vec takes everything
            None => out.extend_from_slice(b" ---"),
        }
        out.push(b' ');
        right(out, |out| duration(transaction.duration(), out));
        out.push(b' ');
        right(out, |out| size(transaction.response.as_ref().and_then(Message::body).map(|body| body.wire), out));
        out.push(b' ');
        if let Some(protocol) = transaction.protocol() {
            escape::shown(protocol.as_bytes(), false, out);
            out.push(b' ');
        }
        escape::shown(transaction.method().unwrap_or(b"-"), false, out);
        out.push(b' ');
        url(transaction, out);
        out.push(b' ');
        endpoint(transaction.client, out);
        out.extend_from_slice(b" > ");
        endpoint(transaction.server, out);
        if let Some(outer) = &transaction.outer {
            out.extend_from_slice(b" via ");
            out.extend_from_slice(via_name(outer.tunnel).as_bytes());
            out.push(b' ');
            match outer.relay {
                Some(relay) => endpoint(relay, out),
                None => escape::shown(&outer.target, false, out),
            }
        }
        for (index, name) in transaction.flags.names().enumerate() {
            out.extend_from_slice(if index == 0 { b" [" } else { b" " });
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(if transaction.flags.is_empty() { b"\n" } else { b"]\n" });
    }
}

/// Appends a URL: the target behind the host, where it is a path.
fn url(transaction: &Transaction, out: &mut Vec<u8>) {
    match (transaction.target(), transaction.host()) {
        (Some(target), Some(host)) if target.starts_with(b"/") => {
            escape::shown(transaction.scheme().unwrap_or(b"http"), false, out);
            out.extend_from_slice(b"://");
            escape::shown(host, false, out);
            escape::shown(target, false, out);
        }
        (Some(target), _) => escape::shown(target, false, out),
        (None, _) => out.push(b'-'),
    }
}

/// Appends `address:port`, IPv6 in brackets.
pub(super) fn endpoint(endpoint: Endpoint, out: &mut Vec<u8>) {
    let brackets = endpoint.ip.is_ipv6();
    out.extend_from_slice(if brackets { b"[" } else { b"" });
    address(endpoint.ip, out);
    out.extend_from_slice(if brackets { b"]:" } else { b":" });
    number(endpoint.port, out);
}

/// Appends what `write` writes, right-aligned in eight columns.
fn right(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[b' '; 8]);
    write(out);
    let written = out.len().saturating_sub(start + 8);
    out.drain(start..start + written.min(8));
}

/// Appends nanoseconds with a fitting unit.
pub(super) fn duration(time: Option<i64>, out: &mut Vec<u8>) {
    let Some(time) = time.and_then(|time| u64::try_from(time).ok()) else {
        return out.push(b'-');
    };
    match time / 1000 {
        micros @ 0..1_000 => write!(out, "{micros}us"),
        micros @ 1_000..1_000_000 => write!(out, "{}.{}ms", micros / 1000, micros / 100 % 10),
        micros => write!(out, "{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
    }
    .unwrap_or_default();
}

/// Appends bytes with a fitting decimal unit.
pub(super) fn size(bytes: Option<u64>, out: &mut Vec<u8>) {
    let Some(bytes) = bytes else {
        return out.push(b'-');
    };
    let mut unit = 1000;
    for name in ["kB", "MB", "GB", "TB"] {
        if bytes < unit {
            break;
        }
        if bytes < unit * 1000 || name == "TB" {
            return write!(out, "{}.{}{name}", bytes / unit, bytes / (unit / 10) % 10).unwrap_or_default();
        }
        unit *= 1000;
    }
    write!(out, "{bytes}B").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn durations_and_sizes_have_fitting_units() {
        assert_eq!(text(|out| duration(Some(999_999), out)), "999us");
        assert_eq!(text(|out| duration(Some(12_345_678), out)), "12.3ms");
        assert_eq!(text(|out| duration(Some(61_250_000_000), out)), "61.2s");
        assert_eq!(text(|out| duration(None, out)), "-");
        assert_eq!(text(|out| size(Some(999), out)), "999B");
        assert_eq!(text(|out| size(Some(1_250), out)), "1.2kB");
        assert_eq!(text(|out| size(Some(7_900_000_000), out)), "7.9GB");
        assert_eq!(text(|out| size(Some(u64::MAX), out)), "18446744.0TB");
    }

    #[test]
    fn columns_are_aligned_and_never_cut() {
        assert_eq!(text(|out| right(out, |out| out.extend_from_slice(b"12B"))), "     12B");
        assert_eq!(text(|out| right(out, |out| out.extend_from_slice(b"123456789"))), "123456789");
    }
}
