//! The report, opened from disk.

use serde_json::{Value, json};

use super::data::{self, BEGAN, HOSTILE, SECOND};
use super::support::browser::Browser;
use super::{browser, opened, report};
use picotap::http::flags;
use picotap::view::{Counts, HostRow, Level, PairRow, RouteRow, Snapshot, TransactionRow};

/// Rows of a table, a list of cells each.
fn rows(browser: &mut Browser, panel: &str) -> Vec<Vec<String>> {
    let rows = browser.eval(&format!(
        "[...document.querySelectorAll('#{panel} tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    ));
    serde_json::from_value(rows).unwrap()
}

/// The column of a table whose head begins with this.
fn column(browser: &mut Browser, panel: &str, name: &str) -> Vec<String> {
    let heads = browser.texts(&format!("#{panel} thead th"));
    let place = heads.iter().position(|head| head.trim_end_matches(['▲', '▼']) == name).unwrap();
    rows(browser, panel).into_iter().map(|mut row| row.swap_remove(place)).collect()
}

/// Nothing but the file was asked for, and nothing was amiss.
fn assert_quiet(browser: &mut Browser) {
    browser.frames();
    assert_eq!(browser.requests.len(), 1, "{:?}", browser.requests);
    assert!(browser.requests[0].starts_with("file://"), "{:?}", browser.requests);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn it_shows_what_is_in_the_snapshot() {
    let Some(mut browser) = opened("shows", &data::snapshot()) else { return };
    assert_eq!(browser.text("#source"), "capture.pcap");
    assert_eq!(browser.text("#covered"), "2026-11-22 21:00:00 – 21:10:00 UTC (10 min 0 s)");
    assert_eq!(browser.text("#state"), "Report");
    assert_eq!(browser.text("#light"), "Capture: 1 warning");
    assert_eq!(browser.eval("document.title"), json!("capture.pcap · picotap"));
    assert_eq!(
        browser.texts("#totals div"),
        [
            "Transactions18,000since 21:00:00",
            "Rate30/smean",
            "4xx10 %1,800",
            "Failed3.4 %611",
            "Duration p50117 µslongest 1.235 s",
            "p952.500 ms",
            "p9979.000 ms",
            "Bodies sent27 MBby clients",
            "received36 GBby clients"
        ]
    );
    let shown = rows(&mut browser, "recent");
    assert_eq!(shown.len(), 60);
    assert_eq!(
        shown[0],
        [
            "60",
            "21:01:00.123456",
            "POST",
            "www.example.org",
            "/users/60/orders?page=0",
            "404",
            "0.335",
            "60,000",
            "10.0.0.1:40060",
            "10.0.9.1:80",
            ""
        ]
    );
    assert_eq!(shown[4][5..], ["none", "", "", "10.0.0.3:40056", "10.0.9.1:80", "no_response reset"]);
    assert_eq!(
        browser.text("#recent .note"),
        "60 of 60 rows · under load not every transaction is kept: 17,940 were counted only"
    );
    assert_quiet(&mut browser);
}

#[test]
fn each_tab_has_its_table() {
    let Some(mut browser) = opened("tabs", &data::snapshot()) else { return };
    browser.click("#tab-hosts");
    let hosts = rows(&mut browser, "hosts");
    assert_eq!(
        hosts[0],
        ["www.example.org", "9,000", "100", "0", "0 %", "0.117", "2.500", "70.000", "1,234.567", "18 GB", "21:09:59"]
    );
    assert_eq!(hosts[2][0], "(none)");
    assert_eq!(browser.eval("document.querySelectorAll('#hosts [data-level=error]').length"), json!(1));
    browser.click("#tab-routes");
    assert_eq!(rows(&mut browser, "routes")[1][..4], ["www.example.org", "GET", "/login", "3,999"]);
    assert_eq!(browser.text("#routes .note"), "4 of 4 rows · 12 transactions are in no row, since the table was full");
    browser.click("#tab-pairs");
    assert_eq!(rows(&mut browser, "pairs")[0][..3], ["10.0.0.3", "10.0.9.1:80", "300"]);
    browser.click("#tab-tls");
    let tls = rows(&mut browser, "tls");
    assert_eq!(tls[0], ["bank.example", "dark: no_key", "TLSv1.3", "", "1,200", "4.8 MB", "21:09:59"]);
    assert_eq!(tls[1][..4], ["www.example.org", "decrypted", "TLSv1.2", "nginx"]);
    assert_eq!(tls[2][..2], ["(none)", "dark: midstream"]);
    assert_eq!(tls[3][1], "in part: gap");
    assert_eq!(
        browser.text("#tls .note"),
        "4 of 4 rows · 1,243 TLS connections have ended: 41 decrypted; midstream 2, no_key 1,200, gap 1; \
         7 are in no row, since the table was full"
    );
    browser.click("#tab-slowest");
    let slowest = column(&mut browser, "slowest", "Duration ms");
    assert_eq!((slowest.len(), slowest[0].as_str()), (20, "1.114"));
    browser.click("#light");
    let health = rows(&mut browser, "health");
    assert_eq!(
        health[1],
        ["lost", "warning", "frames dropped by the kernel", "", "7", "frames", "", "picotap_packets_total"]
    );
    assert_eq!(health[2][..7], ["queues", "ok", "slots waiting", "sandbox-0", "3", "slots", "256"]);
    assert_eq!(browser.eval("document.activeElement.id"), json!("tab-health"));
    assert_quiet(&mut browser);
}

#[test]
fn a_host_leads_to_its_routes_and_these_to_their_transactions() {
    let Some(mut browser) = opened("leads", &data::snapshot()) else { return };
    browser.click("#tab-hosts");
    browser.click("#hosts tbody tr:nth-child(2)");
    assert_eq!(column(&mut browser, "routes", "Host"), ["api.example.org:8080"; 2]);
    browser.click("#routes tbody tr:first-child");
    assert_eq!(
        browser.eval("document.querySelector('#filter').value"),
        json!("host=\"api.example.org:8080\" method=\"GET\" route=\"/users/{n}/orders\"")
    );
    let expected: Vec<String> =
        (1..=60).rev().filter(|id| id % 2 == 1 && id % 5 != 0).map(|id| id.to_string()).collect();
    assert_eq!(column(&mut browser, "recent", "No."), expected);
    browser.click("#tab-pairs");
    browser.click("#clear");
    browser.click("#pairs tbody tr:first-child");
    let clients = column(&mut browser, "recent", "Client");
    assert!(clients.len() == 20 && clients.iter().all(|client| client.starts_with("10.0.0.3:")), "{clients:?}");
}

#[test]
fn every_column_sorts_both_ways_by_keyboard() {
    let Some(mut browser) = opened("sorts", &data::snapshot()) else { return };
    for panel in ["recent", "slowest", "hosts", "routes", "pairs", "health"] {
        browser.click(&format!("#tab-{panel}"));
        for place in 1..=browser.texts(&format!("#{panel} thead th")).len() {
            let head = format!("#{panel} thead th:nth-child({place})");
            let mut ways = vec![];
            for _ in 0..2 {
                browser.eval(&format!("document.querySelector('{head} button').focus()"));
                browser.press("Enter");
                let sort = browser.eval(&format!("document.querySelector('{head}').getAttribute('aria-sort')"));
                let others = browser.eval(&format!("document.querySelectorAll('#{panel} [aria-sort=none]').length"));
                assert_eq!(others.as_u64().unwrap() as usize, browser.texts(&format!("#{panel} th")).len() - 1);
                let cells: Vec<String> =
                    rows(&mut browser, panel).into_iter().map(|mut row| row.swap_remove(place - 1)).collect();
                ways.push((sort.as_str().unwrap().to_owned(), cells));
            }
            ways.sort();
            assert_eq!((ways[0].0.as_str(), ways[1].0.as_str()), ("ascending", "descending"), "{head}");
            // Numbers by their size, and what is empty last.
            let number = |cell: &String| cell.replace(',', "").parse::<f64>().ok();
            let known: Vec<f64> = ways[0].1.iter().filter_map(number).collect();
            assert!(known.is_sorted(), "{head}: {known:?}");
            let known: Vec<f64> = ways[1].1.iter().filter_map(number).collect();
            assert!(known.iter().rev().is_sorted(), "{head}: {known:?}");
            if panel == "recent" && ways[0].1.iter().any(String::is_empty) {
                assert!(ways.iter().all(|(_, cells)| cells.last().unwrap().is_empty()), "{head}: {ways:?}");
            }
        }
    }
    browser.click("#tab-recent");
    browser.click("#recent th:nth-child(4) button");
    let hosts = column(&mut browser, "recent", "Host");
    assert!(hosts.is_sorted() && hosts[0] == "api.example.org:8080", "{hosts:?}");
}

/// Whether a filter holds for the row of this number.
type Holds = fn(u64) -> bool;

#[test]
fn a_filter_leaves_the_rows_for_which_it_holds() {
    let Some(mut browser) = opened("filters", &data::snapshot()) else { return };
    let cases: [(&str, Holds); 33] = [
        ("", |_| true),
        ("/users/17/", |id| id == 17),
        ("POST WWW", |id| id % 10 == 0),
        ("-post", |id| id % 5 != 0),
        ("\"id 17\"", |id| id == 17),
        ("\"not found\"", |id| id % 10 == 0 && id % 7 != 0),
        ("404", |id| id % 10 == 0 && id % 7 != 0),
        ("host:api", |id| id % 2 == 1),
        ("host=www.example.org", |id| id % 2 == 0),
        ("host=www.example", |_| false),
        ("host!=www.example.org", |id| id % 2 == 1),
        ("client=10.0.0.2", |id| id % 3 == 1),
        ("client=10.0.0.2:40001", |id| id == 1),
        ("method:get", |id| id % 5 != 0),
        ("status>=400", |id| id % 10 == 0 && id % 7 != 0),
        ("status:2xx", |id| id % 10 != 0 && id % 7 != 0),
        ("status!=200", |id| id % 10 == 0 || id % 7 == 0),
        ("-status:2xx", |id| id % 10 == 0 || id % 7 == 0),
        ("duration>500us", |id| id % 7 != 0 && 115 + id * 37 % 1000 > 500),
        ("duration<=0.5ms", |id| id % 7 != 0 && 115 + id * 37 % 1000 <= 500),
        ("wait<1s", |id| id % 7 != 0),
        ("sent>1MB", |id| id % 5 == 0),
        ("received<=2000", |id| id <= 2),
        ("received=2kB", |id| id == 2),
        ("connection=3", |id| id / 4 == 2),
        ("flag=reset", |id| id % 7 == 0),
        ("is:failed", |id| id % 7 == 0),
        ("user_agent:curl/7.17", |id| id == 17),
        ("request_headers.x-request-id=\"id 9\"", |id| id == 9),
        ("status=404 or is:failed", |id| id % 10 == 0 || id % 7 == 0),
        ("not (host:api or path~'/1\\d/')", |id| id % 2 == 0 && id / 10 != 1),
        ("client=10.0.0.2,10.0.0.3 method=POST", |id| id % 3 != 0 && id % 5 == 0),
        ("example.org:8080", |id| id % 2 == 1),
    ];
    for (filter, holds) in cases {
        browser.eval("document.querySelector('#filter').focus()");
        browser.write(filter);
        if filter.is_empty() {
            browser.eval("setFilter('')");
            browser.frames();
        }
        let expected: Vec<String> = (1..=60).rev().filter(|id| holds(*id)).map(|id: u64| id.to_string()).collect();
        assert_eq!(column(&mut browser, "recent", "No."), expected, "{filter}");
        assert_eq!(browser.text("#filter-error"), "", "{filter}");
    }
    // Nothing matches: the page says so. And Escape clears the box.
    browser.write("nothing-has-this");
    assert_eq!(browser.text("#recent .empty"), "No row matches the filter.");
    browser.press("Escape");
    assert_eq!(rows(&mut browser, "recent").len(), 60);
    // What is wrong is said, and the last good filter holds.
    browser.write("status>=404");
    for (wrong, what) in [
        ("duration>5", "needed a time with its unit"),
        ("status>many", "needed a code"),
        ("\"open", "the closing quote is missing"),
        ("host>5", "host is a text and has no order"),
        ("hots>5", "“hots” is no field"),
        ("is:slow", "only is:failed is known"),
    ] {
        browser.write(wrong);
        browser.until(&format!("document.querySelector('#filter-error').textContent.includes({})", json!(what)));
        assert_eq!(rows(&mut browser, "recent").len(), 6, "{wrong}");
        assert_eq!(browser.eval("document.querySelector('#filter').getAttribute('aria-invalid')"), json!("true"));
    }
    // Terms that rows do not have are left out there, and named.
    browser.write("status>=500 www");
    browser.click("#tab-hosts");
    assert_eq!(column(&mut browser, "hosts", "Host"), ["www.example.org"]);
    assert_eq!(browser.text("#hosts .note"), "1 of 1 rows that match, of 3 · does not apply here: status>=500");
    assert_quiet(&mut browser);
}

#[test]
fn a_transaction_is_opened_and_left_by_keyboard_alone() {
    let Some(mut browser) = opened("keyboard", &data::snapshot()) else { return };
    let mut tabs = 0;
    while browser.eval("document.activeElement.className") != json!("open") {
        browser.press("Tab");
        tabs += 1;
        assert!(tabs < 40, "the table is not reached");
    }
    for _ in 0..5 {
        browser.press("ArrowDown");
    }
    browser.press("ArrowUp");
    assert_eq!(
        browser.eval("document.activeElement.getAttribute('aria-label')"),
        json!("21:00:56.123456 GET www.example.org /users/56/orders?page=0, no status, failed: open details")
    );
    browser.press("Enter");
    assert_eq!(browser.text("#details h2"), "GET /users/56/orders?page=0");
    assert_eq!(browser.eval("document.activeElement.id"), json!("details-title"));
    assert_eq!(browser.text("#details .outcome"), "no response (failed)");
    let meaning = |wanted: &str| flags::ALL.iter().find(|(_, name, _)| *name == wanted).unwrap().2;
    let expected = ["no_response", "reset"].map(|name| name.to_owned() + meaning(name)).concat();
    assert_eq!(browser.text("#details .flags"), expected);
    let fields = browser.text("#details .fields");
    for field in [
        "time2026-11-22 21:00:56.123456 UTC",
        "protocolHTTP/1.1",
        "hostwww.example.org ",
        "route/users/{n}/orders ",
        "client10.0.0.3:40056 ",
        "server10.0.9.1:80 ",
        "connection15 ",
        "request body0 B",
        "user_agentcurl/7.56",
        "request_headers.x-request-idid 56",
    ] {
        assert!(fields.contains(field), "{field} is not in {fields}");
    }
    assert!(!fields.contains("response body"));
    assert_eq!(
        browser.eval("document.querySelector('#details svg').getAttribute('aria-label')"),
        json!("Timing: request 10 µs, wait not known, response not known")
    );
    browser.press("Escape");
    assert_eq!(browser.eval("document.querySelector('#details').hidden"), json!(true));
    assert_eq!(browser.eval("document.activeElement.closest('tr').cells[0].textContent"), json!("56"));
    // Another, whose timing is known: the bar is to scale.
    browser.press("ArrowDown");
    browser.press("Enter");
    let bar = browser.eval("[...document.querySelectorAll('#details rect')].map((r) => [r.getAttribute('class'), Number(r.getAttribute('width'))])");
    let wait = 100 + 55 * 37 % 1000;
    let share = |us: u64| us as f64 / (15 + wait) as f64 * 1000.0;
    for (part, (name, us)) in bar.as_array().unwrap().iter().zip([("request", 10), ("wait", wait), ("response", 5)]) {
        assert_eq!(part[0], name);
        assert!((part[1].as_f64().unwrap() - share(us)).abs() < 0.01, "{bar}");
    }
    assert_eq!(browser.texts("#details .parts dd"), ["10 µs", "135 µs", "5 µs", "150 µs"]);
    // From its connection to the others on it.
    browser.click("#details [aria-label='Only transactions with this connection']");
    assert_eq!(column(&mut browser, "recent", "No."), ["55", "54", "53", "52"]);
    assert_quiet(&mut browser);
}

#[test]
fn the_timeline_says_its_values_by_mouse_and_by_keyboard() {
    let Some(mut browser) = opened("timeline", &data::snapshot()) else { return };
    let values = |time: &str, failed: u32| {
        format!(
            "{time} · 30 per second · 3 with 4xx · {failed} failed · 60 kB of bodies · p50 117 µs · p95 2.500 ms · p99 61.000 ms · longest 1.235 s"
        )
    };
    assert_eq!(browser.text("#reading"), values("21:09:59", 1));
    let draw = browser.eval("(() => { const b = document.querySelector('#durations').getBoundingClientRect(); return [b.x + 52, b.y + 50, b.width - 60]; })()");
    let [x, y, width] = [0, 1, 2].map(|place| draw[place].as_f64().unwrap());
    browser.hover(x + width * 300.5 / 600.0, y);
    assert_eq!(browser.text("#reading"), values("21:05:00", 12));
    browser.hover(x + width * 200.5 / 600.0, y);
    assert!(browser.text("#reading").ends_with("60 kB of bodies · no durations"));
    browser.hover(x, 700.0);
    assert_eq!(browser.text("#reading"), values("21:09:59", 1));
    browser.eval("document.querySelector('#cursor').focus()");
    browser.press("Home");
    assert_eq!(browser.text("#reading"), values("21:00:00", 1));
    browser.press("ArrowRight");
    assert_eq!(browser.eval("document.activeElement.getAttribute('aria-valuetext')"), json!(values("21:00:01", 1)));
    // The drawing: the failures of one second are seen in their colour, and the line of p50 has a hole.
    let seen = browser.eval(
        "(() => { const c = document.querySelector('#rates'); const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
          const colour = timeline.colors.failed.match(/[0-9.]+/g).slice(0, 3).map(Number); let n = 0; \
          for (let i = 0; i < p.length; i += 4) if ([0, 1, 2].every((k) => Math.abs(p[i + k] - colour[k]) < 3)) n += 1; return n; })()",
    );
    assert!(seen.as_u64().unwrap() > 20, "{seen} pixels of failures");
    assert_quiet(&mut browser);
}

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    let Some(mut browser) = opened("hostile", &data::hostile()) else { return };
    let count = browser.eval("document.querySelectorAll('*').length").as_u64().unwrap();
    assert!(count < 3_000, "{count} elements");
    for panel in ["slowest", "hosts", "routes", "pairs", "health", "recent"] {
        browser.click(&format!("#tab-{panel}"));
        assert_eq!(rows(&mut browser, panel).len(), HOSTILE.len() + 2, "{panel}");
    }
    browser.click("#recent th:first-child button");
    let targets = column(&mut browser, "recent", "Target");
    for (shown, hostile) in targets.iter().zip(HOSTILE) {
        let is_plain = !hostile.contains(|c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c));
        assert!(!is_plain || shown == hostile, "{shown:?} is not {hostile:?}");
    }
    assert_eq!(targets[9], "a\\u0000b\\u0001c\\u001b[31md\\u007fe\\u009bf\\u000d\\u000ag\\u2028h\\u2029i");
    assert_eq!(targets[10], "\\u202egpj.exe\\u202c\\u2066\\u2069\\u200f\\u200b\\ufeff\\u061cend");
    assert!(targets[14].len() < 310, "long words are cut in tables");
    for row in 1..=targets.len() {
        browser.click(&format!("#recent tbody tr:nth-child({row})"));
        let fields = browser.text("#details .fields");
        assert!(row > 9 || fields.contains(HOSTILE[row - 1]), "{fields}");
        // As a filter, and back. A box has no line breaks.
        if row == 10 {
            continue;
        }
        browser.click("#details [aria-label='Only transactions with this host']");
        let found = column(&mut browser, "recent", "No.");
        assert!(found.contains(&row.to_string()), "{row}: {found:?}");
        browser.eval("setFilter('')");
        browser.frames();
    }
    // What is in the document is the page's own; nothing turns the direction of text; nothing is wider than the window.
    let foreign = browser.eval("[...document.querySelectorAll('*')].map((e) => e.localName).filter((n) => ['img', 'iframe', 'a', 'b', 'base', 'object', 'embed', 'form'].includes(n))");
    assert_eq!(foreign, json!([]));
    assert_eq!(browser.eval("[document.scripts.length, document.querySelectorAll('style').length, document.querySelectorAll('svg').length]"), json!([4, 1, 1]));
    assert_eq!(browser.eval("/[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)"), json!(false));
    assert_eq!(
        browser.eval(
            "document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight"
        ),
        json!(true)
    );
    assert_eq!(browser.eval("typeof window.owned"), json!("undefined"));
    assert_quiet(&mut browser);
}

/// The policy holds: what the document does not have, it cannot load, run or style.
#[test]
fn the_policy_stops_what_is_not_the_pages_own() {
    let Some(mut browser) = opened("policy", &data::snapshot()) else { return };
    browser.eval(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s); \
          const t = document.createElement('style'); t.textContent = '*{color:red}'; document.body.append(t); \
          document.body.insertAdjacentHTML('beforeend', '<img src=http://192.0.2.1/x onerror=\"window.owned=1\">'); })()",
    );
    assert_eq!(browser.eval("fetch('http://192.0.2.1/').catch(() => 'refused')"), json!("refused"));
    browser.frames();
    assert_eq!(browser.eval("typeof window.owned"), json!("undefined"));
    assert_ne!(browser.eval("getComputedStyle(document.body).color"), json!("rgb(255, 0, 0)"));
    let violations = browser.complaints.iter().filter(|text| text.contains("Content Security Policy")).count();
    assert!(violations >= 4, "{:?}", browser.complaints);
}

#[test]
fn an_empty_report_says_what_to_do() {
    let nothing = Snapshot { version: "0.1.0".into(), source: "empty.pcap".into(), step: 1, ..Snapshot::default() };
    let Some(mut browser) = opened("empty", &nothing) else { return };
    assert!(browser.text("#recent .empty").starts_with("No transaction in empty.pcap."));
    assert_eq!(browser.text("#reading"), "No transactions yet.");
    assert_eq!(browser.text("#light"), "Capture: not known");
    for panel in ["slowest", "hosts", "routes", "pairs", "health"] {
        browser.click(&format!("#tab-{panel}"));
        assert!(browser.text(&format!("#{panel} .empty")).len() > 20, "{panel}");
    }
    assert_quiet(&mut browser);
}

#[test]
fn the_lamp_is_of_the_worst_level() {
    let Some(mut browser) = browser() else { return };
    for (level, name, text) in [
        (Level::Ok, "ok", "Capture: ok"),
        (Level::Warning, "warning", "Capture: 1 warning"),
        (Level::Error, "error", "Capture: 1 error"),
    ] {
        browser.open_file(&report("lamp", &Snapshot { health: data::health(level), ..data::snapshot() }));
        assert_eq!(browser.text("#light"), text);
        assert_eq!(browser.eval("document.querySelector('#light').dataset.level"), json!(name));
    }
}

/// A number is whole, or has its unit: none is cut.
#[test]
fn great_numbers_fit_their_columns() {
    let hour = 3_600_000_000;
    let great = TransactionRow {
        id: 98_765_432_109,
        duration: Some(hour),
        response_bytes: Some(123_456_789_012),
        ..data::row(8)
    };
    let row = TransactionRow { id: 7, duration: Some(99_999_999), response_bytes: Some(987_654_321), ..data::row(8) };
    let counts = Counts {
        transactions: 90_000_000,
        client_errors: 8_000_000,
        server_errors: 7_000_000,
        request_bytes: u64::MAX,
        times: data::times(99_999_999, hour, 24 * hour, 90 * hour),
        ..data::counts(1, 0, 0)
    };
    let mut snapshot = data::snapshot();
    snapshot.hosts = vec![HostRow { host: "x".repeat(200), counts }];
    snapshot.routes = vec![RouteRow { host: "x".repeat(200), method: "GET".into(), route: "/x".repeat(200), counts }];
    snapshot.pairs = vec![PairRow {
        client: "2001:db8:1234:5678:1234:5678:1234:5678".into(),
        server: "[2001:db8::1]:80".into(),
        counts,
    }];
    snapshot.health[0].value = 9_007_199_254_740_991;
    snapshot.recent = vec![row.clone(), great.clone()];
    snapshot.slowest = vec![great, row];
    let Some(mut browser) = opened("great", &snapshot) else { return };
    for (panel, rows) in [("recent", 2), ("slowest", 2), ("hosts", 1), ("routes", 1), ("pairs", 1), ("health", 5)] {
        browser.click(&format!("#tab-{panel}"));
        // The text of a button is measured by its cell.
        let cut = browser.eval(&format!(
            "[...document.querySelectorAll('#{panel} td.number, #{panel} td.time')].map((cell) => cell.querySelector('button') || cell)\
               .filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)"
        ));
        assert_eq!(cut, json!([]), "{panel}");
        assert_eq!(self::rows(&mut browser, panel).len(), rows);
    }
    browser.click("#tab-recent");
    assert_eq!(column(&mut browser, "recent", "Duration ms"), ["3,600 s", "99,999.999"]);
    assert_eq!(column(&mut browser, "recent", "Received B"), ["123 GB", "987,654,321"]);
}

/// Days and zones: what is not of the same day says its day, and the zone is said.
#[test]
fn times_say_their_day_and_zone() {
    let Some(mut browser) = browser() else { return };
    browser.call("Emulation.setTimezoneOverride", json!({"timezoneId": "Asia/Kolkata"}));
    let snapshot = Snapshot { now: BEGAN + 86_400 * SECOND, ..data::snapshot() };
    browser.open_file(&report("times", &snapshot));
    assert_eq!(browser.text("#covered"), "2026-11-23 02:30:00 – 2026-11-24 02:30:00 UTC+05:30 (1 d 0 h 0 min 0 s)");
    assert_eq!(column(&mut browser, "recent", "Time")[0], "2026-11-23 02:31:00.123456");
}

#[test]
fn colours_follow_the_system_and_the_button() {
    let Some(mut browser) = browser() else { return };
    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.prefer("dark");
    browser.open_file(&report("colours", &data::snapshot()));
    assert_eq!(browser.eval(ground), json!("rgb(20, 23, 27)"));
    browser.click("#theme");
    assert_eq!(browser.eval(ground), json!("rgb(255, 255, 255)"));
    browser.prefer("light");
    browser.click("#theme");
    assert_eq!(browser.eval(ground), json!("rgb(20, 23, 27)"));
    assert_quiet(&mut browser);
}

#[test]
fn the_tab_and_the_filter_outlive_a_reload() {
    let Some(mut browser) = opened("reload", &data::snapshot()) else { return };
    browser.eval("document.querySelector('#filter').focus()");
    browser.write("host:api \"a b\" %");
    browser.click("#tab-hosts");
    let address = browser.eval("location.href");
    assert!(address.as_str().unwrap().ends_with("#hosts:host%3Aapi%20%22a%20b%22%20%25"), "{address}");
    browser.open("about:blank");
    browser.open(address.as_str().unwrap());
    assert_eq!(
        browser.eval("[active, document.querySelector('#filter').value]"),
        json!(["hosts", "host:api \"a b\" %"])
    );
    // Addresses that are none of the page's.
    for wrong in ["#%", "#nothing:x", "#recent:%e0%80", "#__proto__:a", "#<img src=x onerror=alert(1)>"] {
        browser.eval(&format!("location.hash = {}", json!(wrong)));
        browser.frames();
        assert_eq!(browser.eval("active"), json!("recent"), "{wrong}");
    }
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// axe-core, which we did not write, judges the page by WCAG 2.2 AA: contrast, names, roles.
#[test]
fn axe_finds_nothing_wrong_in_light_and_dark_and_in_a_narrow_window() {
    let Some(axe) = axe() else { return };
    let Some(mut browser) = browser() else { return };
    for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 480)] {
        browser.size(width, 800);
        browser.prefer(scheme);
        browser.open_file(&report("axe", &data::snapshot()));
        browser.eval(&axe);
        for tab in ["recent", "hosts", "health"] {
            browser.click(&format!("#tab-{tab}"));
            if tab == "recent" {
                browser.click("#help-button");
                browser.click("#recent tbody tr:nth-child(5) td");
            }
            let found = browser.eval(
                "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']}).then((r) => ({passes: r.passes.length, wrong: r.violations.map((v) => [v.id, v.nodes.map((n) => [n.target, n.failureSummary])])}))",
            );
            assert!(found["passes"].as_u64().unwrap() > 15, "axe has looked at little: {found}");
            assert_eq!(found["wrong"], Value::Array(vec![]), "{scheme} {width} {tab}");
        }
    }
}

/// The script of axe-core, where deploy/setup.sh has installed it.
fn axe() -> Option<String> {
    let tools = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/lib");
    let found = std::fs::read_dir(tools).into_iter().flatten().filter_map(Result::ok).find_map(|python| {
        std::fs::read_to_string(python.path().join("site-packages/axe_core_python/axe.min.js")).ok()
    });
    if found.is_none() {
        super::support::tool::skip("axe", "needs axe-core-python in target/tools");
    }
    found
}
