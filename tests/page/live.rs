//! The live page, against a server of events.

use std::time::{Duration, Instant};

use picotap::view::{Counts, HostRow, RouteRow, Second, Snapshot};
use serde_json::json;

use super::browser;
use super::data::{self, BEGAN, SECOND, counts, row, times};
use super::events::Server;
use super::support::browser::Browser;

fn part(number: i64, transactions: u64) -> Second {
    Second {
        time: BEGAN + number * SECOND,
        transactions,
        bytes: 1_000,
        times: times(117, 2_500, 61_000, 1_234_567),
        ..Second::default()
    }
}

/// A live capture of three seconds and three rows.
fn begun() -> Snapshot {
    Snapshot {
        source: "eth0".into(),
        live: true,
        now: BEGAN + 2 * SECOND,
        transactions: 25,
        seconds: vec![part(0, 10), part(1, 10), part(2, 5)],
        recent: (1..=3).map(row).collect(),
        left_out: 0,
        ..data::snapshot()
    }
}

/// The second after it.
fn next() -> Snapshot {
    Snapshot {
        now: BEGAN + 3 * SECOND,
        transactions: 1_042,
        seconds: vec![part(2, 12), part(3, 1_010)],
        hosts: vec![HostRow { host: "new.example.org".into(), counts: counts(1_042, 0, 0) }],
        recent: (3..=5).map(row).collect(),
        ..begun()
    }
}

fn opened(server: &Server) -> Option<Browser> {
    let mut browser = browser()?;
    browser.open(&server.url());
    browser.until("document.querySelector('#state').textContent.startsWith('Live')");
    Some(browser)
}

fn numbers(browser: &mut Browser) -> Vec<String> {
    browser.texts("#recent tbody td:first-child")
}

/// Nothing but the page and its events was asked for, and nothing was amiss.
fn assert_quiet(browser: &Browser, server: &Server) {
    let foreign: Vec<_> = browser
        .requests
        .iter()
        .filter(|url| **url != server.url() && **url != server.url() + "events" && !url.starts_with("data:"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn an_update_is_merged_into_what_is_there() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    assert_eq!(numbers(&mut browser), ["3", "2", "1"]);
    assert_eq!(browser.text("#totals div:nth-child(2) dd"), "10/s");
    // The last part is not over: the one before it is read.
    assert!(browser.text("#reading").starts_with("21:00:01 · 10 per second"));
    server.update(&next());
    browser.until("document.querySelector('#totals dd').textContent === '1,042'");
    assert_eq!(numbers(&mut browser), ["5", "4", "3", "2", "1"], "rows once, newest first");
    assert!(
        browser.text("#reading").starts_with("21:00:02 · 12 per second"),
        "a part that has changed replaces itself"
    );
    assert_eq!(browser.eval("model.data.seconds.map((part) => part.transactions)"), json!([10, 10, 12, 1010]));
    assert_eq!(browser.eval("model.data.recent.map((row) => row.id)"), json!([1, 2, 3, 4, 5]));
    browser.click("#tab-hosts");
    assert_eq!(browser.texts("#hosts tbody td:first-child"), ["new.example.org"]);
    assert_eq!(server.asked("/events"), 1);
    assert_quiet(&browser, &server);
}

#[test]
fn what_is_kept_is_bounded() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    for step in 0..10 {
        let ids = 1_000 * step + 10..1_000 * step + 1_010;
        let seconds = (0..200).map(|number| part(200 * step as i64 + number, 1)).collect();
        server.update(&Snapshot { transactions: ids.end, seconds, recent: ids.map(row).collect(), ..begun() });
    }
    browser.until("document.querySelector('#totals dd').textContent === '10,010'");
    assert_eq!(browser.eval("[model.data.recent.length, model.data.seconds.length]"), json!([5_000, 900]));
    assert_eq!(browser.eval("model.data.seconds[899].time"), json!(BEGAN + 1_999 * SECOND));
    assert_eq!(numbers(&mut browser).len(), 200);
    assert_eq!(browser.text("#recent .note"), "200 of 5,000 rows");
}

#[test]
fn a_pause_holds_everything_and_what_was_missed_comes_after_it() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    browser.click("#pause");
    assert_eq!(browser.text("#state"), "Paused at 21:00:02");
    server.update(&next());
    browser.until("document.querySelector('#behind').textContent === '1,017 more since'");
    assert_eq!(browser.text("#totals dd"), "25");
    assert_eq!(numbers(&mut browser), ["3", "2", "1"]);
    // What is held can be looked at.
    browser.click("#recent th:first-child button");
    assert_eq!(numbers(&mut browser), ["1", "2", "3"]);
    browser.eval("document.querySelector('#filter').focus()");
    browser.write("/users/2/");
    assert_eq!(numbers(&mut browser), ["2"]);
    browser.press("Escape");
    browser.click("#pause");
    assert_eq!(numbers(&mut browser), ["1", "2", "3", "4", "5"]);
    assert_eq!(browser.text("#totals dd"), "1,042");
    assert_eq!((browser.text("#state").as_str(), browser.text("#behind").as_str()), ("Live", ""));
    assert_quiet(&browser, &server);
}

#[test]
fn the_focus_stays_and_details_stay_while_rows_come_and_go() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    browser.eval("document.querySelector('#recent tbody tr:nth-child(2) button').focus()");
    browser.press("Enter");
    server.update(&Snapshot { transactions: 99, recent: (4..=100).map(row).collect(), ..next() });
    browser.until("document.querySelector('#totals dd').textContent === '99'");
    assert_eq!(browser.text("#details h2"), "GET /users/2/orders?page=2");
    assert_eq!(browser.text("#recent tr.selected td"), "2");
    browser.press("Escape");
    assert_eq!(browser.eval("document.activeElement.textContent"), json!("2"));
    // It goes; what stands in its place has the focus.
    server.update(&Snapshot { transactions: 500, recent: (101..=500).map(row).collect(), ..next() });
    browser.until("document.querySelector('#totals dd').textContent === '500'");
    assert_eq!(browser.eval("document.activeElement.className"), json!("open"));
    assert_quiet(&browser, &server);
}

#[test]
fn a_lost_connection_is_said_and_made_again() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    server.refuse(true);
    server.cut();
    let start = Instant::now();
    browser.until("/^Not connected since ..:..:..; trying again$/.test(document.querySelector('#state').textContent)");
    assert!(start.elapsed() < Duration::from_secs(8), "it took the silence for it, not the end of the stream");
    assert_eq!(browser.eval("document.title"), json!("eth0 · picotap (not connected)"));
    assert_eq!(numbers(&mut browser), ["3", "2", "1"], "what is known stays");
    let start = Instant::now();
    while server.asked("/events") < 3 {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not try again");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The server is back, and has counted anew.
    server.begin_with(&Snapshot { recent: vec![row(1)], transactions: 1, ..next() });
    server.refuse(false);
    browser.until("document.querySelector('#state').textContent === 'Live'");
    assert_eq!(numbers(&mut browser), ["1"]);
    assert_eq!(browser.eval("document.title"), json!("eth0 · picotap"));
}

/// A connection that is open and silent is none: a computer that slept has such.
#[test]
fn silence_is_taken_for_a_lost_connection() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    let start = Instant::now();
    while server.asked("/events") < 2 {
        assert!(start.elapsed() < Duration::from_secs(40), "it waits for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(start.elapsed() > Duration::from_secs(5), "a second's delay is no silence");
    browser.until("document.querySelector('#state').textContent === 'Live'");
}

#[test]
fn another_version_of_the_server_brings_its_page() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    server.begin_with(&Snapshot { version: "9.9.9".into(), ..begun() });
    server.cut();
    // The second stream says the version; the third is of the page that was loaded for it.
    let start = Instant::now();
    while server.asked("/events") < 3 {
        assert!(start.elapsed() < Duration::from_secs(30), "it is not loaded anew");
        std::thread::sleep(Duration::from_millis(50));
    }
    browser.until("document.querySelector('#state').textContent === 'Live'");
    assert_eq!(browser.eval("model.data.version"), json!("9.9.9"));
    assert_eq!(server.asked("/"), 2);
}

#[test]
fn a_capture_without_traffic_says_what_to_do() {
    let nothing = Snapshot {
        version: "0.1.0".into(),
        live: true,
        source: "eth0".into(),
        now: BEGAN,
        began: BEGAN,
        step: 1,
        ..Snapshot::default()
    };
    let server = Server::start(&nothing);
    let Some(mut browser) = opened(&server) else { return };
    assert!(browser.text("#recent .empty").starts_with("No transaction seen on eth0 yet."));
    server.update(&next());
    browser.until("document.querySelectorAll('#recent tbody tr').length === 3");
    assert_eq!(browser.eval("document.querySelector('#recent .empty').hidden"), json!(true));
}

/// A second of 10,000 transactions per second, with tables as long as they get.
fn busy(second: u64) -> Snapshot {
    let total = 10_000 * second;
    let host = |number: u64| HostRow {
        host: format!("h{number}.example.org"),
        counts: Counts { transactions: if number < 50 { total / (number + 1) } else { 7 }, ..counts(7, 1, 0) },
    };
    let route = |number: u64| RouteRow {
        host: format!("h{number}.example.org"),
        method: "GET".into(),
        route: format!("/r/{number}"),
        counts: counts(total / (number + 1), 1, 0),
    };
    let at = second as i64 + 2;
    Snapshot {
        now: BEGAN + at * SECOND,
        transactions: total,
        seconds: vec![part(at - 1, 10_000), part(at, 4_000)],
        hosts: (0..500).map(host).collect(),
        routes: (0..1_000).map(route).collect(),
        recent: (200 * second..200 * second + 200).map(row).collect(),
        left_out: total - 200 * second,
        ..begun()
    }
}

#[test]
fn ten_thousand_transactions_a_second_are_all_drawn_in_bounded_work() {
    let server = Server::start(&begun());
    let Some(mut browser) = opened(&server) else { return };
    browser.eval(
        "{ const first = draw; window.draws = 0; draw = () => { draws += 1; first(); }; \
           window.seen = []; const place = document.querySelector('#totals dd'); \
           new MutationObserver(() => seen.push(place.textContent)).observe(place, {childList: true, characterData: true, subtree: true}); }",
    );
    let before =
        ["LayoutCount", "RecalcStyleCount", "ScriptDuration", "TaskDuration"].map(|name| (name, browser.measure(name)));
    let start = Instant::now();
    for second in 1..=10 {
        server.update(&busy(second));
        let next = start + Duration::from_secs(second);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    browser.until("document.querySelector('#totals dd').textContent === '100,000'");
    let work = before.map(|(name, value)| (name, browser.measure(name) - value));
    println!("ten seconds: {work:?}");
    // Each update was drawn, each in one frame, and one layout.
    let wanted: Vec<String> =
        (1..=10).map(|second| if second == 10 { "100,000".into() } else { format!("{second}0,000") }).collect();
    assert_eq!(browser.eval("seen"), json!(wanted));
    let draws = browser.eval("draws").as_u64().unwrap();
    assert!((10..=20).contains(&draws), "{draws} draws of ten updates");
    assert!(work[0].1 <= 3.0 * draws as f64 + 20.0, "{work:?} for {draws} draws");
    let elements = browser.eval("document.querySelectorAll('*').length").as_u64().unwrap();
    assert!(elements < 4_000, "{elements} elements");
    // Only what has changed is touched: of the hosts the first fifty, and no row moves.
    browser.click("#tab-hosts");
    browser.eval(
        "window.touched = new Set(); window.moved = 0; \
         new MutationObserver((all) => all.forEach(({target}) => { \
           if (target.nodeName === 'TBODY') moved += 1; else touched.add(target.nodeName === '#text' ? target.parentElement : target); \
         })).observe(document.querySelector('#hosts tbody'), {childList: true, characterData: true, subtree: true}); 0",
    );
    server.update(&busy(11));
    browser.until("document.querySelector('#totals dd').textContent === '110,000'");
    let touched = browser.eval("touched.size").as_u64().unwrap();
    assert!((50..=60).contains(&touched), "{touched} cells touched");
    assert_eq!(browser.eval("moved"), json!(0));
    // A burst of changes is drawn once, in the next frame.
    assert_eq!(browser.eval("draws = 0; for (let i = 0; i < 1000; i += 1) changed(); draws"), json!(0));
    browser.frames();
    assert_eq!(browser.eval("draws"), json!(1));
    // A burst of a hundred updates is drawn as often as there are frames.
    browser.eval("draws = 0");
    for second in 12..=111 {
        server.update(&busy(second));
    }
    browser.until("document.querySelector('#totals dd').textContent === '1,110,000'");
    let draws = browser.eval("draws").as_u64().unwrap();
    assert!(draws <= 100, "{draws} draws");
    let elements = browser.eval("document.querySelectorAll('*').length").as_u64().unwrap();
    assert!(elements < 7_000, "{elements} elements");
    assert_quiet(&browser, &server);
}
