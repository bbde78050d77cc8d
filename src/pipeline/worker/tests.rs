use std::sync::Mutex;

use crossbeam_channel::bounded;

use super::*;
use crate::batch::{Batcher, CollectSlots};
use crate::daemon::health::Health;
use crate::http::Settings;
use crate::pipeline::capture::WorkerChannel;
use crate::pipeline::pool::{Service, Threads, pool};
use crate::sandbox::BUILTIN_GUEST;
use crate::sandbox::call::Bounds;
use crate::sandbox::engine::Engine;
use crate::stream::{OpenConnection, Position, Sink, UNKNOWN};

/// Notes how it is called, and takes so many slots.
struct Noting {
    notes: Arc<Mutex<Vec<String>>>,
    slots: usize,
}

impl Noting {
    fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }
}

impl Consumer for Noting {
    fn transaction(&mut self, transaction: &Transaction) {
        self.note(format!("{} {}", transaction.conn, transaction.status));
    }
    fn flush(&mut self, more: bool) {
        self.note(format!("flush {more}"));
        self.slots -= 1;
    }
    fn has_reader(&self) -> bool {
        self.slots > 0
    }
    fn close(self: Box<Self>) {
        self.note("close".to_owned());
    }
}

/// A slot for each of the connections, with a request and its response.
#[expect(clippy::vec_box, reason = "slots go from thread to thread as boxes")]
pub(in crate::pipeline) fn slots(connections: &[u64]) -> Vec<Box<Slot>> {
    let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default());
    for number in connections {
        let mut conn = OpenConnection::synthetic(*number);
        let at = Position { offset: 0, peer_acked: UNKNOWN, time: 7 };
        batcher.bytes(&mut conn, Side::First, at, true, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        batcher.bytes(&mut conn, Side::Second, at, true, b"HTTP/1.1 204 No Content\r\n\r\n");
        batcher.flush();
    }
    std::mem::take(&mut batcher.deliverer().0)
}

/// A worker, with room for so many slots in its queue. Its consumer takes `taken` slots, and notes what is done to it.
pub(in crate::pipeline) fn noting(
    room: usize,
    taken: usize,
    notes: &Arc<Mutex<Vec<String>>>,
) -> (Worker, WorkerChannel) {
    let engine = Engine::new(4).unwrap();
    let parser = Arc::new(engine.load(BUILTIN_GUEST).unwrap());
    let shared = Arc::new(Shared::new(1, 1, &[Arc::clone(&parser)], Arc::new(Health::new(0, 1, now()))));
    let (full, slots) = bounded(room);
    let (empty, back) = bounded(1);
    let (hints, _skips) = bounded(1);
    let (quarantined, _quarantine) = bounded(1);
    let queues = WorkerQueues { slots, empty, skips: vec![hints], quarantined };
    let consumer = Noting { notes: Arc::clone(notes), slots: taken };
    let context = HttpContext::new(Settings::default());
    let outputs = WorkerOutputs { context, consumers: vec![Box::new(consumer)], keeper: None, shadow: None };
    let options = WorkerOptions {
        index: 0,
        fault_limit: 0,
        fault_time: Duration::from_millis(500),
        lossless: true,
        tls_filters: Vec::new(),
        patience: Patience::default(),
        shutdown: Shutdown::default(),
    };
    (Worker::new(Driver::new(parser, Bounds::default()).unwrap(), outputs, queues, shared, options), (full, back))
}

/// What a worker does to a consumer that takes `taken` slots, when slots of these connections wait for it.
fn notes(connections: &[u64], taken: usize) -> Vec<String> {
    let notes = Arc::default();
    let (worker, (full, _back)) = noting(connections.len(), taken, &notes);
    let (caller, services) = pool(vec![worker], Threads::Own);
    for slot in slots(connections) {
        full.send(slot).unwrap();
        caller.delivered(0);
    }
    drop(caller);
    services.into_iter().for_each(Service::run);
    assert!(full.send(Box::default()).is_err(), "nobody waits for room in its queue for ever");
    Arc::into_inner(notes).unwrap().into_inner().unwrap()
}

#[test]
fn a_consumer_is_flushed_after_each_slot_and_closed_at_the_end() {
    assert_eq!(notes(&[1, 2], 9), ["1 204", "flush true", "2 204", "flush false", "close"]);
}

#[test]
fn a_worker_stops_when_nobody_takes_what_it_makes() {
    assert_eq!(notes(&[1, 2, 3], 1), ["1 204", "flush true", "close"]);
}
