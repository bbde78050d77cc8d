//! Live capture, in network namespaces that the test makes: picotap's lines match the server's access log.

use crate::support;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use support::network::{Network, until};
use support::program::{Outcome, finish};

/// Small and larger answers, and POST, in turn. (wrk waits for a body behind the answer to HEAD.)
const LOAD: &str = r#"
local n = 0
request = function()
    n = n + 1
    local kind = n % 5
    if kind == 0 then return wrk.format("GET", "/index.html?n=" .. n) end
    if kind == 1 then return wrk.format("POST", "/short?n=" .. n, {["Content-Type"] = "text/plain"}, string.rep("x", n % 3000)) end
    if kind == 2 then return wrk.format("GET", "/long?n=" .. n) end
    if kind == 3 then return wrk.format("GET", "/missing?n=" .. n) end
    return wrk.format("GET", "/short?n=" .. n)
end
"#;

pub(super) fn stop(network: &Network, child: Child) -> Outcome {
    // Everything is on the wire; the kernel hands blocks over every 100 ms.
    std::thread::sleep(Duration::from_millis(700));
    end(network, child)
}

fn end(network: &Network, child: Child) -> Outcome {
    // `ip netns exec` has become the program itself.
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let mut outcome = finish(child);
    outcome.stdout = std::fs::read(network.directory().join("lines")).unwrap();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome
}

/// A line as the access log would have it.
fn row(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| match &value[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    ["client", "client_port", "seq", "method", "target", "status", "response_body_bytes"].map(text).join(" ")
}

/// Rows by connection, in order of their number on it.
fn connections(rows: &[String]) -> BTreeMap<String, BTreeMap<u64, String>> {
    let mut out: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    for row in rows {
        let columns: Vec<&str> = row.split(' ').collect();
        out.entry(format!("{} {}", columns[0], columns[1]))
            .or_default()
            .insert(columns[2].parse().unwrap(), row.clone());
    }
    out
}

/// Compares line by line. A load that is cut off leaves at most one request on each connection whose fate the two ends see
/// differently: the last.
fn assert_same(network: &Network, outcome: &Outcome, cut_off: bool) -> usize {
    let printed: Vec<String> = outcome.lines().iter().map(|line| row(line)).collect();
    let (mut logged, mut printed) = (connections(&network.logged()), connections(&printed));
    if cut_off {
        for rows in logged.values_mut().chain(printed.values_mut()) {
            rows.pop_last();
        }
        // The one may have seen one request more than the other.
        for (connection, rows) in &mut logged {
            let other = printed.entry(connection.clone()).or_default();
            let least = rows.len().min(other.len());
            assert!(
                rows.len() - least <= 1 && other.len() - least <= 1,
                "{connection}: {} and {}; {}",
                rows.len(),
                other.len(),
                outcome.stderr
            );
            while rows.len() > least {
                rows.pop_last();
            }
            while other.len() > least {
                other.pop_last();
            }
        }
    }
    let flat = |rows: BTreeMap<String, BTreeMap<u64, String>>| -> BTreeSet<String> {
        rows.into_values().flat_map(BTreeMap::into_values).collect()
    };
    let (logged, printed) = (flat(logged), flat(printed));
    let missing: Vec<_> = logged.difference(&printed).take(5).collect();
    let unwanted: Vec<_> = printed.difference(&logged).take(5).collect();
    assert!(
        missing.is_empty() && unwanted.is_empty(),
        "{} logged, {} printed; missing {missing:#?}, unwanted {unwanted:#?}, {}",
        logged.len(),
        printed.len(),
        outcome.stderr
    );
    logged.len()
}

/// Starts a load of so many seconds; bounded by wrk itself.
pub(super) fn load(network: &Network, seconds: u32) -> Child {
    let script = network.file("load.lua", LOAD);
    let mut command = Network::inside(&network.client, "wrk");
    command.args(["-t", "1", "-c", "16", "-d", &format!("{seconds}s"), "-s"]).arg(script).arg("http://10.99.0.2/");
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn what_curl_asks_is_what_is_printed() {
    let Some(network) = Network::new("what_curl_asks_is_what_is_printed") else { return };
    let network = network.serve();
    let picotap = network.capture(&[]);
    assert!(network.curl(&["http://10.99.0.2/", "http://10.99.0.2/empty", "http://10.99.0.2/nothing"]));
    assert!(network.curl(&["http://[fd99::2]/index.html", "http://[fd99::2]/moved", "http://[fd99::2]/large.bin"]));
    assert!(network.curl(&["-I", "http://10.99.0.2/large.bin"]));
    assert!(network.curl(&["-d", "name=value", "http://10.99.0.2/short"]));
    assert!(network.curl(&["-r", "10-19", "http://10.99.0.2/large.bin"]));
    let outcome = stop(&network, picotap);
    assert_eq!(assert_same(&network, &outcome, false), 9);
    let interfaces: BTreeSet<_> = outcome
        .lines()
        .iter()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            value["interface"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(interfaces, BTreeSet::from(["wire1".to_owned()]));
}

#[test]
fn lines_name_the_interface_selected_by_number() {
    let Some(network) = Network::new("lines_name_the_interface_selected_by_number") else { return };
    let network = network.serve();
    let list = || {
        let listed = Network::inside(&network.server, env!("CARGO_BIN_EXE_picotap")).arg("-D").output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    // Interfaces that have just come up move in the list.
    until("the list is settled", || list().starts_with("wire1 "));
    let number = list().lines().position(|line| line.starts_with("lo ")).unwrap() + 1;
    let picotap = network.capture(&["--fanout", "2", "-i", &number.to_string()]);
    assert!(network.curl(&["http://10.99.0.2/short"]));
    let within = Network::inside(&network.server, "curl").args(["-sS", "http://127.0.0.1/short"]).output().unwrap();
    assert!(within.status.success());
    let mut seen: Vec<_> = stop(&network, picotap)
        .lines()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["client"].as_str().unwrap().to_owned(), line["interface"].as_str().unwrap().to_owned()))
        .collect();
    seen.sort();
    let wanted = [("10.99.0.1", "wire1"), ("127.0.0.1", "lo")];
    assert_eq!(seen, wanted.map(|(client, interface)| (client.to_owned(), interface.to_owned())));
}

#[test]
fn a_load_is_printed_line_by_line() {
    let Some(network) = Network::new("a_load_is_printed_line_by_line") else { return };
    let network = network.serve();
    let picotap = network.capture(&["--stats"]);
    load(&network, 3).wait().unwrap();
    let outcome = stop(&network, picotap);
    let same = assert_same(&network, &outcome, true);
    println!("{same} transactions in 3 s");
    assert!(same > 1000, "only {same} transactions: no load");
}

#[test]
fn a_fan_out_of_two_prints_the_same() {
    let Some(network) = Network::new("a_fan_out_of_two_prints_the_same") else { return };
    let network = network.serve();
    let picotap = network.capture(&["--fanout", "2", "--workers", "2"]);
    load(&network, 2).wait().unwrap();
    let outcome = stop(&network, picotap);
    assert!(assert_same(&network, &outcome, true) > 500);
}

#[test]
fn a_stop_under_load_loses_nothing_that_was_captured() {
    let Some(network) = Network::new("a_stop_under_load_loses_nothing_that_was_captured") else { return };
    let network = network.serve();
    let picotap = network.capture(&[]);
    let mut wrk = load(&network, 3);
    std::thread::sleep(Duration::from_millis(1500));
    let outcome = end(&network, picotap);
    wrk.wait().unwrap();
    let logged: BTreeSet<String> = network.logged().into_iter().collect();
    let printed: Vec<String> = outcome.lines().iter().map(|line| row(line)).collect();
    assert!(printed.len() > 500, "only {} transactions: no load", printed.len());
    for (connection, mut rows) in connections(&printed) {
        let last = *rows.keys().last().unwrap();
        assert_eq!(
            rows.len() as u64,
            last,
            "{connection}: the numbers on the connection have no holes; {}",
            outcome.stderr
        );
        rows.pop_last();
        for row in rows.values() {
            assert!(logged.contains(row), "{row} is not what the server says; {}", outcome.stderr);
        }
    }
}

#[test]
fn a_filter_holds_live() {
    let Some(network) = Network::new("a_filter_holds_live") else { return };
    let network = network.serve();
    let picotap = network.capture(&["ip6", "and", "tcp", "port", "80"]);
    assert!(network.curl(&["http://10.99.0.2/", "http://[fd99::2]/"]));
    let lines = stop(&network, picotap).lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("fd99::1"), "{lines:?}");
}
