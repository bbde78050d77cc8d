//! Committing: applies a checked reply to connections, and hands on its records.

use super::aside::Aside;
use super::connections::Connections;
use super::encode::Held;
use super::{Driver, LoadedParser, Pace, Receiver, SandboxCounters, Work};
use crate::abi::{self, Tunnel, Verdict, kind};
use crate::batch::Slot;
use crate::http::record::{Headers, Kind, Moment, Operation, Outcome, Record, Request, Response, Texts};
use crate::sandbox::call::{Call, Encoded, Mark, covering};
use crate::sandbox::connection::{ConnectionState, HandOver, Waiting};
use crate::sandbox::extra::Extras;
use crate::sandbox::fault::{Fault, ReplyError};
use crate::sandbox::memory::{self, Answer, CheckedRecord, Meaning, Reply};
use crate::sandbox::protocol::{ENTRY, FormatRef, Protocol};
use crate::stream::{EndReason, Endpoint, Side, acked_inside};

/// How often in a row an event may be presented without a byte of it being consumed. The host presents it again because
/// the output was full. An empty output has room for all that a guest can say about one byte or end, so an honest guest
/// needs one such round, for an end or a skipped range. More are allowed for a guest that says it in pieces; the number is
/// arbitrary.
pub const MAX_STALLS: u8 = 64;
/// A skip of fewer bytes is not worth a hint to the capture thread.
const LEAST_HINT: u64 = 4096;

impl<S: Default> Driver<S> {
    /// Runs the encoded call, checks the reply, and commits it.
    pub(super) fn call<R: Receiver<State = S>>(
        &mut self,
        slot: &Slot,
        format: FormatRef,
        receiver: &mut R,
    ) -> Result<Pace, Fault> {
        let mut closing = std::mem::take(&mut self.closing);
        let loaded = LoadedParser::find(&mut self.loaded, format);
        let guest = loaded.and_then(|loaded| Some((loaded.instance.as_mut()?, &mut loaded.outcomes)));
        let (guest, outcomes) = guest.ok_or_else(|| Fault::Instance("no parser for this state format".into()))?;
        let (input, output) = guest.buffers();
        let (events, bytes) = self.call.finish(input, output);
        self.counters.calls += 1;
        outcomes.calls += 1;
        self.counters.events += u64::from(events);
        let called = guest.parse(events, bytes);
        let ticked = guest.first_tick().is_some();
        let (input, output) = guest.buffers();
        let checked = called.and_then(|()| {
            let reply = memory::check(&self.call, input, output, &mut self.checked).map_err(Fault::Reply)?;
            let pace = pace(&self.call, reply, &self.works, &mut self.connections, ticked).map_err(Fault::Reply)?;
            Ok((reply, pace))
        });
        let (reply, pace) = checked.inspect_err(|_| {
            self.counters.faults += 1;
            outcomes.faults += 1;
        })?;
        let mut commit = Commit {
            slot,
            call: &self.call,
            input,
            connections: &mut self.connections,
            works: &mut self.works,
            counters: &mut self.counters,
            held: &mut self.held,
            extras: &mut self.extras,
            loaded: &self.modules,
            closing: &mut closing,
            aside: self.aside.as_mut(),
            receiver,
        };
        let before = commit.aside.as_ref().map_or(0, |aside| aside.len());
        commit.reply(reply);
        if self.sample == 1 {
            let new = self.aside.iter().flat_map(|aside| aside.iter().skip(before));
            self.counters.bytes_in -= new.map(Aside::bytes).sum::<u64>();
        }
        for key in closing.drain(..) {
            self.forget(key);
        }
        self.closing = closing;
        self.drop_excess();
        Ok(pace)
    }

    /// Drops extra state beyond the limit, the longest unused first.
    fn drop_excess(&mut self) {
        while let Some(key) = self.extras.excess() {
            let extra = self.connections.get_mut(key).and_then(|connection| connection.extra.as_mut());
            let Some(extra) = extra else {
                debug_assert!(false, "a connection takes its extra state with it");
                return;
            };
            self.extras.drop_bytes(extra);
            self.counters.extra_dropped += 1;
        }
    }
}

/// How much a call achieved. It stalls if it answers only its first event and consumes nothing of it; that is counted with
/// the event's side, across calls and slots. Any other reply finishes an event, lets one wait, or consumes a byte, and each
/// of these happens a bounded number of times.
///
/// # Errors
/// The side has stalled too often.
fn pace<S>(
    call: &Call,
    reply: Reply<'_>,
    works: &[Work],
    connections: &mut Connections<S>,
    ticked: bool,
) -> Result<Pace, ReplyError> {
    let full = reply.answers.last().is_some_and(|answer| answer.verdict == Verdict::OutputFull);
    if let (true, [answer], Some(encoded)) = (full, reply.answers, call.encoded.first())
        && answer.consumed == 0
        && let Some(work) = works.get(encoded.slot_row as usize)
        && let Some(connection) = connections.get_mut(work.key)
    {
        let stalls = &mut connection.half_mut(Side::of(encoded.event.side)).stalls;
        if *stalls >= MAX_STALLS {
            return Err(ReplyError::STALLED);
        }
        *stalls += 1;
        return Ok(Pace::Stalled);
    }
    Ok(if full || ticked { Pace::Slow } else { Pace::Steady })
}

struct Commit<'a, S, R> {
    slot: &'a Slot,
    call: &'a Call,
    input: &'a [u8],
    connections: &'a mut Connections<S>,
    works: &'a mut Vec<Work>,
    counters: &'a mut SandboxCounters,
    held: &'a mut Held,
    extras: &'a mut Extras,
    /// Of each protocol, in order: the format that new connections get, and its first window.
    loaded: &'a [(FormatRef, u32)],
    closing: &'a mut Vec<u32>,
    aside: Option<&'a mut Vec<Aside>>,
    receiver: &'a mut R,
}

impl<S: Default, R: Receiver<State = S>> Commit<'_, S, R> {
    fn reply(&mut self, reply: Reply<'_>) {
        let mut records = reply.records().peekable();
        self.counters.records += records.len() as u64;
        for ((index, encoded), answer) in (0..).zip(&self.call.encoded).zip(reply.answers) {
            let Some(work) = self.works.get_mut(encoded.slot_row as usize) else {
                debug_assert!(false, "an event is encoded for a row of the slot");
                return;
            };
            let key = work.key;
            if answer.verdict == Verdict::Deferred {
                work.window = self.connections.get(key).map_or(1, |connection| connection.first_window);
                continue;
            }
            // Two more for each accepted event: work thrown away by a deferral stays in proportion to work kept.
            work.window = work.window.saturating_add(2);
            // An event without bytes whose answer did not fit is presented again as it is.
            let back = answer.verdict == Verdict::OutputFull && encoded.event.kind != kind::BYTES;
            if !back {
                work.cursor = encoded.after;
            }
            let Some(connection) = self.connections.get_mut(key) else {
                debug_assert!(false, "a connection stays until its last event is committed");
                return;
            };
            if encoded.first_of_row {
                take_state(self.call, self.input, encoded.event.row, key, connection, self.extras);
            }
            connection.hand_over.unconsumed &= answer.consumed == 0;
            self.receiver.at(encoded.after.order);
            let bytes = self.call.bytes(encoded, self.slot);
            let mut tunnel = None;
            while let Some(record) = records.next_if(|record| record.fields.event == index) {
                let record = resolve(
                    &record,
                    encoded,
                    self.call.times(encoded),
                    bytes,
                    &reply,
                    connection.half(Side::of(encoded.event.side)).last_time,
                    self.call.protocols.get(usize::from(connection.format.protocol)),
                );
                self.receiver.record(&connection.info, &mut connection.state, &record);
                if let Kind::Tunnel { kind, client, .. } = record.kind {
                    tunnel = Some(Opened { kind, client, side: Side::of(record.side) });
                }
            }
            if back {
                continue;
            }
            self.half(encoded, answer, bytes, key);
            match answer.verdict {
                Verdict::Grow => self.grow(key, answer.grow),
                Verdict::HandOver => self.hand_over(encoded, key, answer.hand_to),
                Verdict::Inner => self.inner(encoded, key, tunnel),
                Verdict::Done | Verdict::NeedMore | Verdict::OutputFull | Verdict::Deferred => {}
            }
        }
    }

    /// Grants extra state, or says so.
    fn grow(&mut self, key: u32, size: u32) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let granted = self.extras.grow(connection.extra.get_or_insert_default(), size);
        *(if granted { &mut self.counters.extra_granted } else { &mut self.counters.extra_refused }) += 1;
    }

    /// The module of another protocol goes on.
    fn hand_over(&mut self, encoded: &Encoded, key: u32, protocol: u8) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(&(format, first_window)) = self.loaded.get(usize::from(protocol)) else {
            debug_assert!(false, "the index of the protocol was checked");
            return;
        };
        self.receiver.turned(&connection.info);
        connection.hand_over = HandOver {
            count: connection.hand_over.count.saturating_add(1),
            by: connection.format.protocol.saturating_add(1),
            unseen: true,
            unconsumed: true,
        };
        (connection.format, connection.first_window) = (format, first_window);
        if let Some(extra) = connection.extra.take() {
            self.extras.remove(&extra);
        }
        for half in &mut connection.halves {
            half.present_anew();
        }
        if let Some(work) = self.works.get_mut(encoded.slot_row as usize) {
            work.window = first_window;
        }
        self.counters.handed_over += 1;
    }

    /// What is not consumed, and all that comes, is a stream of its own.
    fn inner(&mut self, encoded: &Encoded, key: u32, opened: Option<Opened>) {
        let (Some(connection), Some(&(format, first_window))) = (self.connections.get_mut(key), self.loaded.first())
        else {
            return;
        };
        let Some(Opened { kind, client, side }) = opened else {
            debug_assert!(false, "that a record announces it was checked");
            return;
        };
        self.receiver.turned(&connection.info);
        let mut info = connection.info.inner();
        let relay = client.and_then(|_| info.endpoints.get(side.index())).copied();
        if let (Some(endpoint), Some(client)) = (info.endpoints.get_mut(side.index()), client) {
            *endpoint = client;
        }
        let mut inner = ConnectionState::new(info, format, first_window);
        inner.outer = Some(key);
        inner.state = self.receiver.inner((&connection.info, &mut connection.state), kind, relay);
        let halves = connection.halves.iter_mut().zip(&mut inner.halves);
        for ((outer, half), (base, outer_base)) in halves.zip(inner.base.iter_mut().zip(connection.base)) {
            let start = outer.waiting.as_ref().map_or(outer.next, |waiting| waiting.offset);
            *base = outer_base.saturating_add(start);
            *half = std::mem::take(outer);
            half.present_anew();
            half.next = half.next.saturating_sub(start);
            half.abandoned = half.abandoned.saturating_sub(start);
            if let Some(waiting) = &mut half.waiting {
                waiting.offset = waiting.offset.saturating_sub(start);
            }
        }
        let [first, second] = inner.base;
        let [first_before, second_before] = connection.base;
        let by = [second - second_before, first - first_before];
        for (half, by) in inner.halves.iter_mut().zip(by) {
            for mark in half.waiting.iter_mut().flat_map(|waiting| &mut waiting.marks) {
                mark.peer_acked = acked_inside(mark.peer_acked, by);
            }
        }
        if let (Some(aside), Some(work)) = (&mut self.aside, self.works.get_mut(encoded.slot_row as usize)) {
            aside.extend(Aside::take(self.slot, encoded.slot_row, work, &mut inner, self.held));
        }
        let inner = self.connections.insert(inner);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.inner = Some(inner);
            // Its module is shown nothing more of it.
            if let Some(extra) = connection.extra.take() {
                self.extras.remove(&extra);
            }
        }
        if let Some(work) = self.works.get_mut(encoded.slot_row as usize) {
            (work.key, work.window) = (inner, first_window);
        }
        self.counters.inner_begun += 1;
    }

    fn half(&mut self, encoded: &Encoded, answer: &Answer, bytes: &[u8], key: u32) {
        let Some(connection) = self.connections.get_mut(key) else {
            debug_assert!(false, "the connection was found before its records");
            return;
        };
        let event = &encoded.event;
        self.counters.parsed += u64::from(answer.consumed);
        let side = Side::of(event.side);
        let half = connection.half_mut(side);
        if answer.verdict != Verdict::OutputFull || answer.consumed > 0 {
            half.stalls = 0;
        }
        let end = event.offset.saturating_add(u64::from(event.len)).saturating_add(event.length);
        half.next = half.next.max(end);
        if event.kind != kind::END {
            half.last_time = self.call.times(encoded).last().map_or(half.last_time, |mark| mark.time);
        }
        if event.kind == kind::VOID {
            half.skipped = None;
        }
        let reusable = if encoded.took_waiting { half.waiting.take() } else { None };
        if let Some(waiting) = &reusable {
            self.held.release(waiting);
        }
        let keeps = match answer.verdict {
            Verdict::NeedMore | Verdict::OutputFull | Verdict::Grow => true,
            Verdict::HandOver | Verdict::Inner => answer.consumed < event.len,
            Verdict::Done | Verdict::Deferred => false,
        };
        if keeps {
            let mut waiting = reusable.unwrap_or_default();
            hold(&mut waiting, encoded, answer, bytes, self.call.times(encoded));
            self.held.memory += waiting.memory();
            self.held.bytes += waiting.bytes.len() as u64;
            half.waiting = Some(waiting);
            return;
        }
        if answer.skip > half.skip {
            half.skip = answer.skip;
            if answer.skip - end >= LEAST_HINT {
                let upto = connection.base.get(side.index()).map_or(0, |base| base.saturating_add(answer.skip));
                self.receiver.skip(&connection.info, side, upto);
            }
        }
        if event.kind == kind::END {
            connection.half_mut(side).ended = true;
            if connection.halves.iter().all(|half| half.ended) {
                self.connections.close(key, end_reason(event.reason), self.receiver, self.closing);
            }
        }
    }
}

/// A tunnel that a record has announced.
struct Opened {
    kind: Tunnel,
    client: Option<Endpoint>,
    /// The side that announced it: of a PROXY header, the client's.
    side: Side,
}

/// Takes back what the guest has left of its state.
fn take_state<S>(
    call: &Call,
    input: &[u8],
    row: u32,
    key: u32,
    connection: &mut ConnectionState<S>,
    extras: &mut Extras,
) {
    let Some(left) = Call::row_after(input, row) else {
        debug_assert!(false, "a row lies in the input buffer");
        return;
    };
    connection.block = left.block;
    connection.hand_over.unseen = false;
    if let Some(extra) = &mut connection.extra {
        extras.keep(key, extra, call.extra_after(input, row));
    }
}

/// Keeps the unconsumed rest of an event.
fn hold(waiting: &mut Waiting, encoded: &Encoded, answer: &Answer, bytes: &[u8], marks: &[Mark]) {
    let consumed = answer.consumed;
    let rest = bytes.get(consumed as usize..).unwrap_or_default();
    waiting.bytes.clear();
    waiting.bytes.extend_from_slice(rest);
    waiting.offset = encoded.event.offset + u64::from(consumed);
    waiting.marks.clear();
    if let Some(first) = covering(marks, consumed) {
        waiting.marks.push(Mark { position: 0, segment: first.segment && first.position == consumed, ..*first });
    }
    let later = marks.iter().filter(|mark| mark.position > consumed);
    waiting.marks.extend(later.map(|mark| Mark { position: mark.position - consumed, ..*mark }));
    let needs = answer.verdict == Verdict::NeedMore;
    // After output_full the guest has not read the rest.
    waiting.seen = if needs { u32::try_from(rest.len()).unwrap_or(0) } else { 0 };
    waiting.wake = answer.wake;
    waiting.again = !needs;
    waiting.last = !needs && encoded.event.flags & abi::event_flag::FINAL != 0;
}

/// The reason that the host has encoded in an event.
pub(super) const fn end_reason(reason: u8) -> EndReason {
    match reason {
        abi::reason::FIN => EndReason::Fin,
        abi::reason::RESET => EndReason::Reset,
        abi::reason::TIMEOUT => EndReason::Timeout,
        abi::reason::EVICTED => EndReason::Evicted,
        abi::reason::REUSED => EndReason::Reused,
        _ => {
            debug_assert!(reason == abi::reason::CAPTURE, "the host has encoded a known reason");
            EndReason::Capture
        }
    }
}

/// A record with its positions turned into texts and moments. `before`: time of the last byte of its side before the event.
#[inline(always)]
fn resolve<'a>(
    record: &CheckedRecord<'_>,
    encoded: &Encoded,
    marks: &[Mark],
    bytes: &'a [u8],
    reply: &Reply<'a>,
    before: i64,
    protocol: Option<&'a Protocol>,
) -> Record<'a> {
    let event = &encoded.event;
    let CheckedRecord { meaning, fields } = *record;
    let first = covering(marks, fields.start);
    // The packet that carried the last byte, not the next one. What has no length, and is no end of a message, is where it begins.
    let last = fields.end.saturating_sub(1).max(if meaning == Meaning::End { 0 } else { fields.start });
    let last = covering(marks, last);
    // A message that ends with its side, or before the first byte of an event (in a gap), ended with the last byte seen.
    let ended_before = meaning == Meaning::End && fields.end == 0 && event.kind != kind::VOID && before != 0;
    let time = |mark: Option<&Mark>| if ended_before { before } else { mark.map_or(0, |mark| mark.time) };
    let offset = event.offset + event.length;
    let start = Moment { offset: offset + u64::from(fields.start), time: time(first) };
    let end = Moment { offset: offset + u64::from(fields.end), time: time(last) };
    let &abi::Record { number, minor, content_length, .. } = fields;
    let texts = Texts { event: bytes, area: reply.text };
    let text = || texts.get(fields.text, fields.text_len);
    let target = || texts.get(fields.target, fields.target_len);
    let from = fields.first_pair as usize;
    let pairs = || reply.pairs.get(from..from + fields.num_pairs as usize).unwrap_or_default();
    let headers = || Headers::new(texts, pairs());
    let acked = first.map_or(event.peer_acked, |mark| mark.peer_acked);
    let peer_acked = (acked != abi::UNKNOWN).then_some(acked);
    // Built where it stays: of all that is copied for a record, its kind is the most.
    Record {
        side: fields.side,
        flags: fields.flags,
        stream: fields.stream,
        start,
        end,
        peer_acked,
        kind: match meaning {
            Meaning::Request(framing) => Kind::Request(Request {
                number,
                method: text(),
                target: target(),
                minor,
                framing,
                content_length,
                headers: headers(),
            }),
            Meaning::Response(framing) => Kind::Response(Response {
                number,
                status: fields.code,
                reason: text(),
                minor,
                framing,
                content_length,
                headers: headers(),
            }),
            Meaning::End => {
                let messages = fields.target_len.checked_sub(1);
                Kind::End { number, wire: content_length, decoded: fields.decoded, lost: fields.lost, messages }
            }
            Meaning::Tunnel(kind) => Kind::Tunnel { number, kind, client: endpoint(text()), target: target() },
            Meaning::NotHttp(protocol) => Kind::NotHttp(protocol),
            Meaning::Error(error) => Kind::Error(error),
            Meaning::Trailers => Kind::Trailers { number, fields: headers() },
            Meaning::Reset => Kind::Reset { number, code: content_length },
            Meaning::Operation => {
                // The operations of the module that every connection starts with are those of SOCKS.
                let protocol = protocol.map_or("", |known| if *known == ENTRY { "socks" } else { known.name() });
                Kind::Operation(Operation { number, protocol, name: text(), target: target(), pairs: headers() })
            }
            Meaning::Body => {
                let range = fields.start as usize..fields.end as usize;
                Kind::Body { number, before: fields.decoded, bytes: bytes.get(range).unwrap_or_default() }
            }
            Meaning::Outcome => Kind::Outcome(Outcome { number, status: text(), pairs: headers() }),
        },
    }
}

/// The endpoint that a text of address and port names.
fn endpoint(text: &[u8]) -> Option<Endpoint> {
    let address: std::net::SocketAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(Endpoint { ip: address.ip(), port: address.port() })
}
