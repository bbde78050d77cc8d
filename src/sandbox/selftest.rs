//! The self-test must be passed before a parser gets traffic: no input from the wire makes it break the contract, and it gives
//! the same records however the bytes are cut. A parser of HTTP/1 must find a request as well; what others should find in
//! their protocols is not known here.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::call::Bounds;
use super::cpu_time::thread_time;
use super::driver::{Driver, Receiver, SandboxCounters};
use super::engine::Parser;
use super::fault::Fault;
use super::protocol::ENTRY;
use super::quarantine::QuarantinedEvent;
use super::shadow::Digest;
use crate::batch::{Batcher, CollectSlots};
use crate::http::record::{Kind, Record};
use crate::stream::{Connection, EndReason, OpenConnection, Position, Side, Sink, UNKNOWN};

/// Processor time of the whole self-test. The built-in parser takes some 20 ms.
pub const MOST_TIME: Duration = Duration::from_secs(2);

/// Why a parser gets no traffic.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SelfTestError {
    /// It broke the contract.
    #[error("self-test {test}: {fault}")]
    Fault {
        /// Name of the test.
        test: String,
        /// What happened.
        fault: Fault,
    },
    /// It did not find the request.
    #[error("self-test {test}: needed one request record with method GET and target /selftest, got {had}")]
    NoRequest {
        /// Name of the test.
        test: String,
        /// How many such records there were.
        had: u64,
    },
    /// It gives more or fewer records for the same bytes when they are cut.
    #[error("self-test {test}: {had} records, and {needed} when the bytes come in one piece")]
    Unsteady {
        /// Name of the test.
        test: String,
        /// Records for the bytes in one piece.
        needed: usize,
        /// Records for the bytes cut.
        had: usize,
    },
    /// It gives another record for the same bytes when they are cut.
    #[error("self-test {test}: record {record} is not the one given when the bytes come in one piece")]
    Differs {
        /// Name of the test.
        test: String,
        /// Number of the first such record, from 1.
        record: usize,
    },
    /// It is too slow.
    #[error("self-test {test}: the parser has used the {} s of processor time that the self-test is given", MOST_TIME.as_secs())]
    Slow {
        /// Name of the test in progress.
        test: String,
    },
    /// The program is to end.
    #[error("self-test: stopped before it was done")]
    Stopped,
}

const REQUEST: &[u8] = b"GET /selftest HTTP/1.1\r\nHost: localhost\r\nX-Test: yes\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Runs the self-test. `stop`: whether the program is to end. Returns the number of scripts that were run.
///
/// # Errors
/// The first test that failed.
pub fn selftest(parser: &Arc<Parser>, stop: &dyn Fn() -> bool) -> Result<usize, SelfTestError> {
    let limits = Limits { end: thread_time() + MOST_TIME, stop };
    let run = |test: &str, script: &[Move]| run(parser, test, script, limits);
    let whole = run("whole", &exchange(usize::MAX))?;
    known(parser, "whole", &whole)?;
    let mut tried = 1;
    for cut in 1..REQUEST.len().max(RESPONSE.len()) {
        let test = format!("cut every {cut} bytes");
        let notes = run(&test, &exchange(cut))?;
        known(parser, &test, &notes)?;
        same(test, &whole.records, &notes.records)?;
        tried += 1;
    }
    for (test, script) in hostile() {
        run(test, &script)?;
        // Here records may differ: a search for a start looks at the starts of segments.
        run(&format!("{test}, cut every {HOSTILE_CUT} bytes"), &cut(&script))?;
        tried += 2;
    }
    Ok(tried)
}

/// Checks what a parser of HTTP/1 must have found in the exchange.
fn known(parser: &Parser, test: &str, notes: &Notes<'_>) -> Result<(), SelfTestError> {
    match notes.requests {
        had if parser.format.protocol == ENTRY && had != 1 => Err(SelfTestError::NoRequest { test: test.into(), had }),
        _ => Ok(()),
    }
}

/// Checks that the records of cut bytes are those of the bytes in one piece.
fn same(test: String, whole: &[Digest], cut: &[Digest]) -> Result<(), SelfTestError> {
    if whole.len() != cut.len() {
        return Err(SelfTestError::Unsteady { test, needed: whole.len(), had: cut.len() });
    }
    match whole.iter().zip(cut).position(|(one, other)| one != other) {
        Some(at) => Err(SelfTestError::Differs { test, record: at + 1 }),
        None => Ok(()),
    }
}

/// What happens on a connection: side, stream offset, and bytes, a skipped range, or the end.
enum Move {
    Bytes(Side, u64, Vec<u8>),
    Skipped(Side, u64, u64),
    End(Side, u64, EndReason),
}

fn exchange(cut: usize) -> Vec<Move> {
    let mut moves = Vec::new();
    for (side, bytes) in [(Side::First, REQUEST), (Side::Second, RESPONSE)] {
        let mut offset = 0;
        for piece in bytes.chunks(cut.min(bytes.len())) {
            moves.push(Move::Bytes(side, offset, piece.to_vec()));
            offset += piece.len() as u64;
        }
    }
    moves.push(Move::End(Side::First, REQUEST.len() as u64, EndReason::Fin));
    moves.push(Move::End(Side::Second, RESPONSE.len() as u64, EndReason::Fin));
    moves
}

/// Pieces of hostile streams: some hundred of the longest, so that the test takes milliseconds.
const HOSTILE_CUT: usize = 601;

/// The same with its bytes in pieces of [`HOSTILE_CUT`].
fn cut(script: &[Move]) -> Vec<Move> {
    let mut moves = Vec::new();
    for step in script {
        match step {
            Move::Bytes(side, offset, bytes) => {
                let offsets = (*offset..).step_by(HOSTILE_CUT);
                let pieces = bytes.chunks(HOSTILE_CUT).zip(offsets);
                moves.extend(pieces.map(|(piece, offset)| Move::Bytes(*side, offset, piece.to_vec())));
            }
            &Move::Skipped(side, offset, length) => moves.push(Move::Skipped(side, offset, length)),
            &Move::End(side, offset, reason) => moves.push(Move::End(side, offset, reason)),
        }
    }
    moves
}

/// Streams that nobody should send.
fn hostile() -> Vec<(&'static str, Vec<Move>)> {
    let every: Vec<u8> = (0..=255).collect();
    let long = vec![b'a'; 65_000];
    let mut headers = b"GET / HTTP/1.1\r\n".to_vec();
    for n in 0..200 {
        headers.extend_from_slice(format!("H{n}: v\r\n").as_bytes());
    }
    headers.extend_from_slice(b"\r\n");
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx".to_vec();
    let huge = b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n".to_vec();
    let one = |bytes: Vec<u8>| {
        let end = bytes.len() as u64;
        vec![
            Move::Bytes(Side::First, 0, bytes),
            Move::End(Side::First, end, EndReason::Reset),
            Move::End(Side::Second, 0, EndReason::Reset),
        ]
    };
    let gap = vec![
        Move::Bytes(Side::First, 0, REQUEST.iter().take(20).copied().collect()),
        Move::Bytes(Side::First, 1 << 40, REQUEST.to_vec()),
        Move::Bytes(Side::Second, u64::MAX / 2, RESPONSE.to_vec()),
        Move::End(Side::First, 1 << 41, EndReason::Timeout),
        Move::End(Side::Second, u64::MAX - 1, EndReason::Capture),
    ];
    let empty = vec![Move::End(Side::Second, 0, EndReason::Evicted), Move::End(Side::First, 7, EndReason::Reused)];
    let body = b"POST /selftest HTTP/1.1\r\nContent-Length: 100000\r\n\r\nbegin".to_vec();
    let end = body.len() as u64 + 99_995;
    let skipped = vec![
        Move::Bytes(Side::First, 0, body.clone()),
        Move::Skipped(Side::First, body.len() as u64, 99_995),
        Move::End(Side::First, end, EndReason::Fin),
        Move::End(Side::Second, 0, EndReason::Fin),
    ];
    vec![
        ("every byte", one(every)),
        ("65,000 bytes without a line end", one(long)),
        ("200 headers", one(headers)),
        ("a chunk of 2^64 bytes", one(chunks)),
        ("a length beyond 64 bits", one(huge)),
        ("empty lines", one(vec![b'\n'; 4096])),
        ("zeros", one(vec![0; 4096])),
        ("ones", one(vec![0xff; 4096])),
        // As they begin in protocols whose lengths are text, and in those whose lengths are binary.
        ("nested lists", one(b"*1\r\n".repeat(1000))),
        ("a string of 2^64 bytes", one(b"*2\r\n$3\r\nSET\r\n$18446744073709551615\r\nx".to_vec())),
        ("a TLS record that is cut", one(b"\x16\x03\x01\xff\xff\x01\x00\xff\xfb\x03\x03".to_vec())),
        ("an HTTP/2 frame that is cut", one(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x25".to_vec())),
        ("gaps", gap),
        ("ends alone", empty),
        ("a body left out", skipped),
    ]
}

/// When the self-test is given up.
#[derive(Clone, Copy)]
struct Limits<'a> {
    /// Processor time of the thread.
    end: Duration,
    stop: &'a dyn Fn() -> bool,
}

struct Notes<'a> {
    requests: u64,
    records: Vec<Digest>,
    fault: Option<Fault>,
    limits: Limits<'a>,
}

impl Receiver for Notes<'_> {
    type State = ();
    fn record(&mut self, _: &Connection, (): &mut (), record: &Record<'_>) {
        self.records.push(Digest::of(record).anywhere());
        if let Kind::Request(request) = &record.kind {
            self.requests += u64::from(request.method == b"GET" && request.target == b"/selftest");
        }
    }
    fn closed(&mut self, _: &Connection, (): &mut (), _: [u64; 2], _: EndReason) {}
    fn skip(&mut self, _: &Connection, _: Side, _: u64) {}
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, fault: &Fault) {
        self.fault.get_or_insert_with(|| fault.clone());
    }
    fn lost(&mut self, _: Duration, _: &SandboxCounters) -> bool {
        self.fault.is_none() && thread_time() < self.limits.end && !(self.limits.stop)()
    }
}

fn run<'a>(parser: &Arc<Parser>, test: &str, script: &[Move], limits: Limits<'a>) -> Result<Notes<'a>, SelfTestError> {
    let failed = |fault| SelfTestError::Fault { test: test.to_owned(), fault };
    let mut driver = Driver::new(Arc::clone(parser), Bounds::default()).map_err(failed)?;
    let mut notes = Notes { requests: 0, records: Vec::new(), fault: None, limits };
    let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
    let mut conn = OpenConnection::synthetic(1);
    for step in script {
        let at = |offset| Position { offset, peer_acked: UNKNOWN, time: 0 };
        match step {
            Move::Bytes(side, offset, bytes) => batcher.bytes(&mut conn, *side, at(*offset), true, bytes),
            Move::Skipped(side, offset, length) => batcher.skipped(&mut conn, *side, at(*offset), *length, 0),
            Move::End(side, offset, reason) => batcher.end(&mut conn, *side, at(*offset), *reason),
        }
    }
    batcher.flush();
    for slot in &batcher.deliverer().0 {
        driver.process(slot, &mut notes);
    }
    match notes.fault.take() {
        Some(fault) => Err(failed(fault)),
        None if (limits.stop)() => Err(SelfTestError::Stopped),
        None if thread_time() >= limits.end => Err(SelfTestError::Slow { test: test.to_owned() }),
        None => Ok(notes),
    }
}
