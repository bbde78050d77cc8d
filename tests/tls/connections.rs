//! `--tls`: each TLS connection has its line, with the server's name, what was agreed, and whether it was decrypted or why not, in
//! every format that has such lines; metrics and summary agree, and so does tshark.

use crate::support;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use support::capture::{Compression, Format, Order, file};
use support::program::{Outcome, picotap, read, run, scratch};
use support::scene::Scene;
use support::tls::talk::{SUITES, Setting, Talk};
use support::tool;
use support::wire::{Ip, Packet, Side, ip_packet};

/// Port of the first client; those of others follow it.
const FIRST_PORT: u64 = 40_001;

/// A connection for each suite, and what its ends sent.
struct Traffic {
    capture: PathBuf,
    keys: PathBuf,
    /// By the client's port: bytes of client and server, and the suite.
    truth: BTreeMap<u64, ([u64; 2], &'static str)>,
}

fn side(side: picotap::stream::Side) -> Side {
    if side == picotap::stream::Side::First { Side::Client } else { Side::Server }
}

fn write(scene: &Scene, packets: &mut [Packet], name: &str) -> PathBuf {
    for (at, packet) in packets.iter_mut().enumerate() {
        packet.time = 1_767_323_045_000_000_000 + at as i64 * 50_000;
    }
    let capture = scratch(&format!("{name}.pcap"));
    fs::write(&capture, file(&scene.frames(packets), Format::Pcap(Order::Little, true), Compression::None)).unwrap();
    capture
}

fn traffic(name: &str) -> Traffic {
    traffic_with(name, |_, _| true)
}

/// Where not every packet with data was captured: as this says of a side's, by how many came before.
fn traffic_with(name: &str, captured: impl Fn(Side, usize) -> bool) -> Traffic {
    let mut scene = Scene::default();
    let (mut packets, mut key_log, mut truth) = (vec![], String::new(), BTreeMap::new());
    for (version, cipher, suite) in SUITES {
        let mut talk = Talk::new(version, *cipher, Setting::default());
        talk.say(picotap::stream::Side::First, b"GET /a HTTP/1.1\r\nHost: picotap.test\r\n\r\n");
        talk.say(picotap::stream::Side::Second, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        talk.close();
        let script = talk.script();
        let mut connection = scene.connection();
        let mut bytes = [0; 2];
        connection.open();
        for sent in &script.sent {
            connection.send(side(sent.side), &sent.bytes);
            bytes[sent.side.index()] += sent.bytes.len() as u64;
        }
        connection.close();
        truth.insert(FIRST_PORT + truth.len() as u64, (bytes, *suite));
        let mut sent = [0, 0];
        packets.extend(connection.packets.drain(..).filter(|packet| {
            let before = &mut sent[usize::from(packet.side == Side::Server)];
            *before += usize::from(!packet.payload.is_empty());
            packet.payload.is_empty() || captured(packet.side, *before - 1)
        }));
        key_log += &script.key_log;
    }
    let (capture, keys) = (write(&scene, &mut packets, name), scratch(&format!("{name}.keys")));
    fs::write(&keys, key_log).unwrap();
    Traffic { capture, keys, truth }
}

fn values(outcome: &Outcome) -> Vec<Value> {
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same in any format.
fn shown(capture: &Path, args: &[&str]) -> Outcome {
    run(picotap().arg("--pcap").arg(capture).args(args))
}

fn told(capture: &Path, args: &[&str]) -> Vec<Value> {
    values(&read(capture, args))
}

fn texts(lines: &[Value], key: &str) -> BTreeSet<String> {
    lines.iter().map(|line| line[key].as_str().unwrap_or("").to_owned()).collect()
}

#[test]
fn every_connection_has_its_line_decrypted_or_with_the_reason() {
    let Traffic { capture, keys, truth } = traffic("tls-lines");
    let keys = keys.to_str().unwrap();
    let transactions = told(&capture, &["--keylog", keys]);
    for workers in ["1", "2"] {
        for (with_keys, lines) in [
            (true, told(&capture, &["--tls", "--workers", workers, "--keylog", keys])),
            (false, told(&capture, &["--tls", "--workers", workers])),
        ] {
            assert_eq!(lines.len(), SUITES.len());
            assert_eq!(texts(&lines, "conn"), texts(&transactions, "conn"), "one identifier");
            assert!(lines.is_sorted_by_key(|line| line["ts"].as_str().unwrap().to_owned()), "in order");
            for line in lines {
                let (bytes, suite) = truth[&line["client_port"].as_u64().unwrap()];
                let tls = &line["tls"];
                let version = if suite.contains("ECDHE") { "TLSv1.2" } else { "TLSv1.3" };
                assert_eq!((&tls["cipher"], &tls["version"]), (&suite.into(), &version.into()), "{line}");
                assert_eq!((&tls["sni"], &line["server_port"]), (&"picotap.test".into(), &80.into()), "{line}");
                assert_eq!([&line["client_bytes"], &line["server_bytes"]], [bytes[0], bytes[1]], "{line}");
                assert_eq!((&line["established"], &line["decrypted"]), (&true.into(), &with_keys.into()), "{line}");
                assert_eq!(line["reason"], if with_keys { Value::Null } else { "no_key".into() }, "{line}");
                assert!(line["duration_us"].as_u64().unwrap() > 0 && tls["ja4"].as_str().unwrap().len() == 36);
                // What the server chose of the protocols is encrypted in TLS 1.3.
                let (alpn, offered) = if with_keys || version == "TLSv1.2" {
                    (Value::from("http/1.1"), Value::Null)
                } else {
                    (Value::Null, vec!["h2", "http/1.1"].into())
                };
                assert_eq!((&tls["alpn"], &tls["alpn_offered"]), (&alpn, &offered), "{line}");
            }
        }
    }
}

#[test]
fn a_connection_without_its_clients_hello_is_named_with_what_the_server_said() {
    for (name, client_from) in [("tls-no-hello", 1), ("tls-no-client", usize::MAX)] {
        let captured = |side, before| side == Side::Server || before >= client_from;
        let Traffic { capture, keys, truth } = traffic_with(name, captured);
        let lines = told(&capture, &["--tls", "--keylog", keys.to_str().unwrap()]);
        assert_eq!(lines.len(), SUITES.len(), "{name}");
        for line in lines {
            let (_, suite) = truth[&line["client_port"].as_u64().unwrap()];
            let tls = &line["tls"];
            assert_eq!((&tls["cipher"], &tls["sni"]), (&suite.into(), &Value::Null), "{line}");
            assert_eq!((&line["decrypted"], &line["reason"]), (&false.into(), &"gap".into()), "{line}");
        }
    }
}

/// Of each connection, by the client's port: server name, protocols offered, and suite.
fn tshark(capture: &Path) -> BTreeMap<u64, Vec<String>> {
    let mut out = BTreeMap::new();
    let ask = |kind: &str, port: &str, fields: &[&str]| {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(capture).args(["-d", "tcp.port==80,tls", "-Y", &format!("tls.handshake.type=={kind}")]);
        command.args(["-T", "fields", "-e", port]);
        command.args(fields.iter().flat_map(|field| ["-e", field]));
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let hello = ["tls.handshake.extensions_server_name", "tls.handshake.extensions_alpn_str"];
    let answer = ["tls.handshake.ciphersuite"];
    for row in ask("1", "tcp.srcport", &hello).into_iter().chain(ask("2", "tcp.dstport", &answer)) {
        out.entry(row[0].parse().unwrap()).or_insert_with(Vec::new).extend_from_slice(&row[1..]);
    }
    out
}

#[test]
fn tshark_sees_the_same_names_protocols_and_suites() {
    let Traffic { capture, .. } = traffic("tls-tshark");
    let mut judged = tshark(&capture);
    assert_eq!(judged.len(), SUITES.len());
    for line in told(&capture, &["--tls"]) {
        let theirs = judged.remove(&line["client_port"].as_u64().unwrap()).unwrap();
        let tls = &line["tls"];
        let offered: Vec<_> = theirs[1].split(',').collect();
        assert_eq!(tls["sni"], theirs[0]);
        assert!(tls["alpn_offered"] == Value::from(offered) || tls["version"] == "TLSv1.2", "{line}");
        let number = u16::from_str_radix(theirs[2].trim_start_matches("0x"), 16).unwrap();
        assert_eq!(tls["cipher"], picotap::tls::suites::name(number).unwrap());
    }
}

#[test]
fn zeek_reads_them_as_its_ssl_log() {
    let Traffic { capture, keys, truth } = traffic("tls-zeek");
    let args = ["--tls", "--format", "zeek", "--keylog", keys.to_str().unwrap()];
    let lines = shown(&capture, &args).lines();
    assert!(lines.contains(&"#path\tssl".to_owned()) && lines.last().unwrap().starts_with("#close\t"));
    let columns = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
        line.split('\t').skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (fields, types) = (columns("#fields"), columns("#types"));
    // Zeek's own columns, in its order: scripts/base/protocols/ssl/main.zeek and files.zeek.
    let zeek = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version cipher curve server_name resumed last_alert next_protocol \
                established ssl_history cert_chain_fps client_cert_chain_fps sni_matches_cert";
    assert_eq!(fields[..18].join(" "), zeek);
    let rows: Vec<Vec<&str>> =
        lines.iter().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), SUITES.len());
    for row in rows {
        assert_eq!((row.len(), types.len()), (fields.len(), fields.len()));
        let of = |name: &str| row[fields.iter().position(|field| field == name).unwrap()];
        for (value, kind) in row.iter().zip(&types).filter(|(value, _)| **value != "-") {
            let fits = match &kind[..] {
                "bool" => ["T", "F"].contains(value),
                "count" | "port" => value.parse::<u64>().is_ok(),
                "time" | "interval" => value.parse::<f64>().is_ok(),
                "addr" => value.parse::<std::net::IpAddr>().is_ok(),
                "string" => !value.is_empty(),
                _ => false,
            };
            assert!(fits, "{value} is of type {kind}");
        }
        let (bytes, suite) = truth[&of("id.orig_p").parse::<u64>().unwrap()];
        assert_eq!((of("cipher"), of("server_name"), of("next_protocol")), (suite, "picotap.test", "http/1.1"));
        assert!(["TLSv12", "TLSv13"].contains(&of("version")), "as Zeek writes it");
        assert_eq!((of("resumed"), of("established"), of("decrypted"), of("reason")), ("F", "T", "T", "-"));
        assert_eq!([of("orig_bytes"), of("resp_bytes")], bytes.map(|bytes| bytes.to_string()));
    }
}

#[test]
fn other_formats_have_lines_or_say_which_have() {
    let Traffic { capture, keys, .. } = traffic("tls-formats");
    let keys = keys.to_str().unwrap();
    let text = |args: &[&str]| shown(&capture, &[&["--tls", "--format", "text"], args].concat()).lines();
    let dark = text(&[]);
    assert!(
        dark.len() == SUITES.len() && dark.iter().all(|line| line.contains(" dark ") && line.ends_with("[no_key]"))
    );
    assert!(text(&["--keylog", keys]).iter().all(|line| line.contains(" open ") && line.contains(" picotap.test ")));
    for line in values(&shown(&capture, &["--tls", "--format", "ecs", "--keylog", keys])) {
        assert_eq!(line["event"]["dataset"], "picotap.tls");
        assert_eq!(line["event"]["category"], Value::from(vec!["network"]));
        assert_eq!((&line["event"]["outcome"], &line["picotap"]["decrypted"]), (&"success".into(), &true.into()));
        let tls = &line["tls"];
        assert_eq!((&tls["version_protocol"], &tls["client"]["server_name"]), (&"tls".into(), &"picotap.test".into()));
        assert!(tls["version"] == "1.2" || tls["version"] == "1.3");
        assert_eq!((&tls["next_protocol"], &tls["established"]), (&"http/1.1".into(), &true.into()));
        let sum = line["source"]["bytes"].as_u64().unwrap() + line["destination"]["bytes"].as_u64().unwrap();
        assert_eq!(line["network"]["bytes"], sum);
    }
    for format in ["clf", "otlp"] {
        let outcome = shown(&capture, &["--tls", "--format", format]);
        assert_eq!(outcome.code, Some(2));
        assert!(outcome.stderr.contains(&format!("--tls has no lines in format {format}: needed --format json")));
    }
    // Transactions have it in their own lines.
    let ecs = values(&shown(&capture, &["--format", "ecs", "--keylog", keys]));
    assert!(ecs.iter().all(|line| line["tls"]["established"] == true && line["picotap"]["ja4"].is_string()));
    let otlp = shown(&capture, &["--format", "otlp", "--keylog", keys]).lines();
    for wanted in [
        r#"{"key":"url.scheme","value":{"stringValue":"https"}}"#,
        r#"{"key":"tls.protocol.name","value":{"stringValue":"tls"}}"#,
        r#"{"key":"tls.established","value":{"boolValue":true}}"#,
    ] {
        assert!(otlp.iter().all(|line| line.contains(wanted)), "{wanted}");
    }
}

#[test]
fn connections_are_selected_as_transactions_are() {
    let Traffic { capture, keys, .. } = traffic("tls-selected");
    let count = |args: &[&str]| told(&capture, &[&["--tls"], args].concat()).len();
    let all = SUITES.len();
    for (args, wanted) in [
        (&["--filter", "host=*.TEST"][..], all),
        (&["--filter", "host=picotap.test:80"], all),
        (&["--filter", "host!=picotap.*"], 0),
        (&["--filter", "established=true client=10.0.0.0/8 or client=127.0.0.0/8,192.168.0.0/16,::/0"], all),
        (&["--filter", "established=false"], 0),
        (&["--errors"], 0),
        (&["--slow", "10000"], 0),
        (&["--slow", "0"], all),
    ] {
        assert_eq!(count(args), wanted, "{args:?}");
    }
    let outcome = read(&capture, &["--tls", "--filter", "status=5xx"]);
    assert!(
        outcome.code == Some(2) && outcome.stderr.contains("connections, which have no status: needed --filter"),
        "{}",
        outcome.stderr
    );
    let shards: Vec<Value> =
        (1..=3).flat_map(|shard| told(&capture, &["--tls", "--shard", &format!("{shard}/3")])).collect();
    assert_eq!((shards.len(), texts(&shards, "conn")), (all, texts(&told(&capture, &["--tls"]), "conn")));
    let named = told(&capture, &["--tls", "--sensor", "edge"]);
    assert!(named.iter().all(|line| line["sensor"] == "edge"));
    assert!(texts(&named, "conn").is_disjoint(&texts(&shards, "conn")), "the sensor is part of the identifier");
    // What is not to be opened is not, whatever secrets there are.
    let keys = ["--keylog", keys.to_str().unwrap()];
    for (filter, opened) in [("picotap.*,x", true), ("!picotap.*", false), ("*.example.com", false), ("*", true)] {
        let lines = told(&capture, &[&["--tls", "--tls-filter", filter], &keys[..]].concat());
        let reason = if opened { Value::Null } else { "filtered".into() };
        assert!(lines.iter().all(|line| line["decrypted"] == opened && line["reason"] == reason), "{filter}");
        let transactions = told(&capture, &[&["--tls-filter", filter], &keys[..]].concat());
        assert_eq!(transactions.len(), if opened { all } else { 0 }, "{filter}");
    }
    let outcome = read(&capture, &["--tls-filter", "a,,b"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("empty pattern"), "{}", outcome.stderr);
}

#[test]
fn metrics_and_the_summary_say_what_stays_dark() {
    let Traffic { capture, keys, .. } = traffic("tls-metrics");
    let metrics = scratch("tls-metrics.prom");
    let numbers = |args: &[&str]| {
        let common = ["--stats", "-o", "/dev/null", "--metrics-file", metrics.to_str().unwrap()];
        let outcome = read(&capture, &[&common, args].concat());
        assert!(outcome.code == Some(0) && !outcome.stderr.contains("NOT BALANCED"), "{}", outcome.stderr);
        (fs::read_to_string(&metrics).unwrap(), outcome.stderr)
    };
    let all = SUITES.len();
    let (text, summary) = numbers(&[]);
    assert!(text.contains(&format!("picotap_tls_connections_total{{decrypted=\"false\",reason=\"no_key\"}} {all}\n")));
    assert!(text.contains(&format!("picotap_tls_started_connections_total {all}\n")), "{text}");
    for wanted in [
        &format!("TLS connections:  {all}  decrypted 0  no_key {all}")[..],
        "--keylog FILE decrypts",
        "top servers that stay dark:",
        "picotap.test",
    ] {
        assert!(summary.contains(wanted), "{wanted}: {summary}");
    }
    let (text, summary) = numbers(&["--keylog", keys.to_str().unwrap()]);
    assert!(text.contains(&format!("picotap_tls_connections_total{{decrypted=\"true\"}} {all}\n")), "{text}");
    assert!(text.contains(&format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"GET\",http_response_status_code=\"200\",url_scheme=\"https\"}} {all}\n"
    )));
    assert!(summary.contains(&format!("TLS connections:  {all}  decrypted {all}\n")), "{summary}");
    assert!(!summary.contains("stay dark") && !summary.contains("--keylog"), "{summary}");
    // The secrets of another session.
    let other = scratch("tls-metrics-other.keys");
    fs::write(&other, format!("CLIENT_RANDOM {} {}\n", "1f".repeat(32), "2e".repeat(48))).unwrap();
    let (_, summary) = numbers(&["--keylog", other.to_str().unwrap()]);
    assert!(summary.contains("there are secrets, but none of these") && !summary.contains("--keylog"), "{summary}");
}

#[test]
fn the_page_names_servers_that_stay_dark_and_transactions_say_how_they_were_encrypted() {
    let Traffic { capture, keys, .. } = traffic("tls-page");
    let report = scratch("tls-page.html");
    let snapshot = |args: &[&str]| -> Value {
        let common = ["-o", "/dev/null", "--report", report.to_str().unwrap()];
        assert_eq!(read(&capture, &[&common, args].concat()).code, Some(0));
        let html = fs::read_to_string(&report).unwrap();
        let data = html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        serde_json::from_str(data).unwrap()
    };
    let all = SUITES.len();
    let dark = snapshot(&[]);
    let servers = dark["tls"]["servers"].as_array().unwrap();
    assert_eq!(
        (servers.len(), &servers[0]["host"], &servers[0]["reason"]),
        (1, &"picotap.test".into(), &"no_key".into())
    );
    assert_eq!((&servers[0]["connections"], &dark["tls"]["results"][0]["connections"]), (&all.into(), &all.into()));
    let open = snapshot(&["--keylog", keys.to_str().unwrap()]);
    assert_eq!(open["tls"]["servers"][0]["decrypted"], true);
    for row in open["recent"].as_array().unwrap() {
        let fields: Vec<(String, String)> = serde_json::from_value(row["fields"].clone()).unwrap();
        let fields: BTreeMap<String, String> = fields.into_iter().collect();
        assert_eq!(fields["tls.sni"], "picotap.test");
        assert!(SUITES.iter().any(|(_, _, name)| *name == fields["tls.cipher"]) && fields.contains_key("tls.version"));
    }
}

#[test]
fn what_is_missing_is_named() {
    // The packet that is lost, of those with payload: the server's hello, which TLS 1.2 cannot do without, and the request.
    for (suite, lost, decrypted, reason) in [(0, 1, true, ""), (3, 1, false, "gap"), (0, 3, true, ""), (3, 4, true, "")]
    {
        let (version, suite, name) = SUITES[suite];
        let mut talk = Talk::new(version, suite, Setting::default());
        talk.say(picotap::stream::Side::First, b"GET /a HTTP/1.1\r\nHost: picotap.test\r\n\r\n");
        talk.close();
        let script = talk.script();
        let keys = scratch("tls-missing.keys");
        fs::write(&keys, &script.key_log).unwrap();
        let mut scene = Scene::default();
        let mut connection = scene.connection();
        connection.open();
        script.sent.iter().for_each(|sent| connection.send(side(sent.side), &sent.bytes));
        connection.close();
        let mut packets = std::mem::take(&mut connection.packets);
        let mut number = 0;
        packets.retain(|packet| {
            number += usize::from(!packet.payload.is_empty());
            packet.payload.is_empty() || number != lost + 1
        });
        let capture = write(&scene, &mut packets, "tls-missing");
        let lines = told(&capture, &["--tls", "--keylog", keys.to_str().unwrap()]);
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["decrypted"], lines[0]["reason"].as_str().unwrap_or("")), (&decrypted.into(), reason));
        assert_eq!(lines[0]["tls"]["sni"], "picotap.test");
        assert_eq!(lines[0]["tls"]["cipher"].as_str(), decrypted.then_some(name));
    }
}

/// One connection on which this is sent, in turn from the client and from the server.
fn one(name: &str, sent: &[&[u8]]) -> PathBuf {
    let mut scene = Scene::default();
    let mut connection = scene.connection();
    connection.open();
    for (at, bytes) in sent.iter().enumerate() {
        connection.send(if at % 2 == 0 { Side::Client } else { Side::Server }, bytes);
    }
    connection.close();
    let mut packets = std::mem::take(&mut connection.packets);
    write(&scene, &mut packets, name)
}

#[test]
fn handshakes_that_fail_are_named() {
    let (version, suite, _) = SUITES[0];
    let hello = Talk::new(version, suite, Setting::default()).script().sent[0].bytes.clone();
    // An alert instead of an answer, nothing, and an answer that is not TLS.
    let line = |name: &str, answer: &[u8]| {
        let lines = told(&one(name, &[&hello, answer]), &["--tls"]);
        assert_eq!(lines.len(), 1);
        lines[0].clone()
    };
    let refused = line("tls-alert", &[21, 3, 3, 0, 2, 2, 40]);
    assert_eq!((&refused["alert"], &refused["established"]), (&"handshake_failure".into(), &false.into()));
    assert_eq!((&refused["reason"], &refused["tls"]["sni"]), (&"no_data".into(), &"picotap.test".into()));
    assert_eq!(refused["tls"]["version"], Value::Null, "nothing was agreed");
    let capture = one("tls-alert", &[&hello, &[21, 3, 3, 0, 2, 2, 40]]);
    assert_eq!(told(&capture, &["--tls", "--errors"]).len(), 1);
    let plain = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n";
    let answered = line("tls-to-http", plain);
    assert_eq!((&answered["reason"], &answered["established"]), (&"no_data".into(), &false.into()));
    assert_eq!(answered["server_bytes"], plain.len());
    // The answer is read, with and without secrets.
    let keys = scratch("tls-to-http.keys");
    fs::write(&keys, "# none\n").unwrap();
    for args in [&[][..], &["--keylog", keys.to_str().unwrap(), "--quiet"]] {
        let mut command = picotap();
        command.arg("-r").arg(one("tls-to-http", &[&hello, plain])).args(["--stats", "--format", "json"]).args(args);
        let outcome = run(&mut command);
        let lines = values(&outcome);
        assert_eq!((&lines[0]["status"], &lines[0]["flags"][0]), (&400.into(), &"no_request".into()));
        assert!(!outcome.stderr.contains("NOT BALANCED"), "{}", outcome.stderr);
    }
}

#[test]
fn no_line_is_lost_where_the_log_is_rotated() {
    const MANY: usize = 6000;
    let (version, suite, _) = SUITES[0];
    let hello = Talk::new(version, suite, Setting::default()).script().sent[0].bytes.clone();
    let mut scene = Scene::default();
    let mut packets = vec![];
    for _ in 0..MANY {
        let mut connection = scene.connection();
        connection.open();
        connection.send(Side::Client, &hello);
        connection.send(Side::Server, &[21, 3, 3, 0, 2, 2, 40]);
        connection.close();
        packets.append(&mut connection.packets);
    }
    let capture = write(&scene, &mut packets, "tls-rotated");
    let wanted = read(&capture, &["--tls"]).lines();
    assert_eq!(wanted.len(), MANY);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let outcome = run(picotap().arg("-r").arg(&capture).args(["--tls", "--rotate-size", "1MiB", "-o"]).arg(&log));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    // Names say when they were rotated. One that could not be compressed any more at the end of the run is as it was.
    let mut rotated: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).collect();
    rotated.retain(|file| *file != log && file.extension() != Some("part".as_ref()));
    rotated.sort_by_key(|file| file.to_str().unwrap().trim_end_matches(".gz").to_owned());
    assert!(rotated.len() > 1, "{rotated:?}");
    let mut found = vec![];
    for file in rotated.iter().chain([&log]) {
        let (mut text, mut bytes) = (String::new(), fs::File::open(file).unwrap());
        if file.extension() == Some("gz".as_ref()) {
            MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        } else {
            bytes.read_to_string(&mut text).unwrap();
        }
        assert!(text.len() <= 1 << 20 && text.ends_with('\n'), "whole lines");
        found.extend(text.lines().map(str::to_owned));
    }
    assert!(found == wanted, "{} of {} lines, in their order", found.len(), wanted.len());
}

#[test]
fn every_line_is_as_the_schema_says_and_the_page_lists_its_keys() {
    const PYTHON: &str = "target/tools/bin/python3";
    if !tool::has(&[PYTHON]) {
        return;
    }
    let Traffic { capture, keys, .. } = traffic("tls-schema");
    let (version, suite, _) = SUITES[0];
    let hello = Talk::new(version, suite, Setting::default()).script().sent[0].bytes.clone();
    let refused = one("tls-schema-alert", &[&hello, &[21, 3, 3, 0, 2, 2, 40]]);
    let all = [(&capture, &["--keylog", keys.to_str().unwrap()][..]), (&capture, &["--sensor", "s"]), (&refused, &[])];
    let lines: Vec<String> =
        all.iter().flat_map(|(capture, args)| read(capture, &[&["--tls"], *args].concat()).lines()).collect();
    let check = |lines: &str| {
        let arguments = [
            "deploy/check/fields.py",
            "schema",
            "deploy/schema/tls.schema.json",
            "deploy/ANALYSTS.md",
            "TLS connections",
        ];
        let mut command = Command::new(PYTHON);
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        // One that has found a fault reads no further.
        drop(child.stdin.take().unwrap().write_all(lines.as_bytes()));
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let good = lines.join("\n");
    assert_eq!(check(&good), (true, String::new()));
    for (right, wrong) in [
        ("\"reason\":\"no_key\"", "\"reason\":\"nokey\""),
        ("\"decrypted\":true", "\"decrypted\":false"),
        ("\"established\":true,", ""),
        ("\"client_bytes\":", "\"client_byte\":"),
        ("\"alpn_offered\":[\"h2\"", "\"alpn_offered\":[2"),
    ] {
        assert!(good.contains(right), "{right}");
        assert!(!check(&good.replacen(right, wrong, 1)).0, "{wrong}");
    }
}

/// The server names of all hellos that tshark sees, in order.
fn hellos(capture: &Path) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-Y", "tls.handshake.type==1", "-T", "fields"]);
    let output = command.args(["-e", "tcp.stream", "-e", "tls.handshake.extensions_server_name"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // After a retry a connection has two.
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for line in text.lines() {
        let (stream, name) = line.split_once('\t').unwrap();
        all.entry(stream).or_insert_with(|| name.to_owned());
    }
    let mut all: Vec<String> = all.into_values().collect();
    all.sort();
    all
}

#[test]
fn every_connection_of_a_recording_is_named_with_and_without_keys() {
    let capture = support::fixtures::path("tls/https.pcap");
    let wanted = hellos(&capture);
    assert!(wanted.len() > 10, "{wanted:?}");
    for (args, decrypted) in [(vec![], false), (vec!["--keylog", "fixtures/tls/https/keys.txt"], true)] {
        let lines = told(&capture, &[&["--tls"], &args[..]].concat());
        let mut names: Vec<String> =
            lines.iter().map(|line| line["tls"]["sni"].as_str().unwrap_or_default().to_owned()).collect();
        names.sort();
        assert_eq!(names, wanted);
        for line in &lines {
            let readable = line["established"] == true && line["reason"] != "unsupported_suite";
            assert!(line["decrypted"] == decrypted || !readable, "{line}");
            assert!(line["tls"]["version"].is_string() || line["established"] == false, "{line}");
            assert_eq!(line["reason"].is_null(), line["decrypted"] == true, "{line}");
        }
    }
}

#[test]
fn tls_inside_a_tunnel_is_a_connection_of_its_own() {
    let (version, suite, _) = SUITES[0];
    let mut talk = Talk::new(version, suite, Setting::default());
    talk.say(picotap::stream::Side::First, b"GET /a HTTP/1.1\r\nHost: picotap.test\r\n\r\n");
    talk.say(picotap::stream::Side::Second, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    talk.close();
    let script = talk.script();
    let mut scene = Scene::default();
    let mut connection = scene.connection();
    connection.open();
    connection.send(Side::Client, b"CONNECT picotap.test:443 HTTP/1.1\r\nHost: picotap.test:443\r\n\r\n");
    connection.send(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n");
    let mut bytes = [0; 2];
    for sent in &script.sent {
        connection.send(side(sent.side), &sent.bytes);
        bytes[sent.side.index()] += sent.bytes.len() as u64;
    }
    connection.close();
    let mut packets = std::mem::take(&mut connection.packets);
    let (capture, keys) = (write(&scene, &mut packets, "tls-tunnel"), scratch("tls-tunnel.keys"));
    fs::write(&keys, &script.key_log).unwrap();
    let with_keys = ["--keylog", keys.to_str().unwrap()];
    for (args, decrypted) in [(&[][..], false), (&with_keys, true)] {
        let outcome = read(&capture, &[&["--tls", "--stats"], args].concat());
        assert!(!outcome.stderr.contains("NOT BALANCED"), "{}", outcome.stderr);
        let lines = values(&outcome);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!((&line["decrypted"], &line["tls"]["sni"]), (&decrypted.into(), &"picotap.test".into()));
        assert_eq!([&line["client_bytes"], &line["server_bytes"]], [bytes[0], bytes[1]], "{line}");
        let transactions = told(&capture, args);
        assert_eq!(transactions.len(), 1 + usize::from(decrypted), "{transactions:?}");
        assert_ne!(line["conn"], transactions[0]["conn"], "that of the proxy");
        if decrypted {
            assert_eq!(line["conn"], transactions[1]["conn"]);
        }
    }
}

/// A datagram of a client, or of its server, in Ethernet and IPv4.
fn datagram(port: u16, to_client: bool, payload: &[u8]) -> Vec<u8> {
    let ends: [std::net::IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 80].into()];
    let (ports, [from, to]) = if to_client { ([443, port], [ends[1], ends[0]]) } else { ([port, 443], ends) };
    let length = payload.len() as u16 + 8;
    let udp = [&ports[0].to_be_bytes()[..], &ports[1].to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat();
    [&[2; 12], &[8, 0][..], &ip_packet(from, to, 17, &Ip::default(), &udp)].concat()
}

#[test]
fn quic_connections_are_counted_and_said() {
    // Headers as in RFC 9001 and RFC 9369, appendix A; what is behind them is encrypted anyway.
    let initial = |version: [u8; 4], first: u8| {
        let mut bytes = [&[first][..], &version, &[8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x9e]].concat();
        bytes.resize(1200, 0x55);
        bytes
    };
    let (one, two) = (initial([0, 0, 0, 1], 0xc3), initial([0x6b, 0x33, 0x43, 0xcf], 0xd3));
    let handshake = initial([0, 0, 0, 1], 0xe3);
    let short = [&[0x41][..], &[9; 60]].concat();
    let frames = [
        datagram(50_000, false, &one),
        datagram(50_000, true, &one),
        datagram(50_000, true, &handshake),
        datagram(50_000, false, &short),
        datagram(50_001, false, &two),
        // Another version, and too short for a first packet.
        datagram(50_002, false, &initial([0, 0, 0, 9], 0xc3)),
        datagram(50_003, false, &one[..600]),
    ];
    let mut scene = Scene::default();
    let mut connection = scene.connection();
    connection.open();
    let mut packets = vec![connection.packets[0].clone(); frames.len()];
    packets.iter_mut().zip(frames).for_each(|(packet, frame)| packet.raw = Some(frame));
    let capture = write(&scene, &mut packets, "quic");
    let metrics = scratch("quic.prom");
    let outcome = read(&capture, &["--stats", "--metrics-file", metrics.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("2  QUIC connections (HTTP/3), which are not read"), "{}", outcome.stderr);
    let text = fs::read_to_string(metrics).unwrap();
    for wanted in ["picotap_quic_connections_total 2", "skipped_packets_total{reason=\"quic\"} 5", "{reason=\"udp\"} 2"]
    {
        assert!(text.contains(wanted), "{wanted}");
    }
    // tshark sees first packets of version 1 where we do.
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&capture).args(["-Y", "quic.long.packet_type == 0 && quic.version == 1", "-T", "fields"]);
    let output = command.args(["-e", "frame.number"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().filter(|line| ["1", "2"].contains(line)).count(), 2, "{text}");
}
