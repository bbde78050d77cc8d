//! A scrape: picotap's own counters and those over transactions, as Prometheus reads them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::ledger::Ledger;
use super::shared::Shared;
use crate::clock::now;
use crate::counters::{Tally, families};
use crate::daemon::health::Health;
use crate::export::families::{descriptions, info, metric_families};
use crate::export::metrics::Metrics;
use crate::export::process;
use crate::export::server::{EndpointCounters, Feed, Pages};
use crate::source::live::LiveStats;

families! {
    QUEUE_LENGTH = Gauge "picotap_queue_length" ["queue"] "slots waiting", "Slots that wait in a queue.";
    QUEUE_CAPACITY = Gauge "picotap_queue_capacity" ["queue"] "room for slots", "Slots that a queue may hold.";
    SWAPS = Counter "picotap_parser_swaps_total" ["result"] "changes of parsers", "Attempts to put another parser in place.";
    HTTP_LATE = Counter "picotap_http_late_updates_total" [] "updates that a page missed", "Updates that clients of /events missed since they had not taken those before.";
    HTTP_TURNED_AWAY = Counter "picotap_http_turned_away_total" [] "pages turned away", "Clients of /events that were turned away because there were as many as there may be.";
    HTTP_REFUSED = Counter "picotap_http_refused_connections_total" [] "endpoint connections closed", "Connections to this endpoint that were closed because newer ones came.";
    INTERFACE_UP = Gauge "picotap_capture_interface_up" ["interface"] "interfaces up", "Whether the interface delivers: 1, or 0 while it is down or away.";
    HELD_SECRETS = Gauge "picotap_tls_held_secrets" [] "TLS secrets held", "TLS secrets that are held now.";
    DECRYPTS = Gauge "picotap_tls_decrypts" [] "runs that decrypt", "Whether TLS can be decrypted, by a key log, by probes, or by secrets in a capture file: 1, or 0.";
    PROCESS_ENDS = Counter "picotap_process_lookups_total" ["outcome"] "ends of connections looked up", "Ends of connections whose process the helper looked for, by what became of it.";
    PROCESS_CONNECTS = Counter "picotap_process_connects_total" ["result"] "processes that connected", "Connections that processes of this host opened, as the kernel tells: seen, or lost because there was no room.";
    PROCESS_LISTENERS = Gauge "picotap_process_listeners" [] "endpoints with a known process", "Endpoints at which it is known which process listens.";
    PROCESS_LATE = Counter "picotap_process_late_answers_total" [] "answers that no worker took", "Answers about processes that were dropped because a worker took none for too long.";
    HELPER_ENDED = Counter "picotap_helper_ended_total" [] "ends of the helper process", "Times that the helper process ended although nobody asked it to.";
    START_TIME = Gauge "process_start_time_seconds" [] "start", "Start of the process, seconds since the Unix epoch.";
}

/// Name and help of the metrics whose labels are their value.
const BUILD_INFO: (&str, &str) = ("picotap_build_info", "What is running; always 1.");
const PARSER_INFO: (&str, &str) = ("picotap_parser_info", "The parser in charge of each protocol; always 1.");

/// Answers scrapes.
pub struct Scrape {
    /// Counters of the threads.
    pub shared: Arc<Shared>,
    /// Metrics over transactions, in which [`Samples`] are registered.
    pub metrics: Arc<Metrics>,
}

impl Scrape {
    /// The text of a scrape.
    ///
    /// # Errors
    /// See [`Metrics::text`].
    pub fn text(&self) -> Result<String, String> {
        self.metrics.text().map_err(|e| e.to_string())
    }
}

/// The pages of a run that may still be starting: health is answered at once, a scrape only after `scrape` is set. `feed`: the
/// page for people, if it is served.
#[must_use]
pub fn pages(health: &Arc<Health>, scrape: &Arc<OnceLock<Scrape>>, feed: Option<Feed>) -> Pages {
    let (alive, ready) = (Arc::clone(health), Arc::clone(health));
    let (metrics, interfaces) = (Arc::clone(scrape), Arc::clone(scrape));
    let interfaces = move || interfaces.get().map(|scrape| scrape.shared.interfaces()).unwrap_or_default();
    Pages {
        metrics: Box::new(move || metrics.get().map(Scrape::text)),
        healthy: Box::new(move || alive.alive(now())),
        ready: Box::new(move || ready.ready(now(), &interfaces())),
        feed,
    }
}

/// Everything that picotap counts about itself.
pub struct Samples {
    shared: Arc<Shared>,
    /// Wall-clock time at which the process started, in seconds.
    started: u64,
    /// Slots that a queue may hold.
    capacity: usize,
    /// What the endpoint counts.
    endpoint: EndpointCounters,
    descriptions: Vec<Desc>,
}

impl Samples {
    /// `started`: wall-clock time, in seconds. `capacity`: slots that a queue may hold. `endpoint`: what the endpoint
    /// counts.
    #[must_use]
    pub fn new(shared: Arc<Shared>, started: u64, capacity: usize, endpoint: EndpointCounters) -> Self {
        Self { shared, started, capacity, endpoint, descriptions: descriptions(&all()) }
    }

    /// All counters as they stand.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let shared = &self.shared;
        let mut tally = Tally::default();
        let mut add = |family, value: &str, count| tally.add(family, value, count);
        shared.ledger().visit(&mut add);
        for capture in shared.captures() {
            if let Some(interface) = &capture.interface {
                capture.live.visit(interface, &mut add);
            }
        }
        for (interface, down) in shared.interfaces() {
            add(&INTERFACE_UP, &interface, u64::from(!down));
        }
        for (index, queued) in shared.queued().enumerate() {
            let queue = format!("slots-{index}");
            add(&QUEUE_LENGTH, &queue, queued as u64);
            add(&QUEUE_CAPACITY, &queue, self.capacity as u64);
        }
        for (name, count) in ["done", "refused", "rolled_back"].iter().zip(&shared.swaps) {
            add(&SWAPS, name, count.load(Ordering::Relaxed));
        }
        let EndpointCounters { refused, late, turned_away } = &self.endpoint;
        for (family, count) in [(&HTTP_REFUSED, refused), (&HTTP_LATE, late), (&HTTP_TURNED_AWAY, turned_away)] {
            add(family, "", count.load(Ordering::Relaxed));
        }
        if let Some(directory) = &shared.directory {
            for (outcome, count) in directory.outcomes() {
                add(&PROCESS_ENDS, outcome.name(), count);
            }
            let (seen, lost) = directory.connects();
            add(&PROCESS_CONNECTS, "seen", seen);
            add(&PROCESS_CONNECTS, "lost", lost);
            add(&PROCESS_LISTENERS, "", directory.listeners() as u64);
            add(&PROCESS_LATE, "", directory.dropped());
        }
        add(&HELPER_ENDED, "", shared.helper_ended.load(Ordering::Relaxed));
        add(&HELD_SECRETS, "", shared.held_secrets() as u64);
        add(&DECRYPTS, "", u64::from(shared.decrypts()));
        add(&START_TIME, "", self.started);
        tally
    }
}

/// Every metric that picotap has about itself, at zero.
#[must_use]
pub fn all() -> Vec<MetricFamily> {
    let mut tally = Tally::default();
    Ledger::default().visit(&mut |family, value, count| tally.add(family, value, count));
    LiveStats::default().visit("", &mut |family, value, count| tally.add(family, value, count));
    for family in [
        &QUEUE_LENGTH,
        &QUEUE_CAPACITY,
        &SWAPS,
        &HTTP_REFUSED,
        &HTTP_LATE,
        &HTTP_TURNED_AWAY,
        &INTERFACE_UP,
        &HELD_SECRETS,
        &DECRYPTS,
        &START_TIME,
        &PROCESS_ENDS,
        &PROCESS_CONNECTS,
        &PROCESS_LISTENERS,
        &PROCESS_LATE,
        &HELPER_ENDED,
    ] {
        tally.add(family, "", 0);
    }
    let mut families = metric_families(&tally);
    families.extend([build_info(), parser_info(&[["", "", ""]])]);
    families.extend(process::now());
    families
}

fn build_info() -> MetricFamily {
    let revision = option_env!("PICOTAP_REVISION").unwrap_or("unknown");
    info(BUILD_INFO, &[&[("version", env!("CARGO_PKG_VERSION")), ("revision", revision)]])
}

/// Of each parser in charge: its protocol, its hash, and its version of the contract.
fn parser_info(parsers: &[[&str; 3]]) -> MetricFamily {
    let labels =
        parsers.iter().map(|[protocol, sha256, abi]| [("protocol", *protocol), ("sha256", sha256), ("abi", abi)]);
    let labels: Vec<_> = labels.collect();
    info(PARSER_INFO, &labels.iter().map(|labels| &labels[..]).collect::<Vec<_>>())
}

impl Collector for Samples {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = metric_families(&self.tally());
        let parsers = self.shared.parsers();
        let versions: Vec<String> = parsers.iter().map(|parser| parser.abi_version.to_string()).collect();
        let parsers = parsers.iter().zip(&versions);
        let parsers = parsers.map(|(parser, abi)| [parser.format.protocol.name(), &parser.sha256, abi]);
        families.extend([build_info(), parser_info(&parsers.collect::<Vec<_>>())]);
        families.extend(process::now());
        families
    }
}
