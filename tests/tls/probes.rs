//! Secrets by probes: nginx, curl, Python and Node as they are, with no key log, and every request has its line.

use crate::support;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::daemon::{Daemon, directory, lines};
use support::network::{Network, until};
use support::program::scratch;
use support::tls::Identity;
use support::tool::{has, note, skip};

/// Whether the kernel has what probes need. If it has, they must work.
pub(super) fn kernel(test: &str) -> bool {
    let needs = ["/proc/sys/kernel/unprivileged_bpf_disabled", "/sys/bus/event_source/devices/uprobe/type"];
    let missing: Vec<_> = needs.iter().filter(|file| !Path::new(file).exists()).collect();
    if !missing.is_empty() {
        note(test, &format!("the kernel has no BPF or no uprobes: {missing:?}"));
    }
    missing.is_empty()
}

/// A network in which nginx speaks TLS too.
pub(super) fn network(test: &str) -> Option<(Network, Identity)> {
    if !has(&["root"]) || !kernel(test) {
        return None;
    }
    let identity = Identity::new("ec");
    let name = |file: &str| identity.path(file).to_str().unwrap().to_owned();
    let server = format!(
        "server {{ listen 443 ssl; listen 444 ssl http2; ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; root PLACE/site;
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

pub(super) fn row(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    assert!(value["tls"]["version"].is_string(), "{line}");
    let text = |key: &str| match &value[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    ["client", "client_port", "seq", "method", "target", "status", "response_body_bytes"].map(text).join(" ")
}

/// Starts a server in its namespace, with the certificate and the key as its last arguments, and waits until it answers.
fn serve(network: &Network, identity: &Identity, program: &Path, arguments: &[&str], port: u16) -> Served {
    let mut command = Network::inside(&network.server, program);
    command.args(arguments).args([identity.path("certificate.pem"), identity.path("key.pem")]);
    let served = Served(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until("the server answers", || network.curl(&["-k", &format!("https://10.99.0.2:{port}/")]));
    served
}

/// A process that is ended at the end.
pub(super) struct Served(pub(super) Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Asks for so many targets, on a connection for each four of them, in all versions. Gives the targets, in order.
fn ask(network: &Network, port: u16, text: &str, count: usize, environment: &[(&str, &str)]) -> Vec<String> {
    let mut targets = Vec::new();
    for connection in 0..count / 4 {
        let mut command = Network::inside(&network.client, "curl");
        command.args(["-sSk", "-m", "20", "--no-keepalive"]).envs(environment.iter().copied());
        command.args(if connection % 2 == 0 {
            ["--tlsv1.3", "--tls-max", "1.3"]
        } else {
            ["--tlsv1.2", "--tls-max", "1.2"]
        });
        command.arg(if connection % 4 < 2 { "--http1.1" } else { "--http2" });
        for number in 0..4 {
            let target = format!("/short?{text}={connection}.{number}");
            command.args(["-o", "/dev/null"]).arg(format!("https://10.99.0.2:{port}{target}"));
            targets.push(target);
        }
        assert!(command.status().unwrap().success());
    }
    targets.sort();
    targets
}

/// Each target has one line with this text in its query, decrypted, with a status of 200.
fn compare_targets(daemon: Daemon<'_>, log: &Path, wanted: &[String]) -> String {
    let started = Instant::now();
    while daemon.transactions() < wanted.len() && started.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(200));
    let said = daemon.stop();
    let mut lines: Vec<Value> = lines(log).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Whether the server answers was asked while picotap ran.
    lines.retain(|line| line["target"] != "/");
    assert!(lines.iter().all(|line| line["tls"]["version"].is_string() && line["status"] == 200), "{lines:?}");
    let mut found: Vec<_> = lines.iter().map(|line| line["target"].as_str().unwrap().to_owned()).collect();
    found.sort();
    assert_eq!(found, wanted, "{said}");
    said
}

/// Every row of nginx has its line.
fn compare(network: &Network, daemon: Daemon<'_>, log: &Path) -> String {
    compare_rows(network.logged(), daemon, log)
}

/// The same of any rows.
pub(super) fn compare_rows(mut wanted: Vec<String>, daemon: Daemon<'_>, log: &Path) -> String {
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

#[test]
fn requests_over_http2_have_their_lines() {
    let Some((network, _identity)) = network("requests_over_http2_have_their_lines") else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto"], &[]);
    let wanted = ask(&network, 444, "h2", 64, &[]);
    compare_targets(daemon, &log, &wanted);
    let lines = fs::read_to_string(&log).unwrap();
    assert_eq!(lines.matches("\"h2\"").count(), 32, "{lines}");
}

/// HTTP/1 and HTTP/2 by Node, which has an OpenSSL of its own inside.
const NODE: &str = "
const [port, certificate, key] = process.argv.slice(2);
const read = require('fs').readFileSync;
const answer = (request, response) => response.end(request.url);
require('http2').createSecureServer({ cert: read(certificate), key: read(key), allowHTTP1: true }, answer).listen(port);
";

#[test]
fn node_and_what_it_serves() {
    if !has(&["node"]) {
        return;
    }
    let Some((network, identity)) = network("node_and_what_it_serves") else { return };
    let script = network.file("server.js", NODE);
    let node = serve(&network, &identity, Path::new("node"), &[script.to_str().unwrap(), "8443"], 8443);
    let output = directory();
    let log = output.path().join("http.log");
    // What the client runs is not probed.
    let daemon = Daemon::start(&network, &log, &["--tls-probes", &format!("pid:{}", node.0.id())], &[]);
    let wanted = ask(&network, 8443, "node", 64, &[]);
    compare_targets(daemon, &log, &wanted);
}

/// The same by Go's `net/http`.
const GO: &str = r#"
package main

import ("crypto/tls"; "io"; "net/http"; "os")

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	server := &http.Server{Addr: os.Args[1], TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	panic(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}
"#;

/// A program below the directory of test tools.
fn tool(test: &str, inside: &str) -> Option<PathBuf> {
    let packages = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/lib")).into_iter().flatten();
    let found =
        packages.map(|entry| entry.unwrap().path().join("site-packages").join(inside)).find(|path| path.exists());
    if found.is_none() {
        skip(test, &format!("needs {inside} in target/tools, which deploy/setup.sh --test installs"));
    }
    found
}

#[test]
fn go_with_symbols_and_without() {
    const TEST: &str = "go_with_symbols_and_without";
    let Some(go) = tool(TEST, "go/bin/go") else { return };
    let Some((network, identity)) = network(TEST) else { return };
    // What Go has compiled of its own library stays for the next time.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let source = network.file("server.go", GO);
    for (flags, mode) in [("", "exe"), ("-s -w", "exe"), ("-s -w", "pie")] {
        let program = network.directory().join(format!("server{}{mode}", flags.len()));
        let mut build = Command::new(&go);
        build.args(["build", "-ldflags", flags, "-buildmode", mode, "-o"]).args([&program, &source]);
        build.env("GOCACHE", &cache).env("GOPATH", &cache).env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
        assert!(build.status().unwrap().success());
        let _server = serve(&network, &identity, &program, &[":8443"], 8443);
        let output = directory();
        let log = output.path().join("http.log");
        let daemon = Daemon::start(&network, &log, &["--tls-probes", program.to_str().unwrap()], &[]);
        let wanted = ask(&network, 8443, "go", 32, &[]);
        compare_targets(daemon, &log, &wanted);
    }
}

/// curl with the OpenSSL that another package brings.
#[test]
fn a_newer_openssl_in_a_library_of_another_name() {
    const TEST: &str = "a_newer_openssl_in_a_library_of_another_name";
    let Some(libraries) = tool(TEST, "psycopg2_binary.libs") else { return };
    let Some((network, _identity)) = network(TEST) else { return };
    let directory_of_links = scratch("newer-openssl");
    fs::remove_dir_all(&directory_of_links).ok();
    fs::create_dir_all(&directory_of_links).unwrap();
    let mut crypto = None;
    for entry in fs::read_dir(libraries).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        symlink(&path, directory_of_links.join(&name)).unwrap();
        for library in ["libcrypto", "libssl"] {
            if name.starts_with(&format!("{library}-")) {
                symlink(&path, directory_of_links.join(format!("{library}.so.3"))).unwrap();
                crypto = crypto.or((library == "libcrypto").then(|| path.clone()));
            }
        }
    }
    let environment = [("LD_LIBRARY_PATH", directory_of_links.to_str().unwrap())];
    let version = Command::new("openssl").arg("version").envs(environment).output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert!(version.contains("Library: OpenSSL 3.5"), "{version}");
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", crypto.unwrap().to_str().unwrap()], &[]);
    let wanted = ask(&network, 444, "newer", 64, &environment);
    compare_targets(daemon, &log, &wanted);
}

#[test]
fn what_is_saved_opens_the_same_capture_for_wireshark() {
    const TEST: &str = "what_is_saved_opens_the_same_capture_for_wireshark";
    if !has(&["tshark", "tcpdump"]) {
        return;
    }
    let Some((network, _identity)) = network(TEST) else { return };
    let output = directory();
    let (log, keys) = (output.path().join("http.log"), output.path().join("keys.txt"));
    let capture = network.directory().join("capture.pcap");
    let mut tcpdump = Network::inside(&network.server, "tcpdump");
    tcpdump.args(["-i", "wire1", "-U", "-s", "0", "-Z", "root", "-w"]).arg(&capture).stderr(Stdio::null());
    let tcpdump = Served(tcpdump.spawn().unwrap());
    until("tcpdump writes", || capture.exists());
    let arguments = ["--tls-probes", "auto", "--save-keylog", keys.to_str().unwrap()];
    let daemon = Daemon::start(&network, &log, &arguments, &[]);
    let wanted = ask(&network, 443, "saved", 32, &[]);
    // Another connection that is not captured, whose secrets are in no file.
    let inside = Network::inside(&network.server, "curl").args(["-sSk", "https://10.99.0.2/short"]).output().unwrap();
    assert!(inside.status.success());
    compare_targets(daemon, &log, &wanted);
    sleep(Duration::from_millis(200));
    drop(tcpdump);
    let metadata = fs::metadata(&keys).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o600, 0));
    let text = fs::read_to_string(&keys).unwrap();
    // Eight connections: four of TLS 1.3 with four secrets, four of TLS 1.2 with one.
    let count = |label: &str| text.lines().filter(|line| line.starts_with(label)).count();
    assert_eq!(
        (text.lines().count(), count("CLIENT_RANDOM "), count("CLIENT_TRAFFIC_SECRET_0 ")),
        (20, 4, 4),
        "{text}"
    );
    let option = format!("tls.keylog_file:{}", keys.display());
    let arguments = ["-o", &option, "-Y", "http.request", "-T", "fields", "-e", "http.request.uri", "-r"];
    let read = Command::new("tshark").args(arguments).arg(&capture).output().unwrap();
    let mut found: Vec<_> = String::from_utf8(read.stdout).unwrap().lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, wanted);
    // What others may read is not taken.
    let mode = Command::new("chmod").arg("644").arg(&keys).status().unwrap();
    assert!(mode.success());
    let picotap =
        Command::new(env!("CARGO_BIN_EXE_picotap")).args(["-i", "lo"]).args(arguments_of(&keys)).output().unwrap();
    let text = String::from_utf8(picotap.stderr).unwrap();
    assert!(picotap.status.code() == Some(1) && text.contains("has mode 644: needed a new name"), "{text}");
}

fn arguments_of(keys: &Path) -> [&str; 4] {
    ["--tls-probes", "auto", "--save-keylog", keys.to_str().unwrap()]
}

/// So many handshakes and nothing else.
const HANDSHAKES: &str = "
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
for number in range(int(sys.argv[1])):
    context.wrap_socket(socket.create_connection(('10.99.0.2', 443), 20)).close()
";

#[test]
fn calls_for_which_the_ring_has_no_room_are_counted() {
    let Some((network, _identity)) = network("calls_for_which_the_ring_has_no_room_are_counted") else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto"], &[]);
    // Not on the wire that is captured: it is for the ring alone.
    let script = network.file("handshakes.py", HANDSHAKES);
    daemon.signal(Signal::SIGSTOP);
    // Some eight calls for each; the ring has room for 8,192.
    let mut python = Network::inside(&network.server, "python3").arg(&script).arg("1500").spawn().unwrap();
    assert!(python.wait().unwrap().success());
    daemon.signal(Signal::SIGCONT);
    // What was lost on a processor is told with the next call on it.
    let name = "picotap_tls_probe_calls_total{result=\"lost\"}";
    let cores = std::thread::available_parallelism().unwrap().get();
    for core in 0..cores {
        let mut command = Network::inside(&network.server, "taskset");
        assert!(command.args(["-c", &core.to_string(), "python3"]).arg(&script).arg("1").status().unwrap().success());
    }
    until("what was lost is counted", || daemon.sum(name) > 0.0);
    // What comes then is read.
    let wanted = ask(&network, 443, "later", 16, &[]);
    println!("{}", compare_targets(daemon, &log, &wanted));
}

#[test]
fn what_cannot_be_read_is_named_once() {
    const TEST: &str = "what_cannot_be_read_is_named_once";
    if !has(&["root", "python3"]) || !kernel(TEST) {
        return;
    }
    let check = |also: &str| {
        let text =
            format!("import ctypes, time; ctypes.CDLL('libgnutls.so.30'); {also}print(flush=True); time.sleep(30)");
        let mut python = Command::new("python3").args(["-c", &text]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        std::io::Read::read_exact(python.stdout.as_mut().unwrap(), &mut line).unwrap();
        let python = Served(python);
        let mut picotap = Command::new(env!("CARGO_BIN_EXE_picotap"));
        picotap.args(["probes", "check", &format!("pid:{}", python.0.id())]);
        String::from_utf8(picotap.output().unwrap().stdout).unwrap()
    };
    let said = check("");
    assert!(said.contains("dark     GnuTLS: 1 processes, such as with /"), "{said}");
    let said = check("import ssl; ");
    assert!(said.contains("OpenSSL 3, 1 processes\n") && !said.contains("dark "), "{said}");
}

#[test]
fn without_rights_it_says_so_and_goes_on() {
    const TEST: &str = "without_rights_it_says_so_and_goes_on";
    if !has(&["root", "setpriv"]) || !kernel(TEST) {
        return;
    }
    let picotap = |arguments: &[&str]| {
        let mut command = Command::new("timeout");
        command.args([
            "--preserve-status",
            "-s",
            "TERM",
            "6",
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--inh-caps",
            "+net_raw",
        ]);
        command.args(["--ambient-caps", "+net_raw", "--bounding-set", "-all,+net_raw", env!("CARGO_BIN_EXE_picotap")]);
        command.args(arguments).output().unwrap()
    };
    let said = picotap(&["probes", "check"]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(
        text.contains(": the kernel takes no probes: ") && text.contains("needed root, or CAP_SYS_PTRACE"),
        "{text}"
    );
    let named = format!("pid:{}", std::process::id());
    let said = picotap(&["-i", "lo", "--tls-probes", &named]);
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.code() == Some(1) && text.contains("--tls-probes: "), "{text}");
    let output = tempfile::tempdir().unwrap();
    fs::set_permissions(output.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let log = output.path().join("log");
    let said = picotap(&["-i", "lo", "--tls-probes", "auto", "-o", log.to_str().unwrap()]);
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.success() && text.contains("TLS is read with the secrets of key logs alone"), "{text}");
}

/// Answers with what it was asked for.
const PYTHON_SERVER: &str = r#"
import http.server, ssl, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// Copies the OpenSSL of this machine: files that nobody runs so far.
fn copy_openssl(to: &Path) {
    fs::create_dir_all(to).unwrap();
    let curl = Command::new("sh").args(["-c", "ldd $(command -v curl)"]).output().unwrap();
    let listed = String::from_utf8(curl.stdout).unwrap();
    for library in ["libcrypto.so.3", "libssl.so.3"] {
        let line = listed.lines().find(|line| line.trim().starts_with(library)).unwrap();
        let path = line.split_whitespace().nth(2).unwrap();
        // Made aside and renamed, as packages do.
        let new = to.join(format!("{library}.new"));
        fs::copy(path, &new).unwrap();
        fs::rename(new, to.join(library)).unwrap();
    }
}

/// A server that runs the libraries in a directory.
fn serve_with(network: &Network, identity: &Identity, port: u16, libraries: &Path) -> Served {
    let script = network.file("server.py", PYTHON_SERVER);
    let library = format!("LD_LIBRARY_PATH={}", libraries.display());
    let port_text = port.to_string();
    serve(network, identity, Path::new("env"), &[&library, "python3", script.to_str().unwrap(), &port_text], port)
}

fn detached(daemon: &Daemon<'_>) -> f64 {
    daemon.sum("picotap_tls_probe_files_total{result=\"detached\"}")
}

/// Waits until a file is let go, which takes some twelve seconds.
fn await_detached(daemon: &Daemon<'_>, before: f64) {
    let started = Instant::now();
    while detached(daemon) <= before {
        assert!(started.elapsed() < Duration::from_secs(60), "it is not let go: {}", daemon.said());
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_library_that_appears_later_is_probed_and_its_successor_too() {
    const TEST: &str = "a_library_that_appears_later_is_probed_and_its_successor_too";
    let Some((network, identity)) = network(TEST) else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto"], &[]);
    let libraries = network.directory().join("libraries");
    let environment = [("LD_LIBRARY_PATH", libraries.to_str().unwrap())];
    let mut wanted = Vec::new();
    let mut servers = Vec::new();
    let probed = format!("probes: attached to {}\n", libraries.join("libcrypto.so.3").display());
    for (number, port) in [(1, 8443), (2, 8444)] {
        copy_openssl(&libraries);
        servers.push(serve_with(&network, &identity, port, &libraries));
        daemon.await_text(&probed, number);
        // Both ends run the copy.
        wanted.extend(ask(&network, port, &format!("copy{number}"), 16, &environment));
    }
    // Nobody runs the first copy any more, and it has no name.
    let before = detached(&daemon);
    servers.remove(0);
    await_detached(&daemon, before);
    wanted.extend(ask(&network, 8444, "copy3", 16, &environment));
    wanted.sort();
    // What was asked before the probes were there is in no line, or as the test wants it.
    let said = compare_targets(daemon, &log, &wanted);
    assert_eq!(said.matches(&probed).count(), 2, "{said}");
}

#[test]
fn containers_of_one_image_are_probed_once_and_let_go() {
    const TEST: &str = "containers_of_one_image_are_probed_once_and_let_go";
    let Some((network, identity)) = network(TEST) else { return };
    let place = network.directory();
    let script = network.file("server.py", PYTHON_SERVER);
    copy_openssl(&place.join("image"));
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto"], &[]);
    let mut servers = Vec::new();
    for port in ["8443", "8444"] {
        fs::create_dir_all(place.join(port)).unwrap();
        // The mount is in the namespace of the process alone, on a file system that is not that of the image.
        let text = format!(
            "set -e; mount -t tmpfs none {place}/{port}; cd {place}/{port}; mkdir upper work merged
            mount -t overlay none -o lowerdir={place}/image,upperdir=upper,workdir=work merged
            LD_LIBRARY_PATH=$PWD/merged exec python3 {script} {port} \"$@\"",
            place = place.display(),
            script = script.display()
        );
        let arguments = ["--mount", "--propagation", "private", "sh", "-c", &text, "sh"];
        servers.push(serve(&network, &identity, Path::new("unshare"), &arguments, port.parse().unwrap()));
    }
    let image = || {
        let said = daemon.said();
        let of = |line: &&str| line.contains(place.to_str().unwrap()) && line.ends_with("/merged/libcrypto.so.3");
        said.lines().filter(of).count()
    };
    until("the image's library is probed", || image() > 0);
    sleep(Duration::from_secs(2));
    assert_eq!(image(), 1, "{}", daemon.said());
    // What the client runs is another copy, which is probed if it lives long enough.
    let client = place.join("client");
    copy_openssl(&client);
    let environment = [("LD_LIBRARY_PATH", client.to_str().unwrap())];
    let mut wanted = ask(&network, 8443, "one", 16, &environment);
    wanted.extend(ask(&network, 8444, "other", 16, &environment));
    wanted.sort();
    let before = detached(&daemon);
    servers.clear();
    await_detached(&daemon, before);
    compare_targets(daemon, &log, &wanted);
}

/// A field of a process's status.
fn status(process: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap();
    line.split_once('\t').unwrap().1.trim().to_owned()
}

#[test]
fn each_process_has_the_rights_that_it_needs_and_the_helper_may_die() {
    const TEST: &str = "each_process_has_the_rights_that_it_needs_and_the_helper_may_die";
    let Some((network, _identity)) = network(TEST) else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto"], &[]);
    let helper = daemon.helper();
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(daemon.id(), capabilities), "0000000000000000", "{capabilities}");
    }
    // CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, and what the kernel asks for: CAP_SYS_ADMIN, or CAP_PERFMON, CAP_BPF and CAP_CHECKPOINT_RESTORE.
    let common = 1_u64 << 2 | 1 << 19;
    let kept = u64::from_str_radix(&status(helper, "CapEff"), 16).unwrap();
    assert!(kept == common | 1 << 21 || kept == common | 1 << 38 | 1 << 39 | 1 << 40, "{kept:x}");
    assert_eq!(status(helper, "CapPrm"), status(helper, "CapEff"));
    for capabilities in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(status(helper, capabilities), "0000000000000000", "{capabilities}");
    }
    for process in [daemon.id(), helper] {
        let found = ["Uid", "NoNewPrivs", "Seccomp"].map(|field| status(process, field));
        assert_eq!(found, ["65534\t65534\t65534\t65534", "1", "2"]);
    }
    let mut wanted = ask(&network, 443, "before", 16, &[]);
    until("they are counted", || daemon.transactions() == wanted.len());
    kill(Pid::from_raw(helper as i32), Signal::SIGKILL).unwrap();
    daemon.await_text("the helper process (", 1);
    until("it is counted", || daemon.sum("picotap_helper_ended_total") == 1.0);
    assert_eq!(daemon.sum("picotap_tls_probed_files"), 0.0);
    // What is not encrypted is logged as before, and what is, is not read.
    assert!(network.curl(&["http://10.99.0.2/short?after"]) && network.curl(&["-k", "https://10.99.0.2/short?dark"]));
    until("it is counted too", || daemon.transactions() == wanted.len() + 1);
    let said = daemon.stop();
    assert_eq!(said.matches("the helper process (").count(), 1, "{said}");
    let mut found: Vec<String> = lines(&log)
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["target"].as_str().unwrap().into())
        .collect();
    found.sort();
    wanted.push("/short?after".to_owned());
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn the_helper_ends_with_picotap() {
    let Some((network, _identity)) = network("the_helper_ends_with_picotap") else { return };
    for crash in [false, true] {
        let output = directory();
        let log = output.path().join("http.log");
        let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto"], &[]);
        let helper = daemon.helper();
        if crash {
            daemon.kill();
        } else {
            let said = daemon.stop();
            assert!(!said.contains("the helper process ("), "{said}");
        }
        until("the helper is gone", || !Path::new(&format!("/proc/{helper}")).exists());
    }
}

#[test]
fn ten_thousand_short_processes_leave_nothing_behind() {
    let Some((network, _identity)) = network("ten_thousand_short_processes_leave_nothing_behind") else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto"], &[]);
    let helper = daemon.helper();
    let descriptors = || fs::read_dir(format!("/proc/{helper}/fd")).unwrap().count();
    let memory = || status(helper, "VmRSS").trim_end_matches(" kB").trim().parse::<u64>().unwrap();
    sleep(Duration::from_secs(2));
    let before = (descriptors(), memory());
    let script = "i=0; while [ $i -lt 10000 ]; do /bin/true; i=$((i+1)); done";
    assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
    sleep(Duration::from_secs(2));
    let after = (descriptors(), memory());
    println!("descriptors and kB before {before:?}, after {after:?}");
    // Other tests may run beside it, whose libraries are probed too.
    assert!(after.0 <= before.0 + 20 && after.1 <= before.1 + 32_768, "{before:?} {after:?}");
    let wanted = ask(&network, 443, "after", 16, &[]);
    compare_targets(daemon, &log, &wanted);
}
