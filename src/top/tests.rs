//! The screen as a whole: each pane at two sizes, as the files in `screens/` have it, and what keys do.
//!
//! `BLESS=1 cargo test --lib top` writes the files anew; read them before they are committed.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::keys::Request;
use super::row::Field;
use super::state::{List, Mode, PANES, State};
use crate::view::{
    Counts, HealthItem, HostRow, Level, PairRow, RouteRow, Second, Snapshot, Times, TlsRow, TlsView, TransactionRow,
};

const NOW: i64 = 1_767_323_045_000_000;
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 50)];

/// What makes a terminal do things, and what fools a reader.
const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\n\t\u{202e}evil\u{2066}\u{5d0}\u{200b}\u{200d}e\u{301}世界\u{1f600}\0";

fn times(p50: u64) -> Times {
    Times { p50: Some(p50), p95: Some(p50 * 4), p99: Some(p50 * 9), max: Some(p50 * 20) }
}

fn counts(transactions: u64, server_errors: u64, p50: u64) -> Counts {
    Counts {
        transactions,
        client_errors: transactions / 50,
        server_errors,
        request_bytes: transactions * 120,
        response_bytes: transactions * 5_400,
        last: NOW - 2_000_000,
        times: times(p50),
    }
}

fn transaction(id: u64) -> TransactionRow {
    let status = if id.is_multiple_of(7) { 503 } else { 200 };
    TransactionRow {
        id,
        time: NOW - 60_000_000 + i64::try_from(id).unwrap() * 1_000_000,
        protocol: "HTTP/1.1".into(),
        client: format!("10.0.0.{}:50{id:03}", id % 4),
        server: "10.0.1.1:80".into(),
        connection: (id / 3).to_string(),
        method: Some(if id.is_multiple_of(5) { "POST" } else { "GET" }.into()),
        host: Some("shop.example".into()),
        target: Some(format!("/cart/{id}?user={}", id * 31)),
        route: Some("/cart/{n}".into()),
        status: Some(status),
        reason: Some(if status == 200 { "OK" } else { "Service Unavailable" }.into()),
        failed: status == 503,
        request_time: Some(120),
        wait_time: Some(id * 400),
        response_time: Some(800),
        duration: Some(920 + id * 400),
        request_bytes: Some(0),
        response_bytes: Some(id * 1_000),
        flags: if id.is_multiple_of(9) { vec!["chunked"] } else { Vec::new() },
        fields: vec![("user_agent".into(), "curl/8.0".into())],
        ..TransactionRow::default()
    }
}

fn tls(host: &str, decrypted: bool, reason: &'static str, version: Option<&'static str>, connections: u64) -> TlsRow {
    let (host, bytes, last) = (host.into(), connections * 9_000, NOW - 3_000_000);
    let process = Some("nginx".to_owned()).filter(|_| decrypted && reason.is_empty());
    TlsRow { host, decrypted, reason, version, process, connections, bytes, last }
}

/// A quarter of an hour of a shop.
fn shop() -> Snapshot {
    let host = |n: u64| HostRow { host: format!("host-{n}.example"), counts: counts(9_000 / n, n % 3, 700 * n) };
    let route = |n: u64| RouteRow {
        host: format!("host-{}.example", n % 3 + 1),
        method: if n % 4 == 1 { "POST" } else { "GET" }.into(),
        route: format!("/service-{n}/{{n}}/orders"),
        counts: counts(4_000 / n, n / 20, 900 * n),
    };
    let pair = |n: u64| PairRow {
        client: format!("10.0.0.{n}"),
        server: "10.0.1.1:80".into(),
        counts: counts(500 / n, 0, 300 * n),
    };
    let second = |n: i64| Second {
        time: NOW - (900 - n) * 1_000_000,
        transactions: 50 + (n % 60).unsigned_abs() * 3,
        server_errors: u64::from(n % 45 == 0),
        bytes: 400_000,
        times: if n % 30 == 3 { Times::default() } else { times(500 + (n % 17).unsigned_abs() * 90) },
        ..Second::default()
    };
    let health = |group, name: &str, label: &str, value, unit, of, level, metric| HealthItem {
        group,
        name: name.into(),
        label: label.into(),
        value,
        unit,
        of,
        level,
        metric,
    };
    Snapshot {
        version: "0.1.0".into(),
        source: "eth0".into(),
        live: true,
        now: NOW,
        began: NOW - 7_200_000_000,
        transactions: 1_234_567,
        step: 1,
        seconds: (0..900).map(second).collect(),
        tables_since: NOW - 720_000_000,
        total: counts(98_765, 42, 1_100),
        hosts: (1..=40).map(host).collect(),
        routes: (1..=60).map(route).collect(),
        pairs: (1..=9).map(pair).collect(),
        beyond: [0, 0, 17],
        slowest: (1..=50).rev().map(transaction).collect(),
        recent: (1..=55).map(transaction).collect(),
        left_out: 1_234,
        tls: TlsView {
            servers: vec![
                tls("bank.example", false, "no_key", Some("TLSv1.3"), 1_200),
                tls("shop.example", true, "", Some("TLSv1.2"), 340),
                tls("", false, "midstream", None, 2),
                tls("shop.example", true, "gap", Some("TLSv1.3"), 1),
            ],
            ..TlsView::default()
        },
        health: vec![
            health("capture", "frames", "", 5_000_000, "frames", None, Level::Ok, "picotap_frames_total"),
            health(
                "lost",
                "dropped by the kernel",
                "eth0",
                12,
                "frames",
                None,
                Level::Warning,
                "picotap_dropped_total",
            ),
            health("queues", "slots waiting", "sandbox-0", 3, "slots", Some(256), Level::Ok, ""),
            health("parser", "faults", "trap", 1, "", None, Level::Error, "picotap_faults_total"),
        ],
    }
}

/// The same with hostile text wherever text from the wire is.
fn hostile() -> Snapshot {
    let mut snapshot = shop();
    let text = || HOSTILE.repeat(3);
    snapshot.source = text();
    for row in &mut snapshot.hosts {
        row.host = text();
    }
    for row in &mut snapshot.routes {
        (row.host, row.method, row.route) = (text(), text(), text());
    }
    for row in &mut snapshot.pairs {
        (row.client, row.server) = (text(), text());
    }
    for row in snapshot.slowest.iter_mut().chain(&mut snapshot.recent) {
        (row.host, row.target, row.method) = (Some(text()), Some(text()), Some(text()));
        (row.route, row.reason, row.interface) = (Some(text()), Some(text()), Some(text()));
        (row.protocol, row.client, row.server) = (text(), text(), text());
        row.fields = vec![(text(), text())];
    }
    for item in &mut snapshot.health {
        (item.name, item.label) = (text(), text());
    }
    for row in &mut snapshot.tls.servers {
        row.host = text();
    }
    snapshot
}

fn state(snapshot: Snapshot, size: (u16, u16)) -> State {
    let mut state = State::new(false);
    state.resize(size);
    state.show(Arc::new(snapshot));
    state
}

fn screen(state: &State) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(state.size.0, state.size.1)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(state.size.0).max(1));
    let mut out = Vec::new();
    for row in rows {
        let (mut line, mut wide) = (String::new(), 0);
        for cell in row {
            // A wide character's second cell is not printed.
            if wide > 1 {
                wide -= 1;
                continue;
            }
            line += cell.symbol();
            wide = super::text::width(cell.symbol());
        }
        out.push(line.trim_end().to_owned());
    }
    out
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            '\u{8}' => KeyCode::Backspace,
            '⇟' => KeyCode::PageDown,
            '⇞' => KeyCode::PageUp,
            '⇱' => KeyCode::Home,
            '⇲' => KeyCode::End,
            other => KeyCode::Char(other),
        };
        assert_eq!(state.key(KeyEvent::new(code, KeyModifiers::NONE)), Request::Draw);
    }
}

/// Compares a screen with its file, or writes it with BLESS=1.
fn assert_screen(name: &str, state: &State) {
    let (columns, rows) = state.size;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/top/screens/{name}-{columns}x{rows}.txt"));
    let shown = screen(state).join("\n") + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(shown == expected, "{} differs (BLESS=1 writes it):\n{shown}", path.display());
}

#[test]
fn every_pane_looks_as_it_did() {
    for size in SIZES {
        for (pane, name) in PANES.iter().enumerate() {
            let mut state = state(shop(), size);
            state.notices = (vec!["picotap: dropped since the last warning: 12 packets by the kernel".into()], 1);
            state.show_pane(pane);
            assert_screen(&name.to_lowercase(), &state);
        }
    }
}

#[test]
fn what_is_opened_looks_as_it_did() {
    for size in SIZES {
        let mut state = state(shop(), size);
        press(&mut state, "4\n");
        assert_screen("transaction", &state);
        press(&mut state, "?");
        assert_screen("help", &state);
        press(&mut state, "x2jj\n");
        assert_screen("routes-of-a-host", &state);
    }
}

#[test]
fn hostile_text_is_only_shown() {
    for size in SIZES {
        for pane in 0..PANES.len() {
            let mut state = state(hostile(), size);
            state.notices = (vec![HOSTILE.into()], 1);
            state.show_pane(pane);
            for opened in 0..3 {
                for (row, line) in screen(&state).iter().enumerate() {
                    let what = format!("pane {pane} {opened}, row {row}: {line:?}");
                    assert!(super::text::width(line) <= usize::from(size.0), "{what}");
                    let odd = |c: char| {
                        c.is_control()
                            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}' | '\u{5d0}' | '\u{301}')
                    };
                    assert!(!line.contains(odd), "{what}");
                }
                press(&mut state, "\n");
            }
        }
    }
    let mut state = state(hostile(), (200, 50));
    press(&mut state, "4\n");
    let all = screen(&state).join("");
    assert!(all.contains("\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\u{9b}31m\\u{d}\\u{a}"), "{all}");
    assert!(all.contains("\\u{202e}evil\\u{2066}\\u{5d0}\\u{200b}\\u{200d}e\\u{301}世界"), "{all}");
}

#[test]
fn without_colours_no_cell_has_one() {
    let coloured = |colour: bool, pane: usize| {
        let mut state = state(shop(), (80, 24));
        state.colour = colour;
        state.show_pane(pane);
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &state)).unwrap();
        let cells = terminal.backend().buffer().content().iter();
        cells.filter(|cell| cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset).count()
    };
    for pane in 0..PANES.len() {
        assert_eq!(coloured(false, pane), 0, "{pane}");
        assert!(coloured(true, pane) > 0, "{pane}");
    }
}

fn first_column(state: &State, field: Field) -> Vec<String> {
    state.rows().iter().map(|row| row.value(field, &state.snapshot).text()).collect()
}

#[test]
fn keys_sort_by_the_columns_that_are_shown() {
    let mut state = state(shop(), (80, 24));
    assert_eq!(state.view().sort, Some(Field::Transactions));
    press(&mut state, "s");
    assert_eq!((state.view().sort, state.view().descending), (Some(Field::Errors), true));
    press(&mut state, ">");
    assert_eq!(state.view().sort, Some(Field::P50));
    assert_eq!(first_column(&state, Field::P50).first().unwrap(), "54.0ms");
    press(&mut state, "r");
    assert_eq!(first_column(&state, Field::P50).first().unwrap(), "900us");
    press(&mut state, "<<<");
    assert_eq!(
        (state.view().sort, state.view().descending),
        (Some(Field::Route), false),
        "the last column, by the alphabet"
    );
}

#[test]
fn a_filter_applies_as_it_is_typed() {
    let mut state = state(shop(), (80, 24));
    press(&mut state, "/service-1");
    assert_eq!((state.mode, state.rows().len()), (Mode::Filter, 11));
    press(&mut state, "2\n");
    assert_eq!((state.mode, state.rows().len()), (Mode::Keys, 1));
    assert!(screen(&state).last().unwrap().starts_with("filter: service-12"));
    press(&mut state, "/ nothing");
    assert_eq!(state.rows().len(), 0);
    assert!(screen(&state).iter().any(|line| line.contains("Nothing matches the filter service-12 nothing")));
    press(&mut state, "\u{1b}");
    assert_eq!((state.mode, state.rows().len(), state.view().filter.as_str()), (Mode::Keys, 60, ""));
    press(&mut state, "/x\u{8}\u{8}");
    assert_eq!(state.mode, Mode::Keys, "backspace at the beginning ends it");
    press(&mut state, "/");
    press(&mut state, &"y".repeat(200));
    assert_eq!(state.view().filter.len(), 200);
    press(&mut state, &"y".repeat(200));
    assert_eq!(state.view().filter.len(), 256, "it is bounded");
}

#[test]
fn a_filter_that_cannot_be_read_leaves_the_last_one_in_force() {
    let mut state = state(shop(), (160, 24));
    press(&mut state, "/route=/service-1*/{n}/* not route=/service-12/*");
    assert_eq!((state.rows().len(), state.view().wrong.as_ref()), (10, None));
    press(&mut state, " (");
    assert_eq!(state.rows().len(), 10);
    assert!(screen(&state).last().unwrap().contains("nothing stands"));
    press(&mut state, "status>=500)\n");
    assert_eq!((state.rows().len(), state.view().wrong.as_ref()), (10, None), "routes have no status");
    assert!(screen(&state).last().unwrap().contains("does not apply here: (status>=500)"));
}

#[test]
fn the_cursor_stays_on_its_row_and_on_the_screen() {
    let mut state = state(shop(), (80, 24));
    let page = state.page();
    press(&mut state, "k");
    assert_eq!(state.view().selected, 0);
    press(&mut state, "⇟");
    assert_eq!((state.view().selected, state.view().offset), (page, 1));
    press(&mut state, "⇲");
    assert_eq!((state.view().selected, state.view().offset), (59, 60 - page));
    press(&mut state, "⇱j");
    let followed = state.rows()[1].key();
    let mut later = shop();
    later.routes[1].counts.transactions = 1;
    state.show(Arc::new(later));
    assert_eq!(state.rows()[state.view().selected].key(), followed, "it has followed its row to the end");
    assert_eq!(state.view().selected, 59);
    state.show(Arc::new(Snapshot::default()));
    assert_eq!(state.view().selected, 0);
}

#[test]
fn a_paused_screen_stands_still() {
    let mut state = state(shop(), (80, 24));
    press(&mut state, "p");
    state.show(Arc::new(Snapshot::default()));
    assert_eq!(state.rows().len(), 60);
    assert!(screen(&state)[0].contains("PAUSED"));
    press(&mut state, " ");
    state.show(Arc::new(Snapshot::default()));
    assert_eq!(state.rows().len(), 0);
}

#[test]
fn what_is_opened_belongs_to_what_it_was_opened_from() {
    let mut snapshot = shop();
    snapshot.routes[0] = RouteRow {
        host: "shop.example".into(),
        method: "POST".into(),
        route: "/cart/{n}".into(),
        counts: counts(9_999, 0, 1),
    };
    let mut state = state(snapshot, (80, 24));
    press(&mut state, "2\n");
    assert!(matches!(&state.view().list, List::Routes(Some(host)) if host == "host-1.example"));
    assert!(first_column(&state, Field::Host).iter().all(|host| host == "host-1.example"));
    assert_eq!(state.rows().len(), 20);
    press(&mut state, "1\n");
    assert_eq!(first_column(&state, Field::Method), ["POST"; 11]);
    press(&mut state, "\n");
    assert!(matches!(&state.view().list, List::Transaction(row) if row.id == 55));
    press(&mut state, "\n");
    assert_eq!(state.path().len(), 3, "there is no further");
    press(&mut state, "\u{1b}\u{1b}\u{1b}");
    assert_eq!(state.path().len(), 1);
    press(&mut state, "3j\n");
    assert_eq!(state.rows().len(), 14, "those of the second client");
    press(&mut state, "3");
    assert_eq!(state.path().len(), 1, "its number leads back to the pane");
}

#[test]
fn every_way_out_is_known() {
    let mut state = state(shop(), (80, 24));
    let key = |code, modifiers| KeyEvent::new(code, modifiers);
    assert_eq!(state.key(key(KeyCode::Char('q'), KeyModifiers::NONE)), Request::Quit);
    assert_eq!(state.key(key(KeyCode::Char('c'), KeyModifiers::CONTROL)), Request::Quit);
    assert_eq!(state.key(key(KeyCode::Char('z'), KeyModifiers::CONTROL)), Request::Suspend);
    press(&mut state, "/q");
    assert_eq!(state.view().filter, "q");
    assert_eq!(state.key(key(KeyCode::Char('c'), KeyModifiers::CONTROL)), Request::Quit, "also from the filter");
    press(&mut state, "\u{1b}?");
    assert_eq!(state.key(key(KeyCode::Char('q'), KeyModifiers::NONE)), Request::Quit, "also from the help");
}

fn any_key() -> impl Strategy<Value = char> {
    prop::sample::select("jk⇟⇞⇱⇲\n\u{1b}\t\u{8}123456s><r/p ?xya".chars().collect::<Vec<_>>())
}

proptest! {
    /// Whatever is typed, on a terminal of whatever size, whatever is shown: something is drawn, and the cursor is on it.
    #[test]
    fn no_key_and_no_size_breaks_the_screen(
        keys in prop::collection::vec((any_key(), (0_u16..210, 0_u16..60), 0_u8..4), 1..40),
    ) {
        let mut state = State::new(true);
        for (key, size, shows) in keys {
            match shows {
                0 => state.show(Arc::new(Snapshot::default())),
                1 => state.show(Arc::new(hostile())),
                _ => {}
            }
            press(&mut state, &key.to_string());
            state.resize(size);
            prop_assert_eq!(screen(&state).len(), if size.0 == 0 { 0 } else { usize::from(size.1) });
            let (view, rows) = (state.view(), state.rows().len());
            prop_assert!(view.offset <= view.selected && view.selected < view.offset + state.page());
            prop_assert!(view.selected < rows.max(1) || matches!(view.list, List::Transaction(_)));
        }
    }
}
