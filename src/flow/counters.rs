//! Counters are the flow table's accounts: every payload byte that comes in ends in exactly one of them.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What the flow table has seen and done. Bytes are payload bytes unless said otherwise.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// Every counter with its name.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }

            /// Adds another table's counters.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }
        }
    };
}

counters! {
    /// Segments taken.
    segments,
    /// Their captured payload bytes: what the ledger has to account for.
    payload,
    /// Payload bytes that were on the wire but cut off by the snap length; not part of `payload`.
    cut,

    /// Account: given to the sink as bytes.
    handed_on,
    /// Account: inside a void, by the guest's word.
    skipped,
    /// Account: bytes that had come before.
    duplicate,
    /// Account: keep-alive and repeated window probes.
    probe,
    /// Account: before the first byte that could be handed on of a connection picked up in mid-stream.
    before_start,
    /// Account: too far from where the stream stands to belong to it.
    out_of_reach,
    /// Account: behind the sender's FIN.
    behind_fin,
    /// Account: without the ACK flag, which every receiver drops (RFC 9293, section 3.10.7.4).
    no_ack,
    /// Account: with flags that exclude each other (SYN with FIN or RST).
    odd_flags,
    /// Account: in a SYN that was not the connection's.
    stray_syn,
    /// Account: in an RST.
    in_reset,
    /// Account: after the end of its side.
    late,
    /// Account: after a reset.
    after_reset,
    /// Account: of no connection, and not able to start one.
    no_connection,
    /// Account: SYN data that the peer refused.
    syn_refused,
    /// Account: SYN data or a window probe that was never acknowledged.
    unfinished,
    /// Account: no room for it under the memory limit.
    no_memory,
    /// Account, and the only one that falls again: held now.
    held,

    /// Of `duplicate`: bytes that differ from what had come first.
    conflicting,
    /// Segments that overlapped held bytes and differed from them.
    overlap_conflicts,
    /// Bytes that were never seen: jumps in the offsets, and the lost part of voids.
    gap,
    /// Gaps declared because the peer had acknowledged what was missing.
    gaps_proved,
    /// Gaps declared because the hole had stood too long.
    gaps_timed,
    /// Gaps declared because a side held too much.
    gaps_bound,
    /// Gaps declared because all connections together held too much.
    gaps_memory,
    /// Gaps left by the snap length.
    gaps_cut,
    /// Gaps declared at the end of a connection or of the capture.
    gaps_flushed,
    /// Gaps too wide for the window: both sides went on far ahead.
    gaps_jumped,
    /// Payload that no longer waited for the other side's bytes, which were acknowledged but did not come.
    waits_given_up,
    /// Segments that came before their turn.
    out_of_order,

    /// Connections begun.
    connections,
    /// Of these, picked up in mid-stream.
    midstream,
    /// Sides ended by FIN.
    ends_fin,
    /// Sides ended by RST.
    ends_reset,
    /// Sides ended for idleness.
    ends_timeout,
    /// Sides ended for want of memory.
    ends_evicted,
    /// Sides ended because a new connection took their ports.
    ends_reused,
    /// Sides ended with the capture.
    ends_capture,
    /// Closed connections forgotten early for want of memory.
    evicted_closed,
    /// Connections evicted that had shown only SYNs.
    evicted_syn,
    /// Connections evicted that held data behind a hole.
    evicted_hole,
    /// Connections evicted that had been idle longest.
    evicted_idle,

    /// SYNs that repeated the connection's.
    syn_repeated,
    /// SYNs with another initial sequence number on a live connection.
    syn_mismatched,
    /// SYN-ACKs that acknowledged something else than the SYN.
    syn_ack_invalid,
    /// RSTs outside the window.
    rst_invalid,
    /// FINs whose sequence number could not be right.
    fin_invalid,
    /// ACKs of bytes too far ahead to be believed.
    ack_invalid,
    /// Keep-alive segments.
    keep_alives,
    /// One-byte segments into a closed window.
    window_probes,
    /// Segments beyond the largest window that the receiver can have meant. They are taken all the same.
    window_exceeded,
    /// Segments with the URG flag; their data are taken as in-band.
    urgent,
}

impl Counters {
    /// Payload bytes that came in, and payload bytes found in the accounts. Equal, whenever asked.
    #[must_use]
    pub fn payload_balance(&self) -> (u64, u64) {
        let accounts = [
            self.handed_on,
            self.skipped,
            self.duplicate,
            self.probe,
            self.before_start,
            self.out_of_reach,
            self.behind_fin,
            self.no_ack,
            self.odd_flags,
            self.stray_syn,
            self.in_reset,
            self.late,
            self.after_reset,
            self.no_connection,
            self.syn_refused,
            self.unfinished,
            self.no_memory,
            self.held,
        ];
        (self.payload, accounts.iter().fold(0, |sum, bytes| sum.wrapping_add(*bytes)))
    }
}
