//! Writes a capture to measure with: `cargo run --release --example generate -- A a.pcap`.
//!
//! `A` (about 570 MB) and `B` (about 180 MB) are the captures of the README's numbers; `CONNECTIONS,EACH,BODY` generates
//! another one: number of connections, transactions on each, average bytes of a body. The same arguments give the same
//! bytes on every machine. `H2` is 200,000 transactions over HTTP/2 on 1,000 connections, ten at once on each;
//! `CONNECTIONS,EACH,BODY,2` is another one over HTTP/2.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a tool of the project's own, which reads nothing from the wire"
)]

use std::fs::File;
use std::io::{BufWriter, Write};

#[path = "../tests/support/streams.rs"]
mod streams;
#[path = "../tests/support/workload.rs"]
mod workload;

use streams::{H2, Streams};
use workload::{A, B, Workload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [which, path] = arguments.as_slice() else {
        return Err("usage: generate A|B|H2|CONNECTIONS,EACH,BODY[,2] FILE".into());
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
    let (packets, bytes) = if over_http2 {
        let mut streams = Streams::new(&workload);
        workload.write_rounds(&mut out, |connection, round| streams.round(&workload, connection, round))?
    } else {
        workload.write(&mut out)?
    };
    out.flush()?;
    println!("{path}: {packets} packets, {bytes} bytes, {} transactions", workload.connections * workload.each);
    Ok(())
}
