use proptest::prelude::*;

use super::*;

/// A frame as the kernel would lay it into a block.
#[derive(Clone)]
struct Laid {
    bytes: Vec<u8>,
    original: u32,
    packet_type: u8,
    /// Tag and its protocol.
    vlan: Option<(u16, u16)>,
    seconds: u32,
}

impl Laid {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), original: number(bytes.len()), packet_type: 0, vlan: None, seconds: 1 }
    }
}

fn number(value: usize) -> u32 {
    value.try_into().unwrap()
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A block of these frames, the first header at 48. Frames begin 82 + 4 bytes behind their header, as they do for Ethernet.
fn block(frames: &[Laid]) -> Vec<u8> {
    let mut block = vec![0; 8192];
    put(&mut block, 12, &number(frames.len()).to_ne_bytes());
    put(&mut block, 16, &48_u32.to_ne_bytes());
    let mut at = 48;
    for (index, frame) in frames.iter().enumerate() {
        let next = (86 + frame.bytes.len()).next_multiple_of(16);
        let told = if index + 1 == frames.len() { 0 } else { number(next) };
        let tag = frame.vlan.map_or(0, |(tag, _)| u32::from(tag));
        let protocol = frame.vlan.map_or(0, |(_, protocol)| protocol);
        let status: u32 = 1 | if frame.vlan.is_some() { libc::TP_STATUS_VLAN_VALID } else { 0 };
        for (offset, value) in
            [told, frame.seconds, 5, number(frame.bytes.len()), frame.original, status].iter().enumerate()
        {
            put(&mut block, at + 4 * offset, &value.to_ne_bytes());
        }
        put(&mut block, at + 24, &86_u16.to_ne_bytes());
        put(&mut block, at + 32, &tag.to_ne_bytes());
        put(&mut block, at + 36, &protocol.to_ne_bytes());
        block[at + 58] = frame.packet_type;
        put(&mut block, at + 86, &frame.bytes);
        at += next;
    }
    block
}

const ALL: Wanted = Wanted { direction: Direction::InOut, loopback: false, snaplen: 262_144, start: i64::MIN };

/// Time, bytes and original length of each frame that is given, and what became of all.
fn walk(block: &mut [u8], wanted: &Wanted) -> (Vec<(i64, Vec<u8>, u32)>, Lent) {
    let mut walk = Walk::new(block);
    let mut frames = vec![];
    while let Some(span) = walk.next(block, wanted) {
        let bytes = block[span.start..][..span.len as usize].to_vec();
        frames.push((span.time, bytes, span.original_len));
    }
    (frames, walk.lent)
}

#[test]
fn headers_are_laid_out_as_the_kernel_s() {
    assert_eq!(offset_of!(BlockHeader, status), 8);
    assert_eq!(offset_of!(FrameHeader, start), offset_of!(libc::tpacket3_hdr, tp_mac));
    assert_eq!(offset_of!(FrameHeader, vlan_tag), offset_of!(libc::tpacket3_hdr, hv1) + 4);
    let address = offset_of!(FrameHeader, family);
    assert_eq!(offset_of!(FrameHeader, packet_type), address + offset_of!(libc::sockaddr_ll, sll_pkttype));
    assert_eq!(HEADER, address + size_of::<libc::sockaddr_ll>());
}

#[test]
fn frames_come_in_order_with_their_nanoseconds() {
    let cut = Laid { original: 9000, seconds: 2, ..Laid::new(b"second, which the kernel cut") };
    let (frames, lent) = walk(&mut block(&[Laid::new(b"first"), cut.clone()]), &ALL);
    assert_eq!(frames, [(1_000_000_005, b"first".to_vec(), 5), (2_000_000_005, cut.bytes, 9000)]);
    assert_eq!(lent, Lent { frames: 2, ..Lent::default() });
    assert_eq!(walk(&mut block(&[]), &ALL), (vec![], Lent::default()));
}

#[test]
fn directions_times_and_lengths_are_chosen() {
    let sent = Laid { packet_type: libc::PACKET_OUTGOING, seconds: 7, ..Laid::new(b"sent") };
    let frames = [Laid::new(b"received"), sent];
    let chosen = |wanted: Wanted| {
        let (frames, lent) = walk(&mut block(&frames), &wanted);
        (frames.into_iter().map(|(_, bytes, _)| String::from_utf8(bytes).unwrap()).collect::<Vec<_>>(), lent.early)
    };
    let direction = |direction, loopback| chosen(Wanted { direction, loopback, ..ALL }).0;
    assert_eq!(direction(Direction::InOut, false), ["received", "sent"]);
    assert_eq!(direction(Direction::In, false), ["received"]);
    assert_eq!(direction(Direction::Out, false), ["sent"]);
    assert_eq!(direction(Direction::InOut, true), ["received"], "it came as received, too");
    assert_eq!(chosen(Wanted { start: 7_000_000_000, ..ALL }), (vec!["sent".to_owned()], 1));
    assert_eq!(chosen(Wanted { snaplen: 3, ..ALL }).0, ["rec", "sen"]);
}

#[test]
fn a_tag_is_put_back_behind_the_addresses() {
    let plain = Laid::new(b"destinsource\x08\x00packet");
    let of = |vlan| Laid { vlan: Some(vlan), ..plain.clone() };
    let frames = [of((0x6005, 0x88a8)), plain.clone(), of((5, 0)), Laid { vlan: Some((5, 0)), ..Laid::new(b"short") }];
    let (seen, _) = walk(&mut block(&frames), &ALL);
    let seen: Vec<_> = seen.into_iter().map(|(_, bytes, original)| (bytes, original)).collect();
    assert_eq!(
        seen,
        [
            (b"destinsource\x88\xa8\x60\x05\x08\x00packet".to_vec(), 24),
            (plain.bytes.clone(), 20),
            (b"destinsource\x81\x00\x00\x05\x08\x00packet".to_vec(), 24),
            (b"short".to_vec(), 5),
        ]
    );
    // Of a snap length of 16 the tag takes four.
    let (seen, _) = walk(&mut block(&frames[..1]), &Wanted { snaplen: 16, ..ALL });
    assert_eq!(seen[0].1, b"destinsource\x88\xa8\x60\x05");
}

#[test]
fn what_cannot_be_ends_the_block_and_is_counted() {
    let good = block(&[Laid::new(b"first"), Laid::new(b"second"), Laid::new(b"third")]);
    // The second frame's header is at 144.
    let spoilt = |at: usize, value: &[u8]| {
        let mut block = good.clone();
        put(&mut block, at, value);
        let (frames, lent) = walk(&mut block, &ALL);
        assert_eq!(frames.len() as u64, lent.frames);
        (lent.frames, lent.damaged)
    };
    let most = u32::MAX.to_ne_bytes();
    assert_eq!(spoilt(0, &[0]), (3, 0));
    assert_eq!(spoilt(144 + 12, &most), (1, 2), "length");
    assert_eq!(spoilt(144 + 12, &8192_u32.to_ne_bytes()), (1, 2), "length beyond the block");
    assert_eq!(spoilt(144 + 24, &71_u16.to_ne_bytes()), (1, 2), "it begins in its header");
    assert_eq!(spoilt(144 + 24, &u16::MAX.to_ne_bytes()), (1, 2), "it begins behind the block");
    for next in [0, 16, 91, 8192, u32::MAX] {
        let (frames, damaged) = spoilt(144, &next.to_ne_bytes());
        assert_eq!(frames + damaged, 3, "the next is {next} bytes away");
        assert!(damaged > 0);
    }
    assert_eq!(spoilt(16, &most), (0, 3), "the first is nowhere");
    assert_eq!(spoilt(12, &most).0, 2, "more frames than there are: behind the third is none");
    assert_eq!(walk(&mut [0; 10], &ALL), (vec![], Lent::default()));
}

proptest! {
    /// Whatever a block holds, frames are in it, there are no more than can be, and it ends.
    #[test]
    fn any_block_is_walked(
        count in 0_u32..6, first in 0_u32..200, words in proptest::collection::vec((0_usize..100, any::<u32>()), 0..8),
        small in proptest::collection::vec((0_usize..100, 0_u32..400), 0..8),
    ) {
        let mut block = block(&[Laid::new(b"destinsource\x08\x00one"), Laid::new(b"two"), Laid::new(b"three")]);
        block.truncate(600);
        put(&mut block, 12, &count.to_ne_bytes());
        put(&mut block, 16, &first.to_ne_bytes());
        for (at, word) in words.into_iter().chain(small) {
            put(&mut block, 48 + 4 * at, &word.to_ne_bytes());
        }
        let (frames, lent) = walk(&mut block, &ALL);
        prop_assert_eq!(lent.frames + lent.damaged, u64::from(count));
        prop_assert_eq!(frames.len() as u64, lent.frames);
    }
}
