//! Tests of the readers: whole files in, frames and errors out.

use std::io::{Cursor, Write};

use proptest::prelude::*;

use super::*;
use crate::packet::frames::{self, Block, Tcp};
use crate::source::MAX_FRAME;

/// What a test looks at of a frame.
type Seen = (i64, i32, u32, Vec<u8>, u32);

/// Everything that a file gives: frames, and the errors in between as text.
fn read_all(captures: &mut Captures) -> (Vec<Seen>, Vec<String>) {
    let (mut seen, mut errors) = (Vec::new(), Vec::new());
    loop {
        match captures.next_frame() {
            Ok(Some(f)) => seen.push((f.time, f.link, f.interface, f.data.to_vec(), f.original_len)),
            Ok(None) => return (seen, errors),
            Err(error) => errors.push(error.to_string()),
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<Seen>, Vec<String>) {
    match Captures::from_reader("x", Box::new(Cursor::new(bytes.to_vec())), None) {
        Ok(mut captures) => read_all(&mut captures),
        Err(error) => (Vec::new(), vec![error.to_string()]),
    }
}

fn good(bytes: &[u8]) -> Vec<Seen> {
    let (seen, errors) = read(bytes);
    assert_eq!(errors, Vec::<String>::new());
    seen
}

fn two_frames() -> Vec<u8> {
    frames::pcap(1, &[(1_500_000, b"one".to_vec(), 3), (2_000_001, b"three".to_vec(), 90)])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_pcap_file_gives_its_frames() {
    let expected = [(1_500_000_000, 1, 0, b"one".to_vec(), 3), (2_000_001_000, 1, 0, b"three".to_vec(), 90)];
    assert_eq!(good(&two_frames()), expected);
}

#[test]
fn pcap_files_of_both_byte_orders_and_every_magic_are_read() {
    for (magic, unit, extra) in [(0xa1b2_c3d4_u32, 1000, 0), (0xa1b2_3c4d, 1, 0), (0xa1b2_cd34, 1000, 8)] {
        for big in [false, true] {
            let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
            let mut file: Vec<u8> = [magic, 0, 0, 0, 65535, 113].into_iter().flat_map(word).collect();
            file.extend([7, 123, 2, 60].into_iter().flat_map(word));
            file.extend(vec![0xee; extra]);
            file.extend(b"ab");
            assert_eq!(good(&file), [(7_000_000_000 + 123 * unit, 113, 0, b"ab".to_vec(), 60)]);
            assert!(begins_capture(word(magic)));
        }
    }
}

#[test]
fn a_pcap_file_without_frames_is_no_error() {
    assert_eq!(good(&frames::pcap(1, &[])), []);
}

#[test]
fn a_file_may_come_in_any_pieces() {
    struct Dribble(Cursor<Vec<u8>>, usize);
    impl Read for Dribble {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = into.len().min(self.1);
            self.0.read(&mut into[..length])
        }
    }
    let frames: Vec<_> = (0..300_u16).map(|n| (u64::from(n), vec![7; usize::from(n) * 11], 4000)).collect();
    let file = frames::pcap(1, &frames);
    for bytes in [file.clone(), gzip(&file), zstd::encode_all(file.as_slice(), 1).unwrap()] {
        for size in [1, 7, 4096] {
            let reader = Box::new(Dribble(Cursor::new(bytes.clone()), size));
            let mut captures = Captures::from_reader("x", reader, None).unwrap();
            assert_eq!(read_all(&mut captures).0, good(&file));
            assert_eq!(captures.progress(), ReadProgress { bytes: bytes.len() as u64, total: None });
        }
    }
}

#[test]
fn the_largest_frame_is_read() {
    let big = vec![9; MAX_FRAME];
    let file = frames::pcap(1, &[(1, b"a".to_vec(), 1), (2, big.clone(), MAX_FRAME), (3, b"b".to_vec(), 1)]);
    let seen = good(&file);
    assert_eq!((seen.len(), &seen[1].3), (3, &big));
}

#[test]
fn compressed_files_are_read_like_plain_ones() {
    let plain = two_frames();
    let (head, tail) = plain.split_at(40);
    assert_eq!(good(&gzip(&plain)), good(&plain));
    assert_eq!(good(&[gzip(head), gzip(tail)].concat()), good(&plain), "two members");
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    assert_eq!(good(&zstd(&plain)), good(&plain));
    assert_eq!(good(&[zstd(head), zstd(tail)].concat()), good(&plain), "two frames");
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&plain)].concat();
    assert_eq!(good(&skippable), good(&plain), "a skippable frame first");
}

#[test]
fn a_compressed_file_that_is_cut_gives_what_was_good() {
    // Noise, so that the cut is near the end of the frames too.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let frames: Vec<_> = (0..3000).map(|n| (n, (0..200).map(|_| noise()).collect(), 200)).collect();
    let file = frames::pcap(1, &frames);
    for (bytes, least) in [(gzip(&file), 2500), (zstd::encode_all(file.as_slice(), 1).unwrap(), 1500)] {
        let (seen, errors) = read(&bytes[..bytes.len() - 1000]);
        assert!(seen.len() > least, "{}", seen.len());
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("data is damaged or cut off after"), "{errors:?}");
    }
}

#[test]
fn damaged_compression_costs_only_what_is_near_the_damage() {
    let frames: Vec<_> = (0_u64..20_000).map(|n| (n, n.to_be_bytes().repeat(20), 160)).collect();
    let mut bytes = gzip(&frames::pcap(1, &frames));
    let clean = good(&bytes);
    let middle = bytes.len() / 2;
    // A run of ones is no valid code.
    bytes[middle..middle + 300].fill(0xff);
    let (seen, errors) = read(&bytes);
    assert!(seen.len() > 9_900, "{}", seen.len());
    // Damage is found a little behind where it is: not all of the last frames are right.
    assert!(seen[..9_500] == clean[..9_500]);
    assert_eq!(errors.len(), 1);
}

#[test]
fn what_is_no_capture_is_said_clearly() {
    let error = |bytes: &[u8]| {
        let (seen, errors) = read(bytes);
        assert_eq!((seen.len(), errors.len()), (0, 1));
        errors.into_iter().next().unwrap()
    };
    assert_eq!(error(b""), "x: is empty (0 bytes): no capture was written to it");
    assert_eq!(
        error(b"GET / HTTP/1.1\r\n"),
        "x: is not a capture file: it starts with 47 45 54 20 2f 20 48 54 (\"GET / HT\"); pcap and pcapng are read, \
         also compressed with gzip or zstd"
    );
    assert!(error(&gzip(b"text")).contains("not a capture file: it starts with 74 65 78 74 (\"text\")"));
    assert!(error(&gzip(b"")).contains("is empty"));
    assert!(error(b"\xfd7zXZ\0..").contains("compressed with xz"));
    assert!(error(b"BZh91AY").contains("compressed with bzip2"));
    assert!(error(&two_frames()[..20]).contains("the file header at byte 0 needs 24 bytes, 20 are there"));
}

#[test]
fn a_pcap_file_cut_anywhere_gives_what_is_whole_and_says_where() {
    let file = two_frames();
    let (first, second) = (24 + 16 + 3, file.len());
    for kept in 24..file.len() {
        let (seen, errors) = read(&file[..kept]);
        assert_eq!(seen.len(), usize::from(kept >= first));
        if kept == 24 || kept == first {
            assert_eq!(errors.len(), 0);
        } else {
            let start = if kept < first { 24 } else { first };
            assert!(errors[0].contains(&format!("at byte {start} needs")), "{errors:?}");
            assert!(errors[0].contains(&format!("{} are there", kept - start)), "{errors:?}");
        }
    }
    let (_, errors) = read(&file[..second - 1]);
    assert_eq!(errors, ["x: is cut off: the record at byte 43 needs 21 bytes, 20 are there; all before it was read"]);
}

#[test]
fn an_absurd_length_is_damage() {
    let mut file = two_frames();
    file[43 + 8..43 + 12].fill(0xff);
    let (seen, errors) = read(&file);
    assert_eq!(seen.len(), 1);
    assert_eq!(
        errors,
        ["x: is damaged at byte 43: captured length of the record is 4294967295, more than the 1048576 that a frame \
          can have; all before it was read"]
    );
}

#[test]
fn an_original_length_below_the_captured_one_is_mended() {
    let file = frames::pcap(1, &[(0, b"abcdef".to_vec(), 2)]);
    assert_eq!(good(&file)[0].4, 6);
}

#[test]
fn files_are_read_in_order_and_an_error_ends_only_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let one = |data: &[u8], link| frames::pcap(link, &[(0, data.to_vec(), data.len())]);
    let paths = [
        write("a", &one(b"a", 1)),
        write("cut", &two_frames()[..50]),
        dir.path().join("absent"),
        write("text", b"text, not a capture"),
        write("b", &gzip(&one(b"b", 101))),
        write("c", &one(b"c", 1)),
    ];
    let mut captures = Captures::open(&paths, None);
    let total = captures.progress().total;
    let (seen, errors) = read_all(&mut captures);
    let data: Vec<_> = seen.iter().map(|(_, link, interface, data, _)| (data.as_slice(), *link, *interface)).collect();
    assert_eq!(data, [(&b"a"[..], 1, 0), (b"one", 1, 0), (b"b", 101, 1), (b"c", 1, 0)]);
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (error, name, what) in [
        (&errors[0], "cut", "is cut off"),
        (&errors[1], "absent", "cannot be opened: No such file"),
        (&errors[2], "text", "is not a capture file"),
    ] {
        assert!(error.starts_with(&paths[0].with_file_name(name).display().to_string()), "{error}");
        assert!(error.contains(what), "{error}");
    }
    assert_eq!(captures.interfaces().len(), 2);
    let sizes = paths.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum();
    assert_eq!(total, Some(sizes));
    // The file that is no capture was not counted as read: it was never begun.
    assert_eq!(captures.progress().bytes, sizes - 19);
}

#[test]
fn a_filter_chooses_frames_by_link_type() {
    let to = |port| Tcp { destination: (Tcp::v4(b"").destination.0, port), ..Tcp::v4(b"x") };
    let mut file = Block::section(false);
    file.extend(Block::interface(false, 1, 0, &[]));
    file.extend(Block::interface(false, 101, 0, &[]));
    for port in [80, 81] {
        file.extend(Block::enhanced(false, 0, 1, &to(port).frame(), 0));
        file.extend(Block::enhanced(false, 1, 1, &to(port).packet(), 0));
    }
    let reader = Box::new(Cursor::new(file));
    let mut captures = Captures::from_reader("x", reader, Some(Filter::new("tcp dst port 81"))).unwrap();
    let (seen, errors) = read_all(&mut captures);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(seen.iter().map(|frame| frame.1).collect::<Vec<_>>(), [1, 101]);
    assert_eq!(seen[0].3, to(81).frame());
    assert_eq!(captures.filtered(), 2);
}

#[test]
fn an_expression_that_does_not_compile_is_said_once() {
    let reader = Box::new(Cursor::new(two_frames()));
    let mut captures = Captures::from_reader("x", reader, Some(Filter::new("tcp prot 80"))).unwrap();
    let (seen, errors) = read_all(&mut captures);
    assert_eq!((seen.len(), errors.len(), captures.filtered()), (0, 1, 2));
    let start = "filter expression \"tcp prot 80\" cannot be used on link type 1: ";
    assert!(errors[0].starts_with(start) && errors[0].len() > start.len(), "{errors:?}");
}

#[test]
fn captures_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Captures>();
    is_send::<Error>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn libpcap_reads_the_same_frames(
        all in proptest::collection::vec((0_u64..1 << 50, proptest::collection::vec(any::<u8>(), 0..300), 0_usize..400), 0..40),
        pcapng: bool,
    ) {
        let mut bytes = frames::pcap(1, &all);
        if pcapng {
            bytes = [Block::section(true), Block::interface(true, 1, 0, &[(2, b"eth0"), (9, &[6])])].concat();
            for (time, data, original) in &all {
                bytes.extend(Block::enhanced(true, 0, *time, data, *original));
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let mut theirs = Vec::new();
        let mut capture = pcap::Capture::from_file_with_precision(file.path(), pcap::Precision::Nano).unwrap();
        while let Ok(packet) = capture.next_packet() {
            let time = packet.header.ts.tv_sec * 1_000_000_000 + packet.header.ts.tv_usec;
            // libpcap gives an original length below the captured one as it stands in the file.
            let original = packet.header.len.max(packet.header.caplen);
            theirs.push((time, 1, 0, packet.data.to_vec(), original));
        }
        prop_assert_eq!(good(&bytes), theirs);
    }
}
