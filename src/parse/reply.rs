//! A reply is what a guest made of the requests of one call, as positions in them: every way gives the same type.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use super::{Error, Lie};
use crate::abi;
use crate::http::record::text;

/// Why a request was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// One of [`abi::error`].
    Error(u16),
    /// One of [`abi::not_http`].
    NotHttp(u16),
    /// It is a response.
    Response,
}

impl Malformed {
    /// In words; `guest/ways/argv.c` has the same ones.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Error(abi::error::BAD_START_LINE) => "bad start line",
            Self::Error(abi::error::BAD_HEADER) => "bad header",
            Self::Error(abi::error::TOO_MANY_HEADERS) => "too many headers",
            Self::Error(abi::error::HEAD_TOO_LONG) => "head too long",
            Self::Error(abi::error::BAD_CONTENT_LENGTH) => "bad content length",
            Self::Error(abi::error::BAD_TRANSFER_CODING) => "bad transfer coding",
            Self::Error(_) => "not understood",
            Self::NotHttp(abi::not_http::TLS) => "not HTTP/1 but TLS",
            Self::NotHttp(abi::not_http::HTTP2) => "not HTTP/1 but HTTP/2",
            Self::NotHttp(abi::not_http::SSH) => "not HTTP/1 but SSH",
            Self::NotHttp(abi::not_http::HTTP09) => "not HTTP/1 but HTTP/0.9",
            Self::NotHttp(abi::not_http::SMTP) => "not HTTP/1 but SMTP",
            Self::NotHttp(_) => "not HTTP/1",
            Self::Response => "a response, not a request",
        }
    }
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its head is whole.
    Parsed {
        /// Bytes of the head, with its empty line.
        bytes: u32,
    },
    /// Nothing wrong so far, and more is needed.
    Partial,
    /// More bytes would not mend it.
    Malformed(Malformed),
}

/// A text within a request: position and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Position of the first byte.
    pub at: u32,
    /// Bytes.
    pub len: u32,
}

impl Span {
    /// Whether it lies within `len` bytes.
    #[must_use]
    pub fn fits(self, len: usize) -> bool {
        u64::from(self.at) + u64::from(self.len) <= len as u64
    }

    /// The bytes in `request`; nothing if it lies outside.
    #[must_use]
    pub fn of(self, request: &[u8]) -> &[u8] {
        text(request, self.at, self.len)
    }
}

/// What a guest says of a request that it parsed.
#[derive(Debug, Clone, Copy)]
pub struct Alleged {
    /// Bytes of the head, with its empty line.
    pub bytes: u32,
    /// Method.
    pub method: Span,
    /// Request target.
    pub target: Span,
    /// The digit after `HTTP/1.`.
    pub minor: u8,
}

/// The reply to one request. The fields after the first mean something only if it was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What became of it.
    pub status: Status,
    /// Method.
    pub method: Span,
    /// Request target.
    pub target: Span,
    /// The digit after `HTTP/1.`.
    pub minor: u8,
    first_pair: usize,
    num_pairs: usize,
}

/// The replies to the requests of one call, in their order. Kept from call to call, it allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replies {
    heads: Vec<Head>,
    pairs: Vec<Pair>,
}

type Pair = (Span, Span);

impl Replies {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.pairs.clear();
    }

    /// Adds the reply to a request that was not parsed.
    pub fn push_failed(&mut self, status: Status) {
        let none = Span::default();
        let first_pair = self.pairs.len();
        self.heads.push(Head { status, method: none, target: none, minor: 0, first_pair, num_pairs: 0 });
    }

    /// Adds the reply to a request that was parsed, as the guest alleges it: all must lie within the `len` bytes of the
    /// request.
    ///
    /// # Errors
    /// It does not.
    pub fn push(
        &mut self,
        alleged: Alleged,
        len: usize,
        headers: impl Iterator<Item = abi::Pair>,
    ) -> Result<(), Error> {
        let inside = |span: Span| if span.fits(len) { Ok(span) } else { Err(Error::lie(Lie::Text, span.at)) };
        let Alleged { bytes, method, target, minor } = alleged;
        inside(Span { at: 0, len: bytes })?;
        let first_pair = self.pairs.len();
        for pair in headers {
            let name = inside(Span { at: pair.name, len: pair.name_len })?;
            let value = inside(Span { at: pair.value, len: pair.value_len })?;
            self.pairs.push((name, value));
        }
        let num_pairs = self.pairs.len() - first_pair;
        let (status, method, target) = (Status::Parsed { bytes }, inside(method)?, inside(target)?);
        self.heads.push(Head { status, method, target, minor, first_pair, num_pairs });
        Ok(())
    }

    /// One reply a request.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The headers of `head`.
    pub fn headers(&self, head: &Head) -> &[(Span, Span)] {
        self.pairs.get(head.first_pair..head.first_pair.saturating_add(head.num_pairs)).unwrap_or_default()
    }

    /// Whether every request was parsed.
    #[must_use]
    pub fn all_parsed(&self) -> bool {
        self.heads.iter().all(|head| matches!(head.status, Status::Parsed { .. }))
    }

    /// Writes the lines that a person reads; `guest/ways/argv.c` writes the same ones. An empty line stands between
    /// requests.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, requests: &[&[u8]], out: &mut dyn Write) -> io::Result<()> {
        let mut lines = String::new();
        for (index, (head, request)) in self.heads.iter().zip(requests).enumerate() {
            if index > 0 {
                lines.push('\n');
            }
            match head.status {
                Status::Partial => lines.push_str("Error     : partial\n"),
                Status::Malformed(why) => {
                    lines.push_str("Error     : malformed, ");
                    lines.push_str(why.words());
                    lines.push('\n');
                }
                Status::Parsed { .. } => {
                    line(&mut lines, "Method    : ", head.method.of(request));
                    line(&mut lines, "Path      : ", head.target.of(request));
                    for (name, value) in self.headers(head) {
                        if name.len > 0 {
                            line(&mut lines, "Header    : ", name.of(request));
                        }
                        line(&mut lines, "          : ", value.of(request));
                    }
                }
            }
            out.write_all(lines.as_bytes())?;
            lines.clear();
        }
        Ok(())
    }

    /// Writes one JSON object a line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, requests: &[&[u8]], out: &mut dyn Write) -> io::Result<()> {
        for (head, request) in self.heads.iter().zip(requests) {
            let mut json = Json::default();
            match head.status {
                Status::Partial => json.status = "partial",
                Status::Malformed(why) => (json.status, json.error) = ("malformed", Some(why.words())),
                Status::Parsed { bytes } => {
                    json.status = "parsed";
                    json.bytes = Some(bytes);
                    json.method = Some(reversible(head.method.of(request)));
                    json.path = Some(reversible(head.target.of(request)));
                    json.version = Some(format!("1.{}", head.minor));
                    let header = |(name, value): &Pair| JsonHeader {
                        name: (name.len > 0).then(|| reversible(name.of(request))),
                        value: reversible(value.of(request)),
                    };
                    json.headers = Some(self.headers(head).iter().map(header).collect());
                }
            }
            serde_json::to_writer(&mut *out, &json)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[derive(Serialize, Default)]
struct Json<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Vec<JsonHeader<'a>>>,
}

/// A header; one without a name continues the one before it.
#[derive(Serialize)]
struct JsonHeader<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    value: Cow<'a, str>,
}

/// One line for a terminal: a byte that is not printable ASCII becomes `\xHH`, since a stranger's control sequence must
/// not reach the terminal, and a backslash becomes two, so that this can be undone.
fn line(lines: &mut String, label: &str, bytes: &[u8]) {
    lines.push_str(label);
    for &byte in bytes {
        match byte {
            b'\\' => lines.push_str("\\\\"),
            b' '..=b'~' => lines.push(char::from(byte)),
            _ => write!(lines, "\\x{byte:02x}").expect("a string takes any text"),
        }
    }
    lines.push('\n');
}

/// Text for JSON, which escapes control characters itself: bytes that are not UTF-8 become `\xHH`, and if there is a
/// backslash or such a byte, every backslash becomes two, so that this can be undone.
fn reversible(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains('\\') => Cow::Borrowed(text),
        _ => {
            let mut text = String::with_capacity(bytes.len() + 8);
            for chunk in bytes.utf8_chunks() {
                text.push_str(&chunk.valid().replace('\\', "\\\\"));
                for byte in chunk.invalid() {
                    write!(text, "\\x{byte:02x}").expect("a string takes any text");
                }
            }
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_has_no_control_character_and_can_be_undone() {
        let mut lines = String::new();
        line(&mut lines, "Path      : ", b"/a\\x1b\x1b[31m\xff");
        assert_eq!(lines, "Path      : /a\\\\x1b\\x1b[31m\\xff\n");
    }

    #[test]
    fn json_text_keeps_utf8_and_escapes_the_rest() {
        assert_eq!(reversible("/caf\u{e9}\n".as_bytes()), "/caf\u{e9}\n");
        assert_eq!(reversible(b"/\xc3\xa9\xe9"), "/\u{e9}\\xe9");
        assert_eq!(reversible(b"\\xe9"), "\\\\xe9");
    }
}
