//! The Helm chart, linted and rendered by Helm itself for three sets of values, and checked as the manifests are.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use picotap::cli::Cli;
use picotap::config;
use picotap::pipeline::Config;
use picotap::source::live::{DEFAULT_BUFFER_KIB, LiveConfig};
use serde_json::{Value, json};

use super::files::{PYTHON, checked, read, root, run, succeeds};
use super::tool;

const CHART: &str = "deploy/helm/picotap";
const CHECK: &str = "target/tools/bin/kubernetes-validate";

/// What the chart renders to for these values, by kind, checked.
fn rendered(values: &Value) -> Value {
    let directory = tempfile::tempdir().expect("a directory");
    let output = checked(&["helm", CHART, directory.path().to_str().expect("a name")], &values.to_string());
    assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stderr));
    let mut all = serde_json::Map::new();
    for entry in fs::read_dir(directory.path()).expect("entries") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        if name != "PodMonitor" {
            succeeds(CHECK, &["--strict", path.to_str().expect("a name")]);
        }
        let to_json = "import json,sys,yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
        let text = run(PYTHON, &["-c", to_json, path.to_str().expect("a name")]).stdout;
        all.insert(name, serde_json::from_slice(&text).expect("JSON"));
    }
    let all = Value::Object(all);
    config_of(&all);
    all
}

/// The configuration, which picotap itself has checked.
fn config_of(all: &Value) -> &str {
    let text = all.pointer("/ConfigMap/data/picotap.toml").and_then(Value::as_str).expect("text");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    config::check(&Cli::command(), file.path()).unwrap_or_else(|error| panic!("{error}"));
    text
}

fn container(all: &Value) -> &Value {
    all.pointer("/DaemonSet/spec/template/spec/containers/0").expect("a container")
}

fn kinds(all: &Value) -> Vec<&str> {
    let mut kinds: Vec<&str> = all.as_object().into_iter().flatten().map(|(kind, _)| kind.as_str()).collect();
    kinds.sort_unstable();
    kinds
}

/// Whether the memory limit that the chart computes is enough for picotap's own bound and the kernel's rings.
fn assert_memory(all: &Value, interfaces: &[&str], workers: usize, limit: u64) {
    let text = container(all).pointer("/resources/limits/memory").and_then(Value::as_str).expect("a limit");
    let given = text.strip_suffix("Mi").and_then(|text| text.parse::<u64>().ok()).expect("mebibytes") << 20;
    let live = Config::live(interfaces.iter().map(|name| LiveConfig::new(*name)));
    let config = Config { workers, memory_limit: limit << 20, ..live };
    let needed = config.memory_bound() + interfaces.len() as u64 * (u64::from(DEFAULT_BUFFER_KIB) << 10);
    assert!((needed..needed * 5 / 4).contains(&given), "{given} for {needed}");
}

#[test]
fn the_chart_renders_what_kubernetes_takes() {
    if !tool::has(&[PYTHON, CHECK]) {
        return;
    }
    let plain = rendered(&json!({}));
    assert_eq!(kinds(&plain), ["ConfigMap", "DaemonSet"]);
    let pod = &plain["DaemonSet"]["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], "9464");
    assert_memory(&plain, &["any"], 2, 256);
    // The same privileges as in the plain manifest, and the same arguments, the name of the node among them.
    let capabilities = json!({"drop": ["ALL"], "add": ["NET_RAW", "SETUID", "SETGID", "SETPCAP"]});
    assert_eq!(container(&plain)["securityContext"]["capabilities"], capabilities);
    let manifest = read("deploy/kubernetes/daemonset.yaml");
    assert!(manifest.contains("add: [NET_RAW, SETUID, SETGID, SETPCAP]"));
    let args = container(&plain)["args"].to_string().replace(',', ", ");
    assert!(manifest.contains(&format!("args: {args}")), "{args}");

    let operator = rendered(&json!({
        "metrics": {"discovery": "podmonitor", "labels": {"release": "prometheus"}},
        "interfaces": ["eth0", "eth1"], "workers": 4, "memoryLimit": 1024, "filter": "tcp port 80",
        "priorityClass": {"create": true},
        "networkPolicy": {"enabled": true, "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
    }));
    assert_eq!(kinds(&operator), ["ConfigMap", "DaemonSet", "NetworkPolicy", "PodMonitor", "PriorityClass"]);
    let pod = &operator["DaemonSet"]["spec"]["template"];
    assert!(pod["metadata"]["annotations"].get("prometheus.io/scrape").is_none(), "not both");
    assert_eq!(pod["spec"]["priorityClassName"], operator["PriorityClass"]["metadata"]["name"]);
    assert_memory(&operator, &["eth0", "eth1"], 4, 1024);

    let alone = rendered(&json!({
        "metrics": {"discovery": "none"}, "resources": {"limits": {"memory": "2Gi"}},
        "priorityClass": {"name": "system-node-critical"}, "networkPolicy": {"enabled": true},
        "config": {"errors": true, "header": ["via"]},
    }));
    assert_eq!(kinds(&alone), ["ConfigMap", "DaemonSet", "NetworkPolicy"]);
    assert_eq!(container(&alone)["resources"]["limits"], json!({"memory": "2Gi"}));
    assert!(config_of(&alone).contains("metrics-addr = \"127.0.0.1:9464\""));
    assert_eq!(alone["NetworkPolicy"]["spec"]["ingress"], json!([]));

    let probed = rendered(&json!({"tlsProbes": "auto"}));
    assert!(config_of(&probed).contains("tls-probes = \"auto\""));
    assert_eq!(probed["DaemonSet"]["spec"]["template"]["spec"]["hostPID"], true);
    let added = container(&probed)["securityContext"]["capabilities"]["add"].to_string();
    assert!(added.contains("SYS_PTRACE") && added.contains("SETPCAP"), "{added}");
    let named = rendered(&json!({"processes": true}));
    assert!(config_of(&named).contains("processes = true") && !config_of(&plain).contains("processes"));
    assert_eq!(named["DaemonSet"]["spec"]["template"]["spec"]["hostPID"], true);
    let added = container(&named)["securityContext"]["capabilities"]["add"].to_string();
    assert!(added.contains("SYS_PTRACE") && !added.contains("SYS_ADMIN"), "{added}");
    assert!(plain["DaemonSet"]["spec"]["template"]["spec"].get("hostPID").is_none());
}

/// The documents of a manifest, by kind.
fn manifest(file: &str) -> Value {
    let to_json = "import json,sys,yaml; \
                   print(json.dumps({one['kind']: one for one in yaml.safe_load_all(open(sys.argv[1]))}))";
    serde_json::from_slice(&run(PYTHON, &["-c", to_json, file]).stdout).expect("JSON")
}

#[test]
fn the_manifest_with_probes_is_the_plain_one_with_what_the_chart_has_for_them() {
    if !tool::has(&[PYTHON, CHECK]) {
        return;
    }
    let chart = rendered(&json!({"tlsProbes": "auto", "processes": true}));
    let mut probed = manifest("deploy/kubernetes/daemonset-probes.yaml");
    let mut plain = manifest("deploy/kubernetes/daemonset.yaml");
    assert_eq!(container(&probed)["securityContext"], container(&chart)["securityContext"]);
    let host = "/DaemonSet/spec/template/spec/hostPID";
    assert_eq!((probed.pointer(host), chart.pointer(host)), (Some(&json!(true)), Some(&json!(true))));
    for option in ["tls-probes = \"auto\"", "processes = true"] {
        assert!(config_of(&probed).contains(option) && config_of(&chart).contains(option), "{option}");
    }
    // Nothing else differs.
    for all in [&mut plain, &mut probed] {
        all["ConfigMap"]["data"] = Value::Null;
        let pod = &mut all["DaemonSet"]["spec"]["template"]["spec"];
        pod["hostPID"] = Value::Null;
        pod["containers"][0]["securityContext"]["capabilities"]["add"] = Value::Null;
        pod["containers"][0]["securityContext"]["appArmorProfile"] = Value::Null;
    }
    assert_eq!(plain, probed);
}

#[test]
fn a_chart_with_a_fault_is_not_accepted() {
    if !tool::has(&[PYTHON]) {
        return;
    }
    let refused = |chart: &Path, values: &Value| {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = ["helm", chart.to_str().expect("a name"), directory.path().to_str().expect("a name")];
        !checked(&arguments, &values.to_string()).status.success()
    };
    assert!(refused(&root().join(CHART), &json!({"metrics": {"discovery": "both"}})));
    // A copy with a mistake in a template.
    let copy = tempfile::tempdir().expect("a directory");
    let chart = copy.path().join("picotap");
    fs::create_dir_all(chart.join("templates")).expect("made");
    for name in ["Chart.yaml", "values.yaml"] {
        fs::copy(root().join(CHART).join(name), chart.join(name)).expect("copied");
    }
    for entry in fs::read_dir(root().join(CHART).join("templates")).expect("entries") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, chart.join("templates").join(path.file_name().expect("a name"))).expect("copied");
    }
    assert!(!refused(&chart, &json!({})));
    let template = chart.join("templates/podmonitor.yaml");
    let text = fs::read_to_string(&template).expect("a template").replace("interval:", "intervall:");
    fs::write(&template, text).expect("written");
    assert!(refused(&chart, &json!({"metrics": {"discovery": "podmonitor"}})));
}
