//! A terminal is where people read lines: how wide it is, and whether it shows colours.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Columns of a terminal that does not say how many it has.
const USUAL: u16 = 80;

/// How a text is written for where it goes. The default is for what is no terminal: without colours, and of any width. Clones
/// share the width.
#[derive(Debug, Clone, Default)]
pub struct Terminal {
    color: bool,
    columns: Option<Arc<AtomicU16>>,
}

impl Terminal {
    /// `color`: whether colours are shown. `fits`: whether lines are to fit in the width, which [`Terminal::measure`] sets; until
    /// then it is 80 columns.
    #[must_use]
    pub fn new(color: bool, fits: bool) -> Self {
        Self { color, columns: fits.then(|| Arc::new(AtomicU16::new(USUAL))) }
    }

    /// Asks the terminal how wide it is, since that may change. Costs a system call, none where no line has to fit.
    pub fn measure(&self, of: impl AsFd) {
        if let Some(columns) = &self.columns {
            let width = terminal_size::terminal_size_of(of).map_or(0, |(width, _)| width.0);
            columns.store(if width == 0 { USUAL } else { width }, Ordering::Relaxed);
        }
    }

    /// The columns that a line may have, if they are limited.
    #[must_use]
    pub fn columns(&self) -> Option<usize> {
        self.columns.as_ref().map(|columns| usize::from(columns.load(Ordering::Relaxed)))
    }

    /// Whether colours are shown.
    #[must_use]
    pub const fn is_colored(&self) -> bool {
        self.color
    }

    /// Appends what `write` writes, in a colour.
    pub(super) fn paint(&self, color: Color, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.color {
            return write(out);
        }
        out.extend_from_slice(b"\x1b[");
        out.extend_from_slice(color.code());
        out.push(b'm');
        write(out);
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// A colour of the 8 that every terminal has and that its user may choose (ECMA-48, SGR), or a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    Faint,
    Bold,
    Red,
    Green,
    Yellow,
    Magenta,
    Cyan,
}

impl Color {
    /// The colour of a status: of its first digit, 0 being no response.
    pub(super) const fn of_class(class: u16) -> Self {
        match class {
            0 => Self::Magenta,
            2 => Self::Green,
            4 => Self::Yellow,
            1 | 3 => Self::Cyan,
            _ => Self::Red,
        }
    }

    const fn code(self) -> &'static [u8] {
        match self {
            Self::Faint => b"2",
            Self::Bold => b"1",
            Self::Red => b"31",
            Self::Green => b"32",
            Self::Yellow => b"33",
            Self::Magenta => b"35",
            Self::Cyan => b"36",
        }
    }
}

/// Stands for what was left out of a text.
pub(super) const ELLIPSIS: &str = "\u{2026}";

/// Columns of a text at the most (Unicode Standard Annex 11). Terminals differ in what they make of characters that join others,
/// so that each counts for itself, and for one column at least: a line may look shorter than its count, never longer, and has
/// no more characters than columns.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(columns).sum() }
}

fn columns(character: char) -> usize {
    unicode_width::UnicodeWidthChar::width(character).unwrap_or(1).max(1)
}

/// Appends a text in at most `room` columns: what is too long lacks its middle, of which an ellipsis is left. Two thirds of
/// what is kept are from the beginning.
pub(super) fn shorten(text: &str, room: usize, out: &mut Vec<u8>) {
    if width(text) <= room {
        return out.extend_from_slice(text.as_bytes());
    }
    let Some(room) = room.checked_sub(width(ELLIPSIS)) else { return };
    let end = room / 3;
    let taken = |characters: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let taken = characters.take_while(|character| {
            used += columns(*character);
            used <= room
        });
        taken.map(char::len_utf8).sum::<usize>()
    };
    let head = text.get(..taken(&mut text.chars(), room - end)).unwrap_or_default();
    let tail = text.len() - taken(&mut text.chars().rev(), end);
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(ELLIPSIS.as_bytes());
    // A mark that combines with what was left out is left out, too.
    let is_mark = |character| unicode_width::UnicodeWidthChar::width(character) == Some(0);
    out.extend_from_slice(text.get(tail..).unwrap_or_default().trim_start_matches(is_mark).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short(text: &str, room: usize) -> String {
        let mut out = Vec::new();
        shorten(text, room, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_too_long_lacks_its_middle() {
        assert_eq!(short("/a/long/path/index.html", 23), "/a/long/path/index.html");
        assert_eq!(short("/a/long/path/index.html", 14), "/a/long/p\u{2026}html");
        assert_eq!(
            short("/\u{4e2d}\u{6587}\u{4e2d}\u{6587}", 8),
            "/\u{4e2d}\u{6587}\u{2026}\u{6587}",
            "two columns each"
        );
        assert_eq!(short("e\u{301}e\u{301}e\u{301}", 4), "e\u{301}\u{2026}", "one column each at least");
    }

    proptest! {
        #[test]
        fn a_shortened_text_fits(text in "\\PC{0,40}", room in 0usize..40) {
            let short = short(&text, room);
            prop_assert!(width(&short) <= room, "{short:?}");
            prop_assert!(width(&text) > room || short == text);
        }
    }

    #[test]
    fn a_text_in_colour_ends_without_one() {
        let painted = |color| {
            let mut out = Vec::new();
            Terminal::new(color, false).paint(Color::Red, &mut out, |out| out.extend_from_slice(b"500"));
            String::from_utf8(out).unwrap()
        };
        assert_eq!((painted(true).as_str(), painted(false).as_str()), ("\x1b[31m500\x1b[0m", "500"));
    }

    #[test]
    fn a_width_that_is_not_known_is_the_usual_one() {
        let terminal = Terminal::new(false, true);
        terminal.measure(tempfile::tempfile().unwrap());
        assert_eq!((terminal.columns(), Terminal::default().columns()), (Some(80), None));
    }
}
