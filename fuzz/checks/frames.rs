//! What must hold for any frames: every one has exactly one account, the fast path answers as etherparse does, and no
//! payload is longer than its frame could make it.

use picotap::packet::{Decoder, Outcome};
use picotap::source::Frame;

const LINKS: [i32; 17] = [1, 1, 0, 12, 14, 101, 108, 113, 228, 229, 276, 147, 9, 50, 51, 104, 239];

/// The longest payload: that of a jumbo frame here, or of a datagram joined from fragments.
const LONGEST: usize = 65_535;

/// The input is frames, each behind four bytes: link type, bytes that were cut off, length (two bytes, little-endian).
pub(crate) fn check(mut input: &[u8]) {
    let mut fast = Decoder::new(false);
    let mut slow = Decoder::new(false).without_shortcuts();
    let mut verifying = Decoder::new(true);
    let mut time = 0;
    while let Some(([link, cut, low, high], rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (data, rest) = rest.split_at(length);
        input = rest;
        // High values are time that passes, some of it backwards.
        time += if *cut > 250 { (i64::from(*cut) - 253) * 20_000_000_000 } else { 1000 };
        let original_len = u32::try_from(data.len()).unwrap() + u32::from(*cut);
        let link = LINKS[usize::from(*link) % LINKS.len()];
        let frame = Frame { time, link, interface: 0, data, original_len };
        let outcomes = [fast.decode(&frame), slow.decode(&frame)].map(|outcome| format!("{outcome:?}"));
        assert_eq!(outcomes[0], outcomes[1]);
        if let Outcome::Segment(segment) = verifying.decode(&frame) {
            assert!(segment.payload.len() <= LONGEST);
        }
    }
    for decoder in [&mut fast, &mut slow, &mut verifying] {
        assert!(decoder.counts().balanced());
        decoder.finish();
        assert!(decoder.counts().balanced());
        assert_eq!(decoder.counts().fragments_waiting, 0);
    }
    assert_eq!(fast.counts(), slow.counts());
}
