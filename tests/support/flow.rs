//! A stage on which a client and a server send segments, and a recorder of the flow table's output.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that fails may panic; sequence numbers wrap"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use picotap::flow::{Config, Table};
use picotap::packet::{Segment, TcpFlags};
use picotap::stream::{EndReason, Endpoint, MAX_PIECE, OpenConnection, Opener, Position, Side, Sink};

pub const MS: i64 = 1_000_000;
pub const S: i64 = 1000 * MS;
pub const SYN: u8 = TcpFlags::SYN;
pub const ACK: u8 = TcpFlags::ACK;
pub const FIN: u8 = TcpFlags::FIN;
pub const RST: u8 = TcpFlags::RST;

pub fn endpoint(last: u32, port: u16) -> Endpoint {
    Endpoint { ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + last)), port }
}

/// The recorded output of one side.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Output {
    /// Bytes, with gaps as `[n]`, skipped ranges as `(n)` or `(n-lost)`, and the end as `.fin` and so on.
    pub text: String,
    pub next: u64,
    pub ended: Option<EndReason>,
    /// Per call of `bytes`: offset, length, acknowledged, starts a segment.
    pub pieces: Vec<(u64, usize, Option<u64>, bool)>,
}

#[derive(Debug, Clone)]
pub struct Seen {
    pub conn: OpenConnection,
    pub sides: [Output; 2],
}

/// Records the output, and asserts what every sink may rely on.
#[derive(Debug, Default)]
pub struct Recorder {
    pub seen: BTreeMap<u64, Seen>,
    /// All events in order: `1<` is side 0 of connection 1.
    pub order: Vec<String>,
    /// How often bytes were reported before the other side's bytes that they acknowledge.
    pub early: u64,
}

impl Recorder {
    fn side(&mut self, conn: &OpenConnection, side: Side, position: Position) -> &mut Output {
        let seen =
            self.seen.entry(conn.info.number).or_insert_with(|| Seen { conn: conn.clone(), sides: Default::default() });
        assert_eq!(seen.conn.info.handle, conn.info.handle);
        assert_eq!(seen.conn.info.endpoints, conn.info.endpoints);
        seen.conn = conn.clone();
        let other = seen.sides[side.other().index()].clone();
        if position.acked().is_some_and(|acked| acked > other.next) && other.ended.is_none() {
            self.early += 1;
        }
        let output = &mut seen.sides[side.index()];
        assert!(output.ended.is_none(), "something after the end");
        assert!(position.offset >= output.next, "reported twice: {} after {}", position.offset, output.next);
        if position.offset > output.next {
            write!(output.text, "[{}]", position.offset - output.next).unwrap();
            output.next = position.offset;
        }
        output
    }
}

impl Sink for Recorder {
    fn bytes(
        &mut self,
        conn: &mut OpenConnection,
        side: Side,
        position: Position,
        starts_segment: bool,
        payload: &[u8],
    ) {
        assert!(!payload.is_empty() && payload.len() <= MAX_PIECE);
        let output = self.side(conn, side, position);
        output.text.push_str(&String::from_utf8_lossy(payload));
        output.next += payload.len() as u64;
        output.pieces.push((position.offset, payload.len(), position.acked(), starts_segment));
        let entry = format!("{}{}{}", conn.info.number, ["<", ">"][side.index()], String::from_utf8_lossy(payload));
        self.order.push(entry);
    }

    fn skipped(&mut self, conn: &mut OpenConnection, side: Side, position: Position, length: u64, lost: u64) {
        assert!(length > 0 && lost <= length);
        let output = self.side(conn, side, position);
        output.next += length;
        if lost == 0 {
            write!(output.text, "({length})").unwrap();
        } else {
            write!(output.text, "({length}-{lost})").unwrap();
        }
    }

    fn end(&mut self, conn: &mut OpenConnection, side: Side, position: Position, reason: EndReason) {
        let output = self.side(conn, side, position);
        output.ended = Some(reason);
        write!(output.text, ".{}", format!("{reason:?}").to_lowercase()).unwrap();
        let number = conn.info.number;
        self.order.push(format!("{number}{}.", ["<", ">"][side.index()]));
    }
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Client,
    Server,
}

/// Two hosts, one connection, one table.
pub struct Stage {
    pub table: Table,
    pub sink: Recorder,
    pub time: i64,
    pub isn: [u32; 2],
    pub ports: [u16; 2],
    pub window: [u16; 2],
    /// Virtual network in which each sends.
    pub realms: [u32; 2],
}

impl Stage {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        Self {
            table: Table::new(config),
            sink: Recorder::default(),
            time: 1_700_000_000 * S,
            isn: [1000, 5000],
            ports: [4000, 80],
            window: [65535, 65535],
            realms: [0, 0],
        }
    }

    /// After a handshake.
    pub fn open() -> Self {
        let mut stage = Self::new();
        stage.handshake();
        stage
    }

    pub fn handshake(&mut self) {
        self.send(Who::Client, SYN, -1, 0, b"", 0);
        self.send(Who::Server, SYN | ACK, -1, 0, b"", 0);
        self.send(Who::Client, ACK, 0, 0, b"", 0);
    }

    /// Sends a segment; `at` and `ack` are offsets in the two streams (a SYN is at -1).
    pub fn send(&mut self, who: Who, flags: u8, at: i64, ack: i64, payload: &[u8], missing: u32) {
        let (own, peer) = match who {
            Who::Client => (0, 1),
            Who::Server => (1, 0),
        };
        let number = |isn: u32, offset: i64| isn.wrapping_add(1).wrapping_add(offset as u32);
        let ends = [endpoint(1, self.ports[0]), endpoint(2, self.ports[1])];
        self.time += 10_000;
        let segment = Segment {
            time: self.time,
            interface: 0,
            realm: self.realms[own],
            source: ends[own],
            destination: ends[peer],
            seq: number(self.isn[own], at),
            ack: if flags & ACK != 0 { number(self.isn[peer], ack) } else { 0 },
            flags: TcpFlags(flags),
            window: self.window[own],
            payload,
            missing,
        };
        self.table.segment(&segment, &mut self.sink);
        self.check();
    }

    /// The client sends data.
    pub fn client(&mut self, at: i64, ack: i64, payload: &str) {
        self.send(Who::Client, ACK, at, ack, payload.as_bytes(), 0);
    }

    /// The server sends data.
    pub fn server(&mut self, at: i64, ack: i64, payload: &str) {
        self.send(Who::Server, ACK, at, ack, payload.as_bytes(), 0);
    }

    /// Time goes by, in live ticks of 100 ms.
    pub fn wait(&mut self, time: i64) {
        let end = self.time + time;
        while self.time < end {
            self.time = (self.time + 100 * MS).min(end);
            self.table.tick(self.time, &mut self.sink);
        }
        self.check();
    }

    pub fn check(&self) {
        let (taken, accounted) = self.table.counters().payload_balance();
        assert_eq!(taken, accounted, "{:?}", self.table.counters());
    }

    /// Ends the capture. Everything must be accounted for, and the table empty.
    pub fn finish(&mut self) {
        self.table.finish(&mut self.sink);
        self.check();
        assert_eq!(self.table.counters().held, 0);
        assert!(self.table.is_empty());
        for seen in self.sink.seen.values() {
            assert!(seen.sides.iter().all(|output| output.ended.is_some()), "{seen:?}");
        }
    }

    /// The output of a side of a connection.
    pub fn output(&self, number: u64, side: Side) -> &str {
        self.sink.seen.get(&number).map_or("", |seen| &seen.sides[side.index()].text)
    }

    /// The output of the first connection: side 0, then side 1.
    pub fn both(&self) -> (&str, &str) {
        (self.output(1, Side::First), self.output(1, Side::Second))
    }

    pub fn order(&self) -> String {
        self.sink.order.join(" ")
    }

    pub fn opener(&self, number: u64) -> Opener {
        self.sink.seen[&number].conn.info.opener
    }
}
