//! The command `picotap parse`: what it prints, takes and exits with.
#![cfg(feature = "parse")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use picotap::parse::{Args, Runtime, Via, run};

const EXAMPLE: &[u8] = b"GET /abcd HTTP/1.1\r\nHost: tricorder.dev\r\nCookie: cookie\r\n\r\n";

fn argument(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Exit code and what is printed, or the exit code and the message.
fn command(args: &Args) -> (u8, String) {
    let mut out = Vec::new();
    match run(args, &mut out) {
        Ok(code) => (code, String::from_utf8(out).unwrap()),
        Err(error) => (error.exit_code(), error.to_string()),
    }
}

fn via(via: Via, requests: &[&[u8]]) -> Args {
    Args { via: Some(via), requests: requests.iter().map(|bytes| argument(bytes)).collect(), ..Args::default() }
}

#[test]
fn the_example_prints_these_lines() {
    let lines = "Method    : GET\nPath      : /abcd\nHeader    : Host\n          : tricorder.dev\n\
                 Header    : Cookie\n          : cookie\n";
    for way in [Via::Argv, Via::Memory, Via::Externref, Via::HostMemory, Via::HostMemoryImport] {
        assert_eq!(command(&via(way, &[EXAMPLE])), (0, lines.into()));
    }
}

#[test]
fn without_requests_the_built_in_ones_are_parsed() {
    let (code, lines) = command(&Args::default());
    let paths: Vec<&str> = lines.lines().filter_map(|line| line.strip_prefix("Path      : ")).collect();
    let kitty = "/wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg";
    assert_eq!((code, paths), (0, vec!["/api/v1/bpf", "/api/v2/wasm", kitty]));
}

#[test]
fn a_request_that_is_not_parsed_is_reported_with_exit_code_1() {
    let lines = "Error     : partial\n\nError     : malformed, bad header\n\nError     : malformed, a response, not a request\n";
    let requests: [&[u8]; 3] = [b"GET / HT", b"GET / HTTP/1.1\r\nA B\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"];
    assert_eq!(command(&via(Via::Memory, &requests)), (1, lines.into()));
    assert_eq!(command(&via(Via::Argv, &requests)), (1, lines.into()));
}

#[test]
fn json_is_one_object_per_line() {
    let folded: &[u8] = b"GET /\xff HTTP/1.0\r\nA: b\r\n c\r\n\r\n";
    let args = Args { json: true, ..via(Via::Memory, &[folded, b"GET", b"G@T / HTTP/1.1\r\n\r\n"]) };
    let lines = "{\"status\":\"parsed\",\"bytes\":29,\"method\":\"GET\",\"path\":\"/\\\\xff\",\"version\":\"1.0\",\
                 \"headers\":[{\"name\":\"A\",\"value\":\"b\"},{\"value\":\" c\"}]}\n{\"status\":\"partial\"}\n\
                 {\"status\":\"malformed\",\"error\":\"bad start line\"}\n";
    assert_eq!(command(&args), (1, lines.into()));
}

#[test]
fn a_file_may_contain_nul_and_an_argument_may_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request");
    fs::write(&file, b"POST /f HTTP/1.1\r\nContent-Length: 1\r\n\r\n\0").unwrap();
    let args = |way| Args { files: vec![file.clone()], ..via(way, &[EXAMPLE]) };
    let (code, lines) = command(&args(Via::Externref));
    assert_eq!((code, lines.matches("Path      : /f\n").count()), (0, 1));
    let message = "request 2: NUL byte at offset 39: arguments end at NUL, so use another way than --via argv";
    assert_eq!(command(&args(Via::Argv)), (2, message.into()));
}

#[test]
fn a_missing_or_too_long_file_is_wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request");
    let args = Args { files: vec![file.clone()], ..Args::default() };
    assert_eq!(command(&args).0, 2);
    fs::write(&file, vec![b'a'; (1 << 20) + 1]).unwrap();
    assert_eq!(command(&args), (2, "request 1: too long: at least 1048577 bytes, and the limit is 1048576".into()));
}

#[test]
fn wasmedge_requires_argv_and_a_missing_library_is_reported() {
    let args = Args { runtime: Runtime::Wasmedge, ..via(Via::Memory, &[EXAMPLE]) };
    assert_eq!(command(&args).0, 2);
    let args = Args { via: None, ..args };
    match command(&args) {
        (0, lines) => assert!(lines.starts_with("Method    : GET\nPath      : /abcd\n")),
        (code, message) => {
            assert_eq!(code, 2);
            assert!(message.starts_with("libwasmedge cannot be used: libwasmedge.so.0"), "{message}");
            assert!(message.ends_with("on Debian 13: apt-get install libwasmedge0"), "{message}");
        }
    }
}
