//! `-w`: the packets of connections with logged lines. The file gives these lines when it is read again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a test that panics has failed"
)]

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[allow(dead_code, reason = "what a case is about is for its README")]
mod cases;
mod support;

use support::program::{Outcome, assert_lines, picotap, run, sorted};
use support::scene::Scene;
use support::tool;
use support::workload::Workload;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn command(files: &[PathBuf], args: &[&str]) -> Command {
    let mut command = picotap();
    for file in files {
        command.arg("--pcap").arg(file);
    }
    command.args(["--format", "json", "--stats"]).args(args);
    command
}

/// A run that keeps packets.
fn keeping(files: &[PathBuf], args: &[&str], kept: &Path) -> Outcome {
    run(command(files, args).arg("-w").arg(kept))
}

/// A figure of the ledger.
fn figure(outcome: &Outcome, name: &str) -> u64 {
    let figure = |line: &str| line.trim_start().strip_prefix(name)?.trim().parse().ok();
    outcome.stderr.lines().find_map(figure).unwrap_or(0)
}

/// Asserts that the packets that are kept give the same lines. Their number.
fn assert_again(files: &[PathBuf], args: &[&str], more: &[&str], kept: &Path) -> usize {
    let plain = run(&mut command(files, args));
    let first = keeping(files, &[args, more].concat(), kept);
    assert_eq!(first.code, plain.code, "{}", first.stderr);
    assert_lines(&plain.sorted(), &first.sorted(), kept);
    assert_eq!(figure(&first, "packets of kept connections not written"), 0, "{}", first.stderr);
    let again = run(&mut command(&[kept.to_path_buf()], args));
    assert_lines(&first.sorted(), &again.sorted(), kept);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    // Where all is silent that is kept, empty packets say that time passes.
    let (frames, packets) = (figure(&again, "frames"), figure(&first, "packets kept"));
    assert!((packets..packets + 1000).contains(&frames), "{frames} of {packets}; {}", first.stderr);
    first.lines().len()
}

/// Every fixture, with the files and the options of its case.
fn every_fixture(mut test: impl FnMut(&str, &[PathBuf], &[&str])) {
    let only = std::env::var("CASE").unwrap_or_default();
    for case in cases::all().into_iter().filter(|case| case.name.contains(&only)) {
        let mut scene = Scene::default();
        (case.play)(&mut scene);
        scene.stamp();
        let files: Vec<PathBuf> = scene.files.iter().map(|file| fixtures().join(case.name).join(&file.name)).collect();
        let args: Vec<&str> = scene.args.iter().map(String::as_str).collect();
        test(case.name, &files, &args);
    }
}

/// Runs the test for every fixture, and says which fail.
fn for_every_fixture(test: impl Fn(&[PathBuf], &[&str])) {
    let mut failed = vec![];
    every_fixture(|name, files, args| {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(files, args))).is_err() {
            failed.push(name.to_owned());
        }
    });
    assert!(failed.is_empty(), "{} cases fail: {failed:?}", failed.len());
}

#[test]
fn what_is_kept_of_every_fixture_gives_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.pcapng");
    for_every_fixture(|files, args| {
        assert_again(files, args, &[], &kept);
    });
}

#[test]
fn what_is_selected_of_every_fixture_gives_the_lines_that_were() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.pcapng");
    for_every_fixture(|files, args| {
        for selected in [&["--errors"][..], &["--filter", "status=200", "--workers", "2"], &["--tls"]] {
            assert_again(files, &[args, selected].concat(), &[], &kept);
        }
    });
}
