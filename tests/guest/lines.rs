//! The parser of start lines alone: another guest, which gives the same methods, targets and statuses as picotap's own.

use crate::support;
use std::fs;

use support::capture::{Compression, Format, Order, file};
use support::line::essence;
use support::message::{Message, filler};
use support::program::{picotap, read, run, scratch};
use support::scene::Scene;

const LINES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lines.wasm"));

fn module(name: &str) -> std::path::PathBuf {
    let path = scratch(name);
    fs::write(&path, LINES).unwrap();
    path
}

#[test]
fn it_passes_the_self_test_and_has_a_state_format_of_its_own() {
    let inspected = run(picotap().args(["guest", "inspect"]).arg(module("lines-inspect.wasm")));
    assert_eq!(inspected.code, Some(0), "{}", inspected.stderr);
    let lines = inspected.lines();
    assert!(lines.contains(&"state format  1000".to_owned()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("self-test     passed")), "{lines:#?}");
}

#[test]
fn it_finds_the_start_lines_that_picotap_finds_however_they_are_cut() {
    let guest = module("lines.wasm");
    for mss in [1, 3, 17, 1460] {
        let mut scene = Scene::default();
        let mut c = scene.connection();
        c.mss = mss;
        c.open();
        c.exchange(&Message::get("/a?b=c"), &Message::ok(&filler(500)));
        c.exchange(
            &Message::post("/post", &filler(300)),
            &Message::response("404 Not Found").chunked(&[b"no", b"thing"]),
        );
        c.batch(support::wire::Side::Client, &[Message::get("/pipelined/1"), Message::get("/pipelined/2")]);
        c.batch(support::wire::Side::Server, &[Message::ok(b"1\n"), Message::response("304 Not Modified")]);
        c.exchange(
            &Message::get(&format!("/{}", "long".repeat(3000))),
            &Message::response("414 URI Too Long").body(b""),
        );
        c.exchange(&Message::get("/last"), &Message::ok(&filler(20_000)));
        c.close();
        scene.capture(&mut c);
        scene.stamp();
        let path = scratch("lines.pcap");
        let frames = scene.frames(&scene.packets);
        fs::write(&path, file(&frames, Format::Pcap(Order::Little, false), Compression::None)).unwrap();
        let own: Vec<_> = read(&path, &[]).sorted().iter().map(|line| essence(line).2).collect();
        let outcome = read(&path, &["--guest", guest.to_str().unwrap(), "--stats"]);
        let lines: Vec<_> = outcome.sorted().iter().map(|line| essence(line).2).collect();
        assert_eq!(own.len(), 6);
        // It ignores lines of more than 8 KiB: that request is not seen, and its response is unpaired.
        let differ: Vec<_> = own.iter().zip(&lines).filter(|(own, lines)| own != lines).collect();
        assert_eq!((lines.len(), differ.len()), (6, 1), "segments of {mss}: {lines:#?}");
        assert!(differ[0].1.ends_with("- - 414"), "{differ:?}");
        assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    }
}
