//! The recording of real traffic: what picotap prints is what the servers logged.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and its deadlines are on the wall clock"
)]

use std::fs;
use std::path::{Path, PathBuf};

mod support;

use support::line::essence;
use support::program::{assert_lines, read};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

#[test]
fn picotap_prints_what_the_servers_logged() {
    let capture = fixture("http.pcap");
    let outcome = read(&capture, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut logged: Vec<String> =
        fs::read_to_string(fixture("http/servers.log")).unwrap().lines().map(str::to_owned).collect();
    let mut printed: Vec<String> = outcome.lines().iter().map(|line| essence(line).2).collect();
    logged.sort();
    printed.sort();
    assert_lines(&logged, &printed, &capture);

    let lines = outcome.sorted();
    let expected = fixture("http/expected.jsonl");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
    let kept: Vec<String> = fs::read_to_string(&expected).unwrap().lines().map(str::to_owned).collect();
    assert_lines(&kept, &lines, &capture);
}
