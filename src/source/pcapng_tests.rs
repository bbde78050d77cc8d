//! Tests of the pcapng reader, block by block.

use std::io::Cursor;

use super::super::{Captures, MAX_FRAME};
use crate::packet::frames::Block;

type Seen = (i64, i32, u32, Vec<u8>, u32);

fn read(bytes: &[u8]) -> (Vec<Seen>, Option<String>) {
    let mut captures = Captures::from_reader("x", Box::new(Cursor::new(bytes.to_vec())), None).unwrap();
    let (mut seen, mut error) = (Vec::new(), None);
    loop {
        match captures.next_frame() {
            Ok(Some(f)) => seen.push((f.time, f.link, f.interface, f.data.to_vec(), f.original_len)),
            Ok(None) => return (seen, error),
            Err(found) => error = Some(found.to_string()),
        }
    }
}

fn good(bytes: &[u8]) -> Vec<Seen> {
    let (seen, error) = read(bytes);
    assert_eq!(error, None);
    seen
}

#[test]
fn interfaces_have_their_own_link_type_and_clock() {
    for big in [false, true] {
        let mut file = Block::section(big);
        let seconds = |n: i64| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        file.extend(Block::interface(big, 1, 0, &[(2, b"eth0")]));
        file.extend(Block::interface(big, 101, 0, &[(2, b"tun0"), (9, &[9])]));
        file.extend(Block::interface(big, 276, 0, &[(9, &[0x80 | 10])]));
        file.extend(Block::interface(big, 1, 0, &[(9, &[3]), (14, &seconds(-5))]));
        file.extend(Block::interface(big, 1, 0, &[(9, &[12]), (14, &seconds(5))]));
        for (interface, ticks) in [(0, 1_500_000), (1, 1_500_000_000), (2, 1536), (3, 6500), (4, 1_500_000_000_000)] {
            file.extend(Block::enhanced(big, interface, ticks, b"abc", 90));
        }
        let time = 1_500_000_000;
        let data = b"abc".to_vec();
        assert_eq!(
            good(&file),
            [
                (time, 1, 0, data.clone(), 90),
                (time, 101, 1, data.clone(), 90),
                (time, 276, 2, data.clone(), 90),
                (time, 1, 3, data.clone(), 90),
                (time + 5_000_000_000, 1, 3, data, 90),
            ]
        );
    }
}

#[test]
fn interface_names_are_kept() {
    let mut file = Block::section(false);
    file.extend(Block::interface(false, 1, 0, &[(2, b"eth0")]));
    file.extend(Block::enhanced(false, 0, 0, b"", 0));
    let mut captures = Captures::from_reader("x", Box::new(Cursor::new(file)), None).unwrap();
    assert!(captures.next_frame().unwrap().is_some());
    assert_eq!(captures.interfaces()[0].name.as_deref(), Some("eth0"));
}

#[test]
fn a_new_section_forgets_interfaces_and_may_change_the_byte_order() {
    let mut file = Block::section(false);
    file.extend(Block::interface(false, 1, 0, &[]));
    file.extend(Block::enhanced(false, 0, 1, b"a", 1));
    file.extend(Block::section(true));
    file.extend(Block::interface(true, 101, 0, &[]));
    file.extend(Block::enhanced(true, 0, 2, b"b", 1));
    assert_eq!(good(&file), [(1000, 1, 0, b"a".to_vec(), 1), (2000, 101, 1, b"b".to_vec(), 1)]);
    file.extend(Block::section(true));
    file.extend(Block::enhanced(true, 0, 2, b"b", 1));
    let (seen, error) = read(&file);
    assert_eq!(seen.len(), 2);
    assert!(error.unwrap().contains("interface of the packet is 0, which the section does not describe"));
}

#[test]
fn simple_packets_are_cut_at_the_snap_length_and_take_the_time_before() {
    for big in [false, true] {
        let mut file = Block::section(big);
        file.extend(Block::interface(big, 1, 4, &[]));
        file.extend(Block::enhanced(big, 0, 3, b"abc", 3));
        file.extend(Block::simple(big, b"abcd", 90));
        file.extend(Block::simple(big, b"ab", 2));
        let seen = good(&file);
        assert_eq!(seen[1..], [(3000, 1, 0, b"abcd".to_vec(), 90), (3000, 1, 0, b"ab".to_vec(), 2)]);
    }
}

#[test]
fn obsolete_packet_blocks_are_read() {
    let mut file = Block::section(false);
    file.extend(Block::interface(false, 1, 0, &[]));
    file.extend(Block::packet(false, 0, 3, b"abc", 9));
    assert_eq!(good(&file), [(3000, 1, 0, b"abc".to_vec(), 9)]);
}

#[test]
fn other_blocks_are_passed_over_however_long() {
    let mut file = Block::section(false);
    file.extend(Block::interface(false, 1, 0, &[]));
    file.extend(Block::any(false, 5, &[0; 40]));
    file.extend(Block::any(false, 0x0bad, &vec![0; 5 << 20]));
    file.extend(Block::enhanced(false, 0, 1, b"a", 1));
    assert_eq!(good(&file).len(), 1);
}

#[test]
fn options_that_are_not_whole_do_not_cost_the_packets() {
    for options in [&[9, 0, 200, 0, 1][..], &[9, 0], &[0xff; 40]] {
        let mut file = Block::section(false);
        file.extend(Block::any(false, 1, &[&[1, 0, 0, 0, 0, 0, 0, 0], options].concat()));
        file.extend(Block::enhanced(false, 0, 1, b"a", 1));
        assert_eq!(good(&file).len(), 1);
    }
}

#[test]
fn stamps_that_cannot_be_stay_in_range() {
    for resolution in [0, 6, 9, 12, 127, 0x80, 0xff] {
        let mut file = Block::section(false);
        file.extend(Block::interface(false, 1, 0, &[(9, &[resolution]), (14, &i64::MAX.to_le_bytes())]));
        file.extend(Block::enhanced(false, 0, u64::MAX, b"a", 1));
        assert!(good(&file)[0].0 > 0);
    }
}

#[test]
fn a_file_cut_anywhere_gives_what_is_whole_and_an_error() {
    let mut file = Block::section(false);
    file.extend(Block::interface(false, 1, 0, &[(2, b"eth0")]));
    let mut whole = vec![file.len() - Block::interface(false, 1, 0, &[(2, b"eth0")]).len(), file.len()];
    for n in 0..3_u64 {
        file.extend(Block::enhanced(false, 0, n, b"abcde", 5));
        whole.push(file.len());
    }
    for kept in 4..=file.len() {
        let (seen, error) = read(&file[..kept]);
        let packets = whole.iter().skip(2).filter(|end| **end <= kept).count();
        assert_eq!(seen.len(), packets, "{kept}");
        assert_eq!(error.is_none(), whole.contains(&kept), "{kept}: {error:?}");
        assert!(error.is_none_or(|error| error.contains("is cut off: the block")));
    }
}

#[test]
fn damage_is_said_with_its_place_and_value() {
    let start = || {
        let mut file = Block::section(false);
        file.extend(Block::interface(false, 1, 0, &[]));
        file
    };
    let error = |tail: &[u8]| {
        let mut file = start();
        file.extend(Block::enhanced(false, 0, 1, b"a", 1));
        let offset = file.len();
        file.extend(tail);
        let (seen, error) = read(&file);
        assert_eq!(seen.len(), 1);
        let error = error.unwrap();
        assert!(error.contains(&format!("damaged at byte {offset}:")), "{error}");
        error
    };
    let with = |mut block: Vec<u8>, at: usize, value: u32| {
        block[at..at + 4].copy_from_slice(&value.to_le_bytes());
        block
    };
    let enhanced = || Block::enhanced(false, 0, 1, b"abcd", 4);
    assert!(error(&with(enhanced(), 4, 8)).contains("length of the block is 8, less than the 12"));
    assert!(error(&with(enhanced(), 4, u32::MAX)).contains("more than a frame of 1048576 bytes"));
    assert!(error(&with(enhanced(), 4, 32)).contains("length behind the block is 1684234849, not the same"));
    assert!(error(&with(enhanced(), 32, 40)).contains("length behind the block is 40, not the same"));
    assert!(error(&Block::any(false, 6, &[0; 4])).contains("length of the block is 16, less than the 32"));
    assert!(error(&with(enhanced(), 20, 5)).contains("captured length of the packet is 5, more than its block holds"));
    let too_long = Block::enhanced(false, 0, 1, &vec![0; MAX_FRAME + 1], 0);
    assert!(error(&too_long).contains("is 1048577, more than the 1048576 that a frame can have"));
    assert!(error(&with(enhanced(), 8, 1)).contains("interface of the packet is 1"));
    assert!(error(&Block::any(false, 1, &[1, 0])).contains("less than the 20"));
    assert!(error(&Block::any(false, 3, &[])).contains("less than the 16"));
    assert!(error(&Block::simple(false, b"abcd", 40)).contains("captured length of the packet is 40"));
    assert!(error(&with(Block::section(false), 8, 7)).contains("byte order mark of the section is 7"));
}

#[test]
fn more_interfaces_than_can_be_told_apart_are_damage() {
    let mut file = Block::section(false);
    for _ in 0..5000 {
        file.extend(Block::interface(false, 1, 0, &[]));
    }
    assert!(read(&file).1.unwrap().contains("number of interfaces is 4097"));
}

#[test]
fn the_largest_frame_is_read() {
    let mut file = Block::section(false);
    file.extend(Block::interface(false, 1, 0, &[]));
    file.extend(Block::enhanced(false, 0, 1, &vec![3; MAX_FRAME], 0));
    assert_eq!(good(&file)[0].3.len(), MAX_FRAME);
}
