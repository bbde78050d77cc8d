//! A second parser beside the first: where it differs is counted, and nothing of it is printed.

use crate::support;
use std::fs;
use std::path::Path;

use support::capture::{Compression, Format, Order, file};
use support::message::{Message, filler, redis};
use support::program::{picotap, run, scratch};
use support::scene::Scene;
use support::wat_guest::{HONEST, guest, of_protocol};
use support::wire::Side;

const REAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
/// A parser of another protocol.
const RESP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resp.wasm"));
/// A parser of start lines alone: it knows no headers and no bodies.
const LINES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lines.wasm"));

/// Lines of the recorded traffic, and its metrics, with this shadow.
fn shadowed(name: &str, wasm: Option<&[u8]>) -> (Vec<String>, String) {
    shadowed_with(name, Path::new("fixtures/http.pcap"), &[], wasm)
}

fn shadowed_with(name: &str, capture: &Path, args: &[&str], wasm: Option<&[u8]>) -> (Vec<String>, String) {
    let metrics = scratch(&format!("{name}.prom"));
    let mut command = picotap();
    command.arg("--pcap").arg(capture).args(args).args(["--format", "json", "--metrics-file"]).arg(&metrics);
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

#[test]
fn a_shadow_is_for_the_protocol_that_it_names() {
    let mut scene = Scene::default();
    let (mut http, mut resp) = (scene.connection(), scene.connection());
    for c in [&mut http, &mut resp] {
        c.open();
    }
    http.exchange(&Message::get("/"), &Message::ok(&filler(500)));
    for _ in 0..3 {
        resp.send(Side::Client, &redis(&["GET", "key"]));
        resp.send(Side::Server, b"$5\r\nvalue\r\n");
    }
    for c in [&mut http, &mut resp] {
        c.close();
        scene.capture(c);
    }
    scene.stamp();
    let capture = scratch("shadow-resp.pcap");
    let frames = scene.frames(&scene.packets);
    fs::write(&capture, file(&frames, Format::Pcap(Order::Little, false), Compression::None)).unwrap();
    let module = scratch("shadow-resp-first.wasm");
    fs::write(&module, RESP).unwrap();
    let module = format!("resp={}", module.display());
    let with = |name: &str, wasm: Option<&[u8]>| shadowed_with(name, &capture, &["--guest", &module], wasm);

    let (alone, _) = with("shadow-resp-alone", None);
    assert_eq!(alone.len(), 4, "{alone:#?}");
    let (lines, metrics) = with("shadow-resp-same", Some(RESP));
    assert_eq!(lines, alone);
    // Four of HTTP, and of RESP an operation and an outcome three times.
    assert_eq!(value(&metrics, "picotap_shadow_compared_records_total"), 10.0, "{metrics}");
    assert_eq!(value(&metrics, "picotap_shadow_differences_total"), 0.0, "{metrics}");
    // One that gives no records: those of the other protocol are compared as before.
    let silent = wat::parse_str(of_protocol("resp", &guest(HONEST))).unwrap();
    let (lines, metrics) = with("shadow-resp-silent", Some(&silent));
    assert_eq!(lines, alone);
    assert_eq!(value(&metrics, "picotap_shadow_compared_records_total"), 4.0, "{metrics}");
    assert_eq!(value(&metrics, "picotap_shadow_differences_total{field=\"missing\"}"), 6.0, "{metrics}");
    fs::remove_file(capture).unwrap();
}
