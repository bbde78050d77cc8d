//! A run: sets up threads and channels, waits for the end, and adds up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::slice::from_ref;
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use thiserror::Error;

use super::capture::{Capture, Delivery, FileProducer, LiveProducer, Packets, WorkerChannel};
use super::clock::{now, wall_clock};
use super::health::{Health, Phase};
use super::ledger::Ledger;
use super::load;
use super::opened::Opened;
use super::outputs::outputs;
use super::pages::pages;
use super::privileges::{self, DropPrivileges, PrivilegeError};
use super::progress::Progress;
use super::quarantine;
use super::reload::Reloader;
use super::scrape::{Samples, Scrape};
use super::sd_notify::Supervisor;
use super::shared::{CaptureCounters, Shared};
use super::shutdown::{Shutdown, Why};
use super::worker::{self, SkipHint, WorkerOptions, WorkerOutputs, WorkerQueues};
use super::writer::{self, Exporter};
use crate::batch::{Batcher, SLOT_BYTES, SLOT_EVENTS, SlotEvent};
use crate::export::FormatName;
use crate::export::chunk::{self, ChunkReceiver};
use crate::export::log::{LogError, Rotation, Target};
use crate::export::metrics::Metrics;
use crate::export::open::METRICS_MODE;
use crate::export::server::{self, Bound, ServerError};
use crate::export::summary::Summary;
use crate::flow::{self, Table};
use crate::http::filter::Selection;
use crate::http::{HttpContext, Settings};
use crate::packet::Decoder;
use crate::sandbox::call::Bounds;
use crate::sandbox::driver::{Driver, MAX_LOADED};
use crate::sandbox::engine::{Engine, LoadError, MAX_GUEST_MEMORY};
use crate::sandbox::fault::Fault;
use crate::sandbox::selftest::SelfTestError;
use crate::sandbox::shadow::Shadow;
use crate::source;
use crate::source::live::{Live, LiveConfig, LiveError, Stopper};

/// Slots that may wait for one worker: files, where the reader waits for room. More gain nothing.
const FILE_QUEUE: usize = 8;
/// Slots that may wait for all workers together: live. 64 MiB of payload: with the kernel's ring, of the same size, they
/// ride out 100 ms at 1 GB/s.
const LIVE_QUEUES: usize = (64 << 20) / SLOT_BYTES;
/// Slots that may wait for one worker at least: live.
const LEAST_LIVE_QUEUE: usize = 32;
/// Chunks of lines that may be under way to the export thread.
const LINES_IN_QUEUE: usize = 64;
/// Words that may be under way to a capture thread.
const SKIPS_IN_QUEUE: usize = 4096;
/// Quarantined events that may be under way to the quarantine.
const QUARANTINE_QUEUE: usize = 64;
/// Nanoseconds of frame time after which a slot goes to its worker though it is not full: live.
const SLOT_AGE: i64 = 5_000_000;
/// How often the threads are looked after.
const LOOK: Duration = Duration::from_millis(50);
/// Native stack of a worker: the guest's own, what runs in it, and room to spare.
const WORKER_STACK: usize = 4 << 20;

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

/// Runs the pipeline to the end of its input, or until a stop is asked for.
///
/// # Errors
/// Whatever keeps it from beginning.
pub fn run(config: Config, shutdown: &Shutdown) -> Result<Report, Failure> {
    let started = wall_clock();
    let opened = Opened::new(&config, shutdown)?;
    let bound = config.metrics_address.map(server::bind).transpose()?;
    let live = matches!(opened, Opened::Live(_));
    // Of a run over files nobody waits to hear, though it may inherit the environment of a service.
    let supervisor = if live { Supervisor::connect() } else { Ok(Supervisor::default()) };
    let supervisor = Arc::new(supervisor.map_err(|e| Failure::System("the service manager cannot be told", e))?);
    if let Some(keep) = &config.give_up {
        let report = privileges::give_up(keep, &opened.packet_sockets())?;
        // What could not be done is told at any rate.
        if config.tell || !report.is_whole() {
            eprintln!("picotap: {report}");
        }
    }
    let captures = match &opened {
        Opened::Files(_) => 1,
        Opened::Live(sources) => sources.len(),
    };
    let names: Arc<[String]> = opened.interfaces().into();
    if config.tell && live {
        let rings: u64 = match &config.input {
            Input::Files(_) => 0,
            Input::Live(sources) => sources.iter().map(|source| u64::from(source.buffer_kib) << 10).sum(),
        };
        let (own, rings) = (memory_bound(&config, captures) >> 20, rings >> 20);
        eprintln!("picotap: memory is bound to {own} MiB, and {rings} MiB of the kernel's for packets");
    }
    let health = Arc::new(Health::new(if live { captures } else { 0 }, config.workers, now()));
    let scrape = Arc::new(OnceLock::<Scrape>::new());
    let refused = bound.as_ref().map(Bound::refused).unwrap_or_default();
    let server = match bound {
        Some(bound) => {
            if config.tell {
                eprintln!("picotap: metrics on http://{}/metrics", bound.address());
            }
            Some(bound.serve(pages(&health, &scrape))?)
        }
        None => None,
    };
    let loaded = config.workers * (MAX_LOADED + 2) * 2 + 4;
    let engine = Arc::new(Engine::new(u32::try_from(loaded).unwrap_or(u32::MAX))?);
    let Some((parser, shadow)) = load::parsers(&engine, &config, live, shutdown)? else {
        let ledger = Ledger { ended: true, ..Ledger::default() };
        return Ok(Report { ledger, stopped: shutdown.why(), ..Report::default() });
    };
    let log = writer::open(&config, &names, started, shutdown)?;
    let shared = Arc::new(Shared::new(captures, config.workers, Arc::clone(&parser), Arc::clone(&health)));
    let metrics = match config.metrics_address.is_some() || config.metrics_file.is_some() {
        true => Some(Arc::new(Metrics::new(config.host_labels).expect("names and bounds are constants, tested"))),
        false => None,
    };
    if let Some(metrics) = &metrics {
        let started = u64::try_from(started / 1_000_000_000).unwrap_or(0);
        let samples = Samples::new(Arc::clone(&shared), started, config.queue, refused);
        metrics.register(Box::new(samples)).expect("no name is there twice: a test scrapes them all");
        // Nothing else sets it.
        let _set = scrape.set(Scrape { shared: Arc::clone(&shared), metrics: Arc::clone(metrics) });
    }

    let ways = (captures, live, shutdown);
    let workers_and_channels =
        Workers::start(&config, &names, &parser, shadow.as_ref(), &shared, metrics.as_ref(), ways)?;
    let Workers { delivery, skips, lines, quarantined, workers } = workers_and_channels;
    let exporter = Exporter::start(log, lines, Arc::clone(&shared), shutdown.clone(), !live);
    let mut exporter = exporter.map_err(|e| Failure::System("a thread cannot be started", e))?;
    let quarantine_thread = {
        let directory = config.quarantine.clone();
        spawn("quarantine", move || quarantine::keep(directory.as_deref(), &quarantined))?
    };
    let reloader = Reloader {
        engine: Arc::clone(&engine),
        file: config.guest.file.clone(),
        shared: Arc::clone(&shared),
        supervisor: Arc::clone(&supervisor),
        shutdown: shutdown.clone(),
    };
    let signals = super::reload::on_signals(reloader).map_err(|e| Failure::System("signals cannot be taken", e))?;
    let mut stoppers = Vec::new();
    let mut capturing: Vec<JoinHandle<Vec<String>>> = Vec::new();
    let total = if let Opened::Files(captures) = &opened { captures.progress().total } else { None };
    let mut sources: Vec<Option<Live>> = Vec::new();
    let mut files = None;
    match opened {
        Opened::Files(captures) => files = Some(captures),
        Opened::Live(all) => sources.extend(all.into_iter().map(Some)),
    }
    // Nothing is ever sent: the last capture thread to end closes it.
    let (running, ended_all) = bounded::<()>(0);
    for (place, skips) in skips.into_iter().enumerate() {
        let running = running.clone();
        let delivery = Delivery::new(delivery.clone());
        let age = if live { SLOT_AGE } else { i64::MAX };
        let table = flow::Config {
            memory_limit: config.memory_limit / captures as u64,
            hash_seed: flow::random_seed(),
            producer: u16::try_from(place).unwrap_or(0),
            producers: u16::try_from(captures).unwrap_or(u16::MAX),
            ..flow::Config::default()
        };
        let source = sources.get_mut(place).and_then(Option::take);
        let interface = source.as_ref().map(|source| source.interface().to_owned());
        let capture = Capture {
            index: place,
            batcher: Batcher::new(config.workers, age, !live, delivery),
            skips,
            left: config.count.unwrap_or(u64::MAX),
            shared: Arc::clone(&shared),
            shutdown: shutdown.clone(),
            counters: CaptureCounters { interface, ..CaptureCounters::default() },
        };
        let packets = Packets::new(Decoder::new(config.verify_checksums), Table::new(table));
        let thread = if let Some(source) = source {
            stoppers.push(source.stopper());
            spawn("capture", move || {
                let errors = capture.run(LiveProducer::new(source, packets));
                drop(running);
                errors
            })?
        } else if let Some(files) = files.take() {
            let files = FileProducer::new(*files, packets, shutdown.clone());
            spawn("capture", move || {
                let errors = capture.run(files);
                drop(running);
                errors
            })?
        } else {
            continue;
        };
        capturing.push(thread);
    }
    drop((delivery, running));

    health.enter(Phase::Running, now());
    supervisor.ready();
    let mut watch = Progress::new(live, total, config.tell);
    let mut told = false;
    loop {
        // Before the request to stop is looked at: a thread that ends in good order asks for it first.
        let dead = ended(&capturing)
            .chain(ended(&workers))
            .chain(ended(from_ref(exporter.thread())))
            .chain(ended(from_ref(&quarantine_thread)));
        let dead = dead.collect();
        if shutdown.asked() {
            if health.phase() != Phase::Stopping {
                health.enter(Phase::Stopping, now());
                supervisor.stopping();
            }
            stoppers.iter().for_each(Stopper::stop);
        } else {
            // Over files the capture thread ends in good order unasked.
            health.look(now(), if live { dead } else { Vec::new() });
            let trouble = health.trouble(now());
            match &trouble {
                None => supervisor.well(now()),
                Some(trouble) if !told => eprintln!("picotap: {trouble}"),
                Some(_) => {}
            }
            told = trouble.is_some();
        }
        exporter.look(shutdown);
        watch.look(&shared);
        if let Err(RecvTimeoutError::Disconnected) = ended_all.recv_timeout(LOOK) {
            break;
        }
    }
    watch.end();
    let mut errors = Vec::new();
    for thread in capturing {
        errors.extend(thread.join().unwrap_or_else(|_| vec![defect("capture")]));
    }
    // Before the workers: over files they wait for it.
    let (failed, stalled) = exporter.end(&shared, shutdown);
    errors.extend(failed);
    for thread in workers {
        if thread.join().is_err() {
            errors.push(defect("sandbox"));
        }
    }
    errors.extend(quarantine_thread.join().unwrap_or_else(|_| vec![defect("quarantine")]));
    signals.close();
    if let (Some(path), Some(scrape)) = (&config.metrics_file, scrape.get()) {
        let replace = |text: String| crate::export::open::replace(path, METRICS_MODE, text.as_bytes());
        let written = scrape.text().map_err(std::io::Error::other).and_then(replace);
        errors.extend(written.err().map(|e| format!("{}: metrics cannot be written: {e}", path.display())));
    }
    drop(server);
    let stopped = shutdown.why();
    // Closed or failed: threads were left where they stood, with what they held.
    let ended = !matches!(stopped, Some(Why::Closed | Why::Failed));
    let ledger = Ledger { ended, ..shared.ledger() };
    let (cut, frames) = (ledger.packets.cut_frames, ledger.packets.frames);
    if config.tell && cut > 0 {
        eprintln!(
            "picotap: {cut} of {frames} frames were cut by the snap length: what was cut off is missing (capture with a larger \
             -s, or without one)"
        );
    }
    if ended && let Some(wrong) = ledger.imbalance() {
        debug_assert!(false, "the ledger does not balance: {wrong}");
        errors.push(format!("the ledger does not balance: this is a defect of picotap, please report it: {wrong}"));
    }
    Ok(Report { errors, ledger, summary: shared.summary.get(), stopped, stalled })
}

pub(super) fn defect(thread: &str) -> String {
    format!("the {thread} thread failed: this is a defect of picotap, please report it with the lines above")
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Failure> {
    let thread = Builder::new().name(name.to_owned()).stack_size(WORKER_STACK).spawn(body);
    thread.map_err(|e| Failure::System("a thread cannot be started", e))
}

/// The workers, and the other ends of their channels.
struct Workers {
    delivery: Vec<WorkerChannel>,
    skips: Vec<Receiver<SkipHint>>,
    lines: ChunkReceiver,
    quarantined: Receiver<crate::sandbox::quarantine::QuarantinedEvent>,
    workers: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(
        config: &Config,
        names: &Arc<[String]>,
        parser: &Arc<crate::sandbox::engine::Parser>,
        shadow: Option<&(Arc<crate::sandbox::engine::Parser>, u64)>,
        shared: &Arc<Shared>,
        metrics: Option<&Arc<Metrics>>,
        (captures, live, shutdown): (usize, bool, &Shutdown),
    ) -> Result<Self, Failure> {
        let (chunks, lines) = chunk::channel(LINES_IN_QUEUE, !live, Arc::clone(&shared.lines_unsent));
        let outputs = outputs(config, names, shared, metrics, chunks);
        let (quarantine_in, quarantined) = bounded(QUARANTINE_QUEUE);
        let (skips_in, skips): (Vec<_>, Vec<_>) = (0..captures).map(|_| bounded(SKIPS_IN_QUEUE)).unzip();
        let mut workers_and_channels = Self { delivery: Vec::new(), skips, lines, quarantined, workers: Vec::new() };
        for place in 0..config.workers {
            let (full_in, full_out) = bounded(config.queue.max(1));
            let (empty_in, empty_out) = bounded(config.queue + 2 * captures);
            workers_and_channels.delivery.push((full_in, empty_out));
            let driver = Driver::new(Arc::clone(parser), Bounds::default())?;
            let queues = WorkerQueues {
                slots: full_out,
                empty: empty_in,
                skips: skips_in.clone(),
                quarantined: quarantine_in.clone(),
            };
            let outputs = WorkerOutputs {
                context: HttpContext::new(config.settings.clone()),
                consumers: outputs.iter().map(|output| output.consumer()).collect(),
                shadow: shadow.map(|(parser, n)| Shadow::new(Arc::clone(parser), *n, config.fault_time)).transpose()?,
            };
            let options = WorkerOptions {
                index: place,
                fault_limit: config.fault_limit,
                fault_time: config.fault_time,
                lossless: !live,
                shutdown: shutdown.clone(),
            };
            let shared = Arc::clone(shared);
            let body = move || worker::work(driver, outputs, queues, &shared, options);
            workers_and_channels.workers.push(spawn(&format!("sandbox-{place}"), body)?);
        }
        Ok(workers_and_channels)
    }
}

/// Names of the threads that have ended.
fn ended<T>(threads: &[JoinHandle<T>]) -> impl Iterator<Item = String> {
    let ended = threads.iter().filter(|thread| thread.is_finished());
    ended.map(|thread| thread.thread().name().unwrap_or_default().to_owned())
}

/// Slots that may wait for each of so many workers, unless something else is asked for.
#[must_use]
pub fn queue(workers: usize, live: bool) -> usize {
    if live { (LIVE_QUEUES / workers.max(1)).max(LEAST_LIVE_QUEUE) } else { FILE_QUEUE }
}
