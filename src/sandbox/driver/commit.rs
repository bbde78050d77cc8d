//! Committing: applies a checked reply to connections, and hands on its records.

use super::encode::Held;
use super::{Driver, FIRST_WINDOW, LoadedParser, Pace, Receiver, SandboxCounters, Work};
use crate::abi::{self, Verdict, kind};
use crate::batch::Slot;
use crate::http::record::{Headers, Kind, Moment, Record, Request, Response, text};
use crate::sandbox::call::{Call, Encoded, Mark, covering};
use crate::sandbox::connection::{ConnectionState, Waiting};
use crate::sandbox::fault::{Fault, ReplyError};
use crate::sandbox::memory::{self, Answer, CheckedRecord, Meaning, Reply};
use crate::stream::{EndReason, Side};

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
        format: u32,
        receiver: &mut R,
    ) -> Result<Pace, Fault> {
        let mut closing = std::mem::take(&mut self.closing);
        let loaded = LoadedParser::find(&mut self.loaded, format);
        let guest = loaded.and_then(|loaded| loaded.instance.as_mut());
        let guest = guest.ok_or_else(|| Fault::Instance("no parser for this state format".into()))?;
        let (input, output) = guest.buffers();
        let (events, bytes) = self.call.finish(input, output);
        self.counters.calls += 1;
        self.counters.events += u64::from(events);
        let called = guest.parse(events, bytes);
        let ticked = guest.first_tick().is_some();
        let (input, output) = guest.buffers();
        let checked = called.and_then(|()| {
            let reply = memory::check(&self.call, output, &mut self.checked).map_err(Fault::Reply)?;
            let pace = pace(&self.call, reply, &self.works, &mut self.connections, ticked).map_err(Fault::Reply)?;
            Ok((reply, pace))
        });
        let (reply, pace) = checked.inspect_err(|_| self.counters.faults += 1)?;
        let mut commit = Commit {
            slot,
            call: &self.call,
            input,
            connections: &mut self.connections,
            works: &mut self.works,
            counters: &mut self.counters,
            held: &mut self.held,
            closing: &mut closing,
            receiver,
        };
        commit.reply(reply);
        for key in closing.drain(..) {
            self.forget(key);
        }
        self.closing = closing;
        Ok(pace)
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
    connections: &mut [Option<Box<ConnectionState<S>>>],
    ticked: bool,
) -> Result<Pace, ReplyError> {
    let full = reply.answers.last().is_some_and(|answer| answer.verdict == Verdict::OutputFull);
    if let (true, [answer], Some(encoded)) = (full, reply.answers, call.encoded.first())
        && answer.consumed == 0
        && let Some(work) = works.get(encoded.slot_row as usize)
        && let Some(Some(connection)) = connections.get_mut(work.key as usize)
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
    connections: &'a mut Vec<Option<Box<ConnectionState<S>>>>,
    works: &'a mut Vec<Work>,
    counters: &'a mut SandboxCounters,
    held: &'a mut Held,
    closing: &'a mut Vec<u32>,
    receiver: &'a mut R,
}

impl<S, R: Receiver<State = S>> Commit<'_, S, R> {
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
                work.window = FIRST_WINDOW;
                continue;
            }
            // Two more for each accepted event: work thrown away by a deferral stays in proportion to work kept.
            work.window = work.window.saturating_add(2);
            // An event without bytes whose answer did not fit is presented again as it is.
            let back = answer.verdict == Verdict::OutputFull && encoded.event.kind != kind::BYTES;
            if !back {
                work.cursor = encoded.after;
            }
            let Some(Some(connection)) = self.connections.get_mut(key as usize) else {
                debug_assert!(false, "a connection stays until its last event is committed");
                return;
            };
            if encoded.first_of_row
                && let Some(block) = Call::block(self.input, encoded.event.row)
            {
                connection.block = *block;
            }
            let bytes = self.call.bytes(encoded, self.slot);
            while let Some(record) = records.next_if(|record| record.fields.event == index) {
                let record = resolve(&record, encoded, self.call.times(encoded), bytes, reply.pairs, connection);
                self.receiver.record(&connection.info, &mut connection.state, &record);
            }
            if !back {
                self.half(encoded, answer, bytes, key);
            }
        }
    }

    fn half(&mut self, encoded: &Encoded, answer: &Answer, bytes: &[u8], key: u32) {
        let Some(Some(connection)) = self.connections.get_mut(key as usize) else {
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
            self.held.memory -= waiting.memory();
            self.held.bytes -= waiting.bytes.len() as u64;
        }
        if matches!(answer.verdict, Verdict::NeedMore | Verdict::OutputFull) {
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
                self.receiver.skip(&connection.info, side, answer.skip);
            }
        }
        if event.kind == kind::END {
            connection.half_mut(side).ended = true;
            if connection.halves.iter().all(|half| half.ended) {
                let reason = end_reason(event.reason);
                self.receiver.closed(&connection.info, &mut connection.state, reason);
                self.closing.push(key);
            }
        }
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

/// A record with its positions turned into texts and moments.
fn resolve<'a, S>(
    record: &CheckedRecord<'_>,
    encoded: &Encoded,
    marks: &[Mark],
    bytes: &'a [u8],
    pairs: &'a [abi::Pair],
    connection: &ConnectionState<S>,
) -> Record<'a> {
    let event = &encoded.event;
    let CheckedRecord { meaning, fields } = *record;
    let first = covering(marks, fields.start);
    // The packet that carried the last byte, not the next one.
    let last = covering(marks, fields.end.saturating_sub(1));
    let before = connection.half(Side::of(event.side)).last_time;
    // A message that ends with its side, or before the first byte of an event (in a gap), ended with the last byte seen.
    let ended_before = meaning == Meaning::End && fields.end == 0 && event.kind != kind::VOID && before != 0;
    let time = |mark: Option<&Mark>| if ended_before { before } else { mark.map_or(0, |mark| mark.time) };
    let offset = event.offset + event.length;
    let start = Moment { offset: offset + u64::from(fields.start), time: time(first) };
    let end = Moment { offset: offset + u64::from(fields.end), time: time(last) };
    let &abi::Record { number, minor, content_length, .. } = fields;
    let from = fields.first_pair as usize;
    let headers = Headers::new(bytes, pairs.get(from..from + fields.num_pairs as usize).unwrap_or_default());
    let kind = match meaning {
        Meaning::Request(framing) => Kind::Request(Request {
            number,
            method: text(bytes, fields.text, fields.text_len),
            target: text(bytes, fields.target, fields.target_len),
            minor,
            framing,
            content_length,
            headers,
        }),
        Meaning::Response(framing) => Kind::Response(Response {
            number,
            status: fields.code,
            reason: text(bytes, fields.text, fields.text_len),
            minor,
            framing,
            content_length,
            headers,
        }),
        Meaning::End => Kind::End { number, wire: content_length, decoded: fields.decoded, lost: fields.lost },
        Meaning::Tunnel(protocol) => Kind::Tunnel { number, protocol },
        Meaning::NotHttp(protocol) => Kind::NotHttp(protocol),
        Meaning::Error(error) => Kind::Error(error),
    };
    let acked = first.map_or(event.peer_acked, |mark| mark.peer_acked);
    let peer_acked = (acked != abi::UNKNOWN).then_some(acked);
    Record { side: fields.side, flags: fields.flags, start, end, peer_acked, kind }
}
