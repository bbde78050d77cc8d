//! A talk is what two sides send, as events; it can be cut and batched at will.

use std::sync::{Arc, OnceLock};

use picotap::abi::flag;
use picotap::batch::{Batcher, CollectSlots};
use picotap::http::record::{Kind, Record};
use picotap::sandbox::BUILTIN_GUEST;
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::{Driver, Receiver, SandboxCounters};
use picotap::sandbox::engine::{Engine, Parser};
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::stream::{Connection, EndReason, OpenConnection, Opener, Position, Side, Sink, UNKNOWN};

#[derive(Debug, Clone)]
enum Step {
    Bytes { side: Side, offset: u64, bytes: Vec<u8>, starts: bool, acked: Option<u64> },
    End { side: Side, offset: u64, reason: EndReason },
    Batch,
}

/// What two sides send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Talk {
    steps: Vec<Step>,
    next: [u64; 2],
    midstream: bool,
}

/// The result of parsing a talk.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Records as text, except errors.
    pub(crate) lines: Vec<String>,
    /// All records, with all their fields except headers.
    pub(crate) records: Vec<String>,
    /// Requests, with the side that sent them.
    pub(crate) sides: Vec<(u8, String)>,
    /// Accounts.
    pub(crate) counters: SandboxCounters,
}

pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Talk {
    pub(crate) fn midstream() -> Self {
        Self { midstream: true, ..Self::default() }
    }

    /// One segment; its sender has seen all that the other side sent so far.
    pub(crate) fn bytes(self, side: Side, bytes: impl AsRef<[u8]>) -> Self {
        let acked = self.next[side.other().index()];
        self.bytes_acking(side, bytes, acked)
    }

    pub(crate) fn bytes_acking(mut self, side: Side, bytes: impl AsRef<[u8]>, acked: u64) -> Self {
        let bytes = bytes.as_ref().to_vec();
        let offset = self.next[side.index()];
        self.next[side.index()] += bytes.len() as u64;
        self.steps.push(Step::Bytes { side, offset, bytes, starts: true, acked: Some(acked) });
        self
    }

    pub(crate) fn gap(mut self, side: Side, bytes: u64) -> Self {
        self.next[side.index()] += bytes;
        self
    }

    pub(crate) fn batch(mut self) -> Self {
        self.steps.push(Step::Batch);
        self
    }

    pub(crate) fn end(mut self, side: Side, reason: EndReason) -> Self {
        self.steps.push(Step::End { side, offset: self.next[side.index()], reason });
        self
    }

    pub(crate) fn close(self) -> Self {
        self.end(Side::First, EndReason::Fin).end(Side::Second, EndReason::Fin)
    }

    /// The same talk in segments of `cut` bytes, and `batch` events a batch.
    pub(crate) fn cut(&self, cut: usize, batch: usize) -> Self {
        let mut other = Self { steps: Vec::new(), ..self.clone() };
        for step in &self.steps {
            match step {
                Step::Bytes { side, offset, bytes, acked, .. } => {
                    for (piece, at) in bytes.chunks(cut).zip((*offset..).step_by(cut)) {
                        let bytes = piece.to_vec();
                        other.steps.push(Step::Bytes { side: *side, offset: at, bytes, starts: true, acked: *acked });
                    }
                }
                other_step => other.steps.push(other_step.clone()),
            }
        }
        let cut = std::mem::take(&mut other.steps);
        for chunk in cut.chunks(batch) {
            other.steps.extend_from_slice(chunk);
            other.steps.push(Step::Batch);
        }
        other
    }

    /// The same talk without the segments for which the cycle of `lost` is true.
    pub(crate) fn lose(&self, lost: &[bool]) -> Self {
        let mut lost = lost.iter().cycle();
        let mut other = self.clone();
        other.steps.retain(|step| !matches!(step, Step::Bytes { .. }) || lost.next() != Some(&true));
        other
    }

    /// Passes it through the built-in parser, in one batch unless it has batch steps.
    pub(crate) fn run(&self, bounds: Bounds) -> Said {
        let mut driver = Driver::new(parser(), bounds).expect("driver");
        let mut notes = Notes::default();
        let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
        let mut conn = OpenConnection::synthetic(1);
        if self.midstream {
            (conn.info.opener, conn.info.midstream) = (Opener::Unknown, true);
        }
        let mut time = 0;
        for step in &self.steps {
            time += i64::from(!matches!(step, Step::Batch));
            match step {
                Step::Bytes { side, offset, bytes, starts, acked } => {
                    let at = Position { offset: *offset, peer_acked: acked.unwrap_or(UNKNOWN), time };
                    batcher.bytes(&mut conn, *side, at, *starts, bytes);
                }
                Step::End { side, offset, reason } => {
                    let at = Position { offset: *offset, peer_acked: UNKNOWN, time };
                    batcher.end(&mut conn, *side, at, *reason);
                }
                Step::Batch => batcher.flush(),
            }
            for slot in batcher.deliverer().0.drain(..) {
                driver.process(&slot, &mut notes);
            }
        }
        batcher.flush();
        for slot in batcher.deliverer().0.drain(..) {
            driver.process(&slot, &mut notes);
        }
        assert_eq!(notes.faults, [""; 0]);
        let counters = driver.counters();
        let (into, out) = counters.balance();
        assert_eq!(into, out, "{counters:?}");
        Said { lines: notes.lines, records: notes.records, sides: notes.sides, counters }
    }
}

/// Compiled once: that takes longer than any of the talks.
fn parser() -> Arc<Parser> {
    static BUILT: OnceLock<(Engine, Arc<Parser>)> = OnceLock::new();
    let (_, parser) = BUILT.get_or_init(|| {
        let engine = Engine::new(64).expect("engine");
        let parser = Arc::new(engine.load(BUILTIN_GUEST).expect("built-in guest"));
        (engine, parser)
    });
    Arc::clone(parser)
}

#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    records: Vec<String>,
    sides: Vec<(u8, String)>,
    faults: Vec<&'static str>,
}

impl Receiver for Notes {
    type State = ();
    fn record(&mut self, _: &Connection, (): &mut (), record: &Record<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut line = match &record.kind {
            Kind::Request(request) => {
                let what = format!("{} {}", text(request.method), text(request.target));
                self.sides.push((record.side, what.clone()));
                format!("{} {what}", request.number)
            }
            Kind::Response(response) if record.flags & flag::INTERIM != 0 => format!("interim {}", response.status),
            Kind::Response(response) => format!("{} answered {}", response.number, response.status),
            Kind::End { number, wire, decoded, lost: 0, .. } => format!("{number} end {wire}/{decoded}"),
            Kind::End { number, wire, decoded, lost, .. } => format!("{number} end {wire}/{decoded} lost {lost}"),
            Kind::Tunnel { number, kind, .. } => format!("{number} tunnel {}", kind.code()),
            Kind::NotHttp(protocol) => format!("not http {}", protocol.code()),
            Kind::Error(error) => format!("error {}", error.code()),
            other => format!("{other:?}"),
        };
        let Record { side, flags, start, end, peer_acked, .. } = record;
        // Of an end, only where and when it is counts: where the message began, and what was acknowledged, is with its head.
        let (start, peer_acked) =
            if matches!(record.kind, Kind::End { .. }) { (end, &None) } else { (start, peer_acked) };
        self.records.push(format!("{line}: side {side}, {flags:#x}, {start:?} to {end:?}, {peer_acked:?}"));
        if matches!(record.kind, Kind::Error(_)) {
            return;
        }
        let named = [
            (flag::UNPAIRED, " unpaired"),
            (flag::RESYNC, " resync"),
            (flag::TRUNCATED, " truncated"),
            (flag::EARLY, " early"),
        ];
        for (bit, name) in named {
            if record.flags & bit != 0 {
                line += name;
            }
        }
        self.lines.push(line);
    }
    fn closed(&mut self, _: &Connection, (): &mut (), _: [u64; 2], _: EndReason) {}
    fn skip(&mut self, _: &Connection, _: Side, _: u64) {}
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, fault: &Fault) {
        self.faults.push(fault.name());
    }
}
