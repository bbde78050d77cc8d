//! The export thread writes what the workers made of transactions.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::clock::wall_clock;
use super::shared::Shared;
use super::shutdown::{Shutdown, Why};
use crate::export::file::{Log, Notice};

/// Bytes that are gathered before they are written, while more are at hand.
const GATHER: usize = 256 << 10;
/// How often the log is looked after when nothing is to be written.
const LOOK: Duration = Duration::from_millis(100);

/// Writes until no more lines come. `stop_on_failure`: a log that cannot be written ends the run (files); otherwise lines
/// are lost and counted until it can be written again (live).
pub fn write(
    mut log: Log,
    lines: &Receiver<Vec<u8>>,
    buffers: &Sender<Vec<u8>>,
    shared: &Shared,
    shutdown: &Shutdown,
    stop_on_failure: bool,
) -> Vec<String> {
    let mut gathered: Vec<u8> = Vec::with_capacity(GATHER);
    let mut notices = Vec::new();
    let mut errors = Vec::new();
    let mut over = false;
    while !over {
        match lines.recv_timeout(LOOK) {
            Ok(chunk) => take(chunk, &mut gathered, buffers),
            Err(RecvTimeoutError::Timeout) => {
                log.tick(wall_clock(), &mut notices);
                shared.publish_log(log.counters());
            }
            Err(RecvTimeoutError::Disconnected) => over = true,
        }
        while gathered.len() < GATHER
            && let Ok(chunk) = lines.try_recv()
        {
            take(chunk, &mut gathered, buffers);
        }
        if shared.reopen.swap(false, Ordering::Relaxed)
            && let Err(error) = log.reopen(wall_clock())
        {
            eprintln!("picotap: {error}; the log goes on in the old file");
        }
        if !gathered.is_empty() {
            if log.write(&gathered, wall_clock(), &mut notices).is_err() {
                shutdown.ask(Why::Closed);
                break;
            }
            gathered.clear();
            shared.publish_log(log.counters());
        }
        for notice in notices.drain(..) {
            if stop_on_failure && matches!(notice, Notice::Failing(_)) {
                shutdown.ask(Why::Failed);
                errors.push(notice.to_string());
            } else {
                eprintln!("picotap: {notice}");
            }
        }
    }
    // Workers that still have lines must not wait for somebody to take them.
    while lines.recv().is_ok() {}
    shared.publish_log(log.close(wall_clock()));
    errors
}

fn take(mut chunk: Vec<u8>, gathered: &mut Vec<u8>, buffers: &Sender<Vec<u8>>) {
    gathered.extend_from_slice(&chunk);
    chunk.clear();
    drop(buffers.try_send(chunk));
}
