//! HTTP over TLS in capture files, with the key log beside them or in them: picotap prints what it prints of the same conversation
//! without TLS, tshark agrees, and whatever is lost nothing is wrong.

use crate::support;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::capture::{Compression, Format, Order, file};
use support::program::{picotap, read, run, scratch};
use support::random::Random;
use support::scene::Scene;
use support::tls::Script;
use support::tls::talk::{SUITES, Setting, Talk};
use support::wire::{Packet, Side};

/// A parser that fails where a header asks for it.
const PLANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/planted.wasm"));

/// The built-in parser, and one of start lines alone.
const REAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
const LINES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lines.wasm"));

const CONNECTIONS: usize = 10;
const EACH: usize = 12;

fn side(side: picotap::stream::Side) -> Side {
    if side == picotap::stream::Side::First { Side::Client } else { Side::Server }
}

/// What both ends of a connection say: whole requests and responses, in turn.
fn messages(random: &mut Random, connection: usize) -> Vec<(Side, Vec<u8>)> {
    let mut out = vec![];
    for number in 0..EACH {
        let path = format!("/{connection}/{number}");
        out.push((Side::Client, format!("GET {path} HTTP/1.1\r\nHost: picotap.test\r\n\r\n").into_bytes()));
        let length = if random.one_in(3) { random.below(60_000) } else { random.below(500) } as usize;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Id: {path}\r\n\r\n");
        out.push((Side::Server, [head.into_bytes(), vec![b'x'; length]].concat()));
    }
    out
}

/// The connection over TLS, in records of at most `size` bytes.
fn encrypt(suite: usize, size: usize, messages: &[(Side, Vec<u8>)]) -> Script {
    let (version, cipher, _) = SUITES[suite];
    let mut talk = Talk::new(version, cipher, Setting { tickets: 2, ..Setting::default() });
    for (from, message) in messages {
        let from = if *from == Side::Client { picotap::stream::Side::First } else { picotap::stream::Side::Second };
        message.chunks(size).for_each(|piece| talk.say(from, piece));
    }
    talk.close();
    talk.script()
}

struct Traffic {
    scene: Scene,
    packets: Vec<Packet>,
    key_log: String,
}

/// All connections, over TLS (`size`: of records), or as they are.
fn traffic(tls: Option<usize>) -> Traffic {
    let mut scene = Scene::default();
    let (mut packets, mut key_log) = (vec![], String::new());
    for connection in 0..CONNECTIONS {
        let messages = messages(&mut Random::new(connection as u64), connection);
        let mut c = scene.connection();
        c.open();
        match tls {
            None => messages.iter().for_each(|(from, message)| c.send(*from, message)),
            Some(size) => {
                let script = encrypt(connection % SUITES.len(), size, &messages);
                script.sent.iter().for_each(|sent| c.send(side(sent.side), &sent.bytes));
                key_log += &script.key_log;
            }
        }
        c.close();
        packets.append(&mut c.packets);
    }
    for (at, packet) in packets.iter_mut().enumerate() {
        packet.time = 1_767_323_045_000_000_000 + at as i64 * 50_000;
    }
    Traffic { scene, packets, key_log }
}

impl Traffic {
    fn bytes(&self, format: Format) -> Vec<u8> {
        file(&self.scene.frames(&self.packets), format, Compression::None)
    }

    fn write(&self, name: &str) -> (PathBuf, PathBuf) {
        let (capture, keys) = (scratch(&format!("{name}.pcap")), scratch(&format!("{name}.keys")));
        fs::write(&capture, self.bytes(Format::Pcap(Order::Little, true))).unwrap();
        fs::write(&keys, &self.key_log).unwrap();
        (capture, keys)
    }
}

/// What matters of the lines: by target, the status and the size of the body; and all flags that there are.
fn told(lines: &[String]) -> HashMap<String, Vec<Value>> {
    let mut out: HashMap<String, Vec<Value>> = HashMap::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        let keys =
            ["method", "status", "request_body_bytes", "response_body_bytes", "response_head_bytes", "host", "flags"];
        let values = Value::Array(keys.iter().map(|key| line[key].clone()).collect());
        out.entry(line["target"].as_str().unwrap_or_default().to_owned()).or_default().push(values);
    }
    out
}

fn read_as(format: &str, capture: &Path, keys: &Path) -> Vec<String> {
    let mut command = picotap();
    command.arg("--pcap").arg(capture).arg("--keylog").arg(keys).args(["--format", format]);
    run(&mut command).lines()
}

fn balanced(stderr: &str) {
    assert!(stderr.contains("balanced") && !stderr.contains("NOT BALANCED"), "{stderr}");
}

#[test]
fn tls_gives_the_lines_of_the_plain_conversation() {
    let plain = traffic(None);
    let (capture, _) = plain.write("tls-plain");
    let wanted = told(&read(&capture, &[]).lines());
    assert_eq!(wanted.len(), CONNECTIONS * EACH);
    for size in [16_384, 1000, 20] {
        let traffic = traffic(Some(size));
        let (capture, keys) = traffic.write(&format!("tls-{size}"));
        for workers in ["1", "2"] {
            let outcome = read(&capture, &["--keylog", keys.to_str().unwrap(), "--stats", "--workers", workers]);
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
            assert_eq!(told(&outcome.lines()), wanted, "records of {size}");
            balanced(&outcome.stderr);
            let text = read_as("text", &capture, &keys);
            assert_eq!(text.iter().filter(|line| line.contains(" https://picotap.test/")).count(), wanted.len());
            let ecs = read_as("ecs", &capture, &keys);
            assert!(ecs.iter().all(|line| line.contains("\"scheme\":\"https\"")), "{ecs:?}");
            for line in outcome.lines() {
                let tls = serde_json::from_str::<Value>(&line).unwrap()["tls"].clone();
                assert_eq!((&tls["sni"], &tls["alpn"]), (&"picotap.test".into(), &"http/1.1".into()), "{line}");
                let suite = tls["cipher"].as_str().unwrap();
                assert!(SUITES.iter().any(|(_, _, name)| *name == suite), "{line}");
                assert!(
                    tls["ja4"].as_str().unwrap().len() == 36 && tls["version"].as_str().unwrap().starts_with("TLSv1.")
                );
            }
        }
        assert_eq!(tshark(&capture, &keys), tshark_plain(&wanted), "tshark, records of {size}");
    }
}

/// The requests that tshark sees with these keys.
fn tshark(capture: &Path, keys: &Path) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-o", &format!("tls.keylog_file:{}", keys.display())]);
    let output =
        command.args(["-d", "tcp.port==80,tls", "-Y", "http.request", "-T", "fields", "-e", "http.request.uri"]);
    let output = output.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Several of one frame stand in one line.
    let mut all: Vec<String> = text.lines().flat_map(|line| line.split(',')).map(str::to_owned).collect();
    all.sort();
    all
}

fn tshark_plain(wanted: &HashMap<String, Vec<Value>>) -> Vec<String> {
    let mut all: Vec<String> = wanted.keys().cloned().collect();
    all.sort();
    all
}

#[test]
fn secrets_in_a_pcapng_file_need_no_option() {
    let traffic = traffic(Some(4000));
    let (capture, keys) = traffic.write("tls-beside");
    let wanted = told(&read(&capture, &["--keylog", keys.to_str().unwrap()]).lines());
    for order in [Order::Little, Order::Big] {
        let plain = traffic.bytes(Format::Pcapng(order));
        let number = |value: u32| match order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        };
        let header = match order {
            Order::Little => u32::from_le_bytes(plain[4..8].try_into().unwrap()),
            Order::Big => u32::from_be_bytes(plain[4..8].try_into().unwrap()),
        };
        let text = traffic.key_log.as_bytes();
        let padded = text.len().next_multiple_of(4);
        let length = number(padded as u32 + 20);
        let block = [
            &number(10)[..],
            &length,
            &number(0x544c_534b),
            &number(text.len() as u32),
            text,
            &vec![0; padded - text.len()],
            &length,
        ]
        .concat();
        let (before, behind) = plain.split_at(header as usize);
        let path = scratch("tls-within.pcapng");
        fs::write(&path, [before, &block, behind].concat()).unwrap();
        let outcome = read(&path, &["--stats"]);
        assert_eq!(told(&outcome.lines()), wanted);
        balanced(&outcome.stderr);
        // In the middle of the block, the file is cut.
        fs::write(&path, [before, &block[..block.len() / 2]].concat()).unwrap();
        let outcome = read(&path, &[]);
        assert!(outcome.code == Some(1) && outcome.stderr.contains("block"), "{}", outcome.stderr);
    }
}

#[test]
fn without_keys_and_with_wrong_ones_all_is_counted() {
    let traffic = traffic(Some(4000));
    let (capture, keys) = traffic.write("tls-dark");
    let outcome = read(&capture, &["--stats"]);
    assert!(outcome.lines().is_empty());
    balanced(&outcome.stderr);
    assert!(outcome.stderr.contains("tls_no_key"), "{}", outcome.stderr);
    fs::write(&keys, "# none\nrubbish\nRSA 00 11\n").unwrap();
    let outcome = read(&capture, &["--keylog", keys.to_str().unwrap(), "--stats"]);
    assert!(outcome.lines().is_empty());
    balanced(&outcome.stderr);
    for text in ["tls_no_key", "line 2", "RSA", "no secrets"] {
        assert!(outcome.stderr.contains(text), "{text}: {}", outcome.stderr);
    }
    // A file that is not there, and a directory.
    for path in ["/nowhere/keys", "/"] {
        let outcome = read(&capture, &["--keylog", path]);
        assert!(outcome.code == Some(1) && outcome.stderr.contains("cannot be read"), "{}", outcome.stderr);
    }
}

#[test]
fn whatever_is_lost_nothing_is_wrong() {
    let plain = traffic(None);
    let (capture, _) = plain.write("tls-loss-plain");
    let truth = told(&read(&capture, &[]).lines());
    for (size, one_in) in [(16_384, 100), (1000, 100), (1000, 10), (100, 10)] {
        for seed in 0..3 {
            let mut random = Random::new(seed);
            let mut traffic = traffic(Some(size));
            traffic.packets.retain(|packet| packet.payload.is_empty() || !random.one_in(one_in));
            let (capture, keys) = traffic.write("tls-loss");
            let outcome = read(&capture, &["--keylog", keys.to_str().unwrap(), "--stats"]);
            balanced(&outcome.stderr);
            let mut whole = 0;
            for (target, lines) in told(&outcome.lines()) {
                if target.is_empty() {
                    continue;
                }
                // No request that was not sent, none twice; and one that is whole is as it was.
                let wanted = truth.get(&target).unwrap_or_else(|| panic!("{target:?} was not sent"));
                assert_eq!(lines.len(), 1, "{target}");
                if lines[0][6].is_null() {
                    assert_eq!(&lines, wanted, "{target}");
                    whole += 1;
                }
            }
            println!("records of {size}, 1 of {one_in} lost, seed {seed}: {whole} of {} whole", truth.len());
            assert!(whole > 0);
        }
    }
}

#[test]
fn a_gap_that_may_be_shorter_than_told_ends_no_message() {
    let (version, cipher, _) = SUITES[0];
    let (first, second) = (picotap::stream::Side::First, picotap::stream::Side::Second);
    let mut talk = Talk::new(version, cipher, Setting::default());
    let ask = |talk: &mut Talk, path: &str| {
        talk.say(first, format!("GET {path} HTTP/1.1\r\nHost: picotap.test\r\n\r\n").as_bytes());
    };
    ask(&mut talk, "/1");
    talk.say(second, &[b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", &[b'x'; 1000][..]].concat());
    // This is lost, and might have been plaintext.
    let lost = talk.script.sent.len();
    talk.update_keys(second);
    talk.say(second, &[b'y'; 1000]);
    for path in ["/2", "/3"] {
        ask(&mut talk, path);
        talk.say(second, b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc");
    }
    talk.close();
    let script = talk.script();
    let mut scene = Scene::default();
    let mut c = scene.connection();
    c.open();
    let mut missing = 0;
    for (at, sent) in script.sent.iter().enumerate() {
        if at == lost {
            missing = c.packets.len();
        }
        c.send(side(sent.side), &sent.bytes);
    }
    c.close();
    let mut packets = std::mem::take(&mut c.packets);
    packets.remove(missing);
    let traffic = Traffic { scene, packets, key_log: script.key_log };
    let (capture, keys) = traffic.write("tls-inexact");
    let outcome = read(&capture, &["--keylog", keys.to_str().unwrap(), "--stats"]);
    balanced(&outcome.stderr);
    let lines = outcome.lines();
    let told = told(&lines);
    for path in ["/2", "/3"] {
        let line = &told[path][0];
        assert_eq!((&line[1], &line[3]), (&201.into(), &3.into()), "{lines:?}");
    }
    // Counting through the gap would make the first whole.
    assert!(told["/1"][0][6].to_string().contains("lost_framing"), "{lines:?}");
}

/// How TLS comes to be inside of something else.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Behind CONNECT; the client waits for the answer, or does not.
    Connect,
    Eager,
    /// Behind an upgrade (RFC 2817).
    Upgrade,
    /// Behind a second CONNECT, inside of the first.
    Twice,
    /// Behind the header of a proxy (version 1), which has no line.
    Header,
    /// TLS to the proxy, and behind CONNECT inside of that.
    HttpsProxy,
    /// The same with plain HTTP inside.
    PlainInside,
}

const WAYS: [Way; 7] =
    [Way::Connect, Way::Eager, Way::Upgrade, Way::Twice, Way::Header, Way::HttpsProxy, Way::PlainInside];

/// Connections in which the same conversation comes in this way.
fn tunnels(way: Way) -> Traffic {
    let connect = |name: &str| format!("CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n").into_bytes();
    let accepted = b"HTTP/1.1 200 OK\r\n\r\n";
    let mut scene = Scene::default();
    let (mut parts, mut key_log) = (vec![], String::new());
    for connection in 0..CONNECTIONS {
        let messages = messages(&mut Random::new(connection as u64), connection);
        let inner = encrypt(connection % SUITES.len(), 3000, &messages);
        let mut sent: Vec<(Side, Vec<u8>)> =
            inner.sent.iter().map(|sent| (side(sent.side), sent.bytes.clone())).collect();
        key_log += &inner.key_log;
        if way == Way::PlainInside {
            sent.clone_from(&messages);
        }
        let mut before = vec![];
        match way {
            Way::Upgrade => {
                let head = "GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n";
                let answer =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0, HTTP/1.1\r\nConnection: Upgrade\r\n\r\n";
                before.extend([(Side::Client, head.into()), (Side::Server, answer.into())]);
            }
            Way::Header => before.push((Side::Client, b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n".to_vec())),
            Way::Twice => {
                for name in ["proxy.test", "picotap.test"] {
                    before.extend([(Side::Client, connect(name)), (Side::Server, accepted.to_vec())]);
                }
            }
            _ => before.extend([(Side::Client, connect("picotap.test")), (Side::Server, accepted.to_vec())]),
        }
        if way == Way::Eager {
            let hello = sent.remove(0);
            before.insert(1, hello);
        }
        sent.splice(0..0, before);
        if matches!(way, Way::HttpsProxy | Way::PlainInside) {
            let outer = encrypt((connection + 1) % SUITES.len(), 5000, &sent);
            sent = outer.sent.iter().map(|sent| (side(sent.side), sent.bytes.clone())).collect();
            key_log += &outer.key_log;
        }
        let mut c = scene.connection();
        c.open();
        let mut packets = vec![std::mem::take(&mut c.packets)];
        for (from, bytes) in &sent {
            c.send(*from, bytes);
            packets.push(std::mem::take(&mut c.packets));
        }
        c.close();
        packets.push(std::mem::take(&mut c.packets));
        parts.push(packets);
    }
    scene.interleave(parts, &mut Random::new(3));
    let mut packets = std::mem::take(&mut scene.packets);
    for (at, packet) in packets.iter_mut().enumerate() {
        packet.time = 1_767_323_045_000_000_000 + at as i64 * 50_000;
    }
    Traffic { scene, packets, key_log }
}

#[test]
fn tls_inside_of_tunnels_is_decrypted() {
    let plain = traffic(None);
    let (capture, _) = plain.write("tls-tunnel-plain");
    let wanted = told(&read(&capture, &[]).lines());
    for way in WAYS {
        let traffic = tunnels(way);
        let (capture, keys) = traffic.write("tls-tunnel");
        for workers in ["1", "2"] {
            let outcome = read(&capture, &["--keylog", keys.to_str().unwrap(), "--stats", "--workers", workers]);
            balanced(&outcome.stderr);
            let outer = match way {
                Way::Header => 0,
                Way::Twice => 2,
                _ => 1,
            };
            assert_eq!(outcome.lines().len(), wanted.len() + outer * CONNECTIONS, "{way:?}");
            let mut found = told(&outcome.lines());
            found.retain(|target, _| target.starts_with('/') && target != "/upgrade");
            assert_eq!(found, wanted, "{way:?}");
            for line in outcome.lines() {
                let line: Value = serde_json::from_str(&line).unwrap();
                let inside = line["target"].as_str().unwrap().starts_with('/') && line["target"] != "/upgrade";
                let encrypted = inside || matches!(way, Way::HttpsProxy | Way::PlainInside);
                assert_eq!(line["tls"].is_object(), encrypted, "{way:?}: {line}");
            }
            // What is encrypted only by the connection around it is not https.
            let https = read_as("text", &capture, &keys).iter().filter(|line| line.contains("https://")).count();
            assert_eq!(https, if way == Way::PlainInside { 0 } else { wanted.len() }, "{way:?}");
        }
        // A program gets the same.
        let given = picotap::Reader::open(&capture).unwrap().key_log(&keys).unwrap();
        let given = given.map(Result::unwrap).filter(|one| one.target().is_some_and(|target| target.starts_with(b"/")));
        assert_eq!(given.count(), wanted.len() + if way == Way::Upgrade { CONNECTIONS } else { 0 }, "{way:?}");
        // Without the keys of what is inside, and with losses, nothing is wrong.
        for one_in in [200, 20] {
            let mut traffic = tunnels(way);
            let mut random = Random::new(one_in);
            traffic.packets.retain(|packet| packet.payload.is_empty() || !random.one_in(one_in));
            let (capture, keys) = traffic.write("tls-tunnel-loss");
            let outcome = read(&capture, &["--keylog", keys.to_str().unwrap(), "--stats"]);
            balanced(&outcome.stderr);
            assert!(!outcome.stderr.contains("the parser fails"), "{}", outcome.stderr);
            for (target, lines) in told(&outcome.lines()) {
                if target.starts_with('/') && target != "/upgrade" && lines[0][6].is_null() {
                    assert_eq!(Some(&lines), wanted.get(&target), "{way:?} {target}");
                }
            }
        }
    }
}

/// The sum of a metric's samples.
fn metric(metrics: &str, name: &str) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(name));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn a_shadow_sees_what_is_decrypted_inside_of_tunnels() {
    let (metrics, shadow) = (scratch("tls-shadow.prom"), scratch("tls-shadow.wasm"));
    for way in WAYS {
        let (capture, keys) = tunnels(way).write("tls-shadow");
        let with = |shadow: Option<&Path>, workers: &str| {
            let mut command = picotap();
            command.arg("-r").arg(&capture).arg("--keylog").arg(&keys).args(["--format", "json", "--stats"]);
            command.args(["--workers", workers, "--metrics-file"]).arg(&metrics);
            let outcome =
                run(shadow.into_iter().fold(&mut command, |command, shadow| command.arg("--shadow").arg(shadow)));
            balanced(&outcome.stderr);
            let metrics = fs::read_to_string(&metrics).unwrap();
            let compared = metric(&metrics, "picotap_shadow_compared_records_total");
            (outcome.sorted(), compared, metric(&metrics, "picotap_shadow_differences_total"))
        };
        for workers in ["1", "2"] {
            let (alone, ..) = with(None, workers);
            fs::write(&shadow, REAL).unwrap();
            let (lines, compared, differences) = with(Some(&shadow), workers);
            assert!(lines == alone && differences == 0.0, "{way:?}: {differences} differences");
            // Of each transaction inside two heads and two ends, of those outside what has a line.
            assert!(compared >= (CONNECTIONS * EACH * 4) as f64, "{way:?}: {compared} records");
            fs::write(&shadow, LINES).unwrap();
            let (lines, _, differences) = with(Some(&shadow), workers);
            assert!(lines == alone && differences > 0.0, "{way:?}");
        }
    }
}

#[test]
fn what_was_decrypted_is_quarantined_only_on_request() {
    let guest = scratch("tls-planted.wasm");
    fs::write(&guest, PLANTED).unwrap();
    let messages = [
        (Side::Client, b"GET /1 HTTP/1.1\r\nHost: a\r\nX-Poison: stall\r\n\r\n".to_vec()),
        (Side::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ];
    let script = encrypt(0, 16_384, &messages);
    let mut scene = Scene::default();
    let mut c = scene.connection();
    c.open();
    script.sent.iter().for_each(|sent| c.send(side(sent.side), &sent.bytes));
    c.close();
    let packets = std::mem::take(&mut c.packets);
    let (capture, keys) = Traffic { scene, packets, key_log: script.key_log }.write("tls-quarantine");
    for (option, files) in [(None, 0), (Some("--quarantine-decrypted"), 1)] {
        let kept = tempfile::tempdir().unwrap();
        let mut command = picotap();
        command.arg("-r").arg(&capture).arg("--keylog").arg(&keys).arg("--guest").arg(&guest);
        let outcome = run(command.arg("--quarantine-dir").arg(kept.path()).args(option).arg("--stats"));
        balanced(&outcome.stderr);
        assert!(outcome.stderr.contains("(reply_stalled)"), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("not kept, since it was decrypted"), files == 0, "{}", outcome.stderr);
        assert_eq!(fs::read_dir(kept.path()).unwrap().count(), files);
    }
}
