//! A key log is the text in which TLS libraries write secrets: a line for each, with a label, the client's random and the
//! secret (<https://datatracker.ietf.org/doc/draft-ietf-tls-keylogfile/>, NSS's format). Decryption Secrets Blocks of pcapng
//! hold the same text.
//!
//! It may grow while it is read, so its last line may be a beginning. What it contains is not trusted: a line that is no
//! secret is counted, and the first such line is named.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use zeroize::{Zeroize, Zeroizing};

use super::keys::{KeyStore, Label};
use super::secrets::Secret;
use crate::counters::{counters, families};

/// The longest line that may be a secret; the longest that libraries write has 193 bytes.
const MAX_LINE: usize = 512;

families! {
    LINES = Counter "picotap_tls_key_log_lines_total" ["kind"] "lines of key logs", "Lines of TLS key logs, by kind.";
}

counters! {
    /// The lines of key logs.
    pub struct LineCounters {
        /// With a secret that opens records.
        secrets => LINES["secret"],
        /// Empty, or a comment.
        comments => LINES["comment"],
        /// With a secret that opens no records, such as `EXPORTER_SECRET`, or with a label that is not known.
        ignored => LINES["ignored"],
        /// `RSA`: with a secret that is found by a session or by an encrypted secret, not by a random.
        rsa => LINES["rsa"],
        /// Neither of these.
        malformed => LINES["malformed"],
    }
}

/// Reads one key log. It holds at most a line of 512 bytes.
#[derive(Debug)]
pub struct KeyLog {
    /// The beginning of a line. Its memory never moves, so that no copy of a secret is left behind.
    line: Zeroizing<Vec<u8>>,
    /// The present line is longer than any secret, and skipped.
    too_long: bool,
    /// Lines that were read.
    lines: u64,
    first_malformed: Option<u64>,
    counters: LineCounters,
}

impl Default for KeyLog {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyLog {
    /// A key log of which nothing is read.
    #[must_use]
    pub fn new() -> Self {
        Self {
            line: Zeroizing::new(Vec::with_capacity(MAX_LINE)),
            too_long: false,
            lines: 0,
            first_malformed: None,
            counters: LineCounters::default(),
        }
    }

    /// Takes the next bytes, whose secrets go to the store. A line that has no end yet waits for the rest.
    pub fn read(&mut self, bytes: &[u8], store: &mut KeyStore) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.keep(line);
            self.end_line(store);
            rest = behind.get(1..).unwrap_or_default();
        }
        self.keep(rest);
    }

    /// Takes the last line, if it has no end: for a log that does not grow.
    pub fn finish(&mut self, store: &mut KeyStore) {
        if self.too_long || !self.line.is_empty() {
            self.end_line(store);
        }
    }

    /// Adds to the line.
    fn keep(&mut self, bytes: &[u8]) {
        if self.too_long || self.line.len() + bytes.len() > MAX_LINE {
            self.too_long = true;
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    fn end_line(&mut self, store: &mut KeyStore) {
        self.lines += 1;
        let line = if self.too_long { Line::Malformed } else { Line::read(&self.line) };
        // `clear` would leave the bytes.
        self.line.zeroize();
        self.too_long = false;
        if let Line::Malformed = line {
            self.first_malformed.get_or_insert(self.lines);
        }
        for counters in [&mut self.counters, &mut store.lines] {
            *match line {
                Line::Secret(..) => &mut counters.secrets,
                Line::Comment => &mut counters.comments,
                Line::Ignored => &mut counters.ignored,
                Line::Rsa => &mut counters.rsa,
                Line::Malformed => &mut counters.malformed,
            } += 1;
        }
        if let Line::Secret(random, label, secret) = line {
            store.insert(*random, label, &secret);
        }
    }

    /// Begins anew, since the log does: what waits of a line is forgotten.
    pub fn restart(&mut self) {
        self.line.zeroize();
        self.too_long = false;
        self.lines = 0;
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &LineCounters {
        &self.counters
    }

    /// Number of the first malformed line, from 1.
    #[must_use]
    pub const fn first_malformed(&self) -> Option<u64> {
        self.first_malformed
    }
}

/// A line for a secret, with its end.
#[must_use]
pub fn line(random: &[u8; 32], label: Label, secret: &Secret) -> Zeroizing<String> {
    // None is longer, so that no copy is left behind.
    let mut line = Zeroizing::new(String::with_capacity(MAX_LINE));
    line.push_str(label.name());
    for bytes in [&random[..], secret.bytes()] {
        line.push(' ');
        HEXLOWER.encode_append(bytes, &mut line);
    }
    line.push('\n');
    line
}

/// The secrets of a connection as lines of a key log, with the client's random, whatever they are found by (`names`); empty if there are none.
/// Nothing of it is left in memory when it is dropped.
#[must_use]
pub fn lines<'a>(
    store: &KeyStore,
    random: &[u8; 32],
    names: impl IntoIterator<Item = &'a [u8; 32], IntoIter: Clone>,
) -> Zeroizing<Vec<u8>> {
    let names = names.into_iter();
    let of =
        |label: Label| names.clone().flat_map(move |name| store.get(name, label)).map(move |secret| (label, secret));
    let all: Vec<_> = Label::ALL.into_iter().flat_map(of).map(|(label, secret)| line(random, label, &secret)).collect();
    // All of it, since no memory may move.
    let mut lines = Zeroizing::new(Vec::with_capacity(all.iter().map(|line| line.len()).sum()));
    all.iter().for_each(|line| lines.extend_from_slice(line.as_bytes()));
    lines
}

/// What a line is.
enum Line {
    Secret(Box<[u8; 32]>, Label, Secret),
    Comment,
    Ignored,
    Rsa,
    Malformed,
}

impl Line {
    fn read(line: &[u8]) -> Self {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Self::Comment;
        }
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (Some(name), random, secret, None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Self::Malformed;
        };
        let label = match name {
            b"RSA" => return Self::Rsa,
            name => match Label::ALL.into_iter().find(|label| label.name().as_bytes() == name) {
                Some(label) => label,
                // `EXPORTER_SECRET`, `EARLY_EXPORTER_SECRET`, those of ECH and QUIC, and what comes after them.
                None if is_label(name) && random.is_some() && secret.is_some() => return Self::Ignored,
                None => return Self::Malformed,
            },
        };
        let (Some(random), Some(secret)) = (random, secret) else { return Self::Malformed };
        let mut decoded = Zeroizing::new([0; 48]);
        let Some(secret) = unhex(secret, &mut *decoded).and_then(|length| decoded.get(..length)) else {
            return Self::Malformed;
        };
        // Master secrets have 48 bytes, others as many as the hash of their suite.
        let lengths: &[usize] = if label == Label::Master { &[48] } else { &[32, 48] };
        let mut client = [0; 32];
        match (unhex(random, &mut client), Secret::new(secret)) {
            (Some(32), Some(stored)) if lengths.contains(&secret.len()) => {
                Self::Secret(Box::new(client), label, stored)
            }
            _ => Self::Malformed,
        }
    }
}

/// Labels are capital letters, digits and `_`.
fn is_label(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

/// Decodes hexadecimal digits, and says how many bytes they are.
fn unhex(digits: &[u8], out: &mut [u8]) -> Option<usize> {
    let length = HEXLOWER_PERMISSIVE.decode_len(digits.len()).ok()?;
    HEXLOWER_PERMISSIVE.decode_mut(digits, out.get_mut(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(label: &str, random: u8, secret: u8, length: usize) -> String {
        let hex = |byte: u8, count: usize| format!("{byte:02x}").repeat(count);
        format!("{label} {} {}", hex(random, 32), hex(secret, length))
    }

    fn read(pieces: &[&[u8]]) -> (KeyLog, KeyStore) {
        let (mut log, mut store) = (KeyLog::new(), KeyStore::default());
        for piece in pieces {
            log.read(piece, &mut store);
            assert!(log.line.capacity() == MAX_LINE);
        }
        (log, store)
    }

    fn counts(log: &KeyLog) -> [u64; 5] {
        let LineCounters { secrets, comments, ignored, rsa, malformed } = *log.counters();
        [secrets, comments, ignored, rsa, malformed]
    }

    #[test]
    fn all_labels_are_known() {
        let text = [
            "# SSL/TLS secrets log file".to_owned(),
            line("CLIENT_RANDOM", 1, 1, 48),
            line("CLIENT_EARLY_TRAFFIC_SECRET", 2, 2, 32),
            line("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 2, 3, 32),
            line("SERVER_HANDSHAKE_TRAFFIC_SECRET", 2, 4, 32) + "\r",
            format!("  {} \t", line("CLIENT_TRAFFIC_SECRET_0", 2, 5, 48).replace(' ', "  ")),
            line("SERVER_TRAFFIC_SECRET_0", 0xAB, 6, 48).to_uppercase(),
            line("EXPORTER_SECRET", 2, 7, 32),
            line("EARLY_EXPORTER_SECRET", 2, 7, 32),
            line("QUIC_CLIENT_TRAFFIC_SECRET_0", 2, 7, 32),
            "RSA 0123456789abcdef 00".to_owned(),
            "RSA Session-ID:00 Master-Key:00".to_owned(),
            String::new(),
        ]
        .join("\n");
        let (log, store) = read(&[text.as_bytes()]);
        assert_eq!(counts(&log), [6, 1, 3, 2, 0]);
        let found = |random: u8, label| store.get(&[random; 32], label).next();
        assert_eq!(found(1, Label::Master), Secret::new(&[1; 48]));
        assert_eq!(found(2, Label::ClientEarly), Secret::new(&[2; 32]));
        assert_eq!(found(2, Label::ClientHandshake), Secret::new(&[3; 32]));
        assert_eq!(found(2, Label::ServerHandshake), Secret::new(&[4; 32]));
        assert_eq!(found(2, Label::ClientTraffic), Secret::new(&[5; 48]));
        assert_eq!(found(0xAB, Label::ServerTraffic), Secret::new(&[6; 48]));
    }

    #[test]
    fn the_last_line_may_be_a_beginning() {
        let text = line("CLIENT_RANDOM", 1, 1, 48) + "\n" + &line("CLIENT_RANDOM", 2, 2, 48);
        for size in [1, 3, 100, 1000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (mut log, mut store) = read(&pieces);
            assert_eq!(counts(&log), [1, 0, 0, 0, 0]);
            log.read(b"\r\n", &mut store);
            assert_eq!(counts(&log), [2, 0, 0, 0, 0]);
            log.finish(&mut store);
            assert_eq!(counts(&log), [2, 0, 0, 0, 0]);
        }
        let (mut log, mut store) = read(&[text.as_bytes()]);
        log.finish(&mut store);
        assert!(store.has(&[2; 32]));
    }

    #[test]
    fn hostile_lines_are_counted_and_the_first_is_named() {
        let good = line("CLIENT_RANDOM", 1, 1, 48);
        let bad = [
            good.replace("01 ", "0g "),
            good.replace(" 01", " 1"),
            line("CLIENT_RANDOM", 1, 1, 32),
            line("CLIENT_RANDOM", 1, 1, 49),
            line("CLIENT_TRAFFIC_SECRET_0", 1, 1, 31),
            line("client_random", 1, 1, 48),
            good.clone() + " more",
            "CLIENT_RANDOM".to_owned(),
            "CLIENT_RANDOM 00".to_owned(),
            "\0\u{1}\u{2}".to_owned(),
            "x".repeat(100_000),
            "A ".repeat(300),
        ];
        let text = format!("{good}\n{}\n{}\n", bad.join("\n"), line("CLIENT_RANDOM", 2, 1, 48));
        for size in [7, 511, 1 << 20] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (log, store) = read(&pieces);
            assert_eq!(counts(&log), [2, 0, 0, 0, bad.len() as u64]);
            assert_eq!(log.first_malformed(), Some(2));
            assert_eq!(store.counters().stored, 2);
        }
        let (log, _) = read(&[&vec![0; 10 << 20]]);
        assert_eq!((counts(&log), log.line.len()), ([0; 5], 0));
    }

    proptest! {
        #[test]
        fn any_text_is_read(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), Just(b'0'), Just(b'A'), any::<u8>()], 0..700),
            size in 1_usize..200,
        ) {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let (log, _) = read(&pieces);
            prop_assert_eq!(counts(&log).iter().sum::<u64>(), text.iter().filter(|byte| **byte == b'\n').count() as u64);
            prop_assert_eq!(counts(&log), counts(&read(&[&text]).0));
        }
    }
}
