//! goaccess reads every line of the combined log format, those without an answer included.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test that panics has failed")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

mod support;

use support::program::{picotap, run, scratch};
use support::tool::need;

#[test]
fn goaccess_takes_every_line() {
    let Some(goaccess) = need("goaccess_takes_every_line", "goaccess") else { return };
    let directories = fs::read_dir("fixtures").unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = directories.flat_map(|directory| fs::read_dir(directory).unwrap());
    let captures: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "pcap"))
        .chain(["fixtures/http.pcap".into()])
        .collect();
    let log = scratch("goaccess.log");
    fs::write(&log, "").unwrap();
    for capture in captures {
        run(picotap().args(["--format", "clf", "-o"]).arg(&log).arg("-r").arg(capture));
    }
    let lines = fs::read_to_string(&log).unwrap();
    let answered = |line: &&str| !line.contains("\" 444 - \"");
    let count = lines.lines().count();
    assert!(count > 200 && lines.lines().filter(answered).count() < count, "{count} lines");
    let (refused, report) = (scratch("goaccess.refused"), scratch("goaccess.json"));
    fs::remove_file(&refused).ok();
    let mut command = Command::new(goaccess);
    command.arg(&log).args(["--log-format=COMBINED", "--no-global-config", "-o"]).arg(&report);
    command.arg(format!("--invalid-requests={}", refused.display()));
    assert!(command.output().unwrap().status.success());
    let refused = fs::read_to_string(refused).unwrap_or_default();
    // It reads lines of up to 4 KiB.
    let refused: Vec<&str> = refused.lines().filter(|line| line.contains(" - - [") && line.len() < 4000).collect();
    assert!(refused.is_empty(), "{} of {count}: {:?}", refused.len(), &refused[..refused.len().min(5)]);
}
