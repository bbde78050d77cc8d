//! The cost of a frame until it is a segment: reading it from a file, and decoding it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a bench that fails may panic")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block as NgBlock, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader};
use picotap::packet::{Decoder, Outcome};
use picotap::source::{Captures, Frame};

#[path = "../src/packet/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use all of it")]
mod frames;

use frames::{Block, Ipv4, Tcp};

/// Frames in a file, about 70 MB: far more than any processor cache, less than the page cache.
const FRAMES: u32 = 100_000;

/// The nth frame: sizes as in HTTP with small bodies, and an acknowledgement for every segment.
fn frame(n: u32) -> Vec<u8> {
    let length = [0, 120, 0, 1448, 0, 1448, 0, 900][n as usize % 8];
    let port = u16::try_from(1024 + n % 10_000).unwrap_or(0);
    let tcp = Tcp::v4(&vec![b'x'; length]);
    Tcp { source: (tcp.source.0, port), options: vec![1; 12], seq: n, ..tcp }.frame()
}

/// Reads a file to its end. Returns the number of frames.
fn read(path: &Path) -> u64 {
    let mut captures = Captures::open(&[PathBuf::from(path)], None);
    let mut count = 0;
    while let Ok(Some(frame)) = captures.next_frame() {
        black_box(&frame);
        count += 1;
    }
    assert_eq!(count, u64::from(FRAMES));
    count
}

/// The same with the crate `pcap-parser` and a buffer as large as ours. It lends one frame at a time: reading several ahead,
/// as the capture thread does, would need copies.
fn read_by_pcap_parser<R: PcapReaderIterator>(mut reader: R) -> u64 {
    let mut count = 0;
    loop {
        match reader.next() {
            Ok((size, block)) => {
                match &block {
                    PcapBlockOwned::Legacy(frame) => count += u64::from(!black_box(frame).data.is_empty()),
                    PcapBlockOwned::NG(NgBlock::EnhancedPacket(frame)) => {
                        count += u64::from(!black_box(frame).data.is_empty());
                    }
                    _ => {}
                }
                reader.consume(size);
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(count, u64::from(FRAMES));
    count
}

fn read_and_decode(path: &Path) -> u64 {
    let mut captures = Captures::open(&[PathBuf::from(path)], None);
    let mut decoder = Decoder::new(false);
    while let Ok(Some(frame)) = captures.next_frame() {
        black_box(&decoder.decode(&frame));
    }
    assert_eq!(decoder.counts().segments, u64::from(FRAMES));
    decoder.counts().segments
}

fn files(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let pcap = directory.path().join("bench.pcap");
    let frames: Vec<_> = (0..FRAMES).map(|n| (u64::from(n), frame(n), 0)).collect();
    fs::write(&pcap, frames::pcap(1, &frames)).expect("the temporary directory takes a file");
    let pcapng = directory.path().join("bench.pcapng");
    let mut blocks = [Block::section(false), Block::interface(false, 1, 0, &[])].concat();
    for (time, data, _) in &frames {
        blocks.extend(Block::enhanced(false, 0, *time, data, 0));
    }
    fs::write(&pcapng, blocks).expect("the temporary directory takes a file");
    let mut group = criterion.benchmark_group("file");
    group.throughput(Throughput::Elements(u64::from(FRAMES))).sample_size(20);
    group.bench_function("read pcap", |bench| bench.iter(|| read(&pcap)));
    let open = |path: &Path| fs::File::open(path).unwrap();
    group.bench_function("read pcap by pcap-parser", |bench| {
        bench.iter(|| read_by_pcap_parser(LegacyPcapReader::new(256 << 10, open(&pcap)).unwrap()));
    });
    group.bench_function("read pcapng by pcap-parser", |bench| {
        bench.iter(|| read_by_pcap_parser(PcapNGReader::new(256 << 10, open(&pcapng)).unwrap()));
    });
    group.bench_function("read pcapng", |bench| bench.iter(|| read(&pcapng)));
    group.bench_function("read and decode pcap", |bench| bench.iter(|| read_and_decode(&pcap)));
    group.finish();
}

fn decoding(criterion: &mut Criterion) {
    let plain: Vec<_> = (0..1000).map(frame).collect();
    let vxlan = |inner: &Vec<u8>| frames::ethernet(0x0800, &Ipv4::new(17).bytes(&frames::vxlan(7, inner)));
    let tunnelled: Vec<_> = plain.iter().map(vxlan).collect();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1000));
    let cases = [
        ("ethernet", &plain, Decoder::new(false)),
        ("ethernet by etherparse", &plain, Decoder::new(false).without_shortcuts()),
        ("ethernet with checksums", &plain, Decoder::new(true)),
        ("vxlan", &tunnelled, Decoder::new(false)),
    ];
    for (name, all, mut decoder) in cases {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                for data in all {
                    let original_len = u32::try_from(data.len()).unwrap_or(0);
                    let frame = Frame { time: 0, link: 1, interface: 0, data, original_len };
                    assert!(matches!(black_box(decoder.decode(&frame)), Outcome::Segment(_)));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, files, decoding);
criterion_main!(benches);
