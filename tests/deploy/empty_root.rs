//! The static binary where there is nothing else: no libraries, no /proc, no list of users.

use std::collections::BTreeSet;
use std::fs;

use super::files::{read, run, succeeds};
use crate::tool;

const BINARY: &str = "target/static/picotap";

/// Captures on a loopback of its own, traced. The log is on standard output.
const CAPTURE: &str = r#"
ip link set lo up
python3 -m http.server 8099 --bind 127.0.0.1 >/dev/null 2>&1 & server=$!
timeout -s INT 20 strace -f -qq -e trace=openat,connect -o "$2" chroot "$1" /picotap -i lo --format json -q & tap=$!
for attempt in $(seq 100); do curl -sf -o /dev/null http://127.0.0.1:9464/readyz && break; sleep 0.1; done
curl -sf -o /dev/null http://127.0.0.1:8099/
wait $tap
kill $server
"#;

#[test]
#[ignore = "needs `make static`: part of the soak"]
fn the_static_binary_captures_in_an_empty_root() {
    if !tool::has(&["root", BINARY, "unshare", "strace", "ip", "curl"]) {
        return;
    }
    let (root, traces) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let size = fs::copy(BINARY, root.path().join("picotap")).expect("a copy");
    assert!(size < 25_000_000, "{size} bytes");
    let (place, trace) = (root.path().display().to_string(), traces.path().join("trace"));
    let trace = trace.display().to_string();
    let output = run("unshare", &["-n", "sh", "-c", CAPTURE, "sh", &place, &trace]);
    let lines = String::from_utf8_lossy(&output.stdout);
    assert!(lines.contains("\"server_port\":8099"), "{lines}{}", String::from_utf8_lossy(&output.stderr));
    let calls = fs::read_to_string(&trace).expect("a trace");
    let begun = calls.lines().position(|line| line.contains("/proc/self/fd")).expect("picotap's first call");
    for call in calls.lines().skip(begun) {
        for name in ["nsswitch.conf", "resolv.conf", "/etc/hosts", "libnss", ".so", "connect("] {
            assert!(!call.contains(name), "{call}");
        }
    }
}

/// What is linked says so itself: the texts of panics name the files of crates.
#[test]
#[ignore = "needs `make static`: part of the soak"]
fn the_bill_of_materials_is_valid_and_has_what_is_in_the_binary() {
    const PYTHON: &str = "target/soak-tools/bin/python";
    const BILL: &str = "target/static/picotap.cdx.json";
    if !tool::has(&[BINARY, BILL, PYTHON]) {
        return;
    }
    succeeds(PYTHON, &["deploy/check/bill.py", BILL]);
    let bill: serde_json::Value = serde_json::from_str(&read(BILL)).expect("JSON");
    let listed: BTreeSet<String> = bill["components"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| format!("{}-{}", one["name"].as_str().expect("a name"), one["version"].as_str().expect("a version")))
        .collect();
    let binary = fs::read(BINARY).expect("the binary");
    // /cargo/registry/src/REGISTRY/NAME-VERSION/src/..., as the build maps the paths.
    let text = String::from_utf8_lossy(&binary);
    let named: BTreeSet<&str> =
        text.split("/cargo/registry/src/").skip(1).filter_map(|path| path.split('/').nth(1)).collect();
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        assert!(listed.contains(name), "{name}");
    }
    for name in ["libpcap-1.", "libc6-dev-2.", "wasi-libc-", "picohttpparser-sys-1."] {
        assert!(listed.iter().any(|one| one.starts_with(name)), "{name}: {listed:?}");
    }
}
