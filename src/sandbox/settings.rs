//! The engine's settings, for the program, which runs parsers, and for its build, which compiles the built-in one: machine
//! code runs only under the settings that it was made for.

use wasmtime::Config;

/// Bytes of native stack for a guest. Its own (shadow) stack is in its memory.
const MAX_WASM_STACK: usize = 256 << 10;

/// Every proposal that a C parser does not use is off, to keep the trusted part of wasmtime small.
pub(super) fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK)
        .memory_may_move(false)
        .wasm_simd(true)
        .wasm_bulk_memory(true)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .gc_support(false)
        .wasm_extended_const(false)
        .wasm_wide_arithmetic(false);
    // Only the command `parse` needs wasmtime's support for references; without it these settings do not exist.
    #[cfg(feature = "parse")]
    config.wasm_function_references(false).wasm_gc(false).wasm_reference_types(true);
    config
}
