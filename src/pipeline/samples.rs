//! Samples are picotap's own counters as Prometheus reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shared::Shared;
use crate::export::metrics::Metrics;
use crate::export::own;
use crate::export::sample::{Sample, process};
use crate::sandbox::fault::NAMES;
use crate::sandbox::shadow;

/// Everything that a scrape is told.
pub struct Scrape {
    /// Counters of the threads.
    pub shared: Arc<Shared>,
    /// Metrics over transactions.
    pub metrics: Arc<Metrics>,
    /// Wall-clock time at which the process started, in seconds.
    pub started: f64,
    /// Slots that a queue may hold.
    pub capacity: usize,
    /// Connections that the endpoint sent away.
    pub refused: Arc<AtomicU64>,
}

impl Scrape {
    /// The text of a scrape.
    ///
    /// # Errors
    /// None in practice: see [`Metrics::text`].
    pub fn text(&self) -> Result<String, String> {
        self.metrics.text(&self.samples()).map_err(|e| e.to_string())
    }

    fn samples(&self) -> Vec<Sample> {
        let shared = &self.shared;
        let ledger = shared.ledger();
        let captures = shared.captures();
        let workers = shared.workers();
        let (_, parser, _) = shared.parser();
        let mut all = vec![
            own::BUILD_INFO
                .sample(&[env!("CARGO_PKG_VERSION"), option_env!("PICOTAP_REVISION").unwrap_or("unknown")], 1.0),
            own::PARSER_INFO.sample(&[&parser.sha256, &parser.abi_version.to_string()], 1.0),
            own::START_TIME.sample(&[], self.started),
            own::PACKETS.count(&[], ledger.packets.frames + ledger.filtered),
            own::PACKET_BYTES.count(&[], captures.iter().map(|c| c.bytes).sum()),
            own::SNAPPED.count(&[], ledger.packets.cut_frames),
            own::GAP_BYTES.count(&[], ledger.flow.gap),
            own::GAPS.count(&[], ledger.gaps()),
            own::CONNECTIONS.count(&[], ledger.flow.connections),
            own::CONNECTIONS_OPEN.count(&[], captures.iter().map(|c| c.connections).sum()),
            own::SANDBOX_CALLS.count(&[], ledger.sandbox.calls),
            own::SANDBOX_EVENTS.count(&[], ledger.sandbox.events),
            own::SANDBOX_SECONDS.sample(&[], workers.iter().map(|w| w.busy.as_secs_f64()).sum()),
            own::SANDBOX_FAULT_SECONDS.sample(&[], ledger.sandbox.lost_micros as f64 / 1e6),
            own::QUARANTINED.count(&[], ledger.sandbox.condemned),
            own::QUARANTINE_LOST.count(&[], workers.iter().map(|w| w.poison_unsent).sum()),
            own::HTTP_REFUSED.count(&[], self.refused.load(Ordering::Relaxed)),
            own::OPEN_TRANSACTION_BYTES.count(&[], workers.iter().map(|w| w.open_bytes).sum()),
            own::DROPPED_SLOTS.count(&["slots"], ledger.batch.slots_dropped),
        ];
        all.push(own::SKIPPED.count(&["filtered"], ledger.filtered));
        all.extend(ledger.packets.skips().map(|(reason, count)| own::SKIPPED.count(&[reason.name()], count)));
        all.extend(ledger.payload().iter().map(|(account, bytes)| own::PAYLOAD.count(&[account], *bytes)));
        all.extend(ledger.ends().iter().map(|(reason, count)| own::CONNECTIONS_ENDED.count(&[reason], *count)));
        for (at, name) in NAMES.iter().enumerate() {
            let count = workers.iter().filter_map(|w| w.faults.get(at)).sum();
            all.push(own::SANDBOX_FAULTS.count(&[name], count));
        }
        for capture in &captures {
            let Some(interface) = &capture.interface else { continue };
            all.push(own::KERNEL_RECEIVED.count(&[interface], capture.live.received));
            all.push(own::KERNEL_DROPPED.count(&[interface], capture.live.dropped));
            all.push(own::INTERFACE_DROPPED.count(&[interface], capture.live.if_dropped));
        }
        for (place, queued) in shared.queued().enumerate() {
            let queue = format!("slots-{place}");
            all.push(own::QUEUE_LENGTH.count(&[&queue], queued as u64));
            all.push(own::QUEUE_CAPACITY.count(&[&queue], self.capacity as u64));
        }
        for (name, count) in ["done", "refused", "rolled_back"].iter().zip(&shared.swaps) {
            all.push(own::SWAPS.count(&[name], count.load(Ordering::Relaxed)));
        }
        let mut compared = shadow::Counters::default();
        for worker in &workers {
            compared.add(&worker.shadow);
        }
        all.push(own::SHADOW_RECORDS.count(&[], compared.compared));
        all.push(own::SHADOW_SKIPPED.count(&[], compared.skipped_slots));
        all.extend(compared.differences().map(|(field, count)| own::SHADOW_DIFFERENCES.count(&[field], count)));
        all.extend(own::log(&shared.log()));
        all.push(own::LOG_LOST.count(&[], ledger.lines_lost));
        all.extend(own::desk(&ledger.http));
        all.extend(own_process());
        // A kernel's counter of one interface may come from several capture threads.
        let mut all = merge(all);
        let mut told: Vec<&str> = Vec::new();
        for capture in &captures {
            if let Some(interface) = capture.interface.as_deref().filter(|name| !told.contains(name)) {
                told.push(interface);
                let down = captures.iter().any(|other| other.interface.as_deref() == Some(interface) && other.down);
                all.push(own::INTERFACE_UP.sample(&[interface], if down { 0.0 } else { 1.0 }));
            }
        }
        all
    }
}

/// Adds up samples of the same name and labels.
fn merge(samples: Vec<Sample>) -> Vec<Sample> {
    let mut merged: Vec<Sample> = Vec::with_capacity(samples.len());
    for sample in samples {
        match merged.iter_mut().find(|known| known.name == sample.name && known.labels == sample.labels) {
            Some(known) => known.value += sample.value,
            None => merged.push(sample),
        }
    }
    merged
}

fn own_process() -> Vec<Sample> {
    let read = |name| std::fs::read_to_string(name).unwrap_or_default();
    let value = |name| nix::unistd::sysconf(name).ok().flatten().unwrap_or(0) as f64;
    let (ticks, page) = (value(nix::unistd::SysconfVar::CLK_TCK), value(nix::unistd::SysconfVar::PAGE_SIZE));
    process(&read("/proc/self/stat"), &read("/proc/self/statm"), ticks, page)
}
