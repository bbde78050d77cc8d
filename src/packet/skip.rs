//! A skip is the reason why a frame gave no segment. The list is closed: each reason is a label of a metric.

macro_rules! skips {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a frame gave no segment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Skip {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Skip {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

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
    /// The link type is none that is decoded.
    UnknownLinkType = "unknown_link_type",
    /// The frame is whole but ends inside its link layer header or tags.
    ShortFrame = "short_frame",
    /// The snap length cut a header off.
    CutHeader = "cut_header",
    /// More VLAN tags than are followed.
    VlanDepth = "vlan_depth",
    /// Address resolution.
    Arp = "arp",
    /// IEEE 802.3 with a length instead of a type (spanning tree and the like).
    Llc = "llc",
    /// Multiprotocol label switching.
    Mpls = "mpls",
    /// PPP over Ethernet.
    Pppoe = "pppoe",
    /// Encrypted or authenticated by IEEE 802.1AE.
    Macsec = "macsec",
    /// Another protocol beside IP.
    OtherEtherType = "other_ether_type",
    /// An IP header that contradicts itself or its frame.
    BadIpHeader = "bad_ip_header",
    /// The IPv4 header's checksum is wrong (only if checksums are verified).
    BadIpChecksum = "bad_ip_checksum",
    /// More IPv6 extension headers than are followed.
    ExtensionDepth = "extension_depth",
    /// ICMP and ICMPv6.
    Icmp = "icmp",
    /// UDP that is no tunnel known here.
    Udp = "udp",
    /// SCTP.
    Sctp = "sctp",
    /// Encrypted by IPsec.
    Esp = "esp",
    /// Another protocol in IP.
    OtherProtocol = "other_protocol",
    /// GTP-U, the user plane of mobile networks.
    GtpU = "gtp_u",
    /// L2TP, over UDP or IP.
    L2tp = "l2tp",
    /// PPTP's version of GRE.
    Pptp = "pptp",
    /// A mirror port's encapsulation in GRE.
    Erspan = "erspan",
    /// A VXLAN, Geneve or GRE header that cannot be followed.
    BadTunnelHeader = "bad_tunnel_header",
    /// More tunnels in one another than are followed.
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
    /// A fragment given up for want of memory.
    FragmentEvicted = "fragment_evicted",
    /// A fragment whose datagram was not whole at the end.
    FragmentIncomplete = "fragment_incomplete",
}

impl Skip {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place in [`Skip::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Where frames went. Always: `frames` = `segments` + `fragments_joined` + `fragments_waiting` + the sum of all skips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were decoded.
    pub frames: u64,
    /// Frames that gave a segment.
    pub segments: u64,
    /// Fragments that became part of a datagram whose last fragment has its own account.
    pub fragments_joined: u64,
    /// Fragments that wait for the rest of their datagram; none after [`super::Decoder::finish`].
    pub fragments_waiting: u64,
    /// Beside the balance: fragments that overlap an earlier one of their datagram (the earlier bytes stand).
    pub fragment_overlaps: u64,
    /// Beside the balance: frames that the snap length cut.
    pub cut_frames: u64,
    /// Beside the balance: segments out of a tunnel.
    pub tunnelled: u64,
    skips: [u64; Skip::COUNT],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            frames: 0,
            segments: 0,
            fragments_joined: 0,
            fragments_waiting: 0,
            fragment_overlaps: 0,
            cut_frames: 0,
            tunnelled: 0,
            skips: [0; Skip::COUNT],
        }
    }
}

impl Counts {
    /// Frames that ended for this reason.
    #[must_use]
    pub fn skipped(&self, reason: Skip) -> u64 {
        self.skips.get(reason.index()).copied().unwrap_or(0)
    }

    /// Every reason with its count.
    pub fn skips(&self) -> impl Iterator<Item = (Skip, u64)> + '_ {
        Skip::ALL.iter().copied().zip(self.skips.iter().copied())
    }

    /// Adds another decoder's.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.segments += other.segments;
        self.fragments_joined += other.fragments_joined;
        self.fragments_waiting += other.fragments_waiting;
        self.fragment_overlaps += other.fragment_overlaps;
        self.cut_frames += other.cut_frames;
        self.tunnelled += other.tunnelled;
        for (mine, other) in self.skips.iter_mut().zip(other.skips) {
            *mine += other;
        }
    }

    /// Whether every frame has exactly one account.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let skipped: u64 = self.skips.iter().sum();
        self.frames == self.segments + self.fragments_joined + self.fragments_waiting + skipped
    }

    pub(super) fn skip(&mut self, reason: Skip, frames: u64) {
        if let Some(count) = self.skips.get_mut(reason.index()) {
            *count += frames;
        }
    }

    /// Moves fragments that waited to the account of a reason.
    pub(super) fn give_up(&mut self, reason: Skip, fragments: u64) {
        self.fragments_waiting -= fragments;
        self.skip(reason, fragments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index() {
        for (index, reason) in Skip::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }

    #[test]
    fn names_are_fit_for_labels_and_differ() {
        let mut names: Vec<&str> = Skip::ALL.iter().map(|reason| reason.name()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Skip::COUNT);
    }
}
