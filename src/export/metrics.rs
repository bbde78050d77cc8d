//! Metrics are counts and histograms over all transactions, under the names that OpenTelemetry gives them.
//!
//! Every worker has an [`Observer`], which counts for itself and hands over what it has with [`Observer::flush`], once a
//! slot: no transaction costs a lock. Label values come from closed sets; a host becomes one only when that was asked for,
//! and then up to a cap, beyond which it is [`OTHER`]. What is not known is no label, and what was not observed no series.

mod admitted;
mod calls;
mod labels;

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

use self::admitted::{Admission, Admitted};
use self::calls::{Calls, LocalCalls};
pub use self::labels::OTHER;
use self::labels::{OUTCOMES, answer, answer_labels, method, method_label, outcome};
use crate::escape;
use crate::export::consumer::{Consumer, Output};
use crate::export::histogram::{Histograms, LocalHistogram};
use crate::http::filter::{without_port, without_user};
use crate::http::flags::{ALL, Flags};
use crate::http::{Message, TlsConnection, Transaction};

/// Bounds of the time histograms, in seconds. `histogram_quantile` interpolates within a bucket, so its error is at most what
/// the bucket's upper bound exceeds the lower by, whatever is distributed in it:
///
/// - up to 500 us 14 %, by ISO 3's R20, 20 numbers a decade (a factor of 1.25 there may read 100 us as 124);
/// - up to 5 ms factors of 1.25 to 2;
/// - from 5 ms OpenTelemetry's for `http.server.request.duration`, all of them.
pub const SECONDS: [f64; 40] = [
    0.000_05, 0.000_056, 0.000_063, 0.000_071, 0.000_08, 0.000_09, 0.000_1, 0.000_112, 0.000_125, 0.000_14, 0.000_16,
    0.000_18, 0.000_2, 0.000_224, 0.000_25, 0.000_28, 0.000_315, 0.000_355, 0.000_4, 0.000_45, 0.000_5, 0.000_63,
    0.000_8, 0.001, 0.001_5, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Bounds of the size histograms, in bytes. OpenTelemetry has none: powers of four from 64 bytes to 1 GiB.
pub const BYTES: [f64; 14] = [
    0.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// How many values labels may have that the wire or the host decides; the first to come. Without a number there is no such label.
#[derive(Debug, Clone, Copy, Default)]
pub struct LabelCaps {
    /// Hosts: `server_address`.
    pub hosts: Option<usize>,
    /// Routes: `http_route`; and as many methods of gRPC: `rpc_method`.
    pub routes: Option<usize>,
    /// Commands of the servers' processes: `server_process`.
    pub processes: Option<usize>,
}

/// Metrics over all transactions, shared by the workers.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    duration: Histograms,
    first_byte: Histograms,
    request_size: Histograms,
    response_size: Histograms,
    outcomes: Vec<IntCounter>,
    /// By the flag's bit; none where there is no flag.
    flags: Vec<Option<IntCounter>>,
    hosts: Option<Admission>,
    routes: Option<Admission>,
    processes: Option<Admission>,
    /// Operations of other protocols than HTTP.
    operations: IntCounterVec,
    operation_seconds: Histograms,
    calls: Calls,
    /// TLS connections.
    tls: IntCounterVec,
}

impl Metrics {
    /// With labels of so many values.
    ///
    /// # Errors
    /// None in practice: names and bounds are constants, which a test registers.
    pub fn new(LabelCaps { hosts, routes, processes }: LabelCaps) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let mut labels = vec!["http_request_method", "http_response_status_code", "error_type", "url_scheme"];
        if hosts.is_some() {
            labels.push("server_address");
        }
        if routes.is_some() {
            labels.push("http_route");
        }
        if processes.is_some() {
            labels.push("server_process");
        }
        let histogram = |name: &str, help: &str, bounds: &'static [f64]| {
            let histograms = Histograms::new(name, help, &labels, bounds)?;
            registry.register(Box::new(histograms.clone()))?;
            Ok::<_, prometheus::Error>(histograms)
        };
        let duration = histogram(
            "http_server_request_duration_seconds",
            "Time from the first byte of a request to the last of its response.",
            &SECONDS,
        )?;
        let first_byte = histogram(
            "http_server_time_to_first_byte_seconds",
            "Time from the last byte of a request to the first of its response.",
            &SECONDS,
        )?;
        let request_size =
            histogram("http_server_request_body_size_bytes", "Bytes of request bodies on the wire.", &BYTES)?;
        let response_size =
            histogram("http_server_response_body_size_bytes", "Bytes of response bodies on the wire.", &BYTES)?;
        let counter = |name: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let outcome = counter(
            "picotap_transactions_total",
            "Transactions by how they ended; cut: not seen to their end.",
            "outcome",
        )?;
        let operations = IntCounterVec::new(
            Opts::new("picotap_operations_total", "Operations of protocols other than HTTP, by how they ended."),
            &["protocol", "result"],
        )?;
        registry.register(Box::new(operations.clone()))?;
        let tls = IntCounterVec::new(
            Opts::new(
                "picotap_tls_connections_total",
                "TLS connections that have ended, by whether any of it was decrypted, and why not, or not to the end.",
            ),
            &["decrypted", "reason"],
        )?;
        registry.register(Box::new(tls.clone()))?;
        let operation_seconds = Histograms::new(
            "picotap_operation_duration_seconds",
            "Time from the first byte of an operation of another protocol than HTTP to its outcome.",
            &["protocol"],
            &SECONDS,
        )?;
        registry.register(Box::new(operation_seconds.clone()))?;
        let calls = Calls::new(&registry, routes)?;
        let anomaly = counter("picotap_http_anomalies_total", "Transactions by each flag that they bear.", "flag")?;
        let mut flags = vec![None; 64];
        for (flag, name, _) in ALL {
            if let Some(slot) = flag.positions().next().and_then(|bit| flags.get_mut(bit)) {
                *slot = Some(anomaly.with_label_values(&[name]));
            }
        }
        Ok(Self {
            duration,
            first_byte,
            request_size,
            response_size,
            outcomes: OUTCOMES.iter().map(|name| outcome.with_label_values(&[name])).collect(),
            flags,
            operations,
            operation_seconds,
            calls,
            tls,
            hosts: hosts.map(Admission::new),
            routes: routes.map(Admission::new),
            processes: processes.map(Admission::new),
            registry,
        })
    }

    /// Shows what `collector` collects beside them.
    ///
    /// # Errors
    /// If one of its metrics has a name that is taken or is none.
    pub fn register(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        self.registry.register(collector)
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// None in practice: the crate's encoder refuses families without a name, and all have one.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
            // The library wants the same labels of all series of a family. To Prometheus one without a value is none.
            let mut labels = metric.take_label();
            labels.retain(|label| !label.value().is_empty());
            metric.set_label(labels);
        }
        TextEncoder::new().encode_to_string(&families)
    }
}

/// Histograms of one combination of label values, each from the first time that something is observed.
#[derive(Debug)]
struct Series {
    labels: Vec<String>,
    duration: Option<LocalHistogram>,
    first_byte: Option<LocalHistogram>,
    request_size: Option<LocalHistogram>,
    response_size: Option<LocalHistogram>,
    /// Holds what was not handed over.
    touched: bool,
}

/// How operations end.
const RESULTS: [&str; 3] = ["ok", "failed", "no_outcome"];

/// Operations of one protocol.
#[derive(Debug)]
struct Operations {
    protocol: Box<str>,
    /// By result, as in [`RESULTS`].
    results: [u64; RESULTS.len()],
    seconds: LocalHistogram,
}

/// Numbers: of the method and of what it was answered with in the closed sets, of the host, the route and the server's process in the
/// observer's lists; and whether its connection was decrypted.
type Key = (u8, u8, [u16; 3], bool);

/// What one worker counts by itself until it is flushed.
#[derive(Debug)]
pub struct Observer {
    shared: Arc<Metrics>,
    series: Vec<Series>,
    indices: HashMap<Key, usize, foldhash::fast::RandomState>,
    touched: Vec<usize>,
    outcomes: [u64; OUTCOMES.len()],
    flags: [u64; 64],
    operations: Vec<Operations>,
    calls: LocalCalls,
    /// Label values of hosts, of routes and of processes.
    hosts: Admitted,
    routes: Admitted,
    processes: Admitted,
}

impl Observer {
    /// An observer for one worker.
    #[must_use]
    pub fn new(shared: Arc<Metrics>) -> Self {
        Self {
            shared,
            series: Vec::new(),
            indices: HashMap::default(),
            touched: Vec::new(),
            outcomes: [0; OUTCOMES.len()],
            flags: [0; 64],
            operations: Vec::new(),
            calls: LocalCalls::default(),
            hosts: Admitted::default(),
            routes: Admitted::default(),
            processes: Admitted::default(),
        }
    }

    /// Counts an operation of another protocol. There are few protocols: one for each parser module, and SOCKS.
    fn observe_operation(&mut self, protocol: &str, transaction: &Transaction) {
        let known = self.operations.iter().position(|operations| &*operations.protocol == protocol);
        let index = known.unwrap_or_else(|| {
            self.operations.push(Operations {
                protocol: protocol.into(),
                results: [0; RESULTS.len()],
                seconds: self.shared.operation_seconds.local(&[protocol]),
            });
            self.operations.len() - 1
        });
        let Some(operations) = self.operations.get_mut(index) else { return };
        let result = match transaction.response {
            None => 2,
            Some(_) if transaction.flags.intersects(Flags::FAILED) => 1,
            Some(_) => 0,
        };
        if let Some(count) = operations.results.get_mut(result) {
            *count += 1;
        }
        if let Some(duration) = transaction.duration() {
            operations.seconds.observe(duration as f64 / 1e9);
        }
    }

    /// Counts a transaction.
    pub fn observe(&mut self, transaction: &Transaction) {
        if let Some(protocol) = transaction.protocol() {
            return self.observe_operation(protocol, transaction);
        }
        if let Some(count) = self.outcomes.get_mut(outcome(transaction.flags)) {
            *count += 1;
        }
        for bit in transaction.flags.positions() {
            if let Some(count) = self.flags.get_mut(bit) {
                *count += 1;
            }
        }
        self.calls.observe(&self.shared.calls, transaction);
        let time = transaction.duration();
        let body = |message: &Option<Message>| message.as_ref().and_then(Message::body).map(|body| body.wire);
        let (request, response) = (body(&transaction.request), body(&transaction.response));
        if time.is_none() && request.is_none() && response.is_none() {
            return;
        }
        let key = self.key(transaction);
        let index = self.index(key);
        let (shared, series) = (&self.shared, self.series.get_mut(index));
        debug_assert!(series.is_some(), "a key's index is that of its series");
        let Some(Series { labels, duration, first_byte, request_size, response_size, touched }) = series else {
            return;
        };
        let observe = |local: &mut Option<LocalHistogram>, family: &Histograms, value: f64| {
            local.get_or_insert_with(|| family.local(labels)).observe(value);
        };
        let seconds = |nanoseconds: i64| nanoseconds as f64 / 1e9;
        if let Some(time) = time {
            observe(duration, &shared.duration, seconds(time));
        }
        if let Some(time) = transaction.time_to_first_byte() {
            observe(first_byte, &shared.first_byte, seconds(time));
        }
        if let Some(size) = request {
            observe(request_size, &shared.request_size, size as f64);
        }
        if let Some(size) = response {
            observe(response_size, &shared.response_size, size as f64);
        }
        if !std::mem::replace(touched, true) {
            self.touched.push(index);
        }
    }

    /// Hands over what was counted since the last time.
    pub fn flush(&mut self) {
        for index in self.touched.drain(..) {
            if let Some(series) = self.series.get_mut(index) {
                series.touched = false;
                let Series { duration, first_byte, request_size, response_size, .. } = series;
                let all = [duration, first_byte, request_size, response_size];
                all.into_iter().flatten().for_each(|local| local.flush());
            }
        }
        self.calls.flush();
        for Operations { protocol, results, seconds } in &mut self.operations {
            seconds.flush();
            for (count, result) in results.iter_mut().zip(RESULTS).filter(|(count, _)| **count != 0) {
                self.shared.operations.with_label_values(&[protocol, result]).inc_by(std::mem::take(count));
            }
        }
        for (count, shared) in self.outcomes.iter_mut().zip(&self.shared.outcomes) {
            shared.inc_by(std::mem::take(count));
        }
        for (count, shared) in self.flags.iter_mut().zip(&self.shared.flags) {
            if let Some(shared) = shared.as_ref().filter(|_| *count != 0) {
                shared.inc_by(std::mem::take(count));
            }
        }
    }

    fn key(&mut self, transaction: &Transaction) -> Key {
        let Self { shared, hosts, routes, processes, .. } = self;
        let host = shared.hosts.as_ref().map_or(0, |admission| hosts.number(transaction.host(), admission, host_label));
        let route =
            shared.routes.as_ref().map_or(0, |admission| routes.number(transaction.route(), admission, shown_label));
        let process = shared.processes.as_ref().map_or(0, |admission| {
            let command = transaction.server_process().map(|process| &*process.command);
            processes.number(command, admission, shown_label)
        });
        let secure = transaction.scheme().eq_ignore_ascii_case(b"https");
        let numbers = [host, route, process];
        (method(transaction.method()), answer(transaction.status, transaction.flags), numbers, secure)
    }

    /// Index of a key's series.
    fn index(&mut self, key: Key) -> usize {
        if let Some(index) = self.indices.get(&key) {
            return *index;
        }
        let index = self.series.len();
        self.series.push(self.new_series(key));
        self.indices.insert(key, index);
        index
    }

    fn new_series(&self, (method, answer, [host, route, process], secure): Key) -> Series {
        let (status, error) = answer_labels(answer);
        let scheme = if secure { "https" } else { "http" };
        let mut labels = vec![method_label(method).to_owned(), status, error, scheme.to_owned()];
        if self.shared.hosts.is_some() {
            labels.push(self.hosts.value(host).to_owned());
        }
        if self.shared.routes.is_some() {
            labels.push(self.routes.value(route).to_owned());
        }
        if self.shared.processes.is_some() {
            labels.push(self.processes.value(process).to_owned());
        }
        let (duration, first_byte, request_size, response_size) = (None, None, None, None);
        Series { labels, duration, first_byte, request_size, response_size, touched: false }
    }
}

impl Output for Arc<Metrics> {
    fn consumer(&self) -> Box<dyn Consumer> {
        Box::new(Observer::new(Self::clone(self)))
    }
}

impl Consumer for Observer {
    fn transaction(&mut self, transaction: &Transaction) {
        self.observe(transaction);
    }

    // Few, beside their bytes: each costs a lock.
    fn tls(&mut self, connection: &TlsConnection) {
        let fate = connection.fate();
        let decrypted = if fate.decrypted { "true" } else { "false" };
        self.shared.tls.with_label_values(&[decrypted, fate.reason().unwrap_or_default()]).inc();
    }

    fn flush(&mut self, _: bool) {
        Self::flush(self);
    }
}

/// The label value of a host as sent.
fn host_label(host: &[u8]) -> Option<String> {
    let name = String::from_utf8(without_port(without_user(host)).to_ascii_lowercase()).ok()?;
    is_host(&name).then_some(name)
}

/// The label value of a route, of a method of gRPC, or of a command.
fn shown_label(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    escape::shown(text, false, &mut out);
    String::from_utf8(out).ok()
}

/// Whether a text has the form of a host name or an address, so that it is worth a label value.
fn is_host(text: &str) -> bool {
    const LONGEST: usize = 253;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::flag;
    use crate::http::Settings;
    use crate::http::route::Routes;
    use crate::http::test_wire::Wire;
    use crate::process::Process;
    use crate::stream::EndReason;

    fn text(metrics: &Arc<Metrics>, wire: &Wire) -> String {
        let mut observer = Observer::new(Arc::clone(metrics));
        wire.done.iter().for_each(|transaction| observer.observe(transaction));
        observer.flush();
        metrics.text().unwrap()
    }

    fn metrics(cap: Option<usize>) -> Arc<Metrics> {
        Arc::new(Metrics::new(LabelCaps { hosts: cap, ..LabelCaps::default() }).unwrap())
    }

    #[track_caller]
    fn holds(text: &str, line: &str) {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }

    #[test]
    fn a_bucket_of_fast_times_is_narrower_than_15_percent() {
        assert!(SECONDS.is_sorted_by(|a, b| a < b));
        for pair in SECONDS.windows(2) {
            let (factor, most) = (pair[1] / pair[0], if pair[1] <= 0.000_5 { 1.15 } else { 2.5001 });
            assert!(factor > 1.1 && factor < most, "{pair:?}");
        }
        let open_telemetry = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
        assert!(SECONDS.ends_with(&open_telemetry));
    }

    #[test]
    fn times_and_sizes_are_counted_by_method_and_status() {
        let mut wire = Wire::new(Settings::default());
        wire.get(1, "/").wait(20).answer(1, "HTTP/1.1 200 OK", 0).wait(10).end(1, 1, 300, 0);
        wire.ask(2, "FOO / HTTP/1.1", 0).end(0, 2, 5, 0).reply(2, 987, 0);
        let text = text(&metrics(None), &wire);
        let get = r#"http_request_method="GET",http_response_status_code="200",url_scheme="http""#;
        holds(&text, &format!(r#"http_server_request_duration_seconds_bucket{{{get},le="0.025"}} 0"#));
        holds(&text, &format!(r#"http_server_request_duration_seconds_bucket{{{get},le="0.05"}} 1"#));
        holds(&text, &format!("http_server_request_duration_seconds_sum{{{get}}} 0.03"));
        holds(&text, &format!("http_server_time_to_first_byte_seconds_sum{{{get}}} 0.02"));
        holds(&text, &format!("http_server_response_body_size_bytes_sum{{{get}}} 300"));
        let other = r#"http_request_method="_OTHER",http_response_status_code="_OTHER",url_scheme="http""#;
        holds(&text, &format!("http_server_request_body_size_bytes_sum{{{other}}} 5"));
        holds(&text, r#"picotap_transactions_total{outcome="complete"} 2"#);
    }

    #[test]
    fn outcomes_and_flags_are_counted() {
        let mut wire = Wire::new(Settings::default());
        wire.answer(0, "HTTP/1.1 408 Timeout", flag::UNSOLICITED | flag::BARE_LF).end(1, 0, 0, 0);
        wire.get(1, "/").close(EndReason::Reset).get(2, "/").close(EndReason::Capture);
        let text = text(&metrics(None), &wire);
        for line in [
            r#"picotap_transactions_total{outcome="no_request"} 1"#,
            r#"picotap_transactions_total{outcome="no_response"} 1"#,
            r#"picotap_transactions_total{outcome="cut"} 1"#,
            r#"picotap_http_anomalies_total{flag="bare_lf"} 1"#,
            r#"picotap_http_anomalies_total{flag="gap"} 0"#,
        ] {
            holds(&text, line);
        }
    }

    #[test]
    fn what_is_unknown_is_no_label_and_what_was_not_observed_no_series() {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "POST / HTTP/1.1", 0).end(0, 1, 7, 0).close(EndReason::Reset);
        wire.ask(2, "PUT / HTTP/1.1", 0).end(0, 2, 5, 0).close(EndReason::Capture);
        wire.get(3, "/").wait(1).reply(3, 503, 2).answer(0, "HTTP/1.1 408 Timeout", flag::UNSOLICITED).end(1, 0, 9, 0);
        let text = text(&metrics(Some(2)), &wire);
        let sums: Vec<_> = text
            .lines()
            .filter(|line| line.contains("_size_bytes_sum") || line.contains("_duration_seconds_count"))
            .collect();
        let get = r#"error_type="503",http_request_method="GET",http_response_status_code="503",server_address="example.com",url_scheme="http""#;
        let wanted = [
            r#"http_server_request_body_size_bytes_sum{http_request_method="PUT",url_scheme="http"} 5"#.to_owned(),
            format!("http_server_request_body_size_bytes_sum{{{get}}} 0"),
            r#"http_server_request_body_size_bytes_sum{error_type="reset",http_request_method="POST",url_scheme="http"} 7"#.to_owned(),
            format!("http_server_request_duration_seconds_count{{{get}}} 1"),
            r#"http_server_response_body_size_bytes_sum{http_request_method="_OTHER",http_response_status_code="408",url_scheme="http"} 9"#.to_owned(),
            format!("http_server_response_body_size_bytes_sum{{{get}}} 2"),
        ];
        assert_eq!(sums, wanted);
        assert!(!text.contains("=\"\""), "{text}");
    }

    #[test]
    fn hosts_become_labels_up_to_the_cap_for_all_workers_together() {
        let metrics = metrics(Some(2));
        let mut wire = Wire::new(Settings::default());
        let hosts = ["A.example:80", "a.EXAMPLE", "b.example", "c.example", "bad host", "a.example"];
        for (number, host) in (1..).zip(hosts) {
            wire.ask(number, format!("GET / HTTP/1.1\nHost: {host}"), 0).end(0, number, 0, 0).reply(number, 200, 0);
        }
        text(&metrics, &wire);
        let text = text(&metrics, &wire);
        let count = |host: &str| {
            format!(
                r#"http_server_request_duration_seconds_count{{http_request_method="GET",http_response_status_code="200",server_address="{host}",url_scheme="http"}}"#
            )
        };
        holds(&text, &(count("a.example") + " 6"));
        holds(&text, &(count("b.example") + " 2"));
        holds(&text, &(count(OTHER) + " 4"));
        assert!(!text.contains("c.example") && !text.contains("bad host"));
    }

    #[test]
    fn routes_become_labels_up_to_their_cap() {
        let metrics = Arc::new(Metrics::new(LabelCaps { routes: Some(2), ..LabelCaps::default() }).unwrap());
        let mut wire = Wire::new(Settings { routes: Some(Routes::default()), ..Settings::default() });
        for (number, target) in (1..).zip(["/a/1", "/a/2?x", "/b", "/c", "/d/\u{1}"]) {
            wire.get(number, target).reply(number, 200, 0);
        }
        let text = text(&metrics, &wire);
        let count = |route: &str| {
            let of_all = text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
            let of_route = of_all.filter(|line| line.contains(&format!("http_route=\"{route}\"")));
            of_route.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
        };
        assert_eq!(["/a/{n}", "/b", OTHER].map(count), [2, 1, 2]);
        assert!(!text.contains("/c") && !text.contains("/d"));
    }

    #[test]
    fn commands_of_servers_become_labels_up_to_their_cap() {
        let metrics = Arc::new(Metrics::new(LabelCaps { processes: Some(2), ..LabelCaps::default() }).unwrap());
        let mut wire = Wire::new(Settings::default());
        let commands: [Option<&[u8]>; 6] =
            [Some(b"nginx"), Some(b"a\xff"), Some(b"nginx"), Some(b"node"), Some(b"java"), None];
        for (number, command) in (1..).zip(commands) {
            wire.get(number, "/").reply(number, 200, 0);
            let process =
                |command: &[u8]| Process { pid: Some(7), command: command.into(), container: None, pod: None };
            let processes = [None, command.map(|command| Arc::new(process(command)))];
            wire.done.last_mut().unwrap().processes = processes;
        }
        let text = text(&metrics, &wire);
        let counts: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("http_server_request_duration_seconds_count"))
            .map(|line| {
                let process =
                    line.split_once("server_process=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap());
                (process.to_owned(), line.rsplit(' ').next().unwrap().to_owned())
            })
            .collect();
        for (process, count) in [("nginx", "2"), (r"a\\xff", "1"), (OTHER, "2"), ("", "1")] {
            assert!(counts.contains(&(process.to_owned(), count.to_owned())), "{process}: {counts:?}");
        }
        assert_eq!(counts.len(), 4);
    }

    #[test]
    fn nothing_is_counted_twice_by_flushing() {
        let metrics = metrics(None);
        let mut wire = Wire::new(Settings::default());
        wire.get(1, "/").reply(1, 200, 0);
        let mut observer = Observer::new(Arc::clone(&metrics));
        observer.observe(wire.last());
        observer.flush();
        observer.flush();
        holds(&metrics.text().unwrap(), r#"picotap_transactions_total{outcome="complete"} 1"#);
    }
}
