//! Probes and the OpenSSL 3.5 of Debian 13: its nginx and its curl, in a root and a mount namespace of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, thread};

use super::probes::{Served, compare_rows, network};
use crate::support::daemon::{Daemon, directory};
use crate::support::network::{Network, until};
use crate::support::tls::Identity;
use crate::support::tool::skip;

const CONFIGURATION: &str = "
daemon off; worker_processes 2; pid /tmp/13.pid; error_log /tmp/13.error; user root;
events { worker_connections 512; }
http {
    log_format bare '$remote_addr $remote_port $connection_requests $request_method $request_uri $status $body_bytes_sent';
    access_log /tmp/13.log bare;
    client_body_temp_path /tmp/tmp; proxy_temp_path /tmp/tmp; fastcgi_temp_path /tmp/tmp; uwsgi_temp_path /tmp/tmp;
    scgi_temp_path /tmp/tmp;
    server {
        listen 8443 ssl; ssl_certificate /tmp/certificate.pem; ssl_certificate_key /tmp/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519MLKEM768:X25519:P-256; ssl_session_cache shared:s:1m;
        location / { return 200 'short'; }
    }
}
";

/// The root, if deploy/setup.sh could make it.
fn root(test: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/debian13");
    let complete = root.join("complete").exists();
    if !complete {
        skip(test, "needs target/tools/debian13, which deploy/setup.sh --test makes from a mirror of Debian");
    }
    complete.then_some(root)
}

/// A program of the root in a network namespace, with a directory of the test as its /tmp. The mounts are in a namespace of
/// the program alone.
fn inside(network: &Network, namespace: &str, root: &Path, program: &[&str]) -> Command {
    let text = format!(
        "set -e; mount --bind {place} {root}/tmp; mount --rbind /dev {root}/dev; exec chroot {root} \"$@\"",
        place = network.directory().display(),
        root = root.display()
    );
    let mut command = Network::inside(namespace, "unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &text, "sh"]).args(program);
    command
}

/// What the clients do in turn: the usual, with a key exchange that resists quantum computers, in both versions, and after a
/// hello that the server wants otherwise.
const CLIENTS: [&[&str]; 4] = [
    &["--tlsv1.3"],
    &["--tlsv1.2", "--tls-max", "1.2"],
    &["--tlsv1.3", "--curves", "P-521:P-256"],
    &["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"],
];

/// One curl after the other: its connections, of which each asks three times.
fn ask(network: &Network, root: &Path, thread: usize) {
    for number in 0..10 {
        let mut command = inside(network, &network.client, root, &["/usr/bin/curl", "-sSk", "-m", "20"]);
        command.args(CLIENTS[number % CLIENTS.len()]);
        for request in 0..3 {
            command.args(["-o", "/dev/null", &format!("https://10.99.0.2:8443/short?{thread}.{number}.{request}")]);
        }
        assert!(command.status().unwrap().success());
    }
}

#[test]
fn every_connection_of_debian_13_is_read() {
    const TEST: &str = "every_connection_of_debian_13_is_read";
    let Some(root) = root(TEST) else { return };
    let Some((network, identity)) = network(TEST) else { return };
    let identity: Identity = identity;
    for file in ["certificate.pem", "key.pem"] {
        fs::copy(identity.path(file), network.directory().join(file)).unwrap();
    }
    network.file("13.conf", CONFIGURATION);
    let version = inside(&network, &network.client, &root, &["/usr/bin/openssl", "version"]).output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert!(version.contains("Library: OpenSSL 3.5."), "{version}");
    let mut nginx = inside(&network, &network.server, &root, &["/usr/sbin/nginx", "-c", "/tmp/13.conf"]);
    let nginx = nginx.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut nginx = Served(nginx);
    until("nginx answers", || network.curl(&["-k", "https://10.99.0.2:8443/"]));
    fs::write(network.directory().join("13.log"), "").unwrap();
    let output = directory();
    let log = output.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--tls-probes", "auto", "--processes"], &[]);
    thread::scope(|scope| {
        for thread in 0..2 {
            let (network, root) = (&network, &root);
            scope.spawn(move || ask(network, root, thread));
        }
    });
    let wanted = network.rows("13.log");
    assert_eq!(wanted.len(), 2 * 10 * 3);
    let said = compare_rows(wanted, daemon, &log);
    assert!(!said.contains("tls_too_late") && !said.contains("tls_no_key"), "{said}");
    // The curves that Debian 12 does not know were used, and all the rest.
    let lines = fs::read_to_string(&log).unwrap();
    for (text, count) in [("\"TLSv1.3\"", 42), ("\"TLSv1.2\"", 18), ("\"server_process\":{\"command\":\"nginx\"", 60)] {
        assert_eq!(lines.matches(text).count(), count, "{text}: {lines}");
    }
    // Its master ends its workers, if it is asked to.
    assert!(Command::new("kill").arg(nginx.0.id().to_string()).status().unwrap().success());
    nginx.0.wait().unwrap();
}
