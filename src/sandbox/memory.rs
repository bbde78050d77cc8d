//! The one door through which guest memory is read.
//!
//! A reply is an allegation until [`check`] has read all of it. What it gives out borrows guest memory while the guest
//! does not run, so nothing can change between check and use; and its kinds and codes have become types, so nothing
//! behind the door compares numbers that a guest wrote.

use zerocopy::FromBytes;

use super::call::{Call, Encoded, PAIRS_AT, RECORDS_AT, RESULTS_AT, RowNote, TEXT_AT, TEXT_BYTES};
use super::fault::{Item, ReplyError, Rule};
use crate::abi::{self, Framing, NotHttp, ParseError, Tunnel, Verdict, event_flag, kind};

mod records;

use records::check_records;

/// The answer to one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of the event.
    pub verdict: Verdict,
    /// Bytes of it that are consumed.
    pub consumed: u32,
    /// Stream offset up to which its side holds nothing that the guest needs; 0: none. Only with [`Verdict::Done`].
    pub skip: u64,
    /// The byte before which the guest need not be asked again. Only with [`Verdict::NeedMore`].
    pub wake: Option<u8>,
    /// Bytes of extra state asked for. Only with [`Verdict::Grow`].
    pub grow: u32,
    /// Index of the protocol that goes on. Only with [`Verdict::HandOver`].
    pub hand_to: u8,
}

/// What a record is about, with the codes that only its kind has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A request head.
    Request(Framing),
    /// A response head.
    Response(Framing),
    /// The end of a message.
    End,
    /// A tunnel.
    Tunnel(Tunnel),
    /// A side that does not speak HTTP/1.
    NotHttp(NotHttp),
    /// A side that could not be parsed here.
    Error(ParseError),
    /// Trailer fields of a message.
    Trailers,
    /// A message that was given up.
    Reset,
    /// An operation of another protocol.
    Operation,
    /// What became of one.
    Outcome,
    /// Bytes of a body.
    Body,
}

impl Meaning {
    /// Whether it stands for a range of its side: heads, ends and the like do not overlap.
    const fn has_extent(self) -> bool {
        matches!(self, Self::Request(_) | Self::Response(_) | Self::End | Self::Operation | Self::Outcome)
    }

    /// Whether it may have texts and pairs.
    const fn has_texts(self) -> bool {
        matches!(
            self,
            Self::Request(_) | Self::Response(_) | Self::Trailers | Self::Operation | Self::Outcome | Self::Tunnel(_)
        )
    }
}

/// A checked record.
#[derive(Debug, Clone, Copy)]
pub struct CheckedRecord<'a> {
    /// What it is about.
    pub meaning: Meaning,
    /// Its other fields. Positions lie inside the event's bytes.
    pub fields: &'a abi::Record,
}

/// Memory for what [`check`] makes of a reply, used again for the next one. Bounded by the events and records of a call.
#[derive(Debug, Default)]
pub struct Checked {
    answers: Vec<Answer>,
    meanings: Vec<Meaning>,
}

/// A reply that has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Answers to the first events of the call, at least one.
    pub answers: &'a [Answer],
    /// Headers that records refer to.
    pub pairs: &'a [abi::Pair],
    /// Texts that the guest has written, as far as they go.
    pub text: &'a [u8],
    records: &'a [abi::Record],
    /// One for each record.
    meanings: &'a [Meaning],
}

impl<'a> Reply<'a> {
    /// The records, in order of the events.
    pub fn records(&self) -> impl ExactSizeIterator<Item = CheckedRecord<'a>> + use<'a> {
        self.records.iter().zip(self.meanings).map(|(fields, &meaning)| CheckedRecord { meaning, fields })
    }
}

/// The event that the guest says it was on: a hint only.
#[must_use]
pub fn alleged_event(output: &[u8]) -> usize {
    abi::Output::read_from_prefix(output).map_or(0, |(head, _)| head.current_event as usize)
}

/// Checks a whole reply to `call`: what the guest left in the output buffer, and in the rows of the input buffer.
///
/// # Errors
/// The first rule that it breaks, and where.
pub fn check<'a>(
    call: &Call,
    input: &[u8],
    output: &'a [u8],
    checked: &'a mut Checked,
) -> Result<Reply<'a>, ReplyError> {
    let wrong = |rule, field, value| ReplyError { rule, item: Item::Head, field, value };
    let (head, _) = abi::Output::read_from_prefix(output).map_err(|_| wrong(Rule::EventCount, "size", 0))?;
    let abi::Output { abi_version, events_done, num_records, num_pairs, text_len, reserved, .. } = head;
    if abi_version != abi::VERSION {
        return Err(wrong(Rule::Version, "abi_version", abi_version.into()));
    }
    if let Some(value) = reserved.into_iter().find(|value| *value != 0) {
        return Err(wrong(Rule::Reserved, "reserved", value.into()));
    }
    if events_done == 0 || events_done as usize > call.encoded.len() {
        return Err(wrong(Rule::EventCount, "events_done", events_done.into()));
    }
    if num_records > call.bounds.records {
        return Err(wrong(Rule::RecordCount, "num_records", num_records.into()));
    }
    if num_pairs > call.bounds.pairs {
        return Err(wrong(Rule::PairCount, "num_pairs", num_pairs.into()));
    }
    if text_len > TEXT_BYTES {
        return Err(wrong(Rule::TextArea, "text_len", text_len.into()));
    }
    // The buffer has room for as many of each as the call's bounds allow.
    let cut = |field| wrong(Rule::Position, field, output.len() as u64);
    let results = table(output, RESULTS_AT, events_done).ok_or_else(|| cut("results"))?;
    let records = table(output, RECORDS_AT, num_records).ok_or_else(|| cut("records"))?;
    let pairs = table(output, PAIRS_AT, num_pairs).ok_or_else(|| cut("pairs"))?;
    let text = table::<u8>(output, TEXT_AT, text_len).ok_or_else(|| cut("text"))?;
    check_rows(call, input)?;
    check_results(call, input, results, records.is_empty(), &mut checked.answers)?;
    check_records(call, &checked.answers, records, pairs, text_len, &mut checked.meanings)?;
    check_tunnels(&checked.answers, records, &checked.meanings)?;
    Ok(Reply { answers: &checked.answers, pairs, text, records, meanings: &checked.meanings })
}

/// No connection uses more extra state than it has.
fn check_rows(call: &Call, input: &[u8]) -> Result<(), ReplyError> {
    for (index, note) in (0..).zip(&call.rows) {
        let used = Call::row_after(input, index).map_or(u32::MAX, |row| row.extra_used);
        if used > note.extra_size {
            let value = used.into();
            return Err(ReplyError { rule: Rule::State, item: Item::Row(index), field: "extra_used", value });
        }
    }
    Ok(())
}

/// A stream inside a tunnel is announced by a record. Records are in order of their events, as has been checked.
fn check_tunnels(answers: &[Answer], records: &[abi::Record], meanings: &[Meaning]) -> Result<(), ReplyError> {
    let inner = (0..).zip(answers).filter(|(_, answer)| answer.verdict == Verdict::Inner);
    let tunnels = records.iter().zip(meanings).filter(|(_, meaning)| matches!(meaning, Meaning::Tunnel(_)));
    let mut tunnels = tunnels.map(|(record, _)| record.event).peekable();
    for (index, _) in inner {
        while tunnels.next_if(|event| *event < index).is_some() {}
        if tunnels.peek() != Some(&index) {
            let value = Verdict::Inner.code().into();
            return Err(ReplyError { rule: Rule::Inner, item: Item::Result(index), field: "verdict", value });
        }
    }
    Ok(())
}

fn table<T>(output: &[u8], position: u32, count: u32) -> Option<&[T]>
where
    T: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout,
{
    let bytes = output.get(position as usize..)?;
    <[T]>::ref_from_prefix_with_elems(bytes, count as usize).ok().map(|(items, _)| items)
}

/// Which sides of a connection wait, and whether its events are being deferred, in the course of one reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RowState {
    waits: [bool; 2],
    deferring: bool,
    /// A byte of it was consumed in this reply.
    consumed: bool,
}

fn check_results(
    call: &Call,
    input: &[u8],
    results: &[abi::Result],
    no_records: bool,
    answers: &mut Vec<Answer>,
) -> Result<(), ReplyError> {
    answers.clear();
    // One for each row, made when the first side waits: most calls have none.
    let mut rows: Vec<RowState> = Vec::new();
    for ((index, result), encoded) in (0..).zip(results).zip(&call.encoded) {
        let wrong = |rule, field, value| ReplyError { rule, item: Item::Result(index), field, value };
        if result.reserved != 0 {
            return Err(wrong(Rule::Reserved, "reserved", result.reserved.into()));
        }
        if result.wake > 1 {
            return Err(wrong(Rule::Reserved, "wake", result.wake.into()));
        }
        let verdict = Verdict::from_code(result.verdict);
        let verdict = verdict.ok_or_else(|| wrong(Rule::Verdict, "verdict", result.verdict.into()))?;
        let event = &encoded.event;
        let row = event.row as usize;
        let state = rows.get(row).copied().unwrap_or_default();
        let waits = state.waits.get(usize::from(event.side)).copied().unwrap_or(true);
        if (state.deferring || waits) != (verdict == Verdict::Deferred) {
            return Err(wrong(Rule::Order, "verdict", result.verdict.into()));
        }
        let mut next = check_result(index, result, verdict, encoded, state)?;
        // Only a later hand-over asks, and only of a connection that was handed over.
        let note = call.rows.get(row);
        next.consumed |= result.consumed > 0 && note.is_some_and(|note| note.allowed.just_handed_over);
        let (mut grow, mut hand_to) = (0, 0);
        if verdict >= Verdict::Grow {
            let left = Call::row_after(input, event.row).zip(note);
            let (left, note) = left.ok_or_else(|| wrong(Rule::Verdict, "verdict", result.verdict.into()))?;
            check_turn(event.row, verdict, left, note, next.consumed, call.protocols.len())?;
            (grow, hand_to) = (left.grow, left.hand_to);
        }
        if next != state {
            if rows.is_empty() {
                rows.resize(call.rows(), RowState::default());
            }
            if let Some(state) = rows.get_mut(row) {
                *state = next;
            }
        }
        let full = verdict == Verdict::OutputFull;
        let last = answers.len() + 1 == results.len();
        if full && last && no_records && result.consumed == 0 {
            return Err(wrong(Rule::NoProgress, "consumed", 0));
        }
        if full && !last || !full && last && results.len() != call.encoded.len() {
            return Err(wrong(Rule::EventCount, "verdict", result.verdict.into()));
        }
        let wake = (verdict == Verdict::NeedMore && result.wake == 1).then_some(result.wake_byte);
        answers.push(Answer { verdict, consumed: result.consumed, skip: result.skip, wake, grow, hand_to });
    }
    Ok(())
}

/// Checks what a row says with a verdict that changes how its connection goes on.
fn check_turn(
    index: u32,
    verdict: Verdict,
    row: &abi::Row,
    note: &RowNote,
    consumed: bool,
    protocols: usize,
) -> Result<(), ReplyError> {
    let wrong = |rule, field, value: u32| ReplyError { rule, item: Item::Row(index), field, value: value.into() };
    let allowed = note.allowed;
    match verdict {
        Verdict::Grow => {
            let fits = row.grow.is_multiple_of(abi::EXTRA_UNIT) && row.grow <= abi::MAX_EXTRA;
            if !allowed.grow || !fits || row.grow <= note.extra_size {
                return Err(wrong(Rule::Grow, "grow", row.grow));
            }
        }
        Verdict::HandOver => {
            let known = usize::from(row.hand_to) < protocols && row.hand_to != allowed.protocol;
            if !allowed.hand_over || !known || allowed.just_handed_over && !consumed {
                return Err(wrong(Rule::HandOver, "hand_to", row.hand_to.into()));
            }
        }
        Verdict::Inner if !allowed.inner => return Err(wrong(Rule::Inner, "depth", row.depth.into())),
        _ => {}
    }
    Ok(())
}

#[inline]
fn check_result(
    index: u32,
    result: &abi::Result,
    verdict: Verdict,
    encoded: &Encoded,
    mut state: RowState,
) -> Result<RowState, ReplyError> {
    let wrong = |rule, field, value| ReplyError { rule, item: Item::Result(index), field, value };
    let consumed = || wrong(Rule::Consumed, "consumed", result.consumed.into());
    let skip = || wrong(Rule::Skip, "skip", result.skip);
    let event = &encoded.event;
    if result.skip != 0 && verdict != Verdict::Done {
        return Err(skip());
    }
    let rest = event.len.checked_sub(result.consumed).ok_or_else(consumed)?;
    match verdict {
        Verdict::Done => {
            if rest != 0 {
                return Err(consumed());
            }
            let end = event.offset.saturating_add(u64::from(event.len)).saturating_add(event.length);
            if result.skip != 0 && (result.skip <= end || event.kind == kind::END) {
                return Err(skip());
            }
        }
        Verdict::NeedMore => {
            let may = event.kind == kind::BYTES && event.flags & event_flag::FINAL == 0;
            if !may || rest == 0 || rest > abi::MAX_WAITING {
                return Err(wrong(Rule::Waiting, "consumed", result.consumed.into()));
            }
            if let Some(waits) = state.waits.get_mut(usize::from(event.side)) {
                *waits = true;
            }
        }
        Verdict::OutputFull => {
            // All consumed and still full can only be an event without bytes, which is presented again as it is.
            if rest == 0 && event.kind == kind::BYTES {
                return Err(consumed());
            }
        }
        Verdict::Grow | Verdict::HandOver | Verdict::Inner => {
            if event.kind != kind::BYTES {
                return Err(wrong(Rule::NotBytes, "verdict", result.verdict.into()));
            }
            if verdict == Verdict::Grow && rest == 0 {
                return Err(consumed());
            }
            state.deferring = true;
        }
        Verdict::Deferred => {
            if result.consumed != 0 {
                return Err(consumed());
            }
            state.deferring = true;
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::super::call::{Allowed, Bounds, Cursor, INPUT_BYTES, Location, OUTPUT_BYTES, RowInput};
    use super::*;
    use crate::abi::{error, framing, not_http, record, tunnel, verdict};

    /// A reply, in parts that a test can change.
    #[derive(Default)]
    struct Parts {
        head: abi::Output,
        results: Vec<abi::Result>,
        records: Vec<abi::Record>,
        pairs: Vec<abi::Pair>,
    }

    /// A call of these events, on one side of one connection.
    fn call(events: &[abi::Event]) -> Call {
        let mut call = Call::new(Bounds::default());
        let row = RowInput {
            block: &[0; abi::BLOCK_SIZE],
            extra: &[],
            extra_size: 0,
            opener: 0,
            flags: 0,
            depth: 0,
            handed_by: 0,
            allowed: Allowed::default(),
        };
        call.row(&mut vec![0; INPUT_BYTES as usize], &row);
        call.encoded.extend(events.iter().map(|&event| Encoded {
            event,
            slot_row: 0,
            after: Cursor::default(),
            location: Location::Slot(0),
            first_mark: 0,
            num_marks: 1,
            took_waiting: false,
            first_of_row: true,
        }));
        call
    }

    /// Three events of ten bytes each.
    fn three() -> Call {
        let event = |offset| abi::Event { kind: kind::BYTES, len: 10, offset, ..abi::Event::default() };
        call(&[event(0), event(10), event(20)])
    }

    /// An honest reply to [`three`]: a request, its end, an error.
    fn honest() -> Parts {
        let result = abi::Result { verdict: verdict::DONE, consumed: 10, ..abi::Result::default() };
        let request = abi::Record {
            kind: record::REQUEST,
            framing: framing::CHUNKED,
            minor: 1,
            number: 1,
            end: 10,
            text_len: 3,
            target: 4,
            target_len: 1,
            num_pairs: 1,
            ..abi::Record::default()
        };
        let end = abi::Record { kind: record::END, event: 1, end: 5, content_length: 5, ..abi::Record::default() };
        let error = abi::Record { kind: record::ERROR, event: 2, code: error::BAD_CHUNK, ..abi::Record::default() };
        Parts {
            head: abi::Output { abi_version: abi::VERSION, ..abi::Output::default() },
            results: vec![result; 3],
            records: vec![request, end, error],
            pairs: vec![abi::Pair { name: 6, name_len: 1, value: 8, value_len: 1 }],
        }
    }

    fn written(parts: &Parts) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).unwrap();
        let head = abi::Output {
            events_done: count(parts.results.len()),
            num_records: count(parts.records.len()),
            num_pairs: count(parts.pairs.len()),
            ..parts.head
        };
        let mut output = vec![0; OUTPUT_BYTES as usize];
        for (position, bytes) in [
            (0, head.as_bytes()),
            (RESULTS_AT, parts.results.as_bytes()),
            (RECORDS_AT, parts.records.as_bytes()),
            (PAIRS_AT, parts.pairs.as_bytes()),
        ] {
            output[position as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        output
    }

    /// What is wrong with the honest reply after a change.
    fn wrong(change: impl FnOnce(&mut Parts)) -> (Rule, Item, &'static str, u64) {
        let mut parts = honest();
        change(&mut parts);
        let ReplyError { rule, item, field, value } =
            check(&three(), &vec![0; INPUT_BYTES as usize], &written(&parts), &mut Checked::default()).unwrap_err();
        (rule, item, field, value)
    }

    #[test]
    fn kinds_and_codes_of_a_checked_reply_are_types() {
        let mut parts = honest();
        let side = abi::Record { event: 2, ..abi::Record::default() };
        parts.records.extend([
            abi::Record { kind: record::TUNNEL, code: tunnel::WEBSOCKET, ..side },
            abi::Record { kind: record::NOT_HTTP, code: not_http::TLS, side: 1, ..side },
            abi::Record { kind: record::RESPONSE, code: 200, framing: framing::CLOSE, ..side },
        ]);
        parts.results[0].skip = 11;
        parts.results[2] = abi::Result {
            verdict: verdict::NEED_MORE,
            wake: 1,
            wake_byte: b'\n',
            consumed: 4,
            ..abi::Result::default()
        };
        let mut checked = Checked::default();
        let (input, output) = (vec![0; INPUT_BYTES as usize], written(&parts));
        let reply = check(&three(), &input, &output, &mut checked).unwrap();
        let answer = Answer { verdict: Verdict::Done, consumed: 10, skip: 0, wake: None, grow: 0, hand_to: 0 };
        let more = Answer { verdict: Verdict::NeedMore, consumed: 4, wake: Some(b'\n'), ..answer };
        assert_eq!(reply.answers, [Answer { skip: 11, ..answer }, answer, more]);
        let meanings: Vec<_> = reply.records().map(|record| record.meaning).collect();
        assert_eq!(
            meanings,
            [
                Meaning::Request(Framing::Chunked),
                Meaning::End,
                Meaning::Error(ParseError::BadChunk),
                Meaning::Tunnel(Tunnel::WebSocket),
                Meaning::NotHttp(NotHttp::Tls),
                Meaning::Response(Framing::Close),
            ]
        );
        // The memory is used again: nothing of an earlier reply is left in it.
        let output = written(&honest());
        let reply = check(&three(), &input, &output, &mut checked).unwrap();
        assert_eq!((reply.answers.len(), reply.records().len()), (3, 3));
    }

    #[test]
    fn an_unknown_number_is_named_with_its_item_and_field() {
        let record = |index, field, value| (Rule::RecordKind, Item::Record(index), field, value);
        assert_eq!(wrong(|p| p.results[1].verdict = 8), (Rule::Verdict, Item::Result(1), "verdict", 8));
        assert_eq!(wrong(|p| p.results[2].verdict = 0), (Rule::Verdict, Item::Result(2), "verdict", 0));
        assert_eq!(wrong(|p| p.records[1].kind = 11), record(1, "kind", 11));
        assert_eq!(wrong(|p| p.records[2].kind = 0), record(2, "kind", 0));
        assert_eq!(wrong(|p| p.records[0].framing = 5), record(0, "framing", 5));
        assert_eq!(wrong(|p| p.records[0].code = 1), record(0, "code", 1));
        assert_eq!(wrong(|p| p.records[0].minor = 10), record(0, "minor", 10));
        assert_eq!(wrong(|p| p.records[2].code = 14), record(2, "code", 14));
        assert_eq!(wrong(|p| p.records[2].code = 0), record(2, "code", 0));
        let coded = |kind, code| move |p: &mut Parts| (p.records[2].kind, p.records[2].code) = (kind, code);
        for code in [0, 7, u16::MAX] {
            assert_eq!(wrong(coded(record::NOT_HTTP, code)), record(2, "code", code.into()));
            assert_eq!(wrong(coded(record::TUNNEL, code)), record(2, "code", code.into()));
        }
        for status in [0, 99, 1000] {
            assert_eq!(wrong(coded(record::RESPONSE, status)), record(2, "code", status.into()));
        }
    }

    #[test]
    fn bytes_of_bodies_are_told_where_they_were_asked_for_and_nowhere_else() {
        use Item::Record;
        let asked = |wanted: u32, bodies: &[abi::Record], end: bool| {
            let mut parts = honest();
            parts.records.truncate(if end { 2 } else { 1 });
            parts.records.splice(1..1, bodies.iter().copied());
            let (mut call, input) = (three(), vec![0; INPUT_BYTES as usize]);
            call.bodies = wanted;
            let (output, mut checked) = (written(&parts), Checked::default());
            let reply = check(&call, &input, &output, &mut checked);
            reply.map(|reply| reply.records().len()).map_err(|wrong| (wrong.rule, wrong.item, wrong.field, wrong.value))
        };
        let body = abi::Record { kind: record::BODY, event: 1, number: 1, start: 1, end: 3, ..abi::Record::default() };
        let next = abi::Record { start: 3, end: 5, decoded: 2, ..body };
        assert_eq!(asked(4, &[body, next], true), Ok(4), "inside of what an end stands for");
        assert_eq!(asked(4, &[abi::Record { event: 2, decoded: 2, ..body }], false), Ok(2));
        assert_eq!(asked(0, &[body], true), Err((Rule::RecordKind, Record(1), "kind", 11)));
        assert_eq!(asked(3, &[body, next], true), Err((Rule::BodyLength, Record(2), "decoded", 2)));
        let far = abi::Record { decoded: u64::MAX, ..body };
        assert_eq!(asked(9, &[far], true), Err((Rule::BodyLength, Record(1), "decoded", u64::MAX)));
        assert_eq!(asked(9, &[next, body], true), Err((Rule::Overlap, Record(2), "start", 1)));
        assert_eq!(
            asked(9, &[abi::Record { event: 0, ..body }], true),
            Err((Rule::Overlap, Record(1), "start", 1)),
            "a head"
        );
        assert_eq!(asked(9, &[abi::Record { end: 1, ..body }], true), Err((Rule::Position, Record(1), "end", 1)));
        assert_eq!(asked(99, &[abi::Record { end: 11, ..body }], true), Err((Rule::Position, Record(1), "end", 11)));
        assert_eq!(asked(9, &[abi::Record { side: 1, ..body }], true), Err((Rule::RecordEvent, Record(1), "side", 1)));
        assert_eq!(asked(9, &[abi::Record { code: 1, ..body }], true), Err((Rule::RecordKind, Record(1), "code", 1)));
    }

    #[test]
    fn any_other_broken_rule_is_named_with_its_item_and_field() {
        use Item::{Head, Pair, Record, Result};
        assert_eq!(wrong(|p| p.head.abi_version = 7), (Rule::Version, Head, "abi_version", 7));
        assert_eq!(wrong(|p| p.head.reserved[9] = 4), (Rule::Reserved, Head, "reserved", 4));
        assert_eq!(wrong(|p| p.results.push(p.results[0])), (Rule::EventCount, Head, "events_done", 4));
        assert_eq!(wrong(|p| p.results.clear()), (Rule::EventCount, Head, "events_done", 0));
        assert_eq!(wrong(|p| p.results.truncate(2)), (Rule::EventCount, Result(1), "verdict", 1));
        assert_eq!(wrong(|p| p.results[0].wake = 2), (Rule::Reserved, Result(0), "wake", 2));
        assert_eq!(wrong(|p| p.results[1].consumed = 11), (Rule::Consumed, Result(1), "consumed", 11));
        assert_eq!(wrong(|p| p.results[1].consumed = 9), (Rule::Consumed, Result(1), "consumed", 9));
        assert_eq!(wrong(|p| p.results[1].skip = 20), (Rule::Skip, Result(1), "skip", 20));
        assert_eq!(wrong(|p| p.results[2].verdict = verdict::NEED_MORE), (Rule::Waiting, Result(2), "consumed", 10));
        let waits = |p: &mut Parts| (p.results[0].verdict, p.results[0].consumed) = (verdict::NEED_MORE, 1);
        assert_eq!(wrong(waits), (Rule::Order, Result(1), "verdict", 1));
        assert_eq!(wrong(|p| p.results[1].verdict = verdict::DEFERRED), (Rule::Order, Result(1), "verdict", 4));
        assert_eq!(wrong(|p| p.records[1].event = 3), (Rule::RecordEvent, Record(1), "event", 3));
        assert_eq!(wrong(|p| p.records[2].event = 0), (Rule::RecordEvent, Record(2), "event", 0));
        assert_eq!(wrong(|p| p.records[0].side = 1), (Rule::RecordEvent, Record(0), "side", 1));
        assert_eq!(wrong(|p| p.records[1].end = 11), (Rule::Position, Record(1), "end", 11));
        assert_eq!(wrong(|p| p.records[1].start = 6), (Rule::Position, Record(1), "start", 6));
        assert_eq!(wrong(|p| p.records[1].event = 0), (Rule::Overlap, Record(1), "start", 0));
        assert_eq!(wrong(|p| p.records[0].number = 0), (Rule::Number, Record(0), "number", 0));
        assert_eq!(wrong(|p| p.records[0].target = 10), (Rule::Position, Record(0), "target", 10));
        assert_eq!(wrong(|p| p.records[0].target = 2), (Rule::Overlap, Record(0), "target", 2));
        assert_eq!(wrong(|p| p.records[0].num_pairs = 1025), (Rule::Pairs, Record(0), "num_pairs", 1025));
        assert_eq!(wrong(|p| p.records[0].first_pair = 1), (Rule::Pairs, Record(0), "first_pair", 1));
        assert_eq!(wrong(|p| p.pairs[0].value = u32::MAX), (Rule::Position, Pair(0), "value", u32::MAX.into()));
        assert_eq!(wrong(|p| p.pairs[0].name = 3), (Rule::Overlap, Pair(0), "name", 3));
        assert_eq!(wrong(|p| p.records[1].lost = 6), (Rule::RecordKind, Record(1), "lost", 6));
        assert_eq!(wrong(|p| p.records[1].content_length = 16), (Rule::BodyLength, Record(1), "content_length", 16));
    }
}
