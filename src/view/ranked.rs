//! Transactions added up by the value of a field (`--top`): of files, written at their end as a table for people.
//!
//! Each worker counts at most [`MOST`] values, those that came first; the others are in one row.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use foldhash::fast::RandomState;

use super::facts::{Facts, Sum};
use crate::escape;
use crate::export::chunk::ChunkSender;
use crate::export::consumer::{Consumer, Output};
use crate::export::gathered::{Gather, Gathered};
use crate::export::numbers::grouped;
use crate::export::{duration, right, size};
use crate::http::Transaction;
use crate::http::filter::field::{Field, Name};
use crate::http::filter::{Row, Selection, TransactionFields, Value, without_port};
use crate::stream::InterfaceNames;

/// Values that each worker counts. Each takes at most 2.4 KB with its text and its histogram: 39 MB for each worker.
pub const MOST: usize = 16_384;
/// Bytes of a value that are kept.
const LONGEST: usize = 256;
/// Rows that are written, unless a limit is given.
const SHOWN: usize = 20;

/// What rows are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// How many transactions.
    #[default]
    Count,
    /// The 95th percentile of durations.
    P95,
    /// Bytes of bodies, both ways.
    Bytes,
    /// Failed transactions.
    Failed,
}

/// Every ranking with its name.
const NAMES: &[(&str, By)] = &[("count", By::Count), ("p95", By::P95), ("bytes", By::Bytes), ("failed", By::Failed)];

/// A ranking that there is not.
#[derive(Debug, thiserror::Error)]
#[error("unknown ranking \"{0}\": needed count, p95, bytes or failed")]
pub struct UnknownRanking(String);

impl FromStr for By {
    type Err = UnknownRanking;

    fn from_str(text: &str) -> Result<Self, UnknownRanking> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, by)| *by).ok_or_else(|| UnknownRanking(text.to_owned()))
    }
}

impl fmt::Display for By {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(NAMES.iter().find(|(_, by)| by == self).map_or("", |(name, _)| name))
    }
}

/// What is added up, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    /// By the values of this field.
    pub field: Field,
    /// In this order.
    pub by: By,
    /// So many rows; 20 if that is not said.
    pub limit: Option<usize>,
}

/// The table as an output.
pub struct RankedOutput {
    ranking: Ranking,
    selection: Selection,
    interfaces: InterfaceNames,
    gathered: Gathered<Rows>,
}

impl RankedOutput {
    /// Of the transactions that a selection takes; lines go where these go.
    #[must_use]
    pub fn new(ranking: Ranking, selection: Selection, interfaces: InterfaceNames, chunks: ChunkSender) -> Self {
        Self { ranking, selection, interfaces, gathered: Gathered::new(chunks) }
    }
}

impl Output for RankedOutput {
    fn consumer(&self) -> Box<dyn Consumer> {
        self.gathered.open();
        Box::new(Part {
            selection: self.selection.clone(),
            interfaces: self.interfaces.clone(),
            rows: Rows { ranking: self.ranking.clone(), sums: HashMap::default(), others: Sum::default() },
            gathered: self.gathered.clone(),
            value: Vec::new(),
        })
    }
}

/// One worker's part.
struct Part {
    selection: Selection,
    interfaces: InterfaceNames,
    rows: Rows,
    gathered: Gathered<Rows>,
    value: Vec<u8>,
}

impl Consumer for Part {
    fn transaction(&mut self, transaction: &Transaction) {
        if !self.selection.takes(transaction, &self.interfaces) {
            return;
        }
        self.value.clear();
        let is_host = self.rows.ranking.field == Field::Named(Name::Host);
        match TransactionFields(transaction, &self.interfaces).value(&self.rows.ranking.field) {
            Value::Absent => {}
            Value::Number(number) => self.value.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Value::Text(text) if is_host => self.value.extend(without_port(&text).iter().map(u8::to_ascii_lowercase)),
            Value::Text(text) => self.value.extend_from_slice(&text),
            Value::Texts(texts) => self.value.extend_from_slice(&texts.join(&b' ')),
            Value::Address(ip, _) => self.value.extend_from_slice(ip.to_string().as_bytes()),
        }
        self.value.truncate(LONGEST);
        self.rows.add(&self.value, &Facts::of(transaction));
    }

    fn close(self: Box<Self>) {
        let Self { gathered, rows, .. } = *self;
        gathered.close(rows);
    }
}

/// What was counted; the empty value stands for none.
struct Rows {
    ranking: Ranking,
    sums: HashMap<Box<[u8]>, Sum, RandomState>,
    others: Sum,
}

impl Rows {
    fn add(&mut self, value: &[u8], facts: &Facts) {
        if let Some(sum) = self.sums.get_mut(value) {
            sum.add(facts);
        } else if self.sums.len() < MOST {
            self.sums.entry(value.into()).or_default().add(facts);
        } else {
            self.others.add(facts);
        }
    }
}

impl Gather for Rows {
    fn merge(&mut self, other: Self) {
        for (value, sum) in other.sums {
            self.sums.entry(value).or_default().merge(&sum);
        }
        self.others.merge(&other.others);
    }

    fn write(self, send: &mut dyn FnMut(&[u8]) -> bool) {
        let Ranking { field, by, limit } = self.ranking;
        let mut rows: Vec<_> = self.sums.into_iter().map(|(value, sum)| (value, sum.counts())).collect();
        let rank = |counts: &super::Counts| match by {
            By::Count => counts.transactions,
            By::P95 => counts.times.p95.unwrap_or(0),
            By::Bytes => counts.request_bytes.saturating_add(counts.response_bytes),
            By::Failed => counts.server_errors,
        };
        rows.sort_unstable_by(|(one, counts), (two, others)| {
            rank(others).cmp(&rank(counts)).then(others.transactions.cmp(&counts.transactions)).then(one.cmp(two))
        });
        let shown = limit.unwrap_or(SHOWN);
        let more = rows.len().saturating_sub(shown);
        let mut out = format!(
            "{:>12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {}\n",
            "count",
            "failed",
            "p50",
            "p95",
            "max",
            "sent",
            "received",
            field.text()
        )
        .into_bytes();
        for (value, counts) in rows.iter().take(shown) {
            line(counts, &mut out);
            match value.is_empty() {
                true => out.extend_from_slice(b"(none)"),
                false => escape::shown(value, false, &mut out),
            }
            out.push(b'\n');
        }
        if self.others.transactions() > 0 {
            line(&self.others.counts(), &mut out);
            out.extend_from_slice(b"(others: more values than are counted)\n");
        }
        if more > 0 {
            out.extend_from_slice(
                format!("{:>12} values more; --limit shows more of them\n", grouped(more as u64)).as_bytes(),
            );
        }
        send(&out);
    }
}

/// All of a row but its value.
fn line(counts: &super::Counts, out: &mut Vec<u8>) {
    out.extend_from_slice(
        format!("{:>12} {:>9}", grouped(counts.transactions), grouped(counts.server_errors)).as_bytes(),
    );
    for micros in [counts.times.p50, counts.times.p95, counts.times.max] {
        out.push(b' ');
        right(out, 9, |out| {
            duration(micros.map(|micros| i64::try_from(micros.saturating_mul(1000)).unwrap_or(i64::MAX)), out)
        });
    }
    for bytes in [counts.request_bytes, counts.response_bytes] {
        out.push(b' ');
        right(out, 9, |out| size(Some(bytes), out));
    }
    out.extend_from_slice(b"  ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::chunk::channel;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use std::sync::Arc;
    use std::time::Duration;

    fn table(field: &str, by: By, filter: &[&str], workers: usize) -> Vec<String> {
        let mut wire = Wire::new(Settings::default());
        for (number, (host, status, wait)) in
            (1..).zip([("a", 200, 2), ("B:80", 503, 9), ("b", 404, 1), ("c", 200, 5), ("b", 200, 1)])
        {
            wire.ask(number, format!("GET /{number} HTTP/1.1\nHost: {host}"), 0).end(0, number, 0, 0).wait(wait);
            wire.reply(number, status, 1000 * u64::from(number));
        }
        let (chunks, lines) = channel(9, 1, true, Arc::default());
        let ranking = Ranking { field: Field::of(field).unwrap(), by, limit: Some(3) };
        let filters = filter.iter().map(|filter| filter.parse().unwrap()).collect();
        let selection = Selection { filters, ..Selection::default() };
        let output = RankedOutput::new(ranking, selection, InterfaceNames::default(), chunks);
        let mut consumers: Vec<_> = (0..workers).map(|_| output.consumer()).collect();
        for (at, transaction) in wire.done.iter().enumerate() {
            consumers[at % workers].transaction(transaction);
        }
        consumers.into_iter().for_each(Consumer::close);
        let chunk = lines.recv_timeout(Duration::ZERO).unwrap();
        assert_eq!(chunk.records, chunk.marks.len() as u64);
        String::from_utf8(chunk.bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn rows_are_ranked_whatever_worker_has_counted() {
        let wanted = [
            "       count    failed       p50       p95       max      sent  received  host",
            "           3         1     1.0ms     9.0ms     9.0ms        0B    10.0kB  b",
            "           1         0     2.0ms     2.0ms     2.0ms        0B     1.0kB  a",
            "           1         0     5.0ms     5.0ms     5.0ms        0B     4.0kB  c",
        ];
        for workers in [1, 3] {
            assert_eq!(table("host", By::Count, &[], workers), wanted);
        }
        let values = |lines: Vec<String>| {
            lines[1..].iter().map(|line| line.rsplit("  ").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(values(table("host", By::P95, &[], 2)), ["b", "c", "a"]);
        assert_eq!(values(table("status", By::Bytes, &[], 2)), ["200", "404", "503"]);
        assert_eq!(values(table("path", By::Count, &["status>=400"], 2)), ["/2", "/3"]);
        assert_eq!(values(table("path", By::Failed, &[], 1)).first().map(String::as_str), Some("/2"));
        assert!(
            table("path", By::Count, &[], 1).last().unwrap().ends_with("2 values more; --limit shows more of them")
        );
        assert_eq!(values(table("grpc_service", By::Count, &[], 1)), ["(none)"]);
    }

    #[test]
    fn no_more_values_are_counted_than_there_is_room_for() {
        let transaction = Wire::new(Settings::default()).get(1, "/").reply(1, 200, 0).last().clone();
        let ranking = Ranking { field: Field::of("path").unwrap(), by: By::Count, limit: Some(1) };
        let mut rows = Rows { ranking, sums: HashMap::default(), others: Sum::default() };
        let facts = Facts::of(&transaction);
        for number in 0..MOST + 5 {
            rows.add(number.to_string().as_bytes(), &facts);
        }
        assert_eq!((rows.sums.len(), rows.others.transactions()), (MOST, 5));
        let mut out = Vec::new();
        rows.write(&mut |some| {
            out.extend_from_slice(some);
            true
        });
        assert!(String::from_utf8(out).unwrap().contains("(others: more values than are counted)"));
    }
}
