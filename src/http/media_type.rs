//! Types of bodies, by the `Content-Type` of their message (RFC 9110, section 8.3).

use std::str::FromStr;

/// Types of which bodies are kept, unless it is said which.
pub const USUAL_TYPES: &str = "application/json,application/xml,application/x-www-form-urlencoded,text/*,+json,+xml";
/// The most patterns of types.
const MAX_PATTERNS: usize = 64;

/// Patterns of media types: `type/subtype`, `type/*`, `*/*` (also without a type), or a suffix such as `+json` (RFC 6838,
/// section 4.2.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaTypes(Vec<Box<str>>);

/// What is no pattern of media types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypesError {
    /// It has another form.
    #[error("{0:?} is no media type: needed TYPE/SUBTYPE, TYPE/*, */* or a suffix such as +json, separated by commas")]
    Pattern(String),
    /// There are too many.
    #[error("more than {MAX_PATTERNS} media types")]
    TooMany,
}

impl Default for MediaTypes {
    fn default() -> Self {
        Self(USUAL_TYPES.split(',').map(Box::from).collect())
    }
}

impl FromStr for MediaTypes {
    type Err = MediaTypesError;

    fn from_str(text: &str) -> Result<Self, MediaTypesError> {
        let token = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        };
        let mut all = Vec::new();
        for pattern in text.split(',').map(|pattern| pattern.trim().to_ascii_lowercase()) {
            let good = match (pattern.strip_prefix('+'), pattern.split_once('/')) {
                (Some(suffix), _) => token(suffix),
                (None, Some((of, part))) => pattern == "*/*" || token(of) && (part == "*" || token(part)),
                (None, None) => false,
            };
            if !good {
                return Err(MediaTypesError::Pattern(pattern));
            }
            if all.len() >= MAX_PATTERNS {
                return Err(MediaTypesError::TooMany);
            }
            all.push(pattern.into_boxed_str());
        }
        Ok(Self(all))
    }
}

impl MediaTypes {
    /// Whether one of them fits the value of a `Content-Type`; empty: there is none.
    pub(crate) fn fit(&self, value: &[u8]) -> bool {
        let name = essence(value);
        self.0.iter().any(|pattern| match (pattern.strip_prefix('+'), pattern.strip_suffix("/*")) {
            _ if &**pattern == "*/*" => true,
            (Some(_), _) => super::ends_with(name, pattern.as_bytes()),
            (None, Some(of)) => {
                name.split(|byte| *byte == b'/').next().is_some_and(|own| is(own, of)) && name.contains(&b'/')
            }
            (None, None) => is(name, pattern),
        })
    }
}

/// The type and subtype of a `Content-Type` (RFC 9110, section 8.3.1).
fn essence(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn is(text: &[u8], name: &str) -> bool {
    text.eq_ignore_ascii_case(name.as_bytes())
}

/// What a body is read as, to find its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// JSON.
    Json,
    /// Fields of a form, as in a query.
    Form,
    /// Text of any kind, in which there may be markup, JSON and assignments.
    Text,
    /// What cannot be read for secrets: parts of several types, and characters that are not written as in ASCII.
    Opaque,
}

impl Content {
    /// By the value of a `Content-Type`.
    pub(crate) fn of(value: &[u8]) -> Self {
        let name = essence(value);
        if name.get(..10).is_some_and(|front| is(front, "multipart/")) || !has_ascii(value) {
            Self::Opaque
        } else if is(name, "application/x-www-form-urlencoded") {
            Self::Form
        } else if super::ends_with(name, b"/json") || super::ends_with(name, b"+json") {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// Whether a `Content-Type` says nothing of a charset, or names one of which the first 128 characters are those of ASCII.
fn has_ascii(value: &[u8]) -> bool {
    const KNOWN: [&str; 13] = [
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "iso-8859",
        "iso8859",
        "latin",
        "windows-125",
        "gb",
        "big5",
        "euc-",
        "koi8",
        "shift_jis",
    ];
    let charset = value.split(|byte| *byte == b';').skip(1).find_map(|parameter| {
        let at = memchr::memchr(b'=', parameter)?;
        let (name, value) = parameter.split_at(at);
        is(name.trim_ascii(), "charset").then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    let Some(charset) = charset else { return true };
    let name = charset.strip_prefix(b"\"").unwrap_or(charset);
    KNOWN.iter().any(|known| name.get(..known.len()).is_some_and(|front| is(front, known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: &str) -> MediaTypes {
        text.parse().unwrap()
    }

    #[test]
    fn types_are_taken_by_name_by_kind_or_by_suffix() {
        let usual = MediaTypes::default();
        for good in [
            "application/json; charset=utf-8",
            "Text/HTML",
            "application/problem+JSON ;x",
            "text/plain",
            "image/svg+xml",
        ] {
            assert!(usual.fit(good.as_bytes()), "{good}");
        }
        for other in
            ["", "image/png", "application/jsonx", "text", "application/octet-stream", "application/grpc", "json"]
        {
            assert!(!usual.fit(other.as_bytes()), "{other}");
        }
        assert!(types("*/*").fit(b"") && types(" IMAGE/* ").fit(b"image/png") && !types("image/*").fit(b"imagex/png"));
        for wrong in ["", "text", "text/", "/x", "*/x", "text/*/x", "a b/c", "text/*,", "+"] {
            assert!(wrong.parse::<MediaTypes>().is_err(), "{wrong}");
        }
        assert_eq!(vec!["a/b"; 65].join(",").parse::<MediaTypes>(), Err(MediaTypesError::TooMany));
    }

    #[test]
    fn what_a_body_is_read_as_follows_from_its_type() {
        for (value, content) in [
            ("application/json", Content::Json),
            ("application/hal+json; charset=UTF-8", Content::Json),
            ("application/x-www-form-urlencoded", Content::Form),
            ("text/html; charset=\"iso-8859-1\"", Content::Text),
            ("text/html; charset=utf-16", Content::Opaque),
            ("application/json;charset=UTF-7", Content::Opaque),
            ("multipart/form-data; boundary=x", Content::Opaque),
            ("", Content::Text),
        ] {
            assert_eq!(Content::of(value.as_bytes()), content, "{value}");
        }
    }
}
