//! The ledger says where every frame and every payload byte went, and that nothing is missing.

use std::fmt::{self, Display, Formatter};

use crate::sandbox::driver;
use crate::{batch, flow, http, packet};

/// The accounts of all parts.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Frames that the capture filter left out.
    pub filtered: u64,
    /// Frames.
    pub packets: packet::Counts,
    /// Payload bytes, as far as the flow table.
    pub flow: flow::Counters,
    /// Payload bytes in slots that were dropped.
    pub batch: batch::Counters,
    /// Payload bytes, from the slots on.
    pub sandbox: driver::Counters,
    /// Transactions.
    pub http: http::Counters,
    /// Log lines that found the export thread's queue full.
    pub lines_lost: u64,
}

/// An account and what is in it.
pub type Account = (&'static str, u64);

impl Ledger {
    /// Accounts in which payload bytes end, with their names in metrics.
    #[must_use]
    pub fn payload(&self) -> Vec<Account> {
        let flow = self.flow;
        vec![
            ("parsed", self.sandbox.parsed),
            ("skipped", flow.skipped + self.sandbox.skipped),
            ("duplicate", flow.duplicate),
            ("probe", flow.probe),
            ("before_start", flow.before_start),
            ("out_of_reach", flow.out_of_reach),
            ("behind_fin", flow.behind_fin),
            ("no_ack", flow.no_ack),
            ("odd_flags", flow.odd_flags),
            ("stray_syn", flow.stray_syn),
            ("in_reset", flow.in_reset),
            ("late", flow.late),
            ("after_reset", flow.after_reset),
            ("no_connection", flow.no_connection),
            ("syn_refused", flow.syn_refused),
            ("no_memory", flow.no_memory),
            ("queue_full", self.batch.bytes_dropped),
            ("backed_off", self.sandbox.dropped),
            ("ignored_connection", self.sandbox.ignored),
            ("quarantined", self.sandbox.quarantined),
            ("unfinished", flow.unfinished + flow.held + self.sandbox.unfinished),
        ]
    }

    /// Gaps, however they were declared.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        let flow = &self.flow;
        let declared = flow.gaps_proved + flow.gaps_timed + flow.gaps_bound + flow.gaps_memory;
        declared + flow.gaps_cut + flow.gaps_flushed + flow.gaps_jumped
    }

    /// How sides of connections ended.
    #[must_use]
    pub fn ends(&self) -> [Account; 6] {
        let flow = &self.flow;
        [
            ("fin", flow.ends_fin),
            ("reset", flow.ends_reset),
            ("timeout", flow.ends_timeout),
            ("evicted", flow.ends_evicted),
            ("reused", flow.ends_reused),
            ("capture", flow.ends_capture),
        ]
    }

    /// What was lost and why, for the summary.
    #[must_use]
    pub fn losses(&self) -> Vec<Account> {
        vec![
            ("log lines dropped because they were not taken", self.lines_lost),
            ("bytes never seen", self.flow.gap),
            ("bytes cut by the snap length", self.flow.cut),
            ("bytes dropped because a queue was full", self.batch.bytes_dropped),
            ("bytes dropped while the parser kept failing", self.sandbox.dropped),
            ("bytes of connections on which the parser failed", self.sandbox.ignored + self.sandbox.quarantined),
            ("bytes given up for want of memory", self.flow.no_memory),
            ("connections given up for want of memory", self.flow.ends_evicted / 2),
        ]
    }

    /// What does not add up, in words; nothing when all does.
    #[must_use]
    pub fn imbalance(&self) -> Option<String> {
        if !self.packets.balanced() {
            return Some(format!("frames and their accounts differ: {:?}", self.packets));
        }
        let payload: u64 = self.payload().iter().map(|(_, bytes)| bytes).sum();
        let between = self.batch.bytes_dropped + self.sandbox.bytes_in;
        let (into, out) = self.sandbox.balance();
        let pairs = [
            ("payload bytes and their accounts", self.flow.payload, payload),
            (
                "payload bytes in the flow table and its accounts",
                self.flow.payload_balance().0,
                self.flow.payload_balance().1,
            ),
            ("bytes handed on and bytes that came in slots", self.flow.handed_on, between),
            ("bytes in slots and their accounts", into, out),
        ];
        let wrong = pairs.iter().find(|(_, one, other)| one != other)?;
        Some(format!("{}: {} and {}", wrong.0, wrong.1, wrong.2))
    }
}

impl Display for Ledger {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: u64| if value > 0 { writeln!(f, "  {name:<28}{value:>16}") } else { Ok(()) };
        line("frames", self.packets.frames + self.filtered)?;
        line("  not chosen by the filter", self.filtered)?;
        line("  segments", self.packets.segments)?;
        line("  fragments joined", self.packets.fragments_joined)?;
        for (reason, count) in self.packets.skips() {
            line(&format!("  {}", reason.name()), count)?;
        }
        line("payload bytes", self.flow.payload)?;
        for (name, bytes) in self.payload() {
            line(&format!("  {name}"), bytes)?;
        }
        line("bytes never seen (gaps)", self.flow.gap)?;
        line("bytes cut by the snap length", self.flow.cut)?;
        line("overlaps that disagree", self.flow.overlap_conflicts)?;
        line("connections", self.flow.connections)?;
        line("  picked up in mid-stream", self.flow.midstream)?;
        line("transactions", self.http.transactions)?;
        line("  log lines dropped", self.lines_lost)?;
        line("sandbox calls", self.sandbox.calls)?;
        line("  events", self.sandbox.events)?;
        line("  faults", self.sandbox.faults)?;
        line("  events condemned", self.sandbox.condemned)?;
        match self.imbalance() {
            None => writeln!(f, "  balanced"),
            Some(wrong) => writeln!(f, "  NOT BALANCED: {wrong}"),
        }
    }
}
