//! `-w`: the packets of connections with logged lines. The file gives these lines when it is read again.

use crate::{cases, support};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::slice::from_ref;

use support::fixtures::path as fixture;
use support::program::{Outcome, assert_lines, picotap, run, sorted};
use support::tool;
use support::workload::Workload;

/// Packets that are not written, in the ledger.
const UNKEPT: &str = "packets of kept connections not written";

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

/// Asserts that the packets that are kept give the same lines, and that these are those of a run that keeps none. The run.
fn assert_again(files: &[PathBuf], args: &[&str], kept: &Path) -> Outcome {
    let plain = run(&mut command(files, args));
    let first = assert_kept(files, args, &[], kept);
    assert_eq!(first.code, plain.code, "{}", first.stderr);
    assert_lines(&plain.sorted(), &first.sorted(), kept);
    first
}

/// Asserts that the packets that are kept give the same lines, to a run without the options `more`. The first run.
fn assert_kept(files: &[PathBuf], args: &[&str], more: &[&str], kept: &Path) -> Outcome {
    let first = keeping(files, &[args, more].concat(), kept);
    assert_eq!(first.figure(UNKEPT), 0, "{}", first.stderr);
    let again = run(&mut command(&[kept.to_path_buf()], args));
    assert_lines(&first.sorted(), &again.sorted(), kept);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    // Where all is silent that is kept, empty packets say that time passes.
    let (frames, packets) = (again.figure("frames"), first.figure("packets kept"));
    assert!((packets..packets + 1000).contains(&frames), "{frames} of {packets}; {}", first.stderr);
    first
}

/// Every fixture, with the files and the options of its case.
fn every_fixture(mut test: impl FnMut(&str, &[PathBuf], &[&str])) {
    let only = std::env::var("CASE").unwrap_or_default();
    for case in cases::all().into_iter().filter(|case| case.name.contains(&only)) {
        let scene = case.scene();
        let files = case.captures(&scene);
        let args: Vec<&str> = scene.args.iter().map(String::as_str).collect();
        test(case.name, &files, &args);
    }
}

/// Runs the test for every fixture, and says which fail. It gives a number of lines; all of them together.
fn for_every_fixture(test: impl Fn(&[PathBuf], &[&str]) -> usize) -> usize {
    let (mut failed, mut lines) = (vec![], 0);
    every_fixture(|name, files, args| {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(files, args))) {
            Ok(some) => lines += some,
            Err(_) => failed.push(name.to_owned()),
        }
    });
    assert!(failed.is_empty(), "{} cases fail: {failed:?}", failed.len());
    lines
}

#[test]
fn what_is_kept_of_every_fixture_gives_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.pcapng");
    let lines = for_every_fixture(|files, args| assert_again(files, args, &kept).lines().len());
    assert!(lines > 300, "{lines} lines");
}

#[test]
fn what_is_selected_of_every_fixture_gives_the_lines_that_were() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.pcapng");
    for (selected, least) in [
        (&["--errors"][..], 50),
        (&["--filter", "status=200", "--workers", "2"], 200),
        (&["--tls"], 1),
        (&["--shard", "1/3"], 20),
    ] {
        let lines = for_every_fixture(|files, args| {
            // Lines of TLS connections have no bodies.
            let of_bodies = args.iter().any(|arg| arg.starts_with("--capture-bodies"));
            let args = if of_bodies && selected.contains(&"--tls") { &[] } else { args };
            assert_kept(files, &[args, selected].concat(), &[], &kept).lines().len()
        });
        assert!(lines >= least, "{lines} lines with {selected:?}");
    }
}

/// What a program of Wireshark prints of a capture; it must not complain.
fn printed(test: &str, program: &str, args: &[&str], capture: &Path) -> Option<String> {
    let program = tool::need(test, program)?;
    let output = Command::new(program).args(args).arg(capture).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaint = said.lines().any(|line| !line.starts_with("Running as"));
    assert!(output.status.success() && !complaint, "{said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Rows of tshark.
fn tshark(test: &str, args: &[&str], capture: &Path) -> Option<String> {
    printed(test, "tshark", &[args, &["-n", "-r"]].concat(), capture)
}

#[test]
fn recordings_are_kept_in_either_format_as_wireshark_reads_them() {
    let test = "recordings_are_kept_in_either_format_as_wireshark_reads_them";
    let directory = tempfile::tempdir().unwrap();
    for name in ["http.pcap", "servers.pcap", "http2/h2.pcap"] {
        let capture = fixture(name);
        for kept in ["kept.pcap", "kept.pcapng"].map(|kept| directory.path().join(kept)) {
            let first = assert_again(from_ref(&capture), &["--workers", "2"], &kept);
            assert!(first.lines().len() > 20);
            // Every packet of a connection with lines is there, as it was captured, in the order of capture.
            let fields =
                ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "tcp.stream", "-e", "ip.id"];
            let Some(rows) = tshark(test, &fields, &kept) else { return };
            assert_eq!(rows.lines().count() as u64, first.figure("packets kept"));
            let all = tshark(test, &fields, &capture).unwrap();
            let without_stream = |rows: &str| -> Vec<String> {
                let row = |row: &str| {
                    row.split('\t').enumerate().filter(|(n, _)| *n != 2).map(|(_, text)| text.to_owned()).collect()
                };
                rows.lines().map(|line| -> Vec<String> { row(line) }).map(|row| row.join(" ")).collect()
            };
            let (rows, all) = (without_stream(&rows), without_stream(&all));
            let mut from = all.iter();
            assert!(rows.iter().all(|row| from.any(|other| other == row)), "{name}");
            let info = printed(test, "capinfos", &["-M", "-c", "-o", "-t"], &kept).unwrap();
            assert!(info.contains("Strict time order:   True"), "{info}");
        }
    }
}

#[test]
fn one_connection_of_many_is_kept_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (all, kept) = (fixture("servers.pcap"), directory.path().join("kept.pcap"));
    let lines = run(&mut command(from_ref(&all), &[])).lines();
    let port = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["client_port"].to_string();
    let filter = format!("client_port={}", port(&lines[lines.len() / 2]));
    let first = keeping(&[all], &["--filter", &filter], &kept);
    assert!(!first.lines().is_empty() && first.lines().len() < lines.len());
    // Nothing else is there to be read, whatever is asked.
    let again = run(&mut command(&[kept], &[]));
    assert_lines(&first.sorted(), &again.sorted(), Path::new("kept.pcap"));
    assert_eq!(again.figure("connections"), first.figure("connections whose packets are kept"));
}

#[test]
fn secrets_are_written_on_request_and_only_those_of_connections_that_are_kept() {
    let test = "secrets_are_written_on_request_and_only_those_of_connections_that_are_kept";
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.pcapng");
    let (https, keys) = (fixture("tls/https.pcap"), fixture("tls/https/keys.txt"));
    let keylog = ["--keylog", keys.to_str().unwrap()];
    let first = assert_kept(from_ref(&https), &[], &[&keylog[..], &["--write-secrets"]].concat(), &kept);
    assert!(first.lines().len() > 20);
    if let Some(rows) = tshark(test, &["-Y", "http.request", "-T", "fields", "-e", "http.request.method"], &kept) {
        assert!(rows.lines().count() > 10, "tshark reads it with the secrets that are in it: {rows}");
    }
    // Those of files are written too.
    for name in ["http2/h2-tls.pcapng", "http2/h2-grpc.pcapng", "http2/h2-browser.pcapng"] {
        let first = assert_kept(&[fixture(name)], &[], &["--write-secrets", "--workers", "2"], &kept);
        assert!(!first.lines().is_empty(), "{name}");
    }
    // Not asked for: there are none.
    let secrets = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let labels = ["CLIENT_RANDOM ", "CLIENT_HANDSHAKE_TRAFFIC_SECRET "];
        labels.iter().map(|label| text.matches(label).count()).sum::<usize>()
    };
    let first = keeping(from_ref(&https), &keylog, &kept);
    assert!(!first.lines().is_empty());
    assert_eq!(secrets(&kept), 0);
    // One connection.
    let port = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["client_port"].to_string();
    let filter = format!("client_port={}", port(first.lines().iter().find(|line| line.contains("\"tls\":")).unwrap()));
    let one = keeping(&[https], &[&keylog[..], &["--write-secrets", "--filter", &filter]].concat(), &kept);
    assert_eq!((secrets(&kept), one.figure("connections whose packets are kept")), (1, 1), "{}", one.stderr);
}

/// A capture of many connections at once, of which some have errors.
fn busy(directory: &Path, connections: u32) -> PathBuf {
    let path = directory.join("busy.pcap");
    let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(&path).unwrap());
    Workload { connections, each: 10, body: 3000, seed: 22 }.write(&mut out).unwrap();
    out.flush().unwrap();
    path
}

#[test]
fn what_does_not_fit_is_counted_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let capture = busy(directory.path(), 300);
    let kept = directory.path().join("kept.pcap");
    let options = ["--errors", "--workers", "2"];
    let whole = assert_kept(from_ref(&capture), &options, &[], &kept);
    let all = whole.figure("packets kept");
    assert!(all > 1000 && !whole.stderr.contains("packets are missing"), "{}", whole.stderr);
    let small = keeping(&[capture], &[&options[..], &["--write-buffer", "256k"]].concat(), &kept);
    assert_lines(&whole.sorted(), &small.sorted(), &kept);
    let (written, missing) = (small.figure("packets kept"), small.figure(UNKEPT));
    assert!(missing > 100 && written > 100, "{}", small.stderr);
    assert_eq!(written + missing, all, "{}", small.stderr);
    let figures =
        ["connections whose packets are kept", "connections of which not all is kept"].map(|name| small.figure(name));
    let said = format!("{missing} packets are missing, of {} of {} connections", figures[1], figures[0]);
    assert!(figures[1] > 0 && small.stderr.contains(&said), "{said}: {}", small.stderr);
    assert_eq!(figures[0], whole.figure("connections whose packets are kept"));
    // What was captured later than the verdict is there.
    let again = run(&mut command(&[kept], &[]));
    assert_eq!((again.code, again.figure("frames")), (Some(0), written), "{}", again.stderr);
}

#[test]
fn packets_of_several_links_need_pcapng() {
    let directory = tempfile::tempdir().unwrap();
    let (pcap, pcapng) = (directory.path().join("kept.pcap"), directory.path().join("kept.pcapng"));
    let files = ["link-raw", "link-ethernet"].map(|name| fixture(format!("network/{name}/capture.pcap")));
    let refused = keeping(&files, &[], &pcap);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("needed a FILE that ends in .pcapng behind -w"), "{}", refused.stderr);
    assert_again(&files, &[], &pcapng);
}

#[test]
fn interfaces_keep_their_names() {
    let test = "interfaces_keep_their_names";
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.pcapng");
    let capture = fixture("files/file-pcapng-interfaces/capture.pcapng");
    assert_again(from_ref(&capture), &[], &kept);
    let fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "frame.encap_type"];
    let Some(rows) = tshark(test, &fields, &kept) else { return };
    let all = tshark(test, &fields, &capture).unwrap();
    assert!(rows.lines().count() > 3 && rows.lines().all(|row| all.lines().any(|other| other == row)), "{rows}\n{all}");
}

#[test]
fn packets_go_to_a_pipe_while_lines_go_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("lines");
    let capture = fixture("http.pcap");
    let piped = run(command(from_ref(&capture), &["-w", "-", "-o"]).arg(&log));
    assert_eq!(piped.code, Some(0), "{}", piped.stderr);
    let kept = directory.path().join("kept.pcap");
    fs::write(&kept, &piped.stdout).unwrap();
    let again = run(&mut command(&[kept], &[]));
    assert_lines(
        &sorted(fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect()),
        &again.sorted(),
        &log,
    );
}

#[test]
fn what_is_there_is_replaced_only_if_it_is_a_capture_that_nobody_reads() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    fs::copy(fixture("http.pcap"), file("in.pcap")).unwrap();
    for (what, path, says) in [
        ("it is read", file("in.pcap"), "it is one of the files that are read"),
        (
            "of a directory",
            file("../").join(directory.path().file_name().unwrap()).join("in.pcap"),
            "one of the files that are read",
        ),
        ("notes", file("notes.txt"), "it is there already, and is no capture: remove it"),
        ("no place", file("nowhere/kept.pcap"), "packets cannot be written there: No such file"),
        ("a directory", file("."), "packets cannot be written there: Is a directory"),
    ] {
        fs::write(file("notes.txt"), "what I know of this capture").unwrap();
        let input = if what == "of a directory" { directory.path().to_path_buf() } else { file("in.pcap") };
        let outcome = keeping(&[input], &[], &path);
        assert_eq!(outcome.code, Some(1), "{what}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{what}: {}", outcome.stderr);
        assert_eq!(fs::read(file("in.pcap")).unwrap(), fs::read(fixture("http.pcap")).unwrap(), "{what}");
        assert_eq!(fs::read_to_string(file("notes.txt")).unwrap(), "what I know of this capture");
    }
    // A capture is replaced, and is its owner's alone.
    let modified = [0xa1, 0xb2, 0xcd, 0x34, 0, 2].to_vec();
    for before in [b"".to_vec(), modified, fs::read(fixture("tls/https.pcap")).unwrap()] {
        fs::write(file("kept.pcap"), before).unwrap();
        assert_again(&[file("in.pcap")], &[], &file("kept.pcap"));
        assert_eq!(fs::metadata(file("kept.pcap")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Nothing to keep: a capture without packets.
    for name in ["kept.pcap", "kept.pcapng"] {
        let none = assert_kept(&[file("in.pcap")], &["--filter", "status=999"], &[], &file(name));
        assert!(none.lines().is_empty());
    }
}

#[test]
fn a_full_disk_ends_the_run_with_a_file_that_can_be_read() {
    if !tool::has(&["root"]) {
        return;
    }
    let disk = support::disk::Disk::new(256, 0);
    let directory = tempfile::tempdir().unwrap();
    let capture = busy(directory.path(), 100);
    let kept = disk.file("kept.pcapng");
    let full = keeping(&[capture], &[], &kept);
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert!(full.stderr.contains("packets cannot be written: No space left on device"), "{}", full.stderr);
    let again = run(&mut command(&[kept], &[]));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}
