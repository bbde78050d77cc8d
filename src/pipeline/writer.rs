//! The export thread writes what the workers made of transactions.
//!
//! It may be held up for ever, by a pipe that nobody reads or a disk that does not answer. While the run goes on it waits, and
//! lines are lost and counted elsewhere, or the input waits too. When the run is to end nobody waits for it longer than
//! [`Stalled`] says: what it has in hand and what is queued for it is counted as lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use super::run::Config;
use super::shared::Shared;
use crate::clock::{now, wall_clock};
use crate::daemon::shutdown::{Shutdown, Why};
use crate::export::log::{Hand, Log, LogError, Notice, Progress, Stalled};

/// Bytes that are gathered before they are written, while more are at hand.
const GATHER: usize = 256 << 10;
/// How often the log is looked after when nothing is to be written.
const LOOK: Duration = Duration::from_millis(100);

/// Opens the log. A pipe must have a reader first; waiting for one ends with the request to stop.
///
/// # Errors
/// See [`LogError`].
pub fn open(config: &Config, names: &Arc<[String]>, started: i64, shutdown: &Shutdown) -> Result<Log, LogError> {
    let mut told = false;
    loop {
        let format = config.format.writer(Arc::clone(names));
        match Log::open(config.target.clone(), config.rotation, format, started) {
            Err(error) if error.has_no_reader() && !shutdown.asked() => {
                if !config.quiet && !told {
                    eprintln!("picotap: {error}; waiting for a reader");
                }
                told = true;
                thread::sleep(LOOK);
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
    lines: Option<Receiver<Vec<u8>>>,
    log: String,
    progress: Arc<Progress>,
    stalled: Stalled,
    /// How long was waited for a log that is stalled, and what was in hand and in the queue.
    given_up: Option<(Duration, Hand)>,
    /// The thread is not to publish any more.
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
        lines: Receiver<Vec<u8>>,
        buffers: Sender<Vec<u8>>,
        shared: Arc<Shared>,
        shutdown: Shutdown,
        stop_on_failure: bool,
    ) -> io::Result<Self> {
        let (runs, running) = bounded(0);
        let (name, progress, queue) = (log.name(), log.progress(), lines.clone());
        let left_alone = Arc::new(AtomicBool::new(false));
        let alone = Arc::clone(&left_alone);
        let thread = Builder::new().name("export".to_owned()).spawn(move || {
            let writer = Writer { lines, buffers, shared, shutdown, stop_on_failure, left_alone: alone };
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

    /// To be called now and then. Gives the thread up if it is stalled and the end is waited for.
    pub fn look(&mut self, shutdown: &Shutdown) {
        if self.given_up.is_none() {
            if self.thread.is_finished() {
                self.lines = None;
            }
            if !shutdown.is_urgent() {
                self.stalled = Stalled::default();
                return;
            }
            let Some(patience) = self.stalled.look(&self.progress, now()) else { return };
            self.left_alone.store(true, Ordering::Release);
            self.given_up = Some((patience, self.progress.hand()));
        }
        let Some((_, hand)) = &mut self.given_up else { return };
        while let Some(lines) = &self.lines {
            match lines.try_recv() {
                Ok(chunk) => {
                    hand.lines += memchr::memchr_iter(b'\n', &chunk).count() as u64;
                    hand.bytes += chunk.len() as u64;
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
                // The workers are still at what they have.
                (Some(_), Some(_)) => thread::sleep(LOOK / 20),
                (None, _) if self.running.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) => break,
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

/// What the thread works with.
struct Writer {
    lines: Receiver<Vec<u8>>,
    buffers: Sender<Vec<u8>>,
    shared: Arc<Shared>,
    shutdown: Shutdown,
    stop_on_failure: bool,
    left_alone: Arc<AtomicBool>,
}

impl Writer {
    /// Writes until no more lines come.
    fn write(self, mut log: Log) -> Vec<String> {
        let Self { lines, buffers, shared, shutdown, stop_on_failure, left_alone } = self;
        let mut gathered: Vec<u8> = Vec::with_capacity(GATHER);
        let mut notices = Vec::new();
        let mut errors = Vec::new();
        let mut over = false;
        while !over {
            // First: it may be held up, and then nothing is in hand.
            if shared.reopen.swap(false, Ordering::Relaxed)
                && let Err(error) = log.reopen(wall_clock())
            {
                eprintln!("picotap: {error}; the log goes on in the old file");
            }
            match lines.recv_timeout(LOOK) {
                Ok(chunk) => take(chunk, &mut gathered, &buffers),
                Err(RecvTimeoutError::Timeout) => {
                    log.tick(wall_clock(), &mut notices);
                    if !left_alone.load(Ordering::Acquire) {
                        shared.publish_log(log.counters());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => over = true,
            }
            while gathered.len() < GATHER
                && let Ok(chunk) = lines.try_recv()
            {
                take(chunk, &mut gathered, &buffers);
            }
            if !gathered.is_empty() {
                if log.write(&gathered, wall_clock(), &mut notices).is_err() {
                    shutdown.ask(Why::Closed);
                    break;
                }
                gathered.clear();
                if left_alone.load(Ordering::Acquire) {
                    return errors;
                }
                shared.publish_log(log.counters());
            }
            for notice in notices.drain(..) {
                if stop_on_failure && matches!(notice, Notice::Failing(_)) {
                    shutdown.ask(Why::Failed);
                    errors.push(notice.to_string());
                } else {
                    eprintln!("picotap: {notice}");
                }
            }
        }
        // Workers that still have lines must not wait for somebody to take them.
        while lines.recv().is_ok() {}
        let counters = log.close(wall_clock());
        if !left_alone.load(Ordering::Acquire) {
            shared.publish_log(counters);
        }
        errors
    }
}

fn take(mut chunk: Vec<u8>, gathered: &mut Vec<u8>, buffers: &Sender<Vec<u8>>) {
    gathered.extend_from_slice(&chunk);
    chunk.clear();
    drop(buffers.try_send(chunk));
}
