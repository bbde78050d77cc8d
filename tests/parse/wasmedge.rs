//! The argv way under WasmEdge gives what it gives under wasmtime. Where libwasmedge is not installed this is skipped,
//! unless PICOTAP_NEEDS_WASMEDGE is set, as deploy/soak/wasmedge.sh does.
#![cfg(feature = "parse")]

use crate::vectors;
use std::sync::{Mutex, MutexGuard, PoisonError};

use picotap::parse::{Error, Runtime, Via, parse};

/// One test at a time: while WasmEdge runs, the process has its signal handlers.
static ALONE: Mutex<()> = Mutex::new(());

/// Whether the library is there; if so, the test is alone.
fn alone() -> Option<MutexGuard<'static, ()>> {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match parse(Via::Argv, Runtime::Wasmedge, &[]) {
        Err(Error::NoWasmEdge(why)) if std::env::var_os("PICOTAP_NEEDS_WASMEDGE").is_none() => {
            eprintln!("skipped: libwasmedge cannot be used: {why}");
            None
        }
        other => other.map(|_| Some(guard)).unwrap(),
    }
}

#[test]
fn every_vector_gets_the_same_reply_and_the_same_lines() {
    let Some(_alone) = alone() else { return };
    let all = vectors::all();
    let requests: Vec<&[u8]> =
        all.iter().map(|(_, bytes)| bytes.as_slice()).filter(|bytes| !bytes.contains(&0)).collect();
    let ours = parse(Via::Argv, Runtime::Wasmtime, &requests).unwrap();
    let theirs = parse(Via::Argv, Runtime::Wasmedge, &requests).unwrap();
    assert!(ours == theirs);
}

#[test]
fn a_request_with_nul_is_refused_by_its_number() {
    let Some(_alone) = alone() else { return };
    let error = parse(Via::Argv, Runtime::Wasmedge, &[b"GET", b"a\0b"]).unwrap_err();
    assert!(matches!(error, Error::Nul { index: 1, at: 1 }), "{error}");
}

#[test]
#[ignore = "makes a Debian root with debootstrap, as root"]
fn a_trixie_root_has_a_wasmedge_that_agrees() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/soak/wasmedge.sh");
    let this = std::env::current_exe().unwrap();
    let done = std::process::Command::new(script).arg(env!("CARGO_BIN_EXE_picotap")).arg(this).status().unwrap();
    assert!(done.success());
}

/// WasmEdge sets the signals by which wasmtime knows of a trap to their defaults.
#[test]
fn a_trap_under_wasmtime_is_still_an_error_afterwards() {
    let Some(_alone) = alone() else { return };
    parse(Via::Argv, Runtime::Wasmedge, &[b"GET"]).unwrap();
    let engine = wasmtime::Engine::default();
    let trap = r#"(module (memory 1) (func (export "f") (drop (i32.load (i32.const -4)))))"#;
    let module = wasmtime::Module::new(&engine, wat::parse_str(trap).unwrap()).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
    parse(Via::Argv, Runtime::Wasmedge, &[b"GET"]).unwrap();
    let load = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    assert!(load.call(&mut store, ()).unwrap_err().is::<wasmtime::Trap>());
}
