//! A second parser beside the first: where it differs is counted, and nothing of it is printed.
#![allow(clippy::unwrap_used, clippy::let_underscore_must_use, reason = "test code: a panic is a failed test")]

use std::fs;

mod support;

use support::program::{picotap, run, scratch};

const REAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
/// A parser of start lines alone: it knows no headers and no bodies.
const LINES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lines.wasm"));

/// Lines of the recorded traffic, and its metrics, with this shadow.
fn shadowed(name: &str, wasm: Option<&[u8]>) -> (Vec<String>, String) {
    let metrics = scratch(&format!("{name}.prom"));
    let mut command = picotap();
    command.args(["--pcap", "fixtures/http.pcap", "--format", "json", "--metrics-file"]).arg(&metrics);
    if let Some(wasm) = wasm {
        let shadow = scratch(&format!("{name}.wasm"));
        fs::write(&shadow, wasm).unwrap();
        command.arg("--shadow").arg(shadow);
    }
    let outcome = run(&mut command);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    (outcome.sorted(), fs::read_to_string(metrics).unwrap())
}

/// The sum of a metric's samples whose text begins so.
fn value(metrics: &str, start: &str) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(start));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn the_same_parser_differs_in_nothing() {
    let (alone, _) = shadowed("alone", None);
    let (lines, metrics) = shadowed("same", Some(REAL));
    assert_eq!(lines, alone);
    // 43 exchanges of two heads and two ends each, and what stands between.
    assert!(value(&metrics, "picotap_shadow_compared_records_total") >= 172.0, "{metrics}");
    assert_eq!(value(&metrics, "picotap_shadow_differences_total"), 0.0);
}

#[test]
fn another_parser_is_counted_by_field_and_changes_no_line() {
    let (alone, _) = shadowed("alone-again", None);
    let (lines, metrics) = shadowed("other", Some(LINES));
    assert_eq!(lines, alone);
    assert!(value(&metrics, "picotap_shadow_differences_total{field=\"text\"}") > 0.0, "{metrics}");
}
