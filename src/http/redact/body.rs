//! Secrets in bodies: values of listed keys in JSON, forms, markup and assignments.
//!
//! A body may be anything, whatever its type says, and only its front is there. So nothing is parsed: what stands before each `:`
//! and `=` is looked up as a key, and a value that does not end is hidden up to the end. What cannot be read is hidden as a whole.
//!
//! JSON inside of strings has its quotes escaped, once for each level. A quote is therefore known by the backslashes before it: `n`
//! of them at the quote that begins a string, and at those inside it at least `2n + 1`.
//!
//! Time is linear: a value is passed over, and behind a sign at most [`MAX_KEY`] bytes are looked at.

use memchr::{memchr, memchr2};

use super::scan::{Grammar, undone};
use super::{Names, REDACTED, Redaction, markup};
use crate::http::media_type::Content;

/// The longest key that is looked up, in bytes as written. All that are listed are far shorter.
const MAX_KEY: usize = 256;
/// A quote as some writers escape it.
const ESCAPED: &[u8] = b"u0022";

impl Redaction {
    /// Appends a body, or its front, without its secrets.
    pub fn body(&self, content: Content, text: &[u8], out: &mut Vec<u8>) {
        let Some(names) = &self.names else { return out.extend_from_slice(text) };
        // No text of bytes that are characters.
        let wide = text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") || memchr(0, text).is_some();
        match content {
            _ if text.is_empty() => {}
            _ if wide => out.extend_from_slice(REDACTED),
            Content::Opaque => out.extend_from_slice(REDACTED),
            Content::Json => names.json(text, out),
            // What curl sends is a form unless it is told otherwise.
            Content::Form | Content::Text if begins_json(text) => names.json(text, out),
            Content::Form => names.form(text, out),
            Content::Text => {
                let (mut marked, mut pairs) = (Vec::new(), Vec::new());
                markup::hide(text, &|key| names.hides(key), &mut marked);
                names.pairs(&marked, false, &mut pairs);
                names.lines(&pairs, out);
            }
        }
    }
}

fn begins_json(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

impl Names {
    /// Whether the value of a key is a secret: of a parameter, or of a header that was put into a body.
    fn hides(&self, key: &[u8]) -> bool {
        let start = key.iter().position(u8::is_ascii_alphanumeric).unwrap_or(key.len());
        let key = key.get(start..).unwrap_or_default();
        self.keys.lists(key) || self.is_header(key)
    }

    fn json(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut pairs = Vec::new();
        self.pairs(text, true, &mut pairs);
        self.lines(&pairs, out);
    }

    /// A form (WHATWG URL, section 5.1), of which only `&` ends a value for certain.
    fn form(&self, text: &[u8], out: &mut Vec<u8>) {
        for (index, field) in text.split(|byte| *byte == b'&').enumerate() {
            out.extend_from_slice(if index > 0 { b"&" } else { b"" });
            self.field(field, out);
        }
    }

    fn field(&self, field: &[u8], out: &mut Vec<u8>) {
        // Some writers separate fields by other characters. So each sign may stand behind a key.
        let mut from = 0;
        while let Some(length) = field.get(from..).and_then(|rest| memchr(b'=', rest)) {
            let (before, sign) = (field.get(from..from + length).unwrap_or_default(), from + length);
            let key = before.rsplit(|byte| matches!(byte, b';' | b'?' | b'\n' | b'\r')).next().unwrap_or_default();
            if self.hides(&undone(key).collect::<Vec<_>>()) {
                out.extend_from_slice(field.get(..=sign).unwrap_or_default());
                return out.extend_from_slice(REDACTED);
            }
            from = sign + 1;
        }
        let is_key = |key: &&[u8]| key.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]%+ ".contains(byte));
        let key = memchr(b'=', field).filter(|sign| field.get(..*sign).is_some_and(|key| is_key(&key)));
        let (key, value) = field.split_at(key.map_or(0, |sign| sign + 1));
        out.extend_from_slice(key);
        // A value that is JSON is not written anew: it is hidden if anything in it is.
        let (plain, mut hidden) = (undone(value).collect::<Vec<_>>(), Vec::new());
        self.pairs(&plain, true, &mut hidden);
        if hidden == plain {
            self.lines(value, out);
        } else {
            out.extend_from_slice(REDACTED);
        }
    }

    /// Text without the secrets of its lines: parameters, and users in URLs.
    fn lines(&self, text: &[u8], out: &mut Vec<u8>) {
        for line in text.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let end = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
            let (line, ending) = line.split_at(end);
            self.write(Grammar::Text, line, out);
            out.extend_from_slice(ending);
        }
    }

    /// Values behind `key:`, and those behind `key=` that are quoted. `json`: a value without quotes ends where one of JSON does.
    fn pairs(&self, text: &[u8], json: bool, out: &mut Vec<u8>) {
        let (mut written, mut at) = (0, 0);
        while let Some(length) = text.get(at..).and_then(|rest| memchr2(b':', b'=', rest)) {
            let sign = at + length;
            at = sign + 1;
            let Some(key) = key_before(text, written, sign).filter(|key| self.hides(&key.name)) else { continue };
            let Some((start, end, quote)) = value_behind(text, sign, key.quote, json) else { continue };
            out.extend_from_slice(text.get(written..start).unwrap_or_default());
            // A number or an object becomes a string, so that JSON stays JSON.
            let quotes = key.quote.filter(|_| quote.is_none()).and_then(|quote| text.get(quote.start..quote.end));
            out.extend_from_slice(quotes.unwrap_or_default());
            out.extend_from_slice(REDACTED);
            out.extend_from_slice(quotes.unwrap_or_default());
            (written, at) = (end, end);
        }
        out.extend_from_slice(text.get(written..).unwrap_or_default());
    }
}

/// A quote, with the backslashes before it.
#[derive(Debug, Clone, Copy)]
struct Quote {
    start: usize,
    end: usize,
    slashes: usize,
    /// Its first byte behind them.
    byte: u8,
}

impl Quote {
    /// The quote that ends before `end`.
    fn before(text: &[u8], end: usize) -> Option<Self> {
        let front = text.get(..end)?;
        let (length, byte) = match front.last()? {
            byte @ (b'"' | b'\'' | b'`') => (1, *byte),
            _ if front.ends_with(ESCAPED) => (ESCAPED.len(), b'u'),
            _ => return None,
        };
        let slashes = slashes_before(text, end - length);
        (byte != b'u' || slashes > 0).then_some(Self { start: end - length - slashes, end, slashes, byte })
    }

    /// The quote that starts at `start`.
    fn at(text: &[u8], start: usize) -> Option<Self> {
        let rest = text.get(start..)?;
        let slashes = rest.iter().take_while(|byte| **byte == b'\\').count();
        let rest = rest.get(slashes..)?;
        let (length, byte) = match rest.first()? {
            byte @ (b'"' | b'\'' | b'`') => (1, *byte),
            _ if rest.starts_with(ESCAPED) && slashes > 0 => (ESCAPED.len(), b'u'),
            _ => return None,
        };
        Some(Self { start, end: start + slashes + length, slashes, byte })
    }

    /// The next quote of its kind from `at` on: where its backslashes begin, where it ends, and whether it ends what this one
    /// begins, or a string around that.
    fn next(self, text: &[u8], at: usize) -> Option<(usize, usize, bool)> {
        let rest = text.get(at..)?;
        let (found, length) = match self.byte {
            b'u' => (memchr::memmem::find(rest, ESCAPED)?, ESCAPED.len()),
            byte => (memchr(byte, rest)?, 1),
        };
        let slashes = rest.get(..found)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        let ends = slashes < self.slashes || slashes % (2 * self.slashes + 2) == self.slashes;
        let own = slashes.min(self.slashes);
        // An escaped one that no backslash escapes is text.
        let ends = ends && (self.byte != b'u' || slashes > 0);
        Some((at + found - own, at + found + length, ends))
    }
}

fn slashes_before(text: &[u8], end: usize) -> usize {
    text.get(..end).unwrap_or_default().iter().rev().take(MAX_KEY).take_while(|byte| **byte == b'\\').count()
}

/// What may be a key.
struct Key {
    name: Vec<u8>,
    quote: Option<Quote>,
}

/// The key that ends before a sign, and does not begin before `floor`.
fn key_before(text: &[u8], floor: usize, sign: usize) -> Option<Key> {
    let floor = floor.max(sign.saturating_sub(MAX_KEY));
    let end = floor + text.get(floor..sign)?.trim_ascii_end().len();
    if let Some(quote) = Quote::before(text, end).filter(|quote| quote.start > floor) {
        let inside = text.get(floor..quote.start)?;
        let mark = text.get(quote.start..quote.end)?;
        let start = memchr::memmem::rfind(inside, mark).map(|at| at + mark.len())?;
        return Some(Key { name: unescaped(inside.get(start..)?), quote: Some(quote) });
    }
    let front = text.get(floor..end)?;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.$[]%".contains(byte);
    let start = front.iter().rposition(|byte| !is_part(byte)).map_or(0, |at| at + 1);
    let name = front.get(start..)?;
    (!name.is_empty()).then(|| Key { name: name.to_vec(), quote: None })
}

/// A key as its reader takes it: without backslashes, and with what `\uNNNN` stands for.
fn unescaped(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            name.push(*byte);
            continue;
        }
        let digits = after.get(1..5).filter(|_| after.first() == Some(&b'u'));
        let code = digits.and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        if let Some(character) = code.and_then(char::from_u32) {
            name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after.get(5..).unwrap_or_default();
        }
    }
    name
}

/// The value behind a sign: where it starts and ends, and the quote before it. `key`: the quote behind the key, if it has one.
fn value_behind(text: &[u8], sign: usize, key: Option<Quote>, json: bool) -> Option<(usize, usize, Option<Quote>)> {
    let colon = text.get(sign) == Some(&b':');
    let rest = text.get(sign + 1..)?;
    // `=>`, `==` and `:=` too.
    let signs = rest.iter().take_while(|byte| matches!(byte, b'=' | b'>')).count();
    let anywhere = json || key.is_some();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t') || anywhere && matches!(byte, b'\n' | b'\r');
    let blanks = rest.get(signs..)?.iter().take_while(|byte| blank(byte)).count();
    let start = sign + 1 + signs + blanks;
    let first = *text.get(start)?;
    if let Some(quote) = Quote::at(text, start) {
        return Some((quote.end, end_of_string(text, quote), Some(quote)));
    }
    if !colon && key.is_none() {
        return None;
    }
    if matches!(first, b'{' | b'[') {
        return Some((start, end_of_group(text, start, key), None));
    }
    let value = text.get(start..)?;
    let length = if anywhere {
        value.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b'"' | b'\n' | b'\r' | b'\\'))
    } else if blanks > 0 {
        memchr::memchr3_iter(b'\n', b'\r', b'<', value)
            .find(|at| value.get(*at) != Some(&b'<') || value.get(at + 1) == Some(&b'/'))
    } else {
        value.iter().position(|byte| byte.is_ascii_whitespace() || b",;)}]<&\"'".contains(byte))
    };
    let end = start + length.unwrap_or(value.len());
    (end > start).then_some((start, end, None))
}

/// Where the string ends that a quote begins: at the end of the text, if nothing ends it before.
fn end_of_string(text: &[u8], quote: Quote) -> usize {
    let mut at = quote.end;
    while let Some((start, end, ends)) = quote.next(text, at) {
        if ends {
            return start;
        }
        at = end;
    }
    text.len()
}

/// Where an object or an array ends.
fn end_of_group(text: &[u8], start: usize, key: Option<Quote>) -> usize {
    let quote = key.unwrap_or(Quote { start, end: start, slashes: 0, byte: b'"' });
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' | b'\'' | b'`' | b'\\' => {
                let Some(inside) = Quote::at(text, at) else {
                    // No quote stands behind these backslashes, wherever among them one begins to read.
                    let run = text.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b'\\');
                    at += run.count().max(1);
                    continue;
                };
                // The string around ends.
                if inside.byte == quote.byte && inside.slashes < quote.slashes {
                    return at;
                }
                // An apostrophe may be one in a word that no quotes are around: only the key's quotes count.
                if inside.byte == quote.byte {
                    let end = end_of_string(text, inside);
                    at = Quote::at(text, end).map_or(text.len(), |closing| closing.end);
                } else {
                    at = inside.end;
                }
                continue;
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
