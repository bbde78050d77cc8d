//! A transaction is a request and the final response to it, with their times, sizes and texts.
//!
//! Either may be missing; flags say why. Texts are the bytes of the wire, limited in length and without secrets. They
//! are held in one buffer, which is reused for another transaction.

mod copy;
mod http2;
mod processes;
mod target;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::abi::{Framing, Tunnel};
use crate::http::body::{Bodies, BodyText};
use crate::http::community_id;
use crate::http::flags::Flags;
use crate::http::record::Moment;
use crate::http::trace;
use crate::http::uid::Uid;
use crate::process::Both;
use crate::stream::{Endpoint, Secured};

pub(crate) use http2::Http2;

/// The most bytes of a request target that are kept.
pub const MAX_TARGET: usize = 8192;
/// The most bytes of any other text that are kept.
pub const MAX_TEXT: usize = 1024;
/// The most values of headers asked for that are kept of one transaction.
pub const MAX_HEADERS: usize = 128;

/// Body sizes, known when the message has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Body {
    /// Bytes on the wire, with chunk framing, or with the heads and padding of frames in HTTP/2.
    pub wire: u64,
    /// Bytes without these.
    pub decoded: u64,
    /// Of the bytes on the wire, those never seen.
    pub lost: u64,
}

/// A request or a response: one half of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The digit after `HTTP/1.`; 0 in HTTP/2.
    pub minor: u8,
    /// Where the body ends.
    pub framing: Framing,
    /// The head was not seen whole, or frames of the body were lost: how long the body is, is not known.
    pub cut: bool,
    /// First byte of the start line.
    pub start: Moment,
    /// End of the head.
    pub head_end: Moment,
    /// End of the message, and its body, when it has ended.
    pub end: Option<(Moment, Body)>,
}

impl Message {
    /// Bytes of the head, start line to empty line.
    #[must_use]
    pub const fn head_bytes(&self) -> u64 {
        self.head_end.offset.saturating_sub(self.start.offset)
    }

    /// Body sizes, if the message has ended and they are known.
    #[must_use]
    pub fn body(&self) -> Option<Body> {
        self.end.filter(|_| !self.cut).map(|(_, body)| body)
    }

    /// Too much chunk framing: at least so many bytes of it, and more than four for each byte of data (80 %). The numbers
    /// are those at which picohttpparser refuses. Servers that write each byte as a chunk reach them.
    fn floods(&self) -> bool {
        const LEAST: u64 = 100 << 10;
        self.framing == Framing::Chunked
            && self.body().is_some_and(|body| {
                let framing = body.wire.saturating_sub(body.decoded);
                framing >= LEAST && body.decoded < framing / 4
            })
    }
}

/// A text of a transaction: a range of its buffer, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TextRange {
    start: u32,
    len: u32,
}

impl TextRange {
    fn new(range: Range<usize>) -> Self {
        debug_assert!(u32::try_from(range.end).is_ok(), "the texts of a transaction are bounded far below 4 GiB");
        let len = range.end.saturating_sub(range.start);
        Self { start: u32::try_from(range.start).unwrap_or(0), len: u32::try_from(len).unwrap_or(0) }
    }
}

/// A header that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Whether it is the request's.
    pub(crate) of_request: bool,
    /// Index of its name among the names asked for.
    pub(crate) index: u16,
    pub(crate) name: TextRange,
    pub(crate) value: TextRange,
}

/// The tunnel that a stream is inside of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outer {
    /// Number of the connection that carries it.
    pub conn: u64,
    /// Identifier of that connection.
    pub uid: Uid,
    /// What opened the tunnel.
    pub tunnel: Tunnel,
    /// Where the client asked to be connected to, any bytes; empty if it did not say.
    pub target: Box<[u8]>,
    /// The relay that the bytes came from, if a PROXY header named another as the client.
    pub relay: Option<Endpoint>,
}

/// A transaction.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Number of the connection in this run.
    pub conn: u64,
    /// Identifier of the connection.
    pub uid: Uid,
    /// Which transaction of the connection it is, from 1, in order of the requests (a response without a request counts
    /// when it comes).
    pub seq: u32,
    /// Who sent the request, or received the response.
    pub client: Endpoint,
    /// Who received the request, or sent the response.
    pub server: Endpoint,
    /// The client behind proxies that are trusted, as they name it.
    pub client_forwarded: Option<IpAddr>,
    /// Index of the capture interface.
    pub interface: u32,
    /// The processes of client and server, as far as they run on this host and are known.
    pub processes: Both,
    /// How its connection is encrypted, if it is.
    pub secured: Option<Arc<Secured>>,
    pub(crate) secured_itself: bool,
    /// What is odd about it, or missing.
    pub flags: Flags,
    /// The request, unless it was not seen.
    pub request: Option<Message>,
    /// The final response, unless it was not seen.
    pub response: Option<Message>,
    /// Status code of the final response; 0 without one.
    pub status: u16,
    /// Number of interim (1xx) responses before the final one.
    pub interim: u32,
    /// Status code of the last interim response; 0 without one.
    pub interim_status: u16,
    /// With flag `tunnel`: what opened it.
    pub tunnel: Tunnel,
    /// The tunnel that its connection is inside of.
    pub outer: Option<Arc<Outer>>,
    /// Number of the event that completed it, among all of its capture thread: the order of completion.
    pub completed: u64,
    /// Community identifier, if it is wanted.
    pub community_id: Option<[u8; community_id::LEN]>,
    /// The request's number on the connection, 0 without a request.
    pub(crate) number: u32,
    /// Side of the connection that is the client.
    pub(crate) client_side: u8,
    /// Offset in the server's stream that the client had acknowledged when it sent the request.
    pub(crate) client_acked: Option<u64>,
    /// Offset in the client's stream that the server had acknowledged when it sent the response.
    pub(crate) server_acked: Option<u64>,
    /// The server sent something after it that was read as no response.
    pub(crate) unread: bool,
    /// It is not complete before a tunnel record comes.
    pub(crate) awaits_tunnel: bool,
    /// Complete, but the next record may say more: why its last message was cut, or which head it answers.
    pub(crate) held: bool,
    /// Side whose message ended last, if it was cut.
    pub(crate) cut_side: Option<u8>,
    /// Of HTTP/2.
    pub(crate) http2: Option<Box<Http2>>,
    /// Where bodies are wanted.
    pub(crate) bodies: Option<Box<Bodies>>,
    /// Empty for HTTP.
    pub(crate) protocol: TextRange,
    pub(crate) method: TextRange,
    pub(crate) target: TextRange,
    pub(crate) route: TextRange,
    pub(crate) host: TextRange,
    pub(crate) user_agent: TextRange,
    pub(crate) referer: TextRange,
    pub(crate) origin: TextRange,
    pub(crate) reason: TextRange,
    pub(crate) interim_reason: TextRange,
    /// Of a valid `traceparent`.
    pub(crate) trace: TextRange,
    pub(crate) kept: Vec<Kept>,
    pub(crate) text: Vec<u8>,
}

impl Transaction {
    pub(crate) const fn empty() -> Self {
        let nobody = Endpoint { ip: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), port: 0 };
        let none = TextRange { start: 0, len: 0 };
        Self {
            conn: 0,
            uid: Uid::NONE,
            seq: 0,
            client: nobody,
            server: nobody,
            client_forwarded: None,
            interface: 0,
            processes: [None, None],
            flags: Flags::empty(),
            request: None,
            response: None,
            status: 0,
            interim: 0,
            interim_status: 0,
            tunnel: Tunnel::Connect,
            outer: None,
            secured: None,
            secured_itself: false,
            completed: 0,
            community_id: None,
            number: 0,
            client_side: 0,
            client_acked: None,
            server_acked: None,
            unread: false,
            awaits_tunnel: false,
            held: false,
            cut_side: None,
            http2: None,
            bodies: None,
            protocol: none,
            method: none,
            target: none,
            route: none,
            host: none,
            user_agent: none,
            referer: none,
            origin: none,
            reason: none,
            interim_reason: none,
            trace: none,
            kept: Vec::new(),
            text: Vec::new(),
        }
    }

    /// Makes it as new. Keeps its buffers, but shrinks what grew far beyond the usual.
    pub(crate) fn clear(&mut self) {
        const USUAL: usize = 4096;
        let (mut text, mut kept) = (std::mem::take(&mut self.text), std::mem::take(&mut self.kept));
        *self = Self::empty();
        text.clear();
        text.shrink_to(USUAL);
        kept.clear();
        (self.text, self.kept) = (text, kept);
    }

    /// Stores what `write` appends, cut at `limit` bytes.
    pub(crate) fn store(&mut self, limit: usize, write: impl FnOnce(&mut Vec<u8>)) -> TextRange {
        let start = self.text.len();
        write(&mut self.text);
        if self.text.len().saturating_sub(start) > limit {
            self.text.truncate(start.saturating_add(limit));
            self.flags |= Flags::TEXT_CUT;
        }
        TextRange::new(start..self.text.len())
    }

    fn read(&self, range: TextRange) -> &[u8] {
        let start = range.start as usize;
        let text = self.text.get(start..start.saturating_add(range.len as usize));
        debug_assert!(text.is_some(), "a text is inside of its transaction's buffer");
        text.unwrap_or_default()
    }

    pub(crate) fn text_of(&self, range: TextRange) -> Option<&[u8]> {
        (range.len != 0).then(|| self.read(range))
    }

    /// Name of its protocol, if that is not HTTP: then it is an operation, with its name as the method, and its outcome.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.text_of(self.protocol).and_then(|name| std::str::from_utf8(name).ok())
    }

    /// Method; `None` without a request.
    #[must_use]
    pub fn method(&self) -> Option<&[u8]> {
        self.text_of(self.method)
    }

    /// Request target as sent; `None` without a request.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        self.text_of(self.target)
    }

    /// Value of the first `Host` header; `None` if there is none or it is empty.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        self.text_of(self.host)
    }

    /// Value of the first `User-Agent` header.
    #[must_use]
    pub fn user_agent(&self) -> Option<&[u8]> {
        self.text_of(self.user_agent)
    }

    /// Value of the first `Referer` header.
    #[must_use]
    pub fn referer(&self) -> Option<&[u8]> {
        self.text_of(self.referer)
    }

    /// Value of the first `Origin` header.
    #[must_use]
    pub fn origin(&self) -> Option<&[u8]> {
        self.text_of(self.origin)
    }

    /// Reason phrase of the final response; `None` if it is empty.
    #[must_use]
    pub fn reason(&self) -> Option<&[u8]> {
        self.text_of(self.reason)
    }

    /// Reason phrase of the last interim response.
    #[must_use]
    pub fn interim_reason(&self) -> Option<&[u8]> {
        self.text_of(self.interim_reason)
    }

    /// The trace that the request belongs to, by its header `traceparent`: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> Option<&[u8]> {
        self.text_of(self.trace)?.get(trace::TRACE)
    }

    /// The span that sent the request, in that trace: 16 hexadecimal digits.
    #[must_use]
    pub fn parent_id(&self) -> Option<&[u8]> {
        self.text_of(self.trace)?.get(trace::PARENT)
    }

    /// Flags of that trace; bit 0: it is sampled.
    #[must_use]
    pub fn trace_flags(&self) -> Option<u8> {
        let flags = self.text_of(self.trace)?.get(trace::FLAGS)?;
        u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()
    }

    /// Headers that were asked for, of the request or the response, by name: values of one name follow each other, in
    /// the order of the head.
    pub fn headers(&self, of_request: bool) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.kept
            .iter()
            .filter(move |kept| kept.of_request == of_request)
            .map(|kept| (self.read(kept.name), self.read(kept.value)))
    }

    /// The body of the request or of the response, if it is kept and there is one.
    #[must_use]
    pub fn body(&self, of_request: bool) -> Option<BodyText<'_>> {
        self.bodies.as_ref()?.text(of_request)
    }

    /// The message of a side has ended; `cut`: before its end.
    pub(crate) fn note_cut_body(&mut self, side: u8, cut: bool) {
        let of_request = side == self.client_side;
        if let Some(bodies) = self.bodies.as_mut().filter(|_| cut) {
            bodies.end_early(of_request);
        }
    }

    /// Capture time of its first byte, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.request.or(self.response).map_or(0, |message| message.start.time)
    }

    /// Version of the request, or of the response when no request was seen: `1.1`, `2`, ...
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        const VERSIONS: [&str; 10] = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9"];
        let message = self.request.or(self.response)?;
        match self.http2 {
            Some(_) => Some("2"),
            None => VERSIONS.get(usize::from(message.minor)).copied(),
        }
    }

    /// Status code of the final response; `None` without one, and in HTTP/2 where the response does not tell it.
    #[must_use]
    pub fn known_status(&self) -> Option<u16> {
        (self.response.is_some() && (self.status != 0 || self.http2.is_none())).then_some(self.status)
    }

    /// Nanoseconds from the last byte of the request to the first of the final response. `None` if either is missing,
    /// or if the response began before the request had ended.
    #[must_use]
    pub fn time_to_first_byte(&self) -> Option<i64> {
        let (asked, _) = self.request?.end?;
        let time = self.response?.start.time.checked_sub(asked.time)?;
        (time >= 0 && !self.flags.intersects(Flags::EARLY_RESPONSE)).then_some(time)
    }

    /// Nanoseconds from the first byte of the request to the last of the final response. `None` if either is missing.
    #[must_use]
    pub fn duration(&self) -> Option<i64> {
        let (answered, _) = self.response.as_ref()?.end?;
        answered.time.checked_sub(self.request.as_ref()?.start.time).filter(|time| *time >= 0)
    }

    /// Bytes of both bodies that were never seen.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let lost = |message: Option<Message>| message.and_then(|message| message.body()).map_or(0, |body| body.lost);
        lost(self.request).saturating_add(lost(self.response))
    }

    /// Adds what is certain once no more records come.
    pub(crate) fn settle(&mut self) {
        if let (Some(request), Some(response)) = (self.request, self.response)
            && request.end.is_some_and(|(end, _)| end.time > response.start.time)
        {
            self.flags |= Flags::EARLY_RESPONSE;
        }
        if self.flags.intersects(Flags::TUNNEL)
            && let Some(response) = &mut self.response
            && response.end.is_none()
        {
            response.end = Some((response.head_end, Body::default()));
        }
        if self.request.is_some_and(|message| message.floods()) || self.response.is_some_and(|message| message.floods())
        {
            self.flags |= Flags::CHUNK_OVERHEAD;
        }
        if self.kept.len() > 1 {
            self.kept.sort_by_key(|kept| kept.index);
        }
    }

    /// Whether both messages have ended.
    pub(crate) fn complete(&self) -> bool {
        let ended = |message: &Message| message.end.is_some();
        !self.awaits_tunnel && self.response.as_ref().is_some_and(ended) && self.request.as_ref().is_none_or(ended)
    }

    /// Reads one word of each of its cache lines: a software prefetch.
    pub(crate) fn touch(&self) -> u64 {
        let moments = [self.request, self.response].map(|message| message.map_or(0, |m| m.head_end.offset));
        let [asked, answered] = moments;
        let rest = self.host.start ^ self.interim_reason.start ^ self.interface ^ self.number ^ u32::from(self.held);
        let first = u64::from(self.client_acked.is_some());
        self.conn ^ asked ^ answered ^ self.kept.len() as u64 ^ u64::from(rest) ^ first
    }

    /// The same of the first lines of its texts.
    pub(crate) fn touch_texts(&self) -> u64 {
        let texts = self.text.chunks(64).take(8).fold(0, |sum, line| sum ^ line.first().copied().unwrap_or(0));
        u64::from(texts)
    }

    /// Bytes of memory that it takes.
    pub(crate) fn size(&self) -> usize {
        let http2 = if self.http2.is_some() { size_of::<Http2>() } else { 0 };
        let kept = self.kept.capacity() * size_of::<Kept>();
        let bodies = self.bodies.as_ref().map_or(0, |bodies| bodies.size());
        let texts = self.text.capacity().saturating_add(bodies);
        size_of::<Self>().saturating_add(texts).saturating_add(kept).saturating_add(http2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, target: &str) -> Transaction {
        let mut transaction = Transaction::empty();
        transaction.method = transaction.store(MAX_TEXT, |out| out.extend_from_slice(method.as_bytes()));
        transaction.target = transaction.store(MAX_TARGET, |out| out.extend_from_slice(target.as_bytes()));
        transaction
    }

    #[test]
    fn every_form_of_target_is_taken_apart() {
        let cases = [
            ("GET", "/a/b?c=http://d/e", None, Some("/a/b"), Some("c=http://d/e")),
            ("GET", "http://host:80/a?b#c", Some("host:80"), Some("/a"), Some("b")),
            ("GET", "http://host", Some("host"), Some("/"), None),
            ("GET", "http://host?q", Some("host"), Some("/"), Some("q")),
            ("CONNECT", "host:443", Some("host:443"), None, None),
            ("OPTIONS", "*", None, Some("*"), None),
        ];
        for (method, target, authority, path, query) in cases {
            let transaction = asked(method, target);
            let parts = [transaction.authority(), transaction.path(), transaction.query()];
            assert_eq!(parts, [authority, path, query].map(|part| part.map(str::as_bytes)), "{target}");
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let mut transaction = Transaction::empty();
        transaction.host = transaction.store(3, |out| out.extend_from_slice(b"abcd"));
        assert_eq!(transaction.host(), Some(&b"abc"[..]));
        assert!(transaction.flags.intersects(Flags::TEXT_CUT));
    }

    #[test]
    fn a_used_transaction_is_as_new_and_gives_back_much_memory() {
        let mut transaction = Transaction::empty();
        transaction.target = transaction.store(MAX_TARGET, |out| out.resize(MAX_TARGET, b'x'));
        transaction.clear();
        assert_eq!(transaction.target(), None);
        assert!(transaction.text.capacity() < MAX_TARGET);
    }
}
