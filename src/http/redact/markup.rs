//! Secrets in markup (XML, HTML): what elements of listed names hold, and what stands beside a listed name, as in
//! `<input name="password" value="...">`. Attributes of listed names are found as assignments are.
//!
//! Time is linear: a tag ends at the next `<` at the latest, whatever its quotes say.

use memchr::{memchr, memmem};

use super::REDACTED;

/// Attributes that name what an element holds.
const NAMES: [&str; 6] = ["name", "id", "key", "property", "itemprop", "autocomplete"];
/// Attributes that hold it.
const VALUES: [&str; 3] = ["value", "content", "default"];
/// Elements that hold nothing but attributes.
const VOID: [&str; 4] = ["input", "meta", "link", "param"];

/// Appends a text without what listed elements hold.
pub(super) fn hide(text: &[u8], lists: &dyn Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
    let (mut written, mut at) = (0, 0);
    while let Some(length) = text.get(at..).and_then(|rest| memchr(b'<', rest)) {
        let start = at + length + 1;
        let rest = text.get(start..).unwrap_or_default();
        let name = rest.get(..rest.iter().take_while(|byte| is_name(**byte)).count()).unwrap_or_default();
        if name.is_empty() {
            at = start;
            continue;
        }
        let tag = Tag::read(text, start + name.len());
        let mut hidden = |from: usize, to: usize| {
            if from >= written && from < to {
                out.extend_from_slice(text.get(written..from).unwrap_or_default());
                out.extend_from_slice(REDACTED);
                written = to;
            }
        };
        let named = tag.having(text, &NAMES).any(|(from, to)| lists(text.get(from..to).unwrap_or_default()));
        if named {
            tag.having(text, &VALUES).for_each(|(from, to)| hidden(from, to));
        }
        at = tag.end;
        let (listed, is_void) = (lists(local(name)), is_one(&VOID, name));
        if (listed || named && !is_void) && !tag.closed {
            let inside = text.get(tag.end..).unwrap_or_default();
            let length = memmem::find(inside, &[b"</", name].concat()).unwrap_or(inside.len());
            if !inside.get(..length).unwrap_or_default().trim_ascii().is_empty() {
                hidden(tag.end, tag.end + length);
            }
            at = tag.end + length;
        }
    }
    out.extend_from_slice(text.get(written..).unwrap_or_default());
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | 0x80..)
}

/// A name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b':').next().unwrap_or(name)
}

fn is_one(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
}

/// An attribute: where its name and its value start and end.
struct Attribute {
    name: (usize, usize),
    value: (usize, usize),
}

/// What stands behind the name of a start tag.
struct Tag {
    attributes: Vec<Attribute>,
    /// Behind the tag.
    end: usize,
    /// It ends its element.
    closed: bool,
}

impl Tag {
    fn read(text: &[u8], start: usize) -> Self {
        let limit = text.get(start..).and_then(|rest| memchr(b'<', rest)).map_or(text.len(), |length| start + length);
        let run = |at: usize, wanted: &dyn Fn(u8) -> bool| {
            let rest = text.get(at..limit).unwrap_or_default();
            at + rest.iter().take_while(|byte| wanted(**byte)).count()
        };
        let (mut attributes, mut at, mut closed) = (Vec::new(), start, false);
        while at < limit {
            match text.get(at) {
                Some(b'>') => return Self { attributes, end: at + 1, closed },
                Some(b'/') => closed = true,
                Some(byte) if !byte.is_ascii_whitespace() => {
                    closed = false;
                    let name = (at, run(at + 1, &|byte| !byte.is_ascii_whitespace() && !b"=>/".contains(&byte)));
                    at = run(name.1, &|byte| byte.is_ascii_whitespace());
                    if text.get(at..limit).unwrap_or_default().first() != Some(&b'=') {
                        continue;
                    }
                    at = run(at + 1, &|byte| byte.is_ascii_whitespace());
                    let quote = text.get(at..limit).and_then(|rest| rest.first()).filter(|byte| b"\"'".contains(byte));
                    let value = match quote {
                        Some(quote) => (at + 1, run(at + 1, &|byte| byte != *quote)),
                        None => (at, run(at, &|byte| !byte.is_ascii_whitespace() && byte != b'>')),
                    };
                    at = value.1 + usize::from(quote.is_some());
                    attributes.push(Attribute { name, value });
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        Self { attributes, end: limit, closed }
    }

    /// Values of the attributes that have one of these names.
    fn having<'a>(&'a self, text: &'a [u8], names: &'a [&str]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let name = |attribute: &&Attribute| text.get(attribute.name.0..attribute.name.1).unwrap_or_default();
        self.attributes.iter().filter(move |attribute| is_one(names, name(attribute))).map(|attribute| attribute.value)
    }
}
