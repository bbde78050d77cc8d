//! The build on machines without clang: docs.rs, which needs none, and everybody else, who is told what is missing.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use super::files::{root, run};
use crate::tool;

/// Runs cargo where there is a C compiler and nothing else.
fn cargo(tools: &Path, arguments: &[&str], docs_rs: bool) -> Output {
    let sysroot = String::from_utf8(run("rustc", &["--print", "sysroot"]).stdout).expect("text");
    let mut command = Command::new(Path::new(sysroot.trim()).join("bin/cargo"));
    command
        .args(arguments)
        .args(["--locked", "--offline", "--lib", "--target-dir", "target/docs-rs"])
        .current_dir(root());
    command.env("PATH", format!("{}:{}/bin", tools.display(), sysroot.trim())).env_remove("PICOTAP_CLANG");
    if docs_rs {
        command.env("DOCS_RS", "1")
    } else {
        command.env_remove("DOCS_RS")
    };
    command.output().expect("cargo runs")
}

#[test]
#[ignore = "minutes: checks every dependency anew"]
fn the_documentation_is_built_without_clang_and_the_program_says_what_it_lacks() {
    if !tool::has(&["cc", "ld", "as", "ar"]) {
        return;
    }
    let tools = tempfile::tempdir().expect("a directory");
    for name in ["cc", "ld", "as", "ar"] {
        let found = tool::need("the build without clang", name).expect("it was there");
        symlink(found, tools.path().join(name)).expect("a link");
    }
    let output = cargo(tools.path(), &["doc", "--no-deps"], true);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(root().join("target/docs-rs/doc/picotap/struct.Reader.html").exists());

    let output = cargo(tools.path(), &["check"], false);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for text in ["clang with the wasm32 target is not installed", "apt-get install clang-", "deploy/setup.sh"] {
        assert!(said.contains(text), "{text}: {said}");
    }
}
