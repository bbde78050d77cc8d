//! Redaction replaces secrets in texts.
//!
//! It happens when text is taken out of the guest's records, before a transaction stores it: no format, filter or
//! metric ever sees the secret. `names` says what is secret, `scan` finds it.

mod body;
mod markup;
mod names;
mod scan;

use memchr::{memchr_iter, memchr3};

use names::Keys;
pub use names::{HEADER_ENDS, HEADERS, KEYS};
use scan::{Grammar, Scan};

use super::ends_with;

/// What is written instead of a secret.
pub const REDACTED: &[u8] = b"REDACTED";

/// Headers whose value is one URL.
const URLS: [&str; 11] = [
    "content-location",
    "destination",
    "location",
    "origin",
    "referer",
    "sourcemap",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
    "x-request-uri",
    "x-rewrite-url",
];
/// Headers that name hosts. `Host` names one.
const HOSTS: [&str; 5] = ["forwarded", "x-forwarded-host", "x-forwarded-server", "x-host", "x-original-host"];

/// What a text may contain, by the name of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All of it is a secret.
    Secret,
    /// A URL.
    Url,
    /// The authority of a URL: `user:password@host:port`.
    Authority,
    /// Several of them.
    Authorities,
    /// Words, among which there may be URLs.
    Text,
}

/// Which secrets are hidden.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// `None`: nothing is redacted.
    names: Option<Names>,
}

#[derive(Debug, Clone)]
struct Names {
    keys: Keys,
    /// Further headers whose values are secrets.
    headers: Vec<Vec<u8>>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self::with([""; 0], [""; 0])
    }
}

impl Redaction {
    /// Hides what [`KEYS`], [`HEADERS`] and [`HEADER_ENDS`] list, and the values of these keys and headers.
    #[must_use]
    pub fn with<T: AsRef<[u8]>>(keys: impl IntoIterator<Item = T>, headers: impl IntoIterator<Item = T>) -> Self {
        let mut all = Keys::default();
        KEYS.iter().for_each(|key| all.add(key.as_bytes()));
        keys.into_iter().for_each(|key| all.add(key.as_ref()));
        let headers = headers.into_iter().map(|name| name.as_ref().to_vec()).collect();
        Self { names: Some(Names { keys: all, headers }) }
    }

    /// Hides nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { names: None }
    }

    /// What the value of this header may contain.
    #[must_use]
    pub fn shape(&self, header: &[u8]) -> Shape {
        let is = |name: &&str| name.as_bytes().eq_ignore_ascii_case(header);
        if lists_header(self.names.iter().flat_map(|names| &names.headers), header) {
            Shape::Secret
        } else if is(&"host") {
            Shape::Authority
        } else if HOSTS.iter().any(is) {
            Shape::Authorities
        } else if URLS.iter().any(is) {
            Shape::Url
        } else {
            Shape::Text
        }
    }

    /// Appends a request's target, without its secrets.
    #[inline]
    pub fn target(&self, method: &[u8], target: &[u8], out: &mut Vec<u8>) {
        match &self.names {
            Some(names) => {
                // CONNECT's target is an authority. Another that does not begin with a slash may be one too.
                let is_path = target.starts_with(b"/") || target.starts_with(b"*");
                let grammar = if is_path && method != b"CONNECT" { Grammar::Url } else { Grammar::Authority };
                names.write(grammar, target, out);
            }
            None => out.extend_from_slice(target),
        }
    }

    /// Appends a text without its secrets; the rest of it is unchanged.
    pub fn write(&self, shape: Shape, text: &[u8], out: &mut Vec<u8>) {
        let Some(names) = &self.names else { return out.extend_from_slice(text) };
        let grammar = match shape {
            Shape::Secret => return out.extend_from_slice(REDACTED),
            Shape::Url => Grammar::Url,
            Shape::Authority => Grammar::Authority,
            Shape::Authorities => Grammar::Authorities,
            Shape::Text => Grammar::Text,
        };
        names.write(grammar, text, out);
    }
}

impl Names {
    /// Whether the value of a header is a secret as a whole.
    fn is_header(&self, header: &[u8]) -> bool {
        lists_header(&self.headers, header)
    }

    /// Appends a text without its secrets.
    #[inline]
    fn write(&self, grammar: Grammar, text: &[u8], out: &mut Vec<u8>) {
        let plain = !may_hold_secrets(text) || grammar == Grammar::Url && scan::is_plain(text, &self.keys);
        if plain {
            return out.extend_from_slice(text);
        }
        Scan::new(text, grammar, &self.keys, out).run();
    }
}

/// Whether a header is among these, or among those that are always hidden.
fn lists_header<'a>(own: impl IntoIterator<Item = &'a Vec<u8>>, header: &[u8]) -> bool {
    let is = |name: &&str| name.as_bytes().eq_ignore_ascii_case(header);
    own.into_iter().any(|name| name.eq_ignore_ascii_case(header))
        || HEADERS.iter().any(is)
        || HEADER_ENDS.iter().any(|end| ends_with(header, end.as_bytes()))
}

/// Every secret needs one of three characters: `key=value`, `user@host`, or one of these percent-encoded.
#[inline]
fn may_hold_secrets(text: &[u8]) -> bool {
    memchr3(b'=', b'@', b'%', text).is_some()
}

/// Index of the first `://` of a text. Colons are rare: a search for all three bytes would cost more to set up than it
/// saves.
pub(crate) fn scheme(text: &[u8]) -> Option<usize> {
    memchr_iter(b':', text).find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(b"://")))
}

#[cfg(test)]
mod tests;
