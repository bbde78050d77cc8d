//! What Prometheus and people get from the HTTP endpoint, judged by promtool and curl.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failing test may panic")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use picotap::abi::{Framing, flag};
use picotap::export::families::descriptions;
use picotap::export::metrics::{LabelCaps, Metrics, Observer};
use picotap::export::server::{self, Pages, Server};
use picotap::http::record::{Headers, Kind, Moment, Record, Request, Response, Texts};
use picotap::http::{Exchange, HttpContext, Settings};
use picotap::pipeline::scrape;
use picotap::stream::EndReason;
use picotap::stream::{Connection, Endpoint, Opener};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

/// Metrics that have counted transactions of every kind, with the host label.
fn metrics() -> Arc<Metrics> {
    let metrics = Arc::new(Metrics::new(LabelCaps { hosts: Some(2), routes: Some(2), processes: Some(2) }).unwrap());
    let mut observer = Observer::new(Arc::clone(&metrics));
    let mut context = HttpContext::new(Settings::default());
    let endpoint = |port| Endpoint { ip: [10, 0, 0, 1].into(), port };
    let connection = Connection {
        handle: 0,
        producer: 0,
        number: 1,
        endpoints: [endpoint(4321), endpoint(80)],
        opener: Opener::First,
        midstream: false,
        started: 0,
        interface: 0,
        secured: false,
    };
    let mut exchange = Exchange::default();
    for number in 1..20 {
        let at = Moment { offset: u64::from(number) * 100, time: i64::from(number) * 1_000_000 };
        let record = |side, flags, kind| Record { stream: 0, side, flags, start: at, end: at, peer_acked: None, kind };
        let headers = Headers::new(Texts { event: b"HostHost-\"\\\n", area: &[] }, &[]);
        let request = Request {
            number,
            method: if number % 2 == 0 { b"GET" } else { b"\"\\\n" },
            target: b"/",
            minor: 1,
            framing: Framing::None,
            content_length: 0,
            headers,
        };
        let status = 200 + 40 * u16::try_from(number).unwrap();
        let response =
            Response { number, status, reason: b"", minor: 1, framing: Framing::Length, content_length: 0, headers };
        let end = Kind::End { number, wire: 10, decoded: 10, lost: 0, messages: None };
        let records = [
            record(0, flag::ALL[number as usize].1, Kind::Request(request)),
            record(0, 0, end),
            record(1, 0, Kind::Response(response)),
            record(1, 0, end),
        ];
        for record in records {
            exchange.record(&mut context, &connection, &record, &mut |transaction| observer.observe(transaction));
        }
    }
    exchange.close(&mut context, &connection, [0; 2], EndReason::Fin, &mut |transaction| observer.observe(transaction));
    observer.flush();
    metrics
}

/// Collects picotap's own metrics, all at zero.
struct Zeros(Vec<Desc>);

impl Collector for Zeros {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().collect()
    }
    fn collect(&self) -> Vec<MetricFamily> {
        scrape::all()
    }
}

fn serve() -> Server {
    let metrics = metrics();
    metrics.register(Box::new(Zeros(descriptions(&scrape::all())))).unwrap();
    let pages = Pages {
        metrics: Box::new(move || Some(metrics.text().map_err(|error| error.to_string()))),
        healthy: Box::new(|| Ok("alive\n".to_owned())),
        ready: Box::new(|| Err("not yet".to_owned())),
        feed: None,
    };
    server::bind("127.0.0.1:0".parse().unwrap()).unwrap().serve(pages).unwrap()
}

fn curl(server: &Server, arguments: &[&str], path: &str) -> String {
    let url = format!("http://{}{path}", server.address());
    let output = Command::new("curl").args(["-sS", "--noproxy", "*"]).args(arguments).arg(url).output().expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let text = curl(&serve(), &[], "/metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (Debian: prometheus)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
    for name in ["http_server_request_duration_seconds_bucket", "picotap_build_info", "process_cpu_seconds_total"] {
        assert!(text.contains(name), "{name} is missing");
    }
}

#[test]
fn curl_gets_each_page() {
    let server = serve();
    assert!(curl(&server, &["-I"], "/metrics").contains("Content-Type: text/plain; version=0.0.4"));
    assert!(curl(&server, &[], "/").contains("<a href=\"/metrics\">"));
    assert_eq!(curl(&server, &["-w", "%{http_code}"], "/healthz"), "alive\n200");
    assert_eq!(curl(&server, &["-w", "%{http_code}"], "/readyz"), "not yet\n503");
    assert_eq!(curl(&server, &["-o", "/dev/null", "-w", "%{http_code}", "-d", "x=1"], "/metrics"), "405");
    assert_eq!(curl(&server, &["--http1.0", "-o", "/dev/null", "-w", "%{http_code}"], "/nothing"), "404");
}
