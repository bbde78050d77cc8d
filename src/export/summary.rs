//! A summary says at the end of a run, for people, what all of its transactions add up to.
//!
//! Every worker has one and counts for itself; at the end they are merged (see [`Total`](super::total::Total)). All of it is
//! bounded: about 200 KiB.

mod tls;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use self::tls::{ADVICE, NOT_OF_THESE, TlsSum};
use crate::escape;
use crate::export::numbers::grouped;
use crate::export::ranking::Ranking;
use crate::export::terminal::{Color, ELLIPSIS, Terminal, shorten};
use crate::export::text;
use crate::export::total::Sum;
use crate::http::flags::{ALL, Flags};
use crate::http::{Message, TlsConnection, Transaction, microseconds};

/// Hosts and paths that are counted.
const RANKED: usize = 256;
/// Bytes of a host or path that are shown. One more is kept, which says whether there are more.
const LONGEST: usize = 256;
/// Hosts and paths that are shown.
const SHOWN: usize = 5;
/// Significant decimal digits of a percentile: it is at most one in 128 too high.
const DIGITS: u8 = 2;
/// The longest duration between two times in nanoseconds, in microseconds. None is longer, so that none is clamped.
const LONGEST_MICROS: u64 = (i64::MAX / 1000).unsigned_abs();

/// Durations in microseconds, log-linear; 48 KiB whatever is counted.
#[derive(Debug, Clone)]
struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS).expect("constant bounds, and they are valid"))
    }

    fn add(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// The value that `percent` of a hundred do not exceed, in microseconds; none if nothing was counted.
    fn percentile(&self, percent: u8) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(f64::from(percent) / 100.0))
    }
}

/// The run that is summed up.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Whether it captured from interfaces.
    pub live: bool,
    /// How long it took, which is not the time of the traffic.
    pub elapsed: Duration,
    /// Whether it had secrets of TLS.
    pub secrets: bool,
}

/// What the transactions of a run add up to.
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
    /// Of paths, or of their routes if transactions carry them.
    paths: Ranking,
    /// Whether they do.
    routed: bool,
    flags: [u64; 64],
    tls: TlsSum,
    /// Operations of other protocols than HTTP, by protocol: how many, and how many failed. Of few protocols: one for each
    /// parser module, and SOCKS.
    operations: BTreeMap<String, (u64, u64)>,
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
            hosts: Ranking::new(RANKED, LONGEST + 1),
            paths: Ranking::new(RANKED, LONGEST + 1),
            routed: false,
            flags: [0; 64],
            operations: BTreeMap::new(),
            tls: TlsSum::default(),
        }
    }
}

impl Sum for Summary {
    fn add(&mut self, transaction: &Transaction) {
        if let Some(protocol) = transaction.protocol() {
            if !self.operations.contains_key(protocol) {
                self.operations.insert(protocol.to_owned(), (0, 0));
            }
            if let Some((count, failed)) = self.operations.get_mut(protocol) {
                *count += 1;
                *failed += u64::from(transaction.flags.intersects(Flags::FAILED));
            }
            return;
        }
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
        if let Some(duration) = microseconds(transaction.duration()) {
            self.latencies.add(duration);
        }
        if let Some(host) = transaction.host() {
            self.hosts.add(host);
        }
        self.routed |= transaction.route().is_some();
        if let Some(path) = transaction.route().or_else(|| transaction.path()) {
            self.paths.add(path);
        }
        for bit in transaction.flags.positions() {
            if let Some(count) = self.flags.get_mut(bit) {
                *count += 1;
            }
        }
    }

    fn add_tls(&mut self, connection: &TlsConnection) {
        self.tls.add(connection);
    }

    fn merge(&mut self, other: &Self) {
        self.tls.merge(&other.tls);
        self.transactions += other.transactions;
        self.span = match (self.span, other.span) {
            (Some((first, last)), Some((begin, end))) => Some((first.min(begin), last.max(end))),
            (one, another) => one.or(another),
        };
        let add = |into: &mut [u64], from: &[u64]| into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        add(&mut self.classes, &other.classes);
        add(&mut self.flags, &other.flags);
        for (protocol, (count, failed)) in &other.operations {
            let total = self.operations.entry(protocol.clone()).or_default();
            *total = (total.0 + count, total.1 + failed);
        }
        self.latencies.merge(&other.latencies);
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.lost = self.lost.saturating_add(other.lost);
        self.hosts.merge(&other.hosts);
        self.paths.merge(&other.paths);
        self.routed |= other.routed;
    }
}

impl Summary {
    /// Number of transactions.
    #[must_use]
    pub const fn transactions(&self) -> u64 {
        self.transactions
    }

    /// The text. `losses`: what was lost elsewhere, as (what and why, how much); those of zero are left out.
    #[must_use]
    pub fn text(&self, run: Run, losses: &[(&str, u64)], terminal: &Terminal) -> String {
        let mut out = String::new();
        Printer { summary: self, terminal }.write(run, losses, &mut out).unwrap_or_default(); // a String takes everything
        out
    }
}

/// Writes a summary for a terminal.
struct Printer<'a> {
    summary: &'a Summary,
    terminal: &'a Terminal,
}

impl Printer<'_> {
    fn write(&self, run: Run, losses: &[(&str, u64)], out: &mut String) -> std::fmt::Result {
        let Summary { transactions, classes, latencies, .. } = self.summary;
        self.write_title(run, out)?;
        for (protocol, (count, failed)) in &self.summary.operations {
            writeln!(out, "  {protocol}: {} operations, {} failed", grouped(*count), grouped(*failed))?;
        }
        self.write_tls(run, out)?;
        if *transactions == 0 {
            return self.write_losses(losses, out);
        }
        let size = |bytes| shown(|out| text::size(Some(bytes), out));
        let (requests, responses) = (size(self.summary.request_bytes), size(self.summary.response_bytes));
        writeln!(out, "  bodies:  of requests {requests}  of responses {responses}")?;
        out.push_str("  status:");
        for (class, count) in (0..).zip(classes).filter(|(_, count)| **count != 0) {
            let name = if class == 0 { "none".into() } else { format!("{class}xx") };
            write!(out, "  {} {}", self.painted(Color::of_class(class), &name), grouped(*count))?;
        }
        out.push('\n');
        if !latencies.0.is_empty() {
            out.push_str("  duration:");
            for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
                let micros = latencies.percentile(percent).unwrap_or_default();
                let time = i64::try_from(micros.saturating_mul(1000)).unwrap_or(i64::MAX);
                write!(out, "  {name} {}", shown(|out| text::duration(Some(time), out)))?;
            }
            out.push('\n');
        }
        self.write_top("hosts", &self.summary.hosts, out)?;
        let paths = if self.summary.routed { "routes" } else { "paths" };
        self.write_top(paths, &self.summary.paths, out)?;
        let mut flags = ALL.iter().filter_map(|(flag, name, _)| {
            let count = flag.positions().next().and_then(|bit| self.summary.flags.get(bit)).copied()?;
            (count != 0).then_some((name, grouped(count)))
        });
        if let Some((name, count)) = flags.next() {
            write!(out, "  flags:  {name} {count}")?;
            flags.try_for_each(|(name, count)| write!(out, "  {name} {count}"))?;
            out.push('\n');
        }
        self.write_losses(losses, out)
    }

    /// How many there were, and in what time: that of the traffic, which the capture says, and that of the run.
    fn write_title(&self, run: Run, out: &mut String) -> std::fmt::Result {
        let total = self.summary.transactions;
        let title = format!("{} transaction{}", grouped(total), if total == 1 { "" } else { "s" });
        out.push_str(&self.painted(Color::Bold, &title));
        if let Some((first, last)) = self.summary.span {
            let span = Duration::from_nanos(last.saturating_sub(first).unsigned_abs());
            write!(out, " in {} of traffic", time(span))?;
            if span >= Duration::from_secs(1) {
                write!(out, " ({:.1} a second)", total as f64 / span.as_secs_f64())?;
            }
        }
        let (doing, elapsed) = (if run.live { "captured for" } else { "read in" }, time(run.elapsed));
        writeln!(out, ", {doing} {elapsed}")
    }

    /// TLS connections, what became of them, and what helps.
    fn write_tls(&self, run: Run, out: &mut String) -> std::fmt::Result {
        let TlsSum { connections, decrypted, reasons, dark } = &self.summary.tls;
        if *connections == 0 {
            return Ok(());
        }
        write!(out, "  TLS connections:  {}  decrypted {}", grouped(*connections), grouped(*decrypted))?;
        for (reason, count) in reasons {
            write!(out, "  {reason} {}", grouped(*count))?;
        }
        out.push('\n');
        for (reason, advice) in ADVICE.iter().filter(|(reason, _)| reasons.contains_key(reason)) {
            let advice = if run.secrets && *reason == "no_key" { NOT_OF_THESE } else { advice };
            writeln!(out, "    {advice}")?;
        }
        self.write_top("servers that stay dark", dark, out)
    }

    /// Lower bounds bear a plus.
    fn write_top(&self, name: &str, ranking: &Ranking, out: &mut String) -> std::fmt::Result {
        let top = ranking.top(SHOWN);
        let note = match ranking.is_full() {
            true if top.is_empty() => format!(" unknown, since there are more than {RANKED} and none stands out"),
            true => format!(" of more than {RANKED} (1+: at least 1)"),
            false if top.is_empty() => return Ok(()),
            false => String::new(),
        };
        writeln!(out, "  top {name}:{note}")?;
        for ranked in top {
            let count = grouped(ranked.count) + if ranked.is_exact { "" } else { "+" };
            let cut = ranked.text.get(..LONGEST).filter(|_| ranked.text.len() > LONGEST);
            let mut text = shown(|out| escape::shown(cut.unwrap_or(ranked.text), false, out));
            text.push_str(if cut.is_some() { ELLIPSIS } else { "" });
            if let Some(columns) = self.terminal.columns() {
                text = shown(|out| shorten(&text, columns.saturating_sub(13), out));
            }
            writeln!(out, "  {count:>9}  {text}")?;
        }
        Ok(())
    }

    fn write_losses(&self, losses: &[(&str, u64)], out: &mut String) -> std::fmt::Result {
        let bodies = [("body bytes never seen", self.summary.lost)];
        let all: Vec<_> = bodies.iter().chain(losses).filter(|(_, count)| *count != 0).collect();
        if all.is_empty() {
            return writeln!(out, "  lost: nothing");
        }
        writeln!(out, "  {}", self.painted(Color::Red, "lost:"))?;
        all.iter().try_for_each(|(what, count)| writeln!(out, "  {:>9}  {what}", grouped(*count)))
    }

    fn painted(&self, color: Color, text: &str) -> String {
        shown(|out| self.terminal.paint(color, out, |out| out.extend_from_slice(text.as_bytes())))
    }
}

/// A time as people write it: `7.7 s`, `67 us`, `1m01s`.
fn time(time: Duration) -> String {
    let text = shown(|out| text::duration(Some(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)), out));
    match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(unit) if text.get(unit..).is_some_and(|unit| unit.bytes().all(|c| c.is_ascii_alphabetic())) => {
            let (number, unit) = text.split_at(unit);
            format!("{number} {unit}")
        }
        _ => text,
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
    use crate::http::Settings;
    use crate::http::route::Routes;
    use crate::http::test_wire::Wire;
    use crate::stream::EndReason;

    const RUN: Run = Run { live: false, elapsed: Duration::from_micros(345_678), secrets: false };

    #[test]
    fn a_run_reads_as_it_went() {
        let mut wire = Wire::new(Settings::default());
        for number in 1..=8 {
            wire.get(number, "/a?x").wait(100).reply(number, 200, 1000);
        }
        wire.ask(9, "GET /b HTTP/1.1\nHost: h\x1b[2J", flag::BARE_LF).end(0, 9, 50, 0).wait(1200).reply(9, 503, 0);
        wire.get(10, "/a").close(EndReason::Fin);
        let (mut one, mut other) = (Summary::default(), Summary::default());
        for (number, transaction) in wire.done.iter().enumerate() {
            if number % 2 == 0 { &mut one } else { &mut other }.add(transaction);
        }
        one.merge(&other);
        let wanted = "10 transactions in 2.0 s of traffic (5.0 a second), read in 345.6 ms
  bodies:  of requests 50B  of responses 8.0kB
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
        let losses = [("packets dropped by the kernel", 3), ("slots dropped", 0)];
        assert_eq!(one.text(RUN, &losses, &Terminal::default()), wanted);
        let painted = one.text(RUN, &losses, &Terminal::new(true, true));
        assert!(painted.starts_with("\x1b[1m10 transactions\x1b[0m in") && painted.contains("\x1b[31m5xx\x1b[0m 1"));
        let plain =
            ["0", "1", "31", "32", "35"].iter().fold(painted, |text, code| text.replace(&format!("\x1b[{code}m"), ""));
        assert_eq!(plain, wanted);
    }

    #[test]
    fn of_more_paths_than_are_kept_only_what_is_certain_is_printed() {
        let mut summary = Summary::default();
        let mut wire = Wire::new(Settings::default());
        let mut ask = |path: String| {
            wire.get(1, &path).reply(1, 200, 0);
            summary.add(wire.last());
        };
        (0..2000).for_each(|number| ask(format!("/{number}")));
        (0..100).for_each(|_| ask("/late".into()));
        let late = "  top paths: of more than 256 (1+: at least 1)\n       100+  /late\n";
        assert!(summary.text(RUN, &[], &Terminal::default()).contains(late));
        let unknown = "  top paths: unknown, since there are more than 256 and none stands out\n  lost";
        let mut summary = Summary::default();
        (0..2000).for_each(|number| {
            wire.get(1, &format!("/{number}")).reply(1, 200, 0);
            summary.add(wire.last());
        });
        let text = summary.text(Run { live: true, ..RUN }, &[], &Terminal::default());
        assert!(text.contains(unknown) && text.contains("of traffic, captured for 345.6 ms\n"), "{text}");
        assert!(text.starts_with("2,000 transactions in ") && text.contains("\n      2,000  example.com\n"), "{text}");
    }

    #[test]
    fn routes_come_before_paths_where_transactions_carry_them() {
        let mut summary = Summary::default();
        let mut wire = Wire::new(Settings { routes: Some(Routes::default()), ..Settings::default() });
        (0..2000).for_each(|number| {
            wire.get(1, &format!("/users/{number}")).reply(1, 200, 0);
            summary.add(wire.last());
        });
        let text = summary.text(RUN, &[], &Terminal::default());
        assert!(text.contains("  top routes:\n      2,000  /users/{n}\n") && !text.contains("paths"), "{text}");
    }

    #[test]
    fn a_long_path_says_that_it_goes_on() {
        let mut wire = Wire::new(Settings::default());
        let mut summary = Summary::default();
        for length in [255, 256] {
            wire.get(1, &format!("/{}", "a".repeat(length))).reply(1, 200, 0);
            summary.add(wire.last());
        }
        let text = summary.text(RUN, &[], &Terminal::default());
        let path = format!("/{}", "a".repeat(255));
        assert!(text.contains(&format!("  1  {path}\n")) && text.contains(&format!("  1  {path}\u{2026}\n")), "{text}");
        let text = summary.text(RUN, &[], &Terminal::new(false, true));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn an_empty_run_says_so() {
        let wanted = "0 transactions, read in 345.6 ms\n  lost: nothing\n";
        assert_eq!(Summary::default().text(RUN, &[], &Terminal::default()), wanted);
    }

    #[test]
    fn durations_have_48_kib_and_none_is_clamped() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.0.distinct_values() * size_of::<u64>(), 48 << 10);
        assert_eq!(latencies.percentile(50), None);
        latencies.add(LONGEST_MICROS);
        assert!(latencies.percentile(100).unwrap() >= LONGEST_MICROS);
    }

    fn times() -> impl Strategy<Value = Vec<u64>> {
        let time = (0..=LONGEST_MICROS, 0..54_u32).prop_map(|(time, shift)| time >> shift);
        proptest::collection::vec(time, 1..200)
    }

    proptest! {
        #[test]
        fn percentiles_are_right_to_one_in_128(one in times(), other in times(), percent in prop::sample::select(vec![50_u8, 90, 99, 100])) {
            let (mut latencies, mut others) = (Latencies::new(), Latencies::new());
            one.iter().for_each(|time| latencies.add(*time));
            other.iter().for_each(|time| others.add(*time));
            latencies.merge(&others);
            let mut times = [one, other].concat();
            times.sort_unstable();
            let exact = times[(times.len() * usize::from(percent)).div_ceil(100) - 1];
            let found = latencies.percentile(percent).unwrap();
            prop_assert!(found >= exact && found - exact <= exact / 128, "{found} for {exact}");
        }
    }
}
