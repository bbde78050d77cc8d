//! A tool is what a test needs on its machine: another program, a file, or a privilege. A test that lacks one fails
//! where everything must run (`PICOTAP_REQUIRE_ALL`, as under .ci/run), and elsewhere is left out, by name: on standard
//! error, and in the file that `PICOTAP_SKIPPED` names.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io, thread};

/// Whether all of `needs` is there: names of programs, paths in the source with a slash, or `root`. If not, the skip of
/// this test has been noted.
pub fn has(needs: &[&str]) -> bool {
    let missing: Vec<&str> = needs.iter().copied().filter(|need| !is_there(need)).collect();
    if !missing.is_empty() {
        // The harness names each test's thread after it.
        skip(thread::current().name().unwrap_or("a test"), &format!("needs {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// Where the program `name` stands, or nothing after the skip of `test` has been noted.
pub fn need(test: &str, name: &str) -> Option<PathBuf> {
    let found = program(name);
    if found.is_none() {
        skip(test, &format!("needs {name}"));
    }
    found
}

/// Notes that `test` leaves out its work. Fails instead where everything must run.
pub fn skip(test: &str, why: &str) {
    assert!(env::var_os("PICOTAP_REQUIRE_ALL").is_none(), "{test}: {why}, and PICOTAP_REQUIRE_ALL is set");
    note(test, why);
}

/// Notes that `test` leaves out its work for what no installation changes: the machine's kernel.
pub fn note(test: &str, why: &str) {
    let message = format!("{test}: {why}");
    // Not eprintln!, which the harness keeps to itself when a test passes.
    writeln!(io::stderr(), "skipped: {message}").expect("standard error takes a line");
    if let Some(list) = env::var_os("PICOTAP_SKIPPED") {
        let mut list = fs::OpenOptions::new().create(true).append(true).open(list).expect("the list can be written");
        writeln!(list, "{message}").expect("the list takes a line");
    }
}

fn is_there(need: &str) -> bool {
    match need {
        "root" => nix::unistd::geteuid().is_root(),
        path if path.contains('/') => Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(),
        name => program(name).is_some(),
    }
}

/// nginx, setcap and their like stand in sbin, which is not on everybody's path.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').map(|directory| Path::new(directory).join(name)).find(|candidate| candidate.is_file())
}
