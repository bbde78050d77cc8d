//! A real Prometheus, with the configuration and the rules of deploy/, scrapes a running picotap; then each of the two is
//! killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::daemon::{Daemon, directory, get, lines};
use crate::support::network::{Network, until};
use crate::support::tool;

const LISTENS: &str = "127.0.0.1:9090";

/// Prometheus in the server's namespace.
struct Prometheus<'a> {
    network: &'a Network,
    child: Child,
}

impl<'a> Prometheus<'a> {
    /// Starts it with the files of deploy/prometheus, which name picotap's own address; only the intervals are a test's.
    fn start(network: &'a Network, directory: &Path) -> Self {
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
        fs::copy(deployed.join("rules.yml"), directory.join("rules.yml")).unwrap();
        let mut text = fs::read_to_string(deployed.join("prometheus.yml")).unwrap();
        for (interval, short) in
            [("scrape_interval: 15s", "1s"), ("evaluation_interval: 15s", "1s"), ("scrape_timeout: 5s", "1s")]
        {
            assert!(text.contains(interval), "{interval}");
            text = text.replace(interval, &format!("{} {short}", interval.split(' ').next().unwrap()));
        }
        fs::write(directory.join("prometheus.yml"), text).unwrap();
        let mut command = Network::inside(&network.server, "prometheus");
        command.arg("--config.file").arg(directory.join("prometheus.yml"));
        command.arg("--storage.tsdb.path").arg(directory.join("data"));
        command.args(["--web.listen-address", LISTENS, "--log.level", "warn"]);
        let log = fs::File::create(directory.join("prometheus.log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let prometheus = Self { network, child };
        until("Prometheus is ready", || get(network, LISTENS, "/-/ready", &[]).0 == 200);
        prometheus
    }

    /// What its HTTP API answers; the answer must be a success.
    fn api(&self, path: &str, options: &[&str]) -> Value {
        let (status, body) = get(self.network, LISTENS, &format!("/api/v1/{path}"), options);
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {status} {body:?}: {e}"));
        assert_eq!(answer["status"], "success", "{path} {options:?}: {answer}");
        answer["data"].clone()
    }

    fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.api("query", &["-G", "--data-urlencode", &format!("query={expression}")]);
        data["result"].as_array().cloned().unwrap_or_default()
    }

    /// The value of an expression that gives one.
    fn value(&self, expression: &str) -> Option<f64> {
        let [one] = self.query(expression).try_into().ok()?;
        let one: Value = one;
        one["value"][1].as_str()?.parse().ok()
    }

    fn is(&self, expression: &str, wanted: f64) -> bool {
        self.value(expression).is_some_and(|value| (value - wanted).abs() < 1e-9)
    }

    fn until(&self, expression: &str, wanted: f64) {
        until(&format!("{expression} is {wanted}"), || self.is(expression, wanted));
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const UP: &str = "up{job=\"picotap\"}";
const REQUESTS: &str = "sum(http_server_request_duration_seconds_count{job=\"picotap\"})";

/// Every rule of the file is loaded and evaluated without error, and so is its expression when asked for by itself.
fn assert_rules(prometheus: &Prometheus<'_>) {
    let rules = || -> Vec<Value> {
        let groups = prometheus.api("rules", &[])["groups"].as_array().cloned().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap()).collect()
    };
    until("all rules were evaluated", || rules().iter().all(|rule| rule["health"] != "unknown"));
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules.yml")).unwrap();
    let named = ["- record: ", "- alert: "].map(|kind| file.matches(kind).count());
    let rules = rules();
    assert_eq!(rules.len(), named.iter().sum::<usize>());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert!(rule["lastError"].as_str().is_none_or(str::is_empty), "{rule}");
        prometheus.query(rule["query"].as_str().unwrap());
    }
    assert!(
        prometheus.is("sum(prometheus_rule_evaluation_failures_total)", 0.0) || {
            // Prometheus does not scrape itself here: its own page has the number.
            let (_, page) = get(prometheus.network, LISTENS, "/metrics", &[]);
            let failures = page.lines().filter(|line| line.starts_with("prometheus_rule_evaluation_failures_total"));
            failures.map(|line| line.rsplit_once(' ').unwrap().1).all(|count| count == "0")
        }
    );
}

#[test]
fn a_real_prometheus_scrapes_and_each_survives_the_other() {
    if !tool::has(&["root", "prometheus"]) {
        return;
    }
    let Some(network) = Network::new("a_real_prometheus_scrapes_and_each_survives_the_other") else { return };
    let network = network.serve();
    let (logs, directory) = (directory(), tempfile::tempdir().unwrap());
    let log = logs.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    let prometheus = Prometheus::start(&network, directory.path());
    let ask = |text: &str| network.ask(text, 50);
    let written = |count: usize| until("the lines are written", || lines_so_far(&log) == count);

    ask("first");
    prometheus.until(UP, 1.0);
    prometheus.until(REQUESTS, 50.0);
    let names = prometheus.api("label/__name__/values", &[]);
    let known: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for family in picotap::pipeline::scrape::all() {
        assert!(known.contains(&family.name()), "{} is not scraped", family.name());
    }
    assert!(prometheus.is("picotap_capture_interface_up{interface=\"wire1\"}", 1.0));
    let targets = prometheus.api("targets", &[])["activeTargets"].clone();
    assert_eq!((targets[0]["health"].as_str(), targets[0]["lastError"].as_str()), (Some("up"), Some("")), "{targets}");
    assert_rules(&prometheus);
    // A rate is the difference between two scrapes.
    ask("more");
    until("the rate is recorded", || !prometheus.query("job:http_server_requests:rate5m > 0").is_empty());

    // picotap is killed and comes back, to the same address and the same log.
    written(100);
    daemon.kill();
    prometheus.until(UP, 0.0);
    let daemon = Daemon::start(&network, &log, &[], &[]);
    prometheus.until(UP, 1.0);
    ask("second");
    prometheus.until(REQUESTS, 50.0);
    prometheus.until("resets(process_start_time_seconds{job=\"picotap\"}[5m]) + changes(process_start_time_seconds{job=\"picotap\"}[5m])", 1.0);
    written(150);

    // Prometheus is killed, in mid-traffic; nothing of that is seen in what picotap counts and writes.
    prometheus.kill();
    ask("third");
    written(200);
    let prometheus = Prometheus::start(&network, directory.path());
    prometheus.until(UP, 1.0);
    prometheus.until(REQUESTS, 100.0);
    assert!(!prometheus.query("up{job=\"picotap\"}[5m]").is_empty(), "it kept what it knew");
    drop(prometheus);
    let said = daemon.stop();
    assert!(said.contains("lost: nothing\n"), "{said}");
    let lines = lines(&log);
    assert_eq!(lines.len(), 200);
    for text in ["first", "more", "second", "third"] {
        for number in 1..=50 {
            let target = format!("/short?{text}={number}\"");
            assert_eq!(lines.iter().filter(|line| line.contains(&target)).count(), 1, "{target}");
        }
    }
}

fn lines_so_far(log: &Path) -> usize {
    fs::read_to_string(log).unwrap().lines().count()
}
