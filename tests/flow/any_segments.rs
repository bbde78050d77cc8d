//! Segments in no order at all: what the fuzz target checks, on seeded random input and on every input that ever failed.

use std::path::Path;

use proptest::prelude::*;

#[path = "../../fuzz/checks/segments.rs"]
mod segments;

#[test]
fn segments_that_failed_do_not_fail_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions/segments");
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    for file in files {
        segments::check(&std::fs::read(&file).unwrap());
    }
}

/// A step of the input: mostly a regular segment near the present offsets.
fn step() -> impl Strategy<Value = [u8; 10]> {
    let flags =
        prop_oneof![20 => Just(16), 3 => Just(2), 3 => Just(18), 2 => Just(17), 1 => Just(20), 1 => any::<u8>()];
    let kinds = prop_oneof![2 => 128_u8..160, 2 => 160_u8..192, 3 => 192_u8..224, 2 => 224_u8..=255];
    let kind = prop_oneof![30 => 0_u8..8, 8 => 0_u8..128, 9 => kinds];
    let offset = || prop_oneof![8 => 0_i16..200, 4 => -20_i16..2000, 1 => any::<i16>()];
    let late = prop_oneof![20 => 0_u8..20, 2 => any::<u8>()];
    let missing = prop_oneof![8 => Just(0), 1 => any::<u8>()];
    (kind, flags, offset(), offset(), 0_u8..60, missing, any::<u8>(), late).prop_map(
        |(kind, flags, at, ack, length, missing, content, late)| {
            let ([at0, at1], [ack0, ack1]) = (at.to_le_bytes(), ack.to_le_bytes());
            [kind, flags, at0, at1, ack0, ack1, length, missing, content, late]
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_segments_are_accounted_for(steps in proptest::collection::vec(step(), 0..120)) {
        segments::check(&steps.concat());
    }

    #[test]
    fn any_bytes_are_too(input in proptest::collection::vec(any::<u8>(), 0..1500)) {
        segments::check(&input);
    }
}
