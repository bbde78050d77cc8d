//! Replies: what a guest found in the requests of one call, as offsets in them. Every way gives the same type.

use std::io::{self, Write};

use super::{Error, Field};
use crate::abi;
use crate::escape;
use crate::http::record::Texts;

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
    /// The reason as text; `guest/ways/argv.c` has the same texts.
    #[must_use]
    pub const fn text(self) -> &'static str {
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

/// The outcome for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its head is complete.
    Parsed {
        /// Bytes of the head, including its empty line.
        bytes: u32,
    },
    /// Valid so far, but incomplete.
    Partial,
    /// Invalid, whatever follows.
    Malformed(Malformed),
}

/// A text within a request: offset and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub at: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// Whether it is within `len` bytes.
    #[must_use]
    pub fn fits(self, len: usize) -> bool {
        u64::from(self.at) + u64::from(self.len) <= len as u64
    }

    /// The bytes in `request`; empty if it is outside.
    #[must_use]
    pub fn of(self, request: &[u8]) -> &[u8] {
        Texts { event: request, area: &[] }.get(self.at, self.len)
    }
}

/// A guest's unchecked reply to a request that it parsed.
#[derive(Debug, Clone, Copy)]
pub struct Alleged {
    /// Bytes of the head, including its empty line.
    pub bytes: u32,
    /// Method.
    pub method: Span,
    /// Request target.
    pub target: Span,
    /// The digit after `HTTP/1.`.
    pub minor: u8,
}

/// The reply to one request. All fields but `status` are meaningful only if it was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whether it was parsed.
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

/// The replies to the requests of one call, in order. Reused from call to call, it does not allocate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replies {
    heads: Vec<Head>,
    pairs: Vec<Pair>,
}

type Pair = (Span, Span);

impl Replies {
    /// Removes all replies.
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

    /// Adds the guest's reply to a request that was parsed. Every text must be within the `len` bytes of the request.
    ///
    /// # Errors
    /// A text is outside.
    pub fn push(
        &mut self,
        alleged: Alleged,
        len: usize,
        headers: impl Iterator<Item = abi::Pair>,
    ) -> Result<(), Error> {
        let inside = |span: Span| if span.fits(len) { Ok(span) } else { Err(Error::invalid(Field::Text, span.at)) };
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

    /// One reply per request.
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

    /// Writes the replies as text, an empty line between requests; `guest/ways/argv.c` writes the same lines.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, requests: &[&[u8]], out: &mut dyn Write) -> io::Result<()> {
        let mut lines = Vec::new();
        for (index, (head, request)) in self.heads.iter().zip(requests).enumerate() {
            if index > 0 {
                lines.push(b'\n');
            }
            match head.status {
                Status::Partial => lines.extend_from_slice(b"Error     : partial\n"),
                Status::Malformed(why) => writeln!(lines, "Error     : malformed, {}", why.text())?,
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
            out.write_all(&lines)?;
            lines.clear();
        }
        Ok(())
    }

    /// Writes one JSON object per line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, requests: &[&[u8]], out: &mut dyn Write) -> io::Result<()> {
        let mut json = Vec::new();
        for (head, request) in self.heads.iter().zip(requests) {
            match head.status {
                Status::Partial => json.extend_from_slice(b"{\"status\":\"partial\""),
                Status::Malformed(why) => {
                    text_field(&mut json, "{\"status\":\"malformed\",\"error\":", why.text().as_bytes())
                }
                Status::Parsed { bytes } => {
                    write!(json, "{{\"status\":\"parsed\",\"bytes\":{bytes}")?;
                    text_field(&mut json, ",\"method\":", head.method.of(request));
                    text_field(&mut json, ",\"path\":", head.target.of(request));
                    write!(json, ",\"version\":\"1.{}\",\"headers\":[", head.minor)?;
                    for (index, (name, value)) in self.headers(head).iter().enumerate() {
                        json.extend_from_slice(if index == 0 { b"{" } else { b",{" });
                        // A header without a name continues the one before it.
                        if name.len > 0 {
                            text_field(&mut json, "\"name\":", name.of(request));
                            json.push(b',');
                        }
                        text_field(&mut json, "\"value\":", value.of(request));
                        json.push(b'}');
                    }
                    json.push(b']');
                }
            }
            json.extend_from_slice(b"}\n");
            out.write_all(&json)?;
            json.clear();
        }
        Ok(())
    }
}

fn line(lines: &mut Vec<u8>, label: &str, text: &[u8]) {
    lines.extend_from_slice(label.as_bytes());
    escape::ascii_line(text, lines);
    lines.push(b'\n');
}

fn text_field(json: &mut Vec<u8>, label: &str, text: &[u8]) {
    json.extend_from_slice(label.as_bytes());
    escape::json(text, json);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> (Replies, u32) {
        let mut replies = Replies::default();
        let len = u32::try_from(text.len()).unwrap();
        let all = Span { at: 0, len };
        let pair = abi::Pair { name: 0, name_len: 0, value: 0, value_len: len };
        let alleged = Alleged { bytes: len, method: all, target: all, minor: 1 };
        replies.push(alleged, text.len(), [pair].into_iter()).unwrap();
        (replies, len)
    }

    #[test]
    fn texts_are_escaped_as_in_every_other_output() {
        let text = b"\"\\x1b\\\x1b\xc3\xa9\xe9";
        let (replies, len) = of(text);
        let (mut lines, mut json) = (Vec::new(), Vec::new());
        replies.write_text(&[text], &mut lines).unwrap();
        let shown = r#""\x5cx1b\\x1b\xc3\xa9\xe9"#;
        let wanted = format!("Method    : {shown}\nPath      : {shown}\n          : {shown}\n");
        assert_eq!(String::from_utf8(lines).unwrap(), wanted);
        replies.write_json(&[text], &mut json).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        for field in [&read["method"], &read["path"], &read["headers"][0]["value"]] {
            assert_eq!(escape::undo(field.as_str().unwrap().as_bytes()), text);
        }
        assert_eq!((read["bytes"].as_u64(), read["headers"][0].get("name")), (Some(u64::from(len)), None));
    }
}
