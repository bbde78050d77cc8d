//! HTTP through HAProxy, squid and servers of SOCKS, and Redis: each request appears where it is on the wire, with the tunnel
//! that it is inside of, and the lines match the log or the counters of the server.

use crate::support;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use support::network::{Network, until};
use support::program::{finish, scratch};
use support::service::{Service, socks4};
use support::tool::need;

const PAGE: &str = "client client_port seq method target status response_body_bytes";

/// Stops picotap when everything has been captured; its lines.
fn stop(network: &Network, picotap: Child) -> Vec<Value> {
    // The kernel hands blocks over every 100 ms.
    std::thread::sleep(Duration::from_millis(700));
    assert!(Command::new("kill").args(["-TERM", &picotap.id().to_string()]).status().unwrap().success());
    let outcome = finish(picotap);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    let text = std::fs::read_to_string(network.directory().join("lines")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Values of these keys, in a row; `-` for what is absent.
fn row(line: &Value, keys: &str) -> String {
    let text = |key: &str| match &line[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    keys.split(' ').map(text).collect::<Vec<_>>().join(" ")
}

fn rows<'a>(lines: impl IntoIterator<Item = &'a Value>, keys: &str) -> Vec<String> {
    sorted(lines.into_iter().map(|line| row(line, keys)).collect())
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// The lines whose `key` has this value.
fn with<'a>(lines: &'a [Value], key: &str, value: impl Into<Value>) -> Vec<&'a Value> {
    let value = value.into();
    lines.iter().filter(|line| line[key] == value).collect()
}

/// Asks curl in the client's namespace for several pages on one connection: whether it is content.
fn ask(network: &Network, options: &[&str], base: &str, paths: &[&str]) -> bool {
    let urls: Vec<String> = paths.iter().map(|path| format!("{base}{path}")).collect();
    network.curl(&[options, &urls.iter().map(String::as_str).collect::<Vec<_>>()].concat())
}

const PATHS: [&str; 5] = ["/short", "/index.html?q=1", "/missing", "/large.bin", "/empty"];

// ---- PROXY ---------------------------------------------------------------------------------------------------------

const BEHIND: &str = "
    log_format behind '$proxy_protocol_addr $proxy_protocol_port $connection_requests $request_method $request_uri $status \
     $body_bytes_sent $realip_remote_addr $realip_remote_port $proxy_protocol_server_addr $proxy_protocol_server_port';
    server {
        listen 127.0.0.1:8000 proxy_protocol; listen [::1]:8000 proxy_protocol; root PLACE/site;
        access_log PLACE/behind.log behind;
        location /empty { return 204; }
        location /short { return 200 'short'; }
    }
";

/// Port of each way through HAProxy, its mode, its addresses, and how it speaks to nginx.
const WAYS: [(u16, &str, &str, &str); 6] = [
    (8001, "http", "10.99.0.2", "127.0.0.1:8000 send-proxy"),
    (8002, "http", "[fd99::2]", "[::1]:8000 send-proxy"),
    (8003, "http", "10.99.0.2", "127.0.0.1:8000 send-proxy-v2"),
    (8004, "http", "[fd99::2]", "[::1]:8000 send-proxy-v2"),
    // The client's family and the connection's may differ, and version 2 may say more than addresses.
    (8005, "http", "[fd99::2]", "127.0.0.1:8000 send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    (8006, "tcp", "10.99.0.2", "[::1]:8000 send-proxy"),
];

/// A row whose last two columns, address and port, are one.
fn target_joined(row: &str) -> String {
    let (rest, port) = row.rsplit_once(' ').unwrap();
    let (rest, ip) = rest.rsplit_once(' ').unwrap();
    format!("{rest} {}", SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap()))
}

#[test]
fn behind_haproxy_the_client_is_the_one_of_the_header() {
    const TEST: &str = "behind_haproxy_the_client_is_the_one_of_the_header";
    if need(TEST, "haproxy").is_none() {
        return;
    }
    let Some(network) = Network::new(TEST) else { return };
    let network = network.serve_also(BEHIND);
    let mut configuration = "defaults\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n".to_owned();
    for (port, mode, address, server) in WAYS {
        configuration += &format!("listen way{port}\n mode {mode}\n bind {address}:{port}\n server nginx {server}\n");
        if server.contains("unique-id") {
            configuration += " unique-id-format %{+X}o%ci:%cp_%rt\n";
        }
    }
    let file = network.file("haproxy.cfg", &configuration);
    let listens: Vec<String> = WAYS.map(|(port, _, address, _)| format!("{address}:{port}")).to_vec();
    let listens: Vec<&str> = listens.iter().map(String::as_str).collect();
    let _haproxy = Service::start(&network, "haproxy", &["-db", "-f", file.to_str().unwrap()], &listens);
    network.file("behind.log", "");

    let picotap = network.capture(&["-i", "lo", "--stats"]);
    for address in &listens {
        for _ in 0..2 {
            assert!(ask(&network, &[], &format!("http://{address}"), &PATHS));
        }
        assert!(ask(&network, &["-d", "name=value"], &format!("http://{address}"), &["/short?posted"]));
    }
    let lines = stop(&network, picotap);

    let behind: Vec<&Value> = with(&lines, "via", "proxy");
    let keys = format!("{PAGE} proxy proxy_port via_target");
    let logged = network.rows("behind.log").iter().map(|row| target_joined(row)).collect();
    assert_eq!(rows(behind.iter().copied(), &keys), sorted(logged));
    let front: Vec<&Value> = lines.iter().filter(|line| line["via"].is_null()).collect();
    let each = (2 * PATHS.len() + 1) * WAYS.len();
    assert_eq!((front.len(), behind.len(), lines.len()), (each, each, 2 * each));
    // What HAProxy was asked for, and by whom, is what it passed on. (A unique identifier makes each request a connection.)
    let page = "client client_port method target status response_body_bytes";
    assert_eq!(rows(front, page), rows(behind.iter().copied(), page));
    for line in behind {
        assert_ne!(line["conn"], line["via_conn"], "{line}");
        assert!(line["via_conn"].is_string(), "{line}");
        assert_eq!(line["interface"], "lo", "{line}");
        let balancer = if line["server"] == "127.0.0.1" { "127.0.0.1" } else { "::1" };
        assert_eq!((&line["proxy"], &line["server_port"]), (&Value::from(balancer), &Value::from(8000)), "{line}");
    }
}

// ---- CONNECT -------------------------------------------------------------------------------------------------------

const SQUID: &str = "
http_port 10.99.0.2:3128
acl closed port 81
http_access deny closed
http_access allow all
cache deny all
cache_mem 8 MB
cache_log none
access_log none
pid_filename none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 1024
dns_nameservers 127.0.0.1
coredump_dir none
";

#[test]
fn through_squid_each_request_appears_in_the_tunnel_and_behind_it() {
    const TEST: &str = "through_squid_each_request_appears_in_the_tunnel_and_behind_it";
    if need(TEST, "squid").is_none() {
        return;
    }
    let Some(network) = Network::new(TEST) else { return };
    let network = network.serve();
    let file = network.file("squid.conf", SQUID);
    let squid = Service::start(&network, "squid", &["-N", "-f", file.to_str().unwrap()], &["10.99.0.2:3128"]);

    let picotap = network.capture(&["-i", "lo", "--stats"]);
    let through = ["--proxytunnel", "-x", "http://10.99.0.2:3128"];
    for base in ["http://10.99.0.2", "http://[fd99::2]"] {
        assert!(ask(&network, &through, base, &PATHS));
        assert!(ask(&network, &[&through[..], &["-d", "name=value"]].concat(), base, &["/short?posted"]));
    }
    assert!(!ask(&network, &through, "http://10.99.0.2:81", &["/short"]), "squid refuses port 81");
    assert!(ask(&network, &through[1..], "http://10.99.0.2", &["/short?plain"]));
    let lines = stop(&network, picotap);
    drop(squid);

    // Squid's other side is what nginx has seen.
    let behind: Vec<&Value> =
        lines.iter().filter(|line| line["interface"] == "lo" && line["server_port"] == 80).collect();
    assert_eq!(rows(behind.iter().copied(), PAGE), sorted(network.logged()));
    let inside = with(&lines, "via", "connect");
    assert_eq!(inside.len(), 2 * (PATHS.len() + 1));
    let page = "seq method target status response_body_bytes user_agent";
    let plain = |line: &&&Value| line["target"] != "/short?plain";
    assert_eq!(rows(inside.iter().copied(), page), rows(behind.iter().filter(plain).copied(), page));

    let connects = with(&lines, "method", "CONNECT");
    let shown = rows(connects.iter().copied(), "client server_port target status tunnel");
    let opened = |target: &str| format!("10.99.0.1 3128 {target}:80 200 connect");
    let refused = "10.99.0.1 3128 10.99.0.2:81 403 -".to_owned();
    let opened = [opened("10.99.0.2"), opened("10.99.0.2"), opened("[fd99::2]"), opened("[fd99::2]"), refused];
    assert_eq!(shown, sorted(opened.to_vec()));
    for line in inside {
        let outer = with(&lines, "conn", line["via_conn"].clone());
        assert_eq!(outer.len(), 1, "{line}");
        assert_ne!(line["conn"], outer[0]["conn"], "{line}");
        assert_eq!(outer[0]["target"], line["via_target"]);
        for key in ["client", "client_port", "server", "server_port", "interface", "community_id"] {
            assert_eq!(outer[0][key], line[key], "{key} of {line}");
        }
    }
    let absolute = with(&lines, "target", "http://10.99.0.2/short?plain");
    assert_eq!(rows(absolute, "client server_port status via tunnel"), ["10.99.0.1 3128 200 - -"]);
}

// ---- SOCKS ---------------------------------------------------------------------------------------------------------

/// Operations of SOCKS are these (target, outcome, error), and inside each that was granted are the requests that curl
/// made through it.
fn assert_relayed(network: &Network, lines: &[Value], operations: &[&str], pages: usize) {
    let asked = with(lines, "protocol", "socks");
    let wanted = operations.iter().map(|operation| format!("10.99.0.1 connect {operation}")).collect();
    assert_eq!(rows(asked.iter().copied(), "client operation target outcome error"), sorted(wanted));
    let inside = with(lines, "via", "socks");
    assert_eq!(inside.len(), pages);
    for line in &inside {
        let outer = with(lines, "conn", line["via_conn"].clone());
        assert_eq!(outer.len(), 1, "{line}");
        assert_ne!(line["conn"], outer[0]["conn"], "{line}");
        assert_eq!(
            (&outer[0]["target"], outer[0]["duration_us"].is_u64()),
            (&line["via_target"], true),
            "{}",
            outer[0]
        );
    }
    let behind: Vec<&Value> = lines.iter().filter(|line| line["via"].is_null() && !line["method"].is_null()).collect();
    assert_eq!(rows(behind.iter().copied(), PAGE), sorted(network.logged()));
    let page = "seq method target status response_body_bytes";
    assert_eq!(rows(inside, page), rows(behind.iter().copied(), page));
    assert_eq!(lines.len(), asked.len() + 2 * pages);
}

#[test]
fn through_microsocks_the_operation_appears_and_each_request_inside() {
    const TEST: &str = "through_microsocks_the_operation_appears_and_each_request_inside";
    if need(TEST, "microsocks").is_none() {
        return;
    }
    let Some(network) = Network::new(TEST) else { return };
    let network = network.serve();
    let open = Service::start(&network, "microsocks", &["-i", "10.99.0.2", "-p", "1080"], &["10.99.0.2:1080"]);
    let login = ["-i", "10.99.0.2", "-p", "1081", "-u", "alice", "-P", "open sesame"];
    let closed = Service::start(&network, "microsocks", &login, &["10.99.0.2:1081"]);

    let picotap = network.capture(&["-i", "lo", "--stats"]);
    assert!(ask(&network, &["--socks5", "10.99.0.2:1080"], "http://10.99.0.2", &PATHS));
    assert!(ask(&network, &["--socks5", "10.99.0.2:1080"], "http://[fd99::2]", &PATHS));
    assert!(ask(&network, &["--socks5-hostname", "10.99.0.2:1080"], "http://localhost", &PATHS));
    let user = ["--socks5", "10.99.0.2:1081", "--proxy-user", "alice:open sesame"];
    assert!(ask(&network, &user, "http://10.99.0.2", &PATHS));
    assert!(!ask(&network, &["--socks5", "10.99.0.2:1080"], "http://10.99.0.2:9", &["/short"]), "nobody listens there");
    let wrong = ["--socks5", "10.99.0.2:1081", "--proxy-user", "alice:closed"];
    assert!(!ask(&network, &wrong, "http://10.99.0.2", &["/short"]), "the password is wrong");
    let lines = stop(&network, picotap);
    drop((open, closed));

    let operations = [
        "10.99.0.2:80 succeeded -",
        "[fd99::2]:80 succeeded -",
        "localhost:80 succeeded -",
        "10.99.0.2:80 succeeded -",
        "10.99.0.2:9 - connection refused",
    ];
    assert_relayed(&network, &lines, &operations, 4 * PATHS.len());
    let text = std::fs::read_to_string(network.directory().join("lines")).unwrap();
    assert!(!text.contains("alice") && !text.contains("sesame"), "the login is nowhere");
}

#[test]
fn through_socks_4_the_operation_appears_and_each_request_inside() {
    let Some(network) = Network::new("through_socks_4_the_operation_appears_and_each_request_inside") else { return };
    let network = network.serve();
    let server = socks4(&network, "10.99.0.2:1080", 3);
    let picotap = network.capture(&["-i", "lo", "--stats"]);
    assert!(ask(&network, &["--socks4", "10.99.0.2:1080"], "http://10.99.0.2", &PATHS));
    assert!(ask(&network, &["--socks4a", "10.99.0.2:1080", "--proxy-user", "alice:"], "http://localhost", &PATHS));
    assert!(!ask(&network, &["--socks4", "10.99.0.2:1080"], "http://10.99.0.2:9", &["/short"]), "nobody listens there");
    let lines = stop(&network, picotap);
    server.join().unwrap();
    let operations = ["10.99.0.2:80 granted -", "localhost:80 granted -", "10.99.0.2:9 - rejected"];
    assert_relayed(&network, &lines, &operations, 2 * PATHS.len());
}

// ---- Redis ---------------------------------------------------------------------------------------------------------

const RESP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resp.wasm"));

/// Numbers that Redis says of itself, asked over a socket that picotap does not see.
fn info(socket: &Path, section: &str) -> BTreeMap<String, String> {
    let mut redis = UnixStream::connect(socket).unwrap();
    redis.write_all(format!("INFO {section}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    redis.read_to_string(&mut text).unwrap();
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.into(), value.into())).collect()
}

/// Calls by the name of the command.
fn calls(socket: &Path) -> BTreeMap<String, u64> {
    let numbers = info(socket, "commandstats");
    let call = |(key, value): (&String, &String)| {
        let count = value.strip_prefix("calls=")?.split(',').next()?.parse::<u64>().ok()?;
        Some((key.strip_prefix("cmdstat_")?.split('|').next()?.to_owned(), count))
    };
    let mut calls = BTreeMap::new();
    for (name, count) in numbers.iter().filter_map(call) {
        *calls.entry(name).or_default() += count;
    }
    // What this function itself has sent.
    calls.remove("info");
    calls.remove("quit");
    calls
}

#[test]
fn what_redis_counts_is_what_is_printed() {
    const TEST: &str = "what_redis_counts_is_what_is_printed";
    if ["redis-server", "redis-benchmark", "redis-cli"].iter().any(|tool| need(TEST, tool).is_none()) {
        return;
    }
    let Some(network) = Network::new(TEST) else { return };
    // A socket's name must be short.
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis");
    let options = [
        "--port",
        "6379",
        "--bind",
        "10.99.0.2",
        "fd99::2",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--appendonly",
        "no",
        "--unixsocket",
    ];
    let options = [&options[..], &[socket.to_str().unwrap(), "--dir", directory.path().to_str().unwrap()]].concat();
    let _redis = Service::start(&network, "redis-server", &options, &["10.99.0.2:6379"]);
    until("Redis' own socket is there", || socket.exists());
    let module = scratch("resp.wasm");
    std::fs::write(&module, RESP).unwrap();
    assert!(calls(&socket).is_empty(), "{:?}", calls(&socket));

    let picotap = network.capture(&["--stats", "--guest", &format!("resp={}", module.display())]);
    let client = |program: &str, host: &str, args: &[&str]| {
        let mut command = Network::inside(&network.client, program);
        let output = command.args(["-h", host]).args(args).stderr(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}");
    };
    let kinds = "set,get,incr,lpush,rpush,lpop,sadd,hset,ping_mbulk";
    // Multiples of clients and pipeline: no answer is left out.
    client("redis-benchmark", "10.99.0.2", &["-q", "-t", kinds, "-c", "10", "-n", "1000", "-P", "1"]);
    client("redis-benchmark", "fd99::2", &["-q", "-t", kinds, "-c", "10", "-n", "3200", "-P", "16", "-d", "2000"]);
    client("redis-cli", "10.99.0.2", &["SET", "text", "no number"]);
    client("redis-cli", "10.99.0.2", &["INCR", "text"]);
    let lines = stop(&network, picotap);

    let operations = with(&lines, "protocol", "resp");
    let mut printed: BTreeMap<String, u64> = BTreeMap::new();
    for line in &operations {
        *printed.entry(line["operation"].as_str().unwrap().to_lowercase()).or_default() += 1;
    }
    let counted = calls(&socket);
    assert_eq!(printed, counted);
    assert!(counted.len() >= 10 && counted["set"] >= 4200, "no load: {counted:?}");
    assert_eq!(operations.len(), lines.len());
    assert_eq!(rows(lines.iter().filter(|line| line["duration_us"].is_null()), "operation"), [""; 0]);
    let failed = lines.iter().filter(|line| !line["error"].is_null());
    let error = "10.99.0.1 INCR - ERR value is not an integer or out of range";
    assert_eq!(rows(failed, "client operation outcome error"), [error]);
}
