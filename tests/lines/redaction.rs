//! No secret in any output: one table of where secrets stand, through the whole program and every format.
//!
//! The table as it is shown to people: `cargo test --test lines redaction -- --nocapture`.

use crate::support;
use std::fs;
use std::path::{Path, PathBuf};

use picotap::http::redact::{HEADER_ENDS, HEADERS, KEYS};
use serde_json::Value;
use support::message::Message;
use support::program::{Outcome, picotap, run, scratch};
use support::scene::Scene;

/// What must not be seen.
const SECRET: &str = "hunter2";

/// Where a text stands.
#[derive(Debug, Clone, Copy)]
enum Location {
    Target,
    /// The target of CONNECT.
    Connect,
    Host,
    UserAgent,
    Referer,
    Origin,
    Reason,
    /// A header of the request that is asked for.
    Asked(&'static str),
    /// A header of the response that is asked for.
    Answered(&'static str),
}

use Location::{Answered, Asked, Connect, Host, Origin, Reason, Referer, Target, UserAgent};

/// Location, the text on the wire, and the text that is logged.
const CASES: &[(Location, &str, &str)] = &[
    // keys, as they are written
    (Target, "/?token=hunter2&x=1", "/?token=REDACTED&x=1"),
    (Target, "/?TOKEN=hunter2", "/?TOKEN=REDACTED"),
    (Target, "/?access_token=hunter2&id_token=hunter2", "/?access_token=REDACTED&id_token=REDACTED"),
    (Target, "/?refresh-token=hunter2&code=hunter2", "/?refresh-token=REDACTED&code=REDACTED"),
    (Target, "/?apiKey=hunter2&api_key=hunter2", "/?apiKey=REDACTED&api_key=REDACTED"),
    (Target, "/?key=hunter2&client_secret=hunter2", "/?key=REDACTED&client_secret=REDACTED"),
    (Target, "/?password=hunter2&passwd=hunter2&pwd=hunter2", "/?password=REDACTED&passwd=REDACTED&pwd=REDACTED"),
    (Target, "/?secret=hunter2&session=hunter2&jwt=hunter2", "/?secret=REDACTED&session=REDACTED&jwt=REDACTED"),
    (Target, "/?auth=hunter2&signature=hunter2&sig=hunter2", "/?auth=REDACTED&signature=REDACTED&sig=REDACTED"),
    (
        Target,
        "/?X-Amz-Security-Token=hunter2&x-amz-signature=hunter2",
        "/?X-Amz-Security-Token=REDACTED&x-amz-signature=REDACTED",
    ),
    (
        Target,
        "/?X-Goog-Credential=hunter2&X-Goog-Signature=hunter2",
        "/?X-Goog-Credential=REDACTED&X-Goog-Signature=REDACTED",
    ),
    (Target, "/?p%61ssword=hunter2", "/?p%61ssword=REDACTED"),
    (Target, "/?user[password]=hunter2", "/?user[password]=REDACTED"),
    (Target, "/?user%5Bpassword%5D=hunter2&a", "/?user%5Bpassword%5D=REDACTED&a"),
    (Target, "/?ticket=hunter2&x_mine=1", "/?ticket=REDACTED&x_mine=1"),
    // where keys stand
    (Target, "/?a=1;sig=hunter2;b=2", "/?a=1;sig=REDACTED;b=2"),
    (Target, "/x;sig=hunter2/y", "/x;sig=REDACTED/y"),
    (Target, "/x;jsessionid=hunter2?y=1", "/x;jsessionid=REDACTED?y=1"),
    (Target, "/#access_token=hunter2&state=1", "/#access_token=REDACTED&state=1"),
    (Target, "/token=hunter2/y", "/token=REDACTED/y"),
    // URLs in values
    (
        Target,
        "/?next=https%3A%2F%2Fu%3Ahunter2%40h%2F%3Ftoken%3Dhunter2%26x%3D1&y=2",
        "/?next=https%3A%2F%2FREDACTED%3AREDACTED%40h%2F%3Ftoken%3DREDACTED%26x%3D1&y=2",
    ),
    (Target, "/?next=//u:hunter2@h/&y=2", "/?next=//REDACTED:REDACTED@h/&y=2"),
    (
        Target,
        "/?a=b%3Fc%3Dhttps%253A%252F%252Fh%252F%253Fsig%253Dhunter2",
        "/?a=b%3Fc%3Dhttps%253A%252F%252Fh%252F%253Fsig%253DREDACTED",
    ),
    // user information
    (Target, "http://u:hunter2@ex.com:81/x", "http://REDACTED:REDACTED@ex.com:81/x"),
    (Target, "http://hunter2@ex.com/x", "http://REDACTED@ex.com/x"),
    (Target, "//u:hunter2@ex.com/x", "//REDACTED:REDACTED@ex.com/x"),
    (Target, "/to/ftp://u:hunter2@ex.com/x", "/to/ftp://REDACTED:REDACTED@ex.com/x"),
    (Connect, "u:hunter2@ex.com:443", "REDACTED:REDACTED@ex.com:443"),
    (Host, "u:hunter2@ex.com:81", "REDACTED:REDACTED@ex.com:81"),
    (Host, "ex.com/?token=hunter2", "ex.com/?token=REDACTED"),
    // headers that every line has
    (Referer, "http://u:hunter2@h/?code=hunter2#x", "http://REDACTED:REDACTED@h/?code=REDACTED#x"),
    (Origin, "http://u:hunter2@h", "http://REDACTED:REDACTED@h"),
    (UserAgent, "bot (+http://u:hunter2@h/?key=hunter2) 1.0", "bot (+http://REDACTED:REDACTED@h/?key=REDACTED) 1.0"),
    (Reason, "See http://u:hunter2@h/ with token=hunter2", "See http://REDACTED:REDACTED@h/ with token=REDACTED"),
    // headers that are asked for, hidden as a whole
    (Asked("authorization"), "Basic hunter2", "REDACTED"),
    (Asked("proxy-authorization"), "Basic hunter2", "REDACTED"),
    (Asked("cookie"), "a=hunter2", "REDACTED"),
    (Answered("set-cookie"), "a=hunter2; Secure", "REDACTED"),
    (Asked("x-api-key"), "hunter2", "REDACTED"),
    (Asked("x-auth-token"), "hunter2", "REDACTED"),
    (Asked("x-amz-security-token"), "hunter2", "REDACTED"),
    (Asked("x-csrf-token"), "hunter2", "REDACTED"),
    (Asked("x-access-token"), "hunter2", "REDACTED"),
    (Asked("api-key"), "hunter2", "REDACTED"),
    (Answered("authentication-info"), "nextnonce=hunter2", "REDACTED"),
    (Asked("x-mine"), "hunter2", "REDACTED"),
    // headers that are asked for, which may hold a URL
    (Asked("host"), "u:hunter2@ex.com:81", "REDACTED:REDACTED@ex.com:81"),
    (Answered("location"), "/cb?code=hunter2&state=1", "/cb?code=REDACTED&state=1"),
    (Answered("content-location"), "//u:hunter2@h/", "//REDACTED:REDACTED@h/"),
    (
        Answered("link"),
        "<https://u:hunter2@h/?sig=hunter2>; rel=\"next\", </b>; rel=\"prev\"",
        "<https://REDACTED:REDACTED@h/?sig=REDACTED>; rel=\"next\", </b>; rel=\"prev\"",
    ),
    (
        Answered("refresh"),
        "5; url=http://u:hunter2@h/?token=hunter2",
        "5; url=http://REDACTED:REDACTED@h/?token=REDACTED",
    ),
    (
        Asked("forwarded"),
        "for=192.0.2.1;host=u:hunter2@h:81;proto=http, for=_x",
        "for=192.0.2.1;host=REDACTED:REDACTED@h:81;proto=http, for=_x",
    ),
    (Asked("x-forwarded-host"), "a.example, u:hunter2@h", "a.example, REDACTED:REDACTED@h"),
    (Asked("x-other"), "a=1, token=hunter2; b=2", "a=1, token=REDACTED; b=2"),
];

/// Texts that look like secrets but are not.
const KEPT: &[(Location, &str)] = &[
    (Target, "/mail/a@b.example?to=c@d.example"),
    (Target, "/a//b@c/d"),
    (Target, "/?tokens=1&keyboard=2&signal=3&design=4&states=5&author=6"),
    (Target, "/100%?q=%zz&r=%"),
    (Target, "/?q=a%26b%3Dc&r=x;y;z"),
    (UserAgent, "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 a=b c@d"),
    (Asked("x-other"), "mailto:a@b.example, \"token\"; filename=\"a b\""),
];

fn exchange(location: Location, text: &str) -> (Message, Message) {
    let get = |target: &str, host: &str| Message::start(&format!("GET {target} HTTP/1.1")).header("Host", host);
    let ok = || Message::ok(b"");
    match location {
        Target => (get(text, "a.example"), ok()),
        Connect => (
            Message::start(&format!("CONNECT {text} HTTP/1.1")).header("Host", "h"),
            Message::response("407 No").body(b""),
        ),
        Host => (get("/", text), ok()),
        UserAgent => (get("/", "a.example").header("User-Agent", text), ok()),
        Referer => (get("/", "a.example").header("Referer", text), ok()),
        Origin => (get("/", "a.example").header("Origin", text), ok()),
        Reason => (get("/", "a.example"), Message::response(&format!("200 {text}")).body(b"")),
        Asked("host") => (get("/", text), ok()),
        Asked(name) => (get("/", "a.example").header(name, text), ok()),
        Answered(name) => (get("/", "a.example"), ok().header(name, text)),
    }
}

/// A capture with one connection for each text.
fn capture<'a>(name: &str, texts: impl Iterator<Item = (Location, &'a str)>) -> PathBuf {
    let mut scene = Scene::default();
    for (location, text) in texts {
        let mut connection = scene.connection();
        connection.open();
        let (request, response) = exchange(location, text);
        connection.exchange(&request, &response);
        connection.close();
        scene.capture(&mut connection);
    }
    scene.stamp();
    let path = scratch(name);
    fs::write(&path, &scene.written()[0].1).unwrap();
    path
}

fn read(path: &Path, format: &str, arguments: &[&str]) -> Outcome {
    let mut command = picotap();
    command.arg("--pcap").arg(path).args(["--format", format, "--workers", "1", "--stats"]).args(arguments);
    for (location, ..) in CASES {
        if let Asked(name) | Answered(name) = location {
            command.args(["--header", name]);
        }
    }
    let outcome = run(&mut command);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome
}

/// The value of a location in a JSON line.
fn found(line: &Value, location: Location) -> &Value {
    match location {
        Target | Connect => &line["target"],
        Host => &line["host"],
        UserAgent => &line["user_agent"],
        Referer => &line["referer"],
        Origin => &Value::Null,
        Reason => &line["reason"],
        Asked(name) => &line["request_headers"][name][0],
        Answered(name) => &line["response_headers"][name][0],
    }
}

/// Lines of JSON, by connection: each has a port of its own.
fn lines(outcome: &Outcome) -> Vec<Value> {
    let mut lines: Vec<Value> = outcome.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["client_port"].as_u64());
    lines
}

const OWN: [&str; 4] = ["--redact-query", "TICKET", "--redact-header", "X-Mine"];

#[test]
fn no_secret_reaches_any_output() {
    let path = capture("redaction.pcap", CASES.iter().map(|(location, text, _)| (*location, *text)));
    let metrics = scratch("redaction.prom");
    let more = [&OWN[..], &["--metrics-host-label", "100", "--metrics-file", metrics.to_str().unwrap()]].concat();
    for format in ["json", "text", "ecs", "zeek", "clf", "vhost", "otlp", "csv", "tsv", "har"] {
        let outcome = read(&path, format, &more);
        let text = String::from_utf8(outcome.stdout).unwrap();
        assert!(text.lines().count() >= CASES.len(), "{format}: {text}");
        for (what, text) in
            [("lines", &text), ("summary", &outcome.stderr), ("metrics", &fs::read_to_string(&metrics).unwrap())]
        {
            assert!(!text.is_empty() && !text.contains(SECRET), "{format}, {what}: {text}");
        }
    }
    let shown = lines(&read(&path, "json", &OWN));
    println!("| where | on the wire | logged |\n|---|---|---|");
    for ((location, before, after), line) in CASES.iter().zip(&shown) {
        println!("| {location:?} | `{before}` | `{after}` |");
        if !matches!(location, Origin) {
            assert_eq!(found(line, *location), after, "{location:?}");
        }
    }
}

/// All headers, asked for at once, are redacted by the rule for those that are asked for by name.
#[test]
fn all_headers_hide_what_single_ones_hide() {
    let path = capture("redaction-all.pcap", CASES.iter().map(|(location, text, _)| (*location, *text)));
    for format in ["json", "ecs", "har"] {
        let mut command = picotap();
        command.arg("--pcap").arg(&path).args(["--format", format, "--headers", "all"]).args(OWN);
        let outcome = run(&mut command);
        let text = String::from_utf8(outcome.stdout).unwrap();
        assert!(outcome.code == Some(0) && !text.contains(SECRET), "{format}: {text}");
        assert!(text.matches("REDACTED").count() > CASES.len(), "{format}");
        assert!(text.to_lowercase().contains("proxy-authorization"), "{format}: headers that nobody named");
    }
}

/// Otherwise the table would prove nothing.
#[test]
fn every_secret_of_the_table_is_shown_when_that_is_asked_for() {
    let path = capture("redaction-off.pcap", CASES.iter().map(|(location, text, _)| (*location, *text)));
    for (line, (location, before, _)) in lines(&read(&path, "json", &["--no-redact"])).iter().zip(CASES) {
        assert!(before.contains(SECRET));
        if !matches!(location, Origin) {
            assert_eq!(found(line, *location), before, "{location:?}");
        }
    }
    let zeek = read(&path, "zeek", &["--no-redact"]);
    assert!(String::from_utf8(zeek.stdout).unwrap().contains("http://u:hunter2@h\t"), "the origin");
}

#[test]
fn what_is_no_secret_stays_byte_for_byte() {
    let path = capture("redaction-kept.pcap", KEPT.iter().copied());
    for (line, (location, text)) in lines(&read(&path, "json", &[])).iter().zip(KEPT) {
        assert_eq!(found(line, *location), text, "{location:?}");
    }
}

#[test]
fn a_header_of_every_line_is_hidden_when_it_is_named() {
    let path = capture("redaction-own.pcap", [(UserAgent, "agent"), (Referer, "/r"), (Host, "ex.com")].into_iter());
    let hidden = ["--redact-header", "user-agent", "--redact-header", "REFERER", "--redact-header", "Host"];
    let lines = lines(&read(&path, "json", &hidden));
    assert_eq!(lines[0]["user_agent"], "REDACTED");
    assert_eq!(lines[1]["referer"], "REDACTED");
    assert_eq!(lines[2]["host"], "REDACTED");
}

#[test]
fn filters_see_what_is_logged() {
    let path =
        capture("redaction-filter.pcap", [(Target, "/token=hunter2/x"), (Host, "u:hunter2@ex.com:81")].into_iter());
    assert_eq!(read(&path, "json", &["--filter", "path=*hunter2*"]).lines().len(), 0);
    assert_eq!(read(&path, "json", &["--filter", "host=*hunter2*:*"]).lines().len(), 0);
    assert_eq!(read(&path, "json", &["--filter", "host=ex.com"]).lines().len(), 1);
    assert_eq!(read(&path, "json", &["--filter", "host=ex.com:81"]).lines().len(), 1);
}

#[test]
fn a_host_is_known_without_its_user_information() {
    let texts = [(Target, "http://u:hunter2@ex.com:81/x"), (Host, "u:hunter2@ex.com:82")];
    let path = capture("redaction-host.pcap", texts.into_iter());
    let metrics = scratch("redaction-host.prom");
    let arguments = ["--metrics-host-label", "10", "--metrics-file", metrics.to_str().unwrap()];
    for redaction in [&[][..], &["--no-redact"]] {
        let lines: Vec<Value> = read(&path, "ecs", &[&arguments[..], redaction].concat())
            .lines()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for (line, port) in lines.iter().zip([81, 82]) {
            assert_eq!((&line["url"]["domain"], &line["url"]["port"]), (&"ex.com".into(), &port.into()), "{line}");
        }
        assert!(fs::read_to_string(&metrics).unwrap().contains("server_address=\"ex.com\""));
    }
}

#[test]
fn the_page_lists_every_name() {
    let page = include_str!("../../deploy/ANALYSTS.md");
    let section = page.split("\n## Secrets").nth(1).unwrap().split("\n#").next().unwrap();
    let has = |name: &str| section.contains(&format!("`{name}`"));
    for name in KEYS {
        // "`token`, the same behind `access` ..."
        let composed = ["_token", "_key"].iter().any(|end| name.strip_suffix(end).is_some_and(has));
        assert!(has(name) || composed, "{name}");
    }
    for name in HEADERS.iter().chain(HEADER_ENDS) {
        assert!(has(name), "{name}");
    }
}
