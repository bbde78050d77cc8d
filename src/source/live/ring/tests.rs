use super::*;

/// A block whose only frame has these bytes.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 48 + 86];
    block[12..16].copy_from_slice(&1_u32.to_ne_bytes());
    block[16..20].copy_from_slice(&48_u32.to_ne_bytes());
    let len = u32::try_from(bytes.len()).unwrap().to_ne_bytes();
    block[48 + 12..][..4].copy_from_slice(&len);
    block[48 + 16..][..4].copy_from_slice(&len);
    block[48 + 24..][..2].copy_from_slice(&86_u16.to_ne_bytes());
    block.extend(bytes);
    block
}

fn ring(blocks: usize) -> Ring {
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap().into();
    let wanted = Wanted { direction: Direction::InOut, loopback: false, snaplen: 100, start: i64::MIN };
    Ring { socket, memory: Memory::without_socket(4096, blocks), next: 0, wanted, received: 0, dropped: 0, before: 0 }
}

#[test]
fn the_fill_is_the_number_of_blocks_that_wait() {
    let mut ring = ring(5);
    let mut written = 0;
    for (more, read) in [(0, 0), (2, 0), (2, 3), (4, 0), (0, 5), (3, 3)] {
        for _ in 0..more {
            ring.memory.fill(written % 5, &block(format!("frame {written}").as_bytes()));
            written += 1;
        }
        let waiting = ring.fill();
        let mut seen = vec![];
        for _ in 0..read {
            let lent = ring.read(3, &mut |frames| {
                assert_eq!(frames.len(), 1);
                seen.extend(frames.map(|frame| (String::from_utf8(frame.data.to_vec()).unwrap(), frame.interface)));
            });
            assert_eq!(lent, Some(Lent { frames: 1, ..Lent::default() }));
        }
        let first = written - waiting.0;
        assert_eq!(seen, (first..first + read).map(|number| (format!("frame {number}"), 3)).collect::<Vec<_>>());
        assert_eq!(ring.fill(), (waiting.0 - read, 5));
    }
    assert_eq!(ring.fill(), (0, 5));
    assert!(ring.read(0, &mut |_| unreachable!("there is none")).is_none());
}

#[test]
fn blocks_without_a_wanted_frame_are_given_back_unseen() {
    let mut ring = ring(3);
    ring.wanted.direction = Direction::Out;
    (0..3).for_each(|index| ring.memory.fill(index, &block(b"received")));
    assert!(ring.read(0, &mut |_| unreachable!("none is wanted")).is_none());
    assert_eq!(ring.fill(), (0, 3));
}

#[test]
fn a_block_that_cannot_be_read_counts_as_dropped() {
    let mut ring = ring(2);
    let mut spoilt = block(b"frame");
    spoilt[48 + 12..][..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    ring.memory.fill(0, &spoilt);
    assert!(ring.read(0, &mut |_| unreachable!("it is nowhere")).is_none());
    assert_eq!((ring.dropped, ring.fill()), (1, (0, 2)));
}
