//! The engine compiles parsers; a parser is a module that has been checked against the contract.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;
use wasmtime::{Config, Engine as Wasmtime, ExternType, Linker, Module, PoolingAllocationConfig};

pub use super::bounds::MAX_MODULE_BYTES;
use super::fault::Fault;
use super::instance::{Guest, Instance};
pub use super::instance::{MAX_GUEST_MEMORY, Parser};
use super::protocol::{ENTRY, Format, Protocol};
use super::quote::quote;
use super::settings::settings;
use super::{BUILT_IN, bounds};
use crate::abi;

/// Milliseconds between two steps of the clock that checks deadlines.
pub const TICK_MS: u64 = 10;
/// Bytes of an instance's memory that stay resident when it is reset, so that a new instance does not cost a page fault for
/// each of them. All of them are zeroed, touched or not: with 2 MiB a start took 2 ms more, and a fault a fifth to
/// a half more.
const KEEP_RESIDENT: usize = 128 << 10;

/// Why a module is refused.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It is not WebAssembly, or uses a proposal that is off here.
    #[error("not a module that can be run here: {0}")]
    Broken(String),
    /// It has more of something than may be compiled here.
    #[error("the module has {had} {what}, more than the {limit} that are allowed")]
    TooLarge {
        /// Its name, in the plural.
        what: &'static str,
        /// How many it has.
        had: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// It would take too long to compile.
    #[error(
        "{what} would take about {had} ms, more than the {limit} ms that are allowed: loops, branches, locals and calls make it slow"
    )]
    TooSlow {
        /// What would: compiling it, or one of its functions.
        what: String,
        /// Estimated milliseconds.
        had: u64,
        /// Milliseconds allowed.
        limit: u64,
    },
    /// It imports something from the host.
    #[error("the module imports {module}.{name}: a parser may import nothing")]
    Import {
        /// Module part of the import's name.
        module: String,
        /// Its name.
        name: String,
    },
    /// An export is missing.
    #[error("the module does not export {name} ({needed})")]
    Missing {
        /// Name of the export.
        name: &'static str,
        /// Its type.
        needed: &'static str,
    },
    /// An export is something else.
    #[error("the module's export {name} is not {needed}")]
    WrongType {
        /// Name of the export.
        name: &'static str,
        /// Its type.
        needed: &'static str,
    },
    /// It speaks another version of the contract.
    #[error(
        "the module speaks version {had} of the parser contract, and this picotap speaks version {needed}: build it anew with \
         this picotap's guest/abi.h"
    )]
    Version {
        /// The version spoken here.
        needed: u32,
        /// Its version.
        had: u32,
    },
    /// Its records have another size.
    #[error("the module's records have {had} bytes, and the contract says {needed}")]
    RecordSize {
        /// Size here.
        needed: u32,
        /// Its size.
        had: u32,
    },
    /// It is for no protocol.
    #[error("pico_protocol names no protocol: it gives the address of {size} bytes, 1 to {size} of a-z, 0-9 and -, then zeros", size = abi::NAME_SIZE)]
    Protocol,
    /// Its first window is no number of pieces.
    #[error("the module's pico_first_window is {0}: needed 1 to {MAX_WINDOW}")]
    Window(u32),
    /// It cannot be started.
    #[error("the module does not start: {0}")]
    Start(String),
}

/// The most pieces of a side that a module may want to be shown at first.
const MAX_WINDOW: u32 = 64;

/// An export: name, type in words, numbers of parameters and results (all i32).
type Export = (&'static str, &'static str, usize, usize);

/// The exports that version 2 of the contract has added.
const EXPORTS_2: &[Export] =
    &[("pico_protocol", "a function () -> i32", 0, 1), ("pico_first_window", "a function () -> i32", 0, 1)];

/// The exports that the contract has demanded since version 1.
const EXPORTS: &[Export] = &[
    ("pico_abi_version", "a function () -> i32", 0, 1),
    ("pico_state_format", "a function () -> i32", 0, 1),
    ("allocate_input_output_bufs", "a function (i32, i32) -> i32", 2, 1),
    ("free_input_output_bufs", "a function ()", 0, 0),
    ("get_input_buf", "a function () -> i32", 0, 1),
    ("get_output_buf", "a function () -> i32", 0, 1),
    ("get_output_item_count", "a function () -> i32", 0, 1),
    ("get_output_item_size", "a function () -> i32", 0, 1),
    ("pico_parse_events", "a function (i32) -> i32", 1, 1),
];

/// Compiles modules, and runs the clock for their deadlines.
#[derive(Debug)]
pub struct Engine {
    wasmtime: Wasmtime,
    stop: Arc<AtomicBool>,
    clock: Option<JoinHandle<()>>,
}

impl Engine {
    /// `instances`: how many may exist at once.
    ///
    /// # Errors
    /// What wasmtime says if it cannot work here, for example because address space is limited.
    pub fn new(instances: u32) -> Result<Self, LoadError> {
        let wasmtime = Wasmtime::new(&config(instances)).map_err(|e| LoadError::Start(format!("{e:#}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (weak, stopped) = (wasmtime.weak(), Arc::clone(&stop));
        let clock = std::thread::Builder::new().name("deadline".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(TICK_MS));
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
            }
        });
        let clock = Some(clock.map_err(|e| LoadError::Start(format!("no thread for deadlines: {e}")))?);
        Ok(Self { wasmtime, stop, clock })
    }

    /// Compiles a module and checks it: no imports, the right exports, version, sizes, limits.
    ///
    /// # Errors
    /// The first of these that is wrong.
    pub fn load(&self, wasm: &[u8]) -> Result<Parser, LoadError> {
        let module = match self.compiled_ahead(wasm) {
            Some(module) => module,
            None => {
                if !wasm.starts_with(b"\0asm") {
                    return Err(LoadError::Broken(
                        "it does not begin as a WebAssembly binary does (text must be compiled first)".into(),
                    ));
                }
                bounds::check(wasm)?;
                Module::new(&self.wasmtime, wasm).map_err(|e| LoadError::Broken(quote(&format!("{e:#}"))))?
            }
        };
        check_module(&module)?;
        check_exports(&module, EXPORTS)?;
        let linker: Linker<Guest> = Linker::new(&self.wasmtime);
        let pre = linker.instantiate_pre(&module).map_err(|e| LoadError::Start(quote(&format!("{e:#}"))))?;
        let mut parser = Parser {
            pre,
            sha256: sha256(wasm),
            format: Format { protocol: ENTRY, state: 0 },
            first_window: 1,
            abi_version: abi::VERSION,
            bytes: wasm.len(),
        };
        let started = |fault: Fault| LoadError::Start(fault.to_string());
        let mut instance = Instance::start(&parser).map_err(started)?;
        let mut ask = |name| instance.ask(name).map_err(|fault| LoadError::Start(format!("{name}: {fault}")));
        let version = ask("pico_abi_version")?;
        if version != abi::VERSION {
            return Err(LoadError::Version { needed: abi::VERSION, had: version });
        }
        check_exports(parser.pre.module(), EXPORTS_2)?;
        let needed = u32::try_from(size_of::<abi::Record>()).unwrap_or(0);
        let had = ask("get_output_item_size")?;
        if had != needed {
            return Err(LoadError::RecordSize { needed, had });
        }
        parser.format.state = ask("pico_state_format")?;
        parser.first_window = ask("pico_first_window")?;
        if !(1..=MAX_WINDOW).contains(&parser.first_window) {
            return Err(LoadError::Window(parser.first_window));
        }
        let name = ask("pico_protocol")?;
        let name = instance.read(name).and_then(|name| Protocol::from_bytes(name).ok());
        parser.format.protocol = name.ok_or(LoadError::Protocol)?;
        instance.allocate().map_err(started)?;
        Ok(parser)
    }

    /// The machine code that the build has made of a built-in parser, if it runs on this processor: compiling it again
    /// would be most of the time of a short run.
    #[allow(unsafe_code, reason = "the machine code is part of this program, as trusted as the rest of it")]
    fn compiled_ahead(&self, wasm: &[u8]) -> Option<Module> {
        let (_, code) = BUILT_IN.into_iter().find(|(built_in, _)| *built_in == wasm)?;
        // SAFETY: the bytes are what this version of wasmtime made of the parser when this program was built; nothing
        // from outside is involved. wasmtime refuses code made for other settings or another processor.
        unsafe { Module::deserialize(&self.wasmtime, code) }.ok()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(clock) = self.clock.take() {
            clock.thread().unpark();
            drop(clock.join());
        }
    }
}

/// SHA-256 of a module file, in hexadecimal.
#[must_use]
pub fn sha256(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_module(module: &Module) -> Result<(), LoadError> {
    if let Some(import) = module.imports().next() {
        return Err(LoadError::Import { module: quote(import.module()), name: quote(import.name()) });
    }
    match module.get_export("memory") {
        // One that is too large for the engine's pool has been refused before.
        Some(ExternType::Memory(_)) => {}
        Some(_) => return Err(LoadError::WrongType { name: "memory", needed: "a memory" }),
        None => return Err(LoadError::Missing { name: "memory", needed: "a memory" }),
    }
    Ok(())
}

fn check_exports(module: &Module, exports: &[Export]) -> Result<(), LoadError> {
    for &(name, needed, params, results) in exports {
        let Some(export) = module.get_export(name) else { return Err(LoadError::Missing { name, needed }) };
        let ExternType::Func(ty) = export else { return Err(LoadError::WrongType { name, needed }) };
        let all_i32 = ty.params().chain(ty.results()).all(|t| t.is_i32());
        if !all_i32 || ty.params().len() != params || ty.results().len() != results {
            return Err(LoadError::WrongType { name, needed });
        }
    }
    Ok(())
}

fn config(instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        .max_memory_size(MAX_GUEST_MEMORY)
        .linear_memory_keep_resident(KEEP_RESIDENT);
    let mut config = settings();
    config
        .wasm_backtrace_max_frames(NonZeroUsize::new(8))
        .allocation_strategy(pool)
        // The bounds on modules are for one thread's time and memory, and a reload must not occupy other processors.
        .parallel_compilation(false);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_parsers_are_compiled_with_the_program() {
        let engine = Engine::new(1).unwrap();
        #[cfg(target_arch = "x86_64")]
        let runs_here = std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("bmi1")
            && std::is_x86_feature_detected!("bmi2")
            && std::is_x86_feature_detected!("lzcnt");
        #[cfg(not(target_arch = "x86_64"))]
        let runs_here = true;
        for (wasm, _) in BUILT_IN {
            assert_eq!(engine.compiled_ahead(wasm).is_some(), runs_here);
            assert!(engine.compiled_ahead(&wasm[1..]).is_none());
        }
    }
}
