//! The traces of RFC 8448 are read: bytes, secrets and plaintext are those that the standard's authors published.

use crate::support;
use std::collections::BTreeMap;

use picotap::stream::Side;
use picotap::tls::keys::KeyStore;
use picotap::tls::probed::{Call, Calls, Derived};
use picotap::tls::{Dark, Early, Fate};
use support::tls::{Reading, Script, Sent, Told, read};

/// RFC 8448, sections 3 to 7: of each trace its secrets, in the form of a key log, and its records ("complete record"), in their order.
const TRACES: &str = include_str!("rfc8448.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// By section.
fn traces() -> BTreeMap<u8, Script> {
    let mut traces: BTreeMap<u8, Script> = BTreeMap::new();
    for line in TRACES.lines() {
        if let Some(section) = line.strip_prefix("section ") {
            traces.insert(section.parse().unwrap(), Script::default());
            continue;
        }
        let mut trace = traces.last_entry().unwrap();
        let trace = trace.get_mut();
        match line.split_once(' ').unwrap() {
            ("secret", secret) => trace.key_log += &format!("{secret}\n"),
            ("client", record) => trace.sent.push(Sent { side: Side::First, bytes: bytes(record), plaintext: None }),
            ("server", record) => trace.sent.push(Sent { side: Side::Second, bytes: bytes(record), plaintext: None }),
            (_, rest) => trace.sent.last_mut().unwrap().bytes.extend(bytes(rest.trim())),
        }
    }
    traces
}

/// Reads a trace in segments of this size.
fn reading(trace: &Script, size: usize) -> Reading {
    read(&trace.segments(size), &trace.store(), [Side::First, Side::Second].map(|side| trace.length(side)))
}

#[test]
fn the_published_traces_are_decrypted() {
    let traces = traces();
    assert_eq!(traces.keys().copied().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    let numbers: Vec<u8> = (0..50).collect();
    for (section, trace) in &traces {
        for size in [1, 7, 100, 1460, 20_000] {
            let read = reading(trace, size);
            let (client, server) = match section {
                3 => (numbers.clone(), numbers.clone()),
                4 => ([&b"ABCDEF"[..], &numbers].concat(), numbers.clone()),
                _ => (vec![], vec![]),
            };
            let context = format!("section {section} in segments of {size}");
            assert_eq!([Side::First, Side::Second].map(|side| read.plaintext(side)), [client, server], "{context}");
            // What closes each side is encrypted with the last of its keys.
            let closed = read.told.iter().filter(|told| matches!(told, Told::Closed(..))).count();
            assert_eq!(closed, 2, "{context}");
            assert_eq!(read.connection.fate(), Fate { decrypted: true, dark: None, established: true }, "{context}");
            let info = read.connection.info();
            assert_eq!((info.version_name(), info.suite_name()), (Some("TLSv1.3"), Some("TLS_AES_128_GCM_SHA256")));
            assert_eq!((info.server_name.as_deref(), info.alert), (Some("server"), None), "{context}");
            assert_eq!((info.resumed, info.early_data == Early::Accepted), (Some(*section == 4), *section == 4));
            assert_eq!(read.counters.dark.iter().sum::<u64>(), 0, "{context}");
        }
    }
}

/// What a library that is probed computes in section 3: the handshake secret with the hash of the hellos, and the master secret with
/// that of the messages up to the server's Finished.
#[test]
fn a_trace_is_decrypted_by_what_its_client_derives() {
    let trace = &traces()[&3];
    let mut store = KeyStore::default().by_transcript();
    let mut calls = Calls::default();
    for (what, secret, with) in [
        (
            Derived::Handshake,
            "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac",
            "860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8",
        ),
        (
            Derived::Application,
            "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919",
            "9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13",
        ),
    ] {
        calls.take(&Call { what, secret: &bytes(secret), with: &bytes(with), process: 1 }, &mut store);
    }
    for size in [1, 7, 1460] {
        let read = read(&trace.segments(size), &store, [Side::First, Side::Second].map(|side| trace.length(side)));
        let numbers: Vec<u8> = (0..50).collect();
        assert_eq!([Side::First, Side::Second].map(|side| read.plaintext(side)), [numbers.clone(), numbers]);
        assert_eq!(read.connection.fate(), Fate { decrypted: true, dark: None, established: true });
    }
}

#[test]
fn without_their_secrets_they_stay_dark() {
    for (section, trace) in traces() {
        let read = reading(&Script { key_log: String::new(), ..trace }, 1460);
        let fate = read.connection.fate();
        assert_eq!((fate.decrypted, fate.dark), (false, Some(Dark::NoKey)), "section {section}");
        assert!(read.counters.dark[Dark::NoKey as usize] > 0 && read.counters.plaintext == 0);
    }
}
