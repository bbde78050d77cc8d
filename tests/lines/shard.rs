//! The shards of a capture together are the capture: the lines of `--shard 1/N` to `N/N`, identifiers included, are those of a run
//! without shards; and what identifies a connection does not depend on how the work is divided.

use crate::support;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::capture::{Compression, Format, Order, file};
use support::encapsulation::{Encapsulation, LINK_ETHERNET, Layer};
use support::fixtures;
use support::message::{Message, filler};
use support::program::{Outcome, picotap, run, scratch};
use support::random::Random;
use support::scene::Scene;
use support::wire::{Packet, fragments};

/// Sorted lines of a run over these files, whose ledger is balanced; and what it has printed beside them.
fn lines(files: &[PathBuf], args: &[&str]) -> (Vec<String>, Outcome) {
    let mut command: Command = picotap();
    for file in files {
        command.arg("--pcap").arg(file);
    }
    let outcome = run(command.args(["--format", "json", "--stats"]).args(args));
    assert!(outcome.stderr.contains("  balanced\n"), "{files:?} {args:?}: {}", outcome.stderr);
    let mut lines = outcome.lines();
    lines.sort();
    (lines, outcome)
}

/// Asserts that the shards together give what the whole gives. The number of lines of each.
fn assert_shards(files: &[PathBuf], args: &[&str], of: usize) -> Vec<usize> {
    let (whole, outcome) = lines(files, args);
    let mut union = vec![];
    let mut sizes = vec![];
    let mut segments = 0;
    for number in 1..=of {
        let shard = format!("{number}/{of}");
        let (part, outcome) = lines(files, &[args, &["--shard", &shard]].concat());
        segments += outcome.figure("segments") - outcome.figure("packets of other shards");
        sizes.push(part.len());
        union.extend(part);
    }
    union.sort();
    assert_eq!(union, whole, "{files:?} {args:?}");
    assert_eq!(segments, outcome.figure("segments"), "each segment is in one shard: {files:?}");
    sizes
}

#[test]
fn the_shards_of_every_fixture_are_the_whole() {
    let mut divided = 0;
    for case in crate::cases::all() {
        let scene = case.scene();
        let files = case.captures(&scene);
        let args: Vec<&str> = scene.args.iter().map(String::as_str).collect();
        // Before and after translation a connection has two pairs of addresses, and may be in two shards.
        if case.name == "seen-again-dnat" {
            continue;
        }
        let sizes = assert_shards(&files, &args, 3);
        divided += usize::from(sizes.iter().filter(|size| **size > 0).count() > 1);
    }
    assert!(divided > 5, "{divided} fixtures have lines in several shards");
    for recording in ["http.pcap", "servers.pcap"] {
        let sizes = assert_shards(&[fixtures::path(recording)], &[], 3);
        assert!(sizes.iter().all(|size| *size > 0), "{recording}: {sizes:?}");
    }
}

fn cut(packet: &[u8]) -> Vec<Vec<u8>> {
    fragments(packet, 400, 5)
}

/// Connections in tunnels and without, some of whose packets are fragmented, lost, repeated, or late by seconds.
fn generated(connections: usize, seed: u64) -> PathBuf {
    let mut scene = Scene::default();
    let mut random = Random::new(seed);
    let around: Vec<Vec<Layer>> = vec![
        vec![Layer::Ethernet],
        vec![Layer::Ethernet, Layer::Tag(0x8100, 7)],
        vec![Layer::Ethernet, Layer::Vxlan(9), Layer::Ethernet],
        vec![Layer::Ethernet, Layer::Geneve(3, true), Layer::Ethernet],
        vec![Layer::Ethernet, Layer::Gre(None)],
        vec![Layer::Ethernet, Layer::Ipip],
    ];
    let mut parts: Vec<Vec<Vec<Packet>>> = vec![];
    scene.encapsulations.clear();
    for number in 0..connections {
        let mut c = if number % 4 == 3 { scene.connection_v6() } else { scene.connection() };
        let layers: &Vec<Layer> = random.pick(&around);
        let mut encapsulation = Encapsulation::new(LINK_ETHERNET, layers);
        if encapsulation.layers.iter().any(|layer| matches!(layer, Layer::Vxlan(_))) && random.one_in(2) {
            encapsulation.back = Some(vec![Layer::Ethernet, Layer::Vxlan(10), Layer::Ethernet]);
        }
        scene.encapsulations.push(encapsulation);
        c.open();
        let mut own = vec![std::mem::take(&mut c.packets)];
        for exchange in 0..random.below(5) {
            let request = Message::post(&format!("/{number}/{exchange}"), &filler(random.below(1500) as usize));
            c.exchange(&request, &Message::ok(&filler(random.below(6000) as usize)));
            let mut packets = std::mem::take(&mut c.packets);
            for packet in &mut packets {
                if packet.payload.len() > 600 && random.one_in(3) {
                    packet.cut = Some(cut);
                }
                if random.one_in(60) {
                    packet.pause = random.below(4) as i64 * 1_000_000_000;
                }
            }
            match random.below(20) {
                0 => drop(packets.remove(random.below(packets.len() as u64) as usize)),
                1 => packets.push(random.pick(&packets.clone()).clone()),
                2 => {
                    let late = packets.remove(random.below(packets.len() as u64) as usize);
                    packets.push(late);
                }
                _ => {}
            }
            own.push(packets);
        }
        if !random.one_in(5) {
            c.close();
            own.push(std::mem::take(&mut c.packets));
        }
        parts.push(own);
    }
    scene.interleave(parts, &mut random);
    scene.stamp();
    let path = scratch(&format!("shard-{seed}.pcap"));
    fs::write(&path, file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None))
        .unwrap();
    path
}

#[test]
fn the_shards_of_a_large_capture_are_the_whole() {
    for seed in 1..=5 {
        let capture = generated(300, seed);
        for (of, args) in [(3, &["--workers", "2"][..]), (7, &["--sensor", "s"])] {
            let sizes = assert_shards(std::slice::from_ref(&capture), args, of);
            assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
        }
    }
}

#[test]
fn an_identifier_does_not_depend_on_how_the_work_is_divided() {
    let (one, other) = (generated(200, 11), fixtures::path("http.pcap"));
    let (alone, _) = lines(std::slice::from_ref(&one), &[]);
    let (with_workers, _) = lines(std::slice::from_ref(&one), &["--workers", "3"]);
    assert_eq!(with_workers, alone);
    let (behind, _) = lines(&[other.clone(), one.clone()], &[]);
    let (before, _) = lines(&[other], &[]);
    let mut apart = [alone.clone(), before].concat();
    apart.sort();
    assert_eq!(behind, apart);
    // Another sensor, other identifiers.
    let ids = |lines: &[String]| -> std::collections::BTreeSet<String> {
        let conn = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["conn"].to_string();
        lines.iter().map(conn).collect()
    };
    let (named, _) = lines(&[one], &["--sensor", "s"]);
    assert_eq!(ids(&named).len(), ids(&alone).len());
    assert!(ids(&named).is_disjoint(&ids(&alone)));
}
