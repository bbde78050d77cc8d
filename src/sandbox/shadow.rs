//! A shadow is a second parser that sees a sample of connections and whose records are compared with the first one's.
//!
//! It has blocks, waiting bytes and an instance of its own. Nothing that it says reaches the output. It also has its own
//! budget of time for faults: when that is spent, slots are left out for the rest of the second, and their connections are
//! not compared any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::budget::Budget;
use super::call::Bounds;
use super::driver::{self, Driver, Receiver};
use super::engine::Parser;
use super::fault::Fault;
use super::protocol::Protocol;
use super::quarantine::QuarantinedEvent;
use crate::batch::Slot;
use crate::counters::{counters, families};
use crate::http::record::{Kind, Record};
use crate::stream::{Connection, EndReason, Side};

/// Records of one connection that may wait for the other parser's. Beyond that the oldest count as missing.
const MAX_PENDING: usize = 256;

/// The fields that are compared. "missing": only the first parser gave the record; "extra": only the second.
const FIELDS: [&str; 9] = ["missing", "extra", "kind", "number", "place", "code", "flags", "text", "sizes"];

families! {
    COMPARED = Counter "picotap_shadow_compared_records_total" [] "records compared with the shadow", "Records compared with a second parser's.";
    SHADOW_FAULTS = Counter "picotap_shadow_faults_total" [] "faults of the shadow", "Calls of the second parser that failed.";
    SHADOW_SKIPPED = Counter "picotap_shadow_skipped_slots_total" [] "slots left out by the shadow", "Slots that a second parser was not shown whole, because its faults took too long.";
    DIFFERENCES = Counter "picotap_shadow_differences_total" ["field"] "differences of the shadow", "Records in which a second parser differs, by field.";
}

counters! {
    /// What was compared.
    pub struct ShadowCounters {
        /// Records compared.
        compared => COMPARED,
        /// Faults of the second parser.
        faults => SHADOW_FAULTS,
        /// Slots that were left out, wholly or from somewhere on, because the second parser's faults took too long.
        skipped_slots => SHADOW_SKIPPED,
        /// Records that differ, by field.
        differences: [FIELDS.len(); FIELDS] => DIFFERENCES,
    }
}

impl ShadowCounters {
    /// Records that differ, by field.
    pub fn differences(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        FIELDS.iter().copied().zip(self.differences.iter().copied())
    }

    fn differs(&mut self, field: usize, by: u64) {
        if let Some(count) = self.differences.get_mut(field) {
            *count += by;
        }
    }
}

/// What is compared of a record: a hash or value for each of [`FIELDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    kind: (u8, u8),
    number: u32,
    span: (u64, u64),
    code: u16,
    flags: u32,
    text: u64,
    sizes: (u64, u64, u64),
}

impl Digest {
    pub(super) fn of(record: &Record<'_>) -> Self {
        use std::hash::{Hash, Hasher};
        let mut text = std::hash::DefaultHasher::new();
        let (kind, number, code, sizes) = match &record.kind {
            Kind::Request(request) => {
                (request.method, request.target, request.minor, request.framing).hash(&mut text);
                request.headers.iter().for_each(|pair| pair.hash(&mut text));
                (1, request.number, 0, (request.content_length, 0, 0))
            }
            Kind::Response(response) => {
                (response.reason, response.minor, response.framing).hash(&mut text);
                response.headers.iter().for_each(|pair| pair.hash(&mut text));
                (2, response.number, response.status, (response.content_length, 0, 0))
            }
            Kind::End { number, wire, decoded, lost, messages } => {
                messages.hash(&mut text);
                (3, *number, 0, (*wire, *decoded, *lost))
            }
            Kind::Tunnel { number, kind, client, target } => {
                (client, target).hash(&mut text);
                (4, *number, kind.code(), (0, 0, 0))
            }
            Kind::Trailers { number, fields } => {
                fields.iter().for_each(|pair| pair.hash(&mut text));
                (7, *number, 0, (0, 0, 0))
            }
            Kind::Reset { number, code } => (8, *number, 0, (*code, 0, 0)),
            Kind::Operation(operation) => {
                (operation.protocol, operation.name, operation.target).hash(&mut text);
                operation.pairs.iter().for_each(|pair| pair.hash(&mut text));
                (9, operation.number, 0, (0, 0, 0))
            }
            Kind::Outcome(outcome) => {
                outcome.status.hash(&mut text);
                outcome.pairs.iter().for_each(|pair| pair.hash(&mut text));
                (10, outcome.number, 0, (0, 0, 0))
            }
            Kind::Body { number, before, bytes } => {
                bytes.hash(&mut text);
                (11, *number, 0, (*before, 0, 0))
            }
            Kind::NotHttp(protocol) => (5, 0, protocol.code(), (0, 0, 0)),
            Kind::Error(error) => (6, 0, error.code(), (0, 0, 0)),
        };
        let span = (record.start.offset, record.end.offset);
        Self { kind: (kind, record.side), number, span, code, flags: record.flags, text: text.finish(), sizes }
    }

    /// Without its position: that of a message's end is within the event that ends it, and so depends on how the bytes are cut.
    pub(super) const fn anywhere(self) -> Self {
        Self { span: (0, 0), ..self }
    }
}

/// Records of one connection that one parser gave and the other has not yet.
#[derive(Debug, Default)]
struct Pending {
    first: VecDeque<Digest>,
    second: VecDeque<Digest>,
    /// The second parser was not shown all of it: nothing is compared from here on.
    left_out: bool,
}

impl Pending {
    fn leave_out(&mut self) {
        *self = Self { left_out: true, ..Self::default() };
    }
}

/// A second parser with the sample it sees.
pub struct Shadow {
    driver: Driver<()>,
    /// The protocol that the second parser is for; those of other protocols are the first one's.
    compared: Option<Protocol>,
    sample: u64,
    pending: HashMap<u64, Pending, RandomState>,
    budget: Budget,
    /// What was compared so far.
    pub counters: ShadowCounters,
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shadow(one connection in {})", self.sample)
    }
}

struct Second<'a> {
    pending: &'a mut HashMap<u64, Pending, RandomState>,
    counters: &'a mut ShadowCounters,
    budget: &'a mut Budget,
}

impl Receiver for Second<'_> {
    type State = ();
    fn record(&mut self, connection: &Connection, (): &mut (), record: &Record<'_>) {
        let pending = self.pending.entry(connection.id().number).or_default();
        if !pending.left_out {
            pending.second.push_back(Digest::of(record));
        }
    }
    fn closed(&mut self, _: &Connection, (): &mut (), _: [u64; 2], _: EndReason) {}
    fn skip(&mut self, _: &Connection, _: Side, _: u64) {}
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, _: &Fault) {
        self.counters.faults += 1;
    }
    fn lost(&mut self, time: Duration, _: &driver::SandboxCounters) -> bool {
        self.budget.charge(time);
        !self.budget.is_spent()
    }
}

impl Shadow {
    /// `parsers`: as for [`Driver::with`]. `sample`: one connection in so many is compared. `fault_time`: time that its
    /// faults may take in each second.
    ///
    /// # Errors
    /// If the parser cannot be started.
    pub fn new(parsers: &[Arc<Parser>], sample: u64, fault_time: Duration) -> Result<Self, Fault> {
        let mut driver = Driver::with(parsers, Bounds::default())?;
        driver.sample(sample.max(1));
        let pending = HashMap::with_hasher(RandomState::default());
        let budget = Budget::new(fault_time);
        let counters = ShadowCounters::default();
        Ok(Self { driver, compared: None, sample: sample.max(1), pending, budget, counters })
    }

    /// The parser of this protocol is the one compared: it stays, see [`Self::follow`].
    #[must_use]
    pub const fn compares(mut self, protocol: Protocol) -> Self {
        self.compared = Some(protocol);
        self
    }

    /// How many bytes of extra state connections may have in all.
    pub const fn limit_extra(&mut self, bytes: u64) {
        self.driver.limit_extra(bytes);
    }

    /// Takes a parser that was put in charge, unless it is for the protocol of the one compared: what differs is then due to
    /// that one alone.
    ///
    /// # Errors
    /// As for [`Driver::swap`].
    pub fn follow(&mut self, parser: Arc<Parser>) -> Result<(), Fault> {
        if self.compared == Some(parser.format.protocol) {
            return Ok(());
        }
        self.driver.swap(parser)
    }

    /// Whether a connection is in the sample.
    #[must_use]
    pub const fn sees(&self, number: u64) -> bool {
        number.is_multiple_of(self.sample)
    }

    /// A record of the first parser.
    pub fn first(&mut self, connection: &Connection, record: &Record<'_>) {
        // What is inside a tunnel is compared with its connection.
        let number = connection.id().number;
        // Bodies are asked of the first parser only.
        if !self.sees(number) || matches!(record.kind, Kind::Body { .. }) {
            return;
        }
        let pending = self.pending.entry(number).or_default();
        if !pending.left_out {
            pending.first.push_back(Digest::of(record));
        }
    }

    /// From now on what comes behind the beginning of a tunnel is left out, and comes in a slot of its own.
    pub fn set_aside(&mut self) {
        self.driver.set_aside();
    }

    /// Takes a slot that the first parser has parsed, and compares. `now`: `None` when the program is to end; then the budget
    /// is not renewed any more.
    pub fn process(&mut self, slot: &Slot, now: Option<Instant>) {
        if let Some(now) = now {
            self.budget.turn(now);
        }
        let spent = self.budget.is_spent();
        let Self { driver, pending, counters, budget, .. } = self;
        let mut second = Second { pending, counters, budget };
        let whole = if spent {
            driver.discard(slot, &mut second);
            false
        } else {
            driver.process(slot, &mut second)
        };
        // The first parser has set the same aside, or they differ anyway.
        drop(driver.take_aside());
        if !whole {
            self.counters.skipped_slots += 1;
            for row in slot.rows.iter().filter(|row| row.connection.number.is_multiple_of(self.sample)) {
                self.pending.entry(row.connection.number).or_default().leave_out();
            }
        }
        let counters = &mut self.counters;
        for row in &slot.rows {
            let number = row.connection.number;
            let Some(pending) = self.pending.get_mut(&number) else { continue };
            let pairs = pending.first.len().min(pending.second.len());
            for (one, other) in pending.first.drain(..pairs).zip(pending.second.drain(..pairs)) {
                compare(counters, one, other);
            }
            let open = self.driver.knows(number);
            let keep = if open { MAX_PENDING } else { 0 };
            for (queue, field) in [(&mut pending.first, 0), (&mut pending.second, 1)] {
                let lost = queue.len().saturating_sub(keep);
                queue.drain(..lost);
                counters.differs(field, lost as u64);
            }
            if !open {
                self.pending.remove(&number);
            }
        }
    }
}

fn compare(counters: &mut ShadowCounters, one: Digest, other: Digest) {
    counters.compared += 1;
    let differ = [
        one.kind != other.kind,
        one.number != other.number,
        one.span != other.span,
        one.code != other.code,
        one.flags != other.flags,
        one.text != other.text,
        one.sizes != other.sizes,
    ];
    for (field, _) in (2..).zip(differ).filter(|(_, differ)| *differ) {
        counters.differs(field, 1);
    }
}
