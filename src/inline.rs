//! Frames become transactions in the caller's thread: what [`crate::Reader`] and [`crate::Tap`] have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::{Batcher, CollectSlots, Slot};
use crate::flow::{self, Sightings, Table};
use crate::http::record::Record;
use crate::http::{Exchange, HttpContext, Settings, Transaction, Tunnel};
use crate::packet::{Decoder, Outcome};
use crate::process::Speakers;
use crate::sandbox::call::Bounds;
use crate::sandbox::driver::{Aside, Driver, Receiver};
use crate::sandbox::engine::{Engine, LoadError};
use crate::sandbox::fault::Fault;
use crate::sandbox::quarantine::QuarantinedEvent;
use crate::sandbox::{BUILTIN_GUEST, BUILTIN_HTTP2};
use crate::source::Frame;
use crate::stream::{Connection, ConnectionId, EndReason, Endpoint, Side, Span};
use crate::tls::Dark;
use crate::tls::keys::KeyStore;
use crate::tls::stage::{MOST_LATE, Opening, Patience};

/// Frames after which the parser is called at the latest.
const FRAMES: usize = 1024;
/// Slots of 256 KiB after which it is called at the latest, however large the frames are.
const SLOTS: usize = 16;
/// Memory of what waits for secrets, in bytes.
const MAX_WAITING: u64 = 16 << 20;
/// Sandboxes that the engine has room for: one for each parser, and a fresh one after a fault.
const INSTANCES: u32 = 8;

/// Takes completed transactions, in the order in which they were completed.
pub(crate) type Out<'a> = &'a mut dyn FnMut(Transaction);

/// Secrets of TLS connections, which whoever reads key logs adds to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<KeyStore>>);

impl Keys {
    pub(crate) fn lock(&self) -> MutexGuard<'_, KeyStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All stages, one after the other, with the built-in parsers. No log, no metrics, no threads but the sandbox's clock.
pub(crate) struct Inline {
    decoder: Decoder,
    table: Table,
    batcher: Batcher<CollectSlots>,
    /// Of connections whose first packet comes when there are secrets, or secrets are expected.
    keys: Keys,
    opening: Opening,
    expects_keys: bool,
    /// What waited for secrets.
    released: Slot,
    /// Events of the last slot.
    span: Span,
    /// The time of the last frame or tick.
    now: i64,
    driver: Driver<Exchange>,
    context: HttpContext,
    hints: Vec<(ConnectionId, Side, u64)>,
    /// What a slot has completed: the parser takes its connections in rounds.
    done: Vec<Transaction>,
    /// Frames since the parser was last called.
    unparsed: usize,
    /// Keeps the clock of the sandbox.
    _engine: Engine,
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inline").field("driver", &self.driver).finish_non_exhaustive()
    }
}

impl Inline {
    /// Starts the sandbox. `settings`: what transactions keep. `drop_duplicates`: whether connections that are captured again are
    /// left out.
    pub(crate) fn new<E: From<LoadError> + From<Fault>>(settings: Settings, drop_duplicates: bool) -> Result<Self, E> {
        let engine = Engine::new(INSTANCES)?;
        let parsers = [Arc::new(engine.load(BUILTIN_GUEST)?), Arc::new(engine.load(BUILTIN_HTTP2)?)];
        let mut table = Table::new(flow::Config { hash_seed: flow::random_seed(), ..flow::Config::default() });
        if drop_duplicates {
            table = table.leaving_out(Sightings::default());
        }
        let mut driver = Driver::with(&parsers, Bounds::default())?;
        driver.want_bodies(settings.bodies.as_ref().map_or(0, |bodies| bodies.bytes));
        Ok(Self {
            decoder: Decoder::new(false),
            table,
            batcher: Batcher::new(1, i64::MAX, true, CollectSlots::default()),
            keys: Keys::default(),
            opening: Opening::default(),
            expects_keys: false,
            released: Slot::default(),
            span: Span::default(),
            now: 0,
            driver,
            context: HttpContext::new(settings),
            hints: Vec::new(),
            done: Vec::new(),
            unparsed: 0,
            _engine: engine,
        })
    }

    /// The secrets that it decrypts with.
    pub(crate) fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// Secrets come while frames do: what is encrypted waits for them, for 200 ms at most.
    pub(crate) fn expect_keys(&mut self) {
        let patience = Patience { time: Some(MOST_LATE), memory: MAX_WAITING, reason: Dark::TooLate };
        self.opening = Opening::patient(patience);
        self.expects_keys = true;
    }

    /// Transactions get the processes at their connections' ends, as these know them.
    pub(crate) fn name_processes(&mut self, speakers: Speakers) {
        self.context.speakers = Some(speakers);
    }

    /// Takes a frame. The parser is called when there is enough for it.
    pub(crate) fn frame(&mut self, frame: &Frame<'_>, out: Out<'_>) {
        self.now = self.now.max(frame.time);
        match self.decoder.decode(frame) {
            Outcome::Segment(segment) => self.table.segment(&segment, &mut self.batcher),
            Outcome::Waits | Outcome::Skipped(_) => self.table.tick(frame.time, &mut self.batcher),
        }
        self.unparsed += 1;
        if self.unparsed >= FRAMES || self.batcher.deliverer().0.len() >= SLOTS {
            self.parse(out);
        }
    }

    /// Lets time pass without a frame, in nanoseconds since the Unix epoch: connections end for lack of traffic.
    pub(crate) fn tick(&mut self, time: i64, out: Out<'_>) {
        self.now = self.now.max(time);
        self.table.tick(time, &mut self.batcher);
        self.parse(out);
    }

    /// Takes no more frames: what is incomplete is handed out as it is.
    pub(crate) fn finish(&mut self, out: Out<'_>) {
        self.decoder.finish();
        self.table.finish(&mut self.batcher);
        self.parse(out);
        self.release(true, out);
    }

    /// Hands out what the frames so far complete.
    pub(crate) fn parse(&mut self, out: Out<'_>) {
        self.unparsed = 0;
        self.release(false, out);
        self.batcher.flush();
        for mut slot in std::mem::take(&mut self.batcher.deliverer().0) {
            self.span = slot.span;
            if let Some(speakers) = &mut self.context.speakers {
                speakers.begin_slot(slot.begun.iter(), slot.rows.iter().map(|row| &row.connection));
            }
            let keys = self.keys.lock();
            if self.expects_keys || !keys.is_empty() {
                self.opening.open(&mut slot, &keys, self.now);
                self.driver.set_aside();
            }
            drop(keys);
            self.process(&slot, out);
        }
        self.table.set_external(self.driver.memory() + self.opening.memory() + self.context.held() as u64);
        for (id, side, upto) in self.hints.drain(..) {
            self.table.skip(id, side, upto);
        }
    }

    /// Hands out what waits for secrets no longer. `last`: nothing waits any more.
    fn release(&mut self, last: bool, out: Out<'_>) {
        let mut slot = std::mem::take(&mut self.released);
        while self.opening.waits() && self.opening.release(&mut slot, &self.keys.lock(), self.now, last) {
            // It comes with the last events.
            slot.span = Span { start: self.span.end.saturating_sub(1), ..self.span };
            self.process(&slot, out);
        }
        self.released = slot;
    }

    /// Takes a slot of plaintext through the parser, and what is inside tunnels that begin in it.
    fn process(&mut self, slot: &Slot, out: Out<'_>) {
        let Self { context, hints, done, opening, driver, keys, .. } = self;
        let start = slot.span.start;
        driver.process(slot, &mut Pairing { context, hints, opening, start, done });
        let mut aside = driver.take_aside();
        while !aside.is_empty() {
            let (mut inside, keys) = (Slot::default(), keys.lock());
            for Aside { connection, depth, base, events } in aside {
                opening.begin_inner((&connection, depth, base), events, &mut inside, &keys, self.now);
            }
            drop(keys);
            driver.process(&inside, &mut Pairing { context, hints, opening, start, done });
            aside = driver.take_aside();
        }
        done.sort_by_key(|transaction| transaction.completed);
        done.drain(..).for_each(&mut *out);
    }
}

/// Makes transactions of records.
struct Pairing<'a> {
    context: &'a mut HttpContext,
    hints: &'a mut Vec<(ConnectionId, Side, u64)>,
    opening: &'a Opening,
    /// Number of the first event of the slot.
    start: u64,
    done: &'a mut Vec<Transaction>,
}

impl Receiver for Pairing<'_> {
    type State = Exchange;

    fn at(&mut self, order: u32) {
        self.context.completed = self.start + u64::from(order);
    }

    fn record(&mut self, connection: &Connection, exchange: &mut Exchange, record: &Record<'_>) {
        self.context.secure(connection, record, self.opening);
        exchange.record(self.context, connection, record, &mut |transaction| self.done.push(transaction.clone()));
    }

    fn closed(&mut self, connection: &Connection, exchange: &mut Exchange, lengths: [u64; 2], reason: EndReason) {
        exchange
            .close(self.context, connection, lengths, reason, &mut |transaction| self.done.push(transaction.clone()));
        // What is inside of a tunnel ends before the connection that carries it.
        if let Some(speakers) = self.context.speakers.as_mut().filter(|_| connection.depth() == 0) {
            speakers.forget(connection.number);
        }
    }

    fn inner(
        &mut self,
        (outer, state): (&Connection, &mut Exchange),
        tunnel: Tunnel,
        relay: Option<Endpoint>,
    ) -> Exchange {
        state.inner(self.context, outer, tunnel, relay)
    }

    fn skip(&mut self, connection: &Connection, side: Side, upto: u64) {
        if self.opening.reads(connection) {
            return;
        }
        self.hints.push((connection.id(), side, upto));
    }

    fn quarantine(&mut self, _: &QuarantinedEvent) {}

    fn fault(&mut self, _: &Fault) {}
}
