//! Committing: takes over what a checked reply says.

use super::encode::Held;
use super::{Driver, FIRST_WINDOW, LoadedParser, Pace, Receiver, SandboxCounters, Work};
use crate::abi::{self, kind, record, verdict};
use crate::batch::Slot;
use crate::http::record::{Headers, Kind, Moment, Record, Request, Response, text};
use crate::sandbox::call::{Call, Encoded, Mark, covering};
use crate::sandbox::connection::{ConnectionState, Waiting};
use crate::sandbox::fault::{Fault, ReplyError};
use crate::sandbox::memory::{self, Reply};
use crate::stream::{EndReason, Side};

/// How often in a row an event may be presented without a byte of it being consumed. The host presents it again because
/// the output was full, and an empty output holds what the guest has to say of any one byte or end: an honest guest needs
/// one such round, for an end or a skipped. More are allowed in case a guest says it in pieces; the number is arbitrary.
pub const MAX_STALLS: u8 = 64;
/// A skip that leaves out less than this is not worth a message to the capture thread.
const WORTH_TELLING: u64 = 4096;

impl<S: Default> Driver<S> {
    /// Runs the call that is encoded, checks the reply, and takes it over.
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
        let (events, bytes) = self.call.finish(guest);
        self.counters.calls += 1;
        self.counters.events += u64::from(events);
        let called = guest.parse(events, bytes);
        let ticked = guest.first_tick().is_some();
        let (input, output) = guest.buffers();
        let checked = called.and_then(|()| {
            let reply = memory::check(&self.call, output).map_err(Fault::Reply)?;
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

/// How a call got on. Nowhere, if the first event is all that was answered, and nothing of it is consumed: that is counted
/// with the event's side, whichever calls and slots it comes in. Any other reply is done with an event, lets one wait, or
/// consumes a byte, and each of these comes to an end.
///
/// # Errors
/// It got nowhere too often.
fn pace<S>(
    call: &Call,
    reply: Reply<'_>,
    works: &[Work],
    connections: &mut [Option<Box<ConnectionState<S>>>],
    ticked: bool,
) -> Result<Pace, ReplyError> {
    let full = reply.results.last().is_some_and(|result| result.verdict == verdict::OUTPUT_FULL);
    if let (true, [result], Some(encoded)) = (full, reply.results, call.encoded.first())
        && result.consumed == 0
        && let Some(work) = works.get(encoded.slot_row as usize)
        && let Some(Some(connection)) = connections.get_mut(work.key as usize)
    {
        let stalls = &mut connection.half_mut(Side::of(encoded.event.side)).stalls;
        if *stalls >= MAX_STALLS {
            return Err(ReplyError::Stalled);
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
        let mut records = reply.records;
        self.counters.records += records.len() as u64;
        for ((index, encoded), result) in (0..).zip(&self.call.encoded).zip(reply.results) {
            let about = records.iter().take_while(|record| record.event == index).count();
            let Some((now, later)) = records.split_at_checked(about) else { return };
            records = later;
            let Some(work) = self.works.get_mut(encoded.slot_row as usize) else { continue };
            let key = work.key;
            if result.verdict == verdict::DEFERRED {
                work.window = FIRST_WINDOW;
                continue;
            }
            // Two more for each accepted event: work thrown away by a deferral stays in proportion to work kept.
            work.window = work.window.saturating_add(2);
            // An event without bytes that did not fit comes back as it is.
            let back = result.verdict == verdict::OUTPUT_FULL && encoded.event.kind != kind::BYTES;
            if !back {
                work.cursor = encoded.after;
            }
            let Some(Some(connection)) = self.connections.get_mut(key as usize) else { continue };
            if encoded.first_of_row
                && let Some(block) = Call::block(self.input, encoded.event.row)
            {
                connection.block = *block;
            }
            let bytes = self.call.bytes(encoded, self.slot);
            for record in now {
                let record = resolve(record, encoded, self.call.times(encoded), bytes, reply.pairs, connection);
                self.receiver.record(&connection.info, &mut connection.state, &record);
            }
            if !back {
                self.half(encoded, result, bytes, key);
            }
        }
    }

    fn half(&mut self, encoded: &Encoded, result: &abi::Result, bytes: &[u8], key: u32) {
        let Some(Some(connection)) = self.connections.get_mut(key as usize) else { return };
        let event = &encoded.event;
        self.counters.parsed += u64::from(result.consumed);
        let side = Side::of(event.side);
        let half = connection.half_mut(side);
        if result.verdict != verdict::OUTPUT_FULL || result.consumed > 0 {
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
        if matches!(result.verdict, verdict::NEED_MORE | verdict::OUTPUT_FULL) {
            let mut waiting = reusable.unwrap_or_default();
            hold(&mut waiting, encoded, result, bytes, self.call.times(encoded));
            self.held.memory += waiting.memory();
            self.held.bytes += waiting.bytes.len() as u64;
            half.waiting = Some(waiting);
            return;
        }
        if result.skip > half.skip {
            half.skip = result.skip;
            if result.skip - end >= WORTH_TELLING {
                self.receiver.skip(&connection.info, side, result.skip);
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
fn hold(waiting: &mut Waiting, encoded: &Encoded, result: &abi::Result, bytes: &[u8], marks: &[Mark]) {
    let consumed = result.consumed;
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
    let needs = result.verdict == verdict::NEED_MORE;
    // What did not fit the output has not been looked at.
    waiting.seen = if needs { u32::try_from(rest.len()).unwrap_or(0) } else { 0 };
    waiting.wake = (needs && result.wake == 1).then_some(result.wake_byte);
    waiting.again = !needs;
    waiting.last = !needs && encoded.event.flags & abi::event_flag::FINAL != 0;
}

pub(super) const fn end_reason(reason: u8) -> EndReason {
    match reason {
        abi::reason::FIN => EndReason::Fin,
        abi::reason::RESET => EndReason::Reset,
        abi::reason::TIMEOUT => EndReason::Timeout,
        abi::reason::EVICTED => EndReason::Evicted,
        abi::reason::REUSED => EndReason::Reused,
        _ => EndReason::Capture,
    }
}

/// A record with its positions turned into texts and moments.
fn resolve<'a, S>(
    record: &abi::Record,
    encoded: &Encoded,
    marks: &[Mark],
    bytes: &'a [u8],
    pairs: &'a [abi::Pair],
    connection: &ConnectionState<S>,
) -> Record<'a> {
    let event = &encoded.event;
    let first = covering(marks, record.start);
    // The packet that carried the last byte, not the one behind it.
    let last = covering(marks, record.end.saturating_sub(1));
    let before = connection.half(Side::of(event.side)).last_time;
    // A message that ends with its side, or before the first byte of an event (in a gap), ended with the last byte that came.
    let ended_before = record.kind == record::END && record.end == 0 && event.kind != kind::VOID && before != 0;
    let time = |mark: Option<&Mark>| if ended_before { before } else { mark.map_or(0, |mark| mark.time) };
    let offset = event.offset + event.length;
    let start = Moment { offset: offset + u64::from(record.start), time: time(first) };
    let end = Moment { offset: offset + u64::from(record.end), time: time(last) };
    let from = record.first_pair as usize;
    let headers = Headers::new(bytes, pairs.get(from..from + record.num_pairs as usize).unwrap_or_default());
    let kind = match record.kind {
        record::REQUEST => Kind::Request(Request {
            number: record.number,
            method: text(bytes, record.text, record.text_len),
            target: text(bytes, record.target, record.target_len),
            minor: record.minor,
            framing: record.framing,
            content_length: record.content_length,
            headers,
        }),
        record::RESPONSE => Kind::Response(Response {
            number: record.number,
            status: record.code,
            reason: text(bytes, record.text, record.text_len),
            minor: record.minor,
            framing: record.framing,
            content_length: record.content_length,
            headers,
        }),
        record::END => {
            Kind::End { number: record.number, wire: record.content_length, decoded: record.decoded, lost: record.lost }
        }
        record::TUNNEL => Kind::Tunnel { number: record.number, code: record.code },
        record::NOT_HTTP => Kind::NotHttp(record.code),
        _ => Kind::Error(record.code),
    };
    let acked = first.map_or(event.peer_acked, |mark| mark.peer_acked);
    let peer_acked = (acked != abi::UNKNOWN).then_some(acked);
    Record { side: record.side, flags: record.flags, start, end, peer_acked, kind }
}
