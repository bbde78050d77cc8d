//! The engine of one way: wasmtime, configured to allow only what the way needs, with a deadline for every call.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use wasmtime::{
    Config, Engine, Instance, Module, Store, StoreLimits, StoreLimitsBuilder, TypedFunc, WasmParams, WasmResults,
};

use super::{Error, Field};

/// Interval of the deadline's clock.
const TICK: Duration = Duration::from_millis(20);
/// Ticks after which a call is interrupted, some 2.5 seconds. A call takes milliseconds; the rest is for busy machines.
pub(super) const DEADLINE_TICKS: u64 = 128;
/// Memory limit: no guest needs more than the largest batch as arguments, its copy and what is printed about it.
const MEMORY_BYTES: usize = 64 << 20;
const STACK_BYTES: usize = 256 << 10;

/// What a way needs beyond plain WebAssembly with SIMD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// Modules with several memories.
    MultiMemory,
    /// References to host objects, in tables and arguments.
    ExternRef,
}

/// An engine for `needs`, with a clock thread that ends when the engine is dropped.
pub(super) fn engine(needs: Needs) -> Result<Engine, Error> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(8))
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_multi_memory(needs == Needs::MultiMemory)
        .gc_support(needs == Needs::ExternRef);
    if needs == Needs::ExternRef {
        // The null collector frees nothing; a way makes one reference in all.
        config.collector(wasmtime::Collector::Null);
    }
    let engine = Engine::new(&config).map_err(Error::engine)?;
    let weak = engine.weak();
    let clock = move || {
        loop {
            thread::sleep(TICK);
            let Some(engine) = weak.upgrade() else { return };
            engine.increment_epoch();
        }
    };
    thread::Builder::new().name("parse-clock".into()).spawn(clock).map_err(Error::Clock)?;
    Ok(engine)
}

/// The data of a store: its limits, and what the way's host functions need.
#[derive(Debug)]
pub(super) struct Host<T> {
    limits: StoreLimits,
    pub(super) data: T,
}

/// A store with limits.
pub(super) fn store<T: 'static>(engine: &Engine, data: T) -> Store<Host<T>> {
    let limits =
        StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).instances(2).memories(4).tables(4).table_elements(256);
    let limits = limits.trap_on_grow_failure(false).build();
    let mut store = Store::new(engine, Host { limits, data });
    store.limiter(|host| &mut host.limits);
    store.set_epoch_deadline(DEADLINE_TICKS);
    store
}

/// Compiles a module.
pub(super) fn module(engine: &Engine, bytes: &[u8]) -> Result<Module, Error> {
    Module::new(engine, bytes).map_err(Error::engine)
}

/// An exported function by its name.
pub(super) fn function<T: 'static, P: WasmParams, R: WasmResults>(
    store: &mut Store<Host<T>>,
    instance: &Instance,
    name: &'static str,
) -> Result<TypedFunc<P, R>, Error> {
    instance.get_typed_func(store, name).map_err(Error::engine)
}

/// Calls a function, with a deadline.
pub(super) fn call<T: 'static, P: WasmParams, R: WasmResults>(
    store: &mut Store<Host<T>>,
    function: &TypedFunc<P, R>,
    arguments: P,
) -> Result<R, Error> {
    store.set_epoch_deadline(DEADLINE_TICKS);
    function.call(store, arguments).map_err(Error::engine)
}

/// `len` bytes of guest memory at an address that the guest gave.
pub(super) fn part(memory: &[u8], address: u32, len: usize) -> Result<&[u8], Error> {
    let start = address as usize;
    memory
        .get(start..start.saturating_add(len))
        .filter(|_| address != 0)
        .ok_or_else(|| Error::invalid(Field::Address, address))
}

/// As [`part`], writable.
pub(super) fn part_mut(memory: &mut [u8], address: u32, len: usize) -> Result<&mut [u8], Error> {
    let start = address as usize;
    memory
        .get_mut(start..start.saturating_add(len))
        .filter(|_| address != 0)
        .ok_or_else(|| Error::invalid(Field::Address, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_guest_is_interrupted() {
        let engine = engine(Needs::Nothing).unwrap();
        let endless = wat::parse_str(r#"(module (func (export "f") (loop (br 0))))"#).unwrap();
        let module = module(&engine, &endless).unwrap();
        let mut store = store(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let endless: TypedFunc<(), ()> = function(&mut store, &instance, "f").unwrap();
        let error = call(&mut store, &endless, ()).unwrap_err().to_string();
        assert!(error.contains("interrupt"), "{error}");
    }

    #[test]
    fn a_way_that_needs_nothing_has_neither_references_nor_several_memories() {
        let references = wat::parse_str("(module (table 1 externref))").unwrap();
        let memories = wat::parse_str("(module (memory 1) (memory 1))").unwrap();
        let takes = |needs, bytes: &[u8]| module(&engine(needs).unwrap(), bytes).is_ok();
        assert!(!takes(Needs::Nothing, &references) && !takes(Needs::Nothing, &memories));
        assert!(takes(Needs::ExternRef, &references) && !takes(Needs::ExternRef, &memories));
        assert!(!takes(Needs::MultiMemory, &references) && takes(Needs::MultiMemory, &memories));
    }
}
