//! The command line: errors are reported in one line, with the documented exit code, and no good data is lost.

use crate::support;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod guests;
mod mistakes;
mod usage;

use support::capture::{Compression, Format, Order, file};
use support::fixtures::path as fixture;
use support::message::{Message, filler};
use support::program::{Outcome, finish, picotap, read, run, scratch, wait};
use support::scene::Scene;
use support::tool::need;
use support::workload::Workload;

/// Writes a file for this test.
fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Asserts the exit code, and one line on standard error that contains all `texts`.
fn complains(outcome: &Outcome, code: i32, texts: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    let said = outcome.stderr.lines().find(|line| texts.iter().all(|text| line.to_lowercase().contains(text)));
    assert!(said.is_some(), "needed {texts:?} in one line, got: {}", outcome.stderr);
}

#[test]
fn a_missing_file_is_named() {
    complains(&read(Path::new("/nonexistent/x.pcap"), &[]), 1, &["picotap: ", "/nonexistent/x.pcap", "no such file"]);
}

#[test]
fn a_directory_or_a_pattern_stands_for_its_captures() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // Rotation called the second part first.
    for (from, to) in [("http.pcap", "a.pcap0"), ("framing/get/capture.pcap", "b.pcap12")] {
        fs::copy(fixture(from), path(to)).unwrap();
    }
    fs::write(path("notes.txt"), b"no capture, but text").unwrap();
    let in_order = run(picotap().args(["--format", "json", "-r"]).arg(path("b.pcap12")).arg("-r").arg(path("a.pcap0")));
    let first = |outcome: &Outcome| outcome.lines().into_iter().next();
    for given in [directory.path().to_path_buf(), path("*"), path("?.pcap[0-9]*")] {
        let outcome = read(&given, &[]);
        assert_eq!((outcome.code, outcome.sorted()), (Some(0), in_order.sorted()), "{given:?} {}", outcome.stderr);
        assert!(first(&outcome).unwrap().starts_with("{\"ts\":\"2026-01-02"), "by time: {given:?}");
        assert_eq!(outcome.stderr.contains("notes.txt: is not a capture"), given != path("?.pcap[0-9]*"));
    }
    assert_eq!(read(directory.path(), &["-q"]).stderr, "");
    let config =
        written("pattern.toml", format!("pcap = [\"{}\"]\nformat = \"json\"\n", path("*").display()).as_bytes());
    let configured = run(picotap().arg("--config").arg(config));
    assert_eq!((configured.code, configured.sorted()), (Some(0), in_order.sorted()));
    complains(&read(&path("none*"), &[]), 1, &["picotap: ", "none*: matches no file"]);
    // A damaged one does not end the run.
    let whole = fs::read(fixture("http.pcap")).unwrap();
    fs::write(path("cut.pcap"), &whole[..40]).unwrap();
    let damaged = read(directory.path(), &[]);
    complains(&damaged, 1, &["cut.pcap: is cut off"]);
    assert_eq!(damaged.lines().len(), in_order.lines().len());
}

#[test]
fn an_empty_file_is_no_capture() {
    complains(&read(&written("empty.pcap", b""), &[]), 1, &["picotap: ", "empty.pcap"]);
}

#[test]
fn a_text_is_no_capture() {
    let outcome = read(&written("text.pcap", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nthis is not a capture"), &[]);
    complains(&outcome, 1, &["picotap: ", "text.pcap"]);
}

#[test]
fn a_cut_file_gives_what_was_good_and_then_an_error() {
    let whole = fs::read(fixture("framing/get/capture.pcap")).unwrap();
    for cut in [1, 7, 16, 40] {
        let outcome = read(&written("cut.pcap", &whole[..whole.len() - cut]), &[]);
        complains(&outcome, 1, &["picotap: ", "cut.pcap"]);
        assert_eq!(outcome.lines().len(), 1, "cut by {cut}: {outcome:?}");
    }
    let outcome = read(&written("cut.pcap", &whole[..20]), &[]);
    complains(&outcome, 1, &["picotap: ", "cut.pcap"]);
}

#[test]
fn a_length_that_cannot_be_true_is_damage() {
    let mut bytes = fs::read(fixture("framing/get/capture.pcap")).unwrap();
    let mut second = bytes.clone();
    bytes.truncate(24 + 16 + 58);
    second.drain(..24);
    second[8..12].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    bytes.extend(second);
    complains(&read(&written("lie.pcap", &bytes), &[]), 1, &["picotap: ", "lie.pcap"]);
}

#[test]
fn one_bad_file_does_not_hide_the_others() {
    let good = fixture("framing/get/capture.pcap");
    let bad = written("bad-among-good.pcap", b"nonsense");
    let outcome =
        run(picotap().arg("-r").arg(&good).arg("-r").arg(&bad).arg("-r").arg(&good).args(["--format", "json"]));
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(!outcome.lines().is_empty(), "the good file in front gives its line: {outcome:?}");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let outcome = read(&fixture("framing/get/capture.pcap"), &["-o", "/nonexistent/directory/out.jsonl"]);
    complains(&outcome, 1, &["picotap: ", "/nonexistent/directory/out.jsonl"]);
}

#[test]
fn a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let outcome = read(&fixture("pairing/pipeline/capture.pcap"), &["-o", "/dev/full"]);
    complains(&outcome, 1, &["picotap: ", "no space left"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = read(&fixture("framing/get/capture.pcap"), &["--metrics-addr", &address]);
    complains(&outcome, 1, &["picotap: ", &address, "in use"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let good = fixture("framing/get/capture.pcap");
    complains(&read(&good, &["--no-such-option"]), 2, &["--no-such-option"]);
    complains(&read(&good, &["--workers", "0"]), 2, &["workers"]);
    complains(&read(&good, &["-c", "many"]), 2, &["many"]);
    complains(&run(picotap().arg("--pcap").arg(&good).args(["--format", "xml"])), 2, &["xml"]);
    complains(&run(&mut picotap()), 2, &["--pcap"]);
}

#[test]
fn a_filter_that_is_none_is_an_error() {
    // It is said before anything is opened.
    let out = scratch("no-filter.jsonl");
    fs::remove_file(&out).ok();
    for input in
        [&["-r", "fixtures/framing/get/capture.pcap"][..], &["-r", "/nonexistent/x.pcap"], &["-i", "no-such-interface"]]
    {
        let outcome = run(picotap().args(input).arg("-o").arg(&out).args(["tcp", "prot", "80"]));
        complains(&outcome, 2, &["picotap: capture filter \"tcp prot 80\": ", "syntax error", "see pcap-filter(7)"]);
        assert!(outcome.stdout.is_empty() && !out.exists(), "{outcome:?}");
    }
    let outcome = read(&fixture("framing/get/capture.pcap"), &["status=404"]);
    complains(&outcome, 2, &["picotap: capture filter ", "did you mean --filter 'status=404'?"]);
}

#[test]
fn a_filter_applies_to_files() {
    let capture = fixture("network/link-ethernet/capture.pcap");
    assert_eq!(read(&capture, &[]).lines().len(), 2);
    assert_eq!(read(&capture, &["ip6", "and", "tcp", "port", "80"]).lines().len(), 1);
    assert_eq!(read(&capture, &["ip6 and tcp port 80"]).lines().len(), 1);
    assert_eq!(read(&capture, &["udp"]).lines().len(), 0);
}

#[test]
fn a_count_ends_the_run() {
    let outcome = read(&fixture("framing/get/capture.pcap"), &["-c", "4"]);
    assert_eq!(outcome.code, Some(0));
    let lines = outcome.lines();
    assert_eq!(lines.len(), 1, "the request is in the fourth packet, its answer in the fifth: {lines:?}");
    assert!(lines[0].contains("\"open\""), "{lines:?}");
}

#[test]
fn standard_input_is_read() {
    for name in ["framing/get/capture.pcap", "files/file-pcapng/capture.pcapng", "files/file-gzip/capture.pcap.gz"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let direct = read(&fixture(name), &[]);
        for option in ["--pcap", "-r"] {
            let mut child = picotap()
                .args([option, "-", "--format", "json"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&bytes).unwrap();
            let outcome = finish(child);
            assert_eq!(outcome.code, Some(0), "{name}: {outcome:?}");
            assert_eq!(outcome.sorted(), direct.sorted(), "{name}");
        }
    }
}

#[test]
fn output_goes_to_a_file() {
    let out = scratch("out.jsonl");
    fs::remove_file(&out).ok();
    let outcome = read(&fixture("pairing/pipeline/capture.pcap"), &["-o", out.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.is_empty());
    let lines: Vec<String> = fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines, read(&fixture("pairing/pipeline/capture.pcap"), &[]).lines());
    assert_eq!(lines, read(&fixture("pairing/pipeline/capture.pcap"), &["-o", "-"]).lines(), "- is standard output");
}

/// A capture of many transactions, for what must happen while it is read.
fn large() -> PathBuf {
    let path = scratch("large.pcap");
    let mut bytes = vec![];
    Workload { connections: 500, each: 40, body: 400, seed: 9 }.write(&mut bytes).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_run_quietly() {
    let mut child = picotap()
        .arg("-r")
        .arg(large())
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.ends_with("}\n"), "{first}");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let code = wait(&mut child);
    assert!(said.is_empty(), "{said}");
    assert!(code == Some(0) || code.is_none(), "exit code {code:?}");
}

/// Sends a signal by its name to a process that this test started.
fn signal(child: &Child, name: &str) {
    let done = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(done.success());
}

#[test]
fn an_interrupt_prints_what_was_done() {
    let mut scene = Scene::default();
    let mut c = scene.connection();
    c.open();
    for i in 0..3 {
        let pair = c.exchange(&Message::get(&format!("/{i}")), &Message::ok(&filler(100)));
        scene.whole(1, i + 1, &pair);
    }
    let asked = c.request(&Message::get("/unanswered"));
    scene.line(1, 4, Some(&asked), None).flag("open");
    scene.capture(&mut c);
    scene.stamp();
    let bytes = file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None);
    for name in ["INT", "TERM"] {
        let pipe = scratch(&format!("interrupted.{name}"));
        fs::remove_file(&pipe).ok();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut child = picotap();
        child.arg("-r").arg(&pipe).args(["--format", "json", "--stats"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        // The other end stays open: nothing but the signal ends the run.
        let mut feeder = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        feeder.write_all(&bytes).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        signal(&child, name);
        let outcome = finish(child);
        drop(feeder);
        assert_eq!(outcome.sorted(), scene.expected(), "{name}: {}", outcome.stderr);
        assert_eq!(outcome.code, Some(if name == "INT" { 130 } else { 143 }), "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("picotap: interrupted before the end of the input\n"), "{}", outcome.stderr);
        assert!(!outcome.stderr.is_empty(), "--stats prints the ledger");
    }
}

#[test]
fn an_interrupt_while_a_file_is_read_leaves_whole_lines() {
    let path = large();
    let child = picotap()
        .arg("-r")
        .arg(&path)
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(150));
    // It may have ended by itself: then there is nobody to interrupt.
    drop(Command::new("kill").arg("-INT").arg(child.id().to_string()).stderr(Stdio::null()).status());
    let outcome = finish(child);
    let interrupted = outcome.stderr.contains("interrupted");
    assert_eq!(outcome.code, Some(if interrupted { 130 } else { 0 }), "{}", outcome.stderr);
    assert!(interrupted || outcome.lines().len() == 20_000, "an exit code of 0 says that all was read");
    assert!(outcome.stdout.is_empty() || outcome.stdout.ends_with(b"}\n"));
    outcome.sorted();
}

/// The text of an address's /metrics, as soon as it answers.
fn scrape(address: &str) -> String {
    let start = Instant::now();
    loop {
        if let Ok(mut stream) = TcpStream::connect(address) {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            return answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What promtool has to say about metrics.
fn lint(test: &str, metrics: &str) {
    let Some(promtool) = need(test, "promtool") else { return };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(0), "{}{}", String::from_utf8_lossy(&outcome.stdout), outcome.stderr);
}

#[test]
fn metrics_of_a_file_are_written_at_the_end() {
    let out = scratch("metrics.prom");
    let outcome = read(&fixture("pairing/pipeline/capture.pcap"), &["--metrics-file", out.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let metrics = fs::read_to_string(&out).unwrap();
    let counted = metrics.lines().any(|line| {
        line.starts_with("http_server_request_duration_seconds_count{")
            && line.contains("\"HEAD\"")
            && line.ends_with(" 10")
    });
    assert!(counted, "ten HEAD requests: {metrics}");
    lint("metrics_of_a_file_are_written_at_the_end", &metrics);
}

#[test]
fn metrics_can_be_scraped_while_a_capture_is_read() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let pipe = scratch("scraped.fifo");
    fs::remove_file(&pipe).ok();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let child = picotap()
        .arg("-r")
        .arg(&pipe)
        .args(["--format", "json", "--metrics-addr", &free])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut feeder = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    feeder.write_all(&fs::read(fixture("pairing/pipeline/capture.pcap")).unwrap()).unwrap();
    feeder.flush().unwrap();
    let metrics = scrape(&free);
    assert!(metrics.contains("picotap_build_info{"), "{metrics}");
    lint("metrics_can_be_scraped_while_a_capture_is_read", &metrics);
    drop(feeder);
    let outcome = finish(child);
    assert_eq!((outcome.code, outcome.lines().len()), (Some(0), 50), "{}", outcome.stderr);
}

/// A capture of one frame, with a link type and so many bytes missing at its end.
fn one_frame(name: &str, link: i32, missing: u32) -> PathBuf {
    let bytes = filler(60);
    let frame = support::capture::Frame { time: 1, link, original: bytes.len() as u32 + missing, bytes };
    written(name, &file(&[frame], Format::Pcap(Order::Little, false), Compression::None))
}

#[test]
fn a_link_type_that_is_not_read_is_an_error() {
    complains(&read(&one_frame("wifi.pcap", 105, 0), &[]), 1, &["picotap: 1 frames", "link type 105 (ieee802_11)"]);
    complains(&read(&one_frame("odd.pcap", 60_000, 0), &[]), 1, &["picotap: 1 frames", "link type 60000,"]);
}

#[test]
fn frames_cut_by_the_snap_length_are_reported() {
    let path = one_frame("cut.pcap", 1, 40);
    complains(&read(&path, &[]), 0, &["picotap: 1 of 1 frames were cut by the snap length"]);
    assert_eq!(read(&path, &["--quiet"]).stderr, "");
}

#[test]
fn the_ledger_is_printed_on_request() {
    let outcome = read(&fixture("network/other-traffic/capture.pcap"), &["--stats"]);
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("arp") || outcome.stderr.contains("not ip"), "{}", outcome.stderr);
    assert_eq!(outcome.lines().len(), 2, "the ledger is not among the lines");
}

#[test]
fn workers_change_nothing_but_the_order() {
    let path = large();
    let one = read(&path, &["--workers", "1"]).sorted();
    assert_eq!(one.len(), 20_000);
    assert!(one == read(&path, &["--workers", "3"]).sorted());
}

#[test]
fn help_and_version_are_no_errors() {
    let help = run(picotap().arg("--help"));
    assert_eq!(help.code, Some(0));
    for text in ["--pcap", "--format", "Exit codes", "FILTER"] {
        assert!(String::from_utf8_lossy(&help.stdout).contains(text), "{text}");
    }
    assert_eq!(run(picotap().arg("--version")).code, Some(0));
}
