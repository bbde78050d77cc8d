//! The externref way: the guest gets a reference to a host object and reads the bytes of the requests through it.
//!
//! The reference is not a number. No WebAssembly instruction creates, reads or changes one: the guest can only keep it (in a
//! table, since linear memory cannot hold it) and pass it back to a host function whose type takes one. So the guest can
//! neither forge nor guess a reference, and the host needs no table of handles and no check of them: the engine's type
//! system does it. The price: the engine must trace references (its garbage collector becomes part of the trusted code), a
//! host call per event, and a copy of the requests into memory that the host object owns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::{Caller, ExternRef, Linker, OwnedRooted, RootScope, Rooted, Store, TypedFunc};

use super::engine::{self, Host, Needs};
use super::layout::{self, OUTPUT_BYTES};
use super::memory::buffers;
use super::reply::Replies;
use super::{Error, Way};

const MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/externref.wasm"));

/// The host object: the requests of a call, one after the other.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each request ends.
    ends: Vec<usize>,
}

impl Batch {
    fn fill(&mut self, requests: &[&[u8]]) {
        self.bytes.clear();
        self.ends.clear();
        for request in requests {
            self.bytes.extend_from_slice(request);
            self.ends.push(self.bytes.len());
        }
    }

    fn event(&self, index: u32) -> Option<&[u8]> {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(start..*self.ends.get(index)?)
    }
}

type Shared = Arc<Mutex<Batch>>;

fn lock(batch: &Shared) -> MutexGuard<'_, Batch> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An instance, and the host object that it gets in each call.
pub(super) struct Reference {
    store: Store<Host<()>>,
    memory: wasmtime::Memory,
    output: u32,
    batch: Shared,
    reference: OwnedRooted<ExternRef>,
    parse: TypedFunc<(u32, Option<Rooted<ExternRef>>), u32>,
}

impl Reference {
    pub(super) fn new() -> Result<Self, Error> {
        let engine = engine::engine(Needs::ExternRef)?;
        let module = engine::module(&engine, MODULE)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("batch", "event_len", event_len).map_err(Error::engine)?;
        linker.func_wrap("batch", "event_read", event_read).map_err(Error::engine)?;
        let mut store = engine::store(&engine, ());
        let instance = linker.instantiate(&mut store, &module).map_err(Error::engine)?;
        let memory = instance.get_memory(&mut store, "memory").ok_or(Error::Export("memory"))?;
        let (_, output) = buffers(&mut store, &instance)?;
        let parse = instance.get_typed_func(&mut store, "pico_parse_events").map_err(Error::engine)?;
        let batch = Shared::default();
        let reference = {
            let mut scope = RootScope::new(&mut store);
            let rooted = ExternRef::new(&mut scope, Arc::clone(&batch)).map_err(Error::engine)?;
            rooted.to_owned_rooted(&mut scope).map_err(Error::engine)?
        };
        Ok(Self { store, memory, output, batch, reference, parse })
    }
}

impl Way for Reference {
    fn parse(&mut self, requests: &[&[u8]], replies: &mut Replies) -> Result<usize, Error> {
        lock(&self.batch).fill(requests);
        self.store.set_epoch_deadline(engine::DEADLINE_TICKS);
        let refused = {
            let mut scope = RootScope::new(&mut self.store);
            let reference = self.reference.to_rooted(&mut scope);
            let count = layout::size32(requests.len());
            self.parse.call(&mut scope, (count, Some(reference))).map_err(Error::engine)?
        };
        if refused != 0 {
            return Err(Error::Refused { what: "pico_parse_events", code: refused });
        }
        let output = engine::part(self.memory.data(&self.store), self.output, OUTPUT_BYTES)?;
        layout::decode(requests, output, replies)
    }
}

/// The batch behind a reference. A null reference, or one to something else, is an error of the guest.
fn batch<'a>(caller: &'a Caller<'_, Host<()>>, reference: Option<Rooted<ExternRef>>) -> wasmtime::Result<&'a Shared> {
    let reference = reference.ok_or_else(|| wasmtime::format_err!("the guest passed a null reference"))?;
    let data = reference.data(caller)?.and_then(|data| data.downcast_ref::<Shared>());
    data.ok_or_else(|| wasmtime::format_err!("the guest passed a reference to another object"))
}

/// Length of event `index` in bytes; `u32::MAX` if there is none.
fn event_len(caller: Caller<'_, Host<()>>, reference: Option<Rooted<ExternRef>>, index: u32) -> wasmtime::Result<u32> {
    let batch = lock(batch(&caller, reference)?);
    Ok(batch.event(index).map_or(u32::MAX, |event| u32::try_from(event.len()).unwrap_or(u32::MAX)))
}

/// Copies at most `len` bytes of event `index` to `address` in the guest's memory. Returns how many.
fn event_read(
    mut caller: Caller<'_, Host<()>>,
    reference: Option<Rooted<ExternRef>>,
    index: u32,
    address: u32,
    len: u32,
) -> wasmtime::Result<u32> {
    let batch = Arc::clone(batch(&caller, reference)?);
    let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory);
    let memory = memory.ok_or_else(|| wasmtime::format_err!("the guest exports no memory"))?;
    let batch = lock(&batch);
    let Some(event) = batch.event(index) else { return Ok(0) };
    let bytes = event.get(..len as usize).unwrap_or(event);
    memory.write(&mut caller, address as usize, bytes)?;
    Ok(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}
