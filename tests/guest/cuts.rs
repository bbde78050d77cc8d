//! However a stream is cut into segments, events and calls, the records are the same; with loss, segment starts are part of
//! the stream, and calls still change nothing.

use picotap::abi;
use proptest::prelude::*;

use crate::host::{Happens, Manner, Said, c, fin, reset, s, said};

/// A record as a line, its offsets, its texts and its headers.
type Essence = (String, u64, u64, String, String, Vec<(String, String)>);

/// What must not depend on the cuts: all but where texts lie in an event, where in an event a body began, and, with
/// skips, where in an event it ended.
fn essence(said: &[Said], skips: bool) -> Vec<Essence> {
    let essence = said.iter().map(|one| {
        let head = matches!(one.record.kind, abi::record::REQUEST | abi::record::RESPONSE);
        let start = if head { one.start } else { 0 };
        let end = if one.record.kind == abi::record::END && skips { 0 } else { one.end };
        (one.line(), start, end, one.text.clone(), one.target.clone(), one.pairs.clone())
    });
    essence.collect()
}

/// Messages of every kind, and nonsense: (side, bytes).
fn message() -> impl Strategy<Value = Happens> {
    let client = prop_oneof![
        Just("GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        Just("GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        Just("GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        Just("HEAD / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
        Just("\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nGET / H"),
        Just("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3;x\r\nabc\r\n00\r\nA: b\r\n\r\n"),
        Just("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc"),
        Just("POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n"),
        Just("CONNECT a:1 HTTP/1.1\r\n\r\n"),
        Just("GET  /  HTTP/1.0\r\n\r\n"),
        Just("GET / HTTP/1.1\r\nbad header\r\n\r\n"),
        Just("G@T / HTTP/1.1\r\n\r\n"),
        Just("GET /a b HTTP/1.1\r\nHost : a\r\n x\r\nno colon\r\n y\r\nA: \x01\r\n\r\n"),
        Just("POST / HTTP/1.1\r\nTransfer-Encoding : chunked;q=1\r\n\r\n3\nabc\n0\n\n"),
        Just("GET /a\r\n"),
        Just("GET /a HT"),
        Just("\x16\x03\x01\x00"),
    ];
    let server = prop_oneof![
        Just("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        Just("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        Just("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        Just("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        Just("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        Just("HTTP/1.1 100 Continue\r\n\r\n"),
        Just("HTTP/1.1 204 No Content\r\n\r\n"),
        Just("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
        Just("HTTP/1.0 200 OK\r\n\r\nuntil the end\r\n\r\n"),
        Just("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n\x01\x02"),
        Just("HTTP/1.1 20 OK\r\n\r\n"),
        Just("HTTP/1.10 200OK\r\n: x\r\nContent-Length : 5\r\n\r\nhello"),
        Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"),
        Just("HTTP/1.1 200 OK\r\nContent-Le"),
        Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX"),
        Just("220 mail\r\n"),
    ];
    prop_oneof![client.prop_map(c), server.prop_map(s)]
}

fn nonsense() -> impl Strategy<Value = Happens> {
    (0u8..2, prop::collection::vec(any::<u8>(), 1..60)).prop_map(|(side, bytes)| Happens::Bytes(side, bytes))
}

#[derive(Debug, Clone)]
struct Cuts {
    seed: Vec<u8>,
    manner: Manner,
}

fn cuts() -> impl Strategy<Value = Cuts> {
    let manner = (
        prop_oneof![Just(1usize), Just(2), Just(7), Just(1000)],
        prop_oneof![Just(8u32), Just(11), Just(64)],
        any::<bool>(),
    );
    (prop::collection::vec(1u8..40, 1..20), manner).prop_map(|(seed, (events_per_call, max_records, skips))| Cuts {
        seed,
        manner: Manner {
            events_per_call,
            max_records,
            max_pairs: abi::MAX_PAIRS,
            skips,
            wakes: false,
            midstream: false,
        },
    })
}

/// Cuts each message into pieces; `segments`: whether the pieces are segments or parts of one.
fn cut(happens: &[Happens], seed: &[u8]) -> Vec<Happens> {
    let mut sizes = seed.iter().cycle().copied();
    let mut cut = Vec::new();
    for one in happens {
        let Happens::Bytes(side, bytes) = one else {
            cut.push(one.clone());
            continue;
        };
        let mut rest = &bytes[..];
        let mut first = true;
        while !rest.is_empty() {
            let len = usize::from(sizes.next().unwrap_or(1)).min(rest.len());
            let piece = rest[..len].to_vec();
            cut.push(if first { Happens::Bytes(*side, piece) } else { Happens::More(*side, piece) });
            first = false;
            rest = &rest[len..];
        }
    }
    cut
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        messages in prop::collection::vec(message(), 1..12),
        gaps in prop::collection::vec(prop::option::weighted(0.1, 1u64..12), 12),
        acks in any::<bool>(),
        ends in any::<bool>(),
        midstream in any::<bool>(),
        a in cuts(), b in cuts(),
    ) {
        let mut happens = Vec::new();
        if acks {
            happens.extend([Happens::Acks(0, None), Happens::Acks(1, None)]);
        }
        for (message, gap) in messages.iter().zip(gaps) {
            if let (Happens::Bytes(side, _), Some(lost)) = (message, gap) {
                happens.push(Happens::Gap(*side, lost));
            }
            happens.push(message.clone());
        }
        happens.push(if ends { fin(0) } else { reset(0) });
        happens.push(fin(1));
        let manner = Manner { midstream, ..Manner::default() };
        let whole = said(Manner { wakes: false, ..manner }, &happens);
        for cuts in [a, b] {
            let manner = Manner { midstream, ..cuts.manner };
            let records = said(manner, &cut(&happens, &cuts.seed));
            let skips = manner.skips;
            prop_assert_eq!(essence(&records, skips), essence(&whole, skips), "{:?}", manner);
        }
    }

    #[test]
    fn any_bytes_are_survived(
        mut happens in prop::collection::vec(prop_oneof![message(), message(), message(), nonsense()], 0..10),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..4),
        a in cuts(),
    ) {
        for (which, bytes_at, byte) in changes {
            if let Some(Happens::Bytes(_, bytes)) = (!happens.is_empty()).then(|| which.get_mut(&mut happens)) {
                bytes_at.get_mut(bytes).clone_from(&byte);
            }
        }
        happens.extend([fin(0), fin(1)]);
        let whole = said(Manner { wakes: false, ..Manner::default() }, &happens);
        let records = said(a.manner, &cut(&happens, &a.seed));
        prop_assert_eq!(essence(&records, a.manner.skips), essence(&whole, a.manner.skips));
        balanced(&whole);
    }
}

/// Every head has one end.
fn balanced(said: &[Said]) {
    for side in [0, 1] {
        let mut open = 0;
        for one in said.iter().filter(|one| one.record.side == side) {
            open += match one.record.kind {
                abi::record::REQUEST | abi::record::RESPONSE => 1,
                abi::record::END => -1,
                _ => 0,
            };
            assert!((0..=1).contains(&open), "{said:?}");
        }
        assert_eq!(open, 0, "{said:?}");
    }
}
