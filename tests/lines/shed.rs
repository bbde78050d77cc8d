//! Shedding: what is left out of large segments under load changes no transaction whose bodies have known lengths, and pairs none
//! wrongly.

use crate::bodies::{Told, parsers};
use crate::support::message::filler;
use crate::support::random::Random;

use picotap::batch::{Batcher, CollectSlots, Shedding, Slot, What, keep_whole};
use picotap::http::flags::Flags;
use picotap::http::{HttpContext, Settings, Transaction};
use picotap::sandbox::call::Bounds;
use picotap::sandbox::driver::Driver;
use picotap::stream::{EndReason, OpenConnection, Position, Side, Sink};
use proptest::prelude::*;

/// A segment, and what its sender has of the other side.
struct Sent {
    side: Side,
    at: Position,
    bytes: Vec<u8>,
}

/// What two sides send.
#[derive(Default)]
struct Conversation {
    sent: Vec<Sent>,
    next: [u64; 2],
}

impl Conversation {
    /// A message in segments of at most so many bytes.
    fn say(&mut self, side: Side, bytes: &[u8], most: usize) {
        for piece in bytes.chunks(most) {
            let [own, other] = side.own_first(self.next);
            let at = Position { offset: own, peer_acked: other, time: self.sent.len() as i64 };
            self.next[side.index()] += piece.len() as u64;
            self.sent.push(Sent { side, at, bytes: piece.to_vec() });
        }
    }

    /// The transactions, and what was shed. One segment in `lost` never comes (0: all come).
    fn transactions(&self, shedding: Shedding, random: &mut Random, lost: u64) -> (Vec<Transaction>, u64) {
        let mut driver = Driver::with(parsers(), Bounds::default()).unwrap();
        let mut told = Told { context: HttpContext::new(Settings::default()), done: Vec::new() };
        let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default()).shedding(shedding, 0);
        let mut connection = OpenConnection::synthetic(1);
        for Sent { side, at, bytes } in &self.sent {
            if lost == 0 || !random.one_in(lost) {
                batcher.bytes(&mut connection, *side, *at, true, bytes);
            }
            if random.one_in(4) {
                batcher.flush();
            }
        }
        for side in [Side::Second, Side::First] {
            let [offset, peer_acked] = side.own_first(self.next);
            let at = Position { offset, peer_acked, time: self.sent.len() as i64 };
            batcher.end(&mut connection, side, at, EndReason::Fin);
        }
        batcher.flush();
        for slot in batcher.deliverer().0.drain(..) {
            driver.process(&slot, &mut told);
        }
        let (into, out) = driver.counters().balance();
        assert_eq!(into, out);
        (told.done, batcher.counters().bytes_shed)
    }
}

fn request(n: usize, body: usize) -> Vec<u8> {
    let head = match body {
        0 => format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"),
        length => format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"),
    };
    [head.into_bytes(), filler(body)].concat()
}

/// A response whose status says which request it answers.
fn response(n: usize, fields: usize, body: usize) -> Vec<u8> {
    let field = format!("X-Field: {}\r\n", "f".repeat(fields));
    let head = format!("HTTP/1.1 {} OK\r\n{field}Content-Length: {body}\r\n\r\n", 400 + n);
    [head.into_bytes(), filler(body)].concat()
}

fn chunked(n: usize, body: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 {} OK\r\nTransfer-Encoding: chunked\r\n\r\n", 400 + n);
    let chunk = [format!("{body:x}\r\n").into_bytes(), filler(body), b"\r\n".to_vec()].concat();
    let chunks = if body == 0 { vec![] } else { chunk.repeat(3) };
    [head.into_bytes(), chunks, b"0\r\n\r\n".to_vec()].concat()
}

/// What of transactions does not depend on how many events there were.
fn texts(mut transactions: Vec<Transaction>) -> Vec<String> {
    transactions.iter_mut().for_each(|transaction| transaction.completed = 0);
    transactions.iter().map(|transaction| format!("{transaction:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_of_known_length_lose_nothing(
        exchanges in prop::collection::vec((0..20_000_usize, 0..4000_usize, 0..50_000_usize), 1..8),
        most in 2500..66_000_usize,
        seed in any::<u64>(),
    ) {
        let mut talk = Conversation::default();
        let mut large = false;
        for (n, (asked, fields, answered)) in exchanges.into_iter().enumerate() {
            talk.say(Side::First, &request(n, asked), most);
            talk.say(Side::Second, &response(n, fields, answered), most);
            large |= answered.min(most) > fields + 4000;
        }
        let (whole, none) = talk.transactions(Shedding::Never, &mut Random::new(seed), 0);
        let (shed, some) = talk.transactions(Shedding::Always, &mut Random::new(seed ^ 1), 0);
        prop_assert_eq!(texts(shed), texts(whole));
        prop_assert_eq!(none, 0);
        prop_assert!(some > 0 || !large);
    }

    #[test]
    fn nothing_is_paired_wrongly(
        exchanges in prop::collection::vec((0..4_u8, 0..20_000_usize, 0..30_000_usize), 1..12),
        most in 2500..66_000_usize,
        lost in prop::sample::select(vec![0, 0, 8]),
        seed in any::<u64>(),
        shedding in prop::sample::select(vec![Shedding::Never, Shedding::Always]),
    ) {
        let mut talk = Conversation::default();
        let count = exchanges.len();
        let mut waiting = Vec::new();
        for (n, (kind, asked, answered)) in exchanges.into_iter().enumerate() {
            // With requests that wait for each other and are lost, order proves nothing.
            let kind = if lost > 0 { kind.min(2) } else { kind };
            let (asks, answer) = match kind {
                0 => (request(n, 0), response(n, 0, answered)),
                1 => (request(n, asked), chunked(n, answered)),
                // Asked before the others are answered.
                _ => (request(n, 0), if n % 2 == 0 { chunked(n, answered) } else { response(n, 100, answered) }),
            };
            talk.say(Side::First, &asks, most);
            waiting.extend(answer);
            if kind < 3 {
                talk.say(Side::Second, &std::mem::take(&mut waiting), most);
            }
        }
        talk.say(Side::Second, &waiting, most);
        let (found, _) = talk.transactions(shedding, &mut Random::new(seed), lost);
        prop_assert!(found.iter().filter(|one| one.target().is_some()).count() <= count);
        for one in &found {
            let target = String::from_utf8_lossy(one.target().unwrap_or_default()).into_owned();
            let Some(asked) = target.strip_prefix('/').and_then(|number| number.parse::<u16>().ok()) else { continue };
            let sure = !one.flags.contains(Flags::PAIRING_INFERRED);
            prop_assert!(one.status == 0 || one.status == 400 + asked || !sure, "{one:?}");
        }
    }
}

/// What goes into slots of a connection that begins so, and then sends this in one segment.
fn slot(first: &[u8], then: &[u8], turned: bool) -> (Vec<What>, u64) {
    let mut batcher = Batcher::new(1, i64::MAX, true, CollectSlots::default()).shedding(Shedding::Always, 0);
    let mut connection = OpenConnection::synthetic(1);
    let at = |offset: usize| Position { offset: offset as u64, peer_acked: 0, time: 1 };
    batcher.bytes(&mut connection, Side::First, at(0), true, first);
    if turned {
        keep_whole(&mut connection.tag);
    }
    batcher.bytes(&mut connection, Side::Second, at(0), true, then);
    batcher.flush();
    let slots: Vec<Box<Slot>> = std::mem::take(&mut batcher.deliverer().0);
    let events = slots.iter().flat_map(|slot| &slot.events);
    (events.skip(1).map(|event| event.what).collect(), batcher.counters().bytes_shed)
}

#[test]
fn only_what_begins_like_http1_is_shed() {
    let answer = response(1, 0, 20_000);
    let (kept, shed) = slot(&request(1, 0), &answer, false);
    let [What::Bytes { len: 2048, .. }, What::Shed { length }] = kept[..] else { panic!("{kept:?}") };
    assert_eq!((length, shed), (answer.len() as u64 - 2048, length));
    for first in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"\x16\x03\x01\x00\x20\x01",
        b"CONNECT h:443 HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"\x05\x01\x00",
        b"*1\r\n$4\r\nPING\r\n",
        b"the middle of something",
    ] {
        assert_eq!(slot(first, &answer, false).1, 0, "{first:?}");
    }
    assert_eq!(slot(&request(1, 0), &answer, true).1, 0, "what has become something else is kept");
}

#[test]
fn heads_are_kept() {
    // A response's whole head, if it ends in the segment; else all; and all that begins like a request.
    let (kept, shed) = slot(&request(1, 0), &response(1, 6000, 20_000), false);
    assert!(matches!(kept[0], What::Bytes { len: 6000..6100, .. }), "{kept:?}");
    assert!(shed >= 19_000);
    let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 30_000]].concat();
    assert_eq!(slot(&request(1, 0), &endless, false).1, 0);
    assert_eq!(slot(&response(1, 0, 0), &request(1, 0).repeat(500), false).1, 0);
}

#[test]
fn what_was_sent_before_a_request_and_lost_may_be_what_is_answered() {
    // Two requests, one after the other without an answer in between, of which the first is lost; one segment answers both.
    let mut talk = Conversation::default();
    (0..2).for_each(|n| talk.say(Side::First, &request(n, 0), 1400));
    talk.say(Side::Second, &[response(0, 0, 0), response(1, 0, 0)].concat(), 1400);
    talk.sent.remove(0);
    let (found, _) = talk.transactions(Shedding::Never, &mut Random::new(1), 0);
    let of_first = found.iter().find(|one| one.status == 400).unwrap();
    assert!(of_first.target().is_none() || of_first.flags.contains(Flags::PAIRING_INFERRED), "{of_first:?}");
    // Where an answer came in between, it is the lost request's.
    let mut talk = Conversation::default();
    for n in 0..2 {
        talk.say(Side::First, &request(n, 0), 1400);
        talk.say(Side::Second, &response(n, 0, 0), 1400);
    }
    talk.sent.drain(..2);
    let (found, _) = talk.transactions(Shedding::Never, &mut Random::new(1), 0);
    let [one] = &found[..] else { panic!("{found:?}") };
    assert!(one.status == 401 && !one.flags.contains(Flags::PAIRING_INFERRED), "{one:?}");
}
