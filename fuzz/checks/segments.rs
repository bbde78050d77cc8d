//! What must hold for any segments: every payload byte has one account, memory stays below its limit, a sink is told
//! nothing twice and nothing after an end, and every byte stands at the offset that its sequence number gives it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use picotap::flow::{Config, Table};
use picotap::packet::{Segment, TcpFlags};
use picotap::stream::{ConnectionId, EndReason, Endpoint, MAX_PIECE, OpenConnection, Position, Side, Sink};

const LIMIT: u64 = 300_000;

/// Initial sequence numbers that the input's offsets count from: one wraps soon.
const ISNS: [u32; 2] = [1000, u32::MAX - 500];

/// What was told of one side.
#[derive(Default)]
struct Told {
    next: u64,
    ended: bool,
    /// What offset 0 is modulo 64, once a byte has told.
    phase: Option<u64>,
}

#[derive(Default)]
struct Judge {
    open: BTreeMap<u64, (u32, [Told; 2])>,
    number: u64,
    bytes: u64,
    skipped: u64,
    gap: u64,
}

impl Judge {
    fn side(&mut self, conn: &OpenConnection, side: Side, place: Position) -> &mut Told {
        if conn.info.number > self.number {
            assert!(self.open.values().all(|(index, _)| *index != conn.info.handle), "an index is given twice");
            self.number = conn.info.number;
        }
        let (index, sides) =
            self.open.entry(conn.info.number).or_insert_with(|| (conn.info.handle, Default::default()));
        assert_eq!(*index, conn.info.handle);
        let told = &mut sides[side.index()];
        assert!(!told.ended, "told after the end");
        assert!(place.offset >= told.next, "told twice");
        self.gap += place.offset - told.next;
        told.next = place.offset;
        told
    }
}

impl Sink for Judge {
    fn bytes(&mut self, conn: &mut OpenConnection, side: Side, place: Position, _: bool, payload: &[u8]) {
        assert!(!payload.is_empty() && payload.len() <= MAX_PIECE);
        let told = self.side(conn, side, place);
        for (offset, byte) in (place.offset..).zip(payload) {
            // The low bits of a byte are those of its sequence number, in every version of it.
            let phase = u64::from(byte & 63).wrapping_sub(offset) & 63;
            assert_eq!(*told.phase.get_or_insert(phase), phase, "a byte at the wrong offset");
        }
        told.next += payload.len() as u64;
        self.bytes += payload.len() as u64;
    }

    fn skipped(&mut self, conn: &mut OpenConnection, side: Side, place: Position, length: u64, lost: u64) {
        assert!(length > 0 && lost <= length);
        self.side(conn, side, place).next += length;
        self.skipped += length - lost;
        self.gap += lost;
    }

    fn end(&mut self, conn: &mut OpenConnection, side: Side, place: Position, _: EndReason) {
        self.side(conn, side, place).ended = true;
        if self.open.get(&conn.info.number).is_some_and(|(_, sides)| sides.iter().all(|told| told.ended)) {
            self.open.remove(&conn.info.number);
        }
    }
}

/// The input is steps of ten bytes.
pub(crate) fn check(input: &[u8]) {
    let config = Config {
        memory_limit: LIMIT,
        max_connections: 6,
        ooo_bytes_per_side: 2000,
        ooo_segments_per_side: 8,
        grace_packets: 12,
        ..Config::default()
    };
    let mut table = Table::new(config);
    let mut judge = Judge::default();
    let mut time = 1_700_000_000_000_000_000;
    let mut external = 0;
    for step in input.chunks_exact(10) {
        let [kind, flags, at0, at1, ack0, ack1, length, missing, content, late] = *step else { continue };
        let signed = |low, high| i64::from(i16::from_le_bytes([low, high]));
        // High values are time that passes, some of it backwards.
        time += if late > 250 { (i64::from(late) - 252) * 40_000_000_000 } else { i64::from(late) * 1_000_000 };
        let side = usize::from(kind & 1);
        match kind >> 5 {
            7 => table.tick(time, &mut judge),
            6 => {
                let upto = if content > 250 { u64::MAX } else { u64::from(content) * 16 };
                let side = if side == 0 { Side::First } else { Side::Second };
                table.skip(ConnectionId { handle: u32::from(at0 & 7), number: u64::from(at1) }, side, upto);
            }
            5 if content > 200 => {
                external = u64::from(content - 200) * 8000;
                table.set_external(external);
            }
            scale => {
                // Offsets are small, or (scale 4) so great that they lie out of reach.
                let factor = if scale == 4 { 60_000 } else { 1 };
                let number =
                    |side: usize, offset: i64| ISNS[side].wrapping_add(((offset * factor) & 0xffff_ffff) as u32);
                let seq = number(side, signed(at0, at1));
                let data: Vec<u8> = (0..u32::from(length) * if content & 32 == 0 { 1 } else { 7 })
                    .map(|i| (seq.wrapping_add(u32::from(flags & 2 != 0)).wrapping_add(i) & 63) as u8 | content & 0xc0)
                    .collect();
                let ends = [endpoint(1, 4000 + u16::from(kind >> 1 & 7)), endpoint(2, 80)];
                let segment = Segment {
                    time,
                    interface: 0,
                    realm: 0,
                    source: ends[side],
                    destination: ends[1 - side],
                    seq,
                    ack: number(1 - side, signed(ack0, ack1)),
                    flags: TcpFlags(flags),
                    window: u16::from(content & 15) * 500,
                    payload: &data,
                    missing: u32::from(missing.saturating_sub(200)),
                };
                table.segment(&segment, &mut judge);
            }
        }
        let (taken, accounted) = table.counters().payload_balance();
        assert_eq!(taken, accounted, "{:?}", table.counters());
        assert!(table.memory_used() - external <= LIMIT, "{} bytes", table.memory_used() - external);
    }
    table.finish(&mut judge);
    assert!(judge.open.is_empty() && table.is_empty());
    let counters = table.counters();
    let (taken, accounted) = counters.payload_balance();
    assert_eq!(taken, accounted, "{counters:?}");
    assert_eq!(counters.held, 0);
    assert_eq!((counters.handed_on, counters.skipped, counters.gap), (judge.bytes, judge.skipped, judge.gap));
}

fn endpoint(last: u32, port: u16) -> Endpoint {
    Endpoint { ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + last)), port }
}
