//! Many connections at once, and exactly as many lines as there were transactions.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and its deadlines are on the wall clock"
)]

use std::collections::HashMap;
use std::fs;
use std::io::BufWriter;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

mod support;

use support::program::{picotap, run, scratch};
use support::workload::{A, Workload};

fn capture(workload: &Workload, name: &str) -> std::path::PathBuf {
    let path = scratch(name);
    let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(&path).unwrap());
    workload.write(&mut out).unwrap();
    std::io::Write::flush(&mut out).unwrap();
    path
}

/// Every line is one of the workload's transactions, whole, and none is missing or there twice.
fn assert_exact(workload: &Workload, lines: &str) {
    let mut clients = HashMap::new();
    for connection in 0..workload.connections {
        let (ip, port) = workload.client(connection);
        clients.insert((Ipv4Addr::from(ip).to_string(), u64::from(port)), connection);
    }
    let mut seen = vec![false; (workload.connections * workload.each) as usize];
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let client = (value["client"].as_str().unwrap().to_owned(), value["client_port"].as_u64().unwrap());
        let connection = clients[&client];
        let n = value["seq"].as_u64().unwrap() as u32 - 1;
        let plan = workload.plan(connection, n);
        assert_eq!(value["method"], plan.method, "{line}");
        assert_eq!(value["target"], plan.target, "{line}");
        assert_eq!(value["status"], plan.status, "{line}");
        assert_eq!(value["request_body_bytes"], plan.request_body, "{line}");
        let decoded = value.get("response_body_decoded_bytes").unwrap_or(&value["response_body_bytes"]);
        assert_eq!(*decoded, plan.response_body, "{line}");
        assert!(value["ttfb_us"].is_u64() && value["duration_us"].is_u64(), "{line}");
        assert!(value.get("flags").is_none(), "{line}");
        let logged = &mut seen[(connection * workload.each + n) as usize];
        assert!(!*logged, "twice: {line}");
        *logged = true;
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(missing, 0, "of {} transactions", seen.len());
}

fn exact(workload: &Workload, name: &str, args: &[&str]) {
    let (input, output) = (capture(workload, name), scratch(&format!("{name}.jsonl")));
    // Output is appended.
    fs::remove_file(&output).ok();
    let outcome = run(picotap().arg("-r").arg(&input).arg("-o").arg(&output).args(["--format", "json"]).args(args));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_exact(workload, &fs::read_to_string(&output).unwrap());
    for path in [input, output] {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_thousand_connections_give_every_transaction_once() {
    exact(&Workload { connections: 1000, each: 20, body: 2000, seed: 4 }, "thousand.pcap", &[]);
}

#[test]
fn two_workers_give_the_same() {
    exact(&Workload { connections: 1000, each: 10, body: 100, seed: 5 }, "two-workers.pcap", &["--workers", "2"]);
}

#[test]
fn two_hundred_thousand_transactions_give_as_many_lines() {
    exact(&A, "a.pcap", &[]);
}

/// Peak resident memory of reading the large capture, which `/proc` shows while it runs.
#[test]
fn memory_stays_small() {
    let input = capture(&Workload { connections: 10_000, each: 5, body: 2000, seed: 6 }, "memory.pcap");
    let mut child = picotap();
    child.arg("-r").arg(&input).args(["--format", "json", "-o", "/dev/null"]);
    let mut child: std::process::Child = Command::spawn(&mut child).unwrap();
    let mut peak = 0;
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(high.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    fs::remove_file(input).unwrap();
    assert!(peak > 0, "no memory seen");
    assert!(peak < 100 * 1024, "{peak} kB at the peak");
}
