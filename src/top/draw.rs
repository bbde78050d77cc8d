//! The screen, drawn from its state.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::colour::{CURSOR, DIM, TITLE, bad, colour, value};
use super::column::{Width, laid_out};
use super::keys::KEYS;
use super::layout::Layout;
use super::row::{Row, per_second, share};
use super::state::{List, Mode, PANES, State, View};
use super::text::{clock, duration, fit, moment, shown, size, span, tenths, width};
use super::{detail, timeline};
use crate::export::numbers::grouped;
use crate::view::{Second, Snapshot};

/// Whole seconds that the present rate is taken of.
const PRESENT: usize = 10;

/// Draws the screen. The state must have the frame's size.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let layout = Layout::new(state);
    heading(frame, state, layout.heading);
    timeline::draw(frame, state, layout.timeline);
    tabs(frame, state, layout.tabs);
    match &state.view().list {
        List::Transaction(row) => {
            let lines = detail::lines(row, usize::from(layout.table.width), state.colour);
            let shown = lines.into_iter().skip(state.view().offset).take(usize::from(layout.table.height));
            frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), layout.table);
        }
        _ => table(frame, state, layout.titles, layout.table),
    }
    notices(frame, state, layout.notices);
    keys(frame, state, layout.keys);
    if state.mode == Mode::Help {
        help(frame);
    }
}

/// As many of the parts as fit, with two blanks between them.
fn fitting(parts: impl IntoIterator<Item = (String, Style)>, columns: u16) -> Line<'static> {
    let (mut line, mut used) = (Line::default(), 0);
    for (part, style) in parts {
        let wide = width(&part) + if used > 0 { 2 } else { 0 };
        if used + wide > usize::from(columns) {
            break;
        }
        if used > 0 {
            line.push_span("  ");
        }
        line.push_span(Span::styled(part, style));
        used += wide;
    }
    line
}

fn heading(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let snapshot = &state.snapshot;
    let now = if snapshot.now == 0 { String::new() } else { format!("{}Z", clock(snapshot.now)) };
    let what = match (state.paused, snapshot.live, state.ended) {
        (true, ..) => "PAUSED",
        (_, true, false) => "live",
        (_, false, false) => "being read",
        (_, true, true) => "ended",
        (_, false, true) => "read",
    };
    let room = usize::from(area.width).saturating_sub(40);
    let mut source = shown(&snapshot.source);
    if width(&source) > room {
        source = fit(&snapshot.source, room, false).trim_end().to_owned();
    }
    let plain = Style::new();
    let emphasis = if state.paused { CURSOR } else { plain };
    let first = [
        (format!("picotap {}", shown(&snapshot.version)), TITLE),
        (source, TITLE),
        (what.to_owned(), emphasis),
        (now, plain),
        (format!("{} transactions", grouped(snapshot.transactions)), plain),
        (format!("since {}", moment(snapshot.began).get(..19).unwrap_or_default()), DIM),
    ];
    let empty = |(part, _): &(String, Style)| !part.is_empty();
    let lines = vec![
        fitting(first.into_iter().filter(empty), area.width),
        present(state, area.width),
        overall(state, area.width),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

/// Live: the last seconds. Of a file: its time.
fn present(state: &State, columns: u16) -> Line<'static> {
    let snapshot = &state.snapshot;
    if !snapshot.live {
        if snapshot.transactions == 0 {
            return Line::raw(if state.ended { "no transactions" } else { "" });
        }
        let lasted = snapshot.now.saturating_sub(snapshot.began);
        let text = format!("traffic from {} to {} ({})", moment(snapshot.began), moment(snapshot.now), span(lasted));
        let short = format!("traffic from {} on, {}", moment(snapshot.began), span(lasted));
        let fits = width(&text) <= usize::from(columns);
        return fitting([(if fits { text } else { short }, Style::new())], columns);
    }
    let whole = snapshot.seconds.len().saturating_sub(1);
    let parts = snapshot.seconds.get(whole.saturating_sub(PRESENT)..whole).unwrap_or_default();
    let sum = |of: fn(&Second) -> u64| parts.iter().map(of).sum::<u64>();
    let (count, errors) = (sum(|part| part.transactions), sum(|part| part.server_errors));
    let time = i64::try_from(parts.len()).unwrap_or(0) * 1_000_000;
    let max = parts.iter().filter_map(|part| part.times.max).max();
    let last = parts.iter().rev().find(|part| part.times.p50.is_some()).map(|part| part.times).unwrap_or_default();
    let plain = Style::new();
    let mut out =
        vec![(format!("last {} s", parts.len()), DIM), (format!("{}/s", tenths(per_second(count, time))), TITLE)];
    out.push(error_share(state, errors, count));
    out.push((format!("{}/s", size(per_second(sum(|part| part.bytes), time) / 10)), plain));
    for (name, value) in [("slowest", max), ("newest p50", last.p50), ("p95", last.p95), ("p99", last.p99)] {
        out.extend(value.map(|value| (format!("{name} {}", duration(value)), plain)));
    }
    fitting(out, columns)
}

/// What the tables add up to.
fn overall(state: &State, columns: u16) -> Line<'static> {
    let Snapshot { total, now, tables_since, live, .. } = &*state.snapshot;
    let plain = Style::new();
    let time = now.saturating_sub(*tables_since);
    let label = if *live { format!("last {}", span(time)) } else { "all".to_owned() };
    let mut out = vec![(label, DIM), (grouped(total.transactions), TITLE)];
    if time >= 1_000_000 {
        out.push((format!("{}/s", tenths(per_second(total.transactions, time))), plain));
    }
    out.push(error_share(state, total.server_errors, total.transactions));
    let times = total.times;
    for (name, value) in [("p50", times.p50), ("p95", times.p95), ("p99", times.p99), ("max", times.max)] {
        out.extend(value.map(|value| (format!("{name} {}", duration(value)), plain)));
    }
    out.push((format!("4xx {}%", tenths(share(total.client_errors, total.transactions))), plain));
    out.push((format!("requests {}", size(total.request_bytes)), plain));
    out.push((format!("responses {}", size(total.response_bytes)), plain));
    fitting(out, columns)
}

fn error_share(state: &State, errors: u64, all: u64) -> (String, Style) {
    let style = if errors > 0 { bad(state.colour) } else { Style::new() };
    (format!("errors {}%", tenths(share(errors, all))), style)
}

/// The panes, what was opened, and which rows are shown.
fn tabs(frame: &mut Frame<'_>, state: &State, area: Rect) {
    if area.height == 0 {
        return;
    }
    let mut left = Line::default();
    for (index, name) in PANES.iter().enumerate() {
        let style = if index == state.pane { CURSOR.add_modifier(Modifier::BOLD) } else { Style::new() };
        // What was opened needs the room.
        let is_short = state.path().len() > 1 && index != state.pane;
        let name = if is_short { String::new() } else { format!("{name} ") };
        left.push_span(Span::styled(format!(" {} {name}", index + 1), style));
    }
    let view = state.view();
    let rows = state.rows().len();
    let right = match &view.list {
        List::Transaction(_) => "Esc goes back".to_owned(),
        _ if rows == 0 => "no rows".to_owned(),
        _ => {
            let last = (view.offset + state.page()).min(rows);
            format!("{}-{} of {}", view.offset + 1, last, grouped(rows as u64))
        }
    };
    let room = usize::from(area.width).saturating_sub(left.width());
    let path = path(state, room.saturating_sub(right.len() + 3));
    left.push_span(Span::styled(path, TITLE));
    let room = usize::from(area.width).saturating_sub(left.width());
    left.push_span(Span::styled(fit(&right, room, true), DIM));
    frame.render_widget(Paragraph::new(left), area);
}

/// What was opened to come to the list that is shown, in at most `columns`.
fn path(state: &State, columns: usize) -> String {
    let name = |view: &View| match &view.list {
        List::Routes(Some(host)) => format!(" > {host}"),
        List::OfRoute([host, method, route]) => format!(" > {method} {host}{route}"),
        List::OfPair([client, server]) => format!(" > {client} to {server}"),
        List::Transaction(_) => " > transaction".to_owned(),
        _ => String::new(),
    };
    let names: Vec<String> = state.path().iter().map(name).filter(|name| !name.is_empty()).collect();
    // The end says what is shown.
    let mut tails = (0..names.len()).map(|left_out| {
        let tail: String = names.iter().skip(left_out).map(String::as_str).collect();
        if left_out == 0 { shown(&tail) } else { format!(" …{}", shown(&tail)) }
    });
    let (fitting, shortest) = (tails.clone().find(|tail| width(tail) <= columns), tails.next_back());
    fitting.or_else(|| shortest.map(|tail| fit(&tail, columns, false))).unwrap_or_default()
}

fn table(frame: &mut Frame<'_>, state: &State, titles: Rect, area: Rect) {
    let view = state.view();
    let columns = laid_out(view.columns(), usize::from(area.width));
    let mut heads = Line::default();
    for (index, (column, wide)) in columns.iter().enumerate() {
        let sorted = view.sort == Some(column.field);
        let mark = if view.descending { "▼" } else { "▲" };
        let right = matches!(column.width, Width::Number(_));
        let title = match (sorted, right) {
            (false, _) => column.title.to_owned(),
            (true, true) => format!("{mark}{}", column.title),
            (true, false) => format!("{}{mark}", column.title),
        };
        let style = if sorted { TITLE.add_modifier(Modifier::UNDERLINED) } else { TITLE };
        heads.push_span(if index > 0 { " " } else { "" });
        heads.push_span(Span::styled(fit(&title, *wide, right), style));
    }
    frame.render_widget(Paragraph::new(heads), titles);
    let rows = state.rows();
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(empty(state)).style(DIM), area);
        return;
    }
    let shown = rows.iter().enumerate().skip(view.offset).take(usize::from(area.height));
    let lines: Vec<_> = shown.map(|(index, row)| line(state, &columns, row, index == view.selected)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn line(
    state: &State,
    columns: &[(&'static super::column::Column, usize)],
    row: &Row<'_>,
    selected: bool,
) -> Line<'static> {
    let mut line = Line::default();
    for (index, (column, wide)) in columns.iter().enumerate() {
        let says = row.value(column.field, &state.snapshot);
        let right = matches!(column.width, Width::Number(_));
        line.push_span(if index > 0 { " " } else { "" });
        line.push_span(Span::styled(fit(&says.text(), *wide, right), value(state.colour, column.field, &says)));
    }
    if selected { line.style(CURSOR) } else { line }
}

/// Why a table has no rows.
fn empty(state: &State) -> String {
    let view = state.view();
    if !view.filter.is_empty() {
        return format!("Nothing matches the filter {}: Esc ends it.", shown(&view.filter));
    }
    let text = match (&view.list, state.ended, state.snapshot.live) {
        (List::OfRoute(_) | List::OfPair(_), ..) => "None of the last and of the slowest transactions belongs to it.",
        (List::Health, ..) => "Nothing is known yet.",
        (List::Tls, ..) => "No TLS connection has ended yet.",
        (_, true, _) => "No transactions: pane 6 shows what was read.",
        (_, _, true) => "No transactions yet: pane 6 shows what is captured.",
        _ => "No transactions yet.",
    };
    text.to_owned()
}

/// The last messages of picotap.
fn notices(frame: &mut Frame<'_>, state: &State, area: Rect) {
    if area.height < 2 {
        return;
    }
    let (last, all) = &state.notices;
    let room = usize::from(area.height - 1);
    let title = format!("messages ({} in all; printed after leaving)", grouped(*all as u64));
    let mut lines = vec![Line::styled(title, TITLE)];
    let columns = usize::from(area.width);
    lines.extend(last.iter().skip(last.len().saturating_sub(room)).map(|text| Line::raw(fit(text, columns, false))));
    frame.render_widget(Paragraph::new(lines), area);
}

/// The filter, or the keys that matter most.
fn keys(frame: &mut Frame<'_>, state: &State, area: Rect) {
    if area.height == 0 {
        return;
    }
    let view = state.view();
    let columns = usize::from(area.width);
    let line = if state.mode == Mode::Filter {
        let text = format!("/{}", view.filter);
        // The end is what is being typed.
        let tail: String =
            text.chars().rev().take(columns.saturating_sub(24)).collect::<Vec<_>>().into_iter().rev().collect();
        let hint = view.wrong.clone().unwrap_or_else(|| "Enter keeps, Esc ends".into());
        let typed = shown(&tail) + "_";
        let room = columns.saturating_sub(width(&typed) + 2).max(21);
        fitting([(typed, TITLE), (fit(&hint, width(&hint).min(room), false), DIM)], area.width)
    } else {
        let mut parts = Vec::new();
        if !view.filter.is_empty() {
            parts.push((
                fit(&format!("filter: {}", view.filter), width(&shown(&view.filter)) + 8, false),
                colour(state.colour, Color::Yellow).add_modifier(Modifier::BOLD),
            ));
            if let Some(wrong) = &view.wrong {
                let said = format!("not applied: {wrong}");
                parts.push((fit(&said, width(&shown(&said)).min(60), false), bad(state.colour)));
            }
            if !view.left_out.is_empty() {
                parts.push((format!("does not apply here: {}", shown(&view.left_out.join(" "))), DIM));
            }
        }
        let hints: &[&str] = match view.list {
            List::Transaction(_) => &["Esc back", "j/k scroll", "p pause", "? help", "q quit"],
            List::Health | List::Tls => {
                &["1-7 panes", "/ filter", "s sort", "r reverse", "p pause", "? help", "q quit"]
            }
            _ => &[
                "1-7 panes",
                "Enter open",
                "Esc back",
                "/ filter",
                "s sort",
                "r reverse",
                "p pause",
                "? help",
                "q quit",
            ],
        };
        parts.extend(hints.iter().map(|hint| ((*hint).to_owned(), DIM)));
        if state.pane == 4 && state.snapshot.left_out > 0 {
            parts.push((format!("{} more are counted only", grouped(state.snapshot.left_out)), DIM));
        }
        let beyond = state.snapshot.beyond.get(state.pane).copied().unwrap_or(0);
        if beyond > 0 && state.pane < 3 {
            parts.insert(0, (format!("{} beyond the table", grouped(beyond)), bad(state.colour)));
        }
        fitting(parts, area.width)
    };
    frame.render_widget(Paragraph::new(line), area);
}

fn help(frame: &mut Frame<'_>) {
    let all = frame.area();
    let height = u16::try_from(KEYS.len()).unwrap_or(0) + 2;
    let (wide, high) = (84.min(all.width), height.min(all.height));
    let area = Rect::new((all.width - wide) / 2, (all.height - high) / 2, wide, high);
    let lines: Vec<_> = KEYS
        .iter()
        .map(|(keys, what)| Line::from(vec![Span::styled(fit(keys, 23, false), TITLE), Span::raw(*what)]))
        .collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("Keys")), area);
}
