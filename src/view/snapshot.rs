//! What the model shows at one moment. Its JSON is what the page reads; fields are named as here.
//!
//! Times are microseconds since the Unix epoch, durations microseconds: both fit a JavaScript number. Texts are made for
//! people: control characters and bytes that are no UTF-8 are escaped as in the text log. What is not known is absent.

use serde::Serialize;

/// Everything that is shown.
///
/// A page that follows a live capture gets this whole once, and then each second an update: the same, with only the parts of
/// time that have changed (to be merged by their `time`) and only the rows of `recent` that are new.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    /// Version of picotap.
    pub version: String,
    /// What is observed: `eth0`, or `x.pcap`.
    pub source: String,
    /// Whether it goes on: false for a capture file.
    pub live: bool,
    /// Time of the snapshot; for a file, of its last transaction.
    pub now: i64,
    /// When counting began; for a file, time of its first transaction.
    pub began: i64,
    /// Transactions since then.
    pub transactions: u64,
    /// Length of each part of [`seconds`](Self::seconds), in seconds: 1 live. For a file it doubles until its whole time
    /// is in 900 parts.
    pub step: u32,
    /// Parts of time, oldest first, without holes; at most 900. Live: the last 15 minutes.
    pub seconds: Vec<Second>,
    /// The tables below count what came since then: live the last 10 to 15 minutes, of a file everything.
    pub tables_since: i64,
    /// All of the tables' time.
    pub total: Counts,
    /// Hosts, most transactions first.
    pub hosts: Vec<HostRow>,
    /// Routes, most transactions first.
    pub routes: Vec<RouteRow>,
    /// Who talks to whom, most transactions first.
    pub pairs: Vec<PairRow>,
    /// Transactions that fell in no row of each table above, since it was full: `[hosts, routes, pairs]`.
    pub beyond: [u64; 3],
    /// The slowest transactions, slowest first.
    pub slowest: Vec<TransactionRow>,
    /// The last transactions, oldest first. Under load not all: see [`left_out`](Self::left_out).
    pub recent: Vec<TransactionRow>,
    /// Transactions that were counted, but not kept as rows of [`recent`](Self::recent), since counting began.
    pub left_out: u64,
    /// TLS connections that have ended, since counting began.
    pub tls: TlsView,
    /// How the capture goes.
    pub health: Vec<HealthItem>,
}

/// TLS connections.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TlsView {
    /// All of them, by what became of them.
    pub results: Vec<TlsResult>,
    /// The same by the server that the client named, most connections first; at most 256.
    pub servers: Vec<TlsRow>,
    /// Connections that are in no row of `servers`, since it was full.
    pub beyond: u64,
}

/// TLS connections of which the same became.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TlsResult {
    /// All that was encrypted was read, or some plaintext of it.
    pub decrypted: bool,
    /// Why it was not read, or not to the end, as in the log; empty if all was read.
    pub reason: &'static str,
    /// How many.
    pub connections: u64,
}

/// TLS connections to a server of which the same became.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TlsRow {
    /// The server that the client named; empty for those without.
    pub host: String,
    /// As above.
    pub decrypted: bool,
    /// As above.
    pub reason: &'static str,
    /// The version of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// The command of the server's process in the last of which it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// How many.
    pub connections: u64,
    /// Bytes that both sides sent.
    pub bytes: u64,
    /// When the last ended.
    pub last: i64,
}

/// A part of time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Second {
    /// Its beginning.
    pub time: i64,
    /// Transactions that were completed in it.
    pub transactions: u64,
    /// Of them, those with a 4xx status, or with a status of gRPC that says the same.
    pub client_errors: u64,
    /// Of them, those with a 5xx status, or with a status of gRPC that says the same, without a response, or failed operations.
    pub server_errors: u64,
    /// Bytes of bodies, both ways.
    pub bytes: u64,
    /// Of those whose duration is known.
    pub times: Times,
}

/// Percentiles of durations, at most 10 % too high; all absent if none is known.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Times {
    /// Half took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<u64>,
    /// 95 % took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<u64>,
    /// 99 % took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<u64>,
    /// The longest, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// What some transactions add up to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Counts {
    /// How many.
    pub transactions: u64,
    /// Of them, those with a 4xx status, or with a status of gRPC that says the same.
    pub client_errors: u64,
    /// Of them, those with a 5xx status, or with a status of gRPC that says the same, without a response, or failed operations.
    pub server_errors: u64,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
    /// When the last was completed.
    pub last: i64,
    /// Of those whose duration is known.
    pub times: Times,
}

/// A host.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HostRow {
    /// As in `Host` or `:authority`; empty for those without.
    pub host: String,
    /// Its transactions.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A route: a method and a path template of a host.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RouteRow {
    /// The host, as above.
    pub host: String,
    /// The method; of another protocol, its name and the operation.
    pub method: String,
    /// The path template.
    pub route: String,
    /// Its transactions.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A client and a server.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PairRow {
    /// Address of the client, without its port.
    pub client: String,
    /// Address and port of the server.
    pub server: String,
    /// Their transactions.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A transaction.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TransactionRow {
    /// Its number in this run, growing: rows with greater numbers were completed later.
    pub id: u64,
    /// Capture time of its first byte.
    pub time: i64,
    /// `HTTP/1.1`; for other protocols their name.
    pub protocol: String,
    /// Client, with port.
    pub client: String,
    /// Server, with port.
    pub server: String,
    /// The capture interface, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Identifier of the connection, as in the log.
    pub connection: String,
    /// Method, or the operation of another protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Target as sent, at most 1,024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Path template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Status of the final response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Code of the outcome of a gRPC call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// Reason phrase, the outcome of a gRPC call (`gRPC NOT_FOUND`), or that of an operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it counts as an error: 5xx, a status of gRPC that says the same, no response, a failed operation.
    pub failed: bool,
    /// First byte of the request to its last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_time: Option<u64>,
    /// Last byte of the request to first of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_time: Option<u64>,
    /// First byte of the response to its last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_time: Option<u64>,
    /// First byte of the request to last of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Bytes of the request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<u64>,
    /// Bytes of the response's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_bytes: Option<u64>,
    /// Names of its flags.
    pub flags: Vec<&'static str>,
    /// What else is known, by the name that it has in the JSON log: `user_agent`, `referer`, headers asked for.
    pub fields: Vec<(String, String)>,
}

/// How serious something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be, or a plain number.
    #[default]
    Ok,
    /// Something is missing.
    Warning,
    /// A defect, or a fault of the parser.
    Error,
}

/// A number of the capture's health.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HealthItem {
    /// What it belongs to: `capture`, `lost`, `queues`, `parser`, `ledger`.
    pub group: &'static str,
    /// What it counts: `frames dropped by the kernel`.
    pub name: String,
    /// The reason, interface or queue; empty if there is only one.
    pub label: String,
    /// The number.
    pub value: u64,
    /// Its unit: `frames`, `bytes`, `slots`, or empty.
    pub unit: &'static str,
    /// What it may be at most, where it has a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// How serious it is.
    pub level: Level,
    /// The metric that says the same.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub metric: &'static str,
}
