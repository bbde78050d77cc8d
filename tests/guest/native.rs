//! The guest's parsers, compiled natively with AddressSanitizer and UndefinedBehaviorSanitizer, under the small host of
//! `fuzz/native`: every input that a fuzzer ever failed on, and some to start from, once more. A file in
//! `tests/regressions/native_PARSER` is one.
//!
//! In the sandbox a parser that reads a few bytes too far reads other bytes of its memory, and nothing is noticed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::tool;

/// Builds a parser. `None`: this machine cannot, and the skip of the test has been noted.
fn build(test: &str, parser: &str) -> Option<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        tool::note(test, "is for x86");
        return None;
    }
    let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("native");
    let mut build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/native/build.sh"));
    build.arg(&programs).arg(parser).env("PICOHTTPPARSER_DIR", env!("PICOHTTPPARSER_SOURCE"));
    let built = build.output().expect("build.sh runs");
    let said = String::from_utf8_lossy(&built.stderr);
    if ["file not found", "cannot find", "No such file"].iter().any(|missing| said.contains(missing)) {
        tool::skip(test, "needs clang's sanitizers for 32 bits");
        return None;
    }
    assert!(built.status.success(), "{said}");
    Some(programs.join(parser))
}

/// Whether the program took all files, and what it said.
fn run(program: &Path, files: &[PathBuf]) -> (bool, String) {
    let done = Command::new(program).args(files).env("ASAN_OPTIONS", "detect_leaks=0").output().expect("it runs");
    (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn replay(parser: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions").join(format!("native_{parser}"));
    let files = std::fs::read_dir(&directory).expect("the directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    let Some(program) = build(&format!("native {parser}"), parser) else { return };
    let (fine, said) = run(&program, &files);
    if said.contains("libnghttp2.so.14: cannot open") {
        tool::skip(&format!("native {parser}"), "needs libnghttp2.so.14, which curl has");
        return;
    }
    assert!(fine, "{said}");
    assert_eq!(said.matches("Executed ").count(), files.len(), "{said}");
}

#[test]
fn the_parser_of_http1_has_no_fault_that_a_sanitizer_sees() {
    replay("http1");
}

#[test]
fn the_parser_of_http2_has_no_fault_that_a_sanitizer_sees() {
    replay("http2");
}

#[test]
fn the_parser_of_lines_has_no_fault_that_a_sanitizer_sees() {
    replay("lines");
}

#[test]
fn the_parser_of_resp_has_no_fault_that_a_sanitizer_sees() {
    replay("resp");
}

/// Beside nghttp2's decoder, which gives the same fields.
#[test]
fn the_decoder_of_hpack_has_no_fault_that_a_sanitizer_or_nghttp2_sees() {
    replay("hpack");
}

#[test]
fn faults_of_a_parser_are_seen() {
    let Some(program) = build("native faults", "planted") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let long = format!("overflow {}", "x".repeat(100));
    for (poison, says) in [
        ("none", "Executed "),
        (long.as_str(), "stack-buffer-overflow"),
        ("store", "AddressSanitizer: SEGV"),
        ("stack", "stack-overflow"),
        ("positions", "refuse this reply"),
        ("counts", "refuse this reply"),
        ("consumed", "refuse this reply"),
        ("progress", "refuse this reply"),
        ("stall", "refuse this reply"),
        ("lengths", "refuse this reply"),
    ] {
        let input = directory.path().join("input");
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Poison: {poison}\r\n\r\n");
        // One connection, whose first side sends a segment: see fuzz/native/harness.c.
        std::fs::write(&input, [b"\x1c\0\x40\0\xff\0", request.as_bytes()].concat()).expect("a file");
        let (fine, said) = run(&program, &[input]);
        assert_eq!(fine, poison == "none", "{poison}: {said}");
        assert!(said.contains(says), "{poison}: {said}");
    }
}
