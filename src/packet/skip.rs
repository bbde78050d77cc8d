//! Why a frame gave no segment. The list is closed: each reason is a value of a metric's label.

use crate::counters::{counters, families};

macro_rules! skips {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a frame gave no segment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum NoSegment {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl NoSegment {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($name,)+];

            /// Its name in metrics and summaries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

skips! {
    /// A link type that is not decoded.
    UnknownLinkType = "unknown_link_type",
    /// The frame is whole but ends inside its link layer header or tags.
    ShortFrame = "short_frame",
    /// The snap length cut a header off.
    CutHeader = "cut_header",
    /// More tags and other shims in front of the packet than are read.
    VlanDepth = "vlan_depth",
    /// Address resolution.
    Arp = "arp",
    /// IEEE 802.3 with a length instead of a type, and no SNAP (spanning tree and the like).
    Llc = "llc",
    /// MPLS that carries neither IP nor Ethernet, or more labels than are read.
    Mpls = "mpls",
    /// PPP over Ethernet before there is a session.
    Pppoe = "pppoe",
    /// PPP that carries no packet, or a compressed one.
    Ppp = "ppp",
    /// Encrypted or authenticated by IEEE 802.1AE.
    Macsec = "macsec",
    /// A protocol other than IP.
    OtherEtherType = "other_ether_type",
    /// An IP header that contradicts itself or its frame.
    BadIpHeader = "bad_ip_header",
    /// The IPv4 header's checksum is wrong (only if checksums are verified).
    BadIpChecksum = "bad_ip_checksum",
    /// More IPv6 extension headers than are read.
    ExtensionDepth = "extension_depth",
    /// ICMP and ICMPv6.
    Icmp = "icmp",
    /// UDP that is neither a known tunnel nor QUIC.
    Udp = "udp",
    /// QUIC (HTTP/3 and others): packets with a long header, those behind them are like any UDP.
    Quic = "quic",
    /// SCTP.
    Sctp = "sctp",
    /// Encrypted by IPsec.
    Esp = "esp",
    /// Another protocol in IP.
    OtherProtocol = "other_protocol",
    /// GTP-U, the user plane of mobile networks, that carries no IP.
    GtpU = "gtp_u",
    /// L2TP, over UDP or IP.
    L2tp = "l2tp",
    /// PPTP's version of GRE.
    Pptp = "pptp",
    /// A mirror port's encapsulation in GRE, of a version that is not read.
    Erspan = "erspan",
    /// A tunnel's header that cannot be read.
    BadTunnelHeader = "bad_tunnel_header",
    /// More tunnels inside one another than are decoded.
    TunnelDepth = "tunnel_depth",
    /// A TCP header that contradicts itself or its packet.
    BadTcpHeader = "bad_tcp_header",
    /// The TCP checksum is wrong (only if checksums are verified).
    BadTcpChecksum = "bad_tcp_checksum",
    /// A fragment that cannot be part of a datagram: its length, or its end against the others.
    FragmentBad = "fragment_bad",
    /// A fragment that the snap length cut.
    FragmentCut = "fragment_cut",
    /// A fragment that brings nothing new.
    FragmentDuplicate = "fragment_duplicate",
    /// A fragment of a datagram in more pieces than are held.
    FragmentLimit = "fragment_limit",
    /// A fragment whose datagram was not whole in time.
    FragmentTimeout = "fragment_timeout",
    /// A fragment given up because the memory limit was reached.
    FragmentEvicted = "fragment_evicted",
    /// A fragment whose datagram was not whole at the end.
    FragmentIncomplete = "fragment_incomplete",
}

impl NoSegment {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its index in [`NoSegment::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

families! {
    FRAMES = Counter "picotap_packets_total" [] "frames", "Frames read, except those of files that the filter left out.";
    FRAMES_USED = Counter "picotap_used_packets_total" ["as"] "frames used", "Frames that held a TCP segment, or a fragment of one.";
    FRAGMENTS_WAITING = Gauge "picotap_waiting_fragments" [] "fragments waiting", "Fragments that wait for the rest of their datagram.";
    FRAMES_SKIPPED = Counter "picotap_skipped_packets_total" ["reason"] "frames skipped", "Frames that gave no TCP segment, by reason.";
    FRAGMENT_OVERLAPS = Counter "picotap_fragment_overlaps_total" [] "fragments that overlap", "Fragments that overlap an earlier one of their datagram.";
    CUT_FRAMES = Counter "picotap_cut_packets_total" [] "frames cut by the snap length", "Frames cut by the snap length.";
    QUIC = Counter "picotap_quic_connections_total" [] "QUIC connections", "QUIC connections (HTTP/3 and others), counted by their first packets: nothing of them is read.";
    TUNNELLED = Counter "picotap_tunnelled_segments_total" [] "segments out of tunnels", "TCP segments taken out of a tunnel.";
}

counters! {
    /// What became of frames. At all times: `frames` = `segments` + `fragments_joined` + `fragments_waiting` + the sum
    /// of `skips`.
    pub struct PacketCounters {
        /// Frames that were decoded.
        frames => FRAMES,
        /// Frames that gave a segment.
        segments => FRAMES_USED["segment"],
        /// Fragments that were joined with a later one, which is in another account.
        fragments_joined => FRAMES_USED["joined_fragment"],
        /// Fragments that wait for the rest of their datagram; none after [`super::Decoder::finish`].
        fragments_waiting => FRAGMENTS_WAITING,
        /// Frames without a segment, by reason.
        skips: [NoSegment::COUNT; NoSegment::NAMES] => FRAMES_SKIPPED,
        /// Beside the balance: fragments that overlap an earlier one of their datagram (the earlier bytes count).
        fragment_overlaps => FRAGMENT_OVERLAPS,
        /// Beside the balance: frames that the snap length cut.
        cut_frames => CUT_FRAMES,
        /// Beside the balance: QUIC connections.
        quic => QUIC,
        /// Beside the balance: segments out of a tunnel.
        tunnelled => TUNNELLED,
    }
}

impl PacketCounters {
    /// Frames that ended for this reason.
    #[must_use]
    pub fn skipped(&self, reason: NoSegment) -> u64 {
        self.skips.get(reason.index()).copied().unwrap_or(0)
    }

    /// Frames, and the sum of their accounts. Equal at all times.
    #[must_use]
    pub fn balance(&self) -> (u64, u64) {
        let skipped: u64 = self.skips.iter().sum();
        (self.frames, self.segments + self.fragments_joined + self.fragments_waiting + skipped)
    }

    /// Whether every frame has exactly one account.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let (frames, accounts) = self.balance();
        frames == accounts
    }

    pub(super) fn skip(&mut self, reason: NoSegment, frames: u64) {
        let Some(count) = self.skips.get_mut(reason.index()) else {
            debug_assert!(false, "every reason has a counter");
            return;
        };
        *count += frames;
    }

    /// Moves fragments that waited to the account of a reason.
    pub(super) fn give_up(&mut self, reason: NoSegment, fragments: u64) {
        self.fragments_waiting -= fragments;
        self.skip(reason, fragments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_at_its_index() {
        for (index, reason) in NoSegment::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }

    #[test]
    fn names_are_fit_for_labels_and_differ() {
        let mut names: Vec<&str> = NoSegment::ALL.iter().map(|reason| reason.name()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NoSegment::COUNT);
    }
}
