//! Writes a capture to measure with: `cargo run --release --example generate -- A a.pcap`.
//!
//! `A` (about 570 MB) and `B` (about 180 MB) are the captures of the README's numbers; `CONNECTIONS,EACH,BODY` generates
//! another one: number of connections, transactions on each, average bytes of a body. The same arguments give the same
//! bytes on every machine. `H2` is 200,000 transactions over HTTP/2 on 1,000 connections, ten at once on each;
//! `CONNECTIONS,EACH,BODY,2` is another one over HTTP/2.
//!
//! `generate -- A a.pcap keys.txt` carries the same over TLS 1.3 (full handshakes, one certificate, AES-128-GCM), and writes
//! the key log; not of those over HTTP/2. Its randoms are new each time. Needs openssl, for the certificate.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a tool of the project's own, which reads nothing from the wire"
)]

use std::fs::File;
use std::io::{BufWriter, Write};

#[path = "../tests/support/frame.rs"]
#[allow(dead_code, missing_docs, reason = "shared with tests that use other parts of it")]
mod frame;
#[path = "../tests/support/streams.rs"]
mod streams;
#[path = "../tests/support/tls/mod.rs"]
mod tls_support;
#[path = "../tests/support/workload.rs"]
mod workload;

use picotap::stream::Side;
use streams::{H2, Streams};
use tls_support::talk::{Ends, SUITES, Setting, Talk};
use workload::{A, B, Layer, Workload};

/// A TLS connection.
struct Tls(Talk);

impl Tls {
    /// What was sent since.
    fn sent(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.0.script.sent.drain(..).map(|sent| (sent.side.index(), sent.bytes)).collect()
    }
}

impl Layer for Tls {
    fn begin(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.0.handshake();
        self.sent()
    }

    fn say(&mut self, side: usize, text: &[u8]) -> Vec<(usize, Vec<u8>)> {
        self.0.say(if side == 0 { Side::First } else { Side::Second }, text);
        self.sent()
    }

    fn end(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.0.close();
        self.sent()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (which, path, keys) = match arguments.as_slice() {
        [which, path] => (which, path, None),
        [which, path, keys] => (which, path, Some(keys)),
        _ => {
            return Err(
                "usage: generate A|B|CONNECTIONS,EACH,BODY FILE [KEYLOG], or H2|CONNECTIONS,EACH,BODY,2 FILE".into()
            );
        }
    };
    let (which, over_http2) = match which.strip_suffix(",2").filter(|rest| rest.split(',').count() == 3) {
        Some(rest) => (rest, true),
        None => (&**which, which == "H2"),
    };
    let workload = match which {
        "A" => A,
        "B" => B,
        "H2" => H2,
        other => {
            let numbers: Vec<u32> = other.split(',').map(str::parse).collect::<Result<_, _>>()?;
            let [connections, each, body] = numbers[..] else { return Err("three numbers are needed".into()) };
            Workload { connections, each, body, seed: 3 }
        }
    };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (packets, bytes) = match keys {
        None if over_http2 => {
            let mut streams = Streams::new(&workload);
            workload.write_rounds(&mut out, |connection, round| streams.round(&workload, connection, round))?
        }
        Some(_) if over_http2 => return Err("over HTTP/2 there is no key log".into()),
        None => workload.write(&mut out)?,
        Some(keys) => {
            let (version, suite, _) = SUITES[0];
            let ends = Ends::new(version, suite, Setting::default());
            let written = workload.write_over(&mut out, |_| Some(Box::new(Tls(ends.talk()))))?;
            std::fs::write(keys, ends.log.0.lock().unwrap().as_bytes())?;
            written
        }
    };
    out.flush()?;
    println!("{path}: {packets} packets, {bytes} bytes, {} transactions", workload.connections * workload.each);
    Ok(())
}
