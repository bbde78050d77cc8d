//! Extra state: each connection finds its own, or zeros and the word that it was dropped.

use picotap::pipeline::replay::replay;
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::SandboxCounters;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::sandbox::shadow::Shadow;
use picotap::stream::{EndReason, Side};
use proptest::prelude::*;

use super::feed::{Feed, module};

const STATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/state.wasm"));
const REFORMED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/state-reformed.wasm"));

/// What the module's error records stand for: see `guest/testing/state.c`.
const MISMATCH: &str = "error BadStartLine";
const LOST: &str = "error LostFraming";
const REFUSED: &str = "error HeadTooLong";
const GROWN: &str = "error TooManyHeaders";

/// The first 12 KiB that a connection asks for.
const SMALL: u64 = 12 << 10;

fn count(feed: &Feed, what: &str) -> u64 {
    feed.notes.lines.iter().filter(|(_, line)| line.contains(what)).count() as u64
}

fn feed() -> Feed {
    Feed::new(&[module(STATE)])
}

fn open(feed: &mut Feed, number: u64, orders: &str) {
    feed.bytes(number, Side::First, [&number.to_le_bytes()[..], orders.as_bytes()].concat());
}

#[test]
fn a_connection_asks_for_all_in_four_steps_and_finds_what_it_left() {
    let mut feed = feed();
    open(&mut feed, 1, ".G.");
    feed.slot();
    for _ in 0..5 {
        feed.bytes(1, Side::First, ".G.");
        feed.slot();
    }
    assert_eq!((count(&feed, GROWN), count(&feed, REFUSED), count(&feed, MISMATCH)), (4, 0, 0));
    let counters = feed.counters();
    assert_eq!((counters.extra_granted, counters.extra_refused), (4, 0));
    assert!((63 << 10..=64 << 10).contains(&counters.extra), "{counters:?}");
    feed.close(1);
    feed.slot();
    feed.nothing_left();
}

#[test]
fn what_is_not_to_be_had_is_refused_once_and_is_no_fault() {
    let mut feed = feed();
    feed.driver.limit_extra(20 << 10);
    open(&mut feed, 1, "gGGg.");
    feed.close(1);
    feed.slot();
    assert_eq!((count(&feed, GROWN), count(&feed, REFUSED), count(&feed, MISMATCH)), (2, 2, 0));
    assert_eq!(feed.notes.faults, [""; 0]);
    let counters = feed.nothing_left();
    assert_eq!((counters.extra_granted, counters.extra_refused), (1, 1));
}

#[test]
fn the_longest_unused_is_dropped_and_its_connection_hears_of_it() {
    let mut feed = feed();
    feed.driver.limit_extra(8 * SMALL);
    for number in 1..=8 {
        open(&mut feed, number, "g.");
        feed.slot();
    }
    assert_eq!(feed.counters().extra_dropped, 0);
    // Used again: now it is the last to go.
    feed.bytes(1, Side::First, ".");
    feed.slot();
    for number in 9..=11 {
        open(&mut feed, number, "g.");
        feed.slot();
    }
    let dropped = feed.counters().extra_dropped;
    assert!((2..=3).contains(&dropped), "{dropped}");
    for number in 1..=11 {
        feed.bytes(number, Side::First, ".");
    }
    feed.slot();
    let lost: Vec<u64> = feed.notes.lines.iter().filter(|(_, line)| line.contains(LOST)).map(|(of, _)| *of).collect();
    assert_eq!(lost[..2], [2, 3]);
    assert!(!lost.contains(&1) && !lost.contains(&11), "{lost:?}");
    assert_eq!(count(&feed, MISMATCH), 0);
}

#[test]
fn state_that_is_not_in_use_costs_nothing_and_is_not_dropped() {
    let mut feed = feed();
    feed.driver.limit_extra(8 * SMALL);
    for number in 1..=200 {
        open(&mut feed, number, "g.e.");
        feed.slot();
    }
    // Each has used 12 KiB, and uses none now.
    let counters = feed.counters();
    assert_eq!((counters.extra, counters.extra_dropped, counters.extra_granted), (0, 0, 200));
    let before = feed.driver.memory();
    for number in 201..=220 {
        open(&mut feed, number, "g.");
        feed.slot();
    }
    assert!(feed.driver.memory() - before <= 9 * SMALL + (20 << 10), "{} bytes", feed.driver.memory() - before);
    for number in 1..=200 {
        feed.bytes(number, Side::First, "f.");
    }
    feed.slot();
    let lost: Vec<u64> = feed.notes.lines.iter().filter(|(_, line)| line.contains(LOST)).map(|(of, _)| *of).collect();
    assert!(lost.iter().all(|number| *number > 200), "what holds nothing loses nothing: {lost:?}");
    assert_eq!(count(&feed, MISMATCH), 0);
}

#[test]
fn thousands_of_connections_beyond_the_limit_never_see_each_others_state() {
    const LIMIT: u64 = 4 << 20;
    let mut feed = feed();
    feed.driver.limit_extra(LIMIT);
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    for number in 1..=3000 {
        open(&mut feed, number, ["g", "g.", "G", "", "ge", "."][next() as usize % 6]);
        if next().is_multiple_of(3) {
            let old = 1 + next() % number;
            if feed.driver.knows(old) {
                feed.bytes(old, Side::First, ["..", "G.", "g", "e", "f", "Gg"][next() as usize % 6]);
            }
        }
        if next().is_multiple_of(20) {
            feed.slot();
            // A call may add a megabyte before what is too much is dropped.
            assert!(feed.counters().extra <= LIMIT, "{:?}", feed.counters());
        }
    }
    feed.slot();
    let counters = feed.counters();
    assert!(counters.extra_dropped > 500, "{counters:?}");
    assert!(counters.extra > LIMIT / 2, "{counters:?}");
    let before = count(&feed, LOST);
    for number in 1..=3000 {
        feed.bytes(number, Side::First, ".");
    }
    feed.slot();
    assert!(count(&feed, LOST) > before + 1000);
    assert_eq!((count(&feed, MISMATCH), feed.notes.faults.len()), (0, 0));
    assert!(count(&feed, GROWN) > 2000);
    for number in 1..=3000 {
        feed.close(number);
    }
    feed.slot();
    feed.nothing_left();
}

/// The balance of a run in which this many events were condemned.
fn condemned(feed: &Feed, events: usize) -> SandboxCounters {
    assert_eq!(feed.notes.quarantined.len(), events, "{:?}", feed.notes.faults);
    assert_eq!(count(feed, MISMATCH), 0);
    feed.counters()
}

#[test]
fn a_fault_takes_nobody_elses_state_and_its_event_gives_the_same_fault_again() {
    for (order, fault) in [("!", "trap_unreachable"), ("?", "reply_state"), ("GGGG!", "trap_unreachable")] {
        let mut feed = feed();
        for number in 1..=40 {
            open(&mut feed, number, "g..");
        }
        feed.slot();
        for number in 1..=40 {
            feed.bytes(number, Side::First, if number == 20 { order } else { "." });
            feed.bytes(number, Side::First, ".");
        }
        feed.slot();
        for number in 1..=40 {
            feed.bytes(number, Side::First, "..");
        }
        feed.slot();
        let counters = condemned(&feed, 1);
        // A later event of the row, in the same call, is refused by the module's own check.
        let expected = |name: &&&str| **name == fault || fault == "reply_state" && **name == "refused_input";
        assert!(feed.notes.faults.iter().all(|name| expected(&name)), "{:?}", feed.notes.faults);
        assert_eq!(count(&feed, LOST), 0);
        // Of the condemned connection nothing is kept.
        assert!(counters.extra <= 39 * SMALL, "{counters:?}");
        let event = &feed.notes.quarantined[0];
        assert_eq!(event.row.extra_size > 0, !event.extra.is_empty());
        let read = QuarantinedEvent::from_bytes(&event.to_bytes()).unwrap();
        assert_eq!(&read, event);
        assert_eq!(replay(&module(STATE), &read).unwrap_err().name(), fault);
        for number in 1..=40 {
            feed.close(number);
        }
        feed.slot();
        feed.nothing_left();
    }
}

#[test]
fn a_fault_behind_growth_replays_from_where_the_growth_began() {
    // The event is condemned at its first byte, before it has asked: what it asks for is granted again.
    let mut feed = feed();
    open(&mut feed, 1, "");
    feed.slot();
    feed.bytes(1, Side::First, "g.");
    feed.bytes(1, Side::First, "!");
    feed.close(1);
    feed.slot();
    let event = &feed.notes.quarantined[0];
    let mut earlier = event.clone();
    earlier.bytes = b"Gg!".to_vec();
    earlier.event.len = 3;
    assert_eq!(replay(&module(STATE), &earlier).unwrap_err().name(), "trap_unreachable");
    earlier.bytes = b"Gg.".to_vec();
    assert_eq!(replay(&module(STATE), &earlier), Ok(2));
}

#[test]
fn what_was_lost_is_said_once_in_a_replay_too() {
    // Its output is full again and again, and each time the rest is presented as in a run.
    let mut feed = feed();
    feed.driver.limit_extra(SMALL);
    open(&mut feed, 1, "g.");
    feed.slot();
    open(&mut feed, 2, "g.");
    feed.slot();
    let orders = "g".repeat(9000) + "!";
    feed.bytes(1, Side::First, &orders);
    feed.slot();
    let mut event = feed.notes.quarantined[0].clone();
    // As it was before its first part was done with.
    (event.row.flags, event.extra) = (picotap::abi::row_flag::EXTRA_LOST, vec![]);
    event.bytes = orders.into_bytes();
    event.event.len = event.bytes.len() as u32;
    assert_eq!(replay(&module(STATE), &event).unwrap_err().name(), "trap_unreachable");
    let honest = event.bytes.len() - 1;
    event.bytes.truncate(honest);
    event.event.len -= 1;
    assert_eq!(replay(&module(STATE), &event), Ok(9001));
}

#[test]
fn a_module_of_the_same_format_takes_the_state_over_and_one_of_another_does_not() {
    let (state, reformed) = (module(STATE), module(REFORMED));
    let mut feed = Feed::new(std::slice::from_ref(&state));
    for number in 1..=20 {
        open(&mut feed, number, "g.");
    }
    feed.slot();
    for (to, new) in [(&state, 21), (&reformed, 31), (&state, 41), (&reformed, 51), (&reformed, 61)] {
        feed.driver.swap(to.clone()).unwrap();
        for number in new..new + 10 {
            open(&mut feed, number, "g.");
        }
        for number in 1..new {
            feed.bytes(number, Side::First, if number % 7 == 3 { ".G." } else { "." });
        }
        feed.slot();
        assert_eq!((count(&feed, MISMATCH), count(&feed, LOST), feed.notes.faults.len()), (0, 0, 0));
    }
    for number in 1..=70 {
        feed.bytes(number, Side::First, ".");
        feed.close(number);
    }
    feed.slot();
    assert_eq!(count(&feed, MISMATCH), 0);
    feed.nothing_left();
}

#[test]
fn a_shadow_has_state_of_its_own() {
    let mut feed = feed();
    let shadow = Shadow::new(&[module(REFORMED)], 1, std::time::Duration::from_secs(10)).unwrap();
    feed.shadow = Some(shadow);
    for number in 1..=50 {
        open(&mut feed, number, "g.");
        feed.slot();
        feed.bytes(number, Side::First, "G..");
        feed.slot();
    }
    for number in 1..=50 {
        feed.bytes(number, Side::First, ".");
        feed.close(number);
    }
    feed.slot();
    let shadow = &feed.shadow.as_ref().unwrap().counters;
    assert_eq!((shadow.compared, shadow.faults), (feed.notes.lines.len() as u64, 0));
    assert!(shadow.differences().all(|(_, count)| count == 0), "{shadow:?}");
    assert_eq!(count(&feed, MISMATCH), 0);
}

#[test]
fn a_call_holds_a_megabyte_of_state_and_the_rest_waits_for_the_next() {
    // Sixteen connections with all of their state fill a call.
    let mut feed = feed();
    for number in 1..=400 {
        open(&mut feed, number, "GGGG");
        feed.slot();
    }
    for number in 1..=400 {
        feed.bytes(number, Side::First, ".");
    }
    let before = feed.counters().calls;
    feed.slot();
    assert_eq!(feed.counters().calls - before, 25);
    assert_eq!(count(&feed, MISMATCH), 0);
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy)]
enum Step {
    Orders(u64, &'static str),
    Slot,
    Swap(bool),
    End(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let order = prop::sample::select(vec![".", "g", "G", "e", "f", "..", "gG", "G.G", "!", "?", "g!"]);
    prop_oneof![
        12 => (0..40_u64, order).prop_map(|(number, order)| Step::Orders(number, order)),
        4 => Just(Step::Slot),
        1 => any::<bool>().prop_map(Step::Swap),
        2 => (0..40_u64).prop_map(Step::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nobody_sees_what_is_not_his(
        steps in prop::collection::vec(step(), 1..150),
        limit in prop::sample::select(vec![0, 20 << 10, 100 << 10, 1 << 20]),
        records in prop::sample::select(vec![8, 4096]),
    ) {
        let (state, reformed) = (module(STATE), module(REFORMED));
        let mut feed = Feed::bounded(std::slice::from_ref(&state), Bounds { records, ..Bounds::default() });
        feed.driver.limit_extra(limit);
        // A place among forty is taken by one connection after another.
        let mut numbers: Vec<u64> = (1..=40).collect();
        let mut opened = [false; 40];
        for step in steps {
            match step {
                Step::Orders(at, orders) => {
                    let (number, opened) = (numbers[at as usize], &mut opened[at as usize]);
                    if std::mem::replace(opened, true) {
                        feed.bytes(number, Side::First, orders);
                    } else {
                        open(&mut feed, number, orders);
                    }
                }
                Step::Slot => feed.slot(),
                Step::Swap(first) => feed.driver.swap(if first { state.clone() } else { reformed.clone() }).unwrap(),
                Step::End(at) => {
                    if std::mem::replace(&mut opened[at as usize], false) {
                        feed.end(numbers[at as usize], Side::Second, EndReason::Reset);
                        feed.end(numbers[at as usize], Side::First, EndReason::Reset);
                    }
                    numbers[at as usize] += 40;
                }
            }
            prop_assert!(feed.counters().extra <= limit);
        }
        feed.slot();
        prop_assert_eq!(count(&feed, MISMATCH), 0);
        for (number, _) in numbers.iter().zip(opened).filter(|(_, opened)| *opened) {
            feed.close(*number);
        }
        feed.slot();
        feed.nothing_left();
        for event in &feed.notes.quarantined {
            let parser = if event.format == state.format { &state } else { &reformed };
            prop_assert_eq!(replay(parser, event).unwrap_err().name(), &event.fault);
        }
    }
}
