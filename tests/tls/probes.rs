//! Secrets by probes: nginx, curl, Python and Node as they are, with no key log, and every request has its line.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and its deadlines are on the wall clock"
)]

use crate::support;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::daemon::{Daemon, directory, lines};
use support::network::Network;
use support::tls::Identity;
use support::tool::{has, note};

/// Whether the kernel has what probes need. If it has, they must work.
fn kernel(test: &str) -> bool {
    let needs = ["/proc/sys/kernel/unprivileged_bpf_disabled", "/sys/bus/event_source/devices/uprobe/type"];
    let missing: Vec<_> = needs.iter().filter(|file| !Path::new(file).exists()).collect();
    if !missing.is_empty() {
        note(test, &format!("the kernel has no BPF or no uprobes: {missing:?}"));
    }
    missing.is_empty()
}

/// A network in which nginx speaks TLS too.
fn network(test: &str) -> Option<(Network, Identity)> {
    if !has(&["root"]) || !kernel(test) {
        return None;
    }
    let identity = Identity::new("ec");
    let name = |file: &str| identity.path(file).to_str().unwrap().to_owned();
    let server = format!(
        "server {{ listen 443 ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; root PLACE/site;
            ssl_session_cache shared:s:1m; ssl_ecdh_curve X25519:P-256;
            location /short {{ return 200 'short'; }} location /long {{ return 200 'LONG'; }} }}",
        name("certificate.pem"),
        name("key.pem")
    );
    Some((Network::new(test)?.serve_also(&server), identity))
}

/// Asks over TLS in several threads and versions, with new and with resumed sessions.
const PYTHON: &str = r#"
import http.client, ssl, sys, threading
def ask(thread):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if thread % 2:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for number in range(10):
        connection = http.client.HTTPSConnection("10.99.0.2", 443, context=context, timeout=20)
        connection.connect()
        if session:
            plain = __import__("socket").create_connection(("10.99.0.2", 443), 20)
            connection.sock.close()
            connection.sock = context.wrap_socket(plain, session=session)
        for request in range(5):
            if request == 3:
                connection.request("POST", f"/short?python={thread}.{number}.{request}", b"x" * 20000)
            else:
                connection.request("GET", f"/long?python={thread}.{number}.{request}")
            connection.getresponse().read()
        session = connection.sock.session
        connection.close()
threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"#;

/// What curl and Python ask.
fn load(network: &Network) {
    let mut curls: Vec<_> = (0..20)
        .map(|number| {
            let mut command = Network::inside(&network.client, "curl");
            command.args(["-sSk", "-m", "20"]);
            command.args(match number % 3 {
                0 => ["--tlsv1.3", "--tls-max", "1.3"],
                1 => ["--tlsv1.2", "--tls-max", "1.2"],
                // The server asks for another hello.
                _ => ["--curves", "P-521:P-256", "--tlsv1.3"],
            });
            for request in 0..5 {
                command.args(["-o", "/dev/null"]).arg(format!("https://10.99.0.2/short?curl={number}.{request}"));
            }
            command.args(["-o", "/dev/null"]).arg("https://10.99.0.2/body.bin");
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let script = network.file("ask.py", PYTHON);
    let mut python = Network::inside(&network.client, "python3").arg(script).spawn().unwrap();
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

/// Every row of nginx has its line.
fn compare(network: &Network, daemon: Daemon<'_>, log: &Path) -> String {
    let mut wanted = network.logged();
    let started = Instant::now();
    while daemon.transactions() < wanted.len() && started.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(20));
    }
    let said = daemon.stop();
    let mut found: Vec<String> = lines(log).iter().map(|line| row(line)).collect();
    wanted.sort();
    found.sort();
    let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).collect();
    let unwanted: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).collect();
    assert!(missing.is_empty() && unwanted.is_empty(), "{missing:#?} {unwanted:#?} {said}");
    assert_eq!(found.len(), wanted.len());
    said
}

#[test]
fn every_request_has_its_line_without_a_key_log() {
    let Some((network, _identity)) = network("every_request_has_its_line_without_a_key_log") else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto", "--workers", "2"], &[]);
    load(&network);
    assert_eq!(network.logged().len(), 20 * 6 + 4 * 10 * 5);
    let said = compare(&network, daemon, &log);
    println!("{said}");
    assert!(said.contains("probes: attached to "), "{said}");
    assert!(!said.contains("tls_too_late") && !said.contains("tls_no_key"), "{said}");
}

#[test]
fn a_process_that_is_named_is_probed_and_one_without_tls_is_refused() {
    if !has(&["root", "node"]) || !kernel("a_process_that_is_named_is_probed_and_one_without_tls_is_refused") {
        return;
    }
    let picotap = || Command::new(env!("CARGO_BIN_EXE_picotap"));
    // Node exports the functions of the OpenSSL in it.
    let mut node = Command::new("node").args(["-e", "setTimeout(() => {}, 30000)"]).spawn().unwrap();
    sleep(Duration::from_millis(300));
    let said = picotap().args(["probes", "check", &format!("pid:{}", node.id())]).output().unwrap();
    node.kill().unwrap();
    node.wait().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success() && text.contains("node: OpenSSL 3, 1 processes\n"), "{text}");
    let said = picotap().args(["-i", "lo", "--tls-probes", &format!("pid:{}", std::process::id())]).output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(!said.status.success() && text.contains("has no TLS that can be probed"), "{text}");
}
