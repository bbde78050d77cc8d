//! The release build under more load than it can take, and under half of what the machine can capture at all. Debug builds
//! are too slow for this: the worst defects of a queue show only at speed.
//!
//! `make test` builds the program and names it in `PICOTAP_RELEASE`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

mod support;

use support::daemon::{Daemon, directory, lines};
use support::network::{Network, until};
use support::tool;

/// One load at a time: each needs the whole machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// The release build, or nothing after the skip of `test` has been noted.
fn release(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("PICOTAP_RELEASE").map(PathBuf::from).filter(|path| path.is_file());
    if named.is_none() {
        tool::skip(test, "needs the release build, named in PICOTAP_RELEASE: make test builds it");
    }
    named
}

/// Asks for `path` over so many connections for so many seconds; each waits `delay` milliseconds before each request.
/// Gives the number of requests that were answered.
fn load(network: &Network, path: &str, connections: u32, seconds: u32, delay: u32, header: Option<&str>) -> u64 {
    let script = network.file("delay.lua", &format!("function delay() return {delay} end\n"));
    let mut command = Network::inside(&network.client, "wrk");
    command.args(["-t", "1", "-c", &connections.to_string(), "-d", &format!("{seconds}s")]);
    if delay > 0 {
        command.arg("-s").arg(script);
    }
    if let Some(header) = header {
        command.args(["-H", header]);
    }
    let output = command.arg(format!("http://10.99.0.2{path}")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let at = tokens.iter().position(|token| *token == "requests").unwrap_or_else(|| panic!("{text}"));
    tokens[at - 1].parse().unwrap()
}

/// Packets that the kernel dropped for tcpdump, which only throws away what it captures, under a load; and the answers.
fn tcpdump(network: &Network, connections: u32) -> (u64, u64) {
    let mut command = Network::inside(&network.server, "tcpdump");
    command.args(["-i", "wire1", "-n", "-w", "/dev/null", "-B", "65536", "-Z", "root"]);
    let tcpdump = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let answers = load(network, "/body.bin", connections, 2, 0, None);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(Command::new("kill").args(["-INT", &tcpdump.id().to_string()]).status().unwrap().success());
    let said = String::from_utf8_lossy(&tcpdump.wait_with_output().unwrap().stderr).into_owned();
    let line = said.lines().find(|line| line.ends_with("dropped by kernel")).unwrap_or_else(|| panic!("{said}"));
    (line.split(' ').next().unwrap().parse().unwrap(), answers)
}

#[test]
fn what_an_overrun_loses_is_counted_to_the_last_byte() {
    let test = "what_an_overrun_loses_is_counted_to_the_last_byte";
    let Some(program) = release(test) else { return };
    let Some(network) = Network::new(test) else { return };
    let _alone = MACHINE.lock();
    let network = network.serve();
    let logs = directory();
    let log = logs.path().join("http.log");
    // Half of the load is short connections, whose ends must not be lost with the bytes.
    let args = ["--workers", "1", "--queue", "1", "-B", "262144", "--no-community-id"];
    let daemon = Daemon::start_program(&network, &program, &log, &args, &[]);
    for _ in 0..2 {
        load(&network, "/body.bin", 64, 2, 0, None);
        load(&network, "/body.bin", 64, 2, 0, Some("Connection: close"));
    }
    let dropped = || daemon.sum("picotap_payload_bytes_total{account=\"queue_full\"}");
    until("all connections are over", || {
        daemon.sum("picotap_sandbox_connections") + daemon.sum("picotap_open_transaction_bytes") == 0.0
    });
    assert_eq!(daemon.sum("picotap_ledger_imbalance_bytes"), 0.0);
    assert_eq!(daemon.sum("picotap_capture_dropped_packets_total"), 0.0, "the ring is large enough");
    let (dropped, waits) = (dropped(), daemon.sum("picotap_capture_waits_total"));
    let gaps = daemon.sum("picotap_gap_bytes_total");
    let said = daemon.stop();
    assert!(!said.contains("NOT BALANCED") && !said.contains("connections carried by sandboxes"), "{said}");

    // A request that is not in the log had at least its head, of 70 bytes and more, in what was dropped.
    let (logged, printed) = (network.logged().len(), lines(&log).len());
    let missing = logged.saturating_sub(printed) as f64;
    println!("{logged} logged, {printed} printed, {dropped} bytes dropped, {gaps} never seen, {waits} waits");
    assert!(
        missing * 70.0 <= dropped + gaps,
        "{missing} transactions of {logged} are missing, {dropped} bytes dropped; {said}"
    );
    assert!(printed <= logged + 200, "{printed} lines of {logged} requests");
    assert!(dropped > 0.0, "it was no overrun: this test has shown nothing");
}

#[test]
fn at_half_of_what_tcpdump_takes_nothing_is_dropped() {
    let test = "at_half_of_what_tcpdump_takes_nothing_is_dropped";
    let Some(program) = release(test) else { return };
    let Some(network) = Network::new(test) else { return };
    let _alone = MACHINE.lock();
    let network = network.serve();
    // The highest rate at which tcpdump drops nothing: more connections ask for more.
    let rates = [64, 16, 4, 1].map(|connections| (connections, tcpdump(&network, connections)));
    let best = rates.iter().filter(|(_, (dropped, _))| *dropped == 0).map(|(_, (_, answers))| *answers).max();
    let best = best.unwrap_or_else(|| panic!("tcpdump drops at any rate here: {rates:?}")) as f64 / 2.0;
    let connections = 200;
    let delay = (f64::from(connections) * 1000.0 / (best / 2.0)).ceil().max(1.0) as u32;

    let logs = directory();
    let log = logs.path().join("http.log");
    std::fs::write(network.directory().join("access.log"), "").unwrap();
    let daemon = Daemon::start_program(&network, &program, &log, &[], &[]);
    let answers = load(&network, "/body.bin", connections, 4, delay, None);
    until("all connections are over", || daemon.sum("picotap_sandbox_connections") == 0.0);
    let said = daemon.stop();
    println!("tcpdump: {best} requests/s without a drop; picotap at {} requests/s", answers / 4);
    assert!(said.contains("lost: nothing\n"), "{said}");
    let (logged, printed) = (network.logged().len(), lines(&log).len());
    assert!(logged.abs_diff(printed) <= connections as usize, "{logged} logged, {printed} printed; {said}");
}
