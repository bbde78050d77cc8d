//! Who spoke over TLS: with probes and `--processes`, both ends of every request are the processes that were started for it.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::probes::{Served, network};
use crate::support::daemon::{Daemon, children, command, directory, line_about};
use crate::support::network::{Network, until};

/// Whether nginx is said to have answered, and if a number is said, that of a worker.
fn assert_nginx(line: &Value) {
    let server = &line["server_process"];
    assert_eq!(server["command"], "nginx", "{line}");
    if let Some(id) = server["pid"].as_u64() {
        let id = u32::try_from(id).unwrap();
        assert!(command(id) == "nginx" && children(id).is_empty(), "the worker, not the master: {line}");
    }
}

#[test]
fn over_tls_both_ends_are_named() {
    const TEST: &str = "over_tls_both_ends_are_named";
    let Some((network, _identity)) = network(TEST) else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let arguments = ["--tls-probes", "auto", "--processes", "--metrics-processes", "2"];
    let daemon = Daemon::start(&network, &log, &arguments, &[]);
    daemon.await_text("helper process running as", 1);
    until("who listens is known", || daemon.sum("picotap_process_listeners") > 0.0);
    let knows_connects = !daemon.said().contains("the kernel does not tell who connects");
    // Short ones, in both versions: each curl is gone when its line is written.
    for (number, version) in (0..20).zip(["1.2", "1.3"].into_iter().cycle()) {
        let target = format!("/short?curl{number}");
        let mut curl = Network::inside(&network.client, "curl");
        curl.args(["-sSk", "-m", "20", "--tls-max", version, "-o", "/dev/null", &format!("https://10.99.0.2{target}")]);
        let mut curl = curl.spawn().unwrap();
        let id = curl.id();
        assert!(curl.wait().unwrap().success());
        let line = line_about(&log, &target);
        assert_nginx(&line);
        if knows_connects {
            let client = &line["client_process"];
            assert_eq!((&client["command"], &client["pid"]), (&"curl".into(), &id.into()), "{line}");
        }
        if number >= 10 {
            // It was named by then: it derives the secrets of each connection.
            assert!(line["server_process"]["pid"].is_u64(), "{line}");
        }
        assert_eq!(line["tls"]["version"], format!("TLSv{version}"), "{line}");
    }
    let of_nginx = |series: &String| series.contains("server_process=\"nginx\"") && series.contains("_count{");
    assert!(daemon.metrics().keys().any(of_nginx));
    daemon.stop();
}

/// A client that asks and resumes over TLS, each time that it is told to.
const CLIENT: &str = r#"
import http.client, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if sys.argv[1] == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
session = None
for number in range(6):
    plain = __import__("socket").create_connection(("10.99.0.2", 443), 20)
    secured = context.wrap_socket(plain, session=session)
    connection = http.client.HTTPConnection("10.99.0.2")
    connection.sock = secured
    for request in range(3):
        connection.request("GET", f"/short?{sys.argv[1]}.{number}.{request}")
        connection.getresponse().read()
        __import__("time").sleep(0.05)
    session = secured.session
    print(secured.session_reused, flush=True)
    connection.close()
"#;

#[test]
fn clients_that_resume_are_not_taken_for_the_server() {
    const TEST: &str = "clients_that_resume_are_not_taken_for_the_server";
    let Some((network, _identity)) = network(TEST) else { return };
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto", "--processes"], &[]);
    until("who listens is known", || daemon.sum("picotap_process_listeners") > 0.0);
    let script = network.file("client.py", CLIENT);
    for version in ["1.2", "1.3"] {
        let mut python = Network::inside(&network.client, "/usr/bin/python3");
        let python = python.arg(&script).arg(version).stdout(Stdio::piped()).spawn().unwrap();
        let id = python.id();
        let name = command_when_it_runs(id);
        let said = python.wait_with_output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!((said.lines().count(), said.lines().next()), (6, Some("False")), "{said}");
        assert!(said.matches("True").count() >= 4, "sessions are resumed: {said}");
        for (number, request) in (0..6).flat_map(|number| (0..3).map(move |request| (number, request))) {
            let line = line_about(&log, &format!("/short?{version}.{number}.{request}"));
            assert_nginx(&line);
            let client = &line["client_process"];
            if request > 0 || !client.is_null() {
                assert_eq!((&client["pid"], &client["command"]), (&id.into(), &name.as_str().into()), "{line}");
            }
            // The helper has named it by the last connection, however busy the machine is.
            if (number, request) == (5, 2) {
                assert!(line["server_process"]["pid"].is_u64(), "the worker derives the secrets: {line}");
            }
        }
    }
    daemon.stop();
}

/// The command of a process that `ip netns exec` becomes.
fn command_when_it_runs(id: u32) -> String {
    until("it runs", || command(id).starts_with("python"));
    command(id)
}

/// Passes bytes on between two sockets, as a proxy of containers does: the socket at which nginx' clients connect is its own.
const RELAY: &str = r#"
import socket, sys, threading
listener = socket.create_server(("10.99.0.2", 8443))
print("listens", flush=True)
def copy(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)
while True:
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", 443))
    for pair in [(client, server), (server, client)]:
        threading.Thread(target=copy, args=pair, daemon=True).start()
"#;

#[test]
fn behind_a_relay_the_server_is_who_speaks_tls() {
    const TEST: &str = "behind_a_relay_the_server_is_who_speaks_tls";
    let Some((network, _identity)) = network(TEST) else { return };
    let script = network.file("relay.py", RELAY);
    let mut relay = Network::inside(&network.server, "/usr/bin/python3");
    let relay = Served(relay.arg(&script).stdout(Stdio::null()).spawn().unwrap());
    until("the relay answers", || network.curl(&["-k", "https://10.99.0.2:8443/short"]));
    let name = command(relay.0.id());
    let output = directory();
    let log = output.path().join("http.log");
    // On the wire, so that only the connections of clients to the relay are captured.
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto", "--processes"], &[]);
    until("who listens is known", || daemon.sum("picotap_process_listeners") > 0.0);
    let (mut last, mut named) = (Value::Null, 0);
    for number in 0..20 {
        let target = format!("/short?relayed{number}");
        let mut curl = Network::inside(&network.client, "curl");
        let mut curl = curl
            .args(["-sSk", "-m", "20", "-o", "/dev/null", &format!("https://10.99.0.2:8443{target}")])
            .spawn()
            .unwrap();
        let id = curl.id();
        assert!(curl.wait().unwrap().success());
        last = line_about(&log, &target);
        if let Some(client) = last["client_process"].as_object() {
            assert_eq!((&client["command"], &client["pid"]), (&"curl".into(), &id.into()), "{last}");
        }
        let server = &last["server_process"];
        named += usize::from(server["command"] == "nginx");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Where only one end's call was taken from the ring by then, the socket's holder is named.
    assert!(named >= 10, "{name} holds the socket, nginx speaks TLS: {named} of 20, such as {last}");
    daemon.stop();
    drop(relay);
}
