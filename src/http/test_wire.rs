//! A wire is a connection for tests: heads written as text, time and offsets kept.

use std::net::{IpAddr, Ipv4Addr};

use crate::abi::{self, Framing, Pair, ParseError, Tunnel, flag};
use crate::http::record::{Headers, Kind, Moment, Operation, Outcome, Record, Request, Response, Texts};
use crate::http::{Exchange, HttpContext, Settings, Transaction};
use crate::stream::EndReason;
use crate::stream::Endpoint;
use crate::stream::{Connection, Opener};

pub(crate) const MS: i64 = 1_000_000;

pub(crate) struct Wire {
    pub(crate) context: HttpContext,
    pub(crate) exchange: Exchange,
    pub(crate) connection: Connection,
    pub(crate) done: Vec<Transaction>,
    /// Next offset of each side.
    pub(crate) at: [u64; 2],
    /// Nanoseconds.
    pub(crate) now: i64,
    /// The stream of the next records.
    stream: u32,
}

impl Wire {
    pub(crate) fn new(settings: Settings) -> Self {
        let endpoint = |last, port| Endpoint { ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port };
        Self {
            context: HttpContext::new(settings),
            exchange: Exchange::default(),
            connection: Connection {
                handle: 0,
                started: 0,
                producer: 0,
                number: 1,
                endpoints: [endpoint(1, 4321), endpoint(2, 80)],
                opener: Opener::First,
                midstream: false,
                interface: 0,
                secured: false,
            },
            done: Vec::new(),
            at: [0, 0],
            now: 1_767_323_045_000_000_000,
            stream: 0,
        }
    }

    pub(crate) fn wait(&mut self, millis: i64) -> &mut Self {
        self.now += millis * MS;
        self
    }

    /// Lets a side send bytes that no record is about.
    pub(crate) fn pass(&mut self, side: usize, bytes: u64) -> &mut Self {
        self.at[side] += bytes;
        self
    }

    fn moment(&self, side: usize) -> Moment {
        Moment { offset: self.at[side], time: self.now }
    }

    pub(crate) fn feed(&mut self, side: usize, flags: u32, bytes: u64, kind: Kind<'_>) -> &mut Self {
        let start = self.moment(side);
        self.at[side] += bytes;
        let record = Record {
            stream: self.stream,
            side: u8::try_from(side).unwrap(),
            flags,
            start,
            end: self.moment(side),
            peer_acked: Some(self.at[side ^ 1]),
            kind,
        };
        let Self { context, exchange, connection, done, .. } = self;
        exchange.record(context, connection, &record, &mut |transaction| done.push(transaction.clone()));
        self
    }

    /// A request head without its empty line: `"GET / HTTP/1.1\nHost: a"`.
    pub(crate) fn ask(&mut self, number: u32, head: impl AsRef<[u8]>, flags: u32) -> &mut Self {
        let head = head.as_ref();
        let (line, pairs) = parse(head);
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
        let headers = Headers::new(Texts { event: head, area: &[] }, &pairs);
        let framing = Framing::None;
        let kind = Kind::Request(Request { number, method, target, minor: 1, framing, content_length: 0, headers });
        self.feed(0, flags, head.len() as u64, kind)
    }

    /// A response head: `"HTTP/1.1 200 OK\nServer: a"`.
    pub(crate) fn answer(&mut self, number: u32, head: impl AsRef<[u8]>, flags: u32) -> &mut Self {
        self.answer_framed(number, head, flags, Framing::Length)
    }

    pub(crate) fn answer_framed(
        &mut self,
        number: u32,
        head: impl AsRef<[u8]>,
        flags: u32,
        framing: Framing,
    ) -> &mut Self {
        let head = head.as_ref();
        let (line, pairs) = parse(head);
        let mut parts = line.splitn(3, |byte| *byte == b' ').skip(1);
        let status = std::str::from_utf8(parts.next().unwrap()).unwrap().parse().unwrap();
        let reason = parts.next().unwrap_or_default();
        let headers = Headers::new(Texts { event: head, area: &[] }, &pairs);
        let kind = Kind::Response(Response { number, status, reason, minor: 1, framing, content_length: 0, headers });
        self.feed(1, flags, head.len() as u64, kind)
    }

    pub(crate) fn end(&mut self, side: usize, number: u32, bytes: u64, flags: u32) -> &mut Self {
        let kind = Kind::End { number, wire: bytes, decoded: bytes, lost: 0, messages: None };
        self.feed(side, flags, bytes, kind)
    }

    /// What `feed` feeds is about a stream.
    fn on(&mut self, stream: u32, feed: impl FnOnce(&mut Self)) -> &mut Self {
        self.stream = stream;
        feed(self);
        self.stream = 0;
        self
    }

    pub(crate) fn ask_on(&mut self, stream: u32, head: &str, flags: u32) -> &mut Self {
        self.on(stream, |wire| _ = wire.ask(stream, head, flags))
    }

    pub(crate) fn answer_on(&mut self, stream: u32, head: &str, flags: u32) -> &mut Self {
        self.answer_framed_on(stream, head, flags, Framing::Close)
    }

    pub(crate) fn answer_framed_on(&mut self, stream: u32, head: &str, flags: u32, framing: Framing) -> &mut Self {
        self.on(stream, |wire| _ = wire.answer_framed(stream, head, flags, framing))
    }

    pub(crate) fn end_on(&mut self, side: usize, stream: u32, bytes: u64, flags: u32) -> &mut Self {
        self.on(stream, |wire| _ = wire.end(side, stream, bytes, flags))
    }

    /// Bytes of a body, behind `before` others.
    pub(crate) fn tell_on(&mut self, side: usize, stream: u32, before: u64, bytes: &[u8]) -> &mut Self {
        self.on(stream, |wire| _ = wire.feed(side, 0, 0, Kind::Body { number: stream, before, bytes }))
    }

    pub(crate) fn reset_on(&mut self, side: usize, stream: u32, code: u64) -> &mut Self {
        self.on(stream, |wire| _ = wire.feed(side, 0, 13, Kind::Reset { number: stream, code }))
    }

    pub(crate) fn error_on(&mut self, side: usize, stream: u32, error: ParseError) -> &mut Self {
        self.on(stream, |wire| _ = wire.feed(side, 0, 0, Kind::Error(error)))
    }

    pub(crate) fn tunnel_on(&mut self, stream: u32, kind: Tunnel) -> &mut Self {
        let kind = Kind::Tunnel { number: stream, kind, client: None, target: b"" };
        self.on(stream, |wire| _ = wire.feed(1, 0, 0, kind))
    }

    /// Trailer fields, one a line.
    pub(crate) fn trailers_on(&mut self, side: usize, stream: u32, fields: &str) -> &mut Self {
        let head = format!("\n{fields}");
        let (_, pairs) = parse(head.as_bytes());
        let fields = Headers::new(Texts { event: head.as_bytes(), area: &[] }, &pairs);
        self.on(stream, |wire| _ = wire.feed(side, 0, 20, Kind::Trailers { number: stream, fields }))
    }

    /// A whole gRPC call of `pkg.Greeter/SayHello`, with a message each way.
    pub(crate) fn call(&mut self, stream: u32, status: &str) -> &mut Self {
        let ask = "POST /pkg.Greeter/SayHello h2\nhost: h\ncontent-type: application/grpc";
        self.ask_on(stream, ask, 0).end_on(0, stream, 12, 0).wait(2);
        self.answer_on(stream, "h2 200\ncontent-type: application/grpc", 0);
        self.trailers_on(1, stream, &format!("grpc-status: {status}")).end_on(1, stream, 7, 0)
    }

    /// A whole request without body.
    pub(crate) fn get(&mut self, number: u32, target: &str) -> &mut Self {
        self.ask(number, format!("GET {target} HTTP/1.1\nHost: example.com"), 0).end(0, number, 0, 0)
    }

    /// A whole response.
    pub(crate) fn reply(&mut self, number: u32, status: u16, body: u64) -> &mut Self {
        self.answer(number, format!("HTTP/1.1 {status} Reason"), 0).end(1, number, body, 0)
    }

    /// A whole response whose request the guest does not know.
    pub(crate) fn reply_unpaired(&mut self, status: u16) -> &mut Self {
        self.answer(0, format!("HTTP/1.1 {status} Reason"), flag::UNPAIRED).end(1, 0, 0, 0)
    }

    /// An operation of another protocol.
    pub(crate) fn operate(&mut self, number: u32, protocol: &str, name: &str, target: &str) -> &mut Self {
        let (name, target, pairs) = (name.as_bytes(), target.as_bytes(), Headers::default());
        self.feed(0, 0, 9, Kind::Operation(Operation { number, protocol, name, target, pairs }))
    }

    /// What became of it.
    pub(crate) fn outcome(&mut self, number: u32, status: &str, flags: u32) -> &mut Self {
        let kind = Kind::Outcome(Outcome { number, status: status.as_bytes(), pairs: Headers::default() });
        self.feed(1, flags, 5, kind)
    }

    /// From here on the wire is what is inside a tunnel on it.
    pub(crate) fn enter(&mut self, tunnel: Tunnel, relay: Option<Endpoint>) -> &mut Self {
        self.exchange = self.exchange.inner(&mut self.context, &self.connection, tunnel, relay);
        self.connection = self.connection.inner();
        self.at = [0, 0];
        self
    }

    pub(crate) fn close(&mut self, reason: EndReason) -> &mut Self {
        let Self { context, exchange, connection, done, .. } = self;
        exchange.close(context, connection, self.at, reason, &mut |transaction| done.push(transaction.clone()));
        self
    }

    /// `target status flags...` of each transaction handed out, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        let line = |transaction: &Transaction| {
            let target = String::from_utf8_lossy(transaction.target().unwrap_or(b"-")).into_owned();
            let mut line = format!("{} {target} {}", transaction.seq, transaction.status);
            for name in transaction.flags.names() {
                line += " ";
                line += name;
            }
            line
        };
        self.done.iter().map(line).collect()
    }

    pub(crate) fn last(&self) -> &Transaction {
        self.done.last().unwrap()
    }
}

/// Start line and header pairs of a head whose lines end in LF. A line that begins with a space continues another.
fn parse(head: &[u8]) -> (&[u8], Vec<Pair>) {
    let position = |text: &[u8]| u32::try_from(text.as_ptr() as usize - head.as_ptr() as usize).unwrap();
    let pair = |name: &[u8], value: &[u8]| Pair {
        name: position(name),
        name_len: u32::try_from(name.len()).unwrap(),
        value: position(value),
        value_len: u32::try_from(value.len()).unwrap(),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let start = lines.next().unwrap();
    let headers = lines.map(|line| match line.iter().position(|byte| *byte == b':') {
        Some(at) if line[0] != b' ' => pair(&line[..at], line[at + 1..].trim_ascii()),
        _ => pair(&line[..0], line),
    });
    let headers: Vec<Pair> = headers.collect();
    assert!(headers.len() <= abi::MAX_HEADERS as usize);
    (start, headers)
}
