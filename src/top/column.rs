//! A column of a table: what it shows, and how much room it takes.

use super::row::Field;

/// How many columns of the terminal a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// So many, aligned to the right: numbers.
    Number(usize),
    /// So many, aligned to the left: short texts.
    Text(usize),
    /// So many parts of what the others leave.
    Rest(usize),
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its title.
    pub(super) title: &'static str,
    /// What it shows.
    pub(super) field: Field,
    /// The room that it takes.
    pub(super) width: Width,
    /// The least width of the terminal at which it is shown.
    pub(super) from: usize,
}

const fn column(title: &'static str, field: Field, width: Width, from: usize) -> Column {
    Column { title, field, width, from }
}

/// What rows that add transactions up have in common.
const COUNT: Column = column("COUNT", Field::Transactions, Width::Number(7), 0);
const RATE: Column = column("PER S", Field::Rate, Width::Number(7), 100);
const ERRORS: Column = column("ERR%", Field::Errors, Width::Number(5), 0);
const CLIENT_ERRORS: Column = column("4XX%", Field::ClientErrors, Width::Number(5), 110);
const P50: Column = column("P50", Field::P50, Width::Number(7), 60);
const P95: Column = column("P95", Field::P95, Width::Number(7), 0);
const P99: Column = column("P99", Field::P99, Width::Number(7), 90);
const MAX: Column = column("MAX", Field::Max, Width::Number(7), 120);
const SENT: Column = column("REQ", Field::RequestBytes, Width::Number(8), 130);
const ANSWERED: Column = column("RESP", Field::ResponseBytes, Width::Number(8), 130);
const LAST: Column = column("LAST", Field::Last, Width::Number(8), 140);

/// Columns of a table of counts: those that all have, and its own.
macro_rules! counted {
    ($($own:expr),+ $(,)?) => {
        &[COUNT, RATE, ERRORS, CLIENT_ERRORS, P50, P95, P99, MAX, SENT, ANSWERED, LAST, $($own),+]
    };
}

/// Columns of routes.
pub(super) const ROUTES: &[Column] = counted![
    column("METHOD", Field::Method, Width::Text(7), 0),
    column("HOST", Field::Host, Width::Rest(2), 0),
    column("ROUTE", Field::Route, Width::Rest(3), 0),
];

/// Columns of the routes of one host.
pub(super) const ROUTES_OF_HOST: &[Column] =
    counted![column("METHOD", Field::Method, Width::Text(7), 0), column("ROUTE", Field::Route, Width::Rest(1), 0),];

/// Columns of hosts.
pub(super) const HOSTS: &[Column] = counted![column("HOST", Field::Host, Width::Rest(1), 0),];

/// Columns of clients and servers.
pub(super) const PAIRS: &[Column] =
    counted![column("CLIENT", Field::Client, Width::Rest(1), 0), column("SERVER", Field::Server, Width::Rest(1), 0),];

/// Columns of transactions.
pub(super) const TRANSACTIONS: &[Column] = &[
    column("TIME", Field::Time, Width::Text(8), 0),
    column("STAT", Field::Status, Width::Number(4), 0),
    column("TOOK", Field::Duration, Width::Number(7), 0),
    column("WAIT", Field::Wait, Width::Number(7), 100),
    column("REQ", Field::RequestBytes, Width::Number(8), 110),
    column("RESP", Field::ResponseBytes, Width::Number(8), 70),
    column("PROTOCOL", Field::Protocol, Width::Text(8), 140),
    column("METHOD", Field::Method, Width::Text(7), 0),
    column("HOST", Field::Host, Width::Rest(2), 0),
    column("TARGET", Field::Target, Width::Rest(4), 0),
    column("CLIENT", Field::Client, Width::Text(21), 150),
    column("SERVER", Field::Server, Width::Text(21), 150),
    column("FLAGS", Field::Flags, Width::Rest(2), 190),
];

/// Columns of the capture's health.
pub(super) const HEALTH: &[Column] = &[
    column("GROUP", Field::Group, Width::Text(8), 0),
    column("LEVEL", Field::Level, Width::Text(7), 0),
    column("NUMBER", Field::Number, Width::Number(24), 0),
    column("WHAT", Field::Name, Width::Rest(3), 0),
    column("METRIC", Field::Metric, Width::Rest(2), 110),
];

/// Columns of TLS connections.
pub(super) const TLS: &[Column] = &[
    column("COUNT", Field::Transactions, Width::Number(6), 0),
    column("RESULT", Field::Outcome, Width::Text(20), 0),
    column("VERSION", Field::Protocol, Width::Text(8), 0),
    column("BYTES", Field::Bytes, Width::Number(8), 0),
    column("LAST", Field::Last, Width::Number(8), 100),
    column("SERVER NAME", Field::Host, Width::Rest(1), 0),
];

/// The columns that a terminal of this width has room for, and what each takes. Between two is a blank.
pub(super) fn laid_out(columns: &'static [Column], width: usize) -> Vec<(&'static Column, usize)> {
    let shown: Vec<&Column> = columns.iter().filter(|column| width >= column.from).collect();
    let fixed = |column: &Column| match column.width {
        Width::Number(columns) | Width::Text(columns) => columns,
        Width::Rest(_) => 0,
    };
    let parts = |column: &Column| if let Width::Rest(parts) = column.width { parts } else { 0 };
    let taken: usize = shown.iter().map(|column| fixed(column)).sum::<usize>() + shown.len().saturating_sub(1);
    let (mut rest, mut all_parts) =
        (width.saturating_sub(taken), shown.iter().map(|column| parts(column)).sum::<usize>());
    let mut out = Vec::with_capacity(shown.len());
    for column in shown {
        let own = parts(column);
        let wide = if own == 0 { fixed(column) } else { rest * own / all_parts.max(1) };
        if own > 0 {
            (rest, all_parts) = (rest - wide, all_parts - own);
        }
        out.push((column, wide));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_every_width_from_eighty_on() {
        for columns in [ROUTES, ROUTES_OF_HOST, HOSTS, PAIRS, TRANSACTIONS, HEALTH, TLS] {
            for width in 80..400 {
                let shown = laid_out(columns, width);
                let taken: usize = shown.iter().map(|(_, wide)| wide).sum::<usize>() + shown.len() - 1;
                assert_eq!(taken, width);
                assert!(shown.iter().all(|(_, wide)| *wide >= 4), "{width}: {shown:?}");
            }
        }
    }

    #[test]
    fn a_terminal_of_any_width_has_columns() {
        for columns in [ROUTES, ROUTES_OF_HOST, HOSTS, PAIRS, TRANSACTIONS, HEALTH, TLS] {
            for width in 0..80 {
                assert!(!laid_out(columns, width).is_empty());
            }
        }
    }
}
