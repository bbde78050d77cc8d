//! The producer of capture files: it reads ahead, and ends with the last file or the request to stop.

use std::convert::Infallible;

use super::packets::Packets;
use super::producer::{Producer, Step};
use crate::daemon::shutdown::{Shutdown, Why};
use crate::flow::AHEAD;
use crate::pipeline::keep::Store;
use crate::pipeline::shared::CaptureCounters;
use crate::source::{Captures, Error};
use crate::stream::{ConnectionId, Side, Sink};

/// Reads capture files, one after the other.
pub struct FileProducer {
    captures: Captures,
    packets: Packets,
    shutdown: Shutdown,
    errors: Vec<Error>,
    /// Only errors are reported.
    quiet: bool,
}

impl FileProducer {
    /// `shutdown`: files are left where they are when it is asked for. `quiet`: nothing is said of files that are skipped.
    #[must_use]
    pub const fn new(captures: Captures, packets: Packets, shutdown: Shutdown, quiet: bool) -> Self {
        Self { captures, packets, shutdown, errors: Vec::new(), quiet }
    }

    /// Gives what keeps packets, after the last.
    pub fn take_store(&mut self) -> Option<Box<Store>> {
        self.packets.take_store()
    }
}

impl Producer for FileProducer {
    type Error = Infallible;
    const LIVE: bool = false;

    fn step<S: Sink>(&mut self, most: u64, sink: &mut S) -> Result<Step, Infallible> {
        let most = usize::try_from(most).unwrap_or(AHEAD).min(AHEAD);
        while !self.shutdown.asked() {
            match self.captures.read_frames(most) {
                Ok(()) => {
                    self.packets.name(self.captures.interfaces());
                    let (count, time) = self.packets.frames(self.captures.frames(), sink);
                    if count == 0 {
                        break;
                    }
                    self.packets.settle();
                    return Ok(Step::Taken { count, time });
                }
                // It ends one file; the next call goes on with the next.
                Err(error) => self.errors.push(error),
            }
        }
        Ok(Step::End)
    }

    fn tick<S: Sink>(&mut self, now: i64, sink: &mut S) {
        self.packets.tick(now, sink);
    }

    fn skip(&mut self, id: ConnectionId, side: Side, upto: u64) {
        self.packets.skip(id, side, upto);
    }

    fn set_external(&mut self, bytes: u64) {
        self.packets.set_external(bytes);
    }

    fn counters(&mut self, counters: &mut CaptureCounters) {
        self.packets.counters(counters);
        counters.figures.filtered = self.captures.filtered();
    }

    fn finish<S: Sink>(&mut self, sink: &mut S) {
        self.packets.finish(sink);
    }

    fn bytes_read(&self) -> Option<u64> {
        Some(self.captures.progress().bytes)
    }

    fn warning(&mut self) -> Option<String> {
        self.captures.notice().filter(|_| !self.quiet)
    }

    fn errors(&mut self) -> Vec<String> {
        if self.shutdown.why() == Some(Why::Signal) {
            // A pipe that is left in its middle ends in the middle of a packet: the capture is not damaged.
            self.errors.clear();
        }
        self.errors.iter().map(ToString::to_string).chain(self.packets.unread()).collect()
    }
}
