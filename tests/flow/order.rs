//! However the segments of a conversation are permuted, repeated and cut anew: within the grace and the bounds the same
//! two streams come out, and no byte comes before what its sender had acknowledged when he first sent it.

use crate::support;
use std::fmt::Write as _;

use picotap::flow::{Config, Table};
use picotap::packet::{Segment, TcpFlags};
use picotap::stream::{EndReason, OpenConnection, Position, Side, Sink};
use proptest::prelude::*;
use support::flow::{ACK, FIN, SYN, endpoint};

/// A segment of the clean capture, or a copy of some of its bytes.
#[derive(Debug, Clone)]
struct Sent {
    side: usize,
    from: u64,
    to: u64,
    ack: u64,
    fin: bool,
}

/// A conversation without loss, and what was captured of it.
#[derive(Debug, Clone)]
struct Conversation {
    isn: [u32; 2],
    streams: [Vec<u8>; 2],
    /// Per side and byte: what its sender had acknowledged when he first sent it.
    acks: [Vec<u64>; 2],
    captured: Vec<Sent>,
}

/// One message: side, length, how much less is acknowledged than has been sent.
type Message = (bool, u64, u64);
/// One copy: side, where it begins and ends (in 256ths of the stream), how late it was sent (in 256ths of what the
/// other side sent after).
type Copy = (bool, u8, u8, u8);

fn conversation(isn: [u32; 2], messages: &[Message], cuts: &[u8], copies: &[Copy], order: &[u32]) -> Conversation {
    let mut streams = [Vec::new(), Vec::new()];
    let mut acks = [Vec::new(), Vec::new()];
    let mut acked = [0_u64; 2];
    let mut captured = Vec::new();
    for (second, len, lag) in messages {
        let side = usize::from(*second);
        let from = streams[side].len() as u64;
        let sent = streams[1 - side].len() as u64;
        acked[side] = acked[side].max(sent.saturating_sub(*lag));
        let bytes = (from..from + len).map(|at| b'a' + ((at * 7 + side as u64 * 3) % 26) as u8);
        streams[side].extend(bytes);
        acks[side].extend((0..*len).map(|_| acked[side]));
        captured.push(Sent { side, from, to: from + len, ack: acked[side], fin: false });
    }
    for side in [0, 1] {
        let end = streams[side].len() as u64;
        captured.push(Sent { side, from: end, to: end, ack: acked[side], fin: true });
    }
    // Cut some segments in two: both parts keep the flags and acknowledgement of the whole.
    for cut in cuts {
        let at = usize::from(*cut) % captured.len();
        let Sent { side, from, to, ack, fin } = captured[at];
        if to - from >= 2 {
            let middle = from + 1 + u64::from(*cut) % (to - from - 1);
            captured[at] = Sent { side, from, to: middle, ack, fin: false };
            captured.push(Sent { side, from: middle, to, ack, fin });
        }
    }
    // Repeat some ranges. A copy acknowledges no less than the original, and perhaps much more.
    for (second, a, b, late) in copies {
        let side = usize::from(*second);
        let len = streams[side].len() as u64;
        let (a, b) = (u64::from(*a.min(b)) * len / 256, u64::from(*a.max(b)) * len / 256 + 1);
        if b > len {
            continue;
        }
        let least = acks[side][usize::try_from(b - 1).unwrap()];
        let most = streams[1 - side].len() as u64;
        let ack = least + (most - least) * u64::from(*late) / 255;
        captured.push(Sent { side, from: a, to: b, ack, fin: false });
    }
    let mut keyed: Vec<(u32, Sent)> =
        captured.into_iter().enumerate().map(|(i, sent)| (order.get(i).copied().unwrap_or(i as u32), sent)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    Conversation { isn, streams, acks, captured: keyed.into_iter().map(|(_, sent)| sent).collect() }
}

/// Compares each event with the conversation at once.
struct Judge<'a> {
    truth: &'a Conversation,
    next: [u64; 2],
    ended: [bool; 2],
    faults: String,
}

impl Sink for Judge<'_> {
    fn bytes(&mut self, _: &mut OpenConnection, side: Side, position: Position, _: bool, payload: &[u8]) {
        let side = side.index();
        let at = usize::try_from(position.offset).unwrap();
        if position.offset != self.next[side] {
            write!(self.faults, "side {side}: {} after {}; ", position.offset, self.next[side]).unwrap();
        }
        if self.truth.streams[side].get(at..at + payload.len()) != Some(payload) {
            write!(self.faults, "side {side}: other bytes at {at}; ").unwrap();
        }
        for ack in &self.truth.acks[side][at..at + payload.len()] {
            if *ack > self.next[1 - side] || position.acked().is_none_or(|acked| acked < *ack) {
                write!(self.faults, "side {side}: {at} reported when the other was at {}; ", self.next[1 - side])
                    .unwrap();
            }
        }
        self.next[side] = position.offset + payload.len() as u64;
    }

    fn skipped(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: u64, _: u64) {
        self.faults.push_str("a skipped range; ");
    }

    fn end(&mut self, _: &mut OpenConnection, side: Side, position: Position, reason: EndReason) {
        let side = side.index();
        if reason != EndReason::Fin || position.offset != self.truth.streams[side].len() as u64 {
            write!(self.faults, "side {side}: ended by {reason:?} at {}; ", position.offset).unwrap();
        }
        self.ended[side] = true;
    }
}

fn replay(truth: &Conversation) -> String {
    // More pieces than there can be: the bound has its own tests.
    let mut table = Table::new(Config { ooo_segments_per_side: 400, ..Config::default() });
    let mut judge = Judge { truth, next: [0; 2], ended: [false; 2], faults: String::new() };
    let mut time = 1_700_000_000_000_000_000;
    let ends = [endpoint(1, 4000), endpoint(2, 80)];
    let mut send = |side: usize, flags: u8, at: i64, ack: u64, payload: &[u8]| {
        time += 1_000_000;
        let number = |isn: u32, offset: i64| isn.wrapping_add(1).wrapping_add(offset as u32);
        let segment = Segment {
            time,
            interface: 0,
            realm: 0,
            source: ends[side],
            destination: ends[1 - side],
            seq: number(truth.isn[side], at),
            ack: number(truth.isn[1 - side], ack.cast_signed()),
            flags: TcpFlags(flags),
            window: 65535,
            payload,
            missing: 0,
        };
        table.segment(&segment, &mut judge);
    };
    send(0, SYN, -1, 0, b"");
    send(1, SYN | ACK, -1, 0, b"");
    send(0, ACK, 0, 0, b"");
    for sent in &truth.captured {
        let range = usize::try_from(sent.from).unwrap()..usize::try_from(sent.to).unwrap();
        let flags = if sent.fin { ACK | FIN } else { ACK };
        send(sent.side, flags, sent.from.cast_signed(), sent.ack, &truth.streams[sent.side][range]);
    }
    if judge.ended != [true; 2] {
        write!(judge.faults, "stands at {:?}, ended {:?}; ", judge.next, judge.ended).unwrap();
    }
    table.finish(&mut judge);
    let counters = table.counters();
    let (taken, accounted) = counters.payload_balance();
    if taken != accounted || counters.gap + counters.waits_given_up + counters.conflicting > 0 {
        write!(judge.faults, "{counters:?}").unwrap();
    }
    judge.faults
}

fn isn() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(u32::MAX), u32::MAX - 200..=u32::MAX, (1_u32 << 31) - 100..(1 << 31) + 100, any::<u32>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_order_gives_the_streams_and_the_causes_of_the_clean_capture(
        isn in (isn(), isn()),
        messages in proptest::collection::vec((any::<bool>(), 1_u64..40, prop_oneof![Just(0), 0_u64..60]), 1..20),
        cuts in proptest::collection::vec(any::<u8>(), 0..16),
        copies in proptest::collection::vec(any::<Copy>(), 0..16),
        order in prop_oneof![
            // Anyhow; or nearly in order.
            proptest::collection::vec(any::<u32>(), 60),
            proptest::collection::vec(0_u32..6, 60)
                .prop_map(|jitter| jitter.into_iter().zip(0..).map(|(late, at)| at + late).collect()),
        ],
    ) {
        let truth = conversation([isn.0, isn.1], &messages, &cuts, &copies, &order);
        let faults = replay(&truth);
        prop_assert!(faults.is_empty(), "{}\n{:#?}", faults, truth);
    }
}
