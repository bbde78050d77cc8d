//! A feed is a driver with one connection of HTTP/2 that is fed by hand, and notes of what is said of it.

use std::sync::{Arc, OnceLock};

use picotap::batch::{Batcher, CollectSlots};
use picotap::http::record::{Headers, Kind, Record};
use picotap::sandbox::BUILTIN_HTTP2;
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::{Driver, Receiver};
use picotap::sandbox::engine::{Engine, Parser};
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::stream::{Connection, EndReason, OpenConnection, Position, Side, Sink};

use crate::wire::Field;

fn parser() -> Arc<Parser> {
    static PARSER: OnceLock<(Engine, Arc<Parser>)> = OnceLock::new();
    let (_, parser) = PARSER.get_or_init(|| {
        let engine = Engine::new(64).unwrap();
        let parser = Arc::new(engine.load(BUILTIN_HTTP2).unwrap());
        (engine, parser)
    });
    Arc::clone(parser)
}

/// A head as it was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) stream: u32,
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    pub(crate) flags: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) lines: Vec<String>,
    pub(crate) requests: Vec<Head>,
    /// With the status as the target.
    pub(crate) responses: Vec<Head>,
    pub(crate) faults: Vec<String>,
    pub(crate) skips: Vec<(Side, u64)>,
}

impl Receiver for &mut Notes {
    type State = ();
    fn record(&mut self, _: &Connection, (): &mut (), record: &Record<'_>) {
        let head = |method: &[u8], target: &[u8], headers: Headers<'_>| Head {
            stream: record.stream,
            method: method.to_vec(),
            target: target.to_vec(),
            fields: headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
            flags: record.flags,
        };
        match &record.kind {
            Kind::Request(one) => self.requests.push(head(one.method, one.target, one.headers)),
            Kind::Response(one) => self.responses.push(head(b"", one.status.to_string().as_bytes(), one.headers)),
            _ => {}
        }
        self.lines.push(line(record));
    }
    fn closed(&mut self, _: &Connection, (): &mut (), _: [u64; 2], _: EndReason) {}
    fn skip(&mut self, _: &Connection, side: Side, upto: u64) {
        self.skips.push((side, upto));
    }
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, fault: &Fault) {
        self.faults.push(fault.to_string());
    }
}

/// A record as a line, without what depends on how bytes are cut.
fn line(record: &Record<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let fields = |headers: Headers<'_>| {
        let all: Vec<String> = headers.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
        all.join(" ")
    };
    let what = match &record.kind {
        Kind::Request(one) => format!("{} {} {}", text(one.method), text(one.target), fields(one.headers)),
        Kind::Response(one) => format!("{} {}", one.status, fields(one.headers)),
        Kind::Trailers { fields: all, .. } => format!("trailers {}", fields(*all)),
        Kind::End { wire, decoded, lost, messages, .. } => {
            let messages = messages.map_or(String::new(), |messages| format!(" messages {messages}"));
            format!("end {wire}/{decoded} lost {lost}{messages}")
        }
        Kind::Reset { code, .. } => format!("reset {code}"),
        Kind::Error(error) => format!("error {error:?}"),
        Kind::Tunnel { kind, .. } => format!("tunnel {kind:?}"),
        other => format!("{other:?}"),
    };
    let flags = if record.flags == 0 { String::new() } else { format!(" [{:#x}]", record.flags) };
    format!("{}:{} {}{flags}", record.side, record.stream, what.trim_end())
}

pub(crate) struct Feed {
    pub(crate) driver: Driver<()>,
    pub(crate) notes: Notes,
    batcher: Batcher<CollectSlots>,
    conn: OpenConnection,
    next: [u64; 2],
    time: i64,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self::bounded(Bounds::default())
    }

    pub(crate) fn bounded(bounds: Bounds) -> Self {
        Self {
            driver: Driver::with(&[parser()], bounds).unwrap(),
            notes: Notes::default(),
            batcher: Batcher::new(1, i64::MAX, true, CollectSlots::default()),
            conn: OpenConnection::synthetic(1),
            next: [0; 2],
            time: 0,
        }
    }

    fn at(&mut self, side: Side) -> Position {
        self.time += 1;
        Position { offset: self.next[side.index()], peer_acked: self.next[side.other().index()], time: self.time }
    }

    /// A segment, or several if there are many bytes.
    pub(crate) fn bytes(&mut self, side: Side, bytes: impl AsRef<[u8]>) -> &mut Self {
        for piece in bytes.as_ref().chunks(picotap::stream::MAX_PIECE) {
            let at = self.at(side);
            self.next[side.index()] += piece.len() as u64;
            self.batcher.bytes(&mut self.conn, side, at, true, piece);
        }
        self
    }

    /// Segments of at most so many bytes.
    pub(crate) fn cut(&mut self, side: Side, bytes: impl AsRef<[u8]>, size: usize) -> &mut Self {
        for piece in bytes.as_ref().chunks(size) {
            self.bytes(side, piece);
        }
        self
    }

    /// Bytes that were never seen.
    pub(crate) fn gap(&mut self, side: Side, bytes: u64) -> &mut Self {
        self.next[side.index()] += bytes;
        self
    }

    /// A range that the capture thread has left out, of which some bytes were never seen.
    pub(crate) fn skipped(&mut self, side: Side, length: u64, lost: u64) -> &mut Self {
        let at = self.at(side);
        self.next[side.index()] += length;
        self.batcher.skipped(&mut self.conn, side, at, length, lost);
        self
    }

    /// Hands the slots on that are filled so far.
    pub(crate) fn slot(&mut self) -> &mut Self {
        self.batcher.flush();
        for slot in std::mem::take(&mut self.batcher.deliverer().0) {
            assert!(self.driver.process(&slot, &mut &mut self.notes));
        }
        self
    }

    /// Closes both sides. Nothing may be left, and there was no fault.
    pub(crate) fn close(&mut self) -> &mut Self {
        for side in [Side::First, Side::Second] {
            let at = self.at(side);
            self.batcher.end(&mut self.conn, side, at, EndReason::Fin);
        }
        self.slot();
        assert_eq!(self.notes.faults, [""; 0]);
        let counters = self.driver.counters();
        let (into, out) = counters.balance();
        assert_eq!(into, out, "{counters:?}");
        assert_eq!((counters.connections, counters.held, counters.extra), (0, 0, 0), "{counters:?}");
        self
    }

    pub(crate) fn said(&self) -> Vec<&str> {
        self.notes.lines.iter().map(String::as_str).collect()
    }
}
