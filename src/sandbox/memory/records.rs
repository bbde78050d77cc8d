//! Records of a reply: their codes become types, and their positions, texts and sizes are checked.

use super::{Answer, Meaning};
use crate::abi::{self, Framing, NotHttp, ParseError, RecordKind, Tunnel, Verdict, kind};
use crate::sandbox::call::{Call, Encoded};
use crate::sandbox::fault::{Item, ReplyError, Rule};

pub(super) fn check_records(
    call: &Call,
    answers: &[Answer],
    records: &[abi::Record],
    pairs: &[abi::Pair],
    text_len: u32,
    meanings: &mut Vec<Meaning>,
) -> Result<(), ReplyError> {
    meanings.clear();
    let mut texts = TextCheck { pairs, area_len: text_len, lines_reached: 0, pairs_reached: 0 };
    let mut event = 0;
    let (mut reached, mut bodies_reached) = (0, 0);
    for (index, record) in (0..).zip(records) {
        let wrong = |rule, field, value| ReplyError { rule, item: Item::Record(index), field, value };
        let of_event = || wrong(Rule::RecordEvent, "event", record.event.into());
        if record.event < event {
            return Err(of_event());
        }
        if record.event > event {
            event = record.event;
            (reached, bodies_reached) = (0, 0);
        }
        let answer = answers.get(record.event as usize).filter(|answer| answer.verdict != Verdict::Deferred);
        let encoded = call.encoded.get(record.event as usize);
        let (answer, encoded) = answer.zip(encoded).ok_or_else(of_event)?;
        if record.reserved != 0 {
            return Err(wrong(Rule::Reserved, "reserved", record.reserved.into()));
        }
        if record.start > record.end {
            return Err(wrong(Rule::Position, "start", record.start.into()));
        }
        if record.end > answer.consumed {
            return Err(wrong(Rule::Position, "end", record.end.into()));
        }
        let meaning = check_record(index, record, encoded)?;
        if meaning.has_extent() {
            // The end of a message stands for all of its body.
            let bodies = if meaning == Meaning::End { 0 } else { bodies_reached };
            if record.start < reached.max(bodies) {
                return Err(wrong(Rule::Overlap, "start", record.start.into()));
            }
            reached = record.end;
        } else if meaning == Meaning::Body {
            check_body(index, record, call.bodies, reached.max(bodies_reached))?;
            bodies_reached = record.end;
        }
        if meaning.has_texts() {
            texts.check(index, record)?;
        }
        meanings.push(meaning);
    }
    Ok(())
}

/// Gives the record's kind and codes their types, and checks the fields that depend on them.
#[inline]
fn check_record(index: u32, record: &abi::Record, encoded: &Encoded) -> Result<Meaning, ReplyError> {
    let wrong = |rule, field, value| ReplyError { rule, item: Item::Record(index), field, value };
    let unknown = |field, value| wrong(Rule::RecordKind, field, value);
    let code = || unknown("code", record.code.into());
    let framing = || Framing::from_code(record.framing).ok_or_else(|| unknown("framing", record.framing.into()));
    let of = RecordKind::from_code(record.kind).ok_or_else(|| unknown("kind", record.kind.into()))?;
    let meaning = match of {
        RecordKind::Request if record.code != 0 => return Err(code()),
        RecordKind::Request => Meaning::Request(framing()?),
        RecordKind::Response if !(100..=999).contains(&record.code) && !is_unknown(record) => return Err(code()),
        RecordKind::Response => Meaning::Response(framing()?),
        RecordKind::End if record.code != 0 => return Err(code()),
        RecordKind::End => Meaning::End,
        RecordKind::Tunnel => Meaning::Tunnel(Tunnel::from_code(record.code).ok_or_else(code)?),
        RecordKind::NotHttp => Meaning::NotHttp(NotHttp::from_code(record.code).ok_or_else(code)?),
        RecordKind::Error => Meaning::Error(ParseError::from_code(record.code).ok_or_else(code)?),
        _ if record.code != 0 => return Err(code()),
        RecordKind::Trailers => Meaning::Trailers,
        RecordKind::Reset => Meaning::Reset,
        RecordKind::Operation => Meaning::Operation,
        RecordKind::Outcome => Meaning::Outcome,
        RecordKind::Body => Meaning::Body,
    };
    let head = matches!(of, RecordKind::Request | RecordKind::Response);
    if head && record.minor > 9 {
        return Err(unknown("minor", record.minor.into()));
    }
    let pairs = head || matches!(of, RecordKind::Trailers | RecordKind::Operation | RecordKind::Outcome);
    if !pairs && record.num_pairs != 0 {
        return Err(unknown("num_pairs", record.num_pairs.into()));
    }
    // Only a tunnel, a protocol or an error may be reported of the other side too.
    let own = pairs || matches!(of, RecordKind::End | RecordKind::Reset | RecordKind::Body);
    if record.side > 1 || (own && record.side != encoded.event.side) {
        return Err(wrong(Rule::RecordEvent, "side", record.side.into()));
    }
    if (pairs || of == RecordKind::Body) && encoded.event.kind != kind::BYTES {
        return Err(wrong(Rule::RecordEvent, "event", record.event.into()));
    }
    if matches!(of, RecordKind::Request | RecordKind::Operation) && record.number == 0 {
        return Err(wrong(Rule::Number, "number", 0));
    }
    if of == RecordKind::End {
        check_sizes(index, record, encoded)?;
    }
    Ok(meaning)
}

/// Bytes of a body are asked for, at most so many of each, and lie apart, behind the head. `reached`: the end of what was said before.
#[cold]
fn check_body(index: u32, record: &abi::Record, bodies: u32, reached: u32) -> Result<(), ReplyError> {
    let wrong = |rule, field, value| ReplyError { rule, item: Item::Record(index), field, value };
    if bodies == 0 {
        return Err(wrong(Rule::RecordKind, "kind", record.kind.into()));
    }
    if record.start < reached {
        return Err(wrong(Rule::Overlap, "start", record.start.into()));
    }
    let len = u64::from(record.end.saturating_sub(record.start));
    if len == 0 {
        return Err(wrong(Rule::Position, "end", record.end.into()));
    }
    if record.decoded.saturating_add(len) > u64::from(bodies) {
        return Err(wrong(Rule::BodyLength, "decoded", record.decoded));
    }
    Ok(())
}

/// A response of HTTP/2 whose status is not known, or is none.
const fn is_unknown(record: &abi::Record) -> bool {
    const WHY: u32 = abi::flag::HPACK_UNKNOWN | abi::flag::BAD_START_LINE;
    record.code == 0 && record.stream != 0 && record.flags & WHY != 0
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

/// The texts of a reply, as far as they have been checked.
struct TextCheck<'a> {
    pairs: &'a [abi::Pair],
    area_len: u32,
    /// End of the last text of a start line in the text area.
    lines_reached: u32,
    /// End of the last text of a pair there.
    pairs_reached: u32,
}

impl TextCheck<'_> {
    /// Texts lie inside their head, in order and apart; or inside the text area, where those of pairs are in order and apart,
    /// and those of start lines apart and behind those of earlier records.
    #[inline]
    fn check(&mut self, index: u32, record: &abi::Record) -> Result<(), ReplyError> {
        let wrong =
            |field, value: u32| ReplyError { rule: Rule::Pairs, item: Item::Record(index), field, value: value.into() };
        if record.num_pairs > abi::MAX_PAIRS {
            return Err(wrong("num_pairs", record.num_pairs));
        }
        let first = record.first_pair as usize;
        let headers = self.pairs.get(first..first.saturating_add(record.num_pairs as usize));
        let headers = headers.ok_or_else(|| wrong("first_pair", record.first_pair))?;
        let (item, mut reached) = (Item::Record(index), record.start);
        let mut line = |field, position, len| {
            text(item, field, (position, len), (record.end, &mut reached), (self.area_len, &mut self.lines_reached))
        };
        if record.text & record.target & abi::TEXT != 0 && record.target < record.text {
            line("target", record.target, record.target_len)?;
            line("text", record.text, record.text_len)?;
        } else {
            line("text", record.text, record.text_len)?;
            line("target", record.target, record.target_len)?;
        }
        for (index, pair) in (record.first_pair..).zip(headers) {
            // Nearly always.
            if let Some(end) = plain_pair(pair, reached, record.end) {
                reached = end;
                continue;
            }
            let item = Item::Pair(index);
            let mut pair_text = |field, position, len| {
                text(item, field, (position, len), (record.end, &mut reached), (self.area_len, &mut self.pairs_reached))
            };
            pair_text("name", pair.name, pair.name_len)?;
            pair_text("value", pair.value, pair.value_len)?;
        }
        Ok(())
    }
}

/// A text, given by position and length, begins behind what is reached in its head or in the text area, whichever it lies in, and
/// ends inside. Of both: the end, and what is reached.
#[inline]
fn text(
    item: Item,
    field: &'static str,
    (position, len): (u32, u32),
    head: (u32, &mut u32),
    area: (u32, &mut u32),
) -> Result<(), ReplyError> {
    if len == 0 {
        return Ok(());
    }
    let wrong = |rule| ReplyError { rule, item, field, value: position.into() };
    let (start, (limit, reached)) = match position & abi::TEXT {
        0 => (position, head),
        _ => (position & !abi::TEXT, area),
    };
    let end = start.checked_add(len).filter(|end| *end <= limit);
    let end = end.ok_or_else(|| wrong(Rule::Position))?;
    if start < *reached {
        return Err(wrong(Rule::Overlap));
    }
    *reached = end;
    Ok(())
}

/// The end of a pair of two texts that lie in the head, in order, from `reached` on; `None`: it is to be looked at closely.
#[inline]
fn plain_pair(pair: &abi::Pair, reached: u32, head_end: u32) -> Option<u32> {
    let name_end = u64::from(pair.name) + u64::from(pair.name_len);
    let value_end = pair.value.checked_add(pair.value_len)?;
    let full = pair.name_len > 0 && pair.value_len > 0;
    let in_order = reached <= pair.name && name_end <= u64::from(pair.value) && value_end <= head_end;
    // The host's events are far shorter than the positions of the text area.
    (full && in_order && head_end <= abi::TEXT).then_some(value_end)
}
