//! The page in a real browser: the report from disk, and the live page against a server of events.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test code: a panic is a failed test, and deadlines of tests are on the wall clock"
)]

#[path = "../support/mod.rs"]
mod support;

mod data;
mod events;
mod filters;
mod live;
mod pictures;
mod program;
mod report;

use std::path::PathBuf;

use picotap::view::{Snapshot, page};
use support::browser::Browser;
use support::program::scratch;
use support::tool::has;

/// A browser, where there is one.
fn browser() -> Option<Browser> {
    has(&["chromium"]).then(|| Browser::start(None))
}

/// The report of a snapshot, as a file.
fn report(name: &str, snapshot: &Snapshot) -> PathBuf {
    let path = scratch(&format!("{name}.html"));
    std::fs::write(&path, page::html(Some(snapshot))).unwrap();
    path
}

/// A browser with the report open.
fn opened(name: &str, snapshot: &Snapshot) -> Option<Browser> {
    let mut browser = browser()?;
    browser.open_file(&report(name, snapshot));
    Some(browser)
}
