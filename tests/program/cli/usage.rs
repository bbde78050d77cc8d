//! What a new user types: it works, or the answer says what to type.

use std::fs;

use super::{complains, fixture};
use crate::support::program::{picotap, read, run};

/// Runs with these arguments in a directory with captures `x.pcap`, `trace.1` and `tcp`.
fn typed(arguments: &[&str]) -> super::Outcome {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in [("network/link-ethernet/capture.pcap", "x.pcap"), ("http.pcap", "trace.1"), ("http.pcap", "tcp")]
    {
        fs::copy(fixture(from), directory.path().join(to)).unwrap();
    }
    run(picotap().current_dir(directory.path()).args(["--format", "json"]).args(arguments))
}

#[test]
fn a_file_needs_no_option() {
    let whole = read(&fixture("network/link-ethernet/capture.pcap"), &[]);
    let filtered = read(&fixture("network/link-ethernet/capture.pcap"), &["ip6"]);
    assert_eq!((whole.lines().len(), filtered.lines().len()), (2, 1));
    for (arguments, expected) in [
        (&["x.pcap"][..], &whole),
        (&["x.pcap", "--stats"], &whole),
        (&["x.pcap", "ip6 and tcp port 80"], &filtered),
        (&["x.pcap", "--stats", "ip6", "and", "tcp"], &filtered),
        (&["*.pcap*", "ip6"], &filtered),
    ] {
        let outcome = typed(arguments);
        assert_eq!((outcome.code, outcome.sorted()), (Some(0), expected.sorted()), "{arguments:?}: {}", outcome.stderr);
    }
    let http = read(&fixture("http.pcap"), &[]).lines().len();
    for (arguments, count) in [
        (&["x.pcap", "trace.1"][..], 2 + http),
        (&["tcp"], http),
        (&["x.pcap", "tcp"], 2),
        (&["x.pcap", "./tcp", "tcp"], 2 + http),
    ] {
        let outcome = typed(arguments);
        assert_eq!((outcome.code, outcome.lines().len()), (Some(0), count), "{arguments:?}: {outcome:?}");
    }
}

#[test]
fn a_word_in_the_wrong_place_is_answered_with_what_to_type() {
    complains(&typed(&["missing.pcap"]), 1, &["picotap: missing.pcap: cannot be opened: no such file"]);
    complains(&typed(&["port 80"]), 2, &["picotap: nothing to watch: there is no file \"port 80\"", "-i iface"]);
    complains(&typed(&["lo"]), 2, &["picotap: lo is an interface: needed -i lo"]);
    complains(&typed(&["-r", "x.pcap", "y.pcap"]), 2, &["picotap: \"y.pcap\" names a capture", "needed -r in front"]);
    complains(
        &run(picotap().args(["top", "port", "80"])),
        2,
        &["picotap: nothing to watch: there is no file \"port\""],
    );
}

#[test]
fn times_and_sizes_have_units() {
    let lines = |arguments: &[&str]| {
        let outcome = read(&fixture("pairing/pipeline/capture.pcap"), arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
        outcome.lines().len()
    };
    let all = lines(&["--memory-limit", "64M", "--fault-time", "0.5s", "-s", "64k"]);
    assert_eq!(lines(&["--slow", "0"]), all);
    for same in [["--slow", "0.5"], ["--slow", "0.5ms"], ["--slow", "500us"], ["--slow", "0.0005s"]] {
        assert!((1..all).contains(&lines(&same)) && lines(&same) == lines(&["--slow", "500us"]), "{same:?}");
    }
    assert_eq!(lines(&["--slow", "1h"]), 0);
    let config = super::written("units.toml", b"slow = \"1h\"\nmemory-limit = \"1GiB\"\n");
    assert_eq!(lines(&["--config", config.to_str().unwrap()]), 0);
    for (option, value, says) in [
        ("--slow", "fast", "expected a time from 0 to"),
        ("--fault-time", "2s", "expected a time from 1ms to 1s, such as 250us, 10ms or 1.5s"),
        ("--memory-limit", "1MB", "expected a size from 4mib to 1tib, such as 4k, 64m or 1gib"),
        ("--rotate-interval", "0", "expected a time from 1s"),
    ] {
        complains(
            &read(&fixture("framing/get/capture.pcap"), &[option, value]),
            2,
            &[option, &value.to_lowercase(), says],
        );
    }
}

#[test]
fn what_tcpdump_users_type_is_taken_or_answered() {
    let plain = typed(&["x.pcap"]);
    for arguments in
        [&["-n"][..], &["-nn"], &["-nnvvvt"], &["-tttt"], &["-l", "-U"], &["-nls", "0"], &["-nq", "-c", "1000"]]
    {
        for input in [&["-r", "x.pcap"][..], &["x.pcap"]] {
            let outcome = typed(&[arguments, input].concat());
            assert_eq!((outcome.code, outcome.lines()), (Some(0), plain.lines()), "{arguments:?}: {}", outcome.stderr);
        }
    }
    for (arguments, says) in [
        (&["-nnA"][..], &["picotap: -a: ", "--format json", "tcpdump -a"][..]),
        (&["-XX"], &["picotap: -x: ", "--format json"]),
        (&["-x"], &["picotap: -x: ", "--format json"]),
        (&["-ne"], &["picotap: -e: ", "no link-layer addresses"]),
    ] {
        let outcome = typed(&[arguments, &["-r", "x.pcap"]].concat());
        complains(&outcome, 2, says);
        assert!(outcome.stdout.is_empty(), "{arguments:?}");
    }
    complains(&typed(&["-i", "lo", "-w", "-"]), 2, &["picotap: -w -: "]);
    assert_eq!(typed(&["-D", "-n"]).code, Some(0));
}

#[test]
fn every_error_begins_with_the_name_of_the_program() {
    let config = super::written("usage.toml", b"metrics-addr = \"1\"\nno-metrics = true\n");
    let config = config.to_str().unwrap();
    for (arguments, says) in [
        (&["--no-such-option"][..], "unexpected argument '--no-such-option'"),
        (&["-r", "x.pcap", "-i", "lo"], "cannot be used with"),
        (&["--workers", "0", "-r", "x.pcap"], "invalid value '0' for '--workers <n>'"),
        (&["-r", "x.pcap", "--header", "content type"], "expected the name of a header"),
        (
            &["-r", "x.pcap", "--filter", "stauts=500"],
            "\"stauts\" is no field (did you mean status?): needed method, status",
        ),
        (&["top", "--no-such-option"], "unexpected argument '--no-such-option'"),
        (&["replay"], "required arguments"),
        (&["config", "check", config], "cannot be used with"),
        (&["config", "check", "/nonexistent.toml"], "/nonexistent.toml: "),
        (&[], "nothing to watch"),
    ] {
        let outcome = run(picotap().args(arguments));
        complains(&outcome, 2, &["picotap: ", says]);
        assert_eq!(
            says.contains("stauts"),
            outcome.stderr.contains("\n  stauts=500\n  ^^^^^^\n"),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.starts_with("picotap: ") && !outcome.stderr.contains("error: "), "{}", outcome.stderr);
    }
}

#[test]
fn the_manual_and_the_completions_are_printed() {
    for (shell, says) in
        [("bash", "complete -F _picotap"), ("zsh", "#compdef picotap"), ("fish", "complete -c picotap")]
    {
        let outcome = run(picotap().args(["completions", shell]));
        let text = String::from_utf8(outcome.stdout.clone()).unwrap();
        assert!(outcome.code == Some(0) && text.contains(says) && text.contains("rotate-interval"), "{shell}: {text}");
    }
    for (arguments, title) in [(&["man"][..], ".TH picotap 1"), (&["man", "top"], ".TH picotap-top 1")] {
        let outcome = run(picotap().args(arguments));
        let text = String::from_utf8(outcome.stdout.clone()).unwrap();
        assert!(outcome.code == Some(0) && text.contains(title) && text.contains("rotate"), "{text}");
    }
    complains(&run(picotap().args(["completions", "tcsh"])), 2, &["picotap: ", "invalid value 'tcsh'"]);
    complains(&run(picotap().args(["man", "tpo"])), 2, &["picotap: ", "'tpo'", "expected one of", "top"]);
    // Who reads no more is no fault.
    let mut child = picotap()
        .args(["completions", "zsh"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let outcome = super::finish(child);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}
