//! The ledger accounts for every frame and every payload byte, and checks that none is missing.

use std::fmt::{self, Display, Formatter};

use super::keep::{KeepCounters, KeptFileCounters};
use super::shared::{CaptureFigures, WorkerFigures};
use crate::counters::{HELD, PAYLOAD, Tally, Visitor, families};
use crate::export::log;
use crate::process::ProcessCounters;
use crate::sandbox::{driver, shadow};
use crate::source::live::LiveStats;
use crate::tls::TlsCounters;
use crate::tls::keylog::LineCounters;
use crate::tls::keys::KeyCounters;
use crate::tls::probed::ProbeCounters;
use crate::{batch, flow, http, packet};

families! {
    IMBALANCE_BYTES = Gauge "picotap_ledger_imbalance_bytes" [] "payload bytes without an account", "TCP payload bytes that are in no account, or in two: always 0 unless picotap has a defect.";
    IMBALANCE_FRAMES = Gauge "picotap_ledger_imbalance_packets" [] "frames without an account", "Frames that are in no account, or in two: always 0 unless picotap has a defect.";
}

/// The counters of all stages, added up over threads.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Counted by capture threads beside their stages.
    pub capture: CaptureFigures,
    /// Counted by the kernel, for interfaces.
    pub live: LiveStats,
    /// Frames.
    pub packets: packet::PacketCounters,
    /// Connections, and payload bytes up to the flow table.
    pub flow: flow::FlowCounters,
    /// Payload bytes in slots.
    pub batch: batch::BatchCounters,
    /// Calls of the parser, and payload bytes from the slots on.
    pub sandbox: driver::SandboxCounters,
    /// Counted by workers beside their stages.
    pub worker: WorkerFigures,
    /// A second parser.
    pub shadow: shadow::ShadowCounters,
    /// Transactions.
    pub http: http::HttpCounters,
    /// TLS connections, and their bytes.
    pub tls: TlsCounters,
    /// Secrets of TLS, and the lines of key logs.
    pub keys: KeyCounters,
    /// See [`Self::keys`].
    pub key_lines: LineCounters,
    /// What probes saw.
    pub probes: ProbeCounters,
    /// Connections whose processes were asked for.
    pub processes: ProcessCounters,
    /// Log lines.
    pub log: log::LogCounters,
    /// Packets that are kept, and the file of them.
    pub keep: KeepCounters,
    /// See [`Self::keep`].
    pub kept: KeptFileCounters,
    /// Whether all threads have ended, so that no channel holds anything.
    pub ended: bool,
}

impl Ledger {
    /// Passes every counter to `to`, except those that each interface has of its own (`live`).
    pub fn visit(&self, to: &mut Visitor<'_>) {
        let Self {
            capture,
            live: _,
            packets,
            flow,
            batch,
            sandbox,
            worker,
            shadow,
            http,
            tls,
            keys,
            key_lines,
            probes,
            processes,
            log,
            keep,
            kept,
            ended: _,
        } = self;
        packets.visit("", to);
        capture.visit("", to);
        flow.visit("", to);
        batch.visit("", to);
        sandbox.visit("", to);
        worker.visit("", to);
        shadow.visit("", to);
        http.visit("", to);
        tls.visit("", to);
        keys.visit("", to);
        key_lines.visit("", to);
        probes.visit("", to);
        processes.visit("", to);
        log.visit("", to);
        kept.visit("", to);
        keep.visit("", to);
        to(&IMBALANCE_FRAMES, "", differ(self.packets.balance()));
        to(&IMBALANCE_BYTES, "", self.imbalance_bytes());
    }

    /// The counters by family, and those of all interfaces together.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.live.visit("", &mut |family, value, count| tally.add(family, value, count));
        self.visit(&mut |family, value, count| tally.add(family, value, count));
        tally
    }

    /// What was lost and why, for the summary.
    #[must_use]
    pub fn losses(&self) -> Vec<(&'static str, u64)> {
        let lines = self.log.lost_lines + self.log.not_taken;
        vec![
            ("packets dropped by the kernel", self.live.dropped),
            ("packets dropped by the interface", self.live.if_dropped),
            ("log lines lost", lines),
            ("packets of kept connections that could not be kept", self.unkept()),
            ("bytes never seen", self.flow.gap),
            ("QUIC connections (HTTP/3), which are not read", self.packets.quic),
            ("frames cut by the snap length", self.packets.cut_frames),
            ("bytes of payload cut by the snap length", self.flow.cut),
            ("bytes dropped because a queue was full", self.batch.bytes_dropped),
            ("bytes behind the front of large segments, left out under load", self.batch.bytes_shed),
            ("bytes dropped while the parser kept failing", self.sandbox.dropped),
            ("bytes of connections on which the parser failed", self.sandbox.ignored + self.sandbox.quarantined),
            ("bytes given up because the memory limit was reached", self.flow.no_memory),
            ("connections given up because the memory limit was reached", self.flow.ends_evicted / 2),
            ("transactions logged before their end because too many were open", self.http.overflow),
            ("bytes without an account: a defect of picotap, please report it", self.imbalance_bytes()),
        ]
    }

    /// Packets of connections that are kept that are not in the file.
    #[must_use]
    pub const fn unkept(&self) -> u64 {
        self.keep.buffer_full + self.keep.queue_full + self.kept.failed
    }

    /// Payload bytes without an account: 0 unless picotap has a defect. Each thread publishes its counters together, so this
    /// holds at any moment; what the threads passed to each other is compared once they have ended.
    #[must_use]
    pub fn imbalance_bytes(&self) -> u64 {
        let within =
            differ(self.flow.payload_balance()) + differ(self.batch_balance()) + differ(self.sandbox.balance());
        within + if self.ended { differ(self.delivery_balance()) } else { 0 }
    }

    /// Bytes of slots and plaintext, and what became of the former and reached sandboxes.
    fn delivery_balance(&self) -> (u64, u64) {
        let (tls, sandbox) = (&self.tls, self.sandbox.bytes_in);
        (self.batch.bytes_delivered + tls.plaintext, sandbox + tls.accounted() + tls.held)
    }

    const fn batch_balance(&self) -> (u64, u64) {
        let batch = &self.batch;
        (self.flow.handed_on, batch.bytes_delivered + batch.bytes_dropped + batch.bytes_shed + batch.bytes_open)
    }

    /// Which accounts do not add up, as text; nothing if all do.
    #[must_use]
    pub fn imbalance(&self) -> Option<String> {
        let between = self.delivery_balance();
        let tally = self.tally();
        let pairs = [
            ("frames and their accounts", self.packets.balance()),
            ("payload bytes in the flow table and its accounts", self.flow.payload_balance()),
            ("bytes handed on and bytes in slots", self.batch_balance()),
            ("bytes in sandboxes and their accounts", self.sandbox.balance()),
        ];
        let whole = [
            ("bytes delivered and bytes that reached sandboxes", between),
            ("payload bytes and their accounts", (self.flow.payload, tally.sum(&PAYLOAD) + tally.sum(&HELD))),
        ];
        let all = pairs.iter().chain(whole.iter().filter(|_| self.ended));
        let (what, (one, other)) = all.into_iter().find(|(_, (one, other))| one != other)?;
        Some(format!("{what}: {one} and {other}"))
    }
}

const fn differ((one, other): (u64, u64)) -> u64 {
    one.abs_diff(other)
}

impl Display for Ledger {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tally())?;
        match self.imbalance() {
            None if self.ended => writeln!(f, "  balanced"),
            None => writeln!(f, "  balanced so far"),
            Some(wrong) => writeln!(f, "  NOT BALANCED: {wrong}"),
        }
    }
}
