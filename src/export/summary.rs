//! A summary is what a run comes to, for people, at its end.
//!
//! Every worker has one and counts for itself; at the end they are merged. All of it is bounded: about 100 KiB.

use std::fmt::Write;

use crate::export::ranking::Ranking;
use crate::export::{escape, text};
use crate::http::flags::ALL;
use crate::http::{Message, Transaction};

/// Hosts and paths that are counted.
const RANKED: usize = 256;
/// Bytes of a host or path that are kept.
const LONGEST: usize = 256;
/// Hosts and paths that are shown.
const SHOWN: usize = 5;
/// Parts of each power of two in the latency histogram: percentiles are right to one in 32.
const PARTS: u64 = 32;
const PARTS_BITS: u32 = PARTS.trailing_zeros();

/// Latencies, log-linear: exact below [`PARTS`] microseconds, then [`PARTS`] parts of each power of two.
#[derive(Debug, Clone)]
struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    fn new() -> Self {
        Self { counts: vec![0; Self::place(u64::MAX).saturating_add(1)], total: 0 }
    }

    fn place(micros: u64) -> usize {
        let power = u64::BITS - micros.leading_zeros();
        let shift = power.saturating_sub(PARTS_BITS + 1);
        let part = micros >> shift;
        usize::try_from(u64::from(shift) * PARTS + part).unwrap_or(0)
    }

    /// The greatest value that belongs to a place.
    fn greatest(place: usize) -> u64 {
        let place = place as u64;
        let shift = (place / PARTS).saturating_sub(1);
        let part = place - shift * PARTS;
        ((u128::from(part) + 1) << shift).saturating_sub(1).try_into().unwrap_or(u64::MAX)
    }

    fn add(&mut self, micros: u64) {
        if let Some(count) = self.counts.get_mut(Self::place(micros)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// The value below which `percent` of a hundred lie, in microseconds, at most one in [`PARTS`] too high.
    fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = self.total.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        place.map(Self::greatest)
    }
}

/// What a run comes to.
#[derive(Debug, Clone)]
pub struct Summary {
    transactions: u64,
    /// Capture times of the first and the last.
    span: Option<(i64, i64)>,
    /// By the first digit of the status; 0: no response.
    classes: [u64; 10],
    request_bytes: u64,
    response_bytes: u64,
    lost: u64,
    latencies: Latencies,
    hosts: Ranking,
    paths: Ranking,
    flags: [u64; 64],
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            transactions: 0,
            span: None,
            classes: [0; 10],
            request_bytes: 0,
            response_bytes: 0,
            lost: 0,
            latencies: Latencies::new(),
            hosts: Ranking::new(RANKED, LONGEST),
            paths: Ranking::new(RANKED, LONGEST),
            flags: [0; 64],
        }
    }
}

impl Summary {
    /// Counts a transaction.
    pub fn add(&mut self, transaction: &Transaction) {
        self.transactions += 1;
        let (begin, end) = (transaction.time(), transaction.response.map_or(transaction.time(), last_time));
        self.span = Some(self.span.map_or((begin, end), |(first, last)| (first.min(begin), last.max(end))));
        if let Some(class) = self.classes.get_mut(usize::from(transaction.status / 100)) {
            *class += 1;
        }
        let body = |message: &Option<Message>| message.as_ref().and_then(Message::body).map_or(0, |body| body.wire);
        self.request_bytes = self.request_bytes.saturating_add(body(&transaction.request));
        self.response_bytes = self.response_bytes.saturating_add(body(&transaction.response));
        self.lost = self.lost.saturating_add(transaction.lost());
        if let Some(duration) = transaction.duration().and_then(|time| u64::try_from(time / 1000).ok()) {
            self.latencies.add(duration);
        }
        if let Some(host) = transaction.host() {
            self.hosts.add(host, 1);
        }
        if let Some(path) = transaction.path() {
            self.paths.add(path, 1);
        }
        for bit in transaction.flags.positions() {
            if let Some(count) = self.flags.get_mut(bit) {
                *count += 1;
            }
        }
    }

    /// Adds another worker's.
    pub fn merge(&mut self, other: &Self) {
        self.transactions += other.transactions;
        self.span = match (self.span, other.span) {
            (Some((first, last)), Some((begin, end))) => Some((first.min(begin), last.max(end))),
            (one, another) => one.or(another),
        };
        let add = |into: &mut [u64], from: &[u64]| into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        add(&mut self.classes, &other.classes);
        add(&mut self.flags, &other.flags);
        add(&mut self.latencies.counts, &other.latencies.counts);
        self.latencies.total += other.latencies.total;
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.lost = self.lost.saturating_add(other.lost);
        self.hosts.merge(&other.hosts);
        self.paths.merge(&other.paths);
    }

    /// Number of transactions.
    #[must_use]
    pub const fn transactions(&self) -> u64 {
        self.transactions
    }

    /// The text. `losses`: what was lost elsewhere, as (what and why, how much); those of zero are not told.
    #[must_use]
    pub fn text(&self, losses: &[(&str, u64)]) -> String {
        let mut out = String::new();
        self.write(losses, &mut out).unwrap_or_default(); // a String takes everything
        out
    }

    fn write(&self, losses: &[(&str, u64)], out: &mut String) -> std::fmt::Result {
        let total = self.transactions;
        write!(out, "{total} transaction{}", if total == 1 { "" } else { "s" })?;
        let span = self.span.map_or(0, |(first, last)| last.saturating_sub(first));
        if span > 0 {
            let seconds = span as f64 / 1e9;
            write!(
                out,
                " in {}, {:.1} a second",
                shown(|out| text::duration(Some(span), out)),
                total as f64 / seconds
            )?;
        }
        let size = |bytes| shown(|out| text::size(Some(bytes), out));
        writeln!(out, "; bodies: {} asked, {} answered", size(self.request_bytes), size(self.response_bytes))?;
        if total == 0 {
            return self.write_losses(losses, out);
        }
        out.push_str("  status:");
        for (class, count) in self.classes.iter().enumerate().rev().filter(|(_, count)| **count != 0).rev() {
            match class {
                0 => write!(out, "  none {count}")?,
                class => write!(out, "  {class}xx {count}")?,
            }
        }
        out.push('\n');
        if self.latencies.total != 0 {
            out.push_str("  duration:");
            for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
                let micros = self.latencies.percentile(percent).unwrap_or_default();
                let time = i64::try_from(micros.saturating_mul(1000)).unwrap_or(i64::MAX);
                write!(out, "  {name} {}", shown(|out| text::duration(Some(time), out)))?;
            }
            out.push('\n');
        }
        for (name, ranking) in [("hosts", &self.hosts), ("paths", &self.paths)] {
            let top = ranking.top(SHOWN);
            if top.is_empty() {
                continue;
            }
            let about = if ranking.is_full() { " (counts are upper bounds)" } else { "" };
            writeln!(out, "  top {name}{about}:")?;
            for (text, count) in top {
                writeln!(out, "  {count:>9}  {}", shown(|out| escape::shown(text, false, out)))?;
            }
        }
        let mut flags = ALL.iter().filter_map(|(flag, name, _)| {
            let count = flag.positions().next().and_then(|bit| self.flags.get(bit)).copied()?;
            (count != 0).then_some((name, count))
        });
        if let Some((name, count)) = flags.next() {
            write!(out, "  flags:  {name} {count}")?;
            flags.try_for_each(|(name, count)| write!(out, "  {name} {count}"))?;
            out.push('\n');
        }
        self.write_losses(losses, out)
    }

    fn write_losses(&self, losses: &[(&str, u64)], out: &mut String) -> std::fmt::Result {
        let bodies = [("body bytes never seen", self.lost)];
        let all: Vec<_> = bodies.iter().chain(losses).filter(|(_, count)| *count != 0).collect();
        if all.is_empty() {
            return writeln!(out, "  lost: nothing");
        }
        out.push_str("  lost:\n");
        all.iter().try_for_each(|(what, count)| writeln!(out, "  {count:>9}  {what}"))
    }
}

fn last_time(response: Message) -> i64 {
    response.end.map_or(response.head_end.time, |(end, _)| end.time)
}

fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::flag;
    use crate::http::support::Wire;
    use crate::http::{CloseReason, Settings};

    #[test]
    fn a_run_reads_as_it_went() {
        let mut wire = Wire::new(Settings::default());
        for number in 1..=8 {
            wire.get(number, "/a?x").wait(100).reply(number, 200, 1000);
        }
        wire.ask(9, "GET /b HTTP/1.1\nHost: h\x1b[2J", flag::BARE_LF).end(0, 9, 50, 0).wait(1200).reply(9, 503, 0);
        wire.get(10, "/a").close(CloseReason::Closed);
        let (mut one, mut other) = (Summary::default(), Summary::default());
        for (number, transaction) in wire.done.iter().enumerate() {
            if number % 2 == 0 { &mut one } else { &mut other }.add(transaction);
        }
        one.merge(&other);
        let wanted = "10 transactions in 2.0s, 5.0 a second; bodies: 50B asked, 8.0kB answered
  status:  none 1  2xx 8  5xx 1
  duration:  p50 100.3ms  p90 1.2s  p99 1.2s  max 1.2s
  top hosts:
          9  example.com
          1  h\\x1b[2J
  top paths:
          9  /a
          1  /b
  flags:  bare_lf 1  no_response 1
  lost:
          3  packets dropped by the kernel
";
        assert_eq!(one.text(&[("packets dropped by the kernel", 3), ("slots dropped", 0)]), wanted);
    }

    #[test]
    fn an_empty_run_says_so() {
        let wanted = "0 transactions; bodies: 0B asked, 0B answered\n  lost: nothing\n";
        assert_eq!(Summary::default().text(&[]), wanted);
    }

    proptest! {
        #[test]
        fn percentiles_are_right_to_one_in_32(mut times in proptest::collection::vec(any::<u64>().prop_map(|t| t >> (t % 60)), 1..200), percent in 0usize..=100) {
            let mut latencies = Latencies::new();
            times.iter().for_each(|time| latencies.add(*time));
            times.sort_unstable();
            let wanted = (times.len() * percent).div_ceil(100).max(1);
            let exact = times[wanted - 1];
            let found = latencies.percentile(percent as u64).unwrap();
            prop_assert!(found >= exact && found - exact <= exact / PARTS, "{found} for {exact}");
        }

        #[test]
        fn places_grow_with_values(one in any::<u64>(), other in any::<u64>()) {
            prop_assert!(one > other || Latencies::place(one) <= Latencies::place(other));
            prop_assert!(Latencies::greatest(Latencies::place(one)) >= one);
        }
    }
}
