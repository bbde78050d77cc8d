//! What people look at, as the program gives it: the page of the endpoint, its data, and the report.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::fixtures::path as fixture;

fn picotap() -> Command {
    Command::new(env!("CARGO_BIN_EXE_picotap"))
}

fn report(captures: &[&str], path: &Path, more: &[&str]) -> Output {
    let mut command = picotap();
    for capture in captures {
        command.arg("-r").arg(fixture(capture));
    }
    command.arg("--report").arg(path).args(["--format", "json", "-q"]).args(more).output().unwrap()
}

/// The data inside of a report.
fn data(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_report_has_what_the_log_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.html");
    fs::write(&path, "old").unwrap();
    let output =
        report(&["http.pcap", "pairing/pipeline/capture.pcap"], &path, &["--route", "/text.{x}", "--route", "/{name}"]);
    // A route that cannot be read keeps the run from starting, and the old report.
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("stands for a whole segment"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    let output = report(&["http.pcap", "pairing/pipeline/capture.pcap"], &path, &["--route", "/{name}"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let data = data(&path);
    assert_eq!(data["source"], "http.pcap, capture.pcap");
    assert_eq!((data["transactions"].as_u64(), data["left_out"].as_u64()), (Some(lines.len() as u64), Some(0)));
    let recent = data["recent"].as_array().unwrap();
    assert_eq!(recent.len(), lines.len());
    for key in ["method", "target", "host", "route", "status", "reason"] {
        let sorted = |rows: &[Value]| {
            let mut all: Vec<String> = rows.iter().map(|row| row[key].to_string()).collect();
            all.sort();
            all
        };
        assert_eq!(sorted(recent), sorted(&lines), "{key}");
    }
    let sum =
        |rows: &Value| rows.as_array().unwrap().iter().map(|row| row["transactions"].as_u64().unwrap()).sum::<u64>();
    for table in ["hosts", "routes", "pairs", "seconds"] {
        assert_eq!(sum(&data[table]), lines.len() as u64, "{table}");
    }
    assert!(data["routes"].as_array().unwrap().iter().any(|row| row["route"] == "/{name}"));
    let health = data["health"].as_array().unwrap();
    assert!(health.iter().any(|item| item["metric"] == "picotap_ledger_imbalance_bytes" && item["value"] == 0));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_before_anything_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (link, log) = (directory.path().join("link"), directory.path().join("log"));
    std::os::unix::fs::symlink(directory.path().join("target"), &link).unwrap();
    for path in [link, directory.path().join("none/report.html"), directory.path().to_owned()] {
        let output = report(&["framing/get/capture.pcap"], &path, &["-o", log.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("the report cannot be written") && said.contains(path.to_str().unwrap()), "{said}");
        assert!(!log.exists(), "it began all the same");
    }
}

#[test]
fn an_endpoint_on_loopback_has_the_page_and_follows_the_capture() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = picotap()
        .args(["-r", "-", "--format", "json", "-o", "/dev/null", "--metrics-addr", &address.to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let capture = fs::read(fixture("pairing/pipeline/capture.pcap")).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&capture).unwrap();
    stdin.flush().unwrap();
    let get = |path: &str, host: &str| {
        let mut stream = (0..100)
            .find_map(|_| TcpStream::connect(address).map_err(|_| std::thread::sleep(Duration::from_millis(100))).ok())
            .expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        stream
    };
    let read = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let page = read(get("/", "localhost"));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("script-src 'sha256-"), "{page}");
    assert!(read(get("/snapshot.json", "evil.example")).starts_with("HTTP/1.1 421 "));
    // Until the run has started there is nothing to follow.
    let mut followed = String::new();
    for _ in 0..100 {
        let mut stream = get("/events", "127.0.0.1");
        let mut some = [0; 1 << 16];
        followed.clear();
        while followed.matches("event: update").count() < 2 {
            match stream.read(&mut some).unwrap() {
                0 => break,
                count => followed += &String::from_utf8_lossy(&some[..count]),
            }
        }
        if followed.starts_with("HTTP/1.1 200 ") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(followed.contains("event: snapshot\n"), "{followed}");
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said.matches(&format!("picotap: page on http://{address}/\n")).count(), 1, "{said}");
}
