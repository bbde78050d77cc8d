//! What a test needs of its machine. A test that lacks something fails where PICOTAP_REQUIRE_ALL is set (.ci/run), and
//! elsewhere is left out, by name: on standard error, and in the file that PICOTAP_SKIPPED names.

use std::io::Write;
use std::path::Path;
use std::{env, fs, io, thread};

/// Whether all of `needs` is there: names of programs, paths with a slash, or `root`.
pub(crate) fn has(needs: &[&str]) -> bool {
    let missing: Vec<&str> = needs.iter().copied().filter(|need| !present(need)).collect();
    if missing.is_empty() {
        return true;
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let message = format!("{test}: needs {}", missing.join(", "));
    assert!(env::var_os("PICOTAP_REQUIRE_ALL").is_none(), "{message}");
    // Not eprintln!, which the harness keeps to itself when a test passes.
    writeln!(io::stderr(), "skipped: {message}").expect("standard error takes a line");
    if let Some(file) = env::var_os("PICOTAP_SKIPPED") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(file).expect("the list can be written");
        writeln!(file, "{message}").expect("the list takes a line");
    }
    false
}

fn present(need: &str) -> bool {
    if need == "root" {
        return nix::unistd::geteuid().is_root();
    }
    if need.contains('/') {
        return Path::new(env!("CARGO_MANIFEST_DIR")).join(need).exists();
    }
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|directory| Path::new(directory).join(need).is_file())
}
