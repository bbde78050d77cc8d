//! The recording of real traffic over TLS: what picotap decrypts is what the servers logged, and what tshark lists.

use crate::support;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use picotap::Reader;
use serde_json::Value;
use support::fixtures::path as fixture;
use support::program::{Outcome, assert_lines, read, scratch};
use support::random::Random;
use support::tool;

/// Of the requests in the capture, the one whose suite picotap cannot open.
const UNSUPPORTED: &str = "/?suite=CAMELLIA128-SHA256";
/// Port and target of the early data that was refused, and not sent again.
const REFUSED: &str = "57168 GET /?early=taken";
/// The port of the server that logs nothing.
const LOGS_NOTHING: &str = "4437";

/// What picotap prints of a capture, with these options.
fn decrypted(capture: &Path, options: &[&str]) -> (Outcome, Vec<Value>) {
    let outcome = read(capture, &[&["--stats"], options].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("  balanced\n"), "{}", outcome.stderr);
    let lines = outcome.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    (outcome, lines)
}

fn with_keys(capture: &Path) -> (Outcome, Vec<Value>) {
    decrypted(capture, &["--keylog", fixture("tls/https/keys.txt").to_str().unwrap()])
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn row(line: &Value) -> String {
    ["client_port", "method", "target", "status"].map(|key| text(&line[key])).join(" ")
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[test]
fn picotap_prints_what_the_servers_logged() {
    let capture = fixture("tls/https.pcap");
    let (_, lines) = with_keys(&capture);
    let log = fs::read_to_string(fixture("tls/https/servers.log")).unwrap();
    let logged = log.lines().filter(|line| !line.contains(UNSUPPORTED));
    let logged = logged.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    let printed = lines.iter().filter(|line| text(&line["server_port"]) != LOGS_NOTHING).map(row).collect();
    assert_lines(&sorted(logged), &sorted(printed), &capture);
    assert_eq!(lines.iter().filter(|line| text(&line["server_port"]) == LOGS_NOTHING).count(), 1);
    // Everything that was to be recorded is there.
    let of = |key: &str| -> BTreeSet<String> { lines.iter().map(|line| text(&line["tls"][key])).collect() };
    assert_eq!(of("version"), BTreeSet::from(["TLSv1.2".to_owned(), "TLSv1.3".to_owned()]));
    assert!(of("cipher").len() >= 20, "{:?}", of("cipher"));
    assert!(of("sni").contains("picotap.test") && of("alpn").contains("http/1.1"));
    for wanted in ["/?ticket=1.2.again", "/?id=2", "/?early=taken", "/?node=again.TLSv1.2", "/?node=again.TLSv1.3"] {
        let resumed = lines.iter().filter(|line| line["target"] == wanted).any(|line| line["tls"]["resumed"] == true);
        assert!(resumed, "{wanted}");
    }
}

/// Requests and responses that tshark lists with the same keys.
fn tshark<const N: usize>(capture: &Path, fields: [&str; N], filter: &str) -> Vec<String> {
    let keys = format!("tls.keylog_file:{}", fixture("tls/https/keys.txt").display());
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-o", &keys, "-Y", filter, "-T", "fields"]);
    let output = command.args(fields.iter().flat_map(|field| ["-e", field])).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows = vec![];
    for line in text.lines() {
        // Several of one frame stand in one line.
        let columns: Vec<Vec<&str>> = line.split('\t').map(|column| column.split(',').collect()).collect();
        let count = columns.iter().map(Vec::len).max().unwrap();
        for at in 0..count {
            let row: Vec<&str> = columns.iter().map(|column| column.get(at).copied().unwrap_or(column[0])).collect();
            rows.push(row.join(" "));
        }
    }
    sorted(rows)
}

#[test]
fn tshark_lists_the_same_with_the_same_keys() {
    if !tool::has(&["tshark"]) {
        return;
    }
    let capture = fixture("tls/https.pcap");
    let (_, lines) = with_keys(&capture);
    let (second, lines): (Vec<Value>, Vec<Value>) = lines.into_iter().partition(|line| line["version"] == "2");
    let asked = |line: &Value| format!("{} {}", text(&line["method"]), text(&line["target"]));
    let found = tshark(&capture, ["http2.headers.method", "http2.headers.path"], "http2.headers.method");
    assert_eq!(second.len(), 6);
    assert_lines(&found, &sorted(second.iter().map(asked).collect()), &capture);
    let mut requests: Vec<String> = lines.iter().map(asked).collect();
    // The suite that we do not open; and early data that was refused, which is no request that the server got.
    requests.extend([format!("GET {UNSUPPORTED}"), "GET /?early=taken".to_owned()]);
    let found = tshark(&capture, ["http.request.method", "http.request.uri"], "http.request");
    assert_lines(&found, &sorted(requests), &capture);
    let mut responses: Vec<String> =
        lines.iter().map(|line| format!("{} {}", text(&line["status"]), text(&line["reason"]))).collect();
    responses.push("200 OK".to_owned());
    let found = tshark(&capture, ["http.response.code", "http.response.phrase"], "http.response");
    // Without a length, and on a connection that was reset, tshark lists none.
    responses.retain(|response| response != "200 ok");
    assert_lines(&found, &sorted(responses), &capture);
}

#[test]
fn a_program_and_a_capture_with_secrets_in_it_give_the_same() {
    let capture = fixture("tls/https.pcap");
    let (_, lines) = with_keys(&capture);
    let wanted = sorted(lines.iter().map(row).collect());
    let given = |reader: Reader| -> Vec<String> {
        let row = |transaction: picotap::Transaction| {
            let of = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            assert!(transaction.secured.is_some());
            format!("{} {}", of(transaction.target()), transaction.status)
        };
        sorted(reader.map(|transaction| row(transaction.unwrap())).collect())
    };
    let short =
        |rows: &[String]| sorted(rows.iter().map(|row| row.splitn(3, ' ').nth(2).unwrap().to_owned()).collect());
    let reader = Reader::open(&capture).unwrap().key_log(fixture("tls/https/keys.txt")).unwrap();
    assert_eq!(given(reader), short(&wanted));
    let error = Reader::open(&capture).unwrap().key_log("/nowhere/keys").unwrap_err();
    assert!(error.to_string().contains("/nowhere/keys: cannot be read"), "{error}");
    if !tool::has(&["editcap"]) {
        return;
    }
    let within = scratch("https-within.pcapng");
    let secrets = format!("tls,{}", fixture("tls/https/keys.txt").display());
    assert!(
        Command::new("editcap")
            .args(["--inject-secrets", &secrets])
            .arg(&capture)
            .arg(&within)
            .status()
            .unwrap()
            .success()
    );
    let (_, lines) = decrypted(&within, &[]);
    assert_eq!(sorted(lines.iter().map(row).collect()), wanted);
    assert_eq!(given(Reader::open(&within).unwrap()), short(&wanted));
}

/// The capture without some of its packets.
fn lossy(capture: &[u8], one_in: u64, random: &mut Random) -> Vec<u8> {
    let (header, mut rest) = capture.split_at(24);
    let mut out = header.to_vec();
    while let Some((head, behind)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        let (packet, next) = behind.split_at(length);
        rest = next;
        if !random.one_in(one_in) {
            out.extend([head, packet].concat());
        }
    }
    out
}

#[test]
fn with_packets_lost_nothing_is_wrong() {
    let whole = fs::read(fixture("tls/https.pcap")).unwrap();
    let (_, lines) = with_keys(&fixture("tls/https.pcap"));
    let key = |line: &Value| ["client_port", "method", "target"].map(|key| text(&line[key])).join(" ");
    let truth: BTreeMap<String, &Value> = lines.iter().map(|line| (key(line), line)).collect();
    for (one_in, least) in [(100, 170), (10, 60)] {
        for seed in 0..5 {
            let path = scratch("https-lossy.pcap");
            fs::write(&path, lossy(&whole, one_in, &mut Random::new(seed))).unwrap();
            let (_, lines) = with_keys(&path);
            let mut right = 0;
            for line in &lines {
                if line["method"].is_null() || line["target"].is_null() {
                    continue;
                }
                // A request of which only a part was seen says so.
                if line["error"].is_string() || line["flags"].to_string().contains("lost_head") {
                    continue;
                }
                let wanted = truth.get(&key(line)).unwrap_or_else(|| panic!("{line} was not sent"));
                if !line["status"].is_null() && !line["flags"].to_string().contains("pairing_inferred") {
                    assert_eq!(line["status"], wanted["status"], "{line}");
                    right += 1;
                }
            }
            println!("1 of {one_in} lost, seed {seed}: {right} of {} with their answer", truth.len());
            assert!(right >= least, "{right}");
            if !tool::has(&["tshark"]) {
                continue;
            }
            let ours: BTreeSet<String> = lines.iter().map(key).collect();
            let found = tshark(&path, ["tcp.srcport", "http.request.method", "http.request.uri"], "http.request");
            // The suite that we do not open, and early data that was refused.
            let missed = found.iter().filter(|row| !ours.contains(*row) && !row.contains(UNSUPPORTED));
            let missed: Vec<&String> = missed.filter(|row| !row.contains(REFUSED)).collect();
            assert!(found.len() > 80 && missed.is_empty(), "seed {seed}: tshark lists {missed:?}");
        }
    }
}
