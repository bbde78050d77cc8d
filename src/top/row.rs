//! A row is one thing of a table: a route, a host, a pair, a transaction, or a number of the capture's health. What it says
//! under the title of a column is a value, by which rows are sorted.

use std::cmp::Ordering;
use std::fmt::Write;

use super::text::{clock, duration, short, size, tenths};
use crate::export::numbers::grouped;
use crate::http::filter::Filter;
use crate::view::{Counts, HealthItem, HostRow, Level, PairRow, RouteRow, Snapshot, TlsRow, TransactionRow};

/// A row of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'a> {
    /// A route.
    Route(&'a RouteRow),
    /// A host.
    Host(&'a HostRow),
    /// A client and a server.
    Pair(&'a PairRow),
    /// A transaction.
    Transaction(&'a TransactionRow),
    /// A number of the capture's health.
    Health(&'a HealthItem),
    /// TLS connections to a server.
    Tls(&'a TlsRow),
}

/// What a column shows of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Transactions,
    Rate,
    Errors,
    ClientErrors,
    P50,
    P95,
    P99,
    Max,
    RequestBytes,
    ResponseBytes,
    Last,
    Host,
    Method,
    Route,
    Client,
    Server,
    Time,
    Status,
    Duration,
    Wait,
    Target,
    Protocol,
    Flags,
    Group,
    Name,
    Number,
    Level,
    Metric,
    Outcome,
    Bytes,
}

/// What a row says in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// A number in full, what it may be at most, and its unit.
    Measure(u64, Option<u64>, &'static str),
    /// Tenths.
    Tenths(u64),
    /// Microseconds.
    Duration(Option<u64>),
    /// Bytes.
    Bytes(Option<u64>),
    /// Microseconds since the epoch.
    Time(i64),
    /// The status, and whether the transaction counts as an error.
    Status(Option<u16>, bool),
    /// How serious it is.
    Level(Level),
}

impl Value {
    /// The order in which rows are sorted; what is unknown comes first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(two)) => one.cmp(two),
            (Self::Number(one) | Self::Tenths(one) | Self::Measure(one, ..), _) => match other {
                Self::Number(two) | Self::Tenths(two) | Self::Measure(two, ..) => one.cmp(two),
                _ => Ordering::Equal,
            },
            (Self::Duration(one), Self::Duration(two)) | (Self::Bytes(one), Self::Bytes(two)) => one.cmp(two),
            (Self::Time(one), Self::Time(two)) => one.cmp(two),
            (Self::Status(one, failed), Self::Status(two, other_failed)) => (failed, one).cmp(&(other_failed, two)),
            (Self::Level(one), Self::Level(two)) => (*one as u8).cmp(&(*two as u8)),
            // A column has values of one kind.
            _ => Ordering::Equal,
        }
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        let known = |value: &Option<u64>, text: fn(u64) -> String| value.map_or_else(|| "-".into(), text);
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(value) => short(*value),
            Self::Measure(value, of, unit) => {
                let mut out = grouped(*value);
                // A String takes everything.
                if let Some(of) = of {
                    write!(out, " of {}", grouped(*of)).unwrap_or_default();
                }
                if !unit.is_empty() {
                    write!(out, " {unit}").unwrap_or_default();
                }
                out
            }
            Self::Tenths(value) => tenths(*value),
            Self::Duration(value) => known(value, duration),
            Self::Bytes(value) => known(value, size),
            Self::Time(time) => clock(*time),
            Self::Status(Some(status), _) => status.to_string(),
            Self::Status(None, true) => "err".into(),
            Self::Status(None, false) => "---".into(),
            Self::Level(Level::Ok) => "ok".into(),
            Self::Level(Level::Warning) => "warning".into(),
            Self::Level(Level::Error) => "ERROR".into(),
        }
    }
}

/// A share of a whole, in tenths of a percent.
pub(super) fn share(part: u64, whole: u64) -> u64 {
    part.saturating_mul(1_000).checked_div(whole).unwrap_or(0)
}

/// Tenths of something per second, over microseconds; less than a second counts as one.
pub(super) fn per_second(count: u64, micros: i64) -> u64 {
    let micros = u64::try_from(micros).unwrap_or(0).max(1_000_000);
    u64::try_from(u128::from(count) * 10_000_000 / u128::from(micros)).unwrap_or(u64::MAX)
}

impl Row<'_> {
    /// What the row says in a column; empty where it says nothing.
    pub(super) fn value(&self, field: Field, snapshot: &Snapshot) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        match self {
            Self::Route(row) => match field {
                Field::Host => text(&row.host),
                Field::Method => text(&row.method),
                Field::Route => text(&row.route),
                _ => counted(&row.counts, field, snapshot),
            },
            Self::Host(row) => match field {
                Field::Host => text(&row.host),
                _ => counted(&row.counts, field, snapshot),
            },
            Self::Pair(row) => match field {
                Field::Client => text(&row.client),
                Field::Server => text(&row.server),
                _ => counted(&row.counts, field, snapshot),
            },
            Self::Transaction(row) => of_transaction(row, field),
            Self::Health(item) => match field {
                Field::Group => text(item.group),
                Field::Name if item.label.is_empty() => text(&item.name),
                Field::Name => Value::Text(format!("{}: {}", item.name, item.label)),
                Field::Number => Value::Measure(item.value, item.of, item.unit),
                Field::Level => Value::Level(item.level),
                Field::Metric => text(item.metric),
                _ => text(""),
            },
            Self::Tls(row) => match field {
                Field::Host => match &row.process {
                    Some(process) => Value::Text(format!("{} ({process})", row.host)),
                    None => text(&row.host),
                },
                Field::Transactions => Value::Number(row.connections),
                Field::Outcome => Value::Text(outcome(row)),
                Field::Protocol => text(row.version.unwrap_or("-")),
                Field::Bytes => Value::Bytes(Some(row.bytes)),
                Field::Last => Value::Time(row.last),
                _ => text(""),
            },
        }
    }

    /// What identifies the row among those of its table, from one snapshot to the next.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Route(row) => format!("{}\n{}\n{}", row.host, row.method, row.route),
            Self::Host(row) => row.host.clone(),
            Self::Pair(row) => format!("{}\n{}", row.client, row.server),
            // The slowest have no number of their own; those of one packet begin at the same time.
            Self::Transaction(row) => {
                let target = row.target.as_deref().unwrap_or_default();
                format!("{}\n{}\n{}\n{target}", row.connection, row.time, row.client)
            }
            Self::Health(item) => format!("{}\n{}\n{}", item.group, item.name, item.label),
            Self::Tls(row) => format!("{}\n{}", row.host, outcome(row)),
        }
    }

    /// Whether a filter holds for it.
    pub(super) fn matches(&self, filter: &Filter) -> bool {
        match self {
            Self::Route(row) => filter.fits(*row),
            Self::Host(row) => filter.fits(*row),
            Self::Pair(row) => filter.fits(*row),
            Self::Transaction(row) => filter.fits(*row),
            Self::Health(row) => filter.fits(*row),
            Self::Tls(row) => filter.fits(*row),
        }
    }
}

/// What became of TLS connections.
fn outcome(row: &TlsRow) -> String {
    match (row.decrypted, row.reason) {
        (true, "") => "decrypted".to_owned(),
        (true, reason) => format!("in part: {reason}"),
        (false, reason) => format!("dark: {reason}"),
    }
}

/// What rows that add transactions up have in common.
fn counted(counts: &Counts, field: Field, snapshot: &Snapshot) -> Value {
    match field {
        Field::Transactions => Value::Number(counts.transactions),
        Field::Rate => {
            Value::Tenths(per_second(counts.transactions, snapshot.now.saturating_sub(snapshot.tables_since)))
        }
        Field::Errors => Value::Tenths(share(counts.server_errors, counts.transactions)),
        Field::ClientErrors => Value::Tenths(share(counts.client_errors, counts.transactions)),
        Field::P50 => Value::Duration(counts.times.p50),
        Field::P95 => Value::Duration(counts.times.p95),
        Field::P99 => Value::Duration(counts.times.p99),
        Field::Max => Value::Duration(counts.times.max),
        Field::RequestBytes => Value::Bytes(Some(counts.request_bytes)),
        Field::ResponseBytes => Value::Bytes(Some(counts.response_bytes)),
        Field::Last => Value::Time(counts.last),
        _ => Value::Text(String::new()),
    }
}

fn of_transaction(row: &TransactionRow, field: Field) -> Value {
    let known = |text: &Option<String>| Value::Text(text.clone().unwrap_or_else(|| "-".into()));
    match field {
        Field::Time => Value::Time(row.time),
        Field::Status => Value::Status(row.status, row.failed),
        Field::Duration => Value::Duration(row.duration),
        Field::Wait => Value::Duration(row.wait_time),
        Field::RequestBytes => Value::Bytes(row.request_bytes),
        Field::ResponseBytes => Value::Bytes(row.response_bytes),
        Field::Method => known(&row.method),
        Field::Host => known(&row.host),
        Field::Target => known(&row.target),
        Field::Client => Value::Text(row.client.clone()),
        Field::Server => Value::Text(row.server.clone()),
        Field::Protocol => Value::Text(row.protocol.clone()),
        Field::Flags => Value::Text(row.flags.join(" ")),
        _ => Value::Text(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_are_exact_at_their_bounds() {
        assert_eq!([share(1, 3), share(0, 0), share(5, 5)], [333, 0, 1_000]);
        assert_eq!([per_second(10, 0), per_second(10, 2_000_000), per_second(u64::MAX, -5)], [100, 50, u64::MAX]);
    }

    #[test]
    fn unknown_sorts_below_everything_known() {
        assert_eq!(Value::Duration(None).order(&Value::Duration(Some(0))), Ordering::Less);
        assert_eq!(Value::Status(Some(599), false).order(&Value::Status(None, true)), Ordering::Less);
        assert_eq!(Value::Level(Level::Error).order(&Value::Level(Level::Warning)), Ordering::Greater);
        assert_eq!((Value::Duration(None).text(), Value::Status(None, false).text()), ("-".into(), "---".into()));
    }

    #[test]
    fn a_filter_has_words_and_comparisons() {
        let row = TransactionRow {
            protocol: "HTTP/1.1".into(),
            host: Some("Example.COM".into()),
            target: Some("/cart?id=7".into()),
            status: Some(503),
            failed: true,
            flags: vec!["chunk_odd"],
            ..TransactionRow::default()
        };
        let row = Row::Transaction(&row);
        let matches = |text: &str| row.matches(&Filter::typed(text).expect(text));
        for filter in
            ["", " ", "example", "EXAMPLE cart", "503", "chunk", "!200", "status>=500 path=/cart", "-nothing is:failed"]
        {
            assert!(matches(filter), "{filter}");
        }
        for filter in ["example nothing", "!cart", "200", "status<500", "not (cart or x)"] {
            assert!(!matches(filter), "{filter}");
        }
    }
}
