//! The one door through which guest memory is read.
//!
//! A reply is an allegation until [`check`] has read all of it. What it gives out borrows guest memory while the guest
//! does not run, so nothing can change between check and use; and its kinds and codes have become types, so nothing
//! behind the door compares numbers that a guest wrote.

use zerocopy::FromBytes;

use super::call::{Call, Encoded, PAIRS_AT, RECORDS_AT, RESULTS_AT};
use super::fault::{Item, ReplyError, Rule};
use crate::abi::{self, Framing, ParseError, Protocol, RecordKind, Verdict, event_flag, kind};

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
    /// A tunnel, and the protocol in it; `None`: CONNECT does not say.
    Tunnel(Option<Protocol>),
    /// A side that does not speak HTTP/1.
    NotHttp(Protocol),
    /// A side that could not be parsed here.
    Error(ParseError),
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

/// Checks a whole reply to `call`.
///
/// # Errors
/// The first rule that it breaks, and where.
pub fn check<'a>(call: &Call, output: &'a [u8], checked: &'a mut Checked) -> Result<Reply<'a>, ReplyError> {
    let wrong = |rule, field, value| ReplyError { rule, item: Item::Head, field, value };
    let (head, _) = abi::Output::read_from_prefix(output).map_err(|_| wrong(Rule::EventCount, "size", 0))?;
    let abi::Output { abi_version, events_done, num_records, num_pairs, reserved, .. } = head;
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
    // The buffer has room for as many of each as the call's bounds allow.
    let cut = |field| wrong(Rule::Position, field, output.len() as u64);
    let results = table(output, RESULTS_AT, events_done).ok_or_else(|| cut("results"))?;
    let records = table(output, RECORDS_AT, num_records).ok_or_else(|| cut("records"))?;
    let pairs = table(output, PAIRS_AT, num_pairs).ok_or_else(|| cut("pairs"))?;
    check_results(call, results, records.is_empty(), &mut checked.answers)?;
    check_records(call, &checked.answers, records, pairs, &mut checked.meanings)?;
    Ok(Reply { answers: &checked.answers, pairs, records, meanings: &checked.meanings })
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
}

fn check_results(
    call: &Call,
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
        let next = check_result(index, result, verdict, encoded, state)?;
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
        answers.push(Answer { verdict, consumed: result.consumed, skip: result.skip, wake });
    }
    Ok(())
}

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
        Verdict::Deferred => {
            if result.consumed != 0 {
                return Err(consumed());
            }
            state.deferring = true;
        }
    }
    Ok(state)
}

fn check_records(
    call: &Call,
    answers: &[Answer],
    records: &[abi::Record],
    pairs: &[abi::Pair],
    meanings: &mut Vec<Meaning>,
) -> Result<(), ReplyError> {
    meanings.clear();
    let mut event = 0;
    let mut reached = 0;
    for (index, record) in (0..).zip(records) {
        let wrong = |rule, field, value| ReplyError { rule, item: Item::Record(index), field, value };
        let of_event = || wrong(Rule::RecordEvent, "event", record.event.into());
        if record.event < event {
            return Err(of_event());
        }
        if record.event > event {
            event = record.event;
            reached = 0;
        }
        let answer = answers.get(record.event as usize).filter(|answer| answer.verdict != Verdict::Deferred);
        let encoded = call.encoded.get(record.event as usize);
        let (answer, encoded) = answer.zip(encoded).ok_or_else(of_event)?;
        if record.reserved != 0 || record.reserved2 != 0 {
            return Err(wrong(Rule::Reserved, "reserved", u64::from(record.reserved) | u64::from(record.reserved2)));
        }
        if record.start > record.end {
            return Err(wrong(Rule::Position, "start", record.start.into()));
        }
        if record.end > answer.consumed {
            return Err(wrong(Rule::Position, "end", record.end.into()));
        }
        let meaning = check_record(index, record, encoded)?;
        if matches!(meaning, Meaning::Request(_) | Meaning::Response(_) | Meaning::End) {
            if record.start < reached {
                return Err(wrong(Rule::Overlap, "start", record.start.into()));
            }
            reached = record.end;
        }
        if matches!(meaning, Meaning::Request(_) | Meaning::Response(_)) {
            check_texts(index, record, pairs)?;
        }
        meanings.push(meaning);
    }
    Ok(())
}

/// Every flag that has a name.
const FLAGS: u32 = (abi::flag::REQUEST_LOST << 1) - 1;

/// Gives the record's kind and codes their types, and checks the fields that depend on them.
fn check_record(index: u32, record: &abi::Record, encoded: &Encoded) -> Result<Meaning, ReplyError> {
    let wrong = |rule, field, value| ReplyError { rule, item: Item::Record(index), field, value };
    let unknown = |field, value| wrong(Rule::RecordKind, field, value);
    let code = || unknown("code", record.code.into());
    let framing = || Framing::from_code(record.framing).ok_or_else(|| unknown("framing", record.framing.into()));
    let of = RecordKind::from_code(record.kind).ok_or_else(|| unknown("kind", record.kind.into()))?;
    let meaning = match of {
        RecordKind::Request if record.code != 0 => return Err(code()),
        RecordKind::Request => Meaning::Request(framing()?),
        RecordKind::Response if !(100..=999).contains(&record.code) => return Err(code()),
        RecordKind::Response => Meaning::Response(framing()?),
        RecordKind::End if record.code != 0 => return Err(code()),
        RecordKind::End => Meaning::End,
        RecordKind::Tunnel if record.code == 0 => Meaning::Tunnel(None),
        RecordKind::Tunnel => Meaning::Tunnel(Some(Protocol::from_code(record.code).ok_or_else(code)?)),
        RecordKind::NotHttp => Meaning::NotHttp(Protocol::from_code(record.code).ok_or_else(code)?),
        RecordKind::Error => Meaning::Error(ParseError::from_code(record.code).ok_or_else(code)?),
    };
    let head = matches!(of, RecordKind::Request | RecordKind::Response);
    if head && record.minor > 9 {
        return Err(unknown("minor", record.minor.into()));
    }
    if !head && record.num_pairs != 0 {
        return Err(unknown("num_pairs", record.num_pairs.into()));
    }
    if record.flags & !FLAGS != 0 {
        return Err(unknown("flags", record.flags.into()));
    }
    // Only a tunnel, a protocol or an error may be reported of the other side too.
    let own = head || of == RecordKind::End;
    if record.side > 1 || (own && record.side != encoded.event.side) {
        return Err(wrong(Rule::RecordEvent, "side", record.side.into()));
    }
    if head && encoded.event.kind != kind::BYTES {
        return Err(wrong(Rule::RecordEvent, "event", record.event.into()));
    }
    if of == RecordKind::Request && record.number == 0 {
        return Err(wrong(Rule::Number, "number", 0));
    }
    if of == RecordKind::End {
        check_sizes(index, record, encoded)?;
    }
    Ok(meaning)
}

/// Sizes of a message fit its stream.
fn check_sizes(index: u32, record: &abi::Record, encoded: &Encoded) -> Result<(), ReplyError> {
    let wrong = |rule, field, value| ReplyError { rule, item: Item::Record(index), field, value };
    if record.lost > record.content_length {
        return Err(wrong(Rule::RecordKind, "lost", record.lost));
    }
    if record.decoded > record.content_length {
        return Err(wrong(Rule::RecordKind, "decoded", record.decoded));
    }
    // Stream offset at which the message ends. If it ends within a skipped range, the end of that range is an upper
    // bound. Bytes never seen count: they have their offsets too.
    let end = encoded.event.offset.saturating_add(encoded.event.length).saturating_add(u64::from(record.end));
    if record.content_length > end {
        return Err(wrong(Rule::BodyLength, "content_length", record.content_length));
    }
    Ok(())
}

/// Texts lie inside their head, in order, and apart.
fn check_texts(index: u32, record: &abi::Record, pairs: &[abi::Pair]) -> Result<(), ReplyError> {
    let wrong =
        |field, value: u32| ReplyError { rule: Rule::Pairs, item: Item::Record(index), field, value: value.into() };
    if record.num_pairs > abi::MAX_HEADERS {
        return Err(wrong("num_pairs", record.num_pairs));
    }
    let first = record.first_pair as usize;
    let headers = pairs.get(first..first.saturating_add(record.num_pairs as usize));
    let headers = headers.ok_or_else(|| wrong("first_pair", record.first_pair))?;
    let mut reached = record.start;
    let mut text = |item, field, position: u32, len: u32| {
        if len == 0 {
            return Ok(());
        }
        let wrong = |rule| ReplyError { rule, item, field, value: position.into() };
        let end = position.checked_add(len).filter(|end| *end <= record.end);
        let end = end.ok_or_else(|| wrong(Rule::Position))?;
        if position < reached {
            return Err(wrong(Rule::Overlap));
        }
        reached = end;
        Ok(())
    };
    let item = Item::Record(index);
    text(item, "text", record.text, record.text_len)?;
    text(item, "target", record.target, record.target_len)?;
    for (index, pair) in (record.first_pair..).zip(headers) {
        let item = Item::Pair(index);
        text(item, "name", pair.name, pair.name_len)?;
        text(item, "value", pair.value, pair.value_len)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::super::call::{Bounds, Cursor, Location, OUTPUT_BYTES};
    use super::*;
    use crate::abi::{error, framing, not_http, record, verdict};

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
        call.row(&mut [0; 1 << 20], &[0; abi::BLOCK_SIZE], 0, 0);
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
            check(&three(), &written(&parts), &mut Checked::default()).unwrap_err();
        (rule, item, field, value)
    }

    #[test]
    fn kinds_and_codes_of_a_checked_reply_are_types() {
        let mut parts = honest();
        let side = abi::Record { event: 2, ..abi::Record::default() };
        parts.records.extend([
            abi::Record { kind: record::TUNNEL, ..side },
            abi::Record { kind: record::TUNNEL, code: not_http::WEBSOCKET, ..side },
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
        let output = written(&parts);
        let reply = check(&three(), &output, &mut checked).unwrap();
        let answer = Answer { verdict: Verdict::Done, consumed: 10, skip: 0, wake: None };
        let more = Answer { verdict: Verdict::NeedMore, consumed: 4, skip: 0, wake: Some(b'\n') };
        assert_eq!(reply.answers, [Answer { skip: 11, ..answer }, answer, more]);
        let meanings: Vec<_> = reply.records().map(|record| record.meaning).collect();
        assert_eq!(
            meanings,
            [
                Meaning::Request(Framing::Chunked),
                Meaning::End,
                Meaning::Error(ParseError::BadChunk),
                Meaning::Tunnel(None),
                Meaning::Tunnel(Some(Protocol::WebSocket)),
                Meaning::NotHttp(Protocol::Tls),
                Meaning::Response(Framing::Close),
            ]
        );
        // The memory is used again: nothing of an earlier reply is left in it.
        let output = written(&honest());
        let reply = check(&three(), &output, &mut checked).unwrap();
        assert_eq!((reply.answers.len(), reply.records().len()), (3, 3));
    }

    #[test]
    fn an_unknown_number_is_named_with_its_item_and_field() {
        let record = |index, field, value| (Rule::RecordKind, Item::Record(index), field, value);
        assert_eq!(wrong(|p| p.results[1].verdict = 5), (Rule::Verdict, Item::Result(1), "verdict", 5));
        assert_eq!(wrong(|p| p.results[2].verdict = 0), (Rule::Verdict, Item::Result(2), "verdict", 0));
        assert_eq!(wrong(|p| p.records[1].kind = 7), record(1, "kind", 7));
        assert_eq!(wrong(|p| p.records[2].kind = 0), record(2, "kind", 0));
        assert_eq!(wrong(|p| p.records[0].framing = 5), record(0, "framing", 5));
        assert_eq!(wrong(|p| p.records[0].code = 1), record(0, "code", 1));
        assert_eq!(wrong(|p| p.records[0].minor = 10), record(0, "minor", 10));
        assert_eq!(wrong(|p| p.records[1].flags = 1 << 31), record(1, "flags", 1 << 31));
        assert_eq!(wrong(|p| p.records[2].code = 13), record(2, "code", 13));
        assert_eq!(wrong(|p| p.records[2].code = 0), record(2, "code", 0));
        let coded = |kind, code| move |p: &mut Parts| (p.records[2].kind, p.records[2].code) = (kind, code);
        for code in [0, 9, u16::MAX] {
            assert_eq!(wrong(coded(record::NOT_HTTP, code)), record(2, "code", code.into()));
        }
        assert_eq!(wrong(coded(record::TUNNEL, 9)), record(2, "code", 9));
        for status in [0, 99, 1000] {
            assert_eq!(wrong(coded(record::RESPONSE, status)), record(2, "code", status.into()));
        }
    }

    #[test]
    fn any_other_broken_rule_is_named_with_its_item_and_field() {
        use Item::{Head, Pair, Record, Result};
        assert_eq!(wrong(|p| p.head.abi_version = 7), (Rule::Version, Head, "abi_version", 7));
        assert_eq!(wrong(|p| p.head.reserved[10] = 4), (Rule::Reserved, Head, "reserved", 4));
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
        assert_eq!(wrong(|p| p.records[0].num_pairs = 129), (Rule::Pairs, Record(0), "num_pairs", 129));
        assert_eq!(wrong(|p| p.records[0].first_pair = 1), (Rule::Pairs, Record(0), "first_pair", 1));
        assert_eq!(wrong(|p| p.pairs[0].value = u32::MAX), (Rule::Position, Pair(0), "value", u32::MAX.into()));
        assert_eq!(wrong(|p| p.pairs[0].name = 3), (Rule::Overlap, Pair(0), "name", 3));
        assert_eq!(wrong(|p| p.records[1].lost = 6), (Rule::RecordKind, Record(1), "lost", 6));
        assert_eq!(wrong(|p| p.records[1].content_length = 16), (Rule::BodyLength, Record(1), "content_length", 16));
    }
}
