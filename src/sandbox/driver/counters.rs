//! What a driver counts.

use crate::counters::{HELD, PAYLOAD, counters, families};

families! {
    BYTES_IN = Counter "picotap_sandbox_bytes_total" [] "payload bytes that reached sandboxes", "TCP payload bytes that reached the sandboxes.";
    CALLS = Counter "picotap_sandbox_calls_total" [] "sandbox calls", "Calls into the sandbox.";
    EVENTS = Counter "picotap_sandbox_events_total" [] "sandbox events", "Events given to the sandbox.";
    RECORDS = Counter "picotap_sandbox_records_total" [] "sandbox records", "Records that the parser gave.";
    FAILED_CALLS = Counter "picotap_sandbox_failed_calls_total" [] "sandbox faults", "Calls into the sandbox that failed.";
    UNREPRODUCED = Counter "picotap_sandbox_unreproduced_faults_total" [] "faults not seen again", "Failed calls whose events all passed when tried alone.";
    RENEWALS = Counter "picotap_sandbox_renewals_total" [] "fresh instances", "Fresh parser instances made after faults.";
    QUARANTINED = Counter "picotap_quarantined_events_total" [] "events condemned", "Events on which the parser failed again when alone.";
    FAULT_SECONDS = Seconds "picotap_sandbox_fault_seconds_total" [] "time lost to faults", "Time lost to calls that failed or got nowhere, and to slots that took far too long.";
    INNER = Gauge "picotap_sandbox_inner_streams" [] "streams inside tunnels", "Streams inside tunnels that the sandboxes carry now, each as a connection of its own.";
    TURNS = Counter "picotap_sandbox_turns_total" ["turn"] "connections that became something else", "Connections that a parser handed over to another protocol's, or in which a tunnel was opened that is followed.";
    EXTRA = Gauge "picotap_sandbox_extra_state_bytes" [] "bytes of extra state", "Bytes that parsers remember of connections beyond 128 each.";
    EXTRA_EVENTS = Counter "picotap_sandbox_extra_state_total" ["event"] "extra state", "Extra state of connections: granted, refused, and dropped for lack of memory.";
    CONNECTIONS = Gauge "picotap_sandbox_connections" [] "connections carried by sandboxes", "Connections that the sandboxes carry now.";
}

counters! {
    /// What became of the payload that reached the sandbox, and what the guest did.
    pub struct SandboxCounters {
        /// Payload bytes that came in slots.
        bytes_in => BYTES_IN,
        /// Consumed by the guest.
        parsed => PAYLOAD["parsed"],
        /// Left out here because of a skip hint.
        skipped => PAYLOAD["skipped"],
        /// Of connections that are ignored after a fault.
        ignored => PAYLOAD["ignored_connection"],
        /// In condemned events.
        quarantined => PAYLOAD["quarantined"],
        /// In slots dropped because no instance could be made, or because a worker backed off.
        dropped => PAYLOAD["backed_off"],
        /// Waiting for more when their connection was closed without it.
        unfinished => PAYLOAD["unfinished"],
        /// Waiting for more now.
        held => HELD["sandbox"],
        /// In the current slot and still to come: of counters that are shown before its end.
        pending => HELD["slot_at_hand"],
        /// Calls of the guest.
        calls => CALLS,
        /// Events in them.
        events => EVENTS,
        /// Records received.
        records => RECORDS,
        /// Calls that failed.
        faults => FAILED_CALLS,
        /// Faults of calls whose events all passed when tried alone.
        unreproduced => UNREPRODUCED,
        /// Fresh instances made after faults.
        renewals => RENEWALS,
        /// Nanoseconds lost: see [`super::Receiver::lost`].
        lost => FAULT_SECONDS,
        /// Events condemned.
        condemned => QUARANTINED,
        /// Connections open.
        connections => CONNECTIONS,
        /// Streams inside tunnels open.
        inner => INNER,
        /// Streams inside tunnels begun.
        inner_begun => TURNS["inner"],
        /// Connections handed over.
        handed_over => TURNS["handed_over"],
        /// Bytes of extra state.
        extra => EXTRA,
        /// Requests for extra state that were granted.
        extra_granted => EXTRA_EVENTS["granted"],
        /// Requests for extra state that were refused.
        extra_refused => EXTRA_EVENTS["refused"],
        /// Connections whose extra state was dropped.
        extra_dropped => EXTRA_EVENTS["dropped"],
    }
}

impl SandboxCounters {
    /// Payload bytes in, and the sum of all accounts in which they may have ended.
    #[must_use]
    pub fn balance(&self) -> (u64, u64) {
        let mut out = 0u64;
        self.visit("", &mut |family, _, count| {
            if [&PAYLOAD, &HELD].contains(&family) {
                out = out.wrapping_add(count);
            }
        });
        (self.bytes_in, out)
    }
}
