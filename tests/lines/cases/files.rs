//! Capture files of every common kind.

use super::{Case, after, case};
use crate::support::capture::{Compression, Format, Order};
use crate::support::encapsulation::{Encapsulation, LINK_ETHERNET, LINK_RAW, LINK_SLL2, Layer};
use crate::support::message::{Message, filler};
use crate::support::scene::{File, Scene};

/// Two exchanges on one connection.
fn two(s: &mut Scene) {
    let mut c = s.connection();
    c.open();
    let first = c.exchange(&Message::get("/first"), &Message::ok(&filler(2000)));
    let (q, a) = after();
    let second = c.exchange(&q, &a);
    c.close();
    s.capture(&mut c);
    s.whole(1, 1, &first);
    s.whole(1, 2, &second);
}

fn written(s: &mut Scene, name: &str, format: Format, compression: Compression) {
    s.format(name, format, compression);
    two(s);
}

const SAME: &str = "The same lines whatever the file's kind.";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("file-pcap-big-endian", "pcap of the other byte order.", SAME, |s| {
            written(s, "capture.pcap", Format::Pcap(Order::Big, false), Compression::None);
        }),
        case("file-pcap-nanoseconds", "pcap with stamps in nanoseconds.", SAME, |s| {
            s.step = 100_500;
            written(s, "capture.pcap", Format::Pcap(Order::Little, true), Compression::None);
        }),
        case(
            "file-pcap-nanoseconds-big-endian",
            "pcap with stamps in nanoseconds, of the other byte order.",
            SAME,
            |s| {
                written(s, "capture.pcap", Format::Pcap(Order::Big, true), Compression::None);
            },
        ),
        case("file-pcapng", "pcapng with one interface.", SAME, |s| {
            written(s, "capture.pcapng", Format::Pcapng(Order::Little), Compression::None);
        }),
        case("file-pcapng-big-endian", "pcapng of the other byte order.", SAME, |s| {
            written(s, "capture.pcapng", Format::Pcapng(Order::Big), Compression::None);
        }),
        case(
            "file-pcapng-interfaces",
            "pcapng with three interfaces of different link type, resolution and time offset, a connection on each.",
            "Every packet is read by the rules of its interface.",
            |s| {
                s.format("capture.pcapng", Format::Pcapng(Order::Little), Compression::None);
                s.encapsulations = vec![
                    Encapsulation::new(LINK_ETHERNET, &[Layer::Ethernet]),
                    Encapsulation::new(LINK_RAW, &[]),
                    Encapsulation::new(LINK_SLL2, &[Layer::Sll2]),
                ];
                let mut packets = vec![];
                for i in 0..3 {
                    let mut c = s.connection();
                    c.open();
                    let pair = c.exchange(&Message::get(&format!("/interface/{i}")), &Message::ok(b"hello"));
                    c.close();
                    packets.extend(c.packets.drain(..).enumerate());
                    s.whole(i + 1, 1, &pair);
                }
                packets.sort_by_key(|(position, _)| *position);
                s.packets.extend(packets.into_iter().map(|(_, packet)| packet));
            },
        ),
        case("file-gzip", "pcap compressed with gzip.", SAME, |s| {
            written(s, "capture.pcap.gz", Format::Pcap(Order::Little, false), Compression::Gzip);
        }),
        case("file-zstd", "pcapng compressed with zstd.", SAME, |s| {
            written(s, "capture.pcapng.zst", Format::Pcapng(Order::Little), Compression::Zstd);
        }),
        case(
            "file-series",
            "Three files of different kind, given in order, with a connection that continues from one to the next.",
            "The files are one capture.",
            |s| {
                two(s);
                s.files[0].until = 5;
                s.files[0].name = "1.pcap".into();
                let base = s.files[0].clone();
                s.files.push(File {
                    name: "2.pcapng".into(),
                    format: Format::Pcapng(Order::Big),
                    until: 8,
                    ..base.clone()
                });
                let compression = Compression::Gzip;
                s.files.push(File { name: "3.pcap.gz".into(), compression, until: usize::MAX, ..base });
            },
        ),
        case("file-without-packets", "A pcap file with a header and no packet.", "No line, and no error.", |s| {
            s.files[0].until = 0;
            s.files[0].name = "capture.pcap".into();
        }),
        case(
            "file-cut-in-mid-packet",
            "A pcap file whose last packet is cut in the middle.",
            "Everything before the damage is printed; then an error and exit code 1.",
            |s| {
                two(s);
                s.files[0].damage = 30;
                s.exit = 1;
            },
        ),
        case(
            "file-pcapng-cut",
            "A pcapng file cut in the middle of a block.",
            "Everything before the damage is printed; then an error and exit code 1.",
            |s| {
                written(s, "capture.pcapng", Format::Pcapng(Order::Little), Compression::None);
                s.files[0].damage = 50;
                s.exit = 1;
            },
        ),
        case(
            "file-gzip-cut",
            "A compressed file cut in the middle.",
            "Everything before the damage is printed; then an error and exit code 1.",
            |s| {
                written(s, "capture.pcap.gz", Format::Pcap(Order::Little, false), Compression::Gzip);
                s.files[0].damage = 6;
                s.exit = 1;
            },
        ),
    ]
}
