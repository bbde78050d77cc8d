//! A run: it prepares, starts its threads, supervises them until the input ends, and adds up their counters.

mod config;
mod guests;
mod prepare;
mod start;

use std::io::stdout;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

pub use self::config::{
    Arrangement, Config, DEFAULT_FAULT_LIMIT, DEFAULT_FAULT_MS, DEFAULT_MEMORY_MIB, Failure, Input, PageOptions, Report,
};
pub use self::guests::{GuestFile, Guests, GuestsError, Module, ShadowModule};
use self::prepare::prepare;
use self::start::{Running, start};
use super::keep::{Keep, KeepCounters, Store, Writer};
use super::ledger::Ledger;
use super::progress::ProgressReporter;
use super::scrape::Scrape;
use super::shared::Shared;
use super::show::Show;
use crate::clock::now;
use crate::daemon::health::Phase;
use crate::daemon::shutdown::{Shutdown, Why};
use crate::export::open::{self, LOG_MODE, METRICS_MODE};
use crate::export::sorted::MOST_BYTES;
use crate::source::live::Stopper;
use crate::view::page;

/// Time between two checks of the threads.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// Runs the pipeline to the end of its input, or until a stop is asked for.
///
/// # Errors
/// Whatever keeps it from beginning.
pub fn run(config: &Config, shutdown: &Shutdown) -> Result<Report, Failure> {
    run_shown(config, shutdown, None)
}

/// The same for a program that shows what is seen: `to` is called once with it, when the threads have started.
///
/// # Errors
/// As of [`run`].
pub fn run_shown(
    config: &Config,
    shutdown: &Shutdown,
    to: Option<Box<dyn FnOnce(Arc<Show>) + '_>>,
) -> Result<Report, Failure> {
    let started = now();
    let Some(prepared) = prepare(config, shutdown, to.is_some())? else {
        let ledger = Ledger { ended: true, ..Ledger::default() };
        return Ok(Report { ledger, stopped: shutdown.why(), ..Report::default() });
    };
    config.terminal.measure(stdout());
    let mut running = start(config, prepared, shutdown)?;
    if let (Some(to), Some(show)) = (to, running.show.get()) {
        to(Arc::clone(show));
    }
    supervise(config, &mut running, shutdown);
    Ok(Report { elapsed: started.elapsed(), ..finish(config, running, shutdown) })
}

/// Checks the threads until the last capture thread has ended.
fn supervise(config: &Config, running: &mut Running, shutdown: &Shutdown) {
    running.shared.health.enter(Phase::Running, now());
    running.supervisor.ready();
    let mut progress = ProgressReporter::new(config, running.input_bytes);
    let mut in_trouble = false;
    loop {
        // Before the request to stop is read: a thread that ends in good order asks for it first.
        let ended = running.ended();
        if shutdown.asked() {
            stop(running);
        } else {
            // Over files the capture thread ends in good order unasked.
            in_trouble = check(running, if config.is_live() { ended } else { Vec::new() }, in_trouble);
        }
        running.exporter.look(shutdown);
        if let Some(directory) = &running.shared.directory {
            directory.drain();
        }
        progress.update(&running.shared);
        config.terminal.measure(stdout());
        if let Err(RecvTimeoutError::Disconnected) = running.captures.ended.recv_timeout(CHECK_EVERY) {
            break;
        }
    }
    progress.end();
}

/// Stops the capture threads. May be called more than once.
fn stop(running: &Running) {
    let health = &running.shared.health;
    if health.phase() != Phase::Stopping {
        health.enter(Phase::Stopping, now());
        running.supervisor.stopping();
    }
    running.captures.stoppers.iter().for_each(Stopper::stop);
}

/// Checks the threads, of which these have ended. Feeds the watchdog if all is well; otherwise prints what is not, once.
/// Returns whether something is not.
fn check(running: &Running, ended: Vec<String>, in_trouble: bool) -> bool {
    let health = &running.shared.health;
    health.check(now(), ended);
    let trouble = health.trouble(now());
    match &trouble {
        None => running.supervisor.feed_watchdog(now()),
        Some(trouble) if !in_trouble => eprintln!("picotap: {trouble}"),
        Some(_) => {}
    }
    trouble.is_some()
}

/// Waits for the threads, in the order in which data goes through them, and adds up their counters.
fn finish(config: &Config, running: Running, shutdown: &Shutdown) -> Report {
    let Running {
        captures,
        workers,
        exporter,
        quarantine,
        keep,
        key_logs,
        probes,
        helper,
        signals,
        shared,
        server,
        scrape,
        show,
        engine,
        ..
    } = running;
    let mut errors = Vec::new();
    let (mut sources, mut stores) = (Vec::new(), Vec::new());
    for thread in captures.threads {
        match thread.join() {
            Ok(captured) => {
                errors.extend(captured.errors);
                sources.push(captured.source);
                stores.push(captured.store);
            }
            Err(_) => errors.push(defect("capture")),
        }
    }
    // Before the workers: over files they wait for it.
    let (failed, stalled) = exporter.end(&shared, shutdown);
    errors.extend(failed);
    for thread in workers {
        if thread.join().is_err() {
            errors.push(defect("sandbox"));
        }
    }
    errors.extend(keep.and_then(|writer| keep_rest(writer, stores, &shared)));
    // Behind the workers, which may still wait for secrets.
    for (name, source) in [("keys", key_logs), ("probes", probes)] {
        if let Some((thread, stop)) = source {
            drop(stop);
            errors.extend(thread.join().is_err().then(|| defect(name)));
        }
    }
    if let Some((thread, stopper)) = helper {
        stopper.stop();
        errors.extend(thread.join().is_err().then(|| defect("helper")));
    }
    errors.extend(quarantine.join().unwrap_or_else(|_| vec![defect("quarantine")]));
    signals.close();
    errors.extend(scrape.get().and_then(|scrape| write_metrics(config, scrape)));
    errors.extend(show.get().and_then(|show| write_report(config, show)));
    errors.extend(left_out(&shared));
    drop((server, engine, sources));
    let stopped = shutdown.why();
    // Closed or failed: threads were abandoned with what they held.
    let ended = !matches!(stopped, Some(Why::Closed | Why::Failed));
    let ledger = Ledger { ended, ..shared.ledger() };
    if !config.quiet {
        print_cut_frames(&ledger);
        if let Some(keep) = &config.keep {
            print_unkept(keep, &ledger);
        }
    }
    if ended && let Some(wrong) = ledger.imbalance() {
        debug_assert!(false, "the ledger does not balance: {wrong}");
        errors.push(format!("the ledger does not balance: this is a defect of picotap, please report it: {wrong}"));
    }
    let secrets = ledger.keys.stored > 0;
    Report { errors, ledger, summary: shared.summary.get(), secrets, stopped, stalled, ..Report::default() }
}

/// Writes what may still be kept, now that all is known. Returns what went wrong.
fn keep_rest(writer: Writer, stores: Vec<Option<Box<Store>>>, shared: &Shared) -> Option<String> {
    for (index, store) in stores.into_iter().enumerate() {
        if let Some(mut store) = store {
            store.end();
            shared.publish_keep(index, store.counters());
        }
    }
    writer.end()
}

/// Says that not all lines could be sorted.
fn left_out(shared: &Shared) -> Option<String> {
    let lines = shared.left_out.load(Ordering::Relaxed);
    let most = MOST_BYTES >> 20;
    (lines > 0).then(|| {
        format!(
            "--sort: {lines} lines that sort behind the others were left out, since {most} MiB hold no more: select fewer with --filter, \
             or the first N with --limit N"
        )
    })
}

/// Writes the metrics file, if there is to be one. Returns what went wrong.
fn write_metrics(config: &Config, scrape: &Scrape) -> Option<String> {
    let path = config.metrics_file.as_ref()?;
    let replace = |text: String| open::replace(path, METRICS_MODE, text.as_bytes());
    let written = scrape.text().map_err(std::io::Error::other).and_then(replace);
    written.err().map(|e| format!("{}: metrics cannot be written: {e}", path.display()))
}

/// Writes the report, if there is to be one. Returns what went wrong.
fn write_report(config: &Config, show: &Show) -> Option<String> {
    let path = config.report.as_ref()?;
    let text = page::html(Some(&show.snapshot()));
    // It shows what the log shows.
    let written = open::replace(path, LOG_MODE, text.as_bytes());
    written.err().map(|e| format!("{}: the report cannot be written: {e}", path.display()))
}

fn print_cut_frames(ledger: &Ledger) {
    let (cut, frames) = (ledger.packets.cut_frames, ledger.packets.frames);
    if cut > 0 {
        eprintln!(
            "picotap: {cut} of {frames} frames were cut by the snap length: what was cut off is missing (capture with a larger \
             -s, or without one)"
        );
    }
}

fn print_unkept(keep: &Keep, ledger: &Ledger) {
    let (file, KeepCounters { connections, incomplete, buffer_full, queue_full, .. }) =
        (keep.file.display(), ledger.keep);
    if buffer_full > 0 {
        let size = keep.buffer >> 10;
        eprintln!(
            "picotap: {file}: {buffer_full} packets are missing, of {incomplete} of {connections} connections: they were given up before it \
             was known that they are wanted (--write-buffer held {size} KiB: name a larger one)"
        );
    }
    if queue_full > 0 {
        eprintln!("picotap: {file}: {queue_full} packets are missing: they came faster than they could be written");
    }
}

pub(super) fn defect(thread: &str) -> String {
    format!("the {thread} thread failed: this is a defect of picotap, please report it with the lines above")
}

impl Running {
    /// Names of the threads that have ended.
    fn ended(&self) -> Vec<String> {
        let captures = ended(&self.captures.threads);
        let workers = captures.chain(ended(&self.workers));
        let keys = self.key_logs.iter().chain(&self.probes).flat_map(|(thread, _)| ended(from_ref(thread)));
        let others = ended(from_ref(self.exporter.thread())).chain(ended(from_ref(&self.quarantine)));
        workers.chain(others).chain(keys).collect()
    }
}

fn ended<T>(threads: &[JoinHandle<T>]) -> impl Iterator<Item = String> {
    let ended = threads.iter().filter(|thread| thread.is_finished());
    ended.map(|thread| thread.thread().name().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::log::Target;

    #[test]
    fn a_run_with_defaults_logs_every_transaction_of_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let config = Config { target: Target::File(log.clone()), quiet: true, ..Config::files(["fixtures/http.pcap"]) };
        let report = run(&config, &Shutdown::default()).expect("it begins");
        assert_eq!((report.errors, report.stopped, report.stalled), (Vec::new(), None, false));
        assert_eq!(report.ledger.http.transactions, 43);
        assert_eq!(std::fs::read_to_string(log).expect("a log").lines().count(), 43);
    }

    #[test]
    fn a_run_that_is_asked_to_stop_says_why() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = Target::File(directory.path().join("log"));
        let shutdown = Shutdown::default();
        shutdown.ask(Why::Signal);
        let config = Config { target, quiet: true, ..Config::files(["fixtures/http.pcap"]) };
        let report = run(&config, &shutdown).expect("it is no failure");
        assert_eq!((report.errors, report.stopped), (Vec::new(), Some(Why::Signal)));
    }
}
