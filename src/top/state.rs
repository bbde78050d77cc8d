//! The state of the screen: which pane is shown, how its rows are sorted and filtered, and what is selected.

use std::collections::HashSet;
use std::sync::Arc;

use super::column::{self, Column, Width, laid_out};
use super::detail;
use super::layout::Layout;
use super::row::{Field, Row};
use crate::http::filter::Filter;
use crate::http::filter::field::{Field as FilterField, Lines, Name};
use crate::view::{Snapshot, TransactionRow};

/// The panes, in the order of their numbers.
pub(super) const PANES: [&str; 7] = ["Routes", "Hosts", "Pairs", "Slowest", "Live", "Health", "TLS"];

/// What a list has.
#[derive(Debug, Clone)]
pub(super) enum List {
    /// Routes, of one host if it is named.
    Routes(Option<String>),
    /// Hosts.
    Hosts,
    /// Clients and servers.
    Pairs,
    /// The slowest transactions.
    Slowest,
    /// The last transactions.
    Live,
    /// Those of one route: host, method, route.
    OfRoute([String; 3]),
    /// Those of one client and server.
    OfPair([String; 2]),
    /// The capture's health.
    Health,
    /// TLS connections by server and what became of them.
    Tls,
    /// Everything about one transaction.
    Transaction(Box<TransactionRow>),
}

/// A list, as it is shown.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// What it has.
    pub(super) list: List,
    /// The column by which it is sorted, if it is.
    pub(super) sort: Option<Field>,
    /// Whether the greatest come first.
    pub(super) descending: bool,
    /// The filter as it is typed; see [`crate::http::filter`].
    pub(super) filter: String,
    /// The last that could be read, without the terms about fields that the list does not have.
    applied: Filter,
    /// These terms.
    pub(super) left_out: Vec<String>,
    /// What is wrong with what is typed.
    pub(super) wrong: Option<String>,
    /// The row on which the cursor stands, from 0; of a transaction, the first line.
    pub(super) selected: usize,
    /// Its key, if the cursor follows it from one snapshot to the next: at the top it stays at the top.
    pub(super) followed: Option<String>,
    /// The first row that is shown.
    pub(super) offset: usize,
}

impl View {
    fn new(list: List) -> Self {
        let sort = match &list {
            List::Routes(_) | List::Hosts | List::Pairs | List::Tls => Some(Field::Transactions),
            List::Slowest => Some(Field::Duration),
            List::Live | List::OfRoute(_) | List::OfPair(_) => Some(Field::Time),
            List::Health | List::Transaction(_) => None,
        };
        Self {
            list,
            sort,
            descending: true,
            filter: String::new(),
            applied: Filter::default(),
            left_out: Vec::new(),
            wrong: None,
            selected: 0,
            followed: None,
            offset: 0,
        }
    }

    /// The columns that its table has, where the terminal has room for all.
    pub(super) const fn columns(&self) -> &'static [Column] {
        match self.list {
            List::Routes(None) => column::ROUTES,
            List::Routes(Some(_)) => column::ROUTES_OF_HOST,
            List::Hosts => column::HOSTS,
            List::Pairs => column::PAIRS,
            List::Slowest | List::Live | List::OfRoute(_) | List::OfPair(_) => column::TRANSACTIONS,
            List::Health => column::HEALTH,
            List::Tls => column::TLS,
            List::Transaction(_) => &[],
        }
    }

    /// Changes the filter. One that cannot be read leaves the one before in force.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.filter);
        match Filter::typed(&self.filter) {
            Ok(filter) => {
                let (applied, left_out) = filter.for_table(|field| self.has(field));
                let left_out = left_out.into_iter().map(str::to_owned).collect();
                (self.left_out, self.wrong, self.applied) = (left_out, None, applied);
            }
            Err(error) => self.wrong = Some(error.wrong),
        }
    }

    /// Whether its rows have a field.
    fn has(&self, field: &FilterField) -> bool {
        let names: &[Name] = match self.list {
            List::Routes(_) => &[Name::Host, Name::Method, Name::Route],
            List::Hosts => &[Name::Host],
            List::Pairs => &[Name::Client, Name::Server],
            List::Tls => &[Name::Host, Name::Reason, Name::Decrypted, Name::TlsVersion],
            List::Health | List::Transaction(_) => &[],
            List::Slowest | List::Live | List::OfRoute(_) | List::OfPair(_) => return field.lines() != Lines::Tls,
        };
        matches!(field, FilterField::Named(name) if names.contains(name))
    }

    /// Its rows, filtered and sorted.
    pub(super) fn rows<'a>(&self, snapshot: &'a Snapshot) -> Vec<Row<'a>> {
        let mut rows = self.all_rows(snapshot);
        rows.retain(|row| row.matches(&self.applied));
        if let Some(field) = self.sort {
            let mut keyed: Vec<_> = rows.into_iter().map(|row| (row.value(field, snapshot), row)).collect();
            keyed.sort_by(|(one, _), (two, _)| if self.descending { two.order(one) } else { one.order(two) });
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        } else if !self.descending {
            rows.reverse();
        }
        rows
    }

    fn all_rows<'a>(&self, snapshot: &'a Snapshot) -> Vec<Row<'a>> {
        match &self.list {
            List::Routes(host) => {
                let routes = snapshot.routes.iter();
                routes.filter(|row| host.as_ref().is_none_or(|host| *host == row.host)).map(Row::Route).collect()
            }
            List::Hosts => snapshot.hosts.iter().map(Row::Host).collect(),
            List::Pairs => snapshot.pairs.iter().map(Row::Pair).collect(),
            List::Slowest => snapshot.slowest.iter().map(Row::Transaction).collect(),
            // The last first, also among those of the same time.
            List::Live => snapshot.recent.iter().rev().map(Row::Transaction).collect(),
            List::OfRoute(route) => known(snapshot, |row| is_of_route(row, route)),
            List::OfPair([client, server]) => {
                known(snapshot, |row| row.server == *server && without_port(&row.client) == client)
            }
            List::Health => snapshot.health.iter().map(Row::Health).collect(),
            List::Tls => snapshot.tls.servers.iter().map(Row::Tls).collect(),
            List::Transaction(_) => Vec::new(),
        }
    }
}

/// The transactions of which the snapshot has all fields: the last ones, and of the slowest those that are not among them.
fn known(snapshot: &Snapshot, takes: impl Fn(&TransactionRow) -> bool) -> Vec<Row<'_>> {
    let all = snapshot.recent.iter().rev().chain(&snapshot.slowest);
    let rows = all.filter(|row| takes(row)).map(Row::Transaction);
    let mut seen = HashSet::new();
    rows.filter(|row| seen.insert(row.key())).collect()
}

fn is_of_route(row: &TransactionRow, [host, method, route]: &[String; 3]) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let own = text(&row.method);
    row.route.as_ref().is_some_and(|own| own == route)
        && text(&row.host) == *host
        && (own == *method || format!("{} {own}", row.protocol) == *method)
}

/// An address without its port, and without the brackets of IPv6.
fn without_port(endpoint: &str) -> &str {
    let address = endpoint.rsplit_once(':').map_or(endpoint, |(address, _)| address);
    address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address)
}

/// What is typed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Keys are commands.
    Keys,
    /// Keys are the text of the filter.
    Filter,
    /// The list of keys is shown, until the next key.
    Help,
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct State {
    /// What is shown.
    pub(super) snapshot: Arc<Snapshot>,
    /// Whether later snapshots are not shown.
    pub(super) paused: bool,
    /// Whether the input has ended.
    pub(super) ended: bool,
    /// Whether colours are used.
    pub(super) colour: bool,
    /// The last messages of picotap, and how many there were.
    pub(super) notices: (Vec<String>, usize),
    /// The pane that is shown, from 0.
    pub(super) pane: usize,
    /// What is typed into.
    pub(super) mode: Mode,
    /// Columns and rows of the terminal.
    pub(super) size: (u16, u16),
    /// Of each pane, the list and what was opened from it, of which the last is shown. None is ever empty.
    stacks: [Vec<View>; PANES.len()],
}

impl State {
    pub(super) fn new(colour: bool) -> Self {
        let lists = [List::Routes(None), List::Hosts, List::Pairs, List::Slowest, List::Live, List::Health, List::Tls];
        Self {
            snapshot: Arc::default(),
            paused: false,
            ended: false,
            colour,
            notices: (Vec::new(), 0),
            pane: 0,
            mode: Mode::Keys,
            size: (80, 24),
            stacks: lists.map(|list| vec![View::new(list)]),
        }
    }

    /// The list that is shown.
    pub(super) fn view(&self) -> &View {
        self.stacks.get(self.pane).and_then(|stack| stack.last()).expect("a pane has a list")
    }

    pub(super) fn view_mut(&mut self) -> &mut View {
        self.stacks.get_mut(self.pane).and_then(|stack| stack.last_mut()).expect("a pane has a list")
    }

    /// What the list that is shown was opened from, the pane's own list first.
    pub(super) fn path(&self) -> &[View] {
        self.stacks.get(self.pane).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes the size of the terminal.
    pub(super) fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        self.settle();
    }

    /// The rows of a list that the screen has room for.
    pub(super) fn page(&self) -> usize {
        usize::from(Layout::new(self).table.height).max(1)
    }

    /// Takes a snapshot, unless the screen is paused.
    pub(super) fn show(&mut self, snapshot: Arc<Snapshot>) {
        if !self.paused {
            self.snapshot = snapshot;
            self.settle();
        }
    }

    /// The rows of the list that is shown.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        self.view().rows(&self.snapshot)
    }

    /// Puts the cursor on the row that it follows, and the row on the screen. To be called after every change.
    pub(super) fn settle(&mut self) {
        let (page, view) = (self.page(), self.view());
        let (rows, mut selected) = (self.rows(), view.selected);
        if let Some(followed) = &view.followed
            && let Some(at) = rows.iter().position(|row| row.key() == *followed)
        {
            selected = at;
        }
        let (selected, offset) = match &view.list {
            // It has no cursor: what is selected is the first line that is shown.
            List::Transaction(row) => {
                let lines = detail::lines(row, usize::from(self.size.0), false).len();
                let first = selected.min(lines.saturating_sub(page));
                (first, first)
            }
            _ => {
                let selected = selected.min(rows.len().saturating_sub(1));
                let offset = view.offset.clamp(selected.saturating_sub(page - 1), selected);
                (selected, offset.min(rows.len().saturating_sub(page)))
            }
        };
        let view = self.view_mut();
        (view.selected, view.offset) = (selected, offset);
    }

    /// Moves the cursor to a row.
    pub(super) fn select(&mut self, row: usize) {
        let followed = if row == 0 { None } else { self.rows().get(row).map(Row::key) };
        let view = self.view_mut();
        (view.selected, view.followed) = (row, followed);
        self.settle();
        // Beyond the last row it is on the last.
        let selected = self.view().selected;
        if selected != row {
            let key = self.rows().get(selected).map(Row::key);
            self.view_mut().followed = key;
        }
    }

    /// Opens what the cursor stands on.
    pub(super) fn open(&mut self) {
        let selected = self.view().selected;
        let list = match self.rows().get(selected) {
            Some(Row::Host(row)) => List::Routes(Some(row.host.clone())),
            Some(Row::Route(row)) => List::OfRoute([&row.host, &row.method, &row.route].map(String::clone)),
            Some(Row::Pair(row)) => List::OfPair([&row.client, &row.server].map(String::clone)),
            Some(Row::Transaction(row)) => List::Transaction(Box::new((*row).clone())),
            Some(Row::Health(_) | Row::Tls(_)) | None => return,
        };
        if let Some(stack) = self.stacks.get_mut(self.pane) {
            stack.push(View::new(list));
        }
        self.settle();
    }

    /// Goes back: first the filter ends, then what was opened is left.
    pub(super) fn back(&mut self) {
        let view = self.view_mut();
        if !view.filter.is_empty() {
            view.edit(String::clear);
        } else if let Some(stack) = self.stacks.get_mut(self.pane)
            && stack.len() > 1
        {
            stack.pop();
        }
        self.settle();
    }

    /// Shows a pane. The pane that is shown goes back to its own list.
    pub(super) fn show_pane(&mut self, pane: usize) {
        if self.pane == pane
            && let Some(stack) = self.stacks.get_mut(pane)
        {
            stack.truncate(1);
        }
        self.pane = pane;
        self.settle();
    }

    /// Sorts by the column that is so many after the present one.
    pub(super) fn sort_by_next(&mut self, step: isize) {
        let width = usize::from(self.size.0);
        let view = self.view_mut();
        let columns: Vec<_> = laid_out(view.columns(), width).into_iter().map(|(column, _)| column).collect();
        let Some(count) = isize::try_from(columns.len()).ok().filter(|count| *count > 0) else { return };
        let present = columns.iter().position(|column| Some(column.field) == view.sort);
        let present = present.and_then(|at| isize::try_from(at).ok());
        let next = match present {
            Some(at) => (at + step).rem_euclid(count),
            None if step < 0 => count - 1,
            None => 0,
        };
        if let Some(column) = usize::try_from(next).ok().and_then(|at| columns.get(at)) {
            view.sort = Some(column.field);
            // The greatest numbers first; texts by the alphabet.
            view.descending = matches!(column.width, Width::Number(_)) || column.field == Field::Time;
        }
        self.settle();
    }
}
