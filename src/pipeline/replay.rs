//! A replay runs a quarantined event through a parser again.

use std::time::Duration;

use crate::abi::Verdict;
use crate::sandbox::call::{Bounds, Call};
use crate::sandbox::cpu_time::thread_time;
use crate::sandbox::driver::MAX_STALLS;
use crate::sandbox::engine::Parser;
use crate::sandbox::fault::{Fault, ReplyError};
use crate::sandbox::instance::Instance;
use crate::sandbox::memory::{self, Answer, Checked};
use crate::sandbox::quarantine::QuarantinedEvent;

/// Processor time after which an event that is still not parsed counts as one that ran past its deadline.
const MOST_TIME: Duration = Duration::from_secs(2);

/// Runs the event through the parser, and returns the number of records. As in a run, what the parser leaves because its output
/// is full is presented again.
///
/// # Errors
/// The fault of the parser, if it fails again.
pub fn replay(parser: &Parser, event: &QuarantinedEvent) -> Result<usize, Fault> {
    let mut instance = Instance::new(parser)?;
    let mut event = event.clone();
    let (mut records, mut stalls, end) = (0, 0, thread_time() + MOST_TIME);
    loop {
        let (more, consumed) = present(&mut instance, &mut event)?;
        records += more;
        let Some(consumed) = consumed else { return Ok(records) };
        stalls = if consumed == 0 { stalls + 1 } else { 0 };
        if stalls > MAX_STALLS {
            return Err(Fault::Reply(ReplyError::STALLED));
        }
        if thread_time() >= end {
            return Err(Fault::Deadline);
        }
    }
}

/// Presents the event once. Returns the number of records and, if the output was full, the bytes consumed: the event is then
/// cut down to the rest, which is to be presented again.
fn present(instance: &mut Instance, event: &mut QuarantinedEvent) -> Result<(usize, Option<u32>), Fault> {
    let mut call = Call::new(Bounds::default());
    let slot = crate::batch::Slot::default();
    let encoded = event.encoded(&mut call);
    let (input, output) = instance.buffers();
    call.protocols.clone_from(&event.protocols);
    call.row(input, &event.row_input());
    call.event(input, encoded, u32::try_from(event.bytes.len()).unwrap_or(0), &slot);
    let (events, bytes) = call.finish(input, output);
    instance.parse(events, bytes)?;
    let (input, output) = instance.buffers();
    let mut checked = Checked::default();
    let reply = memory::check(&call, input, output, &mut checked).map_err(Fault::Reply)?;
    let records = reply.records().len();
    let again = |answer: &&Answer| matches!(answer.verdict, Verdict::OutputFull | Verdict::Grow);
    let Some(answer) = reply.answers.first().filter(again) else { return Ok((records, None)) };
    if let Some(row) = Call::row_after(input, 0) {
        event.go_on(&row.block, call.extra_after(input, 0), answer.grow);
    }
    event.leave(answer.consumed);
    Ok((records, Some(answer.consumed)))
}
