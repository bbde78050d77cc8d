//! What a person reads off Prometheus: percentiles that a real Prometheus computes from a scrape of picotap, against the
//! durations of which the load was made.

use crate::support;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use support::capture::{Compression, Format, Order, file};
use support::message::Message;
use support::network::until;
use support::program::{picotap, scratch, wait};
use support::random::Random;
use support::scene::Scene;
use support::tool;

/// Transactions of each load.
const EACH: u32 = 1000;
/// How wrong a percentile may be.
const TOLERANCE: f64 = 0.15;

/// Between 0 and 1.
fn chance(random: &mut Random) -> f64 {
    (random.below(1 << 52) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// The normal distribution (Box and Muller).
fn normal(random: &mut Random) -> f64 {
    (-2.0 * chance(random).ln()).sqrt() * (std::f64::consts::TAU * chance(random)).cos()
}

type Load = (&'static str, fn(&mut Random) -> f64);

/// Methods, and the durations of each in nanoseconds: about 100 us, in every form that a load takes.
const LOADS: [Load; 8] = [
    ("GET", |_| 100_000.0),
    ("POST", |_| 100_001.0), // just above a bound, where the whole width of a bucket is the error
    ("PUT", |_| 112_500.0),
    ("DELETE", |random| 95_000.0 + 10_000.0 * chance(random)),
    ("PATCH", |random| 60_000.0 + 80_000.0 * chance(random)),
    ("OPTIONS", |random| 100_000.0 * (0.3 * normal(random)).exp()),
    ("QUERY", |random| 60_000.0 - 40_000.0 * chance(random).ln()),
    (LAST, |_| 100_000.0),
];
/// Comes last and is not asked for: a part of it waits in a slot as long as the input has not ended.
const LAST: &str = "HEAD";

/// The capture of a load, and its durations in seconds, sorted.
fn capture() -> (Vec<u8>, Vec<(&'static str, Vec<f64>)>) {
    let mut random = Random::new(17);
    let (mut scene, mut loads) = (Scene::default(), Vec::new());
    scene.step = 0;
    for (method, load) in LOADS {
        let mut connection = scene.connection();
        connection.open();
        let mut times: Vec<f64> = (0..if method == LAST { 3 * EACH } else { EACH })
            .map(|number| {
                let time = load(&mut random) as i64;
                connection.request(&Message::start(&format!("{method} /{number} HTTP/1.1")).header("Host", "a.test"));
                connection.last().pause = 1_000_000;
                connection.response(&Message::response("200 OK").header("Content-Length", "0"));
                connection.last().pause = time;
                time as f64 / 1e9
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        loads.push((method, times));
        connection.close();
        scene.capture(&mut connection);
    }
    scene.stamp();
    (file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, true), Compression::None), loads)
}

/// An address on loopback that nothing listens on.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The body of a page; nothing while there is no answer.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
}

/// Ends a program of this test however the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The value of an expression that gives one.
fn value(prometheus: &str, expression: &str) -> Option<f64> {
    let escaped: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer: Value = serde_json::from_str(&get(prometheus, &format!("/api/v1/query?query={escaped}"))?).ok()?;
    answer["data"]["result"].as_array().filter(|all| all.len() == 1)?[0]["value"][1].as_str()?.parse().ok()
}

#[test]
fn percentiles_at_100_microseconds_are_true_to_15_percent() {
    if !tool::has(&["prometheus"]) {
        return;
    }
    let (address, prometheus) = (free(), free());
    let pipe = scratch("percentiles.fifo");
    fs::remove_file(&pipe).ok();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = picotap();
    command.arg("-r").arg(&pipe).args(["--format", "json", "--workers", "1", "--metrics-addr", &address]);
    let mut picotap = Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let (bytes, loads) = capture();
    // In a thread of its own: the pipe is shorter than the capture. It stays open until it has been scraped.
    let feeder = std::thread::spawn(move || {
        let mut pipe = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        pipe.write_all(&bytes).unwrap();
        pipe
    });

    let directory = tempfile::tempdir().unwrap();
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: picotap\n  static_configs: [{{targets: ['{address}']}}]\n"
    );
    fs::write(directory.path().join("prometheus.yml"), configuration).unwrap();
    let mut command = Command::new("prometheus");
    command.arg("--config.file").arg(directory.path().join("prometheus.yml"));
    command.arg("--storage.tsdb.path").arg(directory.path().join("data"));
    command.args(["--web.listen-address", &prometheus, "--log.level", "error"]);
    let scraper = Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let pipe = feeder.join().unwrap();

    let count = format!("sum(http_server_request_duration_seconds_count{{http_request_method!=\"{LAST}\"}})");
    let wanted = f64::from(EACH) * (loads.len() - 1) as f64;
    until("all is scraped", || value(&prometheus, &count).is_some_and(|count| count >= wanted));
    for (method, times) in loads.iter().filter(|(method, _)| *method != LAST) {
        for percent in [50, 90, 99] {
            let quantile = format!("0.{percent}");
            let buckets = format!("http_server_request_duration_seconds_bucket{{http_request_method=\"{method}\"}}");
            let read = value(&prometheus, &format!("histogram_quantile({quantile}, sum by (le) ({buckets}))")).unwrap();
            let truth = times[(times.len() * percent).div_ceil(100) - 1];
            let error = read / truth - 1.0;
            println!("{method} p{percent}: {:.1} us, read {:.1} us, {:+.1} %", truth * 1e6, read * 1e6, error * 100.0);
            assert!(error.abs() < TOLERANCE, "{method} p{percent}: {read} for {truth}");
        }
    }
    let scrape = get(&address, "/metrics").unwrap();
    println!("a scrape with {} such loads: {} lines, {} bytes", loads.len(), scrape.lines().count(), scrape.len());
    drop((scraper, pipe));
    assert_eq!(wait(&mut picotap.0), Some(0));
}
