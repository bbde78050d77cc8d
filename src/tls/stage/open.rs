//! A connection in the stage: read, or waiting for secrets, or for the proof that it is TLS at all.

use std::sync::Arc;

use super::queue::{MAX_QUEUE, Queue};
use super::{Held, Patience};
use crate::batch::{Rewritten, SlotEvent, What};
use crate::stream::{self, EndReason, Position, Secured, Side};
use crate::tls::closed::{self, Closed};
use crate::tls::connection::Connection;
use crate::tls::keys::KeyStore;
use crate::tls::names::NameFilter;
use crate::tls::outcome::{Buffers, Context, Dark, Output, Progress, TlsCounters};
use crate::tls::record::{ContentType, Midstream};

/// What a connection needs while it takes events.
pub(super) struct Tools<'a> {
    pub(super) keys: &'a KeyStore,
    pub(super) counters: &'a mut TlsCounters,
    pub(super) buffers: &'a mut Buffers,
    pub(super) patience: Option<Patience>,
    pub(super) now: i64,
    /// The place of the next connection that waits.
    pub(super) serial: u64,
}

impl Tools<'_> {
    fn reason(&self) -> Dark {
        self.patience.map_or(Dark::NoKey, |patience| patience.reason)
    }
}

/// A connection that is open.
#[derive(Default)]
pub(super) struct Open {
    connection: Connection,
    /// Sides that have ended.
    ended: [bool; 2],
    /// A gap before the next bytes of a side is inexact.
    inexact: [bool; 2],
    /// What is told of it with its plaintext.
    pub(super) secured: Option<Arc<Secured>>,
    /// Its start was not captured, and one record was seen of it. Everything waits until it is known what it is.
    suspect: Option<[Midstream; 2]>,
    /// What waits.
    queue: Option<Box<Queue>>,
    /// It waits no more, and is dark for this reason where secrets are missing.
    given_up: Option<Dark>,
    /// It is not TLS.
    plain: bool,
    /// The side whose hello began it.
    began: Option<Side>,
    /// The side that answers a client's hello with something else than TLS: it is left as it is.
    answers_plain: Option<Side>,
    /// Of each side: it was said that it is dark.
    told_dark: [bool; 2],
    /// It was told of at its end.
    told: bool,
    /// Times of the first packet and of the last.
    times: Option<[i64; 2]>,
    /// Offsets at which the sides ended.
    lengths: [u64; 2],
}

impl Open {
    /// One that begins with the hello of this side.
    pub(super) fn begun(side: Side) -> Self {
        Self { began: Some(side), ..Self::default() }
    }

    /// One whose start was not captured, if its first bytes may be a record of TLS.
    pub(super) fn suspected(event: &SlotEvent, payload: &[u8]) -> Option<Self> {
        let mut first = Midstream::default();
        let known = first.segment(event.at.offset, payload);
        (known || first.waits()).then(|| Self { suspect: Some(Default::default()), ..Self::default() })
    }

    /// Whether it may still not be TLS.
    pub(super) const fn is_suspect(&self) -> bool {
        self.suspect.is_some()
    }

    /// Opens it only if the name of its server fits all of these.
    pub(super) fn open_only(&mut self, names: &Arc<[NameFilter]>) {
        self.connection.open_only(names);
    }

    /// The sides of which nothing is read any more since the last time.
    pub(super) fn newly_dark(&mut self) -> [Option<Side>; 2] {
        [Side::First, Side::Second].map(|side| {
            let dark = self.connection.dark(side).is_some();
            (dark && !std::mem::replace(of(&mut self.told_dark, side), true)).then_some(side)
        })
    }

    /// What is told of it, once, after its end. `order`: number of the event that ended it.
    pub(super) fn close(&mut self, connection: &stream::Connection, order: u32) -> Option<Closed> {
        let over = self.ended == [true; 2] && !self.plain && !self.is_suspect();
        if !over || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let client = closed::client(connection, self.connection.client());
        let [first, second] = self.lengths;
        Some(Closed {
            client,
            times: self.times.unwrap_or_default(),
            bytes: if client == Side::First { [first, second] } else { [second, first] },
            fate: self.connection.fate(),
            info: self.connection.info().clone(),
            order,
            connection: connection.clone(),
        })
    }

    /// An event came. The end of a connection that is given up is later than its last packet.
    fn note(&mut self, event: &SlotEvent) {
        let [first, last] = self.times.unwrap_or([event.at.time; 2]);
        let is_packet =
            !matches!(event.what, What::End(reason) if reason != EndReason::Fin && reason != EndReason::Reset);
        self.times = Some([first, if is_packet { event.at.time.max(last) } else { last }]);
        if let What::End(_) = event.what {
            *of(&mut self.lengths, event.side) = event.at.offset;
        }
    }

    /// Whether an event is of a side that is not TLS after all: a server that does not speak it may answer a client's hello in its own
    /// protocol, such as HTTP with a status of 400. Nothing waits then, since nothing was agreed on.
    fn is_plain(&mut self, event: &SlotEvent, payload: &[u8]) -> bool {
        let is_record = payload.first().is_none_or(|kind| ContentType::of(*kind).is_some());
        if event.at.offset == 0 && !is_record && self.began == Some(event.side.other()) && self.queue.is_none() {
            self.answers_plain = Some(event.side);
        }
        self.answers_plain == Some(event.side)
    }

    pub(super) fn held(&self) -> Held {
        let queue = self.queue.as_deref();
        let queued = queue.map_or(0, Queue::memory);
        Held {
            memory: (self.connection.memory() + queued) as u64,
            bytes: (self.connection.kept() + queue.map_or(0, Queue::bytes)) as u64,
            queued: queued as u64,
            serial: queue.map(|queue| queue.serial),
        }
    }

    /// Whether nothing more is to be done here with it.
    pub(super) fn is_over(&self) -> bool {
        self.plain || self.ended == [true; 2]
    }

    /// Since when it waits.
    pub(super) fn since(&self) -> Option<i64> {
        self.queue.as_ref().map(|queue| queue.since)
    }

    /// Whose events wait.
    pub(super) fn waiting_connection(&self) -> Option<stream::Connection> {
        self.queue.as_ref().map(|queue| queue.connection.clone())
    }

    /// Whether there are secrets for which it may have waited.
    pub(super) fn may_go_on(&self, keys: &KeyStore) -> bool {
        let known = |random: &[u8; 32]| keys.has(random) || keys.was_evicted(random);
        self.suspect.is_none() && self.connection.random().is_none_or(known)
    }

    /// Takes an event of a slot, or lets it wait behind those that do.
    pub(super) fn event(
        &mut self,
        tools: &mut Tools<'_>,
        to: &mut Rewritten<'_>,
        event: &SlotEvent,
        payload: &mut [u8],
    ) {
        if self.plain {
            return to.keep(payload);
        }
        self.note(event);
        if self.is_plain(event, payload) {
            *of(&mut self.ended, event.side) |= matches!(event.what, What::End(_));
            return to.keep_unacked(payload);
        }
        if self.suspect.is_some() {
            self.wait(tools, to, event, payload, 0);
            match self.judge(event, payload) {
                None => {}
                Some(true) => {
                    (self.suspect, self.connection) = (None, Connection::midstream());
                    tools.counters.started += 1;
                    return self.go_on(tools, to, false);
                }
                Some(false) => return self.go_on(tools, to, true),
            }
        } else if self.queue.is_some() {
            self.wait(tools, to, event, payload, 0);
        } else if let Some(taken) = self.take(tools, to, event, payload) {
            self.wait(tools, to, event, payload, taken);
        }
        let full = self.queue.as_ref().is_some_and(|queue| queue.memory() > MAX_QUEUE);
        if full || (event.what == What::End(EndReason::Evicted) && self.queue.is_some()) {
            self.go_on(tools, to, true);
        }
    }

    /// Puts an event into the queue, of whose payload so many bytes were taken.
    fn wait(&mut self, tools: &Tools<'_>, to: &mut Rewritten<'_>, event: &SlotEvent, payload: &[u8], taken: usize) {
        let Some(connection) = to.connection() else { return };
        let new = || Box::new(Queue::new(connection.clone(), tools.serial, tools.now));
        self.queue.get_or_insert_with(new).push(event, payload, taken);
    }

    /// Whether one that was suspected is TLS, if that is known by now.
    fn judge(&mut self, event: &SlotEvent, payload: &[u8]) -> Option<bool> {
        let sides = self.suspect.as_mut()?;
        let side = of(sides, event.side);
        match event.what {
            What::Bytes { .. } => {
                if side.segment(event.at.offset, payload) {
                    return Some(true);
                }
            }
            What::Skipped { .. } => {}
            // The second record does not come.
            What::End(_) => *side = Midstream::default(),
        }
        (!sides.iter().any(Midstream::waits)).then_some(false)
    }

    /// Takes what waits, as far as the secrets go. `give_up`: then all of it, and it does not wait again.
    pub(super) fn go_on(&mut self, tools: &mut Tools<'_>, to: &mut Rewritten<'_>, give_up: bool) {
        if give_up {
            self.plain = self.suspect.take().is_some();
            self.given_up = Some(tools.reason());
        }
        let Some(mut queue) = self.queue.take() else { return };
        while let Some((event, mut payload)) = queue.pop() {
            let event = to.place(&event);
            let mut to = to.earlier(&event);
            if self.plain {
                to.keep(&payload);
            } else if let Some(taken) = self.take(tools, &mut to, &event, &mut payload) {
                queue.put_back(&event, payload, taken);
                self.queue = Some(queue);
                return;
            }
        }
    }

    /// Takes an event. Some: a secret is missing that may still come, and so many bytes were taken.
    fn take(
        &mut self,
        tools: &mut Tools<'_>,
        to: &mut Rewritten<'_>,
        event: &SlotEvent,
        payload: &mut [u8],
    ) -> Option<usize> {
        let at_once = tools.patience.is_none().then_some(Dark::NoKey);
        let Tools { keys, counters, buffers, .. } = tools;
        let mut context = Context { keys, without_keys: self.given_up.or(at_once), counters, buffers };
        let mut output = Into { to, inexact: &mut self.inexact, told: false };
        let mut progress = Progress::Done;
        match event.what {
            What::Bytes { .. } => {
                progress = self.connection.bytes(&mut context, event.side, event.at, payload, &mut output);
            }
            // Whatever was not captured is a gap before what comes next.
            What::Skipped { .. } => {}
            What::End(_) => {
                let at = self.connection.end(&mut context, event.side, event.at, &mut output);
                *of(&mut self.ended, event.side) = true;
                let inexact = std::mem::take(of(output.inexact, event.side));
                output.to.event(at, inexact);
            }
        }
        if output.told && self.secured.is_none() {
            self.secured = Some(Arc::new(self.connection.info().secured()));
        }
        if let Some(connection) = to.connection() {
            connection.secured = true;
        }
        match progress {
            Progress::Done => None,
            Progress::WantsKeys { taken } => Some(taken),
        }
    }
}

/// Puts plaintext into a slot.
struct Into<'a, 'slot> {
    to: &'a mut Rewritten<'slot>,
    inexact: &'a mut [bool; 2],
    /// Something was told.
    told: bool,
}

impl Output for Into<'_, '_> {
    fn data(&mut self, side: Side, at: Position, plaintext: &[u8]) {
        self.told = true;
        let inexact = std::mem::take(of(self.inexact, side));
        self.to.bytes(side, at, inexact, plaintext);
    }

    fn gap(&mut self, side: Side, _: Position, _: u64, exact: bool) {
        *of(self.inexact, side) |= !exact;
    }

    // The end of the TCP stream follows; and after a `close_notify` there is nothing before it.
    fn closed(&mut self, _: Side, _: Position) {}
}

const fn of<T>(both: &mut [T; 2], side: Side) -> &mut T {
    let [first, second] = both;
    match side {
        Side::First => first,
        Side::Second => second,
    }
}
