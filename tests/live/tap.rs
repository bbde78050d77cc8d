//! The library captures what the program captures: requests on loopback, to a server that the test itself is, on a port that
//! nobody else has.

use crate::support;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use picotap::http::Settings;
use picotap::{Stopper, Tap, TapOptions, Transaction};

use support::program::{picotap, run};
use support::tls::Identity;
use support::tool::has;

/// Far more than a tap takes: a test that gets nothing is then stopped, and fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers each request of each connection with its own target, until the test ends. /open gets no answer.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            answer(&connection.unwrap());
        }
    });
    address
}

/// Answers until the client closes. Its requests have no bodies.
fn answer(mut connection: &TcpStream) {
    let mut target = String::new();
    for line in BufReader::new(connection).lines().map_while(Result::ok) {
        if let Some(rest) = line.strip_prefix("GET ") {
            target = rest.split(' ').next().unwrap().to_owned();
        }
        if line.is_empty() && target != "/open" {
            let length = target.len();
            write!(connection, "HTTP/1.1 200 OK\r\nX-Served: yes\r\nContent-Length: {length}\r\n\r\n{target}").unwrap();
        }
    }
}

/// Makes so many requests on one connection, and reads their answers.
fn request(server: SocketAddr, name: &str, count: usize) {
    let mut connection = TcpStream::connect(server).unwrap();
    let mut answers = BufReader::new(connection.try_clone().unwrap());
    for n in 0..count {
        let target = format!("/{name}/{n}");
        write!(connection, "GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(answers.read_line(&mut line).unwrap() > 0, "the server closed");
        }
        let mut body = vec![0; target.len()];
        std::io::Read::read_exact(&mut answers, &mut body).unwrap();
        assert_eq!(body, target.as_bytes());
    }
}

/// A tap that sees only this server.
fn tap(server: SocketAddr) -> TapOptions {
    Tap::options("lo").filter(format!("tcp port {}", server.port()))
}

/// Stops the tap when a test has waited too long.
fn watch(stopper: Stopper) -> JoinHandle<()> {
    thread::spawn(move || {
        thread::park_timeout(PATIENCE);
        stopper.stop();
    })
}

fn target(transaction: &Transaction) -> String {
    String::from_utf8_lossy(transaction.target().unwrap_or_default()).into_owned()
}

#[test]
fn every_request_is_a_transaction_until_the_callback_breaks() {
    if !has(&["root"]) {
        return;
    }
    let server = serve();
    let tap = tap(server).open().unwrap();
    let watch = watch(tap.stopper());
    let client = thread::spawn(move || {
        request(server, "one", 20);
        request(server, "two", 20);
    });
    let mut given = Vec::new();
    let kernel = tap.run(|transaction| {
        assert_eq!((transaction.status, transaction.server.port), (200, server.port()));
        given.push(target(transaction));
        if given.len() == 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let kernel = kernel.unwrap();
    watch.thread().unpark();
    client.join().unwrap();
    let expected = (0..20).map(|n| format!("/one/{n}")).chain((0..10).map(|n| format!("/two/{n}")));
    assert_eq!(given, expected.collect::<Vec<_>>(), "and none after the break");
    assert!(kernel.received >= 60 && kernel.dropped == 0, "{kernel:?}");
}

#[test]
fn another_thread_stops_it_and_gets_all_that_was_captured() {
    if !has(&["root"]) {
        return;
    }
    let server = serve();
    let settings = Settings { headers: vec!["x-served".to_owned()], ..Settings::default() };
    let tap = tap(server).promiscuous(false).settings(settings).open().unwrap();
    let stopper = tap.stopper();
    let client = thread::spawn(move || {
        request(server, "all", 25);
        // A request whose answer never comes: it is given as it is.
        let open = TcpStream::connect(server).unwrap();
        (&open).write_all(b"GET /open HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        stopper.stop();
        open
    });
    let mut given = Vec::new();
    tap.run(|transaction| {
        let kept = transaction.headers(false).any(|(name, value)| (name, value) == (b"x-served", b"yes"));
        assert!(kept || transaction.status == 0, "the header that was asked for");
        given.push(target(transaction));
        ControlFlow::Continue(())
    })
    .unwrap();
    drop(client.join().unwrap());
    let expected = (0..25).map(|n| format!("/all/{n}")).chain(["/open".to_owned()]);
    assert_eq!(given, expected.collect::<Vec<_>>());
}

#[test]
fn the_processes_at_both_ends_are_named() {
    if !has(&["root"]) {
        return;
    }
    let server = serve();
    let tap = tap(server).open().unwrap().processes().unwrap();
    let watch = watch(tap.stopper());
    let (done, over) = std::sync::mpsc::channel::<()>();
    let client = thread::spawn(move || {
        let mut number = 0;
        while over.recv_timeout(Duration::from_millis(50)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            request(server, &number.to_string(), 2);
            number += 1;
        }
    });
    let own = std::process::id();
    let command = std::fs::read_to_string("/proc/self/comm").unwrap();
    let mut named = 0;
    tap.run(|transaction| {
        let processes = [transaction.client_process(), transaction.server_process()];
        for process in processes.into_iter().flatten() {
            assert_eq!((process.pid, &*process.command), (Some(own), command.trim_end().as_bytes()));
        }
        named += usize::from(processes.iter().all(Option::is_some));
        if named == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(named, 5, "of this process's own connections");
    watch.thread().unpark();
    drop(done);
    client.join().unwrap();
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .filter(|name| name.trim_end() == "processes")
            .count()
    };
    let started = Instant::now();
    while threads() > 0 {
        assert!(started.elapsed() < PATIENCE, "the thread ends with the tap");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn on_any_the_interface_of_each_packet_is_named_and_each_request_is_given_once() {
    if !has(&["root"]) {
        return;
    }
    let server = serve();
    let tap = Tap::options("any").filter(format!("tcp port {}", server.port())).open().unwrap();
    let (names, watch) = (tap.interfaces(), watch(tap.stopper()));
    let client = thread::spawn(move || request(server, "any", 20));
    let mut given = Vec::new();
    tap.run(|transaction| {
        given.push((names.get(transaction.interface).map(str::to_owned), target(transaction)));
        if given.len() == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    watch.thread().unpark();
    client.join().unwrap();
    let expected = (0..20).map(|n| (Some("lo".to_owned()), format!("/any/{n}")));
    assert_eq!(given, expected.collect::<Vec<_>>());
}

#[test]
fn a_tap_that_was_stopped_before_it_runs_ends() {
    if !has(&["root"]) {
        return;
    }
    let tap = tap(serve()).open().unwrap();
    tap.stopper().stop();
    let kernel = tap.run(|transaction| panic!("{}", target(transaction))).unwrap();
    assert_eq!(kernel.handed, 0);
}

/// A server that answers every request over TLS; it ends with the test.
struct Secure(Child);

impl Secure {
    fn new(identity: &Identity) -> (Self, SocketAddr) {
        let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-accept", &address.to_string()]);
        command.arg("-cert").arg(identity.path("certificate.pem")).arg("-key").arg(identity.path("key.pem"));
        let server = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < PATIENCE, "the server listens");
            thread::sleep(Duration::from_millis(10));
        }
        (server, address)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn what_is_inside_tls_is_given_with_a_key_log_that_grows() {
    if !has(&["root", "openssl", "curl"]) {
        return;
    }
    let identity = Identity::new("ec");
    let (_server, address) = Secure::new(&identity);
    // One has the secrets of an earlier connection, the other is empty.
    let (old, keys) = (identity.path("old"), identity.path("keys"));
    let ask = move |name: &str, log: Option<&std::path::Path>| {
        let mut command = Command::new("curl");
        command.args(["-sSk", "-o", "/dev/null", &format!("https://{address}/{name}")]);
        // Whatever the tester's own browser writes stays out of it.
        command.env_remove("SSLKEYLOGFILE");
        command.envs(log.map(|log| ("SSLKEYLOGFILE", log)));
        assert!(command.status().unwrap().success(), "{name}");
    };
    ask("before", Some(&old));
    std::fs::write(&keys, "").unwrap();
    let tap = tap(address).open().unwrap().key_log(&old).unwrap().key_log(&keys).unwrap();
    let (stopper, watch) = (tap.stopper(), watch(tap.stopper()));
    let client = thread::spawn(move || {
        ask("dark", None);
        for number in 0..10 {
            ask(&number.to_string(), Some(&keys));
        }
        stopper.stop();
    });
    let mut given = Vec::new();
    tap.run(|transaction| {
        let secured = transaction.secured.as_ref().expect("all of it is TLS");
        assert_eq!((transaction.status, secured.version), (200, Some("TLSv1.3")));
        given.push(target(transaction));
        ControlFlow::Continue(())
    })
    .unwrap();
    watch.thread().unpark();
    client.join().unwrap();
    assert_eq!(given, (0..10).map(|number| format!("/{number}")).collect::<Vec<_>>());
    let missing = Tap::options("lo").open().unwrap().key_log("/nowhere/keys").expect_err("there is no such file");
    assert!(missing.to_string().starts_with("/nowhere/keys: cannot be read: there is no such file"), "{missing}");
}

#[test]
fn what_cannot_be_opened_is_said_as_the_program_says_it() {
    let said = |arguments: &[&str]| run(picotap().arg("-q").args(arguments)).stderr;
    let error = Tap::live("nosuch0").expect_err("there is no such interface").to_string();
    assert_eq!(said(&["-i", "nosuch0"]), format!("picotap: {error}\n"));
    if has(&["root"]) {
        let error = Tap::options("lo").filter("tcp prot 80").open().expect_err("that is no filter").to_string();
        // The program says so before it opens anything.
        let said = said(&["-i", "lo", "tcp prot 80"]);
        let reason = error.strip_prefix("lo: ").expect("the interface");
        assert!(said.starts_with(&format!("picotap: capture {reason}")), "{said}\n{error}");
    }
}
