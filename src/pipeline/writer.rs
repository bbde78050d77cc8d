//! The export thread writes what the workers made of transactions.
//!
//! It may be blocked for ever, by a pipe that nobody reads or a disk that does not answer. While the run goes on it waits: live,
//! workers then drop lines and count them, and over files the input waits too. When the run is to end it gets no longer than
//! [`Stalled`] says: what it has in hand and what is queued for it is counted as lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};

use super::run::Config;
use super::shared::Shared;
use crate::clock::{now, wall_clock};
use crate::daemon::shutdown::{Shutdown, Why};
use crate::export::Origin;
use crate::export::chunk::{Chunk, ChunkReceiver};
use crate::export::log::{Hand, Log, LogCounters, LogError, LogNotice, Socket, Stalled, WriteProgress};
use crate::export::merge::Merge;
use crate::export::terminal::Terminal;
use crate::stream::InterfaceNames;

/// Bytes that are gathered before they are written, while more are at hand.
const GATHER: usize = 256 << 10;
/// How often the log is checked when nothing is to be written.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// Opens the log, to a socket that was connected before. A pipe must have a reader first; waiting for one ends with the request to stop.
///
/// # Errors
/// See [`LogError`].
pub fn open(
    config: &Config,
    socket: Option<Socket>,
    names: &InterfaceNames,
    started: i64,
    shutdown: &Shutdown,
) -> Result<Log, LogError> {
    let mut reported = false;
    let mut socket = socket;
    loop {
        let origin = Origin { interfaces: names.clone(), sensor: config.settings.sensor.clone() };
        let format = config.format.writer_for(config.subject, &Terminal::default(), config.columns.as_ref(), origin);
        if let Some(socket) = socket.take() {
            return Log::to_socket(config.target.clone(), Some(socket), format, started);
        }
        match Log::open(config.target.clone(), config.rotation, format, started) {
            Err(error) if error.has_no_reader() && !shutdown.asked() => {
                if !config.quiet && !reported {
                    eprintln!("picotap: {error}; waiting for a reader");
                }
                reported = true;
                thread::sleep(CHECK_EVERY);
            }
            opened => return opened,
        }
    }
}

/// The export thread, as the main thread sees it.
#[derive(Debug)]
pub struct Exporter {
    thread: JoinHandle<Vec<String>>,
    /// Closed when the thread has ended.
    running: Receiver<()>,
    /// What is queued for the thread. Given up with it: workers must not wait for what nobody takes.
    lines: Option<ChunkReceiver>,
    log: String,
    progress: Arc<WriteProgress>,
    stalled: Stalled,
    /// After the thread was given up: how long it had been stalled, and what was in hand and in the queue.
    given_up: Option<(Duration, Hand)>,
    /// Given up: the thread must not publish any more.
    left_alone: Arc<AtomicBool>,
}

impl Exporter {
    /// Starts the thread. `stop_on_failure`: a log that cannot be written ends the run (files); otherwise lines are lost and
    /// counted until it can be written again (live).
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        log: Log,
        lines: ChunkReceiver,
        merge: Merge,
        shared: Arc<Shared>,
        shutdown: Shutdown,
        stop_on_failure: bool,
    ) -> io::Result<Self> {
        let (runs, running) = bounded(0);
        let (name, progress, queue) = (log.name(), log.progress(), lines.clone());
        let left_alone = Arc::new(AtomicBool::new(false));
        let alone = Arc::clone(&left_alone);
        let thread = Builder::new().name("export".to_owned()).spawn(move || {
            let writer = Writer { lines, merge, shared, shutdown, stop_on_failure, left_alone: alone };
            let errors = writer.write(log);
            drop(runs);
            errors
        })?;
        Ok(Self {
            thread,
            running,
            lines: Some(queue),
            log: name,
            progress,
            stalled: Stalled::default(),
            given_up: None,
            left_alone,
        })
    }

    /// The thread.
    #[must_use]
    pub const fn thread(&self) -> &JoinHandle<Vec<String>> {
        &self.thread
    }

    /// To be called now and then. Gives the thread up if it is stalled while the run is to end.
    pub fn look(&mut self, shutdown: &Shutdown) {
        if self.given_up.is_none() {
            if self.thread.is_finished() {
                self.lines = None;
            }
            if !shutdown.is_urgent() {
                self.stalled = Stalled::default();
                return;
            }
            let Some(patience) = self.stalled.check(&self.progress, now()) else { return };
            self.left_alone.store(true, Ordering::Release);
            self.given_up = Some((patience, self.progress.hand()));
        }
        let Some((_, hand)) = &mut self.given_up else { return };
        while let Some(lines) = &self.lines {
            match lines.try_recv() {
                Ok(chunk) => {
                    hand.lines += chunk.records;
                    hand.bytes += chunk.bytes.len() as u64;
                }
                Err(TryRecvError::Empty) => break,
                // The last worker has ended.
                Err(TryRecvError::Disconnected) => self.lines = None,
            }
        }
    }

    /// Waits until everything is written, or until that is given up. Gives what went wrong, and whether it was given up.
    pub fn end(mut self, shared: &Shared, shutdown: &Shutdown) -> (Vec<String>, bool) {
        loop {
            self.look(shutdown);
            match (self.given_up, &self.lines) {
                (Some((patience, hand)), None) => return (vec![self.lost(patience, hand, shared)], true),
                // The workers still parse what they have.
                (Some(_), Some(_)) => thread::sleep(CHECK_EVERY / 20),
                (None, _) if self.running.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Disconnected) => break,
                (None, _) => {}
            }
        }
        (self.thread.join().unwrap_or_else(|_| vec![super::run::defect("export")]), false)
    }

    /// Counts what is lost, and says so. The thread is left where it stands, and ends with the process.
    fn lost(&self, patience: Duration, hand: Hand, shared: &Shared) -> String {
        let mut counters = shared.log();
        counters.lines += hand.taken + hand.lines;
        counters.lost_lines += hand.lines;
        counters.lost_bytes += hand.bytes;
        shared.publish_log(counters);
        let (log, seconds, lines) = (&self.log, patience.as_secs(), hand.lines);
        format!("{log}: nothing was taken for {seconds} s while picotap was to end: {lines} lines are lost")
    }
}

/// What the thread owns.
struct Writer {
    lines: ChunkReceiver,
    merge: Merge,
    shared: Arc<Shared>,
    shutdown: Shutdown,
    stop_on_failure: bool,
    left_alone: Arc<AtomicBool>,
}

impl Writer {
    /// Writes until all workers have ended.
    fn write(self, mut log: Log) -> Vec<String> {
        let Self { lines, mut merge, shared, shutdown, stop_on_failure, left_alone } = self;
        let mut gathered = Chunk { bytes: Vec::with_capacity(GATHER), ..Chunk::default() };
        let progress = log.progress();
        let mut notices = Vec::new();
        let mut errors = Vec::new();
        let tell = |notices: &mut Vec<LogNotice>, errors: &mut Vec<String>| {
            for notice in notices.drain(..) {
                if stop_on_failure && matches!(notice, LogNotice::Failing(_)) {
                    shutdown.ask(Why::Failed);
                    errors.push(notice.to_string());
                } else {
                    eprintln!("picotap: {notice}");
                }
            }
        };
        let mut over = false;
        while !over {
            // First: it may block, and nothing is in hand yet.
            if shared.reopen.swap(false, Ordering::Relaxed)
                && let Err(error) = log.reopen(wall_clock())
            {
                eprintln!("picotap: {error}; the log goes on in the old file");
            }
            match lines.recv_timeout(CHECK_EVERY) {
                Ok(chunk) => merge.take(chunk, &mut gathered, now(), &lines),
                Err(RecvTimeoutError::Timeout) => {
                    merge.check(&mut gathered, now(), &lines);
                    if log.tick(wall_clock(), &mut notices).is_err() {
                        shutdown.ask(Why::Closed);
                        break;
                    }
                    if !left_alone.load(Ordering::Acquire) {
                        shared.publish_log(LogCounters { early: merge.early(), ..log.counters() });
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    merge.end(&mut gathered, &lines);
                    over = true;
                }
            }
            while gathered.bytes.len() < GATHER
                && let Ok(chunk) = lines.try_recv()
            {
                merge.take(chunk, &mut gathered, now(), &lines);
            }
            if !gathered.is_empty() {
                progress.hold(merge.held());
                if log.write(&gathered, wall_clock(), &mut notices).is_err() {
                    shutdown.ask(Why::Closed);
                    break;
                }
                gathered.clear();
                if left_alone.load(Ordering::Acquire) {
                    return errors;
                }
                shared.publish_log(LogCounters { early: merge.early(), ..log.counters() });
            }
            tell(&mut notices, &mut errors);
        }
        // Workers that still have lines must not wait for ever.
        lines.drain();
        if !left_alone.load(Ordering::Acquire) {
            if log.flush(&mut notices).is_err() {
                shutdown.ask(Why::Closed);
            }
            tell(&mut notices, &mut errors);
        }
        let counters = LogCounters { early: merge.early(), ..log.close(wall_clock()) };
        if !left_alone.load(Ordering::Acquire) {
            shared.publish_log(counters);
        }
        errors
    }
}
