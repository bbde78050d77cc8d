//! A segment is one TCP segment with its addresses, taken out of a frame.
//!
//! [`Decoder`] finds it: through link layer, tags, IP, fragments and tunnels. A frame without one is counted by its
//! [`NoSegment`] reason. Usual frames (Ethernet, IP without options, TCP) have a fast path; for all others etherparse
//! reads the headers, and a property test checks that both give the same results.

mod captured;
mod checksum;
mod decoder;
mod fast;
mod fragment;
#[cfg(test)]
#[allow(unreachable_pub, reason = "tests outside the crate include the file and need it public")]
pub(crate) mod frames;
mod gre;
mod ip;
mod link;
mod quic;
mod shim;
mod skip;
mod tcp;
mod tunnel;
mod udp;

pub use decoder::{Decoder, Outcome};
pub use skip::{NoSegment, PacketCounters};

use crate::stream::Endpoint;

/// TCP flags as on the wire (RFC 9293, section 3.1): the low byte of the flags field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

#[expect(missing_docs, reason = "the names of RFC 9293")]
impl TcpFlags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;

    #[must_use]
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }
    #[must_use]
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }
    #[must_use]
    pub const fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }
    #[must_use]
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// One TCP segment.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Capture time of its frame, nanoseconds since the Unix epoch.
    pub time: i64,
    /// Index of the capture interface.
    pub interface: u32,
    /// Its virtual network: 0, or the identifier of a VXLAN or Geneve tunnel plus one. Equal addresses in two realms
    /// are two connections, unless their sequence numbers prove one.
    pub realm: u32,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// Sequence number of the first payload byte (of the SYN, if there is one).
    pub seq: u32,
    /// Acknowledgement number; meaningful only if the ACK flag is set.
    pub ack: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window, unscaled.
    pub window: u16,
    /// Captured payload.
    pub payload: &'a [u8],
    /// Payload bytes behind `payload` that were on the wire but not captured (snap length).
    pub missing: u32,
}
