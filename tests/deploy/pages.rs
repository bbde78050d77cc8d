//! The pages of the repository: every link leads somewhere, and every file that is named is there.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::{below, root};

/// Directories of the source whose files are named by their whole path.
const TREES: &[&str] = &["benches/", "deploy/", "examples/", "fixtures/", "fuzz/", "guest/", "src/", "tests/"];

/// All pages, by their path below the root.
pub(super) fn pages() -> Vec<PathBuf> {
    below("", &["md"])
}

/// The text of a page without its blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What a heading is called in links: small letters, digits and `_`, with `-` for each blank.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn anchors(text: &str) -> HashSet<String> {
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')).map(anchor).collect()
}

/// What is wrong with the links of a page, and with the files that it names.
fn wrong(page: &Path, text: &str) -> Vec<String> {
    let text = prose(text);
    let beside = page.parent().expect("a directory");
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let mut wrong = vec![];
    for link in links.filter(|link| !link.starts_with("http")) {
        let (file, place) = link.split_once('#').unwrap_or((link, ""));
        let path = if file.is_empty() { page.to_path_buf() } else { beside.join(file) };
        if !root().join(&path).exists() {
            wrong.push(format!("{}: no file {link}", page.display()));
        } else if !place.is_empty() {
            let there = fs::read_to_string(root().join(&path)).expect("text");
            let there = if file.is_empty() { anchors(&text) } else { anchors(&there) };
            if !there.contains(place) {
                wrong.push(format!("{}: no heading {link}", page.display()));
            }
        }
    }
    let named = text.split('`').skip(1).step_by(2);
    let whole = |name: &&str| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        plain && TREES.iter().any(|tree| name.starts_with(tree))
    };
    for name in named.filter(whole).filter(|name| !root().join(name).exists()) {
        // Pages beside what they describe may name it from where they are.
        if !root().join(beside).join(name).exists() {
            wrong.push(format!("{}: no file `{name}`", page.display()));
        }
    }
    wrong
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let found = pages();
    for page in ["README.md", "deploy/ANALYSTS.md", "deploy/OPERATORS.md", "guest/README.md"] {
        assert!(found.contains(&PathBuf::from(page)), "{page}");
    }
    let wrong: Vec<String> =
        found.iter().flat_map(|page| wrong(page, &fs::read_to_string(root().join(page)).expect("text"))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = Path::new("deploy/ANALYSTS.md");
    let text = "# A heading, `with` more\n[good](#a-heading-with-more) [good](OPERATORS.md#rights) [good](../README.md)\n\
                `src/lib.rs` `src/nothing.rs` [bad](#a-heading) [bad](OPERATORS.md#lefts) [bad](NOTHING.md)\n```sh\n[not one](#x)\n```\n";
    let said = wrong(page, text);
    assert_eq!(said.len(), 4, "{said:?}");
}
