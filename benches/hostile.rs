//! The cost of traffic made to be expensive: host and guest together, from slots to transactions. Each shape comes in
//! sizes that roughly double. Work is linear in the bytes if the throughput of a shape stays constant.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use picotap::batch::{Batcher, CollectSlots, Slot};
use picotap::http::record::Record;
use picotap::http::{Exchange, HttpContext, Settings};
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::{Driver, Receiver};
use picotap::sandbox::engine::Engine;
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::sandbox::{BUILTIN_GUEST, BUILTIN_HTTP2};
use picotap::stream::{Connection, EndReason, OpenConnection, Position, Side, Sink};

#[path = "../tests/support/frame.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "shared with tests that use other parts of it"
)]
mod frame;

use frame::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame};

/// Pairs records, as a worker does, and counts the transactions.
struct WorkerOutputs {
    context: HttpContext,
    transactions: u64,
}

impl Receiver for WorkerOutputs {
    type State = Exchange;
    fn record(&mut self, connection: &Connection, exchange: &mut Exchange, record: &Record<'_>) {
        let Self { context, transactions } = self;
        exchange.record(context, connection, record, &mut |_| *transactions += 1);
    }
    fn closed(&mut self, connection: &Connection, exchange: &mut Exchange, lengths: [u64; 2], _: EndReason) {
        let Self { context, transactions } = self;
        exchange.close(context, connection, lengths, EndReason::Fin, &mut |_| *transactions += 1);
    }
    fn skip(&mut self, _: &Connection, _: Side, _: u64) {}
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, fault: &Fault) {
        panic!("{fault}");
    }
}

/// What the two sides of one connection send, in segments.
#[derive(Default)]
struct Talk {
    segments: Vec<(Side, Vec<u8>)>,
    /// Bytes lost before each segment.
    gap: u64,
}

impl Talk {
    fn of(side: Side, bytes: &[u8], segment: usize) -> Self {
        Self::default().and(side, bytes, segment)
    }

    fn and(mut self, side: Side, bytes: &[u8], segment: usize) -> Self {
        self.segments.extend(bytes.chunks(segment).map(|piece| (side, piece.to_vec())));
        self
    }

    /// One byte per segment, the sides in turn.
    fn in_turn(first: &[u8], second: &[u8]) -> Self {
        let turns = first.iter().zip(second);
        let segments = turns.flat_map(|(a, b)| [(Side::First, vec![*a]), (Side::Second, vec![*b])]).collect();
        Self { segments, gap: 0 }
    }

    fn with_gaps(self, gap: u64) -> Self {
        Self { gap, ..self }
    }

    fn len(&self) -> u64 {
        self.segments.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// The slots with its bytes, and those with its ends.
    #[expect(clippy::vec_box, reason = "slots are handed on boxed")]
    fn slots(&self) -> Vec<Box<Slot>> {
        let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
        let mut conn = OpenConnection::synthetic(1);
        let mut at = [0_u64; 2];
        let position = |side: Side, at: [u64; 2]| {
            let [first, second] = at;
            let (offset, acked) = if side == Side::First { (first, second) } else { (second, first) };
            Position { offset, peer_acked: acked, time: 1 }
        };
        for (side, bytes) in &self.segments {
            if let Some(at) = at.get_mut(side.index()) {
                *at += self.gap;
            }
            batcher.bytes(&mut conn, *side, position(*side, at), true, bytes);
            if let Some(at) = at.get_mut(side.index()) {
                *at += bytes.len() as u64;
            }
        }
        batcher.end(&mut conn, Side::First, position(Side::First, at), EndReason::Fin);
        batcher.end(&mut conn, Side::Second, position(Side::Second, at), EndReason::Fin);
        batcher.flush();
        std::mem::take(&mut batcher.deliverer().0)
    }
}

/// As many fields as have about `size` bytes together.
fn fields(size: usize, count: usize) -> String {
    let value = "x".repeat(size / count - 8);
    (0..count).map(|n| format!("X-{n:02}: {value}\r\n")).collect()
}

fn head(size: usize, headers: usize) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(size, headers)).into_bytes()
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// TCP payload of a full Ethernet frame.
const SEGMENT: usize = 1460;

/// `front`, and as many of `unit` as make about `size` bytes.
fn repeated(front: &str, unit: &str, size: usize) -> Vec<u8> {
    (front.to_owned() + &unit.repeat(size / unit.len())).into_bytes()
}

/// A client's bytes: the preface, and what `unit` makes of numbers from 0, until there are about `size` bytes.
fn frames(size: usize, unit: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut out = [PREFACE, &frame(SETTINGS, 0, 0, [])].concat();
    for number in 0.. {
        out.extend(unit(number));
        if out.len() >= size {
            break;
        }
    }
    out
}

/// GET, http, / of the static table.
const SHORT: [u8; 3] = [0x82, 0x86, 0x84];

/// A name, the sizes, and the conversation for a size.
type Shape = (&'static str, &'static [usize], fn(usize) -> Talk);

const KIB: usize = 1024;

/// A head has at most 64 KiB.
const HEADS: &[usize] = &[15 * KIB, 30 * KIB, 60 * KIB];
/// Beyond the limit of waiting bytes.
const STREAMS: &[usize] = &[128 * KIB, 256 * KIB, 512 * KIB];

/// Of HTTP/2.
const FRAMES: &[Shape] = &[
    ("h2_empty_settings", STREAMS, |n| Talk::of(Side::First, &frames(n, |_| frame(SETTINGS, 0, 0, [])), SEGMENT)),
    ("h2_continuations_without_end", STREAMS, |n| {
        let unit = |number| if number == 0 { frame(HEADERS, 0, 1, SHORT) } else { frame(CONTINUATION, 0, 1, b"") };
        Talk::of(Side::First, &frames(n, unit), SEGMENT)
    }),
    ("h2_continuations_byte_by_byte", STREAMS, |n| {
        let unit = |number: u32| {
            let stream = 2 * number + 1;
            [
                frame(HEADERS, 0, stream, SHORT),
                frame(CONTINUATION, 0, stream, b"").repeat(60),
                frame(CONTINUATION, END_HEADERS, stream, b""),
            ]
            .concat()
        };
        Talk::of(Side::First, &frames(n, unit), 1)
    }),
    ("h2_rapid_reset", STREAMS, |n| {
        let unit = |number: u32| {
            [
                frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, SHORT),
                frame(RST_STREAM, 0, 2 * number + 1, [0, 0, 0, 8]),
            ]
            .concat()
        };
        Talk::of(Side::First, &frames(n, unit), SEGMENT)
    }),
    // The largest opens 170,000 streams.
    ("h2_streams_never_answered", &[256 * KIB, 512 * KIB, 1024 * KIB, 2048 * KIB], |n| {
        Talk::of(
            Side::First,
            &frames(n, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, SHORT)),
            SEGMENT,
        )
    }),
    // The table is made small and large in turn, and filled in between.
    ("h2_table_sizes", STREAMS, |n| {
        let entry = [&[0x40, 1, b'a', 100][..], &[b'x'; 100]].concat();
        let block = [&[0x20, 0x3f, 0xe1, 0x1f][..], &SHORT, &entry.repeat(30)].concat();
        Talk::of(
            Side::First,
            &frames(n, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &block)),
            SEGMENT,
        )
    }),
    // An entry of 4 kB, and a byte for each time that it is meant.
    ("h2_bomb", STREAMS, |n| {
        let entry = [&SHORT[..], &[0x40, 1, b'a', 0x7f, 0xa1, 0x1e], &[b'x'; 4000]].concat();
        let block = [&SHORT[..], &[0xbe; 1000]].concat();
        let unit = |number: u32| {
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, if number == 0 { &entry } else { &block })
        };
        Talk::of(Side::First, &frames(n, unit), SEGMENT)
    }),
    ("h2_data_of_one_byte", STREAMS, |n| {
        let unit = |number| if number == 0 { frame(HEADERS, END_HEADERS, 1, SHORT) } else { frame(DATA, 0, 1, b"x") };
        Talk::of(Side::First, &frames(n, unit), SEGMENT)
    }),
    ("h2_searched_for_frames", STREAMS, |n| {
        Talk::of(Side::First, &frames(n, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, SHORT)), 16)
            .with_gaps(1)
    }),
];

const SHAPES: &[Shape] = &[
    ("head_of_one_header_byte_by_byte", &[KIB, 4 * KIB, 16 * KIB, 60 * KIB], |n| Talk::of(Side::First, &head(n, 1), 1)),
    ("head_of_99_headers_byte_by_byte", HEADS, |n| Talk::of(Side::First, &head(n, 99), 1)),
    ("head_of_99_headers_in_segments", HEADS, |n| Talk::of(Side::First, &head(n, 99), SEGMENT)),
    ("head_of_99_headers_at_once", HEADS, |n| Talk::of(Side::First, &head(n, 99), usize::MAX)),
    ("head_without_end", STREAMS, |n| Talk::of(Side::First, &repeated("GET / HTTP/1.1\r\n", "X: y\r\n", n), SEGMENT)),
    ("head_without_end_byte_by_byte", STREAMS, |n| {
        Talk::of(Side::First, &repeated("GET / HTTP/1.1\r\n", "X: y\r\n", n), 1)
    }),
    ("line_without_end_byte_by_byte", STREAMS, |n| Talk::of(Side::First, &repeated("GET /", "x", n), 1)),
    ("chunks_of_one_byte", STREAMS, |n| Talk::of(Side::First, &repeated(CHUNKED, "1\r\nx\r\n", n), SEGMENT)),
    ("chunks_of_one_byte_byte_by_byte", STREAMS, |n| Talk::of(Side::First, &repeated(CHUNKED, "1\r\nx\r\n", n), 1)),
    ("chunk_extensions", STREAMS, |n| {
        Talk::of(Side::First, &repeated(CHUNKED, &format!("1;{}\r\nx\r\n", "e=f;".repeat(60)), n), SEGMENT)
    }),
    ("chunk_extension_without_end_byte_by_byte", STREAMS, |n| {
        Talk::of(Side::First, &repeated(&(CHUNKED.to_owned() + "1;"), "e=f;", n), 1)
    }),
    ("trailers_byte_by_byte", HEADS, |n| {
        Talk::of(Side::First, format!("{CHUNKED}0\r\n{}\r\n", fields(n, 99)).as_bytes(), 1)
    }),
    ("pipelined_requests", STREAMS, |n| Talk::of(Side::First, &repeated("", GET, n), SEGMENT)),
    ("pipelined_requests_answered", STREAMS, |n| {
        Talk::of(Side::First, &repeated("", GET, n / 2), SEGMENT).and(Side::Second, &repeated("", OK, n / 2), SEGMENT)
    }),
    ("sides_in_turn_byte_by_byte", STREAMS, |n| {
        let (ask, answer) = (repeated("", GET, n / 2), repeated("", OK, n / 2));
        Talk::in_turn(&ask, &answer)
    }),
    ("two_heads_in_turn_byte_by_byte", HEADS, |n| {
        let ask = head(n / 2, 1);
        let answer = format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(n / 2, 1)).into_bytes();
        Talk::in_turn(&ask, &answer)
    }),
    ("requests_behind_gaps", STREAMS, |n| Talk::of(Side::First, &repeated("", GET, n), GET.len()).with_gaps(1)),
    ("bytes_behind_gaps", STREAMS, |n| Talk::of(Side::First, &repeated("", GET, n), 1).with_gaps(1)),
    ("search_among_start_lines", STREAMS, |n| {
        let gone =
            Talk::of(Side::First, GET.as_bytes(), SEGMENT).and(Side::First, b"GET / HTTP/1.1\r\nbad\r\n\r\n", 100);
        gone.and(Side::First, &repeated("", "GET / HTTP/1.1\r\nX: y\r\nX: y\r\n", n), 28)
    }),
];

fn hostile(c: &mut Criterion) {
    let engine = Engine::new(64).expect("an engine");
    let parsers = [BUILTIN_GUEST, BUILTIN_HTTP2].map(|built_in| Arc::new(engine.load(built_in).expect("a parser")));
    for (name, sizes, shape) in SHAPES.iter().chain(FRAMES) {
        let mut group = c.benchmark_group(format!("hostile/{name}"));
        for size in *sizes {
            let talk = shape(*size);
            let slots = talk.slots();
            let mut driver: Driver<Exchange> = Driver::with(&parsers, Bounds::default()).expect("instances");
            let mut outputs = WorkerOutputs { context: HttpContext::new(Settings::default()), transactions: 0 };
            group.throughput(Throughput::Bytes(talk.len()));
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    for slot in &slots {
                        driver.process(slot, &mut outputs);
                    }
                });
            });
            let (into, out) = driver.counters().balance();
            assert!(into == out && driver.counters().connections == 0, "{:?}", driver.counters());
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    // Enough to see whether throughput is constant.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1000));
    targets = hostile
}
criterion_main!(benches);
