//! The parser with bugs planted in it, each triggered by a header of a request: the attacker's event is lost, and nothing else.

use crate::support;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::capture::{Compression, Format, Order, file};
use support::conversation::Conversation;
use support::frame::END_STREAM;
use support::http2::Http2;
use support::message::{Message, filler, redis};
use support::program::{Outcome, picotap, read, run, scratch, sorted};
use support::random::Random;
use support::scene::Scene;
use support::wat_guest::{guest_when, of_protocol};
use support::wire::{Packet, Side};

/// The parser as it is, but for what `guest/http1/planted.c` adds.
const PLANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/planted.wasm"));

/// The same of that of HTTP/2.
const PLANTED_HTTP2: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/http2-planted.wasm"));

/// A parser of another protocol.
const RESP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resp.wasm"));

/// Value of the header, and the fault that it must give.
const BUGS: &[(&str, &str)] = &[
    ("trap", "trap_unreachable"),
    ("loop", "deadline"),
    ("stack", "trap_memory"),
    ("store", "trap_memory"),
    ("overflow", "trap_memory"),
    ("positions", "reply_position"),
    ("counts", "reply_record_count"),
    ("consumed", "reply_consumed"),
    ("progress", "reply_no_progress"),
    ("lengths", "reply_body_length"),
];

/// Healthy connections around every attack.
const HEALTHY: usize = 24;
/// Exchanges on each of them.
const EACH: usize = 12;

fn poisoned(bug: &str) -> Message {
    // Long enough to reach beyond every frame on the stack.
    let value = if bug == "overflow" { format!("overflow {}", "A".repeat(16_000)) } else { bug.to_owned() };
    Message::get("/poison").header("X-Poison", &value)
}

/// The packets of healthy connections, with those of the attackers (one for each bug) among them, all opened before.
fn traffic(bugs: &[&str]) -> Scene {
    let mut scene = Scene::default();
    let mut random = Random::new(bugs.len() as u64);
    let mut parts: Vec<Vec<Vec<Packet>>> = vec![];
    for n in 0..HEALTHY + bugs.len() {
        let mut c: Conversation = scene.connection();
        c.open();
        scene.packets.append(&mut c.packets);
        let mut own = vec![];
        for i in 0..EACH {
            let request = match bugs.get(n.wrapping_sub(HEALTHY)) {
                Some(bug) if i == 2 => poisoned(bug),
                _ => Message::get(&format!("/{n}/{i}")),
            };
            c.exchange(&request, &Message::ok(&filler(i * 700)));
            own.push(std::mem::take(&mut c.packets));
        }
        c.close();
        own.push(std::mem::take(&mut c.packets));
        parts.push(own);
    }
    scene.interleave(parts, &mut random);
    scene.stamp();
    scene
}

fn write(scene: &Scene, packets: &[Packet], name: &str) -> PathBuf {
    let path = scratch(name);
    fs::write(&path, file(&scene.frames(packets), Format::Pcap(Order::Little, false), Compression::None)).unwrap();
    path
}

fn module(name: &str) -> PathBuf {
    let path = scratch(name);
    fs::write(&path, PLANTED).unwrap();
    path
}

/// Lines of the connections without an attacker.
fn healthy(outcome: &Outcome) -> Vec<String> {
    let mut lines = outcome.lines();
    lines.retain(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["client_port"].as_u64().unwrap() <= 40_000 + HEALTHY as u64
    });
    sorted(lines)
}

fn ledger(outcome: &Outcome, name: &str) -> u64 {
    let line = outcome.stderr.lines().find(|line| line.trim_start().starts_with(name));
    line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0)
}

/// The cost of an attack: the event with the header, and what its connection sends after it.
fn attack(bugs: &[&str], faults: &[&str]) {
    let name = format!("poison-{}", bugs.join("-"));
    let scene = traffic(bugs);
    let peaceful: Vec<Packet> = scene.packets.iter().filter(|p| p.conversation < HEALTHY).cloned().collect();
    let without = read(&write(&scene, &peaceful, &format!("{name}-without.pcap")), &[]);
    let capture = write(&scene, &scene.packets, &format!("{name}.pcap"));
    let guest = module(&format!("{name}.wasm"));
    let quarantine = tempfile::tempdir().unwrap();
    let kept = quarantine.path().join("kept");
    let (guest, kept) = (guest.to_str().unwrap(), kept.to_str().unwrap());
    // On a busy machine the faults of one slot may take longer than half a second.
    let outcome = read(&capture, &["--guest", guest, "--quarantine-dir", kept, "--stats", "--fault-time", "1000"]);

    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(without.sorted().len(), HEALTHY * EACH);
    assert_eq!(healthy(&outcome), without.sorted(), "{}", capture.display());
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    assert_eq!(ledger(&outcome, "events condemned"), bugs.len() as u64, "{}", outcome.stderr);
    assert!(ledger(&outcome, "quarantined") > 0, "{}", outcome.stderr);
    // Of an attacker's connection, everything before the attack is logged.
    assert_eq!(outcome.lines().len(), HEALTHY * EACH + 2 * bugs.len(), "{}", outcome.stderr);

    assert_eq!(mode(Path::new(kept)), 0o700);
    let mut files: Vec<PathBuf> = fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), bugs.len());
    let mut seen = vec![];
    for file in &files {
        assert_eq!(mode(file), 0o600);
        assert!(fs::metadata(file).unwrap().len() < 192 << 10);
        let again = run(picotap().arg("replay").arg(file).args(["--guest", guest]));
        let replayed = again.lines();
        assert_eq!(again.code, Some(1), "{replayed:?}");
        seen.push(
            faults
                .iter()
                .copied()
                .find(|name| replayed[2].starts_with(&format!("now       {name} ")))
                .unwrap_or_default(),
        );
        assert!(replayed[1].contains(seen.last().unwrap()), "{replayed:?}");
        // The parser without the bug reads it: its blocks are the same.
        let mended = run(picotap().arg("replay").arg(file));
        assert_eq!(mended.code, Some(0), "{:?}", mended.lines());
        assert!(mended.lines()[2].contains("2 records"), "{:?}", mended.lines());
    }
    let mut faults = faults.to_vec();
    faults.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, faults);
    fs::remove_file(capture).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn each_bug_costs_the_event_that_triggers_it() {
    for (bug, fault) in BUGS {
        attack(&[bug], &[fault]);
    }
}

#[test]
fn all_misdeeds_at_once_cost_one_event_each() {
    let (bugs, faults): (Vec<&str>, Vec<&str>) = BUGS.iter().copied().unzip();
    attack(&bugs, &faults);
}

#[test]
fn a_quarantine_takes_a_thousand_files_and_no_more() {
    let bugs: Vec<&str> = BUGS.iter().map(|(bug, _)| *bug).collect();
    let scene = traffic(&bugs);
    let capture = write(&scene, &scene.packets, "poison-many.pcap");
    let quarantine = tempfile::tempdir().unwrap();
    for n in 0..1000 - 4 {
        fs::write(quarantine.path().join(n.to_string()), b"").unwrap();
    }
    let (guest, kept) = (module("poison-many.wasm"), quarantine.path().to_str().unwrap());
    let outcome = read(
        &capture,
        &["--guest", guest.to_str().unwrap(), "--quarantine-dir", kept, "--stats", "--fault-time", "1000"],
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(ledger(&outcome, "events condemned"), bugs.len() as u64);
    assert_eq!(fs::read_dir(kept).unwrap().count(), 1000);
    fs::remove_file(capture).unwrap();
}

#[test]
fn an_event_of_another_protocol_is_replayed_with_a_module_of_that_protocol() {
    // Consumes the command, and says that it had a byte more.
    let command = "(i32.and (i32.eq (i32.load8_u offset=5 (local.get $event)) (i32.const 1))
        (i32.eq (i32.load (i32.add (local.get $arena) (i32.load offset=24 (local.get $event)))) (i32.const 0x0a0d332a)))";
    let bug =
        "(i32.store offset=4 (local.get $result) (i32.add (i32.load offset=28 (local.get $event)) (i32.const 1)))";
    let text = of_protocol("resp", &guest_when(command, bug));
    let (failing, resp) = (scratch("poison-resp-failing.wasm"), scratch("poison-resp.wasm"));
    fs::write(&failing, wat::parse_str(text).unwrap()).unwrap();
    fs::write(&resp, RESP).unwrap();

    let mut scene = Scene::default();
    let (mut http, mut other) = (scene.connection(), scene.connection());
    http.open();
    http.exchange(&Message::get("/"), &Message::ok(b"hello"));
    http.close();
    other.open();
    other.send(Side::Client, &redis(&["SET", "key", "value"]));
    other.send(Side::Server, b"+OK\r\n");
    other.close();
    scene.capture(&mut http);
    scene.capture(&mut other);
    scene.stamp();
    let capture = write(&scene, &scene.packets, "poison-resp.pcap");
    let quarantine = tempfile::tempdir().unwrap();
    let kept = quarantine.path().join("kept");
    let guest = format!("resp={}", failing.display());
    let outcome = read(&capture, &["--guest", &guest, "--quarantine-dir", kept.to_str().unwrap(), "--stats"]);
    assert_eq!((outcome.code, outcome.lines().len()), (Some(0), 1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    let files: Vec<PathBuf> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [event] = &files[..] else { panic!("{files:?}") };

    let replay = |guest: Option<&str>| {
        let mut command = picotap();
        command.arg("replay").arg(event);
        run(guest.iter().fold(&mut command, |command, guest| command.args(["--guest", guest])))
    };
    for guest in [failing.to_str().unwrap(), &guest] {
        let same = replay(Some(guest));
        assert_eq!(same.code, Some(1), "{same:?}");
        assert!(same.lines()[1].starts_with("recorded  reply_consumed with module "), "{same:?}");
        assert!(same.lines()[2].starts_with("now       reply_consumed with module "), "{same:?}");
        assert_eq!(same.stderr, "", "the state format is the same");
    }
    // Another state format is no obstacle, and is said.
    let mended = replay(resp.to_str());
    assert_eq!(mended.code, Some(0), "{mended:?}");
    assert!(mended.lines()[2].starts_with("now       holds "), "{mended:?}");
    assert!(mended.stderr.contains("is in format 7") && mended.stderr.contains("has format 1"), "{mended:?}");
    // The parser that is built in is for another protocol, as is this module, and this name is none of the module.
    for (guest, says) in [
        (None, "a parser of resp failed on this event, and none is built in: needed --guest FILE"),
        (module("poison-resp-http1.wasm").to_str(), "poison-resp-http1.wasm parses http1: needed a module of resp"),
        (Some(&*format!("http1={}", resp.display())), "it parses resp and is given for http1"),
    ] {
        let refused = replay(guest);
        assert_eq!((refused.code, refused.stdout.len()), (Some(1), 0), "{refused:?}");
        assert!(refused.stderr.contains(says), "{says}: {refused:?}");
    }
    fs::remove_file(capture).unwrap();
}

/// Connections of HTTP/2, three streams at once on each; an attacker's have a poisoned request in the middle.
fn streams(bugs: &[&str]) -> Scene {
    let mut scene = Scene::default();
    let mut random = Random::new(7);
    let mut parts: Vec<Vec<Vec<Packet>>> = vec![];
    for n in 0..HEALTHY + bugs.len() {
        let mut h = Http2::start(scene.connection());
        scene.packets.append(&mut h.conversation.packets);
        let mut own = vec![];
        let bug = bugs.get(n.wrapping_sub(HEALTHY));
        for round in 0..2 {
            let first = 6 * round + 1;
            for stream in [first, first + 2, first + 4] {
                match bug.filter(|_| stream == 3) {
                    Some(bug) => poisoned_stream(&mut h, stream, bug),
                    None => _ = h.get(stream, &format!("/{n}/{stream}")),
                }
                own.push(std::mem::take(&mut h.conversation.packets));
            }
            for stream in [first + 4, first, first + 2] {
                h.head(Side::Server, stream, 0, &[(":status", "200"), ("server", "test")]);
                h.data(Side::Server, stream, END_STREAM, &filler(700 * round as usize + 10));
                own.push(std::mem::take(&mut h.conversation.packets));
            }
        }
        h.conversation.close();
        own.push(std::mem::take(&mut h.conversation.packets));
        parts.push(own);
    }
    scene.interleave(parts, &mut random);
    scene.stamp();
    scene
}

fn poisoned_stream(h: &mut Http2, stream: u32, bug: &str) {
    // Long enough to reach beyond every frame on the stack.
    let value = if bug == "overflow" { format!("overflow {}", "A".repeat(16_000)) } else { bug.to_owned() };
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "example.test"),
        (":path", "/poison"),
        ("x-poison", &value),
    ];
    h.head(Side::Client, stream, END_STREAM, &fields);
}

#[test]
fn a_bug_in_the_parser_of_http2_costs_an_event_and_other_streams_go_on() {
    let (bugs, faults): (Vec<&str>, Vec<&str>) = BUGS.iter().copied().unzip();
    let scene = streams(&bugs);
    let peaceful: Vec<Packet> = scene.packets.iter().filter(|p| p.conversation < HEALTHY).cloned().collect();
    let without = read(&write(&scene, &peaceful, "poison-h2-without.pcap"), &[]);
    let capture = write(&scene, &scene.packets, "poison-h2.pcap");
    let guest = scratch("poison-h2.wasm");
    fs::write(&guest, PLANTED_HTTP2).unwrap();
    let guest = format!("http2={}", guest.display());
    let quarantine = tempfile::tempdir().unwrap();
    let kept = quarantine.path().join("kept");
    let kept = kept.to_str().unwrap();
    let outcome = read(&capture, &["--guest", &guest, "--quarantine-dir", kept, "--stats", "--fault-time", "1000"]);

    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(without.sorted().len(), HEALTHY * 6);
    assert_eq!(healthy(&outcome), without.sorted(), "{}", capture.display());
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    assert_eq!(ledger(&outcome, "events condemned"), bugs.len() as u64, "{}", outcome.stderr);
    for n in HEALTHY..HEALTHY + bugs.len() {
        let lines: Vec<serde_json::Value> =
            outcome.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_attacker = |line: &&serde_json::Value| line["client_port"] == 40_001 + n as u64;
        let mut rows: Vec<String> = lines
            .iter()
            .filter(of_attacker)
            .map(|line| {
                format!("{} {} {} {} {}", line["stream"], line["method"], line["target"], line["status"], line["flags"])
            })
            .collect();
        rows.sort();
        let path = |stream: u32| format!("\"/{n}/{stream}\"");
        let wanted = [
            // It was asked before the attack.
            format!("1 \"GET\" {} 200 null", path(1)),
            format!("11 \"GET\" {} 200 [\"hpack_unknown\"]", path(11)),
            // The attack.
            "3 null null 200 [\"no_request\"]".to_owned(),
            // The table is that of the attack's, of which nothing is known.
            format!("5 \"GET\" {} 200 [\"resync\",\"hpack_unknown\"]", path(5)),
            format!("7 \"GET\" {} 200 [\"hpack_unknown\"]", path(7)),
            format!("9 \"GET\" {} 200 [\"hpack_unknown\"]", path(9)),
        ];
        // That head takes many segments, and what follows it may be joined to them.
        let long = bugs[n - HEALTHY] == "overflow";
        let told = |row: &String| !(long && (row.starts_with("5 ") || row.starts_with("7 ")));
        rows.retain(told);
        let wanted: Vec<String> = wanted.into_iter().filter(told).collect();
        assert_eq!(rows, wanted, "{}", bugs[n - HEALTHY]);
    }
    let mut seen: Vec<String> = fs::read_dir(kept)
        .unwrap()
        .map(|file| {
            let again = run(picotap().arg("replay").arg(file.unwrap().path()).args(["--guest", &guest]));
            assert_eq!(again.code, Some(1), "{:?}", again.lines());
            again.lines()[2].split_whitespace().nth(1).unwrap().to_owned()
        })
        .collect();
    let mut faults = faults.clone();
    faults.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, faults);
    fs::remove_file(capture).unwrap();
}

/// Runs the program that has the same bug and no sandbox.
fn native(program: &Path, request: &Message) -> std::process::ExitStatus {
    let mut child =
        Command::new(program).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It may be gone before it has read all.
    drop(child.stdin.take().unwrap().write_all(&request.all()));
    child.wait().unwrap()
}

#[test]
fn outside_of_the_sandbox_the_same_bug_ends_the_process() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parser = Path::new(env!("PICOHTTPPARSER_SOURCE"));
    let program = scratch("planted-native");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(&compiler);
    command
        .args(["-O2", "-DPICO_PLANTED", "-DPICO_PLANTED_NATIVE", "-I"])
        .arg(root.join("guest"))
        .arg("-I")
        .arg(root.join("guest/http1"))
        .arg("-I")
        .arg(parser);
    command.args([
        root.join("tests/poison/native.c"),
        root.join("guest/http1/planted.c"),
        parser.join("picohttpparser.c"),
    ]);
    let built = command.arg("-o").arg(&program).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    assert_eq!(native(&program, &Message::get("/fine")).code(), Some(0));
    assert_eq!(native(&program, &Message::get("/fine").header("X-Poison", "overflow short")).code(), Some(0));
    let status = native(&program, &poisoned("overflow"));
    assert!(status.signal().is_some(), "a segmentation fault, or whatever else the compiler makes of it: {status}");
    fs::remove_file(program).unwrap();
}
