//! A scan reads a text once and writes it without its secrets.
//!
//! Secrets are the value of a listed key (`token=...`), and user information in an authority (`//user:password@host`).
//! They begin and end at delimiters. Because a URL may be a value in another, a delimiter may be percent-encoded, once
//! or twice: how often is its depth. What begins at a delimiter of some depth ends only at one of that depth or less:
//! `?password=a%26b&c` has one value up to the `&`, while in `?next=%2Fx%3Ftoken%3Da%26b&c` the token ends before
//! `%26`.
//!
//! Time is linear: an authority is searched for `@` before it is scanned, and no two at the same depth overlap, so that
//! each byte is read at most [`DEPTHS`] + 1 times.

use super::REDACTED;
use super::names::Keys;
use crate::http::ends_with;

/// Number of depths of a delimiter: plain, percent-encoded, and percent-encoded twice.
const DEPTHS: usize = 3;

/// What a text is, which decides where values end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// One URL: spaces and quotes are part of it.
    Url,
    /// One URL that begins with an authority: `user:password@host:port`.
    Authority,
    /// Words, among which there may be URLs.
    Text,
    /// Words, each of which may be an authority.
    Authorities,
}

impl Grammar {
    const fn has_words(self) -> bool {
        matches!(self, Self::Text | Self::Authorities)
    }
}

/// A byte of the text, decoded.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    byte: u8,
    /// How often it was encoded.
    depth: usize,
    start: usize,
    end: usize,
}

impl Symbol {
    const fn is_slash(self) -> bool {
        matches!(self.byte, b'/' | b'\\')
    }
}

/// A key that may begin behind the last delimiter.
#[derive(Debug, Clone, Copy)]
struct Key {
    start: usize,
    /// The delimiter before it; a space at the beginning of the text.
    after: u8,
    depth: usize,
}

/// A run of slashes.
#[derive(Debug, Clone, Copy)]
struct Slashes {
    end: usize,
    depth: usize,
    /// Whether an authority follows the second one.
    announce: bool,
}

/// Whether a URL has no secret, as a glance tells: without `%` nothing is embedded in it, without `@` no user is named, and no key in it
/// is listed. Most are such, and a scan takes four times as long.
pub(super) fn is_plain(url: &[u8], keys: &Keys) -> bool {
    let ends_key = |byte: &u8| matches!(byte, b'/' | b'\\' | b'=' | b'?' | b'#' | b'&' | b';');
    memchr::memchr2(b'@', b'%', url).is_none()
        && memchr::memchr_iter(b'=', url).all(|at| {
            let before = url.get(..at).unwrap_or_default();
            !keys.lists(before.rsplit(ends_key).next().unwrap_or_default())
        })
}

/// The state of a scan.
pub(super) struct Scan<'a> {
    text: &'a [u8],
    grammar: Grammar,
    keys: &'a Keys,
    out: &'a mut Vec<u8>,
    /// Everything before this index has been written.
    written: usize,
    key: Option<Key>,
    slashes: Option<Slashes>,
    /// For each depth, whether a `?` or `#` came before: behind it, `/` and `;` end nothing.
    query: [bool; DEPTHS],
    /// The byte that closes the open bracket or quote.
    closing: Option<u8>,
    /// Everything before this index has been searched for an authority.
    cleared: usize,
    /// Symbols read.
    read: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a [u8], grammar: Grammar, keys: &'a Keys, out: &'a mut Vec<u8>) -> Self {
        Self {
            text,
            grammar,
            keys,
            out,
            written: 0,
            key: Some(Key { start: 0, after: b' ', depth: 0 }),
            slashes: None,
            query: [false; DEPTHS],
            closing: None,
            cleared: 0,
            read: 0,
        }
    }

    /// Writes the whole text. Returns how many symbols were read.
    pub(super) fn run(mut self) -> usize {
        let mut at = match self.grammar {
            Grammar::Authority | Grammar::Authorities => self.authority(0, 0),
            Grammar::Url | Grammar::Text => 0,
        };
        while let Some(symbol) = self.next_delimiter(at) {
            at = self.delimiter(symbol);
        }
        self.out.extend_from_slice(self.text.get(self.written..).unwrap_or_default());
        self.read
    }

    /// The next delimiter at or behind `at`, decoded.
    fn next_delimiter(&mut self, mut at: usize) -> Option<Symbol> {
        loop {
            let rest = self.text.get(at..)?;
            let plain = rest.iter().position(|byte| STOPS.get(usize::from(*byte)) == Some(&true))?;
            let symbol = symbol_at(self.text, at + plain)?;
            self.read += plain + 1;
            if is_delimiter(symbol.byte) {
                return Some(symbol);
            }
            at = symbol.end;
        }
    }

    /// Handles a delimiter. Returns the index at which the scan continues.
    fn delimiter(&mut self, symbol: Symbol) -> usize {
        let Symbol { byte, depth, end, .. } = symbol;
        match byte {
            b'/' | b'\\' => return self.slash(symbol),
            b'=' => return self.equals(symbol),
            b'&' => self.enter(depth),
            b';' => {}
            b'?' | b'#' => {
                self.enter(depth);
                if let Some(query) = self.query.get_mut(depth) {
                    *query = true;
                }
            }
            // All others separate words. A comma in a query does not.
            _ if !self.grammar.has_words() || depth != 0 => return end,
            b',' if self.query.contains(&true) => return end,
            _ => self.between_words(byte),
        }
        self.key = Some(Key { start: end, after: byte, depth });
        self.word(symbol)
    }

    fn between_words(&mut self, byte: u8) {
        self.query = [false; DEPTHS];
        self.closing = match (self.closing, byte) {
            (None, b'<') => Some(b'>'),
            (None, b'(') => Some(b')'),
            (None, b'"') => Some(b'"'),
            (Some(closing), _) if closing == byte => None,
            (closing, _) => closing,
        };
    }

    /// Ends what was embedded deeper.
    fn enter(&mut self, depth: usize) {
        self.query.iter_mut().skip(depth + 1).for_each(|deeper| *deeper = false);
    }

    /// Handles the beginning of a word, which may be an authority.
    fn word(&mut self, before: Symbol) -> usize {
        let begins = before.depth == 0 && !matches!(before.byte, b'&' | b'?' | b'#');
        match self.grammar == Grammar::Authorities && begins && before.end >= self.cleared {
            true => self.authority(before.end, 0),
            false => before.end,
        }
    }

    fn slash(&mut self, symbol: Symbol) -> usize {
        let Symbol { depth, start, end, .. } = symbol;
        // `/token=.../` is a parameter too.
        let began = self.key.replace(Key { start: end, after: b'/', depth });
        if let Some(run) = self.slashes.filter(|run| run.end == start) {
            let depth = depth.max(run.depth);
            self.slashes = Some(Slashes { end, depth, announce: run.announce });
            let more = symbol_at(self.text, end).is_some_and(Symbol::is_slash);
            return if run.announce && !more { self.authority(end, depth) } else { end };
        }
        // Two slashes announce an authority only behind a scheme or at the beginning; they may occur in any path.
        let announce = began.is_some_and(|key| key.start == start && key.after != b'/') || self.follows_colon(start);
        self.slashes = Some(Slashes { end, depth, announce });
        end
    }

    fn follows_colon(&self, at: usize) -> bool {
        let before = self.text.get(..at).unwrap_or_default();
        before.ends_with(b":") || [b"%3A".as_slice(), b"%253A"].iter().any(|colon| ends_with(before, colon))
    }

    /// Writes everything before the authority that begins at `start`, and the authority up to its `@`, without user
    /// information. Returns the index at which the scan continues.
    fn authority(&mut self, start: usize, depth: usize) -> usize {
        let mut colon = None;
        let mut found: Option<(Symbol, Option<Symbol>)> = None;
        let mut at = start;
        while let Some(symbol) = symbol_at(self.text, at) {
            self.read += 1;
            let Symbol { byte, depth: own, .. } = symbol;
            let ends = match byte {
                b'/' | b'\\' | b'?' | b'#' => own <= depth,
                b'&' => own <= depth && self.query.get(own) == Some(&true),
                // `host=...`
                b'=' if self.grammar == Grammar::Authorities => own == 0 && colon.is_none() && found.is_none(),
                b',' | b';' | b'"' if self.grammar == Grammar::Authorities => own == 0,
                _ => self.ends_word(symbol),
            };
            if ends {
                break;
            }
            match byte {
                b':' if colon.is_none() => colon = Some(symbol),
                b'@' => found = Some((symbol, colon)),
                _ => {}
            }
            at = symbol.end;
        }
        self.cleared = at;
        self.key = Some(Key { start, after: b'/', depth });
        let Some((sign, colon)) = found.filter(|(sign, _)| sign.start > start) else { return start };
        self.hide(start, sign.start);
        if let Some(colon) = colon {
            self.out.extend_from_slice(self.text.get(colon.start..colon.end).unwrap_or_default());
            self.out.extend_from_slice(REDACTED);
        }
        sign.end
    }

    /// Writes everything before `start`, and [`REDACTED`] instead of `start..end`.
    fn hide(&mut self, start: usize, end: usize) {
        self.out.extend_from_slice(self.text.get(self.written..start).unwrap_or_default());
        self.out.extend_from_slice(REDACTED);
        self.written = end;
    }

    fn ends_word(&self, symbol: Symbol) -> bool {
        let Symbol { byte, depth, .. } = symbol;
        self.grammar.has_words() && depth == 0 && (matches!(byte, b' ' | b'\t') || self.closing == Some(byte))
    }

    fn equals(&mut self, symbol: Symbol) -> usize {
        let Symbol { depth, start, end, .. } = symbol;
        // Behind the `=` of a parameter another may begin only if it is deeper: a form in a value.
        let key = self.key.filter(|key| key.after != b'=' || key.depth < depth);
        let Some(key) = key else { return end };
        self.enter(depth.max(key.depth));
        if !self.keys.lists(self.text.get(key.start..start).unwrap_or_default()) {
            self.key = Some(Key { start: end, after: b'=', depth });
            return self.word(symbol);
        }
        self.key = None;
        if self.grammar.has_words() && self.closing.is_none() && self.text.get(end) == Some(&b'"') {
            return self.hide_quoted(end + 1);
        }
        let depth = if key.after == b'=' { depth } else { key.depth };
        let to = self.end_of_value(end, Key { depth, ..key });
        self.hide(end, to);
        to
    }

    fn hide_quoted(&mut self, start: usize) -> usize {
        let inside = self.text.get(start..).unwrap_or_default();
        let length = memchr::memchr(b'"', inside).unwrap_or(inside.len());
        self.read += length;
        self.hide(start, start + length);
        start + length + 1
    }

    fn end_of_value(&mut self, start: usize, key: Key) -> usize {
        let mut at = start;
        while let Some(symbol) = self.next_delimiter(at) {
            if self.ends_value(symbol, key) {
                return symbol.start;
            }
            at = symbol.end;
        }
        self.text.len()
    }

    fn ends_value(&self, symbol: Symbol, key: Key) -> bool {
        let Symbol { byte, depth, .. } = symbol;
        if depth > key.depth {
            return false;
        }
        let in_query = self.query.get(depth) == Some(&true);
        // Between slashes: `/x;sig=.../y`, `/token=.../y`.
        let in_path = !in_query && matches!(key.after, b';' | b'/');
        match byte {
            b'#' => true,
            b'&' => !in_path || depth < key.depth,
            b'?' => !in_query,
            b'/' | b'\\' => in_path || (!in_query && depth < key.depth),
            b';' => key.after == b';' || !in_query,
            b',' => self.grammar.has_words() && depth == 0 && !in_query,
            _ => self.ends_word(symbol),
        }
    }
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'/' | b'\\' | b'=' | b'?' | b'#' | b'&' | b';' | b' ' | b'\t' | b',' | b'<' | b'>' | b'(' | b')' | b'"'
    )
}

/// Whether a byte is a delimiter, or begins one that is encoded. A table, because most bytes of a text are looked up here.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "all is below 256, and known to be by the compiler"
)]
static STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < stops.len() {
        stops[byte] = is_delimiter(byte as u8) || byte as u8 == b'%';
        byte += 1;
    }
    stops
};

/// The byte at `start`, decoded.
fn symbol_at(text: &[u8], start: usize) -> Option<Symbol> {
    let mut symbol = Symbol { byte: *text.get(start)?, depth: 0, start, end: start + 1 };
    while symbol.byte == b'%' && symbol.depth + 1 < DEPTHS {
        let Some([high, low]) = text.get(symbol.end..symbol.end + 2) else { break };
        let Some(byte) = decoded(*high, *low) else { break };
        symbol = Symbol { byte, depth: symbol.depth + 1, start, end: symbol.end + 2 };
    }
    Some(symbol)
}

/// The byte that two hexadecimal digits stand for.
const fn decoded(high: u8, low: u8) -> Option<u8> {
    match ((high as char).to_digit(16), (low as char).to_digit(16)) {
        #[expect(clippy::cast_possible_truncation, reason = "two digits make a byte")]
        (Some(high), Some(low)) => Some((high << 4 | low) as u8),
        _ => None,
    }
}

/// The bytes of a key, percent-decoded.
pub(super) fn undone(key: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let symbol = symbol_at(key, at)?;
        at = symbol.end;
        Some(symbol.byte)
    })
}
