//! tshark as a judge: which transactions does it see in a capture?

use std::collections::BTreeMap;
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

#[derive(Debug, Default)]
struct Stream {
    client: String,
    requests: Vec<(u64, String, String)>,
    /// Status, and the frame of the request that tshark says it answers.
    responses: Vec<(String, Option<u64>)>,
}

/// Rows of client, port, method, target and status, sorted; `-` for what is not there.
pub fn transactions(tshark: &Path, capture: &Path) -> Vec<String> {
    let mut command = Command::new(tshark);
    command.arg("-n").arg("-r").arg(capture).args(["-Y", "http", "-T", "json", "--no-duplicate-keys"]);
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
        let at = number(&layers["frame"]["frame.number"]).unwrap();
        let tcp = innermost(&layers["tcp"]);
        let stream = streams.entry(number(&tcp["tcp.stream"]).unwrap()).or_default();
        let ip = innermost(if layers["ipv6"].is_null() { &layers["ip"] } else { &layers["ipv6"] });
        let address = |which: &str| {
            let version = if ip["ip.src"].is_null() { "ipv6" } else { "ip" };
            ip[format!("{version}.{which}")].as_str().unwrap().to_owned()
        };
        for message in each(&layers["http"]) {
            if let Some(method) = find(message, "http.request.method") {
                let target = find(message, "http.request.uri").unwrap_or_default();
                stream.client = format!("{} {}", address("src"), tcp["tcp.srcport"].as_str().unwrap());
                stream.requests.push((at, method, target));
            } else if let Some(status) = find(message, "http.response.code") {
                if stream.client.is_empty() {
                    stream.client = format!("{} {}", address("dst"), tcp["tcp.dstport"].as_str().unwrap());
                }
                let answers = find(message, "http.request_in").and_then(|text| text.parse().ok());
                stream.responses.push((status, answers));
            }
        }
    }
    let mut rows: Vec<String> = streams.into_values().flat_map(Stream::rows).collect();
    rows.sort();
    rows
}

impl Stream {
    /// Final responses go to the requests in order, except where tshark itself names a later request.
    fn rows(self) -> Vec<String> {
        let mut waiting = self.requests.into_iter().peekable();
        let mut rows = vec![];
        for (status, answers) in self.responses {
            if status.starts_with('1') && status != "101" {
                continue;
            }
            while let (Some((at, _, _)), Some(wanted)) = (waiting.peek(), answers) {
                if *at >= wanted {
                    break;
                }
                let (_, method, target) = waiting.next().unwrap();
                rows.push(format!("{} {method} {target} -", self.client));
            }
            match waiting.next() {
                Some((_, method, target)) => rows.push(format!("{} {method} {target} {status}", self.client)),
                None => rows.push(format!("{} - - {status}", self.client)),
            }
        }
        rows.extend(waiting.map(|(_, method, target)| format!("{} {method} {target} -", self.client)));
        rows
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
    let map = value.as_object()?;
    if let Some(found) = map.get(key) {
        return innermost(found).as_str().map(str::to_owned);
    }
    map.values().find_map(|inner| find(inner, key))
}
