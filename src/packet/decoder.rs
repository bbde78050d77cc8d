//! A decoder takes the TCP segment out of a frame, through whatever is around it, and counts every frame.

use super::fragment::{Fragment, Fragments, Key};
use super::link::{self, ETHERNET, LINK_ETHERNET};
use super::span::Span;
use super::tcp::{self, Context};
use super::{NoSegment, PacketCounters, Segment, fast, ip, tunnel};
use crate::source::Frame;

/// Tunnels followed inside one another.
const MAX_TUNNELS: usize = 4;

/// Datagrams joined from fragments on the way into one frame: one for each IP header.
const MAX_JOINED: usize = MAX_TUNNELS + 1;

/// What became of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// It held this segment. The payload lies in the frame, or in the decoder if it was fragmented.
    Segment(Segment<'a>),
    /// It is a fragment and waits for the rest of its datagram.
    Waits,
    /// It holds no segment that can be used.
    Skipped(NoSegment),
}

/// Why a way into a frame ends without a segment.
enum End {
    Waits,
    NoSegment(NoSegment),
}

impl From<NoSegment> for End {
    fn from(reason: NoSegment) -> Self {
        Self::NoSegment(reason)
    }
}

/// Takes segments out of frames. Holds fragments, at most 4 MiB of them, and up to 320 KiB for joined datagrams.
#[derive(Debug)]
pub struct Decoder {
    verify_checksums: bool,
    shortcuts: bool,
    counts: PacketCounters,
    fragments: Fragments,
    joined: [Vec<u8>; MAX_JOINED],
}

impl Decoder {
    /// `verify_checksums`: skip packets whose IPv4 header or TCP checksum is wrong. Packets that were cut, and those
    /// whose length segmentation offload left out, are not judged. Off, nothing is judged: on the machine that sends,
    /// captures see sums that the network card has yet to fill in.
    #[must_use]
    pub fn new(verify_checksums: bool) -> Self {
        Self {
            verify_checksums,
            // Only the way by etherparse verifies.
            shortcuts: !verify_checksums,
            counts: PacketCounters::default(),
            fragments: Fragments::default(),
            joined: Default::default(),
        }
    }

    /// The same without the fast path: everything goes by etherparse. Slower, with the same answers; tests hold one
    /// against the other.
    #[must_use]
    pub fn without_shortcuts(self) -> Self {
        Self { shortcuts: false, ..self }
    }

    /// Takes the segment out of a frame.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Outcome<'a> {
        if let Some(segment) = self.quick(frame) {
            return Outcome::Segment(segment);
        }
        self.count(frame);
        self.decode_slow(frame)
    }

    /// Takes the segment out of a frame with nothing special about it: it lies in the frame, and not in the decoder. A
    /// frame that is not such a one is not counted: it is for [`Self::decode`], in its turn.
    #[inline]
    pub fn quick<'a>(&mut self, frame: &Frame<'a>) -> Option<Segment<'a>> {
        if frame.link != LINK_ETHERNET || !self.shortcuts {
            return None;
        }
        let context = Context { time: frame.time, interface: frame.interface, realm: 0 };
        let segment = fast::ethernet(context, frame.data)?;
        self.count(frame);
        self.counts.segments += 1;
        Some(segment)
    }

    fn count(&mut self, frame: &Frame<'_>) {
        self.counts.frames += 1;
        self.counts.cut_frames += u64::from(frame.original_len as usize > frame.data.len());
    }

    fn decode_slow<'a>(&'a mut self, frame: &Frame<'a>) -> Outcome<'a> {
        let Self { verify_checksums, shortcuts, counts, fragments, joined } = self;
        let mut way = Way { verify: *verify_checksums, shortcuts: *shortcuts, counts, fragments };
        let result = way.follow(frame, joined);
        match result {
            Ok(segment) => {
                counts.segments += 1;
                Outcome::Segment(segment)
            }
            Err(End::Waits) => Outcome::Waits,
            Err(End::NoSegment(reason)) => {
                counts.skip(reason, 1);
                Outcome::Skipped(reason)
            }
        }
    }

    /// Gives up the fragments that still wait: the capture has ended.
    pub fn finish(&mut self) {
        self.fragments.finish(&mut self.counts);
        debug_assert!(self.counts.balanced(), "a frame has no account or two: {:?}", self.counts);
    }

    /// Where the frames went so far.
    #[must_use]
    pub fn counts(&self) -> &PacketCounters {
        &self.counts
    }
}

/// The way through the layers of one frame.
struct Way<'d> {
    verify: bool,
    shortcuts: bool,
    counts: &'d mut PacketCounters,
    fragments: &'d mut Fragments,
}

impl Way<'_> {
    /// `joined`: a buffer for each datagram that fragments of this frame complete. Their number bounds the way, too.
    fn follow<'a>(&mut self, frame: &Frame<'a>, mut joined: &'a mut [Vec<u8>]) -> Result<Segment<'a>, End> {
        let mut context = Context { time: frame.time, interface: frame.interface, realm: 0 };
        let (mut ether_type, mut span) = link::payload(frame.link, Span::of_frame(frame.data, frame.original_len))?;
        for tunnels in 0..=MAX_TUNNELS {
            if let Some(segment) = self.shortcut(context, ether_type, span) {
                self.counts.tunnelled += u64::from(tunnels > 0);
                return Ok(segment);
            }
            if ether_type == ETHERNET {
                (ether_type, span) = link::ethernet(span)?;
            }
            let mut packet = ip::packet(ether_type, span, self.verify)?;
            while packet.piece.is_some() {
                let (buffer, rest) = std::mem::take(&mut joined).split_first_mut().ok_or(NoSegment::TunnelDepth)?;
                joined = rest;
                packet = self.join(context, packet, buffer)?;
            }
            if packet.protocol == ip::TCP {
                let segment = tcp::segment(context, &packet, self.verify)?;
                self.counts.tunnelled += u64::from(tunnels > 0);
                return Ok(segment);
            }
            let inner = tunnel::inner(&packet)?;
            (ether_type, span) = (inner.ether_type, inner.span);
            context.realm = inner.realm.unwrap_or(context.realm);
        }
        Err(NoSegment::TunnelDepth.into())
    }

    fn shortcut<'a>(&self, context: Context, ether_type: u16, span: Span<'a>) -> Option<Segment<'a>> {
        match ether_type {
            _ if !self.shortcuts => None,
            ETHERNET => fast::ethernet(context, span.data),
            _ => fast::ip(context, ether_type, span.data),
        }
    }

    /// The datagram of a fragment, if that made it whole.
    fn join<'a>(
        &mut self,
        context: Context,
        packet: ip::Packet<'_>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<ip::Packet<'a>, End> {
        let ip::Packet { source, destination, protocol, payload, piece, .. } = packet;
        let piece = piece.ok_or(NoSegment::FragmentBad)?;
        let identity = if source.is_ipv4() { protocol } else { 0 };
        let key = Key { realm: context.realm, source, destination, protocol: identity, id: piece.id };
        let fragment = Fragment { key, piece, protocol, payload, time: context.time };
        let whole = self.fragments.insert(fragment, &mut *buffer, &mut *self.counts)?;
        let protocol = whole.ok_or(End::Waits)?;
        let payload = Span::whole(buffer);
        let packet = ip::Packet { source, destination, protocol, payload, piece: None, judged: packet.judged };
        Ok(ip::extensions(packet)?)
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
