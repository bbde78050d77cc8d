//! An instance is one running copy of a parser, with its buffers; a parser is a module that has been checked.

use std::time::Duration;

use wasmtime::{
    ExternType, InstancePre, Memory, Store, StoreLimits, StoreLimitsBuilder, TypedFunc, UpdateDeadline, ValType,
};

use super::call;
use super::cpu_time::Reading;
use super::fault::Fault;
use super::protocol::Format;
use super::quote::quote;

/// Bytes of linear memory that one instance may have.
pub const MAX_GUEST_MEMORY: usize = 16 << 20;

/// Milliseconds of processor time that any call is given. Waiting for the processor does not count; beside the guest's own
/// work, interrupts, page faults of fresh memory and what a hypervisor takes do: some milliseconds at worst.
const LEAST_DEADLINE_MS: u64 = 30;
/// Each so many bytes give another millisecond: about a hundred times what the built-in parser needs.
const BYTES_PER_MS: u64 = 16 << 10;

/// What a store keeps for its guest.
pub struct Guest {
    limits: StoreLimits,
    /// Processor time that the present call is given.
    allowed: Duration,
    /// The thread's clocks when the engine's clock first stepped in the present call. Most calls end before that, so that
    /// measuring them costs nothing; in exchange a call has up to one step more.
    first_tick: Option<Reading>,
}

impl Guest {
    /// The engine's clock has stepped while the guest runs.
    fn tick(&mut self, now: Reading) -> UpdateDeadline {
        let first = *self.first_tick.get_or_insert(now);
        if now.since(first).used < self.allowed { UpdateDeadline::Continue(1) } else { UpdateDeadline::Interrupt }
    }
}

/// A module whose imports, exports and version have been checked. Each reply is validated on top of that.
#[derive(Clone)]
pub struct Parser {
    pub(super) pre: InstancePre<Guest>,
    /// SHA-256 of the module file, in hexadecimal.
    pub sha256: String,
    /// Its protocol, and the layout of what it remembers.
    pub format: Format,
    /// Pieces of a side that it is shown at first.
    pub first_window: u32,
    /// Version of the contract that it speaks.
    pub abi_version: u32,
    /// Bytes of the module file.
    pub bytes: usize,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parser({}, {})", self.sha256, self.format)
    }
}

impl Parser {
    /// Name, quoted, and type of every export.
    pub fn exports(&self) -> Vec<(String, String)> {
        self.pre.module().exports().map(|e| (quote(e.name()), describe(&e.ty()))).collect()
    }

    /// Bytes of memory at the start, and at most (`None`: up to the host's limit).
    pub fn memory(&self) -> (u64, Option<u64>) {
        let memory = self.pre.module().get_export("memory");
        match memory {
            Some(ExternType::Memory(ty)) => (ty.minimum() << 16, ty.maximum().map(|pages| pages << 16)),
            _ => (0, None),
        }
    }
}

/// A type of WebAssembly, for people.
fn describe(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(f) => {
            let list =
                |types: &mut dyn Iterator<Item = ValType>| types.map(|t| t.to_string()).collect::<Vec<_>>().join(", ");
            format!("({}) -> ({})", list(&mut f.params()), list(&mut f.results()))
        }
        ExternType::Memory(m) => format!("memory, {} to {:?} pages", m.minimum(), m.maximum()),
        ExternType::Table(_) => "table".into(),
        ExternType::Global(_) => "global".into(),
        _ => "other".into(),
    }
}

/// One running copy of a parser.
pub struct Instance {
    store: Store<Guest>,
    memory: Memory,
    parse: TypedFunc<u32, u32>,
    instance: wasmtime::Instance,
    input: usize,
    output: usize,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance(input at {}, output at {})", self.input, self.output)
    }
}

impl Instance {
    /// Starts an instance and has it make its buffers.
    ///
    /// # Errors
    /// A trap, a deadline, or buffers outside of its memory.
    pub fn new(parser: &Parser) -> Result<Self, Fault> {
        let mut this = Self::start(parser)?;
        this.allocate()?;
        Ok(this)
    }

    /// Starts a copy, which has no buffers yet.
    pub(super) fn start(parser: &Parser) -> Result<Self, Fault> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(MAX_GUEST_MEMORY)
            .table_elements(4096)
            .instances(1)
            .memories(1)
            .tables(4)
            .trap_on_grow_failure(false)
            .build();
        let guest = Guest { limits, allowed: allowed(0), first_tick: None };
        let mut store = Store::new(parser.pre.module().engine(), guest);
        store.limiter(|guest| &mut guest.limits);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().tick(Reading::now())));
        store.set_epoch_deadline(1);
        let failed = |e: wasmtime::Error| Fault::from_wasmtime(&e);
        let instance = parser.pre.instantiate(&mut store).map_err(failed)?;
        let missing = |what: &str| Fault::Instance(format!("no export {what}"));
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| missing("memory"))?;
        let parse = instance.get_typed_func(&mut store, "pico_parse_events").map_err(failed)?;
        Ok(Self { store, memory, parse, instance, input: 0, output: 0 })
    }

    /// Has it make its buffers.
    pub(super) fn allocate(&mut self) -> Result<(), Fault> {
        let failed = |e: wasmtime::Error| Fault::from_wasmtime(&e);
        self.give_time(0);
        let name = "allocate_input_output_bufs";
        let allocate = self.instance.get_typed_func::<(u32, u32), u32>(&mut self.store, name).map_err(failed)?;
        let sizes = (call::INPUT_BYTES, call::OUTPUT_BYTES);
        let refused = allocate.call(&mut self.store, sizes).map_err(failed)?;
        if refused != 0 {
            let (input, output) = sizes;
            return Err(Fault::Instance(format!("it has no room for buffers of {input} and {output} bytes")));
        }
        let input = self.ask("get_input_buf")?;
        let output = self.ask("get_output_buf")?;
        self.set_buffers(input, output)
    }

    /// Takes the alleged addresses if both buffers lie in memory, are aligned, and do not overlap.
    fn set_buffers(&mut self, input: u32, output: u32) -> Result<(), Fault> {
        let bad = |what: &str| Fault::Instance(format!("{what} (input at {input}, output at {output})"));
        let size = self.memory.data_size(&self.store) as u64;
        let (input_end, output_end) =
            (u64::from(input) + u64::from(call::INPUT_BYTES), u64::from(output) + u64::from(call::OUTPUT_BYTES));
        if input == 0 || output == 0 || input_end > size || output_end > size {
            return Err(bad("its buffers do not lie in its memory"));
        }
        if !input.is_multiple_of(call::ALIGN) || !output.is_multiple_of(call::ALIGN) {
            return Err(bad("its buffers are not aligned"));
        }
        if u64::from(input) < output_end && u64::from(output) < input_end {
            return Err(bad("its buffers overlap"));
        }
        self.input = input as usize;
        self.output = output as usize;
        Ok(())
    }

    /// Gives the next call the time for `bytes` bytes.
    fn give_time(&mut self, bytes: u64) {
        let guest = self.store.data_mut();
        guest.allowed = allowed(bytes);
        guest.first_tick = None;
        self.store.set_epoch_deadline(1);
    }

    /// The clocks when the engine's clock first stepped in the last call: the earliest known time of the call.
    pub(super) fn first_tick(&self) -> Option<Reading> {
        self.store.data().first_tick
    }

    /// Calls an export that takes nothing and returns a number.
    ///
    /// # Errors
    /// A trap or the deadline.
    pub fn ask(&mut self, name: &str) -> Result<u32, Fault> {
        self.give_time(0);
        let function = self.instance.get_typed_func::<(), u32>(&mut self.store, name);
        let answer = function.and_then(|f| f.call(&mut self.store, ()));
        answer.map_err(|e| Fault::from_wasmtime(&e))
    }

    /// Bytes of its memory; none if they do not lie in it.
    pub(super) fn read<const N: usize>(&self, address: u32) -> Option<[u8; N]> {
        let start = address as usize;
        self.memory.data(&self.store).get(start..start.checked_add(N)?)?.try_into().ok()
    }

    /// The input buffer, to be written before a call.
    pub fn input(&mut self) -> &mut [u8] {
        let end = self.input + call::INPUT_BYTES as usize;
        self.memory.data_mut(&mut self.store).get_mut(self.input..end).unwrap_or_default()
    }

    /// Input and output buffer. The guest does not run while these are borrowed, so what has been checked in them stays
    /// as it is.
    pub fn buffers(&mut self) -> (&mut [u8], &mut [u8]) {
        let (input_end, output_end) =
            (self.input + call::INPUT_BYTES as usize, self.output + call::OUTPUT_BYTES as usize);
        let data = self.memory.data_mut(&mut self.store);
        // Which buffer comes first is the guest's choice; that they do not overlap was checked.
        if self.input < self.output {
            let Some((low, high)) = data.split_at_mut_checked(self.output) else { return Default::default() };
            let input = low.get_mut(self.input..input_end).unwrap_or_default();
            (input, high.get_mut(..call::OUTPUT_BYTES as usize).unwrap_or_default())
        } else {
            let Some((low, high)) = data.split_at_mut_checked(self.input) else { return Default::default() };
            let input = high.get_mut(..call::INPUT_BYTES as usize).unwrap_or_default();
            (input, low.get_mut(self.output..output_end).unwrap_or_default())
        }
    }

    /// Parses the `events` events in the input buffer, in the time given for `bytes` bytes.
    ///
    /// # Errors
    /// A trap, the deadline, or a refusal.
    pub fn parse(&mut self, events: u32, bytes: u64) -> Result<(), Fault> {
        self.give_time(bytes);
        match self.parse.call(&mut self.store, events) {
            Ok(0) => Ok(()),
            Ok(code) => Err(Fault::Refused(code)),
            Err(e) => Err(Fault::from_wasmtime(&e)),
        }
    }
}

/// Processor time for a call on `bytes` bytes.
const fn allowed(bytes: u64) -> Duration {
    Duration::from_millis(LEAST_DEADLINE_MS + bytes / BYTES_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_is_one_of_processor_time_and_counts_from_the_first_step_of_the_clock() {
        let ms = Duration::from_millis;
        let mut guest = Guest { limits: StoreLimits::default(), allowed: allowed(16 << 10), first_tick: None };
        assert_eq!(guest.allowed, ms(31));
        // A thread that waits uses no processor time, however long it takes.
        for (used, passed) in [(1000, 0), (1000, 500), (1001, 900), (1030, 2000)] {
            let now = Reading { used: ms(used), passed: ms(passed) };
            assert!(matches!(guest.tick(now), UpdateDeadline::Continue(1)));
        }
        let now = Reading { used: ms(1031), passed: ms(2001) };
        assert!(matches!(guest.tick(now), UpdateDeadline::Interrupt));
    }
}
