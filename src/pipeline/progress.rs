//! What the main thread prints of a run that goes on: progress on a terminal, a hint if there is no HTTP, and lost packets.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::run::Config;
use super::shared::Shared;
use crate::clock::now;
use crate::export::log::Target;

/// After so long without a transaction, a live run prints what was seen instead.
const HINT_AFTER: Duration = Duration::from_secs(10);
/// Least time between two warnings about lost packets.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// A file that is read in less time than this has no progress bar.
const BAR_AFTER: Duration = Duration::from_millis(500);

/// Prints progress, hints and warnings on standard error.
#[derive(Debug)]
pub(super) struct ProgressReporter {
    started: Instant,
    live: bool,
    quiet: bool,
    /// Bytes of the input, if they are known and a bar shows how many were read.
    total: Option<u64>,
    bar: Option<ProgressBar>,
    hinted: bool,
    warned: Option<Instant>,
    dropped: [u64; 3],
}

impl ProgressReporter {
    /// `total`: bytes of the input, if known.
    pub(super) fn new(config: &Config, total: Option<u64>) -> Self {
        // Lines that scroll past are progress enough, and a bar among them would be torn.
        let lines_scroll = config.target == Target::Stdout && std::io::stdout().is_terminal();
        let has_bar = std::io::stderr().is_terminal() && !lines_scroll;
        let (live, quiet, total) = (config.is_live(), config.quiet, total.filter(|_| has_bar));
        Self { started: now(), live, quiet, total, bar: None, hinted: false, warned: None, dropped: [0; 3] }
    }

    /// Prints what is new. To be called often.
    pub(super) fn update(&mut self, shared: &Shared) {
        if self.quiet {
            return;
        }
        if self.live {
            self.hint(shared);
            self.warn(shared);
        } else {
            self.progress(shared);
        }
    }

    fn progress(&mut self, shared: &Shared) {
        let Some(total) = self.total else { return };
        if self.bar.is_none() {
            if self.started.elapsed() < BAR_AFTER {
                return;
            }
            let template = "{bar:30} {percent:>3}% {binary_bytes_per_sec} {eta} left";
            let bar = ProgressBar::new(total);
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(shared.progress.load(Ordering::Relaxed));
        }
    }

    /// Prints once what was seen, if none of it was HTTP.
    fn hint(&mut self, shared: &Shared) {
        if self.hinted || self.started.elapsed() < HINT_AFTER {
            return;
        }
        self.hinted = true;
        let ledger = shared.ledger();
        if ledger.http.transactions > 0 {
            return;
        }
        let tls = ledger.tls.started;
        eprintln!(
            "picotap: no HTTP in the first {} seconds: {} packets, {} connections ({} picked up in mid-stream), {tls} with TLS, \
             {} packets cut by the snap length, {} bytes of payload, {} packets without TCP",
            HINT_AFTER.as_secs(),
            ledger.packets.frames,
            ledger.flow.connections,
            ledger.flow.midstream,
            ledger.packets.cut_frames,
            ledger.flow.payload,
            ledger.packets.frames - ledger.packets.segments,
        );
    }

    /// Prints how much was dropped since the last warning.
    fn warn(&mut self, shared: &Shared) {
        if self.warned.is_some_and(|last| last.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(now());
        let captures = shared.captures();
        let sum = |f: fn(&crate::source::live::LiveStats) -> u64| captures.iter().map(|c| f(&c.live)).sum::<u64>();
        let seen = [sum(|s| s.dropped), sum(|s| s.if_dropped), captures.iter().map(|c| c.batch.bytes_dropped).sum()];
        let [kernel, interface, queue] = [0, 1, 2].map(|at: usize| {
            let (new, old) = (seen.get(at), self.dropped.get(at));
            new.copied().unwrap_or(0).saturating_sub(old.copied().unwrap_or(0))
        });
        self.dropped = seen;
        if kernel + interface + queue > 0 {
            eprintln!(
                "picotap: dropped since the last warning: {kernel} packets by the kernel (a larger --buffer-size or a filter helps), \
                 {interface} by the interface, {queue} bytes because a sandbox is behind (more --workers or --queue help)"
            );
        }
    }

    /// Removes the progress bar.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
