//! The Spark program on a real Spark: a master and two workers on loopback. The table equals what one machine says, also when a
//! worker is killed; DuckDB reads it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that panics has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod support;

use picotap::stream;
use support::capture::{Compression, Format, Order, file};
use support::message::{Message, filler};
use support::program::{picotap, run};
use support::random::Random;
use support::scene::Scene;
use support::tls::talk::{SUITES, Setting, Talk};
use support::tool;
use support::wire::Side;

const PYTHON: &str = "target/soak-tools/bin/python";
const SENSORS: usize = 4;
const FILES: usize = 50;
/// Cases that have, together with the rest, every key that a line may have. Each is a sensor: they have the same addresses.
const CASES: &[&str] = &[
    "bodies",
    "chunked-request",
    "connect",
    "continue",
    "forwarded",
    "gap-in-body",
    "h2",
    "log-fields",
    "proxy-v1",
    "socks5",
    "socks5-refused",
    "traceparent",
];
const OPTIONS: [&str; 4] =
    ["--header=content-length", "--header=host", "--trusted-proxy=10.0.0.0/8", "--capture-bodies=100"];

/// 200 captures of four sensors; most connections span files. One capture is cut off.
fn generate(directory: &Path) {
    for sensor in 0..SENSORS {
        let place = directory.join(format!("sensor-{sensor}"));
        fs::create_dir_all(&place).unwrap();
        let (mut scene, mut random) = (Scene::default(), Random::new(sensor as u64 + 1));
        let mut parts = vec![];
        for number in 0..300 {
            let mut c = scene.connection();
            c.open();
            let mut own = vec![std::mem::take(&mut c.packets)];
            for exchange in 0..6 {
                let request =
                    Message::post(&format!("/user/{number}/{exchange}?x"), &filler(random.below(900) as usize));
                if random.one_in(15) {
                    c.request(&request);
                } else if random.one_in(9) {
                    c.exchange(&request, &Message::response("503 Service Unavailable").body(&filler(30)));
                } else {
                    c.exchange(&request, &Message::ok(&filler(random.below(4000) as usize)));
                }
                own.push(std::mem::take(&mut c.packets));
            }
            c.close();
            own.push(std::mem::take(&mut c.packets));
            parts.push(own);
        }
        scene.interleave(parts, &mut random);
        scene.stamp();
        let each = scene.packets.len().div_ceil(FILES);
        for (number, packets) in scene.packets.chunks(each).enumerate() {
            let mut bytes = file(&scene.frames(packets), Format::Pcap(Order::Little, false), Compression::None);
            if (sensor, number) == (2, 20) {
                bytes.truncate(bytes.len() - 7);
            }
            fs::write(place.join(format!("{number:04}.pcap")), bytes).unwrap();
        }
    }
}

/// What is not made by `generate`: the cases, and HTTPS with its key log.
fn add_cases(directory: &Path) {
    for name in CASES {
        fs::create_dir_all(directory.join(name)).unwrap();
        let fixtures = support::fixtures::directories();
        let fixture = fixtures.iter().find(|path| path.ends_with(name)).unwrap();
        // Recordings stand beside their directories.
        let places = [fixture.join("capture.pcap"), fixture.with_extension("pcap")];
        let from = places.iter().find(|path| path.exists()).unwrap();
        fs::copy(from, directory.join(name).join("capture.pcap")).unwrap();
    }
    let (mut scene, mut key_log) = (Scene::default(), String::new());
    let mut packets = vec![];
    for (version, cipher, _) in SUITES {
        let mut talk = Talk::new(version, *cipher, Setting::default());
        for number in 0..3 {
            let request = format!("GET /private/{number} HTTP/1.1\r\nHost: picotap.test\r\n\r\n");
            talk.say(stream::Side::First, request.as_bytes());
            talk.say(stream::Side::Second, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        talk.close();
        let script = talk.script();
        key_log += &script.key_log;
        let mut c = scene.connection();
        c.open();
        for sent in &script.sent {
            c.send(if sent.side == stream::Side::First { Side::Client } else { Side::Server }, &sent.bytes);
        }
        c.close();
        packets.append(&mut c.packets);
    }
    for (at, packet) in packets.iter_mut().enumerate() {
        packet.time = 1_767_323_045_000_000_000 + at as i64 * 50_000;
    }
    fs::create_dir_all(directory.join("https")).unwrap();
    for (number, part) in packets.chunks(40).enumerate() {
        let bytes = file(&scene.frames(part), Format::Pcap(Order::Little, true), Compression::None);
        fs::write(directory.join(format!("https/{number:04}.pcap")), bytes).unwrap();
    }
    fs::write(directory.join("keys.txt"), key_log).unwrap();
}

/// What one machine says.
fn alone(captures: &Path) -> Vec<Value> {
    let mut lines = vec![];
    let names = (0..SENSORS).map(|sensor| format!("sensor-{sensor}"));
    for name in names.chain(CASES.iter().map(|&name| name.into())).chain(["https".into()]) {
        let mut command = picotap();
        command.arg("-r").arg(captures.join(&name)).args(["--format", "json", "--sensor", &name]).args(OPTIONS);
        let outcome = run(command.arg("--keylog").arg(captures.join("keys.txt")));
        assert_eq!(outcome.code, Some(i32::from(name == "sensor-2")), "{}", outcome.stderr);
        lines.extend(outcome.lines().iter().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    sorted(lines)
}

fn sorted(mut lines: Vec<Value>) -> Vec<Value> {
    for line in &mut lines {
        line.sort_all_objects();
    }
    lines.sort_by_cached_key(Value::to_string);
    lines
}

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn spark(program: &str) -> Command {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(PYTHON);
    let found = Command::new(&python).args(["-c", "import pyspark; print(*pyspark.__path__)"]).output().unwrap();
    let home = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    let mut command = Command::new(home.join("bin").join(program));
    command.env("SPARK_HOME", &home).env("PYSPARK_PYTHON", &python).env("SPARK_LOCAL_IP", "127.0.0.1");
    command.env("SPARK_NO_DAEMONIZE", "1").stdin(Stdio::null());
    command
}

/// A master and workers with a core each, in a directory of their own.
fn cluster(directory: &Path, workers: usize) -> (String, Vec<Running>) {
    let start = |name: &str, args: &[&str]| {
        let log = fs::File::create(directory.join(format!("{name}.log"))).unwrap();
        let mut command = spark("spark-class");
        command.args(args).env("SPARK_WORKER_DIR", directory.join(name)).stdout(Stdio::null()).stderr(log);
        Running(command.spawn().unwrap())
    };
    let wait = |name: &str, text: &str| {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(directory.join(format!("{name}.log"))).unwrap();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} does not start: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let master = "org.apache.spark.deploy.master.Master";
    let mut all = vec![start("master", &[master, "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"])];
    let line = wait("master", "Starting Spark master at ");
    let url = line.split_whitespace().last().unwrap().to_owned();
    for number in 0..workers {
        let name = format!("worker-{number}");
        let worker = "org.apache.spark.deploy.worker.Worker";
        let args = [worker, "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g", &url];
        all.push(start(&name, &args));
        wait(&name, "Successfully registered with master");
    }
    (url, all)
}

/// Runs the program; kills the last worker once a task has ended, if wanted. The time that it took.
fn submit(url: &str, captures: &Path, out: &Path, args: &[&str], killed: Option<Running>) -> Duration {
    let begun = Instant::now();
    let mut command = spark("spark-submit");
    command.args([
        "--master",
        url,
        "--executor-memory",
        "700m",
        "--driver-memory",
        "700m",
        "--conf",
        "spark.ui.enabled=false",
    ]);
    command.arg("--files").arg(env!("CARGO_BIN_EXE_picotap")).arg("deploy/spark/picotap_spark.py");
    command.arg("--captures").arg(format!("file:{}/*/*.pcap", captures.display()));
    command.arg("--out").arg(format!("file:{}", out.display())).args(args);
    command.args(OPTIONS.map(|option| format!("--option={option}")));
    command.arg(format!("--option=--keylog={}/keys.txt", captures.display()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut driver = Running(command.spawn().unwrap());
    let (mut killed, mut log, mut lost) = (killed, String::new(), false);
    let killing = killed.is_some();
    for line in BufReader::new(driver.0.stderr.take().unwrap()).lines().map_while(Result::ok) {
        if line.contains("Finished task") {
            drop(killed.take());
        }
        lost |= line.contains("Lost executor");
        log += &(line + "\n");
    }
    assert!(driver.0.wait().unwrap().success(), "{log}");
    assert_eq!(lost, killing, "whether an executor was lost: {log}");
    begun.elapsed()
}

fn table(args: &[&str]) -> Vec<Value> {
    let output = Command::new(PYTHON).arg("deploy/check/table.py").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn assert_table(out: &Path, expected: &[Value]) {
    let lines = sorted(table(&["lines", out.to_str().unwrap()]));
    assert_eq!(lines.len(), expected.len(), "{}", out.display());
    for (line, wanted) in lines.iter().zip(expected) {
        assert_eq!(line, wanted);
    }
    let faults = table(&["faults", out.to_str().unwrap()]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0]["capture"].as_str().unwrap().ends_with("/sensor-2/0020.pcap"), "{faults:?}");
    assert!(faults[0]["fault"].as_str().unwrap().starts_with("is cut off"), "{faults:?}");
}

#[test]
#[ignore = "needs Spark, and takes minutes: part of the soak"]
fn the_table_is_what_one_machine_says() {
    if !tool::has(&[PYTHON, "java"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let captures = directory.path().join("captures");
    generate(&captures);
    add_cases(&captures);
    let expected = alone(&captures);
    assert!(expected.len() > 7000, "{}", expected.len());
    let schema = fs::read_to_string("deploy/schema/picotap.schema.json").unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let keys: BTreeSet<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let seen = expected.iter().flat_map(|line| line.as_object().unwrap().keys()).map(String::as_str);
    // Of files no interface and no process is known.
    assert_eq!(
        seen.chain(["interface", "client_process", "server_process"]).collect::<BTreeSet<_>>(),
        keys,
        "every key is tried"
    );

    for workers in [1, 2] {
        let place = directory.path().join(format!("with-{workers}"));
        fs::create_dir_all(&place).unwrap();
        let (url, running) = cluster(&place, workers);
        let out = place.join("out");
        let took = submit(&url, &captures, &out, &["--shards", "3"], None);
        println!(
            "{} captures, {} lines, {workers} workers: {:.1} s",
            fs::read_dir(&captures).unwrap().flat_map(|place| fs::read_dir(place.unwrap().path())).flatten().count(),
            expected.len(),
            took.as_secs_f64()
        );
        assert_table(&out, &expected);
        let columns = table(&["columns", out.to_str().unwrap()]);
        let names = columns[0].as_object().unwrap().keys().map(String::as_str);
        assert_eq!(names.collect::<BTreeSet<_>>(), keys.iter().copied().chain(["day"]).collect(), "{columns:?}");
        drop(running);
    }

    // By Spark's connectors, and with a worker that is killed in the middle.
    let place = directory.path().join("killed");
    fs::create_dir_all(&place).unwrap();
    let (url, mut running) = cluster(&place, 2);
    let out = place.join("out");
    let took = submit(&url, &captures, &out, &["--shards", "3", "--stream"], running.pop());
    println!("with a worker killed: {:.1} s", took.as_secs_f64());
    assert_table(&out, &expected);
    assert_queries(&out, &expected);
}

/// The four queries of the README, against counts of the lines.
fn assert_queries(out: &Path, lines: &[Value]) {
    let answers = table(&["queries", out.to_str().unwrap(), "deploy/spark/README.md"]);
    let [routes, errors, day, unanswered] = answers.as_slice() else { panic!("{answers:?}") };
    let count = |wanted: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| wanted(line)).count() as u64;
    let sum =
        |rows: &Value, key: &str| rows.as_array().unwrap().iter().filter_map(|row| row[key].as_u64()).sum::<u64>();
    // The slowest twenty: as many lines each as there are, the slowest first.
    let routes = routes.as_array().unwrap();
    assert!(routes.len() == 20 && routes.is_sorted_by_key(|row| -row["p95_ms"].as_f64().unwrap()), "{routes:?}");
    for row in routes {
        let of_route = |line: &Value| {
            line.get("duration_us").is_some() && ["host", "method", "route"].iter().all(|key| line[key] == row[key])
        };
        assert_eq!(row["requests"], count(&of_route), "{row}");
    }
    let failed = count(&|line| line["status"].as_u64().is_some_and(|status| status >= 500));
    assert!(failed > 0);
    assert_eq!(sum(errors, "errors"), failed);
    assert_eq!(sum(errors, "answers"), count(&|line| line.get("status").is_some()));
    let of_day = |line: &Value| line["client"] == "10.0.0.1" && line["ts"].as_str().unwrap().starts_with("2026-01-02");
    assert_eq!(day.as_array().unwrap().len() as u64, count(&of_day));
    assert!(count(&of_day) > 0);
    let without = count(&|line| line.get("method").is_some() && line.get("status").is_none());
    assert!(without > 0);
    assert_eq!(sum(unanswered, "requests"), without);
}

/// What the program says that fails, at its end: one line on standard error, or on standard output where spark-submit puts it.
fn refused(args: &[&str], said: &str) {
    let mut command = spark("spark-submit");
    command.args(["--master", "local[1]", "--conf", "spark.ui.enabled=false"]).args(args);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let found = text.lines().any(|line| line.contains(said) && !line.starts_with('\t') && !line.contains(" ERROR "));
    assert!(!output.status.success() && found, "{args:?}: {said}: {text}");
}

#[test]
#[ignore = "needs Spark, and takes minutes: part of the soak"]
fn what_is_wrong_is_said() {
    const PROGRAM: &str = "deploy/spark/picotap_spark.py";
    if !tool::has(&[PYTHON, "java"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display().to_string();
    fs::create_dir(directory.path().join("edge")).unwrap();
    fs::copy("fixtures/http.pcap", directory.path().join("edge/1.pcap")).unwrap();
    let (captures, out) = (format!("{place}/*/*.pcap"), format!("file:{place}/out"));
    let picotap = env!("CARGO_BIN_EXE_picotap");

    refused(&[PROGRAM, "--captures", &format!("{place}/*.nothing"), "--out", &out], ".nothing: no files");
    refused(&[PROGRAM, "--captures", &captures, "--out", &out, "--shards", "0"], "--shards 0: from 1 to 4096");
    refused(&[PROGRAM, "--captures", &captures, "--out", &out], "picotap_spark.py: picotap: cannot be started on ");
    // A schema without a key that the lines have. What failed before left nothing in the way.
    let schema = directory.path().join("schema.json");
    let text = fs::read_to_string("deploy/schema/picotap.schema.json").unwrap();
    fs::write(&schema, text.replacen("\"route\":", "\"rout\":", 1)).unwrap();
    let schema = schema.to_str().unwrap();
    let given = ["--files", picotap, PROGRAM, "--captures", &captures, "--out", &out];
    refused(&[&given[..], &["--schema", schema]].concat(), "is of another release than picotap: it lacks route");
    refused(
        &[&given[..], &["--option=--nonsense"]].concat(),
        "picotap: exit code 2: picotap: unexpected argument '--nonsense'",
    );
    fs::create_dir_all(directory.path().join("out/faults")).unwrap();
    refused(&given, "/out/faults exists");
}
