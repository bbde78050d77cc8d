//! Packets that the capture does not have: every transaction whose heads survive is printed, and lost heads cost their own
//! transactions only.

use crate::support;
use std::collections::HashMap;
use std::fs;

use serde_json::Value;

use support::capture::{Compression, Format, Order, file};
use support::conversation::Sent;
use support::message::{Message, filler};
use support::program::{read, scratch};
use support::random::Random;
use support::scene::Scene;
use support::wire::{Packet, Side};

const CONNECTIONS: u64 = 40;
const EACH: u64 = 30;

/// An exchange: small and large bodies, with lengths and with chunks, and some without.
fn exchange(random: &mut Random, connection: u64, n: u64) -> (Message, Message) {
    let size = if random.one_in(3) { 8000 + random.below(50_000) as usize } else { random.below(800) as usize };
    let body = filler(size);
    let target = format!("/{connection}/{n}");
    let id = format!("{connection}-{n}");
    let (request, response) = support::message::varied(random, &target, &body, |_, get| get);
    (request, response.header("X-Id", &id))
}

/// The packets of all connections, each connection's in order, and the messages sent on them.
fn traffic(seed: u64) -> (Scene, Vec<(Sent, Sent)>) {
    let mut random = Random::new(seed);
    let mut scene = Scene::default();
    scene.step = 20_000;
    let mut said = vec![];
    let mut parts: Vec<Vec<Vec<Packet>>> = vec![];
    for connection in 0..CONNECTIONS {
        let mut c = scene.connection();
        c.open();
        let mut own = vec![std::mem::take(&mut c.packets)];
        for n in 0..EACH {
            let (request, response) = exchange(&mut random, connection, n);
            let asked = c.request(&request);
            let answered = c.locate(Side::Server, &response);
            // The client acknowledges every second segment.
            for pair in response.all().chunks(2 * c.mss) {
                c.send(Side::Server, pair);
                c.ack(Side::Client);
            }
            said.push((asked, answered));
            own.push(std::mem::take(&mut c.packets));
        }
        c.close();
        own.push(std::mem::take(&mut c.packets));
        parts.push(own);
    }
    scene.interleave(parts, &mut random);
    scene.stamp();
    (scene, said)
}

/// Removes about one packet in `one_in`, and checks what is printed.
fn lose(seed: u64, one_in: u64) {
    let (mut scene, said) = traffic(seed);
    let mut random = Random::new(seed ^ 0xdead);
    let before = scene.packets.len();
    scene.packets.retain(|_| !random.one_in(one_in));
    let lost = before - scene.packets.len();
    let path = scratch(&format!("loss-{seed}-{one_in}.pcap"));
    fs::write(&path, file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None))
        .unwrap();
    let outcome = read(&path, &["--header", "X-Id"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);

    let mut lines: HashMap<String, Value> = HashMap::new();
    for line in outcome.lines() {
        let value: Value = serde_json::from_str(&line).unwrap();
        if let Some(target) = value["target"].as_str() {
            let twice = lines.insert(target.to_owned(), value);
            assert!(twice.is_none(), "{line} is printed twice");
        }
    }
    // Which packets are there, by connection, is asked often: search in each connection's packets alone.
    let mut by_connection: Vec<Vec<Packet>> = vec![vec![]; CONNECTIONS as usize];
    for packet in std::mem::take(&mut scene.packets) {
        by_connection[packet.conversation].push(packet);
    }
    let (mut whole, mut guessed, mut missing, mut invented) = (0, 0, vec![], vec![]);
    for (asked, answered) in &said {
        scene.packets = std::mem::take(&mut by_connection[asked.conversation]);
        let (request, response) = (asked.head_survives(&scene.packets), answered.head_survives(&scene.packets));
        let target = asked.message.start_line()[1].clone();
        let id = answered.message.value("x-id").unwrap();
        let line = lines.get(&target);
        let paired = line.is_some_and(|line| line["response_headers"]["x-id"][0] == *id);
        if request && response {
            whole += 1;
            if !paired {
                missing.push(format!("{target}: {line:?}"));
            }
        } else if request && line.is_none() {
            missing.push(format!("{target}: its request was there"));
        }
        // A response is never paired with a request that it does not answer, unless the line is flagged as a guess.
        if let Some(line) = line.filter(|line| line["response_headers"]["x-id"].is_array() && !paired) {
            let flags = line["flags"].as_array();
            if flags.is_some_and(|flags| flags.iter().any(|flag| flag == "pairing_inferred")) {
                guessed += 1;
            } else {
                invented.push(format!("{target}: {line}"));
            }
        }
        by_connection[asked.conversation] = std::mem::take(&mut scene.packets);
    }
    println!(
        "{lost} of {before} packets lost, {guessed} wrong guesses, {whole} of {} transactions with both heads",
        said.len()
    );
    assert!(
        missing.is_empty(),
        "{}: {} of {whole} missing: {:#?}",
        path.display(),
        missing.len(),
        &missing[..missing.len().min(5)]
    );
    assert!(
        invented.is_empty(),
        "{}: {} paired wrongly: {:#?}",
        path.display(),
        invented.len(),
        &invented[..invented.len().min(5)]
    );
    // A response that acknowledges a request that was lost is not given to the one before it.
    assert_eq!(guessed, 0, "{}: of {} transactions so many are paired by a wrong guess", path.display(), said.len());
    fs::remove_file(path).unwrap();
}

#[test]
fn nothing_is_lost_without_loss() {
    lose(1, u64::MAX);
}

#[test]
fn one_packet_in_a_hundred_is_lost() {
    for seed in 10..13 {
        lose(seed, 100);
    }
}

#[test]
fn one_packet_in_ten_is_lost() {
    for seed in 20..26 {
        lose(seed, 10);
    }
}

#[test]
fn one_packet_in_five_is_lost() {
    for seed in 100..103 {
        lose(seed, 5);
    }
}
