//! Isolation: after a failed call, finds the event to blame and has everything else parsed.
//!
//! The guest says which event it was on. That event is tried alone first; if it passes alone, the guest was wrong, and the
//! rest is tried by halves. An event that fails twice alone is condemned: it goes to quarantine, and its connection is
//! ignored from there on. In HTTP/2 it is a gap instead, less than [`MOST_CONDEMNED`] times: the other streams go on. One that runs past its deadline alone is condemned at once: processor time does not depend on
//! what else the machine does, and a second try would cost as much again.
//!
//! All of this is lost time, and after each call the receiver is asked whether to go on.

use super::row::row_input;
use super::{Driver, LoadedParser, Receiver};
use crate::abi::kind;
use crate::batch::{NONE, Slot};
use crate::sandbox::cpu_time::Reading;
use crate::sandbox::fault::Fault;
use crate::sandbox::instance::Instance;
use crate::sandbox::memory;
use crate::sandbox::protocol::{FormatRef, HTTP2};
use crate::sandbox::quarantine::{QuarantinedEvent, Spent};
use crate::stream::{EndReason, Side};

/// With so many condemned events a connection of HTTP/2 is ignored.
const MOST_CONDEMNED: u8 = 3;

/// A range of the failed call's events, to be tried by itself.
struct Part {
    /// The row of each event; events of one row follow one another.
    rows: Vec<u32>,
    /// It is one event, which has failed alone once before.
    again: bool,
    /// The event that the guest says it was on is tried first.
    trust: bool,
}

impl<S: Default> Driver<S> {
    /// Makes an instance of the parser for this format if there is none. Returns whether there is one.
    pub(super) fn ready<R: Receiver<State = S>>(&mut self, format: FormatRef, receiver: &mut R) -> bool {
        let loaded = LoadedParser::find(&mut self.loaded, format);
        if loaded.as_ref().is_some_and(|loaded| loaded.instance.is_some()) {
            return true;
        }
        let started = Reading::now();
        let none = || Fault::Instance("no parser for this state format".into());
        let renewed = loaded.ok_or_else(none).and_then(|loaded| {
            let instance = Instance::new(&loaded.parser).inspect_err(|_| loaded.outcomes.faults += 1)?;
            loaded.instance = Some(instance);
            Ok(())
        });
        let Err(fault) = renewed else {
            self.counters.renewals += 1;
            return true;
        };
        receiver.fault(&fault);
        self.counters.faults += 1;
        // The rest of the slot is dropped in any case.
        let _go_on = self.charge(Some(started), true, receiver);
        false
    }

    /// Drops the instance. Returns the event that it says it was on.
    fn drop_instance(&mut self, format: FormatRef) -> usize {
        let loaded = LoadedParser::find(&mut self.loaded, format);
        let instance = loaded.and_then(|loaded| loaded.instance.take());
        instance.map_or(0, |mut instance| memory::alleged_event(instance.buffers().1))
    }

    /// Tries the events of the failed call in parts until each is parsed or condemned, or the receiver stops it. Returns
    /// whether to go on with the slot.
    pub(super) fn isolate<R: Receiver<State = S>>(
        &mut self,
        slot: &Slot,
        receiver: &mut R,
        format: FormatRef,
        fault: &Fault,
    ) -> bool {
        let mut parts: Vec<Part> = Vec::new();
        let rows = self.call.encoded.iter().map(|encoded| encoded.slot_row).collect();
        let mut go_on = self.split(&mut parts, Part { rows, again: false, trust: true }, format, fault, receiver, slot);
        while let Some(part) = parts.pop() {
            if !go_on || !self.ready(format, receiver) {
                return false;
            }
            let Some(mut encoding) = self.encoding(slot, format) else { return false };
            for same in part.rows.chunk_by(|a, b| a == b) {
                // A part tried before may have handed the connection over, or opened a tunnel in it: what is left of it is
                // for a call of its new format.
                let row = same.first().copied().unwrap_or(NONE);
                encoding.row(row, u32::try_from(same.len()).unwrap_or(1), Some(u32::MAX));
            }
            if self.call.encoded.is_empty() {
                continue;
            }
            go_on = match self.call(slot, format, receiver) {
                Ok(_) => {
                    if part.again {
                        self.counters.unreproduced += 1;
                    } else if part.rows.len() == 1
                        && let Some(next) = parts.last_mut()
                    {
                        // It passes alone: the guest was wrong, or the fault depends on the other events.
                        next.trust = false;
                    }
                    self.charge_call(true, format, receiver)
                }
                Err(fault) => self.split(&mut parts, part, format, &fault, receiver, slot),
            };
        }
        self.timer.steady();
        go_on
    }

    /// Adds what to try next after `part` failed. Returns whether to go on.
    fn split<R: Receiver<State = S>>(
        &mut self,
        parts: &mut Vec<Part>,
        part: Part,
        format: FormatRef,
        fault: &Fault,
        receiver: &mut R,
        slot: &Slot,
    ) -> bool {
        receiver.fault(fault);
        let alone = self.call.encoded.len() <= 1;
        if alone && (part.again || *fault == Fault::Deadline) {
            self.condemn(slot, receiver, fault, format);
            let go_on = self.charge_call(true, format, receiver);
            self.drop_instance(format);
            return go_on;
        }
        let go_on = self.charge_call(true, format, receiver);
        let alleged = self.drop_instance(format);
        if alone {
            let rows = self.call.encoded.iter().map(|encoded| encoded.slot_row).collect();
            parts.push(Part { rows, again: true, trust: false });
            return go_on;
        }
        let Part { mut rows, trust, .. } = part;
        let at = if trust && alleged < rows.len() { alleged } else { rows.len() / 2 };
        let mut behind = rows.split_off(at);
        if trust && !behind.is_empty() {
            let rest = behind.split_off(1);
            parts.push(Part { rows: rest, again: false, trust });
        }
        parts.push(Part { rows: behind, again: false, trust: false });
        parts.push(Part { rows, again: false, trust: false });
        parts.retain(|part| !part.rows.is_empty());
        go_on
    }

    /// The event encoded alone goes to quarantine; its connection is ignored from here on, or goes on behind it.
    fn condemn<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R, fault: &Fault, format: FormatRef) {
        let encoded = self.call.encoded.first().copied();
        let work = encoded.and_then(|encoded| self.works.get(encoded.slot_row as usize).copied());
        let (Some(encoded), Some(work)) = (encoded, work) else {
            debug_assert!(false, "one event of a row is encoded");
            return;
        };
        let bytes = self.call.bytes(&encoded, slot).to_vec();
        let marks = self.call.times(&encoded).iter().filter(|mark| mark.segment && mark.position > 0);
        let marks = marks.map(|mark| mark.position).collect();
        let loaded = LoadedParser::find(&mut self.loaded, format);
        let (Some(loaded), Some(connection)) = (loaded, self.connections.get_mut(work.key)) else {
            debug_assert!(false, "a connection stays until its last event is committed, and a parser while it has any");
            return;
        };
        let given = row_input(connection);
        let (row, extra) = (given.row(), given.extra.to_vec());
        let quarantined = QuarantinedEvent {
            fault: fault.name().to_owned(),
            sha256: loaded.parser.sha256.clone(),
            format: loaded.parser.format,
            protocols: self.call.protocols.clone(),
            connection: connection.info.number,
            spent: Spent {
                growths: connection.extra.as_ref().map_or(0, |extra| extra.growths()),
                hand_overs: connection.hand_over.count,
                unconsumed: connection.hand_over.unconsumed,
            },
            row,
            extra,
            event: encoded.event,
            marks,
            bytes,
        };
        receiver.at(encoded.after.order);
        receiver.quarantine(&quarantined);
        self.counters.condemned += 1;
        self.counters.quarantined += u64::from(encoded.event.len);
        connection.condemned = connection.condemned.saturating_add(1);
        let protocol = self.call.protocols.get(usize::from(format.protocol));
        let goes_on = protocol == Some(&HTTP2) && encoded.event.kind == kind::BYTES;
        if goes_on && connection.condemned < MOST_CONDEMNED {
            let half = connection.half_mut(Side::of(encoded.event.side));
            half.next = half.next.max(encoded.event.offset.saturating_add(u64::from(encoded.event.len)));
            half.stalls = 0;
            if let Some(waiting) = half.waiting.take_if(|_| encoded.took_waiting) {
                self.held.release(&waiting);
            }
            if let Some(work) = self.works.get_mut(encoded.slot_row as usize) {
                work.cursor = encoded.after;
            }
            return;
        }
        let lengths = connection.lengths();
        receiver.closed(&connection.info, &mut connection.state, lengths, EndReason::Fault);
        connection.ignored = true;
        if let Some(extra) = connection.extra.take() {
            self.extras.remove(&extra);
        }
        for (side, half) in [0, 1].into_iter().zip(&mut connection.halves) {
            half.skipped = None;
            let Some(waiting) = half.waiting.take() else { continue };
            let len = waiting.bytes.len() as u64;
            self.held.release(&waiting);
            // What waited on this side is part of the condemned event.
            if !(encoded.took_waiting && side == encoded.event.side) {
                self.counters.ignored += len;
            }
        }
        if encoded.event.kind == kind::END {
            let reason = super::commit::end_reason(encoded.event.reason);
            self.end(work.key, Side::of(encoded.event.side), reason, receiver);
        }
        let ignored = self.pass_over(slot, work.key, encoded.after, receiver);
        self.counters.ignored += ignored;
        if let Some(work) = self.works.get_mut(encoded.slot_row as usize) {
            work.cursor.event = NONE;
        }
    }

    /// Drops the rest of the slot, and counts it, because there is no instance or because it costs too much time. The ends in
    /// it are taken.
    pub(super) fn give_up<R: Receiver<State = S>>(&mut self, slot: &Slot, receiver: &mut R) {
        while self.gather(slot, receiver) {}
        for at in 0..self.works.len() {
            let Some(work) = self.works.get_mut(at) else { continue };
            let (key, cursor) = (work.key, work.cursor);
            work.cursor.event = NONE;
            let dropped = self.pass_over(slot, key, cursor, receiver);
            self.counters.dropped += dropped;
        }
        self.todo.clear();
    }
}
