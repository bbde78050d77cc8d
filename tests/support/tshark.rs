//! tshark as a judge: which transactions does it see in a capture?

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Reassembly as thorough as tshark has it.
const PREFERENCES: &[&str] = &[
    "tcp.reassemble_out_of_order:TRUE",
    "tcp.desegment_tcp_streams:TRUE",
    "http.desegment_headers:TRUE",
    "http.desegment_body:TRUE",
    "http.dechunk_body:TRUE",
    "ip.defragment:TRUE",
    "ipv6.defragment:TRUE",
    "http.tcp.port:1-65535",
];

/// A TCP connection.
#[derive(Debug, Default)]
struct Stream {
    client: String,
    /// Of HTTP/2, by number: method, target and final status, as far as they were seen.
    inner: BTreeMap<u64, [String; 3]>,
    /// Requests that wait for an answer: method and target.
    waiting: VecDeque<(String, String)>,
    rows: Vec<String>,
}

/// Rows of client, port, method, target and status, sorted; `-` for what is not there.
pub fn transactions(tshark: &Path, capture: &Path) -> Vec<String> {
    let mut command = Command::new(tshark);
    command.arg("-n").arg("-r").arg(capture).args(["-Y", "http or http2.headers", "-T", "json", "--no-duplicate-keys"]);
    for preference in PREFERENCES {
        command.args(["-o", preference]);
    }
    let output = command.stdin(Stdio::null()).output().expect("tshark runs");
    let frames: Vec<Value> = serde_json::from_str(&String::from_utf8_lossy(&output.stdout)).unwrap_or_else(|e| {
        panic!("tshark's answer on {}: {e}: {}", capture.display(), String::from_utf8_lossy(&output.stderr))
    });
    let mut streams: BTreeMap<u64, Stream> = BTreeMap::new();
    for frame in &frames {
        let layers = &frame["_source"]["layers"];
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        let tcp = innermost(&layers["tcp"]);
        let stream = streams.entry(number(&tcp["tcp.stream"]).unwrap()).or_default();
        let ip = innermost(if layers["ipv6"].is_null() { &layers["ip"] } else { &layers["ipv6"] });
        let address = |which: &str| {
            let version = if ip["ip.src"].is_null() { "ipv6" } else { "ip" };
            ip[format!("{version}.{which}")].as_str().unwrap().to_owned()
        };
        let mut heads = vec![];
        collect(&layers["http2"], &mut heads);
        for head in heads {
            let id = number(&head["http2.streamid"]).unwrap();
            let of_server = stream.note(id, head);
            if stream.client.is_empty() {
                let end = if of_server { "dst" } else { "src" };
                stream.client = format!("{} {}", address(end), tcp[format!("tcp.{end}port")].as_str().unwrap());
            }
        }
        for message in each(&layers["http"]) {
            if let Some(method) = find(message, "http.request.method") {
                let target = find(message, "http.request.uri").unwrap_or_default();
                stream.client = format!("{} {}", address("src"), tcp["tcp.srcport"].as_str().unwrap());
                stream.waiting.push_back((method, target));
            } else if let Some(status) = find(message, "http.response.code") {
                if stream.client.is_empty() {
                    stream.client = format!("{} {}", address("dst"), tcp["tcp.dstport"].as_str().unwrap());
                }
                stream.answer(&status);
            }
        }
    }
    let mut rows: Vec<String> = streams.into_values().flat_map(Stream::finish).collect();
    rows.sort();
    rows
}

impl Stream {
    /// A final response answers the oldest request that waits. (The request that tshark itself names is another one where
    /// requests are pipelined or answered in several steps.)
    fn answer(&mut self, status: &str) {
        if status.starts_with('1') && status != "101" {
            return;
        }
        let (method, target) = self.waiting.pop_front().unwrap_or_else(|| ("-".into(), "-".into()));
        self.rows.push(format!("{} {method} {target} {status}", self.client));
    }

    /// Notes a head of HTTP/2. Whether it is the server's. Trailers say nothing, and what an interim response says is not kept.
    fn note(&mut self, id: u64, head: &Value) -> bool {
        let of = |name: &str| find(head, &format!("http2.headers.{name}"));
        let (method, status) = (of("method"), of("status"));
        let of_server = status.is_some();
        let known = method.is_some() || status.as_ref().is_some_and(|status| !status.starts_with('1'));
        if known {
            let row = self.inner.entry(id).or_insert_with(|| std::array::from_fn(|_| "-".to_owned()));
            // CONNECT has no path.
            let told = [method, of("path").or_else(|| of("authority")), status];
            row.iter_mut()
                .zip(told)
                .filter_map(|(place, told)| Some((place, told?)))
                .for_each(|(place, told)| *place = told);
        }
        of_server
    }

    fn finish(mut self) -> Vec<String> {
        let inner = self.inner.values().map(|row| format!("{} {}", self.client, row.join(" ")));
        self.rows.extend(inner);
        self.rows.extend(self.waiting.iter().map(|(method, target)| format!("{} {method} {target} -", self.client)));
        self.rows
    }
}

/// The frames of HTTP/2 with a header block.
fn collect<'a>(value: &'a Value, heads: &mut Vec<&'a Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|one| collect(one, heads)),
        Value::Object(map) if map.contains_key("http2.header") => heads.push(value),
        Value::Object(map) => map.values().for_each(|one| collect(one, heads)),
        _ => {}
    }
}

/// A layer that occurs several times is an array: the last is the innermost.
fn innermost(layer: &Value) -> &Value {
    layer.as_array().and_then(|list| list.last()).unwrap_or(layer)
}

fn each(layer: &Value) -> Vec<&Value> {
    layer.as_array().map_or_else(|| vec![layer], |list| list.iter().collect())
}

/// The first text under a key, at any depth.
fn find(value: &Value, key: &str) -> Option<String> {
    if let Some(list) = value.as_array() {
        return list.iter().find_map(|one| find(one, key));
    }
    let map = value.as_object()?;
    if let Some(found) = map.get(key) {
        return innermost(found).as_str().map(str::to_owned);
    }
    map.values().find_map(|inner| find(inner, key))
}
