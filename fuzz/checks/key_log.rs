//! What must hold of any key log: the same secrets and counts whether it comes at once or in pieces, each line counted once, memory
//! within its bound, and secrets that are the same when they are written and read again.

use picotap::tls::keylog::{KeyLog, LineCounters, lines};
use picotap::tls::keys::{KeyStore, Label, MAX_SECRETS};

/// As much is kept of secrets: so little that they are given up.
const LIMIT: usize = 4096;

fn read(pieces: &mut dyn Iterator<Item = &[u8]>, limit: usize) -> (KeyLog, KeyStore) {
    let (mut log, mut store) = (KeyLog::new(), KeyStore::new(limit));
    for piece in pieces {
        log.read(piece, &mut store);
        assert!(store.memory() <= limit.max(LIMIT), "{} bytes", store.memory());
    }
    log.finish(&mut store);
    (log, store)
}

fn counted(counters: &LineCounters) -> u64 {
    counters.secrets + counters.comments + counters.ignored + counters.rsa + counters.malformed
}

/// The randoms of a text: every 64 digits in a row, wherever they stand.
fn randoms(text: &[u8]) -> Vec<[u8; 32]> {
    let digits = text.windows(64).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let random = |digits: &[u8]| {
        let mut random = [0; 32];
        for (byte, pair) in random.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(random)
    };
    digits.filter_map(random).take(64).collect()
}

/// The input is a byte, the length of pieces, and the log.
pub(crate) fn check(input: &[u8]) {
    let Some((piece, text)) = input.split_first() else { return };
    let (log, store) = read(&mut [text].into_iter(), usize::MAX);
    let (slow_log, slow_store) = read(&mut text.chunks(usize::from(*piece).max(1)), usize::MAX);
    let number =
        text.split(|byte| *byte == b'\n').count() as u64 - u64::from(text.last().is_none_or(|byte| *byte == b'\n'));
    assert_eq!(counted(log.counters()), number);
    assert_eq!(format!("{:?}", log.counters()), format!("{:?}", slow_log.counters()));
    assert_eq!((log.first_malformed(), store.len()), (slow_log.first_malformed(), slow_store.len()));
    assert_eq!(log.first_malformed().is_some(), log.counters().malformed != 0);
    for random in randoms(text) {
        let written = lines(&store, &random, [&random]);
        assert_eq!(written, lines(&slow_store, &random, [&random]));
        for label in [Label::Master, Label::ClientEarly, Label::ClientTraffic, Label::ServerTraffic] {
            assert!(store.get(&random, label).count() <= MAX_SECRETS, "{label:?}");
        }
        let (again, secrets) = read(&mut [&written[..]].into_iter(), usize::MAX);
        assert_eq!(counted(again.counters()), again.counters().secrets);
        assert_eq!(written, lines(&secrets, &random, [&random]));
    }
    read(&mut [text].into_iter(), LIMIT);
}
