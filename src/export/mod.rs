//! An export is what leaves picotap: log lines, metrics, the summary. Each is made by a [`Consumer`](consumer::Consumer).
//!
//! A [`Format`] turns transactions into lines. What the wire can put into a line is escaped reversibly in every format:
//! see [`crate::escape`].

pub mod chunk;
mod clf;
pub mod columns;
pub mod consumer;
mod ecs;
pub mod families;
pub mod gathered;
mod har;
mod histogram;
mod json;
mod line_writer;
pub mod log;
pub mod merge;
pub mod metrics;
pub(crate) mod numbers;
pub mod open;
mod otlp;
pub mod process;
mod ranking;
mod rotate;
pub mod server;
pub mod sorted;
pub mod summary;
mod table;
pub mod terminal;
mod text;
pub mod total;
mod zeek;

use std::fmt;
use std::str::FromStr;

use self::columns::Columns;
use self::terminal::Terminal;
use crate::http::{TlsConnection, Transaction};
use crate::stream::InterfaceNames;

pub(crate) use text::{duration, right, size};

/// Writes transactions as lines. Each worker has its own.
pub trait Format: Send {
    /// Appends what stands at the top of a file opened at `time` (nanoseconds since the Unix epoch).
    fn header(&mut self, time: i64, out: &mut Vec<u8>) {
        let _ = (time, out);
    }
    /// Whether a file has the header only where it is empty, and not where lines are appended to others.
    fn header_once(&self) -> bool {
        false
    }
    /// Whether a file is one document: then every line begins with a comma, which is taken from the first.
    fn is_document(&self) -> bool {
        false
    }
    /// Whether it has a line for such a transaction: some formats are for HTTP alone.
    fn takes(&self, transaction: &Transaction) -> bool {
        let _ = transaction;
        true
    }
    /// Appends one line, its end included.
    fn line(&mut self, transaction: &Transaction, out: &mut Vec<u8>);
    /// Appends the line of a TLS connection; nothing if it has none ([`FormatName::has`]).
    fn tls(&mut self, connection: &TlsConnection, out: &mut Vec<u8>) {
        let _ = (connection, out);
    }
    /// Appends what stands at the end of a file closed at `time`.
    fn footer(&mut self, time: i64, out: &mut Vec<u8>) {
        let _ = (time, out);
    }
}

/// Where the transactions were captured.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Names of the capture interfaces by index; empty when there is nothing to name.
    pub interfaces: InterfaceNames,
    /// Name of the sensor; empty if it has none.
    pub sensor: String,
}

impl Origin {
    /// Name of the sensor, if it has one.
    fn sensor(&self) -> Option<&[u8]> {
        Some(self.sensor.as_bytes()).filter(|name| !name.is_empty())
    }
}

/// What the lines of a log are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subject {
    /// Requests and responses.
    #[default]
    Transactions,
    /// TLS connections, each at its end.
    Tls,
}

/// The name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatName {
    /// One JSON object a line.
    Json,
    /// A short line for people.
    Text,
    /// One object a line in the Elastic Common Schema.
    Ecs,
    /// Zeek's `http.log`, or `ssl.log`.
    Zeek,
    /// NCSA combined log format.
    Clf,
    /// The same with the virtual host and the duration.
    Vhost,
    /// OpenTelemetry spans.
    Otlp,
    /// A table, separated by commas.
    Csv,
    /// A table, separated by tabulators.
    Tsv,
    /// An HTTP Archive.
    Har,
}

impl FormatName {
    /// Every format with its name.
    pub const ALL: &[(&str, Self)] = &[
        ("json", Self::Json),
        ("text", Self::Text),
        ("ecs", Self::Ecs),
        ("zeek", Self::Zeek),
        ("clf", Self::Clf),
        ("vhost", Self::Vhost),
        ("otlp", Self::Otlp),
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("har", Self::Har),
    ];

    /// Whether it has lines about this.
    #[must_use]
    pub const fn has(self, subject: Subject) -> bool {
        match subject {
            Subject::Transactions => true,
            Subject::Tls => matches!(self, Self::Json | Self::Text | Self::Ecs | Self::Zeek | Self::Csv | Self::Tsv),
        }
    }

    /// A writer of this format, for transactions.
    #[must_use]
    pub fn writer(self, origin: Origin) -> Box<dyn Format> {
        self.writer_for(Subject::Transactions, &Terminal::default(), None, origin)
    }

    /// The same, for lines about something, that go to a terminal. `columns`: those of tables, if not the usual ones.
    #[must_use]
    pub fn writer_for(
        self,
        subject: Subject,
        terminal: &Terminal,
        columns: Option<&Columns>,
        origin: Origin,
    ) -> Box<dyn Format> {
        let columns = || columns.cloned().unwrap_or_else(|| Columns::usual(subject));
        match self {
            Self::Json => Box::new(json::Json::new(origin)),
            Self::Text => Box::new(text::Text::new(terminal.clone())),
            Self::Ecs => Box::new(ecs::Ecs::new(origin)),
            Self::Zeek => Box::new(zeek::Zeek::new(subject)),
            Self::Clf => Box::new(clf::Clf { vhost: false }),
            Self::Vhost => Box::new(clf::Clf { vhost: true }),
            Self::Otlp => Box::new(otlp::Otlp::new(origin)),
            Self::Csv => Box::new(table::Table::csv(columns(), origin)),
            Self::Tsv => Box::new(table::Table::tsv(columns(), origin)),
            Self::Har => Box::new(har::Har),
        }
    }
}

impl fmt::Display for FormatName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

/// A format that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("unknown format \"{0}\": needed json, text, ecs, zeek, clf, vhost, otlp, csv, tsv or har")]
pub struct UnknownFormat(String);

impl FromStr for FormatName {
    type Err = UnknownFormat;
    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, format)| *format).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}
