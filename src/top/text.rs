//! Texts of the screen: numbers with fitting units, and texts from the wire that can do nothing to the terminal.

use unicode_width::UnicodeWidthChar;

use crate::export::numbers::{grouped, rfc3339};

/// Stands for what a column has no room for.
const ELLIPSIS: char = '…';

/// Whether a character is shown as it is: it takes one or two columns and does not change where others stand. Control
/// characters, those without a width (joiners, combining marks) and those that run from right to left are not.
fn is_plain(character: char) -> bool {
    let from_right = matches!(
        character,
        '\u{590}'..='\u{8ff}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fb1d}'..='\u{fdff}'
            | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}'
            | '\u{1e800}'..='\u{1efff}'
    );
    !from_right && character.width().is_some_and(|width| width > 0)
}

/// The columns that a text takes which [`fit`] has made.
pub(super) fn width(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// Appends as much of a text as fits into `columns`: characters that are not plain as `\u{..}`, an ellipsis for the rest.
/// Returns the columns that it takes.
fn append(text: &str, columns: usize, out: &mut String) -> usize {
    let (mut used, mut kept, mut kept_columns) = (0, out.len(), 0);
    for character in text.chars() {
        let (start, before) = (out.len(), used);
        match is_plain(character) {
            true => out.push(character),
            false => out.extend(character.escape_unicode()),
        }
        used += width(out.get(start..).unwrap_or_default());
        if used > columns {
            out.truncate(kept);
            if columns > 0 {
                out.push(ELLIPSIS);
                kept_columns += 1;
            }
            return kept_columns;
        }
        // The ellipsis takes one column.
        if before < columns && used < columns {
            (kept, kept_columns) = (out.len(), used);
        }
    }
    used
}

/// A text as the screen shows it, as long as it is.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    append(text, usize::MAX, &mut out);
    out
}

/// A text in exactly `columns`: shortened with an ellipsis, or filled with blanks behind it (`right`: before it).
pub(super) fn fit(text: &str, columns: usize, right: bool) -> String {
    let mut out = String::with_capacity(columns);
    let used = append(text, columns, &mut out);
    let blanks = " ".repeat(columns.saturating_sub(used));
    if right { blanks + &out } else { out + &blanks }
}

/// Microseconds with a fitting unit, as in the text log.
pub(super) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}.{}ms", micros / 1_000, micros / 100 % 10),
        _ => format!("{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
    }
}

/// Bytes with a fitting decimal unit, as in the text log.
pub(super) fn size(bytes: u64) -> String {
    let units = [("kB", 1_000_u64), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];
    match units.iter().rev().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{}{name}", bytes / unit, bytes / (unit / 10) % 10),
        None => format!("{bytes}B"),
    }
}

/// A number in at most seven columns: whole below a million, then with a unit.
pub(super) fn short(value: u64) -> String {
    match value {
        0..1_000_000 => grouped(value),
        1_000_000..1_000_000_000 => format!("{}.{}M", value / 1_000_000, value / 100_000 % 10),
        _ => format!("{}.{}G", value / 1_000_000_000, value / 100_000_000 % 10),
    }
}

/// Tenths as a decimal fraction; from 100 on without it.
pub(super) fn tenths(value: u64) -> String {
    if value < 1_000 { format!("{}.{}", value / 10, value % 10) } else { grouped(value / 10) }
}

/// Date and time of day (UTC) of microseconds since the epoch, as in the log.
pub(super) fn moment(micros: i64) -> String {
    let mut out = Vec::new();
    rfc3339(micros.saturating_mul(1_000), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Its time of day.
pub(super) fn clock(micros: i64) -> String {
    moment(micros).get(11..19).unwrap_or_default().to_owned()
}

/// A span of time as a person says it.
pub(super) fn span(micros: i64) -> String {
    let seconds = micros.max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_other_text_is_escaped() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown("\u{9b}\u{7}\u{7f}\r\n"), "\\u{9b}\\u{7}\\u{7f}\\u{d}\\u{a}");
        assert_eq!(shown("\u{202e}x\u{2066}\u{5d0}"), "\\u{202e}x\\u{2066}\\u{5d0}");
        assert_eq!(shown("e\u{301}\u{200b}\u{200d}\u{feff}\u{fe0f}"), "e\\u{301}\\u{200b}\\u{200d}\\u{feff}\\u{fe0f}");
        assert_eq!(shown("/päth/世界?\\x00"), "/päth/世界?\\x00");
    }

    #[test]
    fn a_column_is_filled_exactly() {
        let texts =
            ["", "a", "abcd", "abcde", "abcdef", "世界", "世界人", "a世界人", "\u{1b}x", "abc\u{202e}", "e\u{301}"];
        for text in texts {
            for columns in 0..12 {
                for right in [false, true] {
                    let fitted = fit(text, columns, right);
                    assert_eq!(width(&fitted), columns, "{text:?} in {columns}: {fitted:?}");
                }
            }
        }
        assert_eq!((fit("abcdef", 5, false), fit("abcde", 5, false)), ("abcd…".into(), "abcde".into()));
        assert_eq!((fit("世界人", 5, false), fit("世界人", 4, false)), ("世界…".into(), "世… ".into()));
        assert_eq!(fit("x", 3, true), "  x");
    }

    #[test]
    fn numbers_have_fitting_units() {
        assert_eq!([0, 999, 12_345, 61_250_000].map(duration), ["0us", "999us", "12.3ms", "61.2s"]);
        assert_eq!([999, 1_250, 7_900_000_000].map(size), ["999B", "1.2kB", "7.9GB"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([999_999, 1_250_000, u64::MAX].map(short), ["999,999", "1.2M", "18446744073.7G"]);
        assert_eq!([5, 999, 12_340].map(tenths), ["0.5", "99.9", "1,234"]);
        assert_eq!([-1, 119_000_000, 120_000_000, 86_400_000_000].map(span), ["0 s", "119 s", "2 min", "24 h"]);
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(moment(1_767_323_045_123_456), "2026-01-02T03:04:05.123456Z");
        assert_eq!(clock(1_767_323_045_123_456), "03:04:05");
        assert_eq!([i64::MIN, 0, i64::MAX].map(|time| clock(time).len()), [8; 3]);
    }
}
