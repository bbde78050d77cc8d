//! The threads of a run and the channels between them.

use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::iterator::Handle;

use super::config::{Config, Failure};
use super::prepare::Prepared;
use crate::batch::{Batcher, Shedding};
use crate::clock::now;
use crate::daemon::sd_notify::Supervisor;
use crate::daemon::shutdown::Shutdown;
use crate::export::chunk::{self, ChunkReceiver};
use crate::export::log::Logged;
use crate::export::merge::Merge;
use crate::export::server::Server;
use crate::flow::{self, Sightings, Table};
use crate::helper::{Helper, HelperStopper};
use crate::http::HttpContext;
use crate::packet::Decoder;
use crate::pipeline::capture::{Capture, Delivery, FileProducer, LiveProducer, Packets, WorkerChannel};
use crate::pipeline::keep::{self, Keeper, Store, Verdicts};
use crate::pipeline::key_logs::{self, KeyLogFile};
use crate::pipeline::load::{Parsers, Second};
use crate::pipeline::opened::Opened;
use crate::pipeline::outputs::outputs;
use crate::pipeline::pool::{Caller, Threads, pool};
use crate::pipeline::probed::{self, Saved};
use crate::pipeline::processes;
use crate::pipeline::quarantine::{self, Condemned};
use crate::pipeline::reload::Reloader;
use crate::pipeline::scrape::Scrape;
use crate::pipeline::shared::{CaptureCounters, Shared};
use crate::pipeline::show::Show;
use crate::pipeline::worker::{Hint, Worker, WorkerOptions, WorkerOutputs, WorkerQueues};
use crate::pipeline::writer::Exporter;
use crate::probe::Ring;
use crate::sandbox::call::Bounds;
use crate::sandbox::driver::Driver;
use crate::sandbox::engine::Engine;
use crate::sandbox::fault::Fault;
use crate::sandbox::shadow::Shadow;
use crate::source;
use crate::source::live::{Live, Stopper};
use crate::stream::InterfaceNames;
use crate::tls::Dark;
use crate::tls::stage::{MOST_LATE, Patience};

/// Chunks of lines in the queue of the export thread.
const LINES_IN_QUEUE: usize = 64;
/// Skip hints in the queue of a capture thread.
const SKIPS_IN_QUEUE: usize = 4096;
/// Events in the queue of the quarantine.
const QUARANTINE_QUEUE: usize = 64;
/// Nanoseconds of frame time after which a slot that is not full goes to its worker: live only.
const SLOT_AGE: i64 = 5_000_000;
/// Native stack of a worker: that of the guest, of the host's functions, and a reserve.
const WORKER_STACK: usize = 4 << 20;

/// The threads of a run, and what outlives them.
pub(super) struct Running {
    /// Capture threads.
    pub(super) captures: Captures,
    /// Workers.
    pub(super) workers: Vec<JoinHandle<()>>,
    /// The export thread.
    pub(super) exporter: Exporter,
    /// The thread that keeps quarantined events.
    pub(super) quarantine: JoinHandle<Vec<String>>,
    /// The thread that writes packets that are kept.
    pub(super) keep: Option<keep::Writer>,
    /// The thread that reads key logs, which ends when what is beside it is dropped.
    pub(super) key_logs: Option<(JoinHandle<()>, Sender<()>)>,
    /// The thread that takes what probes tell, which ends in the same way.
    pub(super) probes: Option<(JoinHandle<()>, Sender<()>)>,
    /// The thread that takes what the helper process says, and what ends both.
    pub(super) helper: Option<(JoinHandle<()>, HelperStopper)>,
    /// Ends the threads for signals and reloads.
    pub(super) signals: Handle,
    /// Bytes of the input, if known.
    pub(super) input_bytes: Option<u64>,
    /// What the threads share.
    pub(super) shared: Arc<Shared>,
    /// The service manager.
    pub(super) supervisor: Arc<Supervisor>,
    /// The HTTP endpoint, until it is dropped.
    pub(super) server: Option<Server>,
    /// Answers scrapes; unset if there are no metrics.
    pub(super) scrape: Arc<OnceLock<Scrape>>,
    /// What is shown to people; unset if nothing is.
    pub(super) show: Arc<OnceLock<Arc<Show>>>,
    /// Keeps the clock of the sandboxes.
    pub(super) engine: Arc<Engine>,
}

/// Starts all threads, consumers before producers.
///
/// # Errors
/// What the system or the sandbox refuses.
pub(super) fn start(config: &Config, prepared: Prepared, shutdown: &Shutdown) -> Result<Running, Failure> {
    let verdicts: Vec<Verdicts> = (0..config.captures()).map(|_| Verdicts::default()).collect();
    let (captures_run, ended) = bounded::<()>(0);
    let started = Workers::start(config, &prepared, &verdicts, shutdown, &ended)?;
    let Workers { delivery, caller, skips, lines, quarantined, workers } = started;
    let Prepared { input, supervisor, server, scrape, show, engine, log, kept, shared, key_logs, .. } = prepared;
    let Prepared { probes, saved_keys, helper, .. } = prepared;
    let helper = helper.map(|helper| follow_helper(helper, config, &shared)).transpose()?;
    let key_logs = (!key_logs.is_empty()).then(|| follow(key_logs, config, &shared)).transpose()?;
    let probes = probes.map(|probes| take_from(probes, saved_keys, &shared)).transpose()?;
    // What is arranged comes from one worker.
    let merged = if config.arrangement.is_some() { 1 } else { config.workers };
    let merge = Merge::new(config.captures(), merged, config.is_live(), now());
    let exporter = Exporter::start(log, lines, merge, Arc::clone(&shared), shutdown.clone(), !config.is_live());
    let exporter = exporter.map_err(|e| Failure::System("a thread cannot be started", e))?;
    let (directory, decrypted) = (config.quarantine.clone(), config.quarantine_decrypted);
    let quarantine = spawn("quarantine", move || quarantine::keep(directory.as_deref(), decrypted, &quarantined))?;
    let reloader = Reloader {
        engine: Arc::clone(&engine),
        files: config.guests.iter().filter_map(|module| Some((module.protocol, module.file.clone()?))).collect(),
        shared: Arc::clone(&shared),
        supervisor: Arc::clone(&supervisor),
        shutdown: shutdown.clone(),
    };
    let signals = reloader.start().map_err(|e| Failure::System("signals cannot be taken", e))?;
    let input_bytes = if let Opened::Files(files) = &input { files.progress().total } else { None };
    let keep = |file| keep::Writer::start(file, Arc::clone(&shared), shutdown.clone(), !config.is_live());
    let keep = kept.map(keep).transpose().map_err(|e| Failure::System("a thread cannot be started", e))?;
    let stores = verdicts.into_iter().map(|verdicts| store(config, keep.as_ref()?, verdicts));
    let captures = Captures::start(
        config,
        input,
        Channels { delivery, caller, skips, stores: stores.collect(), running: (captures_run, ended) },
        &shared,
        shutdown,
    )?;
    Ok(Running {
        captures,
        workers,
        exporter,
        quarantine,
        keep,
        key_logs,
        probes,
        helper,
        signals,
        input_bytes,
        shared,
        supervisor,
        server,
        scrape,
        show,
        engine,
    })
}

/// Starts the thread that reads key logs.
fn follow(
    logs: Vec<KeyLogFile>,
    config: &Config,
    shared: &Arc<Shared>,
) -> Result<(JoinHandle<()>, Sender<()>), Failure> {
    let (stop, stopped) = bounded(0);
    let (shared, quiet) = (Arc::clone(shared), config.quiet);
    Ok((spawn("keys", move || key_logs::follow(logs, &shared, quiet, &stopped))?, stop))
}

/// Starts the thread that takes what probes tell.
fn take_from(ring: Ring, saved: Option<Saved>, shared: &Arc<Shared>) -> Result<(JoinHandle<()>, Sender<()>), Failure> {
    let (stop, stopped) = bounded(0);
    let shared = Arc::clone(shared);
    Ok((spawn("probes", move || probed::take(ring, saved, &shared, &stopped))?, stop))
}

/// Starts the thread that takes what the helper process says.
fn follow_helper(
    helper: Helper,
    config: &Config,
    shared: &Arc<Shared>,
) -> Result<(JoinHandle<()>, HelperStopper), Failure> {
    let stopper = helper.stopper();
    let probes = config.probes.as_ref().map(|_| probed::taker(shared, config.quiet));
    let takers = shared.directory.iter().map(processes::taker).chain(probes).collect();
    let named = shared.directory.as_ref().map(|directory| {
        let clients = "of processes only those are named that connect, by command and pid";
        if directory.sees_connects() { clients } else { "processes are named no more" }
    });
    let probed = config.probes.as_ref().map(|_| "probes tell no more secrets of TLS");
    let without: Vec<_> = [named, probed].into_iter().flatten().collect();
    let thread = helper.follow(takers, without.join(", "));
    Ok((thread.map_err(|e| Failure::System("a thread cannot be started", e))?, stopper))
}

/// Starts a thread with room for a sandbox on its stack.
fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Failure> {
    let thread = Builder::new().name(name.to_owned()).stack_size(WORKER_STACK).spawn(body);
    thread.map_err(|e| Failure::System("a thread cannot be started", e))
}

/// The capture threads.
pub(super) struct Captures {
    /// The threads.
    pub(super) threads: Vec<JoinHandle<Captured>>,
    /// What stops those that capture from interfaces.
    pub(super) stoppers: Vec<Stopper>,
    /// Nothing is ever sent: disconnected once the last thread has ended.
    pub(super) ended: Receiver<()>,
}

/// What a capture thread leaves.
pub(super) struct Captured {
    /// What went wrong.
    pub(super) errors: Vec<String>,
    /// What it has captured from, still open: the filter of system calls forbids to write to the number of a packet socket, and
    /// a file that is opened after that was closed, such as the report, would get this number.
    pub(super) source: Option<LiveProducer>,
    /// The packets that may still be kept.
    pub(super) store: Option<Box<Store>>,
}

/// The capture threads' ends of the channels, by their number.
struct Channels {
    delivery: Vec<WorkerChannel>,
    caller: Caller,
    skips: Vec<Receiver<Hint>>,
    stores: Vec<Option<Store>>,
    /// Closed once the last has ended.
    running: (Sender<()>, Receiver<()>),
}

/// What one capture thread reads from.
enum CaptureInput {
    Files(Box<source::Captures>),
    Live(Box<Live>),
}

impl Captures {
    /// Starts a thread for each source: all files share one, and each interface and member of its fan-out group has its own.
    fn start(
        config: &Config,
        input: Opened,
        channels: Channels,
        shared: &Arc<Shared>,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let Channels { delivery, caller, skips, stores, running: (running, ended) } = channels;
        let (live, captures) = (config.is_live(), config.captures());
        let inputs: Vec<CaptureInput> = match input {
            Opened::Files(files) => vec![CaptureInput::Files(files)],
            Opened::Live(sources) => sources.into_iter().map(|source| CaptureInput::Live(Box::new(source))).collect(),
        };
        let sightings = config.drop_duplicates.then(Sightings::default);
        let mut started = Self { threads: Vec::new(), stoppers: Vec::new(), ended };
        for (index, ((input, skips), store)) in inputs.into_iter().zip(skips).zip(stores).enumerate() {
            let mut interface = None;
            if let CaptureInput::Live(source) = &input {
                interface = Some(source.interface().to_owned());
                started.stoppers.push(source.stopper());
            }
            let delivery = Delivery::new(delivery.clone(), caller.clone());
            let age = if live { SLOT_AGE } else { i64::MAX };
            let capture = Capture {
                index,
                batcher: Batcher::new(config.workers, age, !live, delivery)
                    .of_producer(producer(index))
                    .shedding(if live { Shedding::UnderLoad } else { Shedding::Never }, bodies(config))
                    .telling_begun(shared.directory.is_some()),
                skips,
                left: config.count.unwrap_or(u64::MAX),
                shared: Arc::clone(shared),
                shutdown: shutdown.clone(),
                counters: CaptureCounters { interface, ..CaptureCounters::default() },
            };
            let mut table = Table::new(flow_config(config, index, captures)).sharded(config.shard);
            if let Some(sightings) = &sightings {
                table = table.leaving_out(sightings.clone());
            }
            let packets = Packets::new(Decoder::new(config.verify_checksums), table, store);
            let (running, shutdown, quiet) = (running.clone(), shutdown.clone(), config.quiet);
            started.threads.push(spawn("capture", move || {
                let captured = match input {
                    CaptureInput::Files(files) => {
                        let mut files = FileProducer::new(*files, packets, shutdown, quiet);
                        let errors = capture.run(&mut files);
                        Captured { errors, source: None, store: files.take_store() }
                    }
                    CaptureInput::Live(source) => {
                        let mut source = LiveProducer::new(*source, packets);
                        let errors = capture.run(&mut source);
                        let store = source.take_store();
                        Captured { errors, source: Some(source), store }
                    }
                };
                drop(running);
                captured
            })?);
        }
        Ok(started)
    }
}

/// How many bytes at the front of each body are wanted.
fn bodies(config: &Config) -> u32 {
    config.settings.bodies.as_ref().map_or(0, |bodies| bodies.bytes)
}

/// Number of the capture thread as its connections and slots carry it.
fn producer(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(0)
}

/// The flow table of the capture thread with this number, of so many. They share the memory limit equally.
fn flow_config(config: &Config, index: usize, captures: usize) -> flow::Config {
    flow::Config {
        memory_limit: config.memory_limit / captures as u64,
        hash_seed: flow::random_seed(),
        producer: producer(index),
        producers: u16::try_from(captures).unwrap_or(u16::MAX),
        ..flow::Config::default()
    }
}

/// The store of a capture thread. They share the buffer equally.
fn store(config: &Config, writer: &keep::Writer, verdicts: Verdicts) -> Option<Store> {
    let keep = config.keep.as_ref()?;
    let limit = usize::try_from(keep.buffer).unwrap_or(usize::MAX) / config.captures().max(1);
    Some(Store::new(limit, keep.secrets, verdicts, writer.way(), !config.is_live()))
}

/// What says which connections are kept, of one worker.
fn keeper(config: &Config, names: &InterfaceNames, verdicts: &[Verdicts]) -> Option<Keeper> {
    let keep = config.keep.as_ref()?;
    let logged = Logged::new(config.format, config.subject, config.selection.clone(), names.clone());
    Some(Keeper::new(logged, verdicts, keep.secrets))
}

/// How long the TLS connections of a worker wait for secrets: of the memory limit a sixteenth is for what waits.
fn patience(config: &Config) -> Patience {
    let memory = config.memory_limit / 16 / config.workers.max(1) as u64;
    // Those of files are read with the files, or before them.
    let (time, reason) = if config.is_live() { (Some(MOST_LATE), Dark::TooLate) } else { (None, Dark::NoKey) };
    Patience { time, memory, reason }
}

/// A worker's shadow: of it the same bounds hold as of the worker.
fn shadow(config: &Config, second: &Second) -> Result<Shadow, Fault> {
    let shadow = Shadow::new(&second.parsers, second.sample, config.fault_time)?;
    let mut shadow = shadow.compares(second.protocol);
    shadow.limit_extra(config.extra_limit());
    Ok(shadow)
}

/// The workers, and the other ends of their channels.
struct Workers {
    delivery: Vec<WorkerChannel>,
    caller: Caller,
    skips: Vec<Receiver<Hint>>,
    lines: ChunkReceiver,
    quarantined: Receiver<Condemned>,
    workers: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(
        config: &Config,
        prepared: &Prepared,
        verdicts: &[Verdicts],
        shutdown: &Shutdown,
        ended: &Receiver<()>,
    ) -> Result<Self, Failure> {
        let Prepared { names, parsers: Parsers { parsers, second }, shared, metrics, view, helper, .. } = prepared;
        let (captures, live) = (config.captures(), config.is_live());
        let (chunks, lines) = chunk::channel(LINES_IN_QUEUE, config.workers, !live, Arc::clone(&shared.lines_unsent));
        let outputs = outputs(config, names, shared, metrics.as_ref(), view.as_ref(), chunks);
        let (quarantine_in, quarantined) = bounded(QUARANTINE_QUEUE);
        let (skips_in, skips): (Vec<_>, Vec<_>) = (0..captures).map(|_| bounded(SKIPS_IN_QUEUE)).unzip();
        let (mut delivery, mut workers) = (Vec::new(), Vec::new());
        for index in 0..config.workers {
            let (full_in, full_out) = bounded(config.queue_length());
            let (empty_in, empty_out) = bounded(config.queue_length() + 2 * captures);
            delivery.push((full_in, empty_out));
            let mut driver = Driver::with(parsers, Bounds::default())?;
            driver.limit_extra(config.extra_limit());
            driver.want_bodies(bodies(config));
            let queues = WorkerQueues {
                slots: full_out,
                empty: empty_in,
                skips: skips_in.clone(),
                quarantined: quarantine_in.clone(),
            };
            let mut context = HttpContext::new(config.settings.clone());
            if let (Some(helper), Some(directory)) = (helper, &shared.directory) {
                context.speakers = Some(processes::speakers(helper, index, directory));
            }
            let outputs = WorkerOutputs {
                context,
                consumers: outputs.iter().map(|output| output.consumer()).collect(),
                keeper: keeper(config, names, verdicts),
                shadow: second.as_ref().map(|second| shadow(config, second)).transpose()?,
            };
            let options = WorkerOptions {
                index,
                fault_limit: config.fault_limit,
                fault_time: config.fault_time,
                tls_filters: config.tls_filters.clone(),
                lossless: !live,
                patience: patience(config),
                shutdown: shutdown.clone(),
            };
            let shared = Arc::clone(shared);
            workers.push(Worker::new(driver, outputs, queues, shared, options));
        }
        let threads = match (live, config.cores > config.workers) {
            (true, _) => Threads::Own,
            (false, true) => Threads::Shared,
            (false, false) => Threads::InPlaceOfCapture(ended),
        };
        let (caller, services) = pool(workers, threads);
        let threads = services.into_iter().enumerate();
        let threads = threads.map(|(number, service)| spawn(&format!("sandbox-{number}"), || service.run()));
        Ok(Self { delivery, caller, skips, lines, quarantined, workers: threads.collect::<Result<_, _>>()? })
    }
}
