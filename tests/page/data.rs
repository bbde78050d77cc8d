//! Snapshots, made by hand and by rule.

use picotap::view::{
    Counts, HealthItem, HostRow, Level, PairRow, RouteRow, Second, Snapshot, Times, TlsResult, TlsRow, TlsView,
    TransactionRow,
};

/// 2026-11-22 21:00:00 UTC.
pub(crate) const BEGAN: i64 = 1_795_381_200_000_000;
pub(crate) const SECOND: i64 = 1_000_000;

pub(crate) fn times(p50: u64, p95: u64, p99: u64, max: u64) -> Times {
    Times { p50: Some(p50), p95: Some(p95), p99: Some(p99), max: Some(max) }
}

pub(crate) fn counts(transactions: u64, client_errors: u64, server_errors: u64) -> Counts {
    Counts {
        transactions,
        client_errors,
        server_errors,
        request_bytes: 1_500 * transactions,
        response_bytes: 2_000_000 * transactions,
        last: BEGAN + 599 * SECOND,
        times: times(117, 2_500, 61_000 + transactions, 1_234_567),
    }
}

/// Transaction number `id`, one each second. Numbers that 10 divides have a 404, and those that 7 divides no response.
pub(crate) fn row(id: u64) -> TransactionRow {
    let status = if id.is_multiple_of(7) {
        None
    } else if id.is_multiple_of(10) {
        Some(404)
    } else {
        Some(200)
    };
    let (request, wait, response) = (10, 100 + id * 37 % 1000, 5);
    TransactionRow {
        id,
        time: BEGAN + id as i64 * SECOND + 123_456,
        protocol: "HTTP/1.1".into(),
        client: format!("10.0.0.{}:{}", 1 + id % 3, 40_000 + id),
        server: "10.0.9.1:80".into(),
        interface: None,
        connection: (1 + id / 4).to_string(),
        method: Some(if id.is_multiple_of(5) { "POST" } else { "GET" }.into()),
        host: Some(if id.is_multiple_of(2) { "www.example.org" } else { "api.example.org:8080" }.into()),
        target: Some(format!("/users/{id}/orders?page={}", id % 4)),
        route: Some("/users/{n}/orders".into()),
        status,
        grpc_status: None,
        reason: status.map(|status| if status == 404 { "Not Found" } else { "OK" }.into()),
        failed: status.is_none(),
        request_time: Some(request),
        wait_time: status.map(|_| wait),
        response_time: status.map(|_| response),
        duration: status.map(|_| request + wait + response),
        request_bytes: Some(if id.is_multiple_of(5) { 1_200_000 } else { 0 }),
        response_bytes: status.map(|_| id * 1_000),
        flags: if status.is_none() { vec!["no_response", "reset"] } else { vec![] },
        fields: vec![
            ("user_agent".into(), format!("curl/7.{id}")),
            ("request_headers.x-request-id".into(), format!("id {id}")),
        ],
    }
}

/// Ten minutes of a file: 30 transactions a second, and 60 of them as rows.
pub(crate) fn snapshot() -> Snapshot {
    let part = |number: i64| Second {
        time: BEGAN + number * SECOND,
        transactions: 30,
        client_errors: 3,
        server_errors: if number == 300 { 12 } else { 1 },
        bytes: 60_000,
        times: if number == 200 { Times::default() } else { times(117, 2_500, 61_000, 1_234_567) },
    };
    let hosts = ["www.example.org", "api.example.org:8080", ""];
    let host = |(place, host): (usize, &&str)| HostRow {
        host: (*host).into(),
        counts: counts(9_000 >> place, 100 << place, [0, 500, 3][place]),
    };
    let mut slowest: Vec<TransactionRow> = (1..=60).map(row).filter(|row| row.duration.is_some()).collect();
    slowest.sort_by_key(|row| std::cmp::Reverse(row.duration));
    slowest.truncate(20);
    Snapshot {
        version: "0.1.0".into(),
        source: "capture.pcap".into(),
        live: false,
        now: BEGAN + 600 * SECOND,
        began: BEGAN,
        transactions: 18_000,
        step: 1,
        seconds: (0..600).map(part).collect(),
        tables_since: BEGAN,
        total: counts(18_000, 1_800, 611),
        hosts: hosts.iter().enumerate().map(host).collect(),
        routes: hosts[..2]
            .iter()
            .flat_map(|host| ["/users/{n}/orders", "/login"].map(|route| (host, route)))
            .enumerate()
            .map(|(place, (host, route))| RouteRow {
                host: (*host).into(),
                method: "GET".into(),
                route: route.into(),
                counts: counts(4_000 - place as u64, 5, 0),
            })
            .collect(),
        pairs: (1..=3)
            .map(|client| PairRow {
                client: format!("10.0.0.{client}"),
                server: "10.0.9.1:80".into(),
                counts: counts(client * 100, 0, 0),
            })
            .collect(),
        beyond: [0, 12, 0],
        slowest,
        recent: (1..=60).map(row).collect(),
        left_out: 17_940,
        tls: tls(),
        health: health(Level::Warning),
    }
}

/// TLS connections to three servers, and to one that was not named.
fn tls() -> TlsView {
    let row = |host: &str, decrypted, reason, version, connections| TlsRow {
        host: host.into(),
        decrypted,
        reason,
        version,
        process: Some("nginx".to_owned()).filter(|_| decrypted),
        connections,
        bytes: connections * 4_000,
        last: BEGAN + 599 * SECOND,
    };
    let result = |decrypted, reason, connections| TlsResult { decrypted, reason, connections };
    TlsView {
        results: vec![
            result(false, "midstream", 2),
            result(false, "no_key", 1_200),
            result(true, "", 40),
            result(true, "gap", 1),
        ],
        servers: vec![
            row("bank.example", false, "no_key", Some("TLSv1.3"), 1_200),
            row("www.example.org", true, "", Some("TLSv1.2"), 40),
            row("", false, "midstream", None, 2),
            row("www.example.org", true, "gap", Some("TLSv1.3"), 1),
        ],
        beyond: 7,
    }
}

/// Fifteen minutes as they may be: waves, a pause, and a fault.
pub(crate) fn varied() -> Snapshot {
    let part = |number: i64| {
        let wave = (number as f64 / 70.0).sin();
        let noise = number * 7_919 % 97;
        let fault = (600..640).contains(&number);
        let transactions = match number {
            300..320 => 0,
            _ => 900 + (500.0 * wave) as i64 + noise + if fault { 2_500 } else { 0 },
        };
        let slow = if fault { 4 } else { 1 };
        let p50 = (180 + noise as u64 / 4) * slow;
        Second {
            time: BEGAN + number * SECOND,
            transactions: transactions as u64,
            client_errors: (transactions * (noise % 5) / 200) as u64,
            server_errors: if fault { 260 } else { (transactions / 500) as u64 },
            bytes: transactions as u64 * 5_300,
            times: if transactions == 0 {
                Times::default()
            } else {
                times(p50, p50 * 7, p50 * 40 + noise as u64 * 60, p50 * 300)
            },
        }
    };
    let recent: Vec<TransactionRow> = (1..=400)
        .map(|number| {
            let id = 1_123_056 + number;
            let targets =
                ["/users/4711/orders", "/search?q=red+shoes&page=2", "/assets/9f3c22ab.js", "/login", "/health"];
            TransactionRow {
                time: BEGAN + 899 * SECOND + number as i64 * 1_731 + id as i64 * 7_919 % 997,
                target: Some(targets[(id * 7 % 5) as usize].into()),
                host: Some(["www.example.org", "api.example.org", "static.example.org"][(id % 3) as usize].into()),
                client: format!("10.0.{}.{}:{}", id % 4, id * 31 % 250, 32_768 + id * 977 % 28_000),
                response_bytes: Some(id * 7_919 % 180_000),
                ..row(id)
            }
        })
        .collect();
    let mut slowest = recent.clone();
    slowest.sort_by_key(|row| std::cmp::Reverse(row.duration));
    Snapshot {
        source: "eth0".into(),
        live: true,
        now: BEGAN + 900 * SECOND,
        transactions: 1_123_456,
        seconds: (0..900).map(part).collect(),
        total: counts(1_123_456, 22_469, 14_208),
        slowest,
        left_out: 1_118_456,
        recent,
        ..snapshot()
    }
}

pub(crate) fn health(lost: Level) -> Vec<HealthItem> {
    let item = |group, name: &str, value, unit, level| HealthItem {
        group,
        name: name.into(),
        label: String::new(),
        value,
        unit,
        of: None,
        level,
        metric: "picotap_packets_total",
    };
    vec![
        item("capture", "frames captured", 123_456, "frames", Level::Ok),
        item("lost", "frames dropped by the kernel", 7, "frames", lost),
        HealthItem {
            of: Some(256),
            label: "sandbox-0".into(),
            ..item("queues", "slots waiting", 3, "slots", Level::Ok)
        },
        item("parser", "faults", 0, "", Level::Ok),
        item("ledger", "frames without an account", 0, "frames", Level::Ok),
    ]
}

/// What an attacker may put wherever text is taken from the wire. `owned` is what must not happen.
pub(crate) const HOSTILE: [&str; 14] = [
    "</script><script>window.owned=1;alert(1)</script>",
    "<!--<script>window.owned=1",
    "]]></script><svg onload=alert(1)>",
    "<img src=x onerror=\"window.owned=1;fetch('http://192.0.2.1/')\">",
    "\" onmouseover=\"window.owned=1\" autofocus onfocus=\"window.owned=1",
    "'><iframe src=javascript:alert(1)></iframe>",
    "<a href=\"javascript:window.owned=1\">x</a><style>*{display:none}</style>",
    "<meta http-equiv=refresh content=\"0;url=http://192.0.2.1/\"><base href=http://192.0.2.1/>",
    "{{data}}{{script}}&lt;b&gt;&#60;b&#62;\\u003cb\\u003e${window.owned=1}`",
    "a\0b\x01c\x1b[31md\x7fe\u{9b}f\r\ng\u{2028}h\u{2029}i",
    "\u{202e}gpj.exe\u{202c}\u{2066}\u{2069}\u{200f}\u{200b}\u{feff}\u{061c}end",
    "__proto__",
    "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{30d}a\u{489}l\u{489}g\u{489}o",
    "constructor\u{fffd}\u{10ffff}\u{e000}😀漢字العربية",
];

/// Hostile text in every place that takes text, once for each of them, and very long words.
pub(crate) fn hostile() -> Snapshot {
    let mut texts: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    texts.push("W".repeat(50_000));
    texts.push("\u{202e}<b>".repeat(3_000));
    let rows: Vec<TransactionRow> = (1..)
        .zip(&texts)
        .map(|(id, text)| TransactionRow {
            protocol: text.clone(),
            client: text.clone(),
            server: text.clone(),
            interface: Some(text.clone()),
            method: Some(text.clone()),
            host: Some(text.clone()),
            target: Some(text.clone()),
            route: Some(text.clone()),
            reason: Some(text.clone()),
            status: (id % 2 == 0).then_some(500),
            fields: vec![("user_agent".into(), text.clone()), (text.clone(), text.clone())],
            ..row(id)
        })
        .collect();
    let count = |_: &String| counts(5, 1, 1);
    Snapshot {
        version: texts[0].clone(),
        source: texts[0].clone() + &texts[10],
        hosts: texts.iter().map(|text| HostRow { host: text.clone(), counts: count(text) }).collect(),
        routes: texts
            .iter()
            .map(|text| RouteRow { host: text.clone(), method: text.clone(), route: text.clone(), counts: count(text) })
            .collect(),
        pairs: texts
            .iter()
            .map(|text| PairRow { client: text.clone(), server: text.clone(), counts: count(text) })
            .collect(),
        tls: TlsView {
            servers: texts
                .iter()
                .map(|text| TlsRow { host: text.clone(), process: Some(text.clone()), ..TlsRow::default() })
                .collect(),
            ..TlsView::default()
        },
        health: texts
            .iter()
            .map(|text| HealthItem { group: "lost", name: text.clone(), label: text.clone(), ..HealthItem::default() })
            .collect(),
        slowest: rows.clone(),
        recent: rows,
        ..snapshot()
    }
}
