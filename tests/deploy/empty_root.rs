//! The static binary where there is nothing else: no libraries, no /proc, no list of users.

use std::fs;

use super::files::run;
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
