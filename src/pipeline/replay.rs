//! Replay runs a quarantined event through a parser again.

use std::time::Duration;

use crate::abi::Verdict;
use crate::sandbox::call::{Bounds, Call};
use crate::sandbox::clock::thread_time;
use crate::sandbox::driver::MAX_STALLS;
use crate::sandbox::engine::Parser;
use crate::sandbox::fault::{Fault, ReplyError};
use crate::sandbox::instance::Instance;
use crate::sandbox::memory::{self, Answer, Checked};
use crate::sandbox::quarantine::QuarantinedEvent;

/// Processor time after which an event that is still not done with counts as one that ran past its deadline.
const MOST_TIME: Duration = Duration::from_secs(2);

/// What a parser made of an event: the number of records, or the fault. As in a run, what the parser leaves over because its
/// output is full is presented again.
///
/// # Errors
/// The fault.
pub fn replay(parser: &Parser, poison: &QuarantinedEvent) -> Result<usize, Fault> {
    let mut instance = Instance::new(parser)?;
    let mut poison = poison.clone();
    let (mut records, mut stalls, end) = (0, 0, thread_time() + MOST_TIME);
    loop {
        let (said, consumed) = present(&mut instance, &mut poison)?;
        records += said;
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

/// Presents the event once. Gives the number of records, and what was consumed if the rest is to be presented again; then it is
/// what the event consists of.
fn present(instance: &mut Instance, poison: &mut QuarantinedEvent) -> Result<(usize, Option<u32>), Fault> {
    let mut call = Call::new(Bounds::default());
    let slot = crate::batch::Slot::default();
    let encoded = poison.encoded(&mut call);
    let (input, output) = instance.buffers();
    call.protocols.clone_from(&poison.protocols);
    call.row(input, &poison.row_input());
    call.event(input, encoded, u32::try_from(poison.bytes.len()).unwrap_or(0), &slot);
    let (events, bytes) = call.finish(input, output);
    instance.parse(events, bytes)?;
    let (input, output) = instance.buffers();
    let mut checked = Checked::default();
    let reply = memory::check(&call, input, output, &mut checked).map_err(Fault::Reply)?;
    let records = reply.records().len();
    let again = |answer: &&Answer| matches!(answer.verdict, Verdict::OutputFull | Verdict::Grow);
    let Some(answer) = reply.answers.first().filter(again) else { return Ok((records, None)) };
    if let Some(row) = Call::row_after(input, 0) {
        poison.go_on(&row.block, call.extra_after(input, 0), answer.grow);
    }
    poison.leave(answer.consumed);
    Ok((records, Some(answer.consumed)))
}
