//! Parser modules on the command line and in a configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use super::{complains, fixture, written};
use crate::support::capture::{Compression, Format, Order, file};
use crate::support::message::redis;
use crate::support::program::{picotap, read, run, scratch};
use crate::support::scene::Scene;
use crate::support::wat_guest::{self, HONEST, guest_when, of_protocol};
use crate::support::wire::Side;

/// The module of this name that the build has made.
fn guest(name: &str) -> PathBuf {
    Path::new(env!("OUT_DIR")).join(name).with_extension("wasm")
}

#[test]
fn a_module_is_for_the_protocol_that_it_is_given_for() {
    let good = fixture("framing/get/capture.pcap");
    let (resp, lines) = (guest("resp"), guest("lines"));
    let (resp, lines) = (resp.to_str().unwrap(), lines.to_str().unwrap());
    let named = |protocol: &str, file: &str| format!("{protocol}={file}");
    let with = |guests: &[&str]| read(&good, &guests.iter().flat_map(|guest| ["--guest", guest]).collect::<Vec<_>>());
    for guests in [&[lines][..], &[&named("http1", lines)], &[&named("resp", resp)], &[&named("resp", resp), lines]] {
        let outcome = with(guests);
        assert_eq!((outcome.code, outcome.lines().len()), (Some(0), 1), "{guests:?}: {outcome:?}");
    }
    // A file alone is for HTTP/1.
    complains(&with(&[resp]), 1, &["picotap: http1 parser ", "resp.wasm: it parses resp and is given for http1"]);
    let wrong = with(&[lines, &named("b", resp)]);
    complains(&wrong, 1, &["picotap: b parser ", "resp.wasm: it parses resp and is given for b", "--guest resp=file"]);
    complains(&with(&[lines, &named("http1", lines)]), 2, &["picotap: two parser modules for http1"]);
    complains(&with(&[&named("resp", resp), &named("resp", resp)]), 2, &["picotap: two parser modules for resp"]);
    let many: Vec<String> = (0..15).map(|n| format!("p{n}=x.wasm")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    complains(&with(&many), 2, &["picotap: parser modules for 17 protocols", "allowed are 16"]);
    complains(&with(&["RESP=x.wasm"]), 2, &["\"resp\" is no protocol", "needs its directory too, as ./resp="]);
    complains(&with(&["resp="]), 2, &["got no file"]);
    // A second parser is compared with one that there is.
    let shadow = |args: &[&str]| read(&good, &[args, &["--shadow", resp]].concat());
    complains(&shadow(&[]), 1, &["picotap: second parser ", "there is no parser for resp to compare it with"]);
    assert_eq!(shadow(&["--guest", &named("resp", resp)]).code, Some(0));
}

#[test]
fn a_file_of_modules_is_configured_as_one_value_or_as_a_list() {
    let good = fixture("framing/get/capture.pcap");
    let (resp, lines) = (guest("resp"), guest("lines"));
    for text in [
        format!("guest = \"{}\"", lines.display()),
        format!("guest = [\"resp={}\", \"{}\"]", resp.display(), lines.display()),
    ] {
        let config = written("guests.toml", text.as_bytes());
        let outcome = read(&good, &["--config", config.to_str().unwrap()]);
        assert_eq!((outcome.code, outcome.lines().len()), (Some(0), 1), "{text}: {outcome:?}");
    }
    let config = written("guests.toml", b"\nguest = [\"A=x.wasm\"]");
    complains(
        &run(picotap().args(["config", "check"]).arg(config)),
        2,
        &["guests.toml:2:9: guest: ", "is no protocol"],
    );
}

#[test]
fn a_module_of_version_1_of_the_contract_is_refused_with_what_to_do() {
    let text = wat_guest::guest(HONEST)
        .replace("(i32.const 2)) ;; version", "(i32.const 1)) ;; version")
        .replace("\"pico_protocol\"", "\"another\"")
        .replace("\"pico_first_window\"", "\"one_more\"");
    let old = written("version1.wasm", &wat::parse_str(text).unwrap());
    let says = ["speaks version 1 of the parser contract", "build it anew with this picotap's guest/abi.h"];
    let outcome = read(&fixture("framing/get/capture.pcap"), &["--guest", old.to_str().unwrap()]);
    complains(&outcome, 1, &[&["picotap: http1 parser "], &says[..]].concat());
    complains(&run(picotap().args(["guest", "inspect"]).arg(&old)), 1, &says);
    complains(&run(picotap().arg("replay").arg(&old)), 1, &["not a quarantined event"]);
}

#[test]
fn the_protocol_of_a_module_is_printed() {
    let inspected = |name: &str| run(picotap().args(["guest", "inspect"]).arg(guest(name)));
    for (name, protocol, format, window) in
        [("picotap", "http1", 5, 1), ("http2", "http2", 3, 2), ("lines", "http1", 1000, 1), ("resp", "resp", 1, 8)]
    {
        let outcome = inspected(name);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        for line in [
            format!("protocol      {protocol}"),
            format!("state format  {format}"),
            format!("first window  {window}"),
            "abi           2".to_owned(),
        ] {
            assert!(outcome.lines().contains(&line), "{line}: {outcome:?}");
        }
        assert!(outcome.lines().iter().any(|line| line.starts_with("self-test     passed")), "{outcome:?}");
    }
}

/// Of an event with bytes: 64 KiB of extra state, once; until they are granted or refused, the others of its connection wait.
const GROWS: &str = "
    (local.set $records (i32.add (i32.add (local.get $in) (i32.load offset=20 (local.get $in))) (i32.mul (i32.load (local.get $event)) (i32.const 160))))
    (if (i32.load offset=132 (local.get $records))
        (then (i32.store8 (local.get $result) (i32.const 4)) (i32.store offset=4 (local.get $result) (i32.const 0)))
        (else (if (i32.and (i32.eq (i32.load8_u offset=5 (local.get $event)) (i32.const 1))
                           (i32.eqz (i32.or (i32.load offset=140 (local.get $records))
                                            (i32.and (i32.load8_u offset=129 (local.get $records)) (i32.const 4)))))
            (then (i32.store offset=132 (local.get $records) (i32.const 1))
                  (i32.store offset=148 (local.get $records) (i32.const 65536))
                  (i32.store8 (local.get $result) (i32.const 5))
                  (i32.store offset=4 (local.get $result) (i32.const 0))))))";

#[test]
fn extra_state_is_a_quarter_of_the_memory_limit_divided_among_the_workers() {
    let text = of_protocol("resp", &guest_when("(i32.const 1)", GROWS));
    let module = written("grows.wasm", &wat::parse_str(text).unwrap());
    let mut scene = Scene::default();
    let mut c = scene.connection();
    c.open();
    c.send(Side::Client, &redis(&["GET", "key"]));
    c.send(Side::Server, b"$-1\r\n");
    c.close();
    scene.capture(&mut c);
    scene.stamp();
    let frames = scene.frames(&scene.packets);
    let capture = written("grows.pcap", &file(&frames, Format::Pcap(Order::Little, false), Compression::None));
    let (guest, metrics) = (format!("resp={}", module.display()), scratch("grows.prom"));
    // 64 KiB for each of 16 workers, and less for each of 17.
    for (workers, granted, refused) in [("16", 1, 0), ("17", 0, 1)] {
        let args = ["--guest", &guest, "--memory-limit", "4", "--workers", workers, "--metrics-file"];
        let outcome = read(&capture, &[&args[..], &[metrics.to_str().unwrap()]].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let metrics = fs::read_to_string(&metrics).unwrap();
        for (event, count) in [("granted", granted), ("refused", refused)] {
            let sample = format!("picotap_sandbox_extra_state_total{{event=\"{event}\"}} {count}");
            assert!(metrics.lines().any(|line| line == sample), "{workers}: {sample}");
        }
    }
}
