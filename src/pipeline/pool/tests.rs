use std::thread;

use super::*;
use crate::batch::Deliver;
use crate::pipeline::capture::Delivery;
use crate::pipeline::worker::tests::{noting, slots};

type Notes = Arc<Mutex<Vec<String>>>;

/// So many workers, the capture thread's way to them, and what their consumers note.
fn workers(count: usize, threads: Threads<'_>) -> (Delivery, Vec<Service>, Vec<Notes>) {
    let notes: Vec<Notes> = (0..count).map(|_| Arc::default()).collect();
    let (workers, channels) = notes.iter().map(|notes| noting(2, usize::MAX, notes)).unzip();
    let (caller, services) = pool(workers, threads);
    (Delivery::new(channels, caller), services, notes)
}

fn noted(notes: &Notes, what: &str) -> Vec<u64> {
    let notes = notes.lock().unwrap();
    notes.iter().filter(|note| note.ends_with(what)).filter_map(|note| note.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn where_nobody_runs_a_worker_the_capture_thread_does() {
    let (_running, ended) = bounded(0);
    let (mut delivery, services, notes) = workers(2, Threads::InPlaceOfCapture(&ended));
    for slot in slots(&[1, 2, 3, 4, 5]) {
        assert!(delivery.deliver(1, slot, true).is_ok(), "two have room, and no thread takes any");
    }
    assert_eq!(noted(&notes[1], " 204"), [1, 2, 3], "in their order, and only for room");
    drop(delivery);
    services.into_iter().take(1).for_each(Service::run);
    assert_eq!(noted(&notes[1], " 204"), [1, 2, 3, 4, 5]);
    for notes in &notes {
        assert_eq!(notes.lock().unwrap().iter().filter(|note| *note == "close").count(), 1);
    }
}

#[test]
fn each_slot_is_taken_once_and_in_order_whoever_takes_it() {
    let (running, ended) = bounded(0);
    let mut running = Some(running);
    for threads in [Threads::Own, Threads::Shared, Threads::InPlaceOfCapture(&ended)] {
        let (mut delivery, services, notes) = workers(3, threads);
        let running_threads: Vec<_> = services.into_iter().map(|service| thread::spawn(|| service.run())).collect();
        let connections: Vec<u64> = (1..=300).collect();
        for (number, slot) in connections.iter().zip(slots(&connections)) {
            // Mostly for one worker.
            let worker = if number % 5 == 0 { 0 } else { 1 + usize::from(number % 7 == 0) };
            assert!(delivery.deliver(worker, slot, true).is_ok());
        }
        drop(delivery);
        if matches!(threads, Threads::InPlaceOfCapture(_)) {
            drop(running.take());
        }
        running_threads.into_iter().for_each(|thread| thread.join().unwrap());
        let taken: Vec<_> = notes.iter().map(|notes| noted(notes, " 204")).collect();
        assert!(taken.iter().all(|numbers| numbers.is_sorted()), "{taken:?}");
        let mut all = taken.concat();
        all.sort_unstable();
        assert_eq!(all, connections);
        for notes in &notes {
            assert_eq!(notes.lock().unwrap().last().unwrap(), "close");
        }
    }
}

#[test]
fn over_files_the_last_thread_begins_when_the_capture_has_ended() {
    let (running, ended) = bounded(0);
    let (mut delivery, services, notes) = workers(2, Threads::InPlaceOfCapture(&ended));
    let [first, last] = <[Service; 2]>::try_from(services).ok().unwrap();
    assert!(first.begin.is_none() && last.begin.is_some());
    let last = thread::spawn(|| last.run());
    let slot = slots(&[1]).pop().unwrap();
    assert!(delivery.deliver(0, slot, true).is_ok());
    drop(delivery);
    assert!(!last.is_finished() && noted(&notes[0], " 204").is_empty());
    drop(running);
    last.join().unwrap();
    assert_eq!(noted(&notes[0], " 204"), [1]);
    first.run();
}

#[test]
fn what_is_delivered_behind_a_worker_that_failed_is_refused() {
    let (worker, channel) = noting(2, usize::MAX, &Notes::default());
    let (caller, _services) = pool(vec![worker], Threads::Shared);
    let mut delivery = Delivery::new(vec![channel], caller.clone());
    let [slot, next] = <[_; 2]>::try_from(slots(&[1, 2])).ok().unwrap();
    assert!(delivery.deliver(0, slot, true).is_ok());
    let seat = &caller.pool.seats[0];
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| seat.with(|_| panic!("a defect"))));
    assert!(failed.is_err());
    assert!(delivery.deliver(0, next, true).is_err());
}
