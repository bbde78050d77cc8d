//! A filter says which rows are wanted: which transactions are logged (`--filter`), and which rows the page and `picotap top` show.
//! Metrics count all of them.
//!
//! ```text
//! filter     = together { "or" together }
//! together   = one { [ "and" ] one }
//! one        = ( "not" | "!" | "-" ) one | "(" filter ")" | comparison | word
//! comparison = FIELD sign value { "," value }
//! sign       = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" | "~" | "!~"
//! ```
//!
//! - Of several values one must hold, and with `!=` and `!~` none. What is not known holds for nothing but these two, for `none` and
//!   for `''`.
//! - `=`: texts are compared whole; `*` stands for any bytes and `?` for any one byte, unless the value is in quotes. Numbers
//!   may be ranges (`500-599`), statuses classes (`4xx`), addresses networks (`10.0.0.0/8`).
//! - `:` (without a blank before it): the text has this, in whatever case; of numbers and `is` the same as `=`.
//! - `~`: a regular expression is found in the text; `pattern.rs` says which there are.
//! - A value ends at a blank, a comma, or a bracket that was not opened in it. In single quotes everything is itself; in
//!   double quotes `\"` and `\\` are `"` and `\`.
//! - A word is looked for in all texts of a row, in whatever case. On the command line words are refused.
//!
//! [`field`] has the fields. `view/page/query.js` is the same language for the page; a test runs both over the same cases.

mod comparison;
pub mod field;
mod language;
mod moment;
mod pattern;
mod rows;
mod value;

use std::str::FromStr;

use self::field::{Field, Lines};
use self::language::{Term, Words};
use crate::http::flags::Flags;
use crate::http::grpc::is_server_error;
use crate::http::tls::TlsConnection;
use crate::http::transaction::Transaction;
use crate::stream::InterfaceNames;

pub use language::FilterError;
pub use rows::{TlsFields, TransactionFields, tunnel_name, via_name};
pub use value::{Row, Value};

/// A filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    text: String,
    /// All must hold.
    terms: Vec<Term>,
}

/// By what is written.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

/// As on a command line.
impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let terms = language::read(text, Words::Refused)?;
        if terms.is_empty() {
            let wrong = "it is empty: needed FIELD=VALUE, for example status=5xx".to_owned();
            return Err(FilterError { filter: text.to_owned(), wrong, place: 0..0 });
        }
        Ok(Self { text: text.to_owned(), terms })
    }
}

impl Filter {
    /// Reads a filter that people type into a box: words may stand in it, and an empty one takes everything.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn typed(text: &str) -> Result<Self, FilterError> {
        Ok(Self { text: text.to_owned(), terms: language::read(text, Words::Taken)? })
    }

    /// Whether a row has all that it asks for.
    #[must_use]
    pub fn fits(&self, row: &(impl Row + ?Sized)) -> bool {
        self.terms.iter().all(|(expr, _)| expr.holds(row))
    }

    /// Without the terms that are about fields which a table does not have, and these as they are written.
    #[must_use]
    pub fn for_table(&self, has: impl Fn(&Field) -> bool) -> (Self, Vec<&str>) {
        let mut left_out = Vec::new();
        let mut terms = Vec::new();
        for (expr, written) in &self.terms {
            let mut all = true;
            expr.fields(&mut |field| all &= has(field));
            if all { terms.push((expr.clone(), written.clone())) } else { left_out.push(written.as_str()) }
        }
        (Self { text: self.text.clone(), terms }, left_out)
    }

    /// The fields that it compares.
    #[must_use]
    pub fn fields(&self) -> Vec<&Field> {
        let mut fields = Vec::new();
        self.terms.iter().for_each(|(expr, _)| expr.fields(&mut |field| fields.push(field)));
        fields
    }

    /// The first field that it compares and that lines of TLS connections, or of transactions, do not have.
    #[must_use]
    pub fn foreign(&self, tls: bool) -> Option<&Field> {
        let foreign = if tls { Lines::Transactions } else { Lines::Tls };
        self.fields().into_iter().find(|field| field.lines() == foreign)
    }
}

/// A host without `:port`. A bracketed IPv6 address keeps its colons.
#[must_use]
pub fn without_port(host: &[u8]) -> &[u8] {
    let Some((name, port)) = memchr::memrchr(b':', host).map(|at| host.split_at(at)) else {
        return host;
    };
    let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
    let is_name = !name.contains(&b':') || name.ends_with(b"]");
    if is_port && is_name { name } else { host }
}

/// An authority without `user:password@`.
#[must_use]
pub fn without_user(authority: &[u8]) -> &[u8] {
    memchr::memrchr(b'@', authority).and_then(|at| authority.get(at.saturating_add(1)..)).unwrap_or(authority)
}

/// Which transactions are logged. The default takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Filters, all of which must match.
    pub filters: Vec<Filter>,
    /// Only transactions of at least this duration, in nanoseconds. One without a duration is not slow.
    pub slow: Option<i64>,
    /// Only errors: status 400 and above, a gRPC status that is not OK, no response, a message that was cut, a reset, a timeout,
    /// a fault of the parser.
    pub errors: bool,
}

impl Selection {
    /// Whether the transaction is logged. `interfaces`: names of the capture interfaces, by index.
    #[must_use]
    pub fn takes(&self, transaction: &Transaction, interfaces: &InterfaceNames) -> bool {
        let slow = |limit| transaction.duration().is_some_and(|duration| duration >= limit);
        self.slow.is_none_or(slow)
            && (!self.errors || is_error(transaction))
            && self.filters.iter().all(|filter| filter.fits(&TransactionFields(transaction, interfaces)))
    }

    /// The same of a TLS connection: its duration is that from its first packet to its last, and an error is that it was not
    /// established.
    #[must_use]
    pub fn takes_tls(&self, connection: &TlsConnection, interfaces: &InterfaceNames) -> bool {
        let slow = |limit| connection.closed.duration().is_some_and(|duration| duration >= limit);
        self.slow.is_none_or(slow)
            && (!self.errors || !connection.fate().established)
            && self.filters.iter().all(|filter| filter.fits(&TlsFields(connection, interfaces)))
    }
}

/// Whether something went wrong with the transaction, as far as the wire shows.
#[must_use]
pub fn is_error(transaction: &Transaction) -> bool {
    const WRONG: [Flags; 7] = [
        Flags::NO_RESPONSE,
        Flags::TRUNCATED,
        Flags::RESET,
        Flags::TIMEOUT,
        Flags::FAULT,
        Flags::STREAM_RESET,
        Flags::NOT_PROCESSED,
    ];
    transaction.status >= 400
        || transaction.grpc_failed()
        || transaction.flags.intersects(Flags::FAILED)
        || WRONG.iter().any(|flag| transaction.flags.intersects(*flag))
}

/// Whether a transaction failed: it has a 5xx status, or one of gRPC that says the same, is without a response, or is an operation
/// that failed. Where picotap stopped looking before the response, nothing is known.
#[must_use]
pub fn failed(transaction: &Transaction) -> bool {
    transaction.status >= 500 || transaction.grpc_status().is_some_and(is_server_error) || failed_otherwise(transaction)
}

/// The same, whatever its status says.
pub(crate) fn failed_otherwise(transaction: &Transaction) -> bool {
    const LEFT: Flags =
        Flags::OPEN.union(Flags::EVICTED).union(Flags::OVERFLOW).union(Flags::FAULT).union(Flags::RESPONSE_UNREAD);
    let flags = transaction.flags;
    flags.intersects(Flags::FAILED) || transaction.response.is_none() && !flags.intersects(LEFT)
}

#[cfg(test)]
mod tests;
