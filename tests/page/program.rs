//! The whole program: the report that it writes, and the page at its endpoint under load.

use std::process::Stdio;

use serde_json::{Value, json};

use super::browser;
use super::support::browser::Browser;
use super::support::daemon::{Daemon, directory};
use super::support::fixtures;
use super::support::network::Network;
use super::support::program::{picotap, run, scratch};
use super::support::tool::has;

#[test]
fn the_report_of_a_capture_shows_its_transactions() {
    let Some(mut browser) = browser() else { return };
    let capture = fixtures::path("http.pcap");
    let report = scratch("http.html");
    let outcome = run(picotap().args(["--format", "json", "-r"]).arg(&capture).arg("--report").arg(&report));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let lines: Vec<Value> = outcome.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    browser.open_file(&report);
    assert_eq!(browser.text("#state"), "Report");
    assert_eq!(browser.text("#source"), "http.pcap");
    assert_eq!(browser.text("#totals dd"), lines.len().to_string());
    // The rows are the lines, in the order of completion.
    browser.click("#recent th:first-child button");
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let expected: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let time = line["ts"].as_str().unwrap().split('T').nth(1).unwrap().trim_end_matches('Z').to_owned();
            vec![time, text(&line["method"]), text(&line["host"]), text(&line["target"]), text(&line["status"])]
        })
        .collect();
    let shown = browser.eval(
        "[...document.querySelectorAll('#recent tbody tr')].map((row) => [1, 2, 3, 4, 5].map((cell) => row.cells[cell].textContent))",
    );
    assert_eq!(shown, json!(expected));
    browser.frames();
    assert_eq!(browser.requests.len(), 1, "{:?}", browser.requests);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn the_page_shows_a_live_load_and_asks_for_nothing_but_its_events() {
    if !has(&["chromium", "wrk"]) {
        return;
    }
    let Some(network) = Network::new("the_page_shows_a_live_load") else { return };
    let network = network.serve();
    let logs = directory();
    let daemon = Daemon::start(&network, &logs.path().join("http.json"), &[], &[]);
    let mut browser = Browser::start(Some(&network.server));
    let url = "http://127.0.0.1:9464/";
    browser.open(url);
    browser.until("document.querySelector('#state').textContent === 'Live'");
    assert_eq!(browser.text("#source"), "wire1");
    assert!(browser.text("#recent .empty").starts_with("No transaction seen on wire1 yet."));
    let mut wrk = Network::inside(&network.client, "wrk");
    wrk.args(["-t", "1", "-c", "8", "-d", "4s", "http://10.99.0.2/short?page=1"]);
    let mut wrk = wrk.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    browser.until("document.querySelectorAll('#recent tbody tr').length === 200");
    browser.until("Number(document.querySelector('#totals dd').textContent.replaceAll(',', '')) > 1000");
    assert_eq!(browser.text("#recent tbody td:nth-child(5)"), "/short?page=1");
    wrk.wait().unwrap();
    // In the end the page has counted what the metrics have.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let total = daemon.transactions();
    browser.until(&format!("Number(document.querySelector('#totals dd').textContent.replaceAll(',', '')) === {total}"));
    browser.click("#tab-hosts");
    assert_eq!(browser.text("#hosts tbody td"), "10.99.0.2");
    browser.click("#tab-pairs");
    assert_eq!(browser.texts("#pairs tbody tr:first-child td")[..2], ["10.99.0.1", "10.99.0.2:80"]);
    assert!(browser.eval("document.querySelectorAll('*').length").as_u64().unwrap() < 9_000);
    let foreign: Vec<_> = browser
        .requests
        .iter()
        .filter(|asked| **asked != url && **asked != format!("{url}events") && !asked.starts_with("data:"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    // Stopped, it says so; the page knows that it hears nothing.
    daemon.stop();
    browser.until("document.querySelector('#state').textContent.startsWith('Not connected since ')");
}

/// What a fixture's attacker has sent is shown, and does nothing.
#[test]
fn the_report_of_a_hostile_capture_does_nothing() {
    let Some(mut browser) = browser() else { return };
    let capture = fixtures::path("heads/markup-in-heads/capture.pcap");
    let report = scratch("markup.html");
    let outcome =
        run(picotap().args(["--header", "Host", "-o", "/dev/null", "-r"]).arg(&capture).arg("--report").arg(&report));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    browser.open_file(&report);
    for tab in ["slowest", "hosts", "routes", "pairs", "health", "recent"] {
        browser.click(&format!("#tab-{tab}"));
        assert!(!browser.texts(&format!("#{tab} tbody tr")).is_empty(), "{tab}");
    }
    browser.click("#recent th:first-child button");
    let targets = browser.texts("#recent tbody td:nth-child(5)");
    assert_eq!(targets.len(), 8);
    assert_eq!(targets[0], "/</script><script>window.owned=1</script>");
    assert_eq!(targets[2], "/\"onmouseover=\"window.owned=1");
    assert_eq!(targets[5], "/{{data}}{{script}}]]>'`${window.owned=1}");
    for row in 1..=8 {
        browser.click(&format!("#recent tbody tr:nth-child({row}) td"));
        assert!(browser.text("#details .fields").contains("user_agent"));
    }
    assert_eq!(browser.eval("/[\\u202a-\\u202e]/.test(document.body.innerText)"), json!(false));
    assert_eq!(
        browser.eval("[typeof window.owned, document.scripts.length, document.images.length]"),
        json!(["undefined", 4, 0])
    );
    assert_eq!(browser.eval("document.documentElement.scrollWidth <= innerWidth"), json!(true));
    assert_eq!(browser.requests.len(), 1, "{:?}", browser.requests);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}
