use super::*;
use proptest::prelude::*;

const NOW: Stamp = Stamp { time: 1, packets: 1 };

fn arrival(offset: u64, data: &[u8]) -> Arrival<'_> {
    Arrival {
        offset,
        data,
        carrier: Carrier { ack: 100, time: 7 },
        came: NOW,
        proved: NEVER,
        missing: 0,
        starts: true,
        tentative: false,
        keep: true,
    }
}

/// Holds runs written as `offset:bytes`, in the order in which they come.
fn holding(runs: &str) -> Assembler {
    let mut store = Assembler::default();
    for run in runs.split_whitespace() {
        add(&mut store, run);
    }
    store
}

fn add(store: &mut Assembler, run: &str) -> Taken {
    let (offset, bytes) = run.split_once(':').unwrap();
    store.insert(&arrival(offset.parse().unwrap(), bytes.as_bytes()))
}

/// What is held, in the same notation; `?` for bytes that are not kept, `~` before what is tentative.
fn held(store: &Assembler) -> String {
    let runs = store.pieces.iter().map(|piece| {
        let bytes = if piece.data.is_empty() {
            "?".repeat(usize::try_from(piece.len).unwrap())
        } else {
            String::from_utf8(piece.data.to_vec()).unwrap()
        };
        format!("{}{}:{bytes}", if piece.tentative { "~" } else { "" }, piece.offset)
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[test]
fn runs_are_kept_in_order() {
    assert_eq!(held(&holding("5:fg 0:ab 9:j")), "0:ab 5:fg 9:j");
}

#[test]
fn a_run_across_others_fills_only_the_holes() {
    let mut store = holding("2:cd 6:gh");
    let taken = add(&mut store, "1:BCDEFGHIJ");
    assert_eq!(held(&store), "1:B 2:cd 4:EF 6:gh 8:IJ");
    assert_eq!(taken, Taken { stored: 5, duplicate: 4, conflicting: 4 });
}

#[test]
fn a_run_inside_another_adds_nothing() {
    let mut store = holding("2:cdefg");
    assert_eq!(add(&mut store, "3:dX"), Taken { stored: 0, duplicate: 2, conflicting: 1 });
    assert_eq!(held(&store), "2:cdefg");
}

#[test]
fn only_the_part_with_the_first_byte_starts_a_segment() {
    let mut store = holding("2:c");
    add(&mut store, "1:bcd");
    add(&mut store, "2:cde");
    let starts: Vec<bool> = store.pieces.iter().map(|piece| piece.starts).collect();
    assert_eq!(held(&store), "1:b 2:c 3:d 4:e");
    assert_eq!(starts, [true, true, false, false]);
}

#[test]
fn a_copy_that_acknowledges_less_lowers_the_acknowledgement_of_what_it_covers() {
    let mut store = holding("0:abcdef");
    store.insert(&Arrival { carrier: Carrier { ack: 40, time: 7 }, ..arrival(2, b"cd") });
    store.insert(&Arrival { carrier: Carrier { ack: 400, time: 7 }, ..arrival(0, b"abcdef") });
    let acks: Vec<u64> = store.pieces.iter().map(|piece| piece.carrier.ack).collect();
    assert_eq!(held(&store), "0:ab 2:cd 4:ef");
    assert_eq!(acks, [100, 40, 100]);
}

#[test]
fn bytes_that_will_be_skipped_are_only_counted() {
    let mut store = Assembler::default();
    for offset in [10, 12, 20, 14] {
        store.insert(&Arrival { keep: false, ..arrival(offset, b"xy") });
    }
    assert_eq!(held(&store), "10:?????? 20:??");
    assert_eq!(store.data_bytes(), 0);
}

#[test]
fn tentative_bytes_give_way() {
    let mut store = Assembler::default();
    store.insert(&Arrival { tentative: true, ..arrival(0, b"abc") });
    store.insert(&arrival(7, b"h"));
    assert_eq!(held(&store), "~0:abc 7:h");
    let replaced = store.replace_tentative(1, b"bXd");
    assert_eq!(replaced, Taken { stored: 0, duplicate: 3, conflicting: 1 });
    assert_eq!(held(&store), "7:h");
}

#[test]
fn tentative_bytes_count_once_they_are_acknowledged() {
    let mut store = Assembler::default();
    store.insert(&Arrival { tentative: true, ..arrival(0, b"abc") });
    store.prove(2, NOW);
    assert_eq!(held(&store), "~0:abc");
    store.prove(3, NOW);
    assert_eq!(held(&store), "0:abc");
}

#[test]
fn an_acknowledgement_proves_every_hole_that_it_covers_whole() {
    let mut store = holding("2:a 4:b 6:c");
    store.prove(4, NOW);
    store.prove(5, Stamp { time: 9, packets: 9 });
    let proved: Vec<Stamp> = store.pieces.iter().map(|piece| piece.proved).collect();
    assert_eq!(proved, [NOW, NOW, NEVER]);
}

#[test]
fn wholly_cut_segments_keep_their_offset() {
    let mut store = holding("8:x");
    store.insert(&Arrival { missing: 3, ..arrival(2, b"") });
    store.insert(&Arrival { missing: 3, ..arrival(2, b"") });
    store.insert(&Arrival { missing: 3, ..arrival(8, b"") });
    assert_eq!(held(&store), "2: 8:x");
    assert_eq!(store.end(), 9);
}

proptest! {
    // The obvious model: a map from each offset to its first byte.
    #[test]
    fn holds_what_a_map_of_bytes_holds(runs in proptest::collection::vec((0_u64..60, 1_usize..20, any::<u8>(), 0_u64..4), 0..60)) {
        let mut store = Assembler::default();
        let mut model: std::collections::BTreeMap<u64, u8> = std::collections::BTreeMap::new();
        for (offset, len, seed, ack) in runs {
            let data: Vec<u8> = (0..len).map(|i| seed.wrapping_add(u8::try_from(i).unwrap()) % 3).collect();
            let mut expected = Taken::default();
            for (at, byte) in (offset..).zip(&data) {
                match model.get(&at) {
                    None => { model.insert(at, *byte); expected.stored += 1; }
                    Some(first) => {
                        expected.duplicate += 1;
                        expected.conflicting += u64::from(first != byte);
                    }
                }
            }
            let carrier = Carrier { ack, time: 0 };
            prop_assert_eq!(store.insert(&Arrival { carrier, ..arrival(offset, &data) }), expected);
            let ends: Vec<(u64, u64)> = store.pieces.iter().map(|piece| (piece.offset, piece.end())).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", ends);
        }
        prop_assert_eq!(store.data_bytes(), model.len() as u64);
        let mut bytes = std::collections::BTreeMap::new();
        while let Some(piece) = store.pop() {
            prop_assert_eq!(piece.len, piece.data.len() as u64);
            bytes.extend((piece.offset..).zip(piece.data.iter().copied()));
        }
        prop_assert_eq!(bytes, model);
        prop_assert_eq!(store.data_bytes(), 0);
    }
}
