use proptest::prelude::*;

use super::*;
use crate::http::route::Routes;
use crate::http::test_wire::Wire;
use crate::http::{Settings, Transaction};
use crate::stream::EndReason;

const SECOND: i64 = 1_000_000_000;

fn wire() -> Wire {
    Wire::new(Settings { routes: Some(Routes::default()), headers: vec!["x-a".to_owned()], ..Settings::default() })
}

/// Transactions of different hosts, routes, times and outcomes. Each: host, target, milliseconds, status (0: none).
fn transactions(of: &[(u8, u16, i64, u16)]) -> Vec<Transaction> {
    let mut wire = wire();
    for (number, (host, target, millis, status)) in (1..).zip(of) {
        wire.ask(number, format!("GET /{target}/x HTTP/1.1\nHost: h{host}"), 0).end(0, number, 3, 0).wait(*millis);
        match status {
            0 => wire.close(EndReason::Reset),
            status => wire.reply(number, *status, 10),
        };
    }
    wire.done
}

fn show(parts: &[&[Transaction]], began: Option<i64>, now: i64) -> Snapshot {
    let view = View::new("x.pcap".to_owned(), began, InterfaceNames::default());
    for part in parts {
        let mut consumer = view.consumer();
        part.iter().for_each(|transaction| consumer.transaction(transaction));
        consumer.flush(false);
        consumer.close();
    }
    view.snapshot(now)
}

fn json(snapshot: &Snapshot) -> String {
    serde_json::to_string(snapshot).unwrap()
}

#[test]
fn everything_is_shown_of_a_few_transactions() {
    let snapshot = show(&[&transactions(&[(1, 7, 10, 200), (1, 8, 2000, 503), (2, 9, 5, 404)])], None, 0);
    assert_eq!((snapshot.transactions, snapshot.left_out, snapshot.live), (3, 0, false));
    assert_eq!(
        snapshot.hosts.iter().map(|row| (&*row.host, row.counts.transactions)).collect::<Vec<_>>(),
        [("h1", 2), ("h2", 1)]
    );
    let route = &snapshot.routes[0];
    assert_eq!((&*route.host, &*route.method, &*route.route), ("h1", "GET", "/{n}/x"));
    assert_eq!(
        (route.counts.transactions, route.counts.server_errors, route.counts.times.max),
        (2, 1, Some(2_000_000))
    );
    assert_eq!(snapshot.pairs.len(), 1);
    assert_eq!((snapshot.total.transactions, snapshot.total.client_errors, snapshot.total.server_errors), (3, 1, 1));
    assert_eq!((snapshot.seconds.len(), snapshot.step), (3, 1));
    assert_eq!(snapshot.recent.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2, 3]);
    let slowest = &snapshot.slowest[0];
    assert_eq!((slowest.duration, slowest.status, slowest.failed), (Some(2_000_000), Some(503), true));
    assert_eq!((slowest.route.as_deref(), slowest.wait_time), (Some("/{n}/x"), Some(2_000_000)));
    assert_eq!(snapshot.began, slowest.time - 10_000);
}

#[test]
fn of_nothing_nothing_is_shown() {
    let snapshot = show(&[], None, 0);
    assert!(snapshot.seconds.is_empty() && snapshot.hosts.is_empty() && snapshot.total.times.max.is_none());
}

#[test]
fn what_was_seen_is_not_told_again() {
    let all = transactions(&(0..40).map(|at| (1, at, 400, 200)).collect::<Vec<_>>());
    let began = all[0].time();
    let view = View::new("eth0".to_owned(), Some(began), InterfaceNames::default());
    let mut consumer = view.consumer();
    let (first, rest) = all.split_at(20);
    first.iter().for_each(|transaction| consumer.transaction(transaction));
    consumer.flush(false);
    let now = began + 9 * SECOND;
    let (whole, seen) = view.since(now, None);
    assert_eq!((whole.recent.len(), whole.seconds.len()), (20, 10));
    rest.iter().for_each(|transaction| consumer.transaction(transaction));
    consumer.flush(false);
    let (update, seen) = view.since(now + 8 * SECOND, Some(seen));
    assert_eq!(update.recent.iter().map(|row| row.id).collect::<Vec<_>>(), (21..=40).collect::<Vec<_>>());
    assert_eq!((update.transactions, update.hosts[0].counts.transactions), (40, 40));
    assert_eq!(
        update.seconds.len(),
        10,
        "those after the last that was seen, and that one and the one before, which changed"
    );
    let (nothing, _) = view.since(now + 8 * SECOND, Some(seen));
    assert_eq!((nothing.recent.len(), nothing.seconds.len()), (0, 1));
}

#[test]
fn a_worker_in_the_middle_of_a_slot_holds_nobody_up() {
    let all = transactions(&[(1, 1, 1, 200), (1, 1, 1, 200)]);
    let view = View::new("eth0".to_owned(), Some(0), InterfaceNames::default());
    let mut consumer = view.consumer();
    consumer.transaction(&all[0]);
    assert_eq!(view.snapshot(0).transactions, 0);
    consumer.flush(true);
    assert_eq!(view.snapshot(0).transactions, 1);
    consumer.transaction(&all[1]);
    // A worker that dies, too, leaves what it has counted.
    drop(consumer);
    assert_eq!(view.snapshot(0).transactions, 2);
}

#[test]
fn live_the_tables_forget() {
    let one = transactions(&[(1, 1, 1, 200)]);
    let began = one[0].time();
    let view = View::new("eth0".to_owned(), Some(began), InterfaceNames::default());
    let mut consumer = view.consumer();
    consumer.transaction(&one[0]);
    consumer.flush(false);
    for (minutes, hosts, seconds) in [(1, 1, 61), (9, 1, 541), (10, 1, 601), (14, 1, 841), (16, 0, 900), (60, 0, 900)] {
        let snapshot = view.snapshot(began + minutes * 60 * SECOND);
        assert_eq!((snapshot.hosts.len(), snapshot.seconds.len()), (hosts, seconds), "{minutes}");
        assert_eq!((snapshot.slowest.len(), snapshot.recent.len(), snapshot.transactions), (hosts, 1, 1));
    }
}

#[test]
fn under_load_errors_and_slow_ones_come_first() {
    let many: Vec<_> = (0..6000_u16).map(|at| (1, at % 3, 0, if at % 50 == 0 { 500 } else { 200 })).collect();
    let all = transactions(&many);
    let view = View::new("x.pcap".to_owned(), None, InterfaceNames::default());
    let mut consumer = view.consumer();
    all.iter().for_each(|transaction| consumer.transaction(transaction));
    consumer.close();
    let snapshot = view.snapshot(0);
    assert_eq!(snapshot.recent.len(), 1000);
    assert_eq!(snapshot.transactions, 6000);
    let kept = 6000 - snapshot.left_out;
    assert_eq!(kept, 1000 + 120 + 49, "a thousand, each error, and each of the first fifty that is none");
    let errors = snapshot.recent.iter().filter(|row| row.failed).count();
    assert!(errors > 115, "{errors}");
}

/// Requests with long names of everything, none like another.
fn hostile(count: u32) -> Vec<Transaction> {
    let mut wire = wire();
    for number in 1..=count {
        let long = "y".repeat(5000);
        let headers = "X-A: ".to_owned() + &"z".repeat(900) + "\n";
        let head = format!(
            "{number}METHOD{long} /a{number}b/{long}/\u{1}<script>{}/{long} HTTP/1.1\nHost: {number}<b>{long}\n{}",
            "x/".repeat(3000),
            headers.repeat(20)
        );
        wire.ask(number, head.trim_end(), 0).end(0, number, 1 << 40, 0).wait(i64::from(number) % 97 * 1009);
        wire.reply(number, 500, 1 << 40);
        let done = wire.done.last_mut().unwrap();
        let [_, second, third, fourth] = number.to_be_bytes();
        done.client.ip = [10, second, third, fourth].into();
        done.conn = u64::from(number);
    }
    wire.done
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let all = hostile(3000);
    let view = View::new("x.pcap".to_owned(), None, InterfaceNames::default());
    let mut consumer = view.consumer();
    for transaction in &all {
        consumer.transaction(transaction);
        consumer.flush(false);
    }
    let seats = lock(&view.seats).clone();
    let part = lock(&seats[0].part).as_ref().unwrap().size();
    assert!((part as u64) < MEMORY[1], "{part}");
    let snapshot = view.snapshot(0);
    assert_eq!([snapshot.hosts.len(), snapshot.routes.len(), snapshot.pairs.len()], [256, 1024, 512]);
    assert_eq!(snapshot.beyond, [3000 - 256, 3000 - 1024, 3000 - 512]);
    assert!(snapshot.seconds.len() <= 900 && snapshot.recent.len() <= 1000 && snapshot.slowest.len() == 50);
    let model = lock(&view.model).size();
    assert!((model as u64) < MEMORY[0] / 2, "{model}");
    let text = json(&snapshot);
    assert!(text.len() < 16 << 20, "{}", text.len());
    assert!(
        !text.contains('\u{1}') && text.contains("\\\\x01<script>"),
        "control characters are escaped as in the text log"
    );
}

#[test]
fn memory_is_bounded_for_all_rows_with_all_durations() {
    let hasher = RandomState::default();
    let mut part = Part::new(hasher.clone(), true);
    let many: Vec<_> = (0..255).map(|at| (at, u16::from(at), 0, 200)).collect();
    let all = transactions(&many);
    for transaction in &all {
        for power in 0..40 {
            let mut facts = facts::Facts::of(transaction);
            facts.duration = Some(1 << power);
            facts.bucket = histogram::bucket(1 << power);
            part.tables.add(transaction, &facts, &hasher);
        }
    }
    let rows = 255 * 2 + 1;
    assert!(part.tables.size() > rows * 1800);
    let whole = part.tables.size() * (tables::HOSTS + tables::ROUTES + tables::PAIRS) / rows;
    assert!((whole as u64 + 818 * 6000) < MEMORY[1], "{whole}");
    assert!(3 * whole as u64 + 900 * 2000 + (10 << 20) < MEMORY[0], "{whole}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn two_workers_count_as_one(
        many in proptest::collection::vec((0u8..5, 0u16..9, 0i64..700_000, prop_oneof![Just(200u16), Just(404), Just(500), Just(0)]), 0..60),
        split in 0usize..60,
        live: bool,
    ) {
        // Live, no more time than one generation.
        let limit = if live { 4000 } else { i64::MAX };
        let many: Vec<_> = many.into_iter().map(|(host, target, millis, status)| (host, target, millis % limit + 1, status)).collect();
        let all = transactions(&many);
        let (one, other) = all.split_at(split.min(all.len()));
        let began = live.then_some(1_767_323_000 * SECOND);
        let now = 1_767_323_000 * SECOND + 800 * SECOND;
        let whole = show(&[&all], began, now);
        let parts = show(&[one, other], began, now);
        let sorted = |mut snapshot: Snapshot| {
            // Rows with as many transactions are in any order.
            snapshot.hosts.sort_by(|a, b| a.host.cmp(&b.host));
            snapshot.routes.sort_by(|a, b| (&a.host, &a.route).cmp(&(&b.host, &b.route)));
            json(&snapshot)
        };
        prop_assert_eq!(sorted(whole), sorted(parts));
    }
}
