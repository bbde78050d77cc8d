//! What a segment costs in the flow table, among few connections and among many: in random order, so that each finds its
//! connection outside of the cache, read ahead as the capture thread does it.

use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use picotap::flow::{AHEAD, Config, Conn, EndReason, Place, Sink, Table};
use picotap::packet::{Endpoint, Segment, TcpFlags};

/// Takes everything and does nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn bytes(&mut self, _: &mut Conn, _: Place, _: bool, _: &[u8]) {}
    fn void(&mut self, _: &mut Conn, _: Place, _: u64, _: u64) {}
    fn end(&mut self, _: &mut Conn, _: Place, _: EndReason) {}
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

/// A table with so many connections whose handshake is done.
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

criterion_group!(benches, flow);
criterion_main!(benches);
