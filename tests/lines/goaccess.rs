//! goaccess reads every line of the combined log format, those without an answer included.

use crate::support;
use std::fs;
use std::process::Command;

use support::program::{picotap, run, scratch};
use support::tool::need;

/// Lets goaccess read the lines of all captures in a format, which is told to it so.
fn taken(test: &str, format: &str, told: &[&str]) {
    let Some(goaccess) = need(test, "goaccess") else { return };
    let log = scratch(&format!("goaccess-{format}.log"));
    fs::write(&log, "").unwrap();
    for capture in support::fixtures::captures("pcap") {
        run(picotap().args(["--format", format, "-o"]).arg(&log).arg("-r").arg(capture));
    }
    let lines = fs::read_to_string(&log).unwrap();
    let answered = |line: &&str| !line.contains("\" 444 - \"");
    let count = lines.lines().count();
    assert!(count > 200 && lines.lines().filter(answered).count() < count, "{count} lines");
    let (refused, report) =
        (scratch(&format!("goaccess-{format}.refused")), scratch(&format!("goaccess-{format}.json")));
    fs::remove_file(&refused).ok();
    let mut command = Command::new(goaccess);
    command.arg(&log).args(told).args(["--no-global-config", "-o"]).arg(&report);
    command.arg(format!("--invalid-requests={}", refused.display()));
    assert!(command.output().unwrap().status.success());
    let refused = fs::read_to_string(refused).unwrap_or_default();
    // It reads lines of up to 4 KiB.
    let refused: Vec<&str> = refused.lines().filter(|line| line.contains(" - - [") && line.len() < 4000).collect();
    assert!(refused.is_empty(), "{} of {count}: {:?}", refused.len(), &refused[..refused.len().min(5)]);
    let report = fs::read_to_string(&report).unwrap();
    assert_eq!(report.contains("\"vhosts\""), format == "vhost", "{format}");
}

#[test]
fn goaccess_takes_every_line() {
    taken("goaccess_takes_every_line", "clf", &["--log-format=COMBINED"]);
}

#[test]
fn goaccess_takes_every_line_with_host_and_time() {
    let format = r#"--log-format=%v:%^ %h %^[%d:%t %^] "%r" %s %b "%R" "%u" %D"#;
    taken(
        "goaccess_takes_every_line_with_host_and_time",
        "vhost",
        &[format, "--date-format=%d/%b/%Y", "--time-format=%T"],
    );
}
