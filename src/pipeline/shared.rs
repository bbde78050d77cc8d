//! What the threads share: the counters that they publish, and the parsers in charge.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::keep::{KeepCounters, KeptFileCounters};
use super::ledger::Ledger;
use crate::counters::{counters, families};
use crate::daemon::health::Health;
use crate::export::log;
use crate::export::summary::Summary;
use crate::export::total::Total;
use crate::http::context;
use crate::process::{Directory, ProcessCounters};
use crate::sandbox::driver;
use crate::sandbox::engine::Parser;
use crate::sandbox::fault::NAMES;
use crate::sandbox::protocol::Protocol;
use crate::sandbox::shadow;
use crate::source::live::LiveStats;
use crate::tls::TlsCounters;
use crate::tls::keys::KeyStore;
use crate::{batch, flow, packet};

families! {
    FAULTS = Counter "picotap_sandbox_faults_total" ["reason"] "faults by reason", "Calls that ended in a trap, at the deadline or with a reply that does not hold.";
    UNSENT_HINTS = Counter "picotap_unsent_hints_total" [] "skip hints not sent", "Skip hints that found a capture thread's queue full: they cost speed only.";
    QUARANTINE_LOST = Counter "picotap_quarantine_lost_events_total" [] "condemned events not kept", "Condemned events that came too fast to be reported or kept as files.";
    SANDBOX_SECONDS = Seconds "picotap_sandbox_seconds_total" [] "time on slots", "Time spent on slots.";
    OPEN_TRANSACTION_BYTES = Gauge "picotap_open_transaction_bytes" [] "bytes of open transactions", "Memory of transactions that are not complete.";
    FILTERED = Counter "picotap_filtered_packets_total" [] "frames not chosen by the filter", "Frames of capture files that the filter left out.";
    FRAME_BYTES = Counter "picotap_packet_bytes_total" [] "bytes of frames", "Captured bytes of the frames read.";
    OPEN_CONNECTIONS = Gauge "picotap_open_connections" [] "connections in the table", "TCP connections that are followed now.";
    WAITS = Counter "picotap_capture_waits_total" [] "waits for a sandbox", "Times that a capture thread waited for room in a sandbox's queue before it dropped anything.";
    WAITED = Seconds "picotap_capture_wait_seconds_total" [] "time waited for sandboxes", "Time that capture threads waited for room in a sandbox's queue.";
}

counters! {
    /// What a worker counts beside its stages.
    pub struct WorkerFigures {
        /// Faults by name, as in [`NAMES`].
        faults: [NAMES.len(); NAMES] => FAULTS,
        /// Skip hints that found the channel to the capture thread full.
        skips_unsent => UNSENT_HINTS,
        /// Condemned events that found the channel full.
        quarantine_unsent => QUARANTINE_LOST,
        /// Nanoseconds spent on slots.
        busy => SANDBOX_SECONDS,
        /// Bytes of open transactions.
        open_bytes => OPEN_TRANSACTION_BYTES,
    }
}

counters! {
    /// What a capture thread counts beside its stages.
    pub struct CaptureFigures {
        /// Frames that the filter left out.
        filtered => FILTERED,
        /// Captured bytes of frames.
        bytes => FRAME_BYTES,
        /// Connections in the table.
        connections => OPEN_CONNECTIONS,
        /// Times that it waited for room in a queue.
        waits => WAITS,
        /// Nanoseconds that it waited.
        waited => WAITED,
    }
}

/// What one worker counts.
#[derive(Debug, Clone, Default)]
pub struct WorkerCounters {
    /// Of the thread itself.
    pub figures: WorkerFigures,
    /// Of its sandbox.
    pub sandbox: driver::SandboxCounters,
    /// Of its transactions.
    pub http: context::HttpCounters,
    /// How a second parser's records differ.
    pub shadow: shadow::ShadowCounters,
    /// Of what it decrypts.
    pub tls: TlsCounters,
    /// Of the processes that it asked for.
    pub processes: ProcessCounters,
}

/// What a capture thread counts.
#[derive(Debug, Clone, Default)]
pub struct CaptureCounters {
    /// Name of the interface; none for files.
    pub interface: Option<String>,
    /// Whether the interface is down or away; live only.
    pub down: bool,
    /// Of the thread itself.
    pub figures: CaptureFigures,
    /// Of its packet decoder.
    pub packets: packet::PacketCounters,
    /// Of its flow table.
    pub flow: flow::FlowCounters,
    /// Of the slots that it fills.
    pub batch: batch::BatchCounters,
    /// Of the packets that it keeps.
    pub keep: KeepCounters,
    /// Of the kernel; live only.
    pub live: LiveStats,
}

/// The parser in charge of its protocol.
#[derive(Debug, Clone)]
pub struct InCharge {
    /// The parser.
    pub parser: Arc<Parser>,
    /// The one before it, which a roll-back puts back in charge. None after a roll-back, and at the start.
    pub before: Option<Arc<Parser>>,
    /// Number of the change that put it in charge; 0: it was there at the start.
    pub change: u64,
}

impl InCharge {
    fn is_for(&self, protocol: Protocol) -> bool {
        self.parser.format.protocol == protocol
    }
}

/// What the threads of a run share.
#[derive(Debug)]
pub struct Shared {
    captures: Vec<Mutex<CaptureCounters>>,
    workers: Vec<Mutex<WorkerCounters>>,
    /// Bytes that each worker takes for connections and waiting payload.
    memory: Vec<AtomicU64>,
    /// Slots that wait for each worker.
    queued: Vec<AtomicUsize>,
    /// The log's counters.
    log: Mutex<log::LogCounters>,
    /// Of the file of packets that are kept.
    kept: Mutex<KeptFileCounters>,
    /// One for each protocol, always the same protocols; the first is the one that connections start with.
    in_charge: Mutex<Vec<InCharge>>,
    /// Number of changes of them.
    generation: AtomicU64,
    /// What the transactions add up to.
    pub summary: Total<Summary>,
    /// Log lines that found the channel to the export thread full.
    pub lines_unsent: Arc<AtomicU64>,
    /// Lines for which there was no memory until they could be sorted.
    pub left_out: Arc<AtomicU64>,
    /// Bytes of the input read so far.
    pub progress: AtomicU64,
    /// Parsers put in charge, refused, and rolled back.
    pub swaps: [AtomicU64; 3],
    /// Secrets of TLS connections.
    keys: RwLock<KeyStore>,
    /// There are secrets, or there were.
    decrypts: AtomicBool,
    /// Asks the export thread to open the log anew.
    pub reopen: AtomicBool,
    /// Whether the threads are alive and make progress.
    pub health: Arc<Health>,
    /// How often the helper process ended unasked.
    pub helper_ended: Arc<AtomicU64>,
    /// Processes at the ends of connections, if they are wanted.
    pub directory: Option<Arc<Directory>>,
}

/// A lock is only ever held to copy: what a thread that died under it left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// For so many threads, with these parsers in charge, one for each protocol.
    #[must_use]
    pub fn new(captures: usize, workers: usize, parsers: &[Arc<Parser>], health: Arc<Health>) -> Self {
        let in_charge = |parser: &Arc<Parser>| InCharge { parser: Arc::clone(parser), before: None, change: 0 };
        Self {
            captures: (0..captures).map(|_| Mutex::default()).collect(),
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            memory: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            queued: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            log: Mutex::default(),
            kept: Mutex::default(),
            in_charge: Mutex::new(parsers.iter().map(in_charge).collect()),
            generation: AtomicU64::new(0),
            summary: Total::default(),
            lines_unsent: Arc::default(),
            left_out: Arc::default(),
            progress: AtomicU64::new(0),
            swaps: Default::default(),
            keys: RwLock::default(),
            decrypts: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            health,
            helper_ended: Arc::default(),
            directory: None,
        }
    }

    /// With a helper process: how often it ended unasked, and what it finds of processes.
    #[must_use]
    pub fn with_helper(self, ended: Arc<AtomicU64>, directory: Option<Arc<Directory>>) -> Self {
        Self { helper_ended: ended, directory, ..self }
    }

    /// Changes the secrets. Every slot that is sent afterwards is decrypted with them.
    pub fn with_keys(&self, change: impl FnOnce(&mut KeyStore)) {
        change(&mut self.keys_mut());
        self.decrypts.store(true, Ordering::Release);
    }

    /// The secrets, to add to them.
    pub fn keys_mut(&self) -> RwLockWriteGuard<'_, KeyStore> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secrets.
    pub fn keys(&self) -> RwLockReadGuard<'_, KeyStore> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are secrets, or key logs that may bring some: without, no connection waits for any, and each is dark.
    #[must_use]
    pub fn decrypts(&self) -> bool {
        self.decrypts.load(Ordering::Acquire)
    }

    /// Secrets that are held.
    #[must_use]
    pub fn held_secrets(&self) -> usize {
        self.keys().len()
    }

    /// Takes over a worker's counters.
    pub fn publish_worker(&self, index: usize, counters: &WorkerCounters, memory: u64, queued: usize) {
        debug_assert!(index < self.workers.len(), "each worker has its counters");
        if let Some(slot) = self.workers.get(index) {
            lock(slot).clone_from(counters);
        }
        if let (Some(bytes), Some(slots)) = (self.memory.get(index), self.queued.get(index)) {
            bytes.store(memory, Ordering::Relaxed);
            slots.store(queued, Ordering::Relaxed);
        }
    }

    /// Takes over a capture thread's counters.
    pub fn publish_capture(&self, index: usize, counters: &CaptureCounters) {
        debug_assert!(index < self.captures.len(), "each capture thread has its counters");
        if let Some(slot) = self.captures.get(index) {
            lock(slot).clone_from(counters);
        }
    }

    /// Takes over the log's counters.
    pub fn publish_log(&self, counters: log::LogCounters) {
        *lock(&self.log) = counters;
    }

    /// Takes over what a capture thread keeps, after its end.
    pub fn publish_keep(&self, index: usize, counters: KeepCounters) {
        if let Some(slot) = self.captures.get(index) {
            lock(slot).keep = counters;
        }
    }

    /// Takes over the counters of the file of packets that are kept.
    pub fn publish_kept(&self, counters: KeptFileCounters) {
        *lock(&self.kept) = counters;
    }

    /// Bytes that all workers take.
    #[must_use]
    pub fn worker_memory(&self) -> u64 {
        self.memory.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Slots that wait for each worker.
    pub fn queued(&self) -> impl Iterator<Item = usize> + '_ {
        self.queued.iter().map(|slots| slots.load(Ordering::Relaxed))
    }

    /// Counters of each capture thread.
    #[must_use]
    pub fn captures(&self) -> Vec<CaptureCounters> {
        self.captures.iter().map(|slot| lock(slot).clone()).collect()
    }

    /// Counters of each worker.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerCounters> {
        self.workers.iter().map(|slot| lock(slot).clone()).collect()
    }

    /// Each live capture thread's interface, and whether it is down or away.
    #[must_use]
    pub fn interfaces(&self) -> Vec<(String, bool)> {
        let named = |slot: &Mutex<CaptureCounters>| {
            let counters = lock(slot);
            counters.interface.clone().map(|name| (name, counters.down))
        };
        let mut all: Vec<_> = self.captures.iter().filter_map(named).collect();
        // The members of a fan-out group share one.
        all.sort_unstable();
        all.dedup_by(|one, other| one.0 == other.0);
        all
    }

    /// The log's counters.
    #[must_use]
    pub fn log(&self) -> log::LogCounters {
        log::LogCounters { not_taken: self.lines_unsent.load(Ordering::Relaxed), ..*lock(&self.log) }
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        // Workers first: by the time that capture threads are read, they have delivered at least what the workers have counted.
        for worker in self.workers() {
            let WorkerCounters { figures, sandbox, http, shadow, tls, processes } = worker;
            ledger.processes.add(&processes);
            ledger.tls.add(&tls);
            ledger.worker.add(&figures);
            ledger.sandbox.add(&sandbox);
            ledger.http.add(&http);
            ledger.shadow.add(&shadow);
        }
        for capture in self.captures() {
            let CaptureCounters { interface: _, down: _, figures, packets, flow, batch, keep, live } = capture;
            ledger.capture.add(&figures);
            ledger.packets.add(&packets);
            ledger.flow.add(&flow);
            ledger.batch.add(&batch);
            ledger.keep.add(&keep);
            ledger.live.add(&live);
        }
        let keys = self.keys();
        (ledger.keys, ledger.key_lines, ledger.probes) = (*keys.counters(), *keys.lines(), *keys.probes());
        drop(keys);
        ledger.log = self.log();
        ledger.kept = *lock(&self.kept);
        ledger
    }

    /// Number of the last change of parsers; 0: there was none.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The parsers in charge that were put there after this change, in the order of their changes, and the number of the last.
    #[must_use]
    pub fn changes_since(&self, change: u64) -> (u64, Vec<InCharge>) {
        let in_charge = lock(&self.in_charge);
        let mut changed: Vec<_> = in_charge.iter().filter(|one| one.change > change).cloned().collect();
        changed.sort_unstable_by_key(|one| one.change);
        (self.generation(), changed)
    }

    /// The parsers in charge. Connections start with the first.
    #[must_use]
    pub fn parsers(&self) -> Vec<Arc<Parser>> {
        lock(&self.in_charge).iter().map(|one| Arc::clone(&one.parser)).collect()
    }

    /// The parser in charge of a protocol.
    #[must_use]
    pub fn parser(&self, protocol: Protocol) -> Option<Arc<Parser>> {
        lock(&self.in_charge).iter().find(|one| one.is_for(protocol)).map(|one| Arc::clone(&one.parser))
    }

    /// Puts a parser in charge of its protocol, for which there is one: each worker takes it before its next slot.
    pub fn swap(&self, parser: Arc<Parser>) {
        let mut in_charge = lock(&self.in_charge);
        let Some(one) = in_charge.iter_mut().find(|one| one.is_for(parser.format.protocol)) else {
            debug_assert!(false, "a run's protocols do not change");
            return;
        };
        let before = Some(Arc::clone(&one.parser));
        *one = InCharge { parser, before, change: self.next_change() };
        self.count_swap(0);
    }

    /// Puts the parser before the one of this change back in charge, if that one is still in charge. Whether it did.
    pub fn roll_back(&self, change: u64) -> bool {
        let mut in_charge = lock(&self.in_charge);
        let Some(one) = in_charge.iter_mut().find(|one| one.change == change) else { return false };
        let Some(before) = one.before.take() else { return false };
        *one = InCharge { parser: before, before: None, change: self.next_change() };
        self.count_swap(2);
        true
    }

    /// Numbers a change. Under the lock of what it changes.
    fn next_change(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Release) + 1
    }

    /// Counts the end of an attempt: 0 done, 1 refused, 2 rolled back.
    pub fn count_swap(&self, result: usize) {
        if let Some(count) = self.swaps.get(result) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
