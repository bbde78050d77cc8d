//! A capture is a list of frames and the file that they are written to: pcap of either byte order and resolution, pcapng
//! with several interfaces, plain or compressed.

use std::io::{Read, Write};

#[derive(Debug, Clone)]
pub struct Frame {
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    pub link: i32,
    pub bytes: Vec<u8>,
    /// Length on the wire.
    pub original: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Byte order, and whether stamps are in nanoseconds.
    Pcap(Order, bool),
    /// One interface for each link type that occurs, with stamps in microseconds, nanoseconds, 2^-20 s... in turn.
    Pcapng(Order),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

struct Writer {
    order: Order,
    out: Vec<u8>,
}

impl Writer {
    fn u16(&mut self, value: u16) {
        self.out.extend(if self.order == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() });
    }
    fn u32(&mut self, value: u32) {
        self.out.extend(if self.order == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() });
    }
    fn u64(&mut self, value: u64) {
        self.out.extend(if self.order == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() });
    }
    fn padded(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
        self.out.resize(self.out.len().next_multiple_of(4), 0);
    }
    /// A pcapng block of a type around what `body` writes.
    fn block(&mut self, kind: u32, body: impl FnOnce(&mut Self)) {
        let mut inner = Self { order: self.order, out: vec![] };
        body(&mut inner);
        let length = inner.out.len() as u32 + 12;
        self.u32(kind);
        self.u32(length);
        self.out.extend(inner.out);
        self.u32(length);
    }
    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(value.len() as u16);
        self.padded(value);
    }
}

/// The bytes of a capture file.
pub fn file(frames: &[Frame], format: Format, compression: Compression) -> Vec<u8> {
    let plain = match format {
        Format::Pcap(order, nanoseconds) => pcap(frames, order, nanoseconds),
        Format::Pcapng(order) => pcapng(frames, order),
    };
    compress(plain, compression)
}

pub fn compress(plain: Vec<u8>, compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => plain,
        Compression::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(vec![], flate2::Compression::new(6));
            writer.write_all(&plain).unwrap();
            writer.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(&plain[..], 3).unwrap(),
    }
}

/// What `compress` was given, as far as it is there: how two files are compared whose compressor may have changed.
pub fn decompress(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    if bytes.starts_with(&[0x1f, 0x8b]) {
        // A cut file gives an error behind what is good in it.
        drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out));
        out
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::decode_all(bytes).unwrap()
    } else {
        bytes.to_vec()
    }
}

fn pcap(frames: &[Frame], order: Order, nanoseconds: bool) -> Vec<u8> {
    let mut w = Writer { order, out: vec![] };
    w.u32(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
    w.u16(2);
    w.u16(4);
    w.u32(0);
    w.u32(0);
    w.u32(262_144);
    w.u32(frames.first().map_or(1, |f| f.link) as u32);
    for frame in frames {
        let fraction = frame.time.rem_euclid(1_000_000_000) / if nanoseconds { 1 } else { 1000 };
        w.u32(frame.time.div_euclid(1_000_000_000) as u32);
        w.u32(fraction as u32);
        w.u32(frame.bytes.len() as u32);
        w.u32(frame.original);
        w.out.extend(&frame.bytes);
    }
    w.out
}

/// Resolutions of the interfaces of a pcapng file, in turn: if_tsresol (nothing: microseconds), and if_tsoffset.
const RESOLUTIONS: [(Option<u8>, i64); 3] = [(None, 0), (Some(9), 0), (Some(6), 1_000_000_000)];

fn pcapng(frames: &[Frame], order: Order) -> Vec<u8> {
    let mut links: Vec<i32> = vec![];
    for frame in frames {
        if !links.contains(&frame.link) {
            links.push(frame.link);
        }
    }
    let mut w = Writer { order, out: vec![] };
    w.block(0x0a0d_0d0a, |w| {
        w.u32(0x1a2b_3c4d);
        w.u16(1);
        w.u16(0);
        w.u64(u64::MAX);
        w.option(4, b"picotap fixtures");
        w.option(0, b"");
    });
    for (i, link) in links.iter().enumerate() {
        let (resolution, offset) = RESOLUTIONS[i % 3];
        w.block(1, |w| {
            w.u16(*link as u16);
            w.u16(0);
            w.u32(if i == 0 { 0 } else { 65535 });
            w.option(2, format!("if{i}").as_bytes());
            if let Some(resolution) = resolution {
                w.option(9, &[resolution]);
            }
            if offset != 0 {
                let value = if order == Order::Big { offset.to_be_bytes() } else { offset.to_le_bytes() };
                w.option(14, &value);
            }
            w.option(0, b"");
        });
    }
    // Readers must skip a block of unknown type.
    w.block(0x0bad_cafe, |w| w.padded(b"unknown block"));
    for frame in frames {
        let interface = links.iter().position(|l| *l == frame.link).unwrap();
        let (resolution, offset) = RESOLUTIONS[interface % 3];
        let unit = if resolution == Some(9) { 1 } else { 1000 };
        let stamp = (frame.time - offset * 1_000_000_000) / unit;
        w.block(6, |w| {
            w.u32(interface as u32);
            w.u32((stamp >> 32) as u32);
            w.u32(stamp as u32);
            w.u32(frame.bytes.len() as u32);
            w.u32(frame.original);
            w.padded(&frame.bytes);
            w.option(1, b"c");
            w.option(0, b"");
        });
    }
    // Interface statistics, which follow the packets.
    w.block(5, |w| {
        w.u32(0);
        w.u64(0);
    });
    w.out
}
