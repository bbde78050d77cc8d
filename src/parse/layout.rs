//! Encodes the requests of one call into an input buffer as the guest contract defines it, and decodes the guest's reply
//! from the output buffer. Every value of the reply is untrusted and checked.
//!
//! Each request is the first event of a connection of its own, so that no request can affect another.

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::reply::{Alleged, Malformed, Replies, Span, Status};
use super::{BATCH_BYTES, BATCH_REQUESTS, Error, Field};
use crate::abi::{self, error, flag, opener, record, verdict};

const EVENT: usize = size_of::<abi::Event>();
const ROW: usize = size_of::<abi::Row>();
const RESULT: usize = size_of::<abi::Result>();
const RECORD: usize = size_of::<abi::Record>();
const PAIR: usize = size_of::<abi::Pair>();

const EVENTS_AT: usize = size_of::<abi::Input>();
const RESULTS_AT: usize = size_of::<abi::Output>();
const RECORDS_AT: usize = RESULTS_AT + BATCH_REQUESTS * RESULT;
/// A request takes one or two records. If some take more and the area is full, the guest stops and is called again.
const MAX_RECORDS: usize = 4 * BATCH_REQUESTS;
const PAIRS_AT: usize = RECORDS_AT + MAX_RECORDS * RECORD;
/// 16 headers per request on average; with more, the guest stops and is called again.
const MAX_PAIRS: usize = 16 * BATCH_REQUESTS;

/// Bytes of the input buffer: enough for the largest batch.
pub(super) const INPUT_BYTES: usize = EVENTS_AT + BATCH_REQUESTS * (EVENT + ROW) + BATCH_BYTES;
/// The parser asks for it, and writes nothing there for requests.
const TEXT_AT: usize = PAIRS_AT + MAX_PAIRS * PAIR;
/// Bytes of the output buffer.
pub(super) const OUTPUT_BYTES: usize = TEXT_AT + abi::MIN_TEXT as usize;

/// Encodes `requests` (at most [`BATCH_REQUESTS`], together at most [`BATCH_BYTES`]) into `input`.
///
/// # Errors
/// The buffer is too small for them.
pub(super) fn encode(requests: &[&[u8]], input: &mut [u8]) -> Result<(), Error> {
    let needed = EVENTS_AT + requests.len() * (EVENT + ROW) + requests.iter().map(|r| r.len()).sum::<usize>();
    let had = input.len();
    let small = || Error::Room { needed, had };
    let rows_at = EVENTS_AT + requests.len() * EVENT;
    let arena_at = rows_at + requests.len() * ROW;
    let header = abi::Input {
        abi_version: abi::VERSION,
        num_events: size32(requests.len()),
        num_rows: size32(requests.len()),
        num_marks: 0,
        events: size32(EVENTS_AT),
        rows: size32(rows_at),
        marks: size32(arena_at),
        arena: size32(arena_at),
        arena_len: size32(needed - arena_at),
        results: size32(RESULTS_AT),
        records: size32(RECORDS_AT),
        max_records: size32(MAX_RECORDS),
        pairs: size32(PAIRS_AT),
        max_pairs: size32(MAX_PAIRS),
        text: size32(TEXT_AT),
        max_text: abi::MIN_TEXT,
        ..abi::Input::default()
    };
    header.write_to_prefix(input).map_err(|_| small())?;
    let mut data = 0;
    for (index, request) in requests.iter().enumerate() {
        let event = abi::Event {
            row: size32(index),
            kind: abi::kind::BYTES,
            flags: abi::event_flag::SEGMENT,
            peer_acked: abi::UNKNOWN,
            data: size32(data),
            len: size32(request.len()),
            ..abi::Event::default()
        };
        // A request is all that there is: none opens a tunnel.
        let row = abi::Row { opener: opener::SIDE0, depth: abi::MAX_DEPTH, ..abi::Row::new_zeroed() };
        put(input, EVENTS_AT + index * EVENT, event.as_bytes()).ok_or_else(small)?;
        put(input, rows_at + index * ROW, row.as_bytes()).ok_or_else(small)?;
        put(input, arena_at + data, request).ok_or_else(small)?;
        data += request.len();
    }
    Ok(())
}

/// Decodes the reply to `requests` from `output` into `replies`. Returns how many of the requests, from the first, have a
/// reply. The rest must be passed again, since the output area was full.
///
/// # Errors
/// The reply is invalid.
pub(super) fn decode(requests: &[&[u8]], output: &[u8], replies: &mut Replies) -> Result<usize, Error> {
    let (header, _) = abi::Output::read_from_prefix(output).map_err(|_| Error::invalid(Field::Short, output.len()))?;
    if header.abi_version != abi::VERSION {
        return Err(Error::invalid(Field::Version, header.abi_version));
    }
    let done = at_most(header.events_done, requests.len(), Field::Events)?;
    let num_records = at_most(header.num_records, MAX_RECORDS, Field::Records)?;
    let num_pairs = at_most(header.num_pairs, MAX_PAIRS, Field::Pairs)?;
    let mut next = 0;
    for (index, request) in requests.iter().enumerate().take(done) {
        let result: abi::Result = get(output, RESULTS_AT, index)?;
        let mut first = None;
        while next < num_records {
            let candidate: abi::Record = get(output, RECORDS_AT, next)?;
            match (candidate.event as usize).cmp(&index) {
                std::cmp::Ordering::Less => return Err(Error::invalid(Field::Order, candidate.event)),
                std::cmp::Ordering::Greater => break,
                std::cmp::Ordering::Equal => first = first.or(Some(candidate)),
            }
            next += 1;
        }
        match (first, result.verdict) {
            (Some(record), _) => reply(&record, request, output, num_pairs, replies)?,
            (None, verdict::DONE | verdict::NEED_MORE) => replies.push_failed(Status::Partial),
            (None, verdict::OUTPUT_FULL) if index > 0 => return Ok(index),
            (None, other) => return Err(Error::invalid(Field::Verdict, other)),
        }
    }
    if done == 0 && !requests.is_empty() {
        return Err(Error::invalid(Field::Events, 0_u32));
    }
    Ok(done)
}

/// Appends the reply to a request, from the first record about it.
fn reply(
    record: &abi::Record,
    request: &[u8],
    output: &[u8],
    num_pairs: usize,
    replies: &mut Replies,
) -> Result<(), Error> {
    let malformed = match record.kind {
        record::REQUEST => refused(record.flags),
        record::RESPONSE => Some(Malformed::Response),
        record::NOT_HTTP => Some(Malformed::NotHttp(record.code)),
        record::ERROR => Some(Malformed::Error(record.code)),
        other => return Err(Error::invalid(Field::Kind, other)),
    };
    if let Some(why) = malformed {
        replies.push_failed(Status::Malformed(why));
        return Ok(());
    }
    let first = record.first_pair as usize;
    let count = at_most(record.num_pairs, abi::MAX_HEADERS as usize, Field::Pairs)?;
    if first.saturating_add(count) > num_pairs {
        return Err(Error::invalid(Field::Pairs, record.first_pair));
    }
    let start = PAIRS_AT + first * PAIR;
    let bytes = output.get(start..start + count * PAIR).ok_or_else(|| Error::invalid(Field::Short, output.len()))?;
    let pairs = bytes.chunks_exact(PAIR).filter_map(|bytes| abi::Pair::read_from_bytes(bytes).ok());
    let alleged = Alleged {
        bytes: record.end,
        method: Span { at: record.text, len: record.text_len },
        target: Span { at: record.target, len: record.target_len },
        minor: record.minor,
    };
    replies.push(alleged, request.len(), pairs)
}

/// Why the strict reader refuses a request that the lenient one has read; `guest/ways/argv.c` has the same.
const fn refused(flags: u32) -> Option<Malformed> {
    let code = match flags {
        _ if flags & flag::BAD_START_LINE != 0 => error::BAD_START_LINE,
        _ if flags & flag::BAD_HEADER != 0 => error::BAD_HEADER,
        _ if flags & flag::TOO_MANY_HEADERS != 0 => error::TOO_MANY_HEADERS,
        _ if flags & flag::HEAD_CUT != 0 => error::HEAD_TOO_LONG,
        _ => return None,
    };
    Some(Malformed::Error(code))
}

/// Reads item `index` of the array at `start`.
fn get<T: FromBytes>(output: &[u8], start: usize, index: usize) -> Result<T, Error> {
    let bytes = output.get(start + index * size_of::<T>()..).unwrap_or_default();
    T::read_from_prefix(bytes).map(|(item, _)| item).map_err(|_| Error::invalid(Field::Short, output.len()))
}

fn put(input: &mut [u8], start: usize, bytes: &[u8]) -> Option<()> {
    input.get_mut(start..start.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

fn at_most(value: u32, limit: usize, field: Field) -> Result<usize, Error> {
    let len = value as usize;
    if len <= limit { Ok(len) } else { Err(Error::invalid(field, value)) }
}

/// The size as a field of the contract. Sizes of a batch are bounded, far below 4 GiB.
pub(super) fn size32(size: usize) -> u32 {
    debug_assert!(u32::try_from(size).is_ok(), "{size} bytes in a batch");
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";

    /// The outcome of decoding a valid reply to one request, after `change`.
    fn decode_one(change: impl FnOnce(&mut abi::Output, &mut abi::Result, &mut abi::Record, &mut abi::Pair)) -> String {
        let mut header = abi::Output {
            abi_version: abi::VERSION,
            events_done: 1,
            num_records: 1,
            num_pairs: 1,
            ..abi::Output::default()
        };
        let mut result = abi::Result { verdict: verdict::DONE, consumed: 24, ..abi::Result::default() };
        let mut record = abi::Record {
            kind: record::REQUEST,
            minor: 1,
            end: 24,
            text_len: 3,
            target: 4,
            target_len: 1,
            ..abi::Record::default()
        };
        record.num_pairs = 1;
        let mut pair = abi::Pair { name: 16, name_len: 1, value: 19, value_len: 1 };
        change(&mut header, &mut result, &mut record, &mut pair);
        let mut output = vec![0; OUTPUT_BYTES];
        put(&mut output, 0, header.as_bytes()).unwrap();
        put(&mut output, RESULTS_AT, result.as_bytes()).unwrap();
        put(&mut output, RECORDS_AT, record.as_bytes()).unwrap();
        put(&mut output, PAIRS_AT, pair.as_bytes()).unwrap();
        let mut replies = Replies::default();
        match decode(&[REQUEST], &output, &mut replies) {
            Ok(_) => format!("{:?} {:?}", replies.heads()[0].status, replies.headers(&replies.heads()[0])),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_valid_reply_is_accepted() {
        let span = |at, len| Span { at, len };
        let headers = [(span(16, 1), span(19, 1))];
        assert_eq!(decode_one(|_, _, _, _| ()), format!("{:?} {headers:?}", Status::Parsed { bytes: 24 }));
    }

    #[test]
    fn an_invalid_reply_is_rejected() {
        assert_eq!(decode_one(|o, _, _, _| o.abi_version = 9), "guest: invalid reply version: 9");
        assert_eq!(decode_one(|o, _, _, _| o.events_done = 0), "guest: invalid number of events done: 0");
        assert_eq!(decode_one(|o, _, _, _| o.events_done = 2), "guest: invalid number of events done: 2");
        assert_eq!(decode_one(|o, _, _, _| o.num_records = u32::MAX), "guest: invalid number of records: 4294967295");
        assert_eq!(decode_one(|o, _, _, _| o.num_pairs = u32::MAX), "guest: invalid number of headers: 4294967295");
        assert_eq!(decode_one(|_, r, q, _| (r.verdict, q.event) = (9, 1)), "guest: invalid verdict: 9");
        assert_eq!(
            decode_one(|_, r, q, _| (r.verdict, q.event) = (verdict::OUTPUT_FULL, 1)),
            "guest: invalid verdict: 3"
        );
        assert_eq!(decode_one(|_, _, q, _| q.kind = 7), "guest: invalid record kind: 7");
        assert_eq!(decode_one(|_, _, q, _| q.end = 25), "guest: invalid text offset: 0");
        assert_eq!(decode_one(|_, _, q, _| q.text_len = u32::MAX), "guest: invalid text offset: 0");
        assert_eq!(decode_one(|_, _, q, _| q.target = 24), "guest: invalid text offset: 24");
        assert_eq!(decode_one(|_, _, q, _| q.first_pair = u32::MAX), "guest: invalid number of headers: 4294967295");
        assert_eq!(decode_one(|_, _, q, _| q.num_pairs = 129), "guest: invalid number of headers: 129");
        assert_eq!(decode_one(|_, _, _, p| p.value = u32::MAX), "guest: invalid text offset: 4294967295");
    }

    #[test]
    fn a_short_buffer_is_no_panic() {
        for len in 0..INPUT_BYTES.min(400) {
            assert_eq!(encode(&[REQUEST], &mut vec![0; len]).is_ok(), len >= EVENTS_AT + EVENT + ROW + REQUEST.len());
            assert!(decode(&[REQUEST], &vec![0; len], &mut Replies::default()).is_err());
        }
    }

    #[test]
    fn the_largest_batch_fits() {
        let requests = vec![[b'a'; BATCH_BYTES / BATCH_REQUESTS]; BATCH_REQUESTS];
        let requests: Vec<&[u8]> = requests.iter().map(<[u8; 1024]>::as_slice).collect();
        encode(&requests, &mut vec![0; INPUT_BYTES]).unwrap();
    }
}
