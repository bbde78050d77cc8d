//! What analysts ask for: order, rankings, compressed logs, archives, other places for lines, and who stands behind a proxy.

use crate::support;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::fixtures::path as fixture;
use support::message::Message;
use support::program::{Outcome, finish, picotap, run, scratch};
use support::scene::Scene;
use support::tool::{has, need};
use support::workload::Workload;

const SCHEMAS: &str = "/usr/share/nodejs/har-schema/lib";
const PYTHON: &str = "target/tools/bin/python";

/// What a run over a capture says.
fn read(path: &Path, arguments: &[&str]) -> Outcome {
    run(picotap().args(arguments).arg("-r").arg(path))
}

fn json(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_come_in_the_order_that_is_asked_for() {
    let path = fixture("http.pcap");
    let plain = read(&path, &["--format", "json"]);
    for workers in ["1", "3"] {
        for (sort, key, descending) in [
            ("duration_us", "duration_us", false),
            ("-duration", "duration_us", true),
            ("-status", "status", true),
            ("target", "target", false),
        ] {
            let sorted = read(&path, &["--format", "json", "--sort", sort, "--workers", workers]);
            assert_eq!((sorted.code, sorted.sorted()), (Some(0), plain.sorted()), "{sort}: the same lines");
            let values: Vec<Value> = json(&sorted.lines()).iter().map(|line| line[key].clone()).collect();
            let known: Vec<String> = values
                .iter()
                .filter(|value| !value.is_null())
                .map(|value| {
                    value.as_u64().map_or_else(|| value.as_str().unwrap().to_owned(), |number| format!("{number:020}"))
                })
                .collect();
            let in_order =
                known.windows(2).all(|pair| if descending { pair[0] >= pair[1] } else { pair[0] <= pair[1] });
            assert!(in_order && values[..known.len()].iter().all(|value| !value.is_null()), "{sort}: {values:?}");
        }
    }
    let few = read(&path, &["--format", "json", "--sort=-duration_us", "--limit", "3"]);
    assert_eq!(few.lines(), read(&path, &["--format", "json", "--sort=-duration_us"]).lines()[..3]);
}

#[test]
fn rankings_are_those_of_the_lines() {
    let path = fixture("http.pcap");
    let lines = json(&read(&path, &["--format", "json", "--filter", "status<500"]).lines());
    for (field, key) in [("host", "host"), ("status", "status"), ("client", "client")] {
        let outcome = read(&path, &["--top", field, "--limit", "100", "--filter", "status<500", "--workers", "2"]);
        let table = outcome.lines();
        assert!(outcome.code == Some(0) && table[0].ends_with(field), "{table:?}");
        let mut ranked: Vec<(u64, String)> = table[1..]
            .iter()
            .map(|line| {
                (
                    line.split_whitespace().next().unwrap().replace(',', "").parse().unwrap(),
                    line.rsplit("  ").next().unwrap().to_owned(),
                )
            })
            .collect();
        assert!(ranked.is_sorted_by(|one, two| one.0 >= two.0), "{ranked:?}");
        let text = |line: &Value| {
            line[key].as_str().map_or_else(
                || line[key].as_u64().map_or("(none)".to_owned(), |number| number.to_string()),
                str::to_owned,
            )
        };
        let mut counted = std::collections::BTreeMap::<String, u64>::new();
        lines.iter().for_each(|line| *counted.entry(without_port(&text(line)).to_lowercase()).or_default() += 1);
        ranked.sort_by(|one, two| one.1.cmp(&two.1));
        assert_eq!(ranked, counted.into_iter().map(|(value, count)| (count, value)).collect::<Vec<_>>(), "{field}");
    }
}

fn without_port(text: &str) -> &str {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) {
        host
    } else {
        text
    }
}

/// What a program makes of a file.
fn unpacked(program: &Path, file: &Path) -> (bool, Vec<u8>) {
    let output = Command::new(program).arg("-dc").arg(file).output().unwrap();
    (output.status.success(), output.stdout)
}

#[test]
fn compressed_logs_are_read_back_by_the_programs_for_them() {
    for (ending, program) in [("zst", "zstd"), ("gz", "gzip")] {
        let Some(program) = need("compressed_logs_are_read_back_by_the_programs_for_them", program) else { return };
        let path = fixture("http.pcap");
        let log = scratch(&format!("packed.json.{ending}"));
        fs::remove_file(&log).ok();
        let plain = read(&path, &["--format", "json", "--workers", "1"]);
        for runs in 1..=2 {
            let outcome = run(picotap().args(["--workers", "1", "-o"]).arg(&log).arg(&path));
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
            assert_eq!(unpacked(&program, &log), (true, plain.stdout.repeat(runs)), "{ending}: runs append");
        }
        // Killed, with all that is older than a second; and the next run goes on behind it.
        fs::remove_file(&log).unwrap();
        let mut child = picotap();
        child.args(["-r", "-", "--format", "json", "--workers", "1", "-o"]).arg(&log).stdin(Stdio::piped());
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // Some slots of it: the last, which is not full, waits for more.
        let mut bytes = Vec::new();
        Workload { connections: 300, each: 20, body: 200, seed: 3 }.write(&mut bytes).unwrap();
        input.write_all(&bytes).unwrap();
        let large = scratch("packed-large.pcap");
        fs::write(&large, &bytes).unwrap();
        let all = read(&large, &["--format", "json", "--workers", "1"]).stdout;
        let start = Instant::now();
        while fs::metadata(&log).map_or(0, |metadata| metadata.len()) == 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing is written");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(1500));
        child.kill().unwrap();
        child.wait().unwrap();
        let (good, found) = unpacked(&program, &log);
        assert!(good && found.len() > 100_000 && all.starts_with(&found), "{ending}: {} bytes", found.len());
        // As if the kill had come in the middle of a piece.
        let whole = fs::read(&log).unwrap();
        fs::write(&log, [&whole[..], &whole[..whole.len().min(30)]].concat()).unwrap();
        let outcome = run(picotap().args(["--workers", "1", "-o"]).arg(&log).arg(&path));
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(unpacked(&program, &log), (true, [&found[..], &plain.stdout].concat()), "{ending}");
    }
}

#[test]
fn archives_are_valid_by_their_schema_also_when_interrupted() {
    if !has(&[PYTHON, &format!("{SCHEMAS}/har.json")]) {
        return;
    }
    let mut files = Vec::new();
    let mut wanted = Vec::new();
    let captures = support::fixtures::captures("pcap");
    for (number, capture) in captures.iter().enumerate() {
        let har = scratch(&format!("archive-{number}.har"));
        fs::remove_file(&har).ok();
        let outcome = run(picotap().args(["--format", "har", "-o"]).arg(&har).arg(capture));
        assert!(matches!(outcome.code, Some(0 | 1)), "{}: {}", capture.display(), outcome.stderr);
        let requests = json(&read(capture, &["--format", "json"]).lines());
        let requests = requests.iter().filter(|line| line.get("protocol").is_none() && line.get("method").is_some());
        wanted.push(requests.count().to_string());
        files.push(har);
    }
    // Interrupted in the middle of its input.
    let har = scratch("archive-interrupted.har");
    fs::remove_file(&har).ok();
    let mut child = picotap();
    child.args(["-r", "-", "--format", "har", "--workers", "1", "-o"]).arg(&har).stdin(Stdio::piped());
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&fs::read(fixture("http.pcap")).unwrap()).unwrap();
    std::thread::sleep(Duration::from_millis(800));
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    let outcome = finish(child);
    drop(input);
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    let whole = captures.iter().position(|capture| *capture == fixture("http.pcap")).unwrap();
    wanted.push(wanted[whole].clone());
    files.push(har.clone());
    let output = Command::new(PYTHON).arg("tests/har.py").arg(SCHEMAS).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>(), wanted);
    let again = run(picotap().args(["--format", "har", "-o"]).arg(&har).arg(fixture("http.pcap")));
    assert!(
        again.code == Some(1) && again.stderr.contains("is not empty, and this format is one document"),
        "{}",
        again.stderr
    );
}

#[test]
fn lines_go_to_sockets_too() {
    let path = fixture("http.pcap");
    let plain = read(&path, &["--format", "json", "--workers", "1"]);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let reader = UnixDatagram::bind(&log).unwrap();
    let read_all = std::thread::spawn(move || {
        reader.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut lines = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while lines.len() < 43 {
            let length = reader.recv(&mut buffer).unwrap();
            lines.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        lines
    });
    let outcome = run(picotap()
        .args(["--workers", "1", "--format", "json", "-o"])
        .arg(format!("syslog:{}", log.display()))
        .arg(&path));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let messages = read_all.join().unwrap();
    for (message, line) in messages.iter().zip(plain.lines()) {
        assert!(
            message.starts_with("<14>1 20")
                && message.contains(" picotap ")
                && message.ends_with(&format!(" log - {line}")),
            "{message}"
        );
    }
    let socket = directory.path().join("lines");
    let listener = UnixListener::bind(&socket).unwrap();
    let read_all = std::thread::spawn(move || {
        let mut text = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut text).unwrap();
        text
    });
    let outcome = run(picotap()
        .args(["--workers", "1", "--format", "json", "-o"])
        .arg(format!("unix:{}", socket.display()))
        .arg(&path));
    assert_eq!((outcome.code, read_all.join().unwrap()), (Some(0), plain.stdout), "{}", outcome.stderr);
    // Nobody listens; and somebody who reads nothing does not hold the run up.
    let outcome = run(picotap().args(["-o", "unix:/nonexistent/socket"]).arg(&path));
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("unix:/nonexistent/socket: cannot be connected to"),
        "{}",
        outcome.stderr
    );
    let deaf = UnixDatagram::bind(directory.path().join("deaf")).unwrap();
    let outcome = run(picotap()
        .args(["--stats", "-o"])
        .arg(format!("syslog:{}", directory.path().join("deaf").display()))
        .arg(&path));
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("the socket's reader is too slow"),
        "{}",
        outcome.stderr
    );
    drop(deaf);
}

#[test]
fn the_client_behind_trusted_proxies_is_named() {
    let mut scene = Scene::default();
    for (name, value) in [
        ("X-Forwarded-For", "192.0.2.7, 10.0.0.9"),
        ("Forwarded", "for=\"[2001:db8::7]:4711\";proto=https"),
        ("X-Forwarded-For", "unknown"),
        ("Via", "x"),
    ] {
        let mut connection = scene.connection();
        connection.open();
        connection.exchange(&Message::get("/").header(name, value), &Message::ok(b""));
        connection.close();
        scene.capture(&mut connection);
    }
    scene.stamp();
    let path = scratch("forwarded.pcap");
    fs::write(&path, &scene.written()[0].1).unwrap();
    let named = |arguments: &[&str]| {
        let mut lines = json(&read(&path, &[&["--format", "json"], arguments].concat()).lines());
        lines.sort_by_key(|line| line["client_port"].as_u64());
        lines.iter().map(|line| line["client_forwarded"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let both = [Some("192.0.2.7".to_owned()), Some("2001:db8::7".to_owned()), None, None];
    assert_eq!(named(&["--trusted-proxy", "10.0.0.0/8"]), both);
    let nearest = [Some("10.0.0.9".to_owned()), Some("2001:db8::7".to_owned()), None, None];
    assert_eq!(named(&["--trusted-proxy", "10.0.0.1", "--trusted-proxy", "::1"]), nearest);
    assert_eq!(named(&[]), [None, None, None, None]);
    assert_eq!(
        named(&["--trusted-proxy", "192.0.2.0/24"]),
        [None, None, None, None],
        "the connection comes from elsewhere"
    );
    let selected = read(
        &path,
        &[
            "--trusted-proxy",
            "10.0.0.0/8",
            "--fields",
            "client,client_forwarded",
            "--filter",
            "client_forwarded=192.0.2.0/24",
        ],
    );
    assert_eq!(selected.lines(), ["client,client_forwarded", "10.0.0.1,192.0.2.7"]);
}
