//! The timeline: rate and latency over time, as two rows of bars.

use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::widgets::{Paragraph, Sparkline, SparklineBar, Widget};

use ratatui::Frame;

use super::colour::{DIM, bad, colour};
use super::row::per_second;
use super::state::State;
use super::text::{duration, fit, span, tenths};
use crate::view::{Second, Snapshot};

/// A bar of a timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bar {
    /// Transactions in its time.
    transactions: u64,
    /// Of them, those that count as errors.
    errors: u64,
    /// The greatest 95th percentile of its parts of time, in microseconds.
    p95: Option<u64>,
}

/// The last parts of time (live), or all of them (file), in at most `columns` bars of the same length; those of a short file
/// are repeated, so that they take more columns. Returns the bars and how many parts each has.
fn bars(snapshot: &Snapshot, columns: usize) -> (Vec<Bar>, usize) {
    // The last second of a live capture is not over.
    let whole = snapshot.seconds.len().saturating_sub(usize::from(snapshot.live));
    let parts = snapshot.seconds.get(..whole).unwrap_or_default();
    let columns = columns.max(1);
    if !snapshot.live && parts.len() < columns {
        let wide = columns / parts.len().max(1);
        let bars = parts.chunks(1).map(bar).flat_map(|bar| std::iter::repeat_n(bar, wide));
        return (bars.collect(), 1);
    }
    let each = if snapshot.live { 1 } else { parts.len().div_ceil(columns).max(1) };
    let shown = parts.get(parts.len().saturating_sub(columns * each)..).unwrap_or_default();
    (shown.chunks(each).map(bar).collect(), each)
}

fn bar(parts: &[Second]) -> Bar {
    Bar {
        transactions: parts.iter().map(|part| part.transactions).sum(),
        errors: parts.iter().map(|part| part.server_errors).sum(),
        p95: parts.iter().filter_map(|part| part.times.p95).max(),
    }
}

/// Draws both timelines beside each other.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, area: Rect) {
    if area.height < 2 || area.width < 20 {
        return;
    }
    let half = (area.width - 2) / 2;
    let left = Rect { width: half, ..area };
    let right = Rect { x: area.x + half + 2, width: half, ..area };
    let (bars, each) = bars(&state.snapshot, usize::from(half));
    let step = i64::from(state.snapshot.step.max(1)) * i64::try_from(each).unwrap_or(1) * 1_000_000;
    let whole = usize::from(!state.snapshot.live) * state.snapshot.seconds.len();
    let parts = if whole > 0 { whole } else { bars.len() };
    let part = i64::from(state.snapshot.step.max(1)) * 1_000_000;
    let time = span(part.saturating_mul(i64::try_from(parts).unwrap_or(0)));
    let peak = bars.iter().map(|bar| per_second(bar.transactions, step)).max().unwrap_or(0);
    let slowest = bars.iter().filter_map(|bar| bar.p95).max();
    let every = if step > 1_000_000 { format!(", a bar is {}", span(step)) } else { String::new() };
    let rate = format!("per second, {time}{every}: peak {}", tenths(peak));
    let latency = format!("p95: peak {}", slowest.map_or_else(|| "unknown".into(), duration));
    let normal = colour(state.colour, Color::Green);
    let rates = bars.iter().map(|bar| {
        let style = if bar.errors > 0 { bad(state.colour) } else { normal };
        SparklineBar::from(bar.transactions).style(Some(style))
    });
    one(frame, left, &rate, Sparkline::default().data(rates).style(normal));
    let latencies = bars.iter().map(|bar| SparklineBar::from(bar.p95));
    one(frame, right, &latency, Sparkline::default().data(latencies).style(colour(state.colour, Color::Cyan)));
}

fn one(frame: &mut Frame<'_>, area: Rect, title: &str, bars: Sparkline<'_>) {
    let text = fit(title, usize::from(area.width), false);
    Paragraph::new(text).style(DIM).render(Rect { height: 1, ..area }, frame.buffer_mut());
    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    bars.absent_value_symbol(" ").render(below, frame.buffer_mut());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Times;

    fn second(transactions: u64, p95: Option<u64>) -> Second {
        Second { transactions, times: Times { p95, ..Times::default() }, ..Second::default() }
    }

    #[test]
    fn a_live_timeline_has_the_last_whole_seconds() {
        let seconds: Vec<_> = (0..10).map(|n| second(n, None)).collect();
        let snapshot = Snapshot { live: true, seconds, ..Snapshot::default() };
        let (bars, each) = bars(&snapshot, 3);
        assert_eq!((bars.iter().map(|bar| bar.transactions).collect::<Vec<_>>(), each), (vec![6, 7, 8], 1));
    }

    #[test]
    fn the_timeline_of_a_file_has_all_of_it() {
        let seconds: Vec<_> = (0..7).map(|n| second(n, (n == 3).then_some(9))).collect();
        let snapshot = Snapshot { seconds, ..Snapshot::default() };
        let (bars, each) = bars(&snapshot, 3);
        assert_eq!((bars.iter().map(|bar| bar.transactions).collect::<Vec<_>>(), each), (vec![3, 12, 6], 3));
        assert_eq!(bars.iter().map(|bar| bar.p95).collect::<Vec<_>>(), [None, Some(9), None]);
        let (bars, each) = super::bars(&snapshot, 15);
        assert_eq!(
            (bars.iter().map(|bar| bar.transactions).collect::<Vec<_>>(), each),
            (vec![0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6], 1)
        );
    }
}
