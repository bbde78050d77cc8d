//! Replay runs a quarantined event through a parser again.

use crate::sandbox::engine::Parser;
use crate::sandbox::fault::Fault;
use crate::sandbox::instance::Instance;
use crate::sandbox::layout::{Bounds, Call};
use crate::sandbox::memory;
use crate::sandbox::quarantine::Poison;

/// What a parser made of an event: the number of records, or the fault.
///
/// # Errors
/// The fault.
pub fn replay(parser: &Parser, poison: &Poison) -> Result<usize, Fault> {
    let mut instance = Instance::new(parser)?;
    let mut call = Call::new(Bounds::default());
    let slot = crate::batch::Slot::default();
    let laid = poison.laid(&mut call);
    let row = &poison.row;
    call.row(&mut instance, &row.block, row.opener, row.flags);
    call.event(&mut instance, laid, u32::try_from(poison.bytes.len()).unwrap_or(0), &slot);
    let (events, bytes) = call.finish(&mut instance);
    instance.parse(events, bytes)?;
    let (_, output) = instance.output();
    memory::check(&call, output).map(|reply| reply.records.len()).map_err(Fault::Reply)
}
