//! picotap prints the expected lines for every fixture.
//!
//! The captures are written by the cases in `tests/lines/cases`: `BLESS=1 cargo test --test lines fixtures` writes them, and without
//! it the test checks that the files in `fixtures/` match the cases.

use crate::support;
use std::collections::BTreeSet;
use std::fs;

use crate::cases::Case;
use support::capture::decompress;
use support::fixtures::{directories, path};
use support::program::{assert_lines, picotap, run};
use support::scene::Scene;

fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// The files of a case's directory, except tshark's list.
fn contents(case: &Case, scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let mut readme = format!("# {}\n\n{}\n\n{}\n\n", case.name, case.what, case.right);
    let judge = case.tshark.map_or_else(
        || "tshark gives the same list of transactions.\n".to_owned(),
        |why| format!("tshark gives another list (`tshark.txt`): {why}.\n"),
    );
    let names: Vec<_> = scene.files.iter().map(|file| file.name.clone()).collect();
    if judged(scene) {
        readme += &judge;
        readme += "\n";
    }
    readme += &format!("    picotap --format json --pcap {}", names.join(" --pcap "));
    for arg in &scene.args {
        readme += &format!(" {arg}");
    }
    readme += &format!(
        "\n\nExit code {}. Made by the case of this name in `tests/lines/cases/{}.rs`.\n",
        scene.exit, case.subject
    );
    let mut expected = scene.expected().join("\n");
    if !expected.is_empty() {
        expected += "\n";
    }
    let mut files = scene.written();
    files.push(("README.md".into(), readme.into_bytes()));
    files.push(("expected.jsonl".into(), expected.into_bytes()));
    files
}

/// Whether tshark can be asked: about one whole file.
fn judged(scene: &Scene) -> bool {
    scene.files.len() == 1 && scene.exit == 0
}

#[test]
fn fixtures_are_what_the_cases_give() {
    let (mut names, mut known) = (BTreeSet::new(), BTreeSet::new());
    for case in crate::cases::all() {
        assert!(names.insert(case.name), "{} is the name of two cases", case.name);
        let case_directory = path(case.directory());
        known.insert(case_directory.clone());
        if blessing() {
            fs::create_dir_all(&case_directory).unwrap();
        }
        for (name, bytes) in contents(&case, &case.scene()) {
            let file = case_directory.join(name);
            let now = fs::read(&file).unwrap_or_default();
            if blessing() && (now.is_empty() || decompress(&now) != decompress(&bytes)) {
                fs::write(&file, &bytes).unwrap();
            } else if !blessing() {
                assert!(
                    now == bytes || decompress(&now) == decompress(&bytes),
                    "{} is not what its case gives",
                    file.display()
                );
            }
        }
    }
    const RECORDINGS: [&str; 7] =
        ["http", "servers", "tls/https", "http2/h2", "http2/h2-browser", "http2/h2-grpc", "http2/h2-tls"];
    known.extend(RECORDINGS.map(path));
    for directory in directories() {
        assert!(known.contains(&directory), "{} has no case", directory.display());
    }
}

#[test]
fn every_fixture_gives_its_lines() {
    let only = std::env::var("CASE").unwrap_or_default();
    let mut failed = vec![];
    for case in crate::cases::all() {
        if !case.name.contains(&only) {
            continue;
        }
        let scene = case.scene();
        let case_directory = path(case.directory());
        let mut command = picotap();
        for file in case.captures(&scene) {
            command.arg("--pcap").arg(file);
        }
        let outcome = run(command.args(["--format", "json", "--stats"]).args(&scene.args));
        let checked = std::panic::catch_unwind(|| {
            assert!(!outcome.stderr.contains("sandbox faults"), "a parser of ours has failed: {}", outcome.stderr);
            assert_lines(&scene.expected(), &outcome.sorted(), &case_directory);
            assert_eq!(outcome.code, Some(scene.exit), "exit code; standard error: {}", outcome.stderr);
        });
        if checked.is_err() {
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "{} cases fail: {failed:?}", failed.len());
}
