//! Suricata, the second reference, lists the same transactions for every fixture, or `fixtures/suricata.md` explains why not.
//!
//! Long, and Suricata comes from Debian's backports: `cargo test --test lines suricata -- --ignored`.

use crate::support;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use support::line::essence;
use support::program::scratch;
use support::tool::need;

const CONFIGURATION: &str = "%YAML 1.1
---
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [{http: {extended: yes}}]}
stats: {enabled: no}
logging: {default-log-level: error, outputs: [{console: {enabled: yes}}]}
app-layer: {protocols: {http: {enabled: yes, libhtp: {default-config: {personality: IDS}}}}}
stream: {midstream: true, async-oneside: true, checksum-validation: no}
default-rule-path: /nonexistent
";

/// Rows of client, port, method, target and status, sorted.
fn transactions(suricata: &Path, capture: &Path) -> Vec<String> {
    let directory = scratch("suricata");
    fs::remove_dir_all(&directory).ok();
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("suricata.yaml"), CONFIGURATION).unwrap();
    let mut command = Command::new(suricata);
    command
        .arg("-c")
        .arg(directory.join("suricata.yaml"))
        .args(["-S", "/dev/null", "-k", "none", "-l"])
        .arg(&directory);
    command.arg("-r").arg(capture).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("Suricata runs");
    let text = fs::read(directory.join("eve.json")).unwrap_or_default();
    let mut rows: Vec<String> = String::from_utf8_lossy(&text).lines().map(row).collect();
    rows.sort();
    rows
}

fn row(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| event["http"][key].as_str().unwrap_or("-").replace("/libhtp::request_uri_not_seen", "-");
    let client: IpAddr = event["src_ip"].as_str().unwrap().parse().unwrap();
    let status = event["http"]["status"].as_u64().map_or_else(|| "-".into(), |status| status.to_string());
    format!("{client} {} {} {} {status}", event["src_port"], text("http_method"), text("url"))
}

/// Fixtures that differ, with the reason.
fn known() -> BTreeMap<String, String> {
    let table = fs::read_to_string(support::fixtures::path("suricata.md")).unwrap();
    let cells = |line: &str| -> Option<(String, String)> {
        let (name, why) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        (name != "fixture").then(|| (name.to_owned(), why.to_owned()))
    };
    table.lines().filter_map(cells).collect()
}

#[test]
#[ignore = "long, and Suricata comes from backports"]
fn suricata_sees_the_same_transactions() {
    let Some(suricata) = need("suricata_sees_the_same_transactions", "suricata") else { return };
    let mut known = known();
    let mut wrong = vec![];
    for directory in support::fixtures::directories() {
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        let mut captures: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()).collect();
        captures.push(directory.with_extension("pcap"));
        captures.retain(|path| path.to_string_lossy().contains(".pcap") && path.is_file());
        let readme = fs::read_to_string(directory.join("README.md")).unwrap();
        let ([capture], true) = (&captures[..], readme.contains("tshark gives")) else { continue };
        let expected = fs::read_to_string(directory.join("expected.jsonl")).unwrap();
        let mut ours: Vec<String> = expected.lines().map(|line| essence(line).2).collect();
        ours.sort();
        let says = transactions(&suricata, capture);
        match known.remove(&name) {
            None if says != ours => wrong.push(format!("{name}: Suricata says {says:#?}, expected {ours:#?}")),
            Some(why) if says == ours => wrong.push(format!("{name}: Suricata agrees by now, though {why}")),
            _ => {}
        }
    }
    wrong.extend(
        known.keys().map(|name| format!("{name} is in fixtures/suricata.md, and is no fixture of one whole file")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
