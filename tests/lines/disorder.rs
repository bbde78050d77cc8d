//! Keep-alive connections without pipelining, some of them joined midway, whose packets were captured in another order
//! than they were sent, and some not at all: no pair is wrong without a flag, and few that are right have one.

use crate::support;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use support::capture::{Compression, Format, Order, file};
use support::conversation::{Conversation, Sent};
use support::message::{Message, filler};
use support::program::{read, scratch};
use support::random::Random;
use support::scene::{START, Scene};
use support::wire::{Packet, Side};

const US: i64 = 1000;
const MS: i64 = 1000 * US;
/// Exchanges on a connection.
const EACH: u64 = 20;
/// How far a packet is displaced, at most.
const FAR: u64 = 3_000_000;

/// A request and its answer, each with the same number.
fn exchange(random: &mut Random, number: usize) -> (Message, Message) {
    let size = if random.one_in(4) { 8000 + random.below(30_000) as usize } else { random.below(800) as usize };
    let body = filler(size);
    let target = format!("/{number}");
    let (request, response) = support::message::varied(random, &target, &body, |random, get| {
        get.header("Cookie", &"c".repeat(random.below(3000) as usize))
    });
    (request, response.header("X-Id", &number.to_string()))
}

/// A connection, as it is seen near the server.
struct Play {
    c: Conversation,
    packets: Vec<Packet>,
    time: i64,
}

impl Play {
    /// Captures what was sent since, 20 us apart, from `late` on.
    fn pass(&mut self, late: i64) {
        for mut packet in self.c.packets.drain(..) {
            self.time += 20 * US;
            packet.time = self.time + late;
            self.packets.push(packet);
        }
    }
}

fn play(scene: &mut Scene, random: &mut Random, said: &mut Vec<(Sent, Sent)>) -> Vec<Packet> {
    let round = *random.pick(&[100 * US, MS, 10 * MS, 40 * MS]);
    let mut p = Play { c: scene.connection(), packets: vec![], time: START + random.below(60_000_000_000) as i64 };
    p.c.syn();
    p.c.syn_ack();
    p.pass(0);
    p.time += round;
    p.c.ack(Side::Client);
    p.pass(0);
    for _ in 0..EACH {
        let (request, response) = exchange(random, said.len());
        let asked = p.c.request(&request);
        if random.one_in(2) {
            p.c.ack(Side::Server);
        }
        p.pass(0);
        p.time += 50 * US + random.below(5_000_000) as i64;
        let answered = p.c.locate(Side::Server, &response);
        for pair in response.all().chunks(2 * p.c.mss) {
            p.c.send(Side::Server, pair);
            p.pass(0);
            p.c.ack(Side::Client);
            p.pass(round);
        }
        if random.one_in(2) {
            p.packets.pop(); // the next request acknowledges as much
        }
        said.push((asked, answered));
        p.time += round + random.below(20_000_000) as i64;
    }
    p.c.close();
    p.pass(0);
    p.packets.sort_by_key(|packet| packet.time);
    p.packets
}

#[derive(Debug, Default)]
struct Tally {
    /// Exchanges whose heads were both captured; of these, those that are not printed as one line.
    whole: usize,
    missing: usize,
    /// Pairs that are right; of these, those with a flag of doubt.
    right: usize,
    doubted: usize,
    /// Pairs that are wrong; of these, those without a flag.
    wrong: usize,
    unflagged: Vec<String>,
}

/// What was said, and of each connection what was captured.
struct Played {
    path: PathBuf,
    said: Vec<(Sent, Sent)>,
    by_connection: Vec<Vec<Packet>>,
}

/// Plays so many exchanges, loses `loss` of a hundred packets, displaces one in five, and cuts each at `snapped` bytes.
fn captured(seed: u64, exchanges: u64, loss: u64, snapped: Option<usize>) -> Played {
    let (mut scene, mut random, mut said) = (Scene::default(), Random::new(seed), vec![]);
    let mut by_connection: Vec<Vec<Packet>> = vec![];
    for connection in 0..exchanges / EACH {
        let mut packets = play(&mut scene, &mut random, &mut said);
        if connection % 10 < 3 {
            packets.drain(..random.below(packets.len() as u64 / 2) as usize + 1);
        }
        packets.retain(|_| random.below(100) >= loss);
        for packet in &mut packets {
            if random.one_in(5) {
                packet.time += random.below(FAR) as i64;
            }
            packet.snapped = snapped;
        }
        by_connection.push(packets);
    }
    let mut all: Vec<Packet> = by_connection.iter().flatten().cloned().collect();
    all.sort_by_key(|packet| packet.time);
    let path = scratch(&format!("disorder-{seed}-{loss}.pcap"));
    fs::write(&path, file(&scene.frames(&all), Format::Pcap(Order::Little, false), Compression::None)).unwrap();
    Played { path, said, by_connection }
}

/// Judges what is printed of a capture.
fn judge(seed: u64, exchanges: u64, loss: u64) -> Tally {
    let Played { path, said, by_connection } = captured(seed, exchanges, loss, None);
    let outcome = read(&path, &["--header", "X-Id"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);

    let mut tally = Tally::default();
    let mut paired: HashMap<String, bool> = HashMap::new();
    for line in outcome.lines() {
        let value: Value = serde_json::from_str(&line).unwrap();
        let (Some(target), Some(id)) = (value["target"].as_str(), value["response_headers"]["x-id"][0].as_str()) else {
            continue;
        };
        let doubt = value["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "pairing_inferred"));
        let right = target[1..] == *id;
        assert!(paired.insert(target.to_owned(), right).is_none(), "{line} is printed twice");
        if right {
            tally.right += 1;
            tally.doubted += usize::from(doubt);
        } else {
            tally.wrong += 1;
            if !doubt {
                tally.unflagged.push(line);
            }
        }
    }
    for (asked, answered) in &said {
        let packets = &by_connection[asked.conversation];
        if asked.head_survives(packets) && answered.head_survives(packets) {
            tally.whole += 1;
            let target = &asked.message.start_line()[1];
            tally.missing += usize::from(paired.get(target) != Some(&true));
        }
    }
    println!("{}: {exchanges} exchanges, {loss} % lost: {tally:?}", path.display());
    assert!(tally.unflagged.is_empty(), "{}: wrong without a flag: {:#?}", path.display(), tally.unflagged);
    fs::remove_file(path).unwrap();
    tally
}

/// What is asked for without loss.
fn disorder(seed: u64, exchanges: u64) {
    let tally = judge(seed, exchanges, 0);
    assert!(tally.wrong * 1000 < tally.right, "{} of {} pairs are wrong", tally.wrong, tally.right);
    assert!(tally.doubted * 100 <= tally.right, "{} of {} right pairs are doubted", tally.doubted, tally.right);
    assert!(tally.missing * 1000 < tally.whole, "{} of {} pairs are missing", tally.missing, tally.whole);
}

/// What is asked for with loss.
fn loss(seed: u64, exchanges: u64) {
    let tally = judge(seed, exchanges, 8);
    let inferred = tally.wrong + tally.doubted;
    assert!(tally.wrong * 100 < inferred.max(1), "{} of {inferred} inferred pairs are wrong", tally.wrong);
}

#[test]
fn disorder_makes_no_pair_wrong() {
    disorder(1, 8000);
}

#[test]
fn disorder_and_loss_make_few_pairs_wrong() {
    loss(2, 8000);
}

#[test]
fn every_start_line_that_a_snap_length_of_200_leaves_appears() {
    const SNAPPED: usize = 200;
    let Played { path, said, by_connection } = captured(5, 8000, 0, Some(SNAPPED));
    let outcome = read(&path, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let lines: Vec<Value> = outcome.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let targets: HashSet<&str> = lines.iter().filter_map(|line| line["target"].as_str()).collect();
    // Ethernet, IP and TCP without options.
    let room = SNAPPED - 54;
    let shows = |sent: &Sent| {
        let line = sent.message.start_line().join(" ").len() + 2;
        let first =
            |packet: &Packet| packet.side == sent.side && packet.offset == sent.start && !packet.payload.is_empty();
        line <= room && by_connection[sent.conversation].iter().any(first)
    };
    let asked: Vec<String> =
        said.iter().filter(|(asked, _)| shows(asked)).map(|(asked, _)| asked.message.start_line()[1].clone()).collect();
    let lost: Vec<_> = asked.iter().filter(|target| !targets.contains(target.as_str())).collect();
    assert!(asked.len() > 6000 && lost.is_empty(), "{} of {} requests: {lost:?}", lost.len(), asked.len());
    let answered = said.iter().filter(|(_, answered)| shows(answered)).count();
    let statuses = lines.iter().filter(|line| line.get("status").is_some()).count();
    assert!(answered > 6000 && statuses == answered, "{statuses} of {answered} statuses");
    fs::remove_file(path).unwrap();
}

#[test]
#[ignore = "takes minutes: part of the soak"]
fn disorder_in_100_000_lines() {
    disorder(3, 110_000);
}

#[test]
#[ignore = "takes minutes: part of the soak"]
fn disorder_and_loss_in_100_000_lines() {
    loss(4, 120_000);
}
