//! Frames of an interface from the kernel's ring (packet(7), `TPACKET_V3`), without a copy, and how full it is.
//!
//! For Ethernet and the loopback. Where this is refused libpcap reads, and says what is wrong.

mod block;
mod memory;
mod program;

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, sockopt};

use self::block::{Walk, Wanted};
use self::memory::Memory;
use super::config::{Direction, LiveConfig};
use super::frames::{Frames, Lent, MOST_AHEAD, Span};
use super::{WAIT_MS, ethernet, socket};

/// Bytes of a block: a frame of the greatest snap length fits nearly, and it stays in a core's cache until it is read.
const BLOCK: u32 = 256 * 1024;
/// While one block is read the kernel needs another to write to.
const LEAST_BLOCKS: u32 = 2;
/// LINKTYPE_ number of Ethernet.
pub(super) const LINK: i32 = 1;

/// The ring of one socket.
pub(super) struct Ring {
    socket: OwnedFd,
    memory: Memory,
    /// The block that the kernel hands over next. Counts on for ever.
    next: usize,
    wanted: Wanted,
    /// What the kernel has counted, and what it counts for the interface, as it was when the socket was opened.
    received: u32,
    dropped: u32,
    before: u32,
}

impl Ring {
    /// Opens the interface, whose frames come from here on.
    ///
    /// # Errors
    /// What the system refuses, or that the interface is of another kind. Texts for people are libpcap's.
    pub(super) fn open(config: &LiveConfig, direction: Direction) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = nix::sys::socket::socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        let kind = ethernet::kind(socket.as_fd(), &config.interface).ok_or(io::ErrorKind::Unsupported)?;
        let index = socket::index(socket.as_fd(), &config.interface).ok_or(Errno::ENODEV)?;
        let loopback = kind == ethernet::Kind::Loopback;
        let wanted = Wanted { direction, loopback, snaplen: config.kept(), start: i64::MIN };
        let memory = ring(socket.as_fd(), config.buffer_kib)?;
        // Before the socket is bound, so that no other frame comes.
        if let Some(program) = program::for_kernel(config)? {
            socket::set_filter(socket.as_fd(), &program)?;
        }
        if loopback || direction == Direction::In {
            // An older kernel does not know this: they are left out here, too.
            socket::ignore_sent(socket.as_fd()).ok();
        }
        socket::bind_to(socket.as_fd(), index, config.promiscuous)?;
        // So the kernel says that the interface is down.
        refused(socket.as_fd())?;
        let before = interface_drops(&config.interface);
        Ok(Self { socket, memory, next: 0, wanted, received: 0, dropped: 0, before })
    }

    pub(super) const fn start_at(&mut self, time: i64) {
        self.wanted.start = time;
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.memory.bytes() as u64
    }

    /// Blocks that wait to be read, of how many. The kernel cannot write to them.
    pub(super) fn fill(&self) -> (usize, usize) {
        // Those that wait follow each other: the kernel writes one after the other.
        let (mut ready, mut end) = (0, self.memory.blocks());
        while ready < end {
            let middle = ready.midpoint(end);
            if self.memory.is_ready(self.next.wrapping_add(middle)) {
                ready = middle + 1;
            } else {
                end = middle;
            }
        }
        (ready, self.memory.blocks())
    }

    /// Lends the frames of the next block that has any, and gives the block back. None if there is no such block.
    pub(super) fn read(&mut self, interface: u32, on_frames: &mut impl FnMut(Frames<'_>)) -> Option<Lent> {
        // Bounded, if ever nothing but what is not wanted comes.
        for _ in 0..self.memory.blocks() {
            let mut block = self.memory.take(self.next)?;
            let lent = walk(block.bytes(), &self.wanted, interface, on_frames);
            drop(block);
            self.next = (self.next + 1) % self.memory.blocks();
            self.dropped = self.dropped.wrapping_add(u32::try_from(lent.damaged).unwrap_or(u32::MAX));
            if lent.frames + lent.early > 0 {
                return Some(lent);
            }
        }
        None
    }

    /// What the kernel reports of the socket, if it is more than that the interface, of this number, is down.
    pub(super) fn trouble(&self, interface: &str, bound: Option<u32>) -> Option<String> {
        match refused(self.socket.as_fd()) {
            Ok(()) => None,
            Err(Errno::ENETDOWN) if socket::index(self.socket.as_fd(), interface) == bound => None,
            Err(Errno::ENETDOWN | Errno::ENODEV) => Some("the interface disappeared".into()),
            Err(other) => Some(other.desc().into()),
        }
    }

    /// Frames received and dropped, and those that the interface dropped, since the socket was opened. They wrap.
    pub(super) fn stats(&mut self, interface: &str) -> io::Result<[u32; 3]> {
        // Reading sets them to zero.
        let step = socket::statistics(self.socket.as_fd())?;
        self.received = self.received.wrapping_add(step.tp_packets);
        self.dropped = self.dropped.wrapping_add(step.tp_drops);
        Ok([self.received, self.dropped, interface_drops(interface).wrapping_sub(self.before)])
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Lends the frames of a block, as many at once as lie in it, up to a number.
fn walk(block: &mut [u8], wanted: &Wanted, interface: u32, on_frames: &mut impl FnMut(Frames<'_>)) -> Lent {
    let mut walk = Walk::new(block);
    loop {
        let mut spans = [Span::default(); MOST_AHEAD];
        let mut found = 0;
        for span in &mut spans {
            let Some(next) = walk.next(block, wanted) else { break };
            (*span, found) = (next, found + 1);
        }
        let spans = spans.get(..found).unwrap_or_default().iter();
        if found == 0 {
            return walk.lent;
        }
        on_frames(Frames { spans, bytes: block, link: LINK, interface });
    }
}

/// Makes the ring of a socket, of so many KiB or, where there is not so much memory, of less.
fn ring(socket: BorrowedFd<'_>, kib: u32) -> io::Result<Memory> {
    socket::set_version(socket)?;
    socket::reserve(socket, block::TAG)?;
    let asked = kib.checked_mul(1024).filter(|bytes| i32::try_from(*bytes).is_ok()).ok_or(Errno::EINVAL)?;
    let mut blocks = (asked / BLOCK).max(LEAST_BLOCKS);
    while let Err(error) = socket::make_ring(socket, BLOCK, blocks, u32::from(WAIT_MS)) {
        if error.raw_os_error() != Some(libc::ENOMEM) || blocks <= LEAST_BLOCKS {
            return Err(error);
        }
        blocks -= (blocks / 20).max(1);
    }
    let number = |value: u32| usize::try_from(value).ok().and_then(NonZeroUsize::new).ok_or(Errno::EINVAL);
    Memory::map(socket, number(BLOCK)?, number(blocks)?)
}

/// The error that the kernel keeps for a socket. It is given once.
fn refused(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    match getsockopt(&socket, sockopt::SocketError)? {
        0 => Ok(()),
        error => Err(Errno::from_raw(error)),
    }
}

/// Frames that the interface and its driver dropped, as libpcap counts them. None where there is no sysfs.
fn interface_drops(interface: &str) -> u32 {
    let count = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/statistics/{name}"));
        text.ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let [.., a, b, c, d] = count("rx_missed_errors").wrapping_add(count("rx_fifo_errors")).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
#[path = "ring/tests.rs"]
mod tests;
