//! Quoting makes text from a module or a file safe for a terminal and a log.

/// Characters of a text that are shown. Error texts with a name in them are seldom longer.
const MOST_CHARS: usize = 300;

/// The text with everything escaped that does not print: control characters, line ends, characters that change the direction
/// of text. A text that is too long is cut, and ends in `...`.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MOST_CHARS));
    for (count, c) in text.chars().enumerate() {
        if count == MOST_CHARS {
            out.push_str("...");
            break;
        }
        match c {
            '"' | '\'' => out.push(c),
            // These do not print either, but the standard library leaves them as they are.
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => out.extend(c.escape_unicode()),
            c => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_print_is_escaped() {
        assert_eq!(quote("it's \"plain\" text: äß漢"), "it's \"plain\" text: äß漢");
        assert_eq!(
            quote("\x1b]0;owned\x07\x1b[2Ja\nb\tc\\\u{9b}"),
            "\\u{1b}]0;owned\\u{7}\\u{1b}[2Ja\\nb\\tc\\\\\\u{9b}"
        );
        for c in
            ['\u{202e}', '\u{2066}', '\u{2069}', '\u{200f}', '\u{200b}', '\u{feff}', '\u{2028}', '\u{85}', '\u{ad}']
        {
            assert!(quote(&c.to_string()).is_ascii(), "{c:?}");
        }
        assert!(quote("a\u{301}").chars().count() >= 2);
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = quote(&"x".repeat(100_000));
        assert_eq!(long.len(), MOST_CHARS + 3);
        assert!(long.ends_with("x..."));
        assert_eq!(quote(&"x".repeat(MOST_CHARS)).len(), MOST_CHARS);
    }
}
