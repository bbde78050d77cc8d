//! The benchmark measures every way on the same requests, and native parsers for comparison.
//!
//! It measures everything that a user of the way must do: encode the requests, call, check and decode the reply. For argv this
//! is a run of the program, which makes an instance and prints into a buffer. Compiling modules is not included, since it is
//! done once. Times are the best of several rounds, since a busy machine only adds time.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint;
use std::io::Write;
use std::time::{Duration, Instant};

use super::reply::Replies;
use super::{Error, Runtime, Via, Way, argv, batch, native, open};

/// Events per call. More than a batch are split over several calls, whose times are added.
const EVENTS: [usize; 3] = [1, 16, 1024];
/// Rounds, of which the best counts.
const ROUNDS: u32 = 5;
/// Minimum duration of a round.
const ROUND: Duration = Duration::from_millis(40);

const WAYS: [(&str, Via, Runtime); 6] = [
    ("argv", Via::Argv, Runtime::Wasmtime),
    ("argv (wasmedge)", Via::Argv, Runtime::Wasmedge),
    ("memory", Via::Memory, Runtime::Wasmtime),
    ("externref", Via::Externref, Runtime::Wasmtime),
    ("host-memory", Via::HostMemory, Runtime::Wasmtime),
    ("host-memory-import", Via::HostMemoryImport, Runtime::Wasmtime),
];

/// Measures, and prints a table.
pub(super) fn run(requests: &[&[u8]], out: &mut dyn Write) -> Result<(), Error> {
    let bytes: usize = requests.iter().map(|request| request.len()).sum();
    writeln!(
        out,
        "{} requests, {} bytes on average; best of {ROUNDS} rounds",
        requests.len(),
        bytes / requests.len().max(1)
    )?;
    if cfg!(debug_assertions) {
        writeln!(out, "this is a debug build: the numbers are meaningless")?;
    }
    write!(out, "{:<20}", "events per call")?;
    for events in EVENTS {
        write!(out, "{events:>12} ns{:>12} /s", "")?;
    }
    writeln!(out)?;
    for (name, via, runtime) in WAYS {
        write!(out, "{name:<20}")?;
        let way = if via == Via::Argv { argv::check(requests) } else { Ok(()) };
        match way.and_then(|()| open(via, runtime)) {
            Ok(mut way) => row(requests, out, &mut |requests| call(way.as_mut(), requests))?,
            Err(error @ (Error::NoWasmEdge(_) | Error::Nul { .. })) => writeln!(out, "  {error}")?,
            Err(error) => return Err(error),
        }
        out.flush()?;
    }
    write!(out, "{:<20}", "picohttpparser")?;
    row(requests, out, &mut |requests| {
        for request in requests {
            hint::black_box(native::picohttpparser(request));
        }
        Ok(())
    })?;
    write!(out, "{:<20}", "httparse")?;
    row(requests, out, &mut |requests| {
        for request in requests {
            hint::black_box(native::httparse(request));
        }
        Ok(())
    })
}

fn call(way: &mut dyn Way, requests: &[&[u8]]) -> Result<(), Error> {
    let mut replies = Replies::default();
    let mut rest = requests;
    while !rest.is_empty() {
        replies.clear();
        let done = way.parse(batch(rest), &mut replies)?;
        rest = rest.get(done.max(1)..).unwrap_or_default();
    }
    Ok(())
}

/// A parser to measure.
type Measured<'a> = dyn FnMut(&[&[u8]]) -> Result<(), Error> + 'a;

/// One line of the table.
fn row(requests: &[&[u8]], out: &mut dyn Write, parse: &mut Measured<'_>) -> Result<(), Error> {
    for events in EVENTS {
        // With one event per call each request is measured in turn, so that all columns have the same mixture.
        let cycle: Vec<&[u8]> = requests.iter().copied().cycle().take(events.max(requests.len())).collect();
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let mut done = 0_u32;
            let start = Instant::now();
            while start.elapsed() < ROUND || done == 0 {
                for requests in cycle.chunks(events) {
                    parse(requests)?;
                }
                done += 1;
            }
            let events = f64::from(done) * f64::from(u32::try_from(cycle.len()).unwrap_or(u32::MAX));
            best = best.min(start.elapsed().as_secs_f64() * 1e9 / events);
        }
        write!(out, "{best:>15.0}{:>15.0}", 1e9 / best)?;
    }
    writeln!(out)?;
    Ok(())
}
