//! A live source: the frames of one network interface as the kernel hands them over.

mod any;
mod config;
mod error;
mod ethernet;
mod frames;
mod interface;
mod reader;
mod ring;
mod socket;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

pub use self::any::MOST_INTERFACES;
pub use self::config::{DEFAULT_BUFFER_KIB, Direction, LiveConfig, MAX_SNAPLEN};
pub use self::error::LiveError;
use self::error::system;
pub use self::frames::{Frames, MOST_AHEAD};
pub use self::interface::{HostInterface, list};
use self::reader::Reader;
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
        /// Frames dropped because the ring was full, or lost in a block of it that cannot be read.
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
/// The reader never waits, and the waiting is done here: on Linux libpcap itself would wait without end on an idle
/// interface. Unless `lost` holds a value, the reader delivers.
pub struct Live {
    reader: Reader,
    config: LiveConfig,
    stopper: Stopper,
    draining: bool,
    idle_turns: u32,
    lost: Option<Outage>,
    /// The kernel's number of the interface when the socket was last bound to it; `None` for `any`.
    bound: Option<u32>,
    start: i64,
    stats: LiveStats,
    counters: KernelCounters,
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
        let reader = Reader::open(&config)?;
        let bound = socket::index(reader.as_fd(), &config.interface);
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|e| system(&config, "wake-up descriptor", e))?;
        let stopper = Stopper { wanted: Arc::new(AtomicBool::new(false)), wake: Arc::new(wake) };
        Ok(Self {
            reader,
            config,
            stopper,
            draining: false,
            idle_turns: 0,
            lost: None,
            bound,
            start: i64::MIN,
            stats: LiveStats::default(),
            counters: KernelCounters::default(),
        })
    }

    /// On `any`: frames get the number of their interface's name among these. To be called before privileges are dropped.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn name_interfaces(&mut self, names: &InterfaceNames) -> Result<(), LiveError> {
        if self.link() == any::SLL2 {
            let interfaces = any::Interfaces::new(names.clone());
            let refused = |e| system(&self.config, "a socket to ask for names of interfaces", e);
            self.reader.tell_apart(interfaces.map_err(refused)?);
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
    pub const fn link(&self) -> i32 {
        self.reader.link()
    }

    /// Whether the frames are read from the kernel's ring without libpcap.
    #[must_use]
    pub const fn reads_ring(&self) -> bool {
        matches!(self.reader, Reader::Ring(_))
    }

    /// A handle that stops this source.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Leaves out frames older than `time` (nanoseconds since the Unix epoch). Until the last member of a fan-out group
    /// has joined, a connection's frames go to one member and then to another: a common start makes a clean cut.
    pub const fn start_at(&mut self, time: i64) {
        self.start = time;
        self.reader.start_at(time);
    }

    /// The same as [`Self::turn_ahead`], with one frame at a time.
    ///
    /// # Errors
    /// Those of [`Self::turn_ahead`].
    pub fn turn(&mut self, mut on_frame: impl FnMut(Frame<'_>)) -> Result<Turn, LiveError> {
        self.turn_ahead(|frames| frames.for_each(&mut on_frame))
    }

    /// Hands on frames that are there, at most 4096, as many at once as lie side by side; if there are none, waits up to 100 ms
    /// for some.
    ///
    /// # Errors
    /// The interface was made anew, is in a fan-out group, and the privilege to open it again has been given up: only a
    /// restart helps. Or the wait itself failed.
    pub fn turn_ahead(&mut self, mut on_frames: impl FnMut(Frames<'_>)) -> Result<Turn, LiveError> {
        if !self.draining && self.stopper.wanted.load(Ordering::Acquire) {
            self.draining = true;
            // Otherwise the end would recede as long as frames arrive. If it fails, what arrives is read too.
            if self.lost.is_none() {
                drop(socket::refuse_everything(self.reader.as_fd()));
            }
        }
        if self.lost.is_some() {
            return self.turn_while_lost();
        }
        if let Some(turn) = self.read(&mut on_frames) {
            return Ok(turn);
        }
        let arrived = self.wait()?;
        let turn = self.read(&mut on_frames);
        match turn.or_else(|| arrived.then(|| self.trouble()).flatten()) {
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
        match &self.reader {
            Reader::Ring(ring) => ring.bytes(),
            Reader::Pcap(_) => self.config.buffer_kib as u64 * 1024,
        }
    }

    /// Blocks of the kernel's ring that wait to be read, and how many there are. None: libpcap does not tell.
    #[must_use]
    pub fn fill(&self) -> Option<(usize, usize)> {
        match &self.reader {
            Reader::Ring(ring) => Some(ring.fill()),
            Reader::Pcap(_) => None,
        }
    }

    /// The counters, totals of the whole run. They wrap where they come from, so this must be called at least
    /// once in four billion frames.
    pub fn stats(&mut self) -> LiveStats {
        if let Ok(now) = self.reader.stats(&self.config.interface) {
            let [received, dropped, if_dropped] = self.counters.advance(now);
            self.stats.received += received;
            self.stats.dropped += dropped;
            self.stats.if_dropped += if_dropped;
        }
        self.stats
    }

    /// The frames that are at hand; `None` if there are none.
    fn read(&mut self, on_frames: &mut impl FnMut(Frames<'_>)) -> Option<Turn> {
        match self.reader.read(self.config.index, on_frames) {
            Ok(lent) => lent.map(|lent| {
                self.stats.handed += lent.frames;
                self.stats.early += lent.early;
                Turn::Frames(usize::try_from(lent.frames + lent.early).unwrap_or(usize::MAX))
            }),
            Err(cause) => Some(self.fail(cause)),
        }
    }

    /// Whether something came that is no frame.
    fn trouble(&mut self) -> Option<Turn> {
        let cause = self.reader.trouble(&self.config.interface, self.bound)?;
        Some(self.fail(cause))
    }

    fn fail(&mut self, cause: String) -> Turn {
        if self.draining {
            return Turn::Stopped;
        }
        self.lost = Some(Outage::NEW);
        Turn::Lost(cause)
    }

    /// Waits for a frame, the stop or the time. Whether it was a frame.
    fn wait(&self) -> Result<bool, LiveError> {
        let mut sources = [
            PollFd::new(self.reader.as_fd(), PollFlags::POLLIN),
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
        socket::is_up(self.reader.as_fd(), &self.config.interface)
    }

    /// Tries to capture again. An interface that was down delivers by itself once it is up; one that was removed and made
    /// anew has another index, to which the open socket is bound; and where the kernel refuses that, a new handle is opened,
    /// which works only while the privilege is still there.
    fn regain(&mut self) -> Result<bool, LiveError> {
        if !self.is_up() {
            return Ok(false);
        }
        let index = socket::index(self.reader.as_fd(), &self.config.interface);
        if index == self.bound {
            return Ok(true);
        }
        if let Some(index) = index
            && socket::bind_to(self.reader.as_fd(), index, self.config.promiscuous).is_ok()
        {
            self.bound = Some(index);
            return Ok(true);
        }
        let mut reader = match Reader::open(&self.config) {
            Ok(reader) => reader,
            Err(e @ LiveError::Privilege { .. }) => return Err(e),
            Err(_) => return Ok(false),
        };
        self.stats();
        self.counters = KernelCounters::default();
        reader.start_at(self.start);
        self.reader = reader;
        self.bound = index;
        Ok(true)
    }
}

/// The packet socket.
impl AsFd for Live {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
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
