//! TLS conversations whose plaintext is known, cut into segments of which some are lost, and a judge of what is read of them.

#![allow(dead_code, unreachable_pub, reason = "each test uses what it needs")]

pub mod talk;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use picotap::stream::{Position, Side};
use picotap::tls::keylog::KeyLog;
use picotap::tls::keys::KeyStore;
use picotap::tls::{Buffers, Connection, Context, Dark, Output, Progress, TlsCounters};

/// A throw-away certificate for `picotap.test`, and its key.
pub struct Identity {
    directory: tempfile::TempDir,
}

impl Identity {
    /// `kind`: `rsa:2048`, or `ec` for P-256.
    pub fn new(kind: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=picotap.test", "-newkey", kind]);
        if kind == "ec" {
            command.args(["-pkeyopt", "ec_paramgen_curve:P-256"]);
        }
        command.args(["-keyout", "key.pem", "-out", "certificate.pem"]).current_dir(directory.path());
        assert!(command.stderr(Stdio::null()).status().unwrap().success(), "openssl makes a certificate");
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn der(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments).current_dir(self.directory.path()).output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    pub fn certificate(&self) -> Vec<u8> {
        self.der(&["x509", "-in", "certificate.pem", "-outform", "der"])
    }

    pub fn key(&self) -> Vec<u8> {
        self.der(&["pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "der"])
    }
}

/// Bytes that one side sent: one record of an application with its plaintext, or anything else.
#[derive(Debug, Clone)]
pub struct Sent {
    pub side: Side,
    pub bytes: Vec<u8>,
    pub plaintext: Option<Vec<u8>>,
}

/// What was sent, in the order in which it was sent, and the key log of it.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub sent: Vec<Sent>,
    pub key_log: String,
}

#[derive(Debug, Clone)]
pub struct Segment {
    pub side: Side,
    pub at: Position,
    pub bytes: Vec<u8>,
}

impl Script {
    pub fn store(&self) -> KeyStore {
        let (mut log, mut store) = (KeyLog::new(), KeyStore::default());
        log.read(self.key_log.as_bytes(), &mut store);
        store
    }

    /// Segments of at most `mss` bytes, as a sender would cut them that never waits. Their time is their index.
    pub fn segments(&self, mss: usize) -> Vec<Segment> {
        let mut out: Vec<Segment> = vec![];
        let mut sent = [0_u64; 2];
        let mut at = 0;
        while let Some(first) = self.sent.get(at) {
            let side = first.side;
            let run = self.sent[at..].iter().take_while(|sent| sent.side == side).count();
            let stream: Vec<u8> = self.sent[at..at + run].iter().flat_map(|sent| sent.bytes.clone()).collect();
            at += run;
            for piece in stream.chunks(mss) {
                let at = Position {
                    offset: sent[side.index()],
                    peer_acked: sent[side.other().index()],
                    time: i64::try_from(out.len()).unwrap(),
                };
                out.push(Segment { side, at, bytes: piece.to_vec() });
                sent[side.index()] += piece.len() as u64;
            }
        }
        out
    }

    /// The plaintext of a side.
    pub fn plaintext(&self, side: Side) -> Vec<u8> {
        self.sent.iter().filter(|sent| sent.side == side).filter_map(|sent| sent.plaintext.clone()).flatten().collect()
    }

    /// How many bytes a side sent.
    pub fn length(&self, side: Side) -> u64 {
        self.sent.iter().filter(|sent| sent.side == side).map(|sent| sent.bytes.len() as u64).sum()
    }
}

/// A record of an application.
#[derive(Debug, Clone)]
struct Truth {
    side: Side,
    /// Where its bytes are.
    start: u64,
    end: u64,
    /// Where its plaintext is.
    offset: u64,
    plaintext: Vec<u8>,
}

/// What was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Data(Side, Position, Vec<u8>),
    Gap(Side, u64, u64, bool),
    Closed(Side, u64),
}

#[derive(Debug, Default)]
pub struct Recorder(pub Vec<Told>);

impl Output for Recorder {
    fn data(&mut self, side: Side, at: Position, plaintext: &[u8]) {
        self.0.push(Told::Data(side, at, plaintext.to_vec()));
    }

    fn gap(&mut self, side: Side, at: Position, length: u64, exact: bool) {
        self.0.push(Told::Gap(side, at.offset, length, exact));
    }

    fn closed(&mut self, side: Side, at: Position) {
        self.0.push(Told::Closed(side, at.offset));
    }
}

/// What a connection was read to.
pub struct Reading {
    pub connection: Connection,
    pub told: Vec<Told>,
    pub counters: TlsCounters,
    /// The most memory that it took.
    pub memory: usize,
}

impl Reading {
    /// The plaintext of a side, if nothing of it was missing.
    pub fn plaintext(&self, side: Side) -> Vec<u8> {
        let mut out: Vec<u8> = vec![];
        for told in &self.told {
            match told {
                Told::Data(from, at, data) if *from == side => {
                    assert_eq!(at.offset, out.len() as u64);
                    out.extend(data);
                }
                Told::Gap(from, ..) if *from == side => panic!("a gap: {told:?}"),
                _ => {}
            }
        }
        out
    }
}

/// Reads segments with these keys; `lengths`: how many bytes each side sent.
pub fn read(segments: &[Segment], keys: &KeyStore, lengths: [u64; 2]) -> Reading {
    let (mut connection, mut output) = (Connection::new(), Recorder::default());
    let (mut counters, mut buffers) = (TlsCounters::default(), Buffers::default());
    let (mut taken, mut memory) = (0, 0);
    let mut context =
        Context { keys, names: &[], without_keys: Some(Dark::NoKey), counters: &mut counters, buffers: &mut buffers };
    for segment in segments {
        let mut bytes = segment.bytes.clone();
        let progress = connection.bytes(&mut context, segment.side, segment.at, &mut bytes, &mut output);
        assert_eq!(progress, Progress::Done, "nothing waits");
        taken += segment.bytes.len() as u64;
        assert_eq!(context.counters.accounted() + connection.kept() as u64, taken, "every byte has an account");
        memory = memory.max(connection.memory());
    }
    let last = segments.last().map_or(0, |segment| segment.at.time);
    for side in [Side::First, Side::Second] {
        let peer_acked = lengths[side.other().index()];
        let at = Position { offset: lengths[side.index()], peer_acked, time: last };
        connection.end(&mut context, side, at, &mut output);
    }
    assert_eq!((counters.accounted(), connection.kept()), (taken, 0));
    Reading { connection, told: output.0, counters, memory }
}

/// Reads what is left of a script, and checks that no byte and no offset is wrong. Returns the reading, how many records of
/// applications were captured whole, and how many of these were not given.
pub fn judge(script: &Script, segments: &[Segment]) -> (Reading, usize, usize) {
    judge_spoilt(script, segments, &[])
}

/// The same, where these bytes of a side were changed.
pub fn judge_spoilt(script: &Script, segments: &[Segment], spoilt: &[(Side, u64)]) -> (Reading, usize, usize) {
    let lengths = [script.length(Side::First), script.length(Side::Second)];
    let reading = read(segments, &script.store(), lengths);
    let mut truths = vec![];
    let (mut streams, mut plain) = ([0_u64; 2], [0_u64; 2]);
    for sent in &script.sent {
        let (stream, plain) = (&mut streams[sent.side.index()], &mut plain[sent.side.index()]);
        let (start, end) = (*stream, *stream + sent.bytes.len() as u64);
        *stream = end;
        if let Some(plaintext) = &sent.plaintext {
            truths.push(Truth { side: sent.side, start, end, offset: *plain, plaintext: plaintext.clone() });
            *plain += plaintext.len() as u64;
        }
    }
    let covered = |truth: &Truth| {
        let mut at = truth.start;
        for segment in segments.iter().filter(|segment| segment.side == truth.side) {
            let (start, end) = (segment.at.offset, segment.at.offset + segment.bytes.len() as u64);
            if start <= at && at < end {
                at = end;
            }
            if at >= truth.end {
                return Some(segment.at);
            }
        }
        None
    };
    let whole =
        |truth: &&Truth| !spoilt.iter().any(|(side, at)| *side == truth.side && (truth.start..truth.end).contains(at));
    let survivors: Vec<(Truth, Position)> =
        truths.iter().filter(whole).filter_map(|truth| Some((truth.clone(), covered(truth)?))).collect();
    let mut missed = survivors.len();
    for side in [Side::First, Side::Second] {
        let mut expected = survivors.iter().filter(|(truth, _)| truth.side == side);
        // Where offsets are by now: those told are behind the true ones by what gaps were told too long.
        let (mut next, mut excess) = (0, 0);
        for told in &reading.told {
            match told {
                Told::Gap(from, at, length, exact) if *from == side => {
                    assert_eq!(*at, next);
                    next += length;
                    if *exact {
                        // The next data checks that it was.
                        continue;
                    }
                    excess = u64::MAX;
                }
                Told::Data(from, at, data) if *from == side => {
                    assert_eq!(at.offset, next, "offsets follow each other");
                    let found = expected.find(|(truth, place)| truth.plaintext == *data && place.time == at.time);
                    let (truth, place) = found.unwrap_or_else(|| panic!("{} bytes that were not sent", data.len()));
                    let behind = at.offset.checked_sub(truth.offset).expect("a gap is told with its greatest length");
                    assert!(excess == u64::MAX || behind == excess, "{behind} instead of {excess}");
                    excess = behind;
                    next += data.len() as u64;
                    missed -= 1;
                    // What was acknowledged is at most what the whole records below have.
                    let peer = truths.iter().rfind(|peer| peer.side != side && peer.end <= place.peer_acked);
                    let acked = peer.map_or(0, |peer| peer.offset + peer.plaintext.len() as u64);
                    if reading.told.iter().all(|told| !matches!(told, Told::Gap(..))) {
                        assert_eq!(at.peer_acked, acked);
                    }
                }
                _ => {}
            }
        }
    }
    (reading, survivors.len(), missed)
}
