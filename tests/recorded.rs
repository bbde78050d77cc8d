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
use support::program::{assert_lines, read, scratch};

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

/// The recording as if captured with a snap length: each frame of it holds at most so many bytes.
fn snapped(capture: &[u8], length: usize) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap()) as usize;
    let mut out = capture[..24].to_vec();
    let mut at = 24;
    while at < capture.len() {
        let held = number(at + 8);
        let kept = held.min(length);
        out.extend(&capture[at..at + 8]);
        out.extend((kept as u32).to_le_bytes());
        out.extend(&capture[at + 12..at + 16 + kept]);
        at += 16 + held;
    }
    out
}

/// Of the 43 transactions, every one has its line, whose target and status are as far as they were captured those of the
/// whole. At 96 bytes the status of 9 is not in the frame: 10 bytes of payload over IPv6 with time stamps. (tshark shows 24
/// and 21 statuses.)
#[test]
fn a_short_snap_length_costs_what_it_cuts() {
    let capture = fs::read(fixture("http.pcap")).unwrap();
    let parsed = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let place = |line: &serde_json::Value| [line["client_port"].to_string(), line["ts"].to_string()];
    let whole: Vec<_> = read(&fixture("http.pcap"), &[]).lines().iter().map(parsed).collect();
    for (length, statuses) in [(256, 43), (96, 34)] {
        let path = scratch(&format!("snapped-{length}.pcap"));
        fs::write(&path, snapped(&capture, length)).unwrap();
        let lines: Vec<_> = read(&path, &[]).lines().iter().map(parsed).collect();
        assert_eq!(lines.len(), whole.len());
        assert_eq!(lines.iter().filter(|line| line.get("status").is_some()).count(), statuses, "{length}");
        for line in &lines {
            let of_whole = whole.iter().find(|other| place(other) == place(line)).unwrap();
            assert_eq!(line["method"], of_whole["method"]);
            let [cut, target] = [line, of_whole].map(|line| line["target"].as_str().unwrap());
            assert!(target.starts_with(cut), "{line} {of_whole}");
            assert!(line.get("status").is_none_or(|status| *status == of_whole["status"]), "{line} {of_whole}");
        }
        fs::remove_file(path).unwrap();
    }
}
