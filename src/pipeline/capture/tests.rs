use crossbeam_channel::bounded;

use super::*;
use crate::batch::{Slot, What};
use crate::clock::now;
use crate::daemon::health::Health;
use crate::pipeline::pool::Caller;
use crate::sandbox::BUILTIN_GUEST;
use crate::sandbox::engine::Engine;
use crate::stream::{ConnectionId, EndReason, OpenConnection, Position, Side, Sink, UNKNOWN};

/// A live producer that is not of packets: it gives bytes step by step as its list says.
struct Plaintext {
    steps: std::vec::IntoIter<Step>,
    conn: OpenConnection,
    offset: u64,
    ticks: u64,
    hints: Vec<(u64, Side, u64)>,
}

impl Plaintext {
    fn new(steps: Vec<Step>) -> Self {
        let conn = OpenConnection::synthetic(1);
        Self { steps: steps.into_iter(), conn, offset: 0, ticks: 0, hints: Vec::new() }
    }
    fn at(&self, time: i64) -> Position {
        Position { offset: self.offset, peer_acked: UNKNOWN, time }
    }
}

impl Producer for Plaintext {
    type Error = &'static str;
    const LIVE: bool = true;

    fn step<S: Sink>(&mut self, most: u64, sink: &mut S) -> Result<Step, &'static str> {
        let Some(step) = self.steps.next() else { return Err("the probe is gone") };
        let Step::Taken { count, time } = step else { return Ok(step) };
        let count = count.min(most);
        for _ in 0..count {
            let at = self.at(time);
            sink.bytes(&mut self.conn, Side::First, at, true, b"x");
            self.offset += 1;
        }
        Ok(Step::Taken { count, time })
    }
    fn tick<S: Sink>(&mut self, _: i64, _: &mut S) {
        self.ticks += 1;
    }
    fn skip(&mut self, id: ConnectionId, side: Side, upto: u64) {
        self.hints.push((id.number, side, upto));
    }
    fn set_external(&mut self, _: u64) {}
    fn counters(&mut self, counters: &mut CaptureCounters) {
        counters.figures.bytes = self.offset;
    }
    fn finish<S: Sink>(&mut self, sink: &mut S) {
        let at = self.at(0);
        sink.end(&mut self.conn, Side::First, at, EndReason::Capture);
    }
    fn errors(&mut self) -> Vec<String> {
        vec![format!("{} ticks, hints {:?}", self.ticks, self.hints)]
    }
}

struct Ran {
    errors: Vec<String>,
    bytes: usize,
    ends: usize,
    shared: Arc<Shared>,
    shutdown: Shutdown,
}

/// Runs a capture thread of one producer and one worker, which takes the slots when all is over.
fn run(left: u64, steps: Vec<Step>, hints: &[Hint]) -> Ran {
    let engine = Engine::new(4).unwrap();
    let parser = Arc::new(engine.load(BUILTIN_GUEST).unwrap());
    let shared = Arc::new(Shared::new(1, 1, &[parser], Arc::new(Health::new(1, 1, now()))));
    let (full, taken) = bounded::<Box<Slot>>(64);
    let (_empty, back) = bounded(1);
    let (hint, skips) = bounded(8);
    hints.iter().for_each(|one| hint.send(*one).unwrap());
    let shutdown = Shutdown::default();
    let capture = Capture {
        index: 0,
        batcher: Batcher::new(1, 5, false, Delivery::new(vec![(full, back)], Caller::default())),
        skips,
        left,
        shared: Arc::clone(&shared),
        shutdown: shutdown.clone(),
        counters: CaptureCounters::default(),
    };
    let errors = capture.run(&mut Plaintext::new(steps));
    let slots: Vec<_> = taken.try_iter().collect();
    let ends = slots.iter().flat_map(|slot| &slot.events).filter(|event| matches!(event.what, What::End(_))).count();
    Ran { errors, bytes: slots.iter().map(|slot| slot.arena.len()).sum(), ends, shared, shutdown }
}

const fn taken(count: u64) -> Step {
    Step::Taken { count, time: 7 }
}

#[test]
fn a_producer_without_packets_is_taken_to_its_end() {
    let hint = Hint::Skip(SkipHint { id: OpenConnection::synthetic(1).info.id(), side: Side::Second, upto: 9 });
    let ran = run(u64::MAX, vec![taken(2), Step::Idle, taken(3), Step::End], &[hint]);
    assert_eq!(ran.errors, ["1 ticks, hints [(1, Second, 9)]"]);
    assert_eq!((ran.bytes, ran.ends, ran.shutdown.why()), (5, 1, None));
    let capture = &ran.shared.captures()[0];
    assert_eq!((capture.figures.bytes, capture.batch.bytes_delivered, capture.down), (5, 5, false));
}

#[test]
fn no_more_is_taken_than_was_asked_for_and_the_run_ends() {
    let ran = run(4, vec![taken(3), taken(3), taken(3)], &[]);
    assert_eq!((ran.bytes, ran.ends, ran.shutdown.why()), (4, 1, Some(Why::Enough)));
}

#[test]
fn a_producer_that_fails_ends_the_run_with_all_that_it_had() {
    let ran = run(u64::MAX, vec![taken(2), Step::Lost("away".to_owned())], &[]);
    assert_eq!(ran.errors, ["the probe is gone", "0 ticks, hints []"]);
    assert_eq!((ran.bytes, ran.ends, ran.shutdown.why()), (2, 1, Some(Why::Failed)));
    assert!(ran.shared.captures()[0].down);
}

#[test]
fn an_input_that_is_back_is_no_longer_down() {
    let (lost, back) = (Step::Lost("away".to_owned()), Step::Back("back".to_owned()));
    let ran = run(u64::MAX, vec![lost, Step::Idle, back, taken(1), Step::End], &[]);
    assert_eq!((ran.bytes, ran.shared.captures()[0].down), (1, false));
}

#[test]
fn what_has_waited_long_enough_is_delivered_before_the_end() {
    // The slot is opened at frame time 7, and the clock is far beyond: it goes to its worker with the idle step.
    let ran = run(u64::MAX, vec![taken(1), Step::Idle, taken(1), Step::End], &[]);
    assert_eq!(ran.shared.captures()[0].batch.slots, 2);
}
