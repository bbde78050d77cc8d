//! The commands on the pages, each run as it stands there.
//!
//! A command is a line of a block of ```` ```sh ````. It runs in a directory that has the files it names, in a network namespace that
//! has its interfaces, and must succeed. Live captures are ended once they capture. What is not run is named below, with the reason
//! and with what covers it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::files::{read, root};
use super::pages::pages;
use crate::tool;

const PYTHON: &str = "target/tools/bin/python";

/// What a command that is not run begins with; why it is not; a file and what stands in it that covers the same.
const NOT_RUN: &[(&str, &str, &str, &str)] = &[
    ("make run", "builds the program, as this test is built", ".ci/run", "make run"),
    ("make test", "runs this test", ".ci/run", "make test"),
    ("make static", "takes minutes", "Makefile", "soak: static"),
    ("cargo test --test sandbox poison", "is a test itself", "tests/sandbox/poison.rs", "#[test]"),
    ("benches/peers/run.py", "takes minutes and the other programs", "benches/peers/results/2026-11-23.md", "picotap"),
    ("target/static/picotap -q -r A.pcap", "is the form of several", "tests/lines/shard.rs", "--shard"),
    ("picotap top", "needs a terminal", "tests/program/top.rs", "{PROGRAM} top -r"),
    ("picotap x.pcap --format vhost | goaccess", "needs a terminal", "tests/lines/goaccess.rs", "vhost"),
    ("SSLKEYLOGFILE=keys.txt curl", "needs a server outside", "tests/tls/main.rs", "mod"),
    ("install picotap /usr/local/bin", "writes to the machine", ".ci/run", "make run"),
    ("setcap", "changes the build", "tests/live/confinement.rs", "cap_net_raw+ep"),
    ("systemctl", "needs systemd", "tests/deploy/files.rs", "systemd-analyze"),
    ("journalctl", "needs systemd", "tests/live/daemon/supervised.rs", "NOTIFY_SOCKET"),
    ("clickhouse-client", "needs ClickHouse", "tests/deploy/files.rs", "clickhouse.sql"),
    ("picotap x.pcap --format json | clickhouse-client", "needs ClickHouse", "tests/deploy/files.rs", "clickhouse.sql"),
    ("CLICKHOUSE_URL=", "needs ClickHouse and Vector", "tests/deploy/files.rs", "vector.yaml"),
    ("kubectl", "needs a cluster", "tests/deploy/helm.rs", "the_chart_renders_what_kubernetes_takes"),
    ("helm install", "needs a cluster", "tests/deploy/helm.rs", "the_chart_renders_what_kubernetes_takes"),
    ("spark-submit", "needs Spark", "tests/spark.rs", "the_table_is_what_one_machine_says"),
];

/// The programs that commands call, where it is not the machine's own.
const PROGRAMS: &[(&str, &str)] = &[
    // A live capture is ended once its endpoint is ready; with `curl`, after the answer.
    (
        "picotap",
        r#"case " $* " in *" -i "*) ;; *) exec "$PICOTAP" "$@" ;; esac
"$PICOTAP" "$@" & tap=$!
for attempt in $(seq 200); do
    command -p curl -sf -o /dev/null http://127.0.0.1:9464/readyz && break
    kill -0 $tap || break
    sleep 0.05
done
kill -INT $tap; wait $tap"#,
    ),
    (
        "curl",
        r#""$PICOTAP" -q -i eth0 -o /dev/null & tap=$!
for attempt in $(seq 200); do command -p curl -sf -o /dev/null http://127.0.0.1:9464/readyz && break; sleep 0.05; done
command -p curl -f "$@"; code=$?
kill -INT $tap; wait $tap
exit $code"#,
    ),
    ("sudo", r#"exec "$@""#),
    // The modules are those of this build; `new.wasm` is one that somebody has made.
    (
        "make",
        r#"[ "$*" = guest ] && mkdir target/guest && cp "$MODULES"/*.wasm target/guest && cp "$MODULES"/picotap.wasm new.wasm"#,
    ),
    ("duckdb", r#"[ "$1" = -c ] && exec "$PYTHON" -c 'import duckdb, sys; print(duckdb.sql(sys.argv[1]))' "$2""#),
];

/// The commands of a page's blocks, with continued lines put together.
fn blocks(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let commands = |block: &str| {
        let whole = block.replace("\\\n", " ");
        whole
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(String::from)
            .collect()
    };
    blocks.map(commands).collect()
}

/// The command without `sudo`, and with the program's short name.
fn plain(command: &str) -> String {
    command.trim_start_matches("sudo ").replace("target/release/picotap", "picotap")
}

fn reason(command: &str) -> Option<&'static str> {
    let command = plain(command);
    NOT_RUN.iter().find(|(start, ..)| command.starts_with(start)).map(|(_, why, ..)| *why)
}

/// A directory with the files that commands name.
fn prepare() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let at = |name: &str| place.path().join(name);
    for name in ["bin", "captures", "log", "target"] {
        fs::create_dir(at(name)).expect("a directory");
    }
    for name in ["deploy", "fixtures"] {
        symlink(root().join(name), at(name)).expect("a link");
    }
    for (from, names) in [
        ("fixtures/http.pcap", &["capture.pcap", "x.pcap", "a.pcap", "big.pcap", "captures/1.pcap"][..]),
        ("fixtures/files/file-pcapng/capture.pcapng", &["b.pcapng", "captures/2.pcapng"]),
        ("fixtures/files/file-gzip/capture.pcap.gz", &["big.pcap.gz"]),
        ("fixtures/tls/https.pcap", &["https.pcap"]),
        ("fixtures/tls/https/keys.txt", &["keys.txt"]),
    ] {
        for name in names {
            fs::copy(root().join(from), at(name)).unwrap_or_else(|e| panic!("{from}: {e}"));
        }
    }
    for (name, script) in PROGRAMS {
        let path = at("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made a program");
    }
    // picotap becomes another user before it opens its log.
    for name in ["", "log"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o777)).expect("opened to all");
    }
    place
}

/// Runs commands in one shell, and says what failed.
fn run(place: &Path, commands: &[String]) -> Result<(), String> {
    let mut script = String::from(
        "set -e -o pipefail\nip link set lo up\nip link add eth0 type veth peer name eth1\nip link set eth0 up\nip link set eth1 up\n",
    );
    for command in commands {
        let there = |path: &str| place.join(path).display().to_string();
        let command = command
            .replace("target/release/picotap", "picotap")
            .replace("/captures", &there("captures"))
            .replace("/var/log/picotap", &there("log"))
            .replace("/etc/picotap/picotap.toml", "deploy/picotap.toml");
        script += &format!("echo {} >&2\n{command}\n", shell_words(&command));
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let program = Path::new(env!("CARGO_BIN_EXE_picotap"));
    let output = Command::new("unshare")
        .args(["-n", "bash", "-c", &script])
        .current_dir(place)
        .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", place.join("bin").display()))
        .env("PICOTAP", program)
        .env("MODULES", env!("OUT_DIR"))
        .env("PYTHON", root().join(PYTHON))
        .output()
        .expect("unshare runs");
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{}: {said}", output.status))
}

fn shell_words(text: &str) -> String {
    format!("'+ {}'", text.replace('\'', "'\\''"))
}

/// Runs the commands of some pages.
fn works(pages: &[&str]) {
    if !tool::has(&["root", "unshare", "ip", "bash", "curl", "jq", PYTHON]) {
        return;
    }
    let place = prepare();
    let mut wrong = vec![];
    for page in pages {
        for block in blocks(&read(page)) {
            let commands: Vec<String> = block.into_iter().filter(|command| reason(command).is_none()).collect();
            if let Err(said) = run(place.path(), &commands) {
                wrong.push(format!("{page}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The pages are in three parts, so that these run beside each other.
const PARTS: [&[&str]; 3] = [
    &["README.md", "deploy/prometheus/RUNBOOK.md"],
    &["deploy/ANALYSTS.md"],
    &["deploy/OPERATORS.md", "guest/README.md", "guest/WAYS.md"],
];

#[test]
fn the_commands_of_the_readme_and_the_runbook_work() {
    works(PARTS[0]);
}

#[test]
fn the_commands_for_analysts_work() {
    works(PARTS[1]);
}

#[test]
fn the_commands_for_operators_and_parser_authors_work() {
    works(PARTS[2]);
}

#[test]
fn every_command_is_run_or_named_with_what_covers_it() {
    let (mut run, mut left) = (0, vec![]);
    let mut used = vec![false; NOT_RUN.len()];
    for page in pages() {
        let page = page.display().to_string();
        // Those of the fixtures are run with the fixtures.
        if page.starts_with("fixtures/") {
            continue;
        }
        let commands = blocks(&read(&page)).concat();
        for command in commands {
            match NOT_RUN.iter().position(|(start, ..)| plain(&command).starts_with(start)) {
                Some(at) => used[at] = true,
                None if PARTS.iter().any(|part| part.contains(&page.as_str())) => run += 1,
                None => left.push(format!("{page}: {command}")),
            }
        }
        // A block without a language could hide commands.
        let text = read(&page);
        let hidden = text.lines().filter(|line| line.starts_with("    picotap ") || line.starts_with("    sudo "));
        left.extend(hidden.map(|line| format!("{page}: not in a block of sh: {line}")));
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
    assert!(run > 50, "{run}");
    for ((start, _, file, text), used) in NOT_RUN.iter().zip(used) {
        assert!(used, "no page has {start}");
        assert!(read(file).contains(text), "{start}: {file} has no {text}");
    }
}

#[test]
fn a_command_that_fails_is_noticed() {
    if !tool::has(&["root", "unshare", "ip", "bash", "curl", PYTHON]) {
        return;
    }
    let place = prepare();
    for command in [
        "picotap x.pcap --no-such-option",
        "picotap nothing.pcap | cat",
        "curl localhost:9464/nothing",
        "duckdb -c 'no SQL'",
    ] {
        let said = run(place.path(), &[command.into(), "picotap x.pcap".into()]).expect_err(command);
        assert!(!said.contains("+ picotap x.pcap\n"), "{said}");
    }
    assert_eq!(run(place.path(), &["picotap x.pcap".into()]), Ok(()));
}
