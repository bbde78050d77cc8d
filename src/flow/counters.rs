//! What the flow table counts. Every payload byte taken is in exactly one account.

use crate::counters::{HELD, PAYLOAD, counters, families};

families! {
    SEGMENTS = Counter "picotap_segments_total" [] "segments", "TCP segments taken.";
    PAYLOAD_SEEN = Counter "picotap_captured_payload_bytes_total" [] "payload bytes", "TCP payload bytes captured: the sum of all accounts.";
    CUT_BYTES = Counter "picotap_cut_bytes_total" [] "payload bytes cut by the snap length", "TCP payload bytes that were on the wire but cut off by the snap length.";
    HANDED_ON = Counter "picotap_stream_bytes_total" [] "payload bytes handed on in order", "TCP payload bytes handed on in order.";
    CONFLICTING_BYTES = Counter "picotap_conflicting_bytes_total" [] "duplicate bytes that differ", "Duplicate payload bytes that differ from the first copy.";
    CONFLICTING_SEGMENTS = Counter "picotap_conflicting_segments_total" [] "overlaps that disagree", "Segments that overlap held bytes and differ from them.";
    GAP_BYTES = Counter "picotap_gap_bytes_total" [] "bytes never seen (gaps)", "TCP payload bytes that were never seen.";
    GAPS = Counter "picotap_gaps_total" ["reason"] "gaps", "Gaps in TCP payload, by the reason why they were declared.";
    TCP_EVENTS = Counter "picotap_tcp_events_total" ["event"] "TCP events", "Unusual TCP events, by kind.";
    CONNECTIONS = Counter "picotap_connections_total" [] "connections", "TCP connections seen.";
    SEEN_AGAIN = Counter "picotap_duplicate_connections_total" [] "connections seen again", "TCP connections left out because they were seen elsewhere: on another interface, in a tunnel, or with other addresses.";
    SEEN_AGAIN_SEGMENTS = Counter "picotap_duplicate_packets_total" [] "packets of connections seen again", "TCP segments left out because their connection was seen elsewhere.";
    OTHER_SHARD = Counter "picotap_other_shard_packets_total" [] "packets of other shards", "TCP segments left out because their connection is in another shard.";
    MIDSTREAM = Counter "picotap_midstream_connections_total" [] "connections picked up in mid-stream", "TCP connections whose start was not captured.";
    JOINED_NETWORKS = Counter "picotap_joined_networks_total" [] "connections over two virtual networks", "TCP connections whose two directions are in different virtual networks.";
    ENDED_SIDES = Counter "picotap_ended_sides_total" ["reason"] "ended sides", "Sides of TCP connections, by how they ended.";
    EVICTED = Counter "picotap_evicted_connections_total" ["kind"] "evicted connections", "TCP connections evicted because the memory limit was reached, by kind.";
}

counters! {
    /// What the flow table counts. Bytes are payload bytes.
    pub struct FlowCounters {
        /// Segments taken.
        segments => SEGMENTS,
        /// Their captured payload bytes: the sum of all accounts.
        payload => PAYLOAD_SEEN,
        /// Payload bytes that were on the wire but cut off by the snap length; not part of `payload`.
        cut => CUT_BYTES,

        /// Account: handed on to the sink.
        handed_on => HANDED_ON,
        /// Account: in a skipped range, because of a skip hint.
        skipped => PAYLOAD["skipped"],
        /// Account: further copies of bytes.
        duplicate => PAYLOAD["duplicate"],
        /// Account: in keep-alives.
        probe => PAYLOAD["probe"],
        /// Account: before the start of a stream that was picked up in mid-stream.
        before_start => PAYLOAD["before_start"],
        /// Account: too far from the stream's current offset.
        out_of_reach => PAYLOAD["out_of_reach"],
        /// Account: behind the sender's FIN.
        behind_fin => PAYLOAD["behind_fin"],
        /// Account: without the ACK flag, which every receiver drops (RFC 9293, section 3.10.7.4).
        no_ack => PAYLOAD["no_ack"],
        /// Account: with flags that exclude each other (SYN with FIN or RST).
        odd_flags => PAYLOAD["odd_flags"],
        /// Account: in an unexpected SYN.
        stray_syn => PAYLOAD["stray_syn"],
        /// Account: in an RST.
        in_reset => PAYLOAD["in_reset"],
        /// Account: after the end of its side.
        late => PAYLOAD["late"],
        /// Account: after a reset.
        after_reset => PAYLOAD["after_reset"],
        /// Account: of no connection, in a segment that cannot start one.
        no_connection => PAYLOAD["no_connection"],
        /// Account: of a connection that is seen elsewhere.
        seen_again_bytes => PAYLOAD["seen_again"],
        /// Account: of a connection in another shard.
        other_shard => PAYLOAD["other_shard"],
        /// Account: SYN data that the peer refused.
        syn_refused => PAYLOAD["syn_refused"],
        /// Account: SYN data or a window probe that was never acknowledged.
        unfinished => PAYLOAD["unfinished"],
        /// Account: no room for it under the memory limit.
        no_memory => PAYLOAD["no_memory"],
        /// Account: held now. The only one that falls again.
        held => HELD["flow"],

        /// Of `duplicate`: bytes that differ from the first copy.
        conflicting => CONFLICTING_BYTES,
        /// Segments that overlapped held bytes and differed from them.
        overlap_conflicts => CONFLICTING_SEGMENTS,
        /// Bytes that were never seen: jumps in the offsets, and the lost part of skipped ranges.
        gap => GAP_BYTES,
        /// Gaps declared because the peer had acknowledged what was missing.
        gaps_proved => GAPS["proved"],
        /// Gaps declared because the hole had been open too long.
        gaps_timed => GAPS["timed"],
        /// Gaps declared because a side held too much.
        gaps_bound => GAPS["bound"],
        /// Gaps declared because all connections together held too much.
        gaps_memory => GAPS["memory"],
        /// Gaps left by the snap length.
        gaps_cut => GAPS["cut"],
        /// Gaps declared at the end of a connection or of the capture.
        gaps_flushed => GAPS["flushed"],
        /// Gaps wider than the window: both sides continued far ahead.
        gaps_jumped => GAPS["jumped"],
        /// Payload that was handed on before bytes of the other side that it acknowledged, because those did not come.
        waits_given_up => TCP_EVENTS["waits_given_up"],
        /// Jumps of the frames' time stamps, in either direction.
        time_jumps => TCP_EVENTS["time_jumps"],
        /// Segments out of order.
        out_of_order => TCP_EVENTS["out_of_order"],

        /// Connections begun.
        connections => CONNECTIONS,
        /// Of these, those left out because they were seen elsewhere.
        seen_again => SEEN_AGAIN,
        /// Their segments.
        seen_again_segments => SEEN_AGAIN_SEGMENTS,
        /// Segments of connections in other shards.
        other_shard_segments => OTHER_SHARD,
        /// Of the connections, those picked up in mid-stream.
        midstream => MIDSTREAM,
        /// Of these, those whose two directions are in different virtual networks.
        joined_networks => JOINED_NETWORKS,
        /// Sides ended by FIN.
        ends_fin => ENDED_SIDES["fin"],
        /// Sides ended by RST.
        ends_reset => ENDED_SIDES["reset"],
        /// Sides ended for idleness.
        ends_timeout => ENDED_SIDES["timeout"],
        /// Sides ended because the memory limit was reached.
        ends_evicted => ENDED_SIDES["evicted"],
        /// Sides ended because a new connection took their ports.
        ends_reused => ENDED_SIDES["reused"],
        /// Sides ended with the capture.
        ends_capture => ENDED_SIDES["capture"],
        /// Connections evicted that had ended and lingered.
        evicted_closed => EVICTED["closed"],
        /// Connections evicted that had shown only SYNs.
        evicted_syn => EVICTED["syn"],
        /// Connections evicted that held data behind a hole.
        evicted_hole => EVICTED["hole"],
        /// Connections evicted because they had been idle longest.
        evicted_idle => EVICTED["idle"],

        /// Repeated SYNs.
        syn_repeated => TCP_EVENTS["syn_repeated"],
        /// SYNs with another initial sequence number on a live connection.
        syn_mismatched => TCP_EVENTS["syn_mismatched"],
        /// SYN-ACKs that do not acknowledge the SYN, or have another initial sequence number.
        syn_ack_invalid => TCP_EVENTS["syn_ack_invalid"],
        /// RSTs outside the window.
        rst_invalid => TCP_EVENTS["rst_invalid"],
        /// FINs with an impossible sequence number.
        fin_invalid => TCP_EVENTS["fin_invalid"],
        /// ACKs of bytes too far away.
        ack_invalid => TCP_EVENTS["ack_invalid"],
        /// Keep-alive segments.
        keep_alives => TCP_EVENTS["keep_alives"],
        /// One-byte segments into a closed window.
        window_probes => TCP_EVENTS["window_probes"],
        /// Segments beyond the largest window that the receiver can have advertised. They are taken all the same.
        window_exceeded => TCP_EVENTS["window_exceeded"],
        /// Segments with the URG flag; their data are taken as in-band.
        urgent => TCP_EVENTS["urgent"],
    }
}

impl FlowCounters {
    /// Payload bytes taken, and the sum of their accounts. Equal at all times.
    #[must_use]
    pub fn payload_balance(&self) -> (u64, u64) {
        let mut accounts = 0u64;
        self.visit("", &mut |family, _, count| {
            if [&PAYLOAD, &HELD, &HANDED_ON].contains(&family) {
                accounts = accounts.wrapping_add(count);
            }
        });
        (self.payload, accounts)
    }
}
