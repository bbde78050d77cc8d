//! Mistakes that users make: each is answered with what to type, and with the exit code that deploy/ANALYSTS.md states.

use std::fs;

use crate::support::program::{picotap, run};

/// Command line, exit code, and what the answer says.
const MISTAKES: &[(&str, i32, &[&str])] = &[
    ("", 2, &["nothing to watch: needed a capture FILE (or --pcap FILE), or -i IFACE (-D lists them)"]),
    ("x.pcpa", 2, &["there is no file \"x.pcpa\"", "needed a capture FILE, or -i IFACE"]),
    ("missing.pcap", 1, &["missing.pcap: cannot be opened: No such file"]),
    ("lo", 2, &["lo is an interface: needed -i lo"]),
    ("-i nosuch0", 1, &["nosuch0"]),
    ("-r x.pcap -i lo", 2, &["cannot be used with"]),
    ("-r x.pcap y.pcap", 2, &["\"y.pcap\" names a capture", "needed -r in front of it"]),
    ("x.pcap port eighty", 2, &["capture filter \"port eighty\"", "see pcap-filter(7)"]),
    ("x.pcap status=500", 2, &["did you mean --filter 'status=500'?"]),
    ("notes.txt", 1, &["notes.txt: is not a capture file", "pcap and pcapng are read"]),
    ("x.pcap -w -", 2, &["-w -: standard output has the lines: needed --output FILE for them, or a FILE behind -w"]),
    ("x.pcap -w x.pcap", 1, &["x.pcap: it is one of the files that are read: needed another name behind -w"]),
    ("x.pcap -w notes.txt", 1, &["notes.txt: it is there already, and is no capture: remove it, or name another file"]),
    (
        "x.pcap -w out.pcap.gz",
        2,
        &["-w out.pcap.gz: packets are not compressed: needed a FILE that ends in .pcapng or .pcap"],
    ),
    (
        "x.pcap -w out.log -o out.log",
        2,
        &["-w out.log: --output writes the lines there: needed another FILE behind -w"],
    ),
    (
        "x.pcap -w out.pcap --write-secrets",
        2,
        &["--write-secrets: pcap has no place for secrets: needed -w out.pcapng"],
    ),
    ("x.pcap --write-secrets", 2, &["required arguments were not provided", "--write <FILE>"]),
    ("x.pcap -w out.pcap --write-buffer 1k", 2, &["expected a size"]),
    ("x.pcap -A", 2, &["-A: picotap prints transactions", "--format json"]),
    ("x.pcap -e", 2, &["-e: transactions have no link-layer addresses"]),
    ("x.pcap --slow 10", 0, &[]),
    ("x.pcap --slow 10sec", 2, &["expected a time from 0 to 49d, such as 250us, 10ms or 1.5s"]),
    ("x.pcap --rotate-size 5MB -o log", 2, &["expected a size", "such as 4k, 64M or 1GiB"]),
    ("x.pcap --rotate-size 5M", 2, &["only a file can be rotated", "need --output FILE"]),
    ("x.pcap --formt json", 2, &["unexpected argument '--formt'", "--format"]),
    (
        "x.pcap --format xml",
        2,
        &["unknown format \"xml\"", "needed json, text, ecs, zeek, clf, vhost, otlp, csv, tsv or har"],
    ),
    (
        "x.pcap --filter stauts=500",
        2,
        &["\"stauts\" is no field (did you mean status?)", "needed method, status, host", "^^^^^^"],
    ),
    ("x.pcap --filter GET", 2, &["\"GET\" is no comparison: needed FIELD=VALUE"]),
    ("x.pcap --filter status=5x", 2, &["needed a code (404), a class (4xx), a range (500-599) or none"]),
    ("x.pcap --filter duration>5", 2, &["needed a time with its unit (250us, 10ms, 1.5s, 2m, 1h)"]),
    ("x.pcap --filter host~[", 2, &["this is no regular expression", "a \"[\" without its \"]\""]),
    ("x.pcap --filter client=10.0.0", 2, &["this is no address: needed one (10.0.0.7, ::1)"]),
    ("x.pcap --filter flags=rest", 2, &["there is no such flag: needed te_cl_conflict"]),
    ("x.pcap --filter (status=200", 2, &["a \"(\" without its \")\""]),
    (
        "x.pcap --filter request_headers.accept=a",
        2,
        &["headers are kept only where they are asked for: needed --header accept too"],
    ),
    ("x.pcap --filter established=true", 2, &["is about the lines of --tls: needed --tls"]),
    ("x.pcap --tls --filter status=200", 2, &["--tls logs connections, which have no status"]),
    (
        "x.pcap --tls --format clf",
        2,
        &["--tls has no lines in format clf: needed --format json, text, ecs, zeek, csv or tsv"],
    ),
    ("x.pcap --header content:type", 2, &["expected the name of a header (such as X-Session-Key)"]),
    ("x.pcap --headers some", 2, &["invalid value 'some'", "all"]),
    ("x.pcap --fields ts,hots", 2, &["\"hots\" is no field: needed sensor, method"]),
    ("x.pcap --fields ts --format json", 2, &["--fields are the columns of a table: needed --format csv or tsv"]),
    ("x.pcap --fields established", 2, &["--fields: established is a field of TLS connections: needed --tls"]),
    ("x.pcap --sort size", 2, &["\"size\" is no field: needed method"]),
    ("-i lo --sort ts", 2, &["--sort and --top write at the end of files", "picotap top"]),
    ("x.pcap --top hots", 2, &["\"hots\" is no field: needed method"]),
    ("x.pcap --top host --by size", 2, &["unknown ranking \"size\": needed count, p95, bytes or failed"]),
    ("x.pcap --top host --format json", 2, &["--top writes a table of transactions for people: leave --format out"]),
    ("x.pcap --by count", 2, &["--top"]),
    ("x.pcap --limit 5", 2, &["--limit is about --sort and --top", "-c N stops after N packets"]),
    ("x.pcap --trusted-proxy 10.0.0.7:80", 2, &["expected an address or a network without port"]),
    ("x.pcap -o /nonexistent/log", 1, &["cannot open log file /nonexistent/log: No such file"]),
    ("x.pcap -o notes.gz", 1, &["notes.gz: it holds what picotap has not written: needed the name of another file"]),
    ("x.pcap -o unix:/nonexistent/socket", 1, &["unix:/nonexistent/socket: cannot be connected to: No such file"]),
    ("x.pcap -o unix:s --rotate-size 5M", 2, &["only a file can be rotated"]),
    ("x.pcap --page", 2, &["nothing is served: --page needs --metrics-addr or -i"]),
    ("x.pcap --metrics-addr eth0", 2, &["expected PORT or ADDRESS:PORT"]),
    ("x.pcap --workers 0", 2, &["invalid value '0' for '--workers <N>'"]),
    ("x.pcap --shard 3/2", 2, &["--shard"]),
    ("x.pcap --guest nosuch.wasm", 1, &["nosuch.wasm: cannot be read: No such file"]),
    ("x.pcap --config nosuch.toml", 2, &["nosuch.toml"]),
    ("top x.pcap --format json", 2, &["--format is about logged lines, and none are logged without --output FILE"]),
    ("top", 2, &["top: nothing to show: needed -i IFACE or a capture FILE, such as: picotap top -i"]),
    ("tap x.pcap", 2, &["there is no file \"tap\""]),
    ("completions cmd.exe", 2, &["invalid value 'cmd.exe'", "bash"]),
    ("man nosuch", 2, &["expected one of"]),
];

#[test]
fn every_mistake_is_answered_with_what_to_type() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::copy(super::fixture("network/link-ethernet/capture.pcap"), path("x.pcap")).unwrap();
    fs::write(path("notes.txt"), "no capture").unwrap();
    fs::write(path("notes.gz"), "no log").unwrap();
    let mut wrong = Vec::new();
    for (line, code, says) in MISTAKES {
        let outcome = run(picotap().current_dir(directory.path()).args(line.split_whitespace()));
        let good = outcome.code == Some(*code)
            && says.iter().all(|text| outcome.stderr.contains(text))
            && (*code == 0 || outcome.stderr.starts_with("picotap: "));
        if !good {
            wrong.push(format!(
                "picotap {line}\n  code {:?}, needed {code} and {says:?}\n{}",
                outcome.code, outcome.stderr
            ));
        }
    }
    assert!(MISTAKES.len() >= 35 && wrong.is_empty(), "{}", wrong.join("\n"));
}
