//! Bodies are what was sent, however the streams are cut, in whatever slots and calls, and whatever is lost.

use crate::support;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use picotap::batch::{Batcher, CollectSlots};
use picotap::http::body::BodySettings;
use picotap::http::record::Record;
use picotap::http::{Exchange, HttpContext, Settings, Transaction};
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::{Driver, Receiver};
use picotap::sandbox::engine::{Engine, Parser};
use picotap::sandbox::fault::Fault;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::sandbox::{BUILTIN_GUEST, BUILTIN_HTTP2};
use picotap::stream::{Connection, EndReason, OpenConnection, Position, Side, Sink};
use proptest::prelude::*;

use support::fixtures::path as fixture;
use support::frame::{DATA, END_HEADERS, HEADERS, frame};
use support::random::Random;
use support::tool::need;

/// Compiled once.
pub(crate) fn parsers() -> &'static [Arc<Parser>; 2] {
    static BUILT: OnceLock<(Engine, [Arc<Parser>; 2])> = OnceLock::new();
    let (_, parsers) = BUILT.get_or_init(|| {
        let engine = Engine::new(64).unwrap();
        let parsers = [BUILTIN_GUEST, BUILTIN_HTTP2].map(|module| Arc::new(engine.load(module).unwrap()));
        (engine, parsers)
    });
    parsers
}

pub(crate) struct Told {
    pub(crate) context: HttpContext,
    pub(crate) done: Vec<Transaction>,
}

impl Receiver for Told {
    type State = Exchange;
    fn record(&mut self, connection: &Connection, exchange: &mut Exchange, record: &Record<'_>) {
        exchange.record(&mut self.context, connection, record, &mut |transaction| self.done.push(transaction.clone()));
    }
    fn closed(&mut self, connection: &Connection, exchange: &mut Exchange, lengths: [u64; 2], reason: EndReason) {
        exchange.close(&mut self.context, connection, lengths, reason, &mut |transaction| {
            self.done.push(transaction.clone())
        });
    }
    fn skip(&mut self, _: &Connection, _: Side, _: u64) {}
    fn quarantine(&mut self, _: &QuarantinedEvent) {}
    fn fault(&mut self, fault: &Fault) {
        panic!("{fault}");
    }
}

/// What one side says before the other goes on.
type Turn = (Side, Vec<u8>);

/// How turns are cut and batched.
struct Cut<'a> {
    random: &'a mut Random,
    /// The most bytes of a piece.
    most: u64,
    /// One piece in so many is lost; 0: none.
    lost: u64,
}

/// Takes the turns of a connection through both parsers.
fn told(turns: &[Turn], limit: u32, cut: &mut Cut<'_>) -> Vec<Transaction> {
    let bounds = Bounds {
        events: *cut.random.pick(&[1, 3, 2048]),
        records: *cut.random.pick(&[8, 9, 4096]),
        ..Bounds::default()
    };
    let mut driver = Driver::with(parsers(), bounds).unwrap();
    driver.want_bodies(limit);
    let bodies = Some(BodySettings { bytes: limit, types: "text/*".parse().unwrap() });
    let mut told = Told { context: HttpContext::new(Settings { bodies, ..Settings::default() }), done: Vec::new() };
    let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
    let mut connection = OpenConnection::synthetic(1);
    let (mut next, mut time) = ([0, 0], 0);
    let mut parse = |batcher: &mut Batcher<CollectSlots>, told: &mut Told| {
        batcher.flush();
        for slot in batcher.deliverer().0.drain(..) {
            driver.process(&slot, told);
        }
    };
    for (side, bytes) in turns {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + cut.random.below(cut.most) as usize).min(rest.len()));
            rest = behind;
            time += 1;
            let at = Position { offset: next[side.index()], peer_acked: next[side.other().index()], time };
            next[side.index()] += piece.len() as u64;
            if cut.lost == 0 || !cut.random.one_in(cut.lost) {
                batcher.bytes(&mut connection, *side, at, true, piece);
            }
            if cut.random.one_in(4) {
                parse(&mut batcher, &mut told);
            }
        }
    }
    for side in [Side::First, Side::Second] {
        let at = Position { offset: next[side.index()], peer_acked: next[side.other().index()], time: time + 1 };
        batcher.end(&mut connection, side, at, EndReason::Fin);
    }
    parse(&mut batcher, &mut told);
    assert_eq!(told.context.held(), 0);
    told.done
}

/// Words without any that is a secret.
fn words(random: &mut Random, most: u64) -> Vec<u8> {
    let len = random.below(most);
    (0..len).map(|_| *random.pick(b"abcd efgh\nijkl mnop\n")).collect()
}

fn coded(random: &mut Random, text: &[u8]) -> (&'static str, Vec<u8>) {
    match random.below(4) {
        0 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            ("gzip", encoder.finish().unwrap())
        }
        1 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            ("deflate", encoder.finish().unwrap())
        }
        _ => ("identity", text.to_vec()),
    }
}

/// A body as sent, and its text.
struct Sent {
    text: Vec<u8>,
    wire: Vec<u8>,
}

/// A message of HTTP/1 behind its start line.
fn message(random: &mut Random, start: &str, most: u64, may_close: bool) -> (Vec<u8>, Sent) {
    let text = words(random, most);
    let (coding, wire) = coded(random, &text);
    let mut out =
        format!("{start}\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\n").into_bytes();
    match random.below(if may_close { 3 } else { 2 }) {
        0 => {
            out.extend(format!("Content-Length: {}\r\n\r\n", wire.len()).bytes());
            out.extend(&wire);
        }
        1 => {
            out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at((1 + random.below(most) as usize).min(rest.len()));
                out.extend(format!("{:x};x=y\r\n", chunk.len()).bytes());
                out.extend(chunk);
                out.extend(b"\r\n");
                rest = behind;
            }
            out.extend(b"0\r\nA: b\r\n\r\n");
        }
        _ => {
            out.extend(b"\r\n");
            out.extend(&wire);
        }
    }
    (out, Sent { text, wire })
}

/// What a transaction says of a body, against what was sent.
fn judge(
    transaction: &Transaction,
    of_request: bool,
    sent: &Sent,
    limit: u32,
    lossy: bool,
) -> Result<(), TestCaseError> {
    let limit = limit as usize;
    let Some(body) = transaction.body(of_request) else {
        prop_assert!(sent.wire.is_empty() || lossy, "nothing is said of {} bytes", sent.wire.len());
        return Ok(());
    };
    prop_assert!(sent.text.starts_with(body.text), "{:?} of {:?}", body, String::from_utf8_lossy(&sent.text));
    prop_assert!(body.truncated || body.undecoded.is_some() || body.text.len() == sent.text.len(), "{body:?}");
    let fits = sent.wire.len() <= limit && sent.text.len() <= limit;
    if !lossy && fits {
        prop_assert!(!body.truncated && body.text == sent.text && body.undecoded.is_none(), "{body:?}");
    }
    if !lossy && sent.wire == sent.text {
        prop_assert_eq!(body.text.len(), sent.text.len().min(limit));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_body_of_http1_is_what_was_sent(seed: u64, limit in 1..3000_u32, most in 1..2000_u64, lost in prop::sample::select(vec![0, 0, 9])) {
        let random = &mut Random::new(seed);
        let (mut turns, mut sent) = (Vec::new(), Vec::new());
        let count = 1 + random.below(4);
        for number in 0..count {
            let (request, asked) = message(random, &format!("POST /{number} HTTP/1.1"), most, false);
            let (response, answered) = message(random, "HTTP/1.1 200 OK", most, number + 1 == count);
            turns.extend([(Side::First, request), (Side::Second, response)]);
            sent.push([asked, answered]);
        }
        let most = *random.pick(&[3, 50, 1460, 70_000]);
        let done = told(&turns, limit, &mut Cut { random, most, lost });
        if lost == 0 {
            prop_assert_eq!(done.len(), sent.len());
        }
        for transaction in &done {
            // Where a head was lost, its answer may be told with another request, which the line says.
            let number = transaction.target().and_then(|target| std::str::from_utf8(&target[1..]).ok()?.parse::<usize>().ok());
            let Some(sent) = number.and_then(|number| sent.get(number)) else { continue };
            judge(transaction, true, &sent[0], limit, lost != 0)?;
            if lost == 0 {
                judge(transaction, false, &sent[1], limit, false)?;
            }
        }
    }

    #[test]
    fn a_body_of_http2_is_what_was_sent(seed: u64, limit in 1..3000_u32, most in 1..2000_u64, lost in prop::sample::select(vec![0, 0, 9])) {
        let random = &mut Random::new(seed);
        let mut turns = vec![
            (Side::First, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
            (Side::Second, b"\0\0\0\x04\0\0\0\0\0".to_vec()),
        ];
        let mut sent = BTreeMap::new();
        let streams: Vec<u32> = (0..1 + random.below(4) as u32).map(|n| 2 * n + 1).collect();
        for (side, of_request) in [(Side::First, true), (Side::Second, false)] {
            let mut left = Vec::new();
            for stream in &streams {
                let text = words(random, most);
                let (coding, wire) = coded(random, &text);
                // :method POST, :scheme http, :path / or :status 200, all of the static table; then two literals.
                let mut block = if of_request { vec![0x83, 0x86, 0x84] } else { vec![0x88] };
                block.extend([0x0f, 31 - 15, 10]);
                block.extend(b"text/plain");
                block.extend([0x0f, 26 - 15, coding.len() as u8]);
                block.extend(coding.bytes());
                turns.push((side, frame(HEADERS, END_HEADERS | u8::from(wire.is_empty()), *stream, &block)));
                left.push((*stream, wire.clone()));
                sent.insert((*stream, of_request), Sent { text, wire });
            }
            left.retain(|(_, wire)| !wire.is_empty());
            while !left.is_empty() {
                let at = random.below(left.len() as u64) as usize;
                let (stream, wire) = &mut left[at];
                let count = (1 + random.below(most) as usize).min(wire.len());
                let data: Vec<u8> = wire.drain(..count).collect();
                let padding = random.below(9) as u8;
                let (padded, payload) = match padding {
                    0 => (0, data),
                    _ => (8, [&[padding][..], &data, &vec![0; usize::from(padding)]].concat()),
                };
                turns.push((side, frame(DATA, padded | u8::from(wire.is_empty()), *stream, &payload)));
                left.retain(|(_, wire)| !wire.is_empty());
            }
        }
        let most = *random.pick(&[3, 50, 1460, 70_000]);
        let done = told(&turns, limit, &mut Cut { random, most, lost });
        if lost == 0 {
            prop_assert_eq!(done.len(), streams.len());
        }
        for transaction in &done {
            let Some(stream) = transaction.stream() else { continue };
            for of_request in [true, false] {
                let Some(sent) = sent.get(&(stream, of_request)) else { continue };
                judge(transaction, of_request, sent, limit, lost != 0)?;
            }
        }
    }
}

/// Bodies by their bytes, with how often they occur; none that is empty.
type Bag = BTreeMap<Vec<u8>, usize>;

/// All bodies of a recording as the archive has them.
fn archived(capture: &Path) -> Bag {
    let options =
        ["--capture-bodies=64k", "--body-types", "*/*", "--no-redact", "--format", "har", "--workers", "1", "-o", "-"];
    let outcome = support::program::run(support::program::picotap().args(options).arg("-r").arg(capture));
    let archive: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let mut bag = Bag::new();
    for entry in archive["log"]["entries"].as_array().unwrap() {
        for body in [&entry["request"]["postData"], &entry["response"]["content"]] {
            assert!(body["_truncated"].is_null() && body["_undecoded"].is_null(), "{body}");
            let text = body["text"].as_str().unwrap_or_default();
            let bytes = match body["encoding"].as_str() {
                Some(_) => data_encoding::BASE64.decode(text.as_bytes()).unwrap(),
                None => text.as_bytes().to_vec(),
            };
            *bag.entry(bytes).or_default() += 1;
        }
    }
    bag.remove(&Vec::new());
    bag
}

/// All bodies of a recording as tshark writes them into files.
fn exported(tshark: &Path, capture: &Path) -> Bag {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(tshark);
    command.arg("-n").arg("-q").arg("-r").arg(capture).args(["-d", "tcp.port==1-65535,http"]);
    command.args(["-o", "tcp.reassemble_out_of_order:TRUE"]);
    let export = format!("http,{}", directory.path().display());
    assert!(command.args(["--export-objects", &export]).output().unwrap().status.success());
    let mut bag = Bag::new();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        *bag.entry(std::fs::read(file.unwrap().path()).unwrap()).or_default() += 1;
    }
    bag.remove(&Vec::new());
    bag
}

#[test]
fn tshark_exports_the_same_bodies_of_recordings() {
    let Some(tshark) = need("tshark_exports_the_same_bodies_of_recordings", "tshark") else { return };
    // nginx, curl and others: plain, gzip, in chunks, both ways.
    assert_eq!(archived(&fixture("http.pcap")), exported(&tshark, &fixture("http.pcap")));
    let (mut ours, mut theirs) = (archived(&fixture("servers.pcap")), exported(&tshark, &fixture("servers.pcap")));
    assert!(ours.values().sum::<usize>() > 300, "{}", ours.len());
    // tshark takes a method that it does not know for the end of a body.
    theirs.retain(|body, _| !body.starts_with(b"BREW "));
    ours.retain(|body, count| theirs.remove(body) != Some(*count));
    assert_eq!((ours, theirs), (Bag::new(), Bag::new()));
}
