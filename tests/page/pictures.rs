//! Pictures of the page, for people to look at. `cargo test --test page picture -- --ignored` writes them into
//! target/tmp/pictures. Two are kept for the README, in src/view/page: those of a real load and of a real capture.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use picotap::view::{Snapshot, page};

use super::data;
use super::support::browser::Browser;
use super::support::daemon::{Daemon, directory};
use super::support::network::Network;
use super::support::program::{picotap, run, scratch};
use super::support::tool::has;

/// Where they are written.
fn gallery() -> PathBuf {
    let directory = scratch("pictures");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Fewer colours: a third of the size.
fn shrink(picture: &Path) {
    let mut command = Command::new("pngquant");
    command.args(["--force", "--skip-if-larger", "--output"]).arg(picture).arg("128").arg(picture);
    assert!(command.status().unwrap().success());
}

#[test]
#[ignore = "writes pictures, and judges nothing"]
fn pictures() {
    if !has(&["chromium"]) {
        return;
    }
    let directory = gallery();
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

/// Hosts and paths in turn, in waves; for half a minute a host fails.
const LOAD: &str = r#"
local began, n = os.time(), 0
local paths = {"/users/%d", "/users/%d/orders", "/search?q=red+shoes&page=%d", "/assets/%d.js", "/login?%d", "/missing/%d"}
local hosts = {"www.example.org", "api.example.org", "api.example.org", "static.example.org"}
delay = function() return 8 + 30 * (1 + math.sin((os.time() - began) / 50)) * math.random() end
request = function()
    n = n + 1
    local path = paths[n % 48 == 0 and 6 or 1 + n % 5]:format(math.random(9999))
    local t = os.time() - began
    if t > 200 and t < 230 and n % 4 == 0 then path = "/fault" end
    wrk.headers["Host"] = hosts[1 + n % 4]
    wrk.headers["User-Agent"] = "wrk/4.1.0"
    return wrk.format(n % 9 == 0 and "POST" or "GET", path)
end
"#;

const HOSTS: &str = "server {
    listen 80; server_name www.example.org api.example.org static.example.org; root PLACE/site;
    location / { return 200 'LONG'; }
    location /missing { return 404; }
    location /fault { return 503; }
}";

#[test]
#[ignore = "writes a picture of eight minutes of load, and judges nothing"]
fn picture_of_a_load() {
    if !has(&["chromium", "wrk", "pngquant"]) {
        return;
    }
    let Some(network) = Network::new("picture_of_a_load") else { return };
    let network = network.serve_also(HOSTS);
    let script = network.file("load.lua", LOAD);
    let logs = directory();
    let daemon = Daemon::start(&network, &logs.path().join("http.json"), &[], &[]);
    let mut browser = Browser::start(Some(&network.server));
    browser.open("http://127.0.0.1:9464/");
    let mut wrk = Network::inside(&network.client, "wrk");
    wrk.args(["-t", "1", "-c", "12", "-d", "480s", "-s"]).arg(script).arg("http://10.99.0.2/").stdout(Stdio::null());
    wrk.status().unwrap();
    for (name, script) in [("live", ""), ("live-hosts", "choose('hosts')"), ("live-health", "choose('health')")] {
        browser.eval(script);
        browser.frames();
        let picture = gallery().join(format!("{name}.png"));
        browser.picture(&picture);
        shrink(&picture);
    }
    daemon.stop();
}

#[test]
#[ignore = "writes a picture, and judges nothing"]
fn picture_of_a_report() {
    if !has(&["chromium", "pngquant"]) {
        return;
    }
    let capture = super::support::fixtures::path("http.pcap");
    let report = gallery().join("http.html");
    let outcome = run(picotap().args(["-o", "/dev/null", "-r"]).arg(&capture).arg("--report").arg(&report));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut browser = Browser::start(None);
    browser.prefer("dark");
    browser.open_file(&report);
    browser.eval("document.querySelectorAll('#recent tbody tr')[4].click()");
    browser.frames();
    let picture = gallery().join("http.png");
    browser.picture(&picture);
    shrink(&picture);
}
