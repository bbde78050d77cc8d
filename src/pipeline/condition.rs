//! The condition of a run: what its counters say about the capture, for people.
//!
//! Every family of counters appears by itself, in the group that its name says. What is lost is named here, so that it is shown
//! also while nothing is, and with its level once something is.

use crate::counters::{Family, Kind, Tally};
use crate::view::{HealthItem, Level};

/// Counters of what is lost: family, and value of its label where not all of them are losses.
const LOST: &[(&str, &str)] = &[
    ("picotap_capture_dropped_packets_total", ""),
    ("picotap_capture_interface_dropped_packets_total", ""),
    ("picotap_gap_bytes_total", ""),
    ("picotap_cut_packets_total", ""),
    ("picotap_cut_bytes_total", ""),
    ("picotap_dropped_slots_total", ""),
    ("picotap_evicted_connections_total", ""),
    ("picotap_transaction_overflows_total", ""),
    ("picotap_log_lost_lines_total", ""),
    ("picotap_log_lost_bytes_total", ""),
    ("picotap_log_write_errors_total", ""),
    ("picotap_quarantine_lost_events_total", ""),
    ("picotap_payload_bytes_total", "queue_full"),
    ("picotap_payload_bytes_total", "backed_off"),
    ("picotap_payload_bytes_total", "no_memory"),
    ("picotap_payload_bytes_total", "quarantined"),
    ("picotap_payload_bytes_total", "ignored_connection"),
];

/// Counters of faults of a parser.
const FAULTS: &[&str] = &[
    "picotap_sandbox_faults_total",
    "picotap_sandbox_failed_calls_total",
    "picotap_quarantined_events_total",
    "picotap_shadow_faults_total",
];

const QUEUE_LENGTH: &str = "picotap_queue_length";
const QUEUE_CAPACITY: &str = "picotap_queue_capacity";
const INTERFACE_UP: &str = "picotap_capture_interface_up";
/// Not about the capture.
const NOT_SHOWN: &[&str] = &[QUEUE_CAPACITY, "process_start_time_seconds"];

/// Every counter that is not zero, and those of [`LOST`], of faults, of queues and of the ledger in any case.
pub(super) fn items(tally: &Tally) -> Vec<HealthItem> {
    let mut items = Vec::new();
    for (family, counts) in tally.families().iter().filter(|(family, _)| !NOT_SHOWN.contains(&family.name)) {
        for (label, count) in counts {
            let item = item(tally, family, label, *count);
            if *count != 0 || is_shown_at_zero(family, label) {
                items.push(item);
            }
        }
    }
    items
}

fn is_shown_at_zero(family: &Family, label: &str) -> bool {
    let name = family.name;
    // Of those with many reasons only what has happened.
    let whole = family.label.is_empty() || family.label == "interface";
    let always = name.starts_with("picotap_ledger_") || name == QUEUE_LENGTH || name == INTERFACE_UP;
    always || whole && (is_lost(name, label) || FAULTS.contains(&name))
}

fn is_lost(name: &str, label: &str) -> bool {
    LOST.iter().any(|(lost, value)| *lost == name && (value.is_empty() || *value == label))
}

fn item(tally: &Tally, family: &'static Family, label: &str, count: u64) -> HealthItem {
    let name = family.name;
    let of = (name == QUEUE_LENGTH).then(|| capacity(tally, label)).flatten();
    HealthItem {
        group: group(name, label),
        name: family.title.to_owned(),
        label: label.to_owned(),
        value: if family.kind == Kind::Seconds { count / 1_000_000 } else { count },
        unit: unit(family),
        of,
        level: level(name, label, count, of),
        metric: name,
    }
}

fn capacity(tally: &Tally, queue: &str) -> Option<u64> {
    let (_, counts) = tally.families().iter().find(|(family, _)| family.name == QUEUE_CAPACITY)?;
    counts.iter().find(|(label, _)| label == queue).map(|(_, count)| *count)
}

fn level(name: &str, label: &str, count: u64, of: Option<u64>) -> Level {
    match count {
        0 if name == INTERFACE_UP => Level::Error,
        0 => Level::Ok,
        _ if name.starts_with("picotap_ledger_") || FAULTS.contains(&name) => Level::Error,
        _ if is_lost(name, label) => Level::Warning,
        // Four fifths: what comes next may not fit.
        _ if of.is_some_and(|of| count.saturating_mul(5) >= of.saturating_mul(4)) => Level::Warning,
        _ => Level::Ok,
    }
}

fn group(name: &str, label: &str) -> &'static str {
    let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    match name {
        _ if is_lost(name, label) => "lost",
        _ if begins(&["picotap_queue", "picotap_slot", "picotap_held", "picotap_unsent", "picotap_capture_wait"]) => {
            "queues"
        }
        _ if begins(&[
            "picotap_sandbox",
            "picotap_shadow",
            "picotap_parser",
            "picotap_quarantine",
            "picotap_not_http",
        ]) =>
        {
            "parser"
        }
        _ if begins(&["picotap_ledger", "picotap_payload", "picotap_captured_payload"]) => "ledger",
        _ => "capture",
    }
}

fn unit(family: &Family) -> &'static str {
    let name = family.name.strip_suffix("_total").unwrap_or(family.name);
    let ends = |end: &str| name.ends_with(end);
    match family.kind {
        Kind::Seconds => "ms",
        _ if ends("_bytes") => "bytes",
        _ if ends("_packets") => "frames",
        _ if ends("_slots") || family.name == QUEUE_LENGTH => "slots",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{PAYLOAD, families};
    use crate::pipeline::ledger::Ledger;
    use crate::pipeline::scrape;
    use crate::source::live::LiveStats;

    families! {
        WAITED = Seconds "picotap_new_seconds_total" [] "time on something new", "New.";
    }

    fn tally() -> Tally {
        let mut tally = Tally::default();
        Ledger::default().visit(&mut |family, value, count| tally.add(family, value, count));
        LiveStats::default().visit("eth0", &mut |family, value, count| tally.add(family, value, count));
        tally
    }

    #[test]
    fn every_loss_and_fault_is_a_counter_that_there_is() {
        let all = scrape::all();
        let known = |name: &str| all.iter().any(|family| family.name() == name);
        for name in
            LOST.iter().map(|(name, _)| name).chain(FAULTS).chain(NOT_SHOWN).chain(&[QUEUE_LENGTH, INTERFACE_UP])
        {
            assert!(known(name), "{name}");
        }
        let accounts: Vec<_> = tally()
            .families()
            .iter()
            .filter(|(family, _)| family.label == "account")
            .flat_map(|(_, counts)| counts.clone())
            .collect();
        for (_, label) in LOST.iter().filter(|(_, label)| !label.is_empty()) {
            assert!(accounts.iter().any(|(account, _)| account == label), "{label}");
        }
    }

    #[test]
    fn a_run_that_goes_well_shows_that_nothing_is_lost() {
        let items = items(&tally());
        assert!(items.iter().all(|item| item.level == Level::Ok && item.value == 0));
        for name in ["packets dropped by the kernel", "payload bytes without an account", "bytes never seen (gaps)"] {
            assert!(items.iter().any(|item| item.name == name), "{name}");
        }
        assert!(items.iter().all(|item| item.group != "capture"), "{items:?}");
    }

    #[test]
    fn what_happened_has_its_level_group_and_unit() {
        let mut tally = tally();
        tally.add(&PAYLOAD, "parsed", 5);
        tally.add(&PAYLOAD, "queue_full", 6);
        tally.add(&WAITED, "", 7_000_000);
        tally.add(&scrape::QUEUE_LENGTH, "slots-0", 8);
        tally.add(&scrape::QUEUE_CAPACITY, "slots-0", 10);
        tally.add(&scrape::INTERFACE_UP, "eth0", 0);
        let ledger = Ledger {
            sandbox: crate::sandbox::driver::SandboxCounters { faults: 1, ..Default::default() },
            ..Ledger::default()
        };
        ledger.visit(&mut |family, value, count| tally.add(family, value, count));
        let items = items(&tally);
        let found = |name: &str, label: &str| {
            let item = items.iter().find(|item| item.name == name && item.label == label).unwrap();
            (item.group, item.value, item.unit, item.level, item.of)
        };
        let title = PAYLOAD.title;
        assert_eq!(found(title, "parsed"), ("ledger", 5, "bytes", Level::Ok, None));
        assert_eq!(found(title, "queue_full"), ("lost", 6, "bytes", Level::Warning, None));
        assert_eq!(found(WAITED.title, ""), ("capture", 7, "ms", Level::Ok, None));
        assert_eq!(found("slots waiting", "slots-0"), ("queues", 8, "slots", Level::Warning, Some(10)));
        assert_eq!(found("interfaces up", "eth0"), ("capture", 0, "", Level::Error, None));
        assert_eq!(found("sandbox faults", ""), ("parser", 1, "", Level::Error, None));
        assert!(!items.iter().any(|item| item.name == "room for slots"));
    }
}
