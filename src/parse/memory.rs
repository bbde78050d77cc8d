//! The memory way: input and output through the guest's own linear memory, as in the daemon, with the daemon's module.
//!
//! The guest allocates both buffers and returns their addresses; the host writes to one and reads from the other, through
//! bounds-checked slices. Nothing is shared or mapped: a byte is copied once.
//!
//! In the second form, [`Memory::imported`], the host creates the memory before there is a guest, and the guest, linked with
//! `--import-memory`, imports it as its own. All addresses of the C program, its stack and data included, are then offsets
//! into a memory that the host can keep or pass to the next instance.

use wasmtime::{Extern, Instance, MemoryType, Store, TypedFunc};

use super::engine::{self, Host, Needs};
use super::layout::{self, INPUT_BYTES, OUTPUT_BYTES};
use super::reply::Replies;
use super::{Error, Way};

/// The daemon's module.
const MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
/// The same, with its memory imported.
const IMPORTING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap-import.wasm"));

/// An instance with its buffers.
pub(super) struct Memory {
    store: Store<Host<()>>,
    memory: wasmtime::Memory,
    input: u32,
    output: u32,
    parse: TypedFunc<u32, u32>,
}

impl Memory {
    /// An instance that has a memory of its own.
    pub(super) fn new() -> Result<Self, Error> {
        let engine = engine::engine(Needs::Nothing)?;
        let module = engine::module(&engine, MODULE)?;
        let mut store = engine::store(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).map_err(Error::engine)?;
        let memory = instance.get_memory(&mut store, "memory").ok_or(Error::Export("memory"))?;
        Self::start(store, &instance, memory)
    }

    /// An instance whose memory is made here and imported there.
    pub(super) fn imported() -> Result<Self, Error> {
        let engine = engine::engine(Needs::Nothing)?;
        let module = engine::module(&engine, IMPORTING)?;
        let mut store = engine::store(&engine, ());
        let import = module.imports().next().and_then(|import| import.ty().memory().cloned());
        let asked = import.ok_or(Error::Export("memory"))?;
        let pages = |pages: u64| u32::try_from(pages).unwrap_or(u32::MAX);
        let kind = MemoryType::new(pages(asked.minimum()), asked.maximum().map(pages));
        let memory = wasmtime::Memory::new(&mut store, kind).map_err(Error::engine)?;
        let instance = Instance::new(&mut store, &module, &[Extern::Memory(memory)]).map_err(Error::engine)?;
        Self::start(store, &instance, memory)
    }

    fn start(mut store: Store<Host<()>>, instance: &Instance, memory: wasmtime::Memory) -> Result<Self, Error> {
        let (input, output) = buffers(&mut store, instance)?;
        let parse = engine::function(&mut store, instance, "pico_parse_events")?;
        Ok(Self { store, memory, input, output, parse })
    }
}

/// Lets the guest allocate its buffers. Returns their addresses: input, output.
pub(super) fn buffers<T: 'static>(store: &mut Store<Host<T>>, instance: &Instance) -> Result<(u32, u32), Error> {
    let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let allocate: TypedFunc<(u32, u32), u32> = engine::function(store, instance, "allocate_input_output_bufs")?;
    let refused = engine::call(store, &allocate, (bytes(INPUT_BYTES), bytes(OUTPUT_BYTES)))?;
    if refused != 0 {
        return Err(Error::Refused { what: "allocate_input_output_bufs", code: refused });
    }
    let mut address = |name| {
        let get: TypedFunc<(), u32> = engine::function(store, instance, name)?;
        engine::call(store, &get, ())
    };
    Ok((address("get_input_buf")?, address("get_output_buf")?))
}

impl Way for Memory {
    fn parse(&mut self, requests: &[&[u8]], replies: &mut Replies) -> Result<usize, Error> {
        let input = engine::part_mut(self.memory.data_mut(&mut self.store), self.input, INPUT_BYTES)?;
        layout::encode(requests, input)?;
        let refused = engine::call(&mut self.store, &self.parse, layout::size32(requests.len()))?;
        if refused != 0 {
            return Err(Error::Refused { what: "pico_parse_events", code: refused });
        }
        let output = engine::part(self.memory.data(&self.store), self.output, OUTPUT_BYTES)?;
        layout::decode(requests, output, replies)
    }
}
