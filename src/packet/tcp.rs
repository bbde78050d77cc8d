//! The TCP header, read by etherparse.

use etherparse::TcpHeaderSlice;
use etherparse::err::tcp::HeaderSliceError;

use super::ip::Packet;
use super::{Endpoint, NoSegment, Segment, TcpFlags, checksum};

/// Bytes of a header without options, and of one with the most options.
const SHORTEST: usize = 20;
const LONGEST: usize = 60;

/// Where and when a segment was captured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) time: i64,
    pub(super) interface: u32,
    pub(super) realm: u32,
}

/// Reads the TCP segment in a packet. Options are not needed, so the snap length may have cut them.
pub(super) fn segment<'a>(context: Context, packet: &Packet<'a>, verify: bool) -> Result<Segment<'a>, NoSegment> {
    let bytes = packet.payload;
    // A copy with room for the options, so that a header whose options were cut can be read.
    let mut room = [0; LONGEST];
    let present = bytes.data.get(..LONGEST).unwrap_or(bytes.data);
    if present.len() < SHORTEST {
        return Err(if bytes.missing > 0 { NoSegment::CutHeader } else { NoSegment::BadTcpHeader });
    }
    room.get_mut(..present.len()).ok_or(NoSegment::BadTcpHeader)?.copy_from_slice(present);
    let header = TcpHeaderSlice::from_slice(&room).map_err(|error| match error {
        HeaderSliceError::Len(_) | HeaderSliceError::Content(_) => NoSegment::BadTcpHeader,
    })?;
    let length = header.slice().len();
    if length as u64 > bytes.wire_len() {
        return Err(NoSegment::BadTcpHeader);
    }
    if verify && packet.verifiable && bytes.missing == 0 {
        let good = checksum::tcp_is_good(packet.source, packet.destination, bytes.data);
        if !good {
            return Err(NoSegment::BadTcpChecksum);
        }
    }
    // Options that were cut are not payload.
    let cut_options = u32::try_from(length.saturating_sub(bytes.data.len())).unwrap_or(u32::MAX);
    Ok(Segment {
        time: context.time,
        interface: context.interface,
        realm: context.realm,
        source: Endpoint { ip: packet.source, port: header.source_port() },
        destination: Endpoint { ip: packet.destination, port: header.destination_port() },
        seq: header.sequence_number(),
        ack: header.acknowledgment_number(),
        flags: TcpFlags(header.slice().get(13).copied().unwrap_or(0)),
        window: header.window_size(),
        payload: bytes.data.get(length..).unwrap_or_default(),
        missing: bytes.missing.saturating_sub(cut_options),
    })
}
