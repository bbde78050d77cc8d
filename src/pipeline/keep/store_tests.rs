use std::collections::{BTreeMap, HashSet};

use crossbeam_channel::{Receiver, bounded};
use proptest::prelude::*;

use super::*;

/// Who is still there.
#[derive(Default)]
struct Who {
    gone: HashSet<u64>,
    waiting: HashSet<u64>,
}

impl Present for Who {
    fn waits(&self, serial: u64) -> bool {
        self.waiting.contains(&serial)
    }

    fn has(&self, id: ConnectionId) -> bool {
        !self.gone.contains(&id.number)
    }
}

/// A store, and what comes out of it.
struct Bench {
    store: Store,
    verdicts: Verdicts,
    out: Receiver<Chunk>,
    who: Who,
    time: i64,
    /// First bytes of the packets that were written, and how many empty ones.
    written: Vec<u8>,
    empty: usize,
}

impl Bench {
    fn new(limit: usize, secrets: bool) -> Self {
        let (to, out) = bounded(1 << 16);
        let verdicts = Verdicts::default();
        let store = Store::new(limit, secrets, verdicts.clone(), to, true);
        Self { store, verdicts, out, who: Who::default(), time: 0, written: Vec::new(), empty: 0 }
    }

    fn packet(&mut self, owner: Owner, datagrams: &[u64], data: &[u8]) {
        self.time += 1_000_000;
        let original_len = u32::try_from(data.len()).unwrap();
        let frame = Frame { time: self.time, link: 1, interface: 0, data, original_len };
        self.store.frame(&frame, owner, datagrams);
    }

    /// A packet of a connection.
    fn of(&mut self, number: u64, name: u8) {
        self.packet(Owner::Connection(id(number), None), &[], &[name; 100]);
    }

    fn say(&mut self, verdict: Verdict) {
        self.verdicts.send(&mut vec![verdict]);
        self.settle();
    }

    fn settle(&mut self) {
        self.store.settle(&self.who);
        self.take();
    }

    fn take(&mut self) {
        self.store.hand_on();
        while let Ok(chunk) = self.out.try_recv() {
            let mut rest = chunk.bytes.as_slice();
            for item in &chunk.items {
                match item {
                    Item::Packet(head) => {
                        let (data, behind) = rest.split_at(head.len as usize);
                        assert!(data.iter().all(|byte| *byte == data[0]), "the bytes of one packet");
                        self.written.push(data[0]);
                        rest = behind;
                    }
                    Item::Secrets(lines) => self.written.extend_from_slice(lines),
                    Item::Time(_) => self.empty += 1,
                    Item::Interface(..) => {}
                }
            }
            assert!(rest.is_empty());
        }
    }

    fn end(mut self) -> (Vec<u8>, KeepCounters) {
        self.store.end();
        self.take();
        assert!(self.store.buffer.is_empty());
        (self.written, self.store.counters())
    }
}

const fn id(number: u64) -> ConnectionId {
    ConnectionId { number, handle: 0 }
}

const fn ended(number: u64) -> Verdict {
    Verdict::Ended { number, timeout: false }
}

#[test]
fn packets_leave_in_order_when_those_before_are_decided() {
    let mut bench = Bench::new(1 << 20, false);
    bench.of(1, b'a');
    bench.of(2, b'b');
    bench.of(1, b'c');
    bench.say(Verdict::Keep(2));
    assert_eq!(bench.written, b"", "the first is not decided");
    bench.say(Verdict::Keep(1));
    assert_eq!(bench.written, b"abc");
    bench.of(2, b'd');
    bench.settle();
    assert_eq!(bench.written, b"abcd", "what comes later is written at once");
    bench.of(3, b'e');
    bench.of(1, b'f');
    bench.say(ended(3));
    assert_eq!(bench.written, b"abcdf", "of what has no line nothing is");
    bench.of(4, b'g');
    let (written, counters) = bench.end();
    assert_eq!((written.as_slice(), counters.connections, counters.incomplete), (&b"abcdf"[..], 2, 0));
}

#[test]
fn what_comes_after_the_end_is_kept_too_and_then_it_is_forgotten() {
    let mut bench = Bench::new(1 << 20, false);
    bench.of(1, b'a');
    bench.say(Verdict::Keep(1));
    bench.say(ended(1));
    bench.of(1, b'b');
    bench.settle();
    assert_eq!((bench.written.as_slice(), bench.store.known.len()), (&b"ab"[..], 1));
    bench.who.gone.insert(1);
    bench.settle();
    assert_eq!((bench.store.known.len(), bench.store.used()), (0, 0));
}

#[test]
fn a_fragment_belongs_to_the_connection_of_its_datagram() {
    let mut bench = Bench::new(1 << 20, false);
    bench.who.waiting.extend([7, 8, 9]);
    for (serial, name) in [(7, b'a'), (8, b'x'), (9, b'y')] {
        bench.packet(Owner::Datagram(serial), &[serial], &[name; 50]);
    }
    // The first is whole, and another is inside it, which is whole with the next.
    bench.packet(Owner::Datagram(10), &[7, 10], b"b");
    bench.who.waiting.remove(&7);
    bench.who.waiting.insert(10);
    bench.settle();
    bench.packet(Owner::Connection(id(1), None), &[10], b"c");
    bench.who.waiting.remove(&10);
    bench.say(Verdict::Keep(1));
    assert_eq!(bench.written, b"a", "what waits belongs to nobody yet");
    // The second turns out to be something else, the third never becomes whole.
    bench.packet(Owner::Nobody, &[8], b"z");
    bench.who.waiting.remove(&8);
    bench.who.waiting.remove(&9);
    bench.settle();
    assert_eq!(bench.written, b"abc");
    assert_eq!(bench.store.known.keys().collect::<Vec<_>>(), [&1], "datagrams are forgotten");
}

#[test]
fn a_packet_that_ends_a_connection_is_kept_with_it() {
    let mut bench = Bench::new(1 << 20, false);
    bench.of(1, b'a');
    bench.packet(Owner::Connection(id(2), Some(1)), &[], b"b");
    bench.of(2, b'c');
    bench.say(ended(2));
    assert_eq!(bench.written, b"");
    bench.say(Verdict::Keep(1));
    bench.say(ended(1));
    assert_eq!(bench.written, b"ab");
    bench.who.gone.extend([1, 2]);
    bench.settle();
    assert!(bench.store.known.is_empty());
}

#[test]
fn secrets_stand_before_the_packets_of_their_connection() {
    let lines = |text: &[u8]| zeroize::Zeroizing::new(text.to_vec());
    let mut bench = Bench::new(1 << 20, true);
    bench.of(1, b'a');
    bench.say(Verdict::Keep(1));
    bench.of(1, b'b');
    bench.say(Verdict::Secrets(1, lines(b"S")));
    assert_eq!(bench.written, b"", "more of them may come");
    bench.say(Verdict::Secrets(1, lines(b"T")));
    bench.say(ended(1));
    assert_eq!(bench.written, b"STab");
    // There is no room to wait.
    let mut bench = Bench::new(1000, true);
    bench.of(1, b'a');
    bench.say(Verdict::Keep(1));
    bench.say(Verdict::Secrets(1, lines(b"S")));
    (0..10).for_each(|_| bench.of(1, b'b'));
    bench.say(Verdict::Secrets(1, lines(b"T")));
    let (written, counters) = bench.end();
    assert!(written.starts_with(b"Sab") && written.contains(&b'T'), "{}", written.escape_ascii());
    assert_eq!((written.len(), counters.buffer_full), (13, 0));
}

#[test]
fn time_that_passes_for_others_is_told_while_a_connection_is_open() {
    let mut bench = Bench::new(1 << 20, false);
    bench.of(1, b'a');
    bench.say(Verdict::Keep(1));
    for _ in 0..100 {
        bench.time += 10_000_000_000;
        bench.packet(Owner::Nobody, &[], b"x");
    }
    bench.of(1, b'b');
    bench.settle();
    assert_eq!(bench.written, b"ab");
    let empty = bench.empty;
    assert!((20..=25).contains(&empty), "{empty} in 1000 s");
    bench.say(ended(1));
    bench.who.gone.insert(1);
    bench.settle();
    bench.time += 1_000_000_000_000;
    bench.packet(Owner::Nobody, &[], b"x");
    bench.of(2, b'c');
    bench.say(Verdict::Keep(2));
    assert_eq!((bench.written.as_slice(), bench.empty), (&b"abc"[..], empty), "nobody waits for it");
}

#[test]
fn a_slow_writer_leaves_packets_in_the_store_and_then_they_are_counted() {
    let (to, out) = bounded(1);
    let verdicts = Verdicts::default();
    let mut store = Store::new(4 << 20, false, verdicts.clone(), to, false);
    verdicts.send(&mut vec![]);
    let mut packets = 0;
    let mut feed = |store: &mut Store, count: u32| {
        for _ in 0..count {
            packets += 1;
            let frame = Frame { time: packets, link: 1, interface: 0, data: &[0; 1000], original_len: 1000 };
            store.frame(&frame, Owner::Connection(id(1), None), &[]);
            store.settle(&Who::default());
        }
    };
    feed(&mut store, 1);
    verdicts.send(&mut vec![Verdict::Keep(1)]);
    feed(&mut store, 3000);
    assert_eq!(store.counters().queue_full, 0, "there is room in the store");
    feed(&mut store, 3000);
    let lost = store.counters().queue_full;
    assert!(lost > 1000 && store.counters().incomplete == 1);
    let reader = std::thread::spawn(move || {
        let packet = |item: &&Item| matches!(item, Item::Packet(_));
        out.iter().map(|chunk| chunk.items.iter().filter(packet).count() as u64).sum::<u64>()
    });
    store.end();
    drop(store);
    assert_eq!(reader.join().unwrap() + lost, 6001);
}

const fn head(len: u32) -> Head {
    Head { time: 0, link: 1, interface: 0, original_len: len, len }
}

#[test]
fn a_full_ring_is_not_moved_for_each_connection_that_comes_and_goes() {
    let mut buffer = Buffer::default();
    let (mut memory, mut moves) = (0, 0);
    for turn in 0..100_000 {
        let room = (1 << 20) - turn % 2 * CONNECTION_COST;
        while buffer.len() + HEAD + 100 > room {
            buffer.take_oldest(|_, _, _| ());
        }
        buffer.put(1, head(100), &[1; 100], room, 1 << 16);
        buffer.fit(room, 1 << 16);
        moves += usize::from(buffer.memory() != memory);
        memory = buffer.memory();
    }
    // It begins with 64 KiB, and doubles.
    assert!(moves <= 5 && memory <= (1 << 20) + (1 << 15), "{moves} {memory}");
}

#[test]
fn the_ring_becomes_smaller_when_connections_take_the_room() {
    let mut bench = Bench::new(1 << 20, false);
    (0..10_000).for_each(|_| bench.of(1, b'a'));
    bench.say(Verdict::Keep(1));
    assert!(bench.store.buffer.is_empty() && bench.store.buffer.memory() > 900_000);
    for number in 2..2002 {
        bench.of(number, b'b');
        bench.say(Verdict::Keep(number));
    }
    let memory = bench.store.buffer.memory();
    assert!(memory + 2001 * CONNECTION_COST <= (1 << 20) + (1 << 16), "{memory}");
}

#[test]
fn a_chunk_is_bounded_by_packets_too_however_small_they_are() {
    let (to, chunks) = bounded(1);
    let mut out = Out::new(to, false);
    let mut taken = 0;
    for _ in 0..100_000 {
        if out.is_ready() {
            out.packet(head(0), &[]);
            taken += 1;
        }
    }
    let first = chunks.recv().unwrap().items.len();
    let most = (256 << 10) / size_of::<Item>() + 1;
    assert!(first <= most && taken - first <= most, "{first} of {taken}");
    assert!(out.is_ready(), "there is room again");
}

#[test]
fn secrets_for_which_the_writer_is_too_slow_count_as_held() {
    let (to, out) = bounded(1);
    let verdicts = Verdicts::default();
    let mut store = Store::new(1 << 20, false, verdicts.clone(), to, false);
    let feed = |store: &mut Store| {
        let frame = Frame { time: 1, link: 1, interface: 0, data: &[0; 1000], original_len: 1000 };
        store.frame(&frame, Owner::Connection(id(1), None), &[]);
        store.settle(&Who::default());
    };
    feed(&mut store);
    verdicts.send(&mut vec![Verdict::Keep(1)]);
    while store.counters().queue_full == 0 {
        feed(&mut store);
    }
    let before = store.used();
    verdicts.send(&mut vec![Verdict::Secrets(1, zeroize::Zeroizing::new(vec![b'S'; 5000]))]);
    store.settle(&Who::default());
    assert_eq!((store.secret_bytes, store.used()), (5000, before + 5000));
    let reader = std::thread::spawn(move || {
        let secrets = |item: &&Item| matches!(item, Item::Secrets(_));
        out.iter().map(|chunk| chunk.items.iter().filter(secrets).count()).sum::<usize>()
    });
    store.end();
    drop(store);
    assert_eq!(reader.join().unwrap(), 1, "they are written when there is room");
}

#[test]
fn a_connection_with_a_timeout_is_forgotten_while_all_that_comes_is_written_at_once() {
    let mut bench = Bench::new(1 << 20, false);
    bench.of(1, b'a');
    bench.of(2, b'a');
    bench.say(Verdict::Keep(1));
    bench.say(Verdict::Keep(2));
    bench.say(Verdict::Ended { number: 1, timeout: true });
    bench.who.gone.insert(1);
    bench.time += AFTER_TIMEOUT + 1;
    bench.of(2, b'b');
    bench.settle();
    assert!(bench.store.buffer.is_empty() && !bench.store.known.contains_key(&1));
}

#[derive(Debug, Clone)]
enum Act {
    Packet(u64, usize),
    Keep(u64),
    End(u64),
    Fragment(u64),
    Whole(u64, u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (1_u64..60, 1_usize..3000).prop_map(|(number, len)| Act::Packet(number, len)),
        2 => (1_u64..60).prop_map(Act::Keep),
        2 => (1_u64..60).prop_map(Act::End),
        1 => (1_u64..20).prop_map(Act::Fragment),
        1 => (1_u64..20, 1_u64..60).prop_map(|(serial, number)| Act::Whole(serial, number)),
    ]
}

proptest! {
    /// Whatever happens, the store takes no more than its limit, and of the connections that are kept each packet is written, once and in
    /// order, or counted.
    #[test]
    fn the_bound_holds_and_nothing_is_missing_uncounted(acts in prop::collection::vec(act(), 1..400), limit in 1000_usize..60_000) {
        let mut bench = Bench::new(limit, false);
        let (mut kept, mut over) = (HashSet::new(), HashSet::new());
        // Of each connection and datagram, how many packets.
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        let mut scattered: BTreeMap<u64, u64> = BTreeMap::new();
        // A datagram has a serial that none had before.
        let mut whole = 0;
        for act in acts {
            let act = match act {
                Act::Fragment(serial) => Act::Fragment(serial + 100 * whole),
                Act::Whole(serial, number) => Act::Whole(serial + 100 * whole, number),
                other => other,
            };
            match act {
                Act::Packet(number, len) if !over.contains(&number) => {
                    bench.packet(Owner::Connection(id(number), None), &[], &vec![u8::try_from(number).unwrap(); len]);
                    *counts.entry(number).or_default() += 1;
                }
                Act::Keep(number) if counts.contains_key(&number) && !over.contains(&number) => {
                    kept.insert(number);
                    bench.say(Verdict::Keep(number));
                }
                Act::End(number) if counts.contains_key(&number) => {
                    over.insert(number);
                    bench.say(ended(number));
                    bench.who.gone.insert(number);
                }
                Act::Fragment(serial) => {
                    bench.who.waiting.insert(serial);
                    bench.packet(Owner::Datagram(serial), &[serial], &[200; 700]);
                    *scattered.entry(serial).or_default() += 1;
                }
                Act::Whole(serial, number) if bench.who.waiting.contains(&serial) && !over.contains(&number) => {
                    bench.packet(Owner::Connection(id(number), None), &[serial], &[200; 700]);
                    bench.who.waiting.remove(&serial);
                    whole += 1;
                    *counts.entry(number).or_default() += scattered.remove(&serial).unwrap_or(0) + 1;
                }
                _ => {}
            }
            bench.settle();
            let known = bench.store.known.len() * CONNECTION_COST;
            prop_assert!(bench.store.used() <= limit.max(known + bench.store.buffer.len()));
            prop_assert!(bench.store.buffer.len() <= limit.saturating_sub(known) || bench.store.buffer.is_empty()
                || bench.store.buffer.len() + known <= limit + 2 * CONNECTION_COST);
            let most = limit.saturating_sub(known) + limit / STEPS;
            prop_assert!(bench.store.buffer.memory() <= most.max(bench.store.buffer.len()));
        }
        let (written, counters) = bench.end();
        let wanted: u64 = counts.iter().filter(|(number, _)| kept.contains(number)).map(|(_, count)| count).sum();
        prop_assert_eq!(written.len() as u64 + counters.buffer_full, wanted);
        prop_assert_eq!(counters.connections, kept.len() as u64);
        prop_assert_eq!(counters.held, 0);
    }
}
