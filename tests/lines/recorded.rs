//! The recording of real traffic: what picotap prints is what the servers logged.

use crate::support;
use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use support::fixtures::path as fixture;
use support::line::essence;
use support::program::{assert_lines, read, scratch};

#[test]
fn picotap_prints_what_the_servers_logged() {
    let capture = fixture("http.pcap");
    let outcome = read(&capture, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut logged: Vec<String> =
        fs::read_to_string(fixture("http/servers.log")).unwrap().lines().map(str::to_owned).collect();
    let mut printed: Vec<String> = outcome.lines().iter().map(|line| essence(line).2).collect();
    logged.sort();
    printed.sort();
    assert_lines(&logged, &printed, &capture);

    let lines = outcome.sorted();
    let expected = fixture("http/expected.jsonl");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
    let kept: Vec<String> = fs::read_to_string(&expected).unwrap().lines().map(str::to_owned).collect();
    assert_lines(&kept, &lines, &capture);
}

/// The servers of `fixtures/servers`, by port.
const SERVERS: [(u64, &str); 10] = [
    (80, "nginx"),
    (81, "apache"),
    (82, "lighttpd"),
    (83, "haproxy"),
    (84, "varnish"),
    (85, "squid"),
    (86, "node"),
    (87, "http.server"),
    (88, "uvicorn"),
    (89, "gunicorn"),
];

/// A transaction of a line: server, client's port, method, target, status; and the sizes that a server may log: of the body,
/// and of all.
fn row(line: &str) -> (String, [u64; 2]) {
    let value: Value = serde_json::from_str(line).unwrap();
    let server = SERVERS.iter().find(|(port, _)| value["server_port"] == *port).unwrap().1;
    let number = |key: &str| value[key].as_u64().unwrap_or(0);
    let wire = number("response_body_bytes");
    let body = value["response_body_decoded_bytes"].as_u64().unwrap_or(wire);
    let text = |key: &str| value[key].as_str().unwrap_or("-").to_owned();
    let status = value["status"].as_u64().map_or("-".to_owned(), |status| status.to_string());
    let row = format!("{server} {} {} {} {status}", number("client_port"), text("method"), text("target"));
    (row, [body, wire + number("response_head_bytes")])
}

#[test]
fn ten_servers_logged_the_same_transactions_and_sizes() {
    let outcome = read(&fixture("servers.pcap"), &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    // Of rows that are the same, on one connection, the sizes come in any order.
    let mut logged: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in fs::read_to_string(fixture("servers/servers.log")).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [row @ .., kind, size] = &words[..] else { panic!("{line}") };
        logged.entry(row.join(" ")).or_default().push(((*kind).to_owned(), size.replace('-', "0")));
    }
    let mut differences: Vec<String> = Vec::new();
    let mut same = 0;
    // As in the file: without the port, with the status in its column.
    let difference = |row: &str, column: usize| {
        let words: Vec<&str> = row.split(' ').collect();
        let status = if column == 0 { format!("{} -", words[4]) } else { format!("- {}", words[4]) };
        format!("{} {} {} {status}", words[0], words[2], words[3])
    };
    for line in outcome.lines() {
        let (row, [body, all]) = row(&line);
        let Some(entries) = logged.get_mut(&row).filter(|entries| !entries.is_empty()) else {
            differences.push(difference(&row, 1));
            continue;
        };
        let fits = |(kind, size): &(String, String)| match kind.as_str() {
            "body" => size.parse() == Ok(body),
            "all" => size.parse() == Ok(all),
            _ => true,
        };
        let at = entries.iter().position(fits).unwrap_or_else(|| panic!("{row}: {body} bytes, of {entries:?}"));
        entries.remove(at);
        same += 1;
    }
    for (row, entries) in &logged {
        entries.iter().for_each(|_| differences.push(difference(row, 0)));
    }
    let file = fs::read_to_string(fixture("servers/differences.txt")).unwrap();
    let known =
        file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(": ").next().unwrap().to_owned());
    let mut known: Vec<String> = known.collect();
    known.sort();
    differences.sort();
    differences.dedup();
    assert_eq!(differences, known);
    assert!(same > 300, "{same} rows are the same");
}

/// The recording as if captured with a snap length: each frame of it holds at most so many bytes.
fn snapped(capture: &[u8], length: usize) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap()) as usize;
    let mut out = capture[..24].to_vec();
    let mut at = 24;
    while at < capture.len() {
        let held = number(at + 8);
        let kept = held.min(length);
        out.extend(&capture[at..at + 8]);
        out.extend((kept as u32).to_le_bytes());
        out.extend(&capture[at + 12..at + 16 + kept]);
        at += 16 + held;
    }
    out
}

/// Of the 43 transactions, every one has its line, whose target and status are as far as they were captured those of the
/// whole. At 96 bytes the status of 9 is not in the frame: 10 bytes of payload over IPv6 with time stamps.
/// (`tshark -Y http.response.code` shows 25 and 34 final ones.)
#[test]
fn a_short_snap_length_costs_what_it_cuts() {
    let capture = fs::read(fixture("http.pcap")).unwrap();
    let parsed = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let place = |line: &Value| [line["client_port"].to_string(), line["ts"].to_string()];
    let whole: Vec<_> = read(&fixture("http.pcap"), &[]).lines().iter().map(parsed).collect();
    for (length, statuses) in [(256, 43), (96, 34)] {
        let path = scratch(&format!("snapped-{length}.pcap"));
        fs::write(&path, snapped(&capture, length)).unwrap();
        let lines: Vec<_> = read(&path, &[]).lines().iter().map(parsed).collect();
        assert!(lines.iter().all(|line| line.get("method").is_some()));
        assert_eq!(lines.len(), whole.len());
        assert_eq!(lines.iter().filter(|line| line.get("status").is_some()).count(), statuses, "{length}");
        for line in &lines {
            let of_whole = whole.iter().find(|other| place(other) == place(line)).unwrap();
            assert_eq!(line["method"], of_whole["method"]);
            let [cut, target] = [line, of_whole].map(|line| line["target"].as_str().unwrap());
            assert!(target.starts_with(cut), "{line} {of_whole}");
            assert!(line.get("status").is_none_or(|status| *status == of_whole["status"]), "{line} {of_whole}");
        }
        fs::remove_file(path).unwrap();
    }
}
