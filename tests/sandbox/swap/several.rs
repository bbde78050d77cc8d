//! Parsers of two protocols, each exchanged for itself while traffic of both is parsed.

use std::fs;
use std::path::{Path, PathBuf};

use super::running::Running;
use super::{PLANTED, REAL, REFORMED};
use crate::support::capture::{Compression, Format, Order, file};
use crate::support::message::{Message, filler, redis};
use crate::support::program::{read, scratch, sorted};
use crate::support::random::Random;
use crate::support::scene::Scene;
use crate::support::wat_guest::{guest_when, of_protocol};
use crate::support::wire::Side;

const RESP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resp.wasm"));
/// A parser of start lines alone: it knows no headers and no bodies.
const LINES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lines.wasm"));

/// The same module with another hash: a section that is for nobody.
fn renamed(module: &[u8]) -> Vec<u8> {
    [module, &[0, 5, 4], b"same"].concat()
}

/// A parser of RESP that traps on a command of three words at the start of a connection.
fn trapping() -> Vec<u8> {
    let three = "(i32.and (i32.eq (i32.load8_u offset=5 (local.get $event)) (i32.const 1))
        (i32.eq (i32.load (i32.add (local.get $arena) (i32.load offset=24 (local.get $event)))) (i32.const 0x0a0d332a)))";
    wat::parse_str(of_protocol("resp", &guest_when(three, "unreachable"))).unwrap()
}

/// Connections of HTTP and of RESP in turn, two of each at a time. Of RESP each has three commands.
fn traffic(name: &str) -> (PathBuf, Vec<u8>) {
    let (mut scene, mut random) = (Scene::default(), Random::new(5));
    for n in 0..150 {
        let mut parts = vec![];
        for at in 0..4 {
            let mut c = scene.connection();
            c.open();
            let mut own = vec![std::mem::take(&mut c.packets)];
            for i in 0..3 {
                if at % 2 == 0 {
                    c.exchange(&Message::get(&format!("/{n}/{i}")), &Message::ok(&filler(2000)));
                } else {
                    c.send(Side::Client, &redis(&["SET", &format!("key:{n}:{i}"), "value"]));
                    c.send(Side::Server, format!("$2000\r\n{}\r\n", "x".repeat(2000)).as_bytes());
                }
                own.push(std::mem::take(&mut c.packets));
            }
            c.close();
            own.push(std::mem::take(&mut c.packets));
            parts.push(own);
        }
        scene.interleave(parts, &mut random);
    }
    scene.stamp();
    let bytes = file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None);
    let path = scratch(name);
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

/// Lines of RESP commands.
fn commands(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.contains("\"SET\"")).count()
}

/// The lines that all parsers together give when none is exchanged.
fn unchanged(path: &Path, name: &str) -> Vec<String> {
    let resp = Running::file(name, "resp");
    fs::write(&resp, RESP).unwrap();
    let lines = read(path, &["--guest", &format!("resp={}", resp.display())]).sorted();
    assert_eq!((lines.len(), commands(&lines)), (150 * 4 * 3, 150 * 2 * 3));
    lines
}

#[test]
fn modules_of_two_protocols_are_exchanged_at_once_and_nothing_is_lost() {
    let (path, bytes) = traffic("several.pcap");
    let expected = unchanged(&path, "several");
    let other = renamed(RESP);
    let metrics = scratch("several.prom");
    let options = ["--workers", "2", "--metrics-file", metrics.to_str().unwrap()];
    let mut running = Running::start("several", &[("http1", REAL), ("resp", RESP)], &options);
    for (n, piece) in bytes.chunks(bytes.len() / 6 + 1).enumerate() {
        let (http1, resp) = if n % 2 == 0 { (REFORMED, &other[..]) } else { (REAL, RESP) };
        running.feed(piece);
        running.exchange(&[("http1", http1), ("resp", resp)]);
        running.await_text("takes over", 2 * (n + 1));
    }
    // One whose file is the same is left alone.
    running.exchange(&[("resp", &other)]);
    running.await_text("takes over", 13);
    let (lines, said) = running.end();
    assert_eq!((said.matches("http1 parser ").count(), said.matches("resp parser ").count()), (6, 7), "{said}");
    assert!(
        said.contains(&format!("resp parser {} with SHA-256 ", Running::file("several", "resp").display())),
        "{said}"
    );
    assert!(!said.contains("keeps its") && !said.contains("the old one"), "{said}");
    assert!(sorted(lines) == expected, "{said}");
    let metrics = fs::read_to_string(metrics).unwrap();
    assert!(in_charge(&metrics, "http1", REAL) && in_charge(&metrics, "resp", &other), "{metrics}");
    assert!(metrics.contains("picotap_parser_swaps_total{result=\"done\"} 13"), "{metrics}");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_module_that_is_refused_does_not_stop_the_other() {
    let (path, bytes) = traffic("several-refused.pcap");
    let expected = unchanged(&path, "several-refused");
    let other = renamed(RESP);
    let mut running = Running::start("several-refused", &[("http1", REAL), ("resp", RESP)], &[]);
    let pieces: Vec<&[u8]> = bytes.chunks(bytes.len() / 3 + 1).collect();
    running.feed(pieces[0]);
    running.exchange(&[("http1", b"not a module"), ("resp", &other)]);
    running.await_text("takes over", 1);
    running.feed(pieces[1]);
    // A module of another protocol is none for this one.
    running.exchange(&[("http1", REFORMED), ("resp", LINES)]);
    running.await_text("the old one stays", 2);
    running.feed(pieces[2]);
    let (lines, said) = running.end();
    let said: Vec<&str> = said.lines().filter(|line| line.contains(" parser ")).collect();
    let parts = [
        ["http1 parser", "not a module", "the old one stays"],
        ["resp parser", "with SHA-256", "takes over"],
        ["http1 parser", "with SHA-256", "takes over"],
        ["resp parser", "it parses http1 and is given for resp", "the old one stays"],
    ];
    assert_eq!(said.len(), parts.len(), "{said:#?}");
    for (line, parts) in said.iter().zip(parts) {
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {said:#?}");
    }
    assert!(sorted(lines) == expected, "{said:#?}");
    fs::remove_file(path).unwrap();
}

/// A run that is given both new parsers at once, between these pieces of its capture. Its lines, what it printed and its metrics.
fn both_new(name: &str, http1: &[u8], resp: &[u8], pieces: [&[u8]; 3]) -> (Vec<String>, String, String) {
    let metrics = scratch(&format!("{name}.prom"));
    let options = ["--workers", "1", "--metrics-file", metrics.to_str().unwrap()];
    let mut running = Running::start(name, &[("http1", REAL), ("resp", RESP)], &options);
    running.feed(pieces[0]);
    running.exchange(&[("http1", http1), ("resp", resp)]);
    running.await_text("takes over", 2);
    running.feed(pieces[1]);
    running.await_text("the old one is back", 1);
    running.feed(pieces[2]);
    let (lines, said) = running.end();
    assert_eq!(said.matches("the old one is back").count(), 1, "{said}");
    (lines, said, fs::read_to_string(metrics).unwrap())
}

/// Whether the metrics say that this is the parser of the protocol.
fn in_charge(metrics: &str, protocol: &str, module: &[u8]) -> bool {
    let sha256 = picotap::sandbox::engine::sha256(module);
    let info = format!("picotap_parser_info{{protocol=\"{protocol}\",sha256=\"{sha256}\",abi=\"2\"}} 1");
    metrics.lines().any(|line| line == info)
}

#[test]
fn of_two_new_parsers_the_later_one_is_rolled_back_if_it_faults() {
    let (path, bytes) = traffic("several-back.pcap");
    let expected = unchanged(&path, "several-back");
    let third = bytes.len() / 3;
    let pieces = [&bytes[..third], &bytes[third..2 * third], &bytes[2 * third..]];
    let (lines, said, metrics) = both_new("several-back", REFORMED, &trapping(), pieces);
    assert!(said.contains("the new resp parser faulted "), "{said}");
    assert!(in_charge(&metrics, "http1", REFORMED) && in_charge(&metrics, "resp", RESP), "{metrics}");
    let got = sorted(lines);
    let lost: Vec<String> = expected.iter().filter(|line| !got.contains(line)).cloned().collect();
    assert!(!lost.is_empty() && lost.len() < 600, "{} lost", lost.len());
    assert_eq!(lost.len(), commands(&lost), "no line of the other protocol is lost: {lost:#?}");
    fs::remove_file(path).unwrap();
}

#[test]
fn of_two_new_parsers_the_earlier_one_is_rolled_back_if_it_faults() {
    let (path, bytes) = traffic("several-first.pcap");
    let (half, other) = (bytes.len() / 2, renamed(RESP));
    // Behind the header of their file, packets go on.
    let rest = [&bytes[half..], &poisoned()[24..]].concat();
    let (lines, said, metrics) = both_new("several-first", PLANTED, &other, [&bytes[..half], &rest, &[]]);
    assert!(said.contains("the new http1 parser faulted "), "{said}");
    assert!(in_charge(&metrics, "http1", REAL) && in_charge(&metrics, "resp", &other), "{metrics}");
    assert_eq!(commands(&lines), 150 * 2 * 3, "no command is lost");
    fs::remove_file(path).unwrap();
}

/// Connections that the planted parser traps on, enough of them for some slots.
fn poisoned() -> Vec<u8> {
    let mut scene = Scene::default();
    for _ in 0..600 {
        scene.connection();
    }
    for n in 0..200 {
        let mut c = scene.connection();
        c.open();
        c.exchange(&Message::get(&format!("/{n}")).header("X-Poison", "trap"), &Message::ok(&filler(2900)));
        c.close();
        scene.capture(&mut c);
    }
    scene.stamp();
    file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None)
}

#[test]
fn a_shadow_has_the_parsers_in_charge_of_the_other_protocols() {
    let (path, bytes) = traffic("several-shadow.pcap");
    let (shadow, metrics) = (scratch("several-shadow-second.wasm"), scratch("several-shadow.prom"));
    fs::write(&shadow, renamed(RESP)).unwrap();
    let options = ["--shadow", shadow.to_str().unwrap(), "--metrics-file", metrics.to_str().unwrap()];
    let mut running = Running::start("several-shadow", &[("http1", REAL), ("resp", RESP)], &options);
    let half = bytes.len() / 2;
    running.feed(&bytes[..half]);
    // It gives other records.
    running.exchange(&[("http1", LINES)]);
    running.await_text("takes over", 1);
    running.feed(&bytes[half..]);
    running.end();
    let metrics = fs::read_to_string(metrics).unwrap();
    let value = |start: &str| -> f64 {
        let samples = metrics.lines().filter(|line| line.starts_with(start));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    assert!(value("picotap_shadow_compared_records_total") > 3000.0, "{metrics}");
    assert!(value("picotap_shadow_differences_total") < 0.5, "{metrics}");
    fs::remove_file(path).unwrap();
}
