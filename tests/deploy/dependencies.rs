//! What picotap depends on: licences, versions that occur twice, and where crates come from, by `cargo deny`.

use std::fs;
use std::process::Output;

use super::files::{read, run};
use crate::tool;

const DENY: &str = "target/tools/bin/cargo-deny";

/// The checks that need no network. What the configuration names in vain is a fault too.
fn check(configuration: &str) -> Output {
    let mut arguments = vec!["--offline", "--locked", "--config", configuration, "check"];
    for lint in ["unmatched-skip", "unnecessary-skip", "license-not-encountered"] {
        arguments.extend(["--deny", lint]);
    }
    arguments.extend(["licenses", "bans", "sources"]);
    run(DENY, &arguments)
}

#[test]
fn every_dependency_has_a_licence_a_source_and_one_version() {
    if !tool::has(&[DENY]) {
        return;
    }
    let output = check("deny.toml");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = read("deny.toml");
    for (right, wrong, said) in [
        ("    \"ISC\",\n", "", "ISC"),
        ("    \"ISC\",\n", "    \"ISC\",\n    \"GPL-3.0\",\n", "GPL-3.0"),
        ("crate = \"sha2@0.10\"", "crate = \"sha2@0.9\"", "sha2"),
    ] {
        assert!(text.contains(right), "{right}");
        let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
        fs::write(file.path(), text.replacen(right, wrong, 1)).expect("written");
        let output = check(file.path().to_str().expect("a name"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(said), "{wrong}: {stderr}");
    }
}
