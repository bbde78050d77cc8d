//! What people look at, of a daemon without privileges: its page, its report, and its endpoint when that is taken.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::daemon::{Daemon, NOBODY, directory};
use crate::support::network::{Network, until};
use crate::support::program::{finish, run};
use crate::support::tool;

/// The data in a report.
fn data(report: &str) -> Value {
    let (_, rest) = report.split_once("id=\"data\">").expect("it has its data");
    let (json, _) = rest.split_once("</script>").expect("they end");
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_report_and_the_page_of_a_confined_run() {
    let Some(network) = Network::new("the_report_and_the_page_of_a_confined_run") else { return };
    let network = network.serve();
    let directory = directory();
    let (log, report) = (directory.path().join("http.log"), directory.path().join("report.html"));
    let daemon = Daemon::start(&network, &log, &["--report", report.to_str().unwrap()], &[]);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t65534\t65534"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(daemon.said().contains("page on http://127.0.0.1:9464/"), "{}", daemon.said());
    network.ask("seen", 20);
    until("all is counted", || daemon.transactions() == 20);
    let (code, page) = daemon.get("/");
    assert!(code == 200 && page.contains("<title>"), "{code} {page}");
    let (code, snapshot) = daemon.get("/snapshot.json");
    assert_eq!(code, 200, "{snapshot}");
    assert_eq!(serde_json::from_str::<Value>(&snapshot).unwrap()["transactions"], 20);
    assert!(!report.exists(), "it is written at the end");
    let said = daemon.stop();
    let metadata = fs::metadata(&report).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o777), (NOBODY, 0o640));
    let data = data(&fs::read_to_string(&report).unwrap());
    assert_eq!((&data["transactions"], &data["live"]), (&Value::from(20), &Value::from(true)));
    assert_eq!(data["hosts"][0]["host"], "10.99.0.2");
}

#[test]
fn a_report_that_the_new_user_cannot_write_ends_the_run_at_its_start() {
    let Some(network) = Network::new("a_report_that_the_new_user_cannot_write_ends_the_run_at_its_start") else {
        return;
    };
    let (of_root, of_nobody) = (tempfile::tempdir().unwrap(), directory());
    let (report, log) = (of_root.path().join("report.html"), of_nobody.path().join("log"));
    let mut command = Network::inside(&network.server, env!("CARGO_BIN_EXE_picotap"));
    command.args(["-i", "wire1", "--no-metrics", "--user", "65534:65534", "--report"]).arg(&report);
    let outcome = run(command.arg("-o").arg(&log));
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let wanted = format!("{}: the report cannot be written: Permission denied", report.display());
    assert!(outcome.stderr.contains(&wanted), "{}", outcome.stderr);
    assert!(!log.exists(), "it began all the same");
}

#[test]
fn the_usual_port_may_be_taken_by_another() {
    if !tool::has(&["root"]) {
        return;
    }
    let Some(network) = Network::new("the_usual_port_may_be_taken_by_another") else { return };
    let network = network.serve();
    let taken = listen_inside(&network.server);
    let directory = directory();
    let log = directory.path().join("http.log");
    let mut command = Network::inside(&network.server, env!("CARGO_BIN_EXE_picotap"));
    command.args(["-i", "wire1", "--format", "json", "--user", "65534:65534", "-o"]).arg(&log);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("it captures", || {
        network.ask("seen", 1);
        fs::read_to_string(&log).is_ok_and(|text| text.contains("/short?seen=1"))
    });
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let outcome = finish(child);
    drop(taken);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("; nothing is served").count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("127.0.0.1:9464") && !outcome.stderr.contains("page on"), "{}", outcome.stderr);
}

/// Holds the usual port in a namespace.
fn listen_inside(namespace: &str) -> TcpListener {
    let namespace = format!("/run/netns/{namespace}");
    // A thread of its own enters the namespace: the socket stays in it.
    std::thread::spawn(move || {
        let file = fs::File::open(namespace).unwrap();
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        TcpListener::bind("127.0.0.1:9464").unwrap()
    })
    .join()
    .unwrap()
}
