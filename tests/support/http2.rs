//! HTTP/2 on a conversation: header blocks by an encoder that is not picotap's, frames, and where each stream's messages stand.

use std::collections::BTreeMap;

use httlib_hpack::Encoder;

use super::conversation::{Conversation, Sent};
use super::frame::{ACK, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame};
use super::line::Line;
use super::message::Message;
use super::scene::Scene;
use super::wire::Side;

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 100])
}

/// A message of a stream, as far as it was sent.
#[derive(Debug, Clone)]
struct Half {
    sent: Sent,
    fields: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Http2 {
    pub conversation: Conversation,
    encoders: [Encoder<'static>; 2],
    halves: BTreeMap<(u32, usize), Half>,
}

impl Http2 {
    /// The conversation is open; each side's table is new.
    pub fn new(conversation: Conversation) -> Self {
        let encoders = [Encoder::with_dynamic_size(4096), Encoder::with_dynamic_size(4096)];
        Self { conversation, encoders, halves: BTreeMap::new() }
    }

    /// Handshake, preface and settings.
    pub fn start(mut conversation: Conversation) -> Self {
        conversation.open();
        Self::prefaced(conversation)
    }

    /// Preface and settings, on a conversation that is open.
    pub fn prefaced(conversation: Conversation) -> Self {
        let mut all = Self::new(conversation);
        all.preface();
        all.conversation.send(Side::Server, &settings());
        for side in [Side::Client, Side::Server] {
            all.frame(side, SETTINGS, ACK, 0, &[]);
        }
        all
    }

    /// Handshake and the client's preface and settings.
    pub fn start_alone(mut conversation: Conversation) -> Self {
        conversation.open();
        let mut all = Self::new(conversation);
        all.preface();
        all
    }

    fn preface(&mut self) {
        self.conversation.send(Side::Client, &[PREFACE, &settings()].concat());
    }

    /// A header block of these fields: each is taken from the table where it is there, and added to it else.
    pub fn block(&mut self, side: Side, fields: &[(&str, &str)]) -> Vec<u8> {
        let flags = Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE | Encoder::WITH_INDEXING | Encoder::BEST_FORMAT;
        let mut block = Vec::new();
        for (name, value) in fields {
            let field = (name.as_bytes().to_vec(), value.as_bytes().to_vec(), flags);
            self.encoders[side.index()].encode(field, &mut block).unwrap();
        }
        block
    }

    /// Notes what is sent next as the head of a message of `bytes` bytes.
    pub fn note_head(&mut self, side: Side, stream: u32, fields: &[(&str, &str)], bytes: usize) {
        let start = self.conversation.next[side.index()];
        let end = start + bytes as u64;
        let message = Message::raw(vec![b'x'; bytes]);
        let sent = Sent { conversation: self.conversation.number, side, start, head_end: end, end, message };
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.halves.insert((stream, side.index()), Half { sent, fields });
    }

    /// A head, of a request or a final response, in a segment of its own.
    pub fn head(&mut self, side: Side, stream: u32, flags: u8, fields: &[(&str, &str)]) -> &mut Self {
        let block = self.block(side, fields);
        let bytes = frame(HEADERS, END_HEADERS | flags, stream, &block);
        self.note_head(side, stream, fields, bytes.len());
        self.conversation.send(side, &bytes);
        self
    }

    pub fn get(&mut self, stream: u32, path: &str) -> &mut Self {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "example.test"), (":path", path)];
        self.head(Side::Client, stream, END_STREAM, &fields)
    }

    /// An interim response.
    pub fn interim(&mut self, stream: u32, status: &str) -> &mut Self {
        let block = self.block(Side::Server, &[(":status", status), ("link", "</a.css>; rel=preload")]);
        self.frame(Side::Server, HEADERS, END_HEADERS, stream, &block)
    }

    /// Trailers end a message.
    pub fn trailers(&mut self, side: Side, stream: u32, fields: &[(&str, &str)]) -> &mut Self {
        let block = self.block(side, fields);
        self.frame(side, HEADERS, END_HEADERS | END_STREAM, stream, &block);
        self.end(side, stream)
    }

    pub fn data(&mut self, side: Side, stream: u32, flags: u8, bytes: &[u8]) -> &mut Self {
        self.frame(side, DATA, flags, stream, bytes);
        let half = self.halves.get_mut(&(stream, side.index())).unwrap();
        half.sent.message.body.extend(vec![b'x'; FRAME_HEAD + bytes.len()]);
        half.sent.message.decoded += bytes.len() as u64;
        self.end(side, stream)
    }

    /// Any frame.
    pub fn frame(&mut self, side: Side, of: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        self.conversation.send(side, &frame(of, flags, stream, payload));
        self
    }

    pub fn reset(&mut self, side: Side, stream: u32, code: u8) -> &mut Self {
        self.frame(side, RST_STREAM, 0, stream, &[0, 0, 0, code])
    }

    /// The message's last byte so far is the last one sent.
    fn end(&mut self, side: Side, stream: u32) -> &mut Self {
        let next = self.conversation.next[side.index()];
        self.halves.get_mut(&(stream, side.index())).unwrap().sent.end = next;
        self
    }

    /// A side's message of a stream.
    pub fn sent(&self, side: Side, stream: u32) -> Option<Sent> {
        self.halves.get(&(stream, side.index())).map(Half::as_message)
    }

    pub fn head_bytes(&self, side: Side, stream: u32) -> u64 {
        self.sent(side, stream).map_or(0, |sent| sent.head_end - sent.start)
    }

    /// Expects the response of a stream whose request was not seen.
    pub fn response_line<'a>(&self, s: &'a mut Scene, conn: u64, seq: u64, stream: u32) -> &'a mut Line {
        let line = s.line(conn, seq, None, self.sent(Side::Server, stream).as_ref());
        line.set("version", "2").set("stream", stream);
        line.set("response_head_bytes", self.head_bytes(Side::Server, stream))
    }

    /// Expects the transaction of a stream, as far as both sides have sent it.
    pub fn line<'a>(&self, s: &'a mut Scene, conn: u64, seq: u64, stream: u32) -> &'a mut Line {
        let (request, response) = (self.sent(Side::Client, stream), self.sent(Side::Server, stream));
        let scheme = self.halves.get(&(stream, 0)).and_then(|half| half.value(":scheme"));
        let line = s.line(conn, seq, request.as_ref(), response.as_ref());
        line.set("version", "2").set("stream", stream);
        if let Some(scheme) = scheme {
            line.set("scheme", scheme);
        }
        if request.is_some() {
            line.set("request_head_bytes", self.head_bytes(Side::Client, stream));
        }
        if response.is_some() {
            line.set("response_head_bytes", self.head_bytes(Side::Server, stream));
        }
        line
    }
}

impl Half {
    fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// With a head as HTTP/1 would have it.
    fn as_message(&self) -> Sent {
        let of = |name: &str| self.value(name).unwrap_or_default();
        let mut head = match self.value(":status") {
            Some(status) => format!("HTTP/2 {status}\r\n"),
            None if of(":path").is_empty() => format!("{} {} HTTP/2\r\n", of(":method"), of(":authority")),
            None => format!("{} {} HTTP/2\r\n", of(":method"), of(":path")),
        };
        if let Some(host) = self.value(":authority") {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in self.fields.iter().filter(|(name, _)| !name.starts_with(':')) {
            head += &format!("{name}: {value}\r\n");
        }
        let mut sent = self.sent.clone();
        sent.message.head = (head + "\r\n").into_bytes();
        sent
    }
}
