//! A text line is a transaction as a person reads it in a terminal.
//!
//! `time status duration size method URL client > server [flags]`, for example
//! `2026-01-02T03:04:05.123456Z 200   12.3ms   1.2kB GET http://example.com/a 10.0.0.1:4321 > 10.0.0.2:80`
//!
//! Behind the URL of a gRPC call stands its outcome, such as ` grpc NOT_FOUND`. Of a decrypted connection the URL begins with
//! `https`; ` sni NAME` follows where the client named another server in TLS than in the request, and where the request names none
//! that name stands in the URL. Inside a tunnel ` via connect example.com:80` follows. An operation of another protocol has `ok` or `err` as
//! its status, and
//! the protocol's name before its own. Behind an endpoint stands the command of its process, if that is known: ` (nginx)`. On a terminal the line is [`fitted`] to its width.

mod fitted;
mod tls;

use std::io::Write;

use crate::escape;
use crate::export::Format;
use crate::export::numbers::{address, number, rfc3339};
use crate::export::terminal::{Color, Terminal};
use crate::http::filter::{via_name, without_port, without_user};
use crate::http::{Flags, Message, TlsConnection, Transaction, grpc};
use crate::process::Both;
use crate::stream::Endpoint;

/// Writes text lines.
#[derive(Debug)]
pub(super) struct Text {
    terminal: Terminal,
}

impl Text {
    /// `terminal`: where the lines go.
    pub(super) const fn new(terminal: Terminal) -> Self {
        Self { terminal }
    }

    /// The line of any width.
    fn whole(&self, transaction: &Transaction, out: &mut Vec<u8>) {
        self.terminal.paint(Color::Faint, out, |out| rfc3339(transaction.time(), out));
        out.push(b' ');
        self.terminal.paint(status_color(transaction), out, |out| status(transaction, out));
        out.push(b' ');
        right(out, 8, |out| duration(transaction.duration(), out));
        out.push(b' ');
        right(out, 8, |out| size(transaction.response.as_ref().and_then(Message::body).map(|body| body.wire), out));
        out.push(b' ');
        if let Some(protocol) = transaction.protocol() {
            escape::shown(protocol.as_bytes(), false, out);
            out.push(b' ');
        }
        escape::shown(transaction.method().unwrap_or(b"-"), false, out);
        out.push(b' ');
        url(transaction, out);
        grpc_status(transaction, out);
        out.push(b' ');
        self.terminal.paint(Color::Faint, out, |out| {
            ends([transaction.client, transaction.server], &transaction.processes, out);
            via(transaction, out);
            other_name(transaction, out);
        });
        if !transaction.flags.is_empty() {
            out.push(b' ');
            self.terminal.paint(Color::Yellow, out, |out| {
                for (index, name) in transaction.flags.names().enumerate() {
                    out.push(if index == 0 { b'[' } else { b' ' });
                    out.extend_from_slice(name.as_bytes());
                }
                out.push(b']');
            });
        }
        out.push(b'\n');
    }
}

impl Format for Text {
    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        match self.terminal.columns() {
            Some(columns) => fitted::line(transaction, &self.terminal, columns, out),
            None => self.whole(transaction, out),
        }
    }

    fn tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) {
        tls::line(connection, &self.terminal, out);
    }
}

/// Appends the two ends, each with the command of its process if that is known: `10.0.0.1:4321 (curl) > 10.0.0.2:80 (nginx)`.
fn ends(endpoints: [Endpoint; 2], processes: &Both, out: &mut Vec<u8>) {
    for (index, (end, process)) in endpoints.into_iter().zip(processes).enumerate() {
        if index > 0 {
            out.extend_from_slice(b" > ");
        }
        endpoint(end, out);
        if let Some(process) = process {
            out.extend_from_slice(b" (");
            escape::shown(&process.command, false, out);
            out.push(b')');
        }
    }
}

/// Appends three columns.
fn status(transaction: &Transaction, out: &mut Vec<u8>) {
    match transaction.response {
        Some(_) if transaction.protocol().is_some() => {
            let failed = transaction.flags.intersects(Flags::FAILED);
            out.extend_from_slice(if failed { b"err" } else { b" ok" });
        }
        Some(_) => match transaction.known_status() {
            Some(status) => write!(out, "{status}").unwrap_or_default(), // a Vec takes everything
            None => out.extend_from_slice(b"???"),
        },
        None => out.extend_from_slice(b"---"),
    }
}

fn status_color(transaction: &Transaction) -> Color {
    match transaction.response {
        Some(_) if transaction.protocol().is_some() => {
            Color::of_class(if transaction.flags.intersects(Flags::FAILED) { 5 } else { 2 })
        }
        Some(_) => match transaction.grpc_status() {
            None | Some(0) => Color::of_class(transaction.status / 100),
            Some(failed) => Color::of_class(if grpc::is_server_error(failed) { 5 } else { 4 }),
        },
        None => Color::of_class(0),
    }
}

/// Appends ` grpc ` and the outcome of the gRPC call, if it is one and that is known.
fn grpc_status(transaction: &Transaction, out: &mut Vec<u8>) {
    let Some(status) = transaction.grpc_status() else { return };
    out.extend_from_slice(b" grpc ");
    out.extend_from_slice(grpc::status_text(status).as_bytes());
}

/// Appends ` via ` and the tunnel around it, if there is one.
fn via(transaction: &Transaction, out: &mut Vec<u8>) {
    if let Some(outer) = &transaction.outer {
        out.extend_from_slice(b" via ");
        out.extend_from_slice(via_name(outer.tunnel).as_bytes());
        out.push(b' ');
        match outer.relay {
            Some(relay) => endpoint(relay, out),
            None => escape::shown(&outer.target, false, out),
        }
    }
}

/// The server that the client named in TLS, if the connection was decrypted.
fn server_name(transaction: &Transaction) -> Option<&str> {
    transaction.secured.as_ref()?.server_name.as_deref()
}

/// The host that the request names, or else the server that the client named in TLS.
fn named_host(transaction: &Transaction) -> Option<&[u8]> {
    transaction.host().or_else(|| server_name(transaction).map(str::as_bytes))
}

/// Appends ` sni ` and the server's name in TLS, if the request names another host.
fn other_name(transaction: &Transaction, out: &mut Vec<u8>) {
    let Some((name, host)) = server_name(transaction).zip(transaction.host()) else { return };
    if !name.as_bytes().eq_ignore_ascii_case(without_port(without_user(host))) {
        out.extend_from_slice(b" sni ");
        escape::shown(name.as_bytes(), false, out);
    }
}

/// Appends a URL: the target behind the host, where it is a path.
fn url(transaction: &Transaction, out: &mut Vec<u8>) {
    match (transaction.target(), named_host(transaction)) {
        (Some(target), Some(host)) if target.starts_with(b"/") => {
            escape::shown(transaction.scheme(), false, out);
            out.extend_from_slice(b"://");
            escape::shown(host, false, out);
            escape::shown(target, false, out);
        }
        (Some(target), _) => escape::shown(target, false, out),
        (None, _) => out.push(b'-'),
    }
}

/// Appends `address:port`, IPv6 in brackets.
pub(in crate::export) fn endpoint(endpoint: Endpoint, out: &mut Vec<u8>) {
    let brackets = endpoint.ip.is_ipv6();
    out.extend_from_slice(if brackets { b"[" } else { b"" });
    address(endpoint.ip, out);
    out.extend_from_slice(if brackets { b"]:" } else { b":" });
    number(endpoint.port, out);
}

/// Appends what `write` writes, right-aligned in `columns`.
pub(crate) fn right(out: &mut Vec<u8>, columns: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + columns, b' ');
    write(out);
    let written = out.len().saturating_sub(start + columns);
    out.drain(start..start + written.min(columns));
}

/// Appends nanoseconds with a fitting unit.
pub(crate) fn duration(time: Option<i64>, out: &mut Vec<u8>) {
    let Some(time) = time.and_then(|time| u64::try_from(time).ok()) else {
        return out.push(b'-');
    };
    match time / 1000 {
        micros @ 0..1_000 => write!(out, "{micros}us"),
        micros @ 1_000..1_000_000 => write!(out, "{}.{}ms", micros / 1000, micros / 100 % 10),
        micros @ 1_000_000..60_000_000 => write!(out, "{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
        micros => match micros / 1_000_000 {
            seconds @ ..3_600 => write!(out, "{}m{:02}s", seconds / 60, seconds % 60),
            seconds @ 3_600..360_000 => write!(out, "{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
            seconds => write!(out, "{}d", seconds / 86_400),
        },
    }
    .unwrap_or_default();
}

/// Appends bytes with a fitting decimal unit.
pub(crate) fn size(bytes: Option<u64>, out: &mut Vec<u8>) {
    let Some(bytes) = bytes else {
        return out.push(b'-');
    };
    let mut unit = 1000_u64;
    for name in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if bytes < unit {
            break;
        }
        if bytes / 1000 < unit || name == "EB" {
            return write!(out, "{}.{}{name}", bytes / unit, bytes / (unit / 10) % 10).unwrap_or_default();
        }
        unit *= 1000;
    }
    write!(out, "{bytes}B").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn durations_and_sizes_have_fitting_units() {
        assert_eq!(text(|out| duration(Some(999_999), out)), "999us");
        assert_eq!(text(|out| duration(Some(12_345_678), out)), "12.3ms");
        assert_eq!(text(|out| duration(Some(59_999_999_999), out)), "59.9s");
        assert_eq!(text(|out| duration(Some(61_250_000_000), out)), "1m01s");
        assert_eq!(text(|out| duration(Some(3_725_000_000_000), out)), "1h02m");
        assert_eq!(text(|out| duration(Some(i64::MAX), out)), "106751d");
        assert_eq!(text(|out| duration(None, out)), "-");
        assert_eq!(text(|out| size(Some(999), out)), "999B");
        assert_eq!(text(|out| size(Some(1_250), out)), "1.2kB");
        assert_eq!(text(|out| size(Some(7_900_000_000), out)), "7.9GB");
        assert_eq!(text(|out| size(Some(u64::MAX), out)), "18.4EB");
    }

    #[test]
    fn a_call_of_grpc_has_its_outcome_and_its_colour() {
        let mut wire = Wire::new(Settings::default());
        let line = |wire: &Wire| text(|out| Text::new(Terminal::new(false, false)).line(wire.last(), out));
        let failed = line(wire.call(1, "5"));
        assert!(failed.contains(" POST http://h/pkg.Greeter/SayHello grpc NOT_FOUND 10.0.0.1:4321 > "), "{failed}");
        assert!(line(wire.call(3, "99")).contains("SayHello grpc 99 "));
        let colours =
            ["0", "5", "13"].map(|status| status_color(Wire::new(Settings::default()).call(1, status).last()));
        assert_eq!(colours, [Color::of_class(2), Color::of_class(4), Color::of_class(5)]);
    }

    #[test]
    fn columns_are_aligned_and_never_cut() {
        assert_eq!(text(|out| right(out, 8, |out| out.extend_from_slice(b"12B"))), "     12B");
        assert_eq!(text(|out| right(out, 8, |out| out.extend_from_slice(b"123456789"))), "123456789");
    }
}
