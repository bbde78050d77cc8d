//! Another parser put in charge while traffic is parsed: no packet, no connection, no transaction is lost over it.

use crate::support;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod running;
mod several;

use running::Running;
use support::capture::{Compression, Format, Order, file};
use support::message::Message;
use support::program::{read, scratch, sorted};
use support::scene::Scene;
use support::workload::Workload;

const REAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
/// The same source with another state format.
const REFORMED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reformed.wasm"));
/// The same state format, and a fault for every request with a certain header.
const PLANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/planted.wasm"));

fn workload(name: &str) -> (PathBuf, Vec<u8>) {
    let mut bytes = vec![];
    Workload { connections: 400, each: 20, body: 2000, seed: 7 }.write(&mut bytes).unwrap();
    let path = scratch(name);
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

#[test]
fn a_swap_every_100_ms_between_two_state_formats_changes_nothing() {
    let (path, bytes) = workload("swap.pcap");
    let expected = read(&path, &[]).sorted();
    assert_eq!(expected.len(), 400 * 20);
    let mut running = Running::start("swap", &[("http1", REAL)], &["--workers", "2"]);
    for (n, piece) in bytes.chunks(bytes.len() / 20).enumerate() {
        running.feed(piece);
        if n > 0 {
            running.exchange(&[("http1", if n % 2 == 1 { REFORMED } else { REAL })]);
        }
        std::thread::sleep(Duration::from_millis(100));
        // However slow the machine is, some swaps happen during the traffic.
        let start = Instant::now();
        while n >= 8 && running.times("takes over") < n / 4 {
            running.exchange(&[("http1", if start.elapsed().as_secs() % 2 == 1 { REFORMED } else { REAL })]);
            assert!(start.elapsed() < Duration::from_secs(120), "{}", running.said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let (lines, said) = running.end();
    let swaps = said.matches("takes over").count();
    println!("{swaps} swaps");
    assert!(swaps >= 3, "{said}");
    assert!(!said.contains("keeps its parser") && !said.contains("the old one"), "{said}");
    assert_eq!(sorted(lines), expected);
    fs::remove_file(path).unwrap();
}

#[test]
fn a_broken_module_is_refused_and_the_old_one_stays() {
    let (path, bytes) = workload("swap-broken.pcap");
    let expected = read(&path, &[]).sorted();
    let mut running = Running::start("swap-broken", &[("http1", REAL)], &["--workers", "2"]);
    let importing = wat::parse_str("(module (import \"env\" \"exec\" (func)))").unwrap();
    let broken: [(&[u8], &str); 3] =
        [(b"not a module", "the old one stays"), (&importing, "exec"), (&REAL[..REAL.len() / 2], "the old one stays")];
    let pieces: Vec<&[u8]> = bytes.chunks(bytes.len() / 4 + 1).collect();
    for (n, piece) in pieces.iter().enumerate() {
        running.feed(piece);
        if let Some((module, why)) = broken.get(n) {
            running.exchange(&[("http1", module)]);
            running.await_text("the old one stays", n + 1);
            running.await_text(why, 1);
        }
    }
    let (lines, said) = running.end();
    assert!(!said.contains("takes over"), "{said}");
    assert_eq!(sorted(lines), expected);
    fs::remove_file(path).unwrap();
}

/// Connections after one another, each of which ends with a request that the planted parser traps on.
fn poisoned(path: &Path) -> Vec<u8> {
    let mut scene = Scene::default();
    for n in 0..300 {
        let mut c = scene.connection();
        c.open();
        for i in 0..4 {
            c.exchange(&Message::get(&format!("/{n}/{i}")), &Message::ok(&support::message::filler(1400)));
        }
        c.exchange(&Message::get(&format!("/{n}/poison")).header("X-Poison", "trap"), &Message::ok(b"hello"));
        c.close();
        scene.capture(&mut c);
    }
    scene.stamp();
    let bytes = file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None);
    fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn a_parser_that_faults_more_than_the_one_before_is_rolled_back() {
    let path = scratch("swap-back.pcap");
    let bytes = poisoned(&path);
    let expected = read(&path, &[]).sorted();
    let mut running = Running::start("swap-back", &[("http1", REAL)], &["--workers", "1"]);
    let third = bytes.len() / 3;
    running.feed(&bytes[..third]);
    running.exchange(&[("http1", PLANTED)]);
    running.await_text("takes over", 1);
    running.feed(&bytes[third..2 * third]);
    running.await_text("the old one is back", 1);
    running.feed(&bytes[2 * third..]);
    let (lines, said) = running.end();
    assert_eq!(said.matches("the old one is back").count(), 1, "{said}");
    let got = sorted(lines);
    // Lost are poisonous requests that the new parser saw, and no other line; those after the return are there.
    let lost: Vec<&String> = expected.iter().filter(|line| !got.contains(line)).collect();
    assert!(!lost.is_empty() && lost.len() < 150, "{} lost", lost.len());
    assert!(lost.iter().all(|line| line.contains("/poison")), "{lost:#?}");
    assert!(got.iter().any(|line| line.contains("/299/poison")), "{said}");
    fs::remove_file(path).unwrap();
}
