//! An escape represents a byte that must not appear in a line.
//!
//! All formats have one scheme, so that one rule gives the bytes of every text: **`\xNN` (two hexadecimal digits) is
//! the byte NN, everything else is itself.** So that no such sequence occurs by accident, a backslash before an `x` is
//! escaped too (in Zeek and CLF lines, every backslash).
//!
//! - JSON (and ECS): valid UTF-8 stays; control characters (C0, DEL, C1) and characters that change the direction of
//!   text are JSON's own `\uNNNN`; a byte that is not part of valid UTF-8 is the four characters `\xNN`, thus `\\xNN`
//!   in the file. So every JSON parser accepts every line, and only texts with such bytes need the rule above.
//! - text: valid UTF-8 stays, all else is `\xNN`; control characters never reach a terminal.
//! - Zeek: like text. CLF: every byte other than printable ASCII, the quote and the backslash are `\xNN`, as in nginx.
//! - `picotap parse`: JSON as above; its plain lines are text in pure ASCII, since the guest that prints the same lines
//!   (`guest/ways/argv.c`) does not decode UTF-8.

/// Appends `\xNN`.
fn hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
}

/// Invisible characters that change how the following text is displayed: C1 controls, line separators, and those that
/// set the direction of text. With them a log line can be made to look like another.
const fn misleads(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Not zero if one of eight bytes is not printable ASCII, or is `"` or `\`: the lowest of these has its high bit set, and none
/// below it has. A borrow may set further bits above it, which does not matter.
const fn odd(word: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(LOW) & !word & HIGH
    }
    let below_space = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
    (word & HIGH)
        | below_space
        | zero(word ^ (LOW * b'"' as u64))
        | zero(word ^ (LOW * b'\\' as u64))
        | zero(word ^ (LOW * 0x7f))
}

/// Length of the longest prefix of `text` that is printable ASCII without `"` and `\`. Takes eight bytes at a time.
fn plain(text: &[u8]) -> usize {
    let (chunks, rest) = text.as_chunks::<8>();
    let mut at = 0;
    for chunk in chunks {
        let odd = odd(u64::from_le_bytes(*chunk));
        if odd != 0 {
            return at + odd.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    // The last eight bytes at once, though some of them have been looked at.
    if text.last_chunk().is_some_and(|last| odd(u64::from_le_bytes(*last)) == 0) {
        return text.len();
    }
    at + rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len())
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Appends `text` as a JSON string, quotes included.
pub fn json(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (clean, odd) = rest.split_at(plain(rest));
        out.extend_from_slice(clean);
        let Some((byte, after)) = odd.split_first() else { break };
        rest = after;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' if after.first() == Some(&b'x') => out.extend_from_slice(br"\\x5c"),
            b'\\' => out.extend_from_slice(br"\\"),
            0x80.. => rest = json_beyond_ascii(odd, out),
            control => unicode(u32::from(*control), out),
        }
    }
    out.push(b'"');
}

/// Appends the bytes from 0x80 on with which `text` begins. Returns the rest.
fn json_beyond_ascii<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let end = text.iter().position(u8::is_ascii).unwrap_or(text.len());
    let (beyond, rest) = text.split_at(end);
    for chunk in beyond.utf8_chunks() {
        for character in chunk.valid().chars() {
            match misleads(character) {
                true => unicode(u32::from(character), out),
                false => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.push(b'\\');
            hex(*byte, out);
        }
    }
    rest
}

/// Appends `\uNNNN`. Every character that is escaped so is below U+10000.
fn unicode(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from_digit(code >> shift & 15, 16).map_or(b'0', |digit| u8::try_from(digit).unwrap_or(b'0')));
    }
}

/// Appends `text` for a line that a terminal may display, or a tab-separated one. `all_backslashes`: escape every
/// backslash, not only those before an `x`.
pub fn shown(text: &[u8], all_backslashes: bool, out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (clean, odd) = rest.split_at(plain(rest));
        out.extend_from_slice(clean);
        let Some((byte, after)) = odd.split_first() else { break };
        rest = after;
        match byte {
            b'"' => out.push(b'"'),
            b'\\' if all_backslashes || after.first() == Some(&b'x') => hex(b'\\', out),
            b'\\' => out.push(b'\\'),
            0x80.. => rest = shown_beyond_ascii(odd, out),
            control => hex(*control, out),
        }
    }
}

fn shown_beyond_ascii<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let end = text.iter().position(u8::is_ascii).unwrap_or(text.len());
    let (beyond, rest) = text.split_at(end);
    for chunk in beyond.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            match misleads(character) {
                true => bytes.iter().for_each(|byte| hex(*byte, out)),
                false => out.extend_from_slice(bytes),
            }
        }
        chunk.invalid().iter().for_each(|byte| hex(*byte, out));
    }
    rest
}

/// Appends `text` for use between quotes in a line of pure ASCII.
pub fn ascii(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (clean, odd) = rest.split_at(plain(rest));
        out.extend_from_slice(clean);
        let Some((byte, after)) = odd.split_first() else { break };
        hex(*byte, out);
        rest = after;
    }
}

/// Appends `text` for a line of pure ASCII that a terminal may display. `put_line` in `guest/ways/argv.c` does the
/// same.
pub fn ascii_line(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (clean, odd) = rest.split_at(plain(rest));
        out.extend_from_slice(clean);
        let Some((byte, after)) = odd.split_first() else { break };
        rest = after;
        match byte {
            b'"' => out.push(b'"'),
            b'\\' if after.first() != Some(&b'x') => out.push(b'\\'),
            _ => hex(*byte, out),
        }
    }
}

/// The bytes of an escaped text: of a JSON string once a JSON parser has read it, of the other formats as written.
#[must_use]
pub fn undo(text: &[u8]) -> Vec<u8> {
    undo_behind(b"\\x", text)
}

/// The bytes of a text in which some are written as two hexadecimal digits behind a mark. What is not so written stays.
pub(crate) fn undo_behind(mark: &[u8], text: &[u8]) -> Vec<u8> {
    let byte = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        u8::from_str_radix(digits, 16).ok()
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = rest.strip_prefix(mark).and_then(|digits| digits.split_at_checked(2));
        let escaped = escaped.and_then(|(digits, behind)| Some((byte(digits)?, behind)));
        let (next, left) = escaped.unwrap_or((*first, after));
        out.push(next);
        rest = left;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<Vec<u8>>(),
            "[ -~]{0,20}".prop_map(String::into_bytes),
            "\\PC{0,8}".prop_map(String::into_bytes),
            "[\\\\x0-9a-f\"\t\u{80}\u{202e}]{0,12}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_json_parser_gives_the_bytes_back(text in bytes()) {
            let mut out = Vec::new();
            json(&text, &mut out);
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(undo(read.as_bytes()), text);
        }

        #[test]
        fn every_other_format_gives_the_bytes_back(text in bytes(), all in any::<bool>()) {
            let mut out = Vec::new();
            shown(&text, all, &mut out);
            prop_assert!(std::str::from_utf8(&out).unwrap().chars().all(|c| !c.is_control() && !misleads(c)));
            prop_assert_eq!(undo(&out), text.clone());
            out.clear();
            ascii(&text, &mut out);
            prop_assert!(out.iter().all(|byte| is_plain(*byte) || *byte == b'\\'));
            prop_assert_eq!(undo(&out), text.clone());
            out.clear();
            ascii_line(&text, &mut out);
            prop_assert!(out.iter().all(|byte| is_plain(*byte) || matches!(byte, b'\\' | b'"')));
            prop_assert_eq!(undo(&out), text);
        }

        #[test]
        fn eight_at_a_time_finds_what_one_at_a_time_finds(text in bytes()) {
            prop_assert_eq!(plain(&text), text.iter().position(|byte| !is_plain(*byte)).unwrap_or(text.len()));
        }
    }

    #[test]
    fn common_texts_stay_as_they_are() {
        let mut out = Vec::new();
        json("/a?b=é\\d".as_bytes(), &mut out);
        assert_eq!(out, "\"/a?b=é\\\\d\"".as_bytes());
    }

    #[test]
    fn a_terminal_never_sees_an_escape_character() {
        let mut out = Vec::new();
        shown("a\x1b[2Jb\u{9b}c\u{202e}".as_bytes(), false, &mut out);
        assert_eq!(out, br"a\x1b[2Jb\xc2\x9bc\xe2\x80\xae");
        out.clear();
        ascii_line("/\"a\\b\"\\x1b\x1b[31m\u{e9}\n".as_bytes(), &mut out);
        assert_eq!(out, br#"/"a\b"\x5cx1b\x1b[31m\xc3\xa9\x0a"#);
    }

    #[test]
    fn an_escape_in_the_input_differs_from_one_of_ours() {
        let mut out = Vec::new();
        json(br"\x41\y", &mut out);
        assert_eq!(out, br#""\\x5cx41\\y""#);
    }
}
