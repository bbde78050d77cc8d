//! Bodies of messages, where they are wanted: what of them is kept, of which messages, and as what they are given out.
//!
//! While a message comes, the bytes at its front are kept as they were sent. When its transaction is handed out they become
//! text: the content coding is undone, and secrets are hidden. What is missing is never joined over: a body ends at the first byte
//! that was not seen, and is marked as cut.

mod decode;

use super::media_type::{Content, MediaTypes};
use super::redact::Redaction;
use super::transaction::Message;
use decode::{Coding, decode};

/// The most bytes of a body that can be asked for.
pub const MOST_BYTES: u32 = 64 << 10;
/// Bytes of a body that are kept, unless it is said how many.
pub const USUAL_BYTES: u32 = 4 << 10;
/// The most bytes of a `Content-Type` that are kept.
const MAX_TYPE: usize = 256;
/// Which bodies are kept, and how much of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySettings {
    /// Bytes of a body, as sent and as text: at most [`MOST_BYTES`].
    pub bytes: u32,
    /// Of which types.
    pub types: MediaTypes,
}

/// The bodies of a transaction, as far as they are kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bodies {
    /// Of the request and of the response.
    kept: [Option<Kept>; 2],
}

/// The body of a message.
#[derive(Debug, Clone)]
struct Kept {
    media_type: Box<[u8]>,
    coding: Coding,
    /// The front of the body as it was sent; once it is [settled](Bodies::settle), as text.
    bytes: Vec<u8>,
    /// Something behind these bytes was not seen, or is not kept.
    cut: bool,
    /// The message was cut before its end.
    ended_early: bool,
    settled: bool,
    /// Name of a coding that could not be undone.
    undecoded: Option<&'static str>,
}

/// A body, or its front, for outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyText<'a> {
    /// Its text, without secrets; of any bytes, empty if it could not be decoded.
    pub text: &'a [u8],
    /// The value of its `Content-Type`.
    pub media_type: &'a [u8],
    /// There is more of it than this.
    pub truncated: bool,
    /// The content coding that could not be undone.
    pub undecoded: Option<&'static str>,
}

/// Names of what lines say of a body: its text, whether there is more of it, and the coding that was not undone.
#[must_use]
pub const fn body_names(of_request: bool) -> [&'static str; 3] {
    match of_request {
        true => ["request_body", "request_body_truncated", "request_body_undecoded"],
        false => ["response_body", "response_body_truncated", "response_body_undecoded"],
    }
}

impl Bodies {
    /// The body of a message is wanted, whose head says this of it.
    pub(crate) fn begin(&mut self, of_request: bool, settings: &BodySettings, media_type: &[u8], codings: &[u8]) {
        let wanted = settings.types.fit(media_type).then(|| Kept {
            media_type: media_type.get(..MAX_TYPE).unwrap_or(media_type).into(),
            coding: Coding::of(codings),
            bytes: Vec::new(),
            cut: false,
            ended_early: false,
            settled: false,
            undecoded: None,
        });
        *self.half(of_request) = wanted;
    }

    /// Keeps bytes that come behind `before` others, if no more than `limit` come together. `room`: whether there is memory for them.
    pub(crate) fn append(&mut self, of_request: bool, before: u64, bytes: &[u8], limit: u32, room: bool) {
        let Some(kept) = self.half(of_request) else { return };
        if kept.cut || kept.settled || before < kept.bytes.len() as u64 {
            return;
        }
        let left = (limit as usize).saturating_sub(kept.bytes.len());
        if before > kept.bytes.len() as u64 || !room || bytes.len() > left {
            kept.cut = true;
        }
        if before == kept.bytes.len() as u64 && room {
            if kept.bytes.is_empty() {
                // Of most bodies this is all.
                kept.bytes.reserve_exact(bytes.len().min(left));
            }
            kept.bytes.extend_from_slice(bytes.get(..left).unwrap_or(bytes));
        }
    }

    /// The message of a body was cut before its end.
    pub(crate) fn end_early(&mut self, of_request: bool) {
        if let Some(kept) = self.half(of_request) {
            kept.ended_early = true;
        }
    }

    /// Turns what was kept into text: no more bytes come.
    pub(crate) fn settle(&mut self, messages: [Option<&Message>; 2], redaction: &Redaction, limit: u32) {
        for (half, message) in self.kept.iter_mut().zip(messages) {
            let Some(kept) = half.as_mut().filter(|kept| !kept.settled) else { continue };
            let body = message.and_then(Message::body);
            kept.cut |= kept.ended_early || body.is_none_or(|body| body.decoded != kept.bytes.len() as u64);
            // A message without a body has none.
            if kept.bytes.is_empty() && (body.is_some_and(|body| body.decoded == 0) || message.is_none()) {
                *half = None;
                continue;
            }
            kept.settle(redaction, limit as usize);
        }
    }

    /// A copy for people, with at most so many bytes of each.
    pub(crate) fn abridged(&self, most: usize) -> Self {
        let short = |kept: &Kept| {
            let bytes = front(&kept.bytes, most);
            Kept {
                bytes: bytes.to_vec(),
                cut: kept.cut || bytes.len() < kept.bytes.len(),
                media_type: Box::default(),
                ..*kept
            }
        };
        let [request, response] = &self.kept;
        Self { kept: [request.as_ref().map(short), response.as_ref().map(short)] }
    }

    pub(crate) fn text(&self, of_request: bool) -> Option<BodyText<'_>> {
        let [request, response] = &self.kept;
        let kept = if of_request { request } else { response };
        let Kept { bytes, media_type, cut, undecoded, .. } = kept.as_ref()?;
        Some(BodyText { text: bytes, media_type, truncated: *cut, undecoded: *undecoded })
    }

    /// Bytes of memory that they take.
    pub(crate) fn size(&self) -> usize {
        let kept = self.kept.iter().flatten();
        size_of::<Self>() + kept.map(|kept| kept.bytes.capacity() + kept.media_type.len()).sum::<usize>()
    }

    const fn half(&mut self, of_request: bool) -> &mut Option<Kept> {
        let [request, response] = &mut self.kept;
        if of_request { request } else { response }
    }
}

impl Kept {
    fn settle(&mut self, redaction: &Redaction, limit: usize) {
        self.settled = true;
        let sent = std::mem::take(&mut self.bytes);
        let text = match decode(self.coding, sent, limit) {
            Ok((text, whole)) => {
                self.cut |= !whole;
                text
            }
            Err(name) => {
                // What it says cannot be seen, nor can its secrets.
                self.undecoded = Some(name);
                return;
            }
        };
        redaction.body(Content::of(&self.media_type), &text, &mut self.bytes);
        self.cut |= self.bytes.len() > limit;
        if self.cut {
            self.bytes.truncate(front(&self.bytes, limit).len());
        }
        self.bytes.shrink_to_fit();
    }
}

/// The front of a text, of at most so many bytes, that does not end inside a character of UTF-8.
fn front(text: &[u8], most: usize) -> &[u8] {
    let cut = text.get(..most).unwrap_or(text);
    let last = cut.iter().rev().take(4).position(|byte| byte & 0xc0 != 0x80);
    let Some(start) = last.and_then(|back| cut.len().checked_sub(back + 1)) else { return cut };
    let rest = cut.get(start..).unwrap_or_default();
    // Incomplete, not wrong.
    match std::str::from_utf8(rest) {
        Err(error) if error.error_len().is_none() => cut.get(..start).unwrap_or(cut),
        _ => cut,
    }
}

#[cfg(test)]
mod tests;
