//! Slow and looping parsers in the whole program: it ends in time, reports the fault, and processes everything else.

use crate::support;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::capture::{Compression, Format, Order, file};
use support::daemon::{Daemon, directory};
use support::message::Message;
use support::network::{Network, until};
use support::program::{Outcome, finish, picotap, run, scratch};
use support::scene::Scene;
use support::wat_guest::{STALL, guest_when};

/// The parser with bugs planted in it, each triggered by a request's header.
const PLANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/planted.wasm"));
const REAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));

/// Beside what is being tested, the program starts and ends, and the machine may be busy.
const SLACK: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 1 });

/// They are about time, and leave the machine to one another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A capture of connections with two exchanges each; the first request of those in `evil` carries the header.
fn capture(connections: usize, evil: std::ops::Range<usize>, bug: &str) -> Vec<u8> {
    let mut scene = Scene::default();
    for n in 0..connections {
        let mut c = scene.connection();
        c.open();
        let request = Message::get(&format!("/{n}"));
        let request = if evil.contains(&n) { request.header("X-Poison", bug) } else { request };
        c.exchange(&request, &Message::ok(b"hello"));
        c.exchange(&Message::get("/second"), &Message::ok(b"hello"));
        c.close();
        scene.capture(&mut c);
    }
    scene.stamp();
    file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None)
}

/// A run with the planted parser, and how long it took.
fn planted(name: &str, bytes: &[u8], args: &[&str]) -> (Outcome, Duration) {
    let (capture, guest) = (put(&format!("{name}.pcap"), bytes), put(&format!("{name}.wasm"), PLANTED));
    let started = Instant::now();
    let mut command = picotap();
    command.arg("--pcap").arg(&capture).arg("--guest").arg(&guest);
    let outcome = run(command.args(["--format", "json", "--stats"]).args(args));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    (outcome, started.elapsed())
}

fn ledger(stderr: &str, name: &str) -> u64 {
    let line = stderr.lines().find(|line| line.trim_start().starts_with(name));
    line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0)
}

#[test]
fn an_event_that_stalls_costs_its_connection() {
    let _alone = alone();
    let kept = tempfile::tempdir().unwrap();
    let args = ["--quarantine-dir", kept.path().to_str().unwrap()];
    let (outcome, took) = planted("contained-stall", &capture(41, 20..21, "stall"), &args);
    assert!(took < SLACK, "{took:?}");
    assert_eq!(ledger(&outcome.stderr, "events condemned"), 1, "{}", outcome.stderr);
    let healthy = outcome.lines().iter().filter(|line| line.contains("\"status\":200")).count();
    assert_eq!(healthy, 80, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(reply_stalled)"), "{}", outcome.stderr);
    // Replayed it stalls again, and the parser without the bug reads it.
    let event = fs::read_dir(kept.path()).unwrap().next().unwrap().unwrap().path();
    let again = run(picotap().arg("replay").arg(&event).arg("--guest").arg(scratch("contained-stall.wasm")));
    assert_eq!(again.code, Some(1));
    assert!(again.lines()[2].starts_with("now       reply_stalled "), "{:?}", again.lines());
    assert_eq!(run(picotap().arg("replay").arg(&event)).code, Some(0));
}

/// A module whose compilation takes about a second, and that is refused then.
fn slow_to_compile() -> Vec<u8> {
    let body = format!("{}{}", "(loop (br_if 0 (local.get 0))".repeat(200), ")".repeat(200));
    wat::parse_str(format!("(module {})", format!("(func (local i32) {body})").repeat(50))).unwrap()
}

#[test]
fn a_stop_does_not_wait_for_a_compilation() {
    let _alone = alone();
    let guest = put("contained-slow-to-compile.wasm", &slow_to_compile());
    let mut command = picotap();
    command.args(["--pcap", "-", "--stats", "--guest"]).arg(guest);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let outcome = finish(child);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(outcome.code, Some(143), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("  balanced\n"), "it was stopped, not refused: {}", outcome.stderr);
}

#[test]
fn sixty_endless_loops_in_one_slot_cost_half_a_second() {
    let _alone = alone();
    // What comes before the loops is parsed, and so is a later slot: of 256 KiB each.
    let (outcome, took) = planted("contained-loops", &capture(3000, 20..80, "loop"), &[]);
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
    assert!(
        outcome.stderr.contains("the parser's faults are too slow: dropping the rest of the slot"),
        "{}",
        outcome.stderr
    );
    assert!(ledger(&outcome.stderr, "events condemned") < 60, "{}", outcome.stderr);
    assert!(ledger(&outcome.stderr, "backed_off") > 0, "{}", outcome.stderr);
    let last = outcome.lines().iter().filter(|line| line.contains("\"target\":\"/2999\"")).count();
    assert_eq!(last, 1, "{}", outcome.stderr);
    // With less time there are fewer.
    let (fewer, _) = planted("contained-loops-fewer", &capture(300, 20..80, "loop"), &["--fault-time", "1"]);
    assert_eq!(ledger(&fewer.stderr, "events condemned"), 0, "{}", fewer.stderr);
}

/// Starts the planted parser on a pipe, feeds it, and sends a signal a little later. How long it took to end then.
fn stopped_amid(name: &str, args: &[&str], feed: &[u8]) -> (Outcome, Duration) {
    let mut command = picotap();
    command.args(["--pcap", "-", "--format", "json", "--stats"]).args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = feed.to_vec();
    // It is left open: the end of the input must not be what ends the run. It may be gone before all is written.
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&feed);
        stdin
    });
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none(), "{name} has ended by itself");
    let started = Instant::now();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let outcome = finish(child);
    let took = started.elapsed();
    drop(feeder.join().unwrap());
    (outcome, took)
}

#[test]
fn a_stop_works_amid_endless_loops() {
    let _alone = alone();
    let guest = put("contained-stop.wasm", PLANTED);
    let args = ["--guest", guest.to_str().unwrap()];
    // Each of some twelve slots would go on for half a second.
    let (outcome, took) = stopped_amid("loops", &args, &capture(6000, 0..6000, "loop"));
    assert!(took < Duration::from_secs(2), "{took:?}: {}", outcome.stderr);
    assert_eq!(outcome.code, Some(143), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    // And by a second parser.
    let args = ["--shadow", guest.to_str().unwrap()];
    let (outcome, took) = stopped_amid("shadow", &args, &capture(6000, 0..6000, "loop"));
    assert!(took < Duration::from_secs(2), "{took:?}: {}", outcome.stderr);
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
}

#[test]
fn a_shadow_that_loops_changes_no_line_and_is_left_out() {
    let _alone = alone();
    let bytes = capture(3000, 2900..2960, "loop");
    let path = put("contained-shadow.pcap", &bytes);
    let (shadow, metrics) = (put("contained-shadow.wasm", PLANTED), scratch("contained-shadow.prom"));
    let mut command = picotap();
    command.arg("--pcap").arg(&path).args(["--format", "json", "--workers", "1"]);
    let alone = run(&mut command);
    command.arg("--shadow").arg(&shadow).arg("--metrics-file").arg(&metrics);
    let started = Instant::now();
    let both = run(&mut command);
    assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", started.elapsed());
    assert_eq!(both.sorted(), alone.sorted());
    let metrics = fs::read_to_string(metrics).unwrap();
    let own: Vec<&str> = metrics.lines().filter(|line| line.starts_with("picotap_shadow")).collect();
    let value = |name: &str| -> f64 {
        let line = own.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {own:#?}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("picotap_shadow_skipped_slots_total") >= 1.0, "{own:#?}");
    // Nothing else is missing: only the condemned connections differ.
    assert!(value("picotap_shadow_differences_total{field=\"missing\"}") < 200.0, "{own:#?}");
    assert!(value("picotap_shadow_compared_records_total") > 1000.0, "{own:#?}");
}

/// The output of `guest inspect` for a module, and the time it took.
fn inspect(name: &str, wat: &str) -> (Outcome, Duration) {
    let path = put(name, &wat::parse_str(wat).unwrap());
    let started = Instant::now();
    (run(picotap().args(["guest", "inspect"]).arg(path)), started.elapsed())
}

const BYTES: &str = "(i32.eq (i32.load8_u offset=5 (local.get $event)) (i32.const 1))";

#[test]
fn a_slow_module_is_refused_in_time_wherever_it_is_loaded() {
    let _alone = alone();
    let slow = "(local.set $records (i32.const 10000000)) (loop $l (br_if $l (local.tee $records (i32.sub (local.get $records) (i32.const 1)))))";
    for (name, wat, says) in [
        ("stall", guest_when(BYTES, STALL), "presented again too often"),
        ("loop", guest_when(BYTES, "(loop $l (br $l))"), "ran past its deadline"),
        ("slow", guest_when(BYTES, slow), "self-test"),
    ] {
        let (outcome, took) = inspect(&format!("contained-{name}.wasm"), &wat);
        assert!(took < Duration::from_secs(2) + SLACK, "{name}: {took:?}");
        assert_eq!(outcome.code, Some(1), "{name}");
        assert!(outcome.stderr.contains(says), "{name}: {}", outcome.stderr);
        let started = Instant::now();
        let guest = scratch(&format!("contained-{name}.wasm"));
        let outcome = run(picotap().args(["--pcap", "fixtures/http.pcap", "--guest"]).arg(guest));
        assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "{name}: {:?}", started.elapsed());
        assert_eq!((outcome.code, outcome.stdout.len()), (Some(1), 0), "{name}");
        assert!(outcome.stderr.contains(says), "{name}: {}", outcome.stderr);
    }
}

#[test]
fn text_of_a_module_is_escaped() {
    let _alone = alone();
    let wat = guest_when("(i32.const 0)", "").replacen(
        "(memory",
        "(global (export \"\\1b[2J\\1b[31mFAKE\\0aself-test     passed\\e2\\80\\ae\") i32 (i32.const 0)) (memory",
        1,
    );
    let (outcome, _) = inspect("contained-escapes.wasm", &wat);
    let said = String::from_utf8(outcome.stdout).unwrap() + &outcome.stderr;
    assert!(said.contains(r"export        \u{1b}[2J\u{1b}[31mFAKE\nself-test"), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()) && !said.contains('\u{202e}'), "{said:?}");
}

/// Replaces the file by another module, as an upgrade would.
fn exchange(module: &[u8], file: &Path) {
    let new = file.with_extension("new");
    fs::write(&new, module).unwrap();
    fs::rename(new, file).unwrap();
}

#[test]
fn live_loops_cost_part_of_a_second_and_signals_are_handled() {
    let _alone = alone();
    let Some(network) = Network::new("live_loops_cost_part_of_a_second_and_signals_are_handled") else { return };
    let network = network.serve();
    let (modules, logs) = (tempfile::tempdir().unwrap(), directory());
    fs::set_permissions(modules.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (guest, log) = (modules.path().join("guest.wasm"), logs.path().join("http.log"));
    exchange(PLANTED, &guest);
    let options = ["--workers", "1", "--queue", "64", "--guest", guest.to_str().unwrap()];
    let daemon = Daemon::start(&network, &log, &options, &[]);
    let logged = |text: &str| fs::read_to_string(&log).unwrap().matches(text).count();
    network.ask("before", 20);
    until("what comes before is logged", || logged("before=") == 20);

    // 400 attackers, each on a connection of its own.
    let urls: String = (0..400).map(|n| format!("url = \"http://10.99.0.2/short?evil={n}\"\n")).collect();
    let list = logs.path().join("urls");
    fs::write(&list, urls).unwrap();
    let storm = ["-H", "X-Poison: loop", "-H", "Connection: close", "-K", list.to_str().unwrap()];
    let attack = std::thread::scope(|scope| {
        let attack = scope.spawn(|| network.curl(&storm));
        // A scrape shows them while they last.
        until("faults are shown", || daemon.sum("picotap_sandbox_faults_total{reason=\"deadline\"}") >= 2.0);
        attack.join().unwrap()
    });
    assert!(attack);
    let ended = Instant::now();
    // A second later all is as before.
    until("healthy connections are logged", || {
        network.ask("after", 1);
        logged("after=") >= 3
    });
    assert!(ended.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", ended.elapsed());
    assert_eq!(daemon.get("/healthz").0, 200);
    assert!(daemon.sum("picotap_sandbox_fault_seconds_total") > 0.0);

    // A module whose self-test does not end by itself is refused, and later signals are still handled.
    exchange(&wat::parse_str(guest_when(BYTES, STALL)).unwrap(), &guest);
    daemon.signal(Signal::SIGHUP);
    daemon.await_text("the old one stays", 1);
    // Signals are handled while a module is compiled: the ledger is printed first, and then the file's content is loaded.
    exchange(&slow_to_compile(), &guest);
    daemon.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(100));
    exchange(REAL, &guest);
    daemon.signal(Signal::SIGHUP);
    daemon.signal(Signal::SIGUSR1);
    daemon.await_text("payload bytes", 1);
    daemon.await_text("takes over", 1);
    let said = daemon.said();
    let order = ["payload bytes", "does not export memory", "takes over"].map(|text| said.find(text));
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}: {said}");
    exchange(PLANTED, &guest);
    daemon.signal(Signal::SIGHUP);
    daemon.await_text("takes over", 2);

    // A stop during another burst of faults. The memory is within the bound printed at the start.
    assert!(network.curl(&storm));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).and_then(|l| l.split_whitespace().nth(1)).unwrap();
    let said = daemon.said();
    let bound = said.split("memory is bound to ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!(peak.parse::<u64>().unwrap() >> 10 < bound.parse().unwrap(), "{peak} kB and {bound} MiB");
    let started = Instant::now();
    let said = daemon.stop();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(ledger(&said, "events condemned") > 0 && ledger(&said, "backed_off") > 0, "{said}");
}
