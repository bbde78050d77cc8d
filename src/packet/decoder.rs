//! A decoder finds the TCP segment in a frame, through link layer, tags, IP and tunnels, and counts every frame.

use super::captured::Captured;
use super::fragment::{Fragment, Fragments, Key};
use super::link::{self, ETHERNET, LINK_ETHERNET};
use super::quic::QuicConnections;
use super::tcp::{self, Context};
use super::{NoSegment, PacketCounters, Segment, fast, ip, shim, tunnel};
use crate::source::Frame;

/// The most tunnels inside one another.
const MAX_TUNNELS: usize = 4;

/// The most datagrams joined from fragments while one frame is decoded: one for each IP header.
const MAX_JOINED: usize = MAX_TUNNELS + 1;

/// What became of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// It holds this segment. The payload is in the frame, or in the decoder if it was fragmented.
    Segment(Segment<'a>),
    /// It is a fragment, and waits for the rest of its datagram.
    Waits,
    /// It holds no segment that is used.
    Skipped(NoSegment),
}

/// Why decoding ends without a segment.
enum End {
    Waits,
    NoSegment(NoSegment),
}

impl From<NoSegment> for End {
    fn from(reason: NoSegment) -> Self {
        Self::NoSegment(reason)
    }
}

/// Finds segments in frames. Holds at most 4 MiB of fragments, 320 KiB for joined datagrams, and 32 KiB to know QUIC's
/// connections again.
#[derive(Debug)]
pub struct Decoder {
    verify_checksums: bool,
    shortcuts: bool,
    counts: PacketCounters,
    fragments: Fragments,
    quic: QuicConnections,
    joined: [Vec<u8>; MAX_JOINED],
    /// Serials of the datagrams to which the last frame belongs as a fragment, the outermost first.
    datagrams: Vec<u64>,
}

impl Decoder {
    /// `verify_checksums`: skip packets whose IPv4 header or TCP checksum is wrong, except packets that were cut, and
    /// those whose length segmentation offload left out. Usually off: on the machine that sends, packets are captured
    /// before the network card fills in their checksums.
    #[must_use]
    pub fn new(verify_checksums: bool) -> Self {
        Self {
            verify_checksums,
            // Only the slow path verifies.
            shortcuts: !verify_checksums,
            counts: PacketCounters::default(),
            fragments: Fragments::default(),
            quic: QuicConnections::default(),
            joined: Default::default(),
            datagrams: Vec::with_capacity(MAX_JOINED),
        }
    }

    /// The same decoder without the fast path: slower, with the same results. Tests compare the two.
    #[must_use]
    pub fn without_shortcuts(self) -> Self {
        Self { shortcuts: false, ..self }
    }

    /// Finds the segment in a frame.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Outcome<'a> {
        self.datagrams.clear();
        if let Some(segment) = self.quick(frame) {
            return Outcome::Segment(segment);
        }
        self.count(frame);
        self.decode_slow(frame)
    }

    /// Finds the segment in a usual frame, whose payload is then in the frame and not in the decoder. Any other frame
    /// is not counted: it has to be given to [`Self::decode`], in its turn.
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
        let Self { verify_checksums, shortcuts, counts, fragments, quic, joined, datagrams } = self;
        let mut layers =
            Layers { verify: *verify_checksums, shortcuts: *shortcuts, counts, fragments, quic, datagrams };
        let result = layers.follow(frame, joined);
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

    /// Serials of the datagrams to which the last frame that was decoded belongs as a fragment, the outermost first: if it waits, it
    /// waits for the last of them, and all others are whole.
    #[must_use]
    pub fn datagrams(&self) -> &[u64] {
        &self.datagrams
    }

    /// Whether the datagram with this serial still waits for fragments.
    #[must_use]
    pub fn waits(&self, serial: u64) -> bool {
        self.fragments.waits(serial)
    }

    /// Ends the capture: gives up the fragments that still wait.
    pub fn finish(&mut self) {
        self.fragments.finish(&mut self.counts);
        debug_assert!(self.counts.balanced(), "each frame is in one account: {:?}", self.counts);
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn counts(&self) -> &PacketCounters {
        &self.counts
    }
}

/// The slow path: one frame, layer by layer.
struct Layers<'d> {
    verify: bool,
    shortcuts: bool,
    counts: &'d mut PacketCounters,
    fragments: &'d mut Fragments,
    quic: &'d mut QuicConnections,
    datagrams: &'d mut Vec<u64>,
}

impl Layers<'_> {
    fn follow<'a>(&mut self, frame: &Frame<'a>, joined: &'a mut [Vec<u8>]) -> Result<Segment<'a>, End> {
        let (segment, tunnels) = self.innermost(frame, joined)?;
        self.counts.tunnelled += u64::from(tunnels > 0);
        Ok(segment)
    }

    /// The segment, and the number of tunnels around it. `joined`: a buffer for each datagram that this frame completes.
    /// Their number is a bound, too.
    fn innermost<'a>(&mut self, frame: &Frame<'a>, mut joined: &'a mut [Vec<u8>]) -> Result<(Segment<'a>, usize), End> {
        let mut context = Context { time: frame.time, interface: frame.interface, realm: 0 };
        let (mut ether_type, mut bytes) =
            link::payload(frame.link, Captured::of_frame(frame.data, frame.original_len))?;
        for tunnels in 0..=MAX_TUNNELS {
            if ether_type == ETHERNET {
                if let Some(segment) = self.shortcut(context, ether_type, bytes) {
                    return Ok((segment, tunnels));
                }
                (ether_type, bytes) = link::ethernet(bytes)?;
            }
            (ether_type, bytes) = shim::follow(ether_type, bytes)?;
            // The frame of a pseudo-wire.
            if ether_type == ETHERNET {
                continue;
            }
            if let Some(segment) = self.shortcut(context, ether_type, bytes) {
                return Ok((segment, tunnels));
            }
            let mut packet = ip::packet(ether_type, bytes, self.verify)?;
            while packet.fragment.is_some() {
                let (buffer, rest) = std::mem::take(&mut joined).split_first_mut().ok_or(NoSegment::TunnelDepth)?;
                joined = rest;
                packet = self.join(context, packet, buffer)?;
            }
            if packet.protocol == ip::TCP {
                return Ok((tcp::segment(context, &packet, self.verify)?, tunnels));
            }
            let inner = tunnel::inner(&packet).inspect_err(|reason| {
                if *reason == NoSegment::Quic {
                    self.quic.count(&packet, self.counts);
                }
            })?;
            (ether_type, bytes) = (inner.ether_type, inner.bytes);
            context.realm = inner.realm.unwrap_or(context.realm);
        }
        Err(NoSegment::TunnelDepth.into())
    }

    fn shortcut<'a>(&self, context: Context, ether_type: u16, bytes: Captured<'a>) -> Option<Segment<'a>> {
        match ether_type {
            _ if !self.shortcuts => None,
            ETHERNET => fast::ethernet(context, bytes.data),
            _ => fast::ip(context, ether_type, bytes.data),
        }
    }

    /// Joins a fragment with its datagram. Returns the datagram if that is whole now.
    fn join<'a>(
        &mut self,
        context: Context,
        packet: ip::Packet<'_>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<ip::Packet<'a>, End> {
        let ip::Packet { source, destination, protocol, payload, fragment, .. } = packet;
        debug_assert!(fragment.is_some(), "only a fragment is joined");
        let header = fragment.ok_or(NoSegment::FragmentBad)?;
        let identity = if source.is_ipv4() { protocol } else { 0 };
        let key = Key { realm: context.realm, source, destination, protocol: identity, id: header.id };
        let fragment = Fragment { key, header, protocol, payload, time: context.time };
        let whole = self.fragments.insert(fragment, &mut *buffer, &mut *self.counts)?;
        self.datagrams.push(self.fragments.last);
        let protocol = whole.ok_or(End::Waits)?;
        let payload = Captured::whole(buffer);
        let packet =
            ip::Packet { source, destination, protocol, payload, fragment: None, verifiable: packet.verifiable };
        Ok(ip::extensions(packet)?)
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "encapsulation_tests.rs"]
mod encapsulation_tests;
