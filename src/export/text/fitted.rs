//! A fitted line is a transaction in the width of a terminal: `time status duration size method target [flags]`.
//!
//! What does not fit is left out: of the target its middle, of the time its date, and below [`WIDE`] columns the addresses,
//! so that a host that is not named is the server's address.

use super::{duration, endpoint, ends, grpc_status, named_host, other_name, right, size, status, status_color, via};
use crate::escape;
use crate::export::numbers::rfc3339;
use crate::export::terminal::{Color, Terminal, shorten, width};
use crate::http::{Message, Transaction};

/// From this width on a line has the addresses.
const WIDE: usize = 120;
/// Columns of the narrowest terminal in which lines fit.
const NARROWEST: usize = 60;
/// Columns of a duration and of a size.
const NUMBER: usize = 7;
/// Columns of a method, or of a protocol other than HTTP.
const METHOD: usize = 7;
/// Columns before the target: a time with milliseconds, three of status, and a space after each.
const BEFORE: usize = 13 + 4 + 2 * (NUMBER + 1) + METHOD + 1;
/// Columns of two endpoints of IPv4.
const ENDPOINTS: usize = 45;
/// Columns that the target has at least, whatever the addresses need.
const LEAST: usize = 30;

/// Appends the line.
pub(super) fn line(transaction: &Transaction, terminal: &Terminal, columns: usize, out: &mut Vec<u8>) {
    let mut time = Vec::new();
    rfc3339(transaction.time(), &mut time);
    let clock = time.get(11..23).unwrap_or_default(); // 2026-01-02T03:04:05.123456Z
    terminal.paint(Color::Faint, out, |out| out.extend_from_slice(clock));
    out.push(b' ');
    terminal.paint(status_color(transaction), out, |out| status(transaction, out));
    out.push(b' ');
    right(out, NUMBER, |out| duration(transaction.duration(), out));
    out.push(b' ');
    right(out, NUMBER, |out| size(transaction.response.as_ref().and_then(Message::body).map(|body| body.wire), out));
    out.push(b' ');
    let method = transaction.method().unwrap_or(b"-");
    let label = text(|out| escape::shown(transaction.protocol().map_or(method, str::as_bytes), false, out));
    shorten(&label, METHOD, out);
    pad(METHOD.saturating_sub(width(&label)) + 1, out);

    let room = columns.max(NARROWEST) - BEFORE;
    let target = text(|out| match transaction.protocol() {
        Some(_) => operation(transaction, out),
        None => address(transaction, out),
    });
    let ends = text(|out| {
        ends([transaction.client, transaction.server], &transaction.processes, out);
    });
    let for_ends = width(&ends).max(ENDPOINTS) + 1;
    let has_ends = columns >= WIDE && room >= LEAST + for_ends;
    let room = if has_ends { room - for_ends } else { room };

    let notes = text(|out| {
        grpc_status(transaction, out);
        via(transaction, out);
        other_name(transaction, out);
    });
    let mut notes = notes.trim_start().to_owned();
    for name in transaction.flags.names() {
        notes.push_str(if notes.is_empty() { "" } else { " " });
        notes.push_str(name);
    }
    let notes = text(|out| shorten(&notes, room / 2, out));
    let for_notes = if notes.is_empty() { 0 } else { width(&notes) + 3 };
    let target = text(|out| shorten(&target, room - for_notes, out));
    out.extend_from_slice(target.as_bytes());
    if !notes.is_empty() {
        out.push(b' ');
        terminal.paint(Color::Yellow, out, |out| {
            out.push(b'[');
            out.extend_from_slice(notes.as_bytes());
            out.push(b']');
        });
    }
    if has_ends {
        pad(room - width(&target) - for_notes + 1, out);
        terminal.paint(Color::Faint, out, |out| out.extend_from_slice(ends.as_bytes()));
    }
    out.push(b'\n');
}

/// An operation of another protocol, whose name has the place of a method.
fn operation(transaction: &Transaction, out: &mut Vec<u8>) {
    escape::shown(transaction.method().unwrap_or(b"-"), false, out);
    if let Some(target) = transaction.target() {
        out.push(b' ');
        escape::shown(target, false, out);
    }
}

/// The target behind the host, or behind the server's address if no host is named.
fn address(transaction: &Transaction, out: &mut Vec<u8>) {
    let target = transaction.target();
    if target.is_none_or(|target| target.starts_with(b"/")) {
        if transaction.scheme() == b"https" {
            out.extend_from_slice(b"https://");
        }
        match named_host(transaction) {
            Some(host) => escape::shown(host, false, out),
            None => endpoint(transaction.server, out),
        }
    }
    escape::shown(target.unwrap_or_default(), false, out);
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    // Escaped texts are UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

fn pad(columns: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + columns, b' ');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::flag;
    use crate::export::Format;
    use crate::export::text::Text;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use crate::stream::EndReason;

    fn lines(wire: &Wire, columns: usize) -> Vec<String> {
        let line = |transaction| {
            let mut out = Vec::new();
            line(transaction, &Terminal::default(), columns, &mut out);
            String::from_utf8(out).unwrap()
        };
        wire.done.iter().map(line).collect()
    }

    fn wire() -> Wire {
        let mut wire = Wire::new(Settings::default());
        wire.get(1, "/a").wait(12).reply(1, 200, 1250);
        let long = format!("/{}/index.html", "very/".repeat(20));
        wire.ask(2, format!("OPTIONS {long} HTTP/1.1\nHost: example.com"), flag::BARE_LF).end(0, 2, 0, 0);
        wire.wait(70_000).reply(2, 503, 999_999);
        wire.ask(3, "VERSION-CONTROL /b HTTP/1.1", 0).end(0, 3, 0, 0).close(EndReason::Reset);
        wire
    }

    #[test]
    fn columns_are_aligned_at_80() {
        let wanted = [
            "03:04:05.000 200  12.0ms   1.2kB GET     example.com/a\n",
            "03:04:05.012 503   1m10s 999.9kB OPTIONS example.com/very/ve\u{2026}ndex.html [bare_lf]\n",
            "03:05:15.012 ---       -       - VERS\u{2026}OL 10.0.0.2:80/b [no_response reset]\n",
        ];
        assert_eq!(lines(&wire(), 80), wanted);
    }

    #[test]
    fn a_wide_terminal_has_the_addresses() {
        let lines = lines(&wire(), 140);
        assert_eq!(
            lines[0],
            "03:04:05.000 200  12.0ms   1.2kB GET     example.com/a                                         10.0.0.1:4321 > 10.0.0.2:80\n"
        );
        let at = |line: &String| line.chars().position(|c| c == '>');
        assert_eq!((at(&lines[0]), at(&lines[1])), (at(&lines[2]), at(&lines[2])));
    }

    proptest! {
        #[test]
        fn a_line_fits_and_holds_no_control_character(
            host in "\\PC{0,60}", target in proptest::collection::vec(any::<u8>(), 0..200), columns in 60usize..200, flags in any::<u32>(),
        ) {
            let target: Vec<u8> = target.into_iter().filter(|byte| !matches!(byte, b' ' | b'\r' | b'\n')).collect();
            let mut wire = Wire::new(Settings::default());
            let mut head = b"GET /".to_vec();
            head.extend_from_slice(&target);
            head.extend_from_slice(format!(" HTTP/1.1\nHost: {host}").as_bytes());
            wire.ask(1, head, flags & 0x0fff_ffff).end(0, 1, 0, 0).reply(1, 404, 5);
            for text in lines(&wire, columns) {
                prop_assert!(width(text.trim_end_matches('\n')) <= columns, "{text:?}");
                prop_assert!(text.trim_end_matches('\n').chars().all(|c| !c.is_control()));
            }
            let mut out = Vec::new();
            wire.done.iter().for_each(|transaction| Text::new(Terminal::new(true, true)).line(transaction, &mut out));
            let plain = String::from_utf8(out).unwrap();
            // What is left without the colours is what is written without them.
            let plain = ["0", "2", "33"].iter().fold(plain, |text, code| text.replace(&format!("\x1b[{code}m"), ""));
            prop_assert_eq!(plain, lines(&wire, 80).concat());
        }
    }
}
