//! Lines come in the order in which transactions complete, however many workers there are.

use crate::support;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::Value;

use support::program::{read, scratch};
use support::workload::Workload;

/// The lines, which are the same with one worker and with several.
fn lines(capture: &Path, args: &[&str]) -> Vec<String> {
    let with = |workers| read(capture, &[&["--workers", workers], args].concat()).lines();
    let lines = with("1");
    for workers in ["2", "3", "4"] {
        let other = with(workers);
        let differs = lines.iter().zip(&other).position(|(one, other)| one != other);
        assert_eq!((differs, lines.len()), (None, other.len()), "{workers} workers, {}", capture.display());
    }
    lines
}

/// When a transaction of which both messages are whole was completed, in microseconds of its day.
fn completed(line: &str) -> u64 {
    let value: Value = serde_json::from_str(line).unwrap();
    let time: Vec<u64> = value["ts"].as_str().unwrap()[11..26].split([':', '.']).map(|n| n.parse().unwrap()).collect();
    let [hours, minutes, seconds, microseconds] = time[..] else { panic!("{line}") };
    ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + microseconds + value["duration_us"].as_u64().unwrap()
}

fn assert_ordered(lines: &[String]) {
    for pair in lines.windows(2) {
        assert!(completed(&pair[0]) <= completed(&pair[1]), "{}\n{}", pair[0], pair[1]);
    }
}

#[test]
fn many_connections_at_once() {
    for (name, workload, args) in [
        ("order-bodies.pcap", Workload { connections: 500, each: 20, body: 2000, seed: 7 }, &[][..]),
        ("order-small.pcap", Workload { connections: 2000, each: 5, body: 100, seed: 8 }, &[]),
        ("order-few.pcap", Workload { connections: 3, each: 500, body: 20_000, seed: 9 }, &["--no-community-id"]),
    ] {
        let path = scratch(name);
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
        workload.write(&mut out).unwrap();
        out.flush().unwrap();
        let lines = lines(&path, args);
        assert_eq!(lines.len() as u32, workload.connections * workload.each);
        assert_ordered(&lines);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_recording() {
    let lines = lines(Path::new("fixtures/http.pcap"), &[]);
    assert_eq!(lines.len(), 43);
    assert_ordered(&lines);
}

#[test]
fn every_fixture() {
    let captures = [support::fixtures::captures("pcap"), support::fixtures::captures("pcapng")].concat();
    assert!(captures.len() > 100);
    for capture in captures {
        lines(&capture, &[]);
    }
}

/// What is selected changes nothing of the order: a worker without lines holds nobody up.
#[test]
fn selected_lines() {
    let path = scratch("order-errors.pcap");
    let workload = Workload { connections: 1000, each: 10, body: 500, seed: 10 };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
    workload.write(&mut out).unwrap();
    out.flush().unwrap();
    let lines = lines(&path, &["--errors"]);
    assert!((100..5000).contains(&lines.len()), "{}", lines.len());
    assert_ordered(&lines);
    fs::remove_file(path).unwrap();
}
