//! The cost of a segment in the flow table, with few and with many connections: in random order, so that each connection is
//! outside of the cache, and read ahead as the capture thread does. And the share of finding the connection, with the table's
//! index and slab, and with a general-purpose hash table instead of the index.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hashbrown::HashTable;
use picotap::flow::{AHEAD, Config, Table};
use picotap::packet::{Segment, TcpFlags};
use picotap::stream::{EndReason, Endpoint, OpenConnection, Position, Side, Sink};

#[path = "../src/flow/index.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the flow table, which uses all of it, and with its tests")]
mod index;
#[path = "../src/flow/slab.rs"]
#[allow(dead_code, reason = "shared with the flow table, which uses all of it")]
mod slab;

use connection::Connection;
use index::Index;
use slab::Slab;

/// A sink that discards everything.
struct Nowhere;

impl Sink for Nowhere {
    fn bytes(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: bool, _: &[u8]) {}
    fn skipped(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: u64, _: u64) {}
    fn end(&mut self, _: &mut OpenConnection, _: Side, _: Position, _: EndReason) {}
}

const fn client(number: u32) -> Endpoint {
    let port = 1024 + (number & 0x7fff) as u16;
    Endpoint { ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + (number >> 15))), port }
}

const SERVER: Endpoint = Endpoint { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port: 80 };

const fn segment(source: Endpoint, destination: Endpoint, flags: u8, seq: u32, ack: u32) -> Segment<'static> {
    let flags = TcpFlags(flags);
    Segment {
        time: 1,
        interface: 0,
        realm: 0,
        source,
        destination,
        seq,
        ack,
        flags,
        window: 512,
        payload: b"",
        missing: 0,
    }
}

/// A table with this many established connections.
fn table(connections: u32) -> Table {
    let mut table = Table::new(Config { memory_limit: 1 << 32, max_connections: 1 << 21, ..Config::default() });
    for number in 0..connections {
        let client = client(number);
        table.segment(&segment(client, SERVER, TcpFlags::SYN, 0, 0), &mut Nowhere);
        table.segment(&segment(SERVER, client, TcpFlags::SYN | TcpFlags::ACK, 0, 1), &mut Nowhere);
        table.segment(&segment(client, SERVER, TcpFlags::ACK, 1, 1), &mut Nowhere);
    }
    assert_eq!(table.len(), connections as usize);
    table
}

fn flow(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow");
    group.throughput(Throughput::Elements(AHEAD as u64));
    for connections in [100, 10_000, 100_000, 1_000_000] {
        let mut table = table(connections);
        let mut random: u32 = 1;
        group.bench_function(BenchmarkId::new("acknowledgement", connections), |b| {
            b.iter(|| {
                let mut ahead = [None; AHEAD];
                for place in &mut ahead {
                    // The constants of Numerical Recipes.
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let number = (u64::from(random) * u64::from(connections)) >> 32;
                    let client = client(u32::try_from(number).unwrap_or(0));
                    *place = Some(segment(SERVER, client, TcpFlags::ACK, 1, 1));
                }
                let hashes = table.seek(&ahead);
                for (segment, hash) in ahead.iter().flatten().zip(hashes) {
                    table.hashed_segment(hash, segment, &mut Nowhere);
                }
            });
        });
        assert_eq!(table.len(), connections as usize);
    }
    group.finish();
}

/// Replaces `flow`'s own entry, which the slab imports from its parent module.
mod connection {
    /// As large as a real one, with the fields that an index needs.
    #[expect(dead_code, reason = "the rest is there for its size")]
    pub(crate) struct Connection {
        pub(crate) hash: u64,
        pub(crate) number: u32,
        pub(crate) rest: [u64; 28],
    }
}

/// Finds a connection's index in the slab.
trait Places: Default {
    const NAME: &str;
    fn insert(&mut self, hash: u64, place: u32, slab: &Slab);
    fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32>;
    fn bytes(&self) -> u64;
}

#[derive(Default)]
struct Ours(Option<Index>);

impl Places for Ours {
    const NAME: &str = "index";
    fn insert(&mut self, hash: u64, place: u32, _: &Slab) {
        self.0.get_or_insert_with(Index::new).insert(hash, place);
    }
    fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.0.as_ref()?.find(hash, is_it)
    }
    fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, Index::bytes)
    }
}

impl Places for HashTable<u32> {
    const NAME: &str = "hashbrown";
    fn insert(&mut self, hash: u64, place: u32, slab: &Slab) {
        self.insert_unique(hash, place, |place| slab.get(*place).map_or(0, |connection| connection.hash));
    }
    fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.find(hash, |place| is_it(*place)).copied()
    }
    fn bytes(&self) -> u64 {
        self.allocation_size() as u64
    }
}

/// Stores half of the hash, as our index does, so that growing need not read every connection.
impl Places for HashTable<(u32, u32)> {
    const NAME: &str = "hashbrown with tags";
    fn insert(&mut self, hash: u64, place: u32, _: &Slab) {
        let tag = (hash >> 32) as u32;
        self.insert_unique(spread(tag), (tag, place), |(tag, _)| spread(*tag));
    }
    fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let wanted = (hash >> 32) as u32;
        self.find(spread(wanted), |(tag, place)| *tag == wanted && is_it(*place)).map(|(_, place)| *place)
    }
    fn bytes(&self) -> u64 {
        self.allocation_size() as u64
    }
}

/// hashbrown takes the bucket from the low bits of the hash and a tag from its top seven bits.
const fn spread(tag: u32) -> u64 {
    (tag as u64) << 32 | tag as u64
}

/// A hash whose every bit depends on `number`: the end of MurmurHash3.
const fn hash(number: u32) -> u64 {
    let mut hash = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

fn filled<P: Places>(slab: &Slab, connections: u32) -> P {
    let mut places = P::default();
    for number in 0..connections {
        places.insert(hash(number), number, slab);
    }
    places
}

/// The longest insertion: that for which the table grows most.
#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn longest_insert<P: Places>(slab: &Slab, connections: u32) -> Duration {
    let mut places = P::default();
    let mut insert = |number| {
        let start = Instant::now();
        places.insert(hash(number), number, slab);
        start.elapsed()
    };
    (0..connections).map(&mut insert).max().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn finding<P: Places>(c: &mut Criterion, slab: &Slab, connections: u32) {
    let places: P = filled(slab, connections);
    let (name, bytes, pause) = (P::NAME, places.bytes(), longest_insert::<P>(slab, connections));
    println!("{name}: {bytes} bytes for {connections} connections, longest insertion {pause:?}");
    let mut group = c.benchmark_group("find");
    let mut random: u32 = 1;
    group.throughput(Throughput::Elements(AHEAD as u64));
    group.bench_function(BenchmarkId::new(P::NAME, connections), |b| {
        b.iter(|| {
            let mut wanted = [0; AHEAD];
            for number in &mut wanted {
                // The constants of Numerical Recipes.
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *number = u32::try_from((u64::from(random) * u64::from(connections)) >> 32).unwrap_or(0);
            }
            // As the table does: look up and touch all, then look up each to use it.
            let ahead = wanted.map(|number| places.find(hash(number), |_| true).unwrap_or(0));
            let near = ahead.iter().filter_map(|place| slab.get(*place));
            black_box(near.fold(0, |sum, connection| sum ^ u64::from(connection.number)));
            for number in wanted {
                let is_it = |place| slab.get(place).is_some_and(|connection| connection.number == number);
                assert_eq!(black_box(places.find(hash(number), is_it)), Some(number));
            }
        });
    });
    group.finish();
    let mut group = c.benchmark_group("fill");
    group.throughput(Throughput::Elements(u64::from(connections))).sample_size(10);
    group.bench_function(BenchmarkId::new(P::NAME, connections), |b| b.iter(|| filled::<P>(slab, connections).bytes()));
    group.finish();
}

fn places(c: &mut Criterion) {
    for connections in [100, 10_000, 1_000_000] {
        let mut slab = Slab::new();
        for number in 0..connections {
            if !slab.has_room() {
                slab.grow();
            }
            let connection = Connection { hash: hash(number), number, rest: [0; 28] };
            assert_eq!(slab.insert(connection), Some(number));
        }
        finding::<Ours>(c, &slab, connections);
        finding::<HashTable<u32>>(c, &slab, connections);
        finding::<HashTable<(u32, u32)>>(c, &slab, connections);
    }
}

criterion_group!(benches, flow, places);
criterion_main!(benches);
