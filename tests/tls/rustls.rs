//! Conversations that rustls makes in memory, with their key log: what picotap reads of them is what was said, whatever is lost.

use crate::support;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Duration;

use picotap::stream::{Position, Side};
use picotap::tls::keylog::KeyLog;
use picotap::tls::keys::KeyStore;
use picotap::tls::{Buffers, Connection, Context, Dark, Early, Output, Progress, TlsCounters};
use rustls::ServerConnection;
use support::random::Random;
use support::tls::talk::{Ends, SUITES, Setting, Talk};
use support::tls::{Recorder, Script, Segment, Sent, Told, judge, judge_spoilt, read};

/// A conversation with records of about this size, `volume` bytes of them.
fn conversation(suite: usize, size: usize, volume: usize, setting: Setting, seed: u64) -> Script {
    let (version, cipher, _) = SUITES[suite];
    let mut random = Random::new(seed);
    let mut talk = Talk::new(version, cipher, setting);
    let mut said = 0;
    while said < volume {
        talk.say(Side::First, &random.bytes(size.min(300)));
        for _ in 0..1 + random.below(12) {
            let length = if random.one_in(4) { 1 + random.below(size as u64) as usize } else { size };
            talk.say(Side::Second, &random.bytes(length));
            said += length + 40;
        }
    }
    talk.close();
    talk.script()
}

#[test]
fn every_suite_is_read_whole() {
    for (suite, (version, _, name)) in SUITES.iter().enumerate() {
        for (size, mss) in [(16_384, 1460), (700, 9000), (1, 1460), (3000, 1), (16_384, 60_000)] {
            let volume = if mss == 1 { 5000 } else { 60_000 };
            let script = conversation(suite, size, volume, Setting { tickets: 2, ..Setting::default() }, 7);
            let (reading, records, missed) = judge(&script, &script.segments(mss));
            assert!(records > 1 && missed == 0, "{name}: {missed} of {records}");
            for side in [Side::First, Side::Second] {
                assert_eq!(reading.plaintext(side), script.plaintext(side));
            }
            let closed = reading.told.iter().filter(|told| matches!(told, Told::Closed(..))).count();
            assert_eq!(closed, 2, "{name}");
            let info = reading.connection.info();
            let number = if version.version == rustls::ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" };
            assert_eq!((info.suite_name(), info.version_name()), (Some(*name), Some(number)));
            assert_eq!((info.server_name.as_deref(), info.alpn.as_deref()), (Some("picotap.test"), Some("http/1.1")));
            assert_eq!(*info.alpn_offered, ["h2".into(), "http/1.1".into()]);
            assert_eq!((info.resumed, info.early_data), (Some(false), Early::None));
            assert_eq!(reading.counters.dark.iter().sum::<u64>(), 0);
            // Small records are many, and the place of each is kept until it is acknowledged.
            let memory = reading.connection.memory();
            assert!(memory < if size == 16_384 { 2048 } else { 4096 }, "{name}, records of {size}: {memory} bytes");
        }
    }
}

#[test]
fn without_keys_a_connection_is_dark_and_named() {
    for suite in [0, 3] {
        let script = Script { key_log: String::new(), ..conversation(suite, 1000, 5000, Setting::default(), 7) };
        let lengths = [script.length(Side::First), script.length(Side::Second)];
        let reading = read(&script.segments(1460), &script.store(), lengths);
        assert!(reading.told.is_empty());
        let connection = &reading.connection;
        assert_eq!(
            (connection.dark(Side::First), connection.dark(Side::Second)),
            (Some(Dark::NoKey), Some(Dark::NoKey))
        );
        assert_eq!(connection.info().server_name.as_deref(), Some("picotap.test"));
        assert!(reading.memory < 4096, "{} bytes", reading.memory);
    }
}

/// Leaves out segments by chance, of those from `first` on.
fn lose(script: &Script, mss: usize, one_in: u64, first: usize, seed: u64) -> Vec<Segment> {
    let mut random = Random::new(seed);
    let mut segments = script.segments(mss);
    let mut index = 0;
    segments.retain(|_| {
        index += 1;
        index <= first || !random.one_in(one_in)
    });
    segments
}

#[test]
fn whatever_is_lost_nothing_is_wrong() {
    for (suite, (_, _, name)) in SUITES.iter().enumerate() {
        for (size, volume) in
            [(1, 100_000), (30, 200_000), (700, 500_000), (1400, 500_000), (4000, 1 << 20), (16_384, 3 << 20)]
        {
            let script = conversation(suite, size, volume, Setting::default(), 3);
            for one_in in [100, 10] {
                let (mut all, mut missing) = (0, 0);
                for seed in 0..3 {
                    // The handshake stays: about six segments.
                    let segments = lose(&script, 1460, one_in, 8, seed);
                    let (reading, records, missed) = judge(&script, &segments);
                    assert!(reading.memory < 80_000, "{} bytes", reading.memory);
                    all += records;
                    missing += missed;
                }
                println!("{name}, records of {size}, 1 of {one_in} lost: {missing} of {all} not given");
                assert!(missing == 0, "{name}, records of {size}, 1 of {one_in} lost: {missing} of {all} not given");
            }
        }
    }
}

#[test]
fn loss_in_the_handshake_leaves_what_can_be_placed() {
    let (mut all, mut missing, mut dark) = (0, 0, 0);
    for (suite, (version, _, name)) in SUITES.iter().enumerate() {
        for (size, mss) in [(200, 100), (700, 1460), (5000, 536)] {
            let setting = Setting { tickets: 2, ..Setting::default() };
            let script = conversation(suite, size, 100_000, setting, 5);
            for seed in 0..40 {
                let segments = lose(&script, mss, 10, 0, seed);
                let (reading, records, missed) = judge(&script, &segments);
                assert!(reading.memory < 120_000, "{} bytes", reading.memory);
                let connection = &reading.connection;
                if connection.dark(Side::First).is_some() || connection.dark(Side::Second).is_some() {
                    // A hello is lost, and in TLS 1.3 it is the client's.
                    assert_eq!(connection.dark(Side::Second), Some(Dark::Gap), "{name}");
                    let hello = script.sent.first().unwrap().bytes.len();
                    let captured: usize = segments
                        .iter()
                        .take_while(|one| one.side == Side::First && one.at.offset < hello as u64)
                        .map(|one| one.bytes.len())
                        .sum();
                    assert!(version.version != rustls::ProtocolVersion::TLSv1_3 || captured < hello, "{name}");
                    dark += 1;
                    continue;
                }
                all += records;
                missing += missed;
                if missed > 0 {
                    println!(
                        "{name}, records of {size} in segments of {mss}, seed {seed}: {missed} of {records} not given"
                    );
                }
            }
        }
    }
    println!("{missing} of {all} records not given, {dark} connections dark");
    assert!(dark < 200 && missing * 1000 < all);
}

#[test]
fn tls13_is_read_without_the_hello_of_the_server() {
    let flight = |segments: &[Segment]| segments.iter().position(|one| one.side == Side::Second).unwrap();
    for (suite, (version, _, name)) in SUITES.iter().enumerate() {
        let script = conversation(suite, 700, 40_000, Setting { tickets: 2, ..Setting::default() }, 5);
        let mut segments = script.segments(1460);
        segments.remove(flight(&segments));
        let (reading, _, missed) = judge(&script, &segments);
        let info = reading.connection.info();
        assert_eq!(info.server_name.as_deref(), Some("picotap.test"));
        if version.version == rustls::ProtocolVersion::TLSv1_3 {
            assert_eq!((missed, info.suite_name(), info.version_name()), (0, Some(*name), Some("TLSv1.3")));
            assert_eq!((info.alpn.as_deref(), info.resumed), (None, None), "they were lost");
        } else {
            assert_eq!((reading.told.len(), reading.connection.dark(Side::First)), (0, Some(Dark::Gap)));
            assert_eq!((info.suite_name(), info.version_name()), (None, None));
        }
    }
    // The client tells what has become of its early data.
    for (accepts, early_data) in [(true, Early::Accepted), (false, Early::Rejected)] {
        let script = early(16_384, 5000, accepts);
        let mut segments = script.segments(1460);
        segments.remove(flight(&segments));
        let (reading, _, missed) = judge(&script, &segments);
        assert_eq!((missed, reading.connection.info().early_data), (0, early_data));
        assert_eq!(reading.plaintext(Side::First), script.plaintext(Side::First));
    }
}

#[test]
fn key_updates_are_followed_and_found_after_loss() {
    let mut random = Random::new(1);
    let (version, cipher, _) = SUITES[0];
    let mut talk = Talk::new(version, cipher, Setting::default());
    for round in 0..250 {
        let side = Side::of(round % 2);
        talk.say(side, &random.bytes(900));
        if round % 7 == 0 {
            talk.update_keys(side);
        }
        talk.say(side, &random.bytes(2500));
    }
    talk.close();
    let script = talk.script();
    let (reading, _, missed) = judge(&script, &script.segments(1000));
    assert_eq!(missed, 0);
    assert_eq!(reading.plaintext(Side::First), script.plaintext(Side::First));
    let (mut all, mut missing) = (0, 0);
    for seed in 0..20 {
        let (_, records, missed) = judge(&script, &lose(&script, 1000, 20, 8, seed));
        all += records;
        missing += missed;
    }
    // Two updates in one gap are not followed, nor is what has older keys than the record by which the place was found.
    println!("{missing} of {all} records not given");
    assert!(missing * 100 < all);
}

/// A first conversation, whose ticket a second one uses, with early data of this length in records of 1000 bytes.
fn early(allowed: u32, length: usize, server_accepts: bool) -> Script {
    let (version, cipher, _) = SUITES[0];
    let ends = Ends::new(version, cipher, Setting { tickets: 2, early_data: allowed });
    let mut first = ends.talk();
    first.handshake();
    first.say(Side::Second, b"hello");
    ends.log.0.lock().unwrap().clear();
    let mut talk = ends.talk();
    if !server_accepts {
        // Another server, which does not know the ticket.
        let other = Ends::new(version, cipher, Setting { tickets: 2, early_data: 1 << 20 });
        talk.server = ServerConnection::new(other.server).unwrap().into();
    }
    let mut random = Random::new(9);
    let rustls::Connection::Client(client) = &mut talk.client else { unreachable!() };
    let mut hello = vec![];
    client.write_tls(&mut hello).unwrap();
    let mut sent = vec![(hello, None)];
    let mut left = length;
    while left > 0 {
        let piece = random.bytes(left.min(1000));
        let taken = client.early_data().unwrap().write(&piece).unwrap();
        assert_eq!(taken, piece.len());
        let mut bytes = vec![];
        client.write_tls(&mut bytes).unwrap();
        // Whether the server takes it is known later.
        sent.push((bytes, Some(piece)));
        left -= taken;
    }
    for (bytes, plaintext) in sent {
        talk.server.read_tls(&mut &bytes[..]).unwrap();
        talk.server.process_new_packets().unwrap();
        if let rustls::Connection::Server(server) = &mut talk.server
            && let Some(mut early) = server.early_data()
        {
            early.read_to_end(&mut vec![]).unwrap();
        }
        talk.script.sent.push(Sent { side: Side::First, bytes, plaintext: plaintext.filter(|_| server_accepts) });
    }
    talk.handshake();
    let rustls::Connection::Client(client) = &talk.client else { unreachable!() };
    assert_eq!(client.is_early_data_accepted(), server_accepts && length > 0);
    talk.say(Side::Second, b"so you say");
    talk.say(Side::First, b"now in earnest");
    talk.close();
    talk.script()
}

#[test]
fn early_data_waits_for_the_server() {
    let script = early(16_384, 5000, true);
    let (reading, records, missed) = judge(&script, &script.segments(1460));
    assert_eq!((records, missed), (7, 0));
    let info = reading.connection.info();
    assert_eq!((info.early_data, info.resumed), (Early::Accepted, Some(true)));
    let Told::Data(_, at, _) = &reading.told[0] else { panic!("{:?}", reading.told[0]) };
    assert!(at.time < 4, "early data has the time of its packet, not of the answer: {}", at.time);

    let script = early(16_384, 5000, false);
    let (reading, records, missed) = judge(&script, &script.segments(1460));
    assert_eq!((records, missed), (2, 0));
    assert_eq!(reading.connection.info().early_data, Early::Rejected);
    assert_eq!(reading.counters.early_data, 5 * 1022);
    assert_eq!(reading.plaintext(Side::First), b"now in earnest");
}

#[test]
fn early_data_without_its_secret_is_a_gap() {
    let whole = early(16_384, 5000, true);
    let lines = whole.key_log.lines().filter(|line| !line.starts_with("CLIENT_EARLY"));
    let script = Script { key_log: lines.map(|line| line.to_owned() + "\n").collect(), ..whole.clone() };
    let (reading, records, missed) = judge(&script, &script.segments(1460));
    assert_eq!((records, missed), (7, 5));
    assert!(reading.told.contains(&Told::Gap(Side::First, 0, 5004, false)), "{:?}", reading.told);
    // Four bytes may be those of a message that ends it.
    // With nothing but the secrets of applications it is not known what the server said to it.
    let lines = whole.key_log.lines().filter(|line| line.contains("TRAFFIC_SECRET_0"));
    let script = Script { key_log: lines.map(|line| line.to_owned() + "\n").collect(), ..whole };
    let (reading, _, missed) = judge(&script, &script.segments(1460));
    assert_eq!((missed, reading.connection.info().early_data), (5, Early::Unknown));
}

#[test]
fn more_early_data_than_may_wait_is_lost() {
    let script = early(1 << 20, 300_000, true);
    let (reading, records, missed) = judge(&script, &script.segments(1460));
    println!("{missed} of {records} not given, {} bytes of memory", reading.memory);
    assert!(reading.memory < 200_000, "{} bytes", reading.memory);
    assert!(missed < records, "what comes behind it is read");
    assert_eq!(reading.connection.dark(Side::First), None);
}

#[test]
fn early_data_is_read_around_a_loss_before_the_server_answers() {
    let script = early(16_384, 10_000, true);
    let whole = script.segments(1460);
    let before: Vec<usize> = (1..whole.len()).take_while(|at| whole[*at].side == Side::First).collect();
    assert_eq!(before.len(), 7);
    for lost in &before {
        for also in &before {
            let mut segments = whole.clone();
            segments.retain(|one| ![*lost, *also].contains(&usize::try_from(one.at.time).unwrap()));
            let (reading, records, missed) = judge(&script, &segments);
            assert_eq!((missed, reading.connection.info().early_data), (0, Early::Accepted), "{lost} {also} {records}");
        }
    }
    // Gaps, and bytes that are held are bounded.
    let script = early(1 << 20, 60_000, true);
    let segments: Vec<_> = script.segments(150).into_iter().filter(|one| one.at.time % 2 == 1).collect();
    let (reading, ..) = judge(&script, &segments);
    assert!(reading.memory < 200_000, "{} bytes", reading.memory);
}

#[test]
fn early_data_with_loss_is_never_wrong() {
    for seed in 0..300 {
        let script = early(16_384, 10_000, seed % 3 > 0);
        let segments = lose(&script, 700, 8, 1, seed);
        let (reading, records, missed) = judge(&script, &segments);
        println!("{missed} of {records} not given, dark {:?}", reading.connection.dark(Side::First));
        assert_eq!(reading.connection.dark(Side::First), None);
    }
}

/// Reads segments while the key log comes late: its lines when so many segments have come, in the order of `late`. What waits
/// is held here, as a worker would.
fn read_late(script: &Script, mss: usize, late: &[(usize, &str)], patience: usize) -> (Vec<Told>, Connection, usize) {
    let (mut log, mut store) = (KeyLog::new(), KeyStore::default());
    let (mut connection, mut output) = (Connection::new(), Recorder::default());
    let (mut counters, mut buffers) = (TlsCounters::default(), Buffers::default());
    let mut held: VecDeque<Segment> = VecDeque::new();
    let (mut most, mut wanted_since) = (0, None);
    for (number, segment) in script.segments(mss).into_iter().enumerate() {
        for (_, label) in late.iter().filter(|(when, _)| *when == number) {
            let lines = script.key_log.lines().filter(|line| line.starts_with(label));
            lines.for_each(|line| log.read((line.to_owned() + "\n").as_bytes(), &mut store));
        }
        held.push_back(segment);
        let impatient = wanted_since.is_some_and(|since| number - since >= patience);
        let without_keys = impatient.then_some(Dark::TooLate);
        let mut context =
            Context { keys: &store, names: &[], without_keys, counters: &mut counters, buffers: &mut buffers };
        while let Some(mut segment) = held.pop_front() {
            let mut bytes = segment.bytes.clone();
            match connection.bytes(&mut context, segment.side, segment.at, &mut bytes, &mut output) {
                Progress::Done => wanted_since = None,
                Progress::WantsKeys { taken } => {
                    wanted_since.get_or_insert(number);
                    segment.bytes.drain(..taken);
                    segment.at.offset += taken as u64;
                    held.push_front(segment);
                    break;
                }
            }
        }
        most = most.max(held.len());
    }
    assert!(held.is_empty());
    (output.0, connection, most)
}

#[test]
fn keys_may_come_late() {
    for (suite, labels) in [(0, ["CLIENT_H", "SERVER_H", "CLIENT_T", "SERVER_T"]), (3, ["CLIENT_R", "", "", ""])] {
        let script = conversation(suite, 700, 40_000, Setting::default(), 7);
        for mss in [100, 1460] {
            let last = script.segments(mss).len() - 1;
            for first in [last.min(20), last / 2, last] {
                // One after the other, and all at once.
                for step in [0, 1, 2] {
                    let when = |index: usize| (first + step * index).min(last);
                    let late: Vec<(usize, &str)> = labels
                        .iter()
                        .enumerate()
                        .filter(|(_, label)| !label.is_empty())
                        .map(|(index, label)| (when(index), *label))
                        .collect();
                    let (told, connection, most) = read_late(&script, mss, &late, usize::MAX);
                    assert!(most > 1 || step > 0, "it waited");
                    for side in [Side::First, Side::Second] {
                        assert_eq!(connection.dark(side), None);
                        let data = told.iter().filter_map(|told| match told {
                            Told::Data(from, _, data) if *from == side => Some(data.clone()),
                            _ => None,
                        });
                        assert_eq!(data.flatten().collect::<Vec<u8>>(), script.plaintext(side));
                    }
                }
            }
        }
        // Too late is a reason of its own.
        let (told, connection, most) = read_late(&script, 1460, &[], 10);
        assert!(told.is_empty() && most <= 11);
        assert_eq!(connection.dark(Side::First), Some(Dark::TooLate));
        assert_eq!(connection.dark(Side::Second), Some(Dark::TooLate));
    }
}

#[test]
fn several_secrets_of_a_random_are_tried_and_the_tag_decides() {
    for suite in [0, 3] {
        let script = conversation(suite, 700, 20_000, Setting::default(), 7);
        // Somebody sends a random that is not his, and his secrets come first.
        let poison = |line: &str, digit: char| {
            let (start, secret) = line.rsplit_once(' ').unwrap();
            format!("{start} {}\n", secret.replace(['0', '7', 'a'], &digit.to_string()))
        };
        let lines = || script.key_log.lines();
        let poisoned: String =
            ['1', '2', '3'].iter().flat_map(|digit| lines().map(|line| poison(line, *digit))).collect();
        let both = Script { key_log: poisoned.clone() + &script.key_log, ..script.clone() };
        let (reading, _, missed) = judge(&both, &both.segments(1460));
        assert_eq!(missed, 0);
        assert_eq!(reading.counters.dark.iter().sum::<u64>(), 0);
        let (_, _, missed) = judge(&both, &lose(&both, 1460, 5, 8, 3));
        assert_eq!(missed, 0);
        // Without the right one nothing is told.
        let wrong = Script { key_log: poisoned, ..script.clone() };
        let (reading, _, _) = judge(&wrong, &wrong.segments(1460));
        assert!(reading.told.is_empty());
        assert_eq!(reading.connection.dark(Side::Second), Some(Dark::BadTag));
        // A fifth is not taken.
        let full = Script {
            key_log: wrong.key_log + &lines().map(|line| poison(line, '4')).collect::<String>() + &script.key_log,
            ..script
        };
        assert_eq!(read(&full.segments(1460), &full.store(), [0; 2]).connection.dark(Side::Second), Some(Dark::BadTag));
    }
}

#[test]
fn changed_bytes_cost_their_record_and_hardly_another() {
    for suite in 0..SUITES.len() {
        for size in [100, 3000] {
            let script = conversation(suite, size, 100_000, Setting::default(), 11);
            let mut headers = [vec![], vec![]];
            let mut at = [0; 2];
            for sent in &script.sent {
                let index = sent.side.index();
                headers[index].extend(at[index]..at[index] + 5);
                at[index] += sent.bytes.len() as u64;
            }
            for seed in 0..10 {
                let mut random = Random::new(seed);
                let mut segments = script.segments(1460);
                let mut spoilt = vec![];
                for segment in segments.iter_mut().skip(8).filter(|_| random.one_in(12)) {
                    let mut other = Random::new(segment.at.offset);
                    let at = other.below(segment.bytes.len() as u64);
                    let is_header = headers[segment.side.index()].contains(&(segment.at.offset + at));
                    // Headers only in every second round.
                    if seed % 2 == 0 && is_header {
                        continue;
                    }
                    segment.bytes[at as usize] ^= 1 << other.below(8);
                    spoilt.push((segment.side, segment.at.offset + at));
                }
                let (reading, records, missed) = judge_spoilt(&script, &segments, &spoilt);
                let what = format!("suite {suite}, records of {size}, seed {seed}: {missed} of {records} not given");
                // A wrong length spoils what lies in it.
                assert!(if seed % 2 == 0 { missed == 0 } else { missed * 3 < records }, "{what}");
                assert!(reading.connection.dark(Side::Second).is_none(), "{what}");
            }
        }
    }
}

fn processor_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// `cargo test --release --test tls rustls -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_opening_costs() {
    struct Nobody(u64);
    impl Output for Nobody {
        fn data(&mut self, _: Side, _: Position, plaintext: &[u8]) {
            self.0 += plaintext.len() as u64;
        }

        fn gap(&mut self, _: Side, _: Position, _: u64, _: bool) {}

        fn closed(&mut self, _: Side, _: Position) {}
    }
    for (suite, (_, _, name)) in SUITES.iter().enumerate() {
        for (size, lost) in [(16_384, 0), (1400, 0), (1400, 100), (16_384, 100), (16_384, 10), (100, 0)] {
            let script = conversation(suite, size, 50 << 20, Setting::default(), 1);
            let segments = if lost > 0 { lose(&script, 1460, lost, 8, 1) } else { script.segments(1460) };
            let store = script.store();
            let (mut counters, mut buffers) = (TlsCounters::default(), Buffers::default());
            let mut context = Context {
                keys: &store,
                names: &[],
                without_keys: Some(Dark::NoKey),
                counters: &mut counters,
                buffers: &mut buffers,
            };
            let (mut connection, mut output) = (Connection::new(), Nobody(0));
            let mut segments = segments;
            let bytes: u64 = segments.iter().map(|segment| segment.bytes.len() as u64).sum();
            let start = processor_time();
            for segment in &mut segments {
                let progress =
                    connection.bytes(&mut context, segment.side, segment.at, &mut segment.bytes, &mut output);
                assert_eq!(progress, Progress::Done);
            }
            let seconds = (processor_time() - start).as_secs_f64();
            let per_gigabyte = seconds / (bytes as f64 / 1e9);
            println!(
                "{name}, records of {size}, 1 of {lost} lost: {per_gigabyte:.3} s per GB, {} of {bytes}",
                output.0
            );
        }
    }
}
