//! What a new user types: it works, or the answer says what to type.

use std::fs;

use crate::support::program::{picotap, read, run};
use crate::{complains, fixture};

/// Runs with these arguments in a directory with captures `x.pcap`, `trace.1` and `tcp`.
fn typed(arguments: &[&str]) -> crate::Outcome {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in [("link-ethernet", "x.pcap"), ("get", "trace.1"), ("get", "tcp")] {
        fs::copy(fixture(from).join("capture.pcap"), directory.path().join(to)).unwrap();
    }
    run(picotap().current_dir(directory.path()).args(["--format", "json"]).args(arguments))
}

#[test]
fn a_file_needs_no_option() {
    let whole = read(&fixture("link-ethernet/capture.pcap"), &[]);
    let filtered = read(&fixture("link-ethernet/capture.pcap"), &["ip6"]);
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
    for (arguments, count) in [
        (&["x.pcap", "trace.1"][..], 3),
        (&["tcp"], 1),
        (&["x.pcap", "tcp"], 2),
        (&["x.pcap", "./tcp", "tcp"], 3),
        (&["."], 4),
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
