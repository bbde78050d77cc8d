//! What must hold for any bytes of a TLS connection: every byte has one account, memory stays below its bound, and nothing is
//! told, since nobody who does not know the secrets can make a record that opens.

use picotap::stream::{Position, Side};
use picotap::tls::handshake::Messages;
use picotap::tls::keylog::KeyLog;
use picotap::tls::keys::KeyStore;
use picotap::tls::record::{Midstream, begins_tls};
use picotap::tls::{Buffers, Connection, Context, Dark, Output, Progress, TlsCounters};

/// What a connection may take, with room for the growth of buffers.
const MEMORY: usize = 700_000;

/// Nothing may come.
struct Silence;

impl Output for Silence {
    fn data(&mut self, _: Side, _: Position, plaintext: &[u8]) {
        panic!("{} bytes were authenticated", plaintext.len());
    }

    fn gap(&mut self, _: Side, _: Position, length: u64, _: bool) {
        assert!(length > 0);
    }

    fn closed(&mut self, _: Side, _: Position) {
        panic!("an alert was authenticated");
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (body.len() as u32).to_be_bytes();
    [&[22, 3, 3], &(body.len() as u16 + 4).to_be_bytes()[..], &[kind], &length, body].concat()
}

/// Hellos of a connection whose secrets are known: of TLS 1.3, perhaps with early data, or of TLS 1.2.
fn hellos(kind: u8) -> Option<[Vec<u8>; 2]> {
    let early: &[u8] = if kind & 1 == 0 { &[0, 4, 0, 42, 0, 0] } else { &[0, 0] };
    let client = message(1, &[&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], early].concat());
    let (suite, extensions): ([u8; 2], &[u8]) = match kind {
        0 | 1 => ([0x13, 1], &[0, 12, 0, 43, 0, 2, 3, 4, 0, 41, 0, 2, 0, 0]),
        2 => ([0xc0, 0x2f], &[0, 0]),
        3 => ([0, 0x2f], &[0, 4, 0, 22, 0, 0]),
        4 => ([0, 0x2f], &[0, 0]),
        _ => return None,
    };
    Some([client, message(2, &[&[3, 3][..], &[8; 32], &[0], &suite, &[0], extensions].concat())])
}

fn store() -> KeyStore {
    let (mut log, mut store) = (KeyLog::new(), KeyStore::default());
    let random = "09".repeat(32);
    for (label, length) in [
        ("CLIENT_RANDOM", 48),
        ("CLIENT_EARLY_TRAFFIC_SECRET", 32),
        ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 32),
        ("SERVER_HANDSHAKE_TRAFFIC_SECRET", 32),
        ("CLIENT_TRAFFIC_SECRET_0", 32),
        ("SERVER_TRAFFIC_SECRET_0", 32),
    ] {
        log.read(format!("{label} {random} {}\n", "5a".repeat(length)).as_bytes(), &mut store);
    }
    store
}

/// The input is a byte that chooses the hellos, and steps: a byte that says what comes, its length, and the bytes.
pub(crate) fn check(input: &[u8]) {
    let _begins = begins_tls(input);
    let mut rest = input;
    let mut messages = Messages::default();
    while messages.next(&mut rest).is_some() {}
    assert!(messages.memory() <= 128 * 1024);
    let mut midstream = Midstream::default();
    input.chunks(40).zip(0_u64..).for_each(|(piece, at)| {
        midstream.segment(at * 40, piece);
    });

    let Some((kind, mut steps)) = input.split_first() else { return };
    let (known, unknown) = (store(), KeyStore::default());
    let keys = if kind & 8 == 0 { &known } else { &unknown };
    let (mut connection, mut counters, mut buffers) = (Connection::new(), TlsCounters::default(), Buffers::default());
    let (mut offsets, mut taken, mut time) = ([0_u64; 2], 0, 0);
    let mut give = |side: Side, gap: u64, patient: bool, bytes: &[u8]| {
        let without_keys = if patient { None } else { Some(Dark::NoKey) };
        let mut context = Context { keys, without_keys, counters: &mut counters, buffers: &mut buffers };
        offsets[side.index()] += gap;
        let mut rest = bytes;
        time += 1;
        while !rest.is_empty() {
            let offset = offsets[side.index()];
            let at = Position { offset, peer_acked: offsets[side.other().index()], time };
            let used = match connection.bytes(&mut context, side, at, &mut rest.to_vec(), &mut Silence) {
                Progress::Done => rest.len(),
                Progress::WantsKeys { taken } => {
                    assert!(context.without_keys.is_none() && taken <= rest.len());
                    context.without_keys = Some(Dark::TooLate);
                    taken
                }
            };
            offsets[side.index()] += used as u64;
            taken += used as u64;
            rest = &rest[used..];
            assert_eq!(context.counters.accounted() + connection.kept() as u64, taken);
            assert!(connection.memory() <= MEMORY, "{} bytes", connection.memory());
        }
    };
    if let Some([client, server]) = hellos(kind & 7) {
        give(Side::First, 0, false, &client);
        give(Side::Second, 0, false, &server);
        if kind & 16 != 0 {
            give(Side::First, 0, false, &[20, 3, 3, 0, 1, 1]);
            give(Side::Second, 0, false, &[20, 3, 3, 0, 1, 1]);
        }
    }
    while let [what, length, behind @ ..] = steps {
        let length = (usize::from(*length) * if what & 64 == 0 { 1 } else { 40 }).min(behind.len());
        let (bytes, next) = behind.split_at(length);
        steps = next;
        let side = Side::of(what & 1);
        let gap = if what & 2 == 0 { 0 } else { 1 + u64::from(what >> 2) * 50 };
        let patient = what & 4 != 0;
        if what & 8 != 0 {
            // As a record of its own.
            let [high, low] = (length.clamp(1, 16_640) as u16).to_be_bytes();
            give(side, gap, patient, &[20 + (what >> 4 & 3), 3, 3, high, low]);
            give(side, 0, patient, bytes);
        } else {
            give(side, gap, patient, bytes);
        }
    }
    let mut context = Context { keys, without_keys: None, counters: &mut counters, buffers: &mut buffers };
    for side in [Side::First, Side::Second] {
        let at = Position { offset: offsets[side.index()], peer_acked: u64::MAX, time };
        connection.end(&mut context, side, at, &mut Silence);
    }
    assert_eq!((counters.accounted(), connection.kept()), (taken, 0));
}
