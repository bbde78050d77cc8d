//! Connections that one module hands over to another.

use picotap::pipeline::replay::replay;
use picotap::sandbox::call::Bounds;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::sandbox::{BUILTIN_GUEST, BUILTIN_HTTP2};
use picotap::stream::Side::{First, Second};
use picotap::stream::{EndReason, Side};
use proptest::prelude::*;

use super::feed::{Feed, Step, bytes, cut, inside, module};

const ONE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/turns.wasm"));
const TWO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/turns-two.wasm"));
const TWO_REFORMED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/turns-two-reformed.wasm"));
const THREE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/turns-three.wasm"));

/// What the modules' error records stand for: see `guest/testing/turns.c`.
const BAD_NOTE: &str = "error BadStartLine";
const GAP: &str = "error LostFraming";

fn feed() -> Feed {
    Feed::new(&[module(ONE), module(TWO), module(THREE)])
}

fn end(side: Side) -> Step {
    Step::End(1, side, EndReason::Fin)
}

/// What is said of connection 1, however it is cut, as side, operation and who has read it.
fn operations(steps: &[Step]) -> Vec<String> {
    let mut feed = feed();
    feed.play(steps);
    let lines = feed.said(1).iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert_eq!(feed.notes.faults, [""; 0]);
    for sizes in [1, 2, 3, 5, 1000] {
        for per_slot in [1, 2, 3, 1000] {
            let mut other = self::feed();
            other.play(&cut(steps, &[sizes], per_slot));
            assert_eq!(other.said(1), lines, "cut {sizes}, {per_slot} a slot");
            other.counters();
        }
    }
    let short = |line: &String| line.split(" [").next().unwrap().to_owned();
    lines.iter().map(short).collect()
}

#[test]
fn another_module_goes_on_in_the_middle_of_a_slot() {
    let steps = [bytes(First, "a\n>two\nb\n"), bytes(Second, "c\n"), bytes(First, "d\n"), end(First), end(Second)];
    assert_eq!(
        operations(&steps),
        [
            r##"0 #1 "a" http1"##,
            r##"0 #2 ">two" http1"##,
            r##"0 #3 "b" two"##,
            r##"1 #4 "c" two"##,
            r##"0 #5 "d" two"##,
            "0 error LostHead",
            "1 error LostHead"
        ]
    );
}

#[test]
fn what_waits_on_either_side_is_the_next_modules() {
    let steps = [
        bytes(Second, "wai"),
        bytes(First, "a\n<two\nb"),
        bytes(First, "b\n"),
        bytes(Second, "ted\n"),
        bytes(Second, ">three\nx"),
        bytes(First, "c\n"),
        end(First),
        end(Second),
    ];
    assert_eq!(
        operations(&steps)[..7],
        [
            r##"0 #1 "a" http1"##,
            r##"0 #2 "<two" two"##,
            r##"0 #3 "bb" two"##,
            r##"1 #4 "waited" two"##,
            r##"1 #5 ">three" two"##,
            r##"0 #6 "c" three"##,
            "0 error LostHead"
        ]
    );
}

#[test]
fn a_skip_of_the_other_side_ends_with_the_hand_over() {
    let steps = [
        bytes(Second, "S20\n0123456789"),
        bytes(First, ">two\n"),
        bytes(Second, "rest of it\n"),
        bytes(First, ">http1\n"),
        bytes(Second, "S3\nxyzmore\n"),
        end(First),
        end(Second),
    ];
    assert_eq!(
        operations(&steps)[..6],
        [
            r##"1 #1 "S20" http1"##,
            r##"0 #2 ">two" http1"##,
            r##"1 #3 "rest of it" two"##,
            r##"0 #4 ">http1" two"##,
            r##"1 #5 "S3" http1"##,
            r##"1 #6 "more" http1"##
        ]
    );
}

#[test]
fn what_the_capture_thread_left_out_for_the_module_before_is_a_gap() {
    let mut feed = feed();
    feed.bytes(1, Second, "a\nS100000\n");
    feed.slot();
    assert_eq!(feed.notes.hints, [(1, Second, 100_010)]);
    feed.skipped(1, Second, 40_000, 0);
    feed.bytes(1, First, ">two\n");
    // The hint still stands at the capture thread.
    feed.skipped(1, Second, 60_000, 0);
    feed.bytes(1, Second, "b\nS100\n");
    // One of its own: no gap.
    feed.skipped(1, Second, 100, 0);
    feed.bytes(1, Second, "c\n");
    feed.close(1);
    feed.slot();
    let said: Vec<&str> = feed.said(1).into_iter().filter(|line| line.starts_with("1 ")).collect();
    assert_eq!(
        said,
        [
            r##"1 #1 "a" http1 [0..2] 0x0"##,
            r##"1 #2 "S100000" http1 [2..10] 0x0"##,
            r##"1 #4 "b" two [100010..100012] 0x0"##,
            r##"1 #5 "S100" two [100012..100017] 0x0"##,
            r##"1 #6 "c" two [100117..100119] 0x0"##,
            "1 error LostHead [100119..100119] 0x0"
        ]
    );
    feed.nothing_left();
    // The new module has seen the side before: it sees a gap.
    let mut feed = self::feed();
    feed.bytes(1, Second, "S100000\n");
    feed.bytes(1, First, ">two\n");
    feed.bytes(1, Second, "b\n");
    feed.slot();
    feed.skipped(1, Second, 60_000, 0);
    feed.bytes(1, Second, "c\n");
    feed.close(1);
    feed.slot();
    assert!(feed.said(1).iter().any(|line| line.contains(GAP)), "{:?}", feed.said(1));
    assert!(!feed.said(1).iter().any(|line| line.contains(BAD_NOTE)), "{:?}", feed.said(1));
}

#[test]
fn a_final_event_can_be_handed_over() {
    for order in [">two", "<two", ">two\nrest", "<two\nrest"] {
        let steps = [bytes(First, "a\n"), bytes(First, order), Step::Gap(1, First, 5), bytes(First, "b\n"), end(First)];
        let said = operations(&steps);
        assert!(said.last().unwrap().contains("LostHead"), "{said:?}");
        assert!(said.iter().any(|line| line.ends_with("\"b\" two")), "{order:?}: {said:?}");
        let ended = [bytes(Second, "w"), bytes(First, order), end(First), bytes(Second, "x\n"), end(Second)];
        assert!(
            operations(&ended)
                .contains(&r##"1 #0 "wx" two"##.replace("#0", if order.contains('r') { "#3" } else { "#2" })),
            "{order:?}: {:?}",
            operations(&ended)
        );
    }
}

#[test]
fn four_times_and_not_five() {
    let line = |to: &str| bytes(First, format!(">{to}\n"));
    let all: Vec<Step> = ["two", "http1", "three", "http1"].map(line).into();
    let said = operations(&[&all[..], &[bytes(First, "end\n"), end(First), end(Second)]].concat());
    assert_eq!(said[4], r##"0 #5 "end" http1"##);
    let mut feed = feed();
    feed.play(&[&all[..], &[bytes(First, "one more\n>two\nx\n"), end(First), end(Second)]].concat());
    assert!(feed.notes.faults.iter().all(|name| *name == "reply_hand_over"), "{:?}", feed.notes.faults);
    let event = &feed.notes.quarantined[0];
    assert_eq!((event.bytes.as_slice(), event.format.protocol.name()), (&b"one more\n>two\nx\n"[..], "http1"));
    let event = QuarantinedEvent::from_bytes(&event.to_bytes()).unwrap();
    assert_eq!(replay(&module(ONE), &event).unwrap_err().name(), "reply_hand_over");
    assert_eq!(feed.nothing_left().handed_over, 4);
}

#[test]
fn back_at_once_is_a_fault_and_replays_as_one() {
    let mut feed = feed();
    feed.bytes(2, First, "fine\n");
    feed.bytes(1, First, "a\n=two\nx\n");
    feed.bytes(1, Second, "b\n");
    feed.bytes(2, First, "also fine\n");
    feed.close(1);
    feed.close(2);
    feed.slot();
    assert!(feed.notes.faults.iter().all(|name| *name == "reply_hand_over"), "{:?}", feed.notes.faults);
    assert_eq!(feed.said(2).len(), 4);
    let event = &feed.notes.quarantined[0];
    assert_eq!((event.bytes.as_slice(), event.format.protocol.name()), (&b"=two\nx\n"[..], "two"));
    assert_eq!(replay(&module(TWO), event).unwrap_err().name(), "reply_hand_over");
    assert_eq!(feed.nothing_left().handed_over, 1);
}

#[test]
fn a_fault_in_the_second_module_costs_its_connection_only() {
    let mut feed = feed();
    for number in 1..=10 {
        feed.bytes(number, First, "a\n>two\nb\n");
        feed.bytes(number, Second, "c\nw");
        feed.bytes(number, First, if number == 5 { "!\nd\n" } else { "d\n" });
        feed.bytes(number, Second, "w\n");
    }
    feed.slot();
    for number in 1..=10 {
        feed.bytes(number, First, "e\n");
        feed.close(number);
    }
    feed.slot();
    for number in 1..=10 {
        let lines = feed.said(number);
        assert!(!lines.iter().any(|line| line.contains(BAD_NOTE)), "{lines:?}");
        assert_eq!(lines.len(), if number == 5 { 4 } else { 9 }, "{lines:?}");
    }
    let event = &feed.notes.quarantined[0];
    assert_eq!((event.connection, event.format.protocol.name(), event.row.handed_by), (5, "two", 1));
    assert_eq!(replay(&module(TWO), event).unwrap_err().name(), "trap_unreachable");
    assert_eq!(feed.notes.closed.iter().filter(|(_, how)| *how == EndReason::Fault).count(), 1);
    feed.nothing_left();
}

#[test]
fn a_stream_that_begins_while_a_fault_is_isolated_is_not_taken_for_a_connection_that_has_ended() {
    let mut feed = feed();
    feed.bytes(2, Second, "\n");
    feed.slot();
    feed.bytes(5, Second, "\n");
    feed.bytes(1, Second, "T\n");
    for line in ["=http1\n", "\n", "\n"] {
        feed.bytes(5, First, line);
    }
    feed.close(5);
    // Inside the tunnel state is asked for, and the line is presented again.
    feed.bytes(1, Second, "X\n");
    for (number, side) in [(1, First), (2, Second), (1, First), (2, Second), (1, Second)] {
        feed.bytes(number, side, "\n");
    }
    feed.slot();
    assert_eq!(feed.notes.quarantined.len(), 1);
    assert_eq!(feed.said(inside(1, 1)).len(), 4, "{:?}", feed.notes.lines);
    feed.close(1);
    feed.close(2);
    feed.slot();
    feed.nothing_left();
}

#[test]
fn connections_that_are_handed_over_while_a_fault_is_isolated_go_on_with_their_new_module() {
    // A reply that is wrong blames its last event, so that the others are tried by halves, wherever these fall.
    let run = |bad: u64| {
        let mut feed = feed();
        for number in 1..=9 {
            if number == bad {
                feed.bytes(number, First, "=http1\n");
            } else {
                feed.bytes(number, First, ">two\na\n");
                feed.bytes(number, Second, "b\nc\n");
            }
            feed.close(number);
        }
        feed.slot();
        assert_eq!(feed.notes.quarantined.len(), usize::from(bad != 0), "{bad}");
        feed.nothing_left();
        feed
    };
    let fine = run(0);
    for bad in 1..=9 {
        let feed = run(bad);
        for number in (1..=9).filter(|number| *number != bad) {
            assert_eq!(feed.said(number), fine.said(number), "{number}, with a fault of {bad}");
        }
    }
}

#[test]
fn a_fault_in_the_first_call_after_a_hand_over_replays_with_its_note() {
    let mut feed = feed();
    feed.bytes(1, First, "a\n>two\n!\n");
    feed.close(1);
    feed.slot();
    let event = &feed.notes.quarantined[0];
    assert_eq!(event.row.flags & picotap::abi::row_flag::HANDED_OVER, picotap::abi::row_flag::HANDED_OVER);
    assert_eq!(replay(&module(TWO), event).unwrap_err().name(), "trap_unreachable");
    let mut mended = event.clone();
    mended.bytes = b"!X\nX\n"[1..].to_vec();
    mended.event.len = 4;
    // Two lines, presented again once for the state that the first asks for: the note is there the first time only.
    assert_eq!(replay(&module(TWO), &mended), Ok(2));
    feed.nothing_left();
}

#[test]
fn extra_state_does_not_go_along() {
    let steps = [bytes(First, "X\n>two\nX\n>http1\na\nX\n"), bytes(Second, "X\n"), end(First), end(Second)];
    let said = operations(&steps);
    assert!(!said.iter().any(|line| line.contains(BAD_NOTE)), "{said:?}");
    let mut feed = feed();
    feed.play(&[bytes(First, "X\n"), Step::Slot]);
    assert_eq!(feed.counters().extra, 1024);
    feed.play(&[bytes(First, ">two\n"), Step::Slot]);
    assert_eq!(feed.counters().extra, 0);
    feed.play(&[bytes(First, "X\n"), Step::Slot]);
    assert_eq!((feed.counters().extra, feed.counters().extra_granted), (1024, 2));
    // In a tunnel its module has no more use for it.
    feed.play(&[bytes(First, "T\n"), Step::Slot]);
    assert_eq!((feed.counters().extra, feed.counters().inner), (0, 1));
    feed.play(&[end(First), end(Second)]);
    feed.nothing_left();
}

#[test]
fn a_module_that_is_replaced_gets_the_connections_that_are_handed_over_from_then_on() {
    let mut feed = feed();
    let formats = |feed: &mut Feed| {
        // Each is condemned, and its event says which module had it.
        for number in 1..=3 {
            feed.bytes(number, First, "!\n");
        }
        feed.slot();
        feed.notes.quarantined.iter().map(|event| event.format.state).collect::<Vec<_>>()
    };
    feed.bytes(1, First, ">two\na\n");
    feed.bytes(2, First, "b\n>thr");
    feed.bytes(3, First, "c\n>two\n");
    feed.slot();
    feed.driver.swap(module(TWO_REFORMED)).unwrap();
    feed.driver.swap(module(ONE)).unwrap();
    feed.driver.swap(module(THREE)).unwrap();
    // The first stays with the module that it has; the third comes back to the new one.
    feed.bytes(1, First, "d\n");
    feed.bytes(2, First, "ee\n>two\ne\n");
    feed.bytes(3, First, ">http1\n>two\nf\n");
    feed.slot();
    assert_eq!(feed.notes.faults, [""; 0]);
    for (number, line) in [(1, "\"d\" two"), (2, "\"e\" two"), (3, "\"f\" two")] {
        assert!(feed.said(number).iter().any(|said| said.contains(line)), "{:?}", feed.said(number));
        feed.bytes(number, First, "X\n");
    }
    feed.slot();
    assert_eq!(formats(&mut feed), [3000, 3002, 3002]);
    assert!(!feed.notes.lines.iter().any(|(_, line)| line.contains(BAD_NOTE)));
    for number in 1..=3 {
        feed.close(number);
    }
    feed.slot();
    feed.nothing_left();
}

#[test]
fn unknown_protocols_are_not_handed_over_to() {
    let steps = [bytes(First, ">four\na\n>http1\nb\n"), end(First), end(Second)];
    let said = operations(&steps);
    assert_eq!(said[1], "0 error BadHeader");
    assert!(said.contains(&r##"0 #4 "b" http1"##.to_owned()), "{said:?}");
}

#[test]
fn both_sides_wait_when_a_tunnel_begins_and_the_stream_inside_starts_from_zero() {
    let mut feed = feed();
    feed.bytes(1, Second, "ab\nwai");
    feed.bytes(1, First, "a\nT\nin\nwa");
    feed.slot();
    feed.bytes(1, Second, "ting\n");
    feed.bytes(1, First, "iting\n");
    feed.close(1);
    feed.slot();
    assert_eq!(
        feed.said(inside(1, 1)),
        [
            r##"0 #1 "in" http1 [0..3] 0x0"##,
            r##"1 #2 "waiting" http1 [0..8] 0x0"##,
            r##"0 #3 "waiting" http1 [3..11] 0x0"##,
            "0 error LostHead [11..11] 0x0",
            "1 error LostHead [8..8] 0x0"
        ]
    );
    assert_eq!(feed.notes.closed, [(inside(1, 1), EndReason::Fin), (1, EndReason::Fin)]);
    assert_eq!(feed.nothing_left().inner_begun, 1);
}

#[test]
fn a_tunnel_that_begins_where_the_other_side_skips_or_has_ended() {
    for (order, ended) in [("S30\n0123456789", false), ("S10\n0123456789", false), ("x\n", true)] {
        let mut feed = feed();
        feed.bytes(1, Second, order);
        if ended {
            feed.end(1, Second, EndReason::Fin);
        }
        feed.bytes(1, First, "T\na\n");
        feed.slot();
        if !ended {
            feed.bytes(1, Second, "inside\n");
            feed.end(1, Second, EndReason::Fin);
        }
        feed.end(1, First, EndReason::Fin);
        feed.slot();
        let said = feed.said(inside(1, 1));
        assert!(said.contains(&r##"0 #1 "a" http1 [0..2] 0x0"##), "{said:?}");
        assert_eq!(said.contains(&r##"1 #2 "inside" http1 [0..7] 0x0"##), !ended, "{said:?}");
        assert_eq!(feed.notes.closed.len(), 2);
        feed.nothing_left();
    }
}

#[test]
fn hints_of_streams_inside_name_offsets_of_the_connection() {
    let mut feed = feed();
    feed.bytes(1, Second, "0123456\n");
    feed.bytes(1, First, "T\na\nT\nS100000\n");
    feed.bytes(1, Second, "S50000\n");
    feed.slot();
    assert_eq!(feed.notes.hints, [(1, First, 100_014), (1, Second, 50_015)]);
    feed.skipped(1, First, 100_000, 0);
    feed.skipped(1, Second, 50_000, 0);
    feed.bytes(1, First, "b\n");
    feed.bytes(1, Second, "c\n");
    feed.close(1);
    feed.slot();
    let said = feed.said(inside(1, 2));
    assert!(said.contains(&r##"0 #3 "b" http1 [100008..100010] 0x0"##), "{said:?}");
    assert!(said.contains(&r##"1 #4 "c" http1 [50007..50009] 0x0"##), "{said:?}");
    feed.nothing_left();
}

/// A line of a side, with what may come before it.
fn line() -> impl Strategy<Value = (Side, Option<u64>, String)> {
    let order = prop_oneof![
        6 => "[a-z]{0,12}\n",
        1 => "[a-z]{60,200}\n",
        2 => prop::sample::select(vec![">two\n", ">three\n", ">http1\n", ">four\n", "p\n<two\n", "p\n<three\n", "p\n<http1\n"]).prop_map(str::to_owned),
        1 => Just("T\n".to_owned()),
        1 => Just("X\n".to_owned()),
        1 => (1..40_usize, 0..40_usize).prop_map(|(skip, more)| format!("S{skip}\n{}\n", "z".repeat(skip + more))),
        1 => "[a-z]{1,5}",
    ];
    (any::<bool>(), prop::option::weighted(0.03, 1..9_u64), order)
        .prop_map(|(first, gap, order)| (if first { First } else { Second }, gap, order))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The records depend on what was sent, and not on how it fell into segments, slots and calls.
    #[test]
    fn cuts_change_nothing(
        lines in prop::collection::vec(line(), 1..25),
        cuts in prop::collection::vec(1..30_usize, 1..12),
        per_slot in prop::sample::select(vec![1_usize, 2, 3, 7, 1000]),
        bounds in prop::sample::select(vec![(2048, 4096), (5, 4096), (3, 8), (2048, 8)]),
    ) {
        let mut steps = Vec::new();
        let mut turns = 0;
        for (side, gap, line) in lines {
            // A fifth hand-over would be a fault.
            turns += usize::from(line.contains(['>', '<']));
            if turns > 4 && line.contains(['>', '<']) {
                continue;
            }
            steps.extend(gap.map(|lost| Step::Gap(1, side, lost)));
            steps.push(bytes(side, line));
        }
        steps.extend([end(Second), end(First)]);
        let mut whole = feed();
        whole.play(&steps);
        prop_assert_eq!(&whole.notes.faults, &[""; 0]);
        prop_assert!(!whole.notes.lines.iter().any(|(_, line)| line.contains(BAD_NOTE)), "{:?}", whole.notes.lines);
        whole.nothing_left();
        let (events, records) = bounds;
        let mut other = Feed::bounded(&[module(ONE), module(TWO), module(THREE)], Bounds { events, records, ..Bounds::default() });
        other.play(&cut(&steps, &cuts, per_slot));
        prop_assert_eq!(&other.notes.lines, &whole.notes.lines);
        prop_assert_eq!(&other.notes.closed, &whole.notes.closed);
        other.nothing_left();
    }
}

/// What happens to some connections.
#[derive(Debug, Clone)]
enum Event {
    Line(u64, Side, String),
    Gap(u64, Side),
    End(u64),
    Slot { discard: bool, impatient: bool },
    Swap(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let order = prop_oneof![
        30 => line().prop_map(|(_, _, line)| line),
        1 => prop::sample::select(vec!["!\n", "=two\n", "=http1\n", "<three\n"]).prop_map(str::to_owned),
    ];
    let side = any::<bool>().prop_map(|first| if first { First } else { Second });
    prop_oneof![
        30 => (1..6_u64, side, order).prop_map(|(number, side, line)| Event::Line(number, side, line)),
        1 => (1..6_u64).prop_map(|number| Event::Gap(number, First)),
        1 => (1..6_u64).prop_map(Event::End),
        8 => (prop::bool::weighted(0.1), prop::bool::weighted(0.2)).prop_map(|(discard, impatient)| Event::Slot { discard, impatient }),
        1 => (0..4_usize).prop_map(Event::Swap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Faults, dropped slots and replaced modules: every byte has its account, and nothing is left behind.
    #[test]
    fn whatever_happens_the_accounts_balance(events in prop::collection::vec(event(), 1..120)) {
        let modules = [ONE, TWO, THREE, TWO_REFORMED].map(module);
        let mut feed = Feed::new(&modules[..3]);
        let mut open = std::collections::BTreeMap::new();
        let mut numbers = [1, 2, 3, 4, 5];
        let index = |number: u64| number as usize - 1;
        for event in events {
            match event {
                Event::Line(at, side, line) => {
                    open.insert(numbers[index(at)], ());
                    feed.bytes(numbers[index(at)], side, line);
                }
                Event::Gap(at, side) => feed.gap(numbers[index(at)], side, 7),
                Event::End(at) => {
                    if open.remove(&numbers[index(at)]).is_some() {
                        feed.end(numbers[index(at)], Second, EndReason::Reset);
                        feed.end(numbers[index(at)], First, EndReason::Reset);
                    }
                    numbers[index(at)] += 5;
                }
                Event::Slot { discard: true, .. } => feed.discard(),
                Event::Slot { impatient, .. } => {
                    feed.notes.impatient = impatient;
                    feed.slot();
                }
                Event::Swap(which) => feed.driver.swap(modules[which].clone()).unwrap(),
            }
            feed.counters();
        }
        feed.notes.impatient = false;
        feed.slot();
        for number in open.keys() {
            feed.close(*number);
        }
        feed.slot();
        feed.nothing_left();
        prop_assert!(!feed.notes.lines.iter().any(|(_, line)| line.contains(BAD_NOTE)), "{:?}", feed.notes.lines);
        for event in &feed.notes.quarantined {
            let module = modules.iter().find(|module| module.format == event.format).unwrap();
            let again = replay(module, &QuarantinedEvent::from_bytes(&event.to_bytes()).unwrap());
            prop_assert_eq!(again.unwrap_err().name(), &event.fault);
        }
        // Each connection and each stream inside one is closed once.
        let mut closed: Vec<u64> = feed.notes.closed.iter().map(|(number, _)| *number).collect();
        let all = closed.len();
        closed.sort_unstable();
        closed.dedup();
        prop_assert_eq!(closed.len(), all);
    }
}

/// What the built-in modules say of connection 1, however it is cut.
fn built_in(steps: &[Step]) -> Vec<String> {
    let play = |steps: &[Step]| {
        let mut feed = Feed::new(&[module(BUILTIN_GUEST), module(BUILTIN_HTTP2)]);
        feed.play(steps);
        assert_eq!(feed.notes.faults, [""; 0]);
        feed.counters();
        feed.said(1).iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    let lines = play(steps);
    for size in [1, 5, 14, 1000] {
        for per_slot in [1, 2, 1000] {
            assert_eq!(play(&cut(steps, &[size], per_slot)), lines, "cut {size}, {per_slot} a slot");
        }
    }
    lines
}

#[test]
fn what_a_server_answers_to_part_of_a_preface_is_read() {
    let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let steps = [bytes(First, "PRI * HTTP/2.0\r\n"), bytes(Second, answer), end(Second), end(First)];
    assert_eq!(
        built_in(&steps),
        ["1 #0 answered 400 [0..47] 0x800000 acked Some(16)", "1 #0 end 0/0 lost 0 [47..47] 0x0"]
    );
}

#[test]
fn what_a_server_has_said_before_the_preface_came_is_read_behind_it() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let steps = [
        bytes(First, "HTTP/1.1 200 OK\r\n"),
        bytes(Second, preface),
        bytes(First, "Content-Length: 0\r\n\r\n"),
        end(First),
        end(Second),
    ];
    assert_eq!(
        built_in(&steps),
        ["0 #0 answered 200 [0..38] 0x800000 acked Some(0)", "0 #0 end 0/0 lost 0 [38..38] 0x0"]
    );
}
