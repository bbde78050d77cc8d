//! A line is what picotap must print for a transaction, worked out from how the scene was played: no parser, no
//! reassembly.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::conversation::Sent;
use super::scene::Scene;
use super::wire::octets;

/// The keys in the order in which they are printed.
const KEYS: [&str; 64] = [
    "ts",
    "sensor",
    "conn",
    "seq",
    "client",
    "client_port",
    "server",
    "server_port",
    "client_forwarded",
    "client_process",
    "server_process",
    "protocol",
    "operation",
    "method",
    "target",
    "route",
    "outcome",
    "error",
    "version",
    "stream",
    "scheme",
    "host",
    "user_agent",
    "referer",
    "status",
    "reason",
    "stream_error",
    "grpc_service",
    "grpc_method",
    "grpc_status",
    "grpc_message",
    "grpc_timeout_us",
    "grpc_request_messages",
    "grpc_response_messages",
    "request_body_bytes",
    "response_body_bytes",
    "request_body_decoded_bytes",
    "response_body_decoded_bytes",
    "request_head_bytes",
    "response_head_bytes",
    "lost_bytes",
    "ttfb_us",
    "duration_us",
    "interim",
    "tunnel",
    "via",
    "via_conn",
    "via_target",
    "proxy",
    "proxy_port",
    "tls",
    "request_headers",
    "response_headers",
    "request_body",
    "request_body_truncated",
    "request_body_undecoded",
    "response_body",
    "response_body_truncated",
    "response_body_undecoded",
    "interface",
    "community_id",
    "trace_id",
    "parent_id",
    "flags",
];

#[derive(Debug)]
pub struct Line {
    /// Number of its connection, for the order; inside of a tunnel plus its depth times 2^50.
    pub conn: u64,
    pub seq: u64,
    pub request: Option<Sent>,
    pub response: Option<Sent>,
    /// Protocol and name, if it is an operation of another protocol than HTTP.
    operation: Option<(&'static str, &'static str)>,
    flags: Vec<&'static str>,
    /// Values that differ from what the scene gives by itself; nothing: the key is absent.
    set: Vec<(&'static str, Option<Value>)>,
    /// Inside of a tunnel: number of the connection around it.
    via: Option<u64>,
    /// Which packet of its conversation is the first of its connection, if it is not the first.
    first_packet: usize,
}

impl Line {
    pub const fn new(conn: u64, seq: u64, request: Option<Sent>, response: Option<Sent>) -> Self {
        Self { conn, seq, request, response, operation: None, flags: vec![], set: vec![], via: None, first_packet: 0 }
    }

    /// It is an operation of another protocol; its target and what became of it are set apart.
    pub const fn operation(&mut self, protocol: &'static str, name: &'static str) -> &mut Self {
        self.operation = Some((protocol, name));
        self
    }

    /// It is inside a tunnel on the connection `conn`, which leads to `target` (empty: not said).
    pub fn via(&mut self, way: &'static str, conn: u64, target: &str) -> &mut Self {
        self.via = Some(conn);
        self.set("via", way);
        if !target.is_empty() {
            self.set("via_target", target);
        }
        self
    }

    /// Its connection begins with this packet of the conversation, of those that can begin one: the ports were used before.
    pub const fn begins_with(&mut self, packet: usize) -> &mut Self {
        self.first_packet = packet;
        self
    }

    pub fn flag(&mut self, name: &'static str) -> &mut Self {
        self.flags.push(name);
        self
    }

    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) -> &mut Self {
        self.set.push((key, Some(value.into())));
        self
    }

    pub fn unset(&mut self, key: &'static str) -> &mut Self {
        self.set.push((key, None));
        self
    }

    /// The line as text.
    pub fn render(&self, scene: &Scene) -> String {
        let mut values = Map::new();
        let any = self.request.as_ref().or(self.response.as_ref()).expect("a line has a request or a response");
        let [client, server] = scene.ends[any.conversation];
        let first = |sent: &Sent| scene.carried(sent.conversation, sent.side, sent.start);
        let last = |sent: &Sent| scene.carried(sent.conversation, sent.side, sent.end - 1);
        if let Some(time) = first(any) {
            values.insert("ts".into(), stamp(time).into());
        }
        let began = scene.began(any.conversation, self.first_packet);
        let sensor = scene.sensor();
        let uid = |conn: u64| uid([client, server], began, conn >> 50, sensor.unwrap_or_default());
        for (key, value) in [
            ("conn", json!(uid(self.conn))),
            ("seq", json!(self.seq)),
            ("client", json!(client.ip().to_string())),
            ("client_port", json!(client.port())),
            ("server", json!(server.ip().to_string())),
            ("server_port", json!(server.port())),
            ("community_id", json!(community_id(client, server))),
        ] {
            values.insert(key.into(), value);
        }
        if let Some(name) = sensor {
            values.insert("sensor".into(), name.into());
        }
        if let Some(conn) = self.via {
            values.insert("via_conn".into(), uid(conn).into());
        }
        if let Some((protocol, name)) = self.operation {
            values.insert("protocol".into(), protocol.into());
            values.insert("operation".into(), name.into());
        }
        if let Some(request) = self.request.as_ref().filter(|_| self.operation.is_none()) {
            let parts = request.message.start_line();
            values.insert("method".into(), json!(parts.first()));
            values.insert("target".into(), json!(parts.get(1)));
            values.insert("version".into(), json!(parts.get(2).map(|w| w.trim_start_matches("HTTP/"))));
            for (key, header) in [("host", "host"), ("user_agent", "user-agent"), ("referer", "referer")] {
                if let Some(value) = request.message.value(header) {
                    values.insert(key.into(), value.into());
                }
            }
            sizes(&mut values, "request", request);
        }
        if let Some(response) = self.response.as_ref().filter(|_| self.operation.is_none()) {
            let parts = response.message.start_line();
            values.insert("status".into(), json!(parts.get(1).and_then(|w| w.parse::<u16>().ok())));
            if let Some(reason) = parts.get(2) {
                values.insert("reason".into(), json!(reason));
            }
            if self.request.is_none() {
                values.insert("version".into(), json!(parts[0].trim_start_matches("HTTP/")));
            }
            sizes(&mut values, "response", response);
        }
        if let (Some(request), Some(response)) = (&self.request, &self.response) {
            if let (Some(asked), Some(answered)) = (last(request), first(response))
                && answered >= asked
            {
                values.insert("ttfb_us".into(), ((answered - asked) / 1000).into());
            }
            if let (Some(asked), Some(answered)) = (first(request), last(response))
                && answered >= asked
            {
                values.insert("duration_us".into(), ((answered - asked) / 1000).into());
            }
        }
        if !self.flags.is_empty() {
            values.insert("flags".into(), json!(self.flags));
        }
        for (key, value) in &self.set {
            match value {
                Some(value) => values.insert((*key).into(), value.clone()),
                None => values.remove(*key),
            };
        }
        if let (Some(target), None) = (values.get("target").and_then(Value::as_str), self.operation)
            && !self.set.iter().any(|(key, _)| *key == "route")
            && let Some(route) = route(target, values["method"].as_str().unwrap_or_default())
        {
            values.insert("route".into(), route.into());
        }
        let ordered: Map<String, Value> =
            KEYS.iter().filter_map(|key| values.remove(*key).map(|value| ((*key).to_owned(), value))).collect();
        assert!(values.is_empty(), "keys that are not written: {values:?}");
        normal(&serde_json::to_string(&ordered).unwrap())
    }
}

/// The path of a target, with its variable segments named; none without a path.
fn route(target: &str, method: &str) -> Option<String> {
    if method == "CONNECT" {
        return None;
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = match path.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(char::is_alphanumeric) => {
            rest.split_once('/').map_or("/", |_| &rest[rest.find('/').unwrap()..])
        }
        _ => path,
    };
    let mut segments: Vec<String> = path.split('/').map(segment).collect();
    if segments.len() > 13 {
        segments.truncate(13);
        segments.push("{rest}".to_owned());
    }
    Some(segments.join("/")).filter(|route| !route.is_empty())
}

/// A segment of a path by the table in deploy/ANALYSTS.md.
fn segment(text: &str) -> String {
    let name = |text: &str| {
        let digits = text.chars().filter(char::is_ascii_digit).count();
        let shape: String = text.chars().map(|c| if c.is_ascii_hexdigit() { 'h' } else { c }).collect();
        let runs = text.split(|c: char| !c.is_ascii_alphanumeric());
        match text.len() {
            0 => None,
            len if len == digits => Some("{n}"),
            8.. if digits > 0 && text.chars().all(|c| c.is_ascii_hexdigit()) => Some("{hex}"),
            _ if digits > 0 && shape == "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh" => Some("{uuid}"),
            _ if digits == 8 && shape == "hhhh-hh-hh" => Some("{date}"),
            _ if runs.clone().any(|run| run.len() >= 16 && run.contains(|c: char| c.is_ascii_digit())) => {
                Some("{token}")
            }
            _ => None,
        }
    };
    let whole = name(text).map(str::to_owned);
    let with_extension = || {
        let (stem, extension) = text.rsplit_once('.')?;
        let is_one = extension.starts_with(|c: char| c.is_ascii_alphabetic())
            && extension.len() <= 5
            && extension.chars().all(|c| c.is_ascii_alphanumeric());
        name(stem).filter(|_| is_one).map(|name| format!("{name}.{extension}"))
    };
    whole.or_else(with_extension).unwrap_or_else(|| if text.len() > 64 { "{token}" } else { text }.to_owned())
}

/// Body bytes on the wire, without chunk framing where that is another number, and head bytes.
fn sizes(values: &mut Map<String, Value>, which: &str, sent: &Sent) {
    let wire = sent.message.body.len() as u64;
    values.insert(format!("{which}_body_bytes"), wire.into());
    if wire != sent.message.decoded {
        values.insert(format!("{which}_body_decoded_bytes"), sent.message.decoded.into());
    }
    values.insert(format!("{which}_head_bytes"), sent.message.head.len().into());
}

/// A line with its flags in alphabetical order and its texts as serde_json writes them: what lines are compared as. The
/// order of the keys stays.
pub fn normal(line: &str) -> String {
    let mut value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?} is not JSON: {e}"));
    if let Some(flags) = value.get_mut("flags").and_then(Value::as_array_mut) {
        flags.sort_by_key(Value::to_string);
    }
    value.to_string()
}

/// RFC 3339 with microseconds, UTC.
pub fn stamp(nanoseconds: i64) -> String {
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's civil_from_days.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let micros = nanoseconds.rem_euclid(1_000_000_000) / 1000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The connection's identifier, as `src/http/uid.rs` describes it.
pub fn uid(ends: [SocketAddr; 2], began: i64, depth: u64, sensor: &str) -> String {
    let mut keys = ends.map(|end| {
        let address = match end.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        (address.octets(), end.port())
    });
    keys.sort_unstable();
    let [(low, low_port), (high, high_port)] = keys;
    let mut bytes = [low, high].concat();
    bytes.extend([low_port, high_port].into_iter().flat_map(u16::to_be_bytes));
    bytes.extend(began.to_be_bytes());
    bytes.extend(sensor.as_bytes());
    (0..depth).fold(uid_of(&bytes), |outer, _| uid_of(outer.as_bytes()))
}

fn uid_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digits = |bytes: &[u8], count: usize| -> String {
        let mut number = bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let mut text = String::new();
        for _ in 0..count {
            let digit = number % 62;
            let letter = match digit {
                0..=9 => b'0' + digit as u8,
                10..=35 => b'A' + (digit - 10) as u8,
                _ => b'a' + (digit - 36) as u8,
            };
            text.push(letter as char);
            number /= 62;
        }
        text
    };
    format!("C{}{}", digits(&digest[..8], 10), digits(&digest[8..16], 7))
}

/// Community ID version 1 with seed 0.
pub fn community_id(one: SocketAddr, other: SocketAddr) -> String {
    let key = |end: SocketAddr| (octets(end.ip()), end.port());
    let (low, high) = if key(one) <= key(other) { (one, other) } else { (other, one) };
    let ip = |end: SocketAddr| -> IpAddr { end.ip() };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    hash.update(octets(ip(low)));
    hash.update(octets(ip(high)));
    hash.update([6, 0]);
    hash.update(low.port().to_be_bytes());
    hash.update(high.port().to_be_bytes());
    format!("1:{}", base64(&hash.finalize()))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let group_bits =
            group.iter().fold(0u32, |group_bits, byte| group_bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let letter = LETTERS[(group_bits >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= group.len() { letter } else { '=' });
        }
    }
    out
}

/// The list that a judge is asked for: client, its port, method, target, status; `-` for what is not there.
pub fn essence(line: &str) -> (String, u64, String) {
    let value: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| match &value[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = [text("client"), text("client_port"), text("method"), text("target"), text("status")].join(" ");
    (text("client") + ":" + &text("client_port"), value["seq"].as_u64().unwrap_or(0), row)
}
