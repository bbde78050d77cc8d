//! A TLS connection as a person reads it in a terminal: `time fate duration size version name client > server [reason]`.
//!
//! The fate is `open` where all was read, `part` where some was, `dark` where nothing was. The size is what both sides sent. On a
//! terminal the name is shortened, and in a narrow one the endpoints are left out.

use super::{duration, endpoint, ends, right, size};
use crate::escape;
use crate::export::numbers::rfc3339;
use crate::export::terminal::{Color, Terminal, shorten};
use crate::http::TlsConnection;

/// Columns of a terminal from which on a line has the endpoints and the whole time.
const WIDE: usize = 150;
/// Columns of all but the name: with the endpoints of IPv4, and without.
const OTHERS_WIDE: usize = 125;
const OTHERS: usize = 66;
/// Columns that a name has at least.
const LEAST: usize = 12;

/// Appends the line.
pub(super) fn line(connection: &TlsConnection, terminal: &Terminal, out: &mut Vec<u8>) {
    let (info, fate, closed) = (connection.info(), connection.fate(), &connection.closed);
    let wide = terminal.columns().is_none_or(|columns| columns >= WIDE);
    let mut time = Vec::new();
    rfc3339(connection.time(), &mut time);
    let time = if wide { &time } else { time.get(11..23).unwrap_or(&time) };
    terminal.paint(Color::Faint, out, |out| out.extend_from_slice(time));
    out.push(b' ');
    let (word, color) = match (fate.decrypted, fate.dark) {
        (true, None) => ("open", Color::of_class(2)),
        (true, Some(_)) => ("part", Color::Yellow),
        (false, _) => ("dark", Color::Yellow),
    };
    terminal.paint(color, out, |out| out.extend_from_slice(word.as_bytes()));
    out.push(b' ');
    right(out, 8, |out| duration(closed.duration(), out));
    out.push(b' ');
    let [client, server] = closed.bytes;
    right(out, 8, |out| size(Some(client.saturating_add(server)), out));
    out.push(b' ');
    out.extend_from_slice(info.version_name().unwrap_or("TLS").as_bytes());
    out.push(b' ');
    let mut name = Vec::new();
    match connection.server_name() {
        Some(text) => escape::shown(text.as_bytes(), false, &mut name),
        None if wide => name.push(b'-'),
        None => endpoint(connection.server, &mut name),
    }
    match terminal.columns() {
        Some(columns) => {
            let others = if wide { OTHERS_WIDE } else { OTHERS };
            shorten(&String::from_utf8_lossy(&name), columns.saturating_sub(others).max(LEAST), out);
        }
        None => out.extend_from_slice(&name),
    }
    if wide {
        out.push(b' ');
        terminal.paint(Color::Faint, out, |out| {
            ends([connection.client, connection.server], &connection.processes, out);
        });
    }
    let notes = [fate.reason().map(Into::into), info.alert_name()];
    let notes: Vec<_> = notes.into_iter().flatten().collect();
    if !notes.is_empty() {
        out.push(b' ');
        terminal.paint(Color::Yellow, out, |out| out.extend_from_slice(format!("[{}]", notes.join(" ")).as_bytes()));
    }
    out.push(b'\n');
}
