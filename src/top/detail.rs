//! The detail: everything about one transaction, with its times as bars.

use ratatui::style::Color;
use ratatui::text::{Line, Span};

use super::colour::{DIM, TITLE, colour, status};
use super::row::Value;
use super::text::{duration, fit, moment, shown, width};
use crate::export::numbers::grouped;
use crate::view::TransactionRow;

/// Columns of the names.
const NAMES: usize = 16;

/// The lines of a transaction, for a screen of this many columns.
pub(super) fn lines(row: &TransactionRow, columns: usize, colours: bool) -> Vec<Line<'static>> {
    let mut out = Lines { out: Vec::new(), columns: columns.max(NAMES + 16) };
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let start = format!("{} {} {}", row.protocol, known(&row.method), known(&row.target));
    for part in wrapped(&start, out.columns) {
        out.out.push(Line::styled(part, TITLE));
    }
    let outcome = match &row.reason {
        Some(reason) => format!("{} {reason}", Value::Status(row.status, row.failed).text()),
        None => Value::Status(row.status, row.failed).text(),
    };
    let outcome = if row.failed { format!("{outcome} (counts as an error)") } else { outcome };
    out.text("status", &outcome);
    if let Some(line) = out.out.last_mut() {
        *line = line.clone().patch_style(status(colours, row.status, row.failed));
    }
    out.known("host", row.host.as_deref());
    out.known("route", row.route.as_deref());
    out.text("time", &moment(row.time));
    out.bars(row, colours);
    out.text("client", &row.client);
    out.text("server", &row.server);
    out.known("interface", row.interface.as_deref());
    out.text("connection", &row.connection);
    out.known("request body", row.request_bytes.map(|bytes| format!("{} bytes", grouped(bytes))).as_deref());
    out.known("response body", row.response_bytes.map(|bytes| format!("{} bytes", grouped(bytes))).as_deref());
    if !row.flags.is_empty() {
        out.text("flags", &row.flags.join(" "));
    }
    for (name, value) in &row.fields {
        out.text(name, value);
    }
    out.out
}

struct Lines {
    out: Vec<Line<'static>>,
    columns: usize,
}

impl Lines {
    /// A name and a text, which continues in further lines.
    fn text(&mut self, name: &str, text: &str) {
        let mut name = fit(name, NAMES - 1, false);
        for part in wrapped(text, self.columns - NAMES) {
            self.out.push(Line::from(vec![Span::styled(name + " ", DIM), Span::raw(part)]));
            name = " ".repeat(NAMES - 1);
        }
    }

    fn known(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// The whole duration, and each part of it as a bar that begins where the part before it ends.
    fn bars(&mut self, row: &TransactionRow, colours: bool) {
        self.text("took", &row.duration.map_or_else(|| "unknown".into(), duration));
        let parts = [
            ("  request", row.request_time, Color::Green),
            ("  wait", row.wait_time, Color::Yellow),
            ("  response", row.response_time, Color::Cyan),
        ];
        let sum = parts.iter().filter_map(|(_, time, _)| *time).fold(0, u64::saturating_add);
        let whole = row.duration.unwrap_or(0).max(sum);
        let room = (self.columns - NAMES - 9).min(120);
        let mut before = 0;
        for (name, time, shade) in parts {
            let Some(time) = time else { continue };
            let column = |time: u64| {
                let column = u128::from(time) * room as u128 / u128::from(whole.max(1));
                usize::try_from(column).unwrap_or(room).min(room)
            };
            let from = column(before).min(room.saturating_sub(1));
            let to = column(before.saturating_add(time)).max(from + 1).min(room);
            before = before.saturating_add(time);
            let name = fit(name, NAMES - 1, false) + " ";
            let bar = "█".repeat(to.saturating_sub(from));
            self.out.push(Line::from(vec![
                Span::styled(name, DIM),
                Span::raw(fit(&duration(time), 8, true) + " " + &" ".repeat(from)),
                Span::styled(bar, colour(colours, shade)),
            ]));
        }
    }
}

/// A text in lines of at most `columns`.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut out, mut line, mut used) = (Vec::new(), String::new(), 0);
    for character in shown(text).chars() {
        let wide = width(character.encode_utf8(&mut [0; 4]));
        if used + wide > columns && !line.is_empty() {
            out.push(std::mem::take(&mut line));
            used = 0;
        }
        line.push(character);
        used += wide;
    }
    out.push(line);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(|line| line.to_string().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_long_text_goes_on_below() {
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("世界人", 5), ["世界", "人"]);
        assert_eq!(wrapped("", 5), [""]);
    }

    #[test]
    fn the_bars_follow_each_other() {
        let row = TransactionRow {
            request_time: Some(1_000),
            wait_time: Some(2_000),
            response_time: Some(1_000),
            duration: Some(4_000),
            ..TransactionRow::default()
        };
        let lines = text(&lines(&row, NAMES + 9 + 8, false));
        let bars: Vec<_> = lines.iter().filter(|line| line.contains('█')).map(|line| &line[NAMES..]).collect();
        assert_eq!(bars, ["   1.0ms ██", "   2.0ms   ████", "   1.0ms       ██"]);
    }

    #[test]
    fn what_is_unknown_is_absent_or_said() {
        let lines = text(&lines(&TransactionRow::default(), 80, false));
        assert!(lines.contains(&"took            unknown".to_owned()), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.starts_with("host") || line.contains('█')), "{lines:#?}");
    }

    #[test]
    fn bars_fit_whatever_the_times_are() {
        for time in [None, Some(0), Some(1), Some(u64::MAX)] {
            for other in [None, Some(0), Some(3), Some(u64::MAX)] {
                let row = TransactionRow { request_time: time, response_time: other, ..TransactionRow::default() };
                for line in lines(&row, 80, true) {
                    assert!(line.width() <= 80, "{line}");
                }
            }
        }
    }
}
