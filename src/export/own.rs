//! picotap's own metrics: their names, what they mean and their labels, in one table.
//!
//! The pipeline makes samples of what it counts with [`Metric::sample`]; dashboards and alerts may name what stands here,
//! what [`crate::export::metrics`] registers, and what [`crate::export::sample::process`] gives.

use crate::abi;
use crate::export::file;
use crate::export::sample::{Kind, Sample};
use crate::http::desk;

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// A value of it. `labels`: values, as many as the metric has names; further ones fall away.
    #[must_use]
    pub fn sample(&self, labels: &[&str], value: f64) -> Sample {
        let labels = self.labels.iter().zip(labels).map(|(name, value)| (*name, (*value).to_owned())).collect();
        Sample { name: self.name, help: self.help, kind: self.kind, labels, value }
    }

    /// A whole value of it: exact up to 2^53.
    #[must_use]
    pub fn count(&self, labels: &[&str], value: u64) -> Sample {
        self.sample(labels, value as f64)
    }
}

macro_rules! metrics {
    ($($name:ident = $kind:ident $text:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $name: Metric = Metric { name: $text, help: $help, kind: Kind::$kind, labels: &[$($label),*] };
        )+
        /// Every metric of this table.
        pub const ALL: &[Metric] = &[$($name),+];
    };
}

metrics! {
    BUILD_INFO = Gauge "picotap_build_info" ["version", "revision"] "What is running; always 1.";
    PARSER_INFO = Gauge "picotap_parser_info" ["sha256", "abi"] "The parser in the sandbox; always 1.";
    START_TIME = Gauge "process_start_time_seconds" [] "Start of the process, seconds since the Unix epoch.";
    PACKETS = Counter "picotap_packets_total" [] "Frames read.";
    PACKET_BYTES = Counter "picotap_packet_bytes_total" [] "Captured bytes of the frames read.";
    SKIPPED = Counter "picotap_skipped_packets_total" ["reason"] "Frames that gave no TCP segment.";
    SNAPPED = Counter "picotap_cut_packets_total" [] "Frames cut by the snap length.";
    KERNEL_RECEIVED = Counter "picotap_capture_received_packets_total" ["interface"] "Packets that passed the kernel's filter.";
    KERNEL_DROPPED = Counter "picotap_capture_dropped_packets_total" ["interface"] "Packets that the kernel dropped for want of buffer.";
    INTERFACE_DROPPED = Counter "picotap_capture_interface_dropped_packets_total" ["interface"] "Packets that the interface dropped.";
    INTERFACE_UP = Gauge "picotap_capture_interface_up" ["interface"] "Whether the interface delivers: 1, or 0 while it is down or away.";
    PAYLOAD = Counter "picotap_payload_bytes_total" ["account"] "TCP payload bytes, by what became of them.";
    GAP_BYTES = Counter "picotap_gap_bytes_total" [] "TCP payload bytes that were never seen.";
    GAPS = Counter "picotap_gaps_total" [] "Stretches of TCP payload that were never seen.";
    CONNECTIONS = Counter "picotap_connections_total" [] "TCP connections seen.";
    CONNECTIONS_OPEN = Gauge "picotap_open_connections" [] "TCP connections that are followed now.";
    CONNECTIONS_ENDED = Counter "picotap_ended_sides_total" ["reason"] "Sides of TCP connections, by how they ended.";
    OPEN_TRANSACTION_BYTES = Gauge "picotap_open_transaction_bytes" [] "Memory of transactions that are not complete.";
    OVERFLOW = Counter "picotap_transaction_overflows_total" [] "Transactions logged before they were complete, for want of room.";
    STRAY = Counter "picotap_stray_records_total" [] "Parser's records that belong to no open transaction.";
    NOT_HTTP = Counter "picotap_not_http_total" ["kind"] "Sides of connections that speak something else.";
    PARSE_ERRORS = Counter "picotap_parse_errors_total" ["error"] "Messages that the parser could not read.";
    SANDBOX_CALLS = Counter "picotap_sandbox_calls_total" [] "Calls into the sandbox.";
    SANDBOX_EVENTS = Counter "picotap_sandbox_events_total" [] "Events given to the sandbox.";
    SANDBOX_SECONDS = Counter "picotap_sandbox_seconds_total" [] "Time spent in the sandbox.";
    SANDBOX_FAULTS = Counter "picotap_sandbox_faults_total" ["reason"] "Calls that ended in a trap, at the deadline or with a reply that does not hold.";
    SANDBOX_FAULT_SECONDS = Counter "picotap_sandbox_fault_seconds_total" [] "Time lost to calls that failed or got nowhere, and to slots that took far too long.";
    QUARANTINED = Counter "picotap_quarantined_events_total" [] "Events on which the parser failed again when alone.";
    QUARANTINE_LOST = Counter "picotap_quarantine_lost_events_total" [] "Events of these that came too fast to be told of or kept as files.";
    SWAPS = Counter "picotap_parser_swaps_total" ["result"] "Attempts to put another parser in place.";
    SHADOW_RECORDS = Counter "picotap_shadow_compared_records_total" [] "Records compared with a second parser's.";
    SHADOW_DIFFERENCES = Counter "picotap_shadow_differences_total" ["field"] "Records in which a second parser differs, by field.";
    SHADOW_SKIPPED = Counter "picotap_shadow_skipped_slots_total" [] "Slots that a second parser was not shown whole, because its faults took too long.";
    QUEUE_LENGTH = Gauge "picotap_queue_length" ["queue"] "Slots that wait in a queue.";
    QUEUE_CAPACITY = Gauge "picotap_queue_capacity" ["queue"] "Slots that a queue may hold.";
    DROPPED_SLOTS = Counter "picotap_dropped_slots_total" ["queue"] "Slots dropped because a queue was full.";
    LOG_LINES = Counter "picotap_log_lines_total" [] "Log lines.";
    LOG_LOST = Counter "picotap_log_lost_lines_total" [] "Log lines that could not be written.";
    LOG_ERRORS = Counter "picotap_log_write_errors_total" [] "Writes to the log that failed.";
    LOG_ROTATIONS = Counter "picotap_log_rotations_total" ["result"] "Rotations of the log.";
    HTTP_REFUSED = Counter "picotap_http_refused_connections_total" [] "Connections to this endpoint that were sent away.";
}

/// What the log counted.
#[must_use]
pub fn log(counters: &file::Counters) -> Vec<Sample> {
    vec![
        LOG_LINES.count(&[], counters.lines),
        LOG_LOST.count(&[], counters.lost_lines),
        LOG_ERRORS.count(&[], counters.write_errors),
        LOG_ROTATIONS.count(&["done"], counters.rotations),
        LOG_ROTATIONS.count(&["failed"], counters.rotation_errors),
    ]
}

/// What the desks of all workers counted, added up.
#[must_use]
pub fn desk(counters: &desk::Counters) -> Vec<Sample> {
    let mut samples = vec![OVERFLOW.count(&[], counters.overflow), STRAY.count(&[], counters.stray)];
    let mut named = |metric: Metric, names: &[(&str, u16)], counts: &[u64]| {
        for (code, count) in (0u16..).zip(counts) {
            let name = names.iter().find(|(_, known)| *known == code).map(|(name, _)| name.to_lowercase());
            samples.push(metric.count(&[name.as_deref().unwrap_or("unknown")], *count));
        }
    };
    named(NOT_HTTP, abi::not_http::ALL, &counters.not_http);
    named(PARSE_ERRORS, abi::error::ALL, &counters.errors);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_counters_end_in_total() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        }
    }

    #[test]
    fn what_a_desk_counts_is_named() {
        let mut counters = desk::Counters::default();
        counters.errors[usize::from(abi::error::BAD_CHUNK)] = 3;
        let samples = desk(&counters);
        let found = samples.iter().find(|sample| sample.value != 0.0).unwrap();
        assert_eq!(
            (found.name, &found.labels[..]),
            ("picotap_parse_errors_total", &[("error", "bad_chunk".to_owned())][..])
        );
    }
}
