//! The argv way under WasmEdge gives what it gives under wasmtime. Where libwasmedge is not installed this is skipped,
//! unless PICOTAP_NEEDS_WASMEDGE is set, as deploy/soak/wasmedge.sh does.
#![cfg(feature = "parse")]

#[path = "parse_vectors/mod.rs"]
mod vectors;

use picotap::parse::{Error, Runtime, Via, parse};

/// Whether the library is there.
fn installed() -> bool {
    match parse(Via::Argv, Runtime::Wasmedge, &[]) {
        Err(Error::NoWasmEdge(why)) if std::env::var_os("PICOTAP_NEEDS_WASMEDGE").is_none() => {
            eprintln!("skipped: libwasmedge cannot be used: {why}");
            false
        }
        other => other.map(|_| true).unwrap(),
    }
}

#[test]
fn every_vector_gets_the_same_reply_and_the_same_lines() {
    if !installed() {
        return;
    }
    let all = vectors::all();
    let requests: Vec<&[u8]> = all.iter().map(|(_, bytes)| bytes.as_slice()).filter(|bytes| !bytes.contains(&0)).collect();
    let ours = parse(Via::Argv, Runtime::Wasmtime, &requests).unwrap();
    let theirs = parse(Via::Argv, Runtime::Wasmedge, &requests).unwrap();
    assert!(ours == theirs);
}

#[test]
fn a_request_with_nul_is_refused_by_its_number() {
    if !installed() {
        return;
    }
    let error = parse(Via::Argv, Runtime::Wasmedge, &[b"GET", b"a\0b"]).unwrap_err();
    assert!(matches!(error, Error::Nul { index: 1, at: 1 }), "{error}");
}
