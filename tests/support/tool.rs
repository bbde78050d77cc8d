//! A tool is a program of somebody else that a test needs. A test whose tool is missing fails where everything must run
//! (`PICOTAP_REQUIRE_ALL`) and is a named skip elsewhere.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Where `name` stands, or nothing after the skip of `test` has been noted.
pub fn need(test: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    for directory in path.split(':').chain(["/usr/sbin", "/sbin"]) {
        let candidate = Path::new(directory).join(name);
        if candidate.is_file() {
            return Some(candidate);
        }
    }
    skip(test, &format!("{name} is not installed"));
    None
}

/// Notes that `test` leaves out its work. Fails instead where everything must run.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("PICOTAP_REQUIRE_ALL").is_none(), "{test}: {why}, and PICOTAP_REQUIRE_ALL is set");
    println!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("PICOTAP_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(file, "{test}: {why}").unwrap();
    }
}
