//! A host for one connection: keeps what waits, defers, skips and presents again as the contract requires, and collects the
//! guest's records with absolute offsets.

use std::collections::VecDeque;
use std::fmt::Write;

use picotap::abi;
use zerocopy::FromZeros;

use crate::module::{Event, Module, Reply};

/// Something that happens on a side.
#[derive(Clone)]
pub(crate) enum Happens {
    /// A segment.
    Bytes(u8, Vec<u8>),
    /// The rest of a segment: no start of one.
    More(u8, Vec<u8>),
    /// Bytes that were never seen.
    Gap(u8, u64),
    /// At most so many bytes that were never seen.
    Inexact(u8, u64),
    /// Bytes that were seen, and dropped for lack of time.
    Shed(u8, u64),
    End(u8, u8),
    /// From here on the other side's acknowledgements are known: everything so far, or up to an offset.
    Acks(u8, Option<u64>),
}

impl std::fmt::Debug for Happens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(side, bytes) => write!(f, "Bytes({side}, b\"{}\".to_vec())", bytes.escape_ascii()),
            Self::More(side, bytes) => write!(f, "More({side}, b\"{}\".to_vec())", bytes.escape_ascii()),
            Self::Gap(side, lost) => write!(f, "Gap({side}, {lost})"),
            Self::Inexact(side, lost) => write!(f, "Inexact({side}, {lost})"),
            Self::Shed(side, lost) => write!(f, "Shed({side}, {lost})"),
            Self::End(side, reason) => write!(f, "End({side}, {reason})"),
            Self::Acks(side, upto) => write!(f, "Acks({side}, {upto:?})"),
        }
    }
}

pub(crate) fn c(bytes: impl AsRef<[u8]>) -> Happens {
    Happens::Bytes(0, bytes.as_ref().to_vec())
}

pub(crate) fn s(bytes: impl AsRef<[u8]>) -> Happens {
    Happens::Bytes(1, bytes.as_ref().to_vec())
}

pub(crate) fn fin(side: u8) -> Happens {
    Happens::End(side, abi::reason::FIN)
}

pub(crate) fn reset(side: u8) -> Happens {
    Happens::End(side, abi::reason::RESET)
}

pub(crate) fn gap(side: u8, bytes: u64) -> Happens {
    Happens::Gap(side, bytes)
}

/// Choices of the host, none of which may change the records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) events_per_call: usize,
    pub(crate) max_records: u32,
    pub(crate) max_pairs: u32,
    pub(crate) skips: bool,
    pub(crate) wakes: bool,
    pub(crate) midstream: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { events_per_call: 1, max_records: 64, max_pairs: 1024, skips: false, wakes: true, midstream: false }
    }
}

/// A record with its texts, and its offsets in the side's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) record: abi::Record,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) text: String,
    pub(crate) target: String,
    pub(crate) pairs: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
struct Pending {
    side: u8,
    kind: u8,
    reason: u8,
    flags: u8,
    offset: u64,
    /// What the sender had acknowledged, from an offset on.
    acked: Vec<(u64, u64)>,
    bytes: Vec<u8>,
    starts: Vec<u64>,
    length: u64,
    lost: u64,
    /// Bytes of the gap before it that were shed.
    shed: u64,
    /// Bytes at the front that were presented before, and answered *need more*.
    seen: usize,
}

/// A range that the guest skips, of which `seen` bytes were captured.
#[derive(Debug, Clone, Copy)]
struct Skip {
    from: u64,
    to: u64,
    seen: u64,
    /// What was lost is at most as long as it says.
    inexact: bool,
}

#[derive(Debug, Default)]
struct Side {
    /// Next offset of the stream.
    offset: u64,
    /// Waiting bytes, with their offset and the segment starts among them.
    waiting: Option<Pending>,
    wake: Option<u8>,
    skip: Option<Skip>,
    /// What is to be said of the gap before the next event, and how many bytes of it were shed.
    gap: (u8, u64),
    acks: Option<u64>,
    acks_known: bool,
}

pub(crate) struct Host {
    module: Module,
    manner: Manner,
    row: abi::Row,
    sides: [Side; 2],
    queue: VecDeque<Pending>,
    /// What follows is inside a tunnel: not this guest's.
    inner: bool,
    pub(crate) said: Vec<Said>,
    /// Bytes encoded for the guest, in all.
    pub(crate) shown: u64,
}

/// All records about the given events.
pub(crate) fn said(manner: Manner, happens: &[Happens]) -> Vec<Said> {
    let mut host = Host::new(manner);
    for one in happens {
        host.happens(one);
    }
    host.flush();
    host.said
}

/// The same, one line per record.
pub(crate) fn lines(manner: Manner, happens: &[Happens]) -> Vec<String> {
    said(manner, happens).iter().map(Said::line).collect()
}

/// As `lines`, with several choices of the host that must agree.
pub(crate) fn parsed(happens: &[Happens]) -> Vec<String> {
    let plain = lines(Manner::default(), happens);
    for events_per_call in [1, 3, 100] {
        for skips in [false, true] {
            for max_records in [8, 64] {
                let manner =
                    Manner { events_per_call, skips, max_records, max_pairs: abi::MAX_PAIRS, ..Manner::default() };
                assert_eq!(lines(manner, happens), plain, "{manner:?}");
            }
        }
    }
    plain
}

impl Host {
    pub(crate) fn new(manner: Manner) -> Self {
        let mut row = abi::Row::new_zeroed();
        row.opener = abi::opener::UNKNOWN;
        row.flags = if manner.midstream { abi::row_flag::MIDSTREAM } else { 0 };
        Self {
            module: Module::new(),
            manner,
            row,
            sides: Default::default(),
            queue: VecDeque::new(),
            inner: false,
            said: Vec::new(),
            shown: 0,
        }
    }

    pub(crate) fn happens(&mut self, what: &Happens) {
        if self.inner {
            return;
        }
        match what {
            Happens::Bytes(side, bytes) => self.bytes(*side, bytes, true),
            Happens::More(side, bytes) => self.bytes(*side, bytes, false),
            Happens::Gap(side, bytes) => self.gap(*side, *bytes, 0),
            Happens::Inexact(side, bytes) => self.gap(*side, *bytes, abi::event_flag::INEXACT),
            Happens::Shed(side, bytes) => self.gap(*side, *bytes, abi::event_flag::SHED),
            Happens::End(side, reason) => self.push(*side, abi::kind::END, *reason, &[], false),
            Happens::Acks(side, upto) => {
                self.sides[usize::from(*side)].acks = *upto;
                self.sides[usize::from(*side)].acks_known = true;
            }
        }
        if self.queue.len() >= self.manner.events_per_call {
            self.call();
        }
    }

    fn gap(&mut self, side: u8, bytes: u64, flags: u8) {
        let side = &mut self.sides[usize::from(side)];
        side.offset += bytes;
        side.gap.0 |= flags;
        side.gap.1 += if flags == abi::event_flag::SHED { bytes } else { 0 };
    }

    fn bytes(&mut self, side: u8, bytes: &[u8], segment: bool) {
        self.push(side, abi::kind::BYTES, 0, bytes, segment);
        self.sides[usize::from(side)].offset += bytes.len() as u64;
    }

    fn push(&mut self, side: u8, kind: u8, reason: u8, bytes: &[u8], segment: bool) {
        let here = &mut self.sides[usize::from(side)];
        let (flags, shed) = std::mem::take(&mut here.gap);
        let here = &self.sides[usize::from(side)];
        let acked = match (here.acks_known, here.acks) {
            (false, _) => abi::UNKNOWN,
            (true, Some(upto)) => upto,
            (true, None) => self.sides[usize::from(side ^ 1)].offset,
        };
        let starts = if segment { vec![here.offset] } else { vec![] };
        self.queue.push_back(Pending {
            side,
            kind,
            reason,
            flags,
            offset: here.offset,
            acked: vec![(here.offset, acked)],
            bytes: bytes.to_vec(),
            starts,
            length: 0,
            lost: 0,
            shed,
            seen: 0,
        });
    }

    /// Makes calls until nothing is queued.
    pub(crate) fn flush(&mut self) {
        while !self.queue.is_empty() {
            self.call();
        }
    }

    /// Leaves out of the queue what is not wanted.
    fn hide(&mut self) {
        for mut one in std::mem::take(&mut self.queue) {
            let side = &mut self.sides[usize::from(one.side)];
            let Some(skip) = &mut side.skip else {
                self.queue.push_back(one);
                continue;
            };
            let (start, end) = (one.offset.min(skip.to), one.end().min(skip.to));
            // Of a shed gap, as much as lies in the range.
            skip.seen += end - start + (start - one.offset.saturating_sub(one.shed).min(skip.to).max(skip.from));
            skip.inexact |= one.flags & abi::event_flag::INEXACT != 0 && one.offset > skip.from;
            let is_end = one.kind == abi::kind::END;
            if end < skip.to && !is_end {
                continue;
            }
            let length = end - skip.from;
            if length > 0 {
                let lost = length - skip.seen;
                let skipped = Pending {
                    kind: abi::kind::VOID,
                    flags: if skip.inexact { abi::event_flag::INEXACT } else { 0 },
                    offset: skip.from,
                    bytes: vec![],
                    starts: vec![],
                    length,
                    lost,
                    ..one.clone()
                };
                self.queue.push_back(skipped);
            }
            one.bytes.drain(..usize::try_from(end - start).expect("in memory"));
            one.offset += end - start;
            one.starts.retain(|start| *start >= one.offset);
            side.skip = None;
            if is_end || !one.bytes.is_empty() {
                self.queue.push_back(one);
            }
        }
    }

    /// Takes what the next call presents: what waits goes in front of its side's next bytes, or is presented for the last
    /// time before a gap or the end.
    fn take(&mut self) -> Vec<Pending> {
        let mut taken: Vec<Pending> = Vec::new();
        while taken.len() < self.manner.events_per_call {
            let Some(mut one) = self.queue.pop_front() else { break };
            let side = &mut self.sides[usize::from(one.side)];
            let Some(mut waiting) = side.waiting.take() else {
                taken.push(one);
                continue;
            };
            if one.kind != abi::kind::BYTES || one.offset != waiting.end() {
                waiting.flags |= abi::event_flag::FINAL;
                taken.push(waiting);
                self.queue.push_front(one);
                continue;
            }
            waiting.bytes.append(&mut one.bytes);
            waiting.starts.append(&mut one.starts);
            waiting.acked.append(&mut one.acked);
            let fits = waiting.bytes.len() <= abi::MAX_WAITING as usize;
            if self.manner.wakes && fits && side.wake.is_some_and(|byte| !waiting.bytes[waiting.seen..].contains(&byte))
            {
                waiting.seen = waiting.bytes.len();
                side.waiting = Some(waiting);
                continue;
            }
            taken.push(waiting);
        }
        taken
    }

    fn call(&mut self) {
        self.hide();
        let taken = self.take();
        if taken.is_empty() {
            return;
        }
        let events: Vec<Event> = taken.iter().map(Pending::event).collect();
        self.shown += events.iter().map(|e| e.bytes.len() as u64).sum::<u64>();
        self.row.scratch = 0;
        let rows = std::slice::from_mut(&mut self.row);
        let reply = self.module.call(&events, rows, self.manner.max_records, self.manner.max_pairs).expect("accepted");
        for record in &reply.records {
            self.said.push(Said::new(record, &reply, &taken[record.event as usize]));
        }
        let mut back = Vec::new();
        for (i, one) in taken.into_iter().enumerate() {
            let Some(result) = reply.results.get(i) else {
                back.push(one);
                continue;
            };
            let side = &mut self.sides[usize::from(one.side)];
            let end = one.end().max(one.offset + one.length);
            match result.verdict {
                abi::verdict::DONE => {
                    let skip = (self.manner.skips && result.skip != 0).then_some(result.skip);
                    side.skip = skip.map(|to| Skip { from: end, to, seen: 0, inexact: false });
                }
                abi::verdict::NEED_MORE => {
                    side.skip = None;
                    side.wake = (result.wake != 0).then_some(result.wake_byte);
                    side.waiting = Some(one.rest(result.consumed));
                }
                abi::verdict::OUTPUT_FULL => {
                    side.skip = None;
                    back.push(Pending { seen: 0, ..one.rest(result.consumed) });
                }
                abi::verdict::INNER => {
                    self.inner = true;
                    self.queue.clear();
                    return;
                }
                _ => back.push(one),
            }
        }
        for one in back.into_iter().rev() {
            self.queue.push_front(one);
        }
    }
}

impl Pending {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn rest(mut self, consumed: u32) -> Self {
        self.bytes.drain(..consumed as usize);
        self.offset += u64::from(consumed);
        self.starts.retain(|start| *start >= self.offset);
        self.seen = self.bytes.len();
        self
    }

    fn event(&self) -> Event {
        let mut header = abi::Event::new_zeroed();
        header.side = self.side;
        header.kind = self.kind;
        header.reason = self.reason;
        header.flags = self.flags;
        if self.starts.first() == Some(&self.offset) {
            header.flags |= abi::event_flag::SEGMENT;
        }
        header.offset = self.offset;
        let acked = self.acked.iter().rfind(|(from, _)| *from <= self.offset).or(self.acked.first());
        header.peer_acked = acked.expect("the first is there").1;
        header.seen = u32::try_from(self.seen).expect("small");
        header.length = self.length;
        header.lost = self.lost;
        let marks = self.starts.iter().filter(|start| **start > self.offset);
        let marks = marks.map(|start| u32::try_from(start - self.offset).expect("small")).collect();
        Event { header, bytes: self.bytes.clone(), marks }
    }
}

impl Said {
    fn new(record: &abi::Record, reply: &Reply, event: &Pending) -> Self {
        let text = |at: u32, len: u32| {
            let (bytes, at) = if at & abi::TEXT == 0 { (&event.bytes, at) } else { (&reply.text, at & !abi::TEXT) };
            let bytes = bytes.get(at as usize..).and_then(|b| b.get(..len as usize)).unwrap_or_default();
            bytes.escape_ascii().to_string()
        };
        let pairs = reply.pairs.iter().skip(record.first_pair as usize).take(record.num_pairs as usize);
        Self {
            record: *record,
            start: event.offset + u64::from(record.start),
            end: event.offset + u64::from(record.end),
            text: text(record.text, record.text_len),
            target: text(record.target, record.target_len),
            pairs: pairs.map(|p| (text(p.name, p.name_len), text(p.value, p.value_len))).collect(),
        }
    }

    /// Side, what it is, and the flags by name.
    pub(crate) fn line(&self) -> String {
        let r = &self.record;
        let framing = match r.framing {
            abi::framing::NONE => "none".to_owned(),
            abi::framing::LENGTH => format!("length={}", r.content_length),
            abi::framing::CHUNKED => "chunked".to_owned(),
            abi::framing::CLOSE => "close".to_owned(),
            _ => "tunnel".to_owned(),
        };
        let number = r.number;
        let mut line = format!("{} ", r.side);
        let name = |all: &[(&str, u16)]| {
            let known = all.iter().find(|(_, code)| *code == r.code);
            known.map_or_else(|| r.code.to_string(), |(name, _)| name.to_lowercase())
        };
        let written = match r.kind {
            abi::record::REQUEST => write!(line, "req#{number} {} {} 1.{} {framing}", self.text, self.target, r.minor),
            abi::record::RESPONSE => write!(line, "res#{number} {} {:?} 1.{} {framing}", r.code, self.text, r.minor),
            abi::record::END if r.lost > 0 => {
                write!(line, "end#{number} {}/{} lost {}", r.content_length, r.decoded, r.lost)
            }
            abi::record::END => write!(line, "end#{number} {}/{}", r.content_length, r.decoded),
            abi::record::TUNNEL if self.text.is_empty() => write!(line, "tunnel#{number} {}", name(abi::tunnel::ALL)),
            abi::record::TUNNEL => {
                write!(line, "tunnel#{number} {} {} {}", name(abi::tunnel::ALL), self.text, self.target)
            }
            abi::record::OPERATION => write!(line, "operation#{number} {} {}", self.text, self.target),
            abi::record::OUTCOME => write!(line, "outcome#{number} {}", self.text),
            abi::record::NOT_HTTP => write!(line, "not_http {}", name(abi::not_http::ALL)),
            _ => write!(line, "error {}", name(abi::error::ALL)),
        };
        written.expect("a string takes all");
        for (name, bit) in abi::flag::ALL {
            if r.flags & bit != 0 {
                line.push_str(" +");
                line.push_str(&name.to_lowercase());
            }
        }
        line
    }
}
