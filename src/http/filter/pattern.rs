//! A regular expression of a filter: a part of the syntax that everybody knows, with one meaning here and on the page
//! (`view/page/pattern.js`). It is searched for in a text, in time that grows with the text's length only.
//!
//! - `.` is any character but a line feed; `^` and `$` are the beginning and the end of the text; `\b` and `\B` are borders of words.
//! - `[a-z_]`, `[^,]`; `\d \D \w \W \s \S`, of ASCII, also in brackets (there only the first of each pair).
//! - `(a|b)`, `(?:a|b)`; `* + ? {2} {2,} {2,5}`, each with `?` behind it, which changes nothing.
//! - `\n \t \r`, and a backslash before any other sign that is neither letter nor digit.
//! - `(?i)` in front of all: the case of ASCII letters does not count.
//!
//! Characters are those of Unicode. A byte of the text that is not of UTF-8 is matched by nothing. What is not listed is refused:
//! look-around and back references cannot be had in linear time, and the rest would mean different things to different programs.

use std::fmt::Write;

use regex::bytes::{Regex, RegexBuilder};

/// The most a pattern may hold: its characters, with what is repeated as often as it may occur.
const MOST: u32 = 1000;
/// Brackets in brackets at the most.
const DEEPEST: u32 = 20;
/// Bytes of a compiled pattern at the most: far more than [`MOST`] needs.
const COMPILED: usize = 16 << 20;

/// A pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern. `fold`: the case of ASCII letters does not count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(text: &str, fold: bool) -> Result<Self, &'static str> {
        let (text, fold) = text.strip_prefix("(?i)").map_or((text, fold), |rest| (rest, true));
        let mut reader = Reader { rest: text, fold, out: String::with_capacity(text.len() * 8), depth: 0 };
        let size = reader.alternatives()?;
        if !reader.rest.is_empty() {
            return Err("a \")\" without its \"(\"");
        }
        if size > MOST {
            return Err(TOO_LARGE);
        }
        RegexBuilder::new(&reader.out).size_limit(COMPILED).build().map(Self).map_err(|_| TOO_LARGE)
    }

    /// Whether it is found in the text.
    pub(super) fn fits(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

const TOO_LARGE: &str = "it is too large";

/// Reads a pattern and writes the same for the crate `regex`, in which nothing but what is listed above occurs.
struct Reader<'a> {
    rest: &'a str,
    fold: bool,
    out: String,
    depth: u32,
}

/// Characters from the first to the last.
type Span = (char, char);

const DIGITS: &[Span] = &[('0', '9')];
const WORD: &[Span] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACE: &[Span] = &[('\t', '\r'), (' ', ' ')];

/// What stands behind a backslash.
enum Escaped {
    One(char),
    Class(&'static [Span], bool),
    Border(&'static str),
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn next_is(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Each of these gives the size of what it has read.
    fn alternatives(&mut self) -> Result<u32, &'static str> {
        let mut size: u32 = 1;
        loop {
            while let Some(next) = self.peek().filter(|next| !matches!(next, '|' | ')')) {
                size = size.saturating_add(self.repeated(next)?);
            }
            if !self.next_is("|") {
                return Ok(size);
            }
            self.out.push('|');
            size = size.saturating_add(1);
        }
    }

    fn repeated(&mut self, next: char) -> Result<u32, &'static str> {
        let (size, repeatable) = self.atom(next)?;
        let times = match self.peek() {
            Some(sign @ ('*' | '+' | '?')) => {
                self.next();
                self.out.push(sign);
                1
            }
            Some('{') => self.counted()?,
            _ => return Ok(size),
        };
        if !repeatable {
            return Err("nothing to repeat");
        }
        // Which of several matches is found first does not matter.
        self.next_is("?");
        if matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
            return Err("what is repeated is repeated again: put it in brackets");
        }
        let size = size.saturating_mul(times).saturating_add(1);
        if size > MOST { Err(TOO_LARGE) } else { Ok(size) }
    }

    /// `{2}`, `{2,}` or `{2,5}`; gives how often at the most, or at the least where there is no most.
    fn counted(&mut self) -> Result<u32, &'static str> {
        const WRONG: &str = "a \"{\" that begins no {2}, {2,} or {2,5}: put a backslash before it";
        let (inside, rest) = self.rest.get(1..).and_then(|rest| rest.split_once('}')).ok_or(WRONG)?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits).ok_or(WRONG)
        };
        let (least, most) = match inside.split_once(',') {
            None => (number(inside)?, Some(number(inside)?)),
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        if most.is_some_and(|most| most < least) {
            return Err(WRONG);
        }
        self.rest = rest;
        let most_text = most.map(|most| most.to_string()).unwrap_or_default();
        write!(self.out, "{{{least},{most_text}}}").unwrap_or_default(); // a String takes everything
        Ok(most.unwrap_or(least).max(1))
    }

    /// What is read, and whether it can be repeated.
    fn atom(&mut self, next: char) -> Result<(u32, bool), &'static str> {
        self.next();
        match next {
            '(' => {
                if self.peek() == Some('?') && !self.next_is("?:") {
                    return Err("of what begins with \"(?\" there is only \"(?:\", and \"(?i)\" in front of all");
                }
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(TOO_LARGE);
                }
                self.out.push_str("(?:");
                let size = self.alternatives()?;
                if !self.next_is(")") {
                    return Err("a \"(\" without its \")\"");
                }
                self.depth -= 1;
                self.out.push(')');
                return Ok((size, true));
            }
            '^' | '$' => {
                self.out.push_str(if next == '^' { "\\A" } else { "\\z" });
                return Ok((1, false));
            }
            '.' => self.out.push_str("[^\\n]"),
            '[' => self.class()?,
            '*' | '+' | '?' | '{' => return Err("nothing to repeat"),
            '\\' => match self.escaped()? {
                Escaped::One(character) => self.spans(&[(character, character)], false),
                Escaped::Class(spans, negated) => self.spans(spans, negated),
                Escaped::Border(border) => {
                    self.out.push_str(border);
                    return Ok((1, false));
                }
            },
            plain => self.spans(&[(plain, plain)], false),
        }
        Ok((1, true))
    }

    fn escaped(&mut self) -> Result<Escaped, &'static str> {
        Ok(match self.next() {
            Some('d') => Escaped::Class(DIGITS, false),
            Some('D') => Escaped::Class(DIGITS, true),
            Some('w') => Escaped::Class(WORD, false),
            Some('W') => Escaped::Class(WORD, true),
            Some('s') => Escaped::Class(SPACE, false),
            Some('S') => Escaped::Class(SPACE, true),
            Some('b') => Escaped::Border("(?-u:\\b)"),
            Some('B') => Escaped::Border("(?-u:\\B)"),
            Some('n') => Escaped::One('\n'),
            Some('t') => Escaped::One('\t'),
            Some('r') => Escaped::One('\r'),
            Some(sign) if sign.is_ascii_punctuation() => Escaped::One(sign),
            Some(_) => return Err("a backslash with a letter or digit that has no meaning here"),
            None => return Err("a backslash at its end"),
        })
    }

    /// Behind `[`.
    fn class(&mut self) -> Result<(), &'static str> {
        let negated = self.next_is("^");
        let mut spans: Vec<Span> = Vec::new();
        loop {
            let first = match self.next() {
                None => return Err("a \"[\" without its \"]\""),
                Some(']') if spans.is_empty() => return Err("an empty \"[]\": put a backslash before a \"]\" in it"),
                Some(']') => break,
                Some('[') => return Err("a \"[\" in brackets: put a backslash before it"),
                Some('\\') => match self.escaped()? {
                    Escaped::One(character) => character,
                    Escaped::Class(class, false) => {
                        spans.extend_from_slice(class);
                        continue;
                    }
                    _ => return Err("in brackets there are no \\D, \\W, \\S, \\b and \\B"),
                },
                Some(plain) => plain,
            };
            let is_span = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            if !is_span {
                spans.push((first, first));
                continue;
            }
            self.next();
            let last = match self.next() {
                Some('\\') => match self.escaped()? {
                    Escaped::One(character) => Some(character),
                    _ => None,
                },
                Some('[') => None,
                other => other,
            };
            match last.filter(|last| *last >= first) {
                Some(last) => spans.push((first, last)),
                None => return Err("a range in brackets that ends before it begins, or at no character"),
            }
        }
        self.spans(&spans, negated);
        Ok(())
    }

    /// Writes a class, with the other case of its ASCII letters where that does not count.
    fn spans(&mut self, spans: &[Span], negated: bool) {
        self.out.push_str(if negated { "[^" } else { "[" });
        for &(first, last) in spans {
            self.span(first, last);
            if self.fold {
                for (from, to, other) in [('A', 'Z', 'a'), ('a', 'z', 'A')] {
                    let (low, high) = (first.max(from), last.min(to));
                    let swap = |letter: char| {
                        let place = u32::from(letter).saturating_sub(u32::from(from));
                        char::from_u32(u32::from(other).saturating_add(place)).unwrap_or(letter)
                    };
                    if low <= high {
                        self.span(swap(low), swap(high));
                    }
                }
            }
        }
        self.out.push(']');
    }

    fn span(&mut self, first: char, last: char) {
        write!(self.out, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(first), u32::from(last)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_found_anywhere_in_a_text() {
        for (pattern, text, found) in [
            ("b+c", "abbbc", true),
            ("^b", "ab", false),
            ("^$", "", true),
            ("a.c", "a\nc", false),
            ("^.$", "\u{e9}", true),
            ("^[^a]$", "\u{1f600}", true),
            ("x{2,3}y", "xxxy", true),
            ("^x{2}$", "xxx", false),
            ("(a|bc)?d$", "bcd", true),
            ("\\bapi\\b", "/api/", true),
            ("\\bapi\\b", "/apis/", false),
            ("\\.php$", "/a.php", true),
            ("[a\\]-]", "]", true),
            ("[a-]", "-", true),
            ("(?i)^GET$", "get", true),
            ("(?i)[^a]", "A", false),
            ("\\D", "5", false),
            ("a*?b", "aab", true),
            ("}]", "}]", true),
            ("\u{e9}", "caf\u{e9}", true),
        ] {
            assert_eq!(Pattern::new(pattern, false).unwrap().fits(text.as_bytes()), found, "{pattern} in {text:?}");
        }
        assert!(
            Pattern::new("host", true).unwrap().fits(b"HOST")
                && Pattern::new("a.b", false).unwrap().fits(b"a\xc3\xa9b")
        );
        assert!(!Pattern::new("a.b", false).unwrap().fits(b"a\xffb"));
    }

    #[test]
    fn what_has_no_meaning_here_is_refused() {
        for pattern in [
            "*",
            "a**",
            "a{",
            "a{x}",
            "a{3,2}",
            "(",
            "(a",
            "a)",
            "[",
            "[]",
            "[a",
            "[[a]]",
            "[b-a]",
            "[\\D]",
            "\\",
            "\\1",
            "\\p",
            "(?=a)",
            "(?P<a>b)",
            "a(?i)b",
            "^*",
            "\\b+",
            "a{1000}{2}",
            "a{1001}",
            "(a{100}){100}",
            "a?*",
            "a+?+",
        ] {
            assert!(Pattern::new(pattern, false).is_err(), "{pattern}");
        }
        assert!(Pattern::new(&"(".repeat(21), false).is_err() && Pattern::new(&"a".repeat(1001), false).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_a_pattern_for_the_crate(pattern in "[a-c.*+?{}0-9,()|^$\\\\\\[\\]dDwbB-]{0,16}") {
            // A pattern that is refused by the crate alone says that it is too large.
            match Pattern::new(&pattern, true) {
                Ok(pattern) => { pattern.fits(b"abc"); }
                Err(error) => prop_assert!(error != TOO_LARGE || pattern.contains('{'), "{}", pattern),
            }
        }
    }
}
