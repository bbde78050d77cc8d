//! A connection in the stage: read, or waiting for secrets, or for the proof that it is TLS at all.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::gathered::Gathered;
use super::plaintext::Into;
use super::queue::{MAX_QUEUE, Queue};
use super::shared::Shared;
use super::{Held, Patience};
use crate::batch::{Rewritten, SlotEvent, What};
use crate::stream::{self, Callers, EndReason, Secured, Side};
use crate::tls::closed::Closed;
use crate::tls::connection::Connection;
use crate::tls::keylog;
use crate::tls::keys::KeyStore;
use crate::tls::names::NameFilter;
use crate::tls::outcome::{Buffers, Context, Dark, Progress, TlsCounters};
use crate::tls::record::{Midstream, begins_tls};

/// How often it is looked up, event by event, who derived the secrets, while both ends are not known: one may be on another machine.
const TELLS: u8 = 8;

/// What a connection needs while it takes events.
pub(super) struct Tools<'a> {
    pub(super) keys: &'a KeyStore,
    pub(super) counters: &'a mut TlsCounters,
    pub(super) buffers: &'a mut Buffers,
    pub(super) shared: &'a mut Shared,
    pub(super) patience: Option<Patience>,
    pub(super) names: &'a [NameFilter],
    pub(super) now: i64,
    /// The place of the next connection that waits.
    pub(super) serial: u64,
}

impl Tools<'_> {
    fn reason(&self) -> Dark {
        self.patience.map_or(Dark::NoKey, |patience| patience.reason)
    }
}

/// A connection that is open, or a stream inside a tunnel on it.
#[derive(Default)]
pub(super) struct Open {
    pub(super) connection: Connection,
    /// Sides that have ended.
    ended: [bool; 2],
    /// A gap before the next bytes of a side is inexact.
    inexact: [bool; 2],
    /// What is told of it with its plaintext, and how often it was looked up.
    secured: Option<Arc<Secured>>,
    tells: u8,
    pub(super) kind: Kind,
    /// What waits.
    queue: Option<Box<Queue>>,
    /// It waits no more, and is dark for this reason where secrets are missing.
    given_up: Option<Dark>,
    /// Inside how many tunnels it is, and the offsets at which its sides begin among those of the slots.
    depth: u8,
    base: [u64; 2],
    /// The stream inside the tunnel that it has become.
    inner: Option<Box<Self>>,
    /// What of it the stage has counted.
    pub(super) counted: Held,
    /// What is told of it at its end.
    pub(super) gathered: Gathered,
}

/// What a connection, or a stream inside a tunnel, is.
#[derive(Default)]
pub(super) enum Kind {
    #[default]
    Tls,
    /// Its start was not captured, and one record was seen of it. Everything waits until it is known what it is.
    Suspect(Box<[Midstream; 2]>),
    /// Its first bytes will say it.
    Undecided,
    /// It began with a server's hello. Without the client's nothing can be read: it is left as it is, and told of at its end.
    Answered,
    /// Something else.
    Plain,
}

impl Open {
    /// One that begins with the hello of this side.
    pub(super) fn begun(side: Side) -> Self {
        Self { gathered: Gathered::begun(side), ..Self::default() }
    }

    /// One whose start was not captured, if its first bytes may be a record of TLS.
    pub(super) fn suspected(event: &SlotEvent, payload: &[u8]) -> Option<Self> {
        let mut first = Midstream::default();
        let known = first.segment(event.at.offset, payload);
        (known || first.waits()).then(|| Self { kind: Kind::Suspect(Box::default()), ..Self::default() })
    }

    /// Whether it may still not be TLS.
    pub(super) const fn is_suspect(&self) -> bool {
        matches!(self.kind, Kind::Suspect(_))
    }

    const fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Answered)
    }

    /// Offset at which a side begins.
    const fn start(&self, side: Side) -> u64 {
        let [own, _] = side.own_first(self.base);
        own
    }

    /// Whether it, or a stream inside, is TLS, or may be.
    pub(super) fn is_read(&self) -> bool {
        !self.is_plain() || self.inner.as_ref().is_some_and(|inner| inner.is_read())
    }

    /// Gives the secrets of each TLS connection of which plaintext was read, of this and of those inside: the client's random, and lines of a
    /// key log.
    pub(super) fn secrets(&self, keys: &KeyStore, to: &mut impl FnMut(&[u8; 32], Zeroizing<Vec<u8>>)) {
        if let Some(random) = self.connection.random().filter(|_| self.connection.fate().decrypted) {
            for earlier in self.connection.earlier() {
                to(earlier, keylog::lines(keys, earlier, [earlier]));
            }
            to(random, keylog::lines(keys, random, self.connection.names()));
        }
        if let Some(inner) = &self.inner {
            inner.secrets(keys, to);
        }
    }

    /// The sides of which nothing is read any more since the last time, on a stream that nothing else is around.
    pub(super) fn newly_dark(&mut self) -> [Option<Side>; 2] {
        let is_plain = self.is_plain();
        match &mut self.inner {
            Some(inner) if is_plain => inner.newly_dark(),
            None if is_plain => [None; 2],
            _ => self.gathered.newly_dark(&self.connection),
        }
    }

    /// Adds what is told of it and of the streams inside, of each once, after its end.
    pub(super) fn close(&mut self, carrier: &stream::Connection, order: u32, out: &mut Vec<Closed>) {
        if self.ended == [true; 2] && self.queue.is_none() {
            match self.kind {
                Kind::Tls => out.extend(self.gathered.close(&self.connection, carrier, self.depth, order)),
                Kind::Answered => out.extend(self.close_answered(carrier, order)),
                Kind::Suspect(_) | Kind::Undecided | Kind::Plain => {}
            }
        }
        if let Some(inner) = &mut self.inner {
            inner.close(carrier, order, out);
        }
    }

    /// One that is not TLS, and carries a tunnel.
    pub(super) fn carrier() -> Self {
        Self { kind: Kind::Plain, ..Self::default() }
    }

    /// A tunnel begins: inside so many, more than those before, and at these offsets.
    pub(super) fn begin_inner(&mut self, depth: u8, base: [u64; 2]) {
        match &mut self.inner {
            Some(inner) if inner.depth < depth => inner.begin_inner(depth, base),
            Some(_) => {}
            None => {
                // What a server says to a client that a proxy names first is inside.
                if matches!(self.kind, Kind::Answered) {
                    (self.kind, self.connection) = (Kind::Plain, Connection::new());
                }
                self.inner = Some(Box::new(Self { kind: Kind::Undecided, depth, base, ..Self::default() }));
            }
        }
    }

    /// Takes an event of the stream inside of all tunnels.
    pub(super) fn inner_event(
        &mut self,
        tools: &mut Tools<'_>,
        to: &mut Rewritten<'_>,
        event: &SlotEvent,
        payload: &mut [u8],
    ) {
        match &mut self.inner {
            Some(inner) => inner.inner_event(tools, to, event, payload),
            None => self.event(tools, to, event, payload),
        }
        // The connection ends with what is inside it.
        if self.is_plain() && matches!(event.what, What::End(_)) {
            *of(&mut self.ended, event.side) = true;
        }
    }

    /// Forgets a stream inside that is not TLS and carries nothing that is.
    pub(super) fn leave(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.leave();
        }
        if self.inner.as_ref().is_some_and(|inner| inner.is_plain() && inner.inner.is_none()) {
            self.inner = None;
        }
    }

    pub(super) fn held(&self) -> Held {
        let queue = self.queue.as_deref();
        let queued = queue.map_or(0, Queue::memory);
        let inner = self.inner.as_ref().map(|inner| (inner.held(), size_of::<Self>() as u64));
        let (inner, own) = inner.unwrap_or_default();
        // What was handed on is not held, whether a hello was read in it or not.
        let kept = if self.is_plain() { 0 } else { self.connection.kept() };
        Held {
            memory: (self.connection.memory() + queued) as u64 + inner.memory + own,
            bytes: (kept + queue.map_or(0, Queue::bytes)) as u64 + inner.bytes,
            queued: queued as u64 + inner.queued,
            serial: queue.map(|queue| queue.serial).or(inner.serial),
        }
    }

    /// Reads a word of each line of it that an event needs: a software prefetch.
    pub(super) fn touch(&self) -> u64 {
        let [first, _] = self.ended;
        let own = self.counted.memory ^ u64::from(self.is_plain()) ^ u64::from(first) ^ self.gathered.touch();
        own ^ u64::from(self.queue.is_some() ^ self.inner.is_some() ^ self.secured.is_some()) ^ self.connection.touch()
    }

    /// The same of what these lines point to.
    pub(super) fn touch_keys(&self) -> u64 {
        self.connection.touch_keys()
    }

    /// Whether nothing more is to be done here with it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.kind, Kind::Plain) && self.inner.is_none() || self.ended == [true; 2] && self.queue().is_none()
    }

    /// What waits, of it or of the stream inside.
    fn queue(&self) -> Option<&Queue> {
        self.queue.as_deref().or_else(|| self.inner.as_ref()?.queue())
    }

    /// Since when it waits.
    pub(super) fn since(&self) -> Option<i64> {
        self.queue().map(|queue| queue.since)
    }

    /// Whose events wait.
    pub(super) fn waiting_connection(&self) -> Option<stream::Connection> {
        self.queue().map(|queue| queue.connection.clone())
    }

    /// How it is encrypted, or the stream inside so many tunnels: what is known of the innermost that is, and how deep that is.
    pub(super) fn secured(&self, depth: u8) -> Option<(&Arc<Secured>, u8)> {
        let inner = self.inner.as_ref().filter(|inner| inner.depth <= depth);
        inner.and_then(|inner| inner.secured(depth)).or_else(|| Some((self.secured.as_ref()?, self.depth)))
    }

    /// Whether there are secrets for which it may have waited.
    pub(super) fn may_go_on(&self, keys: &KeyStore) -> bool {
        let known = |name: &[u8; 32]| keys.has(name) || keys.was_evicted(name);
        let mut names = self.connection.names().peekable();
        let own = self.queue.is_some() && !self.is_suspect() && (names.peek().is_none() || names.any(known));
        own || self.inner.as_ref().is_some_and(|inner| inner.may_go_on(keys))
    }

    /// Takes an event of a slot, or lets it wait behind those that do.
    pub(super) fn event(
        &mut self,
        tools: &mut Tools<'_>,
        to: &mut Rewritten<'_>,
        event: &SlotEvent,
        payload: &mut [u8],
    ) {
        let start = self.start(event.side);
        if matches!(self.kind, Kind::Undecided) && !payload.is_empty() {
            if event.at.offset == start && begins_with_hello(payload) {
                self.kind = Kind::Tls;
                self.gathered = Gathered::begun(event.side);
                tools.counters.started += 1;
            } else {
                self.kind = Kind::Plain;
            }
        }
        if matches!(self.kind, Kind::Answered) {
            self.observe(tools, event, payload);
        }
        if self.is_plain() || matches!(self.kind, Kind::Undecided) {
            return self.pass(tools, to, event, payload);
        }
        if self.gathered.note(event, start, payload) {
            *of(&mut self.ended, event.side) |= matches!(event.what, What::End(_));
            return to.earlier(event).keep_unacked(payload);
        }
        if self.is_suspect() {
            self.wait(tools, to, event, payload, 0);
            match self.judge(event, payload) {
                None => {}
                Some(true) => {
                    (self.kind, self.connection) = (Kind::Tls, Connection::midstream());
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

    /// Hands on an event of what is not TLS.
    fn pass(&mut self, tools: &mut Tools<'_>, to: &mut Rewritten<'_>, event: &SlotEvent, payload: &mut [u8]) {
        if matches!(event.what, What::End(_)) {
            *of(&mut self.ended, event.side) = true;
        }
        self.hand_on(tools, to, event, payload);
    }

    /// Hands an event on as it is: to the stream inside, if it is of that.
    fn hand_on(&mut self, tools: &mut Tools<'_>, to: &mut Rewritten<'_>, event: &SlotEvent, payload: &mut [u8]) {
        if let Some(inner) = &mut self.inner
            && inner.begins_before(event)
        {
            inner.event(tools, to, event, payload);
            return self.leave();
        }
        to.earlier(event).keep(payload);
    }

    /// Whether an event is of this stream, not of what came before the tunnel.
    fn begins_before(&self, event: &SlotEvent) -> bool {
        event.at.offset >= self.start(event.side) || matches!(event.what, What::End(_))
    }

    /// Puts an event into the queue, of whose payload so many bytes were taken.
    fn wait(&mut self, tools: &Tools<'_>, to: &mut Rewritten<'_>, event: &SlotEvent, payload: &[u8], taken: usize) {
        let Some(connection) = to.connection() else { return };
        let new = || Box::new(Queue::new(connection.clone(), tools.serial, tools.now));
        self.queue.get_or_insert_with(new).push(event, payload, taken);
    }

    /// Whether one that was suspected is TLS, if that is known by now.
    fn judge(&mut self, event: &SlotEvent, payload: &[u8]) -> Option<bool> {
        let Kind::Suspect(sides) = &mut self.kind else { return None };
        let side = of(sides, event.side);
        match event.what {
            What::Bytes { .. } => {
                if side.segment(event.at.offset, payload) {
                    return Some(true);
                }
            }
            What::Skipped { .. } | What::Shed { .. } => {}
            // The second record does not come.
            What::End(_) => *side = Midstream::default(),
        }
        (!sides.iter().any(Midstream::waits)).then_some(false)
    }

    /// Notes what is to be told with the plaintext, and who derived the secrets: a server may send before its client has.
    fn tell(&mut self, keys: &KeyStore, shared: &mut Shared) {
        let callers = self.secured.as_ref().map_or(Callers::Unknown, |secured| secured.callers);
        // Without probes nothing changes, and the secrets are out of the cache.
        let known = matches!(callers, Callers::Both { .. }) || self.secured.is_some() && !keys.has_callers();
        if self.tells >= TELLS || known {
            return;
        }
        self.tells += 1;
        let info = self.connection.info();
        let noted = if keys.has_callers() { keys.callers(self.connection.names()) } else { Vec::new() };
        let now = info.callers(&noted);
        if self.secured.is_none() || now != callers {
            self.secured = Some(shared.of(Secured { callers: now, ..info.secured() }));
        }
    }

    /// Takes what waits, as far as the secrets go. `give_up`: then all of it, and it does not wait again.
    pub(super) fn go_on(&mut self, tools: &mut Tools<'_>, to: &mut Rewritten<'_>, give_up: bool) {
        let Some(mut queue) = self.queue.take() else {
            if let Some(inner) = &mut self.inner {
                inner.go_on(tools, to, give_up);
                self.leave();
            }
            return;
        };
        if give_up {
            if self.is_suspect() {
                self.kind = Kind::Plain;
            }
            self.given_up = Some(tools.reason());
        }
        while let Some((event, mut payload)) = queue.pop() {
            let event = to.place(&event);
            let mut to = to.earlier(&event);
            if self.is_plain() {
                self.pass(tools, &mut to, &event, &mut payload);
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
        let Tools { keys, names, counters, buffers, .. } = tools;
        let mut context = Context { keys, names, without_keys: self.given_up.or(at_once), counters, buffers };
        let at = event.at.inside(event.side, self.base);
        let inside = self.inner.is_some().then(Vec::new);
        let mut output = Into { to, inexact: &mut self.inexact, base: self.base, inside, told: false };
        let mut progress = Progress::Done;
        match event.what {
            What::Bytes { .. } => {
                if event.inexact {
                    // How much is missing has to be known, to find the place behind it.
                    self.connection.give_up(&mut context, Dark::Gap);
                }
                progress = self.connection.bytes(&mut context, event.side, at, payload, &mut output);
            }
            // Whatever was not captured is a gap before what comes next.
            What::Skipped { .. } | What::Shed { .. } => {}
            What::End(_) => {
                let at = self.connection.end(&mut context, event.side, at, &mut output);
                *of(&mut self.ended, event.side) = true;
                let inexact = std::mem::take(of(output.inexact, event.side));
                let at = at.outside(event.side, self.base);
                match &mut output.inside {
                    Some(inside) => inside.push((SlotEvent { at, inexact, ..*event }, Vec::new())),
                    None => output.to.event(at, inexact),
                }
            }
        }
        let (told, inside) = (output.told, output.inside);
        if told {
            self.tell(keys, tools.shared);
        }
        if self.depth == 0
            && let Some(connection) = to.connection()
        {
            connection.secured = true;
        }
        for (event, mut payload) in inside.into_iter().flatten() {
            let event = to.place(&event);
            self.hand_on(tools, &mut to.earlier(&event), &event, &mut payload);
        }
        match progress {
            Progress::Done => None,
            Progress::WantsKeys { taken } => Some(taken),
        }
    }
}

/// Whether bytes may be the first of a client.
pub(super) fn begins_with_hello(payload: &[u8]) -> bool {
    payload.get(5).is_none_or(|kind| *kind == 1) && begins_tls(payload) != Some(false)
}

pub(super) const fn of<T>(both: &mut [T; 2], side: Side) -> &mut T {
    let [first, second] = both;
    match side {
        Side::First => first,
        Side::Second => second,
    }
}
