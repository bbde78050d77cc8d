//! Packets are where stream events come from when the input is frames: the decoder finds segments, and the flow table puts
//! them in order.

use crate::flow::{AHEAD, Table};
use crate::packet::{Decoder, NoSegment, Outcome, Segment};
use crate::pipeline::keep::{Owner, Present, Store};
use crate::pipeline::shared::CaptureCounters;
use crate::source::{Frame, Interface};
use crate::stream::{ConnectionId, Side, Sink, SinkTag};

/// What turns the frames of one capture thread into stream events.
pub struct Packets {
    decoder: Decoder,
    table: Table,
    /// Captured bytes of the frames so far.
    bytes: u64,
    /// A link type that is not read, if frames had one.
    unread_link: Option<i32>,
    /// What keeps packets, if they are kept.
    store: Option<Box<Store>>,
}

/// What the decoder and the flow table know.
struct Here<'a>(&'a Decoder, &'a Table);

impl Present for Here<'_> {
    fn waits(&self, serial: u64) -> bool {
        self.0.waits(serial)
    }

    fn has(&self, id: ConnectionId) -> bool {
        self.1.has(id)
    }
}

impl Packets {
    /// `table`: the connections of this thread. `store`: keeps their packets.
    #[must_use]
    pub fn new(decoder: Decoder, table: Table, store: Option<Store>) -> Self {
        Self { decoder, table, bytes: 0, unread_link: None, store: store.map(Box::new) }
    }

    /// Takes frames that lie side by side in memory, at most [`AHEAD`]. Their number, and the time of the last.
    pub(super) fn frames<'a, S: Sink>(
        &mut self,
        frames: impl Iterator<Item = Frame<'a>> + Clone,
        sink: &mut S,
    ) -> (u64, i64) {
        let mut ahead = [None; AHEAD];
        for (segment, frame) in ahead.iter_mut().zip(frames.clone()) {
            *segment = self.decoder.quick(&frame);
        }
        let hashes = self.table.seek(&ahead);
        let (mut count, mut time) = (0, 0);
        for (frame, (segment, hash)) in frames.zip(ahead.iter().zip(hashes)) {
            (count, time) = (count + 1, frame.time);
            let Some(segment) = segment else {
                self.frame(&frame, sink);
                continue;
            };
            self.bytes += frame.data.len() as u64;
            self.table.hashed_segment(hash, segment, sink);
            if let Some(store) = &mut self.store {
                store.frame(&frame, owner(&mut self.table, hash, segment), &[]);
            }
        }
        (count, time)
    }

    /// Takes one frame.
    pub(super) fn frame<S: Sink>(&mut self, frame: &Frame<'_>, sink: &mut S) {
        self.bytes += frame.data.len() as u64;
        let keeps = self.store.is_some();
        let mut whose = Owner::Nobody;
        let outcome = self.decoder.decode(frame);
        let waits = matches!(outcome, Outcome::Waits);
        match outcome {
            Outcome::Segment(segment) => {
                let hash = self.table.hash(&segment);
                self.table.hashed_segment(hash, &segment, sink);
                if keeps {
                    whose = owner(&mut self.table, hash, &segment);
                }
            }
            Outcome::Waits | Outcome::Skipped(_) => {
                if let Outcome::Skipped(NoSegment::UnknownLinkType) = outcome {
                    self.unread_link.get_or_insert(frame.link);
                }
                self.table.tick(frame.time, sink);
            }
        }
        if let Some(store) = &mut self.store {
            let datagrams = self.decoder.datagrams();
            if let Some(last) = datagrams.last().filter(|_| waits) {
                whose = Owner::Datagram(*last);
            }
            store.frame(frame, whose, datagrams);
        }
    }

    pub(super) fn tick<S: Sink>(&mut self, now: i64, sink: &mut S) {
        self.table.tick(now, sink);
        if let Some(store) = &mut self.store {
            store.pass(now);
        }
        self.settle();
    }

    /// Some frames were taken: what is kept of them, as far as it is known, goes to its writer.
    pub(super) fn settle(&mut self) {
        if let Some(store) = &mut self.store {
            store.settle(&Here(&self.decoder, &self.table));
        }
    }

    /// Tells the names of the interfaces of the frames that come next.
    pub(super) fn name(&mut self, interfaces: &[Interface]) {
        if let Some(store) = &mut self.store {
            store.name(interfaces);
        }
    }

    /// Gives what keeps packets, after the last.
    pub(super) fn take_store(&mut self) -> Option<Box<Store>> {
        self.store.take()
    }

    pub(super) fn skip(&mut self, id: ConnectionId, side: Side, upto: u64) {
        self.table.skip(id, side, upto);
    }

    pub(super) fn tag(&mut self, id: ConnectionId) -> Option<&mut SinkTag> {
        self.table.tag(id)
    }

    pub(super) fn set_external(&mut self, bytes: u64) {
        self.table.set_external(bytes);
    }

    pub(super) fn counters(&mut self, counters: &mut CaptureCounters) {
        if let Some(store) = &mut self.store {
            store.hand_on();
            counters.keep = store.counters();
        }
        counters.packets = *self.decoder.counts();
        counters.flow = *self.table.counters();
        counters.figures.connections = self.table.len() as u64;
        counters.figures.bytes = self.bytes;
    }

    /// Captured bytes so far, and frames.
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.bytes, self.decoder.counts().frames)
    }

    pub(super) fn finish<S: Sink>(&mut self, sink: &mut S) {
        self.decoder.finish();
        self.table.finish(sink);
    }

    /// Which frames could not be read, and what helps.
    pub(super) fn unread(&self) -> Option<String> {
        let link = self.unread_link?;
        let count = self.decoder.counts().skipped(NoSegment::UnknownLinkType);
        let name = pcap::Linktype(link).get_name().map_or_else(|_| String::new(), |name| format!(" ({name})"));
        Some(format!(
            "{count} frames have link type {link}{name}, which picotap does not read: nothing in them was looked at \
             (capture on another interface, or convert the file)"
        ))
    }
}

/// To whom a segment belongs, which the table has just taken.
fn owner(table: &mut Table, hash: u64, segment: &Segment<'_>) -> Owner {
    let replaced = table.replaced();
    table.owner(hash, segment).map_or(Owner::Nobody, |id| Owner::Connection(id, replaced))
}
