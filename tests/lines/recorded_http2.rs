//! The recording of real programs that speak HTTP/2: what picotap prints is what tshark sees.

use crate::support;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::fixtures::path as fixture;
use support::program::{assert_lines, read, scratch};
use support::streams::{H2, Streams, stream};
use support::tool::need;
use support::workload::Workload;

/// The recordings, and a number that the requests in each exceed; the first is without TLS.
const RECORDINGS: [(&str, &str, usize); 4] = [
    ("http2/h2.pcap", "http2/h2/expected.jsonl", 120),
    ("http2/h2-tls.pcapng", "http2/h2-tls/lines.jsonl", 40),
    ("http2/h2-browser.pcapng", "http2/h2-browser/lines.jsonl", 200),
    ("http2/h2-grpc.pcapng", "http2/h2-grpc/lines.jsonl", 38),
];

fn lines(recording: &str) -> Vec<String> {
    let outcome = read(&fixture(recording), &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.sorted()
}

fn values() -> Vec<Value> {
    values_of("http2/h2.pcap")
}

fn values_of(recording: &str) -> Vec<Value> {
    lines(recording).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_recordings_give_their_lines() {
    for (recording, lines_of, _) in RECORDINGS {
        let expected = fixture(lines_of);
        let lines = lines(recording);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        let kept: Vec<String> = fs::read_to_string(&expected).unwrap().lines().map(str::to_owned).collect();
        assert_lines(&kept, &lines, &fixture(recording));
    }
}

/// What tshark finds in the packets that a filter selects: port of the sender or receiver, and each value of these fields.
fn tshark(tool: &Path, recording: &str, filter: &str, port: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new(tool);
    ["8001", "8002", "8003"].iter().for_each(|port| _ = command.args(["-d", &format!("tcp.port=={port},http2")]));
    command.args(["-d", "tcp.port==8082,http"]);
    command.arg("-r").arg(fixture(recording)).args(["-Y", filter, "-T", "fields", "-E", "aggregator=|", "-e", port]);
    fields.iter().for_each(|field| _ = command.args(["-e", field]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut rows = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let columns: Vec<Vec<&str>> = line.split('\t').map(|column| column.split('|').collect()).collect();
        for row in 0..columns[1].len() {
            let values: Vec<&str> = columns[1..].iter().map(|column| *column.get(row).unwrap_or(&"")).collect();
            rows.push(format!("{} {}", columns[0][0], values.join(" ")));
        }
    }
    rows.sort();
    rows
}

#[test]
fn tshark_sees_the_same_heads() {
    let Some(tool) = need("tshark_sees_the_same_heads", "tshark") else { return };
    for (recording, _, least) in RECORDINGS {
        heads_are_the_same(&tool, recording, least);
    }
}

fn heads_are_the_same(tool: &Path, recording: &str, least: usize) {
    let mut values: Vec<Value> = values_of(recording).into_iter().filter(|line| line["version"] == "2").collect();
    // To tshark the first stream after an upgrade has no request.
    for line in values.iter_mut().filter(|line| line["via"] == "upgrade" && line["stream"] == 1) {
        (line["target"], line["method"]) = (Value::Null, Value::Null);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let column = |keys: &[&str]| {
        let has = |line: &&Value| keys.iter().all(|key| !line[*key].is_null());
        let row = |line: &Value| keys.iter().map(|key| text(&line[*key])).collect::<Vec<_>>().join(" ");
        let mut rows: Vec<String> = values.iter().filter(has).map(row).collect();
        rows.sort();
        rows
    };
    // CONNECT has no path.
    let paths = tshark(tool, recording, "http2.headers.path", "tcp.srcport", &["http2.headers.path"]);
    let ours: Vec<String> = column(&["client_port", "target"]).into_iter().filter(|row| row.contains('/')).collect();
    assert_eq!(ours, paths);
    assert!(paths.len() > least, "{recording}: {}", paths.len());
    let methods = tshark(tool, recording, "http2.headers.method", "tcp.srcport", &["http2.headers.method"]);
    assert_eq!(column(&["client_port", "method"]), methods);
    let mut statuses = tshark(tool, recording, "http2.headers.status", "tcp.dstport", &["http2.headers.status"]);
    statuses.retain(|row| !row.ends_with(" 103"));
    assert_eq!(column(&["client_port", "status"]), statuses);
}

#[test]
fn every_call_of_a_generated_capture_is_exact() {
    every_call_is_exact(&Workload { connections: 40, each: 100, body: 100, seed: 5 });
}

#[test]
#[ignore = "soak: 200,000 calls"]
fn every_call_of_capture_h2_is_exact() {
    every_call_is_exact(&H2);
}

fn every_call_is_exact(workload: &Workload) {
    let path = scratch(&format!("http2-workload-{}.pcap", workload.connections));
    let mut streams = Streams::new(workload);
    let mut file = BufWriter::new(fs::File::create(&path).unwrap());
    workload.write_rounds(&mut file, |connection, round| streams.round(workload, connection, round)).unwrap();
    file.flush().unwrap();
    let outcome = read(&path, &[]);
    fs::remove_file(path).unwrap();
    let mut given: Vec<String> = Vec::new();
    for line in outcome.lines() {
        let value: Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| value[key].as_str().unwrap_or("-").to_owned();
        let body = |which: &str| {
            let key = if value[format!("{which}_decoded_bytes")].is_null() { "bytes" } else { "decoded_bytes" };
            value[format!("{which}_{key}")].to_string()
        };
        let (client, stream) = (format!("{}:{}", text("client"), value["client_port"]), &value["stream"]);
        let (request, response) = (body("request_body"), body("response_body"));
        let what = format!("{} {} {} {}", text("method"), text("target"), value["status"], text("host"));
        given.push(format!("{client} {stream} {what} {request} {response} {}", value["flags"]));
    }
    let mut wanted: Vec<String> = Vec::new();
    for connection in 0..workload.connections {
        let ([a, b, c, d], port) = workload.client(connection);
        for n in 0..workload.each {
            let plan = workload.plan(connection, n);
            let what = format!("{} {} {} shop.example.test", plan.method, plan.target, plan.status);
            let sizes = format!("{} {}", plan.request_body, plan.response_body);
            wanted.push(format!("{a}.{b}.{c}.{d}:{port} {} {what} {sizes} null", stream(n)));
        }
    }
    given.sort();
    wanted.sort();
    assert_eq!(given.len(), wanted.len());
    for (given, wanted) in given.iter().zip(&wanted) {
        assert_eq!(given, wanted);
    }
}

#[test]
fn calls_of_grpc_have_their_outcomes_and_messages() {
    calls_are_those_of_the_client(&values());
}

/// What nginx passes on without TLS is what grpcio has said inside it.
#[test]
fn calls_of_grpc_inside_tls_have_their_outcomes_and_messages() {
    let (tls, plain): (Vec<Value>, Vec<Value>) =
        values_of("http2/h2-grpc.pcapng").into_iter().partition(|line| !line["tls"].is_null());
    calls_are_those_of_the_client(&tls);
    assert_eq!(plain.len(), 8);
    assert!(plain.iter().all(|line| line["grpc_service"] == "picotap.test.Demo"));
}

fn calls_are_those_of_the_client(values: &[Value]) {
    let calls: Vec<&Value> = values.iter().filter(|line| line["grpc_service"] == "picotap.test.Demo").collect();
    let mut rows: Vec<String> = calls
        .iter()
        .map(|call| {
            let text = |key: &str| call[key].to_string();
            let messages = format!("{} {}", text("grpc_request_messages"), text("grpc_response_messages"));
            format!("{} {} {messages} {}", text("grpc_method"), text("grpc_status"), text("grpc_message"))
        })
        .collect();
    rows.sort();
    let wanted = [
        r#""Both" 0 3 3 "#,
        r#""Echo" 0 1 1 "#,
        r#""Echo" 0 1 1 "#,
        r#""Echo" 0 1 1 "#,
        r#""Echo" 4 1 0 "Deadline Exceeded""#,
        r#""Echo" 5 1 0 "no such thing: 100%""#,
        r#""Many" 0 1 5 "#,
        r#""None" 12 1 0 "Method not found!""#,
    ];
    assert_eq!(rows.len(), wanted.len());
    for (row, wanted) in rows.iter().zip(wanted) {
        assert!(row.starts_with(wanted), "{row}: {wanted}");
    }
    assert!(
        calls.iter().filter(|call| call["grpc_timeout_us"].as_u64().is_some_and(|time| time > 4_000_000)).count() == 3
    );
}

/// Where each packet of the recording begins.
fn packets(capture: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 24;
    while at < capture.len() {
        starts.push(at);
        at += 16 + u32::from_le_bytes(capture[at + 8..at + 12].try_into().unwrap()) as usize;
    }
    starts
}

/// What a part of a capture gives.
#[derive(Default)]
struct Seen {
    streams: usize,
    /// Fields that the whole capture gives of these, and how many of them this part does not.
    fields: usize,
    unknown: usize,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.fields += other.fields;
        self.unknown += other.unknown;
    }

    fn share(&self) -> f64 {
        100.0 * self.unknown as f64 / self.fields as f64
    }
}

/// Every text of a line that is there is that of the same stream in the whole recording.
fn nothing_is_wrong(name: &str, capture: &[u8], whole: &BTreeMap<(u64, u64), Value>) -> Seen {
    const KEYS: [&str; 10] = [
        "method",
        "target",
        "host",
        "user_agent",
        "scheme",
        "status",
        "grpc_service",
        "grpc_method",
        "grpc_status",
        "grpc_message",
    ];
    let path = scratch(name);
    fs::write(&path, capture).unwrap();
    let outcome = read(&path, &[]);
    fs::remove_file(path).unwrap();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut seen = Seen::default();
    for line in outcome.lines() {
        let line: Value = serde_json::from_str(&line).unwrap();
        let Some(stream) = line["stream"].as_u64() else { continue };
        let wanted = &whole[&(line["client_port"].as_u64().unwrap(), stream)];
        for key in KEYS {
            assert!(line[key].is_null() || line[key] == wanted[key], "{name}: {key} of {line}, not {wanted}");
            // Of a message that was not seen nothing can be known.
            let which = if matches!(key, "status" | "grpc_status" | "grpc_message") { "response" } else { "request" };
            if !line[format!("{which}_head_bytes")].is_null() && !wanted[key].is_null() {
                seen.fields += 1;
                seen.unknown += usize::from(line[key].is_null());
            }
        }
        for key in ["request_body_decoded_bytes", "response_body_decoded_bytes"] {
            // Of CONNECT, what is in the tunnel looks like a body if the request is not known.
            let tunnel = wanted["tunnel"] == "connect";
            assert!(tunnel || line[key].is_null() || line[key] == wanted[key], "{name}: {key} of {line}, not {wanted}");
        }
        seen.streams += 1;
    }
    seen
}

fn whole() -> BTreeMap<(u64, u64), Value> {
    by_stream(values())
}

fn by_stream(lines: Vec<Value>) -> BTreeMap<(u64, u64), Value> {
    let streams = lines.into_iter().filter(|line| line["version"] == "2");
    streams.map(|line| ((line["client_port"].as_u64().unwrap(), line["stream"].as_u64().unwrap()), line)).collect()
}

#[test]
fn joined_at_any_packet_no_field_is_wrong() {
    let capture = fs::read(fixture("http2/h2.pcap")).unwrap();
    let (whole, starts) = (whole(), packets(&capture));
    let mut seen = Seen::default();
    for first in starts.iter().step_by(3) {
        let joined = [&capture[..24], &capture[*first..]].concat();
        seen.add(&nothing_is_wrong("joined.pcap", &joined, &whole));
    }
    println!("joined: {:.1} % of fields not known", seen.share());
    assert!(seen.streams > starts.len(), "{} streams of {} packets", seen.streams, starts.len());
}

/// What the browser said inside TLS is what HAProxy has passed on without it.
#[test]
fn a_page_is_the_same_inside_tls() {
    let page = |recording: &str| {
        let mut rows: Vec<String> = Vec::new();
        for line in values_of(recording) {
            let keys = ["stream", "method", "target", "host", "user_agent", "referer", "status", "request_head_bytes"];
            let sizes = ["response_head_bytes", "request_body_bytes", "response_body_bytes", "flags"];
            rows.push(keys.iter().chain(&sizes).map(|key| line[*key].to_string()).collect::<Vec<_>>().join(" "));
        }
        rows.sort();
        rows
    };
    let tls = page("http2/h2-browser.pcapng");
    assert_eq!(tls, page("http2/h2-browser.pcap"));
    assert!(tls.len() >= 200 && tls.iter().all(|row| row.ends_with("null")), "{tls:#?}");
}

/// A browser sends most fields once and names their entries from then on: what was not seen of these stays unknown.
fn page_joined_every(step: usize) {
    let capture = fs::read(fixture("http2/h2-browser.pcap")).unwrap();
    let (whole, starts) = (by_stream(values_of("http2/h2-browser.pcap")), packets(&capture));
    let mut seen = Seen::default();
    for first in starts.iter().step_by(step) {
        let joined = [&capture[..24], &capture[*first..]].concat();
        seen.add(&nothing_is_wrong("h2-page-joined.pcap", &joined, &whole));
    }
    println!("a page joined at {} packets: {:.1} % of fields not known", starts.len().div_ceil(step), seen.share());
    assert!(seen.streams > starts.len() / step * 50, "{}", seen.streams);
    assert!(seen.share() < 40.0, "{}", seen.share());
}

#[test]
fn a_page_joined_at_some_packets_has_no_wrong_field() {
    page_joined_every(29);
}

#[test]
#[ignore = "hundreds of runs"]
fn a_page_joined_at_any_packet_has_no_wrong_field() {
    page_joined_every(1);
}

/// A connection of about a thousand packets, ten streams at once, from a client that sends what a browser does.
fn long_connection() -> (Vec<u8>, BTreeMap<(u64, u64), Value>) {
    let workload = Workload { connections: 1, each: 500, body: 100, seed: 6 };
    let (mut capture, mut streams) = (Vec::new(), Streams::new(&workload));
    workload.write_rounds(&mut capture, |connection, round| streams.round(&workload, connection, round)).unwrap();
    let path = scratch("h2-long.pcap");
    fs::write(&path, &capture).unwrap();
    let lines = read(&path, &[]).lines();
    let whole = by_stream(lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect());
    assert_eq!(whole.len(), 500);
    assert!(whole.values().all(|line| line["flags"].is_null()));
    (capture, whole)
}

fn joined_every(step: usize) {
    let (capture, whole) = long_connection();
    let starts = packets(&capture);
    let mut seen = Seen::default();
    for first in starts.iter().step_by(step) {
        let joined = [&capture[..24], &capture[*first..]].concat();
        seen.add(&nothing_is_wrong("h2-joined.pcap", &joined, &whole));
    }
    println!("joined at {} packets: {:.1} % of fields not known", starts.len().div_ceil(step), seen.share());
    assert!(seen.share() < 40.0, "{}", seen.share());
}

#[test]
fn a_long_connection_joined_at_some_packets_has_no_wrong_field() {
    joined_every(41);
}

#[test]
#[ignore = "a thousand runs"]
fn a_long_connection_joined_at_any_packet_has_no_wrong_field() {
    joined_every(1);
}

#[test]
fn a_long_connection_with_lost_packets_has_no_wrong_field() {
    let (capture, whole) = long_connection();
    let starts = packets(&capture);
    let mut random = support::random::Random::new(2);
    let mut seen = Seen::default();
    for _ in 0..10 {
        let mut left = capture[..24].to_vec();
        for (number, start) in starts.iter().enumerate() {
            if !random.one_in(100) {
                left.extend(&capture[*start..starts.get(number + 1).copied().unwrap_or(capture.len())]);
            }
        }
        seen.add(&nothing_is_wrong("h2-lossy.pcap", &left, &whole));
    }
    println!("with 1 % of the packets lost: {:.1} % of fields not known", seen.share());
    assert!(seen.streams > 4900, "{}", seen.streams);
}

#[test]
fn with_lost_packets_no_field_is_wrong() {
    let capture = fs::read(fixture("http2/h2.pcap")).unwrap();
    let (whole, starts) = (whole(), packets(&capture));
    let mut random = support::random::Random::new(1);
    let mut seen = Seen::default();
    for _ in 0..60 {
        let mut left = capture[..24].to_vec();
        for (number, start) in starts.iter().enumerate() {
            if !random.one_in(30) {
                left.extend(&capture[*start..starts.get(number + 1).copied().unwrap_or(capture.len())]);
            }
        }
        seen.add(&nothing_is_wrong("lossy.pcap", &left, &whole));
    }
    println!("with loss: {:.1} % of fields not known", seen.share());
    assert!(seen.streams > 60 * whole.len() / 2, "{} of {}", seen.streams, 60 * whole.len());
}
