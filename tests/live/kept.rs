//! `-w` live: what is kept gives the lines that were printed; a buffer that is too small, and a disk that is full.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::capture::{load, stop};
use crate::support::daemon::{Daemon, NOBODY, directory};
use crate::support::disk::Disk;
use crate::support::network::{Network, until};
use crate::support::program::{Outcome, finish, picotap, run, wait};
use crate::support::tool;

/// Lines in order, without the interface, which those of files do not have.
fn normal(lines: &[String]) -> Vec<String> {
    let normal = |line: &String| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("interface");
        value.to_string()
    };
    let mut lines: Vec<String> = lines.iter().map(normal).collect();
    lines.sort();
    lines
}

fn read(kept: &Path, args: &[&str]) -> Outcome {
    run(picotap().arg("-r").arg(kept).args(["--format", "json", "--stats"]).args(args))
}

/// What was kept gives the lines that were printed.
fn assert_again(outcome: &Outcome, kept: &Path, args: &[&str]) {
    let said = &outcome.stderr;
    assert_eq!(outcome.figure("packets of kept connections not written"), 0, "{said}");
    assert_eq!(outcome.figure("slots dropped"), 0, "the machine is too slow for this load: {said}");
    let again = read(kept, args);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let (printed, again) = (normal(&outcome.lines()), normal(&again.lines()));
    let differ = printed.iter().zip(&again).find(|(one, other)| one != other);
    assert!(
        differ.is_none() && printed.len() == again.len(),
        "{differ:?}, {} and {}: {said}",
        printed.len(),
        again.len()
    );
}

#[test]
fn what_is_kept_of_a_load_gives_its_lines() {
    if !tool::has(&["tshark"]) {
        return;
    }
    let Some(network) = Network::new("what_is_kept_of_a_load_gives_its_lines") else { return };
    let network = network.serve();
    for (name, args, more) in [
        ("all.pcap", &[][..], &["--workers", "2"][..]),
        ("errors.pcapng", &["--errors"], &[]),
        ("two.pcapng", &["--filter", "status=404 or response_body_bytes>4"], &["--fanout", "2", "--workers", "2"]),
        ("none.pcapng", &["--filter", "status=500"], &[]),
    ] {
        let kept = network.directory().join(name);
        let picotap = network.capture(&[args, more, &["--stats", "-w", kept.to_str().unwrap()]].concat());
        wait(&mut load(&network, 2));
        let outcome = stop(&network, picotap);
        assert_again(&outcome, &kept, args);
        let (lines, packets) = (outcome.lines().len(), outcome.figure("packets kept"));
        assert!(if name == "none.pcapng" { packets == 0 } else { lines > 100 && packets > 500 }, "{name}: {lines}");
        // It was opened before privileges were given up.
        let metadata = kept.metadata().unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid()), (0o600, 0));
        let read = run(Command::new("tshark").args(["-n", "-r"]).arg(&kept).stdin(Stdio::null()));
        assert_eq!((read.code, read.lines().len() as u64), (Some(0), packets), "{}", read.stderr);
        assert!(!read.stderr.contains("The file"), "{}", read.stderr);
    }
}

#[test]
fn a_small_buffer_holds_no_more_and_says_what_is_missing() {
    if !tool::has(&["root"]) {
        return;
    }
    let Some(network) = Network::new("a_small_buffer_holds_no_more_and_says_what_is_missing") else { return };
    let network = network.serve();
    let logs = directory();
    let (log, kept) = (logs.path().join("http.log"), logs.path().join("kept.pcapng"));
    let args = ["--errors", "--write-buffer", "256k", "-w", kept.to_str().unwrap()];
    let daemon = Daemon::start(&network, &log, &args, &[]);
    // A connection over which nothing fails for long, and then something does.
    let urls = "http://10.99.0.2/large.bin ".repeat(40) + "http://10.99.0.2/missing http://10.99.0.2/short";
    assert!(network.curl(&urls.split(' ').collect::<Vec<_>>()));
    // Others, all of which is good.
    network.ask("good", 300);
    until("it is known that something is missing", || daemon.sum("picotap_kept_incomplete_connections_total") >= 1.0);
    let held = daemon.sum("picotap_keep_buffer_bytes");
    assert!(held <= f64::from(256 << 10), "{held} bytes are held");
    let missing = daemon.sum("picotap_not_kept_packets_total{reason=\"buffer_full\"}") as u64;
    let said = daemon.stop();
    assert!(missing > 50, "{said}");
    let wanted = format!("{missing} packets are missing, of 1 of 1 connections");
    assert!(said.contains(&wanted) && said.contains("--write-buffer held 256 KiB"), "{wanted}: {said}");
    // What came behind is there: the error, which is a line of a connection that was joined in its middle.
    let again = read(&kept, &["--errors"]);
    assert_eq!((again.code, again.lines().len()), (Some(0), 1), "{}", again.stderr);
    assert!(again.lines()[0].contains("\"target\":\"/missing\""), "{}", again.lines()[0]);
}

#[test]
fn a_full_disk_ends_the_file_and_not_the_lines() {
    if !tool::has(&["root", "mount", "umount"]) {
        return;
    }
    let Some(network) = Network::new("a_full_disk_ends_the_file_and_not_the_lines") else { return };
    let network = network.serve();
    let disk = Disk::new(64, NOBODY);
    let kept = disk.file("kept.pcap");
    let picotap = network.capture(&["--stats", "-w", kept.to_str().unwrap()]);
    network.ask("full", 400);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(Command::new("kill").args(["-TERM", &picotap.id().to_string()]).status().unwrap().success());
    let outcome = finish(picotap);
    let said = &outcome.stderr;
    let lines = std::fs::read_to_string(network.directory().join("lines")).unwrap();
    assert_eq!((outcome.code, lines.lines().count()), (Some(1), 400), "{said}");
    assert!(said.contains("No space left on device") && said.contains("picotap goes on without"), "{said}");
    assert!(outcome.figure("write_error") > 100, "{said}");
    let again = read(&kept, &[]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}
