//! The one door through which anything that the guest says comes in.
//!
//! A reply is an allegation until [`check`] has looked at all of it. What it gives out borrows guest memory while the
//! guest does not run, so that nothing can change between check and use.

use zerocopy::FromBytes;

use super::call::{Call, Encoded, PAIRS_AT, RECORDS_AT, RESULTS_AT};
use super::fault::ReplyError;
use crate::abi::{self, error, event_flag, framing, kind, not_http, record, verdict};

/// A reply that has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Answers to the first events of the call, at least one.
    pub results: &'a [abi::Result],
    /// Statements, in order of the events.
    pub records: &'a [abi::Record],
    /// Headers that records refer to.
    pub pairs: &'a [abi::Pair],
}

/// The event that the guest says it was on. Good for a guess only.
#[must_use]
pub fn alleged_event(output: &[u8]) -> usize {
    abi::Output::read_from_prefix(output).map_or(0, |(head, _)| head.current_event as usize)
}

/// Which sides of a connection wait, and whether events of it are being deferred, in the course of one reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    waits: [bool; 2],
    deferring: bool,
}

/// Checks a whole reply to `call`.
///
/// # Errors
/// The first thing found that cannot be true.
pub fn check<'a>(call: &Call, output: &'a [u8]) -> Result<Reply<'a>, ReplyError> {
    let (head, _) = abi::Output::read_from_prefix(output).map_err(|_| ReplyError::EventCount)?;
    if head.abi_version != abi::VERSION {
        return Err(ReplyError::Version);
    }
    if head.reserved != [0; 11] {
        return Err(ReplyError::Reserved);
    }
    if head.events_done == 0 || head.events_done as usize > call.encoded.len() {
        return Err(ReplyError::EventCount);
    }
    if head.num_records > call.bounds.records {
        return Err(ReplyError::RecordCount);
    }
    if head.num_pairs > call.bounds.pairs {
        return Err(ReplyError::PairCount);
    }
    let reply = Reply {
        results: table(output, RESULTS_AT, head.events_done).ok_or(ReplyError::EventCount)?,
        records: table(output, RECORDS_AT, head.num_records).ok_or(ReplyError::RecordCount)?,
        pairs: table(output, PAIRS_AT, head.num_pairs).ok_or(ReplyError::PairCount)?,
    };
    check_results(call, &reply)?;
    check_records(call, &reply)?;
    Ok(reply)
}

fn table<T>(output: &[u8], at: u32, count: u32) -> Option<&[T]>
where
    T: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout,
{
    let bytes = output.get(at as usize..)?;
    <[T]>::ref_from_prefix_with_elems(bytes, count as usize).ok().map(|(items, _)| items)
}

fn check_results(call: &Call, reply: &Reply<'_>) -> Result<(), ReplyError> {
    // One for each row, made when the first side waits: most calls have none.
    let mut progress: Vec<Progress> = Vec::new();
    let last = reply.results.len() - 1;
    for ((at, result), encoded) in reply.results.iter().enumerate().zip(&call.encoded) {
        if result.reserved != 0 || result.wake > 1 {
            return Err(ReplyError::Reserved);
        }
        let event = &encoded.event;
        let row = event.row as usize;
        let state = progress.get(row).copied().unwrap_or_default();
        let waits = state.waits.get(usize::from(event.side)).copied().unwrap_or(true);
        let must_defer = state.deferring || waits;
        if must_defer != (result.verdict == verdict::DEFERRED) {
            return Err(if must_defer || result.verdict == verdict::DEFERRED {
                ReplyError::Order
            } else {
                ReplyError::Verdict
            });
        }
        let next = check_result(result, encoded, state)?;
        if next != state {
            if progress.is_empty() {
                progress.resize(call.rows(), Progress::default());
            }
            if let Some(state) = progress.get_mut(row) {
                *state = next;
            }
        }
        match (result.verdict == verdict::OUTPUT_FULL, at == last) {
            (true, false) => return Err(ReplyError::EventCount),
            (true, true) if reply.records.is_empty() && result.consumed == 0 => return Err(ReplyError::NoProgress),
            (false, true) if reply.results.len() != call.encoded.len() => return Err(ReplyError::EventCount),
            _ => {}
        }
    }
    Ok(())
}

fn check_result(result: &abi::Result, encoded: &Encoded, mut state: Progress) -> Result<Progress, ReplyError> {
    let event = &encoded.event;
    if result.skip != 0 && result.verdict != verdict::DONE {
        return Err(ReplyError::Skip);
    }
    let rest = event.len.checked_sub(result.consumed).ok_or(ReplyError::Consumed)?;
    match result.verdict {
        verdict::DONE => {
            if rest != 0 {
                return Err(ReplyError::Consumed);
            }
            let end = event.offset.saturating_add(u64::from(event.len)).saturating_add(event.length);
            if result.skip != 0 && (result.skip <= end || event.kind == kind::END) {
                return Err(ReplyError::Skip);
            }
        }
        verdict::NEED_MORE => {
            let may = event.kind == kind::BYTES && event.flags & event_flag::FINAL == 0;
            if !may || rest == 0 || rest > abi::MAX_WAITING {
                return Err(ReplyError::Waiting);
            }
            if let Some(waits) = state.waits.get_mut(usize::from(event.side)) {
                *waits = true;
            }
        }
        verdict::OUTPUT_FULL => {
            // All consumed and still full can only be an event without bytes, which is presented again as it is.
            if rest == 0 && event.kind == kind::BYTES {
                return Err(ReplyError::Consumed);
            }
        }
        verdict::DEFERRED => {
            if result.consumed != 0 {
                return Err(ReplyError::Consumed);
            }
            state.deferring = true;
        }
        _ => return Err(ReplyError::Verdict),
    }
    Ok(state)
}

fn check_records(call: &Call, reply: &Reply<'_>) -> Result<(), ReplyError> {
    let mut event = 0;
    let mut reached = 0;
    for record in reply.records {
        if record.event < event {
            return Err(ReplyError::RecordEvent);
        }
        if record.event > event {
            event = record.event;
            reached = 0;
        }
        let index = record.event as usize;
        let (Some(result), Some(encoded)) = (reply.results.get(index), call.encoded.get(index)) else {
            return Err(ReplyError::RecordEvent);
        };
        if result.verdict == verdict::DEFERRED {
            return Err(ReplyError::RecordEvent);
        }
        if record.reserved != 0 || record.reserved2 != 0 {
            return Err(ReplyError::Reserved);
        }
        if record.start > record.end || record.end > result.consumed {
            return Err(ReplyError::Position);
        }
        check_record(record, encoded)?;
        match record.kind {
            record::REQUEST | record::RESPONSE => {
                if record.start < reached {
                    return Err(ReplyError::Overlap);
                }
                reached = record.end;
                check_texts(record, reply.pairs)?;
            }
            record::END => {
                if record.start < reached {
                    return Err(ReplyError::Overlap);
                }
                reached = record.end;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The most that is known of flags: every bit that has a name.
const FLAGS: u32 = (abi::flag::REQUEST_LOST << 1) - 1;

fn check_record(record: &abi::Record, encoded: &Encoded) -> Result<(), ReplyError> {
    let head = matches!(record.kind, record::REQUEST | record::RESPONSE);
    let code = match record.kind {
        record::REQUEST | record::END => record.code == 0,
        record::RESPONSE => (100..=999).contains(&record.code),
        record::TUNNEL => record.code <= not_http::H2C,
        record::NOT_HTTP => (not_http::OTHER..=not_http::H2C).contains(&record.code),
        record::ERROR => (error::BAD_START_LINE..=error::NO_START).contains(&record.code),
        _ => false,
    };
    let fields = if head { record.minor <= 9 && record.framing <= framing::TUNNEL } else { record.num_pairs == 0 };
    if !code || !fields || record.flags & !FLAGS != 0 {
        return Err(ReplyError::RecordKind);
    }
    // Only a tunnel, a protocol or an error may be said of the other side too.
    if record.side > 1 || ((head || record.kind == record::END) && record.side != encoded.event.side) {
        return Err(ReplyError::RecordEvent);
    }
    if head && encoded.event.kind != kind::BYTES {
        return Err(ReplyError::RecordEvent);
    }
    if record.kind == record::REQUEST && record.number == 0 {
        return Err(ReplyError::Number);
    }
    if record.kind == record::END {
        if record.lost > record.content_length || record.decoded > record.content_length {
            return Err(ReplyError::RecordKind);
        }
        // Stream offset at which it ends; of one that ends within a skipped stretch, what is behind the skipped stretch is an upper bound. What was
        // never seen has its place in the stream too.
        let reached = encoded.event.offset.saturating_add(encoded.event.length).saturating_add(u64::from(record.end));
        if record.content_length > reached {
            return Err(ReplyError::BodyLength);
        }
    }
    Ok(())
}

/// Texts lie inside their head, in order, and apart.
fn check_texts(record: &abi::Record, pairs: &[abi::Pair]) -> Result<(), ReplyError> {
    if record.num_pairs > abi::MAX_HEADERS {
        return Err(ReplyError::Pairs);
    }
    let first = record.first_pair as usize;
    let headers = pairs.get(first..first.saturating_add(record.num_pairs as usize)).ok_or(ReplyError::Pairs)?;
    let mut reached = record.start;
    let mut text = |position: u32, len: u32| {
        if len == 0 {
            return Ok(());
        }
        let end = position.checked_add(len).filter(|end| *end <= record.end).ok_or(ReplyError::Position)?;
        if position < reached {
            return Err(ReplyError::Overlap);
        }
        reached = end;
        Ok(())
    };
    text(record.text, record.text_len)?;
    text(record.target, record.target_len)?;
    for pair in headers {
        text(pair.name, pair.name_len)?;
        text(pair.value, pair.value_len)?;
    }
    Ok(())
}
