//! Pictures of the page, for people to look at. `cargo test --test page pictures -- --ignored` writes them into
//! target/tmp/pictures; two are kept for the README, in src/view/page.

use picotap::view::{Snapshot, page};

use super::data;
use super::support::browser::Browser;
use super::support::program::scratch;
use super::support::tool::has;

#[test]
#[ignore = "writes pictures, and judges nothing"]
fn pictures() {
    if !has(&["chromium"]) {
        return;
    }
    let directory = scratch("pictures");
    std::fs::create_dir_all(&directory).unwrap();
    let mut browser = Browser::start(None);
    let empty = Snapshot {
        live: true,
        source: "eth0".into(),
        step: 1,
        now: data::BEGAN,
        began: data::BEGAN,
        ..Snapshot::default()
    };
    for (name, snapshot, scheme, script) in [
        ("report", data::varied(), "light", ""),
        ("details", data::varied(), "dark", "document.querySelectorAll('#recent tbody tr')[6].click()"),
        ("hosts", data::varied(), "light", "choose('hosts')"),
        ("health", data::varied(), "dark", "choose('health'); document.querySelector('#help-button').click()"),
        ("empty", empty, "light", ""),
        ("hostile", data::hostile(), "light", "document.querySelectorAll('#recent tbody tr')[2].click()"),
    ] {
        let file = directory.join(format!("{name}.html"));
        std::fs::write(&file, page::html(Some(&snapshot))).unwrap();
        browser.prefer(scheme);
        browser.open_file(&file);
        browser.eval(script);
        browser.frames();
        browser.picture(&directory.join(format!("{name}.png")));
    }
}
