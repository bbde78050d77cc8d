//! What must hold for any bytes of a TLS connection: every byte has one account, memory stays below its bound, and nothing is
//! told, since nobody who does not know the secrets can make a record that opens.

use picotap::batch::{Batcher, CollectSlots, Slot, What};
use picotap::stream::{EndReason, OpenConnection, Position, Side, Sink};
use picotap::tls::handshake::Messages;
use picotap::tls::keylog::KeyLog;
use picotap::tls::keys::KeyStore;
use picotap::tls::record::{Midstream, begins_tls};
use picotap::tls::stage::{Opening, Patience};
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
        let mut context = Context { keys, names: &[], without_keys, counters: &mut counters, buffers: &mut buffers };
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
    let mut context = Context { keys, names: &[], without_keys: None, counters: &mut counters, buffers: &mut buffers };
    for side in [Side::First, Side::Second] {
        let at = Position { offset: offsets[side.index()], peer_acked: u64::MAX, time };
        connection.end(&mut context, side, at, &mut Silence);
    }
    assert_eq!((counters.accounted(), connection.kept()), (taken, 0));
}

/// The stage of a worker, and the slots that it is given.
struct Stage {
    opening: Opening,
    keys: KeyStore,
    batcher: Batcher<CollectSlots>,
    now: i64,
    /// Bytes that went in, and those that came out as they were.
    sent: u64,
    kept: u64,
    ends: usize,
}

impl Stage {
    fn take(&mut self, slot: &Slot) {
        self.kept += slot.arena.len() as u64;
        self.ends += slot.events.iter().filter(|event| matches!(event.what, What::End(_))).count();
        assert!(self.opening.memory() <= 2 * MEMORY as u64, "{} bytes", self.opening.memory());
    }

    fn release(&mut self, last: bool) {
        let mut released = Slot::default();
        while self.opening.release(&mut released, &self.keys, self.now, last) {
            self.take(&released);
        }
    }

    fn work(&mut self, last: bool) {
        self.batcher.flush();
        let slots = std::mem::take(&mut self.batcher.deliverer().0);
        for mut slot in slots {
            self.release(false);
            self.opening.open(&mut slot, &self.keys, self.now);
            self.take(&slot);
        }
        self.release(last);
        let counters = self.opening.counters();
        assert_eq!(counters.plaintext, 0, "nothing was authenticated");
        assert_eq!(counters.accounted() + counters.held + self.kept, self.sent);
    }
}

/// The same kind of input, through the stage: secrets come late, or never, and what waits is given up at any moment; in the middle
/// a tunnel begins.
pub(crate) fn check_stage(input: &[u8]) {
    let Some((kind, mut steps)) = input.split_first() else { return };
    let patience = Patience { time: Some(20), memory: u64::from(*kind) * 1000, reason: Dark::TooLate };
    let mut stage = Stage {
        opening: Opening::patient(patience),
        keys: KeyStore::default(),
        batcher: Batcher::new(1, i64::MAX, true, CollectSlots::default()),
        now: 0,
        sent: 0,
        kept: 0,
        ends: 0,
    };
    let mut connection = OpenConnection::synthetic(1);
    connection.info.midstream = kind & 32 != 0;
    let mut offsets = [0_u64; 2];
    let mut events: Vec<(Side, Vec<u8>)> = vec![];
    if let Some([client, server]) = hellos(kind & 7) {
        events.extend([(Side::First, client), (Side::Second, server)]);
    }
    while let [what, length, behind @ ..] = steps {
        let length = (usize::from(*length) * if what & 64 == 0 { 1 } else { 40 }).min(behind.len());
        let (bytes, next) = behind.split_at(length);
        steps = next;
        let side = Side::of(what & 1);
        let [high, low] = (length.clamp(1, 16_640) as u16).to_be_bytes();
        let header = [20 + (what >> 4 & 3), 3, 3, high, low];
        events.push((side, [if what & 8 != 0 { &header[..] } else { &[] }, bytes].concat()));
        if what & 2 != 0 {
            offsets[side.index()] += u64::from(what >> 2);
        }
        for (side, bytes) in events.drain(..).filter(|(_, bytes)| !bytes.is_empty()) {
            let at =
                Position { offset: offsets[side.index()], peer_acked: offsets[side.other().index()], time: stage.now };
            stage.batcher.bytes(&mut connection, side, at, true, &bytes);
            offsets[side.index()] += bytes.len() as u64;
            stage.sent += bytes.len() as u64;
        }
        stage.now += i64::from(what & 3);
        match what >> 5 {
            0 => stage.work(false),
            1 if kind & 8 == 0 => stage.keys = store(),
            2 => {
                let (depth, mut slot) = (1, Slot::default());
                stage.work(false);
                stage.opening.begin_inner(
                    (&connection.info, depth, offsets),
                    vec![],
                    &mut slot,
                    &stage.keys,
                    stage.now,
                );
            }
            _ => {}
        }
    }
    let reason = if kind & 16 == 0 { EndReason::Fin } else { EndReason::Evicted };
    for side in [Side::First, Side::Second] {
        let at = Position { offset: offsets[side.index()], peer_acked: u64::MAX, time: stage.now };
        stage.batcher.end(&mut connection, side, at, reason);
    }
    stage.work(false);
    stage.work(true);
    stage.opening.open(&mut Slot::new(), &stage.keys, stage.now);
    let held = (stage.opening.memory(), stage.opening.counters().held, stage.opening.waits(), stage.ends);
    assert_eq!(held, (0, 0, false, 2));
}
