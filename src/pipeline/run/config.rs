//! What a run is asked to do, why it may not begin, and what it reports at its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::batch::{SLOT_BYTES, SLOT_EVENTS, SlotEvent};
use crate::daemon::privileges::{DropPrivileges, PrivilegeError};
use crate::daemon::shutdown::Why;
use crate::export::FormatName;
use crate::export::log::{LogError, Rotation, Target};
use crate::export::server::ServerError;
use crate::export::summary::Summary;
use crate::http::Settings;
use crate::http::filter::Selection;
use crate::pipeline::ledger::Ledger;
use crate::sandbox::engine::{LoadError, MAX_GUEST_MEMORY};
use crate::sandbox::fault::Fault;
use crate::sandbox::selftest::SelfTestError;
use crate::source;
use crate::source::live::{LiveConfig, LiveError};

/// Slots that may wait for one worker: files, where the reader waits for room. More gain nothing.
const FILE_QUEUE: usize = 8;
/// Slots that may wait for all workers together: live. 64 MiB of payload: with the kernel's ring, of the same size, they
/// ride out 100 ms at 1 GB/s.
const LIVE_QUEUES: usize = (64 << 20) / SLOT_BYTES;
/// Slots that may wait for one worker at least: live.
const LEAST_LIVE_QUEUE: usize = 32;

/// Where frames come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// Capture files, "-" being standard input.
    Files(Vec<PathBuf>),
    /// Interfaces, each with its own capture thread.
    Live(Vec<LiveConfig>),
}

/// A parser module and what it was read from.
#[derive(Debug, Clone)]
pub struct Module {
    /// The module.
    pub wasm: Vec<u8>,
    /// Its file; none for the built-in one.
    pub file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug)]
pub struct Config {
    /// Where frames come from.
    pub input: Input,
    /// Capture filter for files; a live source has its own.
    pub filter: Option<String>,
    /// Frames to read at the most.
    pub count: Option<u64>,
    /// Skip packets with a wrong checksum.
    pub verify_checksums: bool,
    /// Sandboxes.
    pub workers: usize,
    /// Slots that may wait for each of them.
    pub queue: usize,
    /// Format of lines.
    pub format: FormatName,
    /// Where lines go.
    pub target: Target,
    /// When the log is rotated.
    pub rotation: Option<Rotation>,
    /// What transactions keep.
    pub settings: Settings,
    /// Which are logged.
    pub selection: Selection,
    /// Where metrics are served.
    pub metrics_address: Option<SocketAddr>,
    /// Where metrics are written at the end.
    pub metrics_file: Option<PathBuf>,
    /// How many hosts may become label values.
    pub host_labels: Option<usize>,
    /// Parser module.
    pub guest: Module,
    /// A second parser, and one in how many connections it sees.
    pub shadow: Option<(Vec<u8>, u64)>,
    /// Bytes for connections and held payload.
    pub memory_limit: u64,
    /// Faults a second after which a worker backs off; 0: never.
    pub fault_limit: u32,
    /// Time that a worker's faults may take in a second.
    pub fault_time: Duration,
    /// Directory for quarantined events.
    pub quarantine: Option<PathBuf>,
    /// Give privileges up once everything is open, and keep what this says.
    pub give_up: Option<DropPrivileges>,
    /// Make a summary.
    pub summary: bool,
    /// Tell on standard error what is being done.
    pub tell: bool,
}

impl Config {
    /// Whether frames come from interfaces.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.input, Input::Live(_))
    }
}

/// Why a run did not begin.
#[derive(Debug, Error)]
pub enum Failure {
    /// The parser is not taken.
    #[error("parser: {0}")]
    Parser(#[from] LoadError),
    /// The parser does not pass its self-test.
    #[error("parser: {0}")]
    SelfTest(#[from] SelfTestError),
    /// A sandbox cannot be started.
    #[error("sandbox: {0}")]
    Sandbox(#[from] Fault),
    /// The log cannot be written.
    #[error("{0}")]
    Log(#[from] LogError),
    /// Metrics cannot be served.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// An input cannot be read.
    #[error("{0}")]
    Input(#[from] source::Error),
    /// An interface cannot be captured from.
    #[error("{0}")]
    Live(#[from] LiveError),
    /// Privileges cannot be given up.
    #[error("{0}")]
    Privileges(#[from] PrivilegeError),
    /// The system refuses something.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Report {
    /// What went wrong on the way, as lines for a person.
    pub errors: Vec<String>,
    /// Where everything went.
    pub ledger: Ledger,
    /// What the transactions came to.
    pub summary: Summary,
    /// Whether it was stopped before the end of its input, and why.
    pub stopped: Option<Why>,
    /// Whether the end was not waited for longer because the log took nothing.
    pub stalled: bool,
}

/// The greatest amount of memory that a run takes by its own bounds, in bytes: connections and held payload, slots under
/// way, the sandboxes, lines under way, fragments, and 64 MiB for code, stacks, tables and metrics. Compiling a module, at the
/// start and at a reload, takes up to 128 MiB beside it.
#[must_use]
pub fn memory_bound(config: &Config, captures: usize) -> u64 {
    let (workers, captures) = (config.workers as u64, captures as u64);
    let slot = (SLOT_BYTES + SLOT_EVENTS * (size_of::<SlotEvent>() + 128)) as u64;
    let slots = workers * (config.queue as u64 + 2 * captures + 2) * slot;
    let sandboxes = workers * (MAX_GUEST_MEMORY as u64 + (2 << 20)) * if config.shadow.is_some() { 2 } else { 1 };
    let compiler = if config.guest.file.is_some() || config.shadow.is_some() { 128 << 20 } else { 0 };
    config.memory_limit + slots + sandboxes + captures * (5 << 20) + (64 << 20) + compiler
}

/// Slots that may wait for each of so many workers, unless something else is asked for.
#[must_use]
pub fn queue(workers: usize, live: bool) -> usize {
    if live { (LIVE_QUEUES / workers.max(1)).max(LEAST_LIVE_QUEUE) } else { FILE_QUEUE }
}
