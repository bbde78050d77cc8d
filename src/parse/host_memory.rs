//! The host-memory way: the requests are in one memory created by the host, the results go to another, and the guest's C
//! code reaches both although neither is its own.
//!
//! A host address cannot be passed. A guest's pointer is a 32-bit offset into a memory of its instance; the engine adds that
//! memory's base to it and checks the bounds. A 64-bit host pointer does not fit, and its lower half is an offset into the
//! guest's own memory like any other, so the guest reads something else or traps. That is the sandbox.
//!
//! What can be passed is a *memory*: a WebAssembly object that the host creates, provides as an import, and can read and
//! write itself. A module may have several, and its instructions select one by index. C has no way to select one (clang
//! knows a single memory), so a second module, `guest/ways/bridge.wat`, imports all three memories: its two functions are
//! `memory.copy` from one to another. The guest calls them through function pointers, which the bridge puts into the guest's
//! table when it is instantiated. The engine checks every copy against both memories.
//!
//! The other form, in which the host's memory becomes the guest's default one, is [`super::memory::Memory::imported`].

use wasmtime::{Extern, Instance, Linker, Memory, MemoryType, Store, TypedFunc};

use super::engine::{self, Host, Needs};
use super::layout::{self, INPUT_BYTES, OUTPUT_BYTES};
use super::reply::Replies;
use super::{Error, Way};

const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bridged.wasm"));
const BRIDGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bridge.wasm"));
const PAGE: usize = 65536;

/// The guest, the bridge, and the host's two memories.
pub(super) struct HostMemory {
    store: Store<Host<()>>,
    input: Memory,
    output: Memory,
    parse: TypedFunc<u32, u32>,
}

impl HostMemory {
    pub(super) fn new() -> Result<Self, Error> {
        let engine = engine::engine(Needs::MultiMemory)?;
        let guest = engine::module(&engine, GUEST)?;
        let bridge = engine::module(&engine, BRIDGE)?;
        let mut store = engine::store(&engine, ());
        let mut memory = |bytes: usize| {
            let pages = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX);
            Memory::new(&mut store, MemoryType::new(pages, Some(pages))).map_err(Error::engine)
        };
        let (input, output) = (memory(INPUT_BYTES)?, memory(OUTPUT_BYTES)?);
        let guest = Instance::new(&mut store, &guest, &[]).map_err(Error::engine)?;
        let mut linker = Linker::new(&engine);
        linker.define(&store, "host", "input", Extern::Memory(input)).map_err(Error::engine)?;
        linker.define(&store, "host", "output", Extern::Memory(output)).map_err(Error::engine)?;
        linker.instance(&mut store, "guest", guest).map_err(Error::engine)?;
        linker.instantiate(&mut store, &bridge).map_err(Error::engine)?;
        super::memory::buffers(&mut store, &guest)?;
        let parse = engine::function(&mut store, &guest, "pico_parse_events")?;
        Ok(Self { store, input, output, parse })
    }
}

impl Way for HostMemory {
    fn parse(&mut self, requests: &[&[u8]], replies: &mut Replies) -> Result<usize, Error> {
        layout::encode(requests, self.input.data_mut(&mut self.store))?;
        let refused = engine::call(&mut self.store, &self.parse, layout::size32(requests.len()))?;
        if refused != 0 {
            return Err(Error::Refused { what: "pico_parse_events", code: refused });
        }
        layout::decode(requests, self.output.data(&self.store), replies)
    }
}
