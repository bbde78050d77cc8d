//! A producer turns an input into stream events, and pushes them into a sink.
//!
//! To add an input that is not of packets, a file beside this one implements [`Producer`]; publishing, skip hints, delivery and
//! the end of the run are [`Capture`](super::Capture)'s.

use std::fmt::Display;
use std::time::Duration;

use crate::pipeline::shared::CaptureCounters;
use crate::stream::{ConnectionId, Side, Sink, SinkTag};

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Something was taken.
    Taken {
        /// How much of what `--count` limits: frames.
        count: u64,
        /// Time of the last of them, nanoseconds since the Unix epoch.
        time: i64,
    },
    /// For a while nothing came.
    Idle,
    /// The input is down or away: said once, with what people are to know. The producer keeps trying.
    Lost(String),
    /// The input is there again.
    Back(String),
    /// Nothing more comes.
    End,
}

/// Turns an input into stream events. It lives in one capture thread, which alone calls it: [`step`](Self::step) until that
/// gives [`Step::End`] or an error, or enough was taken; then [`finish`](Self::finish), [`counters`](Self::counters) and
/// [`errors`](Self::errors), once each.
pub trait Producer {
    /// Why it cannot go on.
    type Error: Display;

    /// Whether what it takes has just happened. Then slots age with the clock, and counters are published by time; otherwise
    /// nobody waits, and counters are published by how much was taken.
    const LIVE: bool;

    /// Takes what is there, at most `most` of what [`Step::Taken`] counts, and waits for a short while if nothing is. A
    /// producer ends by itself when a stop was asked for and what is to be taken before has been taken.
    ///
    /// # Errors
    /// If it cannot go on. Trouble with a part of the input is one of the [`errors`](Self::errors) instead.
    fn step<S: Sink>(&mut self, most: u64, sink: &mut S) -> Result<Step, Self::Error>;

    /// Lets timers run out, when nothing came and it is `now` by the clock.
    fn tick<S: Sink>(&mut self, now: i64, sink: &mut S);

    /// Applies a skip hint.
    fn skip(&mut self, id: ConnectionId, side: Side, upto: u64);

    /// What the sink stores with a connection that has not ended. None: nothing depends on it.
    fn tag(&mut self, id: ConnectionId) -> Option<&mut SinkTag> {
        let _ = id;
        None
    }

    /// Says how much memory the workers take of the limit that they share with the producers, in bytes.
    fn set_external(&mut self, bytes: u64);

    /// Fills in its counters, totals of the whole run.
    fn counters(&mut self, counters: &mut CaptureCounters);

    /// Pushes everything that is held, with the ends of all streams.
    fn finish<S: Sink>(&mut self, sink: &mut S);

    /// Bytes of the input that were read, for whoever knows how many there are.
    fn bytes_read(&self) -> Option<u64> {
        None
    }

    /// How long the input's own buffer lasts at the rate of the last `since` nanoseconds; zero after it has overflown. To be
    /// asked for once after each [`counters`](Self::counters). None: it has none, or waits without loss.
    fn buffer_lasts(&mut self, since: u64) -> Option<Duration> {
        let _ = since;
        None
    }

    /// Whether the input's own buffer fills, so that what comes may be lost.
    fn is_pressed(&self) -> bool {
        false
    }

    /// What people are to know during the run. Each is given once.
    fn warning(&mut self) -> Option<String> {
        None
    }

    /// What went wrong, for people.
    fn errors(&mut self) -> Vec<String> {
        Vec::new()
    }
}
