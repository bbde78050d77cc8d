//! Connections between OpenSSL's `s_client` and `s_server`, recorded by a relay between them, with the client's key log: what
//! picotap reads is what was said. Every suite that OpenSSL has, and what rustls does not do: CBC, CCM, renegotiation, padding,
//! resumption by session.

use crate::support;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use picotap::stream::{Position, Side};
use picotap::tls::keylog::KeyLog;
use picotap::tls::keys::KeyStore;
use picotap::tls::suites::Suite;
use picotap::tls::{Dark, Early};
use support::tls::{Identity, Reading, Segment, Told, read};

const DEADLINE: Duration = Duration::from_secs(20);

/// A server that sends every line back reversed.
struct Server {
    child: Child,
    port: u16,
    rsa: Identity,
    _ec: Identity,
}

impl Server {
    fn new(arguments: &[&str]) -> Self {
        let (rsa, ec) = (Identity::new("rsa:2048"), Identity::new("ec"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
        for (identity, certificate, key) in [(&rsa, "-cert", "-key"), (&ec, "-dcert", "-dkey")] {
            command.arg(certificate).arg(identity.path("certificate.pem")).arg(key).arg(identity.path("key.pem"));
        }
        command.args(["-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "-psk", "0123456789abcdef"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < DEADLINE, "openssl s_server listens");
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, port, rsa, _ec: ec }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What passed through the relay.
type Passed = Arc<Mutex<Vec<(Side, Vec<u8>)>>>;

/// Passes one connection on to a port. The thread ends with the connection.
fn relay(port: u16) -> (u16, Passed, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let passed = Passed::default();
    let all = Arc::clone(&passed);
    let handle = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let pass = |side: Side, mut from: TcpStream, mut to: TcpStream| {
            let passed = Arc::clone(&passed);
            thread::spawn(move || {
                let mut buffer = [0; 4000];
                while let Ok(length @ 1..) = from.read(&mut buffer) {
                    // Recorded before it is passed on, so the answer comes after it.
                    passed.lock().unwrap().push((side, buffer[..length].to_vec()));
                    if to.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ends = to.shutdown(Shutdown::Write);
            })
        };
        let there = pass(Side::First, client.try_clone().unwrap(), server.try_clone().unwrap());
        let back = pass(Side::Second, server, client);
        there.join().unwrap();
        back.join().unwrap();
    });
    (own, all, handle)
}

fn segments(passed: &[(Side, Vec<u8>)]) -> (Vec<Segment>, [u64; 2]) {
    let mut sent = [0; 2];
    let segments = passed.iter().zip(0..).map(|((side, bytes), time)| {
        let at = Position { offset: sent[side.index()], peer_acked: sent[side.other().index()], time };
        sent[side.index()] += bytes.len() as u64;
        Segment { side: *side, at, bytes: bytes.clone() }
    });
    let segments = segments.collect();
    (segments, sent)
}

/// A recorded connection.
struct Recorded {
    passed: Vec<(Side, Vec<u8>)>,
    store: KeyStore,
    /// What the client printed.
    printed: String,
}

impl Recorded {
    fn read(&self) -> Reading {
        let (segments, lengths) = segments(&self.passed);
        read(&segments, &self.store, lengths)
    }
}

/// Waits until the client has printed this so many times.
fn wait_for(printed: &Arc<Mutex<String>>, what: &str, times: usize) {
    let start = Instant::now();
    loop {
        let text = printed.lock().unwrap().clone();
        if text.matches(what).count() >= times {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "no {what:?} in: {text}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client says these lines, waiting for the answer to each. Those of one capital letter are commands to `s_client`.
fn talk(server: &Server, arguments: &[&str], lines: &[String]) -> Recorded {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("keys");
    let (port, passed, relay) = relay(server.port);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "picotap.test"]);
    command.arg("-keylogfile").arg(&log).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let printed = Arc::new(Mutex::new(String::new()));
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    let readers = streams.map(|mut stream| {
        let copy = Arc::clone(&printed);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        })
    });
    let mut input: ChildStdin = child.stdin.take().unwrap();
    for (at, line) in lines.iter().enumerate() {
        let commands = lines[..=at].iter().filter(|line| line.len() == 1).count();
        // A client that could not connect has ended.
        // In one piece, or a command is not taken for one.
        if input.write_all(format!("{line}\n").as_bytes()).is_err() {
            break;
        }
        match line.as_str() {
            "K" | "k" => wait_for(&printed, "KEYUPDATE", commands),
            "R" => wait_for(&printed, "RENEGOTIATING", commands),
            "Q" => {}
            // What the client says of itself may come between.
            line => wait_for(&printed, &reversed(line.get(..8).unwrap()), 1),
        }
    }
    child.wait().unwrap();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    relay.join().unwrap();
    let (mut key_log, mut store) = (KeyLog::new(), KeyStore::default());
    key_log.read(&std::fs::read(&log).unwrap_or_default(), &mut store);
    let passed = passed.lock().unwrap().clone();
    let printed = printed.lock().unwrap().clone();
    Recorded { passed, store, printed }
}

fn reversed(line: &str) -> String {
    line.chars().rev().collect()
}

/// Lines of several lengths, and the commands that are put between them.
fn lines(commands: &[&str]) -> Vec<String> {
    let mut lines = vec!["a first line, which is short".to_owned()];
    for (number, command) in commands.iter().enumerate() {
        lines.push((*command).to_owned());
        lines.push(format!("line {number} {}", "abcdefghij".repeat(1 + 37 * number)));
    }
    lines.push("z".repeat(3000) + "!");
    lines.push("Q".to_owned());
    lines
}

/// What both sides say in text.
fn said(lines: &[String]) -> [Vec<u8>; 2] {
    let text = || lines.iter().filter(|line| line.len() > 1);
    let all = |lines: Vec<String>| lines.into_iter().flat_map(|line| (line + "\n").into_bytes()).collect();
    [all(text().cloned().collect()), all(text().map(|line| reversed(line)).collect())]
}

fn check(reading: &Reading, lines: &[String], what: &str) {
    for side in [Side::First, Side::Second] {
        assert_eq!(reading.connection.dark(side), None, "{what}");
        let (read, wanted) = (reading.plaintext(side), said(lines)[side.index()].clone());
        assert!(read == wanted, "{what}: {:?}", String::from_utf8_lossy(&read));
    }
    assert!(reading.told.iter().any(|told| matches!(told, Told::Closed(Side::First, _))), "{what}: close_notify");
    assert_eq!(reading.counters.dark.iter().sum::<u64>(), 0, "{what}");
}

/// The suites that OpenSSL has: number, OpenSSL's name, IANA's name.
fn suites() -> Vec<(u16, String, String)> {
    let listed = Command::new("openssl")
        .args(["ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (high, low) = words.first()?.split_once(',')?;
        let byte = |text: &str| u16::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        Some((byte(high)? << 8 | byte(low)?, (*words.get(4)?).to_owned(), (*words.get(2)?).to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_suite_of_tls_1_2() {
    let server = Server::new(&["-rev"]);
    let lines = lines(&[]);
    let (mut read, mut named) = (0, 0);
    for (number, name, standard) in suites() {
        // Keys of DSS and SRP are not made here.
        if standard.contains("SRP") || standard.contains("DSS") || number >> 8 == 0x13 {
            continue;
        }
        let cipher = format!("{name}:@SECLEVEL=0");
        let mut arguments = vec!["-tls1_2", "-cipher", &cipher];
        if standard.contains("PSK") {
            arguments.extend(["-psk", "0123456789abcdef"]);
        }
        let orders: &[&[&str]] = if standard.contains("_CBC_") { &[&[], &["-no_etm"]] } else { &[&[]] };
        for order in orders {
            let recorded = talk(&server, &[&arguments, *order].concat(), &lines);
            let reading = recorded.read();
            let info = reading.connection.info();
            assert_eq!(info.suite_name(), Some(&*standard), "{}", recorded.printed);
            assert_eq!((info.version_name(), info.resumed), (Some("TLSv1.2"), Some(false)), "{standard}");
            if Suite::of(number).is_some() {
                check(&reading, &lines, &format!("{standard} {order:?}"));
                read += 1;
            } else {
                assert_eq!(reading.connection.dark(Side::First), Some(Dark::UnsupportedSuite), "{standard}");
                assert!(reading.told.is_empty());
                named += 1;
            }
        }
    }
    println!("{read} read, {named} named");
    assert!(read > 90 && named > 20, "{read} read, {named} named");
}

const ALL_13: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:\
                      TLS_AES_128_CCM_8_SHA256";

#[test]
fn every_suite_of_tls_1_3_with_padding_and_key_updates() {
    let server = Server::new(&["-rev", "-ciphersuites", ALL_13, "-record_padding", "300"]);
    for (number, suite) in ALL_13.split(':').enumerate() {
        // OpenSSL takes a second for each.
        let lines = lines(if number < 2 { &["K", "k"] } else { &[] });
        let recorded = talk(&server, &["-tls1_3", "-ciphersuites", suite, "-record_padding", "512"], &lines);
        let reading = recorded.read();
        assert_eq!(reading.connection.info().suite_name(), Some(suite));
        check(&reading, &lines, suite);
        assert!(reading.counters.overhead > 1000, "padding is not plaintext: {:?}", reading.counters);
    }
}

#[test]
fn a_retry_does_not_matter() {
    let server = Server::new(&["-rev", "-groups", "P-521"]);
    let lines = lines(&["k"]);
    let recorded = talk(&server, &["-tls1_3", "-groups", "X25519:P-521"], &lines);
    // The beginning of the random that says so.
    let retry = [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11];
    assert!(recorded.passed.iter().any(|(_, bytes)| bytes.windows(8).any(|window| window == retry)));
    check(&recorded.read(), &lines, "HelloRetryRequest");
}

#[test]
fn a_renegotiation_changes_keys() {
    let server = Server::new(&["-rev", "-client_renegotiation"]);
    let lines = lines(&["R", "R"]);
    for cipher in ["ECDHE-RSA-AES128-GCM-SHA256", "AES256-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"] {
        let recorded = talk(&server, &["-tls1_2", "-cipher", cipher], &lines);
        check(&recorded.read(), &lines, cipher);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn sessions_are_resumed_by_ticket_by_number_and_by_key() {
    let ways: [(&str, &[&str]); 3] =
        [("-tls1_2", &["-rev"]), ("-tls1_2", &["-rev", "-no_ticket"]), ("-tls1_3", &["-rev"])];
    for (version, arguments) in ways {
        let server = Server::new(arguments);
        let session = server.rsa.path("session");
        let lines = lines(&[]);
        let first = talk(&server, &[version, "-sess_out", text(&session)], &lines);
        check(&first.read(), &lines, version);
        let second = talk(&server, &[version, "-sess_in", text(&session)], &lines);
        assert!(second.printed.contains("Reused, TLS"), "{version} {arguments:?}: {}", second.printed);
        let reading = second.read();
        check(&reading, &lines, version);
        assert_eq!(reading.connection.info().resumed, Some(true), "{version} {arguments:?}");
    }
}

#[test]
fn early_data_is_read() {
    let server = Server::new(&["-early_data", "-max_early_data", "16384"]);
    let session = server.rsa.path("session");
    // This server sends nothing back.
    let quit = ["Q".to_owned()];
    let wait = talk_until_ticket(&server, &["-tls1_3", "-sess_out", text(&session)]);
    assert!(wait.store.counters().stored > 3);
    let early = server.rsa.path("early");
    std::fs::write(&early, "GET / HTTP/1.1\r\n\r\n").unwrap();
    let recorded = talk(&server, &["-tls1_3", "-sess_in", text(&session), "-early_data", text(&early)], &quit);
    assert!(recorded.printed.contains("Early data was accepted"), "{}", recorded.printed);
    let reading = recorded.read();
    let info = reading.connection.info();
    assert_eq!((info.early_data, info.resumed), (Early::Accepted, Some(true)));
    assert_eq!(reading.plaintext(Side::First), b"GET / HTTP/1.1\r\n\r\n");
}

/// Connects until the client has written the session with the server's ticket.
fn talk_until_ticket(server: &Server, arguments: &[&str]) -> Recorded {
    let start = Instant::now();
    loop {
        let recorded = talk(server, arguments, &["Q".to_owned()]);
        if server.rsa.path("session").exists() {
            return recorded;
        }
        assert!(start.elapsed() < DEADLINE, "{}", recorded.printed);
    }
}

#[test]
fn what_is_too_old_is_named_and_what_fails_says_why() {
    let server = Server::new(&["-rev"]);
    let recorded = talk(&server, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], &lines(&[]));
    let reading = recorded.read();
    assert_eq!(reading.connection.info().version_name(), Some("TLSv1.1"));
    assert_eq!(reading.connection.dark(Side::Second), Some(Dark::UnsupportedVersion));
    assert!(reading.told.is_empty());
    // The server has no such group.
    let server = Server::new(&["-rev", "-groups", "P-521"]);
    let recorded = talk(&server, &["-tls1_3", "-groups", "X25519"], &["Q".to_owned()]);
    assert_eq!(recorded.read().connection.info().alert, Some(40), "{}", recorded.printed);
}
