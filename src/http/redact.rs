//! A redaction is what is written in the place of a secret.
//!
//! It happens when text is taken out of the guest's records, before a transaction stores it: no format, filter or metric
//! ever sees the secret. Query keys are those that OpenTelemetry's `url.query` and `url.full` attributes list.

use memchr::{memchr, memchr_iter, memchr2, memrchr};

/// What stands in the place of a secret.
pub const REDACTED: &[u8] = b"REDACTED";

/// Query keys whose values OpenTelemetry says to redact, compared with case.
pub const QUERY_KEYS: [&str; 7] = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
];

/// Headers whose values are secrets.
const HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// Which secrets are kept out.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// `None`: nothing is redacted.
    keys: Option<Vec<Vec<u8>>>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self { keys: Some(QUERY_KEYS.iter().map(|key| key.as_bytes().to_vec()).collect()) }
    }
}

impl Redaction {
    /// The standard list and these query keys.
    #[must_use]
    pub fn with_keys<T: AsRef<[u8]>>(keys: impl IntoIterator<Item = T>) -> Self {
        let mut all = Self::default();
        if let Some(list) = &mut all.keys {
            list.extend(keys.into_iter().map(|key| key.as_ref().to_vec()));
        }
        all
    }

    /// Everything is shown.
    #[must_use]
    pub const fn off() -> Self {
        Self { keys: None }
    }

    /// Whether the value of this header is a secret as a whole.
    #[must_use]
    pub fn hides(&self, header: &[u8]) -> bool {
        self.keys.is_some() && HEADERS.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(header))
    }

    /// Appends a URL, a request target or a text that may hold one, without user information and listed query values.
    pub fn url(&self, value: &[u8], out: &mut Vec<u8>) {
        match &self.keys {
            Some(keys) if memchr2(b'?', b'@', value).is_some() => {
                let (path, query) = value.split_at(memchr(b'?', value).unwrap_or(value.len()));
                user_information(path, out);
                if !query.is_empty() {
                    self::query(keys, query, out);
                }
            }
            _ => out.extend_from_slice(value),
        }
    }

    /// Appends an authority (`host:port`, as in `Host` and in the target of CONNECT) without user information.
    pub fn authority(&self, value: &[u8], out: &mut Vec<u8>) {
        match memchr(b'@', value) {
            Some(_) if self.keys.is_some() => authority(value, out),
            _ => out.extend_from_slice(value),
        }
    }
}

/// `query` begins with `?`. A listed key's value reaches to the next `&` or `#`; keys begin behind `;` too, as some
/// servers read it.
fn query(keys: &[Vec<u8>], query: &[u8], out: &mut Vec<u8>) {
    let mut rest = query;
    while let Some((mark, after)) = rest.split_first() {
        out.push(*mark);
        let end = after.iter().position(|byte| matches!(byte, b'&' | b';' | b'#')).unwrap_or(after.len());
        let (parameter, next) = after.split_at(end);
        rest = next;
        match memchr(b'=', parameter).map(|at| parameter.split_at(at)) {
            Some((key, _)) if keys.iter().any(|listed| same_key(listed, key)) => {
                out.extend_from_slice(key);
                out.push(b'=');
                out.extend_from_slice(REDACTED);
                rest = after.get(memchr2(b'&', b'#', after).unwrap_or(after.len())..).unwrap_or_default();
            }
            _ => user_information(parameter, out),
        }
    }
}

/// Whether `key`, with its percent-encodings undone, is `listed`.
fn same_key(listed: &[u8], key: &[u8]) -> bool {
    if listed.len() >= key.len() {
        return listed == key; // undone, an encoding is shorter
    }
    let mut rest = key;
    let decoded = std::iter::from_fn(|| match *rest {
        [b'%', high, low, ref after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            rest = after;
            Some(hex(high) << 4 | hex(low))
        }
        [byte, ref after @ ..] => {
            rest = after;
            Some(byte)
        }
        [] => None,
    });
    decoded.eq(listed.iter().copied())
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// Where the first `://` of a text is. Colons are rare: a search for all three would cost more to set up than to make.
pub(crate) fn scheme(text: &[u8]) -> Option<usize> {
    memchr_iter(b':', text).find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(b"://")))
}

/// Appends `text` with the user information of every `scheme://user:password@host` in it replaced.
fn user_information(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = scheme(rest) {
        let (before, after) = rest.split_at(at + 3);
        out.extend_from_slice(before);
        let end = after.iter().position(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#')).unwrap_or(after.len());
        let (name, next) = after.split_at(end);
        authority(name, out);
        rest = next;
    }
    out.extend_from_slice(rest);
}

fn authority(text: &[u8], out: &mut Vec<u8>) {
    let (user, host) = text.split_at(memrchr(b'@', text).unwrap_or(0));
    if !host.starts_with(b"@") {
        return out.extend_from_slice(text);
    }
    out.extend_from_slice(REDACTED);
    if memchr(b':', user).is_some() {
        out.push(b':');
        out.extend_from_slice(REDACTED);
    }
    out.extend_from_slice(host);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(redaction: &Redaction, text: &str) -> String {
        let mut out = Vec::new();
        redaction.url(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn plain(text: &str) -> String {
        url(&Redaction::default(), text)
    }

    #[test]
    fn listed_query_values_go_and_keys_stay() {
        assert_eq!(plain("/a?x=1&sig=secret&y=2"), "/a?x=1&sig=REDACTED&y=2");
        assert_eq!(plain("/a?sig=s;ecret#f"), "/a?sig=REDACTED#f");
        assert_eq!(plain("/a?b=1;sig=secret"), "/a?b=1;sig=REDACTED");
        assert_eq!(plain("/a?X-Amz-Signature="), "/a?X-Amz-Signature=REDACTED");
    }

    #[test]
    fn keys_are_compared_with_case_and_after_decoding() {
        assert_eq!(plain("/a?SIG=1&signal=2"), "/a?SIG=1&signal=2");
        assert_eq!(plain("/a?%73i%67=secret"), "/a?%73i%67=REDACTED");
        assert_eq!(plain("/a?%7=1&%=2&si%"), "/a?%7=1&%=2&si%");
    }

    #[test]
    fn user_information_goes_from_every_url() {
        assert_eq!(plain("http://u:p@h/x"), "http://REDACTED:REDACTED@h/x");
        assert_eq!(plain("http://u@h"), "http://REDACTED@h");
        assert_eq!(plain("http://a:b@c@h/"), "http://REDACTED:REDACTED@h/");
        assert_eq!(
            plain("/p/http://u:p@h/?next=ftp://v:w@i/@"),
            "/p/http://REDACTED:REDACTED@h/?next=ftp://REDACTED:REDACTED@i/@"
        );
        assert_eq!(plain("/mail/a@b?c=d@e"), "/mail/a@b?c=d@e");
        assert_eq!(plain("http://h/@:x"), "http://h/@:x");
    }

    #[test]
    fn authority_form_loses_its_user_information() {
        let mut out = Vec::new();
        Redaction::default().authority(b"u:p@h:443", &mut out);
        assert_eq!(out, b"REDACTED:REDACTED@h:443");
    }

    #[test]
    fn own_keys_are_added_and_off_shows_everything() {
        let own = Redaction::with_keys(["token"]);
        assert_eq!(url(&own, "/?token=1&sig=2"), "/?token=REDACTED&sig=REDACTED");
        assert_eq!(url(&Redaction::off(), "http://u:p@h/?sig=2"), "http://u:p@h/?sig=2");
        assert!(own.hides(b"AUTHORIZATION") && own.hides(b"Set-Cookie") && !own.hides(b"Host"));
        assert!(!Redaction::off().hides(b"cookie"));
    }
}
