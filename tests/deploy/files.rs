//! The files under `deploy/`, read by the tools that will read them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;
use picotap::cli::Cli;
use picotap::pipeline::scrape;
use picotap::{config, manual};

use crate::tool;

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(super) fn run(program: &str, arguments: &[&str]) -> Output {
    let path = if program.contains('/') { root().join(program) } else { program.into() };
    let output = Command::new(path).args(arguments).current_dir(root()).output();
    output.unwrap_or_else(|e| panic!("{program}: {e}"))
}

pub(super) fn succeeds(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said.into_owned()
}

/// The tokens of a text that look like metrics' names, without what a histogram appends.
fn metrics(text: &str) -> BTreeSet<String> {
    let tokens = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = tokens
        .filter(|token| ["http_server_", "rpc_server_", "picotap_", "process_"].iter().any(|p| token.starts_with(p)));
    let base = |token: &str| {
        let cut = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| token.strip_suffix(suffix));
        cut.unwrap_or(token).to_owned()
    };
    named.map(base).collect()
}

/// The queries of a file, without the names of recorded series, which hold a colon.
fn queries(path: &str) -> String {
    let text = read(path);
    let dashboard = path.ends_with(".json");
    let wanted = |line: &&str| if dashboard { line.contains("\"expr\"") } else { !line.trim().starts_with("- record") };
    let lines: Vec<&str> = text.lines().filter(wanted).collect();
    let tokens = lines.iter().flat_map(|line| line.split_whitespace());
    tokens.map(|token| if token.contains(":http_") || token.contains(":picotap_") { "" } else { token }).fold(
        String::new(),
        |mut all, token| {
            all.push_str(token);
            all.push(' ');
            all
        },
    )
}

#[test]
fn rules_and_dashboard_name_metrics_that_are_there() {
    let mut named = metrics(&queries("deploy/prometheus/rules.yml"));
    named.extend(metrics(&queries("deploy/grafana/dashboards/picotap.json")));
    // Those of the pipeline stand in a table; the others in the texts that register them.
    let mut known: BTreeSet<String> = scrape::all().iter().map(|family| family.name().to_owned()).collect();
    known.extend(metrics(&(read("src/export/metrics.rs") + &read("src/export/metrics/calls.rs"))));
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(named.len() > 20, "{named:?}");
}

/// Metrics that the dashboard does not show, and why.
const WITHOUT_PANEL: [(&str, &str); 8] = [
    ("picotap_segments_total", "frames, used as segments, are shown as picotap_used_packets_total"),
    ("picotap_stream_bytes_total", "the sum of some of the accounts of picotap_payload_bytes_total"),
    ("picotap_stream_events_total", "what picotap_sandbox_events_total shows, one step before"),
    ("picotap_delivered_bytes_total", "the sum of some of the accounts of picotap_payload_bytes_total"),
    ("picotap_sandbox_bytes_total", "the sum of some of the accounts of picotap_payload_bytes_total"),
    ("process_start_time_seconds", "for functions such as resets"),
    ("process_threads", "constant"),
    ("process_virtual_memory_bytes", "reserved by wasmtime, and of no consequence"),
];

#[test]
fn every_metric_is_on_the_dashboard_or_excused() {
    let mut all: BTreeSet<String> = scrape::all().iter().map(|family| family.name().to_owned()).collect();
    // Those over transactions are registered by name.
    for file in ["src/export/metrics.rs", "src/export/metrics/calls.rs"] {
        let registered = read(file);
        let (code, _) = registered.split_once("#[cfg(test)]").expect("tests");
        all.extend(code.split('"').filter(|text| metrics(text).contains(*text)).map(ToOwned::to_owned));
    }
    assert!(all.contains("picotap_operations_total") && all.contains("http_server_request_duration_seconds"));
    let shown = metrics(&queries("deploy/grafana/dashboards/picotap.json"));
    for (excused, why) in WITHOUT_PANEL {
        assert!(all.contains(excused) && !shown.contains(excused) && !why.is_empty(), "{excused}");
    }
    let excused: BTreeSet<String> = WITHOUT_PANEL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> = all.iter().filter(|name| !shown.contains(*name) && !excused.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} have no panel");
}

const RUNBOOK: &str = "deploy/prometheus/RUNBOOK.md";

#[test]
fn every_alert_has_its_page_and_is_tried() {
    let (rules, tests, runbook) =
        (read("deploy/prometheus/rules.yml"), read("deploy/prometheus/rules.test.yml"), read(RUNBOOK));
    let after = |text: &'static str| move |line: &'_ str| line.trim().strip_prefix(text).map(ToOwned::to_owned);
    let alerts: BTreeSet<String> = rules.lines().filter_map(after("- alert: ")).collect();
    let sections: BTreeSet<String> = runbook.lines().filter_map(after("## ")).collect();
    assert_eq!(alerts, sections);
    assert!(alerts.len() > 20, "{alerts:?}");
    let links: Vec<String> = rules.lines().filter_map(after("runbook: RUNBOOK.md#")).collect();
    assert_eq!(links, rules.lines().filter_map(after("- alert: ")).map(|name| name.to_lowercase()).collect::<Vec<_>>());
    for alert in &alerts {
        let fires =
            tests.contains(&format!("alertname=\"{alert}\"")) || tests.contains(&format!("alertname: {alert}\n"));
        assert!(fires, "no test in which {alert} fires");
    }
}

#[test]
fn what_the_runbook_names_is_there() {
    let runbook = read(RUNBOOK);
    let mut known: BTreeSet<String> = scrape::all().iter().map(|family| family.name().to_owned()).collect();
    known.extend(metrics(&read("src/export/metrics.rs")));
    let named = metrics(&runbook.replace("grep ^picotap_ ", ""));
    assert!(named.is_subset(&known), "{:?}", named.difference(&known));
    let command = Cli::command();
    let options: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
    let others = ["version", "since"]; // of clap, and of journalctl
    let mut checked = 0;
    for option in runbook.split("--").skip(1) {
        let name: String = option.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        assert!(options.contains(&name.as_str()) || others.contains(&name.as_str()), "--{name}");
        checked += 1;
    }
    assert!(checked > 10, "{checked}");
    let dashboard = read("deploy/grafana/dashboards/picotap.json");
    for (before, after) in [("the panel \"", '"'), ("the row \"", '"')] {
        for rest in runbook.split(before).skip(1) {
            let title = rest.split(after).next().expect("a title");
            assert!(dashboard.contains(&format!("\"title\": \"{title}\"")), "{title}");
        }
    }
}

#[test]
fn the_runbook_s_commands_on_the_log_run() {
    if !tool::has(&["jq", "bash"]) {
        return;
    }
    let mut tried = 0;
    for command in read(RUNBOOK).split('`').filter(|text| text.starts_with("jq ")) {
        let command = command.replace(
            "/var/log/picotap/http.log",
            "fixtures/malformed/bad-chunk-size/expected.jsonl fixtures/framing/get/expected.jsonl",
        );
        succeeds("bash", &["-euo", "pipefail", "-c", &command.replace(" | head", "")]);
        tried += 1;
    }
    assert!(tried >= 4, "{tried}");
}

#[test]
fn every_recorded_series_that_is_used_is_recorded() {
    let rules = read("deploy/prometheus/rules.yml");
    let colons = |text: &str| -> BTreeSet<String> {
        let tokens = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        tokens.filter(|token| token.contains(":http_") || token.contains(":picotap_")).map(ToOwned::to_owned).collect()
    };
    let recorded: BTreeSet<String> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(ToOwned::to_owned).collect();
    let used = colons(&rules);
    assert!(used.is_subset(&recorded), "{:?}", used.difference(&recorded));
    assert!(recorded.len() >= 6, "{recorded:?}");
}

#[test]
fn prometheus_accepts_configuration_and_rules() {
    if !tool::has(&["promtool"]) {
        return;
    }
    for file in ["deploy/prometheus/prometheus.yml", "deploy/prometheus/federate.yml"] {
        succeeds("promtool", &["check", "config", file]);
    }
    succeeds("promtool", &["check", "rules", "--lint=all", "--lint-fatal", "deploy/prometheus/rules.yml"]);
}

#[test]
fn alerts_are_roused_by_what_they_are_for_and_by_nothing_else() {
    if !tool::has(&["promtool"]) {
        return;
    }
    succeeds("promtool", &["test", "rules", "deploy/prometheus/rules.test.yml"]);
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/dashboards/picotap.json")).expect("JSON");
    assert_eq!(dashboard["uid"], "picotap");
    assert!(dashboard.get("__inputs").is_none(), "provisioning knows no inputs");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{}", panel["title"]);
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            assert!(query.contains("$job") && query.contains("$instance"), "{query}");
        }
    }
}

#[test]
fn every_query_of_the_dashboard_is_one() {
    if !tool::has(&["promtool"]) {
        return;
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/dashboards/picotap.json")).expect("JSON");
    // As rules, which promtool parses; Grafana's variables become what Grafana would put there.
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    for (number, target) in targets.enumerate() {
        let query = target["expr"].as_str().expect("a query");
        let query = query.replace("$__rate_interval", "1m").replace("$__range", "1h");
        rules += &format!("  - record: job:dashboard:query{number}\n    expr: '{}'\n", query.replace('\'', "''"));
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &rules).expect("written");
    let said = succeeds("promtool", &["check", "rules", file.path().to_str().expect("a name")]);
    assert!(said.contains("rules found"), "{said}");
}

#[test]
fn the_unit_is_one_and_well_confined() {
    if !tool::has(&["systemd-analyze"]) {
        return;
    }
    // The program stands elsewhere on this machine, and the man page nowhere yet.
    let unit = read("deploy/systemd/picotap.service").replace("/usr/bin/picotap", env!("CARGO_BIN_EXE_picotap"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("picotap.service");
    fs::write(&path, unit).expect("written");
    let path = path.to_str().expect("a name");
    let said = succeeds("systemd-analyze", &["verify", "--man=no", path]);
    assert_eq!(said.trim(), "", "verify has something to say");
    // Tenths: 2.5, where 10 is no confinement at all, and what must stay (sockets, the host's network) makes 1.5.
    succeeds("systemd-analyze", &["security", "--offline=true", "--threshold=25", path]);
}

#[test]
fn the_unit_leaves_the_compiler_of_the_guest_its_pages() {
    let unit = read("deploy/systemd/picotap.service");
    let settings: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    for forbidden in ["MemoryDenyWriteExecute=", "LimitAS=", "PrivateNetwork=", "PrivateUsers="] {
        assert!(!settings.iter().any(|line| line.starts_with(forbidden)), "{forbidden}");
    }
}

#[test]
fn the_unit_lets_picotap_restrict_itself() {
    let unit = read("deploy/systemd/picotap.service");
    let filter = unit.lines().find(|line| line.starts_with("SystemCallFilter=")).expect("a filter");
    for call in ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
        assert!(filter.split([' ', '=']).any(|token| token == call), "{call}");
    }
}

#[test]
fn users_and_directories_are_made() {
    if !tool::has(&["root", "systemd-sysusers", "systemd-tmpfiles"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    for kind in ["sysusers", "tmpfiles"] {
        let target = directory.path().join(format!("usr/lib/{kind}.d"));
        fs::create_dir_all(&target).expect("made");
        fs::copy(root().join(format!("deploy/{kind}.d/picotap.conf")), target.join("picotap.conf")).expect("copied");
    }
    fs::create_dir(directory.path().join("etc")).expect("made");
    let option = format!("--root={}", directory.path().display());
    succeeds("systemd-sysusers", &[&option]);
    let users = fs::read_to_string(directory.path().join("etc/passwd")).expect("users");
    assert!(users.starts_with("picotap:x:"), "{users}");
    succeeds("systemd-tmpfiles", &[&option, "--create"]);
    for made in ["var/log/picotap", "var/lib/picotap", "etc/picotap"] {
        assert!(directory.path().join(made).is_dir(), "{made}");
    }
}

#[test]
fn kubernetes_accepts_the_manifests() {
    const CHECK: &str = "target/tools/bin/kubernetes-validate";
    if !tool::has(&[CHECK]) {
        return;
    }
    for name in ["daemonset", "daemonset-probes", "archive-job"] {
        succeeds(CHECK, &["--strict", &format!("deploy/kubernetes/{name}.yaml")]);
    }
}

pub(super) const PYTHON: &str = "target/tools/bin/python3";
const FIELDS: &str = "deploy/check/fields.py";

#[test]
fn the_operator_of_prometheus_knows_every_field_of_its_resource() {
    const FILE: &str = "deploy/kubernetes/servicemonitor.yaml";
    if !tool::has(&[PYTHON]) {
        return;
    }
    succeeds(PYTHON, &[FIELDS, "servicemonitor", FILE]);
    for (right, wrong) in
        [("interval:", "intervall:"), ("matchLabels:", "matchLabel:"), ("- port: metrics", "- port: [1]")]
    {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
        fs::write(file.path(), read(FILE).replace(right, wrong)).expect("written");
        let output = run(PYTHON, &[FIELDS, "servicemonitor", file.path().to_str().expect("a name")]);
        assert!(!output.status.success(), "{wrong}");
    }
    // The service that it selects is the DaemonSet's, and so is the port.
    let (monitor, manifest) = (read(FILE), read("deploy/kubernetes/daemonset.yaml"));
    for line in ["app.kubernetes.io/name: picotap", "namespace: picotap"] {
        assert!(monitor.contains(line) && manifest.contains(line), "{line}");
    }
    assert!(monitor.contains("port: metrics") && manifest.contains("- name: metrics\n      port: 9464"));
}

#[test]
fn vector_s_transform_takes_every_line_and_the_table_every_field() {
    if !tool::has(&[PYTHON]) {
        return;
    }
    // Every line that the fixtures give: together they have every field that there is.
    let lines = fixture_lines().into_bytes();
    let check = |transform: &Path| {
        let mut command = Command::new(root().join(PYTHON));
        command.args([FIELDS, "vector"]).arg(transform).arg("deploy/vector/clickhouse.sql").current_dir(root());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        // One that has found a fault in the file reads no lines.
        drop(child.stdin.take().expect("a pipe").write_all(&lines));
        child.wait_with_output().expect("it ends")
    };
    const FILE: &str = "deploy/vector/vector.yaml";
    let output = check(Path::new(FILE));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (right, wrong) in [
        ("object!(parse_json!", "object!(parse_jsn!"),
        ("inputs: [transactions]", "inputs: [transaction]"),
        (".flags = .flags || []", ".flaggs = .flags || []"),
    ] {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
        assert!(read(FILE).contains(right), "{right}");
        fs::write(file.path(), read(FILE).replace(right, wrong)).expect("written");
        assert!(!check(file.path()).status.success(), "{wrong}");
    }
}

/// The lines of all fixtures: together they have every field that there is but `interface` and `tls`.
fn fixture_lines() -> String {
    crate::fixtures::lines()
}

/// Runs the checker with something on its standard input.
pub(super) fn checked(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(root().join(PYTHON));
    command.arg(FIELDS).args(arguments).current_dir(root());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    // One that has found a fault reads no further.
    drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
    child.wait_with_output().expect("it ends")
}

#[test]
fn every_line_is_as_the_schema_says_and_the_page_lists_its_keys() {
    const SCHEMA: &str = "deploy/schema/picotap.schema.json";
    if !tool::has(&[PYTHON]) {
        return;
    }
    let check = |lines: &str| checked(&["schema", SCHEMA, "deploy/ANALYSTS.md", "Fields"], lines);
    let lines = fixture_lines();
    let good = check(&lines);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    for (right, wrong) in [
        ("\"seq\":1,", "\"seq\":0,"),
        ("\"conn\":\"C", "\"conn\":\"D"),
        ("\"client\":\"10.", "\"client\":\"1000."),
        ("\"status\":200", "\"status\":\"200\""),
        ("\"reason\"", "\"raeson\""),
        ("\"flags\":[\"midstream\"]", "\"flags\":[\"midstraem\"]"),
    ] {
        assert!(lines.contains(right), "{right}");
        assert!(!check(&lines.replacen(right, wrong, 1)).status.success(), "{wrong}");
    }
    let schema: serde_json::Value = serde_json::from_str(&read(SCHEMA)).expect("JSON");
    let flags = schema["properties"]["flags"]["items"]["enum"].as_array().expect("a list");
    let names = picotap::http::flags::ALL.iter().map(|(_, name, _)| *name);
    assert!(flags.iter().filter_map(|flag| flag.as_str()).eq(names), "the schema lists every flag");
}

#[test]
fn spans_are_read_by_opentelemetry_and_are_the_transactions() {
    if !tool::has(&[PYTHON]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (mut lines, mut spans) = (String::new(), String::new());
    for name in [
        "http.pcap",
        "heads/traceparent/capture.pcap",
        "relays/socks5/capture.pcap",
        "recognition/binary/capture.pcap",
        "lifecycle/reset-in-window/capture.pcap",
        "http2/http2-grpc/capture.pcap",
    ] {
        let capture = root().join("fixtures").join(name);
        for (format, all) in [("json", &mut lines), ("otlp", &mut spans)] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_picotap"));
            // The captures of the cases all begin at the same time: a sensor for each.
            command.args(["--header", "server", "--sensor", name, "--format", format, "-r"]).arg(&capture);
            let output = command.output().expect("runs");
            assert!(output.status.success(), "{name}");
            *all += &String::from_utf8(output.stdout).expect("text");
        }
    }
    let path = directory.path().join("lines.jsonl");
    fs::write(&path, lines).expect("written");
    let path = path.to_str().expect("a name");
    let good = checked(&["otlp", path], &spans);
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(said.contains(" spans, 2 with a parent"), "{said}");
    for (right, wrong) in [
        ("\"kind\":2", "\"kind\":1"),
        ("\"spans\"", "\"span\""),
        ("\"intValue\":\"200\"", "\"intValue\":\"201\""),
        ("\"traceId\":\"", "\"traceId\":\"00"),
        ("0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"),
    ] {
        assert!(spans.contains(right), "{right}");
        assert!(!checked(&["otlp", path], &spans.replacen(right, wrong, 1)).status.success(), "{wrong}");
    }
}

#[test]
fn a_manifest_with_a_fault_is_not_accepted() {
    const CHECK: &str = "target/tools/bin/kubernetes-validate";
    if !tool::has(&[CHECK]) {
        return;
    }
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    let faulty = read("deploy/kubernetes/daemonset.yaml").replace("hostNetwork: true", "hostNetwrok: true");
    fs::write(file.path(), faulty).expect("written");
    assert!(!run(CHECK, &["--strict", file.path().to_str().expect("a name")]).status.success());
}

#[test]
fn compose_accepts_its_file() {
    const CHECK: &str = "target/tools/bin/check-jsonschema";
    if !tool::has(&[CHECK]) {
        return;
    }
    succeeds(CHECK, &["--builtin-schema", "vendor.compose-spec", "deploy/docker/compose.yaml"]);
    for file in ["provisioning/datasources/prometheus.yaml", "provisioning/dashboards/picotap.yaml"] {
        assert!(read(&format!("deploy/grafana/{file}")).starts_with("apiVersion: 1\n"));
    }
}

#[test]
fn the_image_s_description_passes_its_lint() {
    const CHECK: &str = "target/tools/bin/hadolint";
    if !tool::has(&[CHECK]) {
        return;
    }
    let said = succeeds(CHECK, &["--failure-threshold", "info", "deploy/docker/Dockerfile"]);
    assert_eq!(said, "");
}

#[test]
fn what_the_image_copies_and_the_compose_file_mounts_is_there() {
    let description = read("deploy/docker/Dockerfile");
    let copied = description.lines().filter_map(|line| line.strip_prefix("COPY ")).filter_map(|l| l.split(' ').next());
    for path in copied {
        assert!(root().join(path).exists(), "{path}");
    }
    let compose = read("deploy/docker/compose.yaml");
    let mounts =
        compose.lines().filter_map(|line| line.trim().strip_prefix("- ../")).filter_map(|l| l.split(':').next());
    let mounts: Vec<&str> = mounts.collect();
    assert_eq!(mounts.len(), 3);
    for path in mounts {
        assert!(root().join("deploy").join(path).exists(), "{path}");
    }
}

/// Files below a directory with one of these endings, by their path below the root; of the sources only.
pub(super) fn below(directory: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut left = vec![root().join(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !["target", "corpus", "artifacts"].contains(&&*name) {
                left.push(path);
            } else if path.extension().is_some_and(|end| endings.iter().any(|ending| end == *ending)) {
                found.push(path.strip_prefix(root()).expect("below the root").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_c_is_laid_out_by_the_rules() {
    const FORMAT: &str = "target/tools/bin/clang-format";
    if !tool::has(&[FORMAT]) {
        return;
    }
    let trees = ["guest", "fuzz/native", "deploy/static", "tests/poison", "src"];
    let files: Vec<PathBuf> = trees.iter().flat_map(|tree| below(tree, &["c", "h"])).collect();
    assert!(files.len() > 50, "{}", files.len());
    let mut arguments = vec!["--dry-run", "-Werror"];
    arguments.extend(files.iter().map(|file| file.to_str().expect("a name")));
    succeeds(FORMAT, &arguments);
    // One that is not is noticed.
    let file = root().join("target/tmp/layout.c");
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(&file, "int  one;\n").expect("written");
    assert!(!run(FORMAT, &["--dry-run", "-Werror", file.to_str().expect("a name")]).status.success());
}

/// A target that is not in the manifest is not built, and one without inputs is not replayed.
#[test]
fn every_fuzz_target_is_built_and_has_inputs() {
    let names = |directory: &str| -> BTreeSet<String> {
        let paths = below(directory, &["rs"]).into_iter();
        paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    };
    let (targets, manifest, page) = (names("fuzz/fuzz_targets"), read("fuzz/Cargo.toml"), read("src/README.md"));
    let built: BTreeSet<String> = manifest
        .split("[[bin]]\nname = \"")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect();
    assert_eq!(targets, built);
    for target in &targets {
        let inputs = root().join("tests/regressions").join(target);
        assert!(fs::read_dir(&inputs).is_ok_and(|mut files| files.next().is_some()), "{}", inputs.display());
        assert!(page.contains(&format!("`{target}`")), "src/README.md has no {target}");
    }
}

#[test]
fn the_shell_scripts_pass_their_lint() {
    const CHECK: &str = "target/tools/bin/shellcheck";
    if !tool::has(&[CHECK]) {
        return;
    }
    succeeds(
        CHECK,
        &[
            "deploy/setup.sh",
            "deploy/static/build.sh",
            "deploy/soak/install.sh",
            "deploy/soak/mirror.sh",
            "deploy/soak/wasmedge.sh",
            "deploy/check/debian13.sh",
            "deploy/check/run.sh",
            "fuzz/native/build.sh",
            ".ci/run",
        ],
    );
    let script = archive_script();
    let file = tempfile::NamedTempFile::with_suffix(".sh").expect("a file");
    fs::write(file.path(), format!("#!/bin/sh\nset -eu\n{script}\n")).expect("written");
    succeeds(CHECK, &[file.path().to_str().expect("a name")]);
}

/// The script of the job for archives. It stands in YAML behind the line `- |`, up to the next key.
fn archive_script() -> String {
    let job = read("deploy/kubernetes/archive-job.yaml");
    let (_, script) = job.split_once("- |\n").expect("a script");
    let script: Vec<&str> = script.lines().take_while(|line| line.starts_with("              ")).collect();
    assert!(script.len() > 10, "{script:?}");
    script.join("\n")
}

/// Runs one index of the job for archives, with `volumes` for the volumes.
fn archive_index(volumes: &Path, index: usize, of: usize) -> Output {
    let script = archive_script();
    let script = ["/captures", "/results"]
        .iter()
        .fold(script, |script, volume| script.replace(volume, &format!("{}{volume}", volumes.display())));
    let program = Path::new(env!("CARGO_BIN_EXE_picotap")).parent().expect("a directory").display().to_string();
    let path = program + ":" + &std::env::var("PATH").expect("a path");
    let mut command = Command::new("sh");
    command.args(["-euc", &script]).env("PATH", path);
    command.env("COMPLETIONS", of.to_string()).env("JOB_COMPLETION_INDEX", index.to_string());
    command.output().expect("sh runs")
}

#[test]
fn the_indexes_of_the_archive_job_share_the_captures_out() {
    let volumes = tempfile::tempdir().expect("a directory");
    for name in ["captures", "results"] {
        fs::create_dir(volumes.path().join(name)).expect("made");
    }
    let capture = root().join("fixtures/framing/chunked/capture.pcap");
    for number in 0..5 {
        fs::copy(&capture, volumes.path().join(format!("captures/{number}.pcap"))).expect("copied");
    }
    fs::write(volumes.path().join("captures/5.pcap"), b"no capture").expect("written");
    let lines = |number: usize| fs::read_to_string(volumes.path().join(format!("results/{number}.pcap.jsonl"))).ok();
    let first = archive_index(volumes.path(), 0, 3);
    assert!(first.status.success(), "{first:?}");
    assert_eq!((0..6).filter(|number| lines(*number).is_some()).collect::<Vec<_>>(), [0, 3]);
    assert!(archive_index(volumes.path(), 1, 3).status.success());
    let damaged = archive_index(volumes.path(), 2, 3);
    assert!(!damaged.status.success(), "{damaged:?}");
    assert!(String::from_utf8_lossy(&damaged.stderr).contains("failed: 5.pcap"));
    for number in 0..5 {
        assert!(lines(number).is_some_and(|lines| lines.starts_with("{\"ts\":")), "{number}");
    }
    assert_eq!(lines(5), None, "what failed is not taken for done");
}

#[test]
fn the_configurations_are_right() {
    let check = |file: &Path| config::check(&Cli::command(), file).unwrap_or_else(|e| panic!("{e}"));
    assert!(check(&root().join("deploy/picotap.toml")) >= 4);
    // Those of the DaemonSets stand in YAML.
    for (name, options) in [("daemonset", 4), ("daemonset-probes", 6)] {
        let manifest = read(&format!("deploy/kubernetes/{name}.yaml"));
        let (_, text) = manifest.split_once("picotap.toml: |\n").expect("a configuration");
        let lines: Vec<&str> = text.lines().take_while(|line| line.starts_with("    ")).map(str::trim).collect();
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), lines.join("\n")).expect("written");
        assert_eq!(check(file.path()), options, "{name}");
    }
}

#[test]
fn the_commands_in_manifests_are_the_program_s() {
    let compose = read("deploy/docker/compose.yaml");
    let command = compose.lines().find_map(|line| line.trim().strip_prefix("command: ")).expect("a command");
    let manifest = read("deploy/kubernetes/daemonset.yaml");
    let arguments = manifest.lines().find_map(|line| line.trim().strip_prefix("args: ")).expect("arguments");
    for list in [command, arguments] {
        let tokens: Vec<String> = serde_json::from_str(list).expect("a list of texts");
        let tokens = std::iter::once("picotap".to_owned()).chain(tokens);
        Cli::command().try_get_matches_from(tokens).unwrap_or_else(|e| panic!("{list}: {e}"));
    }
}

#[test]
fn the_manual_and_the_completions_are_read_without_a_fault() {
    if !tool::has(&["mandoc", "bash"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let files = manual::write(&Cli::command(), directory.path()).expect("written");
    let pages: Vec<&str> = files.iter().filter_map(|file| file.to_str()).filter(|name| name.ends_with(".1")).collect();
    assert!(pages.len() > 1, "{pages:?}");
    for page in &pages {
        succeeds("mandoc", &["-Tlint", "-Werror", page]);
    }
    let text = succeeds("mandoc", &["-Tascii", pages.last().expect("a page")]);
    assert!(text.contains("sandbox"), "{text}");
    let completion = files.iter().find(|file| file.ends_with("picotap.bash")).expect("for bash");
    succeeds("bash", &["-n", completion.to_str().expect("a name")]);
}

#[test]
#[ignore = "minutes: makes two systems from packages"]
fn the_stages_of_the_image_build() {
    if !tool::has(&["root", "debootstrap", "getcap"]) {
        return;
    }
    let said = succeeds("deploy/check/image.sh", &[env!("CARGO_BIN_EXE_picotap")]);
    assert!(said.contains(" MB unpacked"), "{said}");
}
