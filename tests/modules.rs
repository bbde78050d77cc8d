//! Imports go one way: a module uses only what stands above it in the table.
//!
//! The table is the code map of ARCHITECTURE.md, which has the same modules in the same order. The test reads every
//! `crate::NAME` in the files under `src/`, except files of tests.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and its deadlines are on the wall clock"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Module, and the modules of the crate that it may use beside itself. In the order of the table.
const MAY_USE: &[(&str, &[&str])] = &[
    ("counters", &[]),
    ("escape", &[]),
    ("glob", &[]),
    ("prefetch", &[]),
    ("stream", &[]),
    ("process", &["counters", "stream"]),
    ("abi", &[]),
    ("source", &["counters", "stream"]),
    ("packet", &["counters", "source", "stream"]),
    ("flow", &["counters", "packet", "stream"]),
    ("batch", &["counters", "stream"]),
    ("tls", &["counters", "glob", "prefetch", "stream", "batch"]),
    ("http", &["abi", "counters", "escape", "glob", "stream", "process", "tls"]),
    ("sandbox", &["abi", "counters", "prefetch", "stream", "batch", "http"]),
    ("export", &["abi", "counters", "escape", "http", "stream", "process", "tls"]),
    ("view", &["abi", "counters", "escape", "export", "http", "stream", "process", "tls"]),
    ("clock", &[]),
    ("daemon", &[]),
    ("helper", &["clock", "daemon"]),
    ("probe", &["counters", "escape", "tls", "helper"]),
    ("top", &["export", "view", "clock", "daemon", "http"]),
    (
        "pipeline",
        &[
            "abi", "clock", "counters", "stream", "source", "packet", "flow", "batch", "tls", "sandbox", "http",
            "export", "view", "daemon", "helper", "probe", "process",
        ],
    ),
    ("inline", &["stream", "process", "source", "packet", "flow", "batch", "tls", "sandbox", "http"]),
    ("reader", &["inline", "source", "tls", "sandbox", "http"]),
    ("tap", &["inline", "pipeline", "clock", "source", "sandbox", "http", "stream"]),
    ("parse", &["abi", "escape", "http", "sandbox"]),
    ("config", &[]),
    ("cli", &["config", "source", "tls", "http", "export", "view", "pipeline", "parse", "probe"]),
    ("plan", &["source", "http", "export", "view", "daemon", "pipeline", "cli", "probe"]),
    ("manual", &[]),
    ("lib", &[]),
    (
        "main",
        &[
            "config", "source", "sandbox", "export", "daemon", "probe", "top", "pipeline", "parse", "cli", "plan",
            "manual",
        ],
    ),
];

/// Modules that must not know threads, clocks, files or the network: bytes and time are their arguments.
const PURE: &[&str] = &["abi", "counters", "prefetch", "stream", "escape", "packet", "flow", "batch", "tls", "http"];
const IMPURE: &[&str] = &[
    "std::thread",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "Instant::now",
    "SystemTime::now",
    "std::io::stdin",
    "std::io::stdout",
];

fn files(directory: &Path, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
            let name = path.strip_prefix(source).expect("under src").to_string_lossy().into_owned();
            out.push((name, fs::read_to_string(&path).expect("text")));
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut out = vec![];
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut out);
    out.sort();
    out
}

/// The module that a file belongs to: the first part of its path.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Modules named after `prefix`: one, or several in braces.
fn named<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let name = |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let mut out = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = text.get(at + prefix.len()..).unwrap_or_default();
        match rest.strip_prefix('{').and_then(|group| group.split_once('}')) {
            Some((group, _)) => out.extend(group.split(',').map(|item| name(item.trim()))),
            None => {
                out.insert(name(rest));
            }
        }
    }
    out.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    out
}

/// A file without the lines that are only comment.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_go_up_the_table_only() {
    let mut wrong = vec![];
    for (file, text) in sources() {
        let own = module(&file);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == own) else {
            wrong.push(format!("src/{file}: module {own} is not in the table"));
            continue;
        };
        // A file of tests may use what comes after its module.
        if file.ends_with("tests.rs") || file.contains("/tests/") {
            continue;
        }
        let text = code(&text);
        let mut used = named(&text, "crate::");
        if own == "main" {
            used.extend(named(&text, "picotap::"));
        }
        for name in used {
            let known = MAY_USE.iter().any(|(module, _)| *module == name);
            if known && name != own && !allowed.contains(&name) {
                wrong.push(format!("src/{file} uses {name}, which {own} may not"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_module_may_use_only_those_above_it() {
    for (at, (name, allowed)) in MAY_USE.iter().enumerate() {
        for other in *allowed {
            let above = MAY_USE[..at].iter().any(|(module, _)| module == other);
            assert!(above, "{name} may use {other}, which is not above it");
        }
    }
}

/// The modules in the first column of the code map, in order: `name.rs` or `name/` in backquotes.
fn modules_of_the_code_map(text: &str) -> Vec<&str> {
    let (_, map) = text.split_once("## Code map").expect("a code map");
    let (map, _) = map.split_once("\n## ").expect("a section behind it");
    let rows = map.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let quoted = rows.flat_map(|names| names.split('`').skip(1).step_by(2));
    quoted
        .filter_map(|name| name.strip_suffix(".rs").or_else(|| name.strip_suffix('/')))
        .filter(|name| !name.contains("guest"))
        .collect()
}

#[test]
fn the_code_map_has_every_module_in_this_order() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).expect("text");
    let modules: Vec<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    assert_eq!(modules_of_the_code_map(&text), modules);
}

#[test]
fn what_handles_bytes_knows_no_thread_clock_or_file() {
    let mut wrong = vec![];
    for (file, text) in sources() {
        if !PURE.contains(&module(&file)) {
            continue;
        }
        // Tests at the bottom of a file may use anything.
        let text = code(text.split("#[cfg(test)]").next().unwrap_or_default());
        for name in IMPURE {
            if text.contains(name) {
                wrong.push(format!("src/{file} has {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_is_about_one_noun() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        let tests = text.lines().skip_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines - tests <= 500, "src/{file} has {} lines before its tests: split it", lines - tests);
        let first = text.lines().next().unwrap_or_default();
        let only_tests = file.ends_with("tests.rs") || file.contains("/tests/");
        assert!(only_tests || first.starts_with("//!"), "src/{file} does not say what it is about");
    }
}
