//! Where a live source's frames come from: the kernel's ring, or libpcap for what is not Ethernet, for `any`, and where the
//! kernel refuses a ring.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use pcap::{Active, Capture, Linktype, Precision};

use super::config::{Direction, LiveConfig};
use super::error::{LiveError, message, refusal, system};
use super::frames::{Frames, Lent, Span};
use super::ring::{LINK, Ring};
use super::{FRAMES_PER_TURN, WAIT_MS, any, interface, socket};

/// An open interface.
pub(super) enum Reader {
    Ring(Ring),
    Pcap(Pcap),
}

/// An interface that libpcap has opened.
pub(super) struct Pcap {
    capture: Capture<Active>,
    link: i32,
    /// Frames from before that time are left out.
    start: i64,
    /// Of `any`, if its interfaces are to be told apart.
    any: Option<any::Interfaces>,
}

impl Reader {
    /// Opens an interface with everything set.
    pub(super) fn open(config: &LiveConfig) -> Result<Self, LiveError> {
        let usual = if interface::is_loopback(&config.interface) { Direction::In } else { Direction::InOut };
        let direction = config.direction.unwrap_or(usual);
        // Whatever is wrong, libpcap meets it too, and has words for it.
        let ring = if config.libpcap { None } else { Ring::open(config, direction).ok() };
        let reader = match ring {
            Some(ring) => Self::Ring(ring),
            None => Self::Pcap(Pcap::open(config, direction)?),
        };
        if let Some(group) = config.fanout {
            // The members of a group must be on one interface. An interface that was made anew has another index, and so
            // another group, which each member computes by itself.
            let [.., high, low] = socket::index(reader.as_fd(), &config.interface).unwrap_or(0).to_be_bytes();
            let group = group.wrapping_add(u16::from_be_bytes([high, low]));
            socket::join_fanout(reader.as_fd(), group).map_err(|e| system(config, "joining the fan-out group", e))?;
        }
        Ok(reader)
    }

    /// Link type as in the LINKTYPE_ registry.
    pub(super) const fn link(&self) -> i32 {
        match self {
            Self::Ring(_) => LINK,
            Self::Pcap(pcap) => pcap.link,
        }
    }

    pub(super) const fn start_at(&mut self, time: i64) {
        match self {
            Self::Ring(ring) => ring.start_at(time),
            Self::Pcap(pcap) => pcap.start = time,
        }
    }

    pub(super) fn tell_apart(&mut self, interfaces: any::Interfaces) {
        if let Self::Pcap(pcap) = self {
            pcap.any = Some(interfaces);
        }
    }

    /// Lends frames that are there. None: there are none.
    ///
    /// # Errors
    /// Why no more come, for people. The ring tells that otherwise ([`Self::trouble`]).
    pub(super) fn read(
        &mut self,
        interface: u32,
        on_frames: &mut impl FnMut(Frames<'_>),
    ) -> Result<Option<Lent>, String> {
        match self {
            Self::Ring(ring) => Ok(ring.read(interface, on_frames)),
            Self::Pcap(pcap) => pcap.read(interface, on_frames),
        }
    }

    /// Why no more come, if the kernel says so. libpcap says it when it is read.
    pub(super) fn trouble(&self, interface: &str, bound: Option<u32>) -> Option<String> {
        match self {
            Self::Ring(ring) => ring.trouble(interface, bound),
            Self::Pcap(_) => None,
        }
    }

    /// Frames received and dropped, and those that the interface dropped. They wrap.
    pub(super) fn stats(&mut self, interface: &str) -> io::Result<[u32; 3]> {
        match self {
            Self::Ring(ring) => ring.stats(interface),
            Self::Pcap(pcap) => {
                let now = pcap.capture.stats().map_err(io::Error::other)?;
                Ok([now.received, now.dropped, now.if_dropped])
            }
        }
    }
}

/// The packet socket.
impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ring(ring) => ring.as_fd(),
            Self::Pcap(pcap) => pcap.capture.as_fd(),
        }
    }
}

impl Pcap {
    fn open(config: &LiveConfig, direction: Direction) -> Result<Self, LiveError> {
        let most = u32::try_from(i32::MAX / 1024).unwrap_or(0);
        let buffer = config.buffer_kib.checked_mul(1024).and_then(|bytes| i32::try_from(bytes).ok());
        let buffer =
            buffer.ok_or(LiveError::Buffer { interface: config.interface.clone(), kib: config.buffer_kib, most })?;
        let snaplen = i32::try_from(config.kept()).map_err(|e| system(config, "snap length", e))?;
        let any = config.interface == "any";
        let inactive = Capture::from_device(config.interface.as_str())
            .map_err(|e| refusal(config, &e))?
            .promisc(config.promiscuous && !any)
            .snaplen(snaplen)
            .buffer_size(buffer)
            .timeout(i32::from(WAIT_MS))
            .precision(Precision::Nano);
        let mut capture = inactive.open().map_err(|e| refusal(config, &e))?;
        if any {
            // An old libpcap has only the version without the interface's number.
            drop(capture.set_datalink(Linktype(any::SLL2)));
        }
        let direction = match direction {
            Direction::In => Some(pcap::Direction::In),
            Direction::Out => Some(pcap::Direction::Out),
            Direction::InOut => None,
        };
        if let Some(direction) = direction {
            capture.direction(direction).map_err(|e| system(config, "direction", message(&e)))?;
        }
        if !config.filter.is_empty() {
            capture.filter(&config.filter, true).map_err(|e| LiveError::Filter {
                interface: config.interface.clone(),
                filter: config.filter.clone(),
                cause: message(&e),
            })?;
        }
        let link = link_type(capture.get_datalink().0);
        let capture = capture.setnonblock().map_err(|e| system(config, "non-blocking mode", message(&e)))?;
        Ok(Self { capture, link, start: i64::MIN, any: None })
    }

    /// One batch.
    fn read(&mut self, interface: u32, on_frames: &mut impl FnMut(Frames<'_>)) -> Result<Option<Lent>, String> {
        let (link, start, any) = (self.link, self.start, &mut self.any);
        let mut lent = Lent::default();
        let read = self.capture.dispatch(Some(FRAMES_PER_TURN), |packet| {
            let time = nanoseconds(packet.header.ts);
            if time < start {
                lent.early += 1;
                return;
            }
            lent.frames += 1;
            let interface = any.as_mut().map_or(interface, |any| any.number(packet.data, interface));
            let (len, original_len) = (packet.header.caplen, packet.header.len);
            let span = [Span { time, start: 0, len, original_len }];
            on_frames(Frames { spans: span.iter(), bytes: packet.data, link, interface });
        });
        let read = read.map_err(|e| message(&e))?;
        Ok((read > 0).then_some(lent))
    }
}

/// libpcap's DLT_ number to the registry's LINKTYPE_ number. They differ for raw IP only, among those read here.
fn link_type(dlt: i32) -> i32 {
    const DLT_RAW: i32 = 12;
    const LINKTYPE_RAW: i32 = 101;
    if dlt == DLT_RAW { LINKTYPE_RAW } else { dlt }
}

/// With nanosecond precision libpcap puts nanoseconds where the name says microseconds.
fn nanoseconds(time: libc::timeval) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_usec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_ip_has_the_registry_s_number() {
        assert_eq!([link_type(1), link_type(12), link_type(113)], [1, 101, 113]);
    }

    #[test]
    fn nanoseconds_are_taken_from_the_field_of_microseconds() {
        assert_eq!(nanoseconds(libc::timeval { tv_sec: 2, tv_usec: 999_999_999 }), 2_999_999_999);
    }
}
