//! A live source: the frames of one network interface as the kernel hands them over, through libpcap.

mod any;
mod config;
mod error;
mod interface;
mod socket;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use pcap::{Active, Capture, Linktype, Precision};

pub use self::any::MOST_INTERFACES;
pub use self::config::{DEFAULT_BUFFER_KIB, Direction, LiveConfig, MAX_SNAPLEN};
pub use self::error::LiveError;
use self::error::{message, refusal, system};
pub use self::interface::{HostInterface, list};
use super::Frame;
use crate::counters::{counters, families};
use crate::stream::InterfaceNames;

/// How long a turn waits for a frame, and how long the kernel may keep a block that is not full, in milliseconds.
const WAIT_MS: u16 = 100;
/// Most frames in one turn, so that a busy interface leaves the capture thread time for other work.
const FRAMES_PER_TURN: usize = 4096;
/// After so many turns without a frame the interface is checked for being up: half a second.
const TURNS_PER_CHECK: u32 = 5;
/// The longest wait between two attempts to get a lost interface back, in turns of `WAIT_MS`: 5 s.
const LONGEST_BACKOFF: u32 = 50;

/// What one turn of the source gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// So many frames, at least one, were handed on.
    Frames(usize),
    /// For 100 ms nothing came: time to check the clock.
    Idle,
    /// The interface went down or away; said once. The source keeps trying, in turns that are `Idle`.
    Lost(String),
    /// The interface is back.
    Back,
    /// The source was stopped, and everything that the kernel had captured before that has been handed on.
    Stopped,
}

families! {
    RECEIVED = Counter "picotap_capture_received_packets_total" ["interface"] "packets that passed the kernel's filter", "Packets that passed the kernel's filter.";
    DROPPED = Counter "picotap_capture_dropped_packets_total" ["interface"] "packets dropped by the kernel", "Packets that the kernel dropped because its buffer was full.";
    INTERFACE_DROPPED = Counter "picotap_capture_interface_dropped_packets_total" ["interface"] "packets dropped by the interface", "Packets that the interface dropped.";
    HANDED_OVER = Counter "picotap_capture_read_packets_total" ["interface"] "packets read from the kernel", "Packets that were read from the kernel's buffer.";
    EARLY = Counter "picotap_capture_early_packets_total" ["interface"] "packets from before the start", "Packets left out because they were captured before all capture threads were open.";
}

counters! {
    /// Frames counted since the source was opened.
    pub struct LiveStats {
        /// Frames that passed the filter, those dropped for lack of room included.
        received => RECEIVED,
        /// Frames dropped because the ring was full.
        dropped => DROPPED,
        /// Frames dropped by the interface or its driver.
        if_dropped => INTERFACE_DROPPED,
        /// Frames handed on.
        handed => HANDED_OVER,
        /// Frames left out because they were captured before [`Live::start_at`].
        early => EARLY,
    }
}

/// Stops a [`Live`] from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    wanted: Arc<AtomicBool>,
    wake: Arc<EventFd>,
}

impl Stopper {
    /// Asks the source to hand on what is captured and then to end. May be called more than once.
    pub fn stop(&self) {
        self.wanted.store(true, Ordering::Release);
        // The only failure is a full counter, and then the source is awake.
        self.wake.write(1).ok();
    }
}

/// An open interface.
///
/// The handle of libpcap is non-blocking, and the waiting is done here: on Linux libpcap itself would wait without end
/// on an idle interface. Unless `lost` holds a value, the handle delivers.
pub struct Live {
    capture: Capture<Active>,
    config: LiveConfig,
    link: i32,
    stopper: Stopper,
    draining: bool,
    idle_turns: u32,
    lost: Option<Outage>,
    /// The kernel's number of the interface when the socket was last bound to it; `None` for `any`.
    bound: Option<u32>,
    start: i64,
    stats: LiveStats,
    counters: KernelCounters,
    /// Of `any`, if its interfaces are to be told apart.
    any: Option<any::Interfaces>,
}

/// An interface that does not deliver.
#[derive(Debug, Clone, Copy)]
struct Outage {
    /// Turns until the next attempt.
    wait: u32,
    /// Turns between the last two.
    backoff: u32,
}

impl Outage {
    const NEW: Self = Self { wait: 1, backoff: 1 };
}

impl Live {
    /// Opens the interface.
    ///
    /// # Errors
    /// Each says what is needed: see [`LiveError`].
    pub fn open(config: &LiveConfig) -> Result<Self, LiveError> {
        let mut config = config.clone();
        config.interface = interface::resolve(&config.interface);
        let capture = activate(&config)?;
        let bound = socket::index(capture.as_fd(), &config.interface);
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|e| system(&config, "wake-up descriptor", e))?;
        let stopper = Stopper { wanted: Arc::new(AtomicBool::new(false)), wake: Arc::new(wake) };
        Ok(Self {
            link: link_type(capture.get_datalink().0),
            capture,
            config,
            stopper,
            draining: false,
            idle_turns: 0,
            lost: None,
            bound,
            start: i64::MIN,
            stats: LiveStats::default(),
            counters: KernelCounters::default(),
            any: None,
        })
    }

    /// On `any`: frames get the number of their interface's name among these. To be called before privileges are dropped.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn name_interfaces(&mut self, names: &InterfaceNames) -> Result<(), LiveError> {
        if self.link == any::SLL2 {
            let interfaces = any::Interfaces::new(names.clone());
            self.any =
                Some(interfaces.map_err(|e| system(&self.config, "a socket to ask for names of interfaces", e))?);
        }
        Ok(())
    }

    /// Number that its frames carry.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.config.index
    }

    /// The interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.config.interface
    }

    /// Link type of its frames as in the LINKTYPE_ registry.
    #[must_use]
    pub fn link(&self) -> i32 {
        self.link
    }

    /// A handle that stops this source.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Leaves out frames older than `time` (nanoseconds since the Unix epoch). Until the last member of a fan-out group
    /// has joined, a connection's frames go to one member and then to another: a common start makes a clean cut.
    pub fn start_at(&mut self, time: i64) {
        self.start = time;
    }

    /// Hands on the frames that are there, at most 4096; if there are none, waits up to 100 ms for some.
    ///
    /// # Errors
    /// The interface was made anew, is in a fan-out group, and the privilege to open it again has been given up: only a
    /// restart helps. Or the wait itself failed.
    pub fn turn(&mut self, mut on_frame: impl FnMut(Frame<'_>)) -> Result<Turn, LiveError> {
        if !self.draining && self.stopper.wanted.load(Ordering::Acquire) {
            self.draining = true;
            // Otherwise the end would recede as long as frames arrive. If it fails, what arrives is read too.
            if self.lost.is_none() {
                drop(socket::refuse_everything(self.capture.as_fd()));
            }
        }
        if self.lost.is_some() {
            return self.turn_while_lost();
        }
        if let Some(turn) = self.read(&mut on_frame) {
            return Ok(turn);
        }
        let arrived = self.wait()?;
        match self.read(&mut on_frame) {
            Some(turn) => Ok(turn),
            // The kernel hands a block over that is not full after WAIT_MS: once that has passed without one, all is read.
            None if self.draining && !arrived => Ok(Turn::Stopped),
            None => Ok(self.idle()),
        }
    }

    /// Nothing came. libpcap reports an interface that is removed, but not one that is taken down: that is checked here.
    fn idle(&mut self) -> Turn {
        self.idle_turns += 1;
        if self.idle_turns < TURNS_PER_CHECK || self.bound.is_none() {
            return Turn::Idle;
        }
        self.idle_turns = 0;
        if self.is_up() {
            return Turn::Idle;
        }
        self.lost = Some(Outage::NEW);
        Turn::Lost("the interface is down".into())
    }

    /// Bytes of the kernel's ring.
    #[must_use]
    pub const fn ring_bytes(&self) -> u64 {
        self.config.buffer_kib as u64 * 1024
    }

    /// The counters, totals of the whole run. They wrap in the kernel and in libpcap, so this must be called at least
    /// once in four billion frames.
    pub fn stats(&mut self) -> LiveStats {
        if let Ok(now) = self.capture.stats() {
            let [received, dropped, if_dropped] = self.counters.advance([now.received, now.dropped, now.if_dropped]);
            self.stats.received += received;
            self.stats.dropped += dropped;
            self.stats.if_dropped += if_dropped;
        }
        self.stats
    }

    /// One batch from libpcap; `None` if there is nothing.
    fn read(&mut self, on_frame: &mut impl FnMut(Frame<'_>)) -> Option<Turn> {
        let (link, interface, start) = (self.link, self.config.index, self.start);
        let (stats, any) = (&mut self.stats, &mut self.any);
        let read = self.capture.dispatch(Some(FRAMES_PER_TURN), |packet| {
            let time = nanoseconds(packet.header.ts);
            if time < start {
                stats.early += 1;
                return;
            }
            stats.handed += 1;
            let interface = any.as_mut().map_or(interface, |any| any.number(packet.data, interface));
            on_frame(Frame { time, link, interface, data: packet.data, original_len: packet.header.len });
        });
        match read {
            Ok(0) => None,
            Ok(frames) => Some(Turn::Frames(frames)),
            Err(_) if self.draining => Some(Turn::Stopped),
            Err(e) => {
                self.lost = Some(Outage::NEW);
                Some(Turn::Lost(message(&e)))
            }
        }
    }

    /// Waits for a frame, the stop or the time. Whether it was a frame.
    fn wait(&self) -> Result<bool, LiveError> {
        let mut sources = [
            PollFd::new(self.capture.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.stopper.wake.as_fd(), PollFlags::POLLIN),
        ];
        // While draining, the wake-up is already spent, and a block may take its full time to come.
        let (watched, milliseconds) = if self.draining { (1, WAIT_MS * 2) } else { (2, WAIT_MS) };
        let watched = sources.get_mut(..watched).unwrap_or_default();
        match poll(watched, PollTimeout::from(milliseconds)) {
            Ok(_) | Err(Errno::EINTR) => Ok(watched.first().and_then(PollFd::any).unwrap_or(false)),
            Err(e) => Err(system(&self.config, "waiting for frames", e)),
        }
    }

    fn turn_while_lost(&mut self) -> Result<Turn, LiveError> {
        if self.draining {
            return Ok(Turn::Stopped);
        }
        let mut sources = [PollFd::new(self.stopper.wake.as_fd(), PollFlags::POLLIN)];
        match poll(&mut sources, PollTimeout::from(WAIT_MS)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(system(&self.config, "waiting for the interface", e)),
        }
        debug_assert!(self.lost.is_some(), "called only while the interface is lost");
        let Some(lost) = &mut self.lost else { return Ok(Turn::Idle) };
        lost.wait = lost.wait.saturating_sub(1);
        if lost.wait > 0 {
            return Ok(Turn::Idle);
        }
        lost.backoff = (lost.backoff * 2).min(LONGEST_BACKOFF);
        lost.wait = lost.backoff;
        if self.regain()? {
            self.lost = None;
            return Ok(Turn::Back);
        }
        Ok(Turn::Idle)
    }

    /// Asked through the packet socket: no other can be made once privileges are given up.
    fn is_up(&self) -> bool {
        socket::is_up(self.capture.as_fd(), &self.config.interface)
    }

    /// Tries to capture again. An interface that was down delivers by itself once it is up; one that was removed and made
    /// anew has another index, to which the open socket is bound; and where the kernel refuses that, a new handle is opened,
    /// which works only while the privilege is still there.
    fn regain(&mut self) -> Result<bool, LiveError> {
        if !self.is_up() {
            return Ok(false);
        }
        let index = socket::index(self.capture.as_fd(), &self.config.interface);
        if index == self.bound {
            return Ok(true);
        }
        if let Some(index) = index
            && socket::rebind(self.capture.as_fd(), index, self.config.promiscuous).is_ok()
        {
            self.bound = Some(index);
            return Ok(true);
        }
        let capture = match activate(&self.config) {
            Ok(capture) => capture,
            Err(e @ LiveError::Privilege { .. }) => return Err(e),
            Err(_) => return Ok(false),
        };
        self.stats();
        self.counters = KernelCounters::default();
        self.link = link_type(capture.get_datalink().0);
        self.capture = capture;
        self.bound = index;
        Ok(true)
    }
}

/// The packet socket.
impl AsFd for Live {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }
}

/// Opens a handle with everything set.
fn activate(config: &LiveConfig) -> Result<Capture<Active>, LiveError> {
    let most = u32::try_from(i32::MAX / 1024).unwrap_or(0);
    let buffer = config.buffer_kib.checked_mul(1024).and_then(|bytes| i32::try_from(bytes).ok());
    let buffer =
        buffer.ok_or(LiveError::Buffer { interface: config.interface.clone(), kib: config.buffer_kib, most })?;
    let snaplen = if config.snaplen == 0 { MAX_SNAPLEN } else { config.snaplen.min(MAX_SNAPLEN) };
    let snaplen = i32::try_from(snaplen).map_err(|e| system(config, "snap length", e))?;
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
    let usual = if interface::is_loopback(&config.interface) { Direction::In } else { Direction::InOut };
    let direction = match config.direction.unwrap_or(usual) {
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
    if let Some(group) = config.fanout {
        // The members of a group must be on one interface. An interface that was made anew has another index, and so
        // another group, which each member computes by itself.
        let [.., high, low] = socket::index(capture.as_fd(), &config.interface).unwrap_or(0).to_be_bytes();
        let group = group.wrapping_add(u16::from_be_bytes([high, low]));
        socket::join_fanout(capture.as_fd(), group).map_err(|e| system(config, "joining the fan-out group", e))?;
    }
    capture.setnonblock().map_err(|e| system(config, "non-blocking mode", message(&e)))
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

/// Counters of 32 bits that wrap, as they were last seen.
#[derive(Debug, Clone, Copy, Default)]
struct KernelCounters([u32; 3]);

impl KernelCounters {
    /// By how much each has grown since the last call.
    fn advance(&mut self, now: [u32; 3]) -> [u64; 3] {
        let before = std::mem::replace(&mut self.0, now);
        let mut steps = [0; 3];
        for ((step, now), before) in steps.iter_mut().zip(now).zip(before) {
            *step = u64::from(now.wrapping_sub(before));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_wraps_keeps_counting() {
        let mut counters = KernelCounters::default();
        assert_eq!(counters.advance([u32::MAX, 5, 0]), [u64::from(u32::MAX), 5, 0]);
        assert_eq!(counters.advance([9, 5, 1]), [10, 0, 1]);
    }

    #[test]
    fn raw_ip_has_the_registry_s_number() {
        assert_eq!([link_type(1), link_type(12), link_type(113)], [1, 101, 113]);
    }

    #[test]
    fn nanoseconds_are_taken_from_the_field_of_microseconds() {
        assert_eq!(nanoseconds(libc::timeval { tv_sec: 2, tv_usec: 999_999_999 }), 2_999_999_999);
    }

    #[test]
    fn an_unknown_interface_is_answered_with_those_there_are() {
        let error = Live::open(&LiveConfig::new("nosuch0")).err().expect("there is no such interface");
        assert!(error.to_string().starts_with("nosuch0: no such interface; there are: "), "{error}");
        assert!(error.to_string().contains("lo"), "{error}");
    }

    #[test]
    fn a_ring_beyond_two_gibibytes_is_refused() {
        let config = LiveConfig { buffer_kib: 4 << 20, ..LiveConfig::new("lo") };
        let error = Live::open(&config).err().expect("too large");
        assert_eq!(error.to_string(), "lo: a ring of 4194304 KiB: at most 2097151 KiB");
    }
}
