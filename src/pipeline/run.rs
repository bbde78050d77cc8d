//! A run: sets up threads and channels, waits for the end, and adds up.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::bounded;
use thiserror::Error;

use super::capture::{Capture, Delivery};
use super::export::{self, Output};
use super::ledger::Ledger;
use super::polled::Polled;
use super::shutdown::{Shutdown, Why};
use super::worker::{self, Ends};
use crate::batch::{Batcher, SLOT_BYTES, Slot};
use crate::export::FormatName;
use crate::flow::{self, Table};
use crate::http::{Desk, Settings};
use crate::packet::{self, Decoder};
use crate::sandbox::driver::{self, Driver};
use crate::sandbox::engine::{Engine, LoadError, MAX_GUEST_MEMORY};
use crate::sandbox::fault::{Fault, NAMES};
use crate::sandbox::layout::Bounds;
use crate::source::{self, Captures, Filter};
use crate::{batch, http};

/// Slots that may be under way to one worker.
const SLOTS_IN_QUEUE: usize = 8;
/// Buffers of lines that may be under way to the export thread.
const LINES_IN_QUEUE: usize = 64;
/// Words that may be under way to the capture thread.
const SKIPS_IN_QUEUE: usize = 4096;
/// Poisonous events that may be under way to the quarantine.
const POISON_IN_QUEUE: usize = 64;
/// Nanoseconds of frame time after which a slot goes to its worker though it is not full.
const SLOT_AGE: i64 = 5_000_000;
/// Native stack of a worker: the guest's own, what runs in it, and room to spare.
const WORKER_STACK: usize = 4 << 20;

/// What to do.
#[derive(Debug)]
pub struct Config {
    /// Capture files, "-" being standard input.
    pub files: Vec<PathBuf>,
    /// Capture filter.
    pub filter: Option<String>,
    /// Frames to read at the most.
    pub count: Option<u64>,
    /// Skip packets with a wrong checksum.
    pub verify_checksums: bool,
    /// Sandboxes.
    pub workers: usize,
    /// Format of lines.
    pub format: FormatName,
    /// Where they go; standard output by default.
    pub output: Option<PathBuf>,
    /// What transactions keep.
    pub settings: Settings,
    /// Parser module.
    pub guest: Vec<u8>,
    /// Bytes for connections and held payload.
    pub memory_limit: u64,
    /// Faults a second after which a worker backs off; 0: never.
    pub fault_limit: u32,
    /// Directory for poisonous events.
    pub quarantine: Option<PathBuf>,
}

/// Why a run did not begin.
#[derive(Debug, Error)]
pub enum Failure {
    /// The parser is not taken.
    #[error("parser: {0}")]
    Parser(#[from] LoadError),
    /// A sandbox cannot be started.
    #[error("sandbox: {0}")]
    Sandbox(#[from] Fault),
    /// The output cannot be written.
    #[error("{path}: cannot be written: {error}")]
    Output {
        /// The file.
        path: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// An input cannot be read.
    #[error("{0}")]
    Input(#[from] source::Error),
    /// The system refuses something.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// What one worker counts.
#[derive(Debug, Clone, Default)]
pub struct WorkerCounters {
    /// Its sandbox.
    pub sandbox: driver::Counters,
    /// Its transactions.
    pub http: http::Counters,
    /// Faults by name, as in [`NAMES`].
    pub faults: [u64; NAMES.len()],
    /// Words to the capture thread that found the channel full.
    pub skips_unsent: u64,
    /// Poisonous events that found the channel full.
    pub poison_unsent: u64,
    /// Time spent on slots.
    pub busy: Duration,
}

/// What a capture thread counts.
#[derive(Debug, Clone, Default)]
pub struct CaptureCounters {
    /// Frames that the filter left out.
    pub filtered: u64,
    /// Frames.
    pub packets: packet::Counts,
    /// Payload.
    pub flow: flow::Counters,
    /// Slots.
    pub batch: batch::Counters,
    /// Connections in the table.
    pub connections: u64,
    /// Bytes that the table takes.
    pub memory: u64,
}

/// What the threads publish for metrics and the end.
#[derive(Debug, Default)]
pub struct Shared {
    /// The capture thread's counters.
    pub capture: Mutex<CaptureCounters>,
    /// The workers'.
    pub workers: Vec<Mutex<WorkerCounters>>,
    /// Bytes that each worker takes for connections and waiting payload.
    pub worker_memory: Vec<AtomicU64>,
    /// Bytes of the input read so far.
    pub progress: AtomicU64,
}

impl Shared {
    /// Takes over a worker's counters.
    pub fn publish_worker(&self, place: usize, counters: &WorkerCounters, memory: u64) {
        if let Some(slot) = self.workers.get(place)
            && let Ok(mut slot) = slot.lock()
        {
            slot.clone_from(counters);
        }
        if let Some(bytes) = self.worker_memory.get(place) {
            bytes.store(memory, Ordering::Relaxed);
        }
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        if let Ok(capture) = self.capture.lock() {
            ledger.filtered = capture.filtered;
            ledger.packets = capture.packets.clone();
            ledger.flow = capture.flow;
            ledger.batch = capture.batch;
        }
        for worker in self.workers.iter().filter_map(|worker| worker.lock().ok()) {
            ledger.sandbox.add(&worker.sandbox);
            ledger.http.add(&worker.http);
        }
        ledger
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// What went wrong on the way, as lines for a person.
    pub errors: Vec<String>,
    /// Where everything went.
    pub ledger: Ledger,
    /// Whether it was stopped before the end of its input, and why.
    pub stopped: Option<Why>,
}

/// The greatest amount of memory that a run takes by its own bounds, in bytes.
#[must_use]
pub fn memory_bound(config: &Config) -> u64 {
    let workers = config.workers as u64;
    let slots = (SLOTS_IN_QUEUE as u64 + 3) * (SLOT_BYTES as u64 + 256 * 1024);
    config.memory_limit + workers * (slots + 2 * MAX_GUEST_MEMORY as u64) + (64 << 20)
}

/// Runs the pipeline to the end of its input, or until a stop is asked for.
///
/// # Errors
/// Whatever keeps it from beginning.
pub fn run(config: Config, shutdown: &Shutdown) -> Result<Report, Failure> {
    let engine = Engine::new(u32::try_from(config.workers * 2 + 2).unwrap_or(u32::MAX))?;
    let parser = Arc::new(engine.load(&config.guest)?);
    let captures = open(&config, shutdown)?;
    let output = Output::open(config.output.as_ref())
        .map_err(|(path, error)| Failure::Output { path: path.display().to_string(), error })?;
    let shared = Arc::new(Shared {
        workers: (0..config.workers).map(|_| Mutex::default()).collect(),
        worker_memory: (0..config.workers).map(|_| AtomicU64::new(0)).collect(),
        ..Shared::default()
    });
    let spawn = |name: String| std::thread::Builder::new().name(name);
    let (lines_in, lines_out) = bounded(LINES_IN_QUEUE);
    let (buffers_in, buffers_out) = bounded(LINES_IN_QUEUE);
    let (skips_in, skips_out) = bounded(SKIPS_IN_QUEUE);
    let (poison_in, poison_out) = bounded(POISON_IN_QUEUE);
    let mut delivery = Delivery { workers: Vec::new() };
    let mut workers = Vec::new();
    for place in 0..config.workers {
        let (full_in, full_out) = bounded(SLOTS_IN_QUEUE);
        let (empty_in, empty_out) = bounded(SLOTS_IN_QUEUE + 2);
        delivery.workers.push((full_in, empty_out));
        let driver = Driver::new(Arc::clone(&parser), Bounds::default())?;
        let ends = Ends {
            slots: full_out,
            empty: empty_in,
            skips: skips_in.clone(),
            lines: lines_in.clone(),
            buffers: buffers_out.clone(),
            poison: poison_in.clone(),
        };
        let desk = Desk::new(config.settings.clone());
        let format = config.format.writer(Arc::default());
        let (shared, limit) = (Arc::clone(&shared), config.fault_limit);
        let worker = spawn(format!("sandbox-{place}"))
            .stack_size(WORKER_STACK)
            .spawn(move || worker::work(driver, desk, format, ends, &shared, place, limit));
        workers.push(worker.map_err(|e| Failure::System("no thread for a sandbox", e))?);
    }
    drop((lines_in, skips_in, poison_in));
    let exporter = {
        let (format, shutdown) = (config.format.writer(Arc::default()), shutdown.clone());
        spawn("export".into())
            .spawn(move || export::write(output, format, &lines_out, &buffers_in, &shutdown, wall_clock))
            .map_err(|e| Failure::System("no thread for the export", e))?
    };
    let keeper = {
        let directory = config.quarantine.clone();
        spawn("quarantine".into())
            .spawn(move || super::quarantine::keep(directory.as_deref(), &poison_out))
            .map_err(|e| Failure::System("no thread for the quarantine", e))?
    };
    let capture = Capture {
        decoder: Decoder::new(config.verify_checksums),
        table: Table::new(flow::Config { memory_limit: config.memory_limit, ..flow::Config::default() }),
        batcher: Batcher::new(config.workers, SLOT_AGE, true, delivery),
        skips: skips_out,
        left: config.count.unwrap_or(u64::MAX),
        shared: Arc::clone(&shared),
        shutdown: shutdown.clone(),
    };
    let capturing = spawn("capture".into())
        .spawn(move || capture.files(captures))
        .map_err(|e| Failure::System("no thread for the capture", e))?;

    let mut errors = Vec::new();
    match capturing.join() {
        Ok(trouble) => errors.extend(trouble.iter().map(ToString::to_string)),
        Err(_) => errors.push("the capture thread failed: this is a defect of picotap".into()),
    }
    for worker in workers {
        if worker.join().is_err() {
            errors.push("a sandbox thread failed: this is a defect of picotap".into());
        }
    }
    match exporter.join() {
        Ok(trouble) => errors.extend(trouble),
        Err(_) => errors.push("the export thread failed: this is a defect of picotap".into()),
    }
    errors.extend(keeper.join().unwrap_or_default());
    let ledger = shared.ledger();
    if shutdown.why().is_none_or(|why| why == Why::Signal) {
        debug_assert_eq!(ledger.imbalance(), None);
    }
    Ok(Report { errors, ledger, stopped: shutdown.why() })
}

fn open(config: &Config, shutdown: &Shutdown) -> Result<Captures, Failure> {
    let filter = config.filter.as_deref().map(Filter::new);
    let [path] = config.files.as_slice() else { return Ok(Captures::open(&config.files, filter)) };
    let pipe = || {
        use std::os::unix::fs::FileTypeExt;
        std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
    };
    let (name, polled) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), Polled::stdin(shutdown.clone()))
    } else if pipe() {
        (path.display().to_string(), Polled::pipe(path, shutdown.clone()))
    } else {
        return Ok(Captures::open(&config.files, filter));
    };
    let polled = polled.map_err(|e| Failure::System("standard input cannot be read", e))?;
    match Captures::from_reader(&name, Box::new(polled), filter) {
        Ok(captures) => Ok(captures),
        // Stopped before anything came.
        Err(_) if shutdown.asked() => Ok(Captures::open(&[], None)),
        Err(error) => Err(error.into()),
    }
}

/// Nanoseconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place in which the pipeline asks for the time of day")]
pub fn wall_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Says that a slot's memory is what [`memory_bound`] assumes.
const _: () = assert!(size_of::<Slot>() < 256);
