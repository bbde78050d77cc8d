//! TLS while it is captured: secrets that come late, key logs that grow, and connections for which none come.

use crate::support;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use picotap::batch::{Batcher, CollectSlots, Slot, SlotEvent, What};
use picotap::stream::{EndReason, OpenConnection, Position, Side, Sink};
use picotap::tls::Dark;
use picotap::tls::keylog::KeyLog;
use picotap::tls::keys::KeyStore;
use picotap::tls::stage::{Opening, Patience};
use serde_json::Value;
use support::daemon::{Daemon, directory, lines};
use support::network::{Network, until};
use support::program::scratch;
use support::random::Random;
use support::tls::talk::{SUITES, Setting, Talk};
use support::tls::{Identity, Script, Segment};

/// A conversation in which both sides say something in turn.
fn conversation(suite: usize, turns: usize, length: usize) -> Script {
    let (version, cipher, _) = SUITES[suite];
    let mut talk = Talk::new(version, cipher, Setting { tickets: 2, ..Setting::default() });
    let mut random = Random::new(suite as u64);
    for turn in 0..turns {
        let side = if turn % 2 == 0 { Side::First } else { Side::Second };
        talk.say(side, &vec![turn as u8; 1 + random.below(length as u64) as usize]);
    }
    talk.close();
    talk.script()
}

/// An event that comes out of the stage; an end has no payload.
type Out = (Side, Position, Option<Vec<u8>>);

/// What comes out of the stage, by connection.
#[derive(Default)]
struct Told(BTreeMap<u64, Vec<Out>>);

impl Told {
    fn take(&mut self, slot: &Slot) {
        for row in &slot.rows {
            let mut next = row.first;
            while let Some(SlotEvent { side, at, what, next: behind, .. }) = slot.events.get(next as usize) {
                let payload = match *what {
                    What::Bytes { data, len, .. } => Some(slot.payload(data, len).to_vec()),
                    What::Skipped { .. } | What::Shed { .. } => panic!("nothing was skipped"),
                    What::End(_) => None,
                };
                self.0.entry(row.connection.number).or_default().push((*side, *at, payload));
                next = *behind;
            }
        }
    }

    /// The plaintext of a side. Its offsets follow each other, its end is behind it, and times do not go back.
    fn plaintext(&self, number: u64, side: Side) -> Vec<u8> {
        let mut out = vec![];
        let (mut ended, mut last) = (0, 0);
        for (from, at, payload) in self.0.get(&number).into_iter().flatten() {
            assert!(at.time >= last, "in the order in which it was sent");
            last = at.time;
            if *from != side {
                continue;
            }
            assert_eq!((at.offset, ended), (out.len() as u64, 0));
            match payload {
                Some(bytes) => out.extend(bytes),
                None => ended += 1,
            }
        }
        assert_eq!(ended, 1, "a side ends once");
        out
    }
}

/// A worker's first stage, with a store that is filled by and by.
struct Stage {
    opening: Opening,
    store: KeyStore,
    batcher: Batcher<CollectSlots>,
    released: Slot,
    now: i64,
    told: Told,
    sent: u64,
    most: u64,
}

impl Stage {
    fn new(patience: Patience) -> Self {
        Self {
            opening: Opening::patient(patience),
            store: KeyStore::default(),
            batcher: Batcher::new(1, i64::MAX, true, CollectSlots::default()),
            released: Slot::default(),
            now: 0,
            told: Told::default(),
            sent: 0,
            most: 0,
        }
    }

    fn segment(&mut self, connection: &mut OpenConnection, segment: &Segment) {
        self.sent += segment.bytes.len() as u64;
        self.batcher.bytes(connection, segment.side, segment.at, true, &segment.bytes);
    }

    fn end(&mut self, connection: &mut OpenConnection, reason: EndReason) {
        for side in [Side::First, Side::Second] {
            let at = Position { offset: u64::MAX >> 8, peer_acked: 0, time: i64::MAX };
            self.batcher.end(connection, side, at, reason);
        }
    }

    fn ends(&mut self, connection: &mut OpenConnection, script: &Script, reason: EndReason) {
        for side in [Side::First, Side::Second] {
            let at = Position { offset: script.length(side), peer_acked: script.length(side.other()), time: i64::MAX };
            self.batcher.end(connection, side, at, reason);
        }
    }

    /// Takes what was sent so far through the stage.
    fn work(&mut self, last: bool) {
        self.batcher.flush();
        let slots = std::mem::take(&mut self.batcher.deliverer().0);
        for mut slot in slots {
            self.release(false);
            self.opening.open(&mut slot, &self.store, self.now);
            self.told.take(&slot);
            self.check();
        }
        self.release(last);
    }

    fn release(&mut self, last: bool) {
        while self.opening.release(&mut self.released, &self.store, self.now, last) {
            self.told.take(&self.released);
            self.check();
        }
    }

    /// Every byte that went in is in an account, or waits.
    fn check(&mut self) {
        self.most = self.most.max(self.opening.memory());
        let counters = self.opening.counters();
        assert!(counters.accounted() + counters.held <= self.sent);
    }
}

const PATIENCE: Patience = Patience { time: Some(200), memory: 16 << 20, reason: Dark::TooLate };

#[test]
fn nothing_is_missing_when_secrets_come_late() {
    for suite in [0, 3] {
        let script = conversation(suite, 60, 900);
        let lines: Vec<&str> = script.key_log.lines().collect();
        for (seed, mss) in [(1, 100), (2, 1460), (3, 1460), (4, 400), (5, 5000)] {
            let mut random = Random::new(seed);
            let segments = script.segments(mss);
            let mut stage = Stage::new(PATIENCE);
            let mut connection = OpenConnection::synthetic(1);
            // Each line at a moment of its own, in their order.
            let mut moments: Vec<u64> = lines.iter().map(|_| random.below(segments.len() as u64 + 20)).collect();
            moments.sort_unstable();
            let mut log = KeyLog::new();
            for step in 0..segments.len() + 20 {
                for (line, _) in lines.iter().zip(&moments).filter(|(_, moment)| **moment == step as u64) {
                    log.read(format!("{line}\n").as_bytes(), &mut stage.store);
                }
                match segments.get(step) {
                    Some(segment) => stage.segment(&mut connection, segment),
                    // The flow table has forgotten it by the time that the secrets come.
                    None if step == segments.len() => stage.ends(&mut connection, &script, EndReason::Fin),
                    None => {}
                }
                if random.one_in(4) || step >= segments.len() {
                    stage.work(false);
                }
            }
            for side in [Side::First, Side::Second] {
                assert_eq!(stage.told.plaintext(1, side), script.plaintext(side), "suite {suite}, seed {seed}");
            }
            let counters = stage.opening.counters();
            assert_eq!((counters.accounted(), counters.held), (stage.sent, 0));
            assert_eq!(counters.dark.iter().sum::<u64>(), 0);
            stage.work(false);
            stage.opening.open(&mut Slot::new(), &stage.store, 0);
            assert_eq!((stage.opening.memory(), stage.opening.waits()), (0, false));
        }
    }
}

#[test]
fn what_waits_is_bounded_by_time_by_bytes_and_by_the_end_of_the_connection() {
    let script = conversation(0, 400, 2000);
    let segments = script.segments(1460);
    let dark = |stage: &Stage| {
        let dark = &stage.opening.counters().dark;
        (dark[Dark::TooLate as usize], dark.iter().sum::<u64>())
    };
    // By time.
    let mut stage = Stage::new(PATIENCE);
    let mut connection = OpenConnection::synthetic(1);
    segments[..12].iter().for_each(|segment| stage.segment(&mut connection, segment));
    stage.work(false);
    assert!(stage.opening.waits() && stage.opening.counters().held > 1000);
    stage.now = 199;
    stage.work(false);
    assert!(stage.opening.waits());
    stage.now = 200;
    stage.work(false);
    assert_eq!((stage.opening.waits(), stage.opening.counters().held), (false, 0));
    let given_up = dark(&stage);
    assert!(given_up.0 > 1000 && given_up.0 == given_up.1);
    // What comes then does not wait again, whatever comes into the store.
    KeyLog::new().read(script.key_log.as_bytes(), &mut stage.store);
    segments[12..].iter().for_each(|segment| stage.segment(&mut connection, segment));
    stage.ends(&mut connection, &script, EndReason::Fin);
    stage.work(false);
    assert_eq!(stage.told.plaintext(1, Side::Second), b"");
    // By bytes, and by an eviction, and by the end of the input.
    for (count, reason, last) in
        [(segments.len(), None, false), (12, Some(EndReason::Evicted), false), (12, Some(EndReason::Fin), true)]
    {
        let mut stage = Stage::new(PATIENCE);
        let mut connection = OpenConnection::synthetic(1);
        segments[..count].iter().for_each(|segment| stage.segment(&mut connection, segment));
        if let Some(reason) = reason {
            stage.end(&mut connection, reason);
        }
        stage.work(last);
        assert!(stage.most < 200_000, "{}", stage.most);
        assert_eq!((stage.opening.waits(), stage.opening.counters().held), (false, 0));
        assert!(dark(&stage).0 > 1000);
        assert_eq!(stage.opening.counters().accounted(), stage.sent);
    }
}

#[test]
fn a_hundred_thousand_handshakes_without_keys_are_bounded_and_counted() {
    let script = conversation(0, 4, 100);
    let segments = script.segments(1460);
    let patience = Patience { time: Some(i64::MAX), memory: 1 << 20, reason: Dark::TooLate };
    let mut stage = Stage::new(patience);
    let mut open = std::collections::VecDeque::new();
    let started = Instant::now();
    for number in 1..=100_000_u64 {
        let mut connection = OpenConnection::synthetic(number);
        for (at, segment) in segments.iter().enumerate() {
            let mut segment = segment.clone();
            if at == 0 {
                // The client's random.
                segment.bytes[11..19].copy_from_slice(&number.to_be_bytes());
            }
            stage.segment(&mut connection, &segment);
        }
        open.push_back(connection);
        // A few hundred are open at a time.
        if open.len() > 300 {
            stage.ends(&mut open.pop_front().unwrap(), &script, EndReason::Fin);
        }
        if number % 100 == 0 {
            stage.work(false);
            // There is nothing to read, so there is nothing to compare.
            stage.told = Told::default();
        }
    }
    for connection in &mut open {
        stage.ends(connection, &script, EndReason::Capture);
    }
    stage.work(true);
    let counters = stage.opening.counters();
    println!("{:?} for 100,000 handshakes, at most {} bytes of memory", started.elapsed(), stage.most);
    assert!(stage.most < 8 << 20, "{}", stage.most);
    assert_eq!((counters.accounted(), counters.held, counters.plaintext), (stage.sent, 0, 0));
    assert!(counters.dark[Dark::TooLate as usize] > 100_000 * 500);
    stage.opening.open(&mut Slot::new(), &stage.store, 0);
    assert_eq!(stage.opening.memory(), 0);
}

/// Records of a stream whose start was not captured.
fn midstream(stage: &mut Stage, number: u64, pieces: &[(Side, &[u8])]) -> OpenConnection {
    let mut connection = OpenConnection::synthetic(number);
    connection.info.midstream = true;
    let mut offsets = [0; 2];
    for (time, (side, bytes)) in pieces.iter().enumerate() {
        let at =
            Position { offset: offsets[side.index()], peer_acked: offsets[side.other().index()], time: time as i64 };
        stage.segment(&mut connection, &Segment { side: *side, at, bytes: bytes.to_vec() });
        offsets[side.index()] += bytes.len() as u64;
    }
    connection
}

#[test]
fn a_connection_joined_midway_is_known_by_two_records() {
    let record = |length: usize| [&[23, 3, 3], &(length as u16).to_be_bytes()[..], &vec![b'G'; length]].concat();
    let (long, short) = (record(9000), record(20));
    let http = b"GET / HTTP/1.1\r\n\r\n";
    for cut in [5, 6, 1000, 9005, 9006, 9007] {
        let mut stage = Stage::new(PATIENCE);
        let both = [&long[..], &short].concat();
        let (first, second) = both.split_at(cut);
        let mut connection =
            midstream(&mut stage, 1, &[(Side::First, first), (Side::Second, &short), (Side::First, second)]);
        stage.work(false);
        stage.end(&mut connection, EndReason::Fin);
        stage.work(false);
        // Nothing of it goes on.
        assert_eq!((stage.told.plaintext(1, Side::First), stage.told.plaintext(1, Side::Second)), (vec![], vec![]));
        let counters = stage.opening.counters();
        assert_eq!(counters.dark[Dark::Midstream as usize], stage.sent, "{cut}");
        assert_eq!(counters.held, 0);
    }
    // One record alone may be anything; what is not followed by another goes on as it is, and in its order.
    for (behind, ends) in [(&http[..], false), (b"", true), (b"", false)] {
        let mut stage = Stage::new(PATIENCE);
        let mut connection =
            midstream(&mut stage, 1, &[(Side::First, &short), (Side::Second, b"x"), (Side::First, behind)]);
        stage.work(false);
        if !ends {
            stage.now = 1000;
            stage.work(false);
        }
        for side in [Side::First, Side::Second] {
            let (length, other) = (if side == Side::First { 25 + behind.len() } else { 1 }, 0);
            stage.batcher.end(
                &mut connection,
                side,
                Position { offset: length as u64, peer_acked: other, time: 9 },
                EndReason::Fin,
            );
        }
        stage.work(false);
        assert_eq!(stage.told.plaintext(1, Side::First), [&short[..], behind].concat());
        assert_eq!(stage.told.plaintext(1, Side::Second), b"x");
        assert_eq!(stage.opening.counters().accounted(), 0);
        stage.opening.open(&mut Slot::new(), &stage.store, 0);
        assert_eq!((stage.opening.memory(), stage.opening.counters().held), (0, 0));
    }
}

/// Passes a key log on, each byte so much later; `to`: a file or a pipe.
struct Late {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Late {
    fn new(from: &Path, to: &Path, delay: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (from, to, stopped) = (from.to_path_buf(), to.to_path_buf(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut from = File::open(from).unwrap();
            let mut to = File::options().append(true).open(to).unwrap();
            let mut due = std::collections::VecDeque::new();
            let (mut woken, mut longest) = (Instant::now(), Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) || !due.is_empty() {
                let mut bytes = vec![];
                from.read_to_end(&mut bytes).unwrap();
                if !bytes.is_empty() {
                    due.push_back((Instant::now() + delay, bytes));
                }
                while due.front().is_some_and(|(moment, _)| *moment <= Instant::now()) {
                    to.write_all(&due.pop_front().unwrap().1).unwrap();
                }
                sleep(Duration::from_millis(1));
                longest = longest.max(woken.elapsed());
                woken = Instant::now();
            }
            longest
        });
        Self { stop, thread }
    }

    /// The longest time that the machine let it wait where it asked for a millisecond.
    fn end(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Asks over TLS in several threads and versions, with a key log, a new connection for each few requests.
const PYTHON: &str = r#"
import http.client, ssl, sys, threading
def ask(thread):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.keylog_filename = sys.argv[1]
    if thread % 2:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    for number in range(10):
        connection = http.client.HTTPSConnection("10.99.0.2", 443, context=context, timeout=20)
        for request in range(5):
            if request == 3:
                connection.request("POST", f"/short?python={thread}.{number}.{request}", b"x" * 20000)
            else:
                connection.request("GET", f"/long?python={thread}.{number}.{request}")
            connection.getresponse().read()
        connection.close()
threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"#;

/// A network in which nginx also speaks TLS.
fn network(test: &str) -> Option<(Network, Identity)> {
    let identity = Identity::new("ec");
    let name = |file: &str| identity.path(file).to_str().unwrap().to_owned();
    let server = format!(
        "server {{ listen 443 ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; root PLACE/site;
            location /short {{ return 200 'short'; }} location /long {{ return 200 'LONG'; }} }}",
        name("certificate.pem"),
        name("key.pem")
    );
    Some((Network::new(test)?.serve_also(&server), identity))
}

/// What curl and Python ask, with the key log in this file. No connection carries 64 KiB, beyond which it would not wait.
fn load(network: &Network, keys: &Path) {
    let mut curls: Vec<_> = (0..20)
        .map(|number| {
            let mut command = Network::inside(&network.client, "curl");
            command.args(["-sSk", "-m", "20"]).env("SSLKEYLOGFILE", keys);
            command.args(if number % 2 == 0 {
                ["--tlsv1.3", "--tls-max", "1.3"]
            } else {
                ["--tlsv1.2", "--tls-max", "1.2"]
            });
            for request in 0..5 {
                command.args(["-o", "/dev/null"]).arg(format!("https://10.99.0.2/short?curl={number}.{request}"));
            }
            command.args(["-o", "/dev/null"]).arg("https://10.99.0.2/body.bin");
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let script = network.file("ask.py", PYTHON);
    let mut python = Network::inside(&network.client, "python3").arg(script).arg(keys).spawn().unwrap();
    assert!(python.wait().unwrap().success());
    for curl in &mut curls {
        assert!(curl.wait().unwrap().success());
    }
}

fn row(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    assert!(value["tls"]["version"].is_string(), "{line}");
    let text = |key: &str| match &value[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    ["client", "client_port", "seq", "method", "target", "status", "response_body_bytes"].map(text).join(" ")
}

/// Empty files: one that clients write, and one that picotap reads.
fn key_logs(network: &Network) -> (PathBuf, PathBuf) {
    (network.file("keys", ""), network.file("late-keys", ""))
}

/// A machine that lets a thread wait for so long may let picotap's wait too, which has 50 ms to spare if secrets are 150 ms late.
const HELD_UP: Duration = Duration::from_millis(15);
/// So often is that excused.
const ROUNDS: usize = 6;

/// What went wrong with a key log that is so late, and for how long the machine held a thread up meanwhile. `None`: there is no
/// network.
fn late_round(delay: u64) -> Option<(String, Duration)> {
    let (network, _identity) = network("every_request_has_its_line_when_the_key_log_is_late")?;
    let (keys, late) = key_logs(&network);
    let output = directory();
    let log = output.path().join("http.log");
    // Read by root before, and by nobody else.
    let daemon = Daemon::start(&network, &log, &["--keylog", late.to_str().unwrap(), "--workers", "2"], &[]);
    let passing = Late::new(&keys, &late, Duration::from_millis(delay));
    load(&network, &keys);
    let logged = network.logged();
    assert_eq!(logged.len(), 20 * 6 + 4 * 10 * 5);
    let started = Instant::now();
    while daemon.transactions() < logged.len() && started.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(20));
    }
    let held_up = passing.end();
    let said = daemon.stop();
    let mut wanted = logged;
    let mut found: Vec<String> = lines(&log).iter().map(|line| row(line)).collect();
    wanted.sort();
    found.sort();
    wanted.dedup();
    let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).collect();
    let unwanted: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).collect();
    let fine = missing.is_empty() && found.len() == wanted.len() && !said.contains("tls_too_late");
    let doubled = found.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(unwanted.is_empty() && !doubled, "{delay} ms late: {unwanted:#?} {said}");
    Some((if fine { String::new() } else { format!("{delay} ms late: {missing:#?} {said}") }, held_up))
}

#[test]
fn every_request_has_its_line_when_the_key_log_is_late() {
    for delay in [0, 150] {
        for round in 1.. {
            let Some((wrong, held_up)) = late_round(delay) else { return };
            if wrong.is_empty() {
                break;
            }
            assert!(held_up > HELD_UP && round < ROUNDS, "round {round}, held up {held_up:?}: {wrong}");
            println!("round {round}: the machine held a thread up for {held_up:?}");
        }
    }
}

#[test]
fn a_pipe_gives_secrets_and_is_not_waited_for() {
    let Some((network, _identity)) = network("a_pipe_gives_secrets_and_is_not_waited_for") else { return };
    let (keys, _) = key_logs(&network);
    let pipe = scratch("tls-key-pipe");
    drop(std::fs::remove_file(&pipe));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--keylog", pipe.to_str().unwrap()], &[]);
    for round in 1..=2 {
        let passing = Late::new(&keys, &pipe, Duration::ZERO);
        let mut command = Network::inside(&network.client, "curl");
        command.args(["-sSk", "-o", "/dev/null", "https://10.99.0.2/short"]).env("SSLKEYLOGFILE", &keys);
        assert!(command.status().unwrap().success());
        until("it is counted", || daemon.transactions() == round);
        passing.end();
        daemon.await_text("its writer has closed it", round);
    }
    daemon.stop();
    assert_eq!(lines(&log).len(), 2);
}

#[test]
fn hostile_key_logs_are_bounded_counted_and_named() {
    let Some((network, _identity)) = network("hostile_key_logs_are_bounded_counted_and_named") else { return };
    let (keys, late) = key_logs(&network);
    // Binary, without an end of line, and longer than picotap may become.
    let hostile = network.file("hostile", "");
    let mut random = Random::new(1);
    let rubbish: Vec<u8> = (0..1 << 20).map(|_| random.below(256) as u8).collect();
    let mut file = File::options().append(true).open(&hostile).unwrap();
    for piece in 0..64 {
        file.write_all(&if piece % 2 == 0 { rubbish.clone() } else { vec![b'x'; 1 << 20] }).unwrap();
    }
    let output = directory();
    let log = output.path().join("http.log");
    let arguments = ["--keylog", hostile.to_str().unwrap(), "--keylog", late.to_str().unwrap()];
    let daemon = Daemon::start(&network, &log, &arguments, &[]);
    daemon.await_text("hostile: line 1 is no secret", 1);
    let ask = |number: usize| {
        let mut command = Network::inside(&network.client, "curl");
        command.args(["-sSk", "-o", "/dev/null", "https://10.99.0.2/short"]).env("SSLKEYLOGFILE", &late);
        assert!(command.status().unwrap().success());
        until("it is counted", || daemon.transactions() == number);
    };
    ask(1);
    // Cut short, and read again from its beginning.
    File::create(&late).unwrap();
    daemon.await_text("late-keys: was cut short", 1);
    ask(2);
    std::fs::rename(&late, &keys).unwrap();
    daemon.await_text("late-keys: was moved or replaced", 1);
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!("64 MiB of rubbish: peak {peak}");
    assert!(peak.trim_end_matches(" kB").parse::<u64>().unwrap() < 300_000, "{peak}");
    let said = daemon.stop();
    assert_eq!(said.matches("is no secret").count(), 1, "{said}");
    // What is no file, and what is not there.
    for (path, reason) in [("/", "a directory"), ("/dev/zero", "a device"), ("/nowhere/keys", "make an empty one")] {
        let mut command = Network::inside(&network.server, env!("CARGO_BIN_EXE_picotap"));
        let outcome = command.args(["-i", "wire1", "--no-metrics", "--keylog", path]).output().unwrap();
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert!(outcome.status.code() == Some(1) && said.contains(reason) && said.contains(path), "{said}");
    }
}
