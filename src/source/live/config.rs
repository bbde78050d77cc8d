//! What to capture, and how much of it.

use std::str::FromStr;

/// libpcap's greatest snap length, and tcpdump's default.
pub const MAX_SNAPLEN: u32 = 262_144;
/// Default size of the kernel's ring in KiB: with the queues to the sandboxes it rides out 100 ms at 1 GB/s. libpcap's own
/// 2 MiB are eight blocks: 16 ms at 1 Gbit/s.
pub const DEFAULT_BUFFER_KIB: u32 = 64 * 1024;
/// Which way a frame went, seen from this host (tcpdump's `-Q`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Received frames.
    In,
    /// Sent frames.
    Out,
    /// Both.
    #[default]
    InOut,
}

impl FromStr for Direction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "in" => Ok(Self::In),
            "out" => Ok(Self::Out),
            "inout" => Ok(Self::InOut),
            other => Err(format!("direction is in, out or inout, not {other:?}")),
        }
    }
}

/// What to capture.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// Name of the interface, its number in the list, or `any`.
    pub interface: String,
    /// Number that its frames carry ([`crate::source::Frame::interface`]).
    pub index: u32,
    /// Whether frames for other hosts are wanted. `any` cannot give them.
    pub promiscuous: bool,
    /// Bytes kept of a frame; 0 stands for [`MAX_SNAPLEN`], as in tcpdump.
    pub snaplen: u32,
    /// Size of the kernel's ring in KiB.
    pub buffer_kib: u32,
    /// Which way; by default both, and on a loopback in, since every packet is seen there twice.
    pub direction: Option<Direction>,
    /// A filter in the language of pcap-filter(7); empty: everything.
    pub filter: String,
    /// Base of the fan-out group's number, if several sources share the interface; the interface's index is added. The
    /// numbers are shared by the whole network namespace, and another program's group must not be met: the low half of
    /// the process id is a good base.
    pub fanout: Option<u16>,
    /// Whether libpcap reads also what picotap can read from the kernel's ring itself: to compare the two.
    pub libpcap: bool,
}

impl LiveConfig {
    /// An interface with the defaults: promiscuous, everything, both ways.
    #[must_use]
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            index: 0,
            promiscuous: true,
            snaplen: MAX_SNAPLEN,
            buffer_kib: DEFAULT_BUFFER_KIB,
            direction: None,
            filter: String::new(),
            fanout: None,
            libpcap: false,
        }
    }

    /// Bytes kept of a frame.
    pub(super) const fn kept(&self) -> u32 {
        if self.snaplen == 0 || self.snaplen > MAX_SNAPLEN { MAX_SNAPLEN } else { self.snaplen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directions_are_those_of_tcpdump() {
        assert_eq!("in".parse(), Ok(Direction::In));
        assert_eq!("inout".parse(), Ok(Direction::InOut));
        assert_eq!("sideways".parse::<Direction>(), Err("direction is in, out or inout, not \"sideways\"".into()));
    }
}
