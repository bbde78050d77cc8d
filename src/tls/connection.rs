//! A TLS connection: the bytes of both sides go in, plaintext comes out, or the reason why there is none.
//!
//! Each side is read by records ([`super::record`]) as its [`Phase`] says; what their messages agree on is in
//! [`super::negotiation`]; after loss [`super::lost`] finds the place. Nothing that was not authenticated is handed on.
//!
//! Memory: what is in this structure, and of each side at most a partial record (18 KiB), a partial message (32 KiB) and either
//! 64 KiB that wait for the other side or 112 KiB after loss; [`Connection::memory`] says how much it is. An ordinary
//! connection takes 2 KiB between records.

mod early;
mod held;
mod loss;
mod messages;
mod records;

use self::early::Told;
use super::cipher::Role;
use super::closed::Fate;
use super::half::{Choosing, Epoch, Half, Held, Phase, Times};
use super::negotiation::{Absence, Early, Info, Negotiation};
use super::outcome::{Context, Dark, Output, Progress};
use super::record::{ContentType, Front, HEADER, Header, Taken};
use crate::stream::{Position, Side};

/// The state of a connection.
#[derive(Default)]
pub struct Connection {
    negotiation: Negotiation,
    halves: [Half; 2],
}

/// Why reading stops; of what it was given, so many bytes were taken.
enum Stop {
    Done,
    /// The other side has to go first.
    Hold(usize),
    /// A secret is missing.
    Wants(usize),
    /// All were taken; these are to be read again.
    Replay(Held),
}

/// What to do with a record, by its header.
enum Ready {
    Go,
    /// It is not encrypted, and means nothing.
    Ignore,
    /// It is early data that the server refused.
    Refused,
    /// It is early data, and what the server says to it is lost.
    Unanswered,
    Hold,
    Wants,
    Dark(Dark),
}

/// A record, and where it was.
struct Record<'a> {
    side: Side,
    /// The packet that completed it.
    at: Position,
    /// Offset behind it.
    end: u64,
    header: Header,
    body: &'a mut [u8],
}

impl Connection {
    /// A connection whose first bytes are those of a hello ([`super::record::begins_tls`]).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection that was recognised in the middle: it stays dark.
    #[must_use]
    pub fn midstream() -> Self {
        let mut connection = Self::default();
        connection.halves.iter_mut().for_each(|half| half.phase = Phase::Dark(Dark::Midstream));
        connection
    }

    /// What is known of it.
    #[must_use]
    pub const fn info(&self) -> &Info {
        &self.negotiation.info
    }

    /// The side that is the client, once a hello was seen.
    #[must_use]
    pub fn client(&self) -> Option<Side> {
        [Side::First, Side::Second].into_iter().find(|side| self.is_client(*side))
    }

    /// Whether it was read, as far as it went.
    #[must_use]
    pub fn fate(&self) -> Fate {
        Fate::of(&self.halves, self.info())
    }

    /// The client's random, once it was seen.
    #[must_use]
    pub const fn random(&self) -> Option<&[u8; 32]> {
        self.negotiation.random()
    }

    /// The client's randoms of the negotiations before this one, as far as they are remembered.
    pub(super) fn earlier(&self) -> &[[u8; 32]] {
        self.negotiation.earlier()
    }

    /// The names by which its secrets may be found, as far as they are known.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8; 32]> + Clone {
        self.negotiation.names()
    }

    /// Why a side is not read; `None` while it is.
    #[must_use]
    pub const fn dark(&self, side: Side) -> Option<Dark> {
        self.half(side).dark()
    }

    /// Bytes that were taken and have no account yet.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.halves.iter().map(Half::kept).sum()
    }

    /// Memory that it takes, in bytes; of keys an estimate.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.negotiation.memory() + self.halves.iter().map(Half::memory).sum::<usize>()
    }

    /// Reads a word of each line of it that the next records need, so that they are in the cache when these come.
    pub(super) fn touch(&self) -> u64 {
        let [first, second] = &self.halves;
        first.touch() ^ second.touch() ^ self.negotiation.touch()
    }

    /// The same of what these lines point to.
    pub(super) fn touch_keys(&self) -> u64 {
        let [first, second] = &self.halves;
        first.touch_keys() ^ second.touch_keys()
    }

    fn is_client(&self, side: Side) -> bool {
        self.negotiation.role(side) == Some(Role::Client)
    }

    const fn half(&self, side: Side) -> &Half {
        let [first, second] = &self.halves;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    const fn half_mut(&mut self, side: Side) -> &mut Half {
        let [first, second] = &mut self.halves;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// Takes bytes of a side, and spoils them. They follow those before them, or there is a gap. Offsets count from the
    /// connection's first byte.
    pub fn bytes(
        &mut self,
        context: &mut Context<'_>,
        side: Side,
        at: Position,
        payload: &mut [u8],
        output: &mut impl Output,
    ) -> Progress {
        let length = payload.len() as u64;
        if let Some(reason) = self.dark(side) {
            context.counters.darken(reason, payload.len());
            self.half_mut(side).next = at.offset + length;
            return Progress::Done;
        }
        self.note_gap(context, side, at.offset);
        if self.resume(context, side, output) || self.resume(context, side.other(), output) {
            return Progress::WantsKeys { taken: 0 };
        }
        self.note_gap(context, side, at.offset);
        let half = self.half_mut(side);
        half.received += length;
        if half.held.is_some() {
            self.hold(context, side, at, payload);
            return Progress::Done;
        }
        let taken = match self.run(context, side, at.offset, &Times::All(at), payload, output) {
            Stop::Done => payload.len(),
            Stop::Hold(taken) => {
                let rest = payload.get(taken..).unwrap_or_default();
                self.half_mut(side).next += taken as u64;
                self.hold(context, side, Position { offset: at.offset + taken as u64, ..at }, rest);
                return Progress::Done;
            }
            Stop::Wants(taken) => {
                let half = self.half_mut(side);
                half.received -= length - taken as u64;
                half.next += taken as u64;
                return Progress::WantsKeys { taken };
            }
            Stop::Replay(held) => {
                self.half_mut(side).next += length;
                if self.replay(context, side, held, output) {
                    return Progress::WantsKeys { taken: payload.len() };
                }
                return self.release(context, side.other(), payload.len(), output);
            }
        };
        self.half_mut(side).next += taken as u64;
        self.release(context, side.other(), taken, output)
    }

    /// Reads no more of either side.
    pub fn give_up(&mut self, context: &mut Context<'_>, reason: Dark) {
        self.darken_both(context, reason);
    }

    /// A side has ended, at this offset. What waited is read with the secrets that are known. Returns where the plaintext ends.
    pub fn end(&mut self, context: &mut Context<'_>, side: Side, at: Position, output: &mut impl Output) -> Position {
        let end = at.offset.max(self.half(side).next);
        self.note_gap(context, side, end);
        let last = Some(context.without_keys.unwrap_or(Dark::NoKey));
        let mut context = Context {
            keys: context.keys,
            names: context.names,
            without_keys: last,
            counters: &mut *context.counters,
            buffers: &mut *context.buffers,
        };
        self.resume(&mut context, side, output);
        self.note_gap(&mut context, side, end);
        if self.half(side).held.is_some() {
            self.darken(&mut context, side, Dark::Gap);
        }
        let peer_acked = self.half_mut(side.other()).borders.plaintext(at.peer_acked);
        let half = self.half_mut(side);
        context.counters.darken(Dark::Gap, half.kept());
        half.end();
        half.tell_gap(side, Position { peer_acked, ..at }, output);
        Position { offset: half.plain, peer_acked, time: at.time }
    }

    /// Reads records until the bytes are used up, or something is missing.
    fn run(
        &mut self,
        context: &mut Context<'_>,
        side: Side,
        start: u64,
        times: &Times,
        bytes: &mut [u8],
        output: &mut impl Output,
    ) -> Stop {
        let mut done = 0;
        loop {
            let offset = start + done as u64;
            let rest = bytes.get_mut(done..).unwrap_or_default();
            if rest.is_empty() {
                return Stop::Done;
            }
            let half = self.half_mut(side);
            match &half.phase {
                Phase::Dark(reason) => {
                    context.counters.darken(*reason, rest.len());
                    return Stop::Done;
                }
                Phase::Lost(_) => {
                    return match self.search(context, side, offset, times, rest) {
                        Stop::Wants(_) => Stop::Wants(bytes.len()),
                        other => other,
                    };
                }
                _ => {}
            }
            let header = match half.records.front(rest) {
                Front::Record(header) => header,
                Front::Short => {
                    half.records.keep(rest, &mut context.buffers.spare);
                    return Stop::Done;
                }
                Front::Invalid if matches!(half.phase, Phase::Open(_)) => {
                    let kept = half.records.forget().0;
                    context.counters.darken(Dark::Malformed, kept);
                    self.bad_record(side, offset - kept as u64, offset, Dark::Malformed);
                    continue;
                }
                Front::Invalid => {
                    self.darken(context, side, Dark::Malformed);
                    continue;
                }
            };
            let ready = self.ready(context, side, &header);
            match ready {
                Ready::Go | Ready::Ignore | Ready::Refused => {}
                Ready::Unanswered => match self.told_by_client(context, side, rest) {
                    Told::Early(early) => {
                        self.negotiation.info.early_data = early;
                        continue;
                    }
                    Told::More => return Stop::Hold(done),
                    Told::Wants => return Stop::Wants(done),
                },
                Ready::Hold => return Stop::Hold(done),
                Ready::Wants => return Stop::Wants(done),
                Ready::Dark(reason) => {
                    self.darken(context, side, reason);
                    continue;
                }
            }
            let half = self.half_mut(side);
            let (mut joined, used) = match half.records.take(&header, rest, &mut context.buffers.spare) {
                Taken::Partial => return Stop::Done,
                Taken::InInput => (None, header.record()),
                Taken::Joined(joined, used) => (Some(joined), used),
            };
            done += used;
            let whole = joined.as_mut().map_or(rest, Vec::as_mut_slice);
            let body = whole.get_mut(HEADER..header.record()).unwrap_or_default();
            let end = start + done as u64;
            let Some(at) = times.of(end) else {
                debug_assert!(false, "every byte came at some time");
                return Stop::Done;
            };
            match ready {
                Ready::Go => self.record(context, Record { side, at, end, header, body }, output),
                Ready::Refused => context.counters.early_data += header.record() as u64,
                _ => context.counters.handshake += header.record() as u64,
            }
            if let Some(mut joined) = joined {
                joined.clear();
                context.buffers.spare = joined;
            }
            // What the record decides may let the other side go on, and that comes before what follows here.
            if self.half(side.other()).held.is_some() {
                self.resume(context, side.other(), output);
            }
        }
    }

    /// What to do with the record that has this header. Looks up keys where they are needed.
    fn ready(&mut self, context: &Context<'_>, side: Side, header: &Header) -> Ready {
        let tls13 = self.negotiation.is_tls13();
        let is_data = header.kind == ContentType::ApplicationData;
        let half = self.half(side);
        match (&half.phase, is_data) {
            (Phase::Clear, false) => Ready::Go,
            (Phase::Clear, true) => match (self.negotiation.role(side), self.negotiation.has_hellos()) {
                (None, _) => Ready::Dark(Dark::Midstream),
                (Some(Role::Client), false) if self.negotiation.retried => Ready::Refused,
                (Some(Role::Client), false) => Ready::Hold,
                (Some(Role::Client), true) if self.awaits_early_data() => Ready::Hold,
                (Some(Role::Client), true) if self.info().early_data == Early::Offered => Ready::Unanswered,
                (_, true) if tls13 => {
                    let early = self.is_client(side) && self.info().early_data == Early::Accepted;
                    self.look_up(context, side, if early { Epoch::Early } else { Epoch::Handshake })
                }
                (_, hellos) => Ready::Dark(if half.lossy || !hellos { Dark::Gap } else { Dark::Malformed }),
            },
            // For middleboxes, TLS 1.3 changes a cipher that it does not have; and whoever has no keys yet sends alerts in the clear.
            (Phase::Needs(_) | Phase::Choosing(_), false) if tls13 => Ready::Ignore,
            (Phase::Open(keys), false) if tls13 && keys.epoch == Epoch::Handshake => Ready::Ignore,
            (Phase::Needs(epoch), _) => self.look_up(context, side, *epoch),
            _ => Ready::Go,
        }
    }

    /// Looks up the keys that begin now, or, where these are not known, those that follow them.
    fn look_up(&mut self, context: &Context<'_>, side: Side, epoch: Epoch) -> Ready {
        let mut epochs = vec![epoch];
        let client = self.is_client(side);
        let later = [Epoch::Handshake, Epoch::Application];
        if epoch != Epoch::Tls12 {
            epochs.extend(later.into_iter().filter(|later| *later > epoch));
        }
        for (at, found) in epochs.into_iter().enumerate() {
            match self.negotiation.keys(context, side, found) {
                Ok(candidates) => {
                    let early = client && matches!(self.info().early_data, Early::Rejected | Early::Unknown);
                    let tolerant = at > 0 || (early && found == Epoch::Handshake);
                    self.half_mut(side).phase = Phase::Choosing(Box::new(Choosing { candidates, tolerant, passed: 0 }));
                    return Ready::Go;
                }
                Err(Absence::Missing) => {}
                Err(Absence::NotYet) => return Ready::Dark(Dark::Gap),
                Err(Absence::Dark(reason)) => return Ready::Dark(reason),
            }
        }
        self.half_mut(side).phase = Phase::Needs(epoch);
        context.without_keys.map_or(Ready::Wants, Ready::Dark)
    }

    /// Reads no more of a side.
    fn darken(&mut self, context: &mut Context<'_>, side: Side, reason: Dark) {
        let half = self.half_mut(side);
        if half.dark().is_none() {
            let kept = half.darken(reason);
            context.counters.darken(reason, kept);
        }
    }

    fn darken_both(&mut self, context: &mut Context<'_>, reason: Dark) {
        self.darken(context, Side::First, reason);
        self.darken(context, Side::Second, reason);
    }
}
