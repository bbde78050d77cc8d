//! The log in the order of a field (`--sort`): of files, written at their end.
//!
//! At most [`MOST_BYTES`] of lines are held, and with a limit no more than twice as many lines, or 1,024. Where there are more, those that
//! sort last are left out and counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::chunk::{ChunkSender, Encoder};
use super::consumer::{Consumer, Output};
use super::gathered::{Gather, Gathered};
use super::log::LogOutput;
use crate::http::filter::field::Field;
use crate::http::filter::{Row, TlsFields, TransactionFields, Value};
use crate::http::{TlsConnection, Transaction};
use crate::stream::InterfaceNames;

/// Bytes of lines, and of what they take beside, that are held at the most: by all workers together.
pub const MOST_BYTES: usize = 256 << 20;
/// Memory of a line beside its bytes and its key's: its place among the lines, of which there may be twice as many, and two pieces of the heap.
const BESIDE: usize = 2 * size_of::<Line>() + 32;

/// The order of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// By this field. Where it is absent, lines come last.
    pub field: Field,
    /// The greatest first.
    pub descending: bool,
}

/// What the value of a field sorts as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Address(IpAddr, u16),
    Text(Box<[u8]>),
}

impl Key {
    fn of(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Absent => return None,
            Value::Number(number) => Self::Number(number),
            Value::Address(ip, port) => Self::Address(ip, port.unwrap_or(0)),
            Value::Text(text) => Self::Text(text.as_ref().into()),
            Value::Texts(texts) if texts.is_empty() => return None,
            Value::Texts(texts) => Self::Text(texts.join(&b' ').into()),
        })
    }

    fn size(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

#[derive(Debug)]
struct Line {
    key: Option<Key>,
    /// Lines with the same key stay in the order of completion.
    completed: u64,
    bytes: Box<[u8]>,
}

/// The lines of a worker, or of all.
#[derive(Debug)]
struct Lines {
    lines: Vec<Line>,
    bytes: usize,
    most: usize,
    descending: bool,
    limit: Option<usize>,
    left_out: Arc<AtomicU64>,
}

impl Lines {
    fn add(&mut self, line: Line) {
        self.bytes += size(&line);
        self.lines.push(line);
        let many = self.limit.is_some_and(|limit| self.lines.len() >= limit.saturating_mul(2).max(1024));
        if many || self.bytes > self.most {
            self.cut();
        }
    }

    fn sort(&mut self) {
        let descending = self.descending;
        self.lines.sort_unstable_by(|one, two| {
            let keys = match (&one.key, &two.key) {
                (Some(one), Some(two)) if descending => two.cmp(one),
                (Some(one), Some(two)) => one.cmp(two),
                (one, two) => one.is_none().cmp(&two.is_none()),
            };
            keys.then(one.completed.cmp(&two.completed))
        });
    }

    /// Leaves the last out: those beyond the limit, and if that is not enough so many that a quarter of the memory is free.
    fn cut(&mut self) {
        self.sort();
        // What is beyond the limit was not asked for.
        self.lines.truncate(self.limit.unwrap_or(usize::MAX));
        self.bytes = self.lines.iter().map(size).sum();
        if self.bytes > self.most {
            let mut left_out = 0;
            while self.bytes > self.most / 4 * 3
                && let Some(line) = self.lines.pop()
            {
                self.bytes -= size(&line);
                left_out += 1;
            }
            self.left_out.fetch_add(left_out, Ordering::Relaxed);
        }
    }
}

fn size(line: &Line) -> usize {
    line.bytes.len() + line.key.as_ref().map_or(0, Key::size) + BESIDE
}

impl Gather for Lines {
    fn merge(&mut self, other: Self) {
        self.most = self.most.saturating_add(other.most).min(MOST_BYTES);
        other.lines.into_iter().for_each(|line| self.add(line));
    }

    fn write(mut self, send: &mut dyn FnMut(&[u8]) -> bool) {
        self.sort();
        self.lines.truncate(self.limit.unwrap_or(usize::MAX));
        let mut some = Vec::new();
        for Line { bytes, .. } in self.lines {
            some.extend_from_slice(&bytes);
            if some.len() >= 1 << 18 {
                if !send(&some) {
                    return;
                }
                some.clear();
            }
        }
        send(&some);
    }
}

/// The log, sorted.
pub struct SortedOutput {
    log: LogOutput,
    order: Order,
    limit: Option<usize>,
    workers: usize,
    gathered: Gathered<Lines>,
    left_out: Arc<AtomicU64>,
}

impl SortedOutput {
    /// The lines of `log`, in this order, the first `limit` of them; of so many workers. `left_out`: counts the lines for which there
    /// is no memory.
    #[must_use]
    pub fn new(log: LogOutput, order: Order, limit: Option<usize>, workers: usize, left_out: Arc<AtomicU64>) -> Self {
        let chunks: ChunkSender = log.chunks.clone();
        Self { log, order, limit, workers: workers.max(1), gathered: Gathered::new(chunks), left_out }
    }
}

impl Output for SortedOutput {
    fn consumer(&self) -> Box<dyn Consumer> {
        self.gathered.open();
        let lines = Lines {
            lines: Vec::new(),
            bytes: 0,
            most: MOST_BYTES / self.workers,
            descending: self.order.descending,
            limit: self.limit,
            left_out: Arc::clone(&self.left_out),
        };
        Box::new(SortedLines {
            encoder: self.log.encoder(),
            interfaces: self.log.origin.interfaces.clone(),
            field: self.order.field.clone(),
            lines,
            gathered: self.gathered.clone(),
            buffer: Vec::new(),
        })
    }
}

/// One worker's lines.
struct SortedLines {
    encoder: Box<dyn Encoder>,
    interfaces: InterfaceNames,
    field: Field,
    lines: Lines,
    gathered: Gathered<Lines>,
    buffer: Vec<u8>,
}

impl SortedLines {
    fn keep(&mut self, key: Option<Key>, completed: u64) {
        self.lines.add(Line { key, completed, bytes: self.buffer.as_slice().into() });
    }
}

impl Consumer for SortedLines {
    fn transaction(&mut self, transaction: &Transaction) {
        self.buffer.clear();
        if self.encoder.encode(transaction, &mut self.buffer) {
            let key = Key::of(TransactionFields(transaction, &self.interfaces).value(&self.field));
            self.keep(key, transaction.completed);
        }
    }

    fn tls(&mut self, connection: &TlsConnection) {
        self.buffer.clear();
        if self.encoder.encode_tls(connection, &mut self.buffer) {
            let key = Key::of(TlsFields(connection, &self.interfaces).value(&self.field));
            self.keep(key, connection.completed);
        }
    }

    fn close(self: Box<Self>) {
        let Self { gathered, lines, .. } = *self;
        gathered.close(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(descending: bool, limit: Option<usize>, most: usize) -> Lines {
        Lines { lines: Vec::new(), bytes: 0, most, descending, limit, left_out: Arc::default() }
    }

    fn written(lines: Lines) -> Vec<String> {
        let mut out = Vec::new();
        lines.write(&mut |some| {
            out.extend_from_slice(some);
            true
        });
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn line(key: Option<i64>, completed: u64) -> Line {
        let text = format!("{} {completed}\n", key.map_or("-".to_owned(), |key| key.to_string()));
        Line { key: key.map(Key::Number), completed, bytes: text.into_bytes().into() }
    }

    #[test]
    fn what_is_absent_comes_last_and_what_is_the_same_stays_in_order() {
        for (descending, wanted) in [(false, ["1 3", "2 1", "2 4", "- 0"]), (true, ["2 1", "2 4", "1 3", "- 0"])] {
            let (mut one, mut two) = (lines(descending, None, 1 << 20), lines(descending, None, 1 << 20));
            one.add(line(None, 0));
            one.add(line(Some(2), 4));
            two.add(line(Some(1), 3));
            two.add(line(Some(2), 1));
            one.merge(two);
            assert_eq!(written(one), wanted);
        }
    }

    #[test]
    fn a_limit_bounds_the_memory_and_counts_nothing() {
        let mut some = lines(true, Some(3), 1 << 20);
        for completed in 0..10_000 {
            some.add(line(Some(completed as i64 * 7919 % 10_007), completed));
            assert!(some.lines.len() < 1024);
        }
        let left_out = Arc::clone(&some.left_out);
        let keys: Vec<i64> =
            written(some).iter().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
        let mut all: Vec<i64> = (0..10_000).map(|completed| completed * 7919 % 10_007).collect();
        all.sort_unstable_by(|one, two| two.cmp(one));
        assert_eq!((keys.as_slice(), left_out.load(Ordering::Relaxed)), (&all[..3], 0));
    }

    #[test]
    fn without_memory_the_last_are_left_out_and_counted() {
        let mut some = lines(false, None, 100 * (BESIDE + 10));
        for completed in 0..1_000 {
            some.add(line(Some(completed as i64), completed));
            assert!(some.bytes <= 101 * (BESIDE + 10));
        }
        let left_out = some.left_out.load(Ordering::Relaxed);
        let kept = written(some);
        assert_eq!(kept.len() as u64 + left_out, 1_000);
        assert!(kept.len() >= 50 && kept.iter().enumerate().take(50).all(|(at, line)| *line == format!("{at} {at}")));
    }
}
