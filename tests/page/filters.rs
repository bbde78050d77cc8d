//! The filter of the page gives what the filter of the program gives: the same filters are refused, and the same rows are left.

use picotap::http::filter::Filter;
use picotap::view::{Snapshot, TransactionRow};
use serde_json::json;

use super::data;
use super::opened;
use super::support::random::Random;

const VALUES: &[&str] = &[
    "404",
    "4xx",
    "500-599",
    "none",
    "200,none",
    "5",
    "NOT_FOUND",
    "1-16",
    "10.0.0.2",
    "10.0.0.0/29",
    "10.0.0.1:40003",
    "::1",
    "[2001:db8::7]:443",
    "2001:db8::/32",
    "::ffff:10.0.0.1",
    "1::2::3",
    "10.0.0.256",
    "010.0.0.1",
    "1ms",
    "0.5ms",
    "115us-300us",
    "1.5s",
    "0.3us",
    "20",
    "2kB",
    "1.5MB",
    "4KiB",
    "1M",
    "GET",
    "get",
    "'GET'",
    "\"a \\\" b\"",
    "*.example.org",
    "www.example.org",
    "WWW.example.org:80",
    "'www.example.org:81'",
    "api.example.org:8080",
    "/users/*/orders",
    "/users/1?/*",
    "'/'",
    "reset",
    "no_*",
    "resett",
    "true",
    "failed",
    "slow",
    "1.1",
    "2",
    "3",
    "1.?",
    "2026-11-22",
    "2026-11-22T21:00",
    "2026-11-22T21:00:30.1Z",
    "2026-02-29",
    "curl/7.1*",
    "caf\u{e9}",
    "caf?",
    "caf??",
    "''",
    "(a|b)",
    "x)",
    "a,b",
    "a , b",
    "",
    "9007199254740991",
    "9007199254740992",
    "Not?Found",
    "socks",
    "refused",
    "TLSv1.3",
    "h\u{130}",
];
const PATTERNS: &[&str] = &[
    "'^/users/\\d+/'",
    "^GET$",
    "(?i)^get$",
    "'[12]5'",
    "'(0|5)$'",
    "x{2,3}",
    "'a{0,2}b|c'",
    "[^0-9]$",
    "\\bapi\\b",
    "'\\Bxample'",
    "'.*\\.org(:\\d+)?$'",
    "^$",
    "caf.$",
    "'\u{e9}'",
    "(?i)CAF\u{c9}",
    "'[a-c\\]-]+'",
    "'(a+)+$'",
    "'(?=a)'",
    "'a**'",
    "'['",
    "a{",
    "'\\1'",
    "^^",
    "'(|a)+b'",
    "'(a?){3}$'",
    "'(?:1|2|3){2,}'",
    "'[\\w.]+:80'",
    "'\\s'",
    "\\",
    "'(?i)[^A-Y]'",
    "'a||b'",
    "'^\\w+\\W\\S+$'",
];
const FIELDS: &[&str] = &[
    "method",
    "status",
    "host",
    "path",
    "target",
    "route",
    "client",
    "server",
    "duration",
    "duration_us",
    "ttfb",
    "flags",
    "flag",
    "is",
    "version",
    "grpc_status",
    "grpc_service",
    "user_agent",
    "reason",
    "ts",
    "interface",
    "client_port",
    "server_port",
    "sent",
    "received",
    "conn",
    "seq",
    "protocol",
    "operation",
    "outcome",
    "error",
    "tls.sni",
    "tls.version",
    "Request_Headers.X-Request-Id",
    "response_headers.via",
    "proxy",
    "lost_bytes",
    "request_body",
    "response_body_truncated",
    "hots",
    "HOST",
];
const SIGNS: &[&str] = &["=", "=", "=", "!=", "<", "<=", ">", ">=", ":", "~", "~", "!~", " = ", " : "];
const WORDS: &[&str] =
    &["example", "404", "POST", "'two words'", "\"curl/7\"", "localhost:8080", "GRPC", "k=v:w", "not", "\u{130}"];

/// A filter as nobody writes it.
fn expression(random: &mut Random, depth: u32) -> String {
    match random.below(if depth == 0 { 2 } else { 8 }) {
        0 => (*random.pick(WORDS)).to_owned(),
        1..=3 => {
            let sign = random.pick(SIGNS);
            let values = if sign.contains('~') { PATTERNS } else { VALUES };
            let mut out = format!("{}{sign}{}", random.pick(FIELDS), random.pick(values));
            if random.one_in(5) {
                out += &format!(",{}", random.pick(values));
            }
            out
        }
        4 => format!("{}{}", random.pick(&["not ", "!", "-", "NOT"]), expression(random, depth - 1)),
        5 => format!("({})", expression(random, depth - 1)),
        other => {
            let joint =
                if other == 6 { random.pick(&[" or ", " OR ", "or"]) } else { random.pick(&[" ", " and ", "  "]) };
            format!("{}{joint}{}", expression(random, depth - 1), expression(random, depth - 1))
        }
    }
}

/// Rows in which something stands that the others do not have.
fn rows() -> Vec<TransactionRow> {
    let mut rows: Vec<TransactionRow> = (1..=24).map(data::row).collect();
    let more = [
        TransactionRow {
            host: None,
            target: Some("http://u@h/p?q#f".into()),
            client: "[2001:db8::7]:443".into(),
            ..data::row(31)
        },
        TransactionRow {
            target: Some("HTTPS://h?x".into()),
            host: Some("u:p@Www.Example.org:81".into()),
            ..data::row(32)
        },
        TransactionRow {
            method: Some("CONNECT".into()),
            target: Some("h:80".into()),
            host: Some(String::new()),
            ..data::row(33)
        },
        TransactionRow {
            protocol: "HTTP/2".into(),
            grpc_status: Some(5),
            reason: Some("gRPC NOT_FOUND".into()),
            fields: vec![
                ("grpc_service".into(), "caf\u{e9}".into()),
                ("seq".into(), "5".into()),
                ("proxy".into(), "::1".into()),
            ],
            ..data::row(34)
        },
        TransactionRow {
            protocol: "socks".into(),
            method: Some("connect".into()),
            status: None,
            reason: Some("refused".into()),
            flags: vec!["failed", "gap"],
            failed: true,
            ..data::row(36)
        },
        TransactionRow {
            interface: Some("eth0".into()),
            fields: vec![
                ("user_agent".into(), "a \" b".into()),
                ("response_headers.via".into(), "a".into()),
                ("response_headers.via".into(), "b".into()),
                ("tls.sni".into(), "api.example.org".into()),
            ],
            ..data::row(37)
        },
    ];
    rows.extend(more);
    rows
}

#[test]
fn the_page_filters_as_the_program_does() {
    let rows = rows();
    let Some(mut browser) = opened("same-filters", &Snapshot { recent: rows.clone(), ..data::snapshot() }) else {
        return;
    };
    let mut random = Random::new(22);
    let mut filters: Vec<String> = Vec::new();
    for field in FIELDS {
        filters.extend(VALUES.iter().map(|value| format!("{field}={value}")));
        filters.extend(PATTERNS.iter().map(|value| format!("{field}~{value}")));
        filters.extend(
            ["<", ">=", ":", "!="]
                .iter()
                .flat_map(|sign| VALUES.iter().step_by(3).map(move |value| format!("{field}{sign}{value}"))),
        );
    }
    filters.extend(
        [
            "",
            " ",
            "()",
            "not",
            "a or",
            "or a",
            "a and",
            "and a",
            "a and or b",
            "(a",
            "a)",
            "'a",
            "a or b c",
            "host= a",
            "host: a",
            "--a",
            "!!a",
        ]
        .map(str::to_owned),
    );
    filters.extend((0..3_000).map(|_| expression(&mut random, 4)));
    let said = browser.eval(&format!(
        "(() => {{ const rows = JSON.parse(document.getElementById('data').textContent).recent; \
           return {}.map((filter) => {{ const {{ terms, error }} = parse(filter); \
             return error ? null : rows.map((row) => (terms.every((term) => term.holds(row)) ? '1' : '0')).join(''); }}); }})()",
        json!(filters)
    ));
    let (mut good, mut mixed) = (0, 0);
    for (filter, said) in filters.iter().zip(said.as_array().unwrap()) {
        let read = Filter::typed(filter);
        let holds =
            |filter: Filter| rows.iter().map(|row| if filter.fits(row) { '1' } else { '0' }).collect::<String>();
        let wanted = read.as_ref().ok().map(|filter| holds(filter.clone()));
        assert_eq!(said.as_str(), wanted.as_deref(), "{filter}: {read:?}");
        good += usize::from(wanted.is_some());
        mixed += usize::from(wanted.is_some_and(|wanted| wanted.contains('0') && wanted.contains('1')));
    }
    assert!(good > filters.len() / 4 && mixed > 300, "{good} good, {mixed} that tell rows apart, of {}", filters.len());
}

#[test]
fn a_pattern_takes_no_longer_than_the_text_is_long() {
    let Some(mut browser) = opened("linear", &data::snapshot()) else { return };
    let took = browser.eval(
        "(() => { const fits = pattern('(a+)+(a|aa)*(b|c){3}$', false); const text = 'a'.repeat(2000); const start = performance.now(); \
           if (fits(text)) return -1; return performance.now() - start; })()",
    );
    let took = took.as_f64().unwrap();
    assert!((0.0..5_000.0).contains(&took), "{took} ms");
}
