//! What a run is asked to do, why it may not begin, and what it reports at its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::guests::{Guests, ShadowModule};
use crate::batch::{SLOT_BYTES, SLOT_EVENTS, SlotEvent};
use crate::daemon::privileges::{DropPrivileges, PrivilegeError};
use crate::daemon::shutdown::Why;
use crate::export::columns::Columns;
use crate::export::log::{LogError, Rotation, Target};
use crate::export::merge::MAX_HELD;
use crate::export::metrics::LabelCaps;
use crate::export::server::ServerError;
use crate::export::sorted::Order;
use crate::export::summary::Summary;
use crate::export::terminal::Terminal;
use crate::export::{FormatName, Subject};
use crate::flow::Shard;
use crate::http::Settings;
use crate::http::filter::Selection;
use crate::http::route::Routes;
use crate::pipeline::keep::{Keep, KeepError};
use crate::pipeline::ledger::Ledger;
use crate::pipeline::load::Refusal;
use crate::probe::{ProbeError, Scope};
use crate::sandbox::engine::{LoadError, MAX_GUEST_MEMORY};
use crate::sandbox::fault::Fault;
use crate::source;
use crate::source::live::{LiveConfig, LiveError};
use crate::tls::NameFilter;
use crate::view;
use crate::view::ranked::Ranking;

/// Slots that may wait for one worker: files, where the reader waits for room. With 8 a run takes as long, and of plain HTTP
/// 2 to 9 % more processor time: slots leave the cache before they are read, and skip hints come later.
const FILE_QUEUE: usize = 4;
/// Slots that may wait for all workers together: live. 64 MiB of payload: with the kernel's ring, of the same size, they
/// ride out 100 ms at 1 GB/s.
const LIVE_QUEUES: usize = (64 << 20) / SLOT_BYTES;
/// Slots that may wait for one worker at least: live.
const LEAST_LIVE_QUEUE: usize = 32;

/// Default memory for connections and held payload, in MiB.
pub const DEFAULT_MEMORY_MIB: u32 = 256;
/// Default number of faults in a second after which a worker backs off.
pub const DEFAULT_FAULT_LIMIT: u32 = 1000;
/// Default time that a worker's faults may take in a second, in milliseconds.
pub const DEFAULT_FAULT_MS: u32 = 500;

/// Where frames come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// Capture files, "-" being standard input.
    Files(Vec<PathBuf>),
    /// Interfaces, each with its own capture thread.
    Live(Vec<LiveConfig>),
}

/// How lines are arranged, at the end of a run over files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrangement {
    /// In the order of a field; the first so many of them.
    Sorted(Order, Option<usize>),
    /// In their place a table of what they add up to.
    Ranked(Ranking),
}

/// How the page for people is served.
#[derive(Debug, Clone, Default)]
pub struct PageOptions {
    /// Names under which it may be asked for, beside `localhost` and addresses.
    pub hosts: Vec<String>,
}

/// What a run is to do. [`Config::files`] and [`Config::live`] set every field but the input to its default, so that a caller
/// names what differs:
///
/// ```
/// # use picotap::pipeline::Config;
/// let config = Config { workers: 2, ..Config::files(["capture.pcap"]) };
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Where frames come from.
    pub input: Input,
    /// Capture filter for files, in the language of pcap-filter(7); a live source has its own. By default all frames.
    pub filter: Option<String>,
    /// Frames that each capture thread reads at the most. By default all.
    pub count: Option<u64>,
    /// Whether packets with a wrong checksum are skipped. By default not.
    pub verify_checksums: bool,
    /// Key logs with secrets of TLS connections: for files read before the first frame, live while they grow. By default none.
    pub key_logs: Vec<PathBuf>,
    /// What is probed for secrets of TLS connections: live. By default nothing.
    pub probes: Option<Scope>,
    /// The key log to which the secrets are added that captured connections use: with probes. By default none.
    pub save_key_log: Option<PathBuf>,
    /// Of TLS connections, those are decrypted whose server's name fits all of these. By default all.
    pub tls_filters: Vec<NameFilter>,
    /// Whether a connection that is seen elsewhere is left out: on another interface, in a tunnel, or with other addresses. By
    /// default not.
    pub drop_duplicates: bool,
    /// The part of the connections that is taken. By default all.
    pub shard: Option<Shard>,
    /// Sandboxes, and threads that run them; over files the capture thread is one of several, unless there are more cores. By
    /// default 1.
    pub workers: usize,
    /// Cores that there are. By default 1.
    pub cores: usize,
    /// Slots that may wait for each of them. By default see [`Config::queue_length`].
    pub queue: Option<usize>,
    /// Format of lines. By default JSON.
    pub format: FormatName,
    /// What lines are about. By default transactions.
    pub subject: Subject,
    /// Columns of tables, if not the usual ones.
    pub columns: Option<Columns>,
    /// How lines are arranged, if not in the order of completion. For files only: they are written at the end.
    pub arrangement: Option<Arrangement>,
    /// Where lines go. By default to standard output.
    pub target: Target,
    /// How texts for people are written there. By default without colours, and of any width.
    pub terminal: Terminal,
    /// Where the packets of connections with logged lines are kept. By default nowhere.
    pub keep: Option<Keep>,
    /// When the log is rotated. By default never.
    pub rotation: Option<Rotation>,
    /// What transactions keep. By default no further headers, the community identifier, routes, and no secrets.
    pub settings: Settings,
    /// Which transactions, or TLS connections, are logged. By default all.
    pub selection: Selection,
    /// Where metrics are served. By default nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// Whether that is a choice that nobody made: if the address cannot be had, the run goes on without. By default not.
    pub metrics_address_may_fail: bool,
    /// The page for people there, with its data. By default it is not served.
    pub page: Option<PageOptions>,
    /// Where a report is written at the end: the page with its data inside. By default nowhere.
    pub report: Option<PathBuf>,
    /// Where metrics are written at the end. By default nowhere.
    pub metrics_file: Option<PathBuf>,
    /// How many values labels may have. By default there are no such labels.
    pub label_caps: LabelCaps,
    /// The parsers. By default the built-in one.
    pub guests: Guests,
    /// A second parser. By default none.
    pub shadow: Option<ShadowModule>,
    /// Bytes for connections and held payload. By default [`DEFAULT_MEMORY_MIB`].
    pub memory_limit: u64,
    /// Faults a second after which a worker backs off; 0: never. By default [`DEFAULT_FAULT_LIMIT`].
    pub fault_limit: u32,
    /// Time that a worker's faults may take in a second. By default [`DEFAULT_FAULT_MS`].
    pub fault_time: Duration,
    /// Directory for quarantined events. By default they are not kept.
    pub quarantine: Option<PathBuf>,
    /// Whether events of decrypted connections are kept there too. By default not.
    pub quarantine_decrypted: bool,
    /// Whether a helper process looks for the processes at the ends of connections: live only. By default not.
    pub processes: bool,
    /// The privileges to keep: all others are dropped once the inputs and the endpoint are open. By default the process keeps
    /// what it has.
    pub drop_privileges: Option<DropPrivileges>,
    /// Whether lines are logged. By default they are.
    pub lines: bool,
    /// Whether the caller shows what is seen (`run_shown`). By default it does not.
    pub shown: bool,
    /// Whether a summary is made. By default not.
    pub summary: bool,
    /// Whether only errors are printed on standard error. By default notices and progress are too.
    pub quiet: bool,
}

impl Config {
    /// Reads capture files, one after the other, "-" being standard input.
    pub fn files(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self::with(Input::Files(paths.into_iter().map(Into::into).collect()))
    }

    /// Captures from interfaces.
    pub fn live(sources: impl IntoIterator<Item = LiveConfig>) -> Self {
        Self::with(Input::Live(sources.into_iter().collect()))
    }

    /// All defaults, in one place.
    fn with(input: Input) -> Self {
        Self {
            input,
            filter: None,
            count: None,
            verify_checksums: false,
            key_logs: Vec::new(),
            probes: None,
            save_key_log: None,
            tls_filters: Vec::new(),
            drop_duplicates: false,
            shard: None,
            workers: 1,
            cores: 1,
            queue: None,
            format: FormatName::Json,
            subject: Subject::default(),
            columns: None,
            arrangement: None,
            target: Target::Stdout,
            terminal: Terminal::default(),
            keep: None,
            rotation: None,
            settings: Settings { community_id: true, routes: Some(Routes::default()), ..Settings::default() },
            selection: Selection::default(),
            metrics_address: None,
            metrics_address_may_fail: false,
            page: None,
            report: None,
            metrics_file: None,
            label_caps: LabelCaps::default(),
            guests: Guests::default(),
            shadow: None,
            memory_limit: u64::from(DEFAULT_MEMORY_MIB) << 20,
            fault_limit: DEFAULT_FAULT_LIMIT,
            fault_time: Duration::from_millis(u64::from(DEFAULT_FAULT_MS)),
            quarantine: None,
            quarantine_decrypted: false,
            processes: false,
            drop_privileges: None,
            lines: true,
            shown: false,
            summary: false,
            quiet: false,
        }
    }

    /// Slots that may wait for each worker. By default 4 for files, where the reader waits for room; live 256 shared among
    /// the workers, at least 32 each.
    #[must_use]
    pub fn queue_length(&self) -> usize {
        match self.queue {
            Some(queue) => queue.max(1),
            None if self.is_live() => (LIVE_QUEUES / self.workers.max(1)).max(LEAST_LIVE_QUEUE),
            None => FILE_QUEUE,
        }
    }

    /// The most memory that the run takes by its own bounds, in bytes: connections, held payload and open transactions
    /// (`memory_limit`), slots in use, the sandboxes, fragments, and 64 MiB for code, stacks, tables, metrics and lines in
    /// queues. With a module file, also the 128 MiB that compiling it may take, at the start and at a reload.
    #[must_use]
    pub fn memory_bound(&self) -> u64 {
        let (workers, captures) = (self.workers as u64, self.captures() as u64);
        let slot = (SLOT_BYTES + SLOT_EVENTS * (size_of::<SlotEvent>() + 128)) as u64;
        let slots = workers * (self.queue_length() as u64 + 2 * captures + 2) * slot;
        let modules = self.guests.len() as u64 * if self.shadow.is_some() { 2 } else { 1 };
        let sandboxes = workers * modules * (MAX_GUEST_MEMORY as u64 + (2 << 20));
        let from_files = self.guests.iter().any(|module| module.file.is_some()) || self.shadow.is_some();
        let compiler = if from_files { 128 << 20 } else { 0 };
        // A shadow keeps extra state of its own.
        let shadow = if self.shadow.is_some() { self.memory_limit / 4 } else { 0 };
        // Lines of several workers wait for each other.
        let held = if workers > 1 { MAX_HELD as u64 } else { 0 };
        let view = if self.shows() { view::MEMORY[0] + workers * view::MEMORY[1] } else { 0 };
        let keep = self.keep.as_ref().map_or(0, |keep| keep.memory(captures));
        self.memory_limit
            + keep
            + view
            + held
            + shadow
            + slots
            + sandboxes
            + captures * (5 << 20)
            + (64 << 20)
            + compiler
    }

    /// The most bytes of extra state that the parsers may keep for the connections of one worker: a quarter of the memory
    /// limit, divided among the workers.
    #[must_use]
    pub fn extra_limit(&self) -> u64 {
        self.memory_limit / 4 / self.workers.max(1) as u64
    }

    /// Capture threads: all files share one, and each live source has its own.
    #[must_use]
    pub fn captures(&self) -> usize {
        match &self.input {
            Input::Files(_) => 1,
            Input::Live(sources) => sources.len(),
        }
    }

    /// Whether anything shows the transactions to people, beside the log.
    #[must_use]
    pub const fn shows(&self) -> bool {
        self.shown || self.page.is_some() && self.metrics_address.is_some() || self.report.is_some()
    }

    /// Whether there are secrets, or may be: of key logs or of probes.
    #[must_use]
    pub const fn reads_secrets(&self) -> bool {
        !self.key_logs.is_empty() || self.probes.is_some()
    }

    /// Whether it captures from interfaces.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.input, Input::Live(_))
    }
}

/// Why a run does not begin.
#[derive(Debug, Error)]
pub enum Failure {
    /// Nothing can be run in sandboxes here.
    #[error("sandbox: {0}")]
    Engine(#[from] LoadError),
    /// A parser is not taken.
    #[error("{parser}: {cause}")]
    Parser {
        /// The module.
        parser: String,
        /// Why it is not.
        cause: Refusal,
    },
    /// A sandbox cannot be started.
    #[error("sandbox: {0}")]
    Sandbox(#[from] Fault),
    /// The log cannot be written.
    #[error("{0}")]
    Log(#[from] LogError),
    /// Packets cannot be kept.
    #[error("{0}")]
    Keep(#[from] KeepError),
    /// The report could not be written at the end.
    #[error("{}: the report cannot be written: {error}", path.display())]
    Report {
        /// Its file.
        path: PathBuf,
        /// Why it could not.
        error: std::io::Error,
    },
    /// Metrics cannot be served.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// An input cannot be read.
    #[error("{0}")]
    Input(#[from] source::Error),
    /// An interface cannot be captured from.
    #[error("{0}")]
    Live(#[from] LiveError),
    /// Privileges cannot be dropped.
    #[error("{0}")]
    Privileges(#[from] PrivilegeError),
    /// A key log cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    KeyLog {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The key log cannot be written.
    #[error("--save-keylog {}: {cause}", path.display())]
    SaveKeyLog {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
        cause: std::io::Error,
    },
    /// What was named cannot be probed.
    #[error("--tls-probes: {0}")]
    Probes(#[from] ProbeError),
    /// The system refuses something: what, and its reason.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Report {
    /// What went wrong meanwhile, each as one line of text.
    pub errors: Vec<String>,
    /// What became of every frame and every payload byte.
    pub ledger: Ledger,
    /// A summary of the transactions, if one was asked for.
    pub summary: Summary,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether it had secrets of TLS at its end.
    pub secrets: bool,
    /// Why it was stopped before the end of its input, if it was.
    pub stopped: Option<Why>,
    /// Whether it ended without waiting for the log, which took nothing.
    pub stalled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Module;

    #[test]
    fn queues_of_live_workers_share_what_is_allowed() {
        let live = |workers| Config { workers, ..Config::live([LiveConfig::new("lo")]) };
        assert_eq!([1, 2, 8, 64].map(|workers| live(workers).queue_length()), [256, 128, 32, 32]);
        assert_eq!(Config { workers: 64, ..Config::files(["x.pcap"]) }.queue_length(), 4);
        assert_eq!(Config { queue: Some(5), ..live(2) }.queue_length(), 5);
        assert_eq!(Config { queue: Some(0), ..live(2) }.queue_length(), 1, "a queue without room takes nothing");
    }

    #[test]
    fn memory_is_bounded_by_what_is_configured() {
        let files = Config::files(["x.pcap"]);
        let bound = files.memory_bound();
        let more = Config { memory_limit: files.memory_limit + 1, ..files.clone() };
        assert_eq!(more.memory_bound(), bound + 1);
        let two = Config { workers: 2, ..files.clone() };
        assert!(two.memory_bound() > bound + MAX_GUEST_MEMORY as u64);
        let shadow = Some(ShadowModule { wasm: Vec::new(), file: None, sample: 1 });
        assert!(
            Config { shadow: shadow.clone(), ..files.clone() }.memory_bound() > bound + MAX_GUEST_MEMORY as u64,
            "two sandboxes and a compiler"
        );
        let keep = Keep { file: "kept.pcap".into(), buffer: 64 << 20, secrets: false };
        let kept = |sources: usize| {
            let live = Config::live((0..sources).map(|_| LiveConfig::new("lo")));
            let without = live.memory_bound();
            Config { keep: Some(keep.clone()), ..live }.memory_bound() - without
        };
        // What is held, a sixteenth more, and chunks of 1.5 MiB: one of each capture thread, and 18 on the way.
        assert_eq!([1, 4].map(kept), [1, 4].map(|threads| (68 << 20) + (18 + threads) * (3 << 19)));
        let module = |name: &str| Module { protocol: name.parse().expect("a name"), wasm: Vec::new(), file: None };
        let guests = Guests::new([module("a"), module("b")]).expect("four protocols");
        let four = Config { guests, ..files };
        let sandbox = MAX_GUEST_MEMORY as u64 + (2 << 20);
        assert_eq!(four.memory_bound(), bound + 2 * sandbox);
        let shadowed = Config { shadow, workers: 2, ..four.clone() }.memory_bound();
        let unshadowed = Config { workers: 2, ..four }.memory_bound();
        assert_eq!(
            shadowed,
            unshadowed + 8 * sandbox + (128 << 20) + (64 << 20),
            "a shadow has the whole set, in each worker"
        );
    }
}
