//! A feed is a driver with connections that are fed by hand, and notes of all that it says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use picotap::batch::{Batcher, CollectSlots};
use picotap::http::record::{Kind, Record};
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::{Driver, Receiver, SandboxCounters};
use picotap::sandbox::engine::{Engine, Parser};
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::sandbox::shadow::Shadow;
use picotap::stream::{Connection, EndReason, INNER_SHIFT, OpenConnection, Position, Side, Sink};

/// A module, compiled once for all tests.
pub(crate) fn module(wasm: &[u8]) -> Arc<Parser> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    static BUILT: Mutex<BTreeMap<Vec<u8>, Arc<Parser>>> = Mutex::new(BTreeMap::new());
    let engine = ENGINE.get_or_init(|| Engine::new(256).unwrap());
    let mut built = BUILT.lock().unwrap();
    let parser = built.entry(wasm.to_vec()).or_insert_with(|| Arc::new(engine.load(wasm).unwrap()));
    Arc::clone(parser)
}

/// Number of the stream inside so many tunnels of a connection.
pub(crate) const fn inside(number: u64, depth: u64) -> u64 {
    number + (depth << INNER_SHIFT)
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A segment of a connection's side.
    Bytes(u64, Side, Vec<u8>),
    /// Bytes that were never seen.
    Gap(u64, Side, u64),
    /// A side ends.
    End(u64, Side, EndReason),
    /// Its slot is handed on.
    Slot,
}

pub(crate) fn bytes(side: Side, bytes: impl AsRef<[u8]>) -> Step {
    Step::Bytes(1, side, bytes.as_ref().to_vec())
}

/// The same steps with segments of at most the next of `cuts` bytes, and a slot after every `per_slot` steps.
pub(crate) fn cut(steps: &[Step], cuts: &[usize], per_slot: usize) -> Vec<Step> {
    let mut sizes = cuts.iter().cycle();
    let mut pieces = Vec::new();
    for step in steps {
        let Step::Bytes(number, side, bytes) = step else {
            pieces.push(step.clone());
            continue;
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
            pieces.push(Step::Bytes(*number, *side, piece.to_vec()));
            rest = behind;
        }
    }
    let mut out = Vec::new();
    for slot in pieces.chunks(per_slot) {
        out.extend_from_slice(slot);
        out.push(Step::Slot);
    }
    out
}

#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Number of the connection and what was said of it.
    pub(crate) lines: Vec<(u64, String)>,
    pub(crate) closed: Vec<(u64, EndReason)>,
    pub(crate) hints: Vec<(u64, Side, u64)>,
    pub(crate) quarantined: Vec<QuarantinedEvent>,
    pub(crate) faults: Vec<&'static str>,
    /// The first lost time is one too many: the rest of the slot is dropped.
    pub(crate) impatient: bool,
}

/// Notes, and a second parser that sees the records too.
struct Both<'a> {
    notes: &'a mut Notes,
    shadow: Option<&'a mut Shadow>,
}

impl Receiver for Both<'_> {
    type State = ();
    fn record(&mut self, connection: &Connection, (): &mut (), record: &Record<'_>) {
        if let Some(shadow) = &mut self.shadow {
            shadow.first(connection, record);
        }
        self.notes.lines.push((connection.number, line(record)));
    }
    fn closed(&mut self, connection: &Connection, (): &mut (), _: [u64; 2], reason: EndReason) {
        self.notes.closed.push((connection.number, reason));
    }
    fn skip(&mut self, connection: &Connection, side: Side, upto: u64) {
        self.notes.hints.push((connection.id().number, side, upto));
    }
    fn quarantine(&mut self, event: &QuarantinedEvent) {
        self.notes.quarantined.push(event.clone());
    }
    fn fault(&mut self, fault: &Fault) {
        self.notes.faults.push(fault.name());
    }
    fn lost(&mut self, _: std::time::Duration, _: &SandboxCounters) -> bool {
        !self.notes.impatient
    }
}

/// A record as a line: all that must not depend on how bytes were cut.
fn line(record: &Record<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let what = match &record.kind {
        Kind::Operation(one) => format!("#{} {:?} {}", one.number, text(one.name), text(one.target)),
        Kind::Outcome(one) => format!("outcome #{} {}", one.number, text(one.status)),
        Kind::Error(error) => format!("error {error:?}"),
        Kind::Request(one) => format!("#{} {} {}", one.number, text(one.method), text(one.target)),
        Kind::Response(one) => format!("#{} answered {}", one.number, one.status),
        Kind::End { number, wire, decoded, lost, .. } => format!("#{number} end {wire}/{decoded} lost {lost}"),
        Kind::Tunnel { number, kind, .. } => format!("#{number} tunnel {kind:?}"),
        other => format!("{other:?}"),
    };
    // Of the end of a message, only where it is counts, not where its body began in the event.
    let start = if matches!(record.kind, Kind::End { .. }) { record.end.offset } else { record.start.offset };
    // Of a head, what its sender had acknowledged with it says what may answer what.
    let acked = match record.kind {
        Kind::Request(_) | Kind::Response(_) => format!(" acked {:?}", record.peer_acked),
        _ => String::new(),
    };
    format!("{} {what} [{start}..{}] {:#x}{acked}", record.side, record.end.offset, record.flags)
}

pub(crate) struct Feed {
    pub(crate) driver: Driver<()>,
    pub(crate) notes: Notes,
    pub(crate) shadow: Option<Shadow>,
    batcher: Batcher<CollectSlots>,
    open: BTreeMap<u64, (OpenConnection, [u64; 2])>,
    time: i64,
}

impl Feed {
    pub(crate) fn new(parsers: &[Arc<Parser>]) -> Self {
        Self::bounded(parsers, Bounds::default())
    }

    pub(crate) fn bounded(parsers: &[Arc<Parser>], bounds: Bounds) -> Self {
        Self {
            driver: Driver::with(parsers, bounds).unwrap(),
            notes: Notes::default(),
            shadow: None,
            batcher: Batcher::new(1, i64::MAX, true, CollectSlots::default()),
            open: BTreeMap::new(),
            time: 0,
        }
    }

    /// The position of what a side sends next: its sender has seen all that the other side has sent so far.
    fn at(&mut self, number: u64, side: Side) -> (&mut OpenConnection, &mut u64, Position, &mut Batcher<CollectSlots>) {
        self.time += 1;
        let (conn, next) = self.open.entry(number).or_insert_with(|| (OpenConnection::synthetic(number), [0; 2]));
        let at = Position { offset: next[side.index()], peer_acked: next[side.other().index()], time: self.time };
        (conn, &mut next[side.index()], at, &mut self.batcher)
    }

    pub(crate) fn bytes(&mut self, number: u64, side: Side, bytes: impl AsRef<[u8]>) {
        for piece in bytes.as_ref().chunks(picotap::stream::MAX_PIECE) {
            let (conn, next, at, batcher) = self.at(number, side);
            *next += piece.len() as u64;
            batcher.bytes(conn, side, at, true, piece);
        }
    }

    pub(crate) fn gap(&mut self, number: u64, side: Side, bytes: u64) {
        *self.at(number, side).1 += bytes;
    }

    /// A range that the capture thread has left out.
    pub(crate) fn skipped(&mut self, number: u64, side: Side, length: u64, lost: u64) {
        let (conn, next, at, batcher) = self.at(number, side);
        *next += length;
        batcher.skipped(conn, side, at, length, lost);
    }

    pub(crate) fn end(&mut self, number: u64, side: Side, reason: EndReason) {
        let (conn, _, at, batcher) = self.at(number, side);
        batcher.end(conn, side, at, reason);
    }

    pub(crate) fn close(&mut self, number: u64) {
        self.end(number, Side::First, EndReason::Fin);
        self.end(number, Side::Second, EndReason::Fin);
    }

    /// Hands the slots on that are filled so far.
    pub(crate) fn slot(&mut self) {
        self.batcher.flush();
        let slots = std::mem::take(&mut self.batcher.deliverer().0);
        for slot in slots {
            let mut both = Both { notes: &mut self.notes, shadow: self.shadow.as_mut() };
            let all = self.driver.process(&slot, &mut both);
            assert!(all || both.notes.impatient);
            if let Some(shadow) = &mut self.shadow {
                shadow.process(&slot, None);
            }
        }
    }

    /// Hands the slots on that are filled so far, and nothing of them is parsed.
    pub(crate) fn discard(&mut self) {
        self.batcher.flush();
        for slot in std::mem::take(&mut self.batcher.deliverer().0) {
            self.driver.discard(&slot, &mut Both { notes: &mut self.notes, shadow: None });
        }
    }

    pub(crate) fn play(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Bytes(number, side, bytes) => self.bytes(*number, *side, bytes),
                Step::Gap(number, side, lost) => self.gap(*number, *side, *lost),
                Step::End(number, side, reason) => self.end(*number, *side, *reason),
                Step::Slot => self.slot(),
            }
        }
        self.slot();
    }

    /// What was said of a connection.
    pub(crate) fn said(&self, number: u64) -> Vec<&str> {
        self.notes.lines.iter().filter(|(of, _)| *of == number).map(|(_, line)| line.as_str()).collect()
    }

    /// The counters, which must balance.
    pub(crate) fn counters(&self) -> SandboxCounters {
        let counters = self.driver.counters();
        let (into, out) = counters.balance();
        assert_eq!(into, out, "{counters:?}");
        counters
    }

    /// The counters after all connections were closed: nothing is left of them.
    pub(crate) fn nothing_left(&self) -> SandboxCounters {
        let counters = self.counters();
        assert_eq!((counters.connections, counters.inner, counters.held, counters.extra), (0, 0, 0, 0), "{counters:?}");
        assert_eq!(self.driver.memory(), 0);
        counters
    }
}
